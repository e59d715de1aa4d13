/*
 * test_borgmaster_store_query.c - answers, permissions and limits of queries.
 */
#include "store_fixture.h"

#include <sqlite3.h>

START_TEST(the_views_contain_names)
{
    struct world w = small_world();
    struct event events[] = {
        {.seq = 1,
         .time_ms = 1000,
         .kind = EVENT_SUBMITTED,
         .job = {1},
         .job_name = "web",
         .task_index = -1},
        {.seq = 2,
         .time_ms = 1000,
         .kind = EVENT_LOST,
         .job = {1},
         .job_name = "web",
         .task_index = 2,
         .machine = {1},
         .machine_name = "m1",
         .cause = CAUSE_MACHINE_DOWN,
         .detail = "gone"},
        {.seq = 3, .time_ms = 1000, .kind = EVENT_MACHINE_UP, .task_index = -1, .machine = {1}},
    };
    struct store *store = small_store(world_delta(&w, events, 3));
    expect_text(store, "SELECT command FROM job_list", "true 'it'\\''s' --port=8080 ''");
    expect_text(store, "SELECT band || state || pending || running FROM job_list",
                "productionrunning11");
    expect_text(store,
                "SELECT machine || pid || ports || state FROM task_list WHERE task = 'web/0'",
                "m142[8080]running");
    expect_text(store, "SELECT state || ports FROM task_list WHERE task = 'web/2'", "pending[]");
    expect_text(store, "SELECT cpu_free_milli || ' ' || ports_free FROM machine_list", "500 8");
    expect_text(store, "SELECT job || ' ' || pending FROM pending_list", "web 1");
    expect_text(store,
                "SELECT task || machine || cause || detail || time FROM event_list WHERE seq = 2",
                "web/2m1machine-downgone1970-01-01 00:00:01");
    expect_text(store, "SELECT task FROM event_list WHERE seq = 1", "web");
    ck_assert_int_eq(query_number(store, "SELECT count(*) FROM event_list WHERE job = 'web'"), 2);
    store_close(store);
    world_release(&w);
}
END_TEST

START_TEST(a_task_told_to_stop_is_shown_as_stopping)
{
    struct world w = small_world();
    ck_assert_int_eq(world_kill(&w, "web"), ERR_OK);
    struct store *store = small_store(world_delta(&w, NULL, 0));
    ck_assert_int_eq(query_number(store, "SELECT count(*) FROM task_list WHERE state = 'stopping' "
                                         "AND cause = 'killed'"),
                     2);
    ck_assert_int_eq(query_number(store, "SELECT count(*) FROM pending_list"), 0);
    store_close(store);
    world_release(&w);
}
END_TEST

/* Typical questions must not read every task of the cell. */
START_TEST(typical_questions_use_an_index)
{
    static const char *const questions[] = {
        "SELECT * FROM job_list WHERE job = 'web'",
        "SELECT * FROM task_list WHERE job = 'web'",
        "SELECT * FROM task_list WHERE machine = 'm1'",
        "SELECT * FROM machine_list WHERE machine = 'm1'",
        "SELECT * FROM event_list WHERE job = 'web' ORDER BY seq DESC LIMIT 20",
        "SELECT * FROM event_list WHERE job = 'web' AND idx = 3 ORDER BY seq DESC LIMIT 20",
        "SELECT * FROM event_list ORDER BY seq DESC LIMIT 20",
    };
    enum { newest_first = 6 }; /* reads from the end and stops */
    struct world w = small_world();
    struct store *store = small_store(world_delta(&w, NULL, 0));
    for (size_t i = 0; i < ARRAY_SIZE(questions); i++) {
        struct buf sql CLEANUP(buf_release) = {0};
        buf_printf(&sql, "EXPLAIN QUERY PLAN %s", questions[i]);
        struct got got = query(store, buf_text(&sql));
        ck_assert_uint_gt(got.rows.row_count, 0);
        for (uint32_t row = 0; row < got.rows.row_count; row++) {
            const char *step = got.rows.values[row * got.rows.column_count + 3].text;
            bool few = strstr(step, "resource_names") != NULL;
            ck_assert_msg(strncmp(step, "SCAN", 4) != 0 || few || i == newest_first, "%s: %s",
                          questions[i], step);
            ck_assert_msg(strstr(step, "TEMP B-TREE") == NULL, "%s: %s", questions[i], step);
        }
        got_release(&got);
    }
    store_close(store);
    world_release(&w);
}
END_TEST

