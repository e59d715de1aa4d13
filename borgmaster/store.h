/*
 * store.h - the cell's rows in SQLite, written by a thread of its own, read by everybody.
 *
 * DIR/cell.db, WAL, synchronous=NORMAL: the Raft log is the durable truth; the database may lose
 * its tail in a power cut and is replayed. All changes of a run of deltas and the applied index go
 * in one transaction, and so do all deltas of one entry (delta.more): nobody ever reads a part of
 * one, and what is closed or replaced in the middle of one is as before it. The loop's thread never
 * waits for the disk here.
 */
#ifndef BORGMASTER_STORE_H
#define BORGMASTER_STORE_H

#include "delta.h"
#include "wire.h"

#include <uv.h>

struct store;

/* Open or make DIR/cell.db. A database that cannot be read, or of a cell with another identity
 * (cell_file_identity), is set aside (cell.db.corrupt-<ms>) and
 * a new one made: the log or a snapshot fills it again. Then loads its rows into `cell` (empty). */
int store_open(const char *dir, uint64_t identity, struct cell *cell, struct store **ret,
               struct err *err) MUST_USE;
/* Returns the index up to which the log was on the disk when the database was last written. */
uint64_t store_stored_index(const struct store *store);
/* Waits for what is queued, then closes. */
void store_close(struct store *store);

/* Queue a delta; takes a reference of its own. `on_fatal` (below) hears of a failed write. After
 * one that says `more` comes the next of its entry. */
void store_put(struct store *store, struct delta *delta);
/* The index the database holds (committed transaction). Any thread. */
uint64_t store_index(const struct store *store);
/* Deltas queued and not yet written, for back-pressure: the replica stops proposing above a bound.
 */
size_t store_backlog(const struct store *store);
/* A write failed (disk full, I/O), or somebody read damage (ERR_CORRUPT): called once, on any
 * thread of the store's or the pool's; the replica must exit. Nothing is written any more; a
 * damaged file has been set aside, so that the next start fills a new one. */
void store_on_fatal(struct store *store, void (*cb)(void *data, const struct err *err), void *data);

/*
 * The image of the database exactly after the delta last put before begin(), and the rest of its
 * entry: begin on the loop
 * (cheap), write in a pool thread (waits for the store's thread to get there, then reads under a
 * WAL read transaction without stopping it), end on the loop. NULL when one is under way.
 */
void *store_snapshot_begin(struct store *store);
int store_snapshot_write(void *token, void **ret_bytes, size_t *ret_size); /* malloc'ed */
void store_snapshot_end(struct store *store, void *token);

/* Write what is queued, then replace the database by an image and load its rows into `cell`, an
 * empty one. An image that is none is refused, the database and `cell` stay as they are. Loop
 * thread; waits. */
int store_replace(struct store *store, const void *bytes, size_t size, struct cell *cell,
                  struct err *err) MUST_USE;
/* Replace the database in two steps. The first takes long and may run on any thread, one at a time;
 * the second, or store_unprepare(), runs on the loop. Queries use the old database until then. */
int store_prepare(const struct store *store, const void *bytes, size_t size, struct cell *cell,
                  struct err *err) MUST_USE;
int store_replace_prepared(struct store *store, const struct cell *cell, const void *bytes,
                           size_t size, struct err *err) MUST_USE;
void store_unprepare(const struct store *store);

/*
 * A checkpoint made the beginning of a new cell: checked as store_replace() does, then moved on by
 * cell_begin_again(). `temporary` is a file name to work on; nothing is left there.
 */
struct store_restored {
    void *bytes; /* malloc'ed: the image */
    size_t size;
    uint64_t index, term; /* where it begins */
};
int store_restore(const char *checkpoint, const char *temporary, uint64_t identity, uint64_t at_s,
                  struct store_restored *ret, struct err *err) MUST_USE;

/* The user of a query. */
struct store_asker {
    const char *user; /* borrowed for the call */
    bool reads_all;   /* also what is private to others (reads.c) */
};

/*
 * One read-only SQL statement, run by a process of the store's (store_reader.h) that cannot write,
 * attach or load anything, bounded by QUERY_* limits (ERR_LIMIT says which) and ended when they do
 * not hold by themselves. The asker sees his own rows and what is not private. Users take turns and
 * have half of the processes at most, the operator goes first; more than QUERIES_WAITING_MAX in all
 * or QUERIES_USER_WAITING_MAX of one user are refused (ERR_UNAVAILABLE). Waits up to
 * QUERY_TIME_MS_MAX for `index_min`. `cb` comes on the loop exactly once, also when the store is
 * closed meanwhile (ERR_CLOSED); the rows are packed (wire_pack_rows), borrowed.
 */
typedef void (*store_query_cb)(void *data, const struct err *err, const void *rows, size_t size);
void store_query(struct store *store, uv_loop_t *loop, const struct store_asker *asker,
                 const char *sql, uint64_t index_min, store_query_cb cb, void *data);

#endif
