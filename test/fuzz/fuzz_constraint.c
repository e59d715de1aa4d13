/*
 * fuzz_constraint.c - any text as constraint or regular expression is refused, or evaluated within
 * its bounds; short expressions match as in the C library.
 *
 *     make fuzz            for 30 seconds; SECONDS=3600 for longer
 *
 * The first byte of a line selects: 'a' an attribute, 'e' an expression and, after a tab, a text;
 * any other byte a term.
 */
#include "attributes.h"
#include "constraint.h"
#include "pattern.h"

#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINES_MAX = 64, ORACLE_BYTES_MAX = 14, ORACLE_QUANTIFIERS_MAX = 4 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* Compare only expressions that the C library evaluates fast, and in which it has no extensions (\<
 * or a]). */
static bool oracle_knows(const char *text, const char *of)
{
    uint32_t quantifiers = 0;
    if (strlen(text) > ORACLE_BYTES_MAX || strpbrk(text, "{^$") != NULL)
        return false;
    for (const char *at = text; *at != '\0'; at++)
        quantifiers += strchr("*+?", *at) != NULL;
    if (quantifiers > ORACLE_QUANTIFIERS_MAX)
        return false;
    for (const char *at = text; *at != '\0'; at++)
        if ((uint8_t)*at >= 0x80)
            return false;
    for (const char *at = of; *at != '\0'; at++)
        if ((uint8_t)*at >= 0x80)
            return false;
    return true;
}

static void compare(const char *text, const char *of, bool matches)
{
    regex_t compiled;
    char whole[ORACLE_BYTES_MAX + 8];
    if (!oracle_knows(text, of))
        return;
    snprintf(whole, sizeof whole, "^(%s)$", text);
    ASSERT(regcomp(&compiled, whole, REG_EXTENDED | REG_NOSUB) == 0);
    ASSERT((regexec(&compiled, of, 0, NULL, 0) == 0) == matches);
    regfree(&compiled);
}

static void fuzz_expression(char *line)
{
    struct err err;
    char *text = strsep(&line, "\t");
    struct pattern *pattern = pattern_new(text, &err);
    if (pattern == NULL) {
        ASSERT(err.code == ERR_INVALID);
        ASSERT(err.msg[0] != '\0');
        return;
    }
    ASSERT(pattern_states(pattern) <= PATTERN_STATES_MAX);
    ASSERT(pattern_bytes(pattern) <= 8 * (PATTERN_STATES_MAX + PATTERN_BYTES_MAX) + 256);
    compare(text, line == NULL ? "" : line, pattern_matches(pattern, line == NULL ? "" : line));
    pattern_free(pattern);
}

static void fuzz_term(const char *line, struct clauses *clauses)
{
    struct term term, again;
    struct buf text CLEANUP(buf_release) = {0}, second CLEANUP(buf_release) = {0};
    if (term_parse(line, &term, NULL) != 0)
        return;
    term_print(&text, &term);
    ASSERT(term_parse(buf_text(&text), &again, NULL) == 0);
    term_print(&second, &again);
    ASSERT(strcmp(buf_text(&text), buf_text(&second)) == 0);
    words_release(&again.values);
    struct clause *clause =
        clauses_add(clauses, line[0] & 4 ? 1 + (uint8_t)line[0] % WEIGHT_MAX : 0);
    clause_add(clause, term);
}

static void judge(const struct clauses *clauses, const struct words *attributes)
{
    struct buf key CLEANUP(buf_release) = {0};
    if (clauses_valid(clauses, NULL) != 0)
        return;
    struct matcher *matcher = matcher_new(clauses);
    struct subject subject = {.machine = "m1", .attributes = attributes};
    ASSERT(matcher_failing(matcher, &subject) <= clauses->count);
    ASSERT(matcher_cost(matcher, &subject) <= SPEC_CLAUSES_MAX * WEIGHT_MAX);
    matcher_free(matcher);
    clauses_key(clauses, &key);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct clauses clauses = {0};
    struct words attributes = {0};
    char *text = xcalloc(size + 1, 1);
    memcpy(text, bytes, size);
    char *rest = text;
    for (int i = 0; i < LINES_MAX && rest != NULL; i++) {
        char *line = strsep(&rest, "\n");
        char key[CELL_NAME_MAX + 1];
        const char *value;
        if (line[0] == 'e')
            fuzz_expression(line + 1);
        else if (line[0] != 'a')
            fuzz_term(line, &clauses);
        else if (attribute_parse(line + 1, key, &value, NULL) == 0)
            attributes_put(&attributes, key, value);
    }
    if (attributes_valid(&attributes, NULL) == 0)
        judge(&clauses, &attributes);
    clauses_release(&clauses);
    words_release(&attributes);
    free(text);
    return 0;
}