#define COUNT_TO(n) "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT " #n ") "

static const struct refusal {
    const char *sql;
    enum err_code code;
    const char *message; /* a part of it */
} refusals[] = {
    {"", ERR_INVALID, "no statement"},
    {" -- nothing", ERR_INVALID, "no statement"},
    {"SELEC 1", ERR_INVALID, "at byte 0, \"SELEC 1\": near \"SELEC\": syntax error"},
    {"SELECT nosuch FROM jobs", ERR_INVALID, "at byte 7, \"nosuch FROM jobs\": no such column"},
    {"SELECT * FROM nosuch", ERR_INVALID, "no such table: nosuch"},
    {"SELECT 1; SELECT 2", ERR_INVALID, "at byte 9, \" SELECT 2\": a second statement"},
    {"SELECT 1; rubbish", ERR_INVALID, "a second statement"},
    {"SELECT ?", ERR_INVALID, "parameters"},
    {"UPDATE meta SET now_ms = 1", ERR_DENIED, "queries can read"},
    {"DELETE FROM jobs", ERR_DENIED, "queries can read"},
    {"INSERT INTO jobs SELECT * FROM jobs RETURNING id", ERR_DENIED, "queries can read"},
    {"DROP TABLE jobs", ERR_DENIED, "queries can read"},
    {"CREATE TEMP TABLE t (a)", ERR_DENIED, "queries can read"},
    {"CREATE TEMP VIEW jobs AS SELECT 1", ERR_DENIED, "queries can read"},
    {"ATTACH '/etc/passwd' AS x", ERR_DENIED, "queries can read"},
    {"DETACH main", ERR_DENIED, "queries can read"},
    {"VACUUM INTO '/tmp/vacuumed-by-a-query'", ERR_DENIED, "queries can read"},
    {"BEGIN", ERR_DENIED, "queries can read"},
    {"COMMIT", ERR_DENIED, "queries can read"},
    {"SAVEPOINT x", ERR_DENIED, "queries can read"},
    {"ANALYZE", ERR_DENIED, "queries can read"},
    {"REINDEX", ERR_DENIED, "queries can read"},
    {"PRAGMA journal_mode = DELETE", ERR_DENIED, "queries can read"},
    {"PRAGMA user_version = 7", ERR_DENIED, "queries can read"},
    {"PRAGMA query_only = 0", ERR_DENIED, "queries can read"},
    {"PRAGMA wal_checkpoint", ERR_DENIED, "queries can read"},
    {"SELECT * FROM pragma_integrity_check", ERR_DENIED, ""},
    {"SELECT load_extension('/tmp/x.so')", ERR_DENIED, "not authorized"},
    {"SELECT length(zeroblob(100000000))", ERR_LIMIT, "too big"},
    {COUNT_TO(100001) "SELECT i FROM n", ERR_LIMIT, "more than 100000 rows"},
    {COUNT_TO(99999) "SELECT i, 'a text that is not all too short' FROM n", ERR_LIMIT,
     "more than 4194304 bytes"},
};

START_TEST(a_statement_that_does_more_than_read_is_refused)
{
    struct world w = small_world();
    struct store *store = small_store(world_delta(&w, NULL, 0));
    for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
        struct got got = query(store, refusals[i].sql);
        ck_assert_msg(got.err.code == refusals[i].code, "%s: %s: %s", refusals[i].sql,
                      err_code_text(got.err.code), got.err.msg);
        ck_assert_msg(strstr(got.err.msg, refusals[i].message) != NULL, "%s: %s", refusals[i].sql,
                      got.err.msg);
        got_release(&got);
    }
    ck_assert_int_eq(query_number(store, "SELECT count(*) FROM jobs"), 1);
    ck_assert_int_eq(access("/tmp/vacuumed-by-a-query", F_OK), -1);
    store_close(store);
    world_release(&w);
}
END_TEST

