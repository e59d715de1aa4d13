/*
 * jobfile.c - the schema of a job spec: one table that checks, fills in defaults and explains.
 *
 * A mistake does not end the check: a person wants to hear of all of them at once. Numbers come
 * from Jsonnet and are doubles; they become integers here, exactly or not at all.
 */
#include "cli.h"
#include "jobfile_impl.h"
#include "text.h"

#include <stdlib.h>
#include <string.h>

#define AT(member) offsetof(struct job_spec, member)

static const struct field fields[] = {
    {"name", FIELD_NAME, NULL, AT(name), 0, 0, NULL,
     "[a-z0-9._-], at most 63, starting alphanumeric; unique in the cell"},
    {"priority", FIELD_PRIORITY, "batch", AT(priority), 0, PRIORITY_MAX, NULL,
     "0-450, or free (25), batch (100), production (200), monitoring (400)"},
    {"appclass", FIELD_CHOICE, "batch", AT(appclass), 0, 0, appclass_parse,
     "batch or latency-sensitive"},
    {"policy", FIELD_CHOICE, "cell", AT(policy), 0, 0, policy_parse,
     "best-fit, worst-fit, stranding-aware, or cell: as borgctl cell policy says"},
    {"replicas", FIELD_REPLICAS, "1", AT(replicas), 1, CELL_TASKS_PER_JOB_MAX, NULL,
     "how many tasks, all alike, or 'every-machine': one on each that meets the constraints"},
    {"max_disruptions", FIELD_INTEGER, "0", AT(disruptions_max), 0, CELL_TASKS_PER_JOB_MAX, NULL,
     "tasks that drains, and preemption by your own jobs, may have down at once; 0: no bound"},
    {"gang", FIELD_BOOLEAN, "", AT(gang), 0, 0, NULL,
     "true: tasks that wait start all at once or not at all [false]"},
    {"alloc_set", FIELD_NAME, "", AT(alloc_set), 0, 0, NULL,
     "run inside the allocs of this job, and nowhere else; takes no quota beside it"},
    {"task", FIELD_KIND, "", 0, 0, 0, NULL, "what each task is; or alloc [required]"},
    {"task.command", FIELD_COMMAND, NULL, 0, 0, 0, NULL,
     "an array of words, or a string for /bin/sh -c"},
    {"task.env", FIELD_ENV, "", 0, 0, 0, NULL, "object of NAME: value"},
    {"task.resources", FIELD_SHAPES, "", 0, 0, 0, NULL,
     "the limit of each task; or an array of some that will do, the best first"},
    {"task.resources.cpu", FIELD_MILLI, "100m", AT(limit.v[RES_CPU]), 1, RESOURCE_AMOUNT_MAX, NULL,
     "cpus: 2, 0.5 or \"500m\""},
    {"task.resources.ram", FIELD_BYTES, "128Mi", AT(limit.v[RES_RAM]), 1, RESOURCE_AMOUNT_MAX, NULL,
     "bytes: \"1Gi\", \"512Mi\", \"2G\" or a number"},
    {"task.resources.disk", FIELD_BYTES, "0", AT(limit.v[RES_DISK]), 0, RESOURCE_AMOUNT_MAX, NULL,
     "bytes, as ram"},
    {"task.resources.gpu", FIELD_MILLI, "0", AT(limit.v[RES_GPU]), 0, RESOURCE_AMOUNT_MAX, NULL,
     "a share of one gpu (\"500m\"), or whole ones (2); told in $BORG_GPUS"},
    {"task.resources.NAME", FIELD_NAMED, "", 0, 0, 0, NULL,
     "how many of what the cell's machines offer by that name (borglet --resource)"},
    {"task.ports", FIELD_PORTS, "", 0, 0, 0, NULL,
     "array of names; each task finds its port in $PORT_NAME"},
    {"task.constraints", FIELD_CONSTRAINTS, "", 0, 0, 0, NULL,
     "array, all must hold: \"rack = r1\", or {any: [...]}, or {prefer: ..., weight: 1-100}"},
    {"task.spread", FIELD_SPREAD, "", 0, 0, 0, NULL,
     "array of {by: an attribute or \"machine\", max: tasks per value, weight: 1-100}"},
    {"task.restart", FIELD_CHOICE, "on-failure", AT(restart), 0, 0, restart_parse,
     "on-failure, always or never"},
    {"task.max_failures", FIELD_INTEGER, "0", AT(failures_max), 0, UINT32_MAX, NULL,
     "failed attempts in a row after which a task stays failed; 0: no bound. Only a service "
     "(restart always, or appclass latency-sensitive) that ran 10 minutes, and ten times "
     "max_backoff, begins again at 0"},
    {"task.backoff", FIELD_MS, "1s", AT(backoff_ms), 0, BACKOFF_MS_MAX, NULL,
     "wait after the first failure; doubles with each"},
    {"task.max_backoff", FIELD_MS, "5m", AT(backoff_max_ms), 0, BACKOFF_MS_MAX, NULL,
     "and never gets longer than this"},
    {"task.grace", FIELD_MS, "10s", AT(grace_ms), 0, GRACE_MS_MAX, NULL,
     "between SIGTERM and SIGKILL"},
    {"alloc", FIELD_KIND, "", 0, 0, 0, NULL,
     "in place of task: an alloc set, `replicas` times room for tasks of other jobs"},
    {"alloc.resources", FIELD_OBJECT, "", 0, 0, 0, NULL, "what each alloc reserves; as of a task:"},
    {"alloc.resources.cpu", FIELD_MILLI, "100m", AT(limit.v[RES_CPU]), 1, RESOURCE_AMOUNT_MAX, NULL,
     "cpus"},
    {"alloc.resources.ram", FIELD_BYTES, "128Mi", AT(limit.v[RES_RAM]), 1, RESOURCE_AMOUNT_MAX,
     NULL, "bytes"},
    {"alloc.resources.disk", FIELD_BYTES, "0", AT(limit.v[RES_DISK]), 0, RESOURCE_AMOUNT_MAX, NULL,
     "bytes"},
    {"alloc.resources.gpu", FIELD_MILLI, "0", AT(limit.v[RES_GPU]), 0, RESOURCE_AMOUNT_MAX, NULL,
     "a share of one, or whole ones"},
    {"alloc.resources.ports", FIELD_BYTES, "0", AT(limit.v[RES_PORTS]), 0, UINT16_MAX, NULL,
     "how many the tasks inside may have together"},
    {"alloc.resources.NAME", FIELD_NAMED, "", 0, 0, 0, NULL, "as task.resources.NAME"},
    {"alloc.constraints", FIELD_CONSTRAINTS, "", 0, 0, 0, NULL, "as task.constraints"},
    {"alloc.spread", FIELD_SPREAD, "", 0, 0, 0, NULL, "as task.spread"},
};

