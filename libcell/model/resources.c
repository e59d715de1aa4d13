/*
 * resources.c - arithmetic, names and print of resource vectors.
 *
 * Every amount that enters is bounded by RESOURCE_AMOUNT_MAX, so an overflow here is a bug.
 */
#include "resources.h"

#include "quantity.h"

#include <string.h>

static const char *const known[RES_NAMED] = {"cpu", "ram", "disk", "ports", "gpu"};

const char *resource_name(enum resource r, const struct resource_names *names)
{
    ASSERT(r < RES_COUNT);
    return r < RES_NAMED ? known[r] : names->text[r - RES_NAMED];
}

enum resource resource_find(const char *name, const struct resource_names *names)
{
    enum resource r = 0;
    while (r < RES_COUNT && (name[0] == '\0' || strcmp(name, resource_name(r, names)) != 0))
        r++;
    return r;
}

enum resource resource_names_put(struct resource_names *names, const char *name)
{
    enum resource r = resource_find(name, names);
    for (int i = 0; i < RESOURCES_NAMED_MAX && r == RES_COUNT; i++) {
        if (names->text[i][0] != '\0')
            continue;
        str_copy(names->text[i], sizeof names->text[i], name);
        r = RES_NAMED + (unsigned)i;
    }
    return r;
}

static bool resource_name_valid(const char *name)
{
    size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-");
    return length > 0 && name[length] == '\0' && name[0] >= 'a' && name[0] <= 'z';
}

int resource_names_valid(const struct resource_names *names, struct err *err)
{
    for (int i = 0; i < RESOURCES_NAMED_MAX; i++) {
        const char *name = names->text[i];
        if (name[0] == '\0')
            continue;
        if (!resource_name_valid(name))
            return err_set(err, ERR_INVALID,
                           "resource \"%.40s\": its name must be 1 to %d of a-z 0-9 _ - and start "
                           "with a letter",
                           name, RESOURCE_NAME_MAX);
        if (strcmp(name, "tasks") == 0 || resource_find(name, names) != RES_NAMED + (unsigned)i)
            return err_set(err, ERR_INVALID, "resource \"%s\": the name is taken", name);
    }
    return 0;
}

void resource_names_print(struct buf *to, const struct resource_names *names)
{
    const char *before = "";
    for (int i = 0; i < RESOURCES_NAMED_MAX; i++) {
        if (names->text[i][0] == '\0')
            continue;
        buf_printf(to, "%s%s", before, names->text[i]);
        before = ", ";
    }
    if (before[0] == '\0')
        buf_printf(to, "none");
}

void resources_add(struct resources *to, const struct resources *amount)
{
    for (int r = 0; r < RES_COUNT; r++)
        ASSERT(!__builtin_add_overflow(to->v[r], amount->v[r], &to->v[r]));
}

void resources_subtract(struct resources *from, const struct resources *amount)
{
    for (int r = 0; r < RES_COUNT; r++)
        ASSERT(!__builtin_sub_overflow(from->v[r], amount->v[r], &from->v[r]));
}

struct resources resources_max(const struct resources *a, const struct resources *b)
{
    struct resources max;
    for (int r = 0; r < RES_COUNT; r++)
        max.v[r] = MAX(a->v[r], b->v[r]);
    return max;
}

bool resources_fit(const struct resources *need, const struct resources *room)
{
    bool fit = true;
    for (int r = 0; r < RES_COUNT; r++)
        fit &= need->v[r] <= room->v[r];
    return fit;
}

int resources_translate(struct resources *amounts, const struct resource_names *from,
                        const struct resource_names *to, int64_t otherwise, struct err *err)
{
    struct resources next = *amounts;
    for (enum resource r = RES_NAMED; r < RES_COUNT; r++)
        next.v[r] = otherwise;
    for (enum resource r = RES_NAMED; r < RES_COUNT; r++) {
        const char *name = resource_name(r, from);
        enum resource there = resource_find(name, to);
        if (name[0] == '\0')
            continue;
        if (there == RES_COUNT) {
            CLEANUP(buf_release) struct buf text = {0};
            resource_names_print(&text, to);
            return err_set(err, ERR_NOT_FOUND,
                           "no machine ever offered \"%s\"; besides cpu, ram, disk, ports and gpu "
                           "there are: %s",
                           name, buf_text(&text));
        }
        next.v[there] = amounts->v[r];
    }
    *amounts = next;
    return 0;
}

void resource_print(struct buf *to, enum resource r, int64_t amount)
{
    switch (r) {
    case RES_CPU:
    case RES_GPU:
        quantity_print_milli(to, amount);
        return;
    case RES_RAM:
    case RES_DISK:
        quantity_print_bytes(to, amount);
        return;
    case RES_PORTS:
    case RES_NAMED:
    case RES_COUNT:
        break;
    }
    ASSERT(r < RES_COUNT);
    buf_printf(to, "%" PRId64, amount);
}

void resources_print(struct buf *to, const struct resources *r, const struct resource_names *names)
{
    for (enum resource i = 0; i < RES_COUNT; i++) {
        if (i > RES_PORTS && r->v[i] == 0)
            continue;
        buf_printf(to, "%s%s ", i == 0 ? "" : ", ", resource_name(i, names));
        resource_print(to, i, r->v[i]);
    }
}
