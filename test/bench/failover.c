/*
 * failover.c - measure how long nothing can be committed after the leader dies or freezes.
 *
 *     failover DIR BORGCTL [--stop] [--count N]
 *
 * Every few milliseconds one command is sent through alternating replicas, regardless of earlier
 * outcomes. The measured time starts just before the signal and ends with the answer to the first
 * command that was sent after it and carried out. Then the dead master is restarted (`borgctl cell
 * up`), or with --stop continued (SIGCONT), and all five must agree before the next round.
 */
#include "lib/bench.h"

#include "clock.h"
#include "cmd_pack.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SEND_MS = 5,
    COMMAND_MS = 1000,
    RECONNECT_MS = 50,
    WARM_MS = 300,
    FAILOVER_MS = 30000,
    PAUSE_MS = 500 /* pause in a healthy cell before the next round */
};

static const char usage[] = "failover DIR BORGCTL [--stop] [--count N]";

struct line {
    struct bench_peer peer;
    uint64_t tried_ms;
};

struct failover {
    struct bench bench;
    char *dir, *borgctl;
    bool stop;
    struct line lines[CELL_REPLICAS_MAX];
    size_t next_line;
    uv_timer_t timer;
    bool sending;
    uint64_t number;
    unsigned outstanding;
    uint64_t hit_us;   /* time of the signal; 0: not yet */
    uint64_t first_us; /* time of the awaited answer; 0: not yet */
    uint64_t committed, failed;
    /* terms started until a command was committed; more than one means a split vote */
    uint64_t elections;
    uint64_t spurious; /* terms started later, after recovery */
    struct samples gaps;
};

struct sent {
    struct failover *failover;
    uint64_t us;
};

static void failover_on_answer(void *data, const struct err *err, const void *body, size_t size)
{
    struct sent *sent = data;
    struct failover *f = sent->failover;
    struct wire_answer answer;
    bool good =
        err == NULL && wire_unpack_answer(body, size, &answer, NULL) == 0 && answer.code == ERR_OK;
    f->outstanding--;
    f->committed += good;
    f->failed += !good;
    if (good && f->hit_us != 0 && f->first_us == 0 && sent->us >= f->hit_us)
        f->first_us = clock_mono_us();
    free(sent);
}

static void line_connect(struct failover *f, size_t i)
{
    struct line *line = &f->lines[i];
    uint64_t now_ms = clock_mono_ms();
    if (line->peer.conn != NULL || now_ms - line->tried_ms < RECONNECT_MS)
        return;
    line->tried_ms = now_ms;
    (void)!bench_connect(&f->bench, i, &line->peer, NULL);
}

/* Submit a job that fits nowhere. It is not killed, because there are few of them. */
static void send_one(struct failover *f, struct rpc_conn *conn)
{
    struct buf CLEANUP(buf_release) body = {0};
    char name[CELL_NAME_MAX + 1];
    struct sent *sent = xcalloc(1, sizeof *sent);
    snprintf(name, sizeof name, "failover-%d-%" PRIu64, f->stop, f->number++);
    struct cmd cmd = bench_submit(name, 1, RESOURCE_AMOUNT_MAX, INT64_C(1) << 20);
    *sent = (struct sent){f, clock_mono_us()};
    int rv = cmd_pack(&cmd, &body, NULL);
    ASSERT(rv == 0);
    cmd_release(&cmd);
    rv = rpc_request(conn, WIRE_COMMAND, body.bytes, body.size, COMMAND_MS, failover_on_answer,
                     sent, NULL);
    if (rv == 0)
        f->outstanding++;
    else
        free(sent);
}

static void failover_on_timer(uv_timer_t *timer)
{
    struct failover *f = timer->data;
    size_t count = f->bench.cell.replica_count;
    if (!f->sending)
        return;
    for (size_t i = 0; i < count; i++)
        line_connect(f, i);
    for (size_t tried = 0; tried < count; tried++) {
        struct line *line = &f->lines[f->next_line++ % count];
        if (line->peer.open) {
            send_one(f, line->peer.conn);
            return;
        }
    }
}

static void master_back(struct failover *f, int64_t pid)
{
    char *up[] = {f->borgctl, "cell", "up", "--dir", f->dir, "-q", NULL};
    if (f->stop) {
        kill((pid_t)pid, SIGCONT);
        return;
    }
    int rc = bench_run(up, NULL);
    if (rc != 0)
        bench_die("borgctl cell up: exit code %d", rc);
}

