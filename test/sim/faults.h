/*
 * faults.h - what goes wrong, drawn from the seed.
 *
 * A seed has a profile: which kinds of faults, how often, for how long; some have none at all, some
 * everything. Nothing here takes away what a replica had been told is on its disk: any number of
 * replicas may be down, cut off, slow or short of room, and no acknowledged command may be lost.
 */
#ifndef SIM_FAULTS_H
#define SIM_FAULTS_H

#include "world.h"

/* Draw the profile, and the options of the cell with it (timers, how often snapshots are taken).
 * Before world_cell_start(). */
void faults_draw(struct world_cell *ret_cell);
/* From now on; after the world has its nodes. */
void faults_start(void);
/* No more, and everything is mended: ways, disks, clocks; who is down comes back. */
void faults_stop(void);
/* One line of what there was. */
void faults_tell(void);

#endif
