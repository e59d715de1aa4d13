/*
 * reads.c - answers queries and `why`, and shares barriers among fresh reads.
 *
 * The loop answers `why` from the cell, for a few milliseconds in a turn, so that commands are not
 * delayed. After a burst all answers together get why_share of the loop's time, because other
 * masters may need the cores.
 */
#include "reads.h"

#include "bucket.h"
#include "clock.h"
#include "fair.h"
#include "hash.h"
#include "why_rows.h"
#include "wire.h"

#include <stdlib.h>
#include <string.h>

enum {
    WHY_TURN_US = 4000,
    WHY_TURN_UNITS = 400, /* between two looks at the clock */
    WHY_REST_MS = 10,     /* between two checks whether the share has room again */
};

/* All users share this budget. The burst allows one answer about 100,000 machines, which takes 140
 * ms. */
static const struct bucket_limits why_share = {.percent = 25, .burst_us = 250000};

/* Waiting requests are bounded per connection; these are the bounds per user. */
static const struct fair_limits why_limits[] = {
    {.weight = 1,
     .owner_items_max = QUERIES_USER_WAITING_MAX,
     .owner_bytes_max = SIZE_MAX,
     .bytes_max = SIZE_MAX},
};

struct reads {
    struct core *core;
    struct peers *peers;
    struct list fresh;     /* struct query; the next question to the leader is for these */
    bool asking;           /* a question is under way */
    struct fair whys;      /* struct why_call */
    struct why_call *why;  /* the call that is being answered; NULL: none */
    struct why_rows *rows; /* the answer to it */
    uv_idle_t idle;        /* runs while calls wait */
    struct bucket busy;    /* time spent on answers */
    uv_timer_t rest;       /* runs instead of `idle` when the budget is spent */
};

struct query {
    struct list link; /* in reads.fresh, then in an index_question */
    struct reads *reads;
    struct rpc_call *call;
    struct wire_query asked;
    char user[CELL_NAME_MAX + 1];
    struct raftlog_barrier barrier;
};

/* A question for the leader's index that is under way, and the queries that wait for it. */
struct index_question {
    struct reads *reads;
    struct list queries;
};

/* A follower's question for the index. */
struct index_call {
    struct raftlog_barrier barrier;
    struct core *core;
    struct rpc_call *call;
};

struct why_call {
    struct fair_item item;
    struct rpc_call *call;
    struct wire_why asked;
};

/* Returns whether the user may read private data of others: command lines, specs, environments. */
static bool user_reads_all(const struct cell *cell, const char *user)
{
    return cell_user_is(cell, user, RIGHT_READER);
}

static void query_done(struct query *query, const struct err *err, const void *rows, size_t size)
{
    if (err != NULL)
        rpc_refuse(query->call, err);
    else
        rpc_reply(query->call, rows, size);
    wire_query_release(&query->asked);
    free(query);
}

static void on_rows(void *data, const struct err *err, const void *rows, size_t size)
{
    query_done(data, err, rows, size);
}

static void query_run(struct query *query)
{
    struct core *core = query->reads->core;
    struct store_asker asker = {query->user, user_reads_all(core_cell(core), query->user)};
    store_query(core_store(core), core_opts(core)->loop, &asker, query->asked.sql,
                query->asked.index_min, on_rows, query);
}

/* Run the query when the database has everything up to `index`; `err` says why the index is
 * unknown. */
static void query_go_on(struct query *query, const struct err *err, uint64_t index)
{
    if (err != NULL) {
        query_done(query, err, NULL, 0);
        return;
    }
    query->asked.index_min = MAX(query->asked.index_min, index);
    query_run(query);
}

static void say_lost(struct err *err)
{
    err_set(err, ERR_UNAVAILABLE,
            "leadership was lost before the read was known to be fresh; try again");
}

static void on_own_barrier(struct raftlog_barrier *req, int status)
{
    struct query *query = req->data;
    struct err err;
    if (status != 0)
        say_lost(&err);
    query_go_on(query, status == 0 ? NULL : &err, core_cell(query->reads->core)->applied_index);
}

