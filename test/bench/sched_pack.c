/*
 * sched_pack.c - measure how well the scheduler packs, against plain best-fit and a lower bound for
 * any scheduler.
 *
 *     sched_pack [--quick] [NAME...]
 *
 * Runs cell compaction (cli/simulate_compact.h) with all constraints, on a cell generated here and
 * on every trace in the directory DATA_DIR, or on those named. It takes the tasks at the start of
 * the trace if these are most of its tasks; otherwise all tasks at once; if those need more than
 * two cells, the tasks at the moment of the highest demand.
 */
#include "lib/bench.h"

#include "simulate_compact.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool quick;

static double draw_unit(uint64_t *seed)
{
    return (double)(sim_draw(seed) >> 11) / 9007199254740992.0;
}

/* Draw from a log-normal distribution around `median`. */
static double draw_spread(uint64_t *seed, double median, double sigma)
{
    double u = draw_unit(seed) + 1e-12, v = draw_unit(seed);
    return median * exp(sigma * sqrt(-2 * log(u)) * cos(6.283185307179586 * v));
}

static uint64_t draw_below(uint64_t *seed, uint64_t count)
{
    return sim_draw(seed) % count;
}

static void generate_machines(FILE *to, uint32_t count, uint64_t *seed)
{
    static const uint32_t shapes[][2] = {{64000, 262144}, {38000, 174080}, {16500, 87040},
                                         {45000, 174080}, {24700, 174080}, {61000, 262144}};
    fprintf(to, "machine_id,cpu_milli,ram_mib,disk_mib,gpu_milli,attributes,failure_domain\n");
    for (uint32_t i = 0; i < count; i++) {
        uint32_t shape = i / 40 % (uint32_t)ARRAY_SIZE(shapes); /* racks of 40 equal machines */
        fprintf(to, "m%u,%u,%u,8388608,0,platform=p%u;kernel=%u;ssd=%d;drain=%d,r%u\n", i,
                shapes[shape][0], shapes[shape][1], shape, 1 + (unsigned)draw_below(seed, 5),
                draw_below(seed, 10) < 4, draw_below(seed, 50) == 0, i / 40);
    }
}

/* Three of ten jobs have constraints; of those with several tasks a third are spread. */
static void draw_constraints(struct buf *to, uint64_t *seed, uint32_t count)
{
    static const char *const clauses[] = {"drain!=1", "kernel>=2",    "kernel>=4",   "ssd>=1",
                                          "drain!=1", "platform!=p0", "platform!=p3"};
    buf_clear(to);
    if (draw_below(seed, 10) < 3)
        buf_printf(to, "%s", clauses[draw_below(seed, ARRAY_SIZE(clauses))]);
    if (count > 1 && count < 200 && draw_below(seed, 3) == 0)
        buf_printf(to, "%sdistinct=machine:1", to->size > 0 ? ";" : "");
}

/* Generate jobs until `percent` of the cell's cpus are requested, each at most a fiftieth of them.
 */
static void generate_tasks(FILE *to, double cpus, double percent, uint64_t *seed)
{
    static const uint32_t priorities[] = {0, 25, 101, 103, 105, 117, 200, 200, 200, 360};
    CLEANUP(buf_release) struct buf constraints = {0};
    double wanted = 0;
    fprintf(to, "job_id,task_index,priority,qos,arrival_s,duration_s,cpu_milli,ram_mib,disk_mib,"
                "gpu_milli,constraints\n");
    for (uint32_t j = 0; wanted < cpus * percent / 100; j++) {
        double cpu = fmin(fmax(draw_spread(seed, 1000, 0.9), 20), 16000);
        double ram = fmin(fmax(cpu * draw_spread(seed, 3.2, 0.9), 32), 65536);
        uint32_t count = (uint32_t)fmin(fmax(draw_spread(seed, 4, 2), 1), 1 + cpus / 50 / cpu);
        uint32_t priority = priorities[draw_below(seed, ARRAY_SIZE(priorities))];
        draw_constraints(&constraints, seed, count);
        for (uint32_t i = 0; i < count; i++)
            fprintf(to, "j%u,%u,%u,,0,-1,%u,%u,512,0,%s\n", j, i, priority, (unsigned)cpu,
                    (unsigned)ram, buf_text(&constraints));
        wanted += cpu * count;
    }
}

