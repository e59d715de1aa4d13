/*
 * breaks.c - the lies. Each __wrap_x stands where the product calls x of another file.
 */
#include "breaks.h"

#include "borglets.h"
#include "cmd_pack.h"
#include "leader.h"
#include "link.h"
#include "plan.h"
#include "inbox.h"
#include "raftlog_guard.h"
#include "sched.h"
#include "world.h"

#include <string.h>

static enum break_kind the_break;

static const struct break_info infos[BREAK_COUNT] = {
#define X(id, name, what, checker, seeds) [BREAK_##id] = {name, what, checker, seeds},
    BREAKS(X)
#undef X
};

const struct break_info *break_info(enum break_kind kind)
{
    ASSERT(kind > BREAK_NONE && kind < BREAK_COUNT);
    return &infos[kind];
}

enum break_kind break_parse(const char *name)
{
    for (enum break_kind kind = BREAK_NONE + 1; kind < BREAK_COUNT; kind++)
        if (strcmp(infos[kind].name, name) == 0)
            return kind;
    return BREAK_NONE;
}

void break_set(enum break_kind kind)
{
    the_break = kind;
}

bool broken(enum break_kind kind)
{
    return the_break == kind;
}

static bool on_replica(unsigned i)
{
    return world_current() == world_replica_node(i);
}

/* X(type, name, parameters): what is wrapped. */
#define WRAP(type, name, ...) \
    type __real_##name(__VA_ARGS__); \
    type __wrap_##name(__VA_ARGS__); \
    type __wrap_##name(__VA_ARGS__)

/* Between service and inbox. */
WRAP(void, inbox_put, struct inbox *inbox, const struct cmd *cmd, unsigned format, bool by_operator,
     answer_cb cb, void *data)
{
    struct wire_answer answer = {.code = ERR_OK};
    bool early = broken(BREAK_EARLY_ANSWER) && cb != NULL && cmd->request_id[0] != 0;
    if (early) {
        int leader = world_leader();
        if (leader >= 0)
            answer.index =
                core_cell(replica_core(world_replica((unsigned)leader)))->applied_index + 1;
    }
    __real_inbox_put(inbox, cmd, format, by_operator, early ? NULL : cb, early ? NULL : data);
    if (early)
        cb(data, NULL, &answer);
}

const struct remembered *cell_remembered(const struct cell *cell, const uint64_t request_id[2]);
WRAP(const struct remembered *, cell_remembered, const struct cell *cell,
     const uint64_t request_id[2])
{
    return broken(BREAK_FORGET_REQUESTS) ? NULL : __real_cell_remembered(cell, request_id);
}

/* What was read of a message. */
WRAP(int, record_unpack, const void *bytes, size_t size, const struct record *record, void *ret,
     struct err *err)
{
    int r = __real_record_unpack(bytes, size, record, ret, err);
    struct wire_query *query = record == &wire_query_record ? ret : NULL;
    struct wire_hello *hello = record == &wire_hello_record ? ret : NULL;
    if (r == 0 && query != NULL &&
        (broken(BREAK_STALE_READ) ||
         (broken(BREAK_OLD_REGISTER) && strncmp(query->sql, "job k", 5) == 0)))
        query->fresh = false;
    if (r == 0 && hello != NULL && broken(BREAK_INDEX_ORDER))
        hello->seen_index = 0;
    return r;
}

/* Of a job that serves as a register? It may not be there, too. */
static bool rows_of_register(const struct wire_rows *r)
{
    return r->column_count == 5 && (r->row_count == 0 || r->values[0].text[0] == 'k');
}

WRAP(void, wire_pack_rows, struct buf *to, const struct wire_rows *r)
{
    struct wire_rows rows = *r;
    if (broken(BREAK_LYING_READ) || (broken(BREAK_OLD_REGISTER) && rows_of_register(r)))
        rows.applied_index += 1000;
    __real_wire_pack_rows(to, &rows);
}

WRAP(int, cmd_unpack, const void *bytes, size_t size, struct cmd *ret, struct err *err)
{
    int rv = __real_cmd_unpack(bytes, size, ret, err);
    if (rv == 0 && broken(BREAK_OTHER_COMMAND) && on_replica(2) && world_chance(1, 200))
        ret->time_ms++;
    return rv;
}

