/*
 * links.c - connections to borglets: hello, reports in, intents out.
 */
#include "links.h"

#include "clock.h"
#include "link_diff.h"
#include "list.h"
#include "log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LINKS_TICK_MS = 250,
    LINKS_SWEEP_TICKS = 4, /* every so many, all links are looked at */
    LINKS_SPECS_BYTES = 4194304,
    LINKS_BATCH_MAX = 16384,    /* reports that wait to be proposed */
    LINKS_BATCHES_MAX = 4,      /* commands of them under way: more would only be smaller */
    LINKS_TELL_BYTES = 4194304, /* of identities in one turn: there may be many links */
};

enum link_state {
    LINK_OPEN,        /* no hello yet */
    LINK_HELD,        /* hello came, there is no leader just now: there will be one soon */
    LINK_REGISTERING, /* the cell is being told of the machine */
    LINK_WAITING,     /* welcome was said, our cell is older than what the borglet has seen */
    LINK_UP,
};

struct link {
    uint64_t id; /* of this connection; callbacks find the link by it */
    struct links *links;
    struct rpc_conn *conn;
    struct rpc_call *hello; /* unanswered, in LINK_HELD and LINK_REGISTERING */
    enum link_state state;
    struct wire_hello said;
    machine_id machine; /* from LINK_WAITING on */
    struct link_tasks tasks;
    uint64_t heard_ms;
    bool moving;              /* it was asked to go */
    uint64_t identities_told; /* links.identities_version that it has */
    struct list all;
    struct list restless; /* in links.restless, or alone */
};

/* What is to be proposed: of all machines that had something to say. While some commands are under
 * way the next one fills up. */
struct batch {
    struct report *reports;    /* LINKS_BATCH_MAX */
    struct task_usage *usages; /* the same */
    size_t report_count, usage_count;
    unsigned reports_in_flight, usages_in_flight; /* commands without an answer */
};

struct links {
    struct replica *replica;
    struct batch batch;
    struct list all;      /* in the order in which they came */
    struct list restless; /* every tick looks again: neither up nor open, or not settled */
    size_t count;         /* in LINK_UP or LINK_WAITING */
    uint64_t next_id;
    struct idmap by_id;
    struct idmap by_machine; /* machine id -> struct link, LINK_WAITING and LINK_UP */
    struct link_todo todo;   /* scratch */
    struct buf body;         /* scratch */
    struct buf identities;   /* packed, as every borglet is to know them */
    uint64_t identities_version;
    bool identities_untold; /* some link may not have them yet */
    uv_timer_t tick;
    unsigned ticks;
    uint64_t leader_seen_ms;
    struct links_certs certs;
    uint64_t certs_ms;    /* when they were looked at; 0: never */
    uint64_t leader;      /* that we know of */
    uint64_t answered_ms; /* when it last was heard to hear us, or became known */
    uint64_t alive_ms;    /* when the leader was last told who is alive */
};

static void link_rest(struct link *link, bool restless)
{
    if (!restless)
        list_remove(&link->restless);
    else if (list_empty(&link->restless))
        list_push(&link->links->restless, &link->restless);
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
        replica_command(links->replica, &cmd, on_batch_answer, &b->reports_in_flight);
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
        replica_command(links->replica, &cmd, on_batch_answer, &b->usages_in_flight);
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

/* Give reports to the cell; whether they arrived shows in the cell itself, so those for which there
 * is no room are not missed: they come again. */
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
    /* The intents may come from an entry that is applied in part. They carry its index: a replica
     * without the entry waits for it before it drives this machine. */
    struct wire_intents intents = {.index = replica_newest_index(links->replica),
                                   .full = full,
                                   .intents = some,
                                   .intent_count = (uint32_t)count};
    buf_clear(&links->body);
    wire_pack_intents(&links->body, &intents);
    if (rpc_notify(link->conn, WIRE_INTEND, links->body.bytes, links->body.size) == 0)
        return;
    log_warn("link.stuck machine=%s, closing", log_quoted(link->said.name));
    rpc_close(link->conn);
}

/* Intents without a spec to the front. */
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
 * Specs may be large and a frame has a limit. The first message of a full set names all that the
 * borglet has, for that needs no specs; starts that do not fit in go in messages after it.
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

