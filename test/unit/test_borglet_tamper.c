/*
 * test_borglet_tamper.c - tasks that put other things in the place of their files, and shims that
 * do not answer.
 */
#include "runner_rig.h"
#include "lost.h"
#include "processes.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

/* Everything a task can put in the place of a file, by a shell in that directory. */
static const char *const replacements[] = {
    "mkfifo it",
    "ln -s /etc/passwd it",
    "ln -s it it",
    "mkdir it",
    "if [ $(id -u) = 0 ]; then mkfifo it; else touch it; chmod 0 it; fi",
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

static void message_as_state(const void *message, size_t size, int fd)
{
    struct shim_message state = {0};

    memcpy(&state, message, size);
    state.kind = SHIM_STATE;
    (void)!send(fd, &state, size, MSG_NOSIGNAL);
}

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
            if (request.kind == SHIM_SUBSCRIBE) /* of a version without hello */
                message_as_state(message, size, fd);
            else
                (void)!send(fd, message, size, MSG_NOSIGNAL);
        }
        close(fd);
    }
}

static void fake_start(const struct rig *r, struct fake *fake, const void *message, size_t size)
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

/* What cannot be spoken to answers so. */
static const struct {
    uint32_t message[80];
    size_t size;
    const char *why;
} unusable[] = {
    {{999, SHIM_STATE}, 320, "its shim speaks versions 999 to 999, this borglet 2 to 4"},
    {{2, SHIM_HELLO_ANSWER, 6, 8}, 16, "its shim speaks versions 6 to 8, this borglet 2 to 4"},
    {{2, SHIM_HELLO_ANSWER, 9, 3}, 16, "a hello with the range of versions 9 to 3"},
    {{2, SHIM_HELLO_ANSWER, 0, 3}, 16, "a hello with the range of versions 0 to 3"},
    {{2, SHIM_HELLO_ANSWER, 2}, 12, "a truncated hello of 12 bytes"},
    {{2}, 7, "a truncated message of 7 bytes"},
    {{4, SHIM_STATE, 0x77777777}, 240, "a message that makes no sense"},
    {{4, SHIM_STATE}, 100, "a message that makes no sense"},
    {{4, 77}, 240, "a message that makes no sense"},
};

START_TEST(a_shim_that_cannot_be_spoken_to_is_left_running_and_can_be_stopped)
{
    struct fake fake;
    struct rig r;

    rig_init(&r);
    rig_close(&r);
    t_loop_run_ms(&r.loop, 20);
    fake_start(&r, &fake, unusable[_i].message, unusable[_i].size);
    rig_open(&r, "21000-21999");
    struct attempt *a = runner_find(r.runner, ref(0, 1));
    T_RUN(&r.loop, a->phase == ATTEMPT_RUNNING);
    T_CONTAINS(a->report.detail, unusable[_i].why);
    ck_assert(a->by_pid);
    int changes = r.changes;
    t_loop_run_ms(&r.loop, 1500);
    /* Asked again after 0.1, 0.3, 0.7 and 1.5 s. */
    ck_assert_int_ge(fake.heard->connections, 2);
    ck_assert_int_le(fake.heard->connections, 5);
    ck_assert_int_eq(r.changes, changes);
    ck_assert_int_eq(kill(fake.task, 0), 0);
    runner_stop(r.runner, a, 60000); /* it does not catch SIGTERM: no need to wait for SIGKILL */
    T_RUN(&r.loop, a->phase == ATTEMPT_ENDED);
    ck_assert_int_eq(a->report.kind, REPORT_LOST);
    T_CONTAINS(a->report.detail, "its end is unknown: ");
    T_CONTAINS(a->report.detail, unusable[_i].why);
    ck_assert_int_eq(waitpid(fake.pid, NULL, 0), fake.pid);
    T_RUN(&r.loop, kill(fake.task, 0) < 0);
    rig_release(&r);
}
END_TEST

