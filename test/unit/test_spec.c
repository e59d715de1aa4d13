/*
 * test_spec.c - bands, names, back-off, and every way a spec is refused.
 */
#include "fields.h"
#include "cell_fixture.h"

START_TEST(bands_begin_and_end_where_borg_says)
{
    static const struct {
        uint32_t priority;
        enum band band;
        bool prod;
    } rows[] = {
        {0, BAND_FREE, false},        {99, BAND_FREE, false},       {100, BAND_BATCH, false},
        {119, BAND_BATCH, false},     {120, BAND_PRODUCTION, true}, {359, BAND_PRODUCTION, true},
        {360, BAND_MONITORING, true}, {450, BAND_MONITORING, true},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        ck_assert_int_eq(band_of(rows[i].priority), rows[i].band);
        ck_assert(priority_is_prod(rows[i].priority) == rows[i].prod);
    }
}
END_TEST

START_TEST(only_strictly_lower_work_that_is_not_prod_may_be_evicted)
{
    for (uint32_t by = 0; by <= PRIORITY_MAX; by++)
        for (uint32_t victim = 0; victim <= PRIORITY_MAX; victim++)
            ck_assert(priority_may_evict(by, victim) == (victim < by && victim < 120));
}
END_TEST

START_TEST(texts_and_their_parsers_are_inverse)
{
    for (int i = 0; i < APPCLASS_COUNT; i++)
        ck_assert_int_eq(enumeration_parse(&appclasses, appclass_text((enum appclass)i)), i);
    for (int i = 0; i < RESTART_COUNT; i++)
        ck_assert_int_eq(enumeration_parse(&restarts, restart_text((enum restart)i)), i);
    for (int i = 0; i < POLICY_SPEC_COUNT; i++)
        ck_assert_int_eq(policy_parse(policy_text((enum policy)i)), i);
    ck_assert_int_eq(enumeration_parse(&appclasses, "Batch"), -1);
    ck_assert_int_eq(enumeration_parse(&restarts, ""), -1);
    ck_assert_int_eq(policy_parse("best"), -1);
}
END_TEST

START_TEST(names_are_short_lower_case_and_start_alphanumeric)
{
    char longest[CELL_NAME_MAX + 2];
    memset(longest, 'a', sizeof longest);
    longest[CELL_NAME_MAX] = '\0';
    const char *good[] = {"a", "0", "web-1.x_y", longest};
    const char *bad[] = {"", "-a", ".a", "_a", "A", "a b", "a/b", "\xc3\xa4", "a\n"};
    for (size_t i = 0; i < ARRAY_SIZE(good); i++)
        ck_assert_msg(name_valid(good[i]), "%s", good[i]);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        ck_assert_msg(!name_valid(bad[i]), "%s", bad[i]);
    longest[CELL_NAME_MAX] = 'a';
    longest[CELL_NAME_MAX + 1] = '\0';
    ck_assert(!name_valid(longest));
}
END_TEST

START_TEST(back_off_doubles_up_to_its_bound)
{
    struct job_spec spec;
    spec_init(&spec);
    spec.backoff_ms = 1000;
    spec.backoff_max_ms = 5000;
    static const uint32_t waits[] = {1000, 2000, 4000, 5000, 5000};
    for (uint32_t i = 0; i < ARRAY_SIZE(waits); i++)
        ck_assert_uint_eq(spec_backoff_ms(&spec, i + 1), waits[i]);
    ck_assert_uint_eq(spec_backoff_ms(&spec, UINT32_MAX), 5000);
    spec.backoff_ms = 0;
    ck_assert_uint_eq(spec_backoff_ms(&spec, UINT32_MAX), 0);
}
END_TEST

START_TEST(variables_that_are_only_alike_are_allowed)
{
    struct job_spec spec;
    struct err err;
    spec_init(&spec);
    str_copy(spec.name, sizeof spec.name, "web");
    words_add(&spec.argv, "true");
    /* Without ports nothing sets PORT; case tells variables apart; a prefix is no name. */
    static const char *const env[] = {"PORT=80",     "PORT_HTTP=80", "port=1", "BORG=1",
                                      "BORG_DIRS=1", "A=1",          "a=1",    "AB=1"};
    for (size_t i = 0; i < ARRAY_SIZE(env); i++)
        words_add(&spec.env, env[i]);
    ck_assert_msg(spec_valid(&spec, &err) == 0, "%s", err.msg);
    spec_release(&spec);
}
END_TEST

