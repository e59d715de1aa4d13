/*
 * cell_text.c - the cell as text, one row a line, only what is not at its default.
 */
#include "cell.h"

static void words_text(struct buf *to, const char *key, const struct words *words)
{
    buf_printf(to, " %s=[", key);
    for (const char *w = words_first(words); w != NULL; w = words_next(words, w))
        buf_printf(to, "%s\"%s\"", w == words->bytes ? "" : " ", w);
    buf_printf(to, "]");
}

static void machine_text(struct buf *to, const struct cell *cell, const struct machine *machine)
{
    buf_printf(to, "machine %u %s %s addr=%s capacity=\"", machine->id.v, machine->name,
               machine_state_text(machine->state), machine->addr);
    resources_print(to, &machine->capacity, &cell->resource_names);
    buf_printf(to, "\" reserved=\"");
    resources_print(to, &machine->reserved, &cell->resource_names);
    buf_printf(to, "\" stopping=\"");
    resources_print(to, &machine->stopping, &cell->resource_names);
    for (enum resource r = 0; r < RECLAIM_COUNT; r++) {
        if (machine->used[r] == 0 && machine->reclaimed[r] == 0)
            continue;
        buf_printf(to, "\" %s_used=\"", resource_name(r, NULL));
        resource_print(to, r, machine->used[r]);
        buf_printf(to, "\" %s_reclaimed=\"", resource_name(r, NULL));
        resource_print(to, r, machine->reclaimed[r]);
    }
    buf_printf(to, "\" tasks=%u%s changed=%" PRIu64, machine->task_count,
               machine->draining ? " draining" : "", machine->changed_ms);
    if (machine->left_count > 0)
        buf_printf(to, " left=%u", machine->left_count);
    if (machine_is_sick(machine))
        buf_printf(to, " sick_until=%" PRIu64, machine->sick_until_ms);
    if (machine->rival_ms != 0)
        buf_printf(to, " rival=%" PRIu64, machine->rival_ms);
    if (machine->attributes.count > 0)
        words_text(to, "attributes", &machine->attributes);
    if (machine->labels.count > 0)
        words_text(to, "labels", &machine->labels);
    buf_printf(to, "\n");
}

static void constraints_text(struct buf *to, const struct job_spec *spec)
{
    for (uint32_t i = 0; i < spec->constraints.count; i++) {
        const struct clause *clause = &spec->constraints.items[i];
        buf_printf(to, " %s=\"", clause->weight == 0 ? "require" : "prefer");
        clause_print(to, clause);
        buf_printf(to, "\"");
        if (clause->weight != 0)
            buf_printf(to, ":%u", clause->weight);
    }
    for (uint32_t i = 0; i < spec->spread_count; i++)
        buf_printf(to, " spread=%s:max=%u:weight=%u", spec->spreads[i].by, spec->spreads[i].max,
                   spec->spreads[i].weight);
}

static void job_text(struct buf *to, const struct job *job)
{
    const struct job_spec *spec = &job->spec;
    buf_printf(to, "job %" PRIu64 " %s %s user=%s priority=%u replicas=%u", job->id.v, spec->name,
               job_state_text(job), spec->user, spec->priority, spec->replicas);
    buf_printf(to, " appclass=%s policy=%s limit=\"", appclass_text(spec->appclass),
               policy_text(spec->policy));
    for (uint32_t i = 0; i < spec_shape_count(spec); i++) {
        buf_printf(to, "%s", i == 0 ? "" : " or ");
        resources_print(to, spec_shape(spec, i), &spec->resource_names);
    }
    buf_printf(to, "\"%s", spec->is_alloc_set ? " alloc-set" : "");
    if (spec->alloc_set[0] != '\0')
        buf_printf(to, " in=%s", spec->alloc_set);
    words_text(to, "argv", &spec->argv);
    words_text(to, "env", &spec->env);
    words_text(to, "ports", &spec->ports);
    buf_printf(to, " restart=%s failures_max=%u backoff=%u..%u grace=%u",
               restart_text(spec->restart), spec->failures_max, spec->backoff_ms,
               spec->backoff_max_ms, spec->grace_ms);
    if (spec->disruptions_max != 0)
        buf_printf(to, " disruptions=%u/%u", job->disrupted, spec->disruptions_max);
    if (job->restart_batch != 0)
        buf_printf(to, " restart_batch=%u", job->restart_batch);
    for (uint32_t i = 0; i < job->limit_old_count; i++) {
        buf_printf(to, " before%u=\"", i + 1);
        resources_print(to, &job->limits_old[i], &spec->resource_names);
        buf_printf(to, "\"");
    }
    if (spec->every_machine)
        buf_printf(to, " every_machine");
    if (spec->gang)
        buf_printf(to, " gang");
    constraints_text(to, spec);
    for (enum task_state s = 0; s < TASK_STATE_COUNT; s++)
        if (job->counts[s] != 0)
            buf_printf(to, " %s=%u", task_state_text(s), job->counts[s]);
    if (job->stopping != 0)
        buf_printf(to, " stopping=%u", job->stopping);
    if (job->unconfirmed != 0)
        buf_printf(to, " unconfirmed=%u", job->unconfirmed);
    if (job->killed)
        buf_printf(to, " killed");
    buf_printf(to, " submitted=%" PRIu64 " changed=%" PRIu64, job->submitted_ms, job->changed_ms);
    if (job->reason[0] != '\0')
        buf_printf(to, " reason=\"%s\"", job->reason);
    buf_printf(to, "\n");
}

