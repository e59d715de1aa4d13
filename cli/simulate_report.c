/*
 * simulate_report.c - print the results of a simulation, and the input that it ignored.
 */
#include "simulate_report.h"
#include "text.h"

#include <string.h>

void report_ignored(const struct sim_ignored *g, struct ignored_row to[IGNORED_ROWS])
{
    const struct ignored_row rows[IGNORED_ROWS] = {
        {"elsewhen", g->not_running,
         "tasks do not run at that time: left out; see --at, --arrivals"},
        {"conflict", g->conflicts,
         "tasks have a conflict=JOB:K with K > 0, or with a job in parts: ignored"},
        {"cover", g->covers,
         "tasks have a spread=failure_domain:N: taken as a maximum per domain that forces N"},
        {"parts", g->parts, "tasks of later parts of a job with bounds: bounded separately"},
        {"duration", g->durations, "tasks have a duration_s: taken as endless; see --arrivals"},
        {"raised", g->raised, "tasks ask for no cpu or no ram: taken as asking for 1m or 1Mi"},
        {"disk", g->disks, "tasks ask for disk, which no machine has: taken as asking for none"},
        {"qos", g->qos, "tasks have a qos: ignored, the band follows from the priority"},
    };
    memcpy(to, rows, sizeof rows);
}

static double percent(int64_t part, int64_t whole)
{
    return whole == 0 ? 0 : 100.0 * (double)part / (double)whole;
}

void report_amount(struct buf *to, enum resource r, int64_t amount)
{
    bool bytes = r == RES_RAM || r == RES_DISK, milli = r == RES_CPU || r == RES_GPU;
    if (bytes || milli)
        buf_printf(to, "%.1f%s", (double)amount / (milli ? 1000 : 1 << 30), bytes ? "Gi" : "");
    else
        buf_printf(to, "%" PRId64, amount);
}

static void print_resource(FILE *to, const struct sim_figures *f,
                           const struct resource_names *names, enum resource r)
{
    CLEANUP(buf_release) struct buf text = {0};
    const struct resources *all[] = {&f->capacity, &f->demand, &f->used, &f->stranded};
    print_to(to, "%-9s", resource_name(r, names));
    for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
        int64_t amount = all[i]->v[r];
        buf_clear(&text);
        report_amount(&text, r, amount);
        print_to(to, " %14s", buf_text(&text));
        if (i > 0)
            print_to(to, " %5.1f%%", percent(amount, f->capacity.v[r]));
    }
    fputc('\n', to);
}

static void print_ignored(FILE *to, const struct sim_ignored *g)
{
    struct ignored_row rows[IGNORED_ROWS];
    report_ignored(g, rows);
    print_to(to, "\nparts of the trace that were ignored or changed:\n");
    for (size_t i = 0; i < IGNORED_ROWS; i++)
        if (rows[i].count > 0)
            print_to(to, "  %9" PRIu64 " %s\n", rows[i].count, rows[i].text);
    print_to(to, "priorities: %s\n",
             g->priorities_2011
                 ? "0-11 of the 2011 scale mapped: 0-1 free (0-1), 2-8 batch (100-106),\n"
                   "            9 and 11 production (200, 201), 10 monitoring (360)"
                 : "unchanged");
}

static void print_waits(FILE *to, const char *name, const struct waits *w)
{
    if (w->count > 0)
        print_to(to, "%-12s %9" PRIu64 " waits %9" PRIu32 " %9" PRIu32 " %9" PRIu32 "\n", name,
                 w->count, w->p50_s, w->p99_s, w->max_s);
}

