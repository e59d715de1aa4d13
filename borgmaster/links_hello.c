/*
 * links_hello.c - registers a borglet that connects, and welcomes it.
 */
#include "links_impl.h"

#include "clock.h"
#include "log.h"

#include <stdlib.h>
#include <string.h>

static uint64_t heartbeat_ms(size_t links)
{
    uint64_t ms = links * 1000 / LINKS_HEARTBEATS_S;
    return MIN(MAX(ms, (uint64_t)LINKS_HEARTBEAT_MIN_MS), (uint64_t)LINKS_HEARTBEAT_MAX_MS);
}

/* Drive the machine once this cell is as new as what the borglet has seen. */
static void link_try_up(struct link *link)
{
    const struct cell *cell = core_cell(link->links->core);
    if (link->state != LINK_WAITING || cell->applied_index < link->hello.seen_index)
        return;
    link->state = LINK_UP;
    links_sync(link, /* full= */ true);
}

static void link_welcome(struct link *link, const struct machine *machine)
{
    struct links *links = link->links;
    struct link *older = idmap_get(&links->by_machine, machine->id.v);
    if (older != NULL) {
        log_info("link.replaced machine=%s", log_quoted(machine->name));
        rpc_close(older->conn);
        older->state = LINK_OPEN;
        links_set_unsettled(older, false);
        links->count--;
    }
    link->machine = machine->id;
    link->state = LINK_WAITING;
    links->count++;
    idmap_put(&links->by_machine, machine->id.v, link);
    links_set_unsettled(link, true);
    struct wire_welcome welcome = {.machine = machine->id.v,
                                   .heartbeat_ms = heartbeat_ms(links->count)};
    buf_clear(&links->body);
    wire_pack_welcome(&links->body, &welcome);
    rpc_reply(link->hello_call, links->body.bytes, links->body.size);
    link->hello_call = NULL;
    links_tell_new(link);
    log_info("link.opened machine=%s id=%" PRIu32 " tasks=%zu", log_quoted(machine->name),
             machine->id.v, link->tasks.count);
    link_try_up(link);
}

static void link_refuse(struct link *link, const struct err *err)
{
    log_warn("link.refused machine=%s reason=%s", log_quoted(link->hello.name),
             log_quoted(err->msg));
    rpc_refuse(link->hello_call, err);
    link->hello_call = NULL;
    link->state = LINK_OPEN;
    links_set_unsettled(link, false);
}

/* Returns the machine of the cell if it is as the hello describes it; NULL: it must be registered.
 */
static const struct machine *machine_as_in_hello(const struct link *link)
{
    const struct cell *cell = core_cell(link->links->core);
    const struct machine *m = cell_machine_named(cell, link->hello.name);
    struct resources capacity = link->hello.capacity;
    bool same = m != NULL && m->state == MACHINE_UP && m->instance == link->hello.instance &&
                m->directory == link->hello.directory && strcmp(m->addr, link->hello.addr) == 0 &&
                resources_translate(&capacity, &link->hello.resource_names, &cell->resource_names,
                                    0, NULL) == 0 &&
                memcmp(&m->capacity, &capacity, sizeof m->capacity) == 0 &&
                words_same(&m->attributes, &link->hello.attributes) &&
                (words_same(&m->labels, &link->hello.labels) || cell_format(cell) < 2);
    return same ? m : NULL;
}

/* Returns true for errors after which the registration is repeated; that does no harm. */
static bool err_is_passing(enum err_code code)
{
    return code == ERR_UNAVAILABLE || code == ERR_NOT_LEADER || code == ERR_UNKNOWN_OUTCOME;
}

/* Names the link to the callback of core_propose(); the link may be closed by then. */
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
    /* The leader has applied the command. If this replica has not yet, the tick tries again. */
    const struct machine *machine = machine_as_in_hello(link);
    if (machine != NULL)
        link_welcome(link, machine);
}

