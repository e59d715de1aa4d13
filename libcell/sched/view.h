/*
 * view.h - the scheduler's own copy of the cell, laid out for scanning.
 *
 * Machines are columns (struct of arrays), index = machine id - 1. What a machine has left is
 * counted here, from the tasks as they are in the view, assumed placements included; of a machine's
 * row only capacity and state are taken. So an assumption lasts until a row about that very task
 * comes by, whatever else happens on the machine.
 *
 * Invariant: room = total - (what is kept for live tasks that are not stopping), when down, too.
 * Columns of ports, gpus and resources that the cell names are made when a machine has some, and
 * NULL until then.
 */
#ifndef CELL_VIEW_H
#define CELL_VIEW_H

#include "cmd.h"

enum { VIEW_NO_MACHINE = UINT32_MAX };
enum { VIEW_CHANGES = 4096 };
enum { VIEW_NORMAL_BITS = 40, VIEW_PRECISION_BITS = 20 };

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

/* What a machine says of itself. */
struct facts {
    struct words attributes;
    char name[];
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

/* The jobs of one user at one priority. */
enum { QUEUE_LEVELS = 6 };
struct queue {
    char user[CELL_NAME_MAX + 1];
    struct list jobs;                    /* large tasks first, then by id */
    struct view_job *last[QUEUE_LEVELS]; /* of each size, NULL: none */
    struct list turn;                    /* in level.turns */
    struct list *at;                     /* no job before it is ready, in this pass */
    uint32_t job_count;
    uint32_t ready; /* jobs that have waiting tasks and are not blocked */
};

/* One priority: its users take turns. */
struct level {
    struct list turns; /* who is first is next */
    struct namemap queues;
    uint32_t ready; /* sum over its queues */
    uint32_t ready_users;
};

/* The direction of an amount of cpu, ram and gpus: the largest has LEAN_BITS bits, or all are 0. */
enum { LEAN_BITS = 14 };
struct lean {
    uint16_t cpu, ram, gpu;
};

enum { VIEW_PRECIOUS_LEVELS = 4 };
/* What figures of fit read of a machine. */
struct trait {
    int64_t spare;      /* room normalized and summed over resources */
    struct lean room;   /* as shares of the machine's total */
    struct lean aspect; /* times a lean of amounts is a lean of shares of its total */
    uint32_t precious;  /* scarce.c: 0 to VIEW_PRECIOUS_LEVELS - 1 */
};

struct view {
    uint32_t machine_count;
    uint32_t machine_capacity; /* of the columns */
    bool *up;                  /* and neither draining nor sick */
    bool *draining;
    bool *sick; /* it could not start tasks */
    bool *gone; /* it was removed: the row is nobody's */
    uint32_t gone_count;
    struct resource_names resource_names;
    int64_t *total[RES_COUNT];
    int64_t *promised[RECLAIM_COUNT]; /* limits of production; NULL: nothing was reclaimed yet */
    int64_t *room[RES_COUNT];         /* total less what is kept */
    int64_t *evictable[RES_COUNT];    /* the part of what is kept that is not prod */
    int64_t *gpu_most;                /* of the room of gpus, what may be asked for: devices.h */
    struct trait *traits;
    uint64_t *stamp;       /* differs from all earlier ones after each change */
    bool *improved;        /* is in the list below */
    struct list *tasks;    /* heads, of live tasks, those inside allocs left out */
    uint32_t *budgeted;    /* of what is kept, and inside allocs: tasks of jobs that are */
    uint32_t budgeted_max; /* no machine ever had more of them */
    struct facts **facts;  /* NULL until its row came */

    uint32_t *improved_list; /* machines where something left or grew since the last pass */
    uint32_t improved_count;
    uint64_t improvements;    /* differs when something left a machine or one grew */
    bool *candidate;          /* is in the list below */
    uint32_t *candidate_list; /* machines that improved since the woken jobs were blocked */
    uint32_t candidate_count;
    uint32_t woken; /* jobs that are */
    uint64_t stamp_last;
    uint64_t match_last;            /* number of the last match made */
    uint32_t changed[VIEW_CHANGES]; /* the machine that got stamp s, at s % VIEW_CHANGES */
    uint64_t fleet_version; /* differs when a machine came, went or changed size or attributes */
    int shift[RES_COUNT];   /* normalized = (amount >> shift) * factor */
    int64_t factor[RES_COUNT];
    int64_t total_max[RES_COUNT];

