/*
 * fields.c - the tables of stored records and of what users ask for. Commands: cmd_fields.c.
 *
 * A line is the packed format, the column, the JSON name and the documentation of its field, so a
 * line is appended and never moved (base/record.h).
 */
#include "fields.h"

#include <string.h>

/* Amounts. As columns of SQLite they carry their units in their names. */
static const struct field resources_fields[] = {
    FIELD(resources, v[RES_CPU], "cpu_milli", .form = FORM_MILLI),
    FIELD(resources, v[RES_RAM], "ram_bytes", .form = FORM_BYTES),
    FIELD(resources, v[RES_DISK], "disk_bytes", .form = FORM_BYTES),
    FIELD(resources, v[RES_PORTS], "ports"),
    FIELD(resources, v[RES_GPU], "gpu_milli", .form = FORM_MILLI),
    FIELD(resources, v[RES_NAMED], "named1"),
    FIELD(resources, v[RES_NAMED + 1], "named2"),
    FIELD(resources, v[RES_NAMED + 2], "named3"),
};
_Static_assert(ARRAY_SIZE(resources_fields) == RES_COUNT, "a line for each resource");
const struct record resources_record =
    RECORD(resources, "resources", resources_fields, .is_flat = true);

static const struct field name_fields[] = {
    {.name = "name", .type = FIELD_TEXT, .size = RESOURCE_NAME_MAX + 1, .max = RESOURCE_NAME_MAX}};
static const struct record name_record = {.name = "name of a resource",
                                          .fields = name_fields,
                                          .count = 1,
                                          .size = RESOURCE_NAME_MAX + 1,
                                          .is_scalar = true};
static const struct field resource_names_fields[] = {
    FIELD_ALL_ITEMS(resource_names, text, "names", name_record),
};
const struct record resource_names_record =
    RECORD(resource_names, "names of resources", resource_names_fields, .is_flat = true);

static const struct field attempt_ref_fields[] = {
    FIELD(attempt_ref, task.v, "task"),
    FIELD(attempt_ref, attempt, "attempt"),
};
const struct record attempt_ref_record =
    RECORD(attempt_ref, "attempt", attempt_ref_fields, .is_flat = true);

static const struct field spread_fields[] = {
    FIELD_CHARS(spread, by, "by", .form = FORM_NAME,
                .doc = "the name of an attribute, or \"machine\""),
    FIELD(spread, max, "max", .max = CELL_TASKS_PER_JOB_MAX, .otherwise = "0",
          .doc = "so many tasks per value at most; 0: no bound"),
    FIELD(spread, weight, "weight", .max = WEIGHT_MAX, .otherwise = "0",
          .doc = "1-100: prefer values with fewer tasks; 0: no matter"),
};
const struct record spread_record = RECORD(spread, "spread", spread_fields, .is_flat = true);

static const struct field term_fields[] = {
    FIELD_CHARS(term, attribute, "attribute"),
    FIELD_CHOICE(term, op, "op", term_ops),
    FIELD(term, values, "values", .max = SPEC_TERM_VALUES_MAX),
};
const struct record term_record = RECORD(term, "term", term_fields);

static const struct field clause_fields[] = {
    FIELD(clause, weight, "weight"),
    FIELD_HEAP(clause, terms, "terms", term_count, SPEC_TERMS_MAX, term_record),
};
const struct record clause_record = RECORD(clause, "constraint", clause_fields);

/* The amounts of a limit as users write them; besides them stand those that the cell names. An
 * amount changes in place or by a restart only while the tasks have one shape. */
#define LIMIT_FIELDS \
    FIELD(resources, v[RES_CPU], "cpu", .form = FORM_MILLI, .min = 1, .max = RESOURCE_AMOUNT_MAX, \
          .otherwise = "100m", .effect = EFFECT_IN_PLACE, .doc = "cpus: 2, 0.5 or \"500m\""), \
        FIELD(resources, v[RES_RAM], "ram", .form = FORM_BYTES, .min = 1, \
              .max = RESOURCE_AMOUNT_MAX, .otherwise = "128Mi", .effect = EFFECT_IN_PLACE, \
              .doc = "bytes: \"1Gi\", \"512Mi\", \"2G\" or a number"), \
        FIELD(resources, v[RES_DISK], "disk", .form = FORM_BYTES, .max = RESOURCE_AMOUNT_MAX, \
              .otherwise = "0", .effect = EFFECT_IN_PLACE, .doc = "bytes, as ram"), \
        FIELD(resources, v[RES_GPU], "gpu", .form = FORM_MILLI, .max = RESOURCE_AMOUNT_MAX, \
              .otherwise = "0", .effect = EFFECT_RESTART, \
              .doc = "a share of one gpu (\"500m\"), or whole ones (2); told in $BORG_GPUS")
