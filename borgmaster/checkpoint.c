/*
 * checkpoint.c - one image in memory, and who reads it.
 */
#include "checkpoint.h"

#include "clock.h"
#include "log.h"

#include <stdlib.h>

struct checkpoint {
    struct replica *replica;
    struct rpc_conn *reader; /* NULL: none, or gone while the image was being made */
    struct rpc_call *call;   /* for the first piece; answered when the image is made */
    uint64_t asked_ms;       /* by the reader */
    uint8_t *bytes;          /* of the image */
    size_t size;
    void *token; /* of the store, while it is being made */
    uv_work_t work;
    int status; /* of the work */
};

struct checkpoint *checkpoint_new(struct replica *replica)
{
    struct checkpoint *c = xcalloc(1, sizeof *c);
    c->replica = replica;
    return c;
}

static void image_drop(struct checkpoint *c)
{
    free(c->bytes);
    c->bytes = NULL;
    c->size = 0;
    c->reader = NULL;
}

static void send_piece(struct checkpoint *c, struct rpc_call *call, uint64_t offset)
{
    struct buf CLEANUP(buf_release) body = {0};
    size_t count = MIN(c->size - (size_t)offset, (size_t)CHECKPOINT_PIECE_BYTES);
    struct wire_piece piece = {.bytes = c->bytes + offset, .size = count, .total = c->size};
    wire_pack_piece(&body, &piece);
    rpc_reply(call, body.bytes, body.size);
    if (offset + count == c->size)
        image_drop(c);
}

/* In libuv's pool. */
static void image_write(uv_work_t *work)
{
    struct checkpoint *c = work->data;
    void *bytes;
    c->status = store_snapshot_write(c->token, &bytes, &c->size);
    c->bytes = c->status == 0 ? bytes : NULL;
}

static void on_written(uv_work_t *work, int status UNUSED)
{
    struct checkpoint *c = work->data;
    struct rpc_call *call = c->call;
    struct err err;
    store_snapshot_end(replica_store(c->replica), c->token);
    c->token = NULL;
    c->call = NULL;
    if (c->status == 0 && c->reader != NULL) {
        log_info("checkpoint.made bytes=%zu", c->size);
        send_piece(c, call, 0);
        return;
    }
    err_set(&err, ERR_UNAVAILABLE,
            "the image could not be made; the log of replica %" PRIu64 " says why",
            replica_opts(c->replica)->self->id);
    rpc_refuse(call, &err);
    image_drop(c);
}

static int image_begin(struct checkpoint *c, struct rpc_conn *conn, struct rpc_call *call,
                       struct err *err)
{
    bool idle = c->token == NULL && clock_mono_ms() - c->asked_ms > CHECKPOINT_IDLE_MS;
    if (c->reader == conn || idle)
        image_drop(c);
    if (c->token != NULL || c->reader != NULL)
        return err_set(err, ERR_UNAVAILABLE, "replica %" PRIu64 " is making a checkpoint already",
                       replica_opts(c->replica)->self->id);
    c->token = store_snapshot_begin(replica_store(c->replica));
    if (c->token == NULL)
        return err_set(err, ERR_UNAVAILABLE, "replica %" PRIu64 " is making a snapshot just now",
                       replica_opts(c->replica)->self->id);
    c->reader = conn;
    c->call = call;
    c->asked_ms = clock_mono_ms();
    c->work.data = c;
    uv_queue_work(replica_opts(c->replica)->loop, &c->work, image_write, on_written);
    return 0;
}

void checkpoint_on_call(struct checkpoint *c, struct rpc_conn *conn, struct rpc_call *call,
                        const void *body, size_t size)
{
    struct err err;
    struct wire_checkpoint asked;
    if (call == NULL)
        return; /* a notice: nobody waits */
    int rv = wire_unpack_checkpoint(body, size, &asked, &err);
    if (rv == 0 && asked.offset == 0) {
        rv = image_begin(c, conn, call, &err);
    } else if (rv == 0 && (c->reader != conn || asked.offset >= c->size)) {
        rv = err_set(&err, ERR_STATE,
                     "no image of this connection has a byte %" PRIu64 "; begin again at 0",
                     asked.offset);
    } else if (rv == 0) {
        c->asked_ms = clock_mono_ms();
        send_piece(c, call, asked.offset);
    }
    if (rv != 0)
        rpc_refuse(call, &err);
}

void checkpoint_on_close(struct checkpoint *c, const struct rpc_conn *conn)
{
    if (c->reader != conn)
        return;
    if (c->token != NULL)
        c->reader = NULL; /* on_written() drops the image */
    else
        image_drop(c);
}
