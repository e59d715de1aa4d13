/*
 * simulate_what_if.h - questions to a simulated cell at rest.
 */
#ifndef CLI_SIMULATE_WHAT_IF_H
#define CLI_SIMULATE_WHAT_IF_H

#include "simulate.h"

/* How many more tasks of this spec fit without evicting anybody. They stay. */
int what_if_more(struct sim *sim, const struct job_spec *spec, uint64_t *ret,
                 struct err *err) MUST_USE;

struct what_if_job {
    job_id job;
    uint32_t lost;    /* tasks that ran on machines taken away */
    uint32_t evicted; /* tasks that had to go from elsewhere */
    uint32_t pending; /* tasks that were not pending before */
};
struct what_if {
    machine_id *removed;
    uint32_t removed_count;
    uint64_t lost, evicted, pending; /* the sums */
    struct what_if_job *jobs;        /* those any of it happened to, by id */
    size_t job_count;
};
/*
 * Take machines away and schedule again. Each of `what` is a number, that many drawn from those
 * still there, or a term about attributes ("rack = r3", "machine in m1,m2"). A term that no machine
 * that is up meets, and more machines than there are, are refused.
 */
int what_if_remove(struct sim *sim, const char *const *what, size_t count, uint64_t seed,
                   struct what_if *ret, struct err *err) MUST_USE;
void what_if_release(struct what_if *w);

#endif
