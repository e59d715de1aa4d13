/*
 * test_cli_health.c - problems of masters, derived from their statuses.
 */
#include "health.h"

#include "testlib.h"

enum { MASTERS = 5, BUSY_INDEX = 100000 };

struct bed {
    struct cell_file cell;
    struct client_status all[CELL_REPLICAS_MAX];
    struct health health;
};

/* Five healthy masters; the second leads. */
static struct bed *bed_new(void)
{
    struct bed *bed = xcalloc(1, sizeof *bed);
    bed->cell.replica_count = MASTERS;
    for (size_t i = 0; i < MASTERS; i++) {
        struct wire_status *s = &bed->all[i].status;
        bed->cell.replicas[i].id = i + 1;
        snprintf(bed->cell.replicas[i].rpc, sizeof bed->cell.replicas[i].rpc, "host%zu:1", i + 1);
        bed->all[i].reachable = true;
        *s = (struct wire_status){.id = i + 1,
                                  .term = 3,
                                  .leader = 2,
                                  .last_index = BUSY_INDEX,
                                  .stored_index = BUSY_INDEX,
                                  .commit_index = BUSY_INDEX,
                                  .applied_index = BUSY_INDEX,
                                  .projected_index = BUSY_INDEX,
                                  .digest = 0xd1,
                                  .mark_index = 98304,
                                  .mark_digest = 0xa1,
                                  .disk_free_bytes = UINT64_C(50) << 30,
                                  .disk_bytes = UINT64_C(100) << 30,
                                  .state_bytes = 1 << 30};
        str_copy(s->role, sizeof s->role, i == 1 ? "leader" : "follower");
        str_copy(s->version, sizeof s->version, "1.0");
        str_copy(s->hold, sizeof s->hold, "off");
    }
    return bed;
}

static void gone(struct bed *bed, size_t at)
{
    bed->all[at].reachable = false;
    err_set(&bed->all[at].why, ERR_CLOSED, "%s: cannot connect: connection refused",
            bed->cell.replicas[at].rpc);
}

static void nothing(struct bed *bed UNUSED)
{
}

static void a_little_behind(struct bed *bed)
{
    struct wire_status *s = &bed->all[2].status;
    s->applied_index = s->commit_index = s->last_index -= 500;
    s->projected_index -= 700;
    s->digest = 0xd0;
    s->store_behind_ms = 300;
    s->disk_wait_ms = 80;
    s->disk_silent_ms = 5000;
}

static void far_behind(struct bed *bed)
{
    bed->all[2].status.commit_index -= HEALTH_LAG_MAX + 1;
    bed->all[2].status.applied_index -= HEALTH_LAG_MAX + 1;
}

static void one_gone(struct bed *bed)
{
    gone(bed, 3);
}

static void two_gone(struct bed *bed)
{
    gone(bed, 3);
    gone(bed, 0);
}

static void three_gone(struct bed *bed)
{
    two_gone(bed);
    gone(bed, 1);
}

static void all_gone(struct bed *bed)
{
    for (size_t i = 0; i < MASTERS; i++)
        gone(bed, i);
}

static void frozen(struct bed *bed)
{
    gone(bed, 3);
    err_set(&bed->all[3].why, ERR_CLOSED, "does not answer");
}

static void nobody_leads(struct bed *bed)
{
    str_copy(bed->all[1].status.role, sizeof bed->all[1].status.role, "candidate");
}

static void an_old_leader_too(struct bed *bed)
{
    str_copy(bed->all[0].status.role, sizeof bed->all[0].status.role, "leader");
    bed->all[0].status.term = 2;
    bed->all[0].status.leader = 1;
}

static void cut_off(struct bed *bed)
{
    bed->all[4].status.leader = 0;
}

static void differs(struct bed *bed)
{
    bed->all[2].status.digest = 0xbad;
}

static void differs_at_the_mark(struct bed *bed)
{
    bed->all[2].status.applied_index += 3;
    bed->all[2].status.mark_digest = 0xbad;
}

static void other_mark(struct bed *bed)
{
    bed->all[2].status.applied_index += 3;
    bed->all[2].status.digest = 0xe;
    bed->all[2].status.mark_index += 1024;
    bed->all[2].status.mark_digest = 0xe;
}

static void two_differ(struct bed *bed)
{
    gone(bed, 3);
    gone(bed, 4);
    gone(bed, 0);
    bed->all[2].status.digest = 0xbad;
}

static void leader_differs(struct bed *bed)
{
    bed->all[1].status.digest = 0xbad;
}

static void slow_disk(struct bed *bed)
{
    bed->all[0].status.disk_wait_ms = 2500;
}

