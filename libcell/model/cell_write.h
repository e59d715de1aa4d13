/*
 * cell_write.h - the mutators of the cell. Only the files of libcell/model may include this.
 *
 * A row changes in three steps that belong together: its fields, the sums it is part of, its hash.
 * For tasks task_set() does all three. For jobs and machines *_touch() notes the row, and its hash
 * is renewed once the command turns to another row or ends (touch_flush), for a command may change
 * the counters of one job a thousand times.
 */
#ifndef CELL_CELL_WRITE_H
#define CELL_CELL_WRITE_H

#include "cmd.h"

/*
 * apply.c: leave work over rows `from` to `to` for later. Steps go on in the order in which they
 * were added, those that a step adds behind all others. One says whether it is over; it stops when
 * it has no units left, and costs some for each row it has been at. What is done once costs none,
 * so that what it adds begins in the same piece.
 */
struct apply_step *steps_add(struct apply *a,
                             bool (*go_on)(struct apply *a, struct apply_step *step),
                             struct job *job, uint32_t from, uint32_t to);
static inline bool step_goes_on(const struct apply *a, const struct apply_step *step)
{
    return step->at < step->to && a->units > 0;
}
static inline void units_spend(struct apply *a, uint64_t units)
{
    a->units -= (uint32_t)MIN(units, (uint64_t)a->units);
}

/* cell.c */
struct machine *machine_find(const struct cell *cell, machine_id id); /* NULL: none */
struct job *job_find(const struct cell *cell, job_id id);
struct task *task_find(const struct cell *cell, task_id id);
/* DOWN; in the row of one that was removed, if any was. */
struct machine *cell_add_machine(struct cell *cell, const char *name);
/* The two halves of it: an empty row at the end, and an empty row becomes a machine. */
struct machine *cell_add_row(struct cell *cell);
void cell_name_machine(struct cell *cell, struct machine *machine, const char *name);
/* Without tasks. */
struct job *cell_add_job(struct cell *cell, job_id id, const struct job_spec *spec);
/* More rows of tasks, PENDING and without hashes; their addresses change if there is no memory for
 * them yet. */
void cell_grow_job(struct cell *cell, struct job *job, uint32_t task_count);
/* Where a task that backs off until then is kept. */
struct list *cell_backoff_slot(struct cell *cell, uint64_t not_before_ms);
/* A step over all rows there are: memory for spec.replicas. */
bool cell_reserve_tasks(struct apply *a, struct apply_step *step);
/* What it asks of machines, ready to judge them. */
const struct matcher *job_matcher(struct job *job);
void cell_add_dead(struct cell *cell, struct job *job); /* keeps dead_jobs in order */
void cell_remove_job(struct cell *cell, struct job *job);
const struct remembered *cell_remembered(const struct cell *cell, const uint64_t request_id[2]);
void cell_remember(struct cell *cell, uint64_t seq, const struct remembered *row);

/* machine.c: keep cell.clearing true after a change of the machine. */
void cell_list_clearing(struct cell *cell, struct machine *machine);
/* resize.c: keep cell.updating true after a change of job.outdated. */
void cell_list_updating(struct cell *cell, struct job *job);
bool task_shape_right(const struct job *job, uint32_t shape); /* can a task of it hold this? */
/*
 * A job gets another limit. resize_check_spec(); resize_look() adds the steps that ask its tasks
 * and the machines, resize_check() says what came out. Then resize_begin() adds the one after which
 * all live tasks have the limit until now as one from before, and the job may be given the new one;
 * and resize_go_on() that in which they get it, or are told to stop so that they come back with it.
 */
struct resize {
    struct job_spec next;           /* as the job is to be; borrows its words */
    struct resources most;          /* of the machines that are up */
    bool fits;                      /* one of them has the new limit */
    bool slots[JOB_LIMITS_OLD_MAX]; /* of job.limits_old: a task has it */
    uint32_t cramped;               /* the first alloc with more inside, or CRAMPED_NONE */
    uint32_t from;                  /* where tasks begin to get it */
    uint32_t looks;                 /* how many may still be looked at */
    uint32_t in_place, told;        /* what became of these */
};
enum { CRAMPED_NONE = CELL_TASKS_PER_JOB_MAX };
/* The last three use that in a->work, or what begins with it. */
int resize_check_spec(const struct job *job, const struct job_spec *next, struct err *err) MUST_USE;
int resize_check(const struct cell *cell, const struct job *job, const struct resize *resize,
                 struct err *err) MUST_USE;
