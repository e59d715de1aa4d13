/*
 * members_next.h - decides the next step from the members of the log to the members of the cell.
 *
 * Pure: the leader looks, takes one step, and looks again when it is done, so a change of leader in
 * between loses nothing. A replica that answers is replaced by adding the new one first. One that
 * does not answer is removed first, because it counts against the quorum.
 */
#ifndef BORGMASTER_MEMBERS_NEXT_H
#define BORGMASTER_MEMBERS_NEXT_H

#include "cmd.h"
#include "raftlog.h"

enum {
    MEMBERS_SILENT_MS = 1000, /* a replica that has not answered for so long is down */
    MEMBERS_BEHIND_MAX = 256, /* a replica further behind has not caught up */
};

struct members_seen {
    const struct masters *wanted;
    const struct raftlog_peer *peers; /* as the leader sees them, including itself */
    size_t peer_count;
    uint64_t self;
    uint64_t last_index; /* of the leader's log */
    /* A replica answers if it has stored this entry, which was written after the round began;
     * otherwise a replica that has just died would seem to be there. 0: there was no round. */
    uint64_t asked_index;
};

enum members_action {
    MEMBERS_DONE,     /* nothing is to be done */
    MEMBERS_WAIT,     /* `why` says what it waits for */
    MEMBERS_CHANGE,   /* change the log: raftlog_member(id, address, part) */
    MEMBERS_PROPOSE,  /* propose `command` */
    MEMBERS_TRANSFER, /* this replica leaves: another one must lead */
};

struct members_step {
    enum members_action action;
    uint64_t id;
    const char *address; /* borrowed from `wanted` */
    enum raftlog_part part;
    struct cmd_master_step command;
    char why[192];
};

/* Returns whether all members that seemed up have stored `asked_index`. */
bool members_all_answered(const struct members_seen *seen);

struct members_step members_next(const struct members_seen *seen);

/* Check that the log keeps its quorum while the change is carried out; the error is the reason to
 * refuse it. Called after a round (asked_index) and before the command is proposed, since the cell
 * does not know which replicas answer. */
int members_may_add(const struct members_seen *seen, uint64_t replaces, struct err *err) MUST_USE;
int members_may_remove(const struct members_seen *seen, uint64_t id, struct err *err) MUST_USE;

#endif
