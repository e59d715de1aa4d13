/*
 * test_borgmaster_shares.c - which replica gives borglets away, how many, and to which.
 */
#include "shares.h"

#include "hash.h"
#include "testlib.h"

enum { REPLICAS = 5, ROUNDS_MAX = 1000 };

/* Replicas 1, 2, ...; a negative number of links: a replica that accepts none, with that many. */
static const struct {
    int links[REPLICAS];
    uint64_t from;
    uint64_t to; /* 0: nothing moves */
    uint32_t count;
} rows[] = {
    {{2000, 2000, 2000, 2000, 2000}, 1, 0, 0},
    /* One is back: each of the others gives as many as one second allows. */
    {{2500, 2500, 2500, 2500, 0}, 1, 5, SHARES_MOVE_MAX},
    {{2500, 2500, 2500, 2500, 0}, 5, 0, 0},
    /* Down to the equal share and no further, and at most what the other lacks. */
    {{2210, 1900, 2000, 2000, 1890}, 1, 5, SHARES_MOVE_MAX},
    {{2300, 2000, 2000, 2000, 1700}, 1, 5, SHARES_MOVE_MAX},
    {{240, 190, 190, 190, 190}, 1, 2, 10},
    {{250, 150, 200, 200, 200}, 1, 2, 50},
    {{260, 195, 170, 195, 180}, 1, 3, 30},
    /* Within the slack. */
    {{2201, 1950, 1950, 1950, 1949}, 1, 0, 0},
    {{2202, 1950, 1950, 1950, 1948}, 1, 5, 52},
    {{3, 0, 0, 0, 0}, 1, 2, 1},
    {{4, 0, 0, 0, 0}, 1, 2, 1},
    {{2, 0, 1, 0, 0}, 1, 0, 0},
    /* A replica that accepts none gets none, and its links are not counted. */
    {{2500, 2500, 2500, 2500, -1}, 1, 0, 0},
    {{3000, 3000, 3000, -1, 1000}, 1, 5, SHARES_MOVE_MAX},
    {{-500, 100, 100, 100, 100}, 1, 0, 0},
    {{500, -1, -1, -1, -1}, 1, 0, 0},
    {{500, 0, 0, 0, 0}, 9, 0, 0},
};

static void shares_of(const int links[REPLICAS], struct share ret[REPLICAS])
{
    for (int i = 0; i < REPLICAS; i++)
        ret[i] = (struct share){(uint64_t)i + 1, (uint32_t)abs(links[i]), links[i] >= 0};
}

START_TEST(moves_are_as_its_row_says)
{
    struct share shares[REPLICAS];
    shares_of(rows[_i].links, shares);
    struct share_move move = shares_move(shares, REPLICAS, rows[_i].from);
    ck_assert_uint_eq(move.to, rows[_i].to);
    ck_assert_uint_eq(move.count, rows[_i].count);
}
END_TEST

START_TEST(no_replica_gives_more_than_it_has)
{
    ck_assert_uint_eq(shares_move(NULL, 0, 1).count, 0);
}
END_TEST

static uint32_t below(uint64_t *seed, uint32_t bound)
{
    *seed = hash_add(*seed, 1);
    return (uint32_t)(*seed % bound);
}

/* From any start, all moves end with even shares, and no replica gets too many. */
START_TEST(moves_converge_to_even_shares)
{
    uint64_t seed = (uint64_t)_i + 1;
    struct share shares[REPLICAS];
    uint64_t sum = 0, takers = 0;
    for (int i = 0; i < REPLICAS; i++) {
        shares[i] = (struct share){(uint64_t)i + 1, below(&seed, 5000), below(&seed, 4) > 0};
        sum += shares[i].takes ? shares[i].links : 0;
        takers += shares[i].takes;
    }
    uint64_t equal = takers == 0 ? 0 : (sum + takers - 1) / takers;
    int round = 0;
    for (bool moved = true; moved; round++) {
        moved = false;
        ck_assert_int_lt(round, ROUNDS_MAX);
        for (int i = 0; i < REPLICAS; i++) {
            struct share_move move = shares_move(shares, REPLICAS, shares[i].id);
            moved |= move.count > 0;
            shares[i].links -= move.count;
            if (move.count > 0)
                shares[move.to - 1].links += move.count;
            if (move.count > 0)
                ck_assert_uint_le(shares[move.to - 1].links, equal);
        }
    }
    for (int i = 0; i < REPLICAS; i++)
        if (shares[i].takes)
            ck_assert_uint_le(shares[i].links,
                              equal + equal * SHARES_SLACK_PERCENT / 100 + SHARES_SLACK);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("shares");
    TCase *tc = tcase_create("shares");
    tcase_add_loop_test(tc, moves_are_as_its_row_says, 0, ARRAY_SIZE(rows));
    tcase_add_test(tc, no_replica_gives_more_than_it_has);
    tcase_add_loop_test(tc, moves_converge_to_even_shares, 0, 200);
    suite_add_tcase(suite, tc);
    return t_main(suite);
}
