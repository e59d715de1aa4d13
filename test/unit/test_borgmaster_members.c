/*
 * test_borgmaster_members.c - steps from the present members to the wanted ones: each case has the
 * wanted members, the members in the log, and the one step that follows.
 */
#include "members.h"
#include "members_next.h"
#include "testlib.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LAST_INDEX = 10000 };

struct situation {
    struct masters wanted;
    struct raftlog_peer peers[RAFTLOG_MEMBERS_MAX];
    struct members_seen seen;
};

static enum master_state state_of(char c)
{
    return c == '+' ? MASTER_JOINING : c == '-' ? MASTER_LEAVING : MASTER_VOTES;
}

/* Read "1 2 -3 +4": members, one that leaves, one that joins. "+4@3": at the addresses of 3. */
static void read_wanted(struct situation *s, const char *text)
{
    char *copy = xstrdup(text), *rest = NULL;
    for (char *word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        struct master *row = &s->wanted.rows[s->wanted.count++];
        const char *at = strchr(word, '@');
        row->state = state_of(word[0]);
        row->id = strtoull(word + (row->state != MASTER_VOTES), NULL, 10);
        int host = at != NULL ? atoi(at + 1) : (int)row->id;
        snprintf(row->rpc, sizeof row->rpc, "r%d:1", host);
        snprintf(row->raft, sizeof row->raft, "r%d:2", host);
        s->wanted.next_id = row->id + 1;
    }
    free(copy);
}

/* Read "1 2 3! 4? 5b 6s 7y 8d": voters; 3 is silent, 4 was never heard, 5 lags; 6 is a spare, 7 a
 * stand-by; 8 has answered recently, but not the last request. The first leads. */
static void read_peers(struct situation *s, const char *text)
{
    char *copy = xstrdup(text), *rest = NULL;
    for (char *word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        char *marks = NULL;
        struct raftlog_peer *peer = &s->peers[s->seen.peer_count++];
        *peer = (struct raftlog_peer){.id = strtoull(word, &marks, 10),
                                      .part = RAFTLOG_VOTER,
                                      .stored_index = LAST_INDEX,
                                      .silent_ms = 20};
        for (; *marks != '\0'; marks++) {
            if (*marks == '!')
                peer->silent_ms = MEMBERS_SILENT_MS;
            else if (*marks == '?')
                peer->silent_ms = UINT64_MAX;
            else if (*marks == 'b')
                peer->stored_index = LAST_INDEX - MEMBERS_BEHIND_MAX - 1;
            else if (*marks == 'd')
                peer->stored_index = (s->seen.asked_index = LAST_INDEX) - 1;
            else
                peer->part = *marks == 's' ? RAFTLOG_SPARE : RAFTLOG_STANDBY;
        }
    }
    free(copy);
}

static struct situation *situation_new(const char *wanted, const char *peers)
{
    struct situation *s = xcalloc(1, sizeof *s);
    read_wanted(s, wanted);
    read_peers(s, peers);
    s->seen.wanted = &s->wanted;
    s->seen.peers = s->peers;
    s->seen.self = s->peers[0].id;
    s->seen.last_index = LAST_INDEX;
    ck_assert_int_eq(masters_valid(&s->wanted, NULL), 0);
    return s;
}

static void step_text(const struct members_step *step, char to[256])
{
    static const char *const parts[] = {"gone", "spare", "stand-by", "voter"};
    switch (step->action) {
    case MEMBERS_DONE:
        snprintf(to, 256, "done");
        return;
    case MEMBERS_WAIT:
        snprintf(to, 256, "wait: %s", step->why);
        return;
    case MEMBERS_CHANGE:
        snprintf(to, 256, "log: %d at %s %s", (int)step->id, step->address, parts[step->part]);
        return;
    case MEMBERS_PROPOSE:
        snprintf(to, 256, "cell: %d %s", (int)step->command.id,
                 step->command.gone ? "gone" : "joined");
        return;
    case MEMBERS_TRANSFER:
        snprintf(to, 256, "transfer");
        return;
    }
}

