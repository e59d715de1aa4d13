/*
 * spec.c - defaults, copies and validation of job specs.
 */
#include "spec.h"

#include "field_form.h"

#include <stdio.h>
#include <string.h>

enum band band_of(uint32_t priority)
{
    if (priority < 100)
        return BAND_FREE;
    if (priority < 120)
        return BAND_BATCH;
    return priority < 360 ? BAND_PRODUCTION : BAND_MONITORING;
}

bool priority_is_prod(uint32_t priority)
{
    return band_of(priority) >= BAND_PRODUCTION;
}

bool priority_may_evict(uint32_t by, uint32_t victim)
{
    return victim < by && !priority_is_prod(victim);
}

int band_priority(const char *text)
{
    static const int priorities[BAND_COUNT] = {25, 100, 200, 400};
    int band = enumeration_parse(&bands, text);
    return band < 0 ? -1 : priorities[band];
}

void spec_init(struct job_spec *spec)
{
    record_init(&job_spec_record, spec);
    record_set_defaults(&job_spec_record, spec);
    record_set_defaults(&limit_record, &spec->limit);
}

void spec_release(struct job_spec *spec)
{
    record_release(&job_spec_record, spec);
}

void spec_copy(struct job_spec *to, const struct job_spec *from)
{
    record_copy(&job_spec_record, to, from);
}

uint32_t spec_shape_count(const struct job_spec *spec)
{
    return 1 + spec->alternative_count;
}

const struct resources *spec_shape(const struct job_spec *spec, uint32_t shape)
{
    ASSERT(shape <= spec->alternative_count);
    return shape == 0 ? &spec->limit : &spec->alternatives[shape - 1];
}

struct resources spec_limit_max(const struct job_spec *spec)
{
    struct resources max = spec->limit;
    for (uint32_t i = 0; i < spec->alternative_count; i++)
        max = resources_max(&max, &spec->alternatives[i]);
    return max;
}

