/*
 * checks_tasks.c - compare the cell with the processes that really run.
 *
 * A difference is allowed while a machine cannot be reached and for CHECKS_CALM_MS after that. Each
 * difference is remembered from the first check that saw it until one that does not.
 */
#include "checks.h"

#include "borglets.h"
#include "hash.h"
#include "leader.h"
#include "world.h"

#include <stdlib.h>
#include <string.h>

enum odd_kind { ODD_DOUBLE, ODD_ZOMBIE, ODD_GHOST };

/* A difference between the cell and the processes. */
struct odd {
    enum odd_kind kind;
    unsigned machine;
    struct attempt_ref task;
    uint64_t since_ms;
    bool seen; /* by the present check */
};

static struct odd *odds;
static size_t odd_count, odd_capacity;
static uint64_t calm_since_ms[BORGLETS_MAX];
static uint64_t calm_life[BORGLETS_MAX];
static uint64_t troubled_ms[WORLD_REPLICAS]; /* the last time it could not work with the leader */
static int calm_leader = -1;

static bool attempt_same(struct attempt_ref a, struct attempt_ref b)
{
    return a.task.v == b.task.v && a.attempt == b.attempt;
}

const struct cell *checks_newest_cell(void)
{
    const struct cell *newest = NULL;
    for (unsigned i = 0; i < WORLD_REPLICAS; i++) {
        const struct replica *replica = world_replica(i);
        if (replica != NULL && (newest == NULL || core_cell(replica_core(replica))->applied_index >
                                                      newest->applied_index))
            newest = core_cell(replica_core(replica));
    }
    return newest;
}

uint64_t checks_calm_ms(unsigned i)
{
    return world_now_ms() - calm_since_ms[i];
}

/* Return whether leader and machine can talk, and both can talk to a majority. */
static bool machine_is_reached(unsigned i, int leader)
{
    struct node *machine = borglet_node(i);
    unsigned count = 0;
    if (leader < 0 || !world_connected(machine, world_replica_node((unsigned)leader)) ||
        node_stalled(machine) || node_stalled(world_replica_node((unsigned)leader)))
        return false;
    for (unsigned r = 0; r < WORLD_REPLICAS; r++)
        count += (int)r == leader ||
                 (world_connected(machine, world_replica_node(r)) &&
                  world_connected(world_replica_node(r), world_replica_node((unsigned)leader)));
    return count > WORLD_REPLICAS / 2;
}

static bool replica_works(unsigned i, int leader)
{
    struct node *n = world_replica_node(i);
    return node_up(n) && !node_stalled(n) && leader >= 0 &&
           ((int)i == leader || world_connected(n, world_replica_node((unsigned)leader)));
}

static void calm_look(void)
{
    int leader = world_leader();
    for (unsigned i = 0; i < WORLD_REPLICAS; i++)
        if (!replica_works(i, leader))
            troubled_ms[i] = world_now_ms();
    for (unsigned i = 0; i < borglets_count(); i++) {
        uint64_t life = node_life(borglet_node(i));
        if (leader != calm_leader || life != calm_life[i] || !node_up(borglet_node(i)) ||
            !machine_is_reached(i, leader))
            calm_since_ms[i] = world_now_ms();
        calm_life[i] = life;
    }
    calm_leader = leader;
}

static void odd_tell(const struct odd *odd)
{
    uint64_t for_ms = world_now_ms() - odd->since_ms;
    uint64_t job = task_job(odd->task.task).v;
    uint32_t index = task_index(odd->task.task), attempt = odd->task.attempt;
    switch (odd->kind) {
    case ODD_DOUBLE:
        checks_broken("double",
                      "job %" PRIu64 "/%" PRIu32 " attempt %" PRIu32 " runs on m%u, and another "
                      "attempt elsewhere, for %" PRIu64 " ms",
                      job, index, attempt, odd->machine + 1, for_ms);
    case ODD_ZOMBIE:
        checks_broken("zombie",
                      "job %" PRIu64 "/%" PRIu32 " attempt %" PRIu32 " runs on m%u, where the cell "
                      "does not want it, for %" PRIu64 " ms",
                      job, index, attempt, odd->machine + 1, for_ms);
    case ODD_GHOST:
        checks_broken("ghost",
                      "job %" PRIu64 "/%" PRIu32 " attempt %" PRIu32 " is on m%u for the cell, but "
                      "does not run there, for %" PRIu64 " ms",
                      job, index, attempt, odd->machine + 1, for_ms);
    }
}

