/*
 * sched.c - the scheduler on one core, beside a full scan of all machines by a few dozen lines.
 *
 *     sched [--quick]
 *
 * Everything goes through the simulator of borgctl: the cell and the scheduler of a master, without
 * the log. "placements/s" counts the time inside sched_pass() only; "with apply" the whole loop.
 * Cells are generated from a seed: machines of six shapes, jobs whose size and shape are drawn with
 * long tails, so that runs can be compared; ratios of one run are what counts.
 */
#include "lib/bench.h"

#include "clock.h"
#include "simulate.h"

#include <malloc.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool quick;

static double draw_unit(uint64_t *seed)
{
    return (double)(sim_draw(seed) >> 11) / 9007199254740992.0;
}

/* Log-normal around `median`. */
static double draw_spread(uint64_t *seed, double median, double sigma)
{
    double u = draw_unit(seed) + 1e-12, v = draw_unit(seed);
    return median * exp(sigma * sqrt(-2 * log(u)) * cos(6.283185307179586 * v));
}

/* No task ends. */
static int32_t *run_on(uint32_t tasks)
{
    int32_t *durations_s = xcalloc(tasks, sizeof *durations_s);
    for (uint32_t i = 0; i < tasks; i++)
        durations_s[i] = -1;
    return durations_s;
}

static void generate_machines(struct trace *t, uint32_t count)
{
    static const int64_t shapes[][2] = {{64000, 262144}, {38000, 174080}, {16500, 87040},
                                        {45000, 174080}, {24700, 174080}, {61000, 262144}};
    t->machines = xcalloc(count, sizeof *t->machines);
    for (uint32_t i = 0; i < count; i++) {
        const int64_t *shape = shapes[i / 40 % ARRAY_SIZE(shapes)]; /* bought in racks of 40 */
        struct trace_machine *m = &t->machines[i];
        snprintf(m->id, sizeof m->id, "m%" PRIu32, i);
        m->cpu_milli = shape[0];
        m->ram_mib = shape[1];
        m->disk_mib = 8 << 20;
    }
    t->machine_count = count;
}

/* Jobs until `percent` of the cell's cpus are asked for; of `tasks_max` tasks at the most each. */
static struct trace generate(uint32_t machines, double percent, double tasks_max, uint64_t seed)
{
    static const uint32_t priorities[] = {0, 25, 101, 103, 105, 117, 200, 200, 200, 360};
    struct trace t = {.priority_max = 360};
    double cpus = 0, wanted = 0;
    generate_machines(&t, machines);
    for (uint32_t i = 0; i < machines; i++)
        cpus += (double)t.machines[i].cpu_milli;
    while (wanted < cpus * percent / 100) {
        if (t.job_count == t.job_capacity) {
            t.job_capacity = MAX(t.job_capacity * 2, 1024U);
            t.jobs = xrealloc(t.jobs, t.job_capacity, sizeof *t.jobs);
        }
        double cpu = fmin(fmax(draw_spread(&seed, 1000, 0.9), 20), 16000);
        double ram = fmin(fmax(cpu * draw_spread(&seed, 3.2, 0.9), 32), 65536);
        double count = fmin(fmax(draw_spread(&seed, 4, 2), 1), tasks_max);
        struct trace_job *job = &t.jobs[t.job_count++];
        *job = (struct trace_job){.count = (uint32_t)count,
                                  .priority = priorities[sim_draw(&seed) % 10],
                                  .cpu_milli = (int64_t)cpu,
                                  .ram_mib = (int64_t)ram,
                                  .disk_mib = 512,
                                  .constraints = {.text = xstrdup("")},
                                  .first = t.task_count};
        snprintf(job->id, sizeof job->id, "j%" PRIu32, t.job_count);
        wanted += cpu * job->count;
        t.task_count += job->count;
    }
    t.durations_s = run_on(t.task_count);
    return t;
}

