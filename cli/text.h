/*
 * text.h - output of borgctl: UTF-8 without terminal control sequences.
 *
 * Names, reasons, paths and messages come from other users, machines and replicas. All output goes
 * through these functions, so that such text cannot move the cursor, hide or reorder text, or forge
 * a line. Only `logs` copies a task's bytes unchanged.
 */
#ifndef CLI_TEXT_H
#define CLI_TEXT_H

#include "buf.h"
#include "err.h"

#include <jansson.h>
#include <stdio.h>

/* Make the C library know the width of every character regardless of the user's locale: our output
 * is UTF-8. Without this call all characters beyond ASCII are escaped. Call it once, before any
 * output. */
void text_begin(void);

/* Append `text` for one line or one table cell; escape control characters, invalid UTF-8,
 * characters without width and direction marks. */
void text_escape(struct buf *to, const char *text);

/* Return the number of the first line with invalid UTF-8, 0 if there is none. */
size_t text_bad_line(const char *text);

/* printf() to stdout, stderr or a file. Newlines and tabs stay; everything else is escaped as
 * above, including the arguments. */
void print(const char *fmt, ...) PRINTF_LIKE(1, 2);
void print_err(const char *fmt, ...) PRINTF_LIKE(1, 2);
void print_to(FILE *to, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Print one JSON value, indented or (JSON_COMPACT) on one line, and a newline. Control characters
 * are printed as \uXXXX, so the value is unchanged. */
void json_print(FILE *to, const json_t *value, size_t flags);

/* Flush stdout; ERR_IO if not all output could be written. A reader that closed the pipe, such as
 * head(1), is no error. */
int stdout_check(struct err *err) MUST_USE;
/* Return false if stdout is a pipe or socket whose reader has closed it. */
bool stdout_has_reader(void);

#endif
