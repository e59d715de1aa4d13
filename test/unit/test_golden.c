/*
 * test_golden.c - stories: commands to a cell and what it answers, in test/golden/<story>.txt.
 *
 * A story is blocks of comments and commands, a line `----`, and the expected output up to an empty
 * line. REWRITE=1 writes what came out instead of comparing; read the difference before you
 * commit it. Run from the top of the tree. Commands:
 *
 *   machine NAME cpu=4 ram=8Gi disk=0 ports=4      register; `down NAME`
 *          attr=KEY=VALUE...                       each as often as you like, here and below
 *          gpu=2 res=NAME:N...                     here, in jobs and in quotas
 *   submit NAME user=U as=U priority=P replicas=N cpu=1 ram=1Gi restart=always failures=3
 * backoff=1s backoff_max=1m disruptions=1 policy=worst-fit       each but NAME may be left out
 *          need=rack=r1|ssd~exists want=rack=r1:50 constraints, `~` is a blank; a wish has a weight
 *          spread=BY:MAX:WEIGHT                    0: none
 *          gang=1 replicas=every-machine or=CPU:RAM (another shape)
 *          in=SET                                  the alloc set it runs in
 *   allocs NAME ...                                submit an alloc set, said in the same way
 *   drain NAME | undrain NAME | evict NAME         the leader evicts again from a draining machine
 *   quota USER band=batch user=root cpu=4 ram=8Gi disk=0 ports=0 tasks=9 | unquota USER band=batch
 *   policy NAME user=U | hold on|off|released user=U     of the cell
 *   masters COUNT | master-add HOST replaces=N user=U | master-remove N user=U
 *   master-joined N | master-gone N                      its replicas
 *   identity user/U add=operator add=reader remove=... revoke=no|yes|restore user=U
 *   events                                         what they said since the last time, not tasks'
 *   kill NAME user=U | update NAME user=U replicas=N priority=P
 *   place JOB/I MACHINE [evict JOB/I]... shape=2   by hand
 *   pass [explained]                               the scheduler decides [and how]
 *   running JOB/I pid=N | exited JOB/I code=N | start-error JOB/I why=WORD | lost JOB/I
 *   usage JOB/I cpu=1 ram=1Gi | reclaim MACHINE    the leader does the latter when it is due
 *   wait 10s                                       time goes on; then `wake` wakes who is due
 *   tasks JOB | why JOB | cell                     print; why: as the scheduler sees it
 *   explain JOB                                    the same from the cell: rows of `borgctl why`
 *
 * `request=N` after any command gives it a request id.
 */
#include "fields.h"
#include "attributes.h"
#include "quantity.h"
#include "sched_fixture.h"
#include "why_rows.h"

#include <glob.h>

enum { WORDS_MAX = 24 };

struct story {
    struct world w;
    struct sched *sched;
    uint64_t now_ms;
    struct buf *out;
    struct buf history;
    char *words[WORDS_MAX];
    int word_count;
};

/* The value of KEY=VALUE among the words, or the default. */
static const char *value_of(const struct story *s, const char *key, const char *otherwise)
{
    size_t length = strlen(key);
    for (int i = 1; i < s->word_count; i++)
        if (strncmp(s->words[i], key, length) == 0 && s->words[i][length] == '=')
            return s->words[i] + length + 1;
    return otherwise;
}

/* The next of the words KEY=VALUE behind the word `after`; 0: there is none. */
static int next_of(const struct story *s, const char *key, int after)
{
    size_t length = strlen(key);
    for (int i = after + 1; i < s->word_count; i++)
        if (strncmp(s->words[i], key, length) == 0 && s->words[i][length] == '=')
            return i;
    return 0;
}

static int64_t number_of(const struct story *s, const char *key, const char *otherwise)
{
    return strtoll(value_of(s, key, otherwise), NULL, 10);
}

static int64_t ms_of(const struct story *s, const char *key, const char *otherwise)
{
    struct err err;
    int64_t ms;
    ck_assert_msg(quantity_parse_ms(value_of(s, key, otherwise), &ms, &err) == 0, "%s", err.msg);
    return ms;
}

