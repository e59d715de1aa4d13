/*
 * sim.c - main function of the simulator.
 */
#include "breaks.h"
#include "faults.h"
#include "people.h"
#include "soak.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char usage[] =
    "usage: sim [options]\n"
    "\n"
    "Runs a cell on virtual time; the seed determines the whole run.\n"
    "\n"
    "  --seed N       the seed (default 1)\n"
    "  --minutes N    virtual minutes (default 60)\n"
    "  --trace        print every log line of every node, with virtual time\n"
    "  --twice        run the seed twice and compare both histories\n"
    "  --break NAME   inject a fault that a checker must detect (--break ? lists them)\n"
    "  --seeds N      run N seeds from --seed on, each in its own process\n"
    "  --soak         likewise, until stopped\n"
    "  --file FILE    run the seeds of a file with lines of seed, minutes, reason\n"
    "  --jobs N       number of concurrent processes (default 2)\n"
    "  --keep DIR     directory for the output of failed seeds (default build/sim/failed)\n";

struct flags {
    uint64_t seed, minutes, seeds, jobs;
    bool trace, twice, soak;
    const char *file, *keep;
    enum break_kind broken;
};

static uint64_t number(const char *text)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno == 0 && *end == '\0' && end != text && *text != '-')
        return value;
    fprintf(stderr, "sim: \"%s\" is not a number\n%s", text, usage);
    exit(2);
}

_Noreturn static void no_break(const char *name)
{
    fprintf(stderr, "sim: \"%s\" is not a fault; the faults are\n", name);
    for (enum break_kind kind = BREAK_NONE + 1; kind < BREAK_COUNT; kind++)
        fprintf(stderr, "  %-16s %s\n", break_info(kind)->name, break_info(kind)->what);
    exit(2);
}

static enum break_kind break_named(const char *name)
{
    enum break_kind kind = break_parse(name);
    if (kind == BREAK_NONE)
        no_break(name);
    return kind;
}

static void flag_take(struct flags *flags, int c)
{
    switch (c) {
    case 's':
        flags->seed = number(optarg);
        break;
    case 'm':
        flags->minutes = number(optarg);
        break;
    case 'n':
        flags->seeds = number(optarg);
        break;
    case 'j':
        flags->jobs = number(optarg);
        break;
    case 't':
        flags->trace = true;
        break;
    case '2':
        flags->twice = true;
        break;
    case 'S':
        flags->soak = true;
        break;
    case 'f':
        flags->file = optarg;
        break;
    case 'k':
        flags->keep = optarg;
        break;
    case 'b':
        flags->broken = break_named(optarg);
        break;
    case 'h':
        fputs(usage, stdout);
        exit(0);
    default:
        fputs(usage, stderr);
        exit(2);
    }
}

static struct flags flags_parse(int argc, char **argv)
{
    static const struct option options[] = {
        {"seed", required_argument, NULL, 's'},  {"minutes", required_argument, NULL, 'm'},
        {"seeds", required_argument, NULL, 'n'}, {"jobs", required_argument, NULL, 'j'},
        {"file", required_argument, NULL, 'f'},  {"keep", required_argument, NULL, 'k'},
        {"break", required_argument, NULL, 'b'}, {"trace", no_argument, NULL, 't'},
        {"twice", no_argument, NULL, '2'},       {"soak", no_argument, NULL, 'S'},
        {"help", no_argument, NULL, 'h'},        {0},
    };
    struct flags flags = {.seed = 1, .minutes = 60, .jobs = 2, .keep = "build/sim/failed"};
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;)
        flag_take(&flags, c);
    if (flags.jobs < 1 || flags.jobs > SOAK_JOBS_MAX) {
        fprintf(stderr, "sim: --jobs: 1 to %d\n", SOAK_JOBS_MAX);
        exit(2);
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

/* Run the seed in a child process, which returns the hash of its history through a pipe. */
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

/* The command line, for children that get only a seed. */
static struct flags soak_flags;

static void run_child(const struct soak_seed *seed)
{
    struct flags flags = soak_flags;
    flags.seed = seed->seed;
    flags.minutes = seed->minutes;
    run_seed(&flags);
}

static int run_many(const struct flags *flags)
{
    struct soak_options options = {.first = flags->seed,
                                   .minutes = flags->minutes,
                                   .count = flags->soak ? SIZE_MAX : flags->seeds,
                                   .jobs = (unsigned)flags->jobs,
                                   .dir = flags->keep,
                                   .run = run_child};
    soak_flags = *flags;
    if (flags->file != NULL)
        options.seeds = soak_file_read(flags->file, &options.count);
    size_t failed = soak(&options);
    free(options.seeds);
    return failed > 0;
}

int main(int argc, char **argv)
{
    struct flags flags = flags_parse(argc, argv);
    if (flags.soak || flags.seeds > 0 || flags.file != NULL)
        return run_many(&flags);
    if (flags.twice)
        return run_twice(&flags);
    run_seed(&flags);
    return 0;
}
