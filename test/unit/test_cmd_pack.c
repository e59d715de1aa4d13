/*
 * test_cmd_pack.c - commands, specs and envelopes survive the way; nothing else gets in.
 */
#include "cmd_pack.h"
#include "hostile.h"

#include <check.h>
#include <stdlib.h>

enum { ROUNDS = 300, HOSTILE_ROUNDS = 20000, CMD_KIND_FIRST = CMD_MACHINE_REGISTER };

const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return hostile_asan_options();
}

static bool same_cmds(const struct cmd *a, const struct cmd *b)
{
    return a->known_index == b->known_index && a->request_id[0] == b->request_id[0] &&
           a->request_id[1] == b->request_id[1] && strcmp(a->user, b->user) == 0 &&
           a->time_ms == b->time_ms && a->kind == b->kind &&
           record_equal(cmd_body_record(a->kind), cmd_body((struct cmd *)a),
                        cmd_body((struct cmd *)b));
}

static void pack_ok_or_fail(const struct cmd *cmd, struct buf *to)
{
    struct err err = {0};
    ck_assert_msg(cmd_pack(cmd, to, &err) == 0, "%s", err.msg);
}

START_TEST(every_kind_of_command_survives_the_way)
{
    struct random random = {(uint64_t)_i};
    for (int round = 0; round < ROUNDS; round++) {
        struct cmd cmd, back;
        struct buf bytes = {0}, again = {0};
        struct err err = {0};
        random_cmd(&random, (enum cmd_kind)_i, &cmd);
        pack_ok_or_fail(&cmd, &bytes);
        ck_assert_msg(cmd_unpack(bytes.bytes, bytes.size, &back, &err) == 0, "%s", err.msg);
        ck_assert(same_cmds(&cmd, &back));
        pack_ok_or_fail(&back, &again);
        ck_assert(same_bytes(bytes.bytes, bytes.size, again.bytes, again.size));
        cmd_release(&cmd), cmd_release(&back);
        buf_release(&bytes), buf_release(&again);
    }
}
END_TEST

/* The scheduler's thread packs a batch; the loop that proposes it knows the time. */
START_TEST(a_command_packed_before_is_only_stamped)
{
    static const uint64_t times[] = {0, 1, 127, 128, 70000, UINT64_C(1) << 40, UINT64_MAX};
    struct random random = {(uint64_t)_i};
    for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
        struct cmd cmd;
        struct buf latest = {0}, packed = {0}, stamped = {0};
        random_cmd(&random, (enum cmd_kind)_i, &cmd);
        cmd.time_ms = UINT64_MAX;
        pack_ok_or_fail(&cmd, &latest);
        cmd.time_ms = times[i];
        pack_ok_or_fail(&cmd, &packed);
        struct cmd head = {.time_ms = times[i], .kind = cmd.kind, .packed = &latest};
        pack_ok_or_fail(&head, &stamped);
        ck_assert(same_bytes(stamped.bytes, stamped.size, packed.bytes, packed.size));
        cmd_release(&cmd);
        buf_release(&latest), buf_release(&packed), buf_release(&stamped);
    }
}
END_TEST

START_TEST(every_truncation_of_a_command_is_refused)
{
    struct random random = {(uint64_t)_i};
    for (int round = 0; round < 10; round++) {
        struct cmd cmd, back;
        struct buf bytes = {0};
        random_cmd(&random, (enum cmd_kind)_i, &cmd);
        pack_ok_or_fail(&cmd, &bytes);
        for (size_t size = 0; size < bytes.size; size++) {
            struct err err = {0};
            uint8_t *cut = xcalloc(size + 1, 1); /* of its own, so that reading on is seen */
            cut = xrealloc(cut, size + (size == 0), 1);
            memcpy(cut, bytes.bytes, size);
            ck_assert_int_eq(cmd_unpack(cut, size, &back, &err), -ERR_CORRUPT);
            ck_assert_str_ne(err.msg, "");
            free(cut);
        }
        cmd_release(&cmd);
        buf_release(&bytes);
    }
}
END_TEST

START_TEST(bytes_after_a_command_are_refused)
{
    struct random random = {1};
    struct cmd cmd, back;
    struct buf bytes = {0};
    random_cmd(&random, CMD_JOB_KILL, &cmd);
    pack_ok_or_fail(&cmd, &bytes);
    buf_append(&bytes, "", 1);
    ck_assert_int_eq(cmd_unpack(bytes.bytes, bytes.size, &back, NULL), -ERR_CORRUPT);
    buf_release(&bytes);
}
END_TEST

