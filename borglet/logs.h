/*
 * logs.h - serve the output of tasks to users from the segments that the shims write.
 *
 * A connection carries one log at a time, because chunks do not name their log. For a slow reader
 * the server waits until its queue drains; if the oldest segment is removed meanwhile, the offset
 * of the next chunk shows the gap. Readers cannot slow a task down. The logs of a task may be read
 * by the owner of its job and by readers and operators of the cell. A user may have
 * LOGS_READERS_PER_USER readers at a time. A file that a task has put in the place of its log is
 * reported and not read (own_file.h).
 */
#ifndef BORGLET_LOGS_H
#define BORGLET_LOGS_H

#include "identities.h"
#include "rpc.h"
#include "runner.h"

enum {
    LOGS_READERS_MAX = 256,
    LOGS_READERS_PER_USER = 16,
    LOGS_WAKE_MS =
        20, /* after a write followers wait so long, for further writes, before they read */
    LOGS_CHUNK_BYTES = 65536,
    LOGS_QUEUE_BYTES_MAX = 262144, /* on one connection; beyond it the reader waits */
};

struct logs;

/* Listen on `address`. */
int logs_open(uv_loop_t *loop, struct tls_context *tls, const char *address, struct logs **ret,
              struct err *err) MUST_USE;
void logs_close(struct logs *logs); /* freed by the loop */
/* Set the runner whose attempts are served, and the access rules; call it before the first turn
 * of the loop. */
void logs_serve(struct logs *logs, struct runner *runner, const struct identities *identities);
const char *logs_address(const struct logs *logs); /* with the port that is in use */
/* Tell the followers of an attempt that it has ended: they get the rest and the answer. */
void logs_ended(struct logs *logs, struct attempt_ref task);

#endif
