/*
 * test_borglet_archive.c - what is kept of attempts, and how the rest is cleared away.
 */
#include "runner_rig.h"

#include <dlfcn.h>
#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* An unlucky moment: the children that there are have ended when SIGCHLD is listened for. */
static bool children_end_first;

int uv_signal_start(uv_signal_t *handle, uv_signal_cb cb, int signum)
{
    static int (*next)(uv_signal_t *, uv_signal_cb, int);
    siginfo_t info;

    if (next == NULL)
        *(void **)&next = dlsym(RTLD_NEXT, "uv_signal_start");
    if (children_end_first && signum == SIGCHLD)
        ck_assert_int_eq(waitid(P_ALL, 0, &info, WEXITED | WNOWAIT), 0);
    return next(handle, cb, signum);
}

START_TEST(logs_survive_forgetting_within_bounds)
{
    char path[600];
    struct rig r;

    rig_init(&r);
    for (uint32_t i = 1; i <= ARCHIVE_PER_TASK_MAX + 2; i++) {
        struct attempt *a = rig_start(&r, ref(0, i), "mkdir -p a/b; chmod 0 a; echo $BORG_ATTEMPT");
        T_RUN(&r.loop, a->phase == ATTEMPT_ENDED);
        runner_forget(r.runner, a);
    }
    ck_assert_uint_eq(runner_count(r.runner), 0);
    const struct archive *archive = runner_archive(r.runner);
    ck_assert_uint_eq(archive->count, ARCHIVE_PER_TASK_MAX);
    ck_assert_ptr_null(archive_find(archive, ref(0, 1).task, 2));
    const struct archive_entry *newest = archive_find(archive, ref(0, 1).task, 0);
    ck_assert_uint_eq(newest->task.attempt, ARCHIVE_PER_TASK_MAX + 2);
    /* What the task left in its directory goes, whatever its rights. */
    snprintf(path, sizeof(path), "%s/%s/work", archive->path, newest->name);
    T_RUN(&r.loop, access(path, F_OK) < 0);
    snprintf(path, sizeof(path), "%s/%s/out.0", archive->path, newest->name);
    ck_assert_int_eq(access(path, F_OK), 0);
    rig_close(&r);
    t_loop_run_ms(&r.loop, 20);
    rig_open(&r, "21000-21999");
    newest = archive_find(runner_archive(r.runner), ref(0, 1).task, 0);
    ck_assert_uint_eq(newest->task.attempt, ARCHIVE_PER_TASK_MAX + 2);
    rig_release(&r);
}
END_TEST

/* A forgotten attempt with a log of that size, which takes no room on the disk. */
static void archive_entry_make(const struct rig *r, uint32_t index, uint32_t attempt, off_t bytes)
{
    char path[600];

    snprintf(path, sizeof(path), "%s/ended/web.%u.1.%u", r->dir, index, attempt);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/ended/web.%u.1.%u/out.0", r->dir, index, attempt);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    ck_assert_int_eq(ftruncate(fd, bytes), 0);
    close(fd);
}

static const struct archive *archive_again(struct rig *r)
{
    rig_open(r, "21000-21999");
    return runner_archive(r->runner);
}

static bool cleaned(const struct archive *archive)
{
    return archive->queue_count + archive->cleaner_count == 0;
}

START_TEST(old_logs_are_bounded_in_number)
{
    struct rig r;

    rig_init(&r);
    rig_close(&r);
    t_loop_run_ms(&r.loop, 20);
    for (uint32_t i = 0; i < ARCHIVE_MAX + 3; i++)
        archive_entry_make(&r, i, 1, 10);
    const struct archive *archive = archive_again(&r);
    ck_assert_uint_eq(archive->count, ARCHIVE_MAX);
    T_RUN(&r.loop, cleaned(archive));
    rig_release(&r);
}
END_TEST

START_TEST(what_is_cleared_before_the_borglet_listens_is_noticed)
{
    struct rig r;

    rig_init(&r);
    rig_close(&r);
    t_loop_run_ms(&r.loop, 20);
    archive_entry_make(&r, 0, 1, 10);
    ck_assert_int_eq(mkdir(t_path(r.dir, "ended/web.0.1.1/work"), 0700), 0);
    children_end_first = true;
    const struct archive *archive = archive_again(&r);
    children_end_first = false;
    T_RUN(&r.loop, cleaned(archive));
    ck_assert_int_lt(access(t_path(r.dir, "ended/web.0.1.1/work"), F_OK), 0);
    rig_release(&r);
}
END_TEST

