/*
 * spec_fields.c - the fields of structs that both commands and messages carry.
 *
 * The order of the fields is the format: only append, and count the head up.
 */
#include "spec_fields.h"

#include "pack_enum.h"

#include <string.h>

/* Those everybody knows, then the slots in use, each with its name; read ones are in the first
 * slots. */
void resources_fields(struct pack *p, struct resources *r, struct resource_names *names)
{
    uint32_t count = 0;
    _Static_assert(RES_NAMED == 5, "a new resource is appended to the packed ones");
    pack_fields(p, RES_NAMED + 1);
    for (int i = 0; i < RES_NAMED; i++)
        pack_i64(p, &r->v[i]);
    for (int i = 0; i < RESOURCES_NAMED_MAX && !p->reading; i++)
        count += names->text[i][0] != '\0';
    pack_count(p, &count, RESOURCES_NAMED_MAX);
    for (uint32_t i = 0; count > 0 && pack_ok(p); i++) {
        if (!p->reading && names->text[i][0] == '\0')
            continue;
        pack_fields(p, 2);
        pack_text(p, names->text[i], sizeof names->text[i]);
        pack_i64(p, &r->v[RES_NAMED + i]);
        count--;
    }
}

void attempt_ref_fields(struct pack *p, void *attempt_ref)
{
    struct attempt_ref *ref = attempt_ref;
    pack_fields(p, 2);
    pack_u64(p, &ref->task.v);
    pack_u32(p, &ref->attempt);
}

/* Ports up to the last that is not 0: most tasks have none. */
static void ports_fields(struct pack *p, uint16_t *ports)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < SPEC_PORTS_MAX && !p->reading; i++)
        count = ports[i] != 0 ? i + 1 : count;
    pack_count(p, &count, SPEC_PORTS_MAX);
    for (uint32_t i = 0; i < count; i++)
        pack_u16(p, &ports[i]);
}

void report_fields(struct pack *p, void *report)
{
    struct report *r = report;
    pack_fields(p, 9);
    attempt_ref_fields(p, &r->task);
    pack_enum(p, &r->kind);
    pack_i32(p, &r->pid);
    pack_i32(p, &r->exit_code);
    ports_fields(p, r->ports);
    pack_text(p, r->detail, sizeof r->detail);
    pack_u32(p, &r->machine.v);
    pack_enum(p, &r->fault);
    pack_bool(p, &r->told_to_stop);
}

void task_usage_fields(struct pack *p, void *task_usage)
{
    struct task_usage *u = task_usage;
    _Static_assert(RECLAIM_COUNT == 2, "a new resource is appended to the packed ones");
    pack_fields(p, 2 + RECLAIM_COUNT);
    attempt_ref_fields(p, &u->task);
    for (int r = 0; r < RECLAIM_COUNT; r++)
        pack_i64(p, &u->used[r]);
    pack_u32(p, &u->machine.v);
}

static void words_write(struct pack *p, const struct words *words)
{
    const char *word = words->bytes;
    for (uint32_t i = 0; i < words->count; i++) {
        size_t length = strlen(word);
        msgpack_pack_str_with_body(&p->packer, word, length);
        word += length + 1;
    }
}

static void words_read(struct pack *p, struct words *words, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        size_t length;
        const char *word = pack_text_view(p, &length, SPEC_BYTES_MAX);
        if (word == NULL)
            return;
        words->bytes = xrealloc(words->bytes, words->size + length + 1, 1);
        memcpy(words->bytes + words->size, word, length);
        words->bytes[words->size + length] = '\0';
        words->size += (uint32_t)length + 1;
        words->count++;
    }
}

void words_fields(struct pack *p, struct words *words, uint32_t max)
{
    uint32_t count = words->count;
    pack_count(p, &count, max);
    if (p->reading)
        words_read(p, words, count);
    else
        words_write(p, words);
}

static void term_fields(struct pack *p, void *term)
{
    struct term *t = term;
    pack_fields(p, 3);
    pack_text(p, t->attribute, sizeof t->attribute);
    pack_enum(p, &t->op);
    words_fields(p, &t->values, SPEC_TERM_VALUES_MAX);
}

static void clause_fields(struct pack *p, void *clause)
{
    struct clause *c = clause;
    pack_fields(p, 2);
    pack_u32(p, &c->weight);
    pack_list(p, &c->terms, &c->term_count, SPEC_TERMS_MAX, sizeof *c->terms, term_fields);
}

static void spreads_fields(struct pack *p, struct job_spec *s)
{
    uint32_t count = s->spread_count;
    pack_count(p, &count, SPEC_SPREADS_MAX);
    for (uint32_t i = 0; i < count && pack_ok(p); i++) {
        pack_fields(p, 3);
        pack_text(p, s->spreads[i].by, sizeof s->spreads[i].by);
        pack_u32(p, &s->spreads[i].max);
        pack_u32(p, &s->spreads[i].weight);
    }
    if (p->reading && pack_ok(p))
        s->spread_count = count;
}

static void alternatives_fields(struct pack *p, struct job_spec *s)
{
    uint32_t count = s->alternative_count;
    pack_count(p, &count, SPEC_SHAPES_MAX - 1);
    for (uint32_t i = 0; i < count && pack_ok(p); i++)
        resources_fields(p, &s->alternatives[i], &s->resource_names);
    if (p->reading && pack_ok(p))
        s->alternative_count = count;
}

void spec_fields(struct pack *p, void *job_spec)
{
    struct job_spec *s = job_spec;
    size_t start = pack_position(p);
    pack_fields(p, 23);
    pack_text(p, s->name, sizeof s->name);
    pack_text(p, s->user, sizeof s->user);
    pack_u32(p, &s->priority);
    pack_enum(p, &s->appclass);
    pack_enum(p, &s->policy);
    pack_u32(p, &s->replicas);
    resources_fields(p, &s->limit, &s->resource_names);
    words_fields(p, &s->argv, SPEC_ARGS_MAX);
    words_fields(p, &s->env, SPEC_ENV_MAX);
    words_fields(p, &s->ports, SPEC_PORTS_MAX);
    pack_enum(p, &s->restart);
    pack_u32(p, &s->failures_max);
    pack_u32(p, &s->backoff_ms);
    pack_u32(p, &s->backoff_max_ms);
    pack_u32(p, &s->grace_ms);
    pack_u32(p, &s->disruptions_max);
    pack_list(p, &s->constraints.items, &s->constraints.count, SPEC_CLAUSES_MAX,
              sizeof *s->constraints.items, clause_fields);
    spreads_fields(p, s);
    pack_bool(p, &s->gang);
    pack_bool(p, &s->is_alloc_set);
    pack_text(p, s->alloc_set, sizeof s->alloc_set);
    pack_bool(p, &s->every_machine);
    alternatives_fields(p, s);
    /* Written ones are checked by cmd_pack(), which can refuse. */
    if (p->reading && pack_position(p) - start > SPEC_BYTES_MAX)
        pack_fail(p, "job spec too large");
}
