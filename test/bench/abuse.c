/*
 * abuse.c - measure the effect of one hostile identity on another user, per attack.
 *
 *     abuse DIR [--seconds N] [ATTACK...]
 *
 * While an attack runs in a process of its own, a user sends a command every SEND_MS through
 * alternating replicas. The table shows the times to the answers, the longest turn of a master's
 * loop (its cpu time, from `loop.stalled` in the logs; "-": none above the bound at which it is
 * logged), the growth of the largest master, and elections.
 */
#include "lib/abuse_attacks.h"
#include "lib/bench.h"

#include "clock.h"
#include "cmd_pack.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SEND_MS = 20, COMMAND_MS = 5000, WARM_MS = 1000, QUIET_MS = 500 };

#define WHY_JOB "abuse-why" /* attack_whys() asks about it */

static const char usage[] = "abuse DIR [--seconds N] [ATTACK...]";

struct abuse {
    struct bench bench;
    const char *dir;
    uint64_t seconds;
    struct bench_peer peers[CELL_REPLICAS_MAX];
    size_t next_peer;
    uv_timer_t timer;
    bool measures;
    unsigned outstanding;
    uint64_t failed;
    struct samples times;
    off_t log_sizes[CELL_REPLICAS_MAX];
    uint64_t rss_kib[CELL_REPLICAS_MAX];
};

struct sent {
    struct abuse *abuse;
    uint64_t us;
    bool counts;
};

static void abuse_on_answer(void *data, const struct err *err, const void *body, size_t size)
{
    struct sent *sent = data;
    struct abuse *a = sent->abuse;
    struct wire_answer answer;
    /* It is refused because there is no such job, but only after it went through the log. */
    bool good = err == NULL && wire_unpack_answer(body, size, &answer, NULL) == 0;
    a->outstanding--;
    if (sent->counts && good)
        samples_add(&a->times, clock_mono_us() - sent->us);
    else if (sent->counts)
        a->failed++;
    free(sent);
}

static void send_one(struct abuse *a, struct rpc_conn *conn)
{
    struct buf CLEANUP(buf_release) body = {0};
    struct sent *sent = xcalloc(1, sizeof *sent);
    struct cmd cmd = bench_kill("nobody-submitted-this-either");
    *sent = (struct sent){a, clock_mono_us(), a->measures};
    int rv = cmd_pack(&cmd, &body, NULL);
    ASSERT(rv == 0);
    if (rpc_request(conn, WIRE_COMMAND, body.bytes, body.size, COMMAND_MS, abuse_on_answer, sent,
                    NULL) == 0) {
        a->outstanding++;
        return;
    }
    a->failed += a->measures;
    free(sent);
}

static void abuse_on_timer(uv_timer_t *timer)
{
    struct abuse *a = timer->data;
    size_t count = a->bench.cell.replica_count;
    for (size_t i = 0; i < count; i++)
        (void)!bench_connect(&a->bench, i, &a->peers[i], NULL); /* retried in the next round */
    struct bench_peer *peer = &a->peers[a->next_peer++ % count];
    if (peer->open)
        send_one(a, peer->conn);
    else
        a->failed += a->measures;
}

static void log_path(const struct abuse *a, size_t i, char *to, size_t size)
{
    snprintf(to, size, "%s/log/master%" PRIu64 ".log", a->dir, a->bench.cell.replicas[i].id);
}

static uint64_t status_kib(int64_t pid, const char *field)
{
    char path[64], line[256];
    uint64_t kib = 0;
    snprintf(path, sizeof path, "/proc/%" PRId64 "/status", pid);
    FILE *file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, field, strlen(field)) == 0)
            kib = strtoull(line + strlen(field), NULL, 10);
    if (file != NULL)
        fclose(file);
    return kib;
}

static void note_before(struct abuse *a, const struct bench_health *health)
{
    for (size_t i = 0; i < a->bench.cell.replica_count; i++) {
        char path[1024];
        struct stat st = {0};
        log_path(a, i, path, sizeof path);
        stat(path, &st);
        a->log_sizes[i] = st.st_size;
        a->rss_kib[i] = status_kib(health->pids[i], "VmRSS:");
    }
}

/* Return the longest turn that the masters logged since note_before(), in ms of cpu; 0: none. */
static uint64_t longest_turn_ms(const struct abuse *a)
{
    uint64_t longest = 0;
    for (size_t i = 0; i < a->bench.cell.replica_count; i++) {
        char path[1024], line[4096];
        log_path(a, i, path, sizeof path);
        FILE *file = fopen(path, "re");
        if (file == NULL || fseeko(file, a->log_sizes[i], SEEK_SET) != 0)
            bench_die("%s cannot be read", path);
        while (fgets(line, sizeof line, file) != NULL) {
            const char *cpu = strstr(line, "cpu_ms=");
            if (strstr(line, " loop.stalled ") != NULL && cpu != NULL)
                longest = MAX(longest, strtoull(cpu + strlen("cpu_ms="), NULL, 10));
        }
        fclose(file);
    }
    return longest;
}

