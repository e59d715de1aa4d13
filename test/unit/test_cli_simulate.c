/*
 * test_cli_simulate.c - simulations small enough to know their figures by hand.
 */
#include "simulate_compact.h"
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

/* Three machines of 4 cpus and 8 GiB; work for two and a half of them in cpu. */
static const char small_machines[] = MACHINES "m0,4000,8192,0,0,,\n"
                                              "m1,4000,8192,0,1000,a=b,r1\n"
                                              "m2,4000,8192,0,0,,r1\n";
static const char small_tasks[] = TASKS "a,0,9,prod,0,-1,4000,1024,0,0,\n"
                                        "b,0,2,,0,60,2000,1024,77,0,x=1\n"
                                        "b,1,2,,0,60,2000,1024,77,0,x=1\n"
                                        "c,0,0,,0,-1,2000,0,0,500,\n"
                                        "d,0,0,,0,-1,5000,1024,0,0,\n"
                                        "e,0,11,prod,5,-1,1000,1024,0,0,\n"
                                        "a,1,10,prod,0,-1,4000,1024,0,0,\n";

static const struct sim_load at_start = {.policy = POLICY_STRANDING_AWARE};

START_TEST(figures_are_those_known_by_hand)
{
    struct sim sim;
    struct sim_ignored g = {0};
    struct trace trace = trace_of(small_machines, small_tasks);
    sim_init(&sim);
    T_OK(sim_load_trace(&sim, &trace, &at_start, &g, &t_err));
    sim_run(&sim);
    cell_check(sim.cell);
    struct sim_figures f = sim_figures(&sim);
    /* a/0 and a/1 fill a machine each, b's two the third; c and d find nothing. */
    ck_assert_uint_eq(f.machines, 3);
    ck_assert_uint_eq(f.jobs, 5);
    ck_assert_uint_eq(f.tasks, 6);
    ck_assert_uint_eq(f.placed, 4);
    ck_assert_uint_eq(f.pending, 2);
    ck_assert_uint_eq(f.evicted, 0);
    ck_assert_int_eq(f.capacity.v[RES_CPU], 12000);
    ck_assert_int_eq(f.used.v[RES_CPU], 12000);
    ck_assert_int_eq(f.demand.v[RES_CPU], 19000);
    ck_assert_int_eq(f.used.v[RES_RAM], INT64_C(4) << 30);
    ck_assert_int_eq(f.demand.v[RES_RAM], (INT64_C(5) << 30) + (1 << 20));
    ck_assert_uint_eq(f.stranded_machines, 3);
    ck_assert_int_eq(f.stranded.v[RES_CPU], 0);
    ck_assert_int_eq(f.stranded.v[RES_RAM], INT64_C(20) << 30);
    ck_assert_uint_ge(f.passes, 1);
    /* The second part of job a has a name of its own, monitoring priority and goes first. */
    const struct job *part = cell_job_named(sim.cell, "a.line8");
    ck_assert_ptr_nonnull(part);
    ck_assert_uint_eq(part->spec.priority, 360);
    ck_assert_uint_eq(cell_job_named(sim.cell, "a")->spec.priority, 200);
    ck_assert_uint_eq(cell_job_named(sim.cell, "b")->spec.priority, 100);
    sim_release(&sim);
    trace_release(&trace);
}
END_TEST

START_TEST(what_a_cell_cannot_take_is_counted)
{
    struct sim sim;
    struct sim_ignored g = {0};
    struct trace trace = trace_of(small_machines, small_tasks);
    sim_init(&sim);
    T_OK(sim_load_trace(&sim, &trace, &at_start, &g, &t_err));
    ck_assert_uint_eq(g.later, 1);
    ck_assert_uint_eq(g.durations, 2);
    ck_assert_uint_eq(g.gpus, 1);
    ck_assert_uint_eq(g.constraints, 2);
    ck_assert_uint_eq(g.raised, 1);
    ck_assert_uint_eq(g.disks, 2);
    ck_assert_uint_eq(g.qos, 2); /* e is left out */
    ck_assert_uint_eq(g.attributes, 1);
    ck_assert_uint_eq(g.failure_domains, 2);
    ck_assert_uint_eq(g.machine_gpus, 1);
    ck_assert(g.priorities_2011);
    sim_release(&sim);
    trace_release(&trace);
}
END_TEST

