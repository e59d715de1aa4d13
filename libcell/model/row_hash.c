/*
 * row_hash.c - what each row adds to the digest of its cell.
 *
 * Every field that a checkpoint stores goes in, in a fixed order; pointers, list links and
 * structs as bytes (padding) never do. Rows of machines and tasks are hashed at each placement, so
 * their small fields share words, and what is long is hashed by itself and the result added: the
 * processor then computes these chains side by side.
 */
#include "cell_write.h"

#include "hash.h"

static uint64_t add_all(uint64_t hash, const uint64_t *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        hash = hash_add(hash, values[i]);
    return hash;
}

static uint64_t two(uint32_t a, uint32_t b)
{
    return (uint64_t)a << 32 | b;
}

static uint64_t add_resources(uint64_t hash, const struct resources *r)
{
    for (int i = 0; i < RES_COUNT; i++)
        hash = hash_add(hash, (uint64_t)r->v[i]);
    return hash;
}

static uint64_t add_words(uint64_t hash, const struct words *words)
{
    return hash_bytes(hash_add(hash, words->count), words->bytes, words->size);
}

uint64_t resource_names_row_hash(uint64_t hash, const struct resource_names *names)
{
    for (int i = 0; i < RESOURCES_NAMED_MAX; i++)
        hash = hash_text(hash, names->text[i]);
    return hash;
}

uint64_t spec_row_hash(const struct job_spec *spec)
{
    const uint64_t values[] = {spec->priority,        spec->appclass,       spec->policy,
                               spec->replicas,        spec->restart,        spec->failures_max,
                               spec->backoff_ms,      spec->backoff_max_ms, spec->grace_ms,
                               spec->disruptions_max, spec->gang,           spec->is_alloc_set,
                               spec->every_machine};
    uint64_t hash = hash_text(hash_text(hash_text(1, spec->name), spec->user), spec->alloc_set);
    hash = add_resources(add_all(hash, values, ARRAY_SIZE(values)), &spec->limit);
    hash = resource_names_row_hash(hash, &spec->resource_names);
    hash = add_words(add_words(add_words(hash, &spec->argv), &spec->env), &spec->ports);
    CLEANUP(buf_release) struct buf key = {0};
    clauses_key(&spec->constraints, &key);
    hash = hash_add(hash_text(hash, buf_text(&key)), spec->spread_count);
    for (uint32_t i = 0; i < spec->spread_count; i++) {
        hash = hash_text(hash, spec->spreads[i].by);
        hash = hash_add(hash_add(hash, spec->spreads[i].max), spec->spreads[i].weight);
    }
    hash = hash_add(hash, spec->alternative_count);
    for (uint32_t i = 0; i < spec->alternative_count; i++)
        hash = add_resources(hash, &spec->alternatives[i]);
    return hash;
}

uint64_t attributes_row_hash(const struct words *attributes)
{
    return add_words(6, attributes);
}

static uint64_t resources_row_hash(const struct resources *r)
{
    return add_resources(8, r);
}

/* Of its faults, its rivals and what it left: mostly there is nothing. */
static uint64_t machine_trouble_hash(const struct machine *machine)
{
    const uint64_t values[] = {machine->rival,         machine->rival_ms,   machine->sick_rounds,
                               machine->sick_until_ms, machine->left_count, machine->left_foreign};
    uint64_t any = 0;
    for (size_t i = 0; i < ARRAY_SIZE(values); i++)
        any |= values[i];
    for (int i = 0; i < MACHINE_FAULTS_MAX; i++)
        any |= machine->faults[i].v;
    if (any == 0)
        return 0;
    uint64_t hash = add_all(9, values, ARRAY_SIZE(values));
    for (int i = 0; i < MACHINE_FAULTS_MAX; i++)
        hash = hash_add(hash, machine->faults[i].v);
    for (uint32_t i = 0; i < machine->left_count; i++)
        hash = hash_add(hash_add(hash, machine->left[i].task.v), machine->left[i].attempt);
    return hash;
}

