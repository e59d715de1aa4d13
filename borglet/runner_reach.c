/*
 * runner_reach.c - listen to the shims of attempts, reconnect to them, and do without them.
 *
 * A shim that cannot be reached is tried again with waits that double, with one line in the log
 * when it is lost and one when it is reached again. An attempt without a usable shim is stopped
 * from here: its processes are found and signalled off the loop until none is left (lost.h).
 */
#include "clock.h"
#include "log.h"
#include "lost.h"
#include "processes.h"
#include "runner_impl.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    MESSAGES_PER_TURN = 64,
    TICK_MS = 50,
    STOP_TICK_MS = 1000,
    LOOK_MIN_MS = 50, /* between two passes; doubles */
    LOOK_MAX_MS = 1000,
    REACH_MIN_MS = 100, /* between two attempts to reach a shim; doubles */
    REACH_MAX_MS = 30000,
    REACH_BY_PID_MAX_MS = 600000, /* the same for a shim that cannot be spoken to */
    STOP_ANSWER_MS =
        10000,            /* after the grace the shim has so long, then it is asked for its state */
    PROBE_MS = 5000,      /* and it has so long to answer */
    SHIM_LEAVES_MS = 500, /* a shim has so long to record the end before it is killed */
    BY_PID_RECORD_MS = 2000, /* the same for a shim that cannot be spoken to */
};

/* A descriptor that the loop polls for one attempt. It outlives the attempt until the loop has
 * closed it. */
struct watch {
    uv_poll_t poll;
    struct runner *runner;
    struct attempt *attempt;
    int fd;
};

static void watch_on_close(uv_handle_t *handle)
{
    struct watch *watch = handle->data;
    struct runner *runner = watch->runner;

    close(watch->fd);
    free(watch);
    runner_unref(runner);
}

static void watch_close(struct watch **place)
{
    struct watch *watch = *place;

    *place = NULL;
    if (watch == NULL)
        return;
    watch->attempt = NULL;
    uv_poll_stop(&watch->poll);
    uv_close((uv_handle_t *)&watch->poll, watch_on_close);
}

static void attempt_disconnect(struct attempt *attempt)
{
    watch_close(&attempt->watch);
    attempt->shim_fd = -1;
    attempt->shim_version = 0;
}

static void attempt_ends_unwatch(struct attempt *attempt)
{
    for (size_t i = 0; i < ARRAY_SIZE(attempt->ends); i++)
        watch_close(&attempt->ends[i]);
}

void attempt_unwatch(struct attempt *attempt)
{
    attempt_disconnect(attempt);
    attempt_ends_unwatch(attempt);
}

/* Poll `fd`, which is taken over. */
static struct watch *attempt_watch(struct runner *runner, struct attempt *attempt, int fd,
                                   uv_poll_cb cb)
{
    struct watch *watch = xcalloc(1, sizeof(*watch));

    watch->runner = runner;
    watch->attempt = attempt;
    watch->fd = fd;
    watch->poll.data = watch;
    if (uv_poll_init(runner->options.loop, &watch->poll, fd) != 0)
        PANIC("cannot watch descriptor %d of %s", fd, attempt->name);
    runner->handles++;
    uv_poll_start(&watch->poll, UV_READABLE, cb);
    return watch;
}

static void attempt_end_lost(struct runner *runner, struct attempt *attempt, const char *detail)
{
    if (attempt->end_reason[0] != '\0')
        detail = attempt->end_reason;
    log_warn("task.lost attempt=%s reason=%s", attempt->name, log_quoted(detail));
    attempt->report.kind = REPORT_LOST;
    attempt->report.exit_code = 0;
    str_copy(attempt->report.detail, sizeof(attempt->report.detail), detail);
    attempt_end(runner, attempt);
}

/* Send a stop again that the shim has not received, because the connection broke. A second one
 * does no harm. */
static void attempt_repeat_stop(struct attempt *attempt)
{
    if (attempt->stopping && !attempt->state.stopping && attempt->shim_fd >= 0)
        (void)!shim_send(attempt->shim_fd, SHIM_STOP, attempt->stop_grace_ms, NULL);
}

