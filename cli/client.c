/*
 * client.c - connect to any replica, call it, retry while a retry can help.
 */
#include "client.h"
#include "clock.h"
#include "cmd_pack.h"
#include "hash.h"
#include "text.h"
#include "tls_watch.h"

#include <pwd.h>
#include <stdarg.h>
#include <sqlite3.h> /* only for its quoting functions */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void client_cell_path(const struct cli *cli, char ret[CELL_PATH_MAX + 1])
{
    const char *path = cli_value(cli, OPT_CELL);
    char home[CELL_PATH_MAX + 1];
    struct stat st;
    if (path == NULL)
        path = getenv("BORG_CELL");
    if (path == NULL || path[0] == '\0') {
        const char *dir = getenv("HOME");
        snprintf(home, sizeof home, "%s/.borg/cell", dir != NULL ? dir : "");
        path = home;
    }
    size_t n = strlen(path);
    bool file = n >= 5 && strcmp(path + n - 5, ".json") == 0;
    if (stat(path, &st) == 0)
        file = !S_ISDIR(st.st_mode);
    snprintf(ret, CELL_PATH_MAX + 1, "%s%s", path, file ? "" : "/cell.json");
}

static void user_name(const struct cli *cli, char ret[CELL_NAME_MAX + 1])
{
    const char *name = cli_value(cli, OPT_USER);
    const struct passwd *pw = name == NULL ? getpwuid(geteuid()) : NULL;
    if (name == NULL)
        name = pw != NULL ? pw->pw_name : "root";
    str_copy(ret, CELL_NAME_MAX + 1, name);
}

static int credentials_open(struct client *c, struct err *err)
{
    char dir[CELL_PATH_MAX + 1], cert[CELL_PATH_MAX + 128], key[CELL_PATH_MAX + 128];
    str_copy(dir, sizeof dir, c->cell_path);
    char *slash = strrchr(dir, '/');
    if (slash == NULL)
        str_copy(dir, sizeof dir, ".");
    else
        *slash = '\0';
    snprintf(cert, sizeof cert, "%s/pki/user-%s.crt", dir, c->user);
    snprintf(key, sizeof key, "%s/pki/user-%s.key", dir, c->user);
    if (access(cert, R_OK) < 0)
        return err_set(err, ERR_DENIED,
                       "user \"%.63s\" has no certificate %.300s that can be read; name another "
                       "with --user",
                       c->user, cert);
    return tls_context_open(c->cell.ca_path, cert, key, &c->tls, err);
}

int client_open(const struct cli *cli, struct client **ret, struct err *err)
{
    struct client *c = xcalloc(1, sizeof *c);
    client_cell_path(cli, c->cell_path);
    user_name(cli, c->user);
    c->timeout_ms = cli->timeout_ms;
    c->quiet = cli->quiet;
    int r = 0;
    if (access(c->cell_path, F_OK) < 0)
        r = err_set(err, ERR_NOT_FOUND,
                    "there is no cell at %.300s; start one with `borgctl cell up`, or name one "
                    "with --cell",
                    c->cell_path);
    else if (strchr(c->user, '/') != NULL)
        r = err_set(err, ERR_INVALID, "--user: \"%.63s\" is not a name", c->user);
    if (r < 0 || cell_file_load(c->cell_path, &c->cell, err) < 0 || credentials_open(c, err) < 0) {
        free(c);
        return -(int)err->code;
    }
    if (uv_loop_init(&c->loop) < 0)
        PANIC("cannot make an event loop");
    uv_timer_init(&c->loop, &c->tick);
    c->watch = tls_watch_open(&c->loop, c->tls);
    /* Users are spread over the replicas, but each user keeps to one replica: his calls see the
     * effects of his earlier calls without a round trip to the leader. */
    c->next = hash_text(0, c->user) % c->cell.replica_count;
    *ret = c;
    return 0;
}

static void client_on_tick(uv_timer_t *timer UNUSED)
{
}

void client_turn(struct client *c, uint64_t ms)
{
    uv_update_time(&c->loop);
    uv_timer_start(&c->tick, client_on_tick, MAX(ms, 1), 0);
    uv_run(&c->loop, UV_RUN_ONCE);
    uv_timer_stop(&c->tick);
}

