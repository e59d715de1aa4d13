/*
 * test_cli_simulate.c - small simulations with figures computed by hand.
 */
#include "attributes.h"
#include "simulate_compact.h"
#include "simulate_html.h"
#include "simulate_time.h"
#include "simulate_what_if.h"

#include "testlib.h"

#include <sqlite3.h>

#define MACHINES "machine_id,cpu_milli,ram_mib,disk_mib,gpu_milli,attributes,failure_domain\n"
#define TASKS \
    "job_id,task_index,priority,qos,arrival_s,duration_s,cpu_milli,ram_mib,disk_mib,gpu_milli," \
    "constraints\n"

static void write_file(const char *dir, const char *name, const char *text)
{
    FILE *file = fopen(t_path(dir, name), "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(text, file), 0);
    ck_assert_int_eq(fclose(file), 0);
}

static struct trace trace_of(const char *machines, const char *tasks)
{
    struct trace trace = {0};
    const char *dir = t_dir();
    write_file(dir, "machines.csv", machines);
    write_file(dir, "tasks.csv", tasks);
    T_OK(trace_read_dir(&trace, dir, 0, &t_err));
    return trace;
}

/* A trace that is loaded into a simulation, by default at one moment. */
struct fixture {
    struct trace trace;
    struct workload workload;
    struct sim sim;
};

static void fixture_choose(struct fixture *f, const char *machines, const char *tasks,
                           enum workload_when when, int64_t second)
{
    struct workload_choice choice = {POLICY_STRANDING_AWARE, when, second};
    f->trace = trace_of(machines, tasks);
    workload_of_trace(&f->workload, &f->trace, &choice);
    sim_init(&f->sim);
}

static void fixture_open(struct fixture *f, const char *machines, const char *tasks)
{
    fixture_choose(f, machines, tasks, WHEN_MOMENT, 0);
    T_OK(sim_load(&f->sim, &f->workload, &t_err));
}

static void fixture_close(struct fixture *f)
{
    sim_release(&f->sim);
    workload_release(&f->workload);
    trace_release(&f->trace);
}

/* Three machines of 4 cpus and 8 GiB; work for two and a half of them in cpu. */
static const char small_machines[] = MACHINES "m0,4000,8192,0,0,,\n"
                                              "m1,4000,8192,0,1000,a=b,r1\n"
                                              "m2,4000,8192,0,0,,r1\n";
static const char small_tasks[] = TASKS "a,0,9,prod,0,-1,4000,1024,0,0,\n"
                                        "b,0,2,,0,60,2000,1024,77,0,a=b\n"
                                        "b,1,2,,0,60,2000,1024,77,0,a=b\n"
                                        "c,0,0,,0,-1,2000,0,0,500,\n"
                                        "d,0,0,,0,-1,5000,1024,0,0,\n"
                                        "e,0,11,prod,5,-1,1000,1024,0,0,\n"
                                        "a,1,10,prod,0,-1,4000,1024,0,0,\n";

START_TEST(figures_match_those_computed_by_hand)
{
    struct fixture fixture;
    fixture_open(&fixture, small_machines, small_tasks);
    sim_run(&fixture.sim);
    cell_check(fixture.sim.cell);
    struct sim_figures f = sim_figures(&fixture.sim);
    /* a/0 and a/1 fill a machine each, the two tasks of b the third; c and d do not fit. */
    ck_assert_uint_eq(f.machines, 3);
    ck_assert_uint_eq(f.jobs, 5);
    ck_assert_uint_eq(f.tasks, 6);
    ck_assert_uint_eq(f.placed, 4);
    ck_assert_uint_eq(f.pending, 2);
    ck_assert_uint_eq(f.evicted, 0);
    ck_assert_uint_eq(f.bands[BAND_PRODUCTION].placed, 1);
    ck_assert_uint_eq(f.bands[BAND_MONITORING].placed, 1);
    ck_assert_uint_eq(f.bands[BAND_FREE].tasks, 2);
    ck_assert_uint_eq(f.bands[BAND_FREE].pending, 2);
    ck_assert_int_eq(f.capacity.v[RES_CPU], 12000);
    ck_assert_int_eq(f.used.v[RES_CPU], 12000);
    ck_assert_int_eq(f.demand.v[RES_CPU], 19000);
    ck_assert_int_eq(f.used.v[RES_RAM], INT64_C(4) << 30);
    ck_assert_int_eq(f.demand.v[RES_RAM], (INT64_C(5) << 30) + (1 << 20));
    ck_assert_uint_eq(f.stranded_machines, 3);
    ck_assert_int_eq(f.stranded.v[RES_CPU], 0);
    ck_assert_int_eq(f.stranded.v[RES_RAM], INT64_C(20) << 30);
    ck_assert_uint_ge(f.passes, 1);
    /* The second part of job a has its own name, monitoring priority, and is placed first. */
    const struct cell *cell = fixture.sim.cell;
    const struct job *part = cell_job_named(cell, "a.line8");
    ck_assert_ptr_nonnull(part);
    ck_assert_uint_eq(part->spec.priority, 360);
    ck_assert_uint_eq(cell_job_named(cell, "a")->spec.priority, 200);
    ck_assert_uint_eq(cell_job_named(cell, "b")->spec.priority, 100);
    ck_assert_str_eq(attributes_get(&cell_machine_named(cell, "m1")->attributes, "a"), "b");
    ck_assert_str_eq(attributes_get(&cell_machine_named(cell, "m1")->attributes, "failure_domain"),
                     "r1");
    fixture_close(&fixture);
}
END_TEST

START_TEST(input_that_a_cell_cannot_express_is_counted)
{
    struct fixture f;
    fixture_open(&f, small_machines, small_tasks);
    struct sim_ignored g = f.workload.ignored;
    ck_assert_uint_eq(g.not_running, 1);
    ck_assert_uint_eq(g.durations, 2);
    ck_assert_uint_eq(g.raised, 1);
    ck_assert_uint_eq(g.disks, 2);
    ck_assert_uint_eq(g.qos, 2); /* e is left out */
    ck_assert_uint_eq(g.covers + g.conflicts + g.parts, 0);
    ck_assert(g.priorities_2011);
    fixture_close(&f);
    fixture_open(&f, small_machines,
                 TASKS "a,0,9,,0,-1,1,1,0,0,spread=failure_domain:3\n"
                       "a,1,9,,0,-1,2,1,0,0,spread=failure_domain:3;conflict=b:1\n"
                       "a,2,9,,0,-1,2,1,0,0,spread=failure_domain:3;conflict=b:1\n");
    ck_assert_uint_eq(f.workload.ignored.covers, 3);
    ck_assert_uint_eq(f.workload.ignored.conflicts, 2);
    ck_assert_uint_eq(f.workload.ignored.parts, 2);
    fixture_close(&f);
}
END_TEST

/* Each row: 4 tasks of half a machine with a constraint; 4 machines, m0 and m1 in rack r0. */
START_TEST(constraints_of_a_trace_hold)
{
    static const struct {
        const char *constraints;
        uint64_t placed;
        uint32_t machine_most, rack_most; /* number of tasks on the fullest one */
    } rows[] = {
        {"", 4, 2, 4},
        {"kind=x", 2, 2, 2},
        {"kind!=x", 4, 2, 4},
        {"speed>=20", 4, 2, 2},
        {"speed>=21", 2, 2, 2},
        {"kind in x|y", 4, 2, 4},
        {"failure_domain=r1", 4, 2, 4},
        {"distinct=machine:1", 4, 1, 2},
        {"limit=failure_domain:1", 2, 1, 1},
        {"spread=failure_domain:2", 4, 2, 3},
        {"distinct=machine:1;kind!=x", 3, 1, 2},
        {"kind=z", 0, 0, 0},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct fixture f;
        CLEANUP(buf_release) struct buf tasks = {0};
        uint32_t machine_most = 0, racks[2] = {0};
        buf_printf(&tasks, "%s", TASKS);
        for (int n = 0; n < 4; n++)
            buf_printf(&tasks, "j,%d,200,,0,-1,2000,1,0,0,%s\n", n, rows[i].constraints);
        fixture_open(&f,
                     MACHINES "m0,4000,64,0,0,kind=x;speed=20,r0\n"
                              "m1,4000,64,0,0,kind=y,r0\n"
                              "m2,4000,64,0,0,speed=21,r1\n"
                              "m3,4000,64,0,0,kind=y;speed=9,r1\n",
                     buf_text(&tasks));
        sim_run(&f.sim);
        for (uint32_t m = 0; m < 4; m++) {
            uint32_t count = f.sim.cell->machines[m]->task_count;
            machine_most = MAX(machine_most, count);
            racks[m / 2] += count;
        }
        ck_assert_msg(sim_figures(&f.sim).placed == rows[i].placed, "row %zu", i);
        ck_assert_msg(machine_most <= rows[i].machine_most, "row %zu: %u", i, machine_most);
        ck_assert_msg(MAX(racks[0], racks[1]) <= rows[i].rack_most, "row %zu: racks", i);
        fixture_close(&f);
    }
}
END_TEST

/* Two machines of one gpu; the task of job a takes m0. */
START_TEST(conflicts_and_gpus_of_a_trace_hold)
{
    static const struct {
        const char *tasks;
        uint64_t placed; /* besides job a */
        uint64_t ignored;
    } rows[] = {
        {"b,0,200,,0,-1,1,1,0,0,failure_domain=r1;conflict=a:0\n", 1, 0},
        {"b,0,200,,0,-1,1,1,0,0,failure_domain=r0;conflict=a:0\n", 0, 0},
        {"b,0,200,,0,-1,1,1,0,0,failure_domain=r0;conflict=a:1\n", 1, 1},
        {"a,1,200,,0,-1,2,1,0,0,\nb,0,200,,0,-1,1,1,0,0,failure_domain=r0;conflict=a:0\n", 2, 1},
        {"b,0,200,,0,-1,1,1,0,1000,\nb,1,200,,0,-1,1,1,0,1000,\nb,2,200,,0,-1,1,1,0,1000,\n", 2, 0},
        {"b,0,200,,0,-1,1,1,0,400,failure_domain=r1\nb,1,200,,0,-1,1,1,0,400,failure_domain=r1\nc,"
         "2,100,,0,-1,1,1,0,1000,\n",
         3, 0},
        {"b,0,200,,0,-1,1,1,0,2000,\n", 0, 0},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct fixture f;
        char tasks[600];
        snprintf(tasks, sizeof tasks, "%sa,0,360,,0,-1,1,1,0,0,failure_domain=r0\n%s", TASKS,
                 rows[i].tasks);
        fixture_open(&f, MACHINES "m0,4000,64,0,1000,,r0\nm1,4000,64,0,1000,,r1\n", tasks);
        sim_run(&f.sim);
        ck_assert_msg(sim_figures(&f.sim).placed == rows[i].placed + 1, "row %zu", i);
        ck_assert_uint_eq(f.workload.ignored.conflicts, rows[i].ignored);
        fixture_close(&f);
    }
}
END_TEST

/* `tasks` cannot fit into N - 1 domains, but could with one more per domain. */
START_TEST(covering_domains_becomes_the_bound_that_forces_it)
{
    ck_assert_uint_eq(workload_domain_max(7, 1), 7);
    for (uint32_t tasks = 1; tasks < 40; tasks++)
        for (uint32_t domains = 2; domains <= tasks; domains++) {
            uint32_t max = workload_domain_max(tasks, domains);
            ck_assert_uint_gt(tasks, (domains - 1) * max);
            ck_assert_uint_le(tasks, (domains - 1) * (max + 1));
        }
    ck_assert_uint_eq(workload_domain_max(2, 5), 1); /* two tasks cover at most two */
}
END_TEST

/* One machine of 2 cpus. a runs 0-10, b 5-15; c wants both cpus from 6 on and gets them at 15. */
static const char timed_tasks[] = TASKS "a,0,200,,0,10,1000,1,0,0,\n"
                                        "b,0,200,,5,10,1000,1,0,0,\n"
                                        "c,0,200,,6,3,2000,1,0,0,\n"
                                        "d,0,0,,30,-1,1000,1,0,0,\n"
                                        "e,0,0,,40,7,1000,1,0,0,\n";

START_TEST(time_advances_from_event_to_event)
{
    struct fixture f;
    struct history *h = xcalloc(1, sizeof *h);
    fixture_choose(&f, MACHINES "m0,2000,64,0,0,,\n", timed_tasks, WHEN_UNTIL, INT64_MAX);
    ck_assert_uint_eq(f.workload.ignored.durations, 0);
    T_OK(sim_run_over_time(&f.sim, &f.workload, (struct history_watch){0}, h, &t_err));
    cell_check(f.sim.cell);
    ck_assert_int_eq(h->until_s, 40);
    ck_assert_uint_eq(h->arrived, 5);
    ck_assert_uint_eq(h->finished, 3);
    ck_assert_uint_eq(h->placements, 5);
    ck_assert_uint_eq(h->pending_max, 1);
    ck_assert_uint_eq(h->waits.count, 5);
    ck_assert_uint_eq(h->waits.p50_s, 0);
    ck_assert_uint_eq(h->waits.max_s, 9);
    ck_assert_uint_eq(h->bands[BAND_PRODUCTION].count, 3);
    ck_assert_uint_eq(h->bands[BAND_FREE].max_s, 0);
    ck_assert_int_eq(h->used_max.v[RES_CPU], 2000);
    ck_assert_int_eq(h->samples[h->sample_count - 1].second, 40);
    ck_assert_uint_eq(h->samples[h->sample_count - 1].running, 2);
    for (uint32_t i = 0; i < h->sample_count; i++) {
        int64_t second = h->samples[i].second;
        ck_assert_uint_eq(h->samples[i].pending_max, second >= 6 && second <= 15 ? 1 : 0);
        ck_assert_msg(i == 0 || second > h->samples[i - 1].second, "sample %u", i);
    }
    fixture_close(&f);
    free(h);
}
END_TEST

/* Batch for 100 s is evicted at 10 by production that ends at 30, and starts over: 30-130. */
START_TEST(evicted_tasks_start_over)
{
    struct fixture f;
    struct history *h = xcalloc(1, sizeof *h);
    fixture_choose(&f, MACHINES "m0,2000,64,0,0,,\n",
                   TASKS "batch,0,100,,0,100,2000,1,0,0,\n"
                         "prod,0,200,,10,20,2000,1,0,0,\n"
                         "late,0,100,,129,-1,2000,1,0,0,\n"
                         "later,0,100,,131,-1,1,1,0,0,\n",
                   WHEN_UNTIL, INT64_MAX);
    T_OK(sim_run_over_time(&f.sim, &f.workload, (struct history_watch){0}, h, &t_err));
    ck_assert_uint_eq(f.sim.evicted, 1);
    ck_assert_uint_eq(h->placements, 4); /* batch twice; `later` waits, `late` uses everything */
    ck_assert_uint_eq(h->finished, 2);
    ck_assert_uint_eq(h->waits.count, 5);
    ck_assert_uint_eq(h->waits.max_s, 20);
    fixture_close(&f);
    free(h);
}
END_TEST

START_TEST(a_moment_has_the_tasks_that_run_then)
{
    static const struct {
        enum workload_when when;
        int64_t second;
        uint32_t tasks;
    } rows[] = {{WHEN_MOMENT, 0, 1},  {WHEN_MOMENT, 4, 1},  {WHEN_MOMENT, 5, 2},
                {WHEN_MOMENT, 6, 3},  {WHEN_MOMENT, 9, 2},  {WHEN_MOMENT, 10, 1},
                {WHEN_MOMENT, 20, 0}, {WHEN_MOMENT, 45, 2}, {WHEN_MOMENT, 47, 1},
                {WHEN_PEAK, 0, 3},    {WHEN_ALL, 0, 5},     {WHEN_UNTIL, 5, 2}};
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct fixture f;
        uint32_t tasks = 0;
        fixture_choose(&f, MACHINES "m0,2000,64,0,0,,\n", timed_tasks, rows[i].when,
                       rows[i].second);
        for (uint32_t j = 0; j < f.workload.job_count; j++)
            tasks += f.workload.jobs[j].spec.replicas;
        ck_assert_msg(tasks == rows[i].tasks, "row %zu: %u", i, tasks);
        ck_assert_uint_eq(f.workload.ignored.not_running, 5 - tasks);
        fixture_close(&f);
    }
}
END_TEST

