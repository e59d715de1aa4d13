/*
 * test_raftlog_close.c - the log closes once, whatever ends first: its files or its handles.
 *
 * The library finishes its segments in libuv's pool. uv_queue_work(), which this program defines
 * itself, returns when the pool has had time for that, so the work is reported in the very next
 * turn of the loop; and freed memory is overwritten, so whoever looks at it crashes.
 */
#include "raftlog_cell.h"

#include <dlfcn.h>
#include <malloc.h>

static bool pool_is_quick;
static unsigned closed_count, snapshots_begun;

int uv_queue_work(uv_loop_t *loop, uv_work_t *req, uv_work_cb work_cb, uv_after_work_cb after)
{
    static int (*next)(uv_loop_t *, uv_work_t *, uv_work_cb, uv_after_work_cb);
    if (next == NULL)
        *(void **)&next = dlsym(RTLD_NEXT, "uv_queue_work");
    int rv = next(loop, req, work_cb, after);
    if (pool_is_quick)
        usleep(3000);
    return rv;
}

static void *begin_counted(void *data, uint64_t index, uint64_t term)
{
    snapshots_begun++;
    return snapshot_begin(data, index, term);
}

static int write_slowly(void *token, void **ret_bytes, size_t *ret_size)
{
    usleep(10000);
    return snapshot_write(token, ret_bytes, ret_size);
}

static void count_closed(void *data)
{
    closed_count++;
    on_closed(data);
}

static void open_slow(struct replica *r)
{
    static struct raftlog_handlers slow;
    struct raftlog_options o = options_of(r);
    struct err err;
    slow = handlers;
    slow.snapshot_begin = begin_counted;
    slow.snapshot_write = write_slowly;
    o.handlers = &slow;
    memset(&r->state, 0, sizeof r->state);
    r->closed = false;
    r->role = RAFTLOG_FOLLOWER;
    ck_assert_msg(raftlog_open(&o, &r->log, &err) == 0, "%s", err.msg);
}

static bool is_ready(struct cell *c, const void *arg)
{
    const struct replica *r = arg;
    struct err err;
    if (r->role == RAFTLOG_LEADER && (c->under_way == 0 || c->options.snapshot_threshold < 100))
        (void)propose_on(&c->replicas[0], &err);
    return snapshots_begun > 0 || (c->options.snapshot_threshold > 100 && c->answered > 8);
}

static bool is_at_rest(struct cell *c, const void *arg)
{
    const struct replica *r = arg;
    struct raftlog_status s = raftlog_status(r->log);
    return c->under_way == 0 && s.stored_index == s.last_index;
}

/* At rest, where all files are finished in the turn that closes the log, and while an entry or an
 * image is written; some turns of the loop later in each round. */
START_TEST(closes_once_whatever_the_pool_is_doing)
{
    struct cell *c = cell_new(1);
    struct replica *r = &c->replicas[0];
    ck_assert_int_eq(mallopt(M_PERTURB, 0xa5), 1);
    c->options.snapshot_trailing = 8;
    for (int round = 0; round < 24; round++) {
        c->options.snapshot_threshold = round % 3 == 2 ? 16 : 100000;
        open_slow(r);
        c->answered = snapshots_begun = closed_count = 0;
        run_until(c, is_ready, r, "entries");
        if (round % 3 == 0)
            run_until(c, is_at_rest, r, "rest");
        for (int turn = 0; turn < round % 5; turn++)
            uv_run(&c->loop, UV_RUN_NOWAIT);
        pool_is_quick = round % 2 == 0;
        raftlog_close(r->log, count_closed, r);
        run_until(c, is_closed, r, "close");
        for (int turn = 0; turn < 4; turn++) /* what comes late comes now */
            uv_run(&c->loop, UV_RUN_NOWAIT);
        pool_is_quick = false;
        ck_assert_uint_eq(closed_count, 1);
    }
    cell_free(c);
}
END_TEST

int main(void)
{
    log_open(LOG_ERROR, "test");
    signal(SIGPIPE, SIG_IGN);
    Suite *suite = suite_create("raftlog_close");
    TCase *t = tcase_create("close");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, closes_once_whatever_the_pool_is_doing);
    suite_add_tcase(suite, t);
    return t_main(suite);
}