static void client_on_open(struct rpc_conn *conn)
{
    struct client_attempt *a = rpc_data(conn);
    a->open = !a->closing;
}

static void client_on_close(struct rpc_conn *conn, const struct err *why)
{
    struct client_attempt *a = rpc_data(conn);
    if (a->client->current == a)
        a->client->current = NULL;
    a->conn = NULL;
    a->open = false;
    if (why != NULL && !a->closing) /* otherwise we closed it, and the earlier reason stays */
        a->why = *why;
}

static void attempt_close(struct client_attempt *a)
{
    if (a->conn == NULL || a->closing)
        return;
    a->closing = true;
    if (a->client->current == a)
        a->client->current = NULL;
    rpc_close(a->conn); /* client_on_close() sets conn to NULL */
}

/* Return whether any handle besides our own timer is open. */
static bool loop_is_busy(struct client *c)
{
    uv_unref((uv_handle_t *)&c->tick);
    bool busy = uv_loop_alive(&c->loop) != 0;
    uv_ref((uv_handle_t *)&c->tick);
    return busy;
}

void client_close(struct client *c)
{
    if (c == NULL)
        return;
    for (size_t i = 0; i < CELL_REPLICAS_MAX; i++) {
        if (c->attempts[i].conn != NULL)
            attempt_close(&c->attempts[i]);
    }
    uint64_t deadline = clock_mono_ms() + CLIENT_CLOSE_MS;
    while (loop_is_busy(c) && clock_mono_ms() < deadline)
        client_turn(c, 20);
    tls_watch_close(c->watch);
    uv_close((uv_handle_t *)&c->tick, NULL);
    uv_run(&c->loop, UV_RUN_NOWAIT);
    /* A connection that is still closing keeps the loop and the TLS context alive; the process ends
     * anyway. */
    if (uv_loop_close(&c->loop) == 0) {
        tls_context_close(c->tls);
        free(c);
    }
}

void client_forget(struct client *c)
{
    for (size_t i = 0; i < CELL_REPLICAS_MAX; i++) {
        attempt_close(&c->attempts[i]);
        while (c->attempts[i].conn != NULL)
            client_turn(c, 20);
    }
    c->next = 0;
}

void client_close_ptr(struct client **client)
{
    client_close(*client);
}

static void attempt_start(struct client *c, size_t replica)
{
    struct client_attempt *a = &c->attempts[replica];
    struct err err;
    ASSERT(a->conn == NULL);
    a->client = c;
    a->replica = replica;
    a->open = false;
    a->closing = false;
    a->started_ms = clock_mono_ms();
    a->options = (struct rpc_options){.loop = &c->loop,
                                      .tls = c->tls,
                                      .data = a,
                                      .on_open = client_on_open,
                                      .on_close = client_on_close};
    if (rpc_connect(&a->options, c->cell.replicas[replica].rpc, NULL, &a->conn, &err) < 0) {
        a->why = err;
        a->conn = NULL;
    }
}

/* Use the first open connection and close the others. */
static bool attempt_choose(struct client *c)
{
    for (size_t i = 0; i < c->cell.replica_count && c->current == NULL; i++) {
        struct client_attempt *a = &c->attempts[i];
        if (a->conn != NULL && a->open && !a->closing)
            c->current = a;
    }
    for (size_t i = 0; i < c->cell.replica_count && c->current != NULL; i++) {
        if (&c->attempts[i] != c->current)
            attempt_close(&c->attempts[i]);
    }
    return c->current != NULL;
}

static size_t attempts_expire(struct client *c, uint64_t now)
{
    size_t busy = 0;
    for (size_t i = 0; i < c->cell.replica_count; i++) {
        struct client_attempt *a = &c->attempts[i];
        if (a->conn != NULL && !a->open && !a->closing &&
            now >= a->started_ms + CLIENT_CONNECT_MS) {
            err_set(&a->why, ERR_TIMEOUT, "does not answer");
            attempt_close(a);
        }
        busy += a->conn != NULL;
    }
    return busy;
}