START_TEST(mapped_priorities_keep_band_and_order)
{
    static const enum band bands[] = {
        BAND_FREE,  BAND_FREE,  BAND_BATCH, BAND_BATCH,      BAND_BATCH,      BAND_BATCH,
        BAND_BATCH, BAND_BATCH, BAND_BATCH, BAND_PRODUCTION, BAND_MONITORING, BAND_PRODUCTION};
    for (uint32_t p = 0; p < ARRAY_SIZE(bands); p++) {
        ck_assert_int_eq(band_of(workload_priority(p, true)), bands[p]);
        for (uint32_t q = 0; q < p; q++)
            if (bands[q] == bands[p])
                ck_assert_uint_lt(workload_priority(q, true), workload_priority(p, true));
    }
    ck_assert_uint_eq(workload_priority(117, false), 117);
}
END_TEST

static const struct compact_watch unwatched = {0};

/* Tasks that fill a machine each: any policy needs as many machines, including clones. */
START_TEST(compaction_finds_the_number_of_machines_needed)
{
    static const struct {
        uint32_t machines, tasks, needed;
    } rows[] = {{10, 4, 4}, {10, 10, 10}, {4, 10, 10}, {1, 1, 1}, {3, 12, 12}, {20, 1, 1}};
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        CLEANUP(buf_release) struct buf machines = {0}, tasks = {0};
        struct compact_bound bound;
        struct compact c = {0};
        buf_printf(&machines, "%s", MACHINES);
        for (uint32_t m = 0; m < rows[i].machines; m++)
            buf_printf(&machines, "m%u,1000,1024,0,0,,\n", m);
        buf_printf(&tasks, "%s", TASKS);
        for (uint32_t n = 0; n < rows[i].tasks; n++)
            buf_printf(&tasks, "j,%u,200,,0,-1,1000,512,0,0,\n", n);
        struct fixture f;
        fixture_open(&f, buf_text(&machines), buf_text(&tasks));
        T_OK(compact_prepare(&f.workload, &bound, &t_err));
        ck_assert_double_eq_tol(bound.percent, 100.0 * rows[i].needed / rows[i].machines, 0.001);
        T_OK(compact(&f.workload, &bound, POLICY_BEST_FIT, 1, unwatched, &c, &t_err));
        ck_assert_msg(c.machines == rows[i].needed, "row %zu: %u", i, c.machines);
        for (int t = 0; t < COMPACT_TRIALS; t++)
            ck_assert_uint_eq(c.needed[t], rows[i].needed);
        fixture_close(&f);
    }
}
END_TEST

