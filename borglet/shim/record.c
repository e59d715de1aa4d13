/*
 * record.c - the state of the attempt in a file whose blocks exist before the task does.
 *
 * Written in place: a full disk must not cost the exit status (a temporary file and a rename would
 * get ENOSPC). Two slots in turns, so that a write that was cut leaves the previous one.
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
    struct shim_record record;
    off_t at;

    s->state.recorded = 1;
    memset(&record, 0, sizeof(record));
    record.magic = SHIM_RECORD_MAGIC;
    record.version = SHIM_VERSION;
    record.seq = ++s->record_seq;
    record.state = s->state;
    record.crc = shim_crc(0, &record, offsetof(struct shim_record, crc));
    at = (off_t)(record.seq & 1) * SHIM_RECORD_SLOT_BYTES;
    if (s->record_fd < 0 ||
        pwrite(s->record_fd, &record, sizeof(record), at) != (ssize_t)sizeof(record))
        s->state.recorded = 0;
}
