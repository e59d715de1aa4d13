/*
 * cmd_pack.c - commands, specs and envelopes as bytes.
 */
#include "cmd_pack.h"
#include "pack_enum.h"
#include "spec_fields.h"

#include <string.h>

enum { CMD_FORMAT = 1, ENVELOPE_HEAD_BYTES = 4 };

static void machine_register_fields(struct pack *p, struct cmd_machine_register *r)
{
    pack_fields(p, 6);
    pack_text(p, r->name, sizeof r->name);
    pack_text(p, r->addr, sizeof r->addr);
    resources_fields(p, &r->capacity, &r->resource_names);
    words_fields(p, &r->attributes, MACHINE_ATTRIBUTES_MAX);
    pack_u64(p, &r->instance);
    pack_u64(p, &r->directory);
}

/* One flat list, for there are many: 9 bytes at most and 11 a score. */
static void decision_fields(struct pack *p, struct decision *d)
{
    uint32_t count = 2 + 3 * d->score_count;
    pack_count(p, &count, 2 + 3 * DECISION_SCORES_MAX);
    if (pack_ok(p) && count % 3 != 2)
        pack_fail(p, "decision with half a score");
    pack_u32(p, &d->runner_up.v);
    pack_enum(p, &d->among);
    if (!pack_ok(p))
        return;
    if (p->reading)
        d->score_count = count / 3;
    for (uint32_t i = 0; i < d->score_count; i++) {
        pack_u32(p, &d->scores[i].stage);
        pack_i32(p, &d->scores[i].winner);
        pack_i32(p, &d->scores[i].runner_up);
    }
}

static void placement_fields(struct pack *p, void *placement)
{
    struct placement *l = placement;
    pack_fields(p, 7);
    attempt_ref_fields(p, &l->task);
    pack_u32(p, &l->machine.v);
    pack_u32(p, &l->victim_first);
    pack_u32(p, &l->victim_count);
    pack_u64(p, &l->alloc.v);
    decision_fields(p, &l->decision);
    pack_u32(p, &l->shape);
}

static void stage_fields(struct pack *p, void *stage)
{
    struct score_stage *s = stage;
    pack_fields(p, 3);
    pack_text(p, s->name, sizeof s->name);
    pack_u32(p, &s->rank);
    pack_bool(p, &s->is_share);
}

static void verdict_fields(struct pack *p, void *verdict)
{
    struct verdict *v = verdict;
    pack_fields(p, 3);
    pack_u64(p, &v->job.v);
    pack_text(p, v->reason, sizeof v->reason);
    pack_bool(p, &v->is_news);
}

/* Counts that limits.h has no word for are bounded by the bytes of the command. */
static void schedule_fields(struct pack *p, struct cmd_schedule *s)
{
    pack_fields(p, 4);
    pack_list(p, &s->placements, &s->placement_count, CMD_PLACEMENTS_MAX, sizeof *s->placements,
              placement_fields);
    pack_list(p, &s->victims, &s->victim_count, CMD_BYTES_MAX, sizeof *s->victims,
              attempt_ref_fields);
    pack_list(p, &s->verdicts, &s->verdict_count, CMD_BYTES_MAX, sizeof *s->verdicts,
              verdict_fields);
    pack_list(p, &s->stages, &s->stage_count, STAGES_MAX, sizeof *s->stages, stage_fields);
    for (uint32_t i = 0; i < s->placement_count; i++) {
        const struct placement *l = &s->placements[i];
        if ((uint64_t)l->victim_first + l->victim_count > s->victim_count)
            pack_fail(p, "placement with victims that are not there");
        for (uint32_t k = 0; k < l->decision.score_count; k++)
            if (l->decision.scores[k].stage >= s->stage_count)
                pack_fail(p, "score of a stage that is not there");
    }
}

static void cmd_report_fields(struct pack *p, struct cmd_report *r)
{
    pack_fields(p, 1);
    pack_list(p, &r->reports, &r->report_count, CMD_REPORTS_MAX, sizeof *r->reports, report_fields);
}

static void task_id_fields(struct pack *p, void *id)
{
    pack_u64(p, &((task_id *)id)->v);
}

static void wake_fields(struct pack *p, struct cmd_wake *w)
{
    pack_fields(p, 1);
    pack_list(p, &w->tasks, &w->task_count, CMD_BYTES_MAX, sizeof *w->tasks, task_id_fields);
}

static void machine_drain_fields(struct pack *p, struct cmd_machine_drain *d)
{
    pack_fields(p, 2);
    pack_text(p, d->name, sizeof d->name);
    pack_bool(p, &d->on);
}

