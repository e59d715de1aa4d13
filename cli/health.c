/*
 * health.c - the checks of `borgctl cell status`, the most severe first.
 */
#include "health.h"

#include "quantity.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void problem_add(struct health *h, uint64_t replica, const char *todo, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
static void problem_add(struct health *h, uint64_t replica, const char *todo, const char *fmt, ...)
{
    ASSERT(h->count < HEALTH_PROBLEMS_MAX);
    struct health_problem *p = &h->problems[h->count++];
    va_list args;
    *p = (struct health_problem){.replica = replica};
    str_copy(p->todo, sizeof p->todo, todo);
    va_start(args, fmt);
    vsnprintf(p->what, sizeof p->what, fmt, args);
    va_end(args);
}

static const char *bytes_text(uint64_t bytes, struct buf *to)
{
    buf_clear(to);
    quantity_print_bytes(to, (int64_t)MIN(bytes, (uint64_t)INT64_MAX));
    return buf_text(to);
}

static void find_best(struct health *h, const struct client_status *all, size_t count)
{
    h->leader = client_leader(all, count);
    for (size_t i = 0; i < count; i++) {
        h->reachable += all[i].reachable;
        if (all[i].reachable &&
            (h->best == NULL || all[i].status.applied_index > h->best->status.applied_index))
            h->best = &all[i];
    }
    if (h->leader != NULL)
        h->best = h->leader;
}

uint64_t health_lag(const struct health *h, const struct wire_status *status)
{
    if (h->leader == NULL)
        return 0;
    uint64_t leader = h->leader->status.commit_index;
    return leader > status->commit_index ? leader - status->commit_index : 0;
}

/* Return the index at which two replicas had different states: the present one, or a mark in the
 * log that both have passed; 0 if none is known. *ret_same: they were compared and are equal. */
static uint64_t index_of_difference(const struct wire_status *a, const struct wire_status *b,
                                    bool *ret_same)
{
    bool at_index = a->applied_index == b->applied_index;
    bool at_mark = a->mark_index == b->mark_index && a->mark_index != 0;
    *ret_same = false;
    if (at_index && a->digest != b->digest)
        return a->applied_index;
    if (at_mark && a->mark_digest != b->mark_digest)
        return a->mark_index;
    *ret_same = at_index || at_mark;
    return 0;
}

static void look_at_digest(struct health *h, const struct client_status *all, size_t count,
                           size_t self)
{
    const struct wire_status *s = &all[self].status;
    size_t same = 1, other = 0;
    uint64_t index = 0;
    for (size_t i = 0; i < count; i++) {
        bool is_same;
        if (i == self || !all[i].reachable)
            continue;
        uint64_t at = index_of_difference(s, &all[i].status, &is_same);
        same += is_same;
        other += at != 0;
        index = at != 0 ? at : index;
    }
    if (other == 0 || same > other)
        return;
    problem_add(
        h, s->id,
        same < other
            ? "stop it, keep its directory for analysis, then `borgctl cell replace-replica` it"
            : "stop both, and compare each with another replica",
        "replica %" PRIu64 " DIFFERS from %zu other%s at index %" PRIu64 ": %s", s->id, other,
        other == 1 ? "" : "s", index,
        same < other ? "its state is wrong" : "it is unknown which state is wrong");
}

static void look_at_log(struct health *h, const struct wire_status *s)
{
    uint64_t lag = health_lag(h, s);
    if (h->leader != NULL && s->leader == 0)
        problem_add(h, s->id, "check the network to the other replicas and its log",
                    "replica %" PRIu64 " answers, but knows of no leader", s->id);
    else if (lag > HEALTH_LAG_MAX)
        problem_add(h, s->id, "it is catching up, or its disk or network is slow: look again",
                    "replica %" PRIu64 " is %" PRIu64 " entries behind the leader", s->id, lag);
    if (s->store_behind_ms >= HEALTH_STORE_MS)
        problem_add(h, s->id, "queries there return old data; check whether its disk is slow",
                    "the database of replica %" PRIu64 " is %" PRIu64 " ms and %" PRIu64
                    " entries behind",
                    s->id, s->store_behind_ms, s->applied_index - s->projected_index);
}

