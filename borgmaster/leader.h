/*
 * leader.h - what only the leader does about time: silent machines, back-offs that are over.
 *
 * leader_due() decides, purely; the shell has a timer and proposes. Who was heard when is volatile
 * and starts afresh with each leadership, so a change of leader never makes a machine look silent.
 */
#ifndef BORGMASTER_LEADER_H
#define BORGMASTER_LEADER_H

#include "loss.h"
#include "replica.h"

enum {
    LEADER_TICK_MS = 100,
    LEADER_ALIVE_MS = 1000,   /* shards tell the leader this often whom they hear */
    LEADER_SILENT_MS = 8000,  /* DESIGN: unreachable after this, whatever the size of the cell */
    LEADER_FRESH_MS = 2000,   /* a machine heard of within this need not be looked at */
    LEADER_LAG_MAX = 1000,    /* entries that a replica may be behind and be given borglets */
    LEADER_DUE_MAX = 1024,    /* commands decided per tick: loss.h, not this, says how many machines
                                 may be declared down */
    LEADER_WAKE_MAX = 1024,   /* tasks in one wake command */
    LEADER_LOOKS_MAX = 65536, /* tasks with an old limit, or where work is to go, that are looked at
                                 in a tick */
};

struct leader;

struct leader *leader_new(struct replica *replica);
/* The role changed: start or stop. */
void leader_on_role(struct leader *leader, bool leads);
/* Replica `from` has said whom it has heard of since it said so last. Returns which of its borglets
 * should move, if any. */
struct wire_shed leader_heard(struct leader *leader, uint64_t from, const struct wire_alive *alive);

/*
 * The commands that are due at mono_ms (silence is measured on the monotonic clock) and cell_ms
 * (back-offs are in cell time). heard_ms[id - 1] is when a machine was last heard; that of a
 * machine that is down is kept fresh, so that its silence counts from when it is back. `loss`
 * begins all zero with each leadership and bounds how many are declared down at once. Wake
 * commands point into `wake_scratch`, LEADER_WAKE_MAX items. Returns how many of LEADER_DUE_MAX
 * were filled.
 */
size_t leader_due(const struct cell *cell, uint64_t *heard_ms, struct loss *loss, uint64_t mono_ms,
                  uint64_t cell_ms, task_id *wake_scratch, struct cmd *ret_cmds);

#endif
