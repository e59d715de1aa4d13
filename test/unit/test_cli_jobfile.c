/*
 * test_cli_jobfile.c - specs: every mistake has its message, all are told at once, defaults are
 * those of the table, and no spec can hang or break borgctl.
 */
#include "jobfile.h"

#include "schema_check.h"
#include "testlib.h"

#include <sys/stat.h>

struct mistake {
    const char
        *spec; /* fields beside name and task.command, or a whole spec when it has "!" first */
    const char *line; /* what the problems begin with, exactly one line */
};

static const struct mistake mistakes[] = {
    {"nam: 1", "nam: unknown field; did you mean name?"},
    {"colour: 'red'", "colour: unknown field; see borgctl help submit"},
    {"cpu: 1", "cpu: unknown field; it belongs at task.resources.cpu"},
    {"user: 'ada'", "user: comes from the certificate (--user NAME), not from the spec"},
    {"name: 'Web'", "name: \"Web\" is not a name: "},
    {"name: ''", "name: \"\" is not a name: "},
    {"name: 5", "name: must be a string, not a number"},
    {"name: std.repeat('x', 64)", "name: \"xxxx"},
    {"priority: 451", "priority: 451 is not between 0 and 450"},
    {"priority: -1", "priority: -1 is not between 0 and 450"},
    {"priority: 1.5", "priority: 1.5 is not a whole number"},
    {"priority: 'prod'", "priority: \"prod\" is none of free, batch, production, monitoring"},
    {"priority: null", "priority: must be a number, not null"},
    {"appclass: 'interactive'", "appclass: \"interactive\" is not batch or latency-sensitive"},
    {"appclass: 1", "appclass: must be a string (batch or latency-sensitive), not a number"},
    {"policy: 'first-fit'", "policy: \"first-fit\" is not best-fit"},
    {"replicas: 0", "replicas: 0 is not between 1 and 262144"},
    {"replicas: 262145", "replicas: 262145 is not between 1 and 262144"},
    {"replicas: 1e300", "replicas: 1e+300 is not between 1 and 262144"},
    {"replicas: '3'", "replicas: \"3\" is neither a number nor every-machine"},
    {"task: 'sleep'", "task: must be an object, not a string"},
    {"task+: {command: []}", "task.command: is empty"},
    {"task+: {command: ''}", "task.command: is empty"},
    {"task+: {command: ['']}", "task.command[0]: is empty"},
    {"task+: {command: ['sleep', 5]}", "task.command[1]: must be a string, not a number"},
    {"task+: {command: {}}", "task.command: must be an array of words, or a string"},
    {"task+: {command: std.repeat(['x'], 257)}", "task.command: has 257 words, at most 256"},
    {"task+: {comand: 'x'}", "task.comand: unknown field; did you mean task.command?"},
    {"task+: {priority: 1}", "task.priority: unknown field; it belongs at priority"},
    {"task+: {env: ['A=1']}", "task.env: must be an object of NAME: value, not an array"},
    {"task+: {env: {'1A': 'x'}}", "task.env.1A: is not a variable's name"},
    {"task+: {env: {'': 'x'}}", "task.env.: is not a variable's name"},
    {"task+: {env: {'A=B': 'x'}}", "task.env.A=B: is not a variable's name"},
    {"task+: {env: {A: null}}", "task.env.A: must be a string, a number or a boolean, not null"},
    {"task+: {env: {A: {}}}", "task.env.A: must be a string, a number or a boolean, not an object"},
    {"task+: {resources: 1}", "task.resources: must be an object or an array of objects, not a n"},
    {"task+: {resources: {ram: '12Q'}}", "task.resources.ram: \"12Q\" is not a quantity"},
    {"task+: {resources: {ram: 0}}", "task.resources.ram: must be more than 0"},
    {"task+: {resources: {ram: -1}}", "task.resources.ram: "},
    {"task+: {resources: {ram: true}}",
     "task.resources.ram: must be a string or a number, not a b"},
    {"task+: {resources: {ram: '8192Pi'}}", "task.resources.ram: "},
    {"task+: {resources: {cpu: '1Gi'}}", "task.resources.cpu: \"1Gi\" is not a quantity"},
    {"task+: {resources: {cpu: 0.0}}", "task.resources.cpu: must be more than 0"},
    {"task+: {resources: {gpu: 1.5}}", "task.resources.gpu: 1500m is neither a share of one"},
    {"task+: {resources: {gpu: 33}}", "task.resources.gpu: 33000m is neither a share of one"},
    {"task+: {resources: {gpu: '1Gi'}}", "task.resources.gpu: \"1Gi\" is not a quantity"},
    {"task+: {resources: {memory: '1Gi'}}", "task.resources.memory: none of cpu, ram, disk, gpu"},
    {"task+: {resources: {tape: 0.5}}", "task.resources.tape: none of cpu, ram, disk, gpu"},
    {"task+: {resources: {ports: 2}}", "task.resources.ports: unknown field; it belongs at task.p"},
    {"task+: {resources: {NAME: 2}}", "task.resources.NAME: stands for the name"},
    {"task+: {resources: {Tape: 1}}", "task.resources: resource \"Tape\": its name must be"},
    {"task+: {resources: {a: 1, b: 1, c: 1, d: 1}}", "task.resources.d: one too many"},
    {"task+: {resources: []}", "task.resources: has 0 shapes; 1 to 4 are possible"},
    {"task+: {resources: std.repeat([{}], 5)}", "task.resources: has 5 shapes; 1 to 4"},
    {"task+: {resources: [{}, 2]}", "task.resources[1]: must be an object, not a number"},
    {"task+: {resources: [{cpu: 2}, {cpu: 0}]}", "task.resources[1].cpu: must be more than 0"},
    {"task+: {resources: [{cpu: 2}, {gpu: 1.5}]}",
     "task.resources[1].gpu: 1500m is neither a share of one"},
    {"task+: {resources: [{cpu: 2}, {cpu: 3}]}",
     "task.resources[1]: asks for no less of anything than [0]"},
    {"task+: {ports: 'http'}", "task.ports: must be an array of names, not a string"},
    {"task+: {ports: [80]}",
     "task.ports[0]: must be a name, not a number (array of names; the cell chooses the numbers"},
    {"task+: {ports: ['a', 'a']}", "task.ports[1]: \"a\" is there twice"},
    {"task+: {ports: ['A']}", "task.ports[0]: \"A\" is not a name"},
    {"task+: {ports: ['p%d' % i for i in std.range(1, 17)]}",
     "task.ports: has 17 names, at most 16"},
    {"task+: {restart: 'maybe'}", "task.restart: \"maybe\" is not on-failure, always or never"},
    {"max_disruptions: -1", "max_disruptions: -1 is not between 0 and 262144"},
    {"replicas: 'all'", "replicas: \"all\" is neither a number nor every-machine"},
    {"replicas: 'every-machine', gang: true", "gang: has no meaning in a job that runs on every"},
    {"replicas: 'every-machine', task+: {spread: [{by: 'rack', max: 1}]}",
     "task.spread: has no meaning in a job that runs on every machine"},
    {"gang: 1", "gang: must be true or false, not a number"},
    {"gang: true, replicas: 1025", "replicas: 1025 are too many for a gang"},
    {"task+: {max_failures: -1}", "task.max_failures: -1 is not between 0 and 4294967295"},
    {"task+: {backoff: '1 parsec'}", "task.backoff: \"1 parsec\" is not a quantity"},
    {"task+: {backoff: '2h'}", "task.backoff: 2h is more than 1h"},
    {"task+: {backoff: '9s', max_backoff: '8s'}", "task.max_backoff: is less than task.backoff"},
    {"task+: {constraints: 'rack = r1'}", "task.constraints: must be an array, not a string"},
    {"task+: {constraints: [5]}",
     "task.constraints[0]: must be a string like \"rack = r1\", not a"},
    {"task+: {constraints: ['a = b', 'rack == r1']}",
     "task.constraints[1]: \"rack == r1\": \"==\" is none of = != <"},
    {"task+: {constraints: ['rack regex (']}",
     "task.constraints[0]: \"(\" is not a regular expression"},
    {"task+: {constraints: [{any: ['rack']}]}",
     "task.constraints[0].any[0]: \"rack\" says nothing of rack"},
    {"task+: {constraints: [{any: []}]}", "task.constraints[0].any: has 0 alternatives"},
    {"task+: {constraints: [{any: ['a exists'], weight: 5}]}",
     "task.constraints[0].weight: unknown field"},
    {"task+: {constraints: [{}]}", "task.constraints[0]: has neither any nor prefer"},
    {"task+: {constraints: [{prefer: 'a exists', weight: 0}]}",
     "task.constraints[0].weight: 0 is not between 1 and 100"},
    {"task+: {constraints: [{prefer: 'a exists', weight: 101}]}",
     "task.constraints[0].weight: 101 is not"},
    {"task+: {constraints: [{prefer: 'a exists', wait: 1}]}",
     "task.constraints[0].wait: unknown field"},
    {"task+: {constraints: [{prefer: 1}]}", "task.constraints[0].prefer: must be a string like"},
    {"task+: {constraints: std.repeat(['a exists'], 33)}", "task.constraints: has 33 entries"},
    {"task+: {constraints: [{any: std.repeat(['a exists'], 17)}]}",
     "task.constraints[0].any: has 17 alternatives"},
    {"task+: {constraints: std.repeat(['a regex b'], 17)}",
     "task.constraints[16]: more than 16 regular expressions"},
    {"task+: {constraints: ['rack near Web']}",
     "task.constraints[0]: near is of a job, \"Web\" is no name of one"},
    {"task+: {spread: {by: 'rack'}}", "task.spread: must be an array, not an object"},
    {"task+: {spread: ['rack']}", "task.spread[0]: must be an object {by, max, weight}, not a"},
    {"task+: {spread: [{by: 'rack'}]}", "task.spread[0]: says neither max nor weight"},
    {"task+: {spread: [{max: 1}]}", "task.spread[0].by: is missing: the name of an attribute"},
    {"task+: {spread: [{by: 'Rack', max: 1}]}", "task.spread[0].by: \"Rack\" is not a name"},
    {"task+: {spread: [{by: 'rack', max: 1.5}]}", "task.spread[0].max: 1.5 is not a whole number"},
    {"task+: {spread: [{by: 'rack', max: '1'}]}", "task.spread[0].max: must be a number"},
    {"task+: {spread: [{by: 'rack', max: 1, most: 2}]}", "task.spread[0].most: unknown field"},
    {"task+: {spread: [{by: 'a', max: 1}, {by: 'a', max: 2}]}",
     "task.spread[1].by: \"a\" is there twice"},
    {"task+: {spread: [{by: 'a%d' % i, max: 1} for i in std.range(1, 5)]}",
     "task.spread: has 5 entries, at most 4"},
    {"alloc: {}", "alloc: a job has either task or alloc"},
    {"task:: 0, alloc: {command: 'x'}", "alloc.command: unknown field; it belongs at task.command"},
    {"task:: 0, alloc: {resources: {cpu: 0}}", "alloc.resources.cpu: must be more than 0"},
    {"task:: 0, alloc: 1", "alloc: must be an object"},
    {"alloc_set: 'Room'", "alloc_set: \"Room\" is not a name"},
    {"task+: {grace: []}", "task.grace: must be a string or a number, not an array"},
    {"task+: {env: {A: std.repeat('x', 40000)}}", "task.command, task.env: "},
    {"!{}", "name: is missing"},
    {"!{name: 'a', task: {}}", "task.command: is missing"},
    {"!{name: 'a'}", "task: is missing"},
    {"!5", "a job is an object, not a number"},
    {"!null", "a job is an object, not null"},
    {"![{name: 'a', task: {command: 'x'}}, 3]", "[1]: a job is an object, not a number"},
    {"![{name: 'a', task: {command: 'x'}}, {name: 'b', task: {command: 'x', env: 1}}]",
     "[1].task.env: must be an object"},
    {"![{name: 'a', task: {command: 'x'}}, {name: 'a', task: {command: 'x'}}]",
     "[1].name: \"a\" is the name of [0] as well"},
};

