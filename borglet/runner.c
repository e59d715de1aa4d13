/*
 * runner.c - start, adopt, stop and forget attempts.
 */
#include "clock.h"
#include "env.h"
#include "log.h"
#include "lost.h"
#include "processes.h"
#include "runner_impl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

void runner_unref(struct runner *runner)
{
    ASSERT(runner->handles > 0);
    if (--runner->handles > 0)
        return;
    ASSERT(runner->closing);
    close(runner->tasks_fd);
    archive_close(&runner->archive);
    free(runner->children);
    free(runner);
}

static void child_add(struct runner *runner, pid_t pid)
{
    if (pid <= 0)
        return;
    if (runner->child_count == runner->child_capacity) {
        runner->child_capacity = MAX(16, runner->child_capacity * 2);
        runner->children =
            xrealloc(runner->children, runner->child_capacity, sizeof(*runner->children));
    }
    runner->children[runner->child_count++] = pid;
}

static void runner_on_child(uv_signal_t *handle, int signal UNUSED)
{
    struct runner *runner = handle->data;
    size_t kept = 0;

    for (size_t i = 0; i < runner->child_count; i++)
        if (waitpid(runner->children[i], NULL, WNOHANG) == 0)
            runner->children[kept++] = runner->children[i];
    runner->child_count = kept;
    if (!runner->closing)
        archive_reap(&runner->archive);
}

void attempt_changed(struct runner *runner, struct attempt *attempt)
{
    if (!runner->closing)
        runner->options.on_change(runner->options.data, attempt);
}

static struct attempt *attempt_new(struct runner *runner, const char *job, struct attempt_ref task)
{
    struct attempt *attempt = xcalloc(1, sizeof(*attempt));

    attempt->task = task;
    attempt->report.task = task;
    attempt->report.kind = REPORT_RUNNING;
    attempt->shim_fd = -1;
    str_copy(attempt->job, sizeof(attempt->job), job);
    attempt_name(job, task, attempt->name);
    list_push(&runner->attempts, &attempt->link);
    runner->attempt_count++;
    return attempt;
}

