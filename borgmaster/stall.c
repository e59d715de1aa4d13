/*
 * stall.c - logs when the loop was blocked.
 */
#include "stall.h"

#include "base.h"
#include "log.h"

#include <stdlib.h>
#include <time.h>

enum { NS_PER_MS = 1000000 };

struct stall {
    uv_prepare_t prepare;
    uint64_t at_ns, idle_ns, cpu_ns; /* at the begin of this turn */
    uint64_t said_ns;
    unsigned also; /* such turns since the last line that were not logged */
};

static uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000 * NS_PER_MS + (uint64_t)t.tv_nsec;
}

static void say(struct stall *s, uint64_t now_ns, uint64_t busy_ns, uint64_t cpu)
{
    if (s->said_ns != 0 && now_ns - s->said_ns < (uint64_t)STALL_SAY_MS * NS_PER_MS) {
        s->also++;
        return;
    }
    log_warn("loop.stalled ms=%" PRIu64 " cpu_ms=%" PRIu64 " also=%u", busy_ns / NS_PER_MS,
             cpu / NS_PER_MS, s->also);
    s->said_ns = now_ns;
    s->also = 0;
}

/* Runs once in a turn, before the loop waits. The time since the last call that the loop did not
 * spend waiting is work. */
static void on_prepare(uv_prepare_t *prepare)
{
    struct stall *s = prepare->data;
    uint64_t now_ns = uv_hrtime(), idle_ns = uv_metrics_idle_time(prepare->loop), cpu = cpu_ns();
    uint64_t busy_ns = now_ns - s->at_ns - MIN(idle_ns - s->idle_ns, now_ns - s->at_ns);
    if (s->at_ns != 0 && busy_ns >= (uint64_t)STALL_MS * NS_PER_MS)
        say(s, now_ns, busy_ns, cpu - s->cpu_ns);
    s->at_ns = now_ns;
    s->idle_ns = idle_ns;
    s->cpu_ns = cpu;
}

void stall_watch(uv_loop_t *loop)
{
    struct stall *s = xcalloc(1, sizeof *s);
    int rc = uv_loop_configure(loop, UV_METRICS_IDLE_TIME);
    ASSERT(rc == 0);
    uv_prepare_init(loop, &s->prepare);
    s->prepare.data = s;
    uv_prepare_start(&s->prepare, on_prepare);
}
