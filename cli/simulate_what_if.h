/*
 * simulate_what_if.h - what-if experiments on a simulated cell.
 */
#ifndef CLI_SIMULATE_WHAT_IF_H
#define CLI_SIMULATE_WHAT_IF_H

#include "simulate.h"

/* Submit tasks of this spec until no more fit without evictions; *ret is their number. They stay.
 */
int what_if_more(struct sim *sim, const struct job_spec *spec, uint64_t *ret,
                 struct err *err) MUST_USE;

struct what_if_job {
    job_id job;
    uint32_t lost;    /* tasks that ran on removed machines */
    uint32_t evicted; /* tasks that were evicted from other machines */
    uint32_t pending; /* tasks that have become pending */
};
struct what_if {
    machine_id *removed;
    uint32_t removed_count;
    uint64_t lost, evicted, pending; /* the sums */
    struct what_if_job *jobs;        /* the affected jobs, by id */
    size_t job_count;
};
/*
 * Remove machines and schedule again. Each entry of `what` is a number (that many machines are
 * drawn at random) or a term about attributes ("rack = r3", "machine in m1,m2"). A term that
 * matches no machine that is up, and a number larger than the machines that are up, are refused.
 */
int what_if_remove(struct sim *sim, const char *const *what, size_t count, uint64_t seed,
                   struct what_if *ret, struct err *err) MUST_USE;
void what_if_release(struct what_if *w);

#endif
