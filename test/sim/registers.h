/*
 * registers.h - jobs as registers: operations of users on a few names, for the linearizability
 * checker of test/chaos/linear.h.
 *
 * Their jobs fit nowhere, so that only users change them; a value is a number of replicas. A name
 * is used for REGISTER_OPS operations, then the next one follows; a name that is no longer in use
 * is checked.
 */
#ifndef SIM_REGISTERS_H
#define SIM_REGISTERS_H

#include "cmd.h"
#include "wire.h"

enum { REGISTER_OPS = 60 };

/* One operation, kept by its user. */
struct register_op {
    bool active;
    size_t number; /* number of its record */
    char name[CELL_NAME_MAX + 1];
    bool read;
};

/* Begin an operation: true if `cmd` is to be sent, false for a fresh read of op->name. */
bool registers_begin(uint64_t *seed, uint32_t client, struct register_op *op, struct cmd *cmd);
/* The operation was answered. */
void registers_answered(struct register_op *op, const struct wire_answer *answer);
void registers_read(struct register_op *op, const struct wire_rows *rows);
/* The operation was given up. */
void registers_given_up(struct register_op *op, bool unknown);
/* No operation is open any more: check the remaining records. */
void registers_check(void);

#endif
