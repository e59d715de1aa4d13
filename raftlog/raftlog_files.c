/*
 * raftlog_files.c - checks for damage that the library does not report or on which it hangs.
 *
 * An open segment consists of a format (8 bytes), batches and zeros. A batch consists of a checksum
 * of its head, a checksum of its data, the head (the number of entries, and 16 bytes for each:
 * term, type, size) and the data. The checksum is CRC-32, highest bit first, starting at 0.
 *
 * A snapshot is an LZ4 frame: magic, flags, blocks with their lengths, an end mark, a checksum. The
 * library reads forever when the end mark is missing.
 */
#include "raftlog_files.h"

#include "log.h"

#include <ctype.h>
#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    FORMAT_BYTES = 8,
    CHECKSUM_BYTES = 8,
    ENTRY_HEAD_BYTES = 16,
    BATCH_ENTRIES_MAX = 262144, /* the library treats more as damage */
    SEGMENT_BYTES = 8388608,    /* of a segment that has not grown */
    NAME_BYTES = 256,
    PATH_BYTES = 4096,
};

struct segment {
    const uint8_t *bytes;
    size_t size;
    const uint32_t *crc; /* one for each byte */
};

static int is_log_file(const struct dirent *entry)
{
    const char *name = entry->d_name;
    return strncmp(name, "open-", 5) == 0 || strncmp(name, "metadata", 8) == 0 ||
           strncmp(name, "snapshot-", 9) == 0 || isdigit((unsigned char)name[0]);
}

static int is_open_segment(const struct dirent *entry)
{
    return strncmp(entry->d_name, "open-", 5) == 0;
}

static int by_number(const struct dirent **a, const struct dirent **b)
{
    unsigned long long first = strtoull((*a)->d_name + 5, NULL, 10);
    unsigned long long second = strtoull((*b)->d_name + 5, NULL, 10);
    return (first > second) - (first < second);
}

static void names_free(struct dirent **names, int count)
{
    for (int i = 0; i < count; i++)
        free(names[i]);
    free(names);
}

bool raftlog_files_any(const char *dir)
{
    struct dirent **names = NULL;
    int count = scandir(dir, &names, is_log_file, NULL);
    names_free(names, count);
    return count > 0;
}

static uint32_t word32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return le32toh(value);
}

static uint64_t word64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return le64toh(value);
}

static void crc_init(uint32_t crc[256])
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        crc[byte] = byte << 24;
        for (unsigned bit = 0; bit < 8; bit++)
            crc[byte] = crc[byte] << 1 ^ ((crc[byte] >> 31) != 0 ? 0x04c11db7U : 0);
    }
}

static uint32_t checksum(const struct segment *s, const uint8_t *bytes, size_t size)
{
    uint32_t crc = 0;
    for (size_t i = 0; i < size; i++)
        crc = crc << 8 ^ s->crc[crc >> 24 ^ bytes[i]];
    return crc;
}

/* The content of a segment at some position. */
enum batch_state {
    BATCH_GOOD,
    BATCH_BAD,
    BATCH_SHORT, /* it extends beyond the end of the file */
};

static enum batch_state batch_at(const struct segment *s, size_t at, size_t *ret_size)
{
    size_t left = s->size - at;
    if (left < CHECKSUM_BYTES + sizeof(uint64_t))
        return BATCH_SHORT;
    const uint8_t *head = s->bytes + at + CHECKSUM_BYTES;
    uint64_t count = word64(head);
    if (count == 0 || count > BATCH_ENTRIES_MAX)
        return BATCH_BAD;
    size_t head_size = sizeof(uint64_t) + (size_t)count * ENTRY_HEAD_BYTES;
    if (CHECKSUM_BYTES + head_size > left)
        return BATCH_SHORT;
    if (checksum(s, head, head_size) != word32(s->bytes + at))
        return BATCH_BAD;
    size_t data_size = 0;
    for (uint64_t i = 0; i < count; i++)
        data_size += word32(head + sizeof(uint64_t) + i * ENTRY_HEAD_BYTES + 12);
    *ret_size = CHECKSUM_BYTES + head_size + data_size;
    if (*ret_size > left)
        return BATCH_SHORT;
    uint32_t crc = word32(s->bytes + at + sizeof(uint32_t));
    return checksum(s, head + head_size, data_size) == crc ? BATCH_GOOD : BATCH_BAD;
}

