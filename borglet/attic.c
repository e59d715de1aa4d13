/*
 * attic.c - directories of attempts that the cell has forgotten.
 */
#include "attic.h"
#include "log.h"
#include "shim_proto.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

void attempt_name(const char *job, struct attempt_ref task, char to[ATTEMPT_NAME_BYTES])
{
    snprintf(to, ATTEMPT_NAME_BYTES, "%s.%" PRIu32 ".%" PRIu64 ".%" PRIu32, job,
             task_index(task.task), task_job(task.task).v, task.attempt);
}

/* The number behind the last dot of name[0 .. *length), which is cut off; false: no number. */
static bool number_cut(const char *name, size_t *length, uint64_t max, uint64_t *ret)
{
    size_t at = *length;
    uint64_t value = 0, unit = 1;

    while (at > 0 && name[at - 1] >= '0' && name[at - 1] <= '9' && *length - at < 18) {
        value += (uint64_t)(name[--at] - '0') * unit;
        unit *= 10;
    }
    if (at == *length || at < 2 || name[at - 1] != '.' || value > max)
        return false;
    *length = at - 1;
    *ret = value;
    return true;
}

bool attempt_name_parse(const char *name, char ret_job[CELL_NAME_MAX + 1],
                        struct attempt_ref *ret_task)
{
    size_t length = strlen(name);
    uint64_t attempt, job, index;

    if (!number_cut(name, &length, UINT32_MAX, &attempt) ||
        !number_cut(name, &length, UINT64_MAX >> TASK_INDEX_BITS, &job) ||
        !number_cut(name, &length, (1U << TASK_INDEX_BITS) - 1, &index) || length > CELL_NAME_MAX)
        return false;
    snprintf(ret_job, CELL_NAME_MAX + 1, "%.*s", (int)length, name);
    ret_task->task = task_id_of((job_id){job}, (uint32_t)index);
    ret_task->attempt = (uint32_t)attempt;
    /* One attempt has one name: "web.00.7.3" is a directory of somebody else. */
    char only[ATTEMPT_NAME_BYTES];
    attempt_name(ret_job, *ret_task, only);
    return name_valid(ret_job) && strcmp(only, name) == 0;
}

/* Start what may be started. */
static void cleaners_start(struct attic *attic)
{
    char *env[] = {NULL};
    posix_spawn_file_actions_t actions;

    while (attic->cleaner_count < ATTIC_CLEANERS_MAX && attic->queue_count > 0) {
        struct attic_job *job = &attic->cleaners[attic->cleaner_count];
        *job = attic->queue[0];
        attic->queue_count--;
        memmove(&attic->queue[0], &attic->queue[1], attic->queue_count * sizeof(*attic->queue));
        char *argv[] = {attic->shim_path, job->all ? "--clear-all" : "--clear-work", job->name,
                        NULL};
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDWR, 0);
        posix_spawn_file_actions_adddup2(&actions, 0, 1);
        posix_spawn_file_actions_adddup2(&actions, 0, 2);
        posix_spawn_file_actions_adddup2(&actions, attic->dup_fd, SHIM_FD);
        int error = posix_spawn(&job->pid, attic->shim_path, &actions, NULL, argv, env);
        posix_spawn_file_actions_destroy(&actions);
        if (error == 0)
            attic->cleaner_count++;
        else
            log_warn("attic.left attempt=%s reason=%s, the next borglet tries again", job->name,
                     log_quoted(strerror(error)));
    }
}

static void clean(struct attic *attic, const char *name, bool all)
{
    struct attic_job job = {.all = all};

    str_copy(job.name, sizeof(job.name), name);
    if (attic->queue_count == attic->queue_capacity) {
        attic->queue_capacity = MAX((size_t)16, attic->queue_capacity * 2);
        attic->queue = xrealloc(attic->queue, attic->queue_capacity, sizeof(*attic->queue));
    }
    attic->queue[attic->queue_count++] = job;
    cleaners_start(attic);
}

static void cleaner_ended(const struct attic *attic, const struct attic_job *job, int status)
{
    const char *why = "some of it cannot be removed";

    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return;
    if (WIFEXITED(status) && WEXITSTATUS(status) == SHIM_CLEAR_MOUNT_LEFT)
        why = "something is mounted below it: unmount that";
    log_warn("attic.left directory=%s/%s reason=%s, the next borglet tries again", attic->path,
             job->name, log_quoted(why));
}

