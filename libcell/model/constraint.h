/*
 * constraint.h - which machines a job may or would rather run on: clauses about attributes.
 *
 * All clauses are to hold; a clause holds when one of its terms does. One without a weight is hard:
 * no task goes where it does not hold. One with a weight is a wish, and the scheduler adds weights.
 *
 *     rack = r1          != < <= > >=     (the ordering ones compare whole numbers)
 *     zone in a,b        not-in
 *     ssd exists         not-exists
 *     kernel regex 6\..* POSIX extended (pattern.h says which part), of the whole value
 *     rack near cache    on a machine of this rack a task of job cache lives; and: apart
 *
 * A machine without the attribute satisfies only !=, not-in and not-exists; so does a value that is
 * no whole number never satisfy < <= > >=. "machine" is an attribute of each: its name.
 *
 * Near and apart are about company, the tasks of another job, or of its own, that are live (told to
 * stop included) on machines of the same value; machines without the attribute have the value "". A
 * job is meant by name, whoever's it is, and need not exist. What is near itself may begin
 * anywhere. Company comes and goes, so a matcher leaves it out: those who count tasks judge it, the
 * cell in fit.c and the scheduler in sched/presence.c.
 */
#ifndef CELL_CONSTRAINT_H
#define CELL_CONSTRAINT_H

#include "buf.h"
#include "err.h"
#include "limits.h"
#include "words.h"

enum { WEIGHT_MAX = 100 };

enum term_op {
    OP_EQUAL,
    OP_NOT_EQUAL,
    OP_LESS,
    OP_AT_MOST,
    OP_MORE,
    OP_AT_LEAST,
    OP_IN,
    OP_NOT_IN,
    OP_EXISTS,
    OP_NOT_EXISTS,
    OP_REGEX,
    OP_NEAR,
    OP_APART,
    OP_COUNT
};

struct term {
    char attribute[CELL_NAME_MAX + 1];
    enum term_op op;
    struct words values; /* one; in and not-in one or more; exists and not-exists none */
};

struct clause {
    uint32_t weight; /* 1 to WEIGHT_MAX: a wish; 0: hard */
    struct term *terms;
    uint32_t term_count;
};

struct clauses {
    struct clause *items;
    uint32_t count;
};
void clauses_release(struct clauses *clauses);
struct clauses clauses_copy(const struct clauses *clauses);
/* Add an empty clause; and a term to a clause, which takes its values. */
struct clause *clauses_add(struct clauses *clauses, uint32_t weight);
void clause_add(struct clause *clause, struct term term);
/* Tells the first mistake with its path ("task.constraints[2]: ..."). */
int clauses_valid(const struct clauses *clauses, struct err *err) MUST_USE;
/* What it takes to judge a machine by valid ones, at most, in units of about 4 ns: 8 a term, 1 a
 * value, 16 a state of a regular expression (a step for each of 16 characters). Commands that judge
 * many machines are bounded by it. */
uint64_t clauses_units(const struct clauses *clauses);
/* Bytes it takes when packed, at most. */
uint64_t clauses_size(const struct clauses *clauses);
/* Equal texts, equal clauses: for hashing and for finding. Not for people. */
void clauses_key(const struct clauses *clauses, struct buf *to);
void term_print(struct buf *to, const struct term *term); /* as term_parse() reads it */
/* "rack = r1 or rack = r2" */
void clause_print(struct buf *to, const struct clause *clause);
/* Read a term as a person writes it; on success the caller owns its values. */
int term_parse(const char *text, struct term *ret, struct err *err) MUST_USE;

/* Is it about company? Then its value is the name of a job. */
bool term_is_company(const struct term *term);
bool clause_has_company(const struct clause *clause);
/* The job that the clause keeps this one apart from whatever else there is; NULL: none. Such a
 * clause holds in both directions: while it has tasks somewhere, that job gets none there, if it is
 * of the same user or of lower priority (job_binds()). */
const char *clause_keeps_away(const struct clause *clause);

/* The clauses made ready for many machines: regular expressions are compiled. Borrows them. */
struct matcher;
struct matcher *matcher_new(const struct clauses *clauses);
void matcher_free(struct matcher *matcher); /* NULL is fine */
/* Of all its regular expressions: what it costs to judge a machine, in characters of its values. */
uint32_t matcher_states(const struct matcher *matcher);

/* What is judged. */
struct subject {
    const char *machine;
    const struct words *attributes;
};
/* Does one of its terms hold that are not about company? */
bool matcher_holds(const struct matcher *matcher, uint32_t clause, const struct subject *subject);
/* Of the clauses without company: the first hard one that does not hold, or the number of all
 * clauses when all do; the weights of the wishes that do not hold, added. */
uint32_t matcher_failing(const struct matcher *matcher, const struct subject *subject);
uint32_t matcher_cost(const struct matcher *matcher, const struct subject *subject);
/* The attribute as constraints and spreads see it: "machine" is the name; NULL: there is none. */
const char *subject_get(const struct subject *subject, const char *attribute);

#endif
