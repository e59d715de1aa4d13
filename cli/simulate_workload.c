/*
 * simulate_workload.c - make a workload from a trace, and count the input that a cell cannot
 * express.
 */
#include "simulate_workload.h"

#include "attributes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SCALE_2011_MAX = 11 };

void workload_release(struct workload *workload)
{
    for (uint32_t i = 0; i < workload->machine_count; i++)
        words_release(&workload->machines[i].attributes);
    for (uint32_t i = 0; i < workload->job_count; i++)
        spec_release(&workload->jobs[i].spec);
    free(workload->machines);
    free(workload->jobs);
    *workload = (struct workload){0};
}

/*
 * The trace of 2011 has priorities 0 to 11: 0-1 free, 2-8 batch, 9 and 11 production, 10
 * monitoring. Our bands (those of 2019) start at 0, 100, 120 and 360. The order inside a band is
 * kept; monitoring is above production. Other scales are used unchanged.
 */
uint32_t workload_priority(uint32_t priority, bool is_2011)
{
    static const uint32_t bands[SCALE_2011_MAX + 1] = {0,   1,   100, 101, 102, 103,
                                                       104, 105, 106, 200, 360, 201};
    if (!is_2011)
        return priority;
    ASSERT(priority <= SCALE_2011_MAX);
    return bands[priority];
}

static int64_t bytes_of(int64_t mib)
{
    return mib << 20;
}

static void take_machine(struct workload *to, const struct trace_machine *from)
{
    struct sim_machine *machine = &to->machines[to->machine_count++];
    str_copy(machine->name, sizeof machine->name, from->id);
    machine->capacity = (struct resources){{[RES_CPU] = from->cpu_milli,
                                            [RES_RAM] = bytes_of(from->ram_mib),
                                            [RES_DISK] = bytes_of(from->disk_mib),
                                            [RES_GPU] = from->gpu_milli}};
    machine->attributes = words_copy(&from->attributes);
}

/* N - 1 domains must not suffice: n > (N - 1) * max. */
uint32_t workload_domain_max(uint32_t tasks, uint32_t domains_min)
{
    if (domains_min <= 1)
        return tasks;
    return MAX((tasks - 1) / (domains_min - 1), 1U);
}

/* A bound that no placement could reach is left out. */
static void add_spread(struct job_spec *spec, const char *by, uint32_t max)
{
    if (max == 0 || max >= spec->replicas)
        return;
    ASSERT(spec->spread_count < SPEC_SPREADS_MAX);
    struct spread *spread = &spec->spreads[spec->spread_count++];
    str_copy(spread->by, sizeof spread->by, by);
    spread->max = max;
}

/* Take the conflicts with K = 0 and jobs in one part; return how many others were left out. */
static uint32_t take_conflicts(struct job_spec *spec, const struct trace_constraints *from,
                               const struct namemap *split)
{
    uint32_t left = 0;
    for (uint32_t i = 0; i < from->conflict_count; i++) {
        const struct trace_conflict *conflict = &from->conflicts[i];
        struct term term = {.op = OP_APART};
        if (conflict->max > 0 || namemap_get(split, conflict->job) != NULL) {
            left++;
            continue;
        }
        str_copy(term.attribute, sizeof term.attribute, ATTRIBUTE_MACHINE);
        words_add(&term.values, conflict->job);
        clause_add(clauses_add(&spec->constraints, 0), term);
    }
    return left;
}

static void take_bounds(struct job_spec *spec, const struct trace_constraints *from)
{
    uint32_t domain_max = from->domain_max;
    if (from->domains_min > 0) {
        uint32_t max = workload_domain_max(spec->replicas, from->domains_min);
        domain_max = domain_max == 0 ? max : MIN(domain_max, max);
    }
    add_spread(spec, ATTRIBUTE_MACHINE, from->machine_max);
    add_spread(spec, TRACE_FAILURE_DOMAIN, domain_max);
}

static void count_job(const struct trace_job *job, uint32_t count, bool is_part, bool has_disks,
                      uint32_t conflicts, struct sim_ignored *to)
{
    const struct trace_constraints *c = &job->constraints;
    bool bounded = c->machine_max > 0 || c->domain_max > 0 || c->domains_min > 0;
    to->conflicts += conflicts > 0 ? count : 0;
    to->covers += c->domains_min > 0 ? count : 0;
    to->parts += is_part && bounded ? count : 0;
    to->raised += job->cpu_milli == 0 || job->ram_mib == 0 ? count : 0;
    to->disks += !has_disks && job->disk_mib > 0 ? count : 0;
    to->qos += job->has_qos ? count : 0;
}

