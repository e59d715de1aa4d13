/*
 * whereabouts.c - at which values of an attribute the live tasks of a job are.
 */
#include "whereabouts.h"

#include "attributes.h"
#include "cell_write.h"

#include <stdlib.h>
#include <string.h>

struct value_count {
    struct list link;
    uint32_t count; /* never 0 */
    char text[];
};

static struct tally *tally_find(const struct whereabouts *of, const char *by)
{
    return namemap_get(&of->tallies_by_attribute, by);
}

static void tally_add(struct tally *tally, const char *text, int change)
{
    struct value_count *value = namemap_get(&tally->values, text);
    if (value == NULL) {
        size_t size = strlen(text) + 1;
        value = xcalloc(1, sizeof *value + size);
        memcpy(value->text, text, size);
        list_push(&tally->counts, &value->link);
        namemap_put(&tally->values, value->text, value);
    }
    ASSERT(change > 0 || value->count > 0);
    value->count += (uint32_t)change;
    tally->with += (uint32_t)change;
    if (value->count > 0)
        return;
    namemap_remove(&tally->values, value->text);
    list_remove(&value->link);
    free(value);
}

static uint32_t at_text(const struct tally *tally, const char *text)
{
    if (text == NULL)
        return tally->of->live - tally->with;
    const struct value_count *value = namemap_get(&tally->values, text);
    return value == NULL ? 0 : value->count;
}

static const char *text_at(const struct tally *tally, const struct machine *machine)
{
    struct subject subject = machine_subject(machine);
    return subject_get(&subject, tally->by);
}

uint32_t tally_at(const struct tally *tally, const struct machine *machine)
{
    return at_text(tally, text_at(tally, machine));
}

/* Whichever is less: the tallies there are, or the attributes of the machine. */
static void whereabouts_count(struct whereabouts *of, const struct machine *machine, int change)
{
    char key[CELL_NAME_MAX + 1];
    of->live += (uint32_t)change;
    struct tally *tally = tally_find(of, ATTRIBUTE_MACHINE);
    if (tally != NULL)
        tally_add(tally, machine->name, change);
    for (const char *w = words_first(&machine->attributes); w != NULL;
         w = words_next(&machine->attributes, w)) {
        size_t length = strcspn(w, "=");
        ASSERT(length < sizeof key);
        memcpy(key, w, length);
        key[length] = '\0';
        tally = tally_find(of, key);
        if (tally != NULL)
            tally_add(tally, w + length + 1, change);
    }
}

void job_count_at(const struct job *job, const struct machine *machine, int change)
{
    if (job->whereabouts != NULL)
        whereabouts_count(job->whereabouts, machine, change);
}

void machine_count_whereabouts(const struct cell *cell, const struct machine *machine, int change)
{
    LIST_EACH(l, &machine->tasks)
    {
        const struct task *task = CONTAINER_OF(l, struct task, link);
        job_count_at(job_find(cell, task_job(task->id)), machine, change);
    }
}

static struct whereabouts *whereabouts_new(const char *name)
{
    struct whereabouts *of = xcalloc(1, sizeof *of);
    str_copy(of->name, sizeof of->name, name);
    list_init(&of->tallies);
    list_init(&of->keepers);
    return of;
}

static struct whereabouts *whereabouts_get(struct cell *cell, const char *name)
{
    struct whereabouts *of = namemap_get(&cell->whereabouts_by_name, name);
    if (of == NULL) {
        of = whereabouts_new(name);
        namemap_put(&cell->whereabouts_by_name, of->name, of);
        whereabouts_of(cell, namemap_get(&cell->jobs_by_name, name));
    }
    of->users++;
    return of;
}

static void whereabouts_put(struct cell *cell, struct whereabouts *of)
{
    if (--of->users > 0)
        return;
    ASSERT(list_empty(&of->tallies) && list_empty(&of->keepers));
    if (of->job != NULL)
        of->job->whereabouts = NULL;
    namemap_remove(&cell->whereabouts_by_name, of->name);
    namemap_release(&of->tallies_by_attribute);
    free(of);
}

void whereabouts_of(struct cell *cell, struct job *job)
{
    struct whereabouts *of =
        job == NULL ? NULL : namemap_get(&cell->whereabouts_by_name, job->spec.name);
    if (of == NULL)
        return;
    if (of->job != NULL) /* an older one of this name, which is dead */
        of->job->whereabouts = NULL;
    of->job = job;
    of->live = job->counts[TASK_ASSIGNED] + job->counts[TASK_RUNNING];
    job->whereabouts = of;
}

void whereabouts_forget(struct job *job)
{
    if (job->whereabouts != NULL)
        job->whereabouts->job = NULL;
    job->whereabouts = NULL;
}

