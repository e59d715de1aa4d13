/*
 * leader.c - the leader's timer.
 */
#include "leader.h"

#include "clock.h"
#include "log.h"

#include <stdlib.h>

struct leader {
    struct replica *replica;
    uv_timer_t tick;
    bool leads;
    uint64_t *heard_ms; /* by machine id - 1 */
    size_t heard_count;
    size_t under_way; /* commands of the last tick */
    task_id wake[LEADER_WAKE_MAX];
    struct cmd due[LEADER_DUE_MAX];
};

size_t leader_due(const struct cell *cell, uint64_t *heard_ms, uint64_t mono_ms, uint64_t wall_ms,
                  task_id *wake_scratch, struct cmd *ret_cmds)
{
    size_t count = 0;
    uint32_t wake_count = 0;
    LIST_EACH(l, &cell->backing_off)
    {
        const struct task *task = CONTAINER_OF(l, struct task, link);
        if (task->not_before_ms <= wall_ms && wake_count < LEADER_WAKE_MAX)
            wake_scratch[wake_count++] = task->id;
    }
    if (wake_count > 0)
        ret_cmds[count++] = (struct cmd){.kind = CMD_WAKE,
                                         .wake = {.tasks = wake_scratch, .task_count = wake_count}};
    for (uint32_t i = 0; i < cell->machine_count; i++) {
        const struct machine *machine = cell->machines[i];
        if (machine->state != MACHINE_UP)
            heard_ms[i] = mono_ms;
        else if (mono_ms - heard_ms[i] > LEADER_SILENT_MS && count < LEADER_DUE_MAX)
            ret_cmds[count++] =
                (struct cmd){.kind = CMD_MACHINE_DOWN, .machine_down = {machine->id}};
        else if (count < LEADER_DUE_MAX && cell_drain_due(cell, machine))
            ret_cmds[count++] =
                (struct cmd){.kind = CMD_MACHINE_EVICT, .machine_evict = {machine->id}};
    }
    return count;
}

/* A machine we never heard of counts as heard when it is first seen in the cell. */
static void heard_grow(struct leader *leader, size_t count)
{
    if (count <= leader->heard_count)
        return;
    leader->heard_ms = xrealloc(leader->heard_ms, count, sizeof *leader->heard_ms);
    uint64_t now_ms = clock_mono_ms();
    for (size_t i = leader->heard_count; i < count; i++)
        leader->heard_ms[i] = now_ms;
    leader->heard_count = count;
}

void leader_heard(struct leader *leader, const struct wire_alive *alive)
{
    uint64_t now_ms = clock_mono_ms();
    heard_grow(leader, replica_cell(leader->replica)->machine_count);
    for (uint32_t i = 0; i < alive->machine_count; i++) {
        uint32_t id = alive->machines[i];
        if (id >= 1 && id <= leader->heard_count)
            leader->heard_ms[id - 1] = now_ms;
    }
}

static void on_answer(void *data, const struct err *err, const struct wire_answer *answer)
{
    struct leader *leader = data;
    (void)answer;
    if (err != NULL)
        log_warn("leader.command_failed reason=%s, retrying", log_quoted(err->msg));
    ASSERT(leader->under_way > 0);
    leader->under_way--;
}

/* It may be down and up again before the next tick; and if the command fails, try again soon. */
static void tell_silent(struct leader *leader, const struct machine *machine, uint64_t now_ms)
{
    log_warn("machine.silent machine=%s for_ms=%d", log_quoted(machine->name), LEADER_SILENT_MS);
    leader->heard_ms[machine->id.v - 1] = now_ms - LEADER_SILENT_MS + LEADER_ALIVE_MS * 2;
}

static void on_tick(uv_timer_t *timer)
{
    struct leader *leader = timer->data;
    const struct cell *cell = replica_cell(leader->replica);
    if (!leader->leads || !replica_leads(leader->replica) || leader->under_way > 0)
        return;
    uint64_t now_ms = clock_mono_ms();
    heard_grow(leader, cell->machine_count);
    size_t count =
        leader_due(cell, leader->heard_ms, now_ms, clock_wall_ms(), leader->wake, leader->due);
    leader->under_way += count;
    for (size_t i = 0; i < count; i++) {
        if (leader->due[i].kind == CMD_MACHINE_DOWN)
            tell_silent(leader, cell_machine(cell, leader->due[i].machine_down.machine), now_ms);
        replica_command(leader->replica, &leader->due[i], on_answer, leader);
    }
}

struct leader *leader_new(struct replica *replica)
{
    struct leader *leader = xcalloc(1, sizeof *leader);
    leader->replica = replica;
    uv_timer_init(replica_opts(replica)->loop, &leader->tick);
    leader->tick.data = leader;
    uv_timer_start(&leader->tick, on_tick, LEADER_TICK_MS, LEADER_TICK_MS);
    return leader;
}

void leader_on_role(struct leader *leader, bool leads)
{
    leader->leads = leads;
    leader->heard_count = 0;
    heard_grow(leader, replica_cell(leader->replica)->machine_count);
}
