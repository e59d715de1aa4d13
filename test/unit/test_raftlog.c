/*
 * test_raftlog.c - replicas that agree: elections, proposals, restarts, snapshots, barriers.
 */
#include "raftlog_cell.h"

#include "raftlog_impl.h"

START_TEST(three_replicas_elect_a_leader_and_apply_the_same)
{
    struct cell *c = cell_open(3);
    propose_entries(c, 1000);
    check_all_equal(c);
    ck_assert_uint_ge(c->replicas[0].state.count, 1000);
    struct raftlog_status status = raftlog_status(wait_leader(c)->log);
    ck_assert_int_eq(status.role, RAFTLOG_LEADER);
    ck_assert_uint_gt(status.commit_index, 1000);
    ck_assert_uint_eq(status.in_flight, 0);
    cell_free(c);
}
END_TEST

START_TEST(entries_of_odd_lengths_survive_a_restart_of_all)
{
    struct cell *c = cell_open(3);
    propose_entries(c, 600);
    check_all_equal(c);
    for (size_t i = 0; i < 3; i++)
        replica_close(&c->replicas[i]);
    for (size_t i = 0; i < 3; i++)
        replica_open(&c->replicas[i]);
    propose_entries(c, 10);
    check_all_equal(c);
    ck_assert_uint_ge(c->replicas[0].state.count, 610);
    cell_free(c);
}
END_TEST

START_TEST(follower_that_was_away_catches_up)
{
    struct cell *c = cell_open(3);
    propose_entries(c, 50);
    struct replica *away = a_follower(c);
    replica_close(away);
    propose_entries(c, 200);
    replica_open(away);
    check_all_equal(c);
    ck_assert_uint_eq(away->restored, 0);
    propose_entries(c, 50);
    check_all_equal(c);
    cell_free(c);
}
END_TEST

static bool follower_is_new(struct cell *c, const void *arg)
{
    const struct replica *r = arg;
    (void)c;
    return r->restored > 0;
}

START_TEST(follower_far_behind_gets_a_snapshot)
{
    struct cell *c = cell_new(3);
    c->options.snapshot_threshold = 64;
    c->options.snapshot_trailing = 16;
    for (size_t i = 0; i < 3; i++)
        replica_open(&c->replicas[i]);
    propose_entries(c, 20);
    struct replica *away = a_follower(c);
    replica_close(away);
    propose_entries(c, 500);
    run_until(c, all_have_snapshots, NULL, "snapshots");
    replica_open(away);
    ck_assert_uint_eq(away->restored, 0);
    run_until(c, follower_is_new, away, "a snapshot from the leader");
    check_all_equal(c);
    propose_entries(c, 100);
    check_all_equal(c);

    for (size_t i = 0; i < 3; i++)
        replica_close(&c->replicas[i]);
    for (size_t i = 0; i < 3; i++) {
        replica_open(&c->replicas[i]);
        ck_assert_uint_eq(c->replicas[i].restored, 1);
    }
    propose_entries(c, 10);
    check_all_equal(c);
    cell_free(c);
}
END_TEST

/* Few entries, and large ones: they are in memory as long as they are in the log. */
START_TEST(many_bytes_make_a_snapshot_as_many_entries_do)
{
    struct cell *c = cell_new(3);
    c->options.snapshot_threshold = 1000000;
    c->options.snapshot_bytes = 65536; /* after some 350: each is larger than the one before */
    for (size_t i = 0; i < 3; i++)
        replica_open(&c->replicas[i]);
    propose_entries(c, 100);
    for (size_t i = 0; i < 3; i++)
        ck_assert_uint_eq(raftlog_status(c->replicas[i].log).snapshot_index, 0);
    propose_entries(c, 300);
    run_until(c, all_have_snapshots, NULL, "snapshots");
    uint64_t first = raftlog_status(c->replicas[0].log).snapshot_index;
    propose_entries(c, 50); /* the next one is as far away again */
    ck_assert_uint_eq(raftlog_status(c->replicas[0].log).snapshot_index, first);
    check_all_equal(c);
    cell_free(c);
}
END_TEST

static bool has_kept_place(struct cell *c, const void *arg)
{
    const struct replica *leader = leader_of(c);
    (void)arg;
    return leader != NULL && leader->log->guard.used[GUARD_KEEP_PLACE] > 0;
}

