/*
 * test_apply_report.c - the effect of each report on each kind of attempt, and the end of
 * back-offs.
 */
#include "cell_fixture.h"

#include <string.h>

enum { NOW_MS = 100000 };

/* One task placed on m1, perhaps running since NOW_MS, perhaps told to stop. */
struct scene {
    struct world w;
    machine_id m;
    job_id job;
    const struct task *task;
};

static struct scene one_task(enum restart restart, uint32_t failures_max, bool running)
{
    struct scene s = {.w = world_new()};
    world_wake(&s.w, (task_id){0}, NOW_MS);
    s.m = world_machine(&s.w, "m1", amounts(1000, 100, 0, 0));
    struct job_spec spec = spec_named("web", "ada", 100);
    spec.restart = restart;
    spec.failures_max = failures_max;
    spec.backoff_ms = 1000;
    spec.backoff_max_ms = 4000;
    s.job = world_job(&s.w, spec);
    s.task = world_task(&s.w, s.job, 0);
    ck_assert(world_place(&s.w, attempt_of(s.task), s.m, NULL, 0));
    if (running)
        ck_assert(world_running(&s.w, s.task, 42));
    return s;
}

/* Stop it in the way that has this cause. */
static void stop(struct scene *s, enum cause cause)
{
    if (cause == CAUSE_KILLED)
        ck_assert_int_eq(world_kill(&s->w, "web"), ERR_OK);
    if (cause == CAUSE_OUT_OF_RESOURCES)
        world_machine(&s->w, "m1", amounts(0, 0, 0, 0));
    if (cause == CAUSE_PREEMPTED) {
        struct attempt_ref victim = attempt_of(s->task);
        job_id high = world_job(&s->w, spec_named("high", "ada", 200));
        ck_assert(world_place(&s->w, attempt_of(world_task(&s->w, high, 0)), s->m, &victim, 1));
    }
    ck_assert_int_eq(s->task->stopping, cause);
}