static struct resources resources_of(const struct story *s, struct resource_names *names)
{
    struct resources r = {{0}};
    struct err err;
    ck_assert(quantity_parse_milli(value_of(s, "cpu", "1"), &r.v[RES_CPU], &err) == 0);
    ck_assert(quantity_parse_bytes(value_of(s, "ram", "1Gi"), &r.v[RES_RAM], &err) == 0);
    ck_assert(quantity_parse_bytes(value_of(s, "disk", "0"), &r.v[RES_DISK], &err) == 0);
    r.v[RES_PORTS] = number_of(s, "ports", "0");
    ck_assert(quantity_parse_milli(value_of(s, "gpu", "0"), &r.v[RES_GPU], &err) == 0);
    for (int i = 0; (i = next_of(s, "res", i)) != 0;) {
        char name[RESOURCE_NAME_MAX + 1];
        long amount;
        ck_assert_int_eq(sscanf(s->words[i], "res=%31[^:]:%ld", name, &amount), 2);
        r.v[resource_names_put(names, name)] = amount;
    }
    return r;
}

static const struct task *task_named(const struct story *s, const char *name)
{
    char job[CELL_NAME_MAX + 1];
    const char *slash = strrchr(name, '/');
    ck_assert_msg(slash != NULL, "\"%s\" is not JOB/INDEX", name);
    str_copy(job, MIN(sizeof job, (size_t)(slash - name) + 1), name);
    const struct job *found = cell_job_named(s->w.cell, job);
    ck_assert_msg(found != NULL, "no job \"%s\"", job);
    return world_task(&s->w, found->id, (uint32_t)strtoul(slash + 1, NULL, 10));
}

static bool explained(const struct story *s)
{
    return s->word_count > 1 && strcmp(s->words[1], "explained") == 0;
}

static void print_event(const struct story *s, const struct event *e)
{
    const struct job *job = cell_job(s->w.cell, e->job);
    buf_printf(s->out, "  %s", event_kind_text(e->kind));
    if (job != NULL)
        buf_printf(s->out, " %s", job->spec.name);
    if (e->task_index >= 0)
        buf_printf(s->out, "/%" PRId64 " attempt=%u", e->task_index, e->attempt);
    if (e->machine.v != 0)
        buf_printf(s->out, " machine=%s", e->machine_name);
    if (e->cause != CAUSE_NONE)
        buf_printf(s->out, " cause=%s", cause_text(e->cause));
    if (e->exit_code != 0)
        buf_printf(s->out, " exit=%d", e->exit_code);
    if (e->detail[0] != '\0' && e->task_index >= 0 && (e->kind != EVENT_ASSIGNED || explained(s)))
        buf_printf(s->out, " \"%s\"", e->detail);
    buf_printf(s->out, "\n");
}

/* Apply and print: the answer, the events, the reasons that changed. */
static void apply(struct story *s, struct cmd *cmd)
{
    cmd->time_ms = s->now_ms;
    cmd->request_id[0] = (uint64_t)number_of(s, "request", "0");
    const char *by = cmd->kind == CMD_JOB_SUBMIT ? "as" : "user";
    str_copy(cmd->user, sizeof cmd->user, value_of(s, by, ""));
    world_apply(&s->w, cmd);
    buf_printf(s->out, "%s: %s\n", err_code_text(s->w.answer.code), s->w.answer.msg);
    for (size_t i = 0; i < s->w.changes.event_count; i++) {
        const struct event *event = &s->w.changes.events[i];
        print_event(s, event);
        if (event->task_index < 0)
            buf_printf(&s->history, "event %s: %s\n", event_kind_text(event->kind), event->detail);
    }
    world_tell(&s->w, s->sched);
}

static void do_machine(struct story *s)
{
    struct cmd cmd = {.kind = CMD_MACHINE_REGISTER};
    struct cmd_machine_register *body = &cmd.machine_register;
    str_copy(body->name, sizeof body->name, s->words[1]);
    snprintf(body->addr, sizeof body->addr, "%s:7700", s->words[1]);
    body->capacity = resources_of(s, &body->resource_names);
    body->instance = body->directory = (uint64_t)number_of(s, "instance", "0");
    for (int i = 0; (i = next_of(s, "attr", i)) != 0;) {
        char key[CELL_NAME_MAX + 1];
        const char *value;
        ck_assert_int_eq(attribute_parse(s->words[i] + strlen("attr="), key, &value, NULL), 0);
        attributes_put(&body->attributes, key, value);
    }
    apply(s, &cmd);
}

