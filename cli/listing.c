/*
 * listing.c - SQL and columns of the lists; fetch them page by page.
 */
#include "listing.h"
#include "clock.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

/* A dead job keeps its rows for a while after its name was used again: the newest one counts. */
#define NEWEST "(SELECT max(id) FROM jobs n WHERE n.name = j.name)"

struct listing_info {
    const char *sql; /* %s: which job; %lld %lld: the key to begin after; %d: rows */
    const char *key, *key2;
    const char *name; /* the column that a job's name is compared with */
    const struct render_column *columns;
    size_t column_count;
};

static const struct render_column job_columns[] = {
    {"job", "JOB", RENDER_TEXT},
    {"user", "USER", RENDER_TEXT},
    {"priority", "PRIO", RENDER_INTEGER},
    {"band", "BAND", RENDER_TEXT},
    {"state", "STATE", RENDER_STATE},
    {"replicas", "TASKS", RENDER_INTEGER},
    {"running", "RUN", RENDER_INTEGER},
    {"pending", "PEND", RENDER_INTEGER},
    {"assigned", NULL, RENDER_INTEGER},
    {"stopping", NULL, RENDER_INTEGER},
    {"finished", "DONE", RENDER_INTEGER},
    {"failed", "FAIL", RENDER_INTEGER},
    {"killed", NULL, RENDER_INTEGER},
    {"cpu_milli", "CPU", RENDER_MILLI},
    {"ram_bytes", "RAM", RENDER_BYTES},
    {"disk_bytes", NULL, RENDER_BYTES},
    {"ports", NULL, RENDER_INTEGER},
    {"appclass", NULL, RENDER_TEXT},
    {"policy", NULL, RENDER_TEXT},
    {"changed_ms", NULL, RENDER_TIME},
    {"command", NULL, RENDER_TEXT},
    {"dead", NULL, RENDER_INTEGER},
    {"job_id", NULL, RENDER_INTEGER},
    {"disrupted", NULL, RENDER_INTEGER},
    {"max_disruptions", NULL, RENDER_INTEGER},
    {"gang", NULL, RENDER_INTEGER},
    {"every_machine", NULL, RENDER_INTEGER},
    {"unwanted", NULL, RENDER_INTEGER},
    {"unconfirmed", NULL, RENDER_INTEGER},
    {"gpu_milli", "?GPU", RENDER_MILLI},
    {"named", "?OTHER", RENDER_PAIRS},
    {"alloc_set", "?IN", RENDER_TEXT},
    {"is_alloc_set", NULL, RENDER_INTEGER},
    {"other_limits", NULL, RENDER_JSON},
    {"submitted_ms", "AGE", RENDER_AGE},
    {"reason", "REASON", RENDER_TEXT},
};

static const struct render_column task_columns[] = {
    {"job", NULL, RENDER_TEXT},
    {"index", NULL, RENDER_INTEGER},
    {"task", "TASK", RENDER_TEXT},
    {"user", NULL, RENDER_TEXT},
    {"priority", "PRIO", RENDER_INTEGER},
    {"state", "STATE", RENDER_STATE},
    {"attempt", "ATTEMPT", RENDER_INTEGER},
    {"failures", "FAILURES", RENDER_INTEGER},
    {"misstarts", NULL, RENDER_INTEGER},
    {"crashed_on", NULL, RENDER_TEXT},
    {"machine", "MACHINE", RENDER_TEXT},
    {"alloc", "?ALLOC", RENDER_TEXT},
    {"shape", NULL, RENDER_INTEGER},
    {"cpu_milli", "CPU", RENDER_MILLI},
    {"ram_bytes", "RAM", RENDER_BYTES},
    {"disk_bytes", NULL, RENDER_BYTES},
    {"pid", "PID", RENDER_INTEGER},
    {"ports", "PORTS", RENDER_JSON},
    {"gpus", "?GPUS", RENDER_JSON},
    {"used_cpu", "?CPU USED", RENDER_MILLI},
    {"kept_cpu", "?CPU KEPT", RENDER_MILLI},
    {"used_ram", "?RAM USED", RENDER_BYTES},
    {"kept_ram", "?RAM KEPT", RENDER_BYTES},
    {"cause", "CAUSE", RENDER_TEXT},
    {"exit_code", "EXIT", RENDER_INTEGER},
    {"started_ms", NULL, RENDER_TIME},
    {"not_before_ms", NULL, RENDER_TIME},
    {"changed_ms", NULL, RENDER_TIME},
    {"since_ms", "AGE", RENDER_AGE},
    {"job_id", NULL, RENDER_INTEGER},
};

