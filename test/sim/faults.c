/*
 * faults.c - a table of faults, a profile, and a timer that draws faults.
 */
#include "faults.h"

#include "borglets.h"

#include <stdio.h>
#include <stdlib.h>

enum { WAYS_MAX = 4096, SECOND = 1000 };

enum fault_family { NETWORK, PROCESS, DISK, CLOCK, FAMILY_COUNT };

struct fault {
    const char *name;
    enum fault_family family;
    unsigned weight;
    void (*begin)(uint64_t ms); /* the fault ends by itself after `ms` */
};

static struct {
    unsigned weights[FAMILY_COUNT]; /* 0: no faults of this family */
    uint64_t pause_ms;              /* mean pause between two faults */
    uint64_t last_ms;               /* longest duration of a fault */
    bool on;
} profile;

static uint64_t counts[64];
static uint64_t stopping[WORLD_REPLICAS]; /* the life in which it was told to stop */

/* Choice of nodes */

static unsigned any_replica(void)
{
    int leader = world_leader();
    return leader >= 0 && world_chance(2, 5) ? (unsigned)leader
                                             : (unsigned)world_random(WORLD_REPLICAS);
}

static bool is_machine(const struct node *n)
{
    return node_name(n)[0] == 'm';
}

static struct node *any_machine(void)
{
    struct node *machines[WORLD_NODES_MAX];
    unsigned count = 0;
    for (unsigned i = 0; world_node_at(i) != NULL; i++)
        if (is_machine(world_node_at(i)))
            machines[count++] = world_node_at(i);
    return count > 0 ? machines[world_random(count)] : NULL;
}

/* The network. A fault reopens only the connections that it has blocked itself. */

struct cut {
    struct node *ways[WAYS_MAX][2];
    size_t count;
};

static void cut_way(struct cut *cut, struct node *from, struct node *to)
{
    if (cut->count == WAYS_MAX || from == to)
        return;
    net_block(from, to, true);
    cut->ways[cut->count][0] = from;
    cut->ways[cut->count++][1] = to;
}

static void cut_end(void *data)
{
    struct cut *cut = data;
    for (size_t i = 0; i < cut->count; i++)
        net_block(cut->ways[i][0], cut->ways[i][1], false);
    free(cut);
}

static struct cut *cut_begin(uint64_t ms)
{
    struct cut *cut = xcalloc(1, sizeof *cut);
    world_post(ms, cut_end, cut);
    return cut;
}

/* Split all nodes into two sides. */
static void split(uint64_t ms)
{
    bool side[WORLD_NODES_MAX];
    struct cut *cut = cut_begin(ms);
    unsigned part = 1 + (unsigned)world_random(3);
    for (unsigned i = 0; world_node_at(i) != NULL; i++)
        side[i] = world_chance(part, 4);
    for (unsigned i = 0; world_node_at(i) != NULL; i++)
        for (unsigned k = 0; world_node_at(k) != NULL; k++)
            if (side[i] != side[k])
                cut_way(cut, world_node_at(i), world_node_at(k));
}

/* Separate one replica from the other replicas; other nodes still reach it, or do not. */
static void isolate(uint64_t ms)
{
    struct cut *cut = cut_begin(ms);
    struct node *alone = world_replica_node(any_replica());
    bool from_all = world_chance(1, 2);
    for (unsigned i = 0; world_node_at(i) != NULL; i++) {
        if (i >= WORLD_REPLICAS && !from_all)
            continue;
        cut_way(cut, alone, world_node_at(i));
        cut_way(cut, world_node_at(i), alone);
    }
}

/* Block one direction between a replica and the others. */
static void one_way(uint64_t ms)
{
    struct cut *cut = cut_begin(ms);
    struct node *half = world_replica_node(any_replica());
    bool mute = world_chance(1, 2);
    for (unsigned i = 0; i < WORLD_REPLICAS; i++) {
        struct node *other = world_replica_node(i);
        if (world_chance(1, 4))
            continue;
        cut_way(cut, mute ? half : other, mute ? other : half);
    }
}

