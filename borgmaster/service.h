/*
 * service.h - what a replica answers: users' commands and queries, forwarded commands, status.
 */
#ifndef BORGMASTER_SERVICE_H
#define BORGMASTER_SERVICE_H

#include "replica.h"

struct service;

/* Listen on the replica's rpc address. */
int service_open(struct replica *replica, struct service **ret, struct err *err) MUST_USE;
/* A leader has become known: tell it at once what we hear, and what our clock shows. */
void service_on_leader(struct service *service);

#endif
