/*
 * jobfile.c - the schema of a job spec: one table that checks, fills in defaults and explains.
 *
 * A mistake does not end the check: a person wants to hear of all of them at once. Numbers come
 * from Jsonnet and are doubles; they become integers here, exactly or not at all.
 */
#include "jobfile.h"
#include "cli.h"
#include "quantity.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum field_type {
    FIELD_OBJECT,
    FIELD_NAME,
    FIELD_INTEGER,  /* uint32_t */
    FIELD_PRIORITY, /* a number or the name of a band */
    FIELD_CHOICE,   /* an enum, by text */
    FIELD_MILLI,    /* int64_t */
    FIELD_BYTES,    /* int64_t */
    FIELD_MS,       /* uint32_t */
    FIELD_COMMAND,
    FIELD_ENV,
    FIELD_PORTS,
    FIELD_CONSTRAINTS,
    FIELD_SPREAD
};

struct field {
    const char *path;
    enum field_type type;
    const char *otherwise; /* the default, as one writes it; NULL: required; "": nothing */
    size_t offset;         /* in struct job_spec */
    int64_t min, max;
    int (*parse)(const char *text); /* FIELD_CHOICE */
    const char *text;
};

#define AT(member) offsetof(struct job_spec, member)

static const struct field fields[] = {
    {"name", FIELD_NAME, NULL, AT(name), 0, 0, NULL,
     "[a-z0-9._-], at most 63, starting alphanumeric; unique in the cell"},
    {"priority", FIELD_PRIORITY, "batch", AT(priority), 0, PRIORITY_MAX, NULL,
     "0-450, or free (25), batch (100), production (200), monitoring (400)"},
    {"appclass", FIELD_CHOICE, "batch", AT(appclass), 0, 0, appclass_parse,
     "batch or latency-sensitive"},
    {"policy", FIELD_CHOICE, "stranding-aware", AT(policy), 0, 0, policy_parse,
     "best-fit, worst-fit or stranding-aware (pack, leaving no cpu without ram)"},
    {"replicas", FIELD_INTEGER, "1", AT(replicas), 1, CELL_TASKS_PER_JOB_MAX, NULL,
     "how many tasks, all alike"},
    {"max_disruptions", FIELD_INTEGER, "0", AT(disruptions_max), 0, CELL_TASKS_PER_JOB_MAX, NULL,
     "tasks that preemption and drains may have down at once; 0: no bound"},
    {"task", FIELD_OBJECT, NULL, 0, 0, 0, NULL, "what each task is"},
    {"task.command", FIELD_COMMAND, NULL, 0, 0, 0, NULL,
     "an array of words, or a string for /bin/sh -c"},
    {"task.env", FIELD_ENV, "", 0, 0, 0, NULL, "object of NAME: value"},
    {"task.resources", FIELD_OBJECT, "", 0, 0, 0, NULL, "the limit of each task"},
    {"task.resources.cpu", FIELD_MILLI, "100m", AT(limit.v[RES_CPU]), 1, RESOURCE_AMOUNT_MAX, NULL,
     "cpus: 2, 0.5 or \"500m\""},
    {"task.resources.ram", FIELD_BYTES, "128Mi", AT(limit.v[RES_RAM]), 1, RESOURCE_AMOUNT_MAX, NULL,
     "bytes: \"1Gi\", \"512Mi\", \"2G\" or a number"},
    {"task.resources.disk", FIELD_BYTES, "0", AT(limit.v[RES_DISK]), 0, RESOURCE_AMOUNT_MAX, NULL,
     "bytes, as ram"},
    {"task.ports", FIELD_PORTS, "", 0, 0, 0, NULL,
     "array of names; each task finds its port in $PORT_NAME"},
    {"task.constraints", FIELD_CONSTRAINTS, "", 0, 0, 0, NULL,
     "array, all must hold: \"rack = r1\", or {any: [...]}, or {prefer: ..., weight: 1-100}"},
    {"task.spread", FIELD_SPREAD, "", 0, 0, 0, NULL,
     "array of {by: an attribute or \"machine\", max: tasks per value, weight: 1-100}"},
    {"task.restart", FIELD_CHOICE, "on-failure", AT(restart), 0, 0, restart_parse,
     "on-failure, always or never"},
    {"task.max_failures", FIELD_INTEGER, "0", AT(failures_max), 0, UINT32_MAX, NULL,
     "failed attempts after which a task stays failed; 0: no bound"},
    {"task.backoff", FIELD_MS, "1s", AT(backoff_ms), 0, BACKOFF_MS_MAX, NULL,
     "wait after the first failure; doubles with each"},
    {"task.max_backoff", FIELD_MS, "5m", AT(backoff_max_ms), 0, BACKOFF_MS_MAX, NULL,
     "and never gets longer than this"},
    {"task.grace", FIELD_MS, "10s", AT(grace_ms), 0, GRACE_MS_MAX, NULL,
     "between SIGTERM and SIGKILL"},
};

