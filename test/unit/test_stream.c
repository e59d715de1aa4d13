/*
 * test_stream.c - TLS streams between two ends on one loop, and peers that are none.
 */
#include "stream.h"

#include "hash.h"
#include "testlib.h"

#include <arpa/inet.h>
#include <errno.h>
#include <gnutls/gnutls.h>
#include <netinet/in.h>
#include <sys/socket.h>

enum { QUEUE_BYTES_MAX = 4 << 20, ACCEPTED_MAX = 256 };

/* One end of a stream and all that happened to it. */
struct end {
    struct stream *s; /* NULL after on_close */
    bool echo;        /* send back what comes */
    bool close_on_open;
    bool pause_each_time; /* pause after every piece, resume in the next turn */
    size_t pause_at;      /* pause when that much has come; 0: never */
    int opened, closed, drained;
    bool in_call; /* an owner's call is running: no handler may come */
    uint64_t received, hash;
    struct err why;
};

struct bed {
    struct t_loop loop;
    const char *pki;
    struct tls_context *server_tls, *client_tls;
    struct stream_listener *listener;
    struct end accepted[ACCEPTED_MAX];
    size_t accepted_count;
    bool echo;
    size_t accept_pause_at;
};

/* Order matters in this hash, the cut into pieces does not. */
static uint64_t roll(uint64_t hash, const void *bytes, size_t size)
{
    const unsigned char *p = bytes;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ p[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static void end_on_open(struct stream *s, void *data)
{
    struct end *end = data;
    ck_assert(!end->in_call);
    ck_assert_ptr_eq(end->s, s);
    end->opened++;
    if (end->close_on_open)
        stream_close(s);
}

static void end_on_data(struct stream *s, void *data, const void *bytes, size_t size)
{
    struct end *end = data;
    ck_assert(!end->in_call);
    ck_assert_int_eq(end->closed, 0);
    end->received += size;
    end->hash = roll(end->hash, bytes, size);
    if (end->echo) {
        ck_assert_int_eq(stream_write(s, bytes, size), 0);
        if (stream_queued(s) > QUEUE_BYTES_MAX / 2)
            stream_pause(s);
    }
    if (end->pause_each_time) {
        stream_pause(s);
        stream_resume(s);
        stream_pause(s);
    }
    if (end->pause_at != 0 && end->received >= end->pause_at)
        stream_pause(s);
}

static void end_on_drain(struct stream *s, void *data)
{
    struct end *end = data;
    ck_assert(!end->in_call);
    end->drained++;
    if (end->echo)
        stream_resume(s);
}

static void end_on_close(struct stream *s, void *data, const struct err *why)
{
    struct end *end = data;
    ck_assert(!end->in_call);
    ck_assert_ptr_eq(end->s, s);
    end->s = NULL;
    end->closed++;
    end->why = *why;
    ck_assert_int_ne(why->code, ERR_OK);
    ck_assert_str_ne(why->msg, "");
}

static const struct stream_handlers end_handlers = {end_on_open, end_on_data, end_on_drain,
                                                    end_on_close};

static void bed_on_accept(struct stream_listener *l, struct stream *s, void *data)
{
    struct bed *bed = data;
    ck_assert_ptr_eq(l, bed->listener);
    ck_assert_uint_lt(bed->accepted_count, ACCEPTED_MAX);
    struct end *end = &bed->accepted[bed->accepted_count++];
    *end = (struct end){.s = s, .echo = bed->echo, .pause_at = bed->accept_pause_at};
    stream_set_data(s, end);
    if (bed->accept_pause_at == 1)
        stream_pause(s);
}

static struct stream_options options_of(struct bed *bed, struct tls_context *tls, void *data)
{
    return (struct stream_options){.loop = &bed->loop.uv,
                                   .tls = tls,
                                   .handlers = &end_handlers,
                                   .data = data,
                                   .queue_bytes_max = QUEUE_BYTES_MAX};
}

static void bed_init_limited(struct bed *bed, size_t connections_max)
{
    *bed = (struct bed){.pki = t_pki()};
    t_loop_init(&bed->loop);
    bed->server_tls = t_tls(bed->pki, "master/1");
    bed->client_tls = t_tls(bed->pki, "borglet/m1");
    struct stream_options options = options_of(bed, bed->server_tls, bed);
    T_OK(stream_listen(&options, "127.0.0.1:0", connections_max, bed_on_accept, &bed->listener,
                       &t_err));
}

static void bed_init(struct bed *bed)
{
    bed_init_limited(bed, ACCEPTED_MAX);
}

static void bed_release(struct bed *bed)
{
    stream_listener_close(bed->listener);
    for (size_t i = 0; i < bed->accepted_count; i++)
        if (bed->accepted[i].s != NULL)
            stream_close(bed->accepted[i].s);
    t_loop_close(&bed->loop);
    for (size_t i = 0; i < bed->accepted_count; i++)
        ck_assert_int_eq(bed->accepted[i].closed, 1);
    tls_context_close(bed->server_tls);
    tls_context_close(bed->client_tls);
}

static void bed_connect(struct bed *bed, struct end *end)
{
    struct stream_options options = options_of(bed, bed->client_tls, end);
    end->in_call = true;
    T_OK(stream_connect(&options, stream_listener_address(bed->listener), &end->s, &t_err));
    end->in_call = false;
}

/* Both ends are open. */
static void bed_pair(struct bed *bed, struct end *end)
{
    bed_connect(bed, end);
    T_RUN(&bed->loop, end->opened == 1 && bed->accepted_count == 1);
}

static int end_write(struct end *end, const void *bytes, size_t size)
{
    end->in_call = true;
    int rc = stream_write(end->s, bytes, size);
    end->in_call = false;
    return rc;
}

static void end_close(struct end *end)
{
    if (end->s == NULL)
        return;
    end->in_call = true;
    stream_close(end->s);
    stream_close(end->s);
    end->in_call = false;
    ck_assert_int_eq(end->closed, 0);
}

/* Write `size` bytes in uneven pieces as fast as the queue takes them; the hash of all of them. */
static uint64_t send_all(struct bed *bed, struct end *end, uint64_t size)
{
    static unsigned char bytes[100000];
    uint64_t hash = 0, seed = 1;
    for (uint64_t at = 0; at < size;) {
        uint64_t piece = 1 + hash_u64(seed++) % sizeof bytes;
        size_t n = (size_t)MIN(size - at, piece);
        for (size_t i = 0; i < n; i++)
            bytes[i] = (unsigned char)((at + i) * 31 >> 3);
        int rc;
        while ((rc = end_write(end, bytes, n)) == -ERR_LIMIT) {
            int drained = end->drained;
            T_RUN(&bed->loop, end->drained > drained);
        }
        ck_assert_int_eq(rc, 0);
        hash = roll(hash, bytes, n);
        at += n;
    }
    return hash;
}

START_TEST(what_is_sent_comes_back_whole_and_in_order)
{
    static const uint64_t sizes[] = {1, 1000000, 50000000};
    struct bed bed;
    struct end end = {0};
    bed_init(&bed);
    bed.echo = true;
    bed_pair(&bed, &end);
    uint64_t hash = send_all(&bed, &end, sizes[_i]);
    T_RUN(&bed.loop, end.received >= sizes[_i]);
    ck_assert_uint_eq(end.received, sizes[_i]);
    ck_assert_uint_eq(end.hash, hash);
    ck_assert_uint_eq(stream_queued(end.s), 0);
    end_close(&end);
    bed_release(&bed);
    ck_assert_int_eq(end.closed, 1);
}
END_TEST

START_TEST(both_ends_know_who_the_other_is)
{
    struct bed bed;
    struct end end = {0};
    bed_init(&bed);
    bed_pair(&bed, &end);
    struct stream *accepted = bed.accepted[0].s;
    ck_assert_str_eq(identity_text(stream_peer(end.s)).text, "master/1");
    ck_assert_str_eq(identity_text(stream_peer(accepted)).text, "borglet/m1");
    ck_assert_str_eq(stream_peer_address(end.s), stream_listener_address(bed.listener));
    T_CONTAINS(stream_peer_address(accepted), "127.0.0.1:");
    end_close(&end);
    bed_release(&bed);
}
END_TEST

START_TEST(bytes_written_before_the_handshake_are_sent_after_it)
{
    struct bed bed;
    struct end end = {0};
    bed_init(&bed);
    bed_connect(&bed, &end);
    ck_assert_int_eq(end_write(&end, "early", 5), 0);
    T_RUN(&bed.loop, bed.accepted[0].received == 5);
    ck_assert_uint_eq(bed.accepted[0].hash, roll(0, "early", 5));
    end_close(&end);
    bed_release(&bed);
}
END_TEST

START_TEST(a_paused_end_hears_nothing_until_it_is_resumed)
{
    struct bed bed;
    struct end end = {0};
    bed_init(&bed);
    bed.accept_pause_at = 1;
    bed_pair(&bed, &end);
    struct end *other = &bed.accepted[0];
    uint64_t sent = 0, hash = 0;
    static char bytes[65536];
    int rc;
    /* The kernel's buffers fill up, then our queue, then we are refused. */
    for (int turns = 0; turns < 50;) {
        memset(bytes, (int)(sent >> 16), sizeof bytes);
        rc = end_write(&end, bytes, sizeof bytes);
        if (rc == 0) {
            sent += sizeof bytes;
            hash = roll(hash, bytes, sizeof bytes);
        } else {
            ck_assert_int_eq(rc, -ERR_LIMIT);
            turns++;
        }
        uv_run(&bed.loop.uv, UV_RUN_NOWAIT);
    }
    ck_assert_uint_eq(other->received, 0);
    ck_assert_uint_gt(stream_queued(end.s), QUEUE_BYTES_MAX - sizeof bytes);
    ck_assert_uint_le(stream_queued(end.s), QUEUE_BYTES_MAX + QUEUE_BYTES_MAX / 64);
    int drained = end.drained;
    other->pause_at = 0;
    stream_resume(other->s);
    T_RUN(&bed.loop, other->received == sent);
    ck_assert_uint_eq(other->hash, hash);
    ck_assert_int_gt(end.drained, drained);
    end_close(&end);
    bed_release(&bed);
}
END_TEST

START_TEST(pausing_after_every_piece_loses_nothing)
{
    enum { SIZE = 2000000 };
    struct bed bed;
    struct end end = {0};
    bed_init(&bed);
    bed_pair(&bed, &end);
    struct end *other = &bed.accepted[0];
    other->pause_each_time = true;
    uint64_t hash = send_all(&bed, &end, SIZE);
    while (other->received < SIZE) {
        uint64_t before = other->received;
        stream_resume(other->s);
        T_RUN(&bed.loop, other->received > before);
    }
    ck_assert_uint_eq(other->received, SIZE);
    ck_assert_uint_eq(other->hash, hash);
    end_close(&end);
    bed_release(&bed);
}
END_TEST

START_TEST(a_write_over_the_queue_limit_is_refused_whole)
{
    struct bed bed;
    struct end end = {0};
    bed_init(&bed);
    bed_pair(&bed, &end);
    char *bytes = xcalloc(1, QUEUE_BYTES_MAX + 1);
    ck_assert_int_eq(end_write(&end, bytes, QUEUE_BYTES_MAX + 1), -ERR_LIMIT);
    ck_assert_uint_eq(stream_queued(end.s), 0);
    ck_assert_int_eq(end_write(&end, bytes, QUEUE_BYTES_MAX), 0);
    ck_assert_int_eq(end_write(&end, bytes, 1), -ERR_LIMIT);
    ck_assert_uint_eq(stream_queued(end.s), QUEUE_BYTES_MAX);
    T_RUN(&bed.loop, bed.accepted[0].received == QUEUE_BYTES_MAX && end.drained > 0);
    ck_assert_int_eq(end_write(&end, bytes, 1), 0);
    T_RUN(&bed.loop, bed.accepted[0].received == QUEUE_BYTES_MAX + 1);
    free(bytes);
    end_close(&end);
    bed_release(&bed);
}
END_TEST

START_TEST(an_asked_for_drain_comes_once)
{
    struct bed bed;
    struct end end = {0};
    bed_init(&bed);
    bed_pair(&bed, &end);
    ck_assert_int_eq(end_write(&end, "abc", 3), 0);
    stream_wait_drain(end.s, 0);
    ck_assert_int_eq(end.drained, 0);
    T_RUN(&bed.loop, end.drained == 1);
    ck_assert_uint_eq(stream_queued(end.s), 0);
    ck_assert_int_eq(end_write(&end, "abc", 3), 0);
    T_RUN(&bed.loop, bed.accepted[0].received == 6);
    ck_assert_int_eq(end.drained, 1);
    end_close(&end);
    bed_release(&bed);
}
END_TEST

START_TEST(close_sends_what_is_queued_and_ends_both_sides_once)
{
    struct bed bed;
    struct end end = {0};
    bed_init(&bed);
    bed_pair(&bed, &end);
    uint64_t hash = send_all(&bed, &end, 3000000);
    end_close(&end);
    ck_assert_int_eq(stream_write(end.s, "x", 1), -ERR_CLOSED);
    T_RUN(&bed.loop, end.closed == 1 && bed.accepted[0].closed == 1);
    ck_assert_uint_eq(bed.accepted[0].received, 3000000);
    ck_assert_uint_eq(bed.accepted[0].hash, hash);
    ck_assert_int_eq(end.why.code, ERR_CLOSED);
    ck_assert_int_eq(bed.accepted[0].why.code, ERR_CLOSED);
    bed_release(&bed);
    ck_assert_int_eq(end.closed, 1);
}
END_TEST

START_TEST(what_was_sent_before_close_arrives_although_the_peer_is_talking)
{
    struct bed bed;
    struct end end = {0};
    bed_init(&bed);
    bed_pair(&bed, &end);
    struct end *other = &bed.accepted[0];
    stream_pause(other->s);
    (void)send_all(&bed, &end, 1000000);
    for (int i = 0; i < 20; i++)
        uv_run(&bed.loop.uv, UV_RUN_NOWAIT);
    ck_assert_int_eq(stream_write(other->s, "farewell", 8), 0);
    end_close(other);
    T_RUN(&bed.loop, end.closed == 1);
    ck_assert_uint_eq(end.received, 8);
    bed_release(&bed);
}
END_TEST

START_TEST(closing_a_stream_that_cannot_send_takes_no_longer_than_a_second)
{
    struct bed bed;
    struct end end = {0};
    bed_init(&bed);
    bed.accept_pause_at = 1;
    bed_pair(&bed, &end);
    static char bytes[65536];
    for (int refused = 0; refused < 50; refused += end_write(&end, bytes, sizeof bytes) != 0)
        uv_run(&bed.loop.uv, UV_RUN_NOWAIT);
    end_close(&end);
    T_RUN_FOR(&bed.loop, 3000, end.closed == 1);
    T_CONTAINS(end.why.msg, "could not be sent");
    bed_release(&bed);
}
END_TEST

START_TEST(a_stream_may_be_closed_at_any_moment)
{
    struct bed bed;
    struct end early = {0}, on_open = {.close_on_open = true};
    bed_init(&bed);
    bed_connect(&bed, &early);
    end_close(&early);
    T_RUN(&bed.loop, early.closed == 1);
    ck_assert_int_eq(early.opened, 0);
    bed_connect(&bed, &on_open);
    T_RUN(&bed.loop, on_open.closed == 1);
    ck_assert_int_eq(on_open.opened, 1);
    /* After any number of turns within the opening. */
    for (int turns = 0; turns < 12; turns++) {
        struct end end = {0};
        bed_connect(&bed, &end);
        for (int i = 0; i < turns; i++)
            uv_run(&bed.loop.uv, UV_RUN_NOWAIT);
        end_close(&end);
        T_RUN(&bed.loop, end.closed == 1);
    }
    bed_release(&bed);
}
END_TEST

static void connect_and_say_hello(struct bed *bed, struct end *end, bool paused)
{
    *end = (struct end){0};
    bed_connect(bed, end);
    ck_assert_int_eq(end_write(end, "hello", 5), 0);
    if (paused)
        stream_pause(end->s); /* stops data, not the handshake */
}

/* On a machine that cannot do that many handshakes in STREAM_OPEN_TIMEOUT_MS, the rest comes again,
 * as all do who connect, and finds it less crowded. */
START_TEST(two_hundred_that_connect_at_once_are_all_served)
{
    enum { COUNT = 200 };
    static struct bed bed;
    static struct end ends[COUNT];
    size_t opened = 0, received = 0, again = 0;
    bed_init(&bed);
    bed.echo = true;
    for (size_t i = 0; i < COUNT; i++)
        connect_and_say_hello(&bed, &ends[i], i % 2 == 0);
    while (opened < COUNT || received < COUNT / 2 * 5) {
        opened = received = 0;
        for (size_t i = 0; i < COUNT; i++) {
            if (ends[i].closed > 0) {
                connect_and_say_hello(&bed, &ends[i], i % 2 == 0);
                ck_assert_uint_lt(++again, 5 * COUNT);
            }
            opened += (size_t)ends[i].opened;
            received += ends[i].received;
        }
        uv_run(&bed.loop.uv, UV_RUN_ONCE);
    }
    for (size_t i = 0; i < COUNT; i++) {
        ck_assert_uint_eq(ends[i].received, i % 2 == 0 ? 0 : 5);
        end_close(&ends[i]);
    }
    ck_assert_uint_ge(bed.accepted_count, COUNT);
    ck_assert_uint_le(bed.accepted_count, COUNT + again);
    bed_release(&bed);
}
END_TEST

START_TEST(a_listener_that_closes_leaves_its_streams_alone)
{
    struct bed bed;
    struct end end = {0}, late = {0};
    bed_init(&bed);
    bed.echo = true;
    bed_pair(&bed, &end);
    bed_connect(&bed, &late);
    for (int i = 0; i < 2; i++)
        uv_run(&bed.loop.uv, UV_RUN_NOWAIT);
    stream_listener_close(bed.listener);
    T_RUN(&bed.loop, late.closed == 1);
    ck_assert_int_eq(end_write(&end, "still here", 10), 0);
    T_RUN(&bed.loop, end.received == 10);
    end_close(&end);
    T_RUN(&bed.loop, end.closed == 1 && bed.accepted[0].closed == 1);
    t_loop_close(&bed.loop);
    tls_context_close(bed.server_tls);
    tls_context_close(bed.client_tls);
}
END_TEST

START_TEST(a_peer_that_is_not_the_expected_one_is_refused)
{
    static const struct {
        struct identity expect;
        bool accepted;
    } cases[] = {
        {{ROLE_NONE, ""}, true},      {{ROLE_MASTER, ""}, true}, {{ROLE_MASTER, "1"}, true},
        {{ROLE_MASTER, "2"}, false},  {{ROLE_USER, "1"}, false}, {{ROLE_BORGLET, ""}, false},
        {{ROLE_MASTER, "11"}, false},
    };
    struct bed bed;
    bed_init(&bed);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct end end = {0};
        struct stream_options options = options_of(&bed, bed.client_tls, &end);
        options.expect = cases[i].expect;
        T_OK(stream_connect(&options, stream_listener_address(bed.listener), &end.s, &t_err));
        T_RUN(&bed.loop, end.opened + end.closed > 0);
        ck_assert_int_eq(end.opened, cases[i].accepted);
        if (!cases[i].accepted) {
            ck_assert_int_eq(end.why.code, ERR_DENIED);
            T_CONTAINS(end.why.msg, "the peer is master/1");
        }
        end_close(&end);
        T_RUN(&bed.loop, end.closed == 1);
    }
    bed_release(&bed);
}
END_TEST

START_TEST(holders_of_another_ca_are_refused_on_both_sides)
{
    struct bed bed;
    struct end end = {0};
    bed_init(&bed);
    struct tls_context *stranger = t_tls(t_pki(), "master/1");
    struct stream_options options = options_of(&bed, stranger, &end);
    T_OK(stream_connect(&options, stream_listener_address(bed.listener), &end.s, &t_err));
    T_RUN(&bed.loop, end.closed == 1 && stream_listener_refused(bed.listener) == 1);
    ck_assert_int_eq(end.opened, 0);
    ck_assert_int_eq(end.why.code, ERR_DENIED);
    ck_assert_uint_eq(bed.accepted_count, 0);
    tls_context_close(stranger);
    bed_release(&bed);
}
END_TEST

/* Append a file to another. */
static void append_file(const char *to, const char *from)
{
    char bytes[8192];
    FILE *in = fopen(from, "r"), *out = fopen(to, "a");
    ck_assert(in != NULL && out != NULL);
    size_t n = fread(bytes, 1, sizeof bytes, in);
    ck_assert(n > 0 && fwrite(bytes, 1, n, out) == n);
    fclose(in);
    ck_assert_int_eq(fclose(out), 0);
}

START_TEST(a_certificate_signed_by_a_borglet_is_refused)
{
    struct bed bed;
    struct end end = {0};
    struct identity master = {ROLE_MASTER, "1"};
    struct tls_context *forged;
    bed_init(&bed);
    /* The borglet's own pair in the place of a CA, and a chain up to the real one. */
    const char *dir = t_dir();
    append_file(t_path(dir, "ca.crt"), t_path(bed.pki, "borglet-m1.crt"));
    append_file(t_path(dir, "ca.key"), t_path(bed.pki, "borglet-m1.key"));
    T_OK(pki_make_cert(dir, "forged", &master, &t_err));
    append_file(t_path(dir, "forged.crt"), t_path(bed.pki, "borglet-m1.crt"));
    T_OK(tls_context_open(t_path(bed.pki, "ca.crt"), t_path(dir, "forged.crt"),
                          t_path(dir, "forged.key"), &forged, &t_err));
    struct stream_options options = options_of(&bed, forged, &end);
    T_OK(stream_connect(&options, stream_listener_address(bed.listener), &end.s, &t_err));
    T_RUN(&bed.loop, end.closed == 1 && stream_listener_refused(bed.listener) == 1);
    ck_assert_uint_eq(bed.accepted_count, 0);
    ck_assert_int_eq(end.why.code, ERR_DENIED);
    tls_context_close(forged);
    bed_release(&bed);
}
END_TEST

/* A client of plain GnuTLS on a thread, which believes everything. */
struct bare_client {
    uv_thread_t thread;
    int fd;
    const char *priority;
    const char *crt, *key; /* NULL: shows no certificate */
    const char *junk;      /* sent without encryption after the handshake */
    size_t junk_size;
    int rc; /* of the handshake, then of the first record */
};

/* With TLS 1.3 a client hears of its refusal after its own handshake: with the first record. */
static void bare_client_run(void *arg)
{
    struct bare_client *client = arg;
    gnutls_certificate_credentials_t credentials;
    gnutls_session_t session;
    char bytes[16];
    gnutls_certificate_allocate_credentials(&credentials);
    if (client->crt != NULL)
        gnutls_certificate_set_x509_key_file(credentials, client->crt, client->key,
                                             GNUTLS_X509_FMT_PEM);
    gnutls_init(&session, GNUTLS_CLIENT);
    gnutls_priority_set_direct(session, client->priority, NULL);
    gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials);
    gnutls_transport_set_int(session, client->fd);
    client->rc = gnutls_handshake(session);
    if (client->rc == 0 && client->junk != NULL &&
        send(client->fd, client->junk, client->junk_size, MSG_NOSIGNAL) < 0)
        client->rc = -1;
    if (client->rc == 0 && client->junk_size == 0 && client->junk != NULL)
        shutdown(client->fd, SHUT_RDWR);
    if (client->rc == 0)
        client->rc = (int)gnutls_record_recv(session, bytes, sizeof bytes);
    gnutls_deinit(session);
    gnutls_certificate_free_credentials(credentials);
}