/* What is accepted in spite of its mistakes must at least be a command: it packs again, the same.
 */
START_TEST(damaged_commands_never_crash)
{
    struct random random = {(uint64_t)_i + 77};
    uint32_t refused = 0;
    hostile_limit_memory();
    for (int round = 0; round < HOSTILE_ROUNDS / 100; round++) {
        struct cmd cmd;
        struct buf bytes = {0};
        random_cmd(&random, (enum cmd_kind)_i, &cmd);
        pack_ok_or_fail(&cmd, &bytes);
        for (int n = 0; n < 100; n++) {
            size_t size;
            struct cmd back, twice;
            struct buf again = {0};
            uint8_t *bad = hostile_copy(&random, &bytes, &size);
            if (cmd_unpack(bad, size, &back, NULL) != 0) {
                refused++;
            } else {
                pack_ok_or_fail(&back, &again);
                ck_assert_int_eq(cmd_unpack(again.bytes, again.size, &twice, NULL), 0);
                ck_assert(same_cmds(&back, &twice));
                cmd_release(&back), cmd_release(&twice);
            }
            buf_release(&again);
            free(bad);
        }
        cmd_release(&cmd);
        buf_release(&bytes);
    }
    ck_assert_uint_gt(refused, 0);
}
END_TEST

START_TEST(counts_that_are_not_there_allocate_nothing)
{
    /* A wake of 2^32 - 1 tasks, then with a list that is within the limit but not there. */
    static const uint8_t huge[] = {0x98, 1,    0,    0,    0,    0xa0, 0,
                                   7,    0x91, 0xdd, 0xff, 0xff, 0xff, 0xff};
    static const uint8_t absent[] = {0x98, 1, 0, 0, 0, 0xa0, 0, 7, 0x91, 0xdd, 0, 0, 0xff, 0xff, 1};
    struct cmd cmd;
    struct err err = {0};
    hostile_limit_memory();
    ck_assert_int_eq(cmd_unpack(huge, sizeof huge, &cmd, &err), -ERR_CORRUPT);
    ck_assert_str_eq(err.msg, "command: list too long at byte 9 of 14");
    ck_assert_int_eq(cmd_unpack(absent, sizeof absent, &cmd, &err), -ERR_CORRUPT);
    ck_assert_str_eq(err.msg, "command: cut short at byte 9 of 15");
}
END_TEST

START_TEST(another_format_and_an_unknown_kind_are_refused)
{
    static const uint8_t format[] = {0x98, 2, 0, 0, 0, 0xa0, 0, 7, 0x91, 0x90};
    static const uint8_t kind_0[] = {0x98, 1, 0, 0, 0, 0xa0, 0, 0, 0x91, 0x90};
    static const uint8_t kind_end[] = {0x98, 1, 0, 0, 0, 0xa0, 0, CMD_KIND_COUNT, 0x91, 0x90};
    static const uint8_t good[] = {0x98, 1, 0, 0, 0, 0xa0, 0, 7, 0x91, 0x90};
    struct cmd cmd;
    ck_assert_int_eq(cmd_unpack(format, sizeof format, &cmd, NULL), -ERR_CORRUPT);
    ck_assert_int_eq(cmd_unpack(kind_0, sizeof kind_0, &cmd, NULL), -ERR_CORRUPT);
    ck_assert_int_eq(cmd_unpack(kind_end, sizeof kind_end, &cmd, NULL), -ERR_STATE);
    ck_assert_int_eq(cmd_unpack(good, sizeof good, &cmd, NULL), 0);
    ck_assert_int_eq(cmd.kind, CMD_WAKE);
    cmd_release(&cmd);
}
END_TEST

/* What names something in its own lists is checked against them. */
static void check_schedule_refused(struct placement placement, const char *why)
{
    struct attempt_ref victim = {{1}, 1};
    struct score_stage stage = {"a", 0, false};
    struct cmd cmd = {.kind = CMD_SCHEDULE,
                      .schedule = {&placement, 1, &victim, 1, NULL, 0, &stage, 1}},
               back;
    struct buf bytes = {0};
    struct err err = {0};
    pack_ok_or_fail(&cmd, &bytes);
    ck_assert_int_eq(cmd_unpack(bytes.bytes, bytes.size, &back, &err), -ERR_CORRUPT);
    ck_assert_msg(strstr(err.msg, why) != NULL, "%s", err.msg);
    buf_release(&bytes);
}