static const struct {
    const char *name;
    uint32_t priority;
} bands[] = {{"free", 25}, {"batch", 100}, {"production", 200}, {"monitoring", 400}};

struct check {
    struct buf *problems;
    size_t problem_count;
    char prefix[24]; /* "[3]." in an array of jobs */
    struct job_spec *spec;
};

static void problem(struct check *c, const char *path, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void problem(struct check *c, const char *path, const char *fmt, ...)
{
    char msg[ERR_MSG_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(msg, sizeof msg, fmt, args);
    va_end(args);
    if (c->problem_count++ >= JOBFILE_PROBLEMS_MAX)
        return;
    if (path[0] == '\0' && c->prefix[0] != '\0') /* of the whole job: "[1]: ..." */
        buf_printf(c->problems, "%.*s: %s\n", (int)strlen(c->prefix) - 1, c->prefix, msg);
    else
        buf_printf(c->problems, "%s%s%s%s\n", c->prefix, path, path[0] != '\0' ? ": " : "", msg);
}

static const char *kind_text(const json_t *v)
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

/* A number as people write it, for the parsers of quantities and for messages. */
static void number_print(char to[32], double d)
{
    if (d == floor(d) && fabs(d) < 9e15)
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
        number_print(number, json_number_value(v));
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

static void integer_set(struct check *c, const struct field *f, const json_t *v)
{
    char text[32];
    double d = json_number_value(v);
    number_print(text, d);
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

static void priority_set(struct check *c, const struct field *f, const json_t *v)
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

static void choice_set(struct check *c, const struct field *f, const json_t *v)
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

_Static_assert(sizeof(enum appclass) == sizeof(uint32_t), "choice_set() writes 32 bits");

_Static_assert((int)BACKOFF_MS_MAX == 3600000 && (int)GRACE_MS_MAX == 3600000, "1h, as told");

static void quantity_set(struct check *c, const struct field *f, const json_t *v)
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

static void name_set(struct check *c, const struct field *f, const json_t *v)
{
    if (!json_is_string(v))
        problem(c, f->path, "must be a string, not %s", kind_text(v));
    else if (!name_valid(json_string_value(v)))
        problem(c, f->path, "\"%.80s\" is not a name: %s", json_string_value(v), f->text);
    else
        str_copy(c->spec->name, sizeof c->spec->name, json_string_value(v));
}

static void command_set(struct check *c, const struct field *f, const json_t *v)
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

static void env_set(struct check *c, const struct field *f, const json_t *v)
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
        number_print(number, json_number_value(value));
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

static void ports_set(struct check *c, const struct field *f, const json_t *v)
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
}

static void term_set(struct check *c, const char *path, const json_t *v, struct clause *clause)
{
    struct term term;
    struct err err;
    if (!json_is_string(v))
        problem(c, path, "must be a string like \"rack = r1\", not %s", kind_text(v));
    else if (term_parse(json_string_value(v), &term, &err) < 0)
        problem(c, path, "%s", err.msg);
    else
        clause_add(clause, term);
}

/* One term, or an array of which one is enough. */
static void any_set(struct check *c, const char *path, const json_t *v, struct clause *clause)
{
    if (!json_is_array(v)) {
        term_set(c, path, v, clause);
        return;
    }
    size_t count = json_array_size(v);
    if (count == 0 || count > SPEC_TERMS_MAX)
        problem(c, path, "has %zu alternatives, 1 to %d are possible", count, SPEC_TERMS_MAX);
    for (size_t i = 0; i < count && count <= SPEC_TERMS_MAX; i++) {
        char item[96];
        snprintf(item, sizeof item, "%.80s[%zu]", path, i);
        term_set(c, item, json_array_get(v, i), clause);
    }
}

/* A whole number from `min` to `max` at `key`, `otherwise` when it is not there. */
static uint32_t number_of(struct check *c, const char *path, const json_t *object, const char *key,
                          uint32_t max, uint32_t otherwise)
{
    const json_t *v = json_object_get(object, key);
    double d = json_number_value(v);
    char item[96];
    snprintf(item, sizeof item, "%.80s.%s", path, key);
    if (v == NULL)
        return otherwise;
    if (!json_is_number(v))
        problem(c, item, "must be a number, not %s", kind_text(v));
    else if (d != floor(d) || d < 1 || d > max)
        problem(c, item, "%.15g is not a whole number between 1 and %u", d, max);
    else
        return (uint32_t)d;
    return otherwise;
}

/* Nothing but these keys (NULL ends them) is in the object. */
static void keys_check(struct check *c, const char *path, const json_t *object,
                       const char *const *keys)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        size_t i = 0;
        char item[192];
        while (keys[i] != NULL && strcmp(keys[i], key) != 0)
            i++;
        snprintf(item, sizeof item, "%.80s.%.100s", path, key);
        if (keys[i] == NULL)
            problem(c, item, "unknown field; see borgctl help submit");
    }
}

static void constraint_set(struct check *c, const char *path, const json_t *v)
{
    static const char *const any_keys[] = {"any", NULL};
    static const char *const prefer_keys[] = {"prefer", "weight", NULL};
    const json_t *any = json_object_get(v, "any");
    const json_t *prefer = json_object_get(v, "prefer");
    char item[96];
    if (json_is_object(v) && prefer != NULL) {
        keys_check(c, path, v, prefer_keys);
        uint32_t weight = number_of(c, path, v, "weight", WEIGHT_MAX, WEIGHT_MAX / 2);
        snprintf(item, sizeof item, "%.80s.prefer", path);
        any_set(c, item, prefer, clauses_add(&c->spec->constraints, weight));
    } else if (json_is_object(v) && any != NULL) {
        keys_check(c, path, v, any_keys);
        snprintf(item, sizeof item, "%.80s.any", path);
        any_set(c, item, any, clauses_add(&c->spec->constraints, 0));
    } else if (json_is_object(v)) {
        problem(c, path, "has neither any nor prefer; see borgctl help submit");
    } else {
        term_set(c, path, v, clauses_add(&c->spec->constraints, 0));
    }
}

static void constraints_set(struct check *c, const struct field *f, const json_t *v)
{
    size_t count = json_array_size(v);
    if (!json_is_array(v))
        problem(c, f->path, "must be an array, not %s", kind_text(v));
    else if (count > SPEC_CLAUSES_MAX)
        problem(c, f->path, "has %zu entries, at most %d are allowed", count, SPEC_CLAUSES_MAX);
    for (size_t i = 0; i < count && count <= SPEC_CLAUSES_MAX; i++) {
        char path[64];
        snprintf(path, sizeof path, "%s[%zu]", f->path, i);
        constraint_set(c, path, json_array_get(v, i));
    }
}

static void spread_one_set(struct check *c, const char *path, const json_t *v)
{
    static const char *const keys[] = {"by", "max", "weight", NULL};
    struct spread *spread = &c->spec->spreads[c->spec->spread_count];
    const char *by = json_string_value(json_object_get(v, "by"));
    if (!json_is_object(v)) {
        problem(c, path, "must be an object {by, max or weight}, not %s", kind_text(v));
        return;
    }
    keys_check(c, path, v, keys);
    *spread = (struct spread){.max = number_of(c, path, v, "max", CELL_TASKS_PER_JOB_MAX, 0),
                              .weight = number_of(c, path, v, "weight", WEIGHT_MAX, 0)};
    char item[96];
    snprintf(item, sizeof item, "%.80s.by", path);
    if (by == NULL || !name_valid(by))
        problem(c, item, "must be the name of an attribute, or \"machine\"");
    else if (json_object_get(v, "max") == NULL && json_object_get(v, "weight") == NULL)
        problem(c, path, "says neither max nor weight, one is needed");
    else
        str_copy(spread->by, sizeof spread->by, by);
    c->spec->spread_count++;
}

static void spread_set(struct check *c, const struct field *f, const json_t *v)
{
    size_t count = json_array_size(v);
    if (!json_is_array(v))
        problem(c, f->path, "must be an array, not %s", kind_text(v));
    else if (count > SPEC_SPREADS_MAX)
        problem(c, f->path, "has %zu entries, at most %d are allowed", count, SPEC_SPREADS_MAX);
    for (size_t i = 0; i < count && count <= SPEC_SPREADS_MAX; i++) {
        char path[64];
        snprintf(path, sizeof path, "%s[%zu]", f->path, i);
        spread_one_set(c, path, json_array_get(v, i));
    }
}

static void field_set(struct check *c, const struct field *f, const json_t *v)
{
    switch (f->type) {
    case FIELD_OBJECT:
        if (!json_is_object(v))
            problem(c, f->path, "must be an object, not %s", kind_text(v));
        return;
    case FIELD_NAME:
        name_set(c, f, v);
        return;
    case FIELD_INTEGER:
        integer_set(c, f, v);
        return;
    case FIELD_PRIORITY:
        priority_set(c, f, v);
        return;
    case FIELD_CHOICE:
        choice_set(c, f, v);
        return;
    case FIELD_MILLI:
    case FIELD_BYTES:
    case FIELD_MS:
        quantity_set(c, f, v);
        return;
    case FIELD_COMMAND:
        command_set(c, f, v);
        return;
    case FIELD_ENV:
        env_set(c, f, v);
        return;
    case FIELD_PORTS:
        ports_set(c, f, v);
        return;
    case FIELD_CONSTRAINTS:
        constraints_set(c, f, v);
        return;
    case FIELD_SPREAD:
        spread_set(c, f, v);
        return;
    }
    UNREACHABLE("field type");
}

/* The part of a field's path below `parent` ("" for the job), NULL when it is not a child. */
static const char *field_name_in(const struct field *f, const char *parent)
{
    size_t n = strlen(parent);
    const char *name = f->path;
    if (n > 0) {
        if (strncmp(f->path, parent, n) != 0 || f->path[n] != '.')
            return NULL;
        name += n + 1;
    }
    return strchr(name, '.') == NULL ? name : NULL;
}

static const struct field *field_find(const char *parent, const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
        const char *known = field_name_in(&fields[i], parent);
        if (known != NULL && strcmp(known, name) == 0)
            return &fields[i];
    }
    return NULL;
}

