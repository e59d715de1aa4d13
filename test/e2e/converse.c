/*
 * converse.c - valid and damaged conversations with the replicas of a cell.
 *
 *     converse DIR CERT WATCHER SEED SECONDS PATIENCE JOB ID [ADDR...]
 *
 * Sends messages for SECONDS to the replicas of the cell in DIR, and to the borglets at ADDR, as
 * the holder of the certificate DIR/pki/CERT.crt. A user sends commands and queries, and asks for
 * checkpoints and logs (of the first task of JOB, whose id is ID); a borglet sends a hello, then
 * reports; a master asks for admission, forwards, and reports who is alive. All messages are drawn
 * from SEED: with meaningful and with arbitrary contents, sometimes methods of another role. Each
 * connection damages one in 2 to 64 messages: bits are flipped, it is truncated, counts are huge,
 * it is sent twice or as another kind of frame; one in eight is sent in pieces. A connection that
 * is closed is opened again.
 *
 * Meanwhile the holder of DIR/pki/WATCHER.crt repeatedly asks every replica for its status and for
 * a command. Prints `sent N damaged N answered N refused N cut N; WATCHER: answered N, the slowest
 * after N ms`. Exits with 1 and the reason if a replica closed the watcher's connection or did not
 * answer it for PATIENCE seconds, or if the conversation had no effect.
 */
#include "cell_file.h"
#include "clock.h"
#include "cmd_pack.h"
#include "hostile.h"
#include "random_wire.h"
#include "rpc.h"
#include "rpc_frame.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    AGAIN_MS = 20,
    PUMP_MS = 3,
    WATCH_MS = 50,
    QUEUE_BYTES = 16 << 20,
    QUEUE_BYTES_LOW = 64 << 10,
    PEERS_MAX = 32,
};

struct peer {
    uv_timer_t again;
    struct stream *s;
    const char *to;
    bool open, greeted;
    bool heard; /* the first answer has arrived */
    uint64_t last_id;
    uint32_t
        /* damage one in so many messages: some states are reached only after many valid messages */
        damage_one_in;
    struct buf out; /* unsent rest of a frame in pieces */
    struct buf in;  /* the received part of a frame */
};

struct watch {
    struct rpc_conn *conn;
    const char *to;
    bool waiting, command;
    uint64_t asked_ms, good_ms;
};

static struct {
    uv_loop_t loop;
    uv_timer_t end, pump;
    struct cell_file cell;
    struct tls_context *tls, *watcher_tls;
    enum role role;
    const char *job;
    task_id task;
    struct random random;
    struct peer peers[PEERS_MAX];
    struct watch watches[PEERS_MAX];
    size_t peer_count, watch_count;
    uint64_t patience_ms, sent, damaged, answered, refused, cut, answers, slowest_ms;
    struct err last;
} talk;

_Noreturn static void die(const char *what)
{
    fprintf(stderr, "converse: %s\n", what);
    exit(1);
}

static uint32_t below(uint32_t bound)
{
    return random_below(&talk.random, bound);
}

/* --- contents -------------------------------------------------------------------------------- */

static void name_draw(char *to, size_t size)
{
    snprintf(to, size, "talk-%u", below(6));
}

/* Make commands of users that a cell can carry out. */
static void cmd_sensible(struct cmd *cmd)
{
    static const char *const argvs[] = {"true", "false", "/no/such/program"};
    random_id(cmd->request_id);
    switch (below(3)) {
    case 0:
        cmd->kind = CMD_JOB_SUBMIT;
        spec_init(&cmd->job_submit);
        name_draw(cmd->job_submit.name, sizeof cmd->job_submit.name);
        cmd->job_submit.replicas = 1 + below(3);
        cmd->job_submit.priority = 50 + below(100);
        cmd->job_submit.limit.v[RES_CPU] = 10;
        cmd->job_submit.limit.v[RES_RAM] = 16 << 20;
        cmd->job_submit.restart = below(RESTART_COUNT);
        words_add(&cmd->job_submit.argv, argvs[below(ARRAY_SIZE(argvs))]);
        return;
    case 1:
        cmd->kind = CMD_JOB_KILL;
        name_draw(cmd->job_kill.name, sizeof cmd->job_kill.name);
        return;
    default:
        cmd->kind = CMD_JOB_UPDATE;
        name_draw(cmd->job_update.name, sizeof cmd->job_update.name);
        cmd->job_update.replicas = below(4);
        cmd->job_update.priority = JOB_UPDATE_KEEP;
    }
}

