/*
 * render.c - tables (libsmartcols) out of SQL rows; JSON: libcell/proto/rows_json.c.
 */
#include "render.h"
#include "quantity.h"
#include "rows_json.h"
#include "text.h"

#include <libsmartcols/libsmartcols.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const struct {
    const char *state;
    const char *color;
} state_colors[] = {
    {"running", "green"},   {"up", "green"},      {"draining", "brown"},    {"leader", "green"},
    {"finished", "blue"},   {"pending", "brown"}, {"assigned", "cyan"},     {"failed", "red"},
    {"killed", "magenta"},  {"down", "red"},      {"lost", "red"},          {"evicted", "brown"},
    {"unreachable", "red"}, {"sick", "red"},      {"backing-off", "brown"},
};

bool render_colors_wanted(FILE *to)
{
    const char *no = getenv("NO_COLOR");
    return isatty(fileno(to)) && (no == NULL || no[0] == '\0');
}

static void age_print(struct buf *to, int64_t ms)
{
    int64_t s = MAX(ms, 0) / 1000;
    if (s < 120)
        buf_printf(to, "%" PRId64 "s", s);
    else if (s < 7200)
        buf_printf(to, "%" PRId64 "m", s / 60);
    else if (s < 172800)
        buf_printf(to, "%" PRId64 "h", s / 3600);
    else
        buf_printf(to, "%" PRId64 "d", s / 86400);
}

static void time_print(struct buf *to, int64_t ms)
{
    char text[64] = "";
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    if (localtime_r(&seconds, &tm) != NULL)
        strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &tm);
    buf_printf(to, "%s.%03d", text, (int)(ms % 1000));
}

/*
 * Amounts for people: what fits a column, not the last byte (JSON has that). An amount without a
 * short exact form, as a machine's memory is, is cut to a tenth of its unit.
 */
static void bytes_print(struct buf *to, int64_t bytes)
{
    static const char *const units[] = {"Ki", "Mi", "Gi", "Ti", "Pi"};
    CLEANUP(buf_release) struct buf exact = {0};
    quantity_print_bytes(&exact, bytes);
    if (exact.size <= 6 || bytes < 1024) {
        buf_append(to, exact.bytes, exact.size);
        return;
    }
    size_t unit = 0;
    int64_t tenths = bytes * 10 / 1024;
    if (bytes > INT64_MAX / 10)
        tenths = bytes / 1024 * 10;
    for (; tenths >= 10240 && unit + 1 < ARRAY_SIZE(units); unit++)
        tenths /= 1024;
    buf_printf(to, "%" PRId64 ".%" PRId64 "%s", tenths / 10, tenths % 10, units[unit]);
}

static void integer_print(struct buf *to, enum render_kind kind, int64_t n, uint64_t now_ms)
{
    switch (kind) {
    case RENDER_MILLI:
        quantity_print_milli(to, n);
        return;
    case RENDER_BYTES:
        bytes_print(to, n);
        return;
    case RENDER_TIME:
        time_print(to, n);
        return;
    case RENDER_AGE:
        age_print(to, (int64_t)now_ms - n);
        return;
    case RENDER_TEXT:
    case RENDER_STATE:
    case RENDER_INTEGER:
    case RENDER_JSON:
    case RENDER_PAIRS:
        buf_printf(to, "%" PRId64, n);
        return;
    }
    UNREACHABLE("render kind");
}

static void json_item_print(struct buf *to, const json_t *item)
{
    if (json_is_string(item)) {
        text_escape(to, json_string_value(item));
        return;
    }
    char *text = json_dumps(item, JSON_ENCODE_ANY);
    buf_printf(to, "%s", text != NULL ? text : "?");
    free(text);
}

/* {"http":20001} and ["a"] as people read them: http=20001, a. */
static bool json_flat_print(struct buf *to, const char *text)
{
    json_t *value = json_loads(text, 0, NULL);
    const char *key;
    json_t *item;
    size_t i, count = 0;
    if (value == NULL)
        return false;
    json_object_foreach(value, key, item)
    {
        buf_printf(to, "%s", count++ > 0 ? " " : "");
        text_escape(to, key);
        buf_printf(to, "=");
        json_item_print(to, item);
    }
    json_array_foreach(value, i, item)
    {
        buf_printf(to, "%s", i > 0 ? " " : "");
        json_item_print(to, item);
    }
    json_decref(value);
    return true;
}

void render_value(struct buf *to, enum render_kind kind, const struct wire_value *v,
                  uint64_t now_ms)
{
    switch (v->type) {
    case WIRE_NULL:
        return;
    case WIRE_INTEGER:
        integer_print(to, kind, v->integer, now_ms);
        return;
    case WIRE_REAL:
        buf_printf(to, "%.6g", v->real);
        return;
    case WIRE_TEXT:
        if (kind != RENDER_JSON || !json_flat_print(to, v->text))
            text_escape(to, v->text);
        return;
    }
    UNREACHABLE("wire type");
}

const struct wire_value *render_cell(const struct wire_rows *rows, size_t row, const char *key)
{
    size_t at;
    if (row >= rows->row_count || rows_column(rows, key, &at, NULL) != 0)
        return NULL;
    return &rows->values[row * rows->column_count + at];
}

int64_t render_integer(const struct wire_rows *rows, size_t row, const char *key)
{
    const struct wire_value *v = render_cell(rows, row, key);
    return v != NULL && v->type == WIRE_INTEGER ? v->integer : 0;
}

