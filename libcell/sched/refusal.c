/*
 * refusal.c - what fitted nowhere, so that what asks for as much need not be looked at.
 *
 * A task that asks for at least as much of everything as one that fitted nowhere, may evict no more
 * (for its priority, and for the disruption budgets that bind it) and may go to no other machines,
 * fits nowhere either, until something leaves a machine or one grows. Only the smallest of those
 * that did not fit are kept, and few of them.
 */
#include "choose.h"

static uint64_t match_of(const struct view_job *job)
{
    return job->match == NULL ? 0 : job->match->number;
}

static bool covers(const struct refusal *refusal, const struct refusal *ask)
{
    /* Others may lie where production would not be promised its limit. */
    return refusal->priority >= ask->priority &&
           priority_is_prod(refusal->priority) == priority_is_prod(ask->priority) &&
           (refusal->match == 0 || refusal->match == ask->match) &&
           (refusal->budgets == 0 || refusal->budgets == ask->budgets) &&
           resources_fit(&refusal->need, &ask->need);
}

static struct refusal refusal_of(const struct view_job *job, const struct resources *need)
{
    return (struct refusal){*need, match_of(job), job->priority, owner_budgets(job->owner)};
}

bool refusals_cover(struct refusals *refusals, const struct view *view, const struct view_job *job,
                    const struct resources *need)
{
    struct refusal ask = refusal_of(job, need);
    if (refusals->improvements != view->improvements)
        refusals->count = 0;
    refusals->improvements = view->improvements;
    for (uint32_t i = 0; i < refusals->count; i++)
        if (covers(&refusals->items[i], &ask))
            return true;
    return false;
}

void refusals_note(struct refusals *refusals, const struct view *view, const struct view_job *job,
                   const struct resources *need)
{
    struct refusal refusal = refusal_of(job, need);
    if (!score_is_plain(job) || refusals_cover(refusals, view, job, need))
        return;
    uint32_t count = 0;
    for (uint32_t i = 0; i < refusals->count; i++)
        if (!covers(&refusal, &refusals->items[i]))
            refusals->items[count++] = refusals->items[i];
    if (count == REFUSALS_MAX)
        refusals->items[refusals->oldest++ % REFUSALS_MAX] = refusal;
    else
        refusals->items[count++] = refusal;
    refusals->count = count;
}
