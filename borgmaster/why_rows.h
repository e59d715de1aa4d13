/*
 * why_rows.h - the answer to "why is it pending?" as rows for the wire.
 */
#ifndef BORGMASTER_WHY_ROWS_H
#define BORGMASTER_WHY_ROWS_H

#include "wire.h"

/* Ask the cell and append the packed wire_rows. Columns: kind, reason, machines, amount, names.
 * First the rows of kind "reason", most machines first; then one of kind
 *   pending       amount: tasks that are; machines: all there are
 *   evict, evict-over-budget, held-by-prod     machines: see why.h
 *   change        reason: the resource; amount: of it; machines; names: the change in words; only
 *                 when there is one
 *   backoff       machines NULL; amount: not before, in ms since 1970; only when some back off
 * What does not apply is NULL. */
int why_rows(const struct cell *cell, const struct wire_why *asked, struct buf *to,
             struct err *err) MUST_USE;

#endif
