/*
 * grid.h - the machines by what is free on them, to find good ones without looking at all.
 *
 * Machines that are up lie in bins: by their shape (ram for cpu), by how scarce they are,
 * by how much cpu is free on them and by how much ram, in steps of one in 128. Machines of a bin
 * score nearly alike, so one of each bin that can have room is scored first (the sample), then all
 * those of the bins that looked best. Empty machines of equal size score exactly alike: they lie
 * apart, and a few of them do.
 *
 * What this misses of the best score is measured by `make bench-sched`. That nothing suits is never
 * missed: it is said only when all bins that can have room were gone through.
 *
 * The grid follows the view by its ring of changes when it is asked, and not before.
 */
#ifndef CELL_GRID_H
#define CELL_GRID_H

#include "shortlist.h"

/* Sizes of machines that have shelves of their own while they are empty. */
enum { GRID_SIZES = 32 };

struct grid {
    struct shelf **shelves; /* by scarcity, shape, then size; NULL: never had a machine */
    struct resources sizes[GRID_SIZES];
    uint32_t size_count;
    uint32_t *bin;         /* per machine: where it lies, or none */
    uint32_t *next, *prev; /* the others of its bin */
    uint32_t machine_count, machine_capacity;
    uint64_t stamp;          /* of the view's last change it knows */
    struct samples *samples; /* room for a search to work in */
};

void grid_release(struct grid *grid);
/*
 * Fill an empty list for a job without wishes, with care for the first `wanted` of it. Adds to
 * `scanned` the machines it looked at.
 */
void grid_search(struct grid *grid, const struct view *view, const struct view_job *job,
                 const struct resources *need, uint32_t wanted, struct shortlist *list,
                 uint64_t *scanned);

#endif
