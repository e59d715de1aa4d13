/*
 * job.c - jobs are submitted, changed, killed, die, and are forgotten.
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

static void job_forget(struct apply *a, struct job *job)
{
    struct event *event = event_add(a, EVENT_FORGOTTEN);
    event->job = job->id;
    str_copy(event->detail, sizeof event->detail, job->spec.name);
    changes_note_forgotten(a->changes, job->id);
    cell_remove_job(a->cell, job);
}

/* What is remembered of a name is of one user: when an operator takes it, the others' jobs of that
 * name are forgotten. */
static void names_forget(struct apply *a, const struct job_spec *spec)
{
    const struct job *old = cell_job_named(a->cell, spec->name);
    if (old == NULL || strcmp(old->spec.user, spec->user) == 0)
        return;
    const struct account *account = namemap_get(&a->cell->accounts_by_user, old->spec.user);
    uint64_t count = account->dead_jobs;
    for (struct list *l = account->dead.next, *next; count > 0; l = next, count--) {
        struct job *job = CONTAINER_OF(l, struct job, dead_own);
        next = l->next;
        if (strcmp(job->spec.name, spec->name) == 0)
            job_forget(a, job); /* the account goes with the last of its jobs */
    }
}

/* Settles the spec; user `by` submits it, or the cell itself. `wanted`: for one on every machine,
 * on which it is. */
static int job_submit_valid(const struct cell *cell, const char *by, struct job_spec *spec,
                            bool *wanted, struct err *err)
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
    if (spec->every_machine && system_check(cell, spec, err) != 0)
        return -ERR_LIMIT;
    uint32_t tasks = spec->every_machine ? system_count(cell, spec, wanted) : spec->replicas;
    int over = alloc_set_check(cell, spec, err);
    if (over == 0)
        over = band_check(cell, by, spec, err);
    if (over == 0)
        over = share_check(cell, by, spec, 1, spec->replicas, err);
    if (over == 0)
        over = quota_check(cell, spec, tasks, NULL, err);
    return over == 0 ? 0 : err_wrap(err, "job \"%s\"", spec->name);
}

/* New rows are not moves: their hashes are added here, their sums by cell_add_job(). */
static void tasks_start(struct apply *a, struct job *job, uint32_t from)
{
    for (uint32_t i = from; i < job->task_count; i++) {
        struct task *task = &job->tasks[i];
        task->changed_ms = a->cell->now_ms;
        task->row_hash = task_row_hash(task);
        a->cell->digest_sum += task->row_hash;
        changes_note_task(a->changes, task->id);
    }
}

void apply_job_submit(struct apply *a, const struct job_spec *body)
{
    struct cell *cell = a->cell;
    struct job_spec spec = *body; /* borrows its words */
    if (a->cmd->user[0] != '\0')
        str_copy(spec.user, sizeof spec.user, a->cmd->user);
    if (spec.every_machine)
        spec.replicas = cell->machine_count;
    struct err err;
    CLEANUP(free_ptr)
    bool *wanted = spec.every_machine ? xcalloc((size_t)cell->machine_count + 1, 1) : NULL;
    if (job_submit_valid(cell, a->cmd->user, &spec, wanted, &err) != 0) {
        answer_refuse(a, err.code, "%s", err.msg);
        return;
    }
    names_forget(a, &spec);
    struct job *job = cell_add_job(cell, (job_id){cell->next_job++}, &spec);
    job->submitted_ms = cell->now_ms;
    job_touch(a, job);
    tasks_start(a, job, 0);
    if (spec.every_machine)
        system_start(a, job, wanted);
    struct event *event = event_add(a, EVENT_SUBMITTED);
    event->job = job->id;
    event_by(a, event);
    a->answer->job = job->id;
    uint32_t tasks = job_accounted(job);
    const char *where = spec.every_machine ? ", one on each machine it may be on" : "";
    answer_say(a, "job \"%s\" is submitted with %u task%s%s", spec.name, tasks,
               tasks == 1 ? "" : "s", where);
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
    struct event *event = event_add(a, EVENT_KILLING); /* stands for its pending tasks too */
    event->job = job->id;
    event->cause = CAUSE_KILLED;
    event_by(a, event);
    for (uint32_t i = 0; i < job->task_count; i++) {
        struct task *task = &job->tasks[i];
        if (task->state == TASK_PENDING)
            task_end(a, task, TASK_KILLED, CAUSE_KILLED, task->exit_code);
        else if (task_is_live(task))
            task_stop(a, task, CAUSE_KILLED);
    }
    if (job_is_dead(job) && list_empty(&job->dead))
        cell_add_dead(a->cell, job); /* on every machine, and nothing of it was pending or live */
    answer_say(a, "job \"%s\" of %s is killed (pending: %u, told to stop: %u)", body->name,
               job->spec.user, pending, live);
}

/* The job that is meant, when it may be updated. */
static struct job *job_to_update(struct apply *a, const char *name)
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

static void job_promise(const struct cell *cell, const struct job *job, int sign)
{
    for (uint32_t i = 0; i < job->task_count; i++) {
        struct machine *machine = task_holder(cell, &job->tasks[i]);
        for (int r = 0; r < RES_COUNT && machine != NULL; r++)
            machine->promised.v[r] += sign * task_limit(job, &job->tasks[i])->v[r];
    }
}

