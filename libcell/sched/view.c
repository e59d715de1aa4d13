/*
 * view.c - keeping the scheduler's copy in step with deltas and with its own decisions.
 */
#include "allocs.h"

#include <stdlib.h>
#include <string.h>

void view_init(struct view *view)
{
    *view = (struct view){0};
    list_init(&view->jobs);
    list_init(&view->system_jobs);
    list_init(&view->blocked);
    list_init(&view->unsaid);
    list_init(&view->matches);
    list_init(&view->axes);
    list_init(&view->sets);
    for (int p = 0; p <= PRIORITY_MAX; p++)
        list_init(&view->levels[p].turns);
}

static void improve(struct view *view, uint32_t machine)
{
    view->improvements++;
    if (view->improved[machine])
        return;
    view->improved[machine] = true;
    view->improved_list[view->improved_count++] = machine;
}

/* Whoever remembers something about this machine looks again. */
static void touch(struct view *view, uint32_t machine)
{
    view->stamp[machine] = ++view->stamp_last;
    view->changed[view->stamp_last % VIEW_CHANGES] = machine;
}

void view_set_precious(struct view *view, uint32_t machine, uint32_t precious)
{
    if (view->traits[machine].precious == precious)
        return;
    view->traits[machine].precious = precious;
    touch(view, machine);
}

/* Room, score and stamp of a machine whose total, used or state changed. */
static void machine_derive(struct view *view, uint32_t m)
{
    int64_t spare = 0;
    for (enum resource r = 0; r < RES_COUNT; r++) {
        if (view->total[r] == NULL)
            continue;
        spare += view_normal(view, r, view->up[m] ? view->room[r][m] : -1);
    }
    view->traits[m].spare = spare;
    if (view->gpu_most != NULL) {
        struct devices devices = view_devices(view, m);
        view->gpu_most[m] = devices_most_milli(&devices);
    }
    lean_derive(view, m);
    touch(view, m);
}

/* Leftovers of different resources are added as shares of the largest machine's amounts. */
static void rescale(struct view *view)
{
    for (int r = 0; r < RES_COUNT; r++) {
        view->shift[r] = 0;
        while (view->total_max[r] >> view->shift[r] >= INT64_C(1) << VIEW_PRECISION_BITS)
            view->shift[r]++;
        int64_t top = view->total_max[r] >> view->shift[r];
        view->factor[r] = top == 0 ? 0 : (INT64_C(1) << VIEW_NORMAL_BITS) / top;
    }
    for (uint32_t m = 0; m < view->machine_count; m++)
        machine_derive(view, m);
}

static void grow_column(void *column, uint32_t old_count, uint32_t count, size_t size)
{
    char **bytes = column;
    *bytes = xrealloc(*bytes, count, size);
    memset(*bytes + old_count * size, 0, (count - old_count) * size);
}

static void resource_grow(struct view *view, enum resource r, uint32_t old, uint32_t now)
{
    grow_column(&view->total[r], old, now, sizeof(int64_t));
    grow_column(&view->room[r], old, now, sizeof(int64_t));
    grow_column(&view->evictable[r], old, now, sizeof(int64_t));
    if (r == RES_GPU)
        grow_column(&view->gpu_most, old, now, sizeof(int64_t));
}

static void tasks_grow(struct view *view, uint32_t count)
{
    struct list *tasks = xcalloc(count, sizeof *tasks);
    for (uint32_t m = 0; m < view->machine_count; m++)
        list_replace(&view->tasks[m], &tasks[m]);
    free(view->tasks);
    view->tasks = tasks;
}