/* Record a difference, seen again or for the first time. */
static void odd_see(enum odd_kind kind, unsigned machine, struct attempt_ref task)
{
    for (size_t i = 0; i < odd_count; i++) {
        struct odd *odd = &odds[i];
        if (odd->kind != kind || odd->machine != machine || !attempt_same(odd->task, task))
            continue;
        odd->seen = true;
        if (world_now_ms() - odd->since_ms > CHECKS_CALM_MS &&
            checks_calm_ms(machine) > CHECKS_CALM_MS)
            odd_tell(odd);
        return;
    }
    if (odd_count == odd_capacity) {
        odd_capacity = MAX((size_t)64, odd_capacity * 2);
        odds = xrealloc(odds, odd_capacity, sizeof *odds);
    }
    odds[odd_count++] = (struct odd){kind, machine, task, world_now_ms(), true};
}

static void odds_forget(void)
{
    size_t kept = 0;
    for (size_t i = 0; i < odd_count; i++) {
        if (!odds[i].seen)
            continue;
        odds[kept] = odds[i];
        odds[kept++].seen = false;
    }
    odd_count = kept;
}

static const struct machine *machine_of(const struct cell *cell, unsigned i)
{
    return cell_machine_named(cell, node_name(borglet_node(i)));
}

/* Return whether the cell wants this attempt to run there. */
static bool attempt_is_wanted(const struct cell *cell, unsigned i, struct attempt_ref ref)
{
    const struct task *task = cell_task(cell, ref.task);
    const struct machine *machine = machine_of(cell, i);
    return task != NULL && machine != NULL && task_is_live(task) && task->attempt == ref.attempt &&
           task->machine.v == machine->id.v && task->stopping == CAUSE_NONE;
}

struct running {
    unsigned machine;
    struct process process;
};
static struct running *running; /* on all calm machines, by task */
static size_t running_count, running_capacity;

static int running_order(const void *a, const void *b)
{
    const struct running *x = a, *y = b;
    if (x->process.task.task.v != y->process.task.task.v)
        return x->process.task.task.v < y->process.task.task.v ? -1 : 1;
    return (int)x->machine - (int)y->machine;
}

static void running_collect(void)
{
    static struct process processes[BORGLET_PROCESSES_MAX];
    running_count = 0;
    for (unsigned i = 0; i < borglets_count(); i++) {
        size_t count = borglet_processes(i, processes);
        for (size_t j = 0; j < count; j++) {
            if (running_count == running_capacity) {
                running_capacity = MAX((size_t)256, running_capacity * 2);
                running = xrealloc(running, running_capacity, sizeof *running);
            }
            running[running_count++] = (struct running){i, processes[j]};
        }
    }
    if (running_count > 1)
        qsort(running, running_count, sizeof *running, running_order);
}

/* Of two attempts of a task one must stop, unless it is being stopped already. */
static void doubles_look(void)
{
    for (size_t i = 1; i < running_count; i++) {
        const struct running *a = &running[i - 1], *b = &running[i];
        if (a->process.task.task.v == b->process.task.task.v && !a->process.told_to_stop &&
            !b->process.told_to_stop && checks_calm_ms(a->machine) > CHECKS_CALM_MS)
            odd_see(ODD_DOUBLE, b->machine, b->process.task);
    }
}