static struct trace one_job(uint32_t machines, uint32_t tasks)
{
    struct trace t = {.priority_max = 200, .job_count = 1, .task_count = tasks};
    generate_machines(&t, machines);
    t.jobs = xcalloc(1, sizeof *t.jobs);
    t.jobs[0] = (struct trace_job){.id = "large",
                                   .count = tasks,
                                   .priority = 200,
                                   .cpu_milli = 1000,
                                   .ram_mib = 4096,
                                   .constraints = {.text = xstrdup("")}};
    t.durations_s = run_on(tasks);
    return t;
}

static void load(struct sim *sim, const struct trace *t, enum policy policy)
{
    struct err err;
    struct workload workload;
    struct workload_choice choice = {policy, WHEN_ALL, 0};
    workload_of_trace(&workload, t, &choice);
    sim_init(sim);
    if (sim_load(sim, &workload, &err) != 0)
        bench_die("%s", err.msg);
    workload_release(&workload);
}

/* --- the oracle ----------------------------------------------------------------------------- */

struct place {
    double cpu, ram, cpu_total, ram_total;
};

/* 1 - cos^2 of request and room, plus 1/32 of the leftover: stranding-aware, in plain words. */
static double oracle_score(const struct place *m, double cpu, double ram)
{
    double a = m->cpu / m->cpu_total, b = m->ram / m->ram_total;
    double c = cpu / m->cpu_total, d = ram / m->ram_total;
    double dot = a * c + b * d;
    return 1 - dot * dot / ((a * a + b * b) * (c * c + d * d)) +
           (m->cpu / 64000 + m->ram / 262144) / 32;
}

struct oracle {
    uint64_t placed, tried;
    double seconds;
};

static int by_priority(const void *x, const void *y)
{
    const struct trace_job *a = *(const struct trace_job *const *)x;
    const struct trace_job *b = *(const struct trace_job *const *)y;
    if (a->priority != b->priority)
        return a->priority > b->priority ? -1 : 1;
    return a < b ? -1 : a > b;
}

/* Every task looks at every machine; given up after some seconds. */
static struct oracle oracle_run(const struct trace *t, double seconds_max)
{
    struct oracle o = {0};
    struct place *m = xcalloc(t->machine_count, sizeof *m);
    const struct trace_job **jobs = xcalloc(t->job_count, sizeof *jobs);
    for (uint32_t i = 0; i < t->machine_count; i++) {
        double cpu = (double)t->machines[i].cpu_milli, ram = (double)t->machines[i].ram_mib;
        m[i] = (struct place){cpu, ram, cpu, ram};
    }
    for (uint32_t i = 0; i < t->job_count; i++)
        jobs[i] = &t->jobs[i];
    qsort(jobs, t->job_count, sizeof *jobs, by_priority);
    uint64_t start_us = clock_mono_us();
    for (uint32_t j = 0; j < t->job_count && o.seconds < seconds_max; j++) {
        double cpu = (double)jobs[j]->cpu_milli, ram = (double)jobs[j]->ram_mib;
        struct place *best = m;
        for (uint32_t n = 0; n < jobs[j]->count && best != NULL; n++, o.tried++) {
            double best_score = INFINITY;
            best = NULL;
            for (uint32_t i = 0; i < t->machine_count; i++) {
                if (m[i].cpu < cpu || m[i].ram < ram)
                    continue;
                double score = oracle_score(&m[i], cpu, ram);
                if (score < best_score) {
                    best_score = score;
                    best = &m[i];
                }
            }
            if (best == NULL)
                break;
            best->cpu -= cpu;
            best->ram -= ram;
            o.placed++;
            o.seconds = (double)(clock_mono_us() - start_us) / 1e6;
            if (o.seconds >= seconds_max)
                break;
        }
    }
    free(m);
    free(jobs);
    return o;
}

/* --- what is measured ------------------------------------------------------------------------- */