/* Return the newest term that any replica but `except` knows. */
static uint64_t term_now(struct failover *f, size_t except)
{
    uint64_t term = 0;
    for (size_t i = 0; i < f->bench.cell.replica_count; i++) {
        struct wire_status s;
        struct err err;
        if (i != except && bench_status(&f->bench, i, &s, &err) == 0)
            term = MAX(term, s.term);
    }
    return term;
}

/* Run one round in a cell with the health `before`; return its health afterwards. */
static struct bench_health round_run(struct failover *f, struct bench_health before)
{
    bench_pause(&f->bench, PAUSE_MS);
    f->hit_us = f->first_us = 0;
    f->sending = true;
    bench_pause(&f->bench, WARM_MS);
    int64_t pid = before.pids[before.leader];
    f->hit_us = clock_mono_us();
    if (kill((pid_t)pid, f->stop ? SIGSTOP : SIGKILL) != 0)
        bench_die("the leader, process %" PRId64 ", is gone", pid);
    while (f->first_us == 0) {
        if (clock_mono_us() - f->hit_us > UINT64_C(1000) * FAILOVER_MS)
            bench_die("nothing was committed for %d s", FAILOVER_MS / 1000);
        bench_turn(&f->bench);
    }
    samples_add(&f->gaps, f->first_us - f->hit_us);
    f->sending = false;
    uint64_t term = term_now(f, before.leader);
    f->elections += term - before.term;
    master_back(f, pid);
    while (f->outstanding > 0)
        bench_turn(&f->bench);
    struct bench_health after = bench_settle(&f->bench);
    f->spurious += after.term - term;
    return after;
}

/* Print how many gaps lie between consecutive bounds. */
static void print_distribution(struct failover *f)
{
    static const unsigned bounds_ms[] = {300, 400, 500, 600, 700, 1000, 1500, FAILOVER_MS};
    size_t at = 0;
    printf("\nOf these");
    for (size_t b = 0; b < ARRAY_SIZE(bounds_ms); b++) {
        size_t from = at;
        while (at < f->gaps.count && f->gaps.us[at] < UINT64_C(1000) * bounds_ms[b])
            at++;
        if (at > from)
            printf("%s %zu under %u ms", from == 0 ? "" : ",", at - from, bounds_ms[b]);
    }
    printf(".\n");
}

static void print(struct failover *f, uint64_t count, size_t leader)
{
    const char *what = f->stop ? "SIGSTOP of the leader" : "kill -9 of the leader";
    struct bench_size size = bench_size(&f->bench, leader);
    double p50 = samples_ms(&f->gaps, 500), p99 = samples_ms(&f->gaps, 990);
    printf("| %s | cell | p50 ms | p90 ms | p99 ms | max ms | elections held | "
           "elections without cause | commands committed | "
           "commands refused or not answered in %d ms |\n"
           "|---|---|---|---|---|---|---|---|---|---|\n",
           what, COMMAND_MS);
    printf("| %" PRIu64 " times | %s | %.0f | %.0f | %.0f | %.0f | %" PRIu64 " | %" PRIu64
           " | %" PRIu64 " | %" PRIu64 " |\n",
           count, size.text, p50, samples_ms(&f->gaps, 900), p99, samples_ms(&f->gaps, 1000),
           f->elections, f->spurious, f->committed, f->failed);
    print_distribution(f);
    bench_terms(f->stop ? "freeze" : "failover", f->elections, f->elections + f->spurious);
    char text[160];
    snprintf(text, sizeof text, "%s until the next command is committed, %s", what, size.text);
    bench_summary(text, "p50 %.0f ms, p99 %.0f ms, max %.0f ms of %" PRIu64, p50, p99,
                  samples_ms(&f->gaps, 1000), count);
}

int main(int argc, char **argv)
{
    static struct failover f;
    uint64_t count = 20;
    if (argc < 3)
        bench_die("usage: %s", usage);
    f.dir = argv[1];
    f.borgctl = argv[2];
    for (int i = 3; i < argc; i++) {
        if (strcmp(argv[i], "--stop") == 0)
            f.stop = true;
        else if (strcmp(argv[i], "--count") == 0)
            count = bench_arg(argc, argv, i++, usage);
        else
            bench_die("usage: %s", usage);
    }
    bench_open(&f.bench, f.dir);
    uv_timer_init(&f.bench.loop, &f.timer);
    f.timer.data = &f;
    uv_timer_start(&f.timer, failover_on_timer, SEND_MS, SEND_MS);
    struct bench_health health = bench_settle(&f.bench);
    for (uint64_t i = 0; i < count; i++)
        health = round_run(&f, health);
    print(&f, count, health.leader);
    return 0;
}
