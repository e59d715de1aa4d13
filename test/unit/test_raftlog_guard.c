/*
 * test_raftlog_guard.c - each rule of the guard, on the library's simulator: with the rule nothing
 * is lost, without it the fault of the library shows. A rule that could be taken out unnoticed
 * would fail here.
 */
#include "raft_world.h"

#include <signal.h>
#include <unistd.h>

enum { EXIT_FATAL = 3 }; /* of tests that end with what a dead instance holds */

/*
 * Raft, figure 3.7. Server 0 puts A on itself and 1; 4 is elected and puts B at the same index on
 * itself only; 0 is elected again and copies A to 2 and 3, where by counting it looks committed,
 * and dies; 4 can still win with its younger B.
 */
static int play_figure_8(uint32_t off)
{
    struct world *w = world_led_by_0(off);
    raft_index base = raft_last_index(raft_at(w, 0));
    cut(w, 0, 2);
    cut(w, 0, 3);
    cut(w, 0, 4);
    propose(w, 0);
    wait_stored(w, 1, base + 1);
    raft_fixture_kill(&w->f, 0);
    raft_fixture_kill(&w->f, 1);
    favour(w, 4);
    ck_assert(wait_leader(w, 4, 0, 30000));
    cut(w, 4, 2);
    cut(w, 4, 3);
    propose(w, 4);
    run(w, 60);
    raft_fixture_kill(&w->f, 4);

    raft_fixture_revive(&w->f, 0);
    raft_fixture_revive(&w->f, 1);
    for (unsigned i = 1; i < 4; i++) {
        join(w, 0, i);
        cut(w, i, 4);
    }
    favour(w, 0);
    if (raft_at(w, 0)->state == RAFT_LEADER)
        run(w, 1100); /* it has to notice that it is not any more */
    favour(w, 0);
    ck_assert(wait_leader(w, 0, raft_at(w, 4)->current_term, 60000));
    /* Stop at the instant A looks committed on 0, before the others hear of it. */
    wait_committed(w, 0, base + 1, 400);
    raft_fixture_kill(&w->f, 0);
    raft_fixture_revive(&w->f, 4);
    for (unsigned i = 1; i < 4; i++)
        join(w, i, 4);
    run(w, 1200);
    favour(w, 4);
    wait_leader(w, 4, raft_at(w, 0)->current_term, 10000);
    heal(w);
    int wrong = verdict(w);
    world_free(w);
    return wrong;
}

START_TEST(figure_8_loses_nothing_with_the_guard)
{
    ck_assert_int_eq(play_figure_8(NO_RULE_OFF), 0);
}
END_TEST

START_TEST(figure_8_contradicts_itself_without_own_term)
{
    ck_assert_int_ne(play_figure_8(BIT(GUARD_OWN_TERM)), 0);
}
END_TEST

/*
 * Server 0, cut off with 1, writes entries that are never committed. Server 2 is elected by 3 and
 * 4, which then do not hear it, while 0 and 1 hear its first, empty heartbeat: it fits their logs,
 * and without the rule they answer with the ends of their tails. Clients write meanwhile.
 */
static int play_stale_tail(uint32_t off)
{
    struct world *w = world_led_by_0(off);
    raft_index base = raft_last_index(raft_at(w, 0));
    for (unsigned i = 0; i < 2; i++) {
        for (unsigned k = 2; k < SERVERS; k++)
            cut(w, i, k);
    }
    for (unsigned i = 0; i < 4; i++)
        propose(w, 0);
    wait_stored(w, 1, base + 4);
    favour(w, 2);
    set_timeout(w, 0, 100000);
    set_timeout(w, 1, 100000);
    ck_assert(wait_leader(w, 2, 0, 30000));
    cut(w, 2, 3);
    cut(w, 2, 4);
    join(w, 2, 0);
    join(w, 2, 1);
    for (unsigned i = 0; i < 3; i++)
        propose(w, 2);
    wait_committed(w, 2, base + 3, 45);
    raft_fixture_kill(&w->f, 2);
    for (unsigned i = 0; i < 2; i++) {
        for (unsigned k = 3; k < SERVERS; k++)
            join(w, i, k);
    }
    favour(w, 0);
    run(w, 100);
    favour(w, 0);
    wait_leader(w, 0, 0, 30000);
    run(w, 300);
    propose(w, 0);
    run(w, 1500);
    heal(w);
    int wrong = verdict(w);
    world_free(w);
    return wrong;
}

