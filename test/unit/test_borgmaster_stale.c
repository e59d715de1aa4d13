/*
 * test_borgmaster_stale.c - replicas that lag, and connections that outlive their end, do no harm
 * to the one machine that each of them believes to drive.
 *
 * Three replicas have cells of their own, each at a random lag behind the log; one machine runs the
 * borglet's plan, connected to one replica at a time. When it changes the replica, its messages to
 * the old one may arrive there much later, and the old one drives it until it has read the end of
 * the connection. link_diff() and plan_take() are the product's; the code around them does what
 * links.c does. Each guard is switched off in turn to show that it is necessary.
 */
#include "cell_fixture.h"
#include "cmd_pack.h"
#include "link_diff.h"
#include "plan.h"
#include "testlib.h"

enum {
    REPLICAS = 3,
    TASKS = 4,
    THERE_MAX = 128,
    STEPS = 700,
    SEEDS = 400,
    LOG_MAX = 8192,
    QUEUE_MAX = 512
};

enum guard {
    ALL_GUARDS,
    NO_INDEX_ORDER, /* the borglet also obeys older intents, and no link waits in LINK_WAITING */
    NO_SHOW,        /* a replica decides alone that a task is lost */
};

/* A message of the borglet to a replica on one connection. */
struct said {
    bool hello, end;
    uint64_t seen_index;
    struct {
        struct attempt_ref ref;
        enum report_kind kind;
    } reports[THERE_MAX];
    uint32_t report_count;
};

/* One replica: its cell, and its link to the machine. */
struct shard {
    struct cell *cell;
    uint64_t applied;
    struct changes changes;
    bool linked, up;
    uint64_t seen_index; /* of the hello */
    uint32_t connection;
    struct link_tasks tasks;
    struct link_todo todo;
    struct said inbox[QUEUE_MAX]; /* of all connections, in order */
    uint32_t inbox_first, inbox_count;
};

/* An attempt on the machine. */
struct there {
    struct attempt_ref ref;
    bool ended;
};

struct story {
    uint64_t seed;
    uint64_t now_ms;
    enum guard without;
    struct cell *cell; /* the newest */
    struct changes changes;
    struct buf log[LOG_MAX]; /* packed commands; index = position + 1 */
    uint64_t log_count;
    struct shard shards[REPLICAS];
    struct plan plan;
    struct there there[THERE_MAX];
    uint32_t there_count;
    struct attempt_ref started[LOG_MAX]; /* all attempts ever started */
    uint32_t started_count;
    uint32_t at, connection; /* the connected replica; number of the connection */
    uint32_t submits;
    const char *broken; /* NULL: nothing is broken */
};

static bool same(struct attempt_ref a, struct attempt_ref b)
{
    return a.task.v == b.task.v && a.attempt == b.attempt;
}

static struct there *find(struct story *s, struct attempt_ref ref)
{
    for (uint32_t i = 0; i < s->there_count; i++)
        if (same(s->there[i].ref, ref))
            return &s->there[i];
    return NULL;
}

static bool runs(struct story *s, struct attempt_ref ref)
{
    const struct there *there = find(s, ref);
    return there != NULL && !there->ended;
}

/* --- the log ---------------------------------------------------------------------------------- */

/* Return whether committed commands want this attempt on the machine. Once they do not, they never
 * do again. */
static bool wanted(const struct story *s, struct attempt_ref ref)
{
    const struct task *task = cell_task(s->cell, ref.task);
    return task != NULL && task_is_live(task) && task->attempt == ref.attempt &&
           task->machine.v == 1 && task->stopping == CAUSE_NONE;
}

static void commit(struct story *s, struct cmd *cmd)
{
    struct answer answer = {0};
    cmd->time_ms = s->log_count + 1;
    if (s->log_count == LOG_MAX)
        return;
    if (cmd_pack(cmd, &s->log[s->log_count], NULL) != 0)
        ck_abort_msg("a command that cannot be packed");
    for (uint32_t i = 0; cmd->kind == CMD_REPORT && i < cmd->report.report_count; i++)
        if (cmd->report.reports[i].kind == REPORT_LOST && wanted(s, cmd->report.reports[i].task) &&
            runs(s, cmd->report.reports[i].task))
            s->broken = "a task that runs was taken for lost";
    s->log_count++;
    cell_apply(s->cell, cmd, &s->changes, &answer);
    changes_clear(&s->changes);
    s->cell->applied_index = s->log_count;
}

static void do_register(struct story *s)
{
    struct cmd cmd = {.kind = CMD_MACHINE_REGISTER};
    str_copy(cmd.machine_register.name, sizeof cmd.machine_register.name, "m1");
    str_copy(cmd.machine_register.addr, sizeof cmd.machine_register.addr, "h:1");
    cmd.machine_register.capacity = amounts(1000 * TASKS, 1000, 1000, 100);
    commit(s, &cmd);
}

