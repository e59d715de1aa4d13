/*
 * swarm.c - many borglets in one process, with real links and certificates and simulated tasks.
 *
 *     swarm DIR COUNT [--first N] [--pki DIR2]
 *
 * Runs machines simN ... of the cell in DIR, each with the borglet's own link (borglet/link.h). A
 * task runs as soon as the machine is told to start it, with an invented pid and a constant usage,
 * and ends as soon as the machine is told to stop it. The program prints `ready` when all
 * certificates are made, connects after the first line on its standard input, and answers each
 * further line with one line: what it has been told so far and how many machines are linked. It
 * ends with its input. Stopped by SIGSTOP it acts like a dead switch. Certificates are written to
 * DIR2 (must hold a copy of the CA; a directory in memory saves thousands of fsyncs).
 */
#include "lib/bench.h"

#include "clock.h"
#include "link.h"
#include "log.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    OPENING_MAX =
        64, /* limit of machines that connect for the first time concurrently, in one process */
    OPENING_MS = 5,
    USAGE_MS = 10000, /* as in a borglet */
    PID_FIRST = 100000,
};

static const char usage[] = "swarm DIR COUNT [--first N] [--pki DIR2]";

struct swarm;

struct sim {
    struct swarm *swarm;
    char name[CELL_NAME_MAX + 1];
    struct tls_context *tls;
    struct link *link;
    uint64_t seen_index;
    struct report *records; /* of all its attempts */
    uint32_t record_count, record_capacity;
    uv_timer_t usage;
};

struct swarm {
    uv_loop_t loop;
    uv_pipe_t input;
    uv_timer_t opener;
    struct cell_file cell;
    struct resources capacity;
    struct words attributes;
    struct sim *sims;
    uint32_t count;
    uint32_t opened; /* machines before this one have started to connect */
    uint32_t up;     /* machines before this one have been linked once */
    uint64_t run_count, stop_count, forget_count;
    int32_t next_pid;
    char line[64]; /* input buffer */
};

static bool same_attempt(struct attempt_ref a, struct attempt_ref b)
{
    return a.task.v == b.task.v && a.attempt == b.attempt;
}

static struct report *record_find(struct sim *sim, struct attempt_ref ref)
{
    for (uint32_t i = 0; i < sim->record_count; i++)
        if (same_attempt(sim->records[i].task, ref))
            return &sim->records[i];
    return NULL;
}

static struct report *record_add(struct sim *sim, struct attempt_ref ref)
{
    if (sim->record_count == sim->record_capacity) {
        sim->record_capacity = MAX(16U, sim->record_capacity * 2);
        sim->records = xrealloc(sim->records, sim->record_capacity, sizeof *sim->records);
    }
    struct report *record = &sim->records[sim->record_count++];
    *record = (struct report){.task = ref, .kind = REPORT_RUNNING, .pid = sim->swarm->next_pid++};
    return record;
}

static void sim_run(struct sim *sim, struct attempt_ref ref)
{
    struct report *record = record_find(sim, ref);
    sim->swarm->run_count++;
    link_report(sim->link, record != NULL ? record : record_add(sim, ref));
}

static void sim_stop(struct sim *sim, struct attempt_ref ref)
{
    struct report *record = record_find(sim, ref);
    struct report gone = {.task = ref};
    sim->swarm->stop_count++;
    if (record == NULL)
        record = &gone;
    record->kind = REPORT_EXITED;
    record->exit_code = -SIGTERM;
    record->told_to_stop = true;
    link_report(sim->link, record);
}

static void sim_forget(struct sim *sim, struct attempt_ref ref)
{
    struct report *record = record_find(sim, ref);
    sim->swarm->forget_count++;
    if (record != NULL)
        *record = sim->records[--sim->record_count];
}

static void sim_show(struct sim *sim, struct attempt_ref ref)
{
    struct report lost = {.task = ref, .kind = REPORT_LOST};
    if (record_find(sim, ref) == NULL)
        link_report(sim->link, &lost);
}

