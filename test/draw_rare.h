/*
 * draw_rare.h - random amounts of gpus and named resources.
 */
#ifndef TEST_DRAW_RARE_H
#define TEST_DRAW_RARE_H

#include "cell_fixture.h"

/* Draw amounts of gpus and of two of four named resources, valid and invalid, often none. */
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

/* Let some shapes use a named resource, which the first shape need not use. */
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

/* Draw the usage of a machine's tasks: little, up to the limit, or more. */
static inline void draw_usage(uint64_t *seed, const struct cell *cell, machine_id id,
                              struct cmd *cmd)
{
    struct cmd_usage *body = &cmd->usage;
    const struct machine *machine = cell_machine(cell, id);
    cmd->kind = CMD_USAGE;
    body->tasks = xcalloc(16, sizeof *body->tasks);
    const struct task *tasks[16];
    uint32_t count = tasks_on(cell, machine, tasks, ARRAY_SIZE(tasks));
    for (uint32_t i = 0; i < count; i++) {
        const struct task *task = tasks[i];
        const struct resources *limit = &cell_job(cell, task_job(task->id))->spec.limit;
        struct task_usage *usage = &body->tasks[body->task_count++];
        usage->task = attempt_of(task);
        usage->machine = id;
        usage->task.attempt += draw_below(seed, 10) == 0;
        for (int r = 0; r < RECLAIM_COUNT; r++)
            usage->used[r] = limit->v[r] * draw_below(seed, 6) / 4 - (draw_below(seed, 40) == 0);
    }
    if (draw_below(seed, 3) == 0)
        /* otherwise hardly anything would ever be reclaimed */
        cmd->time_ms = cell->now_ms + 400000;
}

#endif
