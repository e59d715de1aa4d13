/*
 * text.h - what borgctl prints: UTF-8 with nothing in it that steers a terminal.
 *
 * Names, reasons, paths and messages come from other users, machines and replicas. Whatever is
 * printed goes through here, so none of them can move the cursor, hide text, change the order in
 * which it is read, or forge a line. Only `logs` copies a task's bytes as they are.
 */
#ifndef CLI_TEXT_H
#define CLI_TEXT_H

#include "buf.h"
#include "err.h"

#include <jansson.h>
#include <stdio.h>

/* Make the C library know the width of every character, whatever the user's locale is: our output
 * is UTF-8. Without it all that is not ASCII is escaped. Call it once, before any output. */
void text_begin(void);

/* Append `text` for one line or one cell of a table: controls, broken UTF-8, what has no width on a
 * terminal, and marks of direction are escaped. */
void text_escape(struct buf *to, const char *text);

/* The number of the first line with a byte that is no UTF-8, 0 when there is none. */
size_t text_bad_line(const char *text);

/* printf() to stdout, to stderr or to a file; newlines and tabs stay, the rest is escaped as above,
 * also what came in as an argument. */
void print(const char *fmt, ...) PRINTF_LIKE(1, 2);
void print_err(const char *fmt, ...) PRINTF_LIKE(1, 2);
void print_to(FILE *to, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* One JSON value, indented or (JSON_COMPACT) on one line, and a newline. What steers a terminal
 * stands in it as \uXXXX, so the value is the same. */
void json_print(FILE *to, const json_t *value, size_t flags);

/* Flush stdout; ERR_IO unless all that was written to it arrived. That nobody reads it any more, as
 * in a pipe to head(1), is no error. */
int stdout_check(struct err *err) MUST_USE;
/* False when it is a pipe or socket whose reader has closed it. */
bool stdout_has_reader(void);

#endif
