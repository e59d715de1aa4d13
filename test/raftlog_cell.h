/*
 * raftlog_cell.h - up to five real replicas of the log on one loop, each with a certificate,
 * directory and port, and a record of acknowledged entries. For tests of raftlog; functions are
 * static because each test is one file.
 */
#ifndef TEST_RAFTLOG_CELL_H
#define TEST_RAFTLOG_CELL_H

#include "raftlog.h"

#include "clock.h"
#include "log.h"
#include "testlib.h"

#include <check.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { REPLICAS_MAX = 5, IDS_MAX = 65536, WAIT_MS = 20000 };

/* The replicated state: the number of entries, and a hash over all of them in order. */
struct state {
    uint64_t count;
    uint64_t hash;
    uint64_t index; /* of the last entry in it */
    uint8_t seen[IDS_MAX];
};

struct replica {
    struct cell *cell;
    uint64_t id;
    char dir[256];
    struct tls_context *tls;
    struct raftlog *log;
    struct state state;
    enum raftlog_role role;
    uint64_t leader_id;
    unsigned restored;
    unsigned fatal_count;
    bool closed;
    int port_fd; /* keeps the port reserved while the log is closed */
};

struct cell {
    uv_loop_t loop;
    uv_timer_t tick; /* wakes the loop so that conditions are checked */
    char dir[64];
    struct replica replicas[REPLICAS_MAX];
    size_t count;
    struct raftlog_options options; /* of all replicas */
    uint64_t next_id;
    bool acked[IDS_MAX];
    size_t answered;
    size_t unknown;
    size_t under_way;
};

static UNUSED void state_add(struct state *s, uint64_t index, const void *bytes, size_t size)
{
    uint64_t id = 0;
    ck_assert_uint_ge(size, sizeof id);
    memcpy(&id, bytes, sizeof id);
    ck_assert_uint_lt(id, IDS_MAX);
    for (size_t i = 0; i < size; i++)
        s->hash = (s->hash ^ ((const uint8_t *)bytes)[i]) * UINT64_C(0x100000001b3);
    s->hash = (s->hash ^ size) * UINT64_C(0x100000001b3);
    s->count++;
    s->seen[id]++;
    s->index = index;
}

static UNUSED void on_apply(void *data, uint64_t index, uint64_t term, const void *bytes,
                            size_t size)
{
    struct replica *r = data;
    ck_assert_uint_gt(term, 0);
    ck_assert_uint_gt(index, r->state.index);
    state_add(&r->state, index, bytes, size);
}

static UNUSED void on_role(void *data, enum raftlog_role role, uint64_t term, uint64_t leader_id)
{
    struct replica *r = data;
    (void)term;
    r->role = role;
    r->leader_id = leader_id;
}

static UNUSED void *snapshot_begin(void *data, uint64_t index, uint64_t term)
{
    struct replica *r = data;
    struct state *copy = xcalloc(1, sizeof *copy);
    ck_assert_uint_gt(term, 0);
    *copy = r->state;
    ck_assert_uint_le(copy->index, index);
    copy->index = index;
    return copy;
}

static UNUSED int snapshot_write(void *token, void **ret_bytes, size_t *ret_size)
{
    struct state *copy = xcalloc(1, sizeof *copy);
    memcpy(copy, token, sizeof *copy);
    *ret_bytes = copy;
    *ret_size = sizeof *copy;
    return 0;
}

static UNUSED void snapshot_end(void *data, void *token)
{
    (void)data;
    free(token);
}

static UNUSED int on_restore(void *data, uint64_t index, uint64_t term, const void *bytes,
                             size_t size)
{
    struct replica *r = data;
    ck_assert_uint_eq(size, sizeof r->state);
    ck_assert_uint_gt(term, 0);
    memcpy(&r->state, bytes, size);
    ck_assert_uint_eq(r->state.index, index);
    r->restored++;
    return 0;
}

static UNUSED void on_fatal(void *data, const struct err *err)
{
    struct replica *r = data;
    fprintf(stderr, "replica %" PRIu64 ": %s\n", r->id, err->msg);
    r->fatal_count++;
}

