/*
 * quota.c - what a user may have and has, per band.
 *
 * A job counts with its limits times its replicas from its submission until it is dead, whatever
 * its tasks are doing; only those not wanted on their machine (system.c) do not count, and one that
 * runs in an alloc set takes what the set counts for already. A quota is asked when a job comes or
 * grows, never later: lowering it stops nothing. Borg paper, section 2.5: free work needs no quota
 * and has no claim.
 */
#include "cell_write.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct account *account_take(struct cell *cell, const char *user)
{
    struct account *account = namemap_get(&cell->accounts_by_user, user);
    if (account != NULL)
        return account;
    account = xcalloc(1, sizeof *account);
    str_copy(account->user, sizeof account->user, user);
    list_init(&account->dead);
    struct list *before = cell->accounts.next; /* kept by name: walks see them in this order */
    while (before != &cell->accounts &&
           strcmp(CONTAINER_OF(before, struct account, link)->user, user) < 0)
        before = before->next;
    list_push(before, &account->link);
    namemap_put(&cell->accounts_by_user, account->user, account);
    return account;
}

/* One that neither has nor may have anything is as good as none. */
static void account_drop_empty(struct cell *cell, struct account *account)
{
    for (enum band b = 0; b < BAND_COUNT; b++)
        if (account->granted[b] || account->used[b].tasks > 0)
            return;
    if (account->live_jobs > 0 || account->dead_jobs > 0)
        return;
    namemap_remove(&cell->accounts_by_user, account->user);
    list_remove(&account->link);
    free(account);
}

/* Of each resource the most that a shape has: who knows which it will be. */
static struct usage usage_of(const struct job_spec *spec, uint32_t replicas)
{
    struct resources limit = spec_limit_max(spec);
    struct usage usage = {.tasks = replicas};
    for (int r = 0; r < RES_COUNT && spec->alloc_set[0] == '\0'; r++)
        usage.v[r] = (__int128)limit.v[r] * replicas;
    return usage;
}

static void account_change(struct cell *cell, const struct job_spec *spec, uint32_t tasks, int sign)
{
    if (tasks == 0) /* of a job on every machine */
        return;
    struct account *account = account_take(cell, spec->user);
    struct usage *used = &account->used[band_of(spec->priority)];
    struct usage usage = usage_of(spec, tasks);
    for (int r = 0; r < RES_COUNT; r++)
        used->v[r] += sign * usage.v[r];
    ASSERT_IMPLIES(sign < 0, used->tasks >= usage.tasks);
    used->tasks += (uint64_t)((int64_t)usage.tasks * sign);
    cell->quota_eased |= sign < 0;
    if (sign < 0)
        account_drop_empty(cell, account);
}

void account_add(struct cell *cell, const struct job_spec *spec, uint32_t tasks)
{
    account_change(cell, spec, tasks, 1);
}

void account_remove(struct cell *cell, const struct job_spec *spec, uint32_t tasks)
{
    account_change(cell, spec, tasks, -1);
}

void account_job_added(struct cell *cell, const struct job *job)
{
    account_take(cell, job->spec.user)->live_jobs++;
}

void account_job_grew(struct cell *cell, const struct job *job, uint32_t tasks)
{
    account_take(cell, job->spec.user)->live_tasks += tasks;
}

void account_job_died(struct cell *cell, struct job *job)
{
    struct account *account = account_take(cell, job->spec.user);
    struct list *after = account->dead.prev;
    while (after != &account->dead &&
           job_died_before(job, CONTAINER_OF(after, struct job, dead_own)))
        after = after->prev;
    list_push(after->next, &job->dead_own);
    account->dead_jobs++;
    account->live_jobs--;
    account->live_tasks -= job->task_count;
}

void account_job_removed(struct cell *cell, struct job *job)
{
    struct account *account = account_take(cell, job->spec.user);
    list_remove(&job->dead_own);
    account->dead_jobs--;
    account_drop_empty(cell, account);
}

