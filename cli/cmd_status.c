/*
 * cmd_status.c - cell status: problems first, then a table of the masters.
 */
#include "certs.h"
#include "clock.h"
#include "health.h"
#include "listing.h"
#include "replicas.h"
#include "text.h"

#include <stdlib.h>
#include <string.h>

/* The columns of a master; those without a title are for JSON only. */
enum status_field {
    FIELD_ID,
    FIELD_ADDR,
    FIELD_ROLE,
    FIELD_TERM,
    FIELD_APPLIED,
    FIELD_LAG,
    FIELD_DIGEST,
    FIELD_LINKS,
    FIELD_FREE,
    FIELD_SIZE,
    FIELD_STARTED,
    FIELD_CLOCK,
    FIELD_PID,
    FIELD_VERSION,
    FIELD_ERROR,
    FIELD_MARK_DIGEST,
    FIELD_NUMBERS, /* from here on in the order of `numbers` */
};

static const struct render_column kinds[FIELD_NUMBERS] = {
    [FIELD_ID] = {"id", "ID", RENDER_INTEGER},
    [FIELD_ADDR] = {"addr", "ADDRESS", RENDER_TEXT},
    [FIELD_ROLE] = {"role", "ROLE", RENDER_STATE},
    [FIELD_TERM] = {"term", "TERM", RENDER_INTEGER},
    [FIELD_APPLIED] = {"applied_index", "APPLIED", RENDER_INTEGER},
    [FIELD_LAG] = {"lag", "LAG", RENDER_INTEGER},
    [FIELD_DIGEST] = {"digest", "DIGEST", RENDER_TEXT}, /* JSON numbers have too few bits */
    [FIELD_LINKS] = {"links", "BORGLETS", RENDER_INTEGER},
    [FIELD_FREE] = {"disk_free_bytes", "DISK FREE", RENDER_BYTES},
    [FIELD_SIZE] = {"state_bytes", "SIZE", RENDER_BYTES},
    [FIELD_STARTED] = {"started_ms", "UP", RENDER_AGE},
    [FIELD_CLOCK] = {"clock", "CLOCK", RENDER_TEXT}, /* how far it is ahead of the others */
    [FIELD_PID] = {"pid", "PID", RENDER_INTEGER},
    [FIELD_VERSION] = {"version", NULL, RENDER_TEXT},
    [FIELD_ERROR] = {"error", NULL, RENDER_TEXT},
    [FIELD_MARK_DIGEST] = {"mark_digest", NULL, RENDER_TEXT},
};

static const struct {
    const char *key;
    size_t offset;
} numbers[] = {
    {"leader", offsetof(struct wire_status, leader)},
    {"last_index", offsetof(struct wire_status, last_index)},
    {"stored_index", offsetof(struct wire_status, stored_index)},
    {"commit_index", offsetof(struct wire_status, commit_index)},
    {"projected_index", offsetof(struct wire_status, projected_index)},
    {"snapshot_index", offsetof(struct wire_status, snapshot_index)},
    {"uptime_ms", offsetof(struct wire_status, uptime_ms)},
    {"mark_index", offsetof(struct wire_status, mark_index)},
    {"store_behind_ms", offsetof(struct wire_status, store_behind_ms)},
    {"disk_wait_ms", offsetof(struct wire_status, disk_wait_ms)},
    {"disk_silent_ms", offsetof(struct wire_status, disk_silent_ms)},
    {"disk_bytes", offsetof(struct wire_status, disk_bytes)},
    {"clock_ms", offsetof(struct wire_status, wall_ms)},
    {"cell_ms", offsetof(struct wire_status, cell_ms)},
    {"format", offsetof(struct wire_status, format)},
    {"format_known", offsetof(struct wire_status, format_known)},
};

enum { FIELD_COUNT = FIELD_NUMBERS + ARRAY_SIZE(numbers) };

/* The masters as rows, so that the renderer of the other lists can print them. */
struct table {
    struct wire_rows rows;
    const char *keys[FIELD_COUNT];
    struct render_column columns[FIELD_COUNT];
    struct wire_value values[CELL_REPLICAS_MAX * FIELD_COUNT];
    char digests[CELL_REPLICAS_MAX][2][24];
    char clocks[CELL_REPLICAS_MAX][24];
};