static const struct render_column machine_columns[] = {
    {"machine", "MACHINE", RENDER_TEXT},
    {"state", "STATE", RENDER_STATE},
    {"tasks", "TASKS", RENDER_INTEGER},
    {"cpu_capacity", "CPU", RENDER_MILLI},
    {"cpu_reserved", NULL, RENDER_MILLI},
    {"cpu_used", "?USED", RENDER_MILLI},
    {"cpu_reclaimed", "?RECLAIMED", RENDER_MILLI},
    {"cpu_free", "FREE", RENDER_MILLI},
    {"ram_capacity", "RAM", RENDER_BYTES},
    {"ram_reserved", NULL, RENDER_BYTES},
    {"ram_used", "?USED", RENDER_BYTES},
    {"ram_reclaimed", "?RECLAIMED", RENDER_BYTES},
    {"ram_free", "FREE", RENDER_BYTES},
    {"disk_capacity", "DISK", RENDER_BYTES},
    {"disk_reserved", NULL, RENDER_BYTES},
    {"disk_free", "FREE", RENDER_BYTES},
    {"ports_capacity", "PORTS", RENDER_INTEGER},
    {"ports_reserved", NULL, RENDER_INTEGER},
    {"ports_free", "FREE", RENDER_INTEGER},
    {"changed_ms", NULL, RENDER_TIME},
    {"unconfirmed", "?LEFT THERE", RENDER_INTEGER},
    {"sick_until_ms", NULL, RENDER_TIME},
    {"second_refused_ms", NULL, RENDER_TIME},
    {"gpu_capacity", "?GPU", RENDER_MILLI},
    {"gpu_reserved", NULL, RENDER_MILLI},
    {"gpu_free", "?FREE", RENDER_MILLI},
    {"named_capacity", "?OTHER", RENDER_PAIRS},
    {"named_free", "?FREE", RENDER_PAIRS},
    {"machine_id", NULL, RENDER_INTEGER},
    {"addr", "ADDRESS", RENDER_TEXT},
    {"attributes", "ATTRIBUTES", RENDER_JSON},
};

static const struct render_column event_columns[] = {
    {"seq", NULL, RENDER_INTEGER},          {"time_ms", "TIME", RENDER_TIME},
    {"kind", "EVENT", RENDER_STATE},        {"job", NULL, RENDER_TEXT},
    {"index", NULL, RENDER_INTEGER},        {"task", "OF", RENDER_TEXT},
    {"attempt", "ATTEMPT", RENDER_INTEGER}, {"machine", "MACHINE", RENDER_TEXT},
    {"cause", "CAUSE", RENDER_TEXT},        {"exit_code", "EXIT", RENDER_INTEGER},
    {"detail", "DETAIL", RENDER_TEXT},      {"decision", NULL, RENDER_JSON},
};

static const struct render_column quota_columns[] = {
    {"user", "USER", RENDER_TEXT},      {"band", "BAND", RENDER_TEXT},
    {"by", "BY", RENDER_TEXT},          {"tasks_used", "TASKS", RENDER_INTEGER},
    {"tasks", "OF", RENDER_INTEGER},    {"cpu_used_milli", "CPU", RENDER_MILLI},
    {"cpu_milli", "OF", RENDER_MILLI},  {"ram_used_bytes", "RAM", RENDER_BYTES},
    {"ram_bytes", "OF", RENDER_BYTES},  {"disk_used_bytes", "DISK", RENDER_BYTES},
    {"disk_bytes", "OF", RENDER_BYTES}, {"ports_used", "PORTS", RENDER_INTEGER},
    {"ports", "OF", RENDER_INTEGER},    {"gpu_used_milli", "?GPU", RENDER_MILLI},
    {"gpu_milli", "?OF", RENDER_MILLI}, {"named_used", "?OTHER", RENDER_PAIRS},
    {"named", "?OF", RENDER_PAIRS},
};

static const struct render_column alloc_columns[] = {
    {"alloc", "ALLOC", RENDER_TEXT},      {"user", "USER", RENDER_TEXT},
    {"priority", "PRIO", RENDER_INTEGER}, {"state", "STATE", RENDER_STATE},
    {"machine", "MACHINE", RENDER_TEXT},  {"cause", "CAUSE", RENDER_TEXT},
    {"tasks", "TASKS", RENDER_INTEGER},   {"cpu_used_milli", "CPU", RENDER_MILLI},
    {"cpu_milli", "OF", RENDER_MILLI},    {"ram_used_bytes", "RAM", RENDER_BYTES},
    {"ram_bytes", "OF", RENDER_BYTES},    {"disk_used_bytes", "DISK", RENDER_BYTES},
    {"disk_bytes", "OF", RENDER_BYTES},   {"ports_used", "PORTS", RENDER_INTEGER},
    {"ports", "OF", RENDER_INTEGER},      {"gpu_used_milli", "?GPU", RENDER_MILLI},
    {"gpu_milli", "?OF", RENDER_MILLI},   {"alloc_set", NULL, RENDER_TEXT},
    {"index", NULL, RENDER_INTEGER},      {"job_id", NULL, RENDER_INTEGER},
};