/* Try all replicas once, starting with c->next; return false if none accepts us. */
static bool client_round(struct client *c, uint64_t deadline)
{
    size_t started = 0, busy;
    uint64_t next_start = 0;
    do {
        uint64_t now = clock_mono_ms();
        busy = attempts_expire(c, now);
        if (attempt_choose(c))
            return true;
        if (started < c->cell.replica_count && (busy == 0 || now >= next_start)) {
            size_t replica = (c->next + started++) % c->cell.replica_count;
            if (c->attempts[replica].conn == NULL)
                attempt_start(c, replica);
            next_start = now + CLIENT_STAGGER_MS;
            busy++; /* examine it at least once */
        }
        client_turn(c, 20);
    } while (clock_mono_ms() < deadline && (busy > 0 || started < c->cell.replica_count));
    return attempt_choose(c);
}

/* The state that all retries of a call share. */
struct retry {
    struct client *client;
    uint64_t started_ms;
    uint64_t deadline_ms;
    bool reported;       /* the user has been told that we wait */
    bool denied;         /* no replica will accept us */
    bool unknown;        /* an attempt may have had its effect */
    uint64_t attempt_ms; /* grows, so that a slow cell can answer a later attempt */
};

static void retry_print(struct retry *r, const struct err *why)
{
    if (r->reported || r->client->quiet || clock_mono_ms() < r->started_ms + CLIENT_NOTICE_MS)
        return;
    r->reported = true;
    print_err("borgctl: waiting, up to %" PRIu64 " s: %s\n",
              (r->deadline_ms - r->started_ms) / 1000, why->msg);
}

/* Report our own expired certificate before any replica is asked. */
static int own_check(const struct client *c, struct err *err)
{
    const struct tls_cert *own = tls_context_cert(c->tls);
    uint64_t now_ms = clock_wall_ms();
    bool ca = tls_context_ca_expires_ms(c->tls) != 0 && tls_context_ca_expires_ms(c->tls) <= now_ms;
    if (own->expires_ms > now_ms)
        return 0;
    return err_set(err, ERR_DENIED,
                   "the certificate of %s has expired on %s; where the CA's key is, renew it: "
                   "`borgctl pki renew%s`",
                   ca ? "the cell's CA" : identity_text(&own->identity).text,
                   tls_date(own->expires_ms).text, ca ? " --ca" : "");
}

/* Return whether all replicas that answered have rejected us. */
static bool is_denied(const struct client *c)
{
    size_t denied = 0;
    for (size_t i = 0; i < c->cell.replica_count; i++)
        denied += c->attempts[i].conn == NULL && c->attempts[i].why.code == ERR_DENIED;
    return denied == c->cell.replica_count;
}

static int denied_explain(const struct client *c, const struct err *why, struct err *err)
{
    return err_set(
        err, ERR_UNAVAILABLE,
        "cell \"%s\" rejects the connection: %.250s; `borgctl cell status` and, where the CA "
        "is, `borgctl pki list` show whose certificate is the reason",
        c->cell.name, why->msg);
}

static void unreachable_explain(const struct client *c, struct err *err)
{
    CLEANUP(buf_release) struct buf list = {0};
    for (size_t i = 0; i < c->cell.replica_count; i++)
        buf_printf(&list, "%s%s", i > 0 ? ", " : "", c->cell.replicas[i].rpc);
    const struct err *why = &c->attempts[c->next % c->cell.replica_count].why;
    if (is_denied(c)) {
        (void)!denied_explain(c, why, err);
        return;
    }
    err_set(err, ERR_UNAVAILABLE,
            "no replica of cell \"%s\" can be reached (%.200s; %.120s); if it is down, `borgctl "
            "cell up` brings it back",
            c->cell.name, buf_text(&list), why->code != ERR_OK ? why->msg : "no answer");
}

struct exchange {
    bool done;
    struct err err;
    struct buf body;
};

static void client_on_answer(void *data, const struct err *err, const void *body, size_t size)
{
    struct exchange *x = data;
    x->done = true;
    x->err = (struct err){0};
    if (err != NULL)
        x->err = *err;
    else
        buf_append(&x->body, body, size);
}

