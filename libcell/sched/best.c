/*
 * best.c - the best machines for a kind of task, kept while machines change one by one.
 *
 * Tasks of one kind (same policy, limit and hard constraints) see the same scores. For the kinds
 * asked for lately there is a shortlist: placing a task changes one machine, so the next of its
 * kind costs one score. What changed meanwhile is in the view's ring of changes. A list that can no
 * longer say who is next, or has too much to catch up with, is made anew: from all machines where
 * that is cheap or wishes count, else from the grid.
 *
 * A job with wishes, spreads or company is a kind of its own. Other machines than the one that
 * changes may then become worse for it, or not allowed: that is seen when they come first in the
 * list. When they may become better, places_eased() differs, and the list is made anew.
 *
 * Whatever a score or a fit reads of a job beside policy, limit and hard constraints must enter
 * struct key, or make it not score_is_plain().
 */
#include "choose.h"
#include "hash.h"
#include "places.h"

#include <stdlib.h>
#include <string.h>

enum { KINDS = 64 };

/* Up to so many machines, by match or by company, all of them are looked at; more when there are
 * gpus, which bins of the grid know nothing of. */
enum { SCAN_MAX = 1024 };

/* More changes than this cost more than a new list. */
enum { CATCH_UP_MAX = 128 };

/* No longer list than there are tasks to place, but one that outlives some changes. */
enum { LIST_MIN = 8 };

struct key {
    uint32_t policy;
    uint32_t prod; /* it fits where its limit may be promised */
    struct resources limit;
    uint64_t match; /* its number, 0: no constraints */
    uint64_t job;   /* of a kind of its own, or 0 */
};

struct kind {
    struct key key;
    uint64_t used_at; /* 0: never */
    uint64_t stamp;   /* of the view's last change in it */
    uint64_t eased;   /* places_eased() */
    uint32_t machine_count;
    struct shortlist list;
};

void best_release(struct best *best)
{
    grid_release(&best->grid);
    free(best->kinds);
    free(best->hashes);
    *best = (struct best){0};
}

static struct kind *kind_for(struct best *best, const struct view_job *job,
                             const struct resources *need)
{
    struct key key = {.policy = job->policy,
                      .prod = priority_is_prod(job->priority),
                      .limit = *need,
                      .match = job->match == NULL ? 0 : job->match->number,
                      .job = score_is_plain(job) ? 0 : job->id.v};
    if (best->kinds != NULL && memcmp(&best->kinds[best->last].key, &key, sizeof key) == 0)
        return &best->kinds[best->last];
    uint64_t hash = hash_bytes(0, &key, sizeof key);
    if (best->kinds == NULL) {
        best->kinds = xcalloc(KINDS, sizeof *best->kinds);
        best->hashes = xcalloc(KINDS, sizeof *best->hashes);
    }
    uint32_t at = 0;
    for (uint32_t i = 0; i < KINDS; i++) {
        if (best->hashes[i] == hash && memcmp(&best->kinds[i].key, &key, sizeof key) == 0) {
            best->kinds[i].used_at = ++best->clock;
            best->last = i;
            return &best->kinds[i];
        }
        if (best->kinds[i].used_at < best->kinds[at].used_at)
            at = i;
    }
    best->last = at;
    best->hashes[at] = hash;
    best->kinds[at].key = key;
    best->kinds[at].used_at = ++best->clock;
    best->kinds[at].machine_count = 0;
    return &best->kinds[at];
}

/* The machine changed, or what is known about it is old. */
static void look_again(struct kind *kind, const struct view *view, const struct view_job *job,
                       uint32_t machine)
{
    uint32_t at = shortlist_find(&kind->list, machine);
    if (at < kind->list.count)
        shortlist_remove(&kind->list, at);
    score_list(view, job, &kind->key.limit, &machine, 1, &kind->list);
}

/* Bring the list up to date; false when it is too old for that. */
static bool catch_up(struct kind *kind, const struct view *view, const struct view_job *job)
{
    uint64_t behind = view->stamp_last - kind->stamp;
    uint64_t eased = kind->key.job == 0 ? 0 : places_eased(job);
    if (kind->machine_count != view->machine_count || kind->eased != eased || behind > CATCH_UP_MAX)
        return false;
    for (uint64_t stamp = kind->stamp + 1; stamp <= view->stamp_last; stamp++)
        look_again(kind, view, job, view->changed[stamp % VIEW_CHANGES]);
    kind->stamp = view->stamp_last;
    return true;
}

/* Until the first ones are what they were when they came into the list; all others are so at best.
 */
static void settle(struct kind *kind, const struct view *view, const struct view_job *job,
                   uint32_t count)
{
    struct shortlist *list = &kind->list;
    for (uint32_t at = 0; at < MIN(count, list->count);) {
        struct entry was = list->entries[at];
        if (!job->has_wishes && places_allow(job, was.machine)) {
            at++; /* nothing else can have made it worse */
            continue;
        }
        look_again(kind, view, job, was.machine);
        bool stays = at < list->count && !entry_is_before(&was, &list->entries[at]) &&
                     !entry_is_before(&list->entries[at], &was);
        at = stays ? at + 1 : 0;
    }
}

static void make(struct best *best, struct kind *kind, const struct view *view,
                 const struct view_job *job, uint32_t count, uint64_t *scanned)
{
    uint32_t capacity = MAX(MIN(job->waiting, (uint32_t)SHORTLIST_MAX), (uint32_t)LIST_MIN);
    uint32_t matching = job->match == NULL ? view->machine_count : job->match->meets_count;
    shortlist_clear(&kind->list, capacity);
    kind->stamp = view->stamp_last;
    kind->eased = kind->key.job == 0 ? 0 : places_eased(job);
    kind->machine_count = view->machine_count;
    uint32_t few[SCAN_MAX], few_count;
    if (presence_few(job, MIN(matching, (uint32_t)SCAN_MAX), few, &few_count)) {
        *scanned += few_count;
        score_list(view, job, &kind->key.limit, few, few_count, &kind->list);
        return;
    }
    if (job->has_wishes || matching <= SCAN_MAX || view->total[RES_GPU] != NULL) {
        *scanned += matching;
        score_all(view, job, &kind->key.limit, &kind->list);
        return;
    }
    grid_search(&best->grid, view, job, &kind->key.limit, MAX(count, capacity / LIST_MIN),
                &kind->list, scanned);
}

struct choice best_choice(const struct shortlist *list, const struct view_job *job)
{
    struct choice choice = CHOICE_NONE;
    if (view_avoided(job) == 0)
        return shortlist_choice(list);
    for (int avoided = 0; avoided < 2; avoided++) {
        for (uint32_t i = 0; i < list->count && choice.runner_up == VIEW_NO_MACHINE; i++) {
            uint32_t machine = list->entries[i].machine;
            if (view_avoids(job, machine) != avoided)
                continue;
            if (choice.machine == VIEW_NO_MACHINE)
                choice.machine = machine;
            else
                choice.runner_up = machine;
        }
    }
    return choice;
}

struct choice best_machine(struct best *best, const struct view *view, const struct view_job *job,
                           const struct resources *need, uint64_t *scanned)
{
    struct kind *kind = kind_for(best, job, need);
    bool is_known = catch_up(kind, view, job);
    uint32_t count = 2 + view_avoided(job);
    if (is_known && kind->key.job != 0)
        settle(kind, view, job, count);
    if (!is_known || !shortlist_is_sure(&kind->list, count))
        make(best, kind, view, job, count, scanned);
    return best_choice(&kind->list, job);
}
