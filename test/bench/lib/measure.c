/*
 * measure.c - samples, clocks, child processes and the files that scripts/bench reads.
 */
#include "bench.h"

#include <errno.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <fcntl.h>
#include <unistd.h>

extern char **environ;

void samples_add(struct samples *s, uint64_t us)
{
    if (s->count == s->capacity) {
        s->capacity = MAX((size_t)1024, s->capacity * 2);
        s->us = xrealloc(s->us, s->capacity, sizeof *s->us);
    }
    s->us[s->count++] = us;
}

static int us_compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

double samples_ms(struct samples *s, unsigned permille)
{
    if (s->count == 0)
        return 0;
    qsort(s->us, s->count, sizeof *s->us, us_compare);
    size_t at = (s->count * permille + 999) / 1000;
    return (double)s->us[at == 0 ? 0 : at - 1] / 1000;
}

void samples_release(struct samples *s)
{
    free(s->us);
    *s = (struct samples){0};
}

uint64_t wall_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

uint64_t cpu_ms(int64_t pid)
{
    char path[64], line[1024];
    snprintf(path, sizeof path, "/proc/%" PRId64 "/stat", pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return 0;
    unsigned long user = 0, kernel = 0;
    const char *after = fgets(line, sizeof line, file) != NULL ? strrchr(line, ')') : NULL;
    fclose(file);
    if (after == NULL ||
        sscanf(after, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &kernel) != 2)
        return 0;
    return (user + kernel) * 1000 / (unsigned long)sysconf(_SC_CLK_TCK);
}

double bench_fdatasync_ms(const char *dir, unsigned count)
{
    static const char block[4096];
    struct samples took = {0};
    char path[CELL_PATH_MAX + 32];
    snprintf(path, sizeof path, "%s/fdatasync.bench", dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        bench_die("%s: %s", path, strerror(errno));
    for (unsigned i = 0; i < count; i++) {
        uint64_t from_ns = wall_ns();
        if (write(fd, block, sizeof block) != (ssize_t)sizeof block || fdatasync(fd) != 0)
            bench_die("%s: %s", path, strerror(errno));
        samples_add(&took, (wall_ns() - from_ns) / 1000);
    }
    close(fd);
    unlink(path);
    double ms = samples_ms(&took, 500);
    samples_release(&took);
    return ms;
}

static void drain(int fd, struct buf *to)
{
    for (;;) {
        ssize_t n = read(fd, buf_reserve(to, 4096), 4096);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        to->size += (size_t)n;
        to->bytes[to->size] = '\0';
    }
}

int bench_run(char *const *argv, struct buf *ret)
{
    struct buf CLEANUP(buf_release) dropped = {0};
    posix_spawn_file_actions_t actions;
    int ends[2], status;
    pid_t pid;
    if (pipe2(ends, O_CLOEXEC) != 0)
        bench_die("pipe: %s", strerror(errno));
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    int rc = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    if (rc != 0)
        bench_die("%s: %s", argv[0], strerror(rc));
    drain(ends[0], ret != NULL ? ret : &dropped);
    close(ends[0]);
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            bench_die("waitpid: %s", strerror(errno));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static FILE *out_open(const char *name)
{
    char path[1024];
    const char *dir = getenv("BENCH_OUT");
    if (dir == NULL)
        return NULL;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return fopen(path, "ae");
}

void bench_summary(const char *what, const char *fmt, ...)
{
    va_list args;
    FILE *file = out_open("summary");
    if (file == NULL)
        return;
    fprintf(file, "| %s | ", what);
    va_start(args, fmt);
    vfprintf(file, fmt, args);
    va_end(args);
    fputs(" |\n", file);
    fclose(file);
}

void bench_terms(const char *bench, uint64_t expected, uint64_t seen)
{
    FILE *file = out_open("terms");
    if (file == NULL)
        return;
    fprintf(file, "%s %" PRIu64 " %" PRIu64 "\n", bench, expected, seen);
    fclose(file);
}

uint64_t bench_arg(int argc, char **argv, int at, const char *usage)
{
    char *end = NULL;
    unsigned long long n = at + 1 < argc ? strtoull(argv[at + 1], &end, 10) : 0;
    if (end == NULL || *end != '\0' || n == 0 || n > 1000000)
        bench_die("%s: a number from 1 to 1000000 is needed; usage: %s", argv[at], usage);
    return n;
}
