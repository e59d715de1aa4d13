/*
 * linear.h - decide whether a history of operations on one job name is linearizable
 *
 * A name is a register: it is created with a value, updated, killed, read. A history is
 * linearizable if each operation can be assigned one moment between its start and its end such that
 * all answers are explained by executing the operations one after another at these moments. An
 * operation of unknown outcome may have its moment at any time after its start, or never. The
 * search is Wing and Gong's with Lowe's memory ("Testing for linearizability", 2016): a set of
 * operations and the state that it leads to is tried only once.
 *
 * Time is any ordered number: milliseconds, or the index of a log. Pure.
 */
#ifndef CHAOS_LINEAR_H
#define CHAOS_LINEAR_H

#include "buf.h"

enum linear_kind {
    LINEAR_CREATE, /* refused if the job exists */
    LINEAR_UPDATE, /* refused if there is no such job */
    LINEAR_KILL,   /* refused if there is no such job */
    LINEAR_READ,   /* only answered reads belong into a history */
    LINEAR_KIND_COUNT
};

enum linear_outcome { LINEAR_DONE, LINEAR_REFUSED, LINEAR_UNKNOWN, LINEAR_OUTCOME_COUNT };

struct linear_op {
    uint64_t start;
    uint64_t end; /* not before `start`; ignored when unknown */
    enum linear_kind kind;
    enum linear_outcome outcome;
    uint64_t value; /* written, never 0; or read: 0 means that there is no such job */
    uint32_t client;
};

enum linear_verdict {
    LINEAR_YES,
    LINEAR_NO,
    LINEAR_TOO_HARD /* undecided after LINEAR_STEPS_MAX steps */
};

enum { LINEAR_STEPS_MAX = 20000000 };

struct linear_result {
    enum linear_verdict verdict;
    uint64_t steps; /* number of states tried */
    size_t placed;  /* number of operations in the longest order found */
    size_t stuck;   /* LINEAR_NO: an operation whose answer this order could not explain */
};

/* Check the operations of one name, in any order; `ret` may be NULL. */
enum linear_verdict linear_check(const struct linear_op *ops, size_t count,
                                 struct linear_result *ret);

const char *linear_kind_text(enum linear_kind kind);          /* "create", ... */
const char *linear_outcome_text(enum linear_outcome outcome); /* "done", "refused", "unknown" */
/* Print the operations that may have influenced the stuck one, oldest first. */
void linear_print(struct buf *to, const struct linear_op *ops, size_t count,
                  const struct linear_result *result);

#endif
