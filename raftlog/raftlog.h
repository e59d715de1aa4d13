/*
 * raftlog.h - the replicated log: bytes in, committed bytes out, in the same order on all replicas.
 *
 * Hides canonical/raft 0.15.0 (nobody else includes raft.h), holds it behind the guard
 * (raftlog_guard.c, why: README.md) and under our own TLS transport. Knows nothing of cells.
 *
 * Everything runs on the loop's thread; only `snapshot_write` and `restore_load` run in the libuv
 * pool. An entry may have any size up to RAFTLOG_ENTRY_BYTES_MAX; the log frames and pads it (the
 * library loses entries whose length is no multiple of 8).
 *
 * Every failure that the library cannot survive (failed disk write, RAFT_UNAVAILABLE, disk nearly
 * full, stuck disk) calls on_fatal once, after which the process should exit: four replicas remain.
 */
#ifndef RAFTLOG_H
#define RAFTLOG_H

#include "err.h"
#include "limits.h"
#include "tls.h"

#include <uv.h>

enum { RAFTLOG_MEMBERS_MAX = 10, RAFTLOG_ENTRY_BYTES_MAX = 1048576 };

enum raftlog_role { RAFTLOG_FOLLOWER, RAFTLOG_CANDIDATE, RAFTLOG_LEADER };

struct raftlog_member {
    uint64_t id;                     /* > 0 */
    char address[CELL_ADDR_MAX + 1]; /* of its raft transport, "host:port" */
};

struct raftlog_handlers {
    /* A committed entry. Called once per entry, in order, on every replica; bytes are borrowed.
     * After a restart entries after the last snapshot come again: skip those already known. */
    void (*on_apply)(void *data, uint64_t index, uint64_t term, const void *bytes, size_t size);
    /* Role, term or known leader changed. leader_id is 0 when unknown. */
    void (*on_role)(void *data, enum raftlog_role role, uint64_t term, uint64_t leader_id);

    /* Snapshot of everything applied up to `index`, three steps:
     * begin (loop): take a cheap frozen view, return a token, or NULL for "not now";
     * write (pool thread): give the image, malloc'ed, or an error; may block;
     * end (loop): the token is no longer used. */
    void *(*snapshot_begin)(void *data, uint64_t index, uint64_t term);
    int (*snapshot_write)(void *token, void **ret_bytes, size_t *ret_size);
    void (*snapshot_end)(void *data, void *token);
    /* A snapshot of the leader, newer than what the log has, is to take the place of everything.
     * Beforehand, and so that heartbeats go on, in three steps; NULL, all four: it is loaded in
     * on_restore. begin (loop): a token, or NULL; load (pool thread, not for a damaged one): may
     * block; end (loop): it is loaded. Then on_restore comes with the same bytes, or drop (loop):
     * it was damaged, entries that came meanwhile go further, or the log is closed. One at a time:
     * no other is begun before that. */
    void *(*restore_begin)(void *data, const void *bytes, size_t size);
    void (*restore_load)(void *token);
    void (*restore_end)(void *data, void *token);
    void (*restore_drop)(void *data, void *token);
    /* A snapshot was loaded at start or came from the leader: `index` is the last entry in it.
     * Bytes are borrowed. Returns 0, or an error (fatal). */
    int (*on_restore)(void *data, uint64_t index, uint64_t term, const void *bytes, size_t size);

    void (*on_fatal)(void *data, const struct err *err);

    /* May this replica, at this address, connect to us, and, asked every second, stay? Not when it
     * was removed. NULL: all may. A member that we have not heard of must, in the end: a leader may
     * have come while we were away. */
    bool (*may_connect)(void *data, uint64_t id, const char *address);
};

struct raftlog_options {
    uv_loop_t *loop;
    struct tls_context *tls; /* the certificate must say master/ID; borrowed */
    const char *dir;         /* made if missing */
    const char *cell;        /* its name: files of another are refused; borrowed for the call */
    uint64_t id;
    struct raftlog_member members[RAFTLOG_MEMBERS_MAX]; /* initial voters, ourselves included */
    size_t member_count;
    bool bootstrap; /* a new directory begins the group; else it waits until it is added to one */
    bool hold;      /* it neither votes nor acknowledges nor leads before raftlog_go() */
    unsigned election_timeout_ms;            /* 0: default 300 */
    unsigned heartbeat_ms;                   /* 0: default 50 */
    unsigned snapshot_threshold;             /* entries between snapshots; 0: default 16384 */
    uint64_t snapshot_bytes;                 /* or so many of entries; 0: default 256 MiB */
    unsigned snapshot_trailing;              /* entries kept after one; 0: default 4096 */
    uint64_t disk_free_min_bytes;            /* fatal below this; 0: default 64 MiB */
    const struct raftlog_handlers *handlers; /* borrowed */
    void *data;
};

struct raftlog;

/* Load snapshot and log (on_restore may come before it returns), bootstrap if told to, start. */
int raftlog_open(const struct raftlog_options *options, struct raftlog **ret,
                 struct err *err) MUST_USE;

/*
 * Make the directory of a member whose log begins after a snapshot: the entry `index` of `term` is
 * the last one in it. Every member of the new group gets the same, before any of them is opened.
 * All or nothing; ERR_EXISTS when the directory is there. Blocks.
 */