START_TEST(a_statement_that_reads_is_answered)
{
    struct world w = small_world();
    struct store *store = small_store(world_delta(&w, NULL, 0));
    struct got got = query(store, "SELECT NULL AS a, 1, 2.5 AS c, 'x' AS d, x'0aff', '' ; -- so");
    ck_assert_msg(got.err.code == ERR_OK, "%s", got.err.msg);
    ck_assert_uint_eq(got.rows.applied_index, 1);
    ck_assert_uint_eq(got.rows.column_count, 6);
    ck_assert_uint_eq(got.rows.row_count, 1);
    ck_assert_str_eq(got.rows.columns[0], "a");
    ck_assert_str_eq(got.rows.columns[1], "1");
    ck_assert_int_eq(got.rows.values[0].type, WIRE_NULL);
    ck_assert_int_eq(got.rows.values[1].integer, 1);
    ck_assert_double_eq(got.rows.values[2].real, 2.5);
    ck_assert_str_eq(got.rows.values[3].text, "x");
    ck_assert_str_eq(got.rows.values[4].text, "0aff");
    ck_assert_str_eq(got.rows.values[5].text, "");
    got_release(&got);
    got = query(store, COUNT_TO(100000) "SELECT i FROM n");
    ck_assert_uint_eq(got.rows.row_count, QUERY_ROWS_MAX);
    ck_assert_int_eq(got.rows.values[QUERY_ROWS_MAX - 1].integer, QUERY_ROWS_MAX);
    got_release(&got);
    got = query(store, "SELECT * FROM jobs WHERE 0");
    ck_assert_uint_eq(got.rows.row_count, 0);
    ck_assert_uint_gt(got.rows.column_count, 10);
    got_release(&got);
    expect_text(store, "SELECT name FROM pragma_table_info('jobs') WHERE cid = 1", "name");
    ck_assert_int_eq(query_number(store, "SELECT value FROM tasks, json_each(ports)"), 8080);
    got = query(store, "EXPLAIN QUERY PLAN SELECT * FROM task_list WHERE job = 'web'");
    ck_assert_int_eq(got.err.code, ERR_OK);
    got_release(&got);
    store_close(store);
    world_release(&w);
}
END_TEST

START_TEST(queries_end_in_time_and_wait_for_their_index)
{
    struct t_loop loop;
    struct world w = small_world();
    struct store *store = small_store(world_delta(&w, NULL, 0));
    struct got endless[6] = {0}, early = {0}, late = {0};
    t_loop_init(&loop);
    ask(store, &loop, "ada", "SELECT applied_index FROM meta", 3, &early);
    ask(store, &loop, "ada", "SELECT applied_index FROM meta", 99, &late);
    for (uint64_t index = 2; index <= 3; index++) {
        ck_assert(!early.done);
        struct delta *delta = world_delta(&w, NULL, 0);
        delta->index = index;
        store_put(store, delta);
        delta_unref(delta);
        wait_written(store, index);
    }
    T_RUN(&loop, early.done);
    ck_assert_int_eq(early.rows.values[0].integer, 3);
    for (size_t i = 0; i < ARRAY_SIZE(endless); i++) /* more than there are readers */
        ask(store, &loop, "ada",
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT 1 FROM n) SELECT count(*) FROM n", 0,
            &endless[i]);
    T_RUN_FOR(&loop, 4 * QUERY_TIME_MS_MAX, late.done);
    ck_assert_int_eq(late.err.code, ERR_TIMEOUT);
    T_CONTAINS(late.err.msg, "99 did not come");
    for (size_t i = 0; i < ARRAY_SIZE(endless); i++) {
        T_RUN_FOR(&loop, 4 * QUERY_TIME_MS_MAX, endless[i].done);
        ck_assert_int_eq(endless[i].err.code, ERR_LIMIT);
    }
    ck_assert_int_eq(endless[0].err.code, ERR_LIMIT);
    T_CONTAINS(endless[0].err.msg, "more than 5000 ms");
    got_release(&early);
    store_close(store);
    t_loop_close(&loop);
    world_release(&w);
}
END_TEST

/* The time at which a statement was executed, as reported by the statement; the loop may learn of
 * it much later on a busy machine. */
struct turn {
    int *answered;
    double day; /* 0: refused */
    enum err_code code;
};

static void on_turn(void *data, const struct err *err, const void *bytes, size_t size)
{
    struct turn *turn = data;
    struct wire_rows CLEANUP(wire_rows_release) rows = {0};
    ++*turn->answered;
    turn->code = err == NULL ? ERR_OK : err->code;
    if (err != NULL)
        return;
    T_OK(wire_unpack_rows(bytes, size, &rows, &t_err));
    turn->day = rows.values[1].real;
}

