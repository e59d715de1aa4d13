/*
 * admission.c - the budgets, and the accounts of identities.
 */
#include "admission.h"

#include <stdlib.h>
#include <string.h>

enum { KIB = 1024, MIB = 1024 * KIB, SECOND_US = 1000000 };

/* README.md of this folder explains the values. */
const struct admission_limits admission_rpc = {
    .connections = RPC_CONNECTIONS_MAX,
    .files_kept = 256,
    .identity_percent = 12,
    .strangers_percent = 12,
    .frame_ms = 8000, /* below TCP_USER_TIMEOUT, so that a waiting peer still gets the reason */
    .turn_users_us = 20000,
    .roles =
        {
            [ROLE_NONE] = {.connections = 4096, .share_percent = 12},
            [ROLE_MASTER] = {.connections = 32,
                             .share_percent = 3,
                             .calls = 4 * RPC_CALLS_MAX,
                             .call_bytes = 4 * RPC_CALLS_BYTES_MAX,
                             .frame_bytes = 32 * MIB,
                             .memory_bytes = 256 * MIB,
                             .turn_frames = 1024,
                             .turn_us = 20000,
                             .turn_bytes = 16 * MIB,
                             .busy = {.percent = 100, .burst_us = SECOND_US}},
            [ROLE_BORGLET] = {.connections = 4,
                              .share_percent = 25,
                              .calls = RPC_CALLS_MAX,
                              .call_bytes = RPC_CALLS_BYTES_MAX,
                              .frame_bytes = 16 * MIB,
                              .memory_bytes = 64 * MIB,
                              .turn_frames = 64,
                              .turn_us = 10000,
                              .turn_bytes = 4 * MIB,
                              .busy = {.percent = 10, .burst_us = 50000}},
            [ROLE_USER] = {.connections = 2048,
                           .share_percent = 12,
                           .calls = 16 * RPC_USER_CALLS_MAX,
                           .call_bytes = 4 * RPC_CALLS_BYTES_MAX,
                           .frame_bytes = 16 * MIB,
                           .memory_bytes = 64 * MIB,
                           .turn_frames = 512,
                           .turn_us = 10000,
                           .turn_bytes = 2 * MIB,
                           .busy = {.percent = 40, .burst_us = 50000},
                           .idle_ms = UINT64_C(300000)},
        },
};

const struct admission_limits admission_raft = {
    .connections = 64,
    .files_kept = 64, /* of the descriptors that the other ports leave, some are for the log's
                         files */
    .identity_percent = 25,
    .strangers_percent = 40,
    .frame_ms = 8000, /* below TCP_USER_TIMEOUT, so that a waiting peer still gets the reason */
    .turn_users_us = 1000,
    .roles =
        {
            [ROLE_NONE] = {.connections = 24, .share_percent = 40},
            [ROLE_MASTER] = {.connections = 12,
                             .share_percent = 40,
                             .memory_bytes = 64 * MIB,
                             .turn_bytes = 16 * MIB},
            /* The listener closes these connections. */
            [ROLE_BORGLET] = {.connections = 1, .memory_bytes = MIB, .turn_bytes = 64 * KIB},
            [ROLE_USER] = {.connections = 1, .memory_bytes = MIB, .turn_bytes = 64 * KIB},
        },
};

struct admission_limits admission_open(size_t connections)
{
    static const struct admission_budget all = {.connections = UINT32_MAX,
                                                .calls = UINT32_MAX,
                                                .call_bytes = SIZE_MAX,
                                                .frame_bytes = SIZE_MAX,
                                                .memory_bytes = SIZE_MAX,
                                                .turn_frames = UINT32_MAX,
                                                .turn_us = UINT32_MAX,
                                                .turn_bytes = SIZE_MAX,
                                                .busy = {100, UINT32_MAX}};
    return (struct admission_limits){.connections = connections,
                                     .identity_percent = 100,
                                     .strangers_percent = 100,
                                     .frame_ms = UINT32_MAX,
                                     .turn_users_us = UINT32_MAX,
                                     .roles = {all, all, all, all}};
}

struct admission {
    struct admission_limits limits;
    uint64_t files_max;
    uint64_t descriptors_max; /* for connections */
    size_t connections_max;
    size_t used[ROLE_COUNT];
    struct namemap accounts; /* by the text of the identity */
    bool freed;              /* freed by its owner: it stays until the last account is left */
    uint64_t turn;
    uint64_t users_us; /* used by users in that turn */
};

