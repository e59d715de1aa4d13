/*
 * format.c - the format that the replicas of a cell have agreed on.
 *
 * A release knows formats up to CELL_FORMAT. While masters of two releases work in one cell, the
 * leader writes nothing that the older ones do not know: a command needs the format of its kind and
 * of every field that is used, and the cell carries out no command of a format above its own.
 */
#include "cell_write.h"

#include "fields.h"

#include <stdio.h>

unsigned cell_format(const struct cell *cell)
{
    return MAX(cell->settings.format, 1U);
}

unsigned cmd_format(const struct cmd *cmd)
{
    const struct record *body = cmd_body_record(cmd->kind);
    unsigned format = 1;
    switch (cmd->kind) {
#define X(name, ...) case CMD_##name:
        CMD_KINDS_1(X)
#undef X
        break;
#define X(name, ...) case CMD_##name:
        CMD_KINDS_2(X)
#undef X
        format = 2;
        break;
    }
    return body == NULL ? format : MAX(format, record_format(body, cmd_body((struct cmd *)cmd)));
}

int cmd_format_check(const struct cell *cell, const struct cmd *cmd, struct err *err)
{
    unsigned needed = cmd_format(cmd);
    if (needed <= cell_format(cell))
        return 0;
    return err_set(err, ERR_STATE,
                   "it says what only format %u can carry, and the cell uses format %u: run all "
                   "masters with a release that knows it, then `borgctl cell upgrade`",
                   needed, cell_format(cell));
}

void apply_format_set(struct apply *a, const struct cmd_format_set *body)
{
    struct settings *settings = &a->cell->settings;
    if (body->format == settings->format) {
        answer_say(a, "the cell uses format %" PRIu32 " already", body->format);
        return;
    }
    if (body->format < cell_format(a->cell)) {
        answer_refuse(a, ERR_STATE,
                      "the cell uses format %u and cannot go back to %" PRIu32
                      ": what it holds may need it",
                      cell_format(a->cell), body->format);
        return;
    }
    if (body->format > CELL_FORMAT) {
        answer_refuse(a, ERR_INVALID, "this release knows formats up to %d, not %" PRIu32,
                      CELL_FORMAT, body->format);
        return;
    }
    settings->format = body->format;
    struct event *event = event_add(a, EVENT_FORMAT);
    snprintf(event->detail, sizeof event->detail, "%" PRIu32, body->format);
    event_by(a, event);
    answer_say(a, "the cell uses format %" PRIu32 " now", body->format);
}
