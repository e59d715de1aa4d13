/*
 * test_borgmaster_store_sql.c - rows from records and back, and databases of other formats.
 */
#include "random_row.h"
#include "store_fixture.h"

#include "store_impl.h"
#include "store_schema.h"
#include "store_tables.h"

enum { ROUNDS = 200 };

static sqlite3 *memory_db(unsigned format)
{
    struct buf schema CLEANUP(buf_release) = {0};
    sqlite3 *db;
    store_schema_text(&schema, format);
    ck_assert_int_eq(sqlite3_open(":memory:", &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(db, buf_text(&schema), NULL, NULL, NULL), SQLITE_OK);
    return db;
}

static void execute(sqlite3 *db, const char *sql)
{
    char *msg = NULL;
    ck_assert_msg(sqlite3_exec(db, sql, NULL, NULL, &msg) == SQLITE_OK, "%s: %s", sql, msg);
}

/* What has no column is not expected back. */
static void forget_what_has_no_column(const struct record *record, void *item)
{
    for (uint32_t i = 0; i < record->count; i++)
        if ((record->fields[i].flags & FIELD_NO_SQL) != 0 &&
            (record->fields[i].flags & FIELD_DERIVED) == 0) {
            if (record->fields[i].type == FIELD_WORDS)
                words_release((void *)((char *)item + record->fields[i].offset));
            field_set_initial(&record->fields[i], item);
        }
}

static void *random_row(uint64_t *seed, const struct sql_table *table)
{
    void *item = xcalloc(1, table->record->size);
    row_item(seed, table->record, item);
    forget_what_has_no_column(table->record, item);
    return item;
}

static void row_free(const struct sql_table *table, void *item)
{
    record_release(table->record, item);
    free(item);
}

/* The only row of the table. */
static int read_one(sqlite3 *db, const struct sql_table *table, void *item)
{
    struct sql_reader CLEANUP(sql_reader_close) reader = {0};
    T_OK(sql_reader_open(&reader, db, table, "", "", &t_err));
    int rv = sql_read(&reader, item, &t_err);
    ck_assert(rv < 0 || rv == 1);
    return rv == 1 ? 0 : rv;
}

START_TEST(random_rows_of_every_table_come_back)
{
    const struct sql_table *table = store_tables[_i];
    sqlite3 *db = memory_db(CELL_FORMAT);
    struct sql_writer writer;
    uint64_t seed = 77;
    char sql[64];
    snprintf(sql, sizeof sql, "DELETE FROM %s", table->name);
    T_OK(sql_writer_open(&writer, db, table, SQL_UPSERT, CELL_FORMAT, &t_err));
    for (int i = 0; i < ROUNDS; i++) {
        void *item = random_row(&seed, table), *back = xcalloc(1, table->record->size);
        struct buf a CLEANUP(buf_release) = {0}, b CLEANUP(buf_release) = {0};
        execute(db, sql);
        T_OK(sql_write(&writer, item, &t_err));
        T_OK(sql_write(&writer, item, &t_err)); /* once more: the row is there */
        T_OK(read_one(db, table, back));
        record_text(&a, table->record, item);
        record_text(&b, table->record, back);
        ck_assert_str_eq(buf_text(&a), buf_text(&b));
        ck_assert(record_equal(table->record, item, back));
        row_free(table, item);
        row_free(table, back);
    }
    sql_writer_close(&writer);
    sqlite3_close(db);
}
END_TEST

static const char *const wrong_lists[] = {
    "",          "[",        "[]x",           "{",      "nonsense",
    "null",      "7",        "[[]]",          "[null]", "[{\"a\":1,\"a\":2}]",
    "[1,",       "[1,]",     "[-1]",          "[1.5]",  "[99999999999999999999]",
    "{\"a\":1}", "\"text\"", "[\"\\u0000\"]",
};

/* Each column that is JSON, of each table: a text that is no such list, and a list that is too
 * long. */
START_TEST(damaged_json_is_refused_by_table_row_and_column)
{
    const struct sql_table *table = store_tables[_i];
    struct sql_columns columns = sql_columns_of(table, CELL_FORMAT);
    sqlite3 *db = memory_db(CELL_FORMAT);
    struct sql_writer writer;
    uint64_t seed = 5;
    T_OK(sql_writer_open(&writer, db, table, SQL_INSERT, CELL_FORMAT, &t_err));
    void *item = random_row(&seed, table), *back = xcalloc(1, table->record->size);
    T_OK(sql_write(&writer, item, &t_err));
    for (uint32_t c = 0; c < columns.count; c++) {
        const struct sql_column *column = &columns.items[c];
        if (column->field == NULL || !sql_is_json(column->field))
            continue;
        for (size_t i = 0; i <= ARRAY_SIZE(wrong_lists); i++) {
            char sql[256];
            snprintf(sql, sizeof sql, "UPDATE %s SET %s = %s%s%s", table->name, column->name,
                     i < ARRAY_SIZE(wrong_lists) ? "'"
                                                 : "(SELECT json_group_array(value) FROM "
                                                   "(WITH n(value) AS (SELECT 1 UNION ALL "
                                                   "SELECT 1 FROM n LIMIT 5000) SELECT * FROM n",
                     i < ARRAY_SIZE(wrong_lists) ? wrong_lists[i] : "))",
                     i < ARRAY_SIZE(wrong_lists) ? "'" : "");
            execute(db, sql);
            T_REFUSED(read_one(db, table, back), ERR_CORRUPT);
            T_CONTAINS(t_err.msg, table->name);
            T_CONTAINS(t_err.msg, column->name);
        }
        char sql[128];
        snprintf(sql, sizeof sql, "UPDATE %s SET %s = '%s'", table->name, column->name,
                 column->field->form == FORM_MAP ? "{}" : "[]");
        execute(db, sql);
        T_OK(read_one(db, table, back));
        record_release(table->record, back);
    }
    sql_writer_close(&writer);
    sql_columns_release(&columns);
    row_free(table, item);
    free(back);
    sqlite3_close(db);
}
END_TEST

static const struct {
    const struct sql_table *table;
    const char *sql, *text;
} wrong_values[] = {
    {&tasks_table, "UPDATE tasks SET machine_id = 0", "column machine_id: it is a number where"},
    {&tasks_table, "UPDATE tasks SET machine_id = 1 << 32", "column machine_id: the number is out"},
    {&tasks_table, "UPDATE tasks SET alloc_idx = NULL", "column alloc_idx: a job without an index"},
    {&tasks_table, "UPDATE tasks SET alloc_job_id = NULL", "column alloc_idx: an index without"},
    {&tasks_table, "UPDATE tasks SET shape = 0", "column shape: it is less than 1"},
    {&tasks_table, "UPDATE tasks SET by_eviction = 2", "column by_eviction: the number is out of"},
    {&tasks_table, "UPDATE tasks SET cause = 'luck'", "column cause: it is no cause"},
    {&tasks_table, "UPDATE tasks SET gpus = '[32]'", "column gpus: it is no ascending list"},
    {&tasks_table, "UPDATE tasks SET gpus = '[2,1]'", "column gpus: it is no ascending list"},
    {&tasks_table, "UPDATE tasks SET ports = '[80,0]'", "column ports: its list ends with an"},
    {&tasks_table, "UPDATE tasks SET ports = '[65536]'", "column ports: a number is out of range"},
    {&tasks_table, "UPDATE tasks SET pid = 'x'", "column pid: it is no number"},
    {&machines_table, "UPDATE machines SET name = printf('%.*c', 64, 'x')",
     "column name: the text is too long"},
    {&machines_table, "UPDATE machines SET name = x'61'", "column name: it is no text"},
    {&machines_table, "UPDATE machines SET left_behind = '[{\"task\":1}]'",
     "column left_behind: an entry has no \"attempt\""},
    {&machines_table,
     "UPDATE machines SET left_behind = '[{\"task\":1,\"attempt\":1,\"later\":1}]'",
     "column left_behind: an entry has a field that"},
    {&quotas_table, "UPDATE quotas SET tasks = -1", "column tasks: it is a number where NULL"},
};

START_TEST(a_value_that_is_never_written_is_refused)
{
    const struct sql_table *table = wrong_values[_i].table;
    sqlite3 *db = memory_db(CELL_FORMAT);
    struct sql_writer writer;
    uint64_t seed = 6;
    void *item = random_row(&seed, table), *back = xcalloc(1, table->record->size);
    T_OK(sql_writer_open(&writer, db, table, SQL_INSERT, CELL_FORMAT, &t_err));
    T_OK(sql_write(&writer, item, &t_err));
    execute(db, wrong_values[_i].sql);
    T_REFUSED(read_one(db, table, back), ERR_CORRUPT);
    T_CONTAINS(t_err.msg, wrong_values[_i].text);
    sql_writer_close(&writer);
    row_free(table, item);
    free(back);
    sqlite3_close(db);
}
END_TEST

/* ALTER TABLE cannot compute it for the rows that are there. */
START_TEST(no_later_format_adds_a_column_that_follows_from_others)
{
    for (uint32_t t = 0; t < store_table_count; t++) {
        struct sql_columns columns = sql_columns_of(store_tables[t], CELL_FORMAT);
        for (uint32_t i = 0; i < columns.count; i++)
            ck_assert_msg(columns.items[i].since <= CELL_FORMAT_MIN ||
                              (columns.items[i].flags & FIELD_DERIVED) == 0,
                          "%s.%s: rows written before have to be filled when the store opens",
                          store_tables[t]->name, columns.items[i].name);
        sql_columns_release(&columns);
    }
}
END_TEST

/* The rows of DIR/cell.db in a new one of another format. */
static const char *copied_to_format(const char *from, unsigned format)
{
    const char *dir = t_dir();
    char sql[512];
    sqlite3 *db;
    sqlite3_stmt *tables;
    struct buf schema CLEANUP(buf_release) = {0};
    struct buf names CLEANUP(buf_release) = {0};
    store_schema_text(&schema, format);
    ck_assert_int_eq(sqlite3_open(t_path(dir, "cell.db"), &db), SQLITE_OK);
    T_OK(store_vfs_prepare(db, &t_err));
    execute(db, buf_text(&schema));
    execute(db, "DELETE FROM meta");
    snprintf(sql, sizeof sql, "ATTACH '%s' AS old", t_path(from, "cell.db"));
    execute(db, sql);
    ck_assert_int_eq(
        sqlite3_prepare_v2(db,
                           "SELECT s.name, group_concat(i.name) FROM main.sqlite_schema s, "
                           "pragma_table_info(s.name, 'main') i WHERE s.type = 'table' GROUP BY "
                           "s.name",
                           -1, &tables, NULL),
        SQLITE_OK);
    while (sqlite3_step(tables) == SQLITE_ROW) {
        const char *table = (const char *)sqlite3_column_text(tables, 0);
        const char *columns = (const char *)sqlite3_column_text(tables, 1);
        buf_printf(&names, "INSERT INTO main.%s (%s) SELECT %s FROM old.%s;", table, columns,
                   columns, table);
    }
    sqlite3_finalize(tables);
    execute(db, buf_text(&names));
    sqlite3_close(db);
    return dir;
}

/* A database of `commands` random commands, and the cell that belongs to it. */
static const char *driven(struct driver *d, int commands)
{
    const char *dir = t_dir();
    struct cell *empty = cell_new();
    struct store *store = open_store(dir, empty);
    for (int i = 0; i < commands; i++)
        driver_put(d, store);
    store_close(store);
    cell_free(empty);
    return dir;
}

static void change(const char *dir, const char *sql)
{
    sqlite3 *db;
    ck_assert_int_eq(sqlite3_open(t_path(dir, "cell.db"), &db), SQLITE_OK);
    execute(db, sql);
    sqlite3_close(db);
}

static int64_t number_of(const char *dir, const char *sql)
{
    sqlite3 *db;
    int64_t number;
    ck_assert_int_eq(sqlite3_open(t_path(dir, "cell.db"), &db), SQLITE_OK);
    T_OK(store_number(db, sql, &number, &t_err));
    sqlite3_close(db);
    return number;
}

/* It opens, has the cell of the driver, and goes on. */
static void expect_goes_on(const char *dir, struct driver *d)
{
    struct cell *cell = cell_new(), *again = cell_new();
    struct store *store = open_store(dir, cell);
    expect_same(d->cell, cell);
    ck_assert_uint_eq(cell->applied_index, d->cell->applied_index);
    for (int i = 0; i < 50; i++)
        driver_put(d, store);
    store_close(store);
    store = open_store(dir, again);
    expect_same(d->cell, again);
    store_close(store);
    cell_free(cell);
    cell_free(again);
}

START_TEST(a_database_of_each_older_format_is_brought_up_to_date)
{
    struct driver d = driver_new(8);
    const char *dir = copied_to_format(driven(&d, 200), CELL_FORMAT_MIN);
    expect_goes_on(dir, &d);
    sqlite3 *db, *ours;
    ck_assert_int_eq(sqlite3_open(t_path(dir, "cell.db"), &db), SQLITE_OK);
    T_OK(store_schema_check(db, &ours, &t_err));
    /* Not only accepted: it is what a new one is. */
    struct sql_columns columns = sql_columns_of(&machines_table, CELL_FORMAT);
    for (uint32_t i = 0; i < columns.count; i++)
        ck_assert_int_eq(sqlite3_table_column_metadata(db, "main", "machines",
                                                       columns.items[i].name, NULL, NULL, NULL,
                                                       NULL, NULL),
                         SQLITE_OK);
    sql_columns_release(&columns);
    sqlite3_close(ours);
    sqlite3_close(db);
    driver_release(&d);
}
END_TEST

static const char later[] =
    "ALTER TABLE machines ADD COLUMN later INTEGER NOT NULL DEFAULT -7;"
    "ALTER TABLE tasks ADD COLUMN later TEXT NOT NULL DEFAULT 'it''s -- [] /*';"
    "ALTER TABLE jobs ADD COLUMN later TEXT;"
    "CREATE TABLE later (id INTEGER PRIMARY KEY, value TEXT NOT NULL DEFAULT '');"
    "CREATE TABLE later_pairs (a TEXT NOT NULL, b INTEGER, PRIMARY KEY (a)) WITHOUT ROWID;"
    "INSERT INTO later VALUES (1, 'kept');"
    "CREATE INDEX later_index ON tasks (later) WHERE later IS NOT NULL;"
    "DROP VIEW event_list; CREATE VIEW event_list AS SELECT seq FROM events;"
    "CREATE VIEW later_list AS SELECT * FROM later;";

START_TEST(a_database_of_a_later_format_is_used_and_its_own_is_kept)
{
    struct driver d = driver_new(9);
    const char *dir = driven(&d, 200);
    change(dir, later);
    expect_goes_on(dir, &d);
    ck_assert_int_eq(number_of(dir, "SELECT count(*) FROM later WHERE value = 'kept'"), 1);
    ck_assert_int_eq(number_of(dir, "SELECT count(*) FROM tasks WHERE later <> 'it''s -- [] /*'"),
                     0);
    /* Views and indexes are ours again. */
    ck_assert_int_eq(number_of(dir, "SELECT count(*) FROM sqlite_schema WHERE name IN "
                                    "('later_index', 'later_list')"),
                     0);
    ck_assert_int_gt(number_of(dir, "SELECT count(time) FROM event_list"), 0);
    driver_release(&d);
}
END_TEST

START_TEST(a_cell_that_agreed_on_a_later_format_is_refused_and_kept)
{
    struct driver d = driver_new(9);
    const char *dir = driven(&d, 20);
    struct cell *cell = cell_new();
    struct store *store = NULL;
    change(dir, "UPDATE meta SET format = 99");
    T_REFUSED(store_open(dir, 1, cell, &store, &t_err), ERR_STATE);
    T_CONTAINS(t_err.msg, "start a release that knows format 99");
    char back[64];
    snprintf(back, sizeof back, "UPDATE meta SET format = %" PRIu32, d.cell->settings.format);
    change(dir, back);
    expect_goes_on(dir, &d);
    cell_free(cell);
    driver_release(&d);
}
END_TEST

/* The bytes of a database as an image. */
static void *image_of(const char *dir, size_t *ret_size)
{
    sqlite3 *db;
    void *bytes;
    ck_assert_int_eq(sqlite3_open(t_path(dir, "cell.db"), &db), SQLITE_OK);
    T_OK(store_serialise(db, &bytes, ret_size, &t_err));
    sqlite3_close(db);
    return bytes;
}

/* _i & 1: of the older format, else of a later one. */
START_TEST(an_image_of_another_format_is_taken)
{
    struct driver d = driver_new(10);
    const char *dir = driven(&d, 200), *there = t_dir();
    struct cell *empty = cell_new(), *cell = cell_new();
    struct store_restored restored;
    size_t size;
    if (_i == 1)
        dir = copied_to_format(dir, CELL_FORMAT_MIN);
    else
        change(dir, later);
    void *bytes = image_of(dir, &size);
    struct store *store = open_store(there, empty);
    T_OK(store_replace(store, bytes, size, cell, &t_err));
    expect_same(d.cell, cell);
    store_close(store);
    expect_goes_on(there, &d);
    T_OK(store_restore(t_path(dir, "cell.db"), t_path(dir, "tmp"), 1, 2000000000, &restored,
                       &t_err));
    free(restored.bytes);
    free(bytes);
    cell_free(empty);
    cell_free(cell);
    driver_release(&d);
}
END_TEST

START_TEST(a_missing_table_is_made)
{
    struct buf schema CLEANUP(buf_release) = {0};
    sqlite3 *db = memory_db(CELL_FORMAT);
    store_schema_text(&schema, CELL_FORMAT);
    buf_printf(&schema, "CREATE TABLE further (id INTEGER PRIMARY KEY -- a key\n);"
                        "CREATE VIEW further_list AS SELECT id FROM further;");
    T_OK(store_schema_upgrade(db, buf_text(&schema), &t_err));
    execute(db, "INSERT INTO further VALUES (1); SELECT * FROM further_list");
    T_OK(store_schema_check(db, NULL, &t_err)); /* as one of a later format */
    sqlite3_close(db);
}
END_TEST

START_TEST(the_spec_of_a_job_is_there_as_json)
{
    struct world w = small_world();
    struct store *store = small_store(world_delta(&w, NULL, 0));
    expect_text(store, "SELECT json_extract(spec_json, '$.name') FROM job_specs", "web");
    store_close(store);
    world_release(&w);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("borgmaster_store_sql");
    TCase *rows = tcase_create("rows");
    tcase_set_timeout(rows, 120);
    tcase_add_loop_test(rows, random_rows_of_every_table_come_back, 0, (int)store_table_count);
    tcase_add_loop_test(rows, damaged_json_is_refused_by_table_row_and_column, 0,
                        (int)store_table_count);
    tcase_add_loop_test(rows, a_value_that_is_never_written_is_refused, 0,
                        ARRAY_SIZE(wrong_values));
    tcase_add_test(rows, the_spec_of_a_job_is_there_as_json);
    suite_add_tcase(suite, rows);
    TCase *formats = tcase_create("formats");
    tcase_set_timeout(formats, 120);
    tcase_add_test(formats, no_later_format_adds_a_column_that_follows_from_others);
    tcase_add_test(formats, a_database_of_each_older_format_is_brought_up_to_date);
    tcase_add_test(formats, a_database_of_a_later_format_is_used_and_its_own_is_kept);
    tcase_add_test(formats, a_cell_that_agreed_on_a_later_format_is_refused_and_kept);
    tcase_add_loop_test(formats, an_image_of_another_format_is_taken, 0, 2);
    tcase_add_test(formats, a_missing_table_is_made);
    suite_add_tcase(suite, formats);
    return t_main(suite);
}