/* A field of this name that stands elsewhere: the commonest mistake is one brace too few. */
static const char *field_elsewhere(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
        const char *dot = strrchr(fields[i].path, '.');
        if (strcmp(dot != NULL ? dot + 1 : fields[i].path, name) == 0)
            return fields[i].path;
    }
    return NULL;
}

static void field_unknown(struct check *c, const char *parent, const char *name)
{
    const char *names[ARRAY_SIZE(fields)];
    size_t count = 0;
    char path[160];
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
        const char *known = field_name_in(&fields[i], parent);
        if (known != NULL)
            names[count++] = known;
    }
    snprintf(path, sizeof path, "%s%s%.100s", parent, parent[0] != '\0' ? "." : "", name);
    const char *near = word_nearest(name, names, count);
    const char *elsewhere = field_elsewhere(name);
    if (strcmp(path, "user") == 0)
        problem(c, path, "comes from the certificate (--user NAME), not from the spec");
    else if (elsewhere != NULL)
        problem(c, path, "unknown field; it belongs at %s", elsewhere);
    else if (near != NULL)
        problem(c, path, "unknown field; did you mean \"%s\"?", near);
    else
        problem(c, path, "unknown field; see borgctl help submit");
}

static void default_set(struct check *c, const struct field *f)
{
    if (f->otherwise[0] == '\0')
        return;
    json_t *v = f->type == FIELD_INTEGER ? json_real(strtod(f->otherwise, NULL))
                                         : json_string(f->otherwise);
    field_set(c, f, v);
    json_decref(v);
}

