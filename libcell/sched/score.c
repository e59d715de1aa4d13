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
 * first, the fit decides among machines that are equal in that. Before all that, a task comes to a
 * machine it crashed on only when there is no other.
 */
#include "choose.h"
#include "places.h"

#include <string.h>

enum { RUN = 256, SCORE_BITS = 40, COSINE_BITS = 20 };

typedef void figure_fn(const struct view *view, const struct resources *need,
                       const struct trait *machines, uint32_t count, int64_t weight,
                       int64_t *scores);

/* What is left, as shares of the largest machine, summed over the resources. */
static void leftover(const struct view *view UNUSED, const struct resources *need UNUSED,
                     const struct trait *machines, uint32_t count, int64_t weight, int64_t *scores)
{
    for (uint32_t i = 0; i < count; i++)
        scores[i] += weight * machines[i].spare;
}

/*
 * How far what the task asks for points away from what is free, both as shares of the machine: 1 -
 * cos^2 of the angle. A task that takes cpu, ram and gpus in the proportion they are free in
 * strands none; one without gpus points away from where they are free. Disk does not take part:
 * cells have plenty, and then its direction hides the others'.
 */
static void mismatch(const struct view *view, const struct resources *need,
                     const struct trait *machines, uint32_t count, int64_t weight, int64_t *scores)
{
    const struct lean lean = view_lean(view_normal(view, RES_CPU, need->v[RES_CPU]),
                                       view_normal(view, RES_RAM, need->v[RES_RAM]),
                                       view_normal(view, RES_GPU, need->v[RES_GPU]));
    for (uint32_t i = 0; i < count; i++) {
        const struct lean room = machines[i].room, aspect = machines[i].aspect;
        uint64_t cpu = (uint64_t)lean.cpu * aspect.cpu >> LEAN_BITS;
        uint64_t ram = (uint64_t)lean.ram * aspect.ram >> LEAN_BITS;
        uint64_t gpu = (uint64_t)lean.gpu * aspect.gpu >> LEAN_BITS;
        uint64_t dot = cpu * room.cpu + ram * room.ram + gpu * room.gpu;
        uint64_t lengths = ((uint64_t)room.cpu * room.cpu + (uint64_t)room.ram * room.ram +
                            (uint64_t)room.gpu * room.gpu) *
                           (cpu * cpu + ram * ram + gpu * gpu);
        uint64_t cosine = dot * dot / ((lengths >> COSINE_BITS) + 1);
        scores[i] += weight * (((INT64_C(1) << COSINE_BITS) - (int64_t)cosine)
                               << (SCORE_BITS - COSINE_BITS));
    }
}
_Static_assert(4 * LEAN_BITS + 4 < 64, "squares of dot products must fit");

/* A machine that work with constraints has few others beside. */
static void rarity(const struct view *view UNUSED, const struct resources *need UNUSED,
                   const struct trait *machines, uint32_t count, int64_t weight, int64_t *scores)
{
    for (uint32_t i = 0; i < count; i++)
        scores[i] += weight * ((int64_t)machines[i].scarcity << SCORE_BITS);
}

/* The weights of stranding-aware are measured: see README.md. */
static const struct figure {
    const char *name;
    figure_fn *add;
    int64_t weight;
} figures[POLICY_COUNT][FIGURES_MAX] = {
    [POLICY_BEST_FIT] = {{"leftover", leftover, 1}},
    [POLICY_WORST_FIT] = {{"leftover", leftover, -1}},
    [POLICY_STRANDING_AWARE] = {{"mismatch", mismatch, 32},
                                {"leftover", leftover, 1},
                                {"rarity", rarity, 1}},
};

void score_run(const struct view *view, const struct view_job *job, const struct resources *need,
               const struct trait *machines, uint32_t count, int64_t *ret_scores)
{
    for (uint32_t i = 0; i < count; i++)
        ret_scores[i] = 0;
    const struct figure *figure = figures[job->policy];
    for (int i = 0; i < FIGURES_MAX; i++)
        if (figure[i].add != NULL)
            figure[i].add(view, need, machines, count, figure[i].weight, ret_scores);
}