static bool listed(const struct wire_intents *in, struct attempt_ref ref)
{
    for (uint32_t i = 0; i < in->intent_count; i++)
        if (same_attempt(in->intents[i].task, ref))
            return true;
    return false;
}

static void swarm_on_identities(void *data, struct wire_identities *in)
{
    (void)data;
    (void)in; /* logs are not read here */
}

static void swarm_on_intents(void *data, struct wire_intents *in)
{
    struct sim *sim = data;
    if (in->index < sim->seen_index)
        return;
    sim->seen_index = in->index;
    for (uint32_t i = 0; i < in->intent_count; i++) {
        if (in->intents[i].action == INTENT_RUN)
            sim_run(sim, in->intents[i].task);
        else if (in->intents[i].action == INTENT_STOP)
            sim_stop(sim, in->intents[i].task);
        else if (in->intents[i].action == INTENT_SHOW)
            sim_show(sim, in->intents[i].task);
        else
            sim_forget(sim, in->intents[i].task);
    }
    for (uint32_t i = sim->record_count; in->full && i-- > 0;)
        if (!listed(in, sim->records[i].task))
            sim_forget(sim, sim->records[i].task);
    link_flush(sim->link);
}

static void swarm_on_hello(void *data, struct wire_hello *hello)
{
    struct sim *sim = data;
    hello->seen_index = sim->seen_index;
    hello->instance = hello->directory = 1;
    hello->reports = xcalloc(sim->record_count + 1, sizeof *hello->reports);
    if (sim->record_count > 0)
        memcpy(hello->reports, sim->records, sim->record_count * sizeof *sim->records);
    hello->report_count = sim->record_count;
}

/* Each task has a constant usage, so it is reported once. */
static void swarm_on_usage(uv_timer_t *timer)
{
    struct sim *sim = timer->data;
    struct wire_usages usages = {.tasks = xcalloc(sim->record_count + 1, sizeof *usages.tasks)};
    for (uint32_t i = 0; i < sim->record_count; i++)
        if (sim->records[i].kind == REPORT_RUNNING)
            usages.tasks[usages.task_count++] = (struct task_usage){
                .task = sim->records[i].task, .used = {450, INT64_C(900) << 20}};
    link_usage(sim->link, &usages);
    wire_usages_release(&usages);
}

static void sim_init(struct swarm *w, struct sim *sim, uint64_t number, const char *pki)
{
    struct identity self = {.role = ROLE_BORGLET};
    char file[32], cert[CELL_PATH_MAX + 64], key[CELL_PATH_MAX + 64];
    struct err err;
    sim->swarm = w;
    snprintf(sim->name, sizeof sim->name, "sim%" PRIu64, number);
    str_copy(self.name, sizeof self.name, sim->name);
    snprintf(file, sizeof file, "borglet-sim%" PRIu64, number);
    snprintf(cert, sizeof cert, "%s/%s.crt", pki, file);
    snprintf(key, sizeof key, "%s/%s.key", pki, file);
    if (pki_make_cert(pki, file, &self, &err) != 0 ||
        tls_context_open(w->cell.ca_path, cert, key, &sim->tls, &err) != 0)
        bench_die("%s: %s", self.name, err.msg);
}

static void sim_open(struct swarm *w, struct sim *sim)
{
    struct link_options options = {.loop = &w->loop,
                                   .tls = sim->tls,
                                   .cell = &w->cell,
                                   .name = sim->name,
                                   .addr = "127.0.0.1:9",
                                   .capacity = w->capacity,
                                   .attributes = &w->attributes,
                                   .data = sim,
                                   .on_hello = swarm_on_hello,
                                   .on_intents = swarm_on_intents,
                                   .on_identities = swarm_on_identities};
    sim->link = link_open(&options);
    uv_timer_init(&w->loop, &sim->usage);
    sim->usage.data = sim;
    uv_timer_start(&sim->usage, swarm_on_usage, 1 + (uint64_t)(sim - w->sims) * 7919 % USAGE_MS,
                   USAGE_MS);
}

