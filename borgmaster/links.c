/*
 * links.c - connections to borglets: reports in, intents out.
 */
#include "links_impl.h"

#include "clock.h"
#include "log.h"

#include <stdlib.h>
#include <string.h>

enum {
    LINKS_TICK_MS = 250,
    LINKS_SWEEP_TICKS = 4,       /* after so many ticks all links are checked for silence */
    LINKS_SPECS_BYTES = 4194304, /* of specs in one message */
    LINKS_BATCHES_MAX = 4,       /* commands of reports under way: more would only be smaller */
};

void links_set_unsettled(struct link *link, bool unsettled)
{
    if (!unsettled)
        list_remove(&link->unsettled);
    else if (list_empty(&link->unsettled))
        list_push(&link->links->unsettled, &link->unsettled);
}

static void on_batch_answer(void *data, const struct err *err, const struct wire_answer *answer)
{
    unsigned *in_flight = data;
    (void)err;
    (void)answer;
    (*in_flight)--;
}

static void flush_reports(struct links *links)
{
    struct batch *b = &links->batch;
    size_t at = 0;
    while (at < b->report_count && b->reports_in_flight < LINKS_BATCHES_MAX) {
        size_t count = MIN((size_t)CMD_REPORTS_MAX, b->report_count - at);
        struct cmd cmd = {.kind = CMD_REPORT, .report = {b->reports + at, (uint32_t)count}};
        b->reports_in_flight++;
        core_propose(links->core, &cmd, on_batch_answer, &b->reports_in_flight);
        at += count;
    }
    b->report_count -= at;
    memmove(b->reports, b->reports + at, b->report_count * sizeof *b->reports);
}

static void flush_usages(struct links *links)
{
    struct batch *b = &links->batch;
    size_t at = 0;
    while (at < b->usage_count && b->usages_in_flight < LINKS_BATCHES_MAX) {
        size_t count = MIN((size_t)CMD_USAGES_MAX, b->usage_count - at);
        struct cmd cmd = {.kind = CMD_USAGE, .usage = {b->usages + at, (uint32_t)count}};
        b->usages_in_flight++;
        core_propose(links->core, &cmd, on_batch_answer, &b->usages_in_flight);
        at += count;
    }
    b->usage_count -= at;
    memmove(b->usages, b->usages + at, b->usage_count * sizeof *b->usages);
}

void links_flush(struct links *links)
{
    if (links->batch.report_count > 0)
        flush_reports(links);
    if (links->batch.usage_count > 0)
        flush_usages(links);
}

/* Queue reports for the cell. A report for which there is no room comes again: link_diff() repeats
 * it until the cell shows it. */
static void batch_reports(struct links *links, struct link *link)
{
    struct batch *b = &links->batch;
    for (size_t i = 0; i < links->todo.report_count && b->report_count < LINKS_BATCH_MAX; i++) {
        struct report *report = &b->reports[b->report_count++];
        *report = links->todo.reports[i];
        report->machine = link->machine;
    }
}

static void send_some(struct link *link, struct intent *some, size_t count, bool full)
{
    struct links *links = link->links;
    /* Intents of an entry that is applied in part carry its index, so that a replica without the
     * entry waits for it before it drives this machine. */
    struct wire_intents intents = {.index = core_newest_index(links->core),
                                   .full = full,
                                   .intents = some,
                                   .intent_count = (uint32_t)count};
    buf_clear(&links->body);
    wire_pack_intents(&links->body, &intents);
    if (rpc_notify(link->conn, WIRE_INTEND, links->body.bytes, links->body.size) == 0)
        return;
    log_warn("link.blocked machine=%s, closing", log_quoted(link->hello.name));
    rpc_close(link->conn);
}

/* Move intents without a spec to the front. */
static void plain_first(struct intent *intents, size_t count)
{
    size_t plain = 0;
    for (size_t i = 0; i < count; i++) {
        if (intents[i].spec.argv.count > 0)
            continue;
        struct intent swap = intents[plain];
        intents[plain++] = intents[i];
        intents[i] = swap;
    }
}

