/*
 * err.c - creation and wrapping of error messages.
 */
#include "err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int err_set(struct err *err, enum err_code code, const char *fmt, ...)
{
    ASSERT(code != ERR_OK);
    if (err == NULL)
        return -(int)code;
    va_list args;
    va_start(args, fmt);
    err->code = code;
    vsnprintf(err->msg, sizeof err->msg, fmt, args);
    va_end(args);
    return -(int)code;
}

int err_errno(struct err *err, int errno_value, const char *fmt, ...)
{
    if (err == NULL)
        return -ERR_IO;
    va_list args;
    va_start(args, fmt);
    err->code = ERR_IO;
    int n = vsnprintf(err->msg, sizeof err->msg, fmt, args);
    va_end(args);
    if (n >= 0 && (size_t)n < sizeof err->msg)
        snprintf(err->msg + n, sizeof err->msg - (size_t)n, ": %s", strerror(errno_value));
    return -ERR_IO;
}

int err_wrap(struct err *err, const char *fmt, ...)
{
    if (err == NULL)
        return -ERR_IO;
    char before[ERR_MSG_MAX];
    memcpy(before, err->msg, sizeof before);
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(err->msg, sizeof err->msg, fmt, args);
    va_end(args);
    if (n >= 0 && (size_t)n < sizeof err->msg)
        snprintf(err->msg + n, sizeof err->msg - (size_t)n, ": %s", before);
    ASSERT(err->code != ERR_OK);
    return -(int)err->code;
}

#define X(name, number, text) \
    _Static_assert((number) < ERR_CODE_COUNT, \
                   "codes have no gaps: their count is one above the last");
ERR_CODES(X)
#undef X

const char *err_code_text(enum err_code code)
{
    switch (code) {
#define X(name, number, text) \
    case ERR_##name: \
        return text;
        ERR_CODES(X)
#undef X
    }
    return "unknown";
}
