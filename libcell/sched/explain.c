/*
 * explain.c - why a task of a job does not fit, in counts and in the smallest change that helps.
 */
#include "allocs.h"
#include "places.h"

#include <string.h>

struct explanation {
    uint32_t count; /* of machines, or of allocs for a job that runs inside a set */
    uint32_t counts[LACKS_COUNT];
    int64_t enough[RES_COUNT]; /* the most a machine has of this, all other resources fitting; -1 */
    const char *keeper;        /* of the machines that are kept; NULL: of several jobs */
};

struct place {
    const struct view *view;
    const struct view_job *job;
    uint32_t machine;
    const struct view_task *alloc; /* or NULL */
};

static uint32_t fails_if(bool fails)
{
    return fails ? 0 : LACK_PASSES;
}

static uint32_t place_failing(const void *of, int check)
{
    const struct place *place = of;
    const struct view *view = place->view;
    const struct view_job *job = place->job;
    uint32_t machine = place->machine, which;
    switch (check) {
    case LACKS_ALLOC:
        return fails_if(place->alloc != NULL && place->alloc->state != VIEW_LIVE);
    case LACKS_ENDING:
        return fails_if(place->alloc != NULL && place->alloc->stopping);
    case LACKS_MACHINE: /* the columns say it of machines that are up by themselves */
        return fails_if(!view->up[machine] && !view->draining[machine] && !view->sick[machine]);
    case LACKS_LEAVE:
        return fails_if(view->draining[machine]);
    case LACKS_HEALTH:
        return fails_if(view->sick[machine]);
    case LACKS_CLAUSE:
        which = places_failing(job, machine);
        return job->match != NULL && which < job->match->clauses.count ? which : LACK_PASSES;
    case LACKS_KEPT:
        return fails_if(presence_keeper(job, machine) != NULL);
    case LACKS_SPREAD:
        which = places_full(job, machine);
        return which < job->spread_count ? which : LACK_PASSES;
    default:
        UNREACHABLE("check of a place");
    }
}

int explain_place(const struct view *view, const struct view_job *job, uint32_t machine,
                  const struct view_task *alloc)
{
    const struct place place = {view, job, machine, alloc};
    bool is_open = alloc == NULL ? view->up[machine] && places_allow(job, machine)
                                 : allocs_open(view, job, alloc);
    return is_open ? LACKS_NOTHING : lack_of_place(place_failing, &place);
}

/* True when only its room is left to be looked at. */
static bool look_at_place(struct explanation *e, const struct view *view,
                          const struct view_job *job, uint32_t machine,
                          const struct view_task *alloc)
{
    int place = explain_place(view, job, machine, alloc);
    if (place == LACKS_NOTHING)
        return true;
    if (place == LACKS_KEPT) {
        const char *keeper = presence_keeper(job, machine);
        e->keeper = e->counts[place] == 0 || e->keeper == keeper ? keeper : NULL;
    }
    e->counts[place]++;
    return false;
}

static void look_at_room(struct explanation *e, const struct resources *need, struct resources room)
{
    uint32_t lacking;
    int first = lack_of_room(need, &room, &lacking);
    e->counts[first]++;
    if (lacking == 1)
        e->enough[first] = MAX(e->enough[first], room.v[first]);
}

static void look_at_allocs(struct explanation *e, const struct view *view,
                           const struct view_job *job, const struct resources *need)
{
    for (uint32_t i = 0; i < e->count; i++) {
        const struct view_task *alloc = allocs_get(job, i);
        if (look_at_place(e, view, job, alloc->machine, alloc))
            look_at_room(e, need, allocs_room_evicting(view, job, alloc));
    }
}

static struct explanation look(const struct view *view, const struct view_job *job,
                               const struct resources *need, struct reach *reach)
{
    struct explanation e = {.count = job->inside != NULL ? allocs_count(job)
                                                         : view->machine_count - view->gone_count};
    for (int r = 0; r < RES_COUNT; r++)
        e.enough[r] = -1;
    if (job->inside != NULL) {
        look_at_allocs(&e, view, job, need);
        return e;
    }
    bool is_rare = resources_rare(need);
    if (!is_rare)
        reach_begin(reach, view, job);
    for (uint32_t m = 0; m < view->machine_count; m++)
        if (!view->gone[m] && look_at_place(&e, view, job, m, NULL))
            look_at_room(&e, need,
                         is_rare ? feasible_room(view, job, m) : reach_room(reach, view, job, m));
    return e;
}

static void print_lack(struct reason *to, const struct view *view, const struct view_job *job,
                       const struct explanation *e, int lack)
{
    struct lack_about about = {.clauses = job->match != NULL ? &job->match->clauses : NULL,
                               .names = &view->resource_names,
                               .keeper = e->keeper};
    if (lack >= LACKS_SPREAD) {
        about.by = job->spreads[lack - LACKS_SPREAD].axis->by;
        about.max = job->spreads[lack - LACKS_SPREAD].max;
    }
    lack_print(&to->text, lack, &about, e->counts[lack] == 1);
}

