/*
 * test_borgmaster_restore.c - a checkpoint becomes the beginning of a new cell, or is refused.
 */
#include "store_fixture.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <unistd.h>

enum { COMMANDS = 120 };

/* A closed database of a driven cell: what a checkpoint is, once nothing is in the log beside it.
 */
static const char *checkpoint_of(struct driver *d)
{
    const char *dir = t_dir();
    struct cell *empty = cell_new();
    struct store *store = open_store(dir, empty);
    for (int i = 0; i < COMMANDS; i++)
        driver_put(d, store);
    store_close(store);
    cell_free(empty);
    return dir;
}

static struct cell *cell_of(const char *dir, const struct store_restored *image)
{
    struct cell *empty = cell_new(), *cell = cell_new();
    struct store *store = open_store(dir, empty);
    T_OK(store_replace(store, image->bytes, image->size, cell, &t_err));
    ck_assert_int_eq(query_number(store,
                                  "SELECT count(*) FROM events WHERE kind = 'restored' AND seq = "
                                  "(SELECT event_seq FROM meta)"),
                     1);
    store_close(store);
    cell_free(empty);
    return cell;
}

START_TEST(a_new_life_begins_beyond_all_earlier_ones)
{
    uint64_t now_s = clock_wall_ms() / 1000;
    struct driver d = driver_new((uint64_t)_i + 1);
    const char *dir = checkpoint_of(&d);
    struct store_restored first, again, later;
    T_OK(store_restore(t_path(dir, "cell.db"), t_path(dir, "tmp"), 1, now_s, &first, &t_err));
    T_OK(store_restore(t_path(dir, "cell.db"), t_path(dir, "tmp"), 1, now_s, &again, &t_err));
    T_OK(store_restore(t_path(dir, "cell.db"), t_path(dir, "tmp"), 1, now_s + 1, &later, &t_err));
    ck_assert_int_eq(access(t_path(dir, "tmp"), F_OK), -1);
    ck_assert_int_eq(access(t_path(dir, "tmp-wal"), F_OK), -1);

    struct cell *cell = cell_of(t_dir(), &first), *same = cell_of(t_dir(), &again);
    cell_check(cell);
    ck_assert_uint_eq(cell_digest(cell), cell_digest(same)); /* on all replicas */
    ck_assert_uint_eq(cell->applied_index, first.index);
    ck_assert_uint_eq(cell->applied_term, first.term);
    ck_assert_uint_gt(first.index, d.cell->applied_index);
    ck_assert_uint_gt(first.term, d.cell->applied_term);
    ck_assert_uint_gt(cell->next_job, d.cell->next_job);
    ck_assert_uint_eq(cell->job_count, d.cell->job_count);
    ck_assert_uint_eq(cell->digest_sum, d.cell->digest_sum); /* every row is as it was */
    /* A second later there was time for an index each microsecond and for 256 jobs. */
    ck_assert_uint_eq(later.index, first.index + (1 << 20));
    ck_assert_uint_gt(later.term, first.term);
    cell_free(cell);
    cell_free(same);
    free(first.bytes);
    free(again.bytes);
    free(later.bytes);
    driver_release(&d);
}
END_TEST

START_TEST(a_checkpoint_may_become_another_cell)
{
    enum { IDENTITY = 4711 };
    struct driver d = driver_new(9);
    const char *dir = checkpoint_of(&d), *there = t_dir();
    struct store_restored image;
    struct store *store;
    struct cell *empty = cell_new(), *cell = cell_new();
    T_OK(store_restore(t_path(dir, "cell.db"), t_path(dir, "tmp"), IDENTITY, 2000000000, &image,
                       &t_err));
    T_OK(store_open(there, IDENTITY, empty, &store, &t_err));
    T_OK(store_replace(store, image.bytes, image.size, cell, &t_err));
    store_close(store);
    /* The next start takes it for its own. */
    cell_clear(cell);
    T_OK(store_open(there, IDENTITY, cell, &store, &t_err));
    ck_assert_uint_eq(cell->applied_index, image.index);
    store_close(store);
    cell_free(cell);
    cell_free(empty);
    free(image.bytes);
    driver_release(&d);
}
END_TEST

START_TEST(a_clock_that_went_back_does_not_lead_into_the_old_life)
{
    struct driver d = driver_new(5);
    const char *dir = checkpoint_of(&d);
    struct store_restored first, second;
    T_OK(store_restore(t_path(dir, "cell.db"), t_path(dir, "tmp"), 1, 2000000000, &first, &t_err));
    FILE *file = fopen(t_path(dir, "second.db"), "we");
    ck_assert_uint_eq(fwrite(first.bytes, 1, first.size, file), first.size);
    fclose(file);
    T_OK(store_restore(t_path(dir, "second.db"), t_path(dir, "tmp"), 1, 1000000000, &second,
                       &t_err));
    ck_assert_uint_gt(second.index, first.index);
    ck_assert_uint_gt(second.term, first.term);
    free(first.bytes);
    free(second.bytes);
    driver_release(&d);
}
END_TEST

static const struct {
    const char *sql, *text;
    enum err_code code;
} refusals[] = {
    {"UPDATE meta SET digest = '0123456789abcdef'", "its rows have the digest", ERR_CORRUPT},
    {"DELETE FROM meta", "", ERR_CORRUPT},
    {"UPDATE jobs SET killed = 1 - killed", "killed", ERR_CORRUPT},
    {"DROP TABLE quotas", "no such table", ERR_CORRUPT},
    {"PRAGMA user_version = 1", "version 1, this borgmaster knows 6: start an older", ERR_STATE},
    {"PRAGMA user_version = 7", "version 7, this borgmaster knows 6: start a newer", ERR_STATE},
    {"PRAGMA application_id = 7", "not one of a cell", ERR_CORRUPT},
};

START_TEST(what_is_no_sound_checkpoint_is_refused)
{
    struct driver d = driver_new(3);
    const char *dir = checkpoint_of(&d);
    struct store_restored image;
    sqlite3 *db;
    ck_assert_int_eq(sqlite3_open(t_path(dir, "cell.db"), &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(db, refusals[_i].sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    int rv =
        store_restore(t_path(dir, "cell.db"), t_path(dir, "tmp"), 1, 2000000000, &image, &t_err);
    ck_assert_int_eq(rv, -(int)refusals[_i].code);
    ck_assert_msg(strstr(t_err.msg, refusals[_i].text) != NULL, "%s", t_err.msg);
    ck_assert_msg(strstr(t_err.msg, "cell.db: ") != NULL, "%s", t_err.msg);
    ck_assert_ptr_null(image.bytes);
    ck_assert_int_eq(access(t_path(dir, "tmp"), F_OK), -1);
    driver_release(&d);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("borgmaster_restore");
    TCase *t = tcase_create("restore");
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, a_new_life_begins_beyond_all_earlier_ones, 0, 4);
    tcase_add_test(t, a_checkpoint_may_become_another_cell);
    tcase_add_test(t, a_clock_that_went_back_does_not_lead_into_the_old_life);
    tcase_add_loop_test(t, what_is_no_sound_checkpoint_is_refused, 0, ARRAY_SIZE(refusals));
    suite_add_tcase(suite, t);
    return t_main(suite);
}