static const char *write_spec(const char *name, const char *text)
{
    const char *path = t_path(t_dir(), name);
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    ck_assert_int_eq(fclose(file), 0);
    return path;
}

static int load(const char *path, struct specs *ret, struct buf *problems)
{
    struct jobfile_source source = {.path = path, .cpu_s_max = 2};
    return jobfile_load(&source, ret, problems, &t_err);
}

static int load_text(const char *name, const char *text, struct specs *ret, struct buf *problems)
{
    return load(write_spec(name, text), ret, problems);
}

START_TEST(every_mistake_is_told_with_its_path)
{
    const struct mistake *m = &mistakes[_i];
    CLEANUP(buf_release) struct buf text = {0};
    CLEANUP(buf_release) struct buf problems = {0};
    struct specs file;
    if (m->spec[0] == '!')
        buf_printf(&text, "%s", m->spec + 1);
    else
        buf_printf(&text, "{name: 'web', task: {command: 'true'}} + {%s}", m->spec);
    T_REFUSED(load_text("a.jsonnet", buf_text(&text), &file, &problems), ERR_INVALID);
    if (strncmp(buf_text(&problems), m->line, strlen(m->line)) != 0)
        ck_abort_msg("%s\n  told: %s  not: %s", m->spec, buf_text(&problems), m->line);
    size_t lines = 0;
    for (const char *p = buf_text(&problems); (p = strchr(p, '\n')) != NULL; p++)
        lines++;
    /* An empty job lacks both its name and its task. */
    size_t expected = strcmp(m->spec, "!{}") == 0 || strncmp(m->spec, "!{}", 3) == 0 ? 2 : 1;
    ck_assert_msg(lines == expected, "%s: %zu lines: %s", m->spec, lines, buf_text(&problems));
}
END_TEST

