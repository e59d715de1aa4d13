/*
 * state_dir.h - the borglet's directory: one borglet at a time, of one cell, and what it has seen.
 *
 *     borglet.lock   locked while a borglet lives; holds its pid
 *     instance       a random number, made once, and where the directory was: a copy is found out
 *     seen           the cell this directory belongs to, and the index of the newest intents seen
 *
 * The index must survive a restart: otherwise a replica that lags behind could make us stop what
 * the cell started since. It counts inside one cell, told by name and CA, so a directory of
 * another cell is refused.
 */
#ifndef BORGLET_STATE_DIR_H
#define BORGLET_STATE_DIR_H

#include "cell_file.h"

struct state_dir {
    int lock_fd;
    int seen_fd;
    uint64_t cell_hash;
    uint64_t seen_index;
    /* The cell takes one borglet of a name at a time and tells them apart by this: it differs for
     * another directory and for a copy of it, on this host or on another; it is the same for the
     * borglet that is started again, until the host is. Never 0. */
    uint64_t instance;
    uint64_t
        directory; /* of these the part that a new start of the host does not change; never 0 */
};

/* Makes the directory if its parent exists. ERR_STATE: somebody else has it, or another cell. */
int state_dir_open(const char *dir, const struct cell_file *cell, struct state_dir *ret,
                   struct err *err) MUST_USE;
void state_dir_close(struct state_dir *state);
/* Store the index. Not synced: after a power cut no task is left that it could protect. */
int state_dir_see(struct state_dir *state, uint64_t index, struct err *err) MUST_USE;

#endif
