/*
 * delta.h - what changed, as values: the one feed from the cell to everybody who keeps a copy.
 *
 * While commands are applied, `struct changes` notes ids and events. delta_collect() then copies
 * the rows as they are now into an immutable `struct delta`, which the SQLite projection and the
 * scheduler's view consume on their own threads. A row in a delta is the whole truth about it.
 */
#ifndef CELL_DELTA_H
#define CELL_DELTA_H

#include "cell.h"

#define EVENT_KINDS(X) \
    X(SUBMITTED, 1, "submitted") \
    X(ASSIGNED, 2, "assigned") \
    X(RUNNING, 3, "running") \
    X(FINISHED, 4, "finished") \
    X(FAILED, 5, "failed")     /* an attempt failed, or the task for good: see state */ \
    X(EVICTING, 6, "evicting") /* notice given: SIGTERM, grace, SIGKILL */ \
    X(EVICTED, 7, "evicted")   /* gone, pending again */ \
    X(LOST, 8, "lost") \
    X(KILLING, 9, "killing") \
    X(KILLED, 10, "killed") \
    X(MACHINE_UP, 11, "machine-up") \
    X(MACHINE_DOWN, 12, "machine-down") \
    X(FORGOTTEN, 13, "forgotten") /* a dead job made room */ \
    X(MACHINE_DRAINING, 14, "machine-draining") \
    X(MACHINE_UNDRAINED, 15, "machine-undrained") \
    X(QUOTA, 16, "quota") /* was set or cleared */ \
    X(UPDATED, 17, \
      "updated") /* a job: replicas, priority or limit; stands for its pending tasks too */ \
    X(POLICY, 18, "policy")   /* of the cell */ \
    X(HOLDING, 19, "holding") /* a large share of the machines is silent: none is declared down */ \
    X(HOLD_RELEASED, 20, "hold-released") \
    X(HOLD_OVER, 21, "hold-over") \
    X(WAITING, 22, "waiting")   /* a job does not fit, or for another reason than before */ \
    X(RESIZED, 23, "resized")   /* a task has the new limit of its job, and goes on */ \
    X(RESTORED, 24, "restored") /* from a checkpoint: a new life of the cell begins */ \
    X(REPLICA_JOINING, 25, "replica-joining") /* of borgmaster */ \
    X(REPLICA_JOINED, 26, "replica-joined") \
    X(REPLICA_LEAVING, 27, "replica-leaving") \
    X(REPLICA_GONE, 28, "replica-gone") \
    X(IDENTITY, 29, "identity") /* rights were given or taken, certificates revoked or restored */ \
    X(MACHINE_REFUSED, 30, "machine-refused") /* a second borglet of its name */ \
    X(MACHINE_SICK, 31, "machine-sick")       /* it could not start tasks: it gets none */ \
    X(MACHINE_WELL, 32, "machine-well")       /* it started one again */ \
    X(MACHINE_REMOVED, 33, "machine-removed") \
    X(FORMAT, 34, "format") /* the masters agreed on another one */

enum event_kind {
#define X(name, number, text) EVENT_##name = (number),
    EVENT_KINDS(X)
#undef X
};
enum {
#define X(name, number, text) +1
    EVENT_KIND_COUNT = 1 EVENT_KINDS(X) /* one more than the last */
#undef X
};
const char *event_kind_text(enum event_kind kind);

/* One fact of the cell's history; only SQLite keeps them. */
struct event {
    uint64_t seq;
    uint64_t time_ms;
    enum event_kind kind;
    job_id job;                       /* 0: of a machine */
    char job_name[CELL_NAME_MAX + 1]; /* "": of a machine; the job may be forgotten by now */
    int64_t task_index;               /* -1: of the whole job or of a machine */
    uint32_t attempt;
    machine_id machine;
    char machine_name[CELL_NAME_MAX + 1]; /* "": none; its number may be another's later */
    enum cause cause;
    int32_t exit_code;
    char detail[CELL_REASON_MAX + 1]; /* assigned: the decision, see decision_print() */
};

struct changes {
    uint64_t *machines; /* ids touched, each once (sorted out at collect) */
    size_t machine_count, machine_capacity;
    uint64_t *jobs;
    size_t job_count, job_capacity;
    uint64_t *tasks;
    size_t task_count, task_capacity;
    uint64_t *forgotten; /* ids of jobs removed with all their tasks */
    size_t forgotten_count, forgotten_capacity;
    uint64_t *requests; /* seqs of answers remembered */
    size_t request_count, request_capacity;
    struct event *events;
    size_t event_count, event_capacity;
    bool quotas; /* one of them changed */
    bool identities;
};
void changes_clear(struct changes *changes); /* keeps the memory */
void changes_release(struct changes *changes);
bool changes_empty(const struct changes *changes);

struct request_row {
    uint64_t seq;
    struct remembered remembered;
};

/* Immutable once made, so it may cross threads; references are counted atomically. */
struct delta {
    uint64_t index; /* of the last Raft entry that is whole with it */
    uint64_t term;
    uint64_t now_ms;
    uint64_t event_seq;
    uint64_t next_job;
    uint64_t request_seq;
    uint64_t digest;       /* of the cell after it */
    uint64_t stored_index; /* at most `index`: what this replica's log has on its disk; set by who
                              knows */
    bool full;             /* everything there is: forget what you knew */
    bool more; /* the last entry goes on in the next delta: only what is whole counts, and
                  the digest is of nothing; set by who knows */
    struct settings settings;
    struct resource_names resource_names;

    struct machine *machines; /* by id, with copies of their lists; links are not to be used */
    size_t machine_count;
    struct job *jobs; /* by id, with a copy of the spec; `tasks` and links are not to be used */
    size_t job_count;
    struct task *tasks; /* by id, after their jobs; `link` is not to be used */
    size_t task_count;
    uint64_t *forgotten; /* job ids */
    size_t forgotten_count;
    struct request_row *requests;
    size_t request_count;
    struct event *events;
    size_t event_count;
    bool has_quotas; /* one of them changed: here are all */
    struct quota *quotas;
    size_t quota_count;
    bool has_identities; /* the same */
    struct identity_row *identities;
    size_t identity_count;

    int references;
};
/* Rows of everything noted in `changes`, as the cell is now; the caller holds one reference. */
struct delta *delta_collect(const struct cell *cell, const struct changes *changes) MUST_USE;
/* Rows of the whole cell without events and requests: how a scheduler starts. */
struct delta *delta_full(const struct cell *cell) MUST_USE;
struct delta *delta_ref(struct delta *delta);
void delta_unref(struct delta *delta); /* NULL is fine */

#endif
