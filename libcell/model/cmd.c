/*
 * cmd.c - texts of the commands and what they own.
 */
#include "cmd.h"

#include <stdlib.h>

const char *cmd_kind_text(enum cmd_kind kind)
{
    switch (kind) {
#define X(name, number, text) \
    case CMD_##name: \
        return text;
        CMD_KINDS(X)
#undef X
    }
    return "unknown";
}

const char *among_text(enum among among)
{
    static const char *const texts[AMONG_COUNT] = {
#define X(name, text) text,
        AMONGS(X)
#undef X
    };
    return texts[among];
}

void cmd_release(struct cmd *cmd)
{
    switch (cmd->kind) {
    case CMD_JOB_SUBMIT:
        spec_release(&cmd->job_submit);
        break;
    case CMD_SCHEDULE:
        free(cmd->schedule.placements);
        free(cmd->schedule.victims);
        free(cmd->schedule.verdicts);
        free(cmd->schedule.stages);
        break;
    case CMD_REPORT:
        free(cmd->report.reports);
        break;
    case CMD_WAKE:
        free(cmd->wake.tasks);
        break;
    case CMD_USAGE:
        free(cmd->usage.tasks);
        break;
    case CMD_MACHINE_REGISTER:
        words_release(&cmd->machine_register.attributes);
        break;
    case CMD_MACHINE_DOWN:
    case CMD_MACHINE_DRAIN:
    case CMD_QUOTA_SET:
    case CMD_MACHINE_EVICT:
    case CMD_JOB_UPDATE:
    case CMD_JOB_RESIZE:
    case CMD_MASTERS_SET:
    case CMD_MASTER_ADD:
    case CMD_MASTER_REMOVE:
    case CMD_MASTER_STEP:
    case CMD_IDENTITY_SET:
    case CMD_MACHINE_TRY:
    case CMD_MACHINE_REMOVE:
    case CMD_POLICY_SET:
    case CMD_HOLD_SET:
    case CMD_JOB_KILL:
    case CMD_MACHINE_RECLAIM:
        break;
    }
    *cmd = (struct cmd){0};
}
