/*
 * forward.c - sends commands from the inbox to the leader.
 */
#include "forward.h"

#include <stdlib.h>

struct forwarded {
    struct forward *forward;
    struct inbox_cmd *cmd;
};

static void on_answer(void *data, const struct err *err, const struct wire_answer *answer)
{
    struct forwarded *f = data;
    f->forward->count--;
    f->forward->bytes -= f->cmd->packed.size;
    inbox_cmd_done(f->cmd, err, answer);
    free(f);
}

void forward_flush(struct forward *forward, struct inbox *inbox, uint64_t leader)
{
    for (struct inbox_cmd *next; (next = inbox_next(inbox)) != NULL;) {
        bool room = forward->count < FORWARDS_IN_FLIGHT_MAX &&
                    forward->bytes + next->packed.size <= FORWARDS_BYTES_MAX;
        if (!room && forward->count > 0)
            return;
        struct forwarded *f = xcalloc(1, sizeof *f);
        *f = (struct forwarded){forward, inbox_take(inbox)};
        forward->count++;
        forward->bytes += f->cmd->packed.size;
        peers_request(forward->peers, leader, WIRE_FORWARD, &f->cmd->packed, on_answer, f);
    }
}
