/*
 * random_wire.h - random bodies of every message, and the list of what can be done to each.
 *
 * Every field is filled, as in random_cmd.h. A message that is new in WIRE_BODIES does not compile
 * here before it has its random_wire_NAME().
 */
#ifndef TEST_RANDOM_WIRE_H
#define TEST_RANDOM_WIRE_H

#include "random_cmd.h"
#include "wire.h"

#include <math.h>

static inline void random_wire_answer(struct random *r, struct wire_answer *a)
{
    memset(a, 0, sizeof *a);
    a->code = random_below(r, ERR_CODE_COUNT);
    a->job = random_number(r);
    a->accepted = (uint32_t)random_number(r);
    a->refused = (uint32_t)random_number(r);
    a->index = random_number(r);
    random_text(r, a->msg, sizeof a->msg);
}

static inline void random_wire_query(struct random *r, struct wire_query *q)
{
    memset(q, 0, sizeof *q);
    q->sql = xcalloc(300, 1);
    random_text(r, q->sql, 300);
    q->index_min = random_number(r);
    q->fresh = random_below(r, 2) == 1;
}

static inline void random_wire_why(struct random *r, struct wire_why *w)
{
    memset(w, 0, sizeof *w);
    random_text(r, w->job, sizeof w->job);
    w->index = (int64_t)random_u64(r) >> random_below(r, 64);
    w->want_names = random_below(r, 2) == 1;
}

static inline void random_wire_value(struct random *r, struct wire_value *value)
{
    static const char *const texts[] = {"", "x", "web/17", "a text that is not short at all"};
    memset(value, 0, sizeof *value);
    value->type = random_below(r, WIRE_TEXT + 1);
    if (value->type == WIRE_INTEGER)
        value->integer = (int64_t)random_u64(r) >> random_below(r, 64);
    if (value->type == WIRE_REAL)
        value->real = ldexp((double)random_number(r), -20);
    if (value->type == WIRE_TEXT)
        value->text = texts[random_below(r, ARRAY_SIZE(texts))];
}

static inline void random_wire_rows(struct random *r, struct wire_rows *rows)
{
    memset(rows, 0, sizeof *rows);
    rows->applied_index = random_number(r);
    rows->column_count = random_below(r, 20);
    rows->row_count = rows->column_count == 0 ? 0 : random_below(r, 20);
    rows->columns = xcalloc((size_t)rows->column_count + 1, sizeof *rows->columns);
    for (uint32_t i = 0; i < rows->column_count; i++)
        rows->columns[i] = random_below(r, 2) == 0 ? "name" : "";
    size_t count = (size_t)rows->column_count * rows->row_count;
    rows->values = xcalloc(count + 1, sizeof *rows->values);
    for (size_t i = 0; i < count; i++)
        random_wire_value(r, &rows->values[i]);
}

static inline void random_wire_status(struct random *r, struct wire_status *s)
{
    memset(s, 0, sizeof *s);
    s->id = random_number(r);
    random_text(r, s->addr, sizeof s->addr);
    s->pid = (int64_t)random_u64(r);
    random_text(r, s->role, sizeof s->role);
    for (uint64_t *n = &s->term; n <= &s->state_bytes; n++)
        *n = random_number(r);
    random_text(r, s->version, sizeof s->version);
    s->certs_soon = random_number(r);
    s->cert_first_ms = random_number(r);
    random_text(r, s->cert_first, sizeof s->cert_first);
    s->wall_ms = random_number(r);
    s->cell_ms = random_number(r);
    s->masters.count = (uint32_t)random_below(r, MASTER_ROWS_MAX + 1);
    s->masters.next_id = random_number(r);
    for (uint32_t i = 0; i < s->masters.count; i++) {
        struct master *row = &s->masters.rows[i];
        row->id = random_number(r);
        row->state = (enum master_state)random_below(r, MASTER_STATE_COUNT);
        random_text(r, row->rpc, sizeof row->rpc);
        random_text(r, row->raft, sizeof row->raft);
    }
}

static inline void random_wire_alive(struct random *r, struct wire_alive *a)
{
    static char bits[200];
    for (size_t i = 0; i < sizeof bits; i++)
        bits[i] = (char)random_u64(r);
    memset(a, 0, sizeof *a);
    a->size = random_below(r, sizeof bits);
    a->bits = bits;
    a->links = (uint32_t)random_number(r);
    a->applied_index = random_number(r);
    a->wall_ms = random_number(r);
}

static inline void random_wire_shed(struct random *r, struct wire_shed *s)
{
    memset(s, 0, sizeof *s);
    s->to = random_number(r);
    s->count = (uint32_t)random_number(r);
    s->median_ms = random_number(r);
}

static inline void random_wire_move(struct random *r, struct wire_move *m)
{
    memset(m, 0, sizeof *m);
    random_text(r, m->addr, sizeof m->addr);
}

static inline void random_wire_hello(struct random *r, struct wire_hello *h)
{
    memset(h, 0, sizeof *h);
    random_text(r, h->name, sizeof h->name);
    random_text(r, h->addr, sizeof h->addr);
    random_resources(r, &h->capacity, &h->resource_names);
    h->seen_index = random_number(r);
    h->report_count = random_below(r, 12);
    h->reports = random_reports(r, h->report_count);
    random_words(r, &h->attributes, MACHINE_ATTRIBUTES_MAX);
    h->instance = random_number(r);
    h->directory = random_number(r);
}

static inline void random_wire_welcome(struct random *r, struct wire_welcome *w)
{
    memset(w, 0, sizeof *w);
    w->machine = (uint32_t)random_number(r);
    w->heartbeat_ms = random_number(r);
}

