/*
 * buf.h - a growing run of bytes, also used to build text.
 *
 * Invariant: `bytes` is NULL with capacity 0, or bytes[size] is a NUL that is not counted, so a
 * buffer that holds text can be read as a C string (buf_text).
 */
#ifndef CELL_BUF_H
#define CELL_BUF_H

#include "base.h"

struct buf {
    char *bytes;
    size_t size;     /* bytes in use */
    size_t capacity; /* bytes allocated, one more than `size` at least when not 0 */
};

void buf_release(struct buf *buf); /* frees the bytes, leaves an empty buffer; for CLEANUP */
void buf_clear(struct buf *buf);   /* size 0, keeps the memory */
void buf_append(struct buf *buf, const void *bytes, size_t size);
void buf_printf(struct buf *buf, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Make room for `size` more bytes and return where they go; the caller then adds to buf->size. */
char *buf_reserve(struct buf *buf, size_t size);
/* Drop the first `size` bytes. */
void buf_consume(struct buf *buf, size_t size);
/* The content as a C string, "" when empty. Borrowed until the next change. */
const char *buf_text(const struct buf *buf);

#endif
