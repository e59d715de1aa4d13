/*
 * constraint.c - clauses about attributes: their shape, whether they may be, whether they hold.
 *
 * Regular expressions come from users and are compiled and matched on every replica: pattern.h
 * bounds what that costs.
 */
#include "constraint.h"

#include "attributes.h"
#include "fields.h"
#include "pattern.h"
#include "spec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void clauses_release(struct clauses *clauses)
{
    for (uint32_t i = 0; i < clauses->count; i++) {
        for (uint32_t j = 0; j < clauses->items[i].term_count; j++)
            words_release(&clauses->items[i].terms[j].values);
        free(clauses->items[i].terms);
    }
    free(clauses->items);
    *clauses = (struct clauses){0};
}

struct clauses clauses_copy(const struct clauses *clauses)
{
    struct clauses copy = {0};
    for (uint32_t i = 0; i < clauses->count; i++) {
        const struct clause *from = &clauses->items[i];
        struct clause *to = clauses_add(&copy, from->weight);
        for (uint32_t j = 0; j < from->term_count; j++) {
            struct term term = from->terms[j];
            term.values = words_copy(&term.values);
            clause_add(to, term);
        }
    }
    return copy;
}

struct clause *clauses_add(struct clauses *clauses, uint32_t weight)
{
    clauses->items = xrealloc(clauses->items, clauses->count + 1, sizeof *clauses->items);
    struct clause *clause = &clauses->items[clauses->count++];
    *clause = (struct clause){.weight = weight};
    return clause;
}

void clause_add(struct clause *clause, struct term term)
{
    clause->terms = xrealloc(clause->terms, clause->term_count + 1, sizeof *clause->terms);
    clause->terms[clause->term_count++] = term;
}

uint64_t clauses_size(const struct clauses *clauses)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < clauses->count; i++) {
        bytes += 16;
        for (uint32_t j = 0; j < clauses->items[i].term_count; j++) {
            const struct term *term = &clauses->items[i].terms[j];
            bytes += 16 + CELL_NAME_MAX + term->values.size + 5 * (uint64_t)term->values.count;
        }
    }
    return bytes;
}

void clauses_key(const struct clauses *clauses, struct buf *to)
{
    for (uint32_t i = 0; i < clauses->count; i++) {
        const struct clause *clause = &clauses->items[i];
        buf_printf(to, "%u:%u;", clause->weight, clause->term_count);
        for (uint32_t j = 0; j < clause->term_count; j++) {
            const struct term *term = &clause->terms[j];
            buf_printf(to, "%s %d %u", term->attribute, (int)term->op, term->values.count);
            for (const char *w = words_first(&term->values); w != NULL;
                 w = words_next(&term->values, w))
                buf_printf(to, " %zu:%s", strlen(w), w);
            buf_printf(to, ";");
        }
    }
}

void term_print(struct buf *to, const struct term *term)
{
    buf_printf(to, "%s %s", term->attribute, enumeration_text(&term_ops, term->op));
    const char *before = " ";
    for (const char *w = words_first(&term->values); w != NULL; w = words_next(&term->values, w)) {
        buf_printf(to, "%s%s", before, w);
        before = ",";
    }
}

void clause_print(struct buf *to, const struct clause *clause)
{
    for (uint32_t i = 0; i < clause->term_count; i++) {
        buf_printf(to, "%s", i == 0 ? "" : " or ");
        term_print(to, &clause->terms[i]);
    }
}

bool term_is_company(const struct term *term)
{
    return term->op == OP_NEAR || term->op == OP_APART;
}

bool clause_has_company(const struct clause *clause)
{
    for (uint32_t i = 0; i < clause->term_count; i++)
        if (term_is_company(&clause->terms[i]))
            return true;
    return false;
}

const char *clause_keeps_away(const struct clause *clause)
{
    bool is_plain = clause->weight == 0 && clause->term_count == 1;
    return is_plain && clause->terms[0].op == OP_APART ? words_first(&clause->terms[0].values)
                                                       : NULL;
}

/* A whole number and nothing else: digits, perhaps with a sign before them. */
static bool integer_parse(const char *text, int64_t *ret)
{
    const char *digits = text + (text[0] == '-');
    size_t count = strspn(digits, "0123456789");
    if (count == 0 || count > 18 || digits[count] != '\0')
        return false;
    *ret = strtoll(text, NULL, 10);
    return true;
}

