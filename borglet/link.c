/*
 * link.c - connect, send the hello, reports and heartbeats; on a failure, or when asked to move,
 * try another replica.
 */
#include "link.h"
#include "clock.h"
#include "hash.h"
#include "log.h"
#include "wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum link_phase { LINK_WAITING, LINK_DIALLING, LINK_GREETING, LINK_LINKED };

struct link {
    struct link_options options;
    struct wire_address replicas[MASTER_ROWS_MAX]; /* from cell.json, then as the cell sends them */
    size_t replica_count;
    enum link_phase phase;
    struct rpc_conn *conn;         /* NULL only when WAITING */
    size_t order[MASTER_ROWS_MAX]; /* the order in which replicas are tried */
    size_t turn;                   /* index into `order` of the current or the next replica */
    char hint[CELL_ADDR_MAX + 1];  /* the replica to move to */
    bool moving;                   /* the connection is being closed in order to move */
    bool second; /* another borglet with this name is connected; this one is refused until it is
                    gone */
    uint32_t failures;      /* in a row */
    uv_timer_t timer;       /* WAITING: the next dial; LINKED: the next heartbeat */
    uint64_t linked_ms;     /* when the welcome was received */
    bool heartbeat_pending; /* a heartbeat is not answered yet */
    uint64_t heartbeat_ms;
    struct report *reports; /* queued */
    size_t report_count, report_capacity;
    bool closing;
    bool timer_closed;
};

static void link_on_open(struct rpc_conn *conn);
static void link_on_close(struct rpc_conn *conn, const struct err *why);
static void link_lost(struct link *link, const struct err *why);
static void link_on_intend(struct rpc_conn *conn, struct rpc_call *call, const void *body,
                           size_t size);
static void link_on_move(struct rpc_conn *conn, struct rpc_call *call, const void *body,
                         size_t size);
static void link_on_replicas(struct rpc_conn *conn, struct rpc_call *call, const void *body,
                             size_t size);
static void link_on_identities(struct rpc_conn *conn, struct rpc_call *call, const void *body,
                               size_t size);

static const struct rpc_method methods[] = {
    WIRE_SERVE(INTEND, link_on_intend),
    WIRE_SERVE(MOVE, link_on_move),
    WIRE_SERVE(REPLICAS, link_on_replicas),
    WIRE_SERVE(IDENTITIES, link_on_identities),
};

static const char *link_address(const struct link *link)
{
    if (link->hint[0] != '\0')
        return link->hint;
    return link->replicas[link->order[link->turn]].text;
}

static const struct wire_address *link_find(const struct link *link, const char *address)
{
    for (size_t i = 0; i < link->replica_count; i++)
        if (strcmp(link->replicas[i].text, address) == 0)
            return &link->replicas[i];
    return NULL;
}

/* The identity that the peer must prove: the master whose address the link has dialled. */
static struct identity link_expect(const struct link *link)
{
    const struct wire_address *to = link_find(link, link_address(link));
    struct identity expect = {.role = ROLE_MASTER};

    ASSERT(to != NULL);
    snprintf(expect.name, sizeof(expect.name), "%" PRIu64, to->id);
    return expect;
}

static void link_free_if_done(struct link *link)
{
    if (!link->closing || !link->timer_closed || link->conn != NULL)
        return;
    free(link->reports);
    free(link);
}

static void link_dial(struct link *link)
{
    struct identity expect = link_expect(link);
    struct rpc_options options = {.loop = link->options.loop,
                                  .tls = link->options.tls,
                                  .methods = methods,
                                  .method_count = ARRAY_SIZE(methods),
                                  .data = link,
                                  .on_open = link_on_open,
                                  .on_close = link_on_close};
    struct err err;

    ASSERT(link->phase == LINK_WAITING);
    ASSERT(link->conn == NULL);
    if (rpc_connect(&options, link_address(link), &expect, &link->conn, &err) == 0) {
        link->phase = LINK_DIALLING;
        return;
    }
    link_lost(link, &err);
}

static void link_on_dial(uv_timer_t *timer)
{
    link_dial(timer->data);
}

/* Return how long to wait before the next dial: 0 until every replica has been tried. */
static uint64_t link_backoff_ms(const struct link *link)
{
    uint64_t random[2];
    uint32_t rounds = link->failures / (uint32_t)link->replica_count;

    if (rounds == 0 && !link->second)
        return 0;
    uint64_t ms = LINK_BACKOFF_MAX_MS;
    if (rounds < 6 && !link->second)
        ms = MIN(ms, (uint64_t)LINK_BACKOFF_MIN_MS << (rounds - 1));
    /* The wait is random, so that the borglets of a cell do not come back at the same time. */
    random_id(random);
    return ms / 2 + random[0] % (ms / 2 + 1);
}

