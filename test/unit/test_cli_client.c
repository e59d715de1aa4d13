/*
 * test_cli_client.c - borgctl's client against replicas simulated by the test: dead, frozen,
 * without a leader, forgetful, closing. Each replica is a process and reports received commands in
 * a pipe.
 */
#include "client.h"

#include "cmd_pack.h"
#include "testlib.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum play {
    PLAY_GOOD,
    PLAY_DEAD,      /* nobody listens */
    PLAY_FROZEN,    /* listens, never accepts */
    PLAY_NO_LEADER, /* always unavailable */
    PLAY_ELECTING,  /* unavailable twice, then works */
    PLAY_CLOSING,   /* receives the first command and closes, then works */
    PLAY_SILENT,    /* receives commands and never answers */
    PLAY_REFUSING   /* refuses the command */
};

enum { REPLICAS_MAX = 3, INDEX = 77 };

struct bed {
    char dir[64];
    struct cell_file cell;
    pid_t pids[REPLICAS_MAX];
    int seen_fd; /* request ids of all commands that any replica received */
    int seen_out;
    struct cli cli;
    struct client *client;
};

/* The state of the replica, in its process. */
static struct {
    enum play play;
    int calls;
    int seen_out;
} fake;

static void fake_answer(struct rpc_call *call)
{
    CLEANUP(buf_release) struct buf body = {0};
    struct wire_answer answer = {.job = 5, .index = INDEX};
    wire_pack_answer(&body, &answer);
    rpc_reply(call, body.bytes, body.size);
}

static void fake_refuse(struct rpc_call *call, enum err_code code, const char *msg)
{
    struct err err;
    err_set(&err, code, "%s", msg);
    rpc_refuse(call, &err);
}

static void fake_command(struct rpc_conn *conn, struct rpc_call *call, const void *body,
                         size_t size)
{
    struct cmd cmd;
    if (cmd_unpack(body, size, &cmd, NULL) < 0 ||
        write(fake.seen_out, cmd.request_id, sizeof cmd.request_id) < 0)
        _exit(9);
    cmd_release(&cmd);
    fake.calls++;
    if (fake.play == PLAY_NO_LEADER || (fake.play == PLAY_ELECTING && fake.calls <= 2))
        fake_refuse(call, ERR_UNAVAILABLE, "no leader is known");
    else if (fake.play == PLAY_REFUSING)
        fake_refuse(call, ERR_EXISTS, "job exists");
    else if (fake.play == PLAY_CLOSING && fake.calls == 1)
        rpc_close(conn);
    else if (fake.play != PLAY_SILENT)
        fake_answer(call);
}

/* Answer one row: the index that the query requested. */
static void fake_query(struct rpc_conn *conn UNUSED, struct rpc_call *call, const void *body,
                       size_t size)
{
    CLEANUP(buf_release) struct buf packed = {0};
    struct wire_query query;
    if (wire_unpack_query(body, size, &query, NULL) < 0)
        _exit(9);
    const char *columns[] = {"index_min"};
    struct wire_value value = {WIRE_INTEGER, (int64_t)query.index_min, 0, NULL};
    struct wire_rows rows = {
        .column_count = 1, .row_count = 1, .columns = columns, .values = &value};
    wire_pack_rows(&packed, &rows);
    wire_query_release(&query);
    rpc_reply(call, packed.bytes, packed.size);
}

static void fake_status(struct rpc_conn *conn UNUSED, struct rpc_call *call,
                        const void *body UNUSED, size_t size UNUSED)
{
    CLEANUP(buf_release) struct buf packed = {0};
    struct wire_status status = {.id = 1, .pid = getpid(), .role = "leader", .term = 3};
    wire_pack_status(&packed, &status);
    rpc_reply(call, packed.bytes, packed.size);
}

static const struct rpc_method methods[] = {
    {WIRE_COMMAND, BIT(ROLE_USER), fake_command},
    {WIRE_QUERY, BIT(ROLE_USER), fake_query},
    {WIRE_STATUS, BIT(ROLE_USER), fake_status},
};

