/*
 * rpc_frame.h - encoding of an RPC message; rpc.h describes the format.
 *
 * Reading allocates nothing: message and body of a frame point into the given bytes.
 */
#ifndef CELL_RPC_FRAME_H
#define CELL_RPC_FRAME_H

#include "buf.h"
#include "err.h"

enum rpc_kind { RPC_CALL, RPC_ANSWER, RPC_NOTICE, RPC_BYE, RPC_KIND_COUNT };

enum { RPC_LENGTH_BYTES = 4, RPC_CODE_MAX = 255 };

struct rpc_frame {
    enum rpc_kind kind;
    uint64_t id;     /* not 0 in calls and answers, otherwise 0 */
    uint32_t method; /* in calls and notices */
    uint32_t code;   /* in answers and byes: 0 or an err_code, possibly an unknown one */
    const char *msg; /* in answers and byes: not terminated */
    size_t msg_size;
    const void *body;
    size_t body_size;
};

/* Append everything up to the body, including the length; the body must follow. ERR_LIMIT, with
 * nothing appended, if the frame would exceed RPC_FRAME_BYTES_MAX. */
int rpc_frame_pack_head(struct buf *to, const struct rpc_frame *frame, struct err *err) MUST_USE;

/* Read the part after the length. ERR_CORRUPT if it is malformed. */
int rpc_frame_unpack(const void *bytes, size_t size, struct rpc_frame *ret,
                     struct err *err) MUST_USE;

/* Read the length at the beginning of a frame: 0 and the value, or ERR_CORRUPT if out of bounds. */
int rpc_frame_length(const char bytes[RPC_LENGTH_BYTES], size_t *ret_size,
                     struct err *err) MUST_USE;

#endif
