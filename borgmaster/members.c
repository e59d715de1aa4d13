/*
 * members.c - transfers leadership, and carries out changes of the replicas.
 */
#include "members.h"

#include "clock.h"
#include "log.h"
#include "members_next.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TICK_MS = 100,
    ROUND_MS = 10, /* between two looks at the answers to a round */
    ASK_MS = 500,  /* between two questions to the same replica */
    HOLD_MS = 500, /* for which an opened log waits for the answers of the others */
    LEADERLESS_MS =
        3000, /* without a leader for so long, a replica asks whether it is still a member */
};

/*
 * A round asks all members whether they answer: it writes a barrier to the log, and a member that
 * has stored it has answered after the round began. The time since a member's last message says
 * nothing about the last second, and a step that needs a member which died in that second could be
 * neither committed nor taken back.
 */
struct round {
    struct members *members;
    struct raftlog_barrier barrier;
    bool asking;         /* until the barrier is answered */
    uint64_t index;      /* of an entry after the barrier; 0: the barrier failed */
    uint64_t started_ms; /* 0: no round is under way */
};

/* A command that changes the replicas and waits for the members' answers. */
struct asked_change {
    struct round round;
    struct cmd cmd; /* it owns no memory */
    answer_cb cb;
    void *data;
    bool waits;
};

struct members {
    struct core *core;
    struct peers *peers;
    struct rpc_call *transfer; /* the request for the transfer under way */
    uv_timer_t tick;
    bool proposing;    /* a command of this file is under way */
    bool transferring; /* a transfer is under way because this replica leaves */
    char waiting[192];
    uint64_t led_ms;      /* when a leader was last known */
    uint64_t asked_ms;    /* when the others were last asked */
    bool checking;        /* the others are asked what they know of this replica's log */
    uint64_t opened_ms;   /* when the log was opened */
    uint64_t released_ms; /* when the log ceased to be held; 0: it is held */
    uint64_t last_index;  /* the last entry of the log when it was opened */
    uint64_t checked[MASTER_ROWS_MAX]; /* the replicas that have answered */
    size_t checked_count;
    struct round round; /* the round before a step */
    struct asked_change change;
};

static void answer(struct rpc_call *call, const struct err *err, const struct wire_answer *a)
{
    struct buf CLEANUP(buf_release) body = {0};
    if (err != NULL) {
        rpc_refuse(call, err);
        return;
    }
    wire_pack_answer(&body, a);
    rpc_reply(call, body.bytes, body.size);
}

static void on_forwarded(void *data, const struct err *err, const struct wire_answer *a)
{
    answer(data, err, a);
}

static void on_transferred(void *data, int status)
{
    struct members *members = data;
    struct rpc_call *call = members->transfer;
    struct wire_answer a = {0};
    struct err err;
    members->transfer = NULL;
    uint64_t leader = raftlog_status(core_log(members->core)).leader_id;
    if (status == 0) {
        snprintf(a.msg, sizeof a.msg, "replica %" PRIu64 " leads now", leader);
        log_info("leader.handed_over to=%" PRIu64, leader);
        answer(call, NULL, &a);
        return;
    }
    if (leader != 0)
        err_set(&err, ERR_STATE,
                "no other replica took over in time: replica %" PRIu64 " still leads", leader);
    else
        err_set(&err, ERR_STATE,
                "no replica leads yet, an election is under way: `borgctl cell "
                "status` shows who wins it");
    log_warn("leader.transfer_failed leader=%" PRIu64, leader);
    answer(call, &err, NULL);
}

static int transfer_begin(struct members *members, struct rpc_call *call,
                          const struct wire_transfer *asked, struct err *err)
{
    struct wire_answer a = {0};
    struct raftlog *log = core_log(members->core);
    if (log == NULL)
        return err_set(err, ERR_NOT_LEADER,
                       "replica %" PRIu64 " is new and waits until the others let it join; no "
                       "leader is known to it",
                       core_opts(members->core)->self->id);
    int rv = raftlog_transfer(log, asked->replica, on_transferred, members, err);
    if (rv == -ERR_EXISTS) { /* the replica leads already */
        str_copy(a.msg, sizeof a.msg, err->msg);
        answer(call, NULL, &a);
        return 0;
    }
    if (rv == 0)
        members->transfer = call;
    return rv;
}

