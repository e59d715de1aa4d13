/*
 * test_raftlog_faults.c - what raftlog refuses and what it survives: wrong options and strangers,
 * rubbish on disk, a disk that fails, kill -9.
 */
#include "raftlog_cell.h"
#include "stream.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

enum { EXIT_FATAL = 3 };

static int open_err(struct replica *r, const struct raftlog_options *o, struct err *err)
{
    struct raftlog *log = NULL;
    (void)r;
    int rv = raftlog_open(o, &log, err);
    ck_assert_int_ne(rv, 0);
    ck_assert_ptr_null(log);
    ck_assert_int_ne(err->msg[0], '\0');
    return rv;
}

START_TEST(open_refuses_what_cannot_work)
{
    struct cell *c = cell_new(3);
    struct replica *r = &c->replicas[0];
    struct err err;
    struct raftlog_options o = options_of(r);
    o.tls = c->replicas[1].tls;
    ck_assert_int_eq(open_err(r, &o, &err), -ERR_DENIED);
    o = options_of(r);
    o.id = 9;
    ck_assert_int_eq(open_err(r, &o, &err), -ERR_INVALID);
    o = options_of(r);
    o.members[1].id = 1;
    ck_assert_int_eq(open_err(r, &o, &err), -ERR_INVALID);
    o = options_of(r);
    o.dir = "/proc/nowhere/raft";
    ck_assert_int_eq(open_err(r, &o, &err), -ERR_IO);
    o = options_of(r);
    o.heartbeat_ms = 200;
    ck_assert_int_eq(open_err(r, &o, &err), -ERR_INVALID);
    o = options_of(r);
    o.disk_free_min_bytes = UINT64_C(1) << 60;
    ck_assert_int_eq(open_err(r, &o, &err), -ERR_LIMIT);

    replica_open(r);
    o = options_of(r);
    ck_assert_int_eq(open_err(r, &o, &err), -ERR_STATE); /* the directory is in use */
    replica_close(r);
    o = options_of(r);
    o.members[0].address[strlen("127.0.0.")] = '2';      /* a port that everybody may take */
    ck_assert_int_eq(open_err(r, &o, &err), -ERR_STATE); /* a number belongs to one address */
    cell_free(c);
}
END_TEST

START_TEST(corrupt_snapshot_is_refused)
{
    struct cell *c = cell_new(1);
    struct replica *r = &c->replicas[0];
    struct err err;
    c->options.snapshot_threshold = 64;
    replica_open(r);
    propose_entries(c, 300);
    run_until(c, all_have_snapshots, NULL, "a snapshot");
    replica_close(r);
    char cmd[512];
    snprintf(cmd, sizeof cmd,
             "for f in %s/snapshot-*; do case $f in *.meta);; *) echo rubbish > $f;; esac; done",
             r->dir);
    ck_assert_int_eq(system(cmd), 0);
    struct raftlog_options o = options_of(r);
    int rv = open_err(r, &o, &err);
    ck_assert(rv == -ERR_CORRUPT || rv == -ERR_IO);
    cell_free(c);
}
END_TEST

START_TEST(failed_disk_write_is_fatal_once)
{
    struct cell *c = cell_open(1);
    struct replica *r = &c->replicas[0];
    struct rlimit limit;
    struct err err;
    propose_entries(c, 20);
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = 1048576; /* no file may grow beyond: later writes of entries fail */
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    uint64_t deadline_ms = clock_mono_ms() + WAIT_MS;
    while (r->fatal_count == 0 && clock_mono_ms() < deadline_ms) {
        while (propose_on(r, &err) == 0)
            continue;
        uv_run(&c->loop, UV_RUN_ONCE);
    }
    size_t acked = acked_count(c);
    ck_assert_int_eq(propose_on(r, &err), -ERR_NOT_LEADER);
    replica_close(r);
    ck_assert_uint_eq(c->under_way, 0);
    ck_assert_uint_eq(acked_count(c), acked);
    ck_assert_uint_eq(r->fatal_count, 1);

    limit.rlim_cur = limit.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    r->fatal_count = 0;
    replica_open(r);
    propose_entries(c, 1);
    check_all_equal(c);
    cell_free(c);
    t_remove_dirs();
    _exit(EXIT_FATAL); /* what the dead instance held is lost with the process */
}
END_TEST

