/*
 * breaks.h - faults injected into the product, each of which a checker must detect.
 *
 * `sim --break NAME` leaves the product's objects unchanged and intercepts calls between two of its
 * parts (the linker's --wrap), or switches off a rule of the guard. A checker that never failed
 * proves nothing: test/unit/test_sim_breaks runs each fault until it is detected.
 */
#ifndef SIM_BREAKS_H
#define SIM_BREAKS_H

#include "base.h"

/* Name, description, the checker that detects it first, the number of seeds to try at most. */
#define BREAKS(X) \
    X(EARLY_ANSWER, "early-answer", "commands are answered before they are committed", "lost", 1) \
    X(FORGET_REQUESTS, "forget-requests", "replicas forget which requests they have applied", \
      "once", 5) \
    X(STALE_READ, "stale-read", "fresh reads are served like any other read", "fresh", 5) \
    X(LYING_READ, "lying-read", "reads name a later index than they show", "read", 5) \
    X(OLD_REGISTER, "old-register", "reads of some jobs are old but name a later index", "linear", \
      40) \
    X(OTHER_COMMAND, "other-command", "one replica applies another command", "history", 5) \
    X(EARLY_WRITE, "early-write", "writes of the log are reported as done when they start", \
      "quorum", 1) \
    X(FORGET_VOTES, "forget-votes", "replicas forget their votes", "term", 20) \
    X(DIVERGE, "diverge", "one replica computes back-offs differently", "digest", 5) \
    X(INDEX_ORDER, "index-order", "borglets obey shards that have an old cell", "stale", 40) \
    X(DEAF_BORGLET, "deaf-borglet", "borglets do not stop tasks", "zombie", 5) \
    X(KEEP_OLD, "keep-old", "borglets continue attempts that were rescheduled", "double", 20) \
    X(MUTE_BORGLET, "mute-borglet", "borglets do not report the end of tasks", "ghost", 5) \
    X(DEAF_LEADER, "deaf-leader", "the leader does not hear from some machines", "silent", 5) \
    X(LAZY_SCHEDULER, "lazy-scheduler", "some decisions of the scheduler are dropped", "rest", 5)

enum break_kind {
    BREAK_NONE,
#define X(id, name, what, checker, seeds) BREAK_##id,
    BREAKS(X)
#undef X
        BREAK_COUNT
};

struct break_info {
    const char *name;
    const char *what;
    const char *checker;
    unsigned seeds;
};
const struct break_info *break_info(enum break_kind kind); /* not for NONE */
/* Return the fault with this name; BREAK_NONE if there is none. */
enum break_kind break_parse(const char *name);

/* Select the fault; call it before the world starts. */
void break_set(enum break_kind kind);
bool broken(enum break_kind kind);

#endif
