/*
 * random_cmd.h - random contents for the structs that are packed, from a seed.
 *
 * Every field is filled, so that one that is forgotten on the way shows. Numbers are drawn from
 * all sizes of msgpack integers. Structs are zeroed first: same_bytes() may compare them whole.
 */
#ifndef TEST_RANDOM_CMD_H
#define TEST_RANDOM_CMD_H

#include "cmd.h"
#include "hash.h"

#include <stdio.h>
#include <string.h>

struct random {
    uint64_t state;
};

static inline uint64_t random_u64(struct random *r)
{
    r->state += UINT64_C(0x9e3779b97f4a7c15);
    return hash_u64(r->state);
}

static inline uint32_t random_below(struct random *r, uint32_t bound)
{
    return (uint32_t)(random_u64(r) % bound);
}

/* Of a random width, so that small numbers are as likely as large ones. */
static inline uint64_t random_number(struct random *r)
{
    return random_u64(r) >> random_below(r, 64);
}

static inline void random_text(struct random *r, char *to, size_t size)
{
    size_t length = random_below(r, (uint32_t)size);
    for (size_t i = 0; i < length; i++)
        to[i] = (char)(1 + random_below(r, 255));
    to[length] = '\0';
}

static inline void random_words(struct random *r, struct words *words, uint32_t max)
{
    uint32_t count = random_below(r, max + 1);
    for (uint32_t i = 0; i < count; i++) {
        char word[80];
        random_text(r, word, sizeof word);
        words_add(words, word);
    }
}

/* Names from the first slot on, as they are packed. */
static inline void random_resources(struct random *r, struct resources *to,
                                    struct resource_names *names)
{
    int count = RES_NAMED + (int)random_below(r, RESOURCES_NAMED_MAX + 1);
    for (int i = 0; i < count; i++) {
        to->v[i] = (int64_t)random_number(r) * (random_below(r, 2) ? 1 : -1);
        if (i < RES_NAMED)
            continue;
        random_text(r, names->text[i - RES_NAMED], sizeof names->text[0]);
        names->text[i - RES_NAMED][0] = 'n';
    }
}

static inline void random_clauses(struct random *r, struct clauses *to)
{
    uint32_t clauses = random_below(r, 4);
    for (uint32_t i = 0; i < clauses; i++) {
        struct clause *clause = clauses_add(to, (uint32_t)random_number(r));
        uint32_t terms = random_below(r, 4);
        for (uint32_t j = 0; j < terms; j++) {
            struct term term = {.op = random_below(r, OP_COUNT)};
            random_text(r, term.attribute, sizeof term.attribute);
            random_words(r, &term.values, 4);
            clause_add(clause, term);
        }
    }
}

static inline void random_spec(struct random *r, struct job_spec *s)
{
    memset(s, 0, sizeof *s);
    random_text(r, s->name, sizeof s->name);
    random_text(r, s->user, sizeof s->user);
    s->priority = (uint32_t)random_number(r);
    s->appclass = random_below(r, APPCLASS_COUNT);
    s->policy = random_below(r, POLICY_SPEC_COUNT);
    s->replicas = (uint32_t)random_number(r);
    random_resources(r, &s->limit, &s->resource_names);
    s->alternative_count = random_below(r, SPEC_SHAPES_MAX);
    for (uint32_t i = 0; i < s->alternative_count; i++)
        for (int k = 0; k < RES_COUNT; k++)
            if (k < RES_NAMED || s->resource_names.text[k - RES_NAMED][0] != '\0')
                s->alternatives[i].v[k] = (int64_t)random_number(r);
    random_words(r, &s->argv, 40);
    random_words(r, &s->env, 40);
    random_words(r, &s->ports, SPEC_PORTS_MAX);
    s->restart = random_below(r, RESTART_COUNT);
    s->failures_max = (uint32_t)random_number(r);
    s->backoff_ms = (uint32_t)random_number(r);
    s->backoff_max_ms = (uint32_t)random_number(r);
    s->grace_ms = (uint32_t)random_number(r);
    s->disruptions_max = (uint32_t)random_number(r);
    s->gang = random_below(r, 2);
    s->every_machine = random_below(r, 2);
    random_clauses(r, &s->constraints);
    s->spread_count = random_below(r, SPEC_SPREADS_MAX + 1);
    for (uint32_t i = 0; i < s->spread_count; i++) {
        random_text(r, s->spreads[i].by, sizeof s->spreads[i].by);
        s->spreads[i].max = (uint32_t)random_number(r);
        s->spreads[i].weight = (uint32_t)random_number(r);
    }
    s->is_alloc_set = random_below(r, 2);
    random_text(r, s->alloc_set, sizeof s->alloc_set);
}

