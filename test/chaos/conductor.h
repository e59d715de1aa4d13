/*
 * conductor.h - everything of one run, and blocking calls during which the rest goes on.
 */
#ifndef CHAOS_CONDUCTOR_H
#define CHAOS_CONDUCTOR_H

#include "faults.h"
#include "users.h"

struct conductor;

/* What a replica said of itself last. */
struct watched {
    struct conductor *conductor;
    size_t replica;
    bool is_asking;
    bool is_known;
    struct wire_status status;
};

/* How long nothing was written although a majority could talk. */
struct gap {
    uint64_t since_ms; /* 0: it cannot */
    uint64_t worst_ms, worst_at_ms;
};

struct conductor {
    uv_loop_t loop;
    uv_timer_t tick, watch;
    uv_signal_t sigchld;
    uint64_t started_ms;
    const char *dir;
    struct net net;
    struct crew crew;
    struct faults faults;
    struct lines lines;
    struct users users;
    struct watched watched[CREW_MASTERS];
    struct gap well, poor;
    const struct fault *plan; /* of the present phase */
    size_t plan_count, plan_next;
    uint64_t plan_started_ms;
    uint64_t last_begun_ms;
    pid_t borgctl; /* that is waited for; 0: none, or it has ended */
    int borgctl_status;
    uint64_t replaced;    /* replicas */
    uint64_t downs;       /* machines that were declared down */
    uint64_t false_downs; /* of these the ones that had no fault of their own in that phase */
    int64_t event_seq;    /* up to which that was counted */
    uint64_t violations;
    uint64_t exits; /* of masters whose disk was full */
};

/* Something that must never be. Printed, counted; the run goes on. */
void conductor_violation(struct conductor *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
static inline uint64_t conductor_now_ms(const struct conductor *c)
{
    return uv_hrtime() / 1000000 - c->started_ms;
}

/* Sandbox is entered; the crew is described but not made. Everything starts. */
int conductor_start(struct conductor *c, uint64_t seed, struct err *err) MUST_USE;
/* Let the faults of a plan happen. */
void conductor_play(struct conductor *c, const struct fault *plan, size_t count);
/* One turn of the loop. */
void conductor_turn(struct conductor *c);
/* A call and its answer. */
int conductor_call(struct conductor *c, size_t replica, uint32_t method, const struct buf *body,
                   struct buf *ret, struct err *err) MUST_USE;
/* The caller releases the rows. */
int conductor_query(struct conductor *c, size_t replica, const char *sql, struct wire_rows *ret,
                    struct err *err) MUST_USE;

#endif
