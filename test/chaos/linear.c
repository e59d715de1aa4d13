/*
 * linear.c - search for an order that explains all observations.
 */
#include "linear.h"

#include "hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NOBODY = UINT32_MAX };

const char *linear_kind_text(enum linear_kind kind)
{
    static const char *const texts[LINEAR_KIND_COUNT] = {"create", "update", "kill", "read"};
    ASSERT(kind < LINEAR_KIND_COUNT);
    return texts[kind];
}

const char *linear_outcome_text(enum linear_outcome outcome)
{
    static const char *const texts[LINEAR_OUTCOME_COUNT] = {"done", "refused", "unknown"};
    ASSERT(outcome < LINEAR_OUTCOME_COUNT);
    return texts[outcome];
}

/* Return whether `op` could have its answer in `state` (0: no such job), and the state after it. */
static bool op_step(const struct linear_op *op, uint64_t state, uint64_t *ret_state)
{
    bool is_there = state != 0;
    bool could = op->kind == LINEAR_CREATE ? !is_there : is_there;
    *ret_state = state;
    if (op->kind == LINEAR_READ)
        return op->value == state;
    if (op->outcome == LINEAR_REFUSED)
        return !could;
    if (could)
        *ret_state = op->kind == LINEAR_KILL ? 0 : op->value;
    return could; /* an unknown operation without effect now: the same as never */
}

/* A call or a return, in order of time; placed operations are removed from the list. */
struct moment {
    uint64_t time;
    uint32_t op;
    bool is_return;
    uint32_t prev, next; /* indexes in moments, NOBODY at the ends */
    uint32_t match;      /* for a call: its return, NOBODY if there is none */
};

/* Sets of operations that were tried, each with the resulting state. */
struct tried {
    uint64_t *keys; /* `words` each, then the state */
    size_t count, capacity;
    uint32_t *slots; /* 0: free, else 1 + number of the key */
    size_t slot_count;
};

struct search {
    const struct linear_op *ops;
    struct moment *moments;
    size_t moment_count;
    uint32_t first; /* first in the list */
    size_t words;   /* of a set */
    uint64_t *key;  /* the present key: the set, then the state */
    struct tried tried;
    struct {
        uint32_t call;
        uint64_t state; /* state before it */
    } * stack;
    size_t depth;
    size_t open; /* returns still in the list */
};

static int moment_compare(const void *a, const void *b)
{
    const struct moment *x = a, *y = b;
    if (x->time != y->time)
        return x->time < y->time ? -1 : 1;
    if (x->is_return != y->is_return)
        return x->is_return ? 1 : -1; /* at the same time: concurrent */
    return x->op < y->op ? -1 : x->op > y->op;
}

/* An update of unknown outcome whose value nobody has read cannot help to explain anything. */
static bool op_matters(const struct linear_op *ops, size_t count, const struct linear_op *op)
{
    if (op->outcome != LINEAR_UNKNOWN || op->kind != LINEAR_UPDATE)
        return true;
    for (size_t i = 0; i < count; i++)
        if (ops[i].kind == LINEAR_READ && ops[i].value == op->value)
            return true;
    return false;
}

static void moments_make(struct search *s, size_t count)
{
    uint32_t *calls = xcalloc(count, sizeof *calls);
    s->moments = xcalloc(2 * count, sizeof *s->moments);
    for (size_t i = 0; i < count; i++) {
        const struct linear_op *op = &s->ops[i];
        if (!op_matters(s->ops, count, op))
            continue;
        s->moments[s->moment_count++] = (struct moment){.time = op->start, .op = (uint32_t)i};
        if (op->outcome == LINEAR_UNKNOWN)
            continue;
        ASSERT(op->start <= op->end);
        s->moments[s->moment_count++] =
            (struct moment){.time = op->end, .op = (uint32_t)i, .is_return = true};
        s->open++;
    }
    qsort(s->moments, s->moment_count, sizeof *s->moments, moment_compare);
    for (size_t i = 0; i < s->moment_count; i++) {
        struct moment *m = &s->moments[i];
        m->prev = i == 0 ? NOBODY : (uint32_t)i - 1;
        m->next = i + 1 == s->moment_count ? NOBODY : (uint32_t)i + 1;
        m->match = NOBODY;
        if (m->is_return)
            s->moments[calls[m->op]].match = (uint32_t)i;
        else
            calls[m->op] = (uint32_t)i;
    }
    s->first = s->moment_count > 0 ? 0 : NOBODY;
    free(calls);
}

static void moment_take(struct search *s, uint32_t at)
{
    struct moment *m = &s->moments[at];
    if (m->prev != NOBODY)
        s->moments[m->prev].next = m->next;
    else
        s->first = m->next;
    if (m->next != NOBODY)
        s->moments[m->next].prev = m->prev;
}

static void moment_put_back(struct search *s, uint32_t at)
{
    struct moment *m = &s->moments[at];
    if (m->prev != NOBODY)
        s->moments[m->prev].next = at;
    else
        s->first = at;
    if (m->next != NOBODY)
        s->moments[m->next].prev = at;
}

static void tried_grow(struct tried *t, size_t key_words)
{
    if (t->count == t->capacity) {
        t->capacity = MAX((size_t)64, t->capacity * 2);
        t->keys = xrealloc(t->keys, t->capacity * key_words, sizeof *t->keys);
    }
    if (t->count * 2 < t->slot_count)
        return;
    free(t->slots);
    t->slot_count = MAX((size_t)256, t->slot_count * 4);
    t->slots = xcalloc(t->slot_count, sizeof *t->slots);
    for (size_t i = 0; i < t->count; i++) {
        size_t at = hash_bytes(0, &t->keys[i * key_words], key_words * sizeof *t->keys);
        while (t->slots[at & (t->slot_count - 1)] != 0)
            at++;
        t->slots[at & (t->slot_count - 1)] = (uint32_t)i + 1;
    }
}

