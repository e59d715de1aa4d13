/*
 * test_borgmaster_proposer.c - what shares an entry, what is under way together, who is answered.
 *
 * The log is made up: it keeps what is proposed until the test commits it.
 */
#include "cell_fixture.h"
#include "cmd_pack.h"
#include "proposer.h"

static struct {
    struct raftlog_proposal *requests[PROPOSALS_IN_FLIGHT_MAX];
    struct buf entries[PROPOSALS_IN_FLIGHT_MAX];
    uint32_t count; /* under way */
    raftlog_proposal_cb cb;
} fake;

int raftlog_propose(struct raftlog *log, struct raftlog_proposal *req, const void *bytes,
                    size_t size, raftlog_proposal_cb cb, struct err *err)
{
    (void)log, (void)err;
    ck_assert_uint_lt(fake.count, PROPOSALS_IN_FLIGHT_MAX);
    fake.cb = cb;
    fake.requests[fake.count] = req;
    buf_append(&fake.entries[fake.count++], bytes, size);
    return 0;
}

struct raftlog_status raftlog_status(const struct raftlog *log)
{
    (void)log;
    return (struct raftlog_status){.in_flight = fake.count};
}

struct told {
    uint32_t count;
    enum err_code code; /* the last: of the answer or of the err */
};

static void on_answer(void *data, const struct err *err, const struct wire_answer *answer)
{
    struct told *told = data;
    told->count++;
    told->code = err != NULL ? err->code : answer->code;
}

struct scene {
    struct world w;
    struct inbox inbox;
    struct proposer *proposer;
    struct told told;
};

static struct scene scene_new(void)
{
    struct scene s = {.w = world_new(), .proposer = proposer_new()};
    return s;
}

static void scene_release(struct scene *s)
{
    fair_release(&s->inbox.queue);
    proposer_free(s->proposer);
    world_release(&s->w);
}

static void flush(struct scene *s)
{
    proposer_flush(s->proposer, &s->inbox, s->w.cell, NULL);
}

static void put_submit(struct scene *s, const char *name, uint32_t replicas)
{
    struct cmd cmd = {.kind = CMD_JOB_SUBMIT, .job_submit = spec_named(name, "ada", 100)};
    cmd.job_submit.replicas = replicas;
    str_copy(cmd.user, sizeof cmd.user, "ada");
    inbox_put(&s->inbox, &cmd, CELL_FORMAT, false, on_answer, &s->told);
    cmd_release(&cmd);
}

static void put_kill(struct scene *s, const char *name)
{
    struct cmd cmd = {.kind = CMD_JOB_KILL};
    str_copy(cmd.user, sizeof cmd.user, "ada");
    str_copy(cmd.job_kill.name, sizeof cmd.job_kill.name, name);
    inbox_put(&s->inbox, &cmd, CELL_FORMAT, false, on_answer, &s->told);
}

/* Apply the first entry as core.c does; how many commands it had. */
static uint32_t apply_first(struct scene *s)
{
    struct buf *entry = &fake.entries[0];
    struct proposal *ours;
    const void *bytes;
    size_t at, size;
    uint32_t count = 0;
    ck_assert_int_eq(proposer_open(s->proposer, entry->bytes, entry->size, &at, &ours, NULL), 0);
    for (;; count++) {
        struct cmd cmd;
        struct answer answer = {0};
        ck_assert_int_eq(envelope_next(entry->bytes, entry->size, &at, &bytes, &size, NULL), 0);
        if (bytes == NULL)
            break;
        ck_assert_int_eq(cmd_unpack(bytes, size, &cmd, NULL), 0);
        cell_apply(s->w.cell, &cmd, &s->w.changes, &answer);
        cmd_release(&cmd);
        if (ours != NULL)
            proposer_answer(ours, &answer, 7);
    }
    return count;
}

static void forget_first(void)
{
    buf_release(&fake.entries[0]);
    fake.count--;
    memmove(fake.entries, fake.entries + 1, fake.count * sizeof *fake.entries);
    memmove(fake.requests, fake.requests + 1, fake.count * sizeof *fake.requests);
    fake.entries[fake.count] = (struct buf){0};
}