static void ask_leader(struct reads *reads);

static void on_leader_index(void *data, const struct err *err, const struct wire_answer *answer)
{
    struct index_question *question = data;
    struct reads *reads = question->reads;
    for (struct list *l; (l = list_pop(&question->queries)) != NULL;)
        query_go_on(CONTAINER_OF(l, struct query, link), err, err == NULL ? answer->index : 0);
    free(question);
    reads->asking = false;
    ask_leader(reads);
}

/* Ask the leader for its index. Queries that come while a question is under way wait for the next
 * one, because its answer may be older than they are. */
static void ask_leader(struct reads *reads)
{
    struct core *core = reads->core;
    if (reads->asking || list_empty(&reads->fresh))
        return;
    struct index_question *question = xcalloc(1, sizeof *question);
    question->reads = reads;
    list_init(&question->queries);
    for (struct list *l; (l = list_pop(&reads->fresh)) != NULL;)
        list_push(&question->queries, l);
    reads->asking = true;
    peers_request(reads->peers, core_leader_id(core), WIRE_BARRIER, &(struct buf){0},
                  on_leader_index, question);
}

static void query_fresh(struct query *query)
{
    struct core *core = query->reads->core;
    struct err err;
    int rv = 0;
    query->barrier.data = query;
    if (core_leads(core)) {
        rv = core_barrier(core, &query->barrier, on_own_barrier, &err);
    } else if (core_leader_id(core) != 0) {
        list_push(&query->reads->fresh, &query->link);
        ask_leader(query->reads);
    } else {
        rv = err_set(&err, ERR_UNAVAILABLE,
                     "no leader is known, and a fresh read needs one; try again");
    }
    if (rv != 0)
        query_done(query, &err, NULL, 0);
}

void reads_on_query(struct reads *reads, struct rpc_conn *conn, struct rpc_call *call,
                    const void *body, size_t size)
{
    struct err err;
    struct query *query = xcalloc(1, sizeof *query);
    query->reads = reads;
    query->call = call;
    str_copy(query->user, sizeof query->user, rpc_peer(conn)->name);
    if (wire_unpack_query(body, size, &query->asked, &err) != 0) {
        rpc_refuse(call, &err);
        free(query);
    } else if (query->asked.fresh) {
        query_fresh(query);
    } else {
        query_run(query);
    }
}

static void on_index_barrier(struct raftlog_barrier *req, int status)
{
    struct index_call *asked = req->data;
    struct err err;
    struct buf CLEANUP(buf_release) body = {0};
    struct wire_answer answer = {.index = core_cell(asked->core)->applied_index};
    if (status != 0) {
        say_lost(&err);
        rpc_refuse(asked->call, &err);
    } else {
        wire_pack_answer(&body, &answer);
        rpc_reply(asked->call, body.bytes, body.size);
    }
    free(asked);
}

void reads_on_barrier(struct reads *reads, struct rpc_call *call)
{
    struct core *core = reads->core;
    struct index_call *asked = xcalloc(1, sizeof *asked);
    struct err err;
    *asked = (struct index_call){.core = core, .call = call};
    asked->barrier.data = asked;
    int rv = core_leads(core) ? core_barrier(core, &asked->barrier, on_index_barrier, &err)
                              : err_set(&err, ERR_NOT_LEADER,
                                        "replica %" PRIu64 " is not the leader, or not yet",
                                        core_opts(core)->self->id);
    if (rv != 0) {
        rpc_refuse(call, &err);
        free(asked);
    }
}

static void why_free(struct reads *reads)
{
    why_rows_abandon(reads->rows);
    reads->rows = NULL;
    free(reads->why);
    reads->why = NULL;
}

static void why_answer(struct reads *reads)
{
    struct err err;
    struct buf CLEANUP(buf_release) packed = {0};
    struct wire_rows CLEANUP(wire_rows_release) rows = {0};
    struct why_rows *made = reads->rows;
    reads->rows = NULL;
    if (why_rows_end(made, &rows, &err) != 0) {
        rpc_refuse(reads->why->call, &err);
        return;
    }
    wire_pack_rows(&packed, &rows);
    rpc_reply(reads->why->call, packed.bytes, packed.size);
}

