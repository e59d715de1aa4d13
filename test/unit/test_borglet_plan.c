/*
 * test_borglet_plan.c - the decisions of a borglet, as short conversations.
 *
 * A step has the intents and the existing attempts; its result is the list of actions as text.
 */
#include "plan.h"
#include "env.h"
#include "ports.h"
#include "archive.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ACTIONS_MAX = 64 };

static struct attempt_ref ref(uint64_t task, uint32_t attempt)
{
    return (struct attempt_ref){.task = {task}, .attempt = attempt};
}

static struct resources cpu(int64_t milli)
{
    return (struct resources){.v = {[RES_CPU] = milli}};
}

static struct plan_attempt running(uint64_t task, int64_t milli)
{
    return (struct plan_attempt){.task = ref(task, 1), .limit = cpu(milli), .grace_ms = 700};
}

static struct plan_attempt stopping(uint64_t task, int64_t milli)
{
    struct plan_attempt a = running(task, milli);
    a.stopping = true;
    return a;
}

static struct plan_attempt ended(uint64_t task, int64_t milli)
{
    struct plan_attempt a = running(task, milli);
    a.ended = true;
    return a;
}

/* "run 3 cpu 500 seq 7", "stop 3 grace 100", "forget 3", "show 3"; several with ';' between. */
static void intents_read(const char *text, struct wire_intents *in)
{
    in->intents = xcalloc(16, sizeof *in->intents);
    for (const char *at = text; at != NULL && *at != '\0';) {
        struct intent *i = &in->intents[in->intent_count++];
        char verb[16] = "";
        unsigned long task = 0, number = 0, seq = 0;
        spec_init(&i->spec);
        ck_assert_int_ge(sscanf(at, " %15s %lu %*s %lu seq %lu", verb, &task, &number, &seq), 2);
        i->task = ref(task, 1);
        i->assigned_seq = seq;
        i->grace_ms = (uint32_t)number;
        i->spec.limit = cpu((int64_t)number);
        i->action = strcmp(verb, "run") == 0    ? INTENT_RUN
                    : strcmp(verb, "stop") == 0 ? INTENT_STOP
                    : strcmp(verb, "show") == 0 ? INTENT_SHOW
                                                : INTENT_FORGET;
        at = strchr(at, ';');
        at = at == NULL ? NULL : at + 1;
    }
}

static void say(struct plan *plan, uint64_t index, bool full, const char *text,
                const struct plan_attempt *present, size_t count)
{
    struct wire_intents in = {.index = index, .full = full};

    intents_read(text, &in);
    bool taken = plan_take(plan, &in, present, count);
    ck_assert_int_eq(taken, index >= plan->seen_index);
    for (uint32_t i = 0; i < in.intent_count; i++)
        spec_release(&in.intents[i].spec);
    free(in.intents);
}

/* Format the actions as "start 3, stop 4 grace 100, ...". */
static const char *next(struct plan *plan, const struct plan_attempt *present, size_t count,
                        int64_t capacity)
{
    static const char *const verbs[] = {"start", "resize", "stop",  "forget",
                                        "gone",  "lost",   "refuse"};
    static char text[1024];
    struct plan_action actions[ACTIONS_MAX];
    struct resources all = cpu(capacity);
    size_t at = 0;

    text[0] = '\0';
    size_t n = plan_next(plan, present, count, &all, actions, ACTIONS_MAX);
    for (size_t i = 0; i < n; i++) {
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%s %lu", i == 0 ? "" : ", ",
                               verbs[actions[i].verb], (unsigned long)actions[i].task.task.v);
        if (actions[i].verb == PLAN_STOP)
            at += (size_t)snprintf(text + at, sizeof text - at, " grace %u", actions[i].grace_ms);
        if (actions[i].verb == PLAN_START || actions[i].verb == PLAN_REFUSE) {
            ck_assert_ptr_nonnull(actions[i].intent);
            ck_assert_uint_eq(actions[i].intent->task.task.v, actions[i].task.task.v);
        }
    }
    return text;
}

