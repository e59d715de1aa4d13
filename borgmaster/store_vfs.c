/*
 * store_vfs.c - checksums between SQLite and its files.
 *
 * Files are opened by SQLite's own VFS; only the methods that read and write are exchanged, in a
 * copy of its table, so that all the rest (locks, shared memory) stays what it is.
 *
 * The writer must not spill its cache (store_rows_open): inside a transaction SQLite writes the
 * same frame of the log twice and mends the checksums only when it commits.
 */
#include "store_vfs.h"

#include "hash.h"
#include "log.h"

#include <endian.h>
#include <pthread.h>
#include <string.h>

enum {
    WAL_HEAD_BYTES = 32,
    FRAME_HEAD_BYTES = 24,
    FRAME_BYTES = FRAME_HEAD_BYTES + STORE_PAGE_BYTES
};

/* The methods of SQLite's VFS and of ours. The log is opened without locks, so it has a table of
 * its own. */
static const sqlite3_io_methods *db_inner, *wal_inner;
static sqlite3_io_methods db_methods, wal_methods;
static sqlite3_vfs vfs, *inner_vfs;

/* The number of the page is in it: a page that was written to the wrong place is wrong. */
static void page_sum(const uint8_t *page, uint64_t number, uint8_t to[STORE_RESERVED_BYTES])
{
    uint64_t sum = hash_bytes(hash_add(0, number), page, STORE_PAGE_BYTES - STORE_RESERVED_BYTES);
    memcpy(to, &sum, sizeof sum);
}

static bool page_is_right(const uint8_t *page, uint64_t number)
{
    uint8_t sum[STORE_RESERVED_BYTES];
    page_sum(page, number, sum);
    return memcmp(sum, page + STORE_PAGE_BYTES - sizeof sum, sizeof sum) == 0;
}

static _Thread_local bool damage_seen;

bool store_vfs_damage_take(void)
{
    bool seen = damage_seen;
    damage_seen = false;
    return seen;
}

static int damaged(sqlite3_int64 offset, const char *where)
{
    damage_seen = true;
    log_error("store.damaged page=%lld in=%s", (long long)(offset / STORE_PAGE_BYTES + 1), where);
    return SQLITE_IOERR_DATA;
}

static int db_read(sqlite3_file *file, void *bytes, int size, sqlite3_int64 offset)
{
    int rc = db_inner->xRead(file, bytes, size, offset);
    if (rc != SQLITE_OK || size != STORE_PAGE_BYTES)
        return rc;
    return page_is_right(bytes, (uint64_t)(offset / STORE_PAGE_BYTES)) ? SQLITE_OK
                                                                       : damaged(offset, "cell.db");
}

static int db_write(sqlite3_file *file, const void *bytes, int size, sqlite3_int64 offset)
{
    uint8_t page[STORE_PAGE_BYTES];
    if (size != STORE_PAGE_BYTES)
        return db_inner->xWrite(file, bytes, size, offset);
    memcpy(page, bytes, sizeof page);
    page_sum(page, (uint64_t)(offset / STORE_PAGE_BYTES),
             page + STORE_PAGE_BYTES - STORE_RESERVED_BYTES);
    return db_inner->xWrite(file, page, size, offset);
}

/* SQLite's checksum of a log: of its words as this machine has them, each over those before. */
static void wal_sum(uint32_t sum[2], const void *bytes, size_t size)
{
    for (size_t at = 0; at < size; at += 8) {
        uint32_t words[2];
        memcpy(words, (const char *)bytes + at, sizeof words);
        sum[0] += words[0] + sum[1];
        sum[1] += words[1] + sum[0];
    }
}