static const struct render_column identity_columns[] = {
    {"identity", "IDENTITY", RENDER_TEXT},     {"rights", "RIGHTS", RENDER_TEXT},
    {"revoked_ms", "REVOKED", RENDER_TIME},    {"changed_ms", "CHANGED", RENDER_TIME},
    {"changed_by", "CHANGED BY", RENDER_TEXT},
};

#define COLUMNS(c) .columns = (c), .column_count = ARRAY_SIZE(c)

static const struct listing_info lists[LISTING_KIND_COUNT] = {
    /* A command may have 32 KiB: the list contains its beginning, `job` prints all of it. */
    [LISTING_JOBS] = {"SELECT l.job, l.user, l.priority, l.band, l.state, "
                      "l.replicas - l.unwanted AS replicas, l.pending, "
                      "l.assigned, l.running, l.stopping, l.finished, l.failed, l.killed, "
                      "l.cpu_milli, l.ram_bytes, l.disk_bytes, l.ports, l.appclass, l.policy, "
                      "l.submitted_ms, l.changed_ms, l.dead, l.job_id, l.reason, "
                      "l.disrupted, l.max_disruptions, l.gang, l.every_machine, l.unwanted, "
                      "l.unconfirmed, "
                      "l.gpu_milli, l.named, nullif(l.alloc_set, '') AS alloc_set, "
                      "l.is_alloc_set, "
                      "(SELECT json_group_array(json_object('shape', shape, 'cpu_milli', "
                      "cpu_milli, 'ram_bytes', ram_bytes, 'disk_bytes', disk_bytes, 'gpu_milli', "
                      "gpu_milli)) FROM job_limits x WHERE x.job_id = l.job_id AND x.shape <= 4) "
                      "AS other_limits, "
                      "substr(l.command, 1, 200) AS command "
                      "FROM job_list l JOIN jobs j ON j.id = l.job_id WHERE j.id = " NEWEST
                      " %s AND (j.id, 0) > (%lld, %lld) ORDER BY j.id LIMIT %d",
                      "job_id", NULL, "j.name", COLUMNS(job_columns)},
    [LISTING_TASKS] =
        {"SELECT t.job, t.idx AS \"index\", t.task, t.user, t.priority, t.state, "
         "t.attempt, t.failures, t.misstarts, t.crashed_on, t.machine, t.shape, t.cpu_milli, "
         "t.ram_bytes, "
         "t.disk_bytes, nullif(t.pid, 0) AS pid, t.ports, "
         "t.cause, "
         "CASE WHEN t.cause <> '' THEN t.exit_code END AS exit_code, "
         "nullif(t.started_ms, 0) AS started_ms, nullif(t.not_before_ms, 0) AS "
         "not_before_ms, t.changed_ms, t.job_id, t.gpus, t.alloc, "
         "iif(t.started_ms > 0, t.started_ms, t.changed_ms) AS since_ms, "
         "t.used_cpu_milli AS used_cpu, t.used_ram_bytes AS used_ram, "
         "CASE WHEN t.used_ram_bytes > 0 THEN t.kept_cpu_milli END AS kept_cpu, "
         "CASE WHEN t.used_ram_bytes > 0 THEN t.kept_ram_bytes END AS kept_ram FROM jobs j JOIN "
         "task_list t ON "
         "t.job_id = j.id WHERE j.id = " NEWEST
         " AND t.state <> 'unwanted' AND (t.idx < j.replicas OR t.state NOT IN ('finished', "
         "'failed', 'killed'))"
         " %s AND (t.job_id, t.idx) > (%lld, %lld) ORDER BY t.job_id, t.idx LIMIT %d",
         "job_id", "index", "j.name", COLUMNS(task_columns)},
    [LISTING_MACHINES] =
        {"SELECT m.name AS machine, m.addr, l.state, l.tasks, m.cpu_milli AS cpu_capacity, "
         "reserved_cpu_milli AS cpu_reserved, cpu_free_milli AS cpu_free, "
         "m.ram_bytes AS ram_capacity, reserved_ram_bytes AS ram_reserved, "
         "m.used_cpu_milli AS cpu_used, m.reclaimed_cpu_milli AS cpu_reclaimed, "
         "m.used_ram_bytes AS ram_used, m.reclaimed_ram_bytes AS ram_reclaimed, "
         "ram_free_bytes AS ram_free, m.disk_bytes AS disk_capacity, "
         "reserved_disk_bytes AS disk_reserved, disk_free_bytes AS disk_free, "
         "m.ports AS ports_capacity, reserved_ports AS ports_reserved, ports_free, "
         "m.gpu_milli AS gpu_capacity, reserved_gpu_milli AS gpu_reserved, "
         "gpu_free_milli AS gpu_free, named AS named_capacity, named_free, m.changed_ms, "
         "nullif(m.unconfirmed, 0) AS unconfirmed, nullif(m.sick_until_ms, 0) AS sick_until_ms, "
         "nullif(m.rival_ms, 0) AS second_refused_ms, "
         "id AS machine_id, (SELECT json_group_object(key, value) "
         "FROM machine_attributes a WHERE a.machine_id = m.id) AS attributes "
         "FROM machines m JOIN machine_list l ON l.machine_id = m.id WHERE true %s "
         "AND (id, 0) > (%lld, %lld) ORDER BY id LIMIT %d",
         "machine_id", NULL, "m.name", COLUMNS(machine_columns)},
    [LISTING_EVENTS] =
        {"SELECT * FROM (SELECT seq, time_ms, kind, job, idx AS \"index\", task, "
         "nullif(attempt, 0) AS attempt, machine, cause, CASE WHEN kind IN "
         "('finished', 'failed', 'evicted', 'lost', 'killed') AND cause <> '' THEN "
         "exit_code END AS exit_code, CASE WHEN kind = 'assigned' THEN '' ELSE detail "
         "END AS detail, CASE WHEN kind = 'assigned' THEN detail END AS decision "
         "FROM event_list WHERE true %s "
         "AND (seq, 0) > (%lld, %lld) ORDER BY seq DESC LIMIT %d) ORDER BY seq",
         "seq", NULL, "job", COLUMNS(event_columns)},
    [LISTING_QUOTAS] = {"SELECT * FROM (SELECT row_number() OVER () AS n, * FROM quota_list) "
                        "WHERE true %s AND (n, 0) > (%lld, %lld) ORDER BY n LIMIT %d",
                        "n", NULL, "user", COLUMNS(quota_columns)},
    [LISTING_ALLOCS] = {"SELECT *, idx AS \"index\" FROM alloc_list WHERE true %s "
                        "AND (job_id, idx) > (%lld, %lld) ORDER BY job_id, idx LIMIT %d",
                        "job_id", "index", "alloc_set", COLUMNS(alloc_columns)},
    [LISTING_IDENTITIES] =
        {"SELECT * FROM (SELECT row_number() OVER () AS n, identity, rtrim(iif(operator, "
         "'operator ', '') || iif(reader, 'reader ', '') || iif(production, 'production ', '') || "
         "iif(monitoring, 'monitoring', '')) AS rights, nullif(revoked_ms, 0) AS revoked_ms, "
         "changed_ms, changed_by FROM (SELECT * FROM identities ORDER BY identity)) "
         "WHERE true %s AND (n, 0) > (%lld, %lld) ORDER BY n LIMIT %d",
         "n", NULL, "identity", COLUMNS(identity_columns)},
};

