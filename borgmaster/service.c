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

#include <stdlib.h>

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

/* What a user may ask for, in the user's own name: the certificate says who, never the message. */
static int user_command_check(struct cmd *cmd, const char *user, struct err *err)
{
    str_copy(cmd->user, sizeof cmd->user, user);
    switch (cmd->kind) {
    case CMD_JOB_SUBMIT:
        str_copy(cmd->job_submit.user, sizeof cmd->job_submit.user, user);
        return spec_valid(&cmd->job_submit, err);
    case CMD_JOB_KILL:
    case CMD_MACHINE_DRAIN: /* the cell says who may */
    case CMD_QUOTA_SET:
    case CMD_JOB_UPDATE:
    case CMD_POLICY_SET:
    case CMD_HOLD_SET:
    case CMD_MASTER_ADD:
    case CMD_MASTER_REMOVE:
        return 0;
    case CMD_MACHINE_REGISTER:
    case CMD_MACHINE_DOWN:
    case CMD_MACHINE_EVICT:
    case CMD_JOB_RESIZE:
    case CMD_SCHEDULE:
    case CMD_REPORT:
    case CMD_WAKE:
    case CMD_USAGE:
    case CMD_MACHINE_RECLAIM:
    case CMD_MASTERS_SET:
    case CMD_MASTER_STEP:
        break;
    }
    return err_set(err, ERR_DENIED, "a user may not send the command %s", cmd_kind_text(cmd->kind));
}

static void on_command(struct rpc_conn *conn, struct rpc_call *call, const void *body, size_t size)
{
    struct err err;
    struct cmd cmd;
    if (cmd_unpack(body, size, &cmd, &err) != 0) {
        rpc_refuse(call, &err);
        return;
    }
    if (user_command_check(&cmd, rpc_peer(conn)->name, &err) != 0) {
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
    reads_on_barrier(service_of(conn)->reads, call);
}

static void on_checkpoint(struct rpc_conn *conn, struct rpc_call *call, const void *body,
                          size_t size)
{
    if (!refuses(conn, call))
        checkpoint_on_call(service_of(conn)->checkpoint, conn, call, body, size);
}

static void on_join(struct rpc_conn *conn, struct rpc_call *call, const void *body, size_t size)
{
    members_on_join(replica_members(service_of(conn)->replica), conn, call, body, size);
}

static void on_transfer(struct rpc_conn *conn, struct rpc_call *call, const void *body, size_t size)
{
    members_on_transfer(replica_members(service_of(conn)->replica), conn, call, body, size);
}

/* The rest */

static void on_status(struct rpc_conn *conn, struct rpc_call *call, const void *body, size_t size)
{
    (void)body;
    (void)size;
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
    {WIRE_COMMAND, "command", BIT(ROLE_USER), on_command},
    {WIRE_QUERY, "query", BIT(ROLE_USER), on_query},
    {WIRE_WHY, "why", BIT(ROLE_USER), on_why},
    {WIRE_CHECKPOINT, "checkpoint", BIT(ROLE_USER), on_checkpoint},
    {WIRE_TRANSFER, "transfer", BIT(ROLE_USER) | BIT(ROLE_MASTER), on_transfer},
    {WIRE_JOIN, "join", BIT(ROLE_MASTER), on_join},
    {WIRE_STATUS, "status", BIT(ROLE_USER) | BIT(ROLE_MASTER), on_status},
    {WIRE_FORWARD, "forward", BIT(ROLE_MASTER), on_forward},
    {WIRE_BARRIER, "barrier", BIT(ROLE_MASTER), on_barrier},
    {WIRE_ALIVE, "alive", BIT(ROLE_MASTER), on_alive},
    {WIRE_HELLO, "hello", BIT(ROLE_BORGLET), links_on_hello},
    {WIRE_REPORT, "report", BIT(ROLE_BORGLET), links_on_report},
    {WIRE_USAGE, "usage", BIT(ROLE_BORGLET), links_on_usage},
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
