/*
 * test_devices.c - gpus one by one: amounts, what fits, which are given.
 */
#include "cell_fixture.h"

static const struct {
    int64_t milli;
    bool capacity, need;
} amounts_of_gpus[] = {
    {-1, false, false},  {0, true, true},       {1, false, true},      {999, false, true},
    {1000, true, true},  {1001, false, false},  {1500, false, false},  {2000, true, true},
    {32000, true, true}, {32001, false, false}, {33000, false, false},
};

START_TEST(machines_have_whole_devices_and_tasks_shares_or_whole_ones)
{
    ck_assert_int_eq(devices_capacity_valid(amounts_of_gpus[_i].milli, NULL) == 0,
                     amounts_of_gpus[_i].capacity);
    ck_assert_int_eq(devices_need_valid(amounts_of_gpus[_i].milli, NULL) == 0,
                     amounts_of_gpus[_i].need);
}
END_TEST

START_TEST(a_mask_names_as_many_devices_as_the_amount_needs)
{
    ck_assert(devices_mask_valid(0, 0));
    ck_assert(!devices_mask_valid(1, 0));
    ck_assert(devices_mask_valid(4, 300));
    ck_assert(!devices_mask_valid(0, 300));
    ck_assert(!devices_mask_valid(6, 1000));
    ck_assert(devices_mask_valid(6, 2000));
    ck_assert(devices_mask_valid(UINT32_MAX, 32000));
}
END_TEST

/* What is taken of each of four devices; then the most one may ask for, and what is given. */
static const struct {
    int64_t taken[4];
    int64_t most;
    struct {
        int64_t milli;
        uint32_t mask;
    } gives[3];
} choices[] = {
    {{0, 0, 0, 0}, 4000, {{1, 1}, {1000, 1}, {4000, 15}}},
    {{500, 0, 700, 0}, 2000, {{300, 4}, {400, 1}, {2000, 10}}},
    {{500, 500, 700, 1000}, 500, {{500, 1}, {300, 4}, {301, 1}}},
    {{1000, 1000, 1000, 1000}, 0, {{0, 0}, {0, 0}, {0, 0}}},
    {{1, 1, 1, 0}, 1000, {{1000, 8}, {999, 1}, {0, 0}}},
};

START_TEST(shares_go_where_least_is_left_and_whole_ones_are_the_first)
{
    struct devices d;
    devices_init(&d, 4000);
    for (uint32_t i = 0; i < 4; i++)
        devices_take(&d, choices[_i].taken[i], 1U << i);
    ck_assert_int_eq(devices_most_milli(&d), choices[_i].most);
    for (int i = 0; i < 3; i++)
        ck_assert_uint_eq(devices_choose(&d, choices[_i].gives[i].milli),
                          choices[_i].gives[i].mask);
    for (uint32_t i = 0; i < 4; i++)
        devices_give(&d, choices[_i].taken[i], 1U << i);
    ck_assert_int_eq(devices_most_milli(&d), 4000);
}
END_TEST

/* An amount fits exactly when it is no more than the most: against trying each device. */
START_TEST(the_most_says_of_every_amount_whether_it_fits)
{
    uint64_t seed = 1 + (uint64_t)_i;
    struct devices d;
    devices_init(&d, 3000);
    for (uint32_t i = 0; i < 3; i++)
        devices_take(&d, draw_below(&seed, 2) * draw_below(&seed, 1001), 1U << i);
    for (int64_t need = 1; need <= 3000; need += need < 1000 ? 1 : 1000) {
        int64_t fits = 0;
        for (uint32_t i = 0; i < 3; i++)
            fits += d.free_milli[i] >= MIN(need, INT64_C(1000));
        bool right = need < 1000 ? fits > 0 : fits * 1000 >= need;
        ck_assert_int_eq(need <= devices_most_milli(&d), right);
    }
}
END_TEST

START_TEST(room_is_given_back_as_it_was_taken)
{
    struct resources capacity = amounts(4000, 8, 0, 0), share = amounts(1000, 1, 0, 0);
    struct room room;
    capacity.v[RES_GPU] = 2000;
    share.v[RES_GPU] = 300;
    room_init(&room, &capacity);
    ck_assert_int_eq(room.free.v[RES_GPU], 2000);
    ck_assert(room_holds(&room, &share, 2));
    ck_assert(!room_holds(&room, &share, 4)); /* there is no third */
    room_take(&room, &share, 2);
    ck_assert_int_eq(room.free.v[RES_GPU], 1000);
    ck_assert_int_eq(room.free.v[RES_CPU], 3000);
    room_take(&room, &share, 2);
    room_take(&room, &share, 2);
    ck_assert(!room_holds(&room, &share, 2));
    ck_assert(room_holds(&room, &share, 1));
    ck_assert(room_sound(&room));
    room_take(&room, &share, 2); /* more than there is, as on a machine that came back smaller */
    ck_assert(!room_sound(&room));
    for (int i = 0; i < 4; i++)
        room_give(&room, &share, 2);
    ck_assert_mem_eq(&room.free, &capacity, sizeof capacity);
}
END_TEST

START_TEST(an_alloc_has_its_own_devices_and_no_more_of_them_than_it_asked_for)
{
    struct resources limit = amounts(4000, 8, 0, 0), inside = amounts(1000, 1, 0, 0);
    struct room room;
    limit.v[RES_GPU] = 500;
    room_init_alloc(&room, &limit, 8);
    ck_assert_int_eq(room.free.v[RES_GPU], 500);
    inside.v[RES_GPU] = 400;
    ck_assert_uint_eq(devices_choose(&room.devices, 400), 8);
    room_take(&room, &inside, 8);
    ck_assert_int_eq(room.free.v[RES_GPU], 100);
    limit.v[RES_GPU] = 2000;
    room_init_alloc(&room, &limit, 5);
    ck_assert_int_eq(room.free.v[RES_GPU], 2000);
    ck_assert_uint_eq(devices_choose(&room.devices, 2000), 5);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("devices");
    TCase *tcase = tcase_create("devices");
    tcase_add_loop_test(tcase, machines_have_whole_devices_and_tasks_shares_or_whole_ones, 0,
                        ARRAY_SIZE(amounts_of_gpus));
    tcase_add_test(tcase, a_mask_names_as_many_devices_as_the_amount_needs);
    tcase_add_loop_test(tcase, shares_go_where_least_is_left_and_whole_ones_are_the_first, 0,
                        ARRAY_SIZE(choices));
    tcase_add_loop_test(tcase, the_most_says_of_every_amount_whether_it_fits, 0, 50);
    tcase_add_test(tcase, room_is_given_back_as_it_was_taken);
    tcase_add_test(tcase, an_alloc_has_its_own_devices_and_no_more_of_them_than_it_asked_for);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
