/*
 * devices.c - arithmetic of devices.
 */
#include "devices.h"

int devices_capacity_valid(int64_t gpu_milli, struct err *err)
{
    if (gpu_milli >= 0 && gpu_milli <= DEVICES_MAX * DEVICE_MILLI && gpu_milli % DEVICE_MILLI == 0)
        return 0;
    return err_set(err, ERR_INVALID,
                   "gpu %" PRId64 "m are not whole devices, from none to %d (%dm each)", gpu_milli,
                   DEVICES_MAX, DEVICE_MILLI);
}

int devices_need_valid(int64_t gpu_milli, struct err *err)
{
    bool is_share = gpu_milli >= 0 && gpu_milli < DEVICE_MILLI;
    if (is_share || devices_capacity_valid(gpu_milli, NULL) == 0)
        return 0;
    return err_set(err, ERR_INVALID,
                   "%" PRId64 "m is neither a share of one device (less than 1, like 500m) nor "
                   "whole devices (1 to %d)",
                   gpu_milli, DEVICES_MAX);
}

bool devices_mask_valid(uint32_t devices, int64_t gpu_milli)
{
    int64_t count = 0;
    for (; devices != 0; devices &= devices - 1)
        count++;
    return count == (gpu_milli + DEVICE_MILLI - 1) / DEVICE_MILLI;
}

void devices_init(struct devices *d, int64_t capacity_milli)
{
    ASSERT(devices_capacity_valid(capacity_milli, NULL) == 0);
    d->count = (uint32_t)(capacity_milli / DEVICE_MILLI);
    for (uint32_t i = 0; i < d->count; i++)
        d->free_milli[i] = DEVICE_MILLI;
}

/* Devices that the machine has no longer are passed over: who was there is told to stop. */
static void devices_change(struct devices *d, int64_t gpu_milli, uint32_t devices, int sign)
{
    int32_t each = (int32_t)MIN(gpu_milli, (int64_t)DEVICE_MILLI);
    for (uint32_t i = 0; i < d->count; i++)
        if ((devices >> i & 1) != 0)
            d->free_milli[i] += sign * each;
}

void devices_take(struct devices *d, int64_t gpu_milli, uint32_t devices)
{
    devices_change(d, gpu_milli, devices, -1);
}

void devices_give(struct devices *d, int64_t gpu_milli, uint32_t devices)
{
    devices_change(d, gpu_milli, devices, 1);
}

int64_t devices_most_milli(const struct devices *d)
{
    int64_t whole = 0, share = 0;
    for (uint32_t i = 0; i < d->count; i++) {
        whole += d->free_milli[i] == DEVICE_MILLI ? DEVICE_MILLI : 0;
        share = MAX(share, (int64_t)d->free_milli[i]);
    }
    return MAX(whole, share);
}

static uint32_t choose_share(const struct devices *d, int64_t gpu_milli)
{
    uint32_t best = d->count;
    for (uint32_t i = 0; i < d->count; i++)
        if (d->free_milli[i] >= gpu_milli &&
            (best == d->count || d->free_milli[i] < d->free_milli[best]))
            best = i;
    ASSERT(best < d->count);
    return UINT32_C(1) << best;
}

uint32_t devices_choose(const struct devices *d, int64_t gpu_milli)
{
    uint32_t chosen = 0;
    ASSERT(gpu_milli <= devices_most_milli(d));
    if (gpu_milli > 0 && gpu_milli < DEVICE_MILLI)
        return choose_share(d, gpu_milli);
    for (uint32_t i = 0; i < d->count && gpu_milli > 0; i++) {
        if (d->free_milli[i] < DEVICE_MILLI)
            continue;
        chosen |= UINT32_C(1) << i;
        gpu_milli -= DEVICE_MILLI;
    }
    ASSERT(gpu_milli == 0);
    return chosen;
}

void room_init(struct room *room, const struct resources *capacity)
{
    room->free = *capacity;
    devices_init(&room->devices, capacity->v[RES_GPU]);
}

void room_init_alloc(struct room *room, const struct resources *limit, uint32_t devices)
{
    struct devices *d = &room->devices;
    room->free = *limit;
    d->count = DEVICES_MAX;
    for (uint32_t i = 0; i < DEVICES_MAX; i++)
        d->free_milli[i] = 0;
    devices_give(d, limit->v[RES_GPU], devices);
    room->free.v[RES_GPU] = devices_most_milli(d);
}

bool room_sound(const struct room *room)
{
    bool sound = true;
    for (uint32_t i = 0; i < room->devices.count; i++)
        sound &= room->devices.free_milli[i] >= 0;
    for (int r = 0; r < RES_COUNT; r++)
        sound &= room->free.v[r] >= 0;
    return sound;
}

void room_take(struct room *room, const struct resources *limit, uint32_t devices)
{
    resources_subtract(&room->free, limit);
    devices_take(&room->devices, limit->v[RES_GPU], devices);
    room->free.v[RES_GPU] = devices_most_milli(&room->devices);
}

void room_give(struct room *room, const struct resources *limit, uint32_t devices)
{
    resources_add(&room->free, limit);
    devices_give(&room->devices, limit->v[RES_GPU], devices);
    room->free.v[RES_GPU] = devices_most_milli(&room->devices);
}

bool room_holds(const struct room *room, const struct resources *limit, uint32_t devices)
{
    const struct devices *d = &room->devices;
    int64_t each = MIN(limit->v[RES_GPU], (int64_t)DEVICE_MILLI);
    for (uint32_t i = 0; i < DEVICES_MAX; i++)
        if ((devices >> i & 1) != 0 && (i >= d->count || d->free_milli[i] < each))
            return false;
    struct resources rest = *limit;
    rest.v[RES_GPU] = 0;
    return resources_fit(&rest, &room->free);
}
