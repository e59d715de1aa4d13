/*
 * simulate.h - a cell in memory with the real scheduler.
 *
 * Commands go through cell_apply(), changes go to sched_update() as deltas, sched_pass() decides
 * and CMD_SCHEDULE is applied, exactly as in a borgmaster; only the log is left out, and victims
 * stop at once. There is one thread and no randomness: equal input gives an equal cell with the
 * same digest.
 */
#ifndef CLI_SIMULATE_H
#define CLI_SIMULATE_H

#include "sched.h"
#include "simulate_workload.h"

struct sim {
    struct cell *cell;
    struct sched *sched;
    struct changes changes;
    struct answer answer;
    uint64_t now_s;    /* time stamp of the commands */
    uint64_t evicted;  /* number of victims in all runs */
    uint64_t *pass_us; /* duration of each sched_pass() in all runs */
    size_t pass_count, pass_capacity;
    /* Called after each pass, and with each decision before it is applied; NULL is allowed. */
    void (*on_pass)(void *data, const struct sim *sim);
    void (*on_decided)(void *data, const struct sim *sim, const struct cmd_schedule *decided);
    void *data;
};

void sim_init(struct sim *sim);
void sim_release(struct sim *sim);
/* Replace the cell by an empty one; only the callbacks are kept. */
void sim_clear(struct sim *sim);

/* Add a machine; returns the cell's refusal. With `copy` > 0 the name marks it as a clone. */
int sim_machine(struct sim *sim, const struct sim_machine *machine, uint32_t copy,
                struct err *err) MUST_USE;
int sim_submit(struct sim *sim, const struct job_spec *spec, struct err *err) MUST_USE;
int sim_machine_down(struct sim *sim, machine_id machine, struct err *err) MUST_USE;
/* Load all machines and jobs of the workload at once. */
int sim_load(struct sim *sim, const struct workload *workload, struct err *err) MUST_USE;
/* Load machines, live jobs and their placements from a cell.db or an image of one. */
int sim_load_checkpoint(struct sim *sim, const char *path, struct err *err) MUST_USE;
/* End the attempt with exit code 0; return false if it has ended already. */
bool sim_exit(struct sim *sim, struct attempt_ref task);
/* Run passes until the scheduler has nothing left to propose. */
void sim_run(struct sim *sim);
/* Likewise, but stop once more than `pending_max` tasks are sure to stay pending, and return false.
 */
bool sim_run_within(struct sim *sim, uint64_t pending_max);

struct sim_band {
    uint64_t tasks, placed, pending;
};
struct sim_figures {
    uint32_t machines; /* machines that are up */
    uint64_t jobs, tasks, placed, pending, evicted;
    struct sim_band bands[BAND_COUNT];
    struct resource_names resource_names;
    struct resources capacity; /* of machines that are up */
    struct resources used;     /* by placed tasks */
    struct resources demand;   /* by all tasks, placed or not */
    /* Free on machines without room for a task of mean size. */
    struct resources stranded;
    uint32_t stranded_machines;
    size_t passes;
    uint64_t pass_us_p50, pass_us_p99, pass_us_max, pass_us_total;
};
/* Compute the figures; only live jobs count. */
struct sim_figures sim_figures(const struct sim *sim);
/* Return the next pseudo-random number (splitmix64, equal on all platforms). */
uint64_t sim_draw(uint64_t *state);

#endif