/* Choose the replica to dial next: the hint once, then the others in order. */
static void link_next(struct link *link)
{
    if (link->moving)
        return;
    if (link->hint[0] == '\0')
        link->turn = (link->turn + 1) % link->replica_count;
    link->hint[0] = '\0';
}

static void link_retry(struct link *link)
{
    bool stable = link->linked_ms != 0 && clock_mono_ms() - link->linked_ms >= LINK_STABLE_MS;

    if (stable || link->moving)
        link->failures = 0;
    link->failures += !link->moving;
    link_next(link);
    link->moving = false;
    link->linked_ms = 0;
    link->phase = LINK_WAITING;
    link->heartbeat_pending = false;
    link->report_count = 0;
    uv_timer_start(&link->timer, link_on_dial, link_backoff_ms(link), 0);
}

/* Try the next replica. `conn` is NULL if there was no connection. */
static void link_lost(struct link *link, const struct err *why)
{
    link->conn = NULL;
    if (link->closing) {
        link_free_if_done(link);
        return;
    }
    /* The failure is logged once, not again while no replica answers. */
    if (link->moving)
        log_info("link.move_begun to=%s", link_address(link));
    else if (link->phase == LINK_LINKED || link->failures == 0)
        log_warn("link.lost replica=%s reason=%s action=\"trying the next replica\"",
                 link_address(link), log_quoted(why->msg));
    else
        log_debug("link.failed replica=%s reason=%s action=\"trying the next replica\"",
                  link_address(link), log_quoted(why->msg));
    link_retry(link);
}

static void link_on_close(struct rpc_conn *conn, const struct err *why)
{
    link_lost(rpc_data(conn), why);
}

static void link_on_beat_answer(void *data, const struct err *err, const void *body UNUSED,
                                size_t size UNUSED)
{
    struct link *link = data;

    link->heartbeat_pending = false;
    if (err == NULL || err->code == ERR_CLOSED || link->conn == NULL)
        return;
    log_warn("link.timed_out replica=%s reason=%s action=\"trying the next replica\"",
             link_address(link), log_quoted(err->msg));
    rpc_close(link->conn);
}

static void link_on_beat(uv_timer_t *timer)
{
    struct link *link = timer->data;
    CLEANUP(buf_release) struct buf body = {0};
    struct wire_reports none = {0};
    struct err err;

    if (link->phase != LINK_LINKED || link->heartbeat_pending)
        return;
    wire_pack_reports(&body, &none);
    if (rpc_request(link->conn, WIRE_REPORT, body.bytes, body.size,
                    link->heartbeat_ms + LINK_ANSWER_MS, link_on_beat_answer, link, &err) == 0)
        link->heartbeat_pending = true;
    else
        rpc_close(link->conn);
}

static void link_on_welcome(void *data, const struct err *err, const void *body, size_t size)
{
    struct link *link = data;
    struct wire_welcome welcome;
    uint64_t random[2];
    struct err bad;

    if (err == NULL && wire_unpack_welcome(body, size, &welcome, &bad) != 0)
        err = &bad;
    if (link->closing || link->conn == NULL || link->phase != LINK_GREETING)
        return;
    if (err != NULL && err->code == ERR_EXISTS && !link->second)
        log_error("link.refused_as_second reason=%s action=\"starting nothing, trying again\"",
                  log_quoted(err->msg));
    link->second |= err != NULL && err->code == ERR_EXISTS;
    if (err != NULL) {
        if (link->failures == 0 && !link->second)
            log_warn("link.refused replica=%s reason=%s action=\"trying the next replica\"",
                     link_address(link), log_quoted(err->msg));
        rpc_close(link->conn);
        return;
    }
    link->phase = LINK_LINKED;
    link->second = false;
    link->linked_ms = clock_mono_ms();
    link->heartbeat_ms = MIN(MAX(welcome.heartbeat_ms, (uint64_t)LINK_HEARTBEAT_MIN_MS),
                             (uint64_t)LINK_HEARTBEAT_MAX_MS);
    log_info("link.up replica=%s machine=%" PRIu32, link_address(link), welcome.machine);
    /* The first wait is random, so that machines which connected together do not send heartbeats
     * at once. */
    random_id(random);
    uv_timer_start(&link->timer, link_on_beat, 1 + random[0] % link->heartbeat_ms,
                   link->heartbeat_ms);
    link_flush(link);
}