static const struct field limit_fields[] = {LIMIT_FIELDS};
static const struct field alloc_limit_fields[] = {
    LIMIT_FIELDS,
    FIELD(resources, v[RES_PORTS], "ports", .max = UINT16_MAX, .otherwise = "0",
          .effect = EFFECT_FIXED, .doc = "how many the tasks inside may have together"),
};
const struct record limit_record = RECORD(resources, "limit", limit_fields);
const struct record alloc_limit_record = RECORD(resources, "limit", alloc_limit_fields);

const struct record *limit_record_of(bool is_alloc_set)
{
    return is_alloc_set ? &alloc_limit_record : &limit_record;
}

static const struct {
    const char *name, *doc;
} spec_groups[] = {
    {"task", "what each task is; a job has either task or alloc"},
    {"alloc", "in place of task: an alloc set, `replicas` times room for tasks of other jobs"},
};

const char *spec_group_doc(const char *group)
{
    for (size_t i = 0; i < ARRAY_SIZE(spec_groups); i++)
        if (strcmp(spec_groups[i].name, group) == 0)
            return spec_groups[i].doc;
    return "";
}

/* What `borgctl update` can change: replicas, priority and one limit. Everything else is fixed. */
static const struct field job_spec_fields[] = {
    FIELD_CHARS(job_spec, name, "name", .form = FORM_NAME, .effect = EFFECT_FIXED,
                .doc = "[a-z0-9._-], at most 63, starting alphanumeric; unique in the cell"),
    FIELD_CHARS(job_spec, user, "user", .effect = EFFECT_FIXED, .flags = FIELD_NO_SPEC),
    FIELD(job_spec, priority, "priority", .form = FORM_PRIORITY, .max = PRIORITY_MAX,
          .otherwise = "batch", .effect = EFFECT_NONE,
          .doc = "0-450, or free (25), batch (100), production (200), monitoring (400)"),
    FIELD_CHOICE(job_spec, appclass, "appclass", appclasses, .otherwise = "batch",
                 .effect = EFFECT_FIXED, .doc = "batch or latency-sensitive"),
    FIELD_CHOICE(
        job_spec, policy, "policy", spec_policies, .otherwise = "cell", .effect = EFFECT_FIXED,
        .doc = "best-fit, worst-fit, stranding-aware, or cell: as borgctl cell policy says"),
    FIELD(job_spec, replicas, "replicas", .form = FORM_REPLICAS, .max = CELL_TASKS_PER_JOB_MAX,
          .otherwise = "1", .effect = EFFECT_NONE,
          .doc = "how many tasks, all alike, or 'every-machine': one on each that meets the "
                 "constraints"),
    FIELD_STRUCT(job_spec, limit, "task.resources", resources_record, .form = FORM_RESOURCES,
                 .flags = FIELD_IN_ALLOC, .otherwise = "", .effect = EFFECT_FIXED,
                 .doc = "the limit of each task; or an array of some that will do, the best first"),
    FIELD_STRUCT(job_spec, resource_names, "resource_names", resource_names_record,
                 .effect = EFFECT_FIXED, .flags = FIELD_NO_SPEC),
    FIELD(job_spec, argv, "task.command", .form = FORM_COMMAND, .max = SPEC_ARGS_MAX,
          .effect = EFFECT_FIXED, .doc = "an array of words, or a string for /bin/sh -c"),
    FIELD(job_spec, env, "task.env", .form = FORM_ENV, .max = SPEC_ENV_MAX, .otherwise = "",
          .effect = EFFECT_FIXED, .doc = "object of NAME: value"),
    FIELD(job_spec, ports, "task.ports", .form = FORM_NAMES, .max = SPEC_PORTS_MAX, .otherwise = "",
          .effect = EFFECT_FIXED,
          .doc = "array of names; the cell chooses the numbers, each task finds its own in "
                 "$PORT_NAME"),
    FIELD_CHOICE(job_spec, restart, "task.restart", restarts, .otherwise = "on-failure",
                 .effect = EFFECT_FIXED, .doc = "on-failure, always or never"),
    FIELD(job_spec, failures_max, "task.max_failures", .max = UINT32_MAX, .otherwise = "0",
          .effect = EFFECT_FIXED,
          .doc = "failed attempts in a row after which a task stays failed; 0: no bound. Only a "
                 "service (restart always, or appclass latency-sensitive) that ran 10 minutes, and "
                 "ten times max_backoff, begins again at 0"),
    FIELD(job_spec, backoff_ms, "task.backoff", .form = FORM_MS, .max = BACKOFF_MS_MAX,
          .otherwise = "1s", .effect = EFFECT_FIXED,
          .doc = "wait after the first failure; doubles with each"),
    FIELD(job_spec, backoff_max_ms, "task.max_backoff", .form = FORM_MS, .max = BACKOFF_MS_MAX,
          .otherwise = "5m", .effect = EFFECT_FIXED, .doc = "and never gets longer than this"),
    FIELD(job_spec, grace_ms, "task.grace", .form = FORM_MS, .max = GRACE_MS_MAX,
          .otherwise = "10s", .effect = EFFECT_FIXED, .doc = "between SIGTERM and SIGKILL"),
    FIELD(job_spec, disruptions_max, "max_disruptions", .max = CELL_TASKS_PER_JOB_MAX,
          .otherwise = "0", .effect = EFFECT_FIXED,
          .doc = "tasks that drains, and preemption by your own jobs, may have down at once; 0: no "
                 "bound"),
    FIELD_HEAP(job_spec, constraints.items, "task.constraints", constraints.count, SPEC_CLAUSES_MAX,
               clause_record, .form = FORM_CONSTRAINTS, .flags = FIELD_IN_ALLOC, .otherwise = "",
               .effect = EFFECT_FIXED,
               .doc = "array, all must hold: \"rack = r1\", or {any: [...]}, or {prefer: ..., "
                      "weight: 1-100}"),
    FIELD_ITEMS(job_spec, spreads, "task.spread", spread_count, spread_record, .form = FORM_SPREAD,
                .flags = FIELD_IN_ALLOC, .otherwise = "", .effect = EFFECT_FIXED,
                .doc = "array of {by: an attribute or \"machine\", max: tasks per value, weight: "
                       "1-100}"),
    FIELD(job_spec, gang, "gang", .otherwise = "false", .effect = EFFECT_FIXED,
          .doc = "true: tasks that wait start all at once or not at all"),
    FIELD(job_spec, is_alloc_set, "is_alloc_set", .effect = EFFECT_FIXED, .flags = FIELD_NO_SPEC),
    FIELD_CHARS(job_spec, alloc_set, "alloc_set", .form = FORM_NAME, .otherwise = "",
                .effect = EFFECT_FIXED,
                .doc = "run inside the allocs of this job, and nowhere else; takes no quota beside "
                       "it"),
    FIELD(job_spec, every_machine, "every_machine", .effect = EFFECT_FIXED, .flags = FIELD_NO_SPEC),
    FIELD_ITEMS(job_spec, alternatives, "alternatives", alternative_count, resources_record,
                .effect = EFFECT_FIXED, .flags = FIELD_NO_SPEC),
#if CELL_FORMAT >= 2
    FIELD(job_spec, labels, "labels", .form = FORM_MAP, .since = 2, .max = LABELS_MAX,
          .otherwise = "", .effect = EFFECT_FIXED,
          .doc = "object of NAME: value, for people and their tools; the cell does nothing with "
                 "it"),
#endif
};
const struct record job_spec_record =
    RECORD(job_spec, "job spec", job_spec_fields, .bytes_max = SPEC_BYTES_MAX);

