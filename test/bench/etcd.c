/*
 * etcd.c - for comparison: committed puts per second of five etcd members on this machine.
 *
 *     etcd DIR [--seconds N]
 *
 * Starts five members with their data in DIR, on loopback and with etcd's defaults, and puts values
 * of 128 bytes at the leader in the way commands.c submits: each client has one connection and one
 * outstanding request. The connections are plain HTTP/1.1 with keep-alive, without encryption: once
 * to the v2 API, which has the shortest path into etcd's log, and once to the v3 JSON gateway,
 * which translates to gRPC inside etcd.
 */
#include "lib/bench.h"

#include "clock.h"

#include <arpa/inet.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum {
    MEMBERS = 5,
    CLIENTS_MAX = 1024,
    VALUE_BYTES = 128,
    READY_MS = 30000,
    LOOK_MS = 100,
    WARM_MS = 500,
    REQUEST_BYTES = 512,
    ANSWER_BYTES = 4096,
    KEYS = 1000
};

static const char usage[] = "etcd DIR [--seconds N]";

struct client {
    struct load *load;
    uv_tcp_t tcp;
    uv_connect_t connect;
    uv_write_t write;
    unsigned number;
    uint64_t sent_us, sent_count;
    char request[REQUEST_BYTES];
    char answer[ANSWER_BYTES];
    size_t got;
};

struct load {
    uv_loop_t loop;
    uv_timer_t end;
    struct client clients[CLIENTS_MAX];
    unsigned client_count, closed;
    bool v3;
    bool measuring, stopping;
    struct samples latency;
};

static pid_t pids[MEMBERS];
static int ports[2 * MEMBERS]; /* of clients, then of peers */
static struct load load;

static void members_stop(void)
{
    for (int i = 0; i < MEMBERS; i++)
        if (pids[i] > 0)
            kill(pids[i], SIGKILL);
    for (int i = 0; i < MEMBERS; i++)
        if (pids[i] > 0)
            waitpid(pids[i], NULL, 0);
}

/* Find ports that are free at present. */
static void ports_find(void)
{
    int fds[2 * MEMBERS];
    for (int i = 0; i < 2 * MEMBERS; i++) {
        struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
        socklen_t size = sizeof addr;
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fds[i] < 0 || bind(fds[i], (struct sockaddr *)&addr, sizeof addr) != 0 ||
            getsockname(fds[i], (struct sockaddr *)&addr, &size) != 0)
            bench_die("no free port");
        ports[i] = ntohs(addr.sin_port);
    }
    for (int i = 0; i < 2 * MEMBERS; i++)
        close(fds[i]);
}

static void member_start(const char *dir, int i)
{
    char name[16], data[CELL_PATH_MAX], client[64], peer[64];
    struct buf CLEANUP(buf_release) all = {0};
    snprintf(name, sizeof name, "e%d", i);
    snprintf(data, sizeof data, "%s/%s", dir, name);
    snprintf(client, sizeof client, "http://127.0.0.1:%d", ports[i]);
    snprintf(peer, sizeof peer, "http://127.0.0.1:%d", ports[MEMBERS + i]);
    for (int k = 0; k < MEMBERS; k++)
        buf_printf(&all, "%se%d=http://127.0.0.1:%d", k == 0 ? "" : ",", k, ports[MEMBERS + k]);
    char *argv[] = {"etcd",
                    "--name",
                    name,
                    "--data-dir",
                    data,
                    "--listen-client-urls",
                    client,
                    "--advertise-client-urls",
                    client,
                    "--listen-peer-urls",
                    peer,
                    "--initial-advertise-peer-urls",
                    peer,
                    "--initial-cluster",
                    (char *)buf_text(&all),
                    "--enable-v2",
                    "--logger",
                    "zap",
                    "--log-level",
                    "fatal",
                    NULL};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    int rc = posix_spawnp(&pids[i], argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (rc != 0)
        bench_die("etcd: %s", strerror(rc));
}

/* Return whether the member says that it leads. Blocks; opens one connection per call. */
static bool member_leads(int i)
{
    static const char ask[] = "GET /v2/stats/self HTTP/1.0\r\n\r\n";
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_port = htons((uint16_t)ports[i]),
                               .sin_addr = {htonl(INADDR_LOOPBACK)}};
    char text[ANSWER_BYTES];
    size_t got = 0;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&addr, sizeof addr) == 0 &&
        write(fd, ask, sizeof ask - 1) == (ssize_t)sizeof ask - 1)
        for (ssize_t n;
             got < sizeof text - 1 && (n = read(fd, text + got, sizeof text - 1 - got)) > 0;)
            got += (size_t)n;
    close(fd);
    text[got] = '\0';
    return strstr(text, "\"StateLeader\"") != NULL;
}

