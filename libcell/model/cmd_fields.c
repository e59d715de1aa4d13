/*
 * cmd_fields.c - the tables of the bodies of commands, and which kind has which body.
 */
#include "fields.h"

#include <stddef.h>

static const struct field cmd_machine_register_fields[] = {
    FIELD_CHARS(cmd_machine_register, name, "name"),
    FIELD_CHARS(cmd_machine_register, addr, "addr"),
    FIELD_STRUCT(cmd_machine_register, capacity, "capacity", resources_record),
    FIELD_STRUCT(cmd_machine_register, resource_names, "resource_names", resource_names_record),
    FIELD(cmd_machine_register, attributes, "attributes", .max = MACHINE_ATTRIBUTES_MAX),
    FIELD(cmd_machine_register, instance, "instance"),
    FIELD(cmd_machine_register, directory, "directory"),
#if CELL_FORMAT >= 2
    FIELD(cmd_machine_register, labels, "labels", .since = 2, .max = LABELS_MAX),
#endif
};
static const struct record cmd_machine_register_record =
    RECORD(cmd_machine_register, "machine-register", cmd_machine_register_fields);

static const struct field cmd_machine_down_fields[] = {
    FIELD(cmd_machine_down, machine.v, "machine"),
};
static const struct record cmd_machine_down_record =
    RECORD(cmd_machine_down, "machine-down", cmd_machine_down_fields);

#define cmd_job_submit_record job_spec_record
#define cmd_masters_set_record masters_record

static const struct field cmd_job_kill_fields[] = {
    FIELD_CHARS(cmd_job_kill, name, "name"),
};
static const struct record cmd_job_kill_record =
    RECORD(cmd_job_kill, "job-kill", cmd_job_kill_fields);

static const struct field stage_costs_fields[] = {
    FIELD(stage_costs, stage, "stage"),
    FIELD(stage_costs, winner, "winner"),
    FIELD(stage_costs, runner_up, "runner_up"),
};
static const struct record stage_costs_record = RECORD(stage_costs, "score", stage_costs_fields);

static const struct field decision_fields[] = {
    FIELD(decision, runner_up.v, "runner_up"),
    FIELD_CHOICE(decision, among, "among", amongs),
    FIELD_ITEMS(decision, scores, "scores", score_count, stage_costs_record),
};
static const struct record decision_record = RECORD(decision, "decision", decision_fields);

static const struct field placement_fields[] = {
    FIELD_STRUCT(placement, task, "task", attempt_ref_record),
    FIELD(placement, machine.v, "machine"),
    FIELD(placement, victim_first, "victim_first"),
    FIELD(placement, victim_count, "victim_count"),
    FIELD(placement, alloc.v, "alloc"),
    FIELD(placement, shape, "shape"),
    FIELD_STRUCT(placement, decision, "decision", decision_record),
};
static const struct record placement_record = RECORD(placement, "placement", placement_fields);

static const struct field verdict_fields[] = {
    FIELD(verdict, job.v, "job"),
    FIELD_CHARS(verdict, reason, "reason"),
    FIELD(verdict, is_news, "is_news"),
};
static const struct record verdict_record = RECORD(verdict, "verdict", verdict_fields);

static const struct field score_stage_fields[] = {
    FIELD_CHARS(score_stage, name, "name"),
    FIELD(score_stage, rank, "rank"),
    FIELD(score_stage, is_share, "is_share"),
};
static const struct record score_stage_record =
    RECORD(score_stage, "stage of scoring", score_stage_fields);

/* Lists that limits.h has no bound for are bounded by the bytes of the command. */
static const struct field cmd_schedule_fields[] = {
    FIELD_HEAP(cmd_schedule, placements, "placements", placement_count, CMD_PLACEMENTS_MAX,
               placement_record),
    FIELD_HEAP(cmd_schedule, victims, "victims", victim_count, CMD_BYTES_MAX, attempt_ref_record),
    FIELD_HEAP(cmd_schedule, verdicts, "verdicts", verdict_count, CMD_BYTES_MAX, verdict_record),
    FIELD_HEAP(cmd_schedule, stages, "stages", stage_count, STAGES_MAX, score_stage_record),
};

