/*
 * plan.c - reconcile wishes with existing attempts.
 */
#include "plan.h"

#include <stdlib.h>
#include <string.h>

static bool same(struct attempt_ref a, struct attempt_ref b)
{
    return a.task.v == b.task.v && a.attempt == b.attempt;
}

static void intents_clear(struct intent *intents, size_t *count)
{
    for (size_t i = 0; i < *count; i++)
        spec_release(&intents[i].spec);
    *count = 0;
}

void plan_release(struct plan *plan)
{
    intents_clear(plan->wishes, &plan->wish_count);
    intents_clear(plan->done, &plan->done_count);
    free(plan->wishes);
    free(plan->done);
    *plan = (struct plan){0};
}

static struct intent *intents_add(struct intent **intents, size_t *count, size_t *capacity)
{
    if (*count == *capacity) {
        *capacity = *capacity == 0 ? 16 : *capacity * 2;
        *intents = xrealloc(*intents, *capacity, sizeof(**intents));
    }
    return &(*intents)[(*count)++];
}

static struct intent *wish_find(struct plan *plan, struct attempt_ref task)
{
    for (size_t i = 0; i < plan->wish_count; i++)
        if (same(plan->wishes[i].task, task))
            return &plan->wishes[i];
    return NULL;
}

static const struct plan_attempt *present_find(const struct plan_attempt *present, size_t count,
                                               struct attempt_ref task)
{
    for (size_t i = 0; i < count; i++)
        if (same(present[i].task, task))
            return &present[i];
    return NULL;
}

/* Store a wish; it replaces the previous one of the attempt. The spec is taken. */
static void wish_put(struct plan *plan, struct intent *intent)
{
    struct intent *wish = wish_find(plan, intent->task);

    if (wish == NULL)
        wish = intents_add(&plan->wishes, &plan->wish_count, &plan->wish_capacity);
    else
        spec_release(&wish->spec);
    *wish = *intent;
    memset(&intent->spec, 0, sizeof(intent->spec));
}

static bool listed(const struct wire_intents *in, struct attempt_ref task)
{
    for (uint32_t i = 0; i < in->intent_count; i++)
        if (same(in->intents[i].task, task))
            return true;
    return false;
}

/* Apply full intents: drop wishes that are not listed, and forget attempts that are not listed. */
static void unlisted_drop(struct plan *plan, const struct wire_intents *in,
                          const struct plan_attempt *present, size_t present_count)
{
    size_t kept = 0;

    for (size_t i = 0; i < plan->wish_count; i++) {
        if (listed(in, plan->wishes[i].task))
            plan->wishes[kept++] = plan->wishes[i];
        else
            spec_release(&plan->wishes[i].spec);
    }
    plan->wish_count = kept;
    for (size_t i = 0; i < present_count; i++) {
        if (listed(in, present[i].task))
            continue;
        struct intent forget = {
            .task = present[i].task, .action = INTENT_FORGET, .grace_ms = present[i].grace_ms};
        wish_put(plan, &forget);
    }
}

bool plan_take(struct plan *plan, struct wire_intents *in, const struct plan_attempt *present,
               size_t present_count)
{
    if (in->index < plan->seen_index)
        return false;
    plan->seen_index = in->index;
    if (in->full)
        unlisted_drop(plan, in, present, present_count);
    for (uint32_t i = 0; i < in->intent_count; i++)
        wish_put(plan, &in->intents[i]);
    return true;
}

static int wish_order(const void *a, const void *b)
{
    const struct intent *x = a, *y = b;

    if (x->assigned_seq != y->assigned_seq)
        return x->assigned_seq < y->assigned_seq ? -1 : 1;
    return x->task.task.v < y->task.task.v ? -1 : x->task.task.v > y->task.task.v;
}

/* The room that is left for starts. */
struct spaces {
    struct room free;       /* not used by an attempt */
    struct room unreserved; /* not used, and not reserved for an earlier wish */
};

enum outcome { WISH_WAITS, WISH_ACTS, WISH_VOID };

/* Resources that the cell has reclaimed from other attempts are added. */
static bool holds_with(const struct room *room, const struct intent *wish)
{
    struct room with = *room;

    for (int r = 0; r < RECLAIM_COUNT; r++)
        if (wish->reclaimed[r] > 0 && wish->reclaimed[r] <= RESOURCE_AMOUNT_MAX)
            with.free.v[r] += wish->reclaimed[r];
    return room_holds(&with, &wish->spec.limit, wish->devices);
}

static enum outcome run_decide(const struct plan *plan, struct intent *wish,
                               const struct resources *capacity, struct spaces *spaces,
                               struct plan_action *action)
{
    struct job_spec *spec = &wish->spec;
    const struct resource_names asked = spec->resource_names;
    struct room all;

