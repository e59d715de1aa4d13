/*
 * replica.c - assembles the modules of a master around its core.
 */
#include "replica.h"

#include "forward.h"
#include "scheduler.h"
#include "service.h"
#include "tls_watch.h"

#include <stdlib.h>

struct replica {
    struct core *core;
    struct peers *peers;
    struct forward forward;
    struct links *links;
    struct leader *leader;
    struct members *members;
    struct scheduler *scheduler;
    struct service *service;
    struct tls_watch *watch;
};

static void on_delta(void *data, struct delta *delta, const struct changes *changes)
{
    struct replica *r = data;
    scheduler_put(r->scheduler, delta);
    links_touch(r->links, changes->machines, changes->machine_count);
}

static void on_masters(void *data)
{
    struct replica *r = data;
    peers_set(r->peers, core_masters(r->core));
    links_tell_replicas(r->links);
    links_tell_identities(r->links); /* the removed masters are among them */
}

static void on_identities(void *data)
{
    struct replica *r = data;
    links_tell_identities(r->links);
    tls_watch_check(r->watch);
}

static void on_restored(void *data, struct delta *full)
{
    struct replica *r = data;
    if (full != NULL)
        scheduler_reset_to(r->scheduler, full);
    else
        scheduler_reset(r->scheduler);
    links_reset(r->links);
}

static void on_lead(void *data, bool leads)
{
    struct replica *r = data;
    leader_on_role(r->leader, leads);
    scheduler_on_role(r->scheduler, leads);
}

static void on_leader(void *data)
{
    struct replica *r = data;
    service_on_leader(r->service);
}

static void on_log_open(void *data)
{
    struct replica *r = data;
    members_on_opened(r->members);
}

static void on_send(void *data)
{
    struct replica *r = data;
    links_flush(r->links);
}

static void on_forward(void *data, struct inbox *inbox, uint64_t leader_id)
{
    struct replica *r = data;
    forward_flush(&r->forward, inbox, leader_id);
}

static void on_closing(void *data)
{
    struct replica *r = data;
    scheduler_stop(r->scheduler);
}

static bool is_revoked(void *data, const struct identity *id, uint64_t issued_ms)
{
    const struct replica *r = data;
    return cell_identity_revoked(core_cell(r->core), identity_text(id).text, issued_ms);
}

static void start_core(struct replica *r)
{
    core_start(r->core, &(struct core_observer){.data = r,
                                                .on_delta = on_delta,
                                                .on_masters = on_masters,
                                                .on_identities = on_identities,
                                                .on_restored = on_restored,
                                                .on_lead = on_lead,
                                                .on_leader = on_leader,
                                                .on_log_open = on_log_open,
                                                .on_send = on_send,
                                                .forward = on_forward,
                                                .on_closing = on_closing});
}

int replica_open(const struct core_options *options, struct replica **ret, struct err *err)
{
    struct replica *r = xcalloc(1, sizeof *r);
    int rv = core_open(options, &r->core, err);
    if (rv != 0) {
        free(r);
        return rv;
    }
    r->peers = peers_new(options);
    peers_set(r->peers, core_masters(r->core));
    r->forward.peers = r->peers;
    r->links = links_new(r->core);
    r->leader = leader_new(r->core);
    r->members = members_new(r->core, r->peers);
    r->scheduler = scheduler_new(r->core);
    r->watch = tls_watch_open(options->loop, options->tls);
    tls_context_on_peer(options->tls, is_revoked, r);
    struct modules modules = {r->core,   r->peers,   r->links,
                              r->leader, r->members, disk_new(options->loop, options->dir)};
    start_core(r);
    rv = service_open(&modules, &r->service, err);
    if (rv == 0)
        rv = core_open_log(r->core, err);
    *ret = r; /* after an error the process ends, which closes what is open */
    return rv;
}

void replica_close(struct replica *r, void (*cb)(void *data), void *data)
{
    core_close(r->core, cb, data);
}

struct core *replica_core(const struct replica *r)
{
    return r->core;
}
