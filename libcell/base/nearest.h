/*
 * nearest.h - which known word was meant by one that is not known.
 */
#ifndef CELL_NEAREST_H
#define CELL_NEAREST_H

#include "base.h"

/* Of the words in `known` (count of them) the one that `word` is most likely meant to be, or NULL.
 */
const char *word_nearest(const char *word, const char *const *known, size_t count);

#endif