static bool takes_integer(enum term_op op)
{
    return op >= OP_LESS && op <= OP_AT_LEAST;
}

/* Values are of ASCII, so an expression of something else could only be a mistake. */
static int regex_check(const char *regex, uint32_t *ret_states, struct err *err)
{
    for (const char *at = regex; *at != '\0'; at++)
        if (*at < ' ' || *at > '~')
            return err_set(err, ERR_INVALID, "a regular expression is of printable ASCII");
    struct pattern *pattern = pattern_new(regex, err);
    if (pattern == NULL)
        return -ERR_INVALID;
    *ret_states += pattern_states(pattern);
    pattern_free(pattern);
    return 0;
}

static int value_check(enum term_op op, const char *value, uint32_t *ret_states, struct err *err)
{
    int64_t ignored;
    if (op == OP_REGEX)
        return regex_check(value, ret_states, err);
    if ((op == OP_NEAR || op == OP_APART) && !name_valid(value))
        return err_set(err, ERR_INVALID, "%s is of a job, \"%.80s\" is no name of one",
                       term_ops.texts[op], value);
    if (takes_integer(op) && !integer_parse(value, &ignored))
        return err_set(err, ERR_INVALID, "%s compares whole numbers, \"%.80s\" is none",
                       term_ops.texts[op], value);
    if (!attribute_value_valid(value))
        return err_set(err, ERR_INVALID,
                       "\"%.80s\" can be no value: 1 to %d letters, digits and . _ - + : / @ ~",
                       value, ATTRIBUTE_VALUE_MAX);
    return 0;
}