/* What follows from other rows is derived: it is in the hash, so that replicas that computed it
 * differently are found, and in a column for people, but it is not loaded. */
static const struct field machine_fields[] = {
    FIELD(machine, id.v, "id", .flags = FIELD_KEY),
    FIELD_CHARS(machine, name, "name", .doc = "no two have one; '' when removed"),
    FIELD_CHARS(machine, addr, "addr", .doc = "of its borglet"),
    FIELD_CHOICE(machine, state, "state", machine_states, .doc = "up, down, removed"),
    FIELD_STRUCT(machine, capacity, "capacity", resources_record, .flags = FIELD_FLAT,
                 .doc = "capacity"),
    FIELD(machine, draining, "draining", .doc = "1: gets no new work until it is undrained"),
    FIELD(machine, instance, "instance",
          .doc = "which borglet of this name it is, a random number"),
    FIELD(machine, directory, "directory", .doc = "of its borglet, a random number"),
    FIELD(machine, rival, "rival", .doc = "another borglet that was refused last; 0: none"),
    FIELD(machine, rival_ms, "rival_ms", .doc = "and when; 0: never"),
    FIELD_ALL_ITEMS(machine, faults, "faults", record_u64,
                    .doc = "JSON list: tasks it could not start since it last started one, as job "
                           "id * 1048576 + index"),
    FIELD(machine, sick_rounds, "sick_rounds", .doc = "times that it was sick since then"),
    FIELD(machine, sick_until_ms, "sick_until_ms",
          .doc = "it gets no work until then; 0: it is well"),
    FIELD_HEAP(machine, left, "left_behind", left_count, MACHINE_LEFT_MAX, attempt_ref_record,
               .doc = "JSON list of attempts that ran there when it fell silent: whether their "
                      "processes are gone is not known"),
    FIELD(machine, left_foreign, "left_foreign",
          .doc = "the first so many of those ran under a borglet with another directory: this one "
                 "cannot speak for them"),
    FIELD(machine, changed_ms, "changed_ms"),
    FIELD(machine, attributes, "attributes", .max = MACHINE_ATTRIBUTES_MAX,
          .flags = FIELD_NO_SQL | FIELD_NO_HASH, .doc = "in machine_attributes"),
    FIELD(machine, attributes_hash, "attributes_hash", .flags = FIELD_NO_SQL | FIELD_DERIVED,
          .doc = "of the attributes and the labels"),
    FIELD_STRUCT(machine, reserved, "reserved", resources_record, .flags = FIELD_DERIVED,
                 .doc = "the limits of the tasks there, those stopping included"),
    FIELD_STRUCT(machine, stopping, "stopping", resources_record,
                 .flags = FIELD_NO_SQL | FIELD_DERIVED),
    FIELD_STRUCT(machine, promised, "promised", resources_record,
                 .flags = FIELD_NO_SQL | FIELD_DERIVED),
    FIELD(machine, used[RES_CPU], "used_cpu_milli", .flags = FIELD_DERIVED,
          .doc = "by the tasks there, those stopping not included"),
    FIELD(machine, used[RES_RAM], "used_ram_bytes", .flags = FIELD_DERIVED),
    FIELD(machine, reclaimed[RES_CPU], "reclaimed_cpu_milli", .flags = FIELD_DERIVED,
          .doc = "of their limits: work below production may have it"),
    FIELD(machine, reclaimed[RES_RAM], "reclaimed_ram_bytes", .flags = FIELD_DERIVED),
    FIELD(machine, task_count, "task_count", .flags = FIELD_DERIVED, .doc = "assigned and running"),
    FIELD(machine, left_count, "unconfirmed", .flags = FIELD_DERIVED | FIELD_NO_HASH,
          .doc = "the length of left_behind"),
#if CELL_FORMAT >= 2
    FIELD(machine, labels, "labels", .form = FORM_MAP, .since = 2, .max = LABELS_MAX,
          .flags = FIELD_NO_HASH,
          .doc = "JSON object of NAME: value: what its borglet was told to say (borglet --label)"),
#endif
};
const struct record machine_record = RECORD(machine, "machine", machine_fields);

