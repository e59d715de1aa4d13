/*
 * attic.h - attempt directories: their names, and those of attempts the cell has forgotten, whose
 * logs are kept for a while.
 *
 *     DIR/tasks/JOB.INDEX.JOBID.ATTEMPT/    known to the cell, or to be told to it
 *     DIR/ended/JOB.INDEX.JOBID.ATTEMPT/    forgotten: only spec and logs are left
 *
 * Bounds: ATTIC_PER_TASK_MAX attempts of a task, ATTIC_MAX and ATTIC_BYTES_MAX in all. The oldest
 * attempts that have a successor here go first, then the oldest: the newest attempt of a task is
 * kept as long as possible.
 *
 * Child processes (borg-shim --clear-...) remove the entries, a few at a time.
 */
#ifndef BORGLET_ATTIC_H
#define BORGLET_ATTIC_H

#include "cmd.h"

#include <sys/types.h>

enum {
    ATTIC_PER_TASK_MAX = 5,
    ATTIC_MAX = 4096,
    ATTIC_CLEANERS_MAX = 4,
    ATTEMPT_NAME_BYTES = CELL_NAME_MAX + 64, /* of a directory, NUL included */
    DIR_BYTES = 1024,                        /* of the borglet's directory, NUL included */
};

void attempt_name(const char *job, struct attempt_ref task, char to[ATTEMPT_NAME_BYTES]);
/* false: not such a name. */
bool attempt_name_parse(const char *name, char ret_job[CELL_NAME_MAX + 1],
                        struct attempt_ref *ret_task);

#define ATTIC_BYTES_MAX (UINT64_C(1) << 30)
/* More than the shim of an attempt ever leaves; what a task has put there counts for no more. */
#define ATTIC_ENTRY_BYTES_MAX (UINT64_C(80) << 20)

struct attic_entry {
    struct attempt_ref task;
    char name[ATTEMPT_NAME_BYTES];
    uint64_t bytes;   /* of its files */
    int64_t ended_ns; /* for the order of entries found at the start */
    bool superseded;  /* a newer attempt of the task is here */
};

struct attic_job {
    char name[ATTEMPT_NAME_BYTES];
    bool all; /* else spec and logs stay */
    pid_t pid;
};

struct attic {
    char path[DIR_BYTES + 16]; /* DIR/ended */
    char shim_path[DIR_BYTES];
    int fd;
    int dup_fd;                                /* the same, for children */
    struct attic_entry entries[ATTIC_MAX + 1]; /* the oldest first */
    size_t count;
    uint64_t bytes; /* of all */
    struct attic_job cleaners[ATTIC_CLEANERS_MAX];
    size_t cleaner_count;
    struct attic_job *queue; /* the first is next */
    size_t queue_count, queue_capacity;
};

/* `shim_path` is of borg-shim. */
int attic_open(struct attic *attic, const char *dir, const char *shim_path,
               struct err *err) MUST_USE;
void attic_close(struct attic *attic);
/* Move tasks_fd/name here and drop all but spec and logs. */
void attic_put(struct attic *attic, int tasks_fd, const char *name, struct attempt_ref task);
/* A child of ours has ended. */
void attic_reap(struct attic *attic);
/* The entry of an attempt, the newest of the task when `attempt` is 0; NULL: none. Borrowed until
 * the next attic_put(). */
const struct attic_entry *attic_find(const struct attic *attic, task_id task, uint32_t attempt);

#endif