static void quota_set_fields(struct pack *p, struct cmd_quota_set *q)
{
    pack_fields(p, 5);
    pack_text(p, q->quota.user, sizeof q->quota.user);
    pack_enum(p, &q->quota.band);
    resources_fields(p, &q->quota.limit, &q->resource_names);
    pack_i64(p, &q->quota.tasks);
    pack_bool(p, &q->clear);
}

static void job_update_fields(struct pack *p, struct cmd_job_update *u)
{
    pack_fields(p, 8);
    pack_text(p, u->name, sizeof u->name);
    pack_i64(p, &u->replicas);
    pack_i64(p, &u->priority);
    pack_u32(p, &u->resized);
    pack_i64(p, &u->limit.v[RES_CPU]);
    pack_i64(p, &u->limit.v[RES_RAM]);
    pack_i64(p, &u->limit.v[RES_DISK]);
    pack_i64(p, &u->limit.v[RES_GPU]);
}

static void usage_fields(struct pack *p, struct cmd_usage *u)
{
    pack_fields(p, 1);
    pack_list(p, &u->tasks, &u->task_count, CMD_USAGES_MAX, sizeof *u->tasks, task_usage_fields);
}

void masters_fields(struct pack *p, struct masters *m, uint32_t max)
{
    pack_count(p, &m->count, max);
    for (uint32_t i = 0; i < m->count && pack_ok(p); i++) {
        pack_fields(p, 4);
        pack_u64(p, &m->rows[i].id);
        pack_text(p, m->rows[i].rpc, sizeof m->rows[i].rpc);
        pack_text(p, m->rows[i].raft, sizeof m->rows[i].raft);
        pack_enum(p, &m->rows[i].state);
    }
}

static void master_add_fields(struct pack *p, struct cmd_master_add *a)
{
    pack_fields(p, 3);
    pack_text(p, a->rpc, sizeof a->rpc);
    pack_text(p, a->raft, sizeof a->raft);
    pack_u64(p, &a->replaces);
}

static void master_step_fields(struct pack *p, struct cmd_master_step *s)
{
    pack_fields(p, 2);
    pack_u64(p, &s->id);
    pack_bool(p, &s->gone);
}

static void identity_set_fields(struct pack *p, struct cmd_identity_set *s)
{
    pack_fields(p, 4);
    pack_text(p, s->identity, sizeof s->identity);
    pack_u32(p, &s->add);
    pack_u32(p, &s->remove);
    pack_enum(p, &s->revoke);
}

static void hold_set_fields(struct pack *p, struct cmd_hold_set *h)
{
    pack_fields(p, 3);
    pack_enum(p, &h->hold);
    pack_u32(p, &h->silent);
    pack_u32(p, &h->machines);
}

/* Of a command that is a name, or a number, and nothing else. */
static void name_fields(struct pack *p, char *name, size_t size)
{
    pack_fields(p, 1);
    pack_text(p, name, size);
}

static void number_fields(struct pack *p, uint64_t *number)
{
    pack_fields(p, 1);
    pack_u64(p, number);
}

/* Of a command that names a machine and nothing else. */
static void machine_fields(struct pack *p, struct cmd *cmd)
{
    machine_id *machine = cmd->kind == CMD_MACHINE_DOWN      ? &cmd->machine_down.machine
                          : cmd->kind == CMD_MACHINE_EVICT   ? &cmd->machine_evict.machine
                          : cmd->kind == CMD_MACHINE_RECLAIM ? &cmd->machine_reclaim.machine
                                                             : &cmd->machine_try.machine;
    pack_fields(p, 1);
    pack_u32(p, &machine->v);
}

static void machine_remove_fields(struct pack *p, struct cmd_machine_remove *r)
{
    pack_fields(p, 2);
    pack_text(p, r->name, sizeof r->name);
    pack_bool(p, &r->force);
}

static void policy_set_fields(struct pack *p, struct cmd_policy_set *s)
{
    pack_fields(p, 1);
    pack_enum(p, &s->policy);
}

