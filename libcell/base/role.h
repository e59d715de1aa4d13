/*
 * role.h - the role of a certificate's holder.
 */
#ifndef CELL_ROLE_H
#define CELL_ROLE_H

enum role { ROLE_NONE, ROLE_MASTER, ROLE_BORGLET, ROLE_USER, ROLE_COUNT };

/* A flag in a set of roles that may call a method: it may also be sent as a notice (no answer). */
enum { ROLE_MAY_NOTIFY = 1 << ROLE_COUNT };

#endif