static void attempt_take_end(struct runner *runner, struct attempt *attempt)
{
    const struct shim_state *state = &attempt->state;

    shim_end_report(state, attempt->argv0, &attempt->report);
    /* The shim did not receive the stop, so it does not know that there was one. */
    if (attempt->by_pid && attempt->stopping && attempt->report.kind == REPORT_EXITED)
        attempt->report.told_to_stop = true;
    if (attempt->end_reason[0] != '\0')
        str_copy(attempt->report.detail, sizeof(attempt->report.detail), attempt->end_reason);
    if (attempt->report.kind == REPORT_START_ERROR)
        log_warn("task.start_failed attempt=%s reason=%s", attempt->name,
                 log_quoted(attempt->report.detail));
    else
        log_info("task.ended attempt=%s code=%d detail=%s", attempt->name,
                 attempt->report.exit_code, log_quoted(attempt->report.detail));
    /* The end is on disk, so the shim need not keep it. */
    if (state->recorded && attempt->shim_fd >= 0)
        (void)!shim_send(attempt->shim_fd, SHIM_ACK_EXIT, 0, NULL);
    if (state->recorded || attempt->shim_fd < 0)
        attempt_unwatch(attempt);
    /* A shim that cannot be spoken to gets no acknowledgement; it has nothing left to do. */
    if (attempt->by_pid && lost_same_process(attempt->shim_pid, attempt->shim_starttime))
        kill(attempt->shim_pid, SIGKILL);
    attempt_end(runner, attempt);
}

void attempt_take_state(struct runner *runner, struct attempt *attempt,
                        const struct shim_state *state)
{
    if (attempt->phase == ATTEMPT_ENDED)
        return;
    attempt->state = *state;
    attempt->stopping = attempt->stopping || state->stopping != 0;
    attempt->report.pid = state->task_pid;
    memcpy(attempt->report.ports, attempt->spec.ports, sizeof(attempt->report.ports));
    if (state->phase == SHIM_RUNNING && attempt->phase == ATTEMPT_STARTING) {
        attempt->phase = ATTEMPT_RUNNING;
        log_info("task.%s attempt=%s pid=%d", attempt->adopted ? "adopted" : "started",
                 attempt->name, state->task_pid);
        attempt_changed(runner, attempt);
    }
    if (state->phase == SHIM_ENDED)
        attempt_take_end(runner, attempt);
    else
        attempt_repeat_stop(attempt);
}

/* Take the end from the record. Returns whether the record has an end. */
static bool attempt_take_record(struct runner *runner, struct attempt *attempt)
{
    struct shim_state state;
    int dir_fd = attempt_dir_open(runner, attempt);
    bool known = dir_fd >= 0 && shim_record_read(dir_fd, &state, NULL) == 0;

    if (dir_fd >= 0)
        close(dir_fd);
    if (known && state.phase == SHIM_ENDED)
        attempt_take_state(runner, attempt, &state);
    else if (known && attempt->state.task_pid == 0)
        attempt->state = state;
    return attempt->phase == ATTEMPT_ENDED;
}

void attempt_give_up(struct runner *runner, struct attempt *attempt, uint32_t grace_ms)
{
    attempt_unwatch(attempt);
    if (attempt->phase == ATTEMPT_ORPHANED)
        return;
    attempt->phase = ATTEMPT_ORPHANED;
    attempt->report.pid = attempt->state.task_pid;
    attempt->term_sent = grace_ms == 0;
    attempt->kill_at_ms = clock_mono_ms() + grace_ms;
    attempt->empty_since_ms = 0;
    runner->look_at_ms = 0;
    runner->look_wait_ms = LOOK_MIN_MS;
    runner_tick_start(runner);
}

/* The attempt has no usable shim any more: take its end from the record, or kill what is left. */
static void attempt_orphaned(struct runner *runner, struct attempt *attempt)
{
    attempt_unwatch(attempt);
    if (attempt_take_record(runner, attempt))
        return;
    const struct shim_state *state = &attempt->state;
    if (attempt->shim_pid == 0) {
        attempt->shim_pid = state->shim_pid;
        attempt->shim_starttime = state->shim_starttime;
    }
    if (attempt->end_reason[0] == '\0' && !attempt->by_pid &&
        lost_same_process(attempt->shim_pid, attempt->shim_starttime))
        str_copy(attempt->end_reason, sizeof(attempt->end_reason),
                 "the attempt's directory was tampered with: its shim is not at \"ctl.sock\"");
    attempt_give_up(runner, attempt, 0);
}

