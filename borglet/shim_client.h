/*
 * shim_client.h - the borglet's end of shim_proto.h: start a shim, connect to a running one, read
 * its files. There is no loop and no state here; descriptors belong to the caller.
 */
#ifndef BORGLET_SHIM_CLIENT_H
#define BORGLET_SHIM_CLIENT_H

#include "cmd.h"
#include "shim_proto.h"

#include <sys/types.h>

_Static_assert((int)SHIM_PORTS_MAX == (int)SPEC_PORTS_MAX, "ports of a task");
_Static_assert((int)SHIM_NAME_MAX == (int)CELL_NAME_MAX, "a job's name");
_Static_assert(sizeof(((struct shim_spec *)0)->limit) == sizeof(struct resources), "limits");
_Static_assert(sizeof(((struct shim_spec *)0)->resource_names) == sizeof(struct resource_names),
               "their names");

/*
 * Write DIR/spec. magic, version, crc and the sizes are filled in here. ERR_LIMIT: there are more
 * words than a shim accepts.
 */
int shim_spec_write(int dir_fd, struct shim_spec *spec, const struct words *argv,
                    const struct words *env, struct err *err) MUST_USE;
/* Read the spec of an attempt, of any version. ERR_NOT_FOUND, ERR_CORRUPT: own_file.h. `ret_argv0`
 * (SHIM_ARGV0_BYTES) gets the command, truncated; it may be NULL. */
enum { SHIM_ARGV0_BYTES = 64 };
int shim_spec_read(int dir_fd, struct shim_spec *ret, char *ret_argv0, struct err *err) MUST_USE;

/* Read the newest valid record, of any version. ERR_NOT_FOUND: there is none. */
int shim_record_read(int dir_fd, struct shim_state *ret, struct err *err) MUST_USE;

/* Start `shim_path` for the directory and send it a hello. The socket is non-blocking. The process
 * is a child of the caller in a session of its own: reap it when it exits. */
int shim_spawn(const char *shim_path, const char *dir, int *ret_fd, pid_t *ret_pid,
               struct err *err) MUST_USE;
/*
 * Connect to a running shim, without waiting. ERR_CLOSED: there is no shim any more. ERR_CORRUPT:
 * something else is in its place. ERR_IO: it does not accept now. `ret_pid` gets the process that
 * listens. The caller then sends a hello.
 */
int shim_connect(int dir_fd, int *ret_fd, pid_t *ret_pid, struct err *err) MUST_USE;
/* State the versions of this borglet. The shim answers with its own. */
int shim_hello(int fd, struct err *err) MUST_USE;
int shim_send(int fd, enum shim_request_kind kind, uint32_t grace_ms, struct err *err) MUST_USE;
/*
 * Receive a message. Returns 1: *ret is set (the state not for HELLO_ANSWER, the version of which
 * is the common one); 0: nothing to receive now. ERR_CLOSED: the connection is closed. ERR_STATE:
 * there is no common version. ERR_CORRUPT: the message makes no sense.
 */
int shim_receive(int fd, struct shim_message *ret, struct err *err) MUST_USE;

/* Translate the end in `state` into a report for the cell. */
void shim_end_report(const struct shim_state *state, const char *argv0, struct report *ret);

#endif