/*
 * Specs may be large and a frame has a limit. The first message of a full set names every attempt
 * that the borglet has, which needs no specs; starts that do not fit follow in more messages.
 */
static void send_intents(struct links *links, struct link *link, bool full)
{
    struct intent *intents = links->todo.intents;
    size_t count = links->todo.intent_count;
    size_t at = 0;
    plain_first(intents, count);
    do {
        size_t first = at, bytes = 0;
        for (; at < count && bytes < LINKS_SPECS_BYTES; at++)
            bytes += intents[at].spec.argv.size + intents[at].spec.env.size;
        send_some(link, intents + first, at - first, full && first == 0);
    } while (at < count);
}

void links_sync(struct link *link, bool full)
{
    struct links *links = link->links;
    const struct cell *cell = core_cell(links->core);
    const struct machine *machine = cell_machine(cell, link->machine);
    if (link->state != LINK_UP)
        return;
    /* It was declared down although it is connected, or was removed: it must register again. */
    if (machine == NULL || machine->state != MACHINE_UP ||
        machine->instance != link->hello.instance || strcmp(machine->name, link->hello.name) != 0) {
        rpc_close(link->conn);
        return;
    }
    link_todo_clear(&links->todo);
    link_diff(cell, machine, &link->tasks, full, clock_mono_ms(), LINKS_RESEND_MS, &links->todo);
    links_set_unsettled(link, links->todo.unsettled);
    if (full || links->todo.intent_count > 0)
        send_intents(links, link, full);
    batch_reports(links, link);
}

int links_take_reports(struct link *link, const struct report *reports, size_t count,
                       struct err *err)
{
    for (size_t i = 0; i < count; i++)
        link_tasks_report(&link->tasks, &reports[i]);
    if (link->tasks.count > HELLO_REPORTS_MAX)
        link_tasks_order(&link->tasks);
    if (link->tasks.count > HELLO_REPORTS_MAX)
        return err_set(err, ERR_LIMIT, "%zu attempts on one machine, the limit is %d",
                       link->tasks.count, HELLO_REPORTS_MAX);
    return 0;
}

static void link_drop(struct link *link, const struct err *why)
{
    log_warn("link.failed machine=%s reason=%s, closing", log_quoted(rpc_peer(link->conn)->name),
             log_quoted(why->msg));
    rpc_close(link->conn);
}

bool links_hear(struct link *link)
{
    uint64_t now_ms = clock_mono_ms();
    uint64_t silent_ms = now_ms - link->heard_ms;
    if (silent_ms > LINKS_SILENT_MS) {
        log_warn("link.timed_out machine=%s silent_ms=%" PRIu64 ", closing",
                 log_quoted(rpc_peer(link->conn)->name), silent_ms);
        rpc_close(link->conn);
        return false;
    }
    link->heard_ms = now_ms;
    return true;
}

void links_on_report(struct rpc_conn *conn, struct rpc_call *call, const void *body, size_t size)
{
    struct link *link = rpc_data(conn);
    struct wire_reports reports;
    struct err err;
    rpc_reply(call, NULL, 0); /* tells the borglet that this replica is alive */
    if (!links_hear(link))
        return;
    if (wire_unpack_reports(body, size, &reports, &err) != 0) {
        link_drop(link, &err);
        return;
    }
    if (reports.report_count > 0 && !links_is_welcome(link)) {
        err_set(&err, ERR_STATE, "reports before the hello was answered");
        link_drop(link, &err);
    } else if (links_take_reports(link, reports.reports, reports.report_count, &err) != 0) {
        link_drop(link, &err);
    } else if (reports.report_count > 0) {
        links_sync(link, /* full= */ false);
    }
    wire_reports_release(&reports);
}