static void do_down(struct story *s)
{
    const struct machine *machine = cell_machine_named(s->w.cell, s->words[1]);
    struct cmd cmd = {.kind = CMD_MACHINE_DOWN};
    ck_assert_ptr_nonnull(machine);
    cmd.machine_down.machine = machine->id;
    apply(s, &cmd);
}

static void do_remove(struct story *s)
{
    struct cmd cmd = {.kind = CMD_MACHINE_REMOVE};
    str_copy(cmd.machine_remove.name, sizeof cmd.machine_remove.name, s->words[1]);
    cmd.machine_remove.force = number_of(s, "force", "0") != 0;
    apply(s, &cmd);
}

static void do_try(struct story *s)
{
    struct cmd cmd = {.kind = CMD_MACHINE_TRY};
    cmd.machine_try.machine = cell_machine_named(s->w.cell, s->words[1])->id;
    apply(s, &cmd);
}

static void drain(struct story *s, bool on)
{
    struct cmd cmd = {.kind = CMD_MACHINE_DRAIN, .machine_drain = {.on = on}};
    str_copy(cmd.machine_drain.name, sizeof cmd.machine_drain.name, s->words[1]);
    apply(s, &cmd);
}

static void do_drain(struct story *s)
{
    drain(s, true);
}

static void do_undrain(struct story *s)
{
    drain(s, false);
}

static void do_evict(struct story *s)
{
    struct cmd cmd = {.kind = CMD_MACHINE_EVICT};
    cmd.machine_evict.machine = cell_machine_named(s->w.cell, s->words[1])->id;
    apply(s, &cmd);
}

static void quota_change(struct story *s, bool clear)
{
    struct cmd cmd = {.kind = CMD_QUOTA_SET, .quota_set = {.clear = clear}};
    struct quota *quota = &cmd.quota_set.quota;
    const char *band = value_of(s, "band", "batch");
    str_copy(quota->user, sizeof quota->user, s->words[1]);
    while (quota->band < BAND_COUNT && strcmp(band_text(quota->band), band) != 0)
        quota->band++;
    quota->limit = resources_of(s, &cmd.quota_set.resource_names);
    for (enum resource r = 0; r < RES_COUNT; r++)
        if (r < RES_NAMED && value_of(s, resource_name(r, NULL), NULL) == NULL)
            quota->limit.v[r] = QUOTA_UNLIMITED;
    quota->tasks = number_of(s, "tasks", "-1");
    apply(s, &cmd);
}

static void do_quota(struct story *s)
{
    quota_change(s, false);
}

static uint32_t rights_of(const struct story *s, const char *name)
{
    uint32_t rights = 0;
    for (int i = 0; (i = next_of(s, name, i)) != 0;)
        for (enum right r = 0; r < RIGHT_COUNT; r++)
            if (strcmp(strchr(s->words[i], '=') + 1, right_text(r)) == 0)
                rights |= BIT(r);
    return rights;
}

static void do_identity(struct story *s)
{
    const char *revoke = value_of(s, "revoke", "no");
    struct cmd cmd = {.kind = CMD_IDENTITY_SET,
                      .identity_set = {.add = rights_of(s, "add"),
                                       .remove = rights_of(s, "remove"),
                                       .revoke = strcmp(revoke, "yes") == 0       ? REVOKE_YES
                                                 : strcmp(revoke, "restore") == 0 ? REVOKE_RESTORE
                                                                                  : REVOKE_NO}};
    str_copy(cmd.identity_set.identity, sizeof cmd.identity_set.identity, s->words[1]);
    apply(s, &cmd);
}

/* What the cell's and the jobs' events said since the last time. */
static void do_events(struct story *s)
{
    buf_printf(s->out, "%s", buf_text(&s->history));
    buf_clear(&s->history);
}

