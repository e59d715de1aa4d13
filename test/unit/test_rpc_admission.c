/*
 * test_rpc_admission.c - what one user sends, however he sends it, does not hold up another one.
 */
#include "rpc_frame.h"
#include "rpc_impl.h"
#include "testlib.h"

enum { M_ECHO = 1, M_HOLD, M_NOTICE, M_WORK, M_DEAR };
enum { CLIENTS_MAX = 64, HELD_MAX = 512, WORK_US = 2000, DEAR_US = 30000 };

struct bed;

struct client {
    struct bed *bed;
    struct rpc_conn *conn; /* NULL after on_close */
    int opened, closed, answered;
    struct err why;
};

struct raw {
    struct stream *s;
    struct buf received;
    int opened, closed;
};

struct bed {
    struct t_loop loop;
    struct tls_context *master, *ada, *bob;
    struct rpc_server *server;
    struct client clients[CLIENTS_MAX];
    size_t client_count;
    struct rpc_call *held[HELD_MAX];
    size_t held_count;
    int opened, closed, notices, worked;
    struct rpc_conn *accepted; /* the newest */
    struct err why;            /* of the last connection that closed here */
};

static void serve_echo(struct rpc_conn *conn UNUSED, struct rpc_call *call, const void *body,
                       size_t size)
{
    rpc_reply(call, body, size);
}

static void serve_hold(struct rpc_conn *conn, struct rpc_call *call, const void *body UNUSED,
                       size_t size UNUSED)
{
    struct bed *bed = rpc_data(conn);
    ck_assert_uint_lt(bed->held_count, HELD_MAX);
    bed->held[bed->held_count++] = call;
}

static void serve_notice(struct rpc_conn *conn, struct rpc_call *call UNUSED,
                         const void *body UNUSED, size_t size UNUSED)
{
    ((struct bed *)rpc_data(conn))->notices++;
}

/* Takes its time, as a handler may. */
static void serve_work(struct rpc_conn *conn, struct rpc_call *call, const void *body UNUSED,
                       size_t size UNUSED)
{
    uint64_t begin_us = clock_mono_us();
    while (clock_mono_us() - begin_us < WORK_US)
        ;
    ((struct bed *)rpc_data(conn))->worked++;
    rpc_reply(call, NULL, 0);
}

/* Quick here, and dear to others. */
static void serve_dear(struct rpc_conn *conn, struct rpc_call *call, const void *body UNUSED,
                       size_t size UNUSED)
{
    rpc_charge(conn, DEAR_US);
    ((struct bed *)rpc_data(conn))->worked++;
    rpc_reply(call, NULL, 0);
}

static const struct rpc_method methods[] = {
    {M_ECHO, BIT(ROLE_USER), serve_echo},
    {M_HOLD, BIT(ROLE_USER), serve_hold},
    {M_NOTICE, BIT(ROLE_USER) | ROLE_MAY_NOTIFY, serve_notice},
    {M_WORK, BIT(ROLE_USER) | ROLE_MAY_NOTIFY, serve_work},
    {M_DEAR, BIT(ROLE_USER), serve_dear},
};

static void server_on_open(struct rpc_conn *conn)
{
    struct bed *bed = rpc_data(conn);
    bed->accepted = conn;
    bed->opened++;
}

static void server_on_close(struct rpc_conn *conn, const struct err *why)
{
    struct bed *bed = rpc_data(conn);
    bed->closed++;
    bed->why = *why;
}

static struct admission_limits small_limits(void)
{
    struct admission_limits limits = admission_rpc;
    limits.connections = 512;
    return limits;
}

static struct bed *bed_new(struct admission_limits limits)
{
    struct bed *bed = xcalloc(1, sizeof *bed);
    const char *pki = t_pki();
    t_loop_init(&bed->loop);
    bed->master = t_tls(pki, "master/1");
    bed->ada = t_tls(pki, "user/ada");
    bed->bob = t_tls(pki, "user/bob");
    struct rpc_options options = {.loop = &bed->loop.uv,
                                  .tls = bed->master,
                                  .methods = methods,
                                  .method_count = ARRAY_SIZE(methods),
                                  .limits = &limits,
                                  .data = bed,
                                  .on_open = server_on_open,
                                  .on_close = server_on_close};
    T_OK(rpc_listen(&options, "127.0.0.1:0", &bed->server, &t_err));
    return bed;
}

