/*
 * test_borglet_agent.c - a whole borglet against replicas and users played by the test, over TLS,
 * with real shims: link, plan, runner and logs together.
 */
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
    bool refuse; /* hellos: not ready */
    bool mute;   /* answers no heartbeat, like one that is stopped */
    int hellos;
    uint64_t seen_index;                /* of the last hello */
    uint32_t hello_count;               /* reports in it */
    struct report hello_last;           /* the last of them */
    struct report reports[REPORTS_MAX]; /* in order of arrival */
    int report_count;
    int beats;
    struct rpc_call *unanswered; /* when mute; answered when nobody waits for it any more */
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
    /* the user who reads a log */
    struct rpc_conn *reader;
    char *log;
    size_t log_size;
    uint64_t first_offset;
    bool answered, reader_closed;
    struct err answer;
};

static struct replica *replica_of(struct rpc_conn *conn)
{
    return rpc_data(conn);
}

/* What every machine says of itself, and what this one was told to say. */
static void expect_attributes(const struct words *attributes)
{
    static const char *const keys[] = {"arch", "cpus", "hostname", "kernel"};
    T_OK(attributes_valid(attributes, &t_err));
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
        ck_assert_msg(attributes_get(attributes, keys[i]) != NULL, "no %s", keys[i]);
    ck_assert_str_eq(attributes_get(attributes, "rack"), "r1");
    ck_assert_str_eq(attributes_get(attributes, "os"), "plan9");
}

static void on_hello(struct rpc_conn *conn, struct rpc_call *call, const void *body, size_t size)
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

static void on_report(struct rpc_conn *conn, struct rpc_call *call, const void *body, size_t size)
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

static void on_replica_close(struct rpc_conn *conn, const struct err *why UNUSED)
{
    struct replica *r = replica_of(conn);

    if (r->conn == conn)
        r->conn = NULL;
    if (r->unanswered != NULL)
        rpc_reply(r->unanswered, NULL, 0);
    r->unanswered = NULL;
}

static const struct rpc_method replica_methods[] = {
    {WIRE_HELLO, "hello", BIT(ROLE_BORGLET), on_hello},
    {WIRE_REPORT, "report", BIT(ROLE_BORGLET) | ROLE_MAY_NOTIFY, on_report},
};

/* At a free port, and again at the same. */
static void replica_up(struct rig *r, int i)
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
    str_copy(address, sizeof(r->cell.replicas[i].rpc), rpc_server_address(r->replicas[i].server));
}

static void replica_down(struct rig *r, int i)
{
    rpc_server_close(r->replicas[i].server);
    r->replicas[i].server = NULL;
}

static void agent_up(struct rig *r)
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

static void agent_down(struct rig *r)
{
    agent_close(r->agent);
    r->agent = NULL;
    state_dir_close(&r->state);
}

static void rig_init(struct rig *r)
{
    char self[512];

    memset(r, 0, sizeof(*r));
    log_open(LOG_ERROR, "test");
    t_loop_init(&r->loop);
    r->pki = t_pki();
    for (int i = 0; i < REPLICAS; i++) {
        char name[32];
        r->cell.replicas[i].id = (uint64_t)i + 1;
        snprintf(name, sizeof(name), "master/%d", i + 1);
        r->masters[i] = t_tls(r->pki, name);
    }
    r->borglet = t_tls(r->pki, "borglet/m1");
    r->user = t_tls(r->pki, "user/ada");
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    ck_assert_int_gt(n, 0);
    self[n] = '\0';
    snprintf(r->shim, sizeof(r->shim), "%s/../../borg-shim", dirname(self));
    str_copy(r->dir, sizeof(r->dir), t_path(t_dir(), "m1"));
    str_copy(r->cell.name, sizeof(r->cell.name), "test");
    str_copy(r->cell.ca_path, sizeof(r->cell.ca_path), t_path(r->pki, "ca.crt"));
    r->cell.replica_count = REPLICAS;
    for (int i = 0; i < REPLICAS; i++)
        replica_up(r, i);
    agent_up(r);
    r->log = xcalloc(1, LOG_BYTES_MAX);
}

/* The replica the borglet is linked to, once it is; -1: none. */
static int linked(const struct rig *r)
{
    for (int i = 0; i < REPLICAS; i++)
        if (r->replicas[i].conn != NULL)
            return i;
    return -1;
}

static struct replica *link_wait(struct rig *r)
{
    T_RUN(&r->loop, linked(r) >= 0);
    return &r->replicas[linked(r)];
}

static struct attempt_ref ref(uint32_t index)
{
    return (struct attempt_ref){task_id_of((job_id){1}, index), 1};
}

static void send_intents(struct rig *r, struct intent *intents, uint32_t count, bool full)
{
    struct wire_intents in = {
        .index = ++r->index, .full = full, .intents = intents, .intent_count = count};
    CLEANUP(buf_release) struct buf body = {0};

    wire_pack_intents(&body, &in);
    ck_assert_int_eq(rpc_notify(link_wait(r)->conn, WIRE_INTEND, body.bytes, body.size), 0);
}