static inline void random_wire_replicas(struct random *r, struct wire_replicas *w)
{
    memset(w, 0, sizeof *w);
    w->address_count = random_below(r, MASTER_ROWS_MAX + 1);
    w->addresses = xcalloc(w->address_count + 1, sizeof *w->addresses);
    for (uint32_t i = 0; i < w->address_count; i++) {
        w->addresses[i].id = random_number(r);
        random_text(r, w->addresses[i].text, sizeof w->addresses[i].text);
    }
}

static inline void random_wire_identities(struct random *r, struct wire_identities *w)
{
    memset(w, 0, sizeof *w);
    w->index = random_number(r);
    w->identity_count = random_below(r, 20);
    w->identities = xcalloc(w->identity_count + 1, sizeof *w->identities);
    for (uint32_t i = 0; i < w->identity_count; i++) {
        random_text(r, w->identities[i].identity, sizeof w->identities[i].identity);
        w->identities[i].rights = (uint32_t)random_number(r);
        w->identities[i].revoked_ms = random_number(r);
    }
}

static inline void random_wire_join(struct random *r, struct wire_join *j)
{
    memset(j, 0, sizeof *j);
    j->id = random_number(r);
    random_text(r, j->raft, sizeof j->raft);
    j->is_new = random_below(r, 2);
    j->last_index = random_number(r);
    j->worked_ms = random_number(r);
}

static inline void random_wire_reports(struct random *r, struct wire_reports *w)
{
    memset(w, 0, sizeof *w);
    w->report_count = random_below(r, 12);
    w->reports = random_reports(r, w->report_count);
}

static inline void random_wire_usages(struct random *r, struct wire_usages *w)
{
    memset(w, 0, sizeof *w);
    w->task_count = random_below(r, 12);
    w->tasks = random_usages(r, w->task_count);
}

static inline void random_wire_intents(struct random *r, struct wire_intents *w)
{
    memset(w, 0, sizeof *w);
    w->index = random_number(r);
    w->full = random_below(r, 2) == 1;
    w->intent_count = random_below(r, 6);
    w->intents = xcalloc((size_t)w->intent_count + 1, sizeof *w->intents);
    for (uint32_t n = 0; n < w->intent_count; n++) {
        struct intent *i = &w->intents[n];
        i->task = random_attempt(r);
        i->action = random_below(r, INTENT_ACTION_COUNT);
        i->cause = random_below(r, CAUSE_COUNT);
        i->grace_ms = (uint32_t)random_number(r);
        i->assigned_seq = random_number(r);
        i->shape = (uint32_t)random_number(r);
        if (i->action != INTENT_RUN)
            continue;
        random_spec(r, &i->spec);
        i->devices = (uint32_t)random_number(r);
        for (int k = 0; k < RECLAIM_COUNT; k++)
            i->reclaimed[k] = (int64_t)random_number(r);
    }
}

static inline void random_wire_logs(struct random *r, struct wire_logs *l)
{
    memset(l, 0, sizeof *l);
    random_text(r, l->job, sizeof l->job);
    l->task = random_number(r);
    l->attempt = (uint32_t)random_number(r);
    l->err = random_below(r, 2) == 1;
    l->follow = random_below(r, 2) == 1;
    l->tail_bytes = random_below(r, 4) == 0 ? UINT64_MAX : random_number(r);
    l->from = random_number(r);
}

static inline void random_wire_log_chunk(struct random *r, struct wire_log_chunk *c)
{
    static const char log[] = "a line\nand \0 another \xff\n";
    memset(c, 0, sizeof *c);
    c->bytes = log;
    c->size = random_below(r, sizeof log);
    c->offset = random_number(r);
}

static inline void random_wire_checkpoint(struct random *r, struct wire_checkpoint *c)
{
    memset(c, 0, sizeof *c);
    c->offset = random_number(r);
}

static inline void random_wire_transfer(struct random *r, struct wire_transfer *t)
{
    memset(t, 0, sizeof *t);
    t->replica = random_number(r);
}

static inline void random_wire_piece(struct random *r, struct wire_piece *p)
{
    static const char page[] = "SQLite format 3\0 and \xff";
    memset(p, 0, sizeof *p);
    p->bytes = page;
    p->size = random_below(r, sizeof page);
    p->total = random_number(r);
}

/* Of messages that own nothing. */
static inline void random_wire_keep(void *body)
{
    (void)body;
}

union wire_body {
#define X(name) struct wire_##name name;
    WIRE_BODIES(X, X)
#undef X
};

enum wire_body_kind {
#define X(name) WIRE_BODY_##name,
    WIRE_BODIES(X, X)
#undef X
        WIRE_BODY_COUNT
};

struct wire_message {
    const char *name;
    size_t size;
    void (*random)(struct random *r, void *body);
    void (*pack)(struct buf *to, const void *body);
    int (*unpack)(const void *bytes, size_t size, void *ret, struct err *err);
    void (*release)(void *body);
};

/* What one can do to each message. */
static const struct wire_message wire_messages[WIRE_BODY_COUNT] = {
#define WIRE_MESSAGE(name, release) \
    {#name, \
     sizeof(struct wire_##name), \
     (void (*)(struct random *, void *))(void *)random_wire_##name, \
     (void (*)(struct buf *, const void *))(void *)wire_pack_##name, \
     (int (*)(const void *, size_t, void *, struct err *))(void *)wire_unpack_##name, \
     (void (*)(void *))(void *)(release)},
#define PLAIN(name) WIRE_MESSAGE(name, random_wire_keep)
#define OWNER(name) WIRE_MESSAGE(name, wire_##name##_release)
    WIRE_BODIES(PLAIN, OWNER)
#undef PLAIN
#undef OWNER
#undef WIRE_MESSAGE
};

#endif
