/*
 * agent.h - the borglet itself: it passes what the cell wants from the link through the plan to the
 * runner, and reports what the runner observes to the cell.
 *
 * Callbacks only record what happened. The work is done once per turn of the loop, so that ten
 * intents or ten ends in one turn cost one pass over the plan and one message.
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
    struct words labels;                  /* the same */
    struct ports ports;
    struct state_dir *state; /* borrowed */
};

struct agent;

int agent_open(const struct agent_options *options, struct agent **ret, struct err *err) MUST_USE;
/* Close the agent; its tasks continue. The loop frees it. */
void agent_close(struct agent *agent);
const char *agent_address(const struct agent *agent); /* the address at which logs are served */

#endif
