/*
 * borglets.c - the simulated environment of agent.c: runner, logs, state directory, /proc.
 */
#include "borglets.h"

#include "agent.h"
#include "attributes.h"
#include "breaks.h"
#include "checks.h"
#include "logs.h"
#include "runner.h"
#include "usage.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    START_MS_MAX = 80, /* from fork to exec */
    END_MS_MAX = 400,  /* from SIGTERM to the end, usually */
    BAD_STARTS = 300,  /* one start in this many fails */
    DEAF = 20,         /* one process in this many ignores SIGTERM and waits for SIGKILL */
    /* one power failure in this many loses the index seen, which is not synced */
    SEEN_LOST_ONE_IN = 2,
    PID_FIRST = 1000,
    PORT_FIRST = 20000,
    PORTS = 1000,
};

#define NEVER UINT64_MAX

/* One attempt on a machine, from its start until it is forgotten: shim, record and task together.
 */
struct shim {
    bool used;
    bool told_to_stop; /* got SIGTERM and therefore ends */
    bool stopping;
    struct attempt_ref task;
    char job[CELL_NAME_MAX + 1];
    struct shim_spec spec;
    enum report_kind end; /* how it will end */
    int32_t exit_code;
    int32_t pid;
    uint64_t runs_ms; /* true times */
    uint64_t ends_ms;
};

struct borglet {
    struct node *node;
    char name[CELL_NAME_MAX + 1];
    struct agent *agent;
    struct state_dir state;
    struct words attributes;
    struct shim shims[BORGLET_PROCESSES_MAX];
    uint64_t starts; /* counter for pids and ports */
};

/* The runner during one life of a borglet. */
struct runner {
    struct borglet *borglet;
    struct runner_options options;
    struct list attempts;
    size_t attempt_count;
    uv_timer_t timer; /* next start or end of a process */
};

static struct borglet borglets[BORGLETS_MAX];
static unsigned borglet_count;
static struct cell_file cell_file;
static bool settled;

static struct borglet *borglet_current(void)
{
    for (unsigned i = 0; i < borglet_count; i++)
        if (borglets[i].node == world_current())
            return &borglets[i];
    UNREACHABLE("code of a borglet runs on its machine");
}

static bool attempt_same(struct attempt_ref a, struct attempt_ref b)
{
    return a.task.v == b.task.v && a.attempt == b.attempt;
}

static struct shim *shim_find(struct borglet *borglet, struct attempt_ref task)
{
    for (size_t i = 0; i < ARRAY_SIZE(borglet->shims); i++)
        if (borglet->shims[i].used && attempt_same(borglet->shims[i].task, task))
            return &borglet->shims[i];
    return NULL;
}

static bool shim_runs(const struct shim *shim)
{
    uint64_t now_ms = world_now_ms();
    return shim->used && shim->end != REPORT_START_ERROR && shim->runs_ms <= now_ms &&
           now_ms < shim->ends_ms;
}

/* Runner */

static struct attempt *attempt_new(struct runner *runner, const char *job, struct attempt_ref task)
{
    struct attempt *attempt = xcalloc(1, sizeof *attempt);
    attempt->task = task;
    attempt->report.task = task;
    attempt->report.kind = REPORT_RUNNING;
    str_copy(attempt->job, sizeof attempt->job, job);
    snprintf(attempt->name, sizeof attempt->name, "%s.%" PRIu32, job, task_index(task.task));
    list_push(&runner->attempts, &attempt->link);
    runner->attempt_count++;
    return attempt;
}

/* Update an attempt from its shim; return false if nothing has changed. */
static bool attempt_look(struct attempt *attempt, const struct shim *shim)
{
    uint64_t now_ms = world_now_ms();
    if (attempt->phase == ATTEMPT_ENDED)
        return false;
    attempt->report.pid = attempt->state.task_pid = attempt->shim_pid = shim->pid;
    memcpy(attempt->report.ports, shim->spec.ports, sizeof attempt->report.ports);
    if (now_ms >= shim->ends_ms) {
        attempt->phase = ATTEMPT_ENDED;
        attempt->report.kind = shim->end;
        attempt->report.exit_code = shim->exit_code;
        attempt->report.told_to_stop = shim->told_to_stop;
        return true;
    }
    if (attempt->phase == ATTEMPT_STARTING && now_ms >= shim->runs_ms) {
        attempt->phase = ATTEMPT_RUNNING;
        return true;
    }
    return false;
}

static void runner_on_timer(uv_timer_t *timer);

