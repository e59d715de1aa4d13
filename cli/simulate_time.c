/*
 * simulate_time.c - the event queue of a simulation over time.
 */
#include "simulate_time.h"

#include <stdlib.h>
#include <string.h>

struct departure {
    int64_t second;
    struct attempt_ref task;
};

struct seconds { /* seconds of waiting */
    uint32_t *all;
    size_t count, capacity;
};

struct timeline {
    struct sim *sim;
    const struct workload *workload;
    const struct sim_job **order; /* in order of arrival; job id v is order[v - 1] */
    uint32_t arrived;             /* number of jobs */
    struct departure *heap;       /* heap[0] departs first */
    size_t heap_count, heap_capacity;
    struct seconds waits[BAND_COUNT];
    struct history *history;
};

static void timeline_release(struct timeline *t)
{
    free(t->order);
    free(t->heap);
    for (int b = 0; b < BAND_COUNT; b++)
        free(t->waits[b].all);
}

/* Compare by time, then by task, so that the order does not depend on the history of the heap. */
static bool is_before(const struct departure *a, const struct departure *b)
{
    return a->second != b->second ? a->second < b->second : a->task.task.v < b->task.task.v;
}

static void heap_push(struct timeline *t, struct departure departure)
{
    if (t->heap_count == t->heap_capacity) {
        t->heap_capacity = MAX(t->heap_capacity * 2, (size_t)1024);
        t->heap = xrealloc(t->heap, t->heap_capacity, sizeof *t->heap);
    }
    size_t at = t->heap_count++;
    for (; at > 0 && is_before(&departure, &t->heap[(at - 1) / 2]); at = (at - 1) / 2)
        t->heap[at] = t->heap[(at - 1) / 2];
    t->heap[at] = departure;
}

static struct departure heap_pop(struct timeline *t)
{
    struct departure first = t->heap[0], last = t->heap[--t->heap_count];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < t->heap_count; at = child) {
        if (child + 1 < t->heap_count && is_before(&t->heap[child + 1], &t->heap[child]))
            child++;
        if (!is_before(&t->heap[child], &last))
            break;
        t->heap[at] = t->heap[child];
    }
    t->heap[at] = last;
    return first;
}

static void note_wait(struct seconds *waits, uint64_t seconds)
{
    if (waits->count == waits->capacity) {
        waits->capacity = MAX(waits->capacity * 2, (size_t)1024);
        waits->all = xrealloc(waits->all, waits->capacity, sizeof *waits->all);
    }
    waits->all[waits->count++] = (uint32_t)MIN(seconds, (uint64_t)UINT32_MAX);
}

/* For a pending task, the time of its last change is when it became pending. */
static void simulate_time_on_decided(void *data, const struct sim *sim,
                                     const struct cmd_schedule *decided)
{
    struct timeline *t = data;
    for (uint32_t i = 0; i < decided->placement_count; i++) {
        struct attempt_ref ref = decided->placements[i].task;
        const struct task *task = cell_task(sim->cell, ref.task);
        const struct sim_job *job = t->order[task_job(ref.task).v - 1];
        int32_t duration_s = job->durations_s == NULL ? -1 : job->durations_s[task_index(ref.task)];
        note_wait(&t->waits[band_of(job->spec.priority)], sim->now_s - task->changed_ms / 1000);
        t->history->placements++;
        ref.attempt++;
        if (duration_s >= 0)
            heap_push(t, (struct departure){(int64_t)sim->now_s + MAX(duration_s, 1), ref});
    }
}

static int by_arrival(const void *x, const void *y)
{
    const struct sim_job *a = *(const struct sim_job *const *)x;
    const struct sim_job *b = *(const struct sim_job *const *)y;
    if (a->arrival_s != b->arrival_s)
        return a->arrival_s < b->arrival_s ? -1 : 1;
    return a < b ? -1 : a > b;
}

static int timeline_open(struct timeline *t, struct err *err)
{
    const struct workload *w = t->workload;
    t->order = xcalloc(w->job_count, sizeof *t->order);
    for (uint32_t i = 0; i < w->job_count; i++)
        t->order[i] = &w->jobs[i];
    qsort(t->order, w->job_count, sizeof *t->order, by_arrival);
    t->history->until_s = w->job_count == 0 ? 0 : t->order[w->job_count - 1]->arrival_s;
    for (uint32_t i = 0; i < w->machine_count; i++) {
        int rc = sim_machine(t->sim, &w->machines[i], 0, err);
        if (rc != 0)
            return err_wrap(err, "machine %s", w->machines[i].name);
    }
    return 0;
}

/* Return the time of the next arrival or departure; INT64_MAX if there is none. */
static int64_t next_second(const struct timeline *t)
{
    int64_t second = INT64_MAX;
    if (t->arrived < t->workload->job_count)
        second = t->order[t->arrived]->arrival_s;
    return t->heap_count == 0 ? second : MIN(second, t->heap[0].second);
}

