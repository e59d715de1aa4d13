/*
 * test_borgmaster_damage.c - bytes change anywhere in cell.db and its log: the rows that are loaded
 * or answered afterwards are right, or the file is refused.
 */
#include "log.h"
#include "store_fixture.h"
#include "store_vfs.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>

enum { COMMANDS = 300, SAMPLES = 90, IDENTITY = 1 };

/* A store as a crash leaves it, with half of its pages in cell.db and the rest in the log beside
 * it; and as a clean end leaves it. */
struct victim {
    uint64_t digests[COMMANDS + 1]; /* by index */
    char *db, *wal, *closed;
    uint32_t db_size, wal_size, closed_size;
};

static char *file_read(const char *path, uint32_t *ret_size)
{
    struct stat st;
    int fd = open(path, O_RDONLY);
    ck_assert_msg(fd >= 0 && fstat(fd, &st) == 0, "%s", path);
    char *bytes = xcalloc(1, (size_t)st.st_size + 1);
    ck_assert_int_eq(read(fd, bytes, (size_t)st.st_size), st.st_size);
    close(fd);
    *ret_size = (uint32_t)st.st_size;
    return bytes;
}

static void file_write(const char *path, const char *bytes, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ck_assert_int_eq(write(fd, bytes, size), (ssize_t)size);
    close(fd);
}

static struct victim *victim_new(uint64_t seed)
{
    struct victim *v = xcalloc(1, sizeof *v);
    struct driver d = driver_new(seed);
    const char *dir = t_dir();
    struct cell *empty = cell_new();
    struct store *store = open_store(dir, empty);
    v->digests[0] = cell_digest(d.cell);
    for (int i = 0; i < COMMANDS; i++) {
        if (i == COMMANDS / 2) { /* closing moves everything into the file */
            store_close(store);
            cell_clear(empty);
            store = open_store(dir, empty);
        }
        driver_put(&d, store);
        wait_written(store, d.cell->applied_index); /* a separate transaction */
        v->digests[d.cell->applied_index] = cell_digest(d.cell);
    }
    v->db = file_read(t_path(dir, "cell.db"), &v->db_size);
    v->wal = file_read(t_path(dir, "cell.db-wal"), &v->wal_size);
    ck_assert_uint_gt(v->wal_size, 100000);
    store_close(store);
    v->closed = file_read(t_path(dir, "cell.db"), &v->closed_size);
    cell_free(empty);
    driver_release(&d);
    return v;
}

static void victim_free(struct victim *v)
{
    free(v->db);
    free(v->wal);
    free(v->closed);
    free(v);
}

static void clear(const char *dir)
{
    char command[256];
    snprintf(command, sizeof command, "rm -f %s/cell.db*", dir);
    ck_assert_int_eq(system(command), 0);
}

/* Write the files into the directory and remove all others. */
static void victim_lay(const struct victim *v, const char *dir)
{
    clear(dir);
    file_write(t_path(dir, "cell.db"), v->db, v->db_size);
    file_write(t_path(dir, "cell.db-wal"), v->wal, v->wal_size);
}

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

/* Return a hash over all rows through every index; false if the database is refused. */
static bool all_rows_hash(struct store *store, uint64_t *ret)
{
    static const char *const queries[] = {
        "SELECT * FROM meta",
        "SELECT * FROM machines",
        "SELECT * FROM machine_attributes",
        "SELECT * FROM jobs",
        "SELECT * FROM job_specs",
        "SELECT * FROM job_limits",
        "SELECT * FROM tasks",
        "SELECT * FROM quotas",
        "SELECT * FROM identities",
        "SELECT * FROM events",
        "SELECT * FROM requests",
        "SELECT * FROM resource_names",
        "SELECT rowid FROM jobs INDEXED BY jobs_by_name WHERE name > ''",
        "SELECT job_id, idx FROM tasks INDEXED BY tasks_by_machine WHERE machine_id > 0",
        "SELECT seq FROM events INDEXED BY events_by_job WHERE job_name > ''"};
    *ret = 0;
    for (size_t i = 0; i < ARRAY_SIZE(queries); i++) {
        struct got got = query(store, queries[i]);
        if (got.err.code != ERR_OK) {
            ck_assert_msg(got.err.code == ERR_UNAVAILABLE, "%s: %s", queries[i], got.err.msg);
            got_release(&got);
            return false;
        }
        for (size_t k = 0; k < (size_t)got.rows.row_count * got.rows.column_count; k++) {
            const struct wire_value *value = &got.rows.values[k];
            *ret = *ret * 31 + (uint64_t)value->integer;
            for (const char *c = value->type == WIRE_TEXT ? value->text : ""; *c != '\0'; c++)
                *ret = *ret * 31 + (uint64_t)*c;
        }
        got_release(&got);
    }
    return true;
}

struct outcomes {
    size_t same, older, aside, refused;
};

