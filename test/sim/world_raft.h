/*
 * world_raft.h - the raft_io of a replica, between world_raft.c (messages, ticks) and world_disk.c.
 */
#ifndef SIM_WORLD_RAFT_H
#define SIM_WORLD_RAFT_H

#include "world_impl.h"

#include <raft.h>

enum { RAFT_NODES_MAX = 9 };

/* The end of a request of the library, reported in the next turn. */
struct raft_ended {
    struct raft_io_send *req;
    int status;
};

/* One life of a replica's raft_io. */
struct raft_world_io {
    struct raft_io *io;
    struct node *node;
    struct disk *disk;
    raft_id id;
    char address[CELL_ADDR_MAX + 1];
    raft_io_tick_cb tick;
    raft_io_recv_cb recv;
    raft_io_close_cb close_cb;
    uv_timer_t timer;
    bool started, closing;

    struct sim_event close_ev;
    struct sim_event ended_ev; /* sends that have ended */
    struct raft_ended *ended;
    size_t ended_count, ended_capacity;
};

/* world_disk.c */
void disk_open(struct raft_world_io *w); /* sets the methods of the disk */
bool disk_idle(const struct raft_world_io *w);
void disk_close(struct raft_world_io *w); /* cancels waiting operations */

#endif