void resize_look(struct apply *a, struct job *job, struct resize *resize);
void resize_begin(struct apply *a, struct job *job);
void resize_go_on(struct apply *a, struct job *job);

/* job_update.c: the live job of this name; NULL: there is none, and the answer says so. */
struct job *job_to_update(struct apply *a, const char *name);

/* job.c: number its resources as the cell does; ERR_NOT_FOUND when it has no such. */
int spec_settle(const struct cell *cell, struct job_spec *spec, struct err *err) MUST_USE;
/* machine_fault.c: of a task that its machine could not start, or did. */
void machine_start_failed(struct apply *a, struct machine *machine, task_id task);
void machine_started(struct apply *a, struct machine *machine);
/* It is well, and nothing is remembered. */
void machine_reset_faults(struct apply *a, struct machine *machine);
/* machine_left.c: nobody knows any more whether this live attempt runs; now somebody does. */
void machine_left_add(struct apply *a, struct machine *machine, const struct task *task);
void machine_left_put(struct machine *machine, struct attempt_ref ref);            /* loading */
uint32_t machine_left_find(const struct machine *machine, struct attempt_ref ref); /* or count */
void machine_left_take(struct apply *a, struct machine *machine, uint32_t at);
void machine_left_clear(struct apply *a, struct machine *machine);
/* machine.c: it is down, and its tasks are lost: how many. */
uint32_t machine_fall_silent(struct apply *a, struct machine *machine);
/* machine.c: can a machine have this much? */
int capacity_valid(const struct resources *capacity, const struct resource_names *names,
                   struct err *err) MUST_USE;
/* Were all live tasks of the machine given devices it has, none of them to too many? */
bool machine_devices_sound(const struct cell *cell, const struct machine *machine);

/* cell_rows.c: ERR_CORRUPT for a row that cannot be, alone or beside the others. */
int machine_row_check(const struct cell *cell, const struct machine *machine,
                      struct err *err) MUST_USE;
/* Its spec is settled, its tasks are not looked at. */
int job_row_check(const struct cell *cell, const struct job *job, struct err *err) MUST_USE;
int task_row_check(const struct cell *cell, const struct job *job, const struct task *task,
                   struct err *err) MUST_USE;
/* All its tasks are there, and counted. */
int job_tasks_check(const struct cell *cell, struct job *job, struct err *err) MUST_USE;
int machine_tasks_check(const struct cell *cell, const struct machine *machine,
                        struct err *err) MUST_USE;
int quota_row_check(const struct cell *cell, const struct quota *quota, struct err *err) MUST_USE;
int cell_scalars_check(const struct cell *cell, struct err *err) MUST_USE;
/* In seconds since 1970, in the year 2106: the cell's time stays before it, so that a new life of
 * the cell finds room behind it. A command that says a later one does not move it. */
#define CELL_END_S UINT32_MAX
/* Are its numbers so small that cell_begin_again() finds larger ones? No cell counts so far. */
bool cell_can_begin_again(const struct cell *cell);

/* quota.c */
void account_add(struct cell *cell, const struct job_spec *spec, uint32_t tasks);
void account_remove(struct cell *cell, const struct job_spec *spec, uint32_t tasks);
/* Keep what accounts say of whole jobs: it came, it has more rows, it died, it is removed. */
void account_job_added(struct cell *cell, const struct job *job);
void account_job_grew(struct cell *cell, const struct job *job, uint32_t tasks);
void account_job_died(struct cell *cell, struct job *job); /* keeps account.dead in order */
void account_job_removed(struct cell *cell, struct job *job);
/* Whoever has the most dead jobs; there is one. */
struct account *account_most_dead(const struct cell *cell);
/* Did `a` die before? In one millisecond the id decides, for a checkpoint knows no other order. */
bool job_died_before(const struct job *a, const struct job *b);
/* May user `by` (empty: the cell itself) have so many more live jobs, and rows of tasks, in the
 * name of this one? Who has no quota of tasks gets at most half of what the others leave. */
int share_check(const struct cell *cell, const char *by, const struct job_spec *spec, uint64_t jobs,
                uint64_t tasks, struct err *err) MUST_USE;
/* May user `by` give a job of this user this priority? */
int band_check(const struct cell *cell, const char *by, const struct job_spec *spec,
               struct err *err) MUST_USE;