void attic_reap(struct attic *attic)
{
    size_t kept = 0;
    int status = 0;

    for (size_t i = 0; i < attic->cleaner_count; i++) {
        struct attic_job *job = &attic->cleaners[i];
        pid_t pid = waitpid(job->pid, &status, WNOHANG);
        if (pid == 0)
            attic->cleaners[kept++] = *job;
        else if (pid == job->pid)
            cleaner_ended(attic, job, status);
    }
    attic->cleaner_count = kept;
    cleaners_start(attic);
}

static void entry_remove(struct attic *attic, size_t i)
{
    clean(attic, attic->entries[i].name, true);
    attic->bytes -= attic->entries[i].bytes;
    attic->count--;
    memmove(&attic->entries[i], &attic->entries[i + 1],
            (attic->count - i) * sizeof(attic->entries[0]));
}

/* The one that is missed least. */
static void oldest_remove(struct attic *attic)
{
    size_t at = 0;

    while (at < attic->count && !attic->entries[at].superseded)
        at++;
    entry_remove(attic, at < attic->count ? at : 0);
}

/* Room for one more of this task. */
static void attic_prune(struct attic *attic, task_id task)
{
    size_t of_task = 0, oldest = 0;

    for (size_t i = attic->count; i-- > 0;) {
        if (attic->entries[i].task.task.v != task.v)
            continue;
        of_task++;
        oldest = i;
    }
    if (of_task >= ATTIC_PER_TASK_MAX)
        entry_remove(attic, oldest);
    else if (attic->count >= ATTIC_MAX)
        oldest_remove(attic);
}

/*
 * Adds up the bytes of an entry's spec and logs. Returns whether the entry has other files. A task
 * may leave any number of files of any size, so FILES_MAX and ATTIC_ENTRY_BYTES_MAX bound both.
 */