static inline struct attempt_ref random_attempt(struct random *r)
{
    return (struct attempt_ref){{random_number(r)}, (uint32_t)random_number(r)};
}

static inline void random_report(struct random *r, struct report *to)
{
    memset(to, 0, sizeof *to);
    to->task.task.v = random_number(r);
    to->task.attempt = (uint32_t)random_number(r);
    to->kind = random_below(r, REPORT_KIND_COUNT);
    to->pid = (int32_t)random_number(r);
    to->exit_code = (int32_t)random_number(r);
    uint32_t ports = random_below(r, SPEC_PORTS_MAX + 1);
    for (uint32_t i = 0; i < ports; i++)
        to->ports[i] = (uint16_t)random_number(r);
    random_text(r, to->detail, sizeof to->detail);
    to->machine.v = (uint32_t)random_number(r);
    to->fault = random_below(r, REPORT_FAULT_COUNT);
    to->told_to_stop = random_below(r, 2);
}

static inline struct report *random_reports(struct random *r, uint32_t count)
{
    struct report *reports = xcalloc((size_t)count + 1, sizeof *reports);
    for (uint32_t i = 0; i < count; i++)
        random_report(r, &reports[i]);
    return reports;
}

static inline void random_decision(struct random *r, uint32_t stages, struct decision *d)
{
    d->runner_up.v = (uint32_t)random_number(r);
    d->among = random_below(r, AMONG_COUNT);
    d->score_count = stages == 0 ? 0 : random_below(r, DECISION_SCORES_MAX + 1);
    for (uint32_t i = 0; i < d->score_count; i++)
        d->scores[i] = (struct stage_costs){random_below(r, stages), (int32_t)random_number(r),
                                            (int32_t)random_number(r)};
}

static inline struct task_usage *random_usages(struct random *r, uint32_t count)
{
    struct task_usage *tasks = xcalloc((size_t)count + 1, sizeof *tasks);
    for (uint32_t i = 0; i < count; i++) {
        tasks[i].task = random_attempt(r);
        tasks[i].machine.v = (uint32_t)random_number(r);
        for (int k = 0; k < RECLAIM_COUNT; k++)
            tasks[i].used[k] = (int64_t)random_number(r);
    }
    return tasks;
}

static inline void random_usage(struct random *r, struct cmd_usage *u)
{
    u->task_count = random_below(r, 40);
    u->tasks = random_usages(r, u->task_count);
}

static inline void random_schedule(struct random *r, struct cmd_schedule *s)
{
    s->placement_count = random_below(r, 20);
    s->victim_count = random_below(r, 20);
    s->verdict_count = random_below(r, 4);
    s->stage_count = random_below(r, 4);
    s->stages = xcalloc((size_t)s->stage_count + 1, sizeof *s->stages);
    s->placements = xcalloc((size_t)s->placement_count + 1, sizeof *s->placements);
    s->victims = xcalloc((size_t)s->victim_count + 1, sizeof *s->victims);
    s->verdicts = xcalloc((size_t)s->verdict_count + 1, sizeof *s->verdicts);
    for (uint32_t i = 0; i < s->placement_count; i++) {
        s->placements[i].task.task.v = random_number(r);
        s->placements[i].task.attempt = (uint32_t)random_number(r);
        s->placements[i].machine.v = (uint32_t)random_number(r);
        s->placements[i].victim_first = random_below(r, s->victim_count + 1);
        s->placements[i].victim_count =
            random_below(r, s->victim_count - s->placements[i].victim_first + 1);
        s->placements[i].alloc.v = random_number(r);
        random_decision(r, s->stage_count, &s->placements[i].decision);
        s->placements[i].shape = (uint32_t)random_number(r);
    }
    for (uint32_t i = 0; i < s->stage_count; i++) {
        random_text(r, s->stages[i].name, sizeof s->stages[i].name);
        s->stages[i].rank = (uint32_t)random_number(r);
        s->stages[i].is_share = random_below(r, 2) == 1;
    }
    for (uint32_t i = 0; i < s->victim_count; i++)
        s->victims[i] = random_attempt(r);
    for (uint32_t i = 0; i < s->verdict_count; i++) {
        s->verdicts[i].job.v = random_number(r);
        random_text(r, s->verdicts[i].reason, sizeof s->verdicts[i].reason);
        s->verdicts[i].is_news = random_below(r, 2) == 1;
    }
}

