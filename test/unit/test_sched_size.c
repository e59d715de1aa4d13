/*
 * test_sched_size.c - large cells cost what they should: work is counted, not timed.
 */
#include "sched_fixture.h"

enum { MACHINES = 2000, TASKS = 20000, STUCK_JOBS = 10, STUCK_TASKS = 1000 };

static struct world full_size(struct sched *sched, int64_t cpu)
{
    struct world w = world_new();
    char name[16];
    for (int i = 0; i < MACHINES; i++) {
        struct cmd cmd = {.kind = CMD_MACHINE_REGISTER};
        snprintf(name, sizeof name, "m%d", i);
        str_copy(cmd.machine_register.name, sizeof cmd.machine_register.name, name);
        str_copy(cmd.machine_register.addr, sizeof cmd.machine_register.addr, "a:1");
        cmd.machine_register.capacity = amounts(cpu, 1000, 0, 0);
        cell_apply(w.cell, &cmd, &w.changes, &w.answer);
    }
    world_tell_all(&w, sched);
    return w;
}

static uint32_t place_all(struct sched *sched)
{
    struct cmd_schedule out;
    uint32_t placed = 0;
    while (sched_pass(sched, &out))
        placed += out.placement_count;
    return placed;
}

START_TEST(one_large_job_is_placed_with_few_scans)
{
    struct sched *sched = sched_new();
    struct world w = full_size(sched, 12000);
    struct job_spec spec = spec_named("large", "alice", 200);
    spec.replicas = TASKS;
    world_job(&w, spec);
    world_tell(&w, sched);
    ck_assert_uint_eq(place_all(sched), TASKS);
    /* A machine that is filled is left for good: about one scan of all machines per machine used.
     */
    ck_assert_uint_le(sched_stats(sched).machines_scanned, (uint64_t)MACHINES * MACHINES);
    sched_free(sched);
    world_release(&w);
}
END_TEST

/* A cell whose every machine is filled by prod, and ten jobs that wait for room in vain. */
static job_id fill(struct world *w, struct sched *sched)
{
    struct job_spec filler = spec_named("filler", "alice", 200);
    filler.replicas = MACHINES;
    job_id job = world_job(w, filler);
    world_tell(w, sched);
    world_settle(w, sched);
    for (int i = 0; i < STUCK_JOBS; i++) {
        char name[16];
        snprintf(name, sizeof name, "stuck%d", i);
        struct job_spec stuck = spec_named(name, "bob", 100);
        stuck.replicas = STUCK_TASKS;
        world_job(w, stuck);
        world_tell(w, sched);
    }
    world_settle(w, sched);
    ck_assert_uint_eq(sched_stats(sched).pending, STUCK_JOBS * STUCK_TASKS);
    return job;
}

START_TEST(a_full_cell_is_not_scanned_again_by_updates_that_cannot_help)
{
    struct sched *sched = sched_new();
    struct world w = full_size(sched, 1000);
    job_id filler = fill(&w, sched);
    uint64_t before = sched_stats(sched).machines_scanned;
    for (uint32_t i = 0; i < 50; i++) {
        ck_assert(world_running(&w, world_task(&w, filler, i), 1));
        world_tell(&w, sched);
        ck_assert(!world_pass(&w, sched));
    }
    ck_assert_uint_eq(sched_stats(sched).machines_scanned, before);
    sched_free(sched);
    world_release(&w);
}
END_TEST

START_TEST(one_machine_that_frees_up_is_the_only_one_looked_at)
{
    struct sched *sched = sched_new();
    struct world w = full_size(sched, 1000);
    job_id filler = fill(&w, sched);
    uint64_t before = sched_stats(sched).machines_scanned;
    ck_assert(world_exited(&w, world_task(&w, filler, 7), 0));
    world_tell(&w, sched);
    ck_assert(world_pass(&w, sched));
    const struct job *first = cell_job_named(w.cell, "stuck0");
    ck_assert_uint_eq(first->counts[TASK_ASSIGNED], 1);
    ck_assert(!world_pass(&w, sched));
    /* Ten jobs look at it and wake, look for room there and for victims; one looks twice. */
    ck_assert_uint_le(sched_stats(sched).machines_scanned - before, STUCK_JOBS * 3 + 3);
    sched_free(sched);
    world_release(&w);
}
END_TEST

START_TEST(woken_jobs_go_on_in_the_next_batch_when_one_is_full)
{
    struct sched *sched = sched_new();
    struct world w = full_size(sched, 1000);
    job_id filler = fill(&w, sched);
    for (uint32_t i = 0; i < 1500; i++) {
        struct report r = {.task = attempt_of(world_task(&w, filler, i)), .kind = REPORT_EXITED};
        struct cmd cmd = {.kind = CMD_REPORT, .report = {&r, 1}};
        r.machine = world_task(&w, filler, i)->machine;
        cell_apply(w.cell, &cmd, &w.changes, &w.answer);
        if (i == 1200) { /* the rest comes between the batches */
            world_tell(&w, sched);
            changes_clear(&w.changes);
            struct cmd_schedule out;
            ck_assert(sched_pass(sched, &out));
            ck_assert_uint_eq(out.placement_count, CMD_PLACEMENTS_MAX);
        }
    }
    world_tell(&w, sched);
    ck_assert_uint_eq(place_all(sched), 1500 - CMD_PLACEMENTS_MAX);
    sched_free(sched);
    world_release(&w);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sched_size");
    TCase *tcase = tcase_create("size");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, one_large_job_is_placed_with_few_scans);
    tcase_add_test(tcase, a_full_cell_is_not_scanned_again_by_updates_that_cannot_help);
    tcase_add_test(tcase, one_machine_that_frees_up_is_the_only_one_looked_at);
    tcase_add_test(tcase, woken_jobs_go_on_in_the_next_batch_when_one_is_full);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
