/*
 * world.h - the simulated world: nodes with loops and clocks, a network, disks, virtual time.
 *
 * One process simulates one world, and one seed gives one history. The product runs unchanged on
 * nodes: world_*.c define the functions that it takes from libuv, the kernel, TLS and SQLite (see
 * the table in README.md). A node is a host: a replica ("r1" to "r5"), a machine, or a user.
 *
 * Everything happens in events of the world. Code of a node runs only in its events: callbacks of
 * its timers, connections and posts. Code of no node (faults, checkers) runs in world_post() or
 * between two calls of world_run_ms(). It may read the state of every node, but posts actions to
 * the node that carries them out.
 *
 * Nothing may depend on addresses, on the real clock or on uninitialized memory: draw from
 * world_random(), iterate in order of creation.
 */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include "base.h"
#include "err.h"
#include "replica.h"
#include "tls.h"

#include <uv.h>

enum { WORLD_REPLICAS = 5, WORLD_NODES_MAX = 128 };

struct node;
struct cmd;
struct answer;

struct world_options {
    uint64_t seed;
    bool trace; /* print the log lines of all nodes on stderr, with virtual time */
};

/* Start the world; once per process. */
void world_begin(const struct world_options *options);
/* Return a hash over all events so far (node, time, kind). Equal seeds give equal hashes. */
uint64_t world_trace_hash(void);
uint64_t world_events(void); /* number of events */
uint64_t world_now_ms(void); /* true virtual time, for checkers; nodes use clock_* and uv_now */
uint64_t world_now_us(void);
uint64_t world_random(uint64_t below);           /* 0 to below - 1; below > 0 */
bool world_chance(uint64_t part, uint64_t from); /* true `part` times in `from` */
void world_run_ms(uint64_t ms);                  /* let virtual time pass */
/* Run until cond() holds, checked every 10 ms; return false if it does not within ms_max. */
bool world_run_until(bool (*cond)(void *data), void *data, uint64_t ms_max);
/* Call fn after `ms`, as code of no node. */
void world_post(uint64_t ms, void (*fn)(void *data), void *data);
/* Print a line of the simulator itself in the trace: "12.345678 sim ...". */
void world_say(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* Report a violated invariant with seed and time, and exit with 1. */
_Noreturn void world_broken(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* Make a node, which is down at first. The name is copied; its addresses are "NAME:PORT". */
struct node *world_node_new(const char *name);
struct node *world_node(const char *name);   /* NULL: none */
struct node *world_node_at(unsigned number); /* in order of creation; NULL: no more */
const char *node_name(const struct node *n);
uv_loop_t *node_loop(struct node *n);
struct node *world_current(void); /* the node whose code runs; NULL: none */
/* Set the function that starts the node, as code of the node and without state of earlier lives. */
void node_set_boot(struct node *n, void (*boot)(void *data), void *data);
void node_restart(struct node *n); /* start a node that is down, also for the first time */
/* Drop its memory, timers, connections and unsynced writes without callbacks; its allocations are
 * leaked. A node may crash itself: then the call does not return. */
void node_crash(struct node *n);
bool node_up(const struct node *n);
/* Return the number of its life, from 1; callbacks that may outlive a crash compare it. */
uint64_t node_life(const struct node *n);
/* Stop its loop for this time, as SIGSTOP, a long pause or a slow host would. */
void node_stall(struct node *n, uint64_t ms);
bool node_stalled(const struct node *n);
void node_wake(struct node *n); /* end the stall */
/* Call fn in a turn of its loop after `ms`, unless it crashes before. */
void node_post(struct node *n, uint64_t ms, void (*fn)(void *data), void *data);
/* Set how far its wall clock is ahead of the true time (negative: behind). */
void node_set_clock(struct node *n, int64_t ahead_ms);
int64_t node_clock_ahead_ms(const struct node *n);

/* Return the identity "master/1", "borglet/m3" or "user/ada" for rpc_options.tls; never freed. */
struct tls_context *world_tls(const char *common_name);

/* The network, per direction: data from `from` does not reach `to`. Connections hold the data, and
 * break if the block lasts longer than TCP waits (STREAM_USER_TIMEOUT_MS). */
void net_block(struct node *from, struct node *to, bool blocked);
void net_heal(void); /* remove all blocks and delays */
/* Delay each message from `from` to `to` by min + (0 to spread) us more, sometimes by ten times
 * that. */
void net_slow(struct node *from, struct node *to, uint64_t min_us, uint64_t spread_us);
/* Set how many of 10000 messages of Raft (not of rpc) are lost, duplicated, and reordered. */
void net_raft_trouble(unsigned lost, unsigned doubled, unsigned overtaken);
/* Break every connection between the two nodes. */
void net_reset(struct node *a, struct node *b);
/* Return whether both are up and not stalled, and both directions are open. */
bool world_connected(const struct node *a, const struct node *b);

/* The replicas, 0 to WORLD_REPLICAS - 1: nodes "r1" to "r5" with certificates master/1 to master/5
 * and rpc at "rI:1". A replica that calls on_fatal crashes and is restarted after a while. */
struct world_cell {
    unsigned election_timeout_ms;
    unsigned heartbeat_ms;
    unsigned snapshot_threshold;
};
void world_cell_start(const struct world_cell *options); /* make the nodes and start them */
struct node *world_replica_node(unsigned i);
struct replica *world_replica(unsigned i); /* NULL while it is down or starting */
/* Crash the replica; its supervisor restarts it after `down_ms`. If it is down it stays down so
 * long. */
void world_replica_crash(unsigned i, uint64_t down_ms);
void world_replica_crash_end(unsigned i); /* allow an immediate restart */
const char *world_replica_address(unsigned i);
int world_leader(void);        /* the replica that leads in the highest term; -1: none */
uint64_t world_restarts(void); /* number of restarts of all replicas */
uint64_t world_fatals(void);   /* number of those caused by on_fatal */

/*
 * Callbacks for events of replicas, which run as code of the replica; any may be NULL. applied: the
 * last piece of a command has been applied on replica i; cell->applied_index is its entry, which
 * may contain several commands. After a restart old entries come again only if the database had
 * lost them.
 */
struct world_watch {
    void (*applied)(unsigned i, const struct cell *cell, const struct cmd *cmd,
                    const struct answer *answer);
    void (*started)(unsigned i, const struct cell *cell);  /* with the cell from its database */
    void (*restored)(unsigned i, const struct cell *cell); /* with the cell from a snapshot */
    void (*elected)(unsigned i, uint64_t term);
};
void world_set_watch(const struct world_watch *watch);

/* Disks of replicas, as a crash at this moment would leave them: unfinished writes are not there.
 */
struct disk_entry {
    uint64_t term;
    uint64_t hash; /* over type and bytes */
};
uint64_t disk_snapshot_index(unsigned i, uint64_t *ret_term); /* 0: none */
uint64_t disk_last_index(unsigned i);
/* Return false if it is missing or only inside the snapshot (index <= disk_snapshot_index). */
bool disk_entry(unsigned i, uint64_t index, struct disk_entry *ret);
/* Faults of disks. Write times are drawn from min_us to min_us + spread_us. */
void disk_slow(unsigned i, uint64_t min_us, uint64_t spread_us);
void disk_fail(unsigned i, unsigned of_10000); /* this many writes of 10000 fail */
void disk_fill(unsigned i, bool full);         /* no space: writes fail, statvfs reports it */
void disk_heal(unsigned i);

/*
 * Queries (WIRE_QUERY) are not SQL here. The replica answers from its database, at its projected
 * index or at index_min if that is higher:
 *     "meta"      one row: index, digest (hex), jobs, machines
 *     "jobs"      a row per job: name, user, state, killed (0 or 1), replicas
 *     "job NAME"  the same columns for the newest job of that name
 * Any other text is refused (ERR_INVALID).
 */

#endif
