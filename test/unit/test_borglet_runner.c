/*
 * test_borglet_runner.c - attempts across several runners, with real shims.
 */
#include "runner_rig.h"
#include "env.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>

START_TEST(a_task_runs_with_its_ports_and_its_end_is_reported)
{
    struct rig r;
    char want[64];

    rig_init(&r);
    struct attempt *a = rig_start(&r, ref(3, 1), "echo $PORT_HTTP $PORT_ADMIN $BORG_TASK; exit 3");
    T_RUN(&r.loop, a->phase == ATTEMPT_ENDED);
    ck_assert_int_eq(a->report.kind, REPORT_EXITED);
    ck_assert_int_eq(a->report.exit_code, 3);
    ck_assert_int_ge(a->report.ports[0], 21000);
    ck_assert_int_ne(a->report.ports[0], a->report.ports[1]);
    snprintf(want, sizeof want, "%u %u web/3\n", a->report.ports[0], a->report.ports[1]);
    ck_assert_str_eq(output(&r, "tasks", a->name), want);
    rig_release(&r);
}
END_TEST

START_TEST(a_new_runner_adopts_the_same_process)
{
    struct rig r;

    rig_init(&r);
    struct attempt *a =
        rig_start(&r, ref(0, 1), "echo up; while [ ! -e go ]; do sleep 0.01; done; exit 9");
    char go[600];
    snprintf(go, sizeof go, "%s/tasks/%s/work/go", r.dir, a->name);
    T_RUN(&r.loop,
          a->phase == ATTEMPT_RUNNING && strcmp(output(&r, "tasks", a->name), "up\n") == 0);
    int32_t pid = a->report.pid;
    uint16_t port = a->report.ports[0];
    ck_assert_int_gt(pid, 0);
    rig_close(&r);
    t_loop_run_ms(&r.loop, 20);
    ck_assert_int_eq(kill(pid, 0), 0);

    rig_open(&r, "21000-21999");
    a = runner_find(r.runner, ref(0, 1));
    ck_assert_ptr_nonnull(a);
    ck_assert_int_eq(a->phase, ATTEMPT_RUNNING);
    ck_assert_int_eq(a->report.pid, pid);
    ck_assert_int_eq(a->report.ports[0], port);
    ck_assert_int_eq(a->spec.limit[RES_CPU], 250);
    ck_assert_str_eq(a->job, "web");
    close(open(go, O_WRONLY | O_CREAT, 0600));
    T_RUN(&r.loop, a->phase == ATTEMPT_ENDED);
    ck_assert_int_eq(a->report.exit_code, 9);
    rig_release(&r);
}
END_TEST

START_TEST(an_end_without_a_runner_is_found_later)
{
    struct rig r;

    rig_init(&r);
    struct attempt *a = rig_start(&r, ref(0, 1), "while [ ! -e go ]; do sleep 0.01; done; exit 9");
    T_RUN(&r.loop, a->phase == ATTEMPT_RUNNING);
    char go[600];
    snprintf(go, sizeof go, "%s/tasks/%s/work/go", r.dir, a->name);
    int32_t pid = a->report.pid;
    rig_close(&r);
    close(open(go, O_WRONLY | O_CREAT, 0600));
    T_RUN(&r.loop, kill(pid, 0) < 0 && errno == ESRCH);
    if (_i == 1) {
        /* When the runner asks, the shim has ended: the record is sufficient. */
        struct shim_state state = {0};
        char dir[600];
        snprintf(dir, sizeof dir, "%s/tasks/web.0.1.1", r.dir);
        int dir_fd = open(dir, O_DIRECTORY | O_CLOEXEC);
        T_RUN(&r.loop, shim_record_read(dir_fd, &state, NULL) == 0 && state.phase == SHIM_ENDED);
        kill(state.shim_pid, SIGKILL);
        close(dir_fd);
    }
    rig_open(&r, "21000-21999");
    a = runner_find(r.runner, ref(0, 1));
    ck_assert_ptr_nonnull(a);
    T_RUN(&r.loop, a->phase == ATTEMPT_ENDED);
    ck_assert_int_eq(a->report.kind, REPORT_EXITED);
    ck_assert_int_eq(a->report.exit_code, 9);
    rig_release(&r);
}
END_TEST

