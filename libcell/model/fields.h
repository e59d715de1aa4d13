/*
 * fields.h - the tables of every record of the cell: what is stored, and the bodies of commands.
 *
 * See base/record.h for what a table is and what is done with it, and README.md for how to add a
 * field or a command.
 */
#ifndef CELL_FIELDS_H
#define CELL_FIELDS_H

#include "cmd.h"
#include "record.h"

/* The enums that have texts; *_text() and *_parse() of the headers use them too. */
extern const struct enumeration bands, appclasses, restarts, policies, spec_policies, term_ops,
    task_states, causes, machine_states, holds, master_states, cmd_kinds, event_kinds, amongs,
    report_kinds, report_faults, revokes, err_codes;

/* Parts of other records. */
extern const struct record resources_record, resource_names_record, attempt_ref_record,
    spread_record, clause_record, term_record, report_record, task_usage_record, masters_record;

/* What users ask for. A job has either the group "task" or the group "alloc" of its fields. */
extern const struct record job_spec_record;
/* The amounts of a limit as users write them ("task.resources.cpu"): of a task, of an alloc. */
extern const struct record limit_record, alloc_limit_record;
const struct record *limit_record_of(bool is_alloc_set);
/* A sentence about a group of fields, "" for one that has none. */
const char *spec_group_doc(const char *group);

/* Stored rows: one table of SQLite each. */
extern const struct record machine_record, job_record, task_record, quota_record,
    identity_row_record, master_record, request_row_record, event_record;

/* Bodies of commands, by kind; NULL for a number that is none. */
const struct record *cmd_body_record(enum cmd_kind kind);
/* Where the body is: a member of the union in struct cmd. */
static inline void *cmd_body(struct cmd *cmd)
{
    return &cmd->machine_register;
}

#endif
