/*
 * cmd_pack.h - commands as msgpack: in the Raft log, on the wire, in SQLite (specs).
 *
 * A command is an array [format, request_id[0], request_id[1], user, time_ms, kind, body]; bodies
 * are arrays with a fixed order of fields; only append fields. Unpacking bounds every count before
 * it allocates, refuses with ERR_CORRUPT and never reads beyond `size`. pack(unpack(x)) == x for
 * everything pack made.
 */
#ifndef CELL_CMD_PACK_H
#define CELL_CMD_PACK_H

#include "cmd.h"

/* Append to `to`. ERR_LIMIT when the command is larger than CMD_BYTES_MAX; `to` is unchanged then.
 */
int cmd_pack(const struct cmd *cmd, struct buf *to, struct err *err) MUST_USE;
/* As cmd_pack(), without the fields of formats after `format`: for the cell's own commands. */
int cmd_pack_in(const struct cmd *cmd, unsigned format, struct buf *to, struct err *err) MUST_USE;
/* On success the caller owns *ret (cmd_release). Trailing bytes are an error. ERR_STATE: a later
 * release wrote it. A command is carried out as a whole or not at all, so nothing is skipped. */
int cmd_unpack(const void *bytes, size_t size, struct cmd *ret, struct err *err) MUST_USE;

void spec_pack(const struct job_spec *spec, struct buf *to);
int spec_unpack(const void *bytes, size_t size, struct job_spec *ret, struct err *err) MUST_USE;

/*
 * An envelope is what one Raft entry holds: packed commands one after another, each with a 4-byte
 * big-endian length. Append until ENVELOPE_COMMANDS_MAX or ENVELOPE_BYTES_MAX.
 */
void envelope_add(struct buf *envelope, const void *cmd_bytes, size_t size);
/* The next packed command at *at (start with 0), or NULL at the end; ERR_CORRUPT when cut. */
int envelope_next(const void *envelope, size_t size, size_t *at, const void **ret_cmd,
                  size_t *ret_size, struct err *err) MUST_USE;

#endif