START_TEST(victims_that_are_not_there_are_refused)
{
    check_schedule_refused((struct placement){.victim_first = 1, .victim_count = 1},
                           "victims that are not there");
}
END_TEST

START_TEST(scores_of_stages_that_are_not_there_are_refused)
{
    check_schedule_refused(
        (struct placement){.decision = {.scores = {{.stage = 1}}, .score_count = 1}},
        "score of a stage that is not there");
}
END_TEST

START_TEST(commands_over_their_limits_are_not_packed)
{
    struct buf to = {0};
    struct err err = {0};
    struct cmd cmd = {.kind = CMD_SCHEDULE};
    cmd.schedule.placement_count = CMD_PLACEMENTS_MAX + 1;
    cmd.schedule.placements = xcalloc(CMD_PLACEMENTS_MAX + 1, sizeof *cmd.schedule.placements);
    buf_append(&to, "before", 6);
    ck_assert_int_eq(cmd_pack(&cmd, &to, &err), -ERR_LIMIT);
    cmd.schedule.placement_count = CMD_PLACEMENTS_MAX;
    ck_assert_int_eq(cmd_pack(&cmd, &to, &err), 0);
    ck_assert_uint_gt(to.size, 6);
    cmd_release(&cmd);

    buf_clear(&to);
    buf_append(&to, "before", 6);
    cmd = (struct cmd){.kind = CMD_WAKE};
    cmd.wake.task_count = CMD_BYTES_MAX / 5;
    cmd.wake.tasks = xcalloc(cmd.wake.task_count, sizeof *cmd.wake.tasks);
    for (uint32_t i = 0; i < cmd.wake.task_count; i++)
        cmd.wake.tasks[i].v = UINT32_MAX;
    ck_assert_int_eq(cmd_pack(&cmd, &to, &err), -ERR_LIMIT);
    ck_assert_str_eq(buf_text(&to), "before");
    cmd_release(&cmd);
    buf_release(&to);
}
END_TEST

/* Also what a user's program could not fill in: an encoder refuses, it does not die. */
START_TEST(commands_with_values_that_are_none_are_not_packed)
{
    struct err err = {0};
    struct buf to = {0};
    struct cmd policy = {.kind = CMD_POLICY_SET, .policy_set.policy = POLICY_SPEC_COUNT};
    struct cmd quota = {.kind = CMD_QUOTA_SET, .quota_set.quota.band = BAND_COUNT};
    struct cmd masters = {.kind = CMD_MASTERS_SET, .masters_set.count = MASTER_ROWS_MAX + 1};
    struct cmd kind = {.kind = (enum cmd_kind)CMD_KIND_COUNT};
    const struct cmd *cmds[] = {&policy, &quota, &masters, &kind};
    for (size_t i = 0; i < ARRAY_SIZE(cmds); i++) {
        ck_assert_int_eq(cmd_pack(cmds[i], &to, &err), -ERR_LIMIT);
        ck_assert_uint_eq(to.size, 0);
    }
    ck_assert_str_eq(err.msg, "unknown: a kind of command that is not known here");
    buf_release(&to);
}
END_TEST

START_TEST(a_spec_may_take_so_many_bytes_and_no_more)
{
    struct cmd cmd = {.kind = CMD_JOB_SUBMIT}, back;
    struct buf to = {0}, spec = {0};
    struct err err = {0};
    char *word = xcalloc(SPEC_BYTES_MAX, 1);
    memset(word, 'x', SPEC_BYTES_MAX - 1);
    words_add(&cmd.job_submit.argv, word);
    ck_assert_int_eq(cmd_pack(&cmd, &to, &err), -ERR_LIMIT);
    ck_assert_uint_eq(to.size, 0);
    spec_pack(&cmd.job_submit, &spec);
    ck_assert_int_eq(spec_unpack(spec.bytes, spec.size, &back.job_submit, &err), -ERR_CORRUPT);

    word[SPEC_BYTES_MAX - 1 - (spec.size - SPEC_BYTES_MAX)] = '\0';
    words_release(&cmd.job_submit.argv);
    words_add(&cmd.job_submit.argv, word);
    buf_clear(&spec);
    spec_pack(&cmd.job_submit, &spec);
    ck_assert_uint_eq(spec.size, SPEC_BYTES_MAX);
    ck_assert_msg(cmd_pack(&cmd, &to, &err) == 0, "%s", err.msg);
    ck_assert_int_eq(cmd_unpack(to.bytes, to.size, &back, NULL), 0);
    cmd_release(&back), cmd_release(&cmd);
    buf_release(&to), buf_release(&spec);
    free(word);
}
END_TEST

