/*
 * abuse_attacks.c - attacks by a user, a machine or a stranger, each in a process of its own.
 *
 * They use the product's own client where it allows the attack, and streams or plain sockets
 * otherwise. An attack starts at once, reopens closed connections, and never ends by itself.
 */
#include "abuse_attacks.h"

#include "cell_file.h"
#include "clock.h"
#include "cmd_pack.h"
#include "log.h"
#include "rpc.h"
#include "wire.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    CONNECTIONS = 8, /* of attackers that send, over all replicas */
    DEPTH = 64,      /* unanswered calls on each connection */
    AGAIN_MS = 20,   /* until a closed connection is reopened */
    CROWD = 3000,    /* connections of attackers that only connect */
    CROWD_TURN = 100,
    REPORTS = 30000,
    HANDSHAKES = 500,
    LARGE_WORD = 1000,
    LARGE_WORDS = 30,
};

/* The state of the attacker of this process. */
struct attacker {
    uv_loop_t loop;
    uv_timer_t timer;
    struct cell_file cell;
    struct tls_context *tls;
    const char *dir;
    uint32_t method;
    struct buf body;
    bool notices;
    struct buf first; /* a command to send first on each connection; empty: none */
    size_t crowd, open;
    void (*pack)(struct buf *to); /* packs a new body for each message; NULL: always `body` */
    struct line *lines;
    size_t line_count;
    struct rpc_options options;
};

struct line {
    struct rpc_conn *conn; /* NULL: none */
    struct stream *stream; /* the same, for attacks that calls do not allow */
    size_t number;
    bool open;
};

static struct attacker attacker;

_Noreturn static void die(const struct err *err)
{
    fprintf(stderr, "abuse: %s\n", err->msg);
    exit(1);
}

static void become_of(const char *pki, const char *dir, enum role role, const char *name)
{
    char path[CELL_PATH_MAX + 32], file[CELL_NAME_MAX + 16], cert[sizeof path + sizeof file];
    char key[sizeof cert], ca[sizeof cert];
    struct identity self = {.role = role};
    struct err err;
    str_copy(self.name, sizeof self.name, name);
    signal(SIGPIPE, SIG_IGN);
    log_open(LOG_ERROR, "abuse");
    attacker.dir = dir;
    uv_loop_init(&attacker.loop);
    uv_timer_init(&attacker.loop, &attacker.timer);
    snprintf(path, sizeof path, "%s/cell.json", dir);
    if (cell_file_load(path, &attacker.cell, &err) != 0)
        die(&err);
    snprintf(path, sizeof path, "%s/%s", dir, pki);
    snprintf(ca, sizeof ca, "%s/ca.crt", path);
    snprintf(file, sizeof file, "abuse-%s-%s", role_text(role), name);
    snprintf(cert, sizeof cert, "%s/%s.crt", path, file);
    snprintf(key, sizeof key, "%s/%s.key", path, file);
    if ((access(cert, R_OK) != 0 && pki_make_cert(path, file, &self, &err) != 0) ||
        tls_context_open(ca, cert, key, &attacker.tls, &err) != 0)
        die(&err);
}

static void become(const char *dir, enum role role, const char *name)
{
    become_of("pki", dir, role, name);
}

static const char *address_of(size_t number)
{
    return attacker.cell.replicas[number % attacker.cell.replica_count].rpc;
}

/* Calls and notices, as many as the connection accepts */

static void abuse_attacks_on_answer(void *data, const struct err *err, const void *body,
                                    size_t size);

static bool send_one(struct line *line)
{
    struct buf CLEANUP(buf_release) made = {0};
    const struct buf *body = &attacker.body;
    struct err err;
    if (attacker.pack != NULL) {
        attacker.pack(&made);
        body = &made;
    }
    if (attacker.notices)
        return rpc_notify(line->conn, attacker.method, body->bytes, body->size) == 0;
    return rpc_request(line->conn, attacker.method, body->bytes, body->size, 0,
                       abuse_attacks_on_answer, line, &err) == 0;
}