/* The new leader cannot reach it, has trimmed its log, and does not know what it has. */
START_TEST(a_leader_that_died_and_is_back_gets_entries_and_no_snapshot)
{
    struct cell *c = cell_new(3);
    c->options.snapshot_threshold = 64;
    c->options.snapshot_trailing = 64;
    for (size_t i = 0; i < 3; i++)
        replica_open(&c->replicas[i]);
    propose_entries(c, 300);
    run_until(c, all_have_snapshots, NULL, "snapshots");
    struct replica *away = wait_leader(c);
    replica_close(away);
    propose_entries(c, 5);
    run_until(c, has_kept_place, NULL, "a message that could not be sent");
    replica_open(away);
    check_all_equal(c);
    propose_entries(c, 5);
    check_all_equal(c);
    for (size_t i = 0; i < 3; i++)
        ck_assert_uint_eq(raftlog_status(c->replicas[i].log).snapshots_sent, 0);
    cell_free(c);
}
END_TEST

START_TEST(work_goes_on_when_the_leader_leaves)
{
    struct cell *c = cell_open(5);
    struct err err;
    propose_entries(c, 100);
    for (unsigned round = 0; round < 2; round++) {
        struct replica *leader = wait_leader(c);
        while (propose_on(leader, &err) == 0)
            continue;
        replica_close(leader); /* with proposals under way */
        ck_assert_uint_eq(c->under_way, 0);
        propose_entries(c, 100);
    }
    for (size_t i = 0; i < 5; i++) {
        if (c->replicas[i].closed)
            replica_open(&c->replicas[i]);
    }
    propose_entries(c, 10);
    check_all_equal(c);
    cell_free(c);
}
END_TEST

/* Up to two of five leave and come back while entries are written and snapshots taken. */
START_TEST(replicas_may_come_and_go)
{
    struct cell *c = cell_new(5);
    uint32_t seed = 1;
    struct err err;
    c->options.snapshot_threshold = 64;
    c->options.snapshot_trailing = 16;
    for (size_t i = 0; i < 5; i++)
        replica_open(&c->replicas[i]);
    for (unsigned round = 0; round < 16; round++) {
        seed = seed * 1664525 + 1013904223;
        struct replica *r = &c->replicas[(seed >> 16) % 5];
        size_t down = 0;
        for (size_t i = 0; i < 5; i++)
            down += c->replicas[i].closed;
        struct replica *leader = wait_leader(c);
        while (propose_on(leader, &err) == 0)
            continue;
        if (r->closed)
            replica_open(r);
        else if (down < 2)
            replica_close(r);
        propose_entries(c, 40);
    }
    for (size_t i = 0; i < 5; i++) {
        if (c->replicas[i].closed)
            replica_open(&c->replicas[i]);
    }
    propose_entries(c, 10);
    check_all_equal(c);
    cell_free(c);
}
END_TEST

struct read {
    struct raftlog_barrier req;
    int status;
    bool done;
};

static void on_barrier(struct raftlog_barrier *req, int status)
{
    struct read *read = req->data;
    ck_assert(!read->done);
    read->status = status;
    read->done = true;
}

static bool reads_done(struct cell *c, const void *arg)
{
    const struct read *reads = arg;
    (void)c;
    return reads[0].done && reads[1].done && reads[2].done;
}

START_TEST(barriers_come_after_what_was_committed)
{
    struct cell *c = cell_open(3);
    struct read reads[3] = {0};
    struct err err;
    propose_entries(c, 10);
    struct replica *leader = wait_leader(c);
    uint64_t index = raftlog_status(leader->log).last_index;
    for (size_t i = 0; i < 3; i++) {
        reads[i].req.data = &reads[i];
        ck_assert_int_eq(raftlog_barrier(leader->log, &reads[i].req, on_barrier, &err), 0);
        ck_assert(!reads[i].done);
    }
    run_until(c, reads_done, reads, "barriers");
    for (size_t i = 0; i < 3; i++)
        ck_assert_int_eq(reads[i].status, 0);
    /* They shared one entry. */
    ck_assert_uint_eq(raftlog_status(leader->log).last_index, index + 1);
    ck_assert_uint_ge(raftlog_status(leader->log).applied_index, index + 1);
    cell_free(c);
}
END_TEST

