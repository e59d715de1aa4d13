/*
 * lack.h - what keeps a task off a machine: one table of checks, with their order and their words.
 *
 * cell_apply() and `borgctl why` ask these checks of the cell (fit.c), the scheduler of its own
 * copy (sched/explain.c): each answers one check at a time, and lack_of_place() walks the table, so
 * that all three name the same first check that fails. Room (lack_of_room()) comes after all of
 * them, for a machine that fails one would not do with more room either.
 */
#ifndef CELL_LACK_H
#define CELL_LACK_H

#include "spec.h"

/* In the order in which they are made. Name; how many cases it has, each a lack of its own; its
 * words for one machine and for several, NULL where lack_print() makes them from the job. */
#define LACK_CHECKS(X) \
    X(ALLOC, 1, "is pending", "are pending")              /* an alloc that has no machine yet */ \
    X(ENDING, 1, "is being stopped", "are being stopped") /* an alloc */ \
    X(MACHINE, 1, "is down", "are down") \
    X(LEAVE, 1, "is draining", "are draining") \
    X(HEALTH, 1, "is sick", "are sick") \
    X(CLAUSE, SPEC_CLAUSES_MAX, NULL, NULL) /* a hard constraint; near and apart are some */ \
    X(KEPT, 1, NULL, NULL)                  /* another job keeps this one away */ \
    X(SPREAD, SPEC_SPREADS_MAX, NULL, NULL) /* it is full at the value of the machine */

enum {
    LACKS_NOTHING = RES_COUNT, /* below: that resource */
#define X(name, cases, one, many) LACKS_##name, LACKS_##name##_LAST = LACKS_##name + (cases)-1,
    LACK_CHECKS(X)
#undef X
        LACKS_COUNT
};

/* The first check that fails, or LACKS_NOTHING. `failing` answers for the check that begins at this
 * lack: its first case that fails, or a number of at least LACK_PASSES. */
enum { LACK_PASSES = 1000 };
int lack_of_place(uint32_t (*failing)(const void *of, int check), const void *of);

/* The first resource of which there is not enough, or LACKS_NOTHING; and how many such. */
int lack_of_room(const struct resources *need, const struct resources *room, uint32_t *ret_lacking);
/* The resource whose change takes away the smallest share of what is asked for, `enough[r]` being
 * the most a machine has of r that lacks nothing else (-1: there is none); or -1. */
int lack_best_change(const int64_t enough[RES_COUNT], const struct resources *need);
/* "ram 3.5Gi instead of 4Gi" */
void lack_change_print(struct buf *to, int resource, int64_t amount, const struct resources *need,
                       const struct resource_names *names);
/* What the words are about beside the lack itself. */
struct lack_about {
    const struct resource_names *names;
    const struct clauses *clauses; /* of the job */
    const char *keeper;            /* the job that keeps it away; NULL or "": several do */
    const char *by;                /* of the spread, when it is one */
    uint32_t max;
};
/* "is down", "fails rack = r1", "has no cache in its rack", "is kept free of it by lonely", "is
 * full with 2 per rack", "lacks cpu"; not `one`: "are down". */
void lack_print(struct buf *to, int lack, const struct lack_about *about, bool one);

#endif
