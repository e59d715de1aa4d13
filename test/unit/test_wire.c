/*
 * test_wire.c - every message survives the way; nothing else gets in.
 */
#include "pack_enum.h"
#include "hostile.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>

enum { ROUNDS = 200, HOSTILE_MESSAGES = 60, HOSTILE_COPIES = 60 };

const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return hostile_asan_options();
}

static void random_answer(struct random *r, struct wire_answer *a)
{
    memset(a, 0, sizeof *a);
    a->code = random_below(r, ERR_CODE_COUNT);
    a->job = random_number(r);
    a->accepted = (uint32_t)random_number(r);
    a->refused = (uint32_t)random_number(r);
    a->index = random_number(r);
    random_text(r, a->msg, sizeof a->msg);
}

static void random_query(struct random *r, struct wire_query *q)
{
    memset(q, 0, sizeof *q);
    q->sql = xcalloc(300, 1);
    random_text(r, q->sql, 300);
    q->index_min = random_number(r);
    q->fresh = random_below(r, 2) == 1;
}

static void random_why(struct random *r, struct wire_why *w)
{
    memset(w, 0, sizeof *w);
    random_text(r, w->job, sizeof w->job);
    w->index = (int64_t)random_u64(r) >> random_below(r, 64);
    w->want_names = random_below(r, 2) == 1;
}

static bool same_query(const struct wire_query *a, const struct wire_query *b)
{
    return strcmp(a->sql, b->sql) == 0 && a->index_min == b->index_min && a->fresh == b->fresh;
}

static void random_value(struct random *r, struct wire_value *value)
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

static void random_rows(struct random *r, struct wire_rows *rows)
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
        random_value(r, &rows->values[i]);
}

static bool same_value(const struct wire_value *a, const struct wire_value *b)
{
    return a->type == b->type && a->integer == b->integer &&
           memcmp(&a->real, &b->real, sizeof a->real) == 0 &&
           (a->text != NULL) == (b->text != NULL) &&
           (a->text == NULL || strcmp(a->text, b->text) == 0);
}

static bool same_rows(const struct wire_rows *a, const struct wire_rows *b)
{
    if (a->applied_index != b->applied_index || a->column_count != b->column_count ||
        a->row_count != b->row_count)
        return false;
    for (uint32_t i = 0; i < a->column_count; i++)
        if (strcmp(a->columns[i], b->columns[i]) != 0)
            return false;
    for (size_t i = 0; i < (size_t)a->column_count * a->row_count; i++)
        if (!same_value(&a->values[i], &b->values[i]))
            return false;
    return true;
}

static void random_status(struct random *r, struct wire_status *s)
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

static void random_alive(struct random *r, struct wire_alive *a)
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

static bool same_alive(const struct wire_alive *a, const struct wire_alive *b)
{
    return a->size == b->size && memcmp(a->bits, b->bits, a->size) == 0 && a->links == b->links &&
           a->applied_index == b->applied_index && a->wall_ms == b->wall_ms;
}

static void random_shed(struct random *r, struct wire_shed *s)
{
    memset(s, 0, sizeof *s);
    s->to = random_number(r);
    s->count = (uint32_t)random_number(r);
    s->median_ms = random_number(r);
}

static void random_move(struct random *r, struct wire_move *m)
{
    memset(m, 0, sizeof *m);
    random_text(r, m->addr, sizeof m->addr);
}

static void random_hello(struct random *r, struct wire_hello *h)
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

static bool same_hello(const struct wire_hello *a, const struct wire_hello *b)
{
    return same_bytes(a, offsetof(struct wire_hello, reports), b,
                      offsetof(struct wire_hello, reports)) &&
           a->instance == b->instance && a->directory == b->directory &&
           words_same(&a->attributes, &b->attributes) &&
           SAME_LISTS(a->reports, a->report_count, b->reports, b->report_count);
}

