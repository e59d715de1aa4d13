/*
 * faults.c - inject and end the faults of a plan.
 */
#include "faults.h"

#include "clock.h"

#include <signal.h>
#include <string.h>

enum { DESK_BIT = 1, MASTER_BITS = ((1 << CREW_MASTERS) - 1) << 1 };
enum { MACHINE_BITS = ((1 << CREW_BORGLETS) - 1) << (CREW_MASTERS + 1) };
enum { CLOCK_JUMP_S_MAX = 900, RESTART_MS = 300 };

static uint32_t bit_of(size_t member)
{
    return BIT(crew_node(member));
}

static size_t master_of(const struct faults *f, const struct fault *fault)
{
    bool wants_leader = fault->kind == FAULT_KILL_LEADER || fault->kind == FAULT_STOP_LEADER ||
                        fault->kind == FAULT_CUT_LEADER || fault->kind == FAULT_CUT_LEADER_OUT ||
                        fault->kind == FAULT_CUT_LEADER_IN;
    size_t drawn = fault->who % CREW_MASTERS;
    if (fault->kind == FAULT_TRANSFER && drawn == f->leader) /* it leads already */
        return (drawn + 1) % CREW_MASTERS;
    return wants_leader && f->leader < CREW_MASTERS ? f->leader : drawn;
}

static size_t machine_of(const struct fault *fault)
{
    return CREW_MASTERS + fault->who % CREW_BORGLETS;
}

/* The rule for packets under a network fault other than a partition. */
static struct net_rule rule_of(const struct fault *fault)
{
    uint32_t amount = fault->amount;
    if (fault->kind == FAULT_SLOW)
        return (struct net_rule){.delay_ms = 10 + amount / 8};
    if (fault->kind == FAULT_LOSSY)
        return (struct net_rule){.loss_permille = 20 + amount / 4};
    if (fault->kind == FAULT_REORDER)
        return (struct net_rule){.jitter_ms = 2 + amount / 50};
    if (fault->kind == FAULT_THIN)
        return (struct net_rule){.rate_kibs = 64 + amount / 5};
    return (struct net_rule){.cut = true};
}

/* Set source and destination nodes; none for a fault of processes. */
static void path_of(const struct fault *fault, size_t master, struct fault_active *a)
{
    size_t second = (master + 1 + fault->other % (CREW_MASTERS - 1)) % CREW_MASTERS;
    uint32_t one = bit_of(master), others = MASTER_BITS & ~one;
    uint32_t everybody = others | MACHINE_BITS | DESK_BIT, machine = bit_of(machine_of(fault));
    bool odd = fault->amount % 2 == 1;
    const struct {
        uint32_t from, to;
        bool both_ways;
    } paths[FAULT_KIND_COUNT] = {
        [FAULT_CUT_LEADER] = {one, odd ? others : everybody, true},
        [FAULT_CUT_LEADER_OUT] = {one, others, false},
        [FAULT_CUT_LEADER_IN] = {others, one, false},
        [FAULT_CUT_ONE_WAY] = {odd ? one : others, odd ? others : one, false},
        [FAULT_CUT_PAIR] = {one, bit_of(second), true},
        [FAULT_SPLIT] = {one | bit_of(second), others & ~bit_of(second), true},
        [FAULT_SLOW] = {one, everybody, true},
        [FAULT_LOSSY] = {one, everybody, true},
        [FAULT_REORDER] = {MASTER_BITS, MASTER_BITS, true},
        [FAULT_THIN] = {one, everybody, true},
        [FAULT_CUT_MACHINE] = {machine, MASTER_BITS, true},
        [FAULT_CUT_MACHINE_ONE_WAY] = {odd ? machine : MASTER_BITS, odd ? MASTER_BITS : machine,
                                       false},
    };
    a->from = paths[fault->kind].from;
    a->to = paths[fault->kind].to;
    a->both_ways = paths[fault->kind].both_ways;
}

static struct fault_active fault_aim(const struct faults *f, const struct fault *fault,
                                     uint64_t now_ms)
{
    size_t master = master_of(f, fault);
    bool is_of_machine = fault->kind == FAULT_KILL_BORGLET || fault->kind == FAULT_STOP_BORGLET ||
                         fault->kind == FAULT_KILL_MACHINE || fault->kind == FAULT_CUT_MACHINE ||
                         fault->kind == FAULT_CUT_MACHINE_ONE_WAY;
    struct fault_active a = {.fault = *fault,
                             .until_ms = now_ms + fault->for_ms,
                             .member = is_of_machine                   ? machine_of(fault)
                                       : fault->kind == FAULT_KILL_ALL ? CREW_COUNT
                                                                       : master,
                             .rule = rule_of(fault)};
    path_of(fault, master, &a);
    return a;
}