void listing_release(struct listing *list)
{
    for (size_t i = 0; i < list->page_count; i++)
        free(list->texts[i]);
    free(list->texts);
    wire_rows_release(&list->rows);
    *list = (struct listing){0};
}

/* Move a page's rows to the end of the list; their texts stay where they are. */
static void listing_take_page(struct listing *list, struct wire_rows *page)
{
    struct wire_rows *all = &list->rows;
    list->texts = xrealloc(list->texts, list->page_count + 1, sizeof *list->texts);
    list->texts[list->page_count++] = page->bytes;
    page->bytes = NULL;
    if (list->page_count == 1) {
        *all = *page;
        return;
    }
    ASSERT(all->column_count == page->column_count);
    size_t old = (size_t)all->row_count * all->column_count;
    size_t more = (size_t)page->row_count * page->column_count;
    all->values = xrealloc(all->values, MAX(old + more, 1), sizeof *all->values);
    if (more > 0)
        memcpy(all->values + old, page->values, more * sizeof *page->values);
    all->row_count += page->row_count;
    wire_rows_release(page);
}

/* Fetch one page. A condition on the name is formatted into the SQL only if needed, and not passed
 * as a parameter, so that SQLite can choose the right index. */
static int page_query(struct client *client, enum listing_kind kind, const char *job, int64_t index,
                      const int64_t key[2], int rows_max, struct wire_rows *ret, struct err *err)
{
    char *condition = job == NULL  ? sqlite3_mprintf("")
                      : index >= 0 ? sqlite3_mprintf("AND %s = %Q AND idx = %lld", lists[kind].name,
                                                     job, (long long)index)
                                   : sqlite3_mprintf("AND %s = %Q", lists[kind].name, job);
    if (condition == NULL)
        PANIC("out of memory for a query");
    int r = client_queryf(client, ret, err, lists[kind].sql, condition, (long long)key[0],
                          (long long)key[1], rows_max);
    sqlite3_free(condition);
    return r;
}