static void object_check(struct check *c, const char *parent, const json_t *object)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        if (field_find(parent, key) == NULL)
            field_unknown(c, parent, key);
    }
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
        const struct field *f = &fields[i];
        const char *name = field_name_in(f, parent);
        if (name == NULL)
            continue;
        value = json_object_get(object, name);
        if (value != NULL)
            field_set(c, f, value);
        else if (f->otherwise == NULL)
            problem(c, f->path, "is missing: %s", f->text);
        else
            default_set(c, f);
        if (f->type == FIELD_OBJECT &&
            (value == NULL ? f->otherwise != NULL : json_is_object(value)))
            object_check(c, f->path, value);
    }
}

static void job_check(struct check *c, const json_t *value)
{
    size_t before = c->problem_count;
    struct err err;
    spec_init(c->spec);
    if (!json_is_object(value)) {
        problem(c, "", "a job is an object, not %s", kind_text(value));
        return;
    }
    object_check(c, "", value);
    if (c->spec->backoff_max_ms < c->spec->backoff_ms && c->problem_count == before)
        problem(c, "task.max_backoff", "is less than task.backoff");
    /* The user is stamped by the cell; any name will do for the check. */
    str_copy(c->spec->user, sizeof c->spec->user, "user");
    if (c->problem_count == before && spec_valid(c->spec, &err) < 0)
        problem(c, "", "%s", err.msg);
    c->spec->user[0] = '\0';
}

