/*
 * store_image.c - the database as one piece of bytes: out as a snapshot, in as a replacement.
 *
 * An image is begun by the writer between two transactions: it opens a connection of its own and
 * starts to read, from then on SQLite shows that connection the state of this moment. Copying the
 * pages takes as long as it takes and stops nobody.
 *
 *     WAITING -- writer: connection reads --> READY -- snapshot_write --> (copied)
 *        +------ writer fails or is stopped --> FAILED
 */
#include "store_impl.h"

#include "clock.h"
#include "log.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum image_state { IMAGE_WAITING, IMAGE_READY, IMAGE_FAILED };

struct store_image {
    struct store *store;
    enum image_state state; /* under store->lock */
    sqlite3 *db;            /* reading since READY */
};

/* Close a connection that may be the last one on a file that has been replaced: closing must not
 * tidy up, it would remove the new file's write-ahead log by its name. */
static void close_reader(sqlite3 *db)
{
    if (db == NULL)
        return;
    sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_close(db);
}

void *store_snapshot_begin(struct store *store)
{
    if (store->image != NULL)
        return NULL;
    struct store_item *item = xcalloc(1, sizeof *item);
    struct store_image *image = xcalloc(1, sizeof *image);
    image->store = store;
    item->image = image;
    store->image = image;
    uv_mutex_lock(&store->lock);
    if (store->failed || store->stop) {
        image->state = IMAGE_FAILED;
        free(item);
    } else {
        list_push(&store->items, &item->link);
    }
    uv_cond_broadcast(&store->changed);
    uv_mutex_unlock(&store->lock);
    return image;
}

void store_image_fail(struct store *store, struct store_image *image)
{
    image->state = IMAGE_FAILED;
    uv_cond_broadcast(&store->changed);
}

void store_image_begin(struct store *store, struct store_image *image)
{
    struct err err = {0};
    sqlite3 *db = NULL;
    int64_t index = 0;
    int flags = SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX;
    int rv = 0;
    if (sqlite3_open_v2(store->path, &db, flags, NULL) != SQLITE_OK ||
        sqlite3_exec(db, "BEGIN", NULL, NULL, NULL) != SQLITE_OK)
        rv = store_sqlite_err(db, "cannot read the database", &err);
    /* BEGIN alone reads nothing yet: the first read fixes what is seen. */
    if (rv == 0)
        rv = store_number(db, "SELECT applied_index FROM meta", &index, &err);
    ASSERT_IMPLIES(rv == 0, (uint64_t)index == store_index(store));
    if (rv != 0) {
        log_warn("store.snapshot_failed err=%s, the next one is tried later", log_quoted(err.msg));
        close_reader(db);
        db = NULL;
    }
    uv_mutex_lock(&store->lock);
    image->db = db;
    image->state = rv == 0 ? IMAGE_READY : IMAGE_FAILED;
    uv_cond_broadcast(&store->changed);
    uv_mutex_unlock(&store->lock);
}

int store_serialise(sqlite3 *db, void **ret_bytes, size_t *ret_size, struct err *err)
{
    enum { WRITE_VERSION = 18, READ_VERSION = 19, ROLLBACK_JOURNAL = 1, HEADER_BYTES = 100 };
    sqlite3_int64 size = 0;
    unsigned char *pages = sqlite3_serialize(db, "main", &size, 0);
    if (pages == NULL || size < HEADER_BYTES) {
        sqlite3_free(pages);
        return store_sqlite_err(db, "cannot copy the database", err);
    }
    /* SQLite's own heap cannot be freed with free(). */
    uint8_t *bytes = xrealloc(NULL, (size_t)size, 1);
    memcpy(bytes, pages, (size_t)size);
    sqlite3_free(pages);
    /* An image is a file without a write-ahead log; say so, or nobody could open it read-only. */
    bytes[WRITE_VERSION] = ROLLBACK_JOURNAL;
    bytes[READ_VERSION] = ROLLBACK_JOURNAL;
    store_vfs_seal(bytes, (size_t)size);
    *ret_bytes = bytes;
    *ret_size = (size_t)size;
    return 0;
}

int store_snapshot_write(void *token, void **ret_bytes, size_t *ret_size)
{
    struct store_image *image = token;
    struct store *store = image->store;
    uv_mutex_lock(&store->lock);
    while (image->state == IMAGE_WAITING)
        uv_cond_wait(&store->changed, &store->lock);
    enum image_state state = image->state;
    uv_mutex_unlock(&store->lock);
    if (state == IMAGE_FAILED)
        return -ERR_IO;
    struct err err = {0};
    int rv = store_serialise(image->db, ret_bytes, ret_size, &err);
    if (rv == 0)
        return 0;
    if (rv == -ERR_CORRUPT)
        store_fail(store, &err);
    log_warn("store.snapshot_failed err=%s, the next one is tried later", log_quoted(err.msg));
    return -ERR_IO;
}

/* The writer must have let go of the image: it may end before it was begun. */
void store_snapshot_end(struct store *store, void *token)
{
    struct store_image *image = token;
    ASSERT(store->image == image);
    uv_mutex_lock(&store->lock);
    while (image->state == IMAGE_WAITING)
        uv_cond_wait(&store->changed, &store->lock);
    uv_mutex_unlock(&store->lock);
    close_reader(image->db);
    free(image);
    store->image = NULL;
}

static int rename_if_there(const char *from, const char *to, struct err *err)
{
    if (rename(from, to) == 0 || errno == ENOENT)
        return 0;
    return err_errno(err, errno, "cannot set %s aside as %s", from, to);
}

