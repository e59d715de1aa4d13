/*
 * test_stream_admission.c - connections by the thousand: silent ones, all at once, and gone at
 * once.
 */
#include "stream.h"
#include "testlib.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum { ENDS_MAX = 400 };

struct bed {
    struct t_loop loop;
    struct tls_context *master, *user;
    struct stream_listener *listener;
    struct stream *accepted[ENDS_MAX];
    size_t accepted_count, closed;
    int opened;     /* of our own connections */
    struct err why; /* of the last that ended */
    pid_t child;    /* who floods; 0: nobody */
};

static void on_open(struct stream *s UNUSED, void *data)
{
    ((struct bed *)data)->opened++;
}

static void on_data(struct stream *s UNUSED, void *data UNUSED, const void *bytes UNUSED,
                    size_t size UNUSED)
{
}

static void on_close(struct stream *s UNUSED, void *data, const struct err *why)
{
    struct bed *bed = data;
    bed->closed++;
    bed->why = *why;
}

static const struct stream_handlers handlers = {on_open, on_data, NULL, on_close};

static void on_accept(struct stream_listener *l UNUSED, struct stream *s, void *data)
{
    struct bed *bed = data;
    ck_assert_uint_lt(bed->accepted_count, ENDS_MAX);
    bed->accepted[bed->accepted_count++] = s;
}

static struct stream_options options_of(struct bed *bed, struct tls_context *tls)
{
    return (struct stream_options){.loop = &bed->loop.uv,
                                   .tls = tls,
                                   .handlers = &handlers,
                                   .data = bed,
                                   .queue_bytes_max = 65536};
}

static struct bed *bed_new(const struct admission_limits *limits)
{
    struct bed *bed = xcalloc(1, sizeof *bed);
    const char *pki = t_pki();
    t_loop_init(&bed->loop);
    bed->master = t_tls(pki, "master/1");
    bed->user = t_tls(pki, "user/ada");
    struct stream_options options = options_of(bed, bed->master);
    options.limits = limits;
    T_OK(stream_listen(&options, "127.0.0.1:0", RPC_CONNECTIONS_MAX, on_accept, &bed->listener,
                       &t_err));
    return bed;
}

static struct stream *bed_connect(struct bed *bed)
{
    struct stream *s;
    struct stream_options options = options_of(bed, bed->user);
    T_OK(stream_connect(&options, stream_listener_address(bed->listener), &s, &t_err));
    return s;
}

/* As many silent connections as `count`, held and opened again when they are cut, by a child. */
_Noreturn static void flood_run(const char *address, int count)
{
    struct sockaddr_storage to;
    struct rlimit limit = {65536, 65536};
    int *fds = xcalloc((size_t)count, sizeof *fds);
    (void)!setrlimit(RLIMIT_NOFILE, &limit);
    if (address_parse(address, &to, NULL) != 0)
        _exit(1);
    for (;;) {
        char byte;
        for (int i = 0; i < count; i++) {
            if (fds[i] > 0 && recv(fds[i], &byte, 1, MSG_DONTWAIT) != 0 && errno == EAGAIN)
                continue;
            if (fds[i] > 0)
                close(fds[i]);
            fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
            (void)!connect(fds[i], (const struct sockaddr *)&to, sizeof(struct sockaddr_in));
        }
        usleep(1000);
    }
}

static void flood_begin(struct bed *bed, int count)
{
    char address[CELL_ADDR_MAX + 1];
    str_copy(address, sizeof address, stream_listener_address(bed->listener));
    bed->child = fork();
    ck_assert_int_ge(bed->child, 0);
    if (bed->child == 0) {
        for (int fd = 3; fd < 1024; fd++)
            close(fd);
        flood_run(address, count);
    }
}

static void bed_free(struct bed *bed)
{
    if (bed->child > 0) {
        kill(bed->child, SIGKILL);
        waitpid(bed->child, NULL, 0);
    }
    stream_listener_close(bed->listener);
    for (size_t i = 0; i < bed->accepted_count; i++)
        if (bed->accepted[i] != NULL)
            stream_close(bed->accepted[i]);
    t_loop_close(&bed->loop);
    tls_context_close(bed->master);
    tls_context_close(bed->user);
    free(bed);
}

