/*
 * disk.h - how full the disk of a replica is, and whether it answers at all.
 *
 * Asked every few seconds in libuv's pool, for a disk may hang: the loop only reads the last answer
 * and how long ago that was. One question is under way at a time.
 */
#ifndef BORGMASTER_DISK_H
#define BORGMASTER_DISK_H

#include "base.h"

#include <uv.h>

enum { DISK_ASK_MS = 5000 };

struct disk;

struct disk_answer {
    uint64_t free_bytes, bytes; /* of the file system; 0: it could not say */
    uint64_t used_bytes;        /* by the directory and what is in it */
};

/* `dir` is borrowed. It lives as long as the process. */
struct disk *disk_new(uv_loop_t *loop, const char *dir);
struct disk_answer disk_last(const struct disk *disk);
/* Since the disk was last asked and answered. */
uint64_t disk_silent_ms(const struct disk *disk);

#endif
