/*
 * idmap.c - open addressing with backward-shift deletion (Knuth 6.4, algorithm R), no tombstones.
 *
 * The two maps differ in their keys only. `may_fill` is shared and works on slot indexes.
 */
#include "idmap.h"

#include "hash.h"

#include <stdlib.h>
#include <string.h>

struct idmap_slot {
    uint64_t key;
    void *value; /* NULL: free */
};

struct namemap_slot {
    uint64_t hash;
    const char *name;
    void *value;
};

static size_t grown(size_t slot_count, size_t count)
{
    if (slot_count == 0)
        return 16;
    return (count + 1) * 4 > slot_count * 3 ? slot_count * 2 : slot_count;
}

/* Return whether an entry at slot `at` with home slot `home` stays reachable in slot `hole`. */
static bool may_fill(size_t home, size_t at, size_t hole)
{
    return hole <= at ? (home <= hole || home > at) : (home <= hole && home > at);
}

void idmap_release(struct idmap *map)
{
    free(map->slots);
    *map = (struct idmap){0};
}

static size_t idmap_find(const struct idmap *map, uint64_t key)
{
    size_t mask = map->slot_count - 1;
    size_t i = hash_u64(key) & mask;
    while (map->slots[i].value != NULL && map->slots[i].key != key)
        i = (i + 1) & mask;
    return i;
}

void *idmap_get(const struct idmap *map, uint64_t key)
{
    return map->count == 0 ? NULL : map->slots[idmap_find(map, key)].value;
}

static void idmap_resize(struct idmap *map, size_t slot_count)
{
    struct idmap_slot *old = map->slots;
    size_t old_count = map->slot_count;
    map->slots = xcalloc(slot_count, sizeof *map->slots);
    map->slot_count = slot_count;
    for (size_t i = 0; i < old_count; i++)
        if (old[i].value != NULL)
            map->slots[idmap_find(map, old[i].key)] = old[i];
    free(old);
}

void idmap_put(struct idmap *map, uint64_t key, void *value)
{
    ASSERT(key != 0);
    ASSERT(value != NULL);
    size_t want = grown(map->slot_count, map->count);
    if (want != map->slot_count)
        idmap_resize(map, want);
    struct idmap_slot *slot = &map->slots[idmap_find(map, key)];
    map->count += slot->value == NULL;
    *slot = (struct idmap_slot){key, value};
}

void *idmap_remove(struct idmap *map, uint64_t key)
{
    if (map->count == 0)
        return NULL;
    size_t mask = map->slot_count - 1;
    size_t hole = idmap_find(map, key);
    void *value = map->slots[hole].value;
    if (value == NULL)
        return NULL;
    for (size_t i = (hole + 1) & mask; map->slots[i].value != NULL; i = (i + 1) & mask) {
        if (may_fill(hash_u64(map->slots[i].key) & mask, i, hole)) {
            map->slots[hole] = map->slots[i];
            hole = i;
        }
    }
    map->slots[hole].value = NULL;
    map->count--;
    return value;
}

void namemap_release(struct namemap *map)
{
    free(map->slots);
    *map = (struct namemap){0};
}

static size_t namemap_find(const struct namemap *map, uint64_t hash, const char *name)
{
    size_t mask = map->slot_count - 1;
    size_t i = hash & mask;
    while (map->slots[i].value != NULL &&
           (map->slots[i].hash != hash || strcmp(map->slots[i].name, name) != 0))
        i = (i + 1) & mask;
    return i;
}

void *namemap_get(const struct namemap *map, const char *name)
{
    return map->count == 0 ? NULL : map->slots[namemap_find(map, hash_text(0, name), name)].value;
}

static void namemap_resize(struct namemap *map, size_t slot_count)
{
    struct namemap_slot *old = map->slots;
    size_t old_count = map->slot_count;
    map->slots = xcalloc(slot_count, sizeof *map->slots);
    map->slot_count = slot_count;
    for (size_t i = 0; i < old_count; i++)
        if (old[i].value != NULL)
            map->slots[namemap_find(map, old[i].hash, old[i].name)] = old[i];
    free(old);
}

void namemap_put(struct namemap *map, const char *name, void *value)
{
    ASSERT(value != NULL);
    size_t want = grown(map->slot_count, map->count);
    if (want != map->slot_count)
        namemap_resize(map, want);
    uint64_t hash = hash_text(0, name);
    struct namemap_slot *slot = &map->slots[namemap_find(map, hash, name)];
    map->count += slot->value == NULL;
    *slot = (struct namemap_slot){hash, name, value};
}

void *namemap_remove(struct namemap *map, const char *name)
{
    if (map->count == 0)
        return NULL;
    size_t mask = map->slot_count - 1;
    size_t hole = namemap_find(map, hash_text(0, name), name);
    void *value = map->slots[hole].value;
    if (value == NULL)
        return NULL;
    for (size_t i = (hole + 1) & mask; map->slots[i].value != NULL; i = (i + 1) & mask) {
        if (may_fill(map->slots[i].hash & mask, i, hole)) {
            map->slots[hole] = map->slots[i];
            hole = i;
        }
    }
    map->slots[hole].value = NULL;
    map->count--;
    return value;
}