/* Most machines first, else as they stand. */
static void print_counts(struct reason *to, const struct view *view, const struct view_job *job,
                         const struct explanation *e)
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
        reason_note(to, (uint64_t)most);
        if (most == LACKS_KEPT && e->keeper != NULL)
            reason_note(to, hash_text(0, e->keeper));
        buf_printf(&to->text, "%s%u of %u ", before, e->counts[most], e->count);
        print_lack(to, view, job, e, most);
        before = ", ";
    }
}

/* How many it lacks for these reasons. */
static uint32_t count_lacks(const struct explanation *e, int from, int to)
{
    uint32_t count = 0;
    for (int lack = from; lack < to; lack++)
        count += e->counts[lack];
    return count;
}

static void print_change(struct reason *to, const struct view *view, const struct view_job *job,
                         const struct explanation *e, const struct resources *need)
{
    int best = lack_best_change(e->enough, need);
    bool lacks_resources = count_lacks(e, 0, RES_COUNT) > 0;
    bool lacks_places = count_lacks(e, LACKS_CLAUSE, LACKS_COUNT) > 0;
    if (best >= 0) {
        buf_printf(&to->text, "; would fit with ");
        lack_change_print(&to->text, best, e->enough[best], need, &view->resource_names);
    } else if (lacks_places && !lacks_resources) {
        reason_note(to, REASON_NO_MACHINE);
        buf_printf(&to->text, "; no machine meets what it asks for");
    } else if (lacks_resources || job->inside == NULL) { /* else allocs have to come first */
        reason_note(to, REASON_NO_CHANGE);
        buf_printf(&to->text, "; no change of one resource would do");
    }
}

/* There is none to look at. */
static bool print_none(struct reason *to, const struct view *view, const struct view_job *job)
{
    bool no_set = job->inside != NULL && allocs_count(job) == 0;
    bool is_empty = job->inside == NULL && view->machine_count == view->gone_count;
    if (no_set)
        buf_printf(&to->text, "alloc set \"%s\" is gone", strchr(job->inside->key, '/') + 1);
    else if (is_empty)
        buf_printf(&to->text, "the cell has no machines yet");
    if (no_set || is_empty)
        reason_note(to, no_set ? REASON_NO_SET : REASON_EMPTY);
    return no_set || is_empty;
}

bool explain_job(const struct view *view, const struct view_job *job, struct reach *reach,
                 struct reason *to)
{
    const char *noun = job->inside != NULL ? "alloc" : "machine";
    struct explanation shapes[SPEC_SHAPES_MAX];
    for (uint32_t i = 0; i < job->shape_count; i++) {
        shapes[i] = look(view, job, &job->limits[i], reach);
        uint32_t fits = shapes[i].counts[LACKS_NOTHING];
        if (fits > 0) {
            buf_printf(&to->text, "fits %u of %u %ss now", fits, shapes[i].count, noun);
            return true;
        }
    }
    reason_note(to, REASON_NOTHING_FITS);
    if (shapes[0].count > 0 || job->inside == NULL)
        buf_printf(&to->text, "no %s fits: ", noun);
    if (print_none(to, view, job))
        return false;
    for (uint32_t i = 0; i < job->shape_count; i++) {
        if (i > 0) {
            reason_note(to, REASON_SHAPE);
            buf_printf(&to->text, "; in shape %u: ", i + 1);
        }
        print_counts(to, view, job, &shapes[i]);
        print_change(to, view, job, &shapes[i], &job->limits[i]);
    }
    return false;
}

void explain_gang(const struct view *view, const struct view_job *job, const struct resources *need,
                  struct reach *reach, uint32_t fitting, uint32_t waiting, struct reason *to)
{
    reason_note(to, REASON_GANG);
    buf_printf(&to->text, "%u of %u tasks would fit; the gang waits for all: ", fitting, waiting);
    if (print_none(to, view, job))
        return;
    struct explanation e = look(view, job, need, reach);
    print_counts(to, view, job, &e);
    /* What helps the next task is said to help the gang only when there is no other behind it. */
    if (waiting - fitting == 1)
        print_change(to, view, job, &e, need);
}

/* What keeps a task off its machine: of several shapes, of the first. */
static int lacks_on(const struct view *view, const struct view_job *job, uint32_t machine)
{
    int lack = explain_place(view, job, machine, NULL);
    if (lack != LACKS_NOTHING || feasible_evicting(view, job, machine))
        return lack;
    struct resources room = feasible_room(view, job, machine);
    uint32_t lacking;
    return lack_of_room(&job->limits[0], &room, &lacking);
}

bool explain_system(const struct view *view, const struct view_job *job, struct reason *to)
{
    struct explanation e = {0};
    for (uint32_t m = 0; m < job->task_count && m < view->machine_count; m++) {
        if (job->tasks[m].state != VIEW_STUCK && job->tasks[m].state != VIEW_WAITING)
            continue;
        e.counts[lacks_on(view, job, m)]++;
        e.count++;
    }
    uint32_t stuck = e.count - e.counts[LACKS_NOTHING];
    if (stuck == 0) {
        buf_printf(&to->text, "each task that waits fits its machine");
        return true;
    }
    reason_note(to, REASON_SYSTEM);
    buf_printf(&to->text, "no room for %u task%s on %s machine%s: ", stuck, stuck == 1 ? "" : "s",
               stuck == 1 ? "its" : "their", stuck == 1 ? "" : "s");
    print_counts(to, view, job, &e);
    return false;
}
