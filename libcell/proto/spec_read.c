/*
 * spec_read.c - jobs from JSON: objects and their members, by the table of fields.
 *
 * A mistake does not end the reading: a person wants to hear of all of them at once.
 */
#include "spec_json_impl.h"

#include "nearest.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void spec_problem(struct spec_reader *r, const char *fmt, ...)
{
    char msg[ERR_MSG_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(msg, sizeof msg, fmt, args);
    va_end(args);
    if (r->problem_count++ >= SPEC_PROBLEMS_MAX)
        return;
    buf_printf(r->problems, "%s%s%s\n", r->path, r->path[0] != '\0' ? ": " : "", msg);
}

size_t spec_enter(struct spec_reader *r, const char *member)
{
    size_t at = strlen(r->path);
    snprintf(r->path + at, sizeof r->path - at, "%s%.100s", at > 0 ? "." : "", member);
    return at;
}

size_t spec_enter_item(struct spec_reader *r, size_t index)
{
    size_t at = strlen(r->path);
    snprintf(r->path + at, sizeof r->path - at, "[%zu]", index);
    return at;
}

void spec_leave(struct spec_reader *r, size_t to)
{
    r->path[to] = '\0';
}

const char *json_kind_text(const json_t *v)
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

static bool is_limit(const struct record *record)
{
    return record == &limit_record || record == &alloc_limit_record;
}

/* A member that is no field: the commonest mistakes are a wrong letter and one brace too few. */
static void unknown_tell(struct spec_reader *r, const struct record *record, const char *group,
                         const char *key)
{
    enum { KNOWN_MAX = 64 };
    char names[KNOWN_MAX][sizeof((struct spec_child *)0)->name], path[SPEC_PATH_MAX];
    const char *known[KNOWN_MAX];
    size_t count = 0;
    struct spec_child child = {0};
    while (count < KNOWN_MAX && spec_child_next(record, group, &child)) {
        str_copy(names[count], sizeof names[0], child.name);
        known[count] = names[count];
        count++;
    }
    bool is_job = record == &job_spec_record || is_limit(record);
    const char *near = word_nearest(key, known, count);
    const char *elsewhere = is_job ? spec_elsewhere(key, path) : NULL;
    size_t at = spec_enter(r, key);
    if (is_job && group[0] == '\0' && strcmp(key, "user") == 0)
        spec_problem(r, "comes from the certificate (--user NAME), not from the spec");
    else if (elsewhere != NULL)
        spec_problem(r, "unknown field; it belongs at %s", elsewhere);
    else if (near != NULL)
        spec_problem(r, "unknown field; did you mean %s%s%s?", group, group[0] != '\0' ? "." : "",
                     near);
    else
        spec_problem(r, "unknown field; see borgctl help submit");
    spec_leave(r, at);
}

static void members_check(struct spec_reader *r, const struct record *record, void *item,
                          const char *group, const json_t *object)
{
    const char *key;
    json_t *value;
    char path[SPEC_PATH_MAX];
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        struct spec_child child = {0};
        bool known = false;
        while (!known && spec_child_next(record, group, &child))
            known = strcmp(child.name, key) == 0;
        if (known)
            continue;
        const char *elsewhere = is_limit(record) ? spec_elsewhere(key, path) : NULL;
        if (is_limit(record) && (elsewhere == NULL || strcmp(key, "NAME") == 0))
            spec_named_read(r, item, key, value);
        else
            unknown_tell(r, record, group, key);
    }
}

static void group_read(struct spec_reader *r, const struct record *record, void *item,
                       const char *group, const json_t *v)
{
    if (r->skip != NULL && strcmp(group, r->skip) == 0)
        return;
    if (v != NULL && !json_is_object(v))
        spec_problem(r, "must be an object, not %s", json_kind_text(v));
    else if (v != NULL)
        spec_object_read(r, record, item, group, v);
    else if (spec_group_required(record, group))
        spec_problem(r, "is missing: %s", spec_group_doc(group));
}

void spec_object_read(struct spec_reader *r, const struct record *record, void *item,
                      const char *group, const json_t *object)
{
    struct spec_child child = {0};
    members_check(r, record, item, group, object);
    while (spec_child_next(record, group, &child)) {
        const json_t *v = json_object_get(object, child.name);
        size_t at = spec_enter(r, child.name);
        if (child.leaf == NULL)
            group_read(r, record, item, child.group, v);
        else if (v != NULL)
            spec_value_read(r, child.leaf, item, v);
        else if (child.leaf->otherwise == NULL)
            spec_problem(r, "is missing: %s", child.leaf->doc);
        spec_leave(r, at);
    }
}

