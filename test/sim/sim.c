/*
 * sim.c - one seed, one history.
 */
#include "breaks.h"
#include "faults.h"
#include "people.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char usage[] =
    "usage: sim [--seed N] [--minutes N] [--trace] [--twice] [--break NAME]\n";

struct flags {
    uint64_t seed, minutes;
    bool trace, twice;
    enum break_kind broken;
};

static uint64_t number(const char *text)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno == 0 && *end == '\0' && end != text && *text != '-')
        return value;
    fprintf(stderr, "sim: \"%s\" is no number\n%s", text, usage);
    exit(2);
}

_Noreturn static void no_break(const char *name)
{
    fprintf(stderr, "sim: \"%s\" is no way to break the cell; there are\n", name);
    for (enum break_kind kind = BREAK_NONE + 1; kind < BREAK_COUNT; kind++)
        fprintf(stderr, "  %-16s %s\n", break_info(kind)->name, break_info(kind)->what);
    exit(2);
}

static struct flags flags_parse(int argc, char **argv)
{
    static const struct option options[] = {
        {"seed", required_argument, NULL, 's'},  {"minutes", required_argument, NULL, 'm'},
        {"trace", no_argument, NULL, 't'},       {"twice", no_argument, NULL, '2'},
        {"break", required_argument, NULL, 'b'}, {0},
    };
    struct flags flags = {.seed = 1, .minutes = 60};
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 's':
            flags.seed = number(optarg);
            break;
        case 'm':
            flags.minutes = number(optarg);
            break;
        case 't':
            flags.trace = true;
            break;
        case '2':
            flags.twice = true;
            break;
        case 'b':
            flags.broken = break_parse(optarg);
            if (flags.broken == BREAK_NONE)
                no_break(optarg);
            break;
        default:
            fputs(usage, stderr);
            exit(2);
        }
    }
    return flags;
}

static double cpu_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void run_seed(const struct flags *flags)
{
    break_set(flags->broken);
    world_begin(&(struct world_options){.seed = flags->seed, .trace = flags->trace});
    struct world_cell cell;
    faults_draw(&cell);
    world_cell_start(&cell);
    people_start();
    faults_start();
    world_run_ms(flags->minutes * 60000);
    faults_stop();
    people_rest();
    people_tell();
    faults_tell();
    printf("seed %" PRIu64 ": %" PRIu64 " virtual minutes, %" PRIu64
           " events, leader %d, restarts %" PRIu64 ", trace %016" PRIx64 ", %.2f s\n",
           flags->seed, flags->minutes, world_events(), world_leader() + 1, world_restarts(),
           world_trace_hash(), cpu_s());
}

/* Run the seed in a process of its own; the hash of its history comes through a pipe. */
static uint64_t hash_of_run(const struct flags *flags)
{
    int fds[2], status;
    uint64_t hash = 0;
    if (pipe(fds) != 0)
        PANIC("no pipe");
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        run_seed(flags);
        hash = world_trace_hash();
        bool told = write(fds[1], &hash, sizeof hash) == sizeof hash;
        fflush(NULL);
        _exit(told ? 0 : 1);
    }
    close(fds[1]);
    bool told = read(fds[0], &hash, sizeof hash) == sizeof hash;
    close(fds[0]);
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0 || !told)
        exit(1);
    return hash;
}

static int run_twice(const struct flags *flags)
{
    uint64_t first = hash_of_run(flags), second = hash_of_run(flags);
    if (first == second)
        return 0;
    fprintf(stderr, "seed %" PRIu64 " had two histories, %016" PRIx64 " and %016" PRIx64 "\n",
            flags->seed, first, second);
    return 1;
}

int main(int argc, char **argv)
{
    struct flags flags = flags_parse(argc, argv);
    if (flags.twice)
        return run_twice(&flags);
    run_seed(&flags);
    return 0;
}
