/*
 * store_impl.h - the inside of the store: what its files share.
 *
 *     loop thread -- store_put, snapshot_begin --> queue --> writer thread --> cell.db
 *                 -- store_query --> queries --> reader threads, processes --> uv_async --> loop
 *
 * `lock` guards the queues, the fatal error and the flags; `changed` is signalled when any of them
 * or the index moves. Readers have threads of their own: the libuv pool writes the Raft log, and
 * a slow query must not hold that up; and processes, which can be ended (store_reader.h).
 */
#ifndef BORGMASTER_STORE_IMPL_H
#define BORGMASTER_STORE_IMPL_H

#include "store.h"

#include "list.h"
#include "store_sql.h"
#include "store_vfs.h"

#include <sqlite3.h>

enum {
    STORE_APPLICATION_ID = 0x426f7267, /* "Borg", as in schema.sql */
    STORE_SCHEMA = 7,                  /* user_version in schema.sql: the layout */
    STORE_RUN_ROWS_MAX = 50000,        /* rows in one transaction, about */
    STORE_READERS = 4,
    STORE_DIGEST_BYTES = 17,           /* 16 digits and a NUL */
    STORE_IMAGE_BYTES_MAX = 1073741824 /* the library cannot carry larger snapshots */
};

#define STORE_STATEMENTS(X) \
    X(BEGIN) \
    X(COMMIT) \
    X(META_PUT) \
    X(ATTRIBUTES_FORGET) \
    X(ATTRIBUTE_PUT) \
    X(SPEC_PUT) \
    X(EVENTS_PRUNE) \
    X(JOB_FORGET) \
    X(SPEC_FORGET) \
    X(LIMITS_FORGET) \
    X(TASKS_FORGET) \
    X(NAMES_CLEAR) \
    X(NAME_PUT) \
    X(QUOTAS_CLEAR) \
    X(REPLICAS_CLEAR) \
    X(IDENTITIES_CLEAR)

enum store_statement {
#define X(name) STATEMENT_##name,
    STORE_STATEMENTS(X)
#undef X
        STATEMENT_COUNT
};

/* Statements that write records. */
enum store_writer {
    WRITER_MACHINE,
    WRITER_JOB_UPDATE,
    WRITER_JOB_INSERT,
    WRITER_LIMIT,
    WRITER_TASK,
    WRITER_EVENT,
    WRITER_REQUEST,
    WRITER_QUOTA,
    WRITER_REPLICA,
    WRITER_IDENTITY,
    WRITER_COUNT
};

/* The connection that writes, with its statements. */
struct store_rows {
    sqlite3 *db;
    sqlite3_stmt *statements[STATEMENT_COUNT];
    struct sql_writer writers[WRITER_COUNT];
    /* By machine id - 1: hash of the attributes written; 0: not by this process. Machines change
     * with every task, their attributes hardly ever. */
    uint64_t *attributes_written;
    size_t attributes_written_count;
    struct resource_names names_written;
    struct masters masters_written;
    bool names_known;                  /* these two were written by this process */
    char identity[STORE_DIGEST_BYTES]; /* of the cell */
};

/* One thing the writer has to do: a delta, or an image to be begun. */
struct store_item {
    struct list link;
    struct delta *delta; /* a reference; NULL: begin `image` */
    struct store_image *image;
};

/* A thread that has statements run by a process of its own (store_reader.h). */
struct store_reader {
    struct store *store;
    uv_thread_t thread;
    pid_t pid;                    /* of the process; 0: none. Under the lock */
    int fd;                       /* to it */
    uint64_t generation;          /* of the file it has open */
    char user[CELL_NAME_MAX + 1]; /* whose statement it runs; "": none. Under the lock */
};

struct store {
    char path[1024];       /* DIR/cell.db */
    uint64_t identity;     /* of the cell */
    uint64_t stored_index; /* of the log, as the database knew when it was opened */
    struct store_rows rows;
    uv_thread_t writer;

    uv_mutex_t lock;
    uv_cond_t changed;
    struct list items; /* struct store_item */
    bool stop;         /* the writer ends when `items` is empty */
    bool failed;       /* a write failed: nothing is written any more */
    void (*on_fatal)(void *data, const struct err *err);
    void *on_fatal_data;
    struct store_image *image; /* under way; loop thread only */