static void machines_grow(struct view *view, uint32_t count)
{
    uint32_t old = view->machine_capacity;
    if (count > old) {
        uint32_t now = MAX(count, MAX(old * 2, 16U));
        for (enum resource r = 0; r < RES_COUNT; r++)
            if (r < RES_PORTS || view->total[r] != NULL)
                resource_grow(view, r, old, now);
        grow_column(&view->up, old, now, sizeof(bool));
        grow_column(&view->draining, old, now, sizeof(bool));
        grow_column(&view->sick, old, now, sizeof(bool));
        grow_column(&view->gone, old, now, sizeof(bool));
        grow_column(&view->budgeted, old, now, sizeof(uint32_t));
        grow_column(&view->traits, old, now, sizeof(struct trait));
        grow_column(&view->stamp, old, now, sizeof(uint64_t));
        grow_column(&view->improved, old, now, sizeof(bool));
        tasks_grow(view, now);
        grow_column(&view->improved_list, old, now, sizeof(uint32_t));
        grow_column(&view->candidate, old, now, sizeof(bool));
        grow_column(&view->candidate_list, old, now, sizeof(uint32_t));
        grow_column(&view->facts, old, now, sizeof(struct facts *));
        for (int r = 0; r < RECLAIM_COUNT && view->promised[r] != NULL; r++)
            grow_column(&view->promised[r], old, now, sizeof(int64_t));
        places_grow(view, old, now);
        view->machine_capacity = now;
    }
    for (uint32_t m = view->machine_count; m < count; m++) {
        list_init(&view->tasks[m]);
        machine_derive(view, m);
        places_machine(view, m);
    }
    view->machine_count = MAX(view->machine_count, count);
}

static void set_woken(struct view *view, struct view_job *job, bool woken)
{
    view->woken += woken;
    view->woken -= job->woken;
    job->woken = woken;
}

/*
 * A task of the job left, or its machine's value changed: where its spread was full there may be
 * room now, and on any machine of that value. So it is to be looked at again, and everywhere.
 */
static void value_freed(struct view *view, struct view_job *job)
{
    if (job->has_max)
        view_reconsider(view, job, VIEW_NO_MACHINE);
}

static void recount_list(struct view *view, const struct list *tasks, uint32_t m, int change)
{
    LIST_EACH(l, tasks)
    {
        struct view_task *task = CONTAINER_OF(l, struct view_task, link);
        if (task->machine != m)
            continue;
        places_count(view, task->job, m, change);
        if (change < 0)
            value_freed(view, task->job);
    }
}

/* What is inside an alloc may be here and the alloc itself, as far as is assumed, elsewhere. */
static void recount(struct view *view, uint32_t m, int change)
{
    recount_list(view, &view->tasks[m], m, change);
    LIST_EACH(l, &view->sets)
    {
        const struct view_set *set = CONTAINER_OF(l, struct view_set, link);
        for (uint32_t i = 0; i < set->alloc_capacity; i++)
            recount_list(view, &set->allocs[i].tasks, m, change);
    }
}

/* What is said or known of the machine changed: those who may lie in allocs there look again. */
static void tell_sets(struct view *view, uint32_t m)
{
    LIST_EACH(l, &view->tasks[m])
    {
        struct view_set *set = CONTAINER_OF(l, struct view_task, link)->job->allocs;
        if (set != NULL)
            allocs_tell(view, set);
    }
}

/* True when it says something new. */
static bool take_facts(struct view *view, uint32_t m, const struct machine *row)
{
    struct facts *facts = view->facts[m];
    bool is_new = facts == NULL; /* then nothing is there yet */
    bool is_named = !is_new && strcmp(facts->name, row->name) == 0;
    if (is_named && words_same(&facts->attributes, &row->attributes))
        return false;
    if (!is_new)
        recount(view, m, -1);
    if (!is_named) { /* the row of one that was removed is another machine's */
        size_t name_size = strlen(row->name) + 1;
        if (!is_new)
            words_release(&facts->attributes);
        free(facts);
        facts = view->facts[m] = xcalloc(1, sizeof *facts + name_size);
        str_copy(facts->name, name_size, row->name);
    }
    words_release(&facts->attributes);
    facts->attributes = words_copy(&row->attributes);
    places_machine(view, m);
    touch(view, m);
    if (!is_new)
        recount(view, m, 1);
    return true;
}