static void abuse_attacks_on_answer(void *data, const struct err *err, const void *body UNUSED,
                                    size_t size UNUSED)
{
    struct line *line = data;
    if (line->open && (err == NULL || err->code != ERR_CLOSED))
        (void)send_one(line);
}

static void abuse_attacks_on_first(void *data UNUSED, const struct err *err UNUSED,
                                   const void *body UNUSED, size_t size UNUSED)
{
}

static void abuse_attacks_on_open(struct rpc_conn *conn)
{
    struct line *line = rpc_data(conn);
    line->open = true;
    if (attacker.first.size > 0)
        (void)!rpc_request(line->conn, WIRE_COMMAND, attacker.first.bytes, attacker.first.size, 0,
                           abuse_attacks_on_first, NULL, NULL);
    for (size_t i = 0; i < DEPTH; i++)
        if (!send_one(line))
            return;
}

static void abuse_attacks_on_close(struct rpc_conn *conn, const struct err *why UNUSED)
{
    struct line *line = rpc_data(conn);
    line->conn = NULL;
    line->open = false;
}

static void lines_open(uv_timer_t *timer UNUSED)
{
    for (size_t i = 0; i < attacker.line_count; i++) {
        struct line *line = &attacker.lines[i];
        struct err err;
        attacker.options.data = line;
        if (line->conn == NULL &&
            rpc_connect(&attacker.options, address_of(i), NULL, &line->conn, &err) != 0)
            line->conn = NULL;
        /* There is no answer to a notice that would trigger the next one. */
        while (line->open && attacker.notices && send_one(line))
            ;
    }
}

static void send_on(uint32_t method, bool notices)
{
    attacker.method = method;
    attacker.notices = notices;
    attacker.line_count = CONNECTIONS;
    attacker.lines = xcalloc(CONNECTIONS, sizeof *attacker.lines);
    attacker.options = (struct rpc_options){.loop = &attacker.loop,
                                            .tls = attacker.tls,
                                            .on_open = abuse_attacks_on_open,
                                            .on_close = abuse_attacks_on_close};
    uv_timer_start(&attacker.timer, lines_open, 0, AGAIN_MS);
    uv_run(&attacker.loop, UV_RUN_DEFAULT);
}

static void pack_kill(struct buf *to)
{
    struct cmd cmd = {.kind = CMD_JOB_KILL};
    random_id(cmd.request_id);
    str_copy(cmd.job_kill.name, sizeof cmd.job_kill.name, "nobody-submitted-this");
    if (cmd_pack(&cmd, to, NULL) != 0)
        abort();
}

static void attack_calls(const char *dir)
{
    become(dir, ROLE_USER, "mallory");
    attacker.pack = pack_kill;
    send_on(WIRE_COMMAND, false);
}

static void attack_notices(const char *dir)
{
    become(dir, ROLE_USER, "mallory");
    attacker.pack = pack_kill;
    send_on(WIRE_COMMAND, true);
}

static void query_on(const char *sql)
{
    wire_pack_query(&attacker.body, &(struct wire_query){.sql = (char *)(uintptr_t)sql});
    send_on(WIRE_QUERY, false);
}

static void attack_queries(const char *dir)
{
    become(dir, ROLE_USER, "mallory");
    query_on("SELECT instr(hex(zeroblob(400000)), hex(zeroblob(200000)) || '1')");
}

static void attack_sorts(const char *dir)
{
    become(dir, ROLE_USER, "mallory");
    query_on("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000) "
             "SELECT count(*) FROM (SELECT DISTINCT i || 'xxxxxxxxxxxxxxxxxxxxxxxx' FROM n)");
}

/* Return a job that fits nowhere. */
static struct cmd submit_of_no_use(const char *name)
{
    struct cmd cmd = {.kind = CMD_JOB_SUBMIT};
    struct job_spec *spec = &cmd.job_submit;
    random_id(cmd.request_id);
    spec_init(spec);
    str_copy(spec->name, sizeof spec->name, name);
    words_add(&spec->argv, "true");
    spec->limit.v[RES_CPU] = RESOURCE_AMOUNT_MAX;
    spec->limit.v[RES_RAM] = 1 << 20;
    return cmd;
}

static void pack_regex(struct buf *to)
{
    char text[160] = "rack regex a", name[CELL_NAME_MAX + 1];
    struct term term;
    uint64_t id[2];
    random_id(id);
    snprintf(name, sizeof name, "regex-%" PRIx64, id[0]);
    struct cmd cmd = submit_of_no_use(name);
    memset(text + strlen(text), '*', 110);
    for (int i = 0; i < SPEC_REGEXES_MAX && term_parse(text, &term, NULL) == 0; i++)
        clause_add(clauses_add(&cmd.job_submit.constraints, 0), term);
    if (cmd_pack(&cmd, to, NULL) != 0)
        abort();
    cmd_release(&cmd);
}

/* Pack the largest possible job: it stays in the log, also in memory, until the next snapshot. */
static void pack_large(struct buf *to)
{
    char word[LARGE_WORD + 1], name[CELL_NAME_MAX + 1];
    uint64_t id[2];
    random_id(id);
    snprintf(name, sizeof name, "large-%" PRIx64, id[0]);
    struct cmd cmd = submit_of_no_use(name);
    memset(word, 'x', LARGE_WORD);
    word[LARGE_WORD] = '\0';
    for (int i = 0; i < LARGE_WORDS; i++)
        words_add(&cmd.job_submit.argv, word);
    if (cmd_pack(&cmd, to, NULL) != 0)
        abort();
    cmd_release(&cmd);
}

static void attack_specs(const char *dir)
{
    become(dir, ROLE_USER, "mallory");
    attacker.pack = pack_large;
    send_on(WIRE_COMMAND, false);
}

static void attack_regexes(const char *dir)
{
    become(dir, ROLE_USER, "mallory");
    attacker.pack = pack_regex;
    send_on(WIRE_COMMAND, false);
}

static void attack_whys(const char *dir)
{
    struct wire_why why = {.index = -1, .want_names = true};
    become(dir, ROLE_USER, "mallory");
    str_copy(why.job, sizeof why.job, "abuse-why");
    wire_pack_why(&attacker.body, &why);
    send_on(WIRE_WHY, false);
}

/* Ask about his own job, which fits nowhere: each answer is computed and sent. */
static void attack_own_whys(const char *dir)
{
    struct cmd cmd = submit_of_no_use("abuse-own");
    struct wire_why why = {.index = -1, .want_names = true};
    become(dir, ROLE_USER, "mallory");
    if (cmd_pack(&cmd, &attacker.first, NULL) != 0)
        abort();
    cmd_release(&cmd);
    str_copy(why.job, sizeof why.job, "abuse-own");
    wire_pack_why(&attacker.body, &why);
    send_on(WIRE_WHY, false);
}

static void attack_statuses(const char *dir)
{
    become(dir, ROLE_USER, "mallory");
    send_on(WIRE_STATUS, false);
}

static void attack_checkpoints(const char *dir)
{
    become(dir, ROLE_USER, "mallory");
    wire_pack_checkpoint(&attacker.body, &(struct wire_checkpoint){0});
    send_on(WIRE_CHECKPOINT, false);
}

static void attack_reports(const char *dir)
{
    struct wire_reports all = {.reports = xcalloc(REPORTS, sizeof *all.reports),
                               .report_count = REPORTS};
    become(dir, ROLE_BORGLET, "evil");
    for (uint32_t i = 0; i < REPORTS; i++)
        all.reports[i] =
            (struct report){.task = {.task = task_id_of((job_id){1}, REPORTS - i), .attempt = 1},
                            .kind = REPORT_RUNNING};
    wire_pack_reports(&attacker.body, &all);
    send_on(WIRE_REPORT, false);
}

static void attack_hellos(const char *dir)
{
    struct wire_hello hello = {.name = "evil", .addr = "127.0.0.1:1"};
    become(dir, ROLE_BORGLET, "evil");
    hello.capacity.v[RES_CPU] = 1000;
    hello.capacity.v[RES_RAM] = 1 << 30;
    wire_pack_hello(&attacker.body, &hello);
    send_on(WIRE_HELLO, false);
}

