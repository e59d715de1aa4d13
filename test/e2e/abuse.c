/*
 * abuse.c - attack the masters of a cell in one of several ways.
 *
 *     abuse DIR CERT MODE CONNECTIONS SECONDS
 *
 * Attacks the replicas of the cell in DIR with the certificate DIR/pki/CERT.crt, over CONNECTIONS
 * connections that are reopened when they are closed. MODE is one of
 *
 *     silent       TCP without a certificate, sends nothing; every second one to a raft port
 *     hold         opens the connection and sends nothing
 *     frames       each connection holds a frame of 8 MiB that lacks its last byte
 *     calls        commands without end; answers are ignored
 *     notices      the same commands as notices
 *     early        a borglet that sends reports before its hello
 *     hello        a borglet with 30,000 reports in its hello, the newest first
 *     reports      a borglet that sends reports without end after the welcome
 *     usages       a borglet that sends usages without end after the welcome
 *
 * Prints `attacking` when a tenth of the connections have been open once (silent: tried), and at
 * the end `opened N cut N sent N` and the last reason for a disconnect.
 */
#include "cell_file.h"
#include "clock.h"
#include "cmd_pack.h"
#include "rpc_frame.h"
#include "stream.h"
#include "wire.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { AGAIN_MS = 20, QUEUE_BYTES = 16 << 20, BURST = 64, HELLO_REPORTS = 30000 };

struct peer {
    uv_tcp_t tcp; /* for mode silent */
    uv_connect_t connect;
    uv_timer_t again;
    struct stream *s;
    const char *to;
    char name[CELL_NAME_MAX + 1];
    bool open, counted, welcome;
    uint64_t next;
};

static struct {
    uv_loop_t loop;
    uv_timer_t end, pump;
    struct cell_file cell;
    struct tls_context *tls;
    const char *mode;
    struct peer *peers;
    size_t count, reached;
    uint64_t opened, cut, sent;
    char last[ERR_MSG_MAX];
} abuse;

_Noreturn static void die(const char *what)
{
    fprintf(stderr, "abuse: %s\n", what);
    exit(1);
}

static bool mode_is(const char *mode)
{
    return strcmp(abuse.mode, mode) == 0;
}

static void peer_reached(struct peer *p)
{
    abuse.opened++;
    if (p->counted)
        return;
    p->counted = true;
    if (++abuse.reached == (abuse.count + 9) / 10) {
        puts("attacking");
        fflush(stdout);
    }
}

static void frame_add(struct buf *to, enum rpc_kind kind, uint64_t id, uint32_t method,
                      const struct buf *body)
{
    struct rpc_frame frame = {
        .kind = kind, .id = id, .method = method, .body = body->bytes, .body_size = body->size};
    struct err err;
    if (rpc_frame_pack_head(to, &frame, &err) != 0)
        die(err.msg);
    buf_append(to, body->bytes, body->size);
}

static void peer_write(struct peer *p, const struct buf *bytes)
{
    if (stream_write(p->s, bytes->bytes, bytes->size) == 0)
        abuse.sent++;
}

static void command_pack(struct buf *to)
{
    struct cmd cmd = {.kind = CMD_JOB_KILL};
    struct err err;
    random_id(cmd.request_id);
    str_copy(cmd.job_kill.name, sizeof cmd.job_kill.name, "nobody-submitted-this");
    if (cmd_pack(&cmd, to, &err) != 0)
        die(err.msg);
}

static void reports_fill(struct peer *p, struct report *reports, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        reports[i] = (struct report){
            .task = {{UINT64_C(1000000000) - p->next++}, 1}, .kind = REPORT_RUNNING, .pid = 7};
}

static void hello_send(struct peer *p, uint32_t report_count)
{
    struct buf CLEANUP(buf_release) body = {0}, frame = {0};
    struct wire_hello hello = {.addr = "127.0.0.1:9", .report_count = report_count};
    hello.capacity = (struct resources){{1000, 1 << 30, 1 << 30, 10}};
    hello.reports = xcalloc(report_count + 1, sizeof *hello.reports);
    str_copy(hello.name, sizeof hello.name, tls_context_identity(abuse.tls)->name);
    reports_fill(p, hello.reports, report_count);
    wire_pack_hello(&body, &hello);
    free(hello.reports);
    frame_add(&frame, RPC_CALL, ++p->next, WIRE_HELLO, &body);
    peer_write(p, &frame);
}

