/*
 * spec_json.h - job specs as JSON: read, printed, described.
 *
 * Everything here is a walk over job_spec_record (model/fields.c): the path of a field says where
 * it stands in the JSON, its form how it is written. A new plain field is a line in that table.
 */
#ifndef CELL_SPEC_JSON_H
#define CELL_SPEC_JSON_H

#include "spec.h"
#include "spec_compare.h"

#include <jansson.h>

enum {
    SPECS_MAX = 1024,       /* jobs in an array */
    SPEC_PROBLEMS_MAX = 50, /* mistakes that are told; more are counted */
};

/* One job, or an array of jobs. */
struct specs {
    struct job_spec *jobs; /* owned */
    size_t job_count;
    bool is_array; /* even of one */
};
void specs_release(struct specs *specs);

/*
 * Read and check jobs, with defaults for the fields that are not there. A mistake does not end the
 * reading: on -ERR_INVALID `err` tells how many there are, and `problems` has a line for each, with
 * its path ("[2].task.resources.ram: ..."). The user of the specs stays empty.
 */
int specs_json_read(const json_t *value, struct specs *ret, struct buf *problems,
                    struct err *err) MUST_USE;
/* One job. */
int spec_json_read(const json_t *value, struct job_spec *ret, struct buf *problems,
                   struct err *err) MUST_USE;

/* One line of JSON with every field that users can write, which reads as the same spec. Only
 * `alloc_set` is left out when it has no value. Equal specs give equal texts. A byte that is no
 * UTF-8 becomes "\xff". */
void spec_json_print(struct buf *to, const struct job_spec *spec);
/* As spec_json_print(), as a value that the caller owns. */
json_t *spec_json(const struct job_spec *spec);
/* The value of a field, or of an amount of it, in which the spec differs from another. */
void spec_difference_json(struct buf *to, const struct spec_difference *difference,
                          const struct job_spec *spec);
/* Its path, "task.resources.cpu". */
void spec_difference_path(struct buf *to, const struct spec_difference *difference,
                          const struct job_spec *spec);

/* A JSON Schema, draft 2020-12, on one line: it accepts what specs_json_read() accepts, as far as a
 * schema can say it. */
void spec_schema_print(struct buf *to);

/* A field, or a group of fields, for help and the reference page. */
struct spec_line {
    const char *path; /* "task.resources.cpu" */
    const char *doc;
    const char *otherwise; /* NULL: required; "": nothing */
    bool is_group;
    enum field_effect effect;
};
/* Call for each, in the order of the help: an object is followed by its fields. */
void spec_lines(void (*each)(void *data, const struct spec_line *line), void *data);

#endif