static UNUSED bool may_connect(void *data, uint64_t id, const char *address)
{
    const struct replica *r = data;
    const struct raftlog_options *o = &r->cell->options;
    for (size_t i = 0; i < o->member_count; i++) {
        if (o->members[i].id == id && strcmp(o->members[i].address, address) == 0)
            return true;
    }
    return false;
}

static const struct raftlog_handlers handlers = {
    .on_apply = on_apply,
    .on_role = on_role,
    .snapshot_begin = snapshot_begin,
    .snapshot_write = snapshot_write,
    .snapshot_end = snapshot_end,
    .on_restore = on_restore,
    .on_fatal = on_fatal,
    .may_connect = may_connect,
};

static UNUSED void on_tick(uv_timer_t *timer)
{
    (void)timer;
}

/* Print the state of all replicas when a wait has timed out. */
static UNUSED void print_replicas(struct cell *c)
{
    for (size_t i = 0; i < c->count; i++) {
        const struct replica *r = &c->replicas[i];
        if (r->closed)
            continue;
        struct raftlog_status s = raftlog_status(r->log);
        fprintf(stderr,
                "replica %" PRIu64 ": role %d term %" PRIu64 " leader %" PRIu64 " last %" PRIu64
                " stored %" PRIu64 " commit %" PRIu64 " applied %" PRIu64 " snapshot %" PRIu64
                " entries %" PRIu64 " hash %" PRIx64 "\n",
                r->id, s.role, s.term, s.leader_id, s.last_index, s.stored_index, s.commit_index,
                s.applied_index, s.snapshot_index, r->state.count, r->state.hash);
    }
}

static UNUSED void run_until(struct cell *c, bool (*done)(struct cell *c, const void *arg),
                             const void *arg, const char *what)
{
    uint64_t deadline_ms = clock_mono_ms() + WAIT_MS;
    while (!done(c, arg)) {
        if (clock_mono_ms() >= deadline_ms)
            print_replicas(c);
        ck_assert_msg(clock_mono_ms() < deadline_ms, "timed out waiting for: %s", what);
        uv_run(&c->loop, UV_RUN_ONCE);
    }
}

/* Reserve a port: it is bound but not listening, so that the log may listen on it. */
static UNUSED int take_port(struct sockaddr_in *ret_addr)
{
    int one = 1;
    socklen_t size = sizeof *ret_addr;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *ret_addr =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one), 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)ret_addr, size), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)ret_addr, &size), 0);
    return fd;
}

static UNUSED struct tls_context *make_identity(struct cell *c, const char *name, enum role role,
                                                const char *holder)
{
    char ca[128];
    char cert[128];
    char key[128];
    struct err err;
    struct identity id = {.role = role};
    struct tls_context *tls = NULL;
    str_copy(id.name, sizeof id.name, holder);
    ck_assert_msg(pki_make_cert(c->dir, name, &id, &err) == 0, "%s", err.msg);
    snprintf(ca, sizeof ca, "%s/ca.crt", c->dir);
    snprintf(cert, sizeof cert, "%s/%s.crt", c->dir, name);
    snprintf(key, sizeof key, "%s/%s.key", c->dir, name);
    ck_assert_msg(tls_context_open(ca, cert, key, &tls, &err) == 0, "%s", err.msg);
    return tls;
}

static UNUSED struct raftlog_options options_of(struct replica *r)
{
    struct raftlog_options o = r->cell->options;
    o.loop = &r->cell->loop;
    o.tls = r->tls;
    o.dir = r->dir;
    o.cell = o.cell != NULL ? o.cell : "test";
    o.id = r->id;
    o.handlers = &handlers;
    o.data = r;
    return o;
}

static UNUSED void replica_open(struct replica *r)
{
    struct raftlog_options o = options_of(r);
    struct err err;
    memset(&r->state, 0, sizeof r->state);
    r->closed = false;
    r->restored = 0;
    r->leader_id = 0;
    r->role = RAFTLOG_FOLLOWER;
    ck_assert_msg(raftlog_open(&o, &r->log, &err) == 0, "%s", err.msg);
}