static struct wire_value integer(uint64_t n)
{
    return (struct wire_value){WIRE_INTEGER, (int64_t)n, 0, NULL};
}

static struct wire_value text(const char *text)
{
    return (struct wire_value){WIRE_TEXT, 0, 0, text};
}

static struct wire_value digest_text(uint64_t digest, char to[24])
{
    snprintf(to, 24, "%016" PRIx64, digest);
    return text(to);
}

static void row_fill(struct table *t, size_t at, const struct wire_status *s, uint64_t lag)
{
    struct wire_value *v = &t->values[at * FIELD_COUNT];
    v[FIELD_TERM] = integer(s->term);
    v[FIELD_APPLIED] = integer(s->applied_index);
    v[FIELD_LAG] = integer(lag);
    v[FIELD_DIGEST] = digest_text(s->digest, t->digests[at][0]);
    v[FIELD_LINKS] = integer(s->links);
    if (s->disk_bytes != 0) {
        v[FIELD_FREE] = integer(s->disk_free_bytes);
        v[FIELD_SIZE] = integer(s->state_bytes);
    }
    v[FIELD_STARTED] = integer(clock_wall_ms() - s->uptime_ms);
    v[FIELD_PID] = integer((uint64_t)s->pid);
    v[FIELD_VERSION] = text(s->version);
    if (s->mark_index != 0)
        v[FIELD_MARK_DIGEST] = digest_text(s->mark_digest, t->digests[at][1]);
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        uint64_t n;
        memcpy(&n, (const char *)s + numbers[i].offset, sizeof n);
        v[FIELD_NUMBERS + i] = integer(n);
    }
}

static void clock_text(int64_t ahead_ms, char to[24])
{
    int64_t s = ahead_ms / 1000;
    if (s >= 2 * 86400 || s <= -2 * 86400)
        snprintf(to, 24, "%+" PRId64 "d", s / 86400);
    else if (s >= 7200 || s <= -7200)
        snprintf(to, 24, "%+" PRId64 "h", s / 3600);
    else
        snprintf(to, 24, "%+.1fs", (double)ahead_ms / 1000);
}

static void table_fill(struct table *t, const struct client *c, const struct client_status *all,
                       const struct health *health)
{
    *t = (struct table){.rows = {.column_count = FIELD_COUNT,
                                 .row_count = (uint32_t)c->cell.replica_count,
                                 .columns = t->keys,
                                 .values = t->values}};
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        t->columns[i] = i < FIELD_NUMBERS ? kinds[i]
                                          : (struct render_column){numbers[i - FIELD_NUMBERS].key,
                                                                   NULL, RENDER_INTEGER};
        t->keys[i] = t->columns[i].key;
    }
    for (size_t i = 0; i < c->cell.replica_count; i++) {
        struct wire_value *v = &t->values[i * FIELD_COUNT];
        v[FIELD_ID] = integer(c->cell.replicas[i].id);
        v[FIELD_ADDR] = text(c->cell.replicas[i].rpc);
        v[FIELD_ROLE] = text(all[i].reachable ? all[i].status.role : "unreachable");
        if (!all[i].reachable) {
            v[FIELD_ERROR] = text(all[i].why.msg);
            continue;
        }
        row_fill(t, i, &all[i].status, health_lag(health, &all[i].status));
        clock_text(health_clock_ahead(all, c->cell.replica_count, i), t->clocks[i]);
        v[FIELD_CLOCK] = text(t->clocks[i]);
    }
}

static json_t *problems_json(const struct health *health)
{
    json_t *list = json_array();
    for (size_t i = 0; i < health->count; i++) {
        const struct health_problem *p = &health->problems[i];
        json_t *replica = p->replica != 0 ? json_integer((json_int_t)p->replica) : json_null();
        json_array_append_new(list, json_pack("{s:o, s:s, s:s}", "replica", replica, "what",
                                              p->what, "todo", p->todo));
    }
    return list;
}