/* The value of a spec, and whether the schema accepts it. */
static bool schema_accepts_spec(const char *spec)
{
    CLEANUP(buf_release) struct buf text = {0}, json = {0}, schema_text = {0};
    if (spec[0] == '!')
        buf_printf(&text, "%s", spec + 1);
    else
        buf_printf(&text, "{name: 'web', task: {command: 'true'}} + {%s}", spec);
    struct jobfile_source source = {.path = write_spec("a.jsonnet", buf_text(&text))};
    T_OK(jobfile_eval(&source, &json, &text, &t_err));
    json_t *value = json_loads(buf_text(&json), JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL);
    spec_schema_print(&schema_text);
    json_t *schema = json_loads(buf_text(&schema_text), 0, NULL);
    ck_assert(value != NULL && schema != NULL);
    bool accepts = schema_accepts(schema, schema, value);
    json_decref(value);
    json_decref(schema);
    return accepts;
}

/* Mistakes that no schema can say: they relate fields, or judge a text. */
static const char *const unsaid[] = {
    "task+: {resources: {ram: '8192Pi'}}",
    "task+: {resources: {gpu: 1.5}}",
    "task+: {resources: {gpu: 33}}",
    "task+: {resources: {a: 1, b: 1, c: 1, d: 1}}",
    "task+: {resources: [{cpu: 2}, {gpu: 1.5}]}",
    "task+: {resources: [{cpu: 2}, {cpu: 3}]}",
    "replicas: 'every-machine', gang: true",
    "replicas: 'every-machine', task+: {spread: [{by: 'rack', max: 1}]}",
    "gang: true, replicas: 1025",
    "task+: {backoff: '2h'}",
    "task+: {backoff: '9s', max_backoff: '8s'}",
    "task+: {constraints: ['a = b', 'rack == r1']}",
    "task+: {constraints: ['rack regex (']}",
    "task+: {constraints: [{any: ['rack']}]}",
    "task+: {constraints: std.repeat(['a regex b'], 17)}",
    "task+: {constraints: ['rack near Web']}",
    "task+: {spread: [{by: 'rack'}]}",
    "task+: {spread: [{by: 'a', max: 1}, {by: 'a', max: 2}]}",
    "task+: {env: {A: std.repeat('x', 40000)}}",
    "![{name: 'a', task: {command: 'x'}}, {name: 'a', task: {command: 'x'}}]",
};

START_TEST(the_schema_refuses_what_it_can_say)
{
    const char *spec = mistakes[_i].spec;
    bool is_unsaid = false;
    for (size_t i = 0; i < ARRAY_SIZE(unsaid); i++)
        is_unsaid |= strcmp(unsaid[i], spec) == 0;
    ck_assert_msg(schema_accepts_spec(spec) == is_unsaid, "%s", spec);
}
END_TEST