static void do_down(struct story *s)
{
    struct cmd cmd = {.kind = CMD_MACHINE_DOWN, .machine_down = {{1}}};
    commit(s, &cmd);
}

static void do_submit(struct story *s)
{
    struct cmd cmd = {.kind = CMD_JOB_SUBMIT, .job_submit = spec_named("web", "ada", 200)};
    cmd.job_submit.replicas = TASKS;
    cmd.job_submit.restart = RESTART_ALWAYS;
    cmd.job_submit.backoff_ms = cmd.job_submit.backoff_max_ms = 1;
    commit(s, &cmd);
    cmd_release(&cmd);
}

static void do_kill(struct story *s)
{
    struct cmd cmd = {.kind = CMD_JOB_KILL};
    str_copy(cmd.job_kill.name, sizeof cmd.job_kill.name, "web");
    commit(s, &cmd);
}

static void do_place(struct story *s)
{
    const struct job *job = cell_job_named(s->cell, "web");
    for (uint32_t i = 0; job != NULL && i < job->task_count; i++) {
        struct placement placement = {.task = attempt_of(&job->tasks[i]), .machine = {1}};
        struct cmd cmd = {.kind = CMD_SCHEDULE,
                          .schedule = {.placements = &placement, .placement_count = 1}};
        struct cmd wake = {.kind = CMD_WAKE, .wake = {&placement.task.task, 1}};
        if (job->tasks[i].not_before_ms != 0)
            commit(s, &wake);
        if (job->tasks[i].state == TASK_PENDING && draw_below(&s->seed, 2) == 0)
            commit(s, &cmd);
    }
}

/* --- the replicas ----------------------------------------------------------------------------- */

/* Deliver a message to the borglet, only on its present connection. */
static void intend(struct story *s, struct shard *shard, bool full)
{
    struct wire_intents in = {.index = shard->cell->applied_index,
                              .full = full,
                              .intents = shard->todo.intents,
                              .intent_count = (uint32_t)shard->todo.intent_count};
    struct plan_attempt present[THERE_MAX];
    for (uint32_t i = 0; i < s->there_count; i++)
        present[i] = (struct plan_attempt){
            .task = s->there[i].ref, .ended = s->there[i].ended, .limit = amounts(1000, 1, 0, 0)};
    for (uint32_t i = 0; i < in.intent_count; i++)
        in.intents[i].spec.argv = (struct words){0}; /* borrowed from the cell */
    if (shard != &s->shards[s->at] || shard->connection != s->connection)
        return;
    if (s->without == NO_INDEX_ORDER)
        s->plan.seen_index = 0;
    plan_take(&s->plan, &in, present, s->there_count);
}

static void propose(struct story *s, const struct report *report)
{
    struct report copy = *report;
    copy.machine.v = 1;
    struct cmd cmd = {.kind = CMD_REPORT, .report = {.reports = &copy, .report_count = 1}};
    if (draw_below(&s->seed, 8) > 0) /* otherwise it is lost with a leader */
        commit(s, &cmd);
}

static void shard_sync(struct story *s, struct shard *shard, bool full)
{
    const struct machine *machine = cell_machine(shard->cell, (machine_id){1});
    if (!shard->linked || machine == NULL)
        return;
    if (!shard->up) {
        if (s->without != NO_INDEX_ORDER && shard->applied < shard->seen_index)
            return;
        shard->up = true;
        full = true;
    }
    link_todo_clear(&shard->todo);
    link_diff(shard->cell, machine, &shard->tasks, full, ++s->now_ms, 20, &shard->todo);
    if (machine->state != MACHINE_UP)
        return;
    for (size_t i = 0; i < shard->todo.intent_count; i++) {
        struct report lost = {.task = shard->todo.intents[i].task, .kind = REPORT_LOST};
        if (s->without == NO_SHOW && shard->todo.intents[i].action == INTENT_SHOW)
            propose(s, &lost);
    }
    intend(s, shard, full);
    for (size_t i = 0; i < shard->todo.report_count; i++)
        propose(s, &shard->todo.reports[i]);
}

static void shard_apply(struct story *s, struct shard *shard, uint64_t count)
{
    for (; count > 0 && shard->applied < s->log_count; count--) {
        struct cmd cmd;
        struct answer answer = {0};
        const struct buf *packed = &s->log[shard->applied++];
        T_OK(cmd_unpack(packed->bytes, packed->size, &cmd, &t_err));
        cell_apply(shard->cell, &cmd, &shard->changes, &answer);
        changes_clear(&shard->changes);
        shard->cell->applied_index = shard->applied;
        cmd_release(&cmd);
    }
    shard_sync(s, shard, false);
}

