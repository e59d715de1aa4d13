/*
 * agent.h - the borglet itself: carries what the cell wants (link) through the plan to the runner,
 * and what the runner sees back to the cell.
 *
 * Callbacks only note what happened; the work is done once per turn of the loop, so that ten
 * intents or ten ends in one turn are one pass over the plan and one message.
 */
#ifndef BORGLET_AGENT_H
#define BORGLET_AGENT_H

#include "cell_file.h"
#include "resources.h"
#include "ports.h"
#include "state_dir.h"
#include "stream.h"
#include "tls.h"
#include "words.h"

#include <uv.h>

struct agent_options {
    uv_loop_t *loop;
    struct tls_context *tls;
    const struct cell_file *cell; /* borrowed */
    const char *name;             /* borrowed */
    const char *dir;
    const char *shim_path;
    const char *listen;
    struct resources capacity;
    struct resource_names resource_names; /* of its slots */
    struct words attributes;              /* borrowed bytes */
    struct ports ports;
    struct state_dir *state; /* borrowed */
};

struct agent;

int agent_open(const struct agent_options *options, struct agent **ret, struct err *err) MUST_USE;
/* Tasks go on. Freed by the loop. */
void agent_close(struct agent *agent);
const char *agent_address(const struct agent *agent); /* where logs are served */

#endif