static int status_json(const struct client *c, const struct table *t, const struct health *health,
                       struct err *err)
{
    const struct wire_status *best = health->best != NULL ? &health->best->status : NULL;
    json_t *replicas;
    int rv = render_json(&t->rows, t->columns, FIELD_COUNT, &replicas, err);
    if (rv < 0)
        return rv;
    json_t *leader =
        health->leader != NULL ? json_integer((json_int_t)health->leader->status.id) : json_null();
    json_t *o =
        json_pack("{s:s, s:o, s:b, s:o, s:o}", "cell", c->cell.name, "leader", leader, "healthy",
                  health->count == 0, "problems", problems_json(health), "replicas", replicas);
    const char *const keys[] = {"machines", "jobs", "pending", "policy", "hold", "format"};
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
        json_object_set_new(o, keys[i], json_null());
    if (best != NULL) {
        json_object_set_new(o, "machines", json_integer((json_int_t)best->machines));
        json_object_set_new(o, "jobs", json_integer((json_int_t)best->jobs));
        json_object_set_new(o, "pending", json_integer((json_int_t)best->pending));
        json_object_set_new(o, "policy", json_string(best->policy));
        json_object_set_new(o, "hold", json_string(best->hold));
        json_object_set_new(o, "format", json_integer((json_int_t)best->format));
    }
    render_json_print(stdout, o);
    return 0;
}

static void headline_print(const struct client *c, const struct client_status *all,
                           const struct health *health)
{
    const struct client_status *best = health->best;
    uint64_t links = 0;
    for (size_t i = 0; i < c->cell.replica_count; i++)
        links += all[i].reachable ? all[i].status.links : 0;
    print("cell %s: ", c->cell.name);
    if (health->leader != NULL)
        print("replica %" PRIu64 " leads", health->leader->status.id);
    else
        print("no leader");
    print(", %zu of %zu masters answer", health->reachable, c->cell.replica_count);
    if (best != NULL)
        print(", %" PRIu64 " of %" PRIu64 " borglets are connected, %" PRIu64 " jobs, %" PRIu64
              " tasks pending",
              links, best->status.machines, best->status.jobs, best->status.pending);
    print("\n");
    if (best != NULL && strcmp(best->status.hold, "released") == 0)
        print("it is released: silent machines are declared down, a few at a time\n");
    if (health->leader != NULL &&
        health->leader->status.format_next > health->leader->status.format)
        print("it uses format %" PRIu64 ", and all masters know format %" PRIu64
              ": `borgctl cell upgrade` when no older release is to come back\n",
              health->leader->status.format, health->leader->status.format_next);
}

static int status_print(const struct client *c, const struct client_status *all,
                        const struct table *t, const struct health *health, struct err *err)
{
    struct render_options options = listing_render_options();
    CLEANUP(buf_release) struct buf line = {0};
    headline_print(c, all, health);
    print("\n");
    for (size_t i = 0; i < health->count; i++) {
        buf_clear(&line);
        text_escape(&line, health->problems[i].what); /* it may contain text of a peer */
        print("!! %s\n   %s\n", buf_text(&line), health->problems[i].todo);
    }
    if (health->count > 0)
        print("\n");
    return render_table(stdout, &t->rows, t->columns, FIELD_COUNT, &options, err);
}

/* Collect the certificates seen on connections, then the files beside the CA for all others. */
static size_t certs_collect(const struct client *c, const struct client_status *all,
                            const struct certs *files, struct health_cert *to)
{
    size_t n = 0;
    to[n++] = (struct health_cert){.expires_ms = tls_context_ca_expires_ms(c->tls)};
    to[n++] =
        (struct health_cert){*tls_context_identity(c->tls), tls_context_cert(c->tls)->expires_ms};
    for (size_t i = 0; i < c->cell.replica_count; i++) {
        struct health_cert *cert = &to[n];
        if (all[i].cert_expires_ms == 0)
            continue;
        *cert = (struct health_cert){{.role = ROLE_MASTER}, all[i].cert_expires_ms};
        snprintf(cert->identity.name, sizeof cert->identity.name, "%" PRIu64,
                 c->cell.replicas[i].id);
        n++;
    }
    for (size_t i = 0; i < c->cell.replica_count; i++) {
        const struct wire_status *s = &all[i].status;
        if (!all[i].reachable || s->certs_soon == 0)
            continue;
        to[n] = (struct health_cert){{.role = ROLE_BORGLET}, s->cert_first_ms};
        str_copy(to[n].identity.name, sizeof to[n].identity.name, s->cert_first);
        n++;
    }
    for (size_t i = 0; i < files->count; i++)
        if (files->files[i].cert.identity.role != ROLE_NONE)
            to[n++] = (struct health_cert){files->files[i].cert.identity,
                                           files->files[i].cert.expires_ms};
    return n;
}

