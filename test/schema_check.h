/*
 * schema_check.h - does a value match a JSON Schema? The keywords that ours uses, of draft 2020-12.
 *
 * A keyword that it does not know fails the test, so that none is passed over.
 */
#ifndef TEST_SCHEMA_CHECK_H
#define TEST_SCHEMA_CHECK_H

#include "testlib.h"

#include <jansson.h>
#include <math.h>
#include <regex.h>

static bool schema_accepts(const json_t *root, const json_t *schema, const json_t *v);

static bool schema_type_is(const char *type, const json_t *v)
{
    double d = json_number_value(v);
    if (strcmp(type, "integer") == 0)
        return json_is_number(v) && d == floor(d);
    return strcmp(type, "number") == 0    ? json_is_number(v)
           : strcmp(type, "string") == 0  ? json_is_string(v)
           : strcmp(type, "boolean") == 0 ? json_is_boolean(v)
           : strcmp(type, "object") == 0  ? json_is_object(v)
           : strcmp(type, "array") == 0   ? json_is_array(v)
                                          : (ck_abort_msg("type %s", type), false);
}

static bool schema_type(const json_t *types, const json_t *v)
{
    if (json_is_string(types))
        return schema_type_is(json_string_value(types), v);
    for (size_t i = 0; i < json_array_size(types); i++)
        if (schema_type_is(json_string_value(json_array_get(types, i)), v))
            return true;
    return false;
}

static bool schema_pattern(const char *pattern, const char *text)
{
    regex_t regex;
    ck_assert_int_eq(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
    bool matches = regexec(&regex, text, 0, NULL, 0) == 0;
    regfree(&regex);
    return matches;
}

static size_t schema_count(const json_t *root, const json_t *schemas, const json_t *v)
{
    size_t count = 0;
    for (size_t i = 0; i < json_array_size(schemas); i++)
        count += schema_accepts(root, json_array_get(schemas, i), v);
    return count;
}

static bool schema_object(const json_t *root, const json_t *schema, const json_t *v)
{
    const json_t *properties = json_object_get(schema, "properties");
    const json_t *additional = json_object_get(schema, "additionalProperties");
    const json_t *names = json_object_get(schema, "propertyNames");
    const json_t *required = json_object_get(schema, "required");
    const json_t *most = json_object_get(schema, "maxProperties");
    const char *key;
    json_t *item;
    json_object_foreach((json_t *)(uintptr_t)v, key, item)
    {
        json_t *name = json_string(key);
        bool good = names == NULL || schema_accepts(root, names, name);
        json_decref(name);
        const json_t *own = json_object_get(properties, key);
        own = own == NULL ? additional : own;
        if (!good || (own != NULL && !schema_accepts(root, own, item)))
            return false;
    }
    for (size_t i = 0; i < json_array_size(required); i++)
        if (json_object_get(v, json_string_value(json_array_get(required, i))) == NULL)
            return false;
    return most == NULL || json_object_size(v) <= (size_t)json_integer_value(most);
}

static bool schema_array(const json_t *root, const json_t *schema, const json_t *v)
{
    const json_t *items = json_object_get(schema, "items");
    const json_t *prefix = json_object_get(schema, "prefixItems");
    const json_t *least = json_object_get(schema, "minItems");
    const json_t *most = json_object_get(schema, "maxItems");
    size_t count = json_array_size(v);
    for (size_t i = 0; i < count; i++) {
        const json_t *own = i < json_array_size(prefix) ? json_array_get(prefix, i) : items;
        if (own != NULL && !schema_accepts(root, own, json_array_get(v, i)))
            return false;
        for (size_t j = 0; j < i && json_is_true(json_object_get(schema, "uniqueItems")); j++)
            if (json_equal(json_array_get(v, i), json_array_get(v, j)))
                return false;
    }
    return (least == NULL || count >= (size_t)json_integer_value(least)) &&
           (most == NULL || count <= (size_t)json_integer_value(most));
}

static bool schema_keyword(const json_t *root, const json_t *schema, const char *word,
                           const json_t *rule, const json_t *v)
{
    static const char *const elsewhere[] = {
        "$schema",    "$defs",         "title",    "description", "default",
        "properties", "propertyNames", "items",    "prefixItems", "uniqueItems",
        "required",   "maxProperties", "minItems", "maxItems"};
    double d = json_number_value(v), bound = json_number_value(rule);
    size_t length = json_string_length(v), most = (size_t)json_integer_value(rule);
    if (strcmp(word, "additionalProperties") == 0)
        return !json_is_object(v) || schema_object(root, schema, v);
    if (strcmp(word, "type") == 0)
        return schema_type(rule, v) && (!json_is_object(v) || schema_object(root, schema, v)) &&
               (!json_is_array(v) || schema_array(root, schema, v));
    if (strcmp(word, "$ref") == 0)
        return schema_accepts(root, json_object_get(json_object_get(root, "$defs"), "job"), v);
    if (strcmp(word, "anyOf") == 0)
        return schema_count(root, rule, v) > 0;
    if (strcmp(word, "oneOf") == 0)
        return schema_count(root, rule, v) == 1;
    if (strcmp(word, "not") == 0)
        return !schema_accepts(root, rule, v);
    if (strcmp(word, "const") == 0)
        return json_equal(rule, v);
    if (strcmp(word, "minimum") == 0)
        return !json_is_number(v) || d >= bound;
    if (strcmp(word, "exclusiveMinimum") == 0)
        return !json_is_number(v) || d > bound;
    if (strcmp(word, "maximum") == 0)
        return !json_is_number(v) || d <= bound;
    if (strcmp(word, "minLength") == 0)
        return !json_is_string(v) || length >= most;
    if (strcmp(word, "maxLength") == 0)
        return !json_is_string(v) || length <= most;
    if (strcmp(word, "pattern") == 0)
        return !json_is_string(v) || schema_pattern(json_string_value(rule), json_string_value(v));
    if (strcmp(word, "enum") == 0) {
        for (size_t i = 0; i < json_array_size(rule); i++)
            if (json_equal(json_array_get(rule, i), v))
                return true;
        return false;
    }
    for (size_t i = 0; i < ARRAY_SIZE(elsewhere); i++)
        if (strcmp(word, elsewhere[i]) == 0)
            return true;
    ck_abort_msg("the keyword %s is not known", word);
    return false;
}

static bool schema_accepts(const json_t *root, const json_t *schema, const json_t *v)
{
    const char *word;
    json_t *rule;
    if (json_is_boolean(schema))
        return json_is_true(schema);
    if (json_object_get(schema, "required") != NULL && json_object_get(schema, "type") == NULL)
        return !json_is_object(v) || schema_object(root, schema, v);
    json_object_foreach((json_t *)(uintptr_t)schema, word, rule)
    {
        if (!schema_keyword(root, schema, word, rule, v))
            return false;
    }
    return true;
}

#endif