START_TEST(words_are_walked_in_order_and_copied_whole)
{
    struct words words = {0};
    ck_assert_ptr_null(words_first(&words));
    words_add(&words, "one");
    words_add(&words, "");
    words_add(&words, "three");
    struct words copy = words_copy(&words);
    words_release(&words);
    const char *w = words_first(&copy);
    ck_assert_str_eq(w, "one");
    ck_assert_str_eq(w = words_next(&copy, w), "");
    ck_assert_str_eq(w = words_next(&copy, w), "three");
    ck_assert_ptr_null(words_next(&copy, w));
    words_release(&copy);
}
END_TEST

/* Each breaks a valid spec in one way. */
static void break_name(struct job_spec *s)
{
    str_copy(s->name, sizeof s->name, "No");
}
static void break_user(struct job_spec *s)
{
    str_copy(s->user, sizeof s->user, "a b");
}
static void break_priority(struct job_spec *s)
{
    s->priority = 451;
}
static void break_appclass(struct job_spec *s)
{
    s->appclass = APPCLASS_COUNT;
}
static void break_policy(struct job_spec *s)
{
    s->policy = POLICY_SPEC_COUNT;
}
static void break_restart(struct job_spec *s)
{
    s->restart = RESTART_COUNT;
}
static void no_replicas(struct job_spec *s)
{
    s->replicas = 0;
}
static void many_replicas(struct job_spec *s)
{
    s->replicas = CELL_TASKS_PER_JOB_MAX + 1;
}
static void no_command(struct job_spec *s)
{
    words_release(&s->argv);
}
static void no_cpu(struct job_spec *s)
{
    s->limit.v[RES_CPU] = 0;
}
static void no_ram(struct job_spec *s)
{
    s->limit.v[RES_RAM] = 0;
}
static void negative_disk(struct job_spec *s)
{
    s->limit.v[RES_DISK] = -1;
}
static void huge_ram(struct job_spec *s)
{
    s->limit.v[RES_RAM] = RESOURCE_AMOUNT_MAX + 1;
}
static void shape_without_ram(struct job_spec *s)
{
    spec_add_shape(s, 500, 0);
}
static void shape_with_other_ports(struct job_spec *s)
{
    spec_add_shape(s, 500, 1);
    s->alternatives[0].v[RES_PORTS] = 1;
}
static void shape_never_chosen(struct job_spec *s)
{
    spec_add_shape(s, 500, 10);
    spec_add_shape(s, 600, 10);
}
static void many_shapes(struct job_spec *s)
{
    s->alternative_count = SPEC_SHAPES_MAX;
}
static void ports_do_not_match(struct job_spec *s)
{
    s->limit.v[RES_PORTS] = 1;
}
static void long_backoff(struct job_spec *s)
{
    s->backoff_max_ms = BACKOFF_MS_MAX + 1;
}
static void backoff_above_max(struct job_spec *s)
{
    s->backoff_ms = s->backoff_max_ms + 1;
}
static void long_grace(struct job_spec *s)
{
    s->grace_ms = GRACE_MS_MAX + 1;
}
static void env_without_value(struct job_spec *s)
{
    words_add(&s->env, "HOME");
}
static void env_without_name(struct job_spec *s)
{
    words_add(&s->env, "=x");
}
static void damaged_words(struct job_spec *s)
{
    s->argv.count = 2;
}

static void empty_command(struct job_spec *s)
{
    words_release(&s->argv);
    words_add(&s->argv, "");
}

static void bad_port_name(struct job_spec *s)
{
    words_add(&s->ports, "HTTP");
    s->limit.v[RES_PORTS] = 1;
}

static void port_twice(struct job_spec *s)
{
    words_add(&s->ports, "http");
    words_add(&s->ports, "http");
    s->limit.v[RES_PORTS] = 2;
}

static void two_ports(struct job_spec *s, const char *one, const char *other)
{
    words_add(&s->ports, one);
    words_add(&s->ports, other);
    s->limit.v[RES_PORTS] = 2;
}

