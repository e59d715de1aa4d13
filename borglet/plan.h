/*
 * plan.h - reconcile what the cell wants with the attempts that exist. Pure: no clock, no I/O.
 *
 * The borglet keeps the intents of the cell as wishes and compares them with the existing attempts
 * after every change:
 *
 *   - RUN: PLAN_START once there is room; PLAN_RESIZE if the attempt exists with another limit.
 *   - STOP: PLAN_STOP, or PLAN_GONE if the attempt does not exist.
 *   - FORGET: PLAN_STOP while the attempt runs, PLAN_FORGET once it has ended.
 *   - SHOW: PLAN_LOST if the attempt does not exist.
 *
 * Room is the capacity of the machine minus the limits of every attempt that still has processes.
 * Attempts that are being stopped count, so a preemptor waits for its victims. Resources that the
 * cell has reclaimed from these limits are added. Wishes are started in the order of assigned_seq;
 * a later one may pass an earlier one that waits for victims only if it leaves the room of the
 * earlier one alone. A wish waits for the very gpus it was given. A wish that does not fit on the
 * empty machine is refused.
 */
#ifndef BORGLET_PLAN_H
#define BORGLET_PLAN_H

#include "wire.h"

/* An existing attempt. */
struct plan_attempt {
    struct attempt_ref task;
    bool ended;        /* none of its processes is left */
    bool stopping;     /* a stop was requested */
    uint32_t grace_ms; /* the grace of its spec, for a stop without a given grace */
    struct resources limit;
    uint32_t devices; /* one bit per gpu of the attempt */
};

enum plan_verb {
    PLAN_START,  /* `intent` is set */
    PLAN_RESIZE, /* set the limit of the attempt to that of `intent` */
    PLAN_STOP,   /* with grace_ms */
    PLAN_FORGET, /* drop the record of its end */
    PLAN_GONE,   /* report that it has ended: it does not exist here */
    PLAN_LOST,   /* report that it is unknown here */
    PLAN_REFUSE, /* report a start error: it exceeds the machine; `intent` is set */
};

struct plan_action {
    enum plan_verb verb;
    struct attempt_ref task;
    uint32_t grace_ms;
    struct intent *intent; /* owned by the plan until the next call */
};

struct plan {
    struct resource_names resource_names; /* of the slots of the machine's capacity */
    uint64_t seen_index;                  /* the index of the newest intents taken */
    struct intent *wishes;
    size_t wish_count, wish_capacity;
    struct intent *done; /* the intents of the last plan_next(), kept for its caller */
    size_t done_count, done_capacity;
};

void plan_release(struct plan *plan);
/*
 * Take intents and move their specs out of `in`. Return false, and change nothing, if they are
 * older than the newest known ones. `present` is needed for full intents: attempts that they do not
 * list are forgotten.
 */
bool plan_take(struct plan *plan, struct wire_intents *in, const struct plan_attempt *present,
               size_t present_count);
/*
 * Return what to do now, at most `max` actions; call it again after each change of `present`. A
 * start counts as used room from then on, so the caller must have it in `present` at the next call.
 */
size_t plan_next(struct plan *plan, const struct plan_attempt *present, size_t present_count,
                 const struct resources *capacity, struct plan_action *actions, size_t max);

#endif