/* Add the present key; return false if it existed. */
static bool tried_add(struct search *s)
{
    struct tried *t = &s->tried;
    size_t key_words = s->words + 1, bytes = key_words * sizeof *t->keys;
    tried_grow(t, key_words);
    size_t at = hash_bytes(0, s->key, bytes);
    for (; t->slots[at & (t->slot_count - 1)] != 0; at++) {
        uint32_t number = t->slots[at & (t->slot_count - 1)] - 1;
        if (memcmp(&t->keys[number * key_words], s->key, bytes) == 0)
            return false;
    }
    memcpy(&t->keys[t->count * key_words], s->key, bytes);
    t->slots[at & (t->slot_count - 1)] = (uint32_t)++t->count;
    return true;
}

static uint64_t *search_state(struct search *s)
{
    return &s->key[s->words];
}

static void search_flip(struct search *s, uint32_t op)
{
    s->key[op / 64] ^= UINT64_C(1) << op % 64;
}

/* Place the operation called at `at` next, if that explains its answer and is new. */
static bool search_place(struct search *s, uint32_t at)
{
    struct moment *m = &s->moments[at];
    uint64_t before = *search_state(s), after;
    if (!op_step(&s->ops[m->op], before, &after))
        return false;
    search_flip(s, m->op);
    *search_state(s) = after;
    if (!tried_add(s)) {
        search_flip(s, m->op);
        *search_state(s) = before;
        return false;
    }
    s->stack[s->depth].call = at;
    s->stack[s->depth++].state = before;
    moment_take(s, at);
    if (m->match != NOBODY) {
        moment_take(s, m->match);
        s->open--;
    }
    return true;
}

/* Remove the last placed operation; return the moment of its call. */
static uint32_t search_unplace(struct search *s)
{
    uint32_t at = s->stack[--s->depth].call;
    struct moment *m = &s->moments[at];
    if (m->match != NOBODY) {
        moment_put_back(s, m->match);
        s->open++;
    }
    moment_put_back(s, at);
    search_flip(s, m->op);
    *search_state(s) = s->stack[s->depth].state;
    return at;
}

static enum linear_verdict search_run(struct search *s, struct linear_result *result)
{
    uint32_t at = s->first;
    while (s->open > 0) {
        if (++result->steps > LINEAR_STEPS_MAX)
            return LINEAR_TOO_HARD;
        struct moment *m = &s->moments[at];
        if (!m->is_return) {
            at = search_place(s, at) ? s->first : m->next;
            ASSERT(at != NOBODY || s->open == 0);
            continue;
        }
        /* It has returned, so it should have been placed before. */
        if (s->depth >= result->placed) {
            result->placed = s->depth;
            result->stuck = m->op;
        }
        if (s->depth == 0)
            return LINEAR_NO;
        at = s->moments[search_unplace(s)].next;
    }
    result->placed = s->depth;
    return LINEAR_YES;
}

enum linear_verdict linear_check(const struct linear_op *ops, size_t count,
                                 struct linear_result *ret)
{
    struct linear_result result = {0};
    struct search s = {.ops = ops, .words = (count + 63) / 64};
    ASSERT(count < NOBODY / 2);
    moments_make(&s, count);
    s.key = xcalloc(s.words + 1, sizeof *s.key);
    s.stack = xcalloc(count + 1, sizeof *s.stack);
    result.verdict = search_run(&s, &result);
    free(s.moments);
    free(s.key);
    free(s.stack);
    free(s.tried.keys);
    free(s.tried.slots);
    if (ret != NULL)
        *ret = result;
    return result.verdict;
}

static int start_compare(const void *a, const void *b)
{
    const struct linear_op *x = *(const struct linear_op *const *)a;
    const struct linear_op *y = *(const struct linear_op *const *)b;
    if (x->start != y->start)
        return x->start < y->start ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

static void op_print(struct buf *to, const struct linear_op *op, bool is_stuck)
{
    char end[32] = "?";
    if (op->outcome != LINEAR_UNKNOWN)
        snprintf(end, sizeof end, "%" PRIu64, op->end);
    buf_printf(to, "%s client %-3" PRIu32 " %8" PRIu64 " to %8s  %-6s %-10" PRIu64 " %s\n",
               is_stuck ? ">" : " ", op->client, op->start, end, linear_kind_text(op->kind),
               op->value, linear_outcome_text(op->outcome));
}

void linear_print(struct buf *to, const struct linear_op *ops, size_t count,
                  const struct linear_result *result)
{
    enum { BEFORE = 30, AFTER = 5 };
    const struct linear_op **sorted = xcalloc(count + 1, sizeof(const struct linear_op *));
    size_t stuck = 0;
    for (size_t i = 0; i < count; i++)
        sorted[i] = &ops[i];
    qsort(sorted, count, sizeof(const struct linear_op *), start_compare);
    while (stuck < count && sorted[stuck] != &ops[result->stuck])
        stuck++;
    /* Distant operations count if they may still take effect or involve the value. */
    for (size_t i = 0; i < count; i++) {
        bool is_near = i + BEFORE > stuck && i < stuck + AFTER;
        bool is_related = sorted[i]->outcome == LINEAR_UNKNOWN ||
                          (sorted[i]->value != 0 && sorted[i]->value == ops[result->stuck].value);
        if (is_near || is_related)
            op_print(to, sorted[i], i == stuck);
    }
    free(sorted);
}