static void link_sync(struct link *link, bool full)
{
    struct links *links = link->links;
    const struct cell *cell = replica_cell(links->replica);
    const struct machine *machine = cell_machine(cell, link->machine);
    if (link->state != LINK_UP)
        return;
    /* Declared down although it talks to us, or removed: it must say hello again to be up. */
    if (machine == NULL || machine->state != MACHINE_UP ||
        machine->instance != link->said.instance || strcmp(machine->name, link->said.name) != 0) {
        rpc_close(link->conn);
        return;
    }
    link_todo_clear(&links->todo);
    link_diff(cell, machine, &link->tasks, full, clock_mono_ms(), LINKS_RESEND_MS, &links->todo);
    link_rest(link, links->todo.unsettled);
    if (full || links->todo.intent_count > 0)
        send_intents(links, link, full);
    batch_reports(links, link);
}

/* From waiting to up as soon as our cell is as new as what the borglet has seen. */
static void link_try_up(struct link *link)
{
    const struct cell *cell = replica_cell(link->links->replica);
    if (link->state != LINK_WAITING || cell->applied_index < link->said.seen_index)
        return;
    link->state = LINK_UP;
    link_sync(link, /* full= */ true);
}

static uint64_t heartbeat_ms(size_t links)
{
    uint64_t ms = links * 1000 / LINKS_HEARTBEATS_S;
    return MIN(MAX(ms, (uint64_t)LINKS_HEARTBEAT_MIN_MS), (uint64_t)LINKS_HEARTBEAT_MAX_MS);
}

static void link_tell_replicas(struct link *link)
{
    struct links *links = link->links;
    const struct masters *masters = replica_masters(links->replica);
    struct wire_address addresses[MASTER_ROWS_MAX];
    struct wire_replicas replicas = {.addresses = addresses};
    for (uint32_t i = 0; i < masters->count; i++) {
        struct wire_address *address = &addresses[replicas.address_count];
        if (masters->rows[i].state != MASTER_VOTES)
            continue;
        address->id = masters->rows[i].id;
        str_copy(address->text, sizeof address->text, masters->rows[i].rpc);
        replicas.address_count++;
    }
    buf_clear(&links->body);
    wire_pack_replicas(&links->body, &replicas);
    (void)!rpc_notify(link->conn, WIRE_REPLICAS, links->body.bytes, links->body.size);
}

void links_tell_replicas(struct links *links)
{
    LIST_EACH(l, &links->all)
    {
        struct link *link = CONTAINER_OF(l, struct link, all);
        if (link->state == LINK_UP || link->state == LINK_WAITING)
            link_tell_replicas(link);
    }
}

/* Numbers of masters are never given again: one that is below the next and not there was removed.
 */
static bool master_is_removed(const struct masters *masters, uint64_t id)
{
    return id != 0 && id < masters->next_id && masters_find(masters, id) == NULL;
}

/* What a machine was told of its replicas lasts until it is started anew, then it begins with
 * cell.json: those that were removed last must not be listened to all the same. */
static void removed_put(const struct masters *masters, struct wire_identities *told)
{
    uint64_t oldest = masters->next_id - MIN(masters->next_id, (uint64_t)LINKS_REMOVED_MAX);
    for (uint64_t id = oldest; id < masters->next_id; id++) {
        struct wire_identity *to = &told->identities[told->identity_count];
        if (!master_is_removed(masters, id) || told->identity_count == CELL_IDENTITIES_MAX)
            continue;
        to->revoked_ms = UINT64_MAX; /* whenever it was issued */
        snprintf(to->identity, sizeof to->identity, "master/%" PRIu64, id);
        told->identity_count++;
    }
}

/* Has the row been told by removed_put()? */
static bool is_put(const struct wire_identities *told, const char *identity)
{
    for (uint32_t i = 0; i < MIN(told->identity_count, (uint32_t)LINKS_REMOVED_MAX); i++)
        if (strcmp(told->identities[i].identity, identity) == 0)
            return true;
    return false;
}

/* Who reads everybody's logs, and whose certificates do not count: a machine asks for no more. */
static void identities_pack(struct links *links)
{
    size_t count;
    CLEANUP(free_ptr)
    struct identity_row *rows = cell_identities(replica_cell(links->replica), &count);
    struct wire_identities told = {
        .index = replica_cell(links->replica)->applied_index,
        .identities = xcalloc(count + LINKS_REMOVED_MAX + 1, sizeof *told.identities)};
    removed_put(replica_masters(links->replica), &told);
    for (size_t i = 0; i < count; i++) {
        struct wire_identity *to = &told.identities[told.identity_count];
        to->rights = rows[i].rights & (BIT(RIGHT_OPERATOR) | BIT(RIGHT_READER));
        to->revoked_ms = rows[i].revoked_ms;
        if ((to->rights == 0 && to->revoked_ms == 0) || is_put(&told, rows[i].identity) ||
            told.identity_count == CELL_IDENTITIES_MAX) {
            *to = (struct wire_identity){0};
            continue;
        }
        str_copy(to->identity, sizeof to->identity, rows[i].identity);
        told.identity_count++;
    }
    buf_clear(&links->identities);
    wire_pack_identities(&links->identities, &told);
    wire_identities_release(&told);
    links->identities_version++;
}

