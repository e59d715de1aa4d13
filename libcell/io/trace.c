/*
 * trace.c - reading workloads line by line.
 */
#include "trace.h"

#include "attributes.h"
#include "idmap.h"
#include "spec.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

static const char machines_header[] =
    "machine_id,cpu_milli,ram_mib,disk_mib,gpu_milli,attributes,failure_domain";
static const char tasks_header[] = "job_id,task_index,priority,qos,arrival_s,duration_s,cpu_milli,"
                                   "ram_mib,disk_mib,gpu_milli,constraints";

enum { FIELDS_MAX = 11, ID_TEXT_MAX = 60 };

struct reader {
    gzFile file;
    const char *path;
    const char *header;
    uint32_t line; /* counted from 1 */
    char text[TRACE_LINE_MAX + 2];
    char *fields[FIELDS_MAX];
    size_t field_count; /* as many as the header has */
};

static void reader_close(struct reader *r)
{
    if (r->file != NULL)
        gzclose(r->file);
    r->file = NULL;
}

static int refuse(const struct reader *r, struct err *err, const char *what)
{
    return err_set(err, ERR_INVALID, "%s:%" PRIu32 ": %s", r->path, r->line, what);
}

/* Return the first character of a file, without the byte order mark that spreadsheets write. */
static int first_character(struct reader *r)
{
    int c = gzgetc(r->file);
    if (c != 0xef)
        return c;
    return gzgetc(r->file) == 0xbb && gzgetc(r->file) == 0xbf ? gzgetc(r->file) : 0xef;
}

/* Return a character of a line; "\r\n", as spreadsheets write it, counts as one '\n'. */
static int next_character(struct reader *r)
{
    int c = gzgetc(r->file);
    if (c != '\r')
        return c;
    int after = gzgetc(r->file);
    if (after != '\n' && after != -1)
        gzungetc(after, r->file);
    return after == '\n' ? '\n' : '\r';
}

/* Read the next line without its end; *ret_end when there is none. */
static int read_line(struct reader *r, bool *ret_end, struct err *err)
{
    size_t size = 0;
    r->line++;
    *ret_end = false;
    int c = r->line == 1 ? first_character(r) : next_character(r);
    for (; c != -1 && c != '\n'; c = next_character(r)) {
        if (size >= TRACE_LINE_MAX)
            return err_set(err, ERR_INVALID, "%s:%" PRIu32 ": a line of more than %d bytes",
                           r->path, r->line, TRACE_LINE_MAX);
        if (c < ' ' || c > '~')
            return err_set(err, ERR_INVALID,
                           "%s:%" PRIu32 ": byte 0x%02x: only printable ASCII is accepted", r->path,
                           r->line, (unsigned)c);
        r->text[size++] = (char)c;
    }
    r->text[size] = '\0';
    if (c != -1)
        return 0;
    int code = Z_OK;
    const char *message = gzerror(r->file, &code);
    if (code != Z_OK)
        return err_set(err, ERR_IO, "%s:%" PRIu32 ": cannot read further: %s", r->path, r->line,
                       code == Z_ERRNO ? strerror(errno) : message);
    if (size > 0)
        return refuse(r, err, "the file ends in the middle of a line (no '\\n')");
    *ret_end = true;
    return 0;
}

static int split(struct reader *r, struct err *err)
{
    size_t count = 0;
    char *rest = r->text;
    for (char *field; (field = strsep(&rest, ",")) != NULL; count++)
        if (count < r->field_count)
            r->fields[count] = field;
    if (count != r->field_count)
        return err_set(err, ERR_INVALID, "%s:%" PRIu32 ": %zu fields, expected %zu (%s)", r->path,
                       r->line, count, r->field_count, r->header);
    return 0;
}

static int open_reader(struct reader *r, const char *path, const char *header, struct err *err)
{
    bool end;
    *r = (struct reader){.path = path, .header = header, .field_count = 1};
    for (const char *p = header; *p != '\0'; p++)
        r->field_count += *p == ',';
    ASSERT(r->field_count <= FIELDS_MAX);
    errno = 0;
    r->file = gzopen(path, "r");
    if (r->file == NULL)
        return err_errno(err, errno == 0 ? ENOMEM : errno, "cannot open %s", path);
    gzbuffer(r->file, 1 << 16);
    int rc = read_line(r, &end, err);
    if (rc != 0)
        return rc;
    if (end || strcmp(r->text, header) != 0)
        return err_set(err, ERR_INVALID, "%s:1: the first line must be %s", path, header);
    return 0;
}

