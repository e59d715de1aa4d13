/*
 * test_spec_json.c - specs as JSON: what is read, printed and compared follows from the table.
 */
#include "cell_fixture.h"
#include "random_cmd.h"
#include "spec_json_impl.h"
#include "testlib.h"
#include "utf8.h"

static json_t *json_of(const char *text)
{
    json_error_t why;
    json_t *value = json_loads(text, JSON_DECODE_ANY, &why);
    ck_assert_msg(value != NULL, "%s: %s", text, why.text);
    return value;
}

static int read_text(const char *text, struct job_spec *ret, struct buf *problems)
{
    json_t *value = json_of(text);
    int rv = spec_json_read(value, ret, problems, NULL);
    json_decref(value);
    return rv;
}

/* A record as somebody may add: a line for each type and form of plain fields. */
enum colour { COLOUR_RED, COLOUR_GREEN };
static const char *const colour_texts[] = {"red", "green"};
static const struct enumeration colours = {"colour", colour_texts, ARRAY_SIZE(colour_texts)};
struct point {
    int32_t x;
};
static const struct field point_fields[] = {FIELD(point, x, "x", .otherwise = "-1")};
static const struct record point_record = RECORD(point, "point", point_fields);
struct sample {
    bool on;
    uint16_t small;
    int64_t whole;
    enum colour colour;
    uint32_t wait_ms;
    int64_t room;
    uint32_t flags;
    char label[8];
    char *text;
    struct words list;
    struct words map;
    struct point *points;
    uint32_t point_count;
    uint64_t numbers[3];
    uint32_t number_count;
    char name[CELL_NAME_MAX + 1];
};
static const struct field sample_fields[] = {
    FIELD(sample, on, "on", .otherwise = "true", .doc = "a bool"),
    FIELD(sample, small, "a.small", .min = 2, .max = 9, .otherwise = "3", .doc = "a number"),
    FIELD(sample, whole, "a.whole", .otherwise = "", .doc = "any number"),
    FIELD_CHOICE(sample, colour, "a.b.colour", colours, .otherwise = "green", .doc = "a choice"),
    FIELD(sample, wait_ms, "a.b.wait", .form = FORM_MS, .max = 60000, .otherwise = "1.5s",
          .doc = "a time"),
    FIELD(sample, room, "room", .form = FORM_BYTES, .max = 1 << 30, .otherwise = "1Ki",
          .doc = "bytes"),
    {.name = "flag", .type = FIELD_FLAG, FIELD_AT(sample, flags), .bit = 3, .otherwise = "false"},
    FIELD_CHARS(sample, label, "label", .otherwise = "none", .doc = "a short text"),
    FIELD(sample, text, "text", .max = 10, .otherwise = "", .doc = "a text"),
    FIELD(sample, list, "list", .max = 3, .otherwise = "", .doc = "words"),
    FIELD(sample, map, "map", .form = FORM_MAP, .max = 2, .otherwise = "", .doc = "a map"),
    FIELD_HEAP(sample, points, "points", point_count, 4, point_record, .otherwise = "",
               .doc = "objects"),
    FIELD_ITEMS(sample, numbers, "numbers", number_count, record_u64, .otherwise = "",
                .doc = "numbers"),
    FIELD_CHARS(sample, name, "name", .form = FORM_NAME, .doc = "a name"),
};
static const struct record sample_record = RECORD(sample, "sample", sample_fields);

/* The problems, of which there are none when the sample is good. */
static void sample_read(const char *text, struct sample *ret, struct buf *problems)
{
    json_t *value = json_of(text);
    struct spec_reader r = {.problems = problems};
    record_init(&sample_record, ret);
    record_set_defaults(&sample_record, ret);
    spec_object_read(&r, &sample_record, ret, "", value);
    json_decref(value);
}

