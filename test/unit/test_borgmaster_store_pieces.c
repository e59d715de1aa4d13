/*
 * test_borgmaster_store_pieces.c - the database contains all deltas of an entry or none.
 */
#include "store_fixture.h"

#include <sqlite3.h>

enum { TASKS = 200, PIECE_UNITS = 40, PIECES = 5 }; /* a kill of the job takes this many */

struct scene {
    struct world w;
    struct cmd cmd;
    struct apply apply;
    struct store *store;
    const char *dir;
    uint64_t before, after; /* digests */
    int pieces;             /* pieces that were put */
};

static void put(struct scene *s, uint64_t index, bool more)
{
    s->w.cell->applied_index = index;
    struct delta *delta = delta_collect(s->w.cell, &s->w.changes);
    delta->more = more;
    store_put(s->store, delta);
    delta_unref(delta);
    changes_clear(&s->w.changes);
}

/* Entry 1 is a job, entry 2 kills it. */
static void scene_begin(struct scene *s)
{
    struct cell *empty = cell_new();
    *s = (struct scene){.w = world_new(), .cmd.kind = CMD_JOB_KILL, .dir = t_dir()};
    s->store = open_store(s->dir, empty);
    cell_free(empty);
    struct job_spec spec = spec_named("web", "ada", 100);
    spec.replicas = TASKS;
    world_job(&s->w, spec);
    put(s, 1, false);
    wait_written(s->store, 1);
    s->before = cell_digest(s->w.cell);
    str_copy(s->cmd.job_kill.name, sizeof s->cmd.job_kill.name, "web");
    cell_apply_begin(&s->apply, s->w.cell, &s->cmd, &s->w.changes, &s->w.answer);
}

static void put_pieces(struct scene *s, int count)
{
    for (bool over = false; count > 0; count--) {
        ck_assert(!over);
        over = cell_apply_go_on(&s->apply, PIECE_UNITS);
        s->pieces++;
        ck_assert_int_eq(over, s->pieces == PIECES);
        put(s, over ? 2 : 1, !over);
    }
    s->after = cell_digest(s->w.cell);
}

static void scene_end(struct scene *s)
{
    store_close(s->store);
    cell_apply_drop(&s->apply);
    world_release(&s->w);
}

/* The database in this directory has the state after a whole entry. */
static void expect_entry(const char *dir, uint64_t index, uint64_t digest)
{
    struct cell *cell = cell_new();
    struct store *store = open_store(dir, cell);
    cell_check(cell);
    ck_assert_uint_eq(cell->applied_index, index);
    ck_assert_uint_eq(cell_digest(cell), digest);
    store_close(store);
    cell_free(cell);
}

/* The writer has received everything when it has started a transaction; it sends no message. */
static void wait_begun(const char *dir)
{
    sqlite3 *db;
    int rc = SQLITE_OK;
    ck_assert_int_eq(sqlite3_open(t_path(dir, "cell.db"), &db), SQLITE_OK);
    for (uint64_t end = clock_mono_ms() + T_DEADLINE_MS; rc != SQLITE_BUSY;) {
        ck_assert_uint_lt(clock_mono_ms(), end);
        rc = sqlite3_exec(db, "BEGIN IMMEDIATE; ROLLBACK", NULL, NULL, NULL);
    }
    sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    sqlite3_close(db);
}

static void copy_to(const char *from, const char *to)
{
    char command[512];
    snprintf(command, sizeof command, "cp %s/cell.db* %s/", from, to);
    ck_assert_int_eq(system(command), 0);
}

START_TEST(a_part_is_invisible_to_readers_copies_and_a_reopened_store)
{
    struct scene s;
    const char *copy = t_dir();
    scene_begin(&s);
    put_pieces(&s, _i);
    if (_i > 0)
        wait_begun(s.dir);
    ck_assert_uint_eq(store_index(s.store), 1);
    ck_assert_int_eq(query_number(s.store, "SELECT applied_index FROM meta"), 1);
    ck_assert_int_eq(query_number(s.store, "SELECT count(*) FROM tasks WHERE state = 'killed'"), 0);
    ck_assert_int_eq(query_number(s.store, "SELECT killed FROM jobs"), 0);
    copy_to(s.dir, copy);
    expect_entry(copy, 1, s.before);
    scene_end(&s);
    expect_entry(s.dir, 1, s.before);
}
END_TEST

START_TEST(all_parts_together_are_the_entry)
{
    struct scene s;
    scene_begin(&s);
    put_pieces(&s, 2);
    wait_begun(s.dir);
    put_pieces(&s, PIECES - 2);
    wait_written(s.store, 2);
    ck_assert_int_eq(query_number(s.store, "SELECT count(*) FROM tasks WHERE state = 'killed'"),
                     TASKS);
    ck_assert_uint_eq(store_backlog(s.store), 0);
    scene_end(&s);
    expect_entry(s.dir, 2, s.after);
}
END_TEST

struct image {
    void *token;
    void *bytes;
    size_t size;
};

static void run_write(void *arg)
{
    struct image *image = arg;
    ck_assert_int_eq(store_snapshot_write(image->token, &image->bytes, &image->size), 0);
}

/* An image that is requested in the middle is from the end. */
START_TEST(an_image_waits_for_the_last_part)
{
    struct scene s;
    struct image image = {0};
    uv_thread_t thread;
    scene_begin(&s);
    put_pieces(&s, 2);
    wait_begun(s.dir);
    image.token = store_snapshot_begin(s.store);
    ck_assert_int_eq(uv_thread_create(&thread, run_write, &image), 0);
    put_pieces(&s, PIECES - 2);
    uv_thread_join(&thread);
    store_snapshot_end(s.store, image.token);
    struct cell *cell = cell_new();
    T_OK(store_replace(s.store, image.bytes, image.size, cell, &t_err));
    ck_assert_uint_eq(cell->applied_index, 2);
    ck_assert_uint_eq(cell_digest(cell), s.after);
    free(image.bytes);
    cell_free(cell);
    scene_end(&s);
}
END_TEST

/* The leader's snapshot replaces a database with a partly written entry. */
START_TEST(a_snapshot_replaces_a_database_in_the_middle_of_an_entry)
{
    struct scene s, other;
    struct image image = {0};
    scene_begin(&s), scene_begin(&other);
    put_pieces(&other, PIECES);
    image.token = store_snapshot_begin(other.store);
    run_write(&image);
    store_snapshot_end(other.store, image.token);
    put_pieces(&s, 3);
    wait_begun(s.dir);
    struct cell *cell = cell_new();
    T_OK(store_replace(s.store, image.bytes, image.size, cell, &t_err));
    ck_assert_uint_eq(store_index(s.store), 2);
    ck_assert_uint_eq(store_backlog(s.store), 0);
    ck_assert_int_eq(query_number(s.store, "SELECT count(*) FROM tasks WHERE state = 'killed'"),
                     TASKS);
    free(image.bytes);
    cell_free(cell);
    scene_end(&s);
    expect_entry(s.dir, 2, other.after);
    scene_end(&other);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("borgmaster_store_pieces");
    TCase *tcase = tcase_create("pieces");
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, a_part_is_invisible_to_readers_copies_and_a_reopened_store, 0,
                        PIECES);
    tcase_add_test(tcase, all_parts_together_are_the_entry);
    tcase_add_test(tcase, an_image_waits_for_the_last_part);
    tcase_add_test(tcase, a_snapshot_replaces_a_database_in_the_middle_of_an_entry);
    suite_add_tcase(suite, tcase);
    return t_main(suite);
}