/* Keep OPENING_MAX machines connecting until all have connected. */
static void swarm_on_opener(uv_timer_t *timer)
{
    struct swarm *w = timer->data;
    while (w->up < w->opened && link_is_up(w->sims[w->up].link))
        w->up++;
    while (w->opened < w->count && w->opened - w->up < OPENING_MAX)
        sim_open(w, &w->sims[w->opened++]);
    if (w->up == w->count)
        uv_timer_stop(timer);
}

static void swarm_print(const struct swarm *w)
{
    uint32_t linked = 0;
    for (uint32_t i = 0; i < w->opened; i++)
        linked += link_is_up(w->sims[i].link);
    printf("run=%" PRIu64 " stop=%" PRIu64 " forget=%" PRIu64 " linked=%" PRIu32 "\n", w->run_count,
           w->stop_count, w->forget_count, linked);
    fflush(stdout);
}

static void swarm_on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    struct swarm *w = handle->data;
    (void)suggested;
    *ret = uv_buf_init(w->line, sizeof w->line);
}

static void swarm_on_input(uv_stream_t *input, ssize_t n, const uv_buf_t *part)
{
    struct swarm *w = input->data;
    if (n < 0)
        exit(0);
    for (ssize_t i = 0; i < n; i++) {
        if (part->base[i] != '\n')
            continue;
        if (uv_is_active((uv_handle_t *)&w->opener) || w->opened > 0)
            swarm_print(w);
        else
            uv_timer_start(&w->opener, swarm_on_opener, 0, OPENING_MS);
    }
}

static void swarm_init(struct swarm *w, const char *dir, uint64_t first, const char *pki)
{
    char path[CELL_PATH_MAX + 32];
    struct err err;
    w->next_pid = PID_FIRST;
    w->capacity = (struct resources){{8000, INT64_C(32) << 30, INT64_C(1) << 40, 1000}};
    snprintf(path, sizeof path, "%s/cell.json", dir);
    if (cell_file_load(path, &w->cell, &err) != 0)
        bench_die("%s", err.msg);
    uv_loop_init(&w->loop);
    uv_timer_init(&w->loop, &w->opener);
    uv_pipe_init(&w->loop, &w->input, 0);
    w->opener.data = w->input.data = w;
    w->sims = xcalloc(w->count, sizeof *w->sims);
    for (uint32_t i = 0; i < w->count; i++)
        sim_init(w, &w->sims[i], first + i, pki);
    if (uv_pipe_open(&w->input, 0) != 0 ||
        uv_read_start((uv_stream_t *)&w->input, swarm_on_alloc, swarm_on_input) != 0)
        bench_die("standard input must be a pipe");
}

int main(int argc, char **argv)
{
    static struct swarm w;
    uint64_t first = 1;
    char pki[CELL_PATH_MAX + 32];
    if (argc < 3)
        bench_die("usage: %s", usage);
    snprintf(pki, sizeof pki, "%s/pki", argv[1]);
    w.count = (uint32_t)bench_arg(argc, argv, 1, usage);
    for (int i = 3; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--pki") == 0)
            str_copy(pki, sizeof pki, argv[i + 1]);
        else if (strcmp(argv[i], "--first") == 0)
            first = bench_arg(argc, argv, i, usage);
        else
            bench_die("usage: %s", usage);
    }
    signal(SIGPIPE, SIG_IGN);
    log_open(LOG_ERROR, "swarm");
    stream_files_raise();
    swarm_init(&w, argv[1], first, pki);
    puts("ready");
    fflush(stdout);
    return uv_run(&w.loop, UV_RUN_DEFAULT);
}