/* Each task has a port per name, whatever its shape. */
static void ports_count(struct job_spec *spec)
{
    if (spec->is_alloc_set)
        return;
    spec->limit.v[RES_PORTS] = spec->ports.count;
    for (uint32_t i = 0; i < spec->alternative_count; i++)
        spec->alternatives[i].v[RES_PORTS] = spec->ports.count;
}

static void job_read(struct spec_reader *r, const json_t *value, struct job_spec *ret)
{
    size_t before = r->problem_count;
    bool has_task = json_object_get(value, "task") != NULL;
    bool has_alloc = json_object_get(value, "alloc") != NULL;
    struct err err;
    spec_init(ret);
    if (!json_is_object(value)) {
        spec_problem(r, "a job is an object, not %s", json_kind_text(value));
        return;
    }
    r->spec = ret;
    ret->is_alloc_set = has_alloc && !has_task;
    r->skip = ret->is_alloc_set ? "task" : "alloc";
    if (has_task && has_alloc) {
        size_t at = spec_enter(r, "alloc");
        spec_problem(r, "a job has either task or alloc: an alloc set runs nothing by itself");
        spec_leave(r, at);
    }
    spec_object_read(r, &job_spec_record, ret, "", value);
    ports_count(ret);
    if (r->problem_count > before || spec_valid(ret, &err) == 0)
        return;
    /* The message begins with the path within the job. */
    char *colon = strstr(err.msg, ": ");
    size_t at = strlen(r->path);
    if (colon != NULL) {
        *colon = '\0';
        (void)spec_enter(r, err.msg);
    }
    spec_problem(r, "%s", colon == NULL ? err.msg : colon + 2);
    spec_leave(r, at);
}

static void names_check(struct spec_reader *r, const struct specs *specs)
{
    for (size_t i = 1; i < specs->job_count; i++) {
        const char *name = specs->jobs[i].name;
        size_t other = 0;
        while (other < i && strcmp(specs->jobs[other].name, name) != 0)
            other++;
        if (name[0] == '\0' || other == i)
            continue;
        snprintf(r->path, sizeof r->path, "[%zu].name", i);
        spec_problem(r, "\"%s\" is the name of [%zu] as well", name, other);
        spec_leave(r, 0);
    }
}

void specs_release(struct specs *specs)
{
    for (size_t i = 0; i < specs->job_count; i++)
        spec_release(&specs->jobs[i]);
    free(specs->jobs);
    *specs = (struct specs){0};
}

static int problems_end(const struct spec_reader *r, struct err *err)
{
    if (r->problem_count > SPEC_PROBLEMS_MAX)
        buf_printf(r->problems, "and %zu more\n", r->problem_count - SPEC_PROBLEMS_MAX);
    if (r->problem_count == 0)
        return 0;
    return err_set(err, ERR_INVALID, "has %zu mistake%s", r->problem_count,
                   r->problem_count == 1 ? "" : "s");
}

int spec_json_read(const json_t *value, struct job_spec *ret, struct buf *problems, struct err *err)
{
    struct spec_reader r = {.problems = problems};
    job_read(&r, value, ret);
    int rv = problems_end(&r, err);
    if (rv != 0)
        spec_release(ret);
    return rv;
}

int specs_json_read(const json_t *value, struct specs *ret, struct buf *problems, struct err *err)
{
    struct specs specs = {.is_array = json_is_array(value)};
    struct spec_reader r = {.problems = problems};
    size_t count = specs.is_array ? json_array_size(value) : 1;
    if (count == 0 || count > SPECS_MAX)
        return err_set(err, ERR_INVALID, "gives %zu jobs; 1 to %d are possible", count, SPECS_MAX);
    specs.jobs = xcalloc(count, sizeof *specs.jobs);
    for (; specs.job_count < count; specs.job_count++) {
        if (specs.is_array)
            (void)spec_enter_item(&r, specs.job_count);
        job_read(&r, specs.is_array ? json_array_get(value, specs.job_count) : value,
                 &specs.jobs[specs.job_count]);
        spec_leave(&r, 0);
    }
    names_check(&r, &specs);
    int rv = problems_end(&r, err);
    if (rv == 0)
        *ret = specs;
    else
        specs_release(&specs);
    return rv;
}
