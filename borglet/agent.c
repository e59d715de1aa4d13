/*
 * agent.c - connect link, plan, runner and logs.
 */
#include "agent.h"
#include "clock.h"
#include "identities.h"
#include "link.h"
#include "log.h"
#include "logs.h"
#include "plan.h"
#include "tls_watch.h"
#include "usage.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum { ACTIONS_MAX = 8, TURN_ACTIONS_MAX = 64, TURN_MS = 20, USAGE_MS = 10000 };

struct agent {
    struct agent_options options;
    struct plan plan;
    struct runner *runner;
    struct logs *logs;
    struct identities *identities;
    struct tls_watch *watch;
    struct link *link;
    uv_prepare_t turn;        /* active when there is something to do before the loop sleeps */
    uv_timer_t more;          /* active when one turn was not enough */
    uv_timer_t measure;       /* measures the usage of tasks */
    bool measuring;           /* a measurement is running */
    uint32_t measures_missed; /* because a measurement was running */
    bool closing;
    size_t refs; /* of a measurement and the handles; the last one frees the agent */
    struct plan_attempt *present;
    size_t present_capacity;
};

static void agent_on_turn(uv_prepare_t *turn);

static void agent_kick(struct agent *agent)
{
    uv_prepare_start(&agent->turn, agent_on_turn);
}

/* Convert the attempts of the runner for the plan. */
static size_t agent_present(struct agent *agent)
{
    size_t count = runner_count(agent->runner), i = 0;

    if (count > agent->present_capacity) {
        agent->present_capacity = count * 2;
        agent->present = xrealloc(agent->present, agent->present_capacity, sizeof(*agent->present));
    }
    LIST_EACH(l, runner_attempts(agent->runner))
    {
        struct attempt *a = CONTAINER_OF(l, struct attempt, link);
        struct plan_attempt *p = &agent->present[i++];
        *p = (struct plan_attempt){.task = a->task,
                                   .ended = a->phase == ATTEMPT_ENDED,
                                   .stopping = a->stopping || a->phase == ATTEMPT_ORPHANED,
                                   .grace_ms = a->spec.grace_ms};
        memcpy(p->limit.v, a->spec.limit, sizeof(p->limit.v));
        p->devices = a->spec.devices;
    }
    ASSERT(i == count);
    return count;
}

static void agent_report_gone(struct agent *agent, struct attempt_ref task)
{
    struct report report = {
        .task = task, .kind = REPORT_EXITED, .exit_code = -SIGTERM, .told_to_stop = true};

    str_copy(report.detail, sizeof(report.detail), "the attempt was not running on its machine");
    link_report(agent->link, &report);
}

static void agent_report_lost(struct agent *agent, struct attempt_ref task)
{
    struct report report = {.task = task, .kind = REPORT_LOST};

    str_copy(report.detail, sizeof(report.detail), "the attempt is unknown on its machine");
    link_report(agent->link, &report);
}

static void agent_refuse(struct agent *agent, const struct intent *intent)
{
    CLEANUP(buf_release) struct buf why = {0};

    buf_printf(&why, "it asks for ");
    resources_print(&why, &intent->spec.limit, &intent->spec.resource_names);
    buf_printf(&why, "; the machine has ");
    resources_print(&why, &agent->options.capacity, &agent->options.resource_names);
    runner_refuse(agent->runner, intent, buf_text(&why));
}

static void agent_act(struct agent *agent, const struct plan_action *action)
{
    struct attempt *attempt = runner_find(agent->runner, action->task);

    switch (action->verb) {
    case PLAN_START:
        runner_start(agent->runner, action->intent);
        return;
    case PLAN_REFUSE:
        agent_refuse(agent, action->intent);
        return;
    case PLAN_GONE:
        agent_report_gone(agent, action->task);
        return;
    case PLAN_LOST:
        agent_report_lost(agent, action->task);
        return;
    case PLAN_RESIZE:
        ASSERT(attempt != NULL);
        runner_resize(attempt, &action->intent->spec);
        return;
    case PLAN_STOP:
        ASSERT(attempt != NULL);
        runner_stop(agent->runner, attempt, action->grace_ms);
        return;
    case PLAN_FORGET:
        ASSERT(attempt != NULL);
        runner_forget(agent->runner, attempt);
        return;
    }
}

static void agent_on_more(uv_timer_t *timer)
{
    agent_kick(timer->data);
}

