/*
 * access.c - the table of commands and who may send them.
 */
#include "access.h"

#include <string.h>

/* A kind of command without a row does not compile. */
#define CMD_ACCESS(X) \
    X(MACHINE_REGISTER, CELL, "register a machine") \
    X(MACHINE_DOWN, CELL, "declare a machine down") \
    X(MACHINE_DRAIN, OPERATOR, "drain or undrain a machine") \
    X(MACHINE_EVICT, CELL, "go on with a drain") \
    X(MACHINE_RECLAIM, CELL, "free the ram of a machine") \
    X(JOB_SUBMIT, ANYBODY, "submit a job") \
    X(JOB_UPDATE, OWNER, "update it") \
    X(JOB_KILL, OWNER, "kill it") \
    X(JOB_RESIZE, CELL, "go on with an update") \
    X(SCHEDULE, CELL, "place tasks") \
    X(REPORT, CELL, "report what became of tasks") \
    X(USAGE, CELL, "report what tasks use") \
    X(WAKE, CELL, "end a back-off") \
    X(QUOTA_SET, OPERATOR, "set a quota") \
    X(POLICY_SET, OPERATOR, "set the cell's policy") \
    X(HOLD_SET, OPERATOR, "release the cell") \
    X(MASTERS_SET, CELL, "say who the replicas are") \
    X(MASTER_ADD, OPERATOR, "add a replica") \
    X(MASTER_REMOVE, OPERATOR, "remove a replica") \
    X(MASTER_STEP, CELL, "go on with a change of the replicas") \
    X(IDENTITY_SET, OPERATOR, "give rights or revoke certificates") \
    X(MACHINE_TRY, CELL, "try a sick machine again") \
    X(MACHINE_REMOVE, OPERATOR, "remove a machine")

enum access cmd_access(enum cmd_kind kind)
{
    switch (kind) {
#define X(name, access, deed) \
    case CMD_##name: \
        return ACCESS_##access;
        CMD_ACCESS(X)
#undef X
    }
    return ACCESS_CELL;
}

const char *cmd_deed(enum cmd_kind kind)
{
    switch (kind) {
#define X(name, access, deed) \
    case CMD_##name: \
        return deed;
        CMD_ACCESS(X)
#undef X
    }
    return "send a command of a kind that is none";
}

bool access_allows(const struct cell *cell, enum access access, const char *user, const char *owner)
{
    if (user[0] == '\0') /* the cell itself */
        return true;
    switch (access) {
    case ACCESS_ANYBODY:
        return true;
    case ACCESS_OWNER:
        return owner == NULL || strcmp(user, owner) == 0 ||
               cell_user_is(cell, user, RIGHT_OPERATOR);
    case ACCESS_VIEWER:
        return owner == NULL || strcmp(user, owner) == 0 || cell_user_is(cell, user, RIGHT_READER);
    case ACCESS_READER:
        return cell_user_is(cell, user, RIGHT_READER);
    case ACCESS_OPERATOR:
        return cell_user_is(cell, user, RIGHT_OPERATOR);
    case ACCESS_CELL:
    case ACCESS_COUNT:
        break;
    }
    return false;
}

int access_refuse(enum access access, const char *user, const char *owner, const char *deed,
                  struct err *err)
{
    switch (access) {
    case ACCESS_OWNER:
    case ACCESS_VIEWER:
        return err_set(err, ERR_DENIED, "it is of user \"%s\": only that user%s may %s", owner,
                       access == ACCESS_OWNER ? " and an operator of the cell"
                                              : ", a reader and an operator of the cell",
                       deed);
    case ACCESS_READER:
    case ACCESS_OPERATOR:
        return err_set(err, ERR_DENIED, "user \"%s\" may not %s: only %s of the cell may", user,
                       deed, access == ACCESS_READER ? "a reader or an operator" : "an operator");
    case ACCESS_ANYBODY:
    case ACCESS_CELL:
    case ACCESS_COUNT:
        break;
    }
    return err_set(err, ERR_DENIED, "user \"%s\" may not %s: no user may", user, deed);
}

int access_check(const struct cell *cell, enum access access, const char *user, const char *owner,
                 const char *deed, struct err *err)
{
    return access_allows(cell, access, user, owner) ? 0
                                                    : access_refuse(access, user, owner, deed, err);
}

/* The job that the command names; NULL: it names none. */
static const char *job_name_of(const struct cmd *cmd)
{
    if (cmd->kind == CMD_JOB_KILL)
        return cmd->job_kill.name;
    return cmd->kind == CMD_JOB_UPDATE ? cmd->job_update.name : NULL;
}

int cmd_access_check(const struct cell *cell, const struct cmd *cmd, struct err *err)
{
    const char *name = job_name_of(cmd);
    const struct job *job = name != NULL ? cell_job_named(cell, name) : NULL;
    int rv = access_check(cell, cmd_access(cmd->kind), cmd->user,
                          job != NULL ? job->spec.user : NULL, cmd_deed(cmd->kind), err);
    return rv == 0 || job == NULL ? rv : err_wrap(err, "job \"%s\"", name);
}