    struct list jobs;
    struct list system_jobs;
    struct list blocked;
    struct list unsaid;
    struct idmap jobs_by_id;
    struct list matches;
    struct namemap matches_by_key;
    struct list axes;
    struct namemap crowds_by_name;
    struct list sets;            /* of allocs, by view_set.link */
    struct namemap sets_by_name; /* by "user/name" */
    struct namemap owners;
    uint64_t owner_last; /* id */
    struct level levels[PRIORITY_MAX + 1];
    uint64_t waiting;
    enum policy policy;    /* the cell's */
    uint64_t picky;        /* tasks of jobs with constraints */
    uint64_t picky_graded; /* of them, and of machines, when machines were last graded */
    uint32_t machines_graded;
    bool trying;    /* what is placed may be taken back: nobody wakes because of it */
    uint32_t risen; /* the highest priority at which a job became ready since this was set to 0 */
};

void view_init(struct view *view);
void view_release(struct view *view);
/* An amount as a share of the largest machine's, 2^40 being all of it. */
static inline int64_t view_normal(const struct view *view, enum resource r, int64_t amount)
{
    return (amount >> view->shift[r]) * view->factor[r];
}
/* lean.c */
struct lean view_lean(int64_t cpu, int64_t ram, int64_t gpu);
void lean_derive(struct view *view, uint32_t machine); /* of its room and total, into its traits */
/* What the machine has free; -1 when down. */
static inline int64_t view_free(const struct view *view, enum resource r, uint32_t machine)
{
    const int64_t *room = r == RES_GPU ? view->gpu_most : view->room[r];
    return room == NULL ? 0 : view->up[machine] ? room[machine] : -1;
}
/* room.c */
struct devices view_devices(const struct view *view, uint32_t machine);
struct room view_room(const struct view *view, uint32_t machine);
/* The room if this task goes, or had come. */
void view_give(struct room *room, const struct view_task *task);
void view_take(struct room *room, const struct view_task *task);
/* At most so much would be free of a machine that is up if everything evictable went. The room of
 * gpus may grow by more than goes, for what is left here and there comes together: their sum. */
static inline int64_t view_reach(const struct view *view, enum resource r, uint32_t machine)
{
    if (view->total[r] == NULL)
        return 0;
    return view->room[r][machine] + view->evictable[r][machine];
}
void view_update(struct view *view, const struct delta *delta);
struct view_job *view_job_find(const struct view *view, job_id id);
/* What the task holds while it is live. */
const struct resources *view_task_limit(const struct view_task *task);
/* Its limit less what is reclaimed. */
struct resources view_task_kept(const struct view_task *task);
/* Production may not be promised what is only reclaimed: what there is of r for it at most. */
static inline int64_t view_unpromised(const struct view *view, enum resource r, uint32_t machine)
{
    return r >= RECLAIM_COUNT || view->promised[r] == NULL
               ? INT64_MAX
               : view->total[r][machine] - view->promised[r][machine];
}
/* Which is the better victim of two of one priority: the larger, then the newer; -1, 0, 1. */
int view_task_order(const struct view_task *a, const struct view_task *b);
uint32_t view_task_index(const struct view_task *task);
struct attempt_ref view_attempt(const struct view_task *task);
/* Assume what has just been decided. */
void view_place(struct view *view, struct view_task *task, uint32_t machine, uint32_t alloc,
                uint32_t shape);
void view_stop(struct view *view, struct view_task *task); /* with an alloc what is inside */
/* Take back what was assumed since machines were improved `improved_count` times, last first. */
void view_unplace(struct view *view, struct view_task *task);
void view_unstop(struct view *view, struct view_task *task, bool disrupted);
void view_unimprove(struct view *view, uint32_t improved_count);
/* Count the task, and with an alloc what is inside, as what would be evicted for a job, unless a
 * job of these has no budget left that binds it; then, for each task this was asked of,
 * view_untake(). */
bool view_take_victim(const struct view *view, const struct view_job *by,
                      const struct view_task *task);
void view_untake(const struct view_task *task);
/* Turn the improved machines into candidates. */
void view_take_improved(struct view *view);
void view_add_candidate(struct view *view, uint32_t machine);
/* Nothing fits it now; and: look at it again, on the candidate machines. */
void view_block(struct view *view, struct view_job *job);
void view_unblock(struct view *view, struct view_job *job);
/* What keeps the job waiting may have ceased at this machine, or (VIEW_NO_MACHINE) anywhere. */
void view_reconsider(struct view *view, struct view_job *job, uint32_t machine);
/* The same for a task of a job on every machine: there is no room on its machine; there may be. */
void view_stick(struct view *view, struct view_task *task);
void view_unstick(struct view *view, struct view_task *task);
/* The waiting task of the lowest index; there is one. */
struct view_task *view_first_waiting(struct view_job *job);
/* Has the task that view_first_waiting() told last crashed there before? */
bool view_avoids(const struct view_job *job, uint32_t machine);
uint32_t view_avoided(const struct view_job *job); /* on how many machines? */

/* places.c: what jobs ask of machines beside room. */
void places_grow(struct view *view, uint32_t old_capacity, uint32_t capacity);
/* The facts of the machine changed: judge it anew. */
void places_machine(struct view *view, uint32_t machine);
void places_add(struct view *view, struct view_job *job, const struct job_spec *spec);
void places_remove(struct view *view, struct view_job *job);
/* Count a live task of the job in (+1) or out (-1). */
void places_count(struct view *view, struct view_job *job, uint32_t machine, int change);
/* Does the machine meet its hard constraints, has its value room under each max, and does no other
 * job keep this one away? */
bool places_allow(const struct view_job *job, uint32_t machine);
/* Differs when other machines than those that changed may have become better for a job that is not
 * plain (choose.h), or allowed. */
uint64_t places_eased(const struct view_job *job);
/* The first hard constraint that the machine fails, or their number. */
uint32_t places_failing(const struct view_job *job, uint32_t machine);
/* The first spread of which the machine's value is full, or their number. */
uint32_t places_full(const struct view_job *job, uint32_t machine);
/* The next machine from `machine` on that meets the hard constraints, those about company aside; at
 * least `end`: none. */
uint32_t places_next(const struct view_job *job, uint32_t machine, uint32_t end);
/* Wishes that choosing this machine leaves open, in weights: of soft constraints, of spreads. */
int64_t places_constraint_cost(const struct view_job *job, uint32_t machine);
int64_t places_spread_cost(const struct view_job *job, uint32_t machine);

/* presence.c: what the company of other jobs has to say; places_allow() asks. */
/* While view.trying was set a task of the job was placed there, for good: wake whom that helps. */
void presence_tell(struct view *view, const struct view_job *job, uint32_t machine);
bool presence_allows(const struct view_job *job, uint32_t machine);
/* The name of a job that keeps this one away from there, or NULL. */
const char *presence_keeper(const struct view_job *job, uint32_t machine);

void view_set_precious(struct view *view, uint32_t machine, uint32_t precious);
/* scarce.c: count a job in (+1) or out (-1); grade machines when much has changed. */
void scarce_count(struct view *view, const struct view_job *job, int sign);
void scarce_update(struct view *view);

/* queue.c: keeps jobs by priority, user and id. */
void queue_add(struct view *view, struct view_job *job, const char *user);
void queue_remove(struct view *view, struct view_job *job);
/* To be called with +1 when a job becomes ready, -1 when it is no longer. */
void queue_ready(struct view *view, struct view_job *job, int change);
void queue_level_start(struct level *level);
/* It could not have its turn: it is the first of its level in the next pass. */
void queue_return(struct view *view, struct view_job *job);
/* The job whose turn it is in this level, its user then being last; NULL when none is ready. */
struct view_job *queue_next(struct level *level);

#endif
