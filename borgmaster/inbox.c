/*
 * inbox.c - lanes for commands, and their limits.
 */
#include "inbox.h"

#include "cmd_pack.h"
#include "hash.h"

#include <stdlib.h>
#include <string.h>

/* The cell's own commands are bounded where they are made; commands of users are bounded here. */
const struct fair_limits inbox_limits[INBOX_LANES] = {
    [INBOX_CELL] = {16, SIZE_MAX, INBOX_BYTES_MAX, INBOX_BYTES_MAX},
    [INBOX_OPERATOR] = {8, INBOX_USER_COMMANDS_MAX, INBOX_BYTES_MAX / 4, INBOX_BYTES_MAX / 4},
    [INBOX_USERS] = {8, INBOX_USER_COMMANDS_MAX, INBOX_BYTES_MAX / 8, INBOX_BYTES_MAX},
    [INBOX_USAGE] = {1, SIZE_MAX, INBOX_BYTES_MAX / 4, INBOX_BYTES_MAX / 4},
};

enum inbox_lane inbox_lane_of(const struct cmd *cmd, bool by_operator)
{
    if (cmd->kind == CMD_USAGE)
        return INBOX_USAGE;
    if (cmd->user[0] == '\0')
        return INBOX_CELL;
    return by_operator ? INBOX_OPERATOR : INBOX_USERS;
}

void inbox_init(struct inbox *inbox)
{
    fair_init(&inbox->queue, inbox_limits, INBOX_LANES);
}

void inbox_cmd_done(struct inbox_cmd *cmd, const struct err *err, const struct wire_answer *answer)
{
    if (cmd->cb != NULL)
        cmd->cb(cmd->data, err, answer);
    buf_release(&cmd->packed);
    free(cmd);
}

static void say_full(const struct inbox *inbox, const struct cmd *cmd, enum inbox_lane lane,
                     struct err *err)
{
    if (lane == INBOX_USERS)
        err_set(
            err, ERR_UNAVAILABLE,
            "too many commands of user \"%s\" wait at this replica, which has %zu commands of %zu "
            "bytes waiting; wait for their answers, then try again",
            cmd->user, inbox->queue.count, inbox->queue.bytes);
    else
        err_set(err, ERR_UNAVAILABLE,
                "the cell is overloaded: %zu commands of %zu bytes wait; try again",
                inbox->queue.count, inbox->queue.bytes);
}

void inbox_put(struct inbox *inbox, const struct cmd *cmd, unsigned format, bool by_operator,
               answer_cb cb, void *data)
{
    struct err err;
    enum inbox_lane lane = inbox_lane_of(cmd, by_operator);
    struct inbox_cmd *waiting = xcalloc(1, sizeof *waiting);
    waiting->cb = cb;
    waiting->data = data;
    waiting->scope = cmd_scope_of(cmd);
    list_init(&waiting->link);
    if (cmd_pack_in(cmd, format, &waiting->packed, &err) != 0) {
        inbox_cmd_done(waiting, &err, NULL);
    } else if (!fair_push(&inbox->queue, lane, hash_text(0, cmd->user), &waiting->item,
                          waiting->packed.size)) {
        say_full(inbox, cmd, lane, &err);
        inbox_cmd_done(waiting, &err, NULL);
    }
}

static struct inbox_cmd *cmd_of(struct fair_item *item)
{
    return item == NULL ? NULL : CONTAINER_OF(item, struct inbox_cmd, item);
}

struct inbox_cmd *inbox_next(const struct inbox *inbox)
{
    return cmd_of(fair_peek(&inbox->queue));
}

struct inbox_cmd *inbox_take(struct inbox *inbox)
{
    return cmd_of(fair_pop(&inbox->queue));
}

void inbox_refuse(struct inbox *inbox, const struct err *err)
{
    /* The count is fixed first: a callback may queue a new command, and the loop would not end. */
    for (size_t count = inbox->queue.count; count > 0; count--)
        inbox_cmd_done(inbox_take(inbox), err, NULL);
}
