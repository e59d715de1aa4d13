/*
 * made_up_stream.h - simulated streams, in place of those of libcell/io.
 *
 * A target that includes this file has one stream, `stream`, and controls what arrives there, when
 * its queue is empty and when it ends.
 */
#ifndef TEST_FUZZ_MADE_UP_STREAM_H
#define TEST_FUZZ_MADE_UP_STREAM_H

#include "admission.h"
#include "stream.h"

#include <stdlib.h>

struct stream {
    struct stream_options options;
    struct identity peer;
    struct admission_account *account; /* NULL: not requested yet */
    size_t queued;
    bool paused, closing, wants_drain;
};

static struct stream *stream; /* the only one */
static stream_accept_cb stream_accept;

static UNUSED struct stream *stream_new(const struct stream_options *options)
{
    stream = xcalloc(1, sizeof *stream);
    stream->options = *options;
    stream->peer = (struct identity){.role = ROLE_MASTER, .name = "1"};
    return stream;
}

int stream_connect(const struct stream_options *options, const char *address, struct stream **ret,
                   struct err *err)
{
    (void)address;
    (void)err;
    *ret = stream_new(options);
    return 0;
}

int stream_listen(const struct stream_options *options, const char *address, size_t connections_max,
                  stream_accept_cb on_accept, struct stream_listener **ret, struct err *err)
{
    (void)address;
    (void)connections_max;
    (void)err;
    stream_new(options);
    stream_accept = on_accept;
    *ret = (struct stream_listener *)(void *)stream;
    return 0;
}

int stream_writev(struct stream *s, const uv_buf_t *parts, size_t part_count)
{
    size_t bytes = 0;
    for (size_t i = 0; i < part_count; i++)
        bytes += parts[i].len;
    if (s->closing)
        return -ERR_CLOSED;
    if (s->queued + bytes > s->options.queue_bytes_max)
        return -ERR_LIMIT;
    s->queued += bytes;
    return 0;
}

int stream_write(struct stream *s, const void *bytes, size_t size)
{
    uv_buf_t part = {.base = (char *)(uintptr_t)bytes, .len = size};
    return stream_writev(s, &part, 1);
}

size_t stream_queued(const struct stream *s)
{
    return s->queued;
}

void stream_wait_drain(struct stream *s, size_t bytes)
{
    (void)bytes;
    s->wants_drain = true;
}

void stream_pause(struct stream *s)
{
    s->paused = true;
}

void stream_resume(struct stream *s)
{
    s->paused = false;
}

struct admission_account *stream_account(const struct stream *s)
{
    if (s->account == NULL)
        stream->account = account_new(&s->peer);
    return s->account;
}

const struct identity *stream_peer(const struct stream *s)
{
    return &s->peer;
}

const char *stream_peer_address(const struct stream *s)
{
    (void)s;
    return "127.0.0.1:1";
}

uint64_t stream_peer_issued_ms(const struct stream *s)
{
    (void)s;
    return 0;
}

uint64_t stream_peer_expires_ms(const struct stream *s)
{
    (void)s;
    return UINT64_MAX;
}

void stream_set_data(struct stream *s, void *data)
{
    s->options.data = data;
}

void stream_close(struct stream *s)
{
    s->closing = true;
}

const char *stream_listener_address(const struct stream_listener *l)
{
    (void)l;
    return "127.0.0.1:2";
}

void stream_listener_close(struct stream_listener *l)
{
    (void)l;
}

static UNUSED void stream_free(void)
{
    if (stream->account != NULL)
        account_leave(stream->account);
    free(stream);
    stream = NULL;
}

#endif
