/*
 * access.c - who may send which command: by the table in cmd.h.
 */
#include "access.h"

#include "fields.h"

#include <string.h>

enum access cmd_access(enum cmd_kind kind)
{
    switch (kind) {
#define X(name, number, text, member, body, access, deed) \
    case CMD_##name: \
        return ACCESS_##access;
        CMD_KINDS(X)
#undef X
    }
    return ACCESS_CELL;
}

const char *cmd_deed(enum cmd_kind kind)
{
    switch (kind) {
#define X(name, number, text, member, body, access, deed) \
    case CMD_##name: \
        return deed;
        CMD_KINDS(X)
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
    if (cmd_access(cmd->kind) != ACCESS_OWNER)
        return NULL;
    return field_text(&cmd_body_record(cmd->kind)->fields[0], cmd_body((struct cmd *)cmd));
}

int cmd_access_check(const struct cell *cell, const struct cmd *cmd, struct err *err)
{
    const char *name = job_name_of(cmd);
    const struct job *job = name != NULL ? cell_job_named(cell, name) : NULL;
    int rv = access_check(cell, cmd_access(cmd->kind), cmd->user,
                          job != NULL ? job->spec.user : NULL, cmd_deed(cmd->kind), err);
    return rv == 0 || job == NULL ? rv : err_wrap(err, "job \"%s\"", name);
}