START_TEST(all_mistakes_are_told_at_once)
{
    CLEANUP(buf_release) struct buf problems = {0};
    struct specs file;
    T_REFUSED(load_text("a.json",
                        "[{\"name\": \"A\", \"replicas\": 0, \"task\": {\"command\": 1,"
                        "\"resources\": {\"ram\": \"12Q\", \"mem\": \"1Gi\"}}}, {\"task\": 7}]",
                        &file, &problems),
              ERR_INVALID);
    T_CONTAINS(t_err.msg, "has 7 mistakes");
    T_CONTAINS(buf_text(&problems), "[0].name: \"A\" is not a name");
    T_CONTAINS(buf_text(&problems), "[0].replicas: 0 is not between");
    T_CONTAINS(buf_text(&problems), "[0].task.command: must be");
    T_CONTAINS(buf_text(&problems), "[0].task.resources.ram: \"12Q\" is not a quantity");
    T_CONTAINS(buf_text(&problems), "[0].task.resources.mem: none of cpu");
    T_CONTAINS(buf_text(&problems), "[1].name: is missing");
    T_CONTAINS(buf_text(&problems), "[1].task: must be an object, not a number");
}
END_TEST

START_TEST(mistakes_beyond_the_bound_are_counted)
{
    CLEANUP(buf_release) struct buf problems = {0};
    struct specs file;
    T_REFUSED(load_text("a.jsonnet", "[1 for i in std.range(1, 60)]", &file, &problems),
              ERR_INVALID);
    T_CONTAINS(t_err.msg, "has 60 mistakes");
    T_CONTAINS(buf_text(&problems), "and 10 more\n");
}
END_TEST

START_TEST(defaults_are_those_of_the_cell)
{
    CLEANUP(buf_release) struct buf problems = {0};
    CLEANUP(specs_release) struct specs file = {0};
    struct job_spec d;
    spec_init(&d);
    T_OK(load_text("a.jsonnet", "{name: 'a', task: {command: ['x']}}", &file, &problems));
    const struct job_spec *s = &file.jobs[0];
    ck_assert_str_eq(s->user, "");
    ck_assert_uint_eq(s->priority, d.priority);
    ck_assert_int_eq(s->appclass, d.appclass);
    ck_assert_int_eq(s->policy, d.policy);
    ck_assert_uint_eq(s->replicas, d.replicas);
    for (size_t r = 0; r < RES_COUNT; r++)
        ck_assert_int_eq(s->limit.v[r], d.limit.v[r]);
    ck_assert_int_eq(s->restart, d.restart);
    ck_assert_uint_eq(s->failures_max, d.failures_max);
    ck_assert_uint_eq(s->backoff_ms, d.backoff_ms);
    ck_assert_uint_eq(s->backoff_max_ms, d.backoff_max_ms);
    ck_assert_uint_eq(s->grace_ms, d.grace_ms);
    ck_assert_uint_eq(s->disruptions_max, d.disruptions_max);
    ck_assert(!s->gang);
}
END_TEST

static const char full_spec[] =
    "{name: 'web.1', priority: 'production', appclass: 'latency-sensitive', policy: 'worst-fit',"
    " replicas: 3, max_disruptions: 2, gang: true,"
    " task: {command: 'echo $A', env: {A: 'x y', B: 7, C: true, D: '0.5'},"
    " resources: {cpu: 0.5, ram: '1.5Gi', disk: 4096}, ports: ['http', 'admin'],"
    " constraints: ['rack = r1', {any: ['cpus>=8', 'arch in a, b']}, {prefer: 'ssd exists'},"
    "  {prefer: ['kernel regex 6\\\\..*', 'x != y'], weight: 7}],"
    " spread: [{by: 'rack', max: 2}, {by: 'machine', weight: 10}],"
    " restart: 'always', max_failures: 9, backoff: 0.25, max_backoff: '2m', grace: '1500ms'}}";

static void check_full(const struct job_spec *s)
{
    static const char *const argv[] = {"/bin/sh", "-c", "echo $A"};
    static const char *const env[] = {"A=x y", "B=7", "C=true", "D=0.5"};
    size_t i = 0;
    ck_assert_str_eq(s->name, "web.1");
    ck_assert_uint_eq(s->priority, 200);
    ck_assert_int_eq(s->appclass, APPCLASS_LATENCY_SENSITIVE);
    ck_assert_int_eq(s->policy, POLICY_WORST_FIT);
    ck_assert_uint_eq(s->replicas, 3);
    ck_assert_uint_eq(s->argv.count, 3);
    for (const char *w = words_first(&s->argv); w; w = words_next(&s->argv, w))
        ck_assert_str_eq(w, argv[i++]);
    i = 0;
    ck_assert_uint_eq(s->env.count, 4);
    for (const char *w = words_first(&s->env); w; w = words_next(&s->env, w))
        ck_assert_str_eq(w, env[i++]);
    ck_assert_int_eq(s->limit.v[RES_CPU], 500);
    ck_assert_int_eq(s->limit.v[RES_RAM], INT64_C(1610612736));
    ck_assert_int_eq(s->limit.v[RES_DISK], 4096);
    ck_assert_int_eq(s->limit.v[RES_PORTS], 2);
    ck_assert_int_eq(s->restart, RESTART_ALWAYS);
    ck_assert_uint_eq(s->failures_max, 9);
    ck_assert_uint_eq(s->backoff_ms, 250);
    ck_assert_uint_eq(s->backoff_max_ms, 120000);
    ck_assert_uint_eq(s->grace_ms, 1500);
    ck_assert_uint_eq(s->disruptions_max, 2);
    ck_assert(s->gang);
    static const char *const clauses[] = {"rack = r1", "cpus >= 8 or arch in a,b", "ssd exists",
                                          "kernel regex 6\\..* or x != y"};
    static const uint32_t weights[] = {0, 0, 50, 7};
    ck_assert_uint_eq(s->constraints.count, ARRAY_SIZE(clauses));
    for (i = 0; i < ARRAY_SIZE(clauses); i++) {
        CLEANUP(buf_release) struct buf text = {0};
        clause_print(&text, &s->constraints.items[i]);
        ck_assert_str_eq(buf_text(&text), clauses[i]);
        ck_assert_uint_eq(s->constraints.items[i].weight, weights[i]);
    }
    ck_assert_uint_eq(s->spread_count, 2);
    ck_assert_str_eq(s->spreads[0].by, "rack");
    ck_assert_uint_eq(s->spreads[0].max, 2);
    ck_assert_uint_eq(s->spreads[0].weight, 0);
    ck_assert_str_eq(s->spreads[1].by, "machine");
    ck_assert_uint_eq(s->spreads[1].max, 0);
    ck_assert_uint_eq(s->spreads[1].weight, 10);
}