static void field_set(struct check *c, const struct field *f, const json_t *v)
{
    switch (f->type) {
    case FIELD_OBJECT:
    case FIELD_KIND:
        if (!json_is_object(v))
            problem(c, f->path, "must be an object, not %s", kind_text(v));
        return;
    case FIELD_SHAPES:
        if (!json_is_object(v) && !json_is_array(v))
            problem(c, f->path, "must be an object or an array of objects, not %s", kind_text(v));
        return;
    case FIELD_NAME:
        name_set(c, f, v);
        return;
    case FIELD_INTEGER:
        integer_set(c, f, v);
        return;
    case FIELD_REPLICAS:
        replicas_set(c, f, v);
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
    case FIELD_NAMED:
        problem(c, f->path, "stands for the name of what the cell's machines offer");
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
    case FIELD_BOOLEAN:
        boolean_set(c, f, v);
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
    json_t *v = f->type == FIELD_INTEGER || f->type == FIELD_REPLICAS
                    ? json_real(strtod(f->otherwise, NULL))
                    : json_string(f->otherwise);
    field_set(c, f, v);
    json_decref(v);
}

static void object_check(struct check *c, const char *parent, const json_t *object);

/* Each is checked as if it were the only one, where that one stands in the spec. */
static void shapes_check(struct check *c, const struct field *f, const json_t *shapes)
{
    size_t count = json_array_size(shapes);
    struct resources limits[SPEC_SHAPES_MAX];
    if (count < 1 || count > SPEC_SHAPES_MAX) {
        problem(c, f->path, "has %zu shapes; 1 to %d are possible", count, SPEC_SHAPES_MAX);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *shape = json_array_get(shapes, i);
        snprintf(c->shape, sizeof c->shape, "[%zu]", i);
        c->spec->limit = (struct resources){0}; /* what it does not name it does not get */
        if (json_is_object(shape))
            object_check(c, f->path, shape);
        else
            problem(c, f->path, "must be an object, not %s", kind_text(shape));
        limits[i] = c->spec->limit;
    }
    c->shape[0] = '\0';
    c->spec->limit = limits[0];
    c->spec->alternative_count = (uint32_t)count - 1;
    memcpy(c->spec->alternatives, limits + 1, (count - 1) * sizeof limits[0]);
}

static void object_check(struct check *c, const char *parent, const json_t *object)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        if (field_find(parent, key) != NULL)
            continue;
        bool resources = strstr(parent, ".resources") != NULL;
        if (resources && field_elsewhere(key) == NULL)
            named_set(c, parent, key, value);
        else
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
        bool given = value != NULL && json_is_object(value);
        bool is_object = f->type == FIELD_OBJECT || f->type == FIELD_SHAPES;
        if ((is_object && (given || (value == NULL && f->otherwise != NULL))) ||
            (f->type == FIELD_KIND && given))
            object_check(c, f->path, value);
        else if (f->type == FIELD_SHAPES && json_is_array(value))
            shapes_check(c, f, value);
    }
}

