/*
 * cell.h - the state of a cell: machines, jobs, their tasks, answers remembered.
 *
 * Only commands (cmd.h) write it, and loading (cell_load_*). Everybody else holds a const
 * pointer and must not keep pointers into it across an apply: keep ids. Walks go by id, never by
 * hash, so that all replicas do the same in the same order.
 */
#ifndef CELL_CELL_H
#define CELL_CELL_H

#include "idmap.h"
#include "task.h"

/* So much of a machine's ram may be in use. */
enum { RAM_FULL_PERCENT = 95 };

/* A machine that is removed leaves an empty row: its number serves the next new one. */
enum machine_state { MACHINE_UP, MACHINE_DOWN, MACHINE_REMOVED, MACHINE_STATE_COUNT };
const char *machine_state_text(enum machine_state state);

/* The user who always is an operator of the cell: nobody can take that from this certificate. */
#define CELL_OPERATOR "root"

/* What a user may be given beside his own jobs. */
#define RIGHTS(X) \
    X(OPERATOR, "operator")     /* keeps the cell: all the others, and everybody's jobs */ \
    X(READER, "reader")         /* reads logs, specs and environments of everybody's jobs */ \
    X(PRODUCTION, "production") /* his jobs may be of this band */ \
    X(MONITORING, "monitoring") /* the same */
enum right {
#define X(name, text) RIGHT_##name,
    RIGHTS(X)
#undef X
        RIGHT_COUNT
};
const char *right_text(enum right right);
void rights_print(struct buf *to, uint32_t rights); /* "operator reader" */

/* What the cell knows of who has a certificate. Those who have nothing of it have no row. */
struct identity_row {
    char identity[IDENTITY_MAX +
                  1];    /* as in the certificate: "user/ada", "borglet/m1", "master/3" */
    uint32_t rights;     /* a bit per enum right; of users only */
    uint64_t revoked_ms; /* cell time: certificates issued until then do not count; 0:
                            none is revoked */
    uint64_t changed_ms;
    char changed_by[CELL_NAME_MAX + 1]; /* user; "": the cell itself */
    struct list link;                   /* in cell.identities, by identity */
};
int identity_valid(const char *identity, struct err *err) MUST_USE;

/* After so many start faults of different tasks in a row a machine is sick: machine_fault.c. */
enum { MACHINE_FAULTS_MAX = 3, MACHINE_SICK_MS = 30000, MACHINE_SICK_MS_MAX = 600000 };
/* A second borglet that tries again and again is told of so often. */
enum { MACHINE_RIVAL_TELL_MS = 60000 };

struct machine {
    machine_id id;
    char name[CELL_NAME_MAX + 1];
    char addr[CELL_ADDR_MAX + 1]; /* where its borglet serves logs */
    enum machine_state state;
    bool draining; /* gets no new work, what is there moves; stays so until it is undrained */
    struct resources capacity;
    struct resources reserved; /* sum of the limits of its live tasks, stopping ones included; those
                                  in allocs left out, for the allocs are in */
    struct resources stopping; /* the part of `reserved` that has been told to stop */
    struct resources promised; /* limits of production that has not */
    int64_t reclaimed[RECLAIM_COUNT]; /* from those who have not: limits less reservations */
    int64_t used[RECLAIM_COUNT];      /* by them, and by what is in their allocs */
    struct words attributes;          /* attributes.h */
    uint64_t attributes_hash;         /* of them, computed when they change */
    uint32_t task_count;              /* live tasks, allocs and what is in them */
    uint64_t instance;                /* which borglet registered: struct wire_hello */
    uint64_t directory;               /* the same */
    uint64_t rival;    /* another one of this name that was refused last, and when: cell time; 0 */
    uint64_t rival_ms; /* never. Until the machine is down, or removed */
    task_id faults[MACHINE_FAULTS_MAX]; /* tasks it could not start, since it last started one */
    uint32_t sick_rounds;               /* times it was sick since then */
    uint64_t sick_until_ms;             /* it gets no work until then; 0: it is well */
    /* Attempts that ran here when it fell silent: whether their processes are gone is not known
     * until its borglet is back and says so, or the machine is removed. */
    struct attempt_ref *left;
    uint32_t left_count, left_capacity;
    uint32_t left_foreign; /* the first ones are of borglets with another directory: that the
                              present one does not know of them says nothing */
    struct words labels;   /* "name=value", as its borglet said */
    uint64_t changed_ms;
    uint64_t row_hash;
    struct list tasks;    /* task.link of its live tasks, in order of assignment */
    struct list clearing; /* in cell.clearing: it drains, or lacks ram */
};

