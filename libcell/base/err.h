/*
 * err.h - errors: a code for programs to test, and a message for a person to act on.
 *
 * A function that can fail returns 0 or a negated enum err_code and takes `struct err *err` as its
 * last parameter. The caller owns it; nothing is allocated. `err` may be NULL when the caller needs
 * only the code. The codes are part of the wire format and of SQLite: append, never renumber.
 */
#ifndef CELL_ERR_H
#define CELL_ERR_H

#include "base.h"

#define ERR_CODES(X) \
    X(OK, 0, "ok") \
    X(INVALID, 1, "invalid")       /* this input can never be accepted */ \
    X(NOT_FOUND, 2, "not-found")   /* no such job, task, machine, ... */ \
    X(EXISTS, 3, "exists")         /* the name is taken */ \
    X(STATE, 4, "wrong-state")     /* not possible in the present state */ \
    X(DENIED, 5, "denied")         /* the caller's role may not do this */ \
    X(LIMIT, 6, "limit")           /* a declared limit would be exceeded */ \
    X(NOT_LEADER, 7, "not-leader") /* retry; the message names the leader if it is known */ \
    X(UNKNOWN_OUTCOME, 8, "unknown-outcome") /* may have been executed: retry with the same id */ \
    X(TIMEOUT, 9, "timeout")                 /* no answer in time */ \
    X(IO, 10, "io")                          /* file, socket or device failed */ \
    X(CORRUPT, 11, "corrupt")                /* the bytes violate their format or checksum */ \
    X(UNAVAILABLE, 12, "unavailable")        /* temporary: no leader, starting, overloaded */ \
    X(CLOSED, 13, "closed")                  /* either end closed the connection */ \
    X(EXPIRED, 14, "expired")                /* too old to know whether it was executed */

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

/* Like err_set() with ERR_IO; append ": " and strerror(errno_value). */
int err_errno(struct err *err, int errno_value, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Prepend "context: " to the message, keep the code, return -code. */
int err_wrap(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Return the stable short text of a code, or "unknown". */
const char *err_code_text(enum err_code code);

#endif
