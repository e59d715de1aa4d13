/*
 * machine.c - machines come, change, are drained, and fall silent.
 */
#include "cell_write.h"

#include "attributes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Stop order when a machine turns out smaller: who cannot stay, then lowest priority first, newest
 * first. */
struct stop_candidate {
    struct task *task;
    const struct job *job;
    bool gone; /* a device it has is there no more */
};

static int by_stop_order(const void *x, const void *y)
{
    const struct stop_candidate *a = x;
    const struct stop_candidate *b = y;
    if (a->gone != b->gone)
        return a->gone ? -1 : 1;
    if (a->job->spec.priority != b->job->spec.priority)
        return a->job->spec.priority < b->job->spec.priority ? -1 : 1;
    return a->task->id.v > b->task->id.v ? -1 : a->task->id.v < b->task->id.v;
}

/* Capacity less reservations; less than 0 when these have grown. */
static int64_t machine_unreserved(const struct machine *machine, int r)
{
    return machine->capacity.v[r] + machine->stopping.v[r] - machine->reserved.v[r] +
           (r < RECLAIM_COUNT ? machine->reclaimed[r] : 0);
}

/* Would stopping this bring the machine nearer to its capacity? */
static bool helps(const struct machine *machine, const struct job *job, const struct task *task)
{
    const struct resources *limit = task_limit(job, task);
    struct resources unpromised = machine_unpromised(machine);
    bool is_prod = priority_is_prod(job->spec.priority);
    for (int r = 0; r < RES_COUNT; r++)
        if (limit->v[r] > 0 &&
            (machine_unreserved(machine, r) < 0 || (is_prod && unpromised.v[r] < 0)))
            return true;
    return false;
}

struct resources machine_unpromised(const struct machine *machine)
{
    struct resources unpromised = machine->capacity;
    resources_subtract(&unpromised, &machine->promised);
    return unpromised;
}

bool machine_is_sound(const struct machine *machine)
{
    struct resources unpromised = machine_unpromised(machine), none = {{0}};
    bool sound = resources_fit(&none, &unpromised);
    for (int r = RECLAIM_COUNT; r < RES_COUNT; r++)
        sound &= machine_unreserved(machine, r) >= 0;
    return sound;
}

/* A mask. */
static uint32_t devices_there(const struct machine *machine)
{
    return (uint32_t)((UINT64_C(1) << machine->capacity.v[RES_GPU] / DEVICE_MILLI) - 1);
}

bool machine_lacks_ram(const struct machine *machine)
{
    return machine_unreserved(machine, RES_RAM) < 0 ||
           machine->used[RES_RAM] > machine->capacity.v[RES_RAM] * RAM_FULL_PERCENT / 100;
}

void cell_list_clearing(struct cell *cell, struct machine *machine)
{
    bool is_clearing =
        machine->state == MACHINE_UP && (machine->draining || machine_lacks_ram(machine));
    if (!is_clearing)
        list_remove(&machine->clearing);
    else if (list_empty(&machine->clearing))
        list_push(&cell->clearing, &machine->clearing);
}

struct room cell_room(const struct cell *cell, const struct machine *machine)
{
    struct room room;
    room_init(&room, &machine->capacity);
    for (int r = 0; r < RES_COUNT; r++)
        room.free.v[r] = machine_unreserved(machine, r);
    if (room.devices.count > 0) {
        LIST_EACH(l, &machine->tasks)
        {
            const struct task *task = CONTAINER_OF(l, struct task, link);
            const struct job *job = cell_job(cell, task_job(task->id));
            if (task->stopping == CAUSE_NONE && task->alloc.v == 0)
                devices_take(&room.devices, task_limit(job, task)->v[RES_GPU], task->devices);
        }
    }
    room.free.v[RES_GPU] = devices_most_milli(&room.devices);
    return room;
}

bool machine_devices_sound(const struct cell *cell, const struct machine *machine)
{
    struct room room = cell_room(cell, machine);
    bool sound = true;
    for (uint32_t i = 0; i < room.devices.count; i++)
        sound &= room.devices.free_milli[i] >= 0;
    LIST_EACH(l, &machine->tasks)
    {
        const struct task *task = CONTAINER_OF(l, struct task, link);
        sound &= task->stopping != CAUSE_NONE || (task->devices & ~devices_there(machine)) == 0;
    }
    return sound;
}

