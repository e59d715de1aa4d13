/*
 * agent_rig.h - a whole borglet with real shims, against replicas and users simulated by the test,
 * over TLS.
 */
#ifndef TEST_AGENT_RIG_H
#define TEST_AGENT_RIG_H

#include "agent.h"
#include "attributes.h"
#include "inventory.h"
#include "link.h"
#include "log.h"
#include "identities.h"
#include "logs.h"
#include "testlib.h"

#include <dirent.h>
#include <libgen.h>
#include <sys/stat.h>

enum { REPLICAS = 2, REPORTS_MAX = 512, LOG_BYTES_MAX = 1 << 20, HEARTBEAT_MS = 100 };

struct replica {
    struct rpc_server *server;
    struct rpc_conn *conn;
    bool refuse; /* refuses hellos as not ready */
    bool mute;   /* answers no heartbeat, as if it were stopped */
    int hellos;
    uint64_t seen_index;                /* from the last hello */
    uint32_t hello_count;               /* number of reports in it */
    struct report hello_last;           /* the last report in it */
    struct report reports[REPORTS_MAX]; /* in order of arrival */
    int report_count;
    int beats;
    struct rpc_call *unanswered; /* kept when mute; answered when nobody waits for it any more */
};

struct rig {
    struct t_loop loop;
    const char *pki;
    struct tls_context *masters[REPLICAS], *borglet, *user;
    struct cell_file cell;
    struct state_dir state;
    struct replica replicas[REPLICAS];
    struct agent *agent;
    struct words attributes;
    char dir[256];
    char shim[600];
    uint64_t index;
    /* The user who reads a log: */
    struct rpc_conn *reader;
    char *log;
    size_t log_size;
    uint64_t first_offset;
    bool answered, reader_closed;
    struct err answer;
};

static UNUSED struct replica *replica_of(struct rpc_conn *conn)
{
    return rpc_data(conn);
}

/* Check the built-in attributes of every machine and those given to this one. */
static UNUSED void expect_attributes(const struct words *attributes)
{
    static const char *const keys[] = {"arch", "cpus", "hostname", "kernel"};
    T_OK(attributes_valid(attributes, &t_err));
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
        ck_assert_msg(attributes_get(attributes, keys[i]) != NULL, "no %s", keys[i]);
    ck_assert_str_eq(attributes_get(attributes, "rack"), "r1");
    ck_assert_str_eq(attributes_get(attributes, "os"), "plan9");
}

static UNUSED void on_hello(struct rpc_conn *conn, struct rpc_call *call, const void *body,
                            size_t size)
{
    struct replica *r = replica_of(conn);
    struct wire_welcome welcome = {.machine = 7, .heartbeat_ms = HEARTBEAT_MS};
    CLEANUP(buf_release) struct buf answer = {0};
    struct wire_hello hello;
    struct err err;

    T_OK(wire_unpack_hello(body, size, &hello, &t_err));
    ck_assert_str_eq(hello.name, "m1");
    ck_assert_int_eq(hello.capacity.v[RES_CPU], 1000);
    expect_attributes(&hello.attributes);
    r->hellos++;
    r->seen_index = hello.seen_index;
    r->hello_count = hello.report_count;
    if (hello.report_count > 0)
        r->hello_last = hello.reports[hello.report_count - 1];
    wire_hello_release(&hello);
    if (r->refuse) {
        err_set(&err, ERR_UNAVAILABLE, "not ready");
        rpc_refuse(call, &err);
        return;
    }
    r->conn = conn;
    wire_pack_welcome(&answer, &welcome);
    rpc_reply(call, answer.bytes, answer.size);
}

static UNUSED void on_report(struct rpc_conn *conn, struct rpc_call *call, const void *body,
                             size_t size)
{
    struct replica *r = replica_of(conn);
    struct wire_reports reports;

    T_OK(wire_unpack_reports(body, size, &reports, &t_err));
    if (call != NULL) {
        ck_assert_uint_eq(reports.report_count, 0);
        r->beats++;
        if (r->mute)
            r->unanswered = call;
        else
            rpc_reply(call, NULL, 0);
    }
    for (uint32_t i = 0; i < reports.report_count; i++) {
        ck_assert_int_lt(r->report_count, REPORTS_MAX);
        r->reports[r->report_count++] = reports.reports[i];
    }
    wire_reports_release(&reports);
}

static UNUSED void on_replica_close(struct rpc_conn *conn, const struct err *why UNUSED)
{
    struct replica *r = replica_of(conn);

    if (r->conn == conn)
        r->conn = NULL;
    if (r->unanswered != NULL)
        rpc_reply(r->unanswered, NULL, 0);
    r->unanswered = NULL;
}

