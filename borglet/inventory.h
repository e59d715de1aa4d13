/*
 * inventory.h - what this machine has to offer.
 */
#ifndef BORGLET_INVENTORY_H
#define BORGLET_INVENTORY_H

#include "err.h"
#include "resources.h"

/* Cpus that we may use, memory (within our cgroup's limits), free disk space at `dir`. */
int inventory_measure(const char *dir, uint32_t port_count, struct resources *ret,
                      struct err *err) MUST_USE;
/* "cpu=2,ram=4Gi,disk=10Gi": replace single amounts. */
int inventory_override(const char *text, struct resources *capacity, struct err *err) MUST_USE;

#endif
