/*
 * presence.c - where the tasks of other jobs are: near and apart.
 *
 * Of each job and attribute that is asked for there is one presence: the live tasks per value,
 * those that are stopping included. It is counted as tasks come and go, so asking is one look for
 * each machine. A hard clause that is nothing but an apart holds in both directions: the
 * job that is meant has a keeper then, and is kept away from where the other one's tasks are, if it
 * is of the same user or of lower priority (job_binds()).
 */
#include "places.h"

#include <stdlib.h>
#include <string.h>

enum { FEW_MAX = 4096 };

static struct crowd *crowd_get(struct view *view, const char *name)
{
    struct crowd *crowd = namemap_get(&view->crowds_by_name, name);
    if (crowd == NULL) {
        crowd = xcalloc(1, sizeof *crowd);
        str_copy(crowd->name, sizeof crowd->name, name);
        list_init(&crowd->presences);
        list_init(&crowd->keepers);
        namemap_put(&view->crowds_by_name, crowd->name, crowd);
    }
    crowd->users++;
    return crowd;
}

static void crowd_put(struct view *view, struct crowd *crowd)
{
    if (--crowd->users > 0)
        return;
    ASSERT(crowd->job == NULL);
    namemap_remove(&view->crowds_by_name, crowd->name);
    free(crowd);
}

static uint32_t count_at(const struct presence *presence, uint32_t machine)
{
    uint64_t value = presence->axis->value[machine];
    return value < presence->few_count ? presence->few[value]
                                       : (uint32_t)(uintptr_t)idmap_get(&presence->many, value + 1);
}

/* Near itself: what a job asks for is there as soon as it has begun somewhere. */
static bool is_unbegun(const struct presence *presence, const struct crowd *crowd)
{
    return presence->of == crowd && presence->total == 0;
}

static bool helps(const struct presence *presence, const struct watch *watch, uint32_t count,
                  int change)
{
    if (watch->op == OP_APART)
        return change < 0 && count == 0;
    return (change > 0 && count == 1) || is_unbegun(presence, watch->who);
}

static void wake(struct view *view, const struct presence *presence, const struct watch *watch,
                 uint32_t machine)
{
    bool here = axis_is_by_machine(presence->axis) && presence->total > 0;
    if (watch->who->job != NULL)
        view_reconsider(view, watch->who->job, here ? machine : VIEW_NO_MACHINE);
}

static void few_grow(struct presence *presence, uint32_t value)
{
    uint32_t count = MIN(MAX(value + 1, 2 * presence->few_count), (uint32_t)FEW_MAX);
    presence->few = xrealloc(presence->few, count, sizeof *presence->few);
    for (uint32_t v = presence->few_count; v < count; v++)
        presence->few[v] = 0;
    presence->few_count = count;
}

static void count_set(struct presence *presence, uint32_t machine, uint32_t count)
{
    uint32_t value = presence->axis->value[machine];
    if (value >= presence->few_count && value < FEW_MAX && !axis_is_by_machine(presence->axis))
        few_grow(presence, value);
    if (value < presence->few_count)
        presence->few[value] = count;
    else if (count == 0)
        idmap_remove(&presence->many, (uint64_t)value + 1);
    else
        idmap_put(&presence->many, (uint64_t)value + 1, (void *)(uintptr_t)count);
}

static void count_change(struct view *view, struct presence *presence, uint32_t machine, int change)
{
    uint32_t count = count_at(presence, machine);
    ASSERT_IMPLIES(change<0, count> 0);
    count += (uint32_t)change;
    presence->total += (uint32_t)change;
    presence->begun += change > 0 && count == 1;
    presence->ended += count == 0;
    count_set(presence, machine, count);
    LIST_EACH(l, &presence->watches)
    {
        const struct watch *watch = CONTAINER_OF(l, struct watch, link);
        if (!view->trying && helps(presence, watch, count, change))
            wake(view, presence, watch, machine);
    }
}

void presence_count(struct view *view, const struct view_job *job, uint32_t machine, int change)
{
    LIST_EACH(l, &job->crowd->presences)
    count_change(view, CONTAINER_OF(l, struct presence, link), machine, change);
}

