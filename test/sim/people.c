/*
 * people.c - start and stop machines, users and checkers in order.
 */
#include "people.h"

#include "borglets.h"
#include "checks.h"
#include "history.h"
#include "users.h"

#include <stdio.h>

enum { USERS_END_MS = 120000 };

void people_start(void)
{
    static const uint64_t pauses_ms[] = {500, 2000, 2000, 5000};
    checks_start();
    users_set_pause(pauses_ms[world_random(ARRAY_SIZE(pauses_ms))]);
    borglets_start(PEOPLE_MACHINES);
    users_start(PEOPLE_USERS);
}

static bool idle(void *data)
{
    (void)data;
    return users_idle();
}

void people_rest(void)
{
    for (unsigned i = 0; i < borglets_count(); i++)
        if (!node_up(borglet_node(i)))
            node_restart(borglet_node(i));
    users_rest();
    borglets_settle();
    checks_rest();
    if (!world_run_until(idle, NULL, USERS_END_MS))
        checks_broken("rest", "a user still waits %d ms after all faults ended", USERS_END_MS);
    checks_end();
}

void people_tell(void)
{
    struct users_stats stats = users_stats();
    printf("%zu commands applied; users: %" PRIu64 " accepted, %" PRIu64 " refused, %" PRIu64
           " attempts repeated, %" PRIu64 " outcomes unknown, %" PRIu64 " unavailable, %" PRIu64
           " reads\n",
           history_count(), stats.accepted, stats.refused, stats.repeated, stats.unknown,
           stats.unavailable, stats.reads);
}