/* Return whether the cell trusts members to send this command: wrong data about the masters,
 * revocations or the hold are not expected to be survivable. */
static bool is_believed(enum cmd_kind kind)
{
    return kind == CMD_MASTERS_SET || kind == CMD_MASTER_ADD || kind == CMD_MASTER_REMOVE ||
           kind == CMD_MASTER_STEP || kind == CMD_IDENTITY_SET || kind == CMD_HOLD_SET;
}

static void cmd_draw(struct buf *to)
{
    struct cmd cmd = {0};
    struct err err;
    enum cmd_kind kind = (enum cmd_kind)(1 + below(CMD_KIND_COUNT - 1));
    if (below(2) == 0 || (talk.role == ROLE_MASTER && is_believed(kind)))
        cmd_sensible(&cmd);
    else
        random_cmd(&talk.random, kind, &cmd);
    if (below(2) == 0)
        cmd.known_index = 0;
    if (cmd_pack(&cmd, to, &err) != 0)
        die(err.msg);
    cmd_release(&cmd);
}

static void query_sensible(struct wire_query *q)
{
    static const char *const texts[] = {"SELECT * FROM task_list", "SELECT count(*) FROM jobs",
                                        "SELECT * FROM nothing",   "SELECT 1; SELECT 2",
                                        "DELETE FROM jobs",        ""};
    *q = (struct wire_query){.sql = xstrdup(texts[below(ARRAY_SIZE(texts))]), .fresh = below(2)};
}

static struct report *reports_draw(uint32_t count)
{
    struct report *reports = xcalloc(count + 1, sizeof *reports);
    for (uint32_t i = 0; i < count; i++)
        random_record(&talk.random, &report_record, &reports[i]);
    return reports;
}

static void hello_sensible(struct wire_hello *h)
{
    memset(h, 0, sizeof *h);
    str_copy(h->name, sizeof h->name, tls_context_identity(talk.tls)->name);
    str_copy(h->addr, sizeof h->addr, "127.0.0.1:9");
    h->capacity = (struct resources){{30, 64 << 20, 64 << 20, 1}}; /* for our own tasks */
    h->instance = 1 + (below(20) == 0);
    h->directory = 1;
    h->report_count = below(4);
    h->reports = reports_draw(h->report_count);
}

/* Make reports about tasks that probably exist. */
static void reports_sensible(struct wire_reports *w)
{
    w->report_count = 1 + below(3);
    w->reports = reports_draw(w->report_count);
    for (uint32_t i = 0; i < w->report_count; i++)
        w->reports[i].task =
            (struct attempt_ref){task_id_of((job_id){1 + below(20)}, below(3)), 1 + below(2)};
}

/* Half of some bodies ask for what is there. */
static bool body_sensible(enum wire_body kind, union wire_any *body)
{
    if (below(2) == 0)
        return false;
    memset(body, 0, sizeof *body);
    if (kind == WIRE_BODY_query) {
        query_sensible(&body->query);
    } else if (kind == WIRE_BODY_hello) {
        hello_sensible(&body->hello);
    } else if (kind == WIRE_BODY_why) {
        name_draw(body->why.job, sizeof body->why.job);
        body->why.index = (int64_t)below(3) - 1;
    } else if (kind == WIRE_BODY_reports) {
        reports_sensible(&body->reports);
    } else if (kind == WIRE_BODY_logs) {
        str_copy(body->logs.job, sizeof body->logs.job, talk.job);
        body->logs.task = talk.task.v;
        body->logs.err = below(4) == 0;
        body->logs.follow = below(2);
    } else if (kind != WIRE_BODY_checkpoint) {
        return false;
    }
    return true;
}

static void message_draw(enum wire_method method, struct buf *to)
{
    enum wire_body kind = wire_rule(method)->request;
    const struct record *record = wire_body_record(kind);
    union wire_any body;
    if (kind == WIRE_BODY_CMD)
        cmd_draw(to);
    /* An empty report is the heartbeat. */
    if (record == NULL || (kind == WIRE_BODY_reports && below(3) == 0))
        return;
    if (!body_sensible(kind, &body))
        random_record(&talk.random, record, &body);
    record_pack(to, record, &body);
    record_release(record, &body);
}

