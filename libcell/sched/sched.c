/*
 * sched.c - the pass: wake who may fit now, place by priority and turn, say why not.
 *
 * One command must not exceed CMD_BYTES_MAX, so victims and verdicts are bounded as placements are;
 * what does not go into this command goes into the next.
 */
#include "sched_impl.h"

#include "allocs.h"

#include <stdlib.h>
#include <string.h>

struct sched *sched_new(void)
{
    struct sched *sched = xcalloc(1, sizeof *sched);
    view_init(&sched->view);
    sched->stage_evict = score_stages(sched->stages);
    sched->stage_count = sched->stage_evict + preempt_stages(sched->stages + sched->stage_evict);
    ASSERT(sched->stage_count <= STAGES_MAX);
    return sched;
}

void sched_free(struct sched *sched)
{
    if (sched == NULL)
        return;
    view_release(&sched->view);
    best_release(&sched->best);
    preempt_release(&sched->preempt);
    reach_release(&sched->reach);
    free(sched);
}

void sched_update(struct sched *sched, const struct delta *delta)
{
    view_update(&sched->view, delta);
}

/* Does one of the machines where something changed for the better fit this job now? */
static bool may_fit(struct sched *sched, const struct view_job *job)
{
    const struct view *view = &sched->view;
    for (uint32_t i = 0; i < view->candidate_count; i++) {
        sched->stats.machines_scanned++;
        if (feasible_evicting(view, job, view->candidate_list[i]))
            return true;
    }
    return false;
}

/*
 * What a blocked job can use it gets by something leaving a machine or by a machine growing: a task
 * that comes only moves its limit from free to evictable. So only those machines are looked at.
 */
static void wake_blocked(struct sched *sched)
{
    struct view *view = &sched->view;
    bool improved = view->improved_count > 0;
    if (!improved && view->fleet_version == sched->fleet_told)
        return;
    view_take_improved(view);
    for (struct list *l = view->blocked.next, *next; l != &view->blocked; l = next) {
        struct view_job *job = CONTAINER_OF(l, struct view_job, blocked_link);
        next = l->next;
        if (job->inside != NULL)
            continue; /* woken by what happens to its allocs: allocs_tell() */
        if (view->fleet_version != sched->fleet_told && list_empty(&job->unsaid))
            list_push(&view->unsaid, &job->unsaid);
        if (improved && (job->gang ? gang_may_fit(sched, job) : may_fit(sched, job)))
            view_unblock(view, job);
    }
    for (uint32_t i = 0; improved && i < view->candidate_count; i++)
        system_wake(sched, view->candidate_list[i], PRIORITY_MAX + 1);
    sched->fleet_told = view->fleet_version;
}

/* Of a gang the last may go without scores: a batch holds only so many. Those of machines say
 * nothing of allocs. */
static void decision_make(struct sched *sched, const struct view_job *job, uint32_t shape,
                          struct choice choice, struct decision *to)
{
    to->runner_up.v = choice.runner_up + 1;
    to->among = sched->among;
    to->score_count = 0;
    _Static_assert(VIEW_NO_MACHINE == UINT32_MAX, "no machine has the id 0");
    if (job->inside != NULL || sched->score_count + DECISION_SCORES_MAX > CMD_SCORES_MAX)
        return;
    if (sched->preempt.victim_count > 0)
        preempt_explain(&sched->preempt, sched->stage_evict, to);
    else
        score_explain(&sched->view, job, &job->limits[shape], choice, &sched->memo, to);
    sched->score_count += to->score_count;
}

void sched_propose(struct sched *sched, struct view_job *job, uint32_t shape, struct choice choice)
{
    struct view_task *task = view_first_waiting(job);
    struct placement *p = &sched->placements[sched->placement_count++];
    p->task = view_attempt(task);
    p->machine.v = choice.machine + 1;
    p->alloc = job->inside == NULL ? (task_id){0} : task_id_of(job->inside->job->id, choice.alloc);
    p->shape = shape;
    p->victim_first = sched->victim_count;
    p->victim_count = sched->preempt.victim_count;
    decision_make(sched, job, shape, choice, &p->decision);
    for (uint32_t i = 0; i < sched->preempt.victim_count; i++) {
        struct view_task *victim = sched->preempt.victims[i];
        sched->was_disrupted[sched->victim_count] = victim->disrupted;
        sched->victims[sched->victim_count++] = view_attempt(victim);
        view_stop(&sched->view, victim);
    }
    view_place(&sched->view, task, choice.machine, choice.alloc, shape);
}

/*
 * What was just evicted on the machine may leave room for more than it was evicted for: wake who is
 * blocked and fits there now, before lower work takes that room. A job of higher priority has had
 * its turn in this pass: false, the pass is to end, and the next one begins with it.
 */
