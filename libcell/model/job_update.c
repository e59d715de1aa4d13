/*
 * job_update.c - a job gets other replicas, another priority, another limit.
 *
 * What is asked is looked at first, over all its tasks and the machines where the limit changes;
 * nothing is changed before it is accepted, but for what machines have promised, which is taken
 * back when one cannot. Then, in this order: tasks become production or cease to be; all live ones
 * keep the limit until now as one from before; the job's row changes; tasks come back, come anew,
 * or are told to stop; and those with a limit from before get the new one as far as RESIZE_* allow.
 */
#include "cell_write.h"

#include <string.h>

/* An update under way. */
struct update {
    struct resize resize; /* first: resize.c finds it in a->work */
    bool is_resized;
    uint32_t replicas; /* that there were */
    uint32_t told;     /* tasks too many that were told to stop */
    uint32_t unsound;  /* the first task whose machine cannot promise it, or UNSOUND_NONE */
    char text[CELL_REASON_MAX + 1]; /* what changes */
};
enum { UNSOUND_NONE = CELL_TASKS_PER_JOB_MAX };

/* The job that is meant, when it may be updated. */
struct job *job_to_update(struct apply *a, const char *name)
{
    struct job *job = namemap_get(&a->cell->jobs_by_name, name);
    if (job == NULL) {
        answer_refuse(a, ERR_NOT_FOUND, "no job \"%s\"", name);
        return NULL;
    }
    a->answer->job = job->id;
    if (job_is_dead(job))
        answer_refuse(a, ERR_STATE, "job \"%s\" is %s already; submit it again", name,
                      job_state_text(job));
    else if (job->killed)
        answer_refuse(a, ERR_STATE, "job \"%s\" is being killed", name);
    return a->answer->code == ERR_OK ? job : NULL;
}

/* The machine that counts this task as work of a band; NULL: none does. */
static struct machine *task_holder(const struct cell *cell, const struct task *task)
{
    bool counts = task->alloc.v == 0 && task->stopping == CAUSE_NONE;
    return counts ? machine_find(cell, task->machine) : NULL;
}

static bool is_prod_change(const struct job *job, const struct job_spec *next)
{
    return priority_is_prod(job->spec.priority) != priority_is_prod(next->priority);
}

static void promise(struct apply *a, struct apply_step *step, int sign)
{
    const struct job *job = step->job;
    for (; step_goes_on(a, step); step->at++) {
        const struct task *task = &job->tasks[step->at];
        struct machine *machine = task_holder(a->cell, task);
        for (int r = 0; r < RES_COUNT && machine != NULL; r++)
            machine->promised.v[r] += sign * task_limit(job, task)->v[r];
        units_spend(a, 1);
    }
}

static bool tasks_promise(struct apply *a, struct apply_step *step)
{
    promise(a, step, 1);
    return step->at == step->to;
}

static bool tasks_unpromise(struct apply *a, struct apply_step *step)
{
    promise(a, step, -1);
    return step->at == step->to;
}

/* Room that is reclaimed cannot be promised. */
static bool promises_look(struct apply *a, struct apply_step *step)
{
    struct update *update = a->work;
    for (; update->unsound == UNSOUND_NONE && step_goes_on(a, step); step->at++) {
        const struct machine *machine = task_holder(a->cell, &step->job->tasks[step->at]);
        if (machine != NULL && !machine_is_sound(machine))
            update->unsound = step->at;
        units_spend(a, 1);
    }
    return update->unsound != UNSOUND_NONE || step->at == step->to;
}

/* The hashes of machines that have promised more, or less, by now. */
static bool promises_note(struct apply *a, struct apply_step *step)
{
    for (; step_goes_on(a, step); step->at++) {
        struct machine *machine = task_holder(a->cell, &step->job->tasks[step->at]);
        if (machine != NULL)
            machine_touch(a, machine);
        units_spend(a, 1);
    }
    return step->at == step->to;
}

