/*
 * linear.h - is a history of what clients saw of one job's name linearizable?
 *
 * A name is a register: created with a value, updated, killed, read. A history is linearizable when
 * each operation can be given one moment between its start and its end such that, carried out one
 * after the other at these moments, all would have answered what they did answer. One whose outcome
 * is unknown may have its moment at any time after its start, or never. The search is Wing and
 * Gong's, with the memory of Lowe ("Testing for linearizability", 2016): a set of operations and
 * the state they lead to is tried once.
 *
 * Time is any number that orders: milliseconds, or the index of a log. Pure.
 */
#ifndef CHAOS_LINEAR_H
#define CHAOS_LINEAR_H

#include "buf.h"

enum linear_kind {
    LINEAR_CREATE, /* refused: it is there already */
    LINEAR_UPDATE, /* refused: it is not there */
    LINEAR_KILL,   /* refused: it is not there */
    LINEAR_READ,   /* of these only the ones that were answered belong into a history */
    LINEAR_KIND_COUNT
};

enum linear_outcome { LINEAR_DONE, LINEAR_REFUSED, LINEAR_UNKNOWN, LINEAR_OUTCOME_COUNT };

struct linear_op {
    uint64_t start;
    uint64_t end; /* not before `start`; of no meaning when unknown */
    enum linear_kind kind;
    enum linear_outcome outcome;
    uint64_t value; /* written, never 0; or read: 0 says that there is no such job */
    uint32_t client;
};

enum linear_verdict {
    LINEAR_YES,
    LINEAR_NO,
    LINEAR_TOO_HARD /* LINEAR_STEPS_MAX steps did not decide it */
};

enum { LINEAR_STEPS_MAX = 20000000 };

struct linear_result {
    enum linear_verdict verdict;
    uint64_t steps; /* states tried */
    size_t placed;  /* operations in the longest order found */
    size_t stuck;   /* LINEAR_NO: one that this order could not be brought to answer so */
};

/* Operations of one name, in any order; `ret` may be NULL. */
enum linear_verdict linear_check(const struct linear_op *ops, size_t count,
                                 struct linear_result *ret);

const char *linear_kind_text(enum linear_kind kind);          /* "create", ... */
const char *linear_outcome_text(enum linear_outcome outcome); /* "done", "refused", "unknown" */
/* A line for each operation that has to do with the one that is stuck, oldest first. */
void linear_print(struct buf *to, const struct linear_op *ops, size_t count,
                  const struct linear_result *result);

#endif