static const char *const good[] = {
    "priority: 25, replicas: 'every-machine', max_disruptions: 5, gang: false",
    "task+: {resources: {cpu: '1.5', ram: 1048576, disk: '1.5Gi', gpu: '500m', tape: 2}}",
    "task+: {resources: [{cpu: 4}, {cpu: 2, disk: 5}]}",
    "task+: {backoff: 0.25, max_backoff: '2m', grace: '1500ms', max_failures: 4294967295}",
    "task+: {spread: [{by: 'rack', max: 0, weight: 1}], env: {A: -5, B: true}, ports: ['a']}",
    "task:: 0, alloc: {resources: {ports: 3}, spread: [], constraints: ['ssd exists']}",
    "alloc_set: 'room'",
#if CELL_FORMAT >= 2
    "labels: {team: 'search', version: 7}",
#endif
    "!{name: 'a', task: {command: ['x', '']}}",
    "![{name: 'a', task: {command: 'x'}}, {name: 'b', alloc: {}}]",
};

START_TEST(the_schema_accepts_what_is_read)
{
    CLEANUP(buf_release) struct buf text = {0}, problems = {0};
    CLEANUP(specs_release) struct specs file = {0};
    if (good[_i][0] == '!')
        buf_printf(&text, "%s", good[_i] + 1);
    else
        buf_printf(&text, "{name: 'web', task: {command: 'true'}} + {%s}", good[_i]);
    int rv = load_text("a.jsonnet", buf_text(&text), &file, &problems);
    ck_assert_msg(rv == 0, "%s: %s", good[_i], buf_text(&problems));
    ck_assert_msg(schema_accepts_spec(good[_i]), "%s", good[_i]);
    CLEANUP(buf_release) struct buf printed = {0};
    buf_printf(&printed, "!");
    spec_json_print(&printed, &file.jobs[0]);
    ck_assert_msg(schema_accepts_spec(buf_text(&printed)), "%s", buf_text(&printed));
}
END_TEST

START_TEST(every_field_arrives)
{
    CLEANUP(buf_release) struct buf problems = {0};
    CLEANUP(specs_release) struct specs file = {0};
    T_OK(load_text("a.jsonnet", full_spec, &file, &problems));
    ck_assert(!file.is_array);
    check_full(&file.jobs[0]);
}
END_TEST

START_TEST(what_a_dry_run_prints_is_the_same_job)
{
    CLEANUP(buf_release) struct buf problems = {0};
    CLEANUP(specs_release) struct specs file = {0};
    CLEANUP(specs_release) struct specs again = {0};
    T_OK(load_text("a.jsonnet", full_spec, &file, &problems));
    json_t *json = spec_json(&file.jobs[0]);
    T_OK(specs_json_read(json, &again, &problems, &t_err));
    json_t *second = spec_json(&again.jobs[0]);
    ck_assert(json_equal(json, second));
    check_full(&again.jobs[0]);
    json_decref(json);
    json_decref(second);
}
END_TEST

START_TEST(an_alloc_set_and_a_job_inside_arrive)
{
    static const char text[] =
        "[{name: 'room', replicas: 2, alloc: {resources: {cpu: 2, ram: '1Gi', ports: 3, tape: 1},"
        " constraints: ['ssd exists'], spread: [{by: 'rack', max: 1}]}},"
        " {name: 'web', alloc_set: 'room', task: {command: 'x'}}]";
    CLEANUP(buf_release) struct buf problems = {0};
    CLEANUP(specs_release) struct specs file = {0};
    CLEANUP(specs_release) struct specs again = {0};
    T_OK(load_text("a.jsonnet", text, &file, &problems));
    json_t *json = spec_json(&file.jobs[0]);
    T_OK(specs_json_read(json, &again, &problems, &t_err));
    const struct job_spec *both[] = {&file.jobs[0], &again.jobs[0]};
    for (int i = 0; i < 2; i++) {
        ck_assert(both[i]->is_alloc_set);
        ck_assert_uint_eq(both[i]->argv.count, 0);
        ck_assert_int_eq(both[i]->limit.v[RES_CPU], 2000);
        ck_assert_int_eq(both[i]->limit.v[RES_RAM], 1 << 30);
        ck_assert_int_eq(both[i]->limit.v[RES_PORTS], 3);
        ck_assert_int_eq(both[i]->limit.v[resource_find("tape", &both[i]->resource_names)], 1);
        ck_assert_uint_eq(both[i]->constraints.count, 1);
        ck_assert_uint_eq(both[i]->spread_count, 1);
    }
    ck_assert(!file.jobs[1].is_alloc_set);
    ck_assert_str_eq(file.jobs[1].alloc_set, "room");
    json_decref(json);
    json = spec_json(&file.jobs[1]);
    ck_assert_str_eq(json_string_value(json_object_get(json, "alloc_set")), "room");
    json_decref(json);
}
END_TEST