uint64_t machine_row_hash(const struct machine *machine)
{
    const uint64_t values[] = {two(machine->id.v, machine->task_count),
                               two(machine->state, machine->draining),
                               machine->changed_ms,
                               machine->attributes_hash,
                               machine->instance,
                               machine->directory,
                               machine_trouble_hash(machine),
                               resources_row_hash(&machine->capacity),
                               resources_row_hash(&machine->reserved),
                               resources_row_hash(&machine->stopping),
                               resources_row_hash(&machine->promised)};
    uint64_t hash = hash_text(hash_text(2, machine->name), machine->addr);
    for (int r = 0; r < RECLAIM_COUNT; r++)
        hash =
            hash_add(hash_add(hash, (uint64_t)machine->reclaimed[r]), (uint64_t)machine->used[r]);
    return add_all(hash, values, ARRAY_SIZE(values));
}

uint64_t job_row_hash(const struct job *job)
{
    const uint64_t values[] = {job->id.v,       job->spec_hash,    job->killed,
                               job->stopping,   job->submitted_ms, job->changed_ms,
                               job->task_count, job->unconfirmed};
    uint64_t hash = add_all(3, values, ARRAY_SIZE(values));
    for (int s = 0; s < TASK_STATE_COUNT; s++)
        hash = hash_add(hash, job->counts[s]);
    hash = hash_add(hash, job->limit_old_count);
    for (uint32_t i = 0; i < job->limit_old_count; i++)
        hash = add_resources(hash, &job->limits_old[i]);
    return hash_text(hash, job->reason);
}

uint64_t task_row_hash(const struct task *task)
{
    const uint64_t values[] = {task->id.v,
                               two(task->state, task->cause),
                               two(task->stopping, task->shape),
                               two(task->attempt, task->machine.v),
                               two(task->failures, task->misstarts),
                               two((uint32_t)task->pid, (uint32_t)task->exit_code),
                               two(task->devices, task->by_eviction),
                               task->not_before_ms,
                               task->started_ms,
                               task->changed_ms,
                               task->alloc.v};
    uint64_t own = add_all(4, values, ARRAY_SIZE(values));
    uint64_t rest = 10;
    for (int i = 0; i < TASK_CRASHES_MAX; i++)
        rest = hash_add(rest, task->crashed_on[i].v);
    for (int r = 0; r < RECLAIM_COUNT; r++) {
        const struct reserve *reserve = &task->reserves[r];
        const uint64_t parts[] = {(uint64_t)reserve->used, reserve->since_ms,
                                  reserve->reclaimed_percent};
        rest = add_all(rest, parts, ARRAY_SIZE(parts));
    }
    return hash_add(own, hash_bytes(rest, task->ports, sizeof task->ports));
}

uint64_t request_row_hash(uint64_t seq, const struct remembered *row)
{
    const uint64_t values[] = {seq,        row->request_id[0], row->request_id[1],
                               row->index, row->code,          row->job.v};
    return hash_text(add_all(5, values, ARRAY_SIZE(values)), row->msg);
}

/* There are few, and they hardly ever change: hashed anew each time. */
uint64_t masters_row_hash(uint64_t hash, const struct masters *masters)
{
    hash = hash_add(hash, masters->next_id);
    for (uint32_t i = 0; i < masters->count; i++) {
        const struct master *row = &masters->rows[i];
        hash = hash_add(hash_add(hash, row->id), row->state);
        hash = hash_text(hash_text(hash, row->rpc), row->raft);
    }
    return hash;
}

uint64_t identity_row_hash(const struct identity_row *row)
{
    const uint64_t values[] = {row->rights, row->revoked_ms, row->changed_ms};
    uint64_t hash = add_all(hash_text(7, row->identity), values, ARRAY_SIZE(values));
    return hash_text(hash, row->changed_by);
}

uint64_t quota_row_hash(const struct quota *quota)
{
    const uint64_t values[] = {quota->band, (uint64_t)quota->tasks};
    uint64_t hash = add_all(hash_text(6, quota->user), values, ARRAY_SIZE(values));
    return add_resources(hash, &quota->limit);
}
