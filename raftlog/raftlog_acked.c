/*
 * raftlog_acked.c - a table of numbers in one block of a file.
 */
#include "raftlog_acked.h"

#include "clock.h"
#include "hash.h"
#include "log.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ACKED_MAGIC UINT64_C(0x424f524741434b44) /* "BORGACKD" */

/* All big-endian. */
struct block {
    uint64_t magic;
    uint64_t wall_ms;                 /* wall-clock time of the write */
    uint64_t numbers[2 * ACKED_ROWS]; /* id and index alternately */
    uint64_t hash;                    /* of everything before it */
};

static uint64_t block_hash(const struct block *b)
{
    return hash_bytes(0, b, offsetof(struct block, hash));
}

void raftlog_acked_open(struct raftlog_acked *acked, const char *dir)
{
    char path[1088];
    struct block b;
    *acked = (struct raftlog_acked){.fd = -1};
    snprintf(path, sizeof path, "%s/acked", dir);
    acked->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (acked->fd < 0) {
        log_warn("acked.open_failed file=%s reason=%s", path, strerror(errno));
        return;
    }
    if (pread(acked->fd, &b, sizeof b, 0) != sizeof b || be64toh(b.magic) != ACKED_MAGIC ||
        be64toh(b.hash) != block_hash(&b))
        return;
    uint64_t now_ms = clock_mono_ms(), wall_ms = clock_wall_ms(), then_ms = be64toh(b.wall_ms);
    uint64_t age_ms = wall_ms > then_ms ? MIN(wall_ms - then_ms, now_ms) : 0;
    for (size_t i = 0; i < ACKED_ROWS; i++)
        acked->rows[i] = (struct acked_row){be64toh(b.numbers[2 * i]),
                                            be64toh(b.numbers[2 * i + 1]), now_ms - age_ms};
}

void raftlog_acked_close(struct raftlog_acked *acked)
{
    raftlog_acked_save(acked);
    if (acked->fd >= 0)
        close(acked->fd);
    acked->fd = -1;
}

/* Return the row of `id`, a free row, or that of the lowest number, which was removed long ago. */
static struct acked_row *row_of(struct raftlog_acked *acked, uint64_t id)
{
    struct acked_row *best = &acked->rows[0];
    for (size_t i = 0; i < ACKED_ROWS; i++) {
        if (acked->rows[i].id == id)
            return &acked->rows[i];
        if (acked->rows[i].id < best->id)
            best = &acked->rows[i];
    }
    *best = (struct acked_row){.id = id};
    return best;
}

void raftlog_acked_note(struct raftlog_acked *acked, uint64_t id, uint64_t index, uint64_t now_ms)
{
    const struct acked_row *known = raftlog_acked_find(acked, id);
    if (index == 0 || (known != NULL && known->index >= index))
        return;
    struct acked_row *row = row_of(acked, id);
    row->index = index;
    row->noted_ms = now_ms;
    acked->changed = true;
}

const struct acked_row *raftlog_acked_find(const struct raftlog_acked *acked, uint64_t id)
{
    for (size_t i = 0; i < ACKED_ROWS; i++)
        if (acked->rows[i].id == id && id != 0)
            return &acked->rows[i];
    return NULL;
}

void raftlog_acked_save(struct raftlog_acked *acked)
{
    struct block b = {.magic = htobe64(ACKED_MAGIC), .wall_ms = htobe64(clock_wall_ms())};
    if (!acked->changed || acked->fd < 0)
        return;
    for (size_t i = 0; i < ACKED_ROWS; i++) {
        b.numbers[2 * i] = htobe64(acked->rows[i].id);
        b.numbers[2 * i + 1] = htobe64(acked->rows[i].index);
    }
    b.hash = htobe64(block_hash(&b));
    /* A full disk does no harm: the file exists already, and a failed write is retried. */
    acked->changed = pwrite(acked->fd, &b, sizeof b, 0) != sizeof b;
}