/* Half of the machines are large, so the result depends on which ones are drawn. */
START_TEST(compaction_draws_the_machines_and_takes_the_90th_percentile)
{
    CLEANUP(buf_release) struct buf machines = {0};
    struct compact_bound bound;
    struct compact c = {0}, again = {0};
    buf_printf(&machines, "%s", MACHINES);
    for (int m = 0; m < 40; m++)
        buf_printf(&machines, "m%d,%d,1024,0,0,,\n", m, m % 2 == 0 ? 1000 : 3000);
    struct fixture f;
    fixture_open(&f, buf_text(&machines),
                 TASKS "j,0,200,,0,-1,1000,1,0,0,\n"
                       "j,1,200,,0,-1,1000,1,0,0,\n"
                       "j,2,200,,0,-1,1000,1,0,0,\n"
                       "j,3,200,,0,-1,1000,1,0,0,\n"
                       "j,4,200,,0,-1,1000,1,0,0,\n"
                       "j,5,200,,0,-1,1000,1,0,0,\n");
    T_OK(compact_prepare(&f.workload, &bound, &t_err));
    T_OK(compact(&f.workload, &bound, POLICY_BEST_FIT, 1, unwatched, &c, &t_err));
    T_OK(compact(&f.workload, &bound, POLICY_BEST_FIT, 1, unwatched, &again, &t_err));
    ck_assert_uint_ge(c.needed[0], 2);
    ck_assert_uint_le(c.needed[COMPACT_TRIALS - 1], 6);
    ck_assert_uint_lt(c.needed[0], c.needed[COMPACT_TRIALS - 1]);
    ck_assert_uint_eq(c.machines, c.needed[9]); /* of 11, in ascending order */
    ck_assert_mem_eq(&c, &again, sizeof c);
    fixture_close(&f);
}
END_TEST