static void random_welcome(struct random *r, struct wire_welcome *w)
{
    memset(w, 0, sizeof *w);
    w->machine = (uint32_t)random_number(r);
    w->heartbeat_ms = random_number(r);
}

static void random_replicas(struct random *r, struct wire_replicas *w)
{
    memset(w, 0, sizeof *w);
    w->address_count = random_below(r, MASTER_ROWS_MAX + 1);
    w->addresses = xcalloc(w->address_count + 1, sizeof *w->addresses);
    for (uint32_t i = 0; i < w->address_count; i++) {
        w->addresses[i].id = random_number(r);
        random_text(r, w->addresses[i].text, sizeof w->addresses[i].text);
    }
}

static bool same_replicas(const struct wire_replicas *a, const struct wire_replicas *b)
{
    bool same = a->address_count == b->address_count;
    for (uint32_t i = 0; same && i < a->address_count; i++)
        same = a->addresses[i].id == b->addresses[i].id &&
               strcmp(a->addresses[i].text, b->addresses[i].text) == 0;
    return same;
}

static void random_identities(struct random *r, struct wire_identities *w)
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

static bool same_identities(const struct wire_identities *a, const struct wire_identities *b)
{
    bool same = a->index == b->index && a->identity_count == b->identity_count;
    for (uint32_t i = 0; same && i < a->identity_count; i++)
        same = a->identities[i].rights == b->identities[i].rights &&
               a->identities[i].revoked_ms == b->identities[i].revoked_ms &&
               strcmp(a->identities[i].identity, b->identities[i].identity) == 0;
    return same;
}

static void random_join(struct random *r, struct wire_join *j)
{
    memset(j, 0, sizeof *j);
    j->id = random_number(r);
    random_text(r, j->raft, sizeof j->raft);
    j->is_new = random_below(r, 2);
    j->last_index = random_number(r);
    j->open_ms = random_number(r);
}

static void random_wire_reports(struct random *r, struct wire_reports *w)
{
    memset(w, 0, sizeof *w);
    w->report_count = random_below(r, 12);
    w->reports = random_reports(r, w->report_count);
}

static bool same_reports(const struct wire_reports *a, const struct wire_reports *b)
{
    return SAME_LISTS(a->reports, a->report_count, b->reports, b->report_count);
}

static void random_wire_usages(struct random *r, struct wire_usages *w)
{
    memset(w, 0, sizeof *w);
    w->task_count = random_below(r, 12);
    w->tasks = random_usages(r, w->task_count);
}

static bool same_usages(const struct wire_usages *a, const struct wire_usages *b)
{
    return SAME_LISTS(a->tasks, a->task_count, b->tasks, b->task_count);
}

static void random_intents(struct random *r, struct wire_intents *w)
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
        if (i->action == INTENT_RUN)
            random_spec(r, &i->spec);
    }
}

static bool same_intents(const struct wire_intents *a, const struct wire_intents *b)
{
    if (a->index != b->index || a->full != b->full || a->intent_count != b->intent_count)
        return false;
    for (uint32_t n = 0; n < a->intent_count; n++) {
        const struct intent *i = &a->intents[n], *j = &b->intents[n];
        if (i->task.task.v != j->task.task.v || i->task.attempt != j->task.attempt ||
            i->action != j->action || i->cause != j->cause || i->grace_ms != j->grace_ms ||
            i->assigned_seq != j->assigned_seq || !same_specs(&i->spec, &j->spec))
            return false;
    }
    return true;
}

static void random_logs(struct random *r, struct wire_logs *l)
{
    memset(l, 0, sizeof *l);
    random_text(r, l->job, sizeof l->job);
    l->task = random_number(r);
    l->attempt = (uint32_t)random_number(r);
    l->err = random_below(r, 2) == 1;
    l->follow = random_below(r, 2) == 1;
    l->tail_bytes = random_below(r, 4) == 0 ? UINT64_MAX : random_number(r);
}

