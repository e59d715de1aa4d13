/*
 * fuzz_store.c - a checkpoint with hostile rows, sealed and with the right digest: it is refused,
 * or the cell that is loaded from it is sound and can be restarted and scheduled.
 *
 * An input is a list of changes to rows of a real database: table, column, row, value.
 */
#include "store_fixture.h"

#include "log.h"
#include "sched.h"
#include "store_impl.h"

enum { COMMANDS = 150, CHANGES_MAX = 12, ROUNDS_MAX = 4, PASSES_MAX = 4, ROWS = 24 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static const char *const tables[] = {"meta",
                                     "replicas",
                                     "resource_names",
                                     "machines",
                                     "machine_attributes",
                                     "jobs",
                                     "job_limits",
                                     "job_specs_private_rows",
                                     "tasks",
                                     "quotas",
                                     "requests_private_rows",
                                     "events"};

static const int64_t numbers[] = {0,
                                  1,
                                  -1,
                                  2,
                                  3,
                                  4,
                                  5,
                                  6,
                                  7,
                                  8,
                                  9,
                                  100,
                                  127,
                                  255,
                                  256,
                                  1000,
                                  65535,
                                  262144,
                                  INT32_MAX,
                                  UINT32_MAX,
                                  INT64_MAX,
                                  INT64_MIN,
                                  INT64_C(1) << 40,
                                  INT64_C(1) << 50,
                                  INT64_C(1) << 62};

static const char *const texts[] = {"",           "up",       "down",    "running", "pending",
                                    "assigned",   "finished", "failed",  "killed",  "unwanted",
                                    "[0,1]",      "[",        "exit",    "drain",   "batch",
                                    "production", "on",       "joining", "member",  "m1",
                                    "*",          "gpu",      "tape",    "rack",    "1"};

struct input {
    const uint8_t *at;
    size_t size;
};

static uint8_t take(struct input *in)
{
    if (in->size == 0)
        return 0;
    in->size--;
    return *in->at++;
}

static const char *dir; /* of this process; NULL: not made yet */

/* Return the image of the database of a driven cell, made once. */
static const uint8_t *image(size_t *ret_size)
{
    static void *bytes;
    static size_t size;
    if (bytes == NULL) {
        struct driver d = driver_new(3);
        struct cell *empty = cell_new();
        struct store *store = open_store(dir, empty);
        for (int i = 0; i < COMMANDS; i++)
            driver_put(&d, store);
        void *token = store_snapshot_begin(store);
        ASSERT(store_snapshot_write(token, &bytes, &size) == 0);
        store_snapshot_end(store, token);
        store_close(store);
        cell_free(empty);
        driver_release(&d);
        log_open(LOG_ERROR, "fuzz");
    }
    *ret_size = size;
    return bytes;
}

static sqlite3 *database(void)
{
    size_t size;
    const uint8_t *bytes = image(&size);
    sqlite3 *db;
    ASSERT(sqlite3_open(":memory:", &db) == SQLITE_OK);
    unsigned char *copy = sqlite3_malloc64(size);
    memcpy(copy, bytes, size);
    ASSERT(sqlite3_deserialize(db, "main", copy, (sqlite3_int64)size, (sqlite3_int64)size,
                               SQLITE_DESERIALIZE_FREEONCLOSE | SQLITE_DESERIALIZE_RESIZEABLE) ==
           SQLITE_OK);
    sqlite3_exec(db, "PRAGMA ignore_check_constraints = ON", NULL, NULL, NULL);
    return db;
}

/* Return the name of column `which` of a table, and its key. */
static void column_of(sqlite3 *db, const char *table, unsigned which, char *name, char *key)
{
    sqlite3_stmt *columns;
    ASSERT(sqlite3_prepare_v2(db,
                              "SELECT name, (SELECT group_concat(name) FROM (SELECT name FROM "
                              "pragma_table_info(?1) WHERE pk > 0 ORDER BY pk)) FROM "
                              "pragma_table_info(?1) ORDER BY (cid + ?2) % (SELECT count(*) FROM "
                              "pragma_table_info(?1))",
                              -1, &columns, NULL) == SQLITE_OK);
    sqlite3_bind_text(columns, 1, table, -1, SQLITE_STATIC);
    sqlite3_bind_int64(columns, 2, which);
    ASSERT(sqlite3_step(columns) == SQLITE_ROW);
    str_copy(name, 64, (const char *)sqlite3_column_text(columns, 0));
    str_copy(key, 64, (const char *)sqlite3_column_text(columns, 1));
    sqlite3_finalize(columns);
}

static void value_bind(sqlite3_stmt *to, struct input *in)
{
    uint8_t kind = take(in) % 5;
    if (kind == 0)
        sqlite3_bind_int64(to, 1, numbers[take(in) % ARRAY_SIZE(numbers)]);
    else if (kind == 1)
        sqlite3_bind_text(to, 1, texts[take(in) % ARRAY_SIZE(texts)], -1, SQLITE_STATIC);
    else if (kind == 2)
        sqlite3_bind_int64(to, 1, take(in));
    else if (kind == 3)
        sqlite3_bind_null(to, 1);
    else {
        size_t wanted = take(in) % 40, size = MIN(wanted, in->size);
        sqlite3_bind_blob(to, 1, in->at, (int)size, SQLITE_TRANSIENT);
        in->at += size;
        in->size -= size;
    }
}

static void change(sqlite3 *db, struct input *in)
{
    char column[64], key[64], sql[512];
    sqlite3_stmt *statement;
    const char *table = tables[take(in) % ARRAY_SIZE(tables)];
    column_of(db, table, take(in), column, key);
    bool erase = take(in) % 16 == 0;
    if (erase)
        snprintf(sql, sizeof sql, "DELETE FROM %s", table);
    else
        snprintf(sql, sizeof sql, "UPDATE OR REPLACE %s SET %s = ?1", table, column);
    snprintf(sql + strlen(sql), sizeof sql - strlen(sql),
             " WHERE (%s) IN (SELECT %s FROM %s LIMIT 1 OFFSET %d)", key, key, table,
             take(in) % ROWS);
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK)
        return;
    if (!erase)
        value_bind(statement, in);
    sqlite3_step(statement);
    sqlite3_finalize(statement);
}

