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

#include "sched.h"
#include "simulate_workload.h"

struct sim {
    struct cell *cell;
    struct sched *sched;
    struct changes changes;
    struct answer answer;
    uint64_t now_s;    /* stamped on commands */
    uint64_t evicted;  /* victims, all runs together */
    uint64_t *pass_us; /* each sched_pass() of all runs */
    size_t pass_count, pass_capacity;
    /* Called after each pass, and with each decision before it is applied; may be NULL. */
    void (*on_pass)(void *data, const struct sim *sim);
    void (*on_decided)(void *data, const struct sim *sim, const struct cmd_schedule *decided);
    void *data;
};

void sim_init(struct sim *sim);
void sim_release(struct sim *sim);
/* Start over on an empty cell, keeping nothing but the callbacks. */
void sim_clear(struct sim *sim);

/* Refused as the cell refuses: the error is its answer. `copy` > 0: a clone, named so. */
int sim_machine(struct sim *sim, const struct sim_machine *machine, uint32_t copy,
                struct err *err) MUST_USE;
int sim_submit(struct sim *sim, const struct job_spec *spec, struct err *err) MUST_USE;
int sim_machine_down(struct sim *sim, machine_id machine, struct err *err) MUST_USE;
/* Machines and jobs of the workload, all at once. */
int sim_load(struct sim *sim, const struct workload *workload, struct err *err) MUST_USE;
/* The live part of a real cell, with what runs where: a cell.db or an image of one. */
int sim_load_checkpoint(struct sim *sim, const char *path, struct err *err) MUST_USE;
/* The attempt ends by itself, with exit code 0; false when it is over already. */
bool sim_exit(struct sim *sim, struct attempt_ref task);
/* Passes until there is nothing left to propose. */
void sim_run(struct sim *sim);
/* The same, but give up once more than `pending_max` tasks surely stay pending; true when not. */
bool sim_run_within(struct sim *sim, uint64_t pending_max);

struct sim_band {
    uint64_t tasks, placed, pending;
};
struct sim_figures {
    uint32_t machines; /* up */
    uint64_t jobs, tasks, placed, pending, evicted;
    struct sim_band bands[BAND_COUNT];
    struct resource_names resource_names;
    struct resources capacity; /* of machines that are up */
    struct resources used;     /* by what is placed */
    struct resources demand;   /* of all tasks, placed or not */
    /* What is left on machines that have no room for a task of mean size. */
    struct resources stranded;
    uint32_t stranded_machines;
    size_t passes;
    uint64_t pass_us_p50, pass_us_p99, pass_us_max, pass_us_total;
};
/* Live jobs only. */
struct sim_figures sim_figures(const struct sim *sim);
/* Random numbers that are the same everywhere (splitmix64). */
uint64_t sim_draw(uint64_t *state);

#endif