static void look_at_disk(struct health *h, const struct wire_status *s)
{
    CLEANUP(buf_release) struct buf free_text = {0}, all_text = {0};
    if (s->disk_silent_ms >= HEALTH_DISK_SILENT_MS)
        problem_add(h, s->id,
                    "the disk hangs: check dmesg there; stop the replica if it does not recover",
                    "the disk of replica %" PRIu64 " has not answered for %" PRIu64 " s", s->id,
                    s->disk_silent_ms / 1000);
    if (s->disk_wait_ms >= HEALTH_DISK_MS)
        problem_add(h, s->id,
                    "find what else writes there (iostat -x 1); a leader steps down itself",
                    "the disk of replica %" PRIu64 " is slow: entries waited %" PRIu64 " ms for it",
                    s->id, s->disk_wait_ms);
    /* There must be room for a new snapshot beside the last one, and for SQLite's file. */
    uint64_t wanted = MAX((uint64_t)HEALTH_FREE_MIN, 3 * s->state_bytes);
    if (s->disk_bytes != 0 && s->disk_free_bytes < wanted)
        problem_add(h, s->id, "free disk space: the replica stops when there is none",
                    "the disk of replica %" PRIu64 " has %s free of %s", s->id,
                    bytes_text(s->disk_free_bytes, &free_text),
                    bytes_text(s->disk_bytes, &all_text));
}

static int compare(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Return how far its clock is ahead of borgctl's clock, which serves only as a common reference. */
static int64_t ahead_of_ours(const struct client_status *s)
{
    return (int64_t)(s->status.wall_ms - s->heard_ms);
}

/* Compute the median of the clocks of those who answered; return their number. */
static size_t clocks_median(const struct client_status *all, size_t count, int64_t *ret)
{
    int64_t offsets[CELL_REPLICAS_MAX] = {0};
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        if (all[i].reachable)
            offsets[n++] = ahead_of_ours(&all[i]);
    qsort(offsets, n, sizeof *offsets, compare);
    *ret = n > 0 ? offsets[(n - 1) / 2] : 0;
    return n;
}

int64_t health_clock_ahead(const struct client_status *all, size_t count, size_t at)
{
    int64_t median_ms;
    clocks_median(all, count, &median_ms);
    return ahead_of_ours(&all[at]) - median_ms;
}

static const char *span_text(int64_t ms, struct buf *to)
{
    uint64_t s = ((uint64_t)(ms < 0 ? -ms : ms) + 500) / 1000;
    buf_clear(to);
    buf_printf(to,
               s >= 2 * 86400 ? "%" PRIu64 " days"
               : s >= 7200    ? "%" PRIu64 " hours"
                              : "%" PRIu64 " s",
               s >= 2 * 86400 ? s / 86400
               : s >= 7200    ? s / 3600
                              : s);
    return buf_text(to);
}

static void look_at_clocks(struct health *h, const struct client_status *all, size_t count)
{
    CLEANUP(buf_release) struct buf span = {0};
    int64_t median_ms;
    size_t n = clocks_median(all, count, &median_ms);
    for (size_t i = 0; i < count; i++) {
        int64_t ahead_ms = all[i].reachable ? health_clock_ahead(all, count, i) : 0;
        if (ahead_ms > HEALTH_CLOCK_MS || ahead_ms < -HEALTH_CLOCK_MS)
            problem_add(h, all[i].status.id,
                        "correct it (chrony, ntpd); the time of the cell does not follow it",
                        "the clock of replica %" PRIu64 " is %s %s %s", all[i].status.id,
                        span_text(ahead_ms, &span), ahead_ms > 0 ? "ahead of" : "behind",
                        n > 2 ? "the other masters' clocks"
                              : "the other master's, or that is wrong");
    }
    if (h->leader == NULL)
        return;
    int64_t cell_ms = (int64_t)(h->leader->status.cell_ms - h->leader->heard_ms) - median_ms;
    if (h->leader->status.cell_ms != 0 && cell_ms > 2 * HEALTH_CLOCK_MS)
        problem_add(h, 0,
                    "a master's clock was wrong: dates of events are wrong by that, durations are "
                    "right",
                    "the time of the cell is %s ahead of its masters' clocks",
                    span_text(cell_ms, &span));
}

/* Count the replicas that run without a log: their directories are empty. */
static size_t count_new(const struct client_status *all, size_t count)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        n += all[i].reachable && strcmp(all[i].status.role, "new") == 0;
    return n;
}