/* Streams that send incomplete frames */

static const char zeros[65536];

static void partial_write(struct stream *s)
{
    static const unsigned char head[4] = {
        RPC_FRAME_BYTES_MAX >> 24, RPC_FRAME_BYTES_MAX >> 16 & 255, RPC_FRAME_BYTES_MAX >> 8 & 255,
        RPC_FRAME_BYTES_MAX & 255};
    (void)!stream_write(s, head, sizeof head);
    for (size_t at = 0; at + sizeof zeros <= RPC_FRAME_BYTES_MAX - 1; at += sizeof zeros)
        if (stream_write(s, zeros, sizeof zeros) != 0)
            return;
}

static void partial_on_open(struct stream *s, void *data UNUSED)
{
    partial_write(s);
}

static void partial_on_data(struct stream *s UNUSED, void *data UNUSED, const void *bytes UNUSED,
                            size_t size UNUSED)
{
}

static void partial_on_close(struct stream *s UNUSED, void *data, const struct err *why UNUSED)
{
    ((struct line *)data)->stream = NULL;
}

static void streams_open(uv_timer_t *timer UNUSED)
{
    static const struct stream_handlers handlers = {
        .on_open = partial_on_open, .on_data = partial_on_data, .on_close = partial_on_close};
    size_t begun = 0;
    for (size_t i = 0; i < attacker.line_count && begun < CROWD_TURN; i++) {
        struct line *line = &attacker.lines[i];
        struct stream_options options = {.loop = &attacker.loop,
                                         .tls = attacker.tls,
                                         .handlers = &handlers,
                                         .data = line,
                                         .queue_bytes_max = RPC_FRAME_BYTES_MAX,
                                         .expect = {.role = ROLE_MASTER}};
        struct err err;
        if (line->stream != NULL)
            continue;
        begun++;
        if (stream_connect(&options, address_of(i), &line->stream, &err) != 0)
            line->stream = NULL;
    }
}

static void attack_frames(const char *dir)
{
    become(dir, ROLE_USER, "mallory");
    attacker.line_count = 100;
    attacker.lines = xcalloc(attacker.line_count, sizeof *attacker.lines);
    uv_timer_start(&attacker.timer, streams_open, 0, AGAIN_MS);
    uv_run(&attacker.loop, UV_RUN_DEFAULT);
}

/* Connections that send nothing */

static void crowd_on_open(struct rpc_conn *conn)
{
    struct line *line = rpc_data(conn);
    line->open = true;
}

static void crowd_open(uv_timer_t *timer UNUSED)
{
    size_t begun = 0;
    for (size_t i = 0; i < attacker.line_count && begun < CROWD_TURN; i++) {
        struct line *line = &attacker.lines[i];
        struct err err;
        if (line->conn != NULL)
            continue;
        begun++;
        attacker.options.data = line;
        if (rpc_connect(&attacker.options, address_of(i), NULL, &line->conn, &err) != 0)
            line->conn = NULL;
    }
}

static void attack_connections(const char *dir)
{
    become(dir, ROLE_USER, "mallory");
    stream_files_raise();
    attacker.line_count = CROWD;
    attacker.lines = xcalloc(CROWD, sizeof *attacker.lines);
    attacker.options = (struct rpc_options){.loop = &attacker.loop,
                                            .tls = attacker.tls,
                                            .on_open = crowd_on_open,
                                            .on_close = abuse_attacks_on_close};
    uv_timer_start(&attacker.timer, crowd_open, 0, AGAIN_MS);
    uv_run(&attacker.loop, UV_RUN_DEFAULT);
}

struct stranger {
    uv_tcp_t tcp;
    uv_connect_t request;
    bool busy;
};

static void stranger_on_closed(uv_handle_t *handle)
{
    ((struct stranger *)handle->data)->busy = false;
}

static void stranger_end(struct stranger *s)
{
    if (!uv_is_closing((uv_handle_t *)&s->tcp))
        uv_close((uv_handle_t *)&s->tcp, stranger_on_closed);
}