/* Each shape has the defaults of its own, and the ports of the task. */
START_TEST(shapes_arrive_in_order_and_are_printed)
{
    static const struct resources shapes[] = {
        {{4000, INT64_C(8) << 30, 0, 1}}, {{2000, INT64_C(128) << 20, 5, 1}}, {{100, 1, 0, 1}}};
    CLEANUP(buf_release) struct buf problems = {0};
    CLEANUP(specs_release) struct specs file = {0};
    CLEANUP(specs_release) struct specs again = {0};
    T_OK(load_text("a.jsonnet",
                   "{name: 'a', task: {command: 'x', ports: ['http'], resources: "
                   "[{cpu: 4, ram: '8Gi'}, {cpu: 2, disk: 5}, {ram: 1}]}}",
                   &file, &problems));
    json_t *json = spec_json(&file.jobs[0]);
    T_OK(specs_json_read(json, &again, &problems, &t_err));
    ck_assert_uint_eq(spec_shape_count(&again.jobs[0]), 3);
    for (uint32_t i = 0; i < 3; i++)
        ck_assert_mem_eq(spec_shape(&again.jobs[0], i), &shapes[i], sizeof shapes[i]);
    json_decref(json);
}
END_TEST

START_TEST(yaml_gives_the_same_job)
{
    static const char yaml[] = "name: web.1\n"
                               "priority: production\n"
                               "appclass: latency-sensitive\n"
                               "policy: worst-fit\n"
                               "replicas: 3\n"
                               "max_disruptions: 2\n"
                               "gang: true\n"
                               "task:\n"
                               "  command: echo $A\n"
                               "  env: {A: x y, B: 7, C: true, D: '0.5'}\n"
                               "  resources:\n"
                               "    cpu: 0.5\n"
                               "    ram: 1.5Gi\n"
                               "    disk: 4096\n"
                               "  ports: [http, admin]\n"
                               "  constraints:\n"
                               "  - rack = r1\n"
                               "  - any: [cpus >= 8, \"arch in a, b\"]\n"
                               "  - prefer: ssd exists\n"
                               "  - {prefer: ['kernel regex 6\\..*', x != y], weight: 7}\n"
                               "  spread: [{by: rack, max: 2}, {by: machine, weight: 10}]\n"
                               "  restart: always\n"
                               "  max_failures: 9\n"
                               "  backoff: 0.25\n"
                               "  max_backoff: 2m\n"
                               "  grace: 1500ms\n";
    CLEANUP(buf_release) struct buf problems = {0};
    CLEANUP(specs_release) struct specs file = {0};
    T_OK(load_text("a.yaml", yaml, &file, &problems));
    check_full(&file.jobs[0]);
}
END_TEST

START_TEST(yaml_keeps_quoted_text_as_text)
{
    CLEANUP(buf_release) struct buf problems = {0};
    CLEANUP(specs_release) struct specs file = {0};
    T_OK(load_text("a.yml",
                   "name: a\ntask:\n  command: [sleep, \"5\"]\n  env: {A: \"007\", B: 'true'}\n"
                   "---\nname: b\ntask:\n  command: |\n    one\n    two\n",
                   &file, &problems));
    ck_assert(file.is_array);
    ck_assert_uint_eq(file.job_count, 2);
    const char *word = words_first(&file.jobs[0].argv);
    ck_assert_str_eq(words_next(&file.jobs[0].argv, word), "5");
    ck_assert_str_eq(words_first(&file.jobs[0].env), "A=007");
    const struct words *argv = &file.jobs[1].argv;
    word = words_next(argv, words_next(argv, words_first(argv)));
    ck_assert_str_eq(word, "one\ntwo\n");
}
END_TEST

static const struct mistake broken[] = {
    {"a: [1\nb: 2\n", "line 2: did not find expected"},
    {"a: &a [*a]\n", "line 1: nested too deeply"},
    {"a: 1\na: 2\n", "line 2: the same key twice"},
    {"a: !secret x\n", "line 1: tags"},
    {"[a]: 1\n", "line 1: a key must be text"},
    {"", "is empty"},
    {"a: &a [1,1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
     "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
     "e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\n",
     "line 1: too many values"},
};

START_TEST(broken_yaml_is_told_with_its_line)
{
    CLEANUP(buf_release) struct buf problems = {0};
    struct specs file;
    T_REFUSED(load_text("a.yaml", broken[_i].spec, &file, &problems), ERR_INVALID);
    T_CONTAINS(t_err.msg, "cannot be evaluated");
    T_CONTAINS(buf_text(&problems), broken[_i].line);
}
END_TEST

START_TEST(jsonnet_errors_are_passed_on)
{
    CLEANUP(buf_release) struct buf problems = {0};
    struct specs file;
    T_REFUSED(load_text("a.jsonnet", "{a: error 'no such thing'}", &file, &problems), ERR_INVALID);
    T_CONTAINS(buf_text(&problems), "RUNTIME ERROR: no such thing");
    T_REFUSED(load_text("b.jsonnet", "{a: [}", &file, &problems), ERR_INVALID);
    T_CONTAINS(buf_text(&problems), "b.jsonnet:1:6: unexpected");
}
END_TEST

