/*
 * pattern.c - parser, compiler (Thompson's construction of an NFA) and simulator of expressions.
 *
 * The parse tree gives the number of states before any state is created. States are created from
 * the end of the expression to its start, so that the next state is always known.
 */
#include "pattern.h"

#include <stdlib.h>
#include <string.h>

enum {
    CODE_POINT_MAX = 0x10ffff,
    BYTE_ALONE = 0x110000, /* plus the byte: a byte that is not part of a UTF-8 character */
    TIMES_MAX = 32767,     /* in {m,n} */
    TIMES_ENDLESS = -1,
    CLASS_RANGES_MAX = 4,
    NODES_MAX = 3 * PATTERN_BYTES_MAX + 2, /* a leaf, its joining node, and those of | and () */
    STATE_NONE = 0xffff
};
static const uint64_t STATES_ENDLESS = UINT64_C(1) << 40; /* the count saturates here */

enum node_kind {
    NODE_EMPTY,
    NODE_CHAR,
    NODE_ANY,
    NODE_SET,
    NODE_BEGIN,
    NODE_END,
    NODE_THEN,  /* left, then right */
    NODE_OR,    /* left or right */
    NODE_TIMES, /* left, min to max times */
};

struct node {
    enum node_kind kind;
    uint32_t value; /* the code point or the index of the set */
    int min, max;
    uint16_t left, right;
    uint64_t states;
};

struct range {
    uint32_t first, last;
};
struct set {
    uint16_t first, count; /* of its ranges */
    bool negated;
};

enum state_kind {
    STATE_CHAR,
    STATE_ANY,
    STATE_SET,
    STATE_BEGIN,
    STATE_END,
    STATE_FORK,
    STATE_DONE
};

struct state {
    uint32_t kind : 8;
    uint32_t value : 24; /* the code point, the index of the set or, in a fork, the other state */
    uint16_t next;
};

struct pattern {
    uint32_t size; /* bytes of the whole allocation */
    uint16_t state_count, start;
    uint16_t set_count;
    const struct state *states;
    const struct range *ranges;
    const struct set *sets;
};

struct parser {
    const char *text, *at;
    struct err *err;
    int rv;
    uint32_t node_count, range_count, set_count;
    struct node nodes[NODES_MAX];
    struct range ranges[PATTERN_BYTES_MAX + CLASS_RANGES_MAX];
    struct set sets[PATTERN_BYTES_MAX];
};

/* Return the character at `*at` and advance `*at`. There must be one. */
static uint32_t character_next(const char **at)
{
    const uint8_t *b = (const uint8_t *)*at;
    uint32_t length = b[0] < 0x80   ? 1
                      : b[0] < 0xc2 ? 0
                      : b[0] < 0xe0 ? 2
                      : b[0] < 0xf0 ? 3
                      : b[0] < 0xf5 ? 4
                                    : 0;
    uint32_t c = length <= 1 ? b[0] : b[0] & (0xffU >> (length + 1));
    for (uint32_t i = 1; i < length; i++) {
        if ((b[i] & 0xc0) != 0x80) {
            length = 0; /* the NUL at the end of the text comes here too */
            break;
        }
        c = c << 6 | (b[i] & 0x3fU);
    }
    bool is_long = (length == 3 && c < 0x800) || (length == 4 && c < 0x10000);
    if (length == 0 || is_long || (c >= 0xd800 && c <= 0xdfff) || c > CODE_POINT_MAX) {
        *at += 1;
        return BYTE_ALONE + b[0];
    }
    *at += length;
    return c;
}

/* Report an error; only the first one is kept. */
static uint16_t wrong(struct parser *p, const char *why)
{
    if (p->rv == 0)
        p->rv = err_set(p->err, ERR_INVALID, "\"%s\" is not a regular expression: %s at byte %d",
                        p->text, why, (int)(p->at - p->text) + 1);
    return 0;
}

static uint64_t times_states(const struct node *node, uint64_t part)
{
    uint64_t copies = (uint64_t)(node->max == TIMES_ENDLESS ? MAX(node->min, 1) : node->max);
    uint64_t forks = node->max == TIMES_ENDLESS ? 1 : (uint64_t)(node->max - node->min);
    return copies * part + forks;
}