static const struct {
    const char *text, *printed; /* NULL: it is printed as it is */
} samples[] = {
    {"{\"name\":\"n\"}",
     "{\"on\":true,\"room\":\"1Ki\",\"flag\":false,\"label\":\"none\",\"text\":\"\",\"list\":[],"
     "\"map\":{},\"points\":[],\"numbers\":[],\"name\":\"n\",\"a\":{\"small\":3,\"whole\":0,\"b\":{"
     "\"colour\":\"green\",\"wait\":\"1.5s\"}}}"},
    {"{\"on\":false,\"room\":\"2Mi\",\"flag\":true,\"label\":\"x\",\"text\":\"long\",\"list\":["
     "\"a\",\"\"],\"map\":{\"k\":\"v=w\",\"l\":\"\"},\"points\":[{\"x\":5},{\"x\":-7}],\"numbers\":"
     "["
     "1,9],\"name\":\"n\",\"a\":{\"small\":9,\"whole\":-5,\"b\":{\"colour\":\"red\",\"wait\":"
     "\"1m\"}"
     "}}",
     NULL},
    {"{\"name\":\"n\",\"points\":[{}],\"numbers\":[18014398509481984],\"map\":{\"k\":7}}",
     "{\"on\":true,\"room\":\"1Ki\",\"flag\":false,\"label\":\"none\",\"text\":\"\",\"list\":[],"
     "\"map\":{\"k\":\"7\"},\"points\":[{\"x\":-1}],\"numbers\":[18014398509481984],\"name\":\"n\","
     "\"a\":{\"small\":3,\"whole\":0,\"b\":{\"colour\":\"green\",\"wait\":\"1.5s\"}}}"},
};

START_TEST(a_line_of_the_table_is_all_that_a_field_needs)
{
    CLEANUP(buf_release) struct buf problems = {0}, printed = {0}, schema = {0};
    struct sample sample;
    sample_read(samples[_i].text, &sample, &problems);
    ck_assert_str_eq(buf_text(&problems), "");
    spec_object_print(&printed, &sample_record, &sample, "");
    ck_assert_str_eq(buf_text(&printed),
                     samples[_i].printed == NULL ? samples[_i].text : samples[_i].printed);
    record_release(&sample_record, &sample);
    buf_printf(&schema, "{");
    spec_schema_object(&schema, &sample_record, "");
    buf_printf(&schema, "}");
    json_decref(json_of(buf_text(&schema)));
    T_CONTAINS(buf_text(&schema), "\"small\":{\"description\":\"a number\",\"type\":\"integer\","
                                  "\"minimum\":2,\"maximum\":9,\"default\":3}");
    T_CONTAINS(buf_text(&schema), "\"required\":[\"name\"]");
}
END_TEST