void presence_tell(struct view *view, const struct view_job *job, uint32_t machine)
{
    LIST_EACH(l, &job->crowd->presences)
    {
        const struct presence *presence = CONTAINER_OF(l, struct presence, link);
        LIST_EACH(w, &presence->watches)
        {
            const struct watch *watch = CONTAINER_OF(w, struct watch, link);
            if (watch->op == OP_NEAR)
                wake(view, presence, watch, machine);
        }
    }
}

static struct presence *presence_get(struct view *view, const char *name, const char *by)
{
    struct crowd *of = crowd_get(view, name);
    LIST_EACH(l, &of->presences)
    {
        struct presence *presence = CONTAINER_OF(l, struct presence, link);
        if (strcmp(presence->axis->by, by) == 0) {
            presence->users++;
            crowd_put(view, of);
            return presence;
        }
    }
    struct presence *presence = xcalloc(1, sizeof *presence);
    presence->of = of;
    presence->axis = axis_get(view, by);
    presence->users = 1;
    list_init(&presence->watches);
    list_push(&of->presences, &presence->link);
    for (uint32_t i = 0; of->job != NULL && i < of->job->task_count; i++)
        if (of->job->tasks[i].state == VIEW_LIVE)
            count_change(view, presence, of->job->tasks[i].machine, 1);
    return presence;
}

static void presence_put(struct view *view, struct presence *presence)
{
    if (--presence->users > 0)
        return;
    ASSERT(list_empty(&presence->watches));
    list_remove(&presence->link);
    free(presence->few);
    idmap_release(&presence->many);
    axis_put(presence->axis);
    crowd_put(view, presence->of);
    free(presence);
}

void company_init(struct view *view, struct company *company, const struct clause *clause)
{
    company->weight = clause->weight;
    company->terms = xcalloc(clause->term_count, sizeof *company->terms);
    for (uint32_t i = 0; i < clause->term_count; i++) {
        const struct term *term = &clause->terms[i];
        if (term_is_company(term))
            company->terms[company->term_count++] = (struct company_term){
                presence_get(view, words_first(&term->values), term->attribute), term->op};
    }
}

void company_release(struct view *view, struct company *company)
{
    for (uint32_t i = 0; i < company->term_count; i++)
        presence_put(view, company->terms[i].presence);
    free(company->terms);
    free(company->alone);
}

bool company_holds(const struct company *company, const struct view_job *job, uint32_t machine)
{
    if (bit_get(company->alone, machine))
        return true;
    for (uint32_t i = 0; i < company->term_count; i++) {
        const struct presence *presence = company->terms[i].presence;
        bool is_there = count_at(presence, machine) > 0;
        if (company->terms[i].op == OP_APART ? !is_there
                                             : is_there || is_unbegun(presence, job->crowd))
            return true;
    }
    return false;
}

static bool keeper_binds(const struct keeper *keeper, const struct view_job *job)
{
    const struct view_job *by = keeper->presence->of->job;
    return by != NULL && (by->owner == job->owner || job->priority < by->priority);
}

const char *presence_keeper(const struct view_job *job, uint32_t machine)
{
    LIST_EACH(l, &job->crowd->keepers)
    {
        const struct keeper *keeper = CONTAINER_OF(l, struct keeper, link);
        if (keeper_binds(keeper, job) && count_at(keeper->presence, machine) > 0)
            return keeper->presence->of->name;
    }
    return NULL;
}

bool presence_allows(const struct view_job *job, uint32_t machine)
{
    const struct match *match = job->match;
    for (uint32_t i = 0; match != NULL && i < match->company_count; i++)
        if (match->companies[i].weight == 0 && !company_holds(&match->companies[i], job, machine))
            return false;
    return presence_keeper(job, machine) == NULL;
}

/* The machines at the values where it is, if these are at most `max`. */
static bool machines_at(const struct presence *presence, uint32_t max, uint32_t *ret_machines,
                        uint32_t *ret_count)
{
    const struct axis *axis = presence->axis;
    uint32_t count = 0;
    if (presence->many.count > 0) /* no map tells what is in it */
        return false;
    for (uint32_t v = 0; v < presence->few_count; v++) {
        if (presence->few[v] == 0)
            continue;
        const struct axis_value *value = axis->values[v];
        if (value->machine_count > max - count)
            return false;
        for (uint32_t i = 0, m = value->first; i < value->machine_count; i++, m = axis->next[m])
            ret_machines[count++] = m;
    }
    *ret_count = count;
    return true;
}

