/*
 * wire.c - the bodies of messages as msgpack, all but the rows of a query (wire_rows.c).
 *
 * Each body has one function that names its fields; the order of the fields is the format. Lists
 * are bounded by the bytes of their message: RPC_FRAME_BYTES_MAX is the bound of the stream.
 */
#include "wire.h"
#include "pack_enum.h"
#include "spec_fields.h"

#include <stdlib.h>
#include <string.h>

static void write_body(struct buf *to, const void *body, pack_fields_fn fields)
{
    struct pack p;
    pack_to(&p, to);
    /* Field functions change nothing when writing. */
    fields(&p, (void *)body);
}

/* `ret` is zeroed before; what it owns after a mistake is the caller's to release. */
static int read_body(const void *bytes, size_t size, void *ret, size_t ret_size,
                     pack_fields_fn fields, const char *what, struct err *err)
{
    memset(ret, 0, ret_size);
    struct pack p;
    pack_from(&p, bytes, size);
    fields(&p, ret);
    return pack_end(&p, what, err);
}

static void answer_fields(struct pack *p, void *body)
{
    struct wire_answer *a = body;
    pack_fields(p, 6);
    pack_enum(p, &a->code);
    pack_u64(p, &a->job);
    pack_u32(p, &a->accepted);
    pack_u32(p, &a->refused);
    pack_u64(p, &a->index);
    pack_text(p, a->msg, sizeof a->msg);
}

void wire_pack_answer(struct buf *to, const struct wire_answer *a)
{
    write_body(to, a, answer_fields);
}

int wire_unpack_answer(const void *bytes, size_t size, struct wire_answer *ret, struct err *err)
{
    return read_body(bytes, size, ret, sizeof *ret, answer_fields, "answer", err);
}

static void query_fields(struct pack *p, void *body)
{
    struct wire_query *q = body;
    pack_fields(p, 3);
    pack_string(p, &q->sql, QUERY_SQL_MAX);
    pack_u64(p, &q->index_min);
    pack_bool(p, &q->fresh);
}

void wire_pack_query(struct buf *to, const struct wire_query *q)
{
    write_body(to, q, query_fields);
}

int wire_unpack_query(const void *bytes, size_t size, struct wire_query *ret, struct err *err)
{
    int rv = read_body(bytes, size, ret, sizeof *ret, query_fields, "query", err);
    if (rv != 0)
        wire_query_release(ret);
    return rv;
}

void wire_query_release(struct wire_query *q)
{
    free(q->sql);
    *q = (struct wire_query){0};
}

static void why_fields(struct pack *p, void *body)
{
    struct wire_why *w = body;
    pack_fields(p, 3);
    pack_text(p, w->job, sizeof w->job);
    pack_i64(p, &w->index);
    pack_bool(p, &w->want_names);
}

void wire_pack_why(struct buf *to, const struct wire_why *w)
{
    write_body(to, w, why_fields);
}

int wire_unpack_why(const void *bytes, size_t size, struct wire_why *ret, struct err *err)
{
    return read_body(bytes, size, ret, sizeof *ret, why_fields, "question why", err);
}

static void status_fields(struct pack *p, void *body)
{
    struct wire_status *s = body;
    uint64_t *numbers[] = {&s->term,           &s->leader,          &s->last_index,
                           &s->stored_index,   &s->commit_index,    &s->applied_index,
                           &s->snapshot_index, &s->projected_index, &s->digest,
                           &s->links,          &s->machines,        &s->jobs,
                           &s->pending,        &s->uptime_ms,       &s->mark_index,
                           &s->mark_digest,    &s->store_behind_ms, &s->disk_wait_ms,
                           &s->disk_silent_ms, &s->disk_free_bytes, &s->disk_bytes,
                           &s->state_bytes};
    pack_fields(p, 15 + ARRAY_SIZE(numbers));
    pack_u64(p, &s->id);
    pack_text(p, s->addr, sizeof s->addr);
    pack_i64(p, &s->pid);
    pack_text(p, s->role, sizeof s->role);
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
        pack_u64(p, numbers[i]);
    pack_text(p, s->version, sizeof s->version);
    pack_text(p, s->policy, sizeof s->policy);
    pack_text(p, s->hold, sizeof s->hold);
    pack_text(p, s->change, sizeof s->change);
    pack_u64(p, &s->certs_soon);
    pack_u64(p, &s->cert_first_ms);
    pack_text(p, s->cert_first, sizeof s->cert_first);
    pack_u64(p, &s->wall_ms);
    pack_u64(p, &s->cell_ms);
    masters_fields(p, &s->masters, MASTER_ROWS_MAX);
    pack_u64(p, &s->masters.next_id);
}