/* A stranger on the raft port. */
struct visitor {
    const uint8_t *hello;
    size_t hello_size;
    bool opened;
    bool closed;
};

static void visitor_on_open(struct stream *s, void *data)
{
    struct visitor *v = data;
    v->opened = true;
    ck_assert_int_eq(stream_write(s, v->hello, v->hello_size), 0);
}

static void visitor_on_data(struct stream *s, void *data, const void *bytes, size_t size)
{
    (void)s;
    (void)data;
    (void)bytes;
    (void)size;
    ck_abort_msg("a raft port answered a stranger");
}

static void visitor_on_close(struct stream *s, void *data, const struct err *why)
{
    struct visitor *v = data;
    (void)s;
    (void)why;
    v->closed = true;
}

static const struct stream_handlers visitor_handlers = {
    .on_open = visitor_on_open,
    .on_data = visitor_on_data,
    .on_close = visitor_on_close,
};

static bool visitor_gone(struct cell *c, const void *arg)
{
    const struct visitor *v = arg;
    (void)c;
    return v->closed;
}

static size_t make_hello(uint8_t hello[128], uint8_t id, const char *address)
{
    static const uint8_t magic[4] = {'B', 'R', 'L', '1'};
    size_t size = strlen(address);
    memset(hello, 0, 128);
    memcpy(hello, magic, 4);
    hello[11] = id;
    hello[13] = (uint8_t)size;
    memcpy(hello + 14, address, size);
    return 14 + size;
}

static bool visit(struct cell *c, struct tls_context *tls, const uint8_t *hello, size_t size)
{
    struct visitor v = {.hello = hello, .hello_size = size};
    struct stream *s = NULL;
    struct err err;
    struct stream_options o = {.loop = &c->loop,
                               .tls = tls,
                               .handlers = &visitor_handlers,
                               .data = &v,
                               .queue_bytes_max = 65536};
    ck_assert_int_eq(stream_connect(&o, c->options.members[0].address, &s, &err), 0);
    run_until(c, visitor_gone, &v, "being thrown out");
    return v.opened;
}

START_TEST(strangers_are_thrown_out)
{
    struct cell *c = cell_open(3);
    uint8_t hello[128];
    propose_entries(c, 5);
    struct tls_context *user = make_identity(c, "ada", ROLE_USER, "ada");
    struct tls_context *other = make_identity(c, "nine", ROLE_MASTER, "9");
    const char *address2 = c->options.members[1].address;
    /* A user's certificate; another replica's; one of no replica of the cell. */
    ck_assert(visit(c, user, hello, make_hello(hello, 2, address2)));
    ck_assert(visit(c, c->replicas[2].tls, hello, make_hello(hello, 2, address2)));
    ck_assert(visit(c, other, hello, make_hello(hello, 9, address2)));
    /* The right certificate with the wrong address, rubbish, and silence. */
    ck_assert(visit(c, c->replicas[1].tls, hello, make_hello(hello, 2, "127.0.0.1:1")));
    ck_assert(visit(c, c->replicas[1].tls, (const uint8_t *)"GET / HTTP/1.1\r\n", 16));
    ck_assert(visit(c, c->replicas[1].tls, hello, 0));
    propose_entries(c, 5);
    check_all_equal(c);
    tls_context_close(user);
    tls_context_close(other);
    cell_free(c);
}
END_TEST

static bool visitor_open(struct cell *c, const void *arg)
{
    const struct visitor *v = arg;
    (void)c;
    return v->opened;
}

