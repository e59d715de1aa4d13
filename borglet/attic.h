/*
 * attic.h - attempt directories: their names, and those of attempts the cell has forgotten, whose
 * logs are kept for a while.
 *
 *     DIR/tasks/JOB.INDEX.JOBID.ATTEMPT/    known to the cell, or to be told to it
 *     DIR/ended/JOB.INDEX.JOBID.ATTEMPT/    forgotten: only spec and logs are left
 *
 * Bounds: ATTIC_PER_TASK_MAX attempts of a task, ATTIC_MAX and ATTIC_BYTES_MAX in all; the oldest
 * go first.
 */
#ifndef BORGLET_ATTIC_H
#define BORGLET_ATTIC_H

#include "cmd.h"

#include <sys/types.h>

enum {
    ATTIC_PER_TASK_MAX = 5,
    ATTIC_MAX = 64,
    ATTEMPT_NAME_BYTES = CELL_NAME_MAX + 64, /* of a directory, NUL included */
    DIR_BYTES = 1024,                        /* of the borglet's directory, NUL included */
};

void attempt_name(const char *job, struct attempt_ref task, char to[ATTEMPT_NAME_BYTES]);
/* false: not such a name. */
bool attempt_name_parse(const char *name, char ret_job[CELL_NAME_MAX + 1],
                        struct attempt_ref *ret_task);

#define ATTIC_BYTES_MAX (UINT64_C(1) << 30)

struct attic_entry {
    struct attempt_ref task;
    char name[ATTEMPT_NAME_BYTES];
    uint64_t bytes;   /* of its files */
    int64_t ended_ns; /* for the order of entries found at the start */
};

struct attic {
    char path[DIR_BYTES + 16]; /* DIR/ended */
    int fd;
    struct attic_entry entries[ATTIC_MAX + 1]; /* the oldest first */
    size_t count;
    uint64_t bytes; /* of all */
};

int attic_open(struct attic *attic, const char *dir, struct err *err) MUST_USE;
void attic_close(struct attic *attic);
/*
 * Move tasks_fd/name here and drop all but spec and logs. Returns the process that removes the rest
 * (to be reaped), or 0 when there was nothing to it.
 */
pid_t attic_put(struct attic *attic, int tasks_fd, const char *name, struct attempt_ref task);
/* The entry of an attempt, the newest of the task when `attempt` is 0; NULL: none. Borrowed until
 * the next attic_put(). */
const struct attic_entry *attic_find(const struct attic *attic, task_id task, uint32_t attempt);
/* Remove DIRECTORY/work, which may hold anything. Returns as attic_put(). */
pid_t attic_clear(const char *directory);

#endif
