/*
 * proposer.h - the leader's way into the log: commands are packed into envelopes, answers go back.
 *
 * One Raft entry is one envelope: a tag that names its proposer, then packed commands. Entries in
 * flight are few and large rather than many (RAFT.md: the library copies pending writes
 * quadratically), so whatever arrives during a loop turn shares an entry.
 */
#ifndef BORGMASTER_PROPOSER_H
#define BORGMASTER_PROPOSER_H

#include "inbox.h"

struct proposer;

struct proposer *proposer_new(void);
void proposer_free(struct proposer *p); /* nothing is under way any more */

/* Propose what waits in the inbox, as far as the limits of what is in flight allow: a number of
 * entries, and PROPOSALS_TASKS_MAX tasks that their commands touch, or one larger command. Once per
 * loop turn. */
void proposer_flush(struct proposer *p, struct inbox *inbox, const struct cell *cell,
                    struct raftlog *log);
/* The cell was replaced by a newer one: what had been committed and not yet applied is in it, and
 * its answers are not known. */
void proposer_lose(struct proposer *p);

/*
 * Walk a committed entry: proposer_open() checks the tag and says whether it is one of ours still
 * waiting (NULL if not); when its n-th command has been applied call proposer_answer().
 */
struct proposal;
int proposer_open(struct proposer *p, const void *bytes, size_t size, size_t *ret_at,
                  struct proposal **ret_ours, struct err *err) MUST_USE;
void proposer_answer(struct proposal *ours, const struct answer *answer, uint64_t index);

#endif
