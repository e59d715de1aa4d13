/*
 * users.h - simulated users, who submit, update and kill jobs, drain machines, set quotas, and
 * read.
 *
 * Each has one call in progress at a time and behaves like borgctl (cli/client.c): it tries
 * replicas with a stagger, stays with the one that answered, repeats a command with the same
 * request id while that can help, and gives up after a while with an unknown outcome. All outcomes
 * are reported to the checkers.
 */
#ifndef SIM_USERS_H
#define SIM_USERS_H

#include "world.h"

enum { USERS_MAX = 8 };

/* Start users "u0", "u1", ... and root as the last. Every second one uses the name of user u0, so
 * that several users share jobs. */
void users_start(unsigned count);
unsigned users_count(void);
struct node *user_node(unsigned i);
/* Set the mean pause between two calls. Default 2 s. */
void users_set_pause(uint64_t ms);
/* Users complete their calls and start no new ones. */
void users_rest(void);
bool users_idle(void);

struct users_stats {
    uint64_t accepted;    /* commands */
    uint64_t refused;     /* by the cell */
    uint64_t repeated;    /* attempts beyond the first */
    uint64_t unknown;     /* given up, may have taken effect */
    uint64_t unavailable; /* given up without effect; also reads */
    uint64_t reads;
};
struct users_stats users_stats(void);

#endif
