/*
 * cell_parts.c - measure operations of a replica on a whole cell, on one thread.
 *
 *     cell_parts DIR
 *
 * DIR/cell.db is a cell made by big_cell. The database is not changed.
 */
#include "lib/bench.h"

#include "clock.h"
#include "leader.h"
#include "sched.h"
#include "store.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static size_t heap_bytes(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

/* The present measurement. */
static struct {
    uint64_t us;
    clock_t cpu; /* of all threads */
    size_t heap;
} from;

static void begin(void)
{
    from.us = clock_mono_us();
    from.cpu = clock();
    from.heap = heap_bytes();
}

static void end(const char *what)
{
    double ms = (double)(clock_mono_us() - from.us) / 1000;
    double cpu_ms = (double)(clock() - from.cpu) * 1000 / CLOCKS_PER_SEC;
    double grown = (double)heap_bytes() - (double)from.heap;
    printf("| %s | %.0f | %.0f | %.0f |\n", what, ms, cpu_ms, grown / 1048576);
    fflush(stdout);
}

static size_t tasks_of(const struct cell *cell)
{
    size_t count = 0;
    LIST_EACH(l, &cell->jobs)
    count += CONTAINER_OF(l, struct job, link)->task_count;
    return count;
}

static void measure_sched(const struct cell *cell)
{
    struct cmd_schedule decided;
    begin();
    struct delta *delta = delta_full(cell);
    end("delta_full (copy of the cell)");
    begin();
    struct sched *sched = sched_new();
    sched_update(sched, delta);
    end("the scheduler's view");
    begin();
    bool some = sched_pass(sched, &decided);
    end(some ? "first pass (decides)" : "first pass (nothing to do)");
    begin();
    while (sched_pass(sched, &decided))
        ;
    end("further passes");
    begin();
    delta_unref(delta);
    end("delta_unref");
    begin();
    sched_free(sched);
    end("sched_free");
}

/* The leader's loop runs this ten times a second. */
static void measure_tick(const struct cell *cell)
{
    static task_id wake[LEADER_WAKE_MAX];
    static struct cmd due[LEADER_DUE_MAX];
    struct loss loss = {0};
    uint64_t *heard_ms = xcalloc(cell->machine_count, sizeof *heard_ms);
    begin();
    for (int i = 0; i < 10; i++)
        leader_due(cell, heard_ms, &loss, 1, 1, wake, due);
    end("leader_due, 10 times (a second of the leader's timer)");
    free(heard_ms);
}

int main(int argc, char **argv)
{
    struct cell *cell = cell_new();
    struct store *store;
    struct err err;
    if (argc != 2)
        bench_die("usage: cell_parts DIR");
    printf("| part | ms | cpu ms | MiB kept |\n|---|---|---|---|\n");
    begin();
    if (store_open(argv[1], 0, cell, &store, &err) != 0)
        bench_die("%s", err.msg);
    end("store_open (load of the database)");
    begin();
    uint64_t digest = cell_digest(cell);
    end("cell_digest");
    measure_tick(cell);
    measure_sched(cell);
    begin();
    void *token = store_snapshot_begin(store), *bytes;
    size_t size;
    if (token == NULL || store_snapshot_write(token, &bytes, &size) != 0)
        bench_die("no image");
    end("snapshot image");
    store_snapshot_end(store, token);
    struct cell *copy = cell_new();
    begin();
    if (store_replace(store, bytes, size, copy, &err) != 0)
        bench_die("%s", err.msg);
    end("store_replace (install of that image)");
    if (cell_digest(copy) != digest)
        bench_die("the copy differs");
    begin();
    cell_free(copy);
    end("cell_free");
    size_t tasks = tasks_of(cell);
    printf("\n%u machines, %" PRIu64 " jobs, %zu tasks; image %.1f MiB; bytes: task %zu, job %zu, "
           "machine %zu\n",
           cell->machine_count, cell->job_count, tasks, (double)size / 1048576, sizeof(struct task),
           sizeof(struct job), sizeof(struct machine));
    free(bytes);
    store_close(store);
    cell_free(cell);
    return 0;
}