void members_on_transfer(struct members *members, struct rpc_conn *conn, struct rpc_call *call,
                         const void *body, size_t size)
{
    struct core *core = members->core;
    uint64_t self = core_opts(core)->self->id;
    uint64_t leader = core_leader_id(core);
    bool is_user = rpc_peer(conn)->role == ROLE_USER;
    struct wire_transfer asked;
    struct err err;
    int rv = wire_unpack_transfer(body, size, &asked, &err);
    if (rv == 0 && is_user && leader != 0 && leader != self) {
        struct buf CLEANUP(buf_release) packed = {0};
        wire_pack_transfer(&packed, &asked);
        peers_request(members->peers, leader, WIRE_TRANSFER, &packed, on_forwarded, call);
        return;
    }
    if (rv == 0)
        rv = transfer_begin(members, call, &asked, &err);
    if (rv != 0)
        rpc_refuse(call, &err);
}

/* The leader makes the members of the log follow the table of the cell. */

static struct members_seen look(const struct members *members,
                                struct raftlog_peer peers[RAFTLOG_MEMBERS_MAX])
{
    struct raftlog *log = core_log(members->core);
    return (struct members_seen){.wanted = &core_cell(members->core)->settings.masters,
                                 .peers = peers,
                                 .peer_count = raftlog_peers(log, peers),
                                 .self = core_opts(members->core)->self->id,
                                 .last_index = raftlog_status(log).last_index};
}

static void on_tick(uv_timer_t *timer);

static void tick_soon(struct members *members)
{
    uv_timer_start(&members->tick, on_tick, ROUND_MS, TICK_MS);
}

static void on_round_barrier(struct raftlog_barrier *req, int status)
{
    struct round *round = req->data;
    round->asking = false;
    round->index = status == 0 ? raftlog_status(core_log(round->members->core)).commit_index : 0;
}

/* No round may be under way. */
static int round_start(struct members *members, struct round *round, struct err *err)
{
    ASSERT(!round->asking);
    round->members = members;
    round->barrier.data = round;
    round->index = 0;
    round->started_ms = 0;
    int rv = core_barrier(members->core, &round->barrier, on_round_barrier, err);
    if (rv != 0)
        return rv;
    round->asking = true;
    round->started_ms = clock_mono_ms();
    tick_soon(members);
    return 0;
}

/* Returns whether all members have answered, or those that answer at all. `seen` gets the index
 * that was asked for. */
static bool round_is_over(const struct round *round, struct members_seen *seen)
{
    seen->asked_index = round->index;
    return !round->asking &&
           (members_all_answered(seen) || clock_mono_ms() - round->started_ms >= MEMBERS_SILENT_MS);
}

static int change_check(const struct members *members, const struct members_seen *seen,
                        const struct cmd *cmd, struct err *err)
{
    const struct masters *wanted = seen->wanted;
    uint64_t id = cmd->kind == CMD_MASTER_ADD ? cmd->master_add.replaces : cmd->master_remove.id;
    if (!core_leads(members->core))
        return err_set(err, ERR_UNAVAILABLE,
                       "leadership was lost before the members had answered; try again");
    if (members->change.round.index == 0)
        return err_set(err, ERR_UNAVAILABLE,
                       "a majority of the replicas does not answer the leader; try again");
    if (id != 0 && masters_find(wanted, id) == NULL)
        return 0; /* the cell refuses it with a better reason */
    for (uint32_t i = 0; i < wanted->count; i++)
        if (wanted->rows[i].state != MASTER_VOTES)
            return 0; /* the cell refuses this, too */
    return cmd->kind == CMD_MASTER_ADD ? members_may_add(seen, id, err)
                                       : members_may_remove(seen, id, err);
}

/* Decide about the waiting command when its round is over. */
static void change_tick(struct members *members)
{
    struct asked_change *change = &members->change;
    struct raftlog_peer peers[RAFTLOG_MEMBERS_MAX];
    struct members_seen seen = look(members, peers);
    struct err err;
    if (!round_is_over(&change->round, &seen))
        return;
    change->waits = false;
    int rv = change_check(members, &seen, &change->cmd, &err);
    if (rv == 0)
        core_propose(members->core, &change->cmd, change->cb, change->data);
    else if (change->cb != NULL)
        change->cb(change->data, &err, NULL);
}