struct admission_account {
    struct admission *admission; /* NULL: for a connection that we opened */
    struct admission_limits limits;
    struct admission_budget budget;
    struct identity who;
    struct identity_text name;
    uint32_t connections;
    uint32_t calls;
    size_t call_bytes;
    size_t frame_bytes;
    size_t output_bytes;
    uint64_t turn;
    uint32_t turn_frames;
    uint64_t turn_us;
    size_t turn_bytes;
    struct bucket busy;
};

struct admission *admission_new(const struct admission_limits *limits, uint64_t files_max)
{
    struct admission *a = xcalloc(1, sizeof *a);
    a->limits = *limits;
    admission_set_files(a, files_max);
    return a;
}

void admission_set_files(struct admission *a, uint64_t files_max)
{
    if (a->files_max == files_max)
        return;
    a->files_max = files_max;
    a->descriptors_max = files_max - MIN(files_max / 4, (uint64_t)a->limits.files_kept);
    a->connections_max = MIN(a->limits.connections, (size_t)a->descriptors_max);
}

bool admission_may_have(const struct admission *a, int descriptor, struct err *err)
{
    if ((uint64_t)descriptor < a->descriptors_max)
        return true;
    err_set(err, ERR_LIMIT,
            "%d of %" PRIu64
            " descriptors are in use, the others are reserved for files: raise the limit "
            "(ulimit -n)",
            descriptor, a->files_max);
    return false;
}

static void admission_free_if_unused(struct admission *a)
{
    if (!a->freed || a->accounts.count > 0)
        return;
    namemap_release(&a->accounts);
    free(a);
}

void admission_free(struct admission *a)
{
    a->freed = true;
    admission_free_if_unused(a);
}

const struct admission_limits *admission_limits(const struct admission *a)
{
    return &a->limits;
}

static size_t part_of(const struct admission *a, uint32_t percent)
{
    return a->connections_max * percent / 100;
}

/* Return whether a connection is available to this role outside of the other roles' shares. */
static bool has_connection(const struct admission *a, enum role role)
{
    size_t taken = 0;
    for (int other = 0; other < ROLE_COUNT; other++)
        taken += other == (int)role
                     ? a->used[other]
                     : MAX(a->used[other], part_of(a, a->limits.roles[other].share_percent));
    return taken < a->connections_max;
}

enum admission_verdict admission_accept(struct admission *a, struct err *err)
{
    size_t used = 0;
    size_t strangers = MAX((size_t)1, part_of(a, a->limits.strangers_percent));
    for (int role = 0; role < ROLE_COUNT; role++)
        used += a->used[role];
    if (used >= a->connections_max && a->used[ROLE_NONE] == 0) {
        err_set(err, ERR_LIMIT, "%zu connections are open already, the limit", used);
        return ADMISSION_FULL;
    }
    if (used >= a->connections_max ||
        a->used[ROLE_NONE] >= MIN(strangers, (size_t)a->limits.roles[ROLE_NONE].connections))
        return ADMISSION_WAIT;
    a->used[ROLE_NONE]++;
    return ADMISSION_TAKEN;
}

void admission_gone(struct admission *a)
{
    ASSERT(a->used[ROLE_NONE] > 0);
    a->used[ROLE_NONE]--;
}

static struct admission_account *account_make(const struct admission_limits *limits,
                                              const struct identity *who)
{
    struct admission_account *account = xcalloc(1, sizeof *account);
    account->limits = *limits;
    account->budget = limits->roles[who->role];
    account->who = *who;
    account->name = identity_text(who);
    return account;
}

static void account_free_if_unused(struct admission_account *account)
{
    struct admission *a = account->admission;
    if (account->connections > 0 || account->calls > 0)
        return;
    if (a != NULL)
        namemap_remove(&a->accounts, account->name.text);
    free(account);
    if (a != NULL)
        admission_free_if_unused(a);
}

int admission_identify(struct admission *a, const struct identity *who,
                       struct admission_account **ret, struct err *err)
{
    struct identity_text name = identity_text(who);
    struct admission_account *account = namemap_get(&a->accounts, name.text);
    size_t most = MIN((size_t)a->limits.roles[who->role].connections,
                      MAX((size_t)1, part_of(a, a->limits.identity_percent)));
    ASSERT(who->role != ROLE_NONE);
    if (account != NULL && account->connections >= most)
        return err_set(err, ERR_LIMIT,
                       "%s has %" PRIu32 " connections here, the limit: close some of them",
                       name.text, account->connections);
    a->used[ROLE_NONE]--; /* its own place may be the one that it needs */
    if (!has_connection(a, who->role)) {
        a->used[ROLE_NONE]++;
        return err_set(err, ERR_LIMIT,
                       "all connections for the role %s are in use (%zu): try another "
                       "replica, or try again later",
                       role_text(who->role), a->used[who->role]);
    }
    a->used[who->role]++;
    if (account == NULL) {
        account = account_make(&a->limits, who);
        account->admission = a;
        namemap_put(&a->accounts, account->name.text, account);
    }
    account->connections++;
    *ret = account;
    return 0;
}

