/*
 * machine_left.c - attempts that ran on a machine when it fell silent.
 *
 * To the cell they are over, for their tasks are to run elsewhere; but nobody saw their processes
 * end. They are noted until the machine's borglet is back and says of each that it has ended or is
 * unknown to it, or until the machine is removed. Jobs count theirs, so that nobody is told that
 * nothing of a job runs when nobody knows.
 */
#include "cell_write.h"

#include <stdlib.h>
#include <string.h>

uint32_t machine_left_find(const struct machine *machine, struct attempt_ref ref)
{
    uint32_t i = 0;
    while (i < machine->left_count &&
           (machine->left[i].task.v != ref.task.v || machine->left[i].attempt != ref.attempt))
        i++;
    return i;
}

static void job_confirm(struct apply *a, task_id task, int change)
{
    struct job *job = job_find(a->cell, task_job(task));
    if (job == NULL)
        return; /* forgotten */
    job->unconfirmed += (uint32_t)change;
    job_note(a, job);
}

void machine_left_put(struct machine *machine, struct attempt_ref ref)
{
    if (machine->left_count == machine->left_capacity) {
        machine->left_capacity = MAX(2 * machine->left_capacity, 8U);
        machine->left = xrealloc(machine->left, machine->left_capacity, sizeof *machine->left);
    }
    machine->left[machine->left_count++] = ref;
}

void machine_left_take(struct apply *a, struct machine *machine, uint32_t at)
{
    task_id task = machine->left[at].task;
    machine->left_count--;
    machine->left_foreign -= at < machine->left_foreign;
    memmove(&machine->left[at], &machine->left[at + 1],
            (machine->left_count - at) * sizeof *machine->left);
    machine_touch(a, machine);
    job_confirm(a, task, -1);
}

void machine_left_add(struct apply *a, struct machine *machine, const struct task *task)
{
    if (machine->left_count == MACHINE_LEFT_MAX) /* more than a borglet drives: the oldest go */
        machine_left_take(a, machine, 0);
    machine_left_put(machine, (struct attempt_ref){task->id, task->attempt});
    machine_touch(a, machine);
    job_confirm(a, task->id, 1);
}

void machine_left_clear(struct apply *a, struct machine *machine)
{
    while (machine->left_count > 0)
        machine_left_take(a, machine, machine->left_count - 1);
    free(machine->left);
    machine->left = NULL;
    machine->left_capacity = 0;
}