static void random_ways(uint64_t ms)
{
    struct cut *cut = cut_begin(ms);
    for (unsigned i = 0; i < WORLD_REPLICAS; i++)
        for (unsigned k = 0; k < WORLD_REPLICAS; k++)
            if (world_chance(1, 4))
                cut_way(cut, world_replica_node(i), world_replica_node(k));
}

static void machine_off(uint64_t ms)
{
    struct cut *cut = cut_begin(ms);
    struct node *machine = any_machine();
    bool from_all = world_chance(1, 2);
    for (unsigned i = 0; machine != NULL && i < WORLD_REPLICAS; i++) {
        if (!from_all && world_chance(1, 2))
            continue;
        cut_way(cut, machine, world_replica_node(i));
        if (world_chance(3, 4))
            cut_way(cut, world_replica_node(i), machine);
    }
}

static void slow_end(void *data)
{
    struct node *slow = data;
    for (unsigned i = 0; world_node_at(i) != NULL; i++) {
        net_slow(slow, world_node_at(i), 0, 0);
        net_slow(world_node_at(i), slow, 0, 0);
    }
}

static void slow_node(uint64_t ms)
{
    struct node *slow = world_replica_node(any_replica());
    uint64_t spread_us = 1 + world_random(200) * world_random(2000);
    for (unsigned i = 0; world_node_at(i) != NULL; i++) {
        net_slow(slow, world_node_at(i), spread_us / 4, spread_us);
        net_slow(world_node_at(i), slow, spread_us / 4, spread_us);
    }
    world_say("slow network of %s, %" PRIu64 " us", node_name(slow), spread_us);
    world_post(ms, slow_end, slow);
}

static void trouble_end(void *data)
{
    (void)data;
    net_raft_trouble(0, 0, 0);
}

static void trouble(uint64_t ms)
{
    unsigned lost = (unsigned)world_random(2000), doubled = (unsigned)world_random(1000);
    unsigned overtaken = (unsigned)world_random(1000);
    world_say("trouble: %u lost, %u doubled, %u overtaken of 10000", lost, doubled, overtaken);
    net_raft_trouble(lost, doubled, overtaken);
    world_post(ms, trouble_end, NULL);
}

static void reset(uint64_t ms)
{
    (void)ms;
    struct node *n = world_replica_node(any_replica());
    for (unsigned i = 0; world_node_at(i) != NULL; i++)
        if (world_chance(1, 2))
            net_reset(n, world_node_at(i));
}

/* Processes and hosts */

static void crash(uint64_t ms)
{
    world_replica_crash(any_replica(), world_chance(1, 3) ? ms : 0);
}

static void crash_many(uint64_t ms)
{
    unsigned part = 1 + (unsigned)world_random(4);
    for (unsigned i = 0; i < WORLD_REPLICAS; i++)
        if (world_chance(part, 4))
            world_replica_crash(i, world_random(1 + ms));
}

/* Stop it as an operator does: a leader transfers leadership first, and queued data is written. */
static void faults_on_stopped(void *data)
{
    (void)data;
    node_crash(world_current());
}

static void stop_here(void *data)
{
    struct replica *replica = world_replica((unsigned)(uintptr_t)data);
    if (replica != NULL && stopping[(uintptr_t)data] != node_life(world_current())) {
        stopping[(uintptr_t)data] = node_life(world_current());
        replica_close(replica, faults_on_stopped, NULL);
    }
}

static void stop(uint64_t ms)
{
    (void)ms;
    unsigned i = any_replica();
    node_post(world_replica_node(i), 0, stop_here, (void *)(uintptr_t)i);
}

static void faults_on_transferred(void *data, int status)
{
    (void)data;
    world_say("transfer from %s: %s", node_name(world_current()), status == 0 ? "done" : "failed");
}

