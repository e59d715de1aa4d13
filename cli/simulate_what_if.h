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
    uint32_t pending; /* tasks that were not pending before */
};
struct what_if {
    machine_id *removed;
    uint32_t removed_count;
    uint64_t lost;            /* tasks that ran on them */
    uint64_t evicted;         /* tasks that had to go from elsewhere */
    uint64_t pending;         /* tasks left pending that were placed before */
    struct what_if_job *jobs; /* whose, by id */
    size_t job_count;
};
/* Take machines away: those named, and `count` drawn from the rest; then schedule again. Names
 * that are no machine that is up, and more machines than there are, are refused. */
int what_if_remove(struct sim *sim, const char *const *names, size_t name_count, uint64_t count,
                   uint64_t seed, struct what_if *ret, struct err *err) MUST_USE;
void what_if_release(struct what_if *w);

#endif
