/*
 * users.c - calls of users, their attempts, and the choice of the next call.
 */
#include "users.h"

#include "checks.h"
#include "clock.h"
#include "cmd_pack.h"
#include "draw_cmd.h"
#include "registers.h"
#include "wire.h"

#include "rpc.h"

enum {
    STAGGER_MS = 150, /* as in cli/client.h */
    CONNECT_MS = 1000,
    ATTEMPT_MS = 2000,
    RETRY_MS = 100,
    TURN_MS = 20,
    PATIENCE_MS = 30000, /* for a whole call, like borgctl's --timeout */
    THINK_MS = 2000,
};

struct desk;

/* One attempt to connect to one replica. */
struct line {
    struct desk *desk;
    struct rpc_conn *conn; /* NULL: none */
    bool open;
    bool closing;
    uint64_t started_ms;
};

/* The present call of a user. */
struct call {
    bool active;
    bool asked;   /* an attempt is in progress */
    bool unknown; /* an attempt may have taken effect */
    bool fresh;   /* for reads */
    uint32_t method;
    struct cmd cmd; /* only kind and request id, for the checkers */
    struct buf request;
    uint64_t deadline_ms;
    uint64_t attempt_ms;
    uint64_t attempts;
    struct register_op op;
    char name[CELL_NAME_MAX + 1]; /* for reads: of the job; "": of the cell */
    uint64_t needed;              /* for reads: the index that must be visible */
    uint64_t round_ms;            /* when the next replica may be tried */
    unsigned round;               /* replicas tried in this round */
};

struct desk {
    struct node *node;
    char name[CELL_NAME_MAX + 1];
    bool is_operator;
    unsigned granted;   /* number of users to whom this user has granted rights */
    bool has_registers; /* shares the name of user u0 and its registers */
    struct tls_context *tls;
    uv_timer_t timer;
    struct rpc_options options;
    struct line lines[WORLD_REPLICAS];
    int current;   /* the line in use; -1: none */
    unsigned next; /* the replica to try first */
    uint64_t index_min;
    uint64_t seed;
    struct call call;
};

static struct desk desks[USERS_MAX];
static unsigned desk_count;
static uint64_t pause_ms = THINK_MS;
static bool resting;
static struct users_stats stats;

static void desk_turn(struct desk *desk);

static void desk_on_timer(uv_timer_t *timer)
{
    desk_turn(timer->data);
}

static void desk_wait(struct desk *desk, uint64_t ms)
{
    uv_timer_start(&desk->timer, desk_on_timer, ms, 0);
}

/* Lines */

static void line_close(struct desk *desk, struct line *line)
{
    if (line->conn == NULL || line->closing)
        return;
    if (desk->current >= 0 && &desk->lines[desk->current] == line)
        desk->current = -1;
    line->closing = true;
    rpc_close(line->conn);
}

static void users_on_open(struct rpc_conn *conn)
{
    struct line *line = rpc_data(conn);
    line->open = !line->closing;
    desk_turn(line->desk);
}

static void users_on_close(struct rpc_conn *conn, const struct err *why UNUSED)
{
    struct line *line = rpc_data(conn);
    if (line->desk->current >= 0 && &line->desk->lines[line->desk->current] == line)
        line->desk->current = -1;
    line->conn = NULL;
    line->open = false;
}

static void line_start(struct desk *desk, unsigned replica)
{
    struct line *line = &desk->lines[replica];
    struct err err;
    if (line->conn != NULL)
        return;
    *line = (struct line){.desk = desk, .started_ms = clock_mono_ms()};
    desk->options.data = line;
    if (rpc_connect(&desk->options, world_replica_address(replica), NULL, &line->conn, &err) != 0)
        line->conn = NULL;
}

/* Use the first open line and close the others. */
static void line_choose(struct desk *desk)
{
    for (unsigned i = 0; i < WORLD_REPLICAS && desk->current < 0; i++)
        if (desk->lines[i].conn != NULL && desk->lines[i].open && !desk->lines[i].closing)
            desk->current = (int)i;
    for (unsigned i = 0; i < WORLD_REPLICAS && desk->current >= 0; i++)
        if ((int)i != desk->current)
            line_close(desk, &desk->lines[i]);
}