START_TEST(a_command_that_touches_many_tasks_is_under_way_alone)
{
    struct scene s = scene_new();
    inbox_init(&s.inbox);
    put_submit(&s, "small", 1);
    put_submit(&s, "large", CELL_TASKS_PER_JOB_MAX);
    put_kill(&s, "large"); /* of tasks that are not there yet */
    put_submit(&s, "other", CELL_TASKS_PER_JOB_MAX);
    uint32_t sizes[4] = {0};
    for (int i = 0; i < 4; i++) {
        flush(&s);
        ck_assert_uint_eq(fake.count, 1);
        struct raftlog_proposal *req = fake.requests[0];
        sizes[i] = apply_first(&s);
        forget_first();
        fake.cb(req, 0);
    }
    for (int i = 0; i < 4; i++)
        ck_assert_uint_eq(sizes[i], 1);
    ck_assert_uint_eq(s.told.count, 4);
    ck_assert_int_eq(s.told.code, ERR_OK);
    flush(&s);
    ck_assert_uint_eq(fake.count, 0);
    ck_assert(job_is_dead(cell_job_named(s.w.cell, "large")));
    scene_release(&s);
}
END_TEST

START_TEST(small_commands_share_entries_and_entries_the_way)
{
    struct scene s = scene_new();
    inbox_init(&s.inbox);
    for (int i = 0; i < 3 * ENVELOPE_COMMANDS_MAX; i++)
        put_kill(&s, "nobody");
    flush(&s);
    ck_assert_uint_eq(fake.count, 3);
    while (fake.count > 0) {
        struct raftlog_proposal *req = fake.requests[0];
        ck_assert_uint_eq(apply_first(&s), ENVELOPE_COMMANDS_MAX);
        forget_first();
        fake.cb(req, 0);
    }
    ck_assert_uint_eq(s.told.count, 3 * ENVELOPE_COMMANDS_MAX);
    ck_assert_int_eq(s.told.code, ERR_NOT_FOUND);
    scene_release(&s);
}
END_TEST

/* The log says so before the cell has it, when many entries come at once. */
START_TEST(what_is_committed_is_answered_when_it_is_applied)
{
    struct scene s = scene_new();
    inbox_init(&s.inbox);
    put_submit(&s, "web", 2);
    put_kill(&s, "web");
    flush(&s);
    fake.cb(fake.requests[0], 0);
    ck_assert_uint_eq(s.told.count, 0);
    ck_assert_uint_eq(apply_first(&s), 2);
    ck_assert_uint_eq(s.told.count, 2);
    ck_assert_int_eq(s.told.code, ERR_OK);
    ck_assert_uint_eq(apply_first(&s), 2); /* it is not ours any more: nobody waits */
    ck_assert_uint_eq(s.told.count, 2);
    forget_first();
    scene_release(&s);
}
END_TEST

START_TEST(what_a_snapshot_brings_has_an_unknown_outcome)
{
    struct scene s = scene_new();
    inbox_init(&s.inbox);
    put_submit(&s, "web", 2);
    flush(&s);
    proposer_lose(s.proposer); /* it is not committed: it may still come */
    ck_assert_uint_eq(s.told.count, 0);
    fake.cb(fake.requests[0], 0);
    proposer_lose(s.proposer);
    ck_assert_uint_eq(s.told.count, 1);
    ck_assert_int_eq(s.told.code, ERR_UNKNOWN_OUTCOME);
    forget_first();
    put_submit(&s, "db", 2);
    flush(&s);
    fake.cb(fake.requests[0], -ERR_UNKNOWN_OUTCOME);
    ck_assert_uint_eq(s.told.count, 2);
    ck_assert_int_eq(s.told.code, ERR_UNKNOWN_OUTCOME);
    ck_assert_uint_eq(apply_first(&s), 1);
    ck_assert_uint_eq(s.told.count, 2);
    forget_first();
    scene_release(&s);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("borgmaster_proposer");
    TCase *tcase = tcase_create("proposer");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, a_command_that_touches_many_tasks_is_under_way_alone);
    tcase_add_test(tcase, small_commands_share_entries_and_entries_the_way);
    tcase_add_test(tcase, what_is_committed_is_answered_when_it_is_applied);
    tcase_add_test(tcase, what_a_snapshot_brings_has_an_unknown_outcome);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