static void link_register(struct link *link)
{
    struct cmd cmd = {.kind = CMD_MACHINE_REGISTER};
    str_copy(cmd.machine_register.name, sizeof cmd.machine_register.name, link->hello.name);
    str_copy(cmd.machine_register.addr, sizeof cmd.machine_register.addr, link->hello.addr);
    cmd.machine_register.capacity = link->hello.capacity;
    cmd.machine_register.instance = link->hello.instance;
    cmd.machine_register.directory = link->hello.directory;
    cmd.machine_register.resource_names = link->hello.resource_names;
    cmd.machine_register.attributes = link->hello.attributes; /* borrowed: the command is packed */
    cmd.machine_register.labels = link->hello.labels;
    struct registration *registration = xcalloc(1, sizeof *registration);
    *registration = (struct registration){link->links, link->id};
    link->state = LINK_REGISTERING;
    core_propose(link->links->core, &cmd, on_registered, registration);
}

bool links_leader_hears(struct links *links, uint64_t now_ms)
{
    uint64_t leader = core_leader_id(links->core);
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

/* During an election all borglets of a dead replica may connect here. They wait for the new leader
 * here, since trying other replicas would not help them. */
static void link_greet(struct link *link)
{
    uint64_t now_ms = clock_mono_ms();
    struct err err;
    if (now_ms - link->heard_ms > LINKS_LEADERLESS_MS || !links_leader_hears(link->links, now_ms)) {
        err_set(&err, ERR_UNAVAILABLE,
                "this replica has no leader that answers it; try another replica");
        link_refuse(link, &err);
        return;
    }
    if (!core_ready(link->links->core))
        return;
    const struct machine *machine = machine_as_in_hello(link);
    if (machine != NULL)
        link_welcome(link, machine);
    else
        link_register(link);
}

static int hello_check(const struct link *link, struct err *err)
{
    if (link->state != LINK_OPEN || link->hello_call != NULL)
        return err_set(err, ERR_STATE, "the connection has already had a hello");
    if (strcmp(rpc_peer(link->conn)->name, link->hello.name) != 0)
        return err_set(err, ERR_DENIED, "the certificate belongs to machine \"%s\", not to \"%s\"",
                       rpc_peer(link->conn)->name, link->hello.name);
    if (link->hello.instance == 0)
        return err_set(err, ERR_INVALID,
                       "the hello has no instance number, which tells borglets of one name apart");
    if (!address_valid(link->hello.addr))
        return err_set(err, ERR_INVALID, "the hello's address is not HOST:PORT");
    return 0;
}

/* Keep the hello without its reports, which go to link->tasks. */
static void link_keep_hello(struct link *link, const struct wire_hello *hello)
{
    struct wire_hello kept = *hello;
    kept.reports = NULL;
    kept.report_count = 0;
    wire_hello_release(&link->hello);
    record_copy(&wire_hello_record, &link->hello, &kept);
}

void links_on_hello(struct rpc_conn *conn, struct rpc_call *call, const void *body, size_t size)
{
    struct link *link = rpc_data(conn);
    struct wire_hello hello;
    struct err err;
    if (!links_hear(link)) {
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
    if (link->state == LINK_OPEN && link->hello_call == NULL)
        link_keep_hello(link, &hello);
    int rv = hello_check(link, &err);
    if (rv == 0) {
        link->tasks.count = link->tasks.ordered_count = 0;
        rv = links_take_reports(link, hello.reports, hello.report_count, &err);
    }
    if (rv == 0) {
        link->hello_call = call;
        link->state = LINK_HELD;
        links_set_unsettled(link, true);
        link_greet(link);
    } else {
        log_warn("link.refused machine=%s reason=%s", log_quoted(hello.name), log_quoted(err.msg));
        rpc_refuse(call, &err);
    }
    wire_hello_release(&hello);
}

void links_go_on(struct link *link)
{
    const struct machine *machine;
    switch (link->state) {
    case LINK_HELD:
        link_greet(link);
        break;
    case LINK_REGISTERING:
        machine = machine_as_in_hello(link);
        if (machine != NULL)
            link_welcome(link, machine);
        break;
    case LINK_WAITING:
        link_try_up(link);
        break;
    case LINK_OPEN:
    case LINK_UP:
        break;
    }
}
