/*
 * soak.c - run seeds in child processes, a limited number concurrently.
 */
#include "soak.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PATH_BYTES = 512 };

struct child {
    pid_t pid; /* 0: none */
    struct soak_seed seed;
};

static volatile sig_atomic_t stopped;

static void soak_on_signal(int signum)
{
    (void)signum;
    stopped = 1;
}

static void die(const char *what, const char *path)
{
    fprintf(stderr, "sim: cannot %s %s: %s\n", what, path, strerror(errno));
    exit(2);
}

static void make_dir(const char *dir)
{
    char path[PATH_BYTES];
    str_copy(path, sizeof path, dir);
    for (char *at = strchr(path + 1, '/'); at != NULL; at = strchr(at + 1, '/')) {
        *at = '\0';
        if (mkdir(path, 0755) != 0 && errno != EEXIST)
            die("make", path);
        *at = '/';
    }
    if (mkdir(path, 0755) != 0 && errno != EEXIST)
        die("make", path);
}

static void output_path(const struct soak_options *o, const struct soak_seed *seed, char *to)
{
    snprintf(to, PATH_BYTES, "%s/%" PRIu64 ".txt", o->dir, seed->seed);
}

static void child_run(const struct soak_options *o, const struct soak_seed *seed)
{
    char path[PATH_BYTES];
    output_path(o, seed, path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0 || dup2(fd, STDERR_FILENO) < 0)
        die("write", path);
    signal(SIGINT, SIG_IGN); /* the parent ends after its children */
    printf("# build/test/sim/sim --seed %" PRIu64 " --minutes %" PRIu64 " --trace\n", seed->seed,
           seed->minutes);
    fflush(stdout);
    o->run(seed);
    fflush(NULL);
    _exit(0);
}

/* Print the last line but one of the output, which usually contains the reason. */
static void tell_failed(const char *path, const struct soak_seed *seed, int status)
{
    char line[512], why[512] = "";
    FILE *file = fopen(path, "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, "BROKEN", 6) == 0 || strncmp(line, "panic", 5) == 0)
            str_copy(why, sizeof why, line);
    if (file != NULL)
        fclose(file);
    printf("seed %" PRIu64 " failed (%s %d), see %s: %s%s", seed->seed,
           WIFSIGNALED(status) ? "signal" : "exit code",
           WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), path, why,
           why[0] == '\0' ? "\n" : "");
    fflush(stdout);
}

/* Wait for any child; return true if it failed. */
static bool reap(const struct soak_options *o, struct child *children)
{
    char path[PATH_BYTES];
    int status;
    pid_t pid = waitpid(-1, &status, 0);
    if (pid < 0)
        return false; /* interrupted */
    for (unsigned i = 0; i < o->jobs; i++) {
        if (children[i].pid != pid)
            continue;
        children[i].pid = 0;
        output_path(o, &children[i].seed, path);
        if (status == 0) {
            unlink(path);
            return false;
        }
        tell_failed(path, &children[i].seed, status);
        return true;
    }
    return false;
}

static struct child *child_free(struct child *children, unsigned jobs)
{
    for (unsigned i = 0; i < jobs; i++)
        if (children[i].pid == 0)
            return &children[i];
    return NULL;
}

static bool children_left(const struct child *children, unsigned jobs)
{
    for (unsigned i = 0; i < jobs; i++)
        if (children[i].pid != 0)
            return true;
    return false;
}

static void child_start(const struct soak_options *o, struct child *child, struct soak_seed seed)
{
    fflush(NULL);
    child->seed = seed;
    child->pid = fork();
    if (child->pid == 0)
        child_run(o, &seed);
    if (child->pid < 0)
        die("start a process for", "a seed");
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

size_t soak(const struct soak_options *o)
{
    struct child children[SOAK_JOBS_MAX] = {0};
    struct sigaction stop = {.sa_handler = soak_on_signal};
    uint64_t begun = 0, minutes = 0;
    size_t failed = 0;
    double began_s = now_s();
    ASSERT(o->jobs >= 1 && o->jobs <= SOAK_JOBS_MAX);
    make_dir(o->dir);
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGTERM, &stop, NULL);
    for (;;) {
        struct child *child = child_free(children, o->jobs);
        bool more = !stopped && begun < o->count;
        if (!more && !children_left(children, o->jobs))
            break;
        if (!more || child == NULL) {
            failed += reap(o, children);
            continue;
        }
        struct soak_seed seed =
            o->seeds != NULL ? o->seeds[begun] : (struct soak_seed){o->first + begun, o->minutes};
        child_start(o, child, seed);
        begun++;
        minutes += seed.minutes;
    }
    double took_s = now_s() - began_s;
    printf("%" PRIu64 " seeds, %zu failed; %.1f virtual hours in %.1f s, %.0f per minute\n", begun,
           failed, (double)minutes / 60, took_s, (double)minutes / took_s);
    return failed;
}

struct soak_seed *soak_file_read(const char *path, size_t *ret_count)
{
    struct soak_seed *seeds = NULL;
    char line[512];
    FILE *file = fopen(path, "r");
    *ret_count = 0;
    if (file == NULL)
        die("read", path);
    while (fgets(line, sizeof line, file) != NULL) {
        struct soak_seed seed;
        if (line[0] == '#' || line[0] == '\n')
            continue;
        if (sscanf(line, "%" SCNu64 " %" SCNu64, &seed.seed, &seed.minutes) != 2) {
            fprintf(stderr, "sim: %s: no seed and minutes in: %s", path, line);
            exit(2);
        }
        seeds = xrealloc(seeds, *ret_count + 1, sizeof *seeds);
        seeds[(*ret_count)++] = seed;
    }
    fclose(file);
    return seeds;
}
