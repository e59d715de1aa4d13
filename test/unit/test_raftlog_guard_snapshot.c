/*
 * test_raftlog_guard_snapshot.c - snapshots of a leader that come twice, late or out of order while
 * one is loaded elsewhere: each is loaded at most once, one at a time, and nothing goes back.
 */
#include "raft_world.h"
#include "testlib.h"

enum { PUT_MS = 200 };

/* Who loads for follower 4; a test says when that is done. */
struct loader {
    struct raftlog_guard *guard;
    unsigned begun, dropped;
};

static void on_prepare(void *data, const struct raft_buffer *image)
{
    struct loader *l = data;
    ck_assert_ptr_nonnull(image->base);
    ck_assert_ptr_null(l->guard->raft->snapshot.put.data); /* one at a time */
    l->begun++;
}

static void on_unprepare(void *data)
{
    struct loader *l = data;
    l->dropped++;
}

static struct world *world_with_loader(struct loader *l)
{
    struct world *w = world_of_follower_4(NO_RULE_OFF, PUT_MS);
    *l = (struct loader){.guard = &w->guards[4]};
    l->guard->owner.data = l;
    l->guard->owner.prepare = on_prepare;
    l->guard->owner.unprepare = on_unprepare;
    return w;
}

/* All that is being loaded is, and put in place. */
static void load_all(struct world *w, struct loader *l)
{
    while (l->guard->snapshot != NULL || l->guard->snapshot_next != NULL) {
        if (l->guard->preparing)
            raftlog_guard_prepared(l->guard, true);
        run(w, 2 * PUT_MS);
    }
}

enum { LOADING, PUTTING, DONE };

static const struct second {
    const char *what;
    unsigned when; /* what becomes of the first, up to base + 90, then */
    int index;     /* of the second, beyond base */
    int term;      /* beyond the first's */
    unsigned begun;
    raft_index installed; /* beyond base */
} seconds[] = {
    {"the same again, while the first is loaded", LOADING, 90, 0, 1, 90},
    {"an older one", LOADING, 80, 0, 1, 90},
    {"a newer one", LOADING, 100, 0, 2, 100},
    {"one that we have", LOADING, 0, 0, 1, 90},
    {"one of a former leader", LOADING, 100, -1, 1, 90},
    {"the same again, while the first is put in place", PUTTING, 90, 0, 1, 90},
    {"an older one, then", PUTTING, 80, 0, 1, 90},
    {"a newer one, then", PUTTING, 100, 0, 2, 100},
    {"the same again, after that", DONE, 90, 0, 1, 90},
    {"an older one, after that", DONE, 80, 0, 1, 90},
    {"a newer one, after that", DONE, 100, 0, 2, 100},
};

START_TEST(second_snapshot_takes_its_turn_or_is_not_loaded)
{
    const struct second *s = &seconds[_i];
    struct loader l;
    struct world *w = world_with_loader(&l);
    struct raft *r = raft_at(w, 4);
    raft_index base = raft_last_index(r);
    raft_term term = r->current_term;
    inject_snapshot(w, 4, 0, term, base + 90, term);
    ck_assert_uint_eq(l.begun, 1);
    if (s->when >= PUTTING)
        raftlog_guard_prepared(l.guard, true);
    if (s->when == PUTTING)
        ck_assert_ptr_nonnull(r->snapshot.put.data);
    if (s->when == DONE)
        load_all(w, &l), run(w, 2 * PUT_MS);
    inject_snapshot(w, 4, 0, term + (raft_term)s->term, base + (raft_index)s->index, term);
    load_all(w, &l);
    run(w, 2 * PUT_MS);
    ck_assert_msg(l.begun == s->begun, "%s: loaded %u times", s->what, l.begun);
    ck_assert_uint_eq(l.dropped, 0);
    ck_assert_msg(r->log.snapshot.last_index == base + s->installed, "%s: up to %llu", s->what,
                  r->log.snapshot.last_index - base);
    ck_assert_uint_eq(r->last_applied, base + s->installed);
    world_free(w);
}
END_TEST

/* The leader needs the answer, else it sends one more. */
START_TEST(snapshot_that_we_have_is_answered_and_not_loaded)
{
    struct loader l;
    struct world *w = world_with_loader(&l);
    struct raft *r = raft_at(w, 4);
    raft_index base = raft_last_index(r);
    unsigned answers = w->spies[4].answer_count;
    inject_snapshot(w, 4, 0, r->current_term, base, r->current_term);
    ck_assert_uint_eq(l.begun, 0);
    ck_assert_uint_eq(w->spies[4].answer_count, answers + 1);
    ck_assert_uint_eq(w->spies[4].answer.rejected, 0);
    ck_assert_uint_eq(raft_last_index(r), base);
    world_free(w);
}
END_TEST

/* A snapshot of entries that came while it was loaded takes the place of nothing. */
START_TEST(what_was_loaded_is_dropped_when_the_log_has_gone_on)
{
    struct loader l;
    struct world *w = world_with_loader(&l);
    struct raft *r = raft_at(w, 4);
    raft_index base = raft_last_index(r);
    raft_term term = r->current_term;
    inject_snapshot(w, 4, 0, term, base + 1, term);
    inject_entry(w, 4, 0, term, base, term);
    inject_entry(w, 4, 0, term, base + 1, term);
    run(w, 3 * PUT_MS);
    raftlog_guard_prepared(l.guard, true);
    run(w, 2 * PUT_MS);
    ck_assert_uint_eq(l.begun, 1);
    ck_assert_uint_eq(l.dropped, 1);
    ck_assert_uint_eq(raft_last_index(r), base + 2);
    ck_assert_uint_lt(r->log.snapshot.last_index, base + 1);
    world_free(w);
}
END_TEST

START_TEST(damaged_snapshot_is_dropped)
{
    struct loader l;
    struct world *w = world_with_loader(&l);
    struct raft *r = raft_at(w, 4);
    raft_index base = raft_last_index(r);
    inject_snapshot(w, 4, 0, r->current_term, base + 90, r->current_term);
    raftlog_guard_prepared(l.guard, false);
    run(w, 2 * PUT_MS);
    ck_assert_uint_eq(l.dropped, 1);
    ck_assert_uint_eq(raft_last_index(r), base);
    inject_snapshot(w, 4, 0, r->current_term, base + 90, r->current_term);
    load_all(w, &l);
    run(w, 2 * PUT_MS);
    ck_assert_uint_eq(r->log.snapshot.last_index, base + 90);
    world_free(w);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("raftlog_guard_snapshot");
    TCase *t = tcase_create("snapshots");
    tcase_add_loop_test(t, second_snapshot_takes_its_turn_or_is_not_loaded, 0,
                        sizeof seconds / sizeof seconds[0]);
    tcase_add_test(t, snapshot_that_we_have_is_answered_and_not_loaded);
    tcase_add_test(t, what_was_loaded_is_dropped_when_the_log_has_gone_on);
    tcase_add_test(t, damaged_snapshot_is_dropped);
    suite_add_tcase(suite, t);
    return t_main(suite);
}