START_TEST(priorities_keep_their_band_and_its_order)
{
    static const enum band bands[] = {
        BAND_FREE,  BAND_FREE,  BAND_BATCH, BAND_BATCH,      BAND_BATCH,      BAND_BATCH,
        BAND_BATCH, BAND_BATCH, BAND_BATCH, BAND_PRODUCTION, BAND_MONITORING, BAND_PRODUCTION};
    for (uint32_t p = 0; p < ARRAY_SIZE(bands); p++) {
        ck_assert_int_eq(band_of(sim_priority(p, true)), bands[p]);
        for (uint32_t q = 0; q < p; q++)
            if (bands[q] == bands[p])
                ck_assert_uint_lt(sim_priority(q, true), sim_priority(p, true));
    }
    ck_assert_uint_eq(sim_priority(117, false), 117);
}
END_TEST

/* Tasks that fill a machine each: any policy needs as many machines, clones included. */
START_TEST(compaction_finds_how_many_machines_it_takes)
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
        struct trace trace = trace_of(buf_text(&machines), buf_text(&tasks));
        T_OK(compact_bound(&trace, &at_start, &bound, &t_err));
        ck_assert_double_eq_tol(bound.percent, 100.0 * rows[i].needed / rows[i].machines, 0.001);
        T_OK(compact(&trace, &at_start, &bound, 1, NULL, NULL, &c, &t_err));
        ck_assert_msg(c.machines == rows[i].needed, "row %zu: %u", i, c.machines);
        for (int t = 0; t < COMPACT_TRIALS; t++)
            ck_assert_uint_eq(c.needed[t], rows[i].needed);
        trace_release(&trace);
    }
}
END_TEST

/* Half of the machines are large: how many it takes depends on which were drawn. */
START_TEST(compaction_draws_the_machines_and_takes_the_90th_percentile)
{
    CLEANUP(buf_release) struct buf machines = {0};
    struct compact_bound bound;
    struct compact c = {0}, again = {0};
    buf_printf(&machines, "%s", MACHINES);
    for (int m = 0; m < 40; m++)
        buf_printf(&machines, "m%d,%d,1024,0,0,,\n", m, m % 2 == 0 ? 1000 : 3000);
    struct trace trace = trace_of(buf_text(&machines), TASKS "j,0,200,,0,-1,1000,1,0,0,\n"
                                                             "j,1,200,,0,-1,1000,1,0,0,\n"
                                                             "j,2,200,,0,-1,1000,1,0,0,\n"
                                                             "j,3,200,,0,-1,1000,1,0,0,\n"
                                                             "j,4,200,,0,-1,1000,1,0,0,\n"
                                                             "j,5,200,,0,-1,1000,1,0,0,\n");
    T_OK(compact_bound(&trace, &at_start, &bound, &t_err));
    T_OK(compact(&trace, &at_start, &bound, 1, NULL, NULL, &c, &t_err));
    T_OK(compact(&trace, &at_start, &bound, 1, NULL, NULL, &again, &t_err));
    ck_assert_uint_ge(c.needed[0], 2);
    ck_assert_uint_le(c.needed[COMPACT_TRIALS - 1], 6);
    ck_assert_uint_lt(c.needed[0], c.needed[COMPACT_TRIALS - 1]);
    ck_assert_uint_eq(c.machines, c.needed[9]); /* of 11, smallest first */
    ck_assert_mem_eq(&c, &again, sizeof c);
    trace_release(&trace);
}
END_TEST

