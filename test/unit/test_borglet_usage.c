/*
 * test_borglet_usage.c - what processes use, by session.
 */
#include "usage.h"

#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

START_TEST(a_session_is_measured_with_all_its_processes_and_no_others)
{
    int ready[2];
    char byte;
    ck_assert_int_eq(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        volatile char *bytes = malloc(32 << 20);
        setsid();
        for (int i = 0; i < 32 << 20; i += 4096)
            bytes[i] = 1;
        (void)!write(ready[1], "x", 1);
        for (;;) /* until killed, or the test is gone */
            if (getppid() == 1)
                _exit(0);
    }
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    struct usage_sample samples[] = {{.session = pid}, {.session = getsid(0)}, {.session = -7}};
    do
        usage_measure(samples, 3);
    while (samples[0].cpu_ms < 20); /* it does nothing but use cpu */
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    ck_assert_int_ge(samples[0].ram_bytes, 32 << 20);
    ck_assert_int_lt(samples[0].ram_bytes, INT64_C(1) << 30);
    ck_assert_int_gt(samples[1].ram_bytes, 0);
    ck_assert_int_eq(samples[2].ram_bytes, 0);
    ck_assert_uint_eq(samples[2].cpu_ms, 0);
    usage_measure(samples, 1);
    ck_assert_int_eq(samples[0].ram_bytes, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("usage");
    TCase *tcase = tcase_create("usage");
    tcase_add_test(tcase, a_session_is_measured_with_all_its_processes_and_no_others);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
