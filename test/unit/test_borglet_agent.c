/*
 * test_borglet_agent.c - a whole borglet: link, plan and runner together.
 */
#include "agent_rig.h"

START_TEST(a_task_is_run_reported_and_forgotten)
{
    struct rig r;

    rig_init(&r);
    struct replica *replica = link_wait(&r);
    ck_assert_uint_eq(replica->hello_count, 0);
    send_run(&r, 0, 100, "exit 3");
    T_RUN(&r.loop, told_kind(replica, 0, REPORT_EXITED));
    ck_assert_int_eq(told(replica, 0)->exit_code, 3);
    ck_assert_uint_eq(told(replica, 0)->task.attempt, 1);
    /* Every hello contains it until the borglet is told to forget it. */
    rpc_close(replica->conn);
    T_RUN(&r.loop, r.replicas[0].hellos + r.replicas[1].hellos == 2 && linked(&r) >= 0);
    replica = &r.replicas[linked(&r)];
    ck_assert_uint_eq(replica->hello_count, 1);
    ck_assert_int_eq(replica->hello_last.kind, REPORT_EXITED);
    ck_assert_uint_eq(replica->seen_index, 1);
    send_other(&r, 0, INTENT_FORGET, 0);
    rig_release(&r);
}
END_TEST

static size_t started_count(const struct rig *r)
{
    char path[600];
    size_t count = 0;

    snprintf(path, sizeof path, "%s/tasks", r->dir);
    DIR *dir = opendir(path);
    for (struct dirent *d; dir != NULL && (d = readdir(dir)) != NULL;)
        count += d->d_name[0] != '.';
    if (dir != NULL)
        closedir(dir);
    return count;
}

START_TEST(many_starts_do_not_block_the_loop)
{
    enum { MANY = 100, PER_TURN = 72 };
    struct intent *runs = xcalloc(MANY, sizeof *runs);
    struct rig r;

    rig_init(&r);
    link_wait(&r);
    for (uint32_t i = 0; i < MANY; i++) {
        runs[i] = (struct intent){.task = ref(i), .action = INTENT_RUN, .assigned_seq = i};
        spec_init(&runs[i].spec);
        str_copy(runs[i].spec.name, sizeof runs[i].spec.name, "web");
        words_add(&runs[i].spec.argv, "true");
        runs[i].spec.limit.v[RES_CPU] = runs[i].spec.limit.v[RES_RAM] = 1;
    }
    /* No turn of the loop starts all of them: the first has ended before the last is started. */
    size_t most = 0, before = 0;
    send_intents(&r, runs, MANY, false);
    while (before < MANY) {
        uv_run(&r.loop.uv, UV_RUN_ONCE);
        size_t now = started_count(&r);
        most = MAX(most, now - before);
        before = now;
    }
    ck_assert_uint_le(most, PER_TURN);
    for (uint32_t i = 0; i < MANY; i++)
        spec_release(&runs[i].spec);
    free(runs);
    rig_release(&r);
}
END_TEST

START_TEST(a_preemptor_starts_when_its_victim_is_gone)
{
    char up[600];
    struct rig r;

    rig_init(&r);
    struct replica *replica = link_wait(&r);
    send_run(&r, 0, 800, "trap '' TERM; touch up; while :; do sleep 1000; done");
    snprintf(up, sizeof up, "%s/tasks/web.0.1.1/work/up", r.dir);
    T_RUN(&r.loop, access(up, F_OK) == 0);
    send_run(&r, 1, 500, "sleep 1000");
    send_other(&r, 0, INTENT_STOP, 200);
    T_RUN(&r.loop, told_kind(replica, 1, REPORT_RUNNING));
    ck_assert(told_kind(replica, 0, REPORT_EXITED));
    ck_assert_int_eq(told(replica, 0)->exit_code, -9);
    rig_release(&r);
}
END_TEST

START_TEST(a_task_that_only_the_cell_believes_in_is_lost)
{
    struct rig r;

    rig_init(&r);
    struct replica *replica = link_wait(&r);
    send_run(&r, 0, 100, "sleep 1000");
    T_RUN(&r.loop, told_kind(replica, 0, REPORT_RUNNING));
    send_other(&r, 0, INTENT_SHOW, 0);
    send_other(&r, 5, INTENT_SHOW, 0);
    T_RUN(&r.loop, told_kind(replica, 5, REPORT_LOST));
    ck_assert(told_kind(replica, 0, REPORT_RUNNING));
    rig_release(&r);
}
END_TEST

