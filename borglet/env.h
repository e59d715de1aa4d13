/*
 * env.h - the environment a task starts with. Pure.
 *
 * Nothing is inherited from the borglet. What the cell says (BORG_*, PORT*, gpus) cannot be
 * overridden by the spec; PATH, HOME and LANG can.
 */
#ifndef BORGLET_ENV_H
#define BORGLET_ENV_H

#include "cmd.h"

struct env_facts {
    const char *cell;
    const char *machine;
    const char *work_dir; /* absolute; also tells the task's processes from all others (lost.h) */
    struct attempt_ref task;
    uint32_t shape;        /* of the attempt: spec_shape() */
    const uint16_t *ports; /* one per name in the spec */
    uint32_t devices;      /* a bit per gpu it has */
    bool gpus;             /* the machine has some */
};

/* Appends to `to`, which is empty. */
void env_build(struct words *to, const struct job_spec *spec, const struct env_facts *facts);

#endif
