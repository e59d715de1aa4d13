/*
 * core_dumps.h - private keys are in the memory of every program of the house.
 */
#ifndef CELL_CORE_DUMPS_H
#define CELL_CORE_DUMPS_H

#include "base.h"

/*
 * Whether this process leaves an image of its memory when it crashes. Programs that it starts
 * inherit the limit; the hard one stays, so that a task that wants its cores can still have them.
 */
void core_dumps_allow(bool allowed);

#endif
