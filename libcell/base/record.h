/*
 * record.h - a struct described by a table of its fields, and what can be done with any such
 * struct.
 *
 * A `struct record` lists the fields of one C struct in the order of their packed form. Everything
 * that has to visit all fields is a walk over that table: copying, releasing, comparing, hashing,
 * checking, printing, JSON here; msgpack in proto/record_pack.h; columns of SQLite in the store;
 * job specs as users write them in proto/spec_json.h. So a new field is one line in one table.
 *
 * Rules for a table:
 *  - Fields are appended, never moved or removed: their order is the packed format, and their
 *    number goes into hashes. `since` never decreases from one field to the next.
 *  - A field that is missing (in a shorter array of an older release, a missing column) has its
 *    initial value, which is 0, "" or empty unless the line says otherwise. A field at its initial
 *    value adds nothing to the hash of its record. So a release that knows one field more computes
 *    the same digest as long as nobody uses it.
 *  - The struct's own derived members (list links, cached hashes) have no line.
 */
#ifndef CELL_RECORD_H
#define CELL_RECORD_H

#include "buf.h"
#include "err.h"
#include "limits.h"
#include "words.h"

/* The values of an enum by their texts. */
struct enumeration {
    const char *name;         /* "restart policy" */
    const char *const *texts; /* by value; NULL: no value has this number */
    unsigned count;           /* values are less than that */
};
/* The text of a value, "unknown" for a number that is none. */
const char *enumeration_text(const struct enumeration *of, unsigned value);
/* The value of a text, -1 for a text that is none. */
int enumeration_parse(const struct enumeration *of, const char *text);

enum field_type {
    FIELD_BOOL,
    FIELD_U16,
    FIELD_U32,
    FIELD_U64,
    FIELD_I32,
    FIELD_I64,
    FIELD_ENUM,   /* an enum, one of `choices` */
    FIELD_FLAG,   /* one bit of a uint32_t: number `bit` */
    FIELD_TEXT,   /* char[size], terminated */
    FIELD_STRING, /* char *, owned, NULL is "" : at most `max` bytes */
    FIELD_BYTES,  /* const void *, borrowed, with a size_t at `count_offset`: at most `max` bytes */
    FIELD_WORDS,  /* struct words: at most `max` words */
    FIELD_RECORD, /* a struct inside, described by `record` */
    FIELD_ARRAY,  /* room for `max` items in the struct itself, described by `record` */
    FIELD_LIST    /* a pointer to items on the heap, owned: at most `max` */
};

/* How people write the value, in specs and in JSON. */
enum field_form {
    FORM_PLAIN,     /* a number, true or false, a text, a list */
    FORM_MILLI,     /* "500m" */
    FORM_BYTES,     /* "1Gi" */
    FORM_MS,        /* "10s" */
    FORM_NAME,      /* a text that is a name */
    FORM_MAP,       /* words "NAME=value" as an object */
    FORM_COMMAND,   /* words, or a text for /bin/sh -c */
    FORM_PRIORITY,  /* a number or the name of a band */
    FORM_REPLICAS,  /* a number or 'every-machine' */
    FORM_RESOURCES, /* an object of amounts, or several in order of preference */
    FORM_CONSTRAINTS,
    FORM_SPREAD, /* a list of spreads, each with a bound or a weight */
    FORM_TASK,   /* a uint64_t that is a task_id: job_id and idx in SQL */
    FORM_GPUS,   /* a bit mask of device numbers: a list of numbers in SQL */
    FORM_NAMES,  /* words that are names, none of them twice */
    FORM_ENV     /* words "NAME=value" as an object, NAME is a variable of the environment */
};

/* The effect of `borgctl update` on the running tasks of a job when it changes a field. */
enum field_effect {
    EFFECT_NONE,     /* they run on untouched */
    EFFECT_IN_PLACE, /* they run on with the new value where there is room, else they restart */
    EFFECT_RESTART,  /* they are stopped, as many at once as max_disruptions allows, and restart */
    EFFECT_FIXED     /* it cannot change the field: the job must be killed and submitted again */
};

