/*
 * test_borgmaster_store.c - rows survive failures of the process and of the file.
 */
#include "store_fixture.h"

#include <ctype.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

enum { COMMANDS = 400, KILLS = 12, BULK_TASKS = 100000 };

static size_t count_files(const char *dir, const char *part)
{
    char command[256], said[32] = "";
    snprintf(command, sizeof command, "ls %s | grep -c -- '%s'", dir, part);
    FILE *pipe = popen(command, "r");
    ck_assert_ptr_nonnull(fgets(said, sizeof said, pipe));
    pclose(pipe);
    return strtoul(said, NULL, 10);
}

/* The sums of the tables; only tests compute them in SQL. */
static void expect_sums_hold(struct store *store)
{
    ck_assert_int_eq(
        query_number(store,
                     "SELECT count(*) FROM jobs j WHERE task_count <> pending + assigned + "
                     "running + finished + failed + killed_tasks + unwanted OR pending <> (SELECT "
                     "count(*) FROM tasks WHERE job_id = j.id AND state = 'pending') OR "
                     "task_count <> (SELECT count(*) FROM tasks WHERE job_id = j.id)"),
        0);
    ck_assert_int_eq(
        query_number(store, "SELECT count(*) FROM machines m WHERE task_count <> (SELECT count(*) "
                            "FROM tasks WHERE machine_id = m.id) OR reserved_cpu_milli <> (SELECT "
                            "coalesce(sum(cpu_milli), 0) FROM task_list WHERE machine = m.name "
                            "AND alloc IS NULL)"),
        0);
}

START_TEST(rows_that_were_put_are_loaded_again)
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
        cell_free(d.cell); /* continue with the loaded cell */
        d.cell = loaded;
    }
    store_close(store);
    ck_assert_uint_eq(count_files(dir, "corrupt"), 0);
    driver_release(&d);
}
END_TEST

/* Memory shared by child and parent: how much the child has put. */
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

START_TEST(a_killed_writer_leaves_an_earlier_state)
{
    uint64_t seed = (uint64_t)_i * 1000 + 7;
    kill_at(seed, 1 + draw_below(&seed, COMMANDS));
}
END_TEST

/* An image that is written while the driver continues. */
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

/* The image is a database that plain SQLite reads, and it contains the expected cell. */
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

START_TEST(an_image_is_the_state_at_its_start)
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
        wait_written(store, d.cell->applied_index); /* the image delays nobody */
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
    driver_put(&b, store_a); /* and it continues from there */
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

/* Closing a reader of the old file must not touch the new file's write-ahead log. */
START_TEST(an_unfinished_image_survives_the_replacement_of_its_file)
{
    struct driver a = driver_new(66), b = driver_new(62);
    struct cell *scratch = cell_new();
    const char *dir = t_dir();
    struct store *store_a = open_store(dir, scratch), *store_b = open_store(t_dir(), scratch);
    for (int i = 0; i < 50; i++) {
        driver_put(&a, store_a);
        driver_put(&b, store_b);
    }
    struct imaging old = {.token = store_snapshot_begin(store_a)}, image = image_of(store_b);
    wait_written(store_a, 50);
    ck_assert_int_eq(query_number(store_a, "SELECT count(*) > 0 FROM machines"), 1);
    T_OK(store_replace(store_a, image.bytes, image.size, scratch, &t_err));
    for (int i = 0; i < 50; i++)
        driver_put(&b, store_a);
    wait_written(store_a, 100);
    imaging_run(&old);
    ck_assert_int_eq(old.rv, 0);
    store_snapshot_end(store_a, old.token);
    expect_image(old.bytes, old.size, 50, cell_digest(a.cell));
    ck_assert_uint_eq(count_files(dir, "cell.db-wal"), 1);
    ck_assert_int_eq(query_number(store_a, "SELECT applied_index FROM meta"), 100);
    store_close(store_a);
    store_close(store_b);
    cell_clear(scratch);
    store_a = open_store(dir, scratch);
    expect_same(b.cell, scratch);
    store_close(store_a);
    free(image.bytes), free(old.bytes);
    cell_free(scratch);
    driver_release(&a), driver_release(&b);
}
END_TEST

START_TEST(an_invalid_image_is_refused_without_harm)
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

/* A closed database of 100 entries. */
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

