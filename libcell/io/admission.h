/*
 * admission.h - limits on what one identity may hold of a listening port; computed without I/O or a
 * clock.
 *
 * Every holder of a certificate of the cell may open connections and send data without restriction.
 * Therefore the resources of an identity are counted over all its connections, in an account, and
 * bounded by the budget of its role. Connections before the end of the handshake have no identity
 * yet; they are "strangers" and share one budget.
 *
 *      accepted --admission_accept--> STRANGER --admission_identify--> ACCOUNT --account_leave-->
 *
 * An identity over its budget waits: its connections are not read (calls, bytes, turns, time of the
 * loop), or not accepted (strangers). Only connections are refused, and a connection whose output
 * is not fetched is closed.
 *
 * The total number of connections is bounded by the process's limit of descriptors, some of which
 * are kept for files (the log, the store). Each role has a share that no other role can use, so
 * that masters, borglets and users find room while others use up the rest.
 */
#ifndef CELL_ADMISSION_H
#define CELL_ADMISSION_H

#include "bucket.h"
#include "idmap.h"
#include "tls.h"

/* The budget of one identity, over all its connections to one port. For strangers only
 * `connections` and `share_percent` are used, and they apply to all strangers together. */
struct admission_budget {
    uint32_t connections;   /* maximum, see also `identity_percent` */
    uint32_t share_percent; /* of all connections; reserved for this role */
    uint32_t calls;         /* unanswered calls; a notice counts until it has been served */
    size_t call_bytes;      /* bytes of these calls */
    size_t frame_bytes;     /* bytes received and not served, mostly of incomplete frames */
    size_t memory_bytes;    /* frame_bytes and the bytes waiting to be sent */
    uint32_t turn_frames;   /* frames served in one turn of the loop */
    uint32_t turn_us;  /* time for serving in one turn; the frame that exceeds it is the last */
    size_t turn_bytes; /* bytes read in one turn */
    struct bucket_limits busy; /* share of the loop's time spent on its data; 100%: unlimited */
    uint64_t idle_ms;          /* close a connection idle for so long; 0: never */
};

struct admission_limits {
    size_t connections;         /* total, regardless of the number of descriptors */
    uint32_t identity_percent;  /* of all connections, for one identity */
    uint32_t strangers_percent; /* of all connections, for all strangers */
    uint32_t files_kept;        /* descriptors kept for files and outgoing connections; at most a
                                   quarter of all */
    uint64_t frame_ms;          /* time in which a frame must be complete */
    uint32_t turn_users_us;     /* time for all users together in one turn */
    struct admission_budget roles[ROLE_COUNT]; /* ROLE_NONE: the strangers */
};

/* The limits of an rpc port, and those of a Raft port, which only masters use. */
extern const struct admission_limits admission_rpc;
extern const struct admission_limits admission_raft;
/* Return limits that bound only the number of connections; for tests of the lower layers. */
struct admission_limits admission_open(size_t connections);

struct admission;

/* Create the accounting of a port. `limits` is copied. */
struct admission *admission_new(const struct admission_limits *limits, uint64_t files_max);
/* Free it. Accounts in use stay valid until their connections have left. */
void admission_free(struct admission *a);
/* The limit of descriptors has changed. Existing connections above the new limit stay. */
void admission_set_files(struct admission *a, uint64_t files_max);
/* Return whether a connection may use this descriptor. The kernel assigns the lowest free
 * number, so a number near the limit means that only descriptors kept for files are left. */
bool admission_may_have(const struct admission *a, int descriptor, struct err *err);
const struct admission_limits *admission_limits(const struct admission *a);

/* The verdict on a new connection. */
enum admission_verdict {
    ADMISSION_TAKEN, /* it is a stranger now; admission_identify() or admission_gone() follows */
    ADMISSION_WAIT,  /* there are too many strangers at present */
    ADMISSION_FULL,  /* there is no room for any connection; `err` explains */
};
enum admission_verdict admission_accept(struct admission *a, struct err *err);
void admission_gone(struct admission *a); /* a stranger has left */

struct admission_account;

/* Turn a stranger into a connection of the account of `who`, until account_leave(). On
 * ERR_LIMIT, with a message for the peer, it stays a stranger and should be closed. */
int admission_identify(struct admission *a, const struct identity *who,
                       struct admission_account **ret, struct err *err) MUST_USE;
/* Return an account for a connection that we opened, with the rpc budget of its role. */
struct admission_account *account_new(const struct identity *who);
void account_leave(struct admission_account *account);

const struct admission_budget *account_budget(const struct admission_account *account);
const struct admission_limits *account_limits(const struct admission_account *account);

/* A call or notice of `bytes` begins or ends. A call may outlive its connection. */
void account_call_begin(struct admission_account *account, size_t bytes);
void account_call_end(struct admission_account *account, size_t bytes);
/* Update the number of bytes received and not served; account_output() does so for waiting
 * output. */
void account_frames(struct admission_account *account, size_t was, size_t now);
void account_output(struct admission_account *account, size_t was, size_t now);

/* Return the bytes of memory it uses, received or to be sent. */
size_t account_memory(const struct admission_account *account);
/* Return whether it is over its budget: then nothing is read until it is below half of it. */
bool account_is_full(const struct admission_account *account);
bool account_has_room(const struct admission_account *account);
/* Return whether incomplete frames use too much: then connections with an incomplete frame wait. */
bool account_frames_full(const struct admission_account *account);
bool account_may_send(const struct admission_account *account, size_t bytes);

/* Return whether this is a user and all users together have used their time in this turn. */
bool account_turn_is_over(struct admission_account *account, uint64_t turn);
/* Return whether another frame may be served in this turn. `turn` is any number unique to the
 * turn. */
bool account_may_serve(struct admission_account *account, uint64_t turn);
void account_served(struct admission_account *account, uint64_t us);
/* Record that the loop spent `us` on its data, until now_us. Bounding each turn is not enough,
 * because turns may follow each other without a pause: an identity that always has requests
 * would otherwise occupy the thread, and with it the cores that other programs and masters need. */
void account_busy(struct admission_account *account, uint64_t now_us, uint64_t us);
/* Return whether it has used its share: then it is neither served nor read until the bucket
 * empties. */
bool account_is_over(const struct admission_account *account, uint64_t now_us);
/* Cheap test without a clock: if false, account_is_over() is false. */
bool account_may_be_over(const struct admission_account *account);
/* Record that `bytes` were read; return whether more may be read in this turn. */
bool account_may_read(struct admission_account *account, uint64_t turn, size_t bytes);

#endif