/* Of a job that is not dead, the tasks that count against the quota. */
uint32_t job_accounted(const struct job *job);
void cell_put_quota(struct cell *cell, const struct quota *quota); /* replaces */
/* May so many tasks of this spec be there, in place of a job as it is now (NULL: of none)? */
int quota_check(const struct cell *cell, const struct job_spec *spec, uint32_t tasks,
                const struct job *now, struct err *err) MUST_USE;

/* identity.c: check the rows as cell_check() does; what they add to the digest */
uint64_t cell_check_identities(const struct cell *cell);

/* whereabouts.c: what is derived of where tasks are */
/* Count a task of the job that begins (+1) or ends (-1) to be live there. */
void job_count_at(const struct job *job, const struct machine *machine, int change);
/* Take its tasks out of all counts (-1) before its attributes change, and in again (+1). */
void machine_count_whereabouts(const struct cell *cell, const struct machine *machine, int change);
/* The newest job of its name came; it goes. */
void whereabouts_of(struct cell *cell, struct job *job);
void whereabouts_forget(struct job *job);
/* May one more job that asks this be there? ERR_LIMIT. */
int asks_check(const struct cell *cell, const struct job_spec *spec, struct err *err) MUST_USE;
/* The job begins, or ceases, to ask; what was not counted before has to be counted. */
void asks_add(struct cell *cell, struct job *job);
void asks_release(struct cell *cell, struct job *job);
/* Count what it asks for, as far as there are units, one a row of a task; false: it is to be called
 * again. No task may begin or end to be live meanwhile. */
bool asks_count(const struct cell *cell, struct job *job, uint32_t *units) MUST_USE;
void whereabouts_check(const struct cell *cell, const struct job *job); /* as cell_check() */

/* alloc.c */
/* May this job come: are there allocs that it fits? */
int alloc_set_check(const struct cell *cell, const struct job_spec *spec, struct err *err) MUST_USE;
/* This alloc has been told to stop: tell the tasks inside; it ends when the last is gone. */
void alloc_stop(struct apply *a, const struct task *alloc);
/* As changed. */
void alloc_note_inside(const struct cell *cell, const struct task *alloc, struct changes *changes);
void alloc_settle(struct apply *a, task_id alloc); /* a task that was inside has ended */
/* What is wrong with where this live task lies, alloc or inside one or neither; NULL: nothing. */
const char *alloc_wrong(const struct cell *cell, const struct task *task);
/* system.c: jobs that run on every machine */
bool system_wants(struct job *job, const struct machine *machine);
/* Would it take too long to ask each machine? ERR_LIMIT. */
int system_check(const struct cell *cell, const struct job_spec *spec, struct err *err) MUST_USE;
/* On which machines, by id - 1, from `from` on is a task wanted now? As many as there are units
 * for; returns where it ended. */
uint32_t system_judge(struct apply *a, const struct job_spec *spec, uint32_t from,
                      bool *ret_wanted);
uint32_t system_job_count(const struct cell *cell);
/* Of the new job's tasks from `from` on, by what system_judge() said: the same. */
uint32_t system_start(struct apply *a, struct job *job, uint32_t from, const bool *wanted);
/* Does the quota of its user pay for one task more? */
bool system_may_grow(const struct cell *cell, const struct job *job, struct err *err);
/* After a command: what waited for the quota and now may be there. False: it is to be called again,
 * for there are no units left. */
bool system_retry(struct apply *a);
/* To be called when a machine came, and when one changed. */
void system_machine_added(struct apply *a);
void system_machine_changed(struct apply *a, const struct machine *machine);
void system_machine_removed(struct apply *a, const struct machine *machine);
/* job.c */
void job_add_replica(struct apply *a, struct job *job);
/* A step: so many more tasks for a job, for which there is memory. */
bool job_start_tasks(struct apply *a, struct apply_step *step);
/* Rows that are walked to kill the task: with an alloc, those of its machine. */
uint64_t task_stop_units(const struct cell *cell, const struct job *job, const struct task *task);

/* row_hash.c: over every stored field, never over what is derived from other rows' fields only */
uint64_t spec_row_hash(const struct job_spec *spec);
uint64_t machine_row_hash(const struct machine *machine);
uint64_t job_row_hash(const struct job *job);
/* Are the machines it crashed on ones of the cell, each once, and none without a failure? */
bool task_crashes_right(const struct cell *cell, const struct task *task);
uint64_t task_row_hash(const struct task *task);
uint64_t quota_row_hash(const struct quota *quota);
uint64_t identity_row_hash(const struct identity_row *row);
uint64_t masters_row_hash(uint64_t hash, const struct masters *masters);
uint64_t request_row_hash(uint64_t seq, const struct remembered *row);