static int leader_wait(void)
{
    uint64_t until_ms = clock_mono_ms() + READY_MS;
    while (clock_mono_ms() < until_ms) {
        for (int i = 0; i < MEMBERS; i++)
            if (member_leads(i))
                return i;
        usleep(LOOK_MS * 1000); /* tidy: waits for five foreign processes, before there is a loop */
    }
    bench_die("etcd has no leader after %d s", READY_MS / 1000);
}

static void client_send(struct client *c);

static void etcd_on_written(uv_write_t *write, int status)
{
    (void)write;
    if (status < 0 && status != UV_ECANCELED)
        bench_die("etcd: %s", uv_strerror(status));
}

static void etcd_on_closed(uv_handle_t *handle)
{
    struct client *c = handle->data;
    c->load->closed++;
}

/* The answer is complete when its body has the length given in its header. */
static bool answer_complete(struct client *c)
{
    c->answer[c->got] = '\0';
    const char *body = strstr(c->answer, "\r\n\r\n");
    const char *length = strstr(c->answer, "Content-Length: ");
    if (body == NULL)
        return false;
    if (length == NULL || length > body || strncmp(c->answer, "HTTP/1.1 20", 11) != 0)
        bench_die("etcd answers %.200s", c->answer);
    size_t size = (size_t)(body + 4 - c->answer) + strtoul(length + 16, NULL, 10);
    ASSERT(size < sizeof c->answer);
    return c->got >= size;
}

static void etcd_on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct client *c = handle->data;
    (void)suggested;
    *buf = uv_buf_init(c->answer + c->got, (unsigned)(sizeof c->answer - 1 - c->got));
}

static void etcd_on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct client *c = stream->data;
    (void)buf;
    if (n < 0)
        bench_die("etcd: %s", uv_strerror((int)n));
    c->got += (size_t)n;
    if (!answer_complete(c))
        return;
    if (c->load->measuring)
        samples_add(&c->load->latency, clock_mono_us() - c->sent_us);
    if (c->load->stopping)
        uv_close((uv_handle_t *)&c->tcp, etcd_on_closed);
    else
        client_send(c);
}

static int request_v2(struct client *c, uint64_t key)
{
    static char value[VALUE_BYTES + 1];
    memset(value, 'v', VALUE_BYTES);
    return snprintf(c->request, sizeof c->request,
                    "PUT /v2/keys/load/%u-%" PRIu64 " HTTP/1.1\r\nHost: etcd\r\n"
                    "Content-Type: application/x-www-form-urlencoded\r\n"
                    "Content-Length: %d\r\n\r\nvalue=%s",
                    c->number, key, VALUE_BYTES + 6, value);
}

/* Keys and values are base64; groups of four digits and letters are valid base64 unchanged. */
static int request_v3(struct client *c, uint64_t key)
{
    static char value[VALUE_BYTES / 3 * 4 + 1];
    char body[REQUEST_BYTES];
    memset(value, 'v', sizeof value - 1);
    int size = snprintf(body, sizeof body, "{\"key\":\"%08u%08" PRIu64 "\",\"value\":\"%s\"}",
                        c->number, key, value);
    return snprintf(c->request, sizeof c->request,
                    "POST /v3/kv/put HTTP/1.1\r\nHost: etcd\r\nContent-Length: %d\r\n\r\n%s", size,
                    body);
}

