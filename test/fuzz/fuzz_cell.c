/*
 * fuzz_cell.c - any commands in any order: cell_check() holds after each command, and a scheduler
 * that has seen all of them is never refused.
 *
 *     make fuzz            for 30 seconds each; FUZZ_SECONDS=3600 for longer
 *
 * An input is an envelope of packed commands. The mutator adds a command drawn for the state of the
 * cell at that point, removes one, or mutates the bytes of one.
 */
#include "draw_cmd.h"

#include "cmd_pack.h"
#include "sched.h"

/* Larger cells take longer and have found no more errors. */
enum { REPLICAS_MAX = 64, MACHINES_MAX = 64, COMMANDS_MAX = 64, PASSES_MAX = 8 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t size, size_t size_max, unsigned int seed);
size_t LLVMFuzzerMutate(uint8_t *bytes, size_t size, size_t size_max);

static bool is_small(const struct cell *cell, const struct cmd *cmd)
{
    if (cmd->kind == CMD_JOB_SUBMIT)
        return cmd->job_submit.replicas <= REPLICAS_MAX;
    if (cmd->kind == CMD_JOB_UPDATE)
        return cmd->job_update.replicas <= REPLICAS_MAX;
    return cmd->kind != CMD_MACHINE_REGISTER || cell->machine_count < MACHINES_MAX;
}

static void apply(struct world *w, struct sched *sched, const struct cmd *cmd)
{
    changes_clear(&w->changes);
    cell_apply(w->cell, cmd, &w->changes, &w->answer);
    cell_check(w->cell);
    struct delta *delta = delta_collect(w->cell, &w->changes);
    sched_update(sched, delta);
    delta_unref(delta);
}

static void schedule(struct world *w, struct sched *sched)
{
    for (int i = 0; i < PASSES_MAX; i++) {
        struct cmd cmd = {.kind = CMD_SCHEDULE, .time_ms = w->cell->now_ms};
        if (!sched_pass(sched, &cmd.schedule))
            return;
        apply(w, sched, &cmd); /* its arrays belong to the scheduler */
        ASSERT(w->answer.refused == 0);
    }
}

/* Apply the command at *at, if it is one; return false at the end. */
static bool step(struct world *w, struct sched *sched, const uint8_t *bytes, size_t size,
                 size_t *at)
{
    const void *packed;
    size_t packed_size;
    struct cmd cmd;
    if (envelope_next(bytes, size, at, &packed, &packed_size, NULL) != 0 || packed == NULL)
        return false;
    if (cmd_unpack(packed, packed_size, &cmd, NULL) != 0)
        return true;
    if (is_small(w->cell, &cmd))
        apply(w, sched, &cmd);
    cmd_release(&cmd);
    if (draw_below(&(uint64_t){*at}, 2) == 0)
        schedule(w, sched);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct world w = world_new();
    struct sched *sched = sched_new();
    size_t at = 0;
    for (int i = 0; i < COMMANDS_MAX && step(&w, sched, bytes, size, &at); i++)
        ;
    schedule(&w, sched);
    sched_free(sched);
    world_release(&w);
    return 0;
}

/* Return the number of commands in the input; a malformed tail does not count. */
static uint32_t count_of(const uint8_t *bytes, size_t size)
{
    const void *packed;
    size_t at = 0, packed_size;
    uint32_t count = 0;
    while (envelope_next(bytes, size, &at, &packed, &packed_size, NULL) == 0 && packed != NULL)
        count++;
    return count;
}

/* Return the start of command number `index`, or the end; `w` is the cell at that point. */
static size_t seek(struct world *w, const uint8_t *bytes, size_t size, uint32_t index)
{
    struct sched *sched = sched_new();
    size_t at = 0;
    for (uint32_t i = 0; i < index && step(w, sched, bytes, size, &at); i++)
        ;
    sched_free(sched);
    return at;
}

static size_t replace(uint8_t *bytes, size_t size, size_t size_max, size_t begin, size_t end,
                      const struct buf *with)
{
    if (size - (end - begin) + with->size > size_max)
        return size;
    memmove(bytes + begin + with->size, bytes + end, size - end);
    if (with->size > 0)
        memcpy(bytes + begin, with->bytes, with->size);
    return size - (end - begin) + with->size;
}

/* Return whether the command can be packed. draw_cmd() also draws contents that only a damaged log
 * could have, for which packing panics. */
static bool is_packable(const struct cmd *cmd)
{
    for (uint32_t i = 0; cmd->kind == CMD_REPORT && i < cmd->report.report_count; i++)
        if (cmd->report.reports[i].kind >= REPORT_KIND_COUNT)
            return false;
    for (uint32_t i = 0; cmd->kind == CMD_SCHEDULE && i < cmd->schedule.placement_count; i++) {
        const struct placement *p = &cmd->schedule.placements[i];
        if (p->victim_first + p->victim_count > cmd->schedule.victim_count)
            return false;
    }
    return (int)cmd->kind < (int)CMD_KIND_COUNT &&
           (cmd->kind != CMD_QUOTA_SET || cmd->quota_set.quota.band < BAND_COUNT) &&
           (cmd->kind != CMD_POLICY_SET || cmd->policy_set.policy < POLICY_COUNT) &&
           (cmd->kind != CMD_HOLD_SET || cmd->hold_set.hold < HOLD_COUNT);
}

static void draw_packed(uint64_t *draws, const struct cell *cell, struct buf *to)
{
    struct buf packed CLEANUP(buf_release) = {0};
    struct cmd cmd = draw_cmd(draws, cell);
    if (is_packable(&cmd) && cmd_pack(&cmd, &packed, NULL) == 0)
        envelope_add(to, packed.bytes, packed.size);
    cmd_release(&cmd);
}

static void damage(const void *packed, size_t size, struct buf *to)
{
    enum { GROWTH_MAX = 64 };
    struct buf copy CLEANUP(buf_release) = {0};
    buf_append(&copy, packed, size);
    buf_reserve(&copy, GROWTH_MAX);
    size = LLVMFuzzerMutate((uint8_t *)copy.bytes, size, size + GROWTH_MAX);
    envelope_add(to, copy.bytes, size);
}

size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t size, size_t size_max, unsigned int seed)
{
    enum { TAKE_AWAY, DAMAGE, ADD, WAYS = ADD + 4 };
    uint64_t draws = seed | UINT64_C(1) << 32;
    uint32_t way = draw_below(&draws, WAYS), count = count_of(bytes, size);
    struct world w = world_new();
    struct buf with CLEANUP(buf_release) = {0};
    size_t begin = seek(&w, bytes, size, draw_below(&draws, count + 1)), end = begin;
    const void *packed = NULL;
    size_t packed_size;
    if (way < ADD && envelope_next(bytes, size, &end, &packed, &packed_size, NULL) != 0)
        packed = NULL;
    if (packed == NULL)
        draw_packed(&draws, w.cell, &with);
    else if (way == DAMAGE)
        damage(packed, packed_size, &with);
    world_release(&w);
    return replace(bytes, size, size_max, begin, packed == NULL ? begin : end, &with);
}
