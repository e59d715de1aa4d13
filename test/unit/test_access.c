/*
 * test_access.c - who may send which command and message: the table and its enforcement.
 */
#include "cell_fixture.h"

#include "access.h"
#include "wire.h"

/* Ada owns the job "web"; rita is a reader, olga an operator; eve has two rights that do not apply
 * here; "" is the cell itself. */
static const char *const senders[] = {"ada", "eve", "rita", "olga", "root", ""};
enum { SENDER_COUNT = 6 };

/* One letter per entry of `senders`: y is allowed, n is not. Written by hand, so that a new command
 * needs a new line here. */
static const struct {
    enum cmd_kind kind;
    const char *allowed;
} commands[] = {
    {CMD_MACHINE_REGISTER, "nnnnny"},
    {CMD_MACHINE_DOWN, "nnnnny"},
    {CMD_JOB_SUBMIT, "yyyyyy"},
    {CMD_JOB_KILL, "ynnyyy"},
    {CMD_SCHEDULE, "nnnnny"},
    {CMD_REPORT, "nnnnny"},
    {CMD_WAKE, "nnnnny"},
    {CMD_MACHINE_DRAIN, "nnnyyy"},
    {CMD_QUOTA_SET, "nnnyyy"},
    {CMD_MACHINE_EVICT, "nnnnny"},
    {CMD_JOB_UPDATE, "ynnyyy"},
    {CMD_POLICY_SET, "nnnyyy"},
    {CMD_HOLD_SET, "nnnyyy"},
    {CMD_USAGE, "nnnnny"},
    {CMD_MACHINE_RECLAIM, "nnnnny"},
    {CMD_JOB_RESIZE, "nnnnny"},
    {CMD_MASTERS_SET, "nnnnny"},
    {CMD_MASTER_ADD, "nnnyyy"},
    {CMD_MASTER_REMOVE, "nnnyyy"},
    {CMD_MASTER_STEP, "nnnnny"},
    {CMD_IDENTITY_SET, "nnnyyy"},
    {CMD_MACHINE_TRY, "nnnnny"},
    {CMD_MACHINE_REMOVE, "nnnyyy"},
    {CMD_FORMAT_SET, "nnnyyy"},
    {CMD_JOB_RESTART, "ynnyyy"},
};

#define U BIT(ROLE_USER)
#define M BIT(ROLE_MASTER)
#define B BIT(ROLE_BORGLET)
#define NOTICE ROLE_MAY_NOTIFY

/* The roles that may send it; for users, the ones that may send it about ada's job. */
static const struct {
    enum wire_method method;
    uint32_t roles;
    const char *allowed;
} methods[] = {
    {WIRE_COMMAND, U, "yyyyyy"},
    {WIRE_QUERY, U, "yyyyyy"},
    {WIRE_STATUS, U | M, "yyyyyy"},
    {WIRE_WHY, U, "ynyyyy"},
    {WIRE_LOGS, U, "ynyyyy"},
    {WIRE_CHECKPOINT, U, "nnyyyy"},
    {WIRE_TRANSFER, U | M, "nnnyyy"},
    {WIRE_FORWARD, M, "nnnnny"},
    {WIRE_ALIVE, M, "nnnnny"},
    {WIRE_BARRIER, M, "nnnnny"},
    {WIRE_JOIN, M, "nnnnny"},
    {WIRE_HELLO, B, "nnnnny"},
    {WIRE_REPORT, B | NOTICE, "nnnnny"},
    {WIRE_USAGE, B | NOTICE, "nnnnny"},
    {WIRE_INTEND, M | NOTICE, "nnnnny"},
    {WIRE_MOVE, M | NOTICE, "nnnnny"},
    {WIRE_REPLICAS, M | NOTICE, "nnnnny"},
    {WIRE_IDENTITIES, M | NOTICE, "nnnnny"},
    {WIRE_LOG_CHUNK, B | NOTICE, "nnnnny"},
};

static void grant(struct world *w, const char *identity, uint32_t rights)
{
    struct cmd cmd = {.kind = CMD_IDENTITY_SET, .identity_set = {.add = rights}};
    str_copy(cmd.identity_set.identity, sizeof cmd.identity_set.identity, identity);
    ck_assert_int_eq(world_apply(w, &cmd), ERR_OK);
}

static struct world world_of_senders(void)
{
    struct world w = world_new();
    struct cmd format = {.kind = CMD_FORMAT_SET, .format_set.format = CELL_FORMAT};
    ck_assert_int_eq(world_apply(&w, &format), ERR_OK);
    grant(&w, "user/rita", BIT(RIGHT_READER));
    grant(&w, "user/olga", BIT(RIGHT_OPERATOR));
    grant(&w, "user/eve", BIT(RIGHT_PRODUCTION) | BIT(RIGHT_MONITORING));
    world_job(&w, spec_named("web", "ada", 100));
    return w;
}