/* Four machines, one with the wanted attribute: a job of two keeps its constraint, a job of three
 * does not. */
START_TEST(compaction_softens_constraints_of_large_jobs)
{
    static const struct {
        uint32_t tasks, softened, needed;
        const char *constraints;
    } rows[] = {{2, 0, 4, "a=b"},
                {3, 1, 1, "a=b"},
                {2, 0, 2, "distinct=machine:1"},
                {3, 1, 1, "distinct=machine:1"},
                {3, 0, 1, ""}};
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct fixture f;
        struct compact_bound bound;
        struct compact c = {0};
        CLEANUP(buf_release) struct buf tasks = {0};
        buf_printf(&tasks, "%s", TASKS);
        for (uint32_t n = 0; n < rows[i].tasks; n++)
            buf_printf(&tasks, "j,%u,200,,0,-1,1000,1,0,0,%s\n", n, rows[i].constraints);
        fixture_open(&f,
                     MACHINES "m0,4000,64,0,0,a=b,\nm1,4000,64,0,0,,\n"
                              "m2,4000,64,0,0,,\nm3,4000,64,0,0,,\n",
                     buf_text(&tasks));
        T_OK(compact_prepare(&f.workload, &bound, &t_err));
        ck_assert_msg(bound.softened == rows[i].softened, "row %zu", i);
        T_OK(compact(&f.workload, &bound, POLICY_BEST_FIT, 1, unwatched, &c, &t_err));
        ck_assert_msg(c.machines == rows[i].needed, "row %zu: %u", i, c.machines);
        fixture_close(&f);
    }
}
END_TEST

