/*
 * link_diff.h - decides what a borglet and the cell must be told about each other. Pure.
 *
 * It compares, for one machine, the live tasks that the cell has there (without allocs) with the
 * reports of its borglet.
 *
 *     cell                     borglet                 decision
 *     live, not stopping       unknown, assigned       RUN
 *     live, not stopping       has another limit       RUN
 *     live, not stopping       unknown, was running    SHOW: the borglet answers LOST if it is lost
 *     live, stopping           anything but ended      STOP
 *     live                     newer state             report it
 *     not live here            running                 STOP (lost and rescheduled, or killed)
 *     not live here            ended                   FORGET
 *     left behind here         ended, or unknown       report it; then FORGET
 */
#ifndef BORGMASTER_LINK_DIFF_H
#define BORGMASTER_LINK_DIFF_H

#include "wire.h"

/* An attempt on one machine, as its link knows it. */
struct link_task {
    struct attempt_ref ref;
    bool reported; /* `report` is the borglet's last report */
    bool run_sent; /* on this connection */
    bool stop_sent;
    bool show_sent;
    bool left_seen;         /* the cell asks whether it runs: machine.left */
    struct resources limit; /* the limit that was last sent */
    uint64_t proposed_ms;   /* when the report was last proposed; 0: never */
    struct report report;
    uint32_t came; /* order of arrival, while the item is not ordered */
};

/*
 * The attempts of one machine in an array. The first `ordered_count` are ordered by task and
 * attempt; the others are appended as they arrive, each found in O(log n). link_tasks_order()
 * merges all of them in one pass. A borglet reports in any order, and inserting one at a time would
 * be quadratic.
 */
struct link_tasks {
    struct link_task *items;
    size_t count, capacity;
    size_t ordered_count;
};
void link_tasks_release(struct link_tasks *tasks);
/* Returns NULL if there is none. Orders the array. */
struct link_task *link_tasks_find(struct link_tasks *tasks, struct attempt_ref ref);
/* Record a report. If several are about one attempt, the last counts. */
void link_tasks_report(struct link_tasks *tasks, const struct report *report);
/* Order the array. If several items are of one attempt, the last counts. */
void link_tasks_order(struct link_tasks *tasks);

struct link_todo {
    /* Specs are shallow copies of the cell's: pack them at once and do not release them. A RUN of
     * an attempt that the borglet has carries only the limit. */
    struct intent *intents;
    size_t intent_count, intent_capacity;
    struct report *reports;
    size_t report_count, report_capacity;
    bool unsettled; /* the borglet reported something that the cell does not show yet */
};
void link_todo_clear(struct link_todo *todo);
void link_todo_release(struct link_todo *todo);

/*
 * Decide, and record in `tasks` what the caller now sends. Reports that were proposed less than
 * `resend_ms` before now_ms are not repeated. `full`: list every live task that is not stopping,
 * whether sent before or not, for a full set of intents. Attempts that are over on both sides are
 * removed from `tasks`.
 */
void link_diff(const struct cell *cell, const struct machine *machine, struct link_tasks *tasks,
               bool full, uint64_t now_ms, uint64_t resend_ms, struct link_todo *todo);

#endif