struct account *account_most_dead(const struct cell *cell)
{
    struct account *most = NULL;
    LIST_EACH(l, &cell->accounts)
    {
        struct account *account = CONTAINER_OF(l, struct account, link);
        if (most == NULL || account->dead_jobs > most->dead_jobs)
            most = account;
    }
    ASSERT(most != NULL && most->dead_jobs > 0);
    return most;
}

static bool is_free_to(const struct cell *cell, const char *by)
{
    return by[0] == '\0' || cell_user_is(cell, by, RIGHT_OPERATOR);
}

int share_check(const struct cell *cell, const char *by, const struct job_spec *spec, uint64_t jobs,
                uint64_t tasks, struct err *err)
{
    const struct account *account = namemap_get(&cell->accounts_by_user, spec->user);
    const struct account none = {.live_jobs = 0};
    const struct account *own = account != NULL ? account : &none;
    enum band band = band_of(spec->priority);
    const struct quota *quota = cell_quota(cell, spec->user, band);
    uint64_t live_jobs = cell->job_count - cell->dead_job_count;
    uint64_t jobs_left = CELL_JOBS_MAX - CELL_JOBS_DEAD_MAX - (live_jobs - own->live_jobs);
    uint64_t tasks_left = CELL_TASKS_MAX - (cell->live_tasks - own->live_tasks);
    if (is_free_to(cell, by))
        return 0;
    if (jobs > 0 && own->live_jobs + jobs > jobs_left / 2)
        return err_set(err, ERR_LIMIT,
                       "user \"%s\" has %" PRIu64
                       " live jobs: one user may have half of the %" PRIu64
                       " that the others leave in the cell; kill jobs first",
                       spec->user, own->live_jobs, jobs_left);
    bool is_granted = quota != NULL && quota->tasks != QUOTA_UNLIMITED;
    if (tasks > 0 && !is_granted && own->live_tasks + tasks > tasks_left / 2)
        return err_set(err, ERR_LIMIT,
                       "user \"%s\" has %" PRIu64 " live tasks and asks for %" PRIu64
                       " more: who has no quota of tasks may have half of the %" PRIu64
                       " that the others leave in the cell; kill jobs or ask for fewer replicas%s",
                       spec->user, own->live_tasks, tasks, tasks_left,
                       band == BAND_FREE ? ""
                                         : ", or have an operator set one (borgctl quota set)");
    return 0;
}

int band_check(const struct cell *cell, const char *by, const struct job_spec *spec,
               struct err *err)
{
    enum band band = band_of(spec->priority);
    enum right right = band == BAND_MONITORING ? RIGHT_MONITORING : RIGHT_PRODUCTION;
    if (!priority_is_prod(spec->priority) || is_free_to(cell, by) ||
        cell_user_is(cell, spec->user, right) || cell_quota(cell, spec->user, band) != NULL)
        return 0;
    return err_set(err, ERR_DENIED,
                   "priority %u is in the band %s, which is closed to user \"%s\": an operator of "
                   "the cell may open it (borgctl grant %s %s)",
                   spec->priority, band_text(band), spec->user, spec->user, right_text(right));
}

uint32_t job_accounted(const struct job *job)
{
    return job->spec.replicas - job->counts[TASK_UNWANTED];
}

const struct quota *cell_quota(const struct cell *cell, const char *user, enum band band)
{
    const struct account *account = namemap_get(&cell->accounts_by_user, user);
    return account != NULL && account->granted[band] ? &account->quotas[band] : NULL;
}

void cell_put_quota(struct cell *cell, const struct quota *quota)
{
    struct account *account = account_take(cell, quota->user);
    if (account->granted[quota->band])
        cell->digest_sum -= quota_row_hash(&account->quotas[quota->band]);
    else
        cell->quota_count++;
    account->granted[quota->band] = true;
    account->quotas[quota->band] = *quota;
    cell->digest_sum += quota_row_hash(quota);
}