START_TEST(stale_tails_lose_nothing_with_the_guard)
{
    ck_assert_int_eq(play_stale_tail(NO_RULE_OFF), 0);
}
END_TEST

START_TEST(stale_tails_are_counted_without_ack_checked)
{
    ck_assert_int_ne(play_stale_tail(BIT(GUARD_ACK_CHECKED)), 0);
}
END_TEST

/* The entry of a change to one server more. */
static struct raft_buffer one_member_more(void)
{
    struct raft_buffer buf = {.len = 9 + (SERVERS + 1) * 16};
    uint8_t *at = buf.base = raft_calloc(1, buf.len);
    *at++ = 1;
    *at = SERVERS + 1;
    at += 8;
    for (uint8_t id = 1; id <= SERVERS + 1; id++) {
        *at = id;
        at[8] = '0' + id; /* the address, and after its NUL the role */
        at[10] = RAFT_VOTER;
        at += 11;
    }
    buf.len = (size_t)(at - (uint8_t *)buf.base + 7) / 8 * 8;
    return buf;
}

static void inject_change(struct world *w, unsigned i, unsigned from, raft_term term,
                          raft_index prev)
{
    inject_bytes(w, i, from, term, prev, term, RAFT_CHANGE, one_member_more());
}

/* A follower's log is compacted, and no snapshot is under way. */
static void compact(struct world *w, unsigned i)
{
    struct raft *r = raft_at(w, i);
    raft_set_snapshot_threshold(r, 1);
    raft_set_snapshot_trailing(r, 1);
    propose(w, 0);
    run(w, 500);
    ck_assert_uint_gt(r->log.snapshot.last_index, 1);
    ck_assert_uint_eq(r->snapshot.pending.term, 0);
    raft_set_snapshot_threshold(r, 1000000);
}

static void inject_vote(struct world *w, unsigned i, unsigned from, raft_term term)
{
    struct raft_message m = {.type = RAFT_IO_REQUEST_VOTE};
    m.request_vote = (struct raft_request_vote){.term = term,
                                                .candidate_id = w->f.servers[from].id,
                                                .last_log_index = 1000,
                                                .last_log_term = term,
                                                .disrupt_leader = true};
    inject(w, i, from, &m);
}

/* An entry of a deposed leader reaches the disk when the follower has a new leader. */
static raft_index play_late_write(uint32_t off)
{
    struct world *w = world_of_follower_4(off, 200);
    struct raft *r = raft_at(w, 4);
    raft_index base = raft_last_index(r);
    raft_term term = r->current_term;
    inject_entry(w, 4, 0, term, base, term);
    inject_entry(w, 4, 1, term + 1, base, 0);
    ck_assert_uint_eq(r->last_stored, base);
    unsigned answers = w->spies[4].answer_count;
    wait_stored(w, 4, base + 1);
    ck_assert_uint_eq(w->spies[4].answer_count, answers + 1);
    ck_assert_uint_eq(w->spies[4].answer.term, term + 1);
    raft_index beyond = w->spies[4].answer.last_log_index - base;
    world_free(w);
    return beyond;
}

START_TEST(write_for_a_former_leader_is_not_acknowledged_to_the_next)
{
    ck_assert_uint_eq(play_late_write(NO_RULE_OFF), 0);
    ck_assert_uint_eq(play_late_write(BIT(GUARD_ACK_CHECKED)), 1);
}
END_TEST

/* What a follower is that has waited long with an entry that is not on its disk. */
static int play_slow_disk(uint32_t off)
{
    struct world *w = world_of_follower_4(off, 5000);
    struct raft *r = raft_at(w, 4);
    inject_entry(w, 4, 0, r->current_term, raft_last_index(r), r->current_term);
    run(w, 3000);
    ck_assert_uint_lt(r->last_stored, raft_last_index(r));
    int state = r->state;
    run(w, 5000);
    ck_assert_uint_eq(r->last_stored, raft_last_index(r));
    ck_assert_int_eq(r->state, RAFT_CANDIDATE); /* late, not never */
    world_free(w);
    return state;
}

