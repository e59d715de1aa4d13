/*
 * users.h - simulated users who work during the faults.
 *
 * Users of names create, update (the priority is the value) and kill jobs that fit nowhere, and
 * read them from any replica; history.h checks their observations. One more user submits and kills
 * jobs that really run, and remembers acknowledged commands.
 */
#ifndef CHAOS_USERS_H
#define CHAOS_USERS_H

#include "history.h"
#include "lines.h"

enum {
    USERS = 8,       /* users of names */
    USERS_NAMES = 5, /* concurrently used names */
    USERS_JOBS = 8,  /* concurrently running jobs */
    USERS_SQL_MAX = 128
};

enum job_work {
    WORK_STEADY, /* runs until killed */
    WORK_SHAKY,  /* fails twice before it runs */
    WORK_SHORT,  /* ends by itself */
    WORK_COUNT
};

/* The knowledge of the user about a running job. */
struct job_known {
    uint32_t number; /* named "work-N" */
    enum job_work work;
    uint32_t replicas;
    enum linear_outcome submitted;
    bool is_submitting, is_killing; /* a call is in progress */
    bool was_told_to_end;           /* a kill was sent, with any outcome */
    enum linear_outcome killed;     /* outcome of the kill */
};

struct user;

struct users {
    struct lines *lines;
    uint64_t random;
    uint64_t started_us;
    bool is_open; /* new operations may start */
    uint32_t busy;
    struct user *users;
    struct {
        uint32_t key, operations, unknown;
    } names[USERS_NAMES];
    uint32_t next_key;
    struct history history;
    uint64_t index_max; /* the highest acknowledged index of a write */
    struct job_known *jobs;
    size_t job_count, job_capacity;
    uint64_t last_write_ms; /* time of the last acknowledged write */
    uint64_t writes, refused, unknown, failed, reads, reads_failed;
    char broken[512]; /* description of an invalid answer; "": none */
};

void users_start(struct users *u, struct lines *lines, uint64_t seed);
/* Start no new operations; busy becomes 0 when all have been answered or given up. */
void users_pause(struct users *u);
void users_resume(struct users *u);
/* Format the query for a name's value: no row if there is no such job. */
void users_name_sql(uint32_t key, char ret[USERS_SQL_MAX]);

#endif
