/*
 * entry.c - walking an envelope, with a rest in the middle if need be.
 */
#include "entry.h"

#include "applier.h"
#include "cmd_pack.h"

static void command_begin(struct entry *e, struct cell *cell, struct changes *changes,
                          const void *bytes, size_t size)
{
    struct err err;
    const void *cmd_bytes;
    size_t cmd_size;
    if (envelope_next(bytes, size, &e->at, &cmd_bytes, &cmd_size, &err) != 0 ||
        cmd_unpack(cmd_bytes, cmd_size, &e->cmd, &err) != 0)
        PANIC("log entry %" PRIu64 ": %s", e->index, err.msg);
    e->in_command = true;
    cell_apply_begin(&e->apply, cell, &e->cmd, changes, &e->answer);
}

static enum entry_went entry_over(struct entry *e)
{
    e->index = 0;
    return ENTRY_OVER;
}

enum entry_went entry_go_on(struct entry *e, struct cell *cell, struct changes *changes,
                            struct proposer *proposer, uint64_t index, const void *bytes,
                            size_t size)
{
    struct err err;
    struct proposal
        *ours; /* may be gone, and its commands answered otherwise, since the last time */
    size_t first;
    if (proposer_open(proposer, bytes, size, &first, &ours, &err) != 0)
        PANIC("log entry %" PRIu64 ": %s", index, err.msg);
    if (e->index == 0) {
        e->index = index;
        e->digest = cell_digest(cell);
        e->at = first;
    }
    ASSERT(e->index == index);
    if (!e->in_command && e->at == size)
        return entry_over(e);
    if (!e->in_command)
        command_begin(e, cell, changes, bytes, size);
    if (!cell_apply_go_on(&e->apply, APPLIER_PIECE_UNITS))
        return ENTRY_HALF;
    cmd_release(&e->cmd);
    e->in_command = false;
    if (ours != NULL)
        proposer_answer(ours, &e->answer, index);
    return e->at < size ? ENTRY_NEXT : entry_over(e);
}

void entry_drop(struct entry *e)
{
    if (e->in_command) {
        cell_apply_drop(&e->apply);
        cmd_release(&e->cmd);
    }
    e->in_command = false;
    e->index = 0;
}
