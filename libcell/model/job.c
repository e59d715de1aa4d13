/*
 * job.c - jobs are submitted, killed, die, and are forgotten.
 */
#include "cell_write.h"

#include <string.h>

bool job_is_dead(const struct job *job)
{
    bool may_grow = job->spec.every_machine && !job->killed;
    return !may_grow &&
           job->counts[TASK_PENDING] + job->counts[TASK_ASSIGNED] + job->counts[TASK_RUNNING] == 0;
}

const struct resources *task_limit(const struct job *job, const struct task *task)
{
    ASSERT(task_job(task->id).v == job->id.v);
    uint32_t old = task->shape - SPEC_SHAPES_MAX;
    if (task->shape < SPEC_SHAPES_MAX)
        return spec_shape(&job->spec, task->shape);
    ASSERT(old < job->limit_old_count);
    return &job->limits_old[old];
}

bool job_may_disrupt(const struct job *job, const struct task *task, uint32_t count)
{
    uint32_t max = job->spec.disruptions_max;
    return max == 0 || task_is_disrupted(task) || job->disrupted + count < max;
}

bool job_binds(const struct job *job, const struct job *other)
{
    return strcmp(job->spec.user, other->spec.user) == 0 ||
           other->spec.priority < job->spec.priority;
}

const char *job_state_text(const struct job *job)
{
    if (job_is_dead(job)) {
        /* One failed task makes the job what people will look into. */
        if (job->killed)
            return "killed";
        return job->counts[TASK_FAILED] > 0 ? "failed" : "finished";
    }
    if (job->killed)
        return "stopping";
    if (job->counts[TASK_RUNNING] > 0)
        return "running";
    return job->counts[TASK_PENDING] + job->counts[TASK_ASSIGNED] > 0 ? "pending" : "idle";
}

struct resources task_kept(const struct job *job, const struct task *task)
{
    struct resources kept = *task_limit(job, task);
    for (int r = 0; r < RECLAIM_COUNT; r++)
        kept.v[r] -= reserve_reclaimed(&task->reserves[r], kept.v[r]);
    return kept;
}

int spec_settle(const struct cell *cell, struct job_spec *spec, struct err *err)
{
    const struct resource_names asked = spec->resource_names;
    int rc = resources_translate(&spec->limit, &asked, &cell->resource_names, 0, err);
    for (uint32_t i = 0; rc == 0 && i < spec->alternative_count; i++)
        rc = resources_translate(&spec->alternatives[i], &asked, &cell->resource_names, 0, err);
    if (rc != 0)
        return err_wrap(err, "task.resources");
    struct resources most = spec_limit_max(spec);
    spec->resource_names = cell->resource_names;
    for (int i = 0; i < RESOURCES_NAMED_MAX; i++)
        if (most.v[RES_NAMED + i] == 0)
            str_copy(spec->resource_names.text[i], sizeof spec->resource_names.text[i], "");
    return 0;
}

/* The name of a live job is taken; that of an ended one stays its user's for as long as the cell
 * remembers the job. Only an operator may take it. */
static int name_check(const struct cell *cell, const char *by, const struct job_spec *spec,
                      struct err *err)
{
    const struct job *old = cell_job_named(cell, spec->name);
    if (old != NULL && !job_is_dead(old))
        return err_set(err, ERR_EXISTS,
                       "job \"%s\" of user \"%s\" exists and is live; %schoose another name",
                       spec->name, old->spec.user,
                       strcmp(old->spec.user, spec->user) == 0 ? "kill it first or " : "");
    if (old != NULL && strcmp(old->spec.user, spec->user) != 0 && by[0] != '\0' &&
        !cell_user_is(cell, by, RIGHT_OPERATOR))
        return err_set(
            err, ERR_EXISTS,
            "job \"%s\" was a job of user \"%s\", and the name stays with that user while "
            "the cell remembers it; choose another name",
            spec->name, old->spec.user);
    return 0;
}

/* Memory of a large job is given back, a page of it at a time. */
static uint64_t forget_units(const struct job *job)
{
    return 1 + job->task_count / 64;
}

static void job_forget(struct apply *a, struct job *job)
{
    units_spend(a, forget_units(job));
    struct event *event = event_add_job(a, EVENT_FORGOTTEN, job);
    str_copy(event->detail, sizeof event->detail, job->spec.name);
    changes_note_forgotten(a->changes, job->id);
    cell_remove_job(a->cell, job);
}

/* A submission under way. */
struct submit {
    struct job_spec spec; /* settled; borrows the words of the command's */
    struct job *job;      /* NULL: not yet */
    bool wanted[];        /* of a job on every machine: on which it is, by id - 1 */
};

/* What is remembered of a name is of one user: when an operator takes it, the others' jobs of that
 * name are forgotten. */