static const struct {
    enum restart restart;
    uint32_t failures_max;
    enum cause stopping;
    enum report_kind kind;
    int32_t exit_code;
    enum task_state state;
    enum cause cause;
    uint32_t failures;
    uint64_t wait_ms;
    enum event_kind event;
} ends[] = {
    /* The task ended by itself. */
    {RESTART_ON_FAILURE, 0, CAUSE_NONE, REPORT_EXITED, 0, TASK_FINISHED, CAUSE_EXIT, 0, 0,
     EVENT_FINISHED},
    {RESTART_ON_FAILURE, 0, CAUSE_NONE, REPORT_EXITED, 3, TASK_PENDING, CAUSE_EXIT, 1, 1000,
     EVENT_FAILED},
    {RESTART_ON_FAILURE, 0, CAUSE_NONE, REPORT_EXITED, -9, TASK_PENDING, CAUSE_SIGNAL, 1, 1000,
     EVENT_FAILED},
    {RESTART_ON_FAILURE, 1, CAUSE_NONE, REPORT_EXITED, 3, TASK_FAILED, CAUSE_EXIT, 1, 0,
     EVENT_FAILED},
    {RESTART_ON_FAILURE, 2, CAUSE_NONE, REPORT_EXITED, 3, TASK_PENDING, CAUSE_EXIT, 1, 1000,
     EVENT_FAILED},
    {RESTART_ALWAYS, 0, CAUSE_NONE, REPORT_EXITED, 0, TASK_PENDING, CAUSE_EXIT, 0, 1000,
     EVENT_FINISHED},
    {RESTART_ALWAYS, 1, CAUSE_NONE, REPORT_EXITED, 3, TASK_FAILED, CAUSE_EXIT, 1, 0, EVENT_FAILED},
    {RESTART_NEVER, 0, CAUSE_NONE, REPORT_EXITED, 0, TASK_FINISHED, CAUSE_EXIT, 0, 0,
     EVENT_FINISHED},
    {RESTART_NEVER, 5, CAUSE_NONE, REPORT_EXITED, 3, TASK_FAILED, CAUSE_EXIT, 1, 0, EVENT_FAILED},
    {RESTART_ON_FAILURE, 0, CAUSE_NONE, REPORT_START_ERROR, 0, TASK_PENDING, CAUSE_START_ERROR, 1,
     1000, EVENT_FAILED},
    {RESTART_ON_FAILURE, 1, CAUSE_NONE, REPORT_START_ERROR, 0, TASK_FAILED, CAUSE_START_ERROR, 1, 0,
     EVENT_FAILED},
    {RESTART_NEVER, 0, CAUSE_NONE, REPORT_START_ERROR, 0, TASK_FAILED, CAUSE_START_ERROR, 1, 0,
     EVENT_FAILED},
    {RESTART_NEVER, 0, CAUSE_NONE, REPORT_LOST, 0, TASK_PENDING, CAUSE_LOST, 0, 0, EVENT_LOST},
    /* The task was told to stop: this is never a failure and causes no back-off. */
    {RESTART_ON_FAILURE, 1, CAUSE_PREEMPTED, REPORT_EXITED, -15, TASK_PENDING, CAUSE_PREEMPTED, 0,
     0, EVENT_EVICTED},
    {RESTART_NEVER, 1, CAUSE_PREEMPTED, REPORT_EXITED, 0, TASK_PENDING, CAUSE_PREEMPTED, 0, 0,
     EVENT_EVICTED},
    {RESTART_NEVER, 1, CAUSE_PREEMPTED, REPORT_START_ERROR, 0, TASK_PENDING, CAUSE_PREEMPTED, 0, 0,
     EVENT_EVICTED},
    {RESTART_NEVER, 1, CAUSE_PREEMPTED, REPORT_LOST, 0, TASK_PENDING, CAUSE_PREEMPTED, 0, 0,
     EVENT_EVICTED},
    {RESTART_NEVER, 1, CAUSE_OUT_OF_RESOURCES, REPORT_EXITED, 1, TASK_PENDING,
     CAUSE_OUT_OF_RESOURCES, 0, 0, EVENT_EVICTED},
    {RESTART_ALWAYS, 0, CAUSE_KILLED, REPORT_EXITED, -15, TASK_KILLED, CAUSE_KILLED, 0, 0,
     EVENT_KILLED},
    {RESTART_ALWAYS, 0, CAUSE_KILLED, REPORT_EXITED, 0, TASK_KILLED, CAUSE_KILLED, 0, 0,
     EVENT_KILLED},
    {RESTART_ALWAYS, 0, CAUSE_KILLED, REPORT_START_ERROR, 0, TASK_KILLED, CAUSE_KILLED, 0, 0,
     EVENT_KILLED},
    {RESTART_ALWAYS, 0, CAUSE_KILLED, REPORT_LOST, 0, TASK_KILLED, CAUSE_KILLED, 0, 0,
     EVENT_KILLED},
};

static void end_as_row(int row, bool running)
{
    struct scene s = one_task(ends[row].restart, ends[row].failures_max, running);
    if (ends[row].stopping != CAUSE_NONE)
        stop(&s, ends[row].stopping);
    struct report report = {.task = attempt_of(s.task),
                            .kind = ends[row].kind,
                            .exit_code = ends[row].exit_code,
                            .told_to_stop = ends[row].stopping != CAUSE_NONE,
                            .detail = "so it was"};
    ck_assert(world_report(&s.w, s.m, report));
    ck_assert_int_eq(s.task->state, ends[row].state);
    ck_assert_int_eq(s.task->cause, ends[row].cause);
    ck_assert_int_eq(s.task->exit_code, ends[row].exit_code);
    ck_assert_uint_eq(s.task->failures, ends[row].failures);
    ck_assert_uint_eq(s.task->not_before_ms,
                      ends[row].wait_ms == 0 ? 0 : NOW_MS + ends[row].wait_ms);
    ck_assert_int_eq(s.task->pid, 0);
    ck_assert_uint_eq(s.task->machine.v, 0);
    ck_assert_uint_eq(s.task->attempt, 1);
    ck_assert_uint_eq(s.w.changes.event_count, 1);
    const struct event *event = &s.w.changes.events[0];
    ck_assert_int_eq(event->kind, ends[row].event);
    ck_assert_int_eq(event->cause, ends[row].cause);
    ck_assert_int_eq(event->exit_code, ends[row].exit_code);
    ck_assert_uint_eq(event->attempt, 1);
    ck_assert_uint_eq(event->machine.v, s.m.v);
    ck_assert_str_eq(event->detail, "so it was");
    /* A second report about the same attempt changes nothing. */
    uint64_t digest = cell_digest(s.w.cell);
    ck_assert(!world_report(&s.w, s.m, report));
    ck_assert_uint_eq(cell_digest(s.w.cell), digest);
    world_release(&s.w);
}

