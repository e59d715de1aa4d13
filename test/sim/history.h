/*
 * history.h - the history of the cell: the applied commands, as seen by the first replica that
 * applied each. Every other replica must apply the same commands with the same digests.
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

/* Replica i has applied `cmd`: compare it with the history, or append it. */
void history_applied(unsigned i, const struct cell *cell, const struct cmd *cmd,
                     const struct answer *answer);
/* Replica i continues from this cell, which comes from its database or a snapshot. */
void history_resumed(unsigned i, const struct cell *cell);

size_t history_count(void);
/* Return the digest of the cell that had applied everything up to `index`; false if the history
 * does not go back that far. */
bool history_digest(uint64_t index, uint64_t *ret);
/* Return the first step of the request, NULL if there is none. */
const struct history_step *history_request(const uint64_t request_id[2]);
/* Return whether the entry with this index contains the request, applied or repeated. */
bool history_has(uint64_t index, const uint64_t request_id[2]);

#endif
