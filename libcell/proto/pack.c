/*
 * pack.c - writing through msgpack-c, reading by hand with a bound on everything.
 */
#include "pack.h"

#include "limits.h"

#include <stdlib.h>
#include <string.h>

static int write_bytes(void *data, const char *bytes, size_t size)
{
    buf_append(data, bytes, size);
    return 0;
}

void pack_to(struct pack *p, struct buf *to)
{
    *p = (struct pack){.to = to, .format = CELL_FORMAT};
    msgpack_packer_init(&p->packer, to, write_bytes);
}

void pack_from(struct pack *p, const void *bytes, size_t size)
{
    ASSERT(bytes != NULL || size == 0);
    /* A body without bytes may come as NULL, on which arithmetic is undefined. */
    const uint8_t *start = bytes == NULL ? (const uint8_t *)"" : bytes;
    *p = (struct pack){.reading = true, .start = start, .at = start, .end = start + size};
}

size_t pack_position(const struct pack *p)
{
    return p->reading ? (size_t)(p->at - p->start) : p->to->size;
}

void pack_fail(struct pack *p, const char *why)
{
    if (p->wrong != NULL)
        return;
    p->wrong = why;
    p->mistake = p->at;
}

int pack_end(const struct pack *p, const char *what, struct err *err)
{
    if (!p->reading)
        return p->wrong == NULL ? 0 : err_set(err, ERR_LIMIT, "%s: %s", what, p->wrong);
    if (p->newer)
        return err_set(err, ERR_STATE,
                       "%s: %s: a later release than this one (format %d) wrote it, or the bytes "
                       "are damaged",
                       what, p->wrong, CELL_FORMAT);
    if (p->wrong != NULL)
        return err_set(err, ERR_CORRUPT, "%s: %s at byte %zu of %zu", what, p->wrong,
                       (size_t)(p->mistake - p->start), (size_t)(p->end - p->start));
    if (p->at != p->end)
        return err_set(err, ERR_CORRUPT, "%s: ends at byte %zu of %zu", what,
                       (size_t)(p->at - p->start), (size_t)(p->end - p->start));
    return 0;
}

/* The next `size` bytes, or NULL (and a mistake) when there are fewer. */
static const uint8_t *take(struct pack *p, size_t size)
{
    if (p->wrong != NULL)
        return NULL;
    if ((size_t)(p->end - p->at) < size) {
        pack_fail(p, "cut short");
        return NULL;
    }
    const uint8_t *bytes = p->at;
    p->at += size;
    return bytes;
}

static uint64_t take_big_endian(struct pack *p, size_t size)
{
    const uint8_t *bytes = take(p, size);
    uint64_t value = 0;
    for (size_t i = 0; bytes != NULL && i < size; i++)
        value = value << 8 | bytes[i];
    return value;
}

static uint8_t take_byte(struct pack *p)
{
    return (uint8_t)take_big_endian(p, 1);
}

/*
 * Any integer as 64 bits. *ret_negative tells whether they are an int64_t below zero. The formats
 * are those of the msgpack specification: fixints and 0xcc..0xcf unsigned, 0xd0..0xd3 signed.
 */
static uint64_t take_integer(struct pack *p, bool *ret_negative)
{
    *ret_negative = false;
    const uint8_t *first = p->at;
    uint8_t head = take_byte(p);
    if (p->wrong != NULL || head <= 0x7f)
        return head;
    if (head >= 0xe0) {
        *ret_negative = true;
        return (uint64_t)(int64_t)(int8_t)head;
    }
    if (head >= 0xcc && head <= 0xcf)
        return take_big_endian(p, (size_t)1 << (head - 0xcc));
    if (head >= 0xd0 && head <= 0xd3) {
        size_t size = (size_t)1 << (head - 0xd0);
        uint64_t raw = take_big_endian(p, size);
        int64_t value = (int64_t)(raw << (64 - 8 * size)) >> (64 - 8 * size);
        *ret_negative = value < 0;
        return (uint64_t)value;
    }
    p->at = first;
    pack_fail(p, "not an integer");
    return 0;
}

static uint64_t take_unsigned(struct pack *p, uint64_t max)
{
    const uint8_t *first = p->at;
    bool negative;
    uint64_t value = take_integer(p, &negative);
    if (p->wrong == NULL && (negative || value > max)) {
        p->at = first;
        pack_fail(p, "number out of range");
    }
    return p->wrong == NULL ? value : 0;
}

static int64_t take_signed(struct pack *p, int64_t min, int64_t max)
{
    const uint8_t *first = p->at;
    bool negative;
    uint64_t raw = take_integer(p, &negative);
    bool fits = negative ? (int64_t)raw >= min : raw <= (uint64_t)max;
    if (p->wrong == NULL && !fits) {
        p->at = first;
        pack_fail(p, "number out of range");
    }
    return p->wrong == NULL ? (int64_t)raw : 0;
}

