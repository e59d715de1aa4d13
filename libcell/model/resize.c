/*
 * resize.c - the tasks of a job get its new limit: in place where there is room, else by a restart.
 *
 * An update makes all live tasks of the job outdated: they hold what they held, remembered in
 * job.limits_old. Whoever has room for the new limit where he is has it at once, and goes on. The
 * others are told to stop as far as the disruption budget allows, and come back with the new limit;
 * the leader asks again for those that are left, also of a job with more tasks than one command
 * changes. Gpus are told to a task at its start, so these
 * never change in place. Borg paper, section 2.3. Tasks that are to be restarted (restart.c) are
 * outdated too, and stop when it is their turn.
 */
#include "cell_write.h"
#include "hash.h"

#include <string.h>

void cell_list_updating(struct cell *cell, struct job *job)
{
    if (job->outdated == 0)
        list_remove(&job->updating);
    else if (list_empty(&job->updating))
        list_push(&cell->updating, &job->updating);
}

bool task_shape_right(const struct job *job, uint32_t shape)
{
    return shape < SPEC_SHAPES_MAX ? shape < spec_shape_count(&job->spec)
                                   : shape - SPEC_SHAPES_MAX < job->limit_old_count;
}

/* Where the present limit can be remembered; JOB_LIMITS_OLD_MAX: nowhere. */
static uint32_t limit_slot(const struct resize *resize)
{
    uint32_t slot = 0;
    while (slot < JOB_LIMITS_OLD_MAX && resize->slots[slot])
        slot++;
    return slot;
}

static bool fits(const struct resources *more, const struct resources *free)
{
    for (int r = 0; r < RES_COUNT; r++)
        if (more->v[r] > 0 && more->v[r] > free->v[r])
            return false;
    return true;
}

/* Does what is inside the alloc, or is to stay there, fit this limit? */
static bool holds_inside(const struct cell *cell, const struct job *job, const struct task *alloc,
                         const struct resources *limit)
{
    struct resources less = *task_limit(job, alloc);
    struct room room = alloc_room(cell, alloc);
    resources_subtract(&less, limit);
    return fits(&less, &room.free);
}

static bool fits_in_place(const struct cell *cell, const struct job *job, const struct task *task)
{
    struct resources more = job->spec.limit;
    resources_subtract(&more, task_limit(job, task));
    if (more.v[RES_GPU] != 0 || task->shape < SPEC_SHAPES_MAX)
        return false;
    if (job->spec.is_alloc_set && !holds_inside(cell, job, task, &job->spec.limit))
        return false;
    if (task->alloc.v != 0) {
        struct room room = alloc_room(cell, task_find(cell, task->alloc));
        return fits(&more, &room.free);
    }
    const struct machine *machine = machine_find(cell, task->machine);
    struct resources unpromised = machine_unpromised(machine);
    if (priority_is_prod(job->spec.priority) && !fits(&more, &unpromised))
        return false;
    struct room room = cell_room(cell, machine);
    return fits(&more, &room.free);
}

static bool may_stop(const struct cell *cell, const struct job *job, const struct task *task)
{
    if (task->restart && job->restart_batch != 0 && job->disrupted >= job->restart_batch)
        return false;
    CLEANUP(leaving_release) struct leaving leaving = {0};
    return leaving_add(&leaving, cell, task) == NULL;
}

/* Where to begin to look: of more tasks than are looked at, now here and now there. */
static uint32_t looks_from(const struct job *job, uint64_t draw)
{
    return job->outdated > RESIZE_LOOKS_MAX ? (uint32_t)(hash_u64(draw) % job->task_count) : 0;
}

