/*
 * cmd.h - the commands: the only way to change a cell.
 *
 * Time and identities are in the command, stamped by the leader. A refusal is a normal, replicated,
 * identical result. A command never fails half-way.
 */
#ifndef CELL_CMD_H
#define CELL_CMD_H

#include "cell.h"
#include "delta.h"

/*
 * Every kind of command, a row each: name, number, text, the member of struct cmd that holds its
 * body, the struct of that, who may send it (access.h) and what that user does. Numbers are
 * appended, never used again. The body's record is cmd_<member>_record in cmd_fields.c, and
 * apply_<member>() carries the command out. The body of a command that is for the OWNER of a job
 * begins with the name of that job.
 */
#define CMD_KINDS(X) \
    CMD_KINDS_1(X) \
    CMD_KINDS_2(X)
#define CMD_KINDS_1(X) \
    X(MACHINE_REGISTER, 1, "machine-register", machine_register, cmd_machine_register, CELL, \
      "register a machine") /* a borglet is there (again) */ \
    X(MACHINE_DOWN, 2, "machine-down", machine_down, cmd_machine_down, CELL, \
      "declare a machine down") /* a machine is silent: its tasks are lost */ \
    X(JOB_SUBMIT, 3, "job-submit", job_submit, job_spec, ANYBODY, "submit a job") \
    X(JOB_KILL, 4, "job-kill", job_kill, cmd_job_kill, OWNER, "kill it") \
    X(SCHEDULE, 5, "schedule", schedule, cmd_schedule, CELL, \
      "place tasks") /* a batch of placements and of reasons why not */ \
    X(REPORT, 6, "report", report, cmd_report, CELL, \
      "report what became of tasks") /* what a borglet saw of its tasks */ \
    X(WAKE, 7, "wake", wake, cmd_wake, CELL, "end a back-off") /* back-offs that are over */ \
    X(MACHINE_DRAIN, 8, "machine-drain", machine_drain, cmd_machine_drain, OPERATOR, \
      "drain or undrain a machine") /* it gets no new work, and what runs moves; or the end of \
                                       that */ \
    X(QUOTA_SET, 9, "quota-set", quota_set, cmd_quota_set, OPERATOR, "set a quota") \
    X(MACHINE_EVICT, 10, "machine-evict", machine_evict, cmd_machine_evict, CELL, \
      "go on with a drain") /* the next tasks of a draining machine may go */ \
    X(JOB_UPDATE, 11, "job-update", job_update, cmd_job_update, OWNER, "update it") \
    X(POLICY_SET, 12, "policy-set", policy_set, cmd_policy_set, OPERATOR, "set the cell's policy") \
    X(HOLD_SET, 13, "hold-set", hold_set, cmd_hold_set, OPERATOR, \
      "release the cell") /* the cell holds still after a large loss, or goes on */ \
    X(USAGE, 14, "usage", usage, cmd_usage, CELL, \
      "report what tasks use") /* what tasks of a machine use */ \
    X(MACHINE_RECLAIM, 15, "machine-reclaim", machine_reclaim, cmd_machine_reclaim, CELL, \
      "free the ram of a machine") /* it ran out of ram: tasks are evicted */ \
    X(JOB_RESIZE, 16, "job-resize", job_resize, cmd_job_resize, CELL, \
      "go on with an update") /* the next tasks of a job may get its new limit */ \
    X(MASTERS_SET, 17, "masters-set", masters_set, masters, CELL, \
      "say who the replicas are") /* the replicas at the beginning; next_id does not count */ \
    X(MASTER_ADD, 18, "master-add", master_add, cmd_master_add, OPERATOR, \
      "add a replica") /* another replica, perhaps in place of one */ \
    X(MASTER_REMOVE, 19, "master-remove", master_remove, cmd_master_remove, OPERATOR, \
      "remove a replica") \
    X(MASTER_STEP, 20, "master-step", master_step, cmd_master_step, CELL, \
      "go on with a change of the replicas") /* a replica has joined, or is gone */ \
    X(IDENTITY_SET, 21, "identity-set", identity_set, cmd_identity_set, OPERATOR, \
      "give rights or revoke certificates") \
    X(MACHINE_TRY, 22, "machine-try", machine_try, cmd_machine_try, CELL, \
      "try a sick machine again") \
    X(MACHINE_REMOVE, 23, "machine-remove", machine_remove, cmd_machine_remove, OPERATOR, \
      "remove a machine") \
    X(FORMAT_SET, 24, "format-set", format_set, cmd_format_set, OPERATOR, \
      "have the cell use another format")
