/*
 * clock.h - the only access to clocks and randomness. libcell/base|model|sched must not include
 * this.
 */
#ifndef CELL_CLOCK_H
#define CELL_CLOCK_H

#include "base.h"

uint64_t clock_wall_ms(void); /* since 1970; may jump; goes into commands and events */
uint64_t clock_mono_ms(void); /* for time-outs */
uint64_t clock_mono_us(void); /* for measurements */

/* Return 16 random bytes as two non-zero numbers, for request ids. Panics if the kernel fails. */
void random_id(uint64_t ret_id[2]);

#endif