static bool names_forget(struct apply *a, struct apply_step *step)
{
    const struct submit *submit = a->work;
    for (struct list *next; step_goes_on(a, step); step->place = next, step->at++) {
        struct job *job = CONTAINER_OF(step->place, struct job, dead_own);
        next = step->place->next;
        units_spend(a, 1);
        if (strcmp(job->spec.name, submit->spec.name) == 0)
            job_forget(a, job); /* the account goes with the last of its jobs */
    }
    return step->at == step->to;
}

static void names_look(struct apply *a, const struct job_spec *spec)
{
    const struct job *old = cell_job_named(a->cell, spec->name);
    if (old == NULL || strcmp(old->spec.user, spec->user) == 0)
        return;
    const struct account *account = namemap_get(&a->cell->accounts_by_user, old->spec.user);
    steps_add(a, names_forget, NULL, 0, (uint32_t)account->dead_jobs)->place = account->dead.next;
}

/* Settles the spec; user `by` submits it, or the cell itself. */
static int job_submit_valid(const struct cell *cell, const char *by, struct job_spec *spec,
                            struct err *err)
{
    int rc = spec_valid(spec, err);
    if (rc == 0)
        rc = spec_settle(cell, spec, err);
    if (rc != 0)
        return rc;
    if (spec->user[0] == '\0')
        return err_set(err, ERR_INVALID, "user: is missing; it comes with the certificate");
    rc = name_check(cell, by, spec, err);
    if (rc != 0)
        return rc;
    if (cell->live_tasks + spec->replicas > CELL_TASKS_MAX)
        return err_set(err, ERR_LIMIT,
                       "job \"%s\": the cell has %" PRIu64 " live tasks, %u more would exceed %d; "
                       "kill jobs or ask for fewer replicas",
                       spec->name, cell->live_tasks, spec->replicas, CELL_TASKS_MAX);
    if (cell->job_count >= CELL_JOBS_MAX)
        return err_set(err, ERR_LIMIT, "job \"%s\": the cell has %d jobs, no more are allowed",
                       spec->name, CELL_JOBS_MAX);
    return spec->every_machine ? system_check(cell, spec, err) : 0;
}

/* May its user have so many tasks now? */
static int job_submit_may(const struct cell *cell, const char *by, const struct job_spec *spec,
                          uint32_t tasks, struct err *err)
{
    int over = alloc_set_check(cell, spec, err);
    if (over == 0)
        over = band_check(cell, by, spec, err);
    if (over == 0)
        over = share_check(cell, by, spec, 1, spec->replicas, err);
    if (over == 0)
        over = quota_check(cell, spec, tasks, NULL, err);
    if (over == 0)
        over = asks_check(cell, spec, err);
    return over == 0 ? 0 : err_wrap(err, "job \"%s\"", spec->name);
}

/* New rows are not moves: their hashes are added here, their sums by cell_grow_job(). */
static void tasks_start(struct apply *a, struct job *job, uint32_t count)
{
    uint32_t from = job->task_count;
    cell_grow_job(a->cell, job, from + count);
    job_touch(a, job);
    for (uint32_t i = from; i < job->task_count; i++) {
        struct task *task = &job->tasks[i];
        task->changed_ms = a->cell->now_ms;
        task->row_hash = task_row_hash(task);
        a->cell->digest_sum += task->row_hash;
        job->tasks_hash += task->row_hash;
        changes_note_task(a->changes, task->id);
    }
}

void job_add_replica(struct apply *a, struct job *job)
{
    job->spec.replicas++;
    job->spec_hash = spec_row_hash(&job->spec);
    account_add(a->cell, &job->spec, 1);
    tasks_start(a, job, 1);
}

bool job_start_tasks(struct apply *a, struct apply_step *step)
{
    uint32_t count = MIN(step->to - step->at, a->units);
    tasks_start(a, step->job, count);
    units_spend(a, count);
    step->at += count;
    return step->at == step->to;
}

static bool job_judge(struct apply *a, struct apply_step *step)
{
    struct submit *submit = a->work;
    step->at = system_judge(a, &submit->spec, step->at, submit->wanted);
    return step->at == step->to;
}

static bool job_start_system(struct apply *a, struct apply_step *step)
{
    struct submit *submit = a->work;
    step->at = system_start(a, submit->job, step->at, submit->wanted);
    return step->at == step->to;
}

static bool job_count_asked(struct apply *a, struct apply_step *step)
{
    return asks_count(a->cell, step->job, &a->units);
}

static bool job_submitted(struct apply *a, struct apply_step *step UNUSED)
{
    const struct job *job = ((const struct submit *)a->work)->job;
    struct event *event = event_add_job(a, EVENT_SUBMITTED, job);
    event_by(a, event);
    a->answer->job = job->id;
    uint32_t tasks = job_accounted(job);
    const char *where = job->spec.every_machine ? ", one on each machine it may be on" : "";
    answer_say(a, "job \"%s\" is submitted with %u task%s%s", job->spec.name, tasks,
               tasks == 1 ? "" : "s", where);
    return true;
}

