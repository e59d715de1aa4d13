/*
 * jobfile_set.c - single values of a job spec: checked, and put where they belong.
 */
#include "jobfile_impl.h"
#include "quantity.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

/* 2^53: a double has all whole numbers below. */
#define ENV_INTEGER_MAX INT64_C(9007199254740992)

static const struct {
    const char *name;
    uint32_t priority;
} bands[] = {{"free", 25}, {"batch", 100}, {"production", 200}, {"monitoring", 400}};

void problem(struct check *c, const char *path, const char *fmt, ...)
{
    static const char shapes[] = "task.resources";
    char msg[ERR_MSG_MAX], at[128];
    va_list args;
    va_start(args, fmt);
    vsnprintf(msg, sizeof msg, fmt, args);
    va_end(args);
    if (c->problem_count++ >= JOBFILE_PROBLEMS_MAX)
        return;
    if (c->shape[0] != '\0' && strncmp(path, shapes, strlen(shapes)) == 0) {
        snprintf(at, sizeof at, "%s%s%s", shapes, c->shape, path + strlen(shapes));
        path = at;
    }
    if (path[0] == '\0' && c->prefix[0] != '\0') /* of the whole job: "[1]: ..." */
        buf_printf(c->problems, "%.*s: %s\n", (int)strlen(c->prefix) - 1, c->prefix, msg);
    else
        buf_printf(c->problems, "%s%s%s%s\n", c->prefix, path, path[0] != '\0' ? ": " : "", msg);
}

const char *kind_text(const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a boolean";
    case JSON_NULL:
        return "null";
    }
    UNREACHABLE("json type");
}

/* A number as people write it, for the parsers of quantities and for messages. Of a fraction 15
 * digits: 0.1 + 0.2 is 0.3 to who wrote it. */