/* A job is live until all its tasks are final; one on every machine until it is killed too. */
struct job {
    job_id id;
    struct job_spec spec; /* replicas, priority and limit change by JOB_UPDATE, else nothing */
    uint64_t spec_hash;   /* of it */
    bool killed;          /* by its user: nothing of it starts again */
    uint32_t counts[TASK_STATE_COUNT]; /* tasks per state; they add up to task_count */
    uint32_t stopping;                 /* live tasks that have been told to stop */
    uint32_t disrupted;                /* task_is_disrupted(); work that the budget does not bind
                                          may take more than spec.disruptions_max */
    uint32_t unconfirmed;              /* attempts in machine.left: they may still run */
    /* Limits from before an update, of tasks that wait for their turn to get the new one: shapes
     * from SPEC_SHAPES_MAX on. Some may be left over. */
    struct resources limits_old[JOB_LIMITS_OLD_MAX];
    uint32_t limit_old_count;
    uint32_t outdated; /* tasks that are: task_is_outdated() */
    uint32_t
        restart_batch; /* so many tasks may be down at once for its last restart; 0: no bound */
    uint64_t submitted_ms;
    uint64_t changed_ms;
    char reason[CELL_REASON_MAX + 1]; /* why its pending tasks are pending; "" when none are */
    uint64_t row_hash;
    uint64_t tasks_hash; /* the sum of its tasks' */
    /* By index. Those from spec.replicas on are left of a time when there were more: they are final
     * or being killed, and are taken up again, attempts and all, when there are more again. */
    struct task *tasks;
    uint32_t task_count;     /* at least spec.replicas */
    uint32_t task_capacity;  /* rows there is memory for */
    struct matcher *matcher; /* of its constraints; made when first asked for, gone when dead */
    /* Derived, of the newest job of a name: where its live tasks are; NULL: nobody asks. */
    struct whereabouts *whereabouts;
    struct asks *asks;    /* of a live job: what it asks about whereabouts; NULL: nothing */
    struct list link;     /* in cell.jobs, by id */
    struct list system;   /* in cell.system_jobs: on every machine and not killed */
    bool over_quota;      /* a machine may want it that its user's quota does not pay for: it has to
                             be looked at again when the quota eases. A hint, and no state. */
    struct list updating; /* in cell.updating: tasks are outdated */
    struct list dead;     /* in cell.dead_jobs once dead, in order of death */
    struct list dead_own; /* in account.dead, the same */
};
bool job_is_dead(const struct job *job);
/* What this task of the job holds while it is live. */
const struct resources *task_limit(const struct job *job, const struct task *task);
/* Does the disruption budget allow to take down this task now, `count` others going down too? */
bool job_may_disrupt(const struct job *job, const struct task *task, uint32_t count);
/* "pending" (nothing runs yet), "idle" (on every machine, of which none wants it), "running",
 * "stopping", "finished", "failed", "killed" */
const char *job_state_text(const struct job *job);

