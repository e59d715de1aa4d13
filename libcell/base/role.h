/*
 * role.h - what the holder of a certificate is.
 */
#ifndef CELL_ROLE_H
#define CELL_ROLE_H

enum role { ROLE_NONE, ROLE_MASTER, ROLE_BORGLET, ROLE_USER, ROLE_COUNT };

#endif