/* The spec is stored as a whole beside the job (job_specs_private_rows). The columns that repeat
 * it are for queries; those that an update may change are loaded from here. */
static const struct field job_fields[] = {
    FIELD(job, id.v, "id", .flags = FIELD_KEY),
    FIELD(job, spec_hash, "spec_hash", .flags = FIELD_NO_SQL | FIELD_DERIVED),
    FIELD_CHARS(job, spec.name, "name", .flags = FIELD_DERIVED | FIELD_NO_HASH),
    FIELD_CHARS(job, spec.user, "user", .flags = FIELD_DERIVED | FIELD_NO_HASH),
    FIELD(job, spec.priority, "priority", .flags = FIELD_NO_HASH, .doc = "0 to 450"),
    FIELD_CHOICE(job, spec.appclass, "appclass", appclasses, .flags = FIELD_DERIVED | FIELD_NO_HASH,
                 .doc = "batch, latency-sensitive"),
    FIELD_CHOICE(job, spec.policy, "policy", spec_policies, .flags = FIELD_DERIVED | FIELD_NO_HASH,
                 .doc = "how to choose a machine: best-fit, ..., or cell: see meta"),
    FIELD(job, spec.replicas, "replicas", .flags = FIELD_NO_HASH),
    FIELD_STRUCT(job, spec.limit, "limit", resources_record, .flags = FIELD_NO_HASH | FIELD_FLAT,
                 .doc = "limits of one task, in its first shape: see job_limits"),
    FIELD(job, spec.disruptions_max, "max_disruptions", .flags = FIELD_DERIVED | FIELD_NO_HASH,
          .doc = "so many tasks may be down at once for the cell's own reasons; 0: no bound"),
    FIELD(job, spec.gang, "gang", .flags = FIELD_DERIVED | FIELD_NO_HASH,
          .doc = "1: tasks that wait start all at once or not at all"),
    FIELD(job, spec.is_alloc_set, "is_alloc_set", .flags = FIELD_DERIVED | FIELD_NO_HASH,
          .doc = "1: its tasks are allocs, room for tasks of other jobs"),
    FIELD_CHARS(job, spec.alloc_set, "alloc_set", .flags = FIELD_DERIVED | FIELD_NO_HASH,
                .doc = "it runs in the allocs of this job; '': on machines"),
    FIELD(job, spec.every_machine, "every_machine", .flags = FIELD_DERIVED | FIELD_NO_HASH,
          .doc = "1: task I belongs on machine I + 1; replicas: all machines"),
    FIELD(job, submitted_ms, "submitted_ms"),
    FIELD(job, killed, "killed", .doc = "1: told to end by its user"),
    FIELD(job, changed_ms, "changed_ms"),
    FIELD(job, task_count, "task_count",
          .doc = "rows in tasks: those from replicas on have ended or are killed"),
    FIELD_CHARS(job, reason, "reason", .doc = "why the pending ones are pending; '' when none are"),
    FIELD_ITEMS(job, limits_old, "limits_old", limit_old_count, resources_record,
                .flags = FIELD_NO_SQL),
    FIELD(job, counts[TASK_PENDING], "pending", .flags = FIELD_DERIVED,
          .doc = "tasks per state; they add up to task_count"),
    FIELD(job, counts[TASK_ASSIGNED], "assigned", .flags = FIELD_DERIVED),
    FIELD(job, counts[TASK_RUNNING], "running", .flags = FIELD_DERIVED),
    FIELD(job, counts[TASK_FINISHED], "finished", .flags = FIELD_DERIVED),
    FIELD(job, counts[TASK_FAILED], "failed", .flags = FIELD_DERIVED),
    FIELD(job, counts[TASK_KILLED], "killed_tasks", .flags = FIELD_DERIVED),
    FIELD(job, counts[TASK_UNWANTED], "unwanted", .flags = FIELD_DERIVED,
          .doc = "tasks whose machine is down, draining or fails the constraints, or that would be "
                 "over their user's quota"),
    FIELD(job, stopping, "stopping", .flags = FIELD_DERIVED,
          .doc = "of those assigned and running: told to stop"),
    FIELD(job, disrupted, "disrupted", .flags = FIELD_DERIVED | FIELD_NO_HASH,
          .doc = "tasks down for the cell's own reasons: preempted, drained"),
    FIELD(job, unconfirmed, "unconfirmed", .flags = FIELD_DERIVED,
          .doc = "attempts that ran on machines which fell silent: see machines"),
#if CELL_FORMAT >= 2
    FIELD(job, restart_batch, "restart_batch", .since = 2,
          .doc = "so many tasks may be down at once for its last restart; 0: no bound"),
#endif
};
const struct record job_record = RECORD(job, "job", job_fields);