static void ports_dash_and_dot(struct job_spec *s)
{
    two_ports(s, "a-b", "a.b");
}

static void ports_underscore_and_dash(struct job_spec *s)
{
    two_ports(s, "x_y.z", "x-y_z");
}

static void env_is_a_port(struct job_spec *s)
{
    two_ports(s, "http", "http-alt");
    words_add(&s->env, "PORT_HTTP_ALT=1");
}

static void env_is_the_first_port(struct job_spec *s)
{
    two_ports(s, "http", "admin");
    words_add(&s->env, "PORT=1");
}

static void env_is_the_cells(struct job_spec *s)
{
    words_add(&s->env, "BORG_DIR=/");
}

static void env_twice(struct job_spec *s)
{
    words_add(&s->env, "A=1");
    words_add(&s->env, "AA=1");
    words_add(&s->env, "A=2");
}

static void many_args(struct job_spec *s)
{
    for (int i = 0; i < SPEC_ARGS_MAX; i++)
        words_add(&s->argv, "x");
}

static void many_env(struct job_spec *s)
{
    for (int i = 0; i <= SPEC_ENV_MAX; i++)
        words_add(&s->env, "A=1");
}

static void many_ports(struct job_spec *s)
{
    for (int i = 0; i <= SPEC_PORTS_MAX; i++)
        words_add(&s->ports, "http");
}

static void long_command(struct job_spec *s)
{
    static char text[SPEC_BYTES_MAX];
    memset(text, 'x', sizeof text - 1);
    words_add(&s->argv, text);
}

static void constraint(struct job_spec *s, const char *attribute, enum term_op op)
{
    struct term term = {.op = op};
    str_copy(term.attribute, sizeof term.attribute, attribute);
    words_add(&term.values, "r1(");
    clause_add(clauses_add(&s->constraints, 0), term);
}

static void bad_regex(struct job_spec *s)
{
    constraint(s, "rack", OP_REGEX);
}

static void bad_constraint_value(struct job_spec *s)
{
    constraint(s, "rack", OP_EQUAL);
}

static void bad_attribute(struct job_spec *s)
{
    constraint(s, "Rack", OP_EXISTS);
}

static void empty_clause(struct job_spec *s)
{
    clauses_add(&s->constraints, 0);
}

static void large_constraints(struct job_spec *s)
{
    char value[ATTRIBUTE_VALUE_MAX + 1];
    snprintf(value, sizeof value, "%0*d", ATTRIBUTE_VALUE_MAX, 0);
    for (int i = 0; i < SPEC_CLAUSES_MAX; i++) {
        struct term term = {.attribute = "a", .op = OP_IN};
        for (int j = 0; j < SPEC_TERM_VALUES_MAX; j++)
            words_add(&term.values, value);
        clause_add(clauses_add(&s->constraints, 0), term);
    }
}

static void spread(struct job_spec *s, const char *by, uint32_t max, uint32_t weight)
{
    struct spread *to = &s->spreads[s->spread_count++];
    *to = (struct spread){.max = max, .weight = weight};
    str_copy(to->by, sizeof to->by, by);
}

static void spread_by_nothing(struct job_spec *s)
{
    spread(s, "", 1, 0);
}

static void spread_that_says_nothing(struct job_spec *s)
{
    spread(s, "machine", 1, 0);
    spread(s, "rack", 0, 0);
}

static void spread_twice(struct job_spec *s)
{
    spread(s, "rack", 1, 0);
    spread(s, "rack", 0, 1);
}

static void spread_too_heavy(struct job_spec *s)
{
    spread(s, "rack", 0, WEIGHT_MAX + 1);
}

static void many_spreads(struct job_spec *s)
{
    s->spread_count = SPEC_SPREADS_MAX + 1;
}

static void alloc_without_cpu(struct job_spec *s)
{
    words_release(&s->argv);
    s->is_alloc_set = true;
    s->limit.v[RES_CPU] = 0;
}

static void alloc_with_a_wide_spread(struct job_spec *s)
{
    words_release(&s->argv);
    s->is_alloc_set = true;
    spread(s, "rack", CELL_TASKS_PER_JOB_MAX + 1, 0);
}

