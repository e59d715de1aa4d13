/*
 * store_vfs.h - a byte that changed on the disk is an error when it is read, never a row.
 *
 * SQLite believes what it reads: a flipped bit in a name or a number is served as it is. So every
 * page of a cell's database ends with a checksum, in bytes that SQLite leaves free for that; it is
 * put there when the page is written to the file, and compared when it is read. A page in the
 * write-ahead log has SQLite's own checksum before it, which SQLite compares only after a crash: we
 * compare it too, at every read.
 *
 * In every other respect such a file is a plain database, which sqlite3 reads.
 */
#ifndef BORGMASTER_STORE_VFS_H
#define BORGMASTER_STORE_VFS_H

#include "err.h"

#include <sqlite3.h>

enum { STORE_PAGE_BYTES = 4096, STORE_RESERVED_BYTES = 8 };

/* From here on every connection of this process reads and writes that way; may be repeated. */
void store_vfs_register(void);
/* After opening: new files get room for checksums, others must have it. */
int store_vfs_prepare(sqlite3 *db, struct err *err) MUST_USE;
/* Has this thread read damage since the last time it asked? SQLite does not always say so: a
 * checkpoint that fails is tried again, and its own codes get lost on the way. */
bool store_vfs_damage_take(void);
/* The database in memory, page by page, as it would be in a file. */
void store_vfs_seal(uint8_t *bytes, size_t size);
/* Has the first page the checksum it was given? */
bool store_vfs_sealed(const uint8_t page[STORE_PAGE_BYTES]);

#endif
