/*
 * testlib.h - code shared by all tests: checks that print the error, temporary directories, running
 * a loop until a condition holds, certificates.
 *
 * Errors: pass `&t_err` as the last argument, `T_OK(tls_context_open(a, b, c, &ctx, &t_err))`.
 * All functions fail the test on errors; the caller need not check anything.
 */
#ifndef CELL_TESTLIB_H
#define CELL_TESTLIB_H

#include "buf.h"
#include "clock.h"
#include "err.h"
#include "tls.h"

#include <check.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

/* Time-out of T_RUN. It is long because only failing tests reach it. */
enum { T_DEADLINE_MS = 60000, T_DIRS_MAX = 64 };

static struct err t_err UNUSED;

#define T_OK(call) \
    do { \
        t_err = (struct err){0}; \
        int t_rc_ = (call); \
        if (t_rc_ != 0) \
            ck_abort_msg("%s: %s: %s", #call, err_code_text((enum err_code)(-t_rc_)), t_err.msg); \
    } while (0)

/* The call must refuse with ERR_code, and with a message if it was given `&t_err`. */
#define T_REFUSED(call, error_code) \
    do { \
        t_err = (struct err){0}; \
        int t_rc_ = (call); \
        if (t_rc_ != -(int)(error_code)) \
            ck_abort_msg("%s: expected \"%s\", got \"%s\": %s", #call, err_code_text(error_code), \
                         err_code_text((enum err_code)(-t_rc_)), t_err.msg); \
        if (t_err.code != ERR_OK) { \
            ck_assert_int_eq(t_err.code, error_code); \
            ck_assert_str_ne(t_err.msg, ""); \
        } \
    } while (0)

/* The text must contain the part; otherwise both are printed. */
#define T_CONTAINS(text, part) \
    do { \
        const char *t_text_ = (text); \
        if (strstr(t_text_, (part)) == NULL) \
            ck_abort_msg("\"%s\" does not contain \"%s\"", t_text_, (part)); \
    } while (0)

static char t_base[32]; /* base directory from t_main(), which also removes those of failed tests */
static char t_dirs[T_DIRS_MAX][64];
static size_t t_dir_count;
static pid_t t_dir_owner; /* children of a test must not remove its directories */

static UNUSED int t_remove_one(const char *path, const struct stat *st UNUSED, int type UNUSED,
                               struct FTW *ftw UNUSED)
{
    return remove(path);
}

static UNUSED void t_remove_dirs(void)
{
    if (getpid() != t_dir_owner)
        return;
    for (size_t i = 0; i < t_dir_count; i++)
        nftw(t_dirs[i], t_remove_one, 16, FTW_DEPTH | FTW_PHYS);
    t_dir_count = 0;
}

/* Return a new empty directory, which is removed when the test (the process) ends. */
static UNUSED const char *t_dir(void)
{
    if (t_dir_owner != getpid()) {
        t_dir_owner = getpid();
        t_dir_count = 0;
        atexit(t_remove_dirs);
    }
    ck_assert_uint_lt(t_dir_count, T_DIRS_MAX);
    char *dir = t_dirs[t_dir_count++];
    if (t_base[0] == '\0')
        snprintf(dir, sizeof t_dirs[0], "/tmp/cell-test-XXXXXX");
    else
        snprintf(dir, sizeof t_dirs[0], "%s/XXXXXX", t_base);
    ck_assert_ptr_nonnull(mkdtemp(dir));
    return dir;
}

/* Return DIR/NAME in one of a few static buffers. */
static UNUSED const char *t_path(const char *dir, const char *name)
{
    static char paths[8][512];
    static unsigned next;
    char *path = paths[next++ % ARRAY_SIZE(paths)];
    snprintf(path, sizeof paths[0], "%s/%s", dir, name);
    return path;
}

/*
 * A loop with a timer, so that T_RUN sees its deadline even without other events. t_loop_close runs
 * the loop until all closing handles are closed, and fails the test if a handle is still open.
 */
struct t_loop {
    uv_loop_t uv;
    uv_timer_t beat;
};

static UNUSED void t_loop_on_beat(uv_timer_t *timer UNUSED)
{
}

static UNUSED void t_loop_init(struct t_loop *loop)
{
    signal(SIGPIPE, SIG_IGN);
    ck_assert_int_eq(uv_loop_init(&loop->uv), 0);
    ck_assert_int_eq(uv_timer_init(&loop->uv, &loop->beat), 0);
    ck_assert_int_eq(uv_timer_start(&loop->beat, t_loop_on_beat, 10, 10), 0);
    uv_unref((uv_handle_t *)&loop->beat);
}

/* Run the loop until the condition is true; fail the test after the time-out. */
#define T_RUN(loop, condition) T_RUN_FOR(loop, T_DEADLINE_MS, condition)
#define T_RUN_FOR(loop, timeout_ms, condition) \
    do { \
        uint64_t t_end_ = clock_mono_ms() + (timeout_ms); \
        while (!(condition)) { \
            if (clock_mono_ms() > t_end_) \
                ck_abort_msg("still not true after %d ms: %s", (int)(timeout_ms), #condition); \
            uv_run(&(loop)->uv, UV_RUN_ONCE); \
        } \
    } while (0)

/* Run the loop for a while, in which something must not happen. */
static UNUSED void t_loop_run_ms(struct t_loop *loop, uint64_t ms)
{
    uint64_t end = clock_mono_ms() + ms;
    while (clock_mono_ms() < end)
        uv_run(&loop->uv, UV_RUN_ONCE);
}

static UNUSED void t_loop_print_handle(uv_handle_t *handle, void *data UNUSED)
{
    fprintf(stderr, "left open: %s\n", uv_handle_type_name(handle->type));
}

static UNUSED void t_loop_close(struct t_loop *loop)
{
    uint64_t end = clock_mono_ms() + T_DEADLINE_MS;
    while (uv_loop_alive(&loop->uv)) {
        if (clock_mono_ms() > end) {
            uv_walk(&loop->uv, t_loop_print_handle, NULL);
            ck_abort_msg("the loop does not end");
        }
        uv_run(&loop->uv, UV_RUN_ONCE);
    }
    uv_close((uv_handle_t *)&loop->beat, NULL);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&loop->uv), 0);
}