static const struct {
    const char *intents;
    struct plan_attempt present[4];
    size_t count;
    int64_t capacity;
    const char *want;
} steps[] = {
    {"run 1 cpu 500 seq 1", {}, 0, 1000, "start 1"},
    {"run 1 cpu 500 seq 1; run 2 cpu 500 seq 2", {}, 0, 1000, "start 1, start 2"},
    /* The order is that of assignment and not of the message. */
    {"run 2 cpu 500 seq 9; run 1 cpu 500 seq 3", {}, 0, 1000, "start 1, start 2"},
    /* The machine is full: the second one waits. */
    {"run 1 cpu 600 seq 1; run 2 cpu 500 seq 2", {}, 0, 1000, "start 1"},
    /* It exists: no action, unless its limit differs. */
    {"run 1 cpu 500 seq 1", {{.task = {{1}, 1}, .limit = {{500}}}}, 1, 1000, ""},
    {"run 1 cpu 500 seq 1", {{.task = {{1}, 1}, .limit = {{400}}}}, 1, 1000, "resize 1"},
    {"run 1 cpu 500 seq 1", {{.task = {{1}, 1}, .limit = {{900}}}}, 1, 1000, "resize 1"},
    {"run 1 cpu 500 seq 1", {{.task = {{1}, 1}, .ended = true}}, 1, 1000, ""},
    {"run 1 cpu 1001 seq 1", {}, 0, 1000, "refuse 1"},
    {"stop 1 grace 100", {{.task = {{1}, 1}}}, 1, 1000, "stop 1 grace 100"},
    {"stop 1 grace 100", {{.task = {{1}, 1}, .stopping = true}}, 1, 1000, ""},
    {"stop 1 grace 100", {{.task = {{1}, 1}, .ended = true}}, 1, 1000, ""},
    {"stop 1 grace 100", {}, 0, 1000, "gone 1"},
    {"forget 1", {}, 0, 1000, ""},
    {"forget 1", {{.task = {{1}, 1}, .ended = true}}, 1, 1000, "forget 1"},
    {"forget 1", {{.task = {{1}, 1}, .grace_ms = 9}}, 1, 1000, "stop 1 grace 9"},
    {"show 1", {}, 0, 1000, "lost 1"},
    {"show 1", {{.task = {{1}, 1}}}, 1, 1000, ""},
    {"show 1", {{.task = {{1}, 1}, .ended = true}}, 1, 1000, ""},
    {"show 1", {{.task = {{1}, 2}}}, 1, 1000, "lost 1"},
    /* Another attempt of the same task is independent. */
    {"run 1 cpu 500 seq 1", {{.task = {{1}, 2}, .ended = true}}, 1, 1000, "start 1"},
};

START_TEST(one_step_gives_the_actions_of_the_table)
{
    struct plan plan = {0};

    say(&plan, 1, false, steps[_i].intents, steps[_i].present, steps[_i].count);
    ck_assert_str_eq(next(&plan, steps[_i].present, steps[_i].count, steps[_i].capacity),
                     steps[_i].want);
    plan_release(&plan);
}
END_TEST

START_TEST(a_preemptor_waits_until_its_victims_are_gone)
{
    struct plan_attempt victims[2] = {running(1, 400), running(2, 400)};
    struct plan plan = {0};

    say(&plan, 5, false, "run 3 cpu 1000 seq 9; stop 1 grace 50; stop 2 grace 60", victims, 2);
    ck_assert_str_eq(next(&plan, victims, 2, 1000), "stop 1 grace 50, stop 2 grace 60");
    victims[0] = ended(1, 400);
    victims[1] = stopping(2, 400);
    ck_assert_str_eq(next(&plan, victims, 2, 1000), "");
    victims[1] = ended(2, 400);
    ck_assert_str_eq(next(&plan, victims, 2, 1000), "start 3");
    struct plan_attempt now[3] = {victims[0], victims[1], running(3, 1000)};
    ck_assert_str_eq(next(&plan, now, 3, 1000), "");
    plan_release(&plan);
}
END_TEST

START_TEST(a_waiting_start_proceeds_when_another_task_shrinks)
{
    struct plan_attempt there[1] = {running(1, 800)};
    struct plan plan = {0};

    say(&plan, 5, false, "run 2 cpu 500 seq 1", there, 1);
    ck_assert_str_eq(next(&plan, there, 1, 1000), "");
    say(&plan, 6, false, "run 1 cpu 500 seq 2", there, 1);
    ck_assert_str_eq(next(&plan, there, 1, 1000), "resize 1");
    there[0].limit = cpu(500);
    ck_assert_str_eq(next(&plan, there, 1, 1000), "start 2");
    plan_release(&plan);
}
END_TEST

START_TEST(a_later_start_overtakes_only_if_it_leaves_room_for_earlier_ones)
{
    struct plan_attempt there[2] = {stopping(1, 600), running(2, 100)};
    struct plan plan = {0};

    /* 300 are free now; of the capacity that becomes free, 700 are for 3: 200 remain. */
    say(&plan, 5, false, "run 3 cpu 700 seq 1; run 4 cpu 250 seq 2; run 5 cpu 200 seq 3", there, 2);
    ck_assert_str_eq(next(&plan, there, 2, 1000), "");
    say(&plan, 6, false, "stop 4 grace 0", there, 2);
    ck_assert_str_eq(next(&plan, there, 2, 1000), "gone 4, start 5");
    plan_release(&plan);
}
END_TEST

