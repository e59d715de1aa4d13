/*
 * service.c - the RPC methods of a replica.
 */
#include "service.h"

#include "checkpoint.h"
#include "cmd_pack.h"
#include "log.h"
#include "reads.h"
#include "rpc.h"
#include "wire.h"

#include <stdlib.h>

enum { COMMAND_BYTES_FREE = 1024, COMMAND_NS_PER_BYTE = 400 };

struct service {
    struct modules modules;
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
 * Refuse the call if its sender is a master that is not a member of the cell. A certificate proves
 * that a peer is replica N, not that the cell has a replica N. A replica that was removed, never
 * existed, or is still joining must not use the calls between members, such as forwarding commands
 * in a user's name.
 */
static bool is_stranger(struct rpc_conn *conn, struct rpc_call *call)
{
    struct err err;
    if (rpc_peer(conn)->role != ROLE_MASTER)
        return false;
    uint64_t id = strtoull(rpc_peer(conn)->name, NULL, 10);
    const struct master *row = masters_find(core_masters(service_of(conn)->modules.core), id);
    if (row != NULL && row->state != MASTER_JOINING)
        return false;
    if (row != NULL)
        err_set(&err, ERR_UNAVAILABLE, "replica %" PRIu64 " has not joined the cell yet", id);
    else
        err_set(&err, ERR_DENIED,
                "master/%" PRIu64 " is not a replica of this cell, or was removed from it", id);
    log_debug("peer.refused peer=master/%" PRIu64 " address=%s", id, rpc_peer_address(conn));
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

/* Set the user of the command from the certificate, never from the message, and refuse commands
 * that no user may send or nobody could carry out. Rights are checked when the command is
 * applied. */
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

/* Charge the bytes of a large command to its sender as time of the loop: every replica stores a
 * command twice, and the next command waits for that. */
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
    if (user_command_check(core_cell(service_of(conn)->modules.core), &cmd, rpc_peer(conn)->name,
                           &err) != 0) {
        log_warn("command.refused user=%s kind=%s reason=%s", log_quoted(cmd.user),
                 cmd_kind_text(cmd.kind), log_quoted(err.msg));
        rpc_refuse(call, &err);
    } else {
        members_command(service_of(conn)->modules.members, &cmd, on_answer, call);
    }
    cmd_release(&cmd);
}

static void on_forward(struct rpc_conn *conn, struct rpc_call *call, const void *body, size_t size)
{
    const struct modules *modules = &service_of(conn)->modules;
    struct err err;
    struct cmd cmd;
    int rv = 0;
    if (is_stranger(conn, call))
        return;
    /* A command is never forwarded twice: the sender believes that this replica leads. */
    if (core_leader_id(modules->core) != core_opts(modules->core)->self->id)
        rv = err_set(&err, ERR_NOT_LEADER, "replica %" PRIu64 " is not the leader",
                     core_opts(modules->core)->self->id);
    if (rv == 0)
        rv = cmd_unpack(body, size, &cmd, &err);
    if (rv != 0) {
        rpc_refuse(call, &err);
        return;
    }
    members_command(service_of(conn)->modules.members, &cmd, on_answer, call);
    cmd_release(&cmd);
}

/* Reads. Each sees a complete cell or is refused. */

static bool refuses(struct rpc_conn *conn, struct rpc_call *call)
{
    struct err err;
    if (core_readable(service_of(conn)->modules.core, &err) == 0)
        return false;
    rpc_refuse(call, &err);
    return true;
}

/* Refuse the call if the user may not send it about a job of `owner` (NULL: about no job). Masters
 * may send what their role allows. */
static bool denies(struct rpc_conn *conn, struct rpc_call *call, enum wire_method method,
                   const char *owner)
{
    const struct identity *peer = rpc_peer(conn);
    const struct cell *cell = core_cell(service_of(conn)->modules.core);
    struct err err;
    if (peer->role != ROLE_USER || access_check(cell, wire_rule(method)->access, peer->name, owner,
                                                wire_rule(method)->deed, &err) == 0)
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
    members_on_join(service_of(conn)->modules.members, conn, call, body, size);
}

static void on_transfer(struct rpc_conn *conn, struct rpc_call *call, const void *body, size_t size)
{
    if (is_stranger(conn, call))
        return;
    /* A replica that waits to join does not know the users' rights. It carries out nothing, and the
     * answer says why. */
    const struct modules *modules = &service_of(conn)->modules;
    bool joins = core_log(modules->core) == NULL && core_leader_id(modules->core) == 0;
    if (joins || !denies(conn, call, WIRE_TRANSFER, NULL))
        members_on_transfer(service_of(conn)->modules.members, conn, call, body, size);
}

/* Other methods */

static struct wire_status status_read(const struct modules *modules)
{
    const struct links_certs *certs = links_certs(modules->links);
    struct disk_answer disk = disk_last(modules->disk);
    struct wire_status status = {.links = links_count(modules->links),
                                 .certs_soon = certs->soon,
                                 .cert_first_ms = certs->first_ms,
                                 .disk_silent_ms = disk_silent_ms(modules->disk),
                                 .disk_free_bytes = disk.free_bytes,
                                 .disk_bytes = disk.bytes,
                                 .state_bytes = disk.used_bytes};
    core_status(modules->core, &status);
    str_copy(status.cert_first, sizeof status.cert_first, certs->first);
    str_copy(status.change, sizeof status.change, members_waiting(modules->members));
    return status;
}

static void on_status(struct rpc_conn *conn, struct rpc_call *call, const void *body, size_t size)
{
    (void)body;
    (void)size;
    if (is_stranger(conn, call))
        return;
    struct wire_status status = status_read(&service_of(conn)->modules);
    struct buf CLEANUP(buf_release) to = {0};
    wire_pack_status(&to, &status);
    rpc_reply(call, to.bytes, to.size);
}

/* Only a leader answers: a replica that gets no answer gives up its links. */
static void on_alive(struct rpc_conn *conn, struct rpc_call *call, const void *body, size_t size)
{
    const struct modules *modules = &service_of(conn)->modules;
    struct wire_alive alive;
    struct buf CLEANUP(buf_release) packed = {0};
    struct err err;
    int rv = 0;
    if (is_stranger(conn, call))
        return;
    if (core_leader_id(modules->core) != core_opts(modules->core)->self->id)
        rv = err_set(&err, ERR_NOT_LEADER, "replica %" PRIu64 " is not the leader",
                     core_opts(modules->core)->self->id);
    if (rv == 0)
        rv = wire_unpack_alive(body, size, &alive, &err);
    if (rv != 0) {
        rpc_refuse(call, &err);
        return;
    }
    uint64_t from = strtoull(rpc_peer(conn)->name, NULL, 10);
    struct wire_shed shed = leader_heard(modules->leader, from, &alive);
    wire_pack_shed(&packed, &shed);
    rpc_reply(call, packed.bytes, packed.size);
}

static void take_shed(const struct modules *modules, const struct wire_shed *shed)
{
    links_answered(modules->links);
    if (shed->median_ms != 0 && core_leader_id(modules->core) != core_opts(modules->core)->self->id)
        core_clock_heard_median(modules->core, shed->median_ms);
    if (shed->count > 0)
        links_shed(modules->links, shed->to, shed->count);
}

static void on_alive_answer(void *data, const struct err *err, const void *body, size_t size)
{
    struct wire_shed shed;
    const struct service *service = data;
    if (err == NULL && wire_unpack_shed(body, size, &shed, NULL) == 0)
        take_shed(&service->modules, &shed);
}

static void on_alive_timer(uv_timer_t *timer)
{
    struct service *service = timer->data;
    const struct modules *modules = &service->modules;
    struct buf CLEANUP(buf_release) bits = {0};
    struct buf CLEANUP(buf_release) body = {0};
    uint64_t leader = core_leader_id(modules->core), self = core_opts(modules->core)->self->id;
    if (leader == 0)
        return;
    struct wire_alive alive = links_alive(modules->links, &bits);
    if (leader == self) {
        struct wire_shed shed = leader_heard(modules->leader, self, &alive);
        take_shed(modules, &shed);
    } else {
        wire_pack_alive(&body, &alive);
        peers_call(modules->peers, leader, WIRE_ALIVE, &body, LINKS_UNANSWERED_MS, on_alive_answer,
                   service);
    }
}

void service_on_leader(struct service *service)
{
    uv_timer_start(&service->alive, on_alive_timer, 0, LEADER_ALIVE_MS);
}

static void on_open(struct rpc_conn *conn)
{
    if (rpc_peer(conn)->role == ROLE_BORGLET)
        links_on_open(service_of(conn)->modules.links, conn);
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
    WIRE_SERVE(COMMAND, on_command),   WIRE_SERVE(QUERY, on_query),
    WIRE_SERVE(WHY, on_why),           WIRE_SERVE(CHECKPOINT, on_checkpoint),
    WIRE_SERVE(TRANSFER, on_transfer), WIRE_SERVE(JOIN, on_join),
    WIRE_SERVE(STATUS, on_status),     WIRE_SERVE(FORWARD, on_forward),
    WIRE_SERVE(BARRIER, on_barrier),   WIRE_SERVE(ALIVE, on_alive),
    WIRE_SERVE(HELLO, links_on_hello), WIRE_SERVE(REPORT, links_on_report),
    WIRE_SERVE(USAGE, links_on_usage),
};

int service_open(const struct modules *modules, struct service **ret, struct err *err)
{
    const struct core_options *options = core_opts(modules->core);
    struct service *service = xcalloc(1, sizeof *service);
    service->modules = *modules;
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
    service->checkpoint = checkpoint_new(modules->core);
    service->reads = reads_new(modules->core, modules->peers);
    uv_timer_start(&service->alive, on_alive_timer, LEADER_ALIVE_MS, LEADER_ALIVE_MS);
    *ret = service;
    return 0;
}