/* The tasks on the machines of a cell are packed again: each job with its present number of tasks.
 */
START_TEST(a_real_cell_becomes_a_workload)
{
    struct fixture f;
    struct workload w;
    struct compact_bound bound;
    struct compact c = {0};
    fixture_open(&f, MACHINES "m0,4000,64,0,0,a=b,r1\nm1,4000,64,0,0,,\nm2,4000,64,0,0,,\n",
                 TASKS "j,0,200,,0,-1,2000,1,0,0,a=b\nj,1,200,,0,-1,2000,1,0,0,a=b\n"
                       "k,0,200,,0,-1,3000,1,0,0,\n");
    sim_run(&f.sim);
    T_OK(sim_machine_down(&f.sim, (machine_id){3}, &t_err));
    workload_of_cell(&w, f.sim.cell);
    ck_assert_uint_eq(w.machine_count, 2);
    ck_assert_str_eq(attributes_get(&w.machines[0].attributes, "failure_domain"), "r1");
    ck_assert_uint_eq(w.job_count, 2);
    ck_assert_uint_eq(w.jobs[0].spec.replicas, 2);
    ck_assert_uint_eq(w.jobs[0].spec.constraints.count, 1);
    T_OK(compact_prepare(&w, &bound, &t_err));
    T_OK(compact(&w, &bound, POLICY_STRANDING_AWARE, 1, unwatched, &c, &t_err));
    ck_assert_uint_eq(c.machines, 2);
    workload_release(&w);
    fixture_close(&f);
}
END_TEST