static void attempt_orphan_over(struct runner *runner, struct attempt *attempt)
{
    const struct shim_state *state = &attempt->state;
    char detail[sizeof(attempt->report.detail)];

    if (attempt_take_record(runner, attempt))
        return;
    if (attempt->end_reason[0] == '\0' && attempt->by_pid && state->task_pid == 0 &&
        !attempt->adopted) {
        attempt_end_unstarted(runner, attempt, attempt->by_pid_why, FAULT_MACHINE);
        return;
    }
    snprintf(detail, sizeof(detail), "its end is unknown: %s", attempt->by_pid_why);
    if (attempt->by_pid)
        attempt_end_lost(runner, attempt, detail);
    else if (state->boot_id[0] != '\0' && strcmp(state->boot_id, runner->boot_id) != 0)
        attempt_end_lost(runner, attempt, "the machine has been rebooted");
    else
        attempt_end_lost(
            runner, attempt,
            "its shim was killed, so its end is unknown; its remaining processes were killed");
}

static void runner_on_process_end(uv_poll_t *handle, int status UNUSED, int events UNUSED)
{
    struct watch *watch = handle->data;

    attempt_orphaned(watch->runner, watch->attempt);
}

/* Watch for the end of the process. False: it has ended, or its pid belongs to another process. */
static bool attempt_end_watch(struct runner *runner, struct attempt *attempt, struct watch **place,
                              pid_t pid, uint64_t starttime)
{
    if (*place != NULL || pid <= 1)
        return true;
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    int error = errno;
    /* The comparison comes after pidfd_open(), because a descriptor stays with its process. */
    if (!lost_same_process(pid, starttime)) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    if (fd >= 0)
        *place = attempt_watch(runner, attempt, fd, runner_on_process_end);
    else
        log_warn("task.watch_failed attempt=%s pid=%d reason=%s action=\"trying again later\"",
                 attempt->name, pid, log_quoted(strerror(error)));
    return true;
}

/* Watch the processes of the task and of its shim. False: one of them has ended. */
static bool attempt_ends_watch(struct runner *runner, struct attempt *attempt)
{
    const struct shim_state *state = &attempt->state;
    bool this_boot = strcmp(state->boot_id, runner->boot_id) == 0;

    return attempt_end_watch(runner, attempt, &attempt->ends[0], this_boot ? state->task_pid : 0,
                             state->starttime) &&
           attempt_end_watch(runner, attempt, &attempt->ends[1], attempt->shim_pid,
                             attempt->shim_starttime);
}

/* Try to reach the shim again later; the wait doubles. */
static void attempt_retry(struct runner *runner, struct attempt *attempt)
{
    uint64_t wait = (uint64_t)REACH_MIN_MS << MIN(attempt->reach_failures, 16U);
    uint64_t wait_max = attempt->by_pid ? REACH_BY_PID_MAX_MS : REACH_MAX_MS;

    attempt->reach_failures++;
    attempt->reach_at_ms = clock_mono_ms() + MIN(wait, wait_max);
    runner_tick_start(runner);
}

static void attempt_lost_shim(struct runner *runner, struct attempt *attempt, const struct err *why)
{
    if (attempt->reach_failures == 0 && !attempt->by_pid)
        log_warn("shim.lost attempt=%s reason=%s action=\"trying to reach it\"", attempt->name,
                 log_quoted(why->msg));
    attempt_retry(runner, attempt);
}

static void attempt_by_pid_begin(struct runner *runner, struct attempt *attempt,
                                 const struct err *why)
{
    attempt->reach_failures = attempt->relapses++;
    attempt->report.pid = attempt->state.task_pid;
    log_warn("shim.refused attempt=%s shim_pid=%d task_pid=%d reason=%s action=%s", attempt->name,
             attempt->shim_pid, attempt->state.task_pid, log_quoted(why->msg),
             "\"the task is watched by its pid and stopped by signals; to have it supervised again "
             "run a borglet of the shim's release, or restart the task\"");
    str_copy(attempt->report.detail, sizeof(attempt->report.detail), why->msg);
    attempt->phase = ATTEMPT_RUNNING;
    attempt_changed(runner, attempt);
}

