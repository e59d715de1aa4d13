/*
 * fuzz_proto.c - whatever bytes are given: unpacking refuses, or what it gave packs and unpacks.
 *
 * The first byte chooses what the others are: a command, a spec, an envelope, a message
 * (proto_input.h). It begins with every message and every kind of command (seeds.c).
 */
#include "cmd_pack.h"
#include "proto_input.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void fuzz_cmd(const uint8_t *bytes, size_t size)
{
    struct cmd cmd, again;
    struct buf first CLEANUP(buf_release) = {0}, second CLEANUP(buf_release) = {0};
    if (cmd_unpack(bytes, size, &cmd, NULL) != 0)
        return;
    ASSERT(cmd_pack(&cmd, &first, NULL) == 0);
    ASSERT(cmd_unpack(first.bytes, first.size, &again, NULL) == 0);
    ASSERT(cmd_pack(&again, &second, NULL) == 0);
    ASSERT(first.size == second.size);
    ASSERT(memcmp(first.bytes, second.bytes, first.size) == 0);
    cmd_release(&cmd);
    cmd_release(&again);
}

static void fuzz_spec(const uint8_t *bytes, size_t size)
{
    struct job_spec spec, again;
    struct buf first CLEANUP(buf_release) = {0};
    if (spec_unpack(bytes, size, &spec, NULL) != 0)
        return;
    spec_pack(&spec, &first);
    ASSERT(spec_unpack(first.bytes, first.size, &again, NULL) == 0);
    spec_release(&spec);
    spec_release(&again);
}

static void fuzz_envelope(const uint8_t *bytes, size_t size)
{
    size_t at = 0, cmd_size;
    const void *cmd;
    while (envelope_next(bytes, size, &at, &cmd, &cmd_size, NULL) == 0 && cmd != NULL)
        fuzz_cmd(cmd, cmd_size);
}

static void fuzz_message(const struct wire_message *m, const uint8_t *bytes, size_t size)
{
    union wire_any body, again;
    struct buf first CLEANUP(buf_release) = {0}, second CLEANUP(buf_release) = {0};
    if (message_unpack(m, bytes, size, &body, NULL) != 0)
        return;
    message_pack(m, &first, &body);
    ASSERT(message_unpack(m, first.bytes, first.size, &again, NULL) == 0);
    message_pack(m, &second, &again);
    ASSERT(same_bytes(first.bytes, first.size, second.bytes, second.size));
    message_release(m, &body);
    message_release(m, &again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size == 0)
        return 0;
    unsigned which = bytes[0] % PROTO_COUNT;
    if (which == PROTO_CMD)
        fuzz_cmd(bytes + 1, size - 1);
    else if (which == PROTO_SPEC)
        fuzz_spec(bytes + 1, size - 1);
    else if (which == PROTO_ENVELOPE)
        fuzz_envelope(bytes + 1, size - 1);
    else
        fuzz_message(&wire_messages[which - PROTO_MESSAGE], bytes + 1, size - 1);
    return 0;
}