bool presence_few(const struct view_job *job, uint32_t max, uint32_t *ret_machines,
                  uint32_t *ret_count)
{
    const struct match *match = job->match;
    for (uint32_t i = 0; match != NULL && i < match->company_count; i++) {
        const struct company *company = &match->companies[i];
        const struct presence *presence = company->terms[0].presence;
        if (company->weight == 0 && match->clauses.items[company->at].term_count == 1 &&
            company->terms[0].op == OP_NEAR && !is_unbegun(presence, job->crowd) &&
            machines_at(presence, max, ret_machines, ret_count))
            return true;
    }
    return false;
}

uint64_t presence_eased(const struct view_job *job)
{
    uint64_t eased = 0;
    for (uint32_t i = 0; job->match != NULL && i < job->match->company_count; i++) {
        const struct company *company = &job->match->companies[i];
        for (uint32_t t = 0; t < company->term_count; t++) {
            const struct presence *presence = company->terms[t].presence;
            eased += presence->ended + (company->terms[t].op == OP_NEAR ? presence->begun : 0);
        }
    }
    LIST_EACH(l, &job->crowd->keepers)
    eased += CONTAINER_OF(l, struct keeper, link)->presence->ended;
    return eased;
}

static void watch_add(struct watch *watch, struct presence *presence, struct crowd *who,
                      enum term_op op)
{
    watch->who = who;
    watch->op = op;
    list_push(&presence->watches, &watch->link);
}

static void watches_add(struct view_job *job)
{
    const struct match *match = job->match;
    for (uint32_t i = 0; i < match->company_count; i++) {
        const struct company *company = &match->companies[i];
        for (uint32_t t = 0; t < company->term_count && company->weight == 0; t++)
            watch_add(&job->watches[job->watch_count++], company->terms[t].presence, job->crowd,
                      company->terms[t].op);
    }
}

/* Does the job ask for company, or does somebody ask not to have its? */
static void flag(struct crowd *crowd)
{
    if (crowd->job != NULL)
        crowd->job->has_company = crowd->job->watch_count > 0 || !list_empty(&crowd->keepers);
}

static void keeper_add(struct view *view, struct view_job *job, struct keeper *keeper,
                       const char *whom, const char *by)
{
    struct crowd *other = crowd_get(view, whom);
    keeper->presence = presence_get(view, job->crowd->name, by);
    list_push(&other->keepers, &keeper->link);
    watch_add(&keeper->watch, keeper->presence, other, OP_APART);
    flag(other);
}

static void keepers_add(struct view *view, struct view_job *job, const struct clauses *clauses)
{
    for (uint32_t i = 0; i < clauses->count; i++) {
        const char *whom = clause_keeps_away(&clauses->items[i]);
        if (whom != NULL && strcmp(whom, job->crowd->name) != 0)
            keeper_add(view, job, &job->keepers[job->keeper_count++], whom,
                       clauses->items[i].terms[0].attribute);
    }
}

void presence_add(struct view *view, struct view_job *job, const struct job_spec *spec)
{
    job->crowd = crowd_get(view, spec->name);
    ASSERT(job->crowd->job == NULL); /* only the newest of a name may live */
    job->crowd->job = job;
    if (job->match != NULL && job->match->company_count > 0) {
        /* The lists hold on to these: they must not move. */
        job->watches = xcalloc(SPEC_COMPANIES_MAX, sizeof *job->watches);
        job->keepers = xcalloc(SPEC_COMPANIES_MAX, sizeof *job->keepers);
        watches_add(job);
        keepers_add(view, job, &job->match->clauses);
    }
    flag(job->crowd);
}

void presence_remove(struct view *view, struct view_job *job)
{
    for (uint32_t i = 0; i < job->watch_count; i++)
        list_remove(&job->watches[i].link);
    for (uint32_t i = 0; i < job->keeper_count; i++) {
        struct keeper *keeper = &job->keepers[i];
        struct crowd *other = keeper->watch.who;
        list_remove(&keeper->link);
        list_remove(&keeper->watch.link);
        /* It leaves the sum of presence_eased() with all that it had ended: the sum must not come
         * back to what it was. */
        if (other->job != NULL)
            other->job->eased += keeper->presence->ended + 1;
        presence_put(view, keeper->presence);
        flag(other);
        crowd_put(view, other);
    }
    free(job->watches);
    free(job->keepers);
    job->crowd->job = NULL;
    crowd_put(view, job->crowd);
}
