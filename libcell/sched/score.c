/*
 * score.c - which of the machines that fit.
 *
 * How well a task fits is a sum of weighted figures, a line of them per policy; the lowest sum
 * wins, ties go to the lower id. A figure adds `weight` times itself to the scores of a run of
 * machines, so that it is a loop over columns; it is some shares of 2^40. To add one: a function
 * and its place in `figures`. All are about the machine as it is before the task: normalizing is
 * linear, so the machine with the smallest leftover after this task is the one with the smallest
 * spare now.
 *
 * A job with constraints or spreads is judged by the table of stages: what its wishes cost comes
 * first, the fit decides among machines that are equal in that.
 */
#include "choose.h"

enum { FIGURES_MAX = 4, RUN = 256, SCORE_BITS = 40, COSINE_BITS = 20 };

typedef void figure_fn(const struct view *view, const struct resources *need, uint32_t first,
                       uint32_t count, int64_t weight, int64_t *scores);

/* What is left, as shares of the largest machine, summed over the resources. */
static void leftover(const struct view *view, const struct resources *need UNUSED, uint32_t first,
                     uint32_t count, int64_t weight, int64_t *scores)
{
    const int64_t *spare = view->spare + first;
    for (uint32_t i = 0; i < count; i++)
        scores[i] += weight * spare[i];
}

/*
 * How far what the task asks for points away from what is free, both as shares of the machine: 1 -
 * cos^2 of the angle. A task that takes cpu and ram in the proportion they are free in strands
 * neither. Disk does not take part: cells have plenty, and then its direction hides the others'.
 */
static void mismatch(const struct view *view, const struct resources *need, uint32_t first,
                     uint32_t count, int64_t weight, int64_t *scores)
{
    const struct lean *room = view->room_lean + first;
    const struct lean *aspect = view->aspect + first;
    const struct lean lean = view_lean(view_normal(view, RES_CPU, need->v[RES_CPU]),
                                       view_normal(view, RES_RAM, need->v[RES_RAM]));
    for (uint32_t i = 0; i < count; i++) {
        uint64_t cpu = (uint64_t)lean.cpu * aspect[i].cpu >> LEAN_BITS;
        uint64_t ram = (uint64_t)lean.ram * aspect[i].ram >> LEAN_BITS;
        uint64_t dot = cpu * room[i].cpu + ram * room[i].ram;
        uint64_t lengths = ((uint64_t)room[i].cpu * room[i].cpu + room[i].ram * room[i].ram) *
                           (cpu * cpu + ram * ram);
        uint64_t cosine = dot * dot / ((lengths >> COSINE_BITS) + 1);
        scores[i] += weight * (((INT64_C(1) << COSINE_BITS) - (int64_t)cosine)
                               << (SCORE_BITS - COSINE_BITS));
    }
}
_Static_assert(4 * LEAN_BITS + 2 < 64, "squares of dot products must fit");

/* The weights of stranding-aware are measured: see README.md. */
static const struct figure {
    figure_fn *add;
    int64_t weight;
} figures[POLICY_COUNT][FIGURES_MAX] = {
    [POLICY_BEST_FIT] = {{leftover, 1}},
    [POLICY_WORST_FIT] = {{leftover, -1}},
    [POLICY_STRANDING_AWARE] = {{mismatch, 32}, {leftover, 1}},
};

void score_run(const struct view *view, const struct view_job *job, const struct resources *need,
               uint32_t first, uint32_t count, int64_t *ret_scores)
{
    for (uint32_t i = 0; i < count; i++)
        ret_scores[i] = 0;
    const struct figure *figure = figures[job->policy];
    for (int i = 0; i < FIGURES_MAX; i++)
        if (figure[i].add != NULL)
            figure[i].add(view, need, first, count, figure[i].weight, ret_scores);
}

static int64_t wish_constraints(const struct view *view UNUSED, const struct view_job *job,
                                const struct resources *need UNUSED, uint32_t m)
{
    return places_constraint_cost(job, m);
}

static int64_t wish_spread(const struct view *view UNUSED, const struct view_job *job,
                           const struct resources *need UNUSED, uint32_t m)
{
    return places_spread_cost(job, m);
}