WRAP(uint32_t, spec_backoff_ms, const struct job_spec *spec, uint32_t failures)
{
    uint32_t ms = __real_spec_backoff_ms(spec, failures);
    return broken(BREAK_DIVERGE) && on_replica(2) ? ms + 1 : ms;
}

/* Between the guard and the disk. */

static int (*disk_append)(struct raft_io *io, struct raft_io_append *req,
                          const struct raft_entry entries[], unsigned n, raft_io_append_cb cb);

struct early_write {
    struct raft_io_append *req;
    raft_io_append_cb cb;
    struct raft_io_append real;
};

static void on_early(void *data)
{
    struct early_write *write = data;
    write->cb(write->req, 0);
}

static void on_written(struct raft_io_append *req UNUSED, int status UNUSED)
{
}

/* The library may let go of its entries as soon as it is told that they are written. */
static struct raft_entry *entries_copy(const struct raft_entry entries[], unsigned n)
{
    struct raft_entry *copies = xcalloc(n, sizeof *copies);
    for (unsigned i = 0; i < n; i++) {
        copies[i] = entries[i];
        copies[i].buf.base = xcalloc(1, entries[i].buf.len);
        memcpy(copies[i].buf.base, entries[i].buf.base, entries[i].buf.len);
    }
    return copies;
}

static int early_append(struct raft_io *io, struct raft_io_append *req,
                        const struct raft_entry entries[], unsigned n, raft_io_append_cb cb)
{
    struct early_write *write = xcalloc(1, sizeof *write);
    write->req = req;
    write->cb = cb;
    int rv = disk_append(io, &write->real, entries_copy(entries, n), n, on_written);
    if (rv == 0)
        node_post(world_current(), 0, on_early, write);
    return rv;
}

static int vote_unwritten(struct raft_io *io UNUSED, raft_id server UNUSED)
{
    return 0;
}

static void forget_vote(void *data)
{
    struct raft *raft = data;
    raft->voted_for = 0;
    raft->pre_vote = false; /* so that there are two candidates more often */
    node_post(world_current(), 1, forget_vote, raft);
}

WRAP(void, raftlog_guard_install, struct raftlog_guard *g, struct raft *r, uint32_t off,
     const struct guard_owner *owner)
{
    if (broken(BREAK_FORGET_VOTES))
        off |= BIT(GUARD_ONE_VOTE);
    __real_raftlog_guard_install(g, r, off, owner);
    if (broken(BREAK_FORGET_VOTES)) {
        g->inner->set_vote = vote_unwritten;
        node_post(world_current(), 1, forget_vote, r);
    }
    if (broken(BREAK_EARLY_WRITE)) {
        disk_append = g->inner->append;
        g->inner->append = early_append;
    }
}

/* Between shards and borglets. */

WRAP(bool, core_ready, const struct core *core)
{
    return broken(BREAK_INDEX_ORDER) || __real_core_ready(core);
}

WRAP(bool, plan_take, struct plan *plan, struct wire_intents *in,
     const struct plan_attempt *present, size_t present_count)
{
    if (broken(BREAK_INDEX_ORDER))
        plan->seen_index = 0;
    return __real_plan_take(plan, in, present, present_count);
}

WRAP(void, link_report, struct link *link, const struct report *report)
{
    if (!broken(BREAK_MUTE_BORGLET) || report->kind == REPORT_RUNNING)
        __real_link_report(link, report);
}

/* Between shards and leader, and inside of the leader. */

WRAP(struct wire_shed, leader_heard, struct leader *leader, uint64_t from,
     const struct wire_alive *alive)
{
    static uint8_t heard[CELL_MACHINES_MAX / 8];
    struct wire_alive some = *alive;
    if (broken(BREAK_DEAF_LEADER)) { /* every other machine */
        for (size_t i = 0; i < alive->size; i++)
            heard[i] = ((const uint8_t *)alive->bits)[i] & 0x55;
        some.bits = heard;
    }
    return __real_leader_heard(leader, from, &some);
}

WRAP(bool, sched_pass, struct sched *sched, struct cmd_schedule *out)
{
    bool decided = __real_sched_pass(sched, out);
    /* Of a replica: the checkers have a scheduler of their own. */
    if (broken(BREAK_LAZY_SCHEDULER) && world_current() != NULL && decided && world_chance(1, 5))
        out->placement_count = 0;
    return decided;
}