/* Parse an integer from `min` to `max`: digits only (and a '-' where min is below 0). */
static int number(const struct reader *r, size_t field, const char *name, int64_t min, int64_t max,
                  int64_t *ret, struct err *err)
{
    const char *text = r->fields[field];
    const char *digits = text[0] == '-' && min < 0 ? text + 1 : text;
    char *end = NULL;
    errno = 0;
    *ret = strtoll(text, &end, 10);
    bool right = digits[0] >= '0' && digits[0] <= '9' && *end == '\0' && errno == 0;
    if (!right || *ret < min || *ret > max)
        return err_set(err, ERR_INVALID,
                       "%s:%" PRIu32 ": %s: \"%.40s\" is not a whole number from %" PRId64
                       " to %" PRId64,
                       r->path, r->line, name, text, min, max);
    return 0;
}

static int identity(const struct reader *r, size_t field, const char *name, char *to,
                    struct err *err)
{
    const char *text = r->fields[field];
    if (!name_valid(text) || strlen(text) > TRACE_ID_MAX)
        return err_set(err, ERR_INVALID,
                       "%s:%" PRIu32 ": %s: \"%.*s\" is not 1 to %d of a-z 0-9 . _ - starting with "
                       "a letter or a digit",
                       r->path, r->line, name, ID_TEXT_MAX, text, TRACE_ID_MAX);
    str_copy(to, TRACE_ID_MAX + 1, text);
    return 0;
}

/* Parse "k=v;k=v" in any order, and the failure domain. */
static int machine_attributes(const struct reader *r, struct words *ret, struct err *err)
{
    char key[CELL_NAME_MAX + 1];
    const char *value;
    char *rest = r->fields[5][0] == '\0' ? NULL : r->fields[5];
    for (char *text; (text = strsep(&rest, ";")) != NULL;) {
        if (attribute_parse(text, key, &value, err) != 0)
            return err_wrap(err, "%s:%" PRIu32 ": attributes", r->path, r->line);
        if (attributes_get(ret, key) != NULL || strcmp(key, TRACE_FAILURE_DOMAIN) == 0)
            return err_set(err, ERR_INVALID, "%s:%" PRIu32 ": attributes: a second %s", r->path,
                           r->line, key);
        attributes_put(ret, key, value);
    }
    if (r->fields[6][0] == '\0')
        return 0;
    if (!attribute_value_valid(r->fields[6]))
        return err_set(err, ERR_INVALID,
                       "%s:%" PRIu32 ": failure_domain: \"%.*s\" is not 1 to %d letters, digits "
                       "and . _ - + : / @ ~",
                       r->path, r->line, ID_TEXT_MAX, r->fields[6], ATTRIBUTE_VALUE_MAX);
    attributes_put(ret, TRACE_FAILURE_DOMAIN, r->fields[6]);
    if (ret->count > MACHINE_ATTRIBUTES_MAX)
        return err_set(err, ERR_LIMIT, "%s:%" PRIu32 ": %u attributes, at most %d are allowed",
                       r->path, r->line, ret->count, MACHINE_ATTRIBUTES_MAX);
    return 0;
}

static int machine_fields(const struct reader *r, struct trace_machine *m, struct err *err)
{
    int rc = identity(r, 0, "machine_id", m->id, err);
    if (rc == 0)
        rc = number(r, 1, "cpu_milli", 0, TRACE_AMOUNT_MAX, &m->cpu_milli, err);
    if (rc == 0)
        rc = number(r, 2, "ram_mib", 0, TRACE_AMOUNT_MAX, &m->ram_mib, err);
    if (rc == 0)
        rc = number(r, 3, "disk_mib", 0, TRACE_AMOUNT_MAX, &m->disk_mib, err);
    if (rc == 0)
        rc = number(r, 4, "gpu_milli", 0, TRACE_AMOUNT_MAX, &m->gpu_milli, err);
    if (rc == 0)
        rc = machine_attributes(r, &m->attributes, err);
    return rc;
}

