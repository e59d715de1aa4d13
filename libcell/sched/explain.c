/*
 * explain.c - why a task of a job does not fit, in counts and in the smallest change that helps.
 */
#include "choose.h"

#include <stdlib.h>

/* Machines by what they lack first; the last places are for those that are down or draining. */
enum { LACKS_NOTHING = RES_COUNT, LACKS_MACHINE, LACKS_LEAVE, LACKS_COUNT };

struct explanation {
    uint32_t counts[LACKS_COUNT];
    int64_t enough[RES_COUNT]; /* the most a machine has of this, all other resources fitting; -1 */
};

static int lacks(const struct resources *need, const struct resources *room, uint32_t *ret_lacking)
{
    int first = LACKS_NOTHING;
    *ret_lacking = 0;
    for (int r = RES_COUNT; r-- > 0;) {
        if (need->v[r] > room->v[r]) {
            first = r;
            ++*ret_lacking;
        }
    }
    return first;
}

static struct explanation look(const struct view *view, const struct view_job *job)
{
    struct explanation e = {.enough = {-1, -1, -1, -1}};
    _Static_assert(RES_COUNT == 4, "the initializer above names every resource");
    for (uint32_t m = 0; m < view->machine_count; m++) {
        if (!view->up[m]) {
            e.counts[view->draining[m] ? LACKS_LEAVE : LACKS_MACHINE]++;
            continue;
        }
        struct resources room = feasible_room(view, job, m);
        uint32_t lacking;
        int first = lacks(&job->limit, &room, &lacking);
        e.counts[first]++;
        if (lacking == 1)
            e.enough[first] = MAX(e.enough[first], room.v[first]);
    }
    return e;
}

static void print_counts(struct buf *to, const struct explanation *e, uint32_t machines)
{
    int order[] = {RES_CPU, RES_RAM, RES_DISK, RES_PORTS, LACKS_MACHINE, LACKS_LEAVE};
    for (size_t i = 1; i < ARRAY_SIZE(order); i++) /* most machines first, else as they stand */
        for (size_t j = i; j > 0 && e->counts[order[j]] > e->counts[order[j - 1]]; j--) {
            int swap = order[j];
            order[j] = order[j - 1];
            order[j - 1] = swap;
        }
    const char *before = "";
    for (size_t i = 0; i < ARRAY_SIZE(order) && e->counts[order[i]] > 0; i++) {
        buf_printf(to, "%s%u of %u ", before, e->counts[order[i]], machines);
        if (order[i] == LACKS_MACHINE)
            buf_printf(to, "%s down", e->counts[order[i]] == 1 ? "is" : "are");
        else if (order[i] == LACKS_LEAVE)
            buf_printf(to, "%s draining", e->counts[order[i]] == 1 ? "is" : "are");
        else
            buf_printf(to, "%s %s", e->counts[order[i]] == 1 ? "lacks" : "lack",
                       resource_name((enum resource)order[i]));
        before = ", ";
    }
}

/* The change that takes away the smallest share of what is asked for. */
static void print_change(struct buf *to, const struct explanation *e, const struct resources *need)
{
    int best = -1;
    for (int r = 0; r < RES_COUNT; r++) {
        int64_t least = r == RES_CPU || r == RES_RAM ? 1 : 0; /* a spec may not ask for less */
        if (e->enough[r] < least)
            continue;
        /* enough/need > best's enough/need */
        if (best < 0 ||
            (__int128)e->enough[r] * need->v[best] > (__int128)e->enough[best] * need->v[r])
            best = r;
    }
    if (best < 0) {
        buf_printf(to, "; no change of one resource would do");
        return;
    }
    buf_printf(to, "; would fit with %s ", resource_name((enum resource)best));
    resource_print(to, (enum resource)best, e->enough[best]);
    buf_printf(to, " instead of ");
    resource_print(to, (enum resource)best, need->v[best]);
}

bool explain_job(const struct view *view, const struct view_job *job, struct buf *to)
{
    if (view->machine_count == 0) {
        buf_printf(to, "no machine fits: the cell has no machines yet");
        return false;
    }
    struct explanation e = look(view, job);
    if (e.counts[LACKS_NOTHING] > 0) {
        buf_printf(to, "fits %u of %u machines now", e.counts[LACKS_NOTHING], view->machine_count);
        return true;
    }
    buf_printf(to, "no machine fits: ");
    print_counts(to, &e, view->machine_count);
    print_change(to, &e, &job->limit);
    return false;
}
