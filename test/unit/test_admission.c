/*
 * test_admission.c - budgets: which connections are admitted, what exceeds a budget, whose turn it
 * is.
 */
#include "admission.h"
#include "testlib.h"

enum { MANY = 30000 };

struct crowd {
    struct admission *admission;
    struct admission_account *accounts[MANY];
    size_t count;
    struct err err; /* of the last refusal */
};

static struct identity who_of(enum role role, unsigned number)
{
    struct identity who = {.role = role};
    snprintf(who.name, sizeof who.name, "n%u", number);
    return who;
}

/* Admit one more connection of `who`; return true if there was room. */
static bool crowd_join(struct crowd *crowd, struct identity who)
{
    if (admission_accept(crowd->admission, &crowd->err) != ADMISSION_TAKEN)
        return false;
    ck_assert_uint_lt(crowd->count, MANY);
    if (admission_identify(crowd->admission, &who, &crowd->accounts[crowd->count], &crowd->err) ==
        0) {
        crowd->count++;
        return true;
    }
    admission_gone(crowd->admission);
    return false;
}

static void crowd_release(struct crowd *crowd)
{
    for (size_t i = 0; i < crowd->count; i++)
        account_leave(crowd->accounts[i]);
    admission_free(crowd->admission);
    crowd->count = 0;
}

/* Open connections of identities of that role, each as many as it gets, until none gets more. */
static size_t crowd_fill(struct crowd *crowd, enum role role)
{
    size_t before = crowd->count;
    for (unsigned number = 0, refused = 0; refused < 2; number++) {
        refused++;
        while (crowd_join(crowd, who_of(role, number)))
            refused = 0;
    }
    return crowd->count - before;
}

static struct crowd crowd;

START_TEST(one_identity_gets_its_share_and_a_reason)
{
    static const struct {
        enum role role;
        uint64_t files;
        size_t most;
    } cases[] = {
        {ROLE_USER, 20000, 2048}, {ROLE_USER, 2000, 209},   {ROLE_USER, 1024, 92},
        {ROLE_USER, 64, 5},       {ROLE_USER, 2, 1},        {ROLE_BORGLET, 20000, 4},
        {ROLE_BORGLET, 2000, 4},  {ROLE_MASTER, 20000, 32}, {ROLE_MASTER, 1024, 32},
        {ROLE_MASTER, 64, 5},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        crowd = (struct crowd){.admission = admission_new(&admission_rpc, cases[i].files)};
        while (crowd_join(&crowd, who_of(cases[i].role, 1)))
            ;
        ck_assert_uint_eq(crowd.count, cases[i].most);
        ck_assert_int_eq(crowd.err.code, ERR_LIMIT);
        T_CONTAINS(crowd.err.msg, "n1 has ");
        if (cases[i].files > 2)
            ck_assert(crowd_join(
                &crowd, who_of(cases[i].role, 2))); /* another user has a share of his own */
        crowd_release(&crowd);
    }
}
END_TEST

START_TEST(no_role_can_take_the_share_of_another)
{
    static const uint64_t files[] = {1024, 2000, 4096, 20000};
    for (size_t i = 0; i < ARRAY_SIZE(files); i++)
        for (int greedy = ROLE_NONE; greedy < ROLE_COUNT; greedy++) {
            crowd = (struct crowd){.admission = admission_new(&admission_rpc, files[i])};
            size_t all = files[i] - 256, strangers = 0;
            if (greedy != ROLE_NONE)
                ck_assert_uint_lt(crowd_fill(&crowd, (enum role)greedy), all * 3 / 4);
            else
                while (admission_accept(crowd.admission, &crowd.err) == ADMISSION_TAKEN)
                    strangers++;
            ck_assert_uint_le(strangers, all / 8);
            for (size_t n = 0; n < strangers; n++)
                admission_gone(crowd.admission);
            for (int other = ROLE_MASTER; other < ROLE_COUNT; other++) {
                if (other == greedy)
                    continue;
                size_t share = all * admission_rpc.roles[other].share_percent / 100;
                ck_assert_uint_ge(crowd_fill(&crowd, (enum role)other), share);
            }
            crowd_release(&crowd);
        }
}
END_TEST

START_TEST(strangers_share_one_budget_and_are_refused_when_it_is_full)
{
    struct admission_limits limits = admission_open(10);
    limits.strangers_percent = 30;
    crowd = (struct crowd){.admission = admission_new(&limits, 1000)};
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(admission_accept(crowd.admission, &crowd.err), ADMISSION_TAKEN);
    ck_assert_int_eq(admission_accept(crowd.admission, &crowd.err), ADMISSION_WAIT);
    for (int i = 0; i < 3; i++)
        admission_gone(crowd.admission);
    for (int i = 0; i < 10; i++)
        ck_assert(crowd_join(&crowd, who_of(ROLE_USER, 1)));
    ck_assert_int_eq(admission_accept(crowd.admission, &crowd.err), ADMISSION_FULL);
    ck_assert_int_eq(crowd.err.code, ERR_LIMIT);
    account_leave(crowd.accounts[--crowd.count]);
    ck_assert(crowd_join(&crowd, who_of(ROLE_USER, 2)));
    crowd_release(&crowd);
}
END_TEST