START_TEST(a_borglet_moves_to_the_replica_that_its_replica_names)
{
    CLEANUP(buf_release) struct buf body = {0};
    struct wire_move move = {0};
    struct rig r;

    rig_init(&r);
    struct replica *from = link_wait(&r);
    struct replica *to = &r.replicas[(linked(&r) + 1) % REPLICAS];
    send_run(&r, 0, 100, "sleep 1000");
    T_RUN(&r.loop, told_kind(from, 0, REPORT_RUNNING));
    for (int round = 0; round < 3; round++) {
        str_copy(move.addr, sizeof move.addr, rpc_server_address(to->server));
        buf_clear(&body);
        wire_pack_move(&body, &move);
        ck_assert_int_eq(rpc_notify(from->conn, WIRE_MOVE, body.bytes, body.size), 0);
        T_RUN(&r.loop, to->conn != NULL && from->conn == NULL);
        ck_assert_int_eq(to->hellos, 1 + (round + 1) / 2);
        ck_assert_uint_eq(to->hello_count, 1);
        ck_assert_int_eq(to->hello_last.kind, REPORT_RUNNING);
        struct replica *was = from;
        from = to;
        to = was;
    }
    ck_assert_int_eq(r.replicas[0].hellos + r.replicas[1].hellos, 4);
    rig_release(&r);
}
END_TEST

static void tell_replicas(struct rpc_conn *conn, struct wire_address *addresses, uint32_t count)
{
    CLEANUP(buf_release) struct buf body = {0};
    struct wire_replicas told = {.addresses = addresses, .address_count = count};

    wire_pack_replicas(&body, &told);
    ck_assert_int_eq(rpc_notify(conn, WIRE_REPLICAS, body.bytes, body.size), 0);
}

static void ask_to_move(struct rpc_conn *conn, const char *address)
{
    CLEANUP(buf_release) struct buf body = {0};
    struct wire_move move = {0};

    str_copy(move.addr, sizeof move.addr, address);
    wire_pack_move(&body, &move);
    ck_assert_int_eq(rpc_notify(conn, WIRE_MOVE, body.bytes, body.size), 0);
}

/* The address of the named replica leads nowhere: the borglet finds one that answers. */
START_TEST(a_move_to_a_dead_replica_ends_at_another_one)
{
    struct wire_address all[] = {{1, ""}, {2, ""}, {3, "127.0.0.1:1"}};
    struct rig r;

    rig_init(&r);
    struct replica *replica = link_wait(&r);
    for (int i = 0; i < REPLICAS; i++)
        str_copy(all[i].text, sizeof all[i].text, r.cell.replicas[i].rpc);
    tell_replicas(replica->conn, all, 3);
    ask_to_move(replica->conn, "127.0.0.1:1");
    T_RUN(&r.loop, replica->conn == NULL);
    T_RUN(&r.loop, linked(&r) >= 0);
    rig_release(&r);
}
END_TEST

START_TEST(a_move_to_an_unknown_replica_is_ignored)
{
    struct rig r;

    rig_init(&r);
    struct replica *replica = link_wait(&r);
    ask_to_move(replica->conn, "127.0.0.1:1");
    int beats = replica->beats;
    T_RUN(&r.loop, replica->beats > beats + 2);
    ck_assert_int_eq(r.replicas[0].hellos + r.replicas[1].hellos, 1);
    rig_release(&r);
}
END_TEST

/* A master with the certificate of another replica, as a removed one has, at a replica's address.
 */
START_TEST(a_master_with_another_number_than_its_address_is_rejected)
{
    struct rig r;

    rig_init(&r);
    int home = linked(&r) >= 0 ? linked(&r) : (int)(link_wait(&r) - r.replicas), away = 1 - home;
    struct tls_context *right = r.masters[away];
    replica_down(&r, away);
    r.masters[away] = t_tls(r.pki, "master/99");
    replica_up(&r, away);
    ask_to_move(r.replicas[home].conn, r.cell.replicas[away].rpc);
    T_RUN(&r.loop, r.replicas[home].hellos == 2);
    T_RUN(&r.loop, linked(&r) == home);
    ck_assert_int_eq(r.replicas[away].hellos, 0);
    tls_context_close(right);
    rig_release(&r);
}
END_TEST

