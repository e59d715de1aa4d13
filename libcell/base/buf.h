/*
 * buf.h - a growing byte buffer, also used to build text.
 *
 * Invariant: either `bytes` is NULL and the capacity is 0, or bytes[size] is a NUL that `size` does
 * not count, so that text in a buffer can be read as a C string (buf_text).
 */
#ifndef CELL_BUF_H
#define CELL_BUF_H

#include "base.h"

struct buf {
    char *bytes;
    size_t size;     /* bytes in use */
    size_t capacity; /* bytes allocated; if not 0, at least size + 1 */
};

void buf_release(struct buf *buf); /* free the bytes, leave an empty buffer; for CLEANUP */
void buf_clear(struct buf *buf);   /* set the size to 0, keep the memory */
void buf_append(struct buf *buf, const void *bytes, size_t size);
void buf_put(struct buf *buf, const char *text); /* append a text as it is */
void buf_printf(struct buf *buf, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Make room for `size` more bytes and return their address; the caller then adds to buf->size. */
char *buf_reserve(struct buf *buf, size_t size);
/* Remove the first `size` bytes. */
void buf_consume(struct buf *buf, size_t size);
/* Return the content as a C string, "" when empty. It is valid until the next change. */
const char *buf_text(const struct buf *buf);

#endif