enum field_flags {
    FIELD_NO_HASH = 1,   /* it is not in the hash of its record */
    FIELD_NO_SQL = 2,    /* it has no column */
    FIELD_DERIVED = 4,   /* its column is for readers; loading computes the value itself */
    FIELD_NULLABLE = 8,  /* the initial value is NULL in SQL */
    FIELD_KEY = 16,      /* it is in the primary key of its table */
    FIELD_FLAT = 32,     /* the columns of a record inside have no prefix */
    FIELD_FROM_ONE = 64, /* its column is one more, as people count */
    FIELD_NO_SPEC = 128, /* users cannot write it in a spec: it follows from others */
    FIELD_IN_ALLOC = 256 /* an alloc has it, too: "task.spread" is also "alloc.spread" */
};

struct record;
struct field {
    const char *name; /* in SQL, JSON and texts; of a spec its path, "task.restart" */
    enum field_type type;
    enum field_form form;
    uint8_t since;  /* the format that introduced it */
    uint8_t bit;    /* FIELD_FLAG */
    uint16_t flags; /* enum field_flags */
    enum field_effect effect;
    uint32_t offset, size; /* in the struct; size: of the member, or of an item of a list */
    uint32_t count_offset; /* of the number of items in use, FIELD_UNCOUNTED: all of an array */
    int64_t initial;       /* of numbers, bools and enums */
    int64_t min, max;      /* of numbers, when not both 0; of what has a length: at most `max` */
    const char *otherwise; /* specs: the default as one writes it; NULL: it is required */
    const struct record *record;
    const struct enumeration *choices;
    const char *doc; /* a sentence for people */
};
#define FIELD_UNCOUNTED UINT32_MAX

struct record {
    const char *name; /* "job spec" */
    const struct field *fields;
    uint32_t count;
    uint32_t size;      /* of the struct */
    uint32_t bytes_max; /* packed, at most; 0: as large as its fields may be */
    bool is_flat;       /* it owns no memory: walks that copy and release do not look into it */
    bool is_scalar; /* one field that stands for the whole: packed without a head, as list items */
    /* Is what was read consistent in itself? The mistake in a few words, or NULL. May be NULL. */
    const char *(*mistake)(const void *item);
};

/* A line of a table: the type follows from the member, so it cannot differ from the struct. */
#define FIELD_TYPE_OF(member) \
    _Generic((member), bool: FIELD_BOOL, uint16_t: FIELD_U16, uint32_t: FIELD_U32, \
             uint64_t: FIELD_U64, int32_t: FIELD_I32, int64_t: FIELD_I64, \
             struct words: FIELD_WORDS, char *: FIELD_STRING)
#define MEMBER(s, m) (((struct s *)0)->m)
#define FIELD_AT(s, m) .offset = offsetof(struct s, m), .size = sizeof MEMBER(s, m)
#define FIELD(s, m, text, ...) \
    { \
        .name = (text), .type = FIELD_TYPE_OF(MEMBER(s, m)), FIELD_AT(s, m), ##__VA_ARGS__ \
    }
#define FIELD_CHOICE(s, m, text, of, ...) \
    { \
        .name = (text), .type = FIELD_ENUM, .choices = &(of), FIELD_AT(s, m), ##__VA_ARGS__ \
    }
#define FIELD_CHARS(s, m, text, ...) \
    { \
        .name = (text), .type = FIELD_TEXT, FIELD_AT(s, m), .max = sizeof MEMBER(s, m) - 1, \
        ##__VA_ARGS__ \
    }
#define FIELD_STRUCT(s, m, text, of, ...) \
    { \
        .name = (text), .type = FIELD_RECORD, .record = &(of), FIELD_AT(s, m), ##__VA_ARGS__ \
    }
#define FIELD_ITEMS_AT(s, m) \
    .offset = offsetof(struct s, m), .size = sizeof MEMBER(s, m)[0], \
    .max = sizeof MEMBER(s, m) / sizeof MEMBER(s, m)[0]
/* An array in the struct; `n`: the member that counts the items in use. */
#define FIELD_ITEMS(s, m, text, n, of, ...) \
    { \
        .name = (text), .type = FIELD_ARRAY, .record = &(of), \
        .count_offset = offsetof(struct s, n), FIELD_ITEMS_AT(s, m), ##__VA_ARGS__ \
    }
/* An array in the struct without a count: items behind the last that is not initial are unused. */
#define FIELD_ALL_ITEMS(s, m, text, of, ...) \
    { \
        .name = (text), .type = FIELD_ARRAY, .record = &(of), .count_offset = FIELD_UNCOUNTED, \
        FIELD_ITEMS_AT(s, m), ##__VA_ARGS__ \
    }
