/*
 * applier.h - applies committed entries to the cell, a bounded amount in each turn of the loop.
 *
 * The log hands over all committed entries at once, which are thousands when a replica catches up.
 * The applier keeps those that do not fit into the turn, in order, and applies them in the next
 * turns. An entry that is applied in pieces is handled likewise, one piece per turn. Between the
 * turns the loop answers heartbeats, borglets and users.
 */
#ifndef BORGMASTER_APPLIER_H
#define BORGMASTER_APPLIER_H

#include "list.h"

#include <uv.h>

enum {
    APPLIER_TURN_US = 10000,      /* after this time no entry or command is begun in a turn */
    APPLIER_TURN_ENTRIES = 512,   /* nor after so many entries */
    APPLIER_PIECE_UNITS = 8192,   /* per turn, of cell_apply_go_on(): about one for each task */
    APPLIER_BYTES_MAX = 67108864, /* of kept entries; beyond it they are applied at once */
};

/* Apply an entry or a piece of it. Returns true when the entry is applied as a whole; otherwise the
 * applier calls again with the same entry in the next turn. */
typedef bool (*applier_cb)(void *data, uint64_t index, uint64_t term, const void *bytes,
                           size_t size);

struct applier {
    applier_cb apply;
    void *data;
    struct list entries; /* waiting entries; a part of the first may be applied */
    size_t bytes;
    struct list waiting; /* struct applier_wait, by index */
    uint64_t last_index; /* of the newest entry that was handed over */
    uint64_t until_us;   /* the end of this turn; 0: nothing was applied in it */
    uint32_t done;       /* entries and pieces in this turn */
    uv_idle_t idle;      /* runs while entries wait */
};

/* Calls back when all entries handed over so far are applied. The caller owns it. */
struct applier_wait {
    struct list link;
    uint64_t index;
    void (*cb)(struct applier_wait *wait);
};

void applier_init(struct applier *applier, uv_loop_t *loop, applier_cb apply, void *data);
/* Hand over the next entry. It is applied now, or its bytes are copied and kept. */
void applier_put(struct applier *applier, uint64_t index, uint64_t term, const void *bytes,
                 size_t size);
/* Returns whether another command of the present entry may begin in this turn. */
bool applier_has_time(const struct applier *applier);
/* End the turn: the next call begins a new one. */
void applier_turn_end(struct applier *applier);
/* Returns whether every entry that was handed over is applied as a whole. */
bool applier_is_empty(const struct applier *applier);
/* Call `cb` at once if no entry waits, else when the newest entry is applied. */
void applier_after(struct applier *applier, struct applier_wait *wait,
                   void (*cb)(struct applier_wait *wait));
/* Apply all waiting entries now, since the replica stops. */
void applier_drain(struct applier *applier);
/* Drop all waiting entries: the cell was replaced by one that has them. */
void applier_clear(struct applier *applier);

#endif
