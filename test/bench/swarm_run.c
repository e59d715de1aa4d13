/*
 * swarm_run.c - measure a cell of many machines end to end.
 *
 *     swarm_run DIR BORGCTL MACHINES TASKS [--pki DIR2] [--rest SECONDS] [--job-only]
 *
 * Needs a cell with running replicas whose other machines can take no task. Starts the machines
 * (three swarm processes: most machines, a rack, a switch), submits one job of TASKS tasks,
 * measures the cost of the idle cell, kills the leader and restarts it, and stops the rack and the
 * switch as if they had died. Exits with 1 if a task was restarted without need.
 */
#include "lib/bench.h"

#include "clock.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

enum {
    WATCH_MS = 20,
    STEP_MS = 180000, /* limit for each step */
    HOLD_LOOK_MS = 3000,
    SHARE_PERCENT = 115, /* of an equal share: still even */
    RACK_PART = 200,     /* one machine in this many */
    SWITCH_PERCENT = 30, /* more than loss.h accepts as single failures */
};

static const char usage[] =
    "swarm_run DIR BORGCTL MACHINES TASKS [--pki DIR2] [--rest SECONDS] [--job-only]";

enum group { MOST, RACK, SWITCH, GROUP_COUNT };

/* One process with simulated machines. */
struct group_process {
    pid_t pid;
    FILE *to, *from;
    uint64_t count;
};

/* The processor time of the processes when a step began. */
struct mark {
    uint64_t us;
    uint64_t cpu_ms[CELL_REPLICAS_MAX];
    uint64_t swarm_ms;
};

struct run {
    struct bench bench;
    char *dir, *borgctl;
    const char *pki;
    uint64_t machines, tasks;
    uint64_t others; /* machines that existed before */
    uint64_t rest_s;
    bool job_only;
    struct group_process groups[GROUP_COUNT];
    struct bench_health health;
    struct mark mark;
    bool restarted; /* a task was restarted without need */
};

/* --- the machines ----------------------------------------------------------------------------- */

static void child_start(struct run *r, struct group_process *g, uint64_t first)
{
    char self[PATH_MAX], path[PATH_MAX + 8], count[24], first_text[24];
    int to[2], from[2];
    if (realpath("/proc/self/exe", self) == NULL || pipe(to) != 0 || pipe(from) != 0)
        bench_die("pipe: %s", strerror(errno));
    snprintf(path, sizeof path, "%s/swarm", dirname(self));
    snprintf(count, sizeof count, "%" PRIu64, g->count);
    snprintf(first_text, sizeof first_text, "%" PRIu64, first);
    g->pid = fork();
    if (g->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(to[0], 0);
        dup2(from[1], 1);
        close(to[1]);
        close(from[0]);
        execl(path, path, r->dir, count, "--first", first_text, r->pki == NULL ? NULL : "--pki",
              r->pki, NULL);
        _exit(127);
    }
    close(to[0]);
    close(from[1]);
    g->to = fdopen(to[1], "w");
    g->from = fdopen(from[0], "r");
}

/* Read the next line of a group to which a line was sent before. */
static void group_line(struct group_process *g, char *line, int size)
{
    if (fgets(line, size, g->from) == NULL)
        bench_die("a swarm has ended");
}

static void group_poke(struct group_process *g)
{
    if (fputc('\n', g->to) == EOF || fflush(g->to) != 0)
        bench_die("a swarm has ended");
}

static void machines_start(struct run *r)
{
    uint64_t first = 1;
    char line[64];
    r->groups[RACK].count = MAX(UINT64_C(1), r->machines / RACK_PART);
    r->groups[SWITCH].count = r->machines * SWITCH_PERCENT / 100;
    r->groups[MOST].count = r->machines - r->groups[RACK].count - r->groups[SWITCH].count;
    for (int g = 0; g < GROUP_COUNT; g++) {
        child_start(r, &r->groups[g], first);
        first += r->groups[g].count;
    }
    for (int g = 0; g < GROUP_COUNT; g++)
        group_line(&r->groups[g], line, sizeof line);
}

/* --- queries ---------------------------------------------------------------------------------- */

static uint64_t swarm_cpu_ms(const struct run *r)
{
    uint64_t ms = 0;
    for (int g = 0; g < GROUP_COUNT; g++)
        ms += cpu_ms(r->groups[g].pid);
    return ms;
}

static void mark(struct run *r)
{
    for (size_t i = 0; i < r->bench.cell.replica_count; i++)
        r->mark.cpu_ms[i] = cpu_ms(r->health.pids[i]);
    r->mark.swarm_ms = swarm_cpu_ms(r);
    r->mark.us = clock_mono_us();
}