    struct list queries; /* struct store_request, by turn */
    size_t query_count;
    uint64_t turn; /* of the one that was taken last */
    size_t readers_busy;
    uint64_t generation; /* counts replacements of the file */
    bool paused;         /* readers let go: the file is being replaced */
    bool closing;
    struct store_reader readers[STORE_READERS];

    uint64_t index; /* atomic: committed */
    size_t backlog; /* atomic: deltas queued */
};

/* store_rows.c: everything that is written. */
int store_rows_open(struct store_rows *rows, const char *path, uint64_t identity,
                    struct err *err) MUST_USE;
/* ERR_CORRUPT when the file was last written for another cell. An image from elsewhere may be: the
 * next write makes it ours. */
int store_rows_identity_check(const struct store_rows *rows, struct err *err) MUST_USE;
void store_rows_close(struct store_rows *rows);
int store_rows_begin(struct store_rows *rows, struct err *err) MUST_USE;
/* Write one delta inside begin and commit; after one that says `more` there is no commit. */
int store_rows_put(struct store_rows *rows, const struct delta *delta, struct err *err) MUST_USE;
int store_rows_put_event(struct store_rows *rows, const struct event *event,
                         struct err *err) MUST_USE;
int store_rows_commit(struct store_rows *rows, struct err *err) MUST_USE;
/* About how many rows a delta writes. */
size_t store_rows_of(const struct delta *delta);
/* How a digest stands in meta; `to` has STORE_DIGEST_BYTES. */
void store_digest_text(uint64_t digest, char *to);

/* store_load.c: a cell from the rows. On ERR_CORRUPT `cell` is empty again. */
int store_load(sqlite3 *db, struct cell *cell, struct err *err) MUST_USE;
/* Set the last error of SQLite, as ERR_CORRUPT or ERR_IO with `what` before it. */
int store_sqlite_err(sqlite3 *db, const char *what, struct err *err);
/* One number from a statement without parameters. */
int store_number(sqlite3 *db, const char *sql, int64_t *ret, struct err *err) MUST_USE;

/* store_image.c: files as a whole. */
void store_image_begin(struct store *store, struct store_image *image); /* writer thread */
void store_image_fail(struct store *store, struct store_image *image);  /* `lock` is held */
/* Rename the database and its write-ahead log to cell.db.corrupt-<ms>. */
int store_set_aside(const char *path, struct err *err) MUST_USE;
/* The database as it is for this connection now, as one piece of bytes (malloc'ed). */
int store_serialise(sqlite3 *db, void **ret_bytes, size_t *ret_size, struct err *err) MUST_USE;
enum store_origin {
    STORE_BY_MASTER, /* a snapshot from a member of the log */
    STORE_BY_ANYBODY /* a checkpoint: a file from wherever */
};

/* Put an image at `temporary`, check it with store_untrusted_check() and load it into `cell`, or
 * refuse and leave nothing behind. */
int store_image_check(const char *temporary, const void *bytes, size_t size,
                      enum store_origin origin, struct cell *cell, struct err *err) MUST_USE;
/* The file, and what SQLite may have put beside it. */
void store_image_remove(const char *path);
/* `temporary` becomes the database at `path`; nobody has it open for writing. */
int store_image_install(const char *temporary, const char *path, struct err *err) MUST_USE;

/* Refuse what by its header is no database (ERR_CORRUPT) or one of another schema (ERR_STATE),
 * before its checksums are looked at. A file that is not there, or empty, is fine. */
int store_file_check(const char *path, struct err *err) MUST_USE;

/* store_untrusted.c: ERR_CORRUPT unless it is a sound database of a schema that we can live with
 * (store_schema.h) and, of anybody, with values of the right types; in time that is bounded by its
 * size. ERR_STATE when its cell uses a later format than we know. Opened read-only, not used
 * before.
 */
int store_untrusted_check(sqlite3 *db, size_t size, enum store_origin origin,
                          struct err *err) MUST_USE;
/* Set the last error of SQLite on an untrusted file: as store_sqlite_err(), but a statement that
 * exceeded its work or memory is ERR_CORRUPT. */
int store_untrusted_err(sqlite3 *db, const char *what, struct err *err);

/* store.c: the database is not to be trusted any more, or cannot be written; any thread. */
void store_fail(struct store *store, const struct err *err);

/* store_query.c: the readers. */
void store_readers_start(struct store *store);
void store_readers_stop(struct store *store); /* answers what waits with ERR_CLOSED */
/* Let go of the file; queries wait. Then go on with a new one. */
void store_readers_pause(struct store *store);
void store_readers_resume(struct store *store);

#endif
