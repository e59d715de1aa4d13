/*
 * fuzz_raft_hello.c - the first message of a peer on the log's port, in pieces of any size.
 *
 * The first byte selects the certificate (low bits) and the length of the pieces (high bits).
 */
#include "../../raftlog/raftlog_transport.c" /* to call its static functions */

#include "made_up_stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static bool may_connect(void *data, uint64_t id, const char *address)
{
    (void)data;
    (void)id;
    ASSERT(strlen(address) <= CELL_ADDR_MAX);
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static struct raftlog_transport transport;
    struct err why;
    if (size == 0)
        return 0;
    if (transport.loop == NULL) {
        log_open(LOG_ERROR, "fuzz");
        raftlog_transport_init(&transport, uv_default_loop(), NULL, may_connect, NULL);
    }
    struct link *link = link_new(&transport);
    link->stream = stream_new(&(struct stream_options){0});
    snprintf(stream->peer.name, sizeof stream->peer.name, "%d", bytes[0] & 7);
    size_t piece = 1 + bytes[0] / 8;
    for (size_t at = 1; at < size && !stream->closing; at += piece)
        link_on_data(stream, link, bytes + at, MIN(piece, size - at));
    err_set(&why, ERR_CLOSED, "the end");
    link_on_close(stream, link, &why);
    stream_free();
    return 0;
}