static void body_fields(struct pack *p, struct cmd *cmd)
{
    switch (cmd->kind) {
    case CMD_MACHINE_REGISTER:
        machine_register_fields(p, &cmd->machine_register);
        return;
    case CMD_MACHINE_DOWN:
    case CMD_MACHINE_EVICT:
    case CMD_MACHINE_RECLAIM:
    case CMD_MACHINE_TRY:
        machine_fields(p, cmd);
        return;
    case CMD_JOB_SUBMIT:
        spec_fields(p, &cmd->job_submit);
        return;
    case CMD_JOB_KILL:
        name_fields(p, cmd->job_kill.name, sizeof cmd->job_kill.name);
        return;
    case CMD_SCHEDULE:
        schedule_fields(p, &cmd->schedule);
        return;
    case CMD_REPORT:
        cmd_report_fields(p, &cmd->report);
        return;
    case CMD_WAKE:
        wake_fields(p, &cmd->wake);
        return;
    case CMD_MACHINE_DRAIN:
        machine_drain_fields(p, &cmd->machine_drain);
        return;
    case CMD_QUOTA_SET:
        quota_set_fields(p, &cmd->quota_set);
        return;
    case CMD_JOB_UPDATE:
        job_update_fields(p, &cmd->job_update);
        return;
    case CMD_JOB_RESIZE:
        number_fields(p, &cmd->job_resize.job.v);
        return;
    case CMD_POLICY_SET:
        policy_set_fields(p, &cmd->policy_set);
        return;
    case CMD_HOLD_SET:
        hold_set_fields(p, &cmd->hold_set);
        return;
    case CMD_USAGE:
        usage_fields(p, &cmd->usage);
        return;
    case CMD_MASTERS_SET:
        masters_fields(p, &cmd->masters_set, CELL_MASTERS_MAX);
        return;
    case CMD_MASTER_ADD:
        master_add_fields(p, &cmd->master_add);
        return;
    case CMD_MASTER_REMOVE:
        number_fields(p, &cmd->master_remove.id);
        return;
    case CMD_MASTER_STEP:
        master_step_fields(p, &cmd->master_step);
        return;
    case CMD_IDENTITY_SET:
        identity_set_fields(p, &cmd->identity_set);
        return;
    case CMD_MACHINE_REMOVE:
        machine_remove_fields(p, &cmd->machine_remove);
        return;
    }
    pack_fail(p, "unknown kind of command");
}

/* Reading leaves kind 0 in a command of which nothing has to be released. */
static void cmd_fields(struct pack *p, struct cmd *cmd)
{
    uint32_t format = CMD_FORMAT;
    enum cmd_kind kind = cmd->kind;
    pack_fields(p, 8);
    pack_u32(p, &format);
    if (pack_ok(p) && format != CMD_FORMAT)
        pack_fail(p, "format of another version");
    pack_u64(p, &cmd->request_id[0]);
    pack_u64(p, &cmd->request_id[1]);
    pack_u64(p, &cmd->known_index);
    pack_text(p, cmd->user, sizeof cmd->user);
    pack_u64(p, &cmd->time_ms);
    pack_enum(p, &kind);
    if (!pack_ok(p))
        return;
    if (p->reading)
        cmd->kind = kind;
    body_fields(p, cmd);
}

static size_t spec_size(const struct job_spec *spec)
{
    struct buf bytes CLEANUP(buf_release) = {0};
    spec_pack(spec, &bytes);
    return bytes.size;
}

static int constraints_packable(const struct job_spec *spec, struct err *err)
{
    uint32_t terms = 0, values = 0;
    for (uint32_t i = 0; i < spec->constraints.count; i++) {
        const struct clause *clause = &spec->constraints.items[i];
        terms = MAX(terms, clause->term_count);
        for (uint32_t j = 0; j < clause->term_count; j++)
            values = MAX(values, clause->terms[j].values.count);
    }
    if (spec->constraints.count <= SPEC_CLAUSES_MAX && terms <= SPEC_TERMS_MAX &&
        values <= SPEC_TERM_VALUES_MAX && spec->spread_count <= SPEC_SPREADS_MAX)
        return 0;
    return err_set(err, ERR_LIMIT,
                   "job has %u constraints of up to %u terms with up to %u values and %u spreads, "
                   "at most %d, %d, %d, %d",
                   spec->constraints.count, terms, values, spec->spread_count, SPEC_CLAUSES_MAX,
                   SPEC_TERMS_MAX, SPEC_TERM_VALUES_MAX, SPEC_SPREADS_MAX);
}

