/*
 * disk.h - measures how full a replica's disk is, and whether the disk answers.
 *
 * The question is asked every DISK_ASK_MS in libuv's pool, because a disk may hang. The loop only
 * reads the last answer and its age. One question is under way at a time.
 */
#ifndef BORGMASTER_DISK_H
#define BORGMASTER_DISK_H

#include "base.h"

#include <uv.h>

enum { DISK_ASK_MS = 5000 };

struct disk;

struct disk_answer {
    uint64_t free_bytes, bytes; /* of the file system; 0: unknown */
    uint64_t used_bytes;        /* by the directory and its files */
};

/* `dir` is borrowed. The object lasts as long as the process. */
struct disk *disk_new(uv_loop_t *loop, const char *dir);
struct disk_answer disk_last(const struct disk *disk);
/* Returns the time since the disk was last asked and answered. */
uint64_t disk_silent_ms(const struct disk *disk);

#endif
