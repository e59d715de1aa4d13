/*
 * link_diff.c - compares the cell with what a borglet reported. Pure.
 */
#include "link_diff.h"

#include <stdlib.h>
#include <string.h>

enum {
    GRACE_MS_DEFAULT = 10000, /* for attempts whose job is no longer in the cell */
    INTENTS_KEPT_MAX = 4096,  /* intents for which the scratch memory is kept */
};

static int ref_compare(struct attempt_ref a, struct attempt_ref b)
{
    if (a.task.v != b.task.v)
        return a.task.v < b.task.v ? -1 : 1;
    if (a.attempt != b.attempt)
        return a.attempt < b.attempt ? -1 : 1;
    return 0;
}

/* Returns the first ordered position whose attempt is not before `ref`. */
static size_t position_of(const struct link_tasks *tasks, struct attempt_ref ref)
{
    size_t low = 0;
    size_t high = tasks->ordered_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (ref_compare(tasks->items[middle].ref, ref) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void link_tasks_release(struct link_tasks *tasks)
{
    free(tasks->items);
    *tasks = (struct link_tasks){0};
}

static struct link_task *find_ordered(const struct link_tasks *tasks, struct attempt_ref ref)
{
    size_t at = position_of(tasks, ref);
    bool found = at < tasks->ordered_count && ref_compare(tasks->items[at].ref, ref) == 0;
    return found ? &tasks->items[at] : NULL;
}

struct link_task *link_tasks_find(struct link_tasks *tasks, struct attempt_ref ref)
{
    link_tasks_order(tasks);
    return find_ordered(tasks, ref);
}

/* Returns the ordered item of the attempt, or a new one at the end; the end may have several items
 * of one attempt. */
static struct link_task *find_or_append(struct link_tasks *tasks, struct attempt_ref ref)
{
    struct link_task *found = find_ordered(tasks, ref);
    if (found != NULL)
        return found;
    if (tasks->count == tasks->capacity) {
        tasks->capacity = MAX((size_t)8, tasks->capacity * 2);
        tasks->items = xrealloc(tasks->items, tasks->capacity, sizeof *tasks->items);
    }
    struct link_task *lt = &tasks->items[tasks->count];
    *lt = (struct link_task){.ref = ref, .came = (uint32_t)(tasks->count - tasks->ordered_count)};
    bool last = tasks->count == tasks->ordered_count &&
                (tasks->count == 0 || ref_compare(lt[-1].ref, ref) < 0);
    tasks->ordered_count += last;
    tasks->count++;
    return lt;
}

void link_tasks_report(struct link_tasks *tasks, const struct report *report)
{
    struct link_task *lt = find_or_append(tasks, report->task);
    lt->reported = true;
    lt->report = *report;
    lt->proposed_ms = 0;
}

static int came_compare(const void *left, const void *right)
{
    const struct link_task *a = left, *b = right;
    int order = ref_compare(a->ref, b->ref);
    return order != 0 ? order : (a->came > b->came) - (a->came < b->came);
}

/* Keep the last report of each attempt in the ordered items. Returns how many items remain. */
static size_t drop_repeated(struct link_task *items, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        struct link_task *last = kept > 0 ? &items[kept - 1] : NULL;
        if (last == NULL || ref_compare(last->ref, items[i].ref) != 0)
            items[kept++] = items[i];
        else if (items[i].reported)
            *last = items[i];
    }
    return kept;
}

void link_tasks_order(struct link_tasks *tasks)
{
    size_t old = tasks->ordered_count, new = tasks->count - old;
    if (new == 0)
        return;
    struct link_task *came = xcalloc(new, sizeof *came);
    memcpy(came, tasks->items + old, new * sizeof *came);
    qsort(came, new, sizeof *came, came_compare);
    new = drop_repeated(came, new);
    tasks->count = tasks->ordered_count = old + new;
    /* Merge from the end, so that no item is overwritten before it has moved. */
    for (size_t at = tasks->count; new > 0; at--) {
        bool from_old = old > 0 && ref_compare(tasks->items[old - 1].ref, came[new - 1].ref) > 0;
        tasks->items[at - 1] = from_old ? tasks->items[--old] : came[--new];
    }
    free(came);
}

void link_todo_clear(struct link_todo *todo)
{
    /* Intents are large, and few machines get many at once: free the memory. */
    if (todo->intent_capacity > INTENTS_KEPT_MAX) {
        free(todo->intents);
        todo->intents = NULL;
        todo->intent_capacity = 0;
    }
    todo->intent_count = 0;
    todo->report_count = 0;
    todo->unsettled = false;
}

void link_todo_release(struct link_todo *todo)
{
    free(todo->intents);
    free(todo->reports);
    *todo = (struct link_todo){0};
}

static struct intent *add_intent(struct link_todo *todo, enum intent_action action,
                                 struct attempt_ref ref)
{
    if (todo->intent_count == todo->intent_capacity) {
        todo->intent_capacity = MAX((size_t)16, todo->intent_capacity * 2);
        todo->intents = xrealloc(todo->intents, todo->intent_capacity, sizeof *todo->intents);
    }
    struct intent *intent = &todo->intents[todo->intent_count++];
    *intent = (struct intent){.task = ref, .action = action};
    return intent;
}

static void add_report(struct link_todo *todo, const struct report *report)
{
    if (todo->report_count == todo->report_capacity) {
        todo->report_capacity = MAX((size_t)16, todo->report_capacity * 2);
        todo->reports = xrealloc(todo->reports, todo->report_capacity, sizeof *todo->reports);
    }
    todo->reports[todo->report_count++] = *report;
}

static bool has_ended(const struct link_task *lt)
{
    return lt->reported && lt->report.kind != REPORT_RUNNING;
}

/* Returns whether the cell already shows the report of this live task. */
static bool cell_knows(const struct task *task, const struct report *report)
{
    return report->kind == REPORT_RUNNING && task->state == TASK_RUNNING &&
           task->pid == report->pid && memcmp(task->ports, report->ports, sizeof task->ports) == 0;
}

static void diff_live(const struct cell *cell, const struct task *task, struct link_task *lt,
                      bool full, uint64_t now_ms, uint64_t resend_ms, struct link_todo *todo)
{
    if (lt->reported && !cell_knows(task, &lt->report)) {
        todo->unsettled = true;
        if (lt->proposed_ms == 0 || now_ms - lt->proposed_ms >= resend_ms) {
            add_report(todo, &lt->report);
            lt->proposed_ms = now_ms;
        }
    }
    const struct job *job = cell_job(cell, task_job(task->id));
    if (task->stopping != CAUSE_NONE) {
        /* A full set names an ended attempt, too: the borglet drops the record of an attempt that
         * is not named, and the cell has not recorded its end yet. */
        if (full || (!has_ended(lt) && !lt->stop_sent)) {
            struct intent *stop = add_intent(todo, INTENT_STOP, lt->ref);
            stop->cause = task->stopping;
            stop->grace_ms = job->spec.grace_ms;
            lt->stop_sent = true;
        }
        return;
    }
    if (!lt->reported && !lt->run_sent && task->state == TASK_RUNNING) {
        /* The attempt is lost, or was started through another replica whose connection replaced
         * this one. Only the borglet knows which. */
        if (full || !lt->show_sent)
            add_intent(todo, INTENT_SHOW, lt->ref);
        lt->show_sent = true;
        return;
    }
    const struct resources *limit = task_limit(job, task);
    bool resized = lt->run_sent && memcmp(&lt->limit, limit, sizeof *limit) != 0;
    if (full || resized || (!lt->reported && !lt->run_sent)) {
        struct intent *run = add_intent(todo, INTENT_RUN, lt->ref);
        run->grace_ms = job->spec.grace_ms;
        run->assigned_seq = task->changed_ms;
        run->devices = task->devices;
        for (int r = 0; r < RECLAIM_COUNT; r++)
            run->reclaimed[r] = cell_machine(cell, task->machine)->reclaimed[r];
        if (!lt->reported)
            run->spec = job->spec;
        run->spec.limit = lt->limit = *limit;
        run->spec.resource_names = job->spec.resource_names;
        run->shape = task->shape < SPEC_SHAPES_MAX ? task->shape : 0;
        lt->run_sent = true;
    }
}

/* Handle an attempt that is not live on this machine in the cell. Returns true when the borglet
 * does not have it either. */
static bool diff_gone(const struct cell *cell, struct link_task *lt, bool full,
                      struct link_todo *todo)
{
    if (has_ended(lt)) {
        add_intent(todo, INTENT_FORGET, lt->ref);
        return true;
    }
    if (!lt->reported && !lt->run_sent)
        return true;
    if (full || !lt->stop_sent) {
        const struct job *job = cell_job(cell, task_job(lt->ref.task));
        struct intent *stop = add_intent(todo, INTENT_STOP, lt->ref);
        stop->cause = CAUSE_LOST;
        stop->grace_ms = job == NULL ? GRACE_MS_DEFAULT : job->spec.grace_ms;
        lt->stop_sent = true;
    }
    return false;
}

/*
 * Handle an attempt that was lost with its machine: the cell needs the borglet's word that the
 * attempt no longer runs. The hello names every attempt the borglet has. Returns true when the cell
 * must be told, or has just been told.
 */
static bool confirm(const struct machine *machine, struct link_task *lt, bool full, uint64_t now_ms,
                    uint64_t resend_ms, struct link_todo *todo)
{
    uint32_t at = 0;
    while (at < machine->left_count && ref_compare(machine->left[at], lt->ref) != 0)
        at++;
    lt->left_seen = at < machine->left_count;
    bool is_unknown = !lt->reported && !lt->run_sent && at >= machine->left_foreign;
    if (!lt->left_seen || (!has_ended(lt) && !is_unknown))
        return false;
    todo->unsettled = true;
    if (full &&
        lt->reported) /* the borglet would drop the record of an attempt that is not named */
        add_intent(todo, INTENT_STOP, lt->ref)->cause = CAUSE_LOST;
    if (lt->proposed_ms != 0 && now_ms - lt->proposed_ms < resend_ms)
        return true;
    if (!lt->reported)
        lt->report = (struct report){.task = lt->ref, .kind = REPORT_LOST};
    add_report(todo, &lt->report);
    lt->proposed_ms = now_ms;
    return true;
}

static const struct task *live_here(const struct cell *cell, const struct machine *machine,
                                    struct attempt_ref ref)
{
    const struct task *task = cell_task(cell, ref.task);
    bool here = task != NULL && task_is_live(task) && !task_holds(task) &&
                task->attempt == ref.attempt && task->machine.v == machine->id.v;
    return here ? task : NULL;
}

void link_diff(const struct cell *cell, const struct machine *machine, struct link_tasks *tasks,
               bool full, uint64_t now_ms, uint64_t resend_ms, struct link_todo *todo)
{
    LIST_EACH(l, &machine->tasks)
    {
        const struct task *task = CONTAINER_OF(l, struct task, link);
        bool runs = !task_holds(task) && !cell_job(cell, task_job(task->id))->spec.is_alloc_set;
        if (runs)
            (void)find_or_append(tasks, (struct attempt_ref){task->id, task->attempt});
    }
    for (uint32_t i = 0; i < machine->left_count; i++)
        find_or_append(tasks, machine->left[i])->left_seen = true;
    link_tasks_order(tasks);
    size_t kept = 0;
    for (size_t i = 0; i < tasks->count; i++) {
        struct link_task *lt = &tasks->items[i];
        const struct task *task = live_here(cell, machine, lt->ref);
        if (task != NULL)
            diff_live(cell, task, lt, full, now_ms, resend_ms, todo);
        else if (lt->left_seen && confirm(machine, lt, full, now_ms, resend_ms, todo))
            ; /* it stays until the cell has recorded it */
        else if (diff_gone(cell, lt, full, todo))
            continue;
        tasks->items[kept++] = *lt;
    }
    tasks->count = tasks->ordered_count = kept;
}
