/*
 * raftlog_guard_disk.c - calls between the library and the disk: G4, G12, the seal, images.
 */
#include "raftlog_guard_impl.h"

#include "raftlog_seal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { /* bytes of several requests in one write: half a segment */
       WRITE_ENTRIES_MAX = 16384,
       WRITE_BYTES_MAX = 4194304,
};

/* A request of the library to store entries. */
struct guard_append {
    struct list link;
    struct raft_io_append *request;
    const struct raft_entry *entries; /* the library's, until the request is done */
    unsigned n;
    size_t bytes;
};

/* A write in progress, for one or more requests. */
struct guard_write {
    struct raft_io_append req;
    struct raftlog_guard *guard;
    struct list appends;
    struct raft_entry *entries; /* the entries of all requests; NULL when there is one request */
};

struct guard_get {
    struct list link;
    raft_index asked; /* last entry of our snapshot when the library asked for it */
    struct raft_io_snapshot_get req;
    struct raftlog_guard *guard;
    struct raft_io_snapshot_get *request; /* the library's */
    raft_io_snapshot_get_cb cb;
};

/* Describe the newer error codes, for which the library has no text. */
static const char *guard_error_text(int status)
{
    if (status == RAFT_NOSPACE)
        return "the disk is full or the file too large";
    if (status == RAFT_TOOMANY)
        return "a limit of the system was reached (fs.aio-max-nr?)";
    return raft_strerror(status);
}

void guard_fatal(struct raftlog_guard *g, bool damaged, const char *fmt, ...)
{
    char text[RAFT_ERRMSG_BUF_SIZE + 128];
    va_list args;
    if (g->dead)
        return;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    g->dead = true;
    guard_held_drop(g);
    if (g->owner.fatal == NULL) {
        fprintf(stderr, "raftlog: %s\n", text);
        abort();
    }
    g->owner.fatal(g->owner.data, text, damaged);
}

/*
 * G4. After a failed write the library truncates the log and uses the same indexes again in the
 * same term, drops references that are still in use, or continues with a log in memory that no disk
 * has (#321, #460, #466, #483, issues #314 #320, dqlite #857; on a full disk it crashes). Every
 * failed write of entries, of term and vote, of a truncation or of a snapshot therefore ends the
 * instance: the library sees success, all further calls are dropped, and the process should exit.
 */
static bool guard_disk_failed(struct raftlog_guard *g, int status, const char *what)
{
    if (status == 0 || status == RAFT_CANCELED || !guard_on(g, GUARD_DISK_FATAL))
        return false;
    g->used[GUARD_DISK_FATAL]++;
    guard_fatal(g, false, "%s: %s%s%s", what, guard_error_text(status),
                g->inner->errmsg[0] != '\0' ? ": " : "", g->inner->errmsg);
    return true;
}

/* Return the status of a call to the seal as a code of the library. */
static int seal_status(struct raftlog_guard *g, int rv)
{
    if (rv == 0)
        return 0;
    int status = errno == ENOSPC || errno == EFBIG ? RAFT_NOSPACE : RAFT_IOERR;
    snprintf(g->inner->errmsg, sizeof g->inner->errmsg, "%s: %s", g->owner.seal->path,
             strerror(errno));
    return status;
}

static void guard_mark(struct raftlog_guard *g, raft_index index, raft_term term, bool sync)
{
    if (g->owner.seal != NULL &&
        guard_disk_failed(g, seal_status(g, raftlog_seal_mark(g->owner.seal, index, term, sync)),
                          "cannot store how far the log goes"))
        return;
}

/* Record the end of the log on our disk. */
static void guard_mark_stored(struct raftlog_guard *g)
{
    raft_index index = g->raft->last_stored;
    raft_term term = raftlog_guard_term_of(&g->raft->log, index);
    if (term != 0 && g->owner.seal != NULL && index != g->owner.seal->mark_index)
        guard_mark(g, index, term, /* sync= */ false);
}

/* Move the mark back before the disk drops entries from `index` on. */
static void guard_mark_cut(struct raftlog_guard *g, raft_index index)
{
    const struct raftlog_seal *seal = g->owner.seal;
    if (seal == NULL || seal->mark_index < index)
        return;
    raft_term term = raftlog_guard_term_of(&g->raft->log, index - 1);
    guard_mark(g, term != 0 ? index - 1 : 0, term, /* sync= */ true);
}

static void guard_write_free(struct guard_write *w)
{
    for (struct list *l; (l = list_pop(&w->appends)) != NULL;)
        free(CONTAINER_OF(l, struct guard_append, link));
    free(w->entries);
    free(w);
}

static int guard_write_begin(struct raftlog_guard *g);

static void guard_write_waiting(struct raftlog_guard *g)
{
    if (!g->dead && !g->closing && !list_empty(&g->appends_waiting))
        guard_disk_failed(g, guard_write_begin(g), "cannot start to store log entries");
}

/*
 * Report success for canceled writes while closing. On an error the library would look for requests
 * of a leader, which it no longer is, and cut its log once for each write, from the second on
 * beyond its end (SIGSEGV; sim seed 2015). On success it releases them: it is neither leader nor
 * follower any more, so nothing else happens.
 */
static int guard_status_reported(const struct raftlog_guard *g, int status)
{
    ASSERT_IMPLIES(status == RAFT_CANCELED, g->raft->state == RAFT_UNAVAILABLE);
    return status == RAFT_CANCELED ? 0 : status;
}

static void guard_on_written(struct raft_io_append *req, int status)
{
    struct guard_write *w = CONTAINER_OF(req, struct guard_write, req);
    struct raftlog_guard *g = w->guard;
    g->writes--;
    if (!g->dead)
        guard_disk_failed(g, status, "cannot store log entries");
    for (struct list *l; !g->dead && (l = list_pop(&w->appends)) != NULL;) {
        struct guard_append *a = CONTAINER_OF(l, struct guard_append, link);
        struct raft_io_append *request = a->request;
        free(a);
        g->appends--;
        request->cb(request, guard_status_reported(g, status));
    }
    guard_write_free(w);
    if (g->dead || status == RAFT_CANCELED)
        return;
    if (status == 0)
        guard_mark_stored(g);
    if (g->writes == 0)
        guard_write_waiting(g);
    guard_settle(g);
}

/* Move waiting requests into a write; return the number of their entries. */
static unsigned guard_write_collect(struct raftlog_guard *g, struct guard_write *w)
{
    unsigned n = 0;
    size_t bytes = 0;
    unsigned at = 0;
    unsigned requests = 0;
    while (!list_empty(&g->appends_waiting)) {
        struct guard_append *a = CONTAINER_OF(g->appends_waiting.next, struct guard_append, link);
        if (requests > 0 && (n + a->n > WRITE_ENTRIES_MAX || bytes + a->bytes > WRITE_BYTES_MAX))
            break;
        list_remove(&a->link);
        list_push(&w->appends, &a->link);
        n += a->n;
        bytes += a->bytes;
        requests++;
    }
    if (requests == 1)
        return n;
    w->entries = xcalloc(n, sizeof *w->entries);
    LIST_EACH(l, &w->appends)
    {
        const struct guard_append *a = CONTAINER_OF(l, struct guard_append, link);
        memcpy(w->entries + at, a->entries, a->n * sizeof *a->entries);
        at += a->n;
    }
    g->used[GUARD_ONE_WRITE]++;
    return n;
}

static int guard_write_begin(struct raftlog_guard *g)
{
    struct guard_write *w = xcalloc(1, sizeof *w);
    w->guard = g;
    list_init(&w->appends);
    unsigned n = guard_write_collect(g, w);
    const struct guard_append *first = CONTAINER_OF(w->appends.next, struct guard_append, link);
    g->writes++;
    int rv = g->inner->append(g->inner, &w->req, w->entries != NULL ? w->entries : first->entries,
                              n, guard_on_written);
    if (rv != 0) {
        g->writes--;
        guard_write_free(w);
    }
    return rv;
}

/*
 * G12. In the library, requests that arrive during a write wait in its queue, where they are
 * encoded, zeroed and copied once more with every further request: the cost is quadratic. They are
 * then written as several batches at once, and a power failure may leave the second without the
 * first, which looks like bit rot. The guard therefore allows one write at a time and puts all
 * waiting requests into one batch.
 */
static int guard_append(struct raft_io *io, struct raft_io_append *req,
                        const struct raft_entry entries[], unsigned n, raft_io_append_cb cb)
{
    struct raftlog_guard *g = guard_of(io);
    if (g->dead)
        return 0;
    struct guard_append *a = xcalloc(1, sizeof *a);
    *a = (struct guard_append){.request = req, .entries = entries, .n = n};
    for (unsigned i = 0; i < n; i++)
        a->bytes += entries[i].buf.len;
    req->cb = cb;
    list_push(&g->appends_waiting, &a->link);
    g->appends++;
    if (guard_on(g, GUARD_ONE_WRITE) && g->writes > 0)
        return 0;
    int rv = guard_write_begin(g);
    if (rv == 0 || guard_disk_failed(g, rv, "cannot start to store log entries"))
        return 0;
    g->appends--;
    return rv;
}

