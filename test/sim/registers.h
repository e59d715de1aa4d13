/*
 * registers.h - jobs as registers: what users saw of a few names, for the linearizability checker
 * of test/chaos/linear.h.
 *
 * Their jobs fit nowhere, so that nothing but users changes them; a value is a number of replicas.
 * A name is used for REGISTER_OPS operations, then the next one comes; a name that nobody uses any
 * more is judged.
 */
#ifndef SIM_REGISTERS_H
#define SIM_REGISTERS_H

#include "cmd.h"
#include "wire.h"

enum { REGISTER_OPS = 60 };

/* One operation, kept by who does it. */
struct register_op {
    bool active;
    size_t number; /* its record */
    char name[CELL_NAME_MAX + 1];
    bool read;
};

/* Begin one: true: `cmd` is to be done; false: a fresh read of op->name. */
bool registers_begin(uint64_t *seed, uint32_t client, struct register_op *op, struct cmd *cmd);
/* It was answered. */
void registers_answered(struct register_op *op, const struct wire_answer *answer);
void registers_read(struct register_op *op, const struct wire_rows *rows);
/* It was given up. */
void registers_given_up(struct register_op *op, bool unknown);
/* Nobody does anything any more: judge what is left. */
void registers_check(void);

#endif
