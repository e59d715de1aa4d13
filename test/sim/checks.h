/*
 * checks.h - the checkers: what must hold in every history, whatever the faults were.
 *
 *   history   all replicas apply the same commands in the same order
 *   digest    and have the same cell after each of them
 *   quorum    an entry that anybody applies is on the disks of a majority at that moment
 *   cell      cell_check(), now and then, on each replica
 *   term      one leader in a term
 *   once      a request is applied at most once, and its repetitions are answered the same
 *   lost      what was acknowledged is in the history where the answer said
 *   fresh     a fresh read sees everything that was acknowledged to anybody before it began
 *   read      a read shows the cell as it was at the index it names
 *   linear    what users saw of a name is linearizable (registers.h)
 *   stale     no borglet stops, on behalf of an old cell, what the cell wants to run
 *   double    no two attempts of a task run for long on machines that can be reached
 *   zombie    nothing runs for long, on such a machine, that the cell has given up
 *   ghost     and the cell believes in nothing for long that does not run there
 *   silent    no machine that can be reached is declared down, but when two replicas or more were
 *             cut off one after the other
 *   rest      after healing, everything that could run runs, within a bound (checks_rest.c)
 *
 * The first six are seen as commands are applied; double to ghost look at what really runs, each
 * second. `sim --break NAME` shows for each that it finds what it is there for (breaks.h).
 */
#ifndef SIM_CHECKS_H
#define SIM_CHECKS_H

#include "cmd.h"
#include "wire.h"

enum {
    /* Until a machine that can be reached has found a shard that is up to date, and that has told
     * it to stop what the cell gave up: LINKS_SILENT_MS, then LINK_GREETING_MS for each replica
     * that does not answer, LINKS_LEADERLESS_MS, then the grace of the task. */
    CHECKS_CALM_MS = 25000,
    CHECKS_LOOK_MS = 1000,
    CHECKS_REST_MS = 60000, /* from healing to everything running */
};

/* After the cell and the machines have been started. */
void checks_start(void);

/* A line that may matter when something breaks: the last ones are printed then. */
void checks_note(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* Print what broke and the last notes; end the process. */
_Noreturn void checks_broken(const char *checker, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Replica i is the first to apply the entry; the first to declare a machine down. */
void checks_on_commit(unsigned i, uint64_t index, uint64_t term);
void checks_on_machine_down(const struct machine *machine);

/* Users: a command was answered; what was acknowledged to anybody so far; what a read saw. */
void checks_on_answer(const struct cmd *cmd, const struct wire_answer *answer);
uint64_t checks_acknowledged(void);
void checks_on_read(uint64_t index_needed, uint64_t index_seen, bool fresh);
/* Rows of "job NAME", or of "meta" when the name is "" (checks_reads.c). */
void checks_on_rows(const char *name, const struct wire_rows *rows);
/* The history has got one step longer, with this cell. */
void checks_reads_grow(const struct cell *cell);

/* Machine i starts a process; stops one on behalf of a cell of this index. */
void checks_on_start(unsigned i, struct attempt_ref task);
void checks_on_stop(unsigned i, struct attempt_ref task, uint64_t index);

/* Look at what runs where (checks_tasks.c); each second. */
void checks_tasks_look(void);
/* For so long machine i could be reached, by the leader and a majority, and there was a leader. */
uint64_t checks_calm_ms(unsigned i);
/* In the cell of the leader, or of the most advanced replica; NULL: all are down. */
const struct cell *checks_newest_cell(void);

/* Everything has been healed: wait until all that can run runs; broken when it takes longer than
 * CHECKS_REST_MS. */
void checks_rest(void);
/* And nobody has anything under way: look at everything once more. */
void checks_end(void);

#endif
