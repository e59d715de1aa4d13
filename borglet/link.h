/*
 * link.h - the one connection of a borglet: to whichever replica answers.
 *
 *     WAITING -- timer --> DIALLING -- open --> GREETING -- welcome --> LINKED
 *        ^                    |                    |                      |
 *        +--- closed, refused, no answer in time: the next replica -------+
 *        +--- asked to move (WIRE_MOVE): the one that was named ----------+
 *
 * The order of the replicas depends on the machine's name, so that machines spread evenly, those of
 * a replica that dies as well. While none
 * answers, rounds are LINK_BACKOFF_MIN_MS to LINK_BACKOFF_MAX_MS apart. Each new connection says
 * everything again (WIRE_HELLO), so nothing needs to be kept for a replica that is gone. The
 * heartbeat is a call: a replica that is stopped keeps its sockets, but does not answer.
 */
#ifndef BORGLET_LINK_H
#define BORGLET_LINK_H

#include "cell_file.h"
#include "rpc.h"
#include "wire.h"

enum {
    LINK_BACKOFF_MIN_MS = 50,
    LINK_BACKOFF_MAX_MS = 1000,
    LINK_GREETING_MS = 3000, /* for the answer to WIRE_HELLO */
    LINK_ANSWER_MS = 500,    /* a heartbeat's answer may come so much after the next was due */
    LINK_STABLE_MS = 1000,   /* a link that lived shorter counts as a failure */
    LINK_HEARTBEAT_MIN_MS = 100,
    LINK_HEARTBEAT_MAX_MS = 60000,
};

struct link_options {
    uv_loop_t *loop;
    struct tls_context *tls;
    const struct cell_file *cell; /* borrowed */
    const char *name;             /* of the machine; borrowed */
    const char *addr;             /* where our logs are served; borrowed */
    struct resources capacity;
    struct resource_names resource_names;
    const struct words *attributes; /* of the machine; borrowed */
    void *data;
    /* Fill seen_index and the reports (the link frees them). */
    void (*on_hello)(void *data, struct wire_hello *hello);
    /* What the cell wants; `in` is the link's, specs may be moved out. */
    void (*on_intents)(void *data, struct wire_intents *in);
    /* The cell's rows of identities; `in` is the link's, the rows may be moved out. */
    void (*on_identities)(void *data, struct wire_identities *in);
};

struct link;

struct link *link_open(const struct link_options *options);
void link_close(struct link *link); /* freed by the loop */
/* Remember to tell; a later report of the same attempt replaces it. Lost when not linked: the next
 * hello says it. */
void link_report(struct link *link, const struct report *report);
/* Told only while linked: the next ones say it again. */
void link_usage(struct link *link, const struct wire_usages *usages);
/* Send what is remembered. */
void link_flush(struct link *link);
bool link_is_up(const struct link *link); /* a replica drives this machine */

#endif
