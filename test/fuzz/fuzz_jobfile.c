/*
 * fuzz_jobfile.c - job specs in YAML and JSON: what is accepted is a job that the cell accepts, and
 * it packs, unpacks, and reads back from the JSON it is printed as.
 *
 * The first byte selects: odd YAML, even JSON.
 */
#include "jobfile.h"
#include "cmd_pack.h"
#include "jobfile_yaml.h"

#include "scratch.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check_job(struct job_spec *spec)
{
    struct job_spec again;
    struct err err;
    struct buf packed CLEANUP(buf_release) = {0}, problems CLEANUP(buf_release) = {0};
    struct buf first CLEANUP(buf_release) = {0}, second CLEANUP(buf_release) = {0};
    str_copy(spec->user, sizeof spec->user, "user"); /* the cell stamps it */
    if (spec_valid(spec, &err) != 0)
        PANIC("accepted, but not valid: %s", err.msg);
    spec_pack(spec, &packed);
    if (spec_unpack(packed.bytes, packed.size, &again, &err) != 0)
        PANIC("packed, but not unpacked: %s", err.msg);
    spec_release(&again);
    json_t *json = spec_json(spec);
    if (spec_json_read(json, &again, &problems, &err) != 0)
        PANIC("printed, but not read: %s", buf_text(&problems));
    spec_json_print(&first, spec);
    spec_json_print(&second, &again);
    ASSERT(strcmp(buf_text(&first), buf_text(&second)) == 0);
    spec_release(&again);
    json_decref(json);
}

static void check(const json_t *value)
{
    struct specs file;
    struct buf problems CLEANUP(buf_release) = {0};
    if (specs_json_read(value, &file, &problems, NULL) != 0)
        return;
    for (size_t i = 0; i < file.job_count; i++)
        check_job(&file.jobs[i]);
    specs_release(&file);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    json_t *value = NULL;
    if (size == 0)
        return 0;
    char *text = scratch_text(bytes + 1, size - 1);
    struct err err;
    if (bytes[0] % 2 == 0)
        value = json_loads(text, JSON_DECODE_ANY, NULL);
    else if (jobfile_yaml(text, &value, &err) != 0)
        value = NULL;
    if (value != NULL)
        check(value);
    json_decref(value);
    free(text);
    return 0;
}
