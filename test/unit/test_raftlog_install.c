/*
 * test_raftlog_install.c - a follower far behind gets a snapshot that takes long to load, while
 * commands come: its loop goes on, and one snapshot is enough.
 */
#include "raftlog_cell.h"

#include <pthread.h>

enum { LOAD_MS = 500, THRESHOLD = 64, TRAILING = 16 };

static unsigned begins, loads, ends, drops;
static unsigned turns; /* of the loop, while the last one was loaded */
static pthread_t loop_thread;
static bool loading; /* or loaded, and neither in place nor dropped */

/* One snapshot for each leader that there was since `term`: a follower cuts its own log as it
 * likes, so the next leader may need to send another. */
static void check_one_each(struct cell *c, const struct replica *follower, uint64_t term)
{
    unsigned leaders = (unsigned)(raftlog_status(wait_leader(c)->log).term - term) + 1;
    ck_assert_uint_ge(follower->restored, 1);
    ck_assert_msg(follower->restored <= leaders, "%u snapshots of %u leaders", follower->restored,
                  leaders);
    ck_assert_uint_eq(loads, ends);
    ck_assert_uint_eq(loads, follower->restored + drops);
}

static void *restore_begin(void *data, const void *bytes, size_t size)
{
    const struct replica *r = data;
    struct state *copy = xcalloc(1, sizeof *copy);
    ck_assert_uint_eq(size, sizeof *copy);
    memcpy(copy, bytes, size);
    ck_assert_uint_gt(copy->index, r->state.index); /* else it would be loaded for nothing */
    ck_assert(!loading);                            /* one at a time */
    loading = true;
    loop_thread = pthread_self();
    turns = 0;
    begins++;
    return copy;
}

static void restore_load(void *token)
{
    (void)token;
    ck_assert(!pthread_equal(pthread_self(), loop_thread));
    usleep(LOAD_MS * 1000);
    loads++;
}

static void restore_end(void *data, void *token)
{
    const struct replica *r = data;
    const struct state *copy = token;
    ck_assert(loading);
    ck_assert_uint_gt(copy->index, r->state.index); /* not in place yet */
    free(token);
    ends++;
}

static void restore_drop(void *data, void *token)
{
    (void)data;
    (void)token;
    ck_assert(loading);
    loading = false;
    drops++;
}

/* The state of a replica never goes back, from what it was opened with on. */
static int restore_forward(void *data, uint64_t index, uint64_t term, const void *bytes,
                           size_t size)
{
    const struct replica *r = data;
    ck_assert_uint_gt(index, r->state.index);
    loading = false;
    return on_restore(data, index, term, bytes, size);
}

/* A second without a leader: what is counted here is not what a loaded machine loses. */
static struct cell *cell_of_three(void)
{
    struct cell *c = cell_new(3);
    c->options.snapshot_threshold = THRESHOLD;
    c->options.snapshot_trailing = TRAILING;
    c->options.election_timeout_ms = 1000;
    for (size_t i = 0; i < c->count; i++)
        replica_open(&c->replicas[i]);
    propose_entries(c, 20);
    return c;
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
    slow.restore_drop = restore_drop;
    slow.on_restore = restore_forward;
    o.handlers = &slow;
    memset(&r->state, 0, sizeof r->state);
    r->closed = false;
    r->restored = 0;
    r->role = RAFTLOG_FOLLOWER;
    ck_assert_msg(raftlog_open(&o, &r->log, &err) == 0, "%s", err.msg);
}

/* A command each turn while it loads, but no more than the books have room for; then for as long as
 * the follower is further behind than the log goes that a snapshot leaves. */
static bool follower_has_all(struct cell *c, const void *arg)
{
    const struct replica *follower = arg;
    struct replica *leader = NULL;
    struct err err;
    turns += loading && ends < begins;
    for (size_t i = 0; i < c->count; i++)
        if (!c->replicas[i].closed && c->replicas[i].role == RAFTLOG_LEADER)
            leader = &c->replicas[i];
    bool behind = leader != NULL && (follower->restored == 0 ||
                                     follower->state.count + TRAILING / 2 < leader->state.count);
    if (behind && c->under_way < 2)
        (void)propose_on(leader, &err);
    return leader != NULL && follower->restored > 0 &&
           follower->state.count + 4 >= leader->state.count;
}

/* The log of the leader, while it is proposed to: it takes no snapshot while one seems to be
 * installed, and none without entries. */
static bool is_cut(struct cell *c, const void *arg)
{
    struct replica *leader = leader_of(c);
    struct err err;
    (void)arg;
    if (leader != NULL && c->under_way < 2)
        (void)propose_on(leader, &err);
    return leader != NULL && raftlog_status(leader->log).snapshot_index > 60 + TRAILING;
}

