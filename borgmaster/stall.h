/*
 * stall.h - says when the loop was held up.
 *
 * Heartbeats, elections and borglets all wait for the loop. A turn that worked for longer than
 * STALL_MS is logged:
 *
 *     loop.stalled ms=180 cpu_ms=175 also=3
 *
 * cpu_ms is what this thread computed meanwhile: if it is much less than ms, the disk or the
 * machine was slow and not we. `also` counts further such turns of the second before.
 */
#ifndef BORGMASTER_STALL_H
#define BORGMASTER_STALL_H

#include <uv.h>

enum { STALL_MS = 50, STALL_SAY_MS = 1000 };

/* Watch the loop from its first turn on, for as long as the process lives. Before it runs. */
void stall_watch(uv_loop_t *loop);

#endif
