/*
 * test_borgmaster_entry.c - an entry of several commands, a large one among them: a piece at a
 * time, and to the same end as its commands one after the other.
 */
#include "applier.h"
#include "cell_fixture.h"
#include "cmd_pack.h"
#include "entry.h"
#include "testlib.h"

enum { LARGE = 3 * APPLIER_PIECE_UNITS, INDEX = 9 };

static struct cmd submit(const char *name, uint32_t replicas)
{
    struct cmd cmd = {.kind = CMD_JOB_SUBMIT, .job_submit = spec_named(name, "ada", 100)};
    cmd.job_submit.replicas = replicas;
    return cmd;
}

static struct cmd kill_of(const char *name)
{
    struct cmd cmd = {.kind = CMD_JOB_KILL};
    str_copy(cmd.job_kill.name, sizeof cmd.job_kill.name, name);
    return cmd;
}

/* submit small, submit large, kill small, kill large */
struct scene {
    struct world w, once; /* in pieces, and command by command */
    struct proposer *proposer;
    struct entry entry;
    struct buf envelope;
};

static void scene_begin(struct scene *s)
{
    struct cmd cmds[] = {submit("small", 1), submit("large", LARGE), kill_of("small"),
                         kill_of("large")};
    const uint64_t tag = 4711;
    *s = (struct scene){.w = world_new(), .once = world_new(), .proposer = proposer_new()};
    buf_append(&s->envelope, &tag, sizeof tag);
    for (size_t i = 0; i < ARRAY_SIZE(cmds); i++) {
        struct buf CLEANUP(buf_release) packed = {0};
        ck_assert_int_eq(cmd_pack(&cmds[i], &packed, NULL), 0);
        envelope_add(&s->envelope, packed.bytes, packed.size);
        s->once.cell->applied_index = s->w.cell->applied_index = INDEX;
        ck_assert_int_eq(world_apply(&s->once, &cmds[i]), ERR_OK);
    }
}

static void scene_end(struct scene *s)
{
    buf_release(&s->envelope);
    proposer_free(s->proposer);
    world_release(&s->w), world_release(&s->once);
}

/* The bytes are at another address each time, and those of the last time are no more. */
static enum entry_went go_on(struct scene *s)
{
    struct buf CLEANUP(buf_release) moved = {0};
    buf_append(&moved, s->envelope.bytes, s->envelope.size);
    enum entry_went went = entry_go_on(&s->entry, s->w.cell, &s->w.changes, s->proposer, INDEX,
                                       moved.bytes, moved.size, &t_err);
    memset(moved.bytes, 'x', moved.size);
    return went;
}

START_TEST(its_commands_come_one_after_the_other_and_large_ones_in_pieces)
{
    struct scene s;
    scene_begin(&s);
    uint64_t before = cell_digest(s.w.cell);
    int halves = 0, commands = 0;
    for (enum entry_went went = ENTRY_HALF; went != ENTRY_OVER;) {
        size_t tasks = s.w.changes.task_count;
        went = go_on(&s);
        ck_assert_uint_le(s.w.changes.task_count - tasks, APPLIER_PIECE_UNITS);
        halves += went == ENTRY_HALF;
        commands += went != ENTRY_HALF;
        ck_assert_uint_eq(s.entry.index, went == ENTRY_OVER ? 0 : INDEX);
        if (went != ENTRY_OVER)
            ck_assert_uint_eq(s.entry.digest, before);
    }
    ck_assert_int_eq(commands, 4);
    ck_assert_int_ge(halves, 4);
    ck_assert_uint_eq(cell_digest(s.w.cell), cell_digest(s.once.cell));
    cell_check(s.w.cell);
    scene_end(&s);
}
END_TEST

START_TEST(it_can_be_dropped_anywhere_and_another_begun)
{
    struct scene s;
    for (int steps = 0; steps < 8; steps++) {
        scene_begin(&s);
        for (int i = 0; i < steps; i++)
            if (go_on(&s) == ENTRY_OVER)
                break;
        entry_drop(&s.entry);
        ck_assert_uint_eq(s.entry.index, 0);
        cell_clear(s.w.cell);
        s.w.cell->applied_index = INDEX;
        while (go_on(&s) != ENTRY_OVER)
            ;
        ck_assert_uint_eq(cell_digest(s.w.cell), cell_digest(s.once.cell));
        scene_end(&s);
    }
}
END_TEST