START_TEST(attempts_missing_from_full_intents_are_stopped_and_forgotten)
{
    struct plan_attempt there[3] = {running(1, 100), running(2, 100), ended(3, 100)};
    struct plan plan = {0};

    say(&plan, 3, false, "run 8 cpu 5000 seq 1", there, 3);
    say(&plan, 4, true, "run 2 cpu 100 seq 1; run 4 cpu 100 seq 2", there, 3);
    ck_assert_str_eq(next(&plan, there, 3, 1000), "stop 1 grace 700, forget 3, start 4");
    there[0] = stopping(1, 100);
    ck_assert_str_eq(next(&plan, there, 2, 1000), "");
    there[0] = ended(1, 100);
    ck_assert_str_eq(next(&plan, there, 2, 1000), "forget 1");
    ck_assert_str_eq(next(&plan, there + 1, 1, 1000), "");
    plan_release(&plan);
}
END_TEST

START_TEST(older_intents_are_ignored)
{
    struct plan_attempt there = running(1, 100);
    struct plan plan = {0};

    say(&plan, 9, false, "run 1 cpu 100 seq 1", NULL, 0);
    ck_assert_str_eq(next(&plan, NULL, 0, 1000), "start 1");
    say(&plan, 8, true, "", &there, 1);
    ck_assert_str_eq(next(&plan, &there, 1, 1000), "");
    ck_assert_uint_eq(plan.seen_index, 9);
    say(&plan, 9, true, "", &there, 1);
    ck_assert_str_eq(next(&plan, &there, 1, 1000), "stop 1 grace 700");
    plan_release(&plan);
}
END_TEST

START_TEST(a_stop_overtakes_a_waiting_start)
{
    struct plan_attempt there = running(1, 800);
    struct plan plan = {0};

    say(&plan, 1, false, "run 2 cpu 500 seq 2", &there, 1);
    ck_assert_str_eq(next(&plan, &there, 1, 1000), "");
    say(&plan, 2, false, "stop 2 grace 10", &there, 1);
    ck_assert_str_eq(next(&plan, &there, 1, 1000), "gone 2");
    ck_assert_str_eq(next(&plan, NULL, 0, 1000), "");
    plan_release(&plan);
}
END_TEST

START_TEST(excess_actions_follow_in_the_next_call)
{
    struct plan_action one;
    struct resources all = cpu(1000);
    struct plan plan = {0};

    say(&plan, 1, false, "run 1 cpu 100 seq 1; run 2 cpu 100 seq 2", NULL, 0);
    struct plan_attempt there = running(1, 100);
    ck_assert_uint_eq(plan_next(&plan, NULL, 0, &all, &one, 1), 1);
    ck_assert_uint_eq(one.task.task.v, 1);
    ck_assert_uint_eq(plan_next(&plan, &there, 1, &all, &one, 1), 1);
    ck_assert_uint_eq(one.task.task.v, 2);
    ck_assert_uint_eq(plan_next(&plan, &there, 1, &all, &one, 1), 0);
    plan_release(&plan);
}
END_TEST

START_TEST(the_environment_contains_only_variables_of_the_spec_and_the_cell)
{
    static const uint16_t ports[] = {20001, 20007};
    struct words env = {0};
    struct job_spec spec;
    CLEANUP(buf_release) struct buf text = {0};

    spec_init(&spec);
    str_copy(spec.name, sizeof spec.name, "web");
    words_add(&spec.ports, "http");
    words_add(&spec.ports, "my-admin.v2");
    words_add(&spec.env, "A=1");
    words_add(&spec.env, "PATH=/only");
    words_add(&spec.env, "BORG_JOB=forged");
    struct env_facts facts = {.cell = "dev",
                              .machine = "m1",
                              .work_dir = "/x/work",
                              .task = {task_id_of((job_id){7}, 3), 2},
                              .shape = 1,
                              .ports = ports};
    env_build(&env, &spec, &facts);
    for (const char *w = words_first(&env); w != NULL; w = words_next(&env, w))
        buf_printf(&text, "%s\n", w);
    ck_assert_str_eq(buf_text(&text), "BORG_CELL=dev\nBORG_JOB=web\nBORG_TASK=web/3\n"
                                      "BORG_ATTEMPT=2\nBORG_MACHINE=m1\nBORG_DIR=/x/work\n"
                                      "BORG_SHAPE=2\nBORG_CPU_MILLI=100\n"
                                      "BORG_RAM_BYTES=134217728\n"
                                      "PORT=20001\nPORT_HTTP=20001\nPORT_MY_ADMIN_V2=20007\n"
                                      "A=1\nPATH=/only\nHOME=/x/work\nLANG=C.UTF-8\n");
    words_release(&env);
    spec_release(&spec);
}
END_TEST

