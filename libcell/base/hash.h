/*
 * hash.h - 64-bit mixing for maps and digests. Replicas compare digests, so it never changes.
 */
#ifndef CELL_HASH_H
#define CELL_HASH_H

#include "base.h"

/* The finalizer of splitmix64: a bijection in which every input bit reaches every output bit. */
static inline uint64_t hash_u64(uint64_t x)
{
    x ^= x >> 30;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 27;
    x *= UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static inline uint64_t hash_add(uint64_t hash, uint64_t value)
{
    return hash_u64(hash + UINT64_C(0x9e3779b97f4a7c15) + value);
}

uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t size);
uint64_t hash_text(uint64_t hash, const char *text);

#endif
