/*
 * draw_rare.h - random amounts of what few machines have: gpus, and resources that they name.
 */
#ifndef TEST_DRAW_RARE_H
#define TEST_DRAW_RARE_H

#include "cell_fixture.h"

/* Amounts of gpus and of what two of four names stand for, right and wrong, often none. */
static inline void draw_rare(uint64_t *seed, struct resources *to, struct resource_names *names,
                             const int64_t *gpus, uint32_t gpu_count)
{
    static const char *const words[] = {"tape", "robot", "fpga", "license"};
    to->v[RES_GPU] = draw_below(seed, 2) == 0 ? 0 : gpus[draw_below(seed, gpu_count)];
    for (uint32_t i = 0; draw_below(seed, 3) == 0 && i < 2; i++) {
        const char *word = words[draw_below(seed, draw_below(seed, 8) == 0 ? 4 : 2)];
        to->v[resource_names_put(names, word)] = draw_below(seed, 4);
    }
}

static inline void draw_rare_capacity(uint64_t *seed, struct cmd_machine_register *body)
{
    static const int64_t gpus[] = {1000, 1000, 2000, 3000};
    draw_rare(seed, &body->capacity, &body->resource_names, gpus, ARRAY_SIZE(gpus));
}

static inline void draw_rare_limit(uint64_t *seed, struct job_spec *spec)
{
    static const int64_t gpus[] = {250, 400, 600, 1000, 1000, 2000};
    draw_rare(seed, &spec->limit, &spec->resource_names, gpus, ARRAY_SIZE(gpus));
}

/* Some of the shapes count what a name stands for, which then need not be in the first. */
static inline void draw_rare_shapes(uint64_t *seed, struct job_spec *spec)
{
    static const char *const words[] = {"tape", "robot", "fpga", "license"};
    for (uint32_t i = 0; i < spec->alternative_count; i++) {
        const char *word = words[draw_below(seed, 4)];
        enum resource r =
            draw_below(seed, 3) > 0 ? RES_COUNT : resource_names_put(&spec->resource_names, word);
        if (r < RES_COUNT)
            spec->alternatives[i].v[r] = draw_below(seed, 3);
    }
}

/* What tasks of a machine use: little, as much as they may, or more. */
static inline void draw_usage(uint64_t *seed, const struct cell *cell, machine_id id,
                              struct cmd *cmd)
{
    struct cmd_usage *body = &cmd->usage;
    const struct machine *machine = cell_machine(cell, id);
    cmd->kind = CMD_USAGE;
    body->tasks = xcalloc(16, sizeof *body->tasks);
    for (struct list *l = machine == NULL ? NULL : machine->tasks.next;
         l != NULL && l != &machine->tasks && body->task_count < 16; l = l->next) {
        const struct task *task = CONTAINER_OF(l, struct task, link);
        const struct resources *limit = &cell_job(cell, task_job(task->id))->spec.limit;
        struct task_usage *usage = &body->tasks[body->task_count++];
        usage->task = attempt_of(task);
        usage->machine = id;
        usage->task.attempt += draw_below(seed, 10) == 0;
        for (int r = 0; r < RECLAIM_COUNT; r++)
            usage->used[r] = limit->v[r] * draw_below(seed, 6) / 4 - (draw_below(seed, 40) == 0);
    }
    if (draw_below(seed, 3) == 0)
        cmd->time_ms = cell->now_ms + 400000; /* else hardly anything would ever be reclaimed */
}

#endif
