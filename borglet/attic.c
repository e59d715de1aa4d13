/*
 * attic.c - directories of attempts that the cell has forgotten.
 */
#include "attic.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

pid_t attic_clear(const char *directory)
{
    CLEANUP(buf_release) struct buf work = {0};
    /* The task may have taken rights away from its own directories. */
    char script[] = "chmod -R u+rwX -- \"$1\" 2>/dev/null; exec rm -rf -- \"$1\"";
    pid_t pid;

    buf_printf(&work, "%s/work", directory);
    if (rmdir(buf_text(&work)) == 0 || errno == ENOENT)
        return 0;
    /* A tree of any depth and size: a process of its own, so that the loop goes on. */
    char *argv[] = {"sh", "-c", script, "sh", work.bytes, NULL};
    char *env[] = {"PATH=/usr/bin:/bin", NULL};
    return posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, env) == 0 ? pid : 0;
}

/* A directory of plain files, as an attempt's is without work/. */
static void flat_remove(int at_fd, const char *name)
{
    int fd = openat(at_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            (void)unlinkat(fd, entry->d_name, 0);
    if (dir != NULL)
        closedir(dir);
    else if (fd >= 0)
        close(fd);
    (void)unlinkat(at_fd, name, AT_REMOVEDIR);
}

static void entry_remove(struct attic *attic, size_t i)
{
    flat_remove(attic->fd, attic->entries[i].name);
    attic->bytes -= attic->entries[i].bytes;
    attic->count--;
    memmove(&attic->entries[i], &attic->entries[i + 1],
            (attic->count - i) * sizeof(attic->entries[0]));
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
        entry_remove(attic, 0);
}

/* What the files of an entry take. */
static uint64_t entry_bytes(const struct attic *attic, const char *name)
{
    int fd = openat(attic->fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *item;
    struct stat st;
    uint64_t bytes = 0;

    while (dir != NULL && (item = readdir(dir)) != NULL)
        if (fstatat(fd, item->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
            bytes += (uint64_t)st.st_size;
    if (dir != NULL)
        closedir(dir);
    else if (fd >= 0)
        close(fd);
    return bytes;
}

static void attic_add(struct attic *attic, const struct attic_entry *entry)
{
    attic_prune(attic, entry->task.task);
    ASSERT(attic->count < ATTIC_MAX);
    struct attic_entry *added = &attic->entries[attic->count++];
    *added = *entry;
    added->bytes = entry_bytes(attic, entry->name);
    attic->bytes += added->bytes;
    /* The newest stays, whatever its size: shims bound that. */
    while (attic->count > 1 && attic->bytes > ATTIC_BYTES_MAX)
        entry_remove(attic, 0);
}

static int entry_order(const void *a, const void *b)
{
    const struct attic_entry *x = a, *y = b;

    return x->ended_ns < y->ended_ns ? -1 : x->ended_ns > y->ended_ns;
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

int attic_open(struct attic *attic, const char *dir, struct err *err)
{
    size_t count;

    memset(attic, 0, sizeof(*attic));
    snprintf(attic->path, sizeof(attic->path), "%s/ended", dir);
    if (mkdir(attic->path, 0700) < 0 && errno != EEXIST)
        return err_errno(err, errno, "cannot create \"%s\"", attic->path);
    attic->fd = open(attic->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (attic->fd < 0)
        return err_errno(err, errno, "cannot open \"%s\"", attic->path);
    struct attic_entry *found = attic_scan(attic, &count);
    for (size_t i = 0; i < count; i++) {
        CLEANUP(buf_release) struct buf path = {0};
        /* The previous borglet may have been killed before it had removed the rest. */
        buf_printf(&path, "%s/%s", attic->path, found[i].name);
        pid_t pid = attic_clear(buf_text(&path));
        if (pid > 0)
            waitpid(pid, NULL, 0);
        attic_add(attic, &found[i]);
    }
    free(found);
    return 0;
}

void attic_close(struct attic *attic)
{
    close(attic->fd);
    attic->fd = -1;
}

pid_t attic_put(struct attic *attic, int tasks_fd, const char *name, struct attempt_ref task)
{
    CLEANUP(buf_release) struct buf path = {0};
    struct attic_entry entry = {.task = task};

    str_copy(entry.name, sizeof(entry.name), name);
    if (renameat(tasks_fd, name, attic->fd, name) < 0)
        return 0;
    attic_add(attic, &entry);
    buf_printf(&path, "%s/ctl.sock", name);
    (void)unlinkat(attic->fd, buf_text(&path), 0);
    buf_clear(&path);
    buf_printf(&path, "%s/record", name);
    (void)unlinkat(attic->fd, buf_text(&path), 0);
    buf_clear(&path);
    buf_printf(&path, "%s/%s", attic->path, name);
    return attic_clear(buf_text(&path));
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
