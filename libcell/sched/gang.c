/*
 * gang.c - all waiting tasks of a job in one pass, or none.
 *
 * A gang is tried out in the view task by task, all in one shape, evictions included. When one does
 * not fit, everything is put back, last first, so a gang that waits reserves nothing and holds up
 * nobody.
 *
 * How many more places it would have needed is kept, and it is tried again only when the machines
 * that improved since can hold that many: its tasks being alike, no machine that stayed as it was
 * has more to give. What disruption budgets spare, and what hard spreads and company forbid, may
 * make the search miss a way that another order would have found (a gang near itself begins on the
 * best machine only); what it finds is always right.
 */
#include "places.h"
#include "sched_impl.h"

#include "allocs.h"

/* How far the batch and the view have come. */
struct mark {
    uint32_t placements, victims, improved;
};

static struct mark mark_now(const struct sched *sched)
{
    return (struct mark){sched->placement_count, sched->victim_count, sched->view.improved_count};
}

static struct view_task *task_of(const struct sched *sched, struct attempt_ref ref)
{
    return &view_job_find(&sched->view, task_job(ref.task))->tasks[task_index(ref.task)];
}

static void put_back(struct sched *sched, struct mark to)
{
    while (sched->placement_count > to.placements) {
        const struct placement *p = &sched->placements[--sched->placement_count];
        sched->score_count -= p->decision.score_count;
        view_unplace(&sched->view, task_of(sched, p->task));
        while (sched->victim_count > p->victim_first) {
            uint32_t v = --sched->victim_count;
            view_unstop(&sched->view, task_of(sched, sched->victims[v]), sched->was_disrupted[v]);
        }
    }
    view_unimprove(&sched->view, to.improved);
    sched->view.trying = false;
}

/* All that wait, in this shape: PICK_FOUND. Else what kept the next from being placed. */
static enum pick place_all(struct sched *sched, struct view_job *job, uint32_t shape, bool evict,
                           uint32_t victims_max)
{
    uint32_t start = sched->victim_count;
    enum pick pick = PICK_FOUND;
    sched->view.trying = true;
    while (job->waiting > 0 && pick == PICK_FOUND) {
        struct choice choice;
        pick = sched_pick(sched, job, shape, &choice);
        if (pick == PICK_NONE && evict)
            pick = sched_pick_evicting(sched, job, shape,
                                       victims_max - (sched->victim_count - start), &choice);
        if (pick == PICK_FOUND)
            sched_propose(sched, job, shape, choice);
    }
    return pick;
}

/*
 * All in the best shape that all fit in; nobody is evicted for a better one while another fits.
 * Else nothing is placed, and at least so many more places are `missing`. With more victims than
 * this batch takes it may fit: PICK_WITH_MORE_VICTIMS.
 */
static enum pick place_in_a_shape(struct sched *sched, struct view_job *job, uint32_t *ret_missing)
{
    struct mark start = mark_now(sched);
    enum pick pick = PICK_NONE;
    *ret_missing = job->waiting;
    for (int evict = job->shape_count == 1; evict <= 1; evict++) {
        for (uint32_t shape = 0; shape < job->shape_count; shape++) {
            pick = place_all(sched, job, shape, evict, VICTIMS_MAX - start.victims);
            if (pick == PICK_FOUND)
                return pick;
            *ret_missing = MIN(*ret_missing, job->waiting);
            put_back(sched, start);
            if (pick == PICK_WITH_MORE_VICTIMS && start.victims > 0)
                return pick;
        }
    }
    return PICK_NONE;
}

/* They stay: who waits for their company may go now. */
static void tell_all(struct sched *sched, const struct view_job *job, uint32_t first)
{
    sched->view.trying = false;
    for (uint32_t i = first; i < sched->placement_count; i++)
        presence_tell(&sched->view, job, sched->placements[i].machine.v - 1);
    if (job->allocs != NULL || job->inside != NULL)
        allocs_tell(&sched->view, job->allocs != NULL ? job->allocs : job->inside);
}