    room_init(&all, capacity);
    spec->resource_names = plan->resource_names;
    if (resources_translate(&spec->limit, &asked, &plan->resource_names, 0, NULL) != 0) {
        spec->resource_names = asked;
        action->verb = PLAN_REFUSE;
        return WISH_ACTS;
    }
    if (!room_holds(&all, &spec->limit, wish->devices)) {
        action->verb = PLAN_REFUSE;
        return WISH_ACTS;
    }
    bool fits = holds_with(&spaces->free, wish);
    bool in_order = holds_with(&spaces->unreserved, wish);
    room_take(&spaces->unreserved, &spec->limit, wish->devices);
    if (!fits || !in_order)
        return WISH_WAITS;
    room_take(&spaces->free, &spec->limit, wish->devices);
    action->verb = PLAN_START;
    return WISH_ACTS;
}

/* An existing attempt continues unchanged, except for its limit. */
static enum outcome resize_decide(const struct plan *plan, struct intent *wish,
                                  const struct plan_attempt *there, struct plan_action *action)
{
    struct resources *limit = &wish->spec.limit;

    if (there->ended ||
        resources_translate(limit, &wish->spec.resource_names, &plan->resource_names, 0, NULL) != 0)
        return WISH_VOID;
    wish->spec.resource_names = plan->resource_names;
    if (memcmp(limit, &there->limit, sizeof(*limit)) == 0)
        return WISH_VOID;
    action->verb = PLAN_RESIZE;
    return WISH_ACTS;
}

static enum outcome stop_decide(const struct intent *wish, const struct plan_attempt *there,
                                struct plan_action *action)
{
    bool forget = wish->action == INTENT_FORGET;

    if (there == NULL) {
        action->verb = PLAN_GONE;
        return forget ? WISH_VOID : WISH_ACTS;
    }
    if (there->ended) {
        action->verb = PLAN_FORGET;
        return forget ? WISH_ACTS : WISH_VOID;
    }
    if (there->stopping)
        return forget ? WISH_WAITS : WISH_VOID;
    action->verb = PLAN_STOP;
    action->grace_ms = forget ? there->grace_ms : wish->grace_ms;
    return WISH_ACTS;
}

/* An existing attempt is reported anyway. */
static enum outcome show_decide(const struct plan_attempt *there, struct plan_action *action)
{
    action->verb = PLAN_LOST;
    return there == NULL ? WISH_ACTS : WISH_VOID;
}

static void spaces_measure(struct spaces *spaces, const struct plan_attempt *present, size_t count,
                           const struct resources *capacity)
{
    room_init(&spaces->free, capacity);
    room_init(&spaces->unreserved, capacity);
    for (size_t i = 0; i < count; i++) {
        if (present[i].ended)
            continue;
        room_take(&spaces->free, &present[i].limit, present[i].devices);
        /* The room of an attempt that is being stopped is reserved for the wishes that wait for
         * it. */
        if (!present[i].stopping)
            room_take(&spaces->unreserved, &present[i].limit, present[i].devices);
    }
}

size_t plan_next(struct plan *plan, const struct plan_attempt *present, size_t present_count,
                 const struct resources *capacity, struct plan_action *actions, size_t max)
{
    struct spaces spaces;
    size_t count = 0, kept = 0;

    intents_clear(plan->done, &plan->done_count);
    spaces_measure(&spaces, present, present_count, capacity);
    if (plan->wish_count > 1)
        qsort(plan->wishes, plan->wish_count, sizeof(*plan->wishes), wish_order);
    for (size_t i = 0; i < plan->wish_count; i++) {
        struct intent *wish = &plan->wishes[i];
        const struct plan_attempt *there = present_find(present, present_count, wish->task);
        struct plan_action action = {.task = wish->task};
        enum outcome outcome = WISH_WAITS;
        if (count == max)
            outcome = WISH_WAITS;
        else if (wish->action == INTENT_SHOW)
            outcome = show_decide(there, &action);
        else if (wish->action != INTENT_RUN)
            outcome = stop_decide(wish, there, &action);
        else
            outcome = there != NULL ? resize_decide(plan, wish, there, &action)
                                    : run_decide(plan, wish, capacity, &spaces, &action);
        /* An attempt that is being stopped is still to be forgotten later. */
        bool keep = outcome == WISH_WAITS || (wish->action == INTENT_FORGET &&
                                              action.verb == PLAN_STOP && outcome == WISH_ACTS);
        if (outcome == WISH_ACTS)
            actions[count++] = action;
        if (keep)
            plan->wishes[kept++] = *wish;
        else
            *intents_add(&plan->done, &plan->done_count, &plan->done_capacity) = *wish;
    }
    plan->wish_count = kept;
    /* `done` does not move any more from here on. */
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < plan->done_count; j++)
            if (same(actions[i].task, plan->done[j].task))
                actions[i].intent = &plan->done[j];
    return count;
}