static void do_unquota(struct story *s)
{
    quota_change(s, true);
}

/* "rack=r1|ssd~exists" */
static void clause_of(char *text, struct clause *clause)
{
    for (char *one; (one = strsep(&text, "|")) != NULL;) {
        struct term term;
        struct err err;
        for (char *c = one; *c != '\0'; c++)
            *c = *c == '~' ? ' ' : *c;
        ck_assert_msg(term_parse(one, &term, &err) == 0, "%s", err.msg);
        clause_add(clause, term);
    }
}

static void places_of(const struct story *s, struct job_spec *spec)
{
    for (int i = 0; (i = next_of(s, "need", i)) != 0;)
        clause_of(s->words[i] + strlen("need="), clauses_add(&spec->constraints, 0));
    for (int i = 0; (i = next_of(s, "want", i)) != 0;) {
        char *colon = strrchr(s->words[i], ':');
        ck_assert_ptr_nonnull(colon);
        *colon = '\0';
        clause_of(s->words[i] + strlen("want="),
                  clauses_add(&spec->constraints, (uint32_t)strtoul(colon + 1, NULL, 10)));
    }
    for (int i = 0; (i = next_of(s, "spread", i)) != 0;) {
        struct spread *spread = &spec->spreads[spec->spread_count++];
        ck_assert_int_eq(
            sscanf(s->words[i], "spread=%63[^:]:%u:%u", spread->by, &spread->max, &spread->weight),
            3);
    }
}

static void shapes_of(const struct story *s, struct job_spec *spec)
{
    for (int i = 0; (i = next_of(s, "or", i)) != 0;) {
        char cpu[32], ram[32];
        struct resources shape = spec->limit;
        ck_assert_int_eq(sscanf(s->words[i], "or=%31[^:]:%31s", cpu, ram), 2);
        ck_assert_int_eq(quantity_parse_milli(cpu, &shape.v[RES_CPU], NULL), 0);
        ck_assert_int_eq(quantity_parse_bytes(ram, &shape.v[RES_RAM], NULL), 0);
        ck_assert_uint_lt(spec->alternative_count, SPEC_SHAPES_MAX - 1);
        spec->alternatives[spec->alternative_count++] = shape;
    }
}

static struct job_spec spec_of(const struct story *s)
{
    struct job_spec spec = spec_named(s->words[1], value_of(s, "user", value_of(s, "as", "")),
                                      (uint32_t)number_of(s, "priority", "100"));
    spec.replicas = (uint32_t)number_of(s, "replicas", "1");
    spec.limit = resources_of(s, &spec.resource_names);
    spec.restart = (enum restart)enumeration_parse(&restarts, value_of(s, "restart", "on-failure"));
    spec.policy = (enum policy)policy_parse(value_of(s, "policy", "best-fit"));
    spec.failures_max = (uint32_t)number_of(s, "failures", "0");
    spec.disruptions_max = (uint32_t)number_of(s, "disruptions", "0");
    spec.backoff_ms = (uint32_t)ms_of(s, "backoff", "1s");
    spec.backoff_max_ms = (uint32_t)ms_of(s, "backoff_max", "1m");
    spec.every_machine = strcmp(value_of(s, "replicas", "1"), "every-machine") == 0;
    spec.gang = number_of(s, "gang", "0") != 0;
    str_copy(spec.alloc_set, sizeof spec.alloc_set, value_of(s, "in", ""));
    places_of(s, &spec);
    shapes_of(s, &spec);
    return spec;
}

static void do_submit(struct story *s)
{
    struct cmd cmd = {.kind = CMD_JOB_SUBMIT, .job_submit = spec_of(s)};
    for (int64_t i = 0; i < cmd.job_submit.limit.v[RES_PORTS]; i++) {
        char name[16];
        snprintf(name, sizeof name, "p%d", (int)i);
        words_add(&cmd.job_submit.ports, name);
    }
    apply(s, &cmd);
}

static void do_allocs(struct story *s)
{
    struct cmd cmd = {.kind = CMD_JOB_SUBMIT, .job_submit = spec_of(s)};
    words_release(&cmd.job_submit.argv);
    cmd.job_submit.is_alloc_set = true;
    apply(s, &cmd);
}

