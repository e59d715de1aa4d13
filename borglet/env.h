/*
 * env.h - the environment a task starts with. Pure.
 *
 * The task inherits nothing from the borglet. Its spec may set PATH, HOME and LANG, but not the
 * variables that the cell sets (BORG_*, PORT*, gpus).
 */
#ifndef BORGLET_ENV_H
#define BORGLET_ENV_H

#include "cmd.h"

struct env_facts {
    const char *cell;
    const char *machine;
    const char *work_dir; /* absolute; also identifies the processes of the task (lost.h) */
    struct attempt_ref task;
    uint32_t shape;        /* of the attempt: spec_shape() */
    const uint16_t *ports; /* one per name in the spec */
    uint32_t devices;      /* one bit per gpu of the attempt */
    bool gpus;             /* the machine has gpus */
};

/* Append the environment to `to`, which must be empty. */
void env_build(struct words *to, const struct job_spec *spec, const struct env_facts *facts);

#endif
