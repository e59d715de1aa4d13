/*
 * test_borgmaster_store.c - what is put comes back, whatever happens to the process or the file.
 */
#include "draw_cmd.h"
#include "store.h"
#include "testlib.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { COMMANDS = 400, KILLS = 12, BULK_TASKS = 100000 };

/* A cell that is driven by random commands, the same ones for the same seed. */
struct driver {
    struct cell *cell;
    struct changes changes;
    uint64_t seed;
};

static struct driver driver_new(uint64_t seed)
{
    return (struct driver){.cell = cell_new(), .seed = seed};
}

static void driver_release(struct driver *d)
{
    cell_free(d->cell);
    changes_release(&d->changes);
}

/* Apply the next command as the next Raft entry and return what it changed. */
static struct delta *driver_step(struct driver *d)
{
    struct answer answer;
    struct cmd cmd = draw_cmd(&d->seed, d->cell);
    changes_clear(&d->changes);
    cell_apply(d->cell, &cmd, &d->changes, &answer);
    cmd_release(&cmd);
    d->cell->applied_index++;
    d->cell->applied_term = 1 + d->cell->applied_index / 100;
    return delta_collect(d->cell, &d->changes);
}

static void driver_put(struct driver *d, struct store *store)
{
    struct delta *delta = driver_step(d);
    store_put(store, delta);
    delta_unref(delta);
}

static struct store *open_store(const char *dir, struct cell *cell)
{
    struct store *store = NULL;
    T_OK(store_open(dir, cell, &store, &t_err));
    return store;
}

/* Wait until everything put is in the database; what does it is the writer, not time. */
static void wait_written(struct store *store, uint64_t index)
{
    uint64_t end = clock_mono_ms() + T_DEADLINE_MS;
    while (store_index(store) < index) {
        ck_assert_msg(clock_mono_ms() < end, "index %" PRIu64 " is not written", index);
        usleep(1000);
    }
}

static size_t count_files(const char *dir, const char *part)
{
    char command[256], said[32] = "";
    snprintf(command, sizeof command, "ls %s | grep -c -- '%s'", dir, part);
    FILE *pipe = popen(command, "r");
    ck_assert_ptr_nonnull(fgets(said, sizeof said, pipe));
    pclose(pipe);
    return strtoul(said, NULL, 10);
}

/* The answer to a query. */
struct got {
    bool done;
    int calls;
    struct err err;
    struct wire_rows rows;
};

static void got_release(struct got *got)
{
    wire_rows_release(&got->rows);
    *got = (struct got){0};
}

static void on_rows(void *data, const struct err *err, const void *rows, size_t size)
{
    struct got *got = data;
    got->done = true;
    got->calls++;
    if (err != NULL)
        got->err = *err;
    else
        T_OK(wire_unpack_rows(rows, size, &got->rows, &t_err));
}

static struct got query_at(struct store *store, const char *sql, uint64_t index_min)
{
    struct t_loop loop;
    struct got got = {0};
    t_loop_init(&loop);
    store_query(store, &loop.uv, sql, index_min, on_rows, &got);
    ck_assert(!got.done); /* never before the call returns */
    T_RUN(&loop, got.done);
    t_loop_close(&loop);
    ck_assert_int_eq(got.calls, 1);
    return got;
}

static struct got query(struct store *store, const char *sql)
{
    return query_at(store, sql, 0);
}

static int64_t query_number(struct store *store, const char *sql)
{
    struct got got = query(store, sql);
    ck_assert_msg(got.err.code == ERR_OK, "%s: %s", sql, got.err.msg);
    ck_assert_uint_eq(got.rows.row_count, 1);
    ck_assert_int_eq(got.rows.values[0].type, WIRE_INTEGER);
    int64_t number = got.rows.values[0].integer;
    got_release(&got);
    return number;
}