/* The store opens with an empty cell, and the bad file is kept under another name. */
static void expect_set_aside(const char *dir)
{
    struct cell *cell = cell_new(), *fresh = cell_new();
    struct store *store = open_store(dir, cell);
    ck_assert_uint_eq(cell->applied_index, 0);
    ck_assert_uint_eq(cell->machine_count + cell->job_count, 0);
    ck_assert_uint_eq(cell_digest(cell), cell_digest(fresh));
    cell_free(fresh);
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
    "DELETE FROM job_specs_private_rows WHERE job_id = 1",
    "UPDATE job_specs_private_rows SET spec = x'00' WHERE job_id = 1",
    "UPDATE jobs SET id = 1000000 WHERE id = 1",
    "UPDATE machines SET state = 'upside-down' WHERE id = 1",
    "UPDATE machines SET name = 'No Name' WHERE id = 1",
    "UPDATE machines SET id = 100 WHERE id = 1",
    "UPDATE machine_attributes SET value = 'elsewhere' WHERE key = 'rack'",
    "UPDATE machine_attributes SET key = 'KEY' WHERE key = 'rack'",
    "UPDATE machine_attributes SET machine_id = 1000 + machine_id WHERE key = 'rack'",
    "DELETE FROM machine_attributes",
    "UPDATE requests_private_rows SET code = 99",
    "UPDATE requests_private_rows SET id_high = 0, id_low = 0",
    "DROP TABLE requests_private_rows",
    "PRAGMA application_id = 1",
};

START_TEST(rows_that_contradict_the_digest_are_set_aside)
{
    const char *dir = filled_dir(8);
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
    change(dir, "PRAGMA user_version = 99");
    T_REFUSED(store_open(dir, 1, cell, &store, &t_err), ERR_STATE);
    T_CONTAINS(t_err.msg, "schema is version 99");
    T_REFUSED(store_open("/nonexistent", 1, cell, &store, &t_err), ERR_IO);
    T_CONTAINS(t_err.msg, "/nonexistent/cell.db");
    ck_assert_uint_eq(count_files(dir, "corrupt"), 0);
    change(dir, "PRAGMA user_version = 7");
    store = open_store(dir, cell);
    ck_assert_uint_eq(cell->applied_index, 100);
    store_close(store);
    cell_free(cell);
}
END_TEST