#if CELL_FORMAT >= 2
static void label_with_a_bad_name(struct job_spec *s)
{
    words_add(&s->labels, "Team=search");
}

static void label_with_a_long_name(struct job_spec *s)
{
    char word[CELL_NAME_MAX + 4];
    memset(word, 'a', sizeof word);
    snprintf(word + CELL_NAME_MAX + 1, 3, "=x");
    words_add(&s->labels, word);
}

static void label_with_a_long_value(struct job_spec *s)
{
    char word[ATTRIBUTE_VALUE_MAX + 8];
    snprintf(word, sizeof word, "team=%0*d", ATTRIBUTE_VALUE_MAX + 1, 0);
    words_add(&s->labels, word);
}

static void label_without_a_value(struct job_spec *s)
{
    words_add(&s->labels, "team");
}

static void label_twice(struct job_spec *s)
{
    words_add(&s->labels, "team=a");
    words_add(&s->labels, "team=b");
}

static void many_labels(struct job_spec *s)
{
    for (int i = 0; i <= LABELS_MAX; i++) {
        char word[16];
        snprintf(word, sizeof word, "l%d=x", i);
        words_add(&s->labels, word);
    }
}
#endif

static const struct {
    void (*breaks)(struct job_spec *spec);
    const char *path;
} refusals[] = {
    {break_name, "name: \"No\""},
    {break_user, "user: \"a b\""},
    {break_priority, "priority: 451 is not between 0 and 450"},
    {break_appclass, "appclass: "},
    {break_policy, "policy: "},
    {break_restart, "task.restart: "},
    {no_replicas, "replicas: 0"},
    {many_replicas, "replicas: "},
    {no_command, "task.command: is missing"},
    {empty_command, "task.command: is missing"},
    {damaged_words, "task.command: the list is damaged"},
    {many_args, "task.command: 257 entries"},
    {long_command, "task.command, task.env: "},
    {many_env, "task.env: 257 entries"},
    {env_without_value, "task.env: \"HOME\""},
    {env_without_name, "task.env: \"=x\""},
    {many_ports, "task.ports: 17 entries"},
    {bad_port_name, "task.ports: \"HTTP\""},
    {port_twice, "task.ports: \"http\" is there twice"},
    {ports_dash_and_dot, "task.ports: \"a-b\" and \"a.b\" are one variable, PORT_A_B;"},
    {ports_underscore_and_dash,
     "task.ports: \"x_y.z\" and \"x-y_z\" are one variable, PORT_X_Y_Z;"},
    {env_is_a_port, "task.env: PORT_HTTP_ALT is the variable of the port \"http-alt\""},
    {env_is_the_first_port, "task.env: PORT is the variable of the port \"http\""},
    {env_is_the_cells, "task.env: BORG_DIR is set by the machine"},
    {env_twice, "task.env: A is there twice"},
    {ports_do_not_match, "task.resources.ports: 1"},
    {no_cpu, "task.resources.cpu: "},
    {no_ram, "task.resources.ram: "},
    {negative_disk, "task.resources.disk: must not be negative"},
    {huge_ram, "task.resources.ram: 1125899906842625 is more than 1Pi"},
    {shape_without_ram, "task.resources[1].ram: must be more than 0"},
    {shape_with_other_ports, "task.resources.ports: 1"},
    {shape_never_chosen, "task.resources[2]: asks for no less of anything than [1]"},
    {many_shapes, "task.resources: 5 shapes are too many"},
    {backoff_above_max, "task.max_backoff: is less than task.backoff"},
    {long_backoff, "task.max_backoff: 3600001ms is more than 1h"},
    {long_grace, "task.grace: "},
    {bad_regex, "task.constraints[0]: \"r1(\" is not a regular expression"},
    {bad_constraint_value, "task.constraints[0]: \"r1(\" can be no value"},
    {bad_attribute, "task.constraints[0]: \"Rack\" is no attribute"},
    {empty_clause, "task.constraints[0]: 0 alternatives"},
    {large_constraints, "task.command, task.env: "},
    {spread_by_nothing, "task.spread[0].by: \"\" is not a name"},
    {spread_that_says_nothing, "task.spread[1]: says neither"},
    {spread_twice, "task.spread[1].by: \"rack\" is there twice"},
    {spread_too_heavy, "task.spread[0].weight: 101 is not between 0 and 100"},
    {many_spreads, "task.spread: 5 entries"},
    {alloc_without_cpu, "alloc.resources.cpu: must be more than 0"},
    {alloc_with_a_wide_spread, "alloc.spread[0].max: 262145 is not between 0 and 262144"},
#if CELL_FORMAT >= 2
    {label_with_a_bad_name, "labels: \"Team\" is not a name"},
    {label_with_a_long_name, "labels: \"aaa"},
    {label_with_a_long_value, "labels.team: has 128 bytes, at most 127 are allowed"},
    {label_without_a_value, "labels: \"team\" is not of the form NAME=value"},
    {label_twice, "labels: team is there twice"},
    {many_labels, "labels: 33 entries are too many"},
#endif
};