static int64_t crashed(const struct view *view UNUSED, const struct view_job *job,
                       const struct resources *need UNUSED, uint32_t m)
{
    return view_avoids(job, m);
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
    score_run(view, job, need, &view->traits[m], 1, &score);
    return score;
}

/* Costs of one rank have one unit and are added. What is of a task, and not of all of its kind,
 * comes before all ranks: best_choice() sees to it. */
enum { RANK_OF_TASK = -1, RANK_WISHES, RANK_FIT };
static const struct scorer {
    const char *name;
    int rank;
    int64_t (*cost)(const struct view *view, const struct view_job *job,
                    const struct resources *need, uint32_t machine);
} stages[] = {
    {"crashed here before", RANK_OF_TASK, crashed},
    {"soft constraints", RANK_WISHES, wish_constraints},
    {"weighted spreads", RANK_WISHES, wish_spread},
    {"fit", RANK_FIT, fit},
};

struct score score_of(const struct view *view, const struct view_job *job,
                      const struct resources *need, uint32_t machine)
{
    struct score score = {{0}};
    for (size_t i = 0; i < ARRAY_SIZE(stages); i++)
        if (stages[i].rank != RANK_OF_TASK)
            score.ranks[stages[i].rank] += stages[i].cost(view, job, need, machine);
    return score;
}

static uint32_t stage_add(struct score_stage *to, const char *name, int rank)
{
    *to =
        (struct score_stage){.rank = (uint32_t)(rank - RANK_OF_TASK), .is_share = rank == RANK_FIT};
    str_copy(to->name, sizeof to->name, name == NULL ? "" : name);
    return 1;
}

/* The stages but the fit, then the figures it is made of, policy by policy. */
uint32_t score_stages(struct score_stage *ret)
{
    uint32_t count = 0;
    for (size_t i = 0; i < ARRAY_SIZE(stages); i++)
        if (stages[i].rank != RANK_FIT)
            count += stage_add(&ret[count], stages[i].name, stages[i].rank);
    for (int p = 0; p < POLICY_COUNT; p++)
        for (int i = 0; i < FIGURES_MAX; i++)
            count += stage_add(&ret[count], figures[p][i].name, RANK_FIT);
    return count;
}

static int32_t in_millionths(int64_t shares)
{
    int64_t millionths = ((shares >> (SCORE_BITS - 20)) * 1000000 + (1 << 19)) >> 20;
    return (int32_t)MAX(MIN(millionths, (int64_t)INT32_MAX), -(int64_t)INT32_MAX);
}

/* Each as what it adds to the sum in millionths: so the sums of two machines are ordered as their
 * scores are, whatever is rounded away. */
static void figures_of(const struct view *view, const struct figure *figure,
                       const struct resources *need, uint32_t machine, int32_t *ret)
{
    int64_t sum = 0;
    int32_t before = 0;
    for (int i = 0; i < FIGURES_MAX && figure[i].add != NULL; i++) {
        figure[i].add(view, need, &view->traits[machine], 1, figure[i].weight, &sum);
        int32_t now = in_millionths(sum);
        ret[i] = now - before;
        before = now;
    }
}

static void figures_recall(const struct view *view, const struct view_job *job,
                           const struct resources *need, uint32_t machine,
                           const struct figures_memo *memo, int32_t *ret)
{
    bool known = memo->job.v == job->id.v && memo->machine == machine &&
                 memo->stamp == view->stamp[machine] &&
                 memcmp(&memo->need, need, sizeof *need) == 0;
    if (known)
        memcpy(ret, memo->values, sizeof memo->values);
    else
        figures_of(view, figures[job->policy], need, machine, ret);
}

void decision_score(struct decision *to, uint32_t stage, int64_t winner, int64_t runner_up)
{
    if ((winner == 0 && runner_up == 0) || to->score_count == DECISION_SCORES_MAX)
        return;
    to->scores[to->score_count++] =
        (struct stage_costs){stage, (int32_t)MIN(winner, (int64_t)INT32_MAX),
                             (int32_t)MIN(runner_up, (int64_t)INT32_MAX)};
}

