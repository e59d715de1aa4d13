/*
 * fuzz_frame.c - frames of calls: a frame that is read packs to the same bytes.
 */
#include "limits.h"
#include "rpc_frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct rpc_frame frame, again;
    struct buf packed CLEANUP(buf_release) = {0};
    size_t length;
    if (size >= 4 && rpc_frame_length((const char *)bytes, &length, NULL) == 0)
        ASSERT(length <= RPC_FRAME_BYTES_MAX);
    if (rpc_frame_unpack(bytes, size, &frame, NULL) != 0)
        return 0;
    ASSERT(rpc_frame_pack_head(&packed, &frame, NULL) == 0);
    buf_append(&packed, frame.body, frame.body_size);
    ASSERT(rpc_frame_unpack(packed.bytes + 4, packed.size - 4, &again, NULL) == 0);
    ASSERT(again.kind == frame.kind);
    ASSERT(again.id == frame.id);
    ASSERT(again.body_size == frame.body_size);
    return 0;
}
