/*
 * chaos.c - a real cell of five masters and five borglets under faults.
 *
 *     chaos [--seconds N] [--seed N] [--dir DIR] [--keep]
 *
 * Runs phases of about forty faults each, drawn from the seed, while users work. After each phase
 * all faults end, a master is replaced, the cell must converge, and everything is checked
 * (audit.h). At the end the history of the users is checked (history.h). A failed run prints its
 * seed and keeps its directory.
 */
#include "audit.h"
#include "replace.h"

#include "clock.h"
#include "log.h"

#include <errno.h>
#include <ftw.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    FAULT_EVERY_MS = 2000,
    PHASE_FAULTS_MAX = 42,
    REST_MS = 12000,     /* approximate time to recover and check after a phase */
    START_MS = 30000,    /* for the first leader, or for all to follow one */
    BEHIND_MAX = 200,    /* entries */
    GIVE_UP_MS = 30000,  /* for users to complete their calls */
    WELL_GAP_MS = 10000, /* a longer gap is a violation */
    POOR_GAP_MS = 30000
};

struct options {
    uint64_t seconds, seed;
    char dir[PATH_MAX];
    bool keep;
    enum sandbox_kind kind;
};

static int programs_find(struct crew *crew, struct err *err)
{
    char path[CREW_PATH_MAX + 16];
    ssize_t size = readlink("/proc/self/exe", crew->programs, sizeof crew->programs - 1);
    if (size < 0)
        return err_errno(err, errno, "cannot read /proc/self/exe");
    crew->programs[size] = '\0';
    for (int up = 0; up < 3; up++) /* BUILD/test/chaos/chaos */
        *strrchr(crew->programs, '/') = '\0';
    snprintf(path, sizeof path, "%s/borgmaster", crew->programs);
    return access(path, X_OK) == 0 ? 0 : err_errno(err, errno, "cannot run %s", path);
}

static void users_wait(struct conductor *c)
{
    uint64_t deadline_ms = clock_mono_ms() + GIVE_UP_MS;
    users_pause(&c->users);
    while (c->users.busy > 0) {
        if (clock_mono_ms() > deadline_ms)
            PANIC("%" PRIu32 " users do not complete their calls", c->users.busy);
        conductor_turn(c);
    }
}

/* Wait until all members that were killed are back and know their leader. */
static void members_wait(struct conductor *c)
{
    uint64_t deadline_ms = clock_mono_ms() + START_MS;
    for (size_t well = 0; well < CREW_MASTERS && clock_mono_ms() < deadline_ms;) {
        conductor_turn(c);
        const struct wire_status *leader =
            c->faults.leader < CREW_MASTERS ? &c->watched[c->faults.leader].status : NULL;
        well = 0;
        for (size_t i = 0; i < CREW_MASTERS && leader != NULL; i++)
            well += c->watched[i].is_known && c->watched[i].status.leader == leader->id &&
                    c->watched[i].status.applied_index + BEHIND_MAX >= leader->commit_index;
    }
}

static void phase_run(struct conductor *c, const struct options *o, uint64_t number, size_t count)
{
    struct fault plan[PHASE_FAULTS_MAX];
    uint32_t has = 0;
    uint64_t started_ms = conductor_now_ms(c);
    if (o->kind == SANDBOX_CLOSED)
        has |= PLAN_NET | PLAN_DISK | PLAN_MACHINE;
    if (c->crew.faketime != NULL)
        has |= PLAN_CLOCK;
    plan_make(o->seed * 1000 + number, has, count * (uint64_t)FAULT_EVERY_MS, plan, count);
    if (!c->users.is_open)
        users_resume(&c->users);
    conductor_play(c, plan, count);
    while (c->plan_next < c->plan_count || c->faults.active_count > 0)
        conductor_turn(c);
    uint64_t healed_ms = conductor_now_ms(c);
    if (o->kind == SANDBOX_CLOSED) {
        members_wait(c);
        replace_run(c, (size_t)((o->seed + number) % CREW_MASTERS));
    }
    users_wait(c);
    audit_run(c);
    printf("phase %" PRIu64 ": %zu faults in %.1f s, converged and checked %.1f s later, %" PRIu64
           " writes and %" PRIu64 " reads so far\n",
           number + 1, count, (double)(healed_ms - started_ms) / 1000,
           (double)(conductor_now_ms(c) - healed_ms) / 1000, c->users.writes, c->users.reads);
    fflush(stdout);
}

