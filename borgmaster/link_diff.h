/*
 * link_diff.h - what a borglet must be told and what the cell must be told, as a pure function.
 *
 * For one machine: the cell's live tasks on it, allocs left out, against what its borglet has
 * reported.
 *
 *   cell                     borglet                 decision
 *   live, not stopping       unknown, assigned       RUN
 *   live, not stopping       told of another limit   RUN
 *   live, not stopping       unknown, was running    SHOW: it says LOST if it is (rebooted, wiped)
 *   live, stopping           anything but ended      STOP
 *   live                     says more than the cell report it
 *   not live here            running                 STOP (lost and rescheduled, or killed)
 *   not live here            ended                   FORGET
 *   left behind here         ended, or unknown       report it; then FORGET
 */
#ifndef BORGMASTER_LINK_DIFF_H
#define BORGMASTER_LINK_DIFF_H

#include "wire.h"

/* One attempt on one machine, as its link knows it. */
struct link_task {
    struct attempt_ref ref;
    bool reported; /* `report` is what the borglet said last */
    bool run_sent; /* on this connection */
    bool stop_sent;
    bool show_sent;
    bool left_seen;         /* the cell asks whether it runs: machine.left */
    struct resources limit; /* that was sent */
    uint64_t proposed_ms;   /* when the report was last given to the leader; 0: never */
    struct report report;
    uint32_t came; /* in what order, while it has no place yet */
};

/*
 * A growing array: the first `ordered_count` by task and attempt, then what came since, each in
 * O(log n); link_tasks_order() gives those their places, all in one pass. A borglet says in any
 * order what it has, so one place at a time would be quadratic.
 */
struct link_tasks {
    struct link_task *items;
    size_t count, capacity;
    size_t ordered_count;
};
void link_tasks_release(struct link_tasks *tasks);
/* NULL when there is none. Orders. */
struct link_task *link_tasks_find(struct link_tasks *tasks, struct attempt_ref ref);
/* Note a report: of several about one attempt the last is kept. */
void link_tasks_report(struct link_tasks *tasks, const struct report *report);
/* Give what came since the last time its place; of what came twice the later report counts. */
void link_tasks_order(struct link_tasks *tasks);

struct link_todo {
    /* Specs are shallow copies of the cell's: pack at once, do not release. A RUN of what the
     * borglet has already has nothing but the limit. */
    struct intent *intents;
    size_t intent_count, intent_capacity;
    struct report *reports;
    size_t report_count, report_capacity;
    bool unsettled; /* the borglet has reported something that the cell does not say yet */
};
void link_todo_clear(struct link_todo *todo);
void link_todo_release(struct link_todo *todo);

/*
 * Decide, and note in `tasks` what was sent (the caller does send it). Reports given to the leader
 * less than `resend_ms` before now_ms are not repeated. `full`: list every live task that is not
 * stopping, whether sent before or not, for a full set of intents. Attempts that are over on both
 * sides leave `tasks`.
 */
void link_diff(const struct cell *cell, const struct machine *machine, struct link_tasks *tasks,
               bool full, uint64_t now_ms, uint64_t resend_ms, struct link_todo *todo);

#endif