bool sched_wake_beside(struct sched *sched, const struct view_job *by, uint32_t machine)
{
    struct view *view = &sched->view;
    view_add_candidate(view, machine); /* also for those who are awake already */
    for (struct list *l = view->blocked.next, *next; l != &view->blocked; l = next) {
        struct view_job *job = CONTAINER_OF(l, struct view_job, blocked_link);
        next = l->next;
        if (job->inside != NULL || job->priority == by->priority ||
            !feasible_evicting(view, job, machine) ||
            (job->gang && gang_places(view, job, machine) < job->gang_missing))
            continue;
        if (job->priority > by->priority)
            return false;
        view_unblock(view, job);
    }
    return system_wake(sched, machine, by->priority);
}

enum pick sched_pick(struct sched *sched, struct view_job *job, uint32_t shape, struct choice *ret)
{
    struct view *view = &sched->view;
    const struct resources *need = &job->limits[shape];
    sched->preempt.victim_count = 0;
    view_first_waiting(job); /* that is whom the choice is made for */
    sched->among = job->inside != NULL ? AMONG_ALLOCS : AMONG_ALL;
    if (job->inside != NULL) {
        *ret = allocs_best(view, job, need);
    } else if (job->woken && view->candidate_count <= CANDIDATES_MAX) {
        struct shortlist list;
        sched->stats.machines_scanned += view->candidate_count;
        shortlist_clear(&list, CHOICE_ENTRIES_MAX);
        score_list(view, job, need, view->candidate_list, view->candidate_count, &list);
        *ret = best_choice(&list, job);
        sched->among = AMONG_WOKEN;
    } else {
        *ret = best_machine(&sched->best, view, job, need, &sched->stats.machines_scanned);
    }
    return ret->machine != VIEW_NO_MACHINE ? PICK_FOUND : PICK_NONE;
}

static struct choice pick_victims(struct sched *sched, const struct view_job *job,
                                  const struct resources *need, uint32_t victims_max)
{
    return job->inside != NULL
               ? preempt_best_alloc(&sched->preempt, &sched->view, job, need, victims_max)
               : preempt_best(&sched->preempt, &sched->view, job, need, victims_max);
}

enum pick sched_pick_evicting(struct sched *sched, const struct view_job *job, uint32_t shape,
                              uint32_t victims_max, struct choice *ret)
{
    struct view *view = &sched->view;
    const struct resources *need = &job->limits[shape];
    if (job->priority == 0)
        return PICK_NONE;
    sched->stats.machines_scanned += job->woken ? view->candidate_count : view->machine_count;
    *ret = pick_victims(sched, job, need, victims_max);
    sched->among = job->inside != NULL ? AMONG_ALLOCS : job->woken ? AMONG_WOKEN : AMONG_ALL;
    if (ret->machine != VIEW_NO_MACHINE)
        return PICK_FOUND;
    bool with_more = victims_max < VICTIMS_MAX &&
                     pick_victims(sched, job, need, VICTIMS_MAX).machine != VIEW_NO_MACHINE;
    return with_more ? PICK_WITH_MORE_VICTIMS : PICK_NONE;
}

/* The best shape that fits somewhere; nobody is evicted for a better one while another fits. */
static enum pick pick_shape(struct sched *sched, struct view_job *job, uint32_t *ret_shape,
                            struct choice *ret)
{
    enum pick pick = PICK_NONE;
    for (uint32_t i = 0; pick == PICK_NONE && i < job->shape_count; i++)
        pick = sched_pick(sched, job, *ret_shape = i, ret);
    for (uint32_t i = 0; pick == PICK_NONE && i < job->shape_count; i++)
        pick =
            sched_pick_evicting(sched, job, *ret_shape = i, VICTIMS_MAX - sched->victim_count, ret);
    return pick;
}

/* It fits nowhere: neither does what asks for more. Who was woken has not seen what improved after
 * that, and allocs are not for everybody. */
static void note_refusal(struct sched *sched, const struct view_job *job)
{
    if (job->inside != NULL || (job->woken && sched->view.improved_count > 0))
        return;
    for (uint32_t i = 0; i < job->shape_count; i++)
        refusals_note(&sched->refusals, &sched->view, job, &job->limits[i]);
}

/* Place one task of the job, or find that nothing fits and block it. False when the batch is full.
 */
static bool place_one(struct sched *sched, struct view_job *job)
{
    struct choice choice;
    uint32_t shape = 0;
    while (shape < job->shape_count && job->inside == NULL &&
           refusals_cover(&sched->refusals, &sched->view, job, &job->limits[shape]))
        shape++;
    if (shape == job->shape_count) {
        view_block(&sched->view, job);
        return true;
    }
    if (sched->placement_count == CMD_PLACEMENTS_MAX ||
        sched->score_count + DECISION_SCORES_MAX > CMD_SCORES_MAX)
        return false;
    switch (pick_shape(sched, job, &shape, &choice)) {
    case PICK_WITH_MORE_VICTIMS: /* that is for the next batch to see */
        return false;
    case PICK_NONE:
        note_refusal(sched, job);
        view_block(&sched->view, job);
        return true;
    case PICK_FOUND:
        sched_propose(sched, job, shape, choice);
        return sched->preempt.victim_count == 0 || job->inside != NULL ||
               sched_wake_beside(sched, job, choice.machine);
    }
    UNREACHABLE("outcome of a search");
}

