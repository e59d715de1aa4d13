/*
 * store_reader.h - SQL of users, in a process of its own.
 *
 * SQLite cannot be stopped inside a function: replace(), LIKE, a sort or a function that nobody
 * thought of may take minutes and all memory. So statements are run by processes that have no other
 * duty, hold no secret but the database, and may be killed at any time (store_query.c does so when
 * the time is over). Such a process is this very program, started with READER_NAME as argv[0]: a
 * program that links the store begins main() with
 *
 *     if (reader_is(argc, argv))
 *         reader_run(argv);
 *
 * It has one socket, READER_FD: a struct reader_request and its bytes come in, a struct
 * reader_reply and its bytes go out, one after the other. Both ends are the same program.
 */
#ifndef BORGMASTER_STORE_READER_H
#define BORGMASTER_STORE_READER_H

#include "buf.h"
#include "err.h"

#include <sys/types.h>

#define READER_NAME "borg-reader"

enum {
    READER_FD = 3,
    READER_MEMORY_BYTES_MAX = 67108864, /* SQLite's: sorting and temporary tables included */
    READER_REPLY_BYTES_MAX = 67108864
};

struct reader_request {
    uint32_t user_size; /* bytes that follow: first the name, then the SQL; neither with a NUL */
    uint32_t sql_size;
    uint32_t budget_ms; /* for the statement; the process ends it by itself when it can */
    uint32_t reads_all; /* 1: also what is private to others */
};

struct reader_reply {
    uint32_t code; /* enum err_code; ERR_OK: rows (wire_pack_rows) follow, else the message */
    uint32_t size; /* bytes that follow */
};

bool reader_is(int argc, char *const *argv);
/* argv: READER_NAME, the database, the process id of who started it. */
_Noreturn void reader_run(char *const *argv);
/* Start this program as a reader process. `ret_fd` is the other end of its socket, non-blocking. */
int reader_start(const char *database, pid_t *ret_pid, int *ret_fd, struct err *err) MUST_USE;

/* The work of the process, for tests that run it in their own. The database is opened once. */
struct reader;
struct reader *reader_new(const char *database);
void reader_free(struct reader *reader);
/* `rows` gets the packed rows. ERR_CORRUPT: the database is damaged. */
int reader_answer(struct reader *reader, const char *user, bool reads_all, const char *sql,
                  uint64_t budget_ms, struct buf *rows, struct err *err) MUST_USE;

#endif