static uint64_t growth_mib(const struct abuse *a, const struct bench_health *health)
{
    uint64_t most = 0;
    for (size_t i = 0; i < a->bench.cell.replica_count; i++) {
        uint64_t now = status_kib(health->pids[i], "VmRSS:");
        most = MAX(most, now > a->rss_kib[i] ? now - a->rss_kib[i] : 0);
    }
    return most / 1024;
}

static pid_t attack_begin(const struct abuse *a, const struct attack *attack)
{
    if (attack->run == NULL)
        return 0;
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    execl("/proc/self/exe", "abuse", a->dir, "--attack", attack->name, (char *)NULL);
    _exit(127);
}

static void attack_end(pid_t pid)
{
    int status = 0;
    if (pid == 0)
        return;
    if (waitpid(pid, &status, WNOHANG) == pid)
        bench_die("the attack ended by itself, status %d", status);
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
}

static void measure(struct abuse *a, const struct attack *attack)
{
    struct bench_health before = bench_settle(&a->bench);
    a->failed = 0;
    a->times.count = 0;
    note_before(a, &before);
    pid_t pid = attack_begin(a, attack);
    bench_pause(&a->bench, WARM_MS);
    a->measures = true;
    bench_pause(&a->bench, a->seconds * 1000);
    a->measures = false;
    uint64_t growth = growth_mib(a, &before);
    attack_end(pid);
    while (a->outstanding > 0)
        bench_turn(&a->bench);
    bench_pause(&a->bench, QUIET_MS);
    struct bench_health after = bench_settle(&a->bench);
    uint64_t turn = longest_turn_ms(a);
    char turn_text[24] = "-";
    if (turn > 0)
        snprintf(turn_text, sizeof turn_text, "%" PRIu64, turn);
    for (size_t i = 0; i < a->bench.cell.replica_count; i++)
        if (before.pids[i] != after.pids[i])
            bench_die("%s: a master died", attack->name);
    printf("| %s | %s | %.1f | %.1f | %" PRIu64 " of %zu | %s | %" PRIu64 " | %" PRIu64 " |\n",
           attack->name, attack->what, samples_ms(&a->times, 500), samples_ms(&a->times, 990),
           a->failed, a->times.count + (size_t)a->failed, turn_text, growth,
           after.term - before.term);
    fflush(stdout);
    bench_terms("abuse", 0, after.term - before.term);
}

/* Submit a job for `why` that fits nowhere, so that every machine is examined. */
static void submit_for_why(struct abuse *a)
{
    struct cmd cmd = bench_submit(WHY_JOB, 1000, RESOURCE_AMOUNT_MAX, 1 << 20);
    bench_command(&a->bench, 0, &cmd);
    cmd_release(&cmd);
}

static const struct attack *attack_find(const char *name)
{
    for (const struct attack *attack = attacks; attack->name != NULL; attack++)
        if (strcmp(attack->name, name) == 0)
            return attack;
    bench_die("there is no attack %s", name);
}

int main(int argc, char **argv)
{
    static struct abuse a = {.seconds = 10};
    int at = 2;
    if (argc < 2)
        bench_die("usage: %s", usage);
    a.dir = argv[1];
    if (argc == 4 && strcmp(argv[2], "--attack") == 0) {
        attack_find(argv[3])->run(a.dir);
        return 1;
    }
    if (argc > 3 && strcmp(argv[2], "--seconds") == 0) {
        a.seconds = bench_arg(argc, argv, 2, usage);
        at = 4;
    }
    bench_open(&a.bench, a.dir);
    bench_settle(&a.bench);
    submit_for_why(&a);
    uv_timer_init(&a.bench.loop, &a.timer);
    a.timer.data = &a;
    uv_timer_start(&a.timer, abuse_on_timer, SEND_MS, SEND_MS);
    printf("| attack | what one identity sends | p50 ms | p99 ms | unanswered | longest turn, cpu "
           "ms | "
           "growth MiB | elections |\n|---|---|---|---|---|---|---|---|\n");
    for (const struct attack *attack = attacks; attack->name != NULL && at >= argc; attack++)
        measure(&a, attack);
    for (; at < argc; at++)
        measure(&a, attack_find(argv[at]));
    struct cmd cmd = bench_kill(WHY_JOB);
    bench_command(&a.bench, 0, &cmd);
    samples_release(&a.times);
    return 0;
}
