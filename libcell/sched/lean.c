/*
 * lean.c - directions: how much of one resource there is for the others.
 */
#include "view.h"

struct lean view_lean(int64_t cpu, int64_t ram, int64_t gpu)
{
    uint64_t c = (uint64_t)MAX(cpu, 0), r = (uint64_t)MAX(ram, 0), g = (uint64_t)MAX(gpu, 0);
    int excess = 64 - __builtin_clzll(c | r | g | 1) - LEAN_BITS;
    if (excess < 0)
        return (struct lean){(uint16_t)(c << -excess), (uint16_t)(r << -excess),
                             (uint16_t)(g << -excess)};
    return (struct lean){(uint16_t)(c >> excess), (uint16_t)(r >> excess), (uint16_t)(g >> excess)};
}

static int64_t precise(const struct view *view, enum resource r, int64_t amount)
{
    return view_normal(view, r, amount) >> VIEW_PRECISION_BITS;
}

/* cpu / total cpu to ram / total ram is as cpu * total ram to ram * total cpu: no division. With
 * gpus, each is to be multiplied by both other totals. */
void lean_derive(struct view *view, uint32_t m)
{
    int64_t cpu = precise(view, RES_CPU, view->total[RES_CPU][m]);
    int64_t ram = precise(view, RES_RAM, view->total[RES_RAM][m]);
    int64_t cpu_room = precise(view, RES_CPU, view_free(view, RES_CPU, m));
    int64_t ram_room = precise(view, RES_RAM, view_free(view, RES_RAM, m));
    int64_t gpu = 0, gpu_room = 0;
    if (view->total[RES_GPU] != NULL) {
        gpu = precise(view, RES_GPU, view->total[RES_GPU][m]);
        int64_t kept = view->total[RES_GPU][m] - view->room[RES_GPU][m];
        gpu_room = gpu - precise(view, RES_GPU, kept);
    }
    if (gpu == 0) {
        view->traits[m].aspect = view_lean(ram, cpu, 0);
        view->traits[m].room = view_lean(cpu_room * ram, ram_room * cpu, 0);
        return;
    }
    view->traits[m].aspect = view_lean(ram * gpu, cpu * gpu, cpu * ram);
    view->traits[m].room =
        view_lean(cpu_room * ram * gpu, ram_room * cpu * gpu, gpu_room * cpu * ram);
}