static const struct next_case {
    const char *wanted, *peers, *step;
} next_cases[] = {
    {"1 2 3", "1 2 3", "done"},
    {"1 2 3", "1 2! 3?", "done"},
    /* A replica joins: spare, stand-by, caught up, voter. */
    {"1 +2", "1", "log: 2 at r2:2 spare"},
    {"1 +2", "1 2s?", "log: 2 at r2:2 stand-by"},
    {"1 +2", "1 2y?", "wait: replica 2 does not answer the leader"},
    {"1 +2", "1 2y!", "wait: replica 2 has not answered the leader for 1000 ms"},
    {"1 +2", "1 2yb", "wait: replica 2 is 257 log entries behind"},
    {"1 +2", "1 2y", "cell: 2 joined"},
    {"1 2", "1 2y", "log: 2 at r2:2 voter"},
    {"1 2", "1 2y!", "wait: replica 2 has not answered the leader for 1000 ms"},
    {"1 2", "1 2", "done"},
    /* A step that was lost in a change of the leader is repeated. */
    {"1 2 3 4", "1 2 3", "log: 4 at r4:2 spare"},
    {"1 2 3 4", "1 2 3 4s?", "log: 4 at r4:2 stand-by"},
    /* A change that could not be committed is not started. */
    {"1 2 3 +4", "1 2! 3!", "wait: 1 of 3 voters answer and have caught up, 2 are needed"},
    {"1 2 3 4", "1 2! 3b 4y", "wait: 2 of 4 voters answer and have caught up, 3 are needed"},
    /* A replica leaves; if it is the leader, another replica removes it. */
    {"1 2 -3", "1 2 3", "log: 3 at r3:2 gone"},
    {"1 2 -3", "1 2 3!", "log: 3 at r3:2 gone"},
    {"1 2 -3", "1 2! 3", "wait: 1 of 2 voters answer and have caught up, 2 are needed"},
    {"1 2 -3", "1 2d 3", "wait: 1 of 2 voters answer and have caught up, 2 are needed"},
    {"1 2 -3", "1 2 3d", "log: 3 at r3:2 gone"},
    {"1 2 3 4", "1 2d 3d 4y", "wait: 2 of 4 voters answer and have caught up, 3 are needed"},
    {"1 +2", "1 2yd", "wait: replica 2 does not answer the leader any more"},
    {"1 2 -3", "1 2", "cell: 3 gone"},
    {"-1 2 3", "1 2 3", "transfer"},
    {"-1 2 3", "2 1 3", "log: 1 at r1:2 gone"},
    {"1 2 -3", "1 2 3y", "log: 3 at r3:2 gone"},
    /* One replaces another: a dead one is removed first, a live one after the new one has joined.
     */
    {"1 2 -3 +4", "1 2 3!", "log: 3 at r3:2 gone"},
    {"1 2 -3 +4", "1 2 3b", "log: 3 at r3:2 gone"},
    {"1 2 -3 +4", "1 2", "cell: 3 gone"},
    {"1 2 -3 +4", "1 2 3", "log: 4 at r4:2 spare"},
    {"1 2 -3 +4", "1 2 3 4y", "cell: 4 joined"},
    {"1 2 -3 4", "1 2 3 4y", "log: 4 at r4:2 voter"},
    {"1 2 -3 4", "1 2 3 4", "log: 3 at r3:2 gone"},
    {"1 2 -3 +4@3", "1 2 3", "log: 3 at r3:2 gone"},
    {"-1 +2", "1", "log: 2 at r2:2 spare"},
    {"-1 2", "1 2", "transfer"},
};

START_TEST(one_step_follows)
{
    const struct next_case *c = &next_cases[_i];
    struct situation *s = situation_new(c->wanted, c->peers);
    struct members_step step = members_next(&s->seen);
    char text[256];
    step_text(&step, text);
    ck_assert_msg(strcmp(text, c->step) == 0, "wanted %s, have %s: %s instead of %s", c->wanted,
                  c->peers, text, c->step);
    free(s);
}
END_TEST