static const struct rpc_method replica_methods[] = {
    {WIRE_HELLO, BIT(ROLE_BORGLET), on_hello},
    {WIRE_REPORT, BIT(ROLE_BORGLET) | ROLE_MAY_NOTIFY, on_report},
};

/* Start the replica at a free port, or again at the same port. */
static UNUSED void replica_up(struct rig *r, int i)
{
    char *address = r->cell.replicas[i].rpc;
    struct rpc_options options = {.loop = &r->loop.uv,
                                  .tls = r->masters[i],
                                  .methods = replica_methods,
                                  .method_count = ARRAY_SIZE(replica_methods),
                                  .data = &r->replicas[i],
                                  .on_close = on_replica_close};

    T_OK(rpc_listen(&options, address[0] != '\0' ? address : "127.0.0.1:0", &r->replicas[i].server,
                    &t_err));
    str_copy(address, sizeof r->cell.replicas[i].rpc, rpc_server_address(r->replicas[i].server));
}

static UNUSED void replica_down(struct rig *r, int i)
{
    rpc_server_close(r->replicas[i].server);
    r->replicas[i].server = NULL;
}

static UNUSED void agent_up(struct rig *r)
{
    struct agent_options options = {.loop = &r->loop.uv,
                                    .tls = r->borglet,
                                    .cell = &r->cell,
                                    .name = "m1",
                                    .dir = r->dir,
                                    .shim_path = r->shim,
                                    .listen = "127.0.0.1:0",
                                    .state = &r->state};

    T_OK(state_dir_open(r->dir, &r->cell, &r->state, &t_err));
    T_OK(inventory_measure(r->dir, 1000, &options.capacity, &t_err));
    T_OK(inventory_override("cpu=1,ram=1Gi", &options.capacity, &t_err));
    words_release(&r->attributes);
    inventory_attributes(&r->attributes);
    T_OK(inventory_attribute_add("rack=r1", &r->attributes, &t_err));
    T_OK(inventory_attribute_add("os=plan9", &r->attributes, &t_err));
    T_REFUSED(inventory_attribute_add("rack", &r->attributes, &t_err), ERR_INVALID);
    T_REFUSED(inventory_attribute_add("machine=m2", &r->attributes, &t_err), ERR_INVALID);
    options.attributes = r->attributes;
    T_OK(ports_parse("22000-22999", &options.ports, &t_err));
    T_OK(agent_open(&options, &r->agent, &t_err));
}

static UNUSED void agent_down(struct rig *r)
{
    agent_close(r->agent);
    r->agent = NULL;
    state_dir_close(&r->state);
}

static UNUSED void rig_init(struct rig *r)
{
    char self[512];

    memset(r, 0, sizeof *r);
    log_open(LOG_ERROR, "test");
    t_loop_init(&r->loop);
    r->pki = t_pki();
    for (int i = 0; i < REPLICAS; i++) {
        char name[32];
        r->cell.replicas[i].id = (uint64_t)i + 1;
        snprintf(name, sizeof name, "master/%d", i + 1);
        r->masters[i] = t_tls(r->pki, name);
    }
    r->borglet = t_tls(r->pki, "borglet/m1");
    r->user = t_tls(r->pki, "user/ada");
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    ck_assert_int_gt(n, 0);
    self[n] = '\0';
    snprintf(r->shim, sizeof r->shim, "%s/../../borg-shim", dirname(self));
    str_copy(r->dir, sizeof r->dir, t_path(t_dir(), "m1"));
    str_copy(r->cell.name, sizeof r->cell.name, "test");
    str_copy(r->cell.ca_path, sizeof r->cell.ca_path, t_path(r->pki, "ca.crt"));
    r->cell.replica_count = REPLICAS;
    for (int i = 0; i < REPLICAS; i++)
        replica_up(r, i);
    agent_up(r);
    r->log = xcalloc(1, LOG_BYTES_MAX);
}

/* Return the replica that the borglet is linked to; -1 if none. */
static UNUSED int linked(const struct rig *r)
{
    for (int i = 0; i < REPLICAS; i++)
        if (r->replicas[i].conn != NULL)
            return i;
    return -1;
}

static UNUSED struct replica *link_wait(struct rig *r)
{
    T_RUN(&r->loop, linked(r) >= 0);
    return &r->replicas[linked(r)];
}

static UNUSED struct attempt_ref ref(uint32_t index)
{
    return (struct attempt_ref){task_id_of((job_id){1}, index), 1};
}

static UNUSED void send_intents(struct rig *r, struct intent *intents, uint32_t count, bool full)
{
    struct wire_intents in = {
        .index = ++r->index, .full = full, .intents = intents, .intent_count = count};
    CLEANUP(buf_release) struct buf body = {0};

    wire_pack_intents(&body, &in);
    ck_assert_int_eq(rpc_notify(link_wait(r)->conn, WIRE_INTEND, body.bytes, body.size), 0);
}

