/*
 * master.c - the replicas of the masters, as the cell wants them.
 *
 *     (none) -- master-add --> JOINING -- caught up --> VOTES -- master-remove --> LEAVING -->
 * (none)
 *                                 +------------------- master-remove ----------------^
 *
 * The leader drives Raft's own members towards this, one step at a time, and tells the cell what it
 * has reached (CMD_MASTER_STEP). A row says VOTES before Raft counts the replica and LEAVING until
 * after it has ceased to: whoever comes with an empty directory while its row is not JOINING has
 * forgotten what others count on. Numbers are never used again.
 */
#include "cell_write.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct master *masters_find(const struct masters *masters, uint64_t id)
{
    for (uint32_t i = 0; i < masters->count; i++)
        if (masters->rows[i].id == id)
            return &masters->rows[i];
    return NULL;
}

bool masters_same(const struct masters *a, const struct masters *b)
{
    bool same = a->count == b->count && a->next_id == b->next_id;
    for (uint32_t i = 0; same && i < a->count; i++)
        same = a->rows[i].id == b->rows[i].id && a->rows[i].state == b->rows[i].state &&
               strcmp(a->rows[i].rpc, b->rows[i].rpc) == 0 &&
               strcmp(a->rows[i].raft, b->rows[i].raft) == 0;
    return same;
}

static uint32_t count_state(const struct masters *masters, enum master_state state)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < masters->count; i++)
        count += masters->rows[i].state == state;
    return count;
}

/* Only what names and numeric addresses are made of: it goes into messages and on terminals. */
static bool host_valid(const char *host, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        char c = host[i];
        bool is_word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!is_word && (c == '\0' || strchr(".-_:[]%", c) == NULL))
            return false;
    }
    return size > 0;
}

bool address_valid(const char *address)
{
    const char *colon = strrchr(address, ':');
    char *end = NULL;
    if (colon == NULL || !host_valid(address, (size_t)(colon - address)) || colon[1] < '0' ||
        colon[1] > '9')
        return false;
    long port = strtol(colon + 1, &end, 10);
    return *end == '\0' && port >= 1 && port <= 65535;
}

static bool uses(const struct master *row, const char *address)
{
    return strcmp(row->rpc, address) == 0 || strcmp(row->raft, address) == 0;
}

/* May a replica be at these addresses, beside all but the one it replaces? */
static int addresses_check(const struct masters *masters, const char *rpc, const char *raft,
                           uint64_t replaces, struct err *err)
{
    if (!address_valid(rpc) || !address_valid(raft))
        return err_set(err, ERR_INVALID, "\"%s\" is not HOST:PORT",
                       address_valid(rpc) ? raft : rpc);
    if (strcmp(rpc, raft) == 0)
        return err_set(err, ERR_INVALID, "%s cannot be both addresses of a replica", rpc);
    for (uint32_t i = 0; i < masters->count; i++) {
        const struct master *row = &masters->rows[i];
        if (row->id != replaces && (uses(row, rpc) || uses(row, raft)))
            return err_set(err, ERR_EXISTS, "%s is an address of replica %" PRIu64,
                           uses(row, rpc) ? rpc : raft, row->id);
    }
    return 0;
}

int masters_valid(const struct masters *masters, struct err *err)
{
    struct masters seen = {0};
    uint64_t last = 0;
    if (masters->count > MASTER_ROWS_MAX || (masters->count == 0) != (masters->next_id == 0))
        return err_set(err, ERR_INVALID, "%" PRIu32 " replicas, the next number is %" PRIu64,
                       masters->count, masters->next_id);
    for (uint32_t i = 0; i < masters->count; i++) {
        const struct master *row = &masters->rows[i];
        if (row->id <= last || row->id >= masters->next_id || row->state >= MASTER_STATE_COUNT)
            return err_set(err, ERR_INVALID, "replica %" PRIu64 " is out of order", row->id);
        /* While one takes the place of another both may be at the same address. */
        bool pair = row->state == MASTER_JOINING || count_state(masters, MASTER_LEAVING) > 0;
        int rv = pair ? 0 : addresses_check(&seen, row->rpc, row->raft, 0, err);
        if (rv != 0)
            return rv;
        seen.rows[seen.count++] = *row;
        last = row->id;
    }
    if (masters->count > 0 && count_state(masters, MASTER_JOINING) == masters->count)
        return err_set(err, ERR_INVALID, "no replica is a member");
    return 0;
}

void apply_masters_set(struct apply *a, const struct masters *body)
{
    struct masters *masters = &a->cell->settings.masters;
    struct err err;
    if (masters->next_id != 0) {
        answer_refuse(a, ERR_STATE, "the replicas are known already");
        return;
    }
    struct masters next = *body;
    next.next_id = next.count == 0 ? 0 : next.rows[next.count - 1].id + 1;
    if (next.count == 0 || next.count > CELL_MASTERS_MAX ||
        count_state(&next, MASTER_VOTES) != next.count || masters_valid(&next, &err) != 0) {
        answer_refuse(a, ERR_INVALID, "these cannot be the replicas of a cell");
        return;
    }
    *masters = next;
    answer_say(a, "the cell has %" PRIu32 " replicas", next.count);
}