static void runner_arm(struct runner *runner)
{
    uint64_t now_ms = world_now_ms(), next_ms = NEVER;
    LIST_EACH(l, &runner->attempts)
    {
        const struct attempt *attempt = CONTAINER_OF(l, struct attempt, link);
        const struct shim *shim = shim_find(runner->borglet, attempt->task);
        if (attempt->phase == ATTEMPT_STARTING)
            next_ms = MIN(next_ms, MIN(shim->runs_ms, shim->ends_ms));
        else if (attempt->phase == ATTEMPT_RUNNING)
            next_ms = MIN(next_ms, shim->ends_ms);
    }
    if (next_ms == NEVER)
        uv_timer_stop(&runner->timer);
    else
        uv_timer_start(&runner->timer, runner_on_timer, MAX(next_ms, now_ms + 1) - now_ms, 0);
}

static void runner_on_timer(uv_timer_t *timer)
{
    struct runner *runner = timer->data;
    LIST_EACH(l, &runner->attempts)
    {
        struct attempt *attempt = CONTAINER_OF(l, struct attempt, link);
        if (attempt_look(attempt, shim_find(runner->borglet, attempt->task)))
            runner->options.on_change(runner->options.data, attempt);
    }
    runner_arm(runner);
}

/* The shim and its task continue; the new borglet learns their state. */
static void attempt_adopt(struct runner *runner, const struct shim *shim)
{
    struct attempt *attempt = attempt_new(runner, shim->job, shim->task);
    attempt->adopted = true;
    attempt->spec = shim->spec;
    attempt->stopping = shim->stopping;
    attempt_look(attempt, shim);
}

int runner_open(const struct runner_options *options, struct runner **ret, struct err *err UNUSED)
{
    struct runner *runner = xcalloc(1, sizeof *runner);
    runner->borglet = borglet_current();
    runner->options = *options;
    list_init(&runner->attempts);
    uv_timer_init(options->loop, &runner->timer);
    runner->timer.data = runner;
    for (size_t i = 0; i < ARRAY_SIZE(runner->borglet->shims); i++)
        if (runner->borglet->shims[i].used)
            attempt_adopt(runner, &runner->borglet->shims[i]);
    runner_arm(runner);
    *ret = runner;
    return 0;
}

static void attempt_limit(struct attempt *attempt, const struct job_spec *spec)
{
    memcpy(attempt->spec.limit, spec->limit.v, sizeof attempt->spec.limit);
    memcpy(attempt->spec.resource_names, spec->resource_names.text,
           sizeof attempt->spec.resource_names);
}

static uint64_t word_number(const struct words *words, const char **word)
{
    *word = *word == NULL ? NULL : words_next(words, *word);
    return *word == NULL ? 0 : strtoull(*word, NULL, 10);
}

/* Draw when it starts and how it ends without interference. */
static void shim_draw(struct shim *shim, const struct job_spec *spec)
{
    const char *word = words_first(&spec->argv);
    uint64_t lives_ms = word_number(&spec->argv, &word);
    shim->exit_code = (int32_t)word_number(&spec->argv, &word);
    shim->end = REPORT_EXITED;
    shim->runs_ms = world_now_ms() + 1 + world_random(START_MS_MAX);
    shim->ends_ms = lives_ms == 0 || settled ? NEVER : shim->runs_ms + lives_ms;
    if (!settled && world_chance(1, BAD_STARTS)) {
        shim->end = REPORT_START_ERROR;
        shim->ends_ms = shim->runs_ms;
    }
}

static struct shim *shim_new(struct borglet *borglet, const struct attempt *attempt)
{
    for (size_t i = 0; i < ARRAY_SIZE(borglet->shims); i++) {
        struct shim *shim = &borglet->shims[i];
        if (shim->used)
            continue;
        *shim = (struct shim){.used = true, .task = attempt->task, .spec = attempt->spec};
        str_copy(shim->job, sizeof shim->job, attempt->job);
        shim->pid = (int32_t)(PID_FIRST + borglet->starts++ % 30000);
        return shim;
    }
    PANIC("more than %d attempts on %s", BORGLET_PROCESSES_MAX, borglet->name);
}

static struct attempt *attempt_from_intent(struct runner *runner, const struct intent *intent)
{
    struct attempt *attempt = attempt_new(runner, intent->spec.name, intent->task);
    attempt->spec.task = intent->task.task.v;
    attempt->spec.attempt = intent->task.attempt;
    attempt->spec.grace_ms = intent->spec.grace_ms;
    attempt->spec.devices = intent->devices;
    attempt_limit(attempt, &intent->spec);
    return attempt;
}

