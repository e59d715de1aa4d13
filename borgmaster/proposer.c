/*
 * proposer.c - packs commands into envelopes and delivers their answers.
 */
#include "proposer.h"

#include "clock.h"
#include "cmd_pack.h"

#include <stdlib.h>
#include <string.h>

enum { TAG_BYTES = 8 };

/* A Raft entry that is under way. */
struct proposal {
    struct list link; /* in proposer.all */
    struct raftlog_proposal req;
    struct proposer *proposer;
    struct list commands; /* inbox_cmd.link, in the order of the envelope, popped as answered */
    uint64_t tag;
    uint32_t tasks; /* tasks that its commands may touch */
    bool committed; /* the log has committed it, or failed */
};

struct proposer {
    uint64_t next_tag;      /* starts at random: entries of an earlier process must not match */
    struct idmap proposals; /* tag -> struct proposal */
    struct list all;        /* struct proposal */
    uint64_t tasks;         /* sum over all proposals */
};

struct proposer *proposer_new(void)
{
    struct proposer *p = xcalloc(1, sizeof *p);
    uint64_t id[2];
    random_id(id);
    p->next_tag = id[0] | 1;
    list_init(&p->all);
    return p;
}

void proposer_free(struct proposer *p)
{
    ASSERT(list_empty(&p->all));
    idmap_release(&p->proposals);
    free(p);
}

static void fail_all(struct list *commands, enum err_code code, const char *why)
{
    struct err err;
    err_set(&err, code, "%s", why);
    for (struct list *l = list_pop(commands); l != NULL; l = list_pop(commands))
        inbox_cmd_done(CONTAINER_OF(l, struct inbox_cmd, link), &err, NULL);
}

static void proposal_free(struct proposal *proposal)
{
    proposal->proposer->tasks -= proposal->tasks;
    list_remove(&proposal->link);
    idmap_remove(&proposal->proposer->proposals, proposal->tag);
    free(proposal);
}

static void on_proposed(struct raftlog_proposal *req, int status)
{
    struct proposal *proposal = req->data;
    proposal->committed = true;
    if (status != 0)
        fail_all(&proposal->commands, ERR_UNKNOWN_OUTCOME,
                 "leadership was lost while the command was being committed");
    /* Otherwise its commands are answered as they are applied, which may be in a later turn. */
    if (list_empty(&proposal->commands))
        proposal_free(proposal);
}

/* Users take turns in the inbox, but a command in the log keeps its place. Therefore all proposals
 * under way together touch at most PROPOSALS_TASKS_MAX tasks, unless they are one larger command:
 * the next user's command waits for no more than that. */
static bool may_join(const struct proposer *p, uint32_t tasks)
{
    return p->tasks == 0 || p->tasks + tasks <= PROPOSALS_TASKS_MAX;
}

static bool may_propose(const struct proposer *p, const struct inbox *inbox,
                        const struct cell *cell, const struct raftlog *log)
{
    const struct inbox_cmd *next = inbox_next(inbox);
    return next != NULL && raftlog_status(log).in_flight < PROPOSALS_IN_FLIGHT_MAX &&
           may_join(p, cmd_scope_tasks(&next->scope, cell));
}

/* Move commands from the inbox into an envelope until it is full. */
static struct proposal *proposal_fill(struct proposer *p, struct inbox *inbox,
                                      const struct cell *cell, struct buf *envelope)
{
    struct proposal *proposal = xcalloc(1, sizeof *proposal);
    proposal->proposer = p;
    proposal->req.data = proposal;
    proposal->tag = p->next_tag++;
    list_init(&proposal->commands);
    list_push(&p->all, &proposal->link);
    buf_clear(envelope);
    buf_append(envelope, &proposal->tag, TAG_BYTES);
    for (size_t count = 0; count < ENVELOPE_COMMANDS_MAX; count++) {
        const struct inbox_cmd *next = inbox_next(inbox);
        uint32_t tasks = next == NULL ? 0 : cmd_scope_tasks(&next->scope, cell);
        if (next == NULL ||
            (count > 0 && envelope->size + next->packed.size + 4 > ENVELOPE_BYTES_MAX / 2) ||
            !may_join(p, tasks))
            break;
        proposal->tasks += tasks;
        p->tasks += tasks;
        struct inbox_cmd *cmd = inbox_take(inbox);
        envelope_add(envelope, cmd->packed.bytes, cmd->packed.size);
        buf_release(&cmd->packed);
        list_push(&proposal->commands, &cmd->link);
    }
    return proposal;
}

void proposer_flush(struct proposer *p, struct inbox *inbox, const struct cell *cell,
                    struct raftlog *log)
{
    struct buf CLEANUP(buf_release) envelope = {0};
    while (may_propose(p, inbox, cell, log)) {
        struct err err;
        struct proposal *proposal = proposal_fill(p, inbox, cell, &envelope);
        idmap_put(&p->proposals, proposal->tag, proposal);
        int rv =
            raftlog_propose(log, &proposal->req, envelope.bytes, envelope.size, on_proposed, &err);
        if (rv == 0)
            continue;
        fail_all(&proposal->commands, err.code, err.msg);
        proposal_free(proposal);
    }
}

void proposer_lose(struct proposer *p)
{
    struct list lost;
    list_init(&lost);
    for (struct list *l = p->all.next, *next = l->next; l != &p->all; l = next, next = l->next) {
        if (!CONTAINER_OF(l, struct proposal, link)->committed)
            continue;
        list_remove(l);
        list_push(&lost, l);
    }
    while (!list_empty(&lost)) {
        struct proposal *proposal = CONTAINER_OF(lost.next, struct proposal, link);
        fail_all(&proposal->commands, ERR_UNKNOWN_OUTCOME,
                 "a snapshot that contains the command replaced the state of this replica");
        proposal_free(proposal);
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
    if (ours->committed && list_empty(&ours->commands))
        proposal_free(ours);
}
