/*
 * test_borglet_runner.c - attempts over the life of several runners, with real shims.
 */
#include "runner.h"
#include "env.h"
#include "testlib.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

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

static const char *output(const struct rig *r, const char *where, const char *name)
{
    static char text[1024];
    char path[600];

    snprintf(path, sizeof(path), "%s/%s/%s/out.0", r->dir, where, name);
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
    snprintf(go, sizeof(go), "%s/tasks/%s/work/go", r.dir, a->name);
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

/* Who has a port, whatever way, keeps it from being given out. */
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

START_TEST(a_port_that_anybody_has_is_not_given_out)
{
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    bool is_v6 = holders[_i].family == AF_INET6, loopback = holders[_i].loopback;
    socklen_t size = is_v6 ? sizeof(v6) : sizeof(v4);
    struct sockaddr *address = is_v6 ? (struct sockaddr *)&v6 : (struct sockaddr *)&v4;
    int only = holders[_i].only_v6;
    struct ports ports;
    uint16_t got[1];
    char range[32];

    v4.sin_addr.s_addr = htonl(loopback ? INADDR_LOOPBACK : INADDR_ANY);
    v6.sin6_addr = loopback ? in6addr_loopback : in6addr_any;
    int fd = socket(holders[_i].family, holders[_i].type | SOCK_CLOEXEC, 0);
    if (is_v6 && fd >= 0)
        ck_assert_int_eq(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only)), 0);
    if (is_v6 && (fd < 0 || (bind(fd, address, size) < 0 && errno == EADDRNOTAVAIL)))
        return; /* a machine without IPv6 */
    if (!is_v6)
        ck_assert_int_eq(bind(fd, address, size), 0);
    if (holders[_i].type == SOCK_STREAM)
        ck_assert_int_eq(listen(fd, 1), 0);
    ck_assert_int_eq(getsockname(fd, address, &size), 0);
    uint16_t port = ntohs(is_v6 ? v6.sin6_port : v4.sin_port);
    snprintf(range, sizeof(range), "%u-%u", port, port);
    T_OK(ports_parse(range, &ports, &t_err));
    T_REFUSED(ports_take(&ports, 1, got, &t_err), ERR_UNAVAILABLE);
    close(fd);
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
static void attic_entry_make(const struct rig *r, uint32_t index, uint32_t attempt, off_t bytes)
{
    char path[600];

    snprintf(path, sizeof(path), "%s/ended/web.%u.1.%u", r->dir, index, attempt);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/ended/web.%u.1.%u/out.0", r->dir, index, attempt);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    ck_assert_int_eq(ftruncate(fd, bytes), 0);
    close(fd);
}

static const struct attic *attic_again(struct rig *r)
{
    rig_open(r, "21000-21999");
    return runner_attic(r->runner);
}

static bool cleaned(const struct attic *attic)
{
    return attic->queue_count + attic->cleaner_count == 0;
}

START_TEST(old_logs_are_bounded_in_number)
{
    struct rig r;

    rig_init(&r);
    rig_close(&r);
    t_loop_run_ms(&r.loop, 20);
    for (uint32_t i = 0; i < ATTIC_MAX + 3; i++)
        attic_entry_make(&r, i, 1, 10);
    const struct attic *attic = attic_again(&r);
    ck_assert_uint_eq(attic->count, ATTIC_MAX);
    T_RUN(&r.loop, cleaned(attic));
    rig_release(&r);
}
END_TEST

START_TEST(old_logs_are_bounded_in_bytes_and_newest_attempts_stay_longest)
{
    enum { WHOLE = ATTIC_BYTES_MAX / ATTIC_ENTRY_BYTES_MAX };
    struct rig r;

    rig_init(&r);
    rig_close(&r);
    t_loop_run_ms(&r.loop, 20);
    /* A task's file may be of any size: it costs others no more than a real log does. */
    attic_entry_make(&r, 0, 1, (off_t)1 << 40);
    attic_entry_make(&r, 1, 1, (off_t)1 << 40);
    attic_entry_make(&r, 1, 2, (off_t)1 << 40);
    for (uint32_t i = 2; i < WHOLE; i++)
        attic_entry_make(&r, i, 1, (off_t)1 << 40);
    const struct attic *attic = attic_again(&r);
    ck_assert_uint_eq(attic->count, WHOLE);
    ck_assert_ptr_null(attic_find(attic, ref(1, 0).task, 1));
    ck_assert_ptr_nonnull(attic_find(attic, ref(1, 0).task, 2));
    ck_assert_ptr_nonnull(attic_find(attic, ref(0, 0).task, 1));
    T_RUN(&r.loop, cleaned(attic));
    ck_assert_int_lt(access(t_path(r.dir, "ended/web.1.1.1"), F_OK), 0);
    rig_close(&r);
    t_loop_run_ms(&r.loop, 20);
    /* Nobody is superseded now: the oldest goes. */
    attic_entry_make(&r, 100, 1, (off_t)1 << 40);
    attic = attic_again(&r);
    ck_assert_uint_eq(attic->count, WHOLE);
    ck_assert_ptr_null(attic_find(attic, ref(0, 0).task, 1));
    T_RUN(&r.loop, cleaned(attic));
    rig_release(&r);
}
END_TEST

