/*
 * test_cli_embed.c - the directory and the processes of the embedded cell.
 */
#include "embed.h"

#include "testlib.h"

#include <errno.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>

static struct embed_options wish(void)
{
    return (struct embed_options){.replica_count = 3,
                                  .borglet_count = 2,
                                  .capacity = "cpu=2,ram=1Gi,disk=1Gi",
                                  .users = {"ada", "root"}};
}

static void cell_make(const char *dir, const struct embed_options *w, struct embed *e)
{
    T_OK(embed_open(dir, true, 1000, e, &t_err));
    T_OK(embed_make(e, w, &t_err));
}

static void file_text(const char *path, char to[8192])
{
    FILE *file = fopen(path, "r");
    ck_assert_msg(file != NULL, "%s: %s", path, strerror(errno));
    to[fread(to, 1, 8191, file)] = '\0';
    fclose(file);
}

START_TEST(a_new_cell_is_complete)
{
    const char *dir = t_path(t_dir(), "cell");
    struct embed_options w = wish();
    struct embed e;
    static const char *const files[] = {"cell.json",
                                        "pki/ca.crt",
                                        "pki/master-1.key",
                                        "pki/master-3.crt",
                                        "pki/borglet-m2.crt",
                                        "pki/user-ada.key",
                                        "pki/user-root.crt",
                                        "master2",
                                        "borglets/m1",
                                        "log",
                                        "run"};
    cell_make(dir, &w, &e);
    for (size_t i = 0; i < ARRAY_SIZE(files); i++)
        ck_assert_msg(access(t_path(e.dir, files[i]), F_OK) == 0, "%s is missing", files[i]);
    struct cell_file file;
    T_OK(cell_file_load(t_path(e.dir, "cell.json"), &file, &t_err));
    ck_assert_uint_eq(file.replica_count, 3);
    ck_assert_uint_eq(file.replicas[2].id, 3);
    ck_assert_str_eq(e.borglets[1].capacity, "cpu=2,ram=1Gi,disk=1Gi");
    ck_assert_int_eq(e.borglets[0].port_last - e.borglets[0].port_first + 1, EMBED_TASK_PORTS);
    ck_assert(e.borglets[0].port_last < e.borglets[1].port_first ||
              e.borglets[1].port_last < e.borglets[0].port_first);
    embed_close(&e);
}
END_TEST

static void expect_attributes(const struct embed *e, uint32_t at, const char *expected)
{
    CLEANUP(buf_release) struct buf text = {0};
    const struct words *attributes = &e->borglets[at].attributes;
    for (const char *w = words_first(attributes); w != NULL; w = words_next(attributes, w))
        buf_printf(&text, "%s%s", text.size > 0 ? " " : "", w);
    ck_assert_str_eq(buf_text(&text), expected);
}

START_TEST(attributes_are_kept_and_change_for_borglets_that_do_not_run)
{
    const char *dir = t_path(t_dir(), "cell");
    struct embed_options w = wish(), nothing = {.users = {"ada"}}, more = {.users = {"ada"}};
    struct embed e;
    words_add(&w.attributes, "zone=z1");
    cell_make(dir, &w, &e);
    expect_attributes(&e, 0, "rack=r1 zone=z1");
    expect_attributes(&e, 1, "rack=r2 zone=z1");
    /* This process acts as m2: it runs. */
    FILE *file = fopen(t_path(e.dir, "run/m2.pid"), "w");
    ck_assert_ptr_nonnull(file);
    fprintf(file, "%d %" PRIu64 "\n", (int)getpid(), proc_start_time(getpid()));
    ck_assert_int_eq(fclose(file), 0);
    embed_close(&e);
    words_add(&more.attributes, "ssd=yes");
    words_add(&more.attributes, "rack=r9");
    cell_make(dir, &more, &e);
    expect_attributes(&e, 0, "rack=r9 ssd=yes zone=z1");
    expect_attributes(&e, 1, "rack=r2 zone=z1");
    embed_close(&e);
    cell_make(dir, &nothing, &e);
    expect_attributes(&e, 0, "rack=r9 ssd=yes zone=z1");
    expect_attributes(&e, 1, "rack=r2 zone=z1");
    embed_close(&e);
    for (int i = 0; i < EMBED_ATTRIBUTES_MAX; i++) {
        char word[16];
        snprintf(word, sizeof word, "k%d=1", i);
        words_add(&more.attributes, word);
    }
    T_OK(embed_open(dir, true, 1000, &e, &t_err));
    T_REFUSED(embed_make(&e, &more, &t_err), ERR_LIMIT);
    embed_close(&e);
    words_release(&w.attributes);
    words_release(&more.attributes);
}
END_TEST