static UNUSED void on_closed(void *data)
{
    struct replica *r = data;
    r->closed = true;
    r->log = NULL;
}

static UNUSED bool is_closed(struct cell *c, const void *arg)
{
    const struct replica *r = arg;
    (void)c;
    return r->closed;
}

static UNUSED void replica_close(struct replica *r)
{
    raftlog_close(r->log, on_closed, r);
    run_until(r->cell, is_closed, r, "close");
}

/* Make replicas with certificates, directories and ports; none is open. */
static UNUSED struct cell *cell_new(size_t count)
{
    struct cell *c = xcalloc(1, sizeof *c);
    struct err err;
    c->count = count;
    str_copy(c->dir, sizeof c->dir, t_dir());
    ck_assert_int_eq(uv_loop_init(&c->loop), 0);
    ck_assert_int_eq(uv_timer_init(&c->loop, &c->tick), 0);
    ck_assert_int_eq(uv_timer_start(&c->tick, on_tick, 10, 10), 0);
    ck_assert_msg(pki_make_ca(c->dir, "test", &err) == 0, "%s", err.msg);
    c->options.disk_free_min_bytes = 1048576;
    c->options.bootstrap = true;
    for (size_t i = 0; i < count; i++) {
        struct replica *r = &c->replicas[i];
        struct sockaddr_in addr;
        char name[16];
        r->cell = c;
        r->id = i + 1;
        r->closed = true;
        snprintf(name, sizeof name, "%zu", i + 1);
        snprintf(r->dir, sizeof r->dir, "%s/raft%zu", c->dir, i + 1);
        r->tls = make_identity(c, name, ROLE_MASTER, name);
        r->port_fd = take_port(&addr);
        c->options.members[i].id = i + 1;
        snprintf(c->options.members[i].address, sizeof c->options.members[i].address,
                 "127.0.0.1:%d", ntohs(addr.sin_port));
    }
    c->options.member_count = count;
    return c;
}

static UNUSED struct cell *cell_open(size_t count)
{
    struct cell *c = cell_new(count);
    for (size_t i = 0; i < count; i++)
        replica_open(&c->replicas[i]);
    return c;
}

static UNUSED void cell_free(struct cell *c)
{
    for (size_t i = 0; i < c->count; i++) {
        if (!c->replicas[i].closed)
            raftlog_close(c->replicas[i].log, on_closed, &c->replicas[i]);
    }
    for (size_t i = 0; i < c->count; i++) {
        run_until(c, is_closed, &c->replicas[i], "close");
        ck_assert_uint_eq(c->replicas[i].fatal_count, 0);
    }
    uv_close((uv_handle_t *)&c->tick, NULL);
    ck_assert_int_eq(uv_run(&c->loop, UV_RUN_DEFAULT), 0);
    ck_assert_int_eq(uv_loop_close(&c->loop), 0);
    for (size_t i = 0; i < c->count; i++) {
        tls_context_close(c->replicas[i].tls);
        close(c->replicas[i].port_fd);
    }
    free(c);
}

/* Return the leader that all open replicas agree on, or NULL. */
static UNUSED struct replica *leader_of(struct cell *c)
{
    struct replica *leader = NULL;
    for (size_t i = 0; i < c->count; i++) {
        struct replica *r = &c->replicas[i];
        if (!r->closed && r->role == RAFTLOG_LEADER)
            leader = r;
    }
    for (size_t i = 0; i < c->count && leader != NULL; i++) {
        if (!c->replicas[i].closed && c->replicas[i].leader_id != leader->id)
            return NULL;
    }
    return leader;
}

static UNUSED bool has_leader(struct cell *c, const void *arg)
{
    (void)arg;
    return leader_of(c) != NULL;
}

static UNUSED struct replica *wait_leader(struct cell *c)
{
    run_until(c, has_leader, NULL, "a leader");
    return leader_of(c);
}