static int64_t fit(const struct view *view, const struct view_job *job,
                   const struct resources *need, uint32_t m)
{
    int64_t score;
    score_run(view, job, need, m, 1, &score);
    return score;
}

/* Costs, the least is best. Those of one rank have one unit and are added; rank 0 decides first. */
enum { RANKS = 2 };
static const struct stage {
    const char *name;
    int rank;
    int64_t (*cost)(const struct view *view, const struct view_job *job,
                    const struct resources *need, uint32_t machine);
} stages[] = {
    {"soft constraints", 0, wish_constraints},
    {"weighted spreads", 0, wish_spread},
    {"fit", 1, fit},
};

struct score {
    int64_t ranks[RANKS];
};

static struct score score_of(const struct view *view, const struct view_job *job,
                             const struct resources *need, uint32_t machine)
{
    struct score score = {{0}};
    for (size_t i = 0; i < ARRAY_SIZE(stages); i++)
        score.ranks[stages[i].rank] += stages[i].cost(view, job, need, machine);
    return score;
}

static int score_compare(const struct score *a, const struct score *b)
{
    for (int i = 0; i < RANKS; i++)
        if (a->ranks[i] != b->ranks[i])
            return a->ranks[i] < b->ranks[i] ? -1 : 1;
    return 0;
}

/* A choice in the making. */
struct race {
    struct choice choice;
    struct score first, second;
};

static void race_consider(struct race *race, const struct view *view, const struct view_job *job,
                          const struct resources *need, uint32_t machine)
{
    struct choice *choice = &race->choice;
    if (!feasible_fits(view, need, machine) || !places_allow(job, machine))
        return;
    struct score score = score_of(view, job, need, machine);
    int order = choice->runner_up == VIEW_NO_MACHINE ? -1 : score_compare(&score, &race->second);
    if (order > 0 || (order == 0 && machine > choice->runner_up))
        return;
    order = choice->machine == VIEW_NO_MACHINE ? -1 : score_compare(&score, &race->first);
    if (order < 0 || (order == 0 && machine < choice->machine)) {
        *choice = (struct choice){machine, choice->machine};
        race->second = race->first;
        race->first = score;
    } else {
        choice->runner_up = machine;
        race->second = score;
    }
}

static struct choice best_allowed(const struct view *view, const struct view_job *job,
                                  const struct resources *need)
{
    struct race race = {.choice = CHOICE_NONE};
    uint32_t end = view->machine_count;
    for (uint32_t m = places_next(job, 0, end); m < end; m = places_next(job, m + 1, end))
        race_consider(&race, view, job, need, m);
    return race.choice;
}

/* The same for a job that asks for nothing but room. */
static struct choice best_fitting(const struct view *view, const struct view_job *job,
                                  const struct resources *need)
{
    struct choice best = CHOICE_NONE;
    int64_t first_score = INT64_MAX, second_score = INT64_MAX;
    int64_t scores[RUN];
    for (uint32_t first = 0; first < view->machine_count; first += RUN) {
        uint32_t count = MIN((uint32_t)RUN, view->machine_count - first);
        score_run(view, job, need, first, count, scores);
        for (uint32_t i = 0; i < count; i++) {
            if (scores[i] >= second_score || !feasible_fits(view, need, first + i))
                continue;
            if (scores[i] < first_score) {
                best = (struct choice){first + i, best.machine};
                second_score = first_score;
                first_score = scores[i];
            } else {
                best.runner_up = first + i;
                second_score = scores[i];
            }
        }
    }
    return best;
}

bool score_is_plain(const struct view_job *job)
{
    return !job->has_wishes && job->spread_count == 0 && !job->has_company;
}

struct choice score_best(const struct view *view, const struct view_job *job,
                         const struct resources *need)
{
    bool is_simple = job->match == NULL && score_is_plain(job);
    return is_simple ? best_fitting(view, job, need) : best_allowed(view, job, need);
}

struct choice score_best_candidate(const struct view *view, const struct view_job *job,
                                   const struct resources *need)
{
    struct race race = {.choice = CHOICE_NONE};
    for (uint32_t i = 0; i < view->candidate_count; i++)
        race_consider(&race, view, job, need, view->candidate_list[i]);
    return race.choice;
}