static struct tally *tally_new(struct whereabouts *of, const char *by)
{
    struct tally *tally = xcalloc(1, sizeof *tally);
    tally->of = of;
    str_copy(tally->by, sizeof tally->by, by);
    list_init(&tally->counts);
    list_push(&of->tallies, &tally->link);
    namemap_put(&of->tallies_by_attribute, tally->by, tally);
    return tally;
}

static void tally_free(struct tally *tally)
{
    namemap_remove(&tally->of->tallies_by_attribute, tally->by);
    list_remove(&tally->link);
    namemap_release(&tally->values);
    for (struct list *l; (l = list_pop(&tally->counts)) != NULL;)
        free(CONTAINER_OF(l, struct value_count, link));
    free(tally);
}

static struct tally *tally_get(struct cell *cell, const char *name, const char *by)
{
    struct whereabouts *of = whereabouts_get(cell, name);
    struct tally *tally = tally_find(of, by);
    if (tally == NULL) {
        tally = tally_new(of, by);
        tally->counted = of->live > 0 ? 0 : TALLY_WHOLE;
    }
    tally->users++;
    return tally;
}

static void tally_put(struct cell *cell, struct tally *tally)
{
    struct whereabouts *of = tally->of;
    if (--tally->users == 0)
        tally_free(tally);
    whereabouts_put(cell, of);
}

static void keeper_add(struct cell *cell, struct job *job, const char *kept, const char *by)
{
    struct apart *keeper = &job->asks->keepers[job->asks->keeper_count++];
    keeper->by = job;
    keeper->where = tally_get(cell, job->spec.name, by);
    keeper->kept = whereabouts_get(cell, kept);
    list_push(&keeper->kept->keepers, &keeper->link);
}

static void ask_clause(struct cell *cell, struct job *job, const struct clause *clause)
{
    for (uint32_t i = 0; i < clause->term_count; i++) {
        const struct term *term = &clause->terms[i];
        if (term_is_company(term))
            job->asks->companies[job->asks->company_count++] =
                tally_get(cell, words_first(&term->values), term->attribute);
    }
    const char *kept = clause_keeps_away(clause);
    if (kept != NULL && strcmp(kept, job->spec.name) != 0)
        keeper_add(cell, job, kept, clause->terms[0].attribute);
}

static bool asks_anything(const struct job_spec *spec)
{
    bool asks = false;
    for (uint32_t i = 0; i < spec->spread_count; i++)
        asks |= spec->spreads[i].max > 0;
    for (uint32_t i = 0; i < spec->constraints.count; i++)
        asks |= spec->constraints.items[i].weight == 0 &&
                clause_has_company(&spec->constraints.items[i]);
    return asks;
}

void asks_add(struct cell *cell, struct job *job)
{
    const struct job_spec *spec = &job->spec;
    ASSERT(job->asks == NULL);
    if (!asks_anything(spec))
        return;
    job->asks = xcalloc(1, sizeof *job->asks);
    for (uint32_t i = 0; i < spec->spread_count; i++)
        if (spec->spreads[i].max > 0)
            job->asks->spreads[i] = tally_get(cell, spec->name, spec->spreads[i].by);
    for (uint32_t i = 0; i < spec->constraints.count; i++)
        if (spec->constraints.items[i].weight == 0)
            ask_clause(cell, job, &spec->constraints.items[i]);
}

void asks_release(struct cell *cell, struct job *job)
{
    struct asks *asks = job->asks;
    if (asks == NULL)
        return;
    for (uint32_t i = 0; i < SPEC_SPREADS_MAX; i++)
        if (asks->spreads[i] != NULL)
            tally_put(cell, asks->spreads[i]);
    for (uint32_t i = 0; i < asks->company_count; i++)
        tally_put(cell, asks->companies[i]);
    for (uint32_t i = 0; i < asks->keeper_count; i++) {
        list_remove(&asks->keepers[i].link);
        whereabouts_put(cell, asks->keepers[i].kept);
        tally_put(cell, asks->keepers[i].where);
    }
    free(asks);
    job->asks = NULL;
}

/* Count the rows from where it stopped; false: there are no units left. */
static bool tally_go_on(const struct cell *cell, struct tally *tally, uint32_t *units)
{
    const struct job *job = tally->of->job;
    while (tally->counted != TALLY_WHOLE && *units > 0) {
        const struct task *task = &job->tasks[tally->counted++];
        --*units;
        if (task_is_live(task)) {
            const char *text = text_at(tally, machine_find(cell, task->machine));
            if (text != NULL)
                tally_add(tally, text, 1);
        }
        if (tally->counted == job->task_count)
            tally->counted = TALLY_WHOLE;
    }
    return tally->counted == TALLY_WHOLE;
}