/* Make a new directory with a CA. */
static UNUSED const char *t_pki(void)
{
    const char *dir = t_dir();
    T_OK(pki_make_ca(dir, "test", &t_err));
    return dir;
}

/* Return the context of a holder of a certificate of that CA: t_tls(dir, "user/ada"). Close it. */
static UNUSED struct tls_context *t_tls(const char *dir, const char *common_name)
{
    struct identity id;
    struct tls_context *ctx;
    char name[CELL_NAME_MAX + 16], crt[CELL_NAME_MAX + 32], key[CELL_NAME_MAX + 32];
    T_OK(identity_parse(common_name, &id, &t_err));
    snprintf(name, sizeof name, "%s-%s", role_text(id.role), id.name);
    snprintf(crt, sizeof crt, "%s.crt", name);
    snprintf(key, sizeof key, "%s.key", name);
    T_OK(pki_make_cert(dir, name, &id, &t_err));
    T_OK(tls_context_open(t_path(dir, "ca.crt"), t_path(dir, crt), t_path(dir, key), &ctx, &t_err));
    return ctx;
}

/* The result of main(): run the suite, each test in its own process unless CK_FORK=no. */
static UNUSED int t_main(Suite *suite)
{
    SRunner *runner = srunner_create(suite);
    str_copy(t_base, sizeof t_base, "/tmp/cell-test-XXXXXX");
    if (mkdtemp(t_base) == NULL) {
        perror(t_base);
        return EXIT_FAILURE;
    }
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    nftw(t_base, t_remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif
