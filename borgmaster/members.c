/*
 * members.c - leadership handed over when an operator asks.
 */
#include "members.h"

#include "log.h"
#include "peers.h"

#include <stdlib.h>
#include <string.h>

struct members {
    struct replica *replica;
    struct rpc_call *transfer; /* who waits for the transfer under way */
};

static void answer(struct rpc_call *call, const struct err *err, const struct wire_answer *a)
{
    struct buf CLEANUP(buf_release) body = {0};
    if (err != NULL) {
        rpc_refuse(call, err);
        return;
    }
    wire_pack_answer(&body, a);
    rpc_reply(call, body.bytes, body.size);
}

static void on_forwarded(void *data, const struct err *err, const struct wire_answer *a)
{
    answer(data, err, a);
}

static void on_transferred(void *data, int status)
{
    struct members *members = data;
    struct rpc_call *call = members->transfer;
    struct wire_answer a = {0};
    struct err err;
    members->transfer = NULL;
    uint64_t leader = raftlog_status(replica_log(members->replica)).leader_id;
    if (status == 0) {
        snprintf(a.msg, sizeof a.msg, "replica %" PRIu64 " leads now", leader);
        log_info("leader.handed-over to=%" PRIu64, leader);
        answer(call, NULL, &a);
        return;
    }
    err_set(&err, ERR_STATE, "no other replica took over in time: replica %" PRIu64 " %s", leader,
            leader != 0 ? "leads still" : "is none");
    log_warn("leader.not-handed-over leader=%" PRIu64, leader);
    answer(call, &err, NULL);
}

static int transfer_begin(struct members *members, struct rpc_call *call,
                          const struct wire_transfer *asked, struct err *err)
{
    struct wire_answer a = {0};
    int rv = raftlog_transfer(replica_log(members->replica), asked->replica, on_transferred,
                              members, err);
    if (rv == -ERR_EXISTS) { /* as asked */
        str_copy(a.msg, sizeof a.msg, err->msg);
        answer(call, NULL, &a);
        return 0;
    }
    if (rv == 0)
        members->transfer = call;
    return rv;
}

void members_on_transfer(struct members *members, struct rpc_conn *conn, struct rpc_call *call,
                         const void *body, size_t size)
{
    struct replica *replica = members->replica;
    uint64_t self = replica_opts(replica)->self->id;
    uint64_t leader = replica_leader_id(replica);
    bool is_user = rpc_peer(conn)->role == ROLE_USER;
    struct wire_transfer asked;
    struct err err;
    int rv = wire_unpack_transfer(body, size, &asked, &err);
    if (rv == 0 && is_user && strcmp(rpc_peer(conn)->name, CELL_OPERATOR) != 0)
        rv = err_set(&err, ERR_DENIED,
                     "user \"%s\" may not say who leads: only \"" CELL_OPERATOR "\" may",
                     rpc_peer(conn)->name);
    if (rv == 0 && is_user && leader != 0 && leader != self) {
        struct buf CLEANUP(buf_release) packed = {0};
        wire_pack_transfer(&packed, &asked);
        peers_request(replica_peers(replica), leader, WIRE_TRANSFER, &packed, on_forwarded, call);
        return;
    }
    if (rv == 0)
        rv = transfer_begin(members, call, &asked, &err);
    if (rv != 0)
        rpc_refuse(call, &err);
}

struct members *members_new(struct replica *replica)
{
    struct members *members = xcalloc(1, sizeof *members);
    members->replica = replica;
    return members;
}