static void client_on_open(struct rpc_conn *conn)
{
    ((struct client *)rpc_data(conn))->opened++;
}

static void client_on_close(struct rpc_conn *conn, const struct err *why)
{
    struct client *client = rpc_data(conn);
    client->closed++;
    client->conn = NULL;
    client->why = *why;
}

static struct client *bed_dial(struct bed *bed, struct tls_context *tls)
{
    ck_assert_uint_lt(bed->client_count, CLIENTS_MAX);
    struct client *client = &bed->clients[bed->client_count++];
    client->bed = bed;
    struct rpc_options options = {.loop = &bed->loop.uv,
                                  .tls = tls,
                                  .data = client,
                                  .on_open = client_on_open,
                                  .on_close = client_on_close};
    T_OK(rpc_connect(&options, rpc_server_address(bed->server), NULL, &client->conn, &t_err));
    return client;
}

static struct client *bed_connect(struct bed *bed, struct tls_context *tls)
{
    int before = bed->opened;
    struct client *client = bed_dial(bed, tls);
    T_RUN(&bed->loop, client->opened == 1 && bed->opened == before + 1);
    return client;
}

static void bed_answer_all(struct bed *bed)
{
    size_t count = bed->held_count;
    bed->held_count = 0;
    for (size_t i = 0; i < count; i++)
        rpc_reply(bed->held[i], NULL, 0);
}

static void bed_free(struct bed *bed)
{
    for (size_t i = 0; i < bed->client_count; i++)
        if (bed->clients[i].conn != NULL)
            rpc_close(bed->clients[i].conn);
    rpc_server_close(bed->server);
    t_loop_close(&bed->loop);
    ck_assert_int_eq(bed->opened, bed->closed);
    bed_answer_all(bed);
    tls_context_close(bed->master);
    tls_context_close(bed->ada);
    tls_context_close(bed->bob);
    free(bed);
}

static void on_answer(void *data, const struct err *err, const void *body UNUSED,
                      size_t size UNUSED)
{
    struct client *client = data;
    if (err == NULL)
        client->answered++;
}

static void client_call(struct client *client, uint32_t method)
{
    T_OK(rpc_request(client->conn, method, "x", 1, 0, on_answer, client, &t_err));
}

/* How many turns of the loop it takes until the call of a client is answered. */
static int turns_to_answer(struct client *client)
{
    int turns = 0, before = client->answered;
    client_call(client, M_ECHO);
    for (; client->answered == before; turns++) {
        ck_assert_int_lt(turns, 100000);
        uv_run(&client->bed->loop.uv, UV_RUN_NOWAIT);
    }
    return turns;
}

static void raw_on_open(struct stream *s UNUSED, void *data)
{
    ((struct raw *)data)->opened++;
}

static void raw_on_data(struct stream *s UNUSED, void *data, const void *bytes, size_t size)
{
    buf_append(&((struct raw *)data)->received, bytes, size);
}

static void raw_on_close(struct stream *s UNUSED, void *data, const struct err *why UNUSED)
{
    struct raw *raw = data;
    raw->s = NULL;
    raw->closed++;
}

static const struct stream_handlers raw_handlers = {raw_on_open, raw_on_data, NULL, raw_on_close};

static void raw_connect(struct bed *bed, struct raw *raw)
{
    struct stream_options options = {.loop = &bed->loop.uv,
                                     .tls = bed->ada,
                                     .handlers = &raw_handlers,
                                     .data = raw,
                                     .queue_bytes_max = RPC_QUEUE_BYTES_MAX};
    int before = bed->opened;
    T_OK(stream_connect(&options, rpc_server_address(bed->server), &raw->s, &t_err));
    T_RUN(&bed->loop, raw->opened == 1 && bed->opened == before + 1);
}

