/*
 * sched.c - measure the scheduler on one core against an exact scan of all machines.
 *
 *     sched [--quick] [place] [ask] [preempt] [pending] [memory]
 *
 * Everything runs in the simulator of borgctl: the cell and the scheduler of a master, without the
 * log. "placements/s" counts only the time inside sched_pass(); "with apply" the whole loop. The
 * scan is the scheduler's own scan of every machine for one task, in the same states of the same
 * cell; "times" is one scan for one task divided by one placement. Cells are drawn from a seed, so
 * that runs can be compared; ratios within one run are significant.
 */
#include "lib/bench.h"
#include "lib/sched_cells.h"
#include "lib/sched_exact.h"

#include "clock.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool quick;

/* --- placing ---------------------------------------------------------------------------------- */

/* Place the pending tasks, first in a copy to compare, then in the cell. Return placements per
 * second. */
static double row_place(const char *what, struct sim *sim)
{
    struct exact e = exact_run(sim, quick ? 100 : 400);
    uint64_t before_us = sim_figures(sim).pass_us_total, start_us = clock_mono_us();
    sim_run(sim);
    double all_s = (double)(clock_mono_us() - start_us) / 1e6;
    struct sim_figures f = sim_figures(sim);
    double seconds = (double)(f.pass_us_total - before_us) / 1e6;
    double rate = (double)f.placed / seconds;
    double scan_us = e.scan_s * 1e6 / (double)e.sampled;
    double lost = 100 * (e.chosen - e.best) / e.best;
    printf("| %s | %" PRIu64 " | %" PRIu64 " | %.0f | %.0f | %.1f | %.0f | %.3f%% |\n", what,
           f.placed, f.pending, rate, (double)f.placed / all_s, scan_us, scan_us * rate / 1e6,
           lost);
    bench_summary(what, "%.0f placements/s, %.0f times a full scan, %.3f%% of the score lost", rate,
                  scan_us * rate / 1e6, lost);
    sim_release(sim);
    return rate;
}

static double row_jobs(const char *what, uint32_t machines, struct cells_jobs jobs)
{
    struct sim sim;
    sim_init(&sim);
    cells_machines(&sim, machines);
    cells_jobs(&sim, &jobs);
    return row_place(what, &sim);
}

static void row_large(const char *what, uint32_t machines)
{
    struct sim sim;
    sim_init(&sim);
    cells_machines(&sim, machines);
    cells_submit(&sim, cells_spec("large", 200, 131072, 1000, 4096));
    row_place(what, &sim);
}

static void table_place(void)
{
    printf("| workload | placed | pending | placements/s | with apply | exact scan, us | times | "
           "score lost |\n|---|---|---|---|---|---|---|---|\n");
}

/* Submit enough tasks to fill four fifths of the cell. */
static void bench_place(void)
{
    table_place();
    row_jobs("Borg-like jobs, mixed constraints, 10,000 machines", 10000,
             (struct cells_jobs){150000, 3000, 1500, ASK_MIXED, 1});
    if (!quick)
        row_jobs("Borg-like jobs, mixed constraints, 100,000 machines", 100000,
                 (struct cells_jobs){1200000, 3000, 1800, ASK_MIXED, 1});
    row_large("one job of 131,072 tasks, 100,000 machines", 100000);
    row_jobs("jobs of one task, all different, 10,000 machines", 10000,
             (struct cells_jobs){quick ? 20000 : 150000, 1, 1500, ASK_NOTHING, 2});
    row_jobs("jobs of one task, all different, 100,000 machines", 100000,
             (struct cells_jobs){quick ? 20000 : 150000, 1, 1500, ASK_NOTHING, 2});
}

static void bench_ask(void)
{
    static const struct {
        const char *what;
        enum cells_ask ask;
    } rows[] = {
        {"plain", ASK_NOTHING},
        {"hard spread: a 40th of the job in a rack", ASK_SPREAD},
        {"anti-affinity: one task of the job on a machine", ASK_APART},
        {"affinity: in the zone of another job", ASK_NEAR},
    };
    double plain = 0;
    printf("\n");
    table_place();
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char what[96];
        snprintf(what, sizeof what, "%s, 10,000 machines", rows[i].what);
        double rate = row_jobs(
            what, 10000, (struct cells_jobs){quick ? 30000 : 150000, 3000, 1500, rows[i].ask, 1});
        plain = i == 0 ? rate : plain;
        bench_summary(what, "%.2f times the time of plain", plain / rate);
    }
}

/* --- evicting --------------------------------------------------------------------------------- */

/* Fill all machines with batch jobs of 1,000 tasks, of which a fifth may be down at a time. */
static void fill_with_batch(struct sim *sim, uint32_t machines)
{
    cells_machines(sim, machines);
    do {
        for (uint32_t i = 0; i < machines / 200; i++) {
            char name[32];
            snprintf(name, sizeof name, "batch%" PRIu64, sim->cell->next_job);
            struct job_spec spec = cells_spec(name, 100, 1000, 4000, 8192);
            spec.disruptions_max = 200;
            cells_submit(sim, spec);
        }
        sim_run(sim);
    } while (sched_stats(sim->sched).pending == 0);
}