static void link_on_open(struct rpc_conn *conn)
{
    struct link *link = rpc_data(conn);
    CLEANUP(buf_release) struct buf body = {0};
    struct wire_hello hello = {.capacity = link->options.capacity,
                               .resource_names = link->options.resource_names};
    struct err err;

    if (link->closing)
        return;
    link->phase = LINK_GREETING;
    link->report_count = 0;
    hello.attributes = words_copy(link->options.attributes);
    if (link->options.labels != NULL)
        hello.labels = words_copy(link->options.labels);
    str_copy(hello.name, sizeof(hello.name), link->options.name);
    str_copy(hello.addr, sizeof(hello.addr), link->options.addr);
    link->options.on_hello(link->options.data, &hello);
    if (hello.report_count > HELLO_REPORTS_MAX) {
        /* The replica requests the missing ones, see link_diff.h. */
        log_warn("link.hello_truncated attempts=%" PRIu32 " sent=%d", hello.report_count,
                 HELLO_REPORTS_MAX);
        hello.report_count = HELLO_REPORTS_MAX;
    }
    wire_pack_hello(&body, &hello);
    wire_hello_release(&hello);
    if (rpc_request(conn, WIRE_HELLO, body.bytes, body.size, LINK_GREETING_MS, link_on_welcome,
                    link, &err) != 0)
        rpc_close(conn);
}

static void link_on_intend(struct rpc_conn *conn, struct rpc_call *call, const void *body,
                           size_t size)
{
    struct link *link = rpc_data(conn);
    struct wire_intents in;
    struct err err;

    if (call != NULL)
        rpc_reply(call, NULL, 0);
    if (link->closing)
        return;
    if (wire_unpack_intents(body, size, &in, &err) != 0) {
        log_error("link.closed replica=%s reason=%s", link_address(link), log_quoted(err.msg));
        rpc_close(conn);
        return;
    }
    link->options.on_intents(link->options.data, &in);
    wire_intents_release(&in);
}

/* The replica has too many machines and asks this one to move. */
static void link_on_move(struct rpc_conn *conn, struct rpc_call *call, const void *body,
                         size_t size)
{
    struct link *link = rpc_data(conn);
    struct wire_move move;
    struct err err;

    if (call != NULL)
        rpc_reply(call, NULL, 0);
    if (link->closing || link->phase != LINK_LINKED)
        return;
    if (wire_unpack_move(body, size, &move, &err) != 0) {
        log_error("link.closed replica=%s reason=%s", link_address(link), log_quoted(err.msg));
        rpc_close(conn);
        return;
    }
    if (link_find(link, move.addr) == NULL) {
        log_warn("link.move_refused replica=%s to=%s reason=\"no known replica has this address\"",
                 link_address(link), log_quoted(move.addr));
        return;
    }
    /* Send queued reports first; the hello to the new replica contains them again. */
    link_flush(link);
    str_copy(link->hint, sizeof(link->hint), move.addr);
    link->moving = true;
    rpc_close(conn);
}

/*
 * Each machine has its own order, by descending hash, so that the machines of a failed replica are
 * distributed over all others, and an additional replica changes few first choices.
 */
static void link_order(struct link *link)
{
    uint64_t marks[MASTER_ROWS_MAX];

    for (size_t i = 0; i < link->replica_count; i++) {
        size_t at = i;
        uint64_t mark = hash_text(hash_u64(link->replicas[i].id), link->options.name);
        for (; at > 0 && marks[at - 1] < mark; at--) {
            marks[at] = marks[at - 1];
            link->order[at] = link->order[at - 1];
        }
        marks[at] = mark;
        link->order[at] = i;
    }
}

/* The set of replicas has changed: keep the current one unless it has left. */
static void link_on_replicas(struct rpc_conn *conn, struct rpc_call *call, const void *body,
                             size_t size)
{
    struct link *link = rpc_data(conn);
    CLEANUP(wire_replicas_release) struct wire_replicas told = {0};
    uint64_t now = strtoull(rpc_peer(conn)->name, NULL, 10);
    struct err err;

    if (call != NULL)
        rpc_reply(call, NULL, 0);
    if (wire_unpack_replicas(body, size, &told, &err) != 0 || told.address_count == 0) {
        log_error("link.closed replica=%s reason=\"malformed request\"", link_address(link));
        rpc_close(conn);
        return;
    }
    link->replica_count = told.address_count;
    memcpy(link->replicas, told.addresses, told.address_count * sizeof(*told.addresses));
    link_order(link);
    link->hint[0] = '\0';             /* the hint was for the previous set */
    link->turn = link->replica_count; /* the first one is next */
    for (size_t i = 0; i < link->replica_count; i++)
        if (link->replicas[link->order[i]].id == now)
            link->turn = i;
    if (link->turn < link->replica_count)
        return;
    link->turn = link->replica_count - 1;
    log_info("link.replica_removed replica=%" PRIu64, now);
    rpc_close(conn);
}