static int exchange_once(struct client *c, uint32_t method, const struct buf *request,
                         uint64_t timeout_ms, struct exchange *x)
{
    x->done = false;
    buf_clear(&x->body);
    if (rpc_request(c->current->conn, method, request->bytes, request->size, timeout_ms,
                    client_on_answer, x, &x->err) < 0) {
        x->err.code = ERR_UNAVAILABLE; /* it was not sent */
        return -ERR_UNAVAILABLE;
    }
    while (!x->done)
        client_turn(c, timeout_ms);
    return -(int)x->err.code;
}

static bool may_retry(enum err_code code)
{
    return code == ERR_UNAVAILABLE || code == ERR_NOT_LEADER || code == ERR_UNKNOWN_OUTCOME ||
           code == ERR_CLOSED || code == ERR_TIMEOUT;
}

/* A call with the function that decodes its answer; `read` may return a refusal. */
struct call {
    uint32_t method;
    const struct buf *request;
    uint64_t attempt_ms;
    int (*read)(void *ret, const void *bytes, size_t size, struct err *err);
    void *ret;
};

static int call_attempt(struct retry *r, const struct call *call, struct exchange *x,
                        struct err *err)
{
    struct client *c = r->client;
    uint64_t now = clock_mono_ms();
    /* Give the last attempt at least 500 ms: a late answer is better than an unknown outcome. */
    uint64_t left = r->deadline_ms > now + 500 ? r->deadline_ms - now : 500;
    const struct client_attempt *a = c->current;
    exchange_once(c, call->method, call->request, MIN(r->attempt_ms, left), x);
    if (x->err.code == ERR_CLOSED && a->conn == NULL && a->why.code == ERR_DENIED) {
        r->denied = true; /* our certificate is not accepted */
        return denied_explain(c, &a->why, err);
    }
    if (x->err.code == ERR_OK)
        return call->read(call->ret, buf_text(&x->body), x->body.size, err);
    *err = x->err;
    return -(int)err->code;
}

static int client_call(struct client *c, const struct call *call, struct err *err)
{
    struct retry r = {.client = c, .started_ms = clock_mono_ms(), .attempt_ms = call->attempt_ms};
    r.deadline_ms = r.started_ms + c->timeout_ms;
    struct exchange x = {0};
    int rc;
    if (own_check(c, err) != 0)
        return -(int)err->code;
    for (;;) {
        if (c->current == NULL && !client_round(c, r.deadline_ms)) {
            unreachable_explain(c, err);
            rc = -(int)err->code;
            r.denied = is_denied(c);
        } else {
            rc = call_attempt(&r, call, &x, err);
            r.unknown |= rc == -ERR_UNKNOWN_OUTCOME || rc == -ERR_CLOSED || rc == -ERR_TIMEOUT;
            if (rc == 0 || r.denied || !may_retry(err->code))
                break;
            if (rc == -ERR_TIMEOUT)
                r.attempt_ms *= 2;
            /* Another replica may know the leader, or be on the majority side of a network
             * partition. */
            if (c->current != NULL) {
                c->next = (c->current->replica + 1) % c->cell.replica_count;
                attempt_close(c->current);
            }
        }
        if (r.denied)
            break;
        retry_print(&r, err);
        if (clock_mono_ms() + CLIENT_PAUSE_MS >= r.deadline_ms)
            break;
        uint64_t until = clock_mono_ms() + CLIENT_PAUSE_MS;
        while (clock_mono_ms() < until)
            client_turn(c, CLIENT_PAUSE_MS);
    }
    buf_release(&x.body);
    bool over = rc < 0 && (may_retry(err->code) || err->code == ERR_EXPIRED);
    if (over && r.unknown && call->method == WIRE_COMMAND) {
        char last[ERR_MSG_MAX];
        memcpy(last, err->msg, sizeof last);
        return err_set(err, ERR_UNKNOWN_OUTCOME,
                       "the cell did not report the outcome of the command (%.250s); check with "
                       "`borgctl jobs` before you repeat it",
                       last);
    }
    if (rc < 0 && may_retry(err->code))
        err->code = ERR_UNAVAILABLE;
    return rc < 0 ? -(int)err->code : 0;
}

