/*
 * big_cell.h - make a cell of many machines and tasks by commands only.
 *
 * Machines are in racks of 40 and have attributes; jobs have 1 to 5,000 tasks and priorities of all
 * bands; one task in a hundred fits nowhere and is pending, all others run. Every placement carries
 * its decision as the scheduler's do, so the history is as large as in a cell with a real past.
 */
#ifndef BENCH_BIG_CELL_H
#define BENCH_BIG_CELL_H

#include "cmd.h"

struct big_cell {
    uint32_t machines;
    uint32_t tasks;
    uint64_t seed;
    /* Called after some thousand rows have changed; they are in `changes`, which is then cleared.
     */
    void (*on_changes)(void *data, const struct cell *cell, const struct changes *changes);
    void *data;
};

/* Make it in an empty cell. */
void big_cell_make(const struct big_cell *wish, struct cell *cell);

#endif