static void client_send(struct client *c)
{
    uint64_t key = c->sent_count++ % KEYS;
    int n = c->load->v3 ? request_v3(c, key) : request_v2(c, key);
    uv_buf_t buf = uv_buf_init(c->request, (unsigned)n);
    ASSERT(n < REQUEST_BYTES);
    c->got = 0;
    c->sent_us = clock_mono_us();
    uv_write(&c->write, (uv_stream_t *)&c->tcp, &buf, 1, etcd_on_written);
}

static void etcd_on_connected(uv_connect_t *connect, int status)
{
    struct client *c = connect->data;
    if (status < 0)
        bench_die("etcd: %s", uv_strerror(status));
    uv_tcp_nodelay(&c->tcp, 1);
    uv_read_start((uv_stream_t *)&c->tcp, etcd_on_alloc, etcd_on_read);
    client_send(c);
}

static void etcd_on_end(uv_timer_t *timer)
{
    uv_stop(timer->loop);
}

static void load_wait(uint64_t ms)
{
    uv_timer_start(&load.end, etcd_on_end, ms, 0);
    uv_run(&load.loop, UV_RUN_DEFAULT);
}

static void load_run(int leader, bool v3, unsigned clients, uint64_t seconds)
{
    struct sockaddr_in addr;
    uv_ip4_addr("127.0.0.1", ports[leader], &addr);
    load = (struct load){.client_count = clients, .v3 = v3};
    uv_loop_init(&load.loop);
    uv_timer_init(&load.loop, &load.end);
    for (unsigned i = 0; i < clients; i++) {
        struct client *c = &load.clients[i];
        c->load = &load;
        c->number = i;
        uv_tcp_init(&load.loop, &c->tcp);
        c->tcp.data = c->connect.data = c;
        uv_tcp_connect(&c->connect, &c->tcp, (struct sockaddr *)&addr, etcd_on_connected);
    }
    load_wait(WARM_MS);
    load.measuring = true;
    uint64_t from_us = clock_mono_us();
    load_wait(seconds * 1000);
    double took_s = (double)(clock_mono_us() - from_us) / 1e6;
    double rate = (double)load.latency.count / took_s;
    load.measuring = false;
    load.stopping = true;
    while (load.closed < clients)
        uv_run(&load.loop, UV_RUN_ONCE);
    double p50 = samples_ms(&load.latency, 500), p99 = samples_ms(&load.latency, 990);
    const char *api = v3 ? "v3" : "v2";
    printf("| %u, %s | %.0f | %.2f | %.2f | %.2f |\n", clients, api, rate, p50, p99,
           samples_ms(&load.latency, 1000));
    fflush(stdout);
    char text[64];
    snprintf(text, sizeof text, "etcd %s puts/s, %u client%s", api, clients,
             clients == 1 ? "" : "s");
    bench_summary(text, "%.0f, p50 %.1f ms, p99 %.1f ms", rate, p50, p99);
    samples_release(&load.latency);
}

int main(int argc, char **argv)
{
    uint64_t seconds = 10;
    if (argc != 2 && !(argc == 4 && strcmp(argv[2], "--seconds") == 0))
        bench_die("usage: %s", usage);
    if (argc == 4)
        seconds = bench_arg(argc, argv, 2, usage);
    signal(SIGPIPE, SIG_IGN);
    atexit(members_stop);
    ports_find();
    for (int i = 0; i < MEMBERS; i++)
        member_start(argv[1], i);
    int leader = leader_wait();
    printf(
        "| clients at the leader | puts/s | p50 ms | p99 ms | max ms |\n|---|---|---|---|---|\n");
    for (int v3 = 0; v3 <= 1; v3++) {
        load_run(leader, v3 != 0, 1, MAX(UINT64_C(1), seconds / 2));
        load_run(leader, v3 != 0, 64, seconds);
        load_run(leader, v3 != 0, CLIENTS_MAX, seconds);
    }
    return 0;
}
