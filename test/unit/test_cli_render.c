/*
 * test_cli_render.c - rows as tables and as JSON.
 */
#include "render.h"
#include "rows_json.h"
#include "text.h"

#include "testlib.h"

#define INT(n) \
    { \
        WIRE_INTEGER, (n), 0, NULL \
    }
#define TEXT(t) \
    { \
        WIRE_TEXT, 0, 0, (t) \
    }
#define NONE \
    { \
        WIRE_NULL, 0, 0, NULL \
    }

static const struct render_column columns[] = {
    {"job", "JOB", RENDER_TEXT},     {"state", "STATE", RENDER_STATE},
    {"cpu", "CPU", RENDER_MILLI},    {"ram", "RAM", RENDER_BYTES},
    {"ports", "PORTS", RENDER_JSON}, {"job_id", NULL, RENDER_INTEGER},
    {"since", "AGE", RENDER_AGE},
};

static const char *names[] = {"since", "job", "state", "cpu", "ram", "ports", "job_id", "more"};
static struct wire_value values[] = {
    INT(1000),        TEXT("web"), TEXT("running"), INT(1500), INT(1 << 30),
    TEXT("[80, 81]"), INT(7),      INT(1),          NONE,      TEXT("b"),
    TEXT("pending"),  INT(20),     INT(1000000007), TEXT(""),  INT(8),
    INT(1),
};
static const struct wire_rows rows = {
    .column_count = 8, .row_count = 2, .columns = names, .values = values};

static char *table_text(const struct wire_rows *r, const struct render_options *options)
{
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);
    T_OK(render_table(to, r, columns, ARRAY_SIZE(columns), options, &t_err));
    fclose(to);
    return text;
}

START_TEST(a_table_shows_amounts_in_readable_units)
{
    struct render_options options = {.now_ms = 31000};
    char *text = table_text(&rows, &options);
    ck_assert_str_eq(text, "JOB STATE   CPU     RAM PORTS AGE\n"
                           "web running 1.5     1Gi 80 81 30s\n"
                           "b   pending 20m 953.6Mi       \n");
    free(text);
}
END_TEST

START_TEST(colours_are_printed_only_when_requested)
{
    struct render_options options = {.now_ms = 31000, .colors = true};
    char *colored = table_text(&rows, &options);
    T_CONTAINS(colored, "\x1b[");
    options.colors = false;
    char *plain = table_text(&rows, &options);
    ck_assert_ptr_null(strstr(plain, "\x1b["));
    free(colored);
    free(plain);
}
END_TEST

START_TEST(json_has_all_columns_in_base_units)
{
    json_t *json;
    T_OK(render_json(&rows, columns, ARRAY_SIZE(columns), &json, &t_err));
    char *text = json_dumps(json, JSON_COMPACT);
    ck_assert_str_eq(text, "[{\"job\":\"web\",\"state\":\"running\",\"cpu\":1500,"
                           "\"ram\":1073741824,\"ports\":[80,81],\"job_id\":7,\"since\":1000},"
                           "{\"job\":\"b\",\"state\":\"pending\",\"cpu\":20,\"ram\":1000000007,"
                           "\"ports\":\"\",\"job_id\":8,\"since\":null}]");
    free(text);
    json_decref(json);
}
END_TEST

START_TEST(a_missing_column_is_reported_as_another_version)
{
    static const struct render_column other[] = {{"colour", "COLOUR", RENDER_TEXT}};
    json_t *json;
    T_REFUSED(render_json(&rows, other, 1, &json, &t_err), ERR_CORRUPT);
    T_CONTAINS(t_err.msg, "colour");
}
END_TEST

START_TEST(an_empty_table_is_reported_as_empty)
{
    const struct wire_rows empty = {.column_count = 8, .columns = names};
    struct render_options options = {0};
    char *text = table_text(&empty, &options);
    ck_assert_str_eq(text, "(none)\n");
    free(text);
    json_t *json;
    T_OK(render_json(&empty, columns, ARRAY_SIZE(columns), &json, &t_err));
    ck_assert_uint_eq(json_array_size(json), 0);
    json_decref(json);
}
END_TEST

