/*
 * shim.h - the parts of borg-shim: one small process per attempt that owns the task's processes,
 * log and exit status, and outlives the borglet.
 *
 *     main.c     sets up, waits, decides when to leave
 *     task.c     starts the task, reaps, kills all that descends from it
 *     exec.c     executes the command, and says why it cannot be
 *     log.c      pipes to segments of bounded size
 *     record.c   the state on disk, in place
 *     control.c  the socket
 *     clear.c    what an attempt has left, removed: a program of its own in the same file
 *
 * The process runs in the directory of the attempt; all paths are relative to it. Single thread,
 * no heap in the steady state, nothing but system calls.
 */
#ifndef BORGLET_SHIM_H
#define BORGLET_SHIM_H

#include "shim_proto.h"

#include <stdbool.h>
#include <sys/types.h>

struct log_stream {
    char name[4];     /* "out" or "err" */
    int read_fd;      /* our end of the pipe, non-blocking */
    int task_fd;      /* the task's end, opened O_RDWR; we keep it, so there never is an EOF */
    int file_fd;      /* the segment being written, or -1 */
    uint64_t segment; /* its number */
    uint64_t size;    /* bytes of the stream written so far */
    uint32_t segment_bytes;
    uint32_t segments;
    uint64_t dropped;      /* bytes lost in all */
    uint64_t dropped_told; /* of these: told in the log */
    int error;             /* errno of the last loss */
};

struct client {
    int fd; /* -1: free */
    bool subscribed;
};

struct shim {
    struct shim_spec spec;
    char *words; /* spec.words_bytes */
    char **argv; /* into words, NULL-terminated */
    char **env;
    struct shim_state state;
    uint64_t record_seq;
    int record_fd;
    struct log_stream logs[2];
    int listen_fd;
    int signal_fd;
    int start_fd; /* from the task's process until it is executed; -1: not, or not any more */
    int epoll_fd;
    struct client clients[SHIM_CLIENTS_MAX];
    bool main_ended;      /* the task's own process; its descendants may still be dying */
    uint64_t kill_at_ms;  /* SIGKILL everything then; 0: no such time */
    uint64_t leave_at_ms; /* 0: not before ACK_EXIT */
    bool acked;
};

uint64_t now_mono_ms(void);
uint64_t now_wall_ms(void);

/* Read and check the file; 0 or errno. */
int spec_read(struct shim *s);

/* Make room for the record; 0 or errno. */
int record_open(struct shim *s);
/* Store s->state and note in it whether that worked. */
void record_write(struct shim *s);

/* 0 or errno. */
int log_open(struct log_stream *l, const char *name, const struct shim_spec *spec);
/* Move what the pipe holds, at most `limit` bytes. Returns whether there may be more. */
bool log_pump(struct log_stream *l, size_t limit);
/* The task is gone: take the rest and tell of losses. */
void log_finish(struct log_stream *l);

/* Fork; on failure the state is ENDED with a start error. Else task_started() tells the rest. */
void task_start(struct shim *s);
/* s->start_fd can be read: whether the state is now RUNNING, or ENDED with a start error. Executing
 * may take for ever (a file on a server that is away), and the shim serves meanwhile. */
bool task_started(struct shim *s);
/* Execute argv, looked for in the PATH of `env`. Returns the errno, and perhaps more about it. */
int task_exec(char *const *argv, char *const *env, char detail[SHIM_DETAIL_BYTES]);
/* Collect dead children. Returns whether the task has ended and nothing of it is left. */
bool task_reap(struct shim *s);
/* To the group of the task and to descendants that left the group. */
void task_signal_all(struct shim *s, int signal);
void task_stop(struct shim *s, uint32_t grace_ms);

/* Remove what an attempt has left: SHIM_FD/name, but for spec and logs if `work_only`. Returns the
 * exit code of the process. */
int clear_main(const char *name, bool work_only);

int control_open(struct shim *s); /* 0 or errno */
void control_accept(struct shim *s);
void control_read(struct shim *s, struct client *client);
void control_tell(struct shim *s, enum shim_message_kind kind); /* all subscribers */
bool control_in_use(const struct shim *s);

#endif
