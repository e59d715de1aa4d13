/*
 * test_raftlog_slow.c - a replica whose disk is slow: it says so, and as the leader gives way.
 *
 * The library writes its log with io_submit(), through the C library's syscall(), which this
 * program defines itself: writes to one directory take as long as the test wants.
 */
#include "raftlog_cell.h"

#include <dlfcn.h>
#include <errno.h>
#include <linux/aio_abi.h>
#include <stdarg.h>
#include <sys/syscall.h>

static char slow_dir[256]; /* "": none */
static unsigned slow_ms;
static pid_t main_thread;

static bool is_slow(int fd)
{
    char link[64], path[512];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = '\0';
    return slow_dir[0] != '\0' && strncmp(path, slow_dir, strlen(slow_dir)) == 0;
}

long syscall(long number, ...)
{
    static long (*next)(long, ...);
    long a[6];
    va_list args;
    va_start(args, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(args, long);
    va_end(args);
    if (next == NULL)
        *(void **)&next = dlsym(RTLD_NEXT, "syscall");
    if (number == SYS_io_submit && is_slow((int)(*(struct iocb **)a[2])->aio_fildes)) {
        if (gettid() == main_thread) { /* as a disk that is busy: the library asks its pool */
            errno = EAGAIN;
            return -1;
        }
        usleep(slow_ms * 1000);
    }
    return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static bool says_slow(struct cell *c, const void *arg)
{
    const struct replica *r = arg;
    struct err err;
    struct replica *leader = leader_of(c);
    if (leader != NULL && c->under_way == 0)
        ck_assert_int_eq(propose_on(leader, &err), 0);
    return raftlog_status(r->log).disk_wait_ms >= 1000;
}

static bool another_leads(struct cell *c, const void *arg)
{
    struct replica *leader = leader_of(c);
    return leader != NULL && leader != arg;
}

static void make_slow(const struct replica *r, unsigned ms)
{
    slow_ms = ms;
    str_copy(slow_dir, sizeof slow_dir, r->dir);
}

START_TEST(a_follower_with_a_slow_disk_says_so_and_holds_nobody_up)
{
    struct cell *c = cell_open(3);
    propose_entries(c, 100);
    struct replica *follower = a_follower(c), *leader = wait_leader(c);
    make_slow(follower, 4000);
    run_until(c, says_slow, follower, "a follower that says it is slow");
    ck_assert_uint_lt(raftlog_status(leader->log).disk_wait_ms,
                      raftlog_status(follower->log).disk_wait_ms);
    uint64_t start_ms = clock_mono_ms();
    propose_entries(c, 50); /* the other two are enough */
    ck_assert_uint_lt(clock_mono_ms() - start_ms, 4000);
    ck_assert_ptr_eq(wait_leader(c), leader);
    slow_dir[0] = '\0';
    check_all_equal(c);
    cell_free(c);
}
END_TEST

/* Commands come all the time. */
static bool another_leads_under_load(struct cell *c, const void *arg)
{
    const struct replica *old = arg;
    struct err err;
    if (c->under_way < 4 && old->role == RAFTLOG_LEADER)
        (void)propose_on((struct replica *)old, &err); /* refused: it is handing over */
    return another_leads(c, arg);
}

static const unsigned slow_cases[] = {400, 900, 1500, 3000};

START_TEST(a_leader_with_a_slow_disk_hands_over_under_load)
{
    struct cell *c = cell_open(3);
    propose_entries(c, 100);
    struct replica *leader = wait_leader(c);
    uint64_t term = raftlog_status(leader->log).term;
    make_slow(leader, slow_cases[_i]);
    uint64_t start_ms = clock_mono_ms();
    run_until(c, another_leads_under_load, leader, "another leader");
    ck_assert_uint_lt(clock_mono_ms() - start_ms, 6000);
    ck_assert_uint_eq(raftlog_status(wait_leader(c)->log).term,
                      term + 1); /* no election by chance */
    start_ms = clock_mono_ms();
    propose_entries(c, 50); /* the slow disk is one of three now */
    ck_assert_uint_lt(clock_mono_ms() - start_ms, 4000);
    ck_assert_uint_le(c->unknown, 4); /* what the old leader had not finished */
    slow_dir[0] = '\0';
    check_all_equal(c);
    cell_free(c);
}
END_TEST

/* A disk that all share is nobody's fault: leadership stays where it is. */
START_TEST(slow_everywhere_nobody_hands_over)
{
    struct cell *c = cell_open(3);
    propose_entries(c, 100);
    struct replica *leader = wait_leader(c);
    uint64_t term = raftlog_status(leader->log).term;
    slow_ms = 400;
    str_copy(slow_dir, sizeof slow_dir, c->dir);
    propose_entries(c, 12);
    ck_assert_ptr_eq(wait_leader(c), leader);
    ck_assert_uint_eq(raftlog_status(leader->log).term, term);
    ck_assert_uint_eq(c->unknown, 0);
    slow_dir[0] = '\0';
    check_all_equal(c);
    cell_free(c);
}
END_TEST

START_TEST(alone_it_goes_on)
{
    struct cell *c = cell_open(1);
    propose_entries(c, 10);
    make_slow(&c->replicas[0], 2500);
    run_until(c, says_slow, &c->replicas[0], "a slow disk");
    propose_entries(c, 2);
    slow_dir[0] = '\0';
    propose_entries(c, 100);
    ck_assert_ptr_eq(wait_leader(c), &c->replicas[0]);
    cell_free(c);
}
END_TEST

int main(void)
{
    main_thread = gettid();
    log_open(LOG_ERROR, "test");
    signal(SIGPIPE, SIG_IGN);
    setenv("CK_FORK", "no", 1); /* the thread that must not sleep is this one */
    Suite *suite = suite_create("raftlog_slow");
    TCase *t = tcase_create("slow");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, a_follower_with_a_slow_disk_says_so_and_holds_nobody_up);
    tcase_add_loop_test(t, a_leader_with_a_slow_disk_hands_over_under_load, 0,
                        (int)ARRAY_SIZE(slow_cases));
    tcase_add_test(t, slow_everywhere_nobody_hands_over);
    tcase_add_test(t, alone_it_goes_on);
    suite_add_tcase(suite, t);
    return t_main(suite);
}