/* Run a replica's process: report the address, then serve until killed. */
_Noreturn static void fake_run(const char *dir, enum play play, int address_out, int seen_out)
{
    uv_loop_t loop;
    struct tls_context *tls;
    struct rpc_server *server;
    char pki[128];
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* it must not outlive a failing test */
    fake.play = play;
    fake.seen_out = seen_out;
    signal(SIGPIPE, SIG_IGN);
    snprintf(pki, sizeof pki, "%s/pki", dir);
    T_OK(tls_context_open(t_path(pki, "ca.crt"), t_path(pki, "master-1.crt"),
                          t_path(pki, "master-1.key"), &tls, &t_err));
    uv_loop_init(&loop);
    struct rpc_options options = {
        .loop = &loop, .tls = tls, .methods = methods, .method_count = ARRAY_SIZE(methods)};
    T_OK(rpc_listen(&options, "127.0.0.1:0", &server, &t_err));
    const char *address = rpc_server_address(server);
    if (write(address_out, address, strlen(address)) < 0)
        _exit(9);
    close(address_out);
    uv_run(&loop, UV_RUN_DEFAULT);
    _exit(0);
}

/* Return an address where nobody listens, or (frozen) where nobody accepts. */
static void fake_socket(bool frozen, char to[CELL_ADDR_MAX + 1])
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, size), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&a, &size), 0);
    snprintf(to, CELL_ADDR_MAX + 1, "127.0.0.1:%d", ntohs(a.sin_port));
    /* A bound socket that does not listen keeps the port and refuses connections. */
    if (frozen)
        ck_assert_int_eq(listen(fd, 8), 0);
}

static void replica_start(struct bed *bed, size_t i, enum play play)
{
    struct cell_replica *r = &bed->cell.replicas[i];
    r->id = i + 1;
    snprintf(r->raft, sizeof r->raft, "127.0.0.1:%d", (int)i + 1);
    if (play == PLAY_DEAD || play == PLAY_FROZEN) {
        fake_socket(play == PLAY_FROZEN, r->rpc);
        return;
    }
    int fds[2];
    ck_assert_int_eq(pipe(fds), 0);
    bed->pids[i] = fork();
    if (bed->pids[i] == 0) {
        close(fds[0]);
        fake_run(bed->dir, play, fds[1], bed->seen_out);
    }
    close(fds[1]);
    ssize_t n = read(fds[0], r->rpc, CELL_ADDR_MAX);
    ck_assert_int_gt(n, 0);
    r->rpc[n] = '\0';
    close(fds[0]);
}

static void bed_init(struct bed *bed, uint64_t timeout_ms, const enum play *plays, size_t count)
{
    static const struct identity master = {ROLE_MASTER, "1"}, ada = {ROLE_USER, "ada"};
    int fds[2];
    *bed = (struct bed){.cell = {.name = "test", .ca_path = "pki/ca.crt", .replica_count = count}};
    str_copy(bed->dir, sizeof bed->dir, t_dir());
    const char *pki = t_path(bed->dir, "pki");
    signal(SIGPIPE, SIG_IGN);
    ck_assert_int_eq(mkdir(pki, 0700), 0);
    T_OK(pki_make_ca(pki, "test", &t_err));
    T_OK(pki_make_cert(pki, "master-1", &master, &t_err));
    T_OK(pki_make_cert(pki, "user-ada", &ada, &t_err));
    ck_assert_int_eq(pipe2(fds, O_NONBLOCK), 0);
    bed->seen_fd = fds[0];
    bed->seen_out = fds[1];
    for (size_t i = 0; i < count; i++)
        replica_start(bed, i, plays[i]);
    T_OK(cell_file_save(t_path(bed->dir, "cell.json"), &bed->cell, &t_err));
    bed->cli = (struct cli){.timeout_ms = timeout_ms, .quiet = true, .value_count = 2};
    bed->cli.values[0] = (struct cli_option_value){OPT_CELL, bed->dir};
    bed->cli.values[1] = (struct cli_option_value){OPT_USER, "ada"};
    T_OK(client_open(&bed->cli, &bed->client, &t_err));
}

