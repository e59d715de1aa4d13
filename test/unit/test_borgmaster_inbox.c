/*
 * test_borgmaster_inbox.c - waiting commands: lane, order and number.
 */
#include "inbox.h"

#include "cmd_pack.h"
#include "testlib.h"

static const struct {
    enum cmd_kind kind;
    const char *user;
    bool by_operator;
    enum inbox_lane lane;
} lanes[] = {
    {CMD_REPORT, "", false, INBOX_CELL},
    {CMD_MACHINE_DOWN, "", false, INBOX_CELL},
    {CMD_USAGE, "", false, INBOX_USAGE},
    {CMD_MACHINE_DRAIN, "root", true, INBOX_OPERATOR},
    {CMD_JOB_KILL, "root", true, INBOX_OPERATOR},
    {CMD_JOB_KILL, "olga", true, INBOX_OPERATOR},
    {CMD_JOB_KILL, "ada", false, INBOX_USERS},
    {CMD_MACHINE_DRAIN, "ada", false,
     INBOX_USERS}, /* it will be refused, but anybody may send it */
};

START_TEST(every_command_has_its_lane)
{
    struct cmd cmd = {.kind = lanes[_i].kind};
    str_copy(cmd.user, sizeof cmd.user, lanes[_i].user);
    ck_assert_int_eq(inbox_lane_of(&cmd, lanes[_i].by_operator), lanes[_i].lane);
}
END_TEST

struct told {
    int calls;
    struct err err;
};

static void on_answer(void *data, const struct err *err, const struct wire_answer *answer)
{
    struct told *told = data;
    ck_assert_ptr_null(answer);
    told->calls++;
    told->err = err == NULL ? (struct err){0} : *err;
}

static void put(struct inbox *inbox, const char *user, const char *job, struct told *told)
{
    struct cmd cmd = {.kind = CMD_JOB_KILL};
    str_copy(cmd.user, sizeof cmd.user, user);
    str_copy(cmd.job_kill.name, sizeof cmd.job_kill.name, job);
    inbox_put(inbox, &cmd, CELL_FORMAT, strcmp(user, "root") == 0, on_answer, told);
}

static struct cmd take(struct inbox *inbox)
{
    struct cmd cmd;
    struct inbox_cmd *taken = inbox_take(inbox);
    ck_assert_ptr_nonnull(taken);
    T_OK(cmd_unpack(taken->packed.bytes, taken->packed.size, &cmd, &t_err));
    inbox_cmd_done(taken, NULL, NULL);
    return cmd;
}

START_TEST(a_flood_delays_only_its_user)
{
    struct inbox inbox;
    struct told flood = {0}, others = {0};
    int until_bob = 0, until_root = 0;
    inbox_init(&inbox);
    for (int i = 0; i < INBOX_USER_COMMANDS_MAX; i++)
        put(&inbox, "ada", "a", &flood);
    ck_assert_int_eq(flood.calls, 0);
    put(&inbox, "ada", "one too many", &flood);
    ck_assert_int_eq(flood.calls, 1);
    ck_assert_int_eq(flood.err.code, ERR_UNAVAILABLE);
    T_CONTAINS(flood.err.msg, "of user \"ada\" wait");
    for (int i = 0; i < 100; i++) /* she has sent commands for a while */
        (void)take(&inbox);
    put(&inbox, "bob", "b", &others);
    put(&inbox, "root", "r", &others);
    for (int i = 1; until_bob == 0 || until_root == 0; i++) {
        struct cmd cmd = take(&inbox);
        until_bob = strcmp(cmd.user, "bob") == 0 ? i : until_bob;
        until_root = strcmp(cmd.user, "root") == 0 ? i : until_root;
    }
    ck_assert_int_le(until_bob, 4);
    ck_assert_int_le(until_root, 3);
    ck_assert_int_eq(others.calls, 2);
    struct err err;
    err_set(&err, ERR_UNAVAILABLE, "no leader");
    inbox_refuse(&inbox, &err);
    ck_assert_ptr_null(inbox_next(&inbox));
    ck_assert_int_eq(flood.calls, INBOX_USER_COMMANDS_MAX + 1);
    ck_assert_str_eq(flood.err.msg, "no leader");
    fair_release(&inbox.queue);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("borgmaster_inbox");
    TCase *tcase = tcase_create("inbox");
    tcase_add_loop_test(tcase, every_command_has_its_lane, 0, (int)ARRAY_SIZE(lanes));
    tcase_add_test(tcase, a_flood_delays_only_its_user);
    suite_add_tcase(suite, tcase);
    return t_main(suite);
}