START_TEST(follower_does_not_stand_for_election_while_writing)
{
    ck_assert_int_eq(play_slow_disk(NO_RULE_OFF), RAFT_FOLLOWER);
    ck_assert_int_eq(play_slow_disk(BIT(GUARD_STABLE_LOG)), RAFT_CANDIDATE);
}
END_TEST

static int play_timeout_now(uint32_t off)
{
    struct world *w = world_of_follower_4(off, 300);
    struct raft *r = raft_at(w, 4);
    struct raft_message m = {.type = RAFT_IO_TIMEOUT_NOW};
    set_timeout(w, 4, 100000);
    inject_entry(w, 4, 0, r->current_term, raft_last_index(r), r->current_term);
    m.timeout_now.term = r->current_term;
    m.timeout_now.last_log_index = raft_last_index(r);
    m.timeout_now.last_log_term = r->current_term;
    inject(w, 4, 0, &m);
    int state = r->state;
    run(w, 400);
    ck_assert_int_eq(r->state, RAFT_CANDIDATE);
    world_free(w);
    return state;
}

START_TEST(timeout_now_waits_for_the_disk)
{
    ck_assert_int_eq(play_timeout_now(NO_RULE_OFF), RAFT_FOLLOWER);
    ck_assert_int_eq(play_timeout_now(BIT(GUARD_STABLE_LOG)), RAFT_CANDIDATE);
}
END_TEST

/* The write of an entry on server `i` fails after a while. */
static struct world *play_failed_write(uint32_t off, unsigned i)
{
    struct world *w = world_led_by_0(off);
    struct spy *s = &w->spies[i];
    s->keep_append = true;
    propose(w, 0);
    run(w, 50);
    ck_assert_ptr_nonnull(s->append_req);
    s->append_cb(s->append_req, RAFT_IOERR);
    return w;
}

START_TEST(failed_write_is_fatal_on_leader_and_follower)
{
    for (unsigned i = 0; i < 2; i++) {
        struct world *w = play_failed_write(NO_RULE_OFF, i);
        ck_assert_uint_eq(w->fatal_count, 1);
        /* From then on nothing leaves it. */
        unsigned sent = w->spies[i].sent_count;
        run(w, 3000);
        ck_assert_uint_eq(w->spies[i].sent_count, sent);
        ck_assert_uint_eq(w->fatal_count, 1);
    }
    _exit(EXIT_FATAL);
}
END_TEST

START_TEST(failed_write_lets_the_leader_use_an_index_again_without_the_rule)
{
    struct world *w = play_failed_write(BIT(GUARD_DISK_FATAL), 0);
    struct raft *r = raft_at(w, 0);
    raft_index last = raft_last_index(r);
    ck_assert_uint_eq(w->fatal_count, 0);
    ck_assert_uint_eq(last, r->last_stored);
    ck_assert_int_eq(r->state, RAFT_LEADER);
    ck_assert_uint_eq(raft_last_index(raft_at(w, 1)), last + 1); /* of the same term */
    _exit(EXIT_FATAL);
}
END_TEST

START_TEST(write_that_cannot_start_is_fatal)
{
    struct world *w = world_led_by_0(NO_RULE_OFF);
    raft_fixture_io_fault(&w->f, 0, 0, 1);
    propose(w, 0);
    ck_assert_uint_eq(w->fatal_count, 1);
    _exit(EXIT_FATAL);
}
END_TEST

/* How long the cell is without a leader. */
static raft_time play_failover(uint32_t off)
{
    struct world *w = world_led_by_0(off);
    favour(w, 1);
    raft_time begin = raft_fixture_time(&w->f);
    raft_fixture_kill(&w->f, 0);
    for (unsigned i = 1; i < SERVERS; i++)
        set_timeout(w, i, i == 1 ? 1050 : 1900);
    while (raft_fixture_leader_index(&w->f) % SERVERS == 0)
        raft_fixture_step(&w->f);
    raft_time took = raft_fixture_time(&w->f) - begin;
    world_free(w);
    return took;
}

START_TEST(first_candidate_wins_when_the_leader_is_dead)
{
    ck_assert_uint_lt(play_failover(NO_RULE_OFF), 1400);
    ck_assert_uint_gt(play_failover(BIT(GUARD_FORGET_LEADER)), 1800);
}
END_TEST

