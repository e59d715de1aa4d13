/*
 * stall.h - logs when the loop was blocked.
 *
 * Heartbeats, elections and borglets all wait for the loop. A turn that took longer than STALL_MS
 * is logged:
 *
 *     loop.stalled ms=180 cpu_ms=175 also=3
 *
 * cpu_ms is the processor time of this thread in that turn: if it is much less than ms, the disk or
 * the machine was slow. `also` counts further such turns in the second before.
 */
#ifndef BORGMASTER_STALL_H
#define BORGMASTER_STALL_H

#include <uv.h>

enum { STALL_MS = 50, STALL_SAY_MS = 1000 };

/* Watch the loop until the process ends. Call it before the loop runs. */
void stall_watch(uv_loop_t *loop);

#endif