/* Its tasks become production, or cease to be. Room that is reclaimed cannot be promised. */
static int job_set_prod(struct apply *a, const struct job *job, bool prod, struct err *err)
{
    job_promise(a->cell, job, prod ? 1 : -1);
    for (uint32_t i = 0; i < job->task_count && prod; i++) {
        const struct machine *machine = task_holder(a->cell, &job->tasks[i]);
        if (machine == NULL || machine_is_sound(machine))
            continue;
        job_promise(a->cell, job, -1);
        return err_set(err, ERR_STATE,
                       "priority: machine \"%s\" cannot promise \"%s/%u\" its limit: it has room "
                       "that production there does not use now; kill the job and submit it anew",
                       machine->name, job->spec.name, i);
    }
    for (uint32_t i = 0; i < job->task_count; i++) {
        struct machine *machine = task_holder(a->cell, &job->tasks[i]);
        if (machine != NULL)
            machine_touch(a, machine);
    }
    return 0;
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

static int job_update_valid(const struct cell *cell, const char *by, const struct job *job,
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
    if (is_resized(job, ret))
        rc = resize_check(cell, job, ret, err);
    if (rc == 0)
        rc = growth_check(cell, by, job, ret, err);
    uint32_t tasks = job->spec.every_machine ? job_accounted(job) : ret->replicas;
    return rc != 0 ? rc : quota_check(cell, ret, tasks, job, err);
}

void job_add_replica(struct apply *a, struct job *job)
{
    job->spec.replicas++;
    job->spec_hash = spec_row_hash(&job->spec);
    account_add(a->cell, &job->spec, 1);
    cell_grow_job(a->cell, job, job->spec.replicas);
    job_touch(a, job);
    tasks_start(a, job, job->spec.replicas - 1);
}

/* Those that are still being killed come back by themselves: see task_stopped_state(). */
static void job_grow(struct apply *a, struct job *job, uint32_t from)
{
    for (uint32_t i = from; i < MIN(job->task_count, job->spec.replicas); i++) {
        if (job->tasks[i].state != TASK_KILLED)
            continue;
        struct task next = job->tasks[i];
        next.state = TASK_PENDING;
        task_forgive(&next);
        task_set(a, &job->tasks[i], &next);
    }
    uint32_t count = job->task_count;
    if (job->spec.replicas <= count)
        return;
    cell_grow_job(a->cell, job, job->spec.replicas);
    tasks_start(a, job, count);
}

static uint32_t job_shrink(struct apply *a, struct job *job, uint32_t to)
{
    uint32_t told = 0;
    for (uint32_t i = job->spec.replicas; i < to; i++) {
        struct task *task = &job->tasks[i];
        if (task->state == TASK_PENDING) {
            task_end(a, task, TASK_KILLED, CAUSE_KILLED, task->exit_code);
        } else if (task_is_live(task) && task->stopping != CAUSE_KILLED) {
            if (told < SHRINK_EVENTS_MAX) /* that of the update stands for the others */
                event_add_task(a, EVENT_KILLING, task, CAUSE_KILLED, 0, "fewer replicas");
            task_stop(a, task, CAUSE_KILLED);
            told++;
        }
    }
    return told;
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

static void job_update(struct apply *a, struct job *job, const struct job_spec *next)
{
    CLEANUP(buf_release) struct buf text = {0};
    uint32_t replicas = job->spec.replicas;
    bool resized = is_resized(job, next);
    update_print(&text, job, next);
    account_remove(a->cell, &job->spec, job_accounted(job));
    if (resized)
        resize_begin(a, job, &next->limit);
    job->spec.replicas = next->replicas;
    job->spec.priority = next->priority;
    job->spec_hash = spec_row_hash(&job->spec);
    account_add(a->cell, &job->spec, job_accounted(job));
    job_touch(a, job);
    struct event *event = event_add(a, EVENT_UPDATED);
    event->job = job->id;
    str_copy(event->detail, sizeof event->detail, buf_text(&text));
    event_by(a, event);
    if (next->replicas > replicas)
        job_grow(a, job, replicas);
    uint32_t told = job_shrink(a, job, MAX(replicas, next->replicas));
    struct resized done = resize_go_on(a, job);
    buf_printf(&text, " (told to stop: %u", told + done.told);
    const char *for_what =
        job->outdated > RESIZE_LOOKS_MAX ? "their turn" : "the disruption budget";
    if (resized)
        buf_printf(&text, ", resized in place: %u, waiting for %s: %u", done.in_place, for_what,
                   job->outdated);
    answer_say(a, "job \"%s\" is updated: %s)", job->spec.name, buf_text(&text));
}

void apply_job_update(struct apply *a, const struct cmd_job_update *body)
{
    struct job *job = job_to_update(a, body->name);
    struct job_spec next;
    struct err err;
    if (job == NULL)
        return;
    if (job_update_valid(a->cell, a->cmd->user, job, body, &next, &err) != 0) {
        answer_refuse(a, err.code, "job \"%s\": %s", body->name, err.msg);
        return;
    }
    if (next.replicas == job->spec.replicas && next.priority == job->spec.priority &&
        !is_resized(job, &next)) {
        answer_say(a, "job \"%s\" is so already: %u replicas, priority %u", body->name,
                   next.replicas, next.priority);
        return;
    }
    bool was_prod = priority_is_prod(job->spec.priority);
    bool is_prod = priority_is_prod(next.priority);
    if (was_prod != is_prod && job_set_prod(a, job, is_prod, &err) != 0) {
        answer_refuse(a, err.code, "job \"%s\": %s", body->name, err.msg);
        return;
    }
    job_update(a, job, &next);
}

void job_forget_old(struct apply *a)
{
    while (a->cell->dead_job_count > CELL_JOBS_DEAD_MAX)
        job_forget(a, CONTAINER_OF(account_most_dead(a->cell)->dead.next, struct job, dead_own));
}
