/*
 * proposer.c - envelopes and answers.
 */
#include "proposer.h"

#include "clock.h"
#include "cmd_pack.h"
#include "idmap.h"
#include "list.h"

#include <stdlib.h>
#include <string.h>

enum { TAG_BYTES = 8 };

/* A packed command that waits for its answer. */
struct waiting {
    struct list link; /* in proposer.queue, then in proposal.commands */
    struct buf packed;
    replica_answer_cb cb;
    void *data;
};

/* One Raft entry under way. */
struct proposal {
    struct raftlog_proposal req;
    struct proposer *proposer;
    struct list
        commands; /* waiting.link, in the order of the envelope; popped as they are answered */
    uint64_t tag;
};

struct proposer {
    struct list queue;
    size_t queued_bytes;
    uint64_t next_tag;      /* random start: entries of an earlier life must not match */
    struct idmap proposals; /* tag -> struct proposal */
};

struct proposer *proposer_new(void)
{
    struct proposer *p = xcalloc(1, sizeof *p);
    uint64_t id[2];
    random_id(id);
    p->next_tag = id[0] | 1;
    list_init(&p->queue);
    return p;
}

static void waiting_done(struct waiting *w, const struct err *err, const struct wire_answer *answer)
{
    if (w->cb != NULL)
        w->cb(w->data, err, answer);
    buf_release(&w->packed);
    free(w);
}

static void fail_all(struct list *commands, enum err_code code, const char *why)
{
    struct err err;
    err_set(&err, code, "%s", why);
    for (struct list *l = list_pop(commands); l != NULL; l = list_pop(commands))
        waiting_done(CONTAINER_OF(l, struct waiting, link), &err, NULL);
}

void proposer_submit(struct proposer *p, const struct cmd *cmd, replica_answer_cb cb, void *data)
{
    struct err err;
    struct cmd stamped = *cmd;
    stamped.time_ms = clock_wall_ms();
    struct waiting *w = xcalloc(1, sizeof *w);
    w->cb = cb;
    w->data = data;
    if (p->queued_bytes > PROPOSALS_QUEUED_BYTES_MAX) {
        err_set(&err, ERR_UNAVAILABLE, "the leader is overloaded: %zu bytes of commands wait",
                p->queued_bytes);
        waiting_done(w, &err, NULL);
        return;
    }
    if (cmd_pack(&stamped, &w->packed, &err) != 0) {
        waiting_done(w, &err, NULL);
        return;
    }
    p->queued_bytes += w->packed.size;
    list_push(&p->queue, &w->link);
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

/* Move commands from the queue into an envelope until it is full. */
static struct proposal *proposal_fill(struct proposer *p, struct buf *envelope)
{
    struct proposal *proposal = xcalloc(1, sizeof *proposal);
    proposal->proposer = p;
    proposal->req.data = proposal;
    proposal->tag = p->next_tag++;
    list_init(&proposal->commands);
    buf_clear(envelope);
    buf_append(envelope, &proposal->tag, TAG_BYTES);
    for (size_t count = 0; count < ENVELOPE_COMMANDS_MAX && !list_empty(&p->queue); count++) {
        struct waiting *w = CONTAINER_OF(p->queue.next, struct waiting, link);
        if (count > 0 && envelope->size + w->packed.size + 4 > ENVELOPE_BYTES_MAX / 2)
            break;
        envelope_add(envelope, w->packed.bytes, w->packed.size);
        p->queued_bytes -= w->packed.size;
        buf_release(&w->packed);
        list_remove(&w->link);
        list_push(&proposal->commands, &w->link);
    }
    return proposal;
}

void proposer_flush(struct proposer *p, struct raftlog *log)
{
    struct buf CLEANUP(buf_release) envelope = {0};
    while (!list_empty(&p->queue) && raftlog_status(log).in_flight < PROPOSALS_IN_FLIGHT_MAX) {
        struct err err;
        struct proposal *proposal = proposal_fill(p, &envelope);
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

void proposer_drop(struct proposer *p)
{
    p->queued_bytes = 0;
    fail_all(&p->queue, ERR_NOT_LEADER, "this replica has just ceased to be the leader");
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
    waiting_done(CONTAINER_OF(l, struct waiting, link), NULL, &wire);
}
