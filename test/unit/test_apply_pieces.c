/*
 * test_apply_pieces.c - a command applied in pieces has exactly the effect of the whole command.
 *
 * Each row of `scenes` is a cell and a command on many of its tasks. It is applied as a whole to
 * one such cell, and in pieces of several sizes to others. test_apply_random does the same with
 * random commands on small jobs.
 */
#include "draw_cmd.h"
#include "why_rows.h"

enum { TASKS = 300, MACHINES = 40, ALLOCS = 30 };

static job_id submit(struct world *w, const char *name, uint32_t replicas, uint32_t priority)
{
    struct job_spec spec = spec_named(name, "ada", priority);
    spec.limit = amounts(1, 1, 0, 0);
    spec.replicas = replicas;
    return world_job(w, spec);
}

/* Place tasks `from` to `to` on one machine after another; in allocs of a job, if given. */
static void place(struct world *w, job_id job, uint32_t from, uint32_t to, job_id allocs)
{
    for (uint32_t i = from; i < to; i++) {
        struct placement p = {.task = attempt_of(world_task(w, job, i)),
                              .machine = {i % MACHINES + 1}};
        if (allocs.v != 0) {
            p.alloc = task_id_of(allocs, i % ALLOCS);
            p.machine = cell_task(w->cell, p.alloc)->machine;
        }
        ck_assert(world_placement(w, p, NULL));
    }
}

static struct world machines(void)
{
    struct world w = world_new();
    world_wake(&w, (task_id){0}, 1000000);
    for (int i = 0; i < MACHINES; i++) {
        char name[16];
        snprintf(name, sizeof name, "m%d", i);
        world_machine(&w, name, amounts(1000, 1000, 10, 10));
    }
    return w;
}

static struct cmd cmd_submit(uint32_t replicas)
{
    struct cmd cmd = {.kind = CMD_JOB_SUBMIT, .job_submit = spec_named("web", "ada", 100)};
    cmd.job_submit.replicas = replicas;
    return cmd;
}

static struct cmd cmd_kill(const char *name)
{
    struct cmd cmd = {.kind = CMD_JOB_KILL};
    str_copy(cmd.job_kill.name, sizeof cmd.job_kill.name, name);
    return cmd;
}

static struct cmd cmd_update(int64_t replicas, int64_t priority, int64_t cpu)
{
    struct cmd cmd = {.kind = CMD_JOB_UPDATE,
                      .job_update = {.replicas = replicas, .priority = priority}};
    str_copy(cmd.job_update.name, sizeof cmd.job_update.name, "web");
    cmd.job_update.resized = cpu != 0 ? BIT(RES_CPU) : 0;
    cmd.job_update.limit.v[RES_CPU] = cpu;
    return cmd;
}

static struct cmd cmd_quota(int64_t tasks)
{
    struct cmd cmd = {.kind = CMD_QUOTA_SET,
                      .quota_set = {.quota = {.user = "ada", .band = BAND_BATCH, .tasks = tasks}}};
    for (int r = 0; r < RES_COUNT; r++)
        cmd.quota_set.quota.limit.v[r] = QUOTA_UNLIMITED;
    return cmd;
}

static struct cmd make_submit(struct world *w)
{
    *w = machines();
    return cmd_submit(TASKS);
}

static struct cmd make_submit_system(struct world *w)
{
    *w = machines();
    for (int i = 0; i < MACHINES; i += 5) {
        char name[16];
        snprintf(name, sizeof name, "m%d", i);
        ck_assert_int_eq(world_drain(w, name, true), ERR_OK);
    }
    struct cmd quota = cmd_quota(MACHINES - 8), cmd = cmd_submit(1);
    ck_assert_int_eq(world_apply(w, &quota), ERR_OK);
    cmd.job_submit.every_machine = true;
    return cmd;
}

/* New machines exceed the quota until it is raised. */
static struct cmd make_ease(struct world *w)
{
    struct cmd cmd = make_submit_system(w);
    ck_assert_int_eq(world_apply(w, &cmd), ERR_OK);
    for (int i = 0; i < MACHINES; i += 5) {
        char name[16];
        snprintf(name, sizeof name, "m%d", i);
        ck_assert_int_eq(world_drain(w, name, false), ERR_OK);
    }
    ck_assert(cell_job_named(w->cell, "web")->over_quota);
    return cmd_quota(MACHINES - 3);
}

static struct cmd make_kill_system(struct world *w)
{
    struct cmd cmd = make_submit_system(w);
    ck_assert_int_eq(world_apply(w, &cmd), ERR_OK);
    job_id web = w->answer.job;
    for (uint32_t i = 1; i < MACHINES; i += 5)
        place(w, web, i, i + 1, (job_id){0});
    return cmd_kill("web");
}

