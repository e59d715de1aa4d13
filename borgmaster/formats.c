/*
 * formats.c - which formats the masters of a cell know.
 */
#include "formats.h"

void formats_heard(struct formats *formats, uint64_t id, uint32_t format, uint64_t now_ms)
{
    size_t at = 0;
    while (at < formats->count && formats->rows[at].id != id)
        at++;
    /* A replica that was removed makes room for the one that has come in its place. */
    for (size_t i = 0; at == MASTER_ROWS_MAX && i < formats->count; i++)
        if (now_ms - formats->rows[i].heard_ms > FORMATS_SILENT_MS)
            at = i;
    if (at == MASTER_ROWS_MAX)
        return;
    formats->count = MAX(formats->count, at + 1);
    formats->rows[at].id = id;
    formats->rows[at].format = MAX(format, 1U);
    formats->rows[at].heard_ms = now_ms;
}

static uint32_t format_of(const struct formats *formats, uint64_t id, uint64_t now_ms)
{
    for (size_t i = 0; i < formats->count; i++)
        if (formats->rows[i].id == id && now_ms - formats->rows[i].heard_ms <= FORMATS_SILENT_MS)
            return formats->rows[i].format;
    return 0;
}

uint32_t formats_common(const struct formats *formats, const struct masters *masters,
                        uint64_t now_ms, struct err *why)
{
    uint32_t common = CELL_FORMAT;
    for (uint32_t i = 0; i < masters->count; i++) {
        uint64_t id = masters->rows[i].id;
        uint32_t format = format_of(formats, id, now_ms);
        if (format == 0) {
            err_set(why, ERR_STATE,
                    "the leader has not heard lately which formats replica %" PRIu64
                    " knows: start it, or replace it (borgctl cell replace-replica)",
                    id);
            return 0;
        }
        if (format >= common)
            continue;
        common = format;
        err_set(why, ERR_STATE,
                "replica %" PRIu64 " runs a release that knows formats up to %" PRIu32
                ": start it with a later one first",
                id, format);
    }
    return common;
}
