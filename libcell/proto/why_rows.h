/*
 * why_rows.h - the answer to "why is it pending?" as rows, for the wire and for borgctl.
 */
#ifndef CELL_WHY_ROWS_H
#define CELL_WHY_ROWS_H

#include "cell.h"
#include "wire.h"

/* Ask the cell; the caller releases the rows. Columns: kind, machine, reason, machines, amount,
 * names, shape (from 1; NULL when there is one). For each shape of its tasks: first the rows of
 * kind "reason", most machines first: reason, machines, names (when they were asked for); then one
 * of kind pending amount: tasks that are; machines: all there are then, as many as there are, of
 * kind evict machines without room, by what would have to go (reason) near          machine;
 * reason: a resource; amount: lacks so much of it; names: in words victim        machine; names: a
 * task that would have to go; amount: its priority; reason: may it. Names NULL: `amount` more of
 * them gang machines: tasks that start together; amount: of them, would have room now; only of a
 * gang change reason: the resource; amount: of it; machines; names: the change in words; only when
 * there is one backoff       amount: not before, in ms since 1970; only when some back off limit
 * names: what the shape asks for; only when there are several What does not apply is NULL. */
int why_rows(const struct cell *cell, const struct wire_why *asked, struct wire_rows *ret,
             struct err *err) MUST_USE;

/* Answer in turns of about so many units (why.h), between which the cell may change. */
struct why_rows;
struct why_rows *why_rows_begin(const struct wire_why *asked);
/* True: it is answered, or refused. */
bool why_rows_go_on(struct why_rows *why, const struct cell *cell, uint64_t units) MUST_USE;
/* Afterwards: the rows, or why not; frees `why`. */
int why_rows_end(struct why_rows *why, struct wire_rows *ret, struct err *err) MUST_USE;
void why_rows_abandon(struct why_rows *why); /* at any time; NULL is fine */

#endif