int attempt_dir_open(const struct runner *runner, const struct attempt *attempt)
{
    return openat(runner->tasks_fd, attempt->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

void attempt_end(struct runner *runner, struct attempt *attempt)
{
    ASSERT(attempt->phase != ATTEMPT_ENDED);
    attempt->phase = ATTEMPT_ENDED;
    ports_give_back(&runner->ports, attempt->spec.ports, attempt->spec.port_count);
    attempt_changed(runner, attempt);
}

void runner_attempt_path(const struct runner *runner, const struct attempt *attempt, struct buf *to)
{
    buf_printf(to, "%s/tasks/%s", runner->dir, attempt->name);
}

void attempt_end_unstarted(struct runner *runner, struct attempt *attempt, const char *detail,
                           enum report_fault fault)
{
    log_warn("task.start_failed attempt=%s reason=%s", attempt->name, log_quoted(detail));
    attempt->report.kind = REPORT_START_ERROR;
    attempt->report.fault = fault;
    str_copy(attempt->report.detail, sizeof(attempt->report.detail), detail);
    attempt_end(runner, attempt);
}

static int attempt_dir_make(struct runner *runner, struct attempt *attempt, int *ret_fd,
                            struct err *err)
{
    if (mkdirat(runner->tasks_fd, attempt->name, 0700) < 0)
        return err_errno(err, errno, "cannot create \"%s/tasks/%s\"", runner->dir, attempt->name);
    attempt->has_dir = true;
    int fd = attempt_dir_open(runner, attempt);
    if (fd < 0)
        return err_errno(err, errno, "cannot open \"%s/tasks/%s\"", runner->dir, attempt->name);
    /* The task may change its user and must still be able to work there. */
    if (mkdirat(fd, "work", 0755) < 0 || fchmodat(fd, "work", 0755, 0) < 0) {
        close(fd);
        return err_errno(err, errno, "cannot create \"%s/tasks/%s/work\"", runner->dir,
                         attempt->name);
    }
    *ret_fd = fd;
    return 0;
}

static int attempt_spec_write(struct runner *runner, struct attempt *attempt,
                              const struct intent *intent, int dir_fd, struct err *err)
{
    CLEANUP(words_release) struct words env = {0};
    CLEANUP(buf_release) struct buf work = {0};

    runner_attempt_path(runner, attempt, &work);
    buf_printf(&work, "/work");
    struct env_facts facts = {.cell = runner->cell,
                              .machine = runner->machine,
                              .work_dir = buf_text(&work),
                              .task = attempt->task,
                              .shape = intent->shape,
                              .ports = attempt->spec.ports,
                              .devices = attempt->spec.devices,
                              .gpus = runner->options.gpus};
    env_build(&env, &intent->spec, &facts);
    return shim_spec_write(dir_fd, &attempt->spec, &intent->spec.argv, &env, err);
}

static int attempt_start(struct runner *runner, struct attempt *attempt,
                         const struct intent *intent, struct err *err)
{
    CLEANUP(buf_release) struct buf path = {0};
    struct process shim;
    int dir_fd = -1, fd;
    pid_t pid;

    int rc = ports_take(&runner->ports, intent->spec.ports.count, attempt->spec.ports, err);
    if (rc != 0)
        return rc;
    attempt->spec.port_count = intent->spec.ports.count;
    rc = attempt_dir_make(runner, attempt, &dir_fd, err);
    if (rc != 0)
        return rc;
    rc = attempt_spec_write(runner, attempt, intent, dir_fd, err);
    close(dir_fd);
    if (rc != 0)
        return rc;
    runner_attempt_path(runner, attempt, &path);
    rc = shim_spawn(runner->shim_path, buf_text(&path), &fd, &pid, err);
    if (rc != 0)
        return rc;
    child_add(runner, pid);
    attempt->shim_pid = pid;
    attempt->shim_starttime = process_read(pid, &shim) ? shim.starttime : 0;
    attempt_listen(runner, attempt, fd);
    return 0;
}

/* Masters check specs, but this one becomes part of a path. */
static bool intent_sound(const struct intent *intent)
{
    return name_valid(intent->spec.name) && intent->spec.argv.count > 0 &&
           intent->spec.ports.count <= SPEC_PORTS_MAX;
}

static void attempt_limit(struct attempt *attempt, const struct job_spec *spec)
{
    memcpy(attempt->spec.limit, spec->limit.v, sizeof(attempt->spec.limit));
    memcpy(attempt->spec.resource_names, spec->resource_names.text,
           sizeof(attempt->spec.resource_names));
}

static struct attempt *attempt_from_intent(struct runner *runner, const struct intent *intent)
{
    bool named = name_valid(intent->spec.name);
    struct attempt *attempt =
        attempt_new(runner, named ? intent->spec.name : "unnamed", intent->task);
    struct shim_spec *spec = &attempt->spec;

    ASSERT(runner_find(runner, intent->task) == attempt);
    spec->task = intent->task.task.v;
    spec->attempt = intent->task.attempt;
    spec->grace_ms = intent->spec.grace_ms;
    attempt_limit(attempt, &intent->spec);
    spec->devices = intent->devices;
    spec->log_segment_bytes = SHIM_LOG_SEGMENT_BYTES;
    spec->log_segments = SHIM_LOG_SEGMENTS;
    str_copy(spec->job, sizeof(spec->job), attempt->job);
    str_copy(spec->user, sizeof(spec->user), intent->spec.user);
    if (intent->spec.argv.count > 0)
        str_copy(attempt->argv0, sizeof(attempt->argv0), words_first(&intent->spec.argv));
    return attempt;
}

void runner_start(struct runner *runner, const struct intent *intent)
{
    struct attempt *attempt = attempt_from_intent(runner, intent);
    struct err err;

    if (!intent_sound(intent))
        attempt_end_unstarted(runner, attempt, "the spec has no valid name or no command",
                              FAULT_TASK);
    else if (runner->attempt_count > RUNNER_ATTEMPTS_MAX)
        attempt_end_unstarted(runner, attempt, "too many attempts on this machine", FAULT_MACHINE);
    else if (attempt_start(runner, attempt, intent, &err) != 0)
        /* Too many words are the fault of the spec; ports, disk and processes are that of the
         * machine. */
        attempt_end_unstarted(runner, attempt, err.msg,
                              err.code == ERR_LIMIT ? FAULT_TASK : FAULT_MACHINE);
}

void runner_refuse(struct runner *runner, const struct intent *intent, const char *detail)
{
    attempt_end_unstarted(runner, attempt_from_intent(runner, intent), detail, FAULT_MACHINE);
}

void runner_resize(struct attempt *attempt, const struct job_spec *spec)
{
    attempt_limit(attempt, spec);
    log_info("task.resized attempt=%s cpu_milli=%" PRId64 " ram_bytes=%" PRId64, attempt->name,
             spec->limit.v[RES_CPU], spec->limit.v[RES_RAM]);
}

void runner_stop(struct runner *runner, struct attempt *attempt, uint32_t grace_ms)
{
    struct err err;

    if (attempt->phase == ATTEMPT_ENDED || attempt->phase == ATTEMPT_ORPHANED)
        return;
    attempt->stopping = true;
    attempt->stop_grace_ms = grace_ms;
    attempt->stop_at_ms = clock_mono_ms();
    attempt->probe_ms = 0;
    log_info("task.stop_requested attempt=%s grace_ms=%" PRIu32, attempt->name, grace_ms);
    if (attempt->by_pid)
        attempt_give_up(runner, attempt, grace_ms);
    else if (attempt->shim_fd >= 0 && shim_send(attempt->shim_fd, SHIM_STOP, grace_ms, &err) != 0)
        log_warn("task.stop_failed attempt=%s reason=%s action=\"trying again once the shim is "
                 "reached\"",
                 attempt->name, log_quoted(err.msg));
    runner_tick_start(runner);
}

void runner_forget(struct runner *runner, struct attempt *attempt)
{
    ASSERT(attempt->phase == ATTEMPT_ENDED);
    if (attempt->shim_fd >= 0)
        (void)!shim_send(attempt->shim_fd, SHIM_ACK_EXIT, 0, NULL);
    attempt_unwatch(attempt);
    if (attempt->has_dir)
        archive_put(&runner->archive, runner->tasks_fd, attempt->name, attempt->task);
    list_remove(&attempt->link);
    runner->attempt_count--;
    free(attempt);
}

struct attempt *runner_find(struct runner *runner, struct attempt_ref task)
{
    LIST_EACH(l, &runner->attempts)
    {
        struct attempt *attempt = CONTAINER_OF(l, struct attempt, link);
        if (attempt->task.task.v == task.task.v && attempt->task.attempt == task.attempt)
            return attempt;
    }
    return NULL;
}

struct list *runner_attempts(struct runner *runner)
{
    return &runner->attempts;
}

size_t runner_count(const struct runner *runner)
{
    return runner->attempt_count;
}

const struct archive *runner_archive(const struct runner *runner)
{
    return &runner->archive;
}

/* The borglet that started the attempt may have numbered the named resources differently. */
static void attempt_number(struct runner *runner, struct attempt *attempt)
{
    struct resources limit;
    struct resource_names names;

    memcpy(limit.v, attempt->spec.limit, sizeof(limit.v));
    memcpy(names.text, attempt->spec.resource_names, sizeof(names.text));
    if (resources_translate(&limit, &names, &runner->options.resource_names, 0, NULL) != 0)
        memset(&limit.v[RES_NAMED], 0, sizeof(limit.v) - sizeof(limit.v[0]) * RES_NAMED);
    memcpy(attempt->spec.limit, limit.v, sizeof(limit.v));
}

/* Stop an attempt whose directory was tampered with, because it cannot be supervised safely. */
static void attempt_tampered(struct runner *runner, struct attempt *attempt, const char *what)
{
    enum { GRACE_MS = 5000 };

    log_warn("attempt.tampered attempt=%s reason=%s action=\"stopping it\"", attempt->name,
             log_quoted(what));
    str_copy(attempt->end_reason, sizeof(attempt->end_reason), what);
    runner_stop(runner, attempt, GRACE_MS);
}

static void attempt_adopt(struct runner *runner, struct attempt *attempt)
{
    struct shim_state state;
    struct err err;
    int dir_fd = attempt_dir_open(runner, attempt);

    attempt->has_dir = true;
    attempt->adopted = true;
    int rc = dir_fd < 0 ? err_set(&err, ERR_NOT_FOUND, "the attempt has no directory")
                        : shim_spec_read(dir_fd, &attempt->spec, attempt->argv0, &err);
    if (rc != 0)
        memset(&attempt->spec, 0, sizeof(attempt->spec));
    attempt_number(runner, attempt);
    for (uint32_t i = 0; i < attempt->spec.port_count; i++)
        ports_mark(&runner->ports, attempt->spec.ports[i]);
    bool wrong = rc != 0;
    struct err record_err;
    int record_rc = dir_fd < 0 ? rc : shim_record_read(dir_fd, &state, &record_err);
    bool known = record_rc == 0;
    if (!wrong && record_rc == -ERR_CORRUPT) {
        wrong = true;
        err = record_err;
    }
    if (dir_fd >= 0)
        close(dir_fd);
    if (known && strcmp(state.boot_id, runner->boot_id) == 0)
        attempt->shim_pid = state.shim_pid;
    if (known)
        attempt->shim_starttime = state.shim_starttime;
    /* The record is reported at once; the shim then sends what has happened since. */
    if (known && state.phase != SHIM_ENDED)
        attempt_take_state(runner, attempt, &state);
    attempt_reach(runner, attempt);
    bool live = attempt->phase == ATTEMPT_STARTING || attempt->phase == ATTEMPT_RUNNING;
    if (wrong && live)
        attempt_tampered(runner, attempt, err.msg);
}

static int runner_adopt_all(struct runner *runner, struct err *err)
{
    int fd = openat(runner->tasks_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *item;
    struct attempt_ref task;
    char job[CELL_NAME_MAX + 1];

    if (dir == NULL)
        return err_errno(err, errno, "cannot read \"%s/tasks\"", runner->dir);
    while ((item = readdir(dir)) != NULL) {
        if (item->d_name[0] == '.')
            continue;
        if (!attempt_name_parse(item->d_name, job, &task) || runner_find(runner, task) != NULL) {
            log_warn("attempt.ignored name=%s reason=\"not the name of an attempt\"",
                     log_quoted(item->d_name));
            continue;
        }
        attempt_adopt(runner, attempt_new(runner, job, task));
    }
    closedir(dir);
    return 0;
}

static int runner_dirs_open(struct runner *runner, struct err *err)
{
    CLEANUP(buf_release) struct buf path = {0};

    buf_printf(&path, "%s/tasks", runner->dir);
    if (mkdir(buf_text(&path), 0700) < 0 && errno != EEXIST)
        return err_errno(err, errno, "cannot create \"%s\"", buf_text(&path));
    int rc = archive_open(&runner->archive, runner->dir, runner->shim_path, err);
    if (rc != 0)
        return rc;
    runner->tasks_fd = open(buf_text(&path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (runner->tasks_fd >= 0)
        return 0;
    rc = err_errno(err, errno, "cannot open \"%s\"", buf_text(&path));
    archive_close(&runner->archive);
    return rc;
}

int runner_open(const struct runner_options *options, struct runner **ret, struct err *err)
{
    struct runner *runner = xcalloc(1, sizeof(*runner));

    runner->options = *options;
    runner->ports = options->ports;
    str_copy(runner->cell, sizeof(runner->cell), options->cell);
    str_copy(runner->machine, sizeof(runner->machine), options->machine);
    str_copy(runner->shim_path, sizeof(runner->shim_path), options->shim_path);
    list_init(&runner->attempts);
    boot_id_read(runner->boot_id, sizeof(runner->boot_id));
    /* The path is absolute, because it is in the environment of tasks. */
    char *real = realpath(options->dir, NULL);
    if (real == NULL || strlen(real) >= sizeof(runner->dir)) {
        free(real);
        free(runner);
        return err_errno(err, errno, "cannot use the directory \"%s\"", options->dir);
    }
    str_copy(runner->dir, sizeof(runner->dir), real);
    free(real);
    int rc = runner_dirs_open(runner, err);
    if (rc != 0) {
        free(runner);
        return rc;
    }
    uv_signal_init(options->loop, &runner->on_child);
    runner->on_child.data = runner;
    runner->handles = 1;
    uv_signal_start(&runner->on_child, runner_on_child, SIGCHLD);
    archive_reap(
        &runner->archive); /* children of an earlier process image that ended before this handler */
    uv_timer_init(options->loop, &runner->tick);
    runner->tick.data = runner;
    runner->handles++;
    *ret = runner;
    rc = runner_adopt_all(runner, err);
    if (rc != 0)
        runner_close(runner);
    return rc;
}

static void runner_on_handle_close(uv_handle_t *handle)
{
    runner_unref(handle->data);
}

void runner_close(struct runner *runner)
{
    struct list *l;

    runner->closing = true;
    while ((l = list_pop(&runner->attempts)) != NULL) {
        struct attempt *attempt = CONTAINER_OF(l, struct attempt, link);
        attempt_unwatch(attempt);
        free(attempt);
    }
    uv_close((uv_handle_t *)&runner->on_child, runner_on_handle_close);
    uv_close((uv_handle_t *)&runner->tick, runner_on_handle_close);
}
