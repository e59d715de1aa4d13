/*
 * best.c - the best machine for a kind of task, kept while machines change one by one.
 *
 * Tasks of one kind (same policy, limit and hard constraints) see the same scores. For the kinds
 * asked for lately there is a tournament over all machines: placing a task changes one machine, so
 * the next of its kind costs one score and a path to the root, not a scan. Exact: what comes out is
 * what score_best() would say. What changed meanwhile is in the view's ring of changes; when that
 * has gone round, the tournament is played anew.
 *
 * Jobs with wishes or spreads are no kind: their machines are scanned each time. Whatever a score
 * or a fit reads of a job beside policy, limit and hard constraints must enter same_kind().
 */
#include "choose.h"

#include <stdlib.h>
#include <string.h>

enum { KINDS = 16, RUN = 256 };

/* Below this a tournament costs more than the scans it saves. */
enum { WAITING_MIN = 4 };

struct kind {
    bool in_use;
    enum policy policy;
    struct resources limit;
    uint64_t match; /* its number, 0: no constraints */
    uint64_t used_at;
    uint64_t stamp;         /* of the view's last change in it */
    uint32_t machine_count; /* leaves that are machines */
    uint32_t size;          /* leaves, a power of two */
    int64_t *scores;        /* per leaf; INT64_MAX: does not fit */
    uint32_t *winners;      /* node i plays the winners of 2i and 2i + 1; 1 is the root */
};

void best_release(struct best *best)
{
    for (int i = 0; best->kinds != NULL && i < KINDS; i++) {
        free(best->kinds[i].scores);
        free(best->kinds[i].winners);
    }
    free(best->kinds);
    *best = (struct best){0};
}

static uint64_t match_of(const struct view_job *job)
{
    return job->match == NULL ? 0 : job->match->number;
}

static bool same_kind(const struct kind *kind, const struct view_job *job,
                      const struct resources *need)
{
    return kind->in_use && kind->policy == job->policy && kind->match == match_of(job) &&
           memcmp(&kind->limit, need, sizeof kind->limit) == 0;
}

static struct kind *kind_for(struct best *best, const struct view_job *job,
                             const struct resources *need)
{
    if (best->kinds == NULL)
        best->kinds = xcalloc(KINDS, sizeof *best->kinds);
    struct kind *oldest = &best->kinds[0];
    for (struct kind *k = best->kinds; k < best->kinds + KINDS; k++) {
        if (same_kind(k, job, need)) {
            k->used_at = ++best->clock;
            return k;
        }
        if (k->used_at < oldest->used_at)
            oldest = k;
    }
    if (job->waiting < WAITING_MIN)
        return NULL;
    oldest->in_use = true;
    oldest->policy = job->policy;
    oldest->limit = *need;
    oldest->match = match_of(job);
    oldest->used_at = ++best->clock;
    oldest->machine_count = 0;
    return oldest;
}

static void play(struct kind *kind, uint32_t node)
{
    uint32_t left = 2 * node >= kind->size ? 2 * node - kind->size : kind->winners[2 * node];
    uint32_t right =
        2 * node >= kind->size ? 2 * node + 1 - kind->size : kind->winners[2 * node + 1];
    kind->winners[node] = kind->scores[left] <= kind->scores[right] ? left : right;
}

static void score_leaves(struct kind *kind, const struct view *view, const struct view_job *job,
                         uint32_t first, uint32_t count)
{
    score_run(view, job, &kind->limit, first, count, kind->scores + first);
    for (uint32_t m = first; m < first + count; m++)
        if (!feasible_fits(view, &kind->limit, m) || !places_allow(job, m))
            kind->scores[m] = INT64_MAX;
}

static void play_all(struct kind *kind, const struct view *view, const struct view_job *job)
{
    uint32_t size = 2;
    while (size < view->machine_count)
        size *= 2;
    if (size != kind->size) {
        kind->scores = xrealloc(kind->scores, size, sizeof *kind->scores);
        kind->winners = xrealloc(kind->winners, size, sizeof *kind->winners);
        kind->size = size;
    }
    kind->machine_count = view->machine_count;
    for (uint32_t first = 0; first < view->machine_count; first += RUN)
        score_leaves(kind, view, job, first, MIN((uint32_t)RUN, view->machine_count - first));
    for (uint32_t m = view->machine_count; m < size; m++)
        kind->scores[m] = INT64_MAX;
    for (uint32_t node = size; node-- > 1;)
        play(kind, node);
}

static void play_again(struct kind *kind, const struct view *view, const struct view_job *job)
{
    for (uint64_t stamp = kind->stamp + 1; stamp <= view->stamp_last; stamp++) {
        uint32_t m = view->changed[stamp % VIEW_CHANGES];
        score_leaves(kind, view, job, m, 1);
        for (uint32_t node = (kind->size + m) / 2; node > 0; node /= 2)
            play(kind, node);
    }
}

/* Who lost to nobody but the winner, and the best of those. */
static uint32_t runner_up(const struct kind *kind, uint32_t winner)
{
    uint32_t best = VIEW_NO_MACHINE;
    int64_t best_score = INT64_MAX;
    for (uint32_t node = kind->size + winner; node > 1; node /= 2) {
        uint32_t rival =
            (node ^ 1) >= kind->size ? (node ^ 1) - kind->size : kind->winners[node ^ 1];
        int64_t score = kind->scores[rival];
        if (score < best_score || (score == best_score && score != INT64_MAX && rival < best)) {
            best = rival;
            best_score = score;
        }
    }
    return best;
}

struct choice best_machine(struct best *best, const struct view *view, const struct view_job *job,
                           const struct resources *need, uint64_t *scanned)
{
    struct kind *kind =
        view->machine_count == 0 || !score_is_plain(job) ? NULL : kind_for(best, job, need);
    if (kind == NULL) {
        *scanned += view->machine_count;
        return score_best(view, job, need);
    }
    uint64_t behind = view->stamp_last - kind->stamp;
    if (kind->machine_count != view->machine_count ||
        behind > MIN((uint64_t)VIEW_CHANGES, 1 + view->machine_count / 8U)) {
        *scanned += view->machine_count;
        play_all(kind, view, job);
    } else {
        *scanned += behind;
        play_again(kind, view, job);
    }
    kind->stamp = view->stamp_last;
    uint32_t winner = kind->winners[1];
    if (kind->scores[winner] == INT64_MAX)
        return CHOICE_NONE;
    return (struct choice){winner, runner_up(kind, winner)};
}
