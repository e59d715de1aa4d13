/*
 * preempt.c - who has to go, where that hurts least.
 *
 * On one machine: the lowest priorities first, inside one the larger task first (fewer victims),
 * then the newer; whoever turns out unneeded is spared, the highest priority first. Among machines:
 * the lowest highest-victim priority, then the fewest victims, then the lowest id. Tasks that stop
 * already are never victims, for their room is counted as free; nor are more of a job of the same
 * user than its disruption budget allows. Borg paper 3.2.
 *
 * Evictions come to an end. Count the live tasks that are not stopping by priority and read the
 * counts as a number, the highest priority first: a victim has a strictly lower priority than the
 * task it makes room for, so each placement, victims and all, makes that number larger. It is
 * bounded by the tasks there are. So while nothing comes from outside (a submission, a machine
 * lost, an end), only finitely many placements follow each other, and a task that was evicted and
 * waits again can only go on at the cost of work below its own priority. test_sched_evict puts it
 * to the test.
 *
 * Nor does anybody else get what a victim leaves: the task it goes for is live from the moment of
 * the decision, in the view and in the cell, and what stops is counted as free only once, against
 * it. Until the victim is gone it is the borglet that makes the task wait.
 */
#include "allocs.h"
#include "places.h"

#include <stdlib.h>

enum { CACHES = 4 };
/* More changes than this cost more than a new list. */
enum { CATCH_UP_MAX = 128 };
static const uint64_t COST_NONE = UINT64_MAX;

/* For one kind of task (priority, limit, the budgets that bind it): the cost at each machine, valid
 * at a stamp. */
struct plan_cache {
    bool in_use;
    uint32_t priority;
    uint64_t budgets; /* owner_budgets() */
    struct resources limit;
    uint64_t used_at;
    uint32_t count;
    uint64_t *stamps;
    uint64_t *costs;       /* highest victim priority << 32 | number of victims */
    struct shortlist list; /* the cheapest */
    uint32_t listed_count; /* machines that were looked at for it */
    uint64_t listed_stamp; /* the view's last change in it */
};

void preempt_release(struct preempt *preempt)
{
    for (int i = 0; preempt->caches != NULL && i < CACHES; i++) {
        free(preempt->caches[i].stamps);
        free(preempt->caches[i].costs);
    }
    free(preempt->caches);
    free(preempt->victims);
    *preempt = (struct preempt){0};
}

static bool same_limit(const struct resources *a, const struct resources *b)
{
    return resources_fit(a, b) && resources_fit(b, a);
}

static bool cache_is_for(const struct plan_cache *cache, const struct view_job *job,
                         const struct resources *need)
{
    return cache->in_use && cache->priority == job->priority &&
           cache->budgets == owner_budgets(job->owner) && same_limit(&cache->limit, need);
}

static struct plan_cache *cache_for(struct preempt *preempt, const struct view *view,
                                    const struct view_job *job, const struct resources *need)
{
    if (preempt->caches == NULL)
        preempt->caches = xcalloc(CACHES, sizeof *preempt->caches);
    struct plan_cache *cache = &preempt->caches[0];
    for (int i = 0; i < CACHES; i++) {
        struct plan_cache *c = &preempt->caches[i];
        if (cache_is_for(c, job, need)) {
            cache = c;
            break;
        }
        if (c->used_at < cache->used_at)
            cache = c;
    }
    if (!cache_is_for(cache, job, need)) {
        cache->count = 0;
        cache->listed_count = 0;
    }
    cache->in_use = true;
    cache->priority = job->priority;
    cache->budgets = owner_budgets(job->owner);
    cache->limit = *need;
    cache->used_at = ++preempt->clock;
    if (cache->count < view->machine_count) {
        cache->stamps = xrealloc(cache->stamps, view->machine_count, sizeof(uint64_t));
        cache->costs = xrealloc(cache->costs, view->machine_count, sizeof(uint64_t));
        for (uint32_t m = cache->count; m < view->machine_count; m++)
            cache->stamps[m] = 0; /* no machine ever has this stamp */
        cache->count = view->machine_count;
    }
    return cache;
}

static int by_choice(const void *x, const void *y)
{
    const struct view_task *a = *(struct view_task *const *)x;
    const struct view_task *b = *(struct view_task *const *)y;
    if (a->job->priority != b->job->priority)
        return a->job->priority < b->job->priority ? -1 : 1;
    return view_task_order(a, b);
}