/* Open the files and read everything: the state existed before, or the file is set aside. */
static void judge(const struct victim *v, const char *dir, uint64_t hash, struct outcomes *o)
{
    struct cell *cell = cell_new();
    struct fatal fatal = {0};
    uint64_t now;
    struct store *store = open_store(dir, cell);
    store_on_fatal(store, on_fatal, &fatal);
    cell_check(cell);
    uint64_t index = cell->applied_index;
    ck_assert_uint_le(index, COMMANDS);
    ck_assert_msg(cell_digest(cell) == v->digests[index], "wrong state at index %" PRIu64, index);
    bool whole = all_rows_hash(store, &now);
    ck_assert_int_eq(__atomic_load_n(&fatal.calls, __ATOMIC_SEQ_CST), whole ? 0 : 1);
    if (!whole)
        ck_assert_int_eq(fatal.err.code, ERR_CORRUPT);
    if (whole && index == COMMANDS)
        ck_assert_msg(now == hash, "wrong rows");
    o->refused += !whole;
    o->same += whole && index == COMMANDS;
    o->older += whole && index < COMMANDS && index > 0;
    o->aside += whole && index == 0;
    store_close(store);
    if (!whole) { /* the answers so far were right; the next start rebuilds it */
        cell_clear(cell);
        store = open_store(dir, cell);
        ck_assert_uint_eq(store_index(store), 0);
        store_close(store);
    }
    cell_free(cell);
}

static uint64_t hash_of_all(const struct victim *v)
{
    uint64_t hash;
    struct cell *cell = cell_new();
    const char *dir = t_dir();
    victim_lay(v, dir);
    struct store *store = open_store(dir, cell);
    ck_assert_uint_eq(cell->applied_index, COMMANDS);
    ck_assert(all_rows_hash(store, &hash));
    store_close(store);
    cell_free(cell);
    return hash;
}

/* Change one byte, in one bit or completely. */
static void flip(char *byte, uint64_t *seed)
{
    *byte = (char)(*byte ^ (draw_below(seed, 2) == 0 ? 1 << draw_below(seed, 8) : 0xff));
}

static void outcomes_print(const char *what, const struct outcomes *o)
{
    printf("damage: %s: %zu same, %zu older, %zu set aside, %zu found by readers\n", what, o->same,
           o->older, o->aside, o->refused);
    fflush(stdout);
}

START_TEST(a_flipped_byte_after_a_crash_never_gives_a_wrong_state)
{
    struct victim *v = victim_new((uint64_t)_i + 1);
    uint64_t seed = (uint64_t)_i + 1, hash = hash_of_all(v);
    struct outcomes db = {0}, wal = {0};
    const char *dir = t_dir();
    for (int i = 0; i < SAMPLES; i++) {
        bool in_db = draw_below(&seed, 2) == 0;
        char *byte =
            in_db ? v->db + draw_below(&seed, v->db_size) : v->wal + draw_below(&seed, v->wal_size);
        char was = *byte;
        flip(byte, &seed);
        victim_lay(v, dir);
        *byte = was;
        judge(v, dir, hash, in_db ? &db : &wal);
    }
    outcomes_print("cell.db after a crash", &db);
    outcomes_print("its log", &wal);
    ck_assert_uint_gt(db.aside, 0);
    ck_assert_uint_gt(wal.older, 0);
    victim_free(v);
}
END_TEST

START_TEST(a_flipped_byte_after_a_clean_end_never_gives_a_wrong_state)
{
    struct victim *v = victim_new((uint64_t)_i + 21);
    uint64_t seed = (uint64_t)_i + 1, hash = hash_of_all(v);
    struct outcomes o = {0};
    const char *dir = t_dir();
    for (int i = 0; i < SAMPLES; i++) {
        char *byte = v->closed + draw_below(&seed, v->closed_size), was = *byte;
        flip(byte, &seed);
        clear(dir);
        file_write(t_path(dir, "cell.db"), v->closed, v->closed_size);
        *byte = was;
        judge(v, dir, hash, &o);
    }
    outcomes_print("cell.db after a clean end", &o);
    ck_assert_uint_gt(o.aside, 0);
    ck_assert_uint_gt(o.refused, 0);
    ck_assert_uint_eq(o.older, 0);
    victim_free(v);
}
END_TEST

/* After a power failure or on a dying disk, the end is missing or consists of zeros. */
START_TEST(a_torn_file_never_gives_a_wrong_state)
{
    struct victim *v = victim_new(7);
    uint64_t seed = 77, hash = hash_of_all(v);
    struct outcomes o = {0};
    const char *dir = t_dir();
    for (int i = 0; i < SAMPLES / 2; i++) {
        victim_lay(v, dir);
        bool in_db = draw_below(&seed, 2) == 0, zeros = draw_below(&seed, 2) == 0;
        const char *path = t_path(dir, in_db ? "cell.db" : "cell.db-wal");
        uint32_t size = in_db ? v->db_size : v->wal_size, at = draw_below(&seed, size);
        ck_assert_int_eq(truncate(path, (off_t)at), 0);
        if (zeros)
            ck_assert_int_eq(truncate(path, (off_t)size), 0);
        judge(v, dir, hash, &o);
    }
    outcomes_print("a torn file", &o);
    victim_free(v);
}
END_TEST