static int raw_connect(struct bed *bed)
{
    struct sockaddr_storage to;
    T_OK(address_parse(stream_listener_address(bed->listener), &to, &t_err));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(connect(fd, (const struct sockaddr *)&to, sizeof(struct sockaddr_in)), 0);
    return fd;
}

static struct bare_client bare_client(struct bed *bed, bool with_certificate, const char *priority)
{
    struct bare_client client = {.fd = raw_connect(bed), .priority = priority};
    if (with_certificate) {
        client.crt = t_path(bed->pki, "borglet-m1.crt");
        client.key = t_path(bed->pki, "borglet-m1.key");
    }
    return client;
}

START_TEST(a_client_without_a_certificate_is_refused)
{
    struct bed bed;
    bed_init(&bed);
    struct bare_client client = bare_client(&bed, false, "NORMAL");
    uv_thread_create(&client.thread, bare_client_run, &client);
    T_RUN(&bed.loop, stream_listener_refused(bed.listener) == 1);
    uv_thread_join(&client.thread);
    ck_assert_int_lt(client.rc, 0);
    ck_assert_uint_eq(bed.accepted_count, 0);
    close(client.fd);
    bed_release(&bed);
}
END_TEST

START_TEST(older_tls_is_refused_even_with_a_good_certificate)
{
    struct bed bed;
    bed_init(&bed);
    struct bare_client client = bare_client(&bed, true, "NORMAL:-VERS-ALL:+VERS-TLS1.2");
    uv_thread_create(&client.thread, bare_client_run, &client);
    T_RUN(&bed.loop, stream_listener_refused(bed.listener) == 1);
    uv_thread_join(&client.thread);
    ck_assert_int_lt(client.rc, 0);
    ck_assert_uint_eq(bed.accepted_count, 0);
    close(client.fd);
    bed_release(&bed);
}
END_TEST