static const struct field task_fields[] = {
    FIELD(task, id.v, "", .form = FORM_TASK, .flags = FIELD_KEY,
          .doc = "0 to jobs.task_count - 1; a task is called NAME/IDX"),
    FIELD_CHOICE(task, state, "state", task_states,
                 .doc = "pending, assigned, running, finished, failed, killed, or unwanted: of a "
                        "job on every machine, not on this one now"),
    FIELD(task, attempt, "attempt", .doc = "of the present or last run, from 1; 0: never assigned"),
    FIELD(task, machine.v, "machine_id", .flags = FIELD_NULLABLE,
          .doc = "of the present attempt; NULL unless assigned or running"),
    FIELD_CHOICE(task, cause, "cause", causes,
                 .doc = "how the last attempt ended: exit, signal, ..."),
    FIELD_CHOICE(task, stopping, "stopping", causes, .doc = "told to stop: why; '' when not"),
    FIELD(task, failures, "failures", .doc = "attempts that ended by exit, signal or start error"),
    FIELD(task, pid, "pid", .doc = "on its machine; 0 when unknown"),
    FIELD(task, exit_code, "exit_code",
          .doc = "of the last attempt that ended; negative: the signal"),
    FIELD_ALL_ITEMS(task, ports, "ports", record_u16,
                    .doc = "JSON list, in the order of the spec's names"),
    FIELD(task, not_before_ms, "not_before_ms",
          .doc = "backing off until then; 0: not. An assigned one that does keeps its place "
                 "meanwhile, and nothing of it runs"),
    FIELD(task, started_ms, "started_ms", .doc = "when the present attempt was seen running"),
    FIELD(task, changed_ms, "changed_ms"),
    FIELD(task, alloc.v, "alloc", .form = FORM_TASK, .flags = FIELD_NULLABLE,
          .doc = "the alloc it is in, a task too; NULL: in none"),
    FIELD(task, devices, "gpus", .form = FORM_GPUS,
          .doc = "JSON list: numbers of the gpus it has on its machine"),
    FIELD(task, crashed_on[0].v, "crashed_on_1", .flags = FIELD_NULLABLE,
          .doc = "the last machines where it failed, the latest first; NULL: no more, or a healthy "
                 "run made them forgotten"),
    FIELD(task, crashed_on[1].v, "crashed_on_2", .flags = FIELD_NULLABLE),
    FIELD(task, crashed_on[2].v, "crashed_on_3", .flags = FIELD_NULLABLE),
    FIELD(task, reserves[RES_CPU].used, "used_cpu_milli",
          .doc = "as its borglet said last; 0: nothing yet"),
    FIELD(task, reserves[RES_RAM].used, "used_ram_bytes"),
    FIELD(task, reserves[RES_CPU].reclaimed_percent, "reclaimed_cpu_percent",
          .doc = "of its limit: what is not kept for it"),
    FIELD(task, reserves[RES_RAM].reclaimed_percent, "reclaimed_ram_percent"),
    FIELD(task, reserves[RES_CPU].since_ms, "cpu_since_ms",
          .doc = "when that last took a step, or began to"),
    FIELD(task, reserves[RES_RAM].since_ms, "ram_since_ms"),
    FIELD(task, shape, "shape", .flags = FIELD_FROM_ONE,
          .doc = "of the present attempt: see job_limits; 1 when it has none"),
    FIELD(task, misstarts, "misstarts",
          .doc = "starts in a row that failed by their machines' fault"),
    FIELD(task, by_eviction, "by_eviction",
          .doc = "1: others were evicted for it since it last was well"),
#if CELL_FORMAT >= 2
    FIELD(task, restart, "restart", .since = 2,
          .doc = "1: it waits for its turn to be restarted (borgctl job restart)"),
#endif
};
_Static_assert(TASK_CRASHES_MAX == 3 && RECLAIM_COUNT == 2, "a line for each");
const struct record task_record = RECORD(task, "task", task_fields);

