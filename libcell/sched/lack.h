/*
 * lack.h - what keeps a task off a machine, as a number and as words.
 *
 * What is asked of a machine beside room comes before room, for with more room it would not do
 * either. The scheduler's reasons (explain.c) and `borgctl why` (why.c) count by these.
 */
#ifndef CELL_LACK_H
#define CELL_LACK_H

#include "spec.h"

enum {
    LACKS_NOTHING = RES_COUNT, /* below: that resource */
    LACKS_MACHINE,
    LACKS_LEAVE,  /* it is draining */
    LACKS_HEALTH, /* it is sick */
    LACKS_ALLOC,  /* of an alloc: it is pending itself */
    LACKS_ENDING, /* of an alloc: it is being stopped */
    LACKS_CLAUSE,
    LACKS_KEPT = LACKS_CLAUSE + SPEC_CLAUSES_MAX, /* another job keeps this one away */
    LACKS_SPREAD,
    LACKS_COUNT = LACKS_SPREAD + SPEC_SPREADS_MAX
};

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