START_TEST(more_tasks_are_counted_without_evicting_anybody)
{
    struct sim sim;
    struct sim_ignored g = {0};
    struct job_spec spec;
    uint64_t more;
    struct trace trace = trace_of(MACHINES "m0,4000,4096,0,0,,\nm1,2500,4096,0,0,,\n",
                                  TASKS "low,0,0,,0,-1,500,512,0,0,\n");
    sim_init(&sim);
    T_OK(sim_load_trace(&sim, &trace, &at_start, &g, &t_err));
    sim_run(&sim);
    spec_init(&spec);
    str_copy(spec.name, sizeof spec.name, "web");
    words_add(&spec.argv, "true");
    spec.priority = 200;
    spec.limit = (struct resources){{1000, 1 << 20, 0, 0}};
    T_OK(what_if_more(&sim, &spec, &more, &t_err));
    /* 4 and 2, or 3 and 2 where the small task stands on m0; it went where less is stranded. */
    ck_assert_uint_eq(more,
                      cell_task(sim.cell, task_id_of((job_id){1}, 0))->machine.v == 1 ? 5 : 6);
    ck_assert_uint_eq(sim.evicted, 0);
    spec_release(&spec);
    sim_release(&sim);
    trace_release(&trace);
}
END_TEST

/* Two machines: production on one, batch on the other. Without the first, batch has to go. */
START_TEST(machines_taken_away_push_out_lower_work)
{
    struct sim sim;
    struct sim_ignored g = {0};
    struct what_if w;
    struct trace trace = trace_of(MACHINES "m0,4000,4096,0,0,,\nm1,4000,4096,0,0,,\n",
                                  TASKS "prod,0,9,,0,-1,4000,512,0,0,\n"
                                        "batch,0,2,,0,-1,2000,512,0,0,\n"
                                        "batch,1,2,,0,-1,2000,512,0,0,\n");
    sim_init(&sim);
    T_OK(sim_load_trace(&sim, &trace, &at_start, &g, &t_err));
    sim_run(&sim);
    machine_id lost = cell_task(sim.cell, task_id_of((job_id){1}, 0))->machine;
    const char *name = cell_machine(sim.cell, lost)->name;
    T_OK(what_if_remove(&sim, &name, 1, 0, 1, &w, &t_err));
    cell_check(sim.cell);
    ck_assert_uint_eq(w.removed_count, 1);
    ck_assert_uint_eq(w.lost, 1);
    ck_assert_uint_eq(w.evicted, 2);
    ck_assert_uint_eq(w.pending, 2);
    ck_assert_uint_eq(w.job_count, 1);
    ck_assert_uint_eq(w.jobs[0].job.v, 2);
    what_if_release(&w);
    T_REFUSED(what_if_remove(&sim, &name, 1, 0, 1, &w, &t_err), ERR_STATE);
    what_if_release(&w);
    const char *none = "m9";
    T_REFUSED(what_if_remove(&sim, &none, 1, 0, 1, &w, &t_err), ERR_NOT_FOUND);
    what_if_release(&w);
    T_REFUSED(what_if_remove(&sim, NULL, 0, 2, 1, &w, &t_err), ERR_INVALID);
    T_CONTAINS(t_err.msg, "only 1 machines are up");
    what_if_release(&w);
    sim_release(&sim);
    trace_release(&trace);
}
END_TEST

START_TEST(a_file_that_is_no_cell_is_refused)
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
    T_CONTAINS(t_err.msg, "other.db: a database, but not the cell.db of a cell");
    sim_release(&sim);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("simulate");
    TCase *c = tcase_create("simulate");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, figures_are_those_known_by_hand);
    tcase_add_test(c, what_a_cell_cannot_take_is_counted);
    tcase_add_test(c, priorities_keep_their_band_and_its_order);
    tcase_add_test(c, compaction_finds_how_many_machines_it_takes);
    tcase_add_test(c, compaction_draws_the_machines_and_takes_the_90th_percentile);
    tcase_add_test(c, more_tasks_are_counted_without_evicting_anybody);
    tcase_add_test(c, machines_taken_away_push_out_lower_work);
    tcase_add_test(c, a_file_that_is_no_cell_is_refused);
    suite_add_tcase(s, c);
    return t_main(s);
}