static uint32_t stop_surplus(struct apply *a, struct machine *machine)
{
    CLEANUP(free_ptr) struct task **tasks = machine_tasks_by_id(machine);
    uint32_t count = machine->task_count;
    uint32_t stopped = 0;
    CLEANUP(free_ptr)
    struct stop_candidate *candidates = xcalloc(count, sizeof *candidates);
    uint32_t there = devices_there(machine);
    for (uint32_t i = 0; i < count; i++)
        candidates[i] = (struct stop_candidate){tasks[i], job_find(a->cell, task_job(tasks[i]->id)),
                                                (tasks[i]->devices & ~there) != 0};
    qsort(candidates, count, sizeof *candidates, by_stop_order);
    for (uint32_t i = 0; i < count; i++) {
        struct task *task = candidates[i].task;
        if (task->alloc.v != 0 || task->stopping != CAUSE_NONE ||
            (!candidates[i].gone && !helps(machine, candidates[i].job, task)))
            continue;
        event_add_task(a, EVENT_EVICTING, task, CAUSE_OUT_OF_RESOURCES, 0, "");
        task_stop(a, task, CAUSE_OUT_OF_RESOURCES);
        stopped++;
    }
    return stopped;
}

/* Nobody has more; who says so would get all work. */
static int64_t capacity_max(enum resource r)
{
    switch (r) {
    case RES_CPU:
        return INT64_C(1000) * MACHINE_CPUS_MAX;
    case RES_RAM:
        return (INT64_C(1) << 40) * MACHINE_RAM_TIB_MAX;
    case RES_DISK:
        return MIN((INT64_C(1) << 50) * MACHINE_DISK_PIB_MAX, RESOURCE_AMOUNT_MAX);
    case RES_PORTS:
        return MACHINE_PORTS_MAX;
    case RES_GPU:
        return RESOURCE_AMOUNT_MAX; /* devices_capacity_valid() */
    case RES_NAMED:
    case RES_COUNT:
        break;
    }
    return MACHINE_NAMED_MAX;
}

int capacity_valid(const struct resources *capacity, const struct resource_names *names,
                   struct err *err)
{
    for (enum resource r = 0; r < RES_COUNT; r++) {
        const char *name = resource_name(r, names);
        if (capacity->v[r] < 0 || capacity->v[r] > capacity_max(r)) {
            CLEANUP(buf_release) struct buf most = {0};
            resource_print(&most, r, capacity_max(r));
            return err_set(err, ERR_INVALID, "%s %" PRId64 " is not between 0 and %" PRId64 " (%s)",
                           name, capacity->v[r], capacity_max(r), buf_text(&most));
        }
        if (capacity->v[r] > 0 && name[0] == '\0')
            return err_set(err, ERR_INVALID, "an amount has no name");
    }
    return devices_capacity_valid(capacity->v[RES_GPU], err);
}

/* Does anything in the cell still count in this slot, but for this machine's own offer? */
static bool slot_is_used(const struct cell *cell, enum resource slot, const char *machine)
{
    for (uint32_t i = 0; i < cell->machine_count; i++)
        if (cell->machines[i]->capacity.v[slot] > 0 &&
            strcmp(cell->machines[i]->name, machine) != 0)
            return true;
    LIST_EACH(l, &cell->accounts)
    {
        const struct account *account = CONTAINER_OF(l, struct account, link);
        for (enum band b = 0; b < BAND_COUNT; b++)
            if (account->granted[b] && account->quotas[b].limit.v[slot] != QUOTA_UNLIMITED)
                return true;
    }
    LIST_EACH(l, &cell->jobs)
    if (spec_limit_max(&CONTAINER_OF(l, struct job, link)->spec).v[slot] > 0)
        return true; /* a dead one too: its row names what it asked for */
    return false;
}