static void link_tell_identities(struct link *link)
{
    const struct buf *body = &link->links->identities;
    if (link->identities_told == link->links->identities_version)
        return;
    link->identities_told = link->links->identities_version;
    (void)!rpc_notify(link->conn, WIRE_IDENTITIES, body->bytes, body->size);
}

/* As many as one turn bears; the tick comes again. */
static void tell_identities(struct links *links)
{
    size_t bytes = 0;
    links->identities_untold = false;
    LIST_EACH(l, &links->all)
    {
        struct link *link = CONTAINER_OF(l, struct link, all);
        if ((link->state != LINK_UP && link->state != LINK_WAITING) ||
            link->identities_told == links->identities_version)
            continue;
        if (bytes > LINKS_TELL_BYTES) {
            links->identities_untold = true;
            return;
        }
        link_tell_identities(link);
        bytes += links->identities.size;
    }
}

void links_tell_identities(struct links *links)
{
    identities_pack(links);
    tell_identities(links);
}

static void link_welcome(struct link *link, const struct machine *machine)
{
    struct links *links = link->links;
    struct link *older = idmap_get(&links->by_machine, machine->id.v);
    if (older != NULL) {
        log_info("link.replaced machine=%s", log_quoted(machine->name));
        rpc_close(older->conn);
        older->state = LINK_OPEN;
        link_rest(older, false);
        links->count--;
    }
    link->machine = machine->id;
    link->state = LINK_WAITING;
    links->count++;
    idmap_put(&links->by_machine, machine->id.v, link);
    link_rest(link, true);
    struct wire_welcome welcome = {.machine = machine->id.v,
                                   .heartbeat_ms = heartbeat_ms(links->count)};
    buf_clear(&links->body);
    wire_pack_welcome(&links->body, &welcome);
    rpc_reply(link->hello, links->body.bytes, links->body.size);
    link->hello = NULL;
    link_tell_replicas(link);
    link_tell_identities(link);
    log_info("link.up machine=%s id=%" PRIu32 " tasks=%zu", log_quoted(machine->name),
             machine->id.v, link->tasks.count);
    link_try_up(link);
}

static void link_refuse(struct link *link, const struct err *err)
{
    log_warn("link.refused machine=%s reason=%s", log_quoted(link->said.name),
             log_quoted(err->msg));
    rpc_refuse(link->hello, err);
    link->hello = NULL;
    link->state = LINK_OPEN;
    link_rest(link, false);
}

/* Is the machine in the cell as the hello describes it? */
static const struct machine *machine_as_said(const struct link *link)
{
    const struct cell *cell = replica_cell(link->links->replica);
    const struct machine *m = cell_machine_named(cell, link->said.name);
    struct resources capacity = link->said.capacity;
    bool same = m != NULL && m->state == MACHINE_UP && m->instance == link->said.instance &&
                m->directory == link->said.directory && strcmp(m->addr, link->said.addr) == 0 &&
                resources_translate(&capacity, &link->said.resource_names, &cell->resource_names, 0,
                                    NULL) == 0 &&
                memcmp(&m->capacity, &capacity, sizeof m->capacity) == 0 &&
                words_same(&m->attributes, &link->said.attributes);
    return same ? m : NULL;
}

/* A registration may be repeated, whatever became of it. */
static bool err_is_passing(enum err_code code)
{
    return code == ERR_UNAVAILABLE || code == ERR_NOT_LEADER || code == ERR_UNKNOWN_OUTCOME;
}

/* What a callback of replica_command() needs to find its link again, which may be gone by then. */
struct registration {
    struct links *links;
    uint64_t link_id;
};