/* Its first task comes in the same piece: a job without any would be taken for one that is dead. */
static bool job_add(struct apply *a, struct apply_step *step UNUSED)
{
    struct submit *submit = a->work;
    const struct job_spec *spec = &submit->spec;
    struct job *job = cell_add_job(a->cell, (job_id){a->cell->next_job++}, spec);
    submit->job = job;
    asks_add(a->cell, job);
    job->submitted_ms = a->cell->now_ms;
    job_touch(a, job);
    steps_add(a, cell_reserve_tasks, job, 0, 0);
    steps_add(a, job_start_tasks, job, 0, spec->replicas);
    if (spec->every_machine)
        steps_add(a, job_start_system, job, 0, spec->replicas);
    steps_add(a, job_count_asked, job, 0, 0);
    steps_add(a, job_submitted, job, 0, 0);
    return true;
}

static bool job_ask(struct apply *a, struct apply_step *step)
{
    struct submit *submit = a->work;
    uint32_t tasks = step->to;
    struct err err;
    for (uint32_t m = 0; submit->spec.every_machine && m < submit->spec.replicas; m++)
        tasks -= !submit->wanted[m];
    if (job_submit_may(a->cell, a->cmd->user, &submit->spec, tasks, &err) != 0) {
        answer_refuse(a, err.code, "%s", err.msg);
        return true;
    }
    names_look(a, &submit->spec);
    steps_add(a, job_add, NULL, 0, 0);
    return true;
}

void apply_job_submit(struct apply *a, const struct job_spec *body)
{
    uint32_t machines = body->every_machine ? a->cell->machine_count : 0;
    struct submit *submit = xcalloc(1, sizeof *submit + machines);
    struct job_spec *spec = &submit->spec;
    struct err err;
    a->work = submit;
    *spec = *body;
    if (a->cmd->user[0] != '\0')
        str_copy(spec->user, sizeof spec->user, a->cmd->user);
    if (spec->every_machine)
        spec->replicas = a->cell->machine_count;
    if (job_submit_valid(a->cell, a->cmd->user, spec, &err) != 0) {
        answer_refuse(a, err.code, "%s", err.msg);
        return;
    }
    if (spec->every_machine)
        steps_add(a, job_judge, NULL, 0, spec->replicas);
    steps_add(a, job_ask, NULL, 0, spec->replicas);
}

uint64_t task_stop_units(const struct cell *cell, const struct job *job, const struct task *task)
{
    bool walks = job->spec.is_alloc_set && task_is_live(task);
    return walks ? 1 + machine_find(cell, task->machine)->task_count : 1;
}

static bool tasks_kill(struct apply *a, struct apply_step *step)
{
    struct job *job = step->job;
    for (; step_goes_on(a, step); step->at++) {
        struct task *task = &job->tasks[step->at];
        units_spend(a, task_stop_units(a->cell, job, task));
        if (task->state == TASK_PENDING)
            task_end(a, task, TASK_KILLED, CAUSE_KILLED, task->exit_code);
        else if (task_is_live(task))
            task_stop(a, task, CAUSE_KILLED);
    }
    if (step->at < step->to)
        return false;
    if (job_is_dead(job) && list_empty(&job->dead))
        cell_add_dead(a->cell, job); /* on every machine, and nothing of it was pending or live */
    return true;
}

void apply_job_kill(struct apply *a, const struct cmd_job_kill *body)
{
    struct job *job = namemap_get(&a->cell->jobs_by_name, body->name);
    if (job == NULL) {
        answer_refuse(a, ERR_NOT_FOUND, "no job \"%s\"", body->name);
        return;
    }
    a->answer->job = job->id;
    if (job_is_dead(job)) {
        answer_refuse(a, ERR_STATE, "job \"%s\" of %s is %s already", body->name, job->spec.user,
                      job_state_text(job));
        return;
    }
    if (job->killed) {
        answer_say(a, "job \"%s\" of %s is being killed already", body->name, job->spec.user);
        return;
    }
    uint32_t pending = job->counts[TASK_PENDING];
    uint32_t live = job->counts[TASK_ASSIGNED] + job->counts[TASK_RUNNING];
    job->killed = true;
    list_remove(&job->system);
    job_touch(a, job);
    /* It stands for its pending tasks too. */
    struct event *event = event_add_job(a, EVENT_KILLING, job);
    event->cause = CAUSE_KILLED;
    event_by(a, event);
    steps_add(a, tasks_kill, job, 0, job->task_count);
    answer_say(a, "job \"%s\" of %s is killed (pending: %u, told to stop: %u)", body->name,
               job->spec.user, pending, live);
}

bool job_forget_old(struct apply *a)
{
    while (a->cell->dead_job_count > CELL_JOBS_DEAD_MAX && a->units > 0)
        job_forget(a, CONTAINER_OF(account_most_dead(a->cell)->dead.next, struct job, dead_own));
    return a->cell->dead_job_count <= CELL_JOBS_DEAD_MAX;
}
