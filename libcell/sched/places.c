/*
 * places.c - what jobs ask of machines beside room: constraints, being spread, company.
 *
 * Clauses are judged once for each machine, when it says something new of itself, and not at each
 * placement; jobs with the same clauses share the verdicts. Of a spread the view counts the live
 * tasks per value, those that are stopping included: they are there until they are gone. Terms
 * about the company of other jobs are presence.c's.
 */
#include "places.h"

#include "attributes.h"

#include <stdlib.h>
#include <string.h>

static struct subject places_subject(const struct view *view, uint32_t machine)
{
    const struct facts *facts = view->facts[machine];
    return (struct subject){facts->name, &facts->attributes};
}

static void match_judge(const struct view *view, struct match *match, uint32_t machine)
{
    match->meets_count -= bit_get(match->meets, machine);
    bit_set(match->meets, machine, false);
    if (view->facts[machine] == NULL)
        return;
    struct subject subject = places_subject(view, machine);
    match->failing[machine] = (uint8_t)matcher_failing(match->matcher, &subject);
    bool meets = match->failing[machine] == match->clauses.count;
    bit_set(match->meets, machine, meets);
    match->meets_count += meets;
    match->cost[machine] = match->has_wishes ? matcher_cost(match->matcher, &subject) : 0;
    for (uint32_t i = 0; i < match->company_count; i++)
        bit_set(match->companies[i].alone, machine,
                matcher_holds(match->matcher, match->companies[i].at, &subject));
}

static void bits_grow(uint64_t **bits, uint32_t old, uint32_t capacity)
{
    uint32_t words_old = (old + WORD_BITS - 1) / WORD_BITS;
    uint32_t words = (capacity + WORD_BITS - 1) / WORD_BITS;
    *bits = xrealloc(*bits, words, sizeof **bits);
    for (uint32_t i = words_old; i < words; i++)
        (*bits)[i] = 0;
}

static void match_grow(struct match *match, uint32_t old, uint32_t capacity)
{
    bits_grow(&match->meets, old, capacity);
    match->cost = xrealloc(match->cost, capacity, sizeof *match->cost);
    match->failing = xrealloc(match->failing, capacity, sizeof *match->failing);
    for (uint32_t i = old; i < capacity; i++) {
        match->cost[i] = 0;
        match->failing[i] = 0;
    }
    for (uint32_t i = 0; i < match->company_count; i++)
        bits_grow(&match->companies[i].alone, old, capacity);
}

static void companies_init(struct view *view, struct match *match)
{
    const struct clauses *clauses = &match->clauses;
    uint32_t count = 0;
    for (uint32_t i = 0; i < clauses->count; i++)
        count += clause_has_company(&clauses->items[i]);
    match->companies = count == 0 ? NULL : xcalloc(count, sizeof *match->companies);
    for (uint32_t i = 0; i < clauses->count; i++) {
        if (!clause_has_company(&clauses->items[i]))
            continue;
        struct company *company = &match->companies[match->company_count++];
        company->at = i;
        company_init(view, company, &clauses->items[i]);
    }
}

static struct match *match_get(struct view *view, const struct clauses *clauses)
{
    CLEANUP(buf_release) struct buf key = {0};
    clauses_key(clauses, &key);
    struct match *match = namemap_get(&view->matches_by_key, buf_text(&key));
    if (match == NULL) {
        match = xcalloc(1, sizeof *match);
        match->key = xstrdup(buf_text(&key));
        match->number = ++view->match_last;
        match->clauses = clauses_copy(clauses);
        match->matcher = matcher_new(&match->clauses);
        for (uint32_t i = 0; i < clauses->count; i++)
            match->has_wishes |= clauses->items[i].weight > 0;
        list_push(&view->matches, &match->link);
        namemap_put(&view->matches_by_key, match->key, match);
        companies_init(view, match);
        match_grow(match, 0, view->machine_capacity);
        for (uint32_t m = 0; m < view->machine_count; m++)
            match_judge(view, match, m);
    }
    match->jobs++;
    return match;
}

static void match_put(struct view *view, struct match *match)
{
    if (--match->jobs > 0)
        return;
    namemap_remove(&view->matches_by_key, match->key);
    list_remove(&match->link);
    for (uint32_t i = 0; i < match->company_count; i++)
        company_release(view, &match->companies[i]);
    free(match->companies);
    matcher_free(match->matcher);
    clauses_release(&match->clauses);
    free(match->meets);
    free(match->failing);
    free(match->cost);
    free(match->key);
    free(match);
}

