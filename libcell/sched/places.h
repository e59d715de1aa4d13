/*
 * places.h - what jobs ask of machines beside room: constraints, spreads, company. For places.c and
 * presence.c also what they share: values of attributes, and who lives at them.
 */
#ifndef CELL_PLACES_H
#define CELL_PLACES_H

#include "view.h"

/* A value of an attribute, and the machines that have it: a ring. */
struct axis_value {
    uint32_t number;
    uint32_t machine_count;
    uint32_t first; /* machine, when there are some */
    char text[ATTRIBUTE_VALUE_MAX + 1];
};

/* The values of an attribute over the machines, as numbers: one for all who ask for it. */
struct axis {
    struct list link; /* in view.axes */
    char by[CELL_NAME_MAX + 1];
    uint32_t users;
    uint32_t *value;       /* per machine; number 0 is "", for machines that lack the attribute */
    uint32_t *next, *prev; /* per machine: in the ring of its value */
    struct namemap numbers;
    struct axis_value **values; /* by number; none when it is by machine: that is its own number */
    uint32_t value_count;
};
struct axis *axis_get(struct view *view, const char *by);
void axis_put(struct axis *axis);
bool axis_is_by_machine(const struct axis *axis);

/* A job as others mean it, by name: it need not exist. */
struct crowd {
    char name[CELL_NAME_MAX + 1];
    uint32_t users;
    struct view_job *job;  /* of this name; NULL: there is none */
    struct list presences; /* where its tasks are, for each attribute that is asked for */
    struct list keepers;   /* who keeps it away */
};

/* How many live tasks of a job are at each value of an axis: one for all who ask. */
struct presence {
    struct list link; /* in crowd.presences */
    struct crowd *of;
    struct axis *axis;
    uint32_t users;
    uint32_t total;
    uint64_t begun, ended; /* how often the first came to a value, and the last left one */
    /* By value: the first ones in an array, for racks and zones are asked for at every machine;
     * those of machines, and beyond, in a map, by value + 1: many jobs lie at a few of many. */
    uint32_t *few;
    uint32_t few_count;
    struct idmap many;
    struct list watches; /* of those for whom hard clauses ask */
};

/* A job to be looked at again when a presence begins (near) or ends (apart) at some value. */
struct watch {
    struct list link; /* in presence.watches */
    struct crowd *who;
    enum term_op op;
};

/* A job that keeps another away from where its own tasks are. */
struct keeper {
    struct list link;          /* in crowd.keepers of the other one */
    struct presence *presence; /* its own */
    struct watch watch;        /* for the other one */
};

struct company_term {
    struct presence *presence;
    enum term_op op; /* near or apart */
};

/* A clause that has terms about company. */
struct company {
    uint32_t at; /* its number among the clauses */
    uint32_t weight;
    uint64_t *alone; /* a bit per machine: another term holds there */
    struct company_term *terms;
    uint32_t term_count;
};

/* places.c: what jobs ask of machines beside room. */
void places_grow(struct view *view, uint32_t old_capacity, uint32_t capacity);
/* The facts of the machine changed: judge it anew. */
void places_machine(struct view *view, uint32_t machine);
void places_add(struct view *view, struct view_job *job, const struct job_spec *spec);
void places_remove(struct view *view, struct view_job *job);
/* Count a live task of the job in (+1) or out (-1). */
void places_count(struct view *view, struct view_job *job, uint32_t machine, int change);
/* Does the machine meet its hard constraints, has its value room under each max, and does no other
 * job keep this one away? */
bool places_allow(const struct view_job *job, uint32_t machine);
/* Differs when other machines than those that changed may have become better for a job that is not
 * plain (choose.h), or allowed. */
uint64_t places_eased(const struct view_job *job);
/* The first hard constraint that the machine fails, or their number. */
uint32_t places_failing(const struct view_job *job, uint32_t machine);
/* The first spread of which the machine's value is full, or their number. */
uint32_t places_full(const struct view_job *job, uint32_t machine);
/* The next machine from `machine` on that meets the hard constraints, those about company aside; at
 * least `end`: none. */
uint32_t places_next(const struct view_job *job, uint32_t machine, uint32_t end);
/* Wishes that choosing this machine leaves open, in weights: of soft constraints, of spreads. */
int64_t places_constraint_cost(const struct view_job *job, uint32_t machine);
int64_t places_spread_cost(const struct view_job *job, uint32_t machine);

/* presence.c: what the company of other jobs has to say; places_allow() asks. */
/* While view.trying was set a task of the job was placed there, for good: wake whom that helps. */
void presence_tell(struct view *view, const struct view_job *job, uint32_t machine);
bool presence_allows(const struct view_job *job, uint32_t machine);
/* The name of a job that keeps this one away from there, or NULL. */
const char *presence_keeper(const struct view_job *job, uint32_t machine);

void presence_add(struct view *view, struct view_job *job, const struct job_spec *spec);
void presence_remove(struct view *view, struct view_job *job);
/* Count a live task of the job in (+1) or out (-1), and wake whom that helps. */
void presence_count(struct view *view, const struct view_job *job, uint32_t machine, int change);
/* All machines near enough for a hard clause of the job, if one is found that leaves at most `max`
 * of them: all that are allowed, and others. */
bool presence_few(const struct view_job *job, uint32_t max, uint32_t *ret_machines,
                  uint32_t *ret_count);
/* Grows when that may have become better for the job somewhere. */
uint64_t presence_eased(const struct view_job *job);
void company_init(struct view *view, struct company *company, const struct clause *clause);
void company_release(struct view *view, struct company *company);
/* Does it hold for this job, which means: was near itself, it may begin anywhere? */
bool company_holds(const struct company *company, const struct view_job *job, uint32_t machine);

enum { WORD_BITS = 64 };
static inline bool bit_get(const uint64_t *bits, uint32_t machine)
{
    return (bits[machine / WORD_BITS] >> machine % WORD_BITS & 1) != 0;
}

static inline void bit_set(uint64_t *bits, uint32_t machine, bool on)
{
    uint64_t bit = UINT64_C(1) << machine % WORD_BITS;
    bits[machine / WORD_BITS] &= ~bit;
    bits[machine / WORD_BITS] |= on ? bit : 0;
}

#endif