static const struct {
    const char *text, *problem;
} sample_mistakes[] = {
    {"{}", "name: is missing: a name"},
    {"{\"name\":\"n\",\"on\":1}", "on: must be true or false, not a number"},
    {"{\"name\":\"n\",\"flag\":\"x\"}", "flag: must be true or false, not a string"},
    {"{\"name\":\"n\",\"a\":{\"small\":1}}", "a.small: 1 is not between 2 and 9"},
    {"{\"name\":\"n\",\"a\":{\"small\":10}}", "a.small: 10 is not between 2 and 9"},
    {"{\"name\":\"n\",\"a\":{\"small\":65538}}", "a.small: 65538 is not between 2 and 9"},
    {"{\"name\":\"n\",\"a\":{\"small\":2.5}}", "a.small: 2.5 is not a whole number"},
    {"{\"name\":\"n\",\"a\":{\"whole\":1e19}}", "a.whole: 1e+19 is too large a number"},
    {"{\"name\":\"n\",\"a\":{\"smal\":3}}", "a.smal: unknown field; did you mean a.small?"},
    {"{\"name\":\"n\",\"a\":{\"b\":{\"colr\":3}}}",
     "a.b.colr: unknown field; did you mean a.b.colour?"},
    {"{\"name\":\"n\",\"a\":3}", "a: must be an object, not a number"},
    {"{\"name\":\"n\",\"a\":{\"b\":{\"colour\":\"blue\"}}}",
     "a.b.colour: \"blue\" is not red or green"},
    {"{\"name\":\"n\",\"a\":{\"b\":{\"wait\":\"2h\"}}}", "a.b.wait: 2h is more than 1m"},
    {"{\"name\":\"n\",\"room\":\"2Gi\"}", "room: 2Gi is more than 1Gi"},
    {"{\"name\":\"n\",\"label\":\"12345678\"}", "label: has 8 bytes, at most 7 are allowed"},
    {"{\"name\":\"n\",\"text\":\"12345678901\"}", "text: has 11 bytes, at most 10 are allowed"},
    {"{\"name\":\"n\",\"text\":[]}", "text: must be a string, not an array"},
    {"{\"name\":\"n\",\"list\":[\"a\",1]}", "list[1]: must be a string, not a number (words)"},
    {"{\"name\":\"n\",\"list\":[\"a\",\"b\",\"c\",\"d\"]}", "list: has 4 words, at most 3"},
    {"{\"name\":\"n\",\"map\":{\"K\":\"v\"}}", "map.K: is not a name"},
    {"{\"name\":\"n\",\"map\":{\"k\":null}}", "map.k: must be a string, a number or a boolean"},
    {"{\"name\":\"n\",\"map\":{\"k\":1.5}}", "map.k: a fraction"},
    {"{\"name\":\"n\",\"map\":{\"a\":1,\"b\":1,\"c\":1}}", "map: has 3 entries, at most 2"},
    {"{\"name\":\"n\",\"points\":[{\"x\":1},{\"y\":1}]}",
     "points[1].y: unknown field; did you mean x?"},
    {"{\"name\":\"n\",\"points\":[1]}", "points[0]: must be an object {x}, not a number"},
    {"{\"name\":\"n\",\"points\":{}}", "points: must be an array, not an object"},
    {"{\"name\":\"n\",\"numbers\":[1,2,3,4]}", "numbers: has 4 entries, at most 3"},
    {"{\"name\":\"n\",\"numbers\":[-1]}", "numbers[0]: -1 is not between 0 and "},
    {"{\"name\":\"N\"}", "name: \"N\" is not a name"},
};

START_TEST(a_mistake_in_any_field_is_told_with_its_path)
{
    CLEANUP(buf_release) struct buf problems = {0};
    struct sample sample;
    const char *expected = sample_mistakes[_i].problem;
    sample_read(sample_mistakes[_i].text, &sample, &problems);
    ck_assert_msg(strncmp(buf_text(&problems), expected, strlen(expected)) == 0, "%s not %s",
                  buf_text(&problems), expected);
    ck_assert_ptr_eq(strchr(buf_text(&problems), '\n'), strrchr(buf_text(&problems), '\n'));
    record_release(&sample_record, &sample);
}
END_TEST

static const struct {
    const char *spec, *problem;
} mistakes[] = {
    {"{\"name\":\"a\",\"task\":{\"comand\":1,\"command\":\"x\"}}",
     "task.comand: unknown field; did you mean task.command?"},
    {"{\"name\":\"a\",\"alloc\":{\"resources\":[]}}",
     "alloc.resources: must be an object, not an array"},
    {"{\"name\":\"a\",\"alloc\":{\"resource\":{}}}",
     "alloc.resource: unknown field; did you mean alloc.resources?"},
    {"{\"name\":\"a\",\"alloc\":{\"resources\":{\"ports\":65536}}}",
     "alloc.resources.ports: 65536 is not between 0 and 65535"},
    {"{\"name\":\"a\",\"alloc\":{\"constraints\":[\"a regex (\"]}}", "alloc.constraints[0]: "},
    {"{\"name\":\"a\",\"alloc\":{\"spread\":[{\"by\":\"rack\"}]}}",
     "alloc.spread[0]: says neither max nor weight"},
#if CELL_FORMAT >= 2
    {"{\"name\":\"a\",\"labels\":{\"Team\":\"x\"},\"task\":{\"command\":\"x\"}}",
     "labels.Team: is not a name"},
    {"{\"name\":\"a\",\"labels\":[],\"task\":{\"command\":\"x\"}}",
     "labels: must be an object of NAME: value, not an array"},
    {"{\"name\":\"a\",\"task\":{\"command\":\"x\",\"labels\":{}}}",
     "task.labels: unknown field; it belongs at labels"},
#endif
};

