/*
 * logs.h - serves the output of tasks to people, from the segments that the shims write.
 *
 * One log at a time on a connection (chunks do not say whose they are). A reader that is slow waits
 * for its queue to drain; when the oldest segment goes meanwhile, the next chunk's offset shows the
 * gap. Nothing here can slow a task down. The logs of a task are read by the user whose job it is,
 * and by readers and operators of the cell. A user has LOGS_READERS_PER_USER of the readers, and
 * what a task has put in the place of its log is told and not read (own_file.h).
 */
#ifndef BORGLET_LOGS_H
#define BORGLET_LOGS_H

#include "identities.h"
#include "rpc.h"
#include "runner.h"

enum {
    LOGS_READERS_MAX = 256,
    LOGS_READERS_PER_USER = 16,
    LOGS_WAKE_MS = 20, /* followers look so long after a write, however many there are meanwhile */
    LOGS_CHUNK_BYTES = 65536,
    LOGS_QUEUE_BYTES_MAX = 262144, /* on one connection; then it is waited for */
};

struct logs;

/* Listen on `address`. */
int logs_open(uv_loop_t *loop, struct tls_context *tls, const char *address, struct logs **ret,
              struct err *err) MUST_USE;
void logs_close(struct logs *logs); /* freed by the loop */
/* Where the attempts are, and who reads those of others; before the first turn of the loop. */
void logs_serve(struct logs *logs, struct runner *runner, const struct identities *identities);
const char *logs_address(const struct logs *logs); /* with the real port */
/* An attempt has ended: followers get the rest and the answer. */
void logs_ended(struct logs *logs, struct attempt_ref task);

#endif