static bool place_next(struct sched *sched, struct view_job *job)
{
    if (job->every_machine)
        return system_place(sched, job);
    return job->gang ? gang_place(sched, job) : place_one(sched, job);
}

/* Until nothing is ready, or something of a higher priority is: its company came. False when the
 * pass is to end. */
static bool place_level(struct sched *sched, uint32_t priority)
{
    const struct view *view = &sched->view;
    struct level *level = &sched->view.levels[priority];
    queue_level_start(level);
    while (level->ready > 0 && view->risen <= priority) {
        struct view_job *job = queue_next(level);
        do {
            if (!place_next(sched, job))
                return false;
        } while (level->ready_users == 1 && job->waiting > 0 && !job->blocked &&
                 view->risen <= priority);
    }
    return true;
}

static void place_all(struct sched *sched)
{
    struct view *view = &sched->view;
    for (uint32_t p = PRIORITY_MAX + 1; p-- > 0;) {
        view->risen = 0;
        if (view->levels[p].ready > 0 && !place_level(sched, p))
            return;
        if (view->risen > p)
            p = view->risen + 1;
    }
}

/* True when it does fit. */
static bool explain(struct sched *sched, struct view_job *job, struct reason *to)
{
    if (job->every_machine)
        return explain_system(&sched->view, job, to);
    return job->gang ? gang_explain(sched, job, to)
                     : explain_job(&sched->view, job, &sched->reach, to);
}

static void say(struct sched *sched)
{
    struct view *view = &sched->view;
    CLEANUP(reason_release) struct reason why = {0};
    while (sched->verdict_count < VERDICTS_MAX && !list_empty(&view->unsaid)) {
        struct view_job *job = CONTAINER_OF(list_pop(&view->unsaid), struct view_job, unsaid);
        char reason[CELL_REASON_MAX + 1];
        buf_clear(&why.text);
        why.kind = 0;
        sched->stats.machines_scanned += view->machine_count;
        /* An eviction of this very pass may have left room: the next pass wakes the job then. A
         * gang that fits after all (it has been tried) is ready again. */
        if (explain(sched, job, &why)) {
            sched->again |= job->gang && job->waiting > 0 && !job->blocked;
            continue;
        }
        str_copy(reason, sizeof reason, buf_text(&why.text));
        if (strcmp(reason, job->reason) == 0)
            continue;
        str_copy(job->reason, sizeof job->reason, reason);
        struct verdict *verdict = &sched->verdicts[sched->verdict_count++];
        verdict->job = job->id;
        str_copy(verdict->reason, sizeof verdict->reason, reason);
        /* Of a reason that another leader told only the words are known, and they differ. */
        verdict->is_news = job->reason_kind != why.kind;
        job->reason_kind = why.kind;
    }
}

bool sched_pass(struct sched *sched, struct cmd_schedule *out)
{
    sched->placement_count = 0;
    sched->score_count = 0;
    sched->victim_count = 0;
    sched->verdict_count = 0;
    sched->again = false;
    sched->stats.passes++;
    scarce_update(&sched->view);
    wake_blocked(sched);
    place_all(sched);
    sched->stats.placed += sched->placement_count;
    sched->stats.preempted += sched->victim_count;
    say(sched);
    *out = (struct cmd_schedule){
        .placements = sched->placements,
        .placement_count = sched->placement_count,
        .victims = sched->victims,
        .victim_count = sched->victim_count,
        .verdicts = sched->verdicts,
        .verdict_count = sched->verdict_count,
        .stages = sched->stages,
        .stage_count = sched->placement_count > 0 ? sched->stage_count : 0,
    };
    return sched->placement_count > 0 || sched->verdict_count > 0 || sched->again;
}

struct sched_stats sched_stats(const struct sched *sched)
{
    struct sched_stats stats = sched->stats;
    stats.pending = sched->view.waiting;
    LIST_EACH(l, &sched->view.blocked)
    {
        stats.blocked += CONTAINER_OF(l, struct view_job, blocked_link)->waiting;
    }
    LIST_EACH(l, &sched->view.system_jobs)
    {
        stats.blocked += CONTAINER_OF(l, struct view_job, system)->stuck;
    }
    return stats;
}

void sched_explain(struct sched *sched, job_id id, struct buf *to)
{
    CLEANUP(reason_release) struct reason reason = {0};
    struct view_job *job = view_job_find(&sched->view, id);
    if (job == NULL)
        buf_printf(to, "no live job %" PRIu64, id.v);
    else
        explain(sched, job, &reason);
    buf_printf(to, "%s", buf_text(&reason.text));
}
