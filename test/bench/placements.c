/*
 * placements.c - how fast a big job is spread over many machines and runs on all of them.
 *
 *     placements DIR MACHINES TASKS
 *
 * Needs a cell in which swarm has brought MACHINES machines up. Submits one job of TASKS tasks and
 * watches: all are assigned when the leader's own cell, made of committed commands only, has none
 * pending; all run when the leader's SQLite says so. The events tell the same in the cell's clock:
 * there the time of a placement is when it was proposed, and the submit is second zero.
 */
#include "lib/bench.h"

#include "clock.h"

#include <stdio.h>

enum { WATCH_MS = 4, MACHINES_MS = 120000, PLACE_MS = 120000 };

static const char usage[] = "placements DIR MACHINES TASKS";

struct watch {
    uint64_t assigned_us, running_us; /* after the submit was sent */
    uint64_t status_max_us;           /* the slowest answer: how long the leader's loop was busy */
};

static void machines_wait(struct bench *b, uint64_t count)
{
    uint64_t until = clock_mono_ms() + MACHINES_MS;
    for (uint64_t links = 0; links < count; bench_pause(b, 100)) {
        links = 0;
        for (size_t i = 0; i < b->cell.replica_count; i++) {
            struct wire_status s;
            struct err err;
            if (bench_status(b, i, &s, &err) != 0)
                bench_die("status: %s", err.msg);
            links += s.links;
        }
        if (clock_mono_ms() > until)
            bench_die("%" PRIu64 " of %" PRIu64 " machines are there", links, count);
    }
}

static struct watch watch(struct bench *b, size_t leader, uint64_t tasks, uint64_t from_us)
{
    struct watch w = {0};
    uint64_t until = clock_mono_ms() + PLACE_MS;
    while (w.running_us == 0) {
        struct wire_status s;
        struct err err;
        uint64_t asked_us = clock_mono_us();
        if (bench_status(b, leader, &s, &err) != 0)
            bench_die("status: %s", err.msg);
        uint64_t now_us = clock_mono_us();
        w.status_max_us = MAX(w.status_max_us, now_us - asked_us);
        if (s.jobs > 0 && s.pending == 0 && w.assigned_us == 0)
            w.assigned_us = now_us - from_us;
        if (w.assigned_us != 0 &&
            bench_number(b, leader, "SELECT running FROM jobs WHERE name = 'placements'") ==
                (int64_t)tasks)
            w.running_us = clock_mono_us() - from_us;
        if (clock_mono_ms() > until)
            bench_die("after %d s %" PRIu64 " of %" PRIu64 " tasks are pending", PLACE_MS / 1000,
                      s.pending, tasks);
        bench_pause(b, WATCH_MS);
    }
    return w;
}

/* ms from the submit's event to the last one of this kind, and how many there are. */
static int64_t event_last_ms(struct bench *b, size_t leader, const char *kind, int64_t *ret_count)
{
    *ret_count = bench_number(b, leader,
                              "SELECT count(*) FROM events WHERE job_name = 'placements' AND "
                              "kind = '%s'",
                              kind);
    return bench_number(b, leader,
                        "SELECT max(time_ms) - (SELECT time_ms FROM events WHERE job_name = "
                        "'placements' AND kind = 'submitted') FROM events WHERE job_name = "
                        "'placements' AND kind = '%s'",
                        kind);
}

static void row(const char *what, uint64_t tasks, uint64_t us, int64_t event_ms, int64_t events)
{
    printf("| %s | %.0f | %.0f | %" PRId64 " | %" PRId64 " |\n", what, (double)us / 1000,
           (double)tasks / ((double)us / 1e6), event_ms, events);
}

int main(int argc, char **argv)
{
    static struct bench b;
    if (argc != 4)
        bench_die("usage: %s", usage);
    uint64_t machines = bench_arg(argc, argv, 1, usage);
    uint64_t tasks = bench_arg(argc, argv, 2, usage);
    bench_open(&b, argv[1]);
    machines_wait(&b, machines);
    struct bench_health before = bench_settle(&b);
    struct cmd job = bench_submit("placements", (uint32_t)tasks, 500, INT64_C(1) << 30);
    uint64_t from_us = clock_mono_us();
    bench_command(&b, before.leader, &job);
    struct watch w = watch(&b, before.leader, tasks, from_us);
    cmd_release(&job);
    struct bench_health after = bench_settle(&b);
    bench_terms("placements", 0, after.term - before.term);
    int64_t assigned_count, running_count;
    int64_t assigned_ms = event_last_ms(&b, before.leader, "assigned", &assigned_count);
    int64_t running_ms = event_last_ms(&b, before.leader, "running", &running_count);
    printf("| %" PRIu64 " tasks on %" PRIu64 " machines | ms | tasks/s | last event after ms | "
           "events |\n|---|---|---|---|---|\n",
           tasks, machines);
    row("all assigned (committed)", tasks, w.assigned_us, assigned_ms, assigned_count);
    row("all running (in SQLite)", tasks, w.running_us, running_ms, running_count);
    printf("\n%" PRIu64 " Raft entries; the leader answered within %.0f ms all the time.\n",
           after.index - before.index, (double)w.status_max_us / 1000);
    char what[96];
    snprintf(what, sizeof what, "one job of %" PRIu64 " tasks on %" PRIu64 " machines", tasks,
             machines);
    bench_summary(what, "%.0f placements committed/s, %.0f started/s",
                  (double)tasks / ((double)w.assigned_us / 1e6),
                  (double)tasks / ((double)w.running_us / 1e6));
    return 0;
}
