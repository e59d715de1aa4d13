/*
 * shim.h - the parts of borg-shim: one small process per attempt that owns the processes, the log
 * and the exit status of the task, and outlives the borglet.
 *
 *     main.c     sets up, waits, decides when to exit
 *     task.c     starts, reaps and kills the processes of the task
 *     exec.c     executes the command, or describes why this failed
 *     log.c      copies the output to segments of bounded size
 *     record.c   writes the state to disk, in place
 *     control.c  serves the control socket
 *     clear.c    removes what an attempt has left; a separate program in the same file
 *
 * The process runs in the directory of the attempt, and all paths are relative to it. It has one
 * thread, allocates nothing after its start, and uses system calls only.
 */
#ifndef BORGLET_SHIM_H
#define BORGLET_SHIM_H

#include "shim_proto.h"

#include <stdbool.h>
#include <sys/types.h>

struct log_stream {
    char name[4];     /* "out" or "err" */
    int read_fd;      /* the shim's end of the pipe */
    int task_fd;      /* the task's end, opened O_RDWR and kept open, so there is no end of file */
    int file_fd;      /* the segment being written, or -1 */
    uint64_t segment; /* its number */
    uint64_t size;    /* bytes of the stream written so far */
    uint32_t segment_bytes;
    uint32_t segments;
    uint64_t dropped;        /* bytes lost in all */
    uint64_t dropped_logged; /* the part of them that the log mentions */
    int error;               /* errno of the last loss */
};

struct client {
    int fd; /* -1: free */
    bool subscribed;
    bool greeted;     /* has sent a hello */
    uint32_t version; /* of the connection; 0: not agreed on */
};

struct shim {
    struct shim_spec spec;
    char *words; /* spec.words_bytes */
    char **argv; /* pointers into words, NULL-terminated */
    char **env;
    struct shim_state state;
    uint64_t record_seq;
    int record_fd;
    struct log_stream logs[2];
    int listen_fd;
    int signal_fd;
    int start_fd; /* connected to the process of the task until it executes its command; -1: closed
                   */
    int epoll_fd;
    struct client clients[SHIM_CLIENTS_MAX];
    bool main_ended;      /* the process of the task has ended; descendants may still be dying */
    uint64_t kill_at_ms;  /* when to send SIGKILL to all processes; 0: not */
    uint64_t leave_at_ms; /* when to exit; 0: not before ACK_EXIT */
    bool acked;
};

uint64_t now_mono_ms(void);
uint64_t now_wall_ms(void);

/* Read and check the spec. Returns 0 or errno. */
int spec_read(struct shim *s);

/* Create the record with all its blocks. Returns 0 or errno. */
int record_open(struct shim *s);
/* Write s->state to the record and set state.recorded to whether that worked. */
void record_write(struct shim *s);

/* 0 or errno. */
int log_open(struct log_stream *l, const char *name, const struct shim_spec *spec);
/* Move at most `limit` bytes from the pipe to the log. Returns whether there may be more. */
bool log_pump(struct log_stream *l, size_t limit);
/* Move what is left in the pipe after the end of the task, and log losses. */
void log_finish(struct log_stream *l);

/* Fork the task. On failure the state is ENDED with a start error, else task_started() gives the
 * result. */
void task_start(struct shim *s);
/*
 * Read the result of the start when s->start_fd is readable. Returns whether the state is now
 * RUNNING, or ENDED with a start error. Executing a file may take long, on a network file system
 * that is down for example, and the shim serves requests meanwhile.
 */
bool task_started(struct shim *s);
/* Execute argv, searched in the PATH of `env`. Returns the errno and, if known, a detail. */
int task_exec(char *const *argv, char *const *env, char detail[SHIM_DETAIL_BYTES]);
/* Reap children. Returns whether the task has ended and none of its processes is left. */
bool task_reap(struct shim *s);
/* Send the signal to the process group of the task and to descendants outside the group. */
void task_signal_all(struct shim *s, int signal);
void task_stop(struct shim *s, uint32_t grace_ms);

/* Remove what an attempt has left in SHIM_FD/name; keep spec and logs if `work_only`. Returns
 * the exit code of the process. */
int clear_main(const char *name, bool work_only);

int control_open(struct shim *s); /* 0 or errno */
void control_accept(struct shim *s);
void control_read(struct shim *s, struct client *client);
void control_send_all(struct shim *s, enum shim_message_kind kind); /* to all subscribers */
bool control_in_use(const struct shim *s);

#endif