/* Count the replicas that run and reject our certificate, or we theirs. */
static size_t count_denied(const struct client_status *all, size_t count)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        n += !all[i].reachable && all[i].why.code == ERR_DENIED;
    return n;
}

static void look_at_quorum(struct health *h, const struct cell_file *cell,
                           const struct client_status *all)
{
    size_t count = cell->replica_count, needed = count / 2 + 1, empty = count_new(all, count);
    size_t denied = count_denied(all, count);
    if (h->leader == NULL && h->reachable >= needed && h->reachable - empty < needed)
        problem_add(
            h, 0,
            "put the lost directories back if you can; else save the remaining data with `borgctl "
            "cell checkpoint FILE` and start from it with `borgctl cell restore FILE` "
            "in another --dir: running tasks continue",
            "%zu of %zu masters have a log, %zu are needed: the directories of %zu are "
            "empty",
            h->reachable - empty, count, needed, empty);
    else if (h->reachable < needed)
        problem_add(
            h, 0,
            denied > 0
                ? "correct the certificates that are reported below; no process has to be started"
                : "start the others: `borgctl cell up`, or borgmaster on their hosts; if they are "
                  "lost for good: `borgctl cell checkpoint FILE`, `borgctl cell restore FILE`",
            "%zu of %zu masters answer, %zu are needed: nothing can be changed, tasks "
            "continue",
            h->reachable, count, needed);
    else if (h->leader == NULL)
        problem_add(
            h, 0,
            "an election takes less than a second: repeat this command, then check their logs",
            "no master leads");
    else if (h->reachable == needed && count > 1)
        problem_add(h, 0, "bring one of the others back before anything else",
                    "%zu of %zu masters answer: losing one more stops the cell", h->reachable,
                    count);
}

static void look_at_reach(struct health *h, const struct cell_replica *replica,
                          const struct client_status *s)
{
    const char *why = s->why.msg;
    size_t n = strlen(replica->rpc); /* the message may begin with it */
    if (strncmp(why, replica->rpc, n) == 0 && strncmp(why + n, ": ", 2) == 0)
        why += n + 2;
    bool refused = strstr(why, "connection refused") != NULL;
    if (refused && s->ended[0] != '\0') {
        problem_add(h, replica->id,
                    "correct this, then `borgctl cell up`, or borgmaster on its host",
                    "replica %" PRIu64 " (%s) has ended: %s", replica->id, replica->rpc, s->ended);
        return;
    }
    const char *todo = "its host or the network is down, or the process hangs: check there";
    if (s->why.code == ERR_DENIED)
        todo = "it runs, but its certificate or yours is rejected: see `borgctl pki list` where "
               "the CA is, and its log";
    else if (refused)
        todo = "it is not running: start it with `borgctl cell up`, or borgmaster on its host; its "
               "log says why it ended";
    problem_add(h, replica->id, todo, "replica %" PRIu64 " (%s) cannot be reached: %s", replica->id,
                replica->rpc, why);
}

static void look_at_versions(struct health *h, const struct client_status *all, size_t count)
{
    for (size_t i = 0; i < count && h->best != NULL; i++) {
        const struct wire_status *s = &all[i].status;
        if (all[i].reachable && strcmp(s->version, h->best->status.version) != 0)
            problem_add(h, s->id, "complete the upgrade",
                        "replica %" PRIu64 " is version %s, %" PRIu64 " is %s", s->id, s->version,
                        h->best->status.id, h->best->status.version);
    }
}

