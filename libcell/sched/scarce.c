/*
 * scarce.c - which machines to keep for work that cannot go elsewhere.
 *
 * A machine is scarce when it meets constraints that much work has, beside few machines to have
 * it: each match adds its demand over the capacity of the machines that meet it. By that, machines
 * fall into VIEW_SCARCITY_LEVELS of equal size, and a task that could go anywhere takes the lower
 * levels where they fit as well. Without it, work without constraints fills the machines that
 * picky jobs of lower priority have to wait for.
 *
 * Demand is that of all live jobs, waiting or not: who came yesterday with these constraints may
 * come again. It moves slowly, and is counted anew only when an eighth of it has changed.
 */
#include "places.h"

#include <stdlib.h>

enum { SHARE_SHIFT = 20, RATIO_BITS = 16, BUCKETS = 1024 };

/* Machines that differ by less than this (of 2^RATIO_BITS) are all alike. */
enum { DIFFERENCE_MIN = 1 << RATIO_BITS >> 5 };

static bool is_picky(const struct view_job *job)
{
    return job->match != NULL && !job->every_machine;
}

void scarce_count(struct view *view, const struct view_job *job, int sign)
{
    if (is_picky(job))
        view->picky += (uint64_t)((int64_t)job->replicas * sign);
}

/* Of the largest machine, cpu and ram together. */
static uint64_t share_of(const struct view *view, int64_t cpu, int64_t ram)
{
    return (uint64_t)(view_normal(view, RES_CPU, MAX(cpu, 0)) +
                      view_normal(view, RES_RAM, MAX(ram, 0))) >>
           SHARE_SHIFT;
}

static void count_demand(struct view *view)
{
    LIST_EACH(l, &view->matches)
    CONTAINER_OF(l, struct match, link)->demand = 0;
    LIST_EACH(l, &view->jobs)
    {
        const struct view_job *job = CONTAINER_OF(l, struct view_job, link);
        if (is_picky(job))
            job->match->demand += job->replicas * share_of(view, job->limits[0].v[RES_CPU],
                                                           job->limits[0].v[RES_RAM]);
    }
}

/* Add what one match makes of the machines that meet it. */
static void add_match(const struct view *view, const struct match *match, const uint64_t *shares,
                      uint64_t *scarcity)
{
    uint64_t capacity = 0, ratio;
    for (uint32_t m = 0; m < view->machine_count; m++)
        capacity += bit_get(match->meets, m) ? shares[m] : 0;
    if (capacity == 0 || match->demand == 0)
        return;
    if (__builtin_mul_overflow(match->demand, UINT64_C(1) << RATIO_BITS, &ratio))
        ratio = UINT64_MAX;
    ratio = MIN(ratio / capacity, UINT64_C(1) << RATIO_BITS); /* more than all is all */
    for (uint32_t m = 0; m < view->machine_count; m++)
        scarcity[m] += bit_get(match->meets, m) ? ratio : 0;
}

static void measure(const struct view *view, uint64_t *scarcity)
{
    CLEANUP(free_ptr) uint64_t *shares = xcalloc(view->machine_count, sizeof *shares);
    for (uint32_t m = 0; m < view->machine_count; m++)
        shares[m] =
            view->up[m] ? share_of(view, view->total[RES_CPU][m], view->total[RES_RAM][m]) : 0;
    LIST_EACH(l, &view->matches)
    add_match(view, CONTAINER_OF(l, struct match, link), shares, scarcity);
}

/* A machine's level is how many machines are less scarce, in fourths of all. */
static void grade(struct view *view, const uint64_t *scarcity)
{
    uint64_t least = UINT64_MAX, most = 0;
    uint32_t below[BUCKETS + 1] = {0};
    for (uint32_t m = 0; m < view->machine_count; m++) {
        least = MIN(least, scarcity[m]);
        most = MAX(most, scarcity[m]);
    }
    bool differ = most - least >= DIFFERENCE_MIN;
    for (uint32_t m = 0; m < view->machine_count && differ; m++)
        below[1 + (scarcity[m] - least) * (BUCKETS - 1) / (most - least)]++;
    for (uint32_t i = 1; i <= BUCKETS; i++)
        below[i] += below[i - 1];
    for (uint32_t m = 0; m < view->machine_count; m++) {
        uint64_t bucket = differ ? (scarcity[m] - least) * (BUCKETS - 1) / (most - least) : 0;
        view_set_scarcity(
            view, m,
            (uint32_t)((uint64_t)below[bucket] * VIEW_SCARCITY_LEVELS / view->machine_count));
    }
}

static bool is_far(uint64_t now, uint64_t then)
{
    uint64_t change = now > then ? now - then : then - now;
    return change * 8 > then;
}

void scarce_update(struct view *view)
{
    if (!is_far(view->picky, view->picky_graded) &&
        !is_far(view->machine_count, view->machines_graded))
        return;
    view->picky_graded = view->picky;
    view->machines_graded = view->machine_count;
    if (view->machine_count == 0)
        return;
    CLEANUP(free_ptr) uint64_t *scarcity = xcalloc(view->machine_count, sizeof *scarcity);
    count_demand(view);
    measure(view, scarcity);
    grade(view, scarcity);
}
