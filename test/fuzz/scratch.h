/*
 * scratch.h - a directory in memory for targets that read files.
 */
#ifndef TEST_FUZZ_SCRATCH_H
#define TEST_FUZZ_SCRATCH_H

#include "base.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char scratch_path[64];

static int scratch_remove_one(const char *path, const struct stat *st UNUSED, int type UNUSED,
                              struct FTW *ftw)
{
    return ftw->level == 0 ? 0 : remove(path);
}

static void scratch_clear(void)
{
    nftw(scratch_path, scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void scratch_remove(void)
{
    scratch_clear();
    rmdir(scratch_path);
}

/* Return the directory, which is made at the first call and removed at exit. */
static const char *scratch(void)
{
    if (scratch_path[0] != '\0')
        return scratch_path;
    snprintf(scratch_path, sizeof scratch_path, "%s/fuzz.XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (mkdtemp(scratch_path) == NULL)
        PANIC("%s: %s", scratch_path, strerror(errno));
    atexit(scratch_remove);
    return scratch_path;
}

/* Write a file there; return its path, which is valid until the next call. */
static UNUSED const char *scratch_file(const char *name, const void *bytes, size_t size)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", scratch(), name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, bytes, size) != (ssize_t)size)
        PANIC("%s: %s", path, strerror(errno));
    close(fd);
    return path;
}

/* Return the bytes as a string; the caller frees it. */
static UNUSED char *scratch_text(const uint8_t *bytes, size_t size)
{
    char *text = xcalloc(size + 1, 1);
    memcpy(text, bytes, size);
    return text;
}

#endif
