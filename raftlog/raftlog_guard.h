/*
 * raftlog_guard.h - a layer between canonical/raft 0.15.0 and its raft_io that repairs its faults.
 *
 * 0.15.0 loses acknowledged entries in partitions and corrupts its state when a disk write fails
 * (README.md). Each rule below repairs one such fault from outside: it delays, changes or drops
 * calls between the library and its I/O. The guard is itself a raft_io: the library calls guard->io
 * and the guard calls guard->inner. It therefore works on libuv and on raft/fixture.h alike and
 * needs no table of instances.
 *
 * The guard reads, and in two places writes, public fields of struct raft, so it requires exactly
 * this version.
 */
#ifndef RAFTLOG_GUARD_H
#define RAFTLOG_GUARD_H

#include "list.h"

#include <raft.h>

struct raftlog_seal;

enum guard_rule {
    GUARD_OWN_TERM,    /* G1 commit nothing before an entry of our own term is on our disk */
    GUARD_ACK_CHECKED, /* G2 acknowledge only entries that this term's leader has compared */
    GUARD_STABLE_LOG, /* G3 no candidacy and no misdirected answer while the log is being written */
    GUARD_DISK_FATAL, /* G4 a failed disk write ends the instance */
    GUARD_FORGET_LEADER, /* G5 ignore a leader that was silent for an election timeout */
    GUARD_COMMIT_EARLY,  /* G6 commit what a majority has stored, not only our last entry */
    GUARD_KEEP_LOG,      /* G7 no truncation during a write */
    GUARD_ONE_VOTE,      /* G8 one vote per term, also for the target of a transfer */
    GUARD_ACK_STORED,    /* G9 acknowledge a snapshot only as far as it is on our disk */
    GUARD_BOUNDED_SENDS, /* G10 bounded bytes in flight to a slow follower */
    GUARD_KEEP_SNAPSHOT, /* G11 a leader's snapshot waits for our own instead of being lost */
    GUARD_ONE_WRITE,     /* G12 one write of entries at a time, with one batch */
    GUARD_KEEP_MEMBERS,  /* G13 roll back a change of members whose entry is removed */
    GUARD_KEEP_PLACE,    /* G14 a failed send says nothing about the follower's log */
    GUARD_ONE_SNAPSHOT,  /* G15 send a snapshot once, and keep the log that follows it */
    GUARD_RULE_COUNT
};

enum {
    GUARD_PEERS_MAX = 16,
    GUARD_HELD_MAX = 1024,          /* messages kept while G1 waits for our disk */
    GUARD_SEND_BYTES_MAX = 8388608, /* bytes of entries in flight to one follower */
};

/* The owner of the guard. Functions may be NULL. */
struct guard_owner {
    /* Report an unrecoverable failure; `damaged`: the stored data is wrong. NULL: abort. */
    void (*fatal)(void *data, const char *what, bool damaged);
    /* Check the loaded data before the library uses it. Return 0, or the result of raft_start. */
    int (*loaded)(void *data, const struct raft_snapshot *snapshot, raft_index start_index,
                  const struct raft_entry *entries, size_t n);
    /* Return whether the image is complete and was written by us. */
    bool (*image_ok)(void *data, const struct raft_buffer *image);
    /* Check and load an image in another thread, then call raftlog_guard_prepared(). The bytes
     * stay valid until then. One image at a time: the library restores it, or `unprepare` is
     * called, before the next. If both are NULL, image_ok is called at once. */
    void (*prepare)(void *data, const struct raft_buffer *image);
    void (*unprepare)(void *data);
    struct raftlog_seal *seal; /* term, vote and the end of the log; NULL: the inner raft_io
                                  stores them */
    void *data;
};

struct guard_peer {
    raft_id id;
    size_t sending_bytes; /* bytes of AppendEntries given to the transport and not yet sent */
    raft_term term;   /* the term in which the next two are valid; in any other term they are 0 */
    raft_index acked; /* the follower has stored our log up to here */
    raft_index commit_sent; /* it was sent the entries and the commit index up to here */
    raft_index
        snapshot_index; /* last entry of the newest snapshot sent to it, at snapshot_ms; 0: none */
    raft_index snapshot_asked; /* last entry of that snapshot as the library believes; 0: it may
                                  be lost */
    uint64_t snapshot_number;  /* number of snapshots sent before */
    raft_time snapshot_ms;
    raft_time heard_ms; /* when it last answered, by the clock of raft_io; 0: not in `term` */
};

