/*
 * peers.c - keeps one connection to every other replica.
 */
#include "peers.h"

#include "log.h"
#include "rpc.h"

#include <stdio.h>
#include <stdlib.h>

enum { PEER_RETRY_MS = 100, PEER_TIMEOUT_MS = 5000 };

struct peer {
    struct peers *peers;
    uint64_t id;                  /* 0: no replica, or a removed one */
    char addr[CELL_ADDR_MAX + 1]; /* of its RPC server */
    struct rpc_conn *conn;        /* NULL: none */
    bool open;
    bool reported; /* the loss of the connection was logged; reset when it is open */
};

struct peers {
    struct rpc_options rpc;
    /* More rows than replicas: a row is used until its connection is closed. */
    struct peer peers[2 * MASTER_ROWS_MAX];
    uint64_t self;
    uv_timer_t retry;
};

/* The caller of peers_request(). */
struct asked {
    answer_cb cb;
    void *data;
};

static void on_open(struct rpc_conn *conn)
{
    struct peer *peer = rpc_data(conn);
    peer->open = true;
    peer->reported = false;
    log_info("peer.connected replica=%" PRIu64, peer->id);
}

static void on_close(struct rpc_conn *conn, const struct err *why)
{
    struct peer *peer = rpc_data(conn);
    if (!peer->reported && peer->id != 0)
        log_warn("peer.lost replica=%" PRIu64 " reason=%s, retrying", peer->id,
                 log_quoted(why->msg));
    peer->reported = true;
    peer->conn = NULL;
    peer->open = false;
}

static void peer_connect(struct peer *peer)
{
    struct err err;
    struct identity expect = {.role = ROLE_MASTER};
    snprintf(expect.name, sizeof expect.name, "%" PRIu64, peer->id);
    struct rpc_options rpc = peer->peers->rpc;
    rpc.data = peer;
    if (rpc_connect(&rpc, peer->addr, &expect, &peer->conn, &err) != 0) {
        peer->conn = NULL;
        if (!peer->reported)
            log_warn("peer.unreachable replica=%" PRIu64 " reason=%s, retrying", peer->id,
                     log_quoted(err.msg));
        peer->reported = true;
    }
}

static void on_retry(uv_timer_t *timer)
{
    struct peers *peers = timer->data;
    for (size_t i = 0; i < ARRAY_SIZE(peers->peers); i++)
        if (peers->peers[i].id != 0 && peers->peers[i].conn == NULL)
            peer_connect(&peers->peers[i]);
}

struct peers *peers_new(const struct core_options *options)
{
    struct peers *peers = xcalloc(1, sizeof *peers);
    peers->rpc = (struct rpc_options){
        .loop = options->loop, .tls = options->tls, .on_open = on_open, .on_close = on_close};
    peers->self = options->self->id;
    uv_timer_init(options->loop, &peers->retry);
    peers->retry.data = peers;
    uv_timer_start(&peers->retry, on_retry, 0, PEER_RETRY_MS);
    return peers;
}

static struct peer *peer_find(struct peers *peers, uint64_t id)
{
    for (size_t i = 0; i < ARRAY_SIZE(peers->peers) && id != 0; i++)
        if (peers->peers[i].id == id)
            return &peers->peers[i];
    return NULL;
}

static void peer_add(struct peers *peers, const struct master *master)
{
    for (size_t i = 0; i < ARRAY_SIZE(peers->peers); i++) {
        struct peer *peer = &peers->peers[i];
        if (peer->id != 0 || peer->conn != NULL)
            continue;
        *peer = (struct peer){.peers = peers, .id = master->id};
        str_copy(peer->addr, sizeof peer->addr, master->rpc);
        return;
    }
    /* All rows are being closed: the next change of the masters finds a free one. */
}

void peers_set(struct peers *peers, const struct masters *masters)
{
    for (size_t i = 0; i < ARRAY_SIZE(peers->peers); i++) {
        struct peer *peer = &peers->peers[i];
        if (peer->id == 0 || masters_find(masters, peer->id) != NULL)
            continue;
        log_info("peer.removed replica=%" PRIu64, peer->id);
        peer->id = 0;
        if (peer->conn != NULL)
            rpc_close(peer->conn);
    }
    for (uint32_t i = 0; i < masters->count; i++)
        if (masters->rows[i].id != peers->self && peer_find(peers, masters->rows[i].id) == NULL)
            peer_add(peers, &masters->rows[i]);
}

static void on_answer(void *data, const struct err *err, const void *body, size_t size)
{
    struct asked *asked = data;
    struct err own;
    struct wire_answer answer;
    if (err != NULL && (err->code == ERR_CLOSED || err->code == ERR_TIMEOUT)) {
        err_set(&own, ERR_UNKNOWN_OUTCOME, "the leader did not answer: %s", err->msg);
        err = &own;
    }
    if (err == NULL && wire_unpack_answer(body, size, &answer, &own) != 0)
        err = &own;
    if (asked->cb != NULL)
        asked->cb(asked->data, err, err == NULL ? &answer : NULL);
    free(asked);
}

void peers_request(struct peers *peers, uint64_t to, uint32_t method, const struct buf *body,
                   answer_cb cb, void *data)
{
    struct err err;
    struct peer *peer = peer_find(peers, to);
    struct asked *asked = xcalloc(1, sizeof *asked);
    *asked = (struct asked){cb, data};
    int rv;
    if (peer == NULL || !peer->open)
        rv = err_set(&err, ERR_UNAVAILABLE,
                     "there is no connection to the leader, replica %" PRIu64 "; try again", to);
    else
        rv = rpc_request(peer->conn, method, body->bytes, body->size, PEER_TIMEOUT_MS, on_answer,
                         asked, &err);
    if (rv == 0)
        return;
    free(asked);
    if (cb != NULL)
        cb(data, &err, NULL);
}

void peers_call(struct peers *peers, uint64_t to, uint32_t method, const struct buf *body,
                uint64_t timeout_ms, rpc_answer_cb cb, void *data)
{
    struct peer *peer = peer_find(peers, to);
    if (peer != NULL && peer->open)
        (void)!rpc_request(peer->conn, method, body->bytes, body->size, timeout_ms, cb, data, NULL);
}