static void history_judge(struct conductor *c)
{
    char path[PATH_MAX + 32];
    snprintf(path, sizeof path, "%s/history.txt", c->dir);
    FILE *file = fopen(path, "we");
    if (file == NULL)
        PANIC("cannot write %s", path);
    struct history_verdict v = history_check(&c->users.history, stdout);
    history_print(&c->users.history, file);
    fclose(file);
    printf("checked: %zu operations on %" PRIu64
           " names, each name in the order of time and of the "
           "log: %" PRIu64 " wrong, %" PRIu64 " undecided, %" PRIu64 " stale answers\n",
           c->users.history.count, v.keys, v.wrong, v.too_hard, v.stale);
    if (v.wrong + v.too_hard + v.stale > 0)
        conductor_violation(c, "no order explains the history: see %s", path);
}

static void summary_print(struct conductor *c)
{
    uint64_t total = 0;
    printf("faults:");
    for (enum fault_kind kind = 0; kind < FAULT_KIND_COUNT; kind++) {
        if (c->faults.counts[kind] == 0)
            continue;
        printf("%s %s %" PRIu64, total > 0 ? "," : "", fault_text(kind), c->faults.counts[kind]);
        total += c->faults.counts[kind];
    }
    printf("%s replica replaced %" PRIu64, total > 0 ? "," : "", c->replaced);
    printf("\nfaults in all: %" PRIu64 "; masters that ended for a full disk: %" PRIu64 "\n",
           total + c->replaced, c->exits);
    printf("operations: %" PRIu64 " writes acknowledged, %" PRIu64 " refused, %" PRIu64
           " of unknown outcome, %" PRIu64 " not possible; %" PRIu64 " reads, %" PRIu64
           " not possible; %zu jobs that run\n",
           c->users.writes, c->users.refused, c->users.unknown, c->users.failed, c->users.reads,
           c->users.reads_failed, c->users.job_count);
    if (c->crew.kind == SANDBOX_CLOSED)
        printf("packets: %" PRIu64 " passed, %" PRIu64 " of them delayed, %" PRIu64
               " lost, %" PRIu64 " of them cut\n",
               c->net.shared->passed, c->net.shared->held, c->net.shared->lost, c->net.shared->cut);
    printf("machines declared down: %" PRIu64 ", of these without a fault of their own: %" PRIu64
           "\n",
           c->downs, c->false_downs);
    printf("worst unavailability while a majority could talk: %" PRIu64 " ms (at %.1f s); over "
           "slow or lossy links too: %" PRIu64 " ms (at %.1f s)\n",
           c->well.worst_ms, (double)c->well.worst_at_ms / 1000, c->poor.worst_ms,
           (double)c->poor.worst_at_ms / 1000);
}

static void leader_wait(struct conductor *c)
{
    uint64_t deadline_ms = clock_mono_ms() + START_MS;
    while (c->faults.leader == CREW_COUNT) {
        if (clock_mono_ms() > deadline_ms)
            PANIC("no leader within %d s", START_MS / 1000);
        conductor_turn(c);
    }
}

/* Allow users to submit production jobs: their registers are priorities. */
static void rights_give(struct conductor *c)
{
    static const char *const words[] = {"grant", "ada", "production", "monitoring", NULL};
    pid_t pid = crew_borgctl(&c->crew, words);
    while (pid > 0 && kill(pid, 0) == 0) /* wait until it is reaped */
        conductor_turn(c);
}

static int chaos_run(void *data)
{
    static struct conductor c;
    const struct options *o = data;
    struct err err;
    log_open(LOG_ERROR, "chaos");
    c.dir = o->dir;
    c.crew.kind = o->kind;
    if (programs_find(&c.crew, &err) != 0 || conductor_start(&c, o->seed, &err) != 0) {
        fprintf(stderr, "chaos: %s\n", err.msg);
        return 1;
    }
    if (c.crew.faketime == NULL)
        printf("chaos: without clock jumps: Debian's faketime is not installed or does not work "
               "here\n");
    leader_wait(&c);
    rights_give(&c);
    users_start(&c.users, &c.lines, o->seed * 7919 + 1);
    uint64_t phases =
        MAX(o->seconds / (PHASE_FAULTS_MAX * FAULT_EVERY_MS / 1000 + REST_MS / 1000), UINT64_C(1));
    uint64_t phase_ms = o->seconds * 1000 / phases;
    uint64_t count = phase_ms > REST_MS ? (phase_ms - REST_MS) / FAULT_EVERY_MS : 1;
    count = MAX(MIN(count, (uint64_t)PHASE_FAULTS_MAX), UINT64_C(1));
    for (uint64_t i = 0; i < phases && c.violations == 0; i++)
        phase_run(&c, o, i, count);
    history_judge(&c);
    summary_print(&c);
    if (c.well.worst_ms > WELL_GAP_MS || c.poor.worst_ms > POOR_GAP_MS)
        conductor_violation(&c, "nothing was written for too long");
    if (c.violations > 0 && o->kind == SANDBOX_CLOSED)
        crew_keep(&c.crew);
    printf("%s: %" PRIu64 " violations, seed %" PRIu64 "\n",
           c.violations == 0 ? "passed" : "FAILED", c.violations, o->seed);
    return c.violations > 0;
}

static void usage(void)
{
    fputs("usage: chaos [--seconds N] [--seed N] [--dir DIR] [--keep]\n", stderr);
    exit(2);
}

static uint64_t number(const char *text)
{
    char *end;
    errno = 0;
    uint64_t value = strtoull(text, &end, 10);
    if (errno != 0 || *end != '\0' || end == text || *text == '-')
        usage();
    return value;
}

static void options_parse(int argc, char **argv, struct options *o)
{
    static const struct option flags[] = {{"seconds", 1, NULL, 's'},
                                          {"seed", 1, NULL, 'n'},
                                          {"dir", 1, NULL, 'd'},
                                          {"keep", 0, NULL, 'k'},
                                          {NULL, 0, NULL, 0}};
    const char *tmp = getenv("TMPDIR");
    *o = (struct options){.seconds = 600, .seed = clock_wall_ms() % 1000000};
    snprintf(o->dir, sizeof o->dir, "%.500s/borg-chaos.XXXXXX", tmp != NULL ? tmp : "/tmp");
    for (int c; (c = getopt_long(argc, argv, "", flags, NULL)) != -1;) {
        if (c == 's')
            o->seconds = number(optarg);
        else if (c == 'n')
            o->seed = number(optarg);
        else if (c == 'd')
            str_copy(o->dir, sizeof o->dir, optarg);
        else if (c == 'k')
            o->keep = true;
        else
            usage();
    }
    if (optind < argc)
        usage();
}

static int remove_one(const char *path, const struct stat *st UNUSED, int type UNUSED,
                      struct FTW *ftw UNUSED)
{
    return remove(path);
}

int main(int argc, char **argv)
{
    static struct options o;
    struct err why;
    char path[PATH_MAX];
    options_parse(argc, argv, &o);
    bool is_template = strstr(o.dir, "XXXXXX") != NULL;
    if ((is_template ? mkdtemp(o.dir) == NULL : mkdir(o.dir, 0755) != 0 && errno != EEXIST) ||
        realpath(o.dir, path) == NULL) {
        perror(o.dir);
        return 1;
    }
    str_copy(o.dir, sizeof o.dir, path);
    o.kind = sandbox_kind(&why);
    printf("chaos: seed %" PRIu64 ", about %" PRIu64 " s, in %s\n", o.seed, o.seconds, o.dir);
    if (o.kind == SANDBOX_OPEN)
        printf("chaos: on loopback, with faults of processes only: %s\n", why.msg);
    fflush(stdout);
    int rc = sandbox_run(o.kind, chaos_run, &o);
    if (rc == 0 && !o.keep)
        nftw(o.dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    else
        printf("chaos: logs, faults.txt, history.txt (and kept/masterN, when it failed) are in %s; "
               "again: make chaos "
               "CHAOS_SEED=%" PRIu64 " CHAOS_SECONDS=%" PRIu64 "\n",
               o.dir, o.seed, o.seconds);
    /* exit() would start a leak checker, which needs a thread; that is not possible if the process
     * and its children are in different pid namespaces. */
    fflush(stdout);
    _exit(rc);
}