/* Leave out those whose jobs have no disruption budget left for them that binds this one. */
static void candidates_spare(struct preempt *p, const struct view *view, const struct view_job *job)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < p->victim_count; i++)
        if (view_take_victim(view, job, p->victims[i]))
            p->victims[count++] = p->victims[i];
    for (uint32_t i = 0; i < count; i++) /* of a job that has none here, none was taken */
        view_untake(p->victims[i]);
    p->victim_count = count;
}

static void candidates_collect(struct preempt *p, const struct view *view,
                               const struct view_job *job, const struct list *tasks)
{
    p->victim_count = 0;
    LIST_EACH(l, tasks)
    {
        struct view_task *task = CONTAINER_OF(l, struct view_task, link);
        if (task->stopping || !priority_may_evict(job->priority, task->job->priority))
            continue;
        if (p->victim_count == p->victim_capacity) {
            p->victim_capacity = MAX(p->victim_capacity * 2, 64U);
            p->victims = xrealloc(p->victims, p->victim_capacity, sizeof(struct view_task *));
        }
        p->victims[p->victim_count++] = task;
    }
    if (p->victim_count > 1)
        qsort(p->victims, p->victim_count, sizeof(struct view_task *), by_choice);
    candidates_spare(p, view, job);
}

/* Keep the first candidates that make room, without those that are not needed. */
static bool candidates_reduce(struct preempt *p, const struct resources *need, struct room room)
{
    uint32_t count = 0;
    for (; count < p->victim_count && !resources_fit(need, &room.free); count++)
        view_give(&room, p->victims[count]);
    if (!resources_fit(need, &room.free))
        return false;
    p->victim_count = count;
    for (uint32_t i = count; i-- > 0;) {
        struct room without = room;
        view_take(&without, p->victims[i]);
        if (!resources_fit(need, &without.free))
            continue;
        room = without;
        p->victim_count--;
        for (uint32_t j = i; j < p->victim_count; j++)
            p->victims[j] = p->victims[j + 1];
    }
    return true;
}

/* Among these tasks, `room` being free beside them. Leaves the victims in `p`, returns what they
 * cost. */
static uint64_t plan(struct preempt *p, const struct view *view, const struct view_job *job,
                     const struct resources *need, struct room room, const struct list *tasks)
{
    candidates_collect(p, view, job, tasks);
    if (!candidates_reduce(p, need, room))
        return COST_NONE;
    uint32_t highest = 0;
    for (uint32_t i = 0; i < p->victim_count; i++)
        highest = MAX(highest, p->victims[i]->job->priority);
    return (uint64_t)highest << 32 | p->victim_count;
}

static uint64_t plan_machine(struct preempt *p, const struct view *view, const struct view_job *job,
                             const struct resources *need, uint32_t machine)
{
    p->victim_count = 0;
    if (!feasible_maybe(view, job, need, machine))
        return COST_NONE;
    return plan(p, view, job, need, view_room(view, machine), &view->tasks[machine]);
}

static uint64_t plan_alloc(struct preempt *p, const struct view *view, const struct view_job *job,
                           const struct resources *need, const struct view_task *alloc)
{
    return plan(p, view, job, need, allocs_room(alloc), allocs_inside(alloc));
}

static uint64_t cost_at(struct preempt *preempt, struct plan_cache *cache, const struct view *view,
                        const struct view_job *job, uint32_t machine)
{
    if (cache->stamps[machine] != view->stamp[machine]) {
        cache->stamps[machine] = view->stamp[machine];
        cache->costs[machine] = plan_machine(preempt, view, job, &cache->limit, machine);
    }
    return cache->costs[machine];
}

/* Of equal costs rather where the task did not crash. */
static void offer(struct shortlist *list, uint64_t cost, bool avoid, uint32_t machine)
{
    if (cost != COST_NONE)
        shortlist_offer(list, &(struct entry){{{(int64_t)cost, avoid}}, machine});
}

