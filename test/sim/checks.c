/*
 * checks.c - checks at each event, and the report of a failure.
 */
#include "checks.h"

#include "history.h"
#include "world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    NOTES = 48, /* printed after a failure */
    NOTE_BYTES = 200,
    CELL_CHECK_LOOKS = 300, /* checks between two cell_check() of a replica */
};

static char notes[NOTES][NOTE_BYTES];
static uint64_t note_count;
static uint64_t acknowledged; /* the highest acknowledged index */
static uint64_t committed;    /* the highest index that any replica applied */
static uint64_t looks;
/* The leader of each term, in a ring, because terms only grow. */
enum { TERMS = 64 };
static struct {
    uint64_t term;
    unsigned leader;
} terms[TERMS];

static void note_add(const char *fmt, va_list args)
{
    char *note = notes[note_count++ % NOTES];
    uint64_t now_us = world_now_us();
    int length = snprintf(note, NOTE_BYTES, "%" PRIu64 ".%06" PRIu64 " ", now_us / 1000000,
                          now_us % 1000000);
    vsnprintf(note + length, NOTE_BYTES - (size_t)length, fmt, args);
}

void checks_note(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    note_add(fmt, args);
    va_end(args);
    world_say("%s", strchr(notes[(note_count - 1) % NOTES], ' ') + 1);
}

void checks_broken(const char *checker, const char *fmt, ...)
{
    char what[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    fprintf(stderr, "the last %d events:\n", NOTES);
    for (uint64_t i = note_count < NOTES ? 0 : note_count - NOTES; i < note_count; i++)
        fprintf(stderr, "  %s\n", notes[i % NOTES]);
    world_broken("%s: %s", checker, what);
}

/* Commands */

/* An entry is identified by index and term. */
static bool disk_has(unsigned i, uint64_t index, uint64_t term)
{
    struct disk_entry entry;
    return disk_snapshot_index(i, NULL) >= index ||
           (disk_entry(i, index, &entry) && entry.term == term);
}

void checks_on_commit(unsigned i, uint64_t index, uint64_t term)
{
    unsigned count = 0;
    if (index <= committed)
        return;
    committed = index;
    for (unsigned d = 0; d < WORLD_REPLICAS; d++)
        count += disk_has(d, index, term);
    if (count <= WORLD_REPLICAS / 2)
        checks_broken("quorum",
                      "r%u applies entry %" PRIu64 " of term %" PRIu64
                      ", which is on %u disks of %d",
                      i + 1, index, term, count, WORLD_REPLICAS);
}

void checks_on_answer(const struct cmd *cmd, const struct wire_answer *answer)
{
    const struct history_step *step = history_request(cmd->request_id);
    checks_note("acknowledged %s index=%" PRIu64 " code=%s", cmd_kind_text(cmd->kind),
                answer->index, err_code_text(answer->code));
    if (!history_has(answer->index, cmd->request_id))
        checks_broken("lost", "a %s was acknowledged for entry %" PRIu64 ", which does not hold it",
                      cmd_kind_text(cmd->kind), answer->index);
    if (step->code != answer->code || step->job.v != answer->job)
        checks_broken("lost",
                      "a %s was acknowledged with \"%s\" job %" PRIu64
                      ", but the history has \"%s\" job %" PRIu64 " in entry %" PRIu64,
                      cmd_kind_text(cmd->kind), err_code_text(answer->code), answer->job,
                      err_code_text(step->code), step->job.v, step->index);
    acknowledged = MAX(acknowledged, answer->index);
}

uint64_t checks_acknowledged(void)
{
    return acknowledged;
}

void checks_on_read(uint64_t index_needed, uint64_t index_seen, bool fresh)
{
    if (index_seen < index_needed)
        checks_broken("fresh",
                      "%s read saw index %" PRIu64 ", though %" PRIu64
                      " had been acknowledged to %s before it began",
                      fresh ? "a fresh" : "a user's", index_seen, index_needed,
                      fresh ? "somebody" : "this user");
}

/* Replicas */

static void checks_on_elected(unsigned i, uint64_t term)
{
    unsigned slot = term % TERMS;
    checks_note("r%u leads term=%" PRIu64, i + 1, term);
    if (terms[slot].term == term && terms[slot].leader != i)
        checks_broken("term", "both r%u and r%u lead in term %" PRIu64, terms[slot].leader + 1,
                      i + 1, term);
    terms[slot].term = term;
    terms[slot].leader = i;
}

static void checks_on_look(void *data)
{
    for (unsigned i = 0; i < WORLD_REPLICAS; i++) {
        if (world_replica(i) == NULL)
            continue;
        if ((looks + i * CELL_CHECK_LOOKS / WORLD_REPLICAS) % CELL_CHECK_LOOKS == 0)
            cell_check(core_cell(replica_core(world_replica(i))));
    }
    checks_tasks_look();
    looks++;
    world_post(CHECKS_LOOK_MS, checks_on_look, data);
}

static const struct world_watch watch = {
    .applied = history_applied,
    .started = history_resumed,
    .restored = history_resumed,
    .elected = checks_on_elected,
};

void checks_start(void)
{
    world_set_watch(&watch);
    world_post(CHECKS_LOOK_MS, checks_on_look, NULL);
}