bool cell_resize_due(const struct cell *cell, const struct job *job, uint64_t draw)
{
    uint32_t at = looks_from(job, draw), looks = MIN(job->outdated, (uint32_t)RESIZE_LOOKS_MAX);
    for (uint32_t i = 0; looks > 0 && i < job->task_count; i++) {
        const struct task *task = &job->tasks[(at + i) % job->task_count];
        if (!task_is_outdated(task))
            continue;
        if (fits_in_place(cell, job, task) || may_stop(cell, job, task))
            return true;
        looks--;
    }
    return false;
}

/* Rows that are walked to say whether the task may get another limit, or go. */
static uint64_t look_units(const struct cell *cell, const struct job *job, const struct task *task)
{
    const struct machine *machine = machine_find(cell, task->machine);
    bool walks = job->spec.is_alloc_set || task->alloc.v != 0 ||
                 (machine != NULL && machine->capacity.v[RES_GPU] > 0);
    return machine != NULL && walks ? 1 + machine->task_count : 1;
}

/* An alloc set does not shrink below what is inside now. */
static bool tasks_look(struct apply *a, struct apply_step *step)
{
    const struct job *job = step->job;
    struct resize *resize = a->work;
    for (; step_goes_on(a, step); step->at++) {
        const struct task *task = &job->tasks[step->at];
        if (task->shape >= SPEC_SHAPES_MAX)
            resize->slots[task->shape - SPEC_SHAPES_MAX] = true;
        units_spend(a, 1);
        if (!job->spec.is_alloc_set || resize->cramped != CRAMPED_NONE || !task_is_live(task) ||
            task->stopping != CAUSE_NONE)
            continue;
        units_spend(a, look_units(a->cell, job, task));
        if (!holds_inside(a->cell, job, task, &resize->next.limit))
            resize->cramped = step->at;
    }
    return step->at == step->to;
}

static bool machines_look(struct apply *a, struct apply_step *step)
{
    struct resize *resize = a->work;
    for (; !resize->fits && step_goes_on(a, step); step->at++) {
        const struct machine *machine = a->cell->machines[step->at];
        units_spend(a, 1);
        if (machine->state != MACHINE_UP)
            continue;
        resize->fits = resources_fit(&resize->next.limit, &machine->capacity);
        resize->most = resources_max(&resize->most, &machine->capacity);
    }
    return resize->fits || step->at == step->to;
}

void resize_look(struct apply *a, struct job *job, struct resize *resize)
{
    resize->cramped = CRAMPED_NONE;
    if (resize->next.alloc_set[0] == '\0')
        steps_add(a, machines_look, NULL, 0, a->cell->machine_count);
    steps_add(a, tasks_look, job, 0, job->task_count);
}

/* Tasks that run are not stopped for a limit that no machine has. */
static int machines_check(const struct resize *resize, struct err *err)
{
    const struct job_spec *next = &resize->next;
    if (next->alloc_set[0] != '\0' || resize->fits)
        return 0;
    for (enum resource r = 0; r < RES_COUNT; r++) {
        CLEANUP(buf_release) struct buf text = {0};
        if (next->limit.v[r] <= resize->most.v[r])
            continue;
        resource_print(&text, r, resize->most.v[r]);
        return err_set(err, ERR_STATE, "no machine that is up has so much %s: the most is %s",
                       resource_name(r, &next->resource_names), buf_text(&text));
    }
    return err_set(err, ERR_STATE, "no machine that is up has as much of everything");
}

int resize_check_spec(const struct job *job, const struct job_spec *next, struct err *err)
{
    if (job->spec.alternative_count > 0)
        return err_set(err, ERR_INVALID,
                       "its tasks have %u shapes, which cannot be changed; kill it and submit it "
                       "anew",
                       spec_shape_count(&job->spec));
    return spec_valid(next, err);
}

