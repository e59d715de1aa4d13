/*
 * resolver.h - addresses of host names; a loop never waits for the name service.
 *
 * getaddrinfo() can block for half a minute when the name service does not answer. It therefore
 * runs in separate threads (not in libuv's pool, which writes the Raft log): at most one for each
 * name, and RESOLVER_THREADS_MAX in total. Answers are cached. If there is no answer for
 * RESOLVER_PATIENCE_MS, or only a temporary failure, the previous address is used.
 *
 *                    ask: look-up begins          answer
 *      (unknown) ---------------------> ASKING ----------> KNOWN --RESOLVER_FRESH_MS--> asked again
 *                                          +-- no such name --> FAILED --RESOLVER_FAILED_MS-->
 * again
 *
 * There is one table for the process; any thread may use it.
 */
#ifndef CELL_RESOLVER_H
#define CELL_RESOLVER_H

#include "err.h"
#include "limits.h"

#include <sys/socket.h>

enum {
    RESOLVER_FRESH_MS = 10000,  /* an answer is used for so long without a new look-up */
    RESOLVER_FAILED_MS = 1000,  /* no new look-up for so long after a failure */
    RESOLVER_PATIENCE_MS = 300, /* after this time the previous address is used */
    RESOLVER_WAIT_MS = 10000,   /* limit of resolver_wait() */
    RESOLVER_THREADS_MAX = 16,  /* concurrent look-ups; further names wait */
    RESOLVER_NAMES_MAX = 64,    /* names in the table; the least recently used one is replaced */
};

enum resolver_state { RESOLVER_KNOWN, RESOLVER_ASKING, RESOLVER_FAILED };

/* Look a name up without waiting. KNOWN: the address is in `ret`, its port is 0. ASKING: ask
 * again in a few ms. FAILED: `err` has the reason (ERR_NOT_FOUND). `host` has at most
 * CELL_ADDR_MAX bytes. */
enum resolver_state resolver_ask(const char *host, struct sockaddr_storage *ret, struct err *err);

/* Look a name up and wait, at most RESOLVER_WAIT_MS, for programs without a loop. Return 0 or
 * ERR_NOT_FOUND. A previous address is preferred to waiting. */
int resolver_wait(const char *host, struct sockaddr_storage *ret, struct err *err) MUST_USE;

/* For tests: replace getaddrinfo() by a function that returns 0 or an EAI_ code and runs in a
 * thread (NULL: getaddrinfo()), and RESOLVER_FRESH_MS. Removes all names without a look-up in
 * progress. */
typedef int (*resolver_lookup)(const char *host, struct sockaddr_storage *ret);
void resolver_use(resolver_lookup lookup, uint64_t fresh_ms);

#endif