/* Forget the attempt, and wait until what it left has been cleared. */
static void forget_whole(struct rig *r, struct attempt *a)
{
    T_RUN(&r->loop, a->phase == ATTEMPT_ENDED);
    runner_forget(r->runner, a);
    T_RUN(&r->loop, cleaned(runner_attic(r->runner)));
}

/* What is left of the attempt, by name, but for its log. */
static const char *left_over(const struct rig *r)
{
    static char text[256];
    char command[700];

    snprintf(command, sizeof(command),
             "cd %s/ended/web.0.1.1 && ls -A | grep -v -x -e spec -e out.0 -e err.0 | tr '\\n' ' '",
             r->dir);
    FILE *f = popen(command, "r");
    text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
    pclose(f);
    return text;
}

/* OUT is a directory that is none of the task's; everything below $BORG_DIR goes. */
static const char *const remains[] = {
    "ln -s $OUT data; ln -s $OUT/precious f; ln -s $OUT ../dir",
    "mkdir a; chmod 0 a; mkdir -p b/c/d; touch b/c/d/e; chmod 0 b/c/d b/c b",
    "perl -e 'for (1 .. 600) { mkdir \"d\" x 200; chdir \"d\" x 200 }'",
    "perl -e 'for (1 .. 3000) { open F, \">\", \"f$_\" }'",
    "mkfifo f; perl -MSocket -e 'socket(S,AF_UNIX,SOCK_STREAM,0); bind(S,sockaddr_un(\"s\"))'",
    "mkdir .0 .1 .2 .1/.1; touch .3 ../.0 ../x; mkdir -p ../more/and/more ../out.7 ../spec2",
};

START_TEST(whatever_a_task_leaves_is_cleared_and_nothing_else)
{
    char script[1024];
    struct rig r;

    rig_init(&r);
    const char *out = t_path(r.dir, "outside");
    ck_assert_int_eq(mkdir(out, 0700), 0);
    close(open(t_path(r.dir, "outside/precious"), O_WRONLY | O_CREAT, 0600));
    snprintf(script, sizeof(script), "OUT=%s/outside; %s", r.dir, remains[_i]);
    struct attempt *a = rig_start(&r, ref(0, 1), script);
    forget_whole(&r, a);
    ck_assert_str_eq(left_over(&r), "");
    ck_assert_int_eq(access(t_path(r.dir, "outside/precious"), F_OK), 0);
    rig_release(&r);
}
END_TEST

static const char *const mounts[] = {
    "mkdir data; mount --bind $OUT data",
    "mkdir data; mount --bind $OUT data; mount --bind $OUT data; mount --bind $OUT data/sub",
    "touch f; mount --bind $OUT/precious f",
    "mkdir -p a/b/c; mount --bind $OUT a/b/c",
    "mkdir -p a/b/c; mount --bind $OUT a/b/c; chmod 0 a/b a",
    "mount --bind $OUT $BORG_DIR",
    "mount --bind $OUT $BORG_DIR/..",
    "mkdir t; mount -t tmpfs none t; touch t/x",
};

/* Where nobody else sees it: a mount namespace, and as a user one to be root in. false: not allowed
 * here. */
static bool file_write(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool good = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

    if (fd >= 0)
        close(fd);
    return good;
}