START_TEST(text_of_users_cannot_move_the_cursor_or_forge_a_line)
{
    static struct wire_value evil[] = {
        INT(0), TEXT("a\x1b[2Jb\nweb running"), TEXT("x"), INT(1),
        INT(1), TEXT("[\"\\u001b[1m\"]"),       INT(1),    NONE,
    };
    const struct wire_rows r = {
        .column_count = 8, .row_count = 1, .columns = names, .values = evil};
    struct render_options options = {0};
    char *text = table_text(&r, &options);
    ck_assert_ptr_null(strchr(text, '\x1b'));
    ck_assert_ptr_nonnull(strchr(text, '\n'));
    ck_assert_ptr_eq(strchr(strchr(text, '\n') + 1, '\n') + 1, text + strlen(text));
    T_CONTAINS(text, "a\\x1b[2Jb\\nweb running");
    free(text);
}
END_TEST

struct escape {
    const char *text;
    const char *escaped;
};

static const struct escape escapes[] = {
    {"plain", "plain"},
    {"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
    {"\xe2\x82\xac", "\xe2\x82\xac"},
    {"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"},
    {"a\tb\nc", "a\\tb\\nc"},
    {"\x7f", "\\x7f"},
    {"\xff\xfe", "\\xff\\xfe"},
    {"\xc3", "\\xc3"},                   /* truncated */
    {"\xc0\xaf", "\\xc0\\xaf"},          /* overlong */
    {"\xed\xa0\x80", "\\xed\\xa0\\x80"}, /* a surrogate */
    {"\xc2\x9b"
     "2J",
     "\\u{9b}2J"}, /* the 8-bit CSI */
    {"a\xe2\x80\xae"
     "b",
     "a\\u{202e}b"},                          /* switches to right-to-left */
    {"a\xe2\x80\x8b", "a\\u{200b}"},          /* without width */
    {"\xe2\x80\xa8", "\\u{2028}"},            /* a line separator */
    {"\xef\xbb\xbf", "\\u{feff}"},            /* a byte order mark */
    {"\xf3\xa0\x81\x81", "\\u{e0041}"},       /* an invisible tag */
    {"e\xcc\x81", "e\xcc\x81"},               /* a combining accent */
    {"\xe4\xb8\xad", "\xe4\xb8\xad"},         /* two columns wide */
    {"\xc4\x81\xcd\xb8", "\xc4\x81\\u{378}"}, /* an unassigned character */
};

START_TEST(only_printable_utf8_passes)
{
    CLEANUP(buf_release) struct buf to = {0};
    text_escape(&to, escapes[_i].text);
    ck_assert_str_eq(buf_text(&to), escapes[_i].escaped);
}
END_TEST

/* Printing a table of any text ends: libsmartcols loops forever on characters without a known
 * width. */
START_TEST(tables_in_any_script_are_printed)
{
    static const char *texts[] = {"\xc3\xa9"
                                  "cho",
                                  "\xc5\xbelu\xc5\xa5ou\xc4\x8dk\xc3\xbd",
                                  "\xe4\xb8\xad\xe6\x96\x87",
                                  "e\xcc\x81",
                                  "\xf0\x9f\x98\x80",
                                  "\xd7\xa9\xd7\x9c",
                                  "\xff",
                                  ""};
    static const char *any[] = {"x", "\xc3\xa9"};
    for (size_t i = 0; i < ARRAY_SIZE(texts) * ARRAY_SIZE(texts); i++) {
        struct wire_value row[] = {TEXT(texts[i % ARRAY_SIZE(texts)]),
                                   TEXT(texts[i / ARRAY_SIZE(texts)])};
        const struct wire_rows r = {
            .column_count = 2, .row_count = 1, .columns = any, .values = row};
        struct render_options options = {0};
        char *text = NULL;
        size_t size = 0;
        FILE *to = open_memstream(&text, &size);
        render_table_any(to, &r, &options);
        fclose(to);
        CLEANUP(buf_release) struct buf first = {0};
        text_escape(&first, texts[i % ARRAY_SIZE(texts)]);
        T_CONTAINS(text, buf_text(&first));
        free(text);
    }
}
END_TEST

START_TEST(json_keeps_its_value_and_escapes_control_characters)
{
    static const char evil[] = "\xc2\x9b\x1b\x7f\xe2\x80\xae\xf3\xa0\x81\x81\xc3\xa9";
    json_t *value = json_string(evil);
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);
    json_print(to, value, JSON_COMPACT);
    fclose(to);
    ck_assert_str_eq(text, "\"\\u009b\\u001B\\u007f\\u202e\\udb40\\udc41\xc3\xa9\"\n");
    json_t *again = json_loads(text, JSON_DECODE_ANY, NULL);
    ck_assert_str_eq(json_string_value(again), evil);
    json_decref(again);
    json_decref(value);
    free(text);
}
END_TEST

