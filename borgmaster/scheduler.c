/*
 * scheduler.c - runs libcell/sched on a thread.
 *
 * Two queues are guarded by one mutex: deltas to the thread, and packed batches from it. The view
 * contains decisions as if they had been committed. When a batch fails because leadership was lost,
 * its rows are sent to the view again as the cell has them; if it is committed after all, its delta
 * sends them once more. A generation number identifies batches of an earlier leadership.
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

/* A SCHEDULE command on its way from the thread to the log. It is packed because its arrays belong
 * to the scheduler. */
struct batch {
    struct list link;
    struct scheduler *scheduler;
    uint64_t generation;
    struct buf packed; /* on the thread: the loop only stamps it with the time */
    uint32_t placements, victims;
};

struct scheduler {
    struct core *core;
    uv_async_t decided;
    uv_thread_t thread;

    uv_mutex_t mutex; /* guards the fields below */
    uv_cond_t wake;
    struct list incoming;
    struct list batches;
    uint64_t generation; /* changes when leadership begins and ends */
    bool leads;
    bool idle;        /* nothing is to be decided until something changes */
    bool half;        /* the last delta has a part of an entry: no decision is made on it */
    size_t under_way; /* batches without an answer */
    bool stopping;
};

static void batch_free(struct batch *batch)
{
    buf_release(&batch->packed);
    free(batch);
}

static void hand_over(struct scheduler *s, const struct cmd_schedule *decided, uint64_t generation)
{
    struct err err;
    struct cmd cmd = {.kind = CMD_SCHEDULE, .schedule = *decided, .time_ms = UINT64_MAX};
    struct batch *batch = xcalloc(1, sizeof *batch);
    batch->scheduler = s;
    batch->generation = generation;
    batch->placements = decided->placement_count;
    batch->victims = decided->victim_count;
    if (cmd_pack(&cmd, &batch->packed, &err) != 0)
        PANIC("the scheduler decided more than a command may hold: %s", err.msg);
    uv_mutex_lock(&s->mutex);
    if (generation == s->generation)
        s->under_way++;
    list_push(&s->batches, &batch->link);
    uv_mutex_unlock(&s->mutex);
    uv_async_send(&s->decided);
}

/* Returns whether a decision may be made now. The mutex must be held. */
static bool may_decide(const struct scheduler *s)
{
    return s->leads && !s->idle && !s->half && s->under_way < SCHEDULER_BATCHES_MAX;
}

/* Wait for work and take the deltas into the view. Returns false when the thread must end. */
static bool take_in(struct scheduler *s, struct sched *sched, bool *ret_decide,
                    uint64_t *ret_generation)
{
    struct list taken;
    list_init(&taken);
    uv_mutex_lock(&s->mutex);
    while (list_empty(&s->incoming) && !s->stopping && !may_decide(s))
        uv_cond_wait(&s->wake, &s->mutex);
    while (!list_empty(&s->incoming))
        list_push(&taken, list_pop(&s->incoming));
    s->idle = s->idle && list_empty(&taken);
    bool stop = s->stopping;
    *ret_decide = may_decide(s);
    *ret_generation = s->generation;
    uv_mutex_unlock(&s->mutex);
    for (struct list *l = list_pop(&taken); l != NULL; l = list_pop(&taken)) {
        struct incoming *in = CONTAINER_OF(l, struct incoming, link);
        if (!stop)
            sched_update(sched, in->delta);
        delta_unref(in->delta);
        free(in);
    }
    return !stop;
}

static void decide(struct scheduler *s, struct sched *sched, uint64_t generation)
{
    struct cmd_schedule decided;
    if (sched_pass(sched, &decided)) {
        hand_over(s, &decided, generation);
        return;
    }
    uv_mutex_lock(&s->mutex);
    /* Leadership may have begun anew meanwhile, which needs a new look at everything. */
    s->idle = generation == s->generation;
    uv_mutex_unlock(&s->mutex);
}

static void run(void *data)
{
    struct scheduler *s = data;
    struct sched *sched = sched_new();
    uint64_t generation;
    bool may;
    while (take_in(s, sched, &may, &generation))
        if (may)
            decide(s, sched, generation);
    sched_free(sched);
}

