/*
 * test_apply_identity.c - granting and removing rights, revoking and unrevoking certificates.
 */
#include "cell_fixture.h"

static struct cmd identity_cmd(const char *identity, uint32_t add, uint32_t remove,
                               enum revoke revoke)
{
    struct cmd cmd = {.kind = CMD_IDENTITY_SET,
                      .identity_set = {.add = add, .remove = remove, .revoke = revoke}};
    str_copy(cmd.identity_set.identity, sizeof cmd.identity_set.identity, identity);
    return cmd;
}

static enum err_code apply_as(struct world *w, const char *user, struct cmd cmd)
{
    str_copy(cmd.user, sizeof cmd.user, user);
    cmd.time_ms = w->cell->now_ms + 10;
    return world_apply(w, &cmd);
}

static enum err_code grant(struct world *w, const char *identity, uint32_t rights)
{
    return apply_as(w, "root", identity_cmd(identity, rights, 0, REVOKE_NO));
}

START_TEST(an_operator_has_every_right_and_root_is_an_operator)
{
    struct world w = world_new();
    for (enum right r = 0; r < RIGHT_COUNT; r++) {
        ck_assert(cell_user_is(w.cell, "root", r));
        ck_assert(!cell_user_is(w.cell, "ada", r));
        ck_assert(!cell_user_is(w.cell, "", r));
    }
    ck_assert_int_eq(grant(&w, "user/ada", BIT(RIGHT_OPERATOR)), ERR_OK);
    ck_assert_str_eq(w.answer.msg, "user/ada operator");
    for (enum right r = 0; r < RIGHT_COUNT; r++)
        ck_assert(cell_user_is(w.cell, "ada", r));
    ck_assert_int_eq(grant(&w, "user/bob", BIT(RIGHT_READER) | BIT(RIGHT_MONITORING)), ERR_OK);
    ck_assert_str_eq(w.answer.msg, "user/bob reader monitoring");
    ck_assert(cell_user_is(w.cell, "bob", RIGHT_READER));
    ck_assert(cell_user_is(w.cell, "bob", RIGHT_MONITORING));
    ck_assert(!cell_user_is(w.cell, "bob", RIGHT_PRODUCTION));
    ck_assert(!cell_user_is(w.cell, "bob", RIGHT_OPERATOR));
    world_release(&w);
}
END_TEST

START_TEST(only_an_operator_grants_rights)
{
    struct world w = world_new();
    struct cmd cmd = identity_cmd("user/eve", BIT(RIGHT_OPERATOR), 0, REVOKE_NO);
    ck_assert_int_eq(apply_as(&w, "eve", cmd), ERR_DENIED);
    ck_assert_ptr_nonnull(strstr(w.answer.msg, "only an operator of the cell may"));
    ck_assert_int_eq(grant(&w, "user/bob", BIT(RIGHT_READER) | BIT(RIGHT_PRODUCTION)), ERR_OK);
    ck_assert_int_eq(apply_as(&w, "bob", cmd), ERR_DENIED);
    ck_assert_int_eq(grant(&w, "user/ada", BIT(RIGHT_OPERATOR)), ERR_OK);
    ck_assert_int_eq(apply_as(&w, "ada", cmd), ERR_OK);
    const struct identity_row *row = cell_identity(w.cell, "user/eve");
    ck_assert_str_eq(row->changed_by, "ada");
    ck_assert_uint_eq(row->changed_ms, w.cell->now_ms);
    ck_assert_str_eq(w.changes.events[0].detail, "user/eve operator, by ada");
    world_release(&w);
}
END_TEST