/* What a user may have at once in a band; asked when a job comes or grows. */
struct quota {
    char user[CELL_NAME_MAX + 1]; /* QUOTA_EVERYBODY: each user who has no row in this band */
    enum band band;               /* any but free */
    struct resources limit;       /* each QUOTA_UNLIMITED or 0 to QUOTA_AMOUNT_MAX */
    int64_t tasks;                /* the same */
};
#define QUOTA_EVERYBODY "*"
#define QUOTA_UNLIMITED INT64_C(-1)
#define QUOTA_AMOUNT_MAX (INT64_C(1) << 62)
int quota_valid(const struct quota *quota, const struct resource_names *names,
                struct err *err) MUST_USE;
/* " cpu=4 tasks=3": what is bounded */
void quota_amounts_print(struct buf *to, const struct quota *quota,
                         const struct resource_names *names);

/* Limits times replicas, summed over jobs that are not dead: one job may ask for 2^67 bytes. */
struct usage {
    __int128 v[RES_COUNT];
    uint64_t tasks;
};

/* Of each user who has jobs or a quota. */
struct account {
    char user[CELL_NAME_MAX + 1];
    bool granted[BAND_COUNT]; /* else no quota of his own there */
    struct quota quotas[BAND_COUNT];
    struct usage used[BAND_COUNT];
    uint64_t live_jobs, live_tasks; /* of jobs that are not dead, rows that have ended included */
    struct list dead;               /* jobs, in order of death */
    uint64_t dead_jobs;
    struct list link; /* in cell.accounts, by name */
};
/* What is said of the machine, for constraints. */
struct subject machine_subject(const struct machine *machine);

/* After a large share of the machines fell silent at once: loss.h. */
enum hold {
    HOLD_OFF,
    HOLD_ON,       /* the cell holds still: no machine is declared down */
    HOLD_RELEASED, /* told to go on, until no machine is silent any more */
    HOLD_COUNT
};
const char *hold_text(enum hold hold); /* "off", "on", "released" */

/* The replicas of borgmaster as the cell wants them: master.c. */
enum master_state { MASTER_JOINING, MASTER_VOTES, MASTER_LEAVING, MASTER_STATE_COUNT };
const char *master_state_text(enum master_state state); /* "joining", "member", "leaving" */
struct master {
    uint64_t id;                  /* never used again for another */
    char rpc[CELL_ADDR_MAX + 1];  /* for users, borglets and each other */
    char raft[CELL_ADDR_MAX + 1]; /* for each other's logs */
    enum master_state state;
};
struct masters {
    struct master rows[MASTER_ROWS_MAX]; /* by id; those beyond `count` are all zero */
    uint32_t count;
    uint64_t next_id; /* 0: the cell has not been told who they are */
};
const struct master *masters_find(const struct masters *masters, uint64_t id); /* NULL: none */
bool masters_same(const struct masters *a, const struct masters *b);
int masters_valid(const struct masters *masters, struct err *err) MUST_USE;

/* What holds for the whole cell. */
struct settings {
    enum policy policy; /* of jobs that name none */
    enum hold hold;
    struct masters masters;
    uint32_t format; /* that all masters know: format.c; 0: they have not agreed yet, it is 1 */
};

/* What a retried command is answered, found by its request id. */
struct remembered {
    uint64_t request_id[2];
    uint64_t index; /* of the entry that carried it out */
    enum err_code code;
    job_id job;
    char msg[CELL_REASON_MAX + 1];
};

/* Tasks that back off are kept by when that ends, so that nobody looks at all of them to find those
 * for whom it has ended: together the slots cover more than BACKOFF_MS_MAX. */
enum { BACKOFF_SLOTS = 4096, BACKOFF_SLOT_MS = 1024 };

struct cell {
    uint64_t applied_index; /* of the Raft entry last applied; kept by the caller of cell_apply */
    uint64_t applied_term;
    uint64_t now_ms;     /* cell time: the largest time_ms of any command so far */
    uint64_t event_seq;  /* of the last event */
    uint64_t next_job;   /* id of the next job */
    uint64_t live_tasks; /* tasks of jobs that are not dead */
    uint64_t pending_tasks;
    uint64_t digest_sum; /* sum of all row hashes */
    struct settings settings;