static void names_check(struct check *c, const struct jobfile *file)
{
    for (size_t i = 1; i < file->job_count; i++) {
        for (size_t j = 0; j < i; j++) {
            const char *name = file->jobs[i].name;
            if (name[0] == '\0' || strcmp(name, file->jobs[j].name) != 0)
                continue;
            snprintf(c->prefix, sizeof c->prefix, "[%zu].", i);
            problem(c, "name", "\"%s\" is the name of [%zu] as well", name, j);
            break;
        }
    }
}

int jobfile_check(const json_t *value, struct jobfile *ret, struct buf *problems, struct err *err)
{
    struct jobfile file = {.is_array = json_is_array(value)};
    struct check c = {.problems = problems};
    size_t count = file.is_array ? json_array_size(value) : 1;
    if (count == 0 || count > JOBFILE_JOBS_MAX)
        return err_set(err, ERR_INVALID, "gives %zu jobs; 1 to %d are possible", count,
                       JOBFILE_JOBS_MAX);
    file.jobs = xcalloc(count, sizeof *file.jobs);
    for (; file.job_count < count; file.job_count++) {
        if (file.is_array)
            snprintf(c.prefix, sizeof c.prefix, "[%zu].", file.job_count);
        c.spec = &file.jobs[file.job_count];
        job_check(&c, file.is_array ? json_array_get(value, file.job_count) : value);
    }
    names_check(&c, &file);
    if (c.problem_count == 0) {
        *ret = file;
        return 0;
    }
    if (c.problem_count > JOBFILE_PROBLEMS_MAX)
        buf_printf(problems, "and %zu more\n", c.problem_count - JOBFILE_PROBLEMS_MAX);
    jobfile_release(&file);
    return err_set(err, ERR_INVALID, "has %zu mistake%s", c.problem_count,
                   c.problem_count == 1 ? "" : "s");
}

int jobfile_load(const struct jobfile_source *source, struct jobfile *ret, struct buf *problems,
                 struct err *err)
{
    CLEANUP(buf_release) struct buf text = {0};
    json_error_t why;
    if (jobfile_eval(source, &text, problems, err) < 0)
        return -(int)err->code;
    /* All numbers as reals: Jsonnet has no others, and 1e20 must be a mistake with a path. */
    json_t *value = json_loads(buf_text(&text), JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, &why);
    if (value == NULL)
        return err_set(err, ERR_INVALID, "%s: its result cannot be read: %s",
                       jobfile_source_text(source), why.text);
    int r = jobfile_check(value, ret, problems, err);
    json_decref(value);
    return r < 0 ? err_wrap(err, "%s", jobfile_source_text(source)) : 0;
}

void jobfile_release(struct jobfile *file)
{
    for (size_t i = 0; i < file->job_count; i++)
        spec_release(&file->jobs[i]);
    free(file->jobs);
    *file = (struct jobfile){0};
}

static json_t *words_json(const struct words *words)
{
    json_t *array = json_array();
    for (const char *w = words_first(words); w != NULL; w = words_next(words, w))
        json_array_append_new(array, json_string(w));
    return array;
}

static json_t *env_json(const struct words *env)
{
    json_t *object = json_object();
    for (const char *w = words_first(env); w != NULL; w = words_next(env, w)) {
        char *name = xstrdup(w);
        char *equals = strchr(name, '=');
        if (equals != NULL) {
            *equals = '\0';
            json_object_set_new(object, name, json_string(equals + 1));
        }
        free(name);
    }
    return object;
}

static json_t *amount_json(void (*print)(struct buf *, int64_t), int64_t amount)
{
    CLEANUP(buf_release) struct buf text = {0};
    print(&text, amount);
    return json_string(buf_text(&text));
}

