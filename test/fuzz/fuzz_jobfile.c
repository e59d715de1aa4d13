/*
 * fuzz_jobfile.c - job specs in YAML and JSON: what is accepted is a job that the cell accepts, and
 * it packs, unpacks and prints.
 *
 * The first byte chooses: odd YAML, even JSON.
 */
#include "jobfile.h"
#include "cmd_pack.h"
#include "jobfile_yaml.h"

#include "scratch.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check_job(struct job_spec *spec)
{
    struct job_spec again;
    struct err err;
    struct buf packed CLEANUP(buf_release) = {0};
    str_copy(spec->user, sizeof spec->user, "user"); /* the cell stamps it */
    if (spec_valid(spec, &err) != 0)
        PANIC("accepted, but not valid: %s", err.msg);
    spec_pack(spec, &packed);
    if (spec_unpack(packed.bytes, packed.size, &again, &err) != 0)
        PANIC("packed, but not unpacked: %s", err.msg);
    spec_release(&again);
    json_t *json = jobfile_json(spec);
    ASSERT(json != NULL);
    json_decref(json);
}

static void check(const json_t *value)
{
    struct jobfile file;
    struct buf problems CLEANUP(buf_release) = {0};
    if (jobfile_check(value, &file, &problems, NULL) != 0)
        return;
    for (size_t i = 0; i < file.job_count; i++)
        check_job(&file.jobs[i]);
    jobfile_release(&file);
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
