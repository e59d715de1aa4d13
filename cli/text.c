/*
 * text.c - print text without terminal control sequences.
 */
#include "text.h"
#include "utf8.h"

#include <errno.h>
#include <locale.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

void text_begin(void)
{
    /* C.UTF-8 is part of the C library since 2.35: it exists whatever locales are installed. */
    (void)setlocale(LC_CTYPE, "C.UTF-8");
}

/* It changes the direction or the place of what is printed after it, or cannot be seen at all. */
static bool is_unseen(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0xad || c == 0x61c ||
           (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
           (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || (c >= 0xfff9 && c <= 0xfffb) ||
           (c >= 0xe0000 && c < 0xe1000);
}

/* Append one character or its escape; return the number of bytes read. */
static size_t character_escape(struct buf *to, const unsigned char *p, bool keep_lines)
{
    uint32_t c = 0;
    size_t n = utf8_read((const char *)p, &c);
    if (n == 0 || (n == 1 && is_unseen(c))) {
        if (keep_lines && (*p == '\n' || *p == '\t'))
            buf_append(to, p, 1);
        else if (*p == '\n' || *p == '\t')
            buf_printf(to, *p == '\n' ? "\\n" : "\\t");
        else
            buf_printf(to, "\\x%02x", *p);
        return 1;
    }
    if (is_unseen(c) || (c >= 0x80 && wcwidth((wchar_t)c) < 0))
        buf_printf(to, "\\u{%x}", c);
    else
        buf_append(to, p, n);
    return n;
}

void text_escape(struct buf *to, const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p != '\0';)
        p += character_escape(to, p, false);
}

size_t text_bad_line(const char *text)
{
    size_t line = 1;
    uint32_t c;
    for (size_t n; *text != '\0'; text += n) {
        n = utf8_read(text, &c);
        if (n == 0)
            return line;
        line += *text == '\n';
    }
    return 0;
}

static void print_list(FILE *to, const char *fmt, va_list args) PRINTF_LIKE(2, 0);
static void print_list(FILE *to, const char *fmt, va_list args)
{
    CLEANUP(buf_release) struct buf clean = {0};
    char *text = NULL;
    if (vasprintf(&text, fmt, args) < 0)
        PANIC("out of memory for a line of output");
    for (const unsigned char *p = (const unsigned char *)text; *p != '\0';)
        p += character_escape(&clean, p, true);
    free(text);
    fwrite(clean.bytes, 1, clean.size, to);
}

void print(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    print_list(stdout, fmt, args);
    va_end(args);
}

void print_err(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    print_list(stderr, fmt, args);
    va_end(args);
}

void print_to(FILE *to, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    print_list(to, fmt, args);
    va_end(args);
}

void json_print(FILE *to, const json_t *value, size_t flags)
{
    char *text = json_dumps(value, flags | JSON_ENCODE_ANY);
    ASSERT(text != NULL);
    /* jansson escapes controls below 0x20 itself; the newlines here are its indentation. */
    for (const unsigned char *p = (const unsigned char *)text; *p != '\0';) {
        uint32_t c = 0;
        size_t n = utf8_read((const char *)p, &c);
        if (n == 0 || c < 0x20 || !is_unseen(c))
            fwrite(p, 1, MAX(n, 1), to);
        else if (c < 0x10000)
            fprintf(to, "\\u%04x", c);
        else
            fprintf(to, "\\u%04x\\u%04x", 0xd7c0 + (c >> 10), 0xdc00 + (c & 0x3ff));
        p += MAX(n, 1);
    }
    fputc('\n', to);
    free(text);
}

bool stdout_has_reader(void)
{
    struct pollfd p = {.fd = STDOUT_FILENO, .events = POLLOUT};
    return poll(&p, 1, 0) <= 0 || (p.revents & POLLERR) == 0;
}

int stdout_check(struct err *err)
{
    bool failed = ferror(stdout) != 0; /* an earlier write failed, and its errno is lost */
    errno = 0;
    if (fflush(stdout) != 0)
        failed = true;
    if (!failed || errno == EPIPE || !stdout_has_reader())
        return 0;
    return err_set(err, ERR_IO, "cannot write the result to stdout%s%s", errno != 0 ? ": " : "",
                   errno != 0 ? strerror(errno) : "");
}