void runner_start(struct runner *runner, const struct intent *intent)
{
    struct borglet *borglet = runner->borglet;
    ASSERT(runner_find(runner, intent->task) == NULL);
    struct attempt *attempt = attempt_from_intent(runner, intent);
    attempt->spec.port_count = intent->spec.ports.count;
    for (uint32_t i = 0; i < intent->spec.ports.count; i++)
        attempt->spec.ports[i] = (uint16_t)(PORT_FIRST + (borglet->starts * 16 + i) % PORTS);
    struct shim *shim = shim_new(borglet, attempt);
    shim_draw(shim, &intent->spec);
    checks_on_start((unsigned)(borglet - borglets), intent->task);
    runner_arm(runner);
}

/* Record that the attempt ended before it started. */
void runner_refuse(struct runner *runner, const struct intent *intent, const char *detail)
{
    struct attempt *attempt = attempt_from_intent(runner, intent);
    struct shim *shim = shim_new(runner->borglet, attempt);
    shim->end = REPORT_START_ERROR;
    shim->ends_ms = shim->runs_ms = world_now_ms();
    str_copy(attempt->report.detail, sizeof attempt->report.detail, detail);
    attempt_look(attempt, shim);
    runner->options.on_change(runner->options.data, attempt);
}

void runner_resize(struct attempt *attempt, const struct job_spec *spec)
{
    attempt_limit(attempt, spec);
    shim_find(borglet_current(), attempt->task)->spec = attempt->spec;
}

/* Return whether a broken borglet (breaks.h) ignores this stop. */
static bool stop_is_missed(struct attempt_ref ref)
{
    const struct cell *cell = checks_newest_cell();
    const struct task *task = cell == NULL ? NULL : cell_task(cell, ref.task);
    return broken(BREAK_DEAF_BORGLET) || (broken(BREAK_KEEP_OLD) && task != NULL &&
                                          task->attempt > ref.attempt && task_is_live(task));
}

void runner_stop(struct runner *runner, struct attempt *attempt, uint32_t grace_ms)
{
    struct shim *shim = shim_find(runner->borglet, attempt->task);
    if (attempt->phase == ATTEMPT_ENDED || shim->stopping || stop_is_missed(attempt->task))
        return;
    checks_on_stop((unsigned)(runner->borglet - borglets), attempt->task,
                   runner->borglet->state.seen_index);
    uint64_t takes_ms = MIN((uint64_t)grace_ms, 1 + world_random(END_MS_MAX));
    attempt->stopping = shim->stopping = true;
    int32_t exit_code = -SIGTERM;
    if (world_chance(1, DEAF)) {
        takes_ms = grace_ms;
        exit_code = -SIGKILL;
    }
    if (shim->ends_ms > world_now_ms() + takes_ms) {
        shim->ends_ms = world_now_ms() + takes_ms;
        shim->exit_code = exit_code;
        shim->told_to_stop = true;
    }
    runner_arm(runner);
}

void runner_forget(struct runner *runner, struct attempt *attempt)
{
    ASSERT(attempt->phase == ATTEMPT_ENDED);
    shim_find(runner->borglet, attempt->task)->used = false;
    list_remove(&attempt->link);
    runner->attempt_count--;
    free(attempt);
}

struct attempt *runner_find(struct runner *runner, struct attempt_ref task)
{
    LIST_EACH(l, &runner->attempts)
    {
        struct attempt *attempt = CONTAINER_OF(l, struct attempt, link);
        if (attempt_same(attempt->task, task))
            return attempt;
    }
    return NULL;
}

struct list *runner_attempts(struct runner *runner)
{
    return &runner->attempts;
}

size_t runner_count(const struct runner *runner)
{
    return runner->attempt_count;
}

void runner_close(struct runner *runner UNUSED)
{
    UNREACHABLE("a simulated borglet only crashes");
}

/* The other functions that an agent needs. */

int logs_open(uv_loop_t *loop UNUSED, struct tls_context *tls UNUSED, const char *address UNUSED,
              struct logs **ret, struct err *err UNUSED)
{
    *ret = NULL;
    return 0;
}

void logs_close(struct logs *logs UNUSED)
{
}

void logs_serve(struct logs *logs UNUSED, struct runner *runner UNUSED,
                const struct identities *identities UNUSED)
{
}

const char *logs_address(const struct logs *logs UNUSED)
{
    return "127.0.0.1:9";
}

void logs_ended(struct logs *logs UNUSED, struct attempt_ref task UNUSED)
{
}

int state_dir_see(struct state_dir *state, uint64_t index, struct err *err UNUSED)
{
    state->seen_index = index;
    return 0;
}