START_TEST(followers_refuse_and_name_the_leader)
{
    struct cell *c = cell_open(3);
    struct read read = {0};
    struct err err;
    char expected[64];
    struct replica *follower = a_follower(c);
    snprintf(expected, sizeof expected, "replica %" PRIu64 " is the leader", wait_leader(c)->id);
    ck_assert_int_eq(propose_on(follower, &err), -ERR_NOT_LEADER);
    ck_assert_str_eq(err.msg, expected);
    ck_assert_int_eq(raftlog_barrier(follower->log, &read.req, on_barrier, &err), -ERR_NOT_LEADER);
    ck_assert_str_eq(err.msg, expected);
    cell_free(c);
}
END_TEST

START_TEST(proposals_under_way_are_limited)
{
    struct cell *c = cell_open(1);
    static uint8_t bytes[RAFTLOG_ENTRY_BYTES_MAX + 1];
    struct raftlog_proposal req;
    struct err err;
    struct replica *leader = wait_leader(c);
    for (unsigned i = 0; i < PROPOSALS_IN_FLIGHT_MAX; i++)
        ck_assert_int_eq(propose_on(leader, &err), 0);
    ck_assert_int_eq(propose_on(leader, &err), -ERR_LIMIT);
    ck_assert_uint_eq(c->answered, 0);
    run_until(c, none_under_way, NULL, "answers");
    ck_assert_uint_eq(acked_count(c), PROPOSALS_IN_FLIGHT_MAX);
    ck_assert_int_eq(raftlog_propose(leader->log, &req, bytes, sizeof bytes, on_proposed, &err),
                     -ERR_LIMIT);
    cell_free(c);
}
END_TEST

START_TEST(close_answers_what_is_pending)
{
    struct cell *c = cell_open(1);
    struct read reads[3] = {0};
    struct err err;
    struct replica *leader = wait_leader(c);
    for (size_t i = 0; i < 3; i++) {
        reads[i].req.data = &reads[i];
        ck_assert_int_eq(propose_on(leader, &err), 0);
        ck_assert_int_eq(raftlog_barrier(leader->log, &reads[i].req, on_barrier, &err), 0);
    }
    replica_close(leader);
    ck_assert_uint_eq(c->unknown, 3);
    for (size_t i = 0; i < 3; i++)
        ck_assert_int_eq(reads[i].status, -ERR_UNKNOWN_OUTCOME);
    cell_free(c);
}
END_TEST

/* Putting a snapshot in place takes seconds; that nobody looked says nothing of the disk. */
START_TEST(a_loop_that_was_held_up_does_not_blame_the_disk)
{
    enum { HELD_UP_MS = 1500 };
    struct cell *c = cell_open(1);
    struct err err;
    struct replica *leader = wait_leader(c);
    ck_assert_int_eq(propose_on(leader, &err), 0);
    while (raftlog_status(leader->log).last_index == raftlog_status(leader->log).stored_index)
        uv_run(&c->loop, UV_RUN_NOWAIT);
    uv_run(&c->loop, UV_RUN_NOWAIT); /* it has seen that an entry waits */
    uint64_t until_ms = clock_mono_ms() + HELD_UP_MS;
    while (clock_mono_ms() < until_ms)
        ;
    run_until(c, none_under_way, NULL, "answers");
    ck_assert_uint_lt(raftlog_status(leader->log).disk_wait_ms, HELD_UP_MS);
    cell_free(c);
}
END_TEST

struct handover {
    unsigned answers;
    int status;
};

static void on_transferred(void *data, int status)
{
    struct handover *handover = data;
    handover->answers++;
    handover->status = status;
}

static bool is_handed_over(struct cell *c, const void *arg)
{
    const struct handover *handover = arg;
    (void)c;
    return handover->answers > 0;
}

/* With proposals under way each time: all of them are committed, none has an unknown outcome. */
START_TEST(leadership_goes_where_it_is_told_to)
{
    struct cell *c = cell_open(5);
    struct err err;
    propose_entries(c, 20);
    for (uint64_t round = 0; round < 20; round++) {
        struct handover handover = {0};
        struct replica *leader = wait_leader(c);
        uint64_t to = leader->id % 5 + 1;
        propose_entries(c, 5);
        while (propose_on(leader, &err) == 0)
            continue;
        uv_run(&c->loop, UV_RUN_NOWAIT); /* they are sent */
        ck_assert_int_eq(raftlog_transfer(leader->log, to, on_transferred, &handover, &err), 0);
        ck_assert(raftlog_status(leader->log).transferring);
        ck_assert_int_eq(raftlog_transfer(leader->log, to, on_transferred, &handover, &err),
                         -ERR_STATE);
        ck_assert_uint_eq(handover.answers, 0);
        run_until(c, is_handed_over, &handover, "a transfer");
        ck_assert_int_eq(handover.status, 0);
        ck_assert_uint_eq(wait_leader(c)->id, to);
        run_until(c, none_under_way, NULL, "answers");
    }
    ck_assert_uint_eq(c->unknown, 0);
    check_all_equal(c);
    cell_free(c);
}
END_TEST

