/*
 * gang.c - all waiting tasks of a job in one pass, or none.
 *
 * A gang is tried out in the view task by task, evictions included. When one does not fit,
 * everything is put back, last first, so a gang that waits reserves nothing and holds up nobody.
 *
 * How many more places it would have needed is kept, and it is tried again only when the machines
 * that improved since can hold that many: its tasks being alike, no machine that stayed as it was
 * has more to give. What disruption budgets spare, and what hard spreads and company forbid, may
 * make the search miss a way that another order would have found (a gang near itself begins on the
 * best machine only); what it finds is always right.
 */
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

/* All that wait: PICK_FOUND. Else what kept the next from being placed. */
static enum pick place_all(struct sched *sched, struct view_job *job, uint32_t victims_max)
{
    uint32_t start = sched->victim_count;
    enum pick pick = PICK_FOUND;
    sched->view.trying = true;
    while (job->waiting > 0 && pick == PICK_FOUND) {
        struct choice choice;
        pick = sched_pick(sched, job, victims_max - (sched->victim_count - start), &choice);
        if (pick == PICK_FOUND)
            sched_propose(sched, job, choice);
    }
    return pick;
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
    for (uint32_t i = first; i < sched->placement_count; i++)
        if (sched->placements[i].victim_count > 0 && job->inside == NULL &&
            !sched_wake_beside(sched, job, sched->placements[i].machine.v - 1))
            return false;
    return true;
}

bool gang_place(struct sched *sched, struct view_job *job)
{
    struct mark start = mark_now(sched);
    enum pick pick = PICK_NONE;
    bool has_room = job->waiting <= CMD_PLACEMENTS_MAX - start.placements;
    if (has_room)
        pick = place_all(sched, job, VICTIMS_MAX - start.victims);
    if (pick == PICK_FOUND) {
        tell_all(sched, job, start.placements);
        return wake_beside_all(sched, job, start.placements);
    }
    uint32_t fitting = sched->placement_count - start.placements;
    put_back(sched, start);
    if (!has_room || (pick == PICK_WITH_MORE_VICTIMS && start.victims > 0)) {
        queue_return(&sched->view, job); /* an empty batch may hold it */
        return false;
    }
    job->gang_missing = job->waiting - fitting;
    view_block(&sched->view, job);
    return true;
}

uint32_t gang_places(const struct view *view, const struct view_job *job, uint32_t machine)
{
    int64_t count = view->up[machine] && places_allow(job, machine) ? job->waiting : 0;
    for (enum resource r = 0; r < RES_COUNT && count > 0; r++) {
        int64_t room = view_reach(view, r, machine);
        if (job->limit.v[r] > 0)
            count = MIN(count, MAX(room, 0) / job->limit.v[r]);
    }
    return (uint32_t)count;
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

bool gang_explain(struct sched *sched, struct view_job *job, struct buf *to)
{
    struct mark start = mark_now(sched);
    uint32_t waiting = job->waiting;
    if (waiting == 1)
        return explain_job(&sched->view, job, &sched->reach, to);
    enum pick pick = place_all(sched, job, VICTIMS_MAX);
    uint32_t fitting = sched->placement_count - start.placements;
    if (pick == PICK_FOUND)
        buf_printf(to, "all %u tasks would fit now", waiting);
    else if (pick == PICK_WITH_MORE_VICTIMS)
        buf_printf(to,
                   "%u of %u tasks would fit; the gang waits for all: the others would take more "
                   "than %d evictions at once",
                   fitting, waiting, VICTIMS_MAX);
    else
        explain_gang(&sched->view, job, &sched->reach, fitting, waiting, to);
    put_back(sched, start);
    return pick == PICK_FOUND;
}
