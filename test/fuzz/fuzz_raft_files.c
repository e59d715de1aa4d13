/*
 * fuzz_raft_files.c - damaged files of a log's directory: segments, a snapshot, the seal.
 *
 * The first byte selects the file; if it has bit 64, the first record of a segment gets a valid
 * header, so that the data behind it is parsed.
 */
#include "log.h"
#include "raftlog_files.h"
#include "raftlog_seal.h"

#include "scratch.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* The checksum of canonical/raft's files. */
static uint32_t crc32_of(const uint8_t *bytes, size_t size)
{
    uint32_t crc = 0;
    for (size_t i = 0; i < size; i++) {
        crc ^= (uint32_t)bytes[i] << 24;
        for (int bit = 0; bit < 8; bit++)
            crc = crc << 1 ^ (crc >> 31 ? 0x04c11db7U : 0);
    }
    return crc;
}

/* Write the format version, then checksums of head and data, the number of entries, a line for
 * each. */
static void segment_repair(uint8_t *bytes, size_t size)
{
    enum { HEAD = 16, COUNT = 8, LINE = 16, ENTRIES_MAX = 4 };
    uint64_t version = 1, count;
    if (size < HEAD + COUNT + ENTRIES_MAX * LINE)
        return;
    memcpy(&count, bytes + HEAD, sizeof count);
    count = 1 + count % ENTRIES_MAX;
    memcpy(bytes, &version, sizeof version);
    memcpy(bytes + HEAD, &count, sizeof count);
    uint32_t crc = crc32_of(bytes + HEAD, (size_t)(COUNT + count * LINE));
    memcpy(bytes + 8, &crc, sizeof crc);
}

static void fuzz_seal(const uint8_t *bytes, size_t size)
{
    struct raftlog_seal seal = {0};
    struct err err;
    scratch_file("seal", bytes, size);
    if (raftlog_seal_open(&seal, scratch(), 1, 7, &err) != 0)
        ASSERT(err.msg[0] != '\0');
    raftlog_seal_close(&seal);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct err err;
    if (size < 4)
        return 0;
    unsigned which = bytes[0];
    bytes++;
    size--;
    log_open(LOG_ERROR, "fuzz");
    scratch();
    scratch_clear();
    if (which % 4 == 3) {
        fuzz_seal(bytes, size);
        return 0;
    }
    uint8_t *copy = xcalloc(size, 1);
    memcpy(copy, bytes, size);
    if (which & 64)
        segment_repair(copy, size);
    if (which % 4 == 0)
        scratch_file("snapshot-1-1-1", copy, size);
    else
        scratch_file("open-1", copy, which % 4 == 2 ? size / 2 : size);
    if (which % 4 == 2)
        scratch_file("open-2", copy + size / 2, size - size / 2);
    free(copy);
    if (raftlog_files_check(scratch(), &err) != 0)
        ASSERT(err.msg[0] != '\0');
    ASSERT(raftlog_files_any(scratch()));
    return 0;
}
