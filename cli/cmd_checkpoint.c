/*
 * cmd_checkpoint.c - cell checkpoint: write the cell to a file.
 *
 * The file gets its name when it is complete, verified and on disk; an interrupted attempt leaves
 * FILE.part.
 */
#include "client.h"
#include "quantity.h"
#include "render.h"
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TRIES = 3 };

static int write_all(int fd, const struct buf *bytes, const char *path, struct err *err)
{
    for (size_t at = 0; at < bytes->size;) {
        ssize_t n = write(fd, bytes->bytes + at, bytes->size - at);
        if (n < 0 && errno != EINTR)
            return err_errno(err, errno, "cannot write %s", path);
        at += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

/* Fetch all pieces into `fd`, from the beginning. */
static int fetch(struct client *client, int fd, const char *path, struct err *err)
{
    CLEANUP(buf_release) struct buf piece = {0};
    uint64_t at = 0, total = 0;
    if (ftruncate(fd, 0) < 0 || lseek(fd, 0, SEEK_SET) < 0)
        return err_errno(err, errno, "cannot write %s", path);
    do {
        buf_clear(&piece);
        int rv = client_piece(client, at, &piece, &total, err);
        if (rv < 0)
            return rv;
        if (piece.size == 0)
            return err_set(err, ERR_CORRUPT, "the replica sent an empty piece of a checkpoint");
        if ((rv = write_all(fd, &piece, path, err)) < 0)
            return rv;
        at += piece.size;
    } while (at < total);
    return 0;
}

static int fetch_anew(struct client *client, int fd, const char *path, struct err *err)
{
    int rv = 0;
    for (int i = 0; i < TRIES; i++) {
        rv = fetch(client, fd, path, err);
        if (rv != -ERR_STATE) /* ERR_STATE: the replica that made the image is gone */
            break;
    }
    if (rv == 0 && fsync(fd) < 0)
        rv = err_errno(err, errno, "cannot write %s", path);
    return rv;
}

struct facts {
    int64_t index, machines, jobs, tasks;
};

/* Verify that the file is a sound database of a cell, and read its index and counts. */
static int check(const char *path, struct facts *ret, struct err *err)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    int rv = 0;
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(db,
                           "SELECT applied_index, (SELECT count(*) FROM machines WHERE state <> "
                           "'removed'), (SELECT count(*) "
                           "FROM jobs), (SELECT count(*) FROM tasks), (SELECT quick_check FROM "
                           "pragma_quick_check LIMIT 1) FROM meta",
                           -1, &stmt, NULL) != SQLITE_OK ||
        sqlite3_step(stmt) != SQLITE_ROW)
        rv = err_set(err, ERR_CORRUPT, "%s is no checkpoint: %s", path, sqlite3_errmsg(db));
    const char *verdict = rv == 0 ? (const char *)sqlite3_column_text(stmt, 4) : NULL;
    if (verdict != NULL && strcmp(verdict, "ok") != 0)
        rv = err_set(err, ERR_CORRUPT, "%s is damaged: %s", path, verdict);
    if (rv == 0)
        *ret = (struct facts){sqlite3_column_int64(stmt, 0), sqlite3_column_int64(stmt, 1),
                              sqlite3_column_int64(stmt, 2), sqlite3_column_int64(stmt, 3)};
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return rv;
}

static int checkpoint(struct client *client, bool fresh, const char *path, struct facts *ret,
                      struct err *err)
{
    char part[CELL_PATH_MAX + 8];
    struct wire_rows rows;
    if (strlen(path) > CELL_PATH_MAX)
        return err_set(err, ERR_INVALID,
                       "the path of the checkpoint has more than %d bytes; choose a shorter one",
                       CELL_PATH_MAX);
    if (access(path, F_OK) == 0)
        return err_set(err, ERR_EXISTS, "%s exists already; remove it or name another file", path);
    if (fresh) { /* the replica that answers this has everything; it is asked next */
        int rv = client_query(client, "SELECT 1", true, &rows, err);
        if (rv < 0)
            return rv;
        wire_rows_release(&rows);
    }
    snprintf(part, sizeof part, "%s.part", path);
    /* The file contains everybody's specs: it must be created by us, readable only for us. */
    unlink(part);
    int fd = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(err, errno, "cannot make %s", part);
    int rv = fetch_anew(client, fd, part, err);
    close(fd);
    if (rv == 0)
        rv = check(part, ret, err);
    /* Use link() and not rename(): FILE may have been created meanwhile. */
    if (rv == 0 && link(part, path) < 0)
        rv = err_errno(err, errno, "cannot make %s", path);
    unlink(part);
    return rv;
}

int cmd_cell_checkpoint(struct cli *cli)
{
    CLEANUP(client_close_ptr) struct client *client = NULL;
    const char *path = cli->args[0];
    struct facts facts = {0};
    struct err err;
    if (client_open(cli, &client, &err) < 0 ||
        checkpoint(client, cli_flag(cli, OPT_FRESH), path, &facts, &err) < 0)
        return cli_fail(&err);
    if (cli->output == OUTPUT_JSON)
        render_json_print(
            stdout, json_pack("{s:s, s:I, s:I, s:I, s:I}", "file", path, "index",
                              (json_int_t)facts.index, "machines", (json_int_t)facts.machines,
                              "jobs", (json_int_t)facts.jobs, "tasks", (json_int_t)facts.tasks));
    else if (!cli->quiet)
        print("%s: the cell at index %" PRId64 ", %" PRId64 " machines, %" PRId64 " jobs, %" PRId64
              " tasks\n",
              path, facts.index, facts.machines, facts.jobs, facts.tasks);
    return CLI_OK;
}
