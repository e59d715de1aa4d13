/*
 * inbox.h - commands on their way into the log: who is next, and how many may wait.
 *
 * Every command given to this replica waits here, until the leader puts it into an envelope
 * (proposer.h) or a follower has sent it to the leader (forward.h). Whoever floods waits for
 * himself: users take turns, and what keeps the cell right and what the operator says go beside
 * them (base/fair.h), not behind.
 */
#ifndef BORGMASTER_INBOX_H
#define BORGMASTER_INBOX_H

#include "fair.h"
#include "replica.h"
#include "scope.h"

enum inbox_lane {
    INBOX_CELL,     /* what replicas propose: reports, machines, placements, timers */
    INBOX_OPERATOR, /* commands of operators of the cell */
    INBOX_USERS,
    INBOX_USAGE, /* measurements: the next ones say it again */
    INBOX_LANES,
};

struct inbox {
    struct fair queue; /* of struct inbox_cmd */
};

struct inbox_cmd {
    struct fair_item item;
    struct list link; /* the holder's, once it has left the inbox */
    struct buf packed;
    struct cmd_scope scope;
    replica_answer_cb cb;
    void *data;
};

extern const struct fair_limits inbox_limits[INBOX_LANES];
enum inbox_lane inbox_lane_of(const struct cmd *cmd, bool by_operator);

void inbox_init(struct inbox *inbox);
/* Queue the command, or refuse it at once. As replica_command(). */
void inbox_put(struct inbox *inbox, const struct cmd *cmd, bool by_operator, replica_answer_cb cb,
               void *data);
/* The one that is next; NULL: none waits. It stays until it is taken. */
struct inbox_cmd *inbox_next(const struct inbox *inbox);
struct inbox_cmd *inbox_take(struct inbox *inbox);
/* Refuse all that wait. */
void inbox_refuse(struct inbox *inbox, const struct err *err);

/* Answer and free one that was taken. */
void inbox_cmd_done(struct inbox_cmd *cmd, const struct err *err, const struct wire_answer *answer);

#endif
