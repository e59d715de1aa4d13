/*
 * world.h - the simulated world: nodes with loops and clocks, a network, disks, virtual time.
 *
 * One process is one world, one seed one history. The product runs unchanged on nodes: what it
 * takes from libuv, the kernel, TLS and SQLite is given by world_*.c under the same names (the
 * table is in README.md). A node is a host: a replica ("r1" to "r5"), a machine, a user's desk.
 *
 * Everything happens in events of the world. Code of a node runs in its events only: callbacks of
 * its timers, connections and posts. Code of nobody (faults, checkers) runs in world_post() or
 * between two calls of world_run_ms(), and may look at every node, but what it wants to be done by
 * a node it posts there.
 *
 * Nothing may depend on addresses, on the real clock or on memory that was not written: draw from
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
    bool trace; /* the log lines of all nodes on stderr, with virtual time */
};

/* Once in a process. */
void world_begin(const struct world_options *options);
/* Hash over every event so far: which node, when, what. Equal for equal seeds. */
uint64_t world_trace_hash(void);
uint64_t world_events(void); /* how many */
uint64_t world_now_ms(void); /* true virtual time, for checkers; nodes use clock_* and uv_now */
uint64_t world_now_us(void);
uint64_t world_random(uint64_t below);           /* 0 to below - 1; below > 0 */
bool world_chance(uint64_t part, uint64_t from); /* true part times in from */
void world_run_ms(uint64_t ms);                  /* let virtual time pass */
/* Until cond() holds, looked at each 10 ms; false: it does not after ms_max. */
bool world_run_until(bool (*cond)(void *data), void *data, uint64_t ms_max);
/* Call fn after `ms`, as code of nobody. */
void world_post(uint64_t ms, void (*fn)(void *data), void *data);
/* A line of the simulator itself in the trace: "12.345678 sim ..." */
void world_say(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* What must not be has been seen: says it with seed and time, and ends the process with exit 1. */
_Noreturn void world_broken(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* Nodes. The name is copied; its addresses are "NAME:PORT" for any port. It is down at first. */
struct node *world_node_new(const char *name);
struct node *world_node(const char *name);   /* NULL: none */
struct node *world_node_at(unsigned number); /* in order of creation; NULL: no more */
const char *node_name(const struct node *n);
uv_loop_t *node_loop(struct node *n);
struct node *world_current(void); /* whose code runs now; NULL: nobody's */
/* What a start of the node does, as code of it. It begins with nothing of the life before. */
void node_set_boot(struct node *n, void (*boot)(void *data), void *data);
void node_restart(struct node *n); /* of a node that is down; also its first start */
/* Its memory, timers, connections and unsynced writes are gone, without a callback. What it had
 * allocated is leaked. A node may crash itself: the call does not return then. */
void node_crash(struct node *n);
bool node_up(const struct node *n);
/* Number of its life, from 1; callbacks that may outlive a crash compare it. */
uint64_t node_life(const struct node *n);
/* It runs, but its loop does not get on for so long: SIGSTOP, a long pause, a slow host. */
void node_stall(struct node *n, uint64_t ms);
bool node_stalled(const struct node *n);
void node_wake(struct node *n); /* it stalls no more */
/* Call fn in a turn of its loop after `ms`, unless it crashes before that. */
void node_post(struct node *n, uint64_t ms, void (*fn)(void *data), void *data);
/* Its wall clock is so much before (or behind) the true time from now on. */
void node_set_clock(struct node *n, int64_t ahead_ms);
int64_t node_clock_ahead_ms(const struct node *n);

/* Who one is: "master/1", "borglet/m3", "user/ada". For rpc_options.tls; lives for ever. */
struct tls_context *world_tls(const char *common_name);

/* The network. Directed: what `from` sends does not reach `to`. Connections through it hold what is
 * sent, and break when that lasts longer than TCP waits (STREAM_USER_TIMEOUT_MS). */
void net_block(struct node *from, struct node *to, bool blocked);
void net_heal(void); /* nothing is blocked, delays are as at first */
/* Each message takes min + (0 to spread) us more from `from` to `to`; now and then ten times. */
void net_slow(struct node *from, struct node *to, uint64_t min_us, uint64_t spread_us);
/* Of the messages of Raft (not of rpc): so many of 10000 are lost, doubled, overtaken. */
void net_raft_trouble(unsigned lost, unsigned doubled, unsigned overtaken);
/* Break every connection between the two. */
void net_reset(struct node *a, struct node *b);
/* Both are up and do not stall, and both ways pass. */
bool world_connected(const struct node *a, const struct node *b);

/* Replicas, 0 to WORLD_REPLICAS - 1: nodes "r1" to "r5", certificates master/1 to master/5, rpc at
 * "rI:1". A replica that calls on_fatal crashes, and is started again after a while. */
struct world_cell {
    unsigned election_timeout_ms;
    unsigned heartbeat_ms;
    unsigned snapshot_threshold;
};
void world_cell_start(const struct world_cell *options); /* makes the nodes and starts them */
struct node *world_replica_node(unsigned i);
struct replica *world_replica(unsigned i); /* NULL while it is down or starting */
/* It is started again after that much, by its supervisor; also one that is down stays so. */
void world_replica_crash(unsigned i, uint64_t down_ms);
void world_replica_crash_end(unsigned i); /* it may come back at once */
const char *world_replica_address(unsigned i);
int world_leader(void);        /* the replica that leads in the highest term; -1: none */
uint64_t world_restarts(void); /* of replicas, all in all */
uint64_t world_fatals(void);   /* of those, because of on_fatal */

/*
 * Told of what replicas do, as it happens, in code of the replica. Any may be NULL.
 * applied: a command has been applied on replica i, its last piece; cell->applied_index says for
 * which entry. One entry may hold several commands. After a restart old entries come again only if
 * the database had lost them.
 */
struct world_watch {
    void (*applied)(unsigned i, const struct cell *cell, const struct cmd *cmd,
                    const struct answer *answer);
    void (*started)(unsigned i, const struct cell *cell);  /* with the cell of its database */
    void (*restored)(unsigned i, const struct cell *cell); /* with the cell of a snapshot */
    void (*elected)(unsigned i, uint64_t term);
};
void world_set_watch(const struct world_watch *watch);

/* Disks of replicas, as a crash at this moment would leave them (what is under way is not there).
 */
struct disk_entry {
    uint64_t term;
    uint64_t hash; /* over type and bytes */
};
uint64_t disk_snapshot_index(unsigned i, uint64_t *ret_term); /* 0: none */
uint64_t disk_last_index(unsigned i);
/* False: it is not there, or only inside the snapshot (index <= disk_snapshot_index). */
bool disk_entry(unsigned i, uint64_t index, struct disk_entry *ret);
/* Trouble. Write times are drawn from min_us to min_us + spread_us. */
void disk_slow(unsigned i, uint64_t min_us, uint64_t spread_us);
void disk_fail(unsigned i, unsigned of_10000); /* so many writes fail */
void disk_fill(unsigned i, bool full);         /* no space: writes fail, statvfs says so */
void disk_heal(unsigned i);

/*
 * Queries (WIRE_QUERY) are not SQL here. The replica answers from what its database holds, at its
 * projected index or at index_min if that is higher:
 *     "meta"      one row: index, digest (hex), jobs, machines
 *     "jobs"      a row for each: name, user, state, killed (0 or 1), replicas
 *     "job NAME"  the same, of the newest one of that name
 * Anything else is refused (ERR_INVALID).
 */

#endif