struct raftlog_guard {
    struct raft_io io;     /* the raft_io that the library sees */
    struct raft_io *inner; /* the raft_io that does the work; its data points to us */
    struct raft *raft;
    uint32_t off;   /* BIT(rule): rules switched off, for tests that show the need for a rule */
    bool held_back; /* receives nothing and starts no election until the owner allows it */
    bool dead;      /* after a fatal failure: all calls are dropped */
    bool closing;   /* no more waiting writes are begun */
    bool closed;    /* the library has been notified of the end of the close */
    struct guard_owner owner;

    raft_io_tick_cb tick; /* the library's callbacks */
    raft_io_recv_cb recv;
    raft_io_close_cb close_cb;
    struct raft_io_snapshot_put put; /* one at a time; the library's request is put_request */
    struct raft_io_snapshot_put *put_request;
    raft_io_snapshot_put_cb put_cb;

    unsigned appends;            /* unfinished requests to store entries */
    unsigned writes;             /* writes of entries in progress */
    struct list appends_waiting; /* G12: requests for the next write */
    raft_term barrier_term;      /* G1: our term whose barrier has been appended */
    raft_index barrier_index;    /* index of that barrier */
    struct list held;            /* AppendEntries results that wait for the barrier */
    size_t held_count;

    raft_term checked_term; /* G2: highest index that the leader of this term has compared */
    raft_index checked_index;
    bool answering;        /* the library is handling a message that it may answer */
    raft_index answer_max; /* highest index that the answer may acknowledge if it accepts */
    bool answer_stored;    /* the answer is also limited to what is on our disk (G9) */

    struct guard_held *timeout_now;   /* G3: waits for our disk */
    struct guard_held *snapshot;      /* G11: waits for our own snapshot, or is being prepared */
    struct guard_held *snapshot_next; /* a snapshot that arrived meanwhile */
    bool preparing;
    bool prepared;            /* prepared or being prepared: it will be restored or unprepared */
    unsigned gets;            /* G15: reads of our snapshot for sending */
    struct list gets_waiting; /* reads that wait for our next snapshot */
    raft_index get_asked; /* in the callback of a read: last entry of the snapshot as the library
                             believes */
    struct guard_peer peers[GUARD_PEERS_MAX];
    struct raft_fsm fsm;             /* G13: the state machine that the library sees */
    struct raft_fsm *inner_fsm;      /* the owner's */
    struct raft_configuration conf;  /* last committed configuration */
    raft_index conf_index;           /* index of its entry; 0: unknown */
    raft_index conf_open_index;      /* index of the loaded configuration that may be uncommitted */
    uint64_t snapshots_sent;         /* to followers */
    uint64_t used[GUARD_RULE_COUNT]; /* how often each rule has intervened */
};

/* Install the guard, after raft_init and before raft_start. It must outlive the close callback
 * of `r`. */
void raftlog_guard_install(struct raftlog_guard *g, struct raft *r, uint32_t off,
                           const struct guard_owner *owner);
/* Release the guard, after the close callback. */
void raftlog_guard_release(struct raftlog_guard *g);

/* Send the commit index to all followers that have everything up to `index` (committed) and may
 * not know that it is committed. The library sends the commit index only with the next entries
 * or the second next heartbeat. The message is the same as a heartbeat, so it is safe at any
 * time. */
void raftlog_guard_send_commit(struct raftlog_guard *g, raft_index index);
/* The prepared image was checked (`ok`: intact, and loaded): give it to the library. */
void raftlog_guard_prepared(struct raftlog_guard *g, bool ok);

/* Return whether raftlog_guard_send_commit() would send anything. */
bool raftlog_guard_commit_unsent(struct raftlog_guard *g, raft_index index);

/* Return whether a follower has been installing a snapshot of ours for less than `max_ms` and
 * needs the entries after it. The log must not be cut meanwhile, or the follower needs another
 * snapshot. */
bool raftlog_guard_follower_installs(const struct raftlog_guard *g, unsigned max_ms);

/* Return what a leader knows of a follower; NULL: it has not heard from it in this term. */
const struct guard_peer *raftlog_guard_peer(const struct raftlog_guard *g, raft_id id);

/* Return the term of the entry at `index`, 0 when it is not in the log. */
raft_term raftlog_guard_term_of(const struct raft_log *log, raft_index index);
/* Return whether entries or a leader's snapshot are being written to our disk. */
bool raftlog_guard_writing(const struct raftlog_guard *g);

#endif
