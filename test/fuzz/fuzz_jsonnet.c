/*
 * fuzz_jsonnet.c - specs that are programs: whatever they do, their evaluation ends in time, with
 * a result or with a message, and borgctl lives.
 */
#include "jobfile.h"
#include "log.h"

#include "scratch.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct jobfile file;
    struct err err;
    struct buf problems CLEANUP(buf_release) = {0};
    log_open(LOG_ERROR, "fuzz");
    struct jobfile_source source = {.path = scratch_file("spec.jsonnet", bytes, size),
                                    .cpu_s_max = 1};
    if (jobfile_load(&source, &file, &problems, &err) == 0)
        jobfile_release(&file);
    else
        ASSERT(err.msg[0] != '\0');
    ASSERT(problems.size <= JOBFILE_RESULT_MAX);
    return 0;
}