START_TEST(printed_arguments_are_escaped_and_newlines_stay)
{
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);
    print_to(to, "%s:\t%s\n", "m\x1b]0;pwned\x07", "\xc3\xa9");
    fclose(to);
    ck_assert_str_eq(text, "m\\x1b]0;pwned\\x07:\t\xc3\xa9\n");
    free(text);
}
END_TEST

START_TEST(the_keys_of_any_query_are_unique)
{
    static const char *any[] = {"count(*)", "Name", "name", ""};
    static struct wire_value row[] = {INT(3), TEXT("a\xff"), {WIRE_REAL, 0, 2.5, NULL}, NONE};
    const struct wire_rows r = {.column_count = 4, .row_count = 1, .columns = any, .values = row};
    json_t *json = rows_json_any(&r);
    char *text = json_dumps(json, JSON_COMPACT);
    ck_assert_str_eq(text, "[{\"count___\":3,\"name\":\"a\\\\xff\",\"name_2\":2.5,\"\":null}]");
    free(text);
    json_decref(json);
}
END_TEST

static const struct {
    enum render_kind kind;
    int64_t value;
    const char *text;
} amounts[] = {
    {RENDER_BYTES, 0, "0"},
    {RENDER_BYTES, 1023, "1023"},
    {RENDER_BYTES, 1 << 20, "1Mi"},
    {RENDER_BYTES, INT64_C(16777216000), "15.6Gi"},
    {RENDER_BYTES, INT64_MAX, "8191.9Pi"},
    {RENDER_BYTES, -(INT64_C(1) << 30), "-1Gi"},
    {RENDER_MILLI, 666, "666m"},
    {RENDER_AGE, 100000 - 119000, "119s"},
    {RENDER_AGE, 100000 - 120000, "2m"},
    {RENDER_AGE, 100000 - 7200000, "2h"},
    {RENDER_AGE, 100000 - 172800000, "2d"},
    {RENDER_AGE, 200000, "0s"}, /* a clock that is ahead */
    {RENDER_INTEGER, INT64_MIN, "-9223372036854775808"},
};

START_TEST(amounts_fit_a_column)
{
    CLEANUP(buf_release) struct buf to = {0};
    struct wire_value v = INT(amounts[_i].value);
    render_value(&to, amounts[_i].kind, &v, 100000);
    ck_assert_str_eq(buf_text(&to), amounts[_i].text);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("render");
    text_begin();
    TCase *tcase = tcase_create("render");
    tcase_add_test(tcase, a_table_shows_amounts_in_readable_units);
    tcase_add_test(tcase, colours_are_printed_only_when_requested);
    tcase_add_test(tcase, json_has_all_columns_in_base_units);
    tcase_add_test(tcase, a_missing_column_is_reported_as_another_version);
    tcase_add_test(tcase, an_empty_table_is_reported_as_empty);
    tcase_add_test(tcase, text_of_users_cannot_move_the_cursor_or_forge_a_line);
    tcase_add_loop_test(tcase, only_printable_utf8_passes, 0, ARRAY_SIZE(escapes));
    tcase_add_test(tcase, tables_in_any_script_are_printed);
    tcase_add_test(tcase, json_keeps_its_value_and_escapes_control_characters);
    tcase_add_test(tcase, printed_arguments_are_escaped_and_newlines_stay);
    tcase_add_test(tcase, the_keys_of_any_query_are_unique);
    tcase_add_loop_test(tcase, amounts_fit_a_column, 0, ARRAY_SIZE(amounts));
    suite_add_tcase(suite, tcase);
    return t_main(suite);
}
