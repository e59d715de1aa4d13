/*
 * frames.c - a hostile peer: raw bytes, half-open connections, TLS with any certificate.
 *
 *     frames raw ADDR silence|garbage|big SECONDS
 *     frames flood ADDR COUNT SECONDS
 *     frames tls ADDR CA CERT KEY silence|garbage|big|half SECONDS     CERT "-": none
 *     frames call ADDR CA CERT KEY METHOD BODY-IN-HEX
 *     frames pki DIR NAME IDENTITY
 *
 * Prints one line about the reaction of the other side: `closed after N ms, M bytes sent`, `open
 * after N ms ...`, `refused: REASON`, `answer CODE MESSAGE`. Exits with 0 unless it could not try.
 */
#include "clock.h"
#include "stream.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <msgpack.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { GARBAGE_BYTES = 65536, BIG_BYTES = 100 << 20, FLOOD_MAX = 4096 };

struct peer {
    int fd;
    gnutls_session_t tls; /* NULL: plain TCP */
    uint64_t since_ms;
    uint64_t until_ms;
    size_t sent;
};

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "frames: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int dial(const char *address)
{
    struct sockaddr_storage to;
    struct err err;
    if (address_parse(address, &to, &err) < 0) {
        fprintf(stderr, "frames: %s\n", err.msg);
        exit(1);
    }
    int fd = socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("socket");
    /* The time-out is short, so that the deadline is checked often. */
    struct timeval patience = {.tv_usec = 100000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    socklen_t size = to.ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof to;
    if (connect(fd, (struct sockaddr *)&to, size) < 0)
        die("connect");
    return fd;
}

static bool again(ssize_t n)
{
    return n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED;
}

/* Return the number of bytes received, 0 if nothing arrived for a moment, -1 if the peer closed. */
static ssize_t peer_receive(struct peer *p, void *to, size_t size)
{
    if (p->tls == NULL) {
        ssize_t n = recv(p->fd, to, size, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return 0;
        return n <= 0 ? -1 : n;
    }
    ssize_t n = gnutls_record_recv(p->tls, to, size);
    if (again(n))
        return 0;
    if (n == GNUTLS_E_FATAL_ALERT_RECEIVED) {
        printf("refused: %s\n", gnutls_alert_get_name(gnutls_alert_get(p->tls)));
        exit(0);
    }
    return n <= 0 ? -1 : n;
}

static ssize_t peer_send(struct peer *p, const void *bytes, size_t size)
{
    ssize_t n;
    if (p->tls == NULL) {
        n = send(p->fd, bytes, size, MSG_NOSIGNAL);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return 0;
    } else {
        n = gnutls_record_send(p->tls, bytes, size);
        if (again(n))
            return 0;
    }
    if (n > 0)
        p->sent += (size_t)n;
    return n < 0 ? -1 : n;
}

static bool peer_late(const struct peer *p)
{
    return clock_mono_ms() >= p->until_ms;
}

static void peer_tell(const struct peer *p, bool open)
{
    printf("%s after %" PRIu64 " ms, %zu bytes sent\n", open ? "open" : "closed",
           clock_mono_ms() - p->since_ms, p->sent);
}

/* Send `head`, then `size` bytes of noise, until all is sent, the peer closes, or the deadline
 * passes; then wait for the peer to close. */
static void peer_pour(struct peer *p, const void *head, size_t head_size, size_t size)
{
    static unsigned char noise[GARBAGE_BYTES];
    unsigned state = 12345;
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (unsigned char)((state = state * 1103515245 + 12345) >> 16);
    bool open = head_size == 0 || peer_send(p, head, head_size) >= 0;
    while (open && p->sent < head_size + size && !peer_late(p))
        open = peer_send(p, noise, MIN(sizeof noise, head_size + size - p->sent)) >= 0;
    unsigned char answer[4096];
    while (open && !peer_late(p))
        open = peer_receive(p, answer, sizeof answer) >= 0;
    if (!open && p->tls != NULL)
        while (peer_receive(p, answer, sizeof answer) > 0)
            ; /* an alert with the reason may be waiting */
    peer_tell(p, open);
}

static void peer_act(struct peer *p, const char *mode)
{
    static const unsigned char big[] = {BIG_BYTES >> 24, BIG_BYTES >> 16 & 0xff, 0, 0};
    static const unsigned char half[] = {0, 0, 4, 0, 0x94};
    if (strcmp(mode, "silence") == 0)
        peer_pour(p, NULL, 0, 0);
    else if (strcmp(mode, "garbage") == 0)
        peer_pour(p, NULL, 0, GARBAGE_BYTES);
    else if (strcmp(mode, "big") == 0)
        peer_pour(p, big, sizeof big, BIG_BYTES);
    else if (strcmp(mode, "half") == 0)
        peer_pour(p, half, sizeof half, 0);
    else
        fprintf(stderr, "frames: unknown mode %s\n", mode), exit(1);
}

static struct peer peer_open(const char *address, const char *seconds)
{
    uint64_t now = clock_mono_ms();
    return (struct peer){
        .fd = dial(address), .since_ms = now, .until_ms = now + strtoull(seconds, NULL, 10) * 1000};
}

static void tls_check(int r, const char *what)
{
    if (r < 0) {
        printf("refused: %s: %s\n", what, gnutls_strerror(r));
        exit(0);
    }
}

/* Accept any peer: the test is about its reaction to us. */
static void peer_start_tls(struct peer *p, const char *ca, const char *cert, const char *key)
{
    gnutls_certificate_credentials_t credentials;
    tls_check(gnutls_certificate_allocate_credentials(&credentials), "credentials");
    tls_check(gnutls_certificate_set_x509_trust_file(credentials, ca, GNUTLS_X509_FMT_PEM), ca);
    if (strcmp(cert, "-") != 0)
        tls_check(gnutls_certificate_set_x509_key_file(credentials, cert, key, GNUTLS_X509_FMT_PEM),
                  cert);
    /* Without this flag, GnuTLS does not send a certificate that the server would not accept. */
    tls_check(gnutls_init(&p->tls, GNUTLS_CLIENT | GNUTLS_FORCE_CLIENT_CERT), "session");
    tls_check(gnutls_set_default_priority(p->tls), "priority");
    tls_check(gnutls_credentials_set(p->tls, GNUTLS_CRD_CERTIFICATE, credentials), "credentials");
    gnutls_transport_set_int(p->tls, p->fd);
    int r;
    do {
        r = gnutls_handshake(p->tls);
    } while (again(r) && !peer_late(p));
    tls_check(r, "handshake");
}

static void call_pack(msgpack_sbuffer *frame, uint32_t method, const char *hex)
{
    unsigned char body[4096];
    size_t size = MIN(strlen(hex) / 2, sizeof body);
    for (size_t i = 0; i < size; i++) {
        char digits[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
        body[i] = (unsigned char)strtoul(digits, NULL, 16);
    }
    msgpack_packer pk;
    msgpack_packer_init(&pk, frame, msgpack_sbuffer_write);
    msgpack_pack_array(&pk, 4);
    msgpack_pack_uint8(&pk, 0);
    msgpack_pack_uint64(&pk, 1);
    msgpack_pack_uint32(&pk, method);
    msgpack_pack_bin(&pk, size);
    msgpack_pack_bin_body(&pk, body, size);
}

/* Print the answer [1, id, code, msg, body]. */
static void answer_print(const unsigned char *frame, size_t size)
{
    msgpack_unpacked u;
    msgpack_unpacked_init(&u);
    size_t at = 0;
    if (msgpack_unpack_next(&u, (const char *)frame, size, &at) != MSGPACK_UNPACK_SUCCESS ||
        u.data.type != MSGPACK_OBJECT_ARRAY || u.data.via.array.size < 4) {
        printf("no answer but %zu other bytes\n", size);
        return;
    }
    const msgpack_object *part = u.data.via.array.ptr;
    printf("answer %" PRIu64 " %.*s\n", part[2].via.u64, (int)part[3].via.str.size,
           part[3].via.str.ptr);
    msgpack_unpacked_destroy(&u);
}

static void peer_call(struct peer *p, const char *method, const char *hex)
{
    static unsigned char in[1 << 20];
    size_t size = 0, wanted = 4;
    msgpack_sbuffer frame;
    msgpack_sbuffer_init(&frame);
    call_pack(&frame, (uint32_t)strtoul(method, NULL, 10), hex);
    unsigned char head[4] = {0, 0, (unsigned char)(frame.size >> 8), (unsigned char)frame.size};
    bool open = peer_send(p, head, sizeof head) > 0 && peer_send(p, frame.data, frame.size) > 0;
    while (open && size < wanted && !peer_late(p)) {
        ssize_t n = peer_receive(p, in + size, wanted - size);
        open = n >= 0;
        size += open ? (size_t)n : 0;
        if (size == 4 && wanted == 4)
            wanted += MIN(sizeof in - 4, (size_t)in[1] << 16 | (size_t)in[2] << 8 | in[3]);
    }
    if (size == wanted)
        answer_print(in + 4, size - 4);
    else
        peer_tell(p, open);
    msgpack_sbuffer_destroy(&frame);
}

/* Open many silent connections and count how many the peer closes in time. */
static void flood(const char *address, size_t count, const char *seconds)
{
    static struct peer peers[FLOOD_MAX];
    size_t closed = 0;
    char byte;
    count = MIN(count, (size_t)FLOOD_MAX);
    for (size_t i = 0; i < count; i++)
        peers[i] = peer_open(address, seconds);
    for (size_t i = 0; i < count; i++) {
        ssize_t n;
        do {
            n = peer_receive(&peers[i], &byte, 1);
        } while (n >= 0 && !peer_late(&peers[i]));
        closed += n < 0;
    }
    printf("closed %zu of %zu\n", closed, count);
}

static int pki(const char *dir, const char *name, const char *text)
{
    struct identity id;
    struct err err;
    if (identity_parse(text, &id, &err) < 0 || pki_make_ca(dir, "other", &err) < 0 ||
        pki_make_cert(dir, name, &id, &err) < 0) {
        fprintf(stderr, "frames: %s\n", err.msg);
        return 1;
    }
    return 0;
}

#ifdef __SANITIZE_ADDRESS__
/* The process exits without freeing its connections. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}
#endif

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    signal(SIGPIPE, SIG_IGN);
    if (strcmp(what, "raw") == 0 && argc == 5) {
        struct peer p = peer_open(argv[2], argv[4]);
        peer_act(&p, argv[3]);
    } else if (strcmp(what, "flood") == 0 && argc == 5) {
        flood(argv[2], strtoul(argv[3], NULL, 10), argv[4]);
    } else if (strcmp(what, "tls") == 0 && argc == 8) {
        struct peer p = peer_open(argv[2], argv[7]);
        peer_start_tls(&p, argv[3], argv[4], argv[5]);
        peer_act(&p, argv[6]);
    } else if (strcmp(what, "call") == 0 && argc == 8) {
        struct peer p = peer_open(argv[2], "10");
        peer_start_tls(&p, argv[3], argv[4], argv[5]);
        peer_call(&p, argv[6], argv[7]);
    } else if (strcmp(what, "pki") == 0 && argc == 5) {
        return pki(argv[2], argv[3], argv[4]);
    } else {
        fprintf(stderr, "frames: wrong arguments, see the head of frames.c\n");
        return 1;
    }
    return 0;
}