static void print_history(FILE *to, const struct findings *found)
{
    const struct history *h = found->history;
    const struct resources *capacity = &found->figures->capacity;
    print_to(to,
             "\nover %" PRId64 " s: %" PRIu64 " tasks arrived, %" PRIu64 " finished, %" PRIu64
             " placements;\nat most %" PRIu64 " pending. Used, mean and most:",
             h->until_s, h->arrived, h->finished, h->placements, h->pending_max);
    for (enum resource r = 0; r < RES_COUNT; r++)
        if (capacity->v[r] > 0)
            print_to(to, " %s %.1f%% %.1f%%", resource_name(r, &found->figures->resource_names),
                     percent(h->used_mean.v[r], capacity->v[r]),
                     percent(h->used_max.v[r], capacity->v[r]));
    print_to(to, "\n\n%-12s %15s %9s %9s %9s  (seconds pending before a placement, or so far)\n",
             "", "", "p50", "p99", "longest");
    for (enum band b = 0; b < BAND_COUNT; b++)
        print_waits(to, band_text(b), &h->bands[b]);
    print_waits(to, "all", &h->waits);
}

void report_print(FILE *to, const struct findings *found)
{
    const struct sim_figures *f = found->figures;
    if (found->workload->from_trace)
        print_to(to, "policy    %s\n", policy_text(found->workload->policy));
    print_to(to,
             "machines  %" PRIu32 "\ntasks     %" PRIu64 " in %" PRIu64 " jobs\n"
             "placed    %" PRIu64 " (%.1f%%)\npending   %" PRIu64 "\nevicted   %" PRIu64 "\n\n",
             f->machines, f->tasks, f->jobs, f->placed,
             percent((int64_t)f->placed, (int64_t)f->tasks), f->pending, f->evicted);
    print_to(to, "%-9s %14s %14s %6s %14s %6s %14s %6s\n", "", "capacity", "asked for", "",
             "placed", "", "stranded", "");
    for (enum resource r = 0; r < RES_COUNT; r++)
        if (f->capacity.v[r] > 0 || f->demand.v[r] > 0)
            print_resource(to, f, &f->resource_names, r);
    print_to(
        to,
        "stranded: left on the %" PRIu32 " machines that have no room for a task of mean size\n"
        "\npasses    %zu: median %.2f ms, p99 %.2f ms, longest %.2f ms, together %.2f s\n",
        f->stranded_machines, f->passes, (double)f->pass_us_p50 / 1e3, (double)f->pass_us_p99 / 1e3,
        (double)f->pass_us_max / 1e3, (double)f->pass_us_total / 1e6);
    if (found->history != NULL)
        print_history(to, found);
    if (found->workload->from_trace)
        print_ignored(to, &found->workload->ignored);
}

/* With `names` NULL, named resources are left out. */
static json_t *resources_json(const struct resources *r, const struct resource_names *names)
{
    json_t *json =
        json_pack("{s:I, s:I, s:I, s:I, s:I}", "cpu_milli", (json_int_t)r->v[RES_CPU], "ram_bytes",
                  (json_int_t)r->v[RES_RAM], "disk_bytes", (json_int_t)r->v[RES_DISK], "ports",
                  (json_int_t)r->v[RES_PORTS], "gpu_milli", (json_int_t)r->v[RES_GPU]);
    for (enum resource i = RES_NAMED; names != NULL && i < RES_COUNT; i++)
        if (resource_name(i, names)[0] != '\0')
            json_object_set_new(json, resource_name(i, names), json_integer(r->v[i]));
    return json;
}

static json_t *ignored_json(const struct sim_ignored *ignored)
{
    struct ignored_row rows[IGNORED_ROWS];
    json_t *object = json_object();
    report_ignored(ignored, rows);
    for (size_t i = 0; i < IGNORED_ROWS; i++)
        json_object_set_new(object, rows[i].key, json_integer((json_int_t)rows[i].count));
    return object;
}

static json_t *bands_json(const struct sim_figures *f)
{
    json_t *bands = json_object();
    for (enum band b = 0; b < BAND_COUNT; b++)
        json_object_set_new(bands, band_text(b),
                            json_pack("{s:I, s:I, s:I}", "tasks", (json_int_t)f->bands[b].tasks,
                                      "placed", (json_int_t)f->bands[b].placed, "pending",
                                      (json_int_t)f->bands[b].pending));
    return bands;
}