static void enqueue(struct scheduler *s, struct delta *delta, bool half)
{
    struct incoming *in = xcalloc(1, sizeof *in);
    in->delta = delta;
    uv_mutex_lock(&s->mutex);
    s->half = half;
    list_push(&s->incoming, &in->link);
    uv_cond_signal(&s->wake);
    uv_mutex_unlock(&s->mutex);
}

/* Send the rows of the batch to the view again, because it contains decisions that failed. The core
 * is flushed first: an older delta must not come after this one, or a task could come before its
 * job. */
static void take_back(struct scheduler *s, const struct batch *batch)
{
    struct changes CLEANUP(changes_release) changes = {0};
    struct cmd cmd;
    struct err err;
    if (cmd_unpack(batch->packed.bytes, batch->packed.size, &cmd, &err) != 0)
        PANIC("a batch of our own cannot be unpacked: %s", err.msg);
    core_flush(s->core);
    schedule_note(core_cell(s->core), &cmd.schedule, &changes);
    enqueue(s, delta_collect(core_cell(s->core), &changes), s->half);
    cmd_release(&cmd);
}

static void on_answer(void *data, const struct err *err, const struct wire_answer *answer)
{
    struct batch *batch = data;
    struct scheduler *s = batch->scheduler;
    uv_mutex_lock(&s->mutex);
    if (batch->generation == s->generation) {
        ASSERT(s->under_way > 0);
        s->under_way--;
        uv_cond_signal(&s->wake);
    }
    uv_mutex_unlock(&s->mutex);
    if (err != NULL) {
        log_warn("scheduler.batch_lost reason=%s", log_quoted(err->msg));
        take_back(s, batch);
    }
    if (answer != NULL && answer->refused > 0)
        log_debug("scheduler.refused accepted=%" PRIu32 " refused=%" PRIu32, answer->accepted,
                  answer->refused);
    batch_free(batch);
}

static void propose(struct scheduler *s, struct batch *batch)
{
    const struct cmd cmd = {
        .kind = CMD_SCHEDULE,
        .packed = &batch->packed,
        .schedule = {.placement_count = batch->placements, .victim_count = batch->victims}};
    core_propose(s->core, &cmd, on_answer, batch);
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
        /* Only the loop's thread changes `leads` and `generation`. */
        if (s->leads && batch->generation == s->generation) {
            propose(s, batch);
        } else {
            take_back(s, batch);
            batch_free(batch);
        }
    }
}

struct scheduler *scheduler_new(struct core *core)
{
    struct scheduler *s = xcalloc(1, sizeof *s);
    s->core = core;
    list_init(&s->incoming);
    list_init(&s->batches);
    uv_mutex_init(&s->mutex);
    uv_cond_init(&s->wake);
    uv_async_init(core_opts(core)->loop, &s->decided, on_decided);
    s->decided.data = s;
    scheduler_reset(s);
    if (uv_thread_create(&s->thread, run, s) != 0)
        PANIC("cannot start the scheduler's thread");
    return s;
}

void scheduler_reset(struct scheduler *s)
{
    enqueue(s, delta_full(core_cell(s->core)), false);
}

void scheduler_reset_to(struct scheduler *s, struct delta *full)
{
    enqueue(s, full, false);
}

void scheduler_put(struct scheduler *s, struct delta *delta)
{
    enqueue(s, delta_ref(delta), delta->more);
}

void scheduler_on_role(struct scheduler *s, bool leads)
{
    uv_mutex_lock(&s->mutex);
    s->leads = leads;
    s->generation++;
    s->under_way = 0;
    s->idle = false;
    uv_cond_signal(&s->wake);
    uv_mutex_unlock(&s->mutex);
    log_info("scheduler.%s", leads ? "started" : "stopped");
}

void scheduler_stop(struct scheduler *s)
{
    uv_mutex_lock(&s->mutex);
    s->stopping = true;
    uv_cond_signal(&s->wake);
    uv_mutex_unlock(&s->mutex);
    uv_thread_join(&s->thread);
}
