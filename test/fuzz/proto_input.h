/*
 * proto_input.h - the first byte of an input of fuzz_proto says what the others are.
 *
 * Behind the three come the messages, in the order of enum wire_body_kind (random_wire.h).
 */
#ifndef TEST_PROTO_INPUT_H
#define TEST_PROTO_INPUT_H

#include "random_wire.h"

enum {
    PROTO_CMD,
    PROTO_SPEC,
    PROTO_ENVELOPE,
    PROTO_MESSAGE,
    PROTO_COUNT = PROTO_MESSAGE + WIRE_BODY_COUNT
};

#endif
