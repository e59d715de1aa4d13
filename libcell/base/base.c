/*
 * base.c - panics and allocation that cannot fail.
 */
#include "base.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Noreturn void panic(const char *file, int line, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fprintf(stderr, "panic %s:%d: ", file, line);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
    va_end(args);
    abort();
}

void *xcalloc(size_t count, size_t size)
{
    void *p = calloc(count == 0 ? 1 : count, size == 0 ? 1 : size);
    if (p == NULL)
        PANIC("out of memory for %zu items of %zu bytes", count, size);
    return p;
}

void *xrealloc(void *ptr, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        PANIC("%zu items of %zu bytes are too many", count, size);
    void *p = realloc(ptr, bytes == 0 ? 1 : bytes);
    if (p == NULL)
        PANIC("out of memory for %zu bytes", bytes);
    return p;
}

char *xstrdup(const char *s)
{
    size_t size = strlen(s) + 1;
    return memcpy(xcalloc(1, size), s, size);
}

void str_copy(char *to, size_t to_size, const char *from)
{
    ASSERT(to_size > 0);
    size_t length = strnlen(from, to_size - 1);
    memcpy(to, from, length);
    to[length] = '\0';
}

void free_ptr(void *ptr_variable)
{
    void **variable = ptr_variable;
    free(*variable);
    *variable = NULL;
}
