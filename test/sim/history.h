/*
 * history.h - the one history of the cell: what was applied, as the first replica to get there saw
 * it. Every other replica has to go through the same, command by command, to the same digest.
 */
#ifndef SIM_HISTORY_H
#define SIM_HISTORY_H

#include "cmd.h"

/* One applied command. */
struct history_step {
    uint64_t index; /* of its entry */
    uint64_t request_id[2];
    uint64_t time_ms; /* of the command */
    uint64_t digest;  /* of the cell after it */
    enum cmd_kind kind;
    enum err_code code;
    job_id job;
    uint32_t accepted;
    uint32_t refused;
};

/* Replica i has applied `cmd`; it continues where it was, or adds to the history. */
void history_applied(unsigned i, const struct cell *cell, const struct cmd *cmd,
                     const struct answer *answer);
/* Replica i goes on from this cell: of its database, or of a snapshot. */
void history_resumed(unsigned i, const struct cell *cell);

size_t history_count(void);
/* Of the cell when it had applied everything up to `index`; false: the history does not go back so
 * far. */
bool history_digest(uint64_t index, uint64_t *ret);
/* The first time the request was applied; NULL: never. */
const struct history_step *history_request(const uint64_t request_id[2]);
/* Is the request in the entry with this index, applied or repeated? */
bool history_has(uint64_t index, const uint64_t request_id[2]);

#endif
