/*
 * buf.c - growing byte buffers.
 */
#include "buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buf_release(struct buf *buf)
{
    free(buf->bytes);
    *buf = (struct buf){0};
}

void buf_clear(struct buf *buf)
{
    buf->size = 0;
    if (buf->bytes != NULL)
        buf->bytes[0] = '\0';
}

char *buf_reserve(struct buf *buf, size_t size)
{
    size_t need = buf->size + size + 1;
    if (need > buf->capacity) {
        size_t capacity = MAX(need, buf->capacity * 2);
        buf->bytes = xrealloc(buf->bytes, MAX(capacity, (size_t)64), 1);
        buf->capacity = MAX(capacity, (size_t)64);
        buf->bytes[buf->size] = '\0';
    }
    return buf->bytes + buf->size;
}

void buf_append(struct buf *buf, const void *bytes, size_t size)
{
    char *to = buf_reserve(buf, size);
    if (size > 0)
        memcpy(to, bytes, size);
    buf->size += size;
    buf->bytes[buf->size] = '\0';
}

void buf_put(struct buf *buf, const char *text)
{
    buf_append(buf, text, strlen(text));
}

void buf_printf(struct buf *buf, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    ASSERT(n >= 0);
    char *to = buf_reserve(buf, (size_t)n);
    vsnprintf(to, (size_t)n + 1, fmt, again);
    va_end(again);
    buf->size += (size_t)n;
}

void buf_consume(struct buf *buf, size_t size)
{
    ASSERT(size <= buf->size);
    if (size == 0)
        return;
    memmove(buf->bytes, buf->bytes + size, buf->size - size);
    buf->size -= size;
    buf->bytes[buf->size] = '\0';
}

const char *buf_text(const struct buf *buf)
{
    return buf->bytes == NULL ? "" : buf->bytes;
}