struct admission_account *account_new(const struct identity *who)
{
    struct admission_account *account = account_make(&admission_rpc, who);
    account->connections = 1;
    return account;
}

void account_leave(struct admission_account *account)
{
    ASSERT(account->connections > 0);
    account->connections--;
    if (account->admission != NULL)
        account->admission->used[account->who.role]--;
    account_free_if_unused(account);
}

const struct admission_budget *account_budget(const struct admission_account *account)
{
    return &account->budget;
}

const struct admission_limits *account_limits(const struct admission_account *account)
{
    return &account->limits;
}

void account_call_begin(struct admission_account *account, size_t bytes)
{
    account->calls++;
    account->call_bytes += bytes;
}

void account_call_end(struct admission_account *account, size_t bytes)
{
    ASSERT(account->calls > 0);
    ASSERT(account->call_bytes >= bytes);
    account->calls--;
    account->call_bytes -= bytes;
    account_free_if_unused(account);
}

void account_frames(struct admission_account *account, size_t was, size_t now)
{
    ASSERT(account->frame_bytes >= was);
    account->frame_bytes += now - was;
}

void account_output(struct admission_account *account, size_t was, size_t now)
{
    ASSERT(account->output_bytes >= was);
    account->output_bytes += now - was;
}

size_t account_memory(const struct admission_account *account)
{
    return account->frame_bytes + account->output_bytes;
}

bool account_is_full(const struct admission_account *account)
{
    const struct admission_budget *b = &account->budget;
    return account->calls >= b->calls || account->call_bytes >= b->call_bytes ||
           account->output_bytes >= b->memory_bytes / 2;
}

bool account_has_room(const struct admission_account *account)
{
    const struct admission_budget *b = &account->budget;
    return account->calls <= b->calls / 2 && account->call_bytes <= b->call_bytes / 2 &&
           account->output_bytes < b->memory_bytes / 2;
}

bool account_frames_full(const struct admission_account *account)
{
    return account->frame_bytes >= account->budget.frame_bytes;
}

bool account_may_send(const struct admission_account *account, size_t bytes)
{
    size_t memory = account_memory(account);
    return memory <= account->budget.memory_bytes && bytes <= account->budget.memory_bytes - memory;
}

static void account_turn(struct admission_account *account, uint64_t turn)
{
    struct admission *a = account->admission;
    if (account->turn != turn) {
        account->turn = turn;
        account->turn_frames = 0;
        account->turn_us = 0;
        account->turn_bytes = 0;
    }
    if (a != NULL && a->turn != turn) {
        a->turn = turn;
        a->users_us = 0;
    }
}

bool account_turn_is_over(struct admission_account *account, uint64_t turn)
{
    const struct admission *a = account->admission;
    account_turn(account, turn);
    return a != NULL && account->who.role == ROLE_USER && a->users_us >= a->limits.turn_users_us;
}

bool account_may_serve(struct admission_account *account, uint64_t turn)
{
    return !account_turn_is_over(account, turn) &&
           account->turn_frames < account->budget.turn_frames &&
           account->turn_us < account->budget.turn_us;
}

void account_served(struct admission_account *account, uint64_t us)
{
    account->turn_frames++;
    account->turn_us += us;
    if (account->admission != NULL && account->who.role == ROLE_USER)
        account->admission->users_us += us;
}

void account_busy(struct admission_account *account, uint64_t now_us, uint64_t us)
{
    bucket_add(&account->busy, &account->budget.busy, now_us, us);
}

bool account_may_be_over(const struct admission_account *account)
{
    return account->busy.level_us > account->budget.busy.burst_us;
}

bool account_is_over(const struct admission_account *account, uint64_t now_us)
{
    return account->admission != NULL && account->budget.busy.percent < 100 &&
           bucket_is_over(&account->busy, &account->budget.busy, now_us);
}

bool account_may_read(struct admission_account *account, uint64_t turn, size_t bytes)
{
    account_turn(account, turn);
    account->turn_bytes += bytes;
    return account->turn_bytes < account->budget.turn_bytes;
}
