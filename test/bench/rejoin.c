/*
 * rejoin.c - measure how long a replica takes to return, with its state or by a snapshot.
 *
 *     rejoin DIR BORGCTL [--count N] [--install]
 *
 * A follower is killed (SIGKILL) and restarted by `borgctl cell up`; the measured time starts
 * before that and ends when the replica has applied the leader's index of that moment. With
 * --install, commands are committed meanwhile until the leader's log does not cover the follower's
 * index: the cell must have a small --snapshot-threshold. Then the memory of all replicas is
 * printed.
 */
#include "lib/bench.h"

#include "clock.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { LOOK_MS = 5, BACK_MS = 120000, DEAD_MS = 200, SUBMITS_MAX = 100000 };

static const char usage[] = "rejoin DIR BORGCTL [--count N] [--install]";

struct rejoin {
    struct bench bench;
    char *dir, *borgctl;
    bool install;
    uint64_t number; /* number of the next job */
    uint64_t elections;
    struct samples times;
};

static bool leads(const struct wire_status *s)
{
    return strcmp(s->role, "leader") == 0;
}

/* Retry, because replicas may be dead and connections lost. */
static struct wire_status status_of(struct rejoin *r, size_t i)
{
    struct wire_status s;
    struct err err;
    uint64_t until_ms = clock_mono_ms() + BACK_MS;
    while (bench_status(&r->bench, i, &s, &err) != 0) {
        if (clock_mono_ms() > until_ms)
            bench_die("replica %zu did not come back within %d s: %s", i + 1, BACK_MS / 1000,
                      err.msg);
        bench_pause(&r->bench, LOOK_MS);
    }
    return s;
}

/* Commit commands until the leader has taken a snapshot beyond the follower's index and trimmed its
 * log: it keeps a quarter of the entries between two snapshots. */
static void leave_behind(struct rejoin *r, size_t leader, uint64_t index)
{
    uint64_t first = 0; /* index of the snapshot after the follower died */
    for (unsigned i = 0; i < SUBMITS_MAX; i++) {
        char name[CELL_NAME_MAX + 1];
        snprintf(name, sizeof name, "behind-%" PRIu64, r->number++);
        struct cmd submit = bench_submit(name, 1, RESOURCE_AMOUNT_MAX, INT64_C(1) << 20);
        bench_command(&r->bench, leader, &submit);
        cmd_release(&submit);
        struct cmd kill = bench_kill(name);
        bench_command(&r->bench, leader, &kill);
        uint64_t snapshot = i % 64 != 0 ? 0 : status_of(r, leader).snapshot_index;
        if (first != 0 && snapshot > first)
            return;
        if (snapshot > index)
            first = snapshot;
    }
    bench_die("no snapshot after %d commands: start the cell with --snapshot-threshold 512",
              SUBMITS_MAX);
}

static uint64_t file_find(const char *path, const char *text)
{
    char line[4096];
    uint64_t count = 0;
    FILE *file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        count += strstr(line, text) != NULL;
    if (file != NULL)
        fclose(file);
    return count;
}

static uint64_t installed(const struct rejoin *r, size_t i)
{
    char path[CELL_PATH_MAX + 32];
    snprintf(path, sizeof path, "%s/log/master%" PRIu64 ".log", r->dir,
             r->bench.cell.replicas[i].id);
    return file_find(path, " snapshot.restored ");
}