/* Names that are new get a slot, if need be that of a name which stands for nothing any more. */
static int names_settle(const struct cell *cell, const struct cmd_machine_register *body,
                        struct resource_names *names, struct err *err)
{
    for (int i = 0; i < RESOURCES_NAMED_MAX; i++) {
        const char *name = body->resource_names.text[i];
        for (enum resource r = RES_NAMED; r < RES_COUNT; r++) {
            if (name[0] == '\0' || resource_names_put(names, name) != RES_COUNT)
                break;
            bool is_ours =
                resource_find(names->text[r - RES_NAMED], &body->resource_names) < RES_COUNT;
            if (!is_ours && !slot_is_used(cell, r, body->name))
                str_copy(names->text[r - RES_NAMED], sizeof names->text[0], name);
        }
        if (name[0] == '\0' || resource_find(name, names) != RES_COUNT)
            continue;
        CLEANUP(buf_release) struct buf text = {0};
        resource_names_print(&text, names);
        return err_set(err, ERR_LIMIT,
                       "machine \"%s\": resource \"%s\" is one too many: the cell has %s, and no "
                       "more than %d are allowed",
                       body->name, name, buf_text(&text), RESOURCES_NAMED_MAX);
    }
    return 0;
}

static int machine_register_valid(const struct cmd_machine_register *body, struct err *err)
{
    if (!name_valid(body->name))
        return err_set(err, ERR_INVALID,
                       "machine name \"%s\": 1 to %d of a-z 0-9 . _ - and starting with a letter "
                       "or a digit",
                       body->name, CELL_NAME_MAX);
    if (!address_valid(body->addr))
        return err_set(
            err, ERR_INVALID,
            "machine \"%s\": its address is not HOST:PORT of letters, digits and . - _ : "
            "[ ] %%",
            body->name);
    int rc = resource_names_valid(&body->resource_names, err);
    if (rc == 0)
        rc = capacity_valid(&body->capacity, &body->resource_names, err);
    if (rc == 0)
        rc = attributes_valid(&body->attributes, err);
    if (rc == 0 && attributes_valid(&body->labels, err) != 0)
        rc = err_wrap(err, "labels");
    if (rc != 0)
        (void)err_wrap(err, "machine \"%s\"", body->name);
    return rc;
}

/* Is somebody else there already? The row decides, for the two may talk to different replicas.
 * While one of them is heard of its tasks run, and nothing may be declared lost for the other. */
static bool refuse_rival(struct apply *a, struct machine *machine,
                         const struct cmd_machine_register *body)
{
    if (machine == NULL || machine->state != MACHINE_UP || machine->instance == body->instance)
        return false;
    bool is_told = machine->rival == body->instance &&
                   a->cell->now_ms - machine->rival_ms < MACHINE_RIVAL_TELL_MS;
    if (!is_told) { /* it tries again and again */
        machine->rival = body->instance;
        machine->rival_ms = a->cell->now_ms;
        machine_touch(a, machine);
        struct event *event = event_add_machine(a, EVENT_MACHINE_REFUSED, machine);
        snprintf(event->detail, sizeof event->detail,
                 "a second borglet of this name, at %s: the one at %s is connected", body->addr,
                 machine->addr);
    }
    answer_refuse(a, ERR_EXISTS,
                  "machine \"%s\" is connected already, from %s: this is a second borglet with its "
                  "name, or with a copy of its directory. It starts nothing. If the other one is "
                  "gone, this one is taken when it has been silent long enough to be down",
                  machine->name, machine->addr);
    return true;
}

/* Tasks are counted by the attributes of their machines. */
static void take_words(struct apply *a, struct machine *machine,
                       const struct cmd_machine_register *body)
{
    machine_count_whereabouts(a->cell, machine, -1);
    machine_describe(machine, &body->attributes, &body->labels);
    machine_count_whereabouts(a->cell, machine, 1);
}

