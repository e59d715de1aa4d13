/*
 * cell_parts.c - what a replica does with a whole cell, part by part, alone and on one thread.
 *
 *     cell_parts DIR
 *
 * DIR/cell.db is a cell as big_cell makes them. The database stays as it is.
 */
#include "lib/bench.h"

#include "clock.h"
#include "cmd.h"
#include "sched.h"
#include "store.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double from_ms;

static double now_ms(void)
{
    return (double)clock_mono_us() / 1000;
}

static size_t heap_bytes(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

static size_t heap_from;

static void begin(void)
{
    heap_from = heap_bytes();
    from_ms = now_ms();
}

static void end(const char *what)
{
    double took_ms = now_ms() - from_ms;
    double grown = (double)heap_bytes() - (double)heap_from;
    printf("| %s | %.0f | %.0f |\n", what, took_ms, grown / 1048576);
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
    end("the scheduler's view of it");
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

int main(int argc, char **argv)
{
    struct cell *cell = cell_new();
    struct store *store;
    struct err err;
    if (argc != 2)
        bench_die("usage: cell_parts DIR");
    printf("| part | ms | MiB kept |\n|---|---|---|\n");
    begin();
    if (store_open(argv[1], cell, &store, &err) != 0)
        bench_die("%s", err.msg);
    end("store_open (load of the database)");
    begin();
    uint64_t digest = cell_digest(cell);
    end("cell_digest");
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