static void quota_remove(struct cell *cell, const char *user, enum band band)
{
    struct account *account = namemap_get(&cell->accounts_by_user, user);
    cell->digest_sum -= quota_row_hash(&account->quotas[band]);
    cell->quota_count--;
    account->granted[band] = false;
    account->quotas[band] = (struct quota){0};
    account_drop_empty(cell, account);
}

struct quota *cell_quotas(const struct cell *cell, size_t *ret_count)
{
    struct quota *quotas = xcalloc(cell->quota_count, sizeof *quotas);
    size_t count = 0;
    LIST_EACH(l, &cell->accounts)
    {
        const struct account *account = CONTAINER_OF(l, struct account, link);
        for (enum band b = 0; b < BAND_COUNT; b++)
            if (account->granted[b])
                quotas[count++] = account->quotas[b];
    }
    ASSERT(count == cell->quota_count);
    *ret_count = count;
    return quotas;
}

int quota_valid(const struct quota *quota, const struct resource_names *names, struct err *err)
{
    if (strcmp(quota->user, QUOTA_EVERYBODY) != 0 && !name_valid(quota->user))
        return err_set(err, ERR_INVALID,
                       "user \"%s\" is no user's name, nor * for everybody without a quota",
                       quota->user);
    if (quota->band >= BAND_COUNT)
        return err_set(err, ERR_INVALID, "band %d is none", (int)quota->band);
    if (quota->band == BAND_FREE)
        return err_set(err, ERR_INVALID, "the free band has no quotas: its work has no claim");
    for (enum resource r = 0; r < RES_COUNT; r++)
        if (quota->limit.v[r] != QUOTA_UNLIMITED &&
            (quota->limit.v[r] < 0 || quota->limit.v[r] > QUOTA_AMOUNT_MAX))
            return err_set(err, ERR_INVALID, "%s: %" PRId64 " is not between 0 and %" PRId64,
                           resource_name(r, names), quota->limit.v[r], QUOTA_AMOUNT_MAX);
    if (quota->tasks != QUOTA_UNLIMITED && (quota->tasks < 0 || quota->tasks > QUOTA_AMOUNT_MAX))
        return err_set(err, ERR_INVALID, "tasks: %" PRId64 " is not between 0 and %" PRId64,
                       quota->tasks, QUOTA_AMOUNT_MAX);
    return 0;
}

static int64_t clamped(__int128 amount)
{
    return amount > INT64_MAX ? INT64_MAX : (int64_t)amount;
}

static void print_amount(struct buf *to, int resource, __int128 amount)
{
    if (resource < RES_COUNT)
        resource_print(to, (enum resource)resource, clamped(amount));
    else
        buf_printf(to, "%" PRId64, clamped(amount));
}

/* "; cpu: used 3, asked 2, granted 4", when that is too much. */
static void compare(struct buf *to, int resource, const struct resource_names *names, __int128 used,
                    __int128 asked, int64_t granted)
{
    if (granted == QUOTA_UNLIMITED || asked <= 0 || used + asked <= granted)
        return;
    buf_printf(to, "%s%s: used ", to->size > 0 ? "; " : "",
               resource < RES_COUNT ? resource_name((enum resource)resource, names) : "tasks");
    print_amount(to, resource, used);
    buf_printf(to, ", asked ");
    print_amount(to, resource, asked);
    buf_printf(to, ", granted ");
    print_amount(to, resource, granted);
}

/* What more it is than the job has now, if that counts in the same band. */
static struct usage usage_more(const struct job_spec *spec, uint32_t tasks, const struct job *now)
{
    struct usage more = usage_of(spec, tasks);
    if (now == NULL || band_of(now->spec.priority) != band_of(spec->priority))
        return more;
    struct usage has = usage_of(&now->spec, job_accounted(now));
    for (int r = 0; r < RES_COUNT; r++)
        more.v[r] -= has.v[r];
    more.tasks -= MIN(has.tasks, more.tasks);
    return more;
}

