/*
 * archive.c - the directories of attempts that the cell has forgotten.
 */
#include "archive.h"
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

/* Cut off the number behind the last dot of name[0 .. *length) and return it; false: there is
 * none. */
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
    /* An attempt has exactly one name: "web.00.7.3" is not one. */
    char only[ATTEMPT_NAME_BYTES];
    attempt_name(ret_job, *ret_task, only);
    return name_valid(ret_job) && strcmp(only, name) == 0;
}

/* Start waiting removals while there are fewer than the maximum. */
static void cleaners_start(struct archive *archive)
{
    char *env[] = {NULL};
    posix_spawn_file_actions_t actions;

    while (archive->cleaner_count < ARCHIVE_CLEANERS_MAX && archive->queue_count > 0) {
        struct archive_job *job = &archive->cleaners[archive->cleaner_count];
        *job = archive->queue[0];
        archive->queue_count--;
        memmove(&archive->queue[0], &archive->queue[1],
                archive->queue_count * sizeof(*archive->queue));
        char *argv[] = {archive->shim_path, job->all ? "--clear-all" : "--clear-work", job->name,
                        NULL};
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDWR, 0);
        posix_spawn_file_actions_adddup2(&actions, 0, 1);
        posix_spawn_file_actions_adddup2(&actions, 0, 2);
        posix_spawn_file_actions_adddup2(&actions, archive->dup_fd, SHIM_FD);
        int error = posix_spawn(&job->pid, archive->shim_path, &actions, NULL, argv, env);
        posix_spawn_file_actions_destroy(&actions);
        if (error == 0)
            archive->cleaner_count++;
        else
            log_warn("archive.cleanup_failed attempt=%s reason=%s action=\"the next borglet tries "
                     "again\"",
                     job->name, log_quoted(strerror(error)));
    }
}

static void clean(struct archive *archive, const char *name, bool all)
{
    struct archive_job job = {.all = all};

    str_copy(job.name, sizeof(job.name), name);
    if (archive->queue_count == archive->queue_capacity) {
        archive->queue_capacity = MAX((size_t)16, archive->queue_capacity * 2);
        archive->queue = xrealloc(archive->queue, archive->queue_capacity, sizeof(*archive->queue));
    }
    archive->queue[archive->queue_count++] = job;
    cleaners_start(archive);
}

static void cleaner_ended(const struct archive *archive, const struct archive_job *job, int status)
{
    const char *why = "some of it cannot be removed";

    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return;
    if (WIFEXITED(status) && WEXITSTATUS(status) == SHIM_CLEAR_MOUNT_LEFT)
        why = "something is mounted below it: unmount that";
    log_warn(
        "archive.cleanup_failed directory=%s/%s reason=%s action=\"the next borglet tries again\"",
        archive->path, job->name, log_quoted(why));
}

void archive_reap(struct archive *archive)
{
    size_t kept = 0;
    int status = 0;

    for (size_t i = 0; i < archive->cleaner_count; i++) {
        struct archive_job *job = &archive->cleaners[i];
        pid_t pid = waitpid(job->pid, &status, WNOHANG);
        if (pid == 0)
            archive->cleaners[kept++] = *job;
        else if (pid == job->pid)
            cleaner_ended(archive, job, status);
    }
    archive->cleaner_count = kept;
    cleaners_start(archive);
}

static void entry_remove(struct archive *archive, size_t i)
{
    clean(archive, archive->entries[i].name, true);
    archive->bytes -= archive->entries[i].bytes;
    archive->count--;
    memmove(&archive->entries[i], &archive->entries[i + 1],
            (archive->count - i) * sizeof(archive->entries[0]));
}

/* Choose the entry to remove first. */
static void oldest_remove(struct archive *archive)
{
    size_t at = 0;

    while (at < archive->count && !archive->entries[at].superseded)
        at++;
    entry_remove(archive, at < archive->count ? at : 0);
}

/* Remove entries until there is room for another attempt of this task. */
static void archive_prune(struct archive *archive, task_id task)
{
    size_t of_task = 0, oldest = 0;

    for (size_t i = archive->count; i-- > 0;) {
        if (archive->entries[i].task.task.v != task.v)
            continue;
        of_task++;
        oldest = i;
    }
    if (of_task >= ARCHIVE_PER_TASK_MAX)
        entry_remove(archive, oldest);
    else if (archive->count >= ARCHIVE_MAX)
        oldest_remove(archive);
}

/*
 * Add up the bytes of the spec and the logs of an entry. Returns whether the entry has other files.
 * A task may leave any number of files of any size, so FILES_MAX and ARCHIVE_ENTRY_BYTES_MAX bound
 * both.
 */
static bool entry_measure(const struct archive *archive, struct archive_entry *entry)
{
    enum { FILES_MAX = 64 };
    int fd = openat(archive->fd, entry->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
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
            entry->bytes += MIN((uint64_t)st.st_size, ARCHIVE_ENTRY_BYTES_MAX);
            continue;
        }
        others = true;
        if (i >= FILES_MAX)
            break;
    }
    entry->bytes = MIN(entry->bytes, ARCHIVE_ENTRY_BYTES_MAX);
    if (dir != NULL)
        closedir(dir);
    else if (fd >= 0)
        close(fd);
    return others;
}

static void archive_add(struct archive *archive, const struct archive_entry *entry)
{
    archive_prune(archive, entry->task.task);
    ASSERT(archive->count < ARCHIVE_MAX);
    struct archive_entry *added = &archive->entries[archive->count++];
    *added = *entry;
    if (entry_measure(archive, added))
        clean(archive, added->name, false);
    archive->bytes += added->bytes;
    for (size_t i = 0; i + 1 < archive->count; i++) {
        struct archive_entry *other = &archive->entries[i];
        if (other->task.task.v != entry->task.task.v)
            continue;
        other->superseded |= other->task.attempt < entry->task.attempt;
        added->superseded |= other->task.attempt > entry->task.attempt;
    }
    while (archive->count > 1 && archive->bytes > ARCHIVE_BYTES_MAX)
        oldest_remove(archive);
}

static int entry_order(const void *a, const void *b)
{
    const struct archive_entry *x = a, *y = b;

    if (x->ended_ns != y->ended_ns)
        return x->ended_ns < y->ended_ns ? -1 : 1;
    if (x->task.task.v != y->task.task.v) /* the clock of a file system is coarse */
        return x->task.task.v < y->task.task.v ? -1 : 1;
    return x->task.attempt < y->task.attempt ? -1 : x->task.attempt > y->task.attempt;
}

/* Read all entries of the directory in order of age; the caller frees. */
static struct archive_entry *archive_scan(const struct archive *archive, size_t *ret_count)
{
    int fd = openat(archive->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct archive_entry *found = NULL;
    struct dirent *item;
    struct stat st;
    char job[CELL_NAME_MAX + 1];
    size_t count = 0;

    while (dir != NULL && (item = readdir(dir)) != NULL) {
        struct archive_entry entry = {0};
        if (!attempt_name_parse(item->d_name, job, &entry.task) ||
            fstatat(archive->fd, item->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
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

int archive_open(struct archive *archive, const char *dir, const char *shim_path, struct err *err)
{
    size_t count;

    memset(archive, 0, sizeof(*archive));
    snprintf(archive->path, sizeof(archive->path), "%s/ended", dir);
    str_copy(archive->shim_path, sizeof(archive->shim_path), shim_path);
    if (mkdir(archive->path, 0700) < 0 && errno != EEXIST)
        return err_errno(err, errno, "cannot create \"%s\"", archive->path);
    archive->fd = open(archive->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (archive->fd < 0)
        return err_errno(err, errno, "cannot open \"%s\"", archive->path);
    /* dup2 onto itself would keep close-on-exec. */
    archive->dup_fd = fcntl(archive->fd, F_DUPFD_CLOEXEC, SHIM_FD + 1);
    if (archive->dup_fd < 0) {
        close(archive->fd);
        return err_errno(err, errno, "cannot open \"%s\" again", archive->path);
    }
    struct archive_entry *found = archive_scan(archive, &count);
    /* The previous borglet may have ended before everything was removed: continue with it. */
    for (size_t i = 0; i < count; i++)
        archive_add(archive, &found[i]);
    free(found);
    return 0;
}

void archive_close(struct archive *archive)
{
    close(archive->fd);
    close(archive->dup_fd);
    free(archive->queue);
    archive->queue = NULL;
    archive->queue_count = 0;
    archive->fd = -1;
}

/* Detach a mount that the task may have made over its directory. */
static bool entry_move(const struct archive *archive, int tasks_fd, const char *name)
{
    char path[ATTEMPT_NAME_BYTES + 32];

    if (renameat(tasks_fd, name, archive->fd, name) == 0)
        return true;
    snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", tasks_fd, name);
    if (errno == EBUSY && umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0 &&
        renameat(tasks_fd, name, archive->fd, name) == 0)
        return true;
    if (errno != ENOENT)
        log_warn("archive.move_failed attempt=%s reason=%s action=\"its log is not kept\"", name,
                 log_quoted(strerror(errno)));
    return false;
}

void archive_put(struct archive *archive, int tasks_fd, const char *name, struct attempt_ref task)
{
    struct archive_entry entry = {.task = task};

    str_copy(entry.name, sizeof(entry.name), name);
    if (!entry_move(archive, tasks_fd, name))
        return;
    /* The usual files are removed here, without a process. */
    int fd = openat(archive->fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0) {
        (void)unlinkat(fd, "ctl.sock", 0);
        (void)unlinkat(fd, "record", 0);
        (void)unlinkat(fd, "work", AT_REMOVEDIR);
        close(fd);
    }
    archive_add(archive, &entry);
}

const struct archive_entry *archive_find(const struct archive *archive, task_id task,
                                         uint32_t attempt)
{
    const struct archive_entry *found = NULL;

    for (size_t i = 0; i < archive->count; i++) {
        const struct archive_entry *e = &archive->entries[i];
        if (e->task.task.v != task.v || (attempt != 0 && e->task.attempt != attempt))
            continue;
        if (found == NULL || e->task.attempt > found->task.attempt)
            found = e;
    }
    return found;
}