/* Entries committed while proposals keep coming. */
static raft_index play_steady_load(uint32_t off)
{
    struct world *w = world_led_by_0(off);
    struct raft *r = raft_at(w, 0);
    raft_index base = r->commit_index;
    raft_fixture_set_disk_latency(&w->f, 0, 1);
    for (unsigned i = 0; i < 100; i++) {
        propose(w, 0);
        run(w, 3);
    }
    raft_index committed = r->commit_index - base;
    world_free(w);
    return committed;
}

START_TEST(entries_commit_under_steady_load)
{
    ck_assert_uint_gt(play_steady_load(NO_RULE_OFF), 60);
    ck_assert_uint_eq(play_steady_load(BIT(GUARD_COMMIT_EARLY)), 0);
}
END_TEST

/* Truncations of follower 4 while it writes a snapshot. */
static unsigned play_truncate_in_snapshot(uint32_t off)
{
    struct world *w = world_led_by_0(off);
    struct raft *r = raft_at(w, 4);
    for (unsigned i = 0; i < 5; i++)
        propose(w, 0);
    run(w, 500);
    raft_set_snapshot_threshold(r, 1);
    raft_fixture_set_disk_latency(&w->f, 4, 900);
    propose(w, 0);
    while (r->snapshot.pending.term == 0)
        raft_fixture_step(&w->f);
    isolate(w, 4);
    raft_index base = raft_last_index(r);
    raft_term term = r->current_term;
    inject_entry(w, 4, 0, term, base, term);
    inject_entry(w, 4, 1, term + 1, base, term + 1);
    ck_assert_uint_ne(r->snapshot.pending.term, 0);
    unsigned truncated = w->spies[4].truncated_in_snapshot;
    run(w, 1000);
    ck_assert_uint_eq(r->snapshot.pending.term, 0);
    /* The leader repeats it, and then it works. */
    inject_entry(w, 4, 1, term + 1, base, term + 1);
    ck_assert_uint_eq(raftlog_guard_term_of(&r->log, base + 1), term + 1);
    world_free(w);
    return truncated;
}

START_TEST(log_is_not_truncated_while_a_snapshot_is_written)
{
    ck_assert_uint_eq(play_truncate_in_snapshot(NO_RULE_OFF), 0);
    ck_assert_uint_eq(play_truncate_in_snapshot(BIT(GUARD_KEEP_LOG)), 1);
}
END_TEST

/* How far beyond its log a follower's disk is said to be when an entry comes, goes and comes again
 * while it is being written. */
static raft_index play_come_and_go(uint32_t off)
{
    struct world *w = world_of_follower_4(off, 200);
    struct raft *r = raft_at(w, 4);
    raft_index base = raft_last_index(r);
    raft_term term = r->current_term;
    inject_entry(w, 4, 0, term, base, term);
    inject_entry(w, 4, 1, term + 1, base, term + 1);
    inject_entry(w, 4, 2, term + 2, base, term);
    run(w, 700);
    raft_index beyond = r->last_stored - raft_last_index(r);
    if (off != NO_RULE_OFF)
        return beyond; /* what the library holds then is no longer fit to be freed */
    inject_entry(w, 4, 1, term + 3, base, term + 3); /* the leader repeats what was lost */
    ck_assert_uint_eq(raftlog_guard_term_of(&r->log, base + 1), term + 3);
    world_free(w);
    return beyond;
}

START_TEST(log_is_not_truncated_while_it_is_written)
{
    ck_assert_uint_eq(play_come_and_go(NO_RULE_OFF), 0);
}
END_TEST

START_TEST(a_first_write_counts_for_the_third_without_keep_log)
{
    ck_assert_uint_gt(play_come_and_go(BIT(GUARD_KEEP_LOG)), 0);
    _exit(EXIT_FATAL);
}
END_TEST

/* Whom a former leader has voted for in the end, when its transferee comes second. */
static raft_id play_two_votes(uint32_t off)
{
    static struct raft_transfer transfer; /* the library may look at it later (#396) */
    struct world *w = world_led_by_0(off);
    struct raft *r = raft_at(w, 0);
    raft_term term = r->current_term + 1;
    isolate(w, 0);
    ck_assert_int_eq(raft_transfer(r, &transfer, w->f.servers[1].id, NULL), 0);
    inject_vote(w, 0, 2, term);
    ck_assert_uint_eq(r->voted_for, w->f.servers[2].id);
    inject_vote(w, 0, 1, term);
    raft_id voted_for = r->voted_for;
    world_free(w);
    return voted_for;
}