/* Adds the states of its expression. */
static int term_check(const struct term *term, uint32_t *ret_states, struct err *err)
{
    if (!name_valid(term->attribute))
        return err_set(err, ERR_INVALID,
                       "\"%.80s\" is no attribute: 1 to %d of a-z 0-9 . _ - and starting with a "
                       "letter or a digit",
                       term->attribute, CELL_NAME_MAX);
    if (term->op >= OP_COUNT)
        return err_set(err, ERR_INVALID, "operator %d is none", (int)term->op);
    if (!words_whole(&term->values))
        return err_set(err, ERR_INVALID, "the values are damaged");
    uint32_t count = term->values.count;
    bool none = term->op == OP_EXISTS || term->op == OP_NOT_EXISTS;
    bool many = term->op == OP_IN || term->op == OP_NOT_IN;
    if (none && count > 0)
        return err_set(err, ERR_INVALID, "%s %s takes no value", term->attribute,
                       term_ops.texts[term->op]);
    if (!none && count == 0)
        return err_set(err, ERR_INVALID, "%s %s: its value is missing", term->attribute,
                       term_ops.texts[term->op]);
    if (count > (many ? SPEC_TERM_VALUES_MAX : 1))
        return err_set(err, ERR_INVALID, "%s %s: %u values are too many, at most %d",
                       term->attribute, term_ops.texts[term->op], count,
                       many ? SPEC_TERM_VALUES_MAX : 1);
    for (const char *w = words_first(&term->values); w != NULL; w = words_next(&term->values, w)) {
        int rc = value_check(term->op, w, ret_states, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static uint64_t term_units(const struct term *term, uint32_t states)
{
    return 8 + (uint64_t)term->values.count + 16 * (uint64_t)states;
}

uint64_t clauses_units(const struct clauses *clauses)
{
    uint64_t units = 0;
    for (uint32_t i = 0; i < clauses->count; i++) {
        for (uint32_t j = 0; j < clauses->items[i].term_count; j++) {
            const struct term *term = &clauses->items[i].terms[j];
            uint32_t states = 0;
            if (term->op == OP_REGEX)
                (void)regex_check(words_first(&term->values), &states, NULL);
            units += term_units(term, states);
        }
    }
    return units;
}

/* What costs time or memory is counted over all clauses. */
struct dear {
    uint32_t regexes;
    uint32_t companies;
    uint64_t units;
};

static int clause_check(const struct clause *clause, struct dear *dear, struct err *err)
{
    if (clause->weight > WEIGHT_MAX)
        return err_set(err, ERR_INVALID, "weight %u is not between 1 and %d", clause->weight,
                       WEIGHT_MAX);
    if (clause->term_count == 0 || clause->term_count > SPEC_TERMS_MAX)
        return err_set(err, ERR_INVALID, "%u alternatives are not between 1 and %d",
                       clause->term_count, SPEC_TERMS_MAX);
    for (uint32_t i = 0; i < clause->term_count; i++) {
        dear->regexes += clause->terms[i].op == OP_REGEX;
        dear->companies += term_is_company(&clause->terms[i]);
        if (dear->regexes > SPEC_REGEXES_MAX)
            return err_set(err, ERR_INVALID, "more than %d regular expressions in a job",
                           SPEC_REGEXES_MAX);
        if (dear->companies > SPEC_COMPANIES_MAX)
            return err_set(err, ERR_INVALID, "more than %d times near and apart in a job",
                           SPEC_COMPANIES_MAX);
        uint32_t states = 0;
        int rc = term_check(&clause->terms[i], &states, err);
        if (rc != 0)
            return rc;
        dear->units += term_units(&clause->terms[i], states);
        if (dear->units > SPEC_JUDGE_UNITS_MAX)
            return err_set(err, ERR_INVALID,
                           "the constraints up to here take %" PRIu64 " units to judge a machine, "
                           "%" PRIu64 " more than the %d that are allowed (a term takes 8, a value "
                           "1, a state of a regular expression 16): ask for less",
                           dear->units, dear->units - SPEC_JUDGE_UNITS_MAX, SPEC_JUDGE_UNITS_MAX);
    }
    return 0;
}

int clauses_valid(const struct clauses *clauses, struct err *err)
{
    struct dear dear = {0};
    if (clauses->count > SPEC_CLAUSES_MAX)
        return err_set(err, ERR_INVALID, "task.constraints: %u are too many, at most %d",
                       clauses->count, SPEC_CLAUSES_MAX);
    for (uint32_t i = 0; i < clauses->count; i++) {
        int rc = clause_check(&clauses->items[i], &dear, err);
        if (rc != 0) {
            (void)err_wrap(err, "task.constraints[%u]", i);
            return rc;
        }
    }
    return 0;
}

/* The operator at the start of `text`, and its length; OP_COUNT when there is none. */
static enum term_op op_parse(const char *text, size_t *ret_length)
{
    size_t signs = strspn(text, "=!<>~");
    *ret_length = signs > 0 ? signs : strcspn(text, " \t=!<>~");
    for (int op = 0; op < OP_COUNT; op++)
        if (strlen(term_ops.texts[op]) == *ret_length &&
            strncmp(text, term_ops.texts[op], *ret_length) == 0)
            return (enum term_op)op;
    return OP_COUNT;
}

/* The words of `text`, separated by blanks, for lists by commas too. */
static void values_parse(const char *text, const char *separators, struct words *values)
{
    for (const char *at = text + strspn(text, separators); *at != '\0';
         at += strspn(at, separators)) {
        CLEANUP(free_ptr) char *word = xstrdup(at);
        size_t length = strcspn(at, separators);
        word[length] = '\0';
        words_add(values, word);
        at += length;
    }
}

int term_parse(const char *text, struct term *ret, struct err *err)
{
    static const char blanks[] = " \t";
    size_t length;
    const char *at = text + strspn(text, blanks);
    *ret = (struct term){.op = OP_COUNT};
    length = strcspn(at, " \t=!<>~");
    if (length == 0 || length > CELL_NAME_MAX)
        return err_set(err, ERR_INVALID, "\"%.80s\" does not start with an attribute", text);
    str_copy(ret->attribute, length + 1, at);
    at += length + strspn(at + length, blanks);
    ret->op = op_parse(at, &length);
    if (ret->op == OP_COUNT && length == 0)
        return err_set(err, ERR_INVALID, "\"%.80s\" says nothing of %s, like \"%s = VALUE\"", text,
                       ret->attribute, ret->attribute);
    if (ret->op == OP_COUNT)
        return err_set(err, ERR_INVALID,
                       "\"%.80s\": \"%.*s\" is none of = != < <= > >= in not-in exists not-exists "
                       "regex near apart",
                       text, (int)MIN(length, (size_t)40), at);
    at += length;
    values_parse(at, ret->op == OP_IN || ret->op == OP_NOT_IN ? " \t," : blanks, &ret->values);
    uint32_t states = 0;
    int rc = term_check(ret, &states, err);
    if (rc != 0)
        words_release(&ret->values);
    return rc;
}

struct matcher {
    const struct clauses *clauses;
    struct pattern **regexes; /* in the order of the terms */
    uint32_t regex_count;
    uint32_t *regex_first; /* of each clause */
};

struct matcher *matcher_new(const struct clauses *clauses)
{
    struct matcher *matcher = xcalloc(1, sizeof *matcher);
    matcher->clauses = clauses;
    matcher->regex_first = xcalloc(clauses->count, sizeof *matcher->regex_first);
    for (uint32_t i = 0; i < clauses->count; i++) {
        const struct clause *clause = &clauses->items[i];
        matcher->regex_first[i] = matcher->regex_count;
        for (uint32_t j = 0; j < clause->term_count; j++) {
            if (clause->terms[j].op != OP_REGEX)
                continue;
            uint32_t at = matcher->regex_count++;
            matcher->regexes = xrealloc(matcher->regexes, at + 1, sizeof *matcher->regexes);
            matcher->regexes[at] = pattern_new(words_first(&clause->terms[j].values), NULL);
            ASSERT(matcher->regexes[at] != NULL); /* clauses_valid() has tried */
        }
    }
    return matcher;
}

void matcher_free(struct matcher *matcher)
{
    if (matcher == NULL)
        return;
    for (uint32_t i = 0; i < matcher->regex_count; i++)
        pattern_free(matcher->regexes[i]);
    free(matcher->regexes);
    free(matcher->regex_first);
    free(matcher);
}

uint32_t matcher_states(const struct matcher *matcher)
{
    uint32_t states = 0;
    for (uint32_t i = 0; i < matcher->regex_count; i++)
        states += pattern_states(matcher->regexes[i]);
    return states;
}

const char *subject_get(const struct subject *subject, const char *attribute)
{
    return strcmp(attribute, ATTRIBUTE_MACHINE) == 0
               ? subject->machine
               : attributes_get(subject->attributes, attribute);
}

static bool in_values(const struct words *values, const char *value)
{
    for (const char *w = words_first(values); w != NULL; w = words_next(values, w))
        if (strcmp(w, value) == 0)
            return true;
    return false;
}

static bool compare(enum term_op op, const char *value, const char *with)
{
    int64_t a, b;
    if (!integer_parse(value, &a) || !integer_parse(with, &b))
        return false;
    return op == OP_LESS ? a < b : op == OP_AT_MOST ? a <= b : op == OP_MORE ? a > b : a >= b;
}

static bool term_holds(const struct term *term, const struct pattern *regex, const char *value)
{
    switch (term->op) {
    case OP_EXISTS:
        return value != NULL;
    case OP_NOT_EXISTS:
        return value == NULL;
    case OP_EQUAL:
    case OP_IN:
        return value != NULL && in_values(&term->values, value);
    case OP_NOT_EQUAL:
    case OP_NOT_IN:
        return value == NULL || !in_values(&term->values, value);
    case OP_LESS:
    case OP_AT_MOST:
    case OP_MORE:
    case OP_AT_LEAST:
        return value != NULL && compare(term->op, value, words_first(&term->values));
    case OP_REGEX:
        return value != NULL && pattern_matches(regex, value);
    case OP_NEAR:
    case OP_APART:
        return false;
    case OP_COUNT:
        break;
    }
    UNREACHABLE("operator of a term");
}

bool matcher_holds(const struct matcher *matcher, uint32_t at, const struct subject *subject)
{
    const struct clause *clause = &matcher->clauses->items[at];
    uint32_t regex = matcher->regex_first[at];
    for (uint32_t i = 0; i < clause->term_count; i++) {
        const struct term *term = &clause->terms[i];
        const struct pattern *compiled = term->op == OP_REGEX ? matcher->regexes[regex++] : NULL;
        if (term_holds(term, compiled, subject_get(subject, term->attribute)))
            return true;
    }
    return false;
}

uint32_t matcher_failing(const struct matcher *matcher, const struct subject *subject)
{
    const struct clauses *clauses = matcher->clauses;
    for (uint32_t i = 0; i < clauses->count; i++)
        if (clauses->items[i].weight == 0 && !clause_has_company(&clauses->items[i]) &&
            !matcher_holds(matcher, i, subject))
            return i;
    return clauses->count;
}

uint32_t matcher_cost(const struct matcher *matcher, const struct subject *subject)
{
    const struct clauses *clauses = matcher->clauses;
    uint32_t cost = 0;
    for (uint32_t i = 0; i < clauses->count; i++)
        if (!clause_has_company(&clauses->items[i]) && !matcher_holds(matcher, i, subject))
            cost += clauses->items[i].weight;
    return cost;
}
