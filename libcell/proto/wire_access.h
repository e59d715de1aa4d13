/*
 * wire_access.h - who may send which message: the roles that may, and what a user must be.
 *
 * The roles go into the tables of methods (struct rpc_method); what a user must be is asked where
 * the message is served, of the cell there (access.h). A method without a row does not compile.
 */
#ifndef CELL_WIRE_ACCESS_H
#define CELL_WIRE_ACCESS_H

#include "access.h"
#include "role.h"
#include "wire.h"

#define WIRE_BY_USER BIT(ROLE_USER)
#define WIRE_BY_MASTER BIT(ROLE_MASTER)
#define WIRE_BY_BORGLET BIT(ROLE_BORGLET)
#define WIRE_NOTICE ROLE_MAY_NOTIFY /* it may be sent as a notice, which nobody answers */

/* Name; roles; what a user must be; what he does. */
#define WIRE_ACCESS(X) \
    X(COMMAND, WIRE_BY_USER, ANYBODY, "send commands") /* which ones: cmd_access() */ \
    X(QUERY, WIRE_BY_USER, ANYBODY, "ask queries")     /* what they show depends on who asks */ \
    X(STATUS, WIRE_BY_USER | WIRE_BY_MASTER, ANYBODY, "ask for the status") \
    X(WHY, WIRE_BY_USER, VIEWER, "ask why it waits or where it was placed") \
    X(CHECKPOINT, WIRE_BY_USER, READER, "take a checkpoint") \
    X(TRANSFER, WIRE_BY_USER | WIRE_BY_MASTER, OPERATOR, "say who leads") \
    X(FORWARD, WIRE_BY_MASTER, CELL, "forward commands") \
    X(ALIVE, WIRE_BY_MASTER, CELL, "say who is alive") \
    X(BARRIER, WIRE_BY_MASTER, CELL, "ask for a barrier") \
    X(JOIN, WIRE_BY_MASTER, CELL, "join the masters") \
    X(HELLO, WIRE_BY_BORGLET, CELL, "greet as a machine") \
    X(REPORT, WIRE_BY_BORGLET | WIRE_NOTICE, CELL, "report what became of tasks") \
    X(USAGE, WIRE_BY_BORGLET | WIRE_NOTICE, CELL, "report what tasks use") \
    X(INTEND, WIRE_BY_MASTER | WIRE_NOTICE, CELL, "drive a machine") \
    X(MOVE, WIRE_BY_MASTER | WIRE_NOTICE, CELL, "send a machine elsewhere") \
    X(REPLICAS, WIRE_BY_MASTER | WIRE_NOTICE, CELL, "say who the replicas are") \
    X(IDENTITIES, WIRE_BY_MASTER | WIRE_NOTICE, CELL, "say who may do what") \
    X(LOGS, WIRE_BY_USER, VIEWER, "read its logs") \
    X(LOG_CHUNK, WIRE_BY_BORGLET | WIRE_NOTICE, CELL, "send logs")

enum {
#define X(name, roles, access, deed) WIRE_##name##_ROLES = (roles),
    WIRE_ACCESS(X)
#undef X
};

/* What a user must be to send this. */
enum access wire_access(enum wire_method method);
const char *wire_deed(enum wire_method method);

#endif