static double since_s(const struct run *r)
{
    return (double)(clock_mono_us() - r->mark.us) / 1e6;
}

/* The number of machines that each replica drives; UINT64_MAX if it does not answer. */
struct shares {
    uint64_t links[CELL_REPLICAS_MAX];
    uint64_t sum, max;
    size_t up;
};

static struct shares look_shares(struct run *r)
{
    struct shares shares = {0};
    for (size_t i = 0; i < r->bench.cell.replica_count; i++) {
        struct wire_status s;
        struct err err;
        if (bench_status(&r->bench, i, &s, &err) != 0) {
            shares.links[i] = UINT64_MAX;
            continue;
        }
        shares.links[i] = s.links;
        shares.sum += s.links;
        shares.max = MAX(shares.max, s.links);
        shares.up++;
    }
    return shares;
}

static bool all_linked(struct run *r)
{
    return look_shares(r).sum >= r->machines + r->others;
}

static bool shares_even(struct run *r)
{
    struct shares s = look_shares(r);
    uint64_t share = s.sum / MAX(s.up, (size_t)1) + 1;
    return s.up == r->bench.cell.replica_count && s.sum >= r->machines + r->others &&
           s.max * 100 <= MAX(share * SHARE_PERCENT, (share + 2) * 100);
}

static size_t leader_of(struct run *r)
{
    for (size_t i = 0; i < r->bench.cell.replica_count; i++) {
        struct wire_status s;
        struct err err;
        if (bench_status(&r->bench, i, &s, &err) == 0 && strcmp(s.role, "leader") == 0)
            return i;
    }
    return SIZE_MAX;
}

/* Ask any replica that answers; -1 if the leader's replica does not. */
static int64_t ask(struct run *r, const char *sql)
{
    return bench_number(&r->bench, r->health.leader, "%s", sql);
}

static bool all_up(struct run *r)
{
    return all_linked(r) && ask(r, "SELECT count(*) FROM machines WHERE state = 'up'") >=
                                (int64_t)(r->machines + r->others);
}

static bool nothing_pending(struct run *r)
{
    struct wire_status s;
    struct err err;
    return bench_status(&r->bench, r->health.leader, &s, &err) == 0 && s.jobs > 0 && s.pending == 0;
}

static bool all_running(struct run *r)
{
    return ask(r, "SELECT running FROM jobs WHERE name = 'swarm'") == (int64_t)r->tasks;
}

static bool some_down(struct run *r)
{
    return ask(r, "SELECT count(*) FROM machines WHERE state = 'down'") > 0;
}

static bool rack_down(struct run *r)
{
    return ask(r, "SELECT count(*) FROM machines WHERE state = 'down'") >=
           (int64_t)r->groups[RACK].count;
}

static bool hold_is(struct run *r, const char *hold)
{
    struct wire_status s;
    struct err err;
    return bench_status(&r->bench, r->health.leader, &s, &err) == 0 && strcmp(s.hold, hold) == 0;
}

static bool hold_on(struct run *r)
{
    return hold_is(r, "on");
}

static bool hold_off(struct run *r)
{
    return hold_is(r, "off");
}

static bool leader_known(struct run *r)
{
    size_t leader = leader_of(r);
    if (leader != SIZE_MAX)
        r->health.leader = leader;
    return leader != SIZE_MAX;
}

/* Wait for the condition; return the seconds since mark(). */
static double until(struct run *r, const char *what, bool (*cond)(struct run *r))
{
    uint64_t deadline_ms = clock_mono_ms() + STEP_MS;
    while (!cond(r)) {
        if (clock_mono_ms() > deadline_ms)
            bench_die("not within %d s: %s", STEP_MS / 1000, what);
        bench_pause(&r->bench, WATCH_MS);
    }
    return since_s(r);
}

/* --- output ----------------------------------------------------------------------------------- */

static void row(struct run *r, const char *what, double s, const char *fmt, ...) PRINTF_LIKE(4, 5);