static void number_print(char to[32], const json_t *v)
{
    double d = json_number_value(v);
    if (json_is_integer(v))
        snprintf(to, 32, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
    else if (d == floor(d) && fabs(d) < 1e18)
        snprintf(to, 32, "%.0f", d);
    else
        snprintf(to, 32, "%.15g", d);
}

/* A number or a string as text; false (and a problem) when it is neither. */
static bool text_of(struct check *c, const struct field *f, const json_t *v, char number[32],
                    const char **ret)
{
    *ret = number;
    if (json_is_number(v))
        number_print(number, v);
    else if (json_is_string(v))
        *ret = json_string_value(v);
    else
        problem(c, f->path, "must be a string or a number, not %s", kind_text(v));
    return json_is_number(v) || json_is_string(v);
}

static void u32_put(struct check *c, const struct field *f, int64_t value, const char *given)
{
    if (value < f->min || value > f->max)
        problem(c, f->path, "%s is not between %" PRId64 " and %" PRId64, given, f->min, f->max);
    else
        *(uint32_t *)(void *)((char *)c->spec + f->offset) = (uint32_t)value;
}

void integer_set(struct check *c, const struct field *f, const json_t *v)
{
    char text[32];
    double d = json_number_value(v);
    number_print(text, v);
    if (!json_is_number(v))
        problem(c, f->path, "must be a number, not %s", kind_text(v));
    else if (d != floor(d))
        problem(c, f->path, "%s is not a whole number", text);
    else
        u32_put(c, f, d < -1 ? -1 : d > 1e15 ? INT64_MAX : (int64_t)d, text);
}

int jobfile_band_priority(const char *text)
{
    for (size_t i = 0; i < ARRAY_SIZE(bands); i++)
        if (strcmp(text, bands[i].name) == 0)
            return (int)bands[i].priority;
    return -1;
}

void replicas_set(struct check *c, const struct field *f, const json_t *v)
{
    const char *text = json_string_value(v);
    c->spec->every_machine = text != NULL && strcmp(text, "every-machine") == 0;
    if (c->spec->every_machine)
        c->spec->replicas = 0; /* the cell counts its machines */
    else if (text != NULL)
        problem(c, f->path, "\"%.60s\" is neither a number nor every-machine", text);
    else
        integer_set(c, f, v);
}

void priority_set(struct check *c, const struct field *f, const json_t *v)
{
    if (!json_is_string(v)) {
        integer_set(c, f, v);
        return;
    }
    int priority = jobfile_band_priority(json_string_value(v));
    if (priority >= 0) {
        c->spec->priority = (uint32_t)priority;
        return;
    }
    problem(c, f->path, "\"%.60s\" is none of free, batch, production, monitoring, nor a number",
            json_string_value(v));
}

void choice_set(struct check *c, const struct field *f, const json_t *v)
{
    if (!json_is_string(v)) {
        problem(c, f->path, "must be a string (%s), not %s", f->text, kind_text(v));
        return;
    }
    int value = f->parse(json_string_value(v));
    if (value < 0)
        problem(c, f->path, "\"%.60s\" is not %s", json_string_value(v), f->text);
    else
        *(uint32_t *)(void *)((char *)c->spec + f->offset) = (uint32_t)value;
}

void boolean_set(struct check *c, const struct field *f, const json_t *v)
{
    if (!json_is_boolean(v))
        problem(c, f->path, "must be true or false, not %s", kind_text(v));
    else
        *(bool *)((char *)c->spec + f->offset) = json_is_true(v);
}

_Static_assert(sizeof(enum appclass) == sizeof(uint32_t), "choice_set() writes 32 bits");

_Static_assert((int)BACKOFF_MS_MAX == 3600000 && (int)GRACE_MS_MAX == 3600000, "1h, as told");

void quantity_set(struct check *c, const struct field *f, const json_t *v)
{
    char number[32];
    const char *text;
    int64_t value = 0;
    struct err err;
    if (!text_of(c, f, v, number, &text))
        return;
    int r = f->type == FIELD_MILLI   ? quantity_parse_milli(text, &value, &err)
            : f->type == FIELD_BYTES ? quantity_parse_bytes(text, &value, &err)
                                     : quantity_parse_ms(text, &value, &err);
    if (r < 0)
        problem(c, f->path, "%s", err.msg);
    else if (f->type == FIELD_MS && value > f->max)
        problem(c, f->path, "%s is more than 1h", text);
    else if (f->type == FIELD_MS)
        u32_put(c, f, value, text);
    else if (value < f->min)
        problem(c, f->path, f->min > 0 ? "must be more than 0" : "must not be negative");
    else if (value > f->max)
        problem(c, f->path, "%s is more than any machine has", text);
    else
        *(int64_t *)(void *)((char *)c->spec + f->offset) = value;
}

void name_set(struct check *c, const struct field *f, const json_t *v)
{
    if (!json_is_string(v))
        problem(c, f->path, "must be a string, not %s", kind_text(v));
    else if (!name_valid(json_string_value(v)))
        problem(c, f->path, "\"%.80s\" is not a name: %s", json_string_value(v), f->text);
    else
        str_copy((char *)c->spec + f->offset, sizeof c->spec->name, json_string_value(v));
}

void command_set(struct check *c, const struct field *f, const json_t *v)
{
    if (json_is_string(v)) {
        if (json_string_length(v) == 0)
            problem(c, f->path, "is empty");
        words_add(&c->spec->argv, "/bin/sh");
        words_add(&c->spec->argv, "-c");
        words_add(&c->spec->argv, json_string_value(v));
        return;
    }
    size_t count = json_array_size(v);
    if (!json_is_array(v))
        problem(c, f->path, "must be %s, not %s", f->text, kind_text(v));
    else if (count == 0)
        problem(c, f->path, "is empty");
    else if (count > SPEC_ARGS_MAX)
        problem(c, f->path, "has %zu words, at most %d are allowed", count, SPEC_ARGS_MAX);
    for (size_t i = 0; i < count && count <= SPEC_ARGS_MAX; i++) {
        const json_t *word = json_array_get(v, i);
        char path[64];
        snprintf(path, sizeof path, "%s[%zu]", f->path, i);
        if (!json_is_string(word))
            problem(c, path, "must be a string, not %s", kind_text(word));
        else if (i == 0 && json_string_length(word) == 0)
            problem(c, path, "is empty");
        else
            words_add(&c->spec->argv, json_string_value(word));
    }
}

static bool env_name_valid(const char *name)
{
    size_t n = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789");
    return n > 0 && name[n] == '\0' && !(name[0] >= '0' && name[0] <= '9');
}

/* Numbers are doubles in Jsonnet and 64 bits in JSON: only small whole ones surely have the digits
 * that were written. */
static bool number_keeps_digits(const json_t *v)
{
    json_int_t n = json_integer_value(v);
    return json_is_integer(v) && n < ENV_INTEGER_MAX && n > -ENV_INTEGER_MAX;
}

void env_set(struct check *c, const struct field *f, const json_t *v)
{
    const char *key;
    json_t *value;
    if (!json_is_object(v)) {
        problem(c, f->path, "must be an %s, not %s", f->text, kind_text(v));
        return;
    }
    if (json_object_size(v) > SPEC_ENV_MAX) {
        problem(c, f->path, "has %zu variables, at most %d are allowed", json_object_size(v),
                SPEC_ENV_MAX);
        return;
    }
    json_object_foreach((json_t *)(uintptr_t)v, key, value)
    {
        CLEANUP(buf_release) struct buf entry = {0};
        char path[128], number[32];
        snprintf(path, sizeof path, "%s.%.100s", f->path, key);
        if (!env_name_valid(key))
            problem(c, path, "is not a variable's name: letters, digits and _, no digit first");
        else if (json_is_object(value) || json_is_array(value) || json_is_null(value))
            problem(c, path, "must be a string, a number or a boolean, not %s", kind_text(value));
        else if (json_is_number(value) && !number_keeps_digits(value))
            problem(c, path,
                    "a fraction, or more than 15 digits: write it as a string (\"...\"), a number "
                    "may lose digits");
        number_print(number, value);
        buf_printf(&entry, "%s=%s", key,
                   json_is_string(value)    ? json_string_value(value)
                   : json_is_boolean(value) ? (json_is_true(value) ? "true" : "false")
                                            : number);
        words_add(&c->spec->env, buf_text(&entry));
    }
}

static bool words_have(const struct words *words, const char *word)
{
    for (const char *w = words_first(words); w != NULL; w = words_next(words, w)) {
        if (strcmp(w, word) == 0)
            return true;
    }
    return false;
}

void ports_set(struct check *c, const struct field *f, const json_t *v)
{
    size_t count = json_array_size(v);
    if (!json_is_array(v))
        problem(c, f->path, "must be an array of names, not %s", kind_text(v));
    else if (count > SPEC_PORTS_MAX)
        problem(c, f->path, "has %zu names, at most %d are allowed", count, SPEC_PORTS_MAX);
    for (size_t i = 0; i < count && count <= SPEC_PORTS_MAX; i++) {
        const json_t *name = json_array_get(v, i);
        char path[64];
        snprintf(path, sizeof path, "%s[%zu]", f->path, i);
        if (!json_is_string(name))
            problem(c, path, "must be a name (the cell chooses the numbers), not %s",
                    kind_text(name));
        else if (!name_valid(json_string_value(name)))
            problem(c, path, "\"%.80s\" is not a name: [a-z0-9._-], at most 63",
                    json_string_value(name));
        else if (words_have(&c->spec->ports, json_string_value(name)))
            problem(c, path, "\"%s\" is there twice", json_string_value(name));
        else
            words_add(&c->spec->ports, json_string_value(name));
    }
    c->spec->limit.v[RES_PORTS] = c->spec->ports.count;
    for (uint32_t i = 0; i < c->spec->alternative_count; i++)
        c->spec->alternatives[i].v[RES_PORTS] = c->spec->ports.count;
}

/* Whether some machine offers it the cell knows. */
void named_set(struct check *c, const char *parent, const char *name, const json_t *v)
{
    char path[160];
    double d = json_number_value(v);
    snprintf(path, sizeof path, "%s.%.100s", parent, name);
    if (!json_is_number(v) || d != floor(d) || d < 0 || d > (double)RESOURCE_AMOUNT_MAX) {
        problem(c, path,
                "none of cpu, ram, disk, gpu; what a cell's machines name is counted in "
                "whole numbers");
        return;
    }
    enum resource r = strlen(name) > RESOURCE_NAME_MAX
                          ? RES_COUNT
                          : resource_names_put(&c->spec->resource_names, name);
    if (r == RES_COUNT)
        problem(c, path, "one too many, or too long: %d are possible, of %d letters",
                RESOURCES_NAMED_MAX, RESOURCE_NAME_MAX);
    else
        c->spec->limit.v[r] = (int64_t)d;
}