void wire_pack_status(struct buf *to, const struct wire_status *s)
{
    write_body(to, s, status_fields);
}

int wire_unpack_status(const void *bytes, size_t size, struct wire_status *ret, struct err *err)
{
    return read_body(bytes, size, ret, sizeof *ret, status_fields, "status", err);
}

static void alive_fields(struct pack *p, void *body)
{
    struct wire_alive *a = body;
    pack_fields(p, 4);
    pack_bytes(p, &a->bits, &a->size);
    pack_u32(p, &a->links);
    pack_u64(p, &a->applied_index);
    pack_u64(p, &a->wall_ms);
    if (a->size > CELL_MACHINES_MAX / 8)
        pack_fail(p, "more machines than a cell has");
}

void wire_pack_alive(struct buf *to, const struct wire_alive *a)
{
    write_body(to, a, alive_fields);
}

int wire_unpack_alive(const void *bytes, size_t size, struct wire_alive *ret, struct err *err)
{
    return read_body(bytes, size, ret, sizeof *ret, alive_fields, "machines alive", err);
}

static void shed_fields(struct pack *p, void *body)
{
    struct wire_shed *s = body;
    pack_fields(p, 3);
    pack_u64(p, &s->to);
    pack_u32(p, &s->count);
    pack_u64(p, &s->median_ms);
}

void wire_pack_shed(struct buf *to, const struct wire_shed *s)
{
    write_body(to, s, shed_fields);
}

int wire_unpack_shed(const void *bytes, size_t size, struct wire_shed *ret, struct err *err)
{
    return read_body(bytes, size, ret, sizeof *ret, shed_fields, "request to shed", err);
}

static void hello_fields(struct pack *p, void *body)
{
    struct wire_hello *h = body;
    pack_fields(p, 8);
    pack_text(p, h->name, sizeof h->name);
    pack_text(p, h->addr, sizeof h->addr);
    resources_fields(p, &h->capacity, &h->resource_names);
    pack_u64(p, &h->seen_index);
    pack_list(p, &h->reports, &h->report_count, HELLO_REPORTS_MAX, sizeof *h->reports,
              report_fields);
    words_fields(p, &h->attributes, MACHINE_ATTRIBUTES_MAX);
    pack_u64(p, &h->instance);
    pack_u64(p, &h->directory);
}

void wire_pack_hello(struct buf *to, const struct wire_hello *h)
{
    write_body(to, h, hello_fields);
}

int wire_unpack_hello(const void *bytes, size_t size, struct wire_hello *ret, struct err *err)
{
    int rv = read_body(bytes, size, ret, sizeof *ret, hello_fields, "hello", err);
    if (rv != 0)
        wire_hello_release(ret);
    return rv;
}

void wire_hello_release(struct wire_hello *h)
{
    free(h->reports);
    words_release(&h->attributes);
    *h = (struct wire_hello){0};
}

static void welcome_fields(struct pack *p, void *body)
{
    struct wire_welcome *w = body;
    pack_fields(p, 2);
    pack_u32(p, &w->machine);
    pack_u64(p, &w->heartbeat_ms);
}

void wire_pack_welcome(struct buf *to, const struct wire_welcome *w)
{
    write_body(to, w, welcome_fields);
}

int wire_unpack_welcome(const void *bytes, size_t size, struct wire_welcome *ret, struct err *err)
{
    return read_body(bytes, size, ret, sizeof *ret, welcome_fields, "welcome", err);
}

static void move_fields(struct pack *p, void *body)
{
    struct wire_move *m = body;
    pack_fields(p, 1);
    pack_text(p, m->addr, sizeof m->addr);
}

void wire_pack_move(struct buf *to, const struct wire_move *m)
{
    write_body(to, m, move_fields);
}

int wire_unpack_move(const void *bytes, size_t size, struct wire_move *ret, struct err *err)
{
    return read_body(bytes, size, ret, sizeof *ret, move_fields, "request to move", err);
}

static void address_fields(struct pack *p, void *item)
{
    struct wire_address *address = item;
    pack_fields(p, 2);
    pack_u64(p, &address->id);
    pack_text(p, address->text, sizeof address->text);
}

