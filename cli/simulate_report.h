/*
 * simulate_report.h - the figures of a simulation as text and as JSON.
 */
#ifndef CLI_SIMULATE_REPORT_H
#define CLI_SIMULATE_REPORT_H

#include "simulate_compact.h"
#include "simulate_time.h"
#include "simulate_what_if.h"

#include <jansson.h>
#include <stdio.h>

/* One kind of ignored input: how many tasks, which property, and its treatment. */
enum { IGNORED_ROWS = 8 };
struct ignored_row {
    const char *key;
    uint64_t count; /* 0: not printed */
    const char *text;
};
/* Append an amount of a whole cell for people: cpus, GiB, to one decimal; named resources as a
 * count. JSON has the exact amounts. */
void report_amount(struct buf *to, enum resource r, int64_t amount);
void report_ignored(const struct sim_ignored *ignored, struct ignored_row ret[IGNORED_ROWS]);

struct findings {
    const struct sim_figures *figures;
    const struct workload *workload;
    const struct history *history; /* NULL: the simulation shows one moment */
};
void report_print(FILE *to, const struct findings *found);
/* Return all figures, amounts in base units; the caller owns the result. */
json_t *report_json(const struct findings *found);

/* Print the results for the policies that are `done`. */
void report_compact_print(FILE *to, const struct workload *workload,
                          const struct compact_bound *bound, const struct compact *results,
                          const bool *done);
json_t *report_compact_json(const struct workload *workload, const struct compact_bound *bound,
                            const struct compact *results, const bool *done);
void report_what_if_print(FILE *to, const struct sim *sim, const struct what_if *w);
json_t *report_what_if_json(const struct sim *sim, const struct what_if *w);

#endif