START_TEST(imports_and_arguments_reach_the_spec)
{
    CLEANUP(buf_release) struct buf problems = {0};
    CLEANUP(specs_release) struct specs file = {0};
    const char *dir = t_dir();
    FILE *lib = fopen(t_path(dir, "lib.libsonnet"), "w");
    fputs("{command: ['run', std.extVar('mode')]}", lib);
    fclose(lib);
    const char *path = t_path(dir, "main.jsonnet");
    FILE *main_file = fopen(path, "w");
    fputs("function(name) {name: name, task: import 'lib.libsonnet'}", main_file);
    fclose(main_file);
    struct jobfile_source source = {.path = path,
                                    .ext_strs = {"mode=a=b"},
                                    .ext_str_count = 1,
                                    .tla_strs = {"name=x1"},
                                    .tla_str_count = 1};
    T_OK(jobfile_load(&source, &file, &problems, &t_err));
    ck_assert_str_eq(file.jobs[0].name, "x1");
    const char *word = words_first(&file.jobs[0].argv);
    ck_assert_str_eq(words_next(&file.jobs[0].argv, word), "a=b");
    source.ext_strs[0] = "mode";
    struct specs none;
    T_REFUSED(jobfile_load(&source, &none, &problems, &t_err), ERR_INVALID);
    T_CONTAINS(t_err.msg, "--ext-str: \"mode\" is not NAME=VALUE");
}
END_TEST

static const struct mistake runaways[] = {
    {"local f(x) = f(x + 1) + 1; f(0)", "cannot be evaluated"},
    {"local f(n, x) = if n == 0 then 0 else f(n - 1, x) + f(n - 1, x); f(200, 1)", "cpu time"},
    {"std.foldl(function(a, x) a + a, std.range(1, 20), 'xxxxxxxx')",
     "evaluates to more than 4 MiB"},
#ifndef __SANITIZE_ADDRESS__
    {"std.foldl(function(a, x) a + a, std.range(1, 60), 'xxxxxxxx')", "memory"},
#endif
};

START_TEST(a_runaway_spec_is_ended)
{
    CLEANUP(buf_release) struct buf problems = {0};
    struct specs file;
    struct jobfile_source source = {.path = write_spec("a.jsonnet", runaways[_i].spec)};
    if (strcmp(runaways[_i].line, "cpu time") == 0)
        source.cpu_s_max = 2; /* the others end by themselves, however slow the machine is */
    T_REFUSED(jobfile_load(&source, &file, &problems, &t_err), ERR_INVALID);
    T_CONTAINS(t_err.msg, runaways[_i].line);
}
END_TEST

START_TEST(a_spec_that_waits_for_a_pipe_is_ended)
{
    CLEANUP(buf_release) struct buf problems = {0};
    struct specs file;
    const char *path = write_spec("a.jsonnet", "import 'pipe.libsonnet'");
    char pipe[256];
    snprintf(pipe, sizeof pipe, "%.*s/pipe.libsonnet", (int)(strrchr(path, '/') - path), path);
    ck_assert_int_eq(mkfifo(pipe, 0600), 0);
    struct jobfile_source source = {.path = path};
    T_REFUSED(jobfile_load(&source, &file, &problems, &t_err), ERR_INVALID);
    T_CONTAINS(t_err.msg, "waits for a file that does not come");
}
END_TEST

struct marked {
    const char *name, *bytes;
    const char *message; /* NULL: it is read */
};

static const struct marked marked[] = {
    {"a.json", "\xef\xbb\xbf{\"name\":\"a\",\"task\":{\"command\":[\"x\"]}}", NULL},
    {"a.jsonnet", "\xef\xbb\xbf{name:'a',task:{command:['x']}}", NULL},
    {"a.yaml", "\xef\xbb\xbfname: a\ntask: {command: [x]}\n", NULL},
    {"a.json", "\xff\xfe{", "is UTF-16"},
    {"a.json", "\xfe\xff", "is UTF-16"},
    {"a.json", "{\n\"name\":\"\xe9\"}", "line 2 is not UTF-8"},
    {"a.yaml", "name: \xe9\n", "line 1 is not UTF-8"},
};

START_TEST(specs_are_utf8_with_or_without_a_mark)
{
    CLEANUP(buf_release) struct buf problems = {0};
    struct specs file;
    const struct marked *m = &marked[_i];
    if (m->message == NULL) {
        T_OK(load_text(m->name, m->bytes, &file, &problems));
        ck_assert_str_eq(file.jobs[0].name, "a");
        specs_release(&file);
    } else {
        T_REFUSED(load_text(m->name, m->bytes, &file, &problems), ERR_INVALID);
        T_CONTAINS(t_err.msg, m->message);
    }
}
END_TEST

struct digits {
    const char *name, *value; /* in the file */
    const char *env;          /* what the task sees; NULL: refused */
};

static const struct digits digits[] = {
    {"a.json", "8080", "8080"},
    {"a.json", "-1", "-1"},
    {"a.json", "0", "0"},
    {"a.json", "9007199254740991", "9007199254740991"},
    {"a.json", "9007199254740993", NULL},
    {"a.json", "20231231235959123456", NULL},
    {"a.json", "-99999999999999999999", NULL},
    {"a.json", "1.10", NULL},
    {"a.json", "1.0", NULL},
    {"a.json", "1e3", NULL},
    {"a.json", "\"1.10\"", "1.10"},
    {"a.json", "true", "true"},
    {"a.jsonnet", "8080", "8080"},
    {"a.jsonnet", "9007199254740993", NULL},
    {"a.jsonnet", "20231231235959123456", NULL},
    {"a.jsonnet", "1.5", NULL},
    {"a.yaml", "8080", "8080"},
    {"a.yaml", "007", "007"},
    {"a.yaml", "+5", "+5"},
    {"a.yaml", "-0", "-0"},
    {"a.yaml", "1.10", NULL},
    {"a.yaml", "1e3", NULL},
    {"a.yaml", "20231231235959123456", NULL},
    {"a.yaml", "'1.10'", "1.10"},
    {"a.yaml", "0x1F", "0x1F"},
};

