/*
 * nearest.c - the distance between words.
 */
#include "nearest.h"

#include <string.h>

/* Levenshtein distance, bounded: words of a command line and of a spec are short. */
static size_t word_distance(const char *a, const char *b)
{
    enum { WORD_MAX = 40 };
    size_t la = strlen(a), lb = strlen(b);
    if (la > WORD_MAX || lb > WORD_MAX)
        return SIZE_MAX;
    size_t row[WORD_MAX + 1];
    for (size_t j = 0; j <= lb; j++)
        row[j] = j;
    for (size_t i = 1; i <= la; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= lb; j++) {
            size_t above = row[j];
            size_t change = diagonal + (a[i - 1] != b[j - 1]);
            row[j] = MIN(change, MIN(above, row[j - 1]) + 1);
            diagonal = above;
        }
    }
    return row[lb];
}

const char *word_nearest(const char *word, const char *const *known, size_t count)
{
    const char *best = NULL;
    size_t best_distance = strlen(word) <= 3 ? 2 : 3; /* farther ones are other words */
    for (size_t i = 0; i < count; i++) {
        size_t d = word_distance(word, known[i]);
        if (d < best_distance) {
            best = known[i];
            best_distance = d;
        }
    }
    return best;
}
