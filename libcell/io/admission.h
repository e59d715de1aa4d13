/*
 * admission.h - what one identity may hold of a listening port, as arithmetic: no I/O, no clock.
 *
 * Everybody who has a certificate of the cell may come, as often as he likes, and send what he
 * likes. So what he holds is counted over all his connections together, in an account of his
 * identity, and bounded by the budget of his role; connections whose handshake is not done have no
 * identity yet and share one budget, that of the strangers.
 *
 *      accepted --admission_accept--> STRANGER --admission_identify--> ACCOUNT --account_leave-->
 *
 * What goes over a budget waits: it is not read (calls, bytes, turns, time of the loop), or not
 * accepted (strangers).
 * Only connections are refused, and output that nobody fetches ends its connection.
 *
 * The connections of all are bounded by the descriptors of the process, some of which are kept for
 * its files: the log, the store. Each role has a share that no other can take, so that masters,
 * borglets and users find room while others take all they can get.
 */
#ifndef CELL_ADMISSION_H
#define CELL_ADMISSION_H

#include "bucket.h"
#include "idmap.h"
#include "tls.h"

/* Of one identity, over all its connections to one port. For the strangers only `connections` and
 * `share_percent` mean something, and they are of all of them together. */
struct admission_budget {
    uint32_t connections;      /* at the most, see also `identity_percent` */
    uint32_t share_percent;    /* of all connections: only this role gets them */
    uint32_t calls;            /* that are not answered; a notice is one until it has been served */
    size_t call_bytes;         /* of those */
    size_t frame_bytes;        /* received and not served, mostly frames that are not whole */
    size_t memory_bytes;       /* those, and what waits to be sent */
    uint32_t turn_frames;      /* served in one turn of the loop */
    uint32_t turn_us;          /* that this may take; the frame that goes over it is the last */
    size_t turn_bytes;         /* read in one turn */
    struct bucket_limits busy; /* of the loop's time that goes into what it sends; 100%: no bound */
    uint64_t idle_ms; /* a connection that says nothing, and waits for nothing; 0: may stay */
};

struct admission_limits {
    size_t connections;         /* of all together, whatever the number of descriptors */
    uint32_t identity_percent;  /* of all connections, that one identity may have */
    uint32_t strangers_percent; /* and all the strangers */
    uint32_t files_kept; /* descriptors for files and for connections of our own; a quarter of all
                            if that is less */
    uint64_t frame_ms;   /* in which a frame that has begun must be whole */
    uint32_t turn_users_us;                    /* of all users together, in one turn */
    struct admission_budget roles[ROLE_COUNT]; /* ROLE_NONE: the strangers */
};

/* The limits of a port for rpc, and of that of Raft, where only masters have business. */
extern const struct admission_limits admission_rpc;
extern const struct admission_limits admission_raft;
/* Nothing but so many connections: for tests of what is below. */
struct admission_limits admission_open(size_t connections);

struct admission;

/* `limits` are copied. */
struct admission *admission_new(const struct admission_limits *limits, uint64_t files_max);
/* Accounts that are in use live on until they are left. */
void admission_free(struct admission *a);
/* The limit of descriptors has changed. What is over the new one stays. */
void admission_set_files(struct admission *a, uint64_t files_max);
/* May a connection have this descriptor? The kernel gives the lowest number that is free, so one
 * near the limit means that what is kept for files is all that is left. */
bool admission_may_have(const struct admission *a, int descriptor, struct err *err);
const struct admission_limits *admission_limits(const struct admission *a);

/* A connection has come. */
enum admission_verdict {
    ADMISSION_TAKEN, /* it is a stranger now: admission_identify() or admission_gone() follows */
    ADMISSION_WAIT,  /* there are too many strangers just now */
    ADMISSION_FULL,  /* there is no room for more connections at all; `err` says so */
};
enum admission_verdict admission_accept(struct admission *a, struct err *err);
void admission_gone(struct admission *a); /* a stranger left */

struct admission_account;

/* A stranger turns out to be `who`: now he is a connection of the account, until account_leave().
 * ERR_LIMIT, with the reason for the peer: he stays a stranger, and should go. */
int admission_identify(struct admission *a, const struct identity *who,
                       struct admission_account **ret, struct err *err) MUST_USE;
/* An account for a connection that we opened ourselves, with the budget of rpc of its role. */
struct admission_account *account_new(const struct identity *who);
void account_leave(struct admission_account *account);

const struct admission_budget *account_budget(const struct admission_account *account);
const struct admission_limits *account_limits(const struct admission_account *account);

/* A call or notice of `bytes` begins, and ends. A call may outlive its connection. */
void account_call_begin(struct admission_account *account, size_t bytes);
void account_call_end(struct admission_account *account, size_t bytes);
/* Bytes received and not served were `was`, and are `now`; so for output that waits. */
void account_frames(struct admission_account *account, size_t was, size_t now);
void account_output(struct admission_account *account, size_t was, size_t now);

/* Bytes that it holds of us, received or to be sent. */
size_t account_memory(const struct admission_account *account);
/* What is over its budget: nothing more is read until it is under half of it. */
bool account_is_full(const struct admission_account *account);
bool account_has_room(const struct admission_account *account);
/* Too much is in frames that are not whole: a connection that has one waits. */
bool account_frames_full(const struct admission_account *account);
bool account_may_send(const struct admission_account *account, size_t bytes);

/* Users as a whole have had their part of this turn, and he is one. */
bool account_turn_is_over(struct admission_account *account, uint64_t turn);
/* May another frame be served in this turn? `turn` is any number that tells turns apart. */
bool account_may_serve(struct admission_account *account, uint64_t turn);
void account_served(struct admission_account *account, uint64_t us);
/*
 * The loop was busy for `us` with what it sent, until now_us. Each turn is bounded, but one turn
 * may follow the other: who asks as fast as he is answered would have the thread to himself, and
 * with it what the machine's other programs, and the other masters, need of its cores.
 */
void account_busy(struct admission_account *account, uint64_t now_us, uint64_t us);
/* It has had its share: nothing of it is served or read until that has passed. */
bool account_is_over(const struct admission_account *account, uint64_t now_us);
/* A test without the clock: false says that account_is_over() is false. */
bool account_may_be_over(const struct admission_account *account);
/* `bytes` were read: may more be read in this turn? */
bool account_may_read(struct admission_account *account, uint64_t turn, size_t bytes);

#endif
