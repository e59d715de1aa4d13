/*
 * shim_format.c - read specs, records and states of any version (shim_proto.h).
 */
#include "shim_proto.h"

#include <string.h>

uint32_t shim_version_common(uint32_t min, uint32_t max)
{
    uint32_t lowest = min > SHIM_VERSION_MIN ? min : SHIM_VERSION_MIN;
    uint32_t highest = max < SHIM_VERSION_MAX ? max : SHIM_VERSION_MAX;

    return min != 0 && lowest <= highest ? highest : 0;
}

static size_t spec_head_bytes(const struct shim_spec *spec)
{
    if (spec->version < 3)
        return offsetof(struct shim_spec, user);
    if (spec->version < SHIM_VERSION_RANGES)
        return offsetof(struct shim_spec, version_min);
    return spec->head_bytes;
}

uint32_t shim_spec_version(const struct shim_spec *spec)
{
    bool ranges = spec->version >= SHIM_VERSION_RANGES;

    return shim_version_common(ranges ? spec->version_min : spec->version, spec->version);
}

bool shim_spec_take(const char *file, size_t size, struct shim_spec *ret, const char **ret_words)
{
    const size_t behind_crc = offsetof(struct shim_spec, words_bytes);
    size_t known = sizeof(*ret);

    memset(ret, 0, sizeof(*ret));
    memcpy(ret, file, size < sizeof(*ret) ? size : sizeof(*ret));
    if (ret->magic != SHIM_SPEC_MAGIC || ret->version < SHIM_VERSION_FIRST)
        return false;
    size_t head = spec_head_bytes(ret);
    if (ret->version >= SHIM_VERSION_RANGES && head < SHIM_SPEC_FIXED_BYTES)
        return false;
    if (head > SHIM_HEAD_BYTES_MAX || ret->words_bytes > SHIM_WORDS_BYTES_MAX ||
        head + ret->words_bytes > size)
        return false;
    uint32_t crc = shim_crc(0, file + behind_crc, head - behind_crc);
    if (shim_crc(crc, file + head, ret->words_bytes) != ret->crc)
        return false;
    if (shim_spec_version(ret) == 0)
        known = SHIM_SPEC_FIXED_BYTES;
    if (head < known)
        known = head;
    memset((char *)ret + known, 0, sizeof(*ret) - known);
    *ret_words = file + head;
    return true;
}

size_t shim_state_bytes(uint32_t version)
{
    if (version < 3)
        return offsetof(struct shim_state, shim_starttime);
    if (version < SHIM_VERSION_RANGES)
        return offsetof(struct shim_state, version_min);
    return sizeof(struct shim_state);
}

bool shim_state_take(const char *bytes, size_t size, uint32_t version, struct shim_state *ret)
{
    size_t known = size < sizeof(*ret) ? size : sizeof(*ret);

    memset(ret, 0, sizeof(*ret));
    if (version < SHIM_VERSION_RANGES ? size != shim_state_bytes(version)
                                      : size < SHIM_STATE_FIXED_BYTES)
        return false;
    memcpy(ret, bytes, known);
    if (version < SHIM_VERSION_RANGES)
        ret->version_min = ret->version_max = version;
    else if (shim_version_common(ret->version_min, ret->version_max) == 0 &&
             known > SHIM_STATE_FIXED_BYTES)
        memset((char *)ret + SHIM_STATE_FIXED_BYTES, 0, known - SHIM_STATE_FIXED_BYTES);
    ret->boot_id[sizeof(ret->boot_id) - 1] = '\0';
    ret->detail[sizeof(ret->detail) - 1] = '\0';
    return ret->phase >= SHIM_STARTING && ret->phase <= SHIM_ENDED && ret->task_pid >= 0 &&
           ret->shim_pid >= 0 && ret->end >= SHIM_END_NONE && ret->end <= SHIM_END_START_ERROR;
}

bool shim_record_take(const char slot[SHIM_RECORD_SLOT_BYTES], uint64_t *seq,
                      struct shim_state *ret)
{
    const size_t at = offsetof(struct shim_record, state);
    struct shim_record record;
    struct shim_state state;
    uint32_t crc;

    memcpy(&record, slot, sizeof(record));
    if (record.magic != SHIM_RECORD_MAGIC || record.version < SHIM_VERSION_FIRST ||
        record.seq <= *seq)
        return false;
    size_t bytes = record.version < SHIM_VERSION_RANGES ? shim_state_bytes(record.version)
                                                        : record.state.bytes;
    if (bytes > SHIM_RECORD_SLOT_BYTES - at - sizeof(crc))
        return false;
    memcpy(&crc, slot + at + bytes, sizeof(crc));
    if (crc != shim_crc(0, slot, at + bytes) ||
        !shim_state_take(slot + at, bytes, record.version, &state))
        return false;
    *seq = record.seq;
    *ret = state;
    return true;
}
