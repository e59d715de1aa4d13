/*
 * test_borglet_versions.c - borglets and shims of different releases side by side: real shims,
 * built with other ranges of versions (Makefile, RELEASES).
 *
 * The program is built once per release of the borglet: as test_borglet_versions of this one, as
 * test_shim_next and test_shim_later of the others. Each runs against the shims of all releases.
 */
#include "runner_rig.h"
#include "processes.h"
#include "runner_impl.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

static const struct release {
    const char *dir; /* below build/ */
    const char *start;
    uint32_t version_min, version_max;
} releases[] = {
    {".", "test/e2e/shim_start", 2, 4},
    {"next", "next/shim_start", 2, 5},
    {"later", "later/shim_start", 6, 6},
};

static uint32_t common_version(const struct release *release)
{
    return shim_version_common(release->version_min, release->version_max);
}

/* The build directory ends before the name of the shim. */
static void release_path(const struct rig *r, const char *file, char to[700])
{
    snprintf(to, 700, "%.*s/%s", (int)(strlen(r->shim) - strlen("/borg-shim")), r->shim, file);
}

static void release_shim(const struct rig *r, const struct release *release, char to[700])
{
    char name[64];

    snprintf(name, sizeof(name), "%s/borg-shim", release->dir);
    release_path(r, name, to);
}

/* Open a runner that starts shims of that release. */
static void rig_init_with(struct rig *r, const struct release *release)
{
    char shim[700];

    rig_init(r);
    rig_close(r);
    t_loop_run_ms(&r->loop, 20);
    release_shim(r, release, shim);
    str_copy(r->shim, sizeof(r->shim), shim);
    rig_open(r, "21000-21999");
}

/* Let the borglet of the release start task web/0, and adopt the task with a runner of ours. */
static struct attempt *rig_adopt(struct rig *r, const struct release *release, const char *script)
{
    char shim[700], start[700];
    int status;