/* Deliver the next message of the borglet to a replica. */
static void shard_hear(struct story *s, struct shard *shard)
{
    if (shard->inbox_count == 0)
        return;
    const struct said *said = &shard->inbox[shard->inbox_first];
    shard->inbox_first = (shard->inbox_first + 1) % QUEUE_MAX;
    shard->inbox_count--;
    if (said->hello) {
        shard->tasks.count = shard->tasks.ordered_count = 0;
        shard->linked = true;
        shard->up = false;
        shard->seen_index = said->seen_index;
        shard->connection++;
    }
    for (uint32_t i = 0; i < said->report_count; i++) {
        struct report report = {
            .task = said->reports[i].ref, .kind = said->reports[i].kind, .pid = 7};
        link_tasks_report(&shard->tasks, &report);
    }
    if (said->end)
        shard->linked = false;
    shard_sync(s, shard, false);
}

/* --- the machine ------------------------------------------------------------------------------ */

static struct said *say(struct story *s)
{
    struct shard *shard = &s->shards[s->at];
    if (shard->inbox_count == QUEUE_MAX)
        shard_hear(s, shard);
    uint32_t at = (shard->inbox_first + shard->inbox_count++) % QUEUE_MAX;
    shard->inbox[at] = (struct said){0};
    return &shard->inbox[at];
}

static void say_of(struct said *said, struct attempt_ref ref, enum report_kind kind)
{
    said->reports[said->report_count].ref = ref;
    said->reports[said->report_count++].kind = kind;
}

static void say_report(struct story *s, struct attempt_ref ref, enum report_kind kind)
{
    say_of(say(s), ref, kind);
}

/* The machine leaves its replica, which learns it when it has read that far, and greets another. */
static void machine_moves(struct story *s, uint32_t to)
{
    if (s->connection > 0)
        say(s)->end = true;
    s->at = to;
    s->connection = 1;
    for (uint32_t i = 0; i < s->shards[to].inbox_count; i++)
        s->connection += s->shards[to].inbox[(s->shards[to].inbox_first + i) % QUEUE_MAX].hello;
    s->connection += s->shards[to].connection;
    struct said *said = say(s);
    said->hello = true;
    said->seen_index = s->without == NO_INDEX_ORDER ? 0 : s->plan.seen_index;
    for (uint32_t i = 0; i < s->there_count; i++)
        say_of(said, s->there[i].ref, s->there[i].ended ? REPORT_EXITED : REPORT_RUNNING);
}

static void machine_start(struct story *s, struct attempt_ref ref)
{
    for (uint32_t i = 0; i < s->started_count; i++)
        if (same(s->started[i], ref))
            s->broken = "an attempt was started twice";
    s->started[s->started_count++ % LOG_MAX] = ref;
    ck_assert_uint_lt(s->there_count, ARRAY_SIZE(s->there));
    s->there[s->there_count++] = (struct there){.ref = ref};
    say_report(s, ref, REPORT_RUNNING);
}

static void machine_end(struct story *s, struct there *there)
{
    there->ended = true;
    say_report(s, there->ref, REPORT_EXITED);
}

static void machine_act(struct story *s, const struct plan_action *action)
{
    struct there *there = find(s, action->task);
    switch (action->verb) {
    case PLAN_START:
        machine_start(s, action->task);
        break;
    case PLAN_STOP:
        if (wanted(s, action->task))
            s->broken = "a task that is wanted was stopped";
        machine_end(s, there);
        break;
    case PLAN_FORGET:
        *there = s->there[--s->there_count];
        break;
    case PLAN_GONE:
        say_report(s, action->task, REPORT_EXITED);
        break;
    case PLAN_LOST:
        say_report(s, action->task, REPORT_LOST);
        break;
    case PLAN_RESIZE:
    case PLAN_REFUSE:
        ck_abort_msg("nothing is resized or too large");
    }
}

static void machine_turn(struct story *s)
{
    struct plan_action actions[64];
    struct plan_attempt present[THERE_MAX];
    struct resources capacity = amounts(1000000, 1000000, 1000, 1000);
    for (uint32_t i = 0; i < s->there_count; i++)
        present[i] = (struct plan_attempt){
            .task = s->there[i].ref, .ended = s->there[i].ended, .limit = amounts(1000, 1, 0, 0)};
    size_t count = plan_next(&s->plan, present, s->there_count, &capacity, actions, 64);
    for (size_t i = 0; i < count; i++)
        machine_act(s, &actions[i]);
}

/* --- stories ---------------------------------------------------------------------------------- */

