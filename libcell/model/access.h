/*
 * access.h - who may send which command: one table, asked before a command is looked at.
 *
 * The cell itself (the leader's timers, replicas for the borglets they drive) may send everything;
 * its commands have no user. libcell/proto/wire.h has the same for the methods of the wire.
 */
#ifndef CELL_ACCESS_H
#define CELL_ACCESS_H

#include "cmd.h"

enum access {
    ACCESS_ANYBODY,  /* every user: it is about himself, or public */
    ACCESS_OWNER,    /* the user whose job it is, and operators */
    ACCESS_VIEWER,   /* the user whose job it is, readers and operators */
    ACCESS_READER,   /* readers and operators */
    ACCESS_OPERATOR, /* operators */
    ACCESS_CELL,     /* no user */
    ACCESS_COUNT
};

/* May this user do it? `owner` is whose job it is about; NULL: there is no such job, whoever asks
 * may be told that. */
bool access_allows(const struct cell *cell, enum access access, const char *user,
                   const char *owner);
/* The same; ERR_DENIED says who may. `deed` is what is not allowed: "drain a machine". */
int access_check(const struct cell *cell, enum access access, const char *user, const char *owner,
                 const char *deed, struct err *err) MUST_USE;

/* Refuses: says who may. For who has decided without a cell. */
int access_refuse(enum access access, const char *user, const char *owner, const char *deed,
                  struct err *err) MUST_USE;

enum access cmd_access(enum cmd_kind kind); /* ACCESS_CELL for kinds that are none */
const char *cmd_deed(enum cmd_kind kind);   /* "drain a machine" */
/* May the user of the command (empty: the cell itself) send it? */
int cmd_access_check(const struct cell *cell, const struct cmd *cmd, struct err *err) MUST_USE;

#endif
