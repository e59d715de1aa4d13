/*
 * test_why_turns.c - why, answered in turns: the same as at once, whatever happens between two of
 * them, and no turn is long however large the cell.
 */
#include "why.h"
#include "draw_cmd.h"
#include "why_rows.h"

#include <time.h>

#ifdef __SANITIZE_ADDRESS__
enum { MACHINES = 10000 }; /* ten times as slow */
#else
enum { MACHINES = 100000 };
#endif
enum { SEEDS = 200, STEPS = 100, CHECK_EVERY = 5, UNITS = 400 };

static bool same_reasons(const struct why *a, const struct why *b)
{
    for (uint32_t i = 0; i < a->reason_count; i++) {
        const struct why_reason *x = &a->reasons[i], *y = &b->reasons[i];
        uint32_t count = MIN(x->machines, (uint32_t)WHY_NAMES_MAX);
        if (x->lack != y->lack || x->machines != y->machines ||
            memcmp(x->first, y->first, count * sizeof x->first[0]) != 0)
            return false;
    }
    return true;
}

static bool same_why(const struct why *a, const struct why *b)
{
    for (uint32_t i = 0; i < a->near_count && i < b->near_count; i++)
        if (a->near[i].machine.v != b->near[i].machine.v)
            return false;
    for (uint32_t i = 0; i < a->eviction_count && i < b->eviction_count; i++)
        if (a->evictions[i].machine.v != b->evictions[i].machine.v ||
            a->evictions[i].victim_count != b->evictions[i].victim_count)
            return false;
    return a->pending == b->pending && a->machines == b->machines &&
           a->reason_count == b->reason_count && same_reasons(a, b) &&
           strcmp(a->keeper, b->keeper) == 0 && a->gang_fitting == b->gang_fitting &&
           memcmp(a->bars, b->bars, sizeof a->bars) == 0 && a->near_count == b->near_count &&
           a->eviction_count == b->eviction_count && a->change == b->change &&
           a->change_amount == b->change_amount && a->change_machines == b->change_machines;
}

/* In turns of one unit. */
static int why_slowly(const struct cell *cell, const char *job, uint32_t shape, struct why *ret,
                      uint32_t *turns)
{
    struct inquiry *q;
    int rv = why_begin(cell, job, WHY_INDEX_ANY, shape, &q, NULL);
    if (rv != 0)
        return rv;
    for (*turns = 1; !why_go_on(q, cell, 1); (*turns)++)
        ;
    return why_end(q, ret, NULL);
}

START_TEST(turns_come_to_the_same_as_all_at_once)
{
    struct why *once = xcalloc(1, sizeof *once), *slowly = xcalloc(1, sizeof *slowly);
    uint32_t compared = 0, turns_max = 0;
    for (uint64_t s = 1; s <= SEEDS; s++) {
        uint64_t seed = s * UINT64_C(0x9e3779b97f4a7c15);
        struct world w = world_new();
        for (int step = 0; step < STEPS; step++) {
            struct cmd cmd = draw_cmd(&seed, w.cell);
            world_apply(&w, &cmd);
            if (step % CHECK_EVERY != 0)
                continue;
            LIST_EACH(l, &w.cell->jobs)
            {
                const char *name = CONTAINER_OF(l, struct job, link)->spec.name;
                uint32_t turns;
                int rv = why_job(w.cell, name, WHY_INDEX_ANY, 0, once, NULL);
                ck_assert_int_eq(why_slowly(w.cell, name, 0, slowly, &turns), rv);
                if (rv != 0)
                    continue;
                ck_assert(same_why(once, slowly));
                turns_max = MAX(turns_max, turns);
                compared++;
            }
        }
        world_release(&w);
    }
    ck_assert_uint_gt(compared, 1000);
    ck_assert_uint_gt(turns_max, 10);
    free(once);
    free(slowly);
}
END_TEST

/* Jobs end and are forgotten, machines change, tasks move: with ASan this finds what is kept. */
START_TEST(the_cell_may_change_between_two_turns)
{
    struct why *why = xcalloc(1, sizeof *why);
    uint32_t answered = 0, ended = 0;
    for (uint64_t s = 1; s <= SEEDS; s++) {
        uint64_t seed = s * UINT64_C(0x9e3779b97f4a7c15);
        struct world w = world_new();
        struct inquiry *q = NULL;
        for (int step = 0; step < 2 * STEPS; step++) {
            struct cmd cmd = draw_cmd(&seed, w.cell);
            world_apply(&w, &cmd);
            struct list *l = w.cell->jobs.next;
            for (uint32_t skip = draw_below(&seed, 8); skip > 0 && l != &w.cell->jobs; skip--)
                l = l->next;
            if (q == NULL && l != &w.cell->jobs)
                if (why_begin(w.cell, CONTAINER_OF(l, struct job, link)->spec.name, WHY_INDEX_ANY,
                              0, &q, NULL) != 0)
                    q = NULL;
            if (q == NULL || !why_go_on(q, w.cell, 1 + draw_below(&seed, 6)))
                continue;
            int rv = why_end(q, why, NULL);
            q = NULL;
            uint32_t sum = 0;
            for (uint32_t i = 0; i < why->reason_count && rv == 0; i++)
                sum += why->reasons[i].machines;
            ck_assert(rv == 0 ? sum == why->machines : rv == -ERR_STATE);
            answered += rv == 0;
            ended += rv != 0;
        }
        why_abandon(q);
        world_release(&w);
    }
    ck_assert_uint_gt(answered, 500);
    ck_assert_uint_gt(ended, 10);
    free(why);
}
END_TEST

