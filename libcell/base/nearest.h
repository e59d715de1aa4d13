/*
 * nearest.h - which known word was meant by one that is not known.
 */
#ifndef CELL_NEAREST_H
#define CELL_NEAREST_H

#include "base.h"

/* Return the known word that is closest to `word`; NULL: none is close. */
const char *word_nearest(const char *word, const char *const *known, size_t count);

#endif
