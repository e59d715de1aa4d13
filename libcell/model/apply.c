/*
 * apply.c - one command against one cell: repetition, time, dispatch, the steps of a large one,
 * answer.
 */
#include "access.h"
#include "cell_write.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void say(struct apply *a, const char *fmt, va_list args)
{
    if (a->answer->msg[0] == '\0')
        vsnprintf(a->answer->msg, sizeof a->answer->msg, fmt, args);
}

void answer_refuse(struct apply *a, enum err_code code, const char *fmt, ...)
{
    ASSERT(code != ERR_OK);
    a->answer->code = code;
    va_list args;
    va_start(args, fmt);
    say(a, fmt, args);
    va_end(args);
}

void answer_say(struct apply *a, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    say(a, fmt, args);
    va_end(args);
}

static void dispatch(struct apply *a, const struct cmd *cmd)
{
    switch (cmd->kind) {
#define X(name, number, text, member, ...) \
    case CMD_##name: \
        apply_##member(a, &cmd->member); \
        return;
        CMD_KINDS(X)
#undef X
    }
    answer_refuse(a, ERR_INVALID, "command kind %d is none this release knows", (int)cmd->kind);
}

static void remember(struct apply *a)
{
    const struct cmd *cmd = a->cmd;
    struct remembered row = {
        .request_id = {cmd->request_id[0], cmd->request_id[1]},
        .index = a->cell->applied_index,
        .code = a->answer->code,
        .job = a->answer->job,
    };
    str_copy(row.msg, sizeof row.msg, a->answer->msg);
    uint64_t seq = a->cell->request_seq + 1;
    cell_remember(a->cell, seq, &row);
    changes_note_request(a->changes, seq);
}

/*
 * May the request have been carried out and its answer be forgotten? Then its entry is not newer
 * than the oldest answer there is; and it is newer than what the sender knew when it first sent it.
 * No clock is needed, and a copy that was held up somewhere for a day does no harm.
 */
static bool may_be_forgotten(const struct cell *cell, const struct cmd *cmd)
{
    if (cell->request_seq < CELL_REQUESTS_MAX || cmd->known_index == 0)
        return false;
    return cmd->known_index < cell->requests[(cell->request_seq + 1) % CELL_REQUESTS_MAX].index;
}

/* Is the answer known already, or known to be forgotten? */
static bool answer_again(const struct cell *cell, const struct cmd *cmd, struct answer *ret)
{
    const struct remembered *old = cell_remembered(cell, cmd->request_id);
    if (old != NULL) {
        ret->code = old->code;
        ret->job = old->job;
        str_copy(ret->msg, sizeof ret->msg, old->msg);
    } else if (may_be_forgotten(cell, cmd)) {
        ret->code = ERR_EXPIRED;
        snprintf(ret->msg, sizeof ret->msg,
                 "the command is older than the last %d that the cell remembers: it may have "
                 "been carried out, or not",
                 CELL_REQUESTS_MAX);
    }
    return old != NULL || ret->code != ERR_OK;
}

static bool has_request_id(const struct cmd *cmd)
{
    return cmd->request_id[0] != 0 || cmd->request_id[1] != 0;
}

struct apply_step *steps_add(struct apply *a,
                             bool (*go_on)(struct apply *a, struct apply_step *step),
                             struct job *job, uint32_t from, uint32_t to)
{
    ASSERT(a->step_count < APPLY_STEPS_MAX);
    struct apply_step *step = &a->steps[(a->step_first + a->step_count++) % APPLY_STEPS_MAX];
    *step = (struct apply_step){.go_on = go_on, .job = job, .at = from, .to = to};
    return step;
}

static bool steps_go_on(struct apply *a)
{
    while (a->step_count > 0 && a->units > 0) {
        struct apply_step *step = &a->steps[a->step_first];
        if (!step->go_on(a, step))
            return false;
        a->step_first = (a->step_first + 1) % APPLY_STEPS_MAX;
        a->step_count--;
    }
    return a->step_count == 0;
}

void cell_apply_begin(struct apply *a, struct cell *cell, const struct cmd *cmd,
                      struct changes *changes, struct answer *ret)
{
    struct err err;
    *ret = (struct answer){0};
    a->cell = cell;
    a->cmd = cmd;
    a->changes = changes;
    a->answer = ret;
    a->job = NULL;
    a->machine = NULL;
    a->step_first = a->step_count = 0;
    a->retry.place = NULL;
    a->work = NULL;
    a->copied = NULL;
    a->over = has_request_id(cmd) && answer_again(cell, cmd, ret);
    if (a->over)
        return;
    if (cmd->time_ms / 1000 < CELL_END_S)
        cell->now_ms = MAX(cell->now_ms, cmd->time_ms);
    if (cmd_access_check(cell, cmd, &err) == 0 && cmd_format_check(cell, cmd, &err) == 0)
        dispatch(a, cmd);
    else
        answer_refuse(a, err.code, "%s", err.msg);
}

/* A row that is touched in two pieces is noted in the changes of both, so each ends with a flush.
 */
bool cell_apply_go_on(struct apply *a, uint32_t units)
{
    if (a->over)
        return true;
    a->units = MAX(units, 1U);
    bool done = steps_go_on(a) && system_retry(a);
    touch_flush(a);
    a->over = done && job_forget_old(a);
    if (!a->over)
        return false;
    cell_apply_drop(a);
    if (has_request_id(a->cmd))
        remember(a);
    return true;
}

void cell_apply_drop(struct apply *a)
{
    free(a->work);
    free(a->copied);
    a->work = NULL;
    a->copied = NULL;
    a->over = true;
}

void cell_apply(struct cell *cell, const struct cmd *cmd, struct changes *changes,
                struct answer *ret)
{
    struct apply a;
    cell_apply_begin(&a, cell, cmd, changes, ret);
    while (!cell_apply_go_on(&a, UINT32_MAX))
        ;
}