START_TEST(a_stream_ends_when_its_records_are_forged_or_its_peer_vanishes)
{
    static const char zeros[40000];
    static const struct {
        const char *junk;
        size_t size;
        enum err_code code;
    } cases[] = {
        {"\x17\x03\x03\x00\x20 0123456789abcdef0123456789abcde", 37, ERR_CORRUPT},
        {"\x15\x03\x03\x00\x02\x02\x28", 7, ERR_CORRUPT}, /* an alert in the clear */
        {"\x17\x03\x03\xff\xff", 5, ERR_CORRUPT},
        {zeros, sizeof zeros, ERR_CORRUPT},
        {"", 0, ERR_CLOSED}, /* gone without a farewell */
    };
    struct bed bed;
    bed_init(&bed);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct bare_client client = bare_client(&bed, true, "NORMAL");
        client.junk = cases[i].junk;
        client.junk_size = cases[i].size;
        uv_thread_create(&client.thread, bare_client_run, &client);
        T_RUN(&bed.loop, bed.accepted_count == i + 1 && bed.accepted[i].closed == 1);
        uv_thread_join(&client.thread);
        ck_assert_msg(bed.accepted[i].why.code == cases[i].code, "case %zu: %s", i,
                      bed.accepted[i].why.msg);
        ck_assert_uint_eq(bed.accepted[i].received, 0);
        close(client.fd);
    }
    ck_assert_uint_eq(stream_listener_refused(bed.listener), 0);
    bed_release(&bed);
}
END_TEST