START_TEST(a_killed_shim_ends_its_task)
{
    struct rig r;
    bool away = _i == 1; /* the shim was killed while no runner existed */

    rig_init(&r);
    struct attempt *a = rig_start(&r, ref(0, 1), "setsid sleep 1000 & echo $!; sleep 1000");
    T_RUN(&r.loop, a->phase == ATTEMPT_RUNNING && output(&r, "tasks", a->name)[0] != '\0');
    pid_t child = (pid_t)strtol(output(&r, "tasks", a->name), NULL, 10);
    int32_t pid = a->report.pid;
    pid_t shim = a->state.shim_pid;
    if (away)
        rig_close(&r);
    kill(shim, SIGKILL);
    if (away) {
        t_loop_run_ms(&r.loop, 20);
        ck_assert_int_eq(kill(pid, 0), 0);
        rig_open(&r, "21000-21999");
        a = runner_find(r.runner, ref(0, 1));
        ck_assert_ptr_nonnull(a);
    }
    T_RUN(&r.loop, a->phase == ATTEMPT_ENDED);
    ck_assert_int_eq(a->report.kind, REPORT_LOST);
    T_CONTAINS(a->report.detail, "shim was killed");
    T_RUN(&r.loop, kill(pid, 0) < 0 && kill(child, 0) < 0);
    rig_release(&r);
}
END_TEST

START_TEST(a_failed_exec_is_a_start_error)
{
    struct rig r;
    struct intent intent = {.task = ref(0, 1)};

    rig_init(&r);
    spec_init(&intent.spec);
    str_copy(intent.spec.name, sizeof(intent.spec.name), "web");
    words_add(&intent.spec.argv, "no-such-program");
    runner_start(r.runner, &intent);
    struct attempt *a = runner_find(r.runner, ref(0, 1));
    T_RUN(&r.loop, a->phase == ATTEMPT_ENDED);
    ck_assert_int_eq(a->report.kind, REPORT_START_ERROR);
    ck_assert_str_eq(a->report.detail,
                     "cannot execute \"no-such-program\": No such file or directory");
    spec_release(&intent.spec);
    rig_release(&r);
}
END_TEST

START_TEST(a_stop_is_repeated_after_a_broken_connection)
{
    struct rig r;

    rig_init(&r);
    struct attempt *a = rig_start(&r, ref(0, 1), "exec sleep 1000");
    T_RUN(&r.loop, a->phase == ATTEMPT_RUNNING);
    /* Simulate that the request was lost with the connection. */
    int fd;
    ck_assert_int_eq(uv_fileno((uv_handle_t *)a->watch, &fd), 0);
    a->stopping = true;
    a->stop_grace_ms = 5000;
    ck_assert_int_eq(shutdown(fd, SHUT_RDWR), 0);
    T_RUN(&r.loop, a->phase == ATTEMPT_ENDED);
    ck_assert_int_eq(a->report.kind, REPORT_EXITED);
    ck_assert_int_eq(a->report.exit_code, -SIGTERM);
    rig_release(&r);
}
END_TEST

START_TEST(a_missing_shim_is_a_start_error)
{
    struct rig r;

    rig_init(&r);
    rig_close(&r);
    str_copy(r.shim, sizeof r.shim, "/nowhere/borg-shim");
    rig_open(&r, "21000-21999");
    struct attempt *a = rig_start(&r, ref(0, 1), "true");
    T_RUN(&r.loop, a->phase == ATTEMPT_ENDED);
    ck_assert_int_eq(a->report.kind, REPORT_START_ERROR);
    T_CONTAINS(a->report.detail, "/nowhere/borg-shim");
    ck_assert_int_eq(a->report.fault, FAULT_MACHINE);
    rig_release(&r);
}
END_TEST

START_TEST(a_listening_port_is_not_assigned)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    struct ports ports;
    uint16_t got[2];
    char range[32];

    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(listen(fd, 1), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    snprintf(range, sizeof range, "%u-%u", ntohs(address.sin_port), ntohs(address.sin_port));
    T_OK(ports_parse(range, &ports, &t_err));
    T_REFUSED(ports_take(&ports, 1, got, &t_err), ERR_UNAVAILABLE);
    close(fd);
    T_OK(ports_take(&ports, 1, got, &t_err));
    T_REFUSED(ports_take(&ports, 1, got, &t_err), ERR_UNAVAILABLE);
    ports_give_back(&ports, got, 1);
    T_OK(ports_take(&ports, 1, got, &t_err));
}
END_TEST

/* Ways to use a port, each of which must keep it from being assigned. */
static const struct {
    int family, type;
    bool loopback, only_v6;
} holders[] = {
    {AF_INET, SOCK_STREAM, false, false},  {AF_INET, SOCK_STREAM, true, false},
    {AF_INET, SOCK_DGRAM, false, false},   {AF_INET, SOCK_DGRAM, true, false},
    {AF_INET6, SOCK_STREAM, false, true},  {AF_INET6, SOCK_STREAM, true, true},
    {AF_INET6, SOCK_STREAM, false, false}, {AF_INET6, SOCK_DGRAM, false, true},
    {AF_INET6, SOCK_DGRAM, true, true},
};