/* Pages that are not in memory change in file and log while the store runs. */
START_TEST(damage_under_a_running_store_is_detected_by_a_read)
{
    struct victim *v = victim_new(11);
    uint64_t seed = 5, hash = hash_of_all(v);
    size_t found = 0;
    const char *dir = t_dir();
    for (int i = 0; i < 60; i++) {
        victim_lay(v, dir);
        struct cell *cell = cell_new();
        struct fatal fatal = {0};
        uint64_t now = 0;
        struct store *store = open_store(dir, cell);
        store_on_fatal(store, on_fatal, &fatal);
        bool in_db = i % 2 == 0;
        size_t at = draw_below(&seed, in_db ? v->db_size : v->wal_size);
        char byte = (char)~(in_db ? v->db : v->wal)[at];
        int fd = open(t_path(dir, in_db ? "cell.db" : "cell.db-wal"), O_WRONLY);
        ck_assert_int_eq(pwrite(fd, &byte, 1, (off_t)at), 1);
        close(fd);
        bool whole = all_rows_hash(store, &now);
        ck_assert_msg(!whole || now == hash, "wrong rows were answered");
        ck_assert_int_eq(__atomic_load_n(&fatal.calls, __ATOMIC_SEQ_CST), whole ? 0 : 1);
        found += !whole;
        store_close(store);
        cell_free(cell);
    }
    printf("damage below a running store: found %zu of 60, the rest was not read\n", found);
    ck_assert_uint_gt(found, 5);
    victim_free(v);
}
END_TEST

/* A page with valid contents, but at a wrong position. */
START_TEST(swapped_pages_are_detected)
{
    struct victim *v = victim_new(13);
    struct outcomes o = {0};
    uint64_t seed = 3, hash = hash_of_all(v);
    const char *dir = t_dir();
    for (int i = 0; i < 40; i++) {
        uint32_t pages = v->db_size / STORE_PAGE_BYTES;
        size_t a = 1 + draw_below(&seed, pages - 1);
        size_t b = 1 + draw_below(&seed, pages - 1);
        victim_lay(v, dir);
        int fd = open(t_path(dir, "cell.db"), O_WRONLY);
        ck_assert_int_eq(pwrite(fd, v->db + a * STORE_PAGE_BYTES, STORE_PAGE_BYTES,
                                (off_t)(b * STORE_PAGE_BYTES)),
                         STORE_PAGE_BYTES);
        close(fd);
        judge(v, dir, hash, &o);
    }
    victim_free(v);
}
END_TEST

START_TEST(files_of_another_cell_are_set_aside)
{
    struct victim *v = victim_new(17);
    const char *dir = t_dir();
    struct cell *cell = cell_new();
    struct store *store;
    victim_lay(v, dir);
    T_OK(store_open(dir, IDENTITY + 1, cell, &store, &t_err));
    ck_assert_uint_eq(cell->applied_index, 0);
    ck_assert_uint_eq(store_index(store), 0);
    store_close(store);
    cell_free(cell);
    victim_free(v);
}
END_TEST

START_TEST(the_database_records_the_entries_that_the_log_must_have)
{
    const char *dir = t_dir();
    struct driver d = driver_new(19);
    struct cell *cell = cell_new();
    struct store *store = open_store(dir, cell);
    ck_assert_uint_eq(store_stored_index(store), 0);
    for (uint64_t i = 1; i <= 20; i++) {
        struct delta *delta = driver_step(&d);
        delta->stored_index = i - 1; /* the log is always one entry behind */
        store_put(store, delta);
        delta_unref(delta);
    }
    store_close(store);
    cell_clear(cell);
    store = open_store(dir, cell);
    ck_assert_uint_eq(cell->applied_index, 20);
    ck_assert_uint_eq(store_stored_index(store), 19);
    store_close(store);
    cell_free(cell);
    driver_release(&d);
}
END_TEST

int main(void)
{
    log_open((enum log_level)(LOG_ERROR + 1), "test"); /* the store logs much about damage */
    Suite *suite = suite_create("borgmaster_damage");
    TCase *t = tcase_create("damage");
    tcase_set_timeout(t, 300);
    tcase_add_loop_test(t, a_flipped_byte_after_a_crash_never_gives_a_wrong_state, 0, 2);
    tcase_add_loop_test(t, a_flipped_byte_after_a_clean_end_never_gives_a_wrong_state, 0, 2);
    tcase_add_test(t, a_torn_file_never_gives_a_wrong_state);
    tcase_add_test(t, damage_under_a_running_store_is_detected_by_a_read);
    tcase_add_test(t, swapped_pages_are_detected);
    tcase_add_test(t, files_of_another_cell_are_set_aside);
    tcase_add_test(t, the_database_records_the_entries_that_the_log_must_have);
    suite_add_tcase(suite, t);
    return t_main(suite);
}