bool axis_is_by_machine(const struct axis *axis)
{
    return strcmp(axis->by, ATTRIBUTE_MACHINE) == 0;
}

static const uint32_t NO_VALUE = UINT32_MAX;

static struct axis_value *axis_value_get(struct axis *axis, const char *text)
{
    struct axis_value *value = namemap_get(&axis->numbers, text);
    if (value != NULL)
        return value;
    value = xcalloc(1, sizeof *value);
    value->number = axis->value_count++;
    str_copy(value->text, sizeof value->text, text);
    axis->values = xrealloc(axis->values, axis->value_count, sizeof(struct axis_value *));
    axis->values[value->number] = value;
    namemap_put(&axis->numbers, value->text, value);
    return value;
}

static void axis_leave(struct axis *axis, uint32_t machine)
{
    struct axis_value *value = axis->values[axis->value[machine]];
    uint32_t next = axis->next[machine], prev = axis->prev[machine];
    axis->next[prev] = next;
    axis->prev[next] = prev;
    value->machine_count--;
    if (value->first == machine)
        value->first = next;
}

static void axis_enter(struct axis *axis, uint32_t machine, struct axis_value *value)
{
    if (value->machine_count++ == 0) /* a ring of its own */
        value->first = axis->next[machine] = axis->prev[machine] = machine;
    uint32_t next = value->first, prev = axis->prev[next];
    axis->next[machine] = next;
    axis->prev[machine] = prev;
    axis->next[prev] = axis->prev[next] = machine;
    axis->value[machine] = value->number;
}

static void axis_judge(const struct view *view, struct axis *axis, uint32_t machine)
{
    const char *text = NULL;
    if (axis_is_by_machine(axis)) {
        axis->value[machine] = machine;
        return;
    }
    if (view->facts[machine] != NULL)
        text = attributes_get(&view->facts[machine]->attributes, axis->by);
    if (axis->value[machine] != NO_VALUE)
        axis_leave(axis, machine);
    axis_enter(axis, machine, axis_value_get(axis, text == NULL ? "" : text));
}

static void axis_grow(struct axis *axis, uint32_t old, uint32_t capacity)
{
    axis->value = xrealloc(axis->value, capacity, sizeof *axis->value);
    for (uint32_t m = old; m < capacity; m++)
        axis->value[m] = NO_VALUE;
    if (axis_is_by_machine(axis))
        return;
    axis->next = xrealloc(axis->next, capacity, sizeof *axis->next);
    axis->prev = xrealloc(axis->prev, capacity, sizeof *axis->prev);
}

struct axis *axis_get(struct view *view, const char *by)
{
    LIST_EACH(l, &view->axes)
    {
        struct axis *axis = CONTAINER_OF(l, struct axis, link);
        if (strcmp(axis->by, by) == 0) {
            axis->users++;
            return axis;
        }
    }
    struct axis *axis = xcalloc(1, sizeof *axis);
    axis->users = 1;
    str_copy(axis->by, sizeof axis->by, by);
    list_push(&view->axes, &axis->link);
    axis_grow(axis, 0, view->machine_capacity);
    for (uint32_t m = 0; m < view->machine_count; m++)
        axis_judge(view, axis, m);
    return axis;
}

void axis_put(struct axis *axis)
{
    if (--axis->users > 0)
        return;
    list_remove(&axis->link);
    for (uint32_t i = 0; i < axis->value_count; i++)
        free(axis->values[i]);
    free(axis->values);
    namemap_release(&axis->numbers);
    free(axis->value);
    free(axis->next);
    free(axis->prev);
    free(axis);
}

void places_grow(struct view *view, uint32_t old_capacity, uint32_t capacity)
{
    LIST_EACH(l, &view->matches)
    match_grow(CONTAINER_OF(l, struct match, link), old_capacity, capacity);
    LIST_EACH(l, &view->axes)
    axis_grow(CONTAINER_OF(l, struct axis, link), old_capacity, capacity);
}

void places_machine(struct view *view, uint32_t machine)
{
    LIST_EACH(l, &view->matches)
    match_judge(view, CONTAINER_OF(l, struct match, link), machine);
    LIST_EACH(l, &view->axes)
    axis_judge(view, CONTAINER_OF(l, struct axis, link), machine);
}

void places_add(struct view *view, struct view_job *job, const struct job_spec *spec)
{
    if (spec->constraints.count > 0)
        job->match = match_get(view, &spec->constraints);
    job->has_wishes = job->match != NULL && job->match->has_wishes;
    job->spread_count = spec->spread_count;
    for (uint32_t i = 0; i < spec->spread_count; i++) {
        const struct spread *spread = &spec->spreads[i];
        job->spreads[i] = (struct view_spread){
            .axis = axis_get(view, spread->by), .max = spread->max, .weight = spread->weight};
        job->has_max |= spread->max > 0;
        job->has_wishes |= spread->weight > 0;
    }
    presence_add(view, job, spec);
}

