/*
 * resources.h - amounts of what machines have and tasks ask for, as one vector of integers.
 */
#ifndef CELL_RESOURCES_H
#define CELL_RESOURCES_H

#include "buf.h"

enum resource {
    RES_CPU,   /* thousandths of a cpu */
    RES_RAM,   /* bytes */
    RES_DISK,  /* bytes */
    RES_PORTS, /* how many */
    RES_COUNT
};

/* No machine has and no task asks for more: sums over a machine then stay far from overflow. */
#define RESOURCE_AMOUNT_MAX (INT64_C(1) << 50)

struct resources {
    int64_t v[RES_COUNT]; /* never negative in a machine or a spec; differences may be */
};

const char *resource_name(enum resource r); /* "cpu", "ram", "disk", "ports" */
void resources_add(struct resources *to, const struct resources *amount);
void resources_subtract(struct resources *from, const struct resources *amount);
/* Is every component of `need` at most that of `room`? */
bool resources_fit(const struct resources *need, const struct resources *room);
/* "cpu 500m, ram 1Gi, disk 0, ports 1" */
void resources_print(struct buf *to, const struct resources *r);
/* One component in its own unit: "500m", "1Gi", "3". */
void resource_print(struct buf *to, enum resource r, int64_t amount);

#endif
