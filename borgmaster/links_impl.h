/*
 * links_impl.h - what the files of the link shard share.
 *
 *      links_hello.c   a borglet's first message, until its link is up
 *      links.c         an open link: reports in, intents out; connections, timers
 *      links_tell.c    what every borglet is told: the masters, rights and revocations
 */
#ifndef BORGMASTER_LINKS_IMPL_H
#define BORGMASTER_LINKS_IMPL_H

#include "link_diff.h"
#include "links.h"
#include "list.h"

enum { LINKS_BATCH_MAX = 16384 }; /* reports, and usages, that wait to be proposed */

enum link_state {
    LINK_OPEN,        /* no hello has come yet */
    LINK_HELD,        /* a hello has come; it waits until a leader is known */
    LINK_REGISTERING, /* the command that registers the machine is under way */
    LINK_WAITING,     /* welcomed; the borglet has seen a newer index than this cell has */
    LINK_UP,
};

struct link {
    uint64_t id; /* of this connection; callbacks find the link by it */
    struct links *links;
    struct rpc_conn *conn;
    struct rpc_call *hello_call; /* not answered yet; in LINK_HELD and LINK_REGISTERING */
    enum link_state state;
    struct wire_hello hello; /* without its reports, which are in `tasks` */
    machine_id machine;      /* from LINK_WAITING on */
    struct link_tasks tasks;
    uint64_t heard_ms;
    bool moving;              /* it was asked to move to another replica */
    uint64_t identities_sent; /* the links.identities_version that the borglet has */
    struct list all;          /* in links.all */
    struct list unsettled;    /* in links.unsettled, or alone */
};

/* Reports and usages of all machines, until they are proposed. It fills up while LINKS_BATCHES_MAX
 * commands are under way. */
struct batch {
    struct report *reports;    /* LINKS_BATCH_MAX */
    struct task_usage *usages; /* LINKS_BATCH_MAX */
    size_t report_count, usage_count;
    unsigned reports_in_flight, usages_in_flight; /* commands without an answer */
};

struct links {
    struct core *core;
    struct batch batch;
    struct list all;       /* in the order in which they were opened */
    struct list unsettled; /* every tick looks at these: neither open nor up, or not reconciled */
    size_t count;          /* in LINK_UP or LINK_WAITING */
    uint64_t next_id;
    struct idmap by_id;
    struct idmap by_machine; /* machine id -> struct link, LINK_WAITING and LINK_UP */
    struct link_todo todo;   /* scratch */
    struct buf body;         /* scratch */
    struct buf identities;   /* packed, as every borglet must know them */
    uint64_t identities_version;
    bool identities_unsent; /* some link may not have this version yet */
    uv_timer_t tick;
    unsigned ticks;
    uint64_t leader_seen_ms; /* when a leader was last known */
    struct links_certs certs;
    uint64_t certs_ms;    /* when they were computed; 0: never */
    uint64_t leader;      /* the last known leader */
    uint64_t answered_ms; /* when it last answered this replica, or became known */
    uint64_t alive_ms;    /* when links_alive() was last called */
};

/* links.c */

/* Set whether every tick looks at the link. */
void links_set_unsettled(struct link *link, bool unsettled);
/* Record that a message has come. Returns false, and closes the link, when the message is stale:
 * after a long silence the borglet may be connected to another replica. */
bool links_hear(struct link *link);
/* Returns ERR_LIMIT when the machine has more attempts than it may. */
int links_take_reports(struct link *link, const struct report *reports, size_t count,
                       struct err *err) MUST_USE;
/* Reconcile the cell and the machine: send intents, queue reports. `full`: send all intents. */
void links_sync(struct link *link, bool full);

/* links_hello.c */

/* Take the next step of a link that is neither open nor up, if it can be taken. */
void links_go_on(struct link *link);
/* Returns whether the leader answers this replica; a new leader has LINKS_UNANSWERED_MS to do so.
 */
bool links_leader_hears(struct links *links, uint64_t now_ms);

/* links_tell.c */

/* Send the masters and the identities to a link that has just been welcomed. */
void links_tell_new(struct link *link);
void links_pack_identities(struct links *links);
/* Send the identities to links that do not have them, as many as one turn allows. */
void links_send_identities(struct links *links);

/* Returns true for a borglet that was welcomed, and may report. */
static inline bool links_is_welcome(const struct link *link)
{
    return link->state == LINK_WAITING || link->state == LINK_UP;
}

#endif