START_TEST(an_attempt_ends_as_its_row_says)
{
    end_as_row(_i, true);
    end_as_row(_i, false); /* nobody saw it running */
}
END_TEST

START_TEST(running_is_noted_once_and_corrected)
{
    struct scene s = one_task(RESTART_NEVER, 0, false);
    struct report report = {
        .task = attempt_of(s.task), .kind = REPORT_RUNNING, .pid = 7, .ports = {8080}};
    ck_assert(world_report(&s.w, s.m, report));
    ck_assert_int_eq(s.task->state, TASK_RUNNING);
    ck_assert_int_eq(s.task->pid, 7);
    ck_assert_uint_eq(s.task->ports[0], 8080);
    ck_assert_uint_eq(s.task->started_ms, NOW_MS);
    ck_assert(world_report(&s.w, s.m, report));
    ck_assert(changes_empty(&s.w.changes));
    report.pid = 8;
    ck_assert(world_report(&s.w, s.m, report));
    ck_assert_int_eq(s.task->pid, 8);
    ck_assert_uint_eq(s.w.changes.event_count, 0);
    world_release(&s.w);
}
END_TEST

START_TEST(a_report_about_another_attempt_changes_nothing)
{
    struct scene s = one_task(RESTART_NEVER, 0, true);
    machine_id m2 = world_machine(&s.w, "m2", amounts(1000, 100, 0, 0));
    uint64_t digest = cell_digest(s.w.cell);
    struct attempt_ref now = attempt_of(s.task);
    const struct {
        struct attempt_ref task;
        machine_id machine;
    } rows[] = {{{now.task, 0}, s.m},
                {{now.task, 2}, s.m},
                {now, m2},
                {{task_id_of(s.job, 1), 1}, s.m},
                {{task_id_of((job_id){99}, 0), 1}, s.m},
                {{{0}, 0}, s.m}};
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        for (int kind = 0; kind <= REPORT_KIND_COUNT; kind++)
            ck_assert(!world_report(
                &s.w, rows[i].machine,
                (struct report){.task = rows[i].task, .kind = (enum report_kind)kind}));
        ck_assert_uint_eq(s.w.answer.refused, 1);
    }
    ck_assert(!world_report(
        &s.w, s.m, (struct report){.task = now, .kind = REPORT_KIND_COUNT})); /* an unknown kind */
    ck_assert_uint_eq(cell_digest(s.w.cell), digest);
    ck_assert(!world_report(&s.w, (machine_id){9}, (struct report){.task = now}));
    ck_assert_uint_eq(cell_digest(s.w.cell), digest);
    world_release(&s.w);
}
END_TEST

/* Fail, back off, be placed again; return the time of the failure. */
static uint64_t fail_after(struct scene *s, uint64_t run_ms)
{
    world_wake(&s->w, (task_id){0}, s->w.cell->now_ms + run_ms);
    ck_assert(world_exited(&s->w, s->task, 1));
    return s->w.cell->now_ms;
}