/* Print the time, and the processor time since mark() of the processes involved. */
static void row(struct run *r, const char *what, double s, const char *fmt, ...)
{
    uint64_t leader_ms = 0, others_ms = 0;
    char note[128];
    va_list args;
    for (size_t i = 0; i < r->bench.cell.replica_count; i++) {
        uint64_t now_ms = cpu_ms(r->health.pids[i]);
        uint64_t used_ms = now_ms > r->mark.cpu_ms[i] ? now_ms - r->mark.cpu_ms[i] : 0;
        if (i == r->health.leader)
            leader_ms = used_ms;
        else
            others_ms += used_ms;
    }
    va_start(args, fmt);
    vsnprintf(note, sizeof note, fmt, args);
    va_end(args);
    printf("| %s | %.1f | %.1f | %.1f | %.1f | %s |\n", what, s, (double)leader_ms / 1000,
           (double)others_ms / 1000 / (double)(r->bench.cell.replica_count - 1),
           (double)(swarm_cpu_ms(r) - r->mark.swarm_ms) / 1000, note);
    fflush(stdout);
}

static int64_t attempts(struct run *r)
{
    return ask(r, "SELECT sum(attempt) FROM tasks");
}

static void none_restarted(struct run *r, const char *what, int64_t before)
{
    int64_t now = attempts(r);
    if (now == before)
        return;
    fprintf(stderr, "bench: %s: %" PRId64 " tasks were restarted\n", what, now - before);
    r->restarted = true;
}

/* --- the steps -------------------------------------------------------------------------------- */

static void step_machines(struct run *r)
{
    mark(r);
    for (int g = 0; g < GROUP_COUNT; g++)
        group_poke(&r->groups[g]);
    double s = until(r, "all machines are up", all_up);
    row(r, "all machines linked and up", s, "%.0f machines/s", (double)r->machines / s);
}

static void step_job(struct run *r)
{
    char what[96];
    struct cmd job = bench_submit("swarm", (uint32_t)r->tasks, 500, INT64_C(1) << 30);
    mark(r);
    bench_command(&r->bench, r->health.leader, &job);
    double assigned_s = until(r, "all tasks are assigned", nothing_pending);
    row(r, "submit until all tasks are assigned", assigned_s, "%.0f tasks/s",
        (double)r->tasks / assigned_s);
    double running_s = until(r, "all tasks run", all_running);
    row(r, "submit until all run (as SQL says)", running_s, "%.0f tasks/s",
        (double)r->tasks / running_s);
    cmd_release(&job);
    snprintf(what, sizeof what, "one job of %" PRIu64 " tasks on %" PRIu64 " machines", r->tasks,
             r->machines);
    bench_summary(what, "%.0f placements committed/s, %.0f started/s",
                  (double)r->tasks / assigned_s, (double)r->tasks / running_s);
}

/* Return the number of bytes that the machines have read and written. */
static uint64_t swarm_bytes(const struct run *r)
{
    uint64_t bytes = 0;
    for (int g = 0; g < GROUP_COUNT; g++) {
        char path[64];
        unsigned long long in = 0, out = 0;
        snprintf(path, sizeof path, "/proc/%d/io", (int)r->groups[g].pid);
        FILE *file = fopen(path, "re");
        if (file == NULL || fscanf(file, "rchar: %llu wchar: %llu", &in, &out) != 2)
            bench_die("%s cannot be read", path);
        fclose(file);
        bytes += in + out;
    }
    return bytes;
}

