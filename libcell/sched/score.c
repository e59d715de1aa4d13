/*
 * score.c - which of the machines that fit.
 *
 * Normalizing is linear, so the machine with the smallest leftover after this task is the one with
 * the smallest spare now: one number per machine serves every job. Ties go to the lower id.
 *
 * A job with constraints or spreads is judged by the table of stages: what its wishes cost comes
 * first, the fit decides among machines that are equal in that.
 */
#include "choose.h"

static int64_t wish_constraints(const struct view *view, const struct view_job *job, uint32_t m)
{
    (void)view;
    return places_constraint_cost(job, m);
}

static int64_t wish_spread(const struct view *view, const struct view_job *job, uint32_t m)
{
    (void)view;
    return places_spread_cost(job, m);
}

static int64_t fit(const struct view *view, const struct view_job *job, uint32_t m)
{
    return job->policy == POLICY_WORST_FIT ? -view->spare[m] : view->spare[m];
}

/* Costs, the least is best. Those of one rank have one unit and are added; rank 0 decides first. */
enum { RANKS = 2 };
static const struct stage {
    const char *name;
    int rank;
    int64_t (*cost)(const struct view *view, const struct view_job *job, uint32_t machine);
} stages[] = {
    {"soft constraints", 0, wish_constraints},
    {"weighted spreads", 0, wish_spread},
    {"fit", 1, fit},
};

struct score {
    int64_t ranks[RANKS];
};

static struct score score_of(const struct view *view, const struct view_job *job, uint32_t machine)
{
    struct score score = {{0}};
    for (size_t i = 0; i < ARRAY_SIZE(stages); i++)
        score.ranks[stages[i].rank] += stages[i].cost(view, job, machine);
    return score;
}

static int score_compare(const struct score *a, const struct score *b)
{
    for (int i = 0; i < RANKS; i++)
        if (a->ranks[i] != b->ranks[i])
            return a->ranks[i] < b->ranks[i] ? -1 : 1;
    return 0;
}

struct choice {
    uint32_t machine;
    struct score score;
};

static void choice_consider(struct choice *best, const struct view *view,
                            const struct view_job *job, uint32_t machine)
{
    if (!feasible_fits(view, job, machine) || !places_allow(job, machine))
        return;
    struct score score = score_of(view, job, machine);
    int order = best->machine == VIEW_NO_MACHINE ? -1 : score_compare(&score, &best->score);
    if (order < 0 || (order == 0 && machine < best->machine))
        *best = (struct choice){machine, score};
}

static uint32_t best_allowed(const struct view *view, const struct view_job *job)
{
    struct choice best = {.machine = VIEW_NO_MACHINE};
    uint32_t end = view->machine_count;
    for (uint32_t m = places_next(job, 0, end); m < end; m = places_next(job, m + 1, end))
        choice_consider(&best, view, job, m);
    return best.machine;
}

/* The same for a job that asks for nothing but room: the loop that the cell's pace hangs on. */
static uint32_t best_fitting(const struct view *view, const struct view_job *job)
{
    const int64_t *cpu = view->room[RES_CPU];
    const int64_t *ram = view->room[RES_RAM];
    const int64_t *disk = view->room[RES_DISK];
    const int64_t *ports = view->room[RES_PORTS];
    const int64_t *spare = view->spare;
    const struct resources need = job->limit;
    const int64_t sign = job->policy == POLICY_WORST_FIT ? -1 : 1;
    uint32_t best = VIEW_NO_MACHINE;
    int64_t best_score = INT64_MAX;
    _Static_assert(RES_COUNT == 4, "every resource is compared below");
    for (uint32_t m = 0; m < view->machine_count; m++) {
        int64_t score = sign * spare[m];
        if (score >= best_score)
            continue; /* most of the time this one column decides */
        bool fits = (need.v[RES_CPU] <= cpu[m]) & (need.v[RES_RAM] <= ram[m]) &
                    (need.v[RES_DISK] <= disk[m]) & (need.v[RES_PORTS] <= ports[m]);
        if (fits) {
            best = m;
            best_score = score;
        }
    }
    return best;
}

uint32_t score_best(const struct view *view, const struct view_job *job)
{
    bool is_plain = job->match == NULL && job->spread_count == 0;
    return is_plain ? best_fitting(view, job) : best_allowed(view, job);
}

uint32_t score_best_candidate(const struct view *view, const struct view_job *job)
{
    struct choice best = {.machine = VIEW_NO_MACHINE};
    for (uint32_t i = 0; i < view->candidate_count; i++)
        choice_consider(&best, view, job, view->candidate_list[i]);
    return best.machine;
}