START_TEST(nobody_votes_twice_in_a_term)
{
    ck_assert_uint_eq(play_two_votes(NO_RULE_OFF), 3);
    ck_assert_uint_eq(play_two_votes(BIT(GUARD_ONE_VOTE)), 2);
}
END_TEST

/* How far beyond its disk a follower acknowledges a snapshot whose entries it has in memory. */
static raft_index play_snapshot_in_memory(uint32_t off)
{
    struct world *w = world_of_follower_4(off, 500);
    struct raft *r = raft_at(w, 4);
    raft_index base = raft_last_index(r);
    inject_entry(w, 4, 0, r->current_term, base, r->current_term);
    unsigned answers = w->spies[4].answer_count;
    inject_snapshot(w, 4, 0, r->current_term, base + 1, r->current_term);
    ck_assert_uint_eq(w->spies[4].answer_count, answers + 1);
    ck_assert_uint_eq(w->spies[4].answer.rejected, 0);
    raft_index beyond = w->spies[4].answer.last_log_index - r->last_stored;
    world_free(w);
    return beyond;
}

/* Answers to a snapshot that contradicts an entry of the follower's of a higher term. */
static unsigned play_snapshot_conflict(uint32_t off)
{
    struct world *w = world_of_follower_4(off, 10);
    struct raft *r = raft_at(w, 4);
    raft_index base = raft_last_index(r);
    raft_term term = r->current_term;
    inject_entry(w, 4, 1, term + 1, base, term + 1);
    run(w, 50);
    unsigned answers = w->spies[4].answer_count;
    inject_snapshot(w, 4, 2, term + 2, base + 1, term);
    answers = w->spies[4].answer_count - answers;
    ck_assert_uint_eq(w->fatal_count, off == NO_RULE_OFF); /* for good: nothing else repairs it */
    world_free(w);
    return answers;
}

START_TEST(snapshots_are_acknowledged_as_far_as_the_disk_goes)
{
    ck_assert_uint_eq(play_snapshot_in_memory(NO_RULE_OFF), 0);
    ck_assert_uint_eq(play_snapshot_in_memory(BIT(GUARD_ACK_STORED)), 1);
    ck_assert_uint_eq(play_snapshot_conflict(NO_RULE_OFF), 0);
    ck_assert_uint_eq(play_snapshot_conflict(BIT(GUARD_ACK_STORED)), 1);
}
END_TEST

/* What follower 4 has of a leader's snapshot that came while it wrote its own. */
static raft_index play_snapshot_in_snapshot(uint32_t off)
{
    struct world *w = world_led_by_0(off);
    struct raft *r = raft_at(w, 4);
    raft_set_snapshot_threshold(r, 1);
    raft_fixture_set_disk_latency(&w->f, 4, 300);
    propose(w, 0);
    while (r->snapshot.pending.term == 0)
        raft_fixture_step(&w->f);
    isolate(w, 4);
    raft_index base = raft_last_index(r);
    inject_snapshot(w, 4, 0, r->current_term, base + 90, r->current_term);
    ck_assert_uint_eq(raft_last_index(r), base);
    inject_snapshot(w, 4, 0, r->current_term, base + 100, r->current_term);
    run(w, 700);
    raft_index installed = r->log.snapshot.last_index - base;
    world_free(w);
    return installed;
}

START_TEST(snapshot_of_the_leader_waits_for_our_own)
{
    ck_assert_uint_eq(play_snapshot_in_snapshot(NO_RULE_OFF), 100);
    ck_assert_uint_eq(play_snapshot_in_snapshot(BIT(GUARD_KEEP_SNAPSHOT)), 0);
}
END_TEST