/* Try the replicas, staggered, until one is open; start over when none could be reached. */
static void lines_try(struct desk *desk)
{
    struct call *call = &desk->call;
    uint64_t now_ms = clock_mono_ms();
    unsigned busy = 0;
    for (unsigned i = 0; i < WORLD_REPLICAS; i++) {
        struct line *line = &desk->lines[i];
        if (line->conn != NULL && !line->open && now_ms >= line->started_ms + CONNECT_MS)
            line_close(desk, line);
        busy += line->conn != NULL;
    }
    if (call->round < WORLD_REPLICAS && (busy == 0 || now_ms >= call->round_ms)) {
        line_start(desk, (desk->next + call->round++) % WORLD_REPLICAS);
        call->round_ms = now_ms + STAGGER_MS;
    } else if (call->round == WORLD_REPLICAS && busy == 0) {
        call->round = 0;
    }
    desk_wait(desk, TURN_MS);
}

/* Calls */

static void call_end(struct desk *desk)
{
    buf_clear(&desk->call.request);
    desk->call.active = false;
    desk_wait(desk, 1 + world_random(2 * pause_ms));
}

static void call_give_up(struct desk *desk)
{
    struct call *call = &desk->call;
    bool unknown = call->unknown && call->method == WIRE_COMMAND;
    checks_note("%s gives up a %s, %s", desk->name,
                call->method == WIRE_COMMAND ? cmd_kind_text(call->cmd.kind) : "read",
                unknown ? "unknown" : "unavailable");
    registers_given_up(&call->op, unknown);
    stats.unknown += unknown;
    stats.unavailable += !unknown;
    call_end(desk);
}

static bool may_retry(enum err_code code)
{
    return code == ERR_UNAVAILABLE || code == ERR_NOT_LEADER || code == ERR_UNKNOWN_OUTCOME ||
           code == ERR_CLOSED || code == ERR_TIMEOUT;
}

static void command_done(struct desk *desk, const void *body, size_t size)
{
    struct wire_answer answer;
    struct err err;
    if (wire_unpack_answer(body, size, &answer, &err) != 0)
        checks_broken("lost", "%s got a malformed answer: %s", desk->name, err.msg);
    checks_on_answer(&desk->call.cmd, &answer);
    registers_answered(&desk->call.op, &answer);
    desk->index_min = MAX(desk->index_min, answer.index);
    stats.accepted += answer.code == ERR_OK;
    stats.refused += answer.code != ERR_OK;
}

static void read_done(struct desk *desk, const void *body, size_t size)
{
    struct wire_rows rows;
    struct err err;
    if (wire_unpack_rows(body, size, &rows, &err) != 0)
        checks_broken("fresh", "%s got a malformed answer: %s", desk->name, err.msg);
    checks_on_read(desk->call.needed, rows.applied_index, desk->call.fresh);
    checks_on_rows(desk->call.name, &rows);
    registers_read(&desk->call.op, &rows);
    wire_rows_release(&rows);
    stats.reads++;
}

static void users_on_answer(void *data, const struct err *err, const void *body, size_t size)
{
    struct desk *desk = data;
    struct call *call = &desk->call;
    call->asked = false;
    if (err == NULL && call->method == WIRE_COMMAND) {
        command_done(desk, body, size);
        call_end(desk);
    } else if (err == NULL) {
        read_done(desk, body, size);
        call_end(desk);
    } else if (!may_retry(err->code)) {
        registers_given_up(&call->op, false);
        stats.refused++;
        call_end(desk);
    } else {
        call->unknown |=
            err->code == ERR_UNKNOWN_OUTCOME || err->code == ERR_CLOSED || err->code == ERR_TIMEOUT;
        if (err->code == ERR_TIMEOUT)
            call->attempt_ms *= 2;
        /* Another replica may know the leader, or be on the majority side of a partition. */
        if (desk->current >= 0) {
            desk->next = ((unsigned)desk->current + 1) % WORLD_REPLICAS;
            line_close(desk, &desk->lines[desk->current]);
        }
        call->round = 0;
        desk_wait(desk, RETRY_MS);
    }
}

static void call_ask(struct desk *desk)
{
    struct call *call = &desk->call;
    struct err err;
    uint64_t now_ms = clock_mono_ms();
    uint64_t left_ms = call->deadline_ms > now_ms + 500 ? call->deadline_ms - now_ms : 500;
    stats.repeated += call->attempts++ > 0;
    call->asked = rpc_request(desk->lines[desk->current].conn, call->method, call->request.bytes,
                              call->request.size, MIN(call->attempt_ms, left_ms), users_on_answer,
                              desk, &err) == 0;
    if (!call->asked) {
        line_close(desk, &desk->lines[desk->current]);
        desk_wait(desk, RETRY_MS);
    }
}