static bool is_resized(const struct job *job, const struct job_spec *next)
{
    return memcmp(&job->spec.limit, &next->limit, sizeof next->limit) != 0;
}

/* Amounts that are not named stay. */
static void limit_merge(struct resources *limit, const struct cmd_job_update *body)
{
    for (int r = 0; r < RES_COUNT; r++)
        if ((body->resized >> r & 1) != 0)
            limit->v[r] = body->limit.v[r];
}

static int job_update_fields_valid(const struct job *job, const struct cmd_job_update *body,
                                   struct err *err)
{
    bool keeps = body->replicas == JOB_UPDATE_KEEP && body->priority == JOB_UPDATE_KEEP;
    if (keeps && body->resized == 0)
        return err_set(err, ERR_INVALID,
                       "nothing to change: name --replicas, --priority, --cpu, --ram, --disk or "
                       "--gpu");
    if (body->replicas != JOB_UPDATE_KEEP && job->spec.every_machine)
        return err_set(err, ERR_INVALID, "replicas: it runs on every machine; constraints choose");
    if (body->replicas != JOB_UPDATE_KEEP &&
        (body->replicas < 1 || body->replicas > CELL_TASKS_PER_JOB_MAX))
        return err_set(err, ERR_INVALID, "replicas: %" PRId64 " is not between 1 and %d%s",
                       body->replicas, CELL_TASKS_PER_JOB_MAX,
                       body->replicas == 0 ? "; borgctl kill ends a job" : "");
    if (body->priority != JOB_UPDATE_KEEP && (body->priority < 0 || body->priority > PRIORITY_MAX))
        return err_set(err, ERR_INVALID, "priority: %" PRId64 " is not between 0 and %d",
                       body->priority, PRIORITY_MAX);
    if ((body->resized & ~JOB_RESIZABLE) != 0)
        return err_set(err, ERR_INVALID, "only cpu, ram, disk and gpu of a limit can be changed");
    return 0;
}

/* Work that grows, or gets another priority, is asked for as new work is. */
static int growth_check(const struct cell *cell, const char *by, const struct job *job,
                        const struct job_spec *next, struct err *err)
{
    uint32_t more = next->replicas > job->task_count ? next->replicas - job->task_count : 0;
    bool grows = next->replicas > job->spec.replicas || next->priority != job->spec.priority;
    for (int r = 0; r < RES_COUNT; r++)
        grows |= next->limit.v[r] > job->spec.limit.v[r];
    int rc = grows ? band_check(cell, by, next, err) : 0;
    return rc != 0 ? rc : share_check(cell, by, next, 0, more, err);
}

/* What the command alone says, and the sizes. */
static int job_update_valid(const struct cell *cell, const struct job *job,
                            const struct cmd_job_update *body, struct job_spec *ret,
                            struct err *err)
{
    *ret = job->spec; /* borrows its words */
    int rc = job_update_fields_valid(job, body, err);
    if (rc != 0)
        return rc;
    if (body->replicas != JOB_UPDATE_KEEP)
        ret->replicas = (uint32_t)body->replicas;
    if (body->priority != JOB_UPDATE_KEEP)
        ret->priority = (uint32_t)body->priority;
    limit_merge(&ret->limit, body);
    if (ret->gang && ret->replicas > CMD_PLACEMENTS_MAX)
        return err_set(err, ERR_INVALID, "replicas: %u are too many for a gang: at most %d",
                       ret->replicas, CMD_PLACEMENTS_MAX);
    if (ret->replicas > job->task_count &&
        cell->live_tasks + ret->replicas - job->task_count > CELL_TASKS_MAX)
        return err_set(err, ERR_LIMIT,
                       "the cell has %" PRIu64 " live tasks, %u more would exceed %d",
                       cell->live_tasks, ret->replicas - job->task_count, CELL_TASKS_MAX);
    return is_resized(job, ret) ? resize_check_spec(job, ret, err) : 0;
}

