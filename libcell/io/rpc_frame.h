/*
 * rpc_frame.h - the bytes of one RPC message; the form is described in rpc.h.
 *
 * Reading allocates nothing: message and body of a read frame point into the bytes given.
 */
#ifndef CELL_RPC_FRAME_H
#define CELL_RPC_FRAME_H

#include "buf.h"
#include "err.h"

enum rpc_kind { RPC_CALL, RPC_ANSWER, RPC_NOTICE, RPC_BYE, RPC_KIND_COUNT };

enum { RPC_LENGTH_BYTES = 4, RPC_CODE_MAX = 255 };

struct rpc_frame {
    enum rpc_kind kind;
    uint64_t id;     /* not 0 in calls and answers, else 0 */
    uint32_t method; /* calls and notices */
    uint32_t code;   /* answers and byes: 0 or an err_code, perhaps one that we do not know */
    const char *msg; /* answers and byes: not terminated */
    size_t msg_size;
    const void *body;
    size_t body_size;
};

/* Append everything up to the body, the length included; the body must follow. ERR_LIMIT, and
 * nothing appended, when the frame would be larger than RPC_FRAME_BYTES_MAX. */
int rpc_frame_pack_head(struct buf *to, const struct rpc_frame *frame, struct err *err) MUST_USE;

/* Read what follows the length. ERR_CORRUPT when it is no frame. */
int rpc_frame_unpack(const void *bytes, size_t size, struct rpc_frame *ret,
                     struct err *err) MUST_USE;

/* The length at the beginning of a frame: 0 and its value, or ERR_CORRUPT when out of bounds. */
int rpc_frame_length(const char bytes[RPC_LENGTH_BYTES], size_t *ret_size,
                     struct err *err) MUST_USE;

#endif
