/*
 * leader.h - the leader's duties that depend on time: silent machines, back-offs that are over,
 * drains.
 *
 * leader_due() decides and is pure; the rest is a timer that proposes the decisions. The times at
 * which machines were heard are not part of the cell and start anew with each leadership, so a
 * change of leader never makes a machine look silent.
 */
#ifndef BORGMASTER_LEADER_H
#define BORGMASTER_LEADER_H

#include "loss.h"
#include "core.h"

enum {
    LEADER_TICK_MS = 100,
    LEADER_ALIVE_MS = 1000,  /* how often replicas report the machines they hear */
    LEADER_SILENT_MS = 8000, /* a machine is unreachable after this, in a cell of any size */
    LEADER_FRESH_MS = 2000,  /* a machine heard within this time is not looked at */
    LEADER_LAG_MAX = 1000,   /* a replica further behind is given no borglets */
    LEADER_DUE_MAX =
        1024, /* commands decided per tick; loss.h bounds how many machines are declared down */
    LEADER_WAKE_MAX = 1024,   /* tasks in one wake command */
    LEADER_LOOKS_MAX = 65536, /* tasks looked at in a tick for an old limit or a drain */
};

struct leader;

struct leader *leader_new(struct core *core);
/* Start or stop: leadership began or ended. */
void leader_on_role(struct leader *leader, bool leads);
/* Record the machines that replica `from` has heard since its last report. Returns how many of its
 * borglets should move, and where. */
struct wire_shed leader_heard(struct leader *leader, uint64_t from, const struct wire_alive *alive);

/*
 * Decide the commands that are due at mono_ms (silence is measured on the monotonic clock) and
 * cell_ms (back-offs end in cell time). heard_ms[id - 1] is when a machine was last heard; for a
 * machine that is down it is kept fresh, so that its silence counts from its return. `loss` starts
 * all zero with each leadership and bounds how many machines are declared down at once. Wake
 * commands point into `wake_scratch`, which has room for LEADER_WAKE_MAX items. Returns how many of
 * the LEADER_DUE_MAX commands were filled.
 */
size_t leader_due(const struct cell *cell, uint64_t *heard_ms, struct loss *loss, uint64_t mono_ms,
                  uint64_t cell_ms, task_id *wake_scratch, struct cmd *ret_cmds);

#endif