START_TEST(a_cell_that_is_made_again_is_the_same)
{
    const char *dir = t_path(t_dir(), "cell");
    static const char *const files[] = {"cell.json", "embedded.json", "pki/ca.crt",
                                        "pki/master-1.crt", "pki/user-ada.key"};
    static char before[ARRAY_SIZE(files)][8192], after[8192];
    struct embed_options w = wish(), nothing = {.users = {"ada"}};
    struct embed e;
    cell_make(dir, &w, &e);
    for (size_t i = 0; i < ARRAY_SIZE(files); i++)
        file_text(t_path(e.dir, files[i]), before[i]);
    embed_close(&e);
    cell_make(dir, &nothing, &e);
    ck_assert(!e.is_new);
    ck_assert_uint_eq(e.replica_count, 3);
    ck_assert_uint_eq(e.borglet_count, 2);
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        file_text(t_path(e.dir, files[i]), after);
        ck_assert_msg(strcmp(before[i], after) == 0, "%s has changed", files[i]);
    }
    embed_close(&e);
}
END_TEST

START_TEST(a_partly_made_cell_is_completed)
{
    const char *dir = t_path(t_dir(), "cell");
    struct embed_options w = wish(), nothing = {.users = {"ada"}};
    struct embed e;
    cell_make(dir, &w, &e);
    unlink(t_path(e.dir, "cell.json"));
    unlink(t_path(e.dir, "pki/master-2.crt"));
    embed_close(&e);
    cell_make(dir, &nothing, &e);
    ck_assert_int_eq(access(t_path(e.dir, "cell.json"), F_OK), 0);
    ck_assert_int_eq(access(t_path(e.dir, "pki/master-2.crt"), F_OK), 0);
    embed_close(&e);
}
END_TEST

START_TEST(borglets_and_users_can_be_added)
{
    const char *dir = t_path(t_dir(), "cell");
    struct embed_options w = wish(), more = {.borglet_count = 3, .users = {"eve"}};
    struct embed e;
    cell_make(dir, &w, &e);
    embed_close(&e);
    cell_make(dir, &more, &e);
    ck_assert_uint_eq(e.borglet_count, 3);
    ck_assert_int_eq(access(t_path(e.dir, "pki/borglet-m3.crt"), F_OK), 0);
    ck_assert_int_eq(access(t_path(e.dir, "pki/user-eve.crt"), F_OK), 0);
    embed_close(&e);
}
END_TEST

static const struct {
    struct embed_options wish;
    enum err_code code;
    const char *message;
} refusals[] = {
    {{.replica_count = 5}, ERR_STATE, "has 3 replicas"},
    {{.borglet_count = 1}, ERR_STATE, "has 2 borglets"},
    {{.host = "127.0.0.2"}, ERR_STATE, "listens on 127.0.0.1"},
    {{.capacity = "cpu=2"}, ERR_INVALID, "is not cpu=N,ram=N,disk=N"},
    {{.capacity = "cpu=2,ram=1Gi,disk=1Gi,cpu=1"}, ERR_INVALID, "is not cpu=N"},
    {{.capacity = "cpu=2,ram=lots,disk=1Gi"}, ERR_INVALID, "--capacity: ram: \"lots\""},
    {{.capacity = "cpu=0,ram=1Gi,disk=1Gi"}, ERR_INVALID, "is not cpu=N"},
    {{.users = {"Ada Lovelace"}}, ERR_INVALID, "user \"Ada Lovelace\""},
};