static uint16_t node_add(struct parser *p, struct node node)
{
    const struct node *left = &p->nodes[node.left], *right = &p->nodes[node.right];
    ASSERT(p->node_count < NODES_MAX);
    switch (node.kind) {
    case NODE_EMPTY:
        break;
    case NODE_THEN:
        node.states = left->states + right->states;
        break;
    case NODE_OR:
        node.states = left->states + right->states + 1;
        break;
    case NODE_TIMES:
        node.states = times_states(&node, left->states);
        break;
    case NODE_CHAR:
    case NODE_ANY:
    case NODE_SET:
    case NODE_BEGIN:
    case NODE_END:
        node.states = 1;
        break;
    }
    node.states = MIN(node.states, STATES_ENDLESS);
    p->nodes[p->node_count] = node;
    return (uint16_t)p->node_count++;
}

static uint16_t leaf_add(struct parser *p, enum node_kind kind, uint32_t value)
{
    return node_add(p, (struct node){.kind = kind, .value = value});
}

static bool is_empty(const struct parser *p, uint16_t node)
{
    return p->nodes[node].kind == NODE_EMPTY;
}

static void range_add(struct parser *p, uint32_t first, uint32_t last)
{
    ASSERT(p->range_count < ARRAY_SIZE(p->ranges));
    p->ranges[p->range_count++] = (struct range){first, last};
}

