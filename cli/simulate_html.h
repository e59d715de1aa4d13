/*
 * simulate_html.h - what a simulation found, as one HTML file that needs nothing else.
 */
#ifndef CLI_SIMULATE_HTML_H
#define CLI_SIMULATE_HTML_H

#include "simulate_report.h"

/* The page of a run, as the cell is now; `source` says of what. */
void html_report(struct buf *to, const char *source, const struct findings *found,
                 const struct sim *sim);
/* Added to it: machines taken away. */
void html_what_if(struct buf *to, const struct sim *sim, const struct what_if *w);
/* The page of a compaction, with the policies that are `done`. */
void html_compact(struct buf *to, const char *source, const struct workload *workload,
                  const struct compact_bound *bound, const struct compact *results,
                  const bool *done);
int html_write(const char *path, const struct buf *page, struct err *err) MUST_USE;
/* All that a page does not say by itself goes through this: & < > " ' become entities, control
 * bytes question marks. */
void html_escape(struct buf *to, const char *text);

#endif