/* Then submit production work that has to evict some of them. */
static void bench_preempt(void)
{
    printf("\n| preemption, machines full of batch, budgets kept | placed | evicted | evictions/s "
           "|\n|---|---|---|---|\n");
    for (uint32_t machines = 10000; machines <= (quick ? 10000 : 100000); machines *= 10) {
        struct sim sim;
        sim_init(&sim);
        fill_with_batch(&sim, machines);
        struct sim_figures before = sim_figures(&sim);
        uint32_t wanted = quick ? 1000 : 5000;
        cells_submit(&sim, cells_spec("prod", 200, wanted, 7500, 8192));
        sim_run(&sim);
        struct sim_figures f = sim_figures(&sim);
        double seconds = (double)(f.pass_us_total - before.pass_us_total) / 1e6;
        printf("| %" PRIu32 " tasks on %" PRIu32 " machines | %" PRIu64 " | %" PRIu64 " | %.0f |\n",
               wanted, machines, f.placed + f.evicted - before.placed, f.evicted,
               (double)f.evicted / seconds);
        bench_summary("evictions", "%.0f/s on %" PRIu32 " full machines",
                      (double)f.evicted / seconds, machines);
        sim_release(&sim);
    }
}

/* --- tasks that do not fit -------------------------------------------------------------------- */

/* End a task elsewhere and tell the scheduler. */
static void end_task(struct sim *sim, task_id id)
{
    const struct task *task = cell_task(sim->cell, id);
    struct report report = {
        .task = {task->id, task->attempt}, .kind = REPORT_EXITED, .machine = task->machine};
    struct cmd cmd = {.kind = CMD_REPORT, .report = {.reports = &report, .report_count = 1}};
    struct answer answer = {0};
    changes_clear(&sim->changes);
    cell_apply(sim->cell, &cmd, &sim->changes, &answer);
    struct delta *delta = delta_collect(sim->cell, &sim->changes);
    sched_update(sim->sched, delta);
    delta_unref(delta);
}

static void row_pending(uint32_t jobs, uint32_t tasks)
{
    struct sim sim;
    struct cmd_schedule out;
    uint64_t seed = 7;
    sim_init(&sim);
    cells_machines(&sim, 10000);
    cells_submit(&sim, cells_spec("fits", 100, 1, 1000, 1024));
    sim_run(&sim);
    for (uint32_t i = 0; i < jobs; i++) { /* no machine has both */
        char name[32];
        snprintf(name, sizeof name, "big%" PRIu32, i);
        cells_submit(&sim, cells_spec(name, 100, tasks, 64001 + (int64_t)(sim_draw(&seed) % 1000),
                                      1024 + (int64_t)(sim_draw(&seed) % 1000)));
    }
    uint64_t start_us = clock_mono_us();
    sched_pass(sim.sched, &out);
    uint64_t first_us = clock_mono_us() - start_us;
    end_task(&sim, task_id_of((job_id){1}, 0));
    start_us = clock_mono_us();
    sched_pass(sim.sched, &out);
    uint64_t again_us = clock_mono_us() - start_us;
    printf("| %" PRIu32 " jobs of %" PRIu32 " | %.1f | %.1f |\n", jobs, tasks,
           (double)first_us / 1e3, (double)again_us / 1e3);
    bench_summary("pass over 100,000 pending that cannot fit",
                  "%" PRIu32 " jobs: %.1f ms, later %.1f ms", jobs, (double)first_us / 1e3,
                  (double)again_us / 1e3);
    sim_release(&sim);
}

static void bench_pending(void)
{
    printf(
        "\n| 100,000 pending tasks that fit none of 10,000 machines | first pass, ms | pass after "
        "a task elsewhere ended, ms |\n|---|---|---|\n");
    row_pending(1000, 100);
    row_pending(100000, 1);
}

/* --- memory ----------------------------------------------------------------------------------- */

static size_t heap(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

/* Return the size of the view of a scheduler that has placed everything. */
static size_t view_bytes(struct sim *sim)
{
    struct cmd_schedule out;
    struct delta *delta = delta_full(sim->cell);
    size_t before = heap();
    struct sched *sched = sched_new();
    sched_update(sched, delta);
    while (sched_pass(sched, &out))
        ;
    size_t bytes = heap() - before;
    sched_free(sched);
    delta_unref(delta);
    return bytes;
}

static void bench_memory(void)
{
    /* a power of two, because columns grow by doubling */
    enum { MACHINES = 65536, TASKS = 100000 };
    struct sim sim;
    sim_init(&sim);
    cells_machines(&sim, MACHINES);
    cells_submit(&sim, cells_spec("few", 0, 1, 10, 10));
    size_t without = view_bytes(&sim);
    cells_submit(&sim, cells_spec("many", 0, TASKS, 10, 10));
    size_t with = view_bytes(&sim);
    printf("\n| memory of the scheduler's view | bytes |\n|---|---|\n| per machine | %zu |\n"
           "| per task | %zu |\n",
           without / MACHINES, (with - without) / TASKS);
    bench_summary("the scheduler's view", "%zu bytes a machine, %zu a task", without / MACHINES,
                  (with - without) / TASKS);
    sim_release(&sim);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } parts[] = {{"place", bench_place},
                 {"ask", bench_ask},
                 {"preempt", bench_preempt},
                 {"pending", bench_pending},
                 {"memory", bench_memory}};
    quick = argc > 1 && strcmp(argv[1], "--quick") == 0;
    int first = quick ? 2 : 1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        bool wanted = argc == first;
        for (int a = first; a < argc; a++)
            wanted |= strcmp(argv[a], parts[i].name) == 0;
        if (wanted)
            parts[i].run();
    }
    return 0;
}