/* What its tasks, the machines and its user's quota say. */
static int job_update_may(const struct cell *cell, const char *by, const struct job *job,
                          const struct resize *resize, struct err *err)
{
    const struct job_spec *next = &resize->next;
    int rc = is_resized(job, next) ? resize_check(cell, job, resize, err) : 0;
    if (rc == 0)
        rc = growth_check(cell, by, job, next, err);
    uint32_t tasks = job->spec.every_machine ? job_accounted(job) : next->replicas;
    return rc != 0 ? rc : quota_check(cell, next, tasks, job, err);
}

/* Those that are still being killed come back by themselves: see task_stopped_state(). */
static bool tasks_revive(struct apply *a, struct apply_step *step)
{
    for (; step_goes_on(a, step); step->at++) {
        struct task *task = &step->job->tasks[step->at];
        units_spend(a, 1);
        if (task->state != TASK_KILLED)
            continue;
        struct task next = *task;
        next.state = TASK_PENDING;
        task_reset_failures(&next);
        task_set(a, task, &next);
    }
    return step->at == step->to;
}

static bool tasks_shrink(struct apply *a, struct apply_step *step)
{
    struct update *update = a->work;
    for (; step_goes_on(a, step); step->at++) {
        struct task *task = &step->job->tasks[step->at];
        units_spend(a, task_stop_units(a->cell, step->job, task));
        if (task->state == TASK_PENDING) {
            task_end(a, task, TASK_KILLED, CAUSE_KILLED, task->exit_code);
        } else if (task_is_live(task) && task->stopping != CAUSE_KILLED) {
            if (update->told < SHRINK_EVENTS_MAX) /* that of the update stands for the others */
                event_add_task(a, EVENT_KILLING, task, CAUSE_KILLED, 0, "fewer replicas");
            task_stop(a, task, CAUSE_KILLED);
            update->told++;
        }
    }
    return step->at == step->to;
}

static void change_print(struct buf *to, const char *what, uint32_t old, uint32_t now)
{
    if (old != now)
        buf_printf(to, "%s%s %u to %u", to->size > 0 ? ", " : "", what, old, now);
}

/* What changes: "replicas 2 to 3, ram 1Gi to 2Gi". */
static void update_print(struct buf *to, const struct job *job, const struct job_spec *next)
{
    change_print(to, "replicas", job->spec.replicas, next->replicas);
    change_print(to, "priority", job->spec.priority, next->priority);
    for (enum resource r = 0; r < RES_COUNT; r++) {
        if (job->spec.limit.v[r] == next->limit.v[r])
            continue;
        buf_printf(to, "%s%s ", to->size > 0 ? ", " : "",
                   resource_name(r, &job->spec.resource_names));
        resource_print(to, r, job->spec.limit.v[r]);
        buf_printf(to, " to ");
        resource_print(to, r, next->limit.v[r]);
    }
}

static bool job_updated(struct apply *a, struct apply_step *step)
{
    const struct update *update = a->work;
    const struct job *job = step->job;
    CLEANUP(buf_release) struct buf text = {0};
    buf_printf(&text, "%s (told to stop: %u", update->text, update->told + update->resize.told);
    const char *for_what =
        job->outdated > RESIZE_LOOKS_MAX ? "their turn" : "the disruption budget";
    if (update->is_resized)
        buf_printf(&text, ", resized in place: %u, waiting for %s: %u", update->resize.in_place,
                   for_what, job->outdated);
    answer_say(a, "job \"%s\" is updated: %s)", job->spec.name, buf_text(&text));
    return true;
}

static bool limits_give(struct apply *a, struct apply_step *step)
{
    resize_go_on(a, step->job);
    steps_add(a, job_updated, step->job, 0, 0);
    return true;
}

