/*
 * machine_fault.c - machines that cannot start tasks.
 *
 * A start error that is the machine's fault (no free port, its disk full, no process) is no failure
 * of the task. When MACHINE_FAULTS_MAX different tasks in a row could not be started, the machine
 * is sick: it is told as such and gets no work for MACHINE_SICK_MS. Then the leader lets it be
 * tried again; one more fault makes it sick for twice as long, one task that starts makes it well.
 */
#include "cell_write.h"

#include <stdio.h>
#include <string.h>

bool machine_is_sick(const struct machine *machine)
{
    return machine->sick_until_ms != 0;
}

static void set_sick(struct apply *a, struct machine *machine, uint64_t until_ms)
{
    a->cell->machines_sick -= machine_is_sick(machine);
    machine->sick_until_ms = until_ms;
    a->cell->machines_sick += machine_is_sick(machine);
    machine_touch(a, machine);
}

void machine_start_failed(struct apply *a, struct machine *machine, task_id task)
{
    uint32_t i = 0;
    if (machine_is_sick(machine))
        return; /* told off already: of those that were on their way */
    while (i < MACHINE_FAULTS_MAX - 1 && machine->faults[i].v != 0 &&
           machine->faults[i].v != task.v)
        i++;
    if (machine->faults[i].v == task.v)
        return;
    machine->faults[i] = task;
    machine_touch(a, machine);
    if (machine->sick_rounds == 0 && i < MACHINE_FAULTS_MAX - 1)
        return;
    uint64_t sick_ms = MACHINE_SICK_MS;
    for (uint32_t r = 0; r < machine->sick_rounds && sick_ms < MACHINE_SICK_MS_MAX; r++)
        sick_ms *= 2;
    sick_ms = MIN(sick_ms, (uint64_t)MACHINE_SICK_MS_MAX);
    memset(machine->faults, 0, sizeof machine->faults);
    machine->sick_rounds += machine->sick_rounds < UINT32_MAX;
    set_sick(a, machine, a->cell->now_ms + sick_ms);
    struct event *event = event_add_machine(a, EVENT_MACHINE_SICK, machine);
    snprintf(event->detail, sizeof event->detail, "it could not start tasks: it gets none for %u s",
             (unsigned)(sick_ms / 1000));
}

void machine_reset_faults(struct apply *a, struct machine *machine)
{
    if (machine->faults[0].v == 0 && machine->sick_rounds == 0)
        return;
    memset(machine->faults, 0, sizeof machine->faults);
    machine->sick_rounds = 0;
    set_sick(a, machine, 0);
}

void machine_started(struct apply *a, struct machine *machine)
{
    if (machine->sick_rounds > 0)
        event_add_machine(a, EVENT_MACHINE_WELL, machine);
    machine_reset_faults(a, machine);
}

void apply_machine_try(struct apply *a, const struct cmd_machine_try *body)
{
    struct machine *machine = machine_find(a->cell, body->machine);
    if (machine == NULL || !machine_is_sick(machine)) {
        answer_refuse(a, ERR_STATE, "machine %u is not sick", body->machine.v);
        return;
    }
    if (a->cell->now_ms < machine->sick_until_ms) {
        answer_refuse(a, ERR_STATE, "machine \"%s\" is to be left alone for %" PRIu64 " ms",
                      machine->name, machine->sick_until_ms - a->cell->now_ms);
        return;
    }
    set_sick(a, machine, 0);
    answer_say(a, "machine \"%s\" may be tried again", machine->name);
}