static void random_log_chunk(struct random *r, struct wire_log_chunk *c)
{
    static const char log[] = "a line\nand \0 another \xff\n";
    memset(c, 0, sizeof *c);
    c->bytes = log;
    c->size = random_below(r, sizeof log);
    c->offset = random_number(r);
}

static bool same_log_chunk(const struct wire_log_chunk *a, const struct wire_log_chunk *b)
{
    return same_bytes(a->bytes, a->size, b->bytes, b->size) && a->offset == b->offset;
}

static void random_checkpoint(struct random *r, struct wire_checkpoint *c)
{
    memset(c, 0, sizeof *c);
    c->offset = random_number(r);
}

static void random_transfer(struct random *r, struct wire_transfer *t)
{
    memset(t, 0, sizeof *t);
    t->replica = random_number(r);
}

static void random_piece(struct random *r, struct wire_piece *p)
{
    static const char page[] = "SQLite format 3\0 and \xff";
    memset(p, 0, sizeof *p);
    p->bytes = page;
    p->size = random_below(r, sizeof page);
    p->total = random_number(r);
}

static bool same_piece(const struct wire_piece *a, const struct wire_piece *b)
{
    return same_bytes(a->bytes, a->size, b->bytes, b->size) && a->total == b->total;
}

/* Of messages that own nothing. */
static void nothing_to_release(void *body)
{
    (void)body;
}

typedef void (*random_fn)(struct random *r, void *body);
typedef bool (*same_fn)(const void *a, const void *b);
typedef void (*pack_fn)(struct buf *to, const void *body);
typedef int (*unpack_fn)(const void *bytes, size_t size, void *ret, struct err *err);
typedef void (*release_fn)(void *body);

/* Each message with what one can do to it; `same` NULL: it has no pointers, compare its bytes. */
#define MESSAGE(name, random, same, release) \
    { \
#name, sizeof(struct wire_##name), (random_fn)(void *)(random), (same_fn)(void *)(same), \
            (pack_fn)(void *)wire_pack_##name, (unpack_fn)(void *)wire_unpack_##name, \
            (release_fn)(void *)(release) \
    }
static const struct message {
    const char *name;
    size_t size;
    random_fn random;
    same_fn same;
    pack_fn pack;
    unpack_fn unpack;
    release_fn release;
} messages[] = {
    MESSAGE(answer, random_answer, NULL, nothing_to_release),
    MESSAGE(query, random_query, same_query, wire_query_release),
    MESSAGE(why, random_why, NULL, nothing_to_release),
    MESSAGE(rows, random_rows, same_rows, wire_rows_release),
    MESSAGE(status, random_status, NULL, nothing_to_release),
    MESSAGE(alive, random_alive, same_alive, nothing_to_release),
    MESSAGE(shed, random_shed, NULL, nothing_to_release),
    MESSAGE(move, random_move, NULL, nothing_to_release),
    MESSAGE(hello, random_hello, same_hello, wire_hello_release),
    MESSAGE(welcome, random_welcome, NULL, nothing_to_release),
    MESSAGE(reports, random_wire_reports, same_reports, wire_reports_release),
    MESSAGE(usages, random_wire_usages, same_usages, wire_usages_release),
    MESSAGE(intents, random_intents, same_intents, wire_intents_release),
    MESSAGE(logs, random_logs, NULL, nothing_to_release),
    MESSAGE(log_chunk, random_log_chunk, same_log_chunk, nothing_to_release),
    MESSAGE(checkpoint, random_checkpoint, NULL, nothing_to_release),
    MESSAGE(replicas, random_replicas, same_replicas, wire_replicas_release),
    MESSAGE(identities, random_identities, same_identities, wire_identities_release),
    MESSAGE(join, random_join, NULL, nothing_to_release),
    MESSAGE(transfer, random_transfer, NULL, nothing_to_release),
    MESSAGE(piece, random_piece, same_piece, nothing_to_release),
};

