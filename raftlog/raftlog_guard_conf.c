/*
 * raftlog_guard_conf.c - G13: rolls back a change of members.
 *
 * "If a log entry is removed, servers must be prepared to fall back to the previous configuration"
 * (Raft 4.1). The library looks for the previous configuration only in its log, which no longer
 * contains it after a snapshot, and crashes (#354, issues #250 #323, fixed in 0.17.1). After a
 * restart it treats the newest configuration in its log as committed and never rolls it back; it
 * also puts an uncommitted one into snapshots. The guard therefore keeps a copy of the last
 * committed configuration and restores it itself before the library cuts the log.
 */
#include "raftlog_guard_impl.h"

#include <endian.h>
#include <string.h>

enum { CONF_FORMAT = 1 };

static int conf_copy(const struct raft_configuration *from, struct raft_configuration *to)
{
    int rv = 0;
    raft_configuration_init(to);
    for (unsigned i = 0; i < from->n && rv == 0; i++)
        rv = raft_configuration_add(to, from->servers[i].id, from->servers[i].address,
                                    from->servers[i].role);
    return rv;
}

/* Decode an entry: format (1 byte), number of servers (8), for each: id (8), address, NUL, role
 * (1). */
static int conf_decode(const struct raft_buffer *buf, struct raft_configuration *ret)
{
    const char *at = buf->base;
    const char *end = at + buf->len;
    uint64_t count;
    int rv = 0;
    raft_configuration_init(ret);
    if (buf->len < 9 || *at != CONF_FORMAT)
        return RAFT_MALFORMED;
    memcpy(&count, at + 1, sizeof count);
    at += 9;
    for (count = le64toh(count); count > 0 && rv == 0; count--) {
        uint64_t id;
        if ((size_t)(end - at) < sizeof id)
            return RAFT_MALFORMED;
        memcpy(&id, at, sizeof id);
        const char *address = at + sizeof id;
        const char *stop = memchr(address, '\0', (size_t)(end - address));
        if (stop == NULL || end - stop < 2)
            return RAFT_MALFORMED;
        rv = raft_configuration_add(ret, le64toh(id), address, stop[1]);
        at = stop + 2;
    }
    return rv;
}

/* Return the entry at `index` of the log in memory, or NULL. */
static const struct raft_entry *log_entry(const struct raft_log *log, raft_index index)
{
    if (index <= log->offset || raftlog_guard_term_of(log, index) == 0)
        return NULL;
    return &log->entries[(log->front + (size_t)(index - log->offset - 1)) % log->size];
}

/* Store `conf` and take ownership of it. */
static void conf_keep(struct raftlog_guard *g, raft_index index, struct raft_configuration conf)
{
    raft_configuration_close(&g->conf);
    g->conf = conf;
    g->conf_index = index;
}

/* Store the configuration of an entry; an unreadable one stays unknown. */
static void conf_keep_entry(struct raftlog_guard *g, raft_index index,
                            const struct raft_entry *entry)
{
    struct raft_configuration conf;
    if (conf_decode(&entry->buf, &conf) == 0)
        conf_keep(g, index, conf);
    else
        raft_configuration_close(&conf);
}

/* A change begins only after the previous one is committed, so only the last one in the log can
 * be uncommitted. The first one, from the bootstrap, is the same everywhere. */
void guard_conf_loaded(struct raftlog_guard *g, const struct raft_snapshot *snapshot,
                       raft_index start_index, const struct raft_entry *entries, size_t n)
{
    raft_index known = 0;
    size_t last = n;
    if (snapshot != NULL) {
        struct raft_configuration conf;
        known = snapshot->index;
        if (conf_copy(&snapshot->configuration, &conf) == 0)
            conf_keep(g, snapshot->configuration_index, conf);
    }
    for (size_t i = 0; i < n; i++) {
        if (entries[i].type != RAFT_CHANGE || start_index + i <= known)
            continue;
        if (last < n)
            conf_keep_entry(g, start_index + last, &entries[last]);
        last = i;
    }
    if (last < n && g->conf_index == 0)
        conf_keep_entry(g, start_index + last, &entries[last]);
    else if (last < n)
        g->conf_open_index = start_index + last;
}

void guard_conf_started(struct raftlog_guard *g)
{
    struct raft *r = g->raft;
    if (!guard_on(g, GUARD_KEEP_MEMBERS) || g->conf_open_index == 0)
        return;
    ASSERT(r->configuration_index == g->conf_open_index);
    r->configuration_index = g->conf_index;
    r->configuration_uncommitted_index = g->conf_open_index;
    g->used[GUARD_KEEP_MEMBERS]++;
}

static void conf_go_back(struct raftlog_guard *g)
{
    struct raft *r = g->raft;
    struct raft_configuration conf;
    if (g->conf_index == 0 || g->conf_index != r->configuration_index ||
        conf_copy(&g->conf, &conf) != 0) {
        guard_fatal(
            g, true,
            "the change of members at entry %llu was rolled back, and the previous members are not "
            "known",
            r->configuration_uncommitted_index);
        return;
    }
    raft_configuration_close(&r->configuration);
    r->configuration = conf;
    r->configuration_uncommitted_index = 0;
    g->used[GUARD_KEEP_MEMBERS]++;
}

void guard_conf_cut(struct raftlog_guard *g, raft_index index)
{
    const struct raft *r = g->raft;
    if (guard_on(g, GUARD_KEEP_MEMBERS) && r->configuration_uncommitted_index >= index)
        conf_go_back(g);
}

void guard_conf_note(struct raftlog_guard *g)
{
    struct raft *r = g->raft;
    if (!guard_on(g, GUARD_KEEP_MEMBERS) || g->dead || r->state == RAFT_UNAVAILABLE)
        return;
    /* A snapshot of the leader replaced the log and the members; the library does not check
     * this. */
    raft_index open_index = r->configuration_uncommitted_index;
    if (open_index != 0 && !guard_installing(r) &&
        (open_index <= r->last_applied || raftlog_guard_term_of(&r->log, open_index) == 0))
        r->configuration_uncommitted_index = 0;
    if (r->configuration_index == 0 || r->configuration_index == g->conf_index)
        return;
    struct raft_configuration conf;
    if (r->configuration_uncommitted_index == 0) {
        if (conf_copy(&r->configuration, &conf) == 0)
            conf_keep(g, r->configuration_index, conf);
        return;
    }
    const struct raft_entry *entry = log_entry(&r->log, r->configuration_index);
    if (entry != NULL)
        conf_keep_entry(g, r->configuration_index, entry);
}

static int guard_fsm_snapshot(struct raft_fsm *fsm, struct raft_buffer *bufs[], unsigned *n)
{
    struct raftlog_guard *g = CONTAINER_OF(fsm, struct raftlog_guard, fsm);
    if (guard_on(g, GUARD_KEEP_MEMBERS) && g->raft->configuration_uncommitted_index != 0) {
        g->used[GUARD_KEEP_MEMBERS]++;
        return RAFT_BUSY; /* the library retries with the next entry */
    }
    return g->inner_fsm->snapshot(g->inner_fsm, bufs, n);
}

void guard_conf_install(struct raftlog_guard *g)
{
    g->inner_fsm = g->raft->fsm;
    g->fsm = *g->inner_fsm;
    g->fsm.snapshot = guard_fsm_snapshot;
    g->raft->fsm = &g->fsm;
    raft_configuration_init(&g->conf);
}

void guard_conf_release(struct raftlog_guard *g)
{
    raft_configuration_close(&g->conf);
}