/* Parse a class after its "[:". Its name and ":]" have more bytes than the class has ranges. */
static void class_add(struct parser *p)
{
    static const struct {
        const char *name, *ranges; /* pairs: first and last */
    } classes[] = {
        {"alpha:]", "AZaz"},
        {"digit:]", "09"},
        {"alnum:]", "09AZaz"},
        {"upper:]", "AZ"},
        {"lower:]", "az"},
        {"space:]", "\t\r  "},
        {"blank:]", "\t\t  "},
        {"punct:]", "!/:@[`{~"},
        {"print:]", " ~"},
        {"graph:]", "!~"},
        {"cntrl:]", "\1\37\177\177"},
        {"xdigit:]", "09AFaf"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(classes); i++) {
        size_t length = strlen(classes[i].name);
        if (strncmp(p->at, classes[i].name, length) != 0)
            continue;
        for (const char *r = classes[i].ranges; *r != '\0'; r += 2)
            range_add(p, (uint8_t)r[0], (uint8_t)r[1]);
        p->at += length;
        return;
    }
    wrong(p, "[: begins no class of ASCII, like [:alpha:] or [:digit:],");
}

/* Parse one character, range or class of a bracket expression. */
static void bracket_item(struct parser *p)
{
    if (p->at[0] == '[' && p->at[1] == ':') {
        p->at += 2;
        class_add(p);
        if (p->rv == 0 && p->at[0] == '-' && p->at[1] != ']')
            wrong(p, "a range begins with a class");
        return;
    }
    if (p->at[0] == '[' && (p->at[1] == '=' || p->at[1] == '.')) {
        wrong(p, "[= and [. are not supported,");
        return;
    }
    uint32_t first = character_next(&p->at), last = first;
    if (p->at[0] == '-' && p->at[1] != ']' && p->at[1] != '\0') {
        p->at++;
        if (p->at[0] == '[' && strchr(":=.", p->at[1]) != NULL && p->at[1] != '\0') {
            wrong(p, "a range ends with a class");
            return;
        }
        last = character_next(&p->at);
        if (last < first)
            wrong(p, "a range ends before it begins");
        else if (p->at[0] == '-' && p->at[1] != ']')
            wrong(p, "a range begins with the end of another");
    }
    range_add(p, first, last);
}

/* Parse a bracket expression after its "[". */
static uint16_t bracket(struct parser *p)
{
    struct set set = {.first = (uint16_t)p->range_count};
    set.negated = *p->at == '^';
    p->at += set.negated;
    do {
        if (*p->at == '\0')
            return wrong(p, "[ without ]");
        bracket_item(p);
    } while (p->rv == 0 && *p->at != ']');
    if (p->rv != 0)
        return 0;
    p->at++;
    set.count = (uint16_t)(p->range_count - set.first);
    p->sets[p->set_count] = set;
    return leaf_add(p, NODE_SET, p->set_count++);
}

static uint16_t alternatives(struct parser *p);

/* Parse an anchor, or an expression that a quantifier may follow. */
static uint16_t atom(struct parser *p)
{
    static const char special[] = "^.[]$()|*+?{}\\-";
    switch (*p->at) {
    case '(':
        p->at++;
        uint16_t group = alternatives(p);
        if (p->rv == 0 && *p->at != ')')
            return wrong(p, "( without )");
        p->at++;
        return group;
    case '[':
        p->at++;
        return bracket(p);
    case '.':
        p->at++;
        return leaf_add(p, NODE_ANY, 0);
    case '^':
    case '$':
        return leaf_add(p, *p->at++ == '^' ? NODE_BEGIN : NODE_END, 0);
    case '*':
    case '+':
    case '?':
    case '{':
        return wrong(p, "nothing to repeat");
    case '\\':
        if (p->at[1] == '\0' || strchr(special, p->at[1]) == NULL)
            return wrong(p, "\\ stands only before one of ^ . [ ] $ ( ) | * + ? { } \\ - and not");
        p->at++;
        break;
    default:
        break;
    }
    uint32_t c = character_next(&p->at);
    return leaf_add(p, NODE_CHAR, c);
}

/* Parse a number; return `otherwise` if there are no digits. */
static int number(struct parser *p, int otherwise)
{
    int n = 0;
    if (*p->at < '0' || *p->at > '9')
        return otherwise;
    for (; *p->at >= '0' && *p->at <= '9'; p->at++)
        n = MIN(n * 10 + (*p->at - '0'), TIMES_MAX + 1);
    return n;
}

/* Parse {m} {m,} {m,n} {,n} after the "{". */
static void times(struct parser *p, struct node *node)
{
    node->min = number(p, TIMES_ENDLESS);
    node->max = node->min;
    if (*p->at == ',') {
        p->at++;
        node->max = number(p, TIMES_ENDLESS);
        if (node->min == TIMES_ENDLESS && node->max != TIMES_ENDLESS)
            node->min = 0;
    }
    if (node->min == TIMES_ENDLESS || *p->at != '}')
        wrong(p, "{ begins none of {2} {2,} {2,5}");
    else if (node->max != TIMES_ENDLESS && node->max < node->min)
        wrong(p, "{m,n} with n below m");
    else if (MAX(node->min, node->max) > TIMES_MAX)
        wrong(p, "{m,n} beyond 32767");
    else
        p->at++;
}

static uint16_t repeated(struct parser *p)
{
    bool is_anchor = *p->at == '^' || *p->at == '$';
    uint16_t at = atom(p);
    while (p->rv == 0 && *p->at != '\0' && strchr("*+?{", *p->at) != NULL) {
        if (is_anchor)
            return wrong(p, "^ and $ cannot be repeated:");
        struct node node = {.kind = NODE_TIMES, .left = at, .max = TIMES_ENDLESS};
        char c = *p->at++;
        if (c == '+')
            node.min = 1;
        else if (c == '?')
            node.max = 1;
        else if (c == '{')
            times(p, &node);
        if (p->rv != 0)
            return 0;
        at = is_empty(p, at) || node.max == 0 ? leaf_add(p, NODE_EMPTY, 0) : node_add(p, node);
    }
    return at;
}

static uint16_t sequence(struct parser *p)
{
    uint16_t all = leaf_add(p, NODE_EMPTY, 0);
    while (p->rv == 0 && *p->at != '\0' && *p->at != '|' && *p->at != ')') {
        uint16_t one = repeated(p);
        if (p->rv != 0)
            return 0;
        if (is_empty(p, all))
            all = one;
        else if (!is_empty(p, one))
            all = node_add(p, (struct node){.kind = NODE_THEN, .left = all, .right = one});
    }
    return all;
}

static uint16_t alternatives(struct parser *p)
{
    uint16_t all = sequence(p);
    while (p->rv == 0 && *p->at == '|') {
        p->at++;
        uint16_t one = sequence(p);
        all = node_add(p, (struct node){.kind = NODE_OR, .left = all, .right = one});
    }
    return all;
}

/* The states under construction. */
struct maker {
    const struct node *nodes;
    struct state *states;
    uint16_t count;
};

static uint16_t state_add(struct maker *m, enum state_kind kind, uint32_t value, uint16_t next)
{
    m->states[m->count] = (struct state){.kind = kind, .value = value & 0xffffff, .next = next};
    return m->count++;
}

static uint16_t make(struct maker *m, uint16_t at, uint16_t next);

/* Expand x{2,4} to xx(x(x)?)? and x{2,} to xx+. */
static uint16_t make_times(struct maker *m, const struct node *node, uint16_t next)
{
    int copies = node->min;
    uint16_t first = next;
    if (node->max == TIMES_ENDLESS) {
        uint16_t fork = state_add(m, STATE_FORK, next, STATE_NONE);
        uint16_t part = make(m, node->left, fork);
        m->states[fork].next = part;
        first = node->min == 0 ? fork : part;
        copies = MAX(copies - 1, 0);
    }
    for (int i = node->min; i < node->max; i++)
        first = state_add(m, STATE_FORK, next, make(m, node->left, first));
    for (int i = 0; i < copies; i++)
        first = make(m, node->left, first);
    return first;
}

/* Create the states of a node, followed by `next`; return the first of them. */
static uint16_t make(struct maker *m, uint16_t at, uint16_t next)
{
    const struct node *node = &m->nodes[at];
    switch (node->kind) {
    case NODE_EMPTY:
        return next;
    case NODE_CHAR:
        return state_add(m, STATE_CHAR, node->value, next);
    case NODE_ANY:
        return state_add(m, STATE_ANY, 0, next);
    case NODE_SET:
        return state_add(m, STATE_SET, node->value, next);
    case NODE_BEGIN:
        return state_add(m, STATE_BEGIN, 0, next);
    case NODE_END:
        return state_add(m, STATE_END, 0, next);
    case NODE_THEN:
        return make(m, node->left, make(m, node->right, next));
    case NODE_OR: {
        uint16_t left = make(m, node->left, next);
        uint16_t right = make(m, node->right, next);
        return state_add(m, STATE_FORK, right, left);
    }
    case NODE_TIMES:
        return make_times(m, node, next);
    }
    UNREACHABLE("kind of a node");
}

static struct pattern *pattern_make(const struct parser *p, uint16_t root)
{
    uint32_t states = (uint32_t)p->nodes[root].states + 1;
    size_t states_at = sizeof(struct pattern);
    size_t ranges_at = states_at + states * sizeof(struct state);
    size_t sets_at = ranges_at + p->range_count * sizeof(struct range);
    size_t size = sets_at + p->set_count * sizeof(struct set);
    char *block = xcalloc(1, size);
    struct pattern *pattern = (struct pattern *)(void *)block;
    struct maker m = {.nodes = p->nodes, .states = (struct state *)(void *)(block + states_at)};
    pattern->start = make(&m, root, state_add(&m, STATE_DONE, 0, STATE_NONE));
    ASSERT(m.count == states);
    memcpy(block + ranges_at, p->ranges, p->range_count * sizeof(struct range));
    memcpy(block + sets_at, p->sets, p->set_count * sizeof(struct set));
    pattern->size = (uint32_t)size;
    pattern->state_count = m.count;
    pattern->set_count = (uint16_t)p->set_count;
    pattern->states = m.states;
    pattern->ranges = (const struct range *)(const void *)(block + ranges_at);
    pattern->sets = (const struct set *)(const void *)(block + sets_at);
    return pattern;
}

static int too_large(const char *text, uint64_t states, struct err *err)
{
    if (states == STATES_ENDLESS)
        return err_set(err, ERR_INVALID,
                       "\"%s\" has more states than can be counted, at most %d are allowed: repeat "
                       "less in its {m,n}",
                       text, PATTERN_STATES_MAX);
    return err_set(err, ERR_INVALID,
                   "\"%s\" has %" PRIu64 " states, %" PRIu64 " more than the %d that are allowed: "
                   "repeat less in its {m,n}, or use * or +",
                   text, states, states - PATTERN_STATES_MAX, PATTERN_STATES_MAX);
}

struct pattern *pattern_new(const char *text, struct err *err)
{
    size_t length = strnlen(text, PATTERN_BYTES_MAX + 1);
    if (length == 0 || length > PATTERN_BYTES_MAX) {
        err_set(err, ERR_INVALID, "a regular expression has 1 to %d bytes", PATTERN_BYTES_MAX);
        return NULL;
    }
    struct parser p;
    p.text = p.at = text;
    p.err = err;
    p.rv = 0;
    p.node_count = p.range_count = p.set_count = 0;
    for (const char *at = text; *at != '\0';) {
        p.at = at;
        if (character_next(&at) >= BYTE_ALONE)
            wrong(&p, "bytes that are not UTF-8");
    }
    p.at = text;
    uint16_t root = p.rv == 0 ? alternatives(&p) : 0;
    if (p.rv == 0 && *p.at == ')')
        wrong(&p, ") without (");
    if (p.rv != 0)
        return NULL;
    ASSERT(*p.at == '\0');
    uint64_t states = p.nodes[root].states + 1; /* including the final state */
    if (states > PATTERN_STATES_MAX) {
        too_large(text, MIN(states, STATES_ENDLESS), err);
        return NULL;
    }
    return pattern_make(&p, root);
}

void pattern_free(struct pattern *pattern)
{
    free(pattern);
}

uint32_t pattern_states(const struct pattern *pattern)
{
    return pattern->state_count;
}

size_t pattern_bytes(const struct pattern *pattern)
{
    return pattern->size;
}

enum { WORD_BITS = 64 };

/* A set of states without duplicates. */
struct states {
    uint32_t count;
    uint16_t items[PATTERN_STATES_MAX];
    uint64_t has[(PATTERN_STATES_MAX + WORD_BITS - 1) / WORD_BITS];
};

static void states_clear(struct states *s, uint32_t states)
{
    s->count = 0;
    memset(s->has, 0, (states + WORD_BITS - 1) / WORD_BITS * sizeof s->has[0]);
}

static void states_put(struct states *s, uint16_t state)
{
    uint64_t bit = UINT64_C(1) << (state % WORD_BITS);
    if ((s->has[state / WORD_BITS] & bit) != 0)
        return;
    s->has[state / WORD_BITS] |= bit;
    s->items[s->count++] = state;
}

/* Add the states that are reached without input; the list grows during the iteration. */
static void states_close(const struct pattern *pattern, struct states *s, bool at_begin,
                         bool at_end)
{
    for (uint32_t i = 0; i < s->count; i++) {
        const struct state *state = &pattern->states[s->items[i]];
        if (state->kind == STATE_FORK) {
            states_put(s, state->next);
            states_put(s, (uint16_t)state->value);
        } else if ((state->kind == STATE_BEGIN && at_begin) ||
                   (state->kind == STATE_END && at_end)) {
            states_put(s, state->next);
        }
    }
}

static bool set_holds(const struct pattern *pattern, const struct set *set, uint32_t c)
{
    const struct range *ranges = pattern->ranges + set->first;
    for (uint32_t i = 0; i < set->count; i++)
        if (c >= ranges[i].first && c <= ranges[i].last)
            return !set->negated;
    return set->negated;
}

/* Compute the states that follow those of `from` on input `c`. */
static void states_step(const struct pattern *pattern, const struct states *from, uint32_t c,
                        struct states *to)
{
    bool holds[PATTERN_BYTES_MAX];
    for (uint32_t i = 0; i < pattern->set_count; i++)
        holds[i] = set_holds(pattern, &pattern->sets[i], c);
    states_clear(to, pattern->state_count);
    for (uint32_t i = 0; i < from->count; i++) {
        const struct state *state = &pattern->states[from->items[i]];
        if (state->kind == STATE_ANY || (state->kind == STATE_CHAR && state->value == c) ||
            (state->kind == STATE_SET && holds[state->value]))
            states_put(to, state->next);
    }
}

bool pattern_matches(const struct pattern *pattern, const char *text)
{
    enum { DONE = 0 }; /* the final state is created first */
    struct states sets[2];
    struct states *now = &sets[0], *then = &sets[1];
    const char *at = text;
    states_clear(now, pattern->state_count);
    states_put(now, pattern->start);
    states_close(pattern, now, true, *at == '\0');
    while (*at != '\0' && now->count > 0) {
        uint32_t c = character_next(&at);
        states_step(pattern, now, c, then);
        states_close(pattern, then, false, *at == '\0');
        struct states *swap = now;
        now = then;
        then = swap;
    }
    return *at == '\0' && (now->has[DONE / WORD_BITS] & 1) != 0;
}