static void row_place(const char *what, struct trace *t)
{
    struct sim sim;
    load(&sim, t, POLICY_STRANDING_AWARE);
    uint64_t start_us = clock_mono_us();
    sim_run(&sim);
    double all_s = (double)(clock_mono_us() - start_us) / 1e6;
    struct sim_figures f = sim_figures(&sim);
    struct oracle o = oracle_run(t, quick ? 0.5 : 3);
    double rate = (double)f.placed / ((double)f.pass_us_total / 1e6);
    double oracle_rate = (double)o.placed / o.seconds;
    char note[64] = "not to its end";
    if (o.tried >= t->task_count || o.placed == t->task_count)
        snprintf(note, sizeof note, "%+" PRId64 " tasks placed",
                 (int64_t)f.placed - (int64_t)o.placed);
    printf("| %s | %" PRIu64 " | %" PRIu64 " | %.0f | %.0f | %.0f | %.0f | %s |\n", what, f.placed,
           f.pending, rate, (double)f.placed / all_s, oracle_rate, rate / oracle_rate, note);
    bench_summary(what, "%.0f placements/s, %.0f times a full scan", rate, rate / oracle_rate);
    sim_release(&sim);
    trace_release(t);
}

static void bench_place(void)
{
    printf("| workload | placed | pending | placements/s | with apply | full scan, placements/s | "
           "times | against the scan |\n|---|---|---|---|---|---|---|---|\n");
    struct trace t = generate(10000, 80, 3000, 1);
    row_place("Borg-like jobs, 10,000 machines", &t);
    if (!quick) {
        t = generate(100000, 80, 3000, 1);
        row_place("Borg-like jobs, 100,000 machines", &t);
    }
    t = one_job(100000, CELL_TASKS_PER_JOB_MAX);
    row_place("one job of 131,072 tasks, 100,000 machines", &t);
    t = generate(10000, quick ? 2 : 10, 1, 2);
    row_place("jobs of one task, all different, 10,000 machines", &t);
    t = generate(100000, quick ? 0.1 : 1, 1, 2);
    row_place("jobs of one task, all different, 100,000 machines", &t);
}

static struct job_spec spec_of(const char *name, uint32_t priority, uint32_t replicas,
                               int64_t cpu_milli, int64_t ram_mib)
{
    struct job_spec spec;
    spec_init(&spec);
    str_copy(spec.name, sizeof spec.name, name);
    str_copy(spec.user, sizeof spec.user, "bench");
    words_add(&spec.argv, "true");
    spec.priority = priority;
    spec.replicas = replicas;
    spec.limit = (struct resources){{[RES_CPU] = cpu_milli, [RES_RAM] = ram_mib << 20}};
    return spec;
}

static void submit(struct sim *sim, struct job_spec spec)
{
    struct err err;
    if (sim_submit(sim, &spec, &err) != 0)
        bench_die("%s", err.msg);
    spec_release(&spec);
}

/* Batch work on all machines, then production work that has to evict some of it. */
static void bench_preempt(void)
{
    printf("\n| preemption, machines full of batch | placed | evicted | evictions/s |\n"
           "|---|---|---|---|\n");
    for (uint32_t machines = 10000; machines <= (quick ? 10000 : 100000); machines *= 10) {
        struct trace t = one_job(machines, 1);
        uint32_t batch = MIN(machines * 8, (uint32_t)CELL_TASKS_PER_JOB_MAX);
        struct sim sim;
        load(&sim, &t, POLICY_STRANDING_AWARE);
        do {
            char name[32];
            snprintf(name, sizeof name, "batch%" PRIu64, sim.cell->next_job);
            submit(&sim, spec_of(name, 100, batch, 4000, 8192));
            sim_run(&sim);
        } while (sched_stats(sim.sched).pending == 0);
        uint64_t before_us = sim_figures(&sim).pass_us_total;
        uint64_t before = sim_figures(&sim).placed;
        uint32_t wanted = quick ? 500 : 5000;
        submit(&sim, spec_of("prod", 200, wanted, 7500, 8192));
        sim_run(&sim);
        struct sim_figures f = sim_figures(&sim);
        double seconds = (double)(f.pass_us_total - before_us) / 1e6;
        printf("| %" PRIu32 " tasks on %" PRIu32 " machines | %" PRIu64 " | %" PRIu64 " | %.0f |\n",
               wanted, machines, f.placed + f.evicted - before, f.evicted,
               (double)f.evicted / seconds);
        bench_summary("evictions", "%.0f/s on %" PRIu32 " full machines",
                      (double)f.evicted / seconds, machines);
        sim_release(&sim);
        trace_release(&t);
    }
}

