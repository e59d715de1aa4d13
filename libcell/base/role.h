/*
 * role.h - what the holder of a certificate is.
 */
#ifndef CELL_ROLE_H
#define CELL_ROLE_H

enum role { ROLE_NONE, ROLE_MASTER, ROLE_BORGLET, ROLE_USER, ROLE_COUNT };

/* In a set of roles that may send something: it may come as a notice, which nobody answers. */
enum { ROLE_MAY_NOTIFY = 1 << ROLE_COUNT };

#endif