static void on_registered(void *data, const struct err *err, const struct wire_answer *answer)
{
    struct registration *registration = data;
    struct link *link = idmap_get(&registration->links->by_id, registration->link_id);
    free(registration);
    if (link == NULL || link->state != LINK_REGISTERING)
        return;
    struct err own;
    if (err == NULL && answer->code != ERR_OK) {
        err_set(&own, answer->code, "%s", answer->msg);
        err = &own;
    }
    if (err != NULL && err_is_passing(err->code)) {
        link->state = LINK_HELD; /* the leader has just changed */
        return;
    }
    if (err != NULL) {
        link_refuse(link, err);
        return;
    }
    /* The leader has applied it; we may be a little behind: the tick tries until we have it too. */
    const struct machine *machine = machine_as_said(link);
    if (machine != NULL)
        link_welcome(link, machine);
}

static void link_register(struct link *link)
{
    struct cmd cmd = {.kind = CMD_MACHINE_REGISTER};
    str_copy(cmd.machine_register.name, sizeof cmd.machine_register.name, link->said.name);
    str_copy(cmd.machine_register.addr, sizeof cmd.machine_register.addr, link->said.addr);
    cmd.machine_register.capacity = link->said.capacity;
    cmd.machine_register.instance = link->said.instance;
    cmd.machine_register.directory = link->said.directory;
    cmd.machine_register.resource_names = link->said.resource_names;
    cmd.machine_register.attributes = link->said.attributes; /* borrowed: the command is packed */
    struct registration *registration = xcalloc(1, sizeof *registration);
    *registration = (struct registration){link->links, link->id};
    link->state = LINK_REGISTERING;
    replica_command(link->links->replica, &cmd, on_registered, registration);
}

/* Does the leader hear us? One that is new has yet to be asked; one that we lost sight of for a
 * while is not new. */
static bool leader_hears(struct links *links, uint64_t now_ms)
{
    uint64_t leader = replica_leader_id(links->replica);
    if (leader != 0 && leader != links->leader) {
        links->answered_ms = now_ms;
        links->leader = leader;
    }
    return now_ms - links->answered_ms <= LINKS_UNANSWERED_MS;
}

void links_answered(struct links *links)
{
    links->answered_ms = clock_mono_ms();
}

/* While a leader is elected a whole share of borglets may have come: they had better wait here than
 * go round. */
static void link_greet(struct link *link)
{
    uint64_t now_ms = clock_mono_ms();
    struct err err;
    if (now_ms - link->heard_ms > LINKS_LEADERLESS_MS || !leader_hears(link->links, now_ms)) {
        err_set(&err, ERR_UNAVAILABLE, "this replica has no leader that hears it: try another");
        link_refuse(link, &err);
        return;
    }
    if (!replica_ready(link->links->replica))
        return;
    const struct machine *machine = machine_as_said(link);
    if (machine != NULL)
        link_welcome(link, machine);
    else
        link_register(link);
}

static int hello_check(const struct link *link, struct err *err)
{
    if (link->state != LINK_OPEN || link->hello != NULL)
        return err_set(err, ERR_STATE, "a second hello on one connection");
    if (strcmp(rpc_peer(link->conn)->name, link->said.name) != 0)
        return err_set(err, ERR_DENIED, "the certificate is of machine \"%s\", not of \"%s\"",
                       rpc_peer(link->conn)->name, link->said.name);
    if (link->said.instance == 0)
        return err_set(err, ERR_INVALID, "the hello does not say which borglet of its name it is");
    if (!address_valid(link->said.addr))
        return err_set(err, ERR_INVALID, "the hello's address is not HOST:PORT");
    return 0;
}

/* What a borglet has to say first of all is hello: before that, and with more attempts than a
 * machine may have, it is none of ours. */
