/*
 * members_next.h - the next step from the members that the log has to those that the cell wants.
 *
 * Pure: the leader looks, takes one step, and looks again when it is done, so a change of leader in
 * the middle loses nothing. A replica that answers is replaced by adding the new one first; one
 * that does not is removed first, for it counts against the quorum and helps nobody.
 */
#ifndef BORGMASTER_MEMBERS_NEXT_H
#define BORGMASTER_MEMBERS_NEXT_H

#include "cmd.h"
#include "raftlog.h"

enum {
    MEMBERS_SILENT_MS = 1000, /* a replica that has not answered for so long is down */
    MEMBERS_BEHIND_MAX = 256, /* entries behind which it has not caught up */
};

struct members_seen {
    const struct masters *wanted;
    const struct raftlog_peer *peers; /* as the leader sees them, itself included */
    size_t peer_count;
    uint64_t self;
    uint64_t last_index; /* of the leader's log */
    /* Only who has stored this entry answers: it was written after the question was asked. A
     * replica that died a moment ago would seem to be there otherwise. 0: no question was asked. */
    uint64_t asked_index;
};

enum members_action {
    MEMBERS_DONE,     /* nothing to do */
    MEMBERS_WAIT,     /* `why` says what for */
    MEMBERS_CHANGE,   /* the log: raftlog_member(id, address, part) */
    MEMBERS_TELL,     /* the cell: `tell` */
    MEMBERS_TRANSFER, /* we are to leave: another one must lead */
};

struct members_step {
    enum members_action action;
    uint64_t id;
    const char *address; /* borrowed from `wanted` */
    enum raftlog_part part;
    struct cmd_master_step tell;
    char why[192];
};

/* Have all who seemed to be there stored `asked_index`? Else wait a little. */
bool members_all_answered(const struct members_seen *seen);

struct members_step members_next(const struct members_seen *seen);

/* Would the log go on whatever happens while this is carried out? Else a reason to refuse it.
 * Asked after a question to all (asked_index), before a command is proposed; the cell itself does
 * not know who answers. */
int members_may_add(const struct members_seen *seen, uint64_t replaces, struct err *err) MUST_USE;
int members_may_remove(const struct members_seen *seen, uint64_t id, struct err *err) MUST_USE;

#endif
