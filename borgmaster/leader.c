/*
 * leader.c - decides what is due, and proposes it on a timer.
 */
#include "leader.h"

#include "clock.h"
#include "hash.h"
#include "log.h"
#include "shares.h"

#include <stdlib.h>

/* The last report of a replica. */
struct shard {
    uint64_t since_ms; /* since when it reports without a break */
    uint64_t last_ms;
    uint64_t applied_index;
    struct share share;
};

struct leader {
    struct core *core;
    uv_timer_t tick;
    bool leads;
    uint64_t *heard_ms; /* indexed by machine id - 1 */
    size_t heard_count;
    struct shard shards[CELL_REPLICAS_MAX];
    size_t shard_count;
    struct loss loss;
    size_t under_way; /* unanswered commands of the last tick */
    task_id wake[LEADER_WAKE_MAX];
    struct cmd due[LEADER_DUE_MAX];
};

/* Most machines were heard recently; only the others cost a look at the machine. */
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

/* A tick looks at LEADER_LOOKS_MAX tasks at most. If `looks` are more, each job or machine is
 * looked at in one of several ticks. */
static bool has_turn(uint64_t id, uint64_t looks, uint64_t mono_ms)
{
    return (hash_u64(id) + mono_ms / LEADER_TICK_MS) % (looks / LEADER_LOOKS_MAX + 1) == 0;
}

/* Decide the commands for machines that drain or lack ram. */
static size_t machines_due(const struct cell *cell, const uint64_t *heard_ms, uint64_t mono_ms,
                           struct cmd *ret_cmds, size_t max)
{
    uint64_t looks = 0;
    size_t count = 0;
    LIST_EACH(l, &cell->clearing)
    {
        looks += CONTAINER_OF(l, struct machine, clearing)->task_count + 1;
    }
    LIST_EACH(l, &cell->clearing)
    {
        const struct machine *machine = CONTAINER_OF(l, struct machine, clearing);
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

/* Decide which machines marked as sick are tried again. The walk is made only if there are any. */
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

/* Decide the commands for jobs with tasks that run under an old limit. */
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

/* A machine that was never heard counts as heard when it first appears in the cell. */
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

static struct shard *shard_of(struct leader *leader, uint64_t id)
{
    for (size_t i = 0; i < leader->shard_count; i++)
        if (leader->shards[i].share.id == id)
            return &leader->shards[i];
    if (leader->shard_count == CELL_REPLICAS_MAX)
        return NULL;
    struct shard *shard = &leader->shards[leader->shard_count++];
    *shard = (struct shard){.share.id = id};
    return shard;
}

/* Returns whether the replica is up for a while and has applied what the leader has, so that it can
 * drive a borglet at once. */
static bool takes(const struct leader *leader, const struct shard *shard, uint64_t now_ms)
{
    return now_ms - shard->last_ms <= LEADER_ALIVE_MS * 5 / 2 &&
           now_ms - shard->since_ms >= LEADER_ALIVE_MS * 3 &&
           shard->applied_index + LEADER_LAG_MAX >= core_cell(leader->core)->applied_index;
}

/* Decide how many borglets the reporting replica should move, and where. The result is added to the
 * shares at once, so that not all replicas send their borglets to one. */
static struct wire_shed shed_decide(struct leader *leader, const struct shard *from,
                                    uint64_t now_ms)
{
    struct share shares[CELL_REPLICAS_MAX];
    for (size_t i = 0; i < leader->shard_count; i++) {
        leader->shards[i].share.takes = takes(leader, &leader->shards[i], now_ms);
        shares[i] = leader->shards[i].share;
    }
    struct share_move move = shares_move(shares, leader->shard_count, from->share.id);
    if (move.count > 0)
        shard_of(leader, move.to)->share.links += move.count;
    return (struct wire_shed){.to = move.to, .count = move.count};
}

struct wire_shed leader_heard(struct leader *leader, uint64_t from, const struct wire_alive *alive)
{
    uint64_t now_ms = clock_mono_ms();
    const uint8_t *bits = alive->bits;
    struct shard *shard = shard_of(leader, from);
    heard_grow(leader, core_cell(leader->core)->machine_count);
    for (size_t i = 0; i < MIN(alive->size * 8, leader->heard_count); i++)
        if ((bits[i / 8] & 1U << i % 8) != 0)
            leader->heard_ms[i] = now_ms;
    core_clock_heard(leader->core, from, alive->wall_ms);
    core_format_heard(leader->core, from, alive->format);
    uint64_t median_ms = core_clock_look(leader->core);
    if (shard == NULL)
        return (struct wire_shed){.median_ms = median_ms};
    if (now_ms - shard->last_ms > LEADER_ALIVE_MS * 5 / 2)
        shard->since_ms = now_ms;
    shard->last_ms = now_ms;
    shard->applied_index = alive->applied_index;
    shard->share.links = alive->links;
    struct wire_shed shed =
        leader->leads ? shed_decide(leader, shard, now_ms) : (struct wire_shed){0};
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

/* Log it and start its silence anew: the machine may be up again before the next tick, and a
 * command that failed is repeated soon. */
static void handle_silent(struct leader *leader, const struct machine *machine, uint64_t now_ms)
{
    log_warn("machine.timed_out machine=%s silent_ms=%d", log_quoted(machine->name),
             LEADER_SILENT_MS);
    leader->heard_ms[machine->id.v - 1] = now_ms - LEADER_SILENT_MS + LEADER_ALIVE_MS * 2;
}

static void log_hold(const struct cmd_hold_set *set)
{
    log_warn("cell.hold_changed hold=%s silent=%" PRIu32 " machines=%" PRIu32, hold_text(set->hold),
             set->silent, set->machines);
}

static void on_tick(uv_timer_t *timer)
{
    struct leader *leader = timer->data;
    /* The cell may have a part of an entry: every command is checked again when it is applied. */
    const struct cell *cell = core_cell(leader->core);
    if (!leader->leads || !core_leads(leader->core) || leader->under_way > 0)
        return;
    uint64_t now_ms = clock_mono_ms();
    heard_grow(leader, cell->machine_count);
    size_t count = leader_due(cell, leader->heard_ms, &leader->loss, now_ms,
                              core_time_ms(leader->core), leader->wake, leader->due);
    leader->under_way += count;
    for (size_t i = 0; i < count; i++) {
        if (leader->due[i].kind == CMD_MACHINE_DOWN)
            handle_silent(leader, cell_machine(cell, leader->due[i].machine_down.machine), now_ms);
        if (leader->due[i].kind == CMD_HOLD_SET)
            log_hold(&leader->due[i].hold_set);
        core_propose(leader->core, &leader->due[i], on_answer, leader);
    }
}

struct leader *leader_new(struct core *core)
{
    struct leader *leader = xcalloc(1, sizeof *leader);
    leader->core = core;
    uv_timer_init(core_opts(core)->loop, &leader->tick);
    leader->tick.data = leader;
    uv_timer_start(&leader->tick, on_tick, LEADER_TICK_MS, LEADER_TICK_MS);
    return leader;
}

void leader_on_role(struct leader *leader, bool leads)
{
    leader->leads = leads;
    leader->heard_count = 0;
    leader->shard_count = 0;
    leader->loss = (struct loss){0};
    heard_grow(leader, core_cell(leader->core)->machine_count);
}
