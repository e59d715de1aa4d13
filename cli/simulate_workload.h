/*
 * simulate_workload.h - the machines and jobs of a simulation, from a trace or from a real cell.
 */
#ifndef CLI_SIMULATE_WORKLOAD_H
#define CLI_SIMULATE_WORKLOAD_H

#include "cell.h"
#include "trace.h"

struct sim_machine {
    char name[CELL_NAME_MAX + 1];
    struct resources capacity;
    struct words attributes;
};

struct sim_job {
    struct job_spec spec;
    int64_t arrival_s;
    /* run time of each task, -1: endless; NULL: all are endless; owned by the trace */
    const int32_t *durations_s;
};

/* Input that a cell cannot express. Everything is counted and reported; the unit is tasks unless
 * noted. */
struct sim_ignored {
    uint64_t not_running; /* do not run at that moment, or arrive later: left out */
    uint64_t durations;   /* have a run time, but the simulation shows one moment */
    uint64_t conflicts;   /* conflicts with K > 0, or with a job in parts: ignored */
    uint64_t covers;      /* cover N failure domains: replaced by a maximum per domain */
    uint64_t parts;       /* belong to a later part of a job with bounds: bounded separately */
    uint64_t raised;      /* request no cpu or no ram: taken as 1m or 1Mi */
    uint64_t disks;       /* request disk, but no machine has a known disk size */
    uint64_t qos;         /* have a qos: ignored, the band follows from the priority */
    bool priorities_2011; /* the trace uses the scale 0 to 11 */
};

struct workload {
    struct sim_machine *machines;
    uint32_t machine_count;
    struct sim_job *jobs; /* in the order of the trace, or by id */
    uint32_t job_count;
    bool from_trace; /* only then are `ignored` and `policy` valid */
    struct sim_ignored ignored;
    enum policy policy; /* policy of all jobs */
};
void workload_release(struct workload *workload);

enum workload_when {
    WHEN_MOMENT, /* tasks that would run at that second if none had to wait */
    WHEN_PEAK,   /* likewise, at the second with the highest demand */
    WHEN_ALL,    /* all tasks at once */
    WHEN_UNTIL   /* tasks that arrive until that second, for a run over time */
};
struct workload_choice {
    enum policy policy;
    enum workload_when when;
    int64_t second; /* for WHEN_MOMENT and WHEN_UNTIL */
};
/* Make a workload from a trace. The trace must outlive it. */
void workload_of_trace(struct workload *ret, const struct trace *trace,
                       const struct workload_choice *choice);
/* Make a workload of the machines that are up and not draining and of all live jobs, with their
 * requested limits. */
void workload_of_cell(struct workload *ret, const struct cell *cell);

/* Map a priority of a trace to ours: unchanged, or from the scale of 0 to 11. */
uint32_t workload_priority(uint32_t priority, bool is_2011);
/* Return the largest bound per domain that makes `tasks` cover `domains_min` domains. */
uint32_t workload_domain_max(uint32_t tasks, uint32_t domains_min);

#endif