static void change_take(struct members *members, const struct cmd *cmd, answer_cb cb, void *data)
{
    struct asked_change *change = &members->change;
    struct err err;
    int rv = 0;
    if (!core_leads(members->core))
        rv = err_set(&err, ERR_UNAVAILABLE, "the leader has only just taken over; try again");
    else if (change->waits)
        rv = err_set(&err, ERR_UNAVAILABLE,
                     "another change of the replicas is under way; try again");
    if (rv == 0)
        rv = round_start(members, &change->round, &err);
    if (rv == 0) {
        change->cmd = *cmd;
        change->cb = cb;
        change->data = data;
        change->waits = true;
    } else if (cb != NULL) {
        cb(data, &err, NULL);
    }
}

/* The next format is that which all masters know; a command that names none means the latest. */
static void format_take(struct members *members, const struct cmd *cmd, answer_cb cb, void *data)
{
    struct err why;
    uint32_t next = core_format_next(members->core, &why);
    uint32_t now = cell_format(core_cell(members->core));
    struct cmd asked = *cmd;
    if (asked.format_set.format == 0)
        asked.format_set.format = next > now ? next : CELL_FORMAT;
    if (asked.format_set.format > CELL_FORMAT)
        err_set(&why, ERR_INVALID, "the masters know formats up to %d, not %" PRIu32, CELL_FORMAT,
                asked.format_set.format);
    if (asked.format_set.format > MAX(next, now)) {
        cb(data, &why, NULL);
        return;
    }
    core_propose(members->core, &asked, cb, data);
}

void members_command(struct members *members, const struct cmd *cmd, answer_cb cb, void *data)
{
    bool leads = core_leader_id(members->core) == core_opts(members->core)->self->id;
    bool changes = cmd->kind == CMD_MASTER_ADD || cmd->kind == CMD_MASTER_REMOVE;
    if (leads && changes)
        change_take(members, cmd, cb, data);
    else if (leads && cmd->kind == CMD_FORMAT_SET)
        format_take(members, cmd, cb, data);
    else
        core_propose(members->core, cmd, cb, data);
}

const char *members_waiting(const struct members *members)
{
    return members->waiting;
}

static void on_proposed(void *data, const struct err *err, const struct wire_answer *a)
{
    struct members *members = data;
    members->proposing = false;
    if (err == NULL && a->code == ERR_OK)
        return;
    log_warn("members.command_failed reason=%s, retrying",
             log_quoted(err != NULL ? err->msg : a->msg));
}

static void propose(struct members *members, const struct cmd *cmd)
{
    members->proposing = true;
    core_propose(members->core, cmd, on_proposed, members);
}

/* Tell a new cell its replicas, which are the members of the log. The first leader does this. */
static void propose_masters(struct members *members)
{
    const struct masters *known = core_masters(members->core);
    struct raftlog_peer peers[RAFTLOG_MEMBERS_MAX];
    struct cmd cmd = {.kind = CMD_MASTERS_SET};
    size_t count = raftlog_peers(core_log(members->core), peers);
    for (size_t i = 0; i < count && i < CELL_MASTERS_MAX; i++) {
        const struct master *row = masters_find(known, peers[i].id);
        if (row != NULL)
            cmd.masters_set.rows[cmd.masters_set.count++] = *row;
    }
    propose(members, &cmd);
}

/* A new cell uses the latest format that all its masters know; later on operators decide. */
static bool propose_format(struct members *members)
{
    struct cmd cmd = {.kind = CMD_FORMAT_SET,
                      .format_set.format = core_format_next(members->core, NULL)};
    if (cmd.format_set.format != 0)
        propose(members, &cmd);
    return cmd.format_set.format != 0;
}

static void on_left(void *data, int status)
{
    struct members *members = data;
    members->transferring = false;
    if (status == 0)
        log_info("leader.handed_over reason=leaving");
}

static void take_step(struct members *members, const struct members_step *step)
{
    static const char *const parts[] = {"gone", "spare", "stand-by", "voter"};
    struct raftlog *log = core_log(members->core);
    struct cmd cmd = {.kind = CMD_MASTER_STEP, .master_step = step->command};
    struct err err = {0};
    int rv = 0;
    if (step->action == MEMBERS_PROPOSE)
        propose(members, &cmd);
    if (step->action == MEMBERS_TRANSFER) {
        rv = raftlog_transfer(log, 0, on_left, members, &err);
        members->transferring = rv == 0;
    }
    if (step->action == MEMBERS_CHANGE) {
        rv = raftlog_member(log, step->id, step->address, step->part, &err);
        if (rv == 0)
            log_info("members.changed replica=%" PRIu64 " address=%s part=%s", step->id,
                     step->address, parts[step->part]);
    }
    str_copy(members->waiting, sizeof members->waiting, rv != 0 ? err.msg : step->why);
}

