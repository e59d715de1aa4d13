/*
 * store_fixture.h - code shared by tests of the store: changing cells, and answers to queries.
 */
#ifndef TEST_STORE_FIXTURE_H
#define TEST_STORE_FIXTURE_H

#include "draw_cmd.h"
#include "store.h"
#include "store_reader.h"
#include "testlib.h"

/* The store starts this program again as a reader, so it must act as one before main() runs. */
__attribute__((constructor)) static void run_as_reader(int argc, char **argv)
{
    if (reader_is(argc, argv))
        reader_run(argv);
}

/* A cell that is driven by random commands, which are equal for equal seeds. */
struct driver {
    struct cell *cell;
    struct changes changes;
    uint64_t seed;
};

static inline struct driver driver_new(uint64_t seed)
{
    return (struct driver){.cell = cell_new(), .seed = seed};
}

static inline void driver_release(struct driver *d)
{
    cell_free(d->cell);
    changes_release(&d->changes);
}

/* Apply the next command as the next Raft entry and return its changes. */
static inline struct delta *driver_step(struct driver *d)
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

/* Put a large command as a replica does: piece by piece, each with its delta. */
static inline void driver_put(struct driver *d, struct store *store)
{
    enum { PIECE_UNITS = 2 };
    struct answer answer;
    struct apply apply;
    struct cmd cmd = draw_cmd(&d->seed, d->cell);
    changes_clear(&d->changes);
    cell_apply_begin(&apply, d->cell, &cmd, &d->changes, &answer);
    for (bool over = false; !over; changes_clear(&d->changes)) {
        over = cell_apply_go_on(&apply, PIECE_UNITS);
        d->cell->applied_index += over;
        d->cell->applied_term = 1 + d->cell->applied_index / 100;
        struct delta *delta = delta_collect(d->cell, &d->changes);
        delta->more = !over;
        store_put(store, delta);
        delta_unref(delta);
    }
    cmd_release(&cmd);
}

/* Like t_dir(), but usable outside a test, where check.h's macros end the program; in memory if
 * possible, because fuzzing writes a file each time. */
static inline const char *dir_without_test(void)
{
    static char dir[64];
    snprintf(dir, sizeof dir, "%s/cell-test-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    ASSERT(mkdtemp(dir) != NULL);
    t_dir_owner = getpid();
    str_copy(t_dirs[t_dir_count++], sizeof t_dirs[0], dir);
    atexit(t_remove_dirs);
    return dir;
}

static inline struct store *open_store(const char *dir, struct cell *cell)
{
    struct store *store = NULL;
    T_OK(store_open(dir, 1, cell, &store, &t_err));
    return store;
}

/* Wait until everything that was put is in the database. */
static inline void wait_written(struct store *store, uint64_t index)
{
    uint64_t end = clock_mono_ms() + T_DEADLINE_MS;
    while (store_index(store) < index) {
        ck_assert_msg(clock_mono_ms() < end, "index %" PRIu64 " is not written", index);
        usleep(1000);
    }
}

/* The answer to a query. */
struct got {
    bool done;
    int calls;
    struct err err;
    struct wire_rows rows;
};

static inline void got_release(struct got *got)
{
    wire_rows_release(&got->rows);
    *got = (struct got){0};
}

static inline void on_rows(void *data, const struct err *err, const void *rows, size_t size)
{
    struct got *got = data;
    got->done = true;
    got->calls++;
    if (err != NULL)
        got->err = *err;
    else
        T_OK(wire_unpack_rows(rows, size, &got->rows, &t_err));
}

static inline void ask(struct store *store, struct t_loop *loop, const char *user, const char *sql,
                       uint64_t index_min, struct got *got)
{
    struct store_asker asker = {user, strcmp(user, "root") == 0};
    store_query(store, &loop->uv, &asker, sql, index_min, on_rows, got);
}

static inline struct got query_by(struct store *store, const char *user, const char *sql,
                                  uint64_t index_min)
{
    struct t_loop loop;
    struct got got = {0};
    t_loop_init(&loop);
    ask(store, &loop, user, sql, index_min, &got);
    ck_assert(!got.done); /* never before the call returns */
    T_RUN(&loop, got.done);
    t_loop_close(&loop);
    ck_assert_int_eq(got.calls, 1);
    return got;
}

/* Query as a user who may read everything. */
static inline struct got query_at(struct store *store, const char *sql, uint64_t index_min)
{
    return query_by(store, "root", sql, index_min);
}

static inline struct got query(struct store *store, const char *sql)
{
    return query_at(store, sql, 0);
}

static inline int64_t query_number(struct store *store, const char *sql)
{
    struct got got = query(store, sql);
    ck_assert_msg(got.err.code == ERR_OK, "%s: %s", sql, got.err.msg);
    ck_assert_uint_eq(got.rows.row_count, 1);
    ck_assert_int_eq(got.rows.values[0].type, WIRE_INTEGER);
    int64_t number = got.rows.values[0].integer;
    got_release(&got);
    return number;
}

static inline void expect_text(struct store *store, const char *sql, const char *text)
{
    struct got got = query(store, sql);
    ck_assert_msg(got.err.code == ERR_OK, "%s: %s", sql, got.err.msg);
    ck_assert_uint_eq(got.rows.row_count, 1);
    ck_assert_int_eq(got.rows.values[0].type, WIRE_TEXT);
    ck_assert_str_eq(got.rows.values[0].text, text);
    got_release(&got);
}

/* Return a cell with one job of three tasks, one of which runs on the machine "m1". */
static inline struct world small_world(void)
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

/* Return everything in the world as one delta with the given events. */
static inline struct delta *world_delta(struct world *w, const struct event *events,
                                        size_t event_count)
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

static inline struct store *small_store(struct delta *delta)
{
    struct cell *empty = cell_new();
    struct store *store = open_store(t_dir(), empty);
    store_put(store, delta);
    delta_unref(delta);
    wait_written(store, 1);
    cell_free(empty);
    return store;
}

#endif
