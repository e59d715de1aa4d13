/*
 * simulate_html.h - the results of a simulation as one self-contained HTML file.
 */
#ifndef CLI_SIMULATE_HTML_H
#define CLI_SIMULATE_HTML_H

#include "simulate_report.h"

/* Write the page of a run, with the present state of the cell; `source` names the input. */
void html_report(struct buf *to, const char *source, const struct findings *found,
                 const struct sim *sim);
/* Append the section on removed machines. */
void html_what_if(struct buf *to, const struct sim *sim, const struct what_if *w);
/* Write the page of a compaction, for the policies that are `done`. */
void html_compact(struct buf *to, const char *source, const struct workload *workload,
                  const struct compact_bound *bound, const struct compact *results,
                  const bool *done);
int html_write(const char *path, const struct buf *page, struct err *err) MUST_USE;
/* Append foreign text: & < > " ' become entities, control bytes become question marks. */
void html_escape(struct buf *to, const char *text);

#endif