static int take_reports(struct link *link, const struct report *reports, size_t count,
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

static bool link_is_welcome(const struct link *link)
{
    return link->state == LINK_WAITING || link->state == LINK_UP;
}

static void link_drop(struct link *link, const struct err *why)
{
    log_warn("link.garbage machine=%s reason=%s, closing", log_quoted(rpc_peer(link->conn)->name),
             log_quoted(why->msg));
    rpc_close(link->conn);
}

/* All that is said but the reports, which are taken apart. */
static void link_note_hello(struct link *link, const struct wire_hello *hello)
{
    words_release(&link->said.attributes);
    link->said = *hello;
    link->said.attributes = words_copy(&hello->attributes);
    link->said.reports = NULL;
    link->said.report_count = 0;
}

/* A message: false when it is of the past, for we stood still or the way was cut, and the borglet
 * is with another replica since. */
static bool link_hear(struct link *link)
{
    uint64_t now_ms = clock_mono_ms();
    uint64_t silent_ms = now_ms - link->heard_ms;
    if (silent_ms > LINKS_SILENT_MS) {
        log_warn("link.silent machine=%s for_ms=%" PRIu64 ", closing",
                 log_quoted(rpc_peer(link->conn)->name), silent_ms);
        rpc_close(link->conn);
        return false;
    }
    link->heard_ms = now_ms;
    return true;
}

void links_on_hello(struct rpc_conn *conn, struct rpc_call *call, const void *body, size_t size)
{
    struct link *link = rpc_data(conn);
    struct wire_hello hello;
    struct err err;
    if (!link_hear(link)) {
        err_set(&err, ERR_TIMEOUT, "the hello came too late");
        rpc_refuse(call, &err);
        return;
    }
    if (wire_unpack_hello(body, size, &hello, &err) != 0) {
        log_warn("link.refused peer=%s reason=%s", log_quoted(rpc_peer(conn)->name),
                 log_quoted(err.msg));
        rpc_refuse(call, &err);
        return;
    }
    if (link->state == LINK_OPEN && link->hello == NULL)
        link_note_hello(link, &hello);
    int rv = hello_check(link, &err);
    if (rv == 0) {
        link->tasks.count = link->tasks.ordered_count = 0;
        rv = take_reports(link, hello.reports, hello.report_count, &err);
    }
    if (rv == 0) {
        link->hello = call;
        link->state = LINK_HELD;
        link_rest(link, true);
        link_greet(link);
    } else {
        log_warn("link.refused machine=%s reason=%s", log_quoted(hello.name), log_quoted(err.msg));
        rpc_refuse(call, &err);
    }
    wire_hello_release(&hello);
}

void links_on_report(struct rpc_conn *conn, struct rpc_call *call, const void *body, size_t size)
{
    struct link *link = rpc_data(conn);
    struct wire_reports reports;
    struct err err;
    rpc_reply(call, NULL, 0); /* so the borglet knows that we are alive */
    if (!link_hear(link))
        return;
    if (wire_unpack_reports(body, size, &reports, &err) != 0) {
        link_drop(link, &err);
        return;
    }
    if (reports.report_count > 0 && !link_is_welcome(link)) {
        err_set(&err, ERR_STATE, "reports before the hello was answered");
        link_drop(link, &err);
    } else if (take_reports(link, reports.reports, reports.report_count, &err) != 0) {
        link_drop(link, &err);
    } else if (reports.report_count > 0) {
        link_sync(link, /* full= */ false);
    }
    wire_reports_release(&reports);
}

/* Told every few seconds: only what the cell would make something of is worth a command. */
void links_on_usage(struct rpc_conn *conn, struct rpc_call *call, const void *body, size_t size)
{
    struct link *link = rpc_data(conn);
    const struct cell *cell = replica_cell(link->links->replica);
    struct wire_usages usages;
    struct err err;
    rpc_reply(call, NULL, 0);
    if (!link_hear(link))
        return;
    if (wire_unpack_usages(body, size, &usages, &err) != 0) {
        link_drop(link, &err);
        return;
    }
    struct batch *b = &link->links->batch;
    uint64_t now_ms = replica_time_ms(link->links->replica);
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
    list_init(&link->restless);
    list_push(&links->all, &link->all);
    idmap_put(&links->by_id, link->id, link);
    rpc_set_data(conn, link);
}

void links_on_close(struct rpc_conn *conn)
{
    struct link *link = rpc_data(conn);
    struct links *links = link->links;
    struct err err;
    if (link->hello != NULL) {
        err_set(&err, ERR_CLOSED, "the connection was closed");
        rpc_refuse(link->hello, &err);
    }
    if (idmap_get(&links->by_machine, link->machine.v) == link) {
        idmap_remove(&links->by_machine, link->machine.v);
        links->count--;
        log_info("link.down machine=%s", log_quoted(link->said.name));
    }
    idmap_remove(&links->by_id, link->id);
    list_remove(&link->all);
    list_remove(&link->restless);
    link_tasks_release(&link->tasks);
    words_release(&link->said.attributes);
    free(link);
}

void links_touch(struct links *links, const uint64_t *machines, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct link *link = idmap_get(&links->by_machine, machines[i]);
        if (link != NULL)
            link_sync(link, /* full= */ false);
    }
}

void links_reset(struct links *links)
{
    LIST_EACH(l, &links->all)
    rpc_close(CONTAINER_OF(l, struct link, all)->conn);
}

static const char *replica_address(const struct replica *replica, uint64_t id)
{
    const struct master *row = masters_find(replica_masters(replica), id);
    return row != NULL ? row->rpc : NULL;
}