START_TEST(an_entry_without_commands_is_over_at_once)
{
    struct scene s;
    scene_begin(&s);
    ck_assert_int_eq(entry_go_on(&s.entry, s.w.cell, &s.w.changes, s.proposer, INDEX,
                                 s.envelope.bytes, 8, &t_err),
                     ENTRY_OVER);
    ck_assert(changes_empty(&s.w.changes));
    scene_end(&s);
}
END_TEST

/* What ends a replica, and does not bring it down in the middle. */
START_TEST(an_entry_that_this_release_cannot_read_is_not_applied)
{
    static const struct {
        const char *what;
        uint8_t cmd[16];
        uint32_t size;
        int code;
        const char *says;
    } rows[] = {
        {"a kind of a later release",
         {0x98, 1, 0, 0, 0, 0xa0, 0, 0xcc, 200, 0x90},
         10,
         ERR_STATE,
         "later release"},
        {"a field of a later release",
         {0x98, 1, 0, 0, 0, 0xa0, 0, 2, 0x92, 1, 7},
         11,
         ERR_STATE,
         "later release"},
        {"a later format",
         {0x98, 1, 0, 0, 0, 0xa0, 0, CMD_FORMAT_SET, 0x91, 99},
         10,
         ERR_STATE,
         "format 99"},
        {"damaged", {0x98, 1, 0, 0, 0, 0xa0, 0, 2, 0x91, 0xa0}, 10, ERR_CORRUPT, "not an integer"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct scene s;
        struct buf envelope = {0};
        struct err err = {0};
        scene_begin(&s);
        uint64_t digest = cell_digest(s.w.cell);
        buf_append(&envelope, s.envelope.bytes, 8);
        envelope_add(&envelope, rows[i].cmd, rows[i].size);
        ck_assert_msg(entry_go_on(&s.entry, s.w.cell, &s.w.changes, s.proposer, INDEX,
                                  envelope.bytes, envelope.size, &err) == ENTRY_NONE,
                      "%s", rows[i].what);
        ck_assert_msg((int)err.code == rows[i].code, "%s: %s", rows[i].what, err.msg);
        T_CONTAINS(err.msg, rows[i].says);
        ck_assert_uint_eq(cell_digest(s.w.cell), digest);
        buf_release(&envelope);
        scene_end(&s);
    }
}
END_TEST

START_TEST(a_format_that_a_user_may_not_set_stops_nobody)
{
    struct scene s;
    struct buf envelope = {0}, packed = {0};
    struct err err = {0};
    struct cmd cmd = {.kind = CMD_FORMAT_SET, .user = "eve", .format_set.format = 99};
    scene_begin(&s);
    T_OK(cmd_pack(&cmd, &packed, &t_err));
    buf_append(&envelope, s.envelope.bytes, 8);
    envelope_add(&envelope, packed.bytes, packed.size);
    ck_assert_int_eq(entry_go_on(&s.entry, s.w.cell, &s.w.changes, s.proposer, INDEX,
                                 envelope.bytes, envelope.size, &err),
                     ENTRY_OVER);
    ck_assert_uint_eq(cell_format(s.w.cell), 1);
    buf_release(&envelope), buf_release(&packed);
    scene_end(&s);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("borgmaster_entry");
    TCase *tcase = tcase_create("entry");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, its_commands_come_one_after_the_other_and_large_ones_in_pieces);
    tcase_add_test(tcase, an_entry_that_this_release_cannot_read_is_not_applied);
    tcase_add_test(tcase, a_format_that_a_user_may_not_set_stops_nobody);
    tcase_add_test(tcase, it_can_be_dropped_anywhere_and_another_begun);
    tcase_add_test(tcase, an_entry_without_commands_is_over_at_once);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