static void agent_on_turn(uv_prepare_t *turn)
{
    struct agent *agent = turn->data;
    struct plan_action actions[ACTIONS_MAX];
    uint64_t until_ms = clock_mono_ms() + TURN_MS;
    size_t count, done = 0;
    bool resized;

    uv_prepare_stop(turn);
    do {
        size_t present_count = agent_present(agent);
        count = plan_next(&agent->plan, agent->present, present_count, &agent->options.capacity,
                          actions, ACTIONS_MAX);
        resized = false;
        for (size_t i = 0; i < count; i++) {
            agent_act(agent, &actions[i]);
            resized |= actions[i].verb == PLAN_RESIZE; /* other wishes may have waited */
        }
        done += count;
    } while ((count == ACTIONS_MAX || resized) && done < TURN_ACTIONS_MAX &&
             clock_mono_ms() < until_ms);
    /* A thousand starts take many turns, so that heartbeats and log readers are served between
     * them. */
    if (count == ACTIONS_MAX || resized)
        uv_timer_start(&agent->more, agent_on_more, 0, 0);
    link_flush(agent->link);
}

static void agent_on_change(void *data, struct attempt *attempt)
{
    struct agent *agent = data;

    /* There is no link yet while the runner adopts attempts; the first hello contains them. */
    if (agent->link == NULL)
        return;
    if (attempt->phase != ATTEMPT_STARTING)
        link_report(agent->link, &attempt->report);
    if (attempt->phase == ATTEMPT_ENDED)
        logs_ended(agent->logs, attempt->task);
    agent_kick(agent);
}

/* Compute the usage since the last measurement. False: this was the first one. */
static bool attempt_measured(struct attempt *attempt, const struct usage_sample *sample,
                             uint64_t now_ms, struct task_usage *ret)
{
    uint64_t since_ms = attempt->measured_ms, before_ms = attempt->cpu_ms;

    attempt->measured_ms = now_ms;
    attempt->cpu_ms = sample->cpu_ms;
    ret->task = attempt->task;
    ret->used[RES_RAM] = sample->ram_bytes;
    ret->used[RES_CPU] = 0;
    if (since_ms == 0 || now_ms <= since_ms)
        return false;
    if (sample->cpu_ms > before_ms) /* it decreases when a process ends that nobody reaps */
        ret->used[RES_CPU] = (int64_t)((sample->cpu_ms - before_ms) * 1000 / (now_ms - since_ms));
    return true;
}

/* One measurement. It runs off the loop, because it may take long with many processes. */
struct measurement {
    uv_work_t work;
    struct agent *agent;
    struct usage_sample *samples;
    struct attempt_ref *tasks; /* the attempts, in the order of `samples` */
    size_t count;
    bool known;
};

static void measurement_on_work(uv_work_t *work)
{
    struct measurement *m = work->data;

    m->known = usage_measure(m->samples, m->count);
}

static void measurement_tell(struct measurement *m)
{
    struct agent *agent = m->agent;
    struct wire_usages usages = {.tasks = xcalloc(m->count, sizeof(*usages.tasks))};

    for (size_t i = 0; i < m->count; i++) {
        struct attempt *attempt = runner_find(agent->runner, m->tasks[i]);
        if (attempt != NULL && attempt->phase == ATTEMPT_RUNNING &&
            attempt_measured(attempt, &m->samples[i], clock_mono_ms(),
                             &usages.tasks[usages.task_count]))
            usages.task_count++;
    }
    link_usage(agent->link, &usages);
    wire_usages_release(&usages);
}

static void agent_unref(struct agent *agent);

static void measurement_on_done(uv_work_t *work, int status UNUSED)
{
    struct measurement *m = work->data;
    struct agent *agent = m->agent;

    agent->measuring = false;
    if (!agent->closing && m->known)
        measurement_tell(m);
    free(m->samples);
    free(m->tasks);
    free(m);
    agent_unref(agent);
}

static void agent_on_measure(uv_timer_t *timer)
{
    struct agent *agent = timer->data;
    size_t room = runner_count(agent->runner) + 1;

    if (agent->measuring) {
        if (agent->measures_missed++ == 0)
            log_warn("usage.delayed ms=%d action=\"usage is not reported until the running "
                     "measurement ends\"",
                     USAGE_MS);
        return;
    }
    agent->measures_missed = 0;
    struct measurement *m = xcalloc(1, sizeof(*m));
    m->work.data = m;
    m->agent = agent;
    m->samples = xcalloc(room, sizeof(*m->samples));
    m->tasks = xcalloc(room, sizeof(*m->tasks));
    LIST_EACH(l, runner_attempts(agent->runner))
    {
        const struct attempt *attempt = CONTAINER_OF(l, struct attempt, link);
        if (attempt->phase != ATTEMPT_RUNNING || attempt->shim_pid == 0)
            continue;
        m->samples[m->count].shim = attempt->shim_pid;
        m->tasks[m->count++] = attempt->task;
    }
    agent->measuring = true;
    agent->refs++;
    uv_queue_work(agent->options.loop, &m->work, measurement_on_work, measurement_on_done);
}