static bool runs_at(const struct trace_job *job, int32_t duration_s, int64_t second)
{
    int64_t end = duration_s < 0 ? INT64_MAX : job->arrival_s + MAX(duration_s, 1);
    return job->arrival_s <= second && second < end;
}

/* Return how many of the job's tasks are taken. */
static uint32_t count_taken(const struct trace *trace, const struct trace_job *job,
                            const struct workload_choice *choice)
{
    uint32_t count = 0;
    if (choice->when == WHEN_ALL)
        return job->count;
    if (choice->when == WHEN_UNTIL)
        return job->arrival_s <= choice->second ? job->count : 0;
    for (uint32_t i = 0; i < job->count; i++)
        count += runs_at(job, trace->durations_s[job->first + i], choice->second);
    return count;
}

static void take_durations(struct workload *to, const struct trace *trace,
                           const struct trace_job *from, struct sim_job *job, bool over_time)
{
    uint32_t some = 0;
    for (uint32_t i = 0; i < from->count; i++)
        some += trace->durations_s[from->first + i] >= 0;
    if (over_time && some > 0)
        job->durations_s = trace->durations_s + from->first;
    else
        to->ignored.durations += MIN(some, job->spec.replicas);
}

struct namer {
    struct namemap taken;
    struct namemap split; /* jobs that come in parts */
    bool is_part;         /* an earlier part of the last named job exists */
};

/* Name a job; add its line in the trace if an earlier part has taken the name. */
static void name_job(struct namer *namer, const struct trace_job *job, char *to, size_t size)
{
    namer->is_part = namemap_get(&namer->taken, job->id) != NULL;
    if (namer->is_part)
        snprintf(to, size, "%s.line%" PRIu32, job->id, job->line);
    else
        str_copy(to, size, job->id);
    if (!namer->is_part)
        namemap_put(&namer->taken, job->id, (void *)(uintptr_t)job);
}

static void take_job(struct workload *to, const struct trace *trace, const struct trace_job *from,
                     const struct workload_choice *choice, bool has_disks, struct namer *namer)
{
    uint32_t count = count_taken(trace, from, choice);
    to->ignored.not_running += from->count - count;
    if (count == 0)
        return;
    struct sim_job *job = &to->jobs[to->job_count++];
    struct job_spec *spec = &job->spec;
    job->arrival_s = from->arrival_s;
    spec_init(spec);
    words_add(&spec->argv, "true");
    str_copy(spec->user, sizeof spec->user, "trace");
    name_job(namer, from, spec->name, sizeof spec->name);
    spec->policy = choice->policy;
    spec->priority = workload_priority(from->priority, to->ignored.priorities_2011);
    spec->replicas = count;
    spec->limit = (struct resources){{[RES_CPU] = MAX(from->cpu_milli, 1),
                                      [RES_RAM] = bytes_of(MAX(from->ram_mib, 1)),
                                      [RES_DISK] = has_disks ? bytes_of(from->disk_mib) : 0,
                                      [RES_GPU] = from->gpu_milli}};
    spec->constraints = clauses_copy(&from->constraints.clauses);
    uint32_t conflicts = take_conflicts(spec, &from->constraints, &namer->split);
    take_bounds(spec, &from->constraints);
    take_durations(to, trace, from, job, choice->when == WHEN_UNTIL);
    count_job(from, count, namer->is_part, has_disks, conflicts, &to->ignored);
}

/* Find the jobs that come in parts: their id occurs more than once. */
static void find_split(struct namer *namer, const struct trace *trace)
{
    struct namemap seen = {0};
    for (uint32_t i = 0; i < trace->job_count; i++) {
        struct trace_job *job = &trace->jobs[i];
        namemap_put(namemap_get(&seen, job->id) == NULL ? &seen : &namer->split, job->id, job);
    }
    namemap_release(&seen);
}

struct step {
    int64_t second;
    int64_t cpu_milli, ram_mib, gpu_milli; /* positive: arrival, negative: departure */
};

/* Compare by time; at the same second, departures come first. */
static int by_second(const void *x, const void *y)
{
    const struct step *a = x;
    const struct step *b = y;
    if (a->second != b->second)
        return a->second < b->second ? -1 : 1;
    return a->cpu_milli < b->cpu_milli ? -1 : a->cpu_milli > b->cpu_milli;
}

