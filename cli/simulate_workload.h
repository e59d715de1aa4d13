/*
 * simulate_workload.h - machines and jobs to simulate, from a trace or from a real cell.
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
    const int32_t *durations_s; /* of its tasks, -1: runs on; NULL: all do. Of the trace */
};

/* What a trace says and a cell has not, or has otherwise: never dropped in silence. Tasks, unless
 * said otherwise. */
struct sim_ignored {
    uint64_t elsewhen;  /* are not there at that moment, or come later: left out */
    uint64_t durations; /* have a run time, but no time passes */
    uint64_t conflicts; /* with K > 0, or with a job in parts: not kept */
    uint64_t covers;    /* are to cover N failure domains: at most so many in one that they must */
    uint64_t parts;     /* of a later part of a job with bounds: counted by themselves */
    uint64_t raised;    /* ask for no cpu or no ram: taken as asking for 1m or 1Mi */
    uint64_t disks;     /* disk requests that no machine's size is known for */
    uint64_t qos;       /* name a qos: the band follows from the priority */
    bool priorities_2011; /* the trace's scale is 0 to 11 */
};

struct workload {
    struct sim_machine *machines;
    uint32_t machine_count;
    struct sim_job *jobs; /* in the order of the trace, or by id */
    uint32_t job_count;
    bool from_trace; /* then `ignored` and `policy` are of use */
    struct sim_ignored ignored;
    enum policy policy; /* of all its jobs */
};
void workload_release(struct workload *workload);

enum workload_when {
    WHEN_MOMENT, /* what would be running at that second, did nothing ever wait */
    WHEN_PEAK,   /* at the second when that asks for most */
    WHEN_ALL,    /* everything, at once */
    WHEN_UNTIL   /* what has arrived at that second; to be run over time */
};
struct workload_choice {
    enum policy policy;
    enum workload_when when;
    int64_t second; /* of WHEN_MOMENT and WHEN_UNTIL */
};
/* The trace must outlive it. */
void workload_of_trace(struct workload *ret, const struct trace *trace,
                       const struct workload_choice *choice);
/* Machines that are up and not draining, and the jobs that are not dead, as they were asked for. */
void workload_of_cell(struct workload *ret, const struct cell *cell);

/* Our priority for one of a trace: as it is, or from the scale of 0 to 11. */
uint32_t workload_priority(uint32_t priority, bool is_2011);
/* The smallest bound per domain which makes `tasks` cover `domains_min` of them. */
uint32_t workload_domain_max(uint32_t tasks, uint32_t domains_min);

#endif
