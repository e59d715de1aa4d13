/*
 * raftlog_guard.h - stands between canonical/raft 0.15.0 and its raft_io, and keeps it honest.
 *
 * 0.15.0 loses acknowledged entries in partitions and corrupts itself when a disk write fails
 * (README.md). Each rule below repairs one such fault from outside, by delaying, changing or
 * dropping what passes between the library and its I/O. The guard is a raft_io of its own: the
 * library talks to guard->io, the guard to guard->inner, so it works on libuv and on
 * raft/fixture.h alike and needs no table of instances.
 *
 * It reads, and in two places writes, public fields of struct raft: this exact version or none.
 */
#ifndef RAFTLOG_GUARD_H
#define RAFTLOG_GUARD_H

#include "list.h"

#include <raft.h>

struct raftlog_seal;

enum guard_rule {
    GUARD_OWN_TERM,      /* G1 commit nothing before an entry of our own term is on our disk */
    GUARD_ACK_CHECKED,   /* G2 acknowledge only what this term's leader has compared */
    GUARD_STABLE_LOG,    /* G3 no candidate, and no stray answer, while the log is being written */
    GUARD_DISK_FATAL,    /* G4 a failed disk write ends the instance */
    GUARD_FORGET_LEADER, /* G5 a leader not heard of for an election timeout protects nobody */
    GUARD_COMMIT_EARLY,  /* G6 commit what a majority has, not only our last entry */
    GUARD_KEEP_LOG,      /* G7 no truncation while anything is being written */
    GUARD_ONE_VOTE,      /* G8 one vote a term, also for the target of a transfer */
    GUARD_ACK_STORED,    /* G9 acknowledge a snapshot only as far as our disk goes */
    GUARD_BOUNDED_SENDS, /* G10 bounded bytes under way to a slow follower */
    GUARD_KEEP_SNAPSHOT, /* G11 a leader's snapshot waits for our own, it is not lost */
    GUARD_ONE_WRITE,     /* G12 one write of entries at a time, one batch in it */
    GUARD_KEEP_MEMBERS,  /* G13 a change of members that is void is rolled back */
    GUARD_KEEP_PLACE,    /* G14 what could not be sent says nothing of what a follower has */
    GUARD_ONE_SNAPSHOT,  /* G15 a snapshot is sent once, and no log is cut that comes after it */
    GUARD_RULE_COUNT
};

enum {
    GUARD_PEERS_MAX = 16,
    GUARD_HELD_MAX = 1024,          /* messages kept while G1 waits for our disk */
    GUARD_SEND_BYTES_MAX = 8388608, /* entries under way to one follower */
};

/* Who has the guard. What is NULL is not asked. */
struct guard_owner {
    /* What cannot be gone on with; `damaged`: what the disk has is wrong. NULL: abort. */
    void (*fatal)(void *data, const char *what, bool damaged);
    /* What the disk had, before the library works on it: 0, or what raft_start shall return. */
    int (*loaded)(void *data, const struct raft_snapshot *snapshot, raft_index start_index,
                  const struct raft_entry *entries, size_t n);
    /* Is it an image that we wrote, every byte of it? */
    bool (*image_ok)(void *data, const struct raft_buffer *image);
    /* Look at an image and load it, elsewhere; raftlog_guard_prepared() when that is done. Until
     * then the bytes stay. One at a time: the library restores it, or it is unprepared, before the
     * next. NULL, both: image_ok is asked at once. */
    void (*prepare)(void *data, const struct raft_buffer *image);
    void (*unprepare)(void *data);
    struct raftlog_seal *seal; /* term, vote and the end of the log; NULL: the inner raft_io's */
    void *data;
};

struct guard_peer {
    raft_id id;
    size_t sending_bytes; /* of AppendEntries given to the transport and not yet done */
    raft_term term;       /* of the next two, which are 0 in any other term */
    raft_index acked;     /* it has stored our log up to here */
    raft_index told;      /* it has been sent that so much is committed, and the entries */
    raft_index
        snapshot_index; /* the last that it was sent ends here, sent at snapshot_ms; 0: none */
    raft_index snapshot_asked; /* where the library believes that it ends; 0: it may be lost */
    uint64_t snapshot_number;  /* how many had been sent then */
    raft_time snapshot_ms;
    raft_time heard_ms; /* when it last answered, by the clock of raft_io; 0: not in `term` */
};

