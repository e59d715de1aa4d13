/*
 * fuzz_rpc.c - a connection of calls over a simulated stream: bytes of a peer in pieces, late
 * answers, pauses, full queues, an end at any point.
 *
 * The first byte: bit 0 we connected, else the peer did; bit 1 answers are late; bits 2-3 the
 * peer's role. Then follow steps: a byte below 200 is a number of bytes that arrive, others see
 * step().
 */
#include "rpc.h"
#include "log.h"

#include "made_up_stream.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum { WAITING_MAX = 256 };

static struct rpc_call *waiting[WAITING_MAX];
static size_t waiting_count;
static bool answers_late;

static void touch(const void *body, size_t size)
{
    volatile char last = size > 0 ? ((const char *)body)[size - 1] : 0;
    (void)last;
}

static void fuzz_rpc_on_echo(struct rpc_conn *conn, struct rpc_call *call, const void *body,
                             size_t size)
{
    (void)conn;
    touch(body, size);
    if (answers_late && call != NULL && waiting_count < WAITING_MAX)
        waiting[waiting_count++] = call;
    else
        rpc_reply(call, body, MIN(size, (size_t)65536));
}

static void fuzz_rpc_on_refuse(struct rpc_conn *conn, struct rpc_call *call, const void *body,
                               size_t size)
{
    struct err err;
    touch(body, size);
    err_set(&err, ERR_UNAVAILABLE, "no room");
    if (call != NULL)
        rpc_refuse(call, &err);
    rpc_close(conn);
}

static void fuzz_rpc_on_answer(void *data, const struct err *err, const void *body, size_t size)
{
    (void)data;
    if (err == NULL)
        touch(body, size);
}

static const struct rpc_method methods[] = {
    {1, BIT(ROLE_USER) | BIT(ROLE_MASTER), fuzz_rpc_on_echo},
    {2, BIT(ROLE_USER), fuzz_rpc_on_refuse},
    {3, BIT(ROLE_BORGLET), fuzz_rpc_on_echo},
};

static void answer_one(bool kindly)
{
    struct err err;
    struct rpc_call *call = waiting[--waiting_count];
    if (kindly) {
        rpc_reply(call, "abc", 3);
        return;
    }
    err_set(&err, ERR_UNAVAILABLE, "not now");
    rpc_refuse(call, &err);
}

static void arrive(const uint8_t *bytes, size_t size)
{
    if (size == 0 || stream->paused || stream->closing)
        return;
    void *copy = xcalloc(size, 1);
    memcpy(copy, bytes, size);
    stream->options.handlers->on_data(stream, stream->options.data, copy, size);
    free(copy);
}

/* Execute one step; return the number of bytes that it used. */
static size_t step(uv_loop_t *loop, uint8_t what, const uint8_t *bytes, size_t size)
{
    if (what < 200) {
        size_t count = MIN((size_t)what, size);
        arrive(bytes, count);
        return count;
    }
    if (what < 220 && waiting_count > 0) {
        answer_one((what & 1) != 0);
    } else if (what < 240) {
        stream->queued = 0;
        if (stream->wants_drain && !stream->closing) {
            stream->wants_drain = false;
            stream->options.handlers->on_drain(stream, stream->options.data);
        }
    } else if (what < 250) {
        uv_run(loop, UV_RUN_NOWAIT);
    } else {
        stream->queued += 4U << 20;
    }
    return 0;
}

static struct rpc_server *begin(const struct rpc_options *options, uint8_t how)
{
    struct rpc_conn *conn;
    struct rpc_server *server = NULL;
    struct err err;
    waiting_count = 0;
    answers_late = (how & 2) != 0;
    if (how & 1) {
        ASSERT(rpc_connect(options, "127.0.0.1:1", NULL, &conn, &err) == 0);
        for (int i = 0; i < 3; i++)
            ASSERT(rpc_request(conn, 1, "x", 1, 0, fuzz_rpc_on_answer, NULL, &err) == 0);
        stream->options.handlers->on_open(stream, stream->options.data);
        return NULL;
    }
    ASSERT(rpc_listen(options, "127.0.0.1:2", &server, &err) == 0);
    stream->peer = (struct identity){.role = (enum role)(1 + (how >> 2) % 3), .name = "1"};
    stream_accept((struct stream_listener *)(void *)stream, stream, stream->options.data);
    return server;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    uv_loop_t loop;
    struct err why;
    if (size == 0)
        return 0;
    log_open(LOG_ERROR, "fuzz");
    uv_loop_init(&loop);
    struct rpc_options options = {
        .loop = &loop, .methods = methods, .method_count = ARRAY_SIZE(methods)};
    struct rpc_server *server = begin(&options, bytes[0]);
    for (size_t at = 1; at < size;) {
        uint8_t what = bytes[at++];
        at += step(&loop, what, bytes + at, size - at);
    }
    err_set(&why, ERR_CLOSED, "the end");
    stream->closing = true;
    stream->options.handlers->on_close(stream, stream->options.data, &why);
    while (waiting_count > 0)
        answer_one(true);
    if (server != NULL)
        rpc_server_close(server);
    uv_run(&loop, UV_RUN_DEFAULT);
    ASSERT(uv_loop_close(&loop) == 0);
    stream_free();
    return 0;
}
