/*
 * conductor.h - the state of one run, and blocking calls that keep the main loop running.
 */
#ifndef CHAOS_CONDUCTOR_H
#define CHAOS_CONDUCTOR_H

#include "faults.h"
#include "users.h"

struct conductor;

/* The last status of a replica. */
struct watched {
    struct conductor *conductor;
    size_t replica;
    bool is_asking;
    bool is_known;
    struct wire_status status;
};

/* Time without an acknowledged write while a majority was connected. */
struct gap {
    uint64_t since_ms; /* 0: no majority is connected */
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
    pid_t borgctl; /* the process to wait for; 0: none, or it has ended */
    int borgctl_status;
    uint64_t replaced;    /* replicas */
    uint64_t downs;       /* machines that were declared down */
    uint64_t false_downs; /* machines without a fault of their own in that phase */
    int64_t event_seq;    /* events up to this one have been counted */
    uint64_t violations;
    uint64_t exits; /* of masters whose disk was full */
};

/* Report a violated invariant: it is printed and counted, and the run continues. */
void conductor_violation(struct conductor *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
static inline uint64_t conductor_now_ms(const struct conductor *c)
{
    return uv_hrtime() / 1000000 - c->started_ms;
}

/* Start everything. The sandbox has been entered; the crew is described but not made. */
int conductor_start(struct conductor *c, uint64_t seed, struct err *err) MUST_USE;
/* Inject the faults of a plan. */
void conductor_play(struct conductor *c, const struct fault *plan, size_t count);
/* Run one turn of the loop. */
void conductor_turn(struct conductor *c);
/* Call a replica and wait for its answer. */
int conductor_call(struct conductor *c, size_t replica, uint32_t method, const struct buf *body,
                   struct buf *ret, struct err *err) MUST_USE;
/* Query a replica; the caller releases the rows. */
int conductor_query(struct conductor *c, size_t replica, const char *sql, struct wire_rows *ret,
                    struct err *err) MUST_USE;

#endif