static void take_machine(struct view *view, const struct machine *row)
{
    uint32_t m = row->id.v - 1;
    bool is_new = m >= view->machine_count, larger = false;
    bool gone = row->state == MACHINE_REMOVED, draining = row->state == MACHINE_UP && row->draining;
    bool sick = row->state == MACHINE_UP && !draining && machine_is_sick(row);
    bool up = row->state == MACHINE_UP && !draining && !sick;
    machines_grow(view, row->id.v);
    bool changed = take_facts(view, m, row) || is_new || view->up[m] != up ||
                   view->draining[m] != draining || view->sick[m] != sick || view->gone[m] != gone;
    view->gone_count = view->gone_count - view->gone[m] + gone;
    view->gone[m] = gone;
    view->up[m] = up;
    view->sick[m] = sick;
    view->draining[m] = draining;
    for (enum resource r = 0; r < RES_COUNT; r++) {
        if (view->total[r] == NULL && row->capacity.v[r] == 0)
            continue;
        if (view->total[r] == NULL)
            resource_grow(view, r, 0, view->machine_capacity);
        changed |= view->total[r][m] != row->capacity.v[r];
        view->room[r][m] += row->capacity.v[r] - view->total[r][m];
        view->total[r][m] = row->capacity.v[r];
        larger |= row->capacity.v[r] > view->total_max[r];
        view->total_max[r] = MAX(view->total_max[r], row->capacity.v[r]);
    }
    if (!changed)
        return;
    view->fleet_version++;
    improve(view, m);
    tell_sets(view, m);
    if (larger)
        rescale(view);
    else
        machine_derive(view, m);
}

const struct resources *view_task_limit(const struct view_task *task)
{
    return &task->job->limits[task->shape];
}

/* To its machine a task in an alloc is something that may have to be spared, and nothing more. */
static void account_inside(struct view *view, const struct view_task *task, int sign)
{
    uint32_t machine = task->machine;
    allocs_account(task, sign);
    if (sign < 0)
        allocs_tell(view, task->job->inside);
    if (!task->job->budgeted)
        return;
    view->budgeted[machine] += (uint32_t)sign;
    view->budgeted_max = MAX(view->budgeted_max, view->budgeted[machine]);
    touch(view, machine);
    if (sign < 0)
        improve(view, machine);
}

/* Count a live task in (+1) or out of (-1) what is kept on its machine. */
static void account(struct view *view, const struct view_task *task, int sign)
{
    const struct view_job *job = task->job;
    const struct resources kept = view_task_kept(task), *limit = view_task_limit(task);
    uint32_t machine = task->machine;
    bool evictable = !priority_is_prod(job->priority);
    if (job->inside != NULL) {
        account_inside(view, task, sign);
        return;
    }
    for (int r = 0; r < RES_COUNT; r++) {
        if (limit->v[r] == 0)
            continue;
        view->room[r][machine] -= sign * kept.v[r];
        if (evictable)
            view->evictable[r][machine] += sign * kept.v[r];
        else if (r < RECLAIM_COUNT && view->promised[r] != NULL)
            view->promised[r][machine] += sign * limit->v[r];
    }
    if (job->budgeted)
        view->budgeted[machine] += (uint32_t)sign;
    view->budgeted_max = MAX(view->budgeted_max, view->budgeted[machine]);
    machine_derive(view, machine);
    if (sign < 0)
        improve(view, machine);
}

void view_add_candidate(struct view *view, uint32_t machine)
{
    if (!view->candidate[machine])
        view->candidate_list[view->candidate_count++] = machine;
    view->candidate[machine] = true;
}

void view_take_improved(struct view *view)
{
    for (uint32_t i = 0; view->woken == 0 && i < view->candidate_count; i++)
        view->candidate[view->candidate_list[i]] = false;
    if (view->woken == 0)
        view->candidate_count = 0;
    for (uint32_t i = 0; i < view->improved_count; i++) {
        uint32_t m = view->improved_list[i];
        view->improved[m] = false;
        view_add_candidate(view, m);
    }
    view->improved_count = 0;
}

static bool ready(const struct view_job *job)
{
    return job->waiting > 0 && !job->blocked;
}

static void waiting_add(struct view *view, struct view_job *job, int change)
{
    bool was_ready = ready(job);
    job->waiting += (uint32_t)change;
    view->waiting += (uint64_t)(int64_t)change;
    if (job->waiting == 0) {
        set_woken(view, job, false);
        job->blocked = false;
        list_remove(&job->blocked_link);
        if (job->stuck == 0)
            list_remove(&job->unsaid);
    }
    if (was_ready != ready(job))
        queue_ready(view, job, was_ready ? -1 : 1);
}

