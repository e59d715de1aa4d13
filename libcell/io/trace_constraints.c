/*
 * trace_constraints.c - the constraints of a trace's tasks.
 */
#include "trace.h"

#include <stdlib.h>
#include <string.h>

enum { ITEM_TEXT_MAX = 80 };

void trace_constraints_release(struct trace_constraints *constraints)
{
    free(constraints->text);
    clauses_release(&constraints->clauses);
    free(constraints->conflicts);
    *constraints = (struct trace_constraints){0};
}

static int refuse(const char *item, struct err *err, const char *what)
{
    return err_set(err, ERR_INVALID, "\"%.*s\": %s", ITEM_TEXT_MAX, item, what);
}

/* Return the rest of `item` after `prefix`, or NULL. */
static const char *after(const char *item, const char *prefix)
{
    size_t length = strlen(prefix);
    return strncmp(item, prefix, length) == 0 ? item + length : NULL;
}

static bool count_parse(const char *text, uint32_t min, uint32_t *ret)
{
    char *end;
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 9)
        return false;
    *ret = (uint32_t)strtoul(text, &end, 10);
    return *end == '\0' && *ret >= min && *ret <= CELL_TASKS_MAX;
}

/* Parse KEY=OBJECT:K, which may occur once in a job. */
static int bound_parse(const char *item, const char *rest, uint32_t *to, struct err *err)
{
    if (*to != 0)
        return refuse(item, err, "it occurs twice");
    if (!count_parse(rest, 1, to))
        return refuse(item, err, "expected a number of at least 1 after the colon");
    return 0;
}

static int conflict_parse(const char *item, const char *rest, struct trace_constraints *to,
                          struct err *err)
{
    struct trace_conflict conflict = {0};
    const char *colon = strrchr(rest, ':');
    size_t length = colon == NULL ? 0 : (size_t)(colon - rest);
    if (length <= TRACE_ID_MAX)
        str_copy(conflict.job, length + 1, rest);
    if (conflict.job[0] == '\0' || !count_parse(colon + 1, 0, &conflict.max))
        return refuse(item, err, "expected conflict=JOB:K");
    if (to->conflict_count == TRACE_CONFLICTS_MAX)
        return err_set(err, ERR_LIMIT, "more than %d conflicts", TRACE_CONFLICTS_MAX);
    to->conflicts = xrealloc(to->conflicts, to->conflict_count + 1, sizeof conflict);
    to->conflicts[to->conflict_count++] = conflict;
    return 0;
}

/* Parse a term. The values of `in` are separated by bars here, elsewhere by commas. */
static int term_of(const char *item, struct trace_constraints *to, struct err *err)
{
    CLEANUP(free_ptr) char *text = xstrdup(item);
    struct term term;
    for (char *p = strstr(text, " in "); p != NULL && *p != '\0'; p++)
        if (*p == '|')
            *p = ',';
    int rc = term_parse(text, &term, err);
    if (rc != 0)
        return rc;
    clause_add(clauses_add(&to->clauses, 0), term);
    if (term.op != OP_EQUAL && term.op != OP_NOT_EQUAL && term.op != OP_AT_LEAST &&
        term.op != OP_IN)
        return refuse(item, err, "a trace may use only the operators = != >= in");
    return 0;
}

static int item_parse(const char *item, struct trace_constraints *to, struct err *err)
{
    const struct {
        const char *prefix;
        uint32_t *to;
    } bounds[] = {
        {"distinct=machine:", &to->machine_max},
        {"limit=" TRACE_FAILURE_DOMAIN ":", &to->domain_max},
        {"spread=" TRACE_FAILURE_DOMAIN ":", &to->domains_min},
    };
    for (size_t i = 0; i < ARRAY_SIZE(bounds); i++) {
        const char *rest = after(item, bounds[i].prefix);
        if (rest != NULL)
            return bound_parse(item, rest, bounds[i].to, err);
    }
    static const char *const words[] = {"distinct=", "limit=", "spread="};
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (after(item, words[i]) != NULL)
            return refuse(item, err,
                          "expected distinct=machine:K, limit=failure_domain:K or "
                          "spread=failure_domain:N");
    const char *rest = after(item, "conflict=");
    return rest != NULL ? conflict_parse(item, rest, to, err) : term_of(item, to, err);
}

int trace_constraints_parse(const char *text, struct trace_constraints *ret, struct err *err)
{
    CLEANUP(free_ptr) char *items = xstrdup(text);
    char *rest = items[0] == '\0' ? NULL : items;
    int rc = 0;
    *ret = (struct trace_constraints){.text = xstrdup(text)};
    for (char *item; rc == 0 && (item = strsep(&rest, ";")) != NULL;)
        rc = item_parse(item, ret, err);
    return rc == 0 ? clauses_valid(&ret->clauses, err) : rc;
}
