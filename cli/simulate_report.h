/*
 * simulate_report.h - the figures of a simulation for people and for programs.
 */
#ifndef CLI_SIMULATE_REPORT_H
#define CLI_SIMULATE_REPORT_H

#include "simulate.h"

#include <jansson.h>
#include <stdio.h>

/* `ignored` and `policy` are NULL for a real cell, whose jobs have their own. */
void report_print(FILE *to, const struct sim_figures *figures, const struct sim_ignored *ignored,
                  const char *policy);
/* Every figure, amounts in base units; the caller owns it. */
json_t *report_json(const struct sim_figures *figures, const struct sim_ignored *ignored,
                    const char *policy);

#endif