/* Has the other end hung up? Reads and forgets alerts. */
static bool raw_ended(int fd)
{
    char bytes[4096];
    ssize_t n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

START_TEST(peers_that_do_not_speak_tls_are_refused)
{
    static const char zeros[70000];
    static const struct {
        const char *bytes;
        size_t size;
    } cases[] = {
        {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27},
        {zeros, sizeof zeros},
        {"\x16\x03\x01\x00\x04\x01\xff\xff\xff", 9}, /* a hello that claims 16 MB */
        {"\x17\x03\x03\x00\x05hello", 10},           /* application data first */
        {"\x16\x03\x01\xff\xff", 5},                 /* a record of 64 kB */
        {"\x80\x2e\x01\x00\x02", 5},                 /* SSLv2 */
    };
    struct bed bed;
    struct end end = {0};
    int fds[ARRAY_SIZE(cases)];
    bed_init(&bed);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        fds[i] = raw_connect(&bed);
        ck_assert_int_gt(send(fds[i], cases[i].bytes, cases[i].size, MSG_NOSIGNAL), 0);
    }
    T_RUN(&bed.loop, stream_listener_refused(bed.listener) == ARRAY_SIZE(cases));
    ck_assert_uint_eq(bed.accepted_count, 0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        T_RUN(&bed.loop, raw_ended(fds[i]));
        close(fds[i]);
    }
    bed_pair(&bed, &end); /* and the listener is as good as new */
    end_close(&end);
    bed_release(&bed);
}
END_TEST