static void do_policy(struct story *s)
{
    struct cmd cmd = {.kind = CMD_POLICY_SET};
    cmd.policy_set.policy = (enum policy)policy_parse(s->words[1]);
    apply(s, &cmd);
}

static void do_hold(struct story *s)
{
    struct cmd cmd = {.kind = CMD_HOLD_SET, .hold_set = {.silent = 5, .machines = 10}};
    while (strcmp(hold_text(cmd.hold_set.hold), s->words[1]) != 0)
        cmd.hold_set.hold++;
    apply(s, &cmd);
}

static void do_kill(struct story *s)
{
    struct cmd cmd = {.kind = CMD_JOB_KILL};
    str_copy(cmd.job_kill.name, sizeof cmd.job_kill.name, s->words[1]);
    apply(s, &cmd);
}

static void do_update(struct story *s)
{
    struct cmd cmd = {.kind = CMD_JOB_UPDATE};
    str_copy(cmd.job_update.name, sizeof cmd.job_update.name, s->words[1]);
    cmd.job_update.replicas = number_of(s, "replicas", "-1");
    cmd.job_update.priority = number_of(s, "priority", "-1");
    struct resource_names names = {0};
    cmd.job_update.limit = resources_of(s, &names);
    for (enum resource r = 0; r < RES_NAMED; r++)
        if (value_of(s, resource_name(r, &names), NULL) != NULL)
            cmd.job_update.resized |= 1U << r;
    apply(s, &cmd);
}

static void do_resize(struct story *s)
{
    struct cmd cmd = {.kind = CMD_JOB_RESIZE};
    cmd.job_resize.job = cell_job_named(s->w.cell, s->words[1])->id;
    apply(s, &cmd);
}

/* restart JOB[/INDEX] batch=N user=NAME */
static void do_restart(struct story *s)
{
    struct cmd cmd = {.kind = CMD_JOB_RESTART, .job_restart.index = -1};
    char *slash = strchr(s->words[1], '/');
    if (slash != NULL) {
        *slash = '\0';
        cmd.job_restart.index = atoi(slash + 1);
    }
    str_copy(cmd.job_restart.name, sizeof cmd.job_restart.name, s->words[1]);
    cmd.job_restart.batch = (uint32_t)number_of(s, "batch", "0");
    apply(s, &cmd);
}

static void do_format(struct story *s)
{
    struct cmd cmd = {.kind = CMD_FORMAT_SET};
    cmd.format_set.format = (uint32_t)atoi(s->words[1]);
    apply(s, &cmd);
}

/* Replica N has the addresses rN:1 and rN:2, unless told otherwise. */
static void do_masters(struct story *s)
{
    struct cmd cmd = {.kind = CMD_MASTERS_SET};
    struct masters *masters = &cmd.masters_set;
    masters->count = (uint32_t)atoi(s->words[1]);
    for (uint32_t i = 0; i < masters->count; i++) {
        struct master *row = &masters->rows[i];
        row->id = i + 1;
        row->state = MASTER_VOTES;
        snprintf(row->rpc, sizeof row->rpc, "r%u:1", i + 1);
        snprintf(row->raft, sizeof row->raft, "r%u:2", i + 1);
    }
    apply(s, &cmd);
}

static void do_master_add(struct story *s)
{
    struct cmd cmd = {.kind = CMD_MASTER_ADD};
    snprintf(cmd.master_add.rpc, sizeof cmd.master_add.rpc, "%s:1", s->words[1]);
    snprintf(cmd.master_add.raft, sizeof cmd.master_add.raft, "%s:2", s->words[1]);
    cmd.master_add.replaces = (uint64_t)number_of(s, "replaces", "0");
    apply(s, &cmd);
}

static void do_master_remove(struct story *s)
{
    struct cmd cmd = {.kind = CMD_MASTER_REMOVE};
    cmd.master_remove.id = (uint64_t)atoi(s->words[1]);
    apply(s, &cmd);
}

static void do_master_joined(struct story *s)
{
    struct cmd cmd = {.kind = CMD_MASTER_STEP};
    cmd.master_step.id = (uint64_t)atoi(s->words[1]);
    apply(s, &cmd);
}