START_TEST(a_mistake_in_a_job_is_told_with_its_path)
{
    CLEANUP(buf_release) struct buf problems = {0};
    struct job_spec spec;
    ck_assert_int_eq(read_text(mistakes[_i].spec, &spec, &problems), -ERR_INVALID);
    ck_assert_msg(
        strncmp(buf_text(&problems), mistakes[_i].problem, strlen(mistakes[_i].problem)) == 0,
        "%s not %s", buf_text(&problems), mistakes[_i].problem);
}
END_TEST

/* "NAME0", and behind it a value when there is an `equals`. */
static void draw_words(struct random *r, struct words *to, const char *name, const char *equals)
{
    static const char *const values[] = {"",        "x y", "\"q\"\\", "\xc3\xa4\xe2\x82\xac",
                                         "a\nb\tc", "=",   "{}",      "\x01\x7f"};
    for (uint32_t i = 0, count = random_below(r, 5); i < count; i++) {
        char word[64];
        snprintf(word, sizeof word, "%s%u%s%s", name, i, equals == NULL ? "" : equals,
                 equals == NULL ? "" : values[random_below(r, ARRAY_SIZE(values))]);
        words_add(to, word);
    }
}

static void draw_limit(struct random *r, const struct job_spec *spec, struct resources *to)
{
    to->v[RES_CPU] = 1 + (int64_t)(random_number(r) >> 14);
    to->v[RES_RAM] = 1 + (int64_t)(random_number(r) >> 14);
    to->v[RES_DISK] = (int64_t)(random_number(r) >> 14);
    to->v[RES_GPU] = random_below(r, 2) ? 1000 * random_below(r, 32) : random_below(r, 1000);
    for (enum resource n = RES_NAMED; n < RES_COUNT; n++)
        if (spec->resource_names.text[n - RES_NAMED][0] != '\0')
            to->v[n] = 1 + (int64_t)(random_number(r) >> 14);
}

static void draw_spec_places(struct random *r, struct job_spec *spec)
{
    static const char *const terms[] = {"rack = r1",  "cpus >= 8",      "zone in a,b",
                                        "ssd exists", "k regex 6\\..*", "rack apart cache"};
    for (uint32_t i = 0, count = random_below(r, 4); i < count; i++) {
        struct clause *clause =
            clauses_add(&spec->constraints, random_below(r, 2) * (1 + random_below(r, WEIGHT_MAX)));
        for (uint32_t j = 0, more = random_below(r, 3); j <= more; j++) {
            struct term term;
            T_OK(term_parse(terms[random_below(r, ARRAY_SIZE(terms))], &term, &t_err));
            clause_add(clause, term);
        }
    }
    for (uint32_t i = 0, count = random_below(r, SPEC_SPREADS_MAX + 1); i < count; i++) {
        struct spread *s = &spec->spreads[spec->spread_count++];
        snprintf(s->by, sizeof s->by, "a%u", i);
        s->max = random_below(r, 3);
        s->weight = s->max == 0 ? 1 + random_below(r, WEIGHT_MAX) : random_below(r, 3);
    }
}