/* Heads that say a size: up to `fix_max` inside the byte itself, else in 1, 2 or 4 bytes after. */
struct head {
    uint8_t fix;     /* the byte for size 0; 0: there is no such form */
    uint8_t fix_max; /* the largest size in the byte */
    uint8_t size8;   /* the byte before a size of 8 bits; 0: there is no such form */
    uint8_t size16;
    uint8_t size32;
    const char *wrong; /* what it is when it is something else */
};
static const struct head head_array = {0x90, 15, 0, 0xdc, 0xdd, "not an array"};
static const struct head head_text = {0xa0, 31, 0xd9, 0xda, 0xdb, "not a text"};
static const struct head head_bytes = {0, 0, 0xc4, 0xc5, 0xc6, "not bytes"};

static uint32_t take_head(struct pack *p, const struct head *head)
{
    const uint8_t *first = p->at;
    uint8_t byte = take_byte(p);
    if (p->wrong != NULL)
        return 0;
    if (head->fix != 0 && byte >= head->fix && byte <= head->fix + head->fix_max)
        return (uint32_t)(byte - head->fix);
    if (head->size8 != 0 && byte == head->size8)
        return (uint32_t)take_big_endian(p, 1);
    if (byte == head->size16)
        return (uint32_t)take_big_endian(p, 2);
    if (byte == head->size32)
        return (uint32_t)take_big_endian(p, 4);
    p->at = first;
    pack_fail(p, head->wrong);
    return 0;
}

void pack_fields(struct pack *p, uint32_t count)
{
    if (!p->reading) {
        msgpack_pack_array(&p->packer, count);
        return;
    }
    const uint8_t *first = p->at;
    if (take_head(p, &head_array) != count && p->wrong == NULL) {
        p->at = first;
        pack_fail(p, "wrong number of fields");
    }
}

void pack_head(struct pack *p, uint32_t *count, uint32_t required)
{
    if (!p->reading) {
        msgpack_pack_array(&p->packer, *count);
        return;
    }
    const uint8_t *first = p->at;
    uint32_t n = take_head(p, &head_array);
    /* Whatever a field is, it takes a byte at least. */
    if (p->wrong == NULL && (n < required || n > (size_t)(p->end - p->at))) {
        p->at = first;
        pack_fail(p, n < required ? "too few fields" : "cut short");
    }
    *count = p->wrong == NULL ? n : 0;
}

/* The values that follow a head of a map or array, or the bytes of a value that is neither. */
static uint64_t values_inside(struct pack *p, uint8_t head)
{
    static const uint8_t sizes[] = {/* 0xc0: nil, unused, false, true */ 0,
                                    0,
                                    0,
                                    0,
                                    /* 0xca: reals; 0xcc: integers */ 4,
                                    8,
                                    1,
                                    2,
                                    4,
                                    8,
                                    1,
                                    2,
                                    4,
                                    8,
                                    /* 0xd4: extensions of fixed size, with their type */ 2,
                                    3,
                                    5,
                                    9,
                                    17};
    if (head >= 0x80 && head <= 0x8f)
        return 2 * (uint64_t)(head & 0x0f);
    if (head >= 0x90 && head <= 0x9f)
        return head & 0x0f;
    if (head >= 0xdc && head <= 0xdf)
        return take_big_endian(p, head % 2 == 0 ? 2 : 4) << (head >= 0xde ? 1 : 0);
    uint64_t bytes = 0;
    if (head >= 0xa0 && head <= 0xbf)
        bytes = head & 0x1f;
    else if (head >= 0xc4 && head <= 0xc9) /* bytes; extensions, with their type */
        bytes = take_big_endian(p, (size_t)1 << (head - 0xc4) % 3) + (head >= 0xc7 ? 1 : 0);
    else if (head >= 0xd9 && head <= 0xdb)
        bytes = take_big_endian(p, (size_t)1 << (head - 0xd9));
    else if (head >= 0xc0 && head <= 0xd8)
        bytes = sizes[head - 0xc0 - (head >= 0xca ? 6 : 0)];
    take(p, bytes);
    return 0;
}

void pack_skip(struct pack *p)
{
    ASSERT(p->reading);
    for (uint64_t left = 1; left > 0 && p->wrong == NULL; left--) {
        uint64_t inside = values_inside(p, take_byte(p));
        if (inside > (size_t)(p->end - p->at))
            pack_fail(p, "cut short");
        else
            left += inside;
    }
}

void pack_count(struct pack *p, uint32_t *count, size_t max)
{
    if (!p->reading) {
        if (*count > max)
            pack_fail(p, "list too long");
        msgpack_pack_array(&p->packer, *count);
        return;
    }
    const uint8_t *first = p->at;
    uint32_t n = take_head(p, &head_array);
    /* Whatever an item is, it takes a byte at least. */
    if (p->wrong == NULL && (n > max || n > (size_t)(p->end - p->at))) {
        p->at = first;
        pack_fail(p, n > max ? "list too long" : "cut short");
    }
    *count = p->wrong == NULL ? n : 0;
}

void pack_u16(struct pack *p, uint16_t *value)
{
    if (p->reading)
        *value = (uint16_t)take_unsigned(p, UINT16_MAX);
    else
        msgpack_pack_uint16(&p->packer, *value);
}

