/*
 * swarm.c - many borglets in one process: real connections and certificates, made-up tasks.
 *
 *     swarm DIR COUNT [--pki DIR2]
 *
 * Machines sim1 ... simCOUNT join the cell in DIR. A task runs as soon as it is told to, with a
 * pid that is made up, and ends as soon as it is told to stop. Prints `linked COUNT` when every
 * machine is driven by a replica; stays until SIGTERM, then prints what it was told and how often
 * it had to reconnect. Certificates are written to DIR2 (must hold a copy of the CA; a directory in
 * memory saves thousands of fsyncs).
 */
#include "lib/bench.h"

#include "clock.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum {
    OPENING_MAX = 48, /* handshakes under way: each has STREAM_OPEN_TIMEOUT_MS */
    RETRY_MS = 200,
    HELLO_MS = 5000,
    PID_FIRST = 100000,
};

static const char usage[] = "swarm DIR COUNT [--pki DIR2]";

struct swarm;

struct sim {
    struct swarm *swarm;
    uint32_t number;
    struct tls_context *tls;
    struct rpc_conn *conn;
    bool opening;
    bool linked;
    uint32_t turns; /* replicas tried so far */
    uint64_t seen_index;
    struct report *records; /* of every attempt it has */
    uint32_t record_count, record_capacity;
    uv_timer_t timer; /* linked: the heartbeat; else: the next try */
};

struct swarm {
    uv_loop_t loop;
    struct cell_file cell;
    struct resources capacity;
    struct sim *sims;
    uint32_t count;
    uint32_t linked;
    uint32_t opening;
    bool told; /* `linked COUNT` was printed */
    uint64_t run_count, stop_count, forget_count, lost_links;
    int32_t next_pid;
    struct buf body;      /* scratch */
    struct report *fresh; /* scratch: what one message of intents brought */
    uint32_t fresh_count, fresh_capacity;
};

static bool same_attempt(struct attempt_ref a, struct attempt_ref b)
{
    return a.task.v == b.task.v && a.attempt == b.attempt;
}

static struct report *record_find(struct sim *sim, struct attempt_ref ref)
{
    for (uint32_t i = 0; i < sim->record_count; i++)
        if (same_attempt(sim->records[i].task, ref))
            return &sim->records[i];
    return NULL;
}

static void records_add(struct report **items, uint32_t *count, uint32_t *capacity,
                        const struct report *item)
{
    if (*count == *capacity) {
        *capacity = MAX(16U, *capacity * 2);
        *items = xrealloc(*items, *capacity, sizeof **items);
    }
    (*items)[(*count)++] = *item;
}

static void tell(struct swarm *w, const struct report *report)
{
    records_add(&w->fresh, &w->fresh_count, &w->fresh_capacity, report);
}

static void sim_run(struct sim *sim, struct attempt_ref ref)
{
    struct report running = {.task = ref, .kind = REPORT_RUNNING, .pid = sim->swarm->next_pid++};
    const struct report *known = record_find(sim, ref);
    sim->swarm->run_count++;
    if (known == NULL)
        records_add(&sim->records, &sim->record_count, &sim->record_capacity, &running);
    tell(sim->swarm, known != NULL ? known : &running);
}

static void sim_stop(struct sim *sim, struct attempt_ref ref)
{
    struct report *known = record_find(sim, ref);
    sim->swarm->stop_count++;
    if (known == NULL)
        return;
    known->kind = REPORT_EXITED;
    known->exit_code = -SIGTERM;
    tell(sim->swarm, known);
}

static void sim_forget(struct sim *sim, struct attempt_ref ref)
{
    struct report *known = record_find(sim, ref);
    sim->swarm->forget_count++;
    if (known != NULL)
        *known = sim->records[--sim->record_count];
}

static bool listed(const struct wire_intents *intents, struct attempt_ref ref)
{
    for (uint32_t i = 0; i < intents->intent_count; i++)
        if (same_attempt(intents->intents[i].task, ref))
            return true;
    return false;
}

