/*
 * raft_world.h - five raft servers on the library's own simulator, each behind our guard, and a
 * record of acknowledged entries. Time is simulated and everything is deterministic. For tests of
 * the guard; functions are static because each test is one file.
 */
#ifndef TEST_RAFT_WORLD_H
#define TEST_RAFT_WORLD_H

#include "raftlog_guard.h"

#include <check.h>
#include <raft/fixture.h>
#include <stdlib.h>
#include <string.h>

enum { SERVERS = 5, ENTRIES_MAX = 4096 };
enum { NO_RULE_OFF = 0, ALL_RULES_OFF = (1 << GUARD_RULE_COUNT) - 1 };

struct machine {
    uint64_t ids[ENTRIES_MAX]; /* of the applied entries, in order */
    size_t count;
};

struct kept_send {
    struct raft_io_send *req;
    raft_io_send_cb cb;
};

/* A layer between the guard and the simulator, to observe and to inject single messages. */
struct spy {
    struct raft_io *io;
    int (*start)(struct raft_io *, unsigned, raft_io_tick_cb, raft_io_recv_cb);
    int (*send)(struct raft_io *, struct raft_io_send *, const struct raft_message *,
                raft_io_send_cb);
    int (*append)(struct raft_io *, struct raft_io_append *, const struct raft_entry[], unsigned,
                  raft_io_append_cb);
    int (*truncate)(struct raft_io *, raft_index);
    int (*snapshot_put)(struct raft_io *, unsigned, struct raft_io_snapshot_put *,
                        const struct raft_snapshot *, raft_io_snapshot_put_cb);
    bool fail_put;        /* there is no room for a snapshot */
    raft_io_recv_cb recv; /* callback of the guard */
    unsigned sent_count;
    unsigned answer_count;                    /* number of AppendEntries results */
    struct raft_append_entries_result answer; /* the last AppendEntries result */
    bool keep_sends;                          /* sends do not end before kept_end() */
    struct kept_send kept[ENTRIES_MAX];
    size_t kept_count;
    size_t kept_bytes; /* of entries */
    unsigned append_count;
    bool keep_append; /* the test decides when the next write of entries ends */
    struct raft_io_append *append_req;
    raft_io_append_cb append_cb;
    unsigned truncated_in_snapshot;
};

struct world {
    struct raft_fixture f;
    struct raftlog_guard guards[SERVERS];
    struct raft_fsm fsms[SERVERS];
    struct machine machines[SERVERS];
    struct spy spies[SERVERS];
    uint64_t acked[ENTRIES_MAX]; /* ids that a client was told are committed */
    size_t acked_count;
    uint64_t last_id;
    uint64_t seed;
    unsigned fatal_count;
};

struct proposal {
    struct raft_apply req;
    struct world *world;
    uint64_t id;
};

/* The spy is found through the fixture, which keeps its servers in an array. */
static struct world *the_world;

static UNUSED struct spy *spy_of(struct raft_io *io)
{
    for (size_t i = 0; i < SERVERS; i++) {
        if (the_world->spies[i].io == io)
            return &the_world->spies[i];
    }
    ck_abort_msg("no such server");
}

static UNUSED struct raft *raft_at(struct world *w, unsigned i)
{
    return raft_fixture_get(&w->f, i);
}

static UNUSED int machine_apply(struct raft_fsm *fsm, const struct raft_buffer *buf, void **result)
{
    struct machine *m = fsm->data;
    ck_assert_uint_lt(m->count, ENTRIES_MAX);
    memcpy(&m->ids[m->count++], buf->base, sizeof(uint64_t));
    *result = NULL;
    return 0;
}

static UNUSED int machine_snapshot(struct raft_fsm *fsm, struct raft_buffer *bufs[], unsigned *n)
{
    (void)fsm;
    *n = 1;
    *bufs = raft_malloc(sizeof **bufs);
    (*bufs)[0] = (struct raft_buffer){.base = raft_calloc(1, 8), .len = 8};
    return 0;
}

static UNUSED int machine_restore(struct raft_fsm *fsm, struct raft_buffer *buf)
{
    (void)fsm;
    raft_free(buf->base);
    return 0;
}

static UNUSED int spy_start(struct raft_io *io, unsigned ms, raft_io_tick_cb tick,
                            raft_io_recv_cb recv)
{
    struct spy *s = spy_of(io);
    s->recv = recv;
    return s->start(io, ms, tick, recv);
}

