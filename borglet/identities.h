/*
 * identities.h - what the cell has told this machine of who may do what: whose certificates are
 * revoked, and who reads the logs of everybody's tasks.
 *
 * Kept in DIR/identities, so that a revoked certificate does not count again because the borglet
 * was started while no master answers. A machine that was never told anything knows of
 * CELL_OPERATOR only.
 */
#ifndef BORGLET_IDENTITIES_H
#define BORGLET_IDENTITIES_H

#include "wire.h"

struct identities;

/* Loads the rows that DIR keeps. Without a file, or with a damaged one, there are no rows. */
struct identities *identities_open(const char *dir);
void identities_close(struct identities *identities); /* NULL is fine */
/* Moves the rows out of `in`, unless they are older than what is known. */
void identities_take(struct identities *identities, struct wire_identities *in);

/* May this user read the logs of everybody's tasks? */
bool identities_may_read(const struct identities *identities, const char *user);
/* As cell_identity_revoked(). */
bool identities_revoked(const struct identities *identities, const char *identity,
                        uint64_t issued_ms);

#endif
