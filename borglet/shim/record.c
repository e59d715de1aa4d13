/*
 * record.c - the state of the attempt in a file whose blocks are allocated before the start.
 *
 * The record is written in place, because a full disk must not cost the exit status: a temporary
 * file would need space. Two slots are written in turn, so that an interrupted write leaves the
 * previous state.
 */
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int record_open(struct shim *s)
{
    static const char zeroes[SHIM_RECORD_BYTES];

    s->record_fd = open("record", O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (s->record_fd < 0)
        return errno;
    ssize_t n = pwrite(s->record_fd, zeroes, sizeof(zeroes), 0);
    if (n != (ssize_t)sizeof(zeroes))
        return n < 0 ? errno : ENOSPC;
    return 0;
}

void record_write(struct shim *s)
{
    const size_t head = offsetof(struct shim_record, state);
    char slot[sizeof(struct shim_record)];
    struct shim_record record = {.magic = SHIM_RECORD_MAGIC, .seq = ++s->record_seq};
    uint32_t common = shim_spec_version(&s->spec);

    /* The borglet that started the shim must be able to read the record. */
    record.version = common != 0 ? common : SHIM_VERSION_MAX;
    s->state.recorded = 1;
    record.state = s->state;
    size_t size = head + shim_state_bytes(record.version);
    memcpy(slot, &record, size);
    uint32_t crc = shim_crc(0, slot, size);
    memcpy(slot + size, &crc, sizeof(crc));
    size += sizeof(crc);
    off_t at = (off_t)(record.seq & 1) * SHIM_RECORD_SLOT_BYTES;
    if (s->record_fd < 0 || pwrite(s->record_fd, slot, size, at) != (ssize_t)size)
        s->state.recorded = 0;
}