void health_look(const struct cell_file *cell, const struct client_status *all, struct health *ret)
{
    struct health *h = ret;
    size_t count = cell->replica_count;
    *h = (struct health){0};
    find_best(h, all, count);
    look_at_quorum(h, cell, all);
    for (size_t i = 0; i < count; i++)
        if (all[i].reachable)
            look_at_digest(h, all, count, i);
    if (h->best != NULL && strcmp(h->best->status.hold, "on") == 0)
        problem_add(h, 0, "find the cause (a switch?); `borgctl cell release` ends the hold",
                    "so many machines became silent at once that none is declared down");
    for (size_t i = 0; i < count; i++)
        if (!all[i].reachable)
            look_at_reach(h, &cell->replicas[i], &all[i]);
    for (size_t i = 0; i < count; i++) {
        if (!all[i].reachable)
            continue;
        look_at_disk(h, &all[i].status);
        look_at_log(h, &all[i].status);
    }
    look_at_clocks(h, all, count);
    look_at_versions(h, all, count);
}

static bool cert_is_known(const struct health_certs *c, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (c->v[i].identity.role == c->v[at].identity.role &&
            strcmp(c->v[i].identity.name, c->v[at].identity.name) == 0)
            return true;
    return false;
}

static void cert_todo(const struct health_certs *c, const struct health_cert *cert, char *to,
                      size_t size)
{
    struct identity_text who = identity_text(&cert->identity);
    const char *name = cert->identity.role == ROLE_NONE ? "--ca" : who.text;
    if (c->can_renew)
        snprintf(to, size, "`%s %s`; no restart is needed", c->renew, name);
    else
        snprintf(to, size,
                 "where the CA's key is, run `borgctl pki renew %s`, then copy the files to where "
                 "they are used",
                 name);
}

static void look_at_cert(struct health *h, const struct health_certs *c,
                         const struct health_cert *cert)
{
    char todo[ERR_MSG_MAX];
    struct identity_text who = identity_text(&cert->identity);
    bool is_master = cert->identity.role == ROLE_MASTER;
    cert_todo(c, cert, todo, sizeof todo);
    problem_add(h, is_master ? strtoull(cert->identity.name, NULL, 10) : 0, todo,
                "the certificate of %s %s on %s",
                cert->identity.role == ROLE_NONE ? "the cell's CA" : who.text,
                cert->expires_ms <= c->now_ms ? "has expired" : "ends",
                tls_date(cert->expires_ms).text);
}

/* Return whether the certificate is reported. A certificate that ends together with the CA's is
 * not: the report on the CA covers it. */
static bool cert_is_reported(const struct health_certs *c, size_t at)
{
    const struct health_cert *cert = &c->v[at];
    bool soon = cert->expires_ms != 0 && cert->expires_ms <= c->now_ms + TLS_CERT_SOON_MS;
    bool by_ca =
        at > 0 && c->v[0].identity.role == ROLE_NONE && cert->expires_ms == c->v[0].expires_ms;
    return soon && !by_ca && !cert_is_known(c, at);
}

void health_look_at_certs(struct health *h, const struct health_certs *c)
{
    char todo[ERR_MSG_MAX];
    size_t reported = 0, more = (size_t)c->more_borglets;
    for (size_t i = 0; i < c->count; i++) {
        if (!cert_is_reported(c, i))
            continue;
        if (reported++ < HEALTH_CERTS_MAX)
            look_at_cert(h, c, &c->v[i]);
        else
            more++;
    }
    snprintf(todo, sizeof todo,
             c->can_renew ? "`%s`; no restart is needed"
                          : "where the CA's key is, run `%s`, then copy the files to where they "
                            "are used",
             c->can_renew ? c->renew : "borgctl pki renew");
    if (more > 0)
        problem_add(h, 0, todo,
                    "the certificates of %zu more holders have expired or expire within 30 days",
                    more);
}

void health_note_second(struct health *health, const char *names)
{
    problem_add(
        health, 0,
        "stop the second one, or give it a name and a --dir of its own; if the first is gone, "
        "wait until it is down",
        "a second borglet with the name of a connected one was refused: %.100s", names);
}

void health_note_sick(struct health *health, const char *names)
{
    problem_add(health, 0,
                "see `borgctl query \"SELECT * FROM event_list WHERE cause = "
                "'start-error'\"`, and check these machines",
                "tasks failed to start on machines that get none for a while: %.100s", names);
}
