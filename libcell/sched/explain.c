/*
 * explain.c - why a task of a job does not fit, in counts and in the smallest change that helps.
 */
#include "choose.h"
#include "lack.h"
#include "places.h"

struct explanation {
    uint32_t counts[LACKS_COUNT];
    int64_t enough[RES_COUNT]; /* the most a machine has of this, all other resources fitting; -1 */
    const char *keeper;        /* of the machines that are kept; NULL: of several jobs */
};

/* Why the job may not be there whatever the room, or LACKS_NOTHING. */
static int lacks_place(const struct view *view, const struct view_job *job, uint32_t machine)
{
    if (!view->up[machine])
        return view->draining[machine] ? LACKS_LEAVE : LACKS_MACHINE;
    if (places_allow(job, machine))
        return LACKS_NOTHING;
    uint32_t failing = places_failing(job, machine);
    if (job->match != NULL && failing < job->match->clauses.count)
        return LACKS_CLAUSE + (int)failing;
    if (presence_keeper(job, machine) != NULL)
        return LACKS_KEPT;
    return LACKS_SPREAD + (int)places_full(job, machine);
}

static struct explanation look(const struct view *view, const struct view_job *job,
                               struct reach *reach)
{
    struct explanation e = {0};
    for (int r = 0; r < RES_COUNT; r++)
        e.enough[r] = -1;
    for (uint32_t m = 0; m < view->machine_count; m++) {
        int place = lacks_place(view, job, m);
        if (place == LACKS_KEPT) {
            const char *keeper = presence_keeper(job, m);
            e.keeper = e.counts[place] == 0 || e.keeper == keeper ? keeper : NULL;
        }
        if (place != LACKS_NOTHING) {
            e.counts[place]++;
            continue;
        }
        struct resources room = reach_room(reach, view, job, m);
        uint32_t lacking;
        int first = lack_of_room(&job->limit, &room, &lacking);
        e.counts[first]++;
        if (lacking == 1)
            e.enough[first] = MAX(e.enough[first], room.v[first]);
    }
    return e;
}

static void print_lack(struct buf *to, const struct view *view, const struct view_job *job,
                       const struct explanation *e, int lack)
{
    struct lack_about about = {.clauses = job->match != NULL ? &job->match->clauses : NULL,
                               .names = &view->resource_names,
                               .keeper = e->keeper};
    if (lack >= LACKS_SPREAD) {
        about.by = job->spreads[lack - LACKS_SPREAD].axis->by;
        about.max = job->spreads[lack - LACKS_SPREAD].max;
    }
    lack_print(to, lack, &about, e->counts[lack] == 1);
}

/* Most machines first, else as they stand. */
static void print_counts(struct buf *to, const struct view *view, const struct view_job *job,
                         const struct explanation *e, uint32_t machines)
{
    const char *before = "";
    bool said[LACKS_COUNT] = {[LACKS_NOTHING] = true};
    for (;;) {
        int most = LACKS_NOTHING;
        for (int lack = 0; lack < LACKS_COUNT; lack++)
            if (!said[lack] && e->counts[lack] > 0 &&
                (most == LACKS_NOTHING || e->counts[lack] > e->counts[most]))
                most = lack;
        if (most == LACKS_NOTHING)
            return;
        said[most] = true;
        buf_printf(to, "%s%u of %u ", before, e->counts[most], machines);
        print_lack(to, view, job, e, most);
        before = ", ";
    }
}

/* Is it constraints and spreads that keep it waiting, and not resources at all? */
static bool lacks_only_places(const struct explanation *e)
{
    uint32_t resources = 0, places = 0;
    for (int lack = 0; lack < LACKS_COUNT; lack++) {
        resources += lack < RES_COUNT ? e->counts[lack] : 0;
        places += lack >= LACKS_CLAUSE ? e->counts[lack] : 0;
    }
    return resources == 0 && places > 0;
}

static void print_change(struct buf *to, const struct view *view, const struct view_job *job,
                         const struct explanation *e)
{
    int best = lack_best_change(e->enough, &job->limit);
    if (best < 0 && lacks_only_places(e)) {
        buf_printf(to, "; no machine meets what it asks for");
        return;
    }
    if (best < 0) {
        buf_printf(to, "; no change of one resource would do");
        return;
    }
    buf_printf(to, "; would fit with ");
    lack_change_print(to, best, e->enough[best], &job->limit, &view->resource_names);
}

bool explain_job(const struct view *view, const struct view_job *job, struct reach *reach,
                 struct buf *to)
{
    if (view->machine_count == 0) {
        buf_printf(to, "no machine fits: the cell has no machines yet");
        return false;
    }
    struct explanation e = look(view, job, reach);
    if (e.counts[LACKS_NOTHING] > 0) {
        buf_printf(to, "fits %u of %u machines now", e.counts[LACKS_NOTHING], view->machine_count);
        return true;
    }
    buf_printf(to, "no machine fits: ");
    print_counts(to, view, job, &e, view->machine_count);
    print_change(to, view, job, &e);
    return false;
}

void explain_gang(const struct view *view, const struct view_job *job, struct reach *reach,
                  uint32_t fitting, uint32_t waiting, struct buf *to)
{
    buf_printf(to, "%u of %u tasks would fit; the gang waits for all: ", fitting, waiting);
    if (view->machine_count == 0) {
        buf_printf(to, "the cell has no machines yet");
        return;
    }
    struct explanation e = look(view, job, reach);
    print_counts(to, view, job, &e, view->machine_count);
    /* What helps the next task is said to help the gang only when there is no other behind it. */
    if (waiting - fitting == 1)
        print_change(to, view, job, &e);
}

bool explain_system(const struct view *view, const struct view_job *job, struct buf *to)
{
    struct explanation e = {0};
    uint32_t waiting = 0;
    for (uint32_t m = 0; m < job->task_count && m < view->machine_count; m++) {
        if (job->tasks[m].state != VIEW_STUCK && job->tasks[m].state != VIEW_WAITING)
            continue;
        int lack = lacks_place(view, job, m);
        struct resources room = feasible_room(view, job, m);
        uint32_t lacking;
        e.counts[lack != LACKS_NOTHING ? lack : lack_of_room(&job->limit, &room, &lacking)]++;
        waiting++;
    }
    uint32_t fitting = e.counts[LACKS_NOTHING];
    if (fitting == waiting) {
        buf_printf(to, "each task that waits fits its machine");
        return true;
    }
    buf_printf(to, "no room for %u task%s on %s machine%s: ", waiting - fitting,
               waiting - fitting == 1 ? "" : "s", waiting - fitting == 1 ? "its" : "their",
               waiting - fitting == 1 ? "" : "s");
    print_counts(to, view, job, &e, waiting);
    return false;
}
