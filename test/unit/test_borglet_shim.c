/*
 * test_borglet_shim.c - the real borg-shim: what a task's end, output and death of the shim leave.
 */
#include "shim_client.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WAIT_MS = 20000, PATH_BYTES = 4096 };

struct rig {
    char dir[64];
    char shim[PATH_BYTES];
    int dir_fd;
    int fd;
    pid_t shim_pid;
    struct shim_spec spec;
    struct shim_message last;
};

static void rig_init(struct rig *r)
{
    char self[PATH_BYTES];

    memset(r, 0, sizeof(*r));
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    ck_assert_int_gt(n, 0);
    self[n] = '\0';
    /* build/test/unit/test_x -> build/borg-shim */
    snprintf(r->shim, sizeof(r->shim), "%.3000s/../../borg-shim", dirname(self));
    snprintf(r->dir, sizeof(r->dir), "/tmp/borg-shim-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(r->dir));
    r->dir_fd = open(r->dir, O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_eq(mkdirat(r->dir_fd, "work", 0755), 0);
    r->spec = (struct shim_spec){.task = 1,
                                 .attempt = 1,
                                 .log_segment_bytes = SHIM_LOG_SEGMENT_BYTES,
                                 .log_segments = SHIM_LOG_SEGMENTS,
                                 .job = "test"};
    r->fd = -1;
}

static void rig_release(struct rig *r)
{
    char command[PATH_BYTES];

    if (r->fd >= 0) {
        (void)!shim_send(r->fd, SHIM_ACK_EXIT, 0, NULL);
        close(r->fd);
    }
    if (r->shim_pid > 0) {
        if (r->last.state.phase != SHIM_ENDED)
            kill(r->shim_pid, SIGKILL);
        waitpid(r->shim_pid, NULL, 0);
    }
    close(r->dir_fd);
    snprintf(command, sizeof(command), "rm -rf %s", r->dir);
    ck_assert_int_eq(system(command), 0);
}

static void rig_start(struct rig *r, const char *const *argv)
{
    struct words words = {0}, env = {0};
    struct err err;

    for (size_t i = 0; argv[i] != NULL; i++)
        words_add(&words, argv[i]);
    words_add(&env, "PATH=/usr/bin:/bin");
    words_add(&env, "COLOUR=green");
    ck_assert_msg(shim_spec_write(r->dir_fd, &r->spec, &words, &env, &err) == 0, "%s", err.msg);
    ck_assert_msg(shim_spawn(r->shim, r->dir, &r->fd, &r->shim_pid, &err) == 0, "%s", err.msg);
    words_release(&words);
    words_release(&env);
}

static void rig_shell(struct rig *r, const char *script)
{
    rig_start(r, (const char *const[]){"sh", "-c", script, NULL});
}

/* Receive the next message of any kind, or fail. Returns shim_receive()'s result, never 0. */
static int rig_receive(struct rig *r)
{
    struct err err;
    int rc = 0;

    while (rc == 0) {
        struct pollfd p = {.fd = r->fd, .events = POLLIN};
        ck_assert_msg(poll(&p, 1, WAIT_MS) == 1, "the shim said nothing in %d ms", WAIT_MS);
        rc = shim_receive(r->fd, &r->last, &err);
    }
    return rc;
}

/* Skip the answer to the hello and the state that follows it. */
static void rig_greeted(struct rig *r)
{
    ck_assert_int_eq(rig_receive(r), 1);
    ck_assert_uint_eq(r->last.kind, SHIM_HELLO_ANSWER);
    ck_assert_uint_eq(r->last.version, SHIM_VERSION_MAX);
    ck_assert_int_eq(rig_receive(r), 1);
    ck_assert_uint_eq(r->last.kind, SHIM_STATE);
}

static int rig_next(struct rig *r)
{
    int rc = rig_receive(r);

    if (rc == 1 && r->last.kind == SHIM_HELLO_ANSWER)
        rc = rig_receive(r);
    return rc;
}

static void rig_started(struct rig *r)
{
    rig_greeted(r);
    ck_assert_int_eq(r->last.state.phase, SHIM_STARTING);
    ck_assert_int_eq(rig_next(r), 1);
    ck_assert_uint_eq(r->last.kind, SHIM_STARTED);
    ck_assert_int_gt(r->last.state.task_pid, 0);
}

static void rig_ended(struct rig *r)
{
    while (r->last.kind != SHIM_EXIT)
        ck_assert_int_eq(rig_next(r), 1);
    ck_assert_int_eq(r->last.state.phase, SHIM_ENDED);
}

static void rig_acknowledge(struct rig *r)
{
    int status;

    ck_assert_int_eq(shim_send(r->fd, SHIM_ACK_EXIT, 0, NULL), 0);
    ck_assert_int_eq(waitpid(r->shim_pid, &status, 0), r->shim_pid);
    ck_assert_int_eq(status, 0);
    r->shim_pid = 0;
}

static size_t file_read(struct rig *r, const char *name, char *text, size_t size)
{
    int fd = openat(r->dir_fd, name, O_RDONLY);

    if (fd < 0)
        return 0;
    ssize_t n = read(fd, text, size - 1);
    close(fd);
    ck_assert_int_ge(n, 0);
    text[n] = '\0';
    return (size_t)n;
}

/* Wait until the output of the task says it got so far. */
static void output_wait(struct rig *r, const char *want)
{
    char text[4096] = "";

    for (int i = 0; i < WAIT_MS / 5; i++) {
        if (file_read(r, "out.0", text, sizeof(text)) > 0 && strstr(text, want) != NULL)
            return;
        poll(NULL, 0, 5);
    }
    ck_abort_msg("\"%s\" never came, only \"%s\"", want, text);
}

static void gone_wait(pid_t pid)
{
    for (int i = 0; i < WAIT_MS / 5; i++) {
        if (kill(pid, 0) < 0 && errno == ESRCH)
            return;
        poll(NULL, 0, 5);
    }
    ck_abort_msg("process %d lives on", pid);
}

static int end_code(const struct shim_state *s)
{
    struct report report;

    shim_end_report(s, "", &report);
    return report.exit_code;
}

START_TEST(the_end_of_a_task_is_told_and_recorded)
{
    static const struct {
        const char *script;
        int code;
    } cases[] = {{"exit 0", 0},         {"exit 3", 3},          {"exit 127", 127},
                 {"kill -9 $$", -9},    {"kill -TERM $$", -15}, {"kill -SEGV $$", -11},
                 {"no-such-thing", 127}};
    struct shim_state recorded;
    struct rig r;

    rig_init(&r);
    rig_shell(&r, cases[_i].script);
    rig_started(&r);
    rig_ended(&r);
    ck_assert_int_eq(end_code(&r.last.state), cases[_i].code);
    ck_assert_int_eq(shim_record_read(r.dir_fd, &recorded, NULL), 0);
    ck_assert_int_eq(recorded.phase, SHIM_ENDED);
    ck_assert_int_eq(end_code(&recorded), cases[_i].code);
    ck_assert_int_eq(r.last.state.recorded, 1);
    struct report report;
    shim_end_report(&recorded, "sh", &report);
    ck_assert(!report.told_to_stop);
    rig_acknowledge(&r);
    rig_release(&r);
}
END_TEST

START_TEST(two_hundred_short_tasks_lose_no_code_and_no_output)
{
    for (int i = 0; i < 200; i++) {
        char script[64], want[64], got[64] = "";
        struct rig r;
        rig_init(&r);
        snprintf(script, sizeof(script), "echo line %d; exit %d", i, i % 100);
        snprintf(want, sizeof(want), "line %d\n", i);
        rig_shell(&r, script);
        rig_started(&r);
        rig_ended(&r);
        ck_assert_int_eq(end_code(&r.last.state), i % 100);
        file_read(&r, "out.0", got, sizeof(got));
        ck_assert_str_eq(got, want);
        rig_acknowledge(&r);
        rig_release(&r);
    }
}
END_TEST

START_TEST(both_streams_the_environment_and_the_directory_are_the_tasks_own)
{
    char out[256] = "", err[256] = "", want[256];
    struct rig r;

    rig_init(&r);
    rig_shell(&r, "pwd; echo $COLOUR; echo wrong >&2; cat; env | wc -l; echo /proc/self/fd/*");
    rig_ended(&r);
    file_read(&r, "out.0", out, sizeof(out));
    file_read(&r, "err.0", err, sizeof(err));
    /* PATH, COLOUR and the shell's own PWD; 3 is the shell's, to read the directory: nothing of
     * ours leaks in. */
    snprintf(want, sizeof(want), "%s/work\ngreen\n3\n%s\n", r.dir,
             "/proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 /proc/self/fd/3");
    ck_assert_str_eq(out, want);
    ck_assert_str_eq(err, "wrong\n");
    rig_release(&r);
}
END_TEST

START_TEST(a_command_that_is_not_there_is_a_start_error)
{
    struct report report;
    struct rig r;

    rig_init(&r);
    rig_start(&r, (const char *const[]){"no-such-command", "x", NULL});
    rig_ended(&r);
    ck_assert_int_eq(r.last.state.end, SHIM_END_START_ERROR);
    shim_end_report(&r.last.state, "no-such-command", &report);
    ck_assert_int_eq(report.kind, REPORT_START_ERROR);
    ck_assert_str_eq(report.detail,
                     "cannot execute \"no-such-command\": No such file or directory");
    ck_assert_int_eq(report.fault, FAULT_TASK);
    /* The same stage, for want of memory: another machine may have it. */
    r.last.state.error = ENOMEM;
    shim_end_report(&r.last.state, "no-such-command", &report);
    ck_assert_int_eq(report.fault, FAULT_MACHINE);
    rig_release(&r);
}
END_TEST

static void work_file(struct rig *r, const char *name, const char *bytes, size_t size, mode_t mode)
{
    char path[128];

    snprintf(path, sizeof(path), "work/%s", name);
    int fd = openat(r->dir_fd, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_eq(write(fd, bytes, size), (ssize_t)size);
    ck_assert_int_eq(fchmod(fd, mode), 0);
    close(fd);
}

/* The first bytes of an ELF file for another processor. */
static const char elf_of_others[64] = {0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0,
                                       0,    0,   0,   0,   0, 0, 2, 0, 0, 99};

START_TEST(what_is_wrong_with_a_file_is_told)
{
    static const struct {
        const char *bytes;
        size_t size; /* 0: of the text */
        mode_t mode;
        const char *command, *want;
    } cases[] = {
        {"", 0, 0755, "./it", "cannot execute \"./it\": Exec format error: the file is empty"},
        {"echo hi\n", 0, 0755, "./it",
         "cannot execute \"./it\": Exec format error: a script must begin with #!, like #!/bin/sh"},
        {"\0\1\2\3", 4, 0755, "./it",
         "cannot execute \"./it\": Exec format error: it is neither a program nor a script with "
         "#!"},
        {elf_of_others, sizeof(elf_of_others), 0755, "./it",
         "cannot execute \"./it\": Exec format error: a damaged program, or one for another "
         "processor"},
        {"#!/bin/sh\r\necho hi\r\n", 0, 0755, "./it",
         "cannot execute \"./it\": lines end in CRLF, not LF: no interpreter \"/bin/sh\\r\""},
        {"#! /no/such/sh -e\n", 0, 0755, "./it",
         "cannot execute \"./it\": its interpreter \"/no/such/sh\" is not there"},
        {"#!/no/\033[31msh\n", 0, 0755, "./it",
         "cannot execute \"./it\": its interpreter \"/no/?[31msh\" is not there"},
        {"#!/etc/passwd\n", 0, 0755, "./it",
         "cannot execute \"./it\": its interpreter \"/etc/passwd\": Permission denied"},
        {"#!/bin/sh\n", 0, 0644, "./it", "cannot execute \"./it\": Permission denied"},
        {"", 0, 0755, "./it/x", "cannot execute \"./it/x\": Not a directory"},
    };
    struct report report;
    struct rig r;

    rig_init(&r);
    size_t size = cases[_i].size != 0 ? cases[_i].size : strlen(cases[_i].bytes);
    work_file(&r, "it", cases[_i].bytes, size, cases[_i].mode);
    rig_start(&r, (const char *const[]){cases[_i].command, NULL});
    rig_ended(&r);
    ck_assert_int_eq(r.last.state.end, SHIM_END_START_ERROR);
    shim_end_report(&r.last.state, cases[_i].command, &report);
    ck_assert_int_eq(report.fault, FAULT_TASK);
    ck_assert_str_eq(report.detail, cases[_i].want);
    rig_release(&r);
}
END_TEST

START_TEST(a_missing_loader_of_a_program_is_named)
{
    static char program[65536];
    static const char loader[] = "/lib64/ld-linux-x86-64.so.2";
    struct report report;
    struct rig r;

    /* A program of this machine whose loader has another name. */
    rig_init(&r);
    int fd = open("/bin/true", O_RDONLY | O_CLOEXEC);
    ssize_t size = read(fd, program, sizeof(program));
    close(fd);
    char *at = size <= 0 ? NULL : memmem(program, (size_t)size, loader, sizeof(loader));
    if (at != NULL) {
        memcpy(at, "/lib64/xx", 9);
        work_file(&r, "it", program, (size_t)size, 0755);
        rig_start(&r, (const char *const[]){"./it", NULL});
        rig_ended(&r);
        shim_end_report(&r.last.state, "./it", &report);
        ck_assert_str_eq(report.detail, "cannot execute \"./it\": its interpreter "
                                        "\"/lib64/xx-linux-x86-64.so.2\" is not there");
    }
    rig_release(&r);
}
END_TEST

START_TEST(the_path_of_the_task_is_searched)
{
    char out[16] = "";
    struct rig r;

    /* PATH is /usr/bin:/bin, and the directory it starts in is not in it. */
    rig_init(&r);
    work_file(&r, "it", "#!/bin/sh\necho run\n", 19, 0755);
    rig_start(&r, (const char *const[]){"it", NULL});
    rig_ended(&r);
    ck_assert_int_eq(r.last.state.error, ENOENT);
    rig_release(&r);
    rig_init(&r);
    work_file(&r, "it", "#!/bin/sh\necho run\n", 19, 0755);
    rig_start(&r, (const char *const[]){"env", "./it", NULL});
    rig_ended(&r);
    file_read(&r, "out.0", out, sizeof(out));
    ck_assert_str_eq(out, "run\n");
    rig_release(&r);
}
END_TEST

START_TEST(the_end_of_a_long_path_and_the_reason_are_shown)
{
    struct shim_state state = {.phase = SHIM_ENDED,
                               .end = SHIM_END_START_ERROR,
                               .stage = SHIM_STAGE_EXEC,
                               .error = ENOEXEC,
                               .detail = "Exec format error: the file is empty"};
    struct report report;

    shim_end_report(&state, "/srv/a-rather-long-directory/with/others/below/it/run.sh", &report);
    ck_assert_str_eq(report.detail, "cannot execute \"...tory/with/others/below/it/run.sh\": Exec "
                                    "format error: the file is empty");
}
END_TEST

START_TEST(a_damaged_spec_is_a_start_error)
{
    struct rig r;
    int fd;

    rig_init(&r);
    fd = openat(r.dir_fd, "spec", O_WRONLY | O_CREAT, 0600);
    ck_assert_int_eq(write(fd, "rubbish", 7), 7);
    close(fd);
    ck_assert_int_eq(shim_spawn(r.shim, r.dir, &r.fd, &r.shim_pid, NULL), 0);
    rig_ended(&r);
    ck_assert_int_eq(r.last.state.end, SHIM_END_START_ERROR);
    ck_assert_int_eq(r.last.state.stage, SHIM_STAGE_SPEC);
    rig_release(&r);
}
END_TEST

START_TEST(stop_lets_a_task_end_by_itself)
{
    char out[64] = "";
    struct rig r;

    rig_init(&r);
    rig_shell(&r, "trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 1000 & wait; done");
    rig_started(&r);
    output_wait(&r, "ready");
    ck_assert_int_eq(shim_send(r.fd, SHIM_STOP, 60000, NULL), 0);
    rig_ended(&r);
    ck_assert_int_eq(end_code(&r.last.state), 5);
    ck_assert_int_eq(r.last.state.stopping, 1);
    struct report report;
    shim_end_report(&r.last.state, "sh", &report);
    ck_assert(report.told_to_stop);
    file_read(&r, "out.0", out, sizeof(out));
    ck_assert_str_eq(out, "ready\nbye\n");
    rig_release(&r);
}
END_TEST

START_TEST(stop_kills_a_task_that_ignores_it)
{
    struct rig r;

    rig_init(&r);
    rig_shell(&r, "trap '' TERM; echo ready; while :; do sleep 1000; done");
    rig_started(&r);
    output_wait(&r, "ready");
    ck_assert_int_eq(shim_send(r.fd, SHIM_STOP, 100, NULL), 0);
    rig_ended(&r);
    ck_assert_int_eq(end_code(&r.last.state), -9);
    rig_release(&r);
}
END_TEST

START_TEST(the_stop_ladder_goes_on_without_the_borglet)
{
    pid_t peer;
    struct shim_state recorded = {0};
    struct rig r;

    rig_init(&r);
    rig_shell(&r, "trap '' TERM; echo ready; while :; do sleep 1000; done");
    rig_started(&r);
    output_wait(&r, "ready");
    ck_assert_int_eq(shim_send(r.fd, SHIM_STOP, 100, NULL), 0);
    close(r.fd);
    gone_wait(r.last.state.task_pid);
    for (int i = 0; i < WAIT_MS / 5 && recorded.phase != SHIM_ENDED; i++) {
        ck_assert_int_eq(shim_record_read(r.dir_fd, &recorded, NULL), 0);
        poll(NULL, 0, 5);
    }
    ck_assert_int_eq(end_code(&recorded), -9);
    /* It waits to be asked. */
    ck_assert_int_eq(shim_connect(r.dir_fd, &r.fd, &peer, NULL), 0);
    ck_assert_int_eq(shim_hello(r.fd, NULL), 0);
    ck_assert_int_eq(rig_next(&r), 1);
    ck_assert_int_eq(r.last.state.phase, SHIM_ENDED);
    rig_acknowledge(&r);
    rig_release(&r);
}
END_TEST

START_TEST(what_the_task_leaves_behind_is_killed)
{
    char out[64] = "";
    struct rig r;

    rig_init(&r);
    /* One in the background, one in a session of its own, one that has lost its parent. */
    rig_shell(&r, "sleep 1000 & echo $!; setsid sleep 1000 & echo $!;"
                  "(setsid sh -c 'echo $$; touch up; exec sleep 1000' &);"
                  "while [ ! -e up ]; do sleep 0.01; done; exit 4");
    rig_started(&r);
    rig_ended(&r);
    ck_assert_int_eq(end_code(&r.last.state), 4);
    file_read(&r, "out.0", out, sizeof(out));
    int pids[3] = {0};
    ck_assert_int_eq(sscanf(out, "%d %d %d", &pids[0], &pids[1], &pids[2]), 3);
    for (int i = 0; i < 3; i++)
        ck_assert_msg(kill(pids[i], 0) < 0 && errno == ESRCH, "process %d lives on", pids[i]);
    rig_release(&r);
}
END_TEST

START_TEST(what_forks_and_exits_for_ever_is_caught)
{
    struct stat before, after;
    struct rig r;

    rig_init(&r);
    rig_shell(&r, "echo 'echo >> generations; sh hydra & exit' > hydra; setsid sh hydra &"
                  "while [ ! -e generations ]; do sleep 0.01; done; exit 4");
    rig_started(&r);
    rig_ended(&r);
    ck_assert_int_eq(end_code(&r.last.state), 4);
    ck_assert_int_eq(fstatat(r.dir_fd, "work/generations", &before, 0), 0);
    poll(NULL, 0, 50);
    ck_assert_int_eq(fstatat(r.dir_fd, "work/generations", &after, 0), 0);
    ck_assert_int_eq(before.st_size, after.st_size);
    rig_release(&r);
}
END_TEST

START_TEST(dev_stdout_can_be_opened_whoever_the_task_has_become)
{
    char out[64] = "", err[64] = "";
    struct rig r;

    rig_init(&r);
    if (geteuid() == 0) /* the directory is made by mkdtemp(), for nobody else */
        rig_shell(&r, "exec setpriv --reuid=65534 --clear-groups sh -c "
                      "'echo hi > /dev/stdout; echo ho > /dev/stderr'");
    else
        rig_shell(&r, "[ $(stat -L -c %a /proc/$$/fd/1) = 666 ] && echo hi > /dev/stdout;"
                      "echo ho > /dev/stderr");
    rig_ended(&r);
    file_read(&r, "out.0", out, sizeof(out));
    file_read(&r, "err.0", err, sizeof(err));
    ck_assert_str_eq(out, "hi\n");
    ck_assert_str_eq(err, "ho\n");
    rig_release(&r);
}
END_TEST

START_TEST(what_the_shim_writes_is_private_and_what_the_task_writes_is_not)
{
    static const char *const names[] = {"spec", "record", "out.0", "ctl.sock"};
    char out[16] = "";
    struct stat st;
    struct rig r;

    rig_init(&r);
    mode_t mask = umask(077); /* as the borglet */
    rig_shell(&r, "umask; touch made; exec sleep 1000");
    umask(mask);
    rig_started(&r);
    output_wait(&r, "\n");
    file_read(&r, "out.0", out, sizeof(out));
    ck_assert_str_eq(out, "0022\n");
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        ck_assert_int_eq(fstatat(r.dir_fd, names[i], &st, 0), 0);
        ck_assert_msg((st.st_mode & 077) == 0, "%s has mode %o", names[i], st.st_mode & 0777);
    }
    rig_release(&r);
}
END_TEST

/* What a task may put in the place of its next segment; the last cannot be removed. */
static const char *const in_the_way[] = {"mkfifo ../out.1", "ln -s /etc/passwd ../out.1",
                                         "echo x > ../out.1", "mkdir ../out.1"};

START_TEST(nothing_in_the_place_of_a_segment_is_followed_or_waited_for)
{
    enum { SEGMENT = 4096 };
    bool lost = _i == 3;
    char script[256], text[2 * SEGMENT] = "";
    struct rig r;

    rig_init(&r);
    r.spec.log_segment_bytes = SEGMENT;
    snprintf(script, sizeof(script), "%s; head -c 4096 /dev/zero | tr '\\0' a; echo after; exit 4",
             in_the_way[_i]);
    rig_shell(&r, script);
    rig_ended(&r);
    ck_assert_int_eq(end_code(&r.last.state), 4);
    if (!lost)
        ck_assert_uint_eq(file_read(&r, "out.1", text, sizeof(text)), 6);
    ck_assert_uint_eq(r.last.state.dropped_bytes[0], lost ? 6 : 0);
    if (!lost)
        ck_assert_str_eq(text, "after\n");
    rig_release(&r);
}
END_TEST

START_TEST(logs_rotate_and_keep_the_newest)
{
    char text[8192];
    struct stat st;
    struct rig r;

    rig_init(&r);
    r.spec.log_segment_bytes = 4096;
    r.spec.log_segments = 3;
    rig_shell(&r, "seq -f %09.0f 1 5000");
    rig_ended(&r);
    /* 50000 bytes: segments 0 to 12, of which 10, 11 and 12 are left. */
    ck_assert_int_lt(fstatat(r.dir_fd, "out.9", &st, 0), 0);
    for (int i = 10; i <= 11; i++) {
        snprintf(text, sizeof(text), "out.%d", i);
        ck_assert_int_eq(fstatat(r.dir_fd, text, &st, 0), 0);
        ck_assert_int_eq(st.st_size, 4096);
    }
    ck_assert_uint_eq(file_read(&r, "out.12", text, sizeof(text)), 50000 - 12 * 4096);
    ck_assert_str_eq(text + strlen(text) - 10, "000005000\n");
    ck_assert_int_lt(fstatat(r.dir_fd, "out.13", &st, 0), 0);
    rig_release(&r);
}
END_TEST

START_TEST(a_disk_without_room_costs_output_but_neither_task_nor_status)
{
    struct shim_state recorded;
    struct report report;
    struct rig r;

    /* Files end at 64 KiB for us and what we start: writing more fails like on a full disk. */
    struct rlimit small = {.rlim_cur = 65536, .rlim_max = 65536};
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    rig_init(&r);
    rig_shell(&r, "head -c 1000000 /dev/zero && exit 6");
    rig_ended(&r);
    ck_assert_int_eq(end_code(&r.last.state), 6);
    ck_assert_uint_eq(r.last.state.dropped_bytes[0], 1000000 - 65536);
    ck_assert_int_eq(shim_record_read(r.dir_fd, &recorded, NULL), 0);
    ck_assert_int_eq(recorded.code, 6);
    shim_end_report(&recorded, "", &report);
    ck_assert_str_eq(report.detail, "934464 bytes of its output were lost: the disk was full");
    rig_release(&r);
}
END_TEST

START_TEST(another_client_is_told_the_state_and_the_end)
{
    pid_t peer;
    struct rig r;
    int go;

    rig_init(&r);
    ck_assert_int_eq(mkfifoat(r.dir_fd, "work/go", 0600), 0);
    rig_shell(&r, "read x < go; exit 7");
    rig_started(&r);
    pid_t pid = r.last.state.task_pid;
    close(r.fd);
    ck_assert_int_eq(shim_connect(r.dir_fd, &r.fd, &peer, NULL), 0);
    ck_assert_int_eq(shim_hello(r.fd, NULL), 0);
    ck_assert_int_eq(rig_next(&r), 1);
    ck_assert_uint_eq(r.last.kind, SHIM_STATE);
    ck_assert_int_eq(r.last.state.phase, SHIM_RUNNING);
    ck_assert_int_eq(r.last.state.task_pid, pid);
    go = openat(r.dir_fd, "work/go", O_WRONLY);
    close(go);
    rig_ended(&r);
    ck_assert_int_eq(end_code(&r.last.state), 7);
    rig_release(&r);
}
END_TEST

START_TEST(an_early_acknowledgement_and_nonsense_are_refused)
{
    struct shim_request nonsense = {.version = SHIM_VERSION_FIRST, .kind = 77};
    struct rig r;

    rig_init(&r);
    /* Not a shell: that one catches SIGINT and may lose it while it forks. */
    rig_start(&r, (const char *const[]){"sleep", "1000", NULL});
    rig_started(&r);
    ck_assert_int_eq(shim_send(r.fd, SHIM_ACK_EXIT, 0, NULL), 0);
    ck_assert_int_eq(rig_next(&r), 1);
    ck_assert_uint_eq(r.last.kind, SHIM_REFUSED);
    ck_assert_int_eq(write(r.fd, &nonsense, sizeof(nonsense)), sizeof(nonsense));
    ck_assert_int_eq(rig_next(&r), 1);
    ck_assert_uint_eq(r.last.kind, SHIM_REFUSED);
    ck_assert_int_eq(write(r.fd, &nonsense, 3), 3);
    ck_assert_int_eq(rig_next(&r), 1);
    ck_assert_uint_eq(r.last.kind, SHIM_REFUSED);
    nonsense =
        (struct shim_request){.version = SHIM_VERSION_FIRST, .kind = SHIM_SIGNAL, .signal = SIGINT};
    ck_assert_int_eq(write(r.fd, &nonsense, sizeof(nonsense)), sizeof(nonsense));
    rig_ended(&r);
    ck_assert_int_eq(end_code(&r.last.state), -SIGINT);
    rig_release(&r);
}
END_TEST

START_TEST(a_task_outlives_its_shim_without_sigpipe)
{
    pid_t peer;
    struct shim_state recorded;
    struct rig r;

    rig_init(&r);
    rig_shell(&r, "echo ready; while [ ! -e go ]; do sleep 0.01; done;"
                  "echo one; echo two; echo done > result; exec sleep 1000");
    rig_started(&r);
    output_wait(&r, "ready");
    kill(r.shim_pid, SIGKILL);
    ck_assert_int_lt(rig_next(&r), 0);
    int go = openat(r.dir_fd, "work/go", O_WRONLY | O_CREAT, 0600);
    close(go);
    char text[16] = "";
    for (int i = 0; i < WAIT_MS / 5 && strcmp(text, "done\n") != 0; i++) {
        file_read(&r, "work/result", text, sizeof(text));
        poll(NULL, 0, 5);
    }
    ck_assert_str_eq(text, "done\n");
    /* The record says whom to kill. */
    ck_assert_int_eq(shim_record_read(r.dir_fd, &recorded, NULL), 0);
    ck_assert_int_eq(recorded.phase, SHIM_RUNNING);
    ck_assert_int_eq(recorded.task_pid, r.last.state.task_pid);
    kill(-recorded.task_pid, SIGKILL);
    ck_assert_int_eq(shim_connect(r.dir_fd, &go, &peer, NULL), -ERR_CLOSED);
    rig_release(&r);
}
END_TEST

/* Messages that are no hello of any release, and whether what follows is answered. */
static const struct {
    const char *what;
    uint32_t words[8];
    size_t size;
    uint32_t kind;    /* of the answer */
    uint32_t version; /* agreed on; 0: none */
} hellos[] = {
    {"a hello", {2, SHIM_HELLO, 1, 9}, 16, SHIM_HELLO_ANSWER, SHIM_VERSION_MAX},
    {"only the lowest version", {2, SHIM_HELLO, 2, 2}, 16, SHIM_HELLO_ANSWER, 2},
    {"fields appended", {2, SHIM_HELLO, 4, 9, 1, 2, 3}, 28, SHIM_HELLO_ANSWER, 4},
    {"newer versions only", {2, SHIM_HELLO, 7, 9}, 16, SHIM_HELLO_ANSWER, 0},
    {"older versions only", {2, SHIM_HELLO, 1, 1}, 16, SHIM_HELLO_ANSWER, 0},
    {"min above max", {2, SHIM_HELLO, 4, 3}, 16, SHIM_HELLO_ANSWER, 0},
    {"no versions", {2, SHIM_HELLO, 0, 0}, 16, SHIM_HELLO_ANSWER, 0},
    {"min is 0", {2, SHIM_HELLO, 0, 9}, 16, SHIM_HELLO_ANSWER, 0},
    {"truncated", {2, SHIM_HELLO, 2}, 12, SHIM_REFUSED, 3},
    {"one byte", {2}, 1, SHIM_REFUSED, 3},
    {"garbage", {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, 16, SHIM_REFUSED, 3},
};

START_TEST(a_shim_answers_every_hello_and_obeys_only_with_a_common_version)
{
    uint32_t bytes[512];
    struct shim_hello answer;
    pid_t peer;
    struct rig r;

    rig_init(&r);
    rig_start(&r, (const char *const[]){"sleep", "1000", NULL});
    rig_started(&r);
    int fd = r.fd;
    ck_assert_int_eq(shim_connect(r.dir_fd, &r.fd, &peer, NULL), 0);
    ck_assert_int_eq(write(r.fd, hellos[_i].words, hellos[_i].size), (ssize_t)hellos[_i].size);
    struct pollfd p = {.fd = r.fd, .events = POLLIN};
    ck_assert_int_eq(poll(&p, 1, WAIT_MS), 1);
    ck_assert_int_ge(read(r.fd, bytes, sizeof(bytes)), 16);
    memcpy(&answer, bytes, sizeof(answer));
    ck_assert_msg(answer.kind == hellos[_i].kind, "%s: %u", hellos[_i].what, answer.kind);
    if (answer.kind == SHIM_HELLO_ANSWER) {
        ck_assert_uint_eq(answer.version_min, SHIM_VERSION_MIN);
        ck_assert_uint_eq(answer.version_max, SHIM_VERSION_MAX);
    }
    if (answer.kind == SHIM_HELLO_ANSWER && hellos[_i].version != 0) {
        ck_assert_int_eq(rig_next(&r), 1);
        ck_assert_uint_eq(r.last.kind, SHIM_STATE);
        ck_assert_uint_eq(r.last.version, hellos[_i].version);
    }
    ck_assert_int_eq(shim_send(r.fd, SHIM_STATUS, 0, NULL), 0);
    ck_assert_int_eq(poll(&p, 1, WAIT_MS), 1);
    ck_assert_int_ge(read(r.fd, bytes, sizeof(bytes)), 16);
    ck_assert_uint_eq(bytes[1], hellos[_i].version != 0 ? SHIM_STATE : SHIM_REFUSED);
    if (hellos[_i].version != 0)
        ck_assert_uint_eq(bytes[0], hellos[_i].version);
    close(fd);
    rig_release(&r);
}
END_TEST

START_TEST(a_client_that_says_no_hello_is_of_version_3)
{
    char bytes[SHIM_MESSAGE_BYTES_MAX];
    struct shim_message message;
    pid_t peer;
    struct rig r;

    rig_init(&r);
    rig_start(&r, (const char *const[]){"sleep", "1000", NULL});
    rig_started(&r);
    close(r.fd);
    ck_assert_int_eq(shim_connect(r.dir_fd, &r.fd, &peer, NULL), 0);
    ck_assert_int_eq(shim_send(r.fd, SHIM_SUBSCRIBE, 0, NULL), 0);
    struct pollfd p = {.fd = r.fd, .events = POLLIN};
    ck_assert_int_eq(poll(&p, 1, WAIT_MS), 1);
    ssize_t n = read(r.fd, bytes, sizeof(bytes));
    ck_assert_uint_eq((size_t)n, offsetof(struct shim_message, state) + shim_state_bytes(3));
    memcpy(&message, bytes, (size_t)n);
    ck_assert_uint_eq(message.version, 3);
    ck_assert_uint_eq(message.kind, SHIM_STATE);
    ck_assert_int_eq(message.state.phase, SHIM_RUNNING);
    rig_release(&r);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("borglet_shim");
    TCase *ends = tcase_create("ends"), *output = tcase_create("output"),
          *ask = tcase_create("ask");

    tcase_set_timeout(ends, 60);
    tcase_set_timeout(output, 60);
    tcase_set_timeout(ask, 60);
    tcase_add_loop_test(ends, the_end_of_a_task_is_told_and_recorded, 0, 7);
    tcase_add_test(ends, two_hundred_short_tasks_lose_no_code_and_no_output);
    tcase_add_test(ends, a_command_that_is_not_there_is_a_start_error);
    tcase_add_loop_test(ends, what_is_wrong_with_a_file_is_told, 0, 10);
    tcase_add_test(ends, a_missing_loader_of_a_program_is_named);
    tcase_add_test(ends, the_path_of_the_task_is_searched);
    tcase_add_test(ends, the_end_of_a_long_path_and_the_reason_are_shown);
    tcase_add_test(ends, a_damaged_spec_is_a_start_error);
    tcase_add_test(ends, stop_lets_a_task_end_by_itself);
    tcase_add_test(ends, stop_kills_a_task_that_ignores_it);
    tcase_add_test(ends, the_stop_ladder_goes_on_without_the_borglet);
    tcase_add_test(ends, what_the_task_leaves_behind_is_killed);
    tcase_add_test(ends, what_forks_and_exits_for_ever_is_caught);
    tcase_add_test(output, both_streams_the_environment_and_the_directory_are_the_tasks_own);
    tcase_add_test(output, dev_stdout_can_be_opened_whoever_the_task_has_become);
    tcase_add_test(output, what_the_shim_writes_is_private_and_what_the_task_writes_is_not);
    tcase_add_loop_test(output, nothing_in_the_place_of_a_segment_is_followed_or_waited_for, 0,
                        ARRAY_SIZE(in_the_way));
    tcase_add_test(output, logs_rotate_and_keep_the_newest);
    tcase_add_test(output, a_disk_without_room_costs_output_but_neither_task_nor_status);
    tcase_add_test(ask, another_client_is_told_the_state_and_the_end);
    tcase_add_test(ask, an_early_acknowledgement_and_nonsense_are_refused);
    tcase_add_loop_test(ask, a_shim_answers_every_hello_and_obeys_only_with_a_common_version, 0,
                        ARRAY_SIZE(hellos));
    tcase_add_test(ask, a_client_that_says_no_hello_is_of_version_3);
    tcase_add_test(ask, a_task_outlives_its_shim_without_sigpipe);
    suite_add_tcase(suite, ends);
    suite_add_tcase(suite, output);
    suite_add_tcase(suite, ask);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