/* Generate a cell with a shape similar to Borg's, and read it back as a trace. */
static void generate(struct trace *ret, uint32_t machines, double percent, uint64_t seed)
{
    char dir[] = "/tmp/sched_pack.XXXXXX", path[2][64];
    struct err err;
    double cpus = 0;
    if (mkdtemp(dir) == NULL)
        bench_die("no directory in /tmp");
    snprintf(path[0], sizeof path[0], "%s/machines.csv", dir);
    snprintf(path[1], sizeof path[1], "%s/tasks.csv", dir);
    FILE *file = fopen(path[0], "w");
    generate_machines(file, machines, &seed);
    bool wrong = file == NULL || fclose(file) != 0;
    if (wrong || trace_read_machines(ret, path[0], &err) != 0)
        bench_die("%s: %s", path[0], wrong ? "cannot write" : err.msg);
    for (uint32_t i = 0; i < ret->machine_count; i++)
        cpus += (double)ret->machines[i].cpu_milli;
    file = fopen(path[1], "w");
    generate_tasks(file, cpus, percent, &seed);
    wrong = file == NULL || fclose(file) != 0;
    if (wrong || trace_read_tasks(ret, path[1], 0, &err) != 0)
        bench_die("%s: %s", path[1], wrong ? "cannot write" : err.msg);
    remove(path[0]);
    remove(path[1]);
    remove(dir);
}

static void pack(const char *name, const struct trace *t, enum workload_when when)
{
    struct err err;
    struct workload w;
    struct compact_bound bound;
    struct compact results[POLICY_COUNT];
    struct workload_choice choice = {POLICY_STRANDING_AWARE, when, 0};
    workload_of_trace(&w, t, &choice);
    if (compact_prepare(&w, &bound, &err) != 0)
        bench_die("%s: %s", name, err.msg);
    if (when == WHEN_ALL && bound.percent > 200) {
        workload_release(&w);
        pack(name, t, WHEN_PEAK);
        return;
    }
    printf("| %s | %" PRIu32 " | %" PRIu64 " | %.1f |", name, bound.machines, bound.tasks,
           bound.percent);
    for (enum policy p = 0; p < POLICY_COUNT; p++) {
        int rc = compact(&w, &bound, p, 1, (struct compact_watch){0}, &results[p], &err);
        if (rc != 0 && err.code != ERR_LIMIT)
            bench_die("%s: %s", name, err.msg);
        results[p].percent = rc != 0 ? INFINITY : results[p].percent;
        if (rc != 0)
            printf(" over 400 |");
        else
            printf(" %.1f |", results[p].percent);
        fflush(stdout);
    }
    double ours = results[POLICY_STRANDING_AWARE].percent;
    double best_fit = results[POLICY_BEST_FIT].percent;
    printf(" %.1f%% | %.1f%% |\n", 100 * (ours / bound.percent - 1), 100 * (1 - ours / best_fit));
    bench_summary("compaction", "%s: %.1f%% over the bound, %.1f%% fewer machines than best-fit",
                  name, 100 * (ours / bound.percent - 1), 100 * (1 - ours / best_fit));
    workload_release(&w);
}

static bool is_trace(const char *dir, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s/machines.csv", dir, name);
    FILE *file = name[0] == '.' ? NULL : fopen(path, "r");
    if (file != NULL)
        fclose(file);
    return file != NULL;
}

static void pack_trace(const char *dir, const char *name)
{
    char path[4096];
    struct trace t = {0};
    struct err err;
    uint64_t at_start = 0;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (trace_read_dir(&t, path, 0, &err) != 0)
        bench_die("%s", err.msg);
    for (uint32_t j = 0; j < t.job_count; j++)
        at_start += t.jobs[j].arrival_s == 0 ? t.jobs[j].count : 0;
    pack(name, &t, at_start * 2 > t.task_count ? WHEN_MOMENT : WHEN_ALL);
    trace_release(&t);
}

static void pack_dir(const char *dir)
{
    struct dirent **entries;
    int count = scandir(dir, &entries, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        if (is_trace(dir, entries[i]->d_name))
            pack_trace(dir, entries[i]->d_name);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
}

int main(int argc, char **argv)
{
    const char *dir = getenv("DATA_DIR");
    int first = 1;
    quick = argc > 1 && strcmp(argv[1], "--quick") == 0;
    first += quick;
    if (first < argc && dir == NULL)
        bench_die("DATA_DIR is to be the directory of the traces named");
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("\n| cell compaction, %% of the machines | machines | tasks | bound |");
    for (enum policy p = 0; p < POLICY_COUNT; p++)
        printf(" %s |", policy_text(p));
    printf(" over the bound | fewer than best-fit |\n|---|---|---|---|---|---|---|---|---|\n");
    for (int i = first; i < argc; i++)
        pack_trace(dir, argv[i]);
    if (first < argc)
        return 0;
    struct trace t = {0};
    generate(&t, quick ? 300 : 2000, 90, 3);
    pack("generated", &t, WHEN_MOMENT);
    trace_release(&t);
    if (dir != NULL && !quick)
        pack_dir(dir);
    return 0;
}
