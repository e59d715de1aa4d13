/*
 * resolver.h - addresses of host names, without a loop ever waiting for the name service.
 *
 * A name service that does not answer keeps getaddrinfo() for half a minute. So it is asked in
 * threads of its own (not libuv's pool, which writes the log of Raft): one per name at most, and
 * RESOLVER_THREADS_MAX together. What it said is remembered; when it says nothing for
 * RESOLVER_PATIENCE_MS, or that it cannot say now, the address of before is used.
 *
 *                    ask: look-up begins          answer
 *      (unknown) ---------------------> ASKING ----------> KNOWN --RESOLVER_FRESH_MS--> asked anew
 *                                          +-- no such name --> FAILED --RESOLVER_FAILED_MS--> anew
 *
 * One table for the process; any thread may ask.
 */
#ifndef CELL_RESOLVER_H
#define CELL_RESOLVER_H

#include "err.h"
#include "limits.h"

#include <sys/socket.h>

enum {
    RESOLVER_FRESH_MS = 10000,  /* as long an answer is used without asking again */
    RESOLVER_FAILED_MS = 1000,  /* so long after a refusal nobody is asked again */
    RESOLVER_PATIENCE_MS = 300, /* after it the address of before is good enough */
    RESOLVER_WAIT_MS = 10000,   /* of resolver_wait() */
    RESOLVER_THREADS_MAX = 16,  /* look-ups under way; more names wait for their turn */
    RESOLVER_NAMES_MAX = 64,    /* names remembered, the one not asked for longest goes first */
};

enum resolver_state { RESOLVER_KNOWN, RESOLVER_ASKING, RESOLVER_FAILED };

/* Never waits. KNOWN: the address is in `ret`, its port 0. ASKING: come again in a few ms. FAILED:
 * `err` says why (ERR_NOT_FOUND). `host` has CELL_ADDR_MAX bytes at most. */
enum resolver_state resolver_ask(const char *host, struct sockaddr_storage *ret, struct err *err);

/* For programs that begin, and have no loop yet: waits for RESOLVER_WAIT_MS at most. 0, or
 * ERR_NOT_FOUND; an old address is used rather than waited for. */
int resolver_wait(const char *host, struct sockaddr_storage *ret, struct err *err) MUST_USE;

/* For tests: what is called, in a thread, in place of getaddrinfo(), which returns 0 or an EAI_
 * code (NULL: that), and in place of RESOLVER_FRESH_MS. Forgets names that nobody looks up now. */
typedef int (*resolver_lookup)(const char *host, struct sockaddr_storage *ret);
void resolver_use(resolver_lookup lookup, uint64_t fresh_ms);

#endif
