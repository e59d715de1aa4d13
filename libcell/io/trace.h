/*
 * trace.h - a recorded workload in CSV: machines and tasks, read strictly.
 *
 * Two files, each with exactly this header line, fields without quotes, lines ending in '\n':
 *
 *   machine_id,cpu_milli,ram_mib,disk_mib,gpu_milli,attributes,failure_domain
 *   job_id,task_index,priority,qos,arrival_s,duration_s,cpu_milli,ram_mib,disk_mib,gpu_milli,
 *   constraints (all in one line)
 *
 * Either may be gzipped. The first line that is not so is refused as "FILE:LINE: what is wrong";
 * nothing is guessed, nothing skipped. Everything is bounded.
 */
#ifndef CELL_TRACE_H
#define CELL_TRACE_H

#include "constraint.h"

enum {
    TRACE_LINE_MAX = 4096, /* bytes */
    TRACE_TASKS_MAX = CELL_TASKS_MAX,
    TRACE_ID_MAX = 40,      /* bytes of a job's or machine's id: a name, with room for a suffix */
    TRACE_CONFLICTS_MAX = 8 /* of a job */
};
#define TRACE_FAILURE_DOMAIN "failure_domain" /* an attribute of machines that have one */
#define TRACE_AMOUNT_MAX (INT64_C(1) << 30)   /* milli, MiB or seconds: 2^50 bytes at most */

struct trace_machine {
    char id[TRACE_ID_MAX + 1];
    int64_t cpu_milli, ram_mib, disk_mib, gpu_milli;
    struct words attributes; /* attributes.h; the failure domain is one */
};

/* A machine that runs a task of `job` is to hold at most `max` tasks of this one. */
struct trace_conflict {
    char job[TRACE_ID_MAX + 1];
    uint32_t max;
};

/* What the tasks of a job ask of machines, all of it hard. */
struct trace_constraints {
    char *text; /* as written, "" when there are none */
    struct clauses clauses;
    uint32_t machine_max; /* tasks on one machine at most; 0: no bound */
    uint32_t domain_max;  /* tasks in one failure domain at most; 0: no bound */
    uint32_t domains_min; /* failure domains it is to cover; 0: any number */
    struct trace_conflict *conflicts;
    uint32_t conflict_count;
};

/* Consecutive tasks of one job that ask for the same. */
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
    int32_t *durations_s; /* of each task, in the order of the file; -1: it runs on */
    uint32_t task_count, task_capacity;
    uint32_t priority_max;
};

/* Adds to `trace`, which starts out as {0}; on an error it is to be released all the same. */
int trace_read_machines(struct trace *trace, const char *path, struct err *err) MUST_USE;
/* Reads at most `tasks_max` tasks and leaves the rest of the file alone (0: all). */
int trace_read_tasks(struct trace *trace, const char *path, uint32_t tasks_max,
                     struct err *err) MUST_USE;
/* DIR/machines.csv and DIR/tasks.csv, each of them or its .gz (the plain one first). */
int trace_read_dir(struct trace *trace, const char *dir, uint32_t tasks_max,
                   struct err *err) MUST_USE;
void trace_release(struct trace *trace);

/* trace_constraints.c: "platform=B;kernel>=3;distinct=machine:1":
 *
 *     ATTR=V  ATTR!=V  ATTR>=N  ATTR in V|W    distinct=machine:K       limit=failure_domain:K
 *     conflict=JOB:K                           spread=failure_domain:N
 */
int trace_constraints_parse(const char *text, struct trace_constraints *ret,
                            struct err *err) MUST_USE; /* to be released even on an error */
void trace_constraints_release(struct trace_constraints *constraints);

#endif