static bool entry_measure(const struct attic *attic, struct attic_entry *entry)
{
    enum { FILES_MAX = 64 };
    int fd = openat(attic->fd, entry->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    bool others = dir == NULL;
    struct dirent *item;
    struct stat st;

    entry->bytes = 0;
    for (int i = 0; dir != NULL && (item = readdir(dir)) != NULL; i++) {
        if (strcmp(item->d_name, ".") == 0 || strcmp(item->d_name, "..") == 0)
            continue;
        bool is_log =
            strncmp(item->d_name, "out.", 4) == 0 || strncmp(item->d_name, "err.", 4) == 0;
        if (i < FILES_MAX && fstatat(fd, item->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISREG(st.st_mode) && (is_log || strcmp(item->d_name, "spec") == 0)) {
            entry->bytes += MIN((uint64_t)st.st_size, ATTIC_ENTRY_BYTES_MAX);
            continue;
        }
        others = true;
        if (i >= FILES_MAX)
            break;
    }
    entry->bytes = MIN(entry->bytes, ATTIC_ENTRY_BYTES_MAX);
    if (dir != NULL)
        closedir(dir);
    else if (fd >= 0)
        close(fd);
    return others;
}

static void attic_add(struct attic *attic, const struct attic_entry *entry)
{
    attic_prune(attic, entry->task.task);
    ASSERT(attic->count < ATTIC_MAX);
    struct attic_entry *added = &attic->entries[attic->count++];
    *added = *entry;
    if (entry_measure(attic, added))
        clean(attic, added->name, false);
    attic->bytes += added->bytes;
    for (size_t i = 0; i + 1 < attic->count; i++) {
        struct attic_entry *other = &attic->entries[i];
        if (other->task.task.v != entry->task.task.v)
            continue;
        other->superseded |= other->task.attempt < entry->task.attempt;
        added->superseded |= other->task.attempt > entry->task.attempt;
    }
    while (attic->count > 1 && attic->bytes > ATTIC_BYTES_MAX)
        oldest_remove(attic);
}

static int entry_order(const void *a, const void *b)
{
    const struct attic_entry *x = a, *y = b;

    if (x->ended_ns != y->ended_ns)
        return x->ended_ns < y->ended_ns ? -1 : 1;
    if (x->task.task.v != y->task.task.v) /* the clock of a file system is coarse */
        return x->task.task.v < y->task.task.v ? -1 : 1;
    return x->task.attempt < y->task.attempt ? -1 : x->task.attempt > y->task.attempt;
}

/* Everything in the directory, in order of age; the caller frees. */
static struct attic_entry *attic_scan(const struct attic *attic, size_t *ret_count)
{
    int fd = openat(attic->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct attic_entry *found = NULL;
    struct dirent *item;
    struct stat st;
    char job[CELL_NAME_MAX + 1];
    size_t count = 0;

    while (dir != NULL && (item = readdir(dir)) != NULL) {
        struct attic_entry entry = {0};
        if (!attempt_name_parse(item->d_name, job, &entry.task) ||
            fstatat(attic->fd, item->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        str_copy(entry.name, sizeof(entry.name), item->d_name);
        entry.ended_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
        found = xrealloc(found, count + 1, sizeof(*found));
        found[count++] = entry;
    }
    if (dir != NULL)
        closedir(dir);
    if (count > 1)
        qsort(found, count, sizeof(*found), entry_order);
    *ret_count = count;
    return found;
}

int attic_open(struct attic *attic, const char *dir, const char *shim_path, struct err *err)
{
    size_t count;

    memset(attic, 0, sizeof(*attic));
    snprintf(attic->path, sizeof(attic->path), "%s/ended", dir);
    str_copy(attic->shim_path, sizeof(attic->shim_path), shim_path);
    if (mkdir(attic->path, 0700) < 0 && errno != EEXIST)
        return err_errno(err, errno, "cannot create \"%s\"", attic->path);
    attic->fd = open(attic->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (attic->fd < 0)
        return err_errno(err, errno, "cannot open \"%s\"", attic->path);
    /* dup2 onto itself would keep close-on-exec. */
    attic->dup_fd = fcntl(attic->fd, F_DUPFD_CLOEXEC, SHIM_FD + 1);
    if (attic->dup_fd < 0) {
        close(attic->fd);
        return err_errno(err, errno, "cannot open \"%s\" again", attic->path);
    }
    struct attic_entry *found = attic_scan(attic, &count);
    /* The previous borglet may have ended before it had removed the rest: that goes on. */
    for (size_t i = 0; i < count; i++)
        attic_add(attic, &found[i]);
    free(found);
    return 0;
}

void attic_close(struct attic *attic)
{
    close(attic->fd);
    close(attic->dup_fd);
    free(attic->queue);
    attic->queue = NULL;
    attic->queue_count = 0;
    attic->fd = -1;
}

/* The task may have mounted something over its directory. */
static bool entry_move(const struct attic *attic, int tasks_fd, const char *name)
{
    char path[ATTEMPT_NAME_BYTES + 32];

    if (renameat(tasks_fd, name, attic->fd, name) == 0)
        return true;
    snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", tasks_fd, name);
    if (errno == EBUSY && umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0 &&
        renameat(tasks_fd, name, attic->fd, name) == 0)
        return true;
    if (errno != ENOENT)
        log_warn("attic.left attempt=%s reason=%s, its log is not kept", name,
                 log_quoted(strerror(errno)));
    return false;
}

void attic_put(struct attic *attic, int tasks_fd, const char *name, struct attempt_ref task)
{
    struct attic_entry entry = {.task = task};

    str_copy(entry.name, sizeof(entry.name), name);
    if (!entry_move(attic, tasks_fd, name))
        return;
    /* The usual remains are no work for a process. */
    int fd = openat(attic->fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0) {
        (void)unlinkat(fd, "ctl.sock", 0);
        (void)unlinkat(fd, "record", 0);
        (void)unlinkat(fd, "work", AT_REMOVEDIR);
        close(fd);
    }
    attic_add(attic, &entry);
}

const struct attic_entry *attic_find(const struct attic *attic, task_id task, uint32_t attempt)
{
    const struct attic_entry *found = NULL;

    for (size_t i = 0; i < attic->count; i++) {
        const struct attic_entry *e = &attic->entries[i];
        if (e->task.task.v != task.v || (attempt != 0 && e->task.attempt != attempt))
            continue;
        if (found == NULL || e->task.attempt > found->task.attempt)
            found = e;
    }
    return found;
}
