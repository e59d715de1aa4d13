/*
 * lost.c - find and kill what a dead shim left.
 */
#include "lost.h"
#include "buf.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ENVIRON_BYTES_MAX = 262144, STAT_BYTES = 1024 };

static ssize_t file_read(const char *path, char *to, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t got = 0;
    ssize_t n = -1;

    if (fd < 0)
        return -1;
    while (got < size - 1 && (n = read(fd, to + got, size - 1 - got)) > 0)
        got += (size_t)n;
    close(fd);
    to[got] = '\0';
    return n < 0 && got == 0 ? -1 : (ssize_t)got;
}

/* The text behind the command's name in /proc/PID/stat, from the state on; NULL: no such process.
 */
static const char *stat_read(pid_t pid, char text[STAT_BYTES])
{
    char path[40];

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    if (file_read(path, text, STAT_BYTES) <= 0)
        return NULL;
    char *at = strrchr(text, ')');
    return at == NULL || at[1] == '\0' ? NULL : at + 2;
}

void boot_id_read(char *to, size_t size)
{
    if (file_read("/proc/sys/kernel/random/boot_id", to, size) < 0)
        to[0] = '\0';
    to[strcspn(to, "\n")] = '\0';
}

bool lost_same_process(pid_t pid, uint64_t starttime, const char *boot_id)
{
    char text[STAT_BYTES], now[64];
    const char *at = pid > 0 ? stat_read(pid, text) : NULL;

    boot_id_read(now, sizeof(now));
    if (at == NULL || strcmp(now, boot_id) != 0)
        return false;
    for (int field = 3; at != NULL && field < 22; field++) {
        at = strchr(at, ' ');
        at = at == NULL ? NULL : at + 1;
    }
    return at != NULL && strtoull(at, NULL, 10) == starttime;
}

static bool environ_has(pid_t pid, const char *word, char *scratch)
{
    char path[40];

    snprintf(path, sizeof(path), "/proc/%d/environ", pid);
    ssize_t n = file_read(path, scratch, ENVIRON_BYTES_MAX);
    for (ssize_t at = 0; at < n; at += (ssize_t)strlen(scratch + at) + 1)
        if (strcmp(scratch + at, word) == 0)
            return true;
    return false;
}

static bool belongs(pid_t pid, pid_t session, const char *word, char *scratch)
{
    char text[STAT_BYTES], state;
    const char *at = stat_read(pid, text);
    int parent, group, its_session;

    if (at == NULL || sscanf(at, "%c %d %d %d", &state, &parent, &group, &its_session) != 4)
        return false;
    if (state == 'Z' || state == 'X' || pid == getpid())
        return false;
    return (session > 0 && its_session == session) || environ_has(pid, word, scratch);
}

size_t lost_kill(pid_t session, const char *work_dir, pid_t *ret_pid)
{
    CLEANUP(buf_release) struct buf word = {0};
    CLEANUP(buf_release) struct buf scratch = {0};
    DIR *dir = opendir("/proc");
    struct dirent *entry;
    size_t count = 0;

    buf_printf(&word, "BORG_DIR=%s", work_dir);
    char *room = buf_reserve(&scratch, ENVIRON_BYTES_MAX);
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10); /* 0 for what is no process */
        if (pid <= 1 || !belongs(pid, session, buf_text(&word), room))
            continue;
        if (kill(pid, SIGKILL) < 0)
            continue;
        *ret_pid = pid;
        count++;
    }
    if (dir != NULL)
        closedir(dir);
    return count;
}
