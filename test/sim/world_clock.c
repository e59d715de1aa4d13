/*
 * world_clock.c - clocks and random numbers of the node that runs now.
 */
#include "world_impl.h"

#include "clock.h"

enum { WALL_BASE_S = 1700000000 }; /* the start of the world */

uint64_t clock_mono_us(void)
{
    struct node *n = world_current();
    return n != NULL ? node_mono_us(n) : the_world_now_us;
}

uint64_t clock_mono_ms(void)
{
    return clock_mono_us() / 1000;
}

uint64_t clock_wall_ms(void)
{
    struct node *n = world_current();
    int64_t ahead_ms = n != NULL ? n->clock_ahead_ms : 0;
    return (uint64_t)((int64_t)(WALL_BASE_S * UINT64_C(1000) + the_world_now_us / 1000) + ahead_ms);
}

void random_id(uint64_t ret_id[2])
{
    struct node *n = world_current();
    ASSERT(n != NULL);
    for (int i = 0; i < 2; i++)
        do
            ret_id[i] = random_from(&n->random_state);
        while (ret_id[i] == 0);
}