static void bed_release(struct bed *bed)
{
    client_close(bed->client);
    for (size_t i = 0; i < REPLICAS_MAX; i++) {
        if (bed->pids[i] > 0) {
            kill(bed->pids[i], SIGKILL);
            waitpid(bed->pids[i], NULL, 0);
        }
    }
}

/* Return the number of commands that the replicas received; all must have the same request id. */
static int commands_seen(struct bed *bed)
{
    uint64_t first[2], id[2];
    int count = 0;
    while (read(bed->seen_fd, id, sizeof id) == (ssize_t)sizeof id) {
        if (count++ == 0)
            memcpy(first, id, sizeof first);
        ck_assert_mem_eq(first, id, sizeof id);
        ck_assert(id[0] != 0 || id[1] != 0);
    }
    return count;
}

static int kill_job(struct bed *bed, struct wire_answer *answer)
{
    struct cmd cmd = {.kind = CMD_JOB_KILL, .job_kill = {"web"}};
    return client_command(bed->client, &cmd, answer, &t_err);
}

static int64_t query_index_min(struct bed *bed)
{
    struct wire_rows rows;
    T_OK(client_query(bed->client, "SELECT 1", false, &rows, &t_err));
    int64_t n = rows.values[0].integer;
    wire_rows_release(&rows);
    return n;
}

struct story {
    enum play plays[REPLICAS_MAX];
    size_t replica_count;
    enum err_code code;
    int seen_min, seen_max;
    uint64_t ms_max;
};

static const struct story stories[] = {
    /* The working replica is found at any position in the file. */
    {{PLAY_GOOD, PLAY_DEAD, PLAY_DEAD}, 3, ERR_OK, 1, 1, 3000},
    {{PLAY_DEAD, PLAY_GOOD, PLAY_DEAD}, 3, ERR_OK, 1, 1, 3000},
    {{PLAY_DEAD, PLAY_DEAD, PLAY_GOOD}, 3, ERR_OK, 1, 1, 3000},
    {{PLAY_GOOD, PLAY_FROZEN, PLAY_FROZEN}, 3, ERR_OK, 1, 1, 1900},
    {{PLAY_FROZEN, PLAY_GOOD, PLAY_FROZEN}, 3, ERR_OK, 1, 1, 1900},
    {{PLAY_FROZEN, PLAY_FROZEN, PLAY_GOOD}, 3, ERR_OK, 1, 1, 1900},
    /* The client waits for a change of leader, with one request id. */
    {{PLAY_ELECTING}, 1, ERR_OK, 3, 3, 4000},
    {{PLAY_NO_LEADER, PLAY_GOOD, PLAY_NO_LEADER}, 3, ERR_OK, 1, 3, 4000},
    {{PLAY_CLOSING}, 1, ERR_OK, 2, 2, 4000},
    {{PLAY_SILENT, PLAY_SILENT, PLAY_GOOD}, 3, ERR_OK, 1, 3, 12000},
    /* An unknown outcome is reported as such, and so is a certain failure. */
    {{PLAY_SILENT}, 1, ERR_UNKNOWN_OUTCOME, 1, 5, 12000},
    {{PLAY_NO_LEADER, PLAY_DEAD, PLAY_NO_LEADER}, 3, ERR_UNAVAILABLE, 2, 100, 12000},
    {{PLAY_DEAD, PLAY_DEAD, PLAY_DEAD}, 3, ERR_UNAVAILABLE, 0, 0, 12000},
    {{PLAY_FROZEN}, 1, ERR_UNAVAILABLE, 0, 0, 12000},
    /* A refusal is an answer: it is not retried. */
    {{PLAY_REFUSING, PLAY_REFUSING, PLAY_REFUSING}, 3, ERR_EXISTS, 1, 1, 3000},
};