void score_explain(const struct view *view, const struct view_job *job,
                   const struct resources *need, struct choice choice, struct figures_memo *memo,
                   struct decision *to)
{
    bool rival = choice.runner_up != VIEW_NO_MACHINE;
    uint32_t stage = 0;
    for (size_t i = 0; i < ARRAY_SIZE(stages); i++) {
        if (stages[i].rank == RANK_FIT)
            continue;
        if (stages[i].rank == RANK_OF_TASK || !score_is_plain(job))
            decision_score(to, stage, stages[i].cost(view, job, need, choice.machine),
                           rival ? stages[i].cost(view, job, need, choice.runner_up) : 0);
        stage++;
    }
    int32_t winner[FIGURES_MAX] = {0}, runner_up[FIGURES_MAX] = {0};
    figures_recall(view, job, need, choice.machine, memo, winner);
    if (rival) {
        figures_recall(view, job, need, choice.runner_up, memo, runner_up);
        *memo = (struct figures_memo){
            .job = job->id,
            .machine = choice.runner_up,
            .stamp = view->stamp[choice.runner_up],
            .need = *need,
        };
        memcpy(memo->values, runner_up, sizeof runner_up);
    }
    stage += (uint32_t)job->policy * FIGURES_MAX;
    for (uint32_t i = 0; i < FIGURES_MAX; i++)
        decision_score(to, stage + i, winner[i], runner_up[i]);
}

/* Offer a machine, if it suits. */
static void offer(const struct view *view, const struct view_job *job, const struct resources *need,
                  uint32_t machine, struct shortlist *list)
{
    if (feasible_fits(view, job, need, machine) && places_allow(job, machine))
        shortlist_offer(list, &(struct entry){score_of(view, job, need, machine), machine});
}

/* For a job without wishes, at most RUN of them. */
static void offer_run(const struct view *view, const struct view_job *job,
                      const struct resources *need, const uint32_t *machines, uint32_t count,
                      struct shortlist *list)
{
    struct trait traits[RUN];
    int64_t scores[RUN];
    if (count == 0)
        return;
    for (uint32_t i = 0; i < count; i++)
        traits[i] = view->traits[machines[i]];
    score_run(view, job, need, traits, count, scores);
    for (uint32_t i = 0; i < count; i++) {
        struct entry entry = {{{0, scores[i]}}, machines[i]};
        if (shortlist_wants(list, &entry) && feasible_fits(view, job, need, machines[i]) &&
            places_allow(job, machines[i]))
            shortlist_offer(list, &entry);
    }
}

/* For a job that asks for nothing but room. */
static void offer_all(const struct view *view, const struct view_job *job,
                      const struct resources *need, struct shortlist *list)
{
    int64_t scores[RUN];
    for (uint32_t first = 0; first < view->machine_count; first += RUN) {
        uint32_t count = MIN((uint32_t)RUN, view->machine_count - first);
        score_run(view, job, need, view->traits + first, count, scores);
        for (uint32_t i = 0; i < count; i++) {
            struct entry entry = {{{0, scores[i]}}, first + i};
            if (shortlist_wants(list, &entry) && feasible_fits(view, job, need, first + i))
                shortlist_offer(list, &entry);
        }
    }
}

void score_all(const struct view *view, const struct view_job *job, const struct resources *need,
               struct shortlist *list)
{
    if (job->match == NULL && score_is_plain(job)) {
        offer_all(view, job, need, list);
        return;
    }
    uint32_t run[RUN], count = 0, end = view->machine_count;
    for (uint32_t m = places_next(job, 0, end); m < end; m = places_next(job, m + 1, end)) {
        run[count++] = m;
        if (count == RUN) {
            score_list(view, job, need, run, count, list);
            count = 0;
        }
    }
    score_list(view, job, need, run, count, list);
}

void score_list(const struct view *view, const struct view_job *job, const struct resources *need,
                const uint32_t *machines, uint32_t count, struct shortlist *list)
{
    for (uint32_t i = 0; i < count && job->has_wishes; i++)
        offer(view, job, need, machines[i], list);
    for (uint32_t i = 0; i < count && !job->has_wishes; i += RUN)
        offer_run(view, job, need, machines + i, MIN(count - i, (uint32_t)RUN), list);
}

bool score_is_plain(const struct view_job *job)
{
    return !job->has_wishes && job->spread_count == 0 && !job->has_company;
}
