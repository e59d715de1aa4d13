/*
 * trace.h - a recorded workload in CSV: machines and tasks, read strictly.
 *
 * There are two files, each with exactly this header line, fields without quotes, lines ending in
 * '\n':
 *
 *   machine_id,cpu_milli,ram_mib,disk_mib,gpu_milli,attributes,failure_domain
 *   job_id,task_index,priority,qos,arrival_s,duration_s,cpu_milli,ram_mib,disk_mib,gpu_milli,
 *   constraints (all in one line)
 *
 * Both may be gzipped. The first malformed line is refused as "FILE:LINE: reason"; nothing is
 * guessed or skipped. All sizes are bounded.
 */
#ifndef CELL_TRACE_H
#define CELL_TRACE_H

#include "constraint.h"

enum {
    TRACE_LINE_MAX = 4096, /* bytes */
    TRACE_TASKS_MAX = CELL_TASKS_MAX,
    TRACE_ID_MAX = 40, /* bytes of the id of a job or machine: a name, with room for a suffix */
    TRACE_CONFLICTS_MAX = 8 /* of a job */
};
#define TRACE_FAILURE_DOMAIN \
    "failure_domain"                        /* attribute of machines that have a failure domain \
                                             */
#define TRACE_AMOUNT_MAX (INT64_C(1) << 30) /* milli, MiB or seconds; 2^50 bytes at most */

struct trace_machine {
    char id[TRACE_ID_MAX + 1];
    int64_t cpu_milli, ram_mib, disk_mib, gpu_milli;
    struct words attributes; /* attributes.h; includes the failure domain */
};

/* A machine that runs a task of `job` must run at most `max` tasks of this one. */
struct trace_conflict {
    char job[TRACE_ID_MAX + 1];
    uint32_t max;
};

/* The constraints of a job's tasks on machines; all are required. */
struct trace_constraints {
    char *text; /* as in the file, "" when there are none */
    struct clauses clauses;
    uint32_t machine_max; /* maximum number of tasks on one machine; 0: no bound */
    uint32_t domain_max;  /* maximum number of tasks in one failure domain; 0: no bound */
    uint32_t domains_min; /* minimum number of failure domains; 0: any number */
    struct trace_conflict *conflicts;
    uint32_t conflict_count;
};

/* Consecutive tasks of one job with the same requirements. */
struct trace_job {
    char id[TRACE_ID_MAX + 1];
    uint32_t line;  /* of its first task */
    uint32_t first; /* task: index into trace.durations_s */
    uint32_t count;
    uint32_t priority; /* as in the trace */
    int64_t arrival_s;
    int64_t cpu_milli, ram_mib, disk_mib, gpu_milli;
    bool has_qos;
    struct trace_constraints constraints; /* owned */
};

struct trace {
    struct trace_machine *machines; /* in the order of the file, ids unique */
    uint32_t machine_count, machine_capacity;
    struct trace_job *jobs; /* in the order of the file */
    uint32_t job_count, job_capacity;
    int32_t *durations_s; /* of each task, in the order of the file; -1: the task does not end */
    uint32_t task_count, task_capacity;
    uint32_t priority_max;
};

/* Add the machines of a file to `trace`, initially {0}. Release `trace` even after an error. */
int trace_read_machines(struct trace *trace, const char *path, struct err *err) MUST_USE;
/* Read at most `tasks_max` tasks (0: all) and ignore the rest of the file. */
int trace_read_tasks(struct trace *trace, const char *path, uint32_t tasks_max,
                     struct err *err) MUST_USE;
/* Read DIR/machines.csv and DIR/tasks.csv, or their .gz files (the plain file has priority). */
int trace_read_dir(struct trace *trace, const char *dir, uint32_t tasks_max,
                   struct err *err) MUST_USE;
void trace_release(struct trace *trace);

/* trace_constraints.c: "platform=B;kernel>=3;distinct=machine:1":
 *
 *     ATTR=V  ATTR!=V  ATTR>=N  ATTR in V|W    distinct=machine:K       limit=failure_domain:K
 *     conflict=JOB:K                           spread=failure_domain:N
 */
int trace_constraints_parse(const char *text, struct trace_constraints *ret,
                            struct err *err) MUST_USE; /* release `ret` even after an error */
void trace_constraints_release(struct trace_constraints *constraints);

#endif