union body {
    struct wire_answer answer;
    struct wire_query query;
    struct wire_why why;
    struct wire_rows rows;
    struct wire_status status;
    struct wire_alive alive;
    struct wire_shed shed;
    struct wire_move move;
    struct wire_hello hello;
    struct wire_welcome welcome;
    struct wire_reports reports;
    struct wire_usages usages;
    struct wire_intents intents;
    struct wire_logs logs;
    struct wire_log_chunk log_chunk;
    struct wire_checkpoint checkpoint;
    struct wire_replicas replicas;
    struct wire_identities identities;
    struct wire_join join;
    struct wire_transfer transfer;
    struct wire_piece piece;
};

static bool same(const struct message *m, const union body *a, const union body *b)
{
    return m->same != NULL ? m->same(a, b) : same_bytes(a, m->size, b, m->size);
}

START_TEST(every_message_survives_the_way)
{
    const struct message *m = &messages[_i];
    struct random random = {(uint64_t)_i};
    for (int round = 0; round < ROUNDS; round++) {
        union body body, back;
        struct buf bytes = {0}, again = {0};
        struct err err = {0};
        m->random(&random, &body);
        m->pack(&bytes, &body);
        ck_assert_msg(m->unpack(bytes.bytes, bytes.size, &back, &err) == 0, "%s: %s", m->name,
                      err.msg);
        ck_assert_msg(same(m, &body, &back), "%s", m->name);
        m->pack(&again, &back);
        ck_assert(same_bytes(bytes.bytes, bytes.size, again.bytes, again.size));
        m->release(&body), m->release(&back);
        buf_release(&bytes), buf_release(&again);
    }
}
END_TEST

START_TEST(a_list_longer_than_a_borglet_may_send_is_refused_before_it_is_read)
{
    union body body;
    struct err err;
    static const struct {
        const char *name;
        uint32_t max;
    } lists[] = {{"reports", CMD_REPORTS_MAX}, {"usages", CMD_USAGES_MAX}};
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        struct buf bytes = {0};
        buf_append(&bytes, "\x91\xdd", 2);
        for (int shift = 24; shift >= 0; shift -= 8)
            buf_append(&bytes, &(char){(char)((lists[i].max + 1) >> shift)}, 1);
        for (uint32_t at = 0; at <= lists[i].max; at++)
            buf_append(&bytes, "\xc0", 1);
        int rv = i == 0 ? wire_unpack_reports(bytes.bytes, bytes.size, &body.reports, &err)
                        : wire_unpack_usages(bytes.bytes, bytes.size, &body.usages, &err);
        ck_assert_int_eq(rv, -ERR_CORRUPT);
        ck_assert_msg(strstr(err.msg, "list too long") != NULL, "%s", err.msg);
        buf_release(&bytes);
    }
}
END_TEST

START_TEST(every_truncation_of_a_message_is_refused)
{
    const struct message *m = &messages[_i];
    struct random random = {(uint64_t)_i};
    for (int round = 0; round < 10; round++) {
        union body body, back;
        struct buf bytes = {0};
        m->random(&random, &body);
        m->pack(&bytes, &body);
        for (size_t size = 0; size < bytes.size; size++) {
            struct err err = {0};
            uint8_t *cut = xcalloc(size + (size == 0), 1);
            memcpy(cut, bytes.bytes, size);
            ck_assert_int_eq(m->unpack(cut, size, &back, &err), -ERR_CORRUPT);
            ck_assert_str_ne(err.msg, "");
            free(cut);
        }
        buf_append(&bytes, "", 1);
        ck_assert_int_eq(m->unpack(bytes.bytes, bytes.size, &back, NULL), -ERR_CORRUPT);
        m->release(&body);
        buf_release(&bytes);
    }
}
END_TEST

