/*
 * resize.c - the tasks of a job get its new limit: in place where there is room, else by a restart.
 *
 * An update makes all live tasks of the job outdated: they hold what they held, remembered in
 * job.limits_old. Whoever has room for the new limit where he is has it at once, and goes on. The
 * others are told to stop as far as the disruption budget allows, and come back with the new limit;
 * the leader asks again for those that are left, also of a job with more tasks than one command
 * changes. Gpus are told to a task at its start, so these
 * never change in place. Borg paper, section 2.3.
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
static uint32_t limit_slot(const struct job *job)
{
    bool held[JOB_LIMITS_OLD_MAX] = {false};
    uint32_t slot = 0;
    for (uint32_t i = 0; i < job->task_count; i++)
        if (job->tasks[i].shape >= SPEC_SHAPES_MAX)
            held[job->tasks[i].shape - SPEC_SHAPES_MAX] = true;
    while (slot < JOB_LIMITS_OLD_MAX && held[slot])
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
    if (more.v[RES_GPU] != 0)
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

static bool may_stop(const struct cell *cell, const struct task *task)
{
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
        if (fits_in_place(cell, job, task) || may_stop(cell, task))
            return true;
        looks--;
    }
    return false;
}

/* An alloc set does not shrink below what is inside now. */
static int inside_check(const struct cell *cell, const struct job *job,
                        const struct resources *limit, struct err *err)
{
    for (uint32_t i = 0; i < job->task_count; i++) {
        const struct task *alloc = &job->tasks[i];
        if (!task_is_live(alloc) || alloc->stopping != CAUSE_NONE ||
            holds_inside(cell, job, alloc, limit))
            continue;
        return err_set(err, ERR_STATE,
                       "alloc \"%s/%u\" holds tasks that need more; kill some of them first",
                       job->spec.name, i);
    }
    return 0;
}

/* Tasks that run are not stopped for a limit that no machine has. */
static int machines_check(const struct cell *cell, const struct job_spec *next, struct err *err)
{
    struct resources most = {{0}};
    for (uint32_t i = 0; i < cell->machine_count; i++) {
        const struct machine *machine = cell->machines[i];
        if (machine->state == MACHINE_UP && resources_fit(&next->limit, &machine->capacity))
            return 0;
        if (machine->state == MACHINE_UP)
            most = resources_max(&most, &machine->capacity);
    }
    for (enum resource r = 0; r < RES_COUNT; r++) {
        CLEANUP(buf_release) struct buf text = {0};
        if (next->limit.v[r] <= most.v[r])
            continue;
        resource_print(&text, r, most.v[r]);
        return err_set(err, ERR_STATE, "no machine that is up has so much %s: the most is %s",
                       resource_name(r, &next->resource_names), buf_text(&text));
    }
    return err_set(err, ERR_STATE, "no machine that is up has as much of everything");
}

int resize_check(const struct cell *cell, const struct job *job, const struct job_spec *next,
                 struct err *err)
{
    if (job->spec.alternative_count > 0)
        return err_set(err, ERR_INVALID,
                       "its tasks have %u shapes, which cannot be changed; kill it and submit it "
                       "anew",
                       spec_shape_count(&job->spec));
    int rc = spec_valid(next, err);
    if (rc == 0 && next->alloc_set[0] == '\0')
        rc = machines_check(cell, next, err);
    if (rc == 0)
        rc = alloc_set_check(cell, next, err);
    if (rc == 0 && next->is_alloc_set)
        rc = inside_check(cell, job, &next->limit, err);
    if (rc == 0 && limit_slot(job) == JOB_LIMITS_OLD_MAX)
        rc = err_set(err, ERR_STATE,
                     "its tasks still have %d limits of earlier updates; wait until some of these "
                     "are through",
                     JOB_LIMITS_OLD_MAX);
    return rc;
}

void resize_begin(struct apply *a, struct job *job, const struct resources *limit)
{
    uint32_t slot = limit_slot(job);
    ASSERT(slot < JOB_LIMITS_OLD_MAX);
    job->limit_old_count = MAX(job->limit_old_count, slot + 1);
    job->limits_old[slot] = job->spec.limit;
    for (uint32_t i = 0; i < job->task_count; i++) {
        struct task next = job->tasks[i];
        if (!task_is_live(&next) || next.shape != 0)
            continue;
        next.shape = SPEC_SHAPES_MAX + slot;
        task_set(a, &job->tasks[i], &next);
    }
    job->spec.limit = *limit;
    job_touch(a, job);
}

struct resized resize_go_on(struct apply *a, struct job *job)
{
    struct resized resized = {0};
    uint32_t at = looks_from(job, a->cell->now_ms);
    uint32_t looks = MIN(job->outdated, (uint32_t)RESIZE_LOOKS_MAX);
    for (uint32_t i = 0; looks > 0 && i < job->task_count; i++) {
        struct task *task = &job->tasks[(at + i) % job->task_count];
        struct task next = *task;
        if (!task_is_outdated(task))
            continue;
        looks--;
        if (resized.in_place + resized.told == RESIZE_TASKS_MAX)
            break;
        if (fits_in_place(a->cell, job, task)) {
            next.shape = 0;
            task_set(a, task, &next);
            event_add_task(a, EVENT_RESIZED, task, CAUSE_NONE, 0, "");
            resized.in_place++;
        } else if (may_stop(a->cell, task)) {
            event_add_task(a, EVENT_EVICTING, task, CAUSE_UPDATE, 0, "for its new limit");
            task_stop(a, task, CAUSE_UPDATE);
            resized.told++;
        }
    }
    return resized;
}

void apply_job_resize(struct apply *a, const struct cmd_job_resize *body)
{
    struct job *job = job_find(a->cell, body->job);
    if (job == NULL) {
        answer_refuse(a, ERR_NOT_FOUND, "no job %" PRIu64, body->job.v);
        return;
    }
    struct resized resized = resize_go_on(a, job);
    a->answer->job = job->id;
    a->answer->accepted = resized.in_place + resized.told;
    answer_say(a, "job \"%s\": resized in place: %u, told to stop: %u, still waiting: %u",
               job->spec.name, resized.in_place, resized.told, job->outdated);
}
