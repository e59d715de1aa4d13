/*
 * words.h - a list of words in one run of bytes.
 */
#ifndef CELL_WORDS_H
#define CELL_WORDS_H

#include "base.h"

/* A list of words, one after another, each with its NUL. Owns its bytes. */
struct words {
    char *bytes;
    uint32_t size;  /* bytes, NULs included */
    uint32_t count; /* words */
};
void words_add(struct words *words, const char *word);
void words_release(struct words *words);
struct words words_copy(const struct words *words);
bool words_same(const struct words *a, const struct words *b);
/* Are the bytes `count` words? What was handed in may be damaged. */
bool words_whole(const struct words *words);
/* Walk: `for (const char *w = words_first(&x); w != NULL; w = words_next(&x, w))` */
const char *words_first(const struct words *words);
const char *words_next(const struct words *words, const char *word);

#endif