static void replicas_fields(struct pack *p, void *body)
{
    struct wire_replicas *r = body;
    pack_fields(p, 1);
    pack_list(p, &r->addresses, &r->address_count, MASTER_ROWS_MAX, sizeof *r->addresses,
              address_fields);
}

void wire_pack_replicas(struct buf *to, const struct wire_replicas *r)
{
    write_body(to, r, replicas_fields);
}

int wire_unpack_replicas(const void *bytes, size_t size, struct wire_replicas *ret, struct err *err)
{
    int rv = read_body(bytes, size, ret, sizeof *ret, replicas_fields, "list of replicas", err);
    if (rv != 0)
        wire_replicas_release(ret);
    return rv;
}

void wire_replicas_release(struct wire_replicas *r)
{
    free(r->addresses);
    *r = (struct wire_replicas){0};
}

static void identity_fields(struct pack *p, void *identity)
{
    struct wire_identity *i = identity;
    pack_fields(p, 3);
    pack_text(p, i->identity, sizeof i->identity);
    pack_u32(p, &i->rights);
    pack_u64(p, &i->revoked_ms);
}

static void identities_fields(struct pack *p, void *body)
{
    struct wire_identities *i = body;
    pack_fields(p, 2);
    pack_u64(p, &i->index);
    pack_list(p, &i->identities, &i->identity_count, CELL_IDENTITIES_MAX, sizeof *i->identities,
              identity_fields);
}

void wire_pack_identities(struct buf *to, const struct wire_identities *i)
{
    write_body(to, i, identities_fields);
}

int wire_unpack_identities(const void *bytes, size_t size, struct wire_identities *ret,
                           struct err *err)
{
    int rv = read_body(bytes, size, ret, sizeof *ret, identities_fields, "list of identities", err);
    if (rv != 0)
        wire_identities_release(ret);
    return rv;
}

void wire_identities_release(struct wire_identities *i)
{
    free(i->identities);
    *i = (struct wire_identities){0};
}

static void join_fields(struct pack *p, void *body)
{
    struct wire_join *j = body;
    pack_fields(p, 5);
    pack_u64(p, &j->id);
    pack_text(p, j->raft, sizeof j->raft);
    pack_bool(p, &j->is_new);
    pack_u64(p, &j->last_index);
    pack_u64(p, &j->worked_ms);
}

void wire_pack_join(struct buf *to, const struct wire_join *j)
{
    write_body(to, j, join_fields);
}

int wire_unpack_join(const void *bytes, size_t size, struct wire_join *ret, struct err *err)
{
    return read_body(bytes, size, ret, sizeof *ret, join_fields, "request to join", err);
}

static void reports_fields(struct pack *p, void *body)
{
    struct wire_reports *r = body;
    pack_fields(p, 1);
    pack_list(p, &r->reports, &r->report_count, CMD_REPORTS_MAX, sizeof *r->reports, report_fields);
}

void wire_pack_reports(struct buf *to, const struct wire_reports *r)
{
    write_body(to, r, reports_fields);
}

int wire_unpack_reports(const void *bytes, size_t size, struct wire_reports *ret, struct err *err)
{
    int rv = read_body(bytes, size, ret, sizeof *ret, reports_fields, "reports", err);
    if (rv != 0)
        wire_reports_release(ret);
    return rv;
}

void wire_reports_release(struct wire_reports *r)
{
    free(r->reports);
    *r = (struct wire_reports){0};
}

static void usages_fields(struct pack *p, void *body)
{
    struct wire_usages *u = body;
    pack_fields(p, 1);
    pack_list(p, &u->tasks, &u->task_count, CMD_USAGES_MAX, sizeof *u->tasks, task_usage_fields);
}

void wire_pack_usages(struct buf *to, const struct wire_usages *u)
{
    write_body(to, u, usages_fields);
}

int wire_unpack_usages(const void *bytes, size_t size, struct wire_usages *ret, struct err *err)
{
    int rv = read_body(bytes, size, ret, sizeof *ret, usages_fields, "usage of tasks", err);
    if (rv != 0)
        wire_usages_release(ret);
    return rv;
}

void wire_usages_release(struct wire_usages *u)
{
    free(u->tasks);
    *u = (struct wire_usages){0};
}