static void rule_add(struct net_rule *to, const struct net_rule *rule)
{
    to->cut |= rule->cut;
    to->delay_ms = MAX(to->delay_ms, rule->delay_ms);
    to->jitter_ms = MAX(to->jitter_ms, rule->jitter_ms);
    to->loss_permille = MAX(to->loss_permille, rule->loss_permille);
    if (rule->rate_kibs != 0 && (to->rate_kibs == 0 || rule->rate_kibs < to->rate_kibs))
        to->rate_kibs = rule->rate_kibs;
}

/* Combine the rules of all active faults. */
static void rules_apply(struct faults *f)
{
    memset(f->rules, 0, sizeof f->rules);
    for (size_t i = 0; i < f->active_count; i++) {
        const struct fault_active *a = &f->active[i];
        for (uint32_t from = 0; from <= CREW_COUNT; from++)
            for (uint32_t to = 0; to <= CREW_COUNT; to++) {
                bool there = (a->from & BIT(from)) != 0 && (a->to & BIT(to)) != 0;
                bool back = (a->from & BIT(to)) != 0 && (a->to & BIT(from)) != 0;
                if (there || (back && a->both_ways))
                    rule_add(&f->rules[from][to], &a->rule);
            }
    }
    if (f->crew->kind != SANDBOX_CLOSED)
        return;
    for (uint32_t from = 0; from <= CREW_COUNT; from++)
        for (uint32_t to = 0; to <= CREW_COUNT; to++)
            net_set(f->crew->net, from, to, &f->rules[from][to]);
}

static void member_kill(struct faults *f, size_t member)
{
    f->crew->members[member].away++;
    crew_signal(f->crew, member, SIGKILL);
}

/* Start and end of faults outside the network. */

static void kill_begin(struct faults *f, const struct fault_active *a)
{
    member_kill(f, a->member);
}

static void kill_end(struct faults *f, const struct fault_active *a)
{
    f->crew->members[a->member].away--;
}

static void kill_all_begin(struct faults *f, const struct fault_active *a UNUSED)
{
    for (size_t i = 0; i < CREW_MASTERS; i++)
        member_kill(f, i);
}

static void kill_all_end(struct faults *f, const struct fault_active *a UNUSED)
{
    for (size_t i = 0; i < CREW_MASTERS; i++)
        f->crew->members[i].away--;
}

static void machine_begin(struct faults *f, const struct fault_active *a)
{
    member_kill(f, a->member);
    crew_machine_kill(f->crew, a->member);
}

static void stop_begin(struct faults *f, const struct fault_active *a)
{
    f->crew->members[a->member].stops++;
    crew_signal(f->crew, a->member, SIGSTOP);
}

static void stop_end(struct faults *f, const struct fault_active *a)
{
    if (--f->crew->members[a->member].stops == 0)
        crew_signal(f->crew, a->member, SIGCONT);
}

static void disk_begin(struct faults *f, const struct fault_active *a)
{
    f->crew->members[a->member].excuses++;
    crew_disk_fill(f->crew, a->member, true);
}

static void disk_end(struct faults *f, const struct fault_active *a)
{
    struct member *m = &f->crew->members[a->member];
    m->excused_ms = clock_mono_ms();
    if (--m->excuses == 0)
        crew_disk_fill(f->crew, a->member, false);
}

static void clock_begin(struct faults *f, const struct fault_active *a)
{
    crew_clock_set(f->crew, a->member,
                   (int64_t)a->fault.amount * 2 * CLOCK_JUMP_S_MAX / 1000 - CLOCK_JUMP_S_MAX);
}

static void clock_end(struct faults *f, const struct fault_active *a)
{
    crew_clock_set(f->crew, a->member, 0);
}

/* Transfer leadership to the drawn master, which may be down, cut off or leading already. */
static void transfer_begin(struct faults *f, const struct fault_active *a)
{
    char id[8];
    snprintf(id, sizeof id, "%zu", a->member + 1);
    const char *const words[] = {"--timeout", "3", "cell", "transfer-leader", id, NULL};
    crew_borgctl(f->crew, words);
}

static void transfer_end(struct faults *f UNUSED, const struct fault_active *a UNUSED)
{
}

