/*
 * jobfile_help.c - the fields of a job explained: `borgctl help submit`, doc/job-spec.md.
 */
#include "jobfile.h"
#include "text.h"

static const char about_constraints[] =
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
    "  evicted keeps nobody off who may evict. max_disruptions binds likewise.\n";

static void help_line(void *data, const struct spec_line *line)
{
    const char *otherwise = line->otherwise == NULL ? "required" : line->otherwise;
    bool is_told = otherwise[0] != '\0';
    print_to(data, "  %-22s %s%s%s%s\n", line->path, line->doc, is_told ? " [" : "", otherwise,
             is_told ? "]" : "");
}

void jobfile_help(FILE *to)
{
    print_to(to, "fields of a job (default in brackets):\n");
    spec_lines(help_line, to);
    print_to(to, "\n%s", about_constraints);
    print_to(to, "\n--schema prints a JSON Schema of a job, --page the reference page.\n");
}

void jobfile_schema(FILE *to)
{
    CLEANUP(buf_release) struct buf text = {0};
    spec_schema_print(&text);
    json_t *schema = json_loads(buf_text(&text), 0, NULL);
    ASSERT(schema != NULL);
    json_print(to, schema, JSON_INDENT(2));
    json_decref(schema);
}

static const char *const effects[] = {[EFFECT_NONE] = "untouched",
                                      [EFFECT_IN_PLACE] = "in place",
                                      [EFFECT_RESTART] = "restart",
                                      [EFFECT_FIXED] = "submit again"};

static void page_line(void *data, const struct spec_line *line)
{
    FILE *to = data;
    bool has_default = line->otherwise != NULL && line->otherwise[0] != '\0';
    print_to(to, "| `%s` | %s%s%s | %s | %s |\n", line->path, has_default ? "`" : "",
             line->otherwise == NULL ? "required" : line->otherwise, has_default ? "`" : "",
             line->doc, line->is_group ? "" : effects[line->effect]);
}

void jobfile_page(FILE *to)
{
    print_to(to, "# Job spec\n\n"
                 "A spec is Jsonnet, JSON or YAML; it gives one job, or an array of jobs.\n"
                 "`make doc` makes this page from the table of fields, and `borgctl help submit "
                 "--schema`\nprints a JSON Schema from the same table.\n\n"
                 "What a change of a field does to a job that runs (`borgctl diff SPEC` shows "
                 "changes):\n\n");
    for (unsigned i = 0; i < ARRAY_SIZE(effects); i++)
        print_to(to, "- %s: %s\n", effects[i], field_effect_text((enum field_effect)i));
    print_to(to, "\n| field | default | meaning | a change |\n| --- | --- | --- | --- |\n");
    spec_lines(page_line, to);
    print_to(to, "\n```\n%s```\n", about_constraints);
}
