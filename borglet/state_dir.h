/*
 * state_dir.h - the directory of the borglet: its lock, its identity, and the newest index seen.
 *
 *     borglet.lock   locked while a borglet runs; contains its pid
 *     instance       a random number, made once, and the place of the directory, to detect a copy
 *     seen           the cell of this directory, and the index of the newest intents seen
 *
 * The index must survive a restart, because otherwise a replica that lags behind could make the
 * borglet stop tasks that the cell has started since. An index is valid inside one cell, which is
 * identified by name and CA; a directory of another cell is refused.
 */
#ifndef BORGLET_STATE_DIR_H
#define BORGLET_STATE_DIR_H

#include "cell_file.h"

struct state_dir {
    int lock_fd;
    int seen_fd;
    uint64_t cell_hash;
    uint64_t seen_index;
    /*
     * The cell accepts one borglet per name and distinguishes them by this number. It differs
     * between directories and between copies of one directory, on this host or another. It stays
     * the same when the borglet is restarted, until the host is rebooted. It is never 0.
     */
    uint64_t instance;
    uint64_t directory; /* the part of it that a reboot of the host does not change; never 0 */
};

/* Open the directory; make it if its parent exists. ERR_STATE: another borglet or another cell
 * uses it. */
int state_dir_open(const char *dir, const struct cell_file *cell, struct state_dir *ret,
                   struct err *err) MUST_USE;
void state_dir_close(struct state_dir *state);
/* Store the index. It is not synced, because after a power failure no task is left that it could
 * protect. */
int state_dir_see(struct state_dir *state, uint64_t index, struct err *err) MUST_USE;

#endif
