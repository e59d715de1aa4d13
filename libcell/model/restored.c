/*
 * restored.c - a checkpoint becomes the beginning of a new life of its cell.
 *
 * The old life went on after the checkpoint, nobody knows for how long: borglets have seen its
 * later indexes, and refuse intents of older ones; they hold attempts of jobs that were submitted
 * later; a master that was thought lost may come back with its log. So the new life begins at
 * numbers that no earlier one can have reached, whichever checkpoint that one came from: they are
 * made of the time. An index per microsecond and a job each four milliseconds, from 1970 on, is
 * more than any cell ever had.
 */
#include "cell_write.h"

#include <stdio.h>

enum { INDEX_BITS = 20, JOB_BITS = 8 };

_Static_assert(32 + JOB_BITS + TASK_INDEX_BITS <= 63, "a task id must hold it, also signed");
_Static_assert(32 + INDEX_BITS <= 53, "JSON holds it as a number");

bool cell_can_begin_again(const struct cell *cell)
{
    return cell->applied_term < CELL_END_S && cell->applied_index >> INDEX_BITS < CELL_END_S &&
           cell->next_job >> JOB_BITS < CELL_END_S && cell->now_ms / 1000 < CELL_END_S &&
           cell->event_seq <= INT64_MAX / 2;
}

void cell_begin_again(struct cell *cell, uint64_t at_s, struct changes *changes)
{
    struct cmd cmd = {0};
    struct answer answer;
    struct apply a = {.cell = cell, .cmd = &cmd, .changes = changes, .answer = &answer};
    uint64_t before = cell->applied_index, made_ms = cell->now_ms;
    /* A clock that stands still or went back must not lead into the life that was. */
    at_s = MAX(at_s, cell->applied_term + 1);
    at_s = MAX(at_s, (cell->applied_index >> INDEX_BITS) + 1);
    at_s = MAX(at_s, (cell->next_job >> JOB_BITS) + 1);
    cell->applied_index = at_s << INDEX_BITS;
    cell->applied_term = at_s; /* elections are rarer than seconds */
    cell->next_job = at_s << JOB_BITS;
    cell->now_ms = MAX(cell->now_ms, at_s * 1000);
    cell->settings.masters = (struct masters){0}; /* of the life that was; the first leader tells */
    struct event *event = event_add(&a, EVENT_RESTORED);
    snprintf(event->detail, sizeof event->detail,
             "from a checkpoint of index %" PRIu64 ", %" PRIu64
             " s old: what came after it is lost, and stopped where it runs",
             before, (cell->now_ms - made_ms) / 1000);
}