/* Begin a round if none was made. Returns true when it is over; `seen` then holds the answers. */
static bool step_may_be_taken(struct members *members, struct members_seen *seen)
{
    struct round *round = &members->round;
    struct err err;
    if (round->asking)
        return false;
    if (round->started_ms == 0) {
        if (round_start(members, round, &err) != 0)
            str_copy(members->waiting, sizeof members->waiting, err.msg);
        return false;
    }
    if (!round_is_over(round, seen))
        return false;
    if (round->index != 0)
        return true;
    round->started_ms = 0; /* make another round */
    return false;
}

static void lead_tick(struct members *members)
{
    struct raftlog_peer peers[RAFTLOG_MEMBERS_MAX];
    if (members->proposing || members->transferring)
        return;
    if (core_cell(members->core)->settings.masters.next_id == 0) {
        propose_masters(members);
        return;
    }
    if (core_cell(members->core)->settings.format == 0 && propose_format(members))
        return;
    struct members_seen seen = look(members, peers);
    struct members_step step = members_next(&seen);
    if (step.action == MEMBERS_CHANGE || step.action == MEMBERS_TRANSFER) {
        if (!step_may_be_taken(members, &seen))
            return;
        step = members_next(&seen);
    }
    members->round.started_ms = 0;
    take_step(members, &step);
}

/* A replica without a leader asks the others whether it is a member. */

/* End the process on refusals that are final. */
static void on_join_answer(void *data, const struct err *err, const struct wire_answer *a UNUSED)
{
    struct members *members = data;
    const struct core_options *options = core_opts(members->core);
    struct err own;
    if (err != NULL && (err->code == ERR_NOT_FOUND || err->code == ERR_STATE)) {
        options->on_fatal(options->data, err);
    } else if (err == NULL && core_log(members->core) == NULL) {
        log_info("members.join_allowed");
        if (core_join(members->core, &own) != 0)
            options->on_fatal(options->data, &own);
    }
}

static uint64_t worked_ms(const struct members *members)
{
    return members->released_ms == 0 ? 0 : clock_mono_ms() - members->released_ms + 1;
}

static void ask(struct members *members, uint64_t to, bool is_new, answer_cb cb, void *data)
{
    const struct cell_replica *self = core_opts(members->core)->self;
    struct wire_join join = {.id = self->id,
                             .is_new = is_new,
                             .last_index = members->last_index,
                             .worked_ms = worked_ms(members),
                             .format = CELL_FORMAT};
    struct buf CLEANUP(buf_release) body = {0};
    str_copy(join.raft, sizeof join.raft, self->raft);
    wire_pack_join(&body, &join);
    peers_request(members->peers, to, WIRE_JOIN, &body, cb, data);
}

static void ask_tick(struct members *members)
{
    struct core *core = members->core;
    const struct masters *masters = core_masters(core);
    uint64_t now_ms = clock_mono_ms();
    bool is_new = core_log(core) == NULL;
    if (core_leader_id(core) != 0)
        members->led_ms = now_ms;
    if ((!is_new && now_ms - members->led_ms < LEADERLESS_MS) ||
        now_ms - members->asked_ms < ASK_MS)
        return;
    members->asked_ms = now_ms;
    for (uint32_t i = 0; i < masters->count; i++)
        if (masters->rows[i].id != core_opts(core)->self->id)
            ask(members, masters->rows[i].id, is_new, on_join_answer, members);
}

/* A replica that starts with a log asks the others whether the log has everything it
 * acknowledged. */

struct check {
    struct members *members;
    uint64_t id; /* the replica that is asked */
    uint64_t asked_ms;
    bool is_held; /* whether our log was held when we asked */
};

static bool is_checked(const struct members *members, uint64_t id)
{
    for (size_t i = 0; i < members->checked_count; i++)
        if (members->checked[i] == id)
            return true;
    return false;
}

