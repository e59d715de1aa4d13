/*
 * runner.h - start, adopt, stop and forget the attempts on this machine.
 *
 *                       STARTED                EXIT
 *     start --> STARTING ------> RUNNING --------------> ENDED -- forget --> archive
 *                  |                |                      ^
 *                  | start error, EXIT                     |
 *                  +----------------|----------------------+
 *                  |  shim killed   v                      |
 *                  +----------> ORPHANED -- all killed ----+  reported as lost
 *
 * A shim (shim_proto.h) owns the processes of an attempt; the runner talks to the shim and is never
 * the parent of a task. Closing the runner leaves every task as it is; opening one on the same
 * directory adopts them. If a shim is killed, the exit status of its task is unknown: the runner
 * kills the remaining processes and reports the attempt as lost. It does the same if something else
 * is in the place of the shim, or if the shim does not carry out a stop. A shim that cannot be
 * spoken to, because it shares no version with this borglet or answers nonsense, leaves its task
 * running: the runner watches the task by pid and start time, stops it by signals, and takes the
 * exit status from the record.
 *
 * Nothing in the directory of an attempt is trusted (own_file.h): if a file is not as a shim leaves
 * it, the attempt is ended and the report says so.
 */
#ifndef BORGLET_RUNNER_H
#define BORGLET_RUNNER_H

#include "archive.h"
#include "list.h"
#include "ports.h"
#include "shim_client.h"
#include "wire.h"

#include <uv.h>

enum { RUNNER_ATTEMPTS_MAX = 4096 };

enum attempt_phase {
    ATTEMPT_STARTING,
    ATTEMPT_RUNNING,
    ATTEMPT_ORPHANED, /* without a usable shim; its processes are being killed */
    ATTEMPT_ENDED,
};

struct attempt {
    struct list link;
    struct attempt_ref task;
    char name[ATTEMPT_NAME_BYTES]; /* of its directory */
    char job[CELL_NAME_MAX + 1];
    char argv0[SHIM_ARGV0_BYTES];
    enum attempt_phase phase;
    bool stopping;
    bool adopted;            /* started by an earlier borglet */
    uint32_t stop_grace_ms;  /* stopping: the requested grace */
    bool has_dir;            /* false: it could not be made */
    struct shim_spec spec;   /* limit, grace, ports */
    struct shim_state state; /* the last one that the shim sent */
    struct report report;    /* the current one */
    uint64_t cpu_ms;         /* used by its processes at the time of the measurement */
    uint64_t measured_ms;    /* monotonic; 0: never */
    struct watch *watch;     /* on the connection to its shim; NULL: none */
    struct watch *ends[2];   /* on the processes of the task and of the shim; NULL: none */
    int shim_fd;             /* the connection to its shim; -1: none */
    pid_t shim_pid;          /* 0: unknown */
    uint64_t shim_starttime; /* together with the pid it identifies the shim */
    char end_reason[128];    /* replaces the usual reason in the report of its end; "": none */
    uint32_t shim_version;   /* of the connection; 0: not agreed on */
    bool by_pid;             /* its shim cannot be spoken to: the task is watched by its pid */
    uint32_t relapses;       /* how often it became impossible to speak to it */
    char by_pid_why[128];
    uint32_t reach_failures; /* in a row */
    uint64_t reach_at_ms;    /* monotonic: when the shim is tried again; 0: not */
    uint64_t stop_at_ms;     /* stopping: when it was requested */
    uint64_t probe_ms;       /* when a silent shim was asked for its state; 0: not */
    uint64_t kill_at_ms;     /* ORPHANED: when SIGKILL is sent */
    bool term_sent;          /* ORPHANED: SIGTERM has been sent */
    uint64_t empty_since_ms; /* ORPHANED: when the last process was gone; 0: some are left */
};

struct runner_options {
    uv_loop_t *loop;
    const char *dir;       /* the borglet's; exists */
    const char *shim_path; /* of borg-shim */
    const char *cell;      /* the names are for the environment of tasks */
    const char *machine;
    struct ports ports;
    struct resource_names resource_names; /* of limits, as the machine numbers them */
    bool gpus; /* the machine has gpus, so tasks get variables for them */
    void *data;
    /* Called when the report of the attempt has changed. It is not called from inside a call of
     * the owner, except runner_open() and, if a start fails at once, runner_start(). */
    void (*on_change)(void *data, struct attempt *attempt);
};

struct runner;

/* Open a runner and adopt the existing attempts. ERR_IO: the directory cannot be used. */
int runner_open(const struct runner_options *options, struct runner **ret,
                struct err *err) MUST_USE;
/* Close the runner; its tasks continue. The loop frees it. */
void runner_close(struct runner *runner);

/* Start an attempt, which must not exist. A failure ends the attempt; it is not an error here. */
void runner_start(struct runner *runner, const struct intent *intent);
/* Report that the attempt could not be started, for the reason `detail`. */
void runner_refuse(struct runner *runner, const struct intent *intent, const char *detail);
/* Set the limit of the attempt to that of the spec. The attempt continues. A later borglet
 * learns it from the cell again. */
void runner_resize(struct attempt *attempt, const struct job_spec *spec);
void runner_stop(struct runner *runner, struct attempt *attempt, uint32_t grace_ms);
/* Forget an attempt, which must be ENDED. It is freed; its logs are moved to the archive. */
void runner_forget(struct runner *runner, struct attempt *attempt);

struct attempt *runner_find(struct runner *runner, struct attempt_ref task); /* NULL: none */
struct list *runner_attempts(struct runner *runner);                         /* of attempt.link */
size_t runner_count(const struct runner *runner);
const struct archive *runner_archive(const struct runner *runner);
/* DIR/tasks/NAME */
void runner_attempt_path(const struct runner *runner, const struct attempt *attempt,
                         struct buf *to);

#endif
