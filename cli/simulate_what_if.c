/*
 * simulate_what_if.c - room for more, and machines taken away.
 */
#include "simulate_what_if.h"

#include "simulate_compact.h"

#include <stdio.h>
#include <stdlib.h>

/* As free work, which evicts nobody. */
int what_if_more(struct sim *sim, const struct job_spec *spec, uint64_t *ret, struct err *err)
{
    CLEANUP(spec_release) struct job_spec more;
    uint32_t placed;
    *ret = 0;
    spec_copy(&more, spec);
    more.priority = 0;
    more.replicas = CELL_TASKS_PER_JOB_MAX;
    str_copy(more.user, sizeof more.user, "simulate");
    uint32_t number = 0;
    do {
        do
            snprintf(more.name, sizeof more.name, "simulate-more-%" PRIu32, number++);
        while (cell_job_named(sim->cell, more.name) != NULL);
        int rc = sim_submit(sim, &more, err);
        if (rc != 0)
            return err_wrap(err, "after %" PRIu64 " tasks that fit", *ret);
        sim_run(sim);
        placed = cell_job_named(sim->cell, more.name)->counts[TASK_ASSIGNED];
        *ret += placed;
    } while (placed == more.replicas);
    return 0;
}

static bool is_up(const struct sim *sim, uint32_t index)
{
    return sim->cell->machines[index]->state == MACHINE_UP;
}

static int take_down(struct sim *sim, machine_id machine, struct what_if *w, struct err *err)
{
    w->lost += cell_machine(sim->cell, machine)->task_count;
    w->removed[w->removed_count++] = machine;
    return sim_machine_down(sim, machine, err);
}

static int take_named(struct sim *sim, const char *name, struct what_if *w, struct err *err)
{
    const struct machine *machine = cell_machine_named(sim->cell, name);
    if (machine == NULL)
        return err_set(err, ERR_NOT_FOUND, "there is no machine \"%.63s\"", name);
    if (machine->state != MACHINE_UP)
        return err_set(err, ERR_STATE, "machine \"%s\" is down or taken away already", name);
    return take_down(sim, machine->id, w, err);
}

static int take_drawn(struct sim *sim, uint64_t count, uint64_t seed, struct what_if *w,
                      struct err *err)
{
    CLEANUP(free_ptr) uint32_t *up = xcalloc(sim->cell->machine_count, sizeof *up);
    uint32_t up_count = 0;
    for (uint32_t i = 0; i < sim->cell->machine_count; i++)
        if (is_up(sim, i))
            up[up_count++] = i;
    if (count > up_count)
        return err_set(err, ERR_INVALID, "--remove %" PRIu64 ": only %" PRIu32 " machines are up",
                       count, up_count);
    for (uint64_t i = 0; i < count; i++) {
        uint32_t at = (uint32_t)(sim_draw(&seed) % up_count);
        int rc = take_down(sim, sim->cell->machines[up[at]]->id, w, err);
        if (rc != 0)
            return rc;
        up[at] = up[--up_count];
    }
    return 0;
}

/* Jobs with more tasks pending than in `before`, which is in the order of the cell's list. */
static void compare(const struct sim *sim, const uint32_t *before, struct what_if *w)
{
    size_t i = 0;
    LIST_EACH(l, &sim->cell->jobs)
    {
        const struct job *job = CONTAINER_OF(l, struct job, link);
        uint32_t was = before[i++];
        if (job->counts[TASK_PENDING] <= was)
            continue;
        uint32_t more = job->counts[TASK_PENDING] - was;
        w->jobs[w->job_count++] = (struct what_if_job){job->id, more};
        w->pending += more;
    }
}

int what_if_remove(struct sim *sim, const char *const *names, size_t name_count, uint64_t count,
                   uint64_t seed, struct what_if *ret, struct err *err)
{
    CLEANUP(free_ptr) uint32_t *before = xcalloc(sim->cell->job_count + 1, sizeof *before);
    uint64_t evicted = sim->evicted;
    size_t i = 0;
    int rc = 0;
    LIST_EACH(l, &sim->cell->jobs)
    {
        before[i++] = CONTAINER_OF(l, struct job, link)->counts[TASK_PENDING];
    }
    *ret = (struct what_if){.removed = xcalloc(sim->cell->machine_count + 1, sizeof(machine_id)),
                            .jobs = xcalloc(sim->cell->job_count + 1, sizeof *ret->jobs)};
    for (size_t n = 0; rc == 0 && n < name_count; n++)
        rc = take_named(sim, names[n], ret, err);
    if (rc == 0)
        rc = take_drawn(sim, count, seed, ret, err);
    if (rc != 0)
        return rc;
    sim_run(sim);
    ret->evicted = sim->evicted - evicted;
    compare(sim, before, ret);
    return 0;
}

void what_if_release(struct what_if *w)
{
    free(w->removed);
    free(w->jobs);
    *w = (struct what_if){0};
}
