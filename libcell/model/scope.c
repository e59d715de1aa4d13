/*
 * scope.c - how many tasks a command may touch.
 */
#include "scope.h"

#include "access.h"
#include "fields.h"

struct cmd_scope cmd_scope_of(const struct cmd *cmd)
{
    struct cmd_scope scope = {0};
    if (cmd_access(cmd->kind) == ACCESS_OWNER) /* its body begins with the name of a job */
        str_copy(scope.job, sizeof scope.job,
                 field_text(&cmd_body_record(cmd->kind)->fields[0], cmd_body((struct cmd *)cmd)));
    switch ((int)cmd->kind) { /* kinds that are not here touch no tasks */
    case CMD_JOB_SUBMIT:
        scope.tasks = cmd->job_submit.replicas;
        scope.every_machine = cmd->job_submit.every_machine;
        break;
    case CMD_JOB_UPDATE:
        scope.tasks = (uint32_t)MIN(MAX(cmd->job_update.replicas, INT64_C(0)),
                                    (int64_t)CELL_TASKS_PER_JOB_MAX);
        break;
    case CMD_JOB_RESIZE:
        scope.job_id = cmd->job_resize.job;
        break;
    case CMD_MACHINE_DRAIN:
        str_copy(scope.machine, sizeof scope.machine, cmd->machine_drain.name);
        break;
    case CMD_MACHINE_REGISTER:
        str_copy(scope.machine, sizeof scope.machine, cmd->machine_register.name);
        break;
    case CMD_MACHINE_REMOVE:
        str_copy(scope.machine, sizeof scope.machine, cmd->machine_remove.name);
        break;
    case CMD_MACHINE_DOWN:
        scope.machine_id = cmd->machine_down.machine;
        break;
    case CMD_MACHINE_EVICT:
        scope.machine_id = cmd->machine_evict.machine;
        break;
    case CMD_MACHINE_RECLAIM:
        scope.machine_id = cmd->machine_reclaim.machine;
        break;
    case CMD_SCHEDULE:
        scope.tasks = cmd->schedule.placement_count + cmd->schedule.victim_count;
        break;
    case CMD_REPORT:
        scope.tasks = cmd->report.report_count;
        break;
    case CMD_WAKE:
        scope.tasks = cmd->wake.task_count;
        break;
    case CMD_USAGE:
        scope.tasks = cmd->usage.task_count;
        break;
    }
    return scope;
}

uint32_t cmd_scope_tasks(const struct cmd_scope *scope, const struct cell *cell)
{
    const struct job *job =
        scope->job[0] != '\0' ? cell_job_named(cell, scope->job) : cell_job(cell, scope->job_id);
    const struct machine *machine = scope->machine[0] != '\0'
                                        ? cell_machine_named(cell, scope->machine)
                                        : cell_machine(cell, scope->machine_id);
    uint32_t tasks = scope->every_machine ? cell->machine_count : scope->tasks;
    if (job != NULL && scope->job_id.v != 0)
        tasks = MIN(job->outdated, (uint32_t)RESIZE_TASKS_MAX);
    else if (job != NULL && !job_is_dead(job))
        tasks = MAX(tasks, job->task_count);
    if (machine != NULL)
        tasks = MAX(tasks, machine->task_count);
    return tasks;
}
