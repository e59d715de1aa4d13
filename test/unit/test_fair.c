/*
 * test_fair.c - the queue in which everybody gets a turn.
 */
#include "fair.h"

#include "testlib.h"

#include <stdio.h>
#include <stdlib.h>

static const struct fair_limits limits[] = {
    {.weight = 4, .owner_items_max = 100, .owner_bytes_max = 1000, .bytes_max = 1000},
    {.weight = 1, .owner_items_max = 3, .owner_bytes_max = 100, .bytes_max = 150},
};

struct thing {
    struct fair_item item;
    char name[8];
};

static bool put(struct fair *fair, size_t lane, uint64_t owner, size_t bytes, const char *name)
{
    struct thing *thing = xcalloc(1, sizeof *thing);
    snprintf(thing->name, sizeof thing->name, "%s", name);
    bool taken = fair_push(fair, lane, owner, &thing->item, bytes);
    if (!taken)
        free(thing);
    return taken;
}

/* All that waits, in the order in which it is served. */
static const char *drain(struct fair *fair, size_t max)
{
    static char text[512];
    size_t at = 0;
    text[0] = '\0';
    for (size_t i = 0; i < max && fair->count > 0; i++) {
        struct fair_item *peeked = fair_peek(fair);
        struct fair_item *item = fair_pop(fair);
        ck_assert_ptr_eq(peeked, item);
        struct thing *thing = CONTAINER_OF(item, struct thing, item);
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%s", i == 0 ? "" : " ", thing->name);
        free(thing);
    }
    return text;
}

START_TEST(owners_take_turns_and_keep_their_order)
{
    struct fair fair;
    fair_init(&fair, limits, ARRAY_SIZE(limits));
    ck_assert_ptr_null(fair_peek(&fair));
    ck_assert_ptr_null(fair_pop(&fair));
    for (int i = 1; i <= 3; i++)
        ck_assert(put(&fair, 0, 7, 10, (char[]){'a', (char)('0' + i), '\0'}));
    ck_assert(put(&fair, 0, 8, 10, "b1"));
    ck_assert(put(&fair, 0, 0, 10, "c1")); /* nobody's is somebody's too */
    ck_assert(put(&fair, 0, 8, 10, "b2"));
    ck_assert_str_eq(drain(&fair, 100), "a1 b1 c1 a2 b2 a3");
    ck_assert_uint_eq(fair.bytes, 0);
    fair_release(&fair);
}
END_TEST

START_TEST(lanes_share_by_weight)
{
    struct fair fair;
    int first = 0;
    fair_init(&fair, limits, ARRAY_SIZE(limits));
    for (int i = 0; i < 50; i++) {
        ck_assert(put(&fair, 0, 1, 10, "A"));
        if (i < 3)
            ck_assert(put(&fair, 1, 2, 10, "b"));
    }
    const char *text = drain(&fair, 15);
    for (const char *c = text; *c != '\0'; c++)
        first += *c == 'A';
    ck_assert_msg(first == 12, "%s", text); /* of 15, four to one */
    drain(&fair, 100);
    fair_release(&fair);
}
END_TEST

/* A lane that slept is served soon, and once: it has no credit for the time it was empty. */
START_TEST(a_lane_that_wakes_is_next_and_not_paid_for_its_sleep)
{
    struct fair fair;
    fair_init(&fair, limits, ARRAY_SIZE(limits));
    for (int i = 0; i < 60; i++)
        ck_assert(put(&fair, 0, 1, 10, "A"));
    drain(&fair, 40);
    for (int i = 0; i < 3; i++)
        ck_assert(put(&fair, 1, 2, 10, "b"));
    const char *text = drain(&fair, 7);
    ck_assert_msg(strcmp(text, "A b A A A A b") == 0 || strcmp(text, "b A A A A b A") == 0, "%s",
                  text);
    drain(&fair, 100);
    fair_release(&fair);
}
END_TEST

/* A flood of one owner is refused at his limit, and others still get in. */
START_TEST(limits_are_each_owners_and_each_lanes)
{
    struct fair fair;
    fair_init(&fair, limits, ARRAY_SIZE(limits));
    ck_assert(put(&fair, 1, 1, 10, "a"));
    ck_assert(put(&fair, 1, 1, 10, "a"));
    ck_assert(put(&fair, 1, 1, 10, "a"));
    ck_assert(!put(&fair, 1, 1, 10, "no")); /* items */
    ck_assert(put(&fair, 1, 2, 60, "b"));
    ck_assert(!put(&fair, 1, 2, 41, "no")); /* his bytes */
    ck_assert(put(&fair, 1, 2, 40, "b"));
    ck_assert(!put(&fair, 1, 3, 30, "no")); /* the lane's */
    ck_assert(put(&fair, 1, 3, 20, "c"));
    ck_assert(put(&fair, 0, 3, 900, "D")); /* another lane */
    drain(&fair, 2);
    ck_assert(put(&fair, 1, 1, 10, "a")); /* there is room again */
    drain(&fair, 100);
    ck_assert(put(&fair, 1, 1, 5000, "big")); /* alone, anything goes */
    ck_assert_str_eq(drain(&fair, 100), "big");
    fair_release(&fair);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("fair");
    TCase *tcase = tcase_create("fair");
    tcase_add_test(tcase, owners_take_turns_and_keep_their_order);
    tcase_add_test(tcase, lanes_share_by_weight);
    tcase_add_test(tcase, a_lane_that_wakes_is_next_and_not_paid_for_its_sleep);
    tcase_add_test(tcase, limits_are_each_owners_and_each_lanes);
    suite_add_tcase(suite, tcase);
    return t_main(suite);
}
