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

#include "err.h"
#include "limits.h"

enum {
    TRACE_LINE_MAX = 4096, /* bytes */
    TRACE_TASKS_MAX = CELL_TASKS_MAX,
    TRACE_ID_MAX = 40 /* bytes of a job's or machine's id: a name, with room for a suffix */
};
#define TRACE_AMOUNT_MAX (INT64_C(1) << 30) /* milli, MiB or seconds: 2^50 bytes at most */

struct trace_machine {
    char id[TRACE_ID_MAX + 1];
    int64_t cpu_milli, ram_mib, disk_mib, gpu_milli;
    bool has_attributes;
    bool has_failure_domain;
};

/* Consecutive tasks of one job that ask for the same. */
struct trace_job {
    char id[TRACE_ID_MAX + 1];
    uint32_t line; /* of its first task */
    uint32_t count;
    uint32_t priority; /* as in the trace */
    int64_t arrival_s;
    int64_t cpu_milli, ram_mib, disk_mib, gpu_milli;
    bool has_qos;
    uint32_t durations; /* of its tasks, how many have one */
    char *constraints;  /* "" when none; owned */
};

struct trace {
    struct trace_machine *machines; /* in the order of the file, ids unique */
    uint32_t machine_count, machine_capacity;
    struct trace_job *jobs; /* in the order of the file */
    uint32_t job_count, job_capacity;
    uint32_t task_count;
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

#endif
