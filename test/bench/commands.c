/*
 * commands.c - measure committed commands per second and their latency.
 *
 *     commands DIR [--seconds N]
 *
 * Each client has one connection and one outstanding command: the submit of a job that fits
 * nowhere, then its kill, and so on. Either all clients talk to the leader, or they are spread over
 * all replicas as users are. A command counts when its answer says that it was carried out.
 */
#include "lib/bench.h"

#include "clock.h"
#include "cmd_pack.h"

#include <stdio.h>
#include <string.h>

enum { CLIENTS = 64, CLIENTS_MAX = 1024, FSYNCS = 200 };

static const char usage[] = "commands DIR [--seconds N]";

struct load;

struct client {
    struct load *load;
    struct rpc_conn *conn;
    bool open;
    unsigned number;
    uint64_t sent_us;
    uint64_t sent_count;
    char job[CELL_NAME_MAX + 1]; /* the job to kill next; "" if there is none */
};

struct load {
    struct bench *bench;
    const char *name;
    struct client clients[CLIENTS_MAX];
    unsigned client_count;
    unsigned open_count, outstanding;
    bool stopping;
    struct samples latency;
};

static uint64_t run_number;

static void client_send(struct client *c);

static void commands_on_answer(void *data, const struct err *err, const void *body, size_t size)
{
    struct client *c = data;
    struct wire_answer answer;
    struct err own;
    c->load->outstanding--;
    if (err != NULL)
        bench_die("client %u: %s", c->number, err->msg);
    if (wire_unpack_answer(body, size, &answer, &own) != 0)
        bench_die("client %u: %s", c->number, own.msg);
    if (answer.code != ERR_OK)
        bench_die("client %u: %s", c->number, answer.msg);
    samples_add(&c->load->latency, clock_mono_us() - c->sent_us);
    /* The last command is a kill, so that no job is pending in the next measurement. */
    if (!c->load->stopping || c->job[0] != '\0')
        client_send(c);
}

static void client_send(struct client *c)
{
    struct buf CLEANUP(buf_release) body = {0};
    struct cmd cmd;
    struct err err;
    if (c->job[0] != '\0') {
        cmd = bench_kill(c->job);
        c->job[0] = '\0';
    } else {
        snprintf(c->job, sizeof c->job, "load-%" PRIu64 "-%u-%" PRIu64, run_number, c->number,
                 c->sent_count);
        cmd = bench_submit(c->job, 1, RESOURCE_AMOUNT_MAX, INT64_C(1) << 20);
    }
    c->sent_count++;
    int rv = cmd_pack(&cmd, &body, &err);
    cmd_release(&cmd);
    c->sent_us = clock_mono_us();
    if (rv == 0)
        rv = rpc_request(c->conn, WIRE_COMMAND, body.bytes, body.size, BENCH_CALL_MS,
                         commands_on_answer, c, &err);
    if (rv != 0)
        bench_die("client %u: %s", c->number, err.msg);
    c->load->outstanding++;
}

static void commands_on_open(struct rpc_conn *conn)
{
    struct client *c = rpc_data(conn);
    c->open = true;
    c->load->open_count++;
}

static void commands_on_close(struct rpc_conn *conn, const struct err *why)
{
    struct client *c = rpc_data(conn);
    c->conn = NULL;
    c->load->open_count--;
    if (!c->open)
        bench_die("client %u: %s", c->number, why->msg);
}

static void load_open(struct load *load, bool spread, size_t leader)
{
    struct bench *b = load->bench;
    struct err err;
    for (unsigned i = 0; i < load->client_count; i++) {
        struct client *c = &load->clients[i];
        struct rpc_options options = {.loop = &b->loop,
                                      .tls = b->tls,
                                      .data = c,
                                      .on_open = commands_on_open,
                                      .on_close = commands_on_close};
        *c = (struct client){.load = load, .number = i};
        size_t to = spread ? i % b->cell.replica_count : leader;
        if (rpc_connect(&options, b->cell.replicas[to].rpc, NULL, &c->conn, &err) != 0)
            bench_die("%s", err.msg);
        /* Limit concurrent handshakes, which cost both sides processor time. */
        while ((i + 1) % CLIENTS == 0 && load->open_count <= i)
            bench_turn(b);
    }
    while (load->open_count < load->client_count)
        bench_turn(b);
}

