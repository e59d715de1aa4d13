/*
 * identities.h - the access rules of the cell as this machine knows them: which certificates are
 * revoked, and who may read the logs of all tasks.
 *
 * The rules are kept in DIR/identities, so that a revoked certificate stays revoked when the
 * borglet is started while no master answers. A machine that has received no rules knows
 * CELL_OPERATOR only.
 */
#ifndef BORGLET_IDENTITIES_H
#define BORGLET_IDENTITIES_H

#include "wire.h"

struct identities;

/* Load the rows kept in DIR. If the file is missing or damaged there are no rows. */
struct identities *identities_open(const char *dir);
void identities_close(struct identities *identities); /* NULL is fine */
/* Move the rows out of `in`, unless they are older than the known ones. */
void identities_take(struct identities *identities, struct wire_identities *in);

/* Return whether this user may read the logs of all tasks. */
bool identities_may_read(const struct identities *identities, const char *user);
/* As cell_identity_revoked(). */
bool identities_revoked(const struct identities *identities, const char *identity,
                        uint64_t issued_ms);

#endif