static void intent_fields(struct pack *p, void *item)
{
    struct intent *i = item;
    pack_fields(p, 8 + RECLAIM_COUNT);
    attempt_ref_fields(p, &i->task);
    pack_enum(p, &i->action);
    pack_enum(p, &i->cause);
    pack_u32(p, &i->grace_ms);
    pack_u64(p, &i->assigned_seq);
    if (i->action == INTENT_RUN)
        spec_fields(p, &i->spec);
    else
        pack_nil(p);
    pack_u32(p, &i->devices);
    for (int r = 0; r < RECLAIM_COUNT; r++)
        pack_i64(p, &i->reclaimed[r]);
    pack_u32(p, &i->shape);
}

static void intents_fields(struct pack *p, void *body)
{
    struct wire_intents *i = body;
    pack_fields(p, 3);
    pack_u64(p, &i->index);
    pack_bool(p, &i->full);
    pack_list(p, &i->intents, &i->intent_count, RPC_FRAME_BYTES_MAX, sizeof *i->intents,
              intent_fields);
}

void wire_pack_intents(struct buf *to, const struct wire_intents *i)
{
    write_body(to, i, intents_fields);
}

int wire_unpack_intents(const void *bytes, size_t size, struct wire_intents *ret, struct err *err)
{
    int rv = read_body(bytes, size, ret, sizeof *ret, intents_fields, "intents", err);
    if (rv != 0)
        wire_intents_release(ret);
    return rv;
}

void wire_intents_release(struct wire_intents *i)
{
    for (uint32_t n = 0; n < i->intent_count; n++)
        spec_release(&i->intents[n].spec);
    free(i->intents);
    *i = (struct wire_intents){0};
}

static void logs_fields(struct pack *p, void *body)
{
    struct wire_logs *l = body;
    pack_fields(p, 7);
    pack_text(p, l->job, sizeof l->job);
    pack_u64(p, &l->task);
    pack_u32(p, &l->attempt);
    pack_bool(p, &l->err);
    pack_bool(p, &l->follow);
    pack_u64(p, &l->tail_bytes);
    pack_u64(p, &l->from);
}

void wire_pack_logs(struct buf *to, const struct wire_logs *l)
{
    write_body(to, l, logs_fields);
}

int wire_unpack_logs(const void *bytes, size_t size, struct wire_logs *ret, struct err *err)
{
    return read_body(bytes, size, ret, sizeof *ret, logs_fields, "request for logs", err);
}

static void log_chunk_fields(struct pack *p, void *body)
{
    struct wire_log_chunk *c = body;
    pack_fields(p, 2);
    pack_bytes(p, &c->bytes, &c->size);
    pack_u64(p, &c->offset);
}

void wire_pack_log_chunk(struct buf *to, const struct wire_log_chunk *c)
{
    write_body(to, c, log_chunk_fields);
}

int wire_unpack_log_chunk(const void *bytes, size_t size, struct wire_log_chunk *ret,
                          struct err *err)
{
    return read_body(bytes, size, ret, sizeof *ret, log_chunk_fields, "piece of a log", err);
}

static void checkpoint_fields(struct pack *p, void *body)
{
    struct wire_checkpoint *c = body;
    pack_fields(p, 1);
    pack_u64(p, &c->offset);
}

void wire_pack_checkpoint(struct buf *to, const struct wire_checkpoint *c)
{
    write_body(to, c, checkpoint_fields);
}

int wire_unpack_checkpoint(const void *bytes, size_t size, struct wire_checkpoint *ret,
                           struct err *err)
{
    return read_body(bytes, size, ret, sizeof *ret, checkpoint_fields, "request for a checkpoint",
                     err);
}

static void transfer_fields(struct pack *p, void *body)
{
    struct wire_transfer *t = body;
    pack_fields(p, 1);
    pack_u64(p, &t->replica);
}

void wire_pack_transfer(struct buf *to, const struct wire_transfer *t)
{
    write_body(to, t, transfer_fields);
}

int wire_unpack_transfer(const void *bytes, size_t size, struct wire_transfer *ret, struct err *err)
{
    return read_body(bytes, size, ret, sizeof *ret, transfer_fields, "request to transfer", err);
}

static void piece_fields(struct pack *p, void *body)
{
    struct wire_piece *piece = body;
    pack_fields(p, 2);
    pack_bytes(p, &piece->bytes, &piece->size);
    pack_u64(p, &piece->total);
}

void wire_pack_piece(struct buf *to, const struct wire_piece *p)
{
    write_body(to, p, piece_fields);
}

int wire_unpack_piece(const void *bytes, size_t size, struct wire_piece *ret, struct err *err)
{
    return read_body(bytes, size, ret, sizeof *ret, piece_fields, "piece of a checkpoint", err);
}