/* What it had before it was removed does not stay. */
START_TEST(a_replica_that_is_removed_loses_the_connections_that_it_has)
{
    struct cell *c = cell_open(3);
    uint8_t hello[128];
    const char *address2 = c->options.members[1].address;
    struct visitor v = {.hello = hello, .hello_size = make_hello(hello, 2, address2)};
    struct stream *s = NULL;
    struct err err;
    propose_entries(c, 5);
    replica_close(&c->replicas[1]);
    struct stream_options o = {.loop = &c->loop,
                               .tls = c->replicas[1].tls,
                               .handlers = &visitor_handlers,
                               .data = &v,
                               .queue_bytes_max = 65536};
    ck_assert_int_eq(stream_connect(&o, c->options.members[0].address, &s, &err), 0);
    run_until(c, visitor_open, &v, "being let in");
    uint64_t until_ms = clock_mono_ms() + 2500; /* two looks at the least */
    while (clock_mono_ms() < until_ms)
        uv_run(&c->loop, UV_RUN_ONCE);
    ck_assert(!v.closed);
    c->options.members[1].id = 77; /* for may_connect() */
    run_until(c, visitor_gone, &v, "being thrown out");
    c->options.members[1].id = 2;
    cell_free(c);
}
END_TEST

/* The peer at an address must be the replica that should be there. */
START_TEST(replica_with_the_certificate_of_another_is_not_heard)
{
    struct cell *c = cell_new(3);
    struct err err;
    /* Replica 3 listens where replica 2 should be: as replica 2 in its own list. */
    replica_open(&c->replicas[0]);
    struct raftlog_options o = options_of(&c->replicas[2]);
    str_copy(o.members[2].address, sizeof o.members[2].address, c->options.members[1].address);
    str_copy(o.members[1].address, sizeof o.members[1].address, c->options.members[2].address);
    c->replicas[2].closed = false;
    ck_assert_msg(raftlog_open(&o, &c->replicas[2].log, &err) == 0, "%s", err.msg);
    uint64_t until_ms = clock_mono_ms() + 1500;
    while (clock_mono_ms() < until_ms) {
        uv_run(&c->loop, UV_RUN_ONCE);
        ck_assert_int_ne(c->replicas[0].role, RAFTLOG_LEADER);
        ck_assert_int_ne(c->replicas[2].role, RAFTLOG_LEADER);
    }
    cell_free(c);
}
END_TEST

/* In a child: acknowledge entries one after the other and say so, until killed. */
static void acknowledge_until_killed(struct cell *c, int fd)
{
    ck_assert_int_eq(uv_loop_fork(&c->loop), 0);
    replica_open(&c->replicas[0]);
    for (;;) {
        propose_entries(c, 1);
        uint64_t id = c->next_id - 1;
        if (write(fd, &id, sizeof id) != sizeof id)
            _exit(1);
    }
}

START_TEST(acknowledged_entries_survive_kill_9)
{
    struct cell *c = cell_new(1);
    c->options.snapshot_threshold = 100;
    c->options.snapshot_trailing = 10;
    for (unsigned round = 0; round < 3; round++) {
        int fds[2];
        uint64_t id = 0;
        ck_assert_int_eq(pipe(fds), 0);
        pid_t pid = fork();
        ck_assert_int_ge(pid, 0);
        if (pid == 0) {
            close(fds[0]);
            acknowledge_until_killed(c, fds[1]);
            _exit(1);
        }
        close(fds[1]);
        for (unsigned i = 0; i < 60 + round * 70; i++) {
            ck_assert_int_eq(read(fds[0], &id, sizeof id), sizeof id);
            c->acked[id] = true;
        }
        ck_assert_int_eq(kill(pid, SIGKILL), 0);
        while (read(fds[0], &id, sizeof id) == sizeof id)
            c->acked[id] = true;
        close(fds[0]);
        int status = 0;
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert(WIFSIGNALED(status));
        c->next_id = id + 100; /* one more may be stored without having been acknowledged */

        replica_open(&c->replicas[0]);
        check_all_equal(c);
        ck_assert_uint_ge(c->replicas[0].state.count, acked_count(c));
        replica_close(&c->replicas[0]);
    }
    cell_free(c);
}
END_TEST

