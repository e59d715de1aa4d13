/*
 * simulate_report.h - the figures of a simulation for people and for programs.
 */
#ifndef CLI_SIMULATE_REPORT_H
#define CLI_SIMULATE_REPORT_H

#include "simulate_compact.h"
#include "simulate_time.h"
#include "simulate_what_if.h"

#include <jansson.h>
#include <stdio.h>

/* One line of what was not used: how many, of what, and what was done with them. */
enum { IGNORED_ROWS = 8 };
struct ignored_row {
    const char *key;
    uint64_t count; /* 0: not worth a line */
    const char *text;
};
/* Append an amount as a person reads it of a whole cell: whole cpus, GiB, to a tenth; what machines
 * name is counted. JSON has the exact amounts. */
void report_amount(struct buf *to, enum resource r, int64_t amount);
void report_ignored(const struct sim_ignored *ignored, struct ignored_row ret[IGNORED_ROWS]);

struct findings {
    const struct sim_figures *figures;
    const struct workload *workload;
    const struct history *history; /* NULL: no time passed */
};
void report_print(FILE *to, const struct findings *found);
/* Every figure, amounts in base units; the caller owns it. */
json_t *report_json(const struct findings *found);

/* Of the policies that are `done`. */
void report_compact_print(FILE *to, const struct workload *workload,
                          const struct compact_bound *bound, const struct compact *results,
                          const bool *done);
json_t *report_compact_json(const struct workload *workload, const struct compact_bound *bound,
                            const struct compact *results, const bool *done);
void report_what_if_print(FILE *to, const struct sim *sim, const struct what_if *w);
json_t *report_what_if_json(const struct sim *sim, const struct what_if *w);

#endif
