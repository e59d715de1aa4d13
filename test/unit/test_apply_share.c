/*
 * test_apply_share.c - the share of one user: live tasks, live jobs, and the memory for ended jobs.
 */
#include "cell_fixture.h"

/* Without cell_check(): these tests fake counters that would take minutes to reach by submits. */
static enum err_code apply(struct world *w, const char *user, struct cmd cmd)
{
    str_copy(cmd.user, sizeof cmd.user, user);
    changes_clear(&w->changes);
    cell_apply(w->cell, &cmd, &w->changes, &w->answer);
    cmd_release(&cmd);
    return w->answer.code;
}

static enum err_code submit(struct world *w, const char *user, const char *name, uint32_t replicas,
                            uint32_t priority)
{
    struct cmd cmd = {.kind = CMD_JOB_SUBMIT, .job_submit = spec_named(name, user, priority)};
    cmd.job_submit.replicas = replicas;
    return apply(w, user, cmd);
}

static enum err_code kill_job(struct world *w, const char *user, const char *name)
{
    struct cmd cmd = {.kind = CMD_JOB_KILL};
    str_copy(cmd.job_kill.name, sizeof cmd.job_kill.name, name);
    return apply(w, user, cmd);
}

static enum err_code update(struct world *w, const char *user, const char *name, int64_t replicas)
{
    struct cmd cmd = {.kind = CMD_JOB_UPDATE,
                      .job_update = {.replicas = replicas, .priority = JOB_UPDATE_KEEP}};
    str_copy(cmd.job_update.name, sizeof cmd.job_update.name, name);
    return apply(w, user, cmd);
}

static void says(const struct world *w, const char *part)
{
    ck_assert_msg(strstr(w->answer.msg, part) != NULL, "%s", w->answer.msg);
}

START_TEST(a_user_without_quota_gets_half_of_the_remaining_tasks)
{
    struct world w = world_new();
    ck_assert_int_eq(submit(&w, "ada", "a", 300, 50), ERR_OK);
    w.cell->live_tasks += CELL_TASKS_MAX - 1000; /* the other users leave 1,000 */
    ck_assert_int_eq(submit(&w, "ada", "b", 201, 50), ERR_LIMIT);
    says(&w, "user \"ada\" has 300 live tasks and asks for 201 more: who has no quota of tasks may "
             "have half of the 1000");
    ck_assert_int_eq(submit(&w, "ada", "b", 200, 50), ERR_OK);
    ck_assert_int_eq(submit(&w, "ada", "c", 1, 50), ERR_LIMIT);
    ck_assert_int_eq(update(&w, "ada", "b", 201), ERR_LIMIT);
    ck_assert_int_eq(submit(&w, "bob", "d", 250, 50), ERR_OK); /* half of the rest */
    ck_assert_int_eq(submit(&w, "bob", "e", 1, 50), ERR_LIMIT);
    world_release(&w);
}
END_TEST

/* Rows of ended tasks use as much memory as live ones. */
START_TEST(removed_tasks_count_while_their_job_lives)
{
    struct world w = world_new();
    w.cell->live_tasks = CELL_TASKS_MAX - 1000;
    ck_assert_int_eq(submit(&w, "ada", "a", 500, 50), ERR_OK);
    ck_assert_int_eq(update(&w, "ada", "a", 1), ERR_OK);
    ck_assert_int_eq(submit(&w, "ada", "b", 1, 50), ERR_LIMIT);
    ck_assert_int_eq(update(&w, "ada", "a", 500), ERR_OK); /* these rows exist */
    ck_assert_int_eq(kill_job(&w, "ada", "a"), ERR_OK);
    ck_assert_int_eq(submit(&w, "ada", "b", 500, 50), ERR_OK);
    world_release(&w);
}
END_TEST

START_TEST(a_quota_of_tasks_and_an_operator_may_exceed_the_half)
{
    struct world w = world_new();
    w.cell->live_tasks = CELL_TASKS_MAX - 1000;
    struct cmd quota = {.kind = CMD_QUOTA_SET,
                        .quota_set = {.quota = {.user = "ada", .band = BAND_BATCH, .tasks = 800}}};
    for (int r = 0; r < RES_COUNT; r++)
        quota.quota_set.quota.limit.v[r] = QUOTA_UNLIMITED;
    ck_assert_int_eq(submit(&w, "ada", "a", 700, 100), ERR_LIMIT);
    says(&w, "have an operator set one (borgctl quota set)");
    ck_assert_int_eq(apply(&w, "root", quota), ERR_OK);
    ck_assert_int_eq(submit(&w, "ada", "a", 700, 100), ERR_OK);
    ck_assert_int_eq(submit(&w, "ada", "b", 101, 100), ERR_LIMIT);
    says(&w, "over the quota");
    ck_assert_int_eq(submit(&w, "ada", "b", 1, 50),
                     ERR_LIMIT); /* there is no quota in another band */
    ck_assert_int_eq(submit(&w, "root", "c", 300, 100), ERR_OK);
    world_release(&w);
}
END_TEST

