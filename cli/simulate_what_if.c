/*
 * simulate_what_if.c - count how many more tasks fit, and remove machines.
 */
#include "simulate_what_if.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Submit them as free work, which evicts nothing. */
int what_if_more(struct sim *sim, const struct job_spec *spec, uint64_t *ret, struct err *err)
{
    CLEANUP(spec_release) struct job_spec more;
    uint32_t placed;
    *ret = 0;
    spec_copy(&more, spec);
    more.priority = 0;
    more.replicas = CELL_TASKS_PER_JOB_MAX;
    str_copy(more.user, sizeof more.user, "simulate");
    uint32_t number = 0;
    do {
        do
            snprintf(more.name, sizeof more.name, "simulate-more-%" PRIu32, number++);
        while (cell_job_named(sim->cell, more.name) != NULL);
        int rc = sim_submit(sim, &more, err);
        if (rc != 0)
            return err_wrap(err, "after %" PRIu64 " tasks that fit", *ret);
        sim_run(sim);
        placed = cell_job_named(sim->cell, more.name)->counts[TASK_ASSIGNED];
        *ret += placed;
    } while (placed == more.replicas);
    return 0;
}

/* Per job, in the order of the cell's list: its state before, and what happened to it. */
struct ledger {
    uint32_t *pending; /* tasks pending before */
    uint32_t *lost;
    uint32_t *evicted;
    struct idmap numbers; /* job id to position + 1 */
};

static void ledger_open(struct ledger *ledger, const struct cell *cell)
{
    size_t i = 0;
    *ledger = (struct ledger){.pending = xcalloc(cell->job_count, sizeof(uint32_t)),
                              .lost = xcalloc(cell->job_count, sizeof(uint32_t)),
                              .evicted = xcalloc(cell->job_count, sizeof(uint32_t))};
    LIST_EACH(l, &cell->jobs)
    {
        const struct job *job = CONTAINER_OF(l, struct job, link);
        ledger->pending[i++] = job->counts[TASK_PENDING];
        idmap_put(&ledger->numbers, job->id.v, (void *)i);
    }
}

static void ledger_release(struct ledger *ledger)
{
    free(ledger->pending);
    free(ledger->lost);
    free(ledger->evicted);
    idmap_release(&ledger->numbers);
}

static size_t number_of(const struct ledger *ledger, task_id task)
{
    size_t number = (size_t)idmap_get(&ledger->numbers, task_job(task).v);
    ASSERT(number > 0); /* no job arrives while machines are removed */
    return number - 1;
}

static void simulate_what_if_on_decided(void *data, const struct sim *sim UNUSED,
                                        const struct cmd_schedule *decided)
{
    struct ledger *ledger = data;
    for (uint32_t i = 0; i < decided->victim_count; i++)
        ledger->evicted[number_of(ledger, decided->victims[i].task)]++;
}

static bool is_up(const struct sim *sim, uint32_t index)
{
    return sim->cell->machines[index]->state == MACHINE_UP;
}

static int take_down(struct sim *sim, uint32_t index, struct ledger *ledger, struct what_if *w,
                     struct err *err)
{
    const struct machine *machine = sim->cell->machines[index];
    LIST_EACH(l, &machine->tasks)
    {
        ledger->lost[number_of(ledger, CONTAINER_OF(l, struct task, link)->id)]++;
    }
    w->removed[w->removed_count++] = machine->id;
    return sim_machine_down(sim, machine->id, err);
}

static int take_drawn(struct sim *sim, uint64_t count, uint64_t *seed, struct ledger *ledger,
                      struct what_if *w, struct err *err)
{
    CLEANUP(free_ptr) uint32_t *up = xcalloc(sim->cell->machine_count, sizeof *up);
    uint32_t up_count = 0;
    int rc = 0;
    for (uint32_t i = 0; i < sim->cell->machine_count; i++)
        if (is_up(sim, i))
            up[up_count++] = i;
    if (count > up_count)
        return err_set(err, ERR_INVALID,
                       "--remove %" PRIu64 ": there are only %" PRIu32 " machines that are up",
                       count, up_count);
    for (uint64_t i = 0; rc == 0 && i < count; i++) {
        uint32_t at = (uint32_t)(sim_draw(seed) % up_count);
        rc = take_down(sim, up[at], ledger, w, err);
        up[at] = up[--up_count];
    }
    return rc;
}

