/*
 * test_borgmaster_restore.c - a checkpoint becomes the start of a new cell, or is refused.
 */
#include "store_fixture.h"

#include "store_impl.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <unistd.h>

enum { COMMANDS = 120 };

/* A closed database of a driven cell: it is a checkpoint once the log beside it is empty. */
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

START_TEST(a_restored_cell_starts_beyond_all_earlier_indexes)
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
    ck_assert_uint_eq(cell->digest_sum, d.cell->digest_sum); /* every row is unchanged */
    /* A second later there was time for an index per microsecond and for 256 jobs. */
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
    /* The next start accepts it as its own. */
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

START_TEST(a_clock_that_went_back_does_not_reuse_indexes)
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
    {"DROP TABLE quotas", "its schema is not that of a cell", ERR_CORRUPT},
    {"DROP TABLE identities", "its schema is not that of a cell", ERR_CORRUPT},
    {"CREATE TRIGGER t AFTER INSERT ON events BEGIN DELETE FROM events; END",
     "it has trigger t where ", ERR_CORRUPT},
    {"DROP TABLE quotas; CREATE VIEW quotas AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT 1 "
     "FROM n) SELECT 'ada' AS user, 'batch' AS band, i AS cpu_milli FROM n",
     "its schema is not that of a cell", ERR_CORRUPT},
    {"DROP VIEW event_list; CREATE VIEW \"event_list\" AS SELECT 1", "it has view event_list where",
     ERR_CORRUPT},
    {"DROP VIEW event_list; CREATE TABLE event_list (x TEXT PRIMARY KEY) WITHOUT ROWID",
     "it has table event_list where \"nothing\" belongs", ERR_CORRUPT},
    {"CREATE TABLE extra (x)", "it has table extra where ", ERR_CORRUPT},
    {"CREATE TABLE extra (x INTEGER NOT NULL DEFAULT (abs(1)))", "it has table extra where ",
     ERR_CORRUPT},
    {"CREATE TABLE extra (x INTEGER, CHECK (x > 1))", "it has table extra where ", ERR_CORRUPT},
    {"CREATE TABLE extra (x TEXT UNIQUE)", "", ERR_CORRUPT},
    {"CREATE TABLE extra (x TEXT PRIMARY KEY)", "sqlite_autoindex_extra_1", ERR_CORRUPT},
    {"CREATE TABLE extra AS SELECT 1 AS x", "it has table extra where ", ERR_CORRUPT},
    {"CREATE VIRTUAL TABLE extra USING fts5(x)", "its schema is not that", ERR_CORRUPT},
    {"CREATE VIRTUAL TABLE extra USING rtree(x, a, b)", "its schema is not that", ERR_CORRUPT},
    {"CREATE INDEX extra ON jobs (abs(id))", "it has index extra where ", ERR_CORRUPT},
    {"CREATE INDEX extra ON jobs (user) WHERE id > 1", "it has index extra where ", ERR_CORRUPT},
    {"CREATE UNIQUE INDEX extra ON jobs (id)", "it has index extra where ", ERR_CORRUPT},
    {"CREATE INDEX extra ON jobs (user DESC)", "it has index extra where ", ERR_CORRUPT},
    {"CREATE INDEX extra ON jobs (user COLLATE NOCASE)", "it has index extra where ", ERR_CORRUPT},
    {"ALTER TABLE tasks ADD COLUMN more INTEGER CHECK (more > 1)", "it has table tasks where ",
     ERR_CORRUPT},
    {"ALTER TABLE tasks ADD COLUMN more INTEGER REFERENCES jobs (id)", "it has table tasks where ",
     ERR_CORRUPT},
    {"ALTER TABLE tasks ADD COLUMN more TEXT COLLATE NOCASE", "it has table tasks where ",
     ERR_CORRUPT},
    {"ALTER TABLE tasks ADD COLUMN more REAL", "it has table tasks where ", ERR_CORRUPT},
    {"ALTER TABLE tasks DROP COLUMN cpu_since_ms", "it has table tasks where ", ERR_CORRUPT},
    {"ALTER TABLE tasks RENAME COLUMN misstarts TO missing", "it has table tasks where ",
     ERR_CORRUPT},
    {"PRAGMA writable_schema = ON; UPDATE sqlite_schema SET type = 'view', sql = 'CREATE TRIGGER "
     "event_list AFTER INSERT ON events BEGIN DELETE FROM events; END' WHERE name = 'event_list'",
     "", ERR_CORRUPT},
    {"PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = sql || '; SELECT 1' WHERE name = "
     "'event_list'",
     "it has view event_list where ", ERR_CORRUPT},
    {"UPDATE meta SET format = 99", "knows formats up to ", ERR_STATE},
    {"ALTER TABLE tasks ADD COLUMN more INTEGER GENERATED ALWAYS AS (pid * 2) VIRTUAL",
     "it has table tasks where \"table tasks\" belongs", ERR_CORRUPT},
    {"PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, 'NOT NULL, -- "
     "on its machine', 'NOT NULL DEFAULT (7), --') WHERE name = 'tasks'",
     "it has table tasks where", ERR_CORRUPT},
    {"DELETE FROM machine_attributes; PRAGMA writable_schema = ON; UPDATE sqlite_schema SET "
     "rootpage "
     "= (SELECT rootpage FROM sqlite_schema WHERE name = 'tasks') WHERE name = 'jobs_by_name'",
     "", ERR_CORRUPT},
    {"UPDATE events SET detail = hex(zeroblob(50000000)) WHERE seq = 3", "a value has more than ",
     ERR_CORRUPT},
    {"UPDATE events SET detail = zeroblob(100) WHERE seq = 3", "a row of events has a value of",
     ERR_CORRUPT},
    {"UPDATE events SET detail = printf('%.*c', 100000, 'x') WHERE seq = 3",
     "table events, row 3, column detail: the text is too long", ERR_CORRUPT},
    {"UPDATE events SET kind = 'nonsense' WHERE seq = 3",
     "table events, row 3, column kind: it is no kind of event", ERR_CORRUPT},
    {"UPDATE events SET job_name = char(27) || '[31m' WHERE seq = 3",
     "event 3: a name in it is none", ERR_CORRUPT},
    {"UPDATE events SET machine = char(27) || '[31m' WHERE seq = 3",
     "event 3: a name in it is none", ERR_CORRUPT},
    {"UPDATE events SET seq = 1000000 WHERE seq = 3", "event 1000000: the last one is",
     ERR_CORRUPT},
    {"UPDATE jobs SET state = CAST(x'6100' AS TEXT)", "a row of jobs has a value of another type",
     ERR_CORRUPT},
    {"UPDATE jobs SET pending = 'many'", "a row of jobs has a value of another type", ERR_CORRUPT},
    {"UPDATE tasks SET pid = 1.5", "a row of tasks has a value of another type", ERR_CORRUPT},
    {"PRAGMA user_version = 1", ": start an older", ERR_STATE},
    {"PRAGMA user_version = 99", "version 99, this borgmaster knows ", ERR_STATE},
    {"PRAGMA user_version = 99", ": start a newer", ERR_STATE},
    {"PRAGMA application_id = 7", "not one of a cell", ERR_CORRUPT},
};

