/*
 * service.c - the rpc methods of a replica.
 */
#include "service.h"

#include "checkpoint.h"
#include "cmd_pack.h"
#include "leader.h"
#include "links.h"
#include "log.h"
#include "members.h"
#include "peers.h"
#include "reads.h"
#include "rpc.h"
#include "wire_access.h"

#include <stdlib.h>

enum { COMMAND_BYTES_FREE = 1024, COMMAND_NS_PER_BYTE = 400 };

struct service {
    struct replica *replica;
    struct rpc_server *server;
    struct checkpoint *checkpoint;
    struct reads *reads;
    uv_timer_t alive;
};

static struct service *service_of(struct rpc_conn *conn)
{
    return rpc_data(conn);
}

/*
 * A certificate says that somebody is replica N, not that the cell has one of that number: what
 * members do for each other, command in a user's name above all, is not for one that was removed
 * or never was, and one that is joining asks for nothing but that.
 */
static bool is_stranger(struct rpc_conn *conn, struct rpc_call *call)
{
    struct err err;
    if (rpc_peer(conn)->role != ROLE_MASTER)
        return false;
    uint64_t id = strtoull(rpc_peer(conn)->name, NULL, 10);
    const struct master *row = masters_find(replica_masters(service_of(conn)->replica), id);
    if (row != NULL && row->state != MASTER_JOINING)
        return false;
    if (row != NULL)
        err_set(&err, ERR_UNAVAILABLE, "replica %" PRIu64 " has not joined the cell yet", id);
    else
        err_set(&err, ERR_DENIED, "master/%" PRIu64 " is no replica of this cell (any more)", id);
    log_debug("service.stranger peer=master/%" PRIu64 " address=%s", id, rpc_peer_address(conn));
    rpc_refuse(call, &err);
    return true;
}

/* Commands */

static void on_answer(void *data, const struct err *err, const struct wire_answer *answer)
{
    struct rpc_call *call = data;
    if (err != NULL) {
        rpc_refuse(call, err);
        return;
    }
    struct buf CLEANUP(buf_release) body = {0};
    wire_pack_answer(&body, answer);
    rpc_reply(call, body.bytes, body.size);
}

/* In the user's own name: the certificate says who, never the message. Who may send it is decided
 * when it is applied; what no user may, or what nobody could carry out, is refused here. */
static int user_command_check(const struct cell *cell, struct cmd *cmd, const char *user,
                              struct err *err)
{
    str_copy(cmd->user, sizeof cmd->user, user);
    if (cmd_access(cmd->kind) == ACCESS_CELL)
        return cmd_access_check(cell, cmd, err);
    if (cmd->kind != CMD_JOB_SUBMIT)
        return 0;
    str_copy(cmd->job_submit.user, sizeof cmd->job_submit.user, user);
    return spec_valid(&cmd->job_submit, err);
}

/* Every replica stores a command twice, and the next command waits for that. So the bytes of a
 * command that is larger than most count as time of the loop that its sender has used. */
static void charge_bytes(struct rpc_conn *conn, size_t size)
{
    if (size > COMMAND_BYTES_FREE)
        rpc_charge(conn, (size - COMMAND_BYTES_FREE) * COMMAND_NS_PER_BYTE / 1000);
}

static void on_command(struct rpc_conn *conn, struct rpc_call *call, const void *body, size_t size)
{
    struct err err;
    struct cmd cmd;
    charge_bytes(conn, size);
    if (cmd_unpack(body, size, &cmd, &err) != 0) {
        rpc_refuse(call, &err);
        return;
    }
    if (user_command_check(replica_cell(service_of(conn)->replica), &cmd, rpc_peer(conn)->name,
                           &err) != 0) {
        log_warn("command.refused user=%s kind=%s reason=%s", log_quoted(cmd.user),
                 cmd_kind_text(cmd.kind), log_quoted(err.msg));
        rpc_refuse(call, &err);
    } else {
        replica_command(service_of(conn)->replica, &cmd, on_answer, call);
    }
    cmd_release(&cmd);
}

static void on_forward(struct rpc_conn *conn, struct rpc_call *call, const void *body, size_t size)
{
    struct replica *replica = service_of(conn)->replica;
    struct err err;
    struct cmd cmd;
    int rv = 0;
    if (is_stranger(conn, call))
        return;
    /* Never forwarded twice: who asks us believes that we lead. */
    if (replica_leader_id(replica) != replica_opts(replica)->self->id)
        rv = err_set(&err, ERR_NOT_LEADER, "replica %" PRIu64 " is not the leader",
                     replica_opts(replica)->self->id);
    if (rv == 0)
        rv = cmd_unpack(body, size, &cmd, &err);
    if (rv != 0) {
        rpc_refuse(call, &err);
        return;
    }
    replica_command(replica, &cmd, on_answer, call);
    cmd_release(&cmd);
}