START_TEST(a_row_without_rights_is_removed)
{
    struct world w = world_new();
    uint64_t before = w.cell->digest_sum;
    ck_assert_int_eq(grant(&w, "user/ada", BIT(RIGHT_READER) | BIT(RIGHT_PRODUCTION)), ERR_OK);
    struct cmd cmd = identity_cmd("user/ada", 0, BIT(RIGHT_READER), REVOKE_NO);
    ck_assert_int_eq(apply_as(&w, "root", cmd), ERR_OK);
    ck_assert(!cell_user_is(w.cell, "ada", RIGHT_READER));
    ck_assert(cell_user_is(w.cell, "ada", RIGHT_PRODUCTION));
    cmd = identity_cmd("user/ada", 0, BIT(RIGHT_PRODUCTION), REVOKE_NO);
    ck_assert_int_eq(apply_as(&w, "root", cmd), ERR_OK);
    ck_assert_ptr_null(cell_identity(w.cell, "user/ada"));
    ck_assert_uint_eq(w.cell->identity_count, 0);
    ck_assert_uint_eq(w.cell->digest_sum, before);
    ck_assert_int_eq(apply_as(&w, "root", cmd), ERR_OK); /* the user has none: nothing changes */
    ck_assert_uint_eq(w.cell->identity_count, 0);
    world_release(&w);
}
END_TEST

START_TEST(a_revocation_covers_certificates_issued_before)
{
    struct world w = world_new();
    ck_assert_int_eq(grant(&w, "user/ada", BIT(RIGHT_READER)), ERR_OK);
    ck_assert(!cell_identity_revoked(w.cell, "user/ada", 0));
    struct cmd cmd = identity_cmd("user/ada", 0, 0, REVOKE_YES);
    ck_assert_int_eq(apply_as(&w, "root", cmd), ERR_OK);
    uint64_t at_ms = w.cell->now_ms;
    ck_assert(cell_identity_revoked(w.cell, "user/ada", 0));
    ck_assert(cell_identity_revoked(w.cell, "user/ada", at_ms));
    ck_assert(!cell_identity_revoked(w.cell, "user/ada", at_ms + 1));
    ck_assert(!cell_identity_revoked(w.cell, "borglet/ada", 0));
    ck_assert(!cell_identity_revoked(w.cell, "user/bob", 0));
    ck_assert(cell_user_is(w.cell, "ada", RIGHT_READER)); /* with the next certificate */
    cmd = identity_cmd("user/ada", 0, 0, REVOKE_RESTORE);
    ck_assert_int_eq(apply_as(&w, "root", cmd), ERR_OK);
    ck_assert(!cell_identity_revoked(w.cell, "user/ada", 0));
    cmd = identity_cmd("borglet/m1", 0, 0, REVOKE_YES);
    ck_assert_int_eq(apply_as(&w, "root", cmd), ERR_OK);
    ck_assert(cell_identity_revoked(w.cell, "borglet/m1", 0));
    cmd = identity_cmd("master/3", 0, 0, REVOKE_YES);
    ck_assert_int_eq(apply_as(&w, "root", cmd), ERR_OK);
    ck_assert(cell_identity_revoked(w.cell, "master/3", at_ms));
    world_release(&w);
}
END_TEST

static const struct {
    const char *identity;
    uint32_t add, remove;
    enum revoke revoke;
    enum err_code code;
    const char *says;
} refusals[] = {
    {"user/root", 0, BIT(RIGHT_OPERATOR), REVOKE_NO, ERR_DENIED, "always is the cell's operator"},
    {"user/root", 0, 0, REVOKE_YES, ERR_DENIED, "cannot be revoked"},
    {"user/root", BIT(RIGHT_READER), 0, REVOKE_NO, ERR_DENIED, "always is"},
    {"borglet/m1", BIT(RIGHT_READER), 0, REVOKE_NO, ERR_INVALID, "only users have rights"},
    {"master/1", BIT(RIGHT_OPERATOR), 0, REVOKE_NO, ERR_INVALID, "only users have rights"},
    {"user/ada", BIT(RIGHT_COUNT), 0, REVOKE_NO, ERR_INVALID, "are none"},
    {"user/ada", 0, BIT(31), REVOKE_NO, ERR_INVALID, "are none"},
    {"user/ada", 0, 0, REVOKE_COUNT, ERR_INVALID, "no way to revoke"},
    {"ada", 0, 0, REVOKE_YES, ERR_INVALID, "is no identity"},
    {"user/", 0, 0, REVOKE_YES, ERR_INVALID, "is no identity"},
    {"user/a b", 0, 0, REVOKE_YES, ERR_INVALID, "is no identity"},
    {"admin/ada", 0, 0, REVOKE_YES, ERR_INVALID, "is no identity"},
    {"", 0, 0, REVOKE_YES, ERR_INVALID, "is no identity"},
};

