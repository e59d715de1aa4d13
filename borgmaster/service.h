/*
 * service.h - the RPC methods of a replica: commands and queries of users, calls between masters.
 */
#ifndef BORGMASTER_SERVICE_H
#define BORGMASTER_SERVICE_H

#include "disk.h"
#include "leader.h"
#include "links.h"
#include "members.h"

struct service;

/* The modules of a replica that its methods call; all borrowed. */
struct modules {
    struct core *core;
    struct peers *peers;
    struct links *links;
    struct leader *leader;
    struct members *members;
    struct disk *disk;
};

/* Listen on the replica's rpc address. */
int service_open(const struct modules *modules, struct service **ret, struct err *err) MUST_USE;
/* Report to the leader at once, since a new one is known: the machines that this replica hears, and
 * its clock. */
void service_on_leader(struct service *service);

#endif
