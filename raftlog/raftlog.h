/*
 * raftlog.h - the replicated log: committed entries reach all replicas in the same order.
 *
 * This module hides canonical/raft 0.15.0 (no other module includes raft.h), runs it behind the
 * guard (raftlog_guard.c; README.md gives the reasons) and over our own TLS transport. It does not
 * know what a cell is.
 *
 * Everything runs on the loop's thread, except `snapshot_write` and `restore_load`, which run in
 * the libuv pool. An entry may have any size up to RAFTLOG_ENTRY_BYTES_MAX; the log frames and pads
 * it, because the library loses entries whose length is not a multiple of 8.
 *
 * Every failure that the library cannot survive (failed disk write, RAFT_UNAVAILABLE, disk nearly
 * full, disk that does not answer) calls on_fatal once. The process should then exit; the other
 * replicas keep the cell running.
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
    char address[CELL_ADDR_MAX + 1]; /* "host:port" of its Raft transport */
};

struct raftlog_handlers {
    /* Apply a committed entry. Called once per entry, in order, on every replica; bytes are
     * borrowed. After a restart the entries after the last snapshot are passed again: skip known
     * ones. */
    void (*on_apply)(void *data, uint64_t index, uint64_t term, const void *bytes, size_t size);
    /* The role, the term or the known leader has changed. leader_id is 0 when unknown. */
    void (*on_role)(void *data, enum raftlog_role role, uint64_t term, uint64_t leader_id);

    /* Take a snapshot of everything applied up to `index`, in three steps:
     * begin (loop): create a cheap frozen view and return a token, or NULL for "not now";
     * write (pool thread): return the image, malloc'ed, or an error; may block;
     * end (loop): the token is no longer used. */
    void *(*snapshot_begin)(void *data, uint64_t index, uint64_t term);
    int (*snapshot_write)(void *token, void **ret_bytes, size_t *ret_size);
    void (*snapshot_end)(void *data, void *token);
    /*
     * A snapshot of the leader, newer than our log, will replace the whole state. It is loaded in
     * advance, in steps, so that heartbeats continue. If all four are NULL, on_restore loads it.
     * begin (loop): return a token, or NULL;
     * load (pool thread, not for a damaged snapshot): load the image; may block;
     * end (loop): loading has finished.
     * After that either on_restore follows with the same bytes, or drop (loop): the snapshot was
     * damaged, entries that arrived meanwhile go further, or the log is closed. Only one snapshot
     * is in progress at a time.
     */
    void *(*restore_begin)(void *data, const void *bytes, size_t size);
    void (*restore_load)(void *token);
    void (*restore_end)(void *data, void *token);
    void (*restore_drop)(void *data, void *token);
    /* A snapshot was loaded at start or came from the leader; `index` is the last entry in it.
     * Bytes are borrowed. Return 0, or an error, which is fatal. */
    int (*on_restore)(void *data, uint64_t index, uint64_t term, const void *bytes, size_t size);

    void (*on_fatal)(void *data, const struct err *err);

    /* Return whether this replica, at this address, may connect to us. Asked again every second:
     * a removed replica must go. NULL accepts all. Accept an unknown replica in the end: a new
     * leader may have been added while we were down. */
    bool (*may_connect)(void *data, uint64_t id, const char *address);
};

struct raftlog_options {
    uv_loop_t *loop;
    struct tls_context *tls; /* the certificate must say master/ID; borrowed */
    const char *dir;         /* created if missing */
    const char *cell; /* name of the cell; files of another cell are refused; borrowed for the
                         call */
    uint64_t id;
    struct raftlog_member members[RAFTLOG_MEMBERS_MAX]; /* initial voters, ourselves included */
    size_t member_count;
    bool bootstrap; /* a new directory begins the group; otherwise it waits until a group adds it */
    bool hold;      /* do not vote, acknowledge or lead before raftlog_go() */
    unsigned election_timeout_ms; /* 0: default 300 */
    unsigned heartbeat_ms;        /* 0: default 50 */
    unsigned snapshot_threshold;  /* entries between snapshots; 0: default 16384 */
    uint64_t snapshot_bytes;      /* or so many bytes of entries between them; 0: default 256 MiB */
    unsigned snapshot_trailing;   /* entries kept after one; 0: default 4096 */
    uint64_t disk_free_min_bytes; /* fatal below this; 0: default 64 MiB */
    const struct raftlog_handlers *handlers; /* borrowed */
    void *data;
};

