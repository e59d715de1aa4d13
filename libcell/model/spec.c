/*
 * spec.c - defaults, copies and validation of job specs.
 */
#include "spec.h"

#include <stdio.h>
#include <string.h>

static const char *const bands[BAND_COUNT] = {"free", "batch", "production", "monitoring"};
static const char *const appclasses[APPCLASS_COUNT] = {"batch", "latency-sensitive"};
static const char *const restarts[RESTART_COUNT] = {"on-failure", "always", "never"};
static const char *const policies[POLICY_SPEC_COUNT] = {"best-fit", "worst-fit", "stranding-aware",
                                                        "cell"};

enum band band_of(uint32_t priority)
{
    if (priority < 100)
        return BAND_FREE;
    if (priority < 120)
        return BAND_BATCH;
    return priority < 360 ? BAND_PRODUCTION : BAND_MONITORING;
}

const char *band_text(enum band band)
{
    ASSERT(band < BAND_COUNT);
    return bands[band];
}

bool priority_is_prod(uint32_t priority)
{
    return band_of(priority) >= BAND_PRODUCTION;
}

bool priority_may_evict(uint32_t by, uint32_t victim)
{
    return victim < by && !priority_is_prod(victim);
}

static int parse(const char *const *texts, int count, const char *text)
{
    for (int i = 0; i < count; i++)
        if (strcmp(texts[i], text) == 0)
            return i;
    return -1;
}

const char *appclass_text(enum appclass a)
{
    ASSERT(a < APPCLASS_COUNT);
    return appclasses[a];
}

const char *restart_text(enum restart r)
{
    ASSERT(r < RESTART_COUNT);
    return restarts[r];
}

const char *policy_text(enum policy p)
{
    ASSERT(p < POLICY_SPEC_COUNT);
    return policies[p];
}

int appclass_parse(const char *text)
{
    return parse(appclasses, APPCLASS_COUNT, text);
}

int restart_parse(const char *text)
{
    return parse(restarts, RESTART_COUNT, text);
}

int policy_parse(const char *text)
{
    return parse(policies, POLICY_SPEC_COUNT, text);
}

void spec_init(struct job_spec *spec)
{
    *spec = (struct job_spec){
        .priority = PRIORITY_DEFAULT,
        .appclass = APPCLASS_BATCH,
        .policy = POLICY_OF_CELL,
        .replicas = 1,
        .limit = {{[RES_CPU] = 100, [RES_RAM] = INT64_C(128) << 20}},
        .restart = RESTART_ON_FAILURE,
        .backoff_ms = 1000,
        .backoff_max_ms = 300000,
        .grace_ms = 10000,
    };
}

void spec_release(struct job_spec *spec)
{
    words_release(&spec->argv);
    words_release(&spec->env);
    words_release(&spec->ports);
    clauses_release(&spec->constraints);
}

