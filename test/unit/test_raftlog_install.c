/*
 * test_raftlog_install.c - a follower far behind gets a snapshot that takes long to load, while
 * commands come: its loop goes on, and one snapshot is enough.
 */
#include "raftlog_cell.h"

enum { LOAD_MS = 500 };

static unsigned loads, ends;

static void *restore_begin(void *data, const void *bytes, size_t size)
{
    struct state *copy = xcalloc(1, sizeof *copy);
    (void)data;
    ck_assert_uint_eq(size, sizeof *copy);
    memcpy(copy, bytes, size);
    return copy;
}

static void restore_load(void *token)
{
    (void)token;
    usleep(LOAD_MS * 1000);
    loads++;
}

static void restore_end(void *data, void *token)
{
    const struct replica *r = data;
    const struct state *copy = token;
    ck_assert_uint_gt(copy->count, r->state.count); /* not in place yet */
    free(token);
    ends++;
}

static void open_with_slow_loads(struct replica *r)
{
    static struct raftlog_handlers slow;
    struct raftlog_options o = options_of(r);
    struct err err;
    slow = handlers;
    slow.restore_begin = restore_begin;
    slow.restore_load = restore_load;
    slow.restore_end = restore_end;
    o.handlers = &slow;
    memset(&r->state, 0, sizeof r->state);
    r->closed = false;
    r->restored = 0;
    r->role = RAFTLOG_FOLLOWER;
    ck_assert_msg(raftlog_open(&o, &r->log, &err) == 0, "%s", err.msg);
}

static uint64_t turn_ms, longest_ms; /* between two turns of the loop */

/* A command each turn, for as long as it takes, but no more than the books have room for. */
static bool follower_has_all(struct cell *c, const void *arg)
{
    const struct replica *follower = arg;
    struct replica *leader = NULL;
    struct err err;
    uint64_t now_ms = clock_mono_ms();
    longest_ms = MAX(longest_ms, turn_ms != 0 ? now_ms - turn_ms : 0);
    turn_ms = now_ms;
    for (size_t i = 0; i < c->count; i++)
        if (!c->replicas[i].closed && c->replicas[i].role == RAFTLOG_LEADER)
            leader = &c->replicas[i];
    if (leader != NULL && c->under_way < 2)
        (void)propose_on(leader, &err);
    return leader != NULL && follower->restored > 0 &&
           follower->state.count + 4 >= leader->state.count;
}

START_TEST(one_snapshot_is_enough_and_the_loop_goes_on)
{
    struct cell *c = cell_new(3);
    c->options.snapshot_threshold = 64;
    c->options.snapshot_trailing = 16;
    for (size_t i = 0; i < c->count; i++)
        replica_open(&c->replicas[i]);
    propose_entries(c, 20);
    struct replica *follower = a_follower(c);
    uint64_t term = raftlog_status(wait_leader(c)->log).term;
    replica_close(follower);
    propose_entries(c, 400);
    open_with_slow_loads(follower);
    run_until(c, follower_has_all, follower, "a follower that has caught up");
    ck_assert_uint_eq(follower->restored, 1);
    ck_assert_uint_eq(loads, 1);
    ck_assert_uint_eq(ends, 1);
    ck_assert_uint_lt(longest_ms, LOAD_MS / 2);
    run_until(c, none_under_way, NULL, "answers");
    ck_assert_uint_eq(raftlog_status(wait_leader(c)->log).term, term);
    check_all_equal(c);
    /* Then the log is cut again. */
    propose_entries(c, 200);
    ck_assert_uint_gt(raftlog_status(wait_leader(c)->log).snapshot_index + 200,
                      raftlog_status(wait_leader(c)->log).last_index);
    cell_free(c);
}
END_TEST

/* The process may be told to end while a thread loads. */
START_TEST(closing_waits_for_the_thread_that_loads)
{
    struct cell *c = cell_new(3);
    c->options.snapshot_threshold = 64;
    c->options.snapshot_trailing = 16;
    for (size_t i = 0; i < c->count; i++)
        replica_open(&c->replicas[i]);
    propose_entries(c, 20);
    struct replica *follower = a_follower(c);
    replica_close(follower);
    propose_entries(c, 400);
    loads = ends = 0;
    open_with_slow_loads(follower);
    uint64_t until_ms = clock_mono_ms() + LOAD_MS / 2;
    while (clock_mono_ms() < until_ms)
        uv_run(&c->loop, UV_RUN_ONCE);
    replica_close(follower);
    ck_assert_uint_eq(loads, ends);
    ck_assert_uint_eq(follower->restored, 0);
    cell_free(c);
}
END_TEST

int main(void)
{
    log_open(LOG_ERROR, "test");
    signal(SIGPIPE, SIG_IGN);
    Suite *suite = suite_create("raftlog_install");
    TCase *t = tcase_create("install");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, one_snapshot_is_enough_and_the_loop_goes_on);
    tcase_add_test(t, closing_waits_for_the_thread_that_loads);
    suite_add_tcase(suite, t);
    return t_main(suite);
}