struct raftlog;

/* Load the snapshot and the log (on_restore may be called before this returns), bootstrap if
 * `bootstrap` is set, and start. */
int raftlog_open(const struct raftlog_options *options, struct raftlog **ret,
                 struct err *err) MUST_USE;

/* Create the directory of a member whose log begins after a snapshot; the entry `index` of
 * `term` is the last one in it. Every member of the new group must get the same snapshot before
 * any of them is opened. The directory is complete or absent afterwards; ERR_EXISTS if it
 * exists. Blocks. */
struct raftlog_seed {
    const char *dir;
    const char *cell; /* name of the cell */
    uint64_t id;      /* of the member */
    struct raftlog_member members[RAFTLOG_MEMBERS_MAX];
    size_t member_count;
    uint64_t index;
    uint64_t term;
    const void *bytes; /* of the image, as returned by snapshot_write */
    size_t size;
};
int raftlog_seed(const struct raftlog_seed *seed, struct err *err) MUST_USE;

/*
 * Propose an entry. Takes a copy of the bytes. The request belongs to the caller until `cb`, which
 * is called exactly once, never before the function has returned, and after on_apply of that entry:
 *   0                    committed and applied at req->index
 *   -ERR_UNKNOWN_OUTCOME leadership was lost or the log closed: it may still commit
 * Refuses with ERR_NOT_LEADER, or with ERR_LIMIT when PROPOSALS_IN_FLIGHT_MAX proposals are in
 * flight.
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

/* Call cb(0) once everything committed before the call is applied here and we are still the
 * leader; a linearizable read waits for this. Concurrent barriers share one log entry. */
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
 * Hand leadership to follower `id`, which must be connected; 0: to the follower with the longest
 * log. New proposals wait. Proposals in flight are finished first, so that none of them gets an
 * unknown outcome, unless our disk takes too long for them. If the follower does not take over in
 * time, we stay the leader. `cb` is called exactly once, in a later loop turn:
 *   0            another replica leads
 *   -ERR_TIMEOUT we still lead, or no leader is known
 * Refuses with a message for a person. Only one transfer at a time.
 */
typedef void (*raftlog_transfer_cb)(void *data, int status);
int raftlog_transfer(struct raftlog *log, uint64_t id, raftlog_transfer_cb cb, void *data,
                     struct err *err) MUST_USE;

enum raftlog_part { RAFTLOG_GONE, RAFTLOG_SPARE, RAFTLOG_STANDBY, RAFTLOG_VOTER };

/* A replica as the log knows it: a member of the cell, possibly ourselves. */
struct raftlog_peer {
    uint64_t id;
    char address[CELL_ADDR_MAX + 1];
    enum raftlog_part part; /* a spare gets nothing, a stand-by gets the log, a voter counts */
    uint64_t stored_index;  /* on a leader: the replica has stored our log up to here */
    uint64_t silent_ms;     /* on a leader: time since its last answer; UINT64_MAX: never */
};
size_t raftlog_peers(const struct raftlog *log, struct raftlog_peer ret[RAFTLOG_MEMBERS_MAX]);

/*
 * Take the next step from the present part of the replica to `part`: it is added as a spare at
 * `address`, becomes a stand-by, then a voter; or it is removed. raftlog_peers() shows whether the
 * step was taken; a change of leader may undo it. ERR_STATE: another step is in progress. The
 * caller must make sure that the replicas that answer can commit the step, because a step that is
 * rolled back stops replicas.
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
    uint64_t in_flight;      /* our own proposals in flight */
    bool transferring;       /* leadership is being handed over; new proposals would wait */
    uint64_t disk_wait_ms;   /* longest time that entries waited for the disk in the last seconds */
};
struct raftlog_status raftlog_status(const struct raftlog *log);

/* Let a log opened with `hold` take part: the other replicas have no objection. */
void raftlog_go(struct raftlog *log);
bool raftlog_is_held(const struct raftlog *log);
/* Return how far replica `id` is known to have stored committed entries, in this or an earlier
 * run of ours (0: unknown), and the age of that information. */
uint64_t raftlog_acked(const struct raftlog *log, uint64_t id, uint64_t *ret_age_ms);

/* Close the log. Pending requests get ERR_UNKNOWN_OUTCOME; `cb` is called when the memory has
 * been freed. Any handler may call this, including on_fatal. */
void raftlog_close(struct raftlog *log, void (*cb)(void *data), void *data);

#endif
