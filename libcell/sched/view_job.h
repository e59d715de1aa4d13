/*
 * view_job.h - jobs and their tasks in the view.
 */
#ifndef CELL_VIEW_JOB_H
#define CELL_VIEW_JOB_H

#include "cmd.h"

enum view_task_state {
    VIEW_OVER,    /* final, or not told of yet */
    VIEW_WAITING, /* pending and free to start */
    VIEW_STUCK,   /* the same, and the one machine it may be on has no room for it */
    VIEW_HELD,    /* pending and backing off */
    VIEW_LIVE
};

struct view_task {
    struct list link; /* live: in its machine's tasks, or in its alloc's */
    struct view_job *job;
    uint32_t attempt;
    uint32_t machine; /* index, while live */
    uint32_t alloc;   /* index in its job's set, while live inside */
    enum view_task_state state;
    uint32_t devices;                         /* live: those it has, or is assumed to get */
    machine_id crashed_on[TASK_CRASHES_MAX];  /* as in its row */
    uint8_t reclaimed_percent[RECLAIM_COUNT]; /* of its limit, while live */
    bool stopping;
    bool disrupted;     /* task_is_disrupted() */
    bool swept;         /* stopped because its alloc was, as far as is assumed; before that ... */
    bool was_disrupted; /* ... it was so */
    uint8_t shape;      /* of job->limits, while live */
};

/* Which machines meet these clauses: one for all jobs that have the same ones. */
struct match {
    struct list link; /* in view.matches */
    char *key;        /* clauses_key() */
    uint32_t jobs;    /* that use it */
    uint64_t number;  /* no other match ever has it */
    struct clauses clauses;
    struct matcher *matcher;
    uint64_t *meets;      /* a bit per machine: all hard clauses without company hold there */
    uint32_t meets_count; /* bits that are set */
    uint8_t *failing; /* per machine: the first such clause that does not hold, or their count */
    uint32_t *cost;   /* per machine: weights of the wishes without company that do not hold */
    uint64_t demand;  /* of its jobs, when machines were last graded */
    bool has_wishes;
    struct company *companies; /* the other clauses: places.h */
    uint32_t company_count;
};

struct view_spread {
    struct axis *axis;
    uint32_t max; /* 0: no bound */
    uint32_t weight;
    uint32_t *counts; /* live tasks of the job by value */
    uint32_t count_capacity;
};

struct view_job {
    job_id id;
    uint32_t priority;
    enum policy policy; /* never POLICY_OF_CELL */
    bool follows_cell;  /* in that */
    uint32_t replicas;
    uint32_t task_count; /* at least replicas: some are left of a time when there were more */
    bool every_machine;  /* task I may be on machine I only */
    /* The shapes of its tasks, the best first; behind those, limits from before updates. */
    struct resources limits[SPEC_SHAPES_MAX + JOB_LIMITS_OLD_MAX];
    uint32_t shape_count;
    uint32_t limit_old_count;
    uint32_t waiting;      /* tasks in VIEW_WAITING */
    uint32_t stuck;        /* in VIEW_STUCK */
    uint32_t waiting_from; /* none of them has a lower index */
    bool gang;             /* all that wait are placed or none */
    uint32_t gang_missing; /* blocked: more places that it needs, as far as is known */
    bool blocked;          /* did not fit, and nothing changed that may help */
    bool woken;            /* was blocked: only the candidate machines can have room for it */
    char reason[CELL_REASON_MAX + 1];
    uint64_t reason_kind; /* struct reason's; 0: not known, the reason was told by another leader */
    struct match *match;  /* NULL: no constraints */
    struct view_spread spreads[SPEC_SPREADS_MAX];
    uint32_t spread_count;
    bool has_wishes;     /* soft clauses or weighted spreads */
    bool has_max;        /* of a spread */
    uint64_t eased;      /* grows when its own tasks leave: places_eased() */
    bool has_company;    /* hard clauses of it or of others depend on who is where: places.h */
    struct crowd *crowd; /* itself, as others mean it */
    struct watch *watches;
    uint32_t watch_count;
    struct keeper *keepers;
    uint32_t keeper_count;
    struct view_task *tasks;
    uint32_t task_capacity;
    struct view_set *allocs;  /* of an alloc set: what its allocs hold; allocs.h */
    struct view_set *inside;  /* NULL, or where alone it runs */
    struct list member;       /* in inside->members */
    struct list link;         /* in view.jobs */
    struct list system;       /* in view.system_jobs, when on every machine */
    struct list blocked_link; /* in view.blocked */
    struct list unsaid;       /* in view.unsaid: its reason is to be told (again) */
    struct list queued;       /* in queue->jobs */
    uint8_t size_level;       /* of its tasks, the large ones first */
    bool budgeted;            /* its disruption budget may spare tasks from eviction */
    uint32_t disruptions_max; /* 0: no bound */
    uint32_t disrupted;       /* tasks that are */
    uint32_t taken;           /* between view_take_victim() and view_untake(): as victims */
    struct queue *queue;
    struct owner *owner;
};

/* Whose jobs they are. */
struct owner {
    char user[CELL_NAME_MAX + 1];
    uint64_t id; /* never that of another one */
    uint32_t job_count;
    uint32_t budgeted; /* of them: disruption budgets bind work of the same user only */
};
/* What is the same for all whom the same budgets bind: 0 for users who have none. */
static inline uint64_t owner_budgets(const struct owner *owner)
{
    return owner->budgeted > 0 ? owner->id : 0;
}

/* What the task holds while it is live. */
const struct resources *view_task_limit(const struct view_task *task);
/* Its limit less what is reclaimed. */
struct resources view_task_kept(const struct view_task *task);
/* Which is the better victim of two of one priority: the larger, then the newer; -1, 0, 1. */
int view_task_order(const struct view_task *a, const struct view_task *b);
uint32_t view_task_index(const struct view_task *task);
struct attempt_ref view_attempt(const struct view_task *task);
/* The waiting task of the lowest index; there is one. */
struct view_task *view_first_waiting(struct view_job *job);
/* Has the task that view_first_waiting() told last crashed there before? */
bool view_avoids(const struct view_job *job, uint32_t machine);
uint32_t view_avoided(const struct view_job *job); /* on how many machines? */

#endif