static int take_meeting(struct sim *sim, const char *text, struct ledger *ledger, struct what_if *w,
                        struct err *err)
{
    CLEANUP(clauses_release) struct clauses clauses = {0};
    struct term term;
    uint32_t before = w->removed_count;
    int rc = term_parse(text, &term, err);
    if (rc != 0)
        return err_wrap(err, "--remove");
    clause_add(clauses_add(&clauses, 0), term);
    struct matcher *matcher = matcher_new(&clauses);
    for (uint32_t i = 0; rc == 0 && i < sim->cell->machine_count; i++) {
        struct subject subject = machine_subject(sim->cell->machines[i]);
        if (is_up(sim, i) && matcher_holds(matcher, 0, &subject))
            rc = take_down(sim, i, ledger, w, err);
    }
    matcher_free(matcher);
    if (rc == 0 && w->removed_count == before)
        rc = err_set(err, ERR_NOT_FOUND, "--remove: no machine that is up has %.80s", text);
    return rc;
}

static int take_what(struct sim *sim, const char *what, uint64_t *seed, struct ledger *ledger,
                     struct what_if *w, struct err *err)
{
    bool is_number = what[0] != '\0' && what[strspn(what, "0123456789")] == '\0';
    if (!is_number && name_valid(what)) {
        const struct machine *machine = cell_machine_named(sim->cell, what);
        if (machine == NULL || machine->state != MACHINE_UP)
            return err_set(err, ERR_NOT_FOUND, "--remove: no machine \"%s\" is up", what);
        return take_down(sim, machine->id.v - 1, ledger, w, err);
    }
    if (!is_number)
        return take_meeting(sim, what, ledger, w, err);
    uint64_t count = strtoull(what, NULL, 10);
    if (strlen(what) > 9 || count == 0)
        return err_set(err, ERR_INVALID, "--remove: \"%.40s\" is not a number of machines", what);
    return take_drawn(sim, count, seed, ledger, w, err);
}

static void compare(const struct sim *sim, const struct ledger *ledger, struct what_if *w)
{
    size_t i = 0;
    LIST_EACH(l, &sim->cell->jobs)
    {
        const struct job *job = CONTAINER_OF(l, struct job, link);
        uint32_t pending = job->counts[TASK_PENDING];
        struct what_if_job what = {.job = job->id,
                                   .lost = ledger->lost[i],
                                   .evicted = ledger->evicted[i],
                                   .pending = pending - MIN(pending, ledger->pending[i])};
        i++;
        if (what.lost + what.evicted + what.pending == 0)
            continue;
        w->jobs[w->job_count++] = what;
        w->lost += what.lost;
        w->evicted += what.evicted;
        w->pending += what.pending;
    }
}

int what_if_remove(struct sim *sim, const char *const *what, size_t count, uint64_t seed,
                   struct what_if *ret, struct err *err)
{
    CLEANUP(ledger_release) struct ledger ledger;
    int rc = 0;
    ledger_open(&ledger, sim->cell);
    *ret = (struct what_if){.removed = xcalloc(sim->cell->machine_count, sizeof(machine_id)),
                            .jobs = xcalloc(sim->cell->job_count, sizeof *ret->jobs)};
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = take_what(sim, what[i], &seed, &ledger, ret, err);
    if (rc != 0)
        return rc;
    sim->on_decided = simulate_what_if_on_decided;
    sim->data = &ledger;
    sim_run(sim);
    sim->on_decided = NULL;
    sim->data = NULL;
    compare(sim, &ledger, ret);
    return 0;
}

void what_if_release(struct what_if *w)
{
    free(w->removed);
    free(w->jobs);
    *w = (struct what_if){0};
}