static bool wake_beside_all(struct sched *sched, const struct view_job *job, uint32_t first)
{
    /* Who is woken for one of these machines is to look at all of them. */
    for (uint32_t i = first; i < sched->placement_count; i++)
        if (sched->placements[i].victim_count > 0)
            view_add_candidate(&sched->view, sched->placements[i].machine.v - 1);
    for (uint32_t i = first; i < sched->placement_count; i++)
        if (sched->placements[i].victim_count > 0 && job->inside == NULL &&
            !sched_wake_beside(sched, job, sched->placements[i].machine.v - 1))
            return false;
    return true;
}

bool gang_place(struct sched *sched, struct view_job *job)
{
    uint32_t first = sched->placement_count, missing = 0;
    bool has_room = job->waiting <= CMD_PLACEMENTS_MAX - first;
    enum pick pick = has_room ? place_in_a_shape(sched, job, &missing) : PICK_NONE;
    if (pick == PICK_FOUND) {
        tell_all(sched, job, first);
        return wake_beside_all(sched, job, first);
    }
    if (!has_room || pick == PICK_WITH_MORE_VICTIMS) {
        queue_return(&sched->view, job); /* an empty batch may hold it */
        return false;
    }
    job->gang_missing = missing;
    view_block(&sched->view, job);
    return true;
}

static int64_t places_of_shape(const struct view *view, const struct resources *need,
                               uint32_t machine, int64_t max)
{
    int64_t count = max;
    for (enum resource r = 0; r < RES_COUNT; r++) {
        int64_t room = view_reach(view, r, machine);
        if (need->v[r] > 0)
            count = MIN(count, MAX(room, 0) / need->v[r]);
    }
    return count;
}

uint32_t gang_places(const struct view *view, const struct view_job *job, uint32_t machine)
{
    int64_t most = 0;
    if (!view->up[machine] || !places_allow(job, machine))
        return 0;
    for (uint32_t i = 0; i < job->shape_count; i++)
        most = MAX(most, places_of_shape(view, &job->limits[i], machine, job->waiting));
    return (uint32_t)most;
}

bool gang_may_fit(struct sched *sched, struct view_job *job)
{
    const struct view *view = &sched->view;
    for (uint32_t i = 0; i < view->candidate_count; i++) {
        uint32_t more = gang_places(view, job, view->candidate_list[i]);
        if (more >= job->gang_missing)
            return true;
        job->gang_missing -= more;
    }
    sched->stats.machines_scanned += view->candidate_count;
    return false;
}

/* What keeps it from fitting in this shape; true when it does. The view stays as it is. */
static bool explain_shape(struct sched *sched, struct view_job *job, uint32_t shape,
                          struct reason *to)
{
    struct mark start = mark_now(sched);
    uint32_t waiting = job->waiting;
    enum pick pick = place_all(sched, job, shape, /* evict= */ true, VICTIMS_MAX);
    uint32_t fitting = sched->placement_count - start.placements;
    if (shape > 0) {
        reason_note(to, REASON_SHAPE);
        buf_printf(&to->text, "; in shape %u: ", shape + 1);
    }
    if (pick == PICK_WITH_MORE_VICTIMS) {
        reason_note(to, REASON_EVICTIONS);
        buf_printf(&to->text,
                   "%u of %u tasks would fit; the gang waits for all: the others would take more "
                   "than %d evictions at once",
                   fitting, waiting, VICTIMS_MAX);
    } else if (pick == PICK_NONE) {
        explain_gang(&sched->view, job, &job->limits[shape], &sched->reach, fitting, waiting, to);
    }
    put_back(sched, start);
    return pick == PICK_FOUND;
}

bool gang_explain(struct sched *sched, struct view_job *job, struct reason *to)
{
    CLEANUP(reason_release) struct reason why = {0};
    if (job->waiting == 1)
        return explain_job(&sched->view, job, &sched->reach, to);
    for (uint32_t shape = 0; shape < job->shape_count; shape++) {
        if (explain_shape(sched, job, shape, &why)) {
            buf_printf(&to->text, "all %u tasks would fit now", job->waiting);
            return true;
        }
    }
    buf_printf(&to->text, "%s", buf_text(&why.text));
    to->kind = why.kind;
    return false;
}