static struct cmd make_kill_pending(struct world *w)
{
    *w = machines();
    submit(w, "web", TASKS, 100);
    return cmd_kill("web");
}

static struct cmd make_kill_live(struct world *w)
{
    *w = machines();
    job_id web = submit(w, "web", TASKS, 100);
    place(w, web, TASKS / 4, TASKS, (job_id){0});
    return cmd_kill("web");
}

/* An alloc set with a job inside. */
static job_id allocs(struct world *w, uint32_t inside)
{
    *w = machines();
    struct job_spec set = spec_named("web", "ada", 100), job = spec_named("inside", "ada", 100);
    set.is_alloc_set = true;
    set.argv.count = 0;
    words_release(&set.argv);
    set.replicas = ALLOCS;
    set.limit = amounts(100, 100, 0, 0);
    str_copy(job.alloc_set, sizeof job.alloc_set, "web");
    job.replicas = inside;
    job.limit = amounts(2, 1, 0, 0);
    job_id id = world_job(w, set), in = world_job(w, job);
    place(w, id, 0, ALLOCS, (job_id){0});
    place(w, in, 0, inside, id);
    return id;
}

static struct cmd make_kill_allocs(struct world *w)
{
    allocs(w, TASKS);
    return cmd_kill("web");
}

static struct cmd make_cramped(struct world *w)
{
    allocs(w, ALLOCS / 2);
    return cmd_update(JOB_UPDATE_KEEP, JOB_UPDATE_KEEP, 1);
}

static struct cmd make_shrink(struct world *w)
{
    *w = machines();
    job_id web = submit(w, "web", TASKS, 100);
    place(w, web, 10, TASKS - 100, (job_id){0});
    return cmd_update(20, JOB_UPDATE_KEEP, 0);
}

/* Some tasks come back, others are new; the rows of live tasks, and of one that backs off, move. */
static struct cmd make_grow(struct world *w)
{
    *w = machines();
    job_id web = submit(w, "web", 100, 100);
    place(w, web, 0, 50, (job_id){0});
    for (uint32_t i = 0; i < 10; i++)
        ck_assert(world_exited(w, world_task(w, web, i), 1));
    ck_assert_int_eq(world_update(w, "web", 30, JOB_UPDATE_KEEP), ERR_OK);
    task_id waiting;
    ck_assert_uint_eq(cell_wake_due(w->cell, UINT64_MAX, &waiting, 1), 1);
    return cmd_update(TASKS, JOB_UPDATE_KEEP, 0);
}

static struct cmd make_grow_a_lot(struct world *w)
{
    *w = machines();
    submit(w, "web", 1, 100);
    return cmd_update(TASKS, 110, 0);
}

static struct cmd make_production(struct world *w)
{
    *w = machines();
    job_id web = submit(w, "web", TASKS, 100);
    place(w, web, 5, TASKS - 7, (job_id){0});
    return cmd_update(JOB_UPDATE_KEEP, 200, 0);
}

static struct cmd make_no_production(struct world *w)
{
    *w = machines();
    job_id web = submit(w, "web", TASKS, 200);
    place(w, web, 0, TASKS, (job_id){0});
    return cmd_update(TASKS - 50, 100, 3);
}

/* On m20 most of the reservation of production is reclaimed and used by web. */
static struct cmd make_unsound(struct world *w)
{
    *w = machines();
    struct job_spec spec = spec_named("prod", "ada", 200);
    spec.limit = amounts(1, 900, 0, 0);
    job_id prod = world_job(w, spec), web = submit(w, "web", TASKS, 100);
    ck_assert(world_place(w, attempt_of(world_task(w, prod, 0)), (machine_id){21}, NULL, 0));
    ck_assert(world_running(w, world_task(w, prod, 0), 7));
    for (int i = 0; i < 40; i++) {
        struct cmd cmd = {.kind = CMD_USAGE, .time_ms = w->cell->now_ms + 60000};
        cmd.usage.tasks = xcalloc(1, sizeof *cmd.usage.tasks);
        cmd.usage.tasks[cmd.usage.task_count++] =
            (struct task_usage){attempt_of(world_task(w, prod, 0)), {0, 100}, {21}};
        ck_assert_int_eq(world_apply(w, &cmd), ERR_OK);
    }
    place(w, web, 0, 100, (job_id){0});
    spec = spec_named("batch", "ada", 100);
    spec.limit = amounts(1, 99, 0, 0);
    job_id batch = world_job(w, spec);
    ck_assert(world_place(w, attempt_of(world_task(w, batch, 0)), (machine_id){21}, NULL, 0));
    struct cmd grow = cmd_update(JOB_UPDATE_KEEP, JOB_UPDATE_KEEP, 0);
    grow.job_update.resized = BIT(RES_RAM);
    grow.job_update.limit.v[RES_RAM] = 60;
    ck_assert_int_eq(world_apply(w, &grow), ERR_OK);
    return cmd_update(JOB_UPDATE_KEEP, 200, 0);
}