/* Many small frames of that kind at once. */
static void raw_flood(struct raw *raw, enum rpc_kind kind, uint32_t method, unsigned count)
{
    CLEANUP(buf_release) struct buf bytes = {0};
    for (unsigned i = 1; i <= count; i++) {
        struct rpc_frame frame = {.kind = kind, .id = kind == RPC_CALL ? i : 0, .method = method};
        T_OK(rpc_frame_pack_head(&bytes, &frame, &t_err));
    }
    ck_assert_int_eq(stream_write(raw->s, bytes.bytes, bytes.size), 0);
}

/* On each connection so many slow calls, and notices on every other. */
static void raws_work(struct bed *bed, struct raw *raws, int count, unsigned each)
{
    for (int i = 0; i < count; i++)
        raw_connect(bed, &raws[i]);
    for (int i = 0; i < count; i++)
        raw_flood(&raws[i], i % 2 == 0 ? RPC_CALL : RPC_NOTICE, M_WORK, each);
}

static void raws_close(struct bed *bed, struct raw *raws, int count)
{
    for (int i = 0; i < count; i++) {
        stream_close(raws[i].s);
        T_RUN(&bed->loop, raws[i].closed == 1);
        buf_release(&raws[i].received);
    }
}

/* The bye that a peer got, which is all that it got. */
static struct rpc_frame raw_bye(const struct raw *raw)
{
    struct rpc_frame bye;
    ck_assert_uint_gt(raw->received.size, RPC_LENGTH_BYTES);
    T_OK(rpc_frame_unpack(raw->received.bytes + RPC_LENGTH_BYTES,
                          raw->received.size - RPC_LENGTH_BYTES, &bye, &t_err));
    ck_assert_int_eq(bye.kind, RPC_BYE);
    return bye;
}

START_TEST(a_connection_over_the_budget_is_told_why)
{
    struct admission_limits limits = small_limits();
    limits.roles[ROLE_USER].connections = 2;
    struct bed *bed = bed_new(limits);
    bed_connect(bed, bed->ada);
    struct client *second = bed_connect(bed, bed->ada);
    struct client *third = bed_dial(bed, bed->ada);
    T_RUN(&bed->loop, third->closed == 1);
    ck_assert_int_eq(third->why.code, ERR_LIMIT);
    T_CONTAINS(third->why.msg, "user/ada has 2 connections here");
    bed_connect(bed, bed->bob); /* another user has his own */
    ck_assert_int_eq(bed->opened, 3);
    rpc_close(second->conn);
    T_RUN(&bed->loop, bed->closed == 1);
    t_loop_run_ms(&bed->loop, 50);
    bed_connect(bed, bed->ada);
    bed_free(bed);
}
END_TEST

START_TEST(a_flood_of_notices_leaves_others_their_turn)
{
    enum { NOTICES = 20000 };
    struct bed *bed = bed_new(small_limits());
    struct client *bob = bed_connect(bed, bed->bob);
    struct raw raw = {0};
    raw_connect(bed, &raw);
    raw_flood(&raw, RPC_NOTICE, M_NOTICE, NOTICES);
    while (bed->notices < NOTICES / 2) {
        int before = bed->notices;
        uv_run(&bed->loop.uv, UV_RUN_NOWAIT);
        ck_assert_int_le(bed->notices - before,
                         2 * (int)admission_rpc.roles[ROLE_USER].turn_frames);
    }
    ck_assert_int_lt(turns_to_answer(bob), 50);
    ck_assert_int_lt(bed->notices, NOTICES);
    T_RUN(&bed->loop, bed->notices == NOTICES); /* slowed, not dropped */
    stream_close(raw.s);
    bed_free(bed);
}
END_TEST

START_TEST(slow_requests_of_one_user_over_many_connections_take_a_bounded_part_of_a_turn)
{
    enum { CONNECTIONS = 20, EACH = 20 };
    struct bed *bed = bed_new(small_limits());
    struct client *bob = bed_connect(bed, bed->bob);
    struct raw raws[CONNECTIONS] = {0};
    raws_work(bed, raws, CONNECTIONS, EACH);
    int turn_max = 2 * (int)admission_rpc.roles[ROLE_USER].turn_us / WORK_US + 2;
    while (bed->worked < CONNECTIONS * EACH / 2) {
        int before = bed->worked;
        uv_run(&bed->loop.uv, UV_RUN_NOWAIT);
        ck_assert_int_le(bed->worked - before, turn_max);
    }
    ck_assert_int_lt(turns_to_answer(bob), 10);
    ck_assert_int_lt(bed->worked, CONNECTIONS * EACH);
    T_RUN(&bed->loop, bed->worked == CONNECTIONS * EACH);
    raws_close(bed, raws, CONNECTIONS);
    bed_free(bed);
}
END_TEST

