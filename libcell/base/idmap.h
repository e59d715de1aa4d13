/*
 * idmap.h - hash maps from a number or a name to a pointer.
 *
 * The maps use open addressing with linear probing. A map owns its slots, but not the values. A
 * name is borrowed and must live as long as its entry (it usually is a field of the value). Key 0
 * and the value NULL are not allowed. There is no iteration: the order of a hash table must never
 * influence the cell, because replicas would diverge. Keep an array or a list to iterate over.
 */
#ifndef CELL_IDMAP_H
#define CELL_IDMAP_H

#include "base.h"

struct idmap {
    struct idmap_slot *slots;
    size_t slot_count; /* 0 or a power of two */
    size_t count;      /* entries in the map */
};

void idmap_release(struct idmap *map);
void *idmap_get(const struct idmap *map, uint64_t key);       /* NULL when absent */
void idmap_put(struct idmap *map, uint64_t key, void *value); /* replaces a previous value */
void *idmap_remove(struct idmap *map, uint64_t key);          /* the removed value, or NULL */

struct namemap {
    struct namemap_slot *slots;
    size_t slot_count;
    size_t count;
};

void namemap_release(struct namemap *map);
void *namemap_get(const struct namemap *map, const char *name);
void namemap_put(struct namemap *map, const char *name, void *value);
void *namemap_remove(struct namemap *map, const char *name);

#endif