/* Bring the cheapest of all machines up to date: places are not asked, the list is everybody's. */
static void list_update(struct preempt *preempt, struct plan_cache *cache, const struct view *view,
                        const struct view_job *job)
{
    struct shortlist *list = &cache->list;
    bool is_old = cache->listed_count != view->machine_count ||
                  view->stamp_last - cache->listed_stamp > CATCH_UP_MAX;
    for (uint64_t s = cache->listed_stamp + 1; !is_old && s <= view->stamp_last; s++) {
        uint32_t m = view->changed[s % VIEW_CHANGES], at = shortlist_find(list, m);
        if (at < list->count)
            shortlist_remove(list, at);
        offer(list, cost_at(preempt, cache, view, job, m), false, m);
    }
    if (is_old || !shortlist_is_sure(list, 2)) {
        shortlist_clear(list, SHORTLIST_MAX);
        for (uint32_t m = 0; m < view->machine_count; m++)
            offer(list, cost_at(preempt, cache, view, job, m), false, m);
    }
    cache->listed_count = view->machine_count;
    cache->listed_stamp = view->stamp_last;
}

/* None of the first two takes more victims than that. */
static bool is_small(const struct shortlist *list, uint32_t victims_max)
{
    for (uint32_t i = 0; i < MIN(list->count, 2U); i++)
        if ((uint32_t)list->entries[i].score.ranks[0] > victims_max)
            return false;
    return true;
}

/* Look where the job may go, for places that take no more than so many victims. */
static struct choice look(struct preempt *preempt, struct plan_cache *cache,
                          const struct view *view, const struct view_job *job, uint32_t victims_max)
{
    struct shortlist list;
    uint32_t count = job->woken ? view->candidate_count : view->machine_count;
    shortlist_clear(&list, 2);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t m = job->woken ? view->candidate_list[i] : i;
        uint64_t cost = places_allow(job, m) ? cost_at(preempt, cache, view, job, m) : COST_NONE;
        if ((uint32_t)cost <= victims_max)
            offer(&list, cost, view_avoids(job, m), m);
    }
    return shortlist_choice(&list);
}

struct choice preempt_best(struct preempt *preempt, const struct view *view,
                           const struct view_job *job, const struct resources *need,
                           uint32_t victims_max)
{
    struct plan_cache *cache = cache_for(preempt, view, job, need);
    struct choice best;
    bool is_free =
        !job->woken && job->match == NULL && score_is_plain(job) && view_avoided(job) == 0;
    if (is_free)
        list_update(preempt, cache, view, job);
    if (is_free && is_small(&cache->list, victims_max))
        best = shortlist_choice(&cache->list);
    else
        best = look(preempt, cache, view, job, victims_max);
    if (best.machine == VIEW_NO_MACHINE)
        return best;
    preempt->cost = cache->costs[best.machine];
    preempt->cost_next = best.runner_up == VIEW_NO_MACHINE ? 0 : cache->costs[best.runner_up];
    ASSERT(plan_machine(preempt, view, job, need, best.machine) == preempt->cost);
    return best;
}

bool preempt_at(struct preempt *preempt, const struct view *view, const struct view_job *job,
                const struct resources *need, uint32_t machine, uint32_t victims_max)
{
    preempt->cost = plan_machine(preempt, view, job, need, machine);
    preempt->cost_next = 0;
    return preempt->cost != COST_NONE && preempt->victim_count <= victims_max;
}

uint32_t preempt_stages(struct score_stage *ret)
{
    ret[0] = (struct score_stage){.name = "highest priority evicted", .rank = 0};
    ret[1] = (struct score_stage){.name = "tasks evicted", .rank = 1};
    return 2;
}

void preempt_explain(const struct preempt *preempt, uint32_t first, struct decision *to)
{
    decision_score(to, first, (uint32_t)(preempt->cost >> 32),
                   (uint32_t)(preempt->cost_next >> 32));
    decision_score(to, first + 1, (uint32_t)preempt->cost, (uint32_t)preempt->cost_next);
}

struct choice preempt_best_alloc(struct preempt *preempt, const struct view *view,
                                 const struct view_job *job, const struct resources *need,
                                 uint32_t victims_max)
{
    struct choice best = CHOICE_NONE;
    uint64_t best_cost = COST_NONE;
    for (uint32_t i = 0; i < allocs_count(job); i++) {
        const struct view_task *alloc = allocs_get(job, i);
        if (!allocs_open(view, job, alloc))
            continue;
        uint64_t cost = plan_alloc(preempt, view, job, need, alloc);
        if (cost >= best_cost || (uint32_t)cost > victims_max)
            continue;
        best = (struct choice){alloc->machine, VIEW_NO_MACHINE, i};
        best_cost = cost;
    }
    preempt->victim_count = 0;
    if (best.machine != VIEW_NO_MACHINE)
        ASSERT(plan_alloc(preempt, view, job, need, allocs_get(job, best.alloc)) == best_cost);
    return best;
}