/* Bytes that wait in the transport when no message gets through. */
static size_t play_slow_followers(uint32_t off)
{
    struct world *w = world_led_by_0(off);
    struct spy *s = &w->spies[0];
    s->keep_sends = true;
    for (unsigned i = 0; i < 24; i++) {
        propose_bytes(w, 0, GUARD_SEND_BYTES_MAX / 8);
        run(w, 12);
    }
    size_t bytes = s->kept_bytes;
    kept_end(s);
    world_free(w);
    return bytes;
}

START_TEST(slow_followers_cost_bounded_memory)
{
    ck_assert_uint_eq(play_slow_followers(NO_RULE_OFF), (SERVERS - 1) * GUARD_SEND_BYTES_MAX);
    ck_assert_uint_gt(play_slow_followers(BIT(GUARD_BOUNDED_SENDS)),
                      (SERVERS - 1) * GUARD_SEND_BYTES_MAX);
}
END_TEST

/* Writes that begin while the first of several entries is on its way to the disk. */
static unsigned play_burst(uint32_t off)
{
    struct world *w = world_led_by_0(off);
    struct raft *r = raft_at(w, 0);
    raft_fixture_set_disk_latency(&w->f, 0, 200);
    raft_index base = raft_last_index(r);
    unsigned begun = w->spies[0].append_count;
    for (unsigned i = 0; i < 10; i++)
        propose(w, 0);
    begun = w->spies[0].append_count - begun;
    wait_stored(w, 0, base + 10);
    ck_assert_uint_eq(r->last_stored, base + 10);
    run(w, 1000);
    ck_assert_uint_eq(w->acked_count, 10);
    world_free(w);
    return begun;
}

START_TEST(entries_are_written_one_batch_at_a_time)
{
    ck_assert_uint_eq(play_burst(NO_RULE_OFF), 1);
    ck_assert_uint_eq(play_burst(BIT(GUARD_ONE_WRITE)), 10);
}
END_TEST

/* How many members follower 4 sees when a change is void and the one before is in no log. */
static unsigned play_void_change(uint32_t off)
{
    struct world *w = world_led_by_0(off);
    struct raft *r = raft_at(w, 4);
    propose(w, 0);
    run(w, 300);
    compact(w, 4);
    isolate(w, 4);
    raft_index base = raft_last_index(r);
    raft_term term = r->current_term;
    inject_change(w, 4, 0, term, base);
    wait_stored(w, 4, base + 1);
    ck_assert_uint_eq(r->configuration.n, SERVERS + 1);
    /* What is refused does not touch it. */
    inject_entry(w, 4, 1, term + 1, base + 7, term + 1);
    ck_assert_uint_eq(r->configuration.n, SERVERS + 1);
    inject_entry(w, 4, 1, term + 1, base, term + 1);
    ck_assert_uint_eq(raftlog_guard_term_of(&r->log, base + 1), term + 1);
    ck_assert_uint_eq(r->configuration_uncommitted_index, 0);
    unsigned members = r->configuration.n;
    world_free(w);
    return members;
}

/* A message that is lost, because of G7, is not heard: the change stays, and may be committed. */
START_TEST(change_of_members_stays_until_the_log_is_cut)
{
    struct world *w = world_of_follower_4(NO_RULE_OFF, 10);
    struct raft *r = raft_at(w, 4);
    raft_index base = raft_last_index(r);
    raft_term term = r->current_term;
    inject_change(w, 4, 0, term, base);
    wait_stored(w, 4, base + 1);
    raft_fixture_set_disk_latency(&w->f, 4, 300);
    inject_entry(w, 4, 0, term, base + 1, term);
    inject_entry(w, 4, 1, term + 1, base, term + 1);
    ck_assert_uint_eq(raftlog_guard_term_of(&r->log, base + 1), term);
    ck_assert_uint_eq(r->configuration.n, SERVERS + 1);
    ck_assert_uint_eq(r->configuration_uncommitted_index, base + 1);
    run(w, 500);
    inject_entry(w, 4, 1, term + 1, base, term + 1);
    ck_assert_uint_eq(r->configuration.n, SERVERS);
    world_free(w);
}
END_TEST

START_TEST(void_change_of_members_is_rolled_back_after_compaction)
{
    ck_assert_uint_eq(play_void_change(NO_RULE_OFF), SERVERS);
}
END_TEST

static void on_crash(int signal_number)
{
    (void)signal_number;
    _exit(EXIT_FATAL);
}