    rig_init(r);
    rig_close(r);
    t_loop_run_ms(&r->loop, 20);
    release_shim(r, release, shim);
    release_path(r, release->start, start);
    pid_t pid = fork();
    if (pid == 0) {
        execl(start, start, r->dir, shim, script, NULL);
        _exit(127);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(status == 0, "%s: status %d", start, status);
    rig_open(r, "21000-21999");
    struct attempt *a = runner_find(r->runner, ref(0, 1));
    ck_assert_ptr_nonnull(a);
    T_RUN(&r->loop, a->phase == ATTEMPT_RUNNING);
    return a;
}

/* Close the runner and open another one: the borglet is started again. */
static struct attempt *rig_again(struct rig *r)
{
    rig_close(r);
    t_loop_run_ms(&r->loop, 20);
    rig_open(r, "21000-21999");
    return runner_find(r->runner, ref(0, 1));
}

static bool is_known(const struct attempt *a)
{
    return a->shim_version != 0 || a->by_pid;
}

static void go_on(const struct rig *r)
{
    close(open(t_path(r->dir, "tasks/web.0.1.1/work/go"), O_WRONLY | O_CREAT, 0600));
}

/* A zombie is gone: the parent of an adopted shim is the machine's init, which may take its time.
 */
static bool is_gone(pid_t pid)
{
    struct process process;

    return !process_read(pid, &process) || process.state == 'Z' || process.state == 'X';
}

#define WAIT_FOR_GO "echo up; while [ ! -e go ]; do sleep 0.01; done; exit 7"

START_TEST(a_shim_of_each_release_says_its_versions)
{
    const struct release *release = &releases[_i];
    char shim[700], command[750], text[64] = "", want[64];
    struct rig r;

    rig_init(&r);
    release_shim(&r, release, shim);
    snprintf(command, sizeof(command), "%s --versions", shim);
    FILE *f = popen(command, "r");
    ck_assert_ptr_nonnull(fgets(text, sizeof(text), f));
    ck_assert_int_eq(pclose(f), 0);
    snprintf(want, sizeof(want), "%u %u\n", release->version_min, release->version_max);
    ck_assert_str_eq(text, want);
    rig_release(&r);
}
END_TEST

START_TEST(a_task_under_a_newly_started_shim_of_each_release)
{
    const struct release *release = &releases[_i];
    struct rig r;

    rig_init_with(&r, release);
    struct attempt *a = rig_start(&r, ref(0, 1), WAIT_FOR_GO);
    if (common_version(release) != 0) {
        T_RUN(&r.loop, a->phase == ATTEMPT_RUNNING);
        ck_assert_uint_eq(a->shim_version, common_version(release));
        go_on(&r);
        T_RUN(&r.loop, a->phase == ATTEMPT_ENDED);
        ck_assert_int_eq(a->report.kind, REPORT_EXITED);
        ck_assert_int_eq(a->report.exit_code, 7);
    } else {
        pid_t shim = a->shim_pid;
        T_RUN(&r.loop, a->phase == ATTEMPT_ENDED);
        ck_assert_int_eq(a->report.kind, REPORT_START_ERROR);
        ck_assert_int_eq(a->report.fault, FAULT_MACHINE);
        T_CONTAINS(a->report.detail, "speaks versions ");
        T_RUN(&r.loop, is_gone(shim));
    }
    rig_release(&r);
}
END_TEST

START_TEST(a_task_of_each_release_is_adopted_and_its_exit_status_reported)
{
    const struct release *release = &releases[_i];
    uint32_t common = common_version(release);
    struct rig r;

    struct attempt *a = rig_adopt(&r, release, WAIT_FOR_GO);
    T_RUN(&r.loop, is_known(a));
    int32_t pid = a->report.pid;
    ck_assert_int_gt(pid, 1);
    ck_assert_uint_eq(a->shim_version, common);
    ck_assert(a->by_pid == (common == 0));
    ck_assert_int_eq(a->spec.limit[RES_CPU], 250);
    ck_assert_str_eq(a->spec.user, "ada");
    ck_assert_str_eq(a->argv0, "sh");
    if (common == 0)
        T_CONTAINS(a->report.detail, "its shim speaks versions ");
    a = rig_again(&r);
    T_RUN(&r.loop, is_known(a));
    ck_assert_int_eq(a->report.pid, pid);
    ck_assert_int_eq(a->phase, ATTEMPT_RUNNING);
    pid_t shim = a->shim_pid;
    go_on(&r);
    T_RUN(&r.loop, a->phase == ATTEMPT_ENDED);
    ck_assert_int_eq(a->report.kind, REPORT_EXITED);
    ck_assert_int_eq(a->report.exit_code, 7);
    ck_assert(!a->report.told_to_stop);
    T_RUN(&r.loop, is_gone(pid) && is_gone(shim));
    rig_release(&r);
}
END_TEST

START_TEST(fields_of_a_newer_release_are_skipped_and_missing_ones_are_zero)
{
    const struct release *release = &releases[_i];
    struct rig r;

    struct attempt *a = rig_adopt(&r, release, WAIT_FOR_GO);
    T_RUN(&r.loop, is_known(a) && a->state.version_max == release->version_max);
#if SHIM_VERSION_MAX >= 5
    uint32_t sent = release->version_max >= 5 && common_version(release) != 0;
    ck_assert_uint_eq(a->state.appended, sent * release->version_max);
    ck_assert_uint_eq(a->spec.appended, sent * release->version_max);
#endif
    ck_assert_uint_eq(a->state.bytes, release->version_max >= 5 ? SHIM_STATE_FIXED_BYTES + 8
                                                                : SHIM_STATE_FIXED_BYTES);
    rig_release(&r);
}
END_TEST

START_TEST(a_stop_ends_a_task_of_each_release)
{
    static const struct {
        const char *script;
        uint32_t grace_ms;
        int exit_code;
    } cases[] = {
        {"trap 'exit 5' TERM; echo up; while :; do sleep 1000 & wait; done", 60000, 5},
        {"trap '' TERM; setsid sleep 1000 & echo $!; while :; do sleep 1000; done", 300, -9},
        {"setsid sleep 1000 & echo $!; exec sleep 1000", 0, -9},
    };
    const struct release *release = &releases[(size_t)_i / ARRAY_SIZE(cases)];
    size_t which = (size_t)_i % ARRAY_SIZE(cases);
    struct rig r;

    struct attempt *a = rig_adopt(&r, release, cases[which].script);
    T_RUN(&r.loop, is_known(a) && output(&r, "tasks", a->name)[0] != '\0');
    pid_t pid = a->report.pid, child = (pid_t)strtol(output(&r, "tasks", a->name), NULL, 10);
    pid_t shim = a->shim_pid;
    runner_stop(r.runner, a, cases[which].grace_ms);
    T_RUN(&r.loop, a->phase == ATTEMPT_ENDED);
    ck_assert_int_eq(a->report.kind, REPORT_EXITED);
    ck_assert_int_eq(a->report.exit_code, cases[which].exit_code);
    ck_assert(a->report.told_to_stop);
    T_RUN(&r.loop, is_gone(pid) && is_gone(shim) && (child == 0 || is_gone(child)));
    rig_release(&r);
}
END_TEST

START_TEST(an_end_while_no_borglet_was_there_is_found_in_each_release)
{
    const struct release *release = &releases[_i];
    struct rig r;

    struct attempt *a = rig_adopt(&r, release, WAIT_FOR_GO);
    T_RUN(&r.loop, is_known(a));
    int32_t pid = a->report.pid;
    rig_close(&r);
    go_on(&r);
    T_RUN(&r.loop, is_gone(pid));
    rig_open(&r, "21000-21999");
    a = runner_find(r.runner, ref(0, 1));
    T_RUN(&r.loop, a->phase == ATTEMPT_ENDED);
    ck_assert_int_eq(a->report.kind, REPORT_EXITED);
    ck_assert_int_eq(a->report.exit_code, 7);
    rig_release(&r);
}
END_TEST

START_TEST(the_end_is_unknown_when_the_shim_of_each_release_is_killed)
{
    const struct release *release = &releases[_i];
    struct rig r;

    struct attempt *a = rig_adopt(&r, release, "echo up; exec sleep 1000");
    T_RUN(&r.loop, is_known(a));
    int32_t pid = a->report.pid;
    kill(a->shim_pid, SIGKILL);
    T_RUN(&r.loop, a->phase == ATTEMPT_ENDED);
    ck_assert_int_eq(a->report.kind, REPORT_LOST);
    T_CONTAINS(a->report.detail, "its end is unknown");
    T_RUN(&r.loop, is_gone(pid));
    rig_release(&r);
}
END_TEST

static size_t descriptors(void)
{
    struct stat st;
    size_t count = 0;

    for (int fd = 0; fd < 1024; fd++)
        count += fstat(fd, &st) == 0;
    return count;
}

START_TEST(a_shim_that_cannot_be_spoken_to_costs_no_turns_and_no_descriptors)
{
    const struct release *release = &releases[_i];
    struct rig r;

    struct attempt *a = rig_adopt(&r, release, "echo up; exec sleep 1000");
    T_RUN(&r.loop, is_known(a));
    if (common_version(release) == 0) {
        int changes = r.changes;
        T_RUN(&r.loop, a->reach_failures >= 2);
        size_t open_before = descriptors();
        uint32_t failures = a->reach_failures;
        T_RUN(&r.loop, a->reach_failures >= failures + 3);
        ck_assert_uint_le(descriptors(), open_before);
        ck_assert_int_eq(r.changes, changes);
        /* The timer sleeps until the next try, which is ever longer away. */
        uint64_t due_ms = uv_timer_get_due_in(&r.runner->tick);
        ck_assert_uint_ge(due_ms, 500);
    }
    rig_release(&r);
}
END_TEST

int main(void)
{
    enum { COUNT = ARRAY_SIZE(releases), STOPS = 3 };
    Suite *suite = suite_create("borglet_versions");
    TCase *tcase = tcase_create("versions");

    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, a_shim_of_each_release_says_its_versions, 0, COUNT);
    tcase_add_loop_test(tcase, a_task_under_a_newly_started_shim_of_each_release, 0, COUNT);
    tcase_add_loop_test(tcase, a_task_of_each_release_is_adopted_and_its_exit_status_reported, 0,
                        COUNT);
    tcase_add_loop_test(tcase, fields_of_a_newer_release_are_skipped_and_missing_ones_are_zero, 0,
                        COUNT);
    tcase_add_loop_test(tcase, a_stop_ends_a_task_of_each_release, 0, COUNT * STOPS);
    tcase_add_loop_test(tcase, an_end_while_no_borglet_was_there_is_found_in_each_release, 0,
                        COUNT);
    tcase_add_loop_test(tcase, the_end_is_unknown_when_the_shim_of_each_release_is_killed, 0,
                        COUNT);
    tcase_add_loop_test(tcase, a_shim_that_cannot_be_spoken_to_costs_no_turns_and_no_descriptors, 0,
                        COUNT);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