/* One damaged copy: refused, or a message that survives the way from now on. */
static bool refuses_damage(const struct message *m, struct random *random, const struct buf *bytes)
{
    size_t size;
    union body back, twice;
    struct buf again = {0};
    uint8_t *bad = hostile_copy(random, bytes, &size);
    bool refused = m->unpack(bad, size, &back, NULL) != 0;
    if (!refused) {
        m->pack(&again, &back);
        ck_assert_int_eq(m->unpack(again.bytes, again.size, &twice, NULL), 0);
        ck_assert(same(m, &back, &twice));
        m->release(&back), m->release(&twice);
    }
    buf_release(&again);
    free(bad);
    return refused;
}

START_TEST(damaged_messages_never_crash)
{
    const struct message *m = &messages[_i];
    struct random random = {(uint64_t)_i + 77};
    uint32_t refused = 0;
    hostile_limit_memory();
    for (int round = 0; round < HOSTILE_MESSAGES; round++) {
        union body body;
        struct buf bytes = {0};
        m->random(&random, &body);
        m->pack(&bytes, &body);
        for (int n = 0; n < HOSTILE_COPIES; n++)
            refused += refuses_damage(m, &random, &bytes);
        m->release(&body);
        buf_release(&bytes);
    }
    ck_assert_uint_gt(refused, 0);
}
END_TEST

