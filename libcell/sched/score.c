/*
 * score.c - which of the machines that fit.
 *
 * Normalizing is linear, so the machine with the smallest leftover after this task is the one with
 * the smallest spare now: one number per machine serves every job. Ties go to the lower id.
 */
#include "choose.h"

uint32_t score_best(const struct view *view, const struct view_job *job)
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

uint32_t score_best_candidate(const struct view *view, const struct view_job *job)
{
    const int64_t sign = job->policy == POLICY_WORST_FIT ? -1 : 1;
    uint32_t best = VIEW_NO_MACHINE;
    int64_t best_score = INT64_MAX;
    for (uint32_t i = 0; i < view->candidate_count; i++) {
        uint32_t m = view->candidate_list[i];
        int64_t score = sign * view->spare[m];
        if (feasible_fits(view, job, m) &&
            (score < best_score || (score == best_score && m < best))) {
            best = m;
            best_score = score;
        }
    }
    return best;
}