static void start_again(struct scene *s)
{
    ck_assert(world_wake(&s->w, s->task->id, s->task->not_before_ms));
    ck_assert(world_place(&s->w, attempt_of(s->task), s->m, NULL, 0));
    ck_assert(world_running(&s->w, s->task, 1));
}

/* The task was told to stop but ended by itself before it got the message. */
START_TEST(an_end_by_itself_counts_although_a_stop_was_sent)
{
    static const struct {
        enum restart restart;
        uint32_t failures_max;
        enum cause stopping;
        int32_t exit_code;
        enum task_state state;
        enum cause cause;
        uint32_t failures;
        uint64_t wait_ms;
        enum event_kind event;
    } rows[] = {
        {RESTART_ON_FAILURE, 0, CAUSE_PREEMPTED, 0, TASK_FINISHED, CAUSE_EXIT, 0, 0,
         EVENT_FINISHED},
        {RESTART_NEVER, 0, CAUSE_OUT_OF_RESOURCES, 0, TASK_FINISHED, CAUSE_EXIT, 0, 0,
         EVENT_FINISHED},
        {RESTART_ALWAYS, 0, CAUSE_PREEMPTED, 0, TASK_PENDING, CAUSE_EXIT, 0, 1000, EVENT_FINISHED},
        {RESTART_ON_FAILURE, 0, CAUSE_PREEMPTED, 7, TASK_PENDING, CAUSE_EXIT, 1, 1000,
         EVENT_FAILED},
        {RESTART_ON_FAILURE, 0, CAUSE_PREEMPTED, -11, TASK_PENDING, CAUSE_SIGNAL, 1, 1000,
         EVENT_FAILED},
        {RESTART_ON_FAILURE, 1, CAUSE_PREEMPTED, 7, TASK_FAILED, CAUSE_EXIT, 1, 0, EVENT_FAILED},
        {RESTART_NEVER, 0, CAUSE_PREEMPTED, 7, TASK_FAILED, CAUSE_EXIT, 1, 0, EVENT_FAILED},
        {RESTART_ON_FAILURE, 0, CAUSE_KILLED, 0, TASK_FINISHED, CAUSE_EXIT, 0, 0, EVENT_FINISHED},
        {RESTART_ALWAYS, 0, CAUSE_KILLED, 0, TASK_FINISHED, CAUSE_EXIT, 0, 0, EVENT_FINISHED},
        {RESTART_ON_FAILURE, 0, CAUSE_KILLED, 7, TASK_KILLED, CAUSE_KILLED, 1, 0, EVENT_FAILED},
        {RESTART_NEVER, 0, CAUSE_KILLED, 7, TASK_FAILED, CAUSE_EXIT, 1, 0, EVENT_FAILED},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct scene s = one_task(rows[i].restart, rows[i].failures_max, true);
        stop(&s, rows[i].stopping);
        ck_assert(world_report(&s.w, s.m,
                               (struct report){.task = attempt_of(s.task),
                                               .kind = REPORT_EXITED,
                                               .exit_code = rows[i].exit_code}));
        ck_assert_msg(s.task->state == rows[i].state, "row %zu: %s", i,
                      task_state_text(s.task->state));
        ck_assert_msg(s.task->cause == rows[i].cause, "row %zu", i);
        ck_assert_uint_eq(s.task->failures, rows[i].failures);
        ck_assert_uint_eq(s.task->not_before_ms,
                          rows[i].wait_ms == 0 ? 0 : NOW_MS + rows[i].wait_ms);
        ck_assert_int_eq(s.w.changes.events[0].kind, rows[i].event);
        cell_check(s.w.cell);
        world_release(&s.w);
    }
}
END_TEST

static bool misstart(struct scene *s)
{
    return world_report(&s->w, s->m,
                        (struct report){.task = attempt_of(s->task),
                                        .kind = REPORT_START_ERROR,
                                        .fault = FAULT_MACHINE,
                                        .detail = "no 1 free ports"});
}