/* Said in full here, for a user reads it; the walk over the fields would refuse it, too. */
static int spec_packable(const struct job_spec *spec, struct err *err)
{
    if (spec->argv.count > SPEC_ARGS_MAX || spec->env.count > SPEC_ENV_MAX ||
        spec->ports.count > SPEC_PORTS_MAX)
        return err_set(err, ERR_LIMIT,
                       "job has %u arguments, %u variables, %u ports, at most "
                       "%d, %d, %d",
                       spec->argv.count, spec->env.count, spec->ports.count, SPEC_ARGS_MAX,
                       SPEC_ENV_MAX, SPEC_PORTS_MAX);
    if (spec->alternative_count >= SPEC_SHAPES_MAX)
        return err_set(err, ERR_LIMIT, "job has %u shapes, at most %d", spec->alternative_count + 1,
                       SPEC_SHAPES_MAX);
    int rv = constraints_packable(spec, err);
    if (rv != 0)
        return rv;
    if (spec_size(spec) > SPEC_BYTES_MAX)
        return err_set(err, ERR_LIMIT,
                       "job spec takes %zu bytes, at most %d: shorten its command or environment",
                       spec_size(spec), SPEC_BYTES_MAX);
    return 0;
}

int cmd_pack(const struct cmd *cmd, struct buf *to, struct err *err)
{
    int rv = cmd->kind == CMD_JOB_SUBMIT ? spec_packable(&cmd->job_submit, err) : 0;
    if (rv != 0)
        return rv;
    size_t before = to->size;
    struct pack p;
    pack_to(&p, to);
    cmd_fields(&p, (struct cmd *)cmd);
    size_t size = to->size - before;
    rv = pack_end(&p, cmd_kind_text(cmd->kind), err);
    if (rv == 0 && size > CMD_BYTES_MAX)
        rv = err_set(err, ERR_LIMIT, "command %s takes %zu bytes, at most %d",
                     cmd_kind_text(cmd->kind), size, CMD_BYTES_MAX);
    if (rv != 0) {
        to->size = before;
        to->bytes[before] = '\0';
    }
    return rv;
}

int cmd_unpack(const void *bytes, size_t size, struct cmd *ret, struct err *err)
{
    memset(ret, 0, sizeof *ret);
    if (size > CMD_BYTES_MAX)
        return err_set(err, ERR_CORRUPT, "command: %zu bytes, at most %d", size, CMD_BYTES_MAX);
    struct pack p;
    pack_from(&p, bytes, size);
    cmd_fields(&p, ret);
    int rv = pack_end(&p, "command", err);
    if (rv != 0 && ret->kind != 0)
        cmd_release(ret);
    return rv;
}

void spec_pack(const struct job_spec *spec, struct buf *to)
{
    struct pack p;
    pack_to(&p, to);
    spec_fields(&p, (struct job_spec *)spec);
}

int spec_unpack(const void *bytes, size_t size, struct job_spec *ret, struct err *err)
{
    memset(ret, 0, sizeof *ret);
    struct pack p;
    pack_from(&p, bytes, size);
    spec_fields(&p, ret);
    int rv = pack_end(&p, "job spec", err);
    if (rv != 0)
        spec_release(ret);
    return rv;
}

void envelope_add(struct buf *envelope, const void *cmd_bytes, size_t size)
{
    ASSERT(size > 0);
    ASSERT(size <= CMD_BYTES_MAX);
    uint8_t head[ENVELOPE_HEAD_BYTES] = {(uint8_t)(size >> 24), (uint8_t)(size >> 16),
                                         (uint8_t)(size >> 8), (uint8_t)size};
    buf_append(envelope, head, sizeof head);
    buf_append(envelope, cmd_bytes, size);
}

int envelope_next(const void *envelope, size_t size, size_t *at, const void **ret_cmd,
                  size_t *ret_size, struct err *err)
{
    *ret_cmd = NULL;
    *ret_size = 0;
    ASSERT(*at <= size);
    if (*at == size)
        return 0;
    const uint8_t *bytes = (const uint8_t *)envelope + *at;
    size_t left = size - *at;
    if (left < ENVELOPE_HEAD_BYTES)
        return err_set(err, ERR_CORRUPT, "envelope: cut in a length at byte %zu of %zu", *at, size);
    size_t length =
        (size_t)bytes[0] << 24 | (size_t)bytes[1] << 16 | (size_t)bytes[2] << 8 | bytes[3];
    if (length == 0 || length > CMD_BYTES_MAX || length > left - ENVELOPE_HEAD_BYTES)
        return err_set(err, ERR_CORRUPT, "envelope: command of %zu bytes at byte %zu of %zu",
                       length, *at, size);
    *ret_cmd = bytes + ENVELOPE_HEAD_BYTES;
    *ret_size = length;
    *at += ENVELOPE_HEAD_BYTES + length;
    return 0;
}