START_TEST(one_snapshot_is_enough_and_the_loop_goes_on)
{
    struct cell *c = cell_of_three();
    struct replica *follower = a_follower(c);
    replica_close(follower);
    propose_entries(c, 400);
    run_until(c, is_cut, NULL, "a log without what the follower needs");
    uint64_t term = raftlog_status(wait_leader(c)->log).term;
    open_with_slow_loads(follower);
    run_until(c, follower_has_all, follower, "a follower that has caught up");
    check_one_each(c, follower, term);
    ck_assert_uint_gt(turns, 2);
    run_until(c, none_under_way, NULL, "answers");
    check_all_equal(c);
    /* Then the log is cut again. */
    propose_entries(c, 200);
    ck_assert_uint_gt(raftlog_status(wait_leader(c)->log).snapshot_index + 200,
                      raftlog_status(wait_leader(c)->log).last_index);
    cell_free(c);
}
END_TEST

/* One command at a time, and none while a snapshot of all is written, if one is. */
static bool is_all_in_a_snapshot(struct cell *c, const void *arg)
{
    static uint64_t tried_ms;
    struct replica *leader = leader_of(c);
    struct err err;
    (void)arg;
    if (leader == NULL || c->under_way > 0)
        return false;
    struct raftlog_status s = raftlog_status(leader->log);
    if (s.last_index >= 256 && s.snapshot_index == s.last_index)
        return true;
    if (s.applied_index - s.snapshot_index < c->options.snapshot_threshold ||
        clock_mono_ms() - tried_ms > 100) {
        tried_ms = clock_mono_ms();
        (void)propose_on(leader, &err);
    }
    return false;
}

static bool is_equal(struct cell *c, const void *arg)
{
    const struct replica *follower = arg;
    const struct replica *leader = leader_of(c);
    return leader != NULL && follower->state.count == leader->state.count &&
           follower->state.hash == leader->state.hash;
}

static bool is_loading(struct cell *c, const void *arg)
{
    (void)c;
    (void)arg;
    return loading;
}

/* The leader is idle, with a snapshot of everything, and the follower needs it. */
static struct replica *follower_of_idle(struct cell *c)
{
    struct replica *follower = a_follower(c);
    replica_close(follower);
    run_until(c, is_all_in_a_snapshot, NULL, "a snapshot of everything");
    return follower;
}

/* A follower refuses heartbeats while it loads, at the entry where the snapshot ends, too. */
START_TEST(idle_leader_sends_one_snapshot)
{
    struct cell *c = cell_of_three();
    struct replica *follower = follower_of_idle(c);
    uint64_t term = raftlog_status(leader_of(c)->log).term;
    open_with_slow_loads(follower);
    run_until(c, is_loading, NULL, "a snapshot that is being loaded");
    uint64_t before = raftlog_status(wait_leader(c)->log).snapshots_sent;
    run_until(c, is_equal, follower, "a follower that has caught up");
    check_one_each(c, follower, term);
    if (raftlog_status(wait_leader(c)->log).term == term)
        ck_assert_uint_eq(raftlog_status(leader_of(c)->log).snapshots_sent, before);
    cell_free(c);
}
END_TEST

/* Long before the leader's time-out (30 s): waiting takes 20 s at most here. */
START_TEST(idle_leader_sends_a_lost_snapshot_again)
{
    struct cell *c = cell_of_three();
    struct replica *follower = follower_of_idle(c);
    open_with_slow_loads(follower);
    run_until(c, is_loading, NULL, "a snapshot that is being loaded");
    replica_close(follower);
    open_with_slow_loads(follower);
    run_until(c, is_equal, follower, "a follower that has caught up");
    cell_free(c);
}
END_TEST

/* The process may be told to end while a thread loads. */
START_TEST(closing_waits_for_the_thread_that_loads)
{
    struct cell *c = cell_of_three();
    struct replica *follower = a_follower(c);
    replica_close(follower);
    propose_entries(c, 400);
    run_until(c, is_cut, NULL, "a log without what the follower needs");
    open_with_slow_loads(follower);
    run_until(c, is_loading, NULL, "a snapshot that is being loaded");
    replica_close(follower);
    ck_assert_uint_ge(begins, 1);
    ck_assert_uint_eq(loads, begins);
    ck_assert_uint_eq(ends, begins);
    ck_assert_uint_eq(follower->restored + drops, begins);
    ck_assert(!loading);
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
    tcase_add_test(t, idle_leader_sends_one_snapshot);
    tcase_add_test(t, idle_leader_sends_a_lost_snapshot_again);
    tcase_add_test(t, closing_waits_for_the_thread_that_loads);
    suite_add_tcase(suite, t);
    return t_main(suite);
}