static void stranger_on_alloc(uv_handle_t *handle UNUSED, size_t size UNUSED, uv_buf_t *buf)
{
    static char none[256];
    *buf = uv_buf_init(none, sizeof none);
}

static void stranger_on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf UNUSED)
{
    if (n < 0)
        stranger_end(stream->data);
}

static void stranger_on_connect(uv_connect_t *request, int status)
{
    struct stranger *s = request->data;
    if (status != 0 ||
        uv_read_start((uv_stream_t *)&s->tcp, stranger_on_alloc, stranger_on_read) != 0)
        stranger_end(s);
}

static struct stranger *strangers;

static void strangers_open(uv_timer_t *timer UNUSED)
{
    size_t begun = 0;
    for (size_t i = 0; i < CROWD && begun < CROWD_TURN; i++) {
        struct stranger *s = &strangers[i];
        struct sockaddr_storage to;
        if (s->busy || address_parse(address_of(i), &to, NULL) != 0)
            continue;
        begun++;
        s->busy = true;
        uv_tcp_init(&attacker.loop, &s->tcp);
        s->tcp.data = s->request.data = s;
        if (uv_tcp_connect(&s->request, &s->tcp, (struct sockaddr *)&to, stranger_on_connect) != 0)
            stranger_end(s);
    }
}

static void attack_strangers(const char *dir)
{
    become(dir, ROLE_USER, "mallory"); /* only for the addresses: no certificate is sent */
    stream_files_raise();
    strangers = xcalloc(CROWD, sizeof *strangers);
    uv_timer_start(&attacker.timer, strangers_open, 0, AGAIN_MS);
    uv_run(&attacker.loop, UV_RUN_DEFAULT);
}

/* The masters do their part of each handshake before they see that the peer has no valid
 * certificate. */
static void attack_handshakes(const char *dir)
{
    char path[CELL_PATH_MAX + 32];
    struct err err;
    snprintf(path, sizeof path, "%s/abuse-pki", dir);
    if (mkdir(path, 0700) == 0 && pki_make_ca(path, "elsewhere", &err) != 0)
        die(&err);
    become_of("abuse-pki", dir, ROLE_USER, "mallory");
    stream_files_raise();
    attacker.line_count = HANDSHAKES;
    attacker.lines = xcalloc(attacker.line_count, sizeof *attacker.lines);
    uv_timer_start(&attacker.timer, streams_open, 0, 1);
    uv_run(&attacker.loop, UV_RUN_DEFAULT);
}

const struct attack attacks[] = {
    {"none", "nobody attacks", NULL},
    {"calls", "a user, 8 connections, 64 commands unanswered on each", attack_calls},
    {"notices", "a user, 8 connections, commands as notices", attack_notices},
    {"frames", "a user, 100 frames of 8 MiB without their last byte", attack_frames},
    {"connections", "a user, 3,000 connections that ask nothing", attack_connections},
    {"strangers", "nobody's certificate, 3,000 connections", attack_strangers},
    {"handshakes", "nobody's certificate, 500 handshakes at a time", attack_handshakes},
    {"queries", "a user, instr() of 200 KB in 400 KB, 512 at a time", attack_queries},
    {"sorts", "a user, sorts of 100 MB, 512 at a time", attack_sorts},
    {"regexes", "a user, jobs with 16 regexes of 110 stars", attack_regexes},
    {"specs", "a user, jobs of 30 KB", attack_specs},
    {"whys", "a user, `why` of another's job, refused, 512 at a time", attack_whys},
    {"own-whys", "a user, `why` of a job of his own, 512 at a time", attack_own_whys},
    {"statuses", "a user, the smallest question, 512 at a time", attack_statuses},
    {"checkpoints", "a user, checkpoints, refused, 512 at a time", attack_checkpoints},
    {"reports", "a machine, 30,000 reports in descending order in a message", attack_reports},
    {"hellos", "a machine, one hello after another", attack_hellos},
    {NULL, NULL, NULL},
};