int store_set_aside(const char *path, struct err *err)
{
    static const char *const suffixes[] = {"-wal", "-shm", ""};
    uint64_t now_ms = clock_wall_ms();
    for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
        char from[1100], to[1200];
        snprintf(from, sizeof from, "%s%s", path, suffixes[i]);
        snprintf(to, sizeof to, "%s.corrupt-%" PRIu64 "%s", path, now_ms, suffixes[i]);
        int rv = rename_if_there(from, to, err);
        if (rv != 0)
            return rv;
    }
    return 0;
}

static int write_file(const char *path, const uint8_t *bytes, size_t size, struct err *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(err, errno, "cannot make %s", path);
    int rv = 0;
    while (rv == 0 && size > 0) {
        ssize_t n = write(fd, bytes, size);
        if (n < 0 && errno != EINTR)
            rv = err_errno(err, errno, "cannot write %s", path);
        bytes += MAX(n, 0);
        size -= (size_t)MAX(n, 0);
    }
    if (rv == 0 && fsync(fd) != 0)
        rv = err_errno(err, errno, "cannot write %s to the disk", path);
    close(fd);
    return rv;
}

void store_image_remove(const char *path)
{
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
        char name[1100];
        snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
        unlink(name);
    }
}

/* Check the fields of SQLite's file header that mark a database as one of ours. */
static int header_check(const uint8_t *bytes, size_t size, bool may_be_new, struct err *err)
{
    enum { HEADER_BYTES = 100, ENCODING_AT = 56, VERSION_AT = 60, APPLICATION_AT = 68 };
    static const uint8_t utf8[] = {0, 0, 0, 1};
    uint32_t application, version;
    if (size < HEADER_BYTES || memcmp(bytes, "SQLite format 3", 16) != 0)
        return err_set(err, ERR_CORRUPT, "it is no database");
    memcpy(&application, bytes + APPLICATION_AT, sizeof application);
    memcpy(&version, bytes + VERSION_AT, sizeof version);
    application = be32toh(application);
    version = be32toh(version);
    if (may_be_new && application == 0 && version == 0)
        return 0; /* its log has the rest */
    if (application != STORE_APPLICATION_ID)
        return err_set(err, ERR_CORRUPT, "it is a database, but not one of a cell");
    if (size < STORE_PAGE_BYTES || !store_vfs_sealed(bytes))
        return err_set(err, ERR_CORRUPT, "its first page is damaged");
    if (memcmp(bytes + ENCODING_AT, utf8, sizeof utf8) != 0)
        return err_set(err, ERR_CORRUPT, "its texts are not UTF-8");
    if (version != STORE_SCHEMA)
        return err_set(err, ERR_STATE,
                       "its schema is version %" PRIu32 ", this borgmaster knows %d: start %s one",
                       version, STORE_SCHEMA, version > STORE_SCHEMA ? "a newer" : "an older");
    return 0;
}

int store_file_check(const char *path, struct err *err)
{
    uint8_t bytes[STORE_PAGE_BYTES];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR ? 0
                                                   : err_errno(err, errno, "cannot read %s", path);
    ssize_t n = read(fd, bytes, sizeof bytes);
    int why = errno;
    close(fd);
    if (n < 0)
        return err_errno(err, why, "cannot read %s", path);
    return n == 0 ? 0 : header_check(bytes, (size_t)n, /* may_be_new= */ true, err);
}

int store_image_check(const char *temporary, const void *bytes, size_t size,
                      enum store_origin origin, struct cell *cell, struct err *err)
{
    sqlite3 *db = NULL;
    store_vfs_register();
    int rv = header_check(bytes, size, /* may_be_new= */ false, err);
    if (rv == 0)
        rv = write_file(temporary, bytes, size, err);
    if (rv == 0 && sqlite3_open_v2(temporary, &db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK)
        rv = store_sqlite_err(db, "cannot be opened", err);
    if (rv == 0)
        rv = store_untrusted_check(db, size, origin, err);
    if (rv == 0)
        rv = store_load(db, cell, err);
    sqlite3_close(db);
    if (rv != 0)
        store_image_remove(temporary);
    return rv;
}

static int sync_directory_of(const char *path, struct err *err)
{
    char directory[1100];
    str_copy(directory, sizeof directory, path);
    char *slash = strrchr(directory, '/');
    if (slash != NULL)
        slash[slash == directory] = '\0';
    int fd = open(slash == NULL ? "." : directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 ? -1 : fsync(fd);
    int rv = rc == 0 ? 0 : err_errno(err, errno, "cannot write the directory of %s", path);
    if (fd >= 0)
        close(fd);
    return rv;
}

/*
 * The old write-ahead log goes first: found beside the new file after a crash, it would be taken
 * for the new one's. Without it the old file is only older, and the snapshot comes again.
 */
int store_image_install(const char *temporary, const char *path, struct err *err)
{
    static const char *const suffixes[] = {"-wal", "-shm"};
    for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
        char name[1100];
        snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
        if (unlink(name) != 0 && errno != ENOENT)
            return err_errno(err, errno, "cannot remove %s", name);
    }
    int rv = sync_directory_of(path, err);
    if (rv == 0 && rename(temporary, path) != 0)
        rv = err_errno(err, errno, "cannot put %s in the place of %s", temporary, path);
    return rv != 0 ? rv : sync_directory_of(path, err);
}