void apply_machine_register(struct apply *a, const struct cmd_machine_register *body)
{
    struct err err;
    struct resource_names names = a->cell->resource_names;
    struct resources capacity = body->capacity;
    struct machine *machine = namemap_get(&a->cell->machines_by_name, body->name);
    int rc = machine_register_valid(body, &err);
    bool in_new_row = machine == NULL && a->cell->machines_removed == 0;
    if (rc == 0 && in_new_row && a->cell->machine_count >= CELL_MACHINES_MAX)
        rc = err_set(
            &err, ERR_LIMIT,
            "machine \"%s\": the cell has %d machines, no more are allowed; `borgctl machine "
            "remove` those that are gone",
            body->name, CELL_MACHINES_MAX);
    uint64_t tasks = a->cell->live_tasks + system_job_count(a->cell);
    if (rc == 0 && in_new_row && tasks > CELL_TASKS_MAX)
        rc =
            err_set(&err, ERR_LIMIT,
                    "machine \"%s\": with its tasks of the jobs that run on every machine the cell "
                    "would have %" PRIu64 " live tasks, at most %d are allowed; kill jobs",
                    body->name, tasks, CELL_TASKS_MAX);
    if (rc == 0)
        rc = names_settle(a->cell, body, &names, &err);
    if (rc == 0)
        rc = resources_translate(&capacity, &body->resource_names, &names, 0, &err);
    if (rc != 0) {
        answer_refuse(a, err.code, "%s", err.msg);
        return;
    }
    if (refuse_rival(a, machine, body))
        return;
    a->cell->resource_names = names;
    bool is_new = machine == NULL;
    if (is_new)
        machine = cell_add_machine(a->cell, body->name);
    if (!is_new && machine->state == MACHINE_UP && strcmp(machine->addr, body->addr) == 0 &&
        memcmp(&machine->capacity, &capacity, sizeof machine->capacity) == 0 &&
        words_same(&machine->attributes, &body->attributes) &&
        words_same(&machine->labels, &body->labels)) {
        answer_say(a, "machine \"%s\" is up as before", body->name);
        return;
    }
    if (is_new || machine->state != MACHINE_UP) {
        event_add_machine(a, EVENT_MACHINE_UP, machine);
        a->cell->machines_up++;
        machine_reset_faults(a, machine);
        machine->rival = machine->rival_ms = 0;
    }
    machine->state = MACHINE_UP;
    machine->instance = body->instance;
    if (machine->directory != body->directory)
        machine->left_foreign = machine->left_count;
    machine->directory = body->directory;
    str_copy(machine->addr, sizeof machine->addr, body->addr);
    machine->capacity = capacity;
    take_words(a, machine, body);
    machine_touch(a, machine);
    if (in_new_row)
        system_machine_added(a);
    system_machine_changed(a, machine);
    uint32_t stopped = stop_surplus(a, machine);
    if (stopped > 0)
        answer_say(a, "machine \"%s\" is up (told to stop for lack of room: %u)", body->name,
                   stopped);
    else
        answer_say(a, "machine \"%s\" is up", body->name);
}

/* Its attempts are over for the cell, and its processes may go on until somebody says otherwise. */
static void task_lose(struct apply *a, struct machine *machine, struct task *task)
{
    if (task_holds(task)) { /* nothing of it ran */
        task_let_go(a, task, CAUSE_MACHINE_DOWN, task->not_before_ms);
        return;
    }
    bool killed = task->stopping == CAUSE_KILLED;
    enum cause cause = killed ? CAUSE_KILLED : CAUSE_MACHINE_DOWN;
    if (!job_find(a->cell, task_job(task->id))->spec.is_alloc_set)
        machine_left_add(a, machine, task);
    event_add_task(a, killed ? EVENT_KILLED : EVENT_LOST, task, cause, 0, "machine down");
    task_end(a, task, task_stopped_state(a->cell, task), cause, 0);
}

uint32_t machine_fall_silent(struct apply *a, struct machine *machine)
{
    machine->state = MACHINE_DOWN;
    machine->rival = machine->rival_ms = 0;
    a->cell->machines_up--;
    machine_touch(a, machine);
    event_add_machine(a, EVENT_MACHINE_DOWN, machine);
    machine_reset_faults(a, machine);
    CLEANUP(free_ptr) struct task **tasks = machine_tasks_by_id(machine);
    uint32_t count = machine->task_count, lost = 0;
    for (uint32_t i = 0; i < count; i++) { /* allocs first */
        lost += !task_holds(tasks[i]);
        task_lose(a, machine, tasks[i]);
    }
    ASSERT(machine->task_count == 0);
    system_machine_changed(a, machine);
    return lost;
}

