/*
 * world_cell.c - the replicas, in place of main.c of borgmaster, and their supervisor.
 */
#include "world_impl.h"

#include "cell_file.h"
#include "cmd.h"

#include <stdio.h>
#include <stdlib.h>

enum { RESTART_MIN_MS = 200, RESTART_SPREAD_MS = 3000, PIECE_UNITS_MAX = 6 };

struct seat {
    struct node *node;
    struct replica *replica; /* NULL while it is down or starting */
    uint64_t down_until_ms;  /* not restarted before */
};

static struct cell_file file;
static struct seat seats[WORLD_REPLICAS];
static struct world_cell cell_options;
static struct world_watch watch;
static uint64_t restarts, fatals;

bool __real_cell_apply_go_on(struct apply *apply, uint32_t units);
bool __wrap_cell_apply_go_on(struct apply *apply, uint32_t units);

/* Jobs here are small, so commands on them are applied in small pieces: crashes and snapshots then
 * happen in the middle of entries. */
bool __wrap_cell_apply_go_on(struct apply *apply, uint32_t units UNUSED)
{
    struct node *n = world_current();
    if (!__real_cell_apply_go_on(apply, 1 + (uint32_t)world_random(PIECE_UNITS_MAX)))
        return false;
    if (watch.applied != NULL && n != NULL && n->replica >= 0)
        watch.applied((unsigned)n->replica, apply->cell, apply->cmd, apply->answer);
    return true;
}

/* The handlers of the replicas, and a copy that also reports changes of roles to the checkers. */
static const struct raftlog_handlers *handlers;
static struct raftlog_handlers heard;

int __real_raftlog_open(const struct raftlog_options *options, struct raftlog **ret,
                        struct err *err);
int __wrap_raftlog_open(const struct raftlog_options *options, struct raftlog **ret,
                        struct err *err);

static void world_cell_on_role(void *data, enum raftlog_role role, uint64_t term,
                               uint64_t leader_id)
{
    if (role == RAFTLOG_LEADER && watch.elected != NULL)
        watch.elected((unsigned)world_current()->replica, term);
    handlers->on_role(data, role, term, leader_id);
}

int __wrap_raftlog_open(const struct raftlog_options *options, struct raftlog **ret,
                        struct err *err)
{
    struct raftlog_options listening = *options;
    handlers = options->handlers;
    heard = *handlers;
    heard.on_role = world_cell_on_role;
    listening.handlers = &heard;
    return __real_raftlog_open(&listening, ret, err);
}

void world_set_watch(const struct world_watch *to)
{
    watch = *to;
}

void world_watch_started(struct node *n, const struct cell *cell)
{
    if (watch.started != NULL)
        watch.started((unsigned)n->replica, cell);
}

void world_watch_restored(struct node *n, const struct cell *cell)
{
    if (watch.restored != NULL)
        watch.restored((unsigned)n->replica, cell);
}

static void supervise(void *data)
{
    struct seat *seat = data;
    if (node_up(seat->node))
        return;
    if (world_now_ms() < seat->down_until_ms) {
        world_post(seat->down_until_ms - world_now_ms(), supervise, seat);
        return;
    }
    restarts++;
    node_restart(seat->node);
}

static void world_cell_on_fatal(void *data, const struct err *err)
{
    struct seat *seat = data;
    world_say("fatal %s: %s", seat->node->name, err->msg);
    fatals++;
    node_crash(seat->node);
}

static void boot(void *data)
{
    struct seat *seat = data;
    struct err err;
    char name[32];
    const struct cell_replica *self = &file.replicas[seat->node->replica];
    snprintf(name, sizeof name, "master/%" PRIu64, self->id);
    struct core_options options = {.loop = node_loop(seat->node),
                                   .file = &file,
                                   .self = self,
                                   .tls = world_tls(name),
                                   .dir = seat->node->name,
                                   .bootstrap = true,
                                   .election_timeout_ms = cell_options.election_timeout_ms,
                                   .heartbeat_ms = cell_options.heartbeat_ms,
                                   .snapshot_threshold = cell_options.snapshot_threshold,
                                   .on_fatal = world_cell_on_fatal,
                                   .data = seat};
    struct replica *replica;
    if (replica_open(&options, &replica, &err) == 0) {
        seat->replica = replica;
        return;
    }
    world_say("no start %s: %s", seat->node->name, err.msg);
    node_crash(seat->node);
}

void node_replica_forget(struct node *n)
{
    if (n->replica < 0)
        return;
    seats[n->replica].replica = NULL;
    world_post(RESTART_MIN_MS + world_random(RESTART_SPREAD_MS), supervise, &seats[n->replica]);
}

void world_replica_crash(unsigned i, uint64_t down_ms)
{
    seats[i].down_until_ms = world_now_ms() + down_ms;
    node_crash(seats[i].node);
}

void world_replica_crash_end(unsigned i)
{
    seats[i].down_until_ms = 0;
    if (!node_up(seats[i].node))
        world_post(0, supervise, &seats[i]);
}

void world_cell_start(const struct world_cell *options)
{
    cell_options = *options;
    str_copy(file.name, sizeof file.name, "sim");
    file.replica_count = WORLD_REPLICAS;
    for (unsigned i = 0; i < WORLD_REPLICAS; i++) {
        struct cell_replica *r = &file.replicas[i];
        char name[32];
        snprintf(name, sizeof name, "r%u", i + 1);
        r->id = i + 1;
        snprintf(r->rpc, sizeof r->rpc, "%s:1", name);
        snprintf(r->raft, sizeof r->raft, "%s:2", name);
        seats[i].node = world_node_new(name);
        seats[i].node->replica = (int)i;
        node_set_boot(seats[i].node, boot, &seats[i]);
    }
    for (unsigned i = 0; i < WORLD_REPLICAS; i++)
        node_restart(seats[i].node);
}

struct node *world_replica_node(unsigned i)
{
    return i < WORLD_REPLICAS ? seats[i].node : NULL;
}

struct replica *world_replica(unsigned i)
{
    return i < WORLD_REPLICAS ? seats[i].replica : NULL;
}

const char *world_replica_address(unsigned i)
{
    return file.replicas[i].rpc;
}

int world_leader(void)
{
    int best = -1;
    uint64_t best_term = 0;
    for (unsigned i = 0; i < WORLD_REPLICAS; i++) {
        struct replica *replica = seats[i].replica;
        if (replica == NULL || !core_leads(replica_core(replica)))
            continue;
        uint64_t term = raftlog_status(core_log(replica_core(replica))).term;
        if (term > best_term) {
            best = (int)i;
            best_term = term;
        }
    }
    return best;
}

uint64_t world_restarts(void)
{
    return restarts;
}

uint64_t world_fatals(void)
{
    return fatals;
}