START_TEST(port_ranges_are_parsed_or_refused)
{
    static const char *const bad[] = {"",        "20000", "20000-",    "-5-7", "0-10",
                                      "9-65536", "30-20", "20000-20x", "a-b",  "1--2"};
    struct ports ports;
    struct err err;

    ck_assert_int_eq(ports_parse("20000-20009", &ports, &err), 0);
    ck_assert_uint_eq(ports_count(&ports), 10);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        ck_assert_msg(ports_parse(bad[i], &ports, &err) == -ERR_INVALID, "%s", bad[i]);
}
END_TEST

START_TEST(attempt_names_are_parsed_and_others_refused)
{
    static const char *const bad[] = {"",
                                      ".",
                                      "web",
                                      "web.1.2",
                                      "web.1.2.x",
                                      ".1.2.3",
                                      "web.1.2.",
                                      "WEB.1.2.3",
                                      "web.99999999.1.1",
                                      "a/b.1.2.3",
                                      "web.1.2.99999999999"};
    char name[ATTEMPT_NAME_BYTES], job[CELL_NAME_MAX + 1];
    struct attempt_ref task = {task_id_of((job_id){12}, 3), 4}, back;

    attempt_name("my.web-1", task, name);
    ck_assert_str_eq(name, "my.web-1.3.12.4");
    ck_assert(attempt_name_parse(name, job, &back));
    ck_assert_str_eq(job, "my.web-1");
    ck_assert_uint_eq(back.task.v, task.task.v);
    ck_assert_uint_eq(back.attempt, 4);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        ck_assert_msg(!attempt_name_parse(bad[i], job, &back), "%s", bad[i]);
}
END_TEST

START_TEST(a_start_may_use_what_others_leave_of_their_limits)
{
    struct plan plan = {0};
    struct plan_attempt there = running(1, 800);
    struct wire_intents in = {.index = 5};
    intents_read("run 2 cpu 500 seq 1", &in);
    in.intents[0].reclaimed[RES_CPU] = 299;
    ck_assert(plan_take(&plan, &in, &there, 1));
    free(in.intents);
    ck_assert_str_eq(next(&plan, &there, 1, 1000), "");
    in = (struct wire_intents){.index = 6};
    intents_read("run 2 cpu 500 seq 1", &in);
    in.intents[0].reclaimed[RES_CPU] = 300;
    ck_assert(plan_take(&plan, &in, &there, 1));
    free(in.intents);
    ck_assert_str_eq(next(&plan, &there, 1, 1000), "start 2");
    plan_release(&plan);
}
END_TEST

START_TEST(a_start_waits_for_its_own_gpus)
{
    struct plan plan = {0};
    struct resources all = cpu(1000);
    struct plan_action action;
    struct plan_attempt there[2] = {stopping(1, 100), running(2, 100)};
    struct wire_intents in = {.index = 5};
    all.v[RES_GPU] = 2000;
    there[0].limit.v[RES_GPU] = there[1].limit.v[RES_GPU] = 500;
    there[0].devices = 1;
    there[1].devices = 2;
    intents_read("run 3 cpu 100 seq 1", &in);
    in.intents[0].spec.limit.v[RES_GPU] = 1000;
    in.intents[0].devices = 1;
    ck_assert(plan_take(&plan, &in, there, 2));
    free(in.intents);
    ck_assert_uint_eq(plan_next(&plan, there, 2, &all, &action, 1),
                      0); /* half of the gpu is in use */
    there[0].ended = true;
    ck_assert_uint_eq(plan_next(&plan, there, 2, &all, &action, 1), 1);
    ck_assert_int_eq(action.verb, PLAN_START);
    plan_release(&plan);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("borglet_plan");
    TCase *plan = tcase_create("plan"), *facts = tcase_create("facts");

    tcase_add_loop_test(plan, one_step_gives_the_actions_of_the_table, 0, ARRAY_SIZE(steps));
    tcase_add_test(plan, a_preemptor_waits_until_its_victims_are_gone);
    tcase_add_test(plan, a_waiting_start_proceeds_when_another_task_shrinks);
    tcase_add_test(plan, a_later_start_overtakes_only_if_it_leaves_room_for_earlier_ones);
    tcase_add_test(plan, attempts_missing_from_full_intents_are_stopped_and_forgotten);
    tcase_add_test(plan, older_intents_are_ignored);
    tcase_add_test(plan, a_stop_overtakes_a_waiting_start);
    tcase_add_test(plan, excess_actions_follow_in_the_next_call);
    tcase_add_test(plan, a_start_may_use_what_others_leave_of_their_limits);
    tcase_add_test(plan, a_start_waits_for_its_own_gpus);
    tcase_add_test(facts, the_environment_contains_only_variables_of_the_spec_and_the_cell);
    tcase_add_test(facts, port_ranges_are_parsed_or_refused);
    tcase_add_test(facts, attempt_names_are_parsed_and_others_refused);
    suite_add_tcase(suite, plan);
    suite_add_tcase(suite, facts);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