/* A valid spec that uses every field now and then. */
static void draw_spec(struct random *r, struct job_spec *spec)
{
    spec_init(spec);
    snprintf(spec->name, sizeof spec->name, "j%u", random_below(r, 1000));
    spec->priority = random_below(r, PRIORITY_MAX + 1);
    spec->appclass = random_below(r, APPCLASS_COUNT);
    spec->policy = random_below(r, POLICY_SPEC_COUNT);
    spec->replicas = 1 + random_below(r, CMD_PLACEMENTS_MAX);
    spec->disruptions_max = random_below(r, 9);
    spec->is_alloc_set = random_below(r, 4) == 0;
    for (uint32_t i = 0, count = random_below(r, RESOURCES_NAMED_MAX + 1); i < count; i++)
        snprintf(spec->resource_names.text[i], RESOURCE_NAME_MAX + 1, "%s%u", "n", 9 - i);
    draw_limit(r, spec, &spec->limit);
    draw_spec_places(r, spec);
    if (spec->is_alloc_set) {
        spec->limit.v[RES_PORTS] = random_below(r, 100);
        return;
    }
    spec->gang = random_below(r, 2);
    draw_words(r, &spec->env, "V", "=");
    draw_words(r, &spec->ports, "p", NULL);
    words_add(&spec->argv, "x");
    draw_words(r, &spec->argv, "-", " ");
    spec->restart = random_below(r, RESTART_COUNT);
    spec->failures_max = (uint32_t)random_number(r);
    spec->backoff_ms = random_below(r, 5000);
    spec->backoff_max_ms = spec->backoff_ms + random_below(r, BACKOFF_MS_MAX - 5000);
    spec->grace_ms = random_below(r, GRACE_MS_MAX + 1);
#if CELL_FORMAT >= 2
    draw_words(r, &spec->labels, "l", "=");
#endif
    if (spec->spread_count == 0 && !spec->gang && random_below(r, 4) == 0 &&
        spec->constraints.count == 0) {
        spec->every_machine = true;
        spec->replicas = 0;
    }
    spec->limit.v[RES_PORTS] = spec->ports.count;
    if (random_below(r, 3) > 0) {
        if (random_below(r, 4) == 0)
            str_copy(spec->alloc_set, spec->every_machine ? 1 : sizeof spec->alloc_set, "room");
        return;
    }
    spec->alternatives[0] = spec->limit; /* less of one thing */
    spec->alternatives[0].v[RES_CPU] = 1;
    spec->limit.v[RES_CPU] = 2;
    spec->alternative_count = 1;
}

START_TEST(what_is_printed_reads_as_the_same_spec)
{
    struct random r = {(uint64_t)_i};
    for (int i = 0; i < 200; i++) {
        CLEANUP(buf_release) struct buf text = {0}, again_text = {0}, problems = {0};
        struct job_spec spec, again;
        draw_spec(&r, &spec);
        ck_assert_msg(spec_valid(&spec, &t_err) == 0, "%s", t_err.msg);
        spec_json_print(&text, &spec);
        int rv = read_text(buf_text(&text), &again, &problems);
        ck_assert_msg(rv == 0, "%s\n%s", buf_text(&problems), buf_text(&text));
        spec_json_print(&again_text, &again);
        ck_assert_str_eq(buf_text(&text), buf_text(&again_text));
        ck_assert_msg(record_equal(&job_spec_record, &spec, &again), "%s", buf_text(&text));
        spec_release(&spec);
        spec_release(&again);
    }
}
END_TEST

static void line_printed(void *data, const struct spec_line *line)
{
    json_t *const *values = data;
    char path[96], *rest = path;
    const json_t *at = strncmp(line->path, "alloc.", 6) == 0 ? values[1] : values[0];
    if (strstr(line->path, "NAME") != NULL || strcmp(line->path, "alloc") == 0)
        return;
    str_copy(path, sizeof path, line->path);
    for (char *part; (part = strsep(&rest, ".")) != NULL;)
        at = json_object_get(at, part);
    ck_assert_msg(at != NULL, "%s is not printed", line->path);
}