/* What a replica on a small disk came to, in shared memory. */
struct full_disk {
    uint64_t acked;
    uint64_t entries; /* after it came back */
    unsigned fatal_count;
    int rv; /* of coming back */
    struct err err;
};

static void count_acked(struct raftlog_proposal *req, int status)
{
    struct full_disk *f = req->data;
    f->acked += status == 0;
    free(req);
}

/* In a child: write until the disk of the replica is full and it says so. */
static void write_until_full(struct cell *c, struct full_disk *f)
{
    struct replica *r = &c->replicas[0];
    uint8_t *bytes = xcalloc(1, RAFTLOG_ENTRY_BYTES_MAX);
    uint64_t deadline_ms = clock_mono_ms() + WAIT_MS;
    struct err err;
    ck_assert_int_eq(uv_loop_fork(&c->loop), 0);
    replica_open(r);
    while (r->fatal_count == 0 && clock_mono_ms() < deadline_ms) {
        struct raftlog_proposal *req = xcalloc(1, sizeof *req);
        req->data = f;
        memcpy(bytes, &c->next_id, sizeof c->next_id);
        if (raftlog_propose(r->log, req, bytes, RAFTLOG_ENTRY_BYTES_MAX, count_acked, &err) == 0)
            c->next_id++;
        else
            free(req);
        uv_run(&c->loop, UV_RUN_ONCE);
    }
    f->fatal_count = r->fatal_count;
    _exit(0);
}

static void come_back(struct cell *c, struct full_disk *f)
{
    struct replica *r = &c->replicas[0];
    struct raftlog_options o = options_of(r);
    ck_assert_int_eq(uv_loop_fork(&c->loop), 0);
    memset(&r->state, 0, sizeof r->state);
    f->rv = raftlog_open(&o, &r->log, &f->err); /* the only voter applies its log at once */
    f->entries = r->state.count;
    _exit(0);
}

static void in_child(struct cell *c, void (*run)(struct cell *c, struct full_disk *f),
                     struct full_disk *f)
{
    int status = 0;
    fflush(NULL);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        run(c, f);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status));
}

START_TEST(full_disk_ends_a_replica_and_it_comes_back_whole)
{
    struct cell *c = cell_new(1);
    struct replica *r = &c->replicas[0];
    struct full_disk *f =
        mmap(NULL, sizeof *f, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_int_eq(mkdir(r->dir, 0700), 0);
    if (mount("tmpfs", r->dir, "tmpfs", 0, "size=40m") != 0) {
        fprintf(stderr, "skipped: no small disk can be mounted here: %s\n", strerror(errno));
        cell_free(c);
        return;
    }
    c->options.disk_free_min_bytes = 1; /* the watch would end it before it is full */
    c->options.election_timeout_ms = 2000;
    in_child(c, write_until_full, f);
    ck_assert_int_eq(mount(NULL, r->dir, NULL, MS_REMOUNT, "size=400m"), 0);
    in_child(c, come_back, f);
    ck_assert_int_eq(umount2(r->dir, MNT_DETACH), 0);
    ck_assert_uint_eq(f->fatal_count, 1);
    ck_assert_uint_gt(f->acked, 8);
    ck_assert_msg(f->rv == 0, "%s", f->err.msg);
    ck_assert_uint_ge(f->entries, f->acked);
    cell_free(c);
}
END_TEST

int main(void)
{
    log_open(LOG_ERROR, "test");
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    Suite *suite = suite_create("raftlog_faults");
    TCase *t = tcase_create("replicas");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, open_refuses_what_cannot_work);
    tcase_add_test(t, corrupt_snapshot_is_refused);
    tcase_add_exit_test(t, failed_disk_write_is_fatal_once, EXIT_FATAL);
    tcase_add_test(t, full_disk_ends_a_replica_and_it_comes_back_whole);
    tcase_add_test(t, strangers_are_thrown_out);
    tcase_add_test(t, a_replica_that_is_removed_loses_the_connections_that_it_has);
    tcase_add_test(t, replica_with_the_certificate_of_another_is_not_heard);
    tcase_add_test(t, acknowledged_entries_survive_kill_9);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
