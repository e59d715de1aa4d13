/*
 * fuzz_shim_files.c - the spec and the record in an attempt's directory, and the names of such
 * directories: a task can write all of them.
 *
 * The first byte selects: 0 a name (and a range of ports), odd a spec, even a record. If it has bit
 * 1 the checksums are corrected, so that the data behind them is parsed.
 */
#include "archive.h"
#include "ports.h"
#include "shim_client.h"

#include "scratch.h"

#include <stddef.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static int directory(void)
{
    static int fd = -1;
    if (fd < 0)
        fd = open(scratch(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ASSERT(fd >= 0);
    return fd;
}

static void fuzz_names(const char *text)
{
    char job[CELL_NAME_MAX + 1], again[ATTEMPT_NAME_BYTES];
    struct attempt_ref task;
    struct ports ports;
    if (attempt_name_parse(text, job, &task)) {
        attempt_name(job, task, again);
        ASSERT(strcmp(again, text) == 0);
    }
    if (ports_parse(text, &ports, NULL) == 0)
        ASSERT(ports_count(&ports) <= 65536);
}

static void fuzz_spec(uint8_t *bytes, size_t size, bool repair)
{
    struct shim_spec spec;
    char argv0[SHIM_ARGV0_BYTES];
    if (repair && size >= sizeof spec) {
        const size_t from = offsetof(struct shim_spec, words_bytes);
        memcpy(&spec, bytes, sizeof spec);
        spec.magic = SHIM_SPEC_MAGIC;
        spec.version = SHIM_VERSION_MAX;
        spec.version_min = SHIM_VERSION_MIN;
        spec.head_bytes = sizeof spec;
        spec.words_bytes = (uint32_t)(size - sizeof spec);
        spec.crc = shim_crc(shim_crc(0, (const char *)&spec + from, sizeof spec - from),
                            bytes + sizeof spec, size - sizeof spec);
        memcpy(bytes, &spec, sizeof spec);
    }
    scratch_file("spec", bytes, size);
    if (shim_spec_read(directory(), &spec, argv0, NULL) != 0)
        return;
    ASSERT(strnlen(argv0, sizeof argv0) < sizeof argv0);
    ASSERT(spec.port_count <= SHIM_PORTS_MAX);
}

static void fuzz_record(const uint8_t *bytes, size_t size, bool repair)
{
    enum { SLOTS = 2 };
    static uint8_t file[SLOTS * SHIM_RECORD_SLOT_BYTES];
    struct shim_record record;
    struct shim_state state;
    struct report report;
    memset(file, 0, sizeof file);
    memcpy(file, bytes, MIN(size, sizeof file));
    for (size_t slot = 0; repair && slot < SLOTS; slot++) {
        memcpy(&record, file + slot * SHIM_RECORD_SLOT_BYTES, sizeof record);
        record.magic = SHIM_RECORD_MAGIC;
        record.version = SHIM_VERSION_MAX;
        record.state.bytes = sizeof record.state;
        record.crc = shim_crc(0, &record, offsetof(struct shim_record, crc));
        memcpy(file + slot * SHIM_RECORD_SLOT_BYTES, &record, sizeof record);
    }
    scratch_file("record", file, repair ? sizeof file : MIN(size, sizeof file));
    if (shim_record_read(directory(), &state, NULL) != 0)
        return;
    shim_end_report(&state, "command", &report);
    ASSERT(memchr(report.detail, '\0', sizeof report.detail) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size == 0)
        return 0;
    char *copy = scratch_text(bytes + 1, size - 1);
    if (bytes[0] == 0)
        fuzz_names(copy);
    else if (bytes[0] & 1)
        fuzz_spec((uint8_t *)copy, size - 1, (bytes[0] & 2) != 0);
    else
        fuzz_record((uint8_t *)copy, size - 1, (bytes[0] & 2) != 0);
    free(copy);
    return 0;
}
