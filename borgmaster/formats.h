/*
 * formats.h - which formats the masters of a cell know, as each has told.
 *
 * Masters of two releases may work in one cell. Before the cell uses a later format, the leader has
 * to have heard from every master that it knows it (libcell/model/format.c). Pure; the leader's.
 */
#ifndef BORGMASTER_FORMATS_H
#define BORGMASTER_FORMATS_H

#include "cell.h"

enum { FORMATS_SILENT_MS = 5000 }; /* what a master said longer ago may have been another release */

struct formats {
    struct {
        uint64_t id;
        uint32_t format;
        uint64_t heard_ms;
    } rows[MASTER_ROWS_MAX];
    size_t count;
};

/* A master said that it knows formats up to this one. */
void formats_heard(struct formats *formats, uint64_t id, uint32_t format, uint64_t now_ms);
/* The latest format that all these masters know. 0: one of them has not been heard lately; `why`
 * says which. Otherwise `why` says which master knows the least, when that is less than
 * CELL_FORMAT. */
uint32_t formats_common(const struct formats *formats, const struct masters *masters,
                        uint64_t now_ms, struct err *why);

#endif