START_TEST(every_field_is_printed_with_its_value)
{
    CLEANUP(buf_release) struct buf problems = {0};
    struct job_spec specs[2];
    json_t *values[2];
    ck_assert_int_eq(read_text("{\"name\":\"a\",\"alloc_set\":\"b\",\"task\":{\"command\":\"x\"}}",
                               &specs[0], &problems),
                     0);
    ck_assert_int_eq(read_text("{\"name\":\"a\",\"alloc\":{}}", &specs[1], &problems), 0);
    for (int i = 0; i < 2; i++)
        values[i] = spec_json(&specs[i]);
    spec_lines(line_printed, values);
    for (int i = 0; i < 2; i++) {
        json_decref(values[i]);
        spec_release(&specs[i]);
    }
}
END_TEST

START_TEST(a_spec_with_any_bytes_is_printed_as_json)
{
    struct random r = {7};
    for (int i = 0; i < 200; i++) {
        CLEANUP(buf_release) struct buf text = {0};
        struct job_spec spec;
        random_spec(&r, &spec);
        spec_json_print(&text, &spec);
        ck_assert(utf8_valid(buf_text(&text)));
        json_decref(json_of(buf_text(&text)));
        spec_release(&spec);
    }
}
END_TEST

START_TEST(only_strict_utf8_is_utf8)
{
    static const char *const good[] = {"",
                                       "a",
                                       "\xc2\x80",
                                       "\xdf\xbf",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {
        "\x80",     "\xc1\xbf",         "\xe0\x9f\xbf",     "\xed\xa0\x80",
        "\xc2",     "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xff",
        "a\xe2\x82"};
    for (size_t i = 0; i < ARRAY_SIZE(good); i++)
        ck_assert_msg(utf8_valid(good[i]), "%zu", i);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        CLEANUP(buf_release) struct buf text = {0};
        ck_assert_msg(!utf8_valid(bad[i]), "%zu", i);
        utf8_escape(&text, bad[i]);
        ck_assert(utf8_valid(buf_text(&text)));
        T_CONTAINS(buf_text(&text), "\\x");
    }
}
END_TEST

static void difference_print(void *data, const struct spec_difference *difference)
{
    CLEANUP(buf_release) struct buf path = {0};
    struct job_spec task = {0};
    spec_difference_path(&path, difference, &task);
    buf_printf(data, "%s%s:%d", ((struct buf *)data)->size > 0 ? " " : "", buf_text(&path),
               difference->effect);
}

#define BASE "{\"name\":\"a\",\"replicas\":2,\"task\":{\"command\":\"x\",\"resources\":{\"tape\":1}"
static const struct {
    const char *to, *differences; /* PATH:EFFECT */
} changes[] = {
    {BASE "}}", ""},
    {BASE "},\"replicas\":3}", "replicas:0"},
    {BASE "},\"replicas\":\"every-machine\"}", "replicas:3"},
    {BASE "},\"priority\":101}", "priority:0"},
    {BASE ",\"env\":{\"A\":1},\"grace\":\"5s\"},\"gang\":true}", "task.env:3 task.grace:3 gang:3"},
    {BASE ",\"ports\":[\"http\"]}}", "task.ports:3"},
    {BASE ",\"resources\":{\"tape\":1,\"cpu\":\"101m\"}}}", "task.resources.cpu:1"},
    {BASE ",\"resources\":{\"tape\":1,\"ram\":\"129Mi\",\"disk\":1,\"gpu\":1}}}",
     "task.resources.ram:1 task.resources.disk:1 task.resources.gpu:2"},
    {BASE ",\"resources\":{\"tape\":2}}}", "task.resources:3"},
    {BASE ",\"resources\":{\"robot\":1}}}", "task.resources:3"},
    {BASE ",\"resources\":{\"b\":1,\"c\":1,\"d\":1}}}", "task.resources:3"},
    {BASE ",\"resources\":{\"robot\":0,\"tape\":1}}}", ""},
    {BASE ",\"resources\":[{\"tape\":1},{\"cpu\":\"50m\",\"tape\":1}]}}", "task.resources:3"},
#if CELL_FORMAT >= 2
    {BASE "},\"labels\":{\"team\":\"x\"}}", "labels:3"},
#endif
    {"{\"name\":\"a\",\"replicas\":2,\"alloc\":{\"resources\":{\"tape\":1}}}",
     "task.command:3 task.resources:3"},
};

