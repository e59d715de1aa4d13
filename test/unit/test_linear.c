/*
 * test_linear.c - the checker of histories: told ones, and random ones against a slow obvious one.
 */
#include "cell_fixture.h"
#include "chaos/linear.h"

enum { OPS_MAX = 8, NOW = 0, RANDOM_OPS = 6, LONG_OPS = 600, CLIENTS = 6 };

#define OP(what, from, to, number) \
    { \
        .start = (from), .end = (to), .kind = LINEAR_##what, .value = (number) \
    }
#define REFUSED(what, from, to) \
    { \
        .start = (from), .end = (to), .kind = LINEAR_##what, .outcome = LINEAR_REFUSED \
    }
#define UNKNOWN(what, from, number) \
    { \
        .start = (from), .kind = LINEAR_##what, .outcome = LINEAR_UNKNOWN, .value = (number) \
    }

static const struct {
    const char *what;
    enum linear_verdict verdict;
    struct linear_op ops[OPS_MAX]; /* to the first that starts at NOW */
} told[] = {
    {"nothing", LINEAR_YES, {{0}}},
    {"one after the other",
     LINEAR_YES,
     {OP(CREATE, 1, 2, 5), OP(READ, 3, 4, 5), OP(UPDATE, 5, 6, 7), OP(READ, 7, 8, 7),
      OP(KILL, 9, 10, 0), OP(READ, 11, 12, 0)}},
    {"a read of what nobody wrote", LINEAR_NO, {OP(CREATE, 1, 2, 5), OP(READ, 3, 4, 6)}},
    {"a stale read", LINEAR_NO, {OP(CREATE, 1, 2, 5), OP(UPDATE, 3, 4, 6), OP(READ, 5, 6, 5)}},
    {"the same while it is being written",
     LINEAR_YES,
     {OP(CREATE, 1, 2, 5), OP(UPDATE, 3, 6, 6), OP(READ, 5, 7, 5)}},
    {"at one moment is side by side",
     LINEAR_YES,
     {OP(CREATE, 1, 2, 5), OP(UPDATE, 3, 4, 6), OP(READ, 4, 4, 5)}},
    {"reads that go back",
     LINEAR_NO,
     {OP(CREATE, 1, 2, 5), OP(UPDATE, 3, 9, 6), OP(READ, 4, 5, 6), OP(READ, 6, 7, 5)}},
    {"a lost write",
     LINEAR_NO,
     {OP(CREATE, 1, 2, 5), OP(UPDATE, 3, 4, 6), OP(UPDATE, 5, 6, 7), OP(READ, 7, 8, 6)}},
    {"a lost create", LINEAR_NO, {OP(CREATE, 1, 2, 5), OP(READ, 3, 4, 0)}},
    {"a create applied twice",
     LINEAR_NO,
     {OP(CREATE, 1, 2, 5), OP(KILL, 3, 4, 0), OP(READ, 5, 6, 5)}},
    {"an update applied twice",
     LINEAR_NO,
     {OP(CREATE, 1, 2, 5), UNKNOWN(UPDATE, 3, 6), OP(READ, 5, 6, 6), OP(UPDATE, 7, 8, 7),
      OP(READ, 9, 10, 7), OP(READ, 11, 12, 6)}},
    {"unknown, and it took effect",
     LINEAR_YES,
     {OP(CREATE, 1, 2, 5), UNKNOWN(UPDATE, 3, 6), OP(READ, 5, 6, 6)}},
    {"unknown, and it never did",
     LINEAR_YES,
     {OP(CREATE, 1, 2, 5), UNKNOWN(UPDATE, 3, 6), OP(READ, 5, 6, 5)}},
    {"unknown, and it did very late",
     LINEAR_YES,
     {OP(CREATE, 1, 2, 5), UNKNOWN(KILL, 3, 0), OP(READ, 5, 6, 5), OP(READ, 7, 8, 0)}},
    {"unknown, but before it was asked for",
     LINEAR_NO,
     {OP(CREATE, 1, 2, 5), OP(READ, 3, 4, 6), UNKNOWN(UPDATE, 5, 6)}},
    {"an unknown kill explains one create",
     LINEAR_YES,
     {OP(CREATE, 1, 2, 5), UNKNOWN(KILL, 3, 0), OP(CREATE, 5, 6, 6), OP(READ, 7, 8, 6)}},
    {"but not two",
     LINEAR_NO,
     {OP(CREATE, 1, 2, 5), UNKNOWN(KILL, 3, 0), OP(CREATE, 5, 6, 6), OP(CREATE, 7, 8, 7)}},
    {"refused for a reason",
     LINEAR_YES,
     {REFUSED(KILL, 1, 2), REFUSED(UPDATE, 3, 4), OP(CREATE, 5, 6, 5), REFUSED(CREATE, 7, 8)}},
    {"refused without", LINEAR_NO, {OP(CREATE, 1, 2, 5), OP(KILL, 3, 4, 0), REFUSED(CREATE, 5, 6)}},
    {"an unknown create that nobody read refuses another",
     LINEAR_YES,
     {UNKNOWN(CREATE, 1, 5), REFUSED(CREATE, 3, 4), OP(KILL, 5, 6, 0), REFUSED(KILL, 7, 8)}},
    {"two create at once, both are told yes",
     LINEAR_NO,
     {OP(CREATE, 1, 5, 5), OP(CREATE, 2, 6, 6), OP(READ, 7, 8, 6)}},
    {"two create at once, one is told no",
     LINEAR_YES,
     {OP(CREATE, 1, 5, 5), REFUSED(CREATE, 2, 6), OP(READ, 7, 8, 5)}},
    {"an update of what was killed",
     LINEAR_NO,
     {OP(CREATE, 1, 2, 5), OP(KILL, 3, 4, 0), OP(UPDATE, 5, 6, 6)}},
    {"told in any order",
     LINEAR_YES,
     {OP(READ, 7, 8, 6), OP(UPDATE, 3, 4, 6), OP(CREATE, 1, 2, 5)}},
};

