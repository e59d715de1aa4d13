/*
 * oracle_space.h - oracle for the free resources of a machine, device by device.
 */
#ifndef TEST_ORACLE_SPACE_H
#define TEST_ORACLE_SPACE_H

#include "cell_fixture.h"

struct oracle_space {
    struct resources sum;
    struct resources unpromised; /* free after the limits of production tasks */
    int64_t gpus[DEVICES_MAX];   /* free share of each; -1: there is no such device */
};

static inline struct oracle_space oracle_space_of(const struct machine *machine)
{
    struct oracle_space space = {.sum = machine->capacity, .unpromised = machine->capacity};
    for (int64_t i = 0; i < DEVICES_MAX; i++)
        space.gpus[i] = i < machine->capacity.v[RES_GPU] / 1000 ? 1000 : -1;
    return space;
}

/* Return the space of an alloc: a share of one device, or whole devices. */
static inline struct oracle_space oracle_space_of_alloc(const struct cell *cell,
                                                        const struct task *alloc)
{
    struct oracle_space space = {.sum = cell_job(cell, task_job(alloc->id))->spec.limit};
    space.unpromised = space.sum; /* nothing in it is lent */
    int64_t each = MIN(space.sum.v[RES_GPU], INT64_C(1000));
    for (int i = 0; i < DEVICES_MAX; i++)
        space.gpus[i] = (alloc->devices & 1U << i) != 0 ? each : -1;
    return space;
}

/* Remove a task (+1) or add one (-1). */
static inline void oracle_space_move(struct oracle_space *space, const struct cell *cell,
                                     const struct task *task, int sign)
{
    const struct job *job = cell_job(cell, task_job(task->id));
    const struct resources *limit = task_limit(job, task);
    for (int r = 0; r < RES_COUNT; r++) {
        int64_t percent = r > RES_RAM ? 0 : task->reserves[r].reclaimed_percent;
        space->sum.v[r] += sign * (limit->v[r] - limit->v[r] * percent / 100);
        space->unpromised.v[r] += job->spec.priority >= 120 ? sign * limit->v[r] : 0;
    }
    for (int i = 0; i < DEVICES_MAX; i++)
        if ((task->devices & 1U << i) != 0)
            space->gpus[i] += sign * (limit->v[RES_GPU] < 1000 ? limit->v[RES_GPU] : 1000);
}

/* Return whether a task of this job that requests `need` fits, on any devices. */
static inline bool oracle_space_fits(const struct oracle_space *space, const struct job *job,
                                     const struct resources *need)
{
    bool prod = job->spec.priority >= 120 && job->spec.alloc_set[0] == '\0';
    int64_t gpu = need->v[RES_GPU], whole = 0;
    bool share = false;
    for (int r = 0; r < RES_COUNT; r++)
        if ((r != RES_GPU && need->v[r] > space->sum.v[r]) ||
            (prod && need->v[r] > space->unpromised.v[r]))
            return false;
    for (int i = 0; i < DEVICES_MAX; i++) {
        whole += space->gpus[i] == 1000;
        share |= space->gpus[i] >= gpu;
    }
    return gpu == 0 || (gpu < 1000 && share) || (gpu >= 1000 && whole * 1000 >= gpu);
}

/* Add a fitting request: whole devices take the first free ones, a share the device with the best
 * fit. */
static inline void oracle_space_fill(struct oracle_space *space, const struct resources *limit)
{
    int64_t gpu = limit->v[RES_GPU];
    bool share = gpu > 0 && gpu < 1000;
    int best = -1;
    for (int r = 0; r < RES_COUNT; r++) {
        space->sum.v[r] -= limit->v[r];
        space->unpromised.v[r] -= limit->v[r];
    }
    for (int i = 0; i < DEVICES_MAX; i++) {
        if (share && space->gpus[i] >= gpu && (best < 0 || space->gpus[i] < space->gpus[best]))
            best = i;
        if (!share && gpu > 0 && space->gpus[i] == 1000) {
            space->gpus[i] = 0;
            gpu -= 1000;
        }
    }
    if (share)
        space->gpus[best] -= gpu;
}

#endif
