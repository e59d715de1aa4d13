/*
 * choose.h - the questions the pass asks the view: where does it fit, who would have to go, why
 * not. `need` is what a task of the job would hold there.
 */
#ifndef CELL_CHOOSE_H
#define CELL_CHOOSE_H

#include "buf.h"
#include "grid.h"
#include "hash.h"
#include "lack.h"

/* feasible.c: is there room? Whether the job may be there at all: places_allow() in view.h. */
bool feasible_fits(const struct view *view, const struct view_job *job,
                   const struct resources *need, uint32_t machine);
/* May it fit if everything that is not prod goes? Quick, and never wrong when it says no. */
bool feasible_maybe(const struct view *view, const struct view_job *job,
                    const struct resources *need, uint32_t machine);
/* What the machine has for this job, work it may evict included; -1 in every part when down. */
struct resources feasible_room(const struct view *view, const struct view_job *job,
                               uint32_t machine);
/* The same, remembered for jobs of one priority, bound by the same budgets, until the machine
 * changes; of what who asks for nothing rare can ask. */
struct reach {
    uint32_t priority;
    uint64_t budgets; /* owner_budgets() */
    uint32_t machine_count;
    uint64_t *stamps;
    int64_t (*rooms)[RES_GPU];
};
void reach_release(struct reach *reach);
/* Before the first machine is looked at for this job. */
void reach_begin(struct reach *reach, const struct view *view, const struct view_job *job);
struct resources reach_room(struct reach *reach, const struct view *view,
                            const struct view_job *job, uint32_t machine);
/* Would the job have room there in one of its shapes if what it may evict were gone, and may it be
 * there? */
bool feasible_evicting(const struct view *view, const struct view_job *job, uint32_t machine);
/* score.c: how well it fits machines of these traits, lower is better, whether it does or not. */
void score_run(const struct view *view, const struct view_job *job, const struct resources *need,
               const struct trait *machines, uint32_t count, int64_t *ret_scores);
/* The same for one machine, by wishes and policy. */
struct score score_of(const struct view *view, const struct view_job *job,
                      const struct resources *need, uint32_t machine);
/* Neither wishes nor spreads nor company: score_run(), feasible_fits() and its match say
 * everything. */
bool score_is_plain(const struct view_job *job);
/* Offer all machines that suit without evicting anybody, or those of these that do. */
void score_all(const struct view *view, const struct view_job *job, const struct resources *need,
               struct shortlist *list);
void score_list(const struct view *view, const struct view_job *job, const struct resources *need,
                const uint32_t *machines, uint32_t count, struct shortlist *list);

/* The stages that choices by score are explained by; how many, at most STAGES_MAX - 2. */
uint32_t score_stages(struct score_stage *ret);
/* The figures of the last runner-up: of the next task of its job it is often the machine chosen. */
enum { FIGURES_MAX = 4 };
struct figures_memo {
    job_id job;
    uint32_t machine;
    uint64_t stamp; /* of the machine then */
    struct resources need;
    int32_t values[FIGURES_MAX];
};
/* What each of them says of the machines of a choice. */
void score_explain(const struct view *view, const struct view_job *job,
                   const struct resources *need, struct choice choice, struct figures_memo *memo,
                   struct decision *to);
/* One score, unless both are 0. */
void decision_score(struct decision *to, uint32_t stage, int64_t winner, int64_t runner_up);

/* best.c: the best machines, remembered per kind of task. */
struct best {
    struct grid grid;
    struct kind *kinds;
    uint64_t *hashes; /* of the keys of kinds */
    uint32_t last;    /* the kind that was asked for last */
    uint64_t clock;
};
void best_release(struct best *best);
/* The first two of the list, machines last where the next task of the job crashed; right when so
 * many entries are sure, of which at most all but two can be such. */
enum { CHOICE_ENTRIES_MAX = 2 + TASK_CRASHES_MAX };
struct choice best_choice(const struct shortlist *list, const struct view_job *job);
/* Adds to `scanned` the machines it looked at. */
struct choice best_machine(struct best *best, const struct view *view, const struct view_job *job,
                           const struct resources *need, uint64_t *scanned);