/* Borglets measure every few seconds; only a usage that would change the cell is proposed. */
void links_on_usage(struct rpc_conn *conn, struct rpc_call *call, const void *body, size_t size)
{
    struct link *link = rpc_data(conn);
    const struct cell *cell = core_cell(link->links->core);
    struct wire_usages usages;
    struct err err;
    rpc_reply(call, NULL, 0);
    if (!links_hear(link))
        return;
    if (wire_unpack_usages(body, size, &usages, &err) != 0) {
        link_drop(link, &err);
        return;
    }
    struct batch *b = &link->links->batch;
    uint64_t now_ms = core_time_ms(link->links->core);
    for (uint32_t i = 0; i < usages.task_count && b->usage_count < LINKS_BATCH_MAX; i++) {
        usages.tasks[i].machine = link->machine;
        if (link->state == LINK_UP && cell_usage_is_news(cell, &usages.tasks[i], now_ms))
            b->usages[b->usage_count++] = usages.tasks[i];
    }
    wire_usages_release(&usages);
}

void links_on_open(struct links *links, struct rpc_conn *conn)
{
    struct link *link = xcalloc(1, sizeof *link);
    link->id = ++links->next_id;
    link->links = links;
    link->conn = conn;
    link->heard_ms = clock_mono_ms();
    list_init(&link->unsettled);
    list_push(&links->all, &link->all);
    idmap_put(&links->by_id, link->id, link);
    rpc_set_data(conn, link);
}

void links_on_close(struct rpc_conn *conn)
{
    struct link *link = rpc_data(conn);
    struct links *links = link->links;
    struct err err;
    if (link->hello_call != NULL) {
        err_set(&err, ERR_CLOSED, "the connection was closed");
        rpc_refuse(link->hello_call, &err);
    }
    if (idmap_get(&links->by_machine, link->machine.v) == link) {
        idmap_remove(&links->by_machine, link->machine.v);
        links->count--;
        log_info("link.closed machine=%s", log_quoted(link->hello.name));
    }
    idmap_remove(&links->by_id, link->id);
    list_remove(&link->all);
    list_remove(&link->unsettled);
    link_tasks_release(&link->tasks);
    wire_hello_release(&link->hello);
    free(link);
}

void links_touch(struct links *links, const uint64_t *machines, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct link *link = idmap_get(&links->by_machine, machines[i]);
        if (link != NULL)
            links_sync(link, /* full= */ false);
    }
}

void links_reset(struct links *links)
{
    LIST_EACH(l, &links->all)
    rpc_close(CONTAINER_OF(l, struct link, all)->conn);
}

static const char *replica_address(const struct core *core, uint64_t id)
{
    const struct master *row = masters_find(core_masters(core), id);
    return row != NULL ? row->rpc : NULL;
}

static bool link_ask_to_move(struct link *link, const char *addr)
{
    struct wire_move move = {0};
    if (link->state != LINK_UP || link->moving || !list_empty(&link->unsettled))
        return false;
    str_copy(move.addr, sizeof move.addr, addr);
    buf_clear(&link->links->body);
    wire_pack_move(&link->links->body, &move);
    link->moving =
        rpc_notify(link->conn, WIRE_MOVE, link->links->body.bytes, link->links->body.size) == 0;
    return link->moving;
}

void links_shed(struct links *links, uint64_t to, size_t count)
{
    const char *addr = replica_address(links->core, to);
    size_t asked = 0;
    if (addr == NULL)
        return;
    for (struct list *l = links->all.prev; l != &links->all && asked < count; l = l->prev)
        asked += link_ask_to_move(CONTAINER_OF(l, struct link, all), addr);
    log_info("links.moved asked=%zu links=%zu to=%" PRIu64, asked, links->count, to);
}

struct wire_alive links_alive(struct links *links, struct buf *bits)
{
    struct wire_alive alive = {.links = (uint32_t)links->count,
                               .applied_index = core_cell(links->core)->applied_index,
                               .wall_ms = clock_wall_ms(),
                               .format = CELL_FORMAT};
    alive.size = (core_cell(links->core)->machine_count + 7) / 8;
    buf_clear(bits);
    uint8_t *heard = (uint8_t *)buf_reserve(bits, alive.size + 1);
    memset(heard, 0, alive.size);
    LIST_EACH(l, &links->all)
    {
        const struct link *link = CONTAINER_OF(l, struct link, all);
        uint32_t at = link->machine.v - 1;
        if (links_is_welcome(link) && link->heard_ms >= links->alive_ms && at / 8 < alive.size)
            heard[at / 8] |= (uint8_t)(1U << at % 8);
    }
    links->alive_ms = clock_mono_ms();
    alive.bits = heard;
    return alive;
}

