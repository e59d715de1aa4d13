/*
 * checkpoint.h - serves the replica's database as a file, piece by piece.
 *
 * A request for offset 0 has an image made of the present state (store_snapshot_begin); the answer
 * is the first piece. The reader asks for the next piece after it has received one, so a slow
 * reader fills no queue. An image contains private data of users: wire.h says who may read
 * one, and service.c checks it.
 *
 * There is one image at a time. It is dropped when its last piece was sent, when the connection
 * closes, when its reader has not asked for CHECKPOINT_IDLE_MS, or when CHECKPOINT_MS_MAX is over.
 * After that another user who was told to wait has CHECKPOINT_IDLE_MS to ask before the same user
 * may ask again.
 */
#ifndef BORGMASTER_CHECKPOINT_H
#define BORGMASTER_CHECKPOINT_H

#include "core.h"
#include "rpc.h"

enum { CHECKPOINT_PIECE_BYTES = 4194304, CHECKPOINT_IDLE_MS = 10000, CHECKPOINT_MS_MAX = 300000 };

struct checkpoint;

struct checkpoint *checkpoint_new(struct core *core);
/* rpc handler: WIRE_CHECKPOINT */
void checkpoint_on_call(struct checkpoint *checkpoint, struct rpc_conn *conn, struct rpc_call *call,
                        const void *body, size_t size);
/* Handle the close of any connection that is not a borglet's. */
void checkpoint_on_close(struct checkpoint *checkpoint, const struct rpc_conn *conn);

#endif
