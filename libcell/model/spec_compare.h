/*
 * spec_compare.h - in what two specs differ, and what it takes to get from one to the other.
 */
#ifndef CELL_SPEC_COMPARE_H
#define CELL_SPEC_COMPARE_H

#include "fields.h"

/* One field that differs. */
struct spec_difference {
    const struct field *field;  /* of job_spec_record; users can write it */
    const struct field *amount; /* of limit_record_of(): only this amount of `field`; NULL: all */
    enum field_effect effect;   /* of a change of the running job */
};

/*
 * Call for each field in which two specs differ as users write them. Their user is no field of
 * that kind, and slots of named resources are compared by name. A job that becomes an alloc set, or
 * ceases to be one, differs in "task.resources" at least.
 */
void spec_compare(const struct job_spec *from, const struct job_spec *to,
                  void (*differs)(void *data, const struct spec_difference *difference),
                  void *data);
/* "borgctl update changes it; running tasks restart" */
const char *field_effect_text(enum field_effect effect);

#endif
