/*
 * checks.h - the checkers: invariants of every history under any faults.
 *
 *   history   all replicas apply the same commands in the same order
 *   digest    all replicas have the same cell after each command
 *   quorum    an entry that a replica applies is on the disks of a majority at that moment
 *   cell      cell_check() succeeds, at intervals, on each replica
 *   term      there is at most one leader per term
 *   once      a request is applied at most once, and its repetitions get the same answer
 *   lost      an acknowledged command is in the history at the index of its answer
 *   fresh     a fresh read includes everything that was acknowledged to any user before it began
 *   read      a read shows the cell at the index that it names
 *   linear    the observations of users of a name are linearizable (registers.h)
 *   stale     no borglet stops an attempt for an old cell that the present cell wants to run
 *   double    two attempts of a task do not run for long on machines that can be reached
 *   zombie    an attempt that the cell has given up does not run for long on such a machine
 *   ghost     the cell does not believe for long in an attempt that does not run there
 *   silent    a machine that can be reached is not declared down, unless two or more replicas were
 *             cut off one after the other
 *   rest      after the faults, all tasks that can run do so within a bound (checks_rest.c)
 *
 * The first six check each applied command; double to ghost check the real processes once a second.
 * `sim --break NAME` shows that each checker detects what it is there for (breaks.h).
 */
#ifndef SIM_CHECKS_H
#define SIM_CHECKS_H

#include "cmd.h"
#include "wire.h"

enum {
    /* Time until a machine that can be reached has found an up-to-date shard, and has stopped what
     * the cell gave up: LINKS_SILENT_MS, then LINK_GREETING_MS for each replica that does not
     * answer, LINKS_LEADERLESS_MS, then the grace period of the task. */
    CHECKS_CALM_MS = 25000,
    CHECKS_LOOK_MS = 1000,
    CHECKS_REST_MS = 60000, /* from the end of the faults until everything runs */
};

/* Call it after the cell and the machines have started. */
void checks_start(void);

/* Record an event; the last ones are printed after a failure. */
void checks_note(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* Print the failure and the last events, and end the process. */
_Noreturn void checks_broken(const char *checker, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Replica i is the first to apply the entry, or to declare a machine down. */
void checks_on_commit(unsigned i, uint64_t index, uint64_t term);
void checks_on_machine_down(const struct machine *machine);

/* Reports of users: a command was answered; the highest index acknowledged so far; what a read saw.
 */
void checks_on_answer(const struct cmd *cmd, const struct wire_answer *answer);
uint64_t checks_acknowledged(void);
void checks_on_read(uint64_t index_needed, uint64_t index_seen, bool fresh);
/* The rows of "job NAME", or of "meta" if the name is "" (checks_reads.c). */
void checks_on_rows(const char *name, const struct wire_rows *rows);
/* The history has grown by one step, to this cell. */
void checks_reads_grow(const struct cell *cell);

/* Machine i starts a process, or stops one for a cell of this index. */
void checks_on_start(unsigned i, struct attempt_ref task);
void checks_on_stop(unsigned i, struct attempt_ref task, uint64_t index);

/* Compare the processes with the cell (checks_tasks.c); called once a second. */
void checks_tasks_look(void);
/* Return for how long there has been a leader and machine i was reachable by it and a majority. */
uint64_t checks_calm_ms(unsigned i);
/* Return the cell of the leader, else of the most advanced replica; NULL if all are down. */
const struct cell *checks_newest_cell(void);

/* After all faults have ended: wait until all that can run runs; fail after CHECKS_REST_MS. */
void checks_rest(void);
/* After all calls have ended: check everything once more. */
void checks_end(void);

#endif
