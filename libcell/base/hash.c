/*
 * hash.c - hashing of byte strings.
 */
#include "hash.h"

#include <string.h>

uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t size)
{
    const unsigned char *p = bytes;
    hash = hash_add(hash, size);
    for (; size >= 8; size -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        hash = hash_add(hash, word);
    }
    if (size > 0) {
        uint64_t word = 0;
        memcpy(&word, p, size);
        hash = hash_add(hash, word);
    }
    return hash;
}

uint64_t hash_text(uint64_t hash, const char *text)
{
    return hash_bytes(hash, text, strlen(text));
}