START_TEST(descriptors_are_reserved_for_files)
{
    static const struct {
        const struct admission_limits *limits;
        uint64_t files;
        int last; /* the highest descriptor that a connection may have */
    } cases[] = {
        {&admission_rpc, 20000, 19743},  {&admission_rpc, 2000, 1743},  {&admission_rpc, 256, 191},
        {&admission_raft, 20000, 19935}, {&admission_raft, 2000, 1935}, {&admission_raft, 64, 47},
    };
    struct err err;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct admission *a = admission_new(cases[i].limits, 1 << 20);
        admission_set_files(a, cases[i].files);
        ck_assert(admission_may_have(a, 3, &err));
        ck_assert(admission_may_have(a, cases[i].last, &err));
        ck_assert(!admission_may_have(a, cases[i].last + 1, &err));
        T_CONTAINS(err.msg, "ulimit");
        admission_free(a);
    }
}
END_TEST

START_TEST(the_memory_of_all_connections_of_an_identity_is_added)
{
    enum { CALLS = 100, BYTES = 1000, FRAMES = 5000, MEMORY = 8000 };
    struct admission_limits limits = admission_open(100);
    limits.roles[ROLE_USER].calls = CALLS;
    limits.roles[ROLE_USER].call_bytes = BYTES;
    limits.roles[ROLE_USER].frame_bytes = FRAMES;
    limits.roles[ROLE_USER].memory_bytes = MEMORY;
    static const struct {
        uint32_t calls;
        size_t bytes_each, frames, output;
        bool full, room, frames_full;
    } cases[] = {
        {0, 0, 0, 0, false, true, false},    {50, 0, 0, 0, false, true, false},
        {51, 0, 0, 0, false, false, false},  {99, 0, 0, 0, false, false, false},
        {100, 0, 0, 0, true, false, false},  {5, 100, 0, 0, false, true, false},
        {10, 100, 0, 0, true, false, false}, {1, 1, 4999, 0, false, true, false},
        {1, 1, 5000, 0, false, true, true},  {1, 1, 0, 3999, false, true, false},
        {1, 1, 0, 4000, true, false, false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        crowd = (struct crowd){.admission = admission_new(&limits, 1000)};
        for (int n = 0; n < 3; n++)
            ck_assert(crowd_join(&crowd, who_of(ROLE_USER, 1)));
        struct admission_account *account = crowd.accounts[0];
        ck_assert_ptr_eq(account, crowd.accounts[2]);
        for (uint32_t n = 0; n < cases[i].calls; n++)
            account_call_begin(crowd.accounts[n % 3], cases[i].bytes_each);
        account_frames(account, 0, cases[i].frames);
        account_output(account, 0, cases[i].output);
        ck_assert_int_eq(account_is_full(account), cases[i].full);
        ck_assert_int_eq(account_has_room(account), cases[i].room);
        ck_assert_int_eq(account_frames_full(account), cases[i].frames_full);
        size_t free_bytes = MEMORY - cases[i].frames - cases[i].output;
        ck_assert(account_may_send(account, free_bytes));
        ck_assert(!account_may_send(account, free_bytes + 1));
        account_frames(account, cases[i].frames, 0);
        account_output(account, cases[i].output, 0);
        for (uint32_t n = 0; n < cases[i].calls; n++)
            account_call_end(account, cases[i].bytes_each);
        crowd_release(&crowd);
    }
}
END_TEST

START_TEST(a_call_counts_after_its_connection_has_closed)
{
    struct admission_limits limits = admission_open(100);
    limits.roles[ROLE_USER].calls = 2;
    crowd = (struct crowd){.admission = admission_new(&limits, 1000)};
    for (int i = 0; i < 2; i++) {
        ck_assert(crowd_join(&crowd, who_of(ROLE_USER, 1)));
        account_call_begin(crowd.accounts[0], 10);
        account_leave(crowd.accounts[--crowd.count]);
    }
    ck_assert(crowd_join(&crowd, who_of(ROLE_USER, 1)));
    struct admission_account *account = crowd.accounts[0];
    ck_assert(account_is_full(account));
    crowd_release(&crowd); /* the port is released first, then its last calls */
    account_call_end(account, 10);
    account_call_end(account, 10);
}
END_TEST

START_TEST(a_turn_limits_frames_and_time_of_each_identity)
{
    struct admission_limits limits = admission_open(100);
    limits.turn_users_us = 1000;
    limits.roles[ROLE_USER].turn_frames = limits.roles[ROLE_BORGLET].turn_frames = 10;
    limits.roles[ROLE_USER].turn_us = limits.roles[ROLE_BORGLET].turn_us = 300;
    limits.roles[ROLE_USER].turn_bytes = 100;
    crowd = (struct crowd){.admission = admission_new(&limits, 1000)};
    for (unsigned user = 0; user < 5; user++)
        ck_assert(crowd_join(&crowd, who_of(ROLE_USER, user)));
    ck_assert(crowd_join(&crowd, who_of(ROLE_BORGLET, 0)));
    for (uint64_t turn = 1; turn < 4; turn++) {
        unsigned served[6] = {0};
        for (size_t i = 0; i < 6; i++)
            while (account_may_serve(crowd.accounts[i], turn)) {
                account_served(crowd.accounts[i], i == 0 ? 1 : 100);
                served[i]++;
            }
        ck_assert_uint_eq(served[0], 10); /* frames */
        ck_assert_uint_eq(served[1], 3);  /* its time */
        ck_assert_uint_eq(served[2], 3);
        ck_assert_uint_eq(served[3], 3);
        ck_assert_uint_eq(served[4], 1); /* the time of all users */
        ck_assert_uint_eq(served[5], 3); /* borglets have separate time */
        ck_assert(account_turn_is_over(crowd.accounts[4], turn));
        ck_assert(!account_turn_is_over(crowd.accounts[5], turn));
        ck_assert(account_may_read(crowd.accounts[4], turn, 99));
        ck_assert(!account_may_read(crowd.accounts[4], turn, 1));
    }
    crowd_release(&crowd);
}
END_TEST

/* Commands of one turn are then committed together: a batch costs the disk as much as one command.
 */
START_TEST(a_turn_serves_fast_calls_of_many_clients_of_one_user)
{
    enum { CLIENTS = 512, QUICK_US = 15, SLOW_US = 1000 };
    crowd = (struct crowd){.admission = admission_new(&admission_rpc, 65536)};
    for (unsigned i = 0; i < CLIENTS; i++)
        ck_assert(crowd_join(&crowd, who_of(ROLE_USER, 1)));
    struct admission_account *account = crowd.accounts[0];
    for (unsigned i = 0; i < CLIENTS; i++) {
        ck_assert(account_may_serve(account, 1));
        account_served(account, QUICK_US);
    }
    unsigned slow = 0;
    for (; account_may_serve(account, 2); slow++)
        account_served(account, SLOW_US);
    ck_assert_uint_eq(slow, admission_rpc.roles[ROLE_USER].turn_us / SLOW_US);
    crowd_release(&crowd);
}
END_TEST

START_TEST(all_connections_of_an_identity_share_its_part_of_the_loop)
{
    static const struct {
        enum role role;
        /* of two seconds in which it uses everything it gets, including its burst */
        uint64_t percent;
    } cases[] = {{ROLE_USER, 42}, {ROLE_BORGLET, 12}, {ROLE_MASTER, 100}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        crowd = (struct crowd){.admission = admission_new(&admission_rpc, 65536)};
        for (unsigned c = 0; c < 3; c++)
            ck_assert(crowd_join(&crowd, who_of(cases[i].role, 1)));
        ck_assert(crowd_join(&crowd, who_of(cases[i].role, 2)));
        uint64_t used_us = 0;
        for (uint64_t now_us = 0; now_us < 2000000; now_us += 1000)
            if (!account_is_over(crowd.accounts[now_us / 1000 % 3], now_us)) {
                account_busy(crowd.accounts[now_us / 1000 % 3], now_us + 1000, 1000);
                used_us += 1000;
            }
        ck_assert_uint_le(used_us / 20000, cases[i].percent);
        ck_assert_uint_ge(used_us / 20000, cases[i].percent - 2);
        ck_assert_int_eq(account_is_over(crowd.accounts[0], 2000000), cases[i].role != ROLE_MASTER);
        ck_assert(!account_is_over(crowd.accounts[3], 2000000));
        crowd_release(&crowd);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("admission");
    TCase *tc = tcase_create("budgets");
    tcase_set_timeout(tc, 30);
    tcase_add_test(tc, one_identity_gets_its_share_and_a_reason);
    tcase_add_test(tc, no_role_can_take_the_share_of_another);
    tcase_add_test(tc, strangers_share_one_budget_and_are_refused_when_it_is_full);
    tcase_add_test(tc, descriptors_are_reserved_for_files);
    tcase_add_test(tc, the_memory_of_all_connections_of_an_identity_is_added);
    tcase_add_test(tc, a_call_counts_after_its_connection_has_closed);
    tcase_add_test(tc, a_turn_limits_frames_and_time_of_each_identity);
    tcase_add_test(tc, a_turn_serves_fast_calls_of_many_clients_of_one_user);
    tcase_add_test(tc, all_connections_of_an_identity_share_its_part_of_the_loop);
    suite_add_tcase(suite, tc);
    return t_main(suite);
}