START_TEST(void_change_of_members_crashes_without_keep_members)
{
    signal(SIGSEGV, on_crash);
    play_void_change(BIT(GUARD_KEEP_MEMBERS));
}
END_TEST

/* Does follower 4 take a snapshot while a change of members is not committed? */
static bool play_snapshot_in_change(uint32_t off)
{
    struct world *w = world_led_by_0(off);
    struct raft *r = raft_at(w, 4);
    isolate(w, 4);
    raft_index base = raft_last_index(r);
    raft_term term = r->current_term;
    inject_entry(w, 4, 0, term, base, term);
    wait_stored(w, 4, base + 1);
    inject_change(w, 4, 0, term, base + 1);
    wait_stored(w, 4, base + 2);
    raft_set_snapshot_threshold(r, 1);
    struct raft_message m = {.type = RAFT_IO_APPEND_ENTRIES};
    m.append_entries = (struct raft_append_entries){
        .term = term, .prev_log_index = base + 2, .prev_log_term = term, .leader_commit = base + 1};
    inject(w, 4, 0, &m);
    ck_assert_uint_eq(r->last_applied, base + 1);
    bool taken = r->snapshot.pending.term != 0;
    m.append_entries.leader_commit = base + 2;
    inject(w, 4, 0, &m);
    ck_assert_uint_eq(r->configuration_uncommitted_index, 0);
    ck_assert_uint_ne(r->snapshot.pending.term, 0); /* later it does */
    run(w, 500);
    world_free(w);
    return taken;
}

START_TEST(snapshots_wait_for_a_change_of_members)
{
    ck_assert(!play_snapshot_in_change(NO_RULE_OFF));
    ck_assert(play_snapshot_in_change(BIT(GUARD_KEEP_MEMBERS)));
}
END_TEST

/* Members that a server sees which was restarted with a change in its log that is void now. */
static unsigned play_change_over_restart(uint32_t off)
{
    struct world *w = world_new(off);
    struct raft_configuration conf;
    struct raft_entry change = {.term = 1, .type = RAFT_CHANGE, .buf = one_member_more()};
    change.batch = change.buf.base;
    ck_assert_int_eq(raft_fixture_configuration(&w->f, SERVERS, &conf), 0);
    ck_assert_int_eq(raft_fixture_bootstrap(&w->f, &conf), 0);
    raft_configuration_close(&conf);
    raft_fixture_add_entry(&w->f, 4, &change);
    ck_assert_int_eq(raft_fixture_start(&w->f), 0);
    struct raft *r = raft_at(w, 4);
    ck_assert_uint_eq(r->configuration.n, SERVERS + 1);
    inject_entry(w, 4, 1, 2, 1, 2);
    ck_assert_uint_eq(raftlog_guard_term_of(&r->log, 2), 2);
    unsigned members = r->configuration.n;
    world_free(w);
    return members;
}

START_TEST(void_change_of_members_is_rolled_back_after_a_restart)
{
    ck_assert_uint_eq(play_change_over_restart(NO_RULE_OFF), SERVERS);
    ck_assert_uint_eq(play_change_over_restart(BIT(GUARD_KEEP_MEMBERS)), SERVERS + 1);
}
END_TEST

/* A term that cannot be stored: the library would come to pieces over it (dqlite #857). */
START_TEST(term_that_cannot_be_stored_is_fatal)
{
    struct world *w = world_of_follower_4(NO_RULE_OFF, 10);
    raft_set_pre_vote(raft_at(w, 4), false);
    raft_fixture_io_fault(&w->f, 4, 0, 1);
    set_timeout(w, 4, 1000);
    run(w, 3000);
    ck_assert_uint_eq(w->fatal_count, 1);
    _exit(EXIT_FATAL);
}
END_TEST

START_TEST(snapshot_that_cannot_be_stored_is_fatal)
{
    struct world *w = world_led_by_0(NO_RULE_OFF);
    w->spies[4].fail_put = true;
    raft_set_snapshot_threshold(raft_at(w, 4), 1);
    propose(w, 0);
    run(w, 1000);
    ck_assert_uint_eq(w->fatal_count, 1);
    _exit(EXIT_FATAL);
}
END_TEST

