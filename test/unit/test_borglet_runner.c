/*
 * test_borglet_runner.c - attempts over the life of several runners, with real shims.
 */
#include "runner.h"
#include "env.h"
#include "testlib.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>

struct rig {
    struct t_loop loop;
    const char *dir;
    char shim[600];
    struct runner *runner;
    int changes;
};

static void rig_on_change(void *data, struct attempt *attempt UNUSED)
{
    ((struct rig *)data)->changes++;
}

static void rig_open(struct rig *r, const char *ports)
{
    struct runner_options options = {.loop = &r->loop.uv,
                                     .dir = r->dir,
                                     .shim_path = r->shim,
                                     .cell = "test",
                                     .machine = "m1",
                                     .data = r,
                                     .on_change = rig_on_change};

    T_OK(ports_parse(ports, &options.ports, &t_err));
    T_OK(runner_open(&options, &r->runner, &t_err));
}

static void rig_init(struct rig *r)
{
    char self[512];

    memset(r, 0, sizeof(*r));
    t_loop_init(&r->loop);
    r->dir = t_dir();
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    ck_assert_int_gt(n, 0);
    self[n] = '\0';
    snprintf(r->shim, sizeof(r->shim), "%s/../../borg-shim", dirname(self));
    rig_open(r, "21000-21999");
}

/* Close the runner as a dying borglet does: tasks stay. */
static void rig_close(struct rig *r)
{
    runner_close(r->runner);
    r->runner = NULL;
}

/* End everything that still runs, so that no process is left behind. */
static void rig_release(struct rig *r)
{
    if (r->runner != NULL) {
        struct list *attempts = runner_attempts(r->runner);
        LIST_EACH(l, attempts)
        {
            runner_stop(r->runner, CONTAINER_OF(l, struct attempt, link), 0);
        }
        while (!list_empty(attempts)) {
            struct attempt *a = CONTAINER_OF(attempts->next, struct attempt, link);
            T_RUN(&r->loop, a->phase == ATTEMPT_ENDED);
            runner_forget(r->runner, a);
        }
        rig_close(r);
    }
    t_loop_close(&r->loop);
}

static struct attempt_ref ref(uint32_t index, uint32_t attempt)
{
    return (struct attempt_ref){task_id_of((job_id){1}, index), attempt};
}

/* Start job "web" with a shell script, two ports. */
static struct attempt *rig_start(struct rig *r, struct attempt_ref task, const char *script)
{
    struct intent intent = {.task = task, .action = INTENT_RUN};

    spec_init(&intent.spec);
    str_copy(intent.spec.name, sizeof(intent.spec.name), "web");
    words_add(&intent.spec.argv, "sh");
    words_add(&intent.spec.argv, "-c");
    words_add(&intent.spec.argv, script);
    words_add(&intent.spec.ports, "http");
    words_add(&intent.spec.ports, "admin");
    intent.spec.limit.v[RES_CPU] = 250;
    intent.spec.limit.v[RES_PORTS] = 2;
    runner_start(r->runner, &intent);
    spec_release(&intent.spec);
    return runner_find(r->runner, task);
}

static const char *output(const struct rig *r, const char *where, const struct attempt *a)
{
    static char text[1024];
    char path[600];

    snprintf(path, sizeof(path), "%s/%s/%s/out.0", r->dir, where, a->name);
    int fd = open(path, O_RDONLY);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
    if (fd >= 0)
        close(fd);
    text[n < 0 ? 0 : n] = '\0';
    return text;
}

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
    snprintf(want, sizeof(want), "%u %u web/3\n", a->report.ports[0], a->report.ports[1]);
    ck_assert_str_eq(output(&r, "tasks", a), want);
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
    snprintf(go, sizeof(go), "%s/tasks/%s/work/go", r.dir, a->name);
    T_RUN(&r.loop, a->phase == ATTEMPT_RUNNING && strcmp(output(&r, "tasks", a), "up\n") == 0);
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