static struct cmd make_resize(struct world *w)
{
    *w = machines();
    job_id web = submit(w, "web", TASKS, 100);
    place(w, web, 5, TASKS - 7, (job_id){0});
    return cmd_update(JOB_UPDATE_KEEP, JOB_UPDATE_KEEP, 140); /* 7 of them fit */
}

static struct cmd make_resize_again(struct world *w)
{
    *w = machines();
    struct job_spec spec = spec_named("web", "ada", 100);
    spec.limit = amounts(1, 1, 0, 0);
    spec.replicas = TASKS;
    spec.disruptions_max = 20;
    job_id web = world_job(w, spec);
    place(w, web, 0, TASKS, (job_id){0});
    struct cmd cmd = cmd_update(JOB_UPDATE_KEEP, JOB_UPDATE_KEEP, 700);
    ck_assert_int_eq(world_apply(w, &cmd), ERR_OK);
    for (uint32_t i = 0; i < TASKS; i++)
        if (world_task(w, web, i)->stopping != CAUSE_NONE && i % 2 == 0)
            ck_assert(world_exited(w, world_task(w, web, i), 0));
    return (struct cmd){.kind = CMD_JOB_RESIZE, .job_resize = {web}};
}

static struct cmd make_too_large(struct world *w)
{
    *w = machines();
    submit(w, "web", TASKS, 100);
    return cmd_update(JOB_UPDATE_KEEP, JOB_UPDATE_KEEP, 1001);
}

/* An operator takes the name that another user's jobs had. */
static struct cmd make_take_name(struct world *w)
{
    *w = machines();
    for (int i = 0; i < 60; i++) {
        submit(w, i % 3 == 0 ? "other" : "web", 2, 100);
        ck_assert_int_eq(world_kill(w, i % 3 == 0 ? "other" : "web"), ERR_OK);
    }
    struct cmd cmd = cmd_submit(2);
    str_copy(cmd.job_submit.user, sizeof cmd.job_submit.user, "eve");
    return cmd;
}

/* `steps` is the approximate number of rows that are visited or changed: with one unit per piece
 * there are as many pieces. `says` is a part of the answer. */
static const struct scene {
    const char *what;
    struct cmd (*make)(struct world *w);
    enum err_code code;
    int steps;
    const char *says;
} scenes[] = {
    {"submit", make_submit, ERR_OK, TASKS, "submitted with 300 tasks"},
    {"submit on every machine", make_submit_system, ERR_OK, 3 * MACHINES,
     "submitted with 32 tasks, one on each"},
    {"quota eased", make_ease, ERR_OK, MACHINES / 2, "is set"},
    {"kill on every machine", make_kill_system, ERR_OK, MACHINES, "pending: 24, told to stop: 8"},
    {"kill pending", make_kill_pending, ERR_OK, TASKS, "pending: 300, told to stop: 0"},
    {"kill live", make_kill_live, ERR_OK, TASKS, "pending: 75, told to stop: 225"},
    {"kill allocs", make_kill_allocs, ERR_OK, ALLOCS, "told to stop: 30"},
    {"allocs too small", make_cramped, ERR_STATE, ALLOCS / 2, "holds tasks that need more"},
    {"fewer replicas", make_shrink, ERR_OK, TASKS - 20, "replicas 300 to 20 (told to stop: 180)"},
    {"more replicas", make_grow, ERR_OK, TASKS + 70, "replicas 30 to 300"},
    {"many more, other priority", make_grow_a_lot, ERR_OK, TASKS,
     "replicas 1 to 300, priority 100 to 110"},
    {"production", make_production, ERR_OK, 3 * TASKS, "priority 100 to 200"},
    {"no production, fewer, more cpu", make_no_production, ERR_OK, 4 * TASKS,
     "resized in place: 250"},
    {"production refused", make_unsound, ERR_STATE, 2 * TASKS,
     "machine \"m20\" cannot promise \"web/20\""},
    {"more cpu", make_resize, ERR_OK, 2 * TASKS, "resized in place: "},
    {"still more cpu", make_resize_again, ERR_OK, TASKS / 2, "still waiting: "},
    {"no machine has so much", make_too_large, ERR_STATE, TASKS,
     "no machine that is up has so much cpu"},
    {"a name taken", make_take_name, ERR_OK, 60, "submitted with 2 tasks"},
};
static const uint32_t sizes[] = {1, 7, 1000};