static const struct may_case {
    const char *peers;
    const char *what; /* "+": add one, "-3": remove 3, "+3": replace 3 */
    const char *refusal;
} may_cases[] = {
    {"1 2 3", "+", NULL},
    {"1 2 3!", "+", "replica 3 has not answered the leader for 1000 ms: bring it back or replace"},
    {"1 2 3b", "+", "replica 3 is 257 log entries behind: bring it back or replace it"},
    {"1 2 3 4 5", "-3", NULL},
    {"1 2 3!", "-3", NULL},
    {"1 2 3!", "-2", "without replica 2 1 of 2 replicas would answer, 2 are needed"},
    {"1 2 3! 4! 5", "-5", "without replica 5 2 of 4 replicas would answer, 3 are needed"},
    {"1 2 3! 4! 5", "-3", NULL}, /* allowed, so that two dead ones can be replaced one by one */
    {"1 2 3 4 5!", "-4", "replica 5 has not answered the leader for 1000 ms: bring it back, or"},
    {"1 2 3! 4! 5", "+3", NULL},
    {"1 2 3! 4! 5", "+5", "without replica 5 2 of 4 replicas would answer, 3 are needed"},
    {"1 2 3d 4d 5", "-5", "without replica 5 2 of 4 replicas would answer, 3 are needed"},
    {"1 2 3d 4d 5", "-3", NULL},
    {"1 2 3 4 5d", "-4", "replica 5 does not answer the leader any more: bring it back, or"},
    {"1 2 3d", "+", "replica 3 does not answer the leader any more: bring it back or replace"},
    {"1", "+", NULL},
    {"1", "+1", NULL}, /* the new one joins first */
    {"1 2", "-2", NULL},
    {"1 2!", "-2", NULL},
    {"1 2 3y?", "-3", NULL}, /* 3 is not a voter yet */
};

START_TEST(a_change_that_would_cost_the_quorum_is_refused)
{
    const struct may_case *c = &may_cases[_i];
    struct situation *s = situation_new("1", c->peers);
    struct err err = {0};
    uint64_t id = strtoull(c->what + 1, NULL, 10);
    int rv = c->what[0] == '+' ? members_may_add(&s->seen, id, &err)
                               : members_may_remove(&s->seen, id, &err);
    if (c->refusal == NULL)
        ck_assert_msg(rv == 0, "%s, %s: %s", c->peers, c->what, err.msg);
    else
        ck_assert_msg(rv == -ERR_STATE && strstr(err.msg, c->refusal) != NULL, "%s, %s: %s",
                      c->peers, c->what, err.msg);
    free(s);
}
END_TEST

/* Replicas that seem to be up are waited for, silent ones are not. */
START_TEST(only_replicas_that_seem_up_are_waited_for)
{
    static const struct {
        const char *peers;
        bool all;
    } cases[] = {{"1 2 3", true},   {"1 2d 3", false}, {"1 2d! 3", true},
                 {"1 2 3d", false}, {"1 2db", true},   {"1 2sd?", true}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct situation *s = situation_new("1", cases[i].peers);
        ck_assert_msg(members_all_answered(&s->seen) == cases[i].all, "%s", cases[i].peers);
        free(s);
    }
}
END_TEST