/* Return the end of the valid batches at the beginning; 0 when the format is unknown. */
static size_t segment_end(const struct segment *s)
{
    if (s->size < FORMAT_BYTES || word64(s->bytes) != 1)
        return 0;
    size_t at = FORMAT_BYTES;
    for (size_t size; at < s->size && batch_at(s, at, &size) == BATCH_GOOD;)
        at += size;
    return at;
}

/* Return the position of a valid batch at or after `at`, or 0. Batches begin at multiples of 8. */
static size_t segment_find(const struct segment *s, size_t at)
{
    size_t size;
    for (at = MAX(at, (size_t)FORMAT_BYTES); at < s->size; at += 8) {
        if (batch_at(s, at, &size) == BATCH_GOOD)
            return at;
    }
    return 0;
}

static int segment_map(const char *dir, const char *name, struct segment *s, struct err *err)
{
    char path[PATH_BYTES];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, errno, "cannot open %s", path);
    s->bytes = NULL;
    s->size = 0;
    int rv = 0;
    if (fstat(fd, &st) != 0) {
        rv = err_errno(err, errno, "cannot read %s", path);
    } else if (st.st_size > 0) {
        void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (map == MAP_FAILED)
            rv = err_errno(err, errno, "cannot read %s", path);
        else
            *s = (struct segment){.bytes = map, .size = (size_t)st.st_size, .crc = s->crc};
    }
    close(fd);
    return rv;
}

/* Cut off a torn batch. A batch that is larger than a segment makes the segment grow; the
 * library cuts other torn batches itself but crashes when the growth did not complete. */
static int segment_cut(const char *path, size_t end, struct err *err)
{
    log_warn("segment.truncated file=%s bytes=%zu reason=torn", path, end);
    if (end <= FORMAT_BYTES)
        return unlink(path) == 0 ? 0 : err_errno(err, errno, "cannot remove %s", path);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    int rv = 0;
    if (fd < 0 || ftruncate(fd, (off_t)end) != 0 || fsync(fd) != 0)
        rv = err_errno(err, errno, "cannot cut %s", path);
    if (fd >= 0)
        close(fd);
    return rv;
}

/* Check one segment. `torn` is the earlier segment that ends in a bad batch, or empty. A segment
 * gets its full length before anything is written to it, so a batch that extends beyond the end
 * of a shorter file was cut off later. */
static int segment_check(const char *dir, const char *name, const struct segment *s,
                         char torn[NAME_BYTES], struct err *err)
{
    size_t end = segment_end(s);
    size_t next = segment_find(s, end);
    size_t size;
    if (next != 0)
        return err_set(err, ERR_CORRUPT, "%s/%s is damaged at byte %zu: good entries follow at %zu",
                       dir, name, end, next);
    if (end > FORMAT_BYTES && torn[0] != '\0')
        return err_set(err, ERR_CORRUPT, "%s/%s is damaged near its end: good entries follow in %s",
                       dir, torn, name);
    if (end == 0 || end == s->size)
        return 0;
    enum batch_state state = batch_at(s, end, &size);
    if (end + sizeof(uint64_t) <= s->size && word64(s->bytes + end) != 0)
        snprintf(torn, NAME_BYTES, "%s", name);
    if (state == BATCH_SHORT && s->size >= SEGMENT_BYTES) {
        char path[PATH_BYTES];
        snprintf(path, sizeof path, "%s/%s", dir, name);
        return segment_cut(path, end, err);
    }
    if (state == BATCH_SHORT)
        return err_set(err, ERR_CORRUPT, "%s/%s is cut short after byte %zu", dir, name, end);
    return 0;
}

/* Return the end of the frame according to its own lengths; 0 when it has no end. */
static size_t frame_end(const struct segment *s)
{
    enum { BLOCK_SUM = 0x10, SIZE = 0x08, SUM = 0x04, DICTIONARY = 0x01, HEAD_BYTES = 7 };
    if (s->size < HEAD_BYTES)
        return 0;
    uint8_t flags = s->bytes[4];
    size_t at =
        HEAD_BYTES + ((flags & SIZE) != 0 ? 8U : 0U) + ((flags & DICTIONARY) != 0 ? 4U : 0U);
    while (at + sizeof(uint32_t) <= s->size) {
        size_t block = word32(s->bytes + at) & 0x7fffffff;
        at += sizeof(uint32_t);
        if (block == 0)
            return at + ((flags & SUM) != 0 ? sizeof(uint32_t) : 0);
        at += block + ((flags & BLOCK_SUM) != 0 ? sizeof(uint32_t) : 0);
    }
    return 0;
}