static void expect_text(struct store *store, const char *sql, const char *text)
{
    struct got got = query(store, sql);
    ck_assert_msg(got.err.code == ERR_OK, "%s: %s", sql, got.err.msg);
    ck_assert_uint_eq(got.rows.row_count, 1);
    ck_assert_int_eq(got.rows.values[0].type, WIRE_TEXT);
    ck_assert_str_eq(got.rows.values[0].text, text);
    got_release(&got);
}

/* The sums of the tables, which nothing but the tests computes in SQL. */
static void expect_sums_hold(struct store *store)
{
    ck_assert_int_eq(
        query_number(store, "SELECT count(*) FROM jobs j WHERE replicas <> pending + assigned + "
                            "running + finished + failed + killed_tasks OR pending <> (SELECT "
                            "count(*) FROM tasks WHERE job_id = j.id AND state = 'pending') OR "
                            "replicas <> (SELECT count(*) FROM tasks WHERE job_id = j.id)"),
        0);
    ck_assert_int_eq(
        query_number(store, "SELECT count(*) FROM machines m WHERE task_count <> (SELECT count(*) "
                            "FROM tasks WHERE machine_id = m.id) OR reserved_cpu_milli <> (SELECT "
                            "coalesce(sum(cpu_milli), 0) FROM tasks t JOIN jobs j ON j.id = "
                            "t.job_id WHERE machine_id = m.id)"),
        0);
}

START_TEST(what_is_put_is_loaded_again)
{
    struct driver d = driver_new((uint64_t)_i + 1);
    const char *dir = t_dir();
    struct cell *empty = cell_new();
    struct store *store = open_store(dir, empty);
    ck_assert_uint_eq(store_index(store), 0);
    cell_free(empty);
    for (int i = 0; i < COMMANDS; i++) {
        driver_put(&d, store);
        if (draw_below(&d.seed, 60) != 0)
            continue;
        store_close(store);
        struct cell *loaded = cell_new();
        store = open_store(dir, loaded);
        cell_check(loaded);
        expect_same(d.cell, loaded);
        ck_assert_uint_eq(loaded->applied_index, d.cell->applied_index);
        ck_assert_uint_eq(loaded->applied_term, d.cell->applied_term);
        ck_assert_uint_eq(store_index(store), d.cell->applied_index);
        expect_sums_hold(store);
        cell_free(d.cell); /* from here on with what was loaded */
        d.cell = loaded;
    }
    store_close(store);
    ck_assert_uint_eq(count_files(dir, "corrupt"), 0);
    driver_release(&d);
}
END_TEST

/* What child and parent share: how much the child has put. */
struct progress {
    uint64_t put;
};

static void put_until_killed(const char *dir, uint64_t seed, struct progress *progress)
{
    struct driver d = driver_new(seed);
    struct cell *empty = cell_new();
    struct store *store = open_store(dir, empty);
    for (int i = 0; i < COMMANDS; i++) {
        /* Sometimes all at once, sometimes one transaction per entry. */
        if (draw_below(&d.seed, 2) == 0)
            wait_written(store, d.cell->applied_index);
        __atomic_store_n(&progress->put, d.cell->applied_index + 1, __ATOMIC_SEQ_CST);
        driver_put(&d, store);
    }
    for (;;)
        pause();
}

static void kill_at(uint64_t seed, uint64_t target)
{
    uint64_t digests[COMMANDS + 1];
    struct progress *progress =
        mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    const char *dir = t_dir();
    pid_t child = fork();
    if (child == 0)
        put_until_killed(dir, seed, progress);
    while (__atomic_load_n(&progress->put, __ATOMIC_SEQ_CST) < target) {
        ck_assert_int_eq(waitpid(child, NULL, WNOHANG), 0);
        sched_yield();
    }
    ck_assert_int_eq(kill(child, SIGKILL), 0);
    ck_assert_int_eq(waitpid(child, NULL, 0), child);

    struct driver d = driver_new(seed);
    struct cell *loaded = cell_new();
    digests[0] = cell_digest(d.cell);
    for (int i = 0; i < COMMANDS; i++) {
        (void)draw_below(&d.seed, 2); /* as the child did */
        delta_unref(driver_step(&d));
        digests[i + 1] = cell_digest(d.cell);
    }
    struct store *store = open_store(dir, loaded);
    ck_assert_uint_eq(count_files(dir, "corrupt"), 0);
    ck_assert_uint_le(loaded->applied_index, progress->put);
    ck_assert_uint_eq(cell_digest(loaded), digests[loaded->applied_index]);
    expect_sums_hold(store);
    store_close(store);
    cell_free(loaded);
    driver_release(&d);
    munmap(progress, sizeof *progress);
}

