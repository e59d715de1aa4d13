/*
 * clock.c - time and randomness from the kernel.
 */
#include "clock.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

static uint64_t clock_us(clockid_t id)
{
    struct timespec now;
    if (clock_gettime(id, &now) != 0)
        PANIC("clock_gettime(%d): %s", (int)id, strerror(errno));
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t clock_wall_ms(void)
{
    return clock_us(CLOCK_REALTIME) / 1000;
}

uint64_t clock_mono_ms(void)
{
    return clock_us(CLOCK_MONOTONIC) / 1000;
}

uint64_t clock_mono_us(void)
{
    return clock_us(CLOCK_MONOTONIC);
}

void random_id(uint64_t ret_id[2])
{
    do {
        ssize_t n = getrandom(ret_id, 2 * sizeof *ret_id, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n != 2 * (ssize_t)sizeof *ret_id)
            PANIC("getrandom: %s", n < 0 ? strerror(errno) : "too few bytes");
    } while (ret_id[0] == 0 || ret_id[1] == 0);
}
