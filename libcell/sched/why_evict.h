/*
 * why_evict.h - who would have to go from a machine for a task to fit there, and what forbids it.
 */
#ifndef CELL_WHY_EVICT_H
#define CELL_WHY_EVICT_H

#include "cell.h"

enum { WHY_VICTIMS_MAX = 8 };

/* What forbids to evict, the worst last. */
enum why_bar {
    BAR_NONE,
    BAR_BUDGET,   /* its job's max_disruptions spares it now */
    BAR_PRIORITY, /* its priority is not lower */
    BAR_PROD,     /* production is never evicted */
    BAR_SIZE,     /* the machine is too small when empty */
    BAR_COUNT
};
/* Of one task: "its job has no disruption left"; not of BAR_SIZE. */
const char *why_bar_text(enum why_bar bar);

struct why_victim {
    task_id task;
    uint32_t priority;
    enum why_bar bar;
};

struct why_eviction {
    machine_id machine;
    enum why_bar bar;      /* the worst of its victims */
    uint32_t victim_count; /* all; the first of them are here, those first that may go */
    struct why_victim victims[WHY_VICTIMS_MAX];
};

/* What has to be broken for `need` of the job to fit there, in the best case; `room` is what it has
 * now. */
enum why_bar why_bar_of(const struct cell *cell, const struct job *job,
                        const struct resources *need, const struct machine *machine,
                        struct room room);
/* The same in names: no victim is unneeded. The bar is not BAR_SIZE. */
struct why_eviction why_eviction_of(const struct cell *cell, const struct job *job,
                                    const struct resources *need, const struct machine *machine,
                                    struct room room);

#endif