static int guard_truncate(struct raft_io *io, raft_index index)
{
    struct raftlog_guard *g = guard_of(io);
    guard_write_waiting(g);
    if (!g->dead)
        guard_mark_cut(g, index);
    if (g->dead)
        return 0;
    int rv = g->inner->truncate(g->inner, index);
    return guard_disk_failed(g, rv, "cannot truncate the log") ? 0 : rv;
}

static int guard_set_term(struct raft_io *io, raft_term term)
{
    struct raftlog_guard *g = guard_of(io);
    if (g->dead)
        return 0;
    int rv = g->owner.seal != NULL ? seal_status(g, raftlog_seal_vote(g->owner.seal, term, 0))
                                   : g->inner->set_term(g->inner, term);
    return guard_disk_failed(g, rv, "cannot store the term") ? 0 : rv;
}

static int guard_set_vote(struct raft_io *io, raft_id id)
{
    struct raftlog_guard *g = guard_of(io);
    struct raftlog_seal *seal = g->owner.seal;
    if (g->dead)
        return 0;
    int rv = seal != NULL ? seal_status(g, raftlog_seal_vote(seal, seal->term, id))
                          : g->inner->set_vote(g->inner, id);
    return guard_disk_failed(g, rv, "cannot store the vote") ? 0 : rv;
}

static void loaded_release(struct raft_snapshot *snapshot, struct raft_entry *entries, size_t n)
{
    void *batch = NULL; /* entries of one file share it and are adjacent */
    for (size_t i = 0; i < n; i++) {
        if (entries[i].batch != batch)
            raft_free(entries[i].batch);
        batch = entries[i].batch;
    }
    raft_free(entries);
    if (snapshot == NULL)
        return;
    for (unsigned i = 0; i < snapshot->n_bufs; i++)
        raft_free(snapshot->bufs[i].base);
    raft_free(snapshot->bufs);
    raft_configuration_close(&snapshot->configuration);
    raft_free(snapshot);
}

/* Use our term and vote, not those of the library's files, and never a term older than the
 * log's. The seal has a term from the first start on; the library's files do not matter after
 * that. */
static int guard_load_term(struct raftlog_guard *g, raft_term log_term, raft_term *term,
                           raft_id *voted_for)
{
    struct raftlog_seal *seal = g->owner.seal;
    if (seal == NULL)
        return 0;
    uint64_t sealed = seal->term;
    if (seal->term != 0) {
        *term = seal->term;
        *voted_for = seal->vote;
    }
    if (log_term > *term) {
        *term = log_term;
        *voted_for = 0;
    }
    seal->term = *term;
    seal->vote = *voted_for;
    return sealed == 0 && *term != 0 ? seal_status(g, raftlog_seal_vote(seal, *term, *voted_for))
                                     : 0;
}

static int guard_load(struct raft_io *io, raft_term *term, raft_id *voted_for,
                      struct raft_snapshot **snapshot, raft_index *start_index,
                      struct raft_entry *entries[], size_t *n)
{
    struct raftlog_guard *g = guard_of(io);
    int rv = g->inner->load(g->inner, term, voted_for, snapshot, start_index, entries, n);
    if (rv != 0)
        return rv;
    raft_term log_term = *n > 0 ? (*entries)[*n - 1].term : 0;
    if (*snapshot != NULL)
        log_term = MAX(log_term, (*snapshot)->term);
    rv = guard_load_term(g, log_term, term, voted_for);
    if (rv == 0 && g->owner.loaded != NULL)
        rv = g->owner.loaded(g->owner.data, *snapshot, *start_index, *entries, *n);
    if (rv != 0) {
        loaded_release(*snapshot, *entries, *n);
        return rv;
    }
    guard_conf_loaded(g, *snapshot, *start_index, *entries, *n);
    return 0;
}

static void guard_on_put(struct raft_io_snapshot_put *req, int status)
{
    struct raftlog_guard *g = req->data;
    bool installing = guard_installing(g->raft);
    if (g->dead || guard_disk_failed(g, status, "cannot store a snapshot"))
        return;
    g->put_cb(g->put_request, status);
    if (installing && status == 0)
        guard_mark_stored(g);
    guard_conf_note(g);
}