START_TEST(a_peer_that_hangs_up_during_the_handshake_is_counted)
{
    struct bed bed;
    bed_init(&bed);
    close(raw_connect(&bed));
    T_RUN(&bed.loop, stream_listener_refused(bed.listener) == 1);
    int fd = raw_connect(&bed);
    struct linger at_once = {1, 0}; /* close() sends a reset */
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    ck_assert_int_eq(send(fd, "\x16\x03\x01", 3, MSG_NOSIGNAL), 3);
    close(fd);
    T_RUN(&bed.loop, stream_listener_refused(bed.listener) == 2);
    ck_assert_uint_eq(bed.accepted_count, 0);
    bed_release(&bed);
}
END_TEST

START_TEST(silent_peers_are_dropped_after_the_open_timeout_on_both_sides)
{
    struct bed bed;
    bed_init(&bed);
    uint64_t begin = clock_mono_ms();
    int silent = raw_connect(&bed), half = raw_connect(&bed);
    ck_assert_int_eq(send(half, "\x16\x03\x01\x01\x00\x01", 6, MSG_NOSIGNAL), 6);
    /* A listening socket whose owner never accepts: the client's side of the same. */
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t at_size = sizeof at;
    int deaf = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(deaf, (struct sockaddr *)&at, sizeof at), 0);
    ck_assert_int_eq(listen(deaf, 1), 0);
    ck_assert_int_eq(getsockname(deaf, (struct sockaddr *)&at, &at_size), 0);
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%d", ntohs(at.sin_port));
    struct end end = {0};
    struct stream_options options = options_of(&bed, bed.client_tls, &end);
    T_OK(stream_connect(&options, address, &end.s, &t_err));
    T_RUN(&bed.loop, stream_listener_refused(bed.listener) == 2 && end.closed == 1);
    ck_assert_uint_ge(clock_mono_ms() - begin, STREAM_OPEN_TIMEOUT_MS - 50);
    ck_assert_int_eq(end.why.code, ERR_TIMEOUT);
    ck_assert_int_eq(end.opened, 0);
    T_RUN(&bed.loop, raw_ended(silent) && raw_ended(half));
    close(silent);
    close(half);
    close(deaf);
    bed_release(&bed);
}
END_TEST

