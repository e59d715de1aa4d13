/*
 * applier.h - committed entries on their way into the cell: a bounded piece of them in a turn.
 *
 * The log hands over all it knows to be committed at once, thousands of entries when a replica
 * catches up. Those that do not fit into a turn of the loop are kept, in order, and applied in the
 * next ones; so is the rest of one that is applied in pieces, of which a turn does one. Meanwhile
 * heartbeats are answered, and borglets and users are heard.
 */
#ifndef BORGMASTER_APPLIER_H
#define BORGMASTER_APPLIER_H

#include "list.h"

#include <uv.h>

enum {
    APPLIER_TURN_US = 10000,      /* then no other entry or command is begun in this turn */
    APPLIER_TURN_ENTRIES = 512,   /* nor after so many */
    APPLIER_PIECE_UNITS = 8192,   /* of cell_apply_go_on(): tasks, about, of a command in a turn */
    APPLIER_BYTES_MAX = 67108864, /* kept; more are applied at once, whatever it takes */
};

/* Apply an entry, or a piece of it; true: it is applied. Else it is called again with the same one,
 * in the next turn. */
typedef bool (*applier_cb)(void *data, uint64_t index, uint64_t term, const void *bytes,
                           size_t size);

struct applier {
    applier_cb apply;
    void *data;
    struct list entries; /* that wait, the first perhaps applied in part */
    size_t bytes;
    struct list waiting; /* who is told when an entry has been applied */
    uint64_t last_index; /* that was handed over */
    uint64_t until_us;   /* of this turn; 0: nothing was applied in it */
    uint32_t done;       /* in this turn */
    uv_idle_t idle;      /* runs while entries wait */
};

/* Called back when what was handed over before is applied; the owner's. */
struct applier_wait {
    struct list link;
    uint64_t index;
    void (*cb)(struct applier_wait *wait);
};

void applier_init(struct applier *applier, uv_loop_t *loop, applier_cb apply, void *data);
/* The next entry: applied now, or kept (then the bytes are copied). */
void applier_put(struct applier *applier, uint64_t index, uint64_t term, const void *bytes,
                 size_t size);
/* May something else be begun in this turn, of the entry that is being applied? */
bool applier_has_time(const struct applier *applier);
/* A turn of the loop has ended. */
void applier_turn_end(struct applier *applier);
/* Is all applied that was handed over, and whole? */
bool applier_is_empty(const struct applier *applier);
/* `cb` at once when nothing waits, else later. */
void applier_after(struct applier *applier, struct applier_wait *wait,
                   void (*cb)(struct applier_wait *wait));
/* Apply all that waits now: the replica ends. */
void applier_drain(struct applier *applier);
/* Forget them: the cell has been replaced by one that has them. */
void applier_clear(struct applier *applier);

#endif