START_TEST(failed_starts_are_no_failures_and_back_off_longer_each_time)
{
    static const enum restart restarts[] = {RESTART_NEVER, RESTART_ON_FAILURE, RESTART_ALWAYS};
    for (size_t i = 0; i < ARRAY_SIZE(restarts); i++) {
        struct scene s = one_task(restarts[i], 1, false);
        uint64_t wait_ms = 1000;
        for (int k = 0; k < 12; k++) {
            uint64_t now_ms = s.w.cell->now_ms;
            ck_assert(misstart(&s));
            ck_assert_int_eq(s.task->state, TASK_PENDING);
            ck_assert_int_eq(s.task->cause, CAUSE_START_ERROR);
            ck_assert_uint_eq(s.task->failures, 0);
            ck_assert_uint_eq(s.task->not_before_ms, now_ms + wait_ms);
            ck_assert_uint_eq(s.task->crashed_on[0].v, s.m.v);
            ck_assert_ptr_nonnull(strstr(cell_job(s.w.cell, s.job)->reason, "no 1 free ports"));
            wait_ms = MIN(2 * wait_ms, UINT64_C(300000));
            world_wake(&s.w, s.task->id, s.task->not_before_ms);
            ck_assert(world_place(&s.w, attempt_of(s.task), s.m, NULL, 0));
        }
        ck_assert(world_running(&s.w, s.task, 1));
        ck_assert_uint_eq(s.task->misstarts, 0);
        ck_assert_uint_eq(s.task->crashed_on[0].v, 0);
        ck_assert(
            !machine_is_sick(cell_machine(s.w.cell, s.m))); /* one task is no sign of sickness */
        world_release(&s.w);
    }
}
END_TEST

static void try_again(struct world *w, machine_id machine, uint64_t time_ms, enum err_code expected)
{
    struct cmd cmd = {.kind = CMD_MACHINE_TRY, .time_ms = time_ms, .machine_try = {machine}};
    ck_assert_int_eq(world_apply(w, &cmd), expected);
}

START_TEST(a_machine_that_fails_to_start_three_tasks_is_sick_for_longer_each_time)
{
    struct world w = world_new();
    machine_id m = world_machine(&w, "m1", amounts(9000, 900, 0, 0));
    struct job_spec spec = spec_named("web", "ada", 100);
    spec.replicas = 5;
    struct scene s = {.w = w, .m = m, .job = world_job(&w, spec)};
    s.w = w;
    const struct machine *machine = cell_machine(s.w.cell, m);
    for (uint32_t i = 0; i < 5; i++)
        ck_assert(world_place(&s.w, attempt_of(world_task(&s.w, s.job, i)), m, NULL, 0));
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert(!machine_is_sick(machine));
        s.task = world_task(&s.w, s.job, i);
        ck_assert(misstart(&s));
    }
    ck_assert(machine_is_sick(machine));
    ck_assert_uint_eq(machine->sick_until_ms, s.w.cell->now_ms + MACHINE_SICK_MS);
    s.task = world_task(&s.w, s.job, 0);
    world_wake(&s.w, s.task->id, s.task->not_before_ms);
    ck_assert(!world_place(&s.w, attempt_of(s.task), m, NULL, 0));
    for (uint64_t ms = 2 * MACHINE_SICK_MS; ms <= 4 * MACHINE_SICK_MS_MAX; ms *= 2) {
        try_again(&s.w, m, machine->sick_until_ms - 1, ERR_STATE);
        try_again(&s.w, m, machine->sick_until_ms, ERR_OK);
        ck_assert(!machine_is_sick(machine));
        world_wake(&s.w, s.task->id, MAX(s.task->not_before_ms, s.w.cell->now_ms));
        ck_assert(world_place(&s.w, attempt_of(s.task), m, NULL, 0));
        ck_assert(misstart(&s)); /* one failed start is enough now */
        ck_assert_uint_eq(machine->sick_until_ms,
                          s.w.cell->now_ms + MIN(ms, (uint64_t)MACHINE_SICK_MS_MAX));
    }
    ck_assert(world_running(&s.w, world_task(&s.w, s.job, 3), 1));
    ck_assert(!machine_is_sick(machine));
    ck_assert_uint_eq(machine->sick_rounds, 0);
    ck_assert_int_eq(s.w.changes.events[0].kind, EVENT_MACHINE_WELL);
    cell_check(s.w.cell);
    world_release(&s.w);
}
END_TEST

