/*
 * task.h - the life of one task, as a table.
 *
 *                  schedule            report            report
 *   submit --> PENDING -----> ASSIGNED -----> RUNNING -----------> FINISHED  exit 0
 *                 ^               |              |  |
 *                 |  back-off,    |              |  +------------> FAILED    no attempt left
 *                 +---------------+--------------+
 *                    exit or start error with attempts left, eviction, machine lost
 *
 *   any live state -- kill --> (stopping, then) KILLED           PENDING -- kill --> KILLED
 *   RUNNING or ASSIGNED -- failure --> ASSIGNED, backing off: the attempt is over, and the task
 * keeps its place (task_holds()) -- wake, or told to stop --> PENDING PENDING of an alloc, where
 * nothing has to be started -- schedule --> RUNNING KILLED by an update to fewer replicas -- update
 * to more --> PENDING of a job on every machine: PENDING, or an end that would lead there <--
 * machine --> UNWANTED
 *
 * An attempt that ends in an eviction or with its machine ends LOST or evicted in the events; the
 * task itself is PENDING again at once, with the cause. FINISHED, FAILED, KILLED are final, but for
 * that. Every arrow is a replicated command. Borg paper, section 2.3 (figure 2).
 */
#ifndef CELL_TASK_H
#define CELL_TASK_H

#include "list.h"
#include "reclaim.h"
#include "spec.h"

typedef struct {
    uint64_t v;
} job_id; /* 1, 2, ... in order of submission; 0: none */
typedef struct {
    uint32_t v;
} machine_id; /* 1, 2, ... in order of registration; 0: none */
typedef struct {
    uint64_t v;
} task_id; /* job and index in one number; 0: none */

/* One attempt, named exactly: a decision about an older one is refused. */
struct attempt_ref {
    task_id task;
    uint32_t attempt;
};

enum { TASK_INDEX_BITS = 20 };
_Static_assert(CELL_TASKS_PER_JOB_MAX <= 1 << TASK_INDEX_BITS, "an index must fit a task id");

static inline task_id task_id_of(job_id job, uint32_t index)
{
    return (task_id){job.v << TASK_INDEX_BITS | index};
}
static inline job_id task_job(task_id id)
{
    return (job_id){id.v >> TASK_INDEX_BITS};
}
static inline uint32_t task_index(task_id id)
{
    return (uint32_t)(id.v & ((1U << TASK_INDEX_BITS) - 1));
}

enum task_state {
    TASK_PENDING,
    TASK_ASSIGNED,
    TASK_RUNNING,
    TASK_FINISHED,
    TASK_FAILED,
    TASK_KILLED,
    TASK_UNWANTED, /* of a job on every machine: not on this one as it is now */
    TASK_STATE_COUNT
};
const char *task_state_text(enum task_state state); /* "pending", ... */

/* Why a task is where it is: how its last attempt ended, or why the present one is being stopped.
 */
enum cause {
    CAUSE_NONE,
    CAUSE_EXIT,         /* ended by itself; exit_code says how */
    CAUSE_SIGNAL,       /* ended by a signal nobody of us sent; exit_code is -signal */
    CAUSE_START_ERROR,  /* could not be started on its machine */
    CAUSE_PREEMPTED,    /* evicted for work of higher priority */
    CAUSE_MACHINE_DOWN, /* its machine fell silent */
    CAUSE_LOST,         /* its machine no longer knows of it (reboot, wiped) */
    CAUSE_DRAIN,
    CAUSE_OUT_OF_RESOURCES,
    CAUSE_UPDATE,
    CAUSE_KILLED, /* by its user */
    CAUSE_COUNT
};
const char *cause_text(enum cause cause); /* "", "exit", "preempted", "machine-down", ... */

enum { TASK_CRASHES_MAX = 3 };

struct task {
    task_id id;
    enum task_state state;
    uint32_t attempt;    /* of the present or last run, from 1; 0: never assigned */
    machine_id machine;  /* of the present attempt; 0 unless live */
    task_id alloc;       /* that the present attempt is in; 0: the machine itself */
    enum cause cause;    /* of the end of the last attempt */
    enum cause stopping; /* live and told to stop: why; else CAUSE_NONE */
    uint32_t shape;      /* of the present attempt: task_limit(); 0 unless live */
    uint32_t failures;   /* attempts that ended by exit, signal or start error */
    uint32_t misstarts;  /* starts in a row that failed by their machines' fault */
    bool by_eviction;    /* others were evicted for it since it last was well */
    bool restart;        /* live, and waiting for its turn to be restarted: restart.c; else false */
    /* Where the last of those attempts were, the latest first, each machine once; 0: no more. */
    machine_id crashed_on[TASK_CRASHES_MAX];
    int32_t pid;            /* of the present attempt's process, 0 when unknown */
    int32_t exit_code;      /* of the last ended attempt: code, or -signal */
    uint64_t not_before_ms; /* backing off, PENDING or task_holds(): when a new attempt may start */
    uint64_t started_ms;    /* when the present attempt was seen running; cell time */
    uint64_t changed_ms;    /* when this row last changed; cell time */
    uint16_t ports[SPEC_PORTS_MAX]; /* of the present attempt, in the order of the spec's names */
    uint32_t devices;               /* of the present attempt: a bit per gpu of its machine */
    struct reserve reserves[RECLAIM_COUNT]; /* of the present attempt, by enum resource */
    uint64_t row_hash;                      /* what this row adds to the cell's digest */
    struct list link;                       /* live: in its machine's tasks */
    struct list waiting;                    /* backing off: in cell.backing_off */
};

/* Forget the attempts that failed. */
void task_reset_failures(struct task *task);
bool task_is_live(const struct task *task); /* ASSIGNED or RUNNING: it holds a place */
/* Live, and nothing of it runs: its last attempt failed, and while it backs off it keeps its place,
 * so that nobody has to be evicted for it again and again. */
bool task_holds(const struct task *task);
/* Down because the cell wanted it so: evicted for other work, for a drain or an update, and not
 * running again yet. Machines that fail, and what a user kills, are not meant. */
bool task_is_disrupted(const struct task *task);
bool task_is_final(const struct task *task); /* FINISHED, FAILED or KILLED */
/* Live and not told to stop, and holding a limit from before an update of its job, or waiting to be
 * restarted. */
bool task_is_outdated(const struct task *task);
/* Can the table go from one to the other? For assertions and tests. */
bool task_may_move(enum task_state from, enum task_state to);

#endif
