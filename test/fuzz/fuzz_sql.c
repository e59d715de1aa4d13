/*
 * fuzz_sql.c - SQL of a user on the database of a cell: it changes and damages nothing, its answers
 * are well-formed, and they contain no private data of another user.
 *
 * An input is a statement. The mutator inserts words of SQL and of the schema.
 */
#include "store_fixture.h"

#include "store_impl.h"

#define SECRET "opensesame"

enum { BUDGET_MS = 200 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t size, size_t size_max, unsigned int seed);
size_t LLVMFuzzerMutate(uint8_t *bytes, size_t size, size_t size_max);

static const char *const words[] = {"SELECT ",
                                    " FROM ",
                                    " WHERE ",
                                    " JOIN ",
                                    " NATURAL FULL JOIN ",
                                    " USING (command)",
                                    " USING (spec)",
                                    " LEFT JOIN ",
                                    " UNION ALL ",
                                    " EXCEPT ",
                                    " ORDER BY ",
                                    " GROUP BY ",
                                    " LIMIT 3",
                                    "WITH x AS (",
                                    "WITH RECURSIVE x(i) AS (",
                                    ") ",
                                    " (",
                                    ", ",
                                    "*",
                                    " AS ",
                                    " IN (",
                                    " EXISTS (",
                                    "NULL",
                                    "count(*)",
                                    "max(command)",
                                    "hex(spec)",
                                    "command",
                                    "spec",
                                    "job_id",
                                    "job_specs",
                                    "main.job_specs",
                                    "main.job_list",
                                    "job_list",
                                    "temp.job_specs",
                                    "requests",
                                    "job_specs_private_rows",
                                    "main.requests",
                                    "jobs",
                                    "tasks",
                                    "events",
                                    "meta",
                                    "sqlite_schema",
                                    "pragma_table_info('jobs')",
                                    "json_each(ports)",
                                    "json_group_array(command)",
                                    "dbstat",
                                    "sqlite_stmt",
                                    "'a'",
                                    "1",
                                    "id",
                                    "name",
                                    " ON ",
                                    "=",
                                    "EXPLAIN ",
                                    "VALUES (1)",
                                    "CASE WHEN ",
                                    " THEN ",
                                    " END",
                                    "reader_name()",
                                    "reader_reads_all()",
                                    "zeroblob(100)",
                                    " OVER ()",
                                    ";"};

/* Make a job of ada whose command has the secret, and a reader. */
static struct reader *reader_made(void)
{
    static char path[64];
    struct world w = world_new();
    struct cmd cmd = {.kind = CMD_JOB_SUBMIT, .job_submit = spec_named("shop", "ada", 200)};
    words_add(&cmd.job_submit.argv, SECRET);
    words_add(&cmd.job_submit.env, "KEY=" SECRET);
    cell_apply(w.cell, &cmd, &w.changes, &w.answer);
    ASSERT(w.answer.code == ERR_OK);
    cmd_release(&cmd);
    const char *dir = dir_without_test();
    struct cell *empty = cell_new();
    struct store *store = open_store(dir, empty);
    struct delta *delta = world_delta(&w, NULL, 0);
    store_put(store, delta);
    delta_unref(delta);
    store_close(store);
    cell_free(empty);
    world_release(&w);
    sqlite3_hard_heap_limit64(READER_MEMORY_BYTES_MAX);
    snprintf(path, sizeof path, "%s/cell.db", dir);
    return reader_new(path);
}

/* Check that its user can read the secret; otherwise the test would prove nothing. */
static void expect_secret(struct reader *reader)
{
    struct buf rows CLEANUP(buf_release) = {0};
    struct err err;
    ASSERT(reader_answer(reader, "ada", false, "SELECT command FROM job_list", 10000, &rows,
                         &err) == 0);
    ASSERT(memmem(rows.bytes, rows.size, SECRET, strlen(SECRET)) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static struct reader *reader;
    struct buf rows CLEANUP(buf_release) = {0}, sql CLEANUP(buf_release) = {0};
    struct wire_rows CLEANUP(wire_rows_release) back = {0};
    struct err err = {0};
    if (reader == NULL) {
        reader = reader_made();
        expect_secret(reader);
    }
    buf_append(&sql, bytes, size);
    if (strlen(buf_text(&sql)) != size || strcasestr(buf_text(&sql), SECRET) != NULL)
        return 0;
    int rv = reader_answer(reader, "mallory", false, buf_text(&sql), BUDGET_MS, &rows, &err);
    ASSERT(rv != -ERR_CORRUPT);
    if (rv != 0)
        return 0;
    ASSERT(wire_unpack_rows(rows.bytes, rows.size, &back, &err) == 0);
    ASSERT(memmem(rows.bytes, rows.size, SECRET, strlen(SECRET)) == NULL);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t size, size_t size_max, unsigned int seed)
{
    uint64_t draw = seed;
    if (draw_below(&draw, 4) == 0)
        return LLVMFuzzerMutate(bytes, size, size_max);
    const char *word = words[draw_below(&draw, ARRAY_SIZE(words))];
    size_t length = strlen(word);
    size_t at = draw_below(&draw, 2) == 0 ? size : draw_below(&draw, (uint32_t)size + 1);
    if (size + length > size_max)
        return LLVMFuzzerMutate(bytes, size, size_max);
    memmove(bytes + at + length, bytes + at, size - at);
    memcpy(bytes + at, word, length);
    return size + length;
}
