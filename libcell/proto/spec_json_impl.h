/*
 * spec_json_impl.h - what the files of spec_json share: the walk over a table by its paths, and a
 * reading under way.
 */
#ifndef CELL_SPEC_JSON_IMPL_H
#define CELL_SPEC_JSON_IMPL_H

#include "field_form.h"
#include "spec_json.h"

/* 2^53: a double has all whole numbers below. */
#define JSON_EXACT_MAX INT64_C(9007199254740992)
#define SPEC_PATH_MAX 256

/* A member of an object: a field, or a group of fields whose paths have more parts. */
struct spec_child {
    const struct field *leaf; /* NULL: a group */
    char name[64];            /* of the member */
    char group[96];           /* of a group: the path that its fields begin with */
    int phase;                /* leaves, then groups, then "alloc" */
    uint32_t next;
};
/* The next member of the object `group` ("": the whole); start with a zeroed child. Fields that
 * users cannot write are left out. */
bool spec_child_next(const struct record *record, const char *group, struct spec_child *child);
/* Is there a field in the group without a default? */
bool spec_group_required(const struct record *record, const char *group);
/* The path of a field called `name` that stands elsewhere in a job; NULL: there is none. */
const char *spec_elsewhere(const char *name, char to[SPEC_PATH_MAX]);

struct spec_reader {
    struct buf *problems;
    size_t problem_count;
    char path[SPEC_PATH_MAX]; /* of what is being read: "[3].task.env" */
    struct job_spec *spec;    /* the job; NULL when another record is read */
    const char *skip;         /* the group that this job has not: "task" or "alloc" */
};

/* One more mistake, at the present path. */
void spec_problem(struct spec_reader *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Go down to a member or an item, and back with what was returned. */
size_t spec_enter(struct spec_reader *r, const char *member);
size_t spec_enter_item(struct spec_reader *r, size_t index);
void spec_leave(struct spec_reader *r, size_t to);
const char *json_kind_text(const json_t *v); /* "an object", "null" */

/* The members of the object into the fields of the item, which has its defaults. */
void spec_object_read(struct spec_reader *r, const struct record *record, void *item,
                      const char *group, const json_t *object);
void spec_value_read(struct spec_reader *r, const struct field *field, void *item, const json_t *v);
/* A whole number within the bounds of the field; false and a problem when it is none. */
bool spec_number_read(struct spec_reader *r, const struct field *field, const json_t *v,
                      int64_t *ret);
void spec_resources_read(struct spec_reader *r, const json_t *v);
/* A resource that the cell may name. */
void spec_named_read(struct spec_reader *r, struct resources *limit, const char *name,
                     const json_t *v);
void spec_constraints_read(struct spec_reader *r, const struct field *field, const json_t *v);

/* {"name":value,...}: all fields of the item, without the group `skip`. */
void spec_object_print(struct buf *to, const struct record *record, const void *item,
                       const char *skip);
void spec_value_print(struct buf *to, const struct field *field, const void *item);
/* A schema of the object. */
void spec_schema_object(struct buf *to, const struct record *record, const char *group);

#endif
