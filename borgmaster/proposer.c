/*
 * proposer.c - envelopes and answers.
 */
#include "proposer.h"

#include "clock.h"
#include "cmd_pack.h"

#include <stdlib.h>
#include <string.h>

enum { TAG_BYTES = 8 };

/* One Raft entry under way. */
struct proposal {
    struct raftlog_proposal req;
    struct proposer *proposer;
    struct list commands; /* inbox_cmd.link, in the order of the envelope, popped as answered */
    uint64_t tag;
};

struct proposer {
    uint64_t next_tag;      /* random start: entries of an earlier life must not match */
    struct idmap proposals; /* tag -> struct proposal */
};

struct proposer *proposer_new(void)
{
    struct proposer *p = xcalloc(1, sizeof *p);
    uint64_t id[2];
    random_id(id);
    p->next_tag = id[0] | 1;
    return p;
}

static void fail_all(struct list *commands, enum err_code code, const char *why)
{
    struct err err;
    err_set(&err, code, "%s", why);
    for (struct list *l = list_pop(commands); l != NULL; l = list_pop(commands))
        inbox_cmd_done(CONTAINER_OF(l, struct inbox_cmd, link), &err, NULL);
}

static void on_proposed(struct raftlog_proposal *req, int status)
{
    struct proposal *proposal = req->data;
    /* On success all commands were answered while the entry was applied. */
    ASSERT_IMPLIES(status == 0, list_empty(&proposal->commands));
    idmap_remove(&proposal->proposer->proposals, proposal->tag);
    if (status != 0)
        fail_all(&proposal->commands, ERR_UNKNOWN_OUTCOME,
                 "leadership was lost while the command was being committed");
    free(proposal);
}

/* Move commands from the inbox into an envelope until it is full. */
static struct proposal *proposal_fill(struct proposer *p, struct inbox *inbox, struct buf *envelope)
{
    struct proposal *proposal = xcalloc(1, sizeof *proposal);
    proposal->proposer = p;
    proposal->req.data = proposal;
    proposal->tag = p->next_tag++;
    list_init(&proposal->commands);
    buf_clear(envelope);
    buf_append(envelope, &proposal->tag, TAG_BYTES);
    for (size_t count = 0; count < ENVELOPE_COMMANDS_MAX; count++) {
        const struct inbox_cmd *next = inbox_next(inbox);
        if (next == NULL ||
            (count > 0 && envelope->size + next->packed.size + 4 > ENVELOPE_BYTES_MAX / 2))
            break;
        struct inbox_cmd *cmd = inbox_take(inbox);
        envelope_add(envelope, cmd->packed.bytes, cmd->packed.size);
        buf_release(&cmd->packed);
        list_push(&proposal->commands, &cmd->link);
    }
    return proposal;
}

void proposer_flush(struct proposer *p, struct inbox *inbox, struct raftlog *log)
{
    struct buf CLEANUP(buf_release) envelope = {0};
    while (inbox_next(inbox) != NULL && raftlog_status(log).in_flight < PROPOSALS_IN_FLIGHT_MAX) {
        struct err err;
        struct proposal *proposal = proposal_fill(p, inbox, &envelope);
        idmap_put(&p->proposals, proposal->tag, proposal);
        int rv =
            raftlog_propose(log, &proposal->req, envelope.bytes, envelope.size, on_proposed, &err);
        if (rv == 0)
            continue;
        idmap_remove(&p->proposals, proposal->tag);
        fail_all(&proposal->commands, err.code, err.msg);
        free(proposal);
    }
}

int proposer_open(struct proposer *p, const void *bytes, size_t size, size_t *ret_at,
                  struct proposal **ret_ours, struct err *err)
{
    uint64_t tag;
    if (size < TAG_BYTES)
        return err_set(err, ERR_CORRUPT, "an envelope of %zu bytes has no tag", size);
    memcpy(&tag, bytes, TAG_BYTES);
    *ret_at = TAG_BYTES;
    *ret_ours = tag == 0 ? NULL : idmap_get(&p->proposals, tag);
    return 0;
}

void proposer_answer(struct proposal *ours, const struct answer *answer, uint64_t index)
{
    struct list *l = list_pop(&ours->commands);
    ASSERT(l != NULL);
    struct wire_answer wire = {.code = answer->code,
                               .job = answer->job.v,
                               .accepted = answer->accepted,
                               .refused = answer->refused,
                               .index = index};
    str_copy(wire.msg, sizeof wire.msg, answer->msg);
    inbox_cmd_done(CONTAINER_OF(l, struct inbox_cmd, link), NULL, &wire);
}
