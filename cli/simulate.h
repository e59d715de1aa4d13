/*
 * simulate.h - a cell in memory with the real scheduler at work on it.
 *
 * Nothing is imitated: commands go through cell_apply(), what changed goes to sched_update() as a
 * delta, sched_pass() decides, CMD_SCHEDULE is applied, exactly as in a borgmaster; only the log in
 * between is left out, and victims end at once. One thread, no randomness: the same input gives the
 * same cell, down to its digest.
 */
#ifndef CLI_SIMULATE_H
#define CLI_SIMULATE_H

#include "cmd.h"
#include "sched.h"
#include "trace.h"

struct sim {
    struct cell *cell;
    struct sched *sched;
    struct changes changes;
    struct answer answer;
    uint64_t evicted;  /* victims, all runs together */
    uint64_t *pass_us; /* each sched_pass() of all runs */
    size_t pass_count, pass_capacity;
    /* Called now and then during a run; may be NULL. */
    void (*on_progress)(void *data, const struct sim *sim);
    void *data;
};

void sim_init(struct sim *sim);
void sim_release(struct sim *sim);
/* Start over on an empty cell, keeping nothing but on_progress. */
void sim_clear(struct sim *sim);

/* Refused as the cell refuses: the error is its answer. */
int sim_machine(struct sim *sim, const char *name, struct resources capacity,
                struct err *err) MUST_USE;
int sim_submit(struct sim *sim, const struct job_spec *spec, struct err *err) MUST_USE;
int sim_machine_down(struct sim *sim, machine_id machine, struct err *err) MUST_USE;
/* Tell the scheduler everything, for a cell that was loaded and not built by the calls above. */
void sim_tell_all(struct sim *sim);
/* Passes until there is nothing left to propose. */
void sim_run(struct sim *sim);
/* The same, but give up once more than `pending_max` tasks surely stay pending; true when not. */
bool sim_run_within(struct sim *sim, uint64_t pending_max);

struct sim_figures {
    uint32_t machines; /* up */
    uint64_t jobs, tasks, placed, pending, evicted;
    struct resources capacity; /* of machines that are up */
    struct resources used;     /* by what is placed */
    struct resources demand;   /* of all tasks, placed or not */
    /* What is left on machines that have no room for a task of mean size. */
    struct resources stranded;
    uint32_t stranded_machines;
    size_t passes;
    uint64_t pass_us_p50, pass_us_max, pass_us_total;
};
/* Live jobs only. */
struct sim_figures sim_figures(const struct sim *sim);

/* What a trace has and a cell has not: never dropped in silence. Tasks, unless said otherwise. */
struct sim_ignored {
    uint64_t later;           /* arrive after `arrivals_s`: left out */
    uint64_t durations;       /* have a run time: taken as running for ever */
    uint64_t gpus;            /* ask for a gpu: taken as asking for none */
    uint64_t constraints;     /* have constraints: taken as having none */
    uint64_t raised;          /* ask for no cpu or no ram: taken as asking for 1m or 1Mi */
    uint64_t disks;           /* disk requests that no machine's size is known for */
    uint64_t qos;             /* name a qos: the band follows from the priority */
    uint32_t attributes;      /* machines that have attributes */
    uint32_t failure_domains; /* machines that have one */
    uint32_t machine_gpus;    /* machines that have gpus */
    bool priorities_2011;     /* the trace's scale is 0 to 11 */
};

struct sim_load {
    enum policy policy;
    int64_t arrivals_s; /* take tasks that arrive up to then */
};
/* All machines and jobs of the trace as commands. */
int sim_load_trace(struct sim *sim, const struct trace *trace, const struct sim_load *load,
                   struct sim_ignored *ret, struct err *err) MUST_USE;
/* In parts. A machine of the trace as what it offers; `copy` > 0 gives it another name. */
int sim_add_machine(struct sim *sim, const struct trace_machine *machine, uint32_t copy,
                    struct err *err) MUST_USE;
int sim_add_jobs(struct sim *sim, const struct trace *trace, const struct sim_load *load,
                 struct sim_ignored *ret, struct err *err) MUST_USE;
/* Our priority for one of a trace: as it is, or from the scale of 0 to 11. */
uint32_t sim_priority(uint32_t priority, bool is_2011);

/* The live part of a real cell: a cell.db or an image of one. */
int sim_load_checkpoint(struct sim *sim, const char *path, struct err *err) MUST_USE;

#endif