static int turns_before(const struct turn *turns, size_t count, double day)
{
    int before = 0;
    for (size_t i = 0; i < count; i++)
        before += turns[i].day != 0 && turns[i].day < day;
    return before;
}

static void ask_turn(struct store *store, struct t_loop *loop, const char *user, const char *sql,
                     uint64_t index_min, struct turn *turn)
{
    struct store_asker asker = {user, false};
    store_query(store, &loop->uv, &asker, sql, index_min, on_turn, turn);
}

/* ada sends as many queries as allowed; bob and the operator come later and do not wait for all of
 * them. */
START_TEST(a_flood_of_queries_delays_only_its_user)
{
    /* Some milliseconds of work each, and all wait until index 2 is there. */
    static const char work[] = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
                               "WHERE i < 100000) SELECT count(*), julianday('now') FROM n";
    enum { FLOOD = QUERIES_USER_WAITING_MAX };
    int answered = 0;
    struct turn ada[FLOOD + 1], bob[2], root = {.answered = &answered};
    struct t_loop loop;
    struct world w = small_world();
    struct store *store = small_store(world_delta(&w, NULL, 0));
    t_loop_init(&loop);
    for (int i = 0; i <= FLOOD; i++) {
        ada[i] = (struct turn){.answered = &answered};
        ask_turn(store, &loop, "ada", work, 2, &ada[i]);
    }
    T_RUN(&loop, answered == 1);
    ck_assert_int_eq(ada[FLOOD].code, ERR_UNAVAILABLE);
    for (size_t i = 0; i < ARRAY_SIZE(bob); i++) {
        bob[i] = (struct turn){.answered = &answered};
        ask_turn(store, &loop, "bob", work, 2, &bob[i]);
    }
    ask_turn(store, &loop, "root", work, 2, &root);
    struct delta *delta = world_delta(&w, NULL, 0);
    delta->index = 2;
    store_put(store, delta);
    delta_unref(delta);
    T_RUN(&loop, answered == FLOOD + 4);
    /* Out of 64; a few run concurrently, and a reader process may have to start first. */
    ck_assert_int_lt(turns_before(ada, FLOOD, root.day), FLOOD / 2);
    ck_assert_int_lt(turns_before(ada, FLOOD, bob[0].day), FLOOD / 2);
    ck_assert_int_lt(turns_before(ada, FLOOD, bob[1].day), FLOOD / 2);
    ck_assert_int_eq(bob[1].code, ERR_OK);
    ck_assert_int_eq(ada[FLOOD - 1].code, ERR_OK);
    store_close(store);
    t_loop_close(&loop);
    world_release(&w);
}
END_TEST

/* A single call of an SQLite function, during which no clock is checked: it takes minutes. */
static const char *const stuck[] = {
    "SELECT instr(hex(zeroblob(2000000)), hex(zeroblob(1000000)) || '1')",
    "SELECT replace(hex(zeroblob(2000000)), hex(zeroblob(1000000)) || '1', 'x')",
    "SELECT trim(hex(zeroblob(1000000)) || '1' || hex(zeroblob(1000000)), "
    "replace(hex(zeroblob(500000)), '0', 'ab') || '0')",
    "SELECT hex(zeroblob(2000000)) LIKE '%' || replace(hex(zeroblob(400)), '0', '_') || '1%'",
    "SELECT hex(zeroblob(2000000)) GLOB '*' || replace(hex(zeroblob(400)), '0', '?') || '1*'"};

