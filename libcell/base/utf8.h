/*
 * utf8.h - is it UTF-8, and what to print when it is not.
 */
#ifndef CELL_UTF8_H
#define CELL_UTF8_H

#include "buf.h"

/* Bytes of the valid sequence at `p` (terminated) and its character; 0: it is none, or the end. */
size_t utf8_read(const char *p, uint32_t *ret);
bool utf8_valid(const char *text);
/* Append a text; bytes of it that are no UTF-8 become "\xff". */
void utf8_escape(struct buf *to, const char *text);

#endif
