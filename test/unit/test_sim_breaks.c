/*
 * test_sim_breaks.c - every checker of the simulator is seen to fail: with each way to break the
 * product (test/sim/breaks.h) some seed of the first few ends with the checker that is there for
 * it, and the same seeds end well without it.
 */
#include "testlib.h"

#include "sim/breaks.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>

enum { SEEDS_WELL = 3, OUTPUT_BYTES = 65536, TIMEOUT_S = 120 };

extern char **environ;

static const struct break_info infos[] = {
#define X(id, name, what, checker, seeds) {name, what, checker, seeds},
    BREAKS(X)
#undef X
};

/* Run the simulator beside us; its exit code, and what it said on stderr. */
static int sim_run(const char *name, unsigned seed, char output[OUTPUT_BYTES])
{
    char program[512], number[16];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 32);
    ck_assert_int_gt(length, 0);
    program[length] = '\0';
    char *slash = strrchr(program, '/');
    str_copy(slash, 32, "/../sim/sim");
    snprintf(number, sizeof number, "%u", seed);
    char *args[] = {program, "--minutes", "10", "--seed", number, NULL, NULL, NULL};
    if (name != NULL) {
        args[5] = "--break";
        args[6] = (char *)(uintptr_t)name;
    }
    int fds[2], status;
    pid_t pid;
    posix_spawn_file_actions_t actions;
    ck_assert_int_eq(pipe(fds), 0);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, fds[1], STDERR_FILENO);
    posix_spawn_file_actions_addclose(&actions, fds[0]);
    ck_assert_int_eq(posix_spawn(&pid, program, &actions, NULL, args, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(fds[1]);
    size_t size = 0;
    for (ssize_t n; size < OUTPUT_BYTES - 1;) {
        n = read(fds[0], output + size, OUTPUT_BYTES - 1 - size);
        if (n == 0 || (n < 0 && errno != EINTR))
            break;
        size += n > 0 ? (size_t)n : 0;
    }
    output[size] = '\0';
    close(fds[0]);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFEXITED(status), "seed %u died of signal %d:\n%s", seed, WTERMSIG(status),
                  output);
    return WEXITSTATUS(status);
}

START_TEST(it_is_found)
{
    static char output[OUTPUT_BYTES];
    const struct break_info *info = &infos[_i];
    char mark[64];
    snprintf(mark, sizeof mark, ": %s: ", info->checker);
    for (unsigned seed = 1; seed <= info->seeds; seed++) {
        if (sim_run(info->name, seed, output) == 0)
            continue;
        const char *told = strstr(output, "BROKEN ");
        ck_assert_msg(told != NULL, "%s, seed %u ends badly and does not say why:\n%s", info->name,
                      seed, output);
        /* Another checker may be the first to notice; some seed shows it to the right one. */
        if (strstr(told, mark) != NULL)
            return;
    }
    ck_abort_msg("%s (%s) is not found with %u seeds", info->name, info->what, info->seeds);
}
END_TEST

START_TEST(nothing_is_found_where_nothing_is_broken)
{
    static char output[OUTPUT_BYTES];
    for (unsigned seed = 1; seed <= SEEDS_WELL; seed++)
        ck_assert_msg(sim_run(NULL, seed, output) == 0, "seed %u:\n%s", seed, output);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sim_breaks");
    TCase *tcase = tcase_create("breaks");
    tcase_set_timeout(tcase, TIMEOUT_S);
    tcase_add_loop_test(tcase, it_is_found, 0, (int)ARRAY_SIZE(infos));
    tcase_add_test(tcase, nothing_is_found_where_nothing_is_broken);
    suite_add_tcase(suite, tcase);
    return t_main(suite);
}
