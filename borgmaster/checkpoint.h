/*
 * checkpoint.h - the replica's database as a file, handed out piece by piece.
 *
 * Who asks for offset 0 has an image made, of the moment (store_snapshot_begin); the answer is its
 * first piece. He asks for the next when he has that, so a slow reader fills no queue. What is
 * private to users is in it: wire_access.h says who may have one, service.c asks.
 *
 * One image at a time: it is dropped with the last piece, with its connection, when its reader has
 * not asked for CHECKPOINT_IDLE_MS, or when he has not got all of it in CHECKPOINT_MS_MAX. Then
 * another user who was told to wait has CHECKPOINT_IDLE_MS to ask before the same may again.
 */
#ifndef BORGMASTER_CHECKPOINT_H
#define BORGMASTER_CHECKPOINT_H

#include "replica.h"
#include "rpc.h"

enum { CHECKPOINT_PIECE_BYTES = 4194304, CHECKPOINT_IDLE_MS = 10000, CHECKPOINT_MS_MAX = 300000 };

struct checkpoint;

struct checkpoint *checkpoint_new(struct replica *replica);
/* rpc handler: WIRE_CHECKPOINT */
void checkpoint_on_call(struct checkpoint *checkpoint, struct rpc_conn *conn, struct rpc_call *call,
                        const void *body, size_t size);
/* Any connection of users. */
void checkpoint_on_close(struct checkpoint *checkpoint, const struct rpc_conn *conn);

#endif