START_TEST(a_killed_writer_leaves_a_state_that_was)
{
    uint64_t seed = (uint64_t)_i * 1000 + 7;
    kill_at(seed, 1 + draw_below(&seed, COMMANDS));
}
END_TEST

/* An image being written while the driver goes on. */
struct imaging {
    void *token;
    void *bytes;
    size_t size;
    int rv;
};

static void imaging_run(void *arg)
{
    struct imaging *imaging = arg;
    imaging->rv = store_snapshot_write(imaging->token, &imaging->bytes, &imaging->size);
}

static void write_bytes(const char *path, const void *bytes, size_t size)
{
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(bytes, 1, size, file), size);
    ck_assert_int_eq(fclose(file), 0);
}

/* The image is a database that plain SQLite reads, and the cell in it is the one expected. */
static void expect_image(const void *bytes, size_t size, uint64_t index, uint64_t digest)
{
    const char *dir = t_dir();
    struct cell *cell = cell_new();
    sqlite3 *db = NULL;
    write_bytes(t_path(dir, "cell.db"), bytes, size);
    ck_assert_int_eq(sqlite3_open_v2(t_path(dir, "cell.db"), &db, SQLITE_OPEN_READONLY, NULL), 0);
    ck_assert_int_eq(sqlite3_exec(db, "SELECT * FROM task_list", NULL, NULL, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
    struct store *store = open_store(dir, cell);
    ck_assert_uint_eq(count_files(dir, "corrupt"), 0);
    ck_assert_uint_eq(cell->applied_index, index);
    ck_assert_uint_eq(cell_digest(cell), digest);
    store_close(store);
    cell_free(cell);
}

START_TEST(an_image_is_the_state_at_its_beginning)
{
    struct driver d = driver_new(11);
    struct cell *empty = cell_new();
    struct store *store = open_store(t_dir(), empty);
    for (int round = 0; round < 8; round++) {
        uv_thread_t thread;
        for (uint32_t n = draw_below(&d.seed, 40); n > 0; n--)
            driver_put(&d, store);
        struct imaging imaging = {.token = store_snapshot_begin(store)};
        uint64_t index = d.cell->applied_index, digest = cell_digest(d.cell);
        ck_assert_ptr_nonnull(imaging.token);
        ck_assert_ptr_null(store_snapshot_begin(store)); /* one at a time */
        ck_assert_int_eq(uv_thread_create(&thread, imaging_run, &imaging), 0);
        for (uint32_t n = 1 + draw_below(&d.seed, 40); n > 0; n--)
            driver_put(&d, store);
        wait_written(store, d.cell->applied_index); /* the image stops nobody */
        uv_thread_join(&thread);
        ck_assert_int_eq(imaging.rv, 0);
        store_snapshot_end(store, imaging.token);
        expect_image(imaging.bytes, imaging.size, index, index == 0 ? cell_digest(empty) : digest);
        free(imaging.bytes);
    }
    store_close(store);
    cell_free(empty);
    driver_release(&d);
}
END_TEST

static struct imaging image_of(struct store *store)
{
    struct imaging imaging = {.token = store_snapshot_begin(store)};
    imaging_run(&imaging);
    ck_assert_int_eq(imaging.rv, 0);
    store_snapshot_end(store, imaging.token);
    return imaging;
}

START_TEST(an_image_replaces_the_database)
{
    struct driver a = driver_new(21), b = driver_new(22);
    struct cell *scratch = cell_new(), *restored = cell_new();
    const char *dir_a = t_dir();
    struct store *store_a = open_store(dir_a, scratch), *store_b = open_store(t_dir(), scratch);
    for (int i = 0; i < 60; i++) {
        driver_put(&a, store_a);
        driver_put(&b, store_b);
        driver_put(&b, store_b);
    }
    struct imaging image = image_of(store_b);
    ck_assert_int_ge(query_number(store_a, "SELECT applied_index FROM meta"), 0);
    T_OK(store_replace(store_a, image.bytes, image.size, restored, &t_err));
    expect_same(b.cell, restored);
    ck_assert_uint_eq(store_index(store_a), 120);
    ck_assert_uint_eq(store_backlog(store_a), 0);
    ck_assert_int_eq(query_number(store_a, "SELECT applied_index FROM meta"), 120);
    driver_put(&b, store_a); /* and it goes on from there */
    wait_written(store_a, 121);
    ck_assert_int_eq(query_number(store_a, "SELECT applied_index FROM meta"), 121);
    store_close(store_a);
    store_close(store_b);
    cell_clear(restored);
    store_a = open_store(dir_a, restored);
    expect_same(b.cell, restored);
    ck_assert_uint_eq(count_files(dir_a, "new"), 0);
    store_close(store_a);
    free(image.bytes);
    cell_free(scratch), cell_free(restored);
    driver_release(&a), driver_release(&b);
}
END_TEST

START_TEST(an_image_that_is_none_is_refused_and_harms_nothing)
{
    struct driver d = driver_new(31);
    struct cell *scratch = cell_new();
    const char *dir = t_dir();
    struct store *store = open_store(dir, scratch);
    for (int i = 0; i < 100; i++)
        driver_put(&d, store);
    struct imaging image = image_of(store);
    uint8_t *bytes = image.bytes;
    T_REFUSED(store_replace(store, "", 0, scratch, &t_err), ERR_CORRUPT);
    T_REFUSED(store_replace(store, "no database at all", 18, scratch, &t_err), ERR_CORRUPT);
    T_REFUSED(store_replace(store, bytes, image.size / 2, scratch, &t_err), ERR_CORRUPT);
    memset(bytes + image.size / 2, 0x5a, 4096);
    T_REFUSED(store_replace(store, bytes, image.size, scratch, &t_err), ERR_CORRUPT);
    ck_assert_uint_eq(scratch->machine_count + scratch->job_count, 0);
    driver_put(&d, store);
    wait_written(store, 101);
    expect_sums_hold(store);
    store_close(store);
    store = open_store(dir, scratch);
    expect_same(d.cell, scratch);
    ck_assert_uint_eq(count_files(dir, "new"), 0);
    store_close(store);
    free(image.bytes);
    cell_free(scratch);
    driver_release(&d);
}
END_TEST

/* A database of 100 entries, closed. */
static const char *filled_dir(uint64_t seed)
{
    struct driver d = driver_new(seed);
    struct cell *empty = cell_new();
    const char *dir = t_dir();
    struct store *store = open_store(dir, empty);
    for (int i = 0; i < 100; i++)
        driver_put(&d, store);
    store_close(store);
    cell_free(empty);
    driver_release(&d);
    return dir;
}

static void change(const char *dir, const char *sql)
{
    sqlite3 *db;
    char *msg = NULL;
    ck_assert_int_eq(sqlite3_open(t_path(dir, "cell.db"), &db), SQLITE_OK);
    ck_assert_msg(sqlite3_exec(db, sql, NULL, NULL, &msg) == SQLITE_OK, "%s: %s", sql, msg);
    ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
}

/* The store opens with an empty cell, and the bad file is still there under another name. */
static void expect_set_aside(const char *dir)
{
    struct cell *cell = cell_new();
    struct store *store = open_store(dir, cell);
    ck_assert_uint_eq(cell->applied_index, 0);
    ck_assert_uint_eq(cell->machine_count + cell->job_count, 0);
    ck_assert_uint_eq(cell_digest(cell), cell_digest(cell_new()));
    ck_assert_uint_eq(count_files(dir, "cell.db.corrupt-[0-9]*$"), 1);
    struct driver d = driver_new(3);
    driver_put(&d, store);
    wait_written(store, 1);
    store_close(store);
    cell_free(cell);
    driver_release(&d);
}

static const char *const damages[] = {
    "UPDATE meta SET digest = 'ffffffffffffffff'",
    "UPDATE meta SET now_ms = now_ms + 1",
    "UPDATE meta SET request_seq = request_seq + 1",
    "DELETE FROM meta",
    "UPDATE tasks SET failures = failures + 1 WHERE job_id = 1 AND idx = 0",
    "UPDATE tasks SET state = 'sleeping' WHERE job_id = 1 AND idx = 0",
    "UPDATE tasks SET ports = '[1,2' WHERE job_id = 1 AND idx = 0",
    "UPDATE tasks SET idx = 1000000 WHERE job_id = 1 AND idx = 0",
    "DELETE FROM tasks WHERE job_id = 1 AND idx = 0",
    "DELETE FROM job_specs WHERE job_id = 1",
    "UPDATE job_specs SET spec = x'00' WHERE job_id = 1",
    "UPDATE jobs SET id = 1000000 WHERE id = 1",
    "UPDATE machines SET state = 'upside-down' WHERE id = 1",
    "UPDATE machines SET name = 'No Name' WHERE id = 1",
    "UPDATE machines SET id = 100 WHERE id = 1",
    "UPDATE requests SET code = 99",
    "UPDATE requests SET id_high = 0, id_low = 0",
    "DROP TABLE requests",
    "PRAGMA application_id = 1",
};

START_TEST(rows_that_contradict_the_digest_are_set_aside)
{
    const char *dir = filled_dir(5);
    change(dir, damages[_i]);
    expect_set_aside(dir);
}
END_TEST

START_TEST(a_file_that_is_no_database_is_set_aside)
{
    const char *dir = filled_dir(5);
    write_bytes(t_path(dir, "cell.db"), "this was a database once, long ago ..............", 48);
    expect_set_aside(dir);
    dir = filled_dir(5);
    ck_assert_int_eq(truncate(t_path(dir, "cell.db"), 8192), 0);
    expect_set_aside(dir);
}
END_TEST

START_TEST(a_schema_of_another_version_is_refused_and_kept)
{
    const char *dir = filled_dir(5);
    struct cell *cell = cell_new();
    struct store *store = NULL;
    change(dir, "PRAGMA user_version = 2");
    T_REFUSED(store_open(dir, cell, &store, &t_err), ERR_STATE);
    T_CONTAINS(t_err.msg, "schema is version 2");
    T_REFUSED(store_open("/nonexistent", cell, &store, &t_err), ERR_IO);
    T_CONTAINS(t_err.msg, "/nonexistent/cell.db");
    ck_assert_uint_eq(count_files(dir, "corrupt"), 0);
    change(dir, "PRAGMA user_version = 1");
    store = open_store(dir, cell);
    ck_assert_uint_eq(cell->applied_index, 100);
    store_close(store);
    cell_free(cell);
}
END_TEST

/* A cell with one job of three tasks, one of which runs on the machine "m1". */
static struct world small_world(void)
{
    struct world w = world_new();
    machine_id machine = world_machine(&w, "m1", amounts(2500, 100, 0, 10));
    struct job_spec spec = spec_named("web", "ada", 200);
    words_add(&spec.argv, "it's");
    words_add(&spec.argv, "--port=8080");
    words_add(&spec.argv, "");
    words_add(&spec.ports, "http");
    spec.limit.v[RES_PORTS] = 1;
    spec.replicas = 3;
    job_id job = world_job(&w, spec);
    ck_assert(world_place(&w, attempt_of(world_task(&w, job, 0)), machine, NULL, 0));
    ck_assert(world_place(&w, attempt_of(world_task(&w, job, 1)), machine, NULL, 0));
    struct report report = {.task = attempt_of(world_task(&w, job, 0)),
                            .kind = REPORT_RUNNING,
                            .pid = 42,
                            .ports = {8080}};
    ck_assert(world_report(&w, machine, report));
    return w;
}

/* Everything there is in the world, as one delta with the events given. */
static struct delta *world_delta(struct world *w, const struct event *events, size_t event_count)
{
    struct delta *delta = delta_full(w->cell);
    delta->full = false;
    delta->index = 1;
    delta->events = xcalloc(event_count, sizeof *events);
    delta->event_count = event_count;
    for (size_t i = 0; i < event_count; i++)
        delta->events[i] = events[i];
    if (event_count > 0)
        delta->event_seq = events[event_count - 1].seq;
    return delta;
}

static struct store *small_store(struct delta *delta)
{
    struct cell *empty = cell_new();
    struct store *store = open_store(t_dir(), empty);
    store_put(store, delta);
    delta_unref(delta);
    wait_written(store, 1);
    cell_free(empty);
    return store;
}

START_TEST(the_views_speak_in_names)
{
    struct world w = small_world();
    struct event events[] = {
        {.seq = 1, .time_ms = 1000, .kind = EVENT_SUBMITTED, .job = {1}, .task_index = -1},
        {.seq = 2,
         .time_ms = 1000,
         .kind = EVENT_LOST,
         .job = {1},
         .task_index = 2,
         .machine = {1},
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

START_TEST(a_forgotten_job_takes_its_tasks_along)
{
    struct world w = small_world();
    world_job(&w, spec_named("other", "ada", 100));
    struct store *store = small_store(world_delta(&w, NULL, 0));
    struct event event = {.seq = 1, .kind = EVENT_FORGOTTEN, .job = {1}, .task_index = -1};
    struct delta *delta = xcalloc(1, sizeof *delta);
    delta->index = 2;
    delta->references = 1;
    delta->forgotten = xcalloc(1, sizeof *delta->forgotten);
    delta->forgotten[0] = 1;
    delta->forgotten_count = 1;
    delta->events = xcalloc(1, sizeof event);
    delta->events[0] = event;
    delta->event_count = delta->event_seq = 1;
    store_put(store, delta);
    delta_unref(delta);
    wait_written(store, 2);
    ck_assert_int_eq(query_number(store, "SELECT count(*) FROM jobs"), 1);
    ck_assert_int_eq(query_number(store, "SELECT count(*) FROM job_specs"), 1);
    ck_assert_int_eq(query_number(store, "SELECT count(*) FROM tasks"), 1);
    expect_text(store, "SELECT task FROM event_list WHERE kind = 'forgotten'", "web");
    store_close(store);
    world_release(&w);
}
END_TEST

START_TEST(only_so_many_events_are_kept)
{
    struct world w = small_world();
    struct event events[12] = {0};
    for (size_t i = 0; i < ARRAY_SIZE(events); i++)
        events[i] = (struct event){.seq = i + 1, .kind = EVENT_MACHINE_UP, .task_index = -1};
    for (size_t i = 10; i < ARRAY_SIZE(events); i++)
        events[i].seq = CELL_EVENTS_MAX + i - 5;
    struct store *store = small_store(world_delta(&w, events, ARRAY_SIZE(events)));
    ck_assert_int_eq(query_number(store, "SELECT min(seq) FROM events"), 7);
    ck_assert_int_eq(query_number(store, "SELECT count(*) FROM events"), 6);
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
    {"VACUUM INTO '/tmp/x'", ERR_DENIED, "queries can read"},
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
    ck_assert_int_eq(access("/tmp/x", F_OK), -1);
    store_close(store);
    world_release(&w);
}
END_TEST

START_TEST(what_reads_is_answered)
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
    store_query(store, &loop.uv, "SELECT applied_index FROM meta", 3, on_rows, &early);
    store_query(store, &loop.uv, "SELECT applied_index FROM meta", 99, on_rows, &late);
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
        store_query(store, &loop.uv,
                    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT 1 FROM n) "
                    "SELECT count(*) FROM n",
                    0, on_rows, &endless[i]);
    T_RUN_FOR(&loop, 4 * QUERY_TIME_MS_MAX, late.done);
    ck_assert_int_eq(late.err.code, ERR_TIMEOUT);
    T_CONTAINS(late.err.msg, "99 did not come");
    for (size_t i = 0; i < ARRAY_SIZE(endless); i++) {
        T_RUN_FOR(&loop, 4 * QUERY_TIME_MS_MAX, endless[i].done);
        ck_assert(endless[i].err.code == ERR_LIMIT || endless[i].err.code == ERR_TIMEOUT);
    }
    ck_assert_int_eq(endless[0].err.code, ERR_LIMIT);
    T_CONTAINS(endless[0].err.msg, "more than 5000 ms");
    got_release(&early);
    store_close(store);
    t_loop_close(&loop);
    world_release(&w);
}
END_TEST

START_TEST(closing_answers_what_waits)
{
    struct t_loop loop;
    struct world w = small_world();
    struct store *store = small_store(world_delta(&w, NULL, 0));
    struct got waiting = {0};
    t_loop_init(&loop);
    store_query(store, &loop.uv, "SELECT 1", 99, on_rows, &waiting);
    store_close(store);
    T_RUN(&loop, waiting.done);
    ck_assert_int_eq(waiting.err.code, ERR_CLOSED);
    t_loop_close(&loop);
    world_release(&w);
}
END_TEST

struct fatal {
    int calls;
    struct err err;
};

static void on_fatal(void *data, const struct err *err)
{
    struct fatal *fatal = data;
    fatal->err = *err;
    __atomic_fetch_add(&fatal->calls, 1, __ATOMIC_SEQ_CST);
}

START_TEST(a_full_disk_is_told_once_and_harms_nothing)
{
    struct driver d = driver_new(41);
    struct cell *empty = cell_new();
    struct fatal fatal = {0};
    const char *dir = t_dir();
    struct store *store = open_store(dir, empty);
    uint64_t digests[2000];
    store_on_fatal(store, on_fatal, &fatal);
    signal(SIGXFSZ, SIG_IGN); /* then a write says EFBIG */
    struct rlimit old, small;
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){300000, old.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    digests[0] = cell_digest(d.cell);
    uint64_t end = clock_mono_ms() + T_DEADLINE_MS;
    while (__atomic_load_n(&fatal.calls, __ATOMIC_SEQ_CST) == 0) {
        ck_assert_uint_lt(clock_mono_ms(), end);
        ck_assert_uint_lt(d.cell->applied_index, ARRAY_SIZE(digests) - 1);
        driver_put(&d, store);
        digests[d.cell->applied_index] = cell_digest(d.cell);
        while (store_backlog(store) > 0) /* a transaction of its own for each */
            usleep(100);
    }
    driver_put(&d, store); /* dropped */
    uint64_t index = store_index(store);
    ck_assert_uint_lt(index, d.cell->applied_index);
    void *token = store_snapshot_begin(store);
    struct imaging imaging = {.token = token};
    imaging_run(&imaging);
    ck_assert_int_ne(imaging.rv, 0);
    store_snapshot_end(store, token);
    store_close(store);
    ck_assert_int_eq(fatal.calls, 1);
    ck_assert_int_eq(fatal.err.code, ERR_IO);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
    store = open_store(dir, empty);
    ck_assert_uint_eq(count_files(dir, "corrupt"), 0);
    ck_assert_uint_eq(empty->applied_index, index);
    ck_assert_uint_eq(cell_digest(empty), digests[index]);
    store_close(store);
    cell_free(empty);
    driver_release(&d);
}
END_TEST

/* Put every task of the job `rounds` times; returns rows per second. */
static uint64_t put_all_tasks(struct store *store, struct world *w, uint64_t first_index)
{
    uint64_t start_us = clock_mono_us();
    for (uint64_t round = 0; round < 3; round++) {
        struct delta *delta = world_delta(w, NULL, 0);
        delta->index = first_index + round;
        store_put(store, delta);
        delta_unref(delta);
    }
    wait_written(store, first_index + 2);
    return UINT64_C(3) * BULK_TASKS * 1000000 / (clock_mono_us() - start_us);
}

START_TEST(a_large_job_is_written_and_loaded)
{
    struct world w = world_new();
    struct cell *cell = cell_new();
    const char *dir = t_dir();
    struct store *store = open_store(dir, cell);
    struct job_spec spec = spec_named("bulk", "ada", 100);
    spec.replicas = BULK_TASKS;
    world_job(&w, spec);
    uint64_t rows_per_s = put_all_tasks(store, &w, 1);
    w.cell->applied_index = 3;
    ck_assert_int_eq(query_number(store, "SELECT count(*) FROM tasks"), BULK_TASKS);
    store_close(store);
    uint64_t start_us = clock_mono_us();
    store = open_store(dir, cell);
    printf("store: %" PRIu64 " task rows/s written, %" PRIu64 " task rows/s loaded\n", rows_per_s,
           UINT64_C(1000000) * BULK_TASKS / (clock_mono_us() - start_us));
    ck_assert_uint_eq(cell_digest(cell), cell_digest(w.cell));
    store_close(store);
    cell_free(cell);
    world_release(&w);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("borgmaster_store");
    TCase *rows = tcase_create("rows");
    tcase_set_timeout(rows, 120);
    tcase_add_loop_test(rows, what_is_put_is_loaded_again, 0, 6);
    tcase_add_loop_test(rows, a_killed_writer_leaves_a_state_that_was, 0, KILLS);
    tcase_add_test(rows, a_forgotten_job_takes_its_tasks_along);
    tcase_add_test(rows, only_so_many_events_are_kept);
    tcase_add_test(rows, a_full_disk_is_told_once_and_harms_nothing);
    tcase_add_test(rows, a_large_job_is_written_and_loaded);
    suite_add_tcase(suite, rows);
    TCase *images = tcase_create("images");
    tcase_set_timeout(images, 120);
    tcase_add_test(images, an_image_is_the_state_at_its_beginning);
    tcase_add_test(images, an_image_replaces_the_database);
    tcase_add_test(images, an_image_that_is_none_is_refused_and_harms_nothing);
    tcase_add_loop_test(images, rows_that_contradict_the_digest_are_set_aside, 0,
                        ARRAY_SIZE(damages));
    tcase_add_test(images, a_file_that_is_no_database_is_set_aside);
    tcase_add_test(images, a_schema_of_another_version_is_refused_and_kept);
    suite_add_tcase(suite, images);
    TCase *queries = tcase_create("queries");
    tcase_set_timeout(queries, 120);
    tcase_add_test(queries, the_views_speak_in_names);
    tcase_add_test(queries, a_task_told_to_stop_is_shown_as_stopping);
    tcase_add_test(queries, a_statement_that_does_more_than_read_is_refused);
    tcase_add_test(queries, what_reads_is_answered);
    tcase_add_test(queries, queries_end_in_time_and_wait_for_their_index);
    tcase_add_test(queries, closing_answers_what_waits);
    suite_add_tcase(suite, queries);
    return t_main(suite);
}