START_TEST(an_invalid_change_is_refused)
{
    struct world w = world_new();
    struct cmd cmd = identity_cmd(refusals[_i].identity, refusals[_i].add, refusals[_i].remove,
                                  refusals[_i].revoke);
    ck_assert_int_eq(apply_as(&w, "root", cmd), refusals[_i].code);
    ck_assert_msg(strstr(w.answer.msg, refusals[_i].says) != NULL, "%s", w.answer.msg);
    ck_assert_uint_eq(w.cell->identity_count, 0);
    ck_assert(!w.changes.identities);
    world_release(&w);
}
END_TEST

START_TEST(the_number_of_identities_is_limited)
{
    struct world w = world_new();
    struct changes changes = {0};
    struct answer answer;
    for (uint32_t i = 0; i <= CELL_IDENTITIES_MAX; i++) {
        char identity[32];
        snprintf(identity, sizeof identity, "borglet/m%06u", i * 7919 % (CELL_IDENTITIES_MAX + 1));
        struct cmd cmd = identity_cmd(identity, 0, 0, REVOKE_YES);
        cell_apply(w.cell, &cmd, &changes, &answer);
        ck_assert_int_eq(answer.code, i < CELL_IDENTITIES_MAX ? ERR_OK : ERR_LIMIT);
    }
    ck_assert_uint_eq(w.cell->identity_count, CELL_IDENTITIES_MAX);
    cell_check(w.cell);
    changes_release(&changes);
    world_release(&w);
}
END_TEST

START_TEST(a_checkpoint_restores_the_rows)
{
    struct world w = world_new();
    struct cell *again = cell_new();
    struct err err;
    size_t count;
    ck_assert_int_eq(grant(&w, "user/zoe", BIT(RIGHT_READER)), ERR_OK);
    ck_assert_int_eq(grant(&w, "user/ada", BIT(RIGHT_OPERATOR)), ERR_OK);
    ck_assert_int_eq(apply_as(&w, "root", identity_cmd("borglet/m1", 0, 0, REVOKE_YES)), ERR_OK);
    CLEANUP(free_ptr) struct identity_row *rows = cell_identities(w.cell, &count);
    ck_assert_uint_eq(count, 3);
    again->now_ms = w.cell->now_ms;
    again->event_seq = w.cell->event_seq;
    for (size_t i = 0; i < count; i++)
        ck_assert_int_eq(cell_load_identity(again, &rows[i], &err), 0);
    ck_assert_int_eq(cell_load_done(again, &err), 0);
    cell_check(again);
    ck_assert_uint_eq(cell_digest(again), cell_digest(w.cell));
    /* the row is there twice */
    ck_assert_int_eq(cell_load_identity(again, &rows[0], &err), -ERR_CORRUPT);
    struct identity_row bad = {.identity = "user/bob", .rights = BIT(RIGHT_COUNT)};
    ck_assert_int_eq(cell_load_identity(again, &bad, &err), -ERR_CORRUPT);
    bad = (struct identity_row){.identity = "user/bob"};
    ck_assert_int_eq(cell_load_identity(again, &bad, &err), -ERR_CORRUPT);
    bad = (struct identity_row){.identity = "user/bob", .revoked_ms = again->now_ms + 1};
    ck_assert_int_eq(cell_load_identity(again, &bad, &err), -ERR_CORRUPT);
    cell_free(again);
    world_release(&w);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("apply_identity");
    TCase *tcase = tcase_create("identity");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, an_operator_has_every_right_and_root_is_an_operator);
    tcase_add_test(tcase, only_an_operator_grants_rights);
    tcase_add_test(tcase, a_row_without_rights_is_removed);
    tcase_add_test(tcase, a_revocation_covers_certificates_issued_before);
    tcase_add_loop_test(tcase, an_invalid_change_is_refused, 0, (int)ARRAY_SIZE(refusals));
    tcase_add_test(tcase, the_number_of_identities_is_limited);
    tcase_add_test(tcase, a_checkpoint_restores_the_rows);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
