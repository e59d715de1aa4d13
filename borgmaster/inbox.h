/*
 * inbox.h - holds commands on their way into the log, in a fair order and a bounded number.
 *
 * Every command given to this replica waits here until the leader packs it into an envelope
 * (proposer.h), or until a follower has sent it to the leader (forward.h). Users take turns, so a
 * user who sends too much delays only himself. Commands of the cell and of operators have lanes of
 * their own beside those of users (base/fair.h).
 */
#ifndef BORGMASTER_INBOX_H
#define BORGMASTER_INBOX_H

#include "fair.h"
#include "cmd.h"
#include "list.h"
#include "scope.h"
#include "wire.h"

/* Receives the outcome of a command: the answer, or err (see core_propose()). */
typedef void (*answer_cb)(void *data, const struct err *err, const struct wire_answer *answer);

enum inbox_lane {
    INBOX_CELL,     /* proposed by replicas: reports, machines, placements, timers */
    INBOX_OPERATOR, /* commands of operators */
    INBOX_USERS,
    INBOX_USAGE, /* measurements; a lost one is repeated by the next */
    INBOX_LANES,
};

struct inbox {
    struct fair queue; /* of struct inbox_cmd */
};

struct inbox_cmd {
    struct fair_item item;
    struct list link; /* for the owner, after the command was taken */
    struct buf packed;
    struct cmd_scope scope;
    answer_cb cb;
    void *data;
};

extern const struct fair_limits inbox_limits[INBOX_LANES];
enum inbox_lane inbox_lane_of(const struct cmd *cmd, bool by_operator);

void inbox_init(struct inbox *inbox);
/* Queue the command, or refuse it during this call. See core_propose() for the arguments.
 * Fields of a later format than this one are left out. */
void inbox_put(struct inbox *inbox, const struct cmd *cmd, unsigned format, bool by_operator,
               answer_cb cb, void *data);
/* Returns the next command without taking it; NULL: none waits. */
struct inbox_cmd *inbox_next(const struct inbox *inbox);
struct inbox_cmd *inbox_take(struct inbox *inbox);
/* Refuse all waiting commands. */
void inbox_refuse(struct inbox *inbox, const struct err *err);

/* Answer and free a command that was taken. */
void inbox_cmd_done(struct inbox_cmd *cmd, const struct err *err, const struct wire_answer *answer);

#endif
