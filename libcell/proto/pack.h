/*
 * pack.h - one walk over the fields of a struct that serves both ends: writing and reading msgpack.
 *
 * A `struct pack` either writes to a buffer (msgpack-c) or reads bytes (by hand, because nothing
 * may be allocated for what is not there). What walks over the fields of a struct (record_pack.h)
 * is called for both directions and never changes the struct when writing.
 *
 * Errors stick: after the first mistake every further read does nothing, and pack_end() tells it.
 * So field functions need no checks, but must not trust a value they read unless pack_ok(). Writing
 * has the same limits as reading and fails in the same way; it never dies of a value. Who cannot
 * refuse any more (an answer) sends what was written, and who reads it refuses it.
 * The caller zeroes a struct before it is read.
 */
#ifndef CELL_PACK_H
#define CELL_PACK_H

#include "buf.h"
#include "err.h"

#include <msgpack/pack.h>

struct pack {
    bool reading;
    struct buf *to;         /* writing: where to */
    msgpack_packer packer;  /* writing */
    const uint8_t *start;   /* reading: the first byte */
    const uint8_t *at;      /* reading: the next byte */
    const uint8_t *end;     /* reading: behind the last byte */
    unsigned format;        /* writing: fields of later ones are left out */
    bool strict;            /* reading: what this release does not know is a mistake */
    bool newer;             /* reading: a later release wrote it, or so it seems */
    const char *wrong;      /* the first mistake; NULL so far */
    const uint8_t *mistake; /* reading: where it is */
};

void pack_to(struct pack *p, struct buf *to);
void pack_from(struct pack *p, const void *bytes, size_t size);
static inline bool pack_ok(const struct pack *p)
{
    return p->wrong == NULL;
}
/* Bytes written to the buffer or read so far. */
size_t pack_position(const struct pack *p);
/* Note a mistake unless there is one already. What is written after one is of no use. */
void pack_fail(struct pack *p, const char *why);
/* Reading: everything was read and right, or ERR_CORRUPT naming `what`, or ERR_STATE: it says what
 * only a later release knows. Writing: everything is within its limits, or ERR_LIMIT. */
int pack_end(const struct pack *p, const char *what, struct err *err) MUST_USE;

/* The head of an array of exactly `count` fields. */
void pack_fields(struct pack *p, uint32_t count);
/* The head of a record, which another release may have written: reading refuses fewer fields than
 * `required` and sets *count to the number found. */
void pack_head(struct pack *p, uint32_t *count, uint32_t required);
/* Reading: go past one value of whatever kind, in time that is bounded by its bytes. */
void pack_skip(struct pack *p);
/* The head of a list: how many there are, at most `max`; reading refuses more than bytes left. */
void pack_count(struct pack *p, uint32_t *count, size_t max);

void pack_u16(struct pack *p, uint16_t *value);
void pack_u32(struct pack *p, uint32_t *value);
void pack_u64(struct pack *p, uint64_t *value);
void pack_i32(struct pack *p, int32_t *value);
void pack_i64(struct pack *p, int64_t *value);
void pack_bool(struct pack *p, bool *value);
void pack_real(struct pack *p, double *value);
/* 0, 1, ... count - 1. */
void pack_below(struct pack *p, unsigned *value, unsigned count);
/* Text in an array of `size` bytes, NUL included; `pack_text(p, x.name, sizeof x.name)`. */
void pack_text(struct pack *p, char *text, size_t size);
/* Text of at most `max` bytes on the heap; NULL is written as "". */
void pack_string(struct pack *p, char **text, size_t max);
/* Bytes, borrowed from what is read. */
void pack_bytes(struct pack *p, const void **bytes, size_t *size);

/* Reading: the text that follows, borrowed and not terminated; no NUL is in it. NULL on mistakes.
 */
const char *pack_text_view(struct pack *p, size_t *ret_size, size_t max);
/* Reading: what kind of value comes next. */
enum pack_type { PACK_NIL, PACK_BOOL, PACK_INTEGER, PACK_REAL, PACK_TEXT, PACK_BYTES, PACK_OTHER };
enum pack_type pack_peek(const struct pack *p);
void pack_nil(struct pack *p);

#endif
