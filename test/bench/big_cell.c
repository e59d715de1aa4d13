/*
 * big_cell.c - write a cell of many machines and tasks as the database of a replica.
 *
 *     big_cell DIR --machines N --tasks N
 *
 * Writes DIR/cell.db as a replica would after all these commands. `borgctl cell restore` makes a
 * cell from it (scripts/bench).
 */
#include "lib/bench.h"
#include "lib/big_cell.h"

#include "clock.h"
#include "store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] = "big_cell DIR --machines N --tasks N";

enum { BACKLOG_MAX = 8, BACKLOG_LOOK_US = 1000 };

static void big_cell_on_changes(void *data, const struct cell *cell, const struct changes *changes)
{
    struct store *store = data;
    while (store_backlog(store) >= BACKLOG_MAX)
        usleep(BACKLOG_LOOK_US); /* tidy: a program without a loop waits for the store's thread */
    struct delta *delta = delta_collect(cell, changes);
    store_put(store, delta);
    delta_unref(delta);
}

int main(int argc, char **argv)
{
    struct big_cell wish = {.seed = 1, .on_changes = big_cell_on_changes};
    struct cell *cell = cell_new();
    struct store *store;
    struct err err;
    if (argc != 6 || strcmp(argv[2], "--machines") != 0 || strcmp(argv[4], "--tasks") != 0)
        bench_die("usage: %s", usage);
    wish.machines = (uint32_t)bench_arg(argc, argv, 2, usage);
    wish.tasks = (uint32_t)bench_arg(argc, argv, 4, usage);
    if (store_open(argv[1], 0, cell, &store, &err) != 0)
        bench_die("%s", err.msg);
    if (cell->applied_index != 0)
        bench_die("there is a cell in %s already", argv[1]);
    cell->applied_index = 1; /* the first entry of a new log names its members */
    cell->applied_term = 1;
    wish.data = store;
    uint64_t from_ms = clock_mono_ms();
    big_cell_make(&wish, cell);
    store_close(store);
    printf("%" PRIu32 " machines, %" PRIu64 " jobs, %" PRIu32 " tasks, %" PRIu64
           " events: made in %.1f s\n",
           cell->machine_count, cell->job_count, wish.tasks, cell->event_seq,
           (double)(clock_mono_ms() - from_ms) / 1000);
    cell_free(cell);
    return 0;
}