static json_t *waits_json(const struct waits *w)
{
    return json_pack("{s:I, s:I, s:I, s:I}", "count", (json_int_t)w->count, "p50_s",
                     (json_int_t)w->p50_s, "p99_s", (json_int_t)w->p99_s, "max_s",
                     (json_int_t)w->max_s);
}

static json_t *history_json(const struct history *h)
{
    json_t *samples = json_array(), *bands = json_object();
    for (uint32_t i = 0; i < h->sample_count; i++) {
        const struct sample *s = &h->samples[i];
        json_array_append_new(
            samples, json_pack("{s:I, s:I, s:I, s:o}", "second", (json_int_t)s->second,
                               "pending_max", (json_int_t)s->pending_max, "running",
                               (json_int_t)s->running, "used", resources_json(&s->used, NULL)));
    }
    for (enum band b = 0; b < BAND_COUNT; b++)
        json_object_set_new(bands, band_text(b), waits_json(&h->bands[b]));
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o}", "until_s",
                     (json_int_t)h->until_s, "arrived", (json_int_t)h->arrived, "finished",
                     (json_int_t)h->finished, "placements", (json_int_t)h->placements,
                     "pending_max", (json_int_t)h->pending_max, "waits", waits_json(&h->waits),
                     "waits_by_band", bands, "used_mean", resources_json(&h->used_mean, NULL),
                     "used_max", resources_json(&h->used_max, NULL), "samples", samples);
}

/* Add the members that only a trace has. */
static void add_trace(json_t *json, const struct workload *workload)
{
    if (!workload->from_trace)
        return;
    bool is_2011 = workload->ignored.priorities_2011;
    json_object_set_new(json, "ignored", ignored_json(&workload->ignored));
    json_object_set_new(json, "priorities", json_string(is_2011 ? "2011" : "as they are"));
}

json_t *report_json(const struct findings *found)
{
    const struct sim_figures *f = found->figures;
    json_t *json = json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I}",
        "machines", (json_int_t)f->machines, "jobs", (json_int_t)f->jobs, "tasks",
        (json_int_t)f->tasks, "placed", (json_int_t)f->placed, "pending", (json_int_t)f->pending,
        "evicted", (json_int_t)f->evicted, "bands", bands_json(f), "capacity",
        resources_json(&f->capacity, &f->resource_names), "demand",
        resources_json(&f->demand, &f->resource_names), "used",
        resources_json(&f->used, &f->resource_names), "stranded",
        resources_json(&f->stranded, &f->resource_names), "stranded_machines",
        (json_int_t)f->stranded_machines, "passes", (json_int_t)f->passes, "pass_us_p50",
        (json_int_t)f->pass_us_p50, "pass_us_p99", (json_int_t)f->pass_us_p99, "pass_us_max",
        (json_int_t)f->pass_us_max, "pass_us_total", (json_int_t)f->pass_us_total);
    ASSERT(json != NULL);
    if (found->history != NULL)
        json_object_set_new(json, "history", history_json(found->history));
    if (found->workload->from_trace)
        json_object_set_new(json, "policy", json_string(policy_text(found->workload->policy)));
    add_trace(json, found->workload);
    return json;
}

void report_compact_print(FILE *to, const struct workload *workload,
                          const struct compact_bound *bound, const struct compact *results,
                          const bool *done)
{
    print_to(to,
             "cell compaction: machines needed for %" PRIu64 " tasks, of %" PRIu32
             " machines; %d trials,\n90th percentile; up to 0.2%% of the tasks may stay pending; "
             "hard constraints\nof %" PRIu64 " jobs larger than half the cell are made soft\n\n"
             "%-18s %9s %9s %11s %18s\n%-18s %9s %8.1f%%\n",
             bound->tasks, bound->machines, COMPACT_TRIALS, bound->softened, "", "machines",
             "of cell", "over bound", "trials", "volume bound", "", bound->percent);
    for (enum policy p = 0; p < POLICY_COUNT; p++) {
        const struct compact *c = &results[p];
        if (done[p])
            print_to(to, "%-18s %9" PRIu32 " %8.1f%% %10.1f%% %9" PRIu32 " to %5" PRIu32 "\n",
                     policy_text(p), c->machines, c->percent,
                     100 * (c->percent / bound->percent - 1), c->needed[0],
                     c->needed[COMPACT_TRIALS - 1]);
    }
    if (workload->from_trace)
        print_ignored(to, &workload->ignored);
}

json_t *report_compact_json(const struct workload *workload, const struct compact_bound *bound,
                            const struct compact *results, const bool *done)
{
    json_t *policies = json_object();
    for (enum policy p = 0; p < POLICY_COUNT; p++) {
        if (!done[p])
            continue;
        json_t *needed = json_array();
        for (size_t i = 0; i < COMPACT_TRIALS; i++)
            json_array_append_new(needed, json_integer(results[p].needed[i]));
        json_object_set_new(policies, policy_text(p),
                            json_pack("{s:I, s:f, s:o}", "machines",
                                      (json_int_t)results[p].machines, "percent",
                                      results[p].percent, "trials", needed));
    }
    json_t *json =
        json_pack("{s:I, s:I, s:I, s:f, s:o}", "machines", (json_int_t)bound->machines, "tasks",
                  (json_int_t)bound->tasks, "softened_jobs", (json_int_t)bound->softened,
                  "bound_percent", bound->percent, "policies", policies);
    add_trace(json, workload);
    return json;
}

enum { WHAT_IF_LINES = 20 };

void report_what_if_print(FILE *to, const struct sim *sim, const struct what_if *w)
{
    print_to(to,
             "\nwithout %" PRIu32 " machine%s (%s%s): %" PRIu64
             " task%s lost their machine, %" PRIu64 " evicted,\n%" PRIu64 " stay pending\n",
             w->removed_count, w->removed_count == 1 ? "" : "s",
             cell_machine(sim->cell, w->removed[0])->name, w->removed_count > 1 ? ", ..." : "",
             w->lost, w->lost == 1 ? "" : "s", w->evicted, w->pending);
    if (w->job_count > 0)
        print_to(to, "  %9s %9s %9s %9s  job\n", "priority", "lost", "evicted", "pending");
    for (size_t i = 0; i < w->job_count && i < WHAT_IF_LINES; i++) {
        const struct what_if_job *what = &w->jobs[i];
        const struct job *job = cell_job(sim->cell, what->job);
        print_to(to, "  %9" PRIu32 " %9" PRIu32 " %9" PRIu32 " %9" PRIu32 "  %s%s%s\n",
                 job->spec.priority, what->lost, what->evicted, what->pending, job->spec.name,
                 what->pending > 0 ? ": " : "", what->pending > 0 ? job->reason : "");
    }
    if (w->job_count > WHAT_IF_LINES)
        print_to(to, "  and %zu more jobs (-o json has all)\n", w->job_count - WHAT_IF_LINES);
}

json_t *report_what_if_json(const struct sim *sim, const struct what_if *w)
{
    json_t *removed = json_array(), *jobs = json_array();
    for (uint32_t i = 0; i < w->removed_count; i++)
        json_array_append_new(removed, json_string(cell_machine(sim->cell, w->removed[i])->name));
    for (size_t i = 0; i < w->job_count; i++) {
        const struct what_if_job *what = &w->jobs[i];
        const struct job *job = cell_job(sim->cell, what->job);
        json_array_append_new(
            jobs, json_pack("{s:s, s:I, s:I, s:I, s:I, s:s}", "job", job->spec.name, "priority",
                            (json_int_t)job->spec.priority, "lost", (json_int_t)what->lost,
                            "evicted", (json_int_t)what->evicted, "pending",
                            (json_int_t)what->pending, "reason", job->reason));
    }
    return json_pack("{s:o, s:I, s:I, s:I, s:o}", "removed", removed, "lost", (json_int_t)w->lost,
                     "evicted", (json_int_t)w->evicted, "pending", (json_int_t)w->pending, "jobs",
                     jobs);
}