static bool namespace_enter(void)
{
    char uids[64], gids[64];
    uid_t uid = geteuid();

    snprintf(uids, sizeof(uids), "0 %u 1\n", uid);
    snprintf(gids, sizeof(gids), "0 %u 1\n", getegid());
    if (unshare(uid == 0 ? CLONE_NEWNS : CLONE_NEWUSER | CLONE_NEWNS) < 0)
        return false;
    if (uid != 0 &&
        (!file_write("/proc/self/uid_map", uids) || !file_write("/proc/self/setgroups", "deny") ||
         !file_write("/proc/self/gid_map", gids)))
        return false;
    return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

START_TEST(what_a_task_has_mounted_is_unmounted_and_not_emptied)
{
    char script[1024];
    struct rig r;

    if (!namespace_enter())
        return;
    rig_init(&r);
    ck_assert_int_eq(mkdir(t_path(r.dir, "outside"), 0700), 0);
    ck_assert_int_eq(mkdir(t_path(r.dir, "outside/sub"), 0700), 0);
    close(open(t_path(r.dir, "outside/precious"), O_WRONLY | O_CREAT, 0600));
    close(open(t_path(r.dir, "outside/sub/too"), O_WRONLY | O_CREAT, 0600));
    snprintf(script, sizeof(script), "set -e; OUT=%s/outside; %s; echo done", r.dir, mounts[_i]);
    struct attempt *a = rig_start(&r, ref(0, 1), script);
    forget_whole(&r, a);
    ck_assert_int_eq(access(t_path(r.dir, "outside/precious"), F_OK), 0);
    ck_assert_int_eq(access(t_path(r.dir, "outside/sub"), F_OK), 0);
    ck_assert_str_eq(left_over(&r), "");
    ck_assert_str_eq(output(&r, "ended", "web.0.1.1"), "done\n");
    rig_release(&r);
}
END_TEST

START_TEST(a_mount_that_cannot_be_unmounted_is_left_with_all_that_is_in_it)
{
    char script[1024];
    struct rig r;

    if (!namespace_enter())
        return;
    rig_init(&r);
    ck_assert_int_eq(mkdir(t_path(r.dir, "outside"), 0700), 0);
    close(open(t_path(r.dir, "outside/precious"), O_WRONLY | O_CREAT, 0600));
    snprintf(script, sizeof(script),
             "set -e; mkdir -p a/b gone; touch a/f; mount --bind %s/outside a/b; echo done", r.dir);
    struct attempt *a = rig_start(&r, ref(0, 1), script);
    T_RUN(&r.loop, a->phase == ATTEMPT_ENDED);
    ck_assert_int_eq(prctl(PR_CAPBSET_DROP, CAP_SYS_ADMIN, 0, 0, 0), 0);
    forget_whole(&r, a);
    ck_assert_int_eq(access(t_path(r.dir, "outside/precious"), F_OK), 0);
    /* But for the mount and the directory it is in, everything has gone. */
    ck_assert_str_eq(left_over(&r), ".0 ");
    ck_assert_int_eq(access(t_path(r.dir, "ended/web.0.1.1/.0/b/precious"), F_OK), 0);
    ck_assert_int_eq(access(t_path(r.dir, "ended/web.0.1.1/.0/f"), F_OK), -1);
    rig_release(&r);
}
END_TEST

/* Everything a task can put in the place of a file, by a shell in that directory. */
static const char *const replacements[] = {
    "mkfifo it",
    "ln -s /etc/passwd it",
    "ln -s it it",
    "mkdir it",
    "truncate -s 1T it",
    "echo rubbish > it; ln it it2",
    "perl -MSocket -e 'socket(S,AF_UNIX,SOCK_STREAM,0); bind(S,sockaddr_un(\"it\"))'",
    "perl -MSocket -e 'socket(S,AF_UNIX,SOCK_STREAM,0); bind(S,sockaddr_un(\"it\"))'; chmod 0 it",
    "mknod it c 1 5 2> /dev/null || mkfifo it",
    "mknod it b 7 77 2> /dev/null || mkfifo it",
};
static const char *const replaced[] = {"spec", "record", "ctl.sock"};

static void replace(const struct rig *r, const char *file, const char *how)
{
    char command[1024];

    snprintf(command, sizeof(command),
             "cd %s/tasks/web.0.1.1 && rm -f %s && { %s; } && mv -T it %s", r->dir, file, how,
             file);
    ck_assert_int_eq(system(command), 0);
}

START_TEST(nothing_that_a_task_leaves_for_its_borglet_stops_an_adoption)
{
    const char *file = replaced[(size_t)_i / ARRAY_SIZE(replacements)];
    const char *how = replacements[(size_t)_i % ARRAY_SIZE(replacements)];
    struct rig r;

    rig_init(&r);
    struct attempt *a = rig_start(&r, ref(0, 1), "sleep 1000 & exec sleep 1000");
    struct attempt *other = rig_start(&r, ref(1, 1), "exec sleep 1000");
    T_RUN(&r.loop, a->phase == ATTEMPT_RUNNING && other->phase == ATTEMPT_RUNNING);
    int32_t pid = a->report.pid;
    rig_close(&r);
    t_loop_run_ms(&r.loop, 20);
    replace(&r, file, how);
    rig_open(&r, "21000-21999");
    a = runner_find(r.runner, ref(0, 1));
    other = runner_find(r.runner, ref(1, 1));
    T_RUN(&r.loop, a->phase == ATTEMPT_ENDED);
    T_CONTAINS(a->report.detail, "the attempt's directory was tampered with: ");
    T_CONTAINS(a->report.detail, file);
    ck_assert_int_ne(a->report.kind, REPORT_START_ERROR);
    T_RUN(&r.loop, kill(pid, 0) < 0 && errno == ESRCH);
    ck_assert_int_eq(other->phase, ATTEMPT_RUNNING);
    rig_release(&r);
}
END_TEST

START_TEST(what_is_replaced_under_a_running_attempt_changes_nothing)
{
    struct rig r;

    rig_init(&r);
    struct attempt *a = rig_start(&r, ref(0, 1), "while [ ! -e go ]; do sleep 0.01; done; exit 9");
    T_RUN(&r.loop, a->phase == ATTEMPT_RUNNING);
    for (size_t i = 0; i < ARRAY_SIZE(replaced); i++)
        replace(&r, replaced[i], "mkfifo it");
    close(open(t_path(r.dir, "tasks/web.0.1.1/work/go"), O_WRONLY | O_CREAT, 0600));
    T_RUN(&r.loop, a->phase == ATTEMPT_ENDED);
    ck_assert_int_eq(a->report.kind, REPORT_EXITED);
    ck_assert_int_eq(a->report.exit_code, 9);
    rig_release(&r);
}
END_TEST

START_TEST(a_socket_that_somebody_else_listens_at_is_no_shim)
{
    struct rig r;

    rig_init(&r);
    struct attempt *a = rig_start(
        &r, ref(0, 1),
        "cd ..; rm ctl.sock; exec perl -MSocket -e 'socket(S,AF_UNIX,SOCK_SEQPACKET,0);"
        "bind(S,sockaddr_un(\"ctl.sock\")); listen(S,9); $|=1; print \"up\\n\"; sleep 1000'");
    T_RUN(&r.loop,
          a->phase == ATTEMPT_RUNNING && strcmp(output(&r, "tasks", a->name), "up\n") == 0);
    rig_close(&r);
    t_loop_run_ms(&r.loop, 20);
    rig_open(&r, "21000-21999");
    a = runner_find(r.runner, ref(0, 1));
    T_RUN(&r.loop, a->phase == ATTEMPT_ENDED);
    T_CONTAINS(a->report.detail, "is in its shim's place");
    rig_release(&r);
}
END_TEST

/* A shim as the test wants it: `answer` is called for every connection and returns what is sent, 0
 * to hang up. Its task is a child of it. What it hears is counted in `heard`. */
struct fake {
    pid_t pid, task;
    struct heard {
        int connections, requests;
        uint32_t last_version;
    } * heard;
};

static void fake_serve(int listen_fd, struct heard *heard, const void *message, size_t size)
{
    struct shim_request request;

    for (;;) {
        int fd = accept(listen_fd, NULL, NULL);
        heard->connections++;
        if (size == 0) {
            close(fd);
            continue;
        }
        while (recv(fd, &request, sizeof(request), 0) > 0) {
            heard->requests++;
            heard->last_version = request.version;
            (void)!send(fd, message, size, MSG_NOSIGNAL);
        }
        close(fd);
    }
}

static void fake_start(const struct rig *r, struct fake *fake, const struct shim_message *message,
                       size_t size)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct words argv = {0}, env = {0};
    struct shim_spec spec = {.task = ref(0, 1).task.v,
                             .attempt = 1,
                             .job = "web",
                             .log_segment_bytes = 4096,
                             .log_segments = 4};

    ck_assert_int_eq(mkdir(t_path(r->dir, "tasks/web.0.1.1"), 0700), 0);
    int dir_fd = open(t_path(r->dir, "tasks/web.0.1.1"), O_DIRECTORY | O_CLOEXEC);
    words_add(&argv, "x");
    T_OK(shim_spec_write(dir_fd, &spec, &argv, &env, &t_err));
    words_release(&argv);
    snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/ctl.sock", dir_fd);
    fake->heard =
        mmap(NULL, sizeof(*fake->heard), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int ready[2];
    ck_assert_int_eq(pipe(ready), 0);
    fake->pid = fork();
    if (fake->pid == 0) {
        signal(SIGTERM, SIG_DFL);
        pid_t task = fork();
        if (task == 0) {
            for (;;)
                pause();
        }
        signal(SIGCHLD, SIG_IGN);
        int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
        if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 64) < 0)
            _exit(1);
        (void)!write(ready[1], &task, sizeof(task));
        fake_serve(fd, fake->heard, message, size);
    }
    ck_assert_int_eq(read(ready[0], &fake->task, sizeof(fake->task)), sizeof(fake->task));
    close(dir_fd);
}

