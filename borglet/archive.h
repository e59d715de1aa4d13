/*
 * archive.h - the directories of attempts: their names, and the archive of attempts which the cell
 * has forgotten and whose logs are kept for some time.
 *
 *     DIR/tasks/JOB.INDEX.JOBID.ATTEMPT/    known to the cell, or to be told to it
 *     DIR/ended/JOB.INDEX.JOBID.ATTEMPT/    forgotten: only spec and logs are left
 *
 * At most ARCHIVE_PER_TASK_MAX attempts of a task, and ARCHIVE_MAX attempts and ARCHIVE_BYTES_MAX
 * bytes in all are kept. Attempts with a successor here are removed first, the oldest first, then
 * the oldest of the others: the newest attempt of a task is kept as long as possible.
 *
 * Child processes (borg-shim --clear-...) remove the files, a few at a time.
 */
#ifndef BORGLET_ARCHIVE_H
#define BORGLET_ARCHIVE_H

#include "cmd.h"

#include <sys/types.h>

enum {
    ARCHIVE_PER_TASK_MAX = 5,
    ARCHIVE_MAX = 4096,
    ARCHIVE_CLEANERS_MAX = 4,
    ATTEMPT_NAME_BYTES = CELL_NAME_MAX + 64, /* of a directory, NUL included */
    DIR_BYTES = 1024,                        /* of the borglet's directory, NUL included */
};

void attempt_name(const char *job, struct attempt_ref task, char to[ATTEMPT_NAME_BYTES]);
/* Parse the name of a directory. False: it is not the name of an attempt. */
bool attempt_name_parse(const char *name, char ret_job[CELL_NAME_MAX + 1],
                        struct attempt_ref *ret_task);

#define ARCHIVE_BYTES_MAX (UINT64_C(1) << 30)
/* The upper bound of what a shim leaves; files that a task has added count for no more. */
#define ARCHIVE_ENTRY_BYTES_MAX (UINT64_C(80) << 20)

struct archive_entry {
    struct attempt_ref task;
    char name[ATTEMPT_NAME_BYTES];
    uint64_t bytes;   /* of its files */
    int64_t ended_ns; /* for the order of entries found at the start */
    bool superseded;  /* a newer attempt of the task is here */
};

struct archive_job {
    char name[ATTEMPT_NAME_BYTES];
    bool all; /* else spec and logs stay */
    pid_t pid;
};

struct archive {
    char path[DIR_BYTES + 16]; /* DIR/ended */
    char shim_path[DIR_BYTES];
    int fd;
    int dup_fd;                                    /* the same, for children */
    struct archive_entry entries[ARCHIVE_MAX + 1]; /* the oldest first */
    size_t count;
    uint64_t bytes; /* of all */
    struct archive_job cleaners[ARCHIVE_CLEANERS_MAX];
    size_t cleaner_count;
    struct archive_job *queue; /* the first is next */
    size_t queue_count, queue_capacity;
};

/* Open the archive below `dir`. `shim_path` is the path of borg-shim. */
int archive_open(struct archive *archive, const char *dir, const char *shim_path,
                 struct err *err) MUST_USE;
void archive_close(struct archive *archive);
/* Move tasks_fd/name here and remove everything but spec and logs. */
void archive_put(struct archive *archive, int tasks_fd, const char *name, struct attempt_ref task);
/* Collect children that have ended. */
void archive_reap(struct archive *archive);
/* Return the entry of an attempt, or of the newest one of the task if `attempt` is 0; NULL:
 * there is none. The pointer is valid until the next archive_put(). */
const struct archive_entry *archive_find(const struct archive *archive, task_id task,
                                         uint32_t attempt);

#endif
