/*
 * history.c - an array of steps, the position of each replica, an index by request.
 */
#include "history.h"

#include "checks.h"
#include "hash.h"
#include "world.h"

#include <stdlib.h>

static struct history_step *steps;
static size_t step_count, step_capacity;
static size_t at[WORLD_REPLICAS]; /* the next step of each replica */
static struct idmap by_request;   /* hash of the id -> number of its first step + 1 */

static uint64_t request_key(const uint64_t request_id[2])
{
    return hash_add(request_id[0], request_id[1]) | 1;
}

static bool step_asks(const struct history_step *step)
{
    return step->request_id[0] != 0 || step->request_id[1] != 0;
}

/* Return the first step of an entry after `index`. */
static size_t step_after(uint64_t index)
{
    size_t low = 0, high = step_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (steps[middle].index <= index)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct history_step *history_request(const uint64_t request_id[2])
{
    size_t number = (size_t)(uintptr_t)idmap_get(&by_request, request_key(request_id));
    return number == 0 ? NULL : &steps[number - 1];
}

bool history_has(uint64_t index, const uint64_t request_id[2])
{
    for (size_t i = index == 0 ? 0 : step_after(index - 1);
         i < step_count && steps[i].index == index; i++)
        if (steps[i].request_id[0] == request_id[0] && steps[i].request_id[1] == request_id[1])
            return true;
    return false;
}

/* A repeated request changes nothing and gets the same answer as the first time. */
static void repetition_check(const struct history_step *step)
{
    const struct history_step *first = history_request(step->request_id);
    if (first == NULL)
        return;
    if (step->digest != step[-1].digest)
        checks_broken("once", "the %s of entry %" PRIu64 " was applied again in entry %" PRIu64,
                      cmd_kind_text(step->kind), first->index, step->index);
    if (step->code != first->code || step->job.v != first->job.v)
        checks_broken("once",
                      "the %s of entry %" PRIu64 " was answered \"%s\" job %" PRIu64
                      ", its repetition in entry %" PRIu64 " \"%s\" job %" PRIu64,
                      cmd_kind_text(step->kind), first->index, err_code_text(first->code),
                      first->job.v, step->index, err_code_text(step->code), step->job.v);
}

static void step_add(const struct history_step *step)
{
    if (step_count == step_capacity) {
        step_capacity = MAX((size_t)4096, step_capacity * 2);
        steps = xrealloc(steps, step_capacity, sizeof *steps);
    }
    steps[step_count++] = *step;
    if (!step_asks(step))
        return;
    repetition_check(&steps[step_count - 1]);
    if (history_request(step->request_id) == NULL)
        idmap_put(&by_request, request_key(step->request_id), (void *)(uintptr_t)step_count);
}

static bool step_same(const struct history_step *a, const struct history_step *b)
{
    return a->index == b->index && a->request_id[0] == b->request_id[0] &&
           a->request_id[1] == b->request_id[1] && a->time_ms == b->time_ms && a->kind == b->kind &&
           a->code == b->code && a->job.v == b->job.v && a->accepted == b->accepted &&
           a->refused == b->refused;
}

void history_applied(unsigned i, const struct cell *cell, const struct cmd *cmd,
                     const struct answer *answer)
{
    struct history_step step = {.index = cell->applied_index,
                                .request_id = {cmd->request_id[0], cmd->request_id[1]},
                                .time_ms = cmd->time_ms,
                                .digest = cell_digest(cell),
                                .kind = cmd->kind,
                                .code = answer->code,
                                .job = answer->job,
                                .accepted = answer->accepted,
                                .refused = answer->refused};
    if (at[i] == step_count) {
        if (step_count > 0 && step.index < steps[step_count - 1].index)
            checks_broken("history", "r%u applies entry %" PRIu64 " after %" PRIu64, i + 1,
                          step.index, steps[step_count - 1].index);
        step_add(&step);
        checks_on_commit(i, step.index, cell->applied_term);
        checks_reads_grow(cell);
        if (cmd->kind == CMD_MACHINE_DOWN && answer->code == ERR_OK)
            checks_on_machine_down(cell_machine(cell, cmd->machine_down.machine));
    }
    const struct history_step *known = &steps[at[i]];
    if (!step_same(known, &step))
        checks_broken("history",
                      "r%u applies %s in entry %" PRIu64 ", where another replica has applied %s "
                      "in entry %" PRIu64,
                      i + 1, cmd_kind_text(step.kind), step.index, cmd_kind_text(known->kind),
                      known->index);
    if (known->digest != step.digest)
        checks_broken("digest",
                      "r%u has digest %016" PRIx64 " after %s of entry %" PRIu64
                      ", another replica %016" PRIx64,
                      i + 1, step.digest, cmd_kind_text(step.kind), step.index, known->digest);
    at[i]++;
}

void history_resumed(unsigned i, const struct cell *cell)
{
    at[i] = step_after(cell->applied_index);
    if (at[i] > 0 && steps[at[i] - 1].digest != cell_digest(cell))
        checks_broken("digest",
                      "r%u resumes at index %" PRIu64 " with digest %016" PRIx64
                      ", the history has %016" PRIx64 " there",
                      i + 1, cell->applied_index, cell_digest(cell), steps[at[i] - 1].digest);
}

bool history_digest(uint64_t index, uint64_t *ret)
{
    size_t after = step_after(index);
    if (after == 0)
        return false;
    *ret = steps[after - 1].digest;
    return true;
}

size_t history_count(void)
{
    return step_count;
}