START_TEST(back_off_grows_with_failures_in_a_row_until_a_healthy_run)
{
    struct scene s = one_task(RESTART_ALWAYS, 0, true);
    static const struct {
        uint64_t run_ms, wait_ms;
    } runs[] = {{0, 1000}, {0, 2000}, {599999, 4000}, {0, 4000}, {600000, 1000}, {0, 2000}};
    for (size_t i = 0; i < ARRAY_SIZE(runs); i++) {
        uint64_t failed_ms = fail_after(&s, runs[i].run_ms);
        ck_assert_uint_eq(s.task->not_before_ms, failed_ms + runs[i].wait_ms);
        start_again(&s);
    }
    world_release(&s.w);
}
END_TEST

START_TEST(only_services_reset_failures_and_max_backoff_does_not_shorten_the_time)
{
    static const struct {
        enum restart restart;
        enum appclass appclass;
        uint32_t backoff_max_ms;
        uint64_t run_ms;
        uint32_t failures; /* after the third failure */
    } rows[] = {
        {RESTART_ALWAYS, APPCLASS_BATCH, 0, 599999, 3},
        {RESTART_ALWAYS, APPCLASS_BATCH, 0, 600000, 1},
        {RESTART_ALWAYS, APPCLASS_BATCH, 300000, 2999999, 3},
        {RESTART_ALWAYS, APPCLASS_BATCH, 300000, 3000000, 1},
        {RESTART_ON_FAILURE, APPCLASS_LATENCY_SENSITIVE, 1, 599999, 3},
        {RESTART_ON_FAILURE, APPCLASS_LATENCY_SENSITIVE, 1, 600000, 1},
        {RESTART_ON_FAILURE, APPCLASS_BATCH, 0, 600000, 3},
        {RESTART_ON_FAILURE, APPCLASS_BATCH, 1000, UINT64_C(30) * 86400 * 1000, 3},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct world w = world_new();
        machine_id m = world_machine(&w, "m1", amounts(1000, 100, 0, 0));
        struct job_spec spec = spec_named("web", "ada", 100);
        spec.restart = rows[i].restart;
        spec.appclass = rows[i].appclass;
        spec.backoff_ms = 0;
        spec.backoff_max_ms = rows[i].backoff_max_ms;
        const struct task *task = world_task(&w, world_job(&w, spec), 0);
        for (int k = 0; k < 3; k++) {
            ck_assert(world_place(&w, attempt_of(task), m, NULL, 0));
            ck_assert(world_running(&w, task, 1));
            world_wake(&w, (task_id){0}, w.cell->now_ms + (k == 2 ? rows[i].run_ms : 300));
            ck_assert(world_exited(&w, task, 7));
        }
        ck_assert_msg(task->failures == rows[i].failures, "row %zu: %u", i, task->failures);
        world_release(&w);
    }
}
END_TEST

