/*
 * jobfile_impl.h - what the files of the job spec's schema share: a field, a check under way.
 */
#ifndef CELL_JOBFILE_IMPL_H
#define CELL_JOBFILE_IMPL_H

#include "jobfile.h"

enum field_type {
    FIELD_OBJECT,
    FIELD_KIND,   /* an object; which one is there says what the job is */
    FIELD_SHAPES, /* an object, or several in order of preference */
    FIELD_NAME,
    FIELD_INTEGER,  /* uint32_t */
    FIELD_REPLICAS, /* a number or 'every-machine' */
    FIELD_PRIORITY, /* a number or the name of a band */
    FIELD_CHOICE,   /* an enum, by text */
    FIELD_MILLI,    /* int64_t */
    FIELD_BYTES,    /* int64_t */
    FIELD_MS,       /* uint32_t */
    FIELD_NAMED,    /* stands for any name that is no field */
    FIELD_COMMAND,
    FIELD_ENV,
    FIELD_PORTS,
    FIELD_CONSTRAINTS,
    FIELD_SPREAD,
    FIELD_BOOLEAN
};

struct field {
    const char *path;
    enum field_type type;
    const char *otherwise; /* the default, as one writes it; NULL: required; "": nothing */
    size_t offset;         /* in struct job_spec */
    int64_t min, max;
    int (*parse)(const char *text); /* FIELD_CHOICE */
    const char *text;
};

struct check {
    struct buf *problems;
    size_t problem_count;
    char prefix[24]; /* "[3]." in an array of jobs */
    char shape[8];   /* "[1]" in an array of shapes */
    struct job_spec *spec;
};

/* Another mistake, at `path` ("" is the whole job). */
void problem(struct check *c, const char *path, const char *fmt, ...) PRINTF_LIKE(3, 4);
const char *kind_text(const json_t *v); /* "an object", "null" */

/* jobfile_set.c: single values */
void integer_set(struct check *c, const struct field *f, const json_t *v);
void replicas_set(struct check *c, const struct field *f, const json_t *v);
void priority_set(struct check *c, const struct field *f, const json_t *v);
void choice_set(struct check *c, const struct field *f, const json_t *v);
void boolean_set(struct check *c, const struct field *f, const json_t *v);
void quantity_set(struct check *c, const struct field *f, const json_t *v);
void name_set(struct check *c, const struct field *f, const json_t *v);
void command_set(struct check *c, const struct field *f, const json_t *v);
void env_set(struct check *c, const struct field *f, const json_t *v);
void ports_set(struct check *c, const struct field *f, const json_t *v);
/* A resource that the cell may name, below `parent`. */
void named_set(struct check *c, const char *parent, const char *name, const json_t *v);

/* jobfile_places.c: where tasks may and would rather run */
void constraints_set(struct check *c, const struct field *f, const json_t *v);
void spread_set(struct check *c, const struct field *f, const json_t *v);

#endif