    struct resource_names resource_names; /* slots that machines named, in every vector here */
    struct machine **machines;            /* machine id v is machines[v - 1] */
    uint32_t machine_count;               /* rows, those of machines that were removed included */
    uint32_t machines_up;
    uint32_t machines_removed;
    uint32_t machines_sick;
    struct list clearing; /* machines that may have to be asked for work to go, in no order */
    struct namemap machines_by_name;

    struct list jobs; /* all, by id */
    uint64_t job_count;
    struct idmap jobs_by_id;
    struct namemap jobs_by_name;        /* the newest job of each name */
    struct namemap whereabouts_by_name; /* of jobs that live jobs ask about: whereabouts.h */
    struct list system_jobs;            /* by id */
    struct list updating;               /* in no order */
    struct list dead_jobs;
    uint64_t dead_job_count;
    struct list backing_off[BACKOFF_SLOTS]; /* task.waiting of tasks with not_before_ms != 0, by
                                               cell_backoff_slot() */

    struct list accounts; /* by name */
    struct namemap accounts_by_user;
    uint32_t quota_count;
    bool quota_eased; /* while a command is applied: somebody has less, or may have more */

    struct list identities; /* by identity */
    struct namemap identities_by_name;
    uint32_t identity_count;

    struct remembered *requests; /* ring of CELL_REQUESTS_MAX, made at first use */
    uint64_t request_seq;        /* of the last one; slot = seq % CELL_REQUESTS_MAX */
    struct idmap requests_by_id; /* key: request_id mixed to 64 bits */
};

struct cell *cell_new(void);
void cell_free(struct cell *cell);
void cell_clear(struct cell *cell); /* empty again, as cell_new() made it */

const struct machine *cell_machine(const struct cell *cell, machine_id id); /* NULL: none */
const struct machine *cell_machine_named(const struct cell *cell, const char *name);
/* "host:port", and nothing in it that a terminal would take for more than text. */
bool address_valid(const char *address);
bool machine_is_sick(const struct machine *machine);
const struct job *cell_job(const struct cell *cell, job_id id);
const struct job *cell_job_named(const struct cell *cell, const char *name); /* the newest */
const struct task *cell_task(const struct cell *cell, task_id id);
/* Tasks that are to go together, as far as disruption budgets are asked: those that have one. */
struct leaving {
    const struct task **tasks;
    uint32_t count, capacity;
};
void leaving_release(struct leaving *leaving);
/* Add a live task that is not stopping, and with an alloc what is inside. Or add nothing and return
 * one of these whose job's budget does not allow that it goes, those added before going too. */
const struct task *leaving_add(struct leaving *leaving, const struct cell *cell,
                               const struct task *task);
/* Does what this job asks of others (apart, max_disruptions) bind work of that one? Only of its own
 * user, or of lower priority: who may be evicted cannot keep off those who may evict. */
bool job_binds(const struct job *job, const struct job *other);
/* The live set in whose allocs a job with this spec runs; NULL: it is gone. */
const struct job *cell_alloc_set(const struct cell *cell, const struct job_spec *spec);
/* What a live alloc has left: its limit less those of the tasks inside that are not stopping. */
struct room alloc_room(const struct cell *cell, const struct task *alloc);
/* What is kept for a live task: its limit, less what is reclaimed. */
struct resources task_kept(const struct job *job, const struct task *task);
/* What the machine has free beside reservations, stopping work counted as gone; and what may be
 * promised to production there: nothing of that is reclaimed. */
struct room cell_room(const struct cell *cell, const struct machine *machine);
struct resources machine_unpromised(const struct machine *machine);
/* Is more of its ram reserved or used than there is? Then cell_reclaim_due() is worth asking. */
bool machine_lacks_ram(const struct machine *machine);
/* Does somebody have to go from this machine, because usage or reservations outgrew its ram? */
/* Up to `max` tasks whose back-off has ended at now_ms, to a slot those first for whom it ended
 * first; returns how many. */