/* Each call is small and answered at once: all of them together would keep the loop busy for good.
 */
START_TEST(who_asks_as_fast_as_he_is_answered_gets_his_share_of_the_loop)
{
    enum { CONNECTIONS = 10, EACH = 30 };
    struct bed *bed = bed_new(small_limits());
    struct client *bob = bed_connect(bed, bed->bob);
    struct raw raws[CONNECTIONS] = {0};
    raws_work(bed, raws, CONNECTIONS, EACH);
    int turn_max = (int)admission_rpc.roles[ROLE_USER].turn_us / WORK_US + 1;
    uint64_t begin_us = clock_mono_us(), asked = 0;
    while (bed->worked < CONNECTIONS * EACH / 2) {
        int before = bed->worked;
        turns_to_answer(bob);
        ck_assert_int_lt(bed->worked - before, 10 * turn_max);
        asked++;
    }
    /* At least so long it takes him, whatever else the machine does. */
    const struct bucket_limits *busy = &admission_rpc.roles[ROLE_USER].busy;
    uint64_t least_us = (uint64_t)bed->worked * WORK_US - busy->burst_us - WORK_US;
    ck_assert_uint_ge(clock_mono_us() - begin_us, least_us * 100 / busy->percent);
    ck_assert_uint_gt(asked, CONNECTIONS);
    T_RUN(&bed->loop, bed->worked == CONNECTIONS * EACH); /* slowed, not dropped */
    raws_close(bed, raws, CONNECTIONS);
    bed_free(bed);
}
END_TEST

START_TEST(what_is_dear_elsewhere_counts_as_time_of_the_loop)
{
    enum { CALLS = 10 };
    struct bed *bed = bed_new(small_limits());
    struct client *bob = bed_connect(bed, bed->bob);
    struct raw raw = {0};
    raw_connect(bed, &raw);
    uint64_t begin_us = clock_mono_us();
    raw_flood(&raw, RPC_CALL, M_DEAR, CALLS);
    while (bed->worked < CALLS)
        turns_to_answer(bob);
    const struct bucket_limits *busy = &admission_rpc.roles[ROLE_USER].busy;
    ck_assert_uint_ge(clock_mono_us() - begin_us,
                      (CALLS * DEAR_US - busy->burst_us - DEAR_US) * 100 / busy->percent);
    raws_close(bed, &raw, 1);
    bed_free(bed);
}
END_TEST

/* Nor do some of his own connections keep the share from the others. */
START_TEST(the_connections_of_an_identity_take_turns_with_its_share)
{
    enum { CONNECTIONS = 6, EACH = 40 };
    struct bed *bed = bed_new(small_limits());
    struct raw raws[CONNECTIONS] = {0};
    raws_work(bed, raws, CONNECTIONS, EACH);
    T_RUN(&bed->loop, bed->worked >= CONNECTIONS * EACH / 2);
    for (int i = 0; i < CONNECTIONS; i += 2) /* those with calls */
        ck_assert_uint_gt(raws[i].received.size, 0);
    raws_close(bed, raws, CONNECTIONS);
    bed_free(bed);
}
END_TEST

START_TEST(unanswered_calls_are_counted_over_all_connections)
{
    enum { CALLS = 40, CONNECTIONS = 6, EACH = 20 };
    struct admission_limits limits = small_limits();
    limits.roles[ROLE_USER].calls = CALLS;
    struct bed *bed = bed_new(limits);
    struct client *clients[CONNECTIONS];
    int answered = 0;
    for (int i = 0; i < CONNECTIONS; i++)
        clients[i] = bed_connect(bed, bed->ada);
    for (int i = 0; i < CONNECTIONS; i++)
        for (int n = 0; n < EACH; n++)
            client_call(clients[i], M_HOLD);
    T_RUN(&bed->loop, bed->held_count >= CALLS);
    t_loop_run_ms(&bed->loop, 100);
    ck_assert_uint_eq(bed->held_count, CALLS);
    turns_to_answer(bed_connect(bed, bed->bob));
    while (answered < CONNECTIONS * EACH) {
        ck_assert_uint_le(bed->held_count, CALLS);
        bed_answer_all(bed);
        uv_run(&bed->loop.uv, UV_RUN_ONCE);
        answered = 0;
        for (int i = 0; i < CONNECTIONS; i++)
            answered += clients[i]->answered;
    }
    bed_free(bed);
}
END_TEST