/* Compute a part of the present answer. Returns true when it is complete, or its connection is
 * closed. */
static bool why_go_on(struct reads *reads)
{
    struct err err;
    uint64_t until = clock_mono_us() + WHY_TURN_US;
    if (rpc_call_conn(reads->why->call) == NULL) {
        err_set(&err, ERR_CLOSED, "the connection has closed");
        rpc_refuse(reads->why->call, &err);
        return true;
    }
    while (!why_rows_go_on(reads->rows, core_cell(reads->core), WHY_TURN_UNITS))
        if (clock_mono_us() >= until)
            return false;
    why_answer(reads);
    return true;
}

static void on_idle(uv_idle_t *idle);

static void on_rested(uv_timer_t *timer)
{
    struct reads *reads = timer->data;
    uv_idle_start(&reads->idle, on_idle);
}

/* Answer one call after the other, users in turns, a piece in each turn of the loop. */
static void on_idle(uv_idle_t *idle)
{
    struct reads *reads = idle->data;
    uint64_t begin_us = clock_mono_us();
    if (bucket_is_over(&reads->busy, &why_share, begin_us)) {
        uv_idle_stop(idle);
        uv_timer_start(&reads->rest, on_rested, WHY_REST_MS, 0);
        return;
    }
    if (reads->why == NULL) {
        reads->why = CONTAINER_OF(fair_pop(&reads->whys), struct why_call, item);
        reads->rows = why_rows_begin(&reads->why->asked);
    }
    bool done = why_go_on(reads);
    uint64_t now_us = clock_mono_us();
    bucket_add(&reads->busy, &why_share, now_us, now_us - begin_us);
    if (!done)
        return;
    why_free(reads);
    if (reads->whys.count == 0)
        uv_idle_stop(idle);
}

/* Check that the user may see the job: it is his own, or his role allows it. */
static int why_check(const struct cell *cell, const char *user, const struct wire_why *asked,
                     struct err *err)
{
    const struct job *job = cell_job_named(cell, asked->job);
    int rv = access_check(cell, wire_rule(WIRE_WHY)->access, user,
                          job != NULL ? job->spec.user : NULL, wire_rule(WIRE_WHY)->deed, err);
    return rv == 0 ? 0 : err_wrap(err, "job \"%s\"", asked->job);
}

void reads_on_why(struct reads *reads, struct rpc_conn *conn, struct rpc_call *call,
                  const void *body, size_t size)
{
    struct err err;
    const char *user = rpc_peer(conn)->name;
    struct why_call *why = xcalloc(1, sizeof *why);
    why->call = call;
    int rv = call == NULL ? -ERR_INVALID : wire_unpack_why(body, size, &why->asked, &err);
    if (rv == 0)
        rv = why_check(core_cell(reads->core), user, &why->asked, &err);
    if (rv == 0 && !fair_push(&reads->whys, 0, hash_text(0, user), &why->item, size))
        rv = err_set(&err, ERR_UNAVAILABLE,
                     "%d questions of user \"%s\" wait already; wait for their answers",
                     QUERIES_USER_WAITING_MAX, user);
    if (rv == 0) {
        if (!uv_is_active((uv_handle_t *)&reads->rest))
            uv_idle_start(&reads->idle, on_idle);
        return;
    }
    if (call != NULL)
        rpc_refuse(call, &err);
    free(why);
}

struct reads *reads_new(struct core *core, struct peers *peers)
{
    struct reads *reads = xcalloc(1, sizeof *reads);
    reads->core = core;
    reads->peers = peers;
    list_init(&reads->fresh);
    fair_init(&reads->whys, why_limits, ARRAY_SIZE(why_limits));
    uv_idle_init(core_opts(core)->loop, &reads->idle);
    uv_timer_init(core_opts(core)->loop, &reads->rest);
    reads->idle.data = reads->rest.data = reads;
    return reads;
}
