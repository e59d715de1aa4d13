/*
 * why.h - why the pending tasks of a job are pending, machine by machine, from the cell alone.
 *
 * Any replica can answer: it asks the applied cell, not the scheduler, and so counts what is free
 * now (stopping work as gone), without the eviction the scheduler would think of; that is counted
 * beside.
 */
#ifndef CELL_WHY_H
#define CELL_WHY_H

#include "cell.h"
#include "lack.h"

enum { WHY_NAMES_MAX = 100, WHY_INDEX_ANY = -1 };

/* Machines whose first hindrance it is. */
struct why_reason {
    int lack; /* LACKS_...; LACKS_NOTHING: it fits there */
    uint32_t machines;
    machine_id first[WHY_NAMES_MAX]; /* of them, by id: as many as there are, or as fit here */
};

struct why {
    job_id job;
    uint32_t pending;       /* of the tasks that were asked for */
    uint32_t backing_off;   /* of those */
    uint64_t not_before_ms; /* of the first of those; 0: none */
    uint32_t machines;      /* all there are: the sum over the reasons */
    uint32_t reason_count;
    struct why_reason reasons[LACKS_COUNT]; /* most machines first, then by lack */
    /* Machines without room now that would have it if all work the job may evict were gone; those
     * of them where disruption budgets do not let enough of it go now; and those that would have it
     * only if production work there, which nothing evicts, were gone too. */
    uint32_t evictable;
    uint32_t evictable_over_budget;
    uint32_t held_by_prod;
    /* When it fits nowhere: the smallest change of one resource that helps. */
    int change; /* a resource, or -1 */
    int64_t change_amount;
    uint32_t change_machines; /* it would fit there */
};

/* `index` of one task or WHY_INDEX_ANY. ERR_NOT_FOUND; ERR_STATE when nothing asked for is pending.
 * O(machines + tasks that lie on them). */
int why_job(const struct cell *cell, const char *job, int64_t index, struct why *ret,
            struct err *err) MUST_USE;
void why_reason_print(struct buf *to, const struct job *job, int lack); /* "lacks cpu", "fits" */

#endif