/* The shim runs but cannot be spoken to: watch the task by its pid, and ask the shim again later.
 */
static void attempt_watch_by_pid(struct runner *runner, struct attempt *attempt,
                                 const struct err *why)
{
    bool unstarted = !attempt->adopted && attempt->phase == ATTEMPT_STARTING;
    bool is_new = !attempt->by_pid;

    attempt->by_pid = true;
    str_copy(attempt->by_pid_why, sizeof(attempt->by_pid_why), why->msg);
    attempt_disconnect(attempt);
    if (attempt_take_record(runner, attempt))
        return;
    if (unstarted && why->code == ERR_STATE) {
        /* This borglet has just started the shim, which starts no task without a common version. */
        attempt_give_up(runner, attempt, 0);
        return;
    }
    if (is_new)
        attempt_by_pid_begin(runner, attempt, why);
    if (!attempt_ends_watch(runner, attempt))
        attempt_orphaned(runner, attempt);
    else if (attempt->stopping)
        attempt_give_up(runner, attempt, attempt->stop_grace_ms);
    else
        attempt_retry(runner, attempt);
}

static void runner_on_message(uv_poll_t *handle, int status, int events);

static void attempt_reached(struct runner *runner, struct attempt *attempt, int fd, pid_t pid)
{
    struct process process;

    /* The process at the socket is the shim, unless another process is known to be. */
    if (attempt->shim_pid != 0 && attempt->shim_pid != pid) {
        close(fd);
        snprintf(attempt->end_reason, sizeof(attempt->end_reason),
                 "the attempt's directory was tampered with: process %d is in its shim's place",
                 pid);
        attempt_orphaned(runner, attempt);
        return;
    }
    attempt->shim_pid = pid;
    if (attempt->shim_starttime == 0 && process_read(pid, &process))
        attempt->shim_starttime = process.starttime;
    attempt_listen(runner, attempt, fd);
    /* If this fails the shim has closed the connection, which the watch reports. */
    (void)!shim_hello(fd, NULL);
}

void attempt_reach(struct runner *runner, struct attempt *attempt)
{
    struct err err;
    pid_t pid;
    int fd, dir_fd = attempt_dir_open(runner, attempt);

    attempt->reach_at_ms = 0;
    int rc = dir_fd < 0 ? err_set(&err, ERR_CLOSED, "the directory of the attempt is missing")
                        : shim_connect(dir_fd, &fd, &pid, &err);
    if (dir_fd >= 0)
        close(dir_fd);
    if (rc == 0) {
        attempt_reached(runner, attempt, fd, pid);
        return;
    }
    if (err.code == ERR_IO) {
        attempt_lost_shim(runner, attempt, &err);
        return;
    }
    if (err.code == ERR_CORRUPT)
        str_copy(attempt->end_reason, sizeof(attempt->end_reason), err.msg);
    attempt_orphaned(runner, attempt);
}

/* Agree on a version with the shim. */
static void attempt_agree(struct attempt *attempt, const struct shim_message *message)
{
    if (attempt->shim_version != 0)
        return;
    attempt->shim_version = message->version;
    /* A shim of version 3 has no hello: it refuses the request and is asked in the old way. */
    if (message->kind == SHIM_REFUSED && message->version < SHIM_VERSION_RANGES)
        (void)!shim_send(attempt->shim_fd, SHIM_SUBSCRIBE, 0, NULL);
}

static void attempt_heard(struct runner *runner, struct attempt *attempt,
                          const struct shim_message *message)
{
    if (attempt->reach_failures > 1 || attempt->by_pid)
        log_info("shim.reached attempt=%s tries=%" PRIu32, attempt->name, attempt->reach_failures);
    attempt->reach_failures = 0;
    attempt->probe_ms = 0;
    attempt->by_pid = false;
    attempt_ends_unwatch(attempt);
    attempt_agree(attempt, message);
    if (message->kind != SHIM_REFUSED && message->kind != SHIM_HELLO_ANSWER)
        attempt_take_state(runner, attempt, &message->state);
}

