/*
 * machine_remove.c - a machine that is gone leaves the cell.
 *
 * Its row stays, empty, for ids are numbers of rows; the next new machine gets it. The history
 * names machines by their names, so it stays true.
 */
#include "cell_write.h"

#include <stdlib.h>
#include <string.h>

static bool removable(struct apply *a, const struct cmd_machine_remove *body,
                      const struct machine *machine)
{
    if (machine == NULL)
        answer_refuse(a, ERR_NOT_FOUND, "no machine \"%s\"; `borgctl machines` lists them",
                      body->name);
    else if (machine->state == MACHINE_UP && machine->task_count > 0 && !body->force)
        answer_refuse(
            a, ERR_STATE,
            "machine \"%s\" is up and has work (tasks: %u): drain it first (borgctl drain "
            "%s --wait); with --force its tasks are lost",
            machine->name, machine->task_count, machine->name);
    return a->answer->code == ERR_OK;
}

static void row_empty(struct apply *a, struct machine *machine)
{
    struct words none = {0};
    struct resources nothing = {{0}};
    ASSERT(machine->task_count == 0);
    namemap_remove(&a->cell->machines_by_name, machine->name);
    machine_reset_faults(a, machine);
    machine->state = MACHINE_REMOVED;
    memset(machine->name, 0, sizeof machine->name);
    memset(machine->addr, 0, sizeof machine->addr);
    machine->draining = false;
    machine->capacity = nothing;
    machine_describe(machine, &none, &none);
    machine->instance = machine->directory = machine->rival = machine->rival_ms = 0;
    a->cell->machines_removed++;
    machine_touch(a, machine);
}

void apply_machine_remove(struct apply *a, const struct cmd_machine_remove *body)
{
    struct machine *machine = namemap_get(&a->cell->machines_by_name, body->name);
    if (!removable(a, body, machine))
        return;
    uint32_t lost = machine->task_count;
    if (machine->state == MACHINE_UP)
        machine_fall_silent(a, machine);
    uint32_t left = machine->left_count;
    struct event *event = event_add_machine(a, EVENT_MACHINE_REMOVED, machine);
    event_by(a, event);
    machine_left_clear(a, machine);
    system_machine_removed(a, machine);
    row_empty(a, machine);
    answer_say(a, "machine \"%s\" is removed (tasks lost: %u%s)", body->name, lost,
               left > lost ? "; what ran there before may run on, if its host does" : "");
}