static const struct {
    void (*begin)(struct faults *f, const struct fault_active *a);
    void (*end)(struct faults *f, const struct fault_active *a);
} acts[FAULT_KIND_COUNT] = {
    [FAULT_KILL_LEADER] = {kill_begin, kill_end},
    [FAULT_KILL_MASTER] = {kill_begin, kill_end},
    [FAULT_KILL_ALL] = {kill_all_begin, kill_all_end},
    [FAULT_STOP_LEADER] = {stop_begin, stop_end},
    [FAULT_STOP_MASTER] = {stop_begin, stop_end},
    [FAULT_TRANSFER] = {transfer_begin, transfer_end},
    [FAULT_DISK_FULL] = {disk_begin, disk_end},
    [FAULT_CLOCK] = {clock_begin, clock_end},
    [FAULT_KILL_BORGLET] = {kill_begin, kill_end},
    [FAULT_STOP_BORGLET] = {stop_begin, stop_end},
    [FAULT_KILL_MACHINE] = {machine_begin, kill_end},
};

static void fault_tell(struct faults *f, const struct fault_active *a, const char *what,
                       uint64_t now_ms)
{
    fprintf(f->log, "%8" PRIu64 " %-6s %-24s %s", now_ms, what, fault_text(a->fault.kind),
            a->member == CREW_COUNT ? "all" : f->crew->members[a->member].name);
    if (a->from != 0)
        fprintf(f->log, " nodes %x %s %x cut=%d delay=%u jitter=%u loss=%u rate=%u", a->from,
                a->both_ways ? "<->" : "->", a->to, a->rule.cut, a->rule.delay_ms,
                a->rule.jitter_ms, a->rule.loss_permille, a->rule.rate_kibs);
    fprintf(f->log, " amount=%u leader=%zu\n", a->fault.amount, f->leader + 1);
    fflush(f->log);
}

void faults_begin(struct faults *f, const struct fault *fault, uint64_t now_ms)
{
    if (f->active_count == FAULTS_ACTIVE_MAX)
        return;
    struct fault_active a = fault_aim(f, fault, now_ms);
    f->active[f->active_count++] = a;
    f->counts[fault->kind]++;
    f->hit |= a.member < CREW_COUNT ? BIT(a.member) : 0;
    fault_tell(f, &a, "begin", now_ms);
    if (a.from != 0)
        rules_apply(f);
    else
        acts[fault->kind].begin(f, &a);
}

static void members_start(struct faults *f)
{
    struct err err;
    for (size_t i = 0; i < CREW_COUNT; i++) {
        struct member *m = &f->crew->members[i];
        if (m->pid != 0 || m->away > 0 || m->excuses > 0 ||
            clock_mono_ms() < m->ended_ms + RESTART_MS)
            continue;
        if (crew_start(f->crew, i, &err) != 0)
            PANIC("%s", err.msg);
        if (m->stops > 0)
            crew_signal(f->crew, i, SIGSTOP);
    }
}

void faults_tick(struct faults *f, uint64_t now_ms, bool all)
{
    bool changed = false;
    for (size_t i = 0; i < f->active_count;) {
        struct fault_active a = f->active[i];
        if (!all && now_ms < a.until_ms) {
            i++;
            continue;
        }
        f->active[i] = f->active[--f->active_count];
        fault_tell(f, &a, "end", now_ms);
        if (a.from == 0)
            acts[a.fault.kind].end(f, &a);
        changed |= a.from != 0;
    }
    if (changed)
        rules_apply(f);
    members_start(f);
}

static bool rule_is_poor(const struct net_rule *rule)
{
    return rule->delay_ms > 0 || rule->jitter_ms > 0 || rule->loss_permille > 0 ||
           rule->rate_kibs > 0;
}

/* Return whether all of these masters are connected pairwise. */
static enum faults_majority set_talks(const struct faults *f, uint32_t set)
{
    bool is_poor = false, is_reached = false;
    for (size_t i = 0; i < CREW_MASTERS; i++) {
        const struct member *m = &f->crew->members[i];
        uint32_t node = crew_node(i);
        if ((set & BIT(i)) == 0)
            continue;
        if (m->pid == 0 || m->is_stopped || m->excuses > 0)
            return MAJORITY_NONE;
        is_reached |= !f->rules[NET_DESK][node].cut && !f->rules[node][NET_DESK].cut;
        for (size_t k = 0; k < CREW_MASTERS; k++) {
            if ((set & BIT(k)) == 0 || k == i)
                continue;
            if (f->rules[node][crew_node(k)].cut)
                return MAJORITY_NONE;
            is_poor |= rule_is_poor(&f->rules[node][crew_node(k)]);
        }
    }
    return !is_reached ? MAJORITY_NONE : is_poor ? MAJORITY_POOR : MAJORITY_WELL;
}

enum faults_majority faults_majority(const struct faults *f)
{
    enum faults_majority best = MAJORITY_NONE;
    for (uint32_t set = 1; set < BIT(CREW_MASTERS); set++)
        if (__builtin_popcount(set) > CREW_MASTERS / 2)
            best = MAX(best, set_talks(f, set));
    return best;
}