/* One at a time: the next one must find all others sound. */
static const struct master *changing(const struct masters *masters)
{
    for (uint32_t i = 0; i < masters->count; i++)
        if (masters->rows[i].state != MASTER_VOTES)
            return &masters->rows[i];
    return NULL;
}

static bool refuse_changing(struct apply *a)
{
    const struct master *row = changing(&a->cell->settings.masters);
    if (row == NULL)
        return false;
    answer_refuse(
        a, ERR_STATE,
        "replica %" PRIu64 " is %s: one change at a time; `borgctl cell status` says what "
        "it waits for%s",
        row->id, master_state_text(row->state),
        row->state == MASTER_JOINING ? ", `borgctl cell remove-replica` gives it up" : "");
    return true;
}

static void note(struct apply *a, enum event_kind kind, const struct master *row)
{
    struct event *event = event_add(a, kind);
    snprintf(event->detail, sizeof event->detail, "replica %" PRIu64 " at %s", row->id, row->rpc);
    event_by(a, event);
}

static struct master *row_of(struct cell *cell, uint64_t id)
{
    return (struct master *)masters_find(&cell->settings.masters, id);
}

static int add_check(const struct cell *cell, const struct cmd_master_add *body, struct err *err)
{
    const struct masters *masters = &cell->settings.masters;
    if (masters->next_id == 0)
        return err_set(err, ERR_STATE, "the cell does not know its replicas yet; try again");
    if (body->replaces != 0 && masters_find(masters, body->replaces) == NULL)
        return err_set(err, ERR_NOT_FOUND, "there is no replica %" PRIu64, body->replaces);
    if (body->replaces == 0 && masters->count >= CELL_MASTERS_MAX)
        return err_set(err, ERR_LIMIT, "a cell has at most %d replicas", CELL_MASTERS_MAX);
    if (body->replaces != 0 && masters->count == 1 &&
        (uses(&masters->rows[0], body->raft) || uses(&masters->rows[0], body->rpc)))
        return err_set(err, ERR_STATE,
                       "the only replica cannot make room for another at its own address");
    return addresses_check(masters, body->rpc, body->raft, body->replaces, err);
}

void apply_master_add(struct apply *a, const struct cmd_master_add *body)
{
    struct masters *masters = &a->cell->settings.masters;
    struct err err;
    if (refuse_changing(a))
        return;
    if (add_check(a->cell, body, &err) != 0) {
        answer_refuse(a, err.code, "%s", err.msg);
        return;
    }
    if (body->replaces != 0) {
        struct master *old = row_of(a->cell, body->replaces);
        old->state = MASTER_LEAVING;
        note(a, EVENT_REPLICA_LEAVING, old);
    }
    ASSERT(masters->count < MASTER_ROWS_MAX);
    struct master *row = &masters->rows[masters->count++];
    *row = (struct master){.id = masters->next_id++, .state = MASTER_JOINING};
    str_copy(row->rpc, sizeof row->rpc, body->rpc);
    str_copy(row->raft, sizeof row->raft, body->raft);
    note(a, EVENT_REPLICA_JOINING, row);
    answer_say(a, "replica %" PRIu64 " may join", row->id);
}

void apply_master_remove(struct apply *a, const struct cmd_master_remove *body)
{
    struct masters *masters = &a->cell->settings.masters;
    struct master *row = row_of(a->cell, body->id);
    if (row == NULL) {
        answer_refuse(a, ERR_NOT_FOUND, "there is no replica %" PRIu64, body->id);
        return;
    }
    if (row->state == MASTER_LEAVING) {
        answer_say(a, "replica %" PRIu64 " is leaving already", row->id);
        return;
    }
    if (row->state == MASTER_VOTES && refuse_changing(a))
        return;
    if (count_state(masters, MASTER_VOTES) == (row->state == MASTER_VOTES)) {
        answer_refuse(a, ERR_STATE, "without replica %" PRIu64 " there would be none", row->id);
        return;
    }
    row->state = MASTER_LEAVING;
    note(a, EVENT_REPLICA_LEAVING, row);
    answer_say(a, "replica %" PRIu64 " is leaving", row->id);
}

void apply_master_step(struct apply *a, const struct cmd_master_step *body)
{
    struct masters *masters = &a->cell->settings.masters;
    struct master *row = row_of(a->cell, body->id);
    enum master_state from = body->gone ? MASTER_LEAVING : MASTER_JOINING;
    if (row == NULL || row->state != from) {
        answer_refuse(a, ERR_STATE, "replica %" PRIu64 " is not %s", body->id,
                      master_state_text(from));
        return;
    }
    if (body->gone && count_state(masters, MASTER_VOTES) == 0) {
        answer_refuse(a, ERR_STATE, "replica %" PRIu64 " cannot be gone: no other is a member",
                      body->id);
        return;
    }
    note(a, body->gone ? EVENT_REPLICA_GONE : EVENT_REPLICA_JOINED, row);
    if (!body->gone) {
        row->state = MASTER_VOTES;
        return;
    }
    size_t after = (size_t)(&masters->rows[masters->count] - row - 1);
    memmove(row, row + 1, after * sizeof *row);
    masters->count--;
    masters->rows[masters->count] = (struct master){0};
}