static void transfer_here(void *data)
{
    struct replica *replica = world_replica((unsigned)(uintptr_t)data);
    struct err err;
    uint64_t to = world_random(WORLD_REPLICAS + 1); /* 0: the most up-to-date replica */
    if (replica != NULL && raftlog_transfer(core_log(replica_core(replica)), to,
                                            faults_on_transferred, NULL, &err) != 0)
        world_say("transfer refused: %s", err.msg);
}

static void transfer(uint64_t ms)
{
    (void)ms;
    int leader = world_leader();
    if (leader >= 0)
        node_post(world_replica_node((unsigned)leader), 0, transfer_here,
                  (void *)(uintptr_t)leader);
}

static void stall(uint64_t ms)
{
    node_stall(world_replica_node(any_replica()), 1 + world_random(MIN(ms, (uint64_t)20 * SECOND)));
}

static void node_back(void *data)
{
    struct node *n = data;
    if (!node_up(n))
        node_restart(n);
}

static void machine_crash(uint64_t ms)
{
    struct node *machine = any_machine();
    if (machine == NULL || !node_up(machine))
        return;
    node_crash(machine); /* its tasks continue without a borglet */
    world_post(1 + world_random(ms), node_back, machine);
}

static void machine_power(uint64_t ms)
{
    struct node *machine = any_machine();
    if (machine == NULL || !node_up(machine))
        return;
    borglet_cut_power(machine);
    world_post(1 + world_random(ms), node_back, machine);
}

static void machine_stall(uint64_t ms)
{
    struct node *machine = any_machine();
    if (machine != NULL)
        node_stall(machine, 1 + world_random(ms));
}

/* Disks */

static unsigned replica_of(void *data)
{
    return (unsigned)(uintptr_t)data;
}

static void disk_end(void *data)
{
    disk_heal(replica_of(data));
}

static void disk_slows(uint64_t ms)
{
    unsigned i = any_replica();
    uint64_t spread_us = 1 + world_random(1000) * world_random(1000);
    world_say("slow disk of r%u, %" PRIu64 " us", i + 1, spread_us);
    disk_slow(i, spread_us / 4, spread_us);
    world_post(ms, disk_end, (void *)(uintptr_t)i);
}

static void disk_fails(uint64_t ms)
{
    unsigned i = any_replica();
    world_say("failing disk of r%u", i + 1);
    disk_fail(i, 1 + (unsigned)world_random(2000));
    world_post(ms, disk_end, (void *)(uintptr_t)i);
}

static void disk_fills(uint64_t ms)
{
    unsigned i = any_replica();
    world_say("full disk of r%u", i + 1);
    disk_fill(i, true);
    world_post(ms, disk_end, (void *)(uintptr_t)i);
}

/* Clocks */

static void clock_jump(uint64_t ms)
{
    (void)ms;
    static const int64_t sizes_ms[] = {50, 1 * SECOND, 30 * SECOND, 3600 * SECOND};
    struct node *n = world_replica_node(any_replica());
    int64_t size_ms = sizes_ms[world_random(ARRAY_SIZE(sizes_ms))];
    int64_t ahead_ms = (int64_t)world_random((uint64_t)size_ms * 2) - size_ms;
    world_say("clock of %s is %" PRId64 " ms ahead", node_name(n), ahead_ms);
    node_set_clock(n, ahead_ms);
}

static void clock_right(uint64_t ms)
{
    (void)ms;
    for (unsigned i = 0; i < WORLD_REPLICAS; i++)
        node_set_clock(world_replica_node(i), 0);
}