struct raftlog_seed {
    const char *dir;
    const char *cell; /* its name */
    uint64_t id;      /* of the member */
    struct raftlog_member members[RAFTLOG_MEMBERS_MAX];
    size_t member_count;
    uint64_t index;
    uint64_t term;
    const void *bytes; /* of the image, as snapshot_write gives it */
    size_t size;
};
int raftlog_seed(const struct raftlog_seed *seed, struct err *err) MUST_USE;

/*
 * Propose an entry. Takes a copy of the bytes. The request belongs to the caller until `cb`, which
 * comes exactly once, never before the function returned, and after on_apply of that entry:
 *   0                   committed and applied at req->index
 *   -ERR_UNKNOWN_OUTCOME leadership was lost or the log closed: it may still commit
 * Refuses with ERR_NOT_LEADER, or ERR_LIMIT when PROPOSALS_IN_FLIGHT_MAX are under way.
 */
struct raftlog_proposal;
typedef void (*raftlog_proposal_cb)(struct raftlog_proposal *req, int status);
struct raftlog_proposal {
    void *data;     /* the caller's */
    uint64_t index; /* set before cb(0) */
    raftlog_proposal_cb cb;
    void *impl;
};
int raftlog_propose(struct raftlog *log, struct raftlog_proposal *req, const void *bytes,
                    size_t size, raftlog_proposal_cb cb, struct err *err) MUST_USE;

/* cb(0) once everything committed before the call is applied here and we are still leader: what a
 * linearizable read waits for. Barriers under way are shared. */
struct raftlog_barrier;
typedef void (*raftlog_barrier_cb)(struct raftlog_barrier *req, int status);
struct raftlog_barrier {
    void *data;
    raftlog_barrier_cb cb;
    void *impl;
};
int raftlog_barrier(struct raftlog *log, struct raftlog_barrier *req, raftlog_barrier_cb cb,
                    struct err *err) MUST_USE;

/*
 * Hand leadership to a follower that answers; 0: to the one that is furthest. New proposals wait,
 * those under way are finished first, so that none of them has an unknown outcome, unless our disk
 * takes long for them; a follower that is not there in time leaves us the leader. `cb` comes
 * exactly once, in a later loop turn: 0             another replica leads -ERR_TIMEOUT  we still
 * do, or nobody is known to Refuses with a reason a person can act on. One at a time.
 */
typedef void (*raftlog_transfer_cb)(void *data, int status);
int raftlog_transfer(struct raftlog *log, uint64_t id, raftlog_transfer_cb cb, void *data,
                     struct err *err) MUST_USE;

enum raftlog_part { RAFTLOG_GONE, RAFTLOG_SPARE, RAFTLOG_STANDBY, RAFTLOG_VOTER };

/* A replica as the log knows it: the members of the cell, ourselves included. */
struct raftlog_peer {
    uint64_t id;
    char address[CELL_ADDR_MAX + 1];
    enum raftlog_part part; /* a spare gets nothing, a stand-by the log, a voter counts */
    uint64_t stored_index;  /* on a leader: its disk has our log up to here */
    uint64_t silent_ms;     /* on a leader: since it last answered; UINT64_MAX: never */
};
size_t raftlog_peers(const struct raftlog *log, struct raftlog_peer ret[RAFTLOG_MEMBERS_MAX]);

/*
 * Take the next step from what the replica is to `part`: it is added as a spare at `address`, made
 * a stand-by, then a voter; or removed. Whether the step was taken shows in raftlog_peers();
 * nothing is promised, a change of leader may undo it. ERR_STATE: another step is under way. Who
 * asks has made sure that those who answer can commit it: a step that is rolled back stops
 * replicas.
 */
int raftlog_member(struct raftlog *log, uint64_t id, const char *address, enum raftlog_part part,
                   struct err *err) MUST_USE;

struct raftlog_status {
    enum raftlog_role role;
    uint64_t term;
    uint64_t leader_id;    /* 0 when unknown */
    uint64_t last_index;   /* in memory */
    uint64_t stored_index; /* on our disk */
    uint64_t commit_index;
    uint64_t applied_index;
    uint64_t snapshot_index;
    uint64_t snapshots_sent; /* to followers, since the start */
    uint64_t in_flight;      /* proposals of ours under way */
    bool transferring;       /* leadership is being handed over: what is proposed now would wait */
    uint64_t disk_wait_ms; /* the longest that the disk kept entries waiting in the last seconds */
};
struct raftlog_status raftlog_status(const struct raftlog *log);

/* The others have nothing against it (options.hold). */
void raftlog_go(struct raftlog *log);
bool raftlog_is_held(const struct raftlog *log);
/* How far replica `id` had stored what was committed, for all we know, in this life or an earlier
 * one (0: nothing is known), and since when we know no more than that. */
uint64_t raftlog_acked(const struct raftlog *log, uint64_t id, uint64_t *ret_age_ms);

/* Pending requests get ERR_UNKNOWN_OUTCOME; `cb` comes when the memory is gone. Any handler may
 * call it, on_fatal too. */
void raftlog_close(struct raftlog *log, void (*cb)(void *data), void *data);

#endif