const char *render_text(const struct wire_rows *rows, size_t row, const char *key)
{
    const struct wire_value *v = render_cell(rows, row, key);
    return v != NULL && v->type == WIRE_TEXT ? v->text : "";
}

int render_json(const struct wire_rows *rows, const struct render_column *columns, size_t count,
                json_t **ret, struct err *err)
{
    struct rows_json_column wanted[64];
    ASSERT(count <= ARRAY_SIZE(wanted));
    for (size_t i = 0; i < count; i++)
        wanted[i] = (struct rows_json_column){columns[i].key,
                                              columns[i].kind == RENDER_JSON    ? ROWS_JSON_VALUE
                                              : columns[i].kind == RENDER_PAIRS ? ROWS_JSON_PAIRS
                                                                                : ROWS_JSON_PLAIN};
    return rows_json(rows, wanted, count, ret, err);
}

static const char *state_color(const char *state)
{
    for (size_t i = 0; i < ARRAY_SIZE(state_colors); i++) {
        if (strcmp(state_colors[i].state, state) == 0)
            return state_colors[i].color;
    }
    return NULL;
}

static struct libscols_table *table_new(FILE *to, const struct render_options *options)
{
    struct libscols_table *table = scols_new_table();
    if (table == NULL)
        PANIC("out of memory for a table");
    scols_table_set_stream(table, to);
    scols_table_enable_colors(table, options->colors);
    scols_table_enable_noencoding(table, 1); /* text_escape() has done it, for JSON's sake too */
    return table;
}

static void column_add(struct libscols_table *table, const char *title, enum render_kind kind,
                       bool last)
{
    int flags =
        kind == RENDER_INTEGER || kind == RENDER_MILLI || kind == RENDER_BYTES || kind == RENDER_AGE
            ? SCOLS_FL_RIGHT
            : 0;
    if (last && flags == 0 && isatty(STDOUT_FILENO))
        flags = SCOLS_FL_TRUNC; /* a long reason is cut at the edge of the terminal */
    if (scols_table_new_column(table, title, 0, flags) == NULL)
        PANIC("out of memory for a column");
}

static void cell_put(struct libscols_line *line, size_t n, enum render_kind kind,
                     const struct wire_value *v, uint64_t now_ms)
{
    CLEANUP(buf_release) struct buf text = {0};
    render_value(&text, kind, v, now_ms);
    scols_line_set_data(line, n, buf_text(&text));
    const char *color = kind == RENDER_STATE ? state_color(buf_text(&text)) : NULL;
    if (color != NULL)
        scols_cell_set_color(scols_line_get_cell(line, n), color);
}

static void table_print(FILE *to, struct libscols_table *table)
{
    if (scols_table_get_nlines(table) == 0)
        print_to(to, "(none)\n");
    else
        scols_print_table(table);
    scols_unref_table(table);
}

/* NULL: the table leaves the column out. */
static const char *title_of(const struct wire_rows *rows, const struct render_column *column,
                            size_t at)
{
    if (column->title == NULL || column->title[0] != '?')
        return column->title;
    for (size_t row = 0; row < rows->row_count; row++) {
        CLEANUP(buf_release) struct buf text = {0};
        render_value(&text, column->kind, &rows->values[row * rows->column_count + at], 0);
        if (text.size > 0 && strcmp(buf_text(&text), "0") != 0)
            return column->title + 1;
    }
    return NULL;
}

int render_table(FILE *to, const struct wire_rows *rows, const struct render_column *columns,
                 size_t count, const struct render_options *options, struct err *err)
{
    size_t at[64];
    const char *titles[64];
    ASSERT(count <= ARRAY_SIZE(at));
    for (size_t i = 0; i < count; i++)
        if (rows_column(rows, columns[i].key, &at[i], err) < 0)
            return -(int)err->code;
    struct libscols_table *table = table_new(to, options);
    for (size_t i = 0; i < count; i++) {
        titles[i] = title_of(rows, &columns[i], at[i]);
        if (titles[i] != NULL)
            column_add(table, titles[i], columns[i].kind, i + 1 == count);
    }
    for (size_t row = 0; row < rows->row_count; row++) {
        struct libscols_line *line = scols_table_new_line(table, NULL);
        size_t n = 0;
        for (size_t i = 0; i < count; i++) {
            if (titles[i] != NULL)
                cell_put(line, n++, columns[i].kind,
                         &rows->values[row * rows->column_count + at[i]], options->now_ms);
        }
    }
    table_print(to, table);
    return 0;
}

void render_table_any(FILE *to, const struct wire_rows *rows, const struct render_options *options)
{
    struct libscols_table *table = table_new(to, options);
    for (size_t i = 0; i < rows->column_count; i++) {
        CLEANUP(buf_release) struct buf title = {0};
        bool number = rows->row_count > 0;
        for (size_t row = 0; row < rows->row_count && number; row++)
            number = rows->values[row * rows->column_count + i].type != WIRE_TEXT;
        text_escape(&title, rows->columns[i]);
        column_add(table, buf_text(&title), number ? RENDER_INTEGER : RENDER_TEXT, false);
    }
    for (size_t row = 0; row < rows->row_count; row++) {
        struct libscols_line *line = scols_table_new_line(table, NULL);
        for (size_t i = 0; i < rows->column_count; i++)
            cell_put(line, i, RENDER_TEXT, &rows->values[row * rows->column_count + i],
                     options->now_ms);
    }
    table_print(to, table);
}

void render_json_print(FILE *to, json_t *value)
{
    ASSERT(value != NULL);
    json_print(to, value, JSON_INDENT(2));
    json_decref(value);
}