/* Reads: all of them see a whole cell or nothing. */

static bool refuses(struct rpc_conn *conn, struct rpc_call *call)
{
    struct err err;
    if (replica_readable(service_of(conn)->replica, &err) == 0)
        return false;
    rpc_refuse(call, &err);
    return true;
}

/* May the user on this connection send this, about a job of `owner` (NULL: about none)? Masters may
 * send what their role allows. */
static bool denies(struct rpc_conn *conn, struct rpc_call *call, enum wire_method method,
                   const char *owner)
{
    const struct identity *peer = rpc_peer(conn);
    const struct cell *cell = replica_cell(service_of(conn)->replica);
    struct err err;
    if (peer->role != ROLE_USER ||
        access_check(cell, wire_access(method), peer->name, owner, wire_deed(method), &err) == 0)
        return false;
    log_debug("call.refused user=%s reason=%s", log_quoted(peer->name), log_quoted(err.msg));
    rpc_refuse(call, &err);
    return true;
}

static void on_query(struct rpc_conn *conn, struct rpc_call *call, const void *body, size_t size)
{
    if (!refuses(conn, call))
        reads_on_query(service_of(conn)->reads, conn, call, body, size);
}

static void on_why(struct rpc_conn *conn, struct rpc_call *call, const void *body, size_t size)
{
    if (!refuses(conn, call))
        reads_on_why(service_of(conn)->reads, conn, call, body, size);
}

static void on_barrier(struct rpc_conn *conn, struct rpc_call *call, const void *body, size_t size)
{
    (void)body;
    (void)size;
    if (!is_stranger(conn, call))
        reads_on_barrier(service_of(conn)->reads, call);
}

static void on_checkpoint(struct rpc_conn *conn, struct rpc_call *call, const void *body,
                          size_t size)
{
    if (!refuses(conn, call) && !denies(conn, call, WIRE_CHECKPOINT, NULL))
        checkpoint_on_call(service_of(conn)->checkpoint, conn, call, body, size);
}

static void on_join(struct rpc_conn *conn, struct rpc_call *call, const void *body, size_t size)
{
    members_on_join(replica_members(service_of(conn)->replica), conn, call, body, size);
}

static void on_transfer(struct rpc_conn *conn, struct rpc_call *call, const void *body, size_t size)
{
    if (is_stranger(conn, call))
        return;
    /* One that waits to join does not know who may. It does nothing for anybody, and says why. */
    struct replica *replica = service_of(conn)->replica;
    bool joins = replica_log(replica) == NULL && replica_leader_id(replica) == 0;
    if (joins || !denies(conn, call, WIRE_TRANSFER, NULL))
        members_on_transfer(replica_members(service_of(conn)->replica), conn, call, body, size);
}

/* The rest */

static void on_status(struct rpc_conn *conn, struct rpc_call *call, const void *body, size_t size)
{
    (void)body;
    (void)size;
    if (is_stranger(conn, call))
        return;
    struct wire_status status = replica_status(service_of(conn)->replica);
    struct buf CLEANUP(buf_release) to = {0};
    wire_pack_status(&to, &status);
    rpc_reply(call, to.bytes, to.size);
}

/* Answered only while we lead, for all we know: a shard that gets no answer gives up its links. */
static void on_alive(struct rpc_conn *conn, struct rpc_call *call, const void *body, size_t size)
{
    struct replica *replica = service_of(conn)->replica;
    struct wire_alive alive;
    struct buf CLEANUP(buf_release) packed = {0};
    struct err err;
    int rv = 0;
    if (is_stranger(conn, call))
        return;
    if (replica_leader_id(replica) != replica_opts(replica)->self->id)
        rv = err_set(&err, ERR_NOT_LEADER, "replica %" PRIu64 " is not the leader",
                     replica_opts(replica)->self->id);
    if (rv == 0)
        rv = wire_unpack_alive(body, size, &alive, &err);
    if (rv != 0) {
        rpc_refuse(call, &err);
        return;
    }
    uint64_t from = strtoull(rpc_peer(conn)->name, NULL, 10);
    struct wire_shed shed = leader_heard(replica_leader(replica), from, &alive);
    wire_pack_shed(&packed, &shed);
    rpc_reply(call, packed.bytes, packed.size);
}