START_TEST(frames_that_do_not_become_whole_are_bounded_and_closed)
{
    enum { RAWS = 20, FRAME = 1000000, BUDGET = 2000000 };
    struct admission_limits limits = small_limits();
    limits.frame_ms = 1500;
    limits.roles[ROLE_USER].frame_bytes = BUDGET;
    struct bed *bed = bed_new(limits);
    struct client *bob = bed_connect(bed, bed->bob);
    struct raw raws[RAWS] = {0};
    char *part = xcalloc(1, FRAME);
    memcpy(part, "\0\x0f\x42\x40", 4); /* its length: it lacks four bytes */
    for (int i = 0; i < RAWS; i++) {
        raw_connect(bed, &raws[i]);
        ck_assert_int_eq(stream_write(raws[i].s, part, FRAME), 0);
    }
    free(part);
    struct admission_account *ada = bed->accepted->account;
    uint64_t until_ms = clock_mono_ms() + 500;
    T_RUN(&bed->loop, clock_mono_ms() > until_ms);
    ck_assert_uint_ge(account_memory(ada), BUDGET);
    ck_assert_uint_le(account_memory(ada), BUDGET + RAWS * 131072); /* what is over waits */
    ck_assert_int_lt(turns_to_answer(bob), 50);
    T_RUN(&bed->loop, bed->closed == RAWS);
    ck_assert_int_eq(bed->why.code, ERR_TIMEOUT);
    for (int i = 0; i < RAWS; i++) {
        T_RUN(&bed->loop, raws[i].closed == 1);
        buf_release(&raws[i].received);
    }
    turns_to_answer(bob);
    turns_to_answer(bed_connect(bed, bed->ada)); /* and the budget is free again */
    bed_free(bed);
}
END_TEST

START_TEST(a_frame_sent_byte_by_byte_has_its_time_and_no_more)
{
    struct admission_limits limits = small_limits();
    limits.frame_ms = 1000;
    struct bed *bed = bed_new(limits);
    struct raw raw = {0};
    raw_connect(bed, &raw);
    ck_assert_int_eq(stream_write(raw.s, "\0\0\4\0", 4), 0);
    uint64_t begin_ms = clock_mono_ms();
    while (raw.closed == 0) {
        ck_assert_uint_lt(clock_mono_ms() - begin_ms, 10000);
        if (raw.s != NULL)
            (void)!stream_write(raw.s, "x", 1);
        t_loop_run_ms(&bed->loop, 50);
    }
    ck_assert_uint_ge(clock_mono_ms() - begin_ms, 900);
    struct rpc_frame bye = raw_bye(&raw);
    ck_assert_uint_eq(bye.code, ERR_TIMEOUT);
    ck_assert_msg(memmem(bye.msg, bye.msg_size, "not complete", 12) != NULL, "says why");
    buf_release(&raw.received);
    bed_free(bed);
}
END_TEST

START_TEST(an_idle_user_goes_and_one_that_waits_for_an_answer_stays)
{
    struct admission_limits limits = small_limits();
    limits.roles[ROLE_USER].idle_ms = 1000;
    struct bed *bed = bed_new(limits);
    struct client *waits = bed_connect(bed, bed->ada), *talks = bed_connect(bed, bed->ada);
    struct client *idle = bed_connect(bed, bed->ada);
    client_call(waits, M_HOLD);
    while (idle->closed == 0) {
        client_call(talks, M_ECHO);
        t_loop_run_ms(&bed->loop, 50);
    }
    ck_assert_int_eq(idle->why.code, ERR_TIMEOUT);
    T_CONTAINS(idle->why.msg, "connect again");
    for (int i = 0; i < 30; i++) {
        client_call(talks, M_ECHO);
        t_loop_run_ms(&bed->loop, 50);
    }
    ck_assert_int_eq(waits->closed + talks->closed, 0);
    bed_answer_all(bed);
    T_RUN(&bed->loop, waits->answered == 1);
    bed_free(bed);
}
END_TEST