START_TEST(how_many_counts_tasks_without_evictions)
{
    struct fixture f;
    struct job_spec spec;
    uint64_t more;
    fixture_open(&f, MACHINES "m0,4000,4096,0,0,,\nm1,2500,4096,0,0,,\n",
                 TASKS "low,0,0,,0,-1,500,512,0,0,\n");
    sim_run(&f.sim);
    spec_init(&spec);
    str_copy(spec.name, sizeof spec.name, "web");
    words_add(&spec.argv, "true");
    spec.priority = 200;
    spec.limit = (struct resources){{1000, 1 << 20, 0, 0}};
    T_OK(what_if_more(&f.sim, &spec, &more, &t_err));
    /* 4 and 2, or 3 and 2 if the small task is on m0; it went where less is stranded. */
    ck_assert_uint_eq(more,
                      cell_task(f.sim.cell, task_id_of((job_id){1}, 0))->machine.v == 1 ? 5 : 6);
    ck_assert_uint_eq(f.sim.evicted, 0);
    spec_release(&spec);
    fixture_close(&f);
}
END_TEST

/* Two machines: production on one, batch on the other. Without the first one, batch is evicted. */
START_TEST(removed_machines_cause_evictions_of_lower_priority)
{
    struct fixture f;
    struct what_if w;
    fixture_open(&f, MACHINES "m0,4000,4096,0,0,,\nm1,4000,4096,0,0,,\n",
                 TASKS "prod,0,9,,0,-1,4000,512,0,0,\n"
                       "batch,0,2,,0,-1,2000,512,0,0,\n"
                       "batch,1,2,,0,-1,2000,512,0,0,\n");
    sim_run(&f.sim);
    machine_id lost = cell_task(f.sim.cell, task_id_of((job_id){1}, 0))->machine;
    char text[CELL_NAME_MAX + 16];
    const char *what = text;
    snprintf(text, sizeof text, "machine=%s", cell_machine(f.sim.cell, lost)->name);
    T_OK(what_if_remove(&f.sim, &what, 1, 1, &w, &t_err));
    cell_check(f.sim.cell);
    ck_assert_uint_eq(w.removed_count, 1);
    ck_assert_uint_eq(w.lost, 1);
    ck_assert_uint_eq(w.evicted, 2);
    ck_assert_uint_eq(w.pending, 2);
    ck_assert_uint_eq(w.job_count, 2);
    ck_assert_uint_eq(w.jobs[0].job.v, 1);
    ck_assert_uint_eq(w.jobs[0].lost, 1);
    ck_assert_uint_eq(w.jobs[0].pending, 0);
    ck_assert_uint_eq(w.jobs[1].job.v, 2);
    ck_assert_uint_eq(w.jobs[1].evicted, 2);
    ck_assert_uint_eq(w.jobs[1].pending, 2);
    what_if_release(&w);
    T_REFUSED(what_if_remove(&f.sim, &what, 1, 1, &w, &t_err), ERR_NOT_FOUND);
    T_CONTAINS(t_err.msg, "no machine that is up has machine=");
    what_if_release(&w);
    fixture_close(&f);
}
END_TEST