static void task_text(struct buf *to, const struct cell *cell, const struct job *job,
                      const struct task *task)
{
    buf_printf(to, "task %s/%u %s attempt=%u", job->spec.name, task_index(task->id),
               task_state_text(task->state), task->attempt);
    if (task->machine.v != 0)
        buf_printf(to, " machine=%s", cell_machine(cell, task->machine)->name);
    if (task->alloc.v != 0)
        buf_printf(to, " alloc=%s/%u", cell_job(cell, task_job(task->alloc))->spec.name,
                   task_index(task->alloc));
    if (task->shape >= SPEC_SHAPES_MAX)
        buf_printf(to, " limit=before%u", task->shape - SPEC_SHAPES_MAX + 1);
    else if (task->shape != 0)
        buf_printf(to, " shape=%u", task->shape + 1);
    if (task->stopping != CAUSE_NONE)
        buf_printf(to, " stopping=%s", cause_text(task->stopping));
    if (task->restart)
        buf_printf(to, " to-be-restarted");
    if (task->cause != CAUSE_NONE)
        buf_printf(to, " cause=%s", cause_text(task->cause));
    if (task->exit_code != 0)
        buf_printf(to, " exit=%d", task->exit_code);
    if (task->failures != 0)
        buf_printf(to, " failures=%u", task->failures);
    if (task->misstarts != 0)
        buf_printf(to, " misstarts=%u", task->misstarts);
    for (int i = 0; i < TASK_CRASHES_MAX && task->crashed_on[i].v != 0; i++)
        buf_printf(to, "%s%s", i == 0 ? " crashed=" : ",",
                   cell_machine(cell, task->crashed_on[i])->name);
    if (task->pid != 0)
        buf_printf(to, " pid=%d", task->pid);
    for (int i = 0; i < SPEC_PORTS_MAX && task->ports[i] != 0; i++)
        buf_printf(to, "%s%u", i == 0 ? " ports=" : ",", task->ports[i]);
    for (uint32_t i = 0, said = 0; i < DEVICES_MAX; i++)
        if ((task->devices >> i & 1) != 0)
            buf_printf(to, "%s%u", said++ == 0 ? " gpus=" : ",", i);
    for (enum resource r = 0; r < RECLAIM_COUNT; r++) {
        if (task->reserves[r].used == 0 && task->reserves[r].since_ms == 0)
            continue;
        buf_printf(to, " %s_used=", resource_name(r, NULL));
        resource_print(to, r, task->reserves[r].used);
        if (task->reserves[r].reclaimed_percent > 0)
            buf_printf(to, " %s_reclaimed=%u%%", resource_name(r, NULL),
                       task->reserves[r].reclaimed_percent);
        buf_printf(to, " since=%" PRIu64, task->reserves[r].since_ms);
    }
    if (task->not_before_ms != 0)
        buf_printf(to, " not_before=%" PRIu64, task->not_before_ms);
    if (task->started_ms != 0)
        buf_printf(to, " started=%" PRIu64, task->started_ms);
    buf_printf(to, " changed=%" PRIu64 "\n", task->changed_ms);
}

static void quota_text(struct buf *to, const struct cell *cell, const struct quota *quota)
{
    buf_printf(to, "quota %s %s", quota->user, band_text(quota->band));
    quota_amounts_print(to, quota, &cell->resource_names);
    buf_printf(to, "\n");
}

static void identity_row_text(struct buf *to, const struct identity_row *row)
{
    buf_printf(to, "identity %s", row->identity);
    if (row->rights != 0)
        buf_printf(to, " rights=\"");
    rights_print(to, row->rights);
    if (row->rights != 0)
        buf_printf(to, "\"");
    if (row->revoked_ms != 0)
        buf_printf(to, " revoked=%" PRIu64, row->revoked_ms);
    buf_printf(to, " changed=%" PRIu64 " by=%s\n", row->changed_ms, row->changed_by);
}

void cell_text(struct buf *to, const struct cell *cell)
{
    buf_printf(to,
               "cell now=%" PRIu64 " events=%" PRIu64 " next_job=%" PRIu64 " live_tasks=%" PRIu64
               " requests=%" PRIu64,
               cell->now_ms, cell->event_seq, cell->next_job, cell->live_tasks, cell->request_seq);
    for (int i = 0; i < RESOURCES_NAMED_MAX; i++)
        if (cell->resource_names.text[i][0] != '\0')
            buf_printf(to, " resource%d=%s", i, cell->resource_names.text[i]);
    buf_printf(to, "\n");
    if (cell->settings.format != 0)
        buf_printf(to, "format %" PRIu32 "\n", cell->settings.format);
    if (cell->settings.policy != POLICY_STRANDING_AWARE || cell->settings.hold != HOLD_OFF)
        buf_printf(to, "settings policy=%s hold=%s\n", policy_text(cell->settings.policy),
                   hold_text(cell->settings.hold));
    for (uint32_t i = 0; i < cell->settings.masters.count; i++) {
        const struct master *m = &cell->settings.masters.rows[i];
        buf_printf(to, "replica %" PRIu64 " %s rpc=%s raft=%s\n", m->id,
                   master_state_text(m->state), m->rpc, m->raft);
    }
    for (uint32_t i = 0; i < cell->machine_count; i++)
        if (cell->machines[i]->state != MACHINE_REMOVED)
            machine_text(to, cell, cell->machines[i]);
    size_t quota_count;
    CLEANUP(free_ptr) struct quota *quotas = cell_quotas(cell, &quota_count);
    for (size_t i = 0; i < quota_count; i++)
        quota_text(to, cell, &quotas[i]);
    LIST_EACH(l, &cell->identities)
    identity_row_text(to, CONTAINER_OF(l, struct identity_row, link));
    LIST_EACH(l, &cell->jobs)
    {
        const struct job *job = CONTAINER_OF(l, struct job, link);
        job_text(to, job);
        for (uint32_t i = 0; i < job->task_count; i++)
            task_text(to, cell, job, &job->tasks[i]);
    }
}
