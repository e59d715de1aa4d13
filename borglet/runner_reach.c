/*
 * runner_reach.c - the shims of attempts: listened to, reached again after a failure, given up.
 *
 * A shim that cannot be reached is tried again after waits that double, with a line in the log when
 * it is lost and when it is there again. What answers for no shim any more - it was killed, it is
 * stopped and does not hear of a stop, it is of a version we do not speak, something else stands at
 * its socket - is found and signalled by us, off the loop, until nothing is left (lost.h).
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
    LOOK_MIN_MS = 50, /* between two rounds; doubles */
    LOOK_MAX_MS = 1000,
    REACH_MIN_MS = 100, /* between two tries to reach a shim; doubles */
    REACH_MAX_MS = 30000,
    STOP_ANSWER_MS = 10000, /* behind the grace: then the shim is asked whether it is there */
    PROBE_MS = 5000,        /* and has so long to answer */
    SHIM_LEAVES_MS = 500,   /* a shim whose task is gone records that, before it is killed */
};

/* A descriptor in the loop for one attempt; outlives it until the loop has closed it. */
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

void attempt_unwatch(struct attempt *attempt)
{
    struct watch *watch = attempt->watch;

    attempt->watch = NULL;
    attempt->shim_fd = -1;
    if (watch == NULL)
        return;
    watch->attempt = NULL;
    uv_poll_stop(&watch->poll);
    uv_close((uv_handle_t *)&watch->poll, watch_on_close);
}

/* Takes `fd`. */
static void attempt_watch(struct runner *runner, struct attempt *attempt, int fd, uv_poll_cb cb)
{
    struct watch *watch = xcalloc(1, sizeof(*watch));

    ASSERT(attempt->watch == NULL);
    watch->runner = runner;
    watch->attempt = attempt;
    watch->fd = fd;
    watch->poll.data = watch;
    attempt->watch = watch;
    if (uv_poll_init(runner->options.loop, &watch->poll, fd) != 0)
        PANIC("cannot watch descriptor %d of %s", fd, attempt->name);
    runner->handles++;
    uv_poll_start(&watch->poll, UV_READABLE, cb);
}

static void attempt_end_lost(struct runner *runner, struct attempt *attempt, const char *detail)
{
    if (attempt->trouble[0] != '\0')
        detail = attempt->trouble;
    log_warn("task.lost attempt=%s reason=%s", attempt->name, log_quoted(detail));
    attempt->report.kind = REPORT_LOST;
    attempt->report.exit_code = 0;
    str_copy(attempt->report.detail, sizeof(attempt->report.detail), detail);
    attempt_end(runner, attempt);
}

/* The shim has not heard of a stop: it was asked over a connection that broke. Asking twice does no
 * harm. */
static void attempt_repeat_stop(struct attempt *attempt)
{
    if (attempt->stopping && !attempt->state.stopping && attempt->shim_fd >= 0)
        (void)!shim_send(attempt->shim_fd, SHIM_STOP, attempt->stop_grace_ms, NULL);
}

static void attempt_take_end(struct runner *runner, struct attempt *attempt)
{
    const struct shim_state *state = &attempt->state;

    shim_end_report(state, attempt->argv0, &attempt->report);
    if (attempt->trouble[0] != '\0')
        str_copy(attempt->report.detail, sizeof(attempt->report.detail), attempt->trouble);
    if (attempt->report.kind == REPORT_START_ERROR)
        log_warn("task.start_failed attempt=%s reason=%s", attempt->name,
                 log_quoted(attempt->report.detail));
    else
        log_info("task.ended attempt=%s code=%d detail=%s", attempt->name,
                 attempt->report.exit_code, log_quoted(attempt->report.detail));
    /* On disk: the shim need not keep it for us any longer. */
    if (state->recorded && attempt->shim_fd >= 0)
        (void)!shim_send(attempt->shim_fd, SHIM_ACK_EXIT, 0, NULL);
    if (state->recorded || attempt->shim_fd < 0)
        attempt_unwatch(attempt);
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

/* What the record says, if it can be read; true: the task has ended, and this is told. */
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

/* Nobody answers for the attempt any more. */
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
    if (attempt->trouble[0] == '\0' &&
        lost_same_process(attempt->shim_pid, attempt->shim_starttime))
        str_copy(attempt->trouble, sizeof(attempt->trouble),
                 "the attempt's directory was tampered with: its shim is not at \"ctl.sock\"");
    attempt_give_up(runner, attempt, 0);
}