START_TEST(a_command_ends_with_an_answer_or_a_reason)
{
    const struct story *s = &stories[_i];
    struct bed bed;
    struct wire_answer answer;
    /* The failing cases wait for the whole time-out, so it is short. */
    uint64_t timeout_ms =
        s->code == ERR_UNKNOWN_OUTCOME || s->code == ERR_UNAVAILABLE ? 2000 : 10000;
    bed_init(&bed, timeout_ms, s->plays, s->replica_count);
    uint64_t start = clock_mono_ms();
    t_err = (struct err){0};
    int r = kill_job(&bed, &answer);
    uint64_t took_ms = clock_mono_ms() - start;
    int seen = commands_seen(&bed);
    ck_assert_msg(r == -(int)s->code, "got %d: %s", r, t_err.msg);
    ck_assert_msg(seen >= s->seen_min && seen <= s->seen_max, "%d commands seen", seen);
    ck_assert_msg(took_ms <= s->ms_max, "took %d ms", (int)took_ms);
    if (s->code == ERR_OK) {
        ck_assert_uint_eq(answer.job, 5);
        ck_assert_int_eq(query_index_min(&bed), INDEX);
    }
    bed_release(&bed);
}
END_TEST

START_TEST(a_query_before_any_command_waits_for_no_index)
{
    static const enum play plays[] = {PLAY_GOOD};
    struct bed bed;
    bed_init(&bed, 5000, plays, 1);
    ck_assert_int_eq(query_index_min(&bed), 0);
    bed_release(&bed);
}
END_TEST

START_TEST(a_replica_that_returns_is_found_within_the_time_out)
{
    static const enum play plays[] = {PLAY_GOOD};
    struct bed bed;
    struct wire_answer answer;
    bed_init(&bed, 15000, plays, 1);
    ck_assert_int_eq(query_index_min(&bed), 0);
    kill(bed.pids[0], SIGSTOP);
    pid_t waker = fork();
    if (waker == 0) {
        poll(NULL, 0, 1500);
        kill(bed.pids[0], SIGCONT);
        _exit(0);
    }
    T_OK(kill_job(&bed, &answer));
    waitpid(waker, NULL, 0);
    bed_release(&bed);
}
END_TEST

START_TEST(every_replica_returns_its_status_or_a_reason)
{
    static const enum play plays[] = {PLAY_GOOD, PLAY_DEAD, PLAY_FROZEN};
    struct client_status all[CELL_REPLICAS_MAX];
    struct bed bed;
    bed_init(&bed, 5000, plays, 3);
    uint64_t start = clock_mono_ms();
    client_statuses(bed.client, all);
    ck_assert_uint_lt(clock_mono_ms() - start, CLIENT_STATUS_MS + 3000);
    ck_assert(all[0].reachable);
    ck_assert_int_eq(all[0].status.pid, bed.pids[0]);
    ck_assert(!all[1].reachable);
    T_CONTAINS(all[1].why.msg, "refused");
    ck_assert(!all[2].reachable);
    ck_assert_str_ne(all[2].why.msg, "");
    /* The client still works afterwards. */
    ck_assert_int_eq(query_index_min(&bed), 0);
    bed_release(&bed);
}
END_TEST

START_TEST(a_missing_cell_or_certificate_is_reported_with_a_remedy)
{
    static const enum play plays[] = {PLAY_DEAD};
    struct bed bed;
    struct client *client;
    bed_init(&bed, 1000, plays, 1);
    bed.cli.values[1].text = "mallory";
    T_REFUSED(client_open(&bed.cli, &client, &t_err), ERR_DENIED);
    T_CONTAINS(t_err.msg, "user-mallory.crt");
    bed.cli.values[1].text = "../ada";
    T_REFUSED(client_open(&bed.cli, &client, &t_err), ERR_INVALID);
    bed.cli.values[0].text = "/no/such/cell";
    T_REFUSED(client_open(&bed.cli, &client, &t_err), ERR_NOT_FOUND);
    T_CONTAINS(t_err.msg, "borgctl cell up");
    bed_release(&bed);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("client");
    TCase *tcase = tcase_create("client");
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, a_command_ends_with_an_answer_or_a_reason, 0, ARRAY_SIZE(stories));
    tcase_add_test(tcase, a_query_before_any_command_waits_for_no_index);
    tcase_add_test(tcase, a_replica_that_returns_is_found_within_the_time_out);
    tcase_add_test(tcase, every_replica_returns_its_status_or_a_reason);
    tcase_add_test(tcase, a_missing_cell_or_certificate_is_reported_with_a_remedy);
    suite_add_tcase(suite, tcase);
    return t_main(suite);
}
