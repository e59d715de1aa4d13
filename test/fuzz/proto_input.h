/*
 * proto_input.h - the first byte of an input of fuzz_proto selects the kind of the others.
 *
 * Behind the three come the messages, in the order of wire_messages.
 */
#ifndef TEST_PROTO_INPUT_H
#define TEST_PROTO_INPUT_H

#include "random_wire.h"

enum {
    PROTO_CMD,
    PROTO_SPEC,
    PROTO_ENVELOPE,
    PROTO_MESSAGE,
    PROTO_COUNT = PROTO_MESSAGE + WIRE_MESSAGES
};

#endif
