/*
 * simulate_trace.c - a trace as commands, and a count of everything it says that a cell cannot.
 */
#include "simulate.h"

#include <stdio.h>
#include <string.h>

enum { SCALE_2011_MAX = 11 };

/*
 * The trace of 2011 knows 0 to 11: 0-1 free, 2-8 batch, 9 and 11 production, 10 monitoring. Our
 * bands (those of 2019) begin at 0, 100, 120 and 360; the order inside a band is kept, monitoring
 * comes above production. Larger scales are taken as they are.
 */
uint32_t sim_priority(uint32_t priority, bool is_2011)
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

int sim_add_machine(struct sim *sim, const struct trace_machine *machine, uint32_t copy,
                    struct err *err)
{
    char name[CELL_NAME_MAX + 1];
    struct resources capacity = {{[RES_CPU] = machine->cpu_milli,
                                  [RES_RAM] = bytes_of(machine->ram_mib),
                                  [RES_DISK] = bytes_of(machine->disk_mib)}};
    snprintf(name, sizeof name, copy == 0 ? "%s" : "%s.copy%" PRIu32, machine->id, copy);
    return sim_machine(sim, name, capacity, err);
}

static void count_job(const struct trace_job *job, bool has_disks, struct sim_ignored *to)
{
    to->durations += job->durations;
    to->gpus += job->gpu_milli > 0 ? job->count : 0;
    to->constraints += job->constraints[0] != '\0' ? job->count : 0;
    to->raised += job->cpu_milli == 0 || job->ram_mib == 0 ? job->count : 0;
    to->disks += !has_disks && job->disk_mib > 0 ? job->count : 0;
    to->qos += job->has_qos ? job->count : 0;
}

/* A job's name, with its line in the trace when an earlier part of the job has taken the name. */
static void name_job(const struct sim *sim, const struct trace_job *job, char *to, size_t size)
{
    snprintf(to, size, "%s", job->id);
    if (cell_job_named(sim->cell, to) != NULL)
        snprintf(to, size, "%s.line%" PRIu32, job->id, job->line);
}

int sim_add_jobs(struct sim *sim, const struct trace *trace, const struct sim_load *load,
                 struct sim_ignored *ret, struct err *err)
{
    CLEANUP(spec_release) struct job_spec spec;
    bool has_disks = false;
    for (uint32_t i = 0; i < trace->machine_count; i++)
        has_disks |= trace->machines[i].disk_mib > 0;
    spec_init(&spec);
    words_add(&spec.argv, "true");
    str_copy(spec.user, sizeof spec.user, "trace");
    spec.policy = load->policy;
    ret->priorities_2011 = trace->priority_max <= SCALE_2011_MAX;
    for (uint32_t i = 0; i < trace->job_count; i++) {
        const struct trace_job *job = &trace->jobs[i];
        if (job->arrival_s > load->arrivals_s) {
            ret->later += job->count;
            continue;
        }
        count_job(job, has_disks, ret);
        name_job(sim, job, spec.name, sizeof spec.name);
        spec.priority = sim_priority(job->priority, ret->priorities_2011);
        spec.replicas = job->count;
        spec.limit = (struct resources){{[RES_CPU] = MAX(job->cpu_milli, 1),
                                         [RES_RAM] = bytes_of(MAX(job->ram_mib, 1)),
                                         [RES_DISK] = has_disks ? bytes_of(job->disk_mib) : 0}};
        int rc = sim_submit(sim, &spec, err);
        if (rc != 0)
            return err_wrap(err, "the job of line %" PRIu32 " (%s)", job->line, job->id);
    }
    return 0;
}

int sim_load_trace(struct sim *sim, const struct trace *trace, const struct sim_load *load,
                   struct sim_ignored *ret, struct err *err)
{
    for (uint32_t i = 0; i < trace->machine_count; i++) {
        const struct trace_machine *machine = &trace->machines[i];
        ret->attributes += machine->has_attributes;
        ret->failure_domains += machine->has_failure_domain;
        ret->machine_gpus += machine->gpu_milli > 0;
        int rc = sim_add_machine(sim, machine, 0, err);
        if (rc != 0)
            return err_wrap(err, "machine %s", machine->id);
    }
    return sim_add_jobs(sim, trace, load, ret, err);
}