#define BOUND .flags = FIELD_NULLABLE, .initial = QUOTA_UNLIMITED
static const struct field quota_fields[] = {
    FIELD_CHARS(quota, user, "user", .flags = FIELD_KEY),
    FIELD_CHOICE(quota, band, "band", bands, .flags = FIELD_KEY,
                 .doc = "batch, production, monitoring"),
    FIELD(quota, limit.v[RES_CPU], "cpu_milli", BOUND),
    FIELD(quota, limit.v[RES_RAM], "ram_bytes", BOUND),
    FIELD(quota, limit.v[RES_DISK], "disk_bytes", BOUND),
    FIELD(quota, limit.v[RES_PORTS], "ports", BOUND),
    FIELD(quota, limit.v[RES_GPU], "gpu_milli", BOUND),
    FIELD(quota, limit.v[RES_NAMED], "named1", BOUND),
    FIELD(quota, limit.v[RES_NAMED + 1], "named2", BOUND),
    FIELD(quota, limit.v[RES_NAMED + 2], "named3", BOUND),
    FIELD(quota, tasks, "tasks", BOUND),
};
const struct record quota_record = RECORD(quota, "quota", quota_fields);

#define RIGHT(r) .type = FIELD_FLAG, .bit = RIGHT_##r
static const struct field identity_row_fields[] = {
    FIELD_CHARS(identity_row, identity, "identity", .flags = FIELD_KEY,
                .doc = "as in the certificate: user/NAME, borglet/NAME, master/ID"),
    {.name = "operator",
     FIELD_AT(identity_row, rights),
     RIGHT(OPERATOR),
     .doc = "1: keeps the cell, may do everything"},
    {.name = "reader",
     FIELD_AT(identity_row, rights),
     RIGHT(READER),
     .doc = "1: reads logs, specs and environments of everybody's jobs"},
    {.name = "production",
     FIELD_AT(identity_row, rights),
     RIGHT(PRODUCTION),
     .doc = "1: the user's jobs may be of this band"},
    {.name = "monitoring", FIELD_AT(identity_row, rights), RIGHT(MONITORING), .doc = "1: the same"},
    FIELD(identity_row, revoked_ms, "revoked_ms",
          .doc = "certificates issued until then do not count; 0: all do"),
    FIELD(identity_row, changed_ms, "changed_ms"),
    FIELD_CHARS(identity_row, changed_by, "changed_by", .doc = "user; '': the cell itself"),
};
_Static_assert(RIGHT_COUNT == 4, "a line for each right");
const struct record identity_row_record = RECORD(identity_row, "identity", identity_row_fields);