START_TEST(a_shim_of_another_version_is_left_running_and_can_be_stopped)
{
    struct shim_message message = {.version = 999, .kind = SHIM_STATE};
    struct fake fake;
    struct rig r;

    rig_init(&r);
    rig_close(&r);
    t_loop_run_ms(&r.loop, 20);
    fake_start(&r, &fake, &message, sizeof(message) + 0);
    rig_open(&r, "21000-21999");
    struct attempt *a = runner_find(r.runner, ref(0, 1));
    T_RUN(&r.loop, a->phase == ATTEMPT_RUNNING);
    T_CONTAINS(a->report.detail, "its shim speaks version 999, this borglet 2 to 3");
    int changes = r.changes;
    t_loop_run_ms(&r.loop, 1000);
    ck_assert_int_eq(fake.heard->connections, 1);
    ck_assert_int_eq(r.changes, changes);
    ck_assert_int_eq(kill(fake.task, 0), 0);
    runner_stop(r.runner, a, 60000); /* it does not catch SIGTERM: no need to wait for SIGKILL */
    T_RUN(&r.loop, a->phase == ATTEMPT_ENDED);
    ck_assert_int_eq(a->report.kind, REPORT_LOST);
    T_CONTAINS(a->report.detail, "version 999");
    ck_assert_int_eq(waitpid(fake.pid, NULL, 0), fake.pid);
    T_RUN(&r.loop, kill(fake.task, 0) < 0);
    rig_release(&r);
}
END_TEST