static void stuck_add(struct view *view, struct view_job *job, int change)
{
    job->stuck += (uint32_t)change;
    view->waiting += (uint64_t)(int64_t)change;
    if (job->stuck + job->waiting == 0)
        list_remove(&job->unsaid);
}

void view_block(struct view *view, struct view_job *job)
{
    ASSERT(ready(job));
    job->blocked = true;
    list_push(&view->blocked, &job->blocked_link);
    /* Who was woken in vain has its reason; counting again for each would cost more than waking. */
    bool again = job->woken || job->gang;
    if ((!again || job->reason[0] == '\0') && list_empty(&job->unsaid))
        list_push(&view->unsaid, &job->unsaid);
    set_woken(view, job, false);
    queue_ready(view, job, -1);
}

void view_unblock(struct view *view, struct view_job *job)
{
    ASSERT(job->blocked);
    job->blocked = false;
    list_remove(&job->blocked_link);
    if (ready(job)) {
        set_woken(view, job, !job->gang); /* some of a gang fit elsewhere */
        queue_ready(view, job, 1);
    }
}

/* A job on every machine is not blocked as a whole: its tasks are stuck one by one. */
static void unstick(struct view *view, struct view_job *job, uint32_t machine)
{
    uint32_t first = machine == VIEW_NO_MACHINE ? 0 : machine;
    uint32_t end = machine == VIEW_NO_MACHINE ? job->task_count : machine + 1;
    for (uint32_t i = first; i < MIN(end, job->task_count); i++)
        if (job->tasks[i].state == VIEW_STUCK)
            view_unstick(view, &job->tasks[i]);
}

void view_reconsider(struct view *view, struct view_job *job, uint32_t machine)
{
    if (job->every_machine) {
        unstick(view, job, machine);
        return;
    }
    if (machine != VIEW_NO_MACHINE && (job->blocked || job->woken))
        view_add_candidate(view, machine);
    if (job->blocked && list_empty(&job->unsaid)) /* it may wait for something else now */
        list_push(&view->unsaid, &job->unsaid);
    if (job->blocked)
        view_unblock(view, job);
    if (machine == VIEW_NO_MACHINE)
        set_woken(view, job, false);
}

uint32_t view_task_index(const struct view_task *task)
{
    return (uint32_t)(task - task->job->tasks);
}

struct attempt_ref view_attempt(const struct view_task *task)
{
    return (struct attempt_ref){task_id_of(task->job->id, view_task_index(task)), task->attempt};
}

static void task_leave(struct view *view, struct view_task *task)
{
    if (task->state == VIEW_WAITING)
        waiting_add(view, task->job, -1);
    if (task->state == VIEW_STUCK)
        stuck_add(view, task->job, -1);
    if (task->state == VIEW_LIVE) {
        list_remove(&task->link);
        if (!task->stopping)
            account(view, task, -1);
        places_count(view, task->job, task->machine, -1);
        value_freed(view, task->job);
        if (task->job->allocs != NULL)
            allocs_tell(view, task->job->allocs);
        memset(task->reclaimed_percent, 0, sizeof task->reclaimed_percent);
    }
    task->state = VIEW_OVER;
    task->stopping = false;
    task->shape = 0;
}

/* Of `next` its state and, if it is live, where and how. */
static void task_enter(struct view *view, struct view_task *task, const struct view_task *next)
{
    struct view_job *job = task->job;
    task->state = next->state;
    if (next->state == VIEW_WAITING) {
        job->waiting_from = MIN(job->waiting_from, view_task_index(task));
        waiting_add(view, job, 1);
    }
    if (next->state == VIEW_STUCK)
        stuck_add(view, job, 1);
    if (next->state == VIEW_LIVE) {
        ASSERT(next->machine < view->machine_count);
        task->machine = next->machine;
        task->alloc = next->alloc;
        task->shape = next->shape;
        task->devices = next->devices;
        task->stopping = next->stopping;
        list_push(allocs_home(view, task), &task->link);
        places_count(view, job, task->machine, 1);
        if (!task->stopping)
            account(view, task, 1);
        if (job->allocs != NULL)
            allocs_tell(view, job->allocs);
    }
}

