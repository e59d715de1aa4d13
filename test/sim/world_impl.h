/*
 * world_impl.h - internal declarations shared by world*.c.
 *
 * An event is embedded in its subject: a message, a timer, a write. The world takes the first one
 * out of its heap, sets the time, and calls it. There are three kinds:
 *
 *     EVENT_RAW    code of no node, or of a thread of a node: only the call
 *     EVENT_IO     input for a node: a turn of its loop starts with it
 *     EVENT_TIMER  a timer of a node is due: likewise, but after the check handles (world_uv.c)
 */
#ifndef SIM_WORLD_IMPL_H
#define SIM_WORLD_IMPL_H

#include "world.h"

#include "list.h"

enum sim_event_kind { EVENT_RAW, EVENT_IO, EVENT_TIMER };

struct sim_event {
    uint64_t at_us;
    uint64_t seq;      /* at equal times the event that was set first comes first */
    struct node *node; /* NULL: no node */
    void (*fire)(struct sim_event *ev);
    uint32_t slot; /* position in the heap, from 1; 0: not in it */
    uint32_t kind;
};

enum { NODES_MAX = WORLD_NODES_MAX, NODE_HANDLES_MAX = 8 };

struct node {
    uv_loop_t loop; /* not used by libuv; its address identifies the node */
    char name[CELL_NAME_MAX + 1];
    unsigned number; /* order of creation, from 0 */
    bool up;
    uint64_t life;
    uint64_t random_state; /* for random_id() */
    void (*boot)(void *data);
    void *boot_data;
    uint64_t stalled_until_us;
    uint64_t mono_base_us; /* value of its monotonic clock at time 0, for this life */
    int64_t clock_ahead_ms;

    /* world_uv.c: active handles */
    uv_prepare_t *prepares[NODE_HANDLES_MAX];
    uv_check_t *checks[NODE_HANDLES_MAX];
    uv_idle_t *idles[NODE_HANDLES_MAX];
    unsigned prepare_count, check_count, idle_count;
    uv_handle_t *closing; /* a list by next_closing */

    struct list conns;          /* world_rpc.c */
    struct list listeners;      /* world_rpc.c */
    struct list threads;        /* world_thread.c */
    struct raft_world_io *raft; /* world_raft.c: its raft_io, while open */
    struct store *store;        /* world_store.c: while open */
    int replica;                /* 0 to WORLD_REPLICAS - 1; -1: not a replica */
};

/* world.c */
extern uint64_t the_world_now_us;
void event_at(struct sim_event *ev, uint64_t at_us); /* may be called again: it moves the event */
void event_in(struct sim_event *ev, uint64_t us);
void event_cancel(struct sim_event *ev); /* no effect if it is not set */
static inline bool event_set(const struct sim_event *ev)
{
    return ev->slot != 0;
}
uint64_t random_from(uint64_t *state); /* splitmix64 */
/* Call fn for each pending event of the node, then drop them all. */
void events_forget(struct node *n);
/* Run code of the node from here until leave; for calls from outside its events. */
struct node *node_enter(struct node *n);
void node_leave(struct node *before);

/* world_uv.c */
void loop_turn(struct node *n, struct sim_event *ev);
uint64_t node_mono_us(const struct node *n);
void node_handles_forget(struct node *n);

/* world_thread.c */
void node_threads_forget(struct node *n);
bool in_thread(void);

/* world_net.c */
bool net_blocked(const struct node *from, const struct node *to);
uint64_t net_delay_us(const struct node *from, const struct node *to);
struct net_raft {
    unsigned lost, doubled, overtaken; /* of 10000 */
};
const struct net_raft *net_raft(void);

/* world_rpc.c */
void node_conns_forget(struct node *n);
void rpc_on_unblocked(struct node *from, struct node *to);
void rpc_on_stuck(struct node *a, struct node *b, bool idle_too);

/* world_raft.c, world_disk.c, world_store.c */
void node_raft_forget(struct node *n);
void raft_on_unblocked(struct node *from, struct node *to);
void raft_on_stuck(struct node *from, struct node *to);
void node_disk_forget(struct node *n);
void node_store_forget(struct node *n);

/* world_cell.c */
void world_watch_started(struct node *n, const struct cell *cell);
void world_watch_restored(struct node *n, const struct cell *cell);
void node_replica_forget(struct node *n);

/* world_log.c */
void world_log_begin(bool trace);

#endif
