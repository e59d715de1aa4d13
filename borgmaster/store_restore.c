/*
 * store_restore.c - a checkpoint made the beginning of a new cell.
 *
 * A checkpoint is a file that anybody may have changed, seals and digest included. Nothing of it is
 * taken over as it is: it is checked and loaded, and what was loaded is written into a database of
 * our own; history, which the cell does not hold, is copied row by row.
 */
#include "store_impl.h"
#include "store_tables.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int file_read(const char *path, void **ret_bytes, size_t *ret_size, struct err *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        int why = errno;
        if (fd >= 0)
            close(fd);
        return err_errno(err, why, "cannot read %s", path);
    }
    int rv = 0;
    if (!S_ISREG(st.st_mode) || st.st_size > STORE_IMAGE_BYTES_MAX)
        rv = err_set(err, ERR_LIMIT, "%s is no file of at most %d bytes", path,
                     STORE_IMAGE_BYTES_MAX);
    size_t size = rv == 0 ? (size_t)st.st_size : 0, at = 0;
    char *bytes = xcalloc(size + 1, 1);
    for (ssize_t n = 1; rv == 0 && n != 0 && at < size; at += (size_t)MAX(n, 0)) {
        n = read(fd, bytes + at, size - at);
        if (n < 0 && errno != EINTR)
            rv = err_errno(err, errno, "cannot read %s", path);
    }
    close(fd);
    *ret_bytes = bytes;
    *ret_size = at;
    return rv;
}

/* Everything that the cell holds, answers too, as one change of an empty database. */
static struct delta *delta_all(const struct cell *cell)
{
    struct delta *delta = delta_full(cell);
    delta->full = false; /* it is written like any other */
    delta->has_quotas = true;
    delta->requests = xcalloc(CELL_REQUESTS_MAX, sizeof *delta->requests);
    for (uint64_t i = 0; cell->requests != NULL && i < CELL_REQUESTS_MAX; i++) {
        uint64_t seq = cell->request_seq - i;
        const struct remembered *row = &cell->requests[seq % CELL_REQUESTS_MAX];
        if (row->request_id[0] != 0 || row->request_id[1] != 0)
            delta->requests[delta->request_count++] = (struct request_row){seq, *row};
        if (seq == 0)
            break;
    }
    return delta;
}

/* Reading has checked the columns. */
static int event_check(const struct event *event, uint64_t event_seq, struct err *err)
{
    if (event->seq < 1 || event->seq > event_seq)
        return err_set(err, ERR_CORRUPT, "event %" PRIu64 ": the last one is %" PRIu64, event->seq,
                       event_seq);
    if ((event->job_name[0] != '\0' && !name_valid(event->job_name)) ||
        (event->machine_name[0] != '\0' && !name_valid(event->machine_name)))
        return err_set(err, ERR_CORRUPT, "event %" PRIu64 ": a name in it is none", event->seq);
    return 0;
}

static int events_copy(sqlite3 *from, struct store_rows *to, uint64_t event_seq, struct err *err)
{
    struct sql_reader CLEANUP(sql_reader_close) reader = {0};
    struct event event;
    int rv = sql_reader_open(&reader, from, &events_table, "", "ORDER BY seq", err);
    while (rv == 0 && (rv = sql_read(&reader, &event, err)) == 1) {
        rv = event_check(&event, event_seq, err);
        rv = rv != 0 ? rv : store_rows_put_event(to, &event, err);
    }
    return rv;
}

static int history_copy(const char *checked, struct store_rows *rows, uint64_t event_seq,
                        struct err *err)
{
    sqlite3 *db = NULL;
    int rv = 0;
    if (sqlite3_open_v2(checked, &db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK)
        rv = store_sqlite_err(db, "cannot be opened", err);
    if (rv == 0)
        rv = events_copy(db, rows, event_seq, err);
    sqlite3_close(db);
    return rv;
}

/* The cell's new beginning, in a database of our own at `path`. */
static int begin_again(const char *checked, const char *path, uint64_t identity, struct cell *cell,
                       uint64_t at_s, struct store_restored *ret, struct err *err)
{
    struct changes changes = {0};
    struct store_rows rows;
    uint64_t event_seq = cell->event_seq;
    cell_begin_again(cell, at_s, &changes);
    struct delta *all = delta_all(cell), *begin = delta_collect(cell, &changes);
    int rv = store_rows_open(&rows, path, identity, err);
    rv = rv != 0 ? rv : store_rows_begin(&rows, err);
    rv = rv != 0 ? rv : store_rows_put(&rows, all, err);
    rv = rv != 0 ? rv : history_copy(checked, &rows, event_seq, err);
    rv = rv != 0 ? rv : store_rows_put(&rows, begin, err);
    rv = rv != 0 ? rv : store_rows_commit(&rows, err);
    rv = rv != 0 ? rv : store_serialise(rows.db, &ret->bytes, &ret->size, err);
    store_rows_close(&rows);
    delta_unref(all);
    delta_unref(begin);
    changes_release(&changes);
    ret->index = cell->applied_index;
    ret->term = cell->applied_term;
    return rv;
}

int store_restore(const char *checkpoint, const char *temporary, uint64_t identity, uint64_t at_s,
                  struct store_restored *ret, struct err *err)
{
    void *bytes = NULL;
    size_t size = 0;
    char fresh[1100];
    struct cell *cell = cell_new();
    *ret = (struct store_restored){0};
    snprintf(fresh, sizeof fresh, "%s-new", temporary);
    int rv = file_read(checkpoint, &bytes, &size, err);
    if (rv != 0) {
        cell_free(cell);
        return rv;
    }
    store_image_remove(fresh);
    rv = store_image_check(temporary, bytes, size, STORE_BY_ANYBODY, cell, err);
    free(bytes);
    if (rv == 0)
        cell_check(cell);
    rv = rv != 0 ? rv : begin_again(temporary, fresh, identity, cell, at_s, ret, err);
    store_image_remove(temporary);
    store_image_remove(fresh);
    cell_free(cell);
    return rv == 0 ? 0 : err_wrap(err, "%s", checkpoint);
}