static int live_through(struct timeline *t, int64_t second, struct err *err)
{
    t->sim->now_s = (uint64_t)second;
    while (t->heap_count > 0 && t->heap[0].second <= second)
        t->history->finished += sim_exit(t->sim, heap_pop(t).task);
    while (t->arrived < t->workload->job_count && t->order[t->arrived]->arrival_s <= second) {
        const struct job_spec *spec = &t->order[t->arrived++]->spec;
        int rc = sim_submit(t->sim, spec, err);
        if (rc != 0)
            return err_wrap(err, "job %s", spec->name);
        ASSERT(t->sim->answer.job.v == t->arrived);
        t->history->arrived += spec->replicas;
    }
    sim_run(t->sim);
    return 0;
}

static struct sample sample_of(const struct timeline *t, int64_t second)
{
    struct sample sample = {.second = second};
    const struct cell *cell = t->sim->cell;
    for (uint32_t i = 0; i < cell->machine_count; i++) {
        sample.running += cell->machines[i]->task_count;
        resources_add(&sample.used, &cell->machines[i]->reserved);
    }
    return sample;
}

static int by_length(const void *x, const void *y)
{
    uint32_t a = *(const uint32_t *)x;
    uint32_t b = *(const uint32_t *)y;
    return a < b ? -1 : a > b;
}

static struct waits waits_of(struct seconds *waits)
{
    if (waits->count == 0)
        return (struct waits){0};
    qsort(waits->all, waits->count, sizeof *waits->all, by_length);
    return (struct waits){waits->count, waits->all[waits->count / 2],
                          waits->all[waits->count * 99 / 100], waits->all[waits->count - 1]};
}

/* Record the waits so far of tasks that are still pending. */
static void note_pending(struct timeline *t)
{
    LIST_EACH(l, &t->sim->cell->jobs)
    {
        const struct job *job = CONTAINER_OF(l, struct job, link);
        for (uint32_t i = 0; i < job->task_count && job->counts[TASK_PENDING] > 0; i++)
            if (job->tasks[i].state == TASK_PENDING)
                note_wait(&t->waits[band_of(job->spec.priority)],
                          t->sim->now_s - job->tasks[i].changed_ms / 1000);
    }
}

static void summarize(struct timeline *t)
{
    struct history *h = t->history;
    struct seconds all = {0};
    t->sim->now_s = (uint64_t)h->until_s;
    note_pending(t);
    for (int b = 0; b < BAND_COUNT; b++) {
        h->bands[b] = waits_of(&t->waits[b]);
        for (size_t i = 0; i < t->waits[b].count; i++)
            note_wait(&all, t->waits[b].all[i]);
    }
    h->waits = waits_of(&all);
    free(all.all);
    for (uint32_t i = 0; i < h->sample_count; i++)
        for (int r = 0; r < RES_COUNT; r++) {
            /* divide first: the sum of the samples may overflow */
            h->used_mean.v[r] += h->samples[i].used.v[r] / h->sample_count;
            h->used_max.v[r] = MAX(h->used_max.v[r], h->samples[i].used.v[r]);
        }
}

/* Samples are equidistant; an event between two samples belongs to the later one. */
static int timeline_run(struct timeline *t, struct history_watch watch, struct err *err)
{
    struct history *h = t->history;
    int64_t until_s = h->until_s;
    uint64_t pending_max = 0;
    for (uint32_t i = 0; i < HISTORY_SAMPLES; i++) {
        int64_t end = (until_s * (i + 1)) / HISTORY_SAMPLES;
        for (int64_t second; (second = next_second(t)) <= end;) {
            int rc = live_through(t, second, err);
            if (rc != 0)
                return rc;
            pending_max = MAX(pending_max, sched_stats(t->sim->sched).pending);
            if (watch.on_second != NULL)
                watch.on_second(watch.data, second, until_s);
        }
        if (h->sample_count > 0 && h->samples[h->sample_count - 1].second == end)
            continue; /* the run has fewer seconds than samples */
        h->samples[h->sample_count] = sample_of(t, end);
        h->samples[h->sample_count++].pending_max = pending_max;
        h->pending_max = MAX(h->pending_max, pending_max);
        pending_max = sched_stats(t->sim->sched).pending;
    }
    summarize(t);
    return 0;
}

int sim_run_over_time(struct sim *sim, const struct workload *workload, struct history_watch watch,
                      struct history *ret, struct err *err)
{
    CLEANUP(timeline_release)
    struct timeline t = {.sim = sim, .workload = workload, .history = ret};
    *ret = (struct history){0};
    int rc = timeline_open(&t, err);
    sim->on_decided = simulate_time_on_decided;
    sim->data = &t;
    if (rc == 0)
        rc = timeline_run(&t, watch, err);
    sim->on_decided = NULL;
    sim->data = NULL;
    return rc;
}
