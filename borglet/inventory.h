/*
 * inventory.h - the capacity and the attributes of this machine.
 */
#ifndef BORGLET_INVENTORY_H
#define BORGLET_INVENTORY_H

#include "err.h"
#include "resources.h"
#include "words.h"

/* Measure the cpus that this process may use, the memory within the limits of its cgroup, and
 * the free disk space at `dir`. */
int inventory_measure(const char *dir, uint32_t port_count, struct resources *ret,
                      struct err *err) MUST_USE;
/* Replace single amounts, given as "cpu=2,ram=4Gi,disk=10Gi". */
int inventory_override(const char *text, struct resources *capacity, struct err *err) MUST_USE;

/* Add a resource that the cell counts on this machine, given as NAME=COUNT. */
int inventory_resource_add(const char *text, struct resources *capacity,
                           struct resource_names *names, struct err *err) MUST_USE;

/* Collect the attributes that every machine has: os, arch, kernel, hostname, cpus. */
void inventory_attributes(struct words *attributes);
/* Add an attribute given as KEY=VALUE; it may replace one. */
int inventory_attribute_add(const char *text, struct words *attributes, struct err *err) MUST_USE;

#endif
