/*
 * test_resolver.c - names of hosts: a name service that is silent stops nobody.
 */
#include "resolver.h"
#include "stream.h"
#include "testlib.h"

#include <netdb.h>
#include <netinet/in.h>
#include <stdatomic.h>

enum { FRESH_MS = 100 };

/* What the name service of a test does. */
static struct {
    atomic_bool silent; /* look-ups do not return until this is false again */
    atomic_int failure; /* EAI_ code to answer, 0: 127.0.0.1 */
    atomic_int calls, under_way, under_way_most;
} service;

static int service_lookup(const char *host, struct sockaddr_storage *ret)
{
    (void)host;
    service.calls++;
    int now = ++service.under_way;
    if (now > service.under_way_most)
        service.under_way_most = now;
    while (service.silent)
        usleep(1000);
    service.under_way--;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    memcpy(ret, &at, sizeof at);
    return service.failure;
}

static void service_begin(bool silent, uint64_t fresh_ms)
{
    service.silent = silent;
    service.failure = 0;
    service.calls = service.under_way = service.under_way_most = 0;
    resolver_use(service_lookup, fresh_ms);
}

/* Threads that were left must not outlive the test. */
static void service_end(void)
{
    service.silent = false;
    while (service.under_way > 0)
        usleep(1000);
    resolver_use(NULL, RESOLVER_FRESH_MS);
}

struct bed {
    struct t_loop loop;
    struct tls_context *master, *user;
    struct stream_listener *listener;
    int opened, closed, accepted;
    struct err why;
};