static enum wire_method method_draw(struct peer *p)
{
    static const enum wire_method all[] = {
#define X(name, ...) WIRE_##name,
        WIRE_METHODS(X)
#undef X
    };
    static const enum wire_method of_user[] = {WIRE_COMMAND, WIRE_COMMAND, WIRE_COMMAND, WIRE_QUERY,
                                               WIRE_WHY,     WIRE_STATUS,  WIRE_LOGS};
    static const enum wire_method of_borglet[] = {WIRE_REPORT, WIRE_REPORT, WIRE_USAGE};
    static const enum wire_method of_master[] = {WIRE_FORWARD, WIRE_FORWARD, WIRE_FORWARD,
                                                 WIRE_ALIVE,   WIRE_BARRIER, WIRE_STATUS};
    bool first = !p->greeted;
    p->greeted = true;
    if (below(500) == 0)
        return WIRE_TRANSFER;
    if (below(100) == 0)
        return talk.role == ROLE_USER ? WIRE_CHECKPOINT : WIRE_HELLO;
    if (below(30) == 0) {
        enum wire_method any = all[below(ARRAY_SIZE(all))];
        return any == WIRE_TRANSFER ? WIRE_STATUS : any;
    }
    if (first && talk.role != ROLE_USER)
        return talk.role == ROLE_BORGLET ? WIRE_HELLO : WIRE_JOIN;
    if (talk.role == ROLE_BORGLET)
        return of_borglet[below(ARRAY_SIZE(of_borglet))];
    if (talk.role == ROLE_MASTER)
        return of_master[below(ARRAY_SIZE(of_master))];
    return of_user[below(ARRAY_SIZE(of_user))];
}

/* --- sending -------------------------------------------------------------------------------- */

static void bytes_damage(struct buf *bytes)
{
    size_t size;
    uint8_t *bad = hostile_copy(&talk.random, bytes, &size);
    buf_clear(bytes);
    buf_append(bytes, bad, size);
    free(bad);
}

static void frame_add(struct buf *to, struct rpc_frame frame, const struct buf *body)
{
    struct err err;
    frame.body = body->bytes;
    frame.body_size = body->size;
    if (rpc_frame_pack_head(to, &frame, &err) != 0)
        die(err.msg);
    buf_append(to, body->bytes, body->size);
}

/* Append one message that is damaged, repeated, or replaced by another. */
static void damaged_add(struct peer *p, struct rpc_frame frame, struct buf *body)
{
    struct buf CLEANUP(buf_release) whole = {0};
    talk.damaged++;
    switch (below(6)) {
    case 0: /* repeat it with the same id */
        frame_add(&p->out, frame, body);
        break;
    case 1: /* an unsolicited answer, or a goodbye */
        frame.kind = below(3) == 0 ? RPC_BYE : RPC_ANSWER;
        frame.id = frame.kind == RPC_BYE ? 0 : random_number(&talk.random) | 1;
        frame.code = below(RPC_CODE_MAX + 1);
        break;
    case 2:
        frame.kind = frame.kind == RPC_CALL ? RPC_NOTICE : RPC_CALL;
        frame.id = frame.kind == RPC_CALL ? ++p->last_id : 0;
        break;
    case 3:
        frame_add(&whole, frame, body);
        bytes_damage(&whole);
        buf_append(&p->out, whole.bytes, whole.size);
        return;
    default:
        if (body->size > 0)
            bytes_damage(body);
    }
    frame_add(&p->out, frame, body);
}

static void message_add(struct peer *p)
{
    struct buf CLEANUP(buf_release) body = {0};
    enum wire_method method = method_draw(p);
    bool notice = method == WIRE_USAGE || (method == WIRE_REPORT && below(2) == 0);
    struct rpc_frame frame = {
        .kind = notice ? RPC_NOTICE : RPC_CALL, .id = notice ? 0 : ++p->last_id, .method = method};
    message_draw(method, &body);
    talk.sent++;
    if (below(p->damage_one_in) == 0)
        damaged_add(p, frame, &body);
    else
        frame_add(&p->out, frame, &body);
}