void places_remove(struct view *view, struct view_job *job)
{
    presence_remove(view, job);
    if (job->match != NULL)
        match_put(view, job->match);
    for (uint32_t i = 0; i < job->spread_count; i++) {
        free(job->spreads[i].counts);
        axis_put(job->spreads[i].axis);
    }
}

static uint32_t count_of(const struct view_spread *spread, uint32_t machine)
{
    uint32_t value = spread->axis->value[machine];
    return value < spread->count_capacity ? spread->counts[value] : 0;
}

void places_count(struct view *view, struct view_job *job, uint32_t machine, int change)
{
    presence_count(view, job, machine, change);
    job->eased += change < 0;
    for (uint32_t i = 0; i < job->spread_count; i++) {
        struct view_spread *spread = &job->spreads[i];
        uint32_t value = spread->axis->value[machine];
        if (value >= spread->count_capacity) {
            uint32_t capacity = MAX(value + 1, 2 * spread->count_capacity);
            spread->counts = xrealloc(spread->counts, capacity, sizeof *spread->counts);
            for (uint32_t v = spread->count_capacity; v < capacity; v++)
                spread->counts[v] = 0;
            spread->count_capacity = capacity;
        }
        ASSERT_IMPLIES(change<0, spread->counts[value]> 0);
        spread->counts[value] += (uint32_t)change;
    }
}

uint32_t places_full(const struct view_job *job, uint32_t machine)
{
    uint32_t i = 0;
    while (i < job->spread_count &&
           (job->spreads[i].max == 0 || count_of(&job->spreads[i], machine) < job->spreads[i].max))
        i++;
    return i;
}

bool places_allow(const struct view_job *job, uint32_t machine)
{
    return (job->match == NULL || bit_get(job->match->meets, machine)) &&
           (!job->has_max || places_full(job, machine) == job->spread_count) &&
           (!job->has_company || presence_allows(job, machine));
}

uint64_t places_eased(const struct view_job *job)
{
    return job->eased + presence_eased(job);
}

uint32_t places_failing(const struct view_job *job, uint32_t machine)
{
    const struct match *match = job->match;
    if (match == NULL)
        return 0;
    uint32_t failing = match->failing[machine];
    for (uint32_t i = 0; i < match->company_count; i++) {
        const struct company *company = &match->companies[i];
        if (company->weight == 0 && company->at < failing && !company_holds(company, job, machine))
            failing = company->at;
    }
    return failing;
}

uint32_t places_next(const struct view_job *job, uint32_t machine, uint32_t end)
{
    if (job->match == NULL || machine >= end)
        return machine;
    uint32_t word = machine / WORD_BITS;
    uint64_t bits = job->match->meets[word] & UINT64_MAX << machine % WORD_BITS;
    while (bits == 0 && (word + 1) * WORD_BITS < end)
        bits = job->match->meets[++word];
    return bits == 0 ? end : word * WORD_BITS + (uint32_t)__builtin_ctzll(bits);
}

int64_t places_constraint_cost(const struct view_job *job, uint32_t machine)
{
    const struct match *match = job->match;
    if (match == NULL)
        return 0;
    int64_t cost = match->cost[machine];
    for (uint32_t i = 0; i < match->company_count; i++)
        if (match->companies[i].weight > 0 && !company_holds(&match->companies[i], job, machine))
            cost += match->companies[i].weight;
    return cost;
}

int64_t places_spread_cost(const struct view_job *job, uint32_t machine)
{
    int64_t cost = 0;
    for (uint32_t i = 0; i < job->spread_count; i++)
        cost += (int64_t)job->spreads[i].weight * count_of(&job->spreads[i], machine);
    return cost;
}

bool view_avoids(const struct view_job *job, uint32_t machine)
{
    const struct view_task *task = &job->tasks[job->waiting_from];
    bool avoids = false;
    for (int i = 0; i < TASK_CRASHES_MAX; i++)
        avoids |= task->crashed_on[i].v == machine + 1;
    return avoids;
}

uint32_t view_avoided(const struct view_job *job)
{
    const struct view_task *task = &job->tasks[job->waiting_from];
    uint32_t count = 0;
    while (count < TASK_CRASHES_MAX && task->crashed_on[count].v != 0)
        count++;
    return count;
}
