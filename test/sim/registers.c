/*
 * registers.c - records of operations on one name after another.
 */
#include "registers.h"

#include "checks.h"
#include "draw_cmd.h"
#include "world.h"

#include "chaos/linear.h"

enum { REPLICAS_MAX = 9 };

static struct linear_op ops[REGISTER_OPS]; /* on the present name */
static bool dropped[REGISTER_OPS];         /* did not take effect */
static size_t op_count, open_count;
static unsigned name_number = 1;

void registers_check(void)
{
    struct linear_op history[REGISTER_OPS];
    struct linear_result result;
    size_t count = 0;
    for (size_t i = 0; i < op_count; i++)
        if (!dropped[i])
            history[count++] = ops[i];
    if (linear_check(history, count, &result) == LINEAR_NO) {
        CLEANUP(buf_release) struct buf text = {0};
        linear_print(&text, history, count, &result);
        fprintf(stderr, "%s", buf_text(&text));
        checks_broken("linear", "what users saw of job k%u is not linearizable", name_number);
    }
    op_count = 0;
    name_number++;
}

static struct cmd create(const char *name, uint32_t value)
{
    struct cmd cmd = {.kind = CMD_JOB_SUBMIT};
    struct term term;
    cmd.job_submit = spec_named(name, "", 0); /* the free band has no quota */
    cmd.job_submit.replicas = value;
    ASSERT(term_parse("moon exists", &term, NULL) == 0);
    clause_add(clauses_add(&cmd.job_submit.constraints, 0), term);
    return cmd;
}

static struct cmd update(const char *name, uint32_t value)
{
    struct cmd cmd = {.kind = CMD_JOB_UPDATE,
                      .job_update = {.replicas = value, .priority = JOB_UPDATE_KEEP}};
    str_copy(cmd.job_update.name, sizeof cmd.job_update.name, name);
    return cmd;
}

static struct cmd kill_of(const char *name)
{
    struct cmd cmd = {.kind = CMD_JOB_KILL};
    str_copy(cmd.job_kill.name, sizeof cmd.job_kill.name, name);
    return cmd;
}

bool registers_begin(uint64_t *seed, uint32_t client, struct register_op *op, struct cmd *cmd)
{
    static const enum linear_kind kinds[] = {LINEAR_CREATE, LINEAR_CREATE, LINEAR_UPDATE,
                                             LINEAR_UPDATE, LINEAR_KILL,   LINEAR_READ,
                                             LINEAR_READ,   LINEAR_READ};
    enum linear_kind kind = kinds[draw_below(seed, ARRAY_SIZE(kinds))];
    uint32_t value = 1 + draw_below(seed, REPLICAS_MAX);
    /* The first operation on a new name waits until all others have ended; until then its user
     * reads. */
    if (op_count == REGISTER_OPS && open_count == 0)
        registers_check();
    bool full = op_count == REGISTER_OPS;
    *op = (struct register_op){.active = !full, .number = op_count};
    snprintf(op->name, sizeof op->name, "k%u", name_number);
    if (full || kind == LINEAR_READ) {
        op->read = true;
        kind = LINEAR_READ;
    }
    if (!full) {
        dropped[op_count] = false;
        open_count++;
        ops[op_count++] = (struct linear_op){
            .start = world_now_us(), .kind = kind, .value = value, .client = client};
    }
    if (kind == LINEAR_CREATE)
        *cmd = create(op->name, value);
    else if (kind == LINEAR_UPDATE)
        *cmd = update(op->name, value);
    else if (kind == LINEAR_KILL)
        *cmd = kill_of(op->name);
    return kind != LINEAR_READ;
}

static struct linear_op *op_end(struct register_op *op)
{
    ASSERT(op->active);
    op->active = false;
    open_count--;
    ops[op->number].end = world_now_us();
    return &ops[op->number];
}

void registers_answered(struct register_op *op, const struct wire_answer *answer)
{
    if (!op->active)
        return;
    struct linear_op *record = op_end(op);
    bool refused =
        answer->code == ERR_EXISTS || answer->code == ERR_NOT_FOUND || answer->code == ERR_STATE;
    record->outcome = answer->code == ERR_OK ? LINEAR_DONE : LINEAR_REFUSED;
    if (answer->code != ERR_OK && !refused)
        checks_broken("linear", "%s of %s was refused: %s", linear_kind_text(record->kind),
                      op->name, answer->msg);
}

static int64_t number_of(const struct wire_rows *rows, const char *column)
{
    for (uint32_t i = 0; i < rows->column_count; i++)
        if (strcmp(rows->columns[i], column) == 0)
            return rows->values[i].integer;
    PANIC("a read has no column %s", column);
}

void registers_read(struct register_op *op, const struct wire_rows *rows)
{
    if (!op->active)
        return;
    struct linear_op *record = op_end(op);
    record->outcome = LINEAR_DONE;
    record->value = 0;
    if (rows->row_count > 0 && number_of(rows, "killed") == 0)
        record->value = (uint64_t)number_of(rows, "replicas");
}

void registers_given_up(struct register_op *op, bool unknown)
{
    if (!op->active)
        return;
    struct linear_op *record = op_end(op);
    record->outcome = LINEAR_UNKNOWN;
    dropped[op->number] = !unknown || record->kind == LINEAR_READ;
}