static UNUSED struct replica *a_follower(struct cell *c)
{
    struct replica *leader = wait_leader(c);
    for (size_t i = 0; i < c->count; i++) {
        if (!c->replicas[i].closed && &c->replicas[i] != leader)
            return &c->replicas[i];
    }
    ck_abort_msg("no follower");
}

struct request {
    struct raftlog_proposal req;
    struct cell *cell;
    struct replica *replica;
    uint64_t id;
};

static UNUSED void on_proposed(struct raftlog_proposal *req, int status)
{
    struct request *q = req->data;
    struct cell *c = q->cell;
    c->under_way--;
    c->answered++;
    if (status == 0) {
        ck_assert_uint_ge(q->replica->state.index, req->index);
        ck_assert_uint_eq(q->replica->state.seen[q->id], 1);
        c->acked[q->id] = true;
    } else {
        ck_assert_int_eq(status, -ERR_UNKNOWN_OUTCOME);
        c->unknown++;
    }
    free(q);
}

/* Propose an entry; return 0 or the refusal. Sizes cover all remainders of 8. */
static UNUSED int propose_on(struct replica *r, struct err *err)
{
    uint8_t bytes[512] = {0};
    struct cell *c = r->cell;
    struct request *q = xcalloc(1, sizeof *q);
    q->req.data = q;
    q->cell = c;
    q->replica = r;
    q->id = c->next_id;
    memcpy(bytes, &q->id, sizeof q->id);
    memset(bytes + sizeof q->id, (int)(q->id & 0xff), sizeof bytes - sizeof q->id);
    size_t size = sizeof q->id + q->id % 491;
    int rv = raftlog_propose(r->log, &q->req, bytes, size, on_proposed, err);
    if (rv != 0) {
        free(q);
        return rv;
    }
    c->next_id++;
    c->under_way++;
    return 0;
}

static UNUSED bool none_under_way(struct cell *c, const void *arg)
{
    (void)arg;
    return c->under_way == 0;
}

static UNUSED size_t acked_count(const struct cell *c)
{
    size_t count = 0;
    for (size_t i = 0; i < IDS_MAX; i++)
        count += c->acked[i];
    return count;
}

struct goal {
    size_t acked;
};

/* Keep the leader's queue of proposals full until enough are acknowledged. */
static UNUSED bool has_acked(struct cell *c, const void *arg)
{
    const struct goal *goal = arg;
    struct replica *leader = leader_of(c);
    struct err err;
    size_t acked = acked_count(c);
    while (leader != NULL && acked + c->under_way < goal->acked) {
        if (propose_on(leader, &err) != 0)
            break;
    }
    return acked >= goal->acked && c->under_way == 0;
}

static UNUSED void propose_entries(struct cell *c, size_t count)
{
    struct goal goal = {.acked = acked_count(c) + count};
    run_until(c, has_acked, &goal, "acknowledged entries");
}

static UNUSED bool all_equal(struct cell *c, const void *arg)
{
    const struct state *first = NULL;
    (void)arg;
    for (size_t i = 0; i < c->count; i++) {
        const struct replica *r = &c->replicas[i];
        if (r->closed)
            continue;
        first = first != NULL ? first : &r->state;
        if (r->state.count != first->count || r->state.hash != first->hash)
            return false;
        for (size_t id = 0; id < IDS_MAX; id++) {
            if (c->acked[id] && r->state.seen[id] == 0)
                return false;
        }
    }
    return true;
}

/* Check that all replicas have all acknowledged entries once, in the same order. */
static UNUSED void check_all_equal(struct cell *c)
{
    run_until(c, all_equal, NULL, "equal replicas");
    for (size_t i = 0; i < c->count; i++) {
        for (size_t id = 0; id < IDS_MAX && !c->replicas[i].closed; id++)
            ck_assert_uint_le(c->replicas[i].state.seen[id], 1);
    }
}

static UNUSED bool all_have_snapshots(struct cell *c, const void *arg)
{
    (void)arg;
    for (size_t i = 0; i < c->count; i++) {
        if (!c->replicas[i].closed && raftlog_status(c->replicas[i].log).snapshot_index < 60)
            return false;
    }
    return true;
}

#endif
