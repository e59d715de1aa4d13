/*
 * faults.h - faults drawn from the seed.
 *
 * A seed has a profile: the kinds of faults, their rate and duration; some seeds have no faults,
 * some all kinds. No fault removes data that a disk has acknowledged: any number of replicas may be
 * down, cut off, slow or out of space, and no acknowledged command may be lost.
 */
#ifndef SIM_FAULTS_H
#define SIM_FAULTS_H

#include "world.h"

/* Draw the profile and the options of the cell (timers, snapshot threshold). Call it before
 * world_cell_start(). */
void faults_draw(struct world_cell *ret_cell);
/* Start the faults; call it when the world has its nodes. */
void faults_start(void);
/* Stop the faults and repair everything: network, disks, clocks; nodes that are down come back. */
void faults_stop(void);
/* Print one line about the faults. */
void faults_tell(void);

#endif
