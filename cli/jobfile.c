/*
 * jobfile.c - a spec file: evaluated, read, checked.
 */
#include "jobfile.h"

#include "cli.h"

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

int jobfile_source_of(const struct cli *cli, struct jobfile_source *ret, struct err *err)
{
    *ret = (struct jobfile_source){.path = cli->args[0]};
    const char *format = cli_value(cli, OPT_FORMAT);
    int parsed = format != NULL ? jobfile_format_parse(format) : JOBFILE_BY_NAME;
    if (parsed < 0)
        return err_set(err, ERR_INVALID, "--format: \"%s\" is none of jsonnet, json, yaml", format);
    ret->format = (enum jobfile_format)parsed;
    for (size_t i = 0; i < cli->value_count; i++) {
        const struct cli_option_value *v = &cli->values[i];
        if (ret->ext_str_count == JOBFILE_VARIABLES_MAX ||
            ret->tla_str_count == JOBFILE_VARIABLES_MAX)
            return err_set(err, ERR_LIMIT, "more than %d variables", JOBFILE_VARIABLES_MAX - 1);
        if (v->option == OPT_EXT_STR)
            ret->ext_strs[ret->ext_str_count++] = v->text;
        else if (v->option == OPT_TLA_STR)
            ret->tla_strs[ret->tla_str_count++] = v->text;
    }
    return 0;
}

int jobfile_load(const struct jobfile_source *source, struct specs *ret, struct buf *problems,
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
    int r = specs_json_read(value, ret, problems, err);
    json_decref(value);
    return r < 0 ? err_wrap(err, "%s", jobfile_source_text(source)) : 0;
}
