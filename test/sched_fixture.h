/*
 * sched_fixture.h - a world with a scheduler.
 */
#ifndef TEST_SCHED_FIXTURE_H
#define TEST_SCHED_FIXTURE_H

#include "cell_fixture.h"
#include "sched.h"

/* Pass the changes of the last command to the scheduler. */
static inline void world_tell(struct world *w, struct sched *sched)
{
    struct delta *delta = delta_collect(w->cell, &w->changes);
    sched_update(sched, delta);
    delta_unref(delta);
}

static inline void world_tell_all(struct world *w, struct sched *sched)
{
    struct delta *delta = delta_full(w->cell);
    sched_update(sched, delta);
    delta_unref(delta);
}

/* Copy an array; `items` may be NULL if `count` is 0. */
static inline void *copy_of(const void *items, size_t count, size_t size)
{
    void *copy = xcalloc(count, size);
    return count == 0 ? copy : memcpy(copy, items, count * size);
}

/* Copy the arrays of a decision: they belong to the scheduler, but a command owns its arrays. */
static inline struct cmd cmd_of_decision(const struct cmd_schedule *d)
{
    struct cmd cmd = {.kind = CMD_SCHEDULE, .schedule = *d};
    struct cmd_schedule *s = &cmd.schedule;
    s->placements = copy_of(d->placements, d->placement_count, sizeof *s->placements);
    s->victims = copy_of(d->victims, d->victim_count, sizeof *s->victims);
    s->verdicts = copy_of(d->verdicts, d->verdict_count, sizeof *s->verdicts);
    s->stages = copy_of(d->stages, d->stage_count, sizeof *s->stages);
    return cmd;
}

/* Run one pass, apply it and report it back; return false if there was nothing to propose. */
static inline bool world_pass(struct world *w, struct sched *sched)
{
    struct cmd_schedule out;
    if (!sched_pass(sched, &out))
        return false;
    struct cmd cmd = cmd_of_decision(&out);
    ck_assert_int_eq(world_apply(w, &cmd), ERR_OK);
    ck_assert_msg(w->answer.refused == 0, "%s", w->answer.msg);
    world_tell(w, sched);
    return true;
}

/* Run passes until nothing is left to propose. */
static inline void world_settle(struct world *w, struct sched *sched)
{
    for (int i = 0; world_pass(w, sched); i++)
        ck_assert_msg(i < 10000, "the scheduler never stops proposing");
}

#endif
