/*
 * simulate_compact.c - cell compaction: how few machines would do, when packed from scratch.
 *
 * The measure of the Borg paper (section 5.1): take machines away at random until the workload no
 * longer fits; 11 times; the 90th percentile of what is needed. Up to 0.2% of the tasks may stay
 * pending. Where more is needed than there is, the cell is cloned. The search halves an interval,
 * so it takes fitting for monotonous, which it nearly is.
 */
#include "simulate_compact.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CLONES_MAX = 4, PICKY_PERMILLE = 2, STEPS = 400 };

uint64_t sim_draw(uint64_t *state)
{
    *state += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
    uint64_t z = *state;
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* The cell and its clones, each in an order of its own. */
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
    const struct trace *trace;
    struct sim_load load;
    const uint32_t *order;
    uint64_t pending_max;
};

static int fits(struct trial *t, uint32_t count, bool *ret, struct err *err)
{
    struct sim_ignored ignored = {0};
    sim_clear(t->sim);
    for (uint32_t i = 0; i < count; i++) {
        int rc = sim_add_machine(t->sim, &t->trace->machines[t->order[i]],
                                 i / t->trace->machine_count, err);
        if (rc != 0)
            return rc;
    }
    int rc = sim_add_jobs(t->sim, t->trace, &t->load, &ignored, err);
    if (rc == 0)
        *ret = sim_run_within(t->sim, t->pending_max);
    return rc;
}

/* The smallest count from which it fits, to within `step`; starting from a guess. */
static int search(struct trial *t, uint32_t guess, uint32_t *ret, struct err *err)
{
    uint32_t most = t->trace->machine_count * CLONES_MAX;
    uint32_t step = MAX(t->trace->machine_count / STEPS, 1U);
    uint32_t stride = step * 4;
    uint32_t low = 0, high = MIN(guess, most);
    bool ok;
    int rc = fits(t, high, &ok, err);
    while (rc == 0 && !ok && high < most) { /* up until it fits */
        low = high;
        high = MIN(high + stride, most);
        stride *= 2;
        rc = fits(t, high, &ok, err);
    }
    if (rc == 0 && !ok)
        return err_set(err, ERR_LIMIT, "%d times the cell is not enough for its tasks", CLONES_MAX);
    while (rc == 0 && low == 0 && high > stride) { /* down until it does not */
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

int compact_bound(const struct trace *trace, const struct sim_load *load, struct compact_bound *ret,
                  struct err *err)
{
    struct sim sim;
    struct sim_ignored ignored = {0};
    sim_init(&sim);
    int rc = sim_load_trace(&sim, trace, load, &ignored, err);
    struct sim_figures f = sim_figures(&sim);
    *ret = (struct compact_bound){.machines = f.machines, .tasks = f.tasks, .ignored = ignored};
    for (int r = 0; rc == 0 && r < RES_COUNT; r++)
        if (f.demand.v[r] > 0)
            ret->percent = fmax(ret->percent, f.capacity.v[r] == 0 ? INFINITY
                                                                   : 100.0 * (double)f.demand.v[r] /
                                                                         (double)f.capacity.v[r]);
    if (rc == 0 && (f.machines == 0 || f.tasks == 0))
        rc = err_set(err, ERR_INVALID,
                     "compaction needs machines and tasks: there are %" PRIu32
                     " machines and %" PRIu64 " tasks that arrive in time",
                     f.machines, f.tasks);
    sim_release(&sim);
    return rc;
}

int compact(const struct trace *trace, const struct sim_load *load,
            const struct compact_bound *bound, uint64_t seed,
            void (*on_trial)(void *data, uint32_t trial), void *data, struct compact *ret,
            struct err *err)
{
    struct sim sim;
    struct trial t = {.sim = &sim,
                      .trace = trace,
                      .load = *load,
                      .pending_max = bound->tasks * PICKY_PERMILLE / 1000};
    uint32_t guess = (uint32_t)fmin((double)trace->machine_count * bound->percent / 100 + 1,
                                    (double)trace->machine_count * CLONES_MAX);
    int rc = 0;
    sim_init(&sim);
    for (uint32_t i = 0; rc == 0 && i < COMPACT_TRIALS; i++) {
        uint32_t *order = draw_order(trace->machine_count, seed * 1000 + i);
        t.order = order;
        rc = search(&t, guess, &ret->needed[i], err);
        guess = ret->needed[i];
        free(order);
        if (on_trial != NULL)
            on_trial(data, i + 1);
    }
    sim_release(&sim);
    if (rc != 0)
        return rc;
    qsort(ret->needed, COMPACT_TRIALS, sizeof ret->needed[0], by_size);
    ret->machines = ret->needed[(COMPACT_TRIALS * 9 + 9) / 10 - 1];
    ret->percent = 100.0 * ret->machines / trace->machine_count;
    return 0;
}