static const struct fault faults[] = {
    {"split", NETWORK, 4, split},
    {"isolate", NETWORK, 6, isolate},
    {"one-way", NETWORK, 4, one_way},
    {"random-ways", NETWORK, 4, random_ways},
    {"machine-off", NETWORK, 3, machine_off},
    {"slow-node", NETWORK, 3, slow_node},
    {"raft-trouble", NETWORK, 3, trouble},
    {"reset", NETWORK, 3, reset},
    {"crash", PROCESS, 8, crash},
    {"crash-many", PROCESS, 2, crash_many},
    {"stop", PROCESS, 3, stop},
    {"transfer", PROCESS, 4, transfer},
    {"stall", PROCESS, 4, stall},
    {"machine-crash", PROCESS, 4, machine_crash},
    {"machine-power", PROCESS, 3, machine_power},
    {"machine-stall", PROCESS, 2, machine_stall},
    {"slow-disk", DISK, 4, disk_slows},
    {"failing-disk", DISK, 3, disk_fails},
    {"full-disk", DISK, 1, disk_fills},
    {"clock-jump", CLOCK, 3, clock_jump},
    {"clock-right", CLOCK, 1, clock_right},
};

static unsigned weight_of(const struct fault *fault)
{
    return fault->weight * profile.weights[fault->family];
}

static void strike(void *data);

static void strike_later(void)
{
    world_post(1 + world_random(2 * profile.pause_ms), strike, NULL);
}

static void strike(void *data)
{
    (void)data;
    unsigned sum = 0, at = 0;
    if (!profile.on)
        return;
    for (size_t i = 0; i < ARRAY_SIZE(faults); i++)
        sum += weight_of(&faults[i]);
    uint64_t drawn = world_random(sum);
    while (drawn >= weight_of(&faults[at]))
        drawn -= weight_of(&faults[at++]);
    world_say("fault %s", faults[at].name);
    counts[at]++;
    faults[at].begin(1 + world_random(profile.last_ms));
    strike_later();
}

void faults_draw(struct world_cell *ret_cell)
{
    static const struct world_cell timers[] = {{300, 50, 0}, {300, 50, 0}, {1000, 100, 0}};
    static const unsigned thresholds[] = {100, 300, 1000, 4096};
    static const uint64_t pauses_ms[] = {2 * SECOND, 10 * SECOND, 30 * SECOND, 120 * SECOND};
    static const uint64_t lasts_ms[] = {2 * SECOND, 10 * SECOND, 40 * SECOND};
    *ret_cell = timers[world_random(ARRAY_SIZE(timers))];
    ret_cell->snapshot_threshold = thresholds[world_random(ARRAY_SIZE(thresholds))];
    profile.pause_ms = pauses_ms[world_random(ARRAY_SIZE(pauses_ms))];
    profile.last_ms = lasts_ms[world_random(ARRAY_SIZE(lasts_ms))];
    uint64_t kind = world_random(10);
    for (unsigned f = 0; f < FAMILY_COUNT; f++) {
        if (kind < FAMILY_COUNT)
            profile.weights[f] = f == kind; /* only this family */
        else if (kind > FAMILY_COUNT)
            /* a mixture; kind FAMILY_COUNT: no faults */
            profile.weights[f] = (unsigned)world_random(4);
    }
}

void faults_start(void)
{
    unsigned sum = 0;
    for (unsigned f = 0; f < FAMILY_COUNT; f++)
        sum += profile.weights[f];
    profile.on = sum > 0;
    if (profile.on)
        strike_later();
}

void faults_stop(void)
{
    profile.on = false;
    net_heal();
    clock_right(0);
    for (unsigned i = 0; i < WORLD_REPLICAS; i++)
        disk_heal(i);
    for (unsigned i = 0; world_node_at(i) != NULL; i++)
        node_wake(world_node_at(i));
    for (unsigned i = 0; i < WORLD_REPLICAS; i++)
        world_replica_crash_end(i);
}

void faults_tell(void)
{
    printf("faults:");
    for (size_t i = 0; i < ARRAY_SIZE(faults); i++)
        if (counts[i] > 0)
            printf(" %s %" PRIu64, faults[i].name, counts[i]);
    printf("%s\n", profile.weights[NETWORK] + profile.weights[PROCESS] + profile.weights[DISK] +
                               profile.weights[CLOCK] ==
                           0
                       ? " none, a calm seed"
                       : "");
}