static struct step *draw_steps(const struct trace *trace, size_t *ret_count)
{
    struct step *steps = xcalloc((size_t)trace->task_count * 2 + 1, sizeof *steps);
    size_t count = 0;
    for (uint32_t j = 0; j < trace->job_count; j++) {
        const struct trace_job *job = &trace->jobs[j];
        for (uint32_t i = 0; i < job->count; i++) {
            int32_t duration_s = trace->durations_s[job->first + i];
            steps[count++] =
                (struct step){job->arrival_s, job->cpu_milli, job->ram_mib, job->gpu_milli};
            if (duration_s >= 0)
                steps[count++] = (struct step){job->arrival_s + MAX(duration_s, 1), -job->cpu_milli,
                                               -job->ram_mib, -job->gpu_milli};
        }
    }
    qsort(steps, count, sizeof *steps, by_second);
    *ret_count = count;
    return steps;
}

/* Return the second with the highest demand, as a share of the capacity, for any of cpu, ram, gpus.
 */
static int64_t peak_of(const struct trace *trace)
{
    size_t count;
    CLEANUP(free_ptr) struct step *steps = draw_steps(trace, &count);
    double cpus = 1, mib = 1, gpus = 1, cpu = 0, ram = 0, gpu = 0, most = 0;
    int64_t second = 0;
    for (uint32_t i = 0; i < trace->machine_count; i++) {
        cpus += (double)trace->machines[i].cpu_milli;
        mib += (double)trace->machines[i].ram_mib;
        gpus += (double)trace->machines[i].gpu_milli;
    }
    for (size_t i = 0; i < count; i++) {
        cpu += (double)steps[i].cpu_milli;
        ram += (double)steps[i].ram_mib;
        gpu += (double)steps[i].gpu_milli;
        double share = MAX(MAX(cpu / cpus, ram / mib), gpu / gpus);
        bool last = i + 1 == count || steps[i + 1].second != steps[i].second;
        if (last && share > most) {
            most = share;
            second = steps[i].second;
        }
    }
    return second;
}

void workload_of_trace(struct workload *ret, const struct trace *trace,
                       const struct workload_choice *choice)
{
    struct workload_choice now = *choice;
    struct namer namer = {0};
    bool has_disks = false;
    if (now.when == WHEN_PEAK)
        now = (struct workload_choice){choice->policy, WHEN_MOMENT, peak_of(trace)};
    *ret = (struct workload){.from_trace = true, .policy = choice->policy};
    ret->ignored.priorities_2011 = trace->priority_max <= SCALE_2011_MAX;
    ret->machines = xcalloc(trace->machine_count, sizeof *ret->machines);
    ret->jobs = xcalloc(trace->job_count, sizeof *ret->jobs);
    for (uint32_t i = 0; i < trace->machine_count; i++) {
        take_machine(ret, &trace->machines[i]);
        has_disks |= trace->machines[i].disk_mib > 0;
    }
    find_split(&namer, trace);
    for (uint32_t i = 0; i < trace->job_count; i++)
        take_job(ret, trace, &trace->jobs[i], &now, has_disks, &namer);
    namemap_release(&namer.taken);
    namemap_release(&namer.split);
}

void workload_of_cell(struct workload *ret, const struct cell *cell)
{
    *ret = (struct workload){.machines = xcalloc(cell->machine_count, sizeof *ret->machines),
                             .jobs = xcalloc(cell->job_count, sizeof *ret->jobs)};
    for (uint32_t i = 0; i < cell->machine_count; i++) {
        const struct machine *from = cell->machines[i];
        if (from->state != MACHINE_UP || from->draining)
            continue;
        struct sim_machine *machine = &ret->machines[ret->machine_count++];
        str_copy(machine->name, sizeof machine->name, from->name);
        machine->capacity = from->capacity;
        machine->attributes = words_copy(&from->attributes);
    }
    LIST_EACH(l, &cell->jobs)
    {
        const struct job *job = CONTAINER_OF(l, struct job, link);
        uint32_t wanted =
            job->counts[TASK_PENDING] + job->counts[TASK_ASSIGNED] + job->counts[TASK_RUNNING];
        if (job->killed || wanted == 0)
            continue;
        struct job_spec *spec = &ret->jobs[ret->job_count++].spec;
        spec_copy(spec, &job->spec);
        spec->replicas = wanted;
    }
}
