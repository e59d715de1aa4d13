/*
 * whereabouts.h - at which values of an attribute the live tasks of a job are.
 *
 * Three rules of placement need this: `max` of a spread, near and apart (constraint.h), and the
 * rule that a job which keeps itself apart from another one also keeps that one away (job_binds()).
 * The counts are derived from the rows: computed on load, kept by task_set(), checked by
 * cell_check(), and no part of the digest. Tasks told to stop count until they are gone. A machine
 * without the attribute has the value "".
 *
 * Only what live jobs ask about is counted, so jobs that nobody asks about cost one comparison with
 * NULL for each task that starts or ends. For the others:
 *
 * - A task that starts or ends costs one look-up for each attribute of its machine, at most
 *   MACHINE_ATTRIBUTES_MAX + 1, however many jobs ask about its job.
 * - A placement costs one look-up for each spread and each near and apart of its job, and one for
 *   each job that keeps it away: at most APART_JOBS_MAX for each user.
 * - A submission counts the tasks of the jobs it names, unless somebody asked the same before. It
 *   does so in pieces (asks_count()).
 */
#ifndef CELL_WHEREABOUTS_H
#define CELL_WHEREABOUTS_H

#include "cell.h"

/* The live tasks of a job by value of one attribute. */
struct tally {
    struct list link; /* in whereabouts.tallies */
    struct whereabouts *of;
    char by[CELL_NAME_MAX + 1];
    uint32_t users;   /* jobs and keepers that ask for it */
    uint32_t counted; /* tasks before this index are counted; TALLY_WHOLE: all are */
    uint32_t with;    /* tasks on machines that have the attribute: the sum of the values */
    struct namemap values;
    struct list counts; /* the same, by value_count.link */
};
enum { TALLY_WHOLE = UINT32_MAX };

/* A job as others name it: it need not exist. */
struct whereabouts {
    char name[CELL_NAME_MAX + 1];
    uint32_t users;  /* tallies and keepers */
    struct job *job; /* the newest of this name, or NULL */
    uint32_t live;   /* its live tasks */
    struct list tallies;
    struct namemap tallies_by_attribute;
    struct list keepers; /* the jobs that keep themselves apart from it, by apart.link */
};

struct apart {
    struct list link;
    const struct job *by;
    struct tally *where; /* its own tasks */
    struct whereabouts *kept;
};

/* What a live job asks about. */
struct asks {
    struct tally *spreads[SPEC_SPREADS_MAX];     /* its own tasks; NULL where there is no max */
    struct tally *companies[SPEC_COMPANIES_MAX]; /* of the near and apart of hard clauses */
    uint32_t company_count;
    struct apart keepers[SPEC_COMPANIES_MAX];
    uint32_t keeper_count;
};

/* The tasks of the tally at the machine's value. */
uint32_t tally_at(const struct tally *tally, const struct machine *machine);

/*
 * A trial: tasks of a job that are not placed, counted as if they were (why.c asks where the rest
 * of a gang would fit). It counts what the job asks about itself; the caller releases it.
 */
struct whereabouts *trial_new(const struct job *job);
void trial_free(struct whereabouts *trial); /* NULL is fine */
void trial_place(struct whereabouts *trial, const struct machine *machine);
/* The tasks of the tally at the machine's value, and those of the trial (NULL: none); and all. */
uint32_t tally_trial_at(const struct tally *tally, const struct whereabouts *trial,
                        const struct machine *machine);
uint32_t tally_trial_live(const struct tally *tally, const struct whereabouts *trial);

#endif
