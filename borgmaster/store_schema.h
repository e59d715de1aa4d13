/*
 * store_schema.h - the schema of cell.db by format: its text, which others are accepted, and how a
 * database gets from one to another.
 *
 * Two numbers say what a file is. `user_version` counts layouts: files of another one are refused.
 * Within a layout, formats add columns and tables, so a release reads files of earlier formats (it
 * adds what is missing when it opens them for writing) and of later ones (it leaves what it does
 * not know alone), as long as the cell has not agreed on a later format than it knows
 * (meta.format).
 */
#ifndef BORGMASTER_STORE_SCHEMA_H
#define BORGMASTER_STORE_SCHEMA_H

#include "buf.h"
#include "err.h"

#include <sqlite3.h>

/* Everything, with the documentation as comments, as a release of this format makes it. */
void store_schema_text(struct buf *to, unsigned format);

/*
 * Is it a schema that we can live with? Of tables, what some format makes, to the letter but for
 * comments and white space; or what our own makes with further columns behind, and further tables,
 * that are plain: types, NOT NULL, literals as defaults. Any plain index and any view, which are
 * not used, for store_schema_upgrade() makes ours. No trigger, no virtual table, no other
 * expression. Nothing of it has been run or used then. ERR_CORRUPT for others.
 *
 * `ret_ours`, may be NULL: a database in memory with the tables as they are here but for what
 * later formats added; the caller closes it, whatever is returned.
 */
int store_schema_check(sqlite3 *db, sqlite3 **ret_ours, struct err *err) MUST_USE;
/* After that: ERR_STATE when the cell uses a later format than this release knows. */
int store_format_check(sqlite3 *db, struct err *err) MUST_USE;
/* Add what is missing, and replace views and indexes that are not ours, in one transaction.
 * `schema`: store_schema_text(). */
int store_schema_upgrade(sqlite3 *db, const char *schema, struct err *err) MUST_USE;

#endif
