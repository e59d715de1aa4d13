/*
 * simulate_compact.c - cell compaction: the fewest machines that suffice for a workload.
 *
 * The experiment of the Borg paper (section 5.1): remove machines at random until the workload,
 * packed from scratch, no longer fits; repeat 11 times; the result is the 90th percentile of the
 * machines needed. Up to 0.2% of the tasks may stay pending. Hard constraints of a job with more
 * tasks than half the machines become soft. If the cell is too small, it is cloned. The search is a
 * bisection, which assumes that more machines never hurt; this is nearly true.
 */
#include "simulate_compact.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CLONES_MAX = 4, PICKY_PERMILLE = 2, STEPS = 1000 };

/* Shuffle the machines of the cell and of each clone separately. */
static uint32_t *draw_order(uint32_t machines, uint64_t seed)
{
    uint32_t *order = xcalloc((size_t)machines * CLONES_MAX, sizeof *order);
    for (uint32_t clone = 0; clone < CLONES_MAX; clone++) {
        uint32_t *part = order + (size_t)clone * machines;
        for (uint32_t i = 0; i < machines; i++) {
            uint32_t j = (uint32_t)(sim_draw(&seed) % (i + 1));
            part[i] = part[j];
            part[j] = i;
        }
    }
    return order;
}

struct trial {
    struct sim *sim;
    const struct workload *workload;
    enum policy policy;
    const uint32_t *order;
    uint64_t pending_max;
};

static int fits(struct trial *t, uint32_t count, bool *ret, struct err *err)
{
    const struct workload *w = t->workload;
    int rc = 0;
    sim_clear(t->sim);
    for (uint32_t i = 0; rc == 0 && i < count; i++)
        rc = sim_machine(t->sim, &w->machines[t->order[i]], i / w->machine_count, err);
    for (uint32_t i = 0; rc == 0 && i < w->job_count; i++) {
        struct job_spec spec = w->jobs[i].spec; /* borrowed: not released */
        spec.policy = t->policy;
        rc = sim_submit(t->sim, &spec, err);
    }
    if (rc == 0)
        *ret = sim_run_within(t->sim, t->pending_max);
    return rc;
}

/* Find the smallest number of machines that suffices, to within `step`, starting from a guess. */
static int search(struct trial *t, uint32_t guess, uint32_t *ret, struct err *err)
{
    uint32_t most = t->workload->machine_count * CLONES_MAX;
    uint32_t step = MAX(t->workload->machine_count / STEPS, 1U);
    uint32_t stride = step * 4;
    uint32_t low = 0, high = MIN(guess, most);
    bool ok;
    int rc = fits(t, high, &ok, err);
    while (rc == 0 && !ok && high < most) { /* grow until it fits */
        low = high;
        high = MIN(high + stride, most);
        stride *= 2;
        rc = fits(t, high, &ok, err);
    }
    if (rc == 0 && !ok)
        return err_set(err, ERR_LIMIT, "the tasks do not fit into %d copies of the cell",
                       CLONES_MAX);
    while (rc == 0 && low == 0 && high > stride) { /* shrink until it does not fit */
        uint32_t below = high - stride;
        stride *= 2;
        rc = fits(t, below, &ok, err);
        if (ok)
            high = below;
        else
            low = below;
    }
    while (rc == 0 && high - low > step) {
        uint32_t middle = low + (high - low) / 2;
        rc = fits(t, middle, &ok, err);
        if (ok)
            high = middle;
        else
            low = middle;
    }
    *ret = high;
    return rc;
}

static int by_size(const void *x, const void *y)
{
    uint32_t a = *(const uint32_t *)x;
    uint32_t b = *(const uint32_t *)y;
    return a < b ? -1 : a > b;
}

/* Make hard constraints and bounds soft; return true if there were any. */
static bool soften(struct job_spec *spec)
{
    bool was_hard = false;
    for (uint32_t i = 0; i < spec->constraints.count; i++) {
        struct clause *clause = &spec->constraints.items[i];
        was_hard |= clause->weight == 0;
        clause->weight = MAX(clause->weight, 1U);
    }
    for (uint32_t i = 0; i < spec->spread_count; i++) {
        struct spread *spread = &spec->spreads[i];
        was_hard |= spread->max > 0;
        spread->max = 0;
        spread->weight = MAX(spread->weight, 1U);
    }
    return was_hard;
}

int compact_prepare(struct workload *workload, struct compact_bound *ret, struct err *err)
{
    struct sim sim;
    *ret = (struct compact_bound){0};
    for (uint32_t i = 0; i < workload->job_count; i++) {
        struct job_spec *spec = &workload->jobs[i].spec;
        if (spec->replicas > workload->machine_count / 2)
            ret->softened += soften(spec);
    }
    sim_init(&sim);
    int rc = sim_load(&sim, workload, err);
    struct sim_figures f = sim_figures(&sim);
    sim_release(&sim);
    ret->machines = f.machines;
    ret->tasks = f.tasks;
    for (int r = 0; rc == 0 && r < RES_COUNT; r++)
        if (f.demand.v[r] > 0)
            ret->percent = fmax(ret->percent, f.capacity.v[r] == 0 ? INFINITY
                                                                   : 100.0 * (double)f.demand.v[r] /
                                                                         (double)f.capacity.v[r]);
    if (rc == 0 && (f.machines == 0 || f.tasks == 0))
        rc = err_set(err, ERR_INVALID,
                     "compaction needs machines and tasks: there are %" PRIu32
                     " machines and %" PRIu64 " tasks",
                     f.machines, f.tasks);
    return rc;
}

int compact(const struct workload *workload, const struct compact_bound *bound, enum policy policy,
            uint64_t seed, struct compact_watch watch, struct compact *ret, struct err *err)
{
    struct sim sim;
    struct trial t = {.sim = &sim,
                      .workload = workload,
                      .policy = policy,
                      .pending_max = bound->tasks * PICKY_PERMILLE / 1000};
    uint32_t guess = (uint32_t)fmin((double)bound->machines * bound->percent / 100 + 1,
                                    (double)bound->machines * CLONES_MAX);
    int rc = 0;
    sim_init(&sim);
    sim.on_pass = watch.on_pass;
    sim.data = watch.data;
    for (uint32_t i = 0; rc == 0 && i < COMPACT_TRIALS; i++) {
        uint32_t *order = draw_order(bound->machines, seed * 1000 + i);
        t.order = order;
        rc = search(&t, guess, &ret->needed[i], err);
        guess = ret->needed[i];
        free(order);
        if (watch.on_trial != NULL)
            watch.on_trial(watch.data, i + 1);
    }
    sim_release(&sim);
    if (rc != 0)
        return rc;
    qsort(ret->needed, COMPACT_TRIALS, sizeof ret->needed[0], by_size);
    ret->machines = ret->needed[(COMPACT_TRIALS * 9 + 9) / 10 - 1];
    ret->percent = 100.0 * ret->machines / bound->machines;
    return 0;
}
