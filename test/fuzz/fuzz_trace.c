/*
 * fuzz_trace.c - workloads in CSV and the constraints in them.
 *
 * The first byte selects: 0 tasks, 1 machines, 2 one text of constraints.
 */
#include "trace.h"

#include "scratch.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void fuzz_constraints(const uint8_t *bytes, size_t size)
{
    struct trace_constraints constraints = {0};
    char *text = scratch_text(bytes, size);
    if (trace_constraints_parse(text, &constraints, NULL) != 0)
        constraints = constraints;
    trace_constraints_release(&constraints);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct trace trace = {0};
    struct err err;
    if (size == 0)
        return 0;
    if (bytes[0] % 3 == 2) {
        fuzz_constraints(bytes + 1, size - 1);
        return 0;
    }
    const char *path = scratch_file("trace.csv", bytes + 1, size - 1);
    int rv = bytes[0] % 3 == 1 ? trace_read_machines(&trace, path, &err)
                               : trace_read_tasks(&trace, path, 0, &err);
    ASSERT_IMPLIES(rv != 0, err.msg[0] != '\0');
    trace_release(&trace);
    return 0;
}