static void step_cell(struct story *s)
{
    switch (draw_below(&s->seed, 12)) {
    case 0:
        do_down(s);
        break;
    case 1:
        do_kill(s);
        break;
    case 2:
    case 3:
        do_submit(s);
        break;
    case 4:
    case 5:
    case 6:
        do_register(s);
        break;
    default:
        do_place(s);
    }
}

static void step(struct story *s)
{
    struct shard *shard = &s->shards[draw_below(&s->seed, REPLICAS)];
    switch (draw_below(&s->seed, 10)) {
    case 0:
        step_cell(s);
        break;
    case 1:
        if (draw_below(&s->seed, 3) == 0)
            machine_moves(s, draw_below(&s->seed, REPLICAS));
        break;
    case 2:
        if (s->there_count > 0 && draw_below(&s->seed, 4) == 0) {
            struct there *there = &s->there[draw_below(&s->seed, s->there_count)];
            if (!there->ended)
                machine_end(s, there);
        }
        break;
    case 3:
    case 4:
        shard_apply(s, shard, 1 + draw_below(&s->seed, 30));
        break;
    case 5:
    case 6:
        machine_turn(s);
        break;
    default:
        shard_hear(s, shard);
    }
}

/* Deliver everything; then the cell and the machine agree. */
static void settle(struct story *s)
{
    do_register(s);
    machine_moves(s, draw_below(&s->seed, REPLICAS));
    for (int round = 0; round < 400; round++) {
        do_submit(s); /* until the last killed one has ended */
        do_place(s);
        for (int i = 0; i < REPLICAS; i++) {
            shard_apply(s, &s->shards[i], UINT64_MAX);
            shard_hear(s, &s->shards[i]);
        }
        machine_turn(s);
    }
    uint32_t live = 0;
    LIST_EACH(l, &cell_machine(s->cell, (machine_id){1})->tasks)
    {
        const struct task *task = CONTAINER_OF(l, struct task, link);
        live++;
        if (task->state != TASK_RUNNING || !runs(s, attempt_of(task)))
            s->broken = "in the end the machine does not run what the cell says";
    }
    if (live != TASKS || s->there_count != TASKS)
        s->broken = "in the end the machine has something else than the cell says";
}

/* Return NULL, or the violation. */
static const char *tell(uint64_t seed, enum guard without)
{
    struct story *s = xcalloc(1, sizeof *s);
    s->seed = seed * 2654435761 + 1;
    s->without = without;
    s->cell = cell_new();
    for (int i = 0; i < REPLICAS; i++)
        s->shards[i].cell = cell_new();
    do_register(s);
    do_submit(s);
    for (int i = 0; i < REPLICAS; i++)
        shard_apply(s, &s->shards[i], UINT64_MAX);
    machine_moves(s, 0);
    for (int i = 0; i < STEPS && s->broken == NULL; i++)
        step(s);
    if (s->broken == NULL)
        settle(s);
    const char *broken = s->broken;
    for (int i = 0; i < REPLICAS; i++) {
        cell_free(s->shards[i].cell);
        changes_release(&s->shards[i].changes);
        link_tasks_release(&s->shards[i].tasks);
        link_todo_release(&s->shards[i].todo);
    }
    for (uint64_t i = 0; i < s->log_count; i++)
        buf_release(&s->log[i]);
    plan_release(&s->plan);
    changes_release(&s->changes);
    cell_free(s->cell);
    free(s);
    return broken;
}

START_TEST(stale_replicas_start_stop_and_lose_nothing)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        const char *broken = tell(seed, ALL_GUARDS);
        if (broken != NULL)
            ck_abort_msg("seed %" PRIu64 ": %s", seed, broken);
    }
}
END_TEST

static const struct {
    enum guard without;
    const char *broken;
} guards[] = {
    {NO_INDEX_ORDER, "a task that is wanted was stopped"},
    {NO_SHOW, "a task that runs was taken for lost"},
};

START_TEST(stale_replicas_do_harm_without_a_guard)
{
    uint64_t seed = 1;
    for (; seed <= SEEDS; seed++) {
        const char *broken = tell(seed, guards[_i].without);
        if (broken != NULL && strcmp(broken, guards[_i].broken) == 0)
            return;
    }
    ck_abort_msg("%d stories without guard %d: nobody was harmed", SEEDS, (int)guards[_i].without);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("stale");
    TCase *tc = tcase_create("stale");
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, stale_replicas_start_stop_and_lose_nothing);
    tcase_add_loop_test(tc, stale_replicas_do_harm_without_a_guard, 0, ARRAY_SIZE(guards));
    suite_add_tcase(suite, tc);
    return t_main(suite);
}