static void agent_on_hello(void *data, struct wire_hello *hello)
{
    struct agent *agent = data;

    hello->seen_index = agent->plan.seen_index;
    hello->instance = agent->options.state->instance;
    hello->directory = agent->options.state->directory;
    hello->reports = xcalloc(MAX(runner_count(agent->runner), (size_t)1), sizeof(*hello->reports));
    LIST_EACH(l, runner_attempts(agent->runner))
    {
        struct attempt *attempt = CONTAINER_OF(l, struct attempt, link);
        /* A starting attempt has nothing to report yet. */
        if (attempt->phase != ATTEMPT_STARTING)
            hello->reports[hello->report_count++] = attempt->report;
    }
}

static void agent_on_intents(void *data, struct wire_intents *in)
{
    struct agent *agent = data;
    struct err err;

    size_t count = agent_present(agent);
    if (!plan_take(&agent->plan, in, agent->present, count)) {
        log_warn("intents.ignored index=%" PRIu64 " seen=%" PRIu64 " reason=old", in->index,
                 agent->plan.seen_index);
        return;
    }
    if (agent->options.state->seen_index != in->index &&
        state_dir_see(agent->options.state, in->index, &err) != 0)
        log_warn("intents.store_failed reason=%s", log_quoted(err.msg));
    agent_kick(agent);
}

static void agent_on_identities(void *data, struct wire_identities *in)
{
    struct agent *agent = data;

    identities_take(agent->identities, in);
    tls_watch_check(agent->watch);
}

static bool agent_is_revoked(void *data, const struct identity *id, uint64_t issued_ms)
{
    const struct agent *agent = data;

    return identities_revoked(agent->identities, identity_text(id).text, issued_ms);
}

static void agent_link(struct agent *agent)
{
    struct link_options options = {.loop = agent->options.loop,
                                   .tls = agent->options.tls,
                                   .cell = agent->options.cell,
                                   .name = agent->options.name,
                                   .addr = logs_address(agent->logs),
                                   .capacity = agent->options.capacity,
                                   .resource_names = agent->options.resource_names,
                                   .attributes = &agent->options.attributes,
                                   .labels = &agent->options.labels,
                                   .data = agent,
                                   .on_hello = agent_on_hello,
                                   .on_intents = agent_on_intents,
                                   .on_identities = agent_on_identities};

    agent->link = link_open(&options);
}

int agent_open(const struct agent_options *options, struct agent **ret, struct err *err)
{
    struct agent *agent = xcalloc(1, sizeof(*agent));
    struct runner_options runner = {.loop = options->loop,
                                    .dir = options->dir,
                                    .shim_path = options->shim_path,
                                    .cell = options->cell->name,
                                    .machine = options->name,
                                    .ports = options->ports,
                                    .resource_names = options->resource_names,
                                    .gpus = options->capacity.v[RES_GPU] > 0,
                                    .data = agent,
                                    .on_change = agent_on_change};

    agent->options = *options;
    agent->plan.seen_index = options->state->seen_index;
    agent->plan.resource_names = options->resource_names;
    int rc = logs_open(options->loop, options->tls, options->listen, &agent->logs, err);
    if (rc == 0) {
        rc = runner_open(&runner, &agent->runner, err);
        if (rc != 0)
            logs_close(agent->logs);
    }
    if (rc != 0) {
        free(agent);
        return rc;
    }
    agent->identities = identities_open(options->dir);
    agent->watch = tls_watch_open(options->loop, options->tls);
    tls_context_on_peer(options->tls, agent_is_revoked, agent);
    logs_serve(agent->logs, agent->runner, agent->identities);
    uv_prepare_init(options->loop, &agent->turn);
    agent->turn.data = agent;
    uv_timer_init(options->loop, &agent->measure);
    agent->measure.data = agent;
    uv_timer_init(options->loop, &agent->more);
    agent->more.data = agent;
    agent->refs = 3;
    uv_timer_start(&agent->measure, agent_on_measure, USAGE_MS, USAGE_MS);
    agent_link(agent);
    *ret = agent;
    return 0;
}

static void agent_unref(struct agent *agent)
{
    if (--agent->refs > 0)
        return;
    plan_release(&agent->plan);
    identities_close(agent->identities);
    free(agent->present);
    free(agent);
}

static void agent_on_handle_close(uv_handle_t *handle)
{
    agent_unref(handle->data);
}

void agent_close(struct agent *agent)
{
    agent->closing = true;
    tls_watch_close(agent->watch);
    tls_context_on_peer(agent->options.tls, NULL, NULL);
    link_close(agent->link);
    logs_close(agent->logs);
    runner_close(agent->runner);
    uv_close((uv_handle_t *)&agent->turn, agent_on_handle_close);
    uv_close((uv_handle_t *)&agent->more, agent_on_handle_close);
    uv_close((uv_handle_t *)&agent->measure, agent_on_handle_close);
}

const char *agent_address(const struct agent *agent)
{
    return logs_address(agent->logs);
}
