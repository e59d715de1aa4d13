/*
 * test_borglet_usage.c - usage of processes, by the shim that they descend from.
 */
#include "usage.h"
#include "clock.h"
#include "processes.h"

#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MIB = 1 << 20 };

/* Start a process that acts as a shim: it is the subreaper of its children until it is killed. */
struct rig {
    int ready[2];
    pid_t shim;
};

static void fill(volatile char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i += 4096)
        bytes[i] = 1;
}

static void rig_tell(const struct rig *r)
{
    (void)!write(r->ready[1], "x", 1);
}

static void wait_for_ever(const struct rig *r)
{
    rig_tell(r);
    for (;;)
        pause();
}

/* The shim runs `start`. */
static void rig_start(struct rig *r, void (*start)(const struct rig *r), int tells)
{
    char byte;

    ck_assert_int_eq(pipe(r->ready), 0);
    r->shim = fork();
    if (r->shim == 0) {
        prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
        start(r);
        for (;;)
            if (wait(NULL) < 0)
                pause();
    }
    for (int i = 0; i < tells; i++)
        ck_assert_int_eq(read(r->ready[0], &byte, 1), 1);
}

static void rig_release(struct rig *r)
{
    size_t count;
    struct process *all = processes_read(&count);

    processes_descend(all, count, &r->shim, 1);
    for (size_t i = 0; i < count; i++)
        if (all[i].root == r->shim)
            kill(all[i].pid, SIGKILL);
    free(all);
    kill(r->shim, SIGKILL);
    waitpid(r->shim, NULL, 0);
}

static struct usage_sample measured(const struct rig *r)
{
    struct usage_sample samples[] = {{.shim = -7}, {.shim = r->shim}, {.shim = 0}};

    ck_assert(usage_measure(samples, 3));
    ck_assert_int_eq(samples[0].ram_bytes, 0);
    ck_assert_uint_eq(samples[0].cpu_ms, 0);
    ck_assert_int_eq(samples[2].ram_bytes, 0);
    return samples[1];
}

static void burn(uint64_t ms)
{
    struct timespec used;

    do
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    while ((uint64_t)used.tv_sec * 1000 + (uint64_t)used.tv_nsec / 1000000 < ms);
}

static void start_one(const struct rig *r)
{
    if (fork() != 0)
        return;
    char *bytes = malloc(32 * MIB);
    fill(bytes, 32 * MIB);
    burn(50);
    wait_for_ever(r);
}

START_TEST(a_task_is_measured_and_its_shim_is_not)
{
    struct rig r;

    rig_start(&r, start_one, 1);
    struct usage_sample sample = measured(&r);
    ck_assert_int_ge(sample.ram_bytes, 32 * MIB);
    ck_assert_int_lt(sample.ram_bytes, 64 * MIB);
    ck_assert_uint_ge(sample.cpu_ms, 30);
    rig_release(&r);
    ck_assert_int_eq(measured(&r).ram_bytes, 0);
}
END_TEST

/* Become a daemon: a session of its own, and a parent that has ended. */
static void start_daemon(const struct rig *r)
{
    if (fork() != 0)
        return;
    setsid();
    if (fork() == 0) {
        setsid();
        if (fork() == 0) {
            setsid();
            fill(malloc(32 * MIB), 32 * MIB);
            burn(50);
            wait_for_ever(r);
        }
        _exit(0);
    }
    wait(NULL);
    wait_for_ever(r);
}

START_TEST(a_process_that_left_the_session_is_counted)
{
    struct rig r;

    rig_start(&r, start_daemon, 2);
    struct usage_sample sample = measured(&r);
    ck_assert_int_ge(sample.ram_bytes, 32 * MIB);
    ck_assert_int_lt(sample.ram_bytes, 64 * MIB);
    ck_assert_uint_ge(sample.cpu_ms, 30);
    rig_release(&r);
}
END_TEST

enum { SHARERS = 8 };

static void start_sharers(const struct rig *r)
{
    char *bytes = mmap(NULL, 64 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    for (int i = 0; i < SHARERS; i++) {
        if (fork() != 0)
            continue;
        fill(bytes, 64 * MIB);
        wait_for_ever(r);
    }
}

/* Fork workers from a parent that has used its memory, as servers do. */
static void start_copies(const struct rig *r)
{
    if (fork() != 0)
        return;
    fill(malloc(64 * MIB), 64 * MIB);
    for (int i = 1; i < SHARERS; i++)
        if (fork() == 0)
            break;
    wait_for_ever(r);
}

/* Processes that are not dumpable: their PSS is not readable, except for root. */
static void start_secret(const struct rig *r)
{
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    start_sharers(r);
}

START_TEST(shared_memory_is_counted_once)
{
    static void (*const starts[])(const struct rig *r) = {start_sharers, start_copies,
                                                          start_secret};
    struct rig r;

    rig_start(&r, starts[_i], SHARERS);
    struct usage_sample sample = measured(&r);
    ck_assert_int_ge(sample.ram_bytes, 60 * MIB);
    ck_assert_int_lt(sample.ram_bytes, 100 * MIB);
    rig_release(&r);
}
END_TEST

static void start_ended(const struct rig *r)
{
    if (fork() == 0) { /* its parent waits for it */
        if (fork() == 0) {
            burn(60);
            _exit(0);
        }
        wait(NULL);
        if (fork() == 0) { /* only the shim waits for it */
            if (fork() == 0) {
                burn(60);
                _exit(0);
            }
            _exit(0);
        }
        wait(NULL);
        wait_for_ever(r);
    }
}

START_TEST(cpu_time_of_ended_processes_is_counted)
{
    struct usage_sample sample;
    struct rig r;

    rig_start(&r, start_ended, 1);
    uint64_t until = clock_mono_ms() + 20000;
    do
        sample = measured(&r);
    while (sample.cpu_ms < 100 && clock_mono_ms() < until);
    ck_assert_uint_ge(sample.cpu_ms, 100);
    ck_assert_uint_lt(sample.cpu_ms, 500);
    rig_release(&r);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("usage");
    TCase *tcase = tcase_create("usage");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, a_task_is_measured_and_its_shim_is_not);
    tcase_add_test(tcase, a_process_that_left_the_session_is_counted);
    tcase_add_loop_test(tcase, shared_memory_is_counted_once, 0, 3);
    tcase_add_test(tcase, cpu_time_of_ended_processes_is_counted);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