START_TEST(an_impossible_change_is_refused_and_changes_nothing)
{
    const char *dir = t_path(t_dir(), "cell");
    static char before[8192], after[8192];
    struct embed_options w = wish();
    struct embed e;
    cell_make(dir, &w, &e);
    file_text(t_path(e.dir, "embedded.json"), before);
    embed_close(&e);
    T_OK(embed_open(dir, true, 1000, &e, &t_err));
    T_REFUSED(embed_make(&e, &refusals[_i].wish, &t_err), refusals[_i].code);
    T_CONTAINS(t_err.msg, refusals[_i].message);
    file_text(t_path(e.dir, "embedded.json"), after);
    ck_assert_str_eq(before, after);
    embed_close(&e);
}
END_TEST

START_TEST(a_directory_with_other_files_is_left_alone)
{
    const char *dir = t_dir();
    struct embed e;
    FILE *file = fopen(t_path(dir, "thesis.tex"), "w");
    fclose(file);
    T_REFUSED(embed_open(dir, true, 100, &e, &t_err), ERR_EXISTS);
    T_REFUSED(embed_open(dir, false, 100, &e, &t_err), ERR_NOT_FOUND);
    ck_assert_int_eq(access(t_path(dir, "thesis.tex"), F_OK), 0);
    T_REFUSED(embed_open(t_path(dir, "none"), false, 100, &e, &t_err), ERR_NOT_FOUND);
    ck_assert_int_ne(access(t_path(dir, "none"), F_OK), 0);
}
END_TEST

START_TEST(two_concurrent_calls_exclude_each_other)
{
    const char *dir = t_path(t_dir(), "cell");
    struct embed_options w = wish();
    struct embed first, second;
    cell_make(dir, &w, &first);
    T_REFUSED(embed_open(dir, true, 100, &second, &t_err), ERR_STATE);
    T_CONTAINS(t_err.msg, "another borgctl");
    embed_close(&first);
    T_OK(embed_open(dir, true, 100, &second, &t_err));
    embed_close(&second);
}
END_TEST

START_TEST(a_wiped_cell_is_removed)
{
    const char *dir = t_path(t_dir(), "cell");
    struct embed_options w = wish();
    struct embed e;
    cell_make(dir, &w, &e);
    T_OK(embed_wipe(&e, &t_err));
    ck_assert_int_ne(access(dir, F_OK), 0);
    embed_close(&e);
}
END_TEST