void pack_u32(struct pack *p, uint32_t *value)
{
    if (p->reading)
        *value = (uint32_t)take_unsigned(p, UINT32_MAX);
    else
        msgpack_pack_uint32(&p->packer, *value);
}

void pack_u64(struct pack *p, uint64_t *value)
{
    if (p->reading)
        *value = take_unsigned(p, UINT64_MAX);
    else
        msgpack_pack_uint64(&p->packer, *value);
}

void pack_i32(struct pack *p, int32_t *value)
{
    if (p->reading)
        *value = (int32_t)take_signed(p, INT32_MIN, INT32_MAX);
    else
        msgpack_pack_int32(&p->packer, *value);
}

void pack_i64(struct pack *p, int64_t *value)
{
    if (p->reading)
        *value = take_signed(p, INT64_MIN, INT64_MAX);
    else
        msgpack_pack_int64(&p->packer, *value);
}

void pack_below(struct pack *p, unsigned *value, unsigned count)
{
    ASSERT(count > 0);
    if (p->reading) {
        *value = (unsigned)take_unsigned(p, count - 1);
        return;
    }
    if (*value >= count)
        pack_fail(p, "number out of range");
    msgpack_pack_uint32(&p->packer, *value);
}

void pack_bool(struct pack *p, bool *value)
{
    if (!p->reading) {
        if (*value)
            msgpack_pack_true(&p->packer);
        else
            msgpack_pack_false(&p->packer);
        return;
    }
    const uint8_t *first = p->at;
    uint8_t byte = take_byte(p);
    if (p->wrong == NULL && byte != 0xc2 && byte != 0xc3) {
        p->at = first;
        pack_fail(p, "not true or false");
    }
    *value = p->wrong == NULL && byte == 0xc3;
}

void pack_nil(struct pack *p)
{
    if (!p->reading) {
        msgpack_pack_nil(&p->packer);
        return;
    }
    const uint8_t *first = p->at;
    if (take_byte(p) != 0xc0 && p->wrong == NULL) {
        p->at = first;
        pack_fail(p, "not nil");
    }
}

void pack_real(struct pack *p, double *value)
{
    if (!p->reading) {
        msgpack_pack_double(&p->packer, *value);
        return;
    }
    const uint8_t *first = p->at;
    uint8_t byte = take_byte(p);
    if (p->wrong == NULL && byte != 0xcb) {
        p->at = first;
        pack_fail(p, "not a real number");
    }
    uint64_t bits = take_big_endian(p, sizeof bits);
    if (p->wrong != NULL)
        bits = 0;
    memcpy(value, &bits, sizeof bits);
}

const char *pack_text_view(struct pack *p, size_t *ret_size, size_t max)
{
    ASSERT(p->reading);
    const uint8_t *first = p->at;
    size_t size = take_head(p, &head_text);
    const char *text = (const char *)take(p, size);
    *ret_size = 0;
    if (text == NULL)
        return NULL;
    if (size > max || memchr(text, '\0', size) != NULL) {
        p->at = first;
        pack_fail(p, size > max ? "text too long" : "NUL in a text");
        return NULL;
    }
    *ret_size = size;
    return text;
}

void pack_text(struct pack *p, char *text, size_t size)
{
    if (!p->reading) {
        msgpack_pack_str_with_body(&p->packer, text, strnlen(text, size - 1));
        return;
    }
    size_t length;
    const char *from = pack_text_view(p, &length, size - 1);
    if (from != NULL)
        memcpy(text, from, length);
    text[length] = '\0';
}

void pack_string(struct pack *p, char **text, size_t max)
{
    size_t length;
    if (!p->reading) {
        const char *written = *text == NULL ? "" : *text;
        length = strlen(written);
        if (length > max)
            pack_fail(p, "text too long");
        msgpack_pack_str_with_body(&p->packer, written, length);
        return;
    }
    const char *from = pack_text_view(p, &length, max);
    if (from == NULL)
        return;
    *text = xcalloc(length + 1, 1);
    memcpy(*text, from, length);
}

void pack_bytes(struct pack *p, const void **bytes, size_t *size)
{
    if (!p->reading) {
        msgpack_pack_bin_with_body(&p->packer, *bytes, *size);
        return;
    }
    size_t length = take_head(p, &head_bytes);
    *bytes = take(p, length);
    *size = *bytes == NULL ? 0 : length;
}

enum pack_type pack_peek(const struct pack *p)
{
    ASSERT(p->reading);
    if (p->wrong != NULL || p->at == p->end)
        return PACK_OTHER;
    uint8_t byte = *p->at;
    if (byte <= 0x7f || byte >= 0xe0 || (byte >= 0xcc && byte <= 0xd3))
        return PACK_INTEGER;
    if ((byte >= 0xa0 && byte <= 0xbf) || (byte >= 0xd9 && byte <= 0xdb))
        return PACK_TEXT;
    if (byte >= 0xc4 && byte <= 0xc6)
        return PACK_BYTES;
    if (byte == 0xc2 || byte == 0xc3)
        return PACK_BOOL;
    return byte == 0xc0 ? PACK_NIL : byte == 0xcb ? PACK_REAL : PACK_OTHER;
}