static UNUSED void send_run(struct rig *r, uint32_t index, int64_t cpu_milli, const char *script)
{
    struct intent run = {.task = ref(index), .action = INTENT_RUN, .assigned_seq = index};

    spec_init(&run.spec);
    str_copy(run.spec.name, sizeof run.spec.name, "web");
    str_copy(run.spec.user, sizeof run.spec.user, "ada");
    words_add(&run.spec.argv, "sh");
    words_add(&run.spec.argv, "-c");
    words_add(&run.spec.argv, script);
    run.spec.limit.v[RES_CPU] = cpu_milli;
    send_intents(r, &run, 1, false);
    spec_release(&run.spec);
}

static UNUSED void send_other(struct rig *r, uint32_t index, enum intent_action action,
                              uint32_t grace_ms)
{
    struct intent intent = {.task = ref(index), .action = action, .grace_ms = grace_ms};

    spec_init(&intent.spec);
    send_intents(r, &intent, 1, false);
    spec_release(&intent.spec);
}

/* Stop everything and close all handles. */
static UNUSED void rig_release(struct rig *r)
{
    char tasks[300];

    for (int i = 0; i < REPLICAS; i++) {
        r->replicas[i].refuse = false;
        r->replicas[i].mute = false;
    }
    link_wait(r);
    send_intents(r, NULL, 0, true);
    snprintf(tasks, sizeof tasks, "%s/tasks", r->dir);
    /* A directory without subdirectories has two links. */
    struct stat st;
    T_RUN(&r->loop, stat(tasks, &st) == 0 && st.st_nlink == 2);
    agent_down(r);
    for (int i = 0; i < REPLICAS; i++)
        if (r->replicas[i].server != NULL)
            replica_down(r, i);
    if (r->reader != NULL)
        rpc_close(r->reader);
    t_loop_close(&r->loop);
    for (int i = 0; i < REPLICAS; i++)
        tls_context_close(r->masters[i]);
    tls_context_close(r->borglet);
    tls_context_close(r->user);
    words_release(&r->attributes);
    free(r->log);
}

/* Return the last report about the task that the replica received; NULL if none. */
static UNUSED const struct report *told(const struct replica *replica, uint32_t index)
{
    for (int i = replica->report_count; i-- > 0;)
        if (replica->reports[i].task.task.v == ref(index).task.v)
            return &replica->reports[i];
    return NULL;
}

static UNUSED bool told_kind(const struct replica *replica, uint32_t index, enum report_kind kind)
{
    const struct report *report = told(replica, index);

    return report != NULL && report->kind == kind;
}

static UNUSED void on_chunk(struct rpc_conn *conn, struct rpc_call *call UNUSED, const void *body,
                            size_t size)
{
    struct rig *r = rpc_data(conn);
    struct wire_log_chunk chunk;

    T_OK(wire_unpack_log_chunk(body, size, &chunk, &t_err));
    if (r->log_size == 0)
        r->first_offset = chunk.offset;
    ck_assert_uint_lt(r->log_size + chunk.size, LOG_BYTES_MAX);
    memcpy(r->log + r->log_size, chunk.bytes, chunk.size);
    r->log_size += chunk.size;
    r->log[r->log_size] = '\0';
}

static UNUSED void on_log_answer(void *data, const struct err *err, const void *body UNUSED,
                                 size_t size UNUSED)
{
    struct rig *r = data;

    r->answered = true;
    r->answer = err == NULL ? (struct err){0} : *err;
}

static UNUSED void on_reader_close(struct rpc_conn *conn, const struct err *why UNUSED)
{
    struct rig *r = rpc_data(conn);

    r->reader = NULL;
    r->reader_closed = true;
}

static const struct rpc_method user_methods[] = {
    {WIRE_LOG_CHUNK, BIT(ROLE_BORGLET) | ROLE_MAY_NOTIFY, on_chunk},
};

static UNUSED void read_log(struct rig *r, struct wire_logs request)
{
    struct rpc_options options = {.loop = &r->loop.uv,
                                  .tls = r->user,
                                  .methods = user_methods,
                                  .method_count = ARRAY_SIZE(user_methods),
                                  .data = r,
                                  .on_close = on_reader_close};
    struct identity expect = {.role = ROLE_BORGLET, .name = "m1"};
    CLEANUP(buf_release) struct buf body = {0};

    str_copy(request.job, sizeof request.job, request.job[0] == '\0' ? "web" : request.job);
    if (r->reader == NULL)
        T_OK(rpc_connect(&options, agent_address(r->agent), &expect, &r->reader, &t_err));
    r->answered = false;
    r->log_size = 0;
    r->log[0] = '\0';
    wire_pack_logs(&body, &request);
    T_OK(rpc_request(r->reader, WIRE_LOGS, body.bytes, body.size, 0, on_log_answer, r, &t_err));
}

#endif
