/*
 * users.h - people at work while the cell suffers.
 *
 * Some play with names: jobs that fit nowhere, created, updated (their priority is the value),
 * killed and read through any replica; history.h judges what they saw. One submits and kills jobs
 * that really run, and remembers what was acknowledged.
 */
#ifndef CHAOS_USERS_H
#define CHAOS_USERS_H

#include "history.h"
#include "lines.h"

enum {
    USERS = 8,       /* that play with names */
    USERS_NAMES = 5, /* at a time */
    USERS_JOBS = 8,  /* that run, at a time */
    USERS_SQL_MAX = 128
};

enum job_work {
    WORK_STEADY, /* runs until killed */
    WORK_SHAKY,  /* fails twice first */
    WORK_SHORT,  /* ends by itself */
    WORK_COUNT
};

/* What a user knows of a job that runs. */
struct job_known {
    uint32_t number; /* named "work-N" */
    enum job_work work;
    uint32_t replicas;
    enum linear_outcome submitted;
    bool is_submitting, is_killing; /* under way */
    bool was_told_to_end;           /* a kill was sent, whatever became of it */
    enum linear_outcome killed;     /* of that */
};

struct user;

struct users {
    struct lines *lines;
    uint64_t random;
    uint64_t started_us;
    bool is_open; /* new operations are begun */
    uint32_t busy;
    struct user *users;
    struct {
        uint32_t key, operations, unknown;
    } names[USERS_NAMES];
    uint32_t next_key;
    struct history history;
    uint64_t index_max; /* that anybody was told of a write */
    struct job_known *jobs;
    size_t job_count, job_capacity;
    uint64_t last_write_ms; /* when one was acknowledged */
    uint64_t writes, refused, unknown, failed, reads, reads_failed;
    char broken[512]; /* an answer that must never be given; "": none */
};

void users_start(struct users *u, struct lines *lines, uint64_t seed);
/* Nothing new is begun; busy becomes 0 when all have their answers or have given up. */
void users_pause(struct users *u);
void users_resume(struct users *u);
/* What reads a name's value: no row when there is no such job. */
void users_name_sql(uint32_t key, char ret[USERS_SQL_MAX]);

#endif
