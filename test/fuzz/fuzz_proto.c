/*
 * fuzz_proto.c - whatever bytes are given: unpacking refuses, or what it gave packs and unpacks.
 *
 *     make fuzz            for 30 seconds; FUZZ_SECONDS=3600 for longer
 *
 * The first byte chooses what the others are: a command, a spec, an envelope, a message.
 */
#include "cmd_pack.h"
#include "wire.h"

#include <stdlib.h>
#include <string.h>

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

static void nothing_to_release(const void *body)
{
    (void)body;
}

#define FUZZ_BODY(number, name, release) \
    case number: { \
        struct wire_##name body, again; \
        if (wire_unpack_##name(bytes, size, &body, NULL) != 0) \
            return; \
        wire_pack_##name(&packed, &body); \
        ASSERT(wire_unpack_##name(packed.bytes, packed.size, &again, NULL) == 0); \
        release(&body); \
        release(&again); \
        return; \
    }

static void fuzz_message(unsigned which, const uint8_t *bytes, size_t size)
{
    struct buf packed CLEANUP(buf_release) = {0};
    switch (which) {
        FUZZ_BODY(0, answer, nothing_to_release)
        FUZZ_BODY(1, query, wire_query_release)
        FUZZ_BODY(2, rows, wire_rows_release)
        FUZZ_BODY(3, status, nothing_to_release)
        FUZZ_BODY(4, alive, nothing_to_release)
        FUZZ_BODY(5, hello, wire_hello_release)
        FUZZ_BODY(6, welcome, nothing_to_release)
        FUZZ_BODY(7, reports, wire_reports_release)
        FUZZ_BODY(8, intents, wire_intents_release)
        FUZZ_BODY(9, logs, nothing_to_release)
        FUZZ_BODY(10, log_chunk, nothing_to_release)
        FUZZ_BODY(14, why, nothing_to_release)
        FUZZ_BODY(15, checkpoint, nothing_to_release)
        FUZZ_BODY(16, piece, nothing_to_release)
        FUZZ_BODY(17, transfer, nothing_to_release)
        FUZZ_BODY(18, shed, nothing_to_release)
        FUZZ_BODY(19, move, nothing_to_release)
        FUZZ_BODY(20, replicas, wire_replicas_release)
        FUZZ_BODY(21, join, nothing_to_release)
        FUZZ_BODY(22, identities, wire_identities_release)
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size == 0)
        return 0;
    unsigned which = bytes[0] % 22;
    if (which == 11)
        fuzz_cmd(bytes + 1, size - 1);
    else if (which == 12)
        fuzz_spec(bytes + 1, size - 1);
    else if (which == 13)
        fuzz_envelope(bytes + 1, size - 1);
    else
        fuzz_message(which, bytes + 1, size - 1);
    return 0;
}
