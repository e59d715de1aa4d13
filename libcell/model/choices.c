/*
 * choices.c - the texts of every enum of the model, as tables.
 */
#include "fields.h"

#define CHOICES(variable, name, count, ...) \
    static const char *const variable##_texts[count] = {__VA_ARGS__}; \
    const struct enumeration variable = {name, variable##_texts, count}

CHOICES(bands, "band", BAND_COUNT, "free", "batch", "production", "monitoring");
CHOICES(appclasses, "appclass", APPCLASS_COUNT, "batch", "latency-sensitive");
CHOICES(restarts, "restart policy", RESTART_COUNT, "on-failure", "always", "never");
CHOICES(policies, "policy", POLICY_COUNT, "best-fit", "worst-fit", "stranding-aware");
CHOICES(spec_policies, "policy", POLICY_SPEC_COUNT, "best-fit", "worst-fit", "stranding-aware",
        "cell");
CHOICES(term_ops, "operator", OP_COUNT, "=", "!=", "<", "<=", ">", ">=", "in", "not-in", "exists",
        "not-exists", "regex", "near", "apart");
CHOICES(task_states, "state of a task", TASK_STATE_COUNT, "pending", "assigned", "running",
        "finished", "failed", "killed", "unwanted");
CHOICES(causes, "cause", CAUSE_COUNT, "", "exit", "signal", "start-error", "preempted",
        "machine-down", "lost", "drain", "out-of-resources", "update", "killed");
CHOICES(machine_states, "state of a machine", MACHINE_STATE_COUNT, "up", "down", "removed");
CHOICES(holds, "hold", HOLD_COUNT, "off", "on", "released");
CHOICES(master_states, "state of a replica", MASTER_STATE_COUNT, "joining", "member", "leaving");
CHOICES(report_kinds, "report", REPORT_KIND_COUNT, "running", "exited", "start-error", "lost");
CHOICES(report_faults, "fault", REPORT_FAULT_COUNT, "task", "machine");
CHOICES(revokes, "revocation", REVOKE_COUNT, "no", "yes", "restore");

#define X(name, number, text, ...) [CMD_##name] = (text),
CHOICES(cmd_kinds, "kind of command", CMD_KIND_COUNT, CMD_KINDS(X));
#undef X
#define X(name, number, text) [ERR_##name] = (text),
CHOICES(err_codes, "error", ERR_CODE_COUNT, ERR_CODES(X));
#undef X
#define X(name, number, text) [EVENT_##name] = (text),
CHOICES(event_kinds, "kind of event", EVENT_KIND_COUNT, EVENT_KINDS(X));
#undef X
#define X(name, text) [AMONG_##name] = (text),
CHOICES(amongs, "set of machines", AMONG_COUNT, AMONGS(X));
#undef X

const char *band_text(enum band band)
{
    return enumeration_text(&bands, band);
}

const char *appclass_text(enum appclass a)
{
    return enumeration_text(&appclasses, a);
}

const char *restart_text(enum restart r)
{
    return enumeration_text(&restarts, r);
}

const char *policy_text(enum policy p)
{
    return enumeration_text(&spec_policies, p);
}

int policy_parse(const char *text)
{
    return enumeration_parse(&spec_policies, text);
}

const char *task_state_text(enum task_state state)
{
    return enumeration_text(&task_states, state);
}

const char *cause_text(enum cause cause)
{
    return enumeration_text(&causes, cause);
}

const char *machine_state_text(enum machine_state state)
{
    return enumeration_text(&machine_states, state);
}

const char *hold_text(enum hold hold)
{
    return enumeration_text(&holds, hold);
}

const char *master_state_text(enum master_state state)
{
    return enumeration_text(&master_states, state);
}

const char *cmd_kind_text(enum cmd_kind kind)
{
    return enumeration_text(&cmd_kinds, kind);
}

const char *event_kind_text(enum event_kind kind)
{
    return enumeration_text(&event_kinds, kind);
}

const char *among_text(enum among among)
{
    return enumeration_text(&amongs, among);
}
