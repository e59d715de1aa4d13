/*
 * link.h - the connection of a borglet to one replica, whichever answers.
 *
 *     WAITING -- timer --> DIALLING -- open --> GREETING -- welcome --> LINKED
 *        ^                    |                    |                      |
 *        +--- closed, refused, no answer in time: the next replica -------+
 *        +--- asked to move (WIRE_MOVE): the one that was named ----------+
 *
 * The order in which replicas are tried depends on the name of the machine, so that machines are
 * distributed evenly, those of a failed replica as well. While no replica answers, rounds are
 * LINK_BACKOFF_MIN_MS to LINK_BACKOFF_MAX_MS apart. A new connection begins with the complete state
 * (WIRE_HELLO), so nothing is kept for a replica that is gone. The heartbeat is a call, because the
 * sockets of a stopped replica stay open although it does not answer.
 */
#ifndef BORGLET_LINK_H
#define BORGLET_LINK_H

#include "cell_file.h"
#include "rpc.h"
#include "wire.h"

enum {
    LINK_BACKOFF_MIN_MS = 50,
    LINK_BACKOFF_MAX_MS = 1000,
    LINK_GREETING_MS = 3000, /* the time limit of the answer to WIRE_HELLO */
    LINK_ANSWER_MS =
        500, /* a heartbeat must be answered at most so long after the next one was due */
    LINK_STABLE_MS = 1000, /* a connection that lasted less counts as a failure */
    LINK_HEARTBEAT_MIN_MS = 100,
    LINK_HEARTBEAT_MAX_MS = 60000,
};

struct link_options {
    uv_loop_t *loop;
    struct tls_context *tls;
    const struct cell_file *cell; /* borrowed */
    const char *name;             /* of the machine; borrowed */
    const char *addr;             /* the address of the log server; borrowed */
    struct resources capacity;
    struct resource_names resource_names;
    const struct words *attributes; /* of the machine; borrowed */
    const struct words *labels;     /* the same; NULL: none */
    void *data;
    /* Fill in seen_index and the reports, which the link frees. */
    void (*on_hello)(void *data, struct wire_hello *hello);
    /* Take the intents of the cell. `in` belongs to the link; specs may be moved out. */
    void (*on_intents)(void *data, struct wire_intents *in);
    /* Take the identities of the cell. `in` belongs to the link; rows may be moved out. */
    void (*on_identities)(void *data, struct wire_identities *in);
};

struct link;

struct link *link_open(const struct link_options *options);
void link_close(struct link *link); /* freed by the loop */
/* Queue a report; a later one of the same attempt replaces it. Without a connection it is
 * dropped, because the next hello contains it. */
void link_report(struct link *link, const struct report *report);
/* Send the usage if there is a connection; the next measurement replaces a lost one. */
void link_usage(struct link *link, const struct wire_usages *usages);
/* Send the queued reports. */
void link_flush(struct link *link);
bool link_is_up(const struct link *link); /* a replica drives this machine */

#endif
