/*
 * entry.c - applies the commands of an envelope, over several turns if they are large.
 */
#include "entry.h"

#include "access.h"
#include "applier.h"
#include "cmd_pack.h"

static int command_begin(struct entry *e, struct cell *cell, struct changes *changes,
                         const void *bytes, size_t size, struct err *err)
{
    const void *cmd_bytes;
    size_t cmd_size;
    if (envelope_next(bytes, size, &e->at, &cmd_bytes, &cmd_size, err) != 0 ||
        cmd_unpack(cmd_bytes, cmd_size, &e->cmd, err) != 0)
        return err_wrap(err, "log entry %" PRIu64, e->index);
    /* A command that no replica carries out stops none. */
    if (e->cmd.kind == CMD_FORMAT_SET && e->cmd.format_set.format > CELL_FORMAT &&
        cmd_access_check(cell, &e->cmd, NULL) == 0)
        return err_set(err, ERR_STATE,
                       "log entry %" PRIu64 ": the cell uses format %" PRIu32
                       " from here on, and this release knows formats up to %d: start a later one",
                       e->index, e->cmd.format_set.format, CELL_FORMAT);
    e->in_command = true;
    cell_apply_begin(&e->apply, cell, &e->cmd, changes, &e->answer);
    return 0;
}

static enum entry_went entry_over(struct entry *e)
{
    e->index = 0;
    return ENTRY_OVER;
}

enum entry_went entry_go_on(struct entry *e, struct cell *cell, struct changes *changes,
                            struct proposer *proposer, uint64_t index, const void *bytes,
                            size_t size, struct err *err)
{
    struct proposal *ours; /* NULL if it is not ours, or was answered since the last call */
    size_t first;
    if (proposer_open(proposer, bytes, size, &first, &ours, err) != 0) {
        err_wrap(err, "log entry %" PRIu64, index);
        return ENTRY_NONE;
    }
    if (e->index == 0) {
        e->index = index;
        e->digest = cell_digest(cell);
        e->at = first;
    }
    ASSERT(e->index == index);
    if (!e->in_command && e->at == size)
        return entry_over(e);
    if (!e->in_command && command_begin(e, cell, changes, bytes, size, err) != 0)
        return ENTRY_NONE;
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
