/*
 * fuzz_jsonnet.c - specs as programs: their evaluation always ends in time, with a result or a
 * message, and borgctl survives.
 */
#include "jobfile.h"
#include "log.h"

#include "scratch.h"

#include <sys/resource.h>

enum { CPU_S_MAX = 1, CPU_MS_ASSERTED = 1500 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* Return the cpu time of the evaluations so far, which does not depend on the load of the machine.
 */
static uint64_t cpu_ms(void)
{
    struct rusage used;
    ASSERT(getrusage(RUSAGE_CHILDREN, &used) == 0);
    return (uint64_t)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000 +
           (uint64_t)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1000;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct specs file;
    struct err err;
    struct buf problems CLEANUP(buf_release) = {0};
    uint64_t before_ms = cpu_ms();
    log_open(LOG_ERROR, "fuzz");
    struct jobfile_source source = {.path = scratch_file("spec.jsonnet", bytes, size),
                                    .cpu_s_max = CPU_S_MAX};
    if (jobfile_load(&source, &file, &problems, &err) == 0)
        specs_release(&file);
    else
        ASSERT(err.msg[0] != '\0');
    ASSERT(cpu_ms() - before_ms <= CPU_MS_ASSERTED);
    ASSERT(problems.size <= JOBFILE_RESULT_MAX);
    return 0;
}