/* Returns whether the answer still applies to the present log. */
static bool answer_applies(const struct check *check)
{
    if (check->is_held)
        return raftlog_is_held(core_log(check->members->core));
    return clock_mono_ms() - check->asked_ms <= MEMBERS_ANSWER_MS;
}

static void on_check_answer(void *data, const struct err *err, const struct wire_answer *a)
{
    struct check *check = data;
    struct members *members = check->members;
    const struct core_options *options = core_opts(members->core);
    bool is_old = err != NULL && err->code == ERR_CORRUPT;
    bool answered =
        err == NULL || (is_old ? answer_applies(check)
                               : err->code != ERR_UNAVAILABLE && err->code != ERR_UNKNOWN_OUTCOME);
    if (answered && !is_checked(members, check->id) && members->checked_count < MASTER_ROWS_MAX)
        members->checked[members->checked_count++] = check->id;
    free(check);
    if (answered && is_old)
        options->on_fatal(options->data, err);
    else if (answered)
        on_join_answer(members, err, a);
}

/* Replicas that cannot be reached now are asked as soon as they can, but not waited for. */
static void check_tick(struct members *members)
{
    struct core *core = members->core;
    const struct masters *masters = core_masters(core);
    uint64_t self = core_opts(core)->self->id, now_ms = clock_mono_ms();
    size_t missing = 0;
    for (uint32_t i = 0; i < masters->count; i++)
        missing += masters->rows[i].id != self && !is_checked(members, masters->rows[i].id);
    bool is_held = raftlog_is_held(core_log(core));
    if (is_held && (missing == 0 || now_ms - members->opened_ms >= HOLD_MS)) {
        log_info("members.checked index=%" PRIu64 " answers=%zu", members->last_index,
                 members->checked_count);
        raftlog_go(core_log(core));
        members->released_ms = now_ms;
        is_held = false;
    }
    members->checking = missing > 0;
    if (!is_held && now_ms - members->asked_ms < ASK_MS)
        return;
    members->asked_ms = now_ms;
    for (uint32_t i = 0; i < masters->count && missing > 0; i++) {
        uint64_t id = masters->rows[i].id;
        if (id == self || is_checked(members, id))
            continue;
        struct check *check = xcalloc(1, sizeof *check);
        *check = (struct check){members, id, now_ms, is_held};
        ask(members, id, false, on_check_answer, check);
    }
}

void members_on_opened(struct members *members)
{
    members->checking = raftlog_is_held(core_log(members->core));
    members->opened_ms = clock_mono_ms();
    members->released_ms = members->checking ? 0 : members->opened_ms;
    members->last_index = raftlog_status(core_log(members->core)).last_index;
    if (members->checking)
        tick_soon(members);
}

struct joining {
    struct raftlog_barrier barrier;
    struct members *members;
    struct rpc_call *call;
    struct wire_join asked;
};

static int join_check(const struct cell *cell, const struct wire_join *asked, struct err *err)
{
    const struct masters *masters = &cell->settings.masters;
    const struct master *row = masters_find(masters, asked->id);
    if (masters->next_id == 0)
        return err_set(err, ERR_UNAVAILABLE, "the cell does not know its replicas yet");
    if (row == NULL && asked->id < masters->next_id)
        return err_set(err, ERR_NOT_FOUND,
                       "replica %" PRIu64 " was removed from the cell; a new one gets a new number "
                       "and an empty directory: borgctl cell add-replica",
                       asked->id);
    if (row == NULL)
        return err_set(err, ERR_NOT_FOUND,
                       "the cell has no replica %" PRIu64 ": run `borgctl cell add-replica` first",
                       asked->id);
    if (asked->format < cell_format(cell))
        return err_set(err, ERR_STATE,
                       "the cell uses format %u, and the release of replica %" PRIu64
                       " knows formats up to %" PRIu32 ": start it with a later one",
                       cell_format(cell), asked->id, asked->format);
    if (strcmp(row->raft, asked->raft) != 0)
        return err_set(err, ERR_STATE,
                       "replica %" PRIu64
                       " has the address %s, not %s: start it there, or replace it",
                       asked->id, row->raft, asked->raft);
    if (asked->is_new && row->state != MASTER_JOINING)
        return err_set(err, ERR_STATE,
                       "the directory of replica %" PRIu64 " is empty, but the cell counts on what "
                       "it had stored: borgctl cell replace-replica %" PRIu64,
                       asked->id, asked->id);
    return 0;
}