START_TEST(an_old_copy_is_distinguished_from_a_working_replica)
{
    static const struct {
        struct wire_join asked;
        uint64_t acked, age_ms;
        bool is_old;
    } cases[] = {
        {{.last_index = 100, .worked_ms = 50}, 100, 9000, false},
        {{.last_index = 100, .worked_ms = 50}, 101, 9000, true},
        {{.last_index = 100, .worked_ms = 50}, 101, 301, true},
        {{.last_index = 100, .worked_ms = 50}, 101, 300, false}, /* perhaps since it was admitted */
        {{.last_index = 100, .worked_ms = 50}, 0, 0, false},     /* nothing is known */
        {{.last_index = 100}, 101, 0, true}, /* it is not admitted: all its data is from before */
        {{.last_index = 100}, 100, 0, false},
        {{.is_new = true}, 500, 9000, false}, /* the cell knows more about this */
        /* It has worked for a minute and acknowledged entries since. */
        {{.last_index = 100, .worked_ms = 60000}, 880, 40, false},
        {{.last_index = 100, .worked_ms = 60000}, 880, 60200, false},
        {{.last_index = 100, .worked_ms = 60000}, 880, 61000, true},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        ck_assert_msg(members_is_old_copy(&cases[i].asked, cases[i].acked, cases[i].age_ms) ==
                          cases[i].is_old,
                      "case %zu", i);
}
END_TEST

/* If every step is taken at once, the wanted members are reached. */
START_TEST(steps_lead_to_the_wanted_members)
{
    static const struct {
        const char *wanted, *peers;
        unsigned steps;
    } ways[] = {
        {"1 2 3 +4", "1 2 3", 4},
        {"1 2 -3", "1 2 3", 2},
        {"1 2 -3 +4", "1 2 3", 6},
        /* then the transfer, which is not done here */
        {"1 2 -3 +4", "1 2 3!", 6},
        {"-1 +2", "1", 4},
        {"1 2 -3 +4@3", "1 2 3", 6},
    };
    struct situation *s = situation_new(ways[_i].wanted, ways[_i].peers);
    unsigned steps = 0;
    struct members_step step;
    while ((step = members_next(&s->seen)).action == MEMBERS_CHANGE ||
           step.action == MEMBERS_PROPOSE) {
        struct raftlog_peer *peer = s->peers;
        while (peer < s->peers + s->seen.peer_count && peer->id != step.id)
            peer++;
        struct master *row = (struct master *)masters_find(&s->wanted, step.id);
        if (step.action == MEMBERS_PROPOSE && step.command.gone) {
            size_t after = (size_t)(s->wanted.rows + s->wanted.count - row - 1);
            memmove(row, row + 1, after * sizeof *row);
            s->wanted.count--;
        } else if (step.action == MEMBERS_PROPOSE) {
            row->state = MASTER_VOTES;
        } else if (step.part == RAFTLOG_GONE) {
            size_t after = (size_t)(s->peers + s->seen.peer_count - peer - 1);
            memmove(peer, peer + 1, after * sizeof *peer);
            s->seen.peer_count--;
        } else {
            s->seen.peer_count += peer == s->peers + s->seen.peer_count;
            *peer = (struct raftlog_peer){
                .id = step.id, .part = step.part, .stored_index = LAST_INDEX, .silent_ms = 20};
        }
        ck_assert_uint_le(++steps, 10);
    }
    ck_assert_uint_eq(steps, ways[_i].steps);
    ck_assert_int_eq(step.action,
                     s->wanted.rows[0].state == MASTER_LEAVING ? MEMBERS_TRANSFER : MEMBERS_DONE);
    free(s);
}
END_TEST

/* This also holds when no command asks for a change. */
START_TEST(an_invalid_address_is_refused)
{
    static const char *const addresses[] = {"", "r1", "r1:", "r1:0", "r1:65536", ":1", "r1:2"};
    struct situation *s = situation_new("1 2 3", "1 2 3");
    snprintf(s->wanted.rows[0].rpc, sizeof s->wanted.rows[0].rpc, "%s", addresses[_i]);
    T_REFUSED(masters_valid(&s->wanted, &t_err), ERR_INVALID);
    ck_assert_int_eq(masters_valid(&s->wanted, NULL), -ERR_INVALID);
    free(s);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("members");
    TCase *t = tcase_create("members");
    tcase_add_test(t, an_old_copy_is_distinguished_from_a_working_replica);
    tcase_add_test(t, only_replicas_that_seem_up_are_waited_for);
    tcase_add_loop_test(t, one_step_follows, 0, ARRAY_SIZE(next_cases));
    tcase_add_loop_test(t, a_change_that_would_cost_the_quorum_is_refused, 0,
                        ARRAY_SIZE(may_cases));
    tcase_add_loop_test(t, steps_lead_to_the_wanted_members, 0, 6);
    tcase_add_loop_test(t, an_invalid_address_is_refused, 0, 7);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
