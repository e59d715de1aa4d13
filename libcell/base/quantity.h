/*
 * quantity.h - amounts as people write them: "500m", "1.5", "1Gi", "250ms", "10s".
 *
 * All results are integers in the unit named by the function. The parsers refuse with ERR_INVALID
 * and a message of the form `"12Q" is not a quantity`. Fractions of the unit are rounded up
 * ("1.1Gi" to the next byte, "0.0005" cpus to one thousandth), so a request never yields less than
 * it asks for, and only zero yields zero. Printing gives the shortest exact form, so
 * parse(print(x)) == x.
 */
#ifndef CELL_QUANTITY_H
#define CELL_QUANTITY_H

#include "buf.h"
#include "err.h"

/* Parse cpus: "2", "0.5", "1500m" -> thousandths. */
int quantity_parse_milli(const char *text, int64_t *ret_milli, struct err *err) MUST_USE;
/* Parse bytes: "4096", "64Ki", "1.5Gi", "2G" (decimal: k M G T P, binary: Ki Mi Gi Ti Pi). */
int quantity_parse_bytes(const char *text, int64_t *ret_bytes, struct err *err) MUST_USE;
/* Parse a time: "250ms", "10s", "5m", "2h", "1d"; a bare number is seconds. */
int quantity_parse_ms(const char *text, int64_t *ret_ms, struct err *err) MUST_USE;

void quantity_print_milli(struct buf *to, int64_t milli); /* 500 -> "500m", 2000 -> "2" */
void quantity_print_bytes(struct buf *to, int64_t bytes); /* 1610612736 -> "1.5Gi" */
void quantity_print_ms(struct buf *to, int64_t ms);       /* 10000 -> "10s" */

#endif
