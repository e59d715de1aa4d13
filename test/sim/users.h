/*
 * users.h - people at their desks: they submit, update and kill jobs, drain machines, set quotas,
 * and read.
 *
 * Each has one thing under way at a time, and goes about it as borgctl does (cli/client.c): tries
 * replicas a little apart, keeps to the one that answered, repeats a command under the same request
 * id while that can help, gives up after a while without knowing. What became of each is told to
 * the checkers.
 */
#ifndef SIM_USERS_H
#define SIM_USERS_H

#include "world.h"

enum { USERS_MAX = 8 };

/* Desks "u0", "u1", ... and, the last, that of root. Every other one works under the name of user
 * u0, so that several have the same jobs. */
void users_start(unsigned count);
unsigned users_count(void);
struct node *user_node(unsigned i);
/* Who waits in vain between two things: the mean. Default 2 s. */
void users_set_pause(uint64_t ms);
/* They finish what they have begun, and begin nothing new. */
void users_rest(void);
bool users_idle(void);

struct users_stats {
    uint64_t accepted;    /* commands */
    uint64_t refused;     /* by the cell */
    uint64_t repeated;    /* attempts beyond the first */
    uint64_t unknown;     /* given up, may have happened */
    uint64_t unavailable; /* given up, has not happened; reads too */
    uint64_t reads;
};
struct users_stats users_stats(void);

#endif