/* Choice of the next call */

/* Draw a command for a simulated task: some succeed, some fail, most continue. */
static void draw_argv(uint64_t *seed, struct job_spec *spec)
{
    char ms[16];
    if (spec->is_alloc_set)
        return;
    words_release(&spec->argv);
    words_add(&spec->argv, "sim");
    snprintf(ms, sizeof ms, "%" PRIu32,
             draw_below(seed, 2) == 0 ? 0 : 100 + draw_below(seed, 120000));
    words_add(&spec->argv, ms);
    words_add(&spec->argv, draw_below(seed, 3) == 0 ? "1" : "0");
    spec->grace_ms = draw_below(seed, 5000);
}

/* Usually draw a job that may be submitted, because an early refusal tests little. */
static void draw_job(struct desk *desk, const struct cell *cell, struct cmd *cmd)
{
    for (int tries = 0; tries < 8; tries++) {
        if (tries > 0)
            cmd_release(cmd);
        *cmd = (struct cmd){0};
        draw_submit(&desk->seed, cell, cmd);
        draw_argv(&desk->seed, &cmd->job_submit);
        if (spec_valid(&cmd->job_submit, NULL) == 0)
            return;
    }
}

static struct cmd draw_own(struct desk *desk)
{
    struct cmd cmd = {0};
    const struct cell *cell = checks_newest_cell();
    uint32_t what = draw_below(&desk->seed, 10);
    if (what < 5 && cell != NULL) {
        draw_job(desk, cell, &cmd);
    } else if (what < 8) {
        draw_update(&desk->seed, &cmd);
    } else {
        cmd.kind = CMD_JOB_KILL;
        snprintf(cmd.job_kill.name, sizeof cmd.job_kill.name, "j%" PRIu32,
                 draw_below(&desk->seed, 12));
    }
    return cmd;
}

static struct cmd draw_operator(struct desk *desk)
{
    struct cmd cmd = {0};
    if (desk->granted + 1 < desk_count) { /* first, all users get the right to use every band */
        cmd.kind = CMD_IDENTITY_SET;
        snprintf(cmd.identity_set.identity, sizeof cmd.identity_set.identity, "user/u%u",
                 desk->granted++);
        cmd.identity_set.add = BIT(RIGHT_PRODUCTION) | BIT(RIGHT_MONITORING);
        return cmd;
    }
    switch (draw_below(&desk->seed, 8)) {
    case 0:
        draw_granted(&desk->seed, &cmd);
        break;
    case 1:
        draw_setting(&desk->seed, &cmd);
        break;
    case 2:
    case 3:
        return draw_own(desk);
    default:
        draw_drain(&desk->seed, &cmd);
        break;
    }
    return cmd;
}

/* Return whether borgctl could send this command. draw_cmd.h also draws invalid values, and changes
 * of the replicas, of which this world has exactly five. */
static bool cmd_can_be_said(const struct cmd *cmd)
{
    return cmd->kind != CMD_MASTERS_SET && cmd->kind != CMD_MASTER_ADD &&
           cmd->kind != CMD_MASTER_REMOVE && cmd->kind != CMD_MASTER_STEP &&
           (cmd->kind != CMD_QUOTA_SET || cmd->quota_set.quota.band < BAND_COUNT) &&
           (cmd->kind != CMD_POLICY_SET || cmd->policy_set.policy < POLICY_COUNT) &&
           (cmd->kind != CMD_HOLD_SET || cmd->hold_set.hold < HOLD_COUNT);
}

static void call_command(struct desk *desk, struct cmd cmd)
{
    struct call *call = &desk->call;
    struct err err;
    random_id(cmd.request_id);
    cmd.known_index = desk->index_min;
    call->method = WIRE_COMMAND;
    call->cmd =
        (struct cmd){.kind = cmd.kind, .request_id = {cmd.request_id[0], cmd.request_id[1]}};
    call->active = cmd_can_be_said(&cmd) && cmd_pack(&cmd, &call->request, &err) == 0;
    cmd_release(&cmd);
}