static void round_run(struct rejoin *r)
{
    char *up[] = {r->borgctl, "cell", "up", "--dir", r->dir, "-q", NULL};
    struct bench_health before = bench_settle(&r->bench);
    size_t i = (before.leader + 1) % r->bench.cell.replica_count;
    uint64_t installed_before = installed(r, i);
    kill((pid_t)before.pids[i], SIGKILL);
    bench_pause(&r->bench, DEAD_MS);
    if (r->install)
        leave_behind(r, before.leader, before.index);
    uint64_t index = status_of(r, before.leader).applied_index;
    uint64_t from_us = clock_mono_us();
    int rc = bench_run(up, NULL);
    if (rc != 0)
        bench_die("borgctl cell up: exit code %d", rc);
    for (struct wire_status s = {0}; s.leader == 0 || s.applied_index < index;) {
        s = status_of(r, i);
        bench_pause(&r->bench, LOOK_MS);
    }
    samples_add(&r->times, clock_mono_us() - from_us);
    struct bench_health after = bench_settle(&r->bench);
    r->elections += after.term - before.term;
    if (r->install && installed(r, i) == installed_before)
        bench_die("replica %zu came back without a snapshot of the leader", i + 1);
}

static uint64_t kib_of(int64_t pid, const char *what)
{
    char path[64], line[256];
    unsigned long kib = 0;
    size_t size = strlen(what);
    snprintf(path, sizeof path, "/proc/%" PRId64 "/status", pid);
    FILE *file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, what, size) == 0)
            sscanf(line + size, ": %lu", &kib);
    if (file != NULL)
        fclose(file);
    return kib;
}

static void print_memory(struct rejoin *r)
{
    struct bench_health health = bench_settle(&r->bench);
    uint64_t rss_kib = 0, most_kib = 0;
    printf("\n| replica | role | resident MiB | at its most MiB |\n|---|---|---|---|\n");
    for (size_t i = 0; i < r->bench.cell.replica_count; i++) {
        struct wire_status s = status_of(r, i);
        uint64_t now = kib_of(health.pids[i], "VmRSS"), most = kib_of(health.pids[i], "VmHWM");
        printf("| %" PRIu64 " | %s | %" PRIu64 " | %" PRIu64 " |\n", s.id,
               leads(&s) ? "leader" : "follower", now >> 10, most >> 10);
        rss_kib = MAX(rss_kib, now);
        most_kib = MAX(most_kib, most);
    }
    bench_summary(r->install ? "memory of a replica that installed a snapshot, at most"
                             : "memory of a replica, at most",
                  "%" PRIu64 " MiB, for a moment %" PRIu64 " MiB", rss_kib >> 10, most_kib >> 10);
}

static void print(struct rejoin *r, uint64_t count)
{
    const char *what = r->install ? "follower back by a snapshot of the leader"
                                  : "follower killed and back with its state";
    struct bench_health health = bench_settle(&r->bench);
    struct bench_size size = bench_size(&r->bench, health.leader);
    printf("| %s | cell | p50 ms | max ms | elections meanwhile |\n"
           "|---|---|---|---|---|\n"
           "| %" PRIu64 " times | %s | %.0f | %.0f | %" PRIu64 " |\n",
           what, count, size.text, samples_ms(&r->times, 500), samples_ms(&r->times, 1000),
           r->elections);
    print_memory(r);
    char text[160];
    snprintf(text, sizeof text, "%s: %s", what, size.text);
    bench_summary(text, "p50 %.1f s, max %.1f s of %" PRIu64, samples_ms(&r->times, 500) / 1000,
                  samples_ms(&r->times, 1000) / 1000, count);
    bench_terms(r->install ? "install" : "restart", 0, r->elections);
}

int main(int argc, char **argv)
{
    static struct rejoin r;
    uint64_t count = 5;
    if (argc < 3)
        bench_die("usage: %s", usage);
    r.dir = argv[1];
    r.borgctl = argv[2];
    for (int i = 3; i < argc; i++) {
        if (strcmp(argv[i], "--install") == 0)
            r.install = true;
        else if (strcmp(argv[i], "--count") == 0)
            count = bench_arg(argc, argv, i++, usage);
        else
            bench_die("usage: %s", usage);
    }
    bench_open(&r.bench, r.dir);
    for (uint64_t i = 0; i < count; i++)
        round_run(&r);
    print(&r, count);
    return 0;
}
