/*
 * resources.c - arithmetic and print of resource vectors.
 *
 * Every amount that enters is bounded by RESOURCE_AMOUNT_MAX, so an overflow here is a bug.
 */
#include "resources.h"

#include "quantity.h"

const char *resource_name(enum resource r)
{
    static const char *const names[RES_COUNT] = {"cpu", "ram", "disk", "ports"};
    ASSERT(r < RES_COUNT);
    return names[r];
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

bool resources_fit(const struct resources *need, const struct resources *room)
{
    bool fit = true;
    for (int r = 0; r < RES_COUNT; r++)
        fit &= need->v[r] <= room->v[r];
    return fit;
}

void resource_print(struct buf *to, enum resource r, int64_t amount)
{
    switch (r) {
    case RES_CPU:
        quantity_print_milli(to, amount);
        return;
    case RES_RAM:
    case RES_DISK:
        quantity_print_bytes(to, amount);
        return;
    case RES_PORTS:
        buf_printf(to, "%" PRId64, amount);
        return;
    case RES_COUNT:
        break;
    }
    UNREACHABLE("no such resource");
}

void resources_print(struct buf *to, const struct resources *r)
{
    for (enum resource i = 0; i < RES_COUNT; i++) {
        buf_printf(to, "%s%s ", i == 0 ? "" : ", ", resource_name(i));
        resource_print(to, i, r->v[i]);
    }
}
