/*
 * leader.c - the leader's timer.
 */
#include "leader.h"

#include "clock.h"
#include "hash.h"
#include "log.h"
#include "shares.h"

#include <stdlib.h>

/* What a replica has told last. */
struct told {
    uint64_t since_ms; /* it tells without a break */
    uint64_t last_ms;
    uint64_t applied_index;
    struct share share;
};

struct leader {
    struct replica *replica;
    uv_timer_t tick;
    bool leads;
    uint64_t *heard_ms; /* by machine id - 1 */
    size_t heard_count;
    struct told told[CELL_REPLICAS_MAX];
    size_t told_count;
    struct loss loss;
    size_t under_way; /* commands of the last tick */
    task_id wake[LEADER_WAKE_MAX];
    struct cmd due[LEADER_DUE_MAX];
};

/* Most have been heard of lately: only the others cost a look at the machine. */
static struct loss_seen look(const struct cell *cell, uint64_t *heard_ms, uint64_t mono_ms)
{
    struct loss_seen seen = {.machines = cell->machines_up};
    for (uint32_t i = 0; i < cell->machine_count; i++) {
        if (mono_ms - heard_ms[i] <= LEADER_FRESH_MS)
            continue;
        if (cell->machines[i]->state != MACHINE_UP)
            heard_ms[i] = mono_ms;
        seen.quiet += mono_ms - heard_ms[i] > LEADER_SILENT_MS / 2;
        seen.silent += mono_ms - heard_ms[i] > LEADER_SILENT_MS;
    }
    return seen;
}

static size_t wake_due(const struct cell *cell, uint64_t cell_ms, task_id *wake_scratch,
                       struct cmd *ret_cmd)
{
    uint32_t count = cell_wake_due(cell, cell_ms, wake_scratch, LEADER_WAKE_MAX);
    *ret_cmd = (struct cmd){.kind = CMD_WAKE, .wake = {.tasks = wake_scratch, .task_count = count}};
    return count > 0;
}

/* A tick looks at LEADER_LOOKS_MAX tasks at most. When `looks` are more, each job or machine has
 * its turn in one of several ticks. */
static bool has_turn(uint64_t id, uint64_t looks, uint64_t mono_ms)
{
    return (hash_u64(id) + mono_ms / LEADER_TICK_MS) % (looks / LEADER_LOOKS_MAX + 1) == 0;
}

/* Commands for machines that drain or lack ram. */
static size_t machines_due(const struct cell *cell, const uint64_t *heard_ms, uint64_t mono_ms,
                           struct cmd *ret_cmds, size_t max)
{
    uint64_t looks = 0;
    size_t count = 0;
    LIST_EACH(l, &cell->uneasy)
    {
        looks += CONTAINER_OF(l, struct machine, uneasy)->task_count + 1;
    }
    LIST_EACH(l, &cell->uneasy)
    {
        const struct machine *machine = CONTAINER_OF(l, struct machine, uneasy);
        if (count == max)
            break;
        if (!has_turn(machine->id.v, looks, mono_ms) ||
            mono_ms - heard_ms[machine->id.v - 1] > LEADER_SILENT_MS)
            continue;
        if (cell_drain_due(cell, machine))
            ret_cmds[count++] =
                (struct cmd){.kind = CMD_MACHINE_EVICT, .machine_evict = {machine->id}};
        else if (cell_reclaim_due(cell, machine))
            ret_cmds[count++] =
                (struct cmd){.kind = CMD_MACHINE_RECLAIM, .machine_reclaim = {machine->id}};
    }
    return count;
}

/* Sick machines that may be tried again. They are few: else the walk is not made. */
static size_t tries_due(const struct cell *cell, uint64_t cell_ms, struct cmd *ret_cmds, size_t max)
{
    uint32_t left = cell->machines_sick;
    size_t count = 0;
    for (uint32_t i = 0; left > 0 && count < max; i++) {
        const struct machine *machine = cell->machines[i];
        if (!machine_is_sick(machine))
            continue;
        left--;
        if (machine->sick_until_ms <= cell_ms)
            ret_cmds[count++] = (struct cmd){.kind = CMD_MACHINE_TRY, .machine_try = {machine->id}};
    }
    return count;
}

/* Commands for jobs with tasks that have an old limit. */
static size_t jobs_due(const struct cell *cell, uint64_t mono_ms, struct cmd *ret_cmds, size_t max)
{
    uint64_t looks = 0;
    size_t count = 0;
    LIST_EACH(l, &cell->updating)
    {
        looks += MIN(CONTAINER_OF(l, struct job, updating)->outdated, (uint32_t)RESIZE_LOOKS_MAX);
    }
    LIST_EACH(l, &cell->updating)
    {
        const struct job *job = CONTAINER_OF(l, struct job, updating);
        if (count == max)
            break;
        if (has_turn(job->id.v, looks, mono_ms) &&
            cell_resize_due(cell, job, mono_ms / LEADER_TICK_MS))
            ret_cmds[count++] = (struct cmd){.kind = CMD_JOB_RESIZE, .job_resize = {job->id}};
    }
    return count;
}