static void hung_disk(struct bed *bed)
{
    bed->all[0].status.disk_silent_ms = 31000;
}

static void full_disk(struct bed *bed)
{
    bed->all[0].status.disk_free_bytes = UINT64_C(900) << 20;
    bed->all[0].status.state_bytes = 1 << 20;
}

static void no_room_for_its_state(struct bed *bed)
{
    bed->all[0].status.state_bytes = UINT64_C(20) << 30;
}

static void disk_not_asked_yet(struct bed *bed)
{
    bed->all[0].status.disk_free_bytes = bed->all[0].status.disk_bytes = 0;
}

static void slow_database(struct bed *bed)
{
    bed->all[4].status.store_behind_ms = 7000;
    bed->all[4].status.projected_index -= 42;
}

static void holds(struct bed *bed)
{
    str_copy(bed->all[1].status.hold, sizeof bed->all[1].status.hold, "on");
}

static void upgrading(struct bed *bed)
{
    str_copy(bed->all[0].status.version, sizeof bed->all[0].status.version, "1.1");
}

static void a_full_disk_ended_it(struct bed *bed)
{
    gone(bed, 3);
    str_copy(bed->all[3].ended, sizeof bed->all[3].ended, "raft log in /x: 60 MiB free");
}

static void three_wiped(struct bed *bed)
{
    for (size_t i = 0; i < MASTERS; i++) {
        struct wire_status *s = &bed->all[i].status;
        bool wiped = i < 3;
        s->leader = 0;
        str_copy(s->role, sizeof s->role, wiped ? "new" : "follower");
        s->applied_index = wiped ? 0 : s->applied_index;
        s->mark_index = wiped ? 0 : s->mark_index;
        s->commit_index = wiped ? 0 : s->commit_index;
    }
}

static void a_clock_ahead(struct bed *bed)
{
    for (size_t i = 0; i < MASTERS; i++) {
        /* statuses are asked for one after another */
        bed->all[i].heard_ms = UINT64_C(1700000000000) + i * 700;
        /* borgctl's own clock is wrong */
        bed->all[i].status.wall_ms = bed->all[i].heard_ms - 3600000;
        bed->all[i].status.cell_ms = bed->all[i].status.wall_ms + 3000;
    }
    bed->all[3].status.wall_ms += UINT64_C(400) * 86400000;
}

static void a_clock_behind(struct bed *bed)
{
    a_clock_ahead(bed);
    bed->all[3].status.wall_ms -= UINT64_C(400) * 86400000 + 7000;
}

static void clocks_a_little_apart(struct bed *bed)
{
    a_clock_behind(bed);
    bed->all[3].status.wall_ms += 3000;
}

static void cell_ahead(struct bed *bed)
{
    clocks_a_little_apart(bed);
    bed->all[1].status.cell_ms += 3 * 3600000;
}

static const struct {
    void (*change)(struct bed *bed);
    uint64_t leader;
    size_t count;
    uint64_t replica;
    const char *what, *todo; /* of the first problem */
} cases[] = {
    {nothing, 2, 0, 0, NULL, NULL},
    {a_little_behind, 2, 0, 0, NULL, NULL},
    {far_behind, 2, 1, 3, "replica 3 is 10001 entries behind the leader", "catching up"},
    {one_gone, 2, 1, 4, "replica 4 (host4:1) cannot be reached: cannot connect: connection refused",
     "it is not running"},
    {two_gone, 2, 3, 0, "3 of 5 masters answer: losing one more", "bring one of the others back"},
    {three_gone, 0, 4, 0, "2 of 5 masters answer, 3 are needed", "start the others"},
    {all_gone, 0, 6, 0, "0 of 5 masters answer", "start the others"},
    {frozen, 2, 1, 4, "replica 4 (host4:1) cannot be reached: does not answer", "hangs"},
    {nobody_leads, 0, 1, 0, "no master leads", "election"},
    {an_old_leader_too, 2, 0, 0, NULL, NULL},
    {cut_off, 2, 1, 5, "replica 5 answers, but knows of no leader", "check the network"},
    {differs, 2, 1, 3, "replica 3 DIFFERS from 4 others at index 100000: its state is wrong",
     "replace-replica"},
    {differs_at_the_mark, 2, 1, 3, "replica 3 DIFFERS from 4 others at index 98304", "stop it"},
    {other_mark, 2, 0, 0, NULL, NULL},
    {two_differ, 2, 6, 0, "2 of 5 masters answer", "start"},
    {leader_differs, 2, 1, 2, "replica 2 DIFFERS from 4 others", "stop it"},
    {slow_disk, 2, 1, 1, "the disk of replica 1 is slow: entries waited 2500 ms", "iostat"},
    {hung_disk, 2, 1, 1, "the disk of replica 1 has not answered for 31 s", "hangs"},
    {full_disk, 2, 1, 1, "the disk of replica 1 has 900Mi free of 100Gi", "free disk space"},
    {no_room_for_its_state, 2, 1, 1, "the disk of replica 1 has 50Gi free of 100Gi",
     "free disk space"},
    {disk_not_asked_yet, 2, 0, 0, NULL, NULL},
    {slow_database, 2, 1, 5, "the database of replica 5 is 7000 ms and 42 entries behind", "old"},
    {holds, 2, 1, 0, "none is declared down", "cell release"},
    {a_full_disk_ended_it, 2, 1, 4, "replica 4 (host4:1) has ended: raft log in /x: 60 MiB free",
     "correct this, then `borgctl cell up`"},
    {three_wiped, 0, 1, 0,
     "2 of 5 masters have a log, 3 are needed: the directories of 3 are empty",
     "`borgctl cell checkpoint FILE`"},
    {a_clock_ahead, 2, 1, 4,
     "the clock of replica 4 is 400 days ahead of the other masters' clocks", "correct it"},
    {a_clock_behind, 2, 1, 4, "the clock of replica 4 is 7 s behind the other", "correct it"},
    {clocks_a_little_apart, 2, 0, 0, NULL, NULL},
    {cell_ahead, 2, 1, 0, "the time of the cell is 3 hours ahead of its masters' clocks", "dates"},
    {upgrading, 2, 1, 1, "replica 1 is version 1.1, 2 is 1.0", "complete the upgrade"},
};

