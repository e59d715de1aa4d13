/*
 * devices.h - the gpus of a machine one by one, and what is free of a machine.
 *
 * A machine has N devices of DEVICE_MILLI each: its capacity of RES_GPU is N * DEVICE_MILLI. A task
 * asks for none, for a share (less than DEVICE_MILLI) of one device, or for k * DEVICE_MILLI: k
 * devices that are wholly its own. So the sum of what is free does not tell whether it fits. What
 * does is the largest amount that may be asked for: k devices if k > 0 are wholly free, else the
 * largest share left on any. `need <= that` holds exactly when it fits, so a struct room has it in
 * place of the sum, and nobody who compares vectors needs to know of devices.
 *
 * The cell decides which devices when it places: a share goes where the least is left that is
 * enough, whole ones are those of the lowest numbers.
 */
#ifndef CELL_DEVICES_H
#define CELL_DEVICES_H

#include "resources.h"

enum { DEVICE_MILLI = 1000, DEVICES_MAX = 32 };

struct devices {
    uint32_t count;
    int32_t free_milli[DEVICES_MAX]; /* of each */
};

/* What is free of a machine. */
struct room {
    struct resources free; /* of RES_GPU: the most that may be asked for */
    struct devices devices;
};

/* Is it an amount a machine can have, a task can ask for; is the mask one for this amount? */
int devices_capacity_valid(int64_t gpu_milli, struct err *err) MUST_USE;
int devices_need_valid(int64_t gpu_milli, struct err *err) MUST_USE;
bool devices_mask_valid(uint32_t devices, int64_t gpu_milli);
/* All are free; then what a task of this limit has on `devices` (a mask) is taken, or given. */
void devices_init(struct devices *d, int64_t capacity_milli);
void devices_take(struct devices *d, int64_t gpu_milli, uint32_t devices);
void devices_give(struct devices *d, int64_t gpu_milli, uint32_t devices);
/* The most that may be asked for. */
int64_t devices_most_milli(const struct devices *d);
/* A mask of those to give for an amount that fits; 0 for none. */
uint32_t devices_choose(const struct devices *d, int64_t gpu_milli);

void room_init(struct room *room, const struct resources *capacity);
/* Of an alloc, which has these devices of its machine. */
void room_init_alloc(struct room *room, const struct resources *limit, uint32_t devices);
void room_take(struct room *room, const struct resources *limit, uint32_t devices);
void room_give(struct room *room, const struct resources *limit, uint32_t devices);
/* Was nowhere more taken than there is? */
bool room_sound(const struct room *room);
/* Is there room for the limit, and on these very devices? */
bool room_holds(const struct room *room, const struct resources *limit, uint32_t devices);

#endif
