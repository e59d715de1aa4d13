/*
 * sched_cells.c - cells and jobs for scheduler benchmarks, drawn from a seed.
 */
#include "sched_cells.h"

#include "attributes.h"
#include "bench.h"

#include <math.h>
#include <stdio.h>

enum { RACK_MACHINES = 40, ZONES = 10, KERNELS = 10 };

static double draw_unit(uint64_t *seed)
{
    return (double)(sim_draw(seed) >> 11) / 9007199254740992.0;
}

/* Draw from a log-normal distribution around `median`, within bounds. */
static double draw_spread(uint64_t *seed, double median, double sigma, double min, double max)
{
    double u = draw_unit(seed) + 1e-12, v = draw_unit(seed);
    double drawn = median * exp(sigma * sqrt(-2 * log(u)) * cos(6.283185307179586 * v));
    return fmin(fmax(drawn, min), max);
}

struct job_spec cells_spec(const char *name, uint32_t priority, uint32_t replicas,
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

void cells_submit(struct sim *sim, struct job_spec spec)
{
    struct err err;
    if (sim_submit(sim, &spec, &err) != 0)
        bench_die("%s: %s", spec.name, err.msg);
    spec_release(&spec);
}

void cells_machines(struct sim *sim, uint32_t count)
{
    static const int64_t shapes[][2] = {{64000, 262144}, {38000, 174080}, {16500, 87040},
                                        {45000, 174080}, {24700, 174080}, {61000, 262144}};
    for (uint32_t i = 0; i < count; i++) {
        uint32_t rack = i / RACK_MACHINES, shape = rack % ARRAY_SIZE(shapes);
        struct sim_machine m = {0};
        struct err err;
        char text[32];
        snprintf(m.name, sizeof m.name, "m%" PRIu32, i);
        m.capacity = (struct resources){{[RES_CPU] = shapes[shape][0],
                                         [RES_RAM] = shapes[shape][1] << 20,
                                         [RES_DISK] = INT64_C(8) << 40}};
        snprintf(text, sizeof text, "r%" PRIu32, rack);
        attributes_put(&m.attributes, "rack", text);
        snprintf(text, sizeof text, "z%" PRIu32, rack % ZONES);
        attributes_put(&m.attributes, "zone", text);
        snprintf(text, sizeof text, "p%" PRIu32, shape);
        attributes_put(&m.attributes, "platform", text);
        snprintf(text, sizeof text, "%" PRIu32, 1 + i % KERNELS);
        attributes_put(&m.attributes, "kernel", text);
        if (rack % 4 < 2)
            attributes_put(&m.attributes, "ssd", "yes");
        if (sim_machine(sim, &m, 0, &err) != 0)
            bench_die("%s: %s", m.name, err.msg);
        words_release(&m.attributes);
    }
}

static void require(struct job_spec *spec, const char *text)
{
    struct term term;
    struct err err;
    if (term_parse(text, &term, &err) != 0)
        bench_die("%s: %s", text, err.msg);
    clause_add(clauses_add(&spec->constraints, 0), term);
}

static void ask(struct job_spec *spec, enum cells_ask what, uint64_t *seed)
{
    static const char *const mixed[] = {"platform = p3", "platform != p2", "ssd exists",
                                        "kernel >= 6", "zone in z1,z2,z3"};
    char text[CELL_NAME_MAX + 32];
    if (what == ASK_MIXED && sim_draw(seed) % 4 == 0)
        require(spec, mixed[sim_draw(seed) % ARRAY_SIZE(mixed)]);
    if (what == ASK_SPREAD)
        spec->spreads[spec->spread_count++] =
            (struct spread){.by = "rack", .max = 1 + spec->replicas / 40};
    if (what == ASK_APART) {
        snprintf(text, sizeof text, "machine apart %s", spec->name);
        require(spec, text);
    }
    if (what == ASK_NEAR) {
        snprintf(text, sizeof text, "zone near anchor%u", (unsigned)(sim_draw(seed) % ZONES));
        require(spec, text);
    }
}

/* Submit a job in each zone, as a target of affinity. */
static void anchors(struct sim *sim)
{
    for (uint32_t i = 0; i < ZONES; i++) {
        char name[32], text[32];
        snprintf(name, sizeof name, "anchor%" PRIu32, i);
        snprintf(text, sizeof text, "zone = z%" PRIu32, i);
        struct job_spec spec = cells_spec(name, 400, 1, 100, 100);
        require(&spec, text);
        cells_submit(sim, spec);
    }
}

void cells_jobs(struct sim *sim, const struct cells_jobs *jobs)
{
    static const uint32_t priorities[] = {0, 25, 101, 103, 105, 117, 200, 200, 200, 360};
    uint64_t seed = jobs->seed;
    if (jobs->ask == ASK_NEAR)
        anchors(sim);
    for (uint32_t left = jobs->tasks, i = 0; left > 0; i++) {
        double cpu = draw_spread(&seed, jobs->cpu_milli, 0.9, 20, 16000);
        double ram = draw_spread(&seed, 3.2 * cpu, 0.9, 32, 65536);
        uint32_t count = (uint32_t)draw_spread(&seed, 4, 2, 1, jobs->job_tasks_max);
        char name[32];
        count = MIN(count, left);
        left -= count;
        snprintf(name, sizeof name, "j%" PRIu32, i);
        struct job_spec spec =
            cells_spec(name, priorities[sim_draw(&seed) % 10], count, (int64_t)cpu, (int64_t)ram);
        spec.limit.v[RES_DISK] = INT64_C(512) << 20;
        ask(&spec, jobs->ask, &seed);
        cells_submit(sim, spec);
    }
}