static void peer_go_on(struct peer *p)
{
    if (!p->open || stream_queued(p->s) > QUEUE_BYTES_LOW)
        return;
    /* A borglet that has sent its hello usually waits for the welcome. */
    bool waits = talk.role == ROLE_BORGLET && p->greeted && !p->heard && below(50) > 0;
    if (!waits && (p->out.size == 0 || below(2) == 0))
        message_add(p);
    size_t size = below(8) == 0 ? below((uint32_t)p->out.size + 1) : p->out.size;
    if (stream_write(p->s, p->out.bytes, size) == 0)
        buf_consume(&p->out, size);
}

static void peer_dial(struct peer *p);

static void on_again(uv_timer_t *timer)
{
    peer_dial(timer->data);
}

static void on_open(struct stream *s UNUSED, void *data)
{
    struct peer *p = data;
    p->open = true;
    p->greeted = p->heard = false;
    p->damage_one_in = 2U << below(6);
    buf_clear(&p->out);
    buf_clear(&p->in);
}

/* Return the next complete frame that has been received. */
static bool frame_next(struct peer *p)
{
    struct rpc_frame frame;
    struct err err;
    size_t size;
    if (p->in.size < RPC_LENGTH_BYTES)
        return false;
    if (rpc_frame_length(p->in.bytes, &size, &err) != 0)
        die(err.msg);
    if (p->in.size < RPC_LENGTH_BYTES + size)
        return false;
    if (rpc_frame_unpack(p->in.bytes + RPC_LENGTH_BYTES, size, &frame, &err) != 0)
        die(err.msg);
    p->heard |= frame.kind == RPC_ANSWER;
    talk.answered += frame.kind == RPC_ANSWER && frame.code == 0;
    talk.refused += frame.kind == RPC_ANSWER && frame.code != 0;
    buf_consume(&p->in, RPC_LENGTH_BYTES + size);
    return true;
}

static void on_data(struct stream *s UNUSED, void *data, const void *bytes, size_t size)
{
    struct peer *p = data;
    buf_append(&p->in, bytes, size);
    while (frame_next(p))
        continue;
}

static void on_close(struct stream *s UNUSED, void *data, const struct err *why)
{
    struct peer *p = data;
    p->open = false;
    talk.cut++;
    talk.last = *why;
    uv_timer_start(&p->again, on_again, AGAIN_MS, 0);
}

static void peer_dial(struct peer *p)
{
    static const struct stream_handlers handlers = {on_open, on_data, NULL, on_close};
    struct stream_options options = {.loop = &talk.loop,
                                     .tls = talk.tls,
                                     .handlers = &handlers,
                                     .data = p,
                                     .queue_bytes_max = QUEUE_BYTES};
    struct err err;
    if (stream_connect(&options, p->to, &p->s, &err) != 0)
        uv_timer_start(&p->again, on_again, AGAIN_MS, 0);
}

/* --- the watching user --------------------------------------------------------------------- */

static void watch_fail(const struct watch *w, const char *what)
{
    printf("%s: %s\n", w->to, what);
    fflush(stdout);
    exit(1);
}

static void on_watched(void *data, const struct err *err, const void *body UNUSED,
                       size_t size UNUSED)
{
    struct watch *w = data;
    uint64_t now = clock_mono_ms();
    w->waiting = false;
    if (err != NULL && (err->code == ERR_CLOSED || err->code == ERR_TIMEOUT))
        watch_fail(w, err->msg);
    if (err != NULL) {
        talk.last = *err;
        return; /* no leader at present: try again, up to PATIENCE */
    }
    talk.answers++;
    talk.slowest_ms = MAX(talk.slowest_ms, now - w->asked_ms);
    w->good_ms = now;
    w->command = !w->command;
}

static void watch_ask(struct watch *w)
{
    struct buf CLEANUP(buf_release) body = {0};
    struct cmd cmd = {.kind = CMD_JOB_KILL};
    struct err err;
    uint64_t now = clock_mono_ms();
    if (now - w->good_ms > talk.patience_ms)
        watch_fail(w, talk.last.code != ERR_OK ? talk.last.msg : "no answer");
    if (w->waiting || now - w->asked_ms < WATCH_MS)
        return;
    random_id(cmd.request_id);
    str_copy(cmd.job_kill.name, sizeof cmd.job_kill.name, "nobody-submitted-this");
    if (w->command && cmd_pack(&cmd, &body, &err) != 0)
        die(err.msg);
    if (rpc_request(w->conn, w->command ? WIRE_COMMAND : WIRE_STATUS, body.bytes, body.size,
                    talk.patience_ms, on_watched, w, &err) != 0)
        watch_fail(w, err.msg);
    w->waiting = true;
    w->asked_ms = now;
}