static uint64_t memory_mib(int64_t pid)
{
    char path[64];
    unsigned long long size = 0, pages = 0;
    snprintf(path, sizeof path, "/proc/%" PRId64 "/statm", pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%llu %llu", &size, &pages) != 2)
        pages = 0;
    fclose(file);
    return pages * (unsigned long long)sysconf(_SC_PAGESIZE) >> 20;
}

/* Measure the cost of an idle cell. */
static void step_rest(struct run *r)
{
    struct wire_status before, after;
    struct err err;
    bench_pause(&r->bench, r->rest_s * 1000);
    if (bench_status(&r->bench, r->health.leader, &before, &err) != 0)
        bench_die("status: %s", err.msg);
    uint64_t bytes = swarm_bytes(r);
    mark(r);
    bench_pause(&r->bench, r->rest_s * 1000);
    double s = since_s(r);
    if (bench_status(&r->bench, r->health.leader, &after, &err) != 0)
        bench_die("status: %s", err.msg);
    double leader_percent = (double)(cpu_ms(after.pid) - r->mark.cpu_ms[r->health.leader]) / 10 / s;
    row(r, "at rest", s, "leader %.1f%% of a core, %.2f%% per 1,000 machines", leader_percent,
        leader_percent * 1000 / (double)r->machines);
    row(r, "", s, "%.0f bytes/s a machine, both ways; %.1f log entries/s",
        (double)(swarm_bytes(r) - bytes) / s / (double)r->machines,
        (double)(after.applied_index - before.applied_index) / s);
    row(r, "", s, "memory of the leader %" PRIu64 " MiB, of all machines %" PRIu64 " MiB",
        memory_mib(after.pid),
        memory_mib(r->groups[MOST].pid) + memory_mib(r->groups[RACK].pid) +
            memory_mib(r->groups[SWITCH].pid));
}

/* Kill a replica that drives a fifth of the machines, and restart it. */
static void step_replica(struct run *r)
{
    char *up[] = {r->borgctl, "cell", "up", "--dir", r->dir, NULL};
    int64_t before = attempts(r);
    uint64_t share = look_shares(r).links[r->health.leader];
    mark(r);
    kill((pid_t)r->health.pids[r->health.leader], SIGKILL);
    double leader_s = until(r, "there is a leader", leader_known);
    row(r, "kill -9 of the leader until there is one", leader_s, " ");
    double s = until(r, "all machines are linked", all_linked);
    row(r, "the same until all its machines are driven", s, "%" PRIu64 " machines moved", share);
    none_restarted(r, "a replica died", before);
    if (bench_run(up, NULL) != 0)
        bench_die("borgctl cell up failed");
    r->health = bench_settle(&r->bench);
    mark(r);
    s = until(r, "the shares are even", shares_even);
    row(r, "it is back: until the shares are even", s, " ");
    none_restarted(r, "a replica came back", before);
}

static void group_signal(struct run *r, enum group g, int signum)
{
    mark(r);
    if (kill(r->groups[g].pid, signum) != 0)
        bench_die("kill: %s", strerror(errno));
}

static void step_rack(struct run *r)
{
    group_signal(r, RACK, SIGSTOP);
    double first_s = until(r, "a machine is down", some_down);
    double all_s = until(r, "the rack is down", rack_down);
    row(r, "a rack falls silent: until all are declared down", all_s,
        "%" PRIu64 " machines, the first after %.1f s", r->groups[RACK].count, first_s);
    double s = until(r, "all tasks run", all_running);
    row(r, "the same until all tasks run elsewhere", s, " ");
    group_signal(r, RACK, SIGCONT);
    row(r, "it is back: until all machines are up", until(r, "all are up", all_up), " ");
}

static void step_switch(struct run *r)
{
    int64_t before = attempts(r);
    group_signal(r, SWITCH, SIGSTOP);
    double s = until(r, "the hold on silent machines is on", hold_on);
    row(r, "a switch dies: until the hold is on", s, "%" PRIu64 " machines silent",
        r->groups[SWITCH].count);
    bench_pause(&r->bench, HOLD_LOOK_MS);
    if (some_down(r))
        bench_die("machines were declared down during the hold");
    group_signal(r, SWITCH, SIGCONT);
    s = until(r, "the hold is over", hold_off);
    row(r, "it is back: until the hold is over", s, "nobody declared down");
    none_restarted(r, "a switch died", before);
}

static void run_parse(struct run *r, int argc, char **argv)
{
    if (argc < 5)
        bench_die("usage: %s", usage);
    r->dir = argv[1];
    r->borgctl = argv[2];
    r->machines = bench_arg(argc, argv, 2, usage);
    r->tasks = bench_arg(argc, argv, 3, usage);
    r->rest_s = 10;
    for (int i = 5; i < argc; i++) {
        if (strcmp(argv[i], "--job-only") == 0)
            r->job_only = true;
        else if (strcmp(argv[i], "--pki") == 0 && i + 1 < argc)
            r->pki = argv[++i];
        else if (strcmp(argv[i], "--rest") == 0)
            r->rest_s = bench_arg(argc, argv, i++, usage);
        else
            bench_die("usage: %s", usage);
    }
}

int main(int argc, char **argv)
{
    static struct run r;
    run_parse(&r, argc, argv);
    bench_open(&r.bench, r.dir);
    machines_start(&r);
    r.health = bench_settle(&r.bench);
    r.others = look_shares(&r).sum;
    uint64_t term = r.health.term;
    printf("| %" PRIu64 " machines, %" PRIu64 " tasks, %zu replicas | s | leader cpu s | each "
           "follower | all machines | |\n|---|---|---|---|---|---|\n",
           r.machines, r.tasks, r.bench.cell.replica_count);
    step_machines(&r);
    step_job(&r);
    bench_terms("swarm", 0, bench_settle(&r.bench).term - term);
    if (r.job_only)
        return 0;
    step_rest(&r);
    step_replica(&r);
    step_rack(&r);
    step_switch(&r);
    return r.restarted ? 1 : 0;
}