static const char *schedule_mistake(const void *item)
{
    const struct cmd_schedule *s = item;
    for (uint32_t i = 0; i < s->placement_count; i++) {
        const struct placement *l = &s->placements[i];
        if ((uint64_t)l->victim_first + l->victim_count > s->victim_count)
            return "placement with victims that are not there";
        for (uint32_t k = 0; k < l->decision.score_count; k++)
            if (l->decision.scores[k].stage >= s->stage_count)
                return "score of a stage that is not there";
    }
    return NULL;
}
static const struct record cmd_schedule_record =
    RECORD(cmd_schedule, "schedule", cmd_schedule_fields, .mistake = schedule_mistake);

static const struct field report_fields[] = {
    FIELD_STRUCT(report, task, "task", attempt_ref_record),
    FIELD_CHOICE(report, kind, "kind", report_kinds),
    FIELD(report, pid, "pid"),
    FIELD(report, exit_code, "exit_code"),
    FIELD_ALL_ITEMS(report, ports, "ports", record_u16),
    FIELD_CHARS(report, detail, "detail"),
    FIELD(report, machine.v, "machine"),
    FIELD_CHOICE(report, fault, "fault", report_faults),
    FIELD(report, told_to_stop, "told_to_stop"),
};
const struct record report_record = RECORD(report, "report", report_fields);

static const struct field cmd_report_fields[] = {
    FIELD_HEAP(cmd_report, reports, "reports", report_count, CMD_REPORTS_MAX, report_record),
};
static const struct record cmd_report_record = RECORD(cmd_report, "report", cmd_report_fields);

static const struct field cmd_wake_fields[] = {
    FIELD_HEAP(cmd_wake, tasks, "tasks", task_count, CMD_BYTES_MAX, record_u64),
};
static const struct record cmd_wake_record = RECORD(cmd_wake, "wake", cmd_wake_fields);
_Static_assert(sizeof(task_id) == sizeof(uint64_t), "lists of task ids are lists of numbers");

static const struct field task_usage_fields[] = {
    FIELD_STRUCT(task_usage, task, "task", attempt_ref_record),
    FIELD(task_usage, used[RES_CPU], "cpu_milli"),
    FIELD(task_usage, used[RES_RAM], "ram_bytes"),
    FIELD(task_usage, machine.v, "machine"),
};
_Static_assert(RECLAIM_COUNT == 2, "a line for each");
const struct record task_usage_record = RECORD(task_usage, "usage of a task", task_usage_fields);

static const struct field cmd_usage_fields[] = {
    FIELD_HEAP(cmd_usage, tasks, "tasks", task_count, CMD_USAGES_MAX, task_usage_record),
};
static const struct record cmd_usage_record = RECORD(cmd_usage, "usage", cmd_usage_fields);

static const struct field cmd_machine_drain_fields[] = {
    FIELD_CHARS(cmd_machine_drain, name, "name"),
    FIELD(cmd_machine_drain, on, "on"),
};
static const struct record cmd_machine_drain_record =
    RECORD(cmd_machine_drain, "machine-drain", cmd_machine_drain_fields);

static const struct field cmd_quota_set_fields[] = {
    FIELD_STRUCT(cmd_quota_set, quota, "quota", quota_record),
    FIELD_STRUCT(cmd_quota_set, resource_names, "resource_names", resource_names_record),
    FIELD(cmd_quota_set, clear, "clear"),
};
static const struct record cmd_quota_set_record =
    RECORD(cmd_quota_set, "quota-set", cmd_quota_set_fields);

static const struct field cmd_machine_evict_fields[] = {
    FIELD(cmd_machine_evict, machine.v, "machine"),
};
static const struct record cmd_machine_evict_record =
    RECORD(cmd_machine_evict, "machine-evict", cmd_machine_evict_fields);

static const struct field cmd_job_update_fields[] = {
    FIELD_CHARS(cmd_job_update, name, "name"),
    FIELD(cmd_job_update, replicas, "replicas"),
    FIELD(cmd_job_update, priority, "priority"),
    FIELD(cmd_job_update, resized, "resized"),
    FIELD_STRUCT(cmd_job_update, limit, "limit", resources_record),
};
static const struct record cmd_job_update_record =
    RECORD(cmd_job_update, "job-update", cmd_job_update_fields);

