/*
 * test_borgmaster_applier.c - applying many committed entries: in order, with bounded work per
 * turn.
 */
#include "applier.h"
#include "cell_fixture.h"
#include "clock.h"

enum { ENTRIES = 5000, PIECES = 7 };

struct scene {
    uv_loop_t loop;
    struct applier applier;
    uint64_t applied; /* the last index */
    uint64_t each_us; /* duration of one entry */
    uint64_t large;   /* the entry that takes PIECES pieces; 0: none */
    int pieces;       /* applied pieces of it */
    uint64_t told;    /* index of the last wait that was notified */
    uint32_t told_count;
};

struct wait {
    struct applier_wait wait;
    struct scene *scene;
    uint64_t index;
};

static bool on_apply(void *data, uint64_t index, uint64_t term, const void *bytes, size_t size)
{
    struct scene *s = data;
    char expected[32];
    snprintf(expected, sizeof expected, "entry %" PRIu64, index);
    ck_assert_uint_eq(index, s->applied + 1);
    ck_assert_uint_eq(term, index / 100);
    ck_assert_uint_eq(size, strlen(expected));
    ck_assert_int_eq(memcmp(bytes, expected, size), 0);
    if (index == s->large && ++s->pieces < PIECES)
        return false;
    s->applied = index;
    for (uint64_t until = clock_mono_us() + s->each_us; clock_mono_us() < until;)
        ;
    return true;
}

static void on_told(struct applier_wait *wait)
{
    struct wait *w = CONTAINER_OF(wait, struct wait, wait);
    ck_assert_uint_ge(w->scene->applied, w->index);
    ck_assert_uint_ge(w->index, w->scene->told);
    w->scene->told = w->index;
    w->scene->told_count++;
}

static void scene_begin(struct scene *s, uint64_t each_us)
{
    memset(s, 0, sizeof *s);
    uv_loop_init(&s->loop);
    applier_init(&s->applier, &s->loop, on_apply, s);
    s->each_us = each_us;
}

static void hand_over(struct scene *s, uint64_t from, uint64_t to)
{
    for (uint64_t index = from; index <= to; index++) {
        char text[32];
        snprintf(text, sizeof text, "entry %" PRIu64, index);
        applier_put(&s->applier, index, index / 100, text, strlen(text));
        memset(text, 'x', sizeof text); /* entries must have been copied before */
    }
}

static void scene_end(struct scene *s)
{
    uv_close((uv_handle_t *)&s->applier.idle, NULL);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&s->loop), 0);
}

START_TEST(a_turn_applies_a_bounded_number_and_all_come_in_order)
{
    struct scene s;
    struct wait waits[3] = {{.scene = &s, .index = 100}, {.scene = &s, .index = ENTRIES}};
    scene_begin(&s, 0);
    hand_over(&s, 1, 100);
    ck_assert_uint_eq(s.applied, 100); /* a few are applied at once */
    applier_after(&s.applier, &waits[0].wait, on_told);
    ck_assert_uint_eq(s.told, 100);
    hand_over(&s, 101, ENTRIES);
    ck_assert_uint_le(s.applied, APPLIER_TURN_ENTRIES);
    ck_assert(!applier_is_empty(&s.applier));
    applier_after(&s.applier, &waits[1].wait, on_told);
    applier_turn_end(&s.applier);
    int turns = 0;
    for (uint64_t before = s.applied; s.applied < ENTRIES; before = s.applied, turns++) {
        ck_assert_uint_eq(s.told_count, 1);
        uv_run(&s.loop, UV_RUN_NOWAIT);
        ck_assert_uint_gt(s.applied, before);
        ck_assert_uint_le(s.applied - before, APPLIER_TURN_ENTRIES);
        applier_turn_end(&s.applier);
    }
    ck_assert_int_ge(turns, (ENTRIES - APPLIER_TURN_ENTRIES) / APPLIER_TURN_ENTRIES);
    ck_assert_uint_eq(s.told, ENTRIES);
    ck_assert(applier_is_empty(&s.applier));
    hand_over(&s, ENTRIES + 1, ENTRIES + 1); /* at once again */
    ck_assert_uint_eq(s.applied, ENTRIES + 1);
    scene_end(&s);
}
END_TEST

/* With 3 ms per entry, a turn starts as many as fit into its time. */
START_TEST(a_turn_applies_what_fits_into_its_time)
{
    struct scene s;
    scene_begin(&s, 3000);
    hand_over(&s, 1, 40);
    ck_assert_uint_ge(s.applied, 1);
    ck_assert_uint_le(s.applied, APPLIER_TURN_US / 3000 + 1);
    applier_turn_end(&s.applier);
    while (s.applied < 40) {
        uint64_t before = s.applied;
        uv_run(&s.loop, UV_RUN_NOWAIT);
        ck_assert_uint_ge(s.applied, before + 1); /* one is always applied, however long it takes */
        ck_assert_uint_le(s.applied, before + APPLIER_TURN_US / 3000 + 1);
        applier_turn_end(&s.applier);
    }
    scene_end(&s);
}
END_TEST

