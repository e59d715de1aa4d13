/*
 * breaks.h - ways to break the product, each of which some checker has to notice.
 *
 * `sim --break NAME` leaves the product as it is and puts a lie between two of its parts (the
 * linker's --wrap), or switches off a rule of the guard. A checker that has never been seen to fail
 * proves nothing: test/unit/test_sim_breaks runs each of them until it is found.
 */
#ifndef SIM_BREAKS_H
#define SIM_BREAKS_H

#include "base.h"

/* Name, what is broken, the checker that notices it first, seeds that are tried at most. */
#define BREAKS(X) \
    X(EARLY_ANSWER, "early-answer", "commands are answered before they are committed", "lost", 1) \
    X(FORGET_REQUESTS, "forget-requests", "nobody remembers which requests were applied", "once", \
      5) \
    X(STALE_READ, "stale-read", "fresh reads are served as any other", "fresh", 5) \
    X(LYING_READ, "lying-read", "reads name a later index than they show", "read", 5) \
    X(OLD_REGISTER, "old-register", "reads of some jobs are old, and name a later index", \
      "linear", 40) \
    X(OTHER_COMMAND, "other-command", "one replica applies another command", "history", 5) \
    X(EARLY_WRITE, "early-write", "writes of the log are said to be done when they begin", \
      "quorum", 1) \
    X(FORGET_VOTES, "forget-votes", "nobody remembers whom he voted for", "term", 20) \
    X(DIVERGE, "diverge", "one replica computes back-offs in its own way", "digest", 5) \
    X(INDEX_ORDER, "index-order", "shards with old cells drive borglets, which obey", "stale", 40) \
    X(DEAF_BORGLET, "deaf-borglet", "borglets do not stop tasks", "zombie", 5) \
    X(KEEP_OLD, "keep-old", "borglets go on with what runs elsewhere by now", "double", 20) \
    X(MUTE_BORGLET, "mute-borglet", "borglets do not tell how tasks end", "ghost", 5) \
    X(DEAF_LEADER, "deaf-leader", "the leader does not hear of some machines", "silent", 5) \
    X(LAZY_SCHEDULER, "lazy-scheduler", "some decisions never leave the scheduler", "rest", 5)

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
const struct break_info *break_info(enum break_kind kind); /* not of NONE */
/* The one of this name; BREAK_NONE: there is none. */
enum break_kind break_parse(const char *name);

/* From now on; before the world begins. */
void break_set(enum break_kind kind);
bool broken(enum break_kind kind);

#endif
