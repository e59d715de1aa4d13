/*
 * raftlog_fsm.c - entries and snapshots between the library and the handlers.
 *
 * The library loses entries whose length is no multiple of 8, so an entry is a frame: its length
 * (4 bytes, big-endian), the format (4 bytes), the bytes, zeros. A snapshot is an image: magic,
 * index, term and length, then the bytes of snapshot_write; the library tells neither index nor
 * term when it restores one.
 *
 * The library must never see an error from apply: a follower would become unavailable in silence
 * and a leader repeat the entry for ever. What cannot be right is fatal here.
 */
#include "raftlog_impl.h"

#include "log.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#define IMAGE_MAGIC UINT64_C(0x424f52474c4f4731) /* "BORGLOG1" */
enum { FRAME_FORMAT = 1 };

struct image_head {
    uint64_t magic;
    uint64_t index;
    uint64_t term;
    uint64_t size; /* of the bytes that follow */
};

_Static_assert(sizeof(struct image_head) == RAFTLOG_IMAGE_HEAD_BYTES, "no padding in the image");

struct raft_buffer raftlog_frame(const void *bytes, size_t size)
{
    uint32_t head[2] = {htobe32((uint32_t)size), htobe32(FRAME_FORMAT)};
    struct raft_buffer buf = {.len = RAFTLOG_FRAME_BYTES + ((size + 7) & ~(size_t)7)};
    _Static_assert(sizeof head == RAFTLOG_FRAME_BYTES, "the frame is two numbers");
    ASSERT(size <= RAFTLOG_ENTRY_BYTES_MAX);
    buf.base = raft_calloc(1, buf.len);
    if (buf.base == NULL)
        PANIC("out of memory");
    memcpy(buf.base, head, sizeof head);
    if (size > 0)
        memcpy((char *)buf.base + sizeof head, bytes, size);
    return buf;
}

/* The bytes in a frame, or NULL when it is none. */
static const void *frame_open(const struct raft_buffer *buf, size_t *ret_size)
{
    uint32_t head[2];
    if (buf->len < sizeof head || buf->len % 8 != 0)
        return NULL;
    memcpy(head, buf->base, sizeof head);
    *ret_size = be32toh(head[0]);
    if (be32toh(head[1]) != FRAME_FORMAT || *ret_size > RAFTLOG_ENTRY_BYTES_MAX ||
        buf->len != sizeof head + ((*ret_size + 7) & ~(size_t)7))
        return NULL;
    return (const char *)buf->base + sizeof head;
}

struct raft_buffer raftlog_image_head(uint64_t index, uint64_t term, size_t size)
{
    struct image_head head = {.magic = htobe64(IMAGE_MAGIC),
                              .index = htobe64(index),
                              .term = htobe64(term),
                              .size = htobe64(size)};
    struct raft_buffer buf = {.base = xcalloc(1, sizeof head), .len = sizeof head};
    memcpy(buf.base, &head, sizeof head);
    return buf;
}

static int fsm_apply(struct raft_fsm *fsm, const struct raft_buffer *buf, void **result)
{
    struct raftlog *log = fsm->data;
    /* The library raises last_applied after us: this entry is the next one. */
    uint64_t index = log->raft.last_applied + 1;
    uint64_t term = raftlog_guard_term_of(&log->raft.log, index);
    size_t size = 0;
    *result = NULL;
    if (log->failed)
        return 0;
    const void *bytes = frame_open(buf, &size);
    if (bytes == NULL || term == 0 || index <= log->applied_index) {
        raftlog_fail(log, ERR_CORRUPT,
                     "log entry %" PRIu64 " of %zu bytes is not one that we wrote; "
                     "replace this replica's raft directory",
                     index, buf->len);
        return 0;
    }
    log->applied_index = index;
    log->options.handlers->on_apply(log->options.data, index, term, bytes, size);
    return 0;
}