/* Check that ids are unique. Machine i is in line i + 2. */
static int machines_unique(struct trace *trace, const char *path, struct err *err)
{
    CLEANUP(namemap_release) struct namemap ids = {0};
    for (uint32_t i = 0; i < trace->machine_count; i++) {
        if (namemap_get(&ids, trace->machines[i].id) != NULL)
            return err_set(err, ERR_INVALID, "%s:%" PRIu32 ": a second machine \"%s\"", path, i + 2,
                           trace->machines[i].id);
        namemap_put(&ids, trace->machines[i].id, &trace->machines[i]);
    }
    return 0;
}

int trace_read_machines(struct trace *trace, const char *path, struct err *err)
{
    CLEANUP(reader_close) struct reader r;
    bool end;
    int rc = open_reader(&r, path, machines_header, err);
    while (rc == 0 && (rc = read_line(&r, &end, err)) == 0 && !end) {
        struct trace_machine m = {0};
        rc = split(&r, err);
        if (rc == 0 && trace->machine_count == CELL_MACHINES_MAX)
            rc = err_set(err, ERR_LIMIT, "%s:%" PRIu32 ": more than %d machines", path, r.line,
                         CELL_MACHINES_MAX);
        if (rc == 0)
            rc = machine_fields(&r, &m, err);
        if (rc != 0) {
            words_release(&m.attributes);
            return rc;
        }
        if (trace->machine_count == trace->machine_capacity) {
            trace->machine_capacity = MAX(trace->machine_capacity * 2, 256U);
            trace->machines = xrealloc(trace->machines, trace->machine_capacity, sizeof m);
        }
        trace->machines[trace->machine_count++] = m;
    }
    return rc == 0 ? machines_unique(trace, path, err) : rc;
}

static int task_fields(const struct reader *r, struct trace_job *job, int64_t *ret_duration_s,
                       struct err *err)
{
    int64_t index, priority;
    int rc = identity(r, 0, "job_id", job->id, err);
    if (rc == 0)
        rc = number(r, 1, "task_index", 0, CELL_TASKS_MAX, &index, err);
    if (rc == 0)
        rc = number(r, 2, "priority", 0, PRIORITY_MAX, &priority, err);
    if (rc == 0)
        rc = number(r, 4, "arrival_s", 0, TRACE_AMOUNT_MAX, &job->arrival_s, err);
    if (rc == 0)
        rc = number(r, 5, "duration_s", -1, TRACE_AMOUNT_MAX, ret_duration_s, err);
    if (rc == 0)
        rc = number(r, 6, "cpu_milli", 0, TRACE_AMOUNT_MAX, &job->cpu_milli, err);
    if (rc == 0)
        rc = number(r, 7, "ram_mib", 0, TRACE_AMOUNT_MAX, &job->ram_mib, err);
    if (rc == 0)
        rc = number(r, 8, "disk_mib", 0, TRACE_AMOUNT_MAX, &job->disk_mib, err);
    if (rc == 0)
        rc = number(r, 9, "gpu_milli", 0, TRACE_AMOUNT_MAX, &job->gpu_milli, err);
    if (rc != 0)
        return rc;
    job->priority = (uint32_t)priority;
    job->constraints.text = r->fields[10]; /* copied when it becomes a job */
    job->has_qos = r->fields[3][0] != '\0';
    job->line = r->line;
    job->count = 1;
    return 0;
}

static bool same_request(const struct trace_job *a, const struct trace_job *b)
{
    return strcmp(a->id, b->id) == 0 && a->priority == b->priority &&
           a->arrival_s == b->arrival_s && a->cpu_milli == b->cpu_milli &&
           a->ram_mib == b->ram_mib && a->disk_mib == b->disk_mib && a->gpu_milli == b->gpu_milli &&
           strcmp(a->constraints.text, b->constraints.text) == 0;
}