START_TEST(histories_are_judged)
{
    size_t count = 0;
    while (count < OPS_MAX && told[_i].ops[count].start != NOW)
        count++;
    struct linear_result result;
    linear_check(told[_i].ops, count, &result);
    ck_assert_msg(result.verdict == told[_i].verdict, "%s: verdict %d, placed %zu of %zu",
                  told[_i].what, result.verdict, result.placed, count);
}
END_TEST

START_TEST(what_cannot_be_is_shown)
{
    static const struct linear_op ops[] = {OP(CREATE, 1, 2, 5), OP(UPDATE, 3, 4, 6),
                                           OP(READ, 5, 6, 5)};
    CLEANUP(buf_release) struct buf text = {0};
    struct linear_result result;
    ck_assert_int_eq(linear_check(ops, ARRAY_SIZE(ops), &result), LINEAR_NO);
    ck_assert_uint_eq(result.stuck, 2);
    ck_assert_uint_eq(result.placed, 2);
    linear_print(&text, ops, ARRAY_SIZE(ops), &result);
    ck_assert_str_eq(buf_text(&text),
                     "  client 0          1 to        2  create 5          done\n"
                     "  client 0          3 to        4  update 6          done\n"
                     "> client 0          5 to        6  read   5          done\n");
}
END_TEST

/* One after another what may come next, in every order. */
static bool obvious(const struct linear_op *ops, size_t count, unsigned placed, uint64_t state)
{
    bool all = true;
    for (size_t i = 0; i < count; i++) {
        const struct linear_op *op = &ops[i];
        if ((placed >> i & 1) != 0)
            continue;
        all = all && op->outcome == LINEAR_UNKNOWN;
        bool may_be_next = true, exists = state != 0;
        for (size_t k = 0; k < count; k++)
            if ((placed >> k & 1) == 0 && ops[k].outcome != LINEAR_UNKNOWN &&
                ops[k].end < op->start)
                may_be_next = false;
        bool works = op->kind == LINEAR_CREATE ? !exists : exists;
        uint64_t next = works ? op->kind == LINEAR_KILL ? 0 : op->value : state;
        bool fits = op->outcome == LINEAR_UNKNOWN || works == (op->outcome == LINEAR_DONE);
        if (op->kind == LINEAR_READ) {
            fits = op->value == state;
            next = state;
        }
        if (may_be_next && fits && obvious(ops, count, placed | 1U << i, next))
            return true;
    }
    return all;
}

