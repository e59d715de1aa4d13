/*
 * shim_client.h - the borglet's end of shim_proto.h: start a shim, reach a running one, read what
 * it left. No loop and no state here; the descriptors are the caller's.
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
 * Write DIR/spec. magic, version, crc and the sizes are filled in here. ERR_LIMIT when there are
 * more words than a shim takes.
 */
int shim_spec_write(int dir_fd, struct shim_spec *spec, const struct words *argv,
                    const struct words *env, struct err *err) MUST_USE;
/* ERR_NOT_FOUND, ERR_CORRUPT: own_file.h; ERR_STATE: it is of a version that we do not read.
 * `ret_argv0` (SHIM_ARGV0_BYTES) gets the command, cut; it may be NULL. */
enum { SHIM_ARGV0_BYTES = 64 };
int shim_spec_read(int dir_fd, struct shim_spec *ret, char *ret_argv0, struct err *err) MUST_USE;

/* The newest valid record; ERR_NOT_FOUND when there is none. */
int shim_record_read(int dir_fd, struct shim_state *ret, struct err *err) MUST_USE;

/* Start `shim_path` for the directory; the socket is non-blocking and subscribed. The process is a
 * child of ours in a session of its own: reap it when it dies before us. */
int shim_spawn(const char *shim_path, const char *dir, int *ret_fd, pid_t *ret_pid,
               struct err *err) MUST_USE;
/*
 * Never waits. ERR_CLOSED when no shim is there any more, ERR_CORRUPT when something else has taken
 * its place, ERR_IO when it does not answer now. `ret_pid` gets who listens. The caller then sends
 * SHIM_SUBSCRIBE.
 */
int shim_connect(int dir_fd, int *ret_fd, pid_t *ret_pid, struct err *err) MUST_USE;
int shim_send(int fd, enum shim_request_kind kind, uint32_t grace_ms, struct err *err) MUST_USE;
/* 1: *ret is set; 0: nothing there now; ERR_CLOSED: the shim is gone; ERR_STATE: it is of a
 * version that we do not speak; ERR_CORRUPT: no shim says such a thing. */
int shim_receive(int fd, struct shim_message *ret, struct err *err) MUST_USE;

/* What the end in `state` is for the cell. */
void shim_end_report(const struct shim_state *state, const char *argv0, struct report *ret);

#endif
