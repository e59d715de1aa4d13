/*
 * settings.c - what holds for the whole cell: its policy, and whether it holds still.
 */
#include "cell_write.h"

#include <stdio.h>
#include <string.h>

void apply_policy_set(struct apply *a, const struct cmd_policy_set *body)
{
    struct settings *settings = &a->cell->settings;
    if (body->policy >= POLICY_COUNT) {
        answer_refuse(a, ERR_INVALID, "policy %d is none", (int)body->policy);
        return;
    }
    if (body->policy == settings->policy) {
        answer_say(a, "the cell's policy is %s already", policy_text(body->policy));
        return;
    }
    struct event *event = event_add(a, EVENT_POLICY);
    snprintf(event->detail, sizeof event->detail, "%s to %s", policy_text(settings->policy),
             policy_text(body->policy));
    event_by(a, event);
    settings->policy = body->policy;
    answer_say(a, "the cell's policy is %s now", policy_text(body->policy));
}

/* The leader goes round off, on, released; an operator may only release. */
static bool hold_may_move(const struct apply *a, enum hold from, enum hold to)
{
    if (from == HOLD_ON)
        return to == HOLD_RELEASED || (to == HOLD_OFF && a->cmd->user[0] == '\0');
    return a->cmd->user[0] == '\0' && to == (from == HOLD_OFF ? HOLD_ON : HOLD_OFF);
}

void apply_hold_set(struct apply *a, const struct cmd_hold_set *body)
{
    struct settings *settings = &a->cell->settings;
    if (body->hold >= HOLD_COUNT || !hold_may_move(a, settings->hold, body->hold)) {
        answer_refuse(a, ERR_STATE, "%s",
                      settings->hold == HOLD_ON    ? "the cell holds still: it can only be released"
                      : settings->hold == HOLD_OFF ? "the cell does not hold still"
                                                   : "the cell is released already");
        return;
    }
    settings->hold = body->hold;
    if (body->hold == HOLD_OFF)
        event_add(a, EVENT_HOLD_OVER);
    else {
        struct event *event =
            event_add(a, body->hold == HOLD_ON ? EVENT_HOLDING : EVENT_HOLD_RELEASED);
        if (body->hold == HOLD_ON)
            snprintf(event->detail, sizeof event->detail, "%u of %u machines are silent",
                     body->silent, body->machines);
        else
            event_by(a, event);
    }
    static const char *const told[HOLD_COUNT] = {
        "the cell goes on", "the cell holds still: no machine is declared down",
        "the cell is released: silent machines are declared down, a few at a time"};
    answer_say(a, "%s", told[body->hold]);
}
