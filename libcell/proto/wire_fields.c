/*
 * wire_fields.c - the tables of the bodies of messages, and what the table of methods says.
 *
 * Lists that limits.h has no bound for are bounded by the bytes of their message:
 * RPC_FRAME_BYTES_MAX is the bound of the stream.
 */
#include "wire.h"

#include "fields.h"

#include <stddef.h>

#define BODY(name, text, ...) \
    const struct record wire_##name##_record = \
        RECORD(wire_##name, text, wire_##name##_fields, ##__VA_ARGS__)

static const struct field wire_answer_fields[] = {
    FIELD_CHOICE(wire_answer, code, "code", err_codes),
    FIELD(wire_answer, job, "job"),
    FIELD(wire_answer, accepted, "accepted"),
    FIELD(wire_answer, refused, "refused"),
    FIELD(wire_answer, index, "index"),
    FIELD_CHARS(wire_answer, msg, "msg"),
};
BODY(answer, "answer");

static const struct field wire_query_fields[] = {
    FIELD(wire_query, sql, "sql", .max = QUERY_SQL_MAX),
    FIELD(wire_query, index_min, "index_min"),
    FIELD(wire_query, fresh, "fresh"),
};
BODY(query, "query");

static const struct field wire_why_fields[] = {
    FIELD_CHARS(wire_why, job, "job"),
    FIELD(wire_why, index, "index"),
    FIELD(wire_why, want_names, "want_names"),
};
BODY(why, "question why");

static const struct field wire_status_fields[] = {
    FIELD(wire_status, id, "id"),
    FIELD_CHARS(wire_status, addr, "addr"),
    FIELD(wire_status, pid, "pid"),
    FIELD_CHARS(wire_status, role, "role"),
    FIELD(wire_status, term, "term"),
    FIELD(wire_status, leader, "leader"),
    FIELD(wire_status, last_index, "last_index"),
    FIELD(wire_status, stored_index, "stored_index"),
    FIELD(wire_status, commit_index, "commit_index"),
    FIELD(wire_status, applied_index, "applied_index"),
    FIELD(wire_status, snapshot_index, "snapshot_index"),
    FIELD(wire_status, projected_index, "projected_index"),
    FIELD(wire_status, digest, "digest"),
    FIELD(wire_status, links, "links"),
    FIELD(wire_status, machines, "machines"),
    FIELD(wire_status, jobs, "jobs"),
    FIELD(wire_status, pending, "pending"),
    FIELD(wire_status, uptime_ms, "uptime_ms"),
    FIELD(wire_status, mark_index, "mark_index"),
    FIELD(wire_status, mark_digest, "mark_digest"),
    FIELD(wire_status, store_behind_ms, "store_behind_ms"),
    FIELD(wire_status, disk_wait_ms, "disk_wait_ms"),
    FIELD(wire_status, disk_silent_ms, "disk_silent_ms"),
    FIELD(wire_status, disk_free_bytes, "disk_free_bytes"),
    FIELD(wire_status, disk_bytes, "disk_bytes"),
    FIELD(wire_status, state_bytes, "state_bytes"),
    FIELD_CHARS(wire_status, version, "version"),
    FIELD_CHARS(wire_status, policy, "policy"),
    FIELD_CHARS(wire_status, hold, "hold"),
    FIELD_CHARS(wire_status, change, "change"),
    FIELD(wire_status, certs_soon, "certs_soon"),
    FIELD(wire_status, cert_first_ms, "cert_first_ms"),
    FIELD_CHARS(wire_status, cert_first, "cert_first"),
    FIELD(wire_status, wall_ms, "wall_ms"),
    FIELD(wire_status, cell_ms, "cell_ms"),
    FIELD_STRUCT(wire_status, masters, "masters", masters_record),
    FIELD(wire_status, format, "format"),
    FIELD(wire_status, format_known, "format_known"),
    FIELD(wire_status, format_next, "format_next"),
};
BODY(status, "status");

static const struct field wire_alive_fields[] = {
    FIELD_BORROWED(wire_alive, bits, "bits", size, CELL_MACHINES_MAX / 8),
    FIELD(wire_alive, links, "links"),
    FIELD(wire_alive, applied_index, "applied_index"),
    FIELD(wire_alive, wall_ms, "wall_ms"),
    FIELD(wire_alive, format, "format"),
};
BODY(alive, "machines alive");

static const struct field wire_shed_fields[] = {
    FIELD(wire_shed, to, "to"),
    FIELD(wire_shed, count, "count"),
    FIELD(wire_shed, median_ms, "median_ms"),
};
BODY(shed, "request to shed");

static const struct field wire_hello_fields[] = {
    FIELD_CHARS(wire_hello, name, "name"),
    FIELD_CHARS(wire_hello, addr, "addr"),
    FIELD_STRUCT(wire_hello, capacity, "capacity", resources_record),
    FIELD_STRUCT(wire_hello, resource_names, "resource_names", resource_names_record),
    FIELD(wire_hello, seen_index, "seen_index"),
    FIELD_HEAP(wire_hello, reports, "reports", report_count, HELLO_REPORTS_MAX, report_record),
    FIELD(wire_hello, attributes, "attributes", .max = MACHINE_ATTRIBUTES_MAX),
    FIELD(wire_hello, instance, "instance"),
    FIELD(wire_hello, directory, "directory"),
#if CELL_FORMAT >= 2
    FIELD(wire_hello, labels, "labels", .since = 2, .max = LABELS_MAX),
#endif
};
BODY(hello, "hello");

static const struct field wire_welcome_fields[] = {
    FIELD(wire_welcome, machine, "machine"),
    FIELD(wire_welcome, heartbeat_ms, "heartbeat_ms"),
};
BODY(welcome, "welcome");

static const struct field wire_move_fields[] = {
    FIELD_CHARS(wire_move, addr, "addr"),
};
BODY(move, "request to move");

static const struct field wire_address_fields[] = {
    FIELD(wire_address, id, "id"),
    FIELD_CHARS(wire_address, text, "text"),
};
static const struct record wire_address_record =
    RECORD(wire_address, "address", wire_address_fields);
static const struct field wire_replicas_fields[] = {
    FIELD_HEAP(wire_replicas, addresses, "addresses", address_count, MASTER_ROWS_MAX,
               wire_address_record),
};
BODY(replicas, "list of replicas");

static const struct field wire_identity_fields[] = {
    FIELD_CHARS(wire_identity, identity, "identity"),
    FIELD(wire_identity, rights, "rights"),
    FIELD(wire_identity, revoked_ms, "revoked_ms"),
};
static const struct record wire_identity_record =
    RECORD(wire_identity, "identity", wire_identity_fields);
static const struct field wire_identities_fields[] = {
    FIELD(wire_identities, index, "index"),
    FIELD_HEAP(wire_identities, identities, "identities", identity_count, CELL_IDENTITIES_MAX,
               wire_identity_record),
};
BODY(identities, "list of identities");

static const struct field wire_join_fields[] = {
    FIELD(wire_join, id, "id"),
    FIELD_CHARS(wire_join, raft, "raft"),
    FIELD(wire_join, is_new, "is_new"),
    FIELD(wire_join, last_index, "last_index"),
    FIELD(wire_join, worked_ms, "worked_ms"),
    FIELD(wire_join, format, "format"),
};
BODY(join, "request to join");

static const struct field wire_reports_fields[] = {
    FIELD_HEAP(wire_reports, reports, "reports", report_count, CMD_REPORTS_MAX, report_record),
};
BODY(reports, "reports");

static const struct field wire_usages_fields[] = {
    FIELD_HEAP(wire_usages, tasks, "tasks", task_count, CMD_USAGES_MAX, task_usage_record),
};
BODY(usages, "usage of tasks");

static const char *const intent_action_texts[INTENT_ACTION_COUNT] = {"run", "stop", "forget",
                                                                     "show"};
const struct enumeration intent_actions = {"action", intent_action_texts, INTENT_ACTION_COUNT};
static const struct field intent_fields[] = {
    FIELD_STRUCT(intent, task, "task", attempt_ref_record),
    FIELD_CHOICE(intent, action, "action", intent_actions),
    FIELD_CHOICE(intent, cause, "cause", causes),
    FIELD(intent, grace_ms, "grace_ms"),
    FIELD(intent, assigned_seq, "assigned_seq"),
    FIELD(intent, devices, "devices"),
    FIELD(intent, reclaimed[RES_CPU], "reclaimed_cpu_milli"),
    FIELD(intent, reclaimed[RES_RAM], "reclaimed_ram_bytes"),
    FIELD_STRUCT(intent, spec, "spec", job_spec_record, .flags = FIELD_NULLABLE),
    FIELD(intent, shape, "shape"),
};
static const struct record intent_record = RECORD(intent, "intent", intent_fields);
static const struct field wire_intents_fields[] = {
    FIELD(wire_intents, index, "index"),
    FIELD(wire_intents, full, "full"),
    FIELD_HEAP(wire_intents, intents, "intents", intent_count, RPC_FRAME_BYTES_MAX, intent_record),
};
BODY(intents, "intents");

static const struct field wire_logs_fields[] = {
    FIELD_CHARS(wire_logs, job, "job"),   FIELD(wire_logs, task, "task"),
    FIELD(wire_logs, attempt, "attempt"), FIELD(wire_logs, err, "err"),
    FIELD(wire_logs, follow, "follow"),   FIELD(wire_logs, tail_bytes, "tail_bytes"),
    FIELD(wire_logs, from, "from"),
};
BODY(logs, "request for logs");

static const struct field wire_log_chunk_fields[] = {
    FIELD_BORROWED(wire_log_chunk, bytes, "bytes", size, RPC_FRAME_BYTES_MAX),
    FIELD(wire_log_chunk, offset, "offset"),
};
BODY(log_chunk, "piece of a log");

static const struct field wire_checkpoint_fields[] = {
    FIELD(wire_checkpoint, offset, "offset"),
};
BODY(checkpoint, "request for a checkpoint");

static const struct field wire_transfer_fields[] = {
    FIELD(wire_transfer, replica, "replica"),
};
BODY(transfer, "request to transfer");

static const struct field wire_piece_fields[] = {
    FIELD_BORROWED(wire_piece, bytes, "bytes", size, RPC_FRAME_BYTES_MAX),
    FIELD(wire_piece, total, "total"),
};
BODY(piece, "piece of a checkpoint");

/* clang-format off */
static const struct wire_rule rules[] = {
#define X(name, number, text, roles, access, deed, request, answer) \
    {WIRE_##name, text, (roles), ACCESS_##access, deed, WIRE_BODY_##request, WIRE_BODY_##answer},
    WIRE_METHODS(X)
#undef X
};
/* clang-format on */

const struct wire_rule *wire_rule(uint32_t method)
{
    for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
        if (rules[i].id == method)
            return &rules[i];
    return NULL;
}

const char *wire_method_text(uint32_t method)
{
    const struct wire_rule *rule = wire_rule(method);
    return rule == NULL ? "unknown" : rule->name;
}

const struct record *wire_body_record(enum wire_body body)
{
    switch (body) {
#define X(name) \
    case WIRE_BODY_##name: \
        return &wire_##name##_record;
        WIRE_BODIES(X)
#undef X
    case WIRE_BODY_EMPTY:
    case WIRE_BODY_CMD:
    case WIRE_BODY_rows:
        break;
    }
    return NULL;
}