static bool link_ask_to_move(struct link *link, const char *addr)
{
    struct wire_move move = {0};
    if (link->state != LINK_UP || link->moving || !list_empty(&link->restless))
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
    const char *addr = replica_address(links->replica, to);
    size_t asked = 0;
    if (addr == NULL)
        return;
    for (struct list *l = links->all.prev; l != &links->all && asked < count; l = l->prev)
        asked += link_ask_to_move(CONTAINER_OF(l, struct link, all), addr);
    log_info("links.shed asked=%zu of=%zu to=%" PRIu64, asked, links->count, to);
}

struct wire_alive links_alive(struct links *links, struct buf *bits)
{
    struct wire_alive alive = {.links = (uint32_t)links->count,
                               .applied_index = replica_cell(links->replica)->applied_index,
                               .wall_ms = clock_wall_ms()};
    alive.size = (replica_cell(links->replica)->machine_count + 7) / 8;
    buf_clear(bits);
    uint8_t *heard = (uint8_t *)buf_reserve(bits, alive.size + 1);
    memset(heard, 0, alive.size);
    LIST_EACH(l, &links->all)
    {
        const struct link *link = CONTAINER_OF(l, struct link, all);
        bool drives = link->state == LINK_UP || link->state == LINK_WAITING;
        uint32_t at = link->machine.v - 1;
        if (drives && link->heard_ms >= links->alive_ms && at / 8 < alive.size)
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
    const struct machine *machine;
    switch (link->state) {
    case LINK_HELD:
        link_greet(link);
        break;
    case LINK_REGISTERING:
        machine = machine_as_said(link);
        if (machine != NULL)
            link_welcome(link, machine);
        break;
    case LINK_WAITING:
        link_try_up(link);
        break;
    case LINK_UP:
        link_sync(link, /* full= */ false);
        break;
    case LINK_OPEN:
        break;
    }
}

static void close_silent(struct links *links, uint64_t now_ms)
{
    LIST_EACH(l, &links->all)
    {
        struct link *link = CONTAINER_OF(l, struct link, all);
        if (now_ms - link->heard_ms <= LINKS_SILENT_MS)
            continue;
        log_warn("link.silent machine=%s for_ms=%" PRIu64 ", closing",
                 log_quoted(rpc_peer(link->conn)->name), now_ms - link->heard_ms);
        rpc_close(link->conn);
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct links *links = timer->data;
    uint64_t now_ms = clock_mono_ms();
    if (replica_leader_id(links->replica) != 0)
        links->leader_seen_ms = now_ms;
    if (now_ms - links->leader_seen_ms > LINKS_LEADERLESS_MS && links->count > 0) {
        log_warn("links.leaderless for_ms=%" PRIu64 ", closing %zu links so that they find a "
                 "replica that has a leader",
                 now_ms - links->leader_seen_ms, links->count);
        links_reset(links);
        return;
    }
    if (!leader_hears(links, now_ms) && links->count > 0) {
        log_warn("links.unheard leader=%" PRIu64 " for_ms=%" PRIu64 ", closing %zu links so that "
                 "they find a replica that it hears",
                 links->leader, now_ms - links->answered_ms, links->count);
        links_reset(links);
        return;
    }
    if (links->ticks++ % LINKS_SWEEP_TICKS == 0)
        close_silent(links, now_ms);
    if (links->identities_untold)
        tell_identities(links);
    struct list now = {0};
    list_replace(&links->restless, &now);
    list_init(&links->restless);
    for (struct list *l; (l = list_pop(&now)) != NULL;) {
        list_push(&links->restless, l);
        link_tick(CONTAINER_OF(l, struct link, restless));
    }
}

struct links *links_new(struct replica *replica)
{
    struct links *links = xcalloc(1, sizeof *links);
    links->replica = replica;
    links->batch.reports = xcalloc(LINKS_BATCH_MAX, sizeof *links->batch.reports);
    links->batch.usages = xcalloc(LINKS_BATCH_MAX, sizeof *links->batch.usages);
    links->leader_seen_ms = links->answered_ms = clock_mono_ms();
    list_init(&links->all);
    list_init(&links->restless);
    identities_pack(links);
    uv_timer_init(replica_opts(replica)->loop, &links->tick);
    links->tick.data = links;
    uv_timer_start(&links->tick, on_tick, LINKS_TICK_MS, LINKS_TICK_MS);
    return links;
}
