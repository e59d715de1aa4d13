/*
 * cmd_pack.c - commands, specs and envelopes as bytes.
 */
#include "cmd_pack.h"

#include "fields.h"
#include "record_pack.h"

#include <string.h>

enum { CMD_FORMAT = 1, ENVELOPE_HEAD_BYTES = 4 };

/* All but the body. */
static void head_fields(struct pack *p, struct cmd *cmd, unsigned *kind)
{
    uint32_t format = CMD_FORMAT;
    pack_fields(p, 8);
    pack_u32(p, &format);
    if (pack_ok(p) && format != CMD_FORMAT)
        pack_fail(p, "format of another version");
    pack_u64(p, &cmd->request_id[0]);
    pack_u64(p, &cmd->request_id[1]);
    pack_u64(p, &cmd->known_index);
    pack_text(p, cmd->user, sizeof cmd->user);
    pack_u64(p, &cmd->time_ms);
    pack_u32(p, kind);
}

/* Returns the bytes of the body. Reading leaves kind 0 in a command of which nothing has to be
 * released. */
static size_t cmd_fields(struct pack *p, struct cmd *cmd)
{
    unsigned kind = cmd->kind;
    head_fields(p, cmd, &kind);
    if (!pack_ok(p))
        return 0;
    size_t start = pack_position(p);
    const struct record *body = cmd_body_record(kind);
    if (body == NULL) {
        p->newer = p->reading && kind >= CMD_KIND_COUNT;
        pack_fail(p, "a kind of command that is not known here");
        return 0;
    }
    if (p->reading)
        cmd->kind = kind;
    pack_record(p, body, cmd_body(cmd));
    return pack_position(p) - start;
}

/* The body is not looked at. The new time is no later, so the command does not become larger. */
static void stamp(const struct buf *packed, uint64_t time_ms, struct buf *to)
{
    struct cmd head = {0};
    unsigned kind = 0;
    struct pack from, p;
    pack_from(&from, packed->bytes, packed->size);
    head_fields(&from, &head, &kind);
    ASSERT(pack_ok(&from));
    ASSERT(time_ms <= head.time_ms);
    head.time_ms = time_ms;
    pack_to(&p, to);
    head_fields(&p, &head, &kind);
    size_t at = pack_position(&from);
    buf_append(to, packed->bytes + at, packed->size - at);
}

int cmd_pack(const struct cmd *cmd, struct buf *to, struct err *err)
{
    return cmd_pack_in(cmd, CELL_FORMAT, to, err);
}

int cmd_pack_in(const struct cmd *cmd, unsigned format, struct buf *to, struct err *err)
{
    if (cmd->packed != NULL) {
        stamp(cmd->packed, cmd->time_ms, to);
        return 0;
    }
    size_t before = to->size;
    struct pack p;
    pack_to(&p, to);
    p.format = format;
    size_t body = cmd_fields(&p, (struct cmd *)cmd), size = to->size - before;
    int rv = pack_end(&p, cmd_kind_text(cmd->kind), err);
    if (rv == 0 && cmd->kind == CMD_JOB_SUBMIT && body > SPEC_BYTES_MAX)
        rv = err_set(err, ERR_LIMIT,
                     "job spec takes %zu bytes, at most %d: shorten its command or environment",
                     body, SPEC_BYTES_MAX);
    else if (rv == 0 && size > CMD_BYTES_MAX)
        rv = err_set(err, ERR_LIMIT, "command %s takes %zu bytes, at most %d",
                     cmd_kind_text(cmd->kind), size, CMD_BYTES_MAX);
    if (rv != 0) {
        to->size = before;
        to->bytes[before] = '\0';
    }
    return rv;
}

int cmd_unpack(const void *bytes, size_t size, struct cmd *ret, struct err *err)
{
    memset(ret, 0, sizeof *ret);
    if (size > CMD_BYTES_MAX)
        return err_set(err, ERR_CORRUPT, "command: %zu bytes, at most %d", size, CMD_BYTES_MAX);
    struct pack p;
    pack_from(&p, bytes, size);
    p.strict = true;
    (void)cmd_fields(&p, ret);
    int rv = pack_end(&p, "command", err);
    if (rv != 0 && ret->kind != 0)
        cmd_release(ret);
    return rv;
}

void spec_pack(const struct job_spec *spec, struct buf *to)
{
    record_pack(to, &job_spec_record, spec);
}

int spec_unpack(const void *bytes, size_t size, struct job_spec *ret, struct err *err)
{
    return record_unpack(bytes, size, &job_spec_record, ret, err);
}

void envelope_add(struct buf *envelope, const void *cmd_bytes, size_t size)
{
    ASSERT(size > 0);
    ASSERT(size <= CMD_BYTES_MAX);
    uint8_t head[ENVELOPE_HEAD_BYTES] = {(uint8_t)(size >> 24), (uint8_t)(size >> 16),
                                         (uint8_t)(size >> 8), (uint8_t)size};
    buf_append(envelope, head, sizeof head);
    buf_append(envelope, cmd_bytes, size);
}

int envelope_next(const void *envelope, size_t size, size_t *at, const void **ret_cmd,
                  size_t *ret_size, struct err *err)
{
    *ret_cmd = NULL;
    *ret_size = 0;
    ASSERT(*at <= size);
    if (*at == size)
        return 0;
    const uint8_t *bytes = (const uint8_t *)envelope + *at;
    size_t left = size - *at;
    if (left < ENVELOPE_HEAD_BYTES)
        return err_set(err, ERR_CORRUPT, "envelope: cut in a length at byte %zu of %zu", *at, size);
    size_t length =
        (size_t)bytes[0] << 24 | (size_t)bytes[1] << 16 | (size_t)bytes[2] << 8 | bytes[3];
    if (length == 0 || length > CMD_BYTES_MAX || length > left - ENVELOPE_HEAD_BYTES)
        return err_set(err, ERR_CORRUPT, "envelope: command of %zu bytes at byte %zu of %zu",
                       length, *at, size);
    *ret_cmd = bytes + ENVELOPE_HEAD_BYTES;
    *ret_size = length;
    *at += ENVELOPE_HEAD_BYTES + length;
    return 0;
}
