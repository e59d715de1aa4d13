/*
 * checks_reads.c - compare reads of jobs with the state of the jobs at each index.
 */
#include "checks.h"

#include "history.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAMES = 12 }; /* "j0" to "j11", the names that draw_cmd.h draws */

/* The newest job of a name, from an index until the next version. */
struct version {
    uint64_t index;
    job_id id; /* 0: there is none */
    uint32_t replicas;
    bool killed;
    const char *state;
};

static struct {
    struct version *versions;
    size_t count, capacity;
} names[NAMES];

static struct version version_of(const struct cell *cell, unsigned name)
{
    char text[8];
    snprintf(text, sizeof text, "j%u", name);
    const struct job *job = cell_job_named(cell, text);
    struct version version = {.index = cell->applied_index, .state = ""};
    if (job == NULL)
        return version;
    version.id = job->id;
    version.replicas = job->spec.replicas;
    version.killed = job->killed;
    version.state = job_state_text(job);
    return version;
}

static bool version_same(const struct version *a, const struct version *b)
{
    return a->id.v == b->id.v && a->replicas == b->replicas && a->killed == b->killed &&
           strcmp(a->state, b->state) == 0;
}

void checks_reads_grow(const struct cell *cell)
{
    for (unsigned i = 0; i < NAMES; i++) {
        struct version version = version_of(cell, i);
        size_t count = names[i].count;
        if (count > 0 && version_same(&names[i].versions[count - 1], &version))
            continue;
        /* Only the last command of an entry counts. */
        if (count > 0 && names[i].versions[count - 1].index == version.index)
            names[i].count = --count;
        if (count == names[i].capacity) {
            names[i].capacity = MAX((size_t)64, names[i].capacity * 2);
            names[i].versions =
                xrealloc(names[i].versions, names[i].capacity, sizeof *names[i].versions);
        }
        names[i].versions[names[i].count++] = version;
    }
}

static struct version version_at(unsigned name, uint64_t index)
{
    struct version found = {.state = ""};
    for (size_t i = names[name].count; i-- > 0;)
        if (names[name].versions[i].index <= index)
            return names[name].versions[i];
    return found;
}

static const struct wire_value *value_of(const struct wire_rows *rows, const char *column)
{
    for (uint32_t i = 0; i < rows->column_count; i++)
        if (strcmp(rows->columns[i], column) == 0)
            return &rows->values[i];
    checks_broken("read", "a read has no column %s", column);
}

static void job_check(const char *name, const struct wire_rows *rows)
{
    struct version shown = {.state = ""};
    struct version version = version_at((unsigned)atoi(name + 1), rows->applied_index);
    if (rows->row_count > 0) {
        shown.id = version.id; /* the rows do not contain it */
        shown.replicas = (uint32_t)value_of(rows, "replicas")->integer;
        shown.killed = value_of(rows, "killed")->integer != 0;
        shown.state = value_of(rows, "state")->text;
    }
    if ((rows->row_count > 0) == (version.id.v != 0) && version_same(&shown, &version))
        return;
    checks_broken("read",
                  "at index %" PRIu64 " job %s is \"%s\"%s with %" PRIu32
                  " replicas, a read showed \"%s\"%s with %" PRIu32,
                  rows->applied_index, name, version.state, version.killed ? " (killed)" : "",
                  version.replicas, shown.state, shown.killed ? " (killed)" : "", shown.replicas);
}

static void meta_check(const struct wire_rows *rows)
{
    uint64_t digest;
    char text[17];
    if (!history_digest(rows->applied_index, &digest))
        return;
    snprintf(text, sizeof text, "%016" PRIx64, digest);
    if (strcmp(value_of(rows, "digest")->text, text) != 0)
        checks_broken("read", "at index %" PRIu64 " the digest is %s, a read showed %s",
                      rows->applied_index, text, value_of(rows, "digest")->text);
}

void checks_on_rows(const char *name, const struct wire_rows *rows)
{
    if (name[0] == '\0')
        meta_check(rows);
    else if (name[0] == 'j')
        job_check(name, rows);
}