/* Does the frame's own checksum follow from the one before it and what is in it? */
static int frame_check(sqlite3_file *file, const void *page, sqlite3_int64 offset)
{
    uint8_t head[FRAME_HEAD_BYTES];
    uint32_t before[2], stored[2], sum[2];
    sqlite3_int64 frame = offset - FRAME_HEAD_BYTES;
    bool first = frame == WAL_HEAD_BYTES;
    sqlite3_int64 sum_at = first ? WAL_HEAD_BYTES - 8 : frame - FRAME_BYTES + FRAME_HEAD_BYTES - 8;
    int rc = wal_inner->xRead(file, before, sizeof before, sum_at);
    if (rc == SQLITE_OK)
        rc = wal_inner->xRead(file, head, sizeof head, frame);
    if (rc != SQLITE_OK)
        return rc;
    memcpy(stored, head + FRAME_HEAD_BYTES - sizeof stored, sizeof stored);
    sum[0] = be32toh(before[0]);
    sum[1] = be32toh(before[1]);
    wal_sum(sum, head, 8);
    wal_sum(sum, page, STORE_PAGE_BYTES);
    return sum[0] == be32toh(stored[0]) && sum[1] == be32toh(stored[1])
               ? SQLITE_OK
               : damaged(offset, "cell.db-wal");
}

static int wal_read(sqlite3_file *file, void *bytes, int size, sqlite3_int64 offset)
{
    int rc = wal_inner->xRead(file, bytes, size, offset);
    bool is_page = size == STORE_PAGE_BYTES && offset >= WAL_HEAD_BYTES + FRAME_HEAD_BYTES &&
                   (offset - WAL_HEAD_BYTES - FRAME_HEAD_BYTES) % FRAME_BYTES == 0;
    return rc == SQLITE_OK && is_page ? frame_check(file, bytes, offset) : rc;
}

static void db_init(const sqlite3_io_methods *methods)
{
    db_inner = methods;
    db_methods = *methods;
    db_methods.iVersion = MIN(methods->iVersion, 2); /* without mapped pages, which nobody reads */
    db_methods.xRead = db_read;
    db_methods.xWrite = db_write;
}

static void wal_init(const sqlite3_io_methods *methods)
{
    wal_inner = methods;
    wal_methods = *methods;
    wal_methods.xRead = wal_read;
}

static int vfs_open(sqlite3_vfs *self UNUSED, const char *name, sqlite3_file *file, int flags,
                    int *ret_flags)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    int rc = inner_vfs->xOpen(inner_vfs, name, file, flags, ret_flags);
    bool is_wal = (flags & SQLITE_OPEN_WAL) != 0;
    if (rc != SQLITE_OK || name == NULL || !(is_wal || (flags & SQLITE_OPEN_MAIN_DB) != 0))
        return rc;
    pthread_mutex_lock(&lock);
    if (is_wal && wal_inner == NULL)
        wal_init(file->pMethods);
    if (!is_wal && db_inner == NULL)
        db_init(file->pMethods);
    pthread_mutex_unlock(&lock);
    ASSERT(file->pMethods == (is_wal ? wal_inner : db_inner)); /* all on one kind of file system */
    file->pMethods = is_wal ? &wal_methods : &db_methods;
    return SQLITE_OK;
}

static void register_once(void)
{
    inner_vfs = sqlite3_vfs_find(NULL);
    ASSERT(inner_vfs != NULL);
    vfs = *inner_vfs;
    vfs.zName = "borg";
    vfs.pNext = NULL;
    vfs.xOpen = vfs_open;
    ASSERT(sqlite3_vfs_register(&vfs, /* default= */ 1) == SQLITE_OK);
}

void store_vfs_register(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, register_once);
}

int store_vfs_prepare(sqlite3 *db, struct err *err)
{
    int reserved = STORE_RESERVED_BYTES;
    if (sqlite3_file_control(db, "main", SQLITE_FCNTL_RESERVE_BYTES, &reserved) != SQLITE_OK)
        return err_set(err, ERR_IO, "SQLite leaves no room for checksums");
    return 0;
}

void store_vfs_seal(uint8_t *bytes, size_t size)
{
    for (size_t at = 0; at + STORE_PAGE_BYTES <= size; at += STORE_PAGE_BYTES)
        page_sum(bytes + at, at / STORE_PAGE_BYTES,
                 bytes + at + STORE_PAGE_BYTES - STORE_RESERVED_BYTES);
}

bool store_vfs_sealed(const uint8_t page[STORE_PAGE_BYTES])
{
    return page_is_right(page, 0);
}