static bool is_alphanumeric(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool name_valid(const char *name)
{
    size_t length = strnlen(name, CELL_NAME_MAX + 1);
    if (length == 0 || length > CELL_NAME_MAX || !is_alphanumeric(name[0]))
        return false;
    for (size_t i = 1; i < length; i++)
        if (!is_alphanumeric(name[i]) && strchr("._-", name[i]) == NULL)
            return false;
    return true;
}

static int name_check(const char *path, const char *name, struct err *err)
{
    if (name_valid(name))
        return 0;
    return err_set(err, ERR_INVALID,
                   "%s: \"%.80s\" is not a name: 1 to %d of a-z 0-9 . _ - and starting with a "
                   "letter or a digit",
                   path, name, CELL_NAME_MAX);
}

/* The port whose variable is name[0 .. length); NULL: none. */
static const char *port_of_variable(const struct words *ports, const char *name, size_t length)
{
    char variable[SPEC_PORT_VARIABLE_BYTES];
    const char *first = words_first(ports);
    if (first != NULL && length == 4 && memcmp(name, "PORT", 4) == 0)
        return first;
    for (const char *w = first; w != NULL; w = words_next(ports, w)) {
        spec_port_variable(w, variable);
        if (strlen(variable) == length && memcmp(variable, name, length) == 0)
            return w;
    }
    return NULL;
}

/* What a task is told by the machine cannot be its spec's as well: one of the two would be lost. */
static int variable_check(const struct job_spec *spec, const char *word, size_t length,
                          struct err *err)
{
    static const char *const own[] = {"BORG_CELL",      "BORG_JOB", "BORG_TASK",  "BORG_ATTEMPT",
                                      "BORG_MACHINE",   "BORG_DIR", "BORG_SHAPE", "BORG_CPU_MILLI",
                                      "BORG_RAM_BYTES", "BORG_GPUS"};
    for (size_t i = 0; i < ARRAY_SIZE(own); i++)
        if (strlen(own[i]) == length && memcmp(own[i], word, length) == 0)
            return err_set(
                err, ERR_INVALID,
                "task.env: %s is set by the machine that runs the task; use another name", own[i]);
    const char *port = port_of_variable(&spec->ports, word, length);
    if (port != NULL)
        return err_set(
            err, ERR_INVALID,
            "task.env: %.*s is the variable of the port \"%s\" in task.ports; rename one "
            "of them",
            (int)length, word, port);
    return 0;
}

/* Words of the form NAME=value, no name twice. */
static int map_check(const struct field *field, const struct words *words, struct err *err)
{
    for (const char *w = words_first(words); w != NULL; w = words_next(words, w)) {
        const char *equals = strchr(w, '=');
        if (equals == NULL || equals == w)
            return err_set(err, ERR_INVALID, "%s: \"%.80s\" is not of the form NAME=value",
                           field->name, w);
        size_t length = (size_t)(equals - w);
        for (const char *v = words_first(words); v != w; v = words_next(words, v))
            if (strncmp(v, w, length + 1) == 0)
                return err_set(err, ERR_INVALID, "%s: %.*s is there twice", field->name,
                               (int)MIN(length, (size_t)80), w);
    }
    return 0;
}

static int env_check(const struct job_spec *spec, struct err *err)
{
    const struct words *env = &spec->env;
    int rc = 0;
    for (const char *w = words_first(env); w != NULL && rc == 0; w = words_next(env, w))
        rc = variable_check(spec, w, (size_t)(strchr(w, '=') - w), err);
    return rc;
}

/* The names of a map that is no environment are names, and its values are short. */
static int map_names_check(const struct field *field, const struct words *words, struct err *err)
{
    for (const char *w = words_first(words); w != NULL; w = words_next(words, w)) {
        char name[CELL_NAME_MAX + 2];
        const char *equals = strchr(w, '=');
        str_copy(name, MIN(sizeof name, (size_t)(equals - w) + 1), w);
        int rc = name_check(field->name, name, err);
        if (rc != 0)
            return rc;
        if (strlen(equals + 1) > ATTRIBUTE_VALUE_MAX)
            return err_set(err, ERR_INVALID, "%s.%s: has %zu bytes, at most %d are allowed",
                           field->name, name, strlen(equals + 1), ATTRIBUTE_VALUE_MAX);
    }
    return 0;
}

static int maps_check(const struct job_spec *spec, struct err *err)
{
    int rc = 0;
    for (uint32_t i = 0; i < job_spec_record.count && rc == 0; i++) {
        const struct field *field = &job_spec_record.fields[i];
        const struct words *words = (const void *)((const char *)spec + field->offset);
        if (field->form == FORM_MAP || field->form == FORM_ENV)
            rc = map_check(field, words, err);
        if (field->form == FORM_MAP && rc == 0)
            rc = map_names_check(field, words, err);
    }
    return rc == 0 ? env_check(spec, err) : rc;
}

void spec_port_variable(const char *port, char to[SPEC_PORT_VARIABLE_BYTES])
{
    size_t at = (size_t)snprintf(to, SPEC_PORT_VARIABLE_BYTES, "PORT_");
    for (; *port != '\0' && at + 1 < SPEC_PORT_VARIABLE_BYTES; port++) {
        char c = *port == '-' || *port == '.' ? '_' : *port;
        to[at++] = c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
    }
    to[at] = '\0';
}

static int ports_check(const struct job_spec *spec, struct err *err)
{
    const struct words *ports = &spec->ports;
    char variable[SPEC_PORT_VARIABLE_BYTES], other[SPEC_PORT_VARIABLE_BYTES];
    for (const char *w = words_first(ports); w != NULL; w = words_next(ports, w)) {
        int rc = name_check("task.ports", w, err);
        if (rc != 0)
            return rc;
        spec_port_variable(w, variable);
        for (const char *v = words_first(ports); v != w; v = words_next(ports, v)) {
            if (strcmp(v, w) == 0)
                return err_set(err, ERR_INVALID, "task.ports: \"%s\" is there twice", w);
            spec_port_variable(v, other);
            if (strcmp(variable, other) == 0)
                return err_set(err, ERR_INVALID,
                               "task.ports: \"%s\" and \"%s\" are one variable, %s; rename one of "
                               "them",
                               v, w, variable);
        }
    }
    for (uint32_t i = 0; i < spec_shape_count(spec) && !spec->is_alloc_set; i++)
        if (spec_shape(spec, i)->v[RES_PORTS] != ports->count)
            return err_set(err, ERR_INVALID,
                           "task.resources.ports: %" PRId64 " is not the number of task.ports, %u",
                           spec_shape(spec, i)->v[RES_PORTS], ports->count);
    return 0;
}

static int limit_check(const struct job_spec *spec, const char *path, const struct resources *limit,
                       struct err *err)
{
    char within[40];
    snprintf(within, sizeof within, "%s.", path);
    int rc = record_check(limit_record_of(spec->is_alloc_set), limit, within, err);
    for (enum resource r = RES_NAMED; r < RES_COUNT && rc == 0; r++) {
        const char *name = resource_name(r, &spec->resource_names);
        if (limit->v[r] < 0 || limit->v[r] > RESOURCE_AMOUNT_MAX)
            return err_set(err, ERR_INVALID, "%s.%s: %" PRId64 " is not between 0 and %" PRId64,
                           path, name, limit->v[r], RESOURCE_AMOUNT_MAX);
        if (limit->v[r] > 0 && name[0] == '\0')
            return err_set(err, ERR_INVALID, "%s: an amount has no name", path);
    }
    if (rc != 0)
        return rc;
    rc = devices_need_valid(limit->v[RES_GPU], err);
    if (rc != 0)
        (void)err_wrap(err, "%s.gpu", path);
    return rc;
}

/* A shape that is nowhere smaller than a better one never fits where that does not. */
static int shapes_check(const struct job_spec *spec, struct err *err)
{
    int rc = resource_names_valid(&spec->resource_names, err);
    if (rc != 0)
        (void)err_wrap(err, "task.resources");
    if (rc != 0)
        return rc;
    if (spec->alternative_count == 0)
        return limit_check(spec, "task.resources", &spec->limit, err);
    if (spec->is_alloc_set)
        return err_set(err, ERR_INVALID, "task.resources: an alloc has one shape, not %u",
                       spec->alternative_count + 1);
    if (spec->alloc_set[0] != '\0')
        return err_set(err, ERR_INVALID,
                       "task.resources: tasks of an alloc set's jobs have one shape, not %u",
                       spec->alternative_count + 1);
    for (uint32_t i = 0; i < spec_shape_count(spec); i++) {
        char path[32];
        snprintf(path, sizeof path, "task.resources[%u]", i);
        rc = limit_check(spec, path, spec_shape(spec, i), err);
        if (rc != 0)
            return rc;
        for (uint32_t j = 0; j < i; j++)
            if (resources_fit(spec_shape(spec, j), spec_shape(spec, i)))
                return err_set(err, ERR_INVALID,
                               "%s: asks for no less of anything than [%u], which is preferred to "
                               "it: it would never be chosen",
                               path, j);
    }
    return 0;
}

static int command_check(const struct job_spec *spec, struct err *err)
{
    if (spec->is_alloc_set || (spec->argv.count > 0 && spec->argv.bytes[0] != '\0'))
        return 0;
    return err_set(err, ERR_INVALID, "task.command: is missing; say what to run");
}

/* An alloc set has no command and lies in no other. */
static int alloc_check(const struct job_spec *spec, struct err *err)
{
    if (spec->is_alloc_set && spec->argv.count + spec->env.count + spec->ports.count > 0)
        return err_set(err, ERR_INVALID,
                       "alloc: runs nothing by itself; command, env and ports belong to the jobs "
                       "that name it as their alloc_set");
    if (spec->is_alloc_set && spec->alloc_set[0] != '\0')
        return err_set(err, ERR_INVALID, "alloc_set: an alloc set lies in no other");
    return spec->alloc_set[0] == '\0' ? 0 : name_check("alloc_set", spec->alloc_set, err);
}

/* Packed, a word takes at most 5 bytes more than its text and the other fields 1,024. */
static int size_check(const struct job_spec *spec, struct err *err)
{
    uint64_t bytes = clauses_size(&spec->constraints) + 1024;
    for (uint32_t i = 0; i < job_spec_record.count; i++) {
        const struct field *field = &job_spec_record.fields[i];
        const struct words *words = (const void *)((const char *)spec + field->offset);
        if (field->type == FIELD_WORDS)
            bytes += words->size + UINT64_C(5) * words->count;
    }
    if (bytes > SPEC_BYTES_MAX)
        return err_set(err, ERR_INVALID,
                       "task.command, task.env: %" PRIu64 " bytes are too many, task.constraints "
                       "included, %d are allowed; put long texts into a file",
                       bytes, SPEC_BYTES_MAX);
    return 0;
}

static int spreads_check(const struct job_spec *spec, struct err *err)
{
    for (uint32_t i = 0; i < spec->spread_count; i++) {
        const struct spread *s = &spec->spreads[i];
        char path[64];
        snprintf(path, sizeof path, "task.spread[%u].by", i);
        int rc = name_check(path, s->by, err);
        if (rc != 0)
            return rc;
        if (s->max == 0 && s->weight == 0)
            return err_set(err, ERR_INVALID,
                           "task.spread[%u]: says neither max nor weight, one is needed", i);
        for (uint32_t j = 0; j < i; j++)
            if (strcmp(spec->spreads[j].by, s->by) == 0)
                return err_set(err, ERR_INVALID, "task.spread[%u].by: \"%s\" is there twice", i,
                               s->by);
    }
    return 0;
}

/* What the table says of each field by itself, and the two numbers that depend on others. */
static int fields_check(const struct job_spec *spec, struct err *err)
{
    if (spec->alternative_count >= SPEC_SHAPES_MAX)
        return err_set(err, ERR_INVALID, "task.resources: %u shapes are too many, at most %d",
                       spec->alternative_count + 1, SPEC_SHAPES_MAX);
    int rc = record_check(&job_spec_record, spec, "", err);
    if (rc != 0)
        return rc;
    if (spec->replicas == 0 && !spec->every_machine)
        return err_set(err, ERR_INVALID, "replicas: 0 is not between 1 and %d",
                       CELL_TASKS_PER_JOB_MAX);
    if (spec->backoff_max_ms < spec->backoff_ms)
        return err_set(err, ERR_INVALID, "task.max_backoff: is less than task.backoff");
    return 0;
}

static int every_machine_check(const struct job_spec *spec, struct err *err)
{
    const char *path = spec->gang                   ? "gang"
                       : spec->spread_count > 0     ? "task.spread"
                       : spec->alloc_set[0] != '\0' ? "alloc_set"
                       : spec->is_alloc_set         ? "alloc"
                                                    : NULL;
    for (uint32_t i = 0; path == NULL && i < spec->constraints.count; i++)
        path = clause_has_company(&spec->constraints.items[i]) ? "task.constraints: company" : NULL;
    if (!spec->every_machine)
        return 0;
    uint64_t units = clauses_units(&spec->constraints);
    if (path == NULL && units > SPEC_SYSTEM_UNITS_MAX)
        return err_set(err, ERR_INVALID,
                       "task.constraints: take %" PRIu64 " units to judge a machine, at most %d in "
                       "a job that runs on every machine (a term takes 8, a value 1, a state of a "
                       "regular expression 16): ask for less",
                       units, SPEC_SYSTEM_UNITS_MAX);
    if (path == NULL)
        return 0;
    return err_set(err, ERR_INVALID,
                   "%s: has no meaning in a job that runs on every machine; leave it out", path);
}

static int gang_check(const struct job_spec *spec, struct err *err)
{
    if (!spec->gang || spec->replicas <= CMD_PLACEMENTS_MAX)
        return 0;
    return err_set(err, ERR_INVALID,
                   "replicas: %u are too many for a gang, which starts in one step: at most %d; "
                   "ask for fewer and larger tasks",
                   spec->replicas, CMD_PLACEMENTS_MAX);
}

static int spec_check(const struct job_spec *spec, struct err *err)
{
    int rc = name_check("name", spec->name, err);
    if (rc == 0 && spec->user[0] != '\0')
        rc = name_check("user", spec->user, err);
    if (rc == 0)
        rc = fields_check(spec, err);
    if (rc == 0)
        rc = alloc_check(spec, err);
    if (rc == 0)
        rc = command_check(spec, err);
    if (rc == 0)
        rc = shapes_check(spec, err);
    if (rc == 0)
        rc = ports_check(spec, err);
    if (rc == 0)
        rc = maps_check(spec, err);
    if (rc == 0)
        rc = clauses_valid(&spec->constraints, err);
    if (rc == 0)
        rc = size_check(spec, err);
    if (rc == 0)
        rc = every_machine_check(spec, err);
    if (rc == 0)
        rc = gang_check(spec, err);
    return rc == 0 ? spreads_check(spec, err) : rc;
}

/* Allocs have some fields of tasks under another path. */
static void alloc_path(struct err *err)
{
    static const char task[] = "task", alloc[] = "alloc";
    for (uint32_t i = 0; i < job_spec_record.count; i++) {
        const struct field *field = &job_spec_record.fields[i];
        if ((field->flags & FIELD_IN_ALLOC) == 0 ||
            strncmp(err->msg, field->name, strlen(field->name)) != 0)
            continue;
        char rest[ERR_MSG_MAX];
        str_copy(rest, sizeof rest, err->msg + strlen(task));
        snprintf(err->msg, sizeof err->msg, "%s%s", alloc, rest);
    }
}

int spec_valid(const struct job_spec *spec, struct err *err)
{
    int rc = spec_check(spec, err);
    if (rc != 0 && err != NULL && spec->is_alloc_set)
        alloc_path(err);
    return rc;
}

uint32_t spec_backoff_ms(const struct job_spec *spec, uint32_t failures)
{
    ASSERT(failures >= 1);
    uint64_t wait = spec->backoff_ms;
    for (uint32_t i = 1; i < failures && wait > 0 && wait < spec->backoff_max_ms; i++)
        wait *= 2;
    return (uint32_t)MIN(wait, (uint64_t)spec->backoff_max_ms);
}