static void sim_report(struct sim *sim, struct report *reports, uint32_t count)
{
    struct wire_reports body = {.reports = reports, .report_count = count};
    buf_clear(&sim->swarm->body);
    wire_pack_reports(&sim->swarm->body, &body);
    if (rpc_notify(sim->conn, WIRE_REPORT, sim->swarm->body.bytes, sim->swarm->body.size) != 0)
        rpc_close(sim->conn);
}

static void on_intend(struct rpc_conn *conn, struct rpc_call *call, const void *body, size_t size)
{
    struct sim *sim = rpc_data(conn);
    struct wire_intents intents;
    struct err err;
    ASSERT(call == NULL);
    if (wire_unpack_intents(body, size, &intents, &err) != 0)
        bench_die("sim%" PRIu32 ": intents: %s", sim->number, err.msg);
    sim->swarm->fresh_count = 0;
    if (intents.index >= sim->seen_index) {
        sim->seen_index = intents.index;
        for (uint32_t i = 0; i < intents.intent_count; i++) {
            const struct intent *it = &intents.intents[i];
            if (it->action == INTENT_RUN)
                sim_run(sim, it->task);
            else if (it->action == INTENT_STOP)
                sim_stop(sim, it->task);
            else
                sim_forget(sim, it->task);
        }
        for (uint32_t i = sim->record_count; intents.full && i-- > 0;)
            if (!listed(&intents, sim->records[i].task))
                sim_forget(sim, sim->records[i].task);
        if (sim->swarm->fresh_count > 0)
            sim_report(sim, sim->swarm->fresh, sim->swarm->fresh_count);
    }
    wire_intents_release(&intents);
}

static const struct rpc_method methods[] = {
    {WIRE_INTEND, "intend", BIT(ROLE_MASTER), on_intend},
};

static void on_heartbeat(uv_timer_t *timer)
{
    struct sim *sim = timer->data;
    if (sim->conn != NULL)
        sim_report(sim, NULL, 0);
}

static void on_welcome(void *data, const struct err *err, const void *body, size_t size)
{
    struct sim *sim = data;
    struct swarm *w = sim->swarm;
    struct wire_welcome welcome;
    struct err own;
    if (sim->conn == NULL)
        return;
    if (err == NULL && wire_unpack_welcome(body, size, &welcome, &own) != 0)
        err = &own;
    if (err != NULL) {
        rpc_close(sim->conn);
        return;
    }
    sim->opening = false;
    w->opening--;
    sim->linked = true;
    w->linked++;
    /* Spread over the second, so that the heartbeats do not come at once. */
    uv_timer_start(&sim->timer, on_heartbeat, sim->number * 7919 % welcome.heartbeat_ms,
                   welcome.heartbeat_ms);
    if (w->linked == w->count && !w->told) {
        w->told = true;
        printf("linked %" PRIu32 "\n", w->count);
        fflush(stdout);
    }
}

static void on_open(struct rpc_conn *conn)
{
    struct sim *sim = rpc_data(conn);
    struct wire_hello hello = {.addr = "127.0.0.1:9",
                               .capacity = sim->swarm->capacity,
                               .seen_index = sim->seen_index,
                               .reports = sim->records,
                               .report_count = sim->record_count};
    struct err err;
    snprintf(hello.name, sizeof hello.name, "sim%" PRIu32, sim->number);
    buf_clear(&sim->swarm->body);
    wire_pack_hello(&sim->swarm->body, &hello);
    if (rpc_request(conn, WIRE_HELLO, sim->swarm->body.bytes, sim->swarm->body.size, HELLO_MS,
                    on_welcome, sim, &err) != 0)
        rpc_close(conn);
}

static void on_retry(uv_timer_t *timer);

static void sim_retry(struct sim *sim)
{
    uv_timer_start(&sim->timer, on_retry, RETRY_MS, 0);
}

static void on_close(struct rpc_conn *conn, const struct err *why)
{
    struct sim *sim = rpc_data(conn);
    (void)why;
    if (sim->opening)
        sim->swarm->opening--;
    if (sim->linked) {
        sim->swarm->linked--;
        sim->swarm->lost_links++;
    }
    sim->opening = false;
    sim->linked = false;
    sim->conn = NULL;
    sim_retry(sim);
}

