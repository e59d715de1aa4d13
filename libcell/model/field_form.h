/*
 * field_form.h - numbers, choices and texts of a spec as people write them.
 */
#ifndef CELL_FIELD_FORM_H
#define CELL_FIELD_FORM_H

#include "fields.h"

/* Set a bool, number, choice or text from what people write: "true", "500m", "10s", "production".
 * ERR_INVALID with what is wrong; the message does not name the field. */
int field_parse(const struct field *field, void *item, const char *text, struct err *err) MUST_USE;
/* An amount from a text such as "1Gi", in the unit of the form of the field. */
int field_amount_parse(const struct field *field, const char *text, int64_t *ret,
                       struct err *err) MUST_USE;
/* Set every field that has one to its default; the item has been initialised. */
void record_set_defaults(const struct record *record, void *item);
/* "batch or latency-sensitive" */
void choices_print(struct buf *to, const struct enumeration *choices);

#endif
