/*
 * words.c - a list of words in one run of bytes.
 */
#include "words.h"

#include <stdlib.h>
#include <string.h>

void words_add(struct words *words, const char *word)
{
    size_t size = strlen(word) + 1;
    ASSERT(size <= UINT32_MAX - words->size);
    words->bytes = xrealloc(words->bytes, words->size + size, 1);
    memcpy(words->bytes + words->size, word, size);
    words->size += (uint32_t)size;
    words->count++;
}

void words_release(struct words *words)
{
    free(words->bytes);
    *words = (struct words){0};
}

struct words words_copy(const struct words *words)
{
    struct words copy = {.size = words->size, .count = words->count};
    if (words->size > 0) {
        copy.bytes = xcalloc(words->size, 1);
        memcpy(copy.bytes, words->bytes, words->size);
    }
    return copy;
}

const char *words_first(const struct words *words)
{
    return words->count == 0 ? NULL : words->bytes;
}

const char *words_next(const struct words *words, const char *word)
{
    const char *next = word + strlen(word) + 1;
    return next < words->bytes + words->size ? next : NULL;
}

bool words_same(const struct words *a, const struct words *b)
{
    return a->count == b->count && a->size == b->size &&
           (a->size == 0 || memcmp(a->bytes, b->bytes, a->size) == 0);
}

bool words_whole(const struct words *words)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < words->size; i++)
        found += words->bytes[i] == '\0';
    return found == words->count && (words->size == 0 || words->bytes[words->size - 1] == '\0');
}
