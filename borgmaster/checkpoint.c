/*
 * checkpoint.c - makes one image of the database in memory and serves it to one reader.
 */
#include "checkpoint.h"

#include "clock.h"
#include "log.h"

#include <stdlib.h>
#include <string.h>

struct checkpoint {
    struct core *core;
    struct rpc_conn *reader;      /* NULL: none, or it closed while the image was made */
    struct rpc_call *call;        /* the request for the first piece, until the image is made */
    uint64_t asked_ms;            /* when the reader last asked */
    uint64_t begun_ms;            /* when the image was begun */
    uint64_t next;                /* offset of the next piece */
    char user[CELL_NAME_MAX + 1]; /* the user of this image, or of the last one */
    uint64_t wanted_ms; /* when another user was last told to wait; 0: never since this image */
    uv_timer_t timer;
    uint8_t *bytes; /* the image */
    size_t size;
    void *token; /* the store's token while the image is made */
    uv_work_t work;
    int status; /* result of image_write() */
};

static void bytes_free(uv_work_t *work)
{
    free(work->data);
}

static void on_freed(uv_work_t *work, int status UNUSED)
{
    free(work);
}

/* Free the image in the pool: to free a gigabyte takes too long for the loop. */
static void image_drop(struct checkpoint *c)
{
    if (c->bytes != NULL) {
        uv_work_t *work = xcalloc(1, sizeof *work);
        work->data = c->bytes;
        uv_queue_work(core_opts(c->core)->loop, work, bytes_free, on_freed);
    }
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
    c->next = offset + count;
    if (c->next == c->size)
        image_drop(c);
}

/* An image whose reader is idle or slow is dropped: it takes memory and blocks other users. */
static bool is_over(const struct checkpoint *c)
{
    uint64_t now_ms = clock_mono_ms();
    return c->token == NULL && c->reader != NULL &&
           (now_ms - c->asked_ms > CHECKPOINT_IDLE_MS || now_ms - c->begun_ms > CHECKPOINT_MS_MAX);
}

static void on_timer(uv_timer_t *timer)
{
    struct checkpoint *c = timer->data;
    if (is_over(c))
        image_drop(c);
}

struct checkpoint *checkpoint_new(struct core *core)
{
    struct checkpoint *c = xcalloc(1, sizeof *c);
    c->core = core;
    uv_timer_init(core_opts(core)->loop, &c->timer);
    c->timer.data = c;
    uv_timer_start(&c->timer, on_timer, CHECKPOINT_IDLE_MS, CHECKPOINT_IDLE_MS);
    return c;
}

/* Runs in libuv's pool. */
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
    store_snapshot_end(core_store(c->core), c->token);
    c->token = NULL;
    c->call = NULL;
    if (c->status == 0 && c->reader != NULL) {
        log_info("checkpoint.made bytes=%zu", c->size);
        send_piece(c, call, 0);
        return;
    }
    err_set(&err, ERR_UNAVAILABLE,
            "the image could not be made; the log of replica %" PRIu64 " says why",
            core_opts(c->core)->self->id);
    rpc_refuse(call, &err);
    image_drop(c);
}

/* A user who was told to wait has precedence over the user of the last image for a while. */
static int turn_check(struct checkpoint *c, const char *user, struct err *err)
{
    bool same = strcmp(user, c->user) == 0;
    uint64_t now_ms = clock_mono_ms();
    uint64_t id = core_opts(c->core)->self->id;
    if (!same && (c->token != NULL || c->reader != NULL))
        c->wanted_ms = now_ms;
    if (c->token != NULL || c->reader != NULL)
        return err_set(err, ERR_UNAVAILABLE,
                       "replica %" PRIu64 " is making a checkpoint for user \"%s\" already; try "
                       "again soon",
                       id, c->user);
    if (same && c->wanted_ms != 0 && now_ms - c->wanted_ms < CHECKPOINT_IDLE_MS)
        return err_set(err, ERR_UNAVAILABLE,
                       "replica %" PRIu64 ": another user waits for a checkpoint, and you have had "
                       "one; try again in %d s",
                       id, CHECKPOINT_IDLE_MS / 1000);
    return 0;
}

static int image_begin(struct checkpoint *c, struct rpc_conn *conn, struct rpc_call *call,
                       struct err *err)
{
    const char *user = rpc_peer(conn)->name;
    if ((c->reader == conn && c->token == NULL) || is_over(c))
        image_drop(c);
    if (turn_check(c, user, err) != 0)
        return -(int)err->code;
    c->token = store_snapshot_begin(core_store(c->core));
    if (c->token == NULL)
        return err_set(err, ERR_UNAVAILABLE, "replica %" PRIu64 " is making a snapshot just now",
                       core_opts(c->core)->self->id);
    c->reader = conn;
    c->call = call;
    c->asked_ms = c->begun_ms = clock_mono_ms();
    c->next = c->wanted_ms = 0;
    str_copy(c->user, sizeof c->user, user);
    c->work.data = c;
    uv_queue_work(core_opts(c->core)->loop, &c->work, image_write, on_written);
    return 0;
}

void checkpoint_on_call(struct checkpoint *c, struct rpc_conn *conn, struct rpc_call *call,
                        const void *body, size_t size)
{
    struct err err;
    struct wire_checkpoint asked;
    if (call == NULL)
        return; /* a notice, which has no answer */
    int rv = wire_unpack_checkpoint(body, size, &asked, &err);
    if (rv == 0 && asked.offset == 0) {
        rv = image_begin(c, conn, call, &err);
    } else if (rv == 0 && (c->reader != conn || c->token != NULL || asked.offset != c->next)) {
        rv = err_set(&err, ERR_STATE,
                     "no image of this connection goes on at byte %" PRIu64 "; begin again at 0",
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