/* Those that the second format added. */
#if CELL_FORMAT >= 2
#define CMD_KINDS_2(X) \
    X(JOB_RESTART, 25, "job-restart", job_restart, cmd_job_restart, OWNER, "restart it")
#else
#define CMD_KINDS_2(X)
#endif

enum cmd_kind {
#define X(name, number, ...) CMD_##name = (number),
    CMD_KINDS(X)
#undef X
};
enum {
#define X(...) +1
    CMD_KIND_COUNT = 1 CMD_KINDS(X) /* one more than the last */
#undef X
};
const char *cmd_kind_text(enum cmd_kind kind); /* "unknown" for numbers that are none */

struct cmd_machine_register {
    char name[CELL_NAME_MAX + 1];
    char addr[CELL_ADDR_MAX + 1];
    struct resources capacity;
    struct resource_names resource_names; /* of the slots of `capacity` */
    struct words attributes;              /* attributes.h; owned */
    uint64_t instance;                    /* which borglet of this name: struct wire_hello */
    uint64_t directory;                   /* the same */
    struct words labels;                  /* as attributes, but for people and their tools; owned */
};

struct cmd_machine_down {
    machine_id machine;
};

struct cmd_machine_drain {
    char name[CELL_NAME_MAX + 1];
    bool on; /* false: it takes work again */
};

struct cmd_machine_try {
    machine_id machine;
};

struct cmd_machine_remove {
    char name[CELL_NAME_MAX + 1];
    bool force; /* also with work on it, which is lost */
};

struct cmd_machine_evict {
    machine_id machine;
};

#define JOB_UPDATE_KEEP INT64_C(-1)
struct cmd_job_update {
    char name[CELL_NAME_MAX + 1];
    int64_t replicas; /* or JOB_UPDATE_KEEP */
    int64_t priority; /* the same */
    uint32_t resized; /* which of `limit` change: a bit per enum resource, of JOB_RESIZABLE */
    struct resources limit;
};
#define JOB_RESIZABLE (1U << RES_CPU | 1U << RES_RAM | 1U << RES_DISK | 1U << RES_GPU)

struct cmd_job_resize {
    job_id job;
};

struct cmd_quota_set {
    struct quota quota;
    struct resource_names resource_names; /* of the slots of its limit; others are unlimited */
    bool clear;                           /* only its user and band count */
};

struct cmd_policy_set {
    enum policy policy;
};

struct cmd_hold_set {
    enum hold hold;
    uint32_t silent; /* of `machines` that are up; for the event */
    uint32_t machines;
};

struct cmd_job_restart {
    char name[CELL_NAME_MAX + 1];
    int64_t index;  /* of one task; -1: all */
    uint32_t batch; /* so many may be down at once for it; 0: max_disruptions alone counts */
};

struct cmd_format_set {
    uint32_t format; /* that all masters know from now on: format.c */
};

struct cmd_job_kill {
    char name[CELL_NAME_MAX + 1];
};

/* What a stage of scoring says of two machines: costs, the smaller is better. */
struct stage_costs {
    uint32_t stage; /* in cmd_schedule.stages */
    int32_t winner;
    int32_t runner_up; /* 0 when there is none */
};

/* Which machines it was chosen among. */
#define AMONGS(X) \
    X(ALL, "all") \
    X(ALLOCS, "allocs")   /* those of its set */ \
    X(WOKEN, "woken")     /* those where something changed for the better: it waited for that */ \
    X(ITS_OWN, "its-own") /* the task has a machine of its own */
enum among {
#define X(name, text) AMONG_##name,
    AMONGS(X)
#undef X
        AMONG_COUNT
};
const char *among_text(enum among among);

/* How the scheduler came to a placement. Nothing is decided by it: it goes into the history. */
struct decision {
    machine_id runner_up; /* who would have been next; 0: nobody */
    enum among among;
    struct stage_costs scores[DECISION_SCORES_MAX]; /* those that are not 0 for both */
    uint32_t score_count;
};

/* Scores of one rank are added up; the lowest rank decides first. */
struct score_stage {
    char name[STAGE_NAME_MAX + 1]; /* "": none has this number */
    uint32_t rank;
    bool is_share; /* in millionths */
};

struct placement {
    struct attempt_ref task; /* attempt: the last one; the placement makes the next */
    machine_id machine;
    uint32_t victim_first; /* its victims: victims[first .. first + count), live on `machine` */
    uint32_t victim_count;
    task_id alloc;  /* live on `machine`: the task goes inside, as its victims are; 0: not */
    uint32_t shape; /* spec_shape() the attempt gets */
    struct decision decision;
};

struct verdict {
    job_id job;
    char reason[CELL_REASON_MAX + 1];
    bool is_news; /* more than numbers differ from what was told before: it goes into the history */
};

/* Each placement is accepted or refused by itself, against the cell as it then is. Those of a gang
 * stand one after the other, are all of its tasks that wait, and are accepted all or none. */
struct cmd_schedule {
    struct placement *placements;
    uint32_t placement_count;
    struct attempt_ref *victims;
    uint32_t victim_count;
    struct verdict *verdicts;
    uint32_t verdict_count;
    struct score_stage *stages; /* what the scores of the decisions are about */
    uint32_t stage_count;
};

enum report_kind {
    REPORT_RUNNING,     /* pid and ports are set */
    REPORT_EXITED,      /* exit_code >= 0, or -signal */
    REPORT_START_ERROR, /* detail says why */
    REPORT_LOST,        /* the borglet knows nothing of this attempt */
    REPORT_KIND_COUNT
};

/* Whose fault a start error is: the task's own failure, or that of the machine, which could not
 * have started any other one either (no free port, disk full, no process, no shim). */
enum report_fault { FAULT_TASK, FAULT_MACHINE, REPORT_FAULT_COUNT };

struct report {
    struct attempt_ref task;
    enum report_kind kind;
    int32_t pid;
    int32_t exit_code;
    uint16_t ports[SPEC_PORTS_MAX];
    char detail[128];        /* for the event; cut */
    machine_id machine;      /* whose borglet says so: set by the replica that drives it */
    enum report_fault fault; /* START_ERROR */
    bool told_to_stop;       /* EXITED: it had been told to when it ended; else by itself */
};

/* Of as many machines as had something to say at the same moment. */
struct cmd_report {
    struct report *reports;
    uint32_t report_count;
};

/* What a running task uses, by enum resource. */
struct task_usage {
    struct attempt_ref task;
    int64_t used[RECLAIM_COUNT];
    machine_id machine; /* as in struct report */
};

struct cmd_usage {
    struct task_usage *tasks;
    uint32_t task_count; /* at most CMD_USAGES_MAX */
};

struct cmd_machine_reclaim {
    machine_id machine;
};

struct cmd_master_add {
    char rpc[CELL_ADDR_MAX + 1];
    char raft[CELL_ADDR_MAX + 1];
    uint64_t replaces; /* 0: none */
};

struct cmd_master_remove {
    uint64_t id;
};

struct cmd_master_step {
    uint64_t id;
    bool gone; /* else it has caught up and is to be counted */
};

/* What becomes of the certificates that an identity has. */
enum revoke {
    REVOKE_NO,      /* as it was */
    REVOKE_YES,     /* those issued until now do not count any more */
    REVOKE_RESTORE, /* all count again */
    REVOKE_COUNT
};

struct cmd_identity_set {
    char identity[IDENTITY_MAX + 1]; /* "user/ada" */
    uint32_t add, remove;            /* a bit per enum right */
    enum revoke revoke;
};

struct cmd_wake {
    task_id *tasks;
    uint32_t task_count;
};