START_TEST(specs_are_compared_as_users_write_them)
{
    CLEANUP(buf_release) struct buf problems = {0}, told = {0};
    struct job_spec from, to;
    ck_assert_int_eq(read_text(BASE "}}", &from, &problems), 0);
    int rv = read_text(changes[_i].to, &to, &problems);
    ck_assert_msg(rv == 0, "%s", buf_text(&problems));
    str_copy(from.user, sizeof from.user, "ada"); /* the cell has stamped it */
    spec_compare(&from, &to, difference_print, &told);
    ck_assert_str_eq(buf_text(&told), changes[_i].differences);
    spec_release(&from);
    spec_release(&to);
}
END_TEST

START_TEST(random_specs_differ_in_nothing_from_themselves_and_in_each_field_changed)
{
    struct random r = {(uint64_t)_i};
    for (int i = 0; i < 100; i++) {
        CLEANUP(buf_release) struct buf told = {0};
        struct job_spec spec;
        draw_spec(&r, &spec);
        struct job_spec other = spec; /* borrows */
        spec_compare(&spec, &other, difference_print, &told);
        ck_assert_str_eq(buf_text(&told), "");
        other.grace_ms++;
        other.disruptions_max++;
        spec_compare(&spec, &other, difference_print, &told);
        ck_assert_str_eq(buf_text(&told), "task.grace:3 max_disruptions:3");
        spec_release(&spec);
    }
}
END_TEST

/* What the table says of `borgctl update` is what the command can carry. */
START_TEST(effects_are_those_of_the_update_command)
{
    uint32_t resizable = 0;
    for (uint32_t i = 0; i < alloc_limit_record.count; i++) {
        const struct field *amount = &alloc_limit_record.fields[i];
        if (amount->effect != EFFECT_FIXED)
            resizable |= BIT(amount->offset / sizeof(int64_t));
    }
    ck_assert_uint_eq(resizable, JOB_RESIZABLE);
    for (uint32_t i = 0; i < job_spec_record.count; i++) {
        const struct field *field = &job_spec_record.fields[i];
        bool updates = field->offset == offsetof(struct job_spec, replicas) ||
                       field->offset == offsetof(struct job_spec, priority);
        ck_assert_msg((field->effect != EFFECT_FIXED) == updates, "%s", field->name);
        ck_assert_msg((field->flags & FIELD_NO_SPEC) != 0 || field->doc != NULL, "%s has no doc",
                      field->name);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("spec_json");
    TCase *tcase = tcase_create("spec_json");
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, a_line_of_the_table_is_all_that_a_field_needs, 0,
                        ARRAY_SIZE(samples));
    tcase_add_loop_test(tcase, a_mistake_in_any_field_is_told_with_its_path, 0,
                        ARRAY_SIZE(sample_mistakes));
    tcase_add_loop_test(tcase, a_mistake_in_a_job_is_told_with_its_path, 0, ARRAY_SIZE(mistakes));
    tcase_add_loop_test(tcase, what_is_printed_reads_as_the_same_spec, 0, 10);
    tcase_add_test(tcase, every_field_is_printed_with_its_value);
    tcase_add_test(tcase, a_spec_with_any_bytes_is_printed_as_json);
    tcase_add_test(tcase, only_strict_utf8_is_utf8);
    tcase_add_loop_test(tcase, specs_are_compared_as_users_write_them, 0, ARRAY_SIZE(changes));
    tcase_add_loop_test(
        tcase, random_specs_differ_in_nothing_from_themselves_and_in_each_field_changed, 0, 5);
    tcase_add_test(tcase, effects_are_those_of_the_update_command);
    suite_add_tcase(suite, tcase);
    return t_main(suite);
}