/*
 * What evicting costs changes wherever the job has tasks, and may become possible there: unless the
 * budget has been and is enough for as many tasks as any machine has.
 */
static void set_disrupted(struct view *view, struct view_task *task, bool disrupted)
{
    struct view_job *job = task->job;
    if (task->disrupted == disrupted)
        return;
    task->disrupted = disrupted;
    job->disrupted += disrupted ? 1 : -1U;
    if (!job->budgeted || job->disrupted + view->budgeted_max < job->disruptions_max)
        return;
    for (uint32_t i = 0; i < job->task_count; i++) {
        const struct view_task *other = &job->tasks[i];
        if (other->state != VIEW_LIVE || other->stopping)
            continue;
        touch(view, other->machine);
        if (!disrupted)
            improve(view, other->machine);
    }
}

void view_stick(struct view *view, struct view_task *task)
{
    ASSERT(task->state == VIEW_WAITING);
    task_enter(view, task, &(struct view_task){.state = VIEW_STUCK});
    waiting_add(view, task->job, -1);
    if (list_empty(&task->job->unsaid))
        list_push(&view->unsaid, &task->job->unsaid);
}

void view_unstick(struct view *view, struct view_task *task)
{
    ASSERT(task->state == VIEW_STUCK);
    task_leave(view, task);
    task_enter(view, task, &(struct view_task){.state = VIEW_WAITING});
}

void view_place(struct view *view, struct view_task *task, uint32_t machine, uint32_t alloc,
                uint32_t shape)
{
    struct devices free = task->job->inside == NULL
                              ? view_devices(view, machine)
                              : allocs_room(allocs_get(task->job, alloc)).devices;
    const struct view_task next = {
        .state = VIEW_LIVE,
        .machine = machine,
        .alloc = alloc,
        .shape = (uint8_t)shape,
        .devices = devices_choose(&free, task->job->limits[shape].v[RES_GPU]),
    };
    ASSERT(task->state == VIEW_WAITING);
    task_leave(view, task);
    task->attempt++;
    task_enter(view, task, &next);
}

static void stop(struct view *view, struct view_task *task)
{
    ASSERT(task->state == VIEW_LIVE);
    ASSERT(!task->stopping);
    task->stopping = true;
    account(view, task, -1);
    set_disrupted(view, task, true);
}

static void unstop(struct view *view, struct view_task *task, bool disrupted)
{
    ASSERT(task->stopping);
    task->stopping = false;
    account(view, task, 1);
    set_disrupted(view, task, disrupted);
}

void view_stop(struct view *view, struct view_task *task)
{
    struct list *inside = allocs_inside(task);
    if (inside != NULL && list_empty(inside)) { /* nothing to wait for */
        task_leave(view, task);
        set_disrupted(view, task, true);
        task_enter(view, task, &(struct view_task){.state = VIEW_WAITING});
        return;
    }
    stop(view, task);
    for (struct list *l = inside; l != NULL && (l = l->next) != inside;) {
        struct view_task *other = CONTAINER_OF(l, struct view_task, link);
        other->swept = !other->stopping;
        other->was_disrupted = other->disrupted;
        if (other->swept)
            stop(view, other);
    }
}

void view_unplace(struct view *view, struct view_task *task)
{
    ASSERT(task->state == VIEW_LIVE);
    list_remove(&task->link);
    account(view, task, -1);
    places_count(view, task->job, task->machine, -1);
    task->attempt--;
    task->shape = 0;
    task_enter(view, task, &(struct view_task){.state = VIEW_WAITING});
}

void view_unstop(struct view *view, struct view_task *task, bool disrupted)
{
    struct list *inside = allocs_inside(task);
    if (task->state == VIEW_WAITING) {
        struct view_task was = *task; /* but for the state it is as it was */
        was.state = VIEW_LIVE;
        task_leave(view, task);
        task_enter(view, task, &was);
        set_disrupted(view, task, disrupted);
        return;
    }
    unstop(view, task, disrupted);
    for (struct list *l = inside; l != NULL && (l = l->next) != inside;) {
        struct view_task *other = CONTAINER_OF(l, struct view_task, link);
        if (other->swept)
            unstop(view, other, other->was_disrupted);
    }
}

