/*
 * oracle_company.h - oracle for near and apart: examine every task.
 */
#ifndef TEST_ORACLE_COMPANY_H
#define TEST_ORACLE_COMPANY_H

#include "cell_fixture.h"

static inline const char *oracle_value_of(const struct machine *machine, const char *attribute)
{
    struct subject subject = machine_subject(machine);
    const char *value = subject_get(&subject, attribute);
    return value == NULL ? "" : value;
}

/* Count live tasks of all jobs with the name, on machines with this machine's value; with no
 * machine, all of them. */
static inline uint32_t oracle_company(const struct cell *cell, const char *name, const char *by,
                                      const struct machine *machine)
{
    uint32_t count = 0;
    for (uint32_t m = 0; m < cell->machine_count; m++) {
        const struct machine *other = cell->machines[m];
        if (machine != NULL &&
            strcmp(oracle_value_of(machine, by), oracle_value_of(other, by)) != 0)
            continue;
        LIST_EACH(l, &other->tasks)
        {
            const struct task *task = CONTAINER_OF(l, struct task, link);
            count += strcmp(cell_job(cell, task_job(task->id))->spec.name, name) == 0;
        }
    }
    return count;
}

static inline bool oracle_company_term(const struct cell *cell, const struct job *job,
                                       const struct machine *machine, const struct term *term)
{
    const char *name = words_first(&term->values);
    bool is_there = oracle_company(cell, name, term->attribute, machine) > 0;
    if (term->op == OP_APART)
        return !is_there;
    return is_there || (strcmp(name, job->spec.name) == 0 &&
                        oracle_company(cell, name, term->attribute, NULL) == 0);
}

static inline bool oracle_kept_away(const struct cell *cell, const struct job *job,
                                    const struct machine *machine)
{
    LIST_EACH(l, &cell->jobs)
    {
        const struct job *other = CONTAINER_OF(l, struct job, link);
        for (uint32_t i = 0; i < other->spec.constraints.count && !job_is_dead(other); i++) {
            const struct clause *clause = &other->spec.constraints.items[i];
            const struct term *term = &clause->terms[0];
            bool binds = strcmp(other->spec.user, job->spec.user) == 0 ||
                         job->spec.priority < other->spec.priority;
            if (binds && clause->weight == 0 && clause->term_count == 1 && term->op == OP_APART &&
                strcmp(words_first(&term->values), job->spec.name) == 0 &&
                oracle_company(cell, other->spec.name, term->attribute, machine) > 0)
                return true;
        }
    }
    return false;
}

#endif