START_TEST(a_shim_of_the_version_before_is_understood)
{
    struct shim_message message = {.version = 2, .kind = SHIM_STATE};
    size_t size = offsetof(struct shim_message, state) + shim_state_bytes(2);
    struct fake fake;
    struct rig r;

    message.state.phase = SHIM_RUNNING;
    message.state.task_pid = 77;
    rig_init(&r);
    rig_close(&r);
    t_loop_run_ms(&r.loop, 20);
    fake_start(&r, &fake, &message, size);
    rig_open(&r, "21000-21999");
    struct attempt *a = runner_find(r.runner, ref(0, 1));
    T_RUN(&r.loop, a->phase == ATTEMPT_RUNNING);
    ck_assert_int_eq(a->report.pid, 77);
    ck_assert(!a->foreign);
    ck_assert_uint_eq(fake.heard->last_version, 2);
    kill(fake.pid, SIGKILL);
    waitpid(fake.pid, NULL, 0);
    a->state.task_pid = 0; /* 77 is nobody of ours */
    T_RUN(&r.loop, a->phase == ATTEMPT_ENDED);
    kill(fake.task, SIGKILL);
    rig_release(&r);
}
END_TEST

START_TEST(a_shim_that_hangs_up_is_tried_again_ever_more_rarely)
{
    struct fake fake;
    struct rig r;

    rig_init(&r);
    rig_close(&r);
    t_loop_run_ms(&r.loop, 20);
    fake_start(&r, &fake, NULL, 0);
    rig_open(&r, "21000-21999");
    struct attempt *a = runner_find(r.runner, ref(0, 1));
    t_loop_run_ms(&r.loop, 1500);
    ck_assert_int_ge(fake.heard->connections, 2);
    ck_assert_int_le(fake.heard->connections, 6);
    ck_assert_uint_ge(a->reach_failures, 2);
    kill(fake.pid, SIGKILL);
    waitpid(fake.pid, NULL, 0);
    kill(fake.task, SIGKILL);
    T_RUN(&r.loop, a->phase == ATTEMPT_ENDED);
    ck_assert_int_eq(a->report.kind, REPORT_LOST);
    rig_release(&r);
}
END_TEST