void view_unimprove(struct view *view, uint32_t improved_count)
{
    while (view->improved_count > improved_count)
        view->improved[view->improved_list[--view->improved_count]] = false;
}

struct view_task *view_first_waiting(struct view_job *job)
{
    ASSERT(job->waiting > 0);
    while (job->tasks[job->waiting_from].state != VIEW_WAITING)
        job->waiting_from++;
    return &job->tasks[job->waiting_from];
}

struct view_job *view_job_find(const struct view *view, job_id id)
{
    return id.v == 0 ? NULL : idmap_get(&view->jobs_by_id, id.v);
}

/* Would evicting from such a job be bounded by its budget? What is inside goes with its alloc,
 * whatever its own priority. */
static bool is_budgeted(const struct job_row *row)
{
    uint32_t max = row->spec.disruptions_max;
    bool may_go = !priority_is_prod(row->spec.priority) || row->spec.alloc_set[0] != '\0';
    return max != 0 && max < row->spec.replicas && may_go;
}

/* Rows for all its tasks. A job on every machine grows one by one: they move when doubled. */
static void tasks_reserve(struct view_job *job, uint32_t count)
{
    if (job->tasks == NULL || count > job->task_capacity) {
        job->task_capacity = MAX(MAX(count, 1U), job->every_machine ? 2 * job->task_capacity : 0);
        struct view_task *tasks = xcalloc(job->task_capacity, sizeof *tasks);
        for (uint32_t i = 0; i < job->task_count; i++) {
            tasks[i] = job->tasks[i];
            list_replace(&job->tasks[i].link, &tasks[i].link);
        }
        free(job->tasks);
        job->tasks = tasks;
    }
    for (; job->task_count < count; job->task_count++) {
        job->tasks[job->task_count].job = job;
        list_init(&job->tasks[job->task_count].link);
    }
}

/* Something is reclaimed for the first time: until now what is promised was kept, too. */
static void promises_begin(struct view *view)
{
    for (int r = 0; r < RECLAIM_COUNT; r++) {
        grow_column(&view->promised[r], 0, view->machine_capacity, sizeof(int64_t));
        for (uint32_t m = 0; m < view->machine_count; m++)
            view->promised[r][m] = view->total[r][m] - view->room[r][m] - view->evictable[r][m];
    }
}

/* What is reclaimed from a task that is live. */
static void set_reclaimed(struct view *view, struct view_task *task, const struct task *row)
{
    bool same = true, some = false;
    for (int r = 0; r < RECLAIM_COUNT; r++) {
        same &= task->reclaimed_percent[r] == row->reserves[r].reclaimed_percent;
        some |= row->reserves[r].reclaimed_percent > 0;
    }
    if (same || task->state != VIEW_LIVE)
        return;
    if (some && view->promised[0] == NULL)
        promises_begin(view);
    if (!task->stopping)
        account(view, task, -1);
    for (int r = 0; r < RECLAIM_COUNT; r++)
        task->reclaimed_percent[r] = (uint8_t)row->reserves[r].reclaimed_percent;
    if (!task->stopping)
        account(view, task, 1);
}

/* Of a large job that comes or grows the rows of tasks come with several deltas: there is room for
 * all of them from the first on. */
static uint32_t rows_of(const struct job_row *row)
{
    return MAX(row->task_count, row->spec.replicas);
}

static struct view_job *job_add(struct view *view, const struct job_row *row)
{
    struct view_job *job = xcalloc(1, sizeof *job);
    job->id = row->id;
    job->priority = row->spec.priority;
    job->follows_cell = row->spec.policy == POLICY_OF_CELL;
    job->policy = job->follows_cell ? view->policy : row->spec.policy;
    job->replicas = row->spec.replicas;
    job->gang = row->spec.gang;
    job->shape_count = spec_shape_count(&row->spec);
    for (uint32_t i = 0; i < job->shape_count; i++)
        job->limits[i] = *spec_shape(&row->spec, i);
    job->limit_old_count = row->limit_old_count;
    memcpy(&job->limits[SPEC_SHAPES_MAX], row->limits_old, sizeof row->limits_old);
    job->disruptions_max = row->spec.disruptions_max;
    job->budgeted = is_budgeted(row);
    job->every_machine = row->spec.every_machine;
    list_init(&job->system);
    if (job->every_machine)
        list_push(&view->system_jobs, &job->system);
    places_add(view, job, &row->spec);
    scarce_count(view, job, 1);
    tasks_reserve(job, rows_of(row));
    list_init(&job->blocked_link);
    list_init(&job->unsaid);
    list_push(&view->jobs, &job->link);
    idmap_put(&view->jobs_by_id, job->id.v, job);
    queue_add(view, job, row->spec.user);
    allocs_add(view, job, &row->spec);
    return job;
}