/* The term itself when it is the only one, else an array. */
static json_t *terms_json(const struct clause *clause)
{
    json_t *array = json_array();
    for (uint32_t i = 0; i < clause->term_count; i++) {
        CLEANUP(buf_release) struct buf text = {0};
        term_print(&text, &clause->terms[i]);
        json_array_append_new(array, json_string(buf_text(&text)));
    }
    if (clause->term_count != 1)
        return array;
    json_t *only = json_incref(json_array_get(array, 0));
    json_decref(array);
    return only;
}

static json_t *constraints_json(const struct clauses *clauses)
{
    json_t *array = json_array();
    for (uint32_t i = 0; i < clauses->count; i++) {
        const struct clause *clause = &clauses->items[i];
        json_t *terms = terms_json(clause), *item = terms;
        if (clause->weight != 0)
            item = json_pack("{s:o, s:I}", "prefer", terms, "weight", (json_int_t)clause->weight);
        else if (clause->term_count != 1)
            item = json_pack("{s:o}", "any", terms);
        json_array_append_new(array, item);
    }
    return array;
}

static json_t *spread_json(const struct job_spec *s)
{
    json_t *array = json_array();
    for (uint32_t i = 0; i < s->spread_count; i++) {
        json_t *item = json_pack("{s:s}", "by", s->spreads[i].by);
        if (s->spreads[i].max != 0)
            json_object_set_new(item, "max", json_integer(s->spreads[i].max));
        if (s->spreads[i].weight != 0)
            json_object_set_new(item, "weight", json_integer(s->spreads[i].weight));
        json_array_append_new(array, item);
    }
    return array;
}

json_t *jobfile_json(const struct job_spec *s)
{
    json_t *resources =
        json_pack("{s:o, s:o, s:o}", "cpu", amount_json(quantity_print_milli, s->limit.v[RES_CPU]),
                  "ram", amount_json(quantity_print_bytes, s->limit.v[RES_RAM]), "disk",
                  amount_json(quantity_print_bytes, s->limit.v[RES_DISK]));
    json_t *task = json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:I, s:o, s:o, s:o}", "command",
                             words_json(&s->argv), "env", env_json(&s->env), "resources", resources,
                             "ports", words_json(&s->ports), "constraints",
                             constraints_json(&s->constraints), "spread", spread_json(s), "restart",
                             restart_text(s->restart), "max_failures", (json_int_t)s->failures_max,
                             "backoff", amount_json(quantity_print_ms, s->backoff_ms),
                             "max_backoff", amount_json(quantity_print_ms, s->backoff_max_ms),
                             "grace", amount_json(quantity_print_ms, s->grace_ms));
    json_t *job = json_pack("{s:s, s:I, s:s, s:s, s:I, s:I, s:o}", "name", s->name, "priority",
                            (json_int_t)s->priority, "appclass", appclass_text(s->appclass),
                            "policy", policy_text(s->policy), "replicas", (json_int_t)s->replicas,
                            "max_disruptions", (json_int_t)s->disruptions_max, "task", task);
    ASSERT(job != NULL);
    return job;
}

void jobfile_help(FILE *to)
{
    fprintf(to, "fields of a job (default in brackets):\n");
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
        const struct field *f = &fields[i];
        const char *otherwise = f->otherwise == NULL ? "required" : f->otherwise;
        fprintf(to, "  %-22s %s%s%s%s\n", f->path, f->text, otherwise[0] != '\0' ? " [" : "",
                otherwise, otherwise[0] != '\0' ? "]" : "");
    }
    fprintf(to,
            "\n"
            "constraints: ATTRIBUTE OPERATOR [VALUE], about what `borgctl machines` shows\n"
            "  = !=  < <= > >=        the ordering ones compare whole numbers\n"
            "  in not-in              a list: \"rack in r1,r2\"\n"
            "  exists not-exists      no value: \"ssd exists\"\n"
            "  regex                  POSIX extended, of the whole value: \"kernel regex 6\\..*\"\n"
            "  A machine without the attribute satisfies only !=, not-in and not-exists;\n"
            "  \"machine = m1\" pins to a machine by its name. {prefer: TERM, weight: N} is a\n"
            "  wish, {any: [TERM, ...]} is met by one of them, and so is {prefer: [...]}.\n");
}
