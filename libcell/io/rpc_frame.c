/*
 * rpc_frame.c - packs with msgpack-c, reads by hand.
 *
 * msgpack-c's unpacker builds a tree whose size the sender chooses. A frame has four or five flat
 * fields, so they are read one after the other and everything else is rejected.
 */
#include "rpc_frame.h"

#include "limits.h"

#include <arpa/inet.h>
#include <msgpack.h>
#include <string.h>

static int frame_write(void *data, const char *bytes, size_t size)
{
    buf_append(data, bytes, size);
    return 0;
}

static bool kind_has_code(enum rpc_kind kind)
{
    return kind == RPC_ANSWER || kind == RPC_BYE;
}

static bool kind_has_id(enum rpc_kind kind)
{
    return kind == RPC_CALL || kind == RPC_ANSWER;
}

int rpc_frame_pack_head(struct buf *to, const struct rpc_frame *frame, struct err *err)
{
    static const char length_place[RPC_LENGTH_BYTES];
    size_t begin = to->size;
    msgpack_packer packer;
    msgpack_packer_init(&packer, to, frame_write);
    buf_append(to, length_place, sizeof length_place);
    msgpack_pack_array(&packer, kind_has_code(frame->kind) ? 5 : 4);
    msgpack_pack_unsigned_int(&packer, (unsigned)frame->kind);
    msgpack_pack_uint64(&packer, frame->id);
    msgpack_pack_uint32(&packer, kind_has_code(frame->kind) ? frame->code : frame->method);
    if (kind_has_code(frame->kind))
        msgpack_pack_str_with_body(&packer, frame->msg, frame->msg_size);
    msgpack_pack_bin(&packer, frame->body_size);
    size_t size = to->size - begin - RPC_LENGTH_BYTES;
    if (frame->body_size > RPC_FRAME_BYTES_MAX || size + frame->body_size > RPC_FRAME_BYTES_MAX) {
        to->size = begin;
        return err_set(err, ERR_LIMIT, "a message of %zu bytes is over the limit of %d",
                       size + frame->body_size, RPC_FRAME_BYTES_MAX);
    }
    uint32_t length = htonl((uint32_t)(size + frame->body_size));
    memcpy(to->bytes + begin, &length, sizeof length);
    return 0;
}

int rpc_frame_length(const char bytes[RPC_LENGTH_BYTES], size_t *ret_size, struct err *err)
{
    uint32_t length;
    memcpy(&length, bytes, sizeof length);
    *ret_size = ntohl(length);
    if (*ret_size == 0 || *ret_size > RPC_FRAME_BYTES_MAX)
        return err_set(err, ERR_CORRUPT, "a frame of %zu bytes: 1 to %d are allowed", *ret_size,
                       RPC_FRAME_BYTES_MAX);
    return 0;
}

/* The unread bytes. Readers return false if the next value has another type. */
struct reader {
    const unsigned char *at;
    size_t left;
};

static bool read_number(struct reader *r, size_t size, uint64_t *ret)
{
    if (r->left < size)
        return false;
    *ret = 0;
    for (size_t i = 0; i < size; i++)
        *ret = *ret << 8 | r->at[i];
    r->at += size;
    r->left -= size;
    return true;
}

static bool read_uint(struct reader *r, uint64_t *ret)
{
    uint64_t type;
    if (!read_number(r, 1, &type))
        return false;
    if (type <= 0x7f) {
        *ret = type;
        return true;
    }
    return type >= 0xcc && type <= 0xcf && read_number(r, (size_t)1 << (type - 0xcc), ret);
}

static bool read_bytes(struct reader *r, uint64_t size, const char **ret, size_t *ret_size)
{
    if (size > r->left)
        return false;
    *ret = (const char *)r->at;
    *ret_size = (size_t)size;
    r->at += size;
    r->left -= (size_t)size;
    return true;
}

static bool read_str(struct reader *r, const char **ret, size_t *ret_size)
{
    uint64_t type, size;
    if (!read_number(r, 1, &type))
        return false;
    if (type >= 0xa0 && type <= 0xbf)
        size = type & 0x1f;
    else if (type < 0xd9 || type > 0xdb || !read_number(r, (size_t)1 << (type - 0xd9), &size))
        return false;
    return read_bytes(r, size, ret, ret_size);
}

static bool read_bin(struct reader *r, const char **ret, size_t *ret_size)
{
    uint64_t type, size;
    if (!read_number(r, 1, &type) || type < 0xc4 || type > 0xc6)
        return false;
    return read_number(r, (size_t)1 << (type - 0xc4), &size) && read_bytes(r, size, ret, ret_size);
}

static bool frame_read(struct reader *r, struct rpc_frame *ret)
{
    uint64_t array, kind, number;
    const char *body;
    if (!read_number(r, 1, &array) || !read_uint(r, &kind) || kind >= RPC_KIND_COUNT ||
        array != (kind_has_code((enum rpc_kind)kind) ? 0x95 : 0x94) || !read_uint(r, &ret->id) ||
        !read_uint(r, &number) || (ret->id != 0) != kind_has_id((enum rpc_kind)kind))
        return false;
    ret->kind = (enum rpc_kind)kind;
    if (kind_has_code(ret->kind)) {
        if (number > RPC_CODE_MAX || !read_str(r, &ret->msg, &ret->msg_size))
            return false;
        ret->code = (uint32_t)number;
    } else {
        if (number > UINT32_MAX)
            return false;
        ret->method = (uint32_t)number;
    }
    if (!read_bin(r, &body, &ret->body_size))
        return false;
    ret->body = body;
    return r->left == 0;
}

int rpc_frame_unpack(const void *bytes, size_t size, struct rpc_frame *ret, struct err *err)
{
    struct reader r = {bytes, size};
    *ret = (struct rpc_frame){0};
    if (frame_read(&r, ret))
        return 0;
    return err_set(err, ERR_CORRUPT, "%zu bytes are not a valid RPC message: error at byte %zu",
                   size, size - r.left);
}