bool asks_count(const struct cell *cell, struct job *job, uint32_t *units)
{
    const struct asks *asks = job->asks;
    bool whole = true;
    if (asks == NULL)
        return true;
    for (uint32_t i = 0; i < SPEC_SPREADS_MAX && whole; i++)
        whole = asks->spreads[i] == NULL || tally_go_on(cell, asks->spreads[i], units);
    for (uint32_t i = 0; i < asks->company_count && whole; i++)
        whole = tally_go_on(cell, asks->companies[i], units);
    for (uint32_t i = 0; i < asks->keeper_count && whole; i++)
        whole = tally_go_on(cell, asks->keepers[i].where, units);
    return whole;
}

int asks_check(const struct cell *cell, const struct job_spec *spec, struct err *err)
{
    for (uint32_t i = 0; i < spec->constraints.count; i++) {
        const char *kept = clause_keeps_away(&spec->constraints.items[i]);
        const struct whereabouts *of =
            kept == NULL ? NULL : namemap_get(&cell->whereabouts_by_name, kept);
        uint32_t count = 0;
        if (of == NULL)
            continue;
        LIST_EACH(l, &of->keepers)
        count += strcmp(CONTAINER_OF(l, struct apart, link)->by->spec.user, spec->user) == 0;
        if (count >= APART_JOBS_MAX)
            return err_set(err, ERR_LIMIT,
                           "task.constraints[%u]: %u live jobs of user \"%s\" keep apart from job "
                           "\"%s\", no more are allowed; kill one of them first",
                           i, count, spec->user, kept);
    }
    return 0;
}

struct whereabouts *trial_new(const struct job *job)
{
    struct whereabouts *trial = whereabouts_new(job->spec.name);
    if (job->whereabouts == NULL)
        return trial;
    LIST_EACH(l, &job->whereabouts->tallies)
    tally_new(trial, CONTAINER_OF(l, struct tally, link)->by);
    return trial;
}

void trial_free(struct whereabouts *trial)
{
    if (trial == NULL)
        return;
    while (!list_empty(&trial->tallies))
        tally_free(CONTAINER_OF(trial->tallies.next, struct tally, link));
    namemap_release(&trial->tallies_by_attribute);
    free(trial);
}

void trial_place(struct whereabouts *trial, const struct machine *machine)
{
    whereabouts_count(trial, machine, 1);
}

static const struct whereabouts *trial_of(const struct tally *tally,
                                          const struct whereabouts *trial)
{
    return trial != NULL && strcmp(trial->name, tally->of->name) == 0 ? trial : NULL;
}

uint32_t tally_trial_at(const struct tally *tally, const struct whereabouts *trial,
                        const struct machine *machine)
{
    const struct whereabouts *of = trial_of(tally, trial);
    const struct tally *more = of == NULL ? NULL : tally_find(of, tally->by);
    return tally_at(tally, machine) + (more == NULL ? 0 : tally_at(more, machine));
}

uint32_t tally_trial_live(const struct tally *tally, const struct whereabouts *trial)
{
    const struct whereabouts *of = trial_of(tally, trial);
    return tally->of->live + (of == NULL ? 0 : of->live);
}

/* Recount it from the rows, the slow way. */
static void tally_check(const struct cell *cell, const struct tally *tally, const struct job *job)
{
    struct whereabouts *own = whereabouts_new(job->spec.name);
    struct tally *again = tally_new(own, tally->by);
    uint32_t units = UINT32_MAX;
    own->job = job_find(cell, job->id);
    again->counted = job->task_count > 0 ? 0 : TALLY_WHOLE;
    tally_go_on(cell, again, &units);
    ASSERT(tally->counted == TALLY_WHOLE);
    ASSERT(tally->users > 0);
    ASSERT(again->with == tally->with);
    ASSERT(again->values.count == tally->values.count);
    LIST_EACH(l, &again->counts)
    {
        const struct value_count *value = CONTAINER_OF(l, struct value_count, link);
        ASSERT(at_text(tally, value->text) == value->count);
    }
    trial_free(own);
}

void whereabouts_check(const struct cell *cell, const struct job *job)
{
    const struct whereabouts *of = namemap_get(&cell->whereabouts_by_name, job->spec.name);
    bool is_newest = cell_job_named(cell, job->spec.name) == job;
    ASSERT(job->whereabouts == (is_newest ? of : NULL));
    ASSERT((job->asks != NULL) == (!job_is_dead(job) && asks_anything(&job->spec)));
    for (uint32_t i = 0; job->asks != NULL && i < job->asks->company_count; i++) {
        const struct tally *tally = job->asks->companies[i];
        ASSERT(namemap_get(&cell->whereabouts_by_name, tally->of->name) == tally->of);
        ASSERT_IMPLIES(tally->of->job == NULL, tally->of->live == 0 && tally->with == 0);
    }
    if (job->whereabouts == NULL)
        return;
    ASSERT(of->job == job);
    ASSERT(of->live == job->counts[TASK_ASSIGNED] + job->counts[TASK_RUNNING]);
    LIST_EACH(l, &of->tallies)
    tally_check(cell, CONTAINER_OF(l, struct tally, link), job);
}
