/*
 * replica.h - one of the cell's masters: the log, the cell it builds, and who is told of changes.
 *
 *      raftlog --on_apply--> cell_apply --changes--> replica_flush --delta--> store (SQLite thread)
 *                                                                  +-------> scheduler (thread)
 *                                                                  +-ids---> links (borglets)
 *
 * All of it runs on the loop's thread. Every replica applies the same commands; only the leader
 * stamps, schedules and watches for silence (leader.h, scheduler.h).
 */
#ifndef BORGMASTER_REPLICA_H
#define BORGMASTER_REPLICA_H

#include "cell_file.h"
#include "raftlog.h"
#include "store.h"
#include "tls.h"

struct replica_options {
    uv_loop_t *loop;
    const struct cell_file *file;    /* borrowed */
    const struct cell_replica *self; /* one of file->replicas */
    struct tls_context *tls;         /* borrowed */
    const char *dir;
    bool bootstrap;               /* an empty directory is that of a cell that begins */
    unsigned election_timeout_ms; /* 0: raftlog's default; so the next two */
    unsigned heartbeat_ms;
    unsigned snapshot_threshold;
    uint64_t identity; /* of the cell: cell_file_identity() */
    /* Instead of on_fatal when only the database is damaged: start again, and it is made anew. May
     * be NULL. */
    void (*on_rebuild)(void *data, const struct err *err);
    void (*on_fatal)(void *data, const struct err *err); /* any thread; the process must exit */
    void *data;
};

struct replica;

/* Without `bootstrap` an empty directory is given a log when the others say that the replica may
 * join; until then there is none. */
int replica_open(const struct replica_options *options, struct replica **ret,
                 struct err *err) MUST_USE;
/* Open the log now: the others have agreed. */
int replica_join(struct replica *replica, struct err *err) MUST_USE;
/*
 * Hand leadership over if we have it, stop the log and write what is queued to SQLite, then cb: the
 * process may exit. A replica lives as long as its process, so nothing else is taken apart.
 */
void replica_close(struct replica *replica, void (*cb)(void *data), void *data);

/* While an entry is applied over several turns of the loop it has a part of it (cmd.h says what can
 * be read then), and the index of the entry before. */
const struct cell *replica_cell(const struct replica *replica);
/* Of the newest entry of which the cell has anything. */
uint64_t replica_newest_index(const struct replica *replica);
const struct replica_options *replica_opts(const struct replica *replica);
struct store *replica_store(struct replica *replica);
struct raftlog *replica_log(struct replica *replica); /* NULL: it may not join yet */
/* The replicas as far as we know, by id. */
const struct masters *replica_masters(const struct replica *replica);
struct links *replica_links(struct replica *replica);
struct leader *replica_leader(struct replica *replica);
struct peers *replica_peers(struct replica *replica);
struct members *replica_members(struct replica *replica);
/* Id of the leader we know of; 0: none. */
uint64_t replica_leader_id(const struct replica *replica);
/* The time of the cell, for stamping and for what is due (cell_clock.h). */
uint64_t replica_time_ms(struct replica *replica);
/* On the leader: master `id` has told what its clock shows. */
void replica_clock_heard(struct replica *replica, uint64_t id, uint64_t wall_ms);
/* On the leader, each second: what do all the clocks come to? Hands leadership over when our own is
 * wrong and another's is not. Returns the median, 0 when it is not known. */
uint64_t replica_clock_look(struct replica *replica);
/* On a follower: the leader says what they come to. */
void replica_clock_told(struct replica *replica, uint64_t median_ms);
/* True while this replica is the leader and has applied everything of earlier terms. */
bool replica_leads(const struct replica *replica);
/* Follows or leads, and has applied all it knew to be committed when it found its leader: before
 * that its cell may be old, and it drives no borglets. */
bool replica_ready(const struct replica *replica);
/* Make a delta of what was applied since the last one and hand it to all who keep a copy. Happens
 * at least once in a turn of the loop. */
void replica_flush(struct replica *replica);
/* ERR_UNAVAILABLE while the replica has only just joined, or its database was begun anew and has
 * not caught up yet: a cell with nothing in it is an answer that nobody may get. */
int replica_readable(struct replica *replica, struct err *err) MUST_USE;
struct wire_status replica_status(struct replica *replica);
/* As raftlog_barrier(), and this replica's cell has all that was committed before, too. */
int replica_barrier(struct replica *replica, struct raftlog_barrier *req, raftlog_barrier_cb cb,
                    struct err *err) MUST_USE;

/*
 * Have a command committed: by ourselves when leading, else through the leader. The command is
 * borrowed for the call, its time is stamped here. `cb` (may be NULL) comes exactly once, in a
 * later loop turn or in this call for refusals: with the answer, or with err: ERR_UNAVAILABLE and
 * ERR_NOT_LEADER (it did not happen), ERR_UNKNOWN_OUTCOME (it may have), ERR_LIMIT (too large, or
 * too much is waiting).
 */
typedef void (*replica_answer_cb)(void *data, const struct err *err,
                                  const struct wire_answer *answer);
void replica_command(struct replica *replica, const struct cmd *cmd, replica_answer_cb cb,
                     void *data);
/* The same without asking the members before the replicas are changed: members.c has done so. */
void replica_propose(struct replica *replica, const struct cmd *cmd, replica_answer_cb cb,
                     void *data);

#endif