static void job_remove(struct view *view, struct view_job *job)
{
    for (uint32_t i = 0; i < job->task_count; i++)
        task_leave(view, &job->tasks[i]);
    allocs_remove(view, job);
    queue_remove(view, job);
    scarce_count(view, job, -1);
    places_remove(view, job);
    idmap_remove(&view->jobs_by_id, job->id.v);
    list_remove(&job->blocked_link);
    list_remove(&job->unsaid);
    list_remove(&job->link);
    list_remove(&job->system);
    free(job->tasks);
    free(job);
}

static bool is_resized(const struct view_job *job, const struct job_row *row)
{
    return memcmp(&job->limits[0], &row->spec.limit, sizeof row->spec.limit) != 0 ||
           memcmp(&job->limits[SPEC_SHAPES_MAX], row->limits_old, sizeof row->limits_old) != 0;
}

/* Its place in the queue, who may evict it and how many tasks it has are all in the row: it begins
 * anew, with its tasks as they are; without those that are live and whose limit has become another:
 * their rows come with this one, those of the others perhaps not. */
static struct view_job *job_renew(struct view *view, struct view_job *old,
                                  const struct job_row *row)
{
    uint32_t count = old->task_count;
    struct resources limits[ARRAY_SIZE(old->limits)];
    memcpy(limits, old->limits, sizeof limits);
    CLEANUP(free_ptr) struct view_task *tasks = xcalloc(count, sizeof *tasks);
    memcpy(tasks, old->tasks, count * sizeof *tasks);
    job_remove(view, old);
    struct view_job *job = job_add(view, row);
    ASSERT(job->task_count >= count);
    for (uint32_t i = 0; i < count; i++) {
        struct view_task *task = &job->tasks[i];
        task->attempt = tasks[i].attempt;
        memcpy(task->crashed_on, tasks[i].crashed_on, sizeof task->crashed_on);
        task->disrupted = tasks[i].disrupted;
        job->disrupted += task->disrupted;
        memcpy(task->reclaimed_percent, tasks[i].reclaimed_percent, sizeof task->reclaimed_percent);
        if (tasks[i].state == VIEW_STUCK) /* it may evict more, or ask for less now */
            tasks[i].state = VIEW_WAITING;
        uint32_t shape = tasks[i].shape;
        if (tasks[i].state == VIEW_LIVE &&
            memcmp(&limits[shape], &job->limits[shape], sizeof limits[shape]) != 0)
            tasks[i].state = VIEW_OVER;
        task_enter(view, task, &tasks[i]);
    }
    return job;
}

static void take_job(struct view *view, const struct job_row *row)
{
    struct view_job *job = view_job_find(view, row->id);
    if (row->dead) {
        if (job != NULL)
            job_remove(view, job);
        return;
    }
    if (job == NULL)
        job = job_add(view, row);
    else if (is_resized(job, row) || job->priority != row->spec.priority ||
             job->budgeted != is_budgeted(row) ||
             (job->replicas != row->spec.replicas && !job->every_machine))
        job = job_renew(view, job, row);
    tasks_reserve(job, rows_of(row));
    job->replicas = row->spec.replicas;
    /* A reason that was lost on the way (its command was refused or not committed) is told again.
     */
    bool lost = row->reason[0] == '\0' || strcmp(job->reason, row->reason) != 0;
    if ((job->blocked || job->stuck > 0) && lost && list_empty(&job->unsaid))
        list_push(&view->unsaid, &job->unsaid);
    if (strcmp(job->reason, row->reason) != 0)
        job->reason_kind = 0;
    str_copy(job->reason, sizeof job->reason, row->reason);
    allocs_take(view, job, row);
}

