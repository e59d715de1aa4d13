/*
 * sched_exact.c - compare the fast path of the scheduler with an exact scan of all machines.
 */
#include "sched_exact.h"

#include "bench.h"
#include "choose.h"
#include "clock.h"

#include <stdlib.h>

static void compare(struct exact *e, const struct view *view, const struct view_job *job,
                    uint32_t chosen)
{
    struct shortlist list;
    uint64_t start_us = clock_mono_us();
    shortlist_clear(&list, 1);
    score_all(view, job, &job->limits[0], &list);
    e->scan_s += (double)(clock_mono_us() - start_us) / 1e6;
    e->sampled++;
    if ((list.count == 0) != (chosen == VIEW_NO_MACHINE))
        bench_die("job %" PRIu64 ": the scan and the fast path disagree whether it fits",
                  job->id.v);
    if (list.count == 0)
        return;
    struct score score = score_of(view, job, &job->limits[0], chosen);
    if (score.ranks[0] != list.entries[0].score.ranks[0])
        bench_die("job %" PRIu64 ": the fast path violates more soft constraints", job->id.v);
    e->chosen += (double)score.ranks[1];
    e->best += (double)list.entries[0].score.ranks[1];
}

static void place_job(struct exact *e, struct best *best, struct view *view, struct view_job *job,
                      uint64_t every)
{
    uint64_t scanned = 0;
    while (job->waiting > 0 && !job->blocked) {
        uint32_t machine = best_machine(best, view, job, &job->limits[0], &scanned).machine;
        if (e->choices++ % every == 0)
            compare(e, view, job, machine);
        if (machine == VIEW_NO_MACHINE)
            view_block(view, job);
        else
            view_place(view, view_first_waiting(job), machine, 0, 0);
    }
}

struct exact exact_run(const struct sim *sim, uint64_t samples)
{
    struct exact e = {0};
    struct best best = {0};
    struct view *view = xcalloc(1, sizeof *view);
    struct delta *delta = delta_full(sim->cell);
    view_init(view);
    view_update(view, delta);
    scarce_update(view);
    delta_unref(delta);
    uint64_t every = MAX(view->waiting / samples, UINT64_C(1)), start_us = clock_mono_us();
    for (uint32_t p = PRIORITY_MAX + 1; p-- > 0;) {
        struct level *level = &view->levels[p];
        queue_level_start(level);
        while (level->ready > 0)
            place_job(&e, &best, view, queue_next(level), every);
    }
    e.fast_s = (double)(clock_mono_us() - start_us) / 1e6 - e.scan_s;
    best_release(&best);
    view_release(view);
    free(view);
    return e;
}