START_TEST(connections_over_the_limit_are_refused_until_others_end)
{
    struct bed bed;
    struct end ends[3] = {0};
    bed_init_limited(&bed, 2);
    for (int i = 0; i < 2; i++) {
        bed_connect(&bed, &ends[i]);
        T_RUN(&bed.loop, ends[i].opened == 1 && bed.accepted_count == (size_t)i + 1);
    }
    bed_connect(&bed, &ends[2]);
    T_RUN(&bed.loop, ends[2].closed == 1);
    ck_assert_uint_eq(stream_listener_refused(bed.listener), 1);
    end_close(&ends[0]);
    T_RUN(&bed.loop, ends[0].closed == 1 && bed.accepted[0].closed == 1);
    ends[2] = (struct end){0};
    bed_connect(&bed, &ends[2]);
    T_RUN(&bed.loop, ends[2].opened == 1 && bed.accepted_count == 3);
    end_close(&ends[1]);
    end_close(&ends[2]);
    bed_release(&bed);
}
END_TEST

START_TEST(connecting_to_nobody_says_so)
{
    struct bed bed;
    struct end end = {0};
    bed_init(&bed);
    struct stream_options options = options_of(&bed, bed.client_tls, &end);
    /* The port was ours a moment ago. */
    char address[CELL_ADDR_MAX + 1];
    str_copy(address, sizeof address, stream_listener_address(bed.listener));
    stream_listener_close(bed.listener);
    uv_run(&bed.loop.uv, UV_RUN_NOWAIT);
    T_OK(stream_connect(&options, address, &end.s, &t_err));
    T_RUN(&bed.loop, end.closed == 1);
    ck_assert_int_eq(end.why.code, ERR_UNAVAILABLE);
    T_CONTAINS(end.why.msg, address);
    T_REFUSED(stream_connect(&options, "nonsense", &end.s, &t_err), ERR_INVALID);
    t_loop_close(&bed.loop);
    tls_context_close(bed.server_tls);
    tls_context_close(bed.client_tls);
}
END_TEST