START_TEST(each_problem_is_reported_with_a_remedy)
{
    struct bed *bed = bed_new();
    cases[_i].change(bed);
    health_look(&bed->cell, bed->all, &bed->health);
    const struct health *h = &bed->health;
    const struct health_problem *first = &h->problems[0];
    ck_assert_uint_eq(h->leader == NULL ? 0 : h->leader->status.id, cases[_i].leader);
    ck_assert_msg(h->count == cases[_i].count, "%zu problems, the first: %s", h->count,
                  first->what);
    for (size_t i = 0; i < h->count; i++)
        ck_assert_str_ne(h->problems[i].todo, "");
    if (h->count > 0) {
        T_CONTAINS(first->what, cases[_i].what);
        T_CONTAINS(first->todo, cases[_i].todo);
        ck_assert_uint_eq(first->replica, cases[_i].replica);
    }
    free(bed);
}
END_TEST

START_TEST(of_two_different_replicas_it_is_unknown_which_is_wrong)
{
    struct bed *bed = bed_new();
    two_differ(bed);
    health_look(&bed->cell, bed->all, &bed->health);
    T_CONTAINS(bed->health.problems[1].what,
               "replica 2 DIFFERS from 1 other at index 100000: it is unknown");
    T_CONTAINS(bed->health.problems[2].what,
               "replica 3 DIFFERS from 1 other at index 100000: it is unknown");
    free(bed);
}
END_TEST

/* All problems of all masters must fit. */
START_TEST(all_problems_fit_into_the_list)
{
    struct bed *bed = bed_new();
    for (size_t i = 0; i < MASTERS; i++) {
        struct wire_status *s = &bed->all[i].status;
        s->digest = i;
        s->mark_digest = i;
        s->store_behind_ms = s->disk_wait_ms = s->disk_silent_ms = 100000;
        s->disk_free_bytes = 1;
        s->leader = i == 1 ? 2 : 0;
        snprintf(s->version, sizeof s->version, "%zu", i);
        str_copy(s->hold, sizeof s->hold, "on");
    }
    health_look(&bed->cell, bed->all, &bed->health);
    ck_assert_uint_eq(bed->health.count, MASTERS * 5 + 2 * (MASTERS - 1) + 1);
    free(bed);
}
END_TEST

static void expired(struct bed *bed)
{
    for (size_t i = 0; i < MASTERS; i++) {
        bed->all[i].reachable = false;
        err_set(&bed->all[i].why, ERR_DENIED, "%s: certificate refused: master/%zu has expired",
                bed->cell.replicas[i].rpc, i + 1);
    }
}