/* Return an unused port outside the ephemeral range, used only by this test. */
static uint16_t port_unused(uint32_t number)
{
    struct ports ports;
    uint16_t got = 0;

    T_OK(ports_parse("10000-18999", &ports, &t_err));
    ports.next = ((uint32_t)getpid() * 13 + number * 101) % ports_count(&ports);
    T_OK(ports_take(&ports, 1, &got, &t_err));
    return got;
}

/* Use a port in that way; -1 if this machine has no such addresses. Another program may have taken
 * a port that was free a moment ago, or a closed connection may linger: then try another one. */
static int port_hold(int family, int type, bool loopback, bool only_v6, uint16_t *ret_port)
{
    enum { TRIES = 100 };
    int only = only_v6, error = EADDRINUSE;

    for (uint32_t i = 0; i < TRIES && error == EADDRINUSE; i++) {
        uint16_t port = port_unused(i);
        struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
        struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
        bool is_v6 = family == AF_INET6;
        v4.sin_addr.s_addr = htonl(loopback ? INADDR_LOOPBACK : INADDR_ANY);
        v6.sin6_addr = loopback ? in6addr_loopback : in6addr_any;
        int fd = socket(family, type | SOCK_CLOEXEC, 0);
        if (fd < 0 && errno == EAFNOSUPPORT)
            return -1;
        if (is_v6)
            ck_assert_int_eq(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only), 0);
        int rc = is_v6 ? bind(fd, (struct sockaddr *)&v6, sizeof v6)
                       : bind(fd, (struct sockaddr *)&v4, sizeof v4);
        if (rc == 0 && type == SOCK_STREAM)
            rc = listen(fd, 1);
        if (rc == 0) {
            *ret_port = port;
            return fd;
        }
        error = errno;
        close(fd);
    }
    ck_assert_int_eq(error, EADDRNOTAVAIL); /* IPv6 is switched off */
    return -1;
}

START_TEST(a_port_in_any_use_is_not_assigned)
{
    uint16_t port, got[1];
    struct ports ports;
    char range[32];

    int fd = port_hold(holders[_i].family, holders[_i].type, holders[_i].loopback,
                       holders[_i].only_v6, &port);
    if (fd < 0)
        return;
    snprintf(range, sizeof range, "%u-%u", port, port);
    T_OK(ports_parse(range, &ports, &t_err));
    T_REFUSED(ports_take(&ports, 1, got, &t_err), ERR_UNAVAILABLE);
    close(fd);
    T_OK(ports_take(&ports, 1, got, &t_err));
}
END_TEST

START_TEST(unknown_files_in_the_directory_are_left_alone)
{
    struct rig r;

    rig_init(&r);
    rig_close(&r);
    t_loop_run_ms(&r.loop, 20);
    ck_assert_int_eq(mkdir(t_path(r.dir, "tasks/what-is-this"), 0700), 0);
    ck_assert_int_eq(mkdir(t_path(r.dir, "tasks/web.0.1.1"), 0700), 0);
    rig_open(&r, "21000-21999");
    ck_assert_uint_eq(runner_count(r.runner), 1);
    struct attempt *a = runner_find(r.runner, ref(0, 1));
    T_RUN(&r.loop, a->phase == ATTEMPT_ENDED);
    ck_assert_int_eq(a->report.kind, REPORT_LOST);
    ck_assert_int_eq(access(t_path(r.dir, "tasks/what-is-this"), F_OK), 0);
    rig_release(&r);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("borglet_runner");
    TCase *life = tcase_create("life");
    TCase *edges = tcase_create("edges");

    tcase_set_timeout(life, 60);
    tcase_set_timeout(edges, 60);
    tcase_add_test(life, a_task_runs_with_its_ports_and_its_end_is_reported);
    tcase_add_test(life, a_new_runner_adopts_the_same_process);
    tcase_add_loop_test(life, an_end_without_a_runner_is_found_later, 0, 2);
    tcase_add_loop_test(life, a_killed_shim_ends_its_task, 0, 2);
    tcase_add_test(edges, a_failed_exec_is_a_start_error);
    tcase_add_test(edges, a_stop_is_repeated_after_a_broken_connection);
    tcase_add_test(edges, a_missing_shim_is_a_start_error);
    tcase_add_test(edges, a_listening_port_is_not_assigned);
    tcase_add_loop_test(edges, a_port_in_any_use_is_not_assigned, 0, ARRAY_SIZE(holders));
    tcase_add_test(edges, unknown_files_in_the_directory_are_left_alone);
    suite_add_tcase(suite, life);
    suite_add_tcase(suite, edges);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
