/*
 * hostile.h - damaged copies of bytes, and a memory limit for their readers.
 */
#ifndef TEST_HOSTILE_H
#define TEST_HOSTILE_H

#include "buf.h"
#include "random_cmd.h"

#include <sys/resource.h>

enum { HOSTILE_MEMORY_BYTES = 512 * 1024 * 1024 };

/* RLIMIT_AS cannot be used under AddressSanitizer; there, one allocation of this size aborts. */
static inline const char *hostile_asan_options(void)
{
    return "max_allocation_size_mb=64:allocator_may_return_null=0";
}

static inline void hostile_limit_memory(void)
{
#ifndef __SANITIZE_ADDRESS__
    struct rlimit limit = {HOSTILE_MEMORY_BYTES, HOSTILE_MEMORY_BYTES};
    ASSERT(setrlimit(RLIMIT_AS, &limit) == 0);
#endif
}

/*
 * Return a damaged copy of `from` on the heap, allocated with its exact size so that reads beyond
 * it are detected: a few bytes are flipped or replaced by heads of huge lists, or the tail is cut.
 * The caller frees it.
 */
static inline uint8_t *hostile_copy(struct random *r, const struct buf *from, size_t *ret_size)
{
    static const uint8_t heads[] = {0xdc, 0xdd, 0xdb, 0xc6, 0xcf, 0xd3, 0xff, 0x9f, 0xc1, 0xc0};
    size_t size = random_below(r, 4) == 0 ? random_below(r, (uint32_t)from->size + 1) : from->size;
    uint8_t *bytes = xcalloc(size + (size == 0), 1);
    memcpy(bytes, from->bytes, size);
    for (uint32_t n = 1 + random_below(r, 4); n > 0 && size > 0; n--) {
        size_t at = random_below(r, (uint32_t)size);
        /* Half of the changes hit the beginning, where most of the structure is. */
        at = random_below(r, 2) == 0 ? at % 24 % size : at;
        if (random_below(r, 2) == 0)
            bytes[at] ^= (uint8_t)(1U << random_below(r, 8));
        else
            bytes[at] = heads[random_below(r, ARRAY_SIZE(heads))];
        if (bytes[at] == 0xdd && at + 5 <= size)
            memset(bytes + at + 1, 0xff, 4);
    }
    *ret_size = size;
    return bytes;
}

#endif