struct raftlog_guard {
    struct raft_io io;     /* what the library sees */
    struct raft_io *inner; /* what does the work; its data points to us */
    struct raft *raft;
    uint32_t off;   /* BIT(rule): rules switched off, for tests that prove that a rule is needed */
    bool held_back; /* hears nobody and stands for nothing, until the owner lets it go */
    bool dead;      /* after a fatal failure: nothing passes any more */
    bool closing;   /* what waits to be stored is not begun any more */
    bool closed;    /* and the library has been told that it is done */
    struct guard_owner owner;

    raft_io_tick_cb tick; /* the library's callbacks */
    raft_io_recv_cb recv;
    raft_io_close_cb close_cb;
    struct raft_io_snapshot_put put; /* one at a time; the library's request is put_request */
    struct raft_io_snapshot_put *put_request;
    raft_io_snapshot_put_cb put_cb;

    unsigned appends;            /* requests to store entries that are not done */
    unsigned writes;             /* writes of entries under way */
    struct list appends_waiting; /* G12: requests for the next write */
    raft_term barrier_term;      /* G1: the term of ours whose barrier has been appended */
    raft_index barrier_index;    /* and where it is in the log */
    struct list held;            /* AppendEntries results that wait for it */
    size_t held_count;

    raft_term checked_term; /* G2: highest index that the leader of this term has compared */
    raft_index checked_index;
    bool answering;        /* the library is working on a message that it may answer */
    raft_index answer_max; /* an answer may acknowledge this much if it accepts the message */
    bool answer_stored;    /* and no more than is on our disk (G9) */

    struct guard_held *timeout_now;   /* G3: waits for our disk */
    struct guard_held *snapshot;      /* G11: waits for our own snapshot, or is being prepared */
    struct guard_held *snapshot_next; /* one that came meanwhile */
    bool preparing;
    bool prepared;            /* or being prepared: it is restored or unprepared */
    unsigned gets;            /* G15: reads of our snapshot, to be sent */
    struct list gets_waiting; /* those that wait for our next one */
    raft_index get_asked;     /* in the callback of one: where the library believes it ends */
    struct guard_peer peers[GUARD_PEERS_MAX];
    struct raft_fsm fsm;             /* G13: what the library sees */
    struct raft_fsm *inner_fsm;      /* the owner's */
    struct raft_configuration conf;  /* the last that is committed */
    raft_index conf_index;           /* of its entry; 0: none is known */
    raft_index conf_open_index;      /* of the one that was on the disk and may be not committed */
    uint64_t snapshots_sent;         /* to followers */
    uint64_t used[GUARD_RULE_COUNT]; /* how often a rule changed what happened */
};

/* After raft_init, before raft_start. The guard must outlive the close callback of `r`. */
void raftlog_guard_install(struct raftlog_guard *g, struct raft *r, uint32_t off,
                           const struct guard_owner *owner);
/* After the close callback. */
void raftlog_guard_release(struct raftlog_guard *g);

/*
 * The library tells a follower what is committed with the next entries or the next heartbeat but
 * one. Tell all followers that have everything up to `index`, which is committed, and may not know.
 * Safe at any time, a leader's or not: it is the message that a heartbeat would be.
 */
void raftlog_guard_tell(struct raftlog_guard *g, raft_index index);
/* The image is what we wrote (`ok`), and loaded: the library gets it. */
void raftlog_guard_prepared(struct raftlog_guard *g, bool ok);

/* Would raftlog_guard_tell() have something to tell? */
bool raftlog_guard_untold(struct raftlog_guard *g, raft_index index);

/* Does a follower put a snapshot of ours in place, for less than `max_ms`, and needs what comes
 * after it? The log must not be cut shorter than that meanwhile: it would need the next one. */
bool raftlog_guard_follower_installs(const struct raftlog_guard *g, unsigned max_ms);

/* What a leader knows of a follower; NULL: it has not heard of it in this term. */
const struct guard_peer *raftlog_guard_peer(const struct raftlog_guard *g, raft_id id);

/* Term of the entry at `index`, 0 when the log does not know it. */
raft_term raftlog_guard_term_of(const struct raft_log *log, raft_index index);
/* Entries or a snapshot of a leader are on their way to our disk. */
bool raftlog_guard_writing(const struct raftlog_guard *g);

#endif