/* Draw the usage: a third of its limits, sometimes more, because the cell lends unused resources.
 */
bool usage_measure(struct usage_sample *samples, size_t count)
{
    struct borglet *borglet = borglet_current();
    for (size_t i = 0; i < count; i++) {
        samples[i].cpu_ms = 0;
        samples[i].ram_bytes = 0;
        for (size_t j = 0; j < ARRAY_SIZE(borglet->shims); j++) {
            const struct shim *shim = &borglet->shims[j];
            if (!shim->used || shim->pid != samples[i].shim || !shim_runs(shim))
                continue;
            uint64_t age_ms = world_now_ms() - shim->runs_ms;
            samples[i].cpu_ms = age_ms * (uint64_t)shim->spec.limit[RES_CPU] / 3000;
            samples[i].ram_bytes =
                /* never above the limit */
                shim->spec.limit[RES_RAM] / (world_chance(1, 10) ? 1 : 3);
        }
    }
    return true;
}

/* Machines */

static void borglet_boot(void *data)
{
    struct borglet *borglet = data;
    struct err err;
    char common_name[CELL_NAME_MAX + 16];
    snprintf(common_name, sizeof common_name, "borglet/%s", borglet->name);
    struct agent_options options = {.loop = node_loop(borglet->node),
                                    .tls = world_tls(common_name),
                                    .cell = &cell_file,
                                    .name = borglet->name,
                                    .dir = "/nowhere",
                                    .shim_path = "/nowhere/shim",
                                    .listen = "127.0.0.1:0",
                                    .attributes = borglet->attributes,
                                    .state = &borglet->state};
    options.capacity = (struct resources){{4000, INT64_C(16) << 30, INT64_C(100) << 30, PORTS}};
    if (agent_open(&options, &borglet->agent, &err) != 0)
        PANIC("%s: %s", borglet->name, err.msg);
}

void borglets_start(unsigned count)
{
    static const char *const racks[] = {"r1", "r2", "r3"};
    ASSERT(count <= BORGLETS_MAX);
    cell_file.replica_count = WORLD_REPLICAS;
    str_copy(cell_file.name, sizeof cell_file.name, "sim");
    for (unsigned i = 0; i < WORLD_REPLICAS; i++) {
        cell_file.replicas[i].id = i + 1;
        str_copy(cell_file.replicas[i].rpc, sizeof cell_file.replicas[i].rpc,
                 world_replica_address(i));
    }
    for (unsigned i = 0; i < count; i++) {
        struct borglet *borglet = &borglets[i];
        snprintf(borglet->name, sizeof borglet->name, "m%u", i + 1);
        borglet->state.instance = borglet->state.directory = i + 1;
        attributes_put(&borglet->attributes, "rack", racks[i % ARRAY_SIZE(racks)]);
        if (i % 2 == 1)
            attributes_put(&borglet->attributes, "ssd", "yes");
        borglet->node = world_node_new(borglet->name);
        node_set_boot(borglet->node, borglet_boot, borglet);
        borglet_count = i + 1;
        node_restart(borglet->node);
    }
}

unsigned borglets_count(void)
{
    return borglet_count;
}

struct node *borglet_node(unsigned i)
{
    ASSERT(i < borglet_count);
    return borglets[i].node;
}

void borglet_cut_power(const struct node *machine)
{
    for (unsigned i = 0; i < borglet_count; i++) {
        struct borglet *borglet = &borglets[i];
        if (borglet->node != machine)
            continue;
        checks_note("power of %s is cut", borglet->name);
        node_crash(borglet->node);
        memset(borglet->shims, 0, sizeof borglet->shims);
        if (world_chance(1, SEEN_LOST_ONE_IN))
            borglet->state.seen_index = 0;
    }
}

void borglets_settle(void)
{
    settled = true;
    for (unsigned i = 0; i < borglet_count; i++) {
        for (size_t j = 0; j < ARRAY_SIZE(borglets[i].shims); j++) {
            struct shim *shim = &borglets[i].shims[j];
            if (shim->used && !shim->stopping && shim->ends_ms > world_now_ms())
                shim->ends_ms = NEVER;
        }
    }
}

size_t borglet_processes(unsigned i, struct process *to)
{
    size_t count = 0;
    for (size_t j = 0; j < ARRAY_SIZE(borglets[i].shims); j++) {
        const struct shim *shim = &borglets[i].shims[j];
        if (shim_runs(shim))
            to[count++] = (struct process){shim->task, shim->runs_ms, shim->stopping};
    }
    return count;
}