START_TEST(the_last_machines_a_task_crashed_on_are_recorded_once_each)
{
    struct scene s = one_task(RESTART_ALWAYS, 0, true);
    uint32_t first = s.m.v;
    char name[8];
    for (int i = 2; i <= 5; i++) {
        snprintf(name, sizeof name, "c%d", i);
        world_machine(&s.w, name, amounts(9000, 900, 0, 0));
    }
    static const struct {
        uint64_t run_ms;
        uint32_t next; /* where it is placed then, as a distance from the first machine */
        uint32_t crashed_on[TASK_CRASHES_MAX]; /* likewise, counted from 1 */
    } runs[] = {{0, 1, {1}},       {0, 0, {2, 1}},    {0, 2, {1, 2}},
                {0, 3, {3, 1, 2}}, {0, 0, {4, 3, 1}}, {0, 3, {1, 4, 3}},
                {0, 1, {4, 1, 3}}, {600000, 0, {2}},  {0, 0, {1, 2}}};
    for (size_t i = 0; i < ARRAY_SIZE(runs); i++) {
        fail_after(&s, runs[i].run_ms);
        for (int k = 0; k < TASK_CRASHES_MAX; k++)
            ck_assert_uint_eq(s.task->crashed_on[k].v,
                              runs[i].crashed_on[k] == 0 ? 0 : first + runs[i].crashed_on[k] - 1);
        s.m.v = first + runs[i].next;
        start_again(&s);
    }
    cell_check(s.w.cell);
    world_release(&s.w);
}
END_TEST

START_TEST(a_healthy_run_with_exit_0_clears_the_crashed_machines)
{
    struct scene s = one_task(RESTART_ALWAYS, 0, true);
    fail_after(&s, 0);
    start_again(&s);
    world_wake(&s.w, (task_id){0}, s.w.cell->now_ms + 599999);
    ck_assert(world_exited(&s.w, s.task, 0));
    ck_assert_uint_eq(s.task->crashed_on[0].v, s.m.v);
    start_again(&s);
    world_wake(&s.w, (task_id){0}, s.w.cell->now_ms + 600000);
    ck_assert(world_exited(&s.w, s.task, 0));
    ck_assert_uint_eq(s.task->crashed_on[0].v, 0);
    ck_assert_uint_eq(s.task->failures, 0);
    world_release(&s.w);
}
END_TEST

START_TEST(only_a_back_off_that_has_ended_is_woken)
{
    struct scene s = one_task(RESTART_ON_FAILURE, 0, true);
    ck_assert(!world_wake(&s.w, s.task->id, NOW_MS)); /* it runs */
    fail_after(&s, 0);
    ck_assert(!world_wake(&s.w, s.task->id, NOW_MS + 999));
    ck_assert(!world_wake(&s.w, task_id_of(s.job, 1), NOW_MS + 999));
    ck_assert_uint_eq(s.task->not_before_ms, NOW_MS + 1000);
    ck_assert(world_wake(&s.w, s.task->id, NOW_MS + 1000));
    ck_assert_uint_eq(s.task->not_before_ms, 0);
    task_id waiting;
    ck_assert_uint_eq(cell_wake_due(s.w.cell, UINT64_MAX, &waiting, 1), 0);
    ck_assert(!world_wake(&s.w, s.task->id, NOW_MS + 1000));
    world_release(&s.w);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("apply_report");
    TCase *tcase = tcase_create("report");
    tcase_add_loop_test(tcase, an_attempt_ends_as_its_row_says, 0, ARRAY_SIZE(ends));
    tcase_add_test(tcase, running_is_noted_once_and_corrected);
    tcase_add_test(tcase, a_report_about_another_attempt_changes_nothing);
    tcase_add_test(tcase, back_off_grows_with_failures_in_a_row_until_a_healthy_run);
    tcase_add_test(tcase, the_last_machines_a_task_crashed_on_are_recorded_once_each);
    tcase_add_test(tcase, an_end_by_itself_counts_although_a_stop_was_sent);
    tcase_add_test(tcase, failed_starts_are_no_failures_and_back_off_longer_each_time);
    tcase_add_test(tcase, a_machine_that_fails_to_start_three_tasks_is_sick_for_longer_each_time);
    tcase_add_test(tcase, only_services_reset_failures_and_max_backoff_does_not_shorten_the_time);
    tcase_add_test(tcase, a_healthy_run_with_exit_0_clears_the_crashed_machines);
    tcase_add_test(tcase, only_a_back_off_that_has_ended_is_woken);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
