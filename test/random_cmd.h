/*
 * random_cmd.h - random commands and specs, from a seed.
 */
#ifndef TEST_RANDOM_CMD_H
#define TEST_RANDOM_CMD_H

#include "fields.h"
#include "random_record.h"

/* What a placement names has to be there. */
static inline void random_schedule_mend(struct random *r, struct cmd_schedule *s)
{
    for (uint32_t i = 0; i < s->placement_count; i++) {
        struct placement *l = &s->placements[i];
        l->victim_first = random_below(r, s->victim_count + 1);
        l->victim_count = random_below(r, s->victim_count - l->victim_first + 1);
        for (uint32_t k = 0; k < l->decision.score_count && s->stage_count > 0; k++)
            l->decision.scores[k].stage = random_below(r, s->stage_count);
        if (s->stage_count == 0)
            l->decision.score_count = 0;
    }
}

static inline void random_cmd(struct random *r, enum cmd_kind kind, struct cmd *cmd)
{
    memset(cmd, 0, sizeof *cmd);
    cmd->request_id[0] = random_number(r), cmd->request_id[1] = random_number(r);
    cmd->known_index = random_number(r);
    random_text(r, cmd->user, sizeof cmd->user);
    cmd->time_ms = random_number(r);
    cmd->kind = kind;
    random_record(r, cmd_body_record(kind), cmd_body(cmd));
    if (kind == CMD_SCHEDULE)
        random_schedule_mend(r, &cmd->schedule);
}

static inline void random_spec(struct random *r, struct job_spec *spec)
{
    random_record(r, &job_spec_record, spec);
}

#endif