START_TEST(a_master_with_a_rejected_certificate_is_not_reported_as_down)
{
    struct bed *bed = bed_new();
    expired(bed);
    health_look(&bed->cell, bed->all, &bed->health);
    ck_assert_uint_ge(bed->health.count, 1 + MASTERS);
    for (size_t i = 0; i < bed->health.count; i++)
        ck_assert_msg(strstr(bed->health.problems[i].todo, "cell up") == NULL, "%s",
                      bed->health.problems[i].todo);
    T_CONTAINS(bed->health.problems[1].todo, "it runs, but its certificate or yours");
    free(bed);
}
END_TEST

enum { DAY_S = 86400, NOW_S = 1796061600 /* 2026-11-30 18:00:00Z */ };

static struct health_cert cert(enum role role, const char *name, int64_t days)
{
    struct health_cert c = {.identity = {.role = role},
                            .expires_ms = (uint64_t)(NOW_S + days * DAY_S) * 1000};
    str_copy(c.identity.name, sizeof c.identity.name, name);
    return c;
}

START_TEST(certificates_are_reported_thirty_days_before_they_expire)
{
    const struct health_cert certs[] = {
        cert(ROLE_NONE, "", 31),       cert(ROLE_USER, "ada", 30),   cert(ROLE_MASTER, "1", 31),
        cert(ROLE_MASTER, "2", 0),     cert(ROLE_BORGLET, "m1", -5), cert(ROLE_MASTER, "1", 2),
        cert(ROLE_BORGLET, "m2", 300), cert(ROLE_USER, "ada", 10),
    };
    struct health_certs look = {.now_ms = (uint64_t)NOW_S * 1000,
                                .v = certs,
                                .count = ARRAY_SIZE(certs),
                                .renew = "borgctl pki renew --dir /c",
                                .can_renew = true};
    struct health *h = xcalloc(1, sizeof *h);
    health_look_at_certs(h, &look);
    ck_assert_uint_eq(h->count, 3);
    ck_assert_str_eq(h->problems[0].what,
                     "the certificate of user/ada ends on 2026-12-30 18:00:00Z");
    ck_assert_str_eq(h->problems[0].todo,
                     "`borgctl pki renew --dir /c user/ada`; no restart is needed");
    ck_assert_str_eq(h->problems[1].what,
                     "the certificate of master/2 has expired on 2026-11-30 18:00:00Z");
    ck_assert_uint_eq(h->problems[1].replica, 2);
    ck_assert_str_eq(h->problems[2].what,
                     "the certificate of borglet/m1 has expired on 2026-11-25 18:00:00Z");
    look.can_renew = false;
    h->count = 0;
    health_look_at_certs(h, &look);
    T_CONTAINS(h->problems[1].todo, "where the CA's key is, run `borgctl pki renew master/2`");
    free(h);
}
END_TEST

START_TEST(an_expiring_ca_is_reported_once_and_many_others_in_one_line)
{
    struct health_cert certs[40];
    struct health_certs look = {.now_ms = (uint64_t)NOW_S * 1000,
                                .v = certs,
                                .count = ARRAY_SIZE(certs),
                                .renew = "borgctl pki renew --dir /c",
                                .can_renew = true};
    struct health *h = xcalloc(1, sizeof *h);
    for (size_t i = 0; i < ARRAY_SIZE(certs); i++) {
        char name[16];
        snprintf(name, sizeof name, "m%zu", i);
        certs[i] = cert(i == 0 ? ROLE_NONE : ROLE_BORGLET, i == 0 ? "" : name, 3);
    }
    health_look_at_certs(h, &look);
    ck_assert_uint_eq(h->count, 1);
    T_CONTAINS(h->problems[0].what, "the cell's CA ends on ");
    T_CONTAINS(h->problems[0].todo, "pki renew --dir /c --ca`");
    certs[0].expires_ms = UINT64_MAX;
    h->count = 0;
    health_look_at_certs(h, &look);
    ck_assert_uint_eq(h->count, HEALTH_CERTS_MAX + 1);
    T_CONTAINS(h->problems[HEALTH_CERTS_MAX].what, "of 23 more");
    free(h);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cli_health");
    TCase *tcase = tcase_create("health");
    tcase_add_loop_test(tcase, each_problem_is_reported_with_a_remedy, 0, ARRAY_SIZE(cases));
    tcase_add_test(tcase, of_two_different_replicas_it_is_unknown_which_is_wrong);
    tcase_add_test(tcase, a_master_with_a_rejected_certificate_is_not_reported_as_down);
    tcase_add_test(tcase, certificates_are_reported_thirty_days_before_they_expire);
    tcase_add_test(tcase, an_expiring_ca_is_reported_once_and_many_others_in_one_line);
    tcase_add_test(tcase, all_problems_fit_into_the_list);
    suite_add_tcase(suite, tcase);
    return t_main(suite);
}