static void do_master_gone(struct story *s)
{
    struct cmd cmd = {.kind = CMD_MASTER_STEP, .master_step = {.gone = true}};
    cmd.master_step.id = (uint64_t)atoi(s->words[1]);
    apply(s, &cmd);
}

static void do_place(struct story *s)
{
    struct cmd cmd = {.kind = CMD_SCHEDULE};
    struct cmd_schedule *body = &cmd.schedule;
    const struct machine *machine = cell_machine_named(s->w.cell, s->words[2]);
    ck_assert_ptr_nonnull(machine);
    body->placements = xcalloc(1, sizeof *body->placements);
    body->victims = xcalloc(WORDS_MAX, sizeof *body->victims);
    for (int i = 3; i + 1 < s->word_count && strcmp(s->words[i], "evict") == 0; i += 2)
        body->victims[body->victim_count++] = attempt_of(task_named(s, s->words[i + 1]));
    body->placements[body->placement_count++] =
        (struct placement){.task = attempt_of(task_named(s, s->words[1])),
                           .machine = machine->id,
                           .victim_count = body->victim_count,
                           .shape = (uint32_t)number_of(s, "shape", "1") - 1};
    apply(s, &cmd);
}

static void do_pass(struct story *s)
{
    struct cmd_schedule decided;
    if (!sched_pass(s->sched, &decided)) {
        buf_printf(s->out, "nothing to propose\n");
        return;
    }
    struct cmd cmd = cmd_of_decision(&decided);
    apply(s, &cmd);
    for (uint32_t i = 0; i < decided.verdict_count; i++)
        buf_printf(s->out, "  %s waits: %s\n",
                   cell_job(s->w.cell, decided.verdicts[i].job)->spec.name,
                   decided.verdicts[i].reason);
}

static void report(struct story *s, enum report_kind kind)
{
    const struct task *task = task_named(s, s->words[1]);
    /* `machine=M` and `attempt=N`: a report about another one than the present. */
    const char *name = value_of(s, "machine", NULL);
    struct cmd cmd = {.kind = CMD_REPORT};
    cmd.report.reports = xcalloc(1, sizeof *cmd.report.reports);
    cmd.report.report_count = 1;
    struct report *r = cmd.report.reports;
    r->task = attempt_of(task);
    r->machine = name == NULL ? task->machine : cell_machine_named(s->w.cell, name)->id;
    if (value_of(s, "attempt", NULL) != NULL)
        r->task.attempt = (uint32_t)number_of(s, "attempt", "0");
    r->kind = kind;
    r->pid = (int32_t)number_of(s, "pid", "0");
    r->exit_code = (int32_t)number_of(s, "code", "0");
    r->fault = strcmp(value_of(s, "fault", "task"), "machine") == 0 ? FAULT_MACHINE : FAULT_TASK;
    /* `told=0`: it ended before what it was told reached it. */
    r->told_to_stop = number_of(s, "told", task->stopping != CAUSE_NONE ? "1" : "0") != 0;
    str_copy(r->detail, sizeof r->detail, value_of(s, "why", ""));
    apply(s, &cmd);
}

static void do_running(struct story *s)
{
    report(s, REPORT_RUNNING);
}

static void do_exited(struct story *s)
{
    report(s, REPORT_EXITED);
}

static void do_start_error(struct story *s)
{
    report(s, REPORT_START_ERROR);
}

static void do_usage(struct story *s)
{
    const struct task *task = task_named(s, s->words[1]);
    struct cmd cmd = {.kind = CMD_USAGE};
    struct resource_names names = {0};
    struct resources used = resources_of(s, &names);
    cmd.usage.tasks = xcalloc(1, sizeof *cmd.usage.tasks);
    struct task_usage *usage = &cmd.usage.tasks[cmd.usage.task_count++];
    usage->task = attempt_of(task);
    usage->machine = task->machine;
    for (int r = 0; r < RECLAIM_COUNT; r++)
        usage->used[r] = used.v[r];
    apply(s, &cmd);
}

