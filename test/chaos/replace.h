/*
 * replace.h - kill a master for good and replace it.
 */
#ifndef CHAOS_REPLACE_H
#define CHAOS_REPLACE_H

#include "conductor.h"

/*
 * Kill a master, have `borgctl cell replace-replica` add a new one with an empty disk, start it
 * when the cell has assigned a number to it, and wait until it is a member. Users work meanwhile.
 * Needs a closed sandbox without active faults, because a change of members needs all others.
 */
void replace_run(struct conductor *c, size_t member);

#endif
