/*
 * resources.h - amounts of what machines have and tasks ask for, as one vector of integers.
 *
 * Besides those everybody knows, a cell counts a few that its machines name: tape drives, licenses.
 * They have slots at the end of the vector, and what a slot is called stands beside it. Who speaks
 * to the cell numbers the slots as he likes; the cell translates to its own (resources_translate).
 */
#ifndef CELL_RESOURCES_H
#define CELL_RESOURCES_H

#include "buf.h"
#include "err.h"
#include "limits.h"

enum resource {
    RES_CPU,   /* thousandths of a cpu */
    RES_RAM,   /* bytes */
    RES_DISK,  /* bytes */
    RES_PORTS, /* how many */
    RES_GPU,   /* thousandths of a device; devices.h */
    RES_NAMED, /* the first slot; how many */
    RES_COUNT = RES_NAMED + RESOURCES_NAMED_MAX,
    RECLAIM_COUNT = RES_DISK /* only of those before may less than the limit be kept: reclaim.h */
};

/* No machine has and no task asks for more: sums over a machine then stay far from overflow. */
#define RESOURCE_AMOUNT_MAX (INT64_C(1) << 50)

struct resources {
    int64_t v[RES_COUNT]; /* never negative in a machine or a spec; differences may be */
};

/* What the slots from RES_NAMED on are called; "": not in use. */
struct resource_names {
    char text[RESOURCES_NAMED_MAX][RESOURCE_NAME_MAX + 1];
};

/* Is there something in it that few machines have? */
static inline bool resources_rare(const struct resources *r)
{
    int64_t all = 0;
    for (int i = RES_GPU; i < RES_COUNT; i++)
        all |= r->v[i];
    return all != 0;
}
/* "cpu", "ram", "disk", "ports", "gpu", or the slot's name. */
const char *resource_name(enum resource r, const struct resource_names *names);
/* The resource of this name, RES_COUNT: there is none. */
enum resource resource_find(const char *name, const struct resource_names *names);
/* The slot of this name, which is taken into use if need be; RES_COUNT: none is free. */
enum resource resource_names_put(struct resource_names *names, const char *name);
/* Are they names, none of them twice, none of what everybody knows? */
int resource_names_valid(const struct resource_names *names, struct err *err) MUST_USE;
/* "tape, robot"; "none" when there are none. */
void resource_names_print(struct buf *to, const struct resource_names *names);

void resources_add(struct resources *to, const struct resources *amount);
void resources_subtract(struct resources *from, const struct resources *amount);
/* The larger of each component. */
struct resources resources_max(const struct resources *a, const struct resources *b);
/* Is every component of `need` at most that of `room`? */
bool resources_fit(const struct resources *need, const struct resources *room);
/* From slots called `from` to those called `to`; slots that `from` has not get `otherwise`.
 * ERR_NOT_FOUND, `amounts` unchanged: `to` lacks a name. */
int resources_translate(struct resources *amounts, const struct resource_names *from,
                        const struct resource_names *to, int64_t otherwise,
                        struct err *err) MUST_USE;
/* "cpu 500m, ram 1Gi, disk 0, ports 1", and of the others those that are not 0. */
void resources_print(struct buf *to, const struct resources *r, const struct resource_names *names);
/* One component in its own unit: "500m", "1Gi", "3". */
void resource_print(struct buf *to, enum resource r, int64_t amount);

#endif