size_t leader_due(const struct cell *cell, uint64_t *heard_ms, struct loss *loss, uint64_t mono_ms,
                  uint64_t cell_ms, task_id *wake_scratch, struct cmd *ret_cmds)
{
    size_t count = wake_due(cell, cell_ms, wake_scratch, ret_cmds);
    struct loss_seen seen = look(cell, heard_ms, mono_ms);
    enum hold hold =
        loss_hold(loss, cell->settings.hold, &seen, mono_ms, LEADER_SILENT_MS + LEADER_ALIVE_MS);
    if (hold != cell->settings.hold)
        ret_cmds[count++] =
            (struct cmd){.kind = CMD_HOLD_SET, .hold_set = {hold, seen.quiet, seen.machines}};
    uint32_t may_go = loss_allow(loss, hold, &seen, mono_ms);
    for (uint32_t i = 0; i < cell->machine_count && may_go > 0 && count < LEADER_DUE_MAX; i++) {
        if (mono_ms - heard_ms[i] <= LEADER_SILENT_MS)
            continue;
        may_go--;
        loss_spend(loss, 1);
        ret_cmds[count++] =
            (struct cmd){.kind = CMD_MACHINE_DOWN, .machine_down = {cell->machines[i]->id}};
    }
    count += machines_due(cell, heard_ms, mono_ms, ret_cmds + count, LEADER_DUE_MAX - count);
    count += tries_due(cell, cell_ms, ret_cmds + count, LEADER_DUE_MAX - count);
    return count + jobs_due(cell, mono_ms, ret_cmds + count, LEADER_DUE_MAX - count);
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

static struct told *told_by(struct leader *leader, uint64_t id)
{
    for (size_t i = 0; i < leader->told_count; i++)
        if (leader->told[i].share.id == id)
            return &leader->told[i];
    if (leader->told_count == CELL_REPLICAS_MAX)
        return NULL;
    struct told *told = &leader->told[leader->told_count++];
    *told = (struct told){.share.id = id};
    return told;
}

/* It is there for a while, and has what we have: a borglet would be served at once. */
static bool takes(const struct leader *leader, const struct told *told, uint64_t now_ms)
{
    return now_ms - told->last_ms <= LEADER_ALIVE_MS * 5 / 2 &&
           now_ms - told->since_ms >= LEADER_ALIVE_MS * 3 &&
           told->applied_index + LEADER_LAG_MAX >= replica_cell(leader->replica)->applied_index;
}

/* Which borglets of the replica that has just told should move. What is decided is counted as done,
 * so that not all replicas send theirs to one. */
static struct wire_shed share_out(struct leader *leader, const struct told *from, uint64_t now_ms)
{
    struct share shares[CELL_REPLICAS_MAX];
    for (size_t i = 0; i < leader->told_count; i++) {
        leader->told[i].share.takes = takes(leader, &leader->told[i], now_ms);
        shares[i] = leader->told[i].share;
    }
    struct share_move move = shares_move(shares, leader->told_count, from->share.id);
    if (move.count > 0)
        told_by(leader, move.to)->share.links += move.count;
    return (struct wire_shed){.to = move.to, .count = move.count};
}

struct wire_shed leader_heard(struct leader *leader, uint64_t from, const struct wire_alive *alive)
{
    uint64_t now_ms = clock_mono_ms();
    const uint8_t *bits = alive->bits;
    struct told *told = told_by(leader, from);
    heard_grow(leader, replica_cell(leader->replica)->machine_count);
    for (size_t i = 0; i < MIN(alive->size * 8, leader->heard_count); i++)
        if ((bits[i / 8] & 1U << i % 8) != 0)
            leader->heard_ms[i] = now_ms;
    replica_clock_heard(leader->replica, from, alive->wall_ms);
    uint64_t median_ms = replica_clock_look(leader->replica);
    if (told == NULL)
        return (struct wire_shed){.median_ms = median_ms};
    if (now_ms - told->last_ms > LEADER_ALIVE_MS * 5 / 2)
        told->since_ms = now_ms;
    told->last_ms = now_ms;
    told->applied_index = alive->applied_index;
    told->share.links = alive->links;
    struct wire_shed shed = leader->leads ? share_out(leader, told, now_ms) : (struct wire_shed){0};
    shed.median_ms = median_ms;
    return shed;
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

static void tell_hold(const struct cmd_hold_set *set)
{
    log_warn("cell.hold now=%s silent=%" PRIu32 " machines=%" PRIu32, hold_text(set->hold),
             set->silent, set->machines);
}

static void on_tick(uv_timer_t *timer)
{
    struct leader *leader = timer->data;
    /* It may have a part of an entry: whatever is proposed is judged anew when it is applied. */
    const struct cell *cell = replica_cell(leader->replica);
    if (!leader->leads || !replica_leads(leader->replica) || leader->under_way > 0)
        return;
    uint64_t now_ms = clock_mono_ms();
    heard_grow(leader, cell->machine_count);
    size_t count = leader_due(cell, leader->heard_ms, &leader->loss, now_ms,
                              replica_time_ms(leader->replica), leader->wake, leader->due);
    leader->under_way += count;
    for (size_t i = 0; i < count; i++) {
        if (leader->due[i].kind == CMD_MACHINE_DOWN)
            tell_silent(leader, cell_machine(cell, leader->due[i].machine_down.machine), now_ms);
        if (leader->due[i].kind == CMD_HOLD_SET)
            tell_hold(&leader->due[i].hold_set);
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
    leader->told_count = 0;
    leader->loss = (struct loss){0};
    heard_grow(leader, replica_cell(leader->replica)->machine_count);
}