static void kind_check(struct check *c, const json_t *value)
{
    bool has_task = json_object_get(value, "task") != NULL;
    c->spec->is_alloc_set = json_object_get(value, "alloc") != NULL;
    if (has_task == c->spec->is_alloc_set)
        problem(c, has_task ? "alloc" : "task",
                has_task ? "a job has either task or alloc: an alloc set runs nothing by itself"
                         : "is missing: what each task is");
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
    kind_check(c, value);
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

/* Whole numbers that a real holds exactly become integers again. */
static json_t *integers_restore(json_t *value)
{
    const char *key;
    json_t *item;
    size_t i;
    double d = json_real_value(value);
    if (json_is_real(value) && d > -1e15 && d < 1e15 && d == (double)(json_int_t)d)
        return json_integer((json_int_t)d);
    json_object_foreach(value, key, item)
    {
        json_object_set_new(value, key, integers_restore(item));
    }
    json_array_foreach(value, i, item)
    {
        json_array_set_new(value, i, integers_restore(item));
    }
    return json_incref(value);
}

/* The result of a spec. A whole number beyond 64 bits is read as a real, so that it can be told as
 * a mistake with its path. */
static json_t *result_read(const char *text, json_error_t *why)
{
    json_t *value = json_loads(text, JSON_DECODE_ANY, why);
    if (value != NULL || json_error_code(why) != json_error_numeric_overflow)
        return value;
    value = json_loads(text, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, why);
    json_t *restored = value != NULL ? integers_restore(value) : NULL;
    json_decref(value);
    return restored;
}

int jobfile_load(const struct jobfile_source *source, struct jobfile *ret, struct buf *problems,
                 struct err *err)
{
    CLEANUP(buf_release) struct buf text = {0};
    json_error_t why;
    if (jobfile_eval(source, &text, problems, err) < 0)
        return -(int)err->code;
    json_t *value = result_read(buf_text(&text), &why);
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

void jobfile_help(FILE *to)
{
    print_to(to, "fields of a job (default in brackets):\n");
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
        const struct field *f = &fields[i];
        const char *otherwise = f->otherwise == NULL ? "required" : f->otherwise;
        print_to(to, "  %-22s %s%s%s%s\n", f->path, f->text, otherwise[0] != '\0' ? " [" : "",
                 otherwise, otherwise[0] != '\0' ? "]" : "");
    }
    print_to(
        to,
        "\n"
        "constraints: ATTRIBUTE OPERATOR [VALUE], about what `borgctl machines` shows\n"
        "  = !=  < <= > >=        the ordering ones compare whole numbers\n"
        "  in not-in              a list: \"rack in r1,r2\"\n"
        "  exists not-exists      no value: \"ssd exists\"\n"
        "  regex                  POSIX extended, of the whole value: \"kernel regex 6\\..*\";\n"
        "                         no back references; at most 256 states\n"
        "  near apart             tasks of a job: \"rack near cache\", \"machine apart noisy\"\n"
        "  A machine without the attribute satisfies only !=, not-in and not-exists;\n"
        "  \"machine = m1\" pins to a machine by its name. {prefer: TERM, weight: N} is a\n"
        "  wish, {any: [TERM, ...]} is met by one of them, and so is {prefer: [...]}.\n"
        "  All terms of a job may take 16384 units (1024 on every machine): a term 8, a\n"
        "  value 1, a state of an expression, which is about a character, 16.\n"
        "  near and apart count tasks that run or are to run on machines with the same value.\n"
        "  A job near itself begins anywhere. A job that must be apart from another keeps\n"
        "  the other away, too, if it is of the same user or of lower priority: who may be\n"
        "  evicted keeps nobody off who may evict. max_disruptions binds likewise.\n");
}