int resize_check(const struct cell *cell, const struct job *job, const struct resize *resize,
                 struct err *err)
{
    int rc = machines_check(resize, err);
    if (rc == 0)
        rc = alloc_set_check(cell, &resize->next, err);
    if (rc == 0 && resize->cramped != CRAMPED_NONE)
        rc = err_set(err, ERR_STATE,
                     "alloc \"%s/%u\" holds tasks that need more; kill some of them first",
                     job->spec.name, resize->cramped);
    if (rc == 0 && limit_slot(resize) == JOB_LIMITS_OLD_MAX)
        rc = err_set(err, ERR_STATE,
                     "its tasks still have %d limits of earlier updates; wait until some of these "
                     "are through",
                     JOB_LIMITS_OLD_MAX);
    return rc;
}

static bool tasks_outdate(struct apply *a, struct apply_step *step)
{
    const struct resize *resize = a->work;
    for (; step_goes_on(a, step); step->at++) {
        struct task next = step->job->tasks[step->at];
        units_spend(a, 1);
        if (!task_is_live(&next) || next.shape != 0)
            continue;
        next.shape = SPEC_SHAPES_MAX + limit_slot(resize);
        task_set(a, &step->job->tasks[step->at], &next);
    }
    return step->at == step->to;
}

void resize_begin(struct apply *a, struct job *job)
{
    uint32_t slot = limit_slot(a->work);
    ASSERT(slot < JOB_LIMITS_OLD_MAX);
    job->limit_old_count = MAX(job->limit_old_count, slot + 1);
    job->limits_old[slot] = job->spec.limit;
    job_touch(a, job);
    steps_add(a, tasks_outdate, job, 0, job->task_count);
}

static void task_resize(struct apply *a, struct job *job, struct task *task, struct resize *resize)
{
    units_spend(a, look_units(a->cell, job, task));
    if (fits_in_place(a->cell, job, task)) {
        struct task next = *task;
        next.shape = 0;
        task_set(a, task, &next);
        event_add_task(a, EVENT_RESIZED, task, CAUSE_NONE, 0, "");
        resize->in_place++;
    } else if (may_stop(a->cell, job, task)) {
        event_add_task(a, EVENT_EVICTING, task, CAUSE_UPDATE, 0,
                       task->restart ? "to be restarted" : "for its new limit");
        task_stop(a, task, CAUSE_UPDATE);
        resize->told++;
    }
}

static bool tasks_resize(struct apply *a, struct apply_step *step)
{
    struct job *job = step->job;
    struct resize *resize = a->work;
    for (; resize->looks > 0 && step_goes_on(a, step); step->at++) {
        struct task *task = &job->tasks[(resize->from + step->at) % job->task_count];
        units_spend(a, 1);
        if (!task_is_outdated(task))
            continue;
        resize->looks--;
        if (resize->in_place + resize->told == RESIZE_TASKS_MAX)
            return true;
        task_resize(a, job, task, resize);
    }
    return resize->looks == 0 || step->at == step->to;
}

void resize_go_on(struct apply *a, struct job *job)
{
    struct resize *resize = a->work;
    resize->from = looks_from(job, a->cell->now_ms);
    resize->looks = MIN(job->outdated, (uint32_t)RESIZE_LOOKS_MAX);
    steps_add(a, tasks_resize, job, 0, job->task_count);
}

static bool job_resized(struct apply *a, struct apply_step *step)
{
    const struct resize *resize = a->work;
    a->answer->accepted = resize->in_place + resize->told;
    answer_say(a, "job \"%s\": resized in place: %u, told to stop: %u, still waiting: %u",
               step->job->spec.name, resize->in_place, resize->told, step->job->outdated);
    return true;
}

void apply_job_resize(struct apply *a, const struct cmd_job_resize *body)
{
    struct job *job = job_find(a->cell, body->job);
    if (job == NULL) {
        answer_refuse(a, ERR_NOT_FOUND, "no job %" PRIu64, body->job.v);
        return;
    }
    a->work = xcalloc(1, sizeof(struct resize));
    a->answer->job = job->id;
    resize_go_on(a, job);
    steps_add(a, job_resized, job, 0, 0);
}