/* The large entry starts at once if it is the first in a turn, or from the queue behind others. */
START_TEST(an_entry_in_pieces_takes_a_turn_for_each_and_the_next_ones_wait)
{
    struct scene s;
    scene_begin(&s, 0);
    s.large = _i == 0 ? 1 : 600;
    struct wait wait = {.scene = &s, .index = s.large};
    hand_over(&s, 1, s.large);
    ck_assert(!applier_is_empty(&s.applier));
    applier_after(&s.applier, &wait.wait, on_told);
    hand_over(&s, s.large + 1, s.large + 50);
    int turns = s.pieces;
    applier_turn_end(&s.applier);
    for (; s.pieces < PIECES; applier_turn_end(&s.applier)) {
        ck_assert_uint_lt(s.applied, s.large);
        ck_assert(!applier_is_empty(&s.applier));
        ck_assert_uint_eq(s.told_count, 0);
        uv_run(&s.loop, UV_RUN_NOWAIT);
        ck_assert_int_eq(s.pieces, ++turns);
    }
    ck_assert_uint_eq(s.told, s.large);
    ck_assert_uint_eq(s.applied,
                      s.large + 50); /* small entries fit into the turn of the last piece */
    ck_assert(applier_is_empty(&s.applier));
    scene_end(&s);
}
END_TEST

START_TEST(a_partly_applied_entry_can_be_completed_or_dropped)
{
    struct scene s;
    scene_begin(&s, 0);
    s.large = 1;
    struct wait wait = {.scene = &s, .index = _i == 0 ? 1 : 0};
    hand_over(&s, 1, 3);
    ck_assert_int_eq(s.pieces, 1);
    applier_after(&s.applier, &wait.wait, on_told);
    if (_i == 0)
        applier_drain(&s.applier);
    else
        applier_clear(&s.applier); /* the cell comes from a snapshot now */
    ck_assert_int_eq(s.pieces, _i == 0 ? PIECES : 1);
    ck_assert_uint_eq(s.applied, _i == 0 ? 3 : 0);
    ck_assert(applier_is_empty(&s.applier));
    ck_assert_uint_eq(s.told_count, 1);
    s.applied = 3;
    applier_turn_end(&s.applier);
    hand_over(&s, 4, 4);
    ck_assert_uint_eq(s.applied, 4);
    scene_end(&s);
}
END_TEST

START_TEST(waiting_entries_can_be_applied_at_once_or_dropped)
{
    struct scene s;
    struct wait wait = {.scene = &s, .index = 2000};
    scene_begin(&s, 0);
    hand_over(&s, 1, 2000);
    applier_after(&s.applier, &wait.wait, on_told);
    applier_drain(&s.applier);
    ck_assert_uint_eq(s.applied, 2000);
    ck_assert_uint_eq(s.told, 2000);
    hand_over(&s, 2001, 4000);
    struct wait again = {.scene = &s, .index = 2000};
    applier_after(&s.applier, &again.wait, on_told);
    ck_assert_uint_eq(s.told_count, 1);
    applier_clear(&s.applier); /* the cell comes from a snapshot now, which contains them */
    ck_assert_uint_eq(s.told_count, 2);
    ck_assert(applier_is_empty(&s.applier));
    s.applied = 4000;
    applier_turn_end(&s.applier);
    hand_over(&s, 4001, 4001);
    ck_assert_uint_eq(s.applied, 4001);
    scene_end(&s);
}
END_TEST

START_TEST(the_queue_is_bounded)
{
    struct scene s;
    static char bytes[131072];
    scene_begin(&s, 0);
    applier_put(&s.applier, 1, 0, "entry 1", 7);
    s.applier.done = APPLIER_TURN_ENTRIES;
    /* Their text is not what on_apply() expects; none may start before the bound is reached. */
    for (uint64_t i = 2; i * sizeof bytes <= APPLIER_BYTES_MAX; i++)
        applier_put(&s.applier, i, 0, bytes, sizeof bytes);
    ck_assert_uint_eq(s.applied, 1);
    ck_assert_uint_le(s.applier.bytes, APPLIER_BYTES_MAX);
    applier_clear(&s.applier);
    ck_assert_uint_eq(s.applier.bytes, 0);
    scene_end(&s);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("borgmaster_applier");
    TCase *tcase = tcase_create("applier");
    tcase_add_test(tcase, a_turn_applies_a_bounded_number_and_all_come_in_order);
    tcase_add_test(tcase, a_turn_applies_what_fits_into_its_time);
    tcase_add_loop_test(tcase, an_entry_in_pieces_takes_a_turn_for_each_and_the_next_ones_wait, 0,
                        2);
    tcase_add_loop_test(tcase, a_partly_applied_entry_can_be_completed_or_dropped, 0, 2);
    tcase_add_test(tcase, waiting_entries_can_be_applied_at_once_or_dropped);
    tcase_add_test(tcase, the_queue_is_bounded);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