/* 20 of them from one user, who may use half of the readers; nobody else waits for them. */
START_TEST(endless_statements_do_not_delay_other_users)
{
    enum { FLOOD = 20 };
    struct t_loop loop;
    struct world w = small_world();
    struct store *store = small_store(world_delta(&w, NULL, 0));
    struct got ada[FLOOD] = {0};
    t_loop_init(&loop);
    for (int i = 0; i < FLOOD; i++)
        ask(store, &loop, "ada", stuck[(size_t)i % ARRAY_SIZE(stuck)], 0, &ada[i]);
    for (int i = 0; i < 50; i++) {
        struct got bob = {0};
        ask(store, &loop, i % 2 == 0 ? "bob" : "root", "SELECT count(*) FROM job_list", 0, &bob);
        T_RUN(&loop, bob.done);
        ck_assert_msg(bob.err.code == ERR_OK, "%s", bob.err.msg);
        got_release(&bob);
        int done = 0;
        for (int k = 0; k < FLOOD; k++)
            done += ada[k].done;
        ck_assert_int_eq(done, 0); /* so bob waited less than one of hers takes */
    }
    T_RUN(&loop, ada[0].done && ada[1].done);
    ck_assert_int_eq(ada[0].err.code, ERR_LIMIT);
    T_CONTAINS(ada[0].err.msg, "the query took more than 5000 ms");
    uint64_t began = clock_mono_ms();
    store_close(store); /* does not wait for them */
    ck_assert_uint_lt(clock_mono_ms() - began, QUERY_TIME_MS_MAX);
    for (int i = 0; i < FLOOD; i++)
        T_RUN(&loop, ada[i].done);
    ck_assert_int_eq(ada[FLOOD - 1].err.code, ERR_CLOSED);
    t_loop_close(&loop);
    world_release(&w);
}
END_TEST

START_TEST(replacing_the_database_does_not_wait_for_statements)
{
    struct t_loop loop;
    struct world w = small_world();
    struct store *store = small_store(world_delta(&w, NULL, 0));
    struct cell *cell = cell_new();
    struct got ada = {0};
    void *image;
    size_t size;
    void *token = store_snapshot_begin(store);
    ck_assert_int_eq(store_snapshot_write(token, &image, &size), 0);
    store_snapshot_end(store, token);
    t_loop_init(&loop);
    ask(store, &loop, "ada", stuck[0], 0, &ada);
    struct got bob = query_by(store, "bob", "SELECT 1", 0); /* hers was accepted before his */
    got_release(&bob);
    uint64_t began = clock_mono_ms();
    T_OK(store_replace(store, image, size, cell, &t_err));
    ck_assert_uint_lt(clock_mono_ms() - began, QUERY_TIME_MS_MAX);
    T_RUN(&loop, ada.done);
    ck_assert_int_eq(ada.err.code, ERR_UNAVAILABLE);
    T_CONTAINS(ada.err.msg, "being replaced: try again");
    ck_assert_int_eq(query_number(store, "SELECT count(*) FROM jobs"), 1);
    free(image);
    cell_free(cell);
    store_close(store);
    t_loop_close(&loop);
    world_release(&w);
}
END_TEST

/* Sorts and temporary tables use only a bounded amount of memory and no files. */
START_TEST(temporary_data_is_bounded)
{
    static const char *const large[] = {
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000000) "
        "SELECT count(*) FROM (SELECT i, hex(zeroblob(2000)) AS t FROM n ORDER BY t, -i)",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000000) "
        "SELECT count(DISTINCT i || hex(zeroblob(2000))) FROM n",
        "WITH RECURSIVE n(i, t) AS (SELECT 1, '' UNION ALL SELECT i + 1, hex(zeroblob(2000)) "
        "FROM n LIMIT 1000000), m AS MATERIALIZED (SELECT * FROM n) "
        "SELECT count(*) FROM m a, m b WHERE a.t = b.t AND a.i = -b.i",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 100) "
        "SELECT sum(length(t)) FROM (SELECT hex(randomblob(1000000)) AS t FROM n ORDER BY t)"};
    struct world w = small_world();
    struct store *store = small_store(world_delta(&w, NULL, 0));
    for (size_t i = 0; i < ARRAY_SIZE(large); i++) {
        struct got got = query(store, large[i]);
        ck_assert_msg(got.err.code == ERR_LIMIT, "%s: %s", large[i], got.err.msg);
        bool memory = strstr(got.err.msg, "needs more than 64 MiB of memory") != NULL;
        ck_assert_msg(memory || strstr(got.err.msg, "more than 5000 ms") != NULL, "%s: %s",
                      large[i], got.err.msg);
        got_release(&got);
    }
    ck_assert_int_eq(query_number(store, "SELECT count(*) FROM jobs"), 1);
    store_close(store);
    world_release(&w);
}
END_TEST

