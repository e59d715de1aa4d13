/*
 * runner.h - the attempts on this machine: started, adopted, stopped, forgotten.
 *
 *                       STARTED                EXIT
 *     start --> STARTING ------> RUNNING --------------> ENDED -- forget --> (attic)
 *                  |                |                      ^
 *                  | start error, EXIT                     |
 *                  +----------------|----------------------+
 *                  |  shim killed   v                      |
 *                  +----------> ORPHANED -- all killed ----+  told as lost
 *
 * A shim (shim_proto.h) owns the processes of an attempt; the runner talks to it and never is the
 * parent of a task. Closing the runner leaves every task as it is; opening one on the same
 * directory adopts them. When a shim is killed nobody can tell the task's status any more: what is
 * left of the task is killed and the attempt reported lost. The same happens when something else
 * stands in its place, when it does not answer a stop, and, once it is to be stopped, when it is of
 * a version we do not speak.
 *
 * Nothing in an attempt's directory is trusted (own_file.h): what is not as a shim leaves it ends
 * the attempt with a report that says so.
 */
#ifndef BORGLET_RUNNER_H
#define BORGLET_RUNNER_H

#include "attic.h"
#include "list.h"
#include "ports.h"
#include "shim_client.h"
#include "wire.h"

#include <uv.h>

enum { RUNNER_ATTEMPTS_MAX = 4096 };

enum attempt_phase {
    ATTEMPT_STARTING,
    ATTEMPT_RUNNING,
    ATTEMPT_ORPHANED, /* its shim is not there for us, its processes are being killed */
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
    uint32_t stop_grace_ms;  /* stopping: as asked for */
    bool has_dir;            /* false: it could not even be made */
    struct shim_spec spec;   /* limit, grace, ports */
    struct shim_state state; /* as the shim said last */
    struct report report;    /* what the cell is to know now */
    uint64_t cpu_ms;         /* that its processes had used when it was measured */
    uint64_t measured_ms;    /* monotonic; 0: never */
    struct watch *watch;     /* on its shim; NULL: none */
    int shim_fd;             /* connected to it; -1: not */
    pid_t shim_pid;          /* 0: unknown */
    uint64_t shim_starttime; /* with the pid it is that shim and no other process */
    char trouble[128];       /* what is told of its end instead of what is usual; "": nothing */
    bool foreign;            /* its shim is of a version that we do not speak */
    uint32_t reach_failures; /* in a row */
    uint64_t reach_at_ms;    /* monotonic: the shim is to be tried again then; 0: no need */
    uint64_t stop_at_ms;     /* stopping: when that was asked for */
    uint64_t probe_ms;       /* when a silent shim was asked whether it is there; 0: not */
    uint64_t kill_at_ms;     /* ORPHANED: SIGKILL from then on */
    bool term_sent;          /* ORPHANED: SIGTERM was before that */
    uint64_t empty_since_ms; /* ORPHANED: no process was seen since; 0: some were */
};

struct runner_options {
    uv_loop_t *loop;
    const char *dir;       /* the borglet's; exists */
    const char *shim_path; /* of borg-shim */
    const char *cell;      /* names, for the environment of tasks */
    const char *machine;
    struct ports ports;
    struct resource_names resource_names; /* of limits, as the machine numbers them */
    bool gpus;                            /* the machine has some: tasks are told theirs */
    void *data;
    /* The attempt's report has changed. Never from inside a call of the owner's, except from
     * runner_open() and, when a start fails at once, runner_start(). */
    void (*on_change)(void *data, struct attempt *attempt);
};

struct runner;

/* Adopts what is there. ERR_IO when the directory cannot be used. */
int runner_open(const struct runner_options *options, struct runner **ret,
                struct err *err) MUST_USE;
/* Tasks go on. Freed by the loop. */
void runner_close(struct runner *runner);

/* There must be no such attempt. A failure to start is the attempt's end, not an error here. */
void runner_start(struct runner *runner, const struct intent *intent);
/* The attempt could not be started, for `detail`. */
void runner_refuse(struct runner *runner, const struct intent *intent, const char *detail);
/* It has the limit of this spec from now on, and goes on. Who adopts it is told again. */
void runner_resize(struct attempt *attempt, const struct job_spec *spec);
void runner_stop(struct runner *runner, struct attempt *attempt, uint32_t grace_ms);
/* Only ENDED ones. The attempt is freed; its logs go to the attic. */
void runner_forget(struct runner *runner, struct attempt *attempt);

struct attempt *runner_find(struct runner *runner, struct attempt_ref task); /* NULL: none */
struct list *runner_attempts(struct runner *runner);                         /* of attempt.link */
size_t runner_count(const struct runner *runner);
const struct attic *runner_attic(const struct runner *runner);
/* DIR/tasks/NAME */
void runner_attempt_path(const struct runner *runner, const struct attempt *attempt,
                         struct buf *to);

#endif