static void certs_look(const struct client *c, const struct client_status *all,
                       struct health *health)
{
    CLEANUP(certs_release) struct certs files = {0};
    char renew[CELL_PATH_MAX + 64], dir[CELL_PATH_MAX + 1];
    struct err err; /* if the directory is not readable, the certificates seen have to do */
    (void)!certs_read(&c->cell, &files, &err);
    CLEANUP(free_ptr)
    struct health_cert *certs = xcalloc(files.count + 2 * CELL_REPLICAS_MAX + 2, sizeof *certs);
    str_copy(dir, sizeof dir, c->cell_path);
    char *slash = strrchr(dir, '/');
    if (slash != NULL)
        *slash = '\0';
    snprintf(renew, sizeof renew, "borgctl pki renew --dir %s", slash != NULL ? dir : ".");
    struct health_certs look = {.now_ms = clock_wall_ms(),
                                .v = certs,
                                .count = certs_collect(c, all, &files, certs),
                                .renew = renew,
                                .can_renew = files.has_ca_key};
    for (size_t i = 0; i < c->cell.replica_count && !files.has_ca_key; i++)
        if (all[i].reachable && all[i].status.certs_soon > 1)
            look.more_borglets += all[i].status.certs_soon - 1;
    health_look_at_certs(health, &look);
}

/* List a few machines that meet the condition; "" if there is none. */
static void machines_matching(struct client *client, const char *condition, struct buf *to)
{
    enum { NAMES_MAX = 5 };
    struct wire_rows rows;
    struct err err;
    if (client_queryf(client, &rows, &err,
                      "SELECT machine FROM machine_list WHERE %s ORDER BY machine LIMIT %d",
                      condition, NAMES_MAX + 1) < 0)
        return; /* look_at_reach() reports replicas that do not answer */
    for (uint32_t i = 0; i < MIN(rows.row_count, (uint32_t)NAMES_MAX); i++)
        buf_printf(to, "%s%s", i == 0 ? "" : ", ", render_text(&rows, i, "machine"));
    buf_printf(to, rows.row_count > NAMES_MAX ? ", ..." : "");
    wire_rows_release(&rows);
}

static void look_at_machines(struct client *client, struct health *health)
{
    CLEANUP(buf_release) struct buf second = {0}, sick = {0};
    if (health->leader == NULL)
        return;
    machines_matching(client, "rival_ms > (SELECT now_ms FROM meta) - 120000", &second);
    machines_matching(client, "sick_until_ms > 0", &sick);
    if (second.size > 0)
        health_note_second(health, buf_text(&second));
    if (sick.size > 0)
        health_note_sick(health, buf_text(&sick));
}

int cmd_cell_status(struct cli *cli)
{
    CLEANUP(client_close_ptr) struct client *client = NULL;
    struct client_status all[CELL_REPLICAS_MAX];
    struct err err;
    if (client_open(cli, &client, &err) < 0)
        return cli_fail(&err);
    CLEANUP(free_ptr) struct table *table = xcalloc(1, sizeof *table);
    CLEANUP(free_ptr) struct health *health = xcalloc(1, sizeof *health);
    replicas_ask(client, all);
    replicas_read_ended(client, all);
    health_look(&client->cell, all, health);
    certs_look(client, all, health);
    look_at_machines(client, health);
    table_fill(table, client, all, health);
    int rv = cli->output == OUTPUT_JSON ? status_json(client, table, health, &err)
                                        : status_print(client, all, table, health, &err);
    if (rv < 0)
        return cli_fail(&err);
    if (health->leader == NULL)
        return CLI_UNREACHABLE;
    return health->count == 0 ? CLI_OK : CLI_UNHEALTHY;
}