static void on_join_barrier(struct raftlog_barrier *req, int status)
{
    struct joining *j = req->data;
    struct wire_answer ok = {0};
    struct err err;
    int rv = status == 0 ? join_check(core_cell(j->members->core), &j->asked, &err)
                         : err_set(&err, ERR_UNAVAILABLE, "leadership was lost");
    if (rv != 0)
        log_warn("members.refused replica=%" PRIu64 " reason=%s", j->asked.id, log_quoted(err.msg));
    answer(j->call, rv != 0 ? &err : NULL, &ok);
    free(j);
}

/*
 * Returns whether the asking replica lacks entries that it acknowledged. An acknowledged entry is
 * on its disk and survives a loss of power, so a shorter log has always lost something. While a log
 * is held it acknowledges nothing, so all that we know of it is from before. Later it may have
 * acknowledged more; then only what we knew before it was released counts. A question is not older
 * than MEMBERS_ANSWER_MS, otherwise the answer is ignored.
 */
bool members_is_old_copy(const struct wire_join *asked, uint64_t acked_index, uint64_t acked_age_ms)
{
    return !asked->is_new && acked_index > asked->last_index &&
           (asked->worked_ms == 0 || acked_age_ms > asked->worked_ms + MEMBERS_ANSWER_MS);
}

static int acked_check(const struct members *members, const struct wire_join *asked,
                       struct err *err)
{
    const struct raftlog *log = core_log(members->core);
    uint64_t age_ms = 0, acked = log != NULL ? raftlog_acked(log, asked->id, &age_ms) : 0;
    if (!members_is_old_copy(asked, acked, age_ms))
        return 0;
    err_set(err, ERR_CORRUPT,
            "the log of replica %" PRIu64 " ends with entry %" PRIu64 ", but it has told replica "
            "%" PRIu64 " that it had stored entry %" PRIu64 ": it is an old copy, or has lost what "
            "others count on, and must not vote: borgctl cell replace-replica %" PRIu64,
            asked->id, asked->last_index, core_opts(members->core)->self->id, acked, asked->id);
    log_warn("members.refused replica=%" PRIu64 " reason=%s", asked->id, log_quoted(err->msg));
    return -(int)err->code;
}

void members_on_join(struct members *members, struct rpc_conn *conn, struct rpc_call *call,
                     const void *body, size_t size)
{
    struct joining *j = xcalloc(1, sizeof *j);
    char name[CELL_NAME_MAX + 1];
    struct err err;
    *j = (struct joining){.members = members, .call = call};
    j->barrier.data = j;
    int rv = wire_unpack_join(body, size, &j->asked, &err);
    snprintf(name, sizeof name, "%" PRIu64, j->asked.id);
    if (rv == 0 && strcmp(rpc_peer(conn)->name, name) != 0)
        rv = err_set(&err, ERR_DENIED, "the certificate belongs to replica %s",
                     rpc_peer(conn)->name);
    if (rv == 0)
        rv = acked_check(members, &j->asked, &err);
    if (rv == 0)
        rv = core_leads(members->core)
                 ? core_barrier(members->core, &j->barrier, on_join_barrier, &err)
                 : err_set(&err, ERR_NOT_LEADER, "this replica is not the leader");
    if (rv == 0)
        return;
    rpc_refuse(call, &err);
    free(j);
}

static void on_tick(uv_timer_t *timer)
{
    struct members *members = timer->data;
    if (members->change.waits)
        change_tick(members);
    if (members->checking && core_log(members->core) != NULL)
        check_tick(members);
    if (members->change.waits || members->round.asking || members->round.started_ms != 0 ||
        (members->checking && raftlog_is_held(core_log(members->core))))
        tick_soon(members);
    if (core_leads(members->core)) {
        lead_tick(members);
        members->led_ms = clock_mono_ms();
        return;
    }
    members->waiting[0] = '\0';
    members->round.started_ms = 0;
    ask_tick(members);
}

struct members *members_new(struct core *core, struct peers *peers)
{
    struct members *members = xcalloc(1, sizeof *members);
    members->core = core;
    members->peers = peers;
    members->led_ms = clock_mono_ms();
    uv_timer_init(core_opts(core)->loop, &members->tick);
    members->tick.data = members;
    uv_timer_start(&members->tick, on_tick, TICK_MS, TICK_MS);
    return members;
}