static void reports_send(struct peer *p)
{
    struct buf CLEANUP(buf_release) body = {0}, frame = {0};
    struct report reports[CMD_REPORTS_MAX];
    struct wire_reports some = {.reports = reports, .report_count = CMD_REPORTS_MAX};
    p->next %= 20000; /* wrap around at the largest number of tasks of a machine */
    reports_fill(p, reports, CMD_REPORTS_MAX);
    wire_pack_reports(&body, &some);
    frame_add(&frame, RPC_NOTICE, 0, WIRE_REPORT, &body);
    peer_write(p, &frame);
}

static void usages_send(struct peer *p)
{
    struct buf CLEANUP(buf_release) body = {0}, frame = {0};
    static struct task_usage tasks[CMD_USAGES_MAX];
    struct wire_usages some = {.tasks = tasks, .task_count = CMD_USAGES_MAX};
    for (size_t i = 0; i < CMD_USAGES_MAX; i++)
        tasks[i].task.task.v = i + 1;
    wire_pack_usages(&body, &some);
    frame_add(&frame, RPC_NOTICE, 0, WIRE_USAGE, &body);
    peer_write(p, &frame);
}

static void commands_send(struct peer *p, enum rpc_kind kind)
{
    struct buf CLEANUP(buf_release) frames = {0};
    for (int i = 0; i < BURST; i++) {
        struct buf CLEANUP(buf_release) body = {0};
        command_pack(&body);
        frame_add(&frames, kind, kind == RPC_CALL ? ++p->next : 0, WIRE_COMMAND, &body);
    }
    peer_write(p, &frames);
}

static void frame_send(struct peer *p)
{
    static char bytes[RPC_FRAME_BYTES_MAX + RPC_LENGTH_BYTES - 1] = {0, (char)0x80, 0, 0};
    struct buf frame = {.bytes = bytes, .size = sizeof bytes};
    peer_write(p, &frame);
}

/* Start the attack once, when the connection is open. */
static void peer_begin(struct peer *p)
{
    if (mode_is("frames"))
        frame_send(p);
    else if (mode_is("hello"))
        hello_send(p, HELLO_REPORTS);
    else if (mode_is("reports") || mode_is("usages"))
        hello_send(p, 0);
    else if (mode_is("early"))
        reports_send(p);
}

/* Continue the attack as long as the connection accepts data. */
static void peer_go_on(struct peer *p)
{
    if (!p->open || stream_queued(p->s) > QUEUE_BYTES / 64)
        return;
    if (mode_is("calls"))
        commands_send(p, RPC_CALL);
    else if (mode_is("notices"))
        commands_send(p, RPC_NOTICE);
    else if (mode_is("reports") && p->welcome)
        reports_send(p);
    else if (mode_is("usages") && p->welcome)
        usages_send(p);
}

static void on_open(struct stream *s UNUSED, void *data)
{
    struct peer *p = data;
    p->open = true;
    peer_reached(p);
    peer_begin(p);
}

static void on_data(struct stream *s UNUSED, void *data, const void *bytes, size_t size)
{
    struct peer *p = data;
    struct rpc_frame frame;
    p->welcome = true;
    if (size > RPC_LENGTH_BYTES &&
        rpc_frame_unpack((const char *)bytes + RPC_LENGTH_BYTES, size - RPC_LENGTH_BYTES, &frame,
                         NULL) == 0 &&
        frame.kind == RPC_BYE)
        snprintf(abuse.last, sizeof abuse.last, "%.*s", (int)frame.msg_size, frame.msg);
}

static void peer_dial(struct peer *p);

static void on_again(uv_timer_t *timer)
{
    peer_dial(timer->data);
}

static void peer_ended(struct peer *p)
{
    p->open = p->welcome = false;
    abuse.cut++;
    uv_timer_start(&p->again, on_again, AGAIN_MS, 0);
}

static void on_close(struct stream *s UNUSED, void *data, const struct err *why UNUSED)
{
    peer_ended(data);
}

static const struct stream_handlers handlers = {on_open, on_data, NULL, on_close};

static void on_tcp_closed(uv_handle_t *tcp)
{
    peer_ended(tcp->data);
}

static void on_alloc(uv_handle_t *handle UNUSED, size_t size UNUSED, uv_buf_t *ret)
{
    static char bytes[64];
    *ret = uv_buf_init(bytes, sizeof bytes);
}