/* Ways to read the command line or spec of ada's job, which only its owner may read. */
static const char *const prying[] = {
    "SELECT command FROM job_specs",
    "SELECT spec FROM job_specs",
    "SELECT command FROM job_list",
    "SELECT command FROM temp.job_list",
    "SELECT command FROM main.job_list",
    "SELECT command FROM main.job_specs",
    "SELECT command FROM job_specs_private_rows",
    "SELECT command FROM \"JOB_SPECS_PRIVATE_ROWS\"",
    "SELECT command FROM job_specs_private_rows_seen",
    "SELECT * FROM (SELECT NULL AS command) NATURAL FULL JOIN job_specs_private_rows",
    "SELECT command FROM (SELECT NULL AS command) FULL JOIN main.job_specs USING (command)",
    "SELECT command FROM (SELECT NULL AS command) FULL JOIN main.job_list USING (command)",
    "SELECT command FROM (SELECT NULL AS command) FULL JOIN job_list USING (command)",
    "SELECT spec FROM (SELECT NULL AS spec) FULL JOIN main.job_specs USING (spec)",
    "WITH job_specs_private_rows_seen AS (SELECT * FROM main.job_specs_private_rows) "
    "SELECT command FROM job_specs_private_rows_seen",
    "WITH job_specs AS (SELECT * FROM main.job_specs) SELECT command FROM job_specs",
    "WITH jobs AS (SELECT 'bob' AS user, 1 AS id) SELECT command FROM job_specs",
    "SELECT 1 FROM main.job_specs WHERE command > ''",
    "SELECT 1 FROM main.job_specs ORDER BY command",
    "SELECT (SELECT max(command) FROM main.job_specs)",
    "SELECT msg || id_high FROM requests",
    "SELECT msg || id_high FROM main.requests",
    "SELECT msg FROM (SELECT NULL AS msg) FULL JOIN main.requests USING (msg)",
};

START_TEST(private_columns_are_read_by_their_user_and_readers)
{
    static const char *const readers[] = {"ada", "root"};
    struct world w = small_world();
    struct delta *delta = world_delta(&w, NULL, 0);
    struct request_row request = {.seq = 1,
                                  .remembered = {.request_id = {7, 8}, .msg = "job web is told"}};
    delta->requests = xcalloc(1, sizeof request);
    delta->requests[0] = request;
    delta->request_count = 1;
    struct store *store = small_store(delta);
    for (size_t i = 0; i < ARRAY_SIZE(readers); i++) {
        struct got got = query_by(store, readers[i],
                                  "SELECT l.command, s.command, length(s.spec) > 50 "
                                  "FROM job_list l JOIN job_specs s USING (job_id)",
                                  0);
        ck_assert_msg(got.err.code == ERR_OK, "%s", got.err.msg);
        ck_assert_uint_eq(got.rows.row_count, 1);
        T_CONTAINS(got.rows.values[0].text, "--port=8080");
        T_CONTAINS(got.rows.values[1].text, "--port=8080");
        ck_assert_int_eq(got.rows.values[2].integer, 1);
        got_release(&got);
    }
    ck_assert_int_eq(query_number(store, "SELECT count(*) FROM requests WHERE msg <> ''"), 1);
    for (size_t i = 0; i < ARRAY_SIZE(prying); i++) {
        struct got got = query_by(store, "bob", prying[i], 0);
        ck_assert_msg(got.err.code == ERR_OK || got.err.code == ERR_DENIED, "%s: %s", prying[i],
                      got.err.msg);
        for (uint32_t v = 0; v < got.rows.row_count * got.rows.column_count; v++)
            ck_assert_msg(got.rows.values[v].type != WIRE_TEXT, "%s: %s", prying[i],
                          got.rows.values[v].text);
        got_release(&got);
    }
    struct got got = query_by(store, "bob",
                              "SELECT job || ' ' || user || ' ' || running, command IS NULL, "
                              "(SELECT count(*) FROM job_specs) FROM job_list",
                              0);
    ck_assert_msg(got.err.code == ERR_OK, "%s", got.err.msg);
    ck_assert_str_eq(got.rows.values[0].text, "web ada 1"); /* the other columns are public */
    ck_assert_int_eq(got.rows.values[1].integer, 1);
    ck_assert_int_eq(got.rows.values[2].integer, 1);
    got_release(&got);
    store_close(store);
    world_release(&w);
}
END_TEST

enum { FUNCTION_ARGUMENTS_MAX = 4 };

/* Format "SELECT name(...)": with the largest allowed arguments, or with the most expensive ones
 * for instr() and similar functions. */