static void do_reclaim(struct story *s)
{
    const struct machine *machine = cell_machine_named(s->w.cell, s->words[1]);
    bool is_due = cell_reclaim_due(s->w.cell, machine);
    struct cmd cmd = {.kind = CMD_MACHINE_RECLAIM, .machine_reclaim = {machine->id}};
    if (is_due)
        apply(s, &cmd);
    else
        buf_printf(s->out, "nobody has to go\n");
}

static void do_lost(struct story *s)
{
    report(s, REPORT_LOST);
}

static void do_wait(struct story *s)
{
    int64_t ms;
    ck_assert_int_eq(quantity_parse_ms(s->words[1], &ms, NULL), 0);
    s->now_ms += (uint64_t)ms;
    buf_printf(s->out, "now %" PRIu64 "\n", s->now_ms);
}

static void do_wake(struct story *s)
{
    enum { WAKE_MAX = 1024 };
    struct cmd cmd = {.kind = CMD_WAKE};
    cmd.wake.tasks = xcalloc(WAKE_MAX, sizeof *cmd.wake.tasks);
    cmd.wake.task_count = cell_wake_due(s->w.cell, UINT64_MAX, cmd.wake.tasks, WAKE_MAX);
    apply(s, &cmd);
}

static void do_tasks(struct story *s)
{
    CLEANUP(buf_release) struct buf text = {0};
    char before[CELL_NAME_MAX + 16];
    cell_text(&text, s->w.cell);
    snprintf(before, sizeof before, "task %s/", s->words[1]);
    const char *rest = text.bytes;
    for (const char *line; (line = strstr(rest, before)) != NULL; rest = strchr(line, '\n') + 1)
        buf_printf(s->out, "%.*s\n", (int)(strchr(line, '\n') - line), line);
}

static void do_why(struct story *s)
{
    sched_explain(s->sched, cell_job_named(s->w.cell, s->words[1])->id, s->out);
    buf_printf(s->out, "\n");
}

/* A line per row: its kind, then what is in it. */
static void do_explain(struct story *s)
{
    struct wire_why asked = {.index = -1, .want_names = true};
    CLEANUP(wire_rows_release) struct wire_rows rows = {0};
    struct err err;
    str_copy(asked.job, sizeof asked.job, s->words[1]);
    ck_assert_msg(why_rows(s->w.cell, &asked, &rows, &err) == 0, "%s", err.msg);
    for (uint32_t i = 0; i < rows.row_count; i++) {
        for (uint32_t c = 0; c < rows.column_count; c++) {
            const struct wire_value *value = &rows.values[i * rows.column_count + c];
            if (value->type == WIRE_INTEGER)
                buf_printf(s->out, " %s=%" PRId64, rows.columns[c], value->integer);
            else if (value->type == WIRE_TEXT && c == 0)
                buf_printf(s->out, "  %s", value->text);
            else if (value->type == WIRE_TEXT)
                buf_printf(s->out, " %s=\"%s\"", rows.columns[c], value->text);
        }
        buf_printf(s->out, "\n");
    }
}

static void do_cell(struct story *s)
{
    cell_text(s->out, s->w.cell);
}

static const struct {
    const char *name;
    int words_min;
    void (*run)(struct story *s);
} commands[] = {
    {"usage", 2, do_usage},
    {"reclaim", 2, do_reclaim},
    {"machine", 2, do_machine},
    {"down", 2, do_down},
    {"remove", 2, do_remove},
    {"try", 2, do_try},
    {"submit", 2, do_submit},
    {"policy", 2, do_policy},
    {"hold", 2, do_hold},
    {"masters", 2, do_masters},
    {"master-add", 2, do_master_add},
    {"master-remove", 2, do_master_remove},
    {"master-joined", 2, do_master_joined},
    {"master-gone", 2, do_master_gone},
    {"kill", 2, do_kill},
    {"place", 3, do_place},
    {"pass", 1, do_pass},
    {"running", 2, do_running},
    {"exited", 2, do_exited},
    {"start-error", 2, do_start_error},
    {"lost", 2, do_lost},
    {"wait", 2, do_wait},
    {"wake", 1, do_wake},
    {"tasks", 2, do_tasks},
    {"why", 2, do_why},
    {"cell", 1, do_cell},
    {"drain", 2, do_drain},
    {"undrain", 2, do_undrain},
    {"update", 2, do_update},
    {"allocs", 2, do_allocs},
    {"evict", 2, do_evict},
    {"resize", 2, do_resize},
    {"restart", 2, do_restart},
    {"format", 2, do_format},
    {"quota", 2, do_quota},
    {"identity", 2, do_identity},
    {"events", 1, do_events},
    {"unquota", 2, do_unquota},
    {"explain", 2, do_explain},
};