START_TEST(the_tasks_of_a_removed_job_are_removed)
{
    struct world w = small_world();
    world_job(&w, spec_named("other", "ada", 100));
    struct store *store = small_store(world_delta(&w, NULL, 0));
    struct event event = {
        .seq = 1, .kind = EVENT_FORGOTTEN, .job = {1}, .job_name = "web", .task_index = -1};
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

START_TEST(the_number_of_events_is_bounded)
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

START_TEST(a_full_disk_is_reported_once_without_harm)
{
    struct driver d = driver_new(41);
    struct cell *empty = cell_new();
    struct fatal fatal = {0};
    const char *dir = t_dir();
    struct store *store = open_store(dir, empty);
    uint64_t digests[2000];
    store_on_fatal(store, on_fatal, &fatal);
    signal(SIGXFSZ, SIG_IGN); /* then a write fails with EFBIG */
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
        while (store_backlog(store) > 0) /* a separate transaction for each */
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

/* Overwrite the page, the root of an index, which loading does not read. */
static void damage_page_of(const char *dir, const char *index)
{
    char sql[128];
    int64_t page;
    sqlite3 *db;
    sqlite3_stmt *statement;
    snprintf(sql, sizeof sql, "SELECT rootpage FROM sqlite_schema WHERE name = '%s'", index);
    ck_assert_int_eq(sqlite3_open(t_path(dir, "cell.db"), &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_step(statement), SQLITE_ROW);
    page = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(db);
    char bytes[4096];
    memset(bytes, 0x77, sizeof bytes);
    int fd = open(t_path(dir, "cell.db"), O_WRONLY);
    ck_assert_int_eq(pwrite(fd, bytes, sizeof bytes, (page - 1) * 4096), 4096);
    close(fd);
}

START_TEST(damage_found_while_writing_does_not_stop_the_next_start)
{
    const char *dir = filled_dir(5);
    struct cell *cell = cell_new();
    struct fatal fatal = {0};
    damage_page_of(dir, "jobs_by_name");
    struct store *store = open_store(dir, cell);
    struct driver d = {.cell = cell, .seed = 9};
    ck_assert_uint_eq(cell->applied_index, 100);
    store_on_fatal(store, on_fatal, &fatal);
    uint64_t end = clock_mono_ms() + T_DEADLINE_MS;
    while (__atomic_load_n(&fatal.calls, __ATOMIC_SEQ_CST) == 0) {
        ck_assert_uint_lt(clock_mono_ms(), end);
        driver_put(&d, store);
    }
    store_close(store);
    ck_assert_int_eq(fatal.calls, 1);
    ck_assert_int_eq(fatal.err.code, ERR_CORRUPT);
    driver_release(&d);
    expect_set_aside(dir);
}
END_TEST

/* Put every task of the job three times: running on a machine, on another one, and unchanged. The
 * index by machine has to follow. Returns rows per second of processor time. */
static uint64_t put_all_tasks(struct store *store, struct world *w)
{
    clock_t start = clock();
    for (uint32_t round = 0; round < 3; round++) {
        struct delta *delta = world_delta(w, NULL, 0);
        delta->index = round + 1;
        for (size_t i = 0; round < 2 && i < delta->task_count; i++) {
            delta->tasks[i].state = TASK_RUNNING;
            delta->tasks[i].machine.v = 1 + (uint32_t)(i * 7919 + round) % 1000;
        }
        store_put(store, delta);
        delta_unref(delta);
    }
    wait_written(store, 3);
    return UINT64_C(3) * BULK_TASKS * CLOCKS_PER_SEC / (uint64_t)(clock() - start + 1);
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
    uint64_t rows_per_s = put_all_tasks(store, &w);
    w.cell->applied_index = 3;
    ck_assert_int_eq(query_number(store, "SELECT count(*) FROM tasks"), BULK_TASKS);
    store_close(store);
    clock_t start = clock();
    store = open_store(dir, cell);
    printf("store: %" PRIu64 " task rows/s of processor time written, %" PRIu64 " loaded\n",
           rows_per_s, UINT64_C(1) * BULK_TASKS * CLOCKS_PER_SEC / (uint64_t)(clock() - start + 1));
    ck_assert_uint_eq(cell_digest(cell), cell_digest(w.cell));
    store_close(store);
    cell_free(cell);
    world_release(&w);
}
END_TEST

/* Put commands in deltas of several commands, as a replica may have collected them. */
static void drive_in_runs(struct driver *d, struct store *store, int commands, int run)
{
    for (int i = 0; i < commands; i++) {
        struct answer answer;
        struct cmd cmd = draw_cmd(&d->seed, d->cell);
        cell_apply(d->cell, &cmd, &d->changes, &answer);
        cmd_release(&cmd);
        d->cell->applied_index++;
        d->cell->applied_term = 1 + d->cell->applied_index / 100;
        if ((i + 1) % run != 0 && i + 1 < commands)
            continue;
        struct delta *delta = delta_collect(d->cell, &d->changes);
        store_put(store, delta);
        delta_unref(delta);
        changes_clear(&d->changes);
    }
}

static void rows_print(struct buf *to, sqlite3_stmt *rows)
{
    int columns = sqlite3_column_count(rows);
    for (int i = 0; i < columns; i++) {
        const void *value = sqlite3_column_blob(rows, i);
        int size = sqlite3_column_bytes(rows, i);
        buf_printf(to, " %s%d:", sqlite3_column_name(rows, i), sqlite3_column_type(rows, i));
        for (int k = 0; k < size; k++)
            buf_printf(to, isprint(((const unsigned char *)value)[k]) ? "%c" : "\\%02x",
                       ((const unsigned char *)value)[k]);
    }
}

static void expect_same_rows(const char *dir, const char *other, const char *table)
{
    const char *dirs[] = {dir, other};
    sqlite3 *db[2];
    sqlite3_stmt *rows[2];
    char sql[128];
    int rc[2] = {SQLITE_ROW, SQLITE_ROW};
    snprintf(sql, sizeof sql, "SELECT * FROM %s", table);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(sqlite3_open(t_path(dirs[i], "cell.db"), &db[i]), SQLITE_OK);
        ck_assert_int_eq(sqlite3_prepare_v2(db[i], sql, -1, &rows[i], NULL), SQLITE_OK);
    }
    while (rc[0] == SQLITE_ROW) {
        struct buf a CLEANUP(buf_release) = {0}, b CLEANUP(buf_release) = {0};
        for (int i = 0; i < 2; i++)
            rc[i] = sqlite3_step(rows[i]);
        ck_assert_int_eq(rc[0], rc[1]);
        if (rc[0] != SQLITE_ROW)
            break;
        rows_print(&a, rows[0]);
        rows_print(&b, rows[1]);
        ck_assert_msg(strcmp(buf_text(&a), buf_text(&b)) == 0, "%s:\n%s\n%s", table, buf_text(&a),
                      buf_text(&b));
    }
    for (int i = 0; i < 2; i++) {
        sqlite3_finalize(rows[i]);
        sqlite3_close(db[i]);
    }
}

/* One replica gets each command separately; another many at once; a third starts with the image
 * that the second made, and gets pieces. */
START_TEST(replicas_have_equal_rows_however_they_got_them)
{
    enum { BEFORE = 300, AFTER = 200 };
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
                                         "events",
                                         "requests_private_rows"};
    struct driver d[3];
    struct store *stores[3];
    const char *dirs[3];
    struct cell *empty = cell_new(), *loaded = cell_new();
    void *image;
    size_t size;
    for (int i = 0; i < 3; i++) {
        d[i] = driver_new((uint64_t)_i + 1);
        dirs[i] = t_dir();
        stores[i] = open_store(dirs[i], empty);
    }
    drive_in_runs(&d[0], stores[0], BEFORE + AFTER, 1);
    drive_in_runs(&d[1], stores[1], BEFORE, 17);
    void *token = store_snapshot_begin(stores[1]);
    ck_assert_int_eq(store_snapshot_write(token, &image, &size), 0);
    store_snapshot_end(stores[1], token);
    T_OK(store_replace(stores[2], image, size, loaded, &t_err));
    cell_free(d[2].cell);
    d[2].cell = loaded;
    d[2].seed = d[1].seed;
    drive_in_runs(&d[1], stores[1], AFTER, AFTER);
    for (int i = 0; i < AFTER; i++)
        driver_put(&d[2], stores[2]);
    for (int i = 0; i < 3; i++)
        store_close(stores[i]);
    for (size_t t = 0; t < ARRAY_SIZE(tables); t++) {
        expect_same_rows(dirs[0], dirs[1], tables[t]);
        expect_same_rows(dirs[0], dirs[2], tables[t]);
    }
    for (int i = 0; i < 3; i++)
        driver_release(&d[i]);
    free(image);
    cell_free(empty);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("borgmaster_store");
    TCase *rows = tcase_create("rows");
    tcase_set_timeout(rows, 120);
    tcase_add_loop_test(rows, rows_that_were_put_are_loaded_again, 0, 6);
    tcase_add_loop_test(rows, a_killed_writer_leaves_an_earlier_state, 0, KILLS);
    tcase_add_test(rows, the_tasks_of_a_removed_job_are_removed);
    tcase_add_loop_test(rows, replicas_have_equal_rows_however_they_got_them, 0, 6);
    tcase_add_test(rows, the_number_of_events_is_bounded);
    tcase_add_test(rows, a_full_disk_is_reported_once_without_harm);
    tcase_add_test(rows, damage_found_while_writing_does_not_stop_the_next_start);
    tcase_add_test(rows, a_large_job_is_written_and_loaded);
    suite_add_tcase(suite, rows);
    TCase *images = tcase_create("images");
    tcase_set_timeout(images, 120);
    tcase_add_test(images, an_image_is_the_state_at_its_start);
    tcase_add_test(images, an_image_replaces_the_database);
    tcase_add_test(images, an_unfinished_image_survives_the_replacement_of_its_file);
    tcase_add_test(images, an_invalid_image_is_refused_without_harm);
    tcase_add_loop_test(images, rows_that_contradict_the_digest_are_set_aside, 0,
                        ARRAY_SIZE(damages));
    tcase_add_test(images, a_file_that_is_no_database_is_set_aside);
    tcase_add_test(images, a_schema_of_another_version_is_refused_and_kept);
    suite_add_tcase(suite, images);
    return t_main(suite);
}