static int read_answer(void *ret, const void *bytes, size_t size, struct err *err)
{
    struct wire_answer *a = ret;
    if (wire_unpack_answer(bytes, size, a, err) < 0)
        return -(int)err->code;
    if (a->code != ERR_OK)
        return err_set(err, a->code, "%s", a->msg[0] != '\0' ? a->msg : err_code_text(a->code));
    return 0;
}

static int read_status(void *ret, const void *bytes, size_t size, struct err *err)
{
    return wire_unpack_status(bytes, size, ret, err);
}

/* Fetch an index that the log already holds. It tells the cell how far back it may have forgotten
 * the answers to our requests. */
static int known_index(struct client *c, uint64_t *ret, struct err *err)
{
    const struct buf nothing = {0};
    struct wire_status status;
    struct call call = {WIRE_STATUS, &nothing, CLIENT_STATUS_MS, read_status, &status};
    int r = client_call(c, &call, err);
    if (r == 0)
        *ret = MAX(c->index_min, status.applied_index);
    return r;
}

/* Send the command, in all attempts with one request id. */
static int command_once(struct client *c, struct cmd *cmd, struct wire_answer *ret, struct err *err)
{
    CLEANUP(buf_release) struct buf request = {0};
    random_id(cmd->request_id);
    int r = known_index(c, &cmd->known_index, err);
    if (r < 0)
        return r;
    if (cmd_pack(cmd, &request, err) < 0)
        return -(int)err->code;
    struct call call = {WIRE_COMMAND, &request, CLIENT_COMMAND_MS, read_answer, ret};
    return client_call(c, &call, err);
}

int client_command(struct client *c, struct cmd *cmd, struct wire_answer *ret, struct err *err)
{
    int r;
    int tries = 0;
    do {
        /* If the first attempt has expired, the command was certainly not carried out: the replica
         * that reported the known index lags far behind. A new request id is safe. */
        r = command_once(c, cmd, ret, err);
    } while (r == -ERR_EXPIRED && ++tries < 3);
    if (r == 0)
        c->index_min = MAX(c->index_min, ret->index);
    return r;
}

static int read_rows(void *ret, const void *bytes, size_t size, struct err *err)
{
    return wire_unpack_rows(bytes, size, ret, err);
}

int client_query(struct client *c, const char *sql, bool fresh, struct wire_rows *ret,
                 struct err *err)
{
    CLEANUP(buf_release) struct buf request = {0};
    if (strlen(sql) > QUERY_SQL_MAX)
        return err_set(err, ERR_LIMIT, "the SQL has more than %d bytes", QUERY_SQL_MAX);
    struct wire_query query = {
        .sql = (char *)(uintptr_t)sql, .index_min = c->index_min, .fresh = fresh};
    wire_pack_query(&request, &query);
    struct call call = {WIRE_QUERY, &request, CLIENT_QUERY_MS, read_rows, ret};
    return client_call(c, &call, err);
}

int client_why(struct client *c, const struct wire_why *why, struct wire_rows *ret, struct err *err)
{
    CLEANUP(buf_release) struct buf request = {0};
    wire_pack_why(&request, why);
    struct call call = {WIRE_WHY, &request, CLIENT_QUERY_MS, read_rows, ret};
    return client_call(c, &call, err);
}

struct piece_read {
    struct buf *to;
    uint64_t *total;
};

static int read_piece(void *ret, const void *bytes, size_t size, struct err *err)
{
    struct piece_read *read = ret;
    struct wire_piece piece;
    if (wire_unpack_piece(bytes, size, &piece, err) < 0)
        return -(int)err->code;
    buf_append(read->to, piece.bytes, piece.size);
    *read->total = piece.total;
    return 0;
}

int client_piece(struct client *c, uint64_t offset, struct buf *to, uint64_t *ret_total,
                 struct err *err)
{
    CLEANUP(buf_release) struct buf request = {0};
    struct wire_checkpoint asked = {offset};
    struct piece_read read = {to, ret_total};
    wire_pack_checkpoint(&request, &asked);
    struct call call = {WIRE_CHECKPOINT, &request, CLIENT_PIECE_MS, read_piece, &read};
    return client_call(c, &call, err);
}