/* Another one comes, in the middle of it all. */
static void check_somebody_else(struct bed *bed)
{
    int before = bed->opened;
    size_t accepted = bed->accepted_count;
    struct stream *s = bed_connect(bed);
    T_RUN(&bed->loop, bed->opened == before + 1 && bed->accepted_count == accepted + 1);
    stream_close(s);
    accepted = bed->closed;
    T_RUN(&bed->loop, bed->closed >= accepted + 2);
    bed->accepted[bed->accepted_count - 1] = NULL;
}

START_TEST(silent_connections_give_way_to_who_has_something_to_say)
{
    struct admission_limits limits = admission_rpc;
    limits.connections = 200; /* 24 strangers */
    struct bed *bed = bed_new(&limits);
    flood_begin(bed, 600);
    T_RUN(&bed->loop, stream_listener_refused(bed->listener) > 300);
    for (int i = 0; i < 5; i++)
        check_somebody_else(bed);
    bed_free(bed);
}
END_TEST

START_TEST(a_flood_of_connections_leaves_descriptors_for_files)
{
    enum { FILES = 128 }; /* a quarter is kept */
    struct rlimit limit = {FILES, FILES};
    struct bed *bed = bed_new(&admission_rpc);
    int kept[16];
    flood_begin(bed, 600);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    T_RUN(&bed->loop, stream_listener_refused(bed->listener) > 300);
    for (int round = 0; round < 20; round++) {
        for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
            ck_assert_int_ge(kept[i] = open("/dev/null", O_RDONLY | O_CLOEXEC), 0);
        t_loop_run_ms(&bed->loop, 20);
        for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
            close(kept[i]);
    }
    check_somebody_else(bed);
    bed_free(bed);
}
END_TEST

START_TEST(when_descriptors_are_out_the_loop_goes_on_and_so_do_connections_later)
{
    struct rlimit limit = {96, 96};
    struct bed *bed = bed_new(&admission_rpc);
    int taken[96];
    size_t count = 0;
    flood_begin(bed, 300);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    /* The process itself takes all there are. */
    while ((taken[count] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
        count++;
    int turns = 0;
    for (uint64_t end_ms = clock_mono_ms() + 500; clock_mono_ms() < end_ms; turns++)
        uv_run(&bed->loop.uv, UV_RUN_ONCE);
    ck_assert_int_gt(turns, 5);
    for (size_t i = 0; i < count; i++)
        close(taken[i]);
    check_somebody_else(bed);
    bed_free(bed);
}
END_TEST

START_TEST(connections_that_end_at_once_end_in_many_turns)
{
    struct bed *bed = bed_new(NULL);
    struct stream *ends[ENDS_MAX];
    for (size_t i = 0; i < ENDS_MAX; i++) {
        ends[i] = bed_connect(bed);
        T_RUN(&bed->loop, bed->opened + 20 > (int)i);
    }
    T_RUN(&bed->loop, bed->accepted_count == ENDS_MAX && bed->opened == ENDS_MAX);
    for (size_t i = 0; i < ENDS_MAX; i++)
        stream_close(ends[i]);
    size_t most = 0;
    while (bed->closed < 2 * (size_t)ENDS_MAX) {
        size_t before = bed->closed;
        uv_run(&bed->loop.uv, UV_RUN_ONCE);
        most = MAX(most, bed->closed - before);
    }
    ck_assert_uint_le(most, 2 * 64); /* TURN_ENDS_MAX, and the clock of a turn may move once */
    bed->accepted_count = 0;
    bed_free(bed);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("stream_admission");
    TCase *tc = tcase_create("floods");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, silent_connections_give_way_to_who_has_something_to_say);
    tcase_add_test(tc, a_flood_of_connections_leaves_descriptors_for_files);
    tcase_add_test(tc, when_descriptors_are_out_the_loop_goes_on_and_so_do_connections_later);
    tcase_add_test(tc, connections_that_end_at_once_end_in_many_turns);
    suite_add_tcase(suite, tc);
    return t_main(suite);
}
