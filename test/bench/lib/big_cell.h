/*
 * big_cell.h - a cell of many machines and tasks, made by commands and nothing else.
 *
 * Machines in racks of 40 with attributes; jobs of 1 to 5,000 tasks at priorities of all bands; one
 * task in a hundred fits nowhere and waits, all others run. Every placement carries its decision as
 * the scheduler's do, so the history is as large as that of a cell that came to this by itself.
 */
#ifndef BENCH_BIG_CELL_H
#define BENCH_BIG_CELL_H

#include "cmd.h"

struct big_cell {
    uint32_t machines;
    uint32_t tasks;
    uint64_t seed;
    /* Each time some thousand rows have changed: they are in `changes`, which is cleared after. */
    void (*on_changes)(void *data, const struct cell *cell, const struct changes *changes);
    void *data;
};

/* Into an empty cell. */
void big_cell_make(const struct big_cell *wish, struct cell *cell);

#endif