/* Read the job with this name; "" reads the cell as a whole. */
static void call_read(struct desk *desk, const char *name, bool fresh)
{
    struct call *call = &desk->call;
    char sql[CELL_NAME_MAX + 8] = "meta";
    str_copy(call->name, sizeof call->name, name);
    if (name[0] != '\0')
        snprintf(sql, sizeof sql, "job %s", name);
    call->fresh = fresh;
    struct wire_query query = {.sql = sql, .index_min = desk->index_min, .fresh = fresh};
    call->method = WIRE_QUERY;
    call->needed = fresh ? checks_acknowledged() : desk->index_min;
    call->active = true;
    wire_pack_query(&call->request, &query);
}

static void call_read_any(struct desk *desk)
{
    char name[8] = "";
    if (draw_below(&desk->seed, 2) == 0)
        snprintf(name, sizeof name, "j%" PRIu32, draw_below(&desk->seed, 12));
    call_read(desk, name, draw_below(&desk->seed, 2) == 0);
}

static void call_register(struct desk *desk)
{
    struct call *call = &desk->call;
    struct cmd cmd;
    if (registers_begin(&desk->seed, (uint32_t)(desk - desks), &call->op, &cmd))
        call_command(desk, cmd);
    else
        call_read(desk, call->op.name, true);
}

static void call_begin(struct desk *desk)
{
    struct call *call = &desk->call;
    struct buf request = call->request;
    *call = (struct call){
        .request = request, .deadline_ms = clock_mono_ms() + PATIENCE_MS, .attempt_ms = ATTEMPT_MS};
    uint32_t what = draw_below(&desk->seed, 10);
    if (desk->has_registers && what < 4)
        call_register(desk);
    else if (what < 6)
        call_read_any(desk);
    else if (desk->is_operator)
        call_command(desk, draw_operator(desk));
    else
        call_command(desk, draw_own(desk));
}

static void desk_turn(struct desk *desk)
{
    struct call *call = &desk->call;
    if (!call->active && resting)
        return;
    if (!call->active)
        call_begin(desk);
    if (!call->active) { /* the drawn command cannot be sent */
        call_end(desk);
        return;
    }
    if (call->asked)
        return;
    if (clock_mono_ms() + RETRY_MS >= call->deadline_ms) {
        call_give_up(desk);
        return;
    }
    line_choose(desk);
    if (desk->current >= 0)
        call_ask(desk);
    else
        lines_try(desk);
}

static void desk_boot(void *data)
{
    struct desk *desk = data;
    char common_name[CELL_NAME_MAX + 16];
    snprintf(common_name, sizeof common_name, "user/%s", desk->has_registers ? "u0" : desk->name);
    desk->tls = world_tls(common_name);
    desk->current = -1;
    desk->seed = world_random(UINT64_MAX) | 1;
    desk->options = (struct rpc_options){.loop = node_loop(desk->node),
                                         .tls = desk->tls,
                                         .on_open = users_on_open,
                                         .on_close = users_on_close};
    uv_timer_init(node_loop(desk->node), &desk->timer);
    desk->timer.data = desk;
    desk_wait(desk, 1 + world_random(pause_ms));
}

void users_start(unsigned count)
{
    ASSERT(count <= USERS_MAX);
    for (unsigned i = 0; i < count; i++) {
        struct desk *desk = &desks[i];
        snprintf(desk->name, sizeof desk->name, "u%u", i);
        desk->is_operator = i + 1 == count;
        desk->has_registers = i % 2 == 0 && !desk->is_operator;
        if (desk->is_operator)
            str_copy(desk->name, sizeof desk->name, CELL_OPERATOR);
        desk->next = i % WORLD_REPLICAS;
        desk->node = world_node_new(desk->name);
        node_set_boot(desk->node, desk_boot, desk);
        desk_count = i + 1;
        node_restart(desk->node);
    }
}

unsigned users_count(void)
{
    return desk_count;
}

struct node *user_node(unsigned i)
{
    ASSERT(i < desk_count);
    return desks[i].node;
}

void users_set_pause(uint64_t ms)
{
    pause_ms = ms;
}

void users_rest(void)
{
    resting = true;
}

bool users_idle(void)
{
    for (unsigned i = 0; i < desk_count; i++)
        if (desks[i].call.active)
            return false;
    return true;
}

struct users_stats users_stats(void)
{
    return stats;
}
