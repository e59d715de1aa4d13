/*
 * jobfile_yaml.c - walk libyaml's documents and build the same in JSON.
 */
#include "jobfile_yaml.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct walk {
    yaml_document_t *document;
    size_t node_count;
    struct err *err;
};

static const char digits[] = "0123456789";

/* -?(0|[1-9][0-9]*) of at most 18 digits: what a 64-bit number gives back as it was written. */
static bool is_plain_integer(const char *p)
{
    size_t sign = *p == '-', n = strspn(p + sign, digits);
    return n > 0 && n <= 18 && p[sign + n] == '\0' && (p[sign] != '0' || (n == 1 && sign == 0));
}

/* +5, 007, -0: digits that a number would not give back. They are text, as people mean who write a
 * zip code or a file mode. */
static bool is_digits_as_text(const char *p)
{
    size_t sign = *p == '-' || *p == '+', n = strspn(p + sign, digits);
    return n > 0 && p[sign + n] == '\0' && (*p == '+' || (p[sign] == '0' && n + sign > 1));
}

/* [-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)? */
static bool is_number(const char *p)
{
    p += *p == '-' || *p == '+';
    size_t whole = strspn(p, digits), fraction = 0;
    p += whole;
    if (*p == '.') {
        fraction = strspn(p + 1, digits);
        p += 1 + fraction;
    }
    if (whole + fraction > 0 && (*p == 'e' || *p == 'E')) {
        p++;
        p += *p == '-' || *p == '+';
        size_t exponent = strspn(p, digits);
        if (exponent == 0)
            return false;
        p += exponent;
    }
    return whole + fraction > 0 && *p == '\0';
}

static bool is_one_of(const char *text, const char *a, const char *b, const char *c)
{
    return strcmp(text, a) == 0 || strcmp(text, b) == 0 || strcmp(text, c) == 0;
}

static int node_error(struct walk *w, const yaml_node_t *node, const char *what)
{
    return err_set(w->err, ERR_INVALID, "line %zu: %s", node->start_mark.line + 1, what);
}

static int scalar_json(struct walk *w, const yaml_node_t *node, json_t **ret)
{
    const char *text = (const char *)node->data.scalar.value;
    const char *tag = (const char *)node->tag;
    bool plain = node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    /* libyaml gives every untagged scalar the tag of a string. */
    if (tag != NULL && strcmp(tag, YAML_STR_TAG) != 0)
        return node_error(w, node, "tags (!...) are not understood here");
    if (strlen(text) != node->data.scalar.length)
        return node_error(w, node, "text with a NUL byte");
    if (plain &&
        (text[0] == '\0' || is_one_of(text, "null", "Null", "NULL") || strcmp(text, "~") == 0))
        *ret = json_null();
    else if (plain && is_one_of(text, "true", "True", "TRUE"))
        *ret = json_true();
    else if (plain && is_one_of(text, "false", "False", "FALSE"))
        *ret = json_false();
    else if (plain && is_plain_integer(text))
        *ret = json_integer(strtoll(text, NULL, 10));
    else if (plain && is_number(text) && !is_digits_as_text(text))
        *ret = json_real(strtod(text, NULL)); /* NULL when it is beyond a double */
    else
        *ret = json_string(text);
    if (*ret == NULL)
        return node_error(w, node, "a number too large, or text that is not UTF-8");
    return 0;
}

static int node_json(struct walk *w, int id, size_t depth, json_t **ret);

static int sequence_json(struct walk *w, const yaml_node_t *node, size_t depth, json_t **ret)
{
    json_t *array = json_array();
    for (yaml_node_item_t *i = node->data.sequence.items.start; i < node->data.sequence.items.top;
         i++) {
        json_t *item;
        if (node_json(w, *i, depth, &item) < 0) {
            json_decref(array);
            return -(int)w->err->code;
        }
        json_array_append_new(array, item);
    }
    *ret = array;
    return 0;
}

static int pair_json(struct walk *w, const yaml_node_pair_t *pair, size_t depth, json_t *object)
{
    const yaml_node_t *key = yaml_document_get_node(w->document, pair->key);
    json_t *value;
    if (key->type != YAML_SCALAR_NODE)
        return node_error(w, key, "a key must be text");
    const char *name = (const char *)key->data.scalar.value;
    if (json_object_get(object, name) != NULL)
        return node_error(w, key, "the same key twice");
    if (node_json(w, pair->value, depth, &value) < 0)
        return -(int)w->err->code;
    if (json_object_set_new(object, name, value) < 0)
        return node_error(w, key, "a key that is not UTF-8");
    return 0;
}

static int mapping_json(struct walk *w, const yaml_node_t *node, size_t depth, json_t **ret)
{
    json_t *object = json_object();
    for (yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top;
         p++) {
        if (pair_json(w, p, depth, object) < 0) {
            json_decref(object);
            return -(int)w->err->code;
        }
    }
    *ret = object;
    return 0;
}

/* Aliases make the document a graph, even one with circles: both bounds are needed. */
static int node_json(struct walk *w, int id, size_t depth, json_t **ret)
{
    const yaml_node_t *node = yaml_document_get_node(w->document, id);
    if (++w->node_count > JOBFILE_YAML_NODES_MAX)
        return node_error(w, node, "too many values");
    if (depth > JOBFILE_YAML_DEPTH_MAX)
        return node_error(w, node, "nested too deeply");
    if (node->type == YAML_SCALAR_NODE)
        return scalar_json(w, node, ret);
    if (node->type == YAML_SEQUENCE_NODE)
        return sequence_json(w, node, depth + 1, ret);
    return mapping_json(w, node, depth + 1, ret);
}

/* The next document: 1 and *ret, or 0 at the end. */
static int document_json(yaml_parser_t *parser, json_t **ret, struct err *err)
{
    yaml_document_t document;
    if (!yaml_parser_load(parser, &document))
        return err_set(err, ERR_INVALID, "line %zu: %s%s%s", parser->problem_mark.line + 1,
                       parser->problem != NULL ? parser->problem : "cannot be read",
                       parser->context != NULL ? " " : "",
                       parser->context != NULL ? parser->context : "");
    struct walk w = {.document = &document, .err = err};
    int r = 0;
    if (yaml_document_get_root_node(&document) != NULL)
        r = node_json(&w, 1, 0, ret) < 0 ? -(int)err->code : 1;
    yaml_document_delete(&document);
    return r;
}

int jobfile_yaml(const char *text, json_t **ret, struct err *err)
{
    yaml_parser_t parser;
    json_t *all = json_array(), *one;
    int r;
    if (!yaml_parser_initialize(&parser))
        PANIC("out of memory for a YAML parser");
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, strlen(text));
    while ((r = document_json(&parser, &one, err)) > 0)
        json_array_append_new(all, one);
    yaml_parser_delete(&parser);
    if (r == 0 && json_array_size(all) == 0)
        r = err_set(err, ERR_INVALID, "is empty");
    if (r == 0)
        *ret = json_incref(json_array_size(all) == 1 ? json_array_get(all, 0) : all);
    json_decref(all);
    return r;
}