static int guard_snapshot_put(struct raft_io *io, unsigned trailing,
                              struct raft_io_snapshot_put *req,
                              const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb cb)
{
    struct raftlog_guard *g = guard_of(io);
    g->put.data = g;
    g->put_request = req;
    g->put_cb = cb;
    guard_write_waiting(g);
    /* Entries after a leader's snapshot will be removed, or stay if we crash before. */
    if (!g->dead && guard_installing(g->raft) && g->owner.seal != NULL &&
        g->owner.seal->mark_index > snapshot->index)
        guard_mark(g, 0, 0, /* sync= */ true);
    if (g->dead)
        return 0;
    int rv = g->inner->snapshot_put(g->inner, trailing, &g->put, snapshot, guard_on_put);
    return guard_disk_failed(g, rv, "cannot start to store a snapshot") ? 0 : rv;
}

/* A leader that cannot read its own snapshot would retry forever. */
static void guard_on_got(struct raft_io_snapshot_get *req, struct raft_snapshot *snapshot,
                         int status)
{
    struct guard_get *get = CONTAINER_OF(req, struct guard_get, req);
    struct raftlog_guard *g = get->guard;
    struct raft_io_snapshot_get *request = get->request;
    raft_io_snapshot_get_cb cb = get->cb;
    raft_index asked = get->asked;
    free(get);
    g->gets--;
    if (g->dead || guard_disk_failed(g, status, "cannot read our snapshot"))
        return;
    if (status == 0 && g->owner.image_ok != NULL &&
        !g->owner.image_ok(g->owner.data, &snapshot->bufs[0])) {
        guard_fatal(g, true, "our snapshot up to entry %llu is damaged", snapshot->index);
        return;
    }
    g->get_asked = asked;
    cb(request, snapshot, status);
}

static int guard_get_begin(struct raftlog_guard *g, struct guard_get *get)
{
    int rv = g->inner->snapshot_get(g->inner, &get->req, guard_on_got);
    if (rv != 0) {
        g->gets--;
        free(get);
    }
    return rv;
}

/* G15. A leader that is taking a snapshot cuts its log when it has finished. A follower that was
 * sent the previous snapshot would then need another one, so it is sent the new one. No snapshot
 * is begun while one is read or installed (raftlog_guard_follower_installs). */
static int guard_snapshot_get(struct raft_io *io, struct raft_io_snapshot_get *req,
                              raft_io_snapshot_get_cb cb)
{
    struct raftlog_guard *g = guard_of(io);
    if (g->dead)
        return RAFT_CANCELED;
    struct guard_get *get = xcalloc(1, sizeof *get);
    *get = (struct guard_get){
        .asked = g->raft->log.snapshot.last_index, .guard = g, .request = req, .cb = cb};
    g->gets++;
    if (!guard_on(g, GUARD_ONE_SNAPSHOT) || g->raft->snapshot.pending.term == 0)
        return guard_get_begin(g, get);
    g->used[GUARD_ONE_SNAPSHOT]++;
    list_push(&g->gets_waiting, &get->link);
    return 0;
}

static void guard_get_refuse(struct guard_get *get)
{
    struct raft_io_snapshot_get *request = get->request;
    raft_io_snapshot_get_cb cb = get->cb;
    free(get);
    cb(request, NULL, RAFT_CANCELED);
}

void guard_gets_begin(struct raftlog_guard *g)
{
    if (g->dead || g->closing || g->raft->snapshot.pending.term != 0)
        return;
    for (struct list *l; !g->dead && (l = list_pop(&g->gets_waiting)) != NULL;) {
        struct guard_get *get = CONTAINER_OF(l, struct guard_get, link);
        guard_disk_failed(g, guard_get_begin(g, get), "cannot start to read our snapshot");
    }
}

void guard_disk_install(struct raftlog_guard *g)
{
    list_init(&g->appends_waiting);
    list_init(&g->gets_waiting);
    g->io.append = guard_append;
    g->io.truncate = guard_truncate;
    g->io.set_term = guard_set_term;
    g->io.set_vote = guard_set_vote;
    g->io.load = guard_load;
    g->io.snapshot_put = guard_snapshot_put;
    g->io.snapshot_get = guard_snapshot_get;
}

void guard_disk_close(struct raftlog_guard *g)
{
    for (struct list *l; (l = list_pop(&g->appends_waiting)) != NULL;) {
        struct guard_append *a = CONTAINER_OF(l, struct guard_append, link);
        struct raft_io_append *request = a->request;
        free(a);
        if (!g->dead)
            request->cb(request, guard_status_reported(g, RAFT_CANCELED));
    }
    for (struct list *l; (l = list_pop(&g->gets_waiting)) != NULL;) {
        g->gets--;
        guard_get_refuse(CONTAINER_OF(l, struct guard_get, link));
    }
}
