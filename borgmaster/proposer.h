/*
 * proposer.h - packs the leader's commands into Raft entries and delivers the answers.
 *
 * One Raft entry is one envelope: a tag that identifies its proposer, then packed commands. Entries
 * under way are few and large rather than many and small, because the Raft library copies pending
 * writes quadratically (RAFT.md). All commands that arrive in one turn of the loop share an entry.
 */
#ifndef BORGMASTER_PROPOSER_H
#define BORGMASTER_PROPOSER_H

#include "inbox.h"
#include "raftlog.h"

struct proposer;

struct proposer *proposer_new(void);
void proposer_free(struct proposer *p); /* no proposal may be under way */

/* Propose waiting commands, as far as the limits of what is under way allow: a number of entries,
 * and either PROPOSALS_TASKS_MAX tasks that their commands touch or one larger command. Call it
 * once per turn of the loop. */
void proposer_flush(struct proposer *p, struct inbox *inbox, const struct cell *cell,
                    struct raftlog *log);
/* Fail the committed proposals that are not applied yet with ERR_UNKNOWN_OUTCOME: a newer cell that
 * contains them has replaced the cell, so their answers are unknown. */
void proposer_lose(struct proposer *p);

/*
 * Read a committed entry. proposer_open() checks the tag and returns in *ret_ours the proposal of
 * this process that it belongs to (NULL: none). Call proposer_answer() after each of its commands
 * is applied.
 */
struct proposal;
int proposer_open(struct proposer *p, const void *bytes, size_t size, size_t *ret_at,
                  struct proposal **ret_ours, struct err *err) MUST_USE;
void proposer_answer(struct proposal *ours, const struct answer *answer, uint64_t index);

#endif