START_TEST(a_notice_of_a_call_is_told_so)
{
    struct bed *bed = bed_new(small_limits());
    struct client *client = bed_connect(bed, bed->ada);
    ck_assert_int_eq(rpc_notify(client->conn, M_ECHO, "x", 1), 0);
    T_RUN(&bed->loop, client->closed == 1);
    ck_assert_int_eq(client->why.code, ERR_DENIED);
    T_CONTAINS(client->why.msg, " is a call");
    bed_free(bed);
}
END_TEST

START_TEST(answers_that_nobody_fetches_are_bounded_over_all_connections)
{
    enum { RAWS = 10, CALLS = 60, BODY = 100000, MEMORY = 4000000 };
    struct admission_limits limits = small_limits();
    limits.roles[ROLE_USER].memory_bytes = MEMORY;
    struct bed *bed = bed_new(limits);
    struct raw raws[RAWS] = {0};
    CLEANUP(buf_release) struct buf bytes = {0};
    char *body = xcalloc(1, BODY);
    for (unsigned id = 1; id <= CALLS; id++) {
        struct rpc_frame frame = {
            .kind = RPC_CALL, .id = id, .method = M_ECHO, .body = body, .body_size = BODY};
        T_OK(rpc_frame_pack_head(&bytes, &frame, &t_err));
        buf_append(&bytes, body, BODY);
    }
    free(body);
    for (int i = 0; i < RAWS; i++) {
        raw_connect(bed, &raws[i]);
        stream_pause(raws[i].s);
        ck_assert_int_eq(stream_write(raws[i].s, bytes.bytes, bytes.size), 0);
    }
    /* 60 MB of answers: the kernel takes some, and what waits in the master is bounded. */
    struct admission_account *ada = bed->accepted->account;
    uint64_t until_ms = clock_mono_ms() + 500;
    while (clock_mono_ms() < until_ms) {
        uv_run(&bed->loop.uv, UV_RUN_NOWAIT);
        ck_assert_uint_le(account_memory(ada), MEMORY);
    }
    turns_to_answer(bed_connect(bed, bed->bob));
    ck_assert_int_eq(bed->closed, 0);
    for (int i = 0; i < RAWS; i++)
        stream_resume(raws[i].s);
    for (int i = 0; i < RAWS; i++) {
        T_RUN(&bed->loop, raws[i].received.size > (size_t)CALLS * BODY);
        stream_close(raws[i].s);
        T_RUN(&bed->loop, raws[i].closed == 1);
        buf_release(&raws[i].received);
    }
    bed_free(bed);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("rpc_admission");
    TCase *tc = tcase_create("budgets");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, a_connection_over_the_budget_is_told_why);
    tcase_add_test(tc, a_notice_of_a_call_is_told_so);
    tcase_add_test(tc, a_flood_of_notices_leaves_others_their_turn);
    tcase_add_test(tc,
                   slow_requests_of_one_user_over_many_connections_take_a_bounded_part_of_a_turn);
    tcase_add_test(tc, who_asks_as_fast_as_he_is_answered_gets_his_share_of_the_loop);
    tcase_add_test(tc, what_is_dear_elsewhere_counts_as_time_of_the_loop);
    tcase_add_test(tc, the_connections_of_an_identity_take_turns_with_its_share);
    tcase_add_test(tc, unanswered_calls_are_counted_over_all_connections);
    tcase_add_test(tc, frames_that_do_not_become_whole_are_bounded_and_closed);
    tcase_add_test(tc, a_frame_sent_byte_by_byte_has_its_time_and_no_more);
    tcase_add_test(tc, an_idle_user_goes_and_one_that_waits_for_an_answer_stays);
    tcase_add_test(tc, answers_that_nobody_fetches_are_bounded_over_all_connections);
    suite_add_tcase(suite, tc);
    return t_main(suite);
}