static void take_shed(struct replica *replica, const struct wire_shed *shed)
{
    links_answered(replica_links(replica));
    if (shed->median_ms != 0 && replica_leader_id(replica) != replica_opts(replica)->self->id)
        replica_clock_told(replica, shed->median_ms);
    if (shed->count > 0)
        links_shed(replica_links(replica), shed->to, shed->count);
}

static void on_alive_answer(void *data, const struct err *err, const void *body, size_t size)
{
    struct wire_shed shed;
    if (err == NULL && wire_unpack_shed(body, size, &shed, NULL) == 0)
        take_shed(data, &shed);
}

static void on_alive_timer(uv_timer_t *timer)
{
    struct service *service = timer->data;
    struct replica *replica = service->replica;
    struct buf CLEANUP(buf_release) bits = {0};
    struct buf CLEANUP(buf_release) body = {0};
    uint64_t leader = replica_leader_id(replica), self = replica_opts(replica)->self->id;
    if (leader == 0)
        return;
    struct wire_alive alive = links_alive(replica_links(replica), &bits);
    if (leader == self) {
        struct wire_shed shed = leader_heard(replica_leader(replica), self, &alive);
        take_shed(replica, &shed);
    } else {
        wire_pack_alive(&body, &alive);
        peers_call(replica_peers(replica), leader, WIRE_ALIVE, &body, LINKS_UNANSWERED_MS,
                   on_alive_answer, replica);
    }
}

void service_on_leader(struct service *service)
{
    uv_timer_start(&service->alive, on_alive_timer, 0, LEADER_ALIVE_MS);
}

static void on_open(struct rpc_conn *conn)
{
    if (rpc_peer(conn)->role == ROLE_BORGLET)
        links_on_open(replica_links(service_of(conn)->replica), conn);
}

static void on_close(struct rpc_conn *conn, const struct err *why)
{
    (void)why;
    if (rpc_peer(conn)->role == ROLE_BORGLET)
        links_on_close(conn);
    else
        checkpoint_on_close(service_of(conn)->checkpoint, conn);
}

static const struct rpc_method methods[] = {
    {WIRE_COMMAND, "command", WIRE_COMMAND_ROLES, on_command},
    {WIRE_QUERY, "query", WIRE_QUERY_ROLES, on_query},
    {WIRE_WHY, "why", WIRE_WHY_ROLES, on_why},
    {WIRE_CHECKPOINT, "checkpoint", WIRE_CHECKPOINT_ROLES, on_checkpoint},
    {WIRE_TRANSFER, "transfer", WIRE_TRANSFER_ROLES, on_transfer},
    {WIRE_JOIN, "join", WIRE_JOIN_ROLES, on_join},
    {WIRE_STATUS, "status", WIRE_STATUS_ROLES, on_status},
    {WIRE_FORWARD, "forward", WIRE_FORWARD_ROLES, on_forward},
    {WIRE_BARRIER, "barrier", WIRE_BARRIER_ROLES, on_barrier},
    {WIRE_ALIVE, "alive", WIRE_ALIVE_ROLES, on_alive},
    {WIRE_HELLO, "hello", WIRE_HELLO_ROLES, links_on_hello},
    {WIRE_REPORT, "report", WIRE_REPORT_ROLES, links_on_report},
    {WIRE_USAGE, "usage", WIRE_USAGE_ROLES, links_on_usage},
};

int service_open(struct replica *replica, struct service **ret, struct err *err)
{
    const struct replica_options *options = replica_opts(replica);
    struct service *service = xcalloc(1, sizeof *service);
    service->replica = replica;
    uv_timer_init(options->loop, &service->alive);
    service->alive.data = service;
    struct rpc_options rpc = {.loop = options->loop,
                              .tls = options->tls,
                              .methods = methods,
                              .method_count = ARRAY_SIZE(methods),
                              .data = service,
                              .on_open = on_open,
                              .on_close = on_close};
    int rv = rpc_listen(&rpc, options->self->rpc, &service->server, err);
    if (rv != 0) {
        free(service);
        return rv;
    }
    service->checkpoint = checkpoint_new(replica);
    service->reads = reads_new(replica);
    uv_timer_start(&service->alive, on_alive_timer, LEADER_ALIVE_MS, LEADER_ALIVE_MS);
    *ret = service;
    return 0;
}
