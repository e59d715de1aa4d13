/*
 * raftlog_fsm.c - entries and snapshots between the library and the handlers.
 *
 * The library loses entries whose length is not a multiple of 8, and it stores neither the index
 * nor the cell of an entry. An entry is therefore stored in a frame: length (4 bytes, big-endian),
 * format (4 bytes), index and cell (8 bytes each), the bytes, zeros. A snapshot is stored as an
 * image: magic, index, term, length, cell and a hash over all of it, then the bytes of
 * snapshot_write; the library passes neither index nor term when it restores a snapshot.
 *
 * The library must never see an error from apply: a follower would silently become unavailable, and
 * a leader would repeat the entry forever. An invalid entry is therefore fatal here.
 */
#include "raftlog_impl.h"

#include "hash.h"
#include "log.h"

#include <endian.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define IMAGE_MAGIC UINT64_C(0x424f52474c4f4732) /* "BORGLOG2" */
enum {
    FRAME_FORMAT = 2,
    INSTALL_WAIT_MS = 60000, /* maximum wait for a follower that installs a snapshot */
    INSTALL_WAIT_ENTRIES = 1048576,
};

struct frame_head {
    uint32_t size; /* of the following bytes, without the zeros */
    uint32_t format;
    uint64_t index;
    uint64_t cell;
};

struct image_head {
    uint64_t magic;
    uint64_t index;
    uint64_t term;
    uint64_t size; /* of the following bytes */
    uint64_t cell;
    uint64_t hash; /* of the five fields before and of the bytes */
};

_Static_assert(sizeof(struct frame_head) == RAFTLOG_FRAME_BYTES, "no padding in the frame");
_Static_assert(sizeof(struct image_head) == RAFTLOG_IMAGE_HEAD_BYTES, "no padding in the image");

struct raft_buffer raftlog_frame(const void *bytes, size_t size)
{
    struct frame_head head = {.size = htobe32((uint32_t)size), .format = htobe32(FRAME_FORMAT)};
    struct raft_buffer buf = {.len = sizeof head + ((size + 7) & ~(size_t)7)};
    ASSERT(size <= RAFTLOG_ENTRY_BYTES_MAX);
    buf.base = raft_calloc(1, buf.len);
    if (buf.base == NULL)
        PANIC("out of memory");
    memcpy(buf.base, &head, sizeof head);
    if (size > 0)
        memcpy((char *)buf.base + sizeof head, bytes, size);
    return buf;
}

void raftlog_frame_address(struct raft_buffer *frame, uint64_t index, uint64_t cell)
{
    struct frame_head head;
    memcpy(&head, frame->base, sizeof head);
    head.index = htobe64(index);
    head.cell = htobe64(cell);
    memcpy(frame->base, &head, sizeof head);
}

/* Return the bytes in the frame of entry `index`, or NULL when the frame is invalid. */
static const void *frame_open(const struct raftlog *log, uint64_t index,
                              const struct raft_buffer *buf, size_t *ret_size)
{
    struct frame_head head;
    if (buf->len < sizeof head || buf->len % 8 != 0)
        return NULL;
    memcpy(&head, buf->base, sizeof head);
    *ret_size = be32toh(head.size);
    if (be32toh(head.format) != FRAME_FORMAT || *ret_size > RAFTLOG_ENTRY_BYTES_MAX ||
        buf->len != sizeof head + ((*ret_size + 7) & ~(size_t)7) || be64toh(head.index) != index ||
        be64toh(head.cell) != log->seal.cell)
        return NULL;
    return (const char *)buf->base + sizeof head;
}

uint64_t raftlog_cell(const char *name)
{
    return hash_text(0, name);
}

/* Hash an image. A leader does this on the loop with hundreds of MiB, so eight words are mixed
 * in parallel with as few operations as possible. Each step is a bijection in the word and in
 * the state before: a single wrong word is always detected, several almost certainly. */
static uint64_t image_hash(const struct image_head *head, const void *bytes, size_t size)
{
    enum { LANES = 8, TURN = 29 };
    uint64_t lanes[LANES] = {0}, words[LANES];
    uint64_t hash = hash_bytes(0, head, offsetof(struct image_head, hash));
    size_t at = 0;
    for (; size - at >= sizeof words; at += sizeof words) {
        memcpy(words, (const char *)bytes + at, sizeof words);
        _Pragma("GCC unroll 8") for (int i = 0; i < LANES; i++)
        {
            uint64_t mixed = (lanes[i] ^ le64toh(words[i])) * UINT64_C(0x9e3779b97f4a7c15);
            lanes[i] = mixed << TURN | mixed >> (64 - TURN);
        }
    }
    for (int i = 0; i < LANES; i++)
        hash = hash_add(hash, lanes[i]);
    return hash_bytes(hash, (const char *)bytes + at, size - at);
}