static void take_task(struct view *view, const struct task *row)
{
    struct view_job *job = view_job_find(view, task_job(row->id));
    if (job == NULL)
        return; /* of a job that is dead */
    struct view_task *task = &job->tasks[task_index(row->id)];
    const struct view_task next = {
        .state = task_is_live(row)            ? VIEW_LIVE
                 : row->state != TASK_PENDING ? VIEW_OVER
                 : row->not_before_ms != 0    ? VIEW_HELD
                 : task->state == VIEW_STUCK  ? VIEW_STUCK
                                              : VIEW_WAITING,
        .machine = task_is_live(row) ? row->machine.v - 1 : VIEW_NO_MACHINE,
        .alloc = task_index(row->alloc),
        .shape = (uint8_t)row->shape,
        .devices = row->devices,
        .stopping = row->stopping != CAUSE_NONE,
    };
    bool as_assumed =
        next.state == task->state && next.stopping == task->stopping && next.shape == task->shape &&
        (next.state != VIEW_LIVE || (next.machine == task->machine && next.alloc == task->alloc &&
                                     next.devices == task->devices));
    task->attempt = row->attempt;
    memcpy(task->crashed_on, row->crashed_on, sizeof task->crashed_on);
    if (!as_assumed) {
        task_leave(view, task);
        task_enter(view, task, &next);
    }
    set_reclaimed(view, task, row);
    set_disrupted(view, task, task_is_disrupted(row));
}

static void take_policy(struct view *view, enum policy policy)
{
    view->policy = policy;
    LIST_EACH(l, &view->jobs)
    {
        struct view_job *job = CONTAINER_OF(l, struct view_job, link);
        if (job->follows_cell)
            job->policy = policy;
    }
}

void view_update(struct view *view, const struct delta *delta)
{
    if (delta->full) {
        uint64_t stamp_last = view->stamp_last, match_last = view->match_last;
        uint64_t improvements = view->improvements;
        view_release(view);
        view_init(view);
        view->stamp_last = stamp_last;
        view->match_last = match_last;
        view->improvements = improvements + 1;
    }
    view->resource_names = delta->resource_names;
    if (view->policy != delta->settings.policy)
        take_policy(view, delta->settings.policy);
    for (size_t i = 0; i < delta->forgotten_count; i++) {
        struct view_job *job = view_job_find(view, (job_id){delta->forgotten[i]});
        if (job != NULL)
            job_remove(view, job);
    }
    for (size_t i = 0; i < delta->machine_count; i++)
        take_machine(view, &delta->machines[i]);
    for (size_t i = 0; i < delta->job_count; i++)
        take_job(view, &delta->jobs[i]);
    for (size_t i = 0; i < delta->task_count; i++)
        take_task(view, &delta->tasks[i]);
}

void view_release(struct view *view)
{
    while (!list_empty(&view->jobs))
        job_remove(view, CONTAINER_OF(view->jobs.next, struct view_job, link));
    for (int r = 0; r < RES_COUNT; r++) {
        free(view->total[r]);
        free(view->room[r]);
        free(view->evictable[r]);
    }
    free(view->gpu_most);
    for (int r = 0; r < RECLAIM_COUNT; r++)
        free(view->promised[r]);
    for (uint32_t m = 0; m < view->machine_count; m++) {
        if (view->facts[m] != NULL)
            words_release(&view->facts[m]->attributes);
        free(view->facts[m]);
    }
    free(view->facts);
    free(view->up);
    free(view->draining);
    free(view->sick);
    free(view->gone);
    free(view->budgeted);
    free(view->traits);
    free(view->stamp);
    free(view->improved);
    free(view->tasks);
    free(view->improved_list);
    free(view->candidate);
    free(view->candidate_list);
    idmap_release(&view->jobs_by_id);
    namemap_release(&view->matches_by_key);
    namemap_release(&view->crowds_by_name);
    namemap_release(&view->sets_by_name);
    namemap_release(&view->owners);
    for (int p = 0; p <= PRIORITY_MAX; p++)
        namemap_release(&view->levels[p].queues);
}