/* A neighbour that is too long for 64 bits must not change what is said of the others. */
START_TEST(a_variable_has_the_digits_of_the_file_or_is_refused)
{
    CLEANUP(buf_release) struct buf problems = {0};
    struct specs file;
    const struct digits *d = &digits[_i];
    char text[256], line[128];
    bool yaml = strcmp(d->name, "a.yaml") == 0;
    snprintf(text, sizeof text,
             yaml ? "name: a\ntask:\n  command: [x]\n  env:\n    P: 1\n    V: %s\n"
                  : "{\"name\":\"a\",\"task\":{\"command\":[\"x\"],\"env\":{\"P\":1,\"V\":%s}}}",
             d->value);
    if (d->env == NULL) {
        T_REFUSED(load_text(d->name, text, &file, &problems), ERR_INVALID);
        T_CONTAINS(buf_text(&problems), "task.env.V: a fraction, or more than 15 digits");
        ck_assert_ptr_null(strstr(buf_text(&problems), "task.env.P"));
        return;
    }
    T_OK(load_text(d->name, text, &file, &problems));
    snprintf(line, sizeof line, "V=%s", d->env);
    const char *first = words_first(&file.jobs[0].env);
    ck_assert_str_eq(words_next(&file.jobs[0].env, first), line);
    specs_release(&file);
}
END_TEST

START_TEST(files_that_are_no_specs_are_refused)
{
    CLEANUP(buf_release) struct buf problems = {0};
    CLEANUP(buf_release) struct buf large = {0};
    struct specs file;
    T_REFUSED(load_text("a.txt", "{}", &file, &problems), ERR_INVALID);
    T_CONTAINS(t_err.msg, "--format");
    T_REFUSED(load("/no/such.json", &file, &problems), ERR_IO);
    T_CONTAINS(t_err.msg, "/no/such.json");
    memset(buf_reserve(&large, JOBFILE_BYTES_MAX + 1), ' ', JOBFILE_BYTES_MAX + 1);
    large.size = JOBFILE_BYTES_MAX + 1;
    buf_append(&large, "", 0);
    T_REFUSED(load_text("large.json", buf_text(&large), &file, &problems), ERR_INVALID);
    T_CONTAINS(t_err.msg, "1024 KiB");
    T_REFUSED(load_text("many.jsonnet", "[]", &file, &problems), ERR_INVALID);
    T_CONTAINS(t_err.msg, "gives 0 jobs");
}
END_TEST

START_TEST(the_help_lists_every_field_with_its_default)
{
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);
    jobfile_help(to);
    fclose(to);
    T_CONTAINS(text, "task.resources.ram");
    T_CONTAINS(text, "[128Mi]");
    T_CONTAINS(text, "task.grace");
    free(text);
}
END_TEST

START_TEST(the_reference_page_is_the_one_in_the_repository)
{
    char *text = NULL, there[65536];
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);
    jobfile_page(to);
    fclose(to);
    FILE *file = fopen("doc/job-spec.md", "r");
    ck_assert_msg(file != NULL, "doc/job-spec.md: make doc makes it");
    size_t length = fread(there, 1, sizeof there - 1, file);
    there[length] = '\0';
    fclose(file);
    ck_assert_msg(strcmp(text, there) == 0, "doc/job-spec.md is out of date: make doc");
    free(text);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("jobfile");
    TCase *tcase = tcase_create("jobfile");
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, every_mistake_is_told_with_its_path, 0, ARRAY_SIZE(mistakes));
    tcase_add_loop_test(tcase, the_schema_refuses_what_it_can_say, 0, ARRAY_SIZE(mistakes));
    tcase_add_test(tcase, all_mistakes_are_told_at_once);
    tcase_add_test(tcase, mistakes_beyond_the_bound_are_counted);
    tcase_add_test(tcase, defaults_are_those_of_the_cell);
    tcase_add_loop_test(tcase, the_schema_accepts_what_is_read, 0, ARRAY_SIZE(good));
    tcase_add_test(tcase, every_field_arrives);
    tcase_add_test(tcase, what_a_dry_run_prints_is_the_same_job);
    tcase_add_test(tcase, an_alloc_set_and_a_job_inside_arrive);
    tcase_add_test(tcase, shapes_arrive_in_order_and_are_printed);
    tcase_add_test(tcase, yaml_gives_the_same_job);
    tcase_add_test(tcase, yaml_keeps_quoted_text_as_text);
    tcase_add_loop_test(tcase, broken_yaml_is_told_with_its_line, 0, ARRAY_SIZE(broken));
    tcase_add_test(tcase, jsonnet_errors_are_passed_on);
    tcase_add_test(tcase, imports_and_arguments_reach_the_spec);
    tcase_add_loop_test(tcase, a_runaway_spec_is_ended, 0, ARRAY_SIZE(runaways));
    tcase_add_test(tcase, a_spec_that_waits_for_a_pipe_is_ended);
    tcase_add_loop_test(tcase, specs_are_utf8_with_or_without_a_mark, 0, ARRAY_SIZE(marked));
    tcase_add_loop_test(tcase, a_variable_has_the_digits_of_the_file_or_is_refused, 0,
                        ARRAY_SIZE(digits));
    tcase_add_test(tcase, files_that_are_no_specs_are_refused);
    tcase_add_test(tcase, the_help_lists_every_field_with_its_default);
    tcase_add_test(tcase, the_reference_page_is_the_one_in_the_repository);
    suite_add_tcase(suite, tcase);
    return t_main(suite);
}