static void link_on_identities(struct rpc_conn *conn, struct rpc_call *call, const void *body,
                               size_t size)
{
    struct link *link = rpc_data(conn);
    CLEANUP(wire_identities_release) struct wire_identities told = {0};
    struct err err;

    if (call != NULL)
        rpc_reply(call, NULL, 0);
    if (link->closing)
        return;
    if (wire_unpack_identities(body, size, &told, &err) != 0) {
        log_error("link.closed replica=%s reason=%s", link_address(link), log_quoted(err.msg));
        rpc_close(conn);
        return;
    }
    link->options.on_identities(link->options.data, &told);
}

bool link_is_up(const struct link *link)
{
    return link->phase == LINK_LINKED;
}

void link_report(struct link *link, const struct report *report)
{
    if (link->phase != LINK_LINKED && link->phase != LINK_GREETING)
        return;
    for (size_t i = 0; i < link->report_count; i++) {
        struct report *r = &link->reports[i];
        if (r->task.task.v == report->task.task.v && r->task.attempt == report->task.attempt) {
            *r = *report;
            return;
        }
    }
    if (link->report_count == link->report_capacity) {
        link->report_capacity = MAX((size_t)16, link->report_capacity * 2);
        link->reports = xrealloc(link->reports, link->report_capacity, sizeof(*link->reports));
    }
    link->reports[link->report_count++] = *report;
}

void link_usage(struct link *link, const struct wire_usages *usages)
{
    CLEANUP(buf_release) struct buf body = {0};

    if (link->phase != LINK_LINKED)
        return;
    for (uint32_t at = 0; at < usages->task_count; at += CMD_USAGES_MAX) {
        struct wire_usages part = {.tasks = usages->tasks + at};
        part.task_count = MIN(usages->task_count - at, (uint32_t)CMD_USAGES_MAX);
        buf_clear(&body);
        wire_pack_usages(&body, &part);
        if (rpc_notify(link->conn, WIRE_USAGE, body.bytes, body.size) != 0) {
            rpc_close(link->conn);
            break;
        }
    }
}

void link_flush(struct link *link)
{
    CLEANUP(buf_release) struct buf body = {0};

    if (link->phase != LINK_LINKED || link->report_count == 0)
        return;
    for (size_t at = 0; at < link->report_count; at += CMD_REPORTS_MAX) {
        struct wire_reports part = {.reports = link->reports + at};
        part.report_count = (uint32_t)MIN(link->report_count - at, (size_t)CMD_REPORTS_MAX);
        buf_clear(&body);
        wire_pack_reports(&body, &part);
        if (rpc_notify(link->conn, WIRE_REPORT, body.bytes, body.size) != 0) {
            /* The next hello contains everything. */
            rpc_close(link->conn);
            break;
        }
    }
    link->report_count = 0;
}

struct link *link_open(const struct link_options *options)
{
    struct link *link = xcalloc(1, sizeof(*link));

    ASSERT(options->cell->replica_count > 0);
    link->options = *options;
    link->replica_count = options->cell->replica_count;
    for (size_t i = 0; i < link->replica_count; i++) {
        link->replicas[i].id = options->cell->replicas[i].id;
        str_copy(link->replicas[i].text, sizeof(link->replicas[i].text),
                 options->cell->replicas[i].rpc);
    }
    link_order(link);
    uv_timer_init(options->loop, &link->timer);
    link->timer.data = link;
    uv_timer_start(&link->timer, link_on_dial, 0, 0);
    return link;
}

static void link_on_timer_close(uv_handle_t *handle)
{
    struct link *link = handle->data;

    link->timer_closed = true;
    link_free_if_done(link);
}

void link_close(struct link *link)
{
    link->closing = true;
    if (link->conn != NULL)
        rpc_close(link->conn);
    uv_close((uv_handle_t *)&link->timer, link_on_timer_close);
}