void apply_machine_down(struct apply *a, const struct cmd_machine_down *body)
{
    struct machine *machine = machine_find(a->cell, body->machine);
    if (machine == NULL) {
        answer_refuse(a, ERR_NOT_FOUND, "no machine %u", body->machine.v);
        return;
    }
    if (machine->state != MACHINE_UP) {
        answer_refuse(a, ERR_STATE, "machine \"%s\" is %s already", machine->name,
                      machine_state_text(machine->state));
        return;
    }
    uint32_t count = machine_fall_silent(a, machine);
    answer_say(a, "machine \"%s\" is down (tasks lost: %u)", machine->name, count);
}

/* What is in an alloc leaves with it. */
static bool may_leave(const struct cell *cell, const struct task *task)
{
    CLEANUP(leaving_release) struct leaving leaving = {0};
    return task->stopping == CAUSE_NONE && task->alloc.v == 0 &&
           leaving_add(&leaving, cell, task) == NULL;
}

bool cell_drain_due(const struct cell *cell, const struct machine *machine)
{
    if (!machine->draining)
        return false;
    LIST_EACH(l, &machine->tasks)
    if (may_leave(cell, CONTAINER_OF(l, struct task, link)))
        return true;
    return false;
}

/* Those whose jobs can spare them now; the leader asks again for the others. */
static uint32_t drain_tasks(struct apply *a, struct machine *machine)
{
    CLEANUP(free_ptr) struct task **tasks = machine_tasks_by_id(machine);
    uint32_t count = machine->task_count;
    uint32_t stopped = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (!may_leave(a->cell, tasks[i]))
            continue;
        event_add_task(a, EVENT_EVICTING, tasks[i], CAUSE_DRAIN, 0, "");
        task_stop(a, tasks[i], CAUSE_DRAIN);
        stopped++;
    }
    return stopped;
}

static uint32_t tasks_staying(const struct machine *machine)
{
    uint32_t count = 0;
    LIST_EACH(l, &machine->tasks)
    count += CONTAINER_OF(l, struct task, link)->stopping == CAUSE_NONE;
    return count;
}

void apply_machine_drain(struct apply *a, const struct cmd_machine_drain *body)
{
    struct machine *machine = namemap_get(&a->cell->machines_by_name, body->name);
    if (machine == NULL) {
        answer_refuse(a, ERR_NOT_FOUND, "no machine \"%s\"; `borgctl machines` lists them",
                      body->name);
        return;
    }
    if (machine->draining == body->on) {
        answer_say(a, "machine \"%s\" is %s already", body->name,
                   body->on ? "draining" : "not draining");
        return;
    }
    machine->draining = body->on;
    machine_touch(a, machine);
    struct event *event =
        event_add_machine(a, body->on ? EVENT_MACHINE_DRAINING : EVENT_MACHINE_UNDRAINED, machine);
    event_by(a, event);
    uint32_t stopped = body->on ? drain_tasks(a, machine) : 0;
    system_machine_changed(a, machine);
    if (!body->on)
        answer_say(a, "machine \"%s\" takes work again", body->name);
    else if (tasks_staying(machine) > 0)
        answer_say(a,
                   "machine \"%s\" is draining (told to stop: %u, waiting for the disruption "
                   "budget of their jobs: %u)",
                   body->name, stopped, tasks_staying(machine));
    else
        answer_say(a, "machine \"%s\" is draining (told to stop: %u)", body->name, stopped);
}

void apply_machine_evict(struct apply *a, const struct cmd_machine_evict *body)
{
    struct machine *machine = machine_find(a->cell, body->machine);
    if (machine == NULL) {
        answer_refuse(a, ERR_NOT_FOUND, "no machine %u", body->machine.v);
        return;
    }
    if (!machine->draining) {
        answer_refuse(a, ERR_STATE, "machine \"%s\" is not draining", machine->name);
        return;
    }
    a->answer->accepted = drain_tasks(a, machine);
    answer_say(a, "machine \"%s\" is draining (told to stop: %u, still waiting: %u)", machine->name,
               a->answer->accepted, tasks_staying(machine));
}