static void attempt_orphan_over(struct runner *runner, struct attempt *attempt)
{
    const struct shim_state *state = &attempt->state;

    if (attempt_take_record(runner, attempt))
        return;
    if (state->boot_id[0] != '\0' && strcmp(state->boot_id, runner->boot_id) != 0)
        attempt_end_lost(runner, attempt, "the machine has been rebooted");
    else
        attempt_end_lost(runner, attempt,
                         "its shim was killed, so its end is unknown; what was left is killed");
}

/* A shim of another version is known by its process; that it leaves says that the task is over. */
static void runner_on_shim_end(uv_poll_t *handle, int status UNUSED, int events UNUSED)
{
    struct watch *watch = handle->data;

    attempt_orphaned(watch->runner, watch->attempt);
}

static void attempt_foreign(struct runner *runner, struct attempt *attempt, const struct err *why)
{
    int fd = (int)syscall(SYS_pidfd_open, attempt->shim_pid, 0);

    str_copy(attempt->trouble, sizeof(attempt->trouble), why->msg);
    attempt->foreign = true;
    log_warn("shim.foreign attempt=%s shim=%d reason=%s, it goes on and is stopped by signals",
             attempt->name, attempt->shim_pid, log_quoted(why->msg));
    if (fd < 0) {
        attempt_orphaned(runner, attempt);
        return;
    }
    attempt_watch(runner, attempt, fd, runner_on_shim_end);
    str_copy(attempt->report.detail, sizeof(attempt->report.detail), why->msg);
    attempt->phase = ATTEMPT_RUNNING;
    attempt_changed(runner, attempt);
    if (attempt->stopping)
        attempt_give_up(runner, attempt, attempt->stop_grace_ms);
}

/* Try again later, and say so the first time. */
static void attempt_retry(struct runner *runner, struct attempt *attempt, const struct err *why)
{
    uint64_t wait = (uint64_t)REACH_MIN_MS << MIN(attempt->reach_failures, 16U);

    if (attempt->reach_failures++ == 0)
        log_warn("shim.silent attempt=%s reason=%s, trying to reach it", attempt->name,
                 log_quoted(why->msg));
    attempt->reach_at_ms = clock_mono_ms() + MIN(wait, (uint64_t)REACH_MAX_MS);
    runner_tick_start(runner);
}

static void runner_on_message(uv_poll_t *handle, int status, int events);

static void attempt_reached(struct runner *runner, struct attempt *attempt, int fd, pid_t pid)
{
    struct process process;

    /* Who is at the socket is the shim: but not when that is known to be somebody else. */
    if (attempt->shim_pid != 0 && attempt->shim_pid != pid) {
        close(fd);
        snprintf(attempt->trouble, sizeof(attempt->trouble),
                 "the attempt's directory was tampered with: process %d is in its shim's place",
                 pid);
        attempt_orphaned(runner, attempt);
        return;
    }
    if (attempt->shim_pid == 0 && process_read(pid, &process)) {
        attempt->shim_pid = pid;
        attempt->shim_starttime = process.starttime;
    }
    attempt_listen(runner, attempt, fd);
    /* When this fails the shim is gone, and the watch will say so. */
    (void)!shim_send(fd, SHIM_SUBSCRIBE, 0, NULL);
}

void attempt_reach(struct runner *runner, struct attempt *attempt)
{
    struct err err;
    pid_t pid;
    int fd, dir_fd = attempt_dir_open(runner, attempt);

    attempt->reach_at_ms = 0;
    int rc = dir_fd < 0 ? err_set(&err, ERR_CLOSED, "its directory is gone")
                        : shim_connect(dir_fd, &fd, &pid, &err);
    if (dir_fd >= 0)
        close(dir_fd);
    if (rc == 0) {
        attempt_reached(runner, attempt, fd, pid);
        return;
    }
    if (err.code == ERR_IO) {
        attempt_retry(runner, attempt, &err);
        return;
    }
    if (err.code == ERR_CORRUPT)
        str_copy(attempt->trouble, sizeof(attempt->trouble), err.msg);
    attempt_orphaned(runner, attempt);
}