static void on_read(uv_stream_t *tcp, ssize_t n, const uv_buf_t *part UNUSED)
{
    if (n < 0 && !uv_is_closing((uv_handle_t *)tcp))
        uv_close((uv_handle_t *)tcp, on_tcp_closed);
}

static void on_tcp_connect(uv_connect_t *connect, int status)
{
    struct peer *p = connect->data;
    if (status == 0 && uv_read_start((uv_stream_t *)&p->tcp, on_alloc, on_read) == 0)
        peer_reached(p);
    else if (!uv_is_closing((uv_handle_t *)&p->tcp))
        uv_close((uv_handle_t *)&p->tcp, on_tcp_closed);
}

static void peer_dial(struct peer *p)
{
    struct stream_options options = {.loop = &abuse.loop,
                                     .tls = abuse.tls,
                                     .handlers = &handlers,
                                     .data = p,
                                     .queue_bytes_max = QUEUE_BYTES};
    struct sockaddr_storage to;
    struct err err;
    if (!mode_is("silent")) {
        if (stream_connect(&options, p->to, &p->s, &err) != 0)
            uv_timer_start(&p->again, on_again, AGAIN_MS, 0);
        return;
    }
    if (address_parse(p->to, &to, &err) != 0)
        die(err.msg);
    uv_tcp_init(&abuse.loop, &p->tcp);
    p->tcp.data = p->connect.data = p;
    if (uv_tcp_connect(&p->connect, &p->tcp, (const struct sockaddr *)&to, on_tcp_connect) != 0)
        uv_close((uv_handle_t *)&p->tcp, on_tcp_closed);
}

static void on_pump(uv_timer_t *timer UNUSED)
{
    for (size_t i = 0; i < abuse.count; i++)
        peer_go_on(&abuse.peers[i]);
}

static void on_end(uv_timer_t *timer UNUSED)
{
    uv_stop(&abuse.loop);
}

static void open_all(const char *dir, const char *cert_name)
{
    char path[CELL_PATH_MAX + 1], cert[CELL_PATH_MAX + 1], key[CELL_PATH_MAX + 1];
    struct err err;
    snprintf(path, sizeof path, "%s/cell.json", dir);
    snprintf(cert, sizeof cert, "%s/pki/%s.crt", dir, cert_name);
    snprintf(key, sizeof key, "%s/pki/%s.key", dir, cert_name);
    if (cell_file_load(path, &abuse.cell, &err) != 0 ||
        tls_context_open(abuse.cell.ca_path, cert, key, &abuse.tls, &err) != 0)
        die(err.msg);
    abuse.peers = xcalloc(abuse.count, sizeof *abuse.peers);
    for (size_t i = 0; i < abuse.count; i++) {
        struct peer *p = &abuse.peers[i];
        const struct cell_replica *replica = &abuse.cell.replicas[i % abuse.cell.replica_count];
        bool raft = mode_is("silent") && i / abuse.cell.replica_count % 2 == 1;
        p->to = raft ? replica->raft : replica->rpc;
        uv_timer_init(&abuse.loop, &p->again);
        p->again.data = p;
        uv_timer_start(&p->again, on_again, i / 20, 0);
    }
}

int main(int argc, char **argv)
{
    if (argc != 6)
        die("DIR CERT MODE CONNECTIONS SECONDS");
    abuse.mode = argv[3];
    abuse.count = strtoul(argv[4], NULL, 10);
    unsigned long seconds = strtoul(argv[5], NULL, 10);
    if (abuse.count == 0 || seconds == 0)
        die("CONNECTIONS and SECONDS are numbers");
    signal(SIGPIPE, SIG_IGN);
    stream_files_raise();
    uv_loop_init(&abuse.loop);
    uv_timer_init(&abuse.loop, &abuse.end);
    uv_timer_init(&abuse.loop, &abuse.pump);
    uv_timer_start(&abuse.end, on_end, seconds * 1000, 0);
    uv_timer_start(&abuse.pump, on_pump, 2, 2);
    open_all(argv[1], argv[2]);
    uv_run(&abuse.loop, UV_RUN_DEFAULT);
    printf("opened %" PRIu64 " cut %" PRIu64 " sent %" PRIu64 "%s%s\n", abuse.opened, abuse.cut,
           abuse.sent, abuse.last[0] != '\0' ? " last: " : "", abuse.last);
    return 0;
}