/* Five machines, two of them in rack r1. */
START_TEST(machines_are_removed_by_number_and_by_attribute)
{
    static const struct {
        const char *what[3];
        uint32_t removed;
        const char *refused;
    } rows[] = {
        {{"1"}, 1, NULL},
        {{"5"}, 5, NULL},
        {{"6"}, 0, "--remove 6: there are only 5 machines that are up"},
        {{"0"}, 0, "is not a number of machines"},
        {{"rack=r1"}, 2, NULL},
        {{"rack != r1"}, 3, NULL},
        {{"machine in m0,m4"}, 2, NULL},
        {{"rack exists", "machine=m4"}, 3, NULL},
        {{"rack=r1", "3"}, 5, NULL},
        {{"rack=r1", "4"}, 0, "there are only 3 machines that are up"},
        {{"rack=r9"}, 0, "no machine that is up has rack=r9"},
        {{"m1", "m4"}, 2, NULL},
        {{"m1", "m1"}, 0, "no machine \"m1\" is up"},
        {{"m9"}, 0, "no machine \"m9\" is up"},
        {{"m1?"}, 0, "--remove: \"m1?\" says nothing of m1?"},
        {{""}, 0, "--remove: "},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct fixture f;
        struct what_if w;
        size_t count = 0;
        while (rows[i].what[count] != NULL)
            count++;
        fixture_open(&f,
                     MACHINES "m0,1,1,0,0,,\nm1,1,1,0,0,rack=r1,\nm2,1,1,0,0,rack=r1,\n"
                              "m3,1,1,0,0,,\nm4,1,1,0,0,,\n",
                     TASKS);
        int rc = what_if_remove(&f.sim, rows[i].what, count, 1, &w, &t_err);
        if (rows[i].refused != NULL)
            T_CONTAINS(t_err.msg, rows[i].refused);
        ck_assert_msg((rc != 0) == (rows[i].refused != NULL), "row %zu", i);
        ck_assert_msg(rc != 0 || w.removed_count == rows[i].removed, "row %zu: %u", i,
                      w.removed_count);
        what_if_release(&w);
        fixture_close(&f);
    }
}
END_TEST

START_TEST(a_page_escapes_foreign_text)
{
    CLEANUP(buf_release) struct buf text = {0};
    html_escape(&text, "a<b>&\"c' \x1b[1m\n");
    ck_assert_str_eq(buf_text(&text), "a&lt;b&gt;&amp;&quot;c&#39; ?[1m?");
}
END_TEST

/* Return the number of occurrences of `what` in `text`. */
static int count_of(const char *text, const char *what)
{
    int count = 0;
    for (const char *p = text; (p = strstr(p, what)) != NULL; p += strlen(what))
        count++;
    return count;
}

/* A page with all sections has no external references, and all its elements are closed. */
START_TEST(a_page_is_complete_and_self_contained)
{
    static const char *const closed[][2] = {{"<svg ", "</svg>"},     {"<section>", "</section>"},
                                            {"<table>", "</table>"}, {"<text ", "</text>"},
                                            {"<title>", "</title>"}, {"<div ", "</div>"},
                                            {"<style>", "</style>"}};
    static const char *const never[] = {"<script", "http:", "https:", "url(", "nan", "inf"};
    static const char *const there[] = {
        "&lt;a&amp;b&gt;.csv", "Queue over time", "Utilisation over time",
        "<b>2</b><span>tasks", "production",      "What if 1 machines go"};
    struct fixture f;
    struct what_if w;
    struct compact_bound bound;
    struct compact results[POLICY_COUNT];
    bool done[POLICY_COUNT] = {[POLICY_BEST_FIT] = true};
    const char *all = "1", *dir = t_dir();
    CLEANUP(buf_release) struct buf page = {0}, compacted = {0};
    struct history *h = xcalloc(1, sizeof *h);
    fixture_choose(&f, MACHINES "m0,2000,64,0,0,,\n", timed_tasks, WHEN_UNTIL, INT64_MAX);
    T_OK(sim_run_over_time(&f.sim, &f.workload, (struct history_watch){0}, h, &t_err));
    struct sim_figures figures = sim_figures(&f.sim);
    struct findings found = {&figures, &f.workload, h};
    html_report(&page, "<a&b>.csv", &found, &f.sim);
    T_OK(what_if_remove(&f.sim, &all, 1, 1, &w, &t_err));
    html_what_if(&page, &f.sim, &w);
    T_OK(compact_prepare(&f.workload, &bound, &t_err));
    T_OK(compact(&f.workload, &bound, POLICY_BEST_FIT, 1, unwatched, &results[POLICY_BEST_FIT],
                 &t_err));
    html_compact(&compacted, "x", &f.workload, &bound, results, done);
    ck_assert_int_eq(count_of(buf_text(&compacted), "<circle "), COMPACT_TRIALS);
    for (size_t i = 0; i < ARRAY_SIZE(closed); i++) {
        ck_assert_int_eq(count_of(buf_text(&page), closed[i][0]),
                         count_of(buf_text(&page), closed[i][1]));
        ck_assert_int_eq(count_of(buf_text(&compacted), closed[i][0]),
                         count_of(buf_text(&compacted), closed[i][1]));
    }
    for (size_t i = 0; i < ARRAY_SIZE(never); i++)
        ck_assert_msg(strstr(buf_text(&page), never[i]) == NULL, "%s", never[i]);
    for (size_t i = 0; i < ARRAY_SIZE(there); i++)
        ck_assert_msg(strstr(buf_text(&page), there[i]) != NULL, "%s", there[i]);
    T_OK(html_write(t_path(dir, "page.html"), &page, &t_err));
    T_REFUSED(html_write(t_path(dir, "none/page.html"), &page, &t_err), ERR_IO);
    what_if_release(&w);
    fixture_close(&f);
    free(h);
}
END_TEST

