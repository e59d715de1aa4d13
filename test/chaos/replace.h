/*
 * replace.h - a master dies for good, and another takes its place.
 */
#ifndef CHAOS_REPLACE_H
#define CHAOS_REPLACE_H

#include "conductor.h"

/*
 * Kill a master, have `borgctl cell replace-replica` put a new one with an empty disk in its place,
 * start that when the cell has given it a number, wait until it is a member. Users work meanwhile.
 * In a closed sandbox, with no fault under way: whoever changes the members wants the others well.
 */
void replace_run(struct conductor *c, size_t member);

#endif