static void send_run(struct rig *r, uint32_t index, int64_t cpu_milli, const char *script)
{
    struct intent run = {.task = ref(index), .action = INTENT_RUN, .assigned_seq = index};

    spec_init(&run.spec);
    str_copy(run.spec.name, sizeof(run.spec.name), "web");
    str_copy(run.spec.user, sizeof(run.spec.user), "ada");
    words_add(&run.spec.argv, "sh");
    words_add(&run.spec.argv, "-c");
    words_add(&run.spec.argv, script);
    run.spec.limit.v[RES_CPU] = cpu_milli;
    send_intents(r, &run, 1, false);
    spec_release(&run.spec);
}

static void send_other(struct rig *r, uint32_t index, enum intent_action action, uint32_t grace_ms)
{
    struct intent intent = {.task = ref(index), .action = action, .grace_ms = grace_ms};

    spec_init(&intent.spec);
    send_intents(r, &intent, 1, false);
    spec_release(&intent.spec);
}

/* Everything is stopped and forgotten, all handles are closed. */
static void rig_release(struct rig *r)
{
    char tasks[300];

    for (int i = 0; i < REPLICAS; i++) {
        r->replicas[i].refuse = false;
        r->replicas[i].mute = false;
    }
    link_wait(r);
    send_intents(r, NULL, 0, true);
    snprintf(tasks, sizeof(tasks), "%s/tasks", r->dir);
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

/* The last report about the task that the replica has got; NULL: none. */
static const struct report *told(const struct replica *replica, uint32_t index)
{
    for (int i = replica->report_count; i-- > 0;)
        if (replica->reports[i].task.task.v == ref(index).task.v)
            return &replica->reports[i];
    return NULL;
}

static bool told_kind(const struct replica *replica, uint32_t index, enum report_kind kind)
{
    const struct report *report = told(replica, index);

    return report != NULL && report->kind == kind;
}

static void on_chunk(struct rpc_conn *conn, struct rpc_call *call UNUSED, const void *body,
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

static void on_log_answer(void *data, const struct err *err, const void *body UNUSED,
                          size_t size UNUSED)
{
    struct rig *r = data;

    r->answered = true;
    r->answer = err == NULL ? (struct err){0} : *err;
}

static void on_reader_close(struct rpc_conn *conn, const struct err *why UNUSED)
{
    struct rig *r = rpc_data(conn);

    r->reader = NULL;
    r->reader_closed = true;
}

static const struct rpc_method user_methods[] = {
    {WIRE_LOG_CHUNK, "chunk", BIT(ROLE_BORGLET) | ROLE_MAY_NOTIFY, on_chunk},
};

static void read_log(struct rig *r, struct wire_logs request)
{
    struct rpc_options options = {.loop = &r->loop.uv,
                                  .tls = r->user,
                                  .methods = user_methods,
                                  .method_count = ARRAY_SIZE(user_methods),
                                  .data = r,
                                  .on_close = on_reader_close};
    struct identity expect = {.role = ROLE_BORGLET, .name = "m1"};
    CLEANUP(buf_release) struct buf body = {0};

    str_copy(request.job, sizeof(request.job), request.job[0] == '\0' ? "web" : request.job);
    if (r->reader == NULL)
        T_OK(rpc_connect(&options, agent_address(r->agent), &expect, &r->reader, &t_err));
    r->answered = false;
    r->log_size = 0;
    r->log[0] = '\0';
    wire_pack_logs(&body, &request);
    T_OK(rpc_request(r->reader, WIRE_LOGS, body.bytes, body.size, 0, on_log_answer, r, &t_err));
}

START_TEST(a_task_is_run_reported_and_forgotten)
{
    struct rig r;

    rig_init(&r);
    struct replica *replica = link_wait(&r);
    ck_assert_uint_eq(replica->hello_count, 0);
    send_run(&r, 0, 100, "exit 3");
    T_RUN(&r.loop, told_kind(replica, 0, REPORT_EXITED));
    ck_assert_int_eq(told(replica, 0)->exit_code, 3);
    ck_assert_uint_eq(told(replica, 0)->task.attempt, 1);
    /* Until it is told to forget, every hello says it. */
    rpc_close(replica->conn);
    T_RUN(&r.loop, r.replicas[0].hellos + r.replicas[1].hellos == 2 && linked(&r) >= 0);
    replica = &r.replicas[linked(&r)];
    ck_assert_uint_eq(replica->hello_count, 1);
    ck_assert_int_eq(replica->hello_last.kind, REPORT_EXITED);
    ck_assert_uint_eq(replica->seen_index, 1);
    send_other(&r, 0, INTENT_FORGET, 0);
    rig_release(&r);
}
END_TEST

static size_t started_count(const struct rig *r)
{
    char path[600];
    size_t count = 0;

    snprintf(path, sizeof(path), "%s/tasks", r->dir);
    DIR *dir = opendir(path);
    for (struct dirent *d; dir != NULL && (d = readdir(dir)) != NULL;)
        count += d->d_name[0] != '.';
    if (dir != NULL)
        closedir(dir);
    return count;
}

START_TEST(many_starts_at_once_leave_the_loop_to_others)
{
    enum { MANY = 100, PER_TURN = 72 };
    struct intent *runs = xcalloc(MANY, sizeof(*runs));
    struct rig r;

    rig_init(&r);
    link_wait(&r);
    for (uint32_t i = 0; i < MANY; i++) {
        runs[i] = (struct intent){.task = ref(i), .action = INTENT_RUN, .assigned_seq = i};
        spec_init(&runs[i].spec);
        str_copy(runs[i].spec.name, sizeof(runs[i].spec.name), "web");
        words_add(&runs[i].spec.argv, "true");
        runs[i].spec.limit.v[RES_CPU] = runs[i].spec.limit.v[RES_RAM] = 1;
    }
    /* A turn of the loop is never all of it: the first is over before the last is begun. */
    size_t most = 0, before = 0;
    send_intents(&r, runs, MANY, false);
    while (before < MANY) {
        uv_run(&r.loop.uv, UV_RUN_ONCE);
        size_t now = started_count(&r);
        most = MAX(most, now - before);
        before = now;
    }
    ck_assert_uint_le(most, PER_TURN);
    for (uint32_t i = 0; i < MANY; i++)
        spec_release(&runs[i].spec);
    free(runs);
    rig_release(&r);
}
END_TEST

START_TEST(a_preemptor_starts_when_its_victim_is_gone)
{
    char up[600];
    struct rig r;

    rig_init(&r);
    struct replica *replica = link_wait(&r);
    send_run(&r, 0, 800, "trap '' TERM; touch up; while :; do sleep 1000; done");
    snprintf(up, sizeof(up), "%s/tasks/web.0.1.1/work/up", r.dir);
    T_RUN(&r.loop, access(up, F_OK) == 0);
    send_run(&r, 1, 500, "sleep 1000");
    send_other(&r, 0, INTENT_STOP, 200);
    T_RUN(&r.loop, told_kind(replica, 1, REPORT_RUNNING));
    ck_assert(told_kind(replica, 0, REPORT_EXITED));
    ck_assert_int_eq(told(replica, 0)->exit_code, -9);
    rig_release(&r);
}
END_TEST

START_TEST(what_the_cell_takes_for_running_and_is_not_there_is_lost)
{
    struct rig r;

    rig_init(&r);
    struct replica *replica = link_wait(&r);
    send_run(&r, 0, 100, "sleep 1000");
    T_RUN(&r.loop, told_kind(replica, 0, REPORT_RUNNING));
    send_other(&r, 0, INTENT_SHOW, 0);
    send_other(&r, 5, INTENT_SHOW, 0);
    T_RUN(&r.loop, told_kind(replica, 5, REPORT_LOST));
    ck_assert(told_kind(replica, 0, REPORT_RUNNING));
    rig_release(&r);
}
END_TEST

START_TEST(a_replica_that_asks_it_to_move_is_left_for_the_one_it_names)
{
    CLEANUP(buf_release) struct buf body = {0};
    struct wire_move move = {0};
    struct rig r;

    rig_init(&r);
    struct replica *from = link_wait(&r);
    struct replica *to = &r.replicas[(linked(&r) + 1) % REPLICAS];
    send_run(&r, 0, 100, "sleep 1000");
    T_RUN(&r.loop, told_kind(from, 0, REPORT_RUNNING));
    for (int round = 0; round < 3; round++) {
        str_copy(move.addr, sizeof(move.addr), rpc_server_address(to->server));
        buf_clear(&body);
        wire_pack_move(&body, &move);
        ck_assert_int_eq(rpc_notify(from->conn, WIRE_MOVE, body.bytes, body.size), 0);
        T_RUN(&r.loop, to->conn != NULL && from->conn == NULL);
        ck_assert_int_eq(to->hellos, 1 + (round + 1) / 2);
        ck_assert_uint_eq(to->hello_count, 1);
        ck_assert_int_eq(to->hello_last.kind, REPORT_RUNNING);
        struct replica *was = from;
        from = to;
        to = was;
    }
    ck_assert_int_eq(r.replicas[0].hellos + r.replicas[1].hellos, 4);
    rig_release(&r);
}
END_TEST

static void tell_replicas(struct rpc_conn *conn, struct wire_address *addresses, uint32_t count)
{
    CLEANUP(buf_release) struct buf body = {0};
    struct wire_replicas told = {.addresses = addresses, .address_count = count};

    wire_pack_replicas(&body, &told);
    ck_assert_int_eq(rpc_notify(conn, WIRE_REPLICAS, body.bytes, body.size), 0);
}

static void ask_to_move(struct rpc_conn *conn, const char *address)
{
    CLEANUP(buf_release) struct buf body = {0};
    struct wire_move move = {0};

    str_copy(move.addr, sizeof(move.addr), address);
    wire_pack_move(&body, &move);
    ck_assert_int_eq(rpc_notify(conn, WIRE_MOVE, body.bytes, body.size), 0);
}

/* The name leads nowhere: the borglet finds one that answers. */
START_TEST(a_move_to_a_replica_that_is_gone_ends_at_another)
{
    struct wire_address all[] = {{1, ""}, {2, ""}, {3, "127.0.0.1:1"}};
    struct rig r;

    rig_init(&r);
    struct replica *replica = link_wait(&r);
    for (int i = 0; i < REPLICAS; i++)
        str_copy(all[i].text, sizeof(all[i].text), r.cell.replicas[i].rpc);
    tell_replicas(replica->conn, all, 3);
    ask_to_move(replica->conn, "127.0.0.1:1");
    T_RUN(&r.loop, replica->conn == NULL);
    T_RUN(&r.loop, linked(&r) >= 0);
    rig_release(&r);
}
END_TEST

START_TEST(a_move_to_where_no_replica_is_known_is_not_made)
{
    struct rig r;

    rig_init(&r);
    struct replica *replica = link_wait(&r);
    ask_to_move(replica->conn, "127.0.0.1:1");
    int beats = replica->beats;
    T_RUN(&r.loop, replica->beats > beats + 2);
    ck_assert_int_eq(r.replicas[0].hellos + r.replicas[1].hellos, 1);
    rig_release(&r);
}
END_TEST

/* One with the certificate of another replica, as a removed one has, where a replica should be. */
START_TEST(a_master_of_another_number_than_the_address_has_is_no_partner)
{
    struct rig r;

    rig_init(&r);
    int home = linked(&r) >= 0 ? linked(&r) : (int)(link_wait(&r) - r.replicas), away = 1 - home;
    struct tls_context *right = r.masters[away];
    replica_down(&r, away);
    r.masters[away] = t_tls(r.pki, "master/99");
    replica_up(&r, away);
    ask_to_move(r.replicas[home].conn, r.cell.replicas[away].rpc);
    T_RUN(&r.loop, r.replicas[home].hellos == 2);
    T_RUN(&r.loop, linked(&r) == home);
    ck_assert_int_eq(r.replicas[away].hellos, 0);
    tls_context_close(right);
    rig_release(&r);
}
END_TEST

/* What it is told holds at once, and after a restart that begins with cell.json. */
START_TEST(a_replica_whose_certificate_is_revoked_is_left_and_not_come_back_to)
{
    CLEANUP(buf_release) struct buf body = {0};
    struct wire_identity gone = {.revoked_ms = UINT64_MAX};
    struct wire_identities told = {.index = 1, .identities = &gone, .identity_count = 1};
    struct rig r;

    rig_init(&r);
    struct replica *from = link_wait(&r);
    int home = (int)(from - r.replicas), away = 1 - home;
    snprintf(gone.identity, sizeof(gone.identity), "master/%d", home + 1);
    wire_pack_identities(&body, &told);
    ck_assert_int_eq(rpc_notify(from->conn, WIRE_IDENTITIES, body.bytes, body.size), 0);
    T_RUN(&r.loop, from->conn == NULL && r.replicas[away].conn != NULL);
    int hellos = from->hellos;
    agent_down(&r);
    T_RUN(&r.loop, linked(&r) < 0);
    agent_up(&r);
    T_RUN(&r.loop, r.replicas[away].conn != NULL);
    ck_assert_int_eq(from->hellos, hellos);
    rig_release(&r);
}
END_TEST

START_TEST(a_replica_that_says_it_is_none_any_more_is_left)
{
    struct rig r;

    rig_init(&r);
    struct replica *from = link_wait(&r);
    int away = 1 - (int)(from - r.replicas);
    struct wire_address left = {(uint64_t)away + 1, ""};
    str_copy(left.text, sizeof(left.text), r.cell.replicas[away].rpc);
    tell_replicas(from->conn, &left, 1);
    T_RUN(&r.loop, r.replicas[away].conn != NULL && from->conn == NULL);
    rig_release(&r);
}
END_TEST

START_TEST(what_is_larger_than_the_machine_or_unknown_is_told_at_once)
{
    struct rig r;

    rig_init(&r);
    struct replica *replica = link_wait(&r);
    send_run(&r, 0, 1001, "true");
    T_RUN(&r.loop, told_kind(replica, 0, REPORT_START_ERROR));
    T_CONTAINS(told(replica, 0)->detail, "the machine has cpu 1");
    send_other(&r, 5, INTENT_STOP, 10);
    T_RUN(&r.loop, told_kind(replica, 5, REPORT_EXITED));
    rig_release(&r);
}
END_TEST

START_TEST(a_replica_that_is_not_ready_is_left_for_the_next)
{
    struct rig r;

    rig_init(&r);
    r.replicas[0].refuse = true;
    T_RUN(&r.loop, r.replicas[1].conn != NULL);
    rpc_close(r.replicas[1].conn);
    T_RUN(&r.loop, r.replicas[0].hellos > 0 && r.replicas[1].hellos > 1);
    T_RUN(&r.loop, r.replicas[1].conn != NULL);
    rig_release(&r);
}
END_TEST

START_TEST(a_replica_that_stopped_answering_is_left_for_the_next)
{
    struct rig r;

    rig_init(&r);
    int first = (link_wait(&r), linked(&r));
    send_run(&r, 0, 100, "sleep 1000");
    T_RUN(&r.loop, told_kind(&r.replicas[first], 0, REPORT_RUNNING));
    T_RUN(&r.loop, r.replicas[first].beats >= 3);
    r.replicas[first].mute = true;
    T_RUN(&r.loop, r.replicas[1 - first].conn != NULL);
    ck_assert_int_eq(r.replicas[1 - first].hello_last.kind, REPORT_RUNNING);
    ck_assert_int_eq(r.replicas[1 - first].hello_last.pid, told(&r.replicas[first], 0)->pid);
    rig_release(&r);
}
END_TEST

START_TEST(tasks_go_on_without_masters_and_without_borglet)
{
    struct rig r;

    rig_init(&r);
    struct replica *replica = link_wait(&r);
    send_run(&r, 0, 100, "sleep 1000");
    T_RUN(&r.loop, told_kind(replica, 0, REPORT_RUNNING));
    int32_t pid = told(replica, 0)->pid;
    for (int i = 0; i < REPLICAS; i++)
        replica_down(&r, i);
    T_RUN(&r.loop, linked(&r) < 0);
    agent_down(&r);
    t_loop_run_ms(&r.loop, 300);
    agent_up(&r);
    t_loop_run_ms(&r.loop, 300);
    ck_assert_int_eq(kill(pid, 0), 0);
    replica_up(&r, 0);
    replica = link_wait(&r);
    ck_assert_uint_eq(replica->hello_count, 1);
    ck_assert_int_eq(replica->hello_last.kind, REPORT_RUNNING);
    ck_assert_int_eq(replica->hello_last.pid, pid);
    /* It has not forgotten what it saw, so a replica that lags cannot take the task away. */
    ck_assert_uint_eq(replica->seen_index, 1);
    r.index = -1ULL;
    send_intents(&r, NULL, 0, true);
    t_loop_run_ms(&r.loop, 100);
    ck_assert_int_eq(kill(pid, 0), 0);
    r.index = 5;
    rig_release(&r);
}
END_TEST

START_TEST(a_log_is_read_from_the_start_and_from_its_tail)
{
    struct rig r;

    rig_init(&r);
    struct replica *replica = link_wait(&r);
    send_run(&r, 0, 100, "seq 1 50000; echo oops >&2");
    T_RUN(&r.loop, told_kind(replica, 0, REPORT_EXITED));
    read_log(&r, (struct wire_logs){.task = ref(0).task.v, .tail_bytes = UINT64_MAX});
    T_RUN(&r.loop, r.answered);
    ck_assert_int_eq(r.answer.code, ERR_OK);
    ck_assert_uint_eq(r.log_size, 288894);
    ck_assert_str_eq(r.log + r.log_size - 12, "49999\n50000\n");
    read_log(&r, (struct wire_logs){.task = ref(0).task.v, .attempt = 1, .tail_bytes = 6});
    T_RUN(&r.loop, r.answered);
    ck_assert_str_eq(r.log, "50000\n");
    /* From an offset, and from behind the end. */
    read_log(&r, (struct wire_logs){.task = ref(0).task.v, .from = 288894 - 12});
    T_RUN(&r.loop, r.answered);
    ck_assert_str_eq(r.log, "49999\n50000\n");
    ck_assert_uint_eq(r.first_offset, 288894 - 12);
    read_log(&r, (struct wire_logs){.task = ref(0).task.v, .from = UINT64_MAX});
    T_RUN(&r.loop, r.answered);
    ck_assert_int_eq(r.answer.code, ERR_OK);
    ck_assert_uint_eq(r.log_size, 0);
    /* Forgotten by the cell, but not gone. */
    send_other(&r, 0, INTENT_FORGET, 0);
    read_log(&r, (struct wire_logs){
                     .task = ref(0).task.v, .err = true, .follow = true, .tail_bytes = UINT64_MAX});
    T_RUN(&r.loop, r.answered);
    ck_assert_int_eq(r.answer.code, ERR_OK);
    ck_assert_str_eq(r.log, "oops\n");
    rig_release(&r);
}
END_TEST

START_TEST(a_followed_log_comes_as_it_is_written_and_ends_with_the_task)
{
    char go[600];
    struct rig r;

    rig_init(&r);
    struct replica *replica = link_wait(&r);
    send_run(&r, 0, 100, "echo one; while [ ! -e go ]; do sleep 0.01; done; echo two; exit 1");
    T_RUN(&r.loop, told_kind(replica, 0, REPORT_RUNNING));
    read_log(&r,
             (struct wire_logs){.task = ref(0).task.v, .follow = true, .tail_bytes = UINT64_MAX});
    T_RUN(&r.loop, strcmp(r.log, "one\n") == 0);
    ck_assert(!r.answered);
    snprintf(go, sizeof(go), "%s/tasks/web.0.1.1/work/go", r.dir);
    fclose(fopen(go, "w"));
    T_RUN(&r.loop, r.answered);
    ck_assert_int_eq(r.answer.code, ERR_OK);
    ck_assert_str_eq(r.log, "one\ntwo\n");
    rig_release(&r);
}
END_TEST

static void send_identities(struct rig *r, uint64_t index, const char *user, uint32_t rights)
{
    struct wire_identity row = {.rights = rights};
    struct wire_identities told = {
        .index = index, .identities = &row, .identity_count = rights != 0};
    CLEANUP(buf_release) struct buf body = {0};

    snprintf(row.identity, sizeof(row.identity), "user/%s", user);
    wire_pack_identities(&body, &told);
    ck_assert_int_eq(rpc_notify(link_wait(r)->conn, WIRE_IDENTITIES, body.bytes, body.size), 0);
}

/* What this user is answered when he reads the log of ada's task. */
static enum err_code code_for(struct rig *r, const char *user)
{
    if (r->reader != NULL)
        rpc_close(r->reader);
    T_RUN(&r->loop, r->reader == NULL);
    tls_context_close(r->user);
    r->user = t_tls(r->pki, user);
    read_log(r, (struct wire_logs){.task = ref(0).task.v, .tail_bytes = UINT64_MAX});
    T_RUN(&r->loop, r->answered);
    ck_assert_uint_eq(r->log_size, r->answer.code == ERR_OK ? 3 : 0);
    return r->answer.code;
}

START_TEST(a_log_is_read_by_its_user_and_by_readers_and_operators)
{
    struct rig r;

    rig_init(&r);
    struct replica *replica = link_wait(&r);
    send_run(&r, 0, 100, "echo hi");
    T_RUN(&r.loop, told_kind(replica, 0, REPORT_EXITED));
    ck_assert_int_eq(code_for(&r, "user/ada"), ERR_OK);
    ck_assert_int_eq(code_for(&r, "user/root"), ERR_OK);
    ck_assert_int_eq(code_for(&r, "user/eve"), ERR_DENIED);
    ck_assert_str_eq(r.answer.msg,
                     "job \"web\": it is of user \"ada\": only that user, a reader and "
                     "an operator of the cell may read its logs");
    send_identities(&r, 10, "eve", BIT(RIGHT_READER));
    T_RUN(&r.loop, code_for(&r, "user/eve") == ERR_OK);
    ck_assert_int_eq(code_for(&r, "user/bob"), ERR_DENIED);
    send_identities(&r, 9, "bob", BIT(RIGHT_OPERATOR)); /* of a replica that is behind */
    send_identities(&r, 11, "eve", BIT(RIGHT_OPERATOR));
    T_RUN(&r.loop, code_for(&r, "user/eve") == ERR_OK);
    ck_assert_int_eq(code_for(&r, "user/bob"), ERR_DENIED);
    send_identities(&r, 12, "eve", 0);
    T_RUN(&r.loop, code_for(&r, "user/eve") == ERR_DENIED);
    rig_release(&r);
}
END_TEST

START_TEST(who_reads_logs_is_known_to_a_borglet_that_is_started_anew)
{
    struct rig r;

    rig_init(&r);
    struct replica *replica = link_wait(&r);
    send_run(&r, 0, 100, "echo hi");
    T_RUN(&r.loop, told_kind(replica, 0, REPORT_EXITED));
    send_identities(&r, 10, "eve", BIT(RIGHT_READER));
    T_RUN(&r.loop, code_for(&r, "user/eve") == ERR_OK);
    rpc_close(r.reader);
    T_RUN(&r.loop, r.reader == NULL);
    agent_down(&r);
    agent_up(&r);
    ck_assert_int_eq(code_for(&r, "user/eve"), ERR_OK);
    ck_assert_int_eq(code_for(&r, "user/bob"), ERR_DENIED);
    rig_release(&r);
}
END_TEST

START_TEST(identities_are_kept_whole_or_not_at_all)
{
    const char *dir = t_dir();
    char path[600];
    struct identities *known = identities_open(dir);
    struct wire_identities told = {.index = 7, .identity_count = 1};
    told.identities = xcalloc(1, sizeof(*told.identities));
    told.identities[0] = (struct wire_identity){.identity = "borglet/m7", .revoked_ms = 1000};
    identities_take(known, &told);
    identities_close(known);
    known = identities_open(dir);
    ck_assert(identities_revoked(known, "borglet/m7", 1000));
    ck_assert(!identities_revoked(known, "borglet/m7", 1001));
    ck_assert(!identities_revoked(known, "borglet/m8", 0));
    ck_assert(identities_may_read(known, "root"));
    identities_close(known);
    snprintf(path, sizeof(path), "%s/identities", dir);
    FILE *file = fopen(path, "r+");
    fseek(file, 12, SEEK_SET);
    fputc('x', file);
    fclose(file);
    known = identities_open(dir);
    ck_assert(!identities_revoked(known, "borglet/m7", 0));
    identities_close(known);
}
END_TEST

START_TEST(a_log_that_is_not_here_is_told_with_those_that_are)
{
    struct rig r;

    rig_init(&r);
    struct replica *replica = link_wait(&r);
    send_run(&r, 3, 100, "true");
    T_RUN(&r.loop, told_kind(replica, 3, REPORT_EXITED));
    read_log(&r, (struct wire_logs){.task = ref(4).task.v});
    T_RUN(&r.loop, r.answered);
    ck_assert_int_eq(r.answer.code, ERR_NOT_FOUND);
    T_CONTAINS(r.answer.msg, "there are: web/3 attempt 1");
    read_log(&r, (struct wire_logs){.task = ref(3).task.v, .job = "other"});
    T_RUN(&r.loop, r.answered);
    ck_assert_int_eq(r.answer.code, ERR_NOT_FOUND);
    T_CONTAINS(r.answer.msg, "there is none of that job");
    rig_release(&r);
}
END_TEST

START_TEST(a_follower_that_leaves_and_one_too_many_do_no_harm)
{
    struct rig r;

    rig_init(&r);
    struct replica *replica = link_wait(&r);
    send_run(&r, 0, 100, "while :; do echo x; sleep 0.01; done");
    T_RUN(&r.loop, told_kind(replica, 0, REPORT_RUNNING));
    struct wire_logs follow = {.task = ref(0).task.v, .follow = true};
    read_log(&r, follow);
    T_RUN(&r.loop, r.log_size > 4);
    read_log(&r, follow);
    T_RUN(&r.loop, r.answered);
    ck_assert_int_eq(r.answer.code, ERR_STATE);
    rpc_close(r.reader);
    T_RUN(&r.loop, r.reader_closed);
    int beats = replica->beats;
    T_RUN(&r.loop, replica->beats > beats + 1);
    rig_release(&r);
}
END_TEST

/* What a task may put in the place of what is read for others. */
static const struct {
    const char *how, *told;
} log_tampers[] = {
    {"rm spec; mkfifo spec", "a FIFO is in the place of \"spec\""},
    {"rm spec; ln -s /etc/passwd spec", "a symbolic link is in the place of \"spec\""},
    {"rm spec; mkdir spec", "a directory is in the place of \"spec\""},
    {"truncate -s 1T spec", "\"spec\" is larger than any"},
    {"rm spec", "there is no \"spec\""},
    {"rm out.0; mkfifo out.0", "a FIFO is in the place of \"out.0\""},
    {"rm out.0; ln -s /etc/passwd out.0", "a symbolic link is in the place of \"out.0\""},
    {"rm out.0; ln spec out.0", "another file is in the place of \""},
    {"truncate -s 1T out.0", "\"out.0\" is larger than any"},
    {"rm out.0; mkfifo out.7", "a FIFO is in the place of \"out.7\""},
};

START_TEST(a_log_that_was_tampered_with_is_refused_and_holds_nothing)
{
    char command[700];
    struct rig r;

    rig_init(&r);
    struct replica *replica = link_wait(&r);
    send_run(&r, 0, 100, "echo one; exec sleep 1000");
    T_RUN(&r.loop, told_kind(replica, 0, REPORT_RUNNING));
    /* Its segment is there. */
    snprintf(command, sizeof(command), "%s/tasks/web.0.1.1/out.0", r.dir);
    struct stat st;
    T_RUN(&r.loop, stat(command, &st) == 0 && st.st_size == 4);
    snprintf(command, sizeof(command), "cd %s/tasks/web.0.1.1; %s", r.dir, log_tampers[_i].how);
    ck_assert_int_eq(system(command), 0);
    read_log(&r,
             (struct wire_logs){.task = ref(0).task.v, .follow = true, .tail_bytes = UINT64_MAX});
    T_RUN(&r.loop, r.answered);
    ck_assert_int_ne(r.answer.code, ERR_OK);
    T_CONTAINS(r.answer.msg, log_tampers[_i].told);
    /* The task and the cell have not noticed. */
    int beats = replica->beats;
    T_RUN(&r.loop, replica->beats > beats + 1);
    rig_release(&r);
}
END_TEST

START_TEST(a_user_has_a_part_of_the_readers_only)
{
    struct rpc_conn *readers[LOGS_READERS_PER_USER];
    struct rig r;

    rig_init(&r);
    struct replica *replica = link_wait(&r);
    send_run(&r, 0, 100, "echo up; exec sleep 1000");
    T_RUN(&r.loop, told_kind(replica, 0, REPORT_RUNNING));
    struct wire_logs follow = {.task = ref(0).task.v, .follow = true, .tail_bytes = UINT64_MAX};
    for (int i = 0; i < LOGS_READERS_PER_USER; i++) {
        r.reader = NULL;
        read_log(&r, follow);
        T_RUN(&r.loop, r.log_size > 0);
        readers[i] = r.reader;
    }
    r.reader = NULL;
    read_log(&r, follow);
    T_RUN(&r.loop, r.answered);
    ck_assert_int_eq(r.answer.code, ERR_LIMIT);
    T_CONTAINS(r.answer.msg, "reads 16 logs on this machine already");
    /* Somebody else is not concerned; the one who ends one may have another. */
    struct tls_context *user = r.user;
    struct rpc_conn *one_too_many = r.reader;
    r.reader = NULL;
    r.user = t_tls(r.pki, "user/root");
    read_log(&r, follow);
    T_RUN(&r.loop, r.log_size > 0);
    rpc_close(r.reader);
    tls_context_close(r.user);
    r.user = user;
    r.reader_closed = false;
    T_RUN(&r.loop, r.reader_closed);
    r.reader_closed = false;
    rpc_close(readers[0]);
    T_RUN(&r.loop, r.reader_closed);
    r.reader = one_too_many;
    T_RUN(&r.loop, (read_log(&r, follow), t_loop_run_ms(&r.loop, 50), r.log_size > 0));
    for (int i = 1; i < LOGS_READERS_PER_USER; i++)
        rpc_close(readers[i]);
    rpc_close(one_too_many);
    rig_release(&r);
}
END_TEST

START_TEST(a_directory_serves_one_borglet_of_one_cell)
{
    struct state_dir second = {.lock_fd = -1, .seen_fd = -1};
    char pid[24];
    struct rig r;

    rig_init(&r);
    T_REFUSED(state_dir_open(r.dir, &r.cell, &second, &t_err), ERR_STATE);
    snprintf(pid, sizeof(pid), "pid %d:", getpid());
    T_CONTAINS(t_err.msg, pid);
    rig_release(&r);
    str_copy(r.cell.name, sizeof(r.cell.name), "other");
    T_REFUSED(state_dir_open(r.dir, &r.cell, &second, &t_err), ERR_STATE);
    T_CONTAINS(t_err.msg, "another cell");
}
END_TEST

static void copy_file(const char *from, const char *to, const char *name)
{
    char path[2][400], bytes[64];
    snprintf(path[0], sizeof path[0], "%s/%s", from, name);
    snprintf(path[1], sizeof path[1], "%s/%s", to, name);
    FILE *source = fopen(path[0], "re"), *target = fopen(path[1], "we");
    ck_assert(source != NULL && target != NULL);
    size_t size = fread(bytes, 1, sizeof bytes, source);
    ck_assert_uint_eq(fwrite(bytes, 1, size, target), size);
    fclose(source);
    ck_assert_int_eq(fclose(target), 0);
}

START_TEST(a_directory_is_told_from_its_copies_and_a_copy_with_tasks_is_refused)
{
    struct state_dir again, other, copied;
    struct rig r;

    rig_init(&r);
    struct state_dir first = r.state;
    ck_assert_uint_ne(first.instance, 0);
    ck_assert_uint_ne(first.directory, 0);
    rig_release(&r);
    T_OK(state_dir_open(r.dir, &r.cell, &again, &t_err)); /* started again */
    ck_assert_uint_eq(again.instance, first.instance);
    ck_assert_uint_eq(again.directory, first.directory);
    state_dir_close(&again);
    T_OK(state_dir_open(t_dir(), &r.cell, &other, &t_err));
    ck_assert_uint_ne(other.instance, first.instance);
    ck_assert_uint_ne(other.directory, first.directory);
    state_dir_close(&other);
    const char *copy = t_dir();
    copy_file(r.dir, copy, "instance");
    char tasks[400];
    snprintf(tasks, sizeof tasks, "%s/tasks", copy);
    ck_assert_int_eq(mkdir(tasks, 0700), 0);
    snprintf(tasks, sizeof tasks, "%s/tasks/web.0.1", copy);
    ck_assert_int_eq(mkdir(tasks, 0700), 0);
    T_REFUSED(state_dir_open(copy, &r.cell, &copied, &t_err), ERR_STATE);
    T_CONTAINS(t_err.msg, "is a copy of another borglet's directory");
    ck_assert_int_eq(rmdir(tasks), 0);
    T_OK(state_dir_open(copy, &r.cell, &copied, &t_err)); /* nothing in it can be mixed up */
    ck_assert_uint_ne(copied.instance, first.instance);
    ck_assert_uint_ne(copied.directory, first.directory);
    state_dir_close(&copied);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("borglet_agent");
    TCase *work = tcase_create("work"), *links = tcase_create("links"),
          *logs = tcase_create("logs");

    tcase_set_timeout(work, 60);
    tcase_set_timeout(links, 60);
    tcase_set_timeout(logs, 60);
    tcase_add_test(work, many_starts_at_once_leave_the_loop_to_others);
    tcase_add_test(work, a_task_is_run_reported_and_forgotten);
    tcase_add_test(work, a_preemptor_starts_when_its_victim_is_gone);
    tcase_add_test(work, what_is_larger_than_the_machine_or_unknown_is_told_at_once);
    tcase_add_test(work, what_the_cell_takes_for_running_and_is_not_there_is_lost);
    tcase_add_test(work, a_directory_serves_one_borglet_of_one_cell);
    tcase_add_test(work, a_directory_is_told_from_its_copies_and_a_copy_with_tasks_is_refused);
    tcase_add_test(links, a_replica_that_is_not_ready_is_left_for_the_next);
    tcase_add_test(links, a_replica_that_stopped_answering_is_left_for_the_next);
    tcase_add_test(links, a_replica_that_asks_it_to_move_is_left_for_the_one_it_names);
    tcase_add_test(links, a_move_to_a_replica_that_is_gone_ends_at_another);
    tcase_add_test(links, a_move_to_where_no_replica_is_known_is_not_made);
    tcase_add_test(links, a_master_of_another_number_than_the_address_has_is_no_partner);
    tcase_add_test(links, a_replica_whose_certificate_is_revoked_is_left_and_not_come_back_to);
    tcase_add_test(links, a_replica_that_says_it_is_none_any_more_is_left);
    tcase_add_test(links, tasks_go_on_without_masters_and_without_borglet);
    tcase_add_test(logs, a_log_is_read_from_the_start_and_from_its_tail);
    tcase_add_test(logs, a_followed_log_comes_as_it_is_written_and_ends_with_the_task);
    tcase_add_test(logs, a_log_that_is_not_here_is_told_with_those_that_are);
    tcase_add_loop_test(logs, a_log_that_was_tampered_with_is_refused_and_holds_nothing, 0,
                        ARRAY_SIZE(log_tampers));
    tcase_add_test(logs, a_user_has_a_part_of_the_readers_only);
    tcase_add_test(logs, a_log_is_read_by_its_user_and_by_readers_and_operators);
    tcase_add_test(logs, who_reads_logs_is_known_to_a_borglet_that_is_started_anew);
    tcase_add_test(logs, identities_are_kept_whole_or_not_at_all);
    tcase_add_test(logs, a_follower_that_leaves_and_one_too_many_do_no_harm);
    suite_add_tcase(suite, work);
    suite_add_tcase(suite, links);
    suite_add_tcase(suite, logs);
    return t_main(suite);
}
