/*
 * decision.c - what the history says of a decision: how a machine was chosen.
 */
#include "cell_write.h"

#include <string.h>

/* Each placement is printed, on every replica: by hand this takes a tenth of buf_printf()'s time.
 */
static void put(struct buf *to, const char *text)
{
    buf_append(to, text, strlen(text));
}

static void put_number(struct buf *to, uint32_t number, size_t digits_min)
{
    char digits[10];
    size_t at = sizeof digits;
    for (; number > 0 || sizeof digits - at < digits_min; number /= 10)
        digits[--at] = (char)('0' + number % 10);
    buf_append(to, digits + at, sizeof digits - at);
}

static void put_score(struct buf *to, const struct score_stage *stage, int32_t score)
{
    uint32_t amount = score < 0 ? -(uint32_t)score : (uint32_t)score;
    if (score < 0)
        put(to, "-");
    put_number(to, stage->is_share ? amount / 1000000 : amount, 1);
    if (!stage->is_share)
        return;
    put(to, ".");
    put_number(to, amount % 1000000, 6);
}

static void put_scores(struct buf *to, const struct cmd_schedule *body, const struct decision *d)
{
    const struct score_stage *before = NULL;
    for (uint32_t i = 0; i < d->score_count; i++) {
        const struct stage_costs *costs = &d->scores[i];
        if (costs->stage >= body->stage_count)
            continue;
        const struct score_stage *stage = &body->stages[costs->stage];
        bool begins = before == NULL || before->rank != stage->rank;
        put(to, !begins ? ",\"" : before == NULL ? ",\"scores\":[{\"" : "},{\"");
        put(to, stage->name);
        put(to, "\":[");
        put_score(to, stage, costs->winner);
        if (d->runner_up.v != 0) {
            put(to, ",");
            put_score(to, stage, costs->runner_up);
        }
        put(to, "]");
        before = stage;
    }
    if (before != NULL)
        put(to, "}]");
}

void decision_print(struct buf *to, const struct cell *cell, const struct cmd_schedule *body,
                    const struct placement *p, uint32_t victims)
{
    const struct decision *d = &p->decision;
    const struct machine *runner_up = machine_find(cell, d->runner_up);
    put(to, "{\"among\":\"");
    put(to, among_text(d->among));
    put(to, "\"");
    if (p->alloc.v != 0) {
        put(to, ",\"alloc\":\"");
        put(to, job_find(cell, task_job(p->alloc))->spec.name);
        put(to, "/");
        put_number(to, task_index(p->alloc), 1);
        put(to, "\"");
    }
    if (p->shape > 0) {
        put(to, ",\"shape\":");
        put_number(to, p->shape + 1, 1);
    }
    if (runner_up != NULL) {
        put(to, ",\"runner_up\":\"");
        put(to, runner_up->name);
        put(to, "\"");
    }
    if (victims > 0) {
        put(to, ",\"victims\":");
        put_number(to, victims, 1);
    }
    put_scores(to, body, d);
    put(to, "}");
}