size_t links_count(const struct links *links)
{
    return links->count;
}

const struct links_certs *links_certs(struct links *links)
{
    uint64_t soon_ms = clock_wall_ms() + TLS_CERT_SOON_MS, now_ms = clock_mono_ms();
    if (links->certs_ms != 0 && now_ms - links->certs_ms < LINKS_CERTS_MS)
        return &links->certs;
    links->certs_ms = now_ms;
    links->certs = (struct links_certs){0};
    LIST_EACH(l, &links->all)
    {
        const struct link *link = CONTAINER_OF(l, struct link, all);
        uint64_t ms = rpc_peer_expires_ms(link->conn);
        links->certs.soon += ms < soon_ms;
        if (links->certs.first_ms != 0 && ms >= links->certs.first_ms)
            continue;
        links->certs.first_ms = ms;
        str_copy(links->certs.first, sizeof links->certs.first, rpc_peer(link->conn)->name);
    }
    return &links->certs;
}

static void link_tick(struct link *link)
{
    if (link->state == LINK_UP)
        links_sync(link, /* full= */ false);
    else
        links_go_on(link);
}

static void close_silent(struct links *links, uint64_t now_ms)
{
    LIST_EACH(l, &links->all)
    {
        struct link *link = CONTAINER_OF(l, struct link, all);
        if (now_ms - link->heard_ms <= LINKS_SILENT_MS)
            continue;
        log_warn("link.timed_out machine=%s silent_ms=%" PRIu64 ", closing",
                 log_quoted(rpc_peer(link->conn)->name), now_ms - link->heard_ms);
        rpc_close(link->conn);
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct links *links = timer->data;
    uint64_t now_ms = clock_mono_ms();
    if (core_leader_id(links->core) != 0)
        links->leader_seen_ms = now_ms;
    if (now_ms - links->leader_seen_ms > LINKS_LEADERLESS_MS && links->count > 0) {
        log_warn("links.closed reason=no_leader for_ms=%" PRIu64 " links=%zu",
                 now_ms - links->leader_seen_ms, links->count);
        links_reset(links);
        return;
    }
    if (!links_leader_hears(links, now_ms) && links->count > 0) {
        log_warn("links.closed reason=leader_silent leader=%" PRIu64 " for_ms=%" PRIu64
                 " links=%zu",
                 links->leader, now_ms - links->answered_ms, links->count);
        links_reset(links);
        return;
    }
    if (links->ticks++ % LINKS_SWEEP_TICKS == 0)
        close_silent(links, now_ms);
    if (links->identities_unsent)
        links_send_identities(links);
    struct list now = {0};
    list_replace(&links->unsettled, &now);
    list_init(&links->unsettled);
    for (struct list *l; (l = list_pop(&now)) != NULL;) {
        list_push(&links->unsettled, l);
        link_tick(CONTAINER_OF(l, struct link, unsettled));
    }
}

struct links *links_new(struct core *core)
{
    struct links *links = xcalloc(1, sizeof *links);
    links->core = core;
    links->batch.reports = xcalloc(LINKS_BATCH_MAX, sizeof *links->batch.reports);
    links->batch.usages = xcalloc(LINKS_BATCH_MAX, sizeof *links->batch.usages);
    links->leader_seen_ms = links->answered_ms = clock_mono_ms();
    list_init(&links->all);
    list_init(&links->unsettled);
    links_pack_identities(links);
    uv_timer_init(core_opts(core)->loop, &links->tick);
    links->tick.data = links;
    uv_timer_start(&links->tick, on_tick, LINKS_TICK_MS, LINKS_TICK_MS);
    return links;
}