void spec_copy(struct job_spec *to, const struct job_spec *from)
{
    *to = *from;
    to->argv = words_copy(&from->argv);
    to->env = words_copy(&from->env);
    to->ports = words_copy(&from->ports);
    to->constraints = clauses_copy(&from->constraints);
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

static int range_check(const char *path, int64_t value, int64_t min, int64_t max, struct err *err)
{
    if (value >= min && value <= max)
        return 0;
    return err_set(err, ERR_INVALID, "%s: %" PRId64 " is not between %" PRId64 " and %" PRId64,
                   path, value, min, max);
}

/* A list of words whose bytes are not `count` words came from a broken program, not from a user. */
static int words_check(const char *path, const struct words *words, uint32_t count_max,
                       struct err *err)
{
    if (!words_whole(words))
        return err_set(err, ERR_INVALID, "%s: the list is damaged", path);
    if (words->count > count_max)
        return err_set(err, ERR_INVALID, "%s: %u entries are too many, at most %u are allowed",
                       path, words->count, count_max);
    return 0;
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

static int env_check(const struct job_spec *spec, struct err *err)
{
    const struct words *env = &spec->env;
    for (const char *w = words_first(env); w != NULL; w = words_next(env, w)) {
        const char *equals = strchr(w, '=');
        if (equals == NULL || equals == w)
            return err_set(err, ERR_INVALID, "task.env: \"%.80s\" is not of the form NAME=value",
                           w);
        size_t length = (size_t)(equals - w);
        for (const char *v = words_first(env); v != w; v = words_next(env, v))
            if (strncmp(v, w, length + 1) == 0)
                return err_set(err, ERR_INVALID, "task.env: %.*s is there twice",
                               (int)MIN(length, (size_t)80), w);
        int rc = variable_check(spec, w, length, err);
        if (rc != 0)
            return rc;
    }
    return 0;
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
    for (enum resource r = 0; r < RES_COUNT; r++) {
        int64_t min = r == RES_CPU || r == RES_RAM ? 1 : 0;
        const char *name = resource_name(r, &spec->resource_names);
        if (limit->v[r] < min)
            return err_set(err, ERR_INVALID, "%s.%s: must be %s", path, name,
                           min == 1 ? "more than 0" : "at least 0");
        if (limit->v[r] > RESOURCE_AMOUNT_MAX)
            return err_set(err, ERR_INVALID, "%s.%s: is more than any machine has", path, name);
        if (limit->v[r] > 0 && name[0] == '\0')
            return err_set(err, ERR_INVALID, "%s: an amount has no name", path);
    }
    int rc = devices_need_valid(limit->v[RES_GPU], err);
    return rc == 0 ? 0 : err_wrap(err, "%s.gpu", path);
}

/* A shape that is nowhere smaller than a better one never fits where that does not. */
static int shapes_check(const struct job_spec *spec, struct err *err)
{
    const char *of = spec->is_alloc_set ? "alloc.resources" : "task.resources";
    if (resource_names_valid(&spec->resource_names, err) != 0)
        return err_wrap(err, "%s", of);
    if (spec->alternative_count == 0)
        return limit_check(spec, of, &spec->limit, err);
    if (spec->is_alloc_set)
        return err_set(err, ERR_INVALID, "alloc.resources: an alloc has one shape, not %u",
                       spec->alternative_count + 1);
    if (spec->alloc_set[0] != '\0')
        return err_set(err, ERR_INVALID,
                       "task.resources: tasks of an alloc set's jobs have one shape, not %u",
                       spec->alternative_count + 1);
    if (spec->alternative_count >= SPEC_SHAPES_MAX)
        return err_set(err, ERR_INVALID, "task.resources: %u shapes are too many, at most %d",
                       spec->alternative_count + 1, SPEC_SHAPES_MAX);
    for (uint32_t i = 0; i < spec_shape_count(spec); i++) {
        char path[32];
        snprintf(path, sizeof path, "task.resources[%u]", i);
        int rc = limit_check(spec, path, spec_shape(spec, i), err);
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

static int words_all_check(const struct job_spec *spec, struct err *err)
{
    int rc = words_check("task.command", &spec->argv, SPEC_ARGS_MAX, err);
    if (rc == 0)
        rc = words_check("task.env", &spec->env, SPEC_ENV_MAX, err);
    if (rc == 0)
        rc = words_check("task.ports", &spec->ports, SPEC_PORTS_MAX, err);
    if (rc != 0 || spec->is_alloc_set)
        return rc;
    if (spec->argv.count == 0 || spec->argv.bytes[0] == '\0')
        return err_set(err, ERR_INVALID, "task.command: is missing; say what to run");
    return 0;
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
    uint64_t words = spec->argv.count + spec->env.count + spec->ports.count;
    uint64_t bytes = (uint64_t)spec->argv.size + spec->env.size + spec->ports.size + 5 * words +
                     clauses_size(&spec->constraints) + 1024;
    if (bytes > SPEC_BYTES_MAX)
        return err_set(err, ERR_INVALID,
                       "task.command, task.env: %" PRIu64 " bytes are too many, task.constraints "
                       "included, %d are allowed; put long texts into a file",
                       bytes, SPEC_BYTES_MAX);
    return 0;
}

static int spreads_check(const struct job_spec *spec, struct err *err)
{
    if (spec->spread_count > SPEC_SPREADS_MAX)
        return err_set(err, ERR_INVALID, "task.spread: %u entries are too many, at most %d",
                       spec->spread_count, SPEC_SPREADS_MAX);
    for (uint32_t i = 0; i < spec->spread_count; i++) {
        const struct spread *s = &spec->spreads[i];
        char path[64];
        snprintf(path, sizeof path, "task.spread[%u].by", i);
        int rc = name_check(path, s->by, err);
        if (rc != 0)
            return rc;
        if (s->max > CELL_TASKS_PER_JOB_MAX || s->weight > WEIGHT_MAX)
            return err_set(err, ERR_INVALID, "task.spread[%u]: max is at most %d, weight %d", i,
                           CELL_TASKS_PER_JOB_MAX, WEIGHT_MAX);
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

static int numbers_check(const struct job_spec *spec, struct err *err)
{
    const struct {
        const char *path;
        int64_t value, min, max;
    } ranges[] = {
        {"priority", spec->priority, 0, PRIORITY_MAX},
        {"appclass", (int64_t)spec->appclass, 0, APPCLASS_COUNT - 1},
        {"policy", (int64_t)spec->policy, 0, POLICY_SPEC_COUNT - 1},
        {"replicas", spec->replicas, spec->every_machine ? 0 : 1, CELL_TASKS_PER_JOB_MAX},
        {"task.restart", (int64_t)spec->restart, 0, RESTART_COUNT - 1},
        {"task.backoff_ms", spec->backoff_ms, 0, BACKOFF_MS_MAX},
        {"task.backoff_max_ms", spec->backoff_max_ms, spec->backoff_ms, BACKOFF_MS_MAX},
        {"task.grace_ms", spec->grace_ms, 0, GRACE_MS_MAX},
        {"max_disruptions", spec->disruptions_max, 0, CELL_TASKS_PER_JOB_MAX},
    };
    for (size_t i = 0; i < ARRAY_SIZE(ranges); i++) {
        int rc = range_check(ranges[i].path, ranges[i].value, ranges[i].min, ranges[i].max, err);
        if (rc != 0)
            return rc;
    }
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

int spec_valid(const struct job_spec *spec, struct err *err)
{
    int rc = name_check("name", spec->name, err);
    if (rc == 0 && spec->user[0] != '\0')
        rc = name_check("user", spec->user, err);
    if (rc == 0)
        rc = numbers_check(spec, err);
    if (rc == 0)
        rc = alloc_check(spec, err);
    if (rc == 0)
        rc = words_all_check(spec, err);
    if (rc == 0)
        rc = shapes_check(spec, err);
    if (rc == 0)
        rc = ports_check(spec, err);
    if (rc == 0)
        rc = env_check(spec, err);
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

uint32_t spec_backoff_ms(const struct job_spec *spec, uint32_t failures)
{
    ASSERT(failures >= 1);
    uint64_t wait = spec->backoff_ms;
    for (uint32_t i = 1; i < failures && wait > 0 && wait < spec->backoff_max_ms; i++)
        wait *= 2;
    return (uint32_t)MIN(wait, (uint64_t)spec->backoff_max_ms);
}