/* A revocation takes effect at once, and after a restart that starts from cell.json. */
START_TEST(a_replica_with_a_revoked_certificate_is_left_for_good)
{
    CLEANUP(buf_release) struct buf body = {0};
    struct wire_identity gone = {.revoked_ms = UINT64_MAX};
    struct wire_identities told = {.index = 1, .identities = &gone, .identity_count = 1};
    struct rig r;

    rig_init(&r);
    struct replica *from = link_wait(&r);
    int home = (int)(from - r.replicas), away = 1 - home;
    snprintf(gone.identity, sizeof gone.identity, "master/%d", home + 1);
    wire_pack_identities(&body, &told);
    ck_assert_int_eq(rpc_notify(from->conn, WIRE_IDENTITIES, body.bytes, body.size), 0);
    T_RUN(&r.loop, from->conn == NULL && r.replicas[away].conn != NULL);
    int hellos = from->hellos;
    agent_down(&r);
    T_RUN(&r.loop, linked(&r) < 0);
    agent_up(&r);
    T_RUN(&r.loop, r.replicas[away].conn != NULL);
    ck_assert_int_eq(from->hellos, hellos);
    rig_release(&r);
}
END_TEST

START_TEST(a_replica_that_reports_its_removal_is_left)
{
    struct rig r;

    rig_init(&r);
    struct replica *from = link_wait(&r);
    int away = 1 - (int)(from - r.replicas);
    struct wire_address left = {(uint64_t)away + 1, ""};
    str_copy(left.text, sizeof left.text, r.cell.replicas[away].rpc);
    tell_replicas(from->conn, &left, 1);
    T_RUN(&r.loop, r.replicas[away].conn != NULL && from->conn == NULL);
    rig_release(&r);
}
END_TEST

START_TEST(a_start_that_exceeds_the_machine_is_reported_at_once)
{
    struct rig r;

    rig_init(&r);
    struct replica *replica = link_wait(&r);
    send_run(&r, 0, 1001, "true");
    T_RUN(&r.loop, told_kind(replica, 0, REPORT_START_ERROR));
    T_CONTAINS(told(replica, 0)->detail, "the machine has cpu 1");
    send_other(&r, 5, INTENT_STOP, 10);
    T_RUN(&r.loop, told_kind(replica, 5, REPORT_EXITED));
    rig_release(&r);
}
END_TEST

START_TEST(a_replica_that_is_not_ready_is_left_for_the_next)
{
    struct rig r;

    rig_init(&r);
    r.replicas[0].refuse = true;
    T_RUN(&r.loop, r.replicas[1].conn != NULL);
    rpc_close(r.replicas[1].conn);
    T_RUN(&r.loop, r.replicas[0].hellos > 0 && r.replicas[1].hellos > 1);
    T_RUN(&r.loop, r.replicas[1].conn != NULL);
    rig_release(&r);
}
END_TEST

START_TEST(a_replica_that_stopped_answering_is_left_for_the_next)
{
    struct rig r;

    rig_init(&r);
    int first = (link_wait(&r), linked(&r));
    send_run(&r, 0, 100, "sleep 1000");
    T_RUN(&r.loop, told_kind(&r.replicas[first], 0, REPORT_RUNNING));
    T_RUN(&r.loop, r.replicas[first].beats >= 3);
    r.replicas[first].mute = true;
    T_RUN(&r.loop, r.replicas[1 - first].conn != NULL);
    ck_assert_int_eq(r.replicas[1 - first].hello_last.kind, REPORT_RUNNING);
    ck_assert_int_eq(r.replicas[1 - first].hello_last.pid, told(&r.replicas[first], 0)->pid);
    rig_release(&r);
}
END_TEST

START_TEST(tasks_continue_without_masters_and_without_borglet)
{
    struct rig r;

    rig_init(&r);
    struct replica *replica = link_wait(&r);
    send_run(&r, 0, 100, "sleep 1000");
    T_RUN(&r.loop, told_kind(replica, 0, REPORT_RUNNING));
    int32_t pid = told(replica, 0)->pid;
    for (int i = 0; i < REPLICAS; i++)
        replica_down(&r, i);
    T_RUN(&r.loop, linked(&r) < 0);
    agent_down(&r);
    t_loop_run_ms(&r.loop, 300);
    agent_up(&r);
    t_loop_run_ms(&r.loop, 300);
    ck_assert_int_eq(kill(pid, 0), 0);
    replica_up(&r, 0);
    replica = link_wait(&r);
    ck_assert_uint_eq(replica->hello_count, 1);
    ck_assert_int_eq(replica->hello_last.kind, REPORT_RUNNING);
    ck_assert_int_eq(replica->hello_last.pid, pid);
    /* It remembers the index that it has seen, so a replica that lags cannot stop the task. */
    ck_assert_uint_eq(replica->seen_index, 1);
    r.index = -1ULL;
    send_intents(&r, NULL, 0, true);
    t_loop_run_ms(&r.loop, 100);
    ck_assert_int_eq(kill(pid, 0), 0);
    r.index = 5;
    rig_release(&r);
}
END_TEST