static const struct field cmd_job_resize_fields[] = {
    FIELD(cmd_job_resize, job.v, "job"),
};
static const struct record cmd_job_resize_record =
    RECORD(cmd_job_resize, "job-resize", cmd_job_resize_fields);

static const struct field cmd_policy_set_fields[] = {
    FIELD_CHOICE(cmd_policy_set, policy, "policy", spec_policies),
};
static const struct record cmd_policy_set_record =
    RECORD(cmd_policy_set, "policy-set", cmd_policy_set_fields);

static const struct field cmd_hold_set_fields[] = {
    FIELD_CHOICE(cmd_hold_set, hold, "hold", holds),
    FIELD(cmd_hold_set, silent, "silent"),
    FIELD(cmd_hold_set, machines, "machines"),
};
static const struct record cmd_hold_set_record =
    RECORD(cmd_hold_set, "hold-set", cmd_hold_set_fields);

static const struct field cmd_machine_reclaim_fields[] = {
    FIELD(cmd_machine_reclaim, machine.v, "machine"),
};
static const struct record cmd_machine_reclaim_record =
    RECORD(cmd_machine_reclaim, "machine-reclaim", cmd_machine_reclaim_fields);

static const struct field cmd_master_add_fields[] = {
    FIELD_CHARS(cmd_master_add, rpc, "rpc"),
    FIELD_CHARS(cmd_master_add, raft, "raft"),
    FIELD(cmd_master_add, replaces, "replaces"),
};
static const struct record cmd_master_add_record =
    RECORD(cmd_master_add, "master-add", cmd_master_add_fields);

static const struct field cmd_master_remove_fields[] = {
    FIELD(cmd_master_remove, id, "id"),
};
static const struct record cmd_master_remove_record =
    RECORD(cmd_master_remove, "master-remove", cmd_master_remove_fields);

static const struct field cmd_master_step_fields[] = {
    FIELD(cmd_master_step, id, "id"),
    FIELD(cmd_master_step, gone, "gone"),
};
static const struct record cmd_master_step_record =
    RECORD(cmd_master_step, "master-step", cmd_master_step_fields);

static const struct field cmd_identity_set_fields[] = {
    FIELD_CHARS(cmd_identity_set, identity, "identity"),
    FIELD(cmd_identity_set, add, "add"),
    FIELD(cmd_identity_set, remove, "remove"),
    FIELD_CHOICE(cmd_identity_set, revoke, "revoke", revokes),
};
static const struct record cmd_identity_set_record =
    RECORD(cmd_identity_set, "identity-set", cmd_identity_set_fields);

static const struct field cmd_machine_try_fields[] = {
    FIELD(cmd_machine_try, machine.v, "machine"),
};
static const struct record cmd_machine_try_record =
    RECORD(cmd_machine_try, "machine-try", cmd_machine_try_fields);

static const struct field cmd_machine_remove_fields[] = {
    FIELD_CHARS(cmd_machine_remove, name, "name"),
    FIELD(cmd_machine_remove, force, "force"),
};
static const struct record cmd_machine_remove_record =
    RECORD(cmd_machine_remove, "machine-remove", cmd_machine_remove_fields);

#if CELL_FORMAT >= 2
static const struct field cmd_job_restart_fields[] = {
    FIELD_CHARS(cmd_job_restart, name, "name"),
    FIELD(cmd_job_restart, index, "index"),
    FIELD(cmd_job_restart, batch, "batch"),
};
static const struct record cmd_job_restart_record =
    RECORD(cmd_job_restart, "job-restart", cmd_job_restart_fields);
#endif

static const struct field cmd_format_set_fields[] = {
    FIELD(cmd_format_set, format, "format"),
};
static const struct record cmd_format_set_record =
    RECORD(cmd_format_set, "format-set", cmd_format_set_fields);

const struct record *cmd_body_record(enum cmd_kind kind)
{
    switch (kind) {
#define X(name, number, text, member, ...) \
    case CMD_##name: \
        return &cmd_##member##_record;
        CMD_KINDS(X)
#undef X
    }
    return NULL;
}

void cmd_release(struct cmd *cmd)
{
    const struct record *body = cmd_body_record(cmd->kind);
    if (body != NULL)
        record_release(body, cmd_body(cmd));
    *cmd = (struct cmd){0};
}
