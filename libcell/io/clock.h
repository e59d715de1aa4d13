/*
 * clock.h - the only clocks of the house. libcell/base|model|sched may not include this.
 */
#ifndef CELL_CLOCK_H
#define CELL_CLOCK_H

#include "base.h"

uint64_t clock_wall_ms(void); /* since 1970; may jump; goes into commands and events */
uint64_t clock_mono_ms(void); /* for time-outs */
uint64_t clock_mono_us(void); /* for measurements */

/* 16 bytes of randomness as two non-zero numbers: request ids. Panics when the kernel has none. */
void random_id(uint64_t ret_id[2]);

#endif
