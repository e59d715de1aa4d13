/*
 * attributes.c - what a machine says of itself.
 */
#include "attributes.h"

#include "limits.h"
#include "spec.h"

#include <string.h>

/* Of a machine: "machine" is its name. */
static bool attribute_key_valid(const char *key)
{
    return name_valid(key) && strcmp(key, ATTRIBUTE_MACHINE) != 0;
}

bool attribute_value_valid(const char *value)
{
    size_t length = strnlen(value, ATTRIBUTE_VALUE_MAX + 1);
    size_t good = strspn(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                "._-+:/@~");
    return length >= 1 && length <= ATTRIBUTE_VALUE_MAX && good == length;
}

int attribute_parse(const char *text, char *ret_key, const char **ret_value, struct err *err)
{
    const char *equals = strchr(text, '=');
    size_t length = equals == NULL ? 0 : (size_t)(equals - text);
    str_copy(ret_key, MIN(length, (size_t)CELL_NAME_MAX) + 1, text);
    if (equals == NULL || length > CELL_NAME_MAX || !name_valid(ret_key))
        return err_set(err, ERR_INVALID,
                       "\"%.80s\" is not KEY=VALUE with a key of 1 to %d of a-z 0-9 . _ - that "
                       "starts with a letter or a digit",
                       text, CELL_NAME_MAX);
    if (!attribute_key_valid(ret_key))
        return err_set(err, ERR_INVALID,
                       "\"%.80s\": \"machine\" is the machine's name and cannot be set", text);
    if (!attribute_value_valid(equals + 1))
        return err_set(err, ERR_INVALID,
                       "\"%.80s\": a value is 1 to %d letters, digits and . _ - + : / @ ~", text,
                       ATTRIBUTE_VALUE_MAX);
    *ret_value = equals + 1;
    return 0;
}

/* Below, at or above `key`, as strcmp() says it. */
static int key_compare(const char *word, const char *key)
{
    size_t length = strcspn(word, "=");
    int order = strncmp(word, key, length);
    return order != 0 ? order : key[length] == '\0' ? 0 : -1;
}

const char *attributes_get(const struct words *attributes, const char *key)
{
    for (const char *w = words_first(attributes); w != NULL; w = words_next(attributes, w))
        if (key_compare(w, key) == 0)
            return w + strcspn(w, "=") + 1;
    return NULL;
}

static void add(struct words *to, const char *key, const char *value)
{
    char word[CELL_NAME_MAX + ATTRIBUTE_VALUE_MAX + 2];
    size_t length = strlen(key);
    ASSERT(length + strlen(value) + 2 <= sizeof word);
    str_copy(word, sizeof word, key);
    word[length] = '=';
    str_copy(word + length + 1, sizeof word - length - 1, value);
    words_add(to, word);
}

void attributes_put(struct words *attributes, const char *key, const char *value)
{
    struct words sorted = {0};
    bool added = false;
    for (const char *w = words_first(attributes); w != NULL; w = words_next(attributes, w)) {
        int order = key_compare(w, key);
        if (!added && order >= 0)
            add(&sorted, key, value);
        added |= order >= 0;
        if (order != 0)
            words_add(&sorted, w);
    }
    if (!added)
        add(&sorted, key, value);
    words_release(attributes);
    *attributes = sorted;
}

int attributes_valid(const struct words *attributes, struct err *err)
{
    char key[CELL_NAME_MAX + 1], before[CELL_NAME_MAX + 1] = "";
    const char *value;
    if (!words_whole(attributes))
        return err_set(err, ERR_INVALID, "attributes: the list is damaged");
    if (attributes->count > MACHINE_ATTRIBUTES_MAX)
        return err_set(err, ERR_INVALID, "attributes: %u are too many, at most %d are allowed",
                       attributes->count, MACHINE_ATTRIBUTES_MAX);
    for (const char *w = words_first(attributes); w != NULL; w = words_next(attributes, w)) {
        int rc = attribute_parse(w, key, &value, err);
        if (rc != 0) {
            (void)err_wrap(err, "attributes");
            return rc;
        }
        if (strcmp(before, key) >= 0)
            return err_set(err, ERR_INVALID, "attributes: \"%s\" is there twice or out of order",
                           key);
        str_copy(before, sizeof before, key);
    }
    return 0;
}
