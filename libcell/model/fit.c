/*
 * fit.c - may a task be on a machine now.
 */
#include "fit.h"

/* `tallies` are those of its near and apart, in their order. */
static bool company_holds(const struct fit *fit, const struct clause *clause,
                          struct tally *const *tallies, const struct machine *machine)
{
    for (uint32_t i = 0; i < clause->term_count; i++) {
        const struct term *term = &clause->terms[i];
        if (!term_is_company(term))
            continue;
        const struct tally *tally = *tallies++;
        bool is_there = tally_trial_at(tally, fit->trial, machine) > 0;
        /* A job that is near itself may begin anywhere. */
        bool is_unbegun =
            tally->of == fit->job->whereabouts && tally_trial_live(tally, fit->trial) == 0;
        if (term->op == OP_APART ? !is_there : is_there || is_unbegun)
            return true;
    }
    return false;
}

/* The first hard clause that the machine fails. */
static uint32_t failing_clause(const struct fit *fit, const struct machine *machine)
{
    const struct clauses *clauses = &fit->job->spec.constraints;
    struct subject subject = machine_subject(machine);
    if (clauses->count == 0)
        return LACK_PASSES;
    uint32_t failing = matcher_failing(fit->matcher, &subject);
    if (fit->job->asks == NULL)
        return failing < clauses->count ? failing : LACK_PASSES;
    struct tally *const *tallies = fit->job->asks->companies;
    for (uint32_t i = 0; i < failing; i++) {
        const struct clause *clause = &clauses->items[i];
        if (clause->weight > 0 || !clause_has_company(clause))
            continue;
        if (!matcher_holds(fit->matcher, i, &subject) &&
            !company_holds(fit, clause, tallies, machine))
            return i;
        for (uint32_t t = 0; t < clause->term_count; t++)
            tallies += term_is_company(&clause->terms[t]);
    }
    return failing < clauses->count ? failing : LACK_PASSES;
}

const struct job *fit_keeper(const struct fit *fit, const struct machine *machine)
{
    const struct whereabouts *of = fit->job->whereabouts;
    if (of == NULL)
        return NULL;
    LIST_EACH(l, &of->keepers)
    {
        const struct apart *keeper = CONTAINER_OF(l, struct apart, link);
        if (keeper->where->of->live > 0 && job_binds(keeper->by, fit->job) &&
            tally_at(keeper->where, machine) > 0)
            return keeper->by;
    }
    return NULL;
}

/* The first spread that is full at the machine's value. */
static uint32_t full_spread(const struct fit *fit, const struct machine *machine)
{
    const struct job_spec *spec = &fit->job->spec;
    for (uint32_t i = 0; i < spec->spread_count; i++)
        if (spec->spreads[i].max > 0 &&
            tally_trial_at(fit->job->asks->spreads[i], fit->trial, machine) >= spec->spreads[i].max)
            return i;
    return LACK_PASSES;
}

/* One question about one place. */
struct place {
    const struct fit *fit;
    const struct machine *machine;
    const struct task *alloc;
};

static uint32_t fails_if(bool fails)
{
    return fails ? 0 : LACK_PASSES;
}

static uint32_t place_failing(const void *of, int check)
{
    const struct place *place = of;
    const struct machine *machine = place->machine;
    switch (check) {
    case LACKS_ALLOC:
        return fails_if(place->alloc != NULL && !task_is_live(place->alloc));
    case LACKS_ENDING:
        return fails_if(place->alloc != NULL && place->alloc->stopping != CAUSE_NONE);
    case LACKS_MACHINE:
        return fails_if(machine->state != MACHINE_UP);
    case LACKS_LEAVE:
        return fails_if(machine->draining);
    case LACKS_HEALTH:
        return fails_if(machine_is_sick(machine));
    case LACKS_CLAUSE:
        return failing_clause(place->fit, machine);
    case LACKS_KEPT:
        return fails_if(fit_keeper(place->fit, machine) != NULL);
    case LACKS_SPREAD:
        return full_spread(place->fit, machine);
    default:
        UNREACHABLE("check of a place");
    }
}

int fit_place(const struct fit *fit, const struct machine *machine, const struct task *alloc)
{
    const struct place place = {fit, machine, alloc};
    return lack_of_place(place_failing, &place);
}

struct resources fit_free(const struct job *job, const struct machine *machine,
                          const struct room *room, const struct resources *gone)
{
    struct resources free = room->free, unpromised = machine_unpromised(machine);
    if (gone != NULL)
        resources_add(&unpromised, gone);
    for (int r = 0; r < RECLAIM_COUNT && priority_is_prod(job->spec.priority); r++)
        free.v[r] = MIN(free.v[r], unpromised.v[r]);
    return free;
}

void fit_lack_print(struct buf *to, const struct job *job, int lack, const char *keeper)
{
    struct lack_about about = {
        .clauses = &job->spec.constraints, .names = &job->spec.resource_names, .keeper = keeper};
    if (lack >= LACKS_SPREAD) {
        about.by = job->spec.spreads[lack - LACKS_SPREAD].by;
        about.max = job->spec.spreads[lack - LACKS_SPREAD].max;
    }
    lack_print(to, lack, &about, true);
}