static void runner_on_message(uv_poll_t *handle, int status UNUSED, int events UNUSED)
{
    struct watch *watch = handle->data;
    struct runner *runner = watch->runner;
    struct attempt *attempt = watch->attempt;
    struct shim_message message;
    struct err err;
    int rc = 0;

    /* Further messages are received in the next turn. */
    for (int i = 0; i < MESSAGES_PER_TURN && watch->attempt != NULL; i++) {
        rc = shim_receive(watch->fd, &message, &err);
        if (rc != 1)
            break;
        attempt_heard(runner, attempt, &message);
    }
    if (watch->attempt == NULL || rc >= 0)
        return;
    attempt_disconnect(attempt);
    if (attempt->phase == ATTEMPT_ENDED)
        return;
    if (err.code != ERR_CLOSED) {
        attempt_watch_by_pid(runner, attempt, &err);
    } else if (attempt->reach_failures == 0 && !attempt->by_pid) {
        log_warn("shim.lost attempt=%s reason=%s action=\"trying to reach it\"", attempt->name,
                 log_quoted(err.msg));
        attempt->reach_failures = 1;
        attempt_reach(runner, attempt);
    } else if (attempt_ends_watch(runner, attempt)) {
        attempt_retry(runner, attempt);
    } else {
        attempt_orphaned(runner, attempt);
    }
}

void attempt_listen(struct runner *runner, struct attempt *attempt, int fd)
{
    ASSERT(attempt->watch == NULL);
    attempt->watch = attempt_watch(runner, attempt, fd, runner_on_message);
    attempt->shim_fd = fd;
}

/* Give up a shim that does not carry out a stop, because it is stopped itself or out of reach. */
static void attempt_stop_check(struct runner *runner, struct attempt *attempt, uint64_t now_ms)
{
    if (now_ms < attempt->stop_at_ms + attempt->stop_grace_ms + STOP_ANSWER_MS)
        return;
    if (attempt->probe_ms == 0) {
        attempt->probe_ms = now_ms;
        if (attempt->shim_fd >= 0)
            (void)!shim_send(attempt->shim_fd, SHIM_STATUS, 0, NULL);
        return;
    }
    if (now_ms < attempt->probe_ms + PROBE_MS)
        return;
    str_copy(attempt->end_reason, sizeof(attempt->end_reason),
             "its shim did not carry out a stop; its processes were killed without the shim");
    log_warn("shim.given_up attempt=%s shim=%d", attempt->name, attempt->shim_pid);
    attempt_give_up(runner, attempt, 0);
}

/* One pass over /proc for all orphaned attempts. */
struct round {
    uv_work_t work;
    struct runner *runner;
    struct lost *lost;
    struct attempt_ref *tasks; /* the attempts, in the order of `lost` */
    size_t count;
};

static void round_on_work(uv_work_t *work)
{
    struct round *round = work->data;

    lost_signal(round->lost, round->count);
}

/* Take the result of a pass for one orphaned attempt. */
static void attempt_take_round(struct runner *runner, struct attempt *attempt,
                               const struct lost *lost)
{
    uint64_t now_ms = clock_mono_ms();

    attempt->term_sent = true;
    if (lost->left > 0) {
        attempt->empty_since_ms = 0;
        return;
    }
    if (attempt->empty_since_ms == 0)
        attempt->empty_since_ms = now_ms;
    /* The record is the only source of the exit status, so the shim gets time to write it. */
    uint64_t record_at_ms =
        attempt->empty_since_ms + (attempt->by_pid ? BY_PID_RECORD_MS : SHIM_LEAVES_MS);
    if (lost->shim_left && now_ms < record_at_ms && !attempt_take_record(runner, attempt))
        return;
    if (lost->shim_left && lost_same_process(lost->shim_pid, lost->shim_starttime))
        kill(lost->shim_pid, SIGKILL);
    if (attempt->phase == ATTEMPT_ORPHANED)
        attempt_orphan_over(runner, attempt);
}

static void round_on_done(uv_work_t *work, int status UNUSED)
{
    struct round *round = work->data;
    struct runner *runner = round->runner;

    runner->looking = false;
    for (size_t i = 0; i < round->count; i++) {
        struct attempt *attempt = runner->closing ? NULL : runner_find(runner, round->tasks[i]);
        if (attempt != NULL && attempt->phase == ATTEMPT_ORPHANED)
            attempt_take_round(runner, attempt, &round->lost[i]);
        free(round->lost[i].work_dir);
    }
    free(round->lost);
    free(round->tasks);
    free(round);
    runner_unref(runner);
}

