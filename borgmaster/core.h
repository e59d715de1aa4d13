/*
 * core.h - the core of a replica: the Raft log, the cell built from it, and the commands on their
 * way into the log.
 *
 *      raftlog --on_apply--> cell_apply --changes--> core_flush --delta--> store (SQLite thread)
 *                                                                  +----> observer: the modules
 *
 * The modules of a master (links, leader, scheduler, members, service, ...) stand on top of the
 * core: they read its cell, propose commands, and are told what changed through the observer that
 * replica.c registers. The core includes none of them.
 *
 * All functions run on the loop's thread. Every replica applies the same commands; only the leader
 * stamps commands with the time of the cell.
 */
#ifndef BORGMASTER_CORE_H
#define BORGMASTER_CORE_H

#include "cell_file.h"
#include "inbox.h"
#include "raftlog.h"
#include "store.h"
#include "tls.h"

struct core_options {
    uv_loop_t *loop;
    const struct cell_file *file;    /* borrowed */
    const struct cell_replica *self; /* one of file->replicas */
    struct tls_context *tls;         /* borrowed */
    const char *dir;
    bool bootstrap;               /* an empty directory is the start of a new cell */
    unsigned election_timeout_ms; /* 0: raftlog's default; the same holds for the next two */
    unsigned heartbeat_ms;
    unsigned snapshot_threshold;
    uint64_t identity; /* of the cell: cell_file_identity() */
    /* Called instead of on_fatal when only the database is damaged: the process must start again,
     * the database is then built anew. May be NULL. */
    void (*on_rebuild)(void *data, const struct err *err);
    void (*on_fatal)(void *data, const struct err *err); /* any thread; the process must exit */
    void *data;
};

/* Receives the events of the core. Every callback must be set; all come on the loop's thread. */
struct core_observer {
    void *data;
    /* The cell changed. `delta` holds the changes, for observers that keep a copy of the cell (they
     * take a reference), `changes` the ids of the changed machines. When an entry is applied over
     * several turns, the part of each turn is announced (delta->more). */
    void (*on_delta)(void *data, struct delta *delta, const struct changes *changes);
    /* The members of the cell changed: core_masters() returns the new ones. */
    void (*on_masters)(void *data);
    /* Rights or revocations of identities changed, or may have changed. */
    void (*on_identities)(void *data);
    /* A leader's snapshot replaced the cell. `full` is its delta_full(), which the observer takes;
     * NULL: the observer makes it. on_identities follows, and on_masters if they changed. */
    void (*on_restored)(void *data, struct delta *full);
    /* core_leads() changed. */
    void (*on_lead)(void *data, bool leads);
    /* Another replica than before, perhaps this one, is known to be the leader. */
    void (*on_leader)(void *data);
    /* core_join() has opened the log. */
    void (*on_log_open)(void *data);
    /* The core is about to move commands out of the inbox: propose what was gathered. */
    void (*on_send)(void *data);
    /* Send the commands in the inbox to the leader, another replica. */
    void (*forward)(void *data, struct inbox *inbox, uint64_t leader_id);
    /* No delta follows: the core closes. */
    void (*on_closing)(void *data);
};

struct core;

/* Load the cell from the database in options->dir. Nothing runs before core_start(). */
int core_open(const struct core_options *options, struct core **ret, struct err *err) MUST_USE;
/* Register the observer and begin to work in each turn of the loop. */
void core_start(struct core *core, const struct core_observer *observer);
/*
 * Open the log if it holds something or options->bootstrap is set. Otherwise there is none until
 * core_join(): an empty log may belong to a replica that has forgotten its votes and what it
 * acknowledged, so the other replicas have to agree. ERR_CORRUPT if the log lacks entries that it
 * once had on its disk.
 */
int core_open_log(struct core *core, struct err *err) MUST_USE;
/* Open the log now: the other replicas have agreed. */
int core_join(struct core *core, struct err *err) MUST_USE;
/* Hand leadership over if this replica has it, stop the log, write all queued deltas to SQLite,
 * then call `cb`. The memory of the core lasts as long as the process. */
void core_close(struct core *core, void (*cb)(void *data), void *data);

const struct core_options *core_opts(const struct core *core);
struct store *core_store(struct core *core);
struct raftlog *core_log(struct core *core); /* NULL: the replica may not join yet */

/* While an entry is applied over several turns of the loop, the cell has a part of it (cmd.h says
 * what can be read then) and the index of the entry before. */
const struct cell *core_cell(const struct core *core);
/* Returns the index of the newest entry of which the cell has at least a part. */
uint64_t core_newest_index(const struct core *core);
/* Returns the replicas of the cell as far as this one knows, ordered by id. */
const struct masters *core_masters(const struct core *core);
/* Returns the id of the known leader; 0: none is known. */
uint64_t core_leader_id(const struct core *core);
/* Returns true while this replica is the leader and has applied all entries of earlier terms. */
bool core_leads(const struct core *core);
/* Returns true when the replica follows or leads and has applied every entry that it knew to be
 * committed when it found its leader. Before that its cell may be old: it drives no borglets. */
bool core_ready(const struct core *core);
/* Returns ERR_UNAVAILABLE while the replica has just joined, or while its rebuilt database has not
 * caught up: no client may be answered from an empty cell. */
int core_readable(struct core *core, struct err *err) MUST_USE;
/* Fill the fields of the status that the core knows; the others stay as they are. */
void core_status(struct core *core, struct wire_status *status);

/* Make a delta of all changes since the last one and hand it to the store and the observer. The
 * core does this at least once in each turn of the loop. */
void core_flush(struct core *core);
/* As raftlog_barrier(); in addition the cell has everything that was committed before it. */
int core_barrier(struct core *core, struct raftlog_barrier *req, raftlog_barrier_cb cb,
                 struct err *err) MUST_USE;
/*
 * Have a command committed: by this replica when it leads, else through the leader. The command is
 * borrowed for the call and is stamped with the time of the cell here. `cb` (may be NULL) is called
 * exactly once, in a later turn of the loop or, for a refusal, during this call: with the answer,
 * or with err: ERR_UNAVAILABLE and ERR_NOT_LEADER (the command was not applied),
 * ERR_UNKNOWN_OUTCOME (it may have been), ERR_LIMIT (it is too large, or too many wait).
 * members_command() is for commands that may change the replicas.
 */
void core_propose(struct core *core, const struct cmd *cmd, answer_cb cb, void *data);

/* On the leader: record that master `id` knows formats up to this one. */
void core_format_heard(struct core *core, uint64_t id, uint32_t format);
/* On the leader: returns the latest format that all masters know; 0 or less than CELL_FORMAT: `why`
 * says which master is in the way. */
uint32_t core_format_next(const struct core *core, struct err *why);

/* Returns the time of the cell, for stamping and for what is due (cell_clock.h). */
uint64_t core_time_ms(struct core *core);
/* On the leader: record that the clock of master `id` shows wall_ms. */
void core_clock_heard(struct core *core, uint64_t id, uint64_t wall_ms);
/* On the leader, once a second: compute the median of the masters' clocks. Hands leadership over
 * when the own clock is wrong and another master's is right. Returns the median; 0: unknown. */
uint64_t core_clock_look(struct core *core);
/* On a follower: record the median that the leader reported. */
void core_clock_heard_median(struct core *core, uint64_t median_ms);

#endif