static int by_value(const void *x, const void *y)
{
    const uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;
    return a < b ? -1 : a > b;
}

/* The contents of the deltas of all pieces: each id once. */
static void expect_ids(uint64_t *a, size_t a_count, uint64_t *b, size_t b_count)
{
    size_t i = 0, k = 0;
    if (a_count > 0 && b_count > 0) {
        qsort(a, a_count, sizeof *a, by_value);
        qsort(b, b_count, sizeof *b, by_value);
    }
    while (i < a_count && k < b_count) {
        uint64_t id = a[i];
        ck_assert_uint_eq(id, b[k]);
        while (i < a_count && a[i] == id)
            i++;
        while (k < b_count && b[k] == id)
            k++;
    }
    ck_assert_uint_eq(i, a_count);
    ck_assert_uint_eq(k, b_count);
}

static void expect_changes(struct changes *a, struct changes *b)
{
    expect_ids(a->machines, a->machine_count, b->machines, b->machine_count);
    expect_ids(a->jobs, a->job_count, b->jobs, b->job_count);
    expect_ids(a->tasks, a->task_count, b->tasks, b->task_count);
    expect_ids(a->forgotten, a->forgotten_count, b->forgotten, b->forgotten_count);
    ck_assert_uint_eq(a->event_count, b->event_count);
    for (size_t i = 0; i < a->event_count; i++) {
        const struct event *x = &a->events[i], *y = &b->events[i];
        ck_assert_uint_eq(x->seq, y->seq);
        ck_assert_int_eq(x->kind, y->kind);
        ck_assert_uint_eq(x->job.v, y->job.v);
        ck_assert_int_eq(x->task_index, y->task_index);
        ck_assert_str_eq(x->detail, y->detail);
    }
}

/* Check the invariants that readers rely on between two pieces. */
static void expect_readable(const struct cell *cell)
{
    LIST_EACH(l, &cell->jobs)
    {
        const struct job *job = CONTAINER_OF(l, struct job, link);
        uint32_t counts[TASK_STATE_COUNT] = {0};
        for (uint32_t i = 0; i < job->task_count; i++) {
            ck_assert_uint_eq(job->tasks[i].id.v, task_id_of(job->id, i).v);
            ck_assert_ptr_eq(cell_task(cell, job->tasks[i].id), &job->tasks[i]);
            counts[job->tasks[i].state]++;
        }
        ck_assert_int_eq(memcmp(counts, job->counts, sizeof counts), 0);
        ck_assert_int_eq(job_is_dead(job), !list_empty(&job->dead));
    }
    for (uint32_t m = 0; m < cell->machine_count; m++) {
        uint32_t count = 0;
        LIST_EACH(l, &cell->machines[m]->tasks)
        {
            const struct task *task = CONTAINER_OF(l, struct task, link);
            const struct task *same = cell_task(cell, task->id);
            ck_assert_ptr_nonnull(same);
            ck_assert_int_eq(task->state, same->state);
            ck_assert_uint_eq(task->machine.v, m + 1);
            (void)task_limit(cell_job(cell, task_job(task->id)), task);
            count++;
        }
        ck_assert_uint_eq(count, cell->machines[m]->task_count);
    }
}

START_TEST(pieces_of_any_size_have_the_same_effect)
{
    const struct scene *scene = &scenes[(size_t)_i / ARRAY_SIZE(sizes)];
    uint32_t size = sizes[(size_t)_i % ARRAY_SIZE(sizes)];
    struct world once, pieces;
    struct cmd cmd = scene->make(&once), same = scene->make(&pieces);
    struct apply apply;
    int count = 1;
    cmd.request_id[0] = same.request_id[0] = 7;
    cmd.time_ms = same.time_ms = once.cell->now_ms + 5;
    expect_same(once.cell, pieces.cell);
    ck_assert_msg(world_apply(&once, &cmd) == scene->code, "%s: %s", scene->what, once.answer.msg);
    ck_assert_msg(strstr(once.answer.msg, scene->says) != NULL, "%s: %s", scene->what,
                  once.answer.msg);
    changes_clear(&pieces.changes);
    cell_apply_begin(&apply, pieces.cell, &same, &pieces.changes, &pieces.answer);
    for (; !cell_apply_go_on(&apply, size); count++)
        expect_readable(pieces.cell);
    cell_check(pieces.cell);
    expect_same(once.cell, pieces.cell);
    ck_assert_int_eq(pieces.answer.code, once.answer.code);
    ck_assert_str_eq(pieces.answer.msg, once.answer.msg);
    ck_assert_uint_eq(pieces.answer.accepted, once.answer.accepted);
    ck_assert_uint_eq(pieces.answer.job.v, once.answer.job.v);
    expect_changes(&once.changes, &pieces.changes);
    if (size == 1)
        ck_assert_msg(count >= scene->steps, "%s: %d pieces", scene->what, count);
    cmd_release(&same);
    world_release(&once), world_release(&pieces);
}
END_TEST