START_TEST(nobody_but_a_voter_that_answers_is_handed_leadership)
{
    struct cell *c = cell_open(3);
    struct handover handover = {0};
    struct err err;
    propose_entries(c, 5);
    struct replica *leader = wait_leader(c);
    struct replica *follower = a_follower(c);
    ck_assert_int_eq(raftlog_transfer(leader->log, 7, on_transferred, &handover, &err),
                     -ERR_NOT_FOUND);
    ck_assert_int_eq(raftlog_transfer(leader->log, leader->id, on_transferred, &handover, &err),
                     -ERR_EXISTS);
    ck_assert_int_eq(raftlog_transfer(follower->log, 0, on_transferred, &handover, &err),
                     -ERR_NOT_LEADER);
    replica_close(follower);
    uint64_t until_ms = clock_mono_ms() + 400; /* longer than an election timeout */
    while (clock_mono_ms() < until_ms)
        uv_run(&c->loop, UV_RUN_ONCE);
    ck_assert_int_eq(raftlog_transfer(leader->log, follower->id, on_transferred, &handover, &err),
                     -ERR_UNAVAILABLE);
    ck_assert_ptr_nonnull(strstr(err.msg, "check that it runs"));
    ck_assert_int_eq(raftlog_transfer(leader->log, 0, on_transferred, &handover, &err), 0);
    run_until(c, is_handed_over, &handover, "a transfer");
    ck_assert_int_eq(handover.status, 0);
    cell_free(c);

    c = cell_open(1);
    leader = wait_leader(c);
    ck_assert_int_eq(raftlog_transfer(leader->log, 0, on_transferred, &handover, &err),
                     -ERR_UNAVAILABLE);
    cell_free(c);
}
END_TEST

START_TEST(a_transfer_is_answered_also_by_a_close)
{
    struct cell *c = cell_open(3);
    struct handover handover = {0};
    struct err err;
    struct replica *leader = wait_leader(c);
    propose_entries(c, 5);
    leader = wait_leader(c);
    ck_assert_int_eq(raftlog_transfer(leader->log, 0, on_transferred, &handover, &err), 0);
    replica_close(leader);
    ck_assert_uint_eq(handover.answers, 1);
    propose_entries(c, 5);
    cell_free(c);
}
END_TEST

static void count_big(struct raftlog_proposal *req, int status)
{
    size_t *answered = req->data;
    ck_assert_int_eq(status, 0);
    ++*answered;
}

static bool all_answered(struct cell *c, const void *arg)
{
    const size_t *answered = arg;
    (void)c;
    return *answered == PROPOSALS_IN_FLIGHT_MAX;
}

/* More than any queue on the way holds: every link has to pause and to go on. */
START_TEST(entries_of_a_megabyte_pass)
{
    struct cell *c = cell_new(3);
    struct raftlog_proposal reqs[PROPOSALS_IN_FLIGHT_MAX];
    struct err err;
    uint8_t *bytes = xcalloc(1, RAFTLOG_ENTRY_BYTES_MAX);
    size_t answered = 0;
    c->options.election_timeout_ms = 2000; /* a slow disk is not what is tested */
    c->options.heartbeat_ms = 100;
    for (size_t i = 0; i < 3; i++)
        replica_open(&c->replicas[i]);
    struct replica *leader = wait_leader(c);
    for (uint64_t i = 0; i < PROPOSALS_IN_FLIGHT_MAX; i++) {
        memset(bytes, (int)i, RAFTLOG_ENTRY_BYTES_MAX);
        memcpy(bytes, &i, sizeof i);
        reqs[i].data = &answered;
        ck_assert_int_eq(
            raftlog_propose(leader->log, &reqs[i], bytes, RAFTLOG_ENTRY_BYTES_MAX, count_big, &err),
            0);
        c->acked[i] = true;
    }
    run_until(c, all_answered, &answered, "big entries");
    check_all_equal(c);
    free(bytes);
    cell_free(c);
}
END_TEST

