/*
 * store_tables.c - which record is which table of cell.db, and the columns that are no fields.
 *
 * Columns and their documentation come from libcell/model/fields.c.
 */
#include "store_tables.h"

static const struct field limit_row_fields[] = {
    FIELD(limit_row, job.v, "job_id", .flags = FIELD_KEY),
    FIELD(limit_row, shape, "shape", .flags = FIELD_KEY | FIELD_FROM_ONE),
    FIELD_STRUCT(limit_row, limit, "limit", resources_record, .flags = FIELD_FLAT),
};
static const struct record limit_row_record = RECORD(limit_row, "limit", limit_row_fields);

static const char *job_state(const void *item)
{
    return job_state_text(item);
}

static int64_t job_dead(const void *item)
{
    return job_is_dead(item);
}

static const char *job_band(const void *item)
{
    return band_text(band_of(((const struct job *)item)->spec.priority));
}

static int64_t request_slot(const void *item)
{
    return (int64_t)(((const struct request_row *)item)->seq % CELL_REQUESTS_MAX);
}

static const struct sql_extra job_extras[] = {
    {.name = "state",
     .text = job_state,
     .doc = "pending, idle, running, stopping, finished, failed, killed"},
    {.name = "dead", .number = job_dead, .doc = "1: all its tasks have ended"},
    {.name = "band", .text = job_band, .doc = "free, batch, production, monitoring"},
};

static const struct sql_extra request_extras[] = {
    {.name = "slot", .number = request_slot, .doc = "seq modulo the size of the ring"},
};

#define EXTRAS(list) .extras = (list), .extra_count = ARRAY_SIZE(list)

const struct sql_table replicas_table = {
    .name = "replicas",
    .record = &master_record,
    .doc = "The masters. A replica that is joining may come with an empty directory; a member is "
           "counted on;\n"
           "one that is leaving disappears when the log goes on without it. Numbers are never used "
           "again.",
};

const struct sql_table machines_table = {
    .name = "machines",
    .record = &machine_record,
    .doc = "Machines stay, also when they are down, until they are removed: then the row has no "
           "name, and the\n"
           "next new machine gets it.",
};

const struct sql_table jobs_table = {
    .name = "jobs",
    .record = &job_record,
    EXTRAS(job_extras),
    .once = "name", /* an index is on it */
    .doc = "A dead job (all its tasks have ended) stays for a while and may share its name with a "
           "newer one:\n"
           "the one with the largest id is meant when somebody says the name.",
};

const struct sql_table job_limits_table = {
    .name = "job_limits",
    .record = &limit_row_record,
    .doc = "Other limits that tasks of a job may hold: those in jobs are shape 1, what else the "
           "job takes is\n"
           "2, 3, 4 in order of preference. From 5 on they are from before an update of the job: "
           "tasks that\n"
           "have not got the new one yet hold them, and some are left over.",
};

const struct sql_table tasks_table = {.name = "tasks", .record = &task_record};

const struct sql_table quotas_table = {
    .name = "quotas",
    .record = &quota_record,
    .doc = "What a user may have at once in a band; NULL: no bound. The user * stands for "
           "everybody who has\n"
           "no row of their own in the band.",
};

const struct sql_table identities_table = {
    .name = "identities",
    .record = &identity_row_record,
    .doc = "Rights of users, and identities whose certificates are revoked. An identity without "
           "either has no\n"
           "row; the user root always is an operator.",
};

const struct sql_table events_table = {
    .name = "events",
    .record = &event_record,
    .doc =
        "The history, the last million facts. Rows outlive the jobs they speak of. The detail of\n"
        "`waiting` is the reason; that of `assigned` is how the machine was chosen, as JSON:\n"
        "  among      \"all\" machines; \"woken\": those where something changed for the better; "
        "\"allocs\":\n"
        "             those of its set; \"its-own\"\n"
        "  alloc      the one it is in\n"
        "  shape      the one it has, when that is not the first\n"
        "  runner_up  the machine that was next\n"
        "  victims    tasks evicted for it: so many events before this one tell which\n"
        "  scores     objects, the first decides first: stage: [this machine, the next one], the "
        "sum\n"
        "             counts and the smaller is better",
};

const struct sql_table requests_table = {
    .name = "requests_private_rows",
    .record = &request_row_record,
    EXTRAS(request_extras),
    .key = "slot",
    .doc = "Answers given lately, so that a repeated command is answered and not carried out "
           "again. A ring: a\n"
           "new row takes the place of an old one. A command that may be older than all of them is "
           "refused.",
};

const struct sql_table *const store_tables[] = {
    &replicas_table, &machines_table,   &jobs_table,   &job_limits_table, &tasks_table,
    &quotas_table,   &identities_table, &events_table, &requests_table,
};
const uint32_t store_table_count = ARRAY_SIZE(store_tables);