int quota_check(const struct cell *cell, const struct job_spec *spec, uint32_t tasks,
                const struct job *now, struct err *err)
{
    enum band band = band_of(spec->priority);
    const struct quota *quota = cell_quota(cell, spec->user, band);
    if (quota == NULL)
        quota = cell_quota(cell, QUOTA_EVERYBODY, band);
    if (quota == NULL || band == BAND_FREE || tasks == 0)
        return 0;
    const struct account *account = namemap_get(&cell->accounts_by_user, spec->user);
    struct usage used = account == NULL ? (struct usage){0} : account->used[band];
    struct usage asked = usage_more(spec, tasks, now);
    CLEANUP(buf_release) struct buf over = {0};
    for (int r = 0; r < RES_COUNT; r++)
        compare(&over, r, &cell->resource_names, used.v[r], asked.v[r], quota->limit.v[r]);
    compare(&over, RES_COUNT, &cell->resource_names, used.tasks, asked.tasks, quota->tasks);
    if (over.size == 0)
        return 0;
    return err_set(err, ERR_LIMIT,
                   "over the quota of user \"%s\" in band %s: %s; kill jobs, ask for "
                   "less, or have more granted (borgctl quota set)",
                   spec->user, band_text(band), buf_text(&over));
}

void quota_amounts_print(struct buf *to, const struct quota *quota,
                         const struct resource_names *names)
{
    for (enum resource r = 0; r < RES_COUNT; r++) {
        if (quota->limit.v[r] == QUOTA_UNLIMITED)
            continue;
        buf_printf(to, " %s=", resource_name(r, names));
        resource_print(to, r, quota->limit.v[r]);
    }
    if (quota->tasks != QUOTA_UNLIMITED)
        buf_printf(to, " tasks=%" PRId64, quota->tasks);
}

void apply_quota_set(struct apply *a, const struct cmd_quota_set *body)
{
    struct cell *cell = a->cell;
    struct quota settled = body->quota;
    const struct quota *quota = &settled;
    struct err err;
    int rc = body->clear ? 0
                         : resources_translate(&settled.limit, &body->resource_names,
                                               &cell->resource_names, QUOTA_UNLIMITED, &err);
    if (rc != 0 || quota_valid(quota, &cell->resource_names, &err) != 0) {
        answer_refuse(a, err.code, "quota: %s", err.msg);
        return;
    }
    bool is_there = cell_quota(cell, quota->user, quota->band) != NULL;
    if (body->clear && !is_there) {
        answer_refuse(a, ERR_NOT_FOUND, "user \"%s\" has no quota in band %s", quota->user,
                      band_text(quota->band));
        return;
    }
    if (!body->clear && !is_there && cell->quota_count >= CELL_QUOTAS_MAX) {
        answer_refuse(a, ERR_LIMIT, "the cell has %d quotas, no more are allowed", CELL_QUOTAS_MAX);
        return;
    }
    if (body->clear)
        quota_remove(cell, quota->user, quota->band);
    else
        cell_put_quota(cell, quota);
    a->changes->quotas = true;
    cell->quota_eased = true;
    struct event *event = event_add(a, EVENT_QUOTA);
    CLEANUP(buf_release) struct buf text = {0};
    buf_printf(&text, "%s %s", quota->user, band_text(quota->band));
    if (body->clear)
        buf_printf(&text, " cleared");
    else
        quota_amounts_print(&text, quota, &cell->resource_names);
    str_copy(event->detail, sizeof event->detail, buf_text(&text));
    event_by(a, event);
    answer_say(a, "the quota of user \"%s\" in band %s is %s", quota->user, band_text(quota->band),
               body->clear ? "cleared" : "set");
}