uint64_t attributes_row_hash(const struct machine *machine); /* and of its labels */
uint64_t resource_names_row_hash(uint64_t hash, const struct resource_names *names);

/* row_set.c */
void machine_touch(struct apply *a, struct machine *machine);
/* Takes a copy. */
void machine_describe(struct machine *machine, const struct words *attributes,
                      const struct words *labels); /* copied */
/* Count a task, if it is live, in (+1) or out of (-1) the sums of its machine. */
void machine_count(struct machine *machine, const struct job *job, const struct task *task,
                   int sign);
/* Do its sums hold: what may not exceed its capacity, whatever tasks use? */
bool machine_is_sound(const struct machine *machine);
void job_touch(struct apply *a, struct job *job);
/* The same of a job that may be dead: the time of its last change stays. */
void job_note(struct apply *a, struct job *job);
void touch_flush(struct apply *a);
/* Make the row `next`, with everything that follows from it: machine, job, lists, sums, hash. */
void task_set(struct apply *a, struct task *task, const struct task *next);
/* The present attempt is over; `state` is PENDING or final. */
void task_end(struct apply *a, struct task *task, enum task_state state, enum cause cause,
              int32_t exit_code);
/* The same, and the task keeps its place until `not_before_ms`: task_holds(). */
void task_hold(struct apply *a, struct task *task, enum cause cause, int32_t exit_code,
               uint64_t not_before_ms);
/* It keeps it no longer: PENDING, backing off until `not_before_ms`, or what else becomes of a task
 * that is told to stop for this. */
void task_let_go(struct apply *a, struct task *task, enum cause why, uint64_t not_before_ms);
/* An attempt that was told to stop did: that is the end we asked for, not a failure. */
void task_stopped(struct apply *a, struct task *task, int32_t exit_code, const char *detail);
/* What becomes of a task that was told to stop when it has. */
enum task_state task_stopped_state(const struct cell *cell, const struct task *task);
/* Tell a live task to stop, and with an alloc what is inside; an empty alloc ends at once. */
void task_stop(struct apply *a, struct task *task, enum cause cause);
/* The live tasks of a machine by id, those in allocs after all others: their order in its list is
 * not the same on a replica that was loaded from a checkpoint. The caller frees the array. */
struct task **machine_tasks_by_id(const struct machine *machine);

/* delta.c */
void changes_note_machine(struct changes *changes, machine_id id);
void changes_note_job(struct changes *changes, job_id id);
void changes_note_task(struct changes *changes, task_id id);
void changes_note_forgotten(struct changes *changes, job_id id);
void changes_note_request(struct changes *changes, uint64_t seq);
struct event *event_add(struct apply *a, enum event_kind kind);
struct event *event_add_job(struct apply *a, enum event_kind kind, const struct job *job);
/* Say in its detail who sent the command: ", by ada"; not, when it was the cell itself. */
void event_by(const struct apply *a, struct event *event);
struct event *event_add_machine(struct apply *a, enum event_kind kind,
                                const struct machine *machine);
/* About a task as it is now (before its row changes). */
void event_add_task(struct apply *a, enum event_kind kind, const struct task *task,
                    enum cause cause, int32_t exit_code, const char *detail);

/* decision.c */
/* {"among": "all", "runner_up": "m7", "victims": 2, "scores": [{"mismatch": [0.01,
 * 0.02], ...}, ...]}: what is not known is left out; `victims` are the events before this one; of
 * the scores an object per rank, the one that decides first first, winner and runner-up. */
void decision_print(struct buf *to, const struct cell *cell, const struct cmd_schedule *body,
                    const struct placement *p, uint32_t victims);

/* apply.c: the answer; the first message stands */
void answer_refuse(struct apply *a, enum err_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);
void answer_say(struct apply *a, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* The commands, by the table in cmd.h: machine.c, job.c, schedule.c, report.c, usage.c, ... */
#define X(name, number, text, member, body, ...) \
    void apply_##member(struct apply *a, const struct body *member);
CMD_KINDS(X)
#undef X
bool job_forget_old(struct apply *a); /* false: as system_retry() */

#endif