/* Return whether the task has several running attempts. */
static bool running_is_double(size_t i)
{
    uint64_t task = running[i].process.task.task.v;
    return (i > 0 && running[i - 1].process.task.task.v == task) ||
           (i + 1 < running_count && running[i + 1].process.task.task.v == task);
}

static void zombies_look(const struct cell *cell)
{
    for (size_t i = 0; i < running_count; i++)
        if (!running[i].process.told_to_stop && !running_is_double(i) &&
            !attempt_is_wanted(cell, running[i].machine, running[i].process.task))
            odd_see(ODD_ZOMBIE, running[i].machine, running[i].process.task);
}

static bool runs_on(unsigned machine, struct attempt_ref task)
{
    for (size_t i = 0; i < running_count; i++)
        if (running[i].machine == machine && attempt_same(running[i].process.task, task))
            return true;
    return false;
}

/* Allocs have no process. */
static bool task_has_process(const struct cell *cell, const struct task *task)
{
    return !cell_job(cell, task_job(task->id))->spec.is_alloc_set;
}

static void ghosts_look(const struct cell *cell)
{
    for (unsigned i = 0; i < borglets_count(); i++) {
        const struct machine *machine = machine_of(cell, i);
        if (machine == NULL)
            continue;
        LIST_EACH(l, &machine->tasks)
        {
            const struct task *task = CONTAINER_OF(l, struct task, link);
            struct attempt_ref ref = {task->id, task->attempt};
            if (task->state == TASK_RUNNING && task_has_process(cell, task) && !runs_on(i, ref))
                odd_see(ODD_GHOST, i, ref);
        }
    }
}

void checks_tasks_look(void)
{
    const struct cell *cell = checks_newest_cell();
    calm_look();
    if (cell == NULL)
        return;
    running_collect();
    doubles_look();
    zombies_look(cell);
    ghosts_look(cell);
    odds_forget();
}

void checks_on_start(unsigned i, struct attempt_ref task)
{
    checks_note("m%u starts %" PRIu64 "/%" PRIu32 " attempt=%" PRIu32, i + 1, task_job(task.task).v,
                task_index(task.task), task.attempt);
}

/* The end of an attempt is final: if an old cell wants to stop it, no newer one wants to run it. */
void checks_on_stop(unsigned i, struct attempt_ref task, uint64_t index)
{
    const struct cell *cell = checks_newest_cell();
    checks_note("m%u stops %" PRIu64 "/%" PRIu32 " attempt=%" PRIu32 " index=%" PRIu64, i + 1,
                task_job(task.task).v, task_index(task.task), task.attempt, index);
    if (cell != NULL && cell->applied_index >= index && attempt_is_wanted(cell, i, task))
        checks_broken("stale",
                      "m%u stops job %" PRIu64 "/%" PRIu32 " attempt %" PRIu32
                      " for a shard at index %" PRIu64 ", while at index %" PRIu64
                      " the cell wants it to run",
                      i + 1, task_job(task.task).v, task_index(task.task), task.attempt, index,
                      cell->applied_index);
}

/* A borglet may lose the replica that drives it and then find one that was just cut off too; there
 * is no time for a third. */
static bool replicas_are_troubled(void)
{
    unsigned count = 0;
    for (unsigned i = 0; i < WORLD_REPLICAS; i++)
        count += world_now_ms() - troubled_ms[i] <= LEADER_SILENT_MS + 2 * CHECKS_LOOK_MS;
    return count > 1;
}

void checks_on_machine_down(const struct machine *machine)
{
    checks_note("%s is declared down", machine->name);
    calm_look();
    for (unsigned i = 0; i < borglets_count(); i++)
        if (strcmp(node_name(borglet_node(i)), machine->name) == 0 &&
            checks_calm_ms(i) > CHECKS_CALM_MS && !replicas_are_troubled())
            checks_broken("silent",
                          "%s is declared down, although it was reachable for %" PRIu64 " ms",
                          machine->name, checks_calm_ms(i));
}
