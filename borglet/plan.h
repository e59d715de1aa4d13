/*
 * plan.h - from what the cell wants and what is there to what is done next. Pure: no clock, no I/O.
 *
 * The borglet does not obey messages, it keeps what they ask for as wishes and compares them with
 * the attempts that exist, again after every change:
 *
 *   - RUN: waits until there is room, then PLAN_START; once the attempt is there, PLAN_RESIZE when
 *     it has another limit, else nothing.
 *   - STOP: PLAN_STOP; an attempt that is not there is told to have ended.
 *   - FORGET: PLAN_STOP when it still runs, PLAN_FORGET once it has ended.
 *   - SHOW: PLAN_LOST when it is not there.
 *
 * Room is the machine's capacity minus the limits of every attempt that still has processes, those
 * that are being stopped included: a preemptor waits for its victims. What the cell says is
 * reclaimed from these limits comes on top. Wishes are started in the
 * order of assigned_seq; a later one may pass an earlier one that waits for victims only when it
 * leaves the earlier one's room alone. Gpus are not exchanged: a wish waits for those it was given.
 * A wish that would not fit an empty machine is refused.
 */
#ifndef BORGLET_PLAN_H
#define BORGLET_PLAN_H

#include "wire.h"

/* An attempt that is there. */
struct plan_attempt {
    struct attempt_ref task;
    bool ended;        /* no process of it is left */
    bool stopping;     /* has been told to stop */
    uint32_t grace_ms; /* its spec's: for a stop nobody gave a grace for */
    struct resources limit;
    uint32_t devices; /* a bit per gpu it has */
};

enum plan_verb {
    PLAN_START,  /* `intent` is set */
    PLAN_RESIZE, /* from now on it has the limit of `intent` */
    PLAN_STOP,   /* with grace_ms */
    PLAN_FORGET, /* drop the record of its end */
    PLAN_GONE,   /* report its end: it is not here, or was never started */
    PLAN_LOST,   /* report that nothing is known of it */
    PLAN_REFUSE, /* report a start error: larger than the machine; `intent` is set */
};

struct plan_action {
    enum plan_verb verb;
    struct attempt_ref task;
    uint32_t grace_ms;
    struct intent *intent; /* owned by the plan until the next call */
};

struct plan {
    struct resource_names resource_names; /* of the slots of the machine's capacity */
    uint64_t seen_index;                  /* of the newest intents taken */
    struct intent *wishes;
    size_t wish_count, wish_capacity;
    struct intent *done; /* of the last plan_next(): kept for its caller */
    size_t done_count, done_capacity;
};

void plan_release(struct plan *plan);
/*
 * Take intents, moving their specs out of `in`. Returns false, and changes nothing, when they are
 * older than what has been seen. `present` is needed by full ones: what they do not list goes.
 */
bool plan_take(struct plan *plan, struct wire_intents *in, const struct plan_attempt *present,
               size_t present_count);
/*
 * What to do now, at most `max` actions; call again after each change of `present`. A start counts
 * as room taken from then on, so the caller must have it in `present` at the next call.
 */
size_t plan_next(struct plan *plan, const struct plan_attempt *present, size_t present_count,
                 const struct resources *capacity, struct plan_action *actions, size_t max);

#endif