static int fsm_snapshot(struct raft_fsm *fsm, struct raft_buffer *bufs[], unsigned *n_bufs)
{
    struct raftlog *log = fsm->data;
    const struct raftlog_handlers *handlers = log->options.handlers;
    ASSERT(log->snapshot_token == NULL);
    *bufs = NULL;
    *n_bufs = 0;
    if (log->failed || log->closing)
        return RAFT_BUSY;
    log->snapshot_index = log->raft.last_applied;
    log->snapshot_term = raftlog_guard_term_of(&log->raft.log, log->snapshot_index);
    log->snapshot_token =
        handlers->snapshot_begin(log->options.data, log->snapshot_index, log->snapshot_term);
    return log->snapshot_token != NULL ? 0 : RAFT_BUSY;
}

/* In the pool. The two fields it reads do not change until snapshot_finalize. */
static int fsm_snapshot_async(struct raft_fsm *fsm, struct raft_buffer *bufs[], unsigned *n_bufs)
{
    struct raftlog *log = fsm->data;
    void *bytes = NULL;
    size_t size = 0;
    if (log->options.handlers->snapshot_write(log->snapshot_token, &bytes, &size) != 0) {
        log_warn("raft.snapshot-failed index=%" PRIu64 ", trying again later", log->snapshot_index);
        return RAFT_IOERR;
    }
    struct raft_buffer *pair = xcalloc(2, sizeof *pair);
    pair[0] = raftlog_image_head(log->snapshot_index, log->snapshot_term, size);
    pair[1].base = bytes;
    pair[1].len = size;
    *bufs = pair;
    *n_bufs = size > 0 ? 2 : 1;
    return 0;
}

static int fsm_snapshot_finalize(struct raft_fsm *fsm, struct raft_buffer *bufs[], unsigned *n_bufs)
{
    struct raftlog *log = fsm->data;
    void *token = log->snapshot_token;
    if (*bufs != NULL) { /* always two, the second perhaps of size 0 and not counted */
        free((*bufs)[0].base);
        free((*bufs)[1].base);
        free(*bufs);
    }
    *bufs = NULL;
    *n_bufs = 0;
    log->snapshot_token = NULL;
    if (token != NULL)
        log->options.handlers->snapshot_end(log->options.data, token);
    return 0;
}

static int image_restore(struct raftlog *log, const struct raft_buffer *buf, struct err *err)
{
    struct image_head head;
    if (buf->len < sizeof head)
        return err_set(err, ERR_CORRUPT, "snapshot of %zu bytes is too short", buf->len);
    memcpy(&head, buf->base, sizeof head);
    uint64_t index = be64toh(head.index);
    if (be64toh(head.magic) != IMAGE_MAGIC || be64toh(head.size) != buf->len - sizeof head)
        return err_set(err, ERR_CORRUPT, "snapshot of %zu bytes is not one that we wrote",
                       buf->len);
    int rv = log->options.handlers->on_restore(log->options.data, index, be64toh(head.term),
                                               (const char *)buf->base + sizeof head,
                                               buf->len - sizeof head);
    if (rv != 0)
        return err_set(err, ERR_CORRUPT, "snapshot up to entry %" PRIu64 " cannot be restored",
                       index);
    log->applied_index = index;
    return 0;
}

static int fsm_restore(struct raft_fsm *fsm, struct raft_buffer *buf)
{
    struct raftlog *log = fsm->data;
    if (log->failed)
        return RAFT_CANCELED;
    if (image_restore(log, buf, &log->restore_err) != 0) {
        /* At start raftlog_open() reports it. */
        if (log->started)
            raftlog_fail(log, log->restore_err.code, "%s; replace this replica's raft directory",
                         log->restore_err.msg);
        return RAFT_MALFORMED;
    }
    raft_free(buf->base);
    return 0;
}

void raftlog_fsm_init(struct raftlog *log)
{
    log->fsm = (struct raft_fsm){.version = 3,
                                 .data = log,
                                 .apply = fsm_apply,
                                 .snapshot = fsm_snapshot,
                                 .restore = fsm_restore,
                                 .snapshot_finalize = fsm_snapshot_finalize,
                                 .snapshot_async = fsm_snapshot_async};
}