START_TEST(an_end_while_no_runner_was_there_is_found)
{
    struct rig r;

    rig_init(&r);
    struct attempt *a = rig_start(&r, ref(0, 1), "while [ ! -e go ]; do sleep 0.01; done; exit 9");
    T_RUN(&r.loop, a->phase == ATTEMPT_RUNNING);
    char go[600];
    snprintf(go, sizeof(go), "%s/tasks/%s/work/go", r.dir, a->name);
    int32_t pid = a->report.pid;
    rig_close(&r);
    close(open(go, O_WRONLY | O_CREAT, 0600));
    T_RUN(&r.loop, kill(pid, 0) < 0 && errno == ESRCH);
    if (_i == 1) {
        /* By the time somebody asks, the shim has left: the record is enough. */
        struct shim_state state = {0};
        char dir[600];
        snprintf(dir, sizeof(dir), "%s/tasks/web.0.1.1", r.dir);
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

START_TEST(a_killed_shim_takes_its_task_along)
{
    struct rig r;
    bool away = _i == 1; /* while no runner was there */

    rig_init(&r);
    struct attempt *a = rig_start(&r, ref(0, 1), "setsid sleep 1000 & echo $!; sleep 1000");
    T_RUN(&r.loop, a->phase == ATTEMPT_RUNNING && output(&r, "tasks", a)[0] != '\0');
    pid_t child = (pid_t)strtol(output(&r, "tasks", a), NULL, 10);
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

START_TEST(what_cannot_be_executed_is_a_start_error)
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

START_TEST(a_stop_whose_connection_broke_is_asked_for_again)
{
    struct rig r;

    rig_init(&r);
    struct attempt *a = rig_start(&r, ref(0, 1), "exec sleep 1000");
    T_RUN(&r.loop, a->phase == ATTEMPT_RUNNING);
    /* As if the request had been lost with the connection. */
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
    str_copy(r.shim, sizeof(r.shim), "/nowhere/borg-shim");
    rig_open(&r, "21000-21999");
    struct attempt *a = rig_start(&r, ref(0, 1), "true");
    T_RUN(&r.loop, a->phase == ATTEMPT_ENDED);
    ck_assert_int_eq(a->report.kind, REPORT_START_ERROR);
    T_CONTAINS(a->report.detail, "/nowhere/borg-shim");
    ck_assert_int_eq(a->report.fault, FAULT_MACHINE);
    rig_release(&r);
}
END_TEST

START_TEST(a_port_somebody_listens_on_is_not_given_out)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    struct ports ports;
    uint16_t got[2];
    char range[32];

    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(listen(fd, 1), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    snprintf(range, sizeof(range), "%u-%u", ntohs(address.sin_port), ntohs(address.sin_port));
    T_OK(ports_parse(range, &ports, &t_err));
    T_REFUSED(ports_take(&ports, 1, got, &t_err), ERR_UNAVAILABLE);
    close(fd);
    T_OK(ports_take(&ports, 1, got, &t_err));
    T_REFUSED(ports_take(&ports, 1, got, &t_err), ERR_UNAVAILABLE);
    ports_give_back(&ports, got, 1);
    T_OK(ports_take(&ports, 1, got, &t_err));
}
END_TEST

START_TEST(logs_survive_forgetting_within_bounds)
{
    char path[600];
    struct rig r;

    rig_init(&r);
    for (uint32_t i = 1; i <= ATTIC_PER_TASK_MAX + 2; i++) {
        struct attempt *a = rig_start(&r, ref(0, i), "mkdir -p a/b; chmod 0 a; echo $BORG_ATTEMPT");
        T_RUN(&r.loop, a->phase == ATTEMPT_ENDED);
        runner_forget(r.runner, a);
    }
    ck_assert_uint_eq(runner_count(r.runner), 0);
    const struct attic *attic = runner_attic(r.runner);
    ck_assert_uint_eq(attic->count, ATTIC_PER_TASK_MAX);
    ck_assert_ptr_null(attic_find(attic, ref(0, 1).task, 2));
    const struct attic_entry *newest = attic_find(attic, ref(0, 1).task, 0);
    ck_assert_uint_eq(newest->task.attempt, ATTIC_PER_TASK_MAX + 2);
    /* What the task left in its directory goes, whatever its rights. */
    snprintf(path, sizeof(path), "%s/%s/work", attic->path, newest->name);
    T_RUN(&r.loop, access(path, F_OK) < 0);
    snprintf(path, sizeof(path), "%s/%s/out.0", attic->path, newest->name);
    ck_assert_int_eq(access(path, F_OK), 0);
    rig_close(&r);
    t_loop_run_ms(&r.loop, 20);
    rig_open(&r, "21000-21999");
    newest = attic_find(runner_attic(r.runner), ref(0, 1).task, 0);
    ck_assert_uint_eq(newest->task.attempt, ATTIC_PER_TASK_MAX + 2);
    rig_release(&r);
}
END_TEST

/* A forgotten attempt with a log of that size, which takes no room on the disk. */
static void attic_entry_make(const struct rig *r, uint32_t index, off_t bytes)
{
    char path[600];

    snprintf(path, sizeof(path), "%s/ended/web.%u.1.1", r->dir, index);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/ended/web.%u.1.1/out.0", r->dir, index);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    ck_assert_int_eq(ftruncate(fd, bytes), 0);
    close(fd);
}

START_TEST(old_logs_are_bounded_in_number_and_bytes)
{
    struct rig r;

    rig_init(&r);
    rig_close(&r);
    t_loop_run_ms(&r.loop, 20);
    for (uint32_t i = 0; i < ATTIC_MAX + 3; i++)
        attic_entry_make(&r, i, 10);
    rig_open(&r, "21000-21999");
    ck_assert_uint_eq(runner_attic(r.runner)->count, ATTIC_MAX);
    rig_close(&r);
    t_loop_run_ms(&r.loop, 20);
    attic_entry_make(&r, 1000, (off_t)(ATTIC_BYTES_MAX / 2));
    attic_entry_make(&r, 1001, (off_t)(ATTIC_BYTES_MAX / 2));
    rig_open(&r, "21000-21999");
    /* Together they leave no byte for the others. */
    ck_assert_uint_eq(runner_attic(r.runner)->count, 2);
    ck_assert_ptr_nonnull(attic_find(runner_attic(r.runner), ref(1001, 1).task, 1));
    ck_assert_int_lt(access(t_path(r.dir, "ended/web.5.1.1"), F_OK), 0);
    rig_release(&r);
}
END_TEST

START_TEST(rubbish_in_the_directory_is_left_alone)
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
    ck_assert_int_eq(a->phase, ATTEMPT_ENDED);
    ck_assert_int_eq(a->report.kind, REPORT_LOST);
    ck_assert_int_eq(access(t_path(r.dir, "tasks/what-is-this"), F_OK), 0);
    rig_release(&r);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("borglet_runner");
    TCase *life = tcase_create("life"), *edges = tcase_create("edges");

    tcase_set_timeout(life, 60);
    tcase_set_timeout(edges, 60);
    tcase_add_test(life, a_task_runs_with_its_ports_and_its_end_is_reported);
    tcase_add_test(life, a_new_runner_adopts_the_same_process);
    tcase_add_loop_test(life, an_end_while_no_runner_was_there_is_found, 0, 2);
    tcase_add_loop_test(life, a_killed_shim_takes_its_task_along, 0, 2);
    tcase_add_test(life, logs_survive_forgetting_within_bounds);
    tcase_add_test(life, old_logs_are_bounded_in_number_and_bytes);
    tcase_add_test(edges, what_cannot_be_executed_is_a_start_error);
    tcase_add_test(edges, a_stop_whose_connection_broke_is_asked_for_again);
    tcase_add_test(edges, a_missing_shim_is_a_start_error);
    tcase_add_test(edges, a_port_somebody_listens_on_is_not_given_out);
    tcase_add_test(edges, rubbish_in_the_directory_is_left_alone);
    suite_add_tcase(suite, life);
    suite_add_tcase(suite, edges);
    return t_main(suite);
}
