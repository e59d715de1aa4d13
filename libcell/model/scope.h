/*
 * scope.h - how many tasks a command may touch: what cell_apply() takes grows with that.
 *
 * A command that waits is not unpacked again, so what decides is kept beside it; the rest the cell
 * says when it is the command's turn.
 */
#ifndef CELL_SCOPE_H
#define CELL_SCOPE_H

#include "cmd.h"

struct cmd_scope {
    char job[CELL_NAME_MAX + 1];     /* all of its tasks; "": of none by name */
    job_id job_id;                   /* those that wait for a new limit; 0: of none */
    char machine[CELL_NAME_MAX + 1]; /* what runs there; "": on none by name */
    machine_id machine_id;           /* the same by number; 0: none */
    bool every_machine;              /* a task on each */
    uint32_t tasks;                  /* those that the command itself names or makes */
};

struct cmd_scope cmd_scope_of(const struct cmd *cmd);
/* 0: of commands about something else. */
uint32_t cmd_scope_tasks(const struct cmd_scope *scope, const struct cell *cell);

#endif