/* One walk for each enumeration: all of its values, and the first that is none. */
#define EVERY_VALUE(name, count) \
    for (unsigned number = 0; number <= (unsigned)(count); number++) { \
        struct buf bytes = {0}; \
        struct pack p; \
        enum name value = (enum name)number, back = (enum name)0; \
        bool is_one = number < (unsigned)(count); \
        pack_to(&p, &bytes); \
        pack_enum_##name(&p, &value); \
        ck_assert_int_eq(pack_end(&p, #name, NULL), is_one ? 0 : -ERR_LIMIT); \
        pack_from(&p, bytes.bytes, bytes.size); \
        pack_enum_##name(&p, &back); \
        ck_assert_int_eq(pack_end(&p, #name, NULL), is_one ? 0 : -ERR_CORRUPT); \
        ck_assert_uint_eq((unsigned)back, is_one ? number : 0); \
        buf_release(&bytes); \
    }

START_TEST(every_value_of_every_enumeration_survives_the_way){PACK_ENUMS(EVERY_VALUE)} END_TEST

    /* Also those that only one end has: a code that was appended must be told. */
    START_TEST(every_error_code_is_answered){
#define X(name, number, text) \
    { \
        struct wire_answer answer = {.code = ERR_##name, .msg = text}, back; \
        struct buf bytes = {0}; \
        wire_pack_answer(&bytes, &answer); \
        ck_assert_int_eq(wire_unpack_answer(bytes.bytes, bytes.size, &back, NULL), 0); \
        ck_assert_int_eq(back.code, (number)); \
        ck_assert_str_eq(back.msg, err_code_text(back.code)); \
        buf_release(&bytes); \
    }
        ERR_CODES(X)
#undef X
    } END_TEST

    START_TEST(a_message_beyond_its_limits_is_refused_by_who_reads_it)
{
    struct wire_answer answer = {.code = (enum err_code)ERR_CODE_COUNT}, answered;
    struct wire_replicas replicas = {.address_count = MASTER_ROWS_MAX + 1}, told;
    struct wire_hello hello = {0}, said;
    struct buf bytes = {0};
    wire_pack_answer(&bytes, &answer);
    ck_assert_int_eq(wire_unpack_answer(bytes.bytes, bytes.size, &answered, NULL), -ERR_CORRUPT);
    buf_clear(&bytes);
    replicas.addresses = xcalloc(replicas.address_count, sizeof *replicas.addresses);
    wire_pack_replicas(&bytes, &replicas);
    ck_assert_int_eq(wire_unpack_replicas(bytes.bytes, bytes.size, &told, NULL), -ERR_CORRUPT);
    buf_clear(&bytes);
    for (int i = 0; i <= MACHINE_ATTRIBUTES_MAX; i++)
        words_add(&hello.attributes, "a=b");
    wire_pack_hello(&bytes, &hello);
    ck_assert_int_eq(wire_unpack_hello(bytes.bytes, bytes.size, &said, NULL), -ERR_CORRUPT);
    wire_replicas_release(&replicas);
    wire_hello_release(&hello);
    buf_release(&bytes);
}
END_TEST

START_TEST(a_query_longer_than_its_limit_is_refused)
{
    struct wire_query query = {.sql = xcalloc(QUERY_SQL_MAX + 2, 1)}, back;
    struct buf bytes = {0};
    memset(query.sql, 'x', QUERY_SQL_MAX + 1);
    wire_pack_query(&bytes, &query);
    ck_assert_int_eq(wire_unpack_query(bytes.bytes, bytes.size, &back, NULL), -ERR_CORRUPT);
    query.sql[QUERY_SQL_MAX] = '\0';
    buf_clear(&bytes);
    wire_pack_query(&bytes, &query);
    ck_assert_int_eq(wire_unpack_query(bytes.bytes, bytes.size, &back, NULL), 0);
    ck_assert_str_eq(back.sql, query.sql);
    wire_query_release(&back), wire_query_release(&query);
    buf_release(&bytes);
}
END_TEST

START_TEST(rows_that_are_not_there_are_refused)
{
    static const struct {
        const char *what;
        uint8_t bytes[16];
        size_t size;
    } cases[] = {
        {"2 rows of 1 column, 1 value", {0x94, 0, 0x91, 0xa0, 2, 0x91, 1}, 7},
        {"rows of no columns", {0x94, 0, 0x90, 9, 0x90}, 5},
        {"2^32 - 1 values", {0x94, 0, 0x91, 0xa0, 1, 0xdd, 0xff, 0xff, 0xff, 0xff, 1}, 11},
        {"2^16 columns", {0x94, 0, 0xdd, 0, 1, 0, 0, 0xa0}, 8},
        {"a value that is an array", {0x94, 0, 0x91, 0xa0, 1, 0x91, 0x90}, 7},
        {"an integer beyond SQLite's",
         {0x94, 0, 0x91, 0xa0, 1, 0x91, 0xcf, 0xff, 0, 0, 0, 0, 0, 0, 0},
         15},
    };
    hostile_limit_memory();
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct wire_rows rows;
        ck_assert_msg(wire_unpack_rows(cases[i].bytes, cases[i].size, &rows, NULL) == -ERR_CORRUPT,
                      "%s", cases[i].what);
    }
}
END_TEST

START_TEST(an_empty_body_is_no_message)
{
    union body back;
    ck_assert_int_eq(messages[_i].unpack(NULL, 0, &back, NULL), -ERR_CORRUPT);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("wire");
    TCase *way = tcase_create("way");
    tcase_add_test(way, every_value_of_every_enumeration_survives_the_way);
    tcase_add_test(way, every_error_code_is_answered);
    tcase_add_test(way, a_message_beyond_its_limits_is_refused_by_who_reads_it);
    tcase_add_loop_test(way, every_message_survives_the_way, 0, ARRAY_SIZE(messages));
    suite_add_tcase(suite, way);
    TCase *bad = tcase_create("bad");
    tcase_set_timeout(bad, 120);
    tcase_add_test(bad, a_list_longer_than_a_borglet_may_send_is_refused_before_it_is_read);
    tcase_add_loop_test(bad, every_truncation_of_a_message_is_refused, 0, ARRAY_SIZE(messages));
    tcase_add_loop_test(bad, damaged_messages_never_crash, 0, ARRAY_SIZE(messages));
    tcase_add_loop_test(bad, an_empty_body_is_no_message, 0, ARRAY_SIZE(messages));
    tcase_add_test(bad, a_query_longer_than_its_limit_is_refused);
    tcase_add_test(bad, rows_that_are_not_there_are_refused);
    suite_add_tcase(suite, bad);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