static UNUSED void spy_keep(struct spy *s, struct raft_io_send *req, const struct raft_message *m,
                            raft_io_send_cb cb)
{
    ck_assert_uint_lt(s->kept_count, ENTRIES_MAX);
    s->kept[s->kept_count++] = (struct kept_send){.req = req, .cb = cb};
    for (unsigned i = 0; m->type == RAFT_IO_APPEND_ENTRIES && i < m->append_entries.n_entries; i++)
        s->kept_bytes += m->append_entries.entries[i].buf.len;
}

static UNUSED void kept_end(struct spy *s)
{
    s->keep_sends = false;
    for (size_t i = 0; i < s->kept_count; i++)
        s->kept[i].cb(s->kept[i].req, RAFT_CANCELED);
    s->kept_count = 0;
}

static UNUSED int spy_send(struct raft_io *io, struct raft_io_send *req,
                           const struct raft_message *m, raft_io_send_cb cb)
{
    struct spy *s = spy_of(io);
    s->sent_count++;
    if (m->type == RAFT_IO_APPEND_ENTRIES_RESULT) {
        s->answer_count++;
        s->answer = m->append_entries_result;
    }
    if (!s->keep_sends)
        return s->send(io, req, m, cb);
    spy_keep(s, req, m, cb);
    return 0;
}

static UNUSED int spy_append(struct raft_io *io, struct raft_io_append *req,
                             const struct raft_entry e[], unsigned n, raft_io_append_cb cb)
{
    struct spy *s = spy_of(io);
    s->append_count++;
    if (!s->keep_append)
        return s->append(io, req, e, n, cb);
    s->keep_append = false;
    s->append_req = req;
    s->append_cb = cb;
    return 0;
}

static UNUSED int spy_truncate(struct raft_io *io, raft_index index)
{
    struct spy *s = spy_of(io);
    const struct raft *r = raft_fixture_get(&the_world->f, (unsigned)(s - the_world->spies));
    s->truncated_in_snapshot += r->snapshot.pending.term != 0;
    return s->truncate(io, index);
}

static UNUSED int spy_snapshot_put(struct raft_io *io, unsigned trailing,
                                   struct raft_io_snapshot_put *req,
                                   const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb cb)
{
    struct spy *s = spy_of(io);
    return s->fail_put ? RAFT_NOSPACE : s->snapshot_put(io, trailing, req, snapshot, cb);
}

static UNUSED void spy_install(struct spy *s, struct raft_io *io)
{
    *s = (struct spy){.io = io,
                      .start = io->start,
                      .send = io->send,
                      .append = io->append,
                      .truncate = io->truncate,
                      .snapshot_put = io->snapshot_put};
    io->start = spy_start;
    io->send = spy_send;
    io->append = spy_append;
    io->truncate = spy_truncate;
    io->snapshot_put = spy_snapshot_put;
}

static UNUSED void count_fatal(void *data, const char *what, bool damaged)
{
    (void)damaged;
    struct world *w = data;
    ck_assert_int_ne(what[0], '\0');
    w->fatal_count++;
}

static UNUSED struct world *world_new(uint32_t off)
{
    struct world *w = xcalloc(1, sizeof *w);
    the_world = w;
    ck_assert_int_eq(raft_fixture_initialize(&w->f), 0);
    for (unsigned i = 0; i < SERVERS; i++) {
        w->fsms[i] = (struct raft_fsm){.version = 1,
                                       .data = &w->machines[i],
                                       .apply = machine_apply,
                                       .snapshot = machine_snapshot,
                                       .restore = machine_restore};
        ck_assert_int_eq(raft_fixture_grow(&w->f, &w->fsms[i]), 0);
        spy_install(&w->spies[i], raft_at(w, i)->io);
        raftlog_guard_install(&w->guards[i], raft_at(w, i), off,
                              &(struct guard_owner){.fatal = count_fatal, .data = w});
        raft_set_snapshot_threshold(raft_at(w, i), 1000000);
    }
    return w;
}

static UNUSED void world_start(struct world *w)
{
    struct raft_configuration conf;
    ck_assert_int_eq(raft_fixture_configuration(&w->f, SERVERS, &conf), 0);
    ck_assert_int_eq(raft_fixture_bootstrap(&w->f, &conf), 0);
    raft_configuration_close(&conf);
    ck_assert_int_eq(raft_fixture_start(&w->f), 0);
}

static UNUSED void world_free(struct world *w)
{
    raft_fixture_close(&w->f);
    for (unsigned i = 0; i < SERVERS; i++)
        raftlog_guard_release(&w->guards[i]);
    free(w);
}