/* Append a part of a job that differs from the part before; parse its constraints. */
static int take_job(struct trace *trace, const struct reader *r, const struct trace_job *task,
                    struct err *err)
{
    struct trace_constraints constraints;
    int rc = trace_constraints_parse(task->constraints.text, &constraints, err);
    if (rc != 0) {
        trace_constraints_release(&constraints);
        return err_wrap(err, "%s:%" PRIu32 ": constraints", r->path, r->line);
    }
    if (trace->job_count == trace->job_capacity) {
        trace->job_capacity = MAX(trace->job_capacity * 2, 256U);
        trace->jobs = xrealloc(trace->jobs, trace->job_capacity, sizeof *trace->jobs);
    }
    struct trace_job *job = &trace->jobs[trace->job_count++];
    *job = *task;
    job->constraints = constraints;
    job->first = trace->task_count;
    return 0;
}

static int take_task(struct trace *trace, const struct reader *r, const struct trace_job *task,
                     int64_t duration_s, struct err *err)
{
    struct trace_job *last = trace->job_count == 0 ? NULL : &trace->jobs[trace->job_count - 1];
    bool more = last != NULL && last->count < CELL_TASKS_PER_JOB_MAX && same_request(last, task);
    int rc = more ? 0 : take_job(trace, r, task, err);
    if (rc != 0)
        return rc;
    if (more)
        last->count++;
    if (trace->task_count == trace->task_capacity) {
        trace->task_capacity = MAX(trace->task_capacity * 2, 1024U);
        trace->durations_s =
            xrealloc(trace->durations_s, trace->task_capacity, sizeof *trace->durations_s);
    }
    trace->durations_s[trace->task_count++] = (int32_t)duration_s;
    trace->priority_max = MAX(trace->priority_max, task->priority);
    return 0;
}

int trace_read_tasks(struct trace *trace, const char *path, uint32_t tasks_max, struct err *err)
{
    CLEANUP(reader_close) struct reader r;
    uint32_t limit = tasks_max == 0 ? TRACE_TASKS_MAX : MIN(tasks_max, TRACE_TASKS_MAX);
    bool end;
    int rc = open_reader(&r, path, tasks_header, err);
    for (uint32_t count = 0; rc == 0; count++) {
        struct trace_job task = {0};
        int64_t duration_s;
        if (count == limit && tasks_max != 0)
            return 0;
        rc = read_line(&r, &end, err);
        if (rc != 0 || end)
            return rc;
        if (count == limit)
            return err_set(err, ERR_LIMIT, "%s:%" PRIu32 ": more than %d tasks", path, r.line,
                           TRACE_TASKS_MAX);
        rc = split(&r, err);
        if (rc == 0)
            rc = task_fields(&r, &task, &duration_s, err);
        if (rc == 0)
            rc = take_task(trace, &r, &task, duration_s, err);
    }
    return rc;
}

/* Return the existing one of DIR/NAME and DIR/NAME.gz. */
static int path_in(const char *dir, const char *name, char *to, size_t size, struct err *err)
{
    static const char *const ends[] = {"", ".gz"};
    for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
        int length = snprintf(to, size, "%s/%s%s", dir, name, ends[i]);
        if (length < 0 || (size_t)length >= size)
            return err_set(err, ERR_INVALID, "the path of %s is too long", name);
        if (access(to, F_OK) == 0)
            return 0;
    }
    return err_set(err, ERR_NOT_FOUND, "there is neither %s/%s nor %s/%s.gz", dir, name, dir, name);
}

int trace_read_dir(struct trace *trace, const char *dir, uint32_t tasks_max, struct err *err)
{
    char machines[4096], tasks[4096];
    int rc = path_in(dir, "machines.csv", machines, sizeof machines, err);
    if (rc == 0)
        rc = path_in(dir, "tasks.csv", tasks, sizeof tasks, err);
    if (rc == 0)
        rc = trace_read_machines(trace, machines, err);
    return rc == 0 ? trace_read_tasks(trace, tasks, tasks_max, err) : rc;
}

void trace_release(struct trace *trace)
{
    for (uint32_t i = 0; i < trace->job_count; i++)
        trace_constraints_release(&trace->jobs[i].constraints);
    for (uint32_t i = 0; i < trace->machine_count; i++)
        words_release(&trace->machines[i].attributes);
    free(trace->jobs);
    free(trace->durations_s);
    free(trace->machines);
    *trace = (struct trace){0};
}
