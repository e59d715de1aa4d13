/*
 * loss.h - how fast machines that fell silent are declared down, and when the cell holds still.
 *
 * A machine or two that die are replaced at once. Of many only so many a second are: each takes
 * its tasks along, and what looks dead in such numbers is often a switch. When a large share is
 * silent at the same time the cell holds still, declares nobody down and says so, until the
 * machines are back (all, or most and the stragglers have had their time), an operator says go on
 * (borgctl cell release), or LOSS_HOLD_MS have passed. Borg paper, section 4: "it limits the rate
 * at which tasks on unreachable machines are rescheduled, because it cannot distinguish a failure
 * from a network partition".
 */
#ifndef CELL_LOSS_H
#define CELL_LOSS_H

#include "cell.h"

enum {
    LOSS_BURST_MIN = 10, /* so many at once, or 1 in LOSS_BURST_PART of the cell's */
    LOSS_BURST_PART = 100,
    LOSS_SECOND_PART = 1000, /* then 1 a second, or 1 in this */
    LOSS_HOLD_MIN = 5,       /* fewer silent ones never make the cell hold still */
    LOSS_HOLD_PART = 4,      /* more than 1 in this do */
    LOSS_HOLD_MS = 300000,
};

/* What a leader remembers of it; all zero when its leadership begins. */
struct loss {
    uint64_t started_ms;    /* when it was asked first */
    uint64_t refilled_ms;   /* when the bucket was last filled up */
    uint64_t tokens;        /* thousandths of machines that may be declared down */
    uint64_t held_since_ms; /* 0: the cell does not hold still */
    uint64_t calm_since_ms; /* it does, and few are quiet since then; 0: many are */
};

/* Of the machines that are up in the cell. */
struct loss_seen {
    uint32_t machines;
    uint32_t quiet;  /* not heard for half the time after which a machine is silent */
    uint32_t silent; /* not heard for all of it */
};

/* In which state the cell should be that is in `now`. It takes `settle_ms` of silence to know
 * that a machine is silent: so long does a new leader listen, and a cell wait for the stragglers
 * when most of a large loss are back. */
enum hold loss_hold(struct loss *loss, enum hold now, const struct loss_seen *seen,
                    uint64_t mono_ms, uint64_t settle_ms);
/* How many of the silent ones may be declared down now; loss_spend() those that are. */
uint32_t loss_allow(struct loss *loss, enum hold hold, const struct loss_seen *seen,
                    uint64_t mono_ms);
void loss_spend(struct loss *loss, uint32_t machines);

#endif