static void load_close(struct load *load)
{
    for (unsigned i = 0; i < load->client_count; i++)
        rpc_close(load->clients[i].conn);
    while (load->open_count > 0)
        bench_turn(load->bench);
}

static uint64_t cpu_of_all(const struct bench *b, const struct bench_health *health)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < b->cell.replica_count; i++)
        sum += cpu_ms(health->pids[i]);
    return sum;
}

static void load_run(struct bench *b, const char *name, unsigned clients, bool spread,
                     uint64_t seconds)
{
    static struct load load;
    load = (struct load){.bench = b, .name = name, .client_count = clients};
    struct bench_health before = bench_settle(b);
    run_number++;
    load_open(&load, spread, before.leader);
    uint64_t cpu_leader = cpu_ms(before.pids[before.leader]);
    uint64_t cpu_all = cpu_of_all(b, &before);
    uint64_t from_us = clock_mono_us();
    for (unsigned i = 0; i < clients; i++)
        client_send(&load.clients[i]);
    while (clock_mono_us() - from_us < seconds * 1000000)
        bench_turn(b);
    size_t count = load.latency.count;
    double took_s = (double)(clock_mono_us() - from_us) / 1e6;
    cpu_leader = cpu_ms(before.pids[before.leader]) - cpu_leader;
    cpu_all = cpu_of_all(b, &before) - cpu_all;
    load.stopping = true;
    while (load.outstanding > 0)
        bench_turn(b);
    load_close(&load);
    struct bench_health after = bench_settle(b);
    bench_terms("commands", 0, after.term - before.term);
    double rate = (double)count / took_s;
    printf("| %u %s | %.0f | %.2f | %.2f | %.2f | %.1f | %.0f | %.0f |\n", clients, name, rate,
           samples_ms(&load.latency, 500), samples_ms(&load.latency, 990),
           samples_ms(&load.latency, 1000),
           (double)load.latency.count / (double)(after.index - before.index),
           (double)cpu_leader * 1000 / (double)count, (double)cpu_all * 1000 / (double)count);
    fflush(stdout);
    char text[96];
    snprintf(text, sizeof text, "committed commands/s, %u client%s %s", clients,
             clients == 1 ? "" : "s", name);
    bench_summary(text, "%.0f, p50 %.1f ms, p99 %.1f ms", rate, samples_ms(&load.latency, 500),
                  samples_ms(&load.latency, 990));
    samples_release(&load.latency);
}

int main(int argc, char **argv)
{
    struct bench b;
    uint64_t seconds = 10;
    if (argc != 2 && !(argc == 4 && strcmp(argv[2], "--seconds") == 0))
        bench_die("usage: %s", usage);
    if (argc == 4)
        seconds = bench_arg(argc, argv, 2, usage);
    bench_open(&b, argv[1]);
    printf("| clients | commands/s | p50 ms | p99 ms | max ms | commands per Raft entry | "
           "leader CPU us per command | all masters CPU us per command |\n"
           "|---|---|---|---|---|---|---|---|\n");
    load_run(&b, "at the leader", 1, false, MAX(UINT64_C(1), seconds / 2));
    load_run(&b, "at the leader", CLIENTS, false, seconds);
    load_run(&b, "at the leader", CLIENTS_MAX, false, seconds);
    load_run(&b, "over all replicas", CLIENTS, true, seconds);
    printf("\nAppending 4 KiB to a file and fdatasync: p50 %.2f ms on this disk, now idle.\n",
           bench_fdatasync_ms(argv[1], FSYNCS));
    return 0;
}