static inline void random_wake(struct random *r, struct cmd_wake *w)
{
    w->task_count = random_below(r, 40);
    w->tasks = xcalloc((size_t)w->task_count + 1, sizeof *w->tasks);
    for (uint32_t i = 0; i < w->task_count; i++)
        w->tasks[i].v = random_number(r);
}

static inline void random_register(struct random *r, struct cmd_machine_register *m)
{
    random_text(r, m->name, sizeof m->name);
    random_text(r, m->addr, sizeof m->addr);
    random_resources(r, &m->capacity, &m->resource_names);
    random_words(r, &m->attributes, MACHINE_ATTRIBUTES_MAX);
    m->instance = random_number(r);
    m->directory = random_number(r);
}

static inline void random_update(struct random *r, struct cmd_job_update *update)
{
    random_text(r, update->name, sizeof update->name);
    update->replicas = (int64_t)random_number(r);
    update->priority = -(int64_t)random_number(r);
    update->resized = (uint32_t)random_number(r);
    update->limit.v[RES_CPU] = (int64_t)random_number(r);
    update->limit.v[RES_RAM] = (int64_t)random_number(r);
    update->limit.v[RES_DISK] = -(int64_t)random_number(r);
    update->limit.v[RES_GPU] = (int64_t)random_number(r);
}

static inline void random_masters(struct random *r, struct masters *masters)
{
    masters->count = random_below(r, CELL_MASTERS_MAX + 1);
    for (uint32_t i = 0; i < masters->count; i++) {
        masters->rows[i].id = random_number(r);
        random_text(r, masters->rows[i].rpc, sizeof masters->rows[i].rpc);
        random_text(r, masters->rows[i].raft, sizeof masters->rows[i].raft);
        masters->rows[i].state = random_below(r, MASTER_STATE_COUNT);
    }
}

static inline void random_quota(struct random *r, struct cmd_quota_set *set)
{
    random_text(r, set->quota.user, sizeof set->quota.user);
    set->quota.band = random_below(r, BAND_COUNT);
    random_resources(r, &set->quota.limit, &set->resource_names);
    set->quota.tasks = (int64_t)random_number(r);
    set->clear = random_below(r, 2);
}

static inline void random_drain(struct random *r, struct cmd_machine_drain *drain)
{
    random_text(r, drain->name, sizeof drain->name);
    drain->on = random_below(r, 2);
}

static inline void random_master_cmd(struct random *r, struct cmd *cmd)
{
    if (cmd->kind == CMD_MASTERS_SET) {
        random_masters(r, &cmd->masters_set);
    } else if (cmd->kind == CMD_MASTER_ADD) {
        random_text(r, cmd->master_add.rpc, sizeof cmd->master_add.rpc);
        random_text(r, cmd->master_add.raft, sizeof cmd->master_add.raft);
        cmd->master_add.replaces = random_number(r);
    } else if (cmd->kind == CMD_MASTER_REMOVE) {
        cmd->master_remove.id = random_number(r);
    } else {
        cmd->master_step.id = random_number(r);
        cmd->master_step.gone = random_below(r, 2);
    }
}

static inline void random_identity(struct random *r, struct cmd_identity_set *s)
{
    random_text(r, s->identity, sizeof s->identity);
    s->add = (uint32_t)random_number(r);
    s->remove = (uint32_t)random_number(r);
    s->revoke = random_below(r, REVOKE_COUNT);
}

static inline void random_hold(struct random *r, struct cmd_hold_set *h)
{
    h->hold = random_below(r, HOLD_COUNT);
    h->silent = (uint32_t)random_number(r);
    h->machines = 7;
}

static inline void random_machine_cmd(struct random *r, struct cmd *cmd)
{
    machine_id machine = {(uint32_t)random_number(r)};
    if (cmd->kind == CMD_MACHINE_DOWN)
        cmd->machine_down.machine = machine;
    else if (cmd->kind == CMD_MACHINE_EVICT)
        cmd->machine_evict.machine = machine;
    else if (cmd->kind == CMD_MACHINE_RECLAIM)
        cmd->machine_reclaim.machine = machine;
    else if (cmd->kind == CMD_MACHINE_TRY)
        cmd->machine_try.machine = machine;
    else {
        random_text(r, cmd->machine_remove.name, sizeof cmd->machine_remove.name);
        cmd->machine_remove.force = random_below(r, 2);
    }
}

