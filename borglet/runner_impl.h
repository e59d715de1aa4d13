/*
 * runner_impl.h - declarations that the parts of the runner share.
 *
 *     runner.c        start, adopt and forget attempts
 *     runner_reach.c  listen to their shims, reconnect to them, do without them
 */
#ifndef BORGLET_RUNNER_IMPL_H
#define BORGLET_RUNNER_IMPL_H

#include "runner.h"

struct runner {
    struct runner_options options;
    char dir[DIR_BYTES];
    char shim_path[DIR_BYTES];
    char cell[CELL_NAME_MAX + 1];
    char machine[CELL_NAME_MAX + 1];
    char boot_id[64];
    int tasks_fd;
    struct ports ports;
    struct archive archive;
    struct list attempts;
    size_t attempt_count;
    pid_t *children; /* shims that are children of this process, to be reaped */
    size_t child_count, child_capacity;
    uv_signal_t on_child;
    uv_timer_t tick;       /* active while an attempt waits for a point in time */
    bool looking;          /* a pass of lost_signal() is running */
    uint64_t look_at_ms;   /* the earliest time of the next pass */
    uint64_t look_wait_ms; /* between two passes; doubles while no attempt is added */
    size_t handles;        /* open handles, and the running pass; the last one frees the runner */
    bool closing;
};

void runner_unref(struct runner *runner);
void attempt_changed(struct runner *runner, struct attempt *attempt);
int attempt_dir_open(const struct runner *runner, const struct attempt *attempt);
/* End an attempt that has no processes left and whose report is complete. */
void attempt_end(struct runner *runner, struct attempt *attempt);
/* End an attempt that was not started. */
void attempt_end_unstarted(struct runner *runner, struct attempt *attempt, const char *detail,
                           enum report_fault fault);

/* Listen to the shim at `fd`, which is taken over. */
void attempt_listen(struct runner *runner, struct attempt *attempt, int fd);
void attempt_unwatch(struct attempt *attempt);
/* Connect to the running shim of the attempt. */
void attempt_reach(struct runner *runner, struct attempt *attempt);
/* Take the state that the shim has sent or recorded. */
void attempt_take_state(struct runner *runner, struct attempt *attempt,
                        const struct shim_state *state);
/* Stop the task without its shim: its processes get SIGTERM and, `grace_ms` later, SIGKILL. */
void attempt_give_up(struct runner *runner, struct attempt *attempt, uint32_t grace_ms);
/* Run the tick now; it decides when the next one is due. */
void runner_tick_start(struct runner *runner);

#endif