static bool job_change(struct apply *a, struct apply_step *step)
{
    struct update *update = a->work;
    const struct job_spec *next = &update->resize.next;
    struct job *job = step->job;
    account_remove(a->cell, &job->spec, job_accounted(job));
    job->spec.limit = next->limit;
    job->spec.replicas = next->replicas;
    job->spec.priority = next->priority;
    job->spec_hash = spec_row_hash(&job->spec);
    account_add(a->cell, &job->spec, job_accounted(job));
    job_touch(a, job);
    struct event *event = event_add_job(a, EVENT_UPDATED, job);
    str_copy(event->detail, sizeof event->detail, update->text);
    event_by(a, event);
    if (next->replicas > update->replicas)
        steps_add(a, tasks_revive, job, update->replicas, MIN(job->task_count, next->replicas));
    if (next->replicas > job->task_count) {
        steps_add(a, cell_reserve_tasks, job, 0, job->task_count);
        steps_add(a, job_start_tasks, job, job->task_count, next->replicas);
    }
    if (next->replicas < update->replicas)
        steps_add(a, tasks_shrink, job, next->replicas, update->replicas);
    steps_add(a, limits_give, job, 0, 0);
    return true;
}

static void change_begin(struct apply *a, struct job *job)
{
    struct update *update = a->work;
    CLEANUP(buf_release) struct buf text = {0};
    update_print(&text, job, &update->resize.next);
    str_copy(update->text, sizeof update->text, buf_text(&text));
    update->replicas = job->spec.replicas;
    if (update->is_resized)
        resize_begin(a, job);
    steps_add(a, job_change, job, 0, 0);
}

/* All machines have promised, or one cannot. */
static bool promises_end(struct apply *a, struct apply_step *step)
{
    struct update *update = a->work;
    struct job *job = step->job;
    if (update->unsound == UNSOUND_NONE) {
        steps_add(a, promises_note, job, 0, job->task_count);
        change_begin(a, job);
        return true;
    }
    steps_add(a, tasks_unpromise, job, 0, job->task_count);
    struct err err;
    err_set(&err, ERR_STATE,
            "priority: machine \"%s\" cannot promise \"%s/%u\" its limit: it has room that "
            "production there does not use now; kill the job and submit it anew",
            task_holder(a->cell, &job->tasks[update->unsound])->name, job->spec.name,
            update->unsound);
    answer_refuse(a, err.code, "job \"%s\": %s", job->spec.name, err.msg);
    return true;
}

static void prod_begin(struct apply *a, struct job *job, bool is_prod)
{
    steps_add(a, is_prod ? tasks_promise : tasks_unpromise, job, 0, job->task_count);
    if (is_prod)
        steps_add(a, promises_look, job, 0, job->task_count);
    steps_add(a, promises_end, job, 0, 0);
}

static bool job_ask(struct apply *a, struct apply_step *step)
{
    struct update *update = a->work;
    const struct job_spec *next = &update->resize.next;
    struct job *job = step->job;
    struct err err;
    if (job_update_may(a->cell, a->cmd->user, job, &update->resize, &err) != 0)
        answer_refuse(a, err.code, "job \"%s\": %s", job->spec.name, err.msg);
    else if (next->replicas == job->spec.replicas && next->priority == job->spec.priority &&
             !update->is_resized)
        answer_say(a, "job \"%s\" is so already: %u replicas, priority %u", job->spec.name,
                   next->replicas, next->priority);
    else if (is_prod_change(job, next))
        prod_begin(a, job, priority_is_prod(next->priority));
    else
        change_begin(a, job);
    return true;
}

void apply_job_update(struct apply *a, const struct cmd_job_update *body)
{
    struct job *job = job_to_update(a, body->name);
    struct err err;
    if (job == NULL)
        return;
    struct update *update = xcalloc(1, sizeof *update);
    a->work = update;
    if (job_update_valid(a->cell, job, body, &update->resize.next, &err) != 0) {
        answer_refuse(a, err.code, "job \"%s\": %s", body->name, err.msg);
        return;
    }
    update->unsound = UNSOUND_NONE;
    update->is_resized = is_resized(job, &update->resize.next);
    if (update->is_resized)
        resize_look(a, job, &update->resize);
    steps_add(a, job_ask, job, 0, 0);
}