static const struct field master_fields[] = {
    FIELD(master, id, "id", .flags = FIELD_KEY),
    FIELD_CHARS(master, rpc, "rpc", .doc = "where users and borglets find it"),
    FIELD_CHARS(master, raft, "raft", .doc = "where the logs of the others find it"),
    FIELD_CHOICE(master, state, "state", master_states, .doc = "joining, member, leaving"),
};
const struct record master_record = RECORD(master, "replica", master_fields);

static const struct field masters_fields[] = {
    FIELD_ITEMS(masters, rows, "rows", count, master_record),
    FIELD(masters, next_id, "next_id"),
};
const struct record masters_record = RECORD(masters, "replicas", masters_fields);

static const struct field request_row_fields[] = {
    FIELD(request_row, seq, "seq", .flags = FIELD_KEY),
    FIELD(request_row, remembered.request_id[0], "id_high",
          .doc = "the request's id, 128 bits as two signed numbers"),
    FIELD(request_row, remembered.request_id[1], "id_low"),
    FIELD(request_row, remembered.index, "at_index", .doc = "of the log entry that carried it out"),
    FIELD_CHOICE(request_row, remembered.code, "code", err_codes,
                 .doc = "ok: accepted; else the kind of refusal"),
    FIELD(request_row, remembered.job.v, "job_id"),
    FIELD_CHARS(request_row, remembered.msg, "msg"),
};
const struct record request_row_record = RECORD(request_row, "answer", request_row_fields);

static const struct field event_fields[] = {
    FIELD(event, seq, "seq", .flags = FIELD_KEY),
    FIELD(event, time_ms, "time_ms"),
    FIELD_CHOICE(event, kind, "kind", event_kinds,
                 .doc = "submitted, assigned, running, finished, failed, evicting, ...; restored: "
                        "this cell begins with a checkpoint of an earlier one"),
    FIELD(event, job.v, "job_id", .flags = FIELD_NULLABLE, .doc = "NULL: of a machine"),
    FIELD_CHARS(event, job_name, "job_name", .flags = FIELD_NULLABLE,
                .doc = "the name of the job; NULL: of a machine"),
    FIELD(event, task_index, "task_index", .flags = FIELD_NULLABLE, .initial = -1,
          .doc = "NULL: of the whole job"),
    FIELD(event, attempt, "attempt"),
    FIELD(event, machine.v, "machine_id", .flags = FIELD_NULLABLE),
    FIELD_CHOICE(event, cause, "cause", causes),
    FIELD(event, exit_code, "exit_code"),
    FIELD_CHARS(event, detail, "detail", .doc = "more in words"),
    FIELD_CHARS(event, machine_name, "machine", .flags = FIELD_NULLABLE,
                .doc = "its name then; machine_id may be another's now"),
};
const struct record event_record = RECORD(event, "event", event_fields);