/* 100,000 tasks in 1,000 jobs that fit nowhere: the first pass, and one after a task has ended. */
static void bench_pending(void)
{
    struct trace t = one_job(10000, 1);
    struct sim sim;
    struct cmd_schedule out;
    uint64_t first_us = 0, passes = 0;
    load(&sim, &t, POLICY_STRANDING_AWARE);
    sim_run(&sim);
    for (uint32_t i = 0; i < 1000; i++) {
        char name[32];
        snprintf(name, sizeof name, "big%" PRIu32, i);
        submit(&sim, spec_of(name, 100, 100, 64001 + i, 1024));
    }
    uint64_t start_us = clock_mono_us();
    while (sched_pass(sim.sched, &out)) {
        first_us = passes == 0 ? clock_mono_us() - start_us : first_us;
        passes++;
    }
    uint64_t all_us = clock_mono_us() - start_us;
    const struct task *large = cell_task(sim.cell, task_id_of((job_id){1}, 0));
    struct report report = {.task = {large->id, large->attempt}, .kind = REPORT_EXITED};
    struct cmd cmd = {.kind = CMD_REPORT,
                      .report = {.machine = large->machine, .reports = &report, .report_count = 1}};
    struct answer answer = {0};
    changes_clear(&sim.changes);
    cell_apply(sim.cell, &cmd, &sim.changes, &answer);
    struct delta *delta = delta_collect(sim.cell, &sim.changes);
    sched_update(sim.sched, delta);
    delta_unref(delta);
    start_us = clock_mono_us();
    sched_pass(sim.sched, &out);
    uint64_t again_us = clock_mono_us() - start_us;
    printf("\n| 100,000 pending tasks (1,000 jobs) that fit none of 10,000 machines | ms "
           "|\n|---|---|\n"
           "| first pass | %.1f |\n| all %" PRIu64 " passes until every reason is told | %.1f |\n"
           "| pass after a task elsewhere ended | %.3f |\n",
           (double)first_us / 1e3, passes + 1, (double)all_us / 1e3, (double)again_us / 1e3);
    bench_summary("pass over 100,000 pending that cannot fit", "%.1f ms, later %.3f ms",
                  (double)first_us / 1e3, (double)again_us / 1e3);
    sim_release(&sim);
    trace_release(&t);
}

static size_t heap(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

static size_t view_bytes(struct sim *sim)
{
    struct delta *delta = delta_full(sim->cell);
    size_t before = heap();
    struct sched *sched = sched_new();
    sched_update(sched, delta);
    size_t bytes = heap() - before;
    sched_free(sched);
    delta_unref(delta);
    return bytes;
}

static void bench_memory(void)
{
    enum { MACHINES = 65536, TASKS = 100000 }; /* a power of two: columns grow by doubling */
    struct trace t = one_job(MACHINES, 1);
    struct sim sim;
    load(&sim, &t, POLICY_STRANDING_AWARE);
    size_t without = view_bytes(&sim);
    submit(&sim, spec_of("many", 0, TASKS, 10, 10));
    size_t with = view_bytes(&sim);
    printf("\n| memory of the scheduler's view | bytes |\n|---|---|\n| per machine | %zu |\n"
           "| per task | %zu |\n| per kind of task remembered (of 16), per machine | 12 |\n",
           without / MACHINES, (with - without) / TASKS);
    bench_summary("the scheduler's view", "%zu bytes a machine, %zu a task", without / MACHINES,
                  (with - without) / TASKS);
    sim_release(&sim);
    trace_release(&t);
}

int main(int argc, char **argv)
{
    quick = argc > 1 && strcmp(argv[1], "--quick") == 0;
    if (argc > 2 || (argc == 2 && !quick))
        bench_die("usage: sched [--quick]");
    setvbuf(stdout, NULL, _IOLBF, 0);
    bench_place();
    bench_preempt();
    bench_pending();
    bench_memory();
    return 0;
}