START_TEST(old_logs_are_bounded_in_bytes_and_newest_attempts_stay_longest)
{
    enum { WHOLE = ARCHIVE_BYTES_MAX / ARCHIVE_ENTRY_BYTES_MAX };
    struct rig r;

    rig_init(&r);
    rig_close(&r);
    t_loop_run_ms(&r.loop, 20);
    /* A task's file may be of any size: it costs others no more than a real log does. */
    archive_entry_make(&r, 0, 1, (off_t)1 << 40);
    archive_entry_make(&r, 1, 1, (off_t)1 << 40);
    archive_entry_make(&r, 1, 2, (off_t)1 << 40);
    for (uint32_t i = 2; i < WHOLE; i++)
        archive_entry_make(&r, i, 1, (off_t)1 << 40);
    const struct archive *archive = archive_again(&r);
    ck_assert_uint_eq(archive->count, WHOLE);
    ck_assert_ptr_null(archive_find(archive, ref(1, 0).task, 1));
    ck_assert_ptr_nonnull(archive_find(archive, ref(1, 0).task, 2));
    ck_assert_ptr_nonnull(archive_find(archive, ref(0, 0).task, 1));
    T_RUN(&r.loop, cleaned(archive));
    ck_assert_int_lt(access(t_path(r.dir, "ended/web.1.1.1"), F_OK), 0);
    rig_close(&r);
    t_loop_run_ms(&r.loop, 20);
    /* Nobody is superseded now: the oldest goes. */
    archive_entry_make(&r, 100, 1, (off_t)1 << 40);
    archive = archive_again(&r);
    ck_assert_uint_eq(archive->count, WHOLE);
    ck_assert_ptr_null(archive_find(archive, ref(0, 0).task, 1));
    T_RUN(&r.loop, cleaned(archive));
    rig_release(&r);
}
END_TEST

/* Forget the attempt, and wait until what it left has been cleared. */
static void forget_whole(struct rig *r, struct attempt *a)
{
    T_RUN(&r->loop, a->phase == ATTEMPT_ENDED);
    runner_forget(r->runner, a);
    T_RUN(&r->loop, cleaned(runner_archive(r->runner)));
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
    "ln -s $OUT data; ln -s $OUT/scarcity f; ln -s $OUT ../dir",
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
    close(open(t_path(r.dir, "outside/scarcity"), O_WRONLY | O_CREAT, 0600));
    snprintf(script, sizeof(script), "OUT=%s/outside; %s", r.dir, remains[_i]);
    struct attempt *a = rig_start(&r, ref(0, 1), script);
    forget_whole(&r, a);
    ck_assert_str_eq(left_over(&r), "");
    ck_assert_int_eq(access(t_path(r.dir, "outside/scarcity"), F_OK), 0);
    rig_release(&r);
}
END_TEST

static const char *const mounts[] = {
    "mkdir data; mount --bind $OUT data",
    "mkdir data; mount --bind $OUT data; mount --bind $OUT data; mount --bind $OUT data/sub",
    "touch f; mount --bind $OUT/scarcity f",
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
    close(open(t_path(r.dir, "outside/scarcity"), O_WRONLY | O_CREAT, 0600));
    close(open(t_path(r.dir, "outside/sub/too"), O_WRONLY | O_CREAT, 0600));
    snprintf(script, sizeof(script), "set -e; OUT=%s/outside; %s; echo done", r.dir, mounts[_i]);
    struct attempt *a = rig_start(&r, ref(0, 1), script);
    forget_whole(&r, a);
    ck_assert_int_eq(access(t_path(r.dir, "outside/scarcity"), F_OK), 0);
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
    close(open(t_path(r.dir, "outside/scarcity"), O_WRONLY | O_CREAT, 0600));
    snprintf(script, sizeof(script),
             "set -e; mkdir -p a/b gone; touch a/f; mount --bind %s/outside a/b; echo done", r.dir);
    struct attempt *a = rig_start(&r, ref(0, 1), script);
    T_RUN(&r.loop, a->phase == ATTEMPT_ENDED);
    ck_assert_int_eq(prctl(PR_CAPBSET_DROP, CAP_SYS_ADMIN, 0, 0, 0), 0);
    forget_whole(&r, a);
    ck_assert_int_eq(access(t_path(r.dir, "outside/scarcity"), F_OK), 0);
    /* But for the mount and the directory it is in, everything has gone. */
    ck_assert_str_eq(left_over(&r), ".0 ");
    ck_assert_int_eq(access(t_path(r.dir, "ended/web.0.1.1/.0/b/scarcity"), F_OK), 0);
    ck_assert_int_eq(access(t_path(r.dir, "ended/web.0.1.1/.0/f"), F_OK), -1);
    rig_release(&r);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("borglet_archive");
    TCase *archive = tcase_create("archive");

    tcase_set_timeout(archive, 60);
    tcase_add_test(archive, logs_survive_forgetting_within_bounds);
    tcase_add_test(archive, old_logs_are_bounded_in_number);
    tcase_add_test(archive, what_is_cleared_before_the_borglet_listens_is_noticed);
    tcase_add_test(archive, old_logs_are_bounded_in_bytes_and_newest_attempts_stay_longest);
    tcase_add_loop_test(archive, whatever_a_task_leaves_is_cleared_and_nothing_else, 0,
                        ARRAY_SIZE(remains));
    tcase_add_loop_test(archive, what_a_task_has_mounted_is_unmounted_and_not_emptied, 0,
                        ARRAY_SIZE(mounts));
    tcase_add_test(archive, a_mount_that_cannot_be_unmounted_is_left_with_all_that_is_in_it);
    suite_add_tcase(suite, archive);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