int client_transfer(struct client *c, uint64_t replica, struct wire_answer *ret, struct err *err)
{
    CLEANUP(buf_release) struct buf request = {0};
    struct wire_transfer asked = {replica};
    wire_pack_transfer(&request, &asked);
    struct call call = {WIRE_TRANSFER, &request, CLIENT_TRANSFER_MS, read_answer, ret};
    return client_call(c, &call, err);
}

void client_settle(struct client *c)
{
    struct wire_rows rows;
    struct err err;
    if (c->index_min > 0 && client_query(c, "SELECT 1", false, &rows, &err) == 0)
        wire_rows_release(&rows);
}

int client_queryf(struct client *c, struct wire_rows *ret, struct err *err, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    char *sql = sqlite3_vmprintf(fmt, args);
    va_end(args);
    if (sql == NULL)
        PANIC("out of memory for a query");
    int r = client_query(c, sql, false, ret, err);
    sqlite3_free(sql);
    return r;
}

/* The state of a status call to one replica. */
struct status_call {
    struct client_attempt *attempt;
    struct client_status *result;
    bool sent;
    bool done;
};

static void client_on_status(void *data, const struct err *err, const void *body, size_t size)
{
    struct status_call *a = data;
    a->done = true;
    if (err != NULL)
        a->result->why = *err;
    else if (a->attempt->conn != NULL)
        a->result->cert_expires_ms = rpc_peer_expires_ms(a->attempt->conn);
    if (err == NULL && wire_unpack_status(body, size, &a->result->status, &a->result->why) == 0)
        a->result->reachable = true;
    a->result->heard_ms = clock_wall_ms();
}

/* Advance one status call; return true when it needs no more waiting. */
static bool status_call_step(struct status_call *a, uint64_t left_ms)
{
    struct client_attempt *t = a->attempt;
    if (a->done)
        return true;
    if (!a->sent && t->conn == NULL) {
        a->result->why = t->why;
        a->done = true;
    } else if (!a->sent && t->open) {
        a->sent = true;
        a->done = rpc_request(t->conn, WIRE_STATUS, NULL, 0, left_ms, client_on_status, a,
                              &a->result->why) < 0;
    }
    return a->done;
}

void client_statuses(struct client *c, struct client_status ret[CELL_REPLICAS_MAX])
{
    struct status_call asking[CELL_REPLICAS_MAX] = {0};
    uint64_t deadline = clock_mono_ms() + CLIENT_STATUS_MS;
    for (size_t i = 0; i < c->cell.replica_count; i++) {
        ret[i] = (struct client_status){.why = {ERR_TIMEOUT, "does not answer"}};
        asking[i] = (struct status_call){&c->attempts[i], &ret[i], false, false};
        while (c->attempts[i].conn != NULL && c->attempts[i].closing)
            client_turn(c, 20);
        if (c->attempts[i].conn == NULL)
            attempt_start(c, i);
    }
    for (;;) {
        uint64_t now = clock_mono_ms();
        size_t waiting = 0;
        for (size_t i = 0; i < c->cell.replica_count; i++)
            waiting += !status_call_step(&asking[i], deadline > now ? deadline - now + 1 : 1);
        if (waiting == 0 || now >= deadline + 200)
            break;
        client_turn(c, 20);
    }
    /* A late answer must not be written into `asking`: closing the connection completes its call.
     */
    for (size_t i = 0; i < c->cell.replica_count; i++) {
        if (!asking[i].done)
            attempt_close(&c->attempts[i]);
        while (!asking[i].done && asking[i].sent)
            client_turn(c, 20);
        if (!ret[i].reachable && c->attempts[i].conn == NULL &&
            c->attempts[i].why.code == ERR_DENIED)
            ret[i].why = c->attempts[i].why; /* more specific than "connection closed" */
    }
}

const struct client_status *client_leader(const struct client_status *all, size_t count)
{
    const struct client_status *leader = NULL;
    for (size_t i = 0; i < count; i++) {
        bool leads = all[i].reachable && strcmp(all[i].status.role, "leader") == 0;
        /* A partitioned replica may believe that it still leads: the higher term decides. */
        if (leads && (leader == NULL || all[i].status.term > leader->status.term))
            leader = &all[i];
    }
    return leader;
}