/* The cell is freed in the middle of a command: the command leaks nothing (checked by ASan). */
START_TEST(a_command_can_be_dropped_after_any_piece)
{
    for (uint32_t pieces = 0; pieces < 100; pieces += 9) {
        struct world w;
        struct cmd cmd = scenes[_i].make(&w);
        struct apply apply;
        bool over = false;
        cell_apply_begin(&apply, w.cell, &cmd, &w.changes, &w.answer);
        for (uint32_t i = 0; i < pieces && !over; i++)
            over = cell_apply_go_on(&apply, 3);
        cell_apply_drop(&apply);
        cmd_release(&cmd);
        world_release(&w);
    }
}
END_TEST

/* The number of allocs that were visited. */
static int64_t why_looked(const struct cell *cell, const char *job)
{
    struct wire_why asked = {.index = -1};
    struct wire_rows rows;
    struct err err = {0};
    int64_t looked = -1;
    str_copy(asked.job, sizeof asked.job, job);
    struct why_rows *why = why_rows_begin(&asked);
    while (!why_rows_go_on(why, cell, 1000))
        ;
    ck_assert_msg(why_rows_end(why, &rows, &err) == 0, "%s", err.msg);
    for (uint32_t r = 0; r < rows.row_count; r++) {
        const struct wire_value *row = rows.values + (size_t)r * rows.column_count;
        bool is_pending = false;
        for (uint32_t c = 0; c < rows.column_count; c++) {
            is_pending |=
                strcmp(rows.columns[c], "kind") == 0 && strcmp(row[c].text, "pending") == 0;
            if (is_pending && strcmp(rows.columns[c], "machines") == 0)
                looked = row[c].integer;
        }
    }
    wire_rows_release(&rows);
    return looked;
}

/* While a set grows it has fewer allocs than replicas; `why` must only visit existing allocs. */
START_TEST(why_is_answered_between_the_pieces)
{
    struct world w;
    allocs(&w, 1);
    struct job_spec spec = spec_named("waits", "ada", 100);
    str_copy(spec.alloc_set, sizeof spec.alloc_set, "web");
    spec.limit = amounts(1, 1, 0, 0);
    world_job(&w, spec);
    struct cmd cmd = cmd_update(TASKS, JOB_UPDATE_KEEP, 0);
    struct apply apply;
    int asked = 0;
    cell_apply_begin(&apply, w.cell, &cmd, &w.changes, &w.answer);
    for (; !cell_apply_go_on(&apply, 20); asked++)
        ck_assert_int_eq(why_looked(w.cell, "waits"), cell_job_named(w.cell, "web")->task_count);
    ck_assert_int_ge(asked, (TASKS - ALLOCS) / 20);
    world_release(&w);
}
END_TEST

START_TEST(a_repeated_command_ends_at_once)
{
    struct world w = machines();
    for (int i = 0; i < 2; i++) {
        struct cmd cmd = cmd_submit(TASKS);
        struct apply apply;
        cmd.request_id[0] = 7;
        cell_apply_begin(&apply, w.cell, &cmd, &w.changes, &w.answer);
        ck_assert_int_eq(cell_apply_go_on(&apply, 1), i == 1);
        while (!cell_apply_go_on(&apply, 100))
            ;
        ck_assert_int_eq(w.answer.code, ERR_OK);
        cmd_release(&cmd);
    }
    ck_assert_uint_eq(w.cell->job_count, 1);
    cell_check(w.cell);
    world_release(&w);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("apply_pieces");
    TCase *tcase = tcase_create("pieces");
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, pieces_of_any_size_have_the_same_effect, 0,
                        ARRAY_SIZE(scenes) * ARRAY_SIZE(sizes));
    tcase_add_loop_test(tcase, a_command_can_be_dropped_after_any_piece, 0, ARRAY_SIZE(scenes));
    tcase_add_test(tcase, why_is_answered_between_the_pieces);
    tcase_add_test(tcase, a_repeated_command_ends_at_once);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
