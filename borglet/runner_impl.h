/*
 * runner_impl.h - what the parts of the runner share.
 *
 *     runner.c        attempts made, adopted, forgotten
 *     runner_reach.c  their shims: listened to, reached again, given up
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
    struct attic attic;
    struct list attempts;
    size_t attempt_count;
    pid_t *children; /* shims of ours, to be reaped */
    size_t child_count, child_capacity;
    uv_signal_t on_child;
    uv_timer_t tick;       /* active while an attempt waits for a time */
    bool looking;          /* a round of lost_signal() is on its way */
    uint64_t look_at_ms;   /* not before: the next round */
    uint64_t look_wait_ms; /* between two rounds; doubles while nothing new is given up */
    size_t handles;        /* open ones, and that round; the last to end frees us */
    bool closing;
};

void runner_unref(struct runner *runner);
void attempt_changed(struct runner *runner, struct attempt *attempt);
int attempt_dir_open(const struct runner *runner, const struct attempt *attempt);
/* Nothing of it is left; its report is complete. */
void attempt_end(struct runner *runner, struct attempt *attempt);

/* Listen to a shim that we have started; takes `fd`. */
void attempt_listen(struct runner *runner, struct attempt *attempt, int fd);
void attempt_unwatch(struct attempt *attempt);
/* Reach a shim that was not started by us, or that cut us off. */
void attempt_reach(struct runner *runner, struct attempt *attempt);
/* Believe what the shim, or its record, says. */
void attempt_take_state(struct runner *runner, struct attempt *attempt,
                        const struct shim_state *state);
/* The shim cannot be asked to: its processes get SIGTERM and, `grace_ms` later, SIGKILL from us. */
void attempt_give_up(struct runner *runner, struct attempt *attempt, uint32_t grace_ms);
/* Something is to be done after a while. */
void runner_tick_start(struct runner *runner);

#endif