/* Return the sum of the numbers after each occurrence of `what`. */
static uint64_t sum_after(const char *text, const char *what)
{
    uint64_t sum = 0;
    for (const char *p = text; (p = strstr(p, what)) != NULL; p += strlen(what))
        sum += strtoull(p + strlen(what), NULL, 10);
    return sum;
}

START_TEST(a_page_counts_each_machine_once_with_the_amounts_of_the_text)
{
    struct fixture f;
    CLEANUP(buf_release) struct buf page = {0};
    fixture_open(&f,
                 MACHINES "m0,2000,65536,0,0,,\nm1,2000,65536,0,0,,\nm2,4000,65536,0,0,,\n"
                          "m3,2000,65536,0,0,,\nm4,2000,65536,0,0,,\n",
                 TASKS);
    struct sim_figures figures = sim_figures(&f.sim);
    struct findings found = {&figures, &f.workload, NULL};
    html_report(&page, "x", &found, &f.sim);
    ck_assert_uint_eq(sum_after(buf_text(&page), "<title>"), 5);
    ck_assert_uint_le(sum_after(buf_text(&page), "in doublings, up to "), 5);
    T_CONTAINS(buf_text(&page), "<td>320.0Gi");
    T_CONTAINS(buf_text(&page), "<td>12.0<td>");
    fixture_close(&f);
}
END_TEST

START_TEST(a_file_that_is_not_a_cell_is_refused)
{
    struct sim sim;
    const char *dir = t_dir();
    sqlite3 *db;
    sim_init(&sim);
    T_REFUSED(sim_load_checkpoint(&sim, t_path(dir, "none.db"), &t_err), ERR_IO);
    write_file(dir, "text.db", "this is no database at all, but it is long enough to look at\n");
    T_REFUSED(sim_load_checkpoint(&sim, t_path(dir, "text.db"), &t_err), ERR_CORRUPT);
    ck_assert_int_eq(sqlite3_open(t_path(dir, "other.db"), &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(db, "CREATE TABLE t (x)", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    T_REFUSED(sim_load_checkpoint(&sim, t_path(dir, "other.db"), &t_err), ERR_INVALID);
    T_CONTAINS(t_err.msg, "other.db: it is a SQLite database, but not the cell.db of a cell");
    sim_release(&sim);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("simulate");
    TCase *c = tcase_create("simulate");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, figures_match_those_computed_by_hand);
    tcase_add_test(c, input_that_a_cell_cannot_express_is_counted);
    tcase_add_test(c, constraints_of_a_trace_hold);
    tcase_add_test(c, conflicts_and_gpus_of_a_trace_hold);
    tcase_add_test(c, covering_domains_becomes_the_bound_that_forces_it);
    tcase_add_test(c, time_advances_from_event_to_event);
    tcase_add_test(c, evicted_tasks_start_over);
    tcase_add_test(c, a_moment_has_the_tasks_that_run_then);
    tcase_add_test(c, mapped_priorities_keep_band_and_order);
    tcase_add_test(c, compaction_finds_the_number_of_machines_needed);
    tcase_add_test(c, compaction_draws_the_machines_and_takes_the_90th_percentile);
    tcase_add_test(c, compaction_softens_constraints_of_large_jobs);
    tcase_add_test(c, a_real_cell_becomes_a_workload);
    tcase_add_test(c, how_many_counts_tasks_without_evictions);
    tcase_add_test(c, removed_machines_cause_evictions_of_lower_priority);
    tcase_add_test(c, machines_are_removed_by_number_and_by_attribute);
    tcase_add_test(c, a_page_escapes_foreign_text);
    tcase_add_test(c, a_page_is_complete_and_self_contained);
    tcase_add_test(c, a_page_counts_each_machine_once_with_the_amounts_of_the_text);
    tcase_add_test(c, a_file_that_is_not_a_cell_is_refused);
    suite_add_tcase(s, c);
    return t_main(s);
}