static void run_line(struct story *s, char *line)
{
    s->word_count = 0;
    for (char *rest = line, *word; (word = strtok_r(rest, " ", &rest)) != NULL;) {
        ck_assert_int_lt(s->word_count, WORDS_MAX);
        s->words[s->word_count++] = word;
    }
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        if (strcmp(s->words[0], commands[i].name) != 0)
            continue;
        ck_assert_msg(s->word_count >= commands[i].words_min, "%s: too few words", s->words[0]);
        commands[i].run(s);
        return;
    }
    ck_abort_msg("no command \"%s\"", s->words[0]);
}

static void read_file(const char *path, struct buf *to)
{
    FILE *file = fopen(path, "r");
    ck_assert_msg(file != NULL, "cannot open %s", path);
    char chunk[4096];
    for (size_t n; (n = fread(chunk, 1, sizeof chunk, file)) > 0;)
        buf_append(to, chunk, n);
    fclose(file);
}

/* Copy comments and commands, put what really comes out after each `----`. */
static void run_story(char *text, struct buf *to)
{
    struct story s = {.w = world_new(), .sched = sched_new(), .now_ms = 1000, .out = to};
    CLEANUP(buf_release) struct buf out = {0};
    bool skipping = false; /* the expected output of before */
    s.out = &out;
    for (char *line; (line = strsep(&text, "\n")) != NULL;) {
        if (skipping) {
            skipping = line[0] != '\0';
        } else if (strcmp(line, "----") == 0) {
            buf_printf(to, "----\n%s\n", buf_text(&out));
            buf_clear(&out);
            skipping = true;
        } else if (line[0] == '\0') {
            buf_printf(to, "%s", text == NULL ? "" : "\n");
        } else {
            buf_printf(to, "%s\n", line);
            if (line[0] != '#')
                run_line(&s, line);
        }
    }
    ck_assert_msg(out.size == 0, "commands after the last ----");
    sched_free(s.sched);
    buf_release(&s.history);
    world_release(&s.w);
}

static glob_t stories;

START_TEST(a_story_goes_as_it_is_written)
{
    const char *path = stories.gl_pathv[_i];
    CLEANUP(buf_release) struct buf written = {0};
    CLEANUP(buf_release) struct buf text = {0};
    CLEANUP(buf_release) struct buf real = {0};
    read_file(path, &written);
    buf_append(&text, written.bytes, written.size);
    run_story(text.bytes, &real);
    while (real.size >= 2 && memcmp(real.bytes + real.size - 2, "\n\n", 2) == 0)
        real.bytes[--real.size] = '\0';
    if (getenv("REWRITE") != NULL) {
        FILE *file = fopen(path, "w");
        ck_assert_ptr_nonnull(file);
        fputs(buf_text(&real), file);
        ck_assert_int_eq(fclose(file), 0);
        return;
    }
    if (strcmp(buf_text(&written), buf_text(&real)) != 0)
        ck_abort_msg("%s goes like this now (REWRITE=1 writes it):\n%s", path, buf_text(&real));
}
END_TEST

int main(void)
{
    if (glob("test/golden/*.txt", 0, NULL, &stories) != 0) {
        fprintf(stderr, "no stories in test/golden: run this from the top of the tree\n");
        return 1;
    }
    Suite *suite = suite_create("golden");
    TCase *tcase = tcase_create("stories");
    tcase_add_loop_test(tcase, a_story_goes_as_it_is_written, 0, (int)stories.gl_pathc);
    suite_add_tcase(suite, tcase);
    int failed = run_suite(suite);
    globfree(&stories);
    return failed;
}