static void call_of(struct buf *sql, const char *name, int arguments, bool same)
{
    static const char *const worst[FUNCTION_ARGUMENTS_MAX] = {
        "hex(zeroblob(2000000))", "hex(zeroblob(1000000)) || '1'", "hex(zeroblob(1000000))", "9"};
    buf_printf(sql, "SELECT typeof(%s(", name);
    for (int i = 0; i < arguments; i++)
        buf_printf(sql, "%s%s", i == 0 ? "" : ", ", same ? worst[0] : worst[i]);
    buf_printf(sql, "))");
}

/*
 * Every function of SQLite, with the largest allowed arguments: there is always an answer in time.
 * Each call is from a different user, so that four may run concurrently.
 */
START_TEST(every_function_ends_in_time)
{
    enum { CALLS_MAX = 2000, MARGIN_MS = 2000 };
    static struct got got[CALLS_MAX];
    size_t count = 0, slow = 0;
    sqlite3 *db;
    sqlite3_stmt *functions;
    struct t_loop loop;
    struct world w = small_world();
    struct store *store = small_store(world_delta(&w, NULL, 0));
    t_loop_init(&loop);
    ck_assert_int_eq(sqlite3_open(":memory:", &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_prepare_v2(db,
                                        "SELECT DISTINCT name, narg FROM pragma_function_list "
                                        "WHERE type = 's' AND name GLOB '[a-z]*'",
                                        -1, &functions, NULL),
                     SQLITE_OK);
    while (sqlite3_step(functions) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(functions, 0);
        int arguments = sqlite3_column_int(functions, 1);
        for (int n = arguments < 0 ? 1 : arguments; n <= FUNCTION_ARGUMENTS_MAX; n++) {
            for (int same = 0; same <= (n > 0); same++) {
                struct buf sql CLEANUP(buf_release) = {0};
                ck_assert_uint_lt(count, CALLS_MAX);
                call_of(&sql, name, n, same != 0);
                uint64_t began = clock_mono_ms();
                struct got *g = &got[count++];
                ask(store, &loop, "ada", buf_text(&sql), 0, g);
                T_RUN(&loop, g->done);
                uint64_t ms = clock_mono_ms() - began;
                ck_assert_msg(ms < QUERY_TIME_MS_MAX + MARGIN_MS, "%s: %" PRIu64 " ms",
                              buf_text(&sql), ms);
                slow += g->err.code == ERR_LIMIT;
                got_release(g);
            }
            if (arguments >= 0)
                break;
        }
    }
    ck_assert_uint_gt(count, 100);
    ck_assert_uint_gt(slow, 0);
    printf("functions: %zu calls, %zu beyond a limit\n", count, slow);
    sqlite3_finalize(functions);
    sqlite3_close(db);
    store_close(store);
    t_loop_close(&loop);
    world_release(&w);
}
END_TEST

START_TEST(closing_answers_waiting_queries)
{
    struct t_loop loop;
    struct world w = small_world();
    struct store *store = small_store(world_delta(&w, NULL, 0));
    struct got waiting = {0};
    t_loop_init(&loop);
    ask(store, &loop, "ada", "SELECT 1", 99, &waiting);
    store_close(store);
    T_RUN(&loop, waiting.done);
    ck_assert_int_eq(waiting.err.code, ERR_CLOSED);
    t_loop_close(&loop);
    world_release(&w);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("borgmaster_store_query");
    TCase *queries = tcase_create("queries");
    tcase_set_timeout(queries, 120);
    tcase_add_test(queries, the_views_contain_names);
    tcase_add_test(queries, a_task_told_to_stop_is_shown_as_stopping);
    tcase_add_test(queries, typical_questions_use_an_index);
    tcase_add_test(queries, a_statement_that_does_more_than_read_is_refused);
    tcase_add_test(queries, a_statement_that_reads_is_answered);
    tcase_add_test(queries, queries_end_in_time_and_wait_for_their_index);
    tcase_add_test(queries, a_flood_of_queries_delays_only_its_user);
    tcase_add_test(queries, closing_answers_waiting_queries);
    tcase_add_test(queries, endless_statements_do_not_delay_other_users);
    tcase_add_test(queries, replacing_the_database_does_not_wait_for_statements);
    tcase_add_test(queries, temporary_data_is_bounded);
    tcase_add_test(queries, every_function_ends_in_time);
    tcase_add_test(queries, private_columns_are_read_by_their_user_and_readers);
    suite_add_tcase(suite, queries);
    return t_main(suite);
}