START_TEST(a_spec_survives_the_way_alone)
{
    struct random random = {5};
    for (int round = 0; round < ROUNDS; round++) {
        struct job_spec spec, back;
        struct buf bytes = {0};
        struct err err = {0};
        random_spec(&random, &spec);
        spec_pack(&spec, &bytes);
        ck_assert_msg(spec_unpack(bytes.bytes, bytes.size, &back, &err) == 0, "%s", err.msg);
        ck_assert(record_equal(&job_spec_record, &spec, &back));
        spec_release(&spec), spec_release(&back);
        buf_release(&bytes);
    }
}
END_TEST

START_TEST(an_envelope_gives_its_commands_back_in_order)
{
    struct buf envelope = {0};
    envelope_add(&envelope, "a", 1);
    envelope_add(&envelope, "bcd", 3);
    size_t at = 0, size;
    const void *cmd;
    ck_assert_int_eq(envelope_next(envelope.bytes, envelope.size, &at, &cmd, &size, NULL), 0);
    ck_assert(same_bytes(cmd, size, "a", 1));
    ck_assert_int_eq(envelope_next(envelope.bytes, envelope.size, &at, &cmd, &size, NULL), 0);
    ck_assert(same_bytes(cmd, size, "bcd", 3));
    ck_assert_int_eq(envelope_next(envelope.bytes, envelope.size, &at, &cmd, &size, NULL), 0);
    ck_assert_ptr_null(cmd);
    buf_release(&envelope);
}
END_TEST

START_TEST(a_cut_envelope_is_refused)
{
    struct buf envelope = {0};
    const void *cmd;
    size_t size;
    envelope_add(&envelope, "abc", 3);
    for (size_t cut = 1; cut < envelope.size; cut++) {
        size_t at = 0;
        ck_assert_int_eq(envelope_next(envelope.bytes, cut, &at, &cmd, &size, NULL), -ERR_CORRUPT);
        ck_assert_ptr_null(cmd);
    }
    size_t at = 0;
    ck_assert_int_eq(envelope_next("\0\0\0\0", 4, &at, &cmd, &size, NULL), -ERR_CORRUPT);
    buf_release(&envelope);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cmd_pack");
    TCase *way = tcase_create("way");
    tcase_add_loop_test(way, every_kind_of_command_survives_the_way, CMD_KIND_FIRST,
                        CMD_KIND_COUNT);
    tcase_add_loop_test(way, a_command_packed_before_is_only_stamped, CMD_KIND_FIRST,
                        CMD_KIND_COUNT);
    tcase_add_test(way, a_spec_survives_the_way_alone);
    tcase_add_test(way, an_envelope_gives_its_commands_back_in_order);
    suite_add_tcase(suite, way);
    TCase *bad = tcase_create("bad");
    tcase_set_timeout(bad, 120);
    tcase_add_loop_test(bad, every_truncation_of_a_command_is_refused, CMD_KIND_FIRST,
                        CMD_KIND_COUNT);
    tcase_add_loop_test(bad, damaged_commands_never_crash, CMD_KIND_FIRST, CMD_KIND_COUNT);
    tcase_add_test(bad, bytes_after_a_command_are_refused);
    tcase_add_test(bad, counts_that_are_not_there_allocate_nothing);
    tcase_add_test(bad, another_format_and_an_unknown_kind_are_refused);
    tcase_add_test(bad, victims_that_are_not_there_are_refused);
    tcase_add_test(bad, scores_of_stages_that_are_not_there_are_refused);
    tcase_add_test(bad, a_cut_envelope_is_refused);
    suite_add_tcase(suite, bad);
    TCase *limits = tcase_create("limits");
    tcase_add_test(limits, commands_over_their_limits_are_not_packed);
    tcase_add_test(limits, commands_with_values_that_are_none_are_not_packed);
    tcase_add_test(limits, a_spec_may_take_so_many_bytes_and_no_more);
    suite_add_tcase(suite, limits);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
