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
    LACKS_LEAVE, /* it is draining */
    LACKS_CLAUSE,
    LACKS_SPREAD = LACKS_CLAUSE + SPEC_CLAUSES_MAX,
    LACKS_COUNT = LACKS_SPREAD + SPEC_SPREADS_MAX
};

/* The first resource of which there is not enough, or LACKS_NOTHING; and how many such. */
int lack_of_room(const struct resources *need, const struct resources *room, uint32_t *ret_lacking);
/* The resource whose change takes away the smallest share of what is asked for, `enough[r]` being
 * the most a machine has of r that lacks nothing else (-1: there is none); or -1. */
int lack_best_change(const int64_t enough[RES_COUNT], const struct resources *need);
/* "ram 3.5Gi instead of 4Gi" */
void lack_change_print(struct buf *to, int resource, int64_t amount, const struct resources *need);
/* "is down", "fails rack = r1", "is full with 2 per rack", "lacks cpu"; not `one`: "are down".
 * `clauses` are those of the job; `by` and `max` are the spread's when it is one. */
void lack_print(struct buf *to, int lack, const struct clauses *clauses, const char *by,
                uint32_t max, bool one);

#endif