struct raft_buffer raftlog_image_head(uint64_t index, uint64_t term, uint64_t cell,
                                      const void *bytes, size_t size)
{
    struct image_head head = {.magic = htobe64(IMAGE_MAGIC),
                              .index = htobe64(index),
                              .term = htobe64(term),
                              .size = htobe64(size),
                              .cell = htobe64(cell)};
    struct raft_buffer buf = {.base = xcalloc(1, sizeof head), .len = sizeof head};
    head.hash = htobe64(image_hash(&head, bytes, size));
    memcpy(buf.base, &head, sizeof head);
    return buf;
}

static int loaded_entries(struct raftlog *log, raft_index start_index,
                          const struct raft_entry *entries, size_t n)
{
    raft_term term = 1;
    size_t size;
    for (size_t i = 0; i < n; i++) {
        uint64_t index = start_index + i;
        if (entries[i].term < term || (entries[i].type == RAFT_COMMAND &&
                                       frame_open(log, index, &entries[i].buf, &size) == NULL))
            return err_set(&log->restore_err, ERR_CORRUPT,
                           "entry %" PRIu64 " does not belong to this log", index);
        term = entries[i].term;
    }
    return 0;
}

/* Check that the log reaches as far as the mark in the seal. */
static int loaded_end(struct raftlog *log, const struct raft_snapshot *snapshot,
                      raft_index start_index, const struct raft_entry *entries, size_t n)
{
    uint64_t mark = log->seal.mark_index;
    uint64_t last = snapshot != NULL ? snapshot->index : 0;
    if (n > 0)
        last = MAX(last, start_index + n - 1);
    if (mark > last)
        return err_set(&log->restore_err, ERR_CORRUPT,
                       "the log ends at entry %" PRIu64 ", but entries up to %" PRIu64
                       " were stored: a file is missing or was cut",
                       last, mark);
    if (mark >= start_index && mark < start_index + n &&
        entries[mark - start_index].term != log->seal.mark_term)
        return err_set(&log->restore_err, ERR_CORRUPT,
                       "entry %" PRIu64 " has term %llu, but the stored one had term %" PRIu64,
                       mark, entries[mark - start_index].term, log->seal.mark_term);
    return 0;
}

int raftlog_on_loaded(void *data, const struct raft_snapshot *snapshot, raft_index start_index,
                      const struct raft_entry *entries, size_t n)
{
    struct raftlog *log = data;
    log->loading = false;
    if (snapshot != NULL && !raftlog_image_ok(log, &snapshot->bufs[0]))
        err_set(&log->restore_err, ERR_CORRUPT,
                "the snapshot up to entry %llu is damaged or belongs to another cell",
                snapshot->index);
    else if (loaded_entries(log, start_index, entries, n) == 0)
        loaded_end(log, snapshot, start_index, entries, n);
    return log->restore_err.code == ERR_OK ? 0 : RAFT_CORRUPT;
}

static int fsm_apply(struct raft_fsm *fsm, const struct raft_buffer *buf, void **result)
{
    struct raftlog *log = fsm->data;
    /* The library increments last_applied after this call, so this entry is the next one. */
    uint64_t index = log->raft.last_applied + 1;
    uint64_t term = raftlog_guard_term_of(&log->raft.log, index);
    size_t size = 0;
    *result = NULL;
    if (log->failed)
        return 0;
    const void *bytes = frame_open(log, index, buf, &size);
    if (bytes == NULL || term == 0 || index <= log->applied_index) {
        raftlog_fail(log, ERR_CORRUPT,
                     "log entry %" PRIu64
                     " of %zu bytes was not written by this cell; " RAFTLOG_REMEDY,
                     index, buf->len, log->options.id);
        return 0;
    }
    log->applied_index = index;
    log->applied_bytes += buf->len;
    if (log->applied_bytes >= log->options.snapshot_bytes) /* the library counts entries only */
        raft_set_snapshot_threshold(&log->raft, 1);
    log->options.handlers->on_apply(log->options.data, index, term, bytes, size);
    return 0;
}

/* Return whether a snapshot must be postponed, because it cuts the log: a follower that is
 * installing the previous snapshot would need another one, and so on while entries arrive
 * quickly. */
static bool snapshot_waits(const struct raftlog *log)
{
    return raftlog_guard_follower_installs(&log->guard, INSTALL_WAIT_MS) &&
           log->applied_bytes < log->options.snapshot_bytes &&
           log->raft.last_applied - log->raft.log.snapshot.last_index < INSTALL_WAIT_ENTRIES;
}