int listing_fetch(struct client *client, enum listing_kind kind, const char *job,
                  struct listing *ret, struct err *err)
{
    const struct listing_info *info = &lists[kind];
    int64_t key[2] = {0, -1};
    uint32_t count;
    *ret = (struct listing){0};
    ASSERT(kind != LISTING_EVENTS);
    do {
        struct wire_rows page;
        if (page_query(client, kind, job, -1, key, LISTING_PAGE_ROWS, &page, err) < 0) {
            listing_release(ret);
            return -(int)err->code;
        }
        count = page.row_count;
        if (count > 0) {
            key[0] = render_integer(&page, count - 1, info->key);
            /* a key of one column is compared as (key, 0) */
            key[1] = info->key2 != NULL ? render_integer(&page, count - 1, info->key2) : 0;
        }
        listing_take_page(ret, &page);
    } while (count == LISTING_PAGE_ROWS);
    return 0;
}

int listing_events(struct client *client, const char *job, int64_t index, uint64_t seq_after,
                   uint64_t count_max, struct listing *ret, struct err *err)
{
    struct wire_rows page;
    *ret = (struct listing){0};
    const int64_t key[2] = {(int64_t)seq_after, 0};
    if (page_query(client, LISTING_EVENTS, job, index, key, (int)count_max, &page, err) < 0)
        return -(int)err->code;
    listing_take_page(ret, &page);
    return 0;
}

struct render_options listing_render_options(void)
{
    return (struct render_options){.now_ms = clock_wall_ms(),
                                   .colors = render_colors_wanted(stdout)};
}

int listing_json(enum listing_kind kind, const struct listing *list, json_t **ret, struct err *err)
{
    return render_json(&list->rows, lists[kind].columns, lists[kind].column_count, ret, err);
}

int listing_print(const struct cli *cli, enum listing_kind kind, const struct listing *list,
                  bool single, struct err *err)
{
    json_t *array;
    if (cli->output == OUTPUT_TABLE) {
        struct render_options options = listing_render_options();
        return render_table(stdout, &list->rows, lists[kind].columns, lists[kind].column_count,
                            &options, err);
    }
    if (listing_json(kind, list, &array, err) < 0)
        return -(int)err->code;
    if (single && json_array_size(array) == 1) {
        json_t *one = json_incref(json_array_get(array, 0));
        json_decref(array);
        array = one;
    }
    render_json_print(stdout, array);
    return 0;
}

int listing_command(struct client *client, int64_t id, char **ret, char **ret_labels,
                    struct err *err)
{
    struct wire_rows rows;
    if (client_queryf(client, &rows, err,
                      "SELECT command, json_extract(spec_json, '$.labels') AS labels FROM "
                      "job_specs WHERE job_id = %lld",
                      (long long)id) < 0)
        return -(int)err->code;
    const struct wire_value *command = render_cell(&rows, 0, "command");
    *ret = command != NULL && command->type == WIRE_TEXT ? xstrdup(command->text) : NULL;
    const char *labels = render_text(&rows, 0, "labels");
    *ret_labels = strlen(labels) > strlen("{}") ? xstrdup(labels) : NULL;
    wire_rows_release(&rows);
    return 0;
}

int listing_job_id(struct client *client, const char *job, int64_t *ret, struct err *err)
{
    struct wire_rows rows;
    if (client_queryf(client, &rows, err, "SELECT max(id) AS id FROM jobs WHERE name = %Q", job) <
        0)
        return -(int)err->code;
    *ret = render_integer(&rows, 0, "id");
    wire_rows_release(&rows);
    if (*ret == 0)
        return err_set(err, ERR_NOT_FOUND, "there is no job \"%.80s\"; `borgctl jobs` lists them",
                       job);
    return 0;
}