static void round_add(struct round *round, const struct attempt *attempt, uint64_t now_ms)
{
    CLEANUP(buf_release) struct buf work = {0};
    struct lost *lost = &round->lost[round->count];
    bool this_boot = strcmp(attempt->state.boot_id, round->runner->boot_id) == 0;

    runner_attempt_path(round->runner, attempt, &work);
    buf_printf(&work, "/work");
    lost->work_dir = xstrdup(buf_text(&work));
    lost->task_pid = this_boot ? attempt->state.task_pid : 0;
    lost->task_starttime = attempt->state.starttime;
    lost->shim_pid = attempt->shim_pid;
    lost->shim_starttime = attempt->shim_starttime;
    if (now_ms >= attempt->kill_at_ms)
        lost->signal = SIGKILL;
    else
        lost->signal = attempt->term_sent ? 0 : SIGTERM;
    round->tasks[round->count++] = attempt->task;
}

static void runner_look(struct runner *runner, size_t orphans, uint64_t now_ms)
{
    struct round *round = xcalloc(1, sizeof(*round));

    round->runner = runner;
    round->work.data = round;
    round->lost = xcalloc(orphans, sizeof(*round->lost));
    round->tasks = xcalloc(orphans, sizeof(*round->tasks));
    LIST_EACH(l, &runner->attempts)
    {
        const struct attempt *attempt = CONTAINER_OF(l, struct attempt, link);
        if (attempt->phase == ATTEMPT_ORPHANED)
            round_add(round, attempt, now_ms);
    }
    runner->looking = true;
    runner->look_at_ms = now_ms + runner->look_wait_ms;
    runner->look_wait_ms = MIN(2 * runner->look_wait_ms, (uint64_t)LOOK_MAX_MS);
    runner->handles++;
    uv_queue_work(runner->options.loop, &round->work, round_on_work, round_on_done);
}

static bool attempt_live(const struct attempt *attempt)
{
    return attempt->phase == ATTEMPT_STARTING || attempt->phase == ATTEMPT_RUNNING;
}

static void attempt_on_tick(struct runner *runner, struct attempt *attempt, uint64_t now_ms)
{
    if (attempt_live(attempt) && attempt->reach_at_ms != 0 && now_ms >= attempt->reach_at_ms)
        attempt_reach(runner, attempt);
    if (attempt_live(attempt) && attempt->stopping)
        attempt_stop_check(runner, attempt, now_ms);
}

/* Return when the attempt is looked at again, in ms from now; UINT64_MAX: not by time. */
static uint64_t attempt_tick_wait(const struct attempt *attempt, uint64_t now_ms)
{
    uint64_t wait_ms = UINT64_MAX;

    if (attempt->phase == ATTEMPT_ORPHANED)
        return TICK_MS;
    if (!attempt_live(attempt))
        return wait_ms;
    if (attempt->stopping)
        wait_ms = STOP_TICK_MS;
    if (attempt->reach_at_ms != 0) {
        uint64_t reach_ms = attempt->reach_at_ms > now_ms ? attempt->reach_at_ms - now_ms : 0;
        wait_ms = MIN(wait_ms, MAX(reach_ms, (uint64_t)TICK_MS));
    }
    return wait_ms;
}

static void runner_on_tick(uv_timer_t *timer)
{
    struct runner *runner = timer->data;
    uint64_t now_ms = clock_mono_ms(), wait_ms = UINT64_MAX;
    size_t orphans = 0;

    for (struct list *l = runner->attempts.next, *next; l != &runner->attempts; l = next) {
        struct attempt *attempt = CONTAINER_OF(l, struct attempt, link);
        next = l->next;
        attempt_on_tick(runner, attempt, now_ms);
        orphans += attempt->phase == ATTEMPT_ORPHANED;
        wait_ms = MIN(wait_ms, attempt_tick_wait(attempt, now_ms));
    }
    if (orphans > 0 && !runner->looking && now_ms >= runner->look_at_ms)
        runner_look(runner, orphans, now_ms);
    if (wait_ms != UINT64_MAX)
        uv_timer_start(timer, runner_on_tick, wait_ms, 0);
}

void runner_tick_start(struct runner *runner)
{
    if (!runner->closing)
        uv_timer_start(&runner->tick, runner_on_tick, 0, 0);
}