START_TEST(a_shim_that_is_stopped_does_not_keep_its_task)
{
    struct rig r;

    rig_init(&r);
    struct attempt *a = rig_start(&r, ref(0, 1), "setsid sleep 1000 & exec sleep 1000");
    T_RUN(&r.loop, a->phase == ATTEMPT_RUNNING);
    int32_t pid = a->report.pid;
    kill(a->shim_pid, SIGSTOP);
    runner_stop(r.runner, a, 0);
    a->stop_at_ms = 1; /* long ago, and the question after that as well */
    a->probe_ms = 1;
    T_RUN(&r.loop, a->phase == ATTEMPT_ENDED);
    ck_assert_int_eq(a->report.kind, REPORT_LOST);
    T_CONTAINS(a->report.detail, "its shim did not answer");
    T_RUN(&r.loop, kill(pid, 0) < 0 && kill(a->shim_pid, 0) < 0);
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
    T_RUN(&r.loop, a->phase == ATTEMPT_ENDED);
    ck_assert_int_eq(a->report.kind, REPORT_LOST);
    ck_assert_int_eq(access(t_path(r.dir, "tasks/what-is-this"), F_OK), 0);
    rig_release(&r);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("borglet_runner");
    TCase *life = tcase_create("life"), *edges = tcase_create("edges"),
          *tamper = tcase_create("tamper");

    tcase_set_timeout(life, 60);
    tcase_set_timeout(edges, 60);
    tcase_set_timeout(tamper, 60);
    tcase_add_test(life, a_task_runs_with_its_ports_and_its_end_is_reported);
    tcase_add_test(life, a_new_runner_adopts_the_same_process);
    tcase_add_loop_test(life, an_end_while_no_runner_was_there_is_found, 0, 2);
    tcase_add_loop_test(life, a_killed_shim_takes_its_task_along, 0, 2);
    tcase_add_test(life, logs_survive_forgetting_within_bounds);
    tcase_add_test(life, old_logs_are_bounded_in_number);
    tcase_add_test(life, old_logs_are_bounded_in_bytes_and_newest_attempts_stay_longest);
    tcase_add_loop_test(life, whatever_a_task_leaves_is_cleared_and_nothing_else, 0,
                        ARRAY_SIZE(remains));
    tcase_add_loop_test(life, what_a_task_has_mounted_is_unmounted_and_not_emptied, 0,
                        ARRAY_SIZE(mounts));
    tcase_add_test(life, a_mount_that_cannot_be_unmounted_is_left_with_all_that_is_in_it);
    tcase_add_test(edges, what_cannot_be_executed_is_a_start_error);
    tcase_add_test(edges, a_stop_whose_connection_broke_is_asked_for_again);
    tcase_add_test(edges, a_missing_shim_is_a_start_error);
    tcase_add_test(edges, a_port_somebody_listens_on_is_not_given_out);
    tcase_add_loop_test(edges, a_port_that_anybody_has_is_not_given_out, 0, ARRAY_SIZE(holders));
    tcase_add_loop_test(tamper, nothing_that_a_task_leaves_for_its_borglet_stops_an_adoption, 0,
                        ARRAY_SIZE(replaced) * ARRAY_SIZE(replacements));
    tcase_add_test(tamper, what_is_replaced_under_a_running_attempt_changes_nothing);
    tcase_add_test(tamper, a_socket_that_somebody_else_listens_at_is_no_shim);
    tcase_add_test(tamper, a_shim_of_another_version_is_left_running_and_can_be_stopped);
    tcase_add_test(tamper, a_shim_of_the_version_before_is_understood);
    tcase_add_test(tamper, a_shim_that_hangs_up_is_tried_again_ever_more_rarely);
    tcase_add_test(tamper, a_shim_that_is_stopped_does_not_keep_its_task);
    tcase_add_test(edges, rubbish_in_the_directory_is_left_alone);
    suite_add_tcase(suite, life);
    suite_add_tcase(suite, edges);
    suite_add_tcase(suite, tamper);
    return t_main(suite);
}