static void on_watch_close(struct rpc_conn *conn, const struct err *why)
{
    watch_fail(rpc_data(conn), why->msg);
}

static void watch_open(struct watch *w, const char *to)
{
    struct rpc_options options = {
        .loop = &talk.loop, .tls = talk.watcher_tls, .data = w, .on_close = on_watch_close};
    struct err err;
    w->to = to;
    w->good_ms = clock_mono_ms();
    if (rpc_connect(&options, to, NULL, &w->conn, &err) != 0)
        die(err.msg);
}

/* --- */

static void on_pump(uv_timer_t *timer UNUSED)
{
    for (size_t i = 0; i < talk.peer_count; i++)
        peer_go_on(&talk.peers[i]);
    for (size_t i = 0; i < talk.watch_count; i++)
        watch_ask(&talk.watches[i]);
}

static void on_end(uv_timer_t *timer UNUSED)
{
    uv_stop(&talk.loop);
}

static struct tls_context *tls_open(const char *dir, const char *name)
{
    char cert[CELL_PATH_MAX + 1], key[CELL_PATH_MAX + 1];
    struct tls_context *tls;
    struct err err;
    snprintf(cert, sizeof cert, "%s/pki/%s.crt", dir, name);
    snprintf(key, sizeof key, "%s/pki/%s.key", dir, name);
    if (tls_context_open(talk.cell.ca_path, cert, key, &tls, &err) != 0)
        die(err.msg);
    return tls;
}

static void peer_add(const char *to)
{
    if (talk.peer_count == PEERS_MAX)
        die("too many addresses");
    struct peer *p = &talk.peers[talk.peer_count++];
    p->to = to;
    uv_timer_init(&talk.loop, &p->again);
    p->again.data = p;
    peer_dial(p);
}

int main(int argc, char **argv)
{
    char path[CELL_PATH_MAX + 1];
    struct err err;
    if (argc < 9)
        die("DIR CERT WATCHER SEED SECONDS PATIENCE JOB ID [ADDR...]");
    unsigned long seconds = strtoul(argv[5], NULL, 10);
    talk.random.state = strtoull(argv[4], NULL, 10);
    talk.patience_ms = strtoull(argv[6], NULL, 10) * 1000;
    talk.job = argv[7];
    talk.task = task_id_of((job_id){strtoull(argv[8], NULL, 10)}, 0);
    if (seconds == 0 || talk.patience_ms == 0)
        die("SECONDS and PATIENCE are numbers");
    signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&talk.loop);
    snprintf(path, sizeof path, "%s/cell.json", argv[1]);
    if (cell_file_load(path, &talk.cell, &err) != 0)
        die(err.msg);
    talk.tls = tls_open(argv[1], argv[2]);
    talk.watcher_tls = tls_open(argv[1], argv[3]);
    talk.role = tls_context_identity(talk.tls)->role;
    for (uint32_t i = 0; i < talk.cell.replica_count; i++) {
        peer_add(talk.cell.replicas[i].rpc);
        watch_open(&talk.watches[talk.watch_count++], talk.cell.replicas[i].rpc);
    }
    for (int i = 9; i < argc; i++)
        peer_add(argv[i]);
    uv_timer_init(&talk.loop, &talk.end);
    uv_timer_init(&talk.loop, &talk.pump);
    uv_timer_start(&talk.end, on_end, seconds * 1000, 0);
    uv_timer_start(&talk.pump, on_pump, PUMP_MS, PUMP_MS);
    uv_run(&talk.loop, UV_RUN_DEFAULT);
    printf("sent %" PRIu64 " damaged %" PRIu64 " answered %" PRIu64 " refused %" PRIu64
           " cut %" PRIu64 "; %s: answered %" PRIu64 ", the slowest after %" PRIu64 " ms\n",
           talk.sent, talk.damaged, talk.answered, talk.refused, talk.cut, argv[3], talk.answers,
           talk.slowest_ms);
    return talk.answered > 0 && talk.refused > 0 && talk.answers > 0 ? 0 : 1;
}

#ifdef __SANITIZE_ADDRESS__
/* The process exits without freeing its connections. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}
#endif