uint32_t cell_wake_due(const struct cell *cell, uint64_t now_ms, task_id *ret, uint32_t max);
bool cell_reclaim_due(const struct cell *cell, const struct machine *machine);
/* Is there a task that has to leave this draining machine and may be told so now? */
bool cell_drain_due(const struct cell *cell, const struct machine *machine);
/* Is there an outdated task that may get the new limit of its job now, or be told to stop for it?
 * RESIZE_LOOKS_MAX of them are looked at; of more, those that `draw` says: ask again with another.
 */
bool cell_resize_due(const struct cell *cell, const struct job *job, uint64_t draw);
/* The user's own row (not everybody's), NULL: none. All rows, by user and band: the caller frees.
 */
const struct quota *cell_quota(const struct cell *cell, const char *user, enum band band);
struct quota *cell_quotas(const struct cell *cell, size_t *ret_count) MUST_USE;
/* Of a job on every machine: how many machines want it that its user's quota does not pay for;
 * `why` says what is too much. */
uint32_t cell_over_quota(const struct cell *cell, const struct job *job, struct err *why);
/* NULL: it has no rights and is not revoked. All rows, by identity: the caller frees. */
const struct identity_row *cell_identity(const struct cell *cell, const char *identity);
struct identity_row *cell_identities(const struct cell *cell, size_t *ret_count) MUST_USE;
/* Does the user have this right? An operator has every one, CELL_OPERATOR is an operator. */
bool cell_user_is(const struct cell *cell, const char *user, enum right right);
/* Does a certificate of this identity ("user/ada") that was issued then no longer count? Both times
 * are milliseconds since 1970; a certificate without a time of issue is as old as can be: 0. */
bool cell_identity_revoked(const struct cell *cell, const char *identity, uint64_t issued_ms);
/* Order-independent over all rows, plus the counters: equal on all replicas at equal index. */
uint64_t cell_digest(const struct cell *cell);
/* Walk everything and panic at the first broken invariant: what loading refuses, and sums, counts,
 * lists and hashes that are not what the rows say. A cell that loads passes. O(cell). */
void cell_check(const struct cell *cell);
/* The whole cell as stable text, one row a line, for golden files and debugging. */
void cell_text(struct buf *to, const struct cell *cell);

/*
 * Loading from a checkpoint: scalars first (names of resources too), then machines by id, jobs by
 * id (with the spec and old limits; its tasks start out PENDING), then tasks, quotas, identities,
 * requests by seq. Returns ERR_CORRUPT for rows that contradict each other. cell_load_done() checks
 * and computes what is derived.
 */
int cell_load_machine(struct cell *cell, const struct machine *row,
                      struct err *err) MUST_USE; /* copies attributes */
int cell_load_job(struct cell *cell, const struct job *row,
                  struct err *err) MUST_USE; /* copies spec */
/* The next one of this job. */
int cell_load_limit_old(struct cell *cell, job_id id, const struct resources *limit,
                        struct err *err) MUST_USE;
int cell_load_task(struct cell *cell, const struct task *row, struct err *err) MUST_USE;
int cell_load_quota(struct cell *cell, const struct quota *row, struct err *err) MUST_USE;
int cell_load_identity(struct cell *cell, const struct identity_row *row, struct err *err) MUST_USE;
int cell_load_request(struct cell *cell, uint64_t seq, const struct remembered *row,
                      struct err *err) MUST_USE;
int cell_load_done(struct cell *cell, struct err *err) MUST_USE;

/* Of a cell that was loaded from a checkpoint to be a new one: go to an index, a term and a job id
 * that its earlier life cannot have reached, and note it in the history. `at_s` is the time now, in
 * seconds since 1970: replicas given the same become the same. */
struct changes;
void cell_begin_again(struct cell *cell, uint64_t at_s, struct changes *changes);

#endif