/* A list on the heap of at most `most`. */
#define FIELD_HEAP(s, m, text, n, most, of, ...) \
    { \
        .name = (text), .type = FIELD_LIST, .record = &(of), \
        .count_offset = offsetof(struct s, n), .max = (most), .offset = offsetof(struct s, m), \
        .size = sizeof *MEMBER(s, m), ##__VA_ARGS__ \
    }
#define FIELD_BORROWED(s, m, text, n, most, ...) \
    { \
        .name = (text), .type = FIELD_BYTES, .count_offset = offsetof(struct s, n), .max = (most), \
        .offset = offsetof(struct s, m), ##__VA_ARGS__ \
    }
/* The record of a struct from an array of its lines. */
#define RECORD(s, text, table, ...) \
    { \
        .name = (text), .fields = (table), .count = ARRAY_SIZE(table), .size = sizeof(struct s), \
        ##__VA_ARGS__ \
    }

/* Items of lists that are plain numbers. */
extern const struct record record_u16, record_u32, record_u64, record_i64;

/* The value of a field of type bool, number, enum or flag, as 64 bits; and back. */
uint64_t field_number(const struct field *field, const void *item);
void field_set_number(const struct field *field, void *item, uint64_t value);
bool field_is_number(const struct field *field);
bool field_is_signed(const struct field *field);
/* The least and the largest value of a number: those of its line, else those its member can hold
 * (at most INT64_MAX). */
void field_bounds(const struct field *field, int64_t *ret_min, int64_t *ret_max);
/* ERR_INVALID unless the value of a number is within the bounds of its line; `given`: how it was
 * written, for the message; NULL: as field_number_print() prints it. */
int field_value_check(const struct field *field, int64_t value, const char *given,
                      struct err *err) MUST_USE;
/* A number, choice or bool as people write it: "500m", "1Gi", "10s", "best-fit", "true". */
void field_number_print(struct buf *to, const struct field *field, int64_t value);
/* The number of items of an array or list, words, or bytes in use. */
uint32_t field_count(const struct field *field, const void *item);
void field_set_count(const struct field *field, void *item, uint32_t count);
/* The first item of an array or list; items are `field->size` bytes apart. */
const void *field_items(const struct field *field, const void *item);
/* A text, never NULL. */
const char *field_text(const struct field *field, const void *item);
bool field_is_initial(const struct field *field, const void *item);
void field_set_initial(const struct field *field, void *item); /* overwrites without releasing */

/* Every field at its initial value, every other byte 0. */
void record_init(const struct record *record, void *item);
/* Is there a field that points to memory of its own? Else record_release() frees nothing. */
bool record_owns_memory(const struct record *record);
/* Free what the fields own; the item is all zero afterwards. */
void record_release(const struct record *record, void *item);
/* Copy all members, derived ones too, and give the copy what it owns; `to` is uninitialised. */
void record_copy(const struct record *record, void *to, const void *from);
/* Copy the numbers and texts that are stored for themselves (those that are not derived). */
void record_copy_stored(const struct record *record, void *to, const void *from);
bool record_equal(const struct record *record, const void *a, const void *b);
bool record_is_initial(const struct record *record, const void *item);
/* The sum of one term for each field that is not at its initial value; `salt` tells records of
 * different kinds apart. Stable for ever: digests of replicas are compared. */
uint64_t record_hash(const struct record *record, const void *item, uint64_t salt);
/* The oldest format that can carry the item: the largest `since` of a field that is not initial. */
unsigned record_format(const struct record *record, const void *item);
/* Are numbers, choices and lengths within their bounds? ERR_INVALID with the path of the first that
 * is not; `path` comes before the names, as in "task.restart". */
int record_check(const struct record *record, const void *item, const char *path,
                 struct err *err) MUST_USE;
/* "name=web priority=100": the fields that are not at their initial values. */
void record_text(struct buf *to, const struct record *record, const void *item);
/* One line of JSON with every field, numbers as numbers; an item of a scalar record is its value.
 */
void record_json(struct buf *to, const struct record *record, const void *item);
/* A text as a value of JSON: quoted and escaped, also where it is no UTF-8. */
void json_text_append(struct buf *to, const char *text);
void field_json(struct buf *to, const struct field *field, const void *item);
/* Call for each field in which two items differ. */
void record_compare(const struct record *record, const void *a, const void *b,
                    void (*differs)(void *data, const struct field *field), void *data);

#endif