static inline void random_cmd(struct random *r, enum cmd_kind kind, struct cmd *cmd)
{
    memset(cmd, 0, sizeof *cmd);
    cmd->request_id[0] = random_number(r), cmd->request_id[1] = random_number(r);
    cmd->known_index = random_number(r);
    random_text(r, cmd->user, sizeof cmd->user);
    cmd->time_ms = random_number(r);
    cmd->kind = kind;
    switch (kind) {
    case CMD_MACHINE_REGISTER:
        random_register(r, &cmd->machine_register);
        return;
    case CMD_MACHINE_DOWN:
    case CMD_MACHINE_EVICT:
    case CMD_MACHINE_RECLAIM:
    case CMD_MACHINE_TRY:
    case CMD_MACHINE_REMOVE:
        random_machine_cmd(r, cmd);
        return;
    case CMD_JOB_SUBMIT:
        random_spec(r, &cmd->job_submit);
        return;
    case CMD_JOB_KILL:
        random_text(r, cmd->job_kill.name, sizeof cmd->job_kill.name);
        return;
    case CMD_SCHEDULE:
        random_schedule(r, &cmd->schedule);
        return;
    case CMD_REPORT:
        cmd->report.report_count = random_below(r, 8);
        cmd->report.reports = random_reports(r, cmd->report.report_count);
        return;
    case CMD_USAGE:
        random_usage(r, &cmd->usage);
        return;
    case CMD_WAKE:
        random_wake(r, &cmd->wake);
        return;
    case CMD_MASTERS_SET:
    case CMD_MASTER_ADD:
    case CMD_MASTER_REMOVE:
    case CMD_MASTER_STEP:
        random_master_cmd(r, cmd);
        return;
    case CMD_JOB_UPDATE:
        random_update(r, &cmd->job_update);
        return;
    case CMD_JOB_RESIZE:
        cmd->job_resize.job.v = random_number(r);
        return;
    case CMD_POLICY_SET:
        cmd->policy_set.policy = random_below(r, POLICY_COUNT);
        return;
    case CMD_HOLD_SET:
        random_hold(r, &cmd->hold_set);
        return;
    case CMD_IDENTITY_SET:
        random_identity(r, &cmd->identity_set);
        return;
    case CMD_QUOTA_SET:
        random_quota(r, &cmd->quota_set);
        return;
    case CMD_MACHINE_DRAIN:
        random_drain(r, &cmd->machine_drain);
        return;
    }
    UNREACHABLE("kind of command");
}

static inline bool same_bytes(const void *a, size_t a_size, const void *b, size_t b_size)
{
    return a_size == b_size && (a_size == 0 || memcmp(a, b, a_size) == 0);
}

static inline bool same_words(const struct words *a, const struct words *b)
{
    return a->count == b->count && same_bytes(a->bytes, a->size, b->bytes, b->size);
}

static inline bool same_specs(const struct job_spec *a, const struct job_spec *b)
{
    struct job_spec x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    memset(&x.argv, 0, sizeof x.argv), memset(&y.argv, 0, sizeof y.argv);
    memset(&x.env, 0, sizeof x.env), memset(&y.env, 0, sizeof y.env);
    memset(&x.ports, 0, sizeof x.ports), memset(&y.ports, 0, sizeof y.ports);
    memset(&x.constraints, 0, sizeof x.constraints);
    memset(&y.constraints, 0, sizeof y.constraints);
    struct buf key_a CLEANUP(buf_release) = {0}, key_b CLEANUP(buf_release) = {0};
    clauses_key(&a->constraints, &key_a);
    clauses_key(&b->constraints, &key_b);
    return strcmp(buf_text(&key_a), buf_text(&key_b)) == 0 &&
           same_bytes(&x, sizeof x, &y, sizeof y) && same_words(&a->argv, &b->argv) &&
           same_words(&a->env, &b->env) && same_words(&a->ports, &b->ports);
}

/* Of one list in two places. */
#define SAME_LISTS(a, a_count, b, b_count) \
    same_bytes((a), (a_count) * sizeof *(a), (b), (b_count) * sizeof *(b))

#endif