struct cmd {
    uint64_t request_id[2];       /* not 0,0: remember the answer, answer a repetition with it */
    uint64_t known_index;         /* an applied index known before it was first sent; 0: none */
    char user[CELL_NAME_MAX + 1]; /* who; "" for the cell itself */
    uint64_t time_ms;             /* stamped by the leader */
    enum cmd_kind kind;
    /* Never sent: the command as cmd_pack() made it with the time UINT64_MAX, borrowed. To pack it
     * is to stamp these bytes with time_ms then, and of its body only the counts are read
     * (scope.h). NULL: it is not packed yet. */
    const struct buf *packed;
    union {
#define X(name, number, text, member, body, ...) struct body member;
        CMD_KINDS(X)
#undef X
    };
};
void cmd_release(struct cmd *cmd); /* frees what the command points to */

/* The format that the cell uses: nothing of a later one is carried out. */
unsigned cell_format(const struct cell *cell);
/* The oldest format that can carry the command. */
unsigned cmd_format(const struct cmd *cmd);
/* ERR_STATE: the command needs a later format than the cell uses. */
int cmd_format_check(const struct cell *cell, const struct cmd *cmd, struct err *err) MUST_USE;

struct answer {
    enum err_code code; /* ERR_OK or the refusal's */
    job_id job;         /* of a submit or kill */
    uint32_t accepted;  /* placements, reports, tasks woken */
    uint32_t refused;
    char msg[CELL_REASON_MAX + 1]; /* for a person */
};

/* Would the cell make something of this, was it told? Who drives borglets asks before. */
bool cell_usage_is_news(const struct cell *cell, const struct task_usage *usage, uint64_t now_ms);

/* Note all rows that a decision speaks of, as changed. Whoever made it assumes them changed, and
 * must be told how they are when nothing became of it. */
void schedule_note(const struct cell *cell, const struct cmd_schedule *body,
                   struct changes *changes);

/*
 * Apply one command. `changes` collects what was touched (rows of refused placements too: the
 * scheduler believes otherwise and must be told) and the events; it is added to, not cleared.
 */
void cell_apply(struct cell *cell, const struct cmd *cmd, struct changes *changes,
                struct answer *ret);

struct apply;
/* Work over many rows that a command leaves for later: see steps_add() in cell_write.h. */
struct apply_step {
    bool (*go_on)(struct apply *apply, struct apply_step *step);
    struct job *job;    /* whose tasks they are; NULL: rows of something else */
    struct list *place; /* where a walk over a list is */
    uint32_t at, to;    /* the next row, and the one behind the last */
};
enum { APPLY_STEPS_MAX = 8 };

/*
 * The same in pieces, so that a command over all tasks of a large job does not take long at once:
 * begin, go on until that is true, and then the cell, the changes and the answer are to the letter
 * what cell_apply() makes of them, however large the pieces were. Between two pieces the cell is
 * sound enough to be read, and nothing else may change it: each row is whole, and as it was or on
 * its way to what it will be; a job that is being submitted or grows has fewer tasks than replicas,
 * at least one; machines may have promised more than they have; and the digest is of no use. Begin
 * has changed the cell already.
 *
 * A command without work over many rows (placements, reports) is over in the first piece and costs
 * no memory. What is here is for libcell/model only; its memory is the caller's, and all that begin
 * is given must last until the end.
 */
struct apply {
    struct cell *cell;
    const struct cmd *cmd;
    struct changes *changes;
    struct answer *answer;
    struct job *job;         /* touched and not yet hashed again, or NULL */
    struct machine *machine; /* the same */
    uint32_t units;          /* that the piece may still take, about a row each */
    bool over;
    struct apply_step steps[APPLY_STEPS_MAX]; /* a ring, in order */
    uint32_t step_first, step_count;
    struct apply_step retry; /* of system_retry(), when they are through */
    void *work;          /* what its steps share, in one piece of memory; owned, NULL: nothing */
    struct task *copied; /* rows of a job that are being moved to new memory; owned, NULL: none */
};

void cell_apply_begin(struct apply *apply, struct cell *cell, const struct cmd *cmd,
                      struct changes *changes, struct answer *ret);
/* Work for about so many rows, at least one. True: the command has been applied. */
bool cell_apply_go_on(struct apply *apply, uint32_t units) MUST_USE;
/* In place of the rest: the cell is given up half changed. */
void cell_apply_drop(struct apply *apply);

#endif
