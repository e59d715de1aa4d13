/*
 * inventory.h - what this machine has to offer.
 */
#ifndef BORGLET_INVENTORY_H
#define BORGLET_INVENTORY_H

#include "err.h"
#include "resources.h"
#include "words.h"

/* Cpus that we may use, memory (within our cgroup's limits), free disk space at `dir`. */
int inventory_measure(const char *dir, uint32_t port_count, struct resources *ret,
                      struct err *err) MUST_USE;
/* "cpu=2,ram=4Gi,disk=10Gi": replace single amounts. */
int inventory_override(const char *text, struct resources *capacity, struct err *err) MUST_USE;

/* One more resource that the cell is to count here, from NAME=COUNT. */
int inventory_resource_add(const char *text, struct resources *capacity,
                           struct resource_names *names, struct err *err) MUST_USE;

/* What every machine says of itself: os, arch, kernel, hostname, cpus. */
void inventory_attributes(struct words *attributes);
/* One more, from KEY=VALUE; it may replace one. */
int inventory_attribute_add(const char *text, struct words *attributes, struct err *err) MUST_USE;

#endif