static void spawn(const char *dir, const char *script, struct proc *ret)
{
    char *argv[] = {(char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c", (char *)(uintptr_t)script,
                    NULL};
    T_OK(proc_spawn(argv, t_path(dir, "log"), t_path(dir, "pid"), ret, &t_err));
}

static void wait_text(const char *path, const char *text)
{
    static char found[8192];
    uint64_t deadline = clock_mono_ms() + T_DEADLINE_MS;
    do {
        file_text(path, found);
        if (clock_mono_ms() > deadline)
            ck_abort_msg("%s: \"%s\" has no \"%s\"", path, found, text);
    } while (strstr(found, text) == NULL);
}

START_TEST(a_process_is_found_by_its_pid_file_until_it_ends)
{
    const char *dir = t_dir();
    struct proc started, found;
    spawn(dir, "echo started; exec sleep 1000", &started);
    wait_text(t_path(dir, "log"), "started");
    ck_assert(proc_read(t_path(dir, "pid"), &found));
    ck_assert_int_eq(found.pid, started.pid);
    ck_assert_int_eq(getsid(started.pid), started.pid); /* ^C here does not reach it */
    struct proc other = {.pid = started.pid, .start_time = started.start_time - 1};
    ck_assert(!proc_alive(&other)); /* a later process with the same pid */
    ck_assert_uint_eq(proc_stop(&started, 1, 5000), 0);
    ck_assert(!proc_read(t_path(dir, "pid"), &found));
}
END_TEST

START_TEST(a_process_that_ignores_sigterm_is_killed)
{
    const char *dir = t_dir();
    struct proc proc;
    spawn(dir, "trap '' TERM; echo ready; while :; do sleep 1; done", &proc);
    wait_text(t_path(dir, "log"), "ready");
    ck_assert_uint_eq(proc_stop(&proc, 1, 300), 1);
    ck_assert(!proc_alive(&proc));
}
END_TEST

START_TEST(a_missing_program_is_reported)
{
    const char *dir = t_dir();
    struct proc proc;
    char *argv[] = {(char *)(uintptr_t) "/no/such/program", NULL};
    T_REFUSED(proc_spawn(argv, t_path(dir, "log"), t_path(dir, "pid"), &proc, &t_err), ERR_IO);
    T_CONTAINS(t_err.msg, "/no/such/program");
}
END_TEST

/* Start a shell that looks like a shim of `dir`, with a child that ignores SIGTERM. */
static pid_t shim_start(const char *dir, const char *name)
{
    const char *script = t_path(dir, name);
    FILE *file = fopen(script, "w");
    fprintf(file, "trap '' TERM\n(exec sleep 1000) &\necho $! > %s.child\nwait\n", script);
    fclose(file);
    pid_t pid = fork();
    if (pid == 0) {
        execl("/bin/sh", "/x/borg-shim", script, (char *)NULL);
        _exit(9);
    }
    return pid;
}

START_TEST(only_tasks_of_this_cell_are_stopped)
{
    const char *dir = t_dir(), *other = t_dir();
    pid_t mine = shim_start(dir, "task1"), foreign = shim_start(other, "task2");
    uint64_t deadline = clock_mono_ms() + T_DEADLINE_MS;
    while (access(t_path(dir, "task1.child"), F_OK) != 0 || proc_count_tasks(dir) != 1 ||
           proc_count_tasks(other) != 1)
        ck_assert_uint_lt(clock_mono_ms(), deadline);
    size_t killed;
    ck_assert_uint_eq(proc_stop_tasks(dir, 300, &killed), 1);
    ck_assert_uint_eq(proc_count_tasks(dir), 0);
    ck_assert_uint_eq(proc_count_tasks(other), 1);
    ck_assert_uint_eq(proc_start_time(mine), 0);
    ck_assert_uint_ne(proc_start_time(foreign), 0);
    ck_assert_uint_eq(proc_stop_tasks(other, 300, &killed), 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("embed");
    TCase *tcase = tcase_create("embed");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, a_new_cell_is_complete);
    tcase_add_test(tcase, attributes_are_kept_and_change_for_borglets_that_do_not_run);
    tcase_add_test(tcase, a_cell_that_is_made_again_is_the_same);
    tcase_add_test(tcase, a_partly_made_cell_is_completed);
    tcase_add_test(tcase, borglets_and_users_can_be_added);
    tcase_add_loop_test(tcase, an_impossible_change_is_refused_and_changes_nothing, 0,
                        ARRAY_SIZE(refusals));
    tcase_add_test(tcase, a_directory_with_other_files_is_left_alone);
    tcase_add_test(tcase, two_concurrent_calls_exclude_each_other);
    tcase_add_test(tcase, a_wiped_cell_is_removed);
    tcase_add_test(tcase, a_process_is_found_by_its_pid_file_until_it_ends);
    tcase_add_test(tcase, a_process_that_ignores_sigterm_is_killed);
    tcase_add_test(tcase, a_missing_program_is_reported);
    tcase_add_test(tcase, only_tasks_of_this_cell_are_stopped);
    suite_add_tcase(suite, tcase);
    return t_main(suite);
}
