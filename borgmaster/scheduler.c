/*
 * scheduler.c - the thread around libcell/sched.
 *
 * Two queues under one mutex: deltas to the thread, packed batches from it. A generation number
 * tells batches of an earlier leadership apart.
 */
#include "scheduler.h"

#include "cmd_pack.h"
#include "list.h"
#include "log.h"
#include "sched.h"

#include <stdlib.h>

struct incoming {
    struct list link;
    struct delta *delta;
};

/* A SCHEDULE command on its way from the thread to the log, packed because the arrays it is made
 * of belong to the scheduler. */
struct batch {
    struct list link;
    struct scheduler *scheduler;
    uint64_t generation;
    struct buf packed;
};

struct scheduler {
    struct replica *replica;
    uv_async_t decided;
    uv_thread_t thread;
    bool thread_runs; /* loop's thread only */

    uv_mutex_t mutex; /* guards what follows */
    uv_cond_t wake;
    struct list incoming;
    struct list batches;
    uint64_t generation;
    size_t under_way; /* batches decided and not yet answered */
    bool stopping;
    bool restart; /* a batch was lost: decisions in the view may be wrong, take the whole cell */
};

static struct list *take_incoming(struct scheduler *s, bool *ret_stop)
{
    struct list *l = list_pop(&s->incoming);
    *ret_stop = s->stopping;
    return l;
}

static void batch_free(struct batch *batch)
{
    buf_release(&batch->packed);
    free(batch);
}

static void hand_over(struct scheduler *s, const struct cmd_schedule *decided)
{
    struct err err;
    struct cmd cmd = {.kind = CMD_SCHEDULE, .schedule = *decided};
    struct batch *batch = xcalloc(1, sizeof *batch);
    batch->scheduler = s;
    if (cmd_pack(&cmd, &batch->packed, &err) != 0)
        PANIC("the scheduler decided more than a command may hold: %s", err.msg);
    uv_mutex_lock(&s->mutex);
    batch->generation = s->generation;
    s->under_way++;
    list_push(&s->batches, &batch->link);
    uv_mutex_unlock(&s->mutex);
    uv_async_send(&s->decided);
}

/* Wait for something to do. True: a delta was taken into the view, look again; false: stop. */
static bool take_in(struct scheduler *s, struct sched *sched, bool idle)
{
    bool stop;
    uv_mutex_lock(&s->mutex);
    struct list *l = take_incoming(s, &stop);
    while (l == NULL && !stop && (idle || s->under_way >= SCHEDULER_BATCHES_MAX)) {
        uv_cond_wait(&s->wake, &s->mutex);
        l = take_incoming(s, &stop);
    }
    struct list rest;
    list_init(&rest);
    while (!list_empty(&s->incoming))
        list_push(&rest, list_pop(&s->incoming));
    uv_mutex_unlock(&s->mutex);
    for (; l != NULL; l = list_pop(&rest)) {
        struct incoming *in = CONTAINER_OF(l, struct incoming, link);
        if (!stop)
            sched_update(sched, in->delta);
        delta_unref(in->delta);
        free(in);
    }
    return !stop;
}

static void run(void *data)
{
    struct scheduler *s = data;
    struct sched *sched = sched_new();
    struct cmd_schedule decided;
    bool idle = true;
    while (take_in(s, sched, idle)) {
        idle = !sched_pass(sched, &decided);
        if (!idle)
            hand_over(s, &decided);
    }
    sched_free(sched);
}

static void on_answer(void *data, const struct err *err, const struct wire_answer *answer)
{
    struct batch *batch = data;
    struct scheduler *s = batch->scheduler;
    uv_mutex_lock(&s->mutex);
    bool current = batch->generation == s->generation;
    if (current) {
        ASSERT(s->under_way > 0);
        s->under_way--;
        uv_cond_signal(&s->wake);
    }
    uv_mutex_unlock(&s->mutex);
    if (err != NULL && current && replica_leads(s->replica)) {
        log_warn("scheduler.batch_lost reason=%s, starting over", log_quoted(err->msg));
        s->restart = true;
        uv_async_send(&s->decided);
    }
    if (answer != NULL && answer->refused > 0)
        log_debug("scheduler.refused accepted=%" PRIu32 " refused=%" PRIu32, answer->accepted,
                  answer->refused);
    batch_free(batch);
}

static void on_decided(uv_async_t *async)
{
    struct scheduler *s = async->data;
    struct list batches;
    list_init(&batches);
    uv_mutex_lock(&s->mutex);
    while (!list_empty(&s->batches))
        list_push(&batches, list_pop(&s->batches));
    uv_mutex_unlock(&s->mutex);
    for (struct list *l = list_pop(&batches); l != NULL; l = list_pop(&batches)) {
        struct batch *batch = CONTAINER_OF(l, struct batch, link);
        struct cmd cmd;
        struct err err;
        if (cmd_unpack(batch->packed.bytes, batch->packed.size, &cmd, &err) != 0)
            PANIC("a batch of our own cannot be unpacked: %s", err.msg);
        replica_command(s->replica, &cmd, on_answer, batch);
        cmd_release(&cmd);
    }
    if (s->restart) {
        scheduler_stop(s);
        scheduler_start(s);
    }
}

struct scheduler *scheduler_new(struct replica *replica)
{
    struct scheduler *s = xcalloc(1, sizeof *s);
    s->replica = replica;
    list_init(&s->incoming);
    list_init(&s->batches);
    uv_mutex_init(&s->mutex);
    uv_cond_init(&s->wake);
    uv_async_init(replica_opts(replica)->loop, &s->decided, on_decided);
    s->decided.data = s;
    return s;
}

static void enqueue(struct scheduler *s, struct delta *delta)
{
    struct incoming *in = xcalloc(1, sizeof *in);
    in->delta = delta;
    uv_mutex_lock(&s->mutex);
    list_push(&s->incoming, &in->link);
    uv_cond_signal(&s->wake);
    uv_mutex_unlock(&s->mutex);
}

void scheduler_start(struct scheduler *s)
{
    ASSERT(!s->thread_runs);
    s->stopping = false;
    s->restart = false;
    s->under_way = 0;
    s->generation++;
    enqueue(s, delta_full(replica_cell(s->replica)));
    if (uv_thread_create(&s->thread, run, s) != 0)
        PANIC("cannot start the scheduler's thread");
    s->thread_runs = true;
    log_info("scheduler.started");
}

void scheduler_stop(struct scheduler *s)
{
    s->restart = false; /* asked for by a batch that failed because leadership was being lost */
    if (!s->thread_runs)
        return;
    uv_mutex_lock(&s->mutex);
    s->stopping = true;
    s->generation++;
    uv_cond_signal(&s->wake);
    uv_mutex_unlock(&s->mutex);
    uv_thread_join(&s->thread);
    s->thread_runs = false;
    for (struct list *l = list_pop(&s->incoming); l != NULL; l = list_pop(&s->incoming)) {
        struct incoming *in = CONTAINER_OF(l, struct incoming, link);
        delta_unref(in->delta);
        free(in);
    }
    for (struct list *l = list_pop(&s->batches); l != NULL; l = list_pop(&s->batches))
        batch_free(CONTAINER_OF(l, struct batch, link));
    log_info("scheduler.stopped");
}

void scheduler_put(struct scheduler *s, struct delta *delta)
{
    if (s->thread_runs)
        enqueue(s, delta_ref(delta));
}
