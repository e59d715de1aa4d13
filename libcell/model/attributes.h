/*
 * attributes.h - what a machine says of itself: words "key=value", sorted by key, each key once.
 *
 * A key is a name; a value is 1 to ATTRIBUTE_VALUE_MAX of letters, digits and . _ - + : / @ ~, so
 * that it can be written in a constraint without quotes. "machine" is no key: as an attribute it
 * means the machine's name.
 */
#ifndef CELL_ATTRIBUTES_H
#define CELL_ATTRIBUTES_H

#include "err.h"
#include "words.h"

#define ATTRIBUTE_MACHINE "machine"

/* Set one, in its place; the caller has checked it. */
void attributes_put(struct words *attributes, const char *key, const char *value);
/* The value, NULL when there is none. */
const char *attributes_get(const struct words *attributes, const char *key);
/* Is "key=value" an attribute? Then split it. */
int attribute_parse(const char *text, char *ret_key /* CELL_NAME_MAX + 1 */, const char **ret_value,
                    struct err *err) MUST_USE;
bool attribute_value_valid(const char *value);
int attributes_valid(const struct words *attributes, struct err *err) MUST_USE;

#endif