static UNUSED void run(struct world *w, unsigned ms)
{
    raft_fixture_step_until_elapsed(&w->f, ms);
}

static UNUSED void cut(struct world *w, unsigned a, unsigned b)
{
    raft_fixture_saturate(&w->f, a, b);
    raft_fixture_saturate(&w->f, b, a);
}

static UNUSED void join(struct world *w, unsigned a, unsigned b)
{
    raft_fixture_desaturate(&w->f, a, b);
    raft_fixture_desaturate(&w->f, b, a);
}

static UNUSED void on_applied(struct raft_apply *req, int status, void *result)
{
    struct proposal *p = CONTAINER_OF(req, struct proposal, req);
    (void)result;
    if (status == 0 && p->world->acked_count < ENTRIES_MAX)
        p->world->acked[p->world->acked_count++] = p->id;
    free(p);
}

static UNUSED void propose_bytes(struct world *w, unsigned i, size_t size)
{
    struct proposal *p = xcalloc(1, sizeof *p);
    struct raft_buffer buf = {.base = raft_calloc(1, size), .len = size};
    p->world = w;
    p->id = ++w->last_id;
    memcpy(buf.base, &p->id, 8);
    if (raft_apply(raft_at(w, i), &p->req, &buf, 1, on_applied) != 0) {
        raft_free(buf.base);
        free(p);
    }
}

static UNUSED void propose(struct world *w, unsigned i)
{
    propose_bytes(w, i, sizeof(uint64_t));
}

static UNUSED void set_timeout(struct world *w, unsigned i, unsigned ms)
{
    struct raft *r = raft_at(w, i);
    raft_fixture_set_randomized_election_timeout(&w->f, i, ms);
    if (r->state == RAFT_FOLLOWER)
        r->follower_state.randomized_election_timeout = ms;
    else if (r->state == RAFT_CANDIDATE)
        r->candidate_state.randomized_election_timeout = ms;
}

/* Make the election timer of server `i` fire first. */
static UNUSED void favour(struct world *w, unsigned i)
{
    for (unsigned k = 0; k < SERVERS; k++)
        set_timeout(w, k, k == i ? 1000 : 1900);
}

struct awaited {
    struct world *w;
    unsigned server;
    raft_term above; /* wait for the leader of a higher term */
    raft_index stored;
    raft_index committed;
};

static UNUSED bool is_leader(struct raft_fixture *f, void *arg)
{
    const struct awaited *a = arg;
    struct raft *r = raft_fixture_get(f, a->server);
    return r->state == RAFT_LEADER && r->current_term > a->above &&
           raft_fixture_alive(f, a->server);
}

static UNUSED bool has_stored(struct raft_fixture *f, void *arg)
{
    const struct awaited *a = arg;
    return raft_fixture_get(f, a->server)->last_stored >= a->stored;
}

static UNUSED bool has_committed(struct raft_fixture *f, void *arg)
{
    const struct awaited *a = arg;
    return raft_fixture_get(f, a->server)->commit_index >= a->committed;
}

static UNUSED bool wait_leader(struct world *w, unsigned i, raft_term above, unsigned ms)
{
    struct awaited a = {.server = i, .above = above};
    return raft_fixture_step_until(&w->f, is_leader, &a, ms);
}

static UNUSED void wait_stored(struct world *w, unsigned i, raft_index index)
{
    struct awaited a = {.server = i, .stored = index};
    ck_assert(raft_fixture_step_until(&w->f, has_stored, &a, 3000));
}

static UNUSED bool wait_committed(struct world *w, unsigned i, raft_index index, unsigned ms)
{
    struct awaited a = {.server = i, .committed = index};
    return raft_fixture_step_until(&w->f, has_committed, &a, ms);
}

/* Return five servers, of which 0 has been leader for half a second. */
static UNUSED struct world *world_led_by_0(uint32_t off)
{
    struct world *w = world_new(off);
    world_start(w);
    favour(w, 0);
    ck_assert(wait_leader(w, 0, 0, 30000));
    run(w, 500);
    return w;
}

/* Reconnect and restart all servers; a new entry shows that the cell works. */
static UNUSED void heal(struct world *w)
{
    for (unsigned i = 0; i < SERVERS; i++) {
        raft_fixture_revive(&w->f, i);
        for (unsigned k = i + 1; k < SERVERS; k++)
            join(w, i, k);
        set_timeout(w, i, 1000 + i * 190);
    }
    run(w, 15000);
    unsigned leader = raft_fixture_leader_index(&w->f);
    if (leader < SERVERS)
        propose(w, leader);
    run(w, 3000);
}