/* Load it; if only the digest is wrong, correct the digest and load it again. */
static struct cell *load(sqlite3 *db, const char *temporary)
{
    for (int round = 0; round < ROUNDS_MAX; round++) {
        static const char before[] = "its rows have the digest ";
        struct err err = {0};
        struct cell *cell = cell_new();
        sqlite3_int64 size;
        unsigned char *bytes = sqlite3_serialize(db, "main", &size, 0);
        store_vfs_seal(bytes, (size_t)size);
        enum store_origin origin = round % 2 == 0 ? STORE_BY_ANYBODY : STORE_BY_MASTER;
        int rv = store_image_check(temporary, bytes, (size_t)size, origin, cell, &err);
        store_image_remove(temporary);
        sqlite3_free(bytes);
        if (rv == 0)
            return cell;
        cell_free(cell);
        ASSERT(err.msg[0] != '\0');
        const char *digest = strstr(err.msg, before);
        if (digest == NULL)
            return NULL;
        char sql[128];
        snprintf(sql, sizeof sql, "UPDATE meta SET digest = '%.16s'", digest + strlen(before));
        sqlite3_exec(db, sql, NULL, NULL, NULL);
    }
    return NULL;
}

static void live_on(struct cell *cell)
{
    struct changes changes = {0};
    struct answer answer;
    struct sched *sched = sched_new();
    cell_check(cell);
    cell_begin_again(cell, 1700000000, &changes);
    struct delta *delta = delta_full(cell);
    sched_update(sched, delta);
    delta_unref(delta);
    for (int i = 0; i < PASSES_MAX; i++) {
        struct cmd cmd = {.kind = CMD_SCHEDULE, .time_ms = cell->now_ms};
        changes_clear(&changes);
        if (!sched_pass(sched, &cmd.schedule))
            break;
        cell_apply(cell, &cmd, &changes, &answer);
        cell_check(cell);
        delta = delta_collect(cell, &changes);
        sched_update(sched, delta);
        delta_unref(delta);
    }
    changes_release(&changes);
    sched_free(sched);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    char temporary[64];
    struct input in = {bytes, size};
    if (dir == NULL)
        dir = dir_without_test();
    snprintf(temporary, sizeof temporary, "%s/image", dir);
    sqlite3 *db = database();
    for (int i = 0; i < CHANGES_MAX && in.size > 2; i++)
        change(db, &in);
    struct cell *cell = load(db, temporary);
    sqlite3_close(db);
    if (cell != NULL)
        live_on(cell);
    cell_free(cell);
    return 0;
}
