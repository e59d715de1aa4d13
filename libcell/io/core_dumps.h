/*
 * core_dumps.h - control of core dumps, because the memory of every program contains private keys.
 */
#ifndef CELL_CORE_DUMPS_H
#define CELL_CORE_DUMPS_H

#include "base.h"

/* Set whether this process writes a core file when it crashes. Child processes inherit the soft
 * limit; the hard limit is unchanged, so that a task can still enable its own core files. */
void core_dumps_allow(bool allowed);

#endif