START_TEST(a_directory_serves_one_borglet_of_one_cell)
{
    struct state_dir second = {.lock_fd = -1, .seen_fd = -1};
    char pid[24];
    struct rig r;

    rig_init(&r);
    T_REFUSED(state_dir_open(r.dir, &r.cell, &second, &t_err), ERR_STATE);
    snprintf(pid, sizeof pid, "pid %d:", getpid());
    T_CONTAINS(t_err.msg, pid);
    rig_release(&r);
    str_copy(r.cell.name, sizeof r.cell.name, "other");
    T_REFUSED(state_dir_open(r.dir, &r.cell, &second, &t_err), ERR_STATE);
    T_CONTAINS(t_err.msg, "another cell");
}
END_TEST

static void copy_file(const char *from, const char *to, const char *name)
{
    char path[2][400], bytes[64];
    snprintf(path[0], sizeof path[0], "%s/%s", from, name);
    snprintf(path[1], sizeof path[1], "%s/%s", to, name);
    FILE *source = fopen(path[0], "re"), *target = fopen(path[1], "we");
    ck_assert(source != NULL && target != NULL);
    size_t size = fread(bytes, 1, sizeof bytes, source);
    ck_assert_uint_eq(fwrite(bytes, 1, size, target), size);
    fclose(source);
    ck_assert_int_eq(fclose(target), 0);
}

START_TEST(a_copied_directory_with_tasks_is_refused)
{
    struct state_dir again, other, copied;
    struct rig r;

    rig_init(&r);
    struct state_dir first = r.state;
    ck_assert_uint_ne(first.instance, 0);
    ck_assert_uint_ne(first.directory, 0);
    rig_release(&r);
    T_OK(state_dir_open(r.dir, &r.cell, &again, &t_err)); /* restarted */
    ck_assert_uint_eq(again.instance, first.instance);
    ck_assert_uint_eq(again.directory, first.directory);
    state_dir_close(&again);
    T_OK(state_dir_open(t_dir(), &r.cell, &other, &t_err));
    ck_assert_uint_ne(other.instance, first.instance);
    ck_assert_uint_ne(other.directory, first.directory);
    state_dir_close(&other);
    const char *copy = t_dir();
    copy_file(r.dir, copy, "instance");
    char tasks[400];
    snprintf(tasks, sizeof tasks, "%s/tasks", copy);
    ck_assert_int_eq(mkdir(tasks, 0700), 0);
    snprintf(tasks, sizeof tasks, "%s/tasks/web.0.1", copy);
    ck_assert_int_eq(mkdir(tasks, 0700), 0);
    T_REFUSED(state_dir_open(copy, &r.cell, &copied, &t_err), ERR_STATE);
    T_CONTAINS(t_err.msg, "is a copy of another borglet's directory");
    ck_assert_int_eq(rmdir(tasks), 0);
    T_OK(state_dir_open(copy, &r.cell, &copied,
                        &t_err)); /* it has no tasks that could be confused */
    ck_assert_uint_ne(copied.instance, first.instance);
    ck_assert_uint_ne(copied.directory, first.directory);
    state_dir_close(&copied);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("borglet_agent");
    TCase *work = tcase_create("work"), *links = tcase_create("links");

    tcase_set_timeout(work, 60);
    tcase_set_timeout(links, 60);
    tcase_add_test(work, many_starts_do_not_block_the_loop);
    tcase_add_test(work, a_task_is_run_reported_and_forgotten);
    tcase_add_test(work, a_preemptor_starts_when_its_victim_is_gone);
    tcase_add_test(work, a_start_that_exceeds_the_machine_is_reported_at_once);
    tcase_add_test(work, a_task_that_only_the_cell_believes_in_is_lost);
    tcase_add_test(work, a_directory_serves_one_borglet_of_one_cell);
    tcase_add_test(work, a_copied_directory_with_tasks_is_refused);
    tcase_add_test(links, a_replica_that_is_not_ready_is_left_for_the_next);
    tcase_add_test(links, a_replica_that_stopped_answering_is_left_for_the_next);
    tcase_add_test(links, a_borglet_moves_to_the_replica_that_its_replica_names);
    tcase_add_test(links, a_move_to_a_dead_replica_ends_at_another_one);
    tcase_add_test(links, a_move_to_an_unknown_replica_is_ignored);
    tcase_add_test(links, a_master_with_another_number_than_its_address_is_rejected);
    tcase_add_test(links, a_replica_with_a_revoked_certificate_is_left_for_good);
    tcase_add_test(links, a_replica_that_reports_its_removal_is_left);
    tcase_add_test(links, tasks_continue_without_masters_and_without_borglet);
    suite_add_tcase(suite, work);
    suite_add_tcase(suite, links);
    return t_main(suite);
}