/* It refuses the hello, as every request that it does not know, and then answers the same. */
START_TEST(a_shim_of_a_version_without_hello_is_understood)
{
    uint32_t version = (uint32_t)_i;
    struct shim_message message = {.version = version, .kind = SHIM_REFUSED};
    size_t size = offsetof(struct shim_message, state) + shim_state_bytes(version);
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
    ck_assert(!a->by_pid);
    ck_assert_uint_eq(a->shim_version, version);
    ck_assert_uint_eq(fake.heard->last_version, 2);
    ck_assert_int_eq(fake.heard->requests, 2);
    kill(fake.pid, SIGKILL);
    waitpid(fake.pid, NULL, 0);
    a->state.task_pid = 0; /* 77 is nobody of ours */
    T_RUN(&r.loop, a->phase == ATTEMPT_ENDED);
    kill(fake.task, SIGKILL);
    rig_release(&r);
}
END_TEST

/* Record that the fake's task has that pid and start time. */
static void fake_record(const struct rig *r, const struct fake *fake, pid_t pid, uint64_t starttime)
{
    char file[SHIM_RECORD_BYTES] = "";
    struct process shim = {0};
    struct shim_record record = {.magic = SHIM_RECORD_MAGIC, .version = SHIM_VERSION_MAX, .seq = 1};

    ck_assert(process_read(fake->pid, &shim));
    record.state.bytes = sizeof(record.state);
    record.state.version_min = record.state.version_max = SHIM_VERSION_MAX;
    record.state.phase = SHIM_RUNNING;
    record.state.shim_pid = fake->pid;
    record.state.shim_starttime = shim.starttime;
    record.state.task_pid = pid;
    record.state.starttime = starttime;
    boot_id_read(record.state.boot_id, sizeof(record.state.boot_id));
    record.crc = shim_crc(0, &record, offsetof(struct shim_record, crc));
    memcpy(file, &record, sizeof(record));
    int fd = open(t_path(r->dir, "tasks/web.0.1.1/record"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_eq(write(fd, file, sizeof(file)), sizeof(file));
    close(fd);
}

START_TEST(a_number_that_another_process_has_now_is_not_watched_or_signalled)
{
    struct process process;
    struct fake fake;
    struct rig r;

    rig_init(&r);
    rig_close(&r);
    t_loop_run_ms(&r.loop, 20);
    fake_start(&r, &fake, unusable[1].message, unusable[1].size);
    pid_t other = fork();
    if (other == 0) {
        for (;;)
            pause();
    }
    ck_assert(process_read(other, &process));
    fake_record(&r, &fake, other, process.starttime - 1);
    rig_open(&r, "21000-21999");
    struct attempt *a = runner_find(r.runner, ref(0, 1));
    T_RUN(&r.loop, a->phase == ATTEMPT_ENDED);
    ck_assert_int_eq(a->report.kind, REPORT_LOST);
    ck_assert_int_eq(waitpid(other, NULL, WNOHANG), 0);
    T_RUN(&r.loop, kill(fake.task, 0) < 0);
    kill(other, SIGKILL);
    waitpid(other, NULL, 0);
    waitpid(fake.pid, NULL, 0);
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
    T_CONTAINS(a->report.detail, "its shim did not carry out a stop");
    T_RUN(&r.loop, kill(pid, 0) < 0 && kill(a->shim_pid, 0) < 0);
    rig_release(&r);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("borglet_tamper");
    TCase *tamper = tcase_create("tamper");

    tcase_set_timeout(tamper, 60);
    tcase_add_loop_test(tamper, nothing_that_a_task_leaves_for_its_borglet_stops_an_adoption, 0,
                        ARRAY_SIZE(replaced) * ARRAY_SIZE(replacements));
    tcase_add_test(tamper, what_is_replaced_under_a_running_attempt_changes_nothing);
    tcase_add_test(tamper, a_socket_that_somebody_else_listens_at_is_no_shim);
    tcase_add_loop_test(tamper, a_shim_that_cannot_be_spoken_to_is_left_running_and_can_be_stopped,
                        0, ARRAY_SIZE(unusable));
    tcase_add_loop_test(tamper, a_shim_of_a_version_without_hello_is_understood, 2, 4);
    tcase_add_test(tamper, a_number_that_another_process_has_now_is_not_watched_or_signalled);
    tcase_add_test(tamper, a_shim_that_hangs_up_is_tried_again_ever_more_rarely);
    tcase_add_test(tamper, a_shim_that_is_stopped_does_not_keep_its_task);
    suite_add_tcase(suite, tamper);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