static void on_open(struct stream *s, void *data)
{
    struct bed *bed = data;
    bed->opened++;
    stream_close(s);
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

static void on_accepted_close(struct stream *s UNUSED, void *data UNUSED,
                              const struct err *why UNUSED)
{
}

static const struct stream_handlers accepted_handlers = {NULL, on_data, NULL, on_accepted_close};

static void on_accept(struct stream_listener *l UNUSED, struct stream *s UNUSED, void *data)
{
    struct bed *bed = data;
    bed->accepted++;
}

static struct stream_options options_of(struct bed *bed, struct tls_context *tls)
{
    return (struct stream_options){.loop = &bed->loop.uv,
                                   .tls = tls,
                                   .handlers = &handlers,
                                   .data = bed,
                                   .queue_bytes_max = 65536};
}

static struct bed *bed_new(void)
{
    struct bed *bed = xcalloc(1, sizeof *bed);
    const char *pki = t_pki();
    t_loop_init(&bed->loop);
    bed->master = t_tls(pki, "master/1");
    bed->user = t_tls(pki, "user/ada");
    struct stream_options options = options_of(bed, bed->master);
    options.handlers = &accepted_handlers;
    T_OK(stream_listen(&options, "127.0.0.1:0", 64, on_accept, &bed->listener, &t_err));
    return bed;
}

static void bed_free(struct bed *bed)
{
    stream_listener_close(bed->listener);
    t_loop_close(&bed->loop);
    tls_context_close(bed->master);
    tls_context_close(bed->user);
    free(bed);
}

static void bed_connect(struct bed *bed, const char *host)
{
    struct stream *s;
    char address[CELL_ADDR_MAX + 1];
    struct stream_options options = options_of(bed, bed->user);
    uint64_t begin_ms = clock_mono_ms();
    snprintf(address, sizeof address, "%s%s", host,
             strrchr(stream_listener_address(bed->listener), ':'));
    T_OK(stream_connect(&options, address, &s, &t_err));
    ck_assert_uint_lt(clock_mono_ms() - begin_ms, 500);
}

/* Until what was answered so far is asked for anew. */
static void bed_wait_stale(struct bed *bed)
{
    uint64_t until_ms = clock_mono_ms() + FRESH_MS;
    T_RUN(&bed->loop, clock_mono_ms() > until_ms);
}

START_TEST(a_silent_name_service_does_not_stop_the_loop)
{
    struct bed *bed = bed_new();
    service_begin(/* silent= */ true, RESOLVER_FRESH_MS);
    uint64_t begin_ms = clock_mono_ms();
    for (int i = 0; i < 10; i++)
        bed_connect(bed, "dead.example");
    bed_connect(bed, "127.0.0.1"); /* meanwhile, somebody else's */
    T_RUN(&bed->loop, bed->opened == 1 && bed->closed >= 1);
    ck_assert_uint_lt(clock_mono_ms() - begin_ms, STREAM_CONNECT_TIMEOUT_MS);
    T_RUN(&bed->loop, bed->closed == 11);
    ck_assert_int_eq(bed->opened, 1);
    ck_assert_int_eq(bed->why.code, ERR_TIMEOUT);
    T_CONTAINS(bed->why.msg, "name service");
    T_CONTAINS(bed->why.msg, "dead.example");
    ck_assert_int_eq(service.calls, 1); /* at most one under way for a name */
    service_end();
    bed_free(bed);
}
END_TEST

START_TEST(when_the_name_service_falls_silent_the_address_of_before_is_used)
{
    struct bed *bed = bed_new();
    service_begin(/* silent= */ false, FRESH_MS);
    bed_connect(bed, "live.example");
    T_RUN(&bed->loop, bed->opened == 1);
    bed_wait_stale(bed);
    service.silent = true;
    for (int i = 2; i <= 4; i++) {
        uint64_t begin_ms = clock_mono_ms();
        bed_connect(bed, "live.example");
        T_RUN(&bed->loop, bed->opened == i);
        if (i == 2)
            ck_assert_uint_ge(clock_mono_ms() - begin_ms, RESOLVER_PATIENCE_MS / 2);
    }
    ck_assert_int_eq(service.calls, 2);
    T_RUN(&bed->loop, bed->closed == 4);
    service_end();
    bed_free(bed);
}
END_TEST

START_TEST(an_answer_is_remembered)
{
    struct bed *bed = bed_new();
    service_begin(/* silent= */ false, RESOLVER_FRESH_MS);
    for (int i = 1; i <= 5; i++) {
        bed_connect(bed, "live.example");
        T_RUN(&bed->loop, bed->opened == i);
    }
    ck_assert_int_eq(service.calls, 1);
    T_RUN(&bed->loop, bed->closed == 5);
    service_end();
    bed_free(bed);
}
END_TEST

START_TEST(what_the_name_service_says_counts)
{
    static const struct {
        int failure;
        bool known;  /* it had an address before */
        bool opened; /* the connection comes about */
    } cases[] = {
        {EAI_NONAME, false, false}, {EAI_NONAME, true, false}, {EAI_AGAIN, false, false},
        {EAI_AGAIN, true, true},    {EAI_FAIL, true, true},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct bed *bed = bed_new();
        service_begin(/* silent= */ false, FRESH_MS);
        if (cases[i].known) {
            bed_connect(bed, "some.example");
            T_RUN(&bed->loop, bed->closed == 1);
            bed_wait_stale(bed);
        }
        service.failure = cases[i].failure;
        int opened = bed->opened, closed = bed->closed;
        bed_connect(bed, "some.example");
        T_RUN(&bed->loop, bed->closed == closed + 1);
        ck_assert_int_eq(bed->opened - opened, cases[i].opened);
        if (!cases[i].opened) {
            ck_assert_int_eq(bed->why.code, ERR_NOT_FOUND);
            T_CONTAINS(bed->why.msg, "cannot be resolved");
        }
        service_end();
        bed_free(bed);
    }
}
END_TEST

START_TEST(many_names_take_a_bounded_number_of_threads)
{
    struct sockaddr_storage address;
    struct err err;
    service_begin(/* silent= */ true, RESOLVER_FRESH_MS);
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < 2 * RESOLVER_NAMES_MAX; i++) {
            char host[32];
            snprintf(host, sizeof host, "h%d.example", i);
            ck_assert_int_eq(resolver_ask(host, &address, &err), RESOLVER_ASKING);
        }
    while (service.under_way < RESOLVER_THREADS_MAX)
        usleep(1000);
    ck_assert_int_eq(service.under_way_most, RESOLVER_THREADS_MAX);
    ck_assert_int_eq(service.calls, RESOLVER_THREADS_MAX);
    service_end();
}
END_TEST

START_TEST(a_stream_may_be_closed_while_its_name_is_looked_up)
{
    struct bed *bed = bed_new();
    struct stream *s;
    struct stream_options options = options_of(bed, bed->user);
    service_begin(/* silent= */ true, RESOLVER_FRESH_MS);
    T_OK(stream_connect(&options, "dead.example:1", &s, &t_err));
    uv_run(&bed->loop.uv, UV_RUN_NOWAIT);
    stream_close(s);
    T_RUN(&bed->loop, bed->closed == 1);
    service_end();
    bed_free(bed);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("resolver");
    TCase *tc = tcase_create("names");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, a_silent_name_service_does_not_stop_the_loop);
    tcase_add_test(tc, when_the_name_service_falls_silent_the_address_of_before_is_used);
    tcase_add_test(tc, an_answer_is_remembered);
    tcase_add_test(tc, what_the_name_service_says_counts);
    tcase_add_test(tc, many_names_take_a_bounded_number_of_threads);
    tcase_add_test(tc, a_stream_may_be_closed_while_its_name_is_looked_up);
    suite_add_tcase(suite, tc);
    return t_main(suite);
}