static int is_snapshot(const struct dirent *entry)
{
    size_t size = strlen(entry->d_name);
    return strncmp(entry->d_name, "snapshot-", 9) == 0 &&
           (size < 5 || strcmp(entry->d_name + size - 5, ".meta") != 0);
}

/* Compare by term, index and time, as the library does. */
static int by_age(const struct dirent **a, const struct dirent **b)
{
    unsigned long long first[3] = {0};
    unsigned long long second[3] = {0};
    sscanf((*a)->d_name, "snapshot-%llu-%llu-%llu", &first[0], &first[1], &first[2]);
    sscanf((*b)->d_name, "snapshot-%llu-%llu-%llu", &second[0], &second[1], &second[2]);
    for (unsigned i = 0; i < 3; i++) {
        if (first[i] != second[i])
            return first[i] < second[i] ? -1 : 1;
    }
    return 0;
}

/* Check the newest snapshot, the only one that is loaded. The library itself refuses a file that
 * is not a frame. */
static int snapshot_check(const char *dir, struct err *err)
{
    static const uint8_t magic[4] = {0x04, 0x22, 0x4d, 0x18};
    struct dirent **names = NULL;
    struct segment s = {0};
    int rv = 0;
    int count = scandir(dir, &names, is_snapshot, by_age);
    if (count > 0 && segment_map(dir, names[count - 1]->d_name, &s, err) != 0)
        rv = -(int)err->code;
    else if (s.size >= sizeof magic && memcmp(s.bytes, magic, sizeof magic) == 0 &&
             frame_end(&s) != s.size)
        rv = err_set(err, ERR_CORRUPT,
                     "%s/%s is damaged: its length differs from the length it states", dir,
                     names[count - 1]->d_name);
    if (s.bytes != NULL)
        munmap((void *)s.bytes, s.size);
    names_free(names, count);
    return rv;
}

int raftlog_files_check(const char *dir, struct err *err)
{
    struct err local;
    struct dirent **names = NULL;
    char torn[NAME_BYTES] = "";
    uint32_t crc[256];
    err = err != NULL ? err : &local; /* the code is needed below */
    int count = scandir(dir, &names, is_open_segment, by_number);
    if (count < 0)
        return err_errno(err, errno, "cannot read the directory %s", dir);
    int rv = 0;
    crc_init(crc);
    for (int i = 0; i < count && rv == 0; i++) {
        struct segment s = {.crc = crc};
        rv = segment_map(dir, names[i]->d_name, &s, err);
        if (rv == 0)
            rv = segment_check(dir, names[i]->d_name, &s, torn, err);
        if (s.bytes != NULL)
            munmap((void *)s.bytes, s.size);
    }
    names_free(names, count);
    return rv != 0 ? rv : snapshot_check(dir, err);
}

/* Fill in four numbers: format, version (odd ones are in metadata1), term, vote. */
static void metadata_canonical(uint64_t words[4])
{
    words[0] = words[1] = words[2] = htole64(1);
    words[3] = 0;
}

static bool metadata_is_canonical(const char *first, const char *second)
{
    uint64_t words[4], wanted[4];
    metadata_canonical(wanted);
    int fd = open(first, O_RDONLY | O_CLOEXEC);
    bool same = fd >= 0 && read(fd, words, sizeof words) == (ssize_t)sizeof words &&
                memcmp(words, wanted, sizeof words) == 0;
    if (fd >= 0)
        close(fd);
    return same && access(second, F_OK) != 0;
}

int raftlog_files_metadata(const char *dir, struct err *err)
{
    char first[PATH_BYTES], second[PATH_BYTES], temporary[PATH_BYTES];
    uint64_t words[4];
    snprintf(first, sizeof first, "%s/metadata1", dir);
    snprintf(second, sizeof second, "%s/metadata2", dir);
    snprintf(temporary, sizeof temporary, "%s/metadata.tmp", dir);
    if (metadata_is_canonical(first, second))
        return 0;
    metadata_canonical(words);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool ok = fd >= 0 && write(fd, words, sizeof words) == (ssize_t)sizeof words && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    if (!ok || rename(temporary, first) != 0 || (unlink(second) != 0 && errno != ENOENT))
        return err_errno(err, errno, "cannot write %s", first);
    return 0;
}
