/*
 * utf8.c - reading UTF-8 strictly: no overlong forms, no surrogates, nothing above U+10FFFF.
 */
#include "utf8.h"

size_t utf8_read(const char *text, uint32_t *ret)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *p = (const unsigned char *)text;
    size_t n = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    uint32_t c = n <= 1 ? p[0] : p[0] & (0xffU >> (n + 1));
    if (p[0] == '\0' || p[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (p[i] & 0x3f);
    }
    *ret = c;
    return c > 0x10ffff || (c >= 0xd800 && c < 0xe000) || (n > 0 && c < least[n]) ? 0 : n;
}

bool utf8_valid(const char *text)
{
    uint32_t c;
    for (size_t n; *text != '\0'; text += n)
        if ((n = utf8_read(text, &c)) == 0)
            return false;
    return true;
}

void utf8_escape(struct buf *to, const char *text)
{
    uint32_t c;
    while (*text != '\0') {
        size_t n = utf8_read(text, &c);
        if (n == 0)
            buf_printf(to, "\\x%02x", (unsigned char)*text);
        else
            buf_append(to, text, n);
        text += n == 0 ? 1 : n;
    }
}