START_TEST(a_job_that_ended_meanwhile_is_told_to_have)
{
    struct world w = world_new();
    struct err err = {0};
    struct inquiry *q;
    struct why *why = xcalloc(1, sizeof *why);
    world_machine(&w, "m1", amounts(500, 1, 0, 0));
    world_machine(&w, "m2", amounts(500, 1, 0, 0));
    world_job(&w, spec_named("web", "ada", 100));
    ck_assert_int_eq(why_begin(w.cell, "web", WHY_INDEX_ANY, 0, &q, &err), 0);
    ck_assert(!why_go_on(q, w.cell, 1));
    ck_assert_int_eq(world_kill(&w, "web"), ERR_OK);
    ck_assert(why_go_on(q, w.cell, 1));
    ck_assert_int_eq(why_end(q, why, &err), -ERR_STATE);
    ck_assert_str_eq(err.msg, "job \"web\" has ended meanwhile");
    free(why);
    world_release(&w);
}
END_TEST

static uint64_t cpu_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void apply(struct world *w, struct cmd *cmd)
{
    struct answer answer = {0}; /* without the checks of world_apply(): they walk the cell */
    cell_apply(w->cell, cmd, &w->changes, &answer);
    changes_clear(&w->changes);
    ck_assert_msg(answer.code == ERR_OK, "%s", answer.msg);
    cmd_release(cmd);
}

static void submit(struct world *w, struct job_spec spec)
{
    struct cmd cmd = {.kind = CMD_JOB_SUBMIT, .job_submit = spec};
    apply(w, &cmd);
}

static struct world big_world(uint32_t machines)
{
    struct world w = world_new();
    for (uint32_t i = 0; i < machines; i++) {
        struct cmd cmd = {.kind = CMD_MACHINE_REGISTER};
        struct cmd_machine_register *body = &cmd.machine_register;
        char rack[16];
        snprintf(body->name, sizeof body->name, "machine-%u", i);
        snprintf(rack, sizeof rack, "r%u", i / 40);
        str_copy(body->addr, sizeof body->addr, "a:1");
        body->capacity = amounts(1500, 100, 0, 0);
        attributes_put(&body->attributes, "rack", rack);
        apply(&w, &cmd);
    }
    struct job_spec spec = spec_named("full", "ada", 100);
    spec.replicas = machines;
    submit(&w, spec);
    const struct job *full = cell_job_named(w.cell, "full");
    for (uint32_t i = 0; i < machines;) {
        struct cmd cmd = {.kind = CMD_SCHEDULE};
        struct cmd_schedule *body = &cmd.schedule;
        body->placements = xcalloc(CMD_PLACEMENTS_MAX, sizeof *body->placements);
        for (; i < machines && body->placement_count < CMD_PLACEMENTS_MAX; i++)
            body->placements[body->placement_count++] =
                (struct placement){.task = {task_id_of(full->id, i), 0}, .machine = {i + 1}};
        apply(&w, &cmd);
    }
    return w;
}

static struct term parsed(const char *text)
{
    struct term term;
    ck_assert_int_eq(term_parse(text, &term, NULL), 0);
    return term;
}

static void dear_jobs(struct world *w)
{
    struct job_spec evicts = spec_named("evicts", "ada", 300),
                    regex = spec_named("regex", "ada", 0);
    struct job_spec near = spec_named("near", "ada", 0), gang = spec_named("gang", "ada", 0);
    submit(w, evicts);
    for (int i = 0; i < SPEC_REGEXES_MAX; i++)
        clause_add(clauses_add(&regex.constraints, 0), parsed("machine regex (.?){31}"));
    submit(w, regex);
    for (int i = 0; i < SPEC_COMPANIES_MAX; i++)
        clause_add(clauses_add(&near.constraints, 0), parsed("rack near full"));
    submit(w, near);
    gang.gang = true;
    gang.replicas = CMD_PLACEMENTS_MAX;
    gang.limit = amounts(1, 1, 0, 0);
    submit(w, gang);
}

/* A loop that answers does nothing else meanwhile: a turn takes a few milliseconds at most, the
 * whole may take hundreds. The least of two tries, for others use the machine, too. */
START_TEST(no_turn_is_long_in_a_large_cell)
{
    static const char *const jobs[] = {"evicts", "regex", "near", "gang"};
    struct world w = big_world(MACHINES);
    dear_jobs(&w);
    for (size_t i = 0; i < ARRAY_SIZE(jobs); i++) {
        struct wire_why asked = {.index = WHY_INDEX_ANY, .want_names = true};
        uint64_t least = UINT64_MAX, whole = 0;
        str_copy(asked.job, sizeof asked.job, jobs[i]);
        for (int try = 0; try < 2; try++) {
            struct why_rows *why = why_rows_begin(&asked);
            struct wire_rows rows;
            uint64_t longest = 0;
            whole = 0;
            for (bool done = false; !done;) {
                uint64_t began = cpu_us();
                done = why_rows_go_on(why, w.cell, UNITS);
                uint64_t took = cpu_us() - began;
                longest = MAX(longest, took);
                whole += took;
            }
            ck_assert_int_eq(why_rows_end(why, &rows, NULL), 0);
            wire_rows_release(&rows);
            least = MIN(least, longest);
        }
        printf("why %s: %" PRIu64 " us, at most %" PRIu64 " us in a turn\n", jobs[i], whole, least);
        ck_assert_msg(least < 20000, "%s: %" PRIu64 " us", jobs[i], least);
    }
    world_release(&w);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("why_turns");
    TCase *tcase = tcase_create("turns");
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, turns_come_to_the_same_as_all_at_once);
    tcase_add_test(tcase, the_cell_may_change_between_two_turns);
    tcase_add_test(tcase, a_job_that_ended_meanwhile_is_told_to_have);
    tcase_add_test(tcase, no_turn_is_long_in_a_large_cell);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