enum { DIVERGED = 1, STOPPED = 2, LOST = 4, NO_LEADER = 8, LAGGING = 16 };

/* Cut server `i` off from the others; only the test sends messages to it. */
static UNUSED void isolate(struct world *w, unsigned i)
{
    for (unsigned k = 0; k < SERVERS; k++) {
        if (k != i)
            cut(w, i, k);
    }
}

/* Deliver a message to server `i` as if server `from` had sent it. */
static UNUSED void inject(struct world *w, unsigned i, unsigned from, struct raft_message *m)
{
    m->server_id = w->f.servers[from].id;
    m->server_address = w->f.servers[from].address;
    w->spies[i].recv(w->spies[i].io, m);
}

/* Inject AppendEntries with one entry after `prev`, or none if `entry_term` is 0. Takes `buf`. */
static UNUSED void inject_bytes(struct world *w, unsigned i, unsigned from, raft_term term,
                                raft_index prev, raft_term entry_term, unsigned short type,
                                struct raft_buffer buf)
{
    struct raft_message m = {.type = RAFT_IO_APPEND_ENTRIES};
    m.append_entries.term = term;
    m.append_entries.prev_log_index = prev;
    m.append_entries.prev_log_term = raftlog_guard_term_of(&raft_at(w, i)->log, prev);
    if (entry_term != 0) {
        struct raft_entry *entry = raft_calloc(1, sizeof *entry);
        *entry =
            (struct raft_entry){.term = entry_term, .type = type, .buf = buf, .batch = buf.base};
        m.append_entries.entries = entry;
        m.append_entries.n_entries = 1;
    }
    inject(w, i, from, &m);
}

static UNUSED void inject_entry(struct world *w, unsigned i, unsigned from, raft_term term,
                                raft_index prev, raft_term entry_term)
{
    struct raft_buffer buf = {.len = 8};
    if (entry_term != 0)
        buf.base = raft_calloc(1, buf.len);
    inject_bytes(w, i, from, term, prev, entry_term, RAFT_COMMAND, buf);
}

static UNUSED void inject_snapshot(struct world *w, unsigned i, unsigned from, raft_term term,
                                   raft_index last_index, raft_term last_term)
{
    struct raft_message m = {.type = RAFT_IO_INSTALL_SNAPSHOT};
    struct raft_install_snapshot *args = &m.install_snapshot;
    args->term = term;
    args->last_index = last_index;
    args->last_term = last_term;
    args->conf_index = 1;
    ck_assert_int_eq(raft_fixture_configuration(&w->f, SERVERS, &args->conf), 0);
    args->data = (struct raft_buffer){.base = raft_calloc(1, 8), .len = 8};
    inject(w, i, from, &m);
}

/* Return a world whose follower 4 is cut off and has a disk that needs `disk_ms`. */
static UNUSED struct world *world_of_follower_4(uint32_t off, unsigned disk_ms)
{
    struct world *w = world_led_by_0(off);
    isolate(w, 4);
    run(w, 100);
    raft_fixture_set_disk_latency(&w->f, 4, disk_ms);
    return w;
}

/* Check after heal(): return 0 if all agree and no acknowledged entry is lost, else the violation.
 */
static UNUSED int verdict(struct world *w)
{
    const struct machine *longest = &w->machines[0];
    int wrong = raft_fixture_leader_index(&w->f) < SERVERS ? 0 : NO_LEADER;
    for (unsigned i = 1; i < SERVERS; i++) {
        if (w->machines[i].count > longest->count)
            longest = &w->machines[i];
    }
    for (unsigned i = 0; i < SERVERS; i++) {
        const struct machine *m = &w->machines[i];
        if (memcmp(m->ids, longest->ids, m->count * sizeof m->ids[0]) != 0)
            wrong |= DIVERGED;
        if (m->count != longest->count)
            wrong |= LAGGING;
        if (raft_at(w, i)->state == RAFT_UNAVAILABLE)
            wrong |= STOPPED;
    }
    for (size_t k = 0; k < w->acked_count; k++) {
        unsigned hits = 0;
        for (size_t n = 0; n < longest->count; n++)
            hits += longest->ids[n] == w->acked[k];
        if (hits != 1)
            wrong |= LOST;
    }
    return wrong;
}

#endif
