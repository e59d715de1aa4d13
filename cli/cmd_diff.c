/*
 * cmd_diff.c - in what the jobs of a spec differ from those of the cell.
 */
#include "client.h"
#include "cmd_pack.h"
#include "jobfile.h"
#include "render.h"
#include "text.h"

#include <stdlib.h>
#include <string.h>

/* Bytes from their hexadecimal digits; false when these are none. */
static bool unhex(const char *digits, struct buf *to)
{
    for (; digits[0] != '\0'; digits += 2) {
        char pair[3] = {digits[0], digits[1], '\0'}, *end;
        unsigned char byte = (unsigned char)strtoul(pair, &end, 16);
        if (end != pair + 2)
            return false;
        buf_append(to, &byte, 1);
    }
    return true;
}

/* The spec of a row: as it was submitted, with what updates have changed since. */
static int spec_of(const struct wire_rows *rows, struct job_spec *ret, struct err *err)
{
    static const char *const amounts[RES_NAMED] = {"cpu_milli", "ram_bytes", "disk_bytes", "ports",
                                                   "gpu_milli"};
    CLEANUP(buf_release) struct buf packed = {0};
    if (!unhex(render_text(rows, 0, "spec"), &packed))
        return err_set(err, ERR_CORRUPT, "the cell's spec is damaged");
    int rv = spec_unpack(packed.bytes, packed.size, ret, err);
    if (rv != 0)
        return rv;
    ret->priority = (uint32_t)render_integer(rows, 0, "priority");
    ret->replicas = (uint32_t)render_integer(rows, 0, "replicas");
    for (int r = 0; r < RES_NAMED; r++)
        ret->limit.v[r] = render_integer(rows, 0, amounts[r]);
    return 0;
}

/* The spec of the live job of this name. ERR_NOT_FOUND: there is none. */
static int spec_fetch(struct client *client, const char *name, struct job_spec *ret,
                      struct err *err)
{
    struct wire_rows rows;
    if (client_queryf(client, &rows, err,
                      "SELECT user, priority, replicas, cpu_milli, ram_bytes, disk_bytes, ports, "
                      "gpu_milli, hex(spec) AS spec, spec IS NULL AS is_private FROM jobs JOIN "
                      "job_specs ON job_id = id WHERE name = %Q AND NOT dead ORDER BY id DESC "
                      "LIMIT 1",
                      name) < 0)
        return -(int)err->code;
    int rv = 0;
    if (rows.row_count == 0)
        rv = err_set(err, ERR_NOT_FOUND, "no job %s runs", name);
    else if (render_integer(&rows, 0, "is_private") != 0)
        rv = err_set(err, ERR_DENIED,
                     "job %s is user %s's; its spec is for that user, readers "
                     "and operators",
                     name, render_text(&rows, 0, "user"));
    else
        rv = spec_of(&rows, ret, err);
    wire_rows_release(&rows);
    return rv;
}

struct differences {
    const struct job_spec *from, *to;
    json_t *array;
};

static json_t *value_json(const struct spec_difference *difference, const struct job_spec *spec)
{
    CLEANUP(buf_release) struct buf text = {0};
    spec_difference_json(&text, difference, spec);
    json_t *value = json_loads(buf_text(&text), JSON_DECODE_ANY, NULL);
    ASSERT(value != NULL);
    return value;
}

static void difference_add(void *data, const struct spec_difference *difference)
{
    const struct differences *d = data;
    CLEANUP(buf_release) struct buf path = {0};
    spec_difference_path(&path, difference, d->to);
    json_array_append_new(d->array, json_pack("{s:s, s:o, s:o, s:s}", "path", buf_text(&path),
                                              "from", value_json(difference, d->from), "to",
                                              value_json(difference, d->to), "effect",
                                              field_effect_text(difference->effect)));
}

/* {"job", "running", "differences"} of one job; NULL with an error. */
static json_t *job_diff(struct client *client, const struct job_spec *to, struct err *err)
{
    struct job_spec from;
    json_t *array = json_array();
    int rv = spec_fetch(client, to->name, &from, err);
    if (rv == 0) {
        struct differences d = {&from, to, array};
        spec_compare(&from, to, difference_add, &d);
        spec_release(&from);
    } else if (rv != -ERR_NOT_FOUND) {
        json_decref(array);
        return NULL;
    }
    return json_pack("{s:s, s:b, s:o}", "job", to->name, "running", rv == 0, "differences", array);
}

static void value_tell(const char *before, const json_t *value)
{
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    ASSERT(text != NULL);
    print("%s%s", before, text);
    free(text);
}

static void job_tell(const json_t *job)
{
    const char *name = json_string_value(json_object_get(job, "job"));
    const json_t *differences = json_object_get(job, "differences"), *d;
    bool runs = json_is_true(json_object_get(job, "running"));
    size_t i;
    print("job %s: %s\n", name,
          !runs                               ? "does not run"
          : json_array_size(differences) == 0 ? "no difference"
                                              : "differs");
    json_array_foreach(differences, i, d)
    {
        print("  %s: ", json_string_value(json_object_get(d, "path")));
        value_tell("", json_object_get(d, "from"));
        value_tell(" -> ", json_object_get(d, "to"));
        print("\n    %s\n", json_string_value(json_object_get(d, "effect")));
    }
}

static int diff_run(const struct cli *cli, const struct specs *specs, int *ret, struct err *err)
{
    CLEANUP(client_close_ptr) struct client *client = NULL;
    if (client_open(cli, &client, err) < 0)
        return -(int)err->code;
    json_t *jobs = json_array();
    for (size_t i = 0; i < specs->job_count; i++) {
        json_t *job = job_diff(client, &specs->jobs[i], err);
        if (job == NULL) {
            json_decref(jobs);
            return -(int)err->code;
        }
        if (!json_is_true(json_object_get(job, "running")) ||
            json_array_size(json_object_get(job, "differences")) > 0)
            *ret = CLI_REFUSED;
        json_array_append_new(jobs, job);
    }
    for (size_t i = 0; i < specs->job_count && cli->output == OUTPUT_TABLE; i++)
        job_tell(json_array_get(jobs, i));
    if (cli->output == OUTPUT_JSON)
        render_json_print(stdout, jobs);
    else
        json_decref(jobs);
    return 0;
}

int cmd_diff(struct cli *cli)
{
    CLEANUP(specs_release) struct specs specs = {0};
    CLEANUP(buf_release) struct buf problems = {0};
    struct jobfile_source source;
    struct err err;
    int code = CLI_OK;
    if (jobfile_source_of(cli, &source, &err) < 0 ||
        jobfile_load(&source, &specs, &problems, &err) < 0) {
        cli_fail(&err);
        print_err("%s", buf_text(&problems));
        return CLI_USAGE;
    }
    return diff_run(cli, &specs, &code, &err) < 0 ? cli_fail(&err) : code;
}