START_TEST(one_user_gets_half_of_the_remaining_jobs)
{
    struct world w = world_new();
    char name[16];
    w.cell->job_count = CELL_JOBS_MAX - CELL_JOBS_DEAD_MAX - 20;
    for (int i = 0; i < 10; i++) {
        snprintf(name, sizeof name, "j%d", i);
        ck_assert_int_eq(submit(&w, "ada", name, 1, 50), ERR_OK);
    }
    ck_assert_int_eq(submit(&w, "ada", "more", 1, 50), ERR_LIMIT);
    says(&w, "user \"ada\" has 10 live jobs: one user may have half of the 20");
    ck_assert_int_eq(kill_job(&w, "ada", "j3"), ERR_OK);
    ck_assert_int_eq(submit(&w, "ada", "more", 1, 50), ERR_OK);
    ck_assert_int_eq(submit(&w, "bob", "bobs", 1, 50), ERR_OK);
    world_release(&w);
}
END_TEST

START_TEST(the_user_with_the_most_ended_jobs_loses_the_oldest)
{
    struct world w = world_new();
    char name[16];
    ck_assert_int_eq(submit(&w, "ann", "web", 1, 50), ERR_OK);
    ck_assert_int_eq(kill_job(&w, "ann", "web"), ERR_OK);
    for (int i = 0; i < CELL_JOBS_DEAD_MAX + 10; i++) {
        snprintf(name, sizeof name, "m%d", i);
        ck_assert_int_eq(submit(&w, "eve", name, 1, 50), ERR_OK);
        ck_assert_int_eq(kill_job(&w, "eve", name), ERR_OK);
    }
    cell_check(w.cell);
    ck_assert_uint_eq(w.cell->dead_job_count, CELL_JOBS_DEAD_MAX);
    ck_assert_ptr_nonnull(cell_job_named(w.cell, "web"));
    ck_assert_ptr_null(cell_job_named(w.cell, "m10"));
    ck_assert_ptr_nonnull(cell_job_named(w.cell, "m11"));
    ck_assert_int_eq(submit(&w, "eve", "web", 1, 50), ERR_EXISTS);
    says(&w, "was a job of user \"ann\"");
    ck_assert_int_eq(submit(&w, "ann", "web", 1, 50), ERR_OK);
    cell_check(w.cell);
    world_release(&w);
}
END_TEST

/* Two ended jobs of one name but of different users: no valid checkpoint contains this. */
START_TEST(a_checkpoint_with_one_name_for_two_users_is_refused)
{
    struct cell *cell = cell_new();
    struct err err = {0};
    cell->next_job = 3;
    for (uint64_t id = 1; id <= 2; id++) {
        struct job row = {.id = {id},
                          .task_count = 1,
                          .killed = true,
                          .spec = spec_named("web", id == 1 ? "ann" : "eve", 50)};
        struct task task = {.id = task_id_of((job_id){id}, 0), .state = TASK_KILLED};
        ck_assert_int_eq(cell_load_job(cell, &row, &err), 0);
        ck_assert_int_eq(cell_load_task(cell, &task, &err), 0);
        spec_release(&row.spec);
    }
    ck_assert_int_eq(cell_load_done(cell, &err), -ERR_CORRUPT);
    ck_assert_str_eq(err.msg, "job 1: another user has a newer \"web\"");
    cell_free(cell);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("apply_share");
    TCase *tcase = tcase_create("share");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, a_user_without_quota_gets_half_of_the_remaining_tasks);
    tcase_add_test(tcase, removed_tasks_count_while_their_job_lives);
    tcase_add_test(tcase, a_quota_of_tasks_and_an_operator_may_exceed_the_half);
    tcase_add_test(tcase, one_user_gets_half_of_the_remaining_jobs);
    tcase_add_test(tcase, the_user_with_the_most_ended_jobs_loses_the_oldest);
    tcase_add_test(tcase, a_checkpoint_with_one_name_for_two_users_is_refused);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
