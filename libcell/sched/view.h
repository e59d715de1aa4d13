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

#include "queue.h"
#include "view_job.h"
#include "view_machine.h"

enum { VIEW_CHANGES = 4096 };
enum { VIEW_NORMAL_BITS = 40, VIEW_PRECISION_BITS = 20 };

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
/* Production may not be promised what is only reclaimed: what there is of r for it at most. */
static inline int64_t view_unpromised(const struct view *view, enum resource r, uint32_t machine)
{
    return r >= RECLAIM_COUNT || view->promised[r] == NULL
               ? INT64_MAX
               : view->total[r][machine] - view->promised[r][machine];
}
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
void view_set_scarcity(struct view *view, uint32_t machine, uint32_t scarcity);
/* scarce.c: count a job in (+1) or out (-1); grade machines when much has changed. */
void scarce_count(struct view *view, const struct view_job *job, int sign);
void scarce_update(struct view *view);

#endif