/* Return a command of this kind about ada's job, or about nothing. */
static struct cmd cmd_of(enum cmd_kind kind, const char *user)
{
    struct cmd cmd = {.kind = kind};
    str_copy(cmd.user, sizeof cmd.user, user);
    if (kind == CMD_JOB_SUBMIT)
        cmd.job_submit = spec_named("another", user, 100);
    if (kind == CMD_JOB_KILL)
        str_copy(cmd.job_kill.name, sizeof cmd.job_kill.name, "web");
    if (kind == CMD_JOB_UPDATE) {
        str_copy(cmd.job_update.name, sizeof cmd.job_update.name, "web");
        cmd.job_update.replicas = 2;
        cmd.job_update.priority = JOB_UPDATE_KEEP;
    }
    if (kind == CMD_JOB_RESTART) {
        str_copy(cmd.job_restart.name, sizeof cmd.job_restart.name, "web");
        cmd.job_restart.index = -1;
    }
    if (kind == CMD_POLICY_SET)
        cmd.policy_set.policy = POLICY_BEST_FIT;
    return cmd;
}

START_TEST(a_command_is_accepted_only_from_its_senders)
{
    enum cmd_kind kind = (enum cmd_kind)_i;
    const char *allowed = NULL;
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
        if (commands[i].kind == kind)
            allowed = commands[i].allowed;
    ck_assert_msg(allowed != NULL, "command %s has no row in the expected table",
                  cmd_kind_text(kind));
    for (int s = 0; s < SENDER_COUNT; s++) {
        struct world w = world_of_senders();
        uint64_t digest = cell_digest(w.cell);
        struct cmd cmd = cmd_of(kind, senders[s]);
        struct err err = {0};
        bool may = cmd_access_check(w.cell, &cmd, &err) == 0;
        ck_assert_msg(may == (allowed[s] == 'y'), "%s by \"%s\": %s", cmd_kind_text(kind),
                      senders[s], err.msg);
        bool denied = world_apply(&w, &cmd) == ERR_DENIED;
        ck_assert_msg(denied == !may, "%s by \"%s\": %s", cmd_kind_text(kind), senders[s],
                      w.answer.msg);
        if (denied)
            ck_assert_uint_eq(cell_digest(w.cell), digest);
        world_release(&w);
    }
}
END_TEST

START_TEST(a_message_is_accepted_only_from_its_roles)
{
    static const struct {
        enum wire_method method;
        uint32_t roles;
    } all[] = {
#define X(name, ...) {WIRE_##name, WIRE_##name##_ROLES},
        WIRE_METHODS(X)
#undef X
    };
    struct world w = world_of_senders();
    ck_assert_uint_eq(ARRAY_SIZE(all), ARRAY_SIZE(methods));
    for (size_t m = 0; m < ARRAY_SIZE(all); m++) {
        size_t at = 0;
        while (at < ARRAY_SIZE(methods) && methods[at].method != all[m].method)
            at++;
        ck_assert_msg(at < ARRAY_SIZE(methods), "method %d has no row in the expected table",
                      (int)all[m].method);
        ck_assert_uint_eq(methods[at].roles, all[m].roles);
        for (int s = 0; s < SENDER_COUNT; s++)
            ck_assert_msg(access_allows(w.cell, wire_rule(all[m].method)->access, senders[s],
                                        "ada") == (methods[at].allowed[s] == 'y'),
                          "%s by \"%s\"", wire_rule(all[m].method)->deed, senders[s]);
    }
    world_release(&w);
}
END_TEST

START_TEST(a_refusal_names_the_users_who_may)
{
    struct world w = world_of_senders();
    static const struct {
        enum access access;
        const char *says;
    } rows[] = {
        {ACCESS_OWNER, "it is of user \"ada\": only that user and an operator of the cell may x"},
        {ACCESS_VIEWER,
         "it is of user \"ada\": only that user, a reader and an operator of the cell may x"},
        {ACCESS_READER, "user \"eve\" may not x: only a reader or an operator of the cell may"},
        {ACCESS_OPERATOR, "user \"eve\" may not x: only an operator of the cell may"},
        {ACCESS_CELL, "user \"eve\" may not x: no user may"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct err err;
        ck_assert_int_eq(access_check(w.cell, rows[i].access, "eve", "ada", "x", &err),
                         -ERR_DENIED);
        ck_assert_str_eq(err.msg, rows[i].says);
    }
    world_release(&w);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("access");
    TCase *tcase = tcase_create("access");
    tcase_add_loop_test(tcase, a_command_is_accepted_only_from_its_senders, 1, CMD_KIND_COUNT);
    tcase_add_test(tcase, a_message_is_accepted_only_from_its_roles);
    tcase_add_test(tcase, a_refusal_names_the_users_who_may);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