START_TEST(each_mistake_is_refused_with_its_path)
{
    struct job_spec spec = spec_named("web", "ada", 100);
    struct err err = {0};
    ck_assert_int_eq(spec_valid(&spec, &err), 0);
    refusals[_i].breaks(&spec);
    ck_assert_int_eq(spec_valid(&spec, &err), -ERR_INVALID);
    ck_assert_int_eq(spec_valid(&spec, NULL), -ERR_INVALID);
    ck_assert_msg(strncmp(err.msg, refusals[_i].path, strlen(refusals[_i].path)) == 0, "%s",
                  err.msg);
    spec_release(&spec);
}
END_TEST

START_TEST(defaults_lack_only_a_name_and_a_command)
{
    struct job_spec spec;
    spec_init(&spec);
    str_copy(spec.name, sizeof spec.name, "web");
    words_add(&spec.argv, "true");
    ck_assert_int_eq(spec_valid(&spec, NULL), 0);
    struct job_spec copy;
    spec_copy(&copy, &spec);
    ck_assert_ptr_ne(copy.argv.bytes, spec.argv.bytes);
    spec_release(&spec);
    ck_assert_int_eq(spec_valid(&copy, NULL), 0);
    spec_release(&copy);
}
END_TEST

START_TEST(resources_fit_only_in_every_part)
{
    struct resources room = amounts(10, 10, 10, 10);
    ck_assert(resources_fit(&room, &room));
    for (int r = 0; r < RES_COUNT; r++) {
        struct resources need = {{0}};
        need.v[r] = 11;
        ck_assert(!resources_fit(&need, &room));
    }
    struct resources sum = room;
    resources_add(&sum, &room);
    resources_subtract(&sum, &room);
    ck_assert_mem_eq(&sum, &room, sizeof sum);
    CLEANUP(buf_release) struct buf text = {0};
    struct resources print = amounts(500, INT64_C(1) << 30, 0, 1);
    const struct resource_names names = {{"", "tape"}};
    resources_print(&text, &print, &names);
    ck_assert_str_eq(buf_text(&text), "cpu 500m, ram 1Gi, disk 0, ports 1");
    print.v[RES_GPU] = 2500;
    print.v[RES_NAMED + 1] = 4;
    buf_clear(&text);
    resources_print(&text, &print, &names);
    ck_assert_str_eq(buf_text(&text), "cpu 500m, ram 1Gi, disk 0, ports 1, gpu 2.5, tape 4");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("spec");
    TCase *tcase = tcase_create("spec");
    tcase_add_test(tcase, bands_begin_and_end_where_borg_says);
    tcase_add_test(tcase, only_strictly_lower_work_that_is_not_prod_may_be_evicted);
    tcase_add_test(tcase, texts_and_their_parsers_are_inverse);
    tcase_add_test(tcase, names_are_short_lower_case_and_start_alphanumeric);
    tcase_add_test(tcase, back_off_doubles_up_to_its_bound);
    tcase_add_test(tcase, variables_that_are_only_alike_are_allowed);
    tcase_add_test(tcase, words_are_walked_in_order_and_copied_whole);
    tcase_add_loop_test(tcase, each_mistake_is_refused_with_its_path, 0, ARRAY_SIZE(refusals));
    tcase_add_test(tcase, defaults_lack_only_a_name_and_a_command);
    tcase_add_test(tcase, resources_fit_only_in_every_part);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