static int fsm_snapshot(struct raft_fsm *fsm, struct raft_buffer *bufs[], unsigned *n_bufs)
{
    struct raftlog *log = fsm->data;
    const struct raftlog_handlers *handlers = log->options.handlers;
    ASSERT(log->snapshot_token == NULL);
    *bufs = NULL;
    *n_bufs = 0;
    if (log->failed || log->closing || snapshot_waits(log))
        return RAFT_BUSY; /* the library retries with the next entry */
    log->snapshot_index = log->raft.last_applied;
    log->snapshot_term = raftlog_guard_term_of(&log->raft.log, log->snapshot_index);
    log->snapshot_token =
        handlers->snapshot_begin(log->options.data, log->snapshot_index, log->snapshot_term);
    if (log->snapshot_token == NULL)
        return RAFT_BUSY;
    log->applied_bytes = 0;
    raft_set_snapshot_threshold(&log->raft, log->options.snapshot_threshold);
    return 0;
}

bool raftlog_image_ok(void *data, const struct raft_buffer *image)
{
    const struct raftlog *log = data;
    struct image_head head;
    if (image->len < sizeof head)
        return false;
    memcpy(&head, image->base, sizeof head);
    size_t size = image->len - sizeof head;
    bool ok =
        be64toh(head.magic) == IMAGE_MAGIC && be64toh(head.size) == size &&
        be64toh(head.cell) == log->seal.cell &&
        be64toh(head.hash) == image_hash(&head, (const char *)image->base + sizeof head, size);
    if (!ok)
        log_warn("snapshot.rejected bytes=%zu reason=damaged", image->len);
    return ok;
}

/* Runs in the pool. The two fields it reads do not change until snapshot_finalize. */
static int fsm_snapshot_async(struct raft_fsm *fsm, struct raft_buffer *bufs[], unsigned *n_bufs)
{
    struct raftlog *log = fsm->data;
    void *bytes = NULL;
    size_t size = 0;
    if (log->options.handlers->snapshot_write(log->snapshot_token, &bytes, &size) != 0) {
        log_warn("snapshot.failed index=%" PRIu64 " retry=yes", log->snapshot_index);
        return RAFT_IOERR;
    }
    struct raft_buffer *pair = xcalloc(2, sizeof *pair);
    pair[0] =
        raftlog_image_head(log->snapshot_index, log->snapshot_term, log->seal.cell, bytes, size);
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
    if (*bufs != NULL) { /* always two; the second may have size 0 and is then not counted */
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

static void image_load(uv_work_t *work)
{
    struct raftlog *log = work->data;
    struct raftlog_prepare *p = &log->prepare_image;
    p->ok = raftlog_image_ok(log, &p->image);
    if (p->ok && p->token != NULL)
        log->options.handlers->restore_load(p->token);
}

static void image_loaded(uv_work_t *work, int status UNUSED)
{
    struct raftlog *log = work->data;
    struct raftlog_prepare *p = &log->prepare_image;
    p->busy = false;
    if (p->token != NULL)
        log->options.handlers->restore_end(log->options.data, p->token);
    raftlog_guard_prepared(&log->guard, p->ok);
    if (log->raft_closed)
        raftlog_closed(log);
}

void raftlog_image_unprepare(void *data)
{
    struct raftlog *log = data;
    void *token = log->prepare_image.token;
    ASSERT(!log->prepare_image.busy);
    log->prepare_image.token = NULL;
    if (token != NULL)
        log->options.handlers->restore_drop(log->options.data, token);
}

void raftlog_image_prepare(void *data, const struct raft_buffer *image)
{
    struct raftlog *log = data;
    struct raftlog_prepare *p = &log->prepare_image;
    const struct raftlog_handlers *h = log->options.handlers;
    ASSERT(!p->busy && p->token == NULL);
    *p = (struct raftlog_prepare){.image = *image, .busy = true};
    p->work.data = log;
    if (h->restore_begin != NULL && image->len > sizeof(struct image_head))
        p->token = h->restore_begin(log->options.data,
                                    (const char *)image->base + sizeof(struct image_head),
                                    image->len - sizeof(struct image_head));
    if (uv_queue_work(log->loop, &p->work, image_load, image_loaded) != 0)
        PANIC("cannot create a thread for a snapshot");
}

/* Restore an image. The guard has called raftlog_image_ok() before. */
static int image_restore(struct raftlog *log, const struct raft_buffer *buf, struct err *err)
{
    struct image_head head;
    memcpy(&head, buf->base, sizeof head);
    uint64_t index = be64toh(head.index);
    int rv = log->options.handlers->on_restore(log->options.data, index, be64toh(head.term),
                                               (const char *)buf->base + sizeof head,
                                               buf->len - sizeof head);
    log->prepare_image.token = NULL;
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
        /* At start raftlog_open() reports the error. */
        if (log->started)
            raftlog_fail(log, log->restore_err.code, "%s; " RAFTLOG_REMEDY, log->restore_err.msg,
                         log->options.id);
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
