/*
 * fit.h - may a task be on a machine now: the one answer that cell_apply() and `borgctl why` give.
 *
 * The checks, their order and their words are the table in lack.h. The scheduler asks the same of
 * its own copy of the cell, whose columns are laid out for scans (sched/explain.c names the check
 * that fails there); test_fit shows that all three agree on each task and each machine.
 */
#ifndef CELL_FIT_H
#define CELL_FIT_H

#include "lack.h"
#include "whereabouts.h"

/* What is asked: may a task of the job be there? */
struct fit {
    const struct cell *cell;
    const struct job *job;
    const struct matcher *matcher;   /* of its constraints; NULL: it has none */
    const struct whereabouts *trial; /* its tasks that are thought of; NULL: none */
};
/* The first check that fails whatever room there is, or LACKS_NOTHING. Of a job that runs in allocs
 * `alloc` is the one in question, and `machine` the one it is on (NULL while it is pending). */
int fit_place(const struct fit *fit, const struct machine *machine, const struct task *alloc);
/* The first job that keeps this one away from the machine, or NULL. */
const struct job *fit_keeper(const struct fit *fit, const struct machine *machine);
/* What of this room the job may ask for: production no more than can be promised to it when `gone`
 * of other production (NULL: none) has gone. */
struct resources fit_free(const struct job *job, const struct machine *machine,
                          const struct room *room, const struct resources *gone);
/* The words of a check that fails: "is draining". */
void fit_lack_print(struct buf *to, const struct job *job, int lack, const char *keeper);

#endif