/* refusal.c: what fitted nowhere, evictions included, since something last left a machine. */
enum { REFUSALS_MAX = 64 };
struct refusals {
    struct refusal {
        struct resources need;
        uint64_t match; /* its number, 0: no constraints */
        uint32_t priority;
        uint64_t budgets; /* owner_budgets() */
    } items[REFUSALS_MAX];
    uint32_t count, oldest;
    uint64_t improvements; /* view.improvements they are about */
    uint64_t budgets;      /* owner_budgets() */
};
/* It asks for no less than one of them: it does not fit. */
bool refusals_cover(struct refusals *refusals, const struct view *view, const struct view_job *job,
                    const struct resources *need);
void refusals_note(struct refusals *refusals, const struct view *view, const struct view_job *job,
                   const struct resources *need);

/* preempt.c */
struct preempt {
    struct view_task **victims; /* of the plan last made, in the order they were chosen */
    uint32_t victim_count;
    uint32_t victim_capacity;
    struct plan_cache *caches; /* what each machine would cost, per kind of task asked for lately */
    uint64_t clock;
    uint64_t cost, cost_next; /* of the machines of the last choice */
};
void preempt_release(struct preempt *preempt);
/* The cheapest machine and its victims (at most victims_max). Looks at the candidates only when the
 * job was woken. */
struct choice preempt_best(struct preempt *preempt, const struct view *view,
                           const struct view_job *job, const struct resources *need,
                           uint32_t victims_max);

/* Can the job have room on this machine by evicting at most victims_max? */
bool preempt_at(struct preempt *preempt, const struct view *view, const struct view_job *job,
                const struct resources *need, uint32_t machine, uint32_t victims_max);

/* The same as score_stages() and score_explain(), of the last choice; `first` is the number of its
 * first stage. */
uint32_t preempt_stages(struct score_stage *ret);
void preempt_explain(const struct preempt *preempt, uint32_t first, struct decision *to);

/* The same among the allocs of its set, for a job that runs inside: victims are inside too. */
struct choice preempt_best_alloc(struct preempt *preempt, const struct view *view,
                                 const struct view_job *job, const struct resources *need,
                                 uint32_t victims_max);

/* Why a job waits, in words, and what kind of reason it is: equal for reasons that differ in their
 * numbers only, and in the change that would help. The kind is made of the lacks, not of words. */
struct reason {
    struct buf text;
    uint64_t kind;
};
static inline void reason_release(struct reason *reason)
{
    buf_release(&reason->text);
}
/* What it is about beside the lacks. */
enum reason_part {
    REASON_NO_MACHINE = LACKS_COUNT,
    REASON_NO_CHANGE,
    REASON_NO_SET,
    REASON_EMPTY,
    REASON_NOTHING_FITS,
    REASON_GANG,
    REASON_EVICTIONS,
    REASON_SHAPE,
    REASON_SYSTEM
};
/* In any order: counts that change put the parts of a reason in another one. */
static inline void reason_note(struct reason *reason, uint64_t part)
{
    reason->kind += hash_u64(part + 1);
}

/* explain.c: the first check of lack.h that keeps the job off the machine (or off its alloc there)
 * whatever room there is, or LACKS_NOTHING. */
int explain_place(const struct view *view, const struct view_job *job, uint32_t machine,
                  const struct view_task *alloc);
/* True when it does fit somewhere. */
bool explain_job(const struct view *view, const struct view_job *job, struct reach *reach,
                 struct reason *to);
/* The same of the tasks of a job on every machine. */
bool explain_system(const struct view *view, const struct view_job *job, struct reason *to);
/* The same of the next task of a gang, `fitting` of `waiting` being placed in the view. */
void explain_gang(const struct view *view, const struct view_job *job, const struct resources *need,
                  struct reach *reach, uint32_t fitting, uint32_t waiting, struct reason *to);

#endif