static void on_retry(uv_timer_t *timer)
{
    struct sim *sim = timer->data;
    struct swarm *w = sim->swarm;
    struct err err;
    struct rpc_options options = {.loop = &w->loop,
                                  .tls = sim->tls,
                                  .methods = methods,
                                  .method_count = ARRAY_SIZE(methods),
                                  .data = sim,
                                  .on_open = on_open,
                                  .on_close = on_close};
    size_t at = (sim->number + sim->turns) % w->cell.replica_count;
    if (w->opening >= OPENING_MAX) {
        uv_timer_start(&sim->timer, on_retry, 1 + sim->number % 20, 0);
        return;
    }
    sim->turns++;
    if (rpc_connect(&options, w->cell.replicas[at].rpc, NULL, &sim->conn, &err) != 0) {
        sim->conn = NULL;
        sim_retry(sim);
        return;
    }
    sim->opening = true;
    w->opening++;
}

static void sim_init(struct swarm *w, uint32_t number, const char *pki)
{
    struct sim *sim = &w->sims[number - 1];
    struct identity self = {.role = ROLE_BORGLET};
    char file[32], cert[CELL_PATH_MAX + 64], key[CELL_PATH_MAX + 64];
    struct err err;
    sim->swarm = w;
    sim->number = number;
    snprintf(self.name, sizeof self.name, "sim%" PRIu32, number);
    snprintf(file, sizeof file, "borglet-sim%" PRIu32, number);
    snprintf(cert, sizeof cert, "%s/%s.crt", pki, file);
    snprintf(key, sizeof key, "%s/%s.key", pki, file);
    if (pki_make_cert(pki, file, &self, &err) != 0 ||
        tls_context_open(w->cell.ca_path, cert, key, &sim->tls, &err) != 0)
        bench_die("%s: %s", self.name, err.msg);
    uv_timer_init(&w->loop, &sim->timer);
    sim->timer.data = sim;
    uv_timer_start(&sim->timer, on_retry, number / 8, 0);
}

static void on_signal(uv_signal_t *handle, int signum)
{
    struct swarm *w = handle->data;
    (void)signum;
    printf("told run=%" PRIu64 " stop=%" PRIu64 " forget=%" PRIu64 " links lost=%" PRIu64 "\n",
           w->run_count, w->stop_count, w->forget_count, w->lost_links);
    fflush(stdout);
    _exit(0);
}

static void files_raise(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        bench_die("getrlimit: %s", strerror(errno));
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        bench_die("setrlimit: %s", strerror(errno));
}

int main(int argc, char **argv)
{
    struct swarm w = {.next_pid = PID_FIRST};
    struct err err;
    uv_signal_t sigterm;
    char path[CELL_PATH_MAX + 32];
    if (argc < 3)
        bench_die("usage: %s", usage);
    char pki[CELL_PATH_MAX + 32];
    snprintf(pki, sizeof pki, "%s/pki", argv[1]);
    w.count = (uint32_t)bench_arg(argc, argv, 1, usage);
    w.capacity = (struct resources){{8000, INT64_C(32) << 30, INT64_C(1) << 40, 1000}};
    for (int i = 3; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--pki") == 0)
            str_copy(pki, sizeof pki, argv[i + 1]);
        else
            bench_die("usage: %s", usage);
    }
    signal(SIGPIPE, SIG_IGN);
    files_raise();
    snprintf(path, sizeof path, "%s/cell.json", argv[1]);
    if (cell_file_load(path, &w.cell, &err) != 0)
        bench_die("%s", err.msg);
    uv_loop_init(&w.loop);
    uv_signal_init(&w.loop, &sigterm);
    sigterm.data = &w;
    uv_signal_start(&sigterm, on_signal, SIGTERM);
    w.sims = xcalloc(w.count, sizeof *w.sims);
    for (uint32_t number = 1; number <= w.count; number++)
        sim_init(&w, number, pki);
    return uv_run(&w.loop, UV_RUN_DEFAULT);
}