START_TEST(followers_learn_of_a_commit_without_a_heartbeat)
{
    struct world *w = world_led_by_0(NO_RULE_OFF);
    struct raft *r = raft_at(w, 0);
    raft_index index = raft_last_index(r) + 1;
    cut(w, 0, 4);
    propose(w, 0);
    ck_assert(wait_committed(w, 0, index, 1000));
    for (unsigned i = 1; i < SERVERS; i++)
        ck_assert_uint_lt(raft_at(w, i)->commit_index, index);
    for (unsigned i = 1; i < 4; i++)
        wait_stored(w, i, index);
    run(w, 25); /* for the answers; heartbeats are 100 ms apart */
    for (unsigned i = 1; i < SERVERS; i++)
        ck_assert_uint_lt(raft_at(w, i)->commit_index, index);
    ck_assert(raftlog_guard_commit_unsent(&w->guards[0], index));
    ck_assert(!raftlog_guard_commit_unsent(&w->guards[0], index + 1));
    ck_assert(!raftlog_guard_commit_unsent(&w->guards[1], index));
    raftlog_guard_send_commit(&w->guards[0], index);
    ck_assert(!raftlog_guard_commit_unsent(&w->guards[0], index));
    run(w, 25);
    for (unsigned i = 1; i < 4; i++)
        ck_assert_uint_eq(raft_at(w, i)->commit_index, index);
    ck_assert_uint_lt(raft_at(w, 4)->commit_index, index);
    world_free(w);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("raftlog_guard");
    TCase *lost = tcase_create("reproduced losses");
    tcase_set_timeout(lost, 60);
    tcase_add_test(lost, figure_8_loses_nothing_with_the_guard);
    tcase_add_test(lost, figure_8_contradicts_itself_without_own_term);
    tcase_add_test(lost, stale_tails_lose_nothing_with_the_guard);
    tcase_add_test(lost, stale_tails_are_counted_without_ack_checked);
    suite_add_tcase(suite, lost);
    TCase *rules = tcase_create("rules");
    tcase_set_timeout(rules, 60);
    tcase_add_test(rules, write_for_a_former_leader_is_not_acknowledged_to_the_next);
    tcase_add_test(rules, follower_does_not_stand_for_election_while_writing);
    tcase_add_test(rules, timeout_now_waits_for_the_disk);
    tcase_add_exit_test(rules, failed_write_is_fatal_on_leader_and_follower, EXIT_FATAL);
    tcase_add_exit_test(rules, failed_write_lets_the_leader_use_an_index_again_without_the_rule,
                        EXIT_FATAL);
    tcase_add_exit_test(rules, write_that_cannot_start_is_fatal, EXIT_FATAL);
    tcase_add_test(rules, first_candidate_wins_when_the_leader_is_dead);
    tcase_add_test(rules, entries_commit_under_steady_load);
    tcase_add_test(rules, log_is_not_truncated_while_a_snapshot_is_written);
    tcase_add_test(rules, nobody_votes_twice_in_a_term);
    tcase_add_test(rules, snapshots_are_acknowledged_as_far_as_the_disk_goes);
    tcase_add_test(rules, snapshot_of_the_leader_waits_for_our_own);
    tcase_add_test(rules, slow_followers_cost_bounded_memory);
    tcase_add_test(rules, log_is_not_truncated_while_it_is_written);
    tcase_add_exit_test(rules, a_first_write_counts_for_the_third_without_keep_log, EXIT_FATAL);
    tcase_add_test(rules, entries_are_written_one_batch_at_a_time);
    tcase_add_test(rules, change_of_members_stays_until_the_log_is_cut);
    tcase_add_test(rules, void_change_of_members_is_rolled_back_after_compaction);
    tcase_add_exit_test(rules, void_change_of_members_crashes_without_keep_members, EXIT_FATAL);
    tcase_add_test(rules, void_change_of_members_is_rolled_back_after_a_restart);
    tcase_add_test(rules, snapshots_wait_for_a_change_of_members);
    tcase_add_exit_test(rules, snapshot_that_cannot_be_stored_is_fatal, EXIT_FATAL);
    tcase_add_exit_test(rules, term_that_cannot_be_stored_is_fatal, EXIT_FATAL);
    tcase_add_test(rules, followers_learn_of_a_commit_without_a_heartbeat);
    suite_add_tcase(suite, rules);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