START_TEST(an_unsound_checkpoint_is_refused)
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

static void *bytes_of(const char *path, size_t *ret_size)
{
    FILE *file = fopen(path, "re");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fseek(file, 0, SEEK_END), 0);
    *ret_size = (size_t)ftell(file);
    rewind(file);
    void *bytes = xcalloc(*ret_size, 1);
    ck_assert_uint_eq(fread(bytes, 1, *ret_size, file), *ret_size);
    fclose(file);
    return bytes;
}

/* A snapshot of another master is checked in the same way. */
START_TEST(a_snapshot_of_another_schema_is_refused)
{
    static const char trigger[] =
        "CREATE TRIGGER t AFTER INSERT ON events BEGIN DELETE FROM events; "
        "END";
    struct driver d = driver_new(3);
    const char *dir = checkpoint_of(&d), *there = t_dir();
    struct cell *cell = cell_new(), *empty = cell_new();
    sqlite3 *db;
    size_t size;
    ck_assert_int_eq(sqlite3_open(t_path(dir, "cell.db"), &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(db, trigger, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    uint8_t *bytes = bytes_of(t_path(dir, "cell.db"), &size);
    bytes[18] = bytes[19] = 1; /* as in an image: no log beside it */
    store_vfs_seal(bytes, size);
    struct store *store = open_store(there, empty);
    T_REFUSED(store_replace(store, bytes, size, cell, &t_err), ERR_CORRUPT);
    T_CONTAINS(t_err.msg, "its schema is not that of a cell");
    store_close(store);
    free(bytes);
    cell_free(cell);
    cell_free(empty);
    driver_release(&d);
}
END_TEST

/* Redundant data beside the cell's own rows, for display, is rewritten. */
START_TEST(redundant_rows_of_a_checkpoint_are_rewritten)
{
    struct driver d = driver_new(3);
    const char *dir = checkpoint_of(&d), *there = t_dir();
    struct store_restored image;
    struct cell *empty = cell_new(), *cell = cell_new();
    sqlite3 *db;
    ck_assert_int_eq(sqlite3_open(t_path(dir, "cell.db"), &db), SQLITE_OK);
    ck_assert_int_eq(
        sqlite3_exec(db,
                     "UPDATE jobs SET user = 'mallory', running = 77, state = 'killed';"
                     "UPDATE machines SET reserved_cpu_milli = 0, task_count = 7;"
                     "UPDATE job_specs_private_rows SET command = 'harmless', spec_json = '{}'",
                     NULL, NULL, NULL),
        SQLITE_OK);
    sqlite3_close(db);
    T_OK(store_restore(t_path(dir, "cell.db"), t_path(dir, "tmp"), 1, 2000000000, &image, &t_err));
    struct store *store = open_store(there, empty);
    T_OK(store_replace(store, image.bytes, image.size, cell, &t_err));
    ck_assert_int_gt(query_number(store, "SELECT count(*) FROM jobs"), 0);
    ck_assert_int_eq(query_number(store, "SELECT count(*) FROM jobs WHERE user = 'mallory' OR "
                                         "running = 77"),
                     0);
    ck_assert_int_eq(query_number(store, "SELECT count(*) FROM machines WHERE task_count = 7"), 0);
    ck_assert_int_eq(query_number(store, "SELECT count(*) FROM job_specs WHERE command = "
                                         "'harmless'"),
                     0);
    ck_assert_int_gt(query_number(store, "SELECT count(*) FROM events"), 10);
    ck_assert_int_gt(query_number(store, "SELECT count(*) FROM requests"), 10);
    store_close(store);
    cell_free(empty);
    cell_free(cell);
    free(image.bytes);
    driver_release(&d);
}
END_TEST

/* Pages that were changed and resealed: a circular b-tree, an endless row, a wrong count. They are
 * refused, or the rows are unharmed; it never takes long. */
START_TEST(forged_pages_are_refused_in_time)
{
    enum { TRIES = 300 };
    struct driver d = driver_new(3);
    const char *dir = checkpoint_of(&d);
    size_t size, refused = 0;
    uint8_t *bytes = bytes_of(t_path(dir, "cell.db"), &size);
    uint64_t seed = (uint64_t)_i + 1;
    bytes[18] = bytes[19] = 1; /* as in an image: no log beside it */
    for (int i = 0; i < TRIES; i++) {
        struct err err = {0};
        struct cell *cell = cell_new();
        uint8_t *changed = xcalloc(size, 1);
        memcpy(changed, bytes, size);
        uint32_t page = draw_below(&seed, (uint32_t)(size / STORE_PAGE_BYTES));
        for (uint32_t k = 0; k <= draw_below(&seed, 3); k++) {
            uint32_t at = draw_below(&seed, draw_below(&seed, 2) == 0 ? 24 : 400);
            uint32_t value = draw_below(&seed, 2) == 0 ? draw_below(&seed, 256)
                                                       : bytes[page * STORE_PAGE_BYTES + 7];
            changed[page * STORE_PAGE_BYTES + at] = (uint8_t)value;
        }
        store_vfs_seal(changed, size);
        uint64_t began = clock_mono_ms();
        int rv = store_image_check(t_path(dir, "tmp"), changed, size,
                                   i % 2 == 0 ? STORE_BY_MASTER : STORE_BY_ANYBODY, cell, &err);
        ck_assert_uint_lt(clock_mono_ms() - began, 10000);
        if (rv == 0)
            cell_check(cell);
        refused += rv != 0;
        unlink(t_path(dir, "tmp"));
        free(changed);
        cell_free(cell);
    }
    ck_assert_uint_gt(refused, TRIES / 10);
    free(bytes);
    driver_release(&d);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("borgmaster_restore");
    TCase *t = tcase_create("restore");
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, a_restored_cell_starts_beyond_all_earlier_indexes, 0, 4);
    tcase_add_test(t, a_checkpoint_may_become_another_cell);
    tcase_add_test(t, a_clock_that_went_back_does_not_reuse_indexes);
    tcase_add_loop_test(t, an_unsound_checkpoint_is_refused, 0, ARRAY_SIZE(refusals));
    tcase_add_test(t, a_snapshot_of_another_schema_is_refused);
    tcase_add_test(t, redundant_rows_of_a_checkpoint_are_rewritten);
    tcase_add_loop_test(t, forged_pages_are_refused_in_time, 0, 2);
    suite_add_tcase(suite, t);
    return t_main(suite);
}