/* The state that a checkpoint would be: some entries, far beyond any index there was. */
static void seed_all(struct cell *c, const struct state *state, uint64_t index)
{
    struct err err;
    struct raftlog_seed seed = {.cell = "test",
                                .member_count = c->count,
                                .index = index,
                                .term = 77,
                                .bytes = state,
                                .size = sizeof *state};
    memcpy(seed.members, c->options.members, sizeof seed.members);
    for (size_t i = 0; i < c->count; i++) {
        seed.dir = c->replicas[i].dir;
        seed.id = c->replicas[i].id;
        ck_assert_msg(raftlog_seed(&seed, &err) == 0, "%s", err.msg);
        ck_assert_int_eq(raftlog_seed(&seed, &err), -ERR_EXISTS);
    }
}

START_TEST(members_that_are_seeded_begin_with_that_state)
{
    enum { COUNT = 9 };
    uint64_t index = UINT64_C(1) << 51;
    struct cell *c = cell_new(3);
    struct state state = {.count = COUNT, .hash = 4711, .index = index};
    seed_all(c, &state, index);
    replica_open(&c->replicas[0]);
    replica_open(&c->replicas[1]);
    ck_assert_uint_eq(c->replicas[0].restored, 1);
    ck_assert_uint_eq(c->replicas[0].state.hash, 4711);
    propose_entries(c, 100);
    struct raftlog_status status = raftlog_status(wait_leader(c)->log);
    ck_assert_uint_gt(status.term, 77);
    ck_assert_uint_gt(status.commit_index, index + 100);
    replica_open(&c->replicas[2]); /* late, from its own seed */
    check_all_equal(c);
    for (size_t i = 0; i < 3; i++)
        replica_close(&c->replicas[i]);
    for (size_t i = 0; i < 3; i++)
        replica_open(&c->replicas[i]);
    propose_entries(c, 10);
    check_all_equal(c);
    ck_assert_uint_ge(c->replicas[0].state.count, COUNT + 110);
    cell_free(c);
}
END_TEST

START_TEST(a_seed_that_was_interrupted_is_no_directory)
{
    struct cell *c = cell_new(1);
    struct state state = {.count = 1, .hash = 1, .index = 5};
    char path[300];
    snprintf(path, sizeof path, "%s.new", c->replicas[0].dir);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s.new/metadata1", c->replicas[0].dir);
    FILE *file = fopen(path, "we");
    ck_assert_ptr_nonnull(file);
    fputs("half", file);
    fclose(file);
    seed_all(c, &state, 5);
    replica_open(&c->replicas[0]);
    propose_entries(c, 10);
    ck_assert_uint_eq(c->replicas[0].state.count, 11);
    cell_free(c);
}
END_TEST

int main(void)
{
    log_open(LOG_ERROR, "test");
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    Suite *suite = suite_create("raftlog");
    TCase *t = tcase_create("replicas");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, three_replicas_elect_a_leader_and_apply_the_same);
    tcase_add_test(t, entries_of_odd_lengths_survive_a_restart_of_all);
    tcase_add_test(t, follower_that_was_away_catches_up);
    tcase_add_test(t, follower_far_behind_gets_a_snapshot);
    tcase_add_test(t, many_bytes_make_a_snapshot_as_many_entries_do);
    tcase_add_test(t, a_leader_that_died_and_is_back_gets_entries_and_no_snapshot);
    tcase_add_test(t, work_goes_on_when_the_leader_leaves);
    tcase_add_test(t, replicas_may_come_and_go);
    tcase_add_test(t, barriers_come_after_what_was_committed);
    tcase_add_test(t, followers_refuse_and_name_the_leader);
    tcase_add_test(t, proposals_under_way_are_limited);
    tcase_add_test(t, close_answers_what_is_pending);
    tcase_add_test(t, a_loop_that_was_held_up_does_not_blame_the_disk);
    tcase_add_test(t, leadership_goes_where_it_is_told_to);
    tcase_add_test(t, nobody_but_a_voter_that_answers_is_handed_leadership);
    tcase_add_test(t, a_transfer_is_answered_also_by_a_close);
    tcase_add_test(t, entries_of_a_megabyte_pass);
    tcase_add_test(t, members_that_are_seeded_begin_with_that_state);
    tcase_add_test(t, a_seed_that_was_interrupted_is_no_directory);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