START_TEST(a_listener_on_a_taken_port_says_so)
{
    struct bed bed;
    struct stream_listener *second = NULL;
    bed_init(&bed);
    struct stream_options options = options_of(&bed, bed.server_tls, &bed);
    T_REFUSED(stream_listen(&options, stream_listener_address(bed.listener), 1, bed_on_accept,
                            &second, &t_err),
              ERR_EXISTS);
    ck_assert_ptr_null(second);
    bed_release(&bed);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("stream");
    TCase *flow = tcase_create("flow");
    tcase_set_timeout(flow, 120);
    tcase_add_loop_test(flow, what_is_sent_comes_back_whole_and_in_order, 0, 3);
    tcase_add_test(flow, both_ends_know_who_the_other_is);
    tcase_add_test(flow, bytes_written_before_the_handshake_are_sent_after_it);
    tcase_add_test(flow, a_paused_end_hears_nothing_until_it_is_resumed);
    tcase_add_test(flow, pausing_after_every_piece_loses_nothing);
    tcase_add_test(flow, a_write_over_the_queue_limit_is_refused_whole);
    tcase_add_test(flow, an_asked_for_drain_comes_once);
    suite_add_tcase(suite, flow);
    TCase *ends = tcase_create("ends");
    tcase_set_timeout(ends, 60);
    tcase_add_test(ends, close_sends_what_is_queued_and_ends_both_sides_once);
    tcase_add_test(ends, what_was_sent_before_close_arrives_although_the_peer_is_talking);
    tcase_add_test(ends, closing_a_stream_that_cannot_send_takes_no_longer_than_a_second);
    tcase_add_test(ends, a_stream_may_be_closed_at_any_moment);
    tcase_add_test(ends, two_hundred_that_connect_at_once_are_all_served);
    tcase_add_test(ends, a_listener_that_closes_leaves_its_streams_alone);
    suite_add_tcase(suite, ends);
    TCase *refusals = tcase_create("refusals");
    tcase_set_timeout(refusals, 60);
    tcase_add_test(refusals, a_peer_that_is_not_the_expected_one_is_refused);
    tcase_add_test(refusals, holders_of_another_ca_are_refused_on_both_sides);
    tcase_add_test(refusals, a_client_without_a_certificate_is_refused);
    tcase_add_test(refusals, a_certificate_signed_by_a_borglet_is_refused);
    tcase_add_test(refusals, older_tls_is_refused_even_with_a_good_certificate);
    tcase_add_test(refusals, a_stream_ends_when_its_records_are_forged_or_its_peer_vanishes);
    tcase_add_test(refusals, peers_that_do_not_speak_tls_are_refused);
    tcase_add_test(refusals, a_peer_that_hangs_up_during_the_handshake_is_counted);
    tcase_add_test(refusals, silent_peers_are_dropped_after_the_open_timeout_on_both_sides);
    tcase_add_test(refusals, connections_over_the_limit_are_refused_until_others_end);
    tcase_add_test(refusals, connecting_to_nobody_says_so);
    tcase_add_test(refusals, a_listener_on_a_taken_port_says_so);
    suite_add_tcase(suite, refusals);
    return t_main(suite);
}
