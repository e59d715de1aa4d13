/*
 * why.h - why the pending tasks of a job are pending, machine by machine, from the cell alone.
 *
 * Any replica can answer: it asks the applied cell, not the scheduler, and so counts what is free
 * now (stopping work as gone), without the eviction the scheduler would think of; that is counted
 * beside.
 */
#ifndef CELL_WHY_H
#define CELL_WHY_H

#include "fit.h"
#include "why_evict.h"

enum { WHY_NAMES_MAX = 100, WHY_NEAR_MAX = 8, WHY_EVICTIONS_MAX = 4, WHY_INDEX_ANY = -1 };

/* Machines whose first hindrance it is; of a job that runs in an alloc set, allocs. */
struct why_reason {
    int lack; /* LACKS_...; LACKS_NOTHING: it fits there */
    uint32_t machines;
    uint32_t first[WHY_NAMES_MAX]; /* of them, as many as there are, or as fit here: ids of
                                    * machines, or indexes of allocs */
};

/* A machine that lacks nothing but room. */
struct why_near {
    machine_id machine;
    struct resources missing; /* 0: there is enough of it */
};

struct why {
    job_id job;
    struct resource_names resource_names;
    uint32_t shape;         /* the one this is about */
    uint32_t pending;       /* of the tasks that were asked for */
    uint32_t backing_off;   /* of those */
    uint64_t not_before_ms; /* of the first of those; 0: none */
    bool inside; /* the job runs in allocs: they are counted, and nobody to evict is told */
    bool gang;
    uint32_t gang_waiting; /* tasks of the gang that start together, and how many of them would */
    uint32_t gang_fitting; /* have room now, nobody being evicted */
    uint32_t machines;     /* all in question: the sum over the reasons. Of a job on every
                            * machine those whose tasks wait, or that of the task */
    uint32_t reason_count;
    struct why_reason reasons[LACKS_COUNT]; /* most machines first, then by lack */
    char keeper[CELL_NAME_MAX + 1];         /* of LACKS_KEPT: the job; "": there are several */
    /* Machines that lack room, by the worst of what would have to go: their sum is that of the
     * reasons that are resources. */
    uint32_t bars[BAR_COUNT];
    /* Of them, those that lack the smallest shares of what is asked for, the nearest first. */
    struct why_near near[WHY_NEAR_MAX];
    uint32_t near_count;
    /* Of them, those where the least bars the way, then the nearest; those too small left out. */
    struct why_eviction evictions[WHY_EVICTIONS_MAX];
    uint32_t eviction_count;
    /* When it fits nowhere: the smallest change of one resource that helps. */
    int change; /* a resource, or -1 */
    int64_t change_amount;
    uint32_t change_machines; /* it would fit there */
};

/*
 * A question is answered in turns, for it takes O(machines + tasks that lie on them): in a cell of
 * 100,000 machines, longer than a replica may do nothing else. Each turn takes about `units`, of
 * which a machine takes a few and each of its tasks one; the cell may change between two turns, and
 * each machine counts as it was when it was looked at. A small cell is answered in one turn,
 * exactly.
 */
struct inquiry;
/* `index` of one task or WHY_INDEX_ANY; in a shape the job has, spec_shape(). ERR_NOT_FOUND;
 * ERR_STATE when nothing asked for is pending (one task that is not wanted on its machine is told
 * of). */
int why_begin(const struct cell *cell, const char *job, int64_t index, uint32_t shape,
              struct inquiry **ret, struct err *err) MUST_USE;
/* True: it is answered. */
bool why_go_on(struct inquiry *inquiry, const struct cell *cell, uint64_t units) MUST_USE;
/* Afterwards: the answer, or ERR_STATE when the job has ended meanwhile. Frees the inquiry. */
int why_end(struct inquiry *inquiry, struct why *ret, struct err *err) MUST_USE;
void why_abandon(struct inquiry *inquiry); /* at any time; NULL is fine */
/* In one turn. */
int why_job(const struct cell *cell, const char *job, int64_t index, uint32_t shape,
            struct why *ret, struct err *err) MUST_USE;
/* The name of one of `first`. */
void why_place_print(struct buf *to, const struct cell *cell, const struct why *why,
                     uint32_t place);
/* "lacks cpu", "fits" */
void why_reason_print(struct buf *to, const struct job *job, const struct why *why, int lack);

#endif
