/*
 * err.h - what went wrong, in a code a program can test and a sentence a person can act on.
 *
 * Functions that can refuse return 0 or a negative enum err_code and take `struct err *err` last;
 * the caller owns it, nothing is allocated. `err` may be NULL when the caller wants the code only.
 * The codes travel on the wire and in SQLite: append, never renumber.
 */
#ifndef CELL_ERR_H
#define CELL_ERR_H

#include "base.h"

#define ERR_CODES(X) \
    X(OK, 0, "ok") \
    X(INVALID, 1, "invalid")       /* the input can never be accepted as it is */ \
    X(NOT_FOUND, 2, "not-found")   /* no such job, task, machine, ... */ \
    X(EXISTS, 3, "exists")         /* the name is taken */ \
    X(STATE, 4, "wrong-state")     /* not possible in the present state */ \
    X(DENIED, 5, "denied")         /* the caller's role may not do this */ \
    X(LIMIT, 6, "limit")           /* a declared limit would be exceeded */ \
    X(NOT_LEADER, 7, "not-leader") /* ask again; the message names the leader if known */ \
    X(UNKNOWN_OUTCOME, 8, "unknown-outcome") /* may have happened: retry with the same id */ \
    X(TIMEOUT, 9, "timeout")                 /* no answer in time */ \
    X(IO, 10, "io")                          /* file, socket or device failed */ \
    X(CORRUPT, 11, "corrupt")                /* bytes that cannot be what they should be */ \
    X(UNAVAILABLE, 12, "unavailable")        /* not now: no leader, starting, overloaded */ \
    X(CLOSED, 13, "closed")                  /* the other end went away or we are closing */ \
    X(EXPIRED, 14, "expired")                /* too old to know whether it has been carried out */

enum err_code {
#define X(name, number, text) ERR_##name = (number),
    ERR_CODES(X)
#undef X
};

enum {
#define X(name, number, text) +1
    ERR_CODE_COUNT = 0 ERR_CODES(X) /* one more than the last */
#undef X
};

enum { ERR_MSG_MAX = 512 };

struct err {
    enum err_code code;
    char msg[ERR_MSG_MAX];
};

/* Fill `err` (when not NULL) and return -code. */
int err_set(struct err *err, enum err_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Same, with ": " and strerror(errno_value) appended; the code is ERR_IO. */
int err_errno(struct err *err, int errno_value, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Put "context: " before the message, keep the code, return -code. */
int err_wrap(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Stable short text of a code, "unknown" for numbers that are none. */
const char *err_code_text(enum err_code code);

#endif