static void attempt_heard(struct runner *runner, struct attempt *attempt,
                          const struct shim_message *message)
{
    if (attempt->reach_failures > 1)
        log_info("shim.reached attempt=%s tries=%" PRIu32, attempt->name, attempt->reach_failures);
    attempt->reach_failures = 0;
    attempt->probe_ms = 0;
    if (message->kind != SHIM_REFUSED)
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

    /* The rest, if there is more, comes with the next turn. */
    for (int i = 0; i < MESSAGES_PER_TURN && watch->attempt != NULL; i++) {
        rc = shim_receive(watch->fd, &message, &err);
        if (rc != 1)
            break;
        attempt_heard(runner, attempt, &message);
    }
    if (watch->attempt == NULL || rc >= 0)
        return;
    attempt_unwatch(attempt);
    if (attempt->phase == ATTEMPT_ENDED)
        return;
    if (err.code == ERR_STATE) {
        attempt_foreign(runner, attempt, &err);
    } else if (attempt->reach_failures == 0) {
        log_warn("shim.silent attempt=%s reason=%s, trying to reach it", attempt->name,
                 log_quoted(err.msg));
        attempt->reach_failures = 1;
        attempt_reach(runner, attempt);
    } else {
        attempt_retry(runner, attempt, &err);
    }
}

void attempt_listen(struct runner *runner, struct attempt *attempt, int fd)
{
    attempt_watch(runner, attempt, fd, runner_on_message);
    attempt->shim_fd = fd;
}

/* A stop that the shim does not carry out, because it is stopped itself or out of reach. */
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
    str_copy(attempt->trouble, sizeof(attempt->trouble),
             "its shim did not answer when it was to be stopped; it was killed without it");
    log_warn("shim.given_up attempt=%s shim=%d", attempt->name, attempt->shim_pid);
    attempt_give_up(runner, attempt, 0);
}

/* One look at /proc for all orphans. */
struct round {
    uv_work_t work;
    struct runner *runner;
    struct lost *lost;
    struct attempt_ref *tasks; /* whose they are */
    size_t count;
};

static void round_on_work(uv_work_t *work)
{
    struct round *round = work->data;

    lost_signal(round->lost, round->count);
}

/* What a round has found of one orphan. */
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
    if (lost->shim_left && !attempt->foreign && now_ms < attempt->empty_since_ms + SHIM_LEAVES_MS &&
        !attempt_take_record(runner, attempt))
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

static void runner_on_tick(uv_timer_t *timer)
{
    struct runner *runner = timer->data;
    uint64_t now_ms = clock_mono_ms();
    size_t orphans = 0, silent = 0, stopping = 0;

    for (struct list *l = runner->attempts.next, *next; l != &runner->attempts; l = next) {
        struct attempt *attempt = CONTAINER_OF(l, struct attempt, link);
        next = l->next;
        if (attempt_live(attempt) && attempt->reach_at_ms != 0 && now_ms >= attempt->reach_at_ms)
            attempt_reach(runner, attempt);
        if (attempt_live(attempt) && attempt->stopping)
            attempt_stop_check(runner, attempt, now_ms);
        orphans += attempt->phase == ATTEMPT_ORPHANED;
        silent += attempt_live(attempt) && attempt->reach_at_ms != 0;
        stopping += attempt_live(attempt) && attempt->stopping;
    }
    if (orphans > 0 && !runner->looking && now_ms >= runner->look_at_ms)
        runner_look(runner, orphans, now_ms);
    if (orphans + silent > 0)
        uv_timer_start(timer, runner_on_tick, TICK_MS, 0);
    else if (stopping > 0)
        uv_timer_start(timer, runner_on_tick, STOP_TICK_MS, 0);
}

void runner_tick_start(struct runner *runner)
{
    if (!runner->closing)
        uv_timer_start(&runner->tick, runner_on_tick, 0, 0);
}