START_TEST(random_histories_are_judged_as_the_obvious_way_does)
{
    uint64_t seed = (uint64_t)_i * 7919 + 1;
    unsigned linearizable = 0;
    for (int round = 0; round < 3000; round++) {
        struct linear_op ops[RANDOM_OPS];
        for (size_t i = 0; i < RANDOM_OPS; i++) {
            uint64_t start = 1 + draw_below(&seed, 10);
            enum linear_kind kind = draw_below(&seed, LINEAR_KIND_COUNT);
            ops[i] = (struct linear_op){.start = start,
                                        .end = start + draw_below(&seed, 8),
                                        .kind = kind,
                                        .value = draw_below(&seed, 3) + (kind != LINEAR_READ),
                                        .client = (uint32_t)i};
            if (kind != LINEAR_READ && draw_below(&seed, 3) == 0)
                ops[i].outcome = 1 + draw_below(&seed, 2);
        }
        bool expected = obvious(ops, RANDOM_OPS, 0, 0);
        enum linear_verdict verdict = linear_check(ops, RANDOM_OPS, NULL);
        linearizable += expected;
        ck_assert_msg(verdict == (expected ? LINEAR_YES : LINEAR_NO), "seed %d round %d", _i,
                      round);
    }
    ck_assert_uint_gt(linearizable, 100);
    ck_assert_uint_lt(linearizable, 2900);
}
END_TEST

/* Clients at work on a real register: each operation has its effect somewhere between its ends. */
static size_t register_run(uint64_t *seed, struct linear_op *ops, unsigned unknown_percent)
{
    uint64_t free_at[CLIENTS] = {0}, state = 0;
    for (size_t i = 0; i < LONG_OPS; i++) {
        uint64_t effect = (i + 1) * 10;
        uint32_t client = draw_below(seed, CLIENTS);
        while (free_at[client] >= effect)
            client = (client + 1) % CLIENTS;
        struct linear_op *op = &ops[i];
        *op = (struct linear_op){.start = MAX(free_at[client] + 1, effect - draw_below(seed, 9)),
                                 .end = effect + draw_below(seed, 30),
                                 .kind = draw_below(seed, LINEAR_KIND_COUNT),
                                 .value = i + 1,
                                 .client = client};
        free_at[client] = op->end;
        bool works = (op->kind == LINEAR_CREATE) == (state == 0);
        if (op->kind == LINEAR_READ)
            op->value = state;
        else if (works)
            state = op->kind == LINEAR_KILL ? 0 : op->value;
        else
            op->outcome = LINEAR_REFUSED;
        if (op->kind != LINEAR_READ && draw_below(seed, 100) < unknown_percent)
            op->outcome = LINEAR_UNKNOWN;
    }
    return LONG_OPS;
}

START_TEST(long_histories_of_a_register_are_linearizable)
{
    static struct linear_op ops[LONG_OPS];
    struct linear_result result;
    uint64_t seed = (uint64_t)_i + 1;
    size_t count = register_run(&seed, ops, (unsigned)_i % 4);
    linear_check(ops, count, &result);
    ck_assert_msg(result.verdict == LINEAR_YES, "placed %zu", result.placed);
    /* And no longer when a late read is of an early value. */
    for (size_t i = count; i-- > 0;) {
        if (ops[i].kind != LINEAR_READ || ops[i].value == 0)
            continue;
        ops[i].value = LONG_OPS + 1;
        break;
    }
    ck_assert_int_eq(linear_check(ops, count, &result), LINEAR_NO);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("linear");
    TCase *tcase = tcase_create("linear");
    tcase_add_loop_test(tcase, histories_are_judged, 0, (int)ARRAY_SIZE(told));
    tcase_add_test(tcase, what_cannot_be_is_shown);
    tcase_add_loop_test(tcase, random_histories_are_judged_as_the_obvious_way_does, 0, 5);
    tcase_add_loop_test(tcase, long_histories_of_a_register_are_linearizable, 0, 20);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
