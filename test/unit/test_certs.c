/*
 * test_certs.c - certificates in a running process: which are accepted, when they expire, how new
 * ones come into use, which identities are revoked.
 */
#include "cell_file.h"
#include "stream.h"
#include "testlib.h"
#include "tls_cert.h"
#include "tls_session.h"
#include "tls_watch.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/abstract.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <time.h>

enum { QUEUE_BYTES_MAX = 65536 };
#define DAY_MS UINT64_C(86400000)

/* --- certificates of every kind ----------------------------------------------------------------
 */

enum flaw {
    FLAW_NONE,
    FLAW_NO_PURPOSE,
    FLAW_ANY_PURPOSE,
    FLAW_SERVER_ONLY,
    FLAW_CLIENT_ONLY,
    FLAW_CA,
    FLAW_NO_USAGE,
    FLAW_ENCIPHER,
    FLAW_TWO_NAMES,
    FLAW_NO_NAME,
    FLAW_SHA1,
    FLAW_EXPIRED,
    FLAW_FUTURE,
    FLAW_NEAR_FUTURE,
    FLAW_VERSION_1,
    FLAW_OTHER_CA,
};

static void load(const char *path, gnutls_datum_t *ret)
{
    ck_assert_int_eq(gnutls_load_file(path, ret), 0);
}

static void purpose(gnutls_x509_crt_t crt, const char *oid)
{
    ck_assert_int_eq(gnutls_x509_crt_set_key_purpose_oid(crt, oid, 0), 0);
}

static void crt_fill(gnutls_x509_crt_t crt, enum flaw flaw, const void *name, size_t name_size)
{
    time_t now = time(NULL);
    time_t from = flaw == FLAW_FUTURE        ? now + 90000
                  : flaw == FLAW_NEAR_FUTURE ? now + 80000
                                             : now - 1000;
    gnutls_x509_crt_set_version(crt, flaw == FLAW_VERSION_1 ? 1 : 3);
    gnutls_x509_crt_set_serial(crt, "\x41\x42", 2);
    gnutls_x509_crt_set_activation_time(crt, from);
    gnutls_x509_crt_set_expiration_time(crt, flaw == FLAW_EXPIRED ? now - 1 : now + 200000);
    if (flaw != FLAW_NO_NAME)
        ck_assert_int_eq(gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, name,
                                                       (unsigned)name_size),
                         0);
    if (flaw == FLAW_NO_NAME || flaw == FLAW_TWO_NAMES) {
        const char *oid =
            flaw == FLAW_NO_NAME ? GNUTLS_OID_X520_ORGANIZATION_NAME : GNUTLS_OID_X520_COMMON_NAME;
        ck_assert_int_eq(gnutls_x509_crt_set_dn_by_oid(crt, oid, 0, "user/root", 9), 0);
    }
    if (flaw == FLAW_VERSION_1)
        return;
    gnutls_x509_crt_set_basic_constraints(crt, flaw == FLAW_CA, -1);
    if (flaw != FLAW_NO_USAGE)
        gnutls_x509_crt_set_key_usage(crt, flaw == FLAW_ENCIPHER ? GNUTLS_KEY_KEY_ENCIPHERMENT
                                                                 : GNUTLS_KEY_DIGITAL_SIGNATURE);
    if (flaw == FLAW_ANY_PURPOSE)
        purpose(crt, GNUTLS_KP_ANY);
    if (flaw != FLAW_NO_PURPOSE && flaw != FLAW_ANY_PURPOSE && flaw != FLAW_CLIENT_ONLY)
        purpose(crt, GNUTLS_KP_TLS_WWW_SERVER);
    if (flaw != FLAW_NO_PURPOSE && flaw != FLAW_ANY_PURPOSE && flaw != FLAW_SERVER_ONLY)
        purpose(crt, GNUTLS_KP_TLS_WWW_CLIENT);
}

/* Make credentials for `name` with a flaw, signed by the CA in `dir`. */
static gnutls_certificate_credentials_t credentials(const char *dir, enum flaw flaw,
                                                    const void *name, size_t name_size)
{
    gnutls_datum_t pem[2];
    gnutls_x509_crt_t ca, crt;
    gnutls_x509_privkey_t ca_key, key;
    gnutls_certificate_credentials_t c;
    load(t_path(dir, "ca.crt"), &pem[0]);
    load(t_path(dir, "ca.key"), &pem[1]);
    gnutls_x509_crt_init(&ca);
    gnutls_x509_crt_init(&crt);
    gnutls_x509_privkey_init(&ca_key);
    gnutls_x509_privkey_init(&key);
    ck_assert_int_eq(gnutls_x509_crt_import(ca, &pem[0], GNUTLS_X509_FMT_PEM), 0);
    ck_assert_int_eq(gnutls_x509_privkey_import(ca_key, &pem[1], GNUTLS_X509_FMT_PEM), 0);
    ck_assert_int_eq(gnutls_x509_privkey_generate(
                         key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0),
                     0);
    crt_fill(crt, flaw, name, name_size);
    gnutls_x509_crt_set_key(crt, key);
    ck_assert_int_eq(gnutls_x509_crt_sign2(crt, ca, ca_key,
                                           flaw == FLAW_SHA1 ? GNUTLS_DIG_SHA1 : GNUTLS_DIG_SHA256,
                                           0),
                     0);
    ck_assert_int_eq(gnutls_certificate_allocate_credentials(&c), 0);
    ck_assert_int_ge(gnutls_certificate_set_x509_key(c, &crt, 1, key), 0);
    gnutls_x509_crt_deinit(crt);
    gnutls_x509_crt_deinit(ca);
    gnutls_x509_privkey_deinit(key);
    gnutls_x509_privkey_deinit(ca_key);
    gnutls_free(pem[0].data);
    gnutls_free(pem[1].data);
    return c;
}

/* Two sessions in memory: one of the product, one of plain GnuTLS that accepts everything. */
struct pipe {
    struct buf bytes[2]; /* to the product, from it */
    gnutls_session_t sessions[2];
};

struct pipe_end {
    struct pipe *pipe;
    int at; /* 0: the product */
};

static ssize_t pipe_push(gnutls_transport_ptr_t transport, const void *bytes, size_t size)
{
    struct pipe_end *end = transport;
    buf_append(&end->pipe->bytes[1 - end->at], bytes, size);
    return (ssize_t)size;
}

static ssize_t pipe_pull(gnutls_transport_ptr_t transport, void *bytes, size_t size)
{
    struct pipe_end *end = transport;
    struct buf *in = &end->pipe->bytes[end->at];
    if (in->size == 0) {
        gnutls_transport_set_errno(end->pipe->sessions[end->at], EAGAIN);
        return -1;
    }
    size = MIN(size, in->size);
    memcpy(bytes, in->bytes, size);
    buf_consume(in, size);
    return (ssize_t)size;
}

/* Return the product's verdict on a peer with these credentials, as a client or as a server. */
static int judge(struct tls_context *ctx, gnutls_certificate_credentials_t other, bool we_serve,
                 struct tls_cert *ret, struct err *err)
{
    struct pipe pipe = {0};
    struct pipe_end ends[2] = {{&pipe, 0}, {&pipe, 1}};
    int rc[2] = {GNUTLS_E_AGAIN, GNUTLS_E_AGAIN};
    T_OK(
        tls_session_open(ctx, we_serve, &ends[0], pipe_push, pipe_pull, &pipe.sessions[0], &t_err));
    gnutls_session_t *peer = &pipe.sessions[1];
    gnutls_init(peer, (we_serve ? GNUTLS_CLIENT | GNUTLS_FORCE_CLIENT_CERT : GNUTLS_SERVER) |
                          GNUTLS_NONBLOCK);
    gnutls_set_default_priority(*peer);
    gnutls_credentials_set(*peer, GNUTLS_CRD_CERTIFICATE, other);
    gnutls_transport_set_ptr(*peer, &ends[1]);
    gnutls_transport_set_push_function(*peer, pipe_push);
    gnutls_transport_set_pull_function(*peer, pipe_pull);
    if (!we_serve)
        gnutls_certificate_server_set_request(*peer, GNUTLS_CERT_REQUEST);
    for (int i = 0; i < 50; i++)
        for (int k = 0; k < 2; k++)
            if (rc[k] == GNUTLS_E_AGAIN)
                rc[k] = gnutls_handshake(pipe.sessions[k]);
    ck_assert_msg(rc[0] == 0, "handshake: %s", gnutls_strerror(rc[0]));
    int verdict = tls_session_peer(ctx, pipe.sessions[0], we_serve, ret, err);
    gnutls_deinit(*peer);
    tls_session_close(pipe.sessions[0]);
    buf_release(&pipe.bytes[0]);
    buf_release(&pipe.bytes[1]);
    return verdict;
}

START_TEST(only_valid_certificates_of_a_holder_are_accepted)
{
    static const struct {
        enum flaw flaw;
        const char *client, *server; /* why such a peer is refused; NULL: it is accepted */
    } cases[] = {
        {FLAW_NONE, NULL, NULL},
        {FLAW_NO_PURPOSE, "is not for clientAuth", "is not for serverAuth"},
        {FLAW_ANY_PURPOSE, "is not for clientAuth", "is not for serverAuth"},
        {FLAW_SERVER_ONLY, "is not for clientAuth", NULL},
        {FLAW_CLIENT_ONLY, NULL, "is not for serverAuth"},
        {FLAW_CA, "is a CA certificate", "is a CA certificate"},
        {FLAW_NO_USAGE, "digitalSignature", "digitalSignature"},
        {FLAW_TWO_NAMES, "more than one common name", "more than one common name"},
        {FLAW_NO_NAME, "no usable common name", "no usable common name"},
        {FLAW_SHA1, "insecure algorithm", "insecure algorithm"},
        {FLAW_EXPIRED, "has expired on 20", "has expired on 20"},
        {FLAW_FUTURE, "check the clocks", "check the clocks"},
        {FLAW_NEAR_FUTURE, NULL, NULL},
        {FLAW_VERSION_1, "not of version 3", "not of version 3"},
        {FLAW_OTHER_CA, "certificate refused", "certificate refused"},
    };
    const char *dir = t_pki(), *other = t_pki();
    struct tls_context *ctx = t_tls(dir, "master/1");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        for (int we_serve = 0; we_serve < 2; we_serve++) {
            const char *why = we_serve == 1 ? cases[i].client : cases[i].server;
            struct tls_cert cert = {0};
            gnutls_certificate_credentials_t c = credentials(
                cases[i].flaw == FLAW_OTHER_CA ? other : dir, cases[i].flaw, "user/ada", 8);
            if (why != NULL) {
                T_REFUSED(judge(ctx, c, we_serve == 1, &cert, &t_err), ERR_DENIED);
                T_CONTAINS(t_err.msg, why);
            } else {
                T_OK(judge(ctx, c, we_serve == 1, &cert, &t_err));
                ck_assert_str_eq(identity_text(&cert.identity).text, "user/ada");
            }
            gnutls_certificate_free_credentials(c);
        }
    tls_context_close(ctx);
}
END_TEST

START_TEST(common_names_with_other_bytes_are_refused)
{
    static const struct {
        const char *name;
        size_t size;
    } cases[] = {{"user/root\0x", 11}, {"user/ro\not", 10}, {"user/r\x1b[1m", 10},
                 {"user/\xc3\xa9", 7}, {"user/root ", 10},  {"user/a@b", 8}};
    const char *dir = t_pki();
    struct tls_context *ctx = t_tls(dir, "master/1");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct tls_cert cert = {0};
        gnutls_certificate_credentials_t c =
            credentials(dir, FLAW_NONE, cases[i].name, cases[i].size);
        T_REFUSED(judge(ctx, c, true, &cert, &t_err), ERR_DENIED);
        ck_assert_int_eq(cert.identity.role, ROLE_NONE);
        gnutls_certificate_free_credentials(c);
    }
    tls_context_close(ctx);
}
END_TEST

/* --- files -------------------------------------------------------------------------------------
 */

static void make(const char *dir, const char *name, const char *identity, uint64_t life_ms)
{
    struct pki_order order = {.ca_dir = dir, .file_name = name, .life_ms = life_ms};
    T_OK(identity_parse(identity, &order.identity, &t_err));
    T_OK(pki_make(&order, &t_err));
}

static struct tls_context *context(const char *dir, const char *name)
{
    struct tls_context *ctx;
    char crt[96], key[96];
    snprintf(crt, sizeof crt, "%s.crt", name);
    snprintf(key, sizeof key, "%s.key", name);
    T_OK(tls_context_open(t_path(dir, "ca.crt"), t_path(dir, crt), t_path(dir, key), &ctx, &t_err));
    return ctx;
}

static void copy(const char *from_dir, const char *from, const char *to_dir, const char *to)
{
    gnutls_datum_t bytes;
    load(t_path(from_dir, from), &bytes);
    FILE *file = fopen(t_path(to_dir, to), "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(bytes.data, 1, bytes.size, file), bytes.size);
    ck_assert_int_eq(fclose(file), 0);
    gnutls_free(bytes.data);
}

START_TEST(a_certificate_has_a_start_and_an_end)
{
    const char *dir = t_pki();
    uint64_t before_ms = clock_wall_ms() / 1000 * 1000;
    make(dir, "ada", "user/ada", 86400000);
    uint64_t after_ms = clock_wall_ms();
    struct tls_context *ctx = context(dir, "ada");
    const struct tls_cert *own = tls_context_cert(ctx);
    ck_assert_uint_ge(own->issued_ms, before_ms);
    ck_assert_uint_le(own->issued_ms, after_ms);
    ck_assert_uint_eq(own->expires_ms, own->issued_ms + 86400000);
    ck_assert_uint_gt(tls_context_ca_expires_ms(ctx), own->expires_ms);
    ck_assert_str_eq(tls_date(1796061600000).text, "2026-11-30 18:00:00Z");
    ck_assert_str_eq(tls_date(UINT64_MAX).text, "never");
    tls_context_close(ctx);
}
END_TEST

START_TEST(new_files_are_loaded_and_wrong_ones_refused)
{
    const char *dir = t_pki(), *other = t_pki();
    make(dir, "ada", "user/ada", 3600000);
    make(dir, "bob", "user/bob", 0);
    make(other, "ada", "user/ada", 0);
    struct tls_context *ctx = context(dir, "ada");
    uint64_t expires_ms = tls_context_cert(ctx)->expires_ms;
    ck_assert_int_eq(tls_context_reload(ctx, &t_err), 1);

    copy(dir, "ada.crt", dir, "ada.crt.keep");
    copy(dir, "bob.crt", dir, "ada.crt");
    T_REFUSED(tls_context_reload(ctx, &t_err), ERR_INVALID); /* the key does not belong to bob */
    copy(dir, "ada.crt.keep", dir, "ada.crt");
    copy(dir, "ada.key", dir, "ada.key.keep");

    copy(dir, "bob.crt", dir, "ada.crt");
    copy(dir, "bob.key", dir, "ada.key");
    T_REFUSED(tls_context_reload(ctx, &t_err), ERR_INVALID);
    T_CONTAINS(t_err.msg, "user/bob");

    copy(other, "ada.crt", dir, "ada.crt");
    copy(other, "ada.key", dir, "ada.key");
    T_REFUSED(tls_context_reload(ctx, &t_err), ERR_INVALID);
    T_CONTAINS(t_err.msg, "not signed by a CA");

    ck_assert_int_eq(unlink(t_path(dir, "ada.key")), 0);
    ck_assert_int_eq(mkfifo(t_path(dir, "ada.key"), 0600), 0);
    T_REFUSED(tls_context_reload(ctx, &t_err), ERR_INVALID);
    T_CONTAINS(t_err.msg, "not a regular file");
    ck_assert_int_eq(unlink(t_path(dir, "ada.key")), 0);
    T_REFUSED(tls_context_reload(ctx, &t_err), ERR_IO);
    ck_assert_int_eq(truncate(t_path(dir, "ca.crt"), TLS_FILE_BYTES_MAX + 1), 0);
    T_REFUSED(tls_context_reload(ctx, &t_err), ERR_LIMIT);

    ck_assert_uint_eq(tls_context_cert(ctx)->expires_ms, expires_ms);
    tls_context_close(ctx);
}
END_TEST

struct renewer {
    const char *dir;
    atomic_bool stop;
};

static void *renew_on(void *data)
{
    struct renewer *r = data;
    while (!atomic_load(&r->stop)) {
        struct pki_order order = {.ca_dir = r->dir, .file_name = "ada"};
        struct err err;
        if (identity_parse("user/ada", &order.identity, &err) != 0 || pki_make(&order, &err) != 0)
            PANIC("%s", err.msg);
    }
    return NULL;
}

START_TEST(a_reader_during_a_renewal_finds_a_matching_pair)
{
    const char *dir = t_pki();
    struct renewer renewer = {.dir = dir};
    pthread_t thread;
    make(dir, "ada", "user/ada", 0);
    char ca[96], crt[96], key[96];
    snprintf(ca, sizeof ca, "%s/ca.crt", dir);
    snprintf(crt, sizeof crt, "%s/ada.crt", dir);
    snprintf(key, sizeof key, "%s/ada.key", dir);
    struct tls_context *ctx;
    T_OK(tls_context_open(ca, crt, key, &ctx, &t_err));
    ck_assert_int_eq(pthread_create(&thread, NULL, renew_on, &renewer), 0);
    int taken = 0;
    uint64_t end_ms = clock_mono_ms() + T_DEADLINE_MS;
    for (int i = 0; i < 300 || (taken < 3 && clock_mono_ms() < end_ms); i++) {
        int rc = tls_context_reload(ctx, &t_err);
        ck_assert_msg(rc >= 0, "%s", t_err.msg);
        taken += rc == 0;
    }
    atomic_store(&renewer.stop, true);
    pthread_join(thread, NULL);
    ck_assert_int_ge(taken, 3);
    tls_context_close(ctx);
}
END_TEST

START_TEST(a_new_key_with_an_old_certificate_still_works)
{
    /* A crash between the two files: the key is new, the certificate is still old. */
    const char *dir = t_pki();
    make(dir, "ada", "user/ada", 3600000);
    copy(dir, "ada.crt", dir, "old.crt");
    make(dir, "ada", "user/ada", 7200000);
    copy(dir, "old.crt", dir, "ada.crt");
    struct tls_context *ctx = context(dir, "ada");
    ck_assert_uint_gt(tls_context_cert(ctx)->expires_ms, clock_wall_ms() + 3700000);
    tls_context_close(ctx);
}
END_TEST

START_TEST(certificates_stay_valid_when_the_ca_is_renewed)
{
    const char *dir = t_pki();
    struct cell_file file = {.name = "test"};
    uint64_t was, is;
    struct tls_cert cert;
    make(dir, "ada", "user/ada", 0);
    str_copy(file.ca_path, sizeof file.ca_path, t_path(dir, "ca.crt"));
    T_OK(cell_file_identity(&file, &was, &t_err));
    T_OK(pki_renew_ca(dir, 2 * PKI_LIFE_MS, &t_err));
    T_OK(cell_file_identity(&file, &is, &t_err));
    ck_assert_uint_eq(was, is); /* the cell keeps its databases */
    T_OK(pki_read(t_path(dir, "ca.crt"), &cert, &t_err));
    ck_assert_uint_gt(cert.expires_ms, clock_wall_ms() + PKI_LIFE_MS + 86400000);
    struct tls_context *ctx = context(dir, "ada");
    ck_assert_uint_eq(tls_context_ca_expires_ms(ctx), cert.expires_ms);
    tls_context_close(ctx);
}
END_TEST

START_TEST(several_cas_are_trusted_during_a_change_of_the_ca)
{
    const char *old = t_pki(), *new = t_pki();
    struct tls_cert cert = {0};
    make(old, "m", "master/1", 0);
    gnutls_certificate_credentials_t ada = credentials(new, FLAW_NONE, "user/ada", 8);
    struct tls_context *ctx = context(old, "m");
    T_REFUSED(judge(ctx, ada, true, &cert, &t_err), ERR_DENIED);

    CLEANUP(buf_release) struct buf both = {0}, more = {0};
    T_OK(tls_file_read(t_path(old, "ca.crt"), false, &both, &t_err));
    T_OK(tls_file_read(t_path(new, "ca.crt"), false, &more, &t_err));
    buf_append(&both, more.bytes, more.size);
    FILE *bundle = fopen(t_path(old, "ca.crt"), "w");
    ck_assert(bundle != NULL && fwrite(both.bytes, 1, both.size, bundle) == both.size);
    ck_assert_int_eq(fclose(bundle), 0);
    T_OK(tls_context_reload(ctx, &t_err));
    T_OK(judge(ctx, ada, true, &cert, &t_err));
    gnutls_certificate_credentials_t bob = credentials(old, FLAW_NONE, "user/bob", 8);
    T_OK(judge(ctx, bob, true, &cert, &t_err));

    /* New certificates are signed by the CA of the key; a renewal leaves the other CA unchanged. */
    T_OK(pki_renew_ca(old, 0, &t_err));
    T_OK(tls_context_reload(ctx, &t_err));
    T_OK(judge(ctx, ada, true, &cert, &t_err));
    gnutls_certificate_free_credentials(ada);
    gnutls_certificate_free_credentials(bob);
    tls_context_close(ctx);
}
END_TEST

static mode_t mode_of(const char *path)
{
    struct stat st;
    ck_assert_int_eq(stat(path, &st), 0);
    return st.st_mode & 07777;
}

START_TEST(files_that_others_can_read_are_made_private)
{
    const char *dir = t_pki();
    size_t narrowed;
    make(dir, "ada", "user/ada", 0);
    ck_assert_int_eq(chmod(dir, 0755), 0);
    ck_assert_int_eq(chmod(t_path(dir, "ada.key"), 0644), 0);
    T_OK(pki_narrow(dir, &narrowed, &t_err));
    ck_assert_uint_eq(narrowed, 2);
    ck_assert_uint_eq(mode_of(dir), 0700);
    ck_assert_uint_eq(mode_of(t_path(dir, "ada.key")), 0600);
    ck_assert_uint_eq(mode_of(t_path(dir, "ada.crt")), 0644);
    T_OK(pki_narrow(dir, &narrowed, &t_err));
    ck_assert_uint_eq(narrowed, 0);

    ck_assert_int_eq(chmod(t_path(dir, "ada.key"), 0640), 0);
    tls_context_close(context(dir, "ada"));
    ck_assert_uint_eq(mode_of(t_path(dir, "ada.key")), 0600);
}
END_TEST

START_TEST(no_certificate_outlives_its_ca)
{
    const char *dir = t_pki();
    struct tls_cert ca, ada;
    T_OK(pki_renew_ca(dir, 86400000, &t_err));
    make(dir, "ada", "user/ada", 0);
    T_OK(pki_read(t_path(dir, "ca.crt"), &ca, &t_err));
    T_OK(pki_read(t_path(dir, "ada.crt"), &ada, &t_err));
    ck_assert_uint_eq(ada.expires_ms, ca.expires_ms);
    T_OK(pki_renew_ca(dir, 1, &t_err)); /* expired when it is made */
    struct identity bob = {ROLE_USER, "bob"};
    T_REFUSED(pki_make_cert(dir, "bob", &bob, &t_err), ERR_STATE);
    T_CONTAINS(t_err.msg, "borgctl pki renew --ca");
}
END_TEST

/* --- streams -----------------------------------------------------------------------------------
 */

struct end {
    struct stream *s;
    int opened, closed;
    struct err why;
};

struct bed {
    struct t_loop loop;
    const char *pki;
    struct tls_context *server_tls, *client_tls;
    struct tls_watch *watches[2];
    struct stream_listener *listener;
    struct end client, server;
    char revoked[CELL_NAME_MAX + 16]; /* this identity is revoked, */
    uint64_t revoked_ms;              /* if the certificate was issued at this time or earlier */
};

static void end_on_open(struct stream *s UNUSED, void *data)
{
    ((struct end *)data)->opened++;
}

static void end_on_data(struct stream *s UNUSED, void *data UNUSED, const void *bytes UNUSED,
                        size_t size UNUSED)
{
}

static void end_on_close(struct stream *s UNUSED, void *data, const struct err *why)
{
    struct end *end = data;
    end->s = NULL;
    end->closed++;
    end->why = *why;
}

static const struct stream_handlers handlers = {end_on_open, end_on_data, NULL, end_on_close};

static void bed_on_accept(struct stream_listener *l UNUSED, struct stream *s, void *data)
{
    struct bed *bed = data;
    bed->server = (struct end){.s = s, .opened = 1};
    stream_set_data(s, &bed->server);
}

static bool bed_revoked(void *data, const struct identity *id, uint64_t issued_ms)
{
    const struct bed *bed = data;
    return strcmp(identity_text(id).text, bed->revoked) == 0 && issued_ms <= bed->revoked_ms;
}

static void bed_init(struct bed *bed, uint64_t server_life_ms, uint64_t client_life_ms)
{
    *bed = (struct bed){.pki = t_pki()};
    t_loop_init(&bed->loop);
    make(bed->pki, "server", "master/1", server_life_ms);
    make(bed->pki, "client", "user/ada", client_life_ms);
    bed->server_tls = context(bed->pki, "server");
    bed->client_tls = context(bed->pki, "client");
    tls_context_on_peer(bed->server_tls, bed_revoked, bed);
    bed->watches[0] = tls_watch_open(&bed->loop.uv, bed->server_tls);
    bed->watches[1] = tls_watch_open(&bed->loop.uv, bed->client_tls);
    struct stream_options options = {.loop = &bed->loop.uv,
                                     .tls = bed->server_tls,
                                     .handlers = &handlers,
                                     .data = bed,
                                     .queue_bytes_max = QUEUE_BYTES_MAX};
    T_OK(stream_listen(&options, "127.0.0.1:0", 8, bed_on_accept, &bed->listener, &t_err));
}

static void bed_connect(struct bed *bed)
{
    struct stream_options options = {.loop = &bed->loop.uv,
                                     .tls = bed->client_tls,
                                     .handlers = &handlers,
                                     .data = &bed->client,
                                     .queue_bytes_max = QUEUE_BYTES_MAX};
    bed->client = bed->server = (struct end){0};
    T_OK(stream_connect(&options, stream_listener_address(bed->listener), &bed->client.s, &t_err));
}

static void bed_release(struct bed *bed)
{
    stream_listener_close(bed->listener);
    if (bed->client.s != NULL)
        stream_close(bed->client.s);
    if (bed->server.s != NULL)
        stream_close(bed->server.s);
    tls_watch_close(bed->watches[0]);
    tls_watch_close(bed->watches[1]);
    t_loop_close(&bed->loop);
    tls_context_close(bed->server_tls);
    tls_context_close(bed->client_tls);
}

START_TEST(a_connection_ends_with_the_certificate_of_the_client)
{
    struct bed bed;
    bed_init(&bed, 0, 3000);
    bed_connect(&bed);
    T_RUN(&bed.loop, bed.client.opened == 1 && bed.server.opened == 1);
    uint64_t expires_ms = stream_peer_expires_ms(bed.server.s);
    ck_assert_uint_eq(expires_ms, stream_peer_issued_ms(bed.server.s) + 3000);
    T_RUN(&bed.loop, bed.client.closed == 1 && bed.server.closed == 1);
    ck_assert_uint_ge(clock_wall_ms(), expires_ms);
    ck_assert_uint_le(clock_wall_ms(), expires_ms + 15000);
    ck_assert_int_eq(bed.server.why.code, ERR_DENIED);
    T_CONTAINS(bed.server.why.msg, "user/ada has expired on ");
    ck_assert_int_eq(bed.client.why.code, ERR_DENIED);
    T_CONTAINS(bed.client.why.msg, "expired");

    bed_connect(&bed); /* and no new one is accepted */
    T_RUN(&bed.loop, bed.client.closed == 1);
    ck_assert_int_eq(bed.server.opened, 0);
    T_CONTAINS(bed.client.why.msg, "expired");
    bed_release(&bed);
}
END_TEST

START_TEST(a_connection_ends_with_the_certificate_of_the_server)
{
    struct bed bed;
    bed_init(&bed, 3000, 0);
    bed_connect(&bed);
    T_RUN(&bed.loop, bed.client.opened == 1 && bed.server.opened == 1);
    T_RUN(&bed.loop, bed.client.closed == 1 && bed.server.closed == 1);
    T_CONTAINS(bed.client.why.msg, "master/1 has expired on ");
    T_CONTAINS(bed.server.why.msg, "expired");
    bed_release(&bed);
}
END_TEST

START_TEST(a_renewed_certificate_is_used_for_new_connections_only)
{
    struct bed bed;
    bed_init(&bed, 0, 40 * DAY_MS);
    bed_connect(&bed);
    T_RUN(&bed.loop, bed.server.opened == 1 && bed.client.opened == 1);
    uint64_t was_ms = stream_peer_expires_ms(bed.server.s);
    struct stream *first = bed.server.s;
    make(bed.pki, "client", "user/ada", 80 * DAY_MS);
    T_RUN(&bed.loop, tls_context_cert(bed.client_tls)->expires_ms > was_ms);
    t_loop_run_ms(&bed.loop, 2 * TLS_WATCH_STREAMS_MS + 200);
    ck_assert_int_eq(bed.client.closed, 0);
    ck_assert_ptr_eq(bed.server.s, first);
    stream_close(bed.client.s);
    T_RUN(&bed.loop, bed.server.closed == 1 && bed.client.closed == 1);
    bed_connect(&bed);
    T_RUN(&bed.loop, bed.server.opened == 1 && bed.client.opened == 1);
    ck_assert_uint_gt(stream_peer_expires_ms(bed.server.s), was_ms);
    bed_release(&bed);
}
END_TEST

START_TEST(a_connection_is_reopened_when_its_certificate_is_replaced)
{
    struct bed bed;
    bed_init(&bed, 0, 20 * DAY_MS);
    bed_connect(&bed);
    T_RUN(&bed.loop, bed.server.opened == 1 && bed.client.opened == 1);
    t_loop_run_ms(&bed.loop, 2 * TLS_WATCH_STREAMS_MS + 200);
    ck_assert_int_eq(bed.client.closed, 0); /* without a new one it is used until it expires */
    make(bed.pki, "client", "user/ada", 0);
    T_RUN(&bed.loop, bed.client.closed == 1 && bed.server.closed == 1);
    T_CONTAINS(bed.client.why.msg, "closed here");
    bed_release(&bed);
}
END_TEST

START_TEST(a_server_leaves_reconnecting_to_clients_until_shortly_before_the_end)
{
    static const struct {
        uint64_t life_ms;
        bool closed;
    } cases[] = {{20 * DAY_MS, false}, {TLS_WATCH_RENEW_MS - 10000, true}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct bed bed;
        bed_init(&bed, cases[i].life_ms, 0);
        bed_connect(&bed);
        T_RUN(&bed.loop, bed.server.opened == 1 && bed.client.opened == 1);
        uint64_t was_ms = tls_context_cert(bed.server_tls)->expires_ms;
        make(bed.pki, "server", "master/1", 0);
        T_RUN(&bed.loop, tls_context_cert(bed.server_tls)->expires_ms > was_ms);
        if (cases[i].closed)
            T_RUN(&bed.loop, bed.client.closed == 1 && bed.server.closed == 1);
        t_loop_run_ms(&bed.loop, 2 * TLS_WATCH_STREAMS_MS + 200);
        ck_assert_int_eq(bed.client.closed, cases[i].closed);
        bed_release(&bed);
    }
}
END_TEST

START_TEST(a_revoked_identity_is_disconnected_and_needs_a_new_certificate)
{
    struct bed bed;
    bed_init(&bed, 0, 0);
    bed_connect(&bed);
    T_RUN(&bed.loop, bed.server.opened == 1 && bed.client.opened == 1);
    str_copy(bed.revoked, sizeof bed.revoked, "user/ada");
    bed.revoked_ms = stream_peer_issued_ms(bed.server.s) - TLS_REVOKE_SKEW_MS - 1;
    tls_watch_check(bed.watches[0]);
    t_loop_run_ms(&bed.loop, 300);
    ck_assert_int_eq(bed.client.closed, 0); /* issued after that, whichever clock is right */
    bed.revoked_ms++;
    tls_watch_check(bed.watches[0]);
    T_RUN(&bed.loop, bed.client.closed == 1 && bed.server.closed == 1);
    T_CONTAINS(bed.server.why.msg, "is revoked");
    ck_assert_int_eq(bed.client.why.code, ERR_DENIED);
    T_CONTAINS(bed.client.why.msg, "revoked");

    bed_connect(&bed);
    T_RUN(&bed.loop, bed.client.closed == 1);
    ck_assert_int_eq(bed.server.opened, 0);

    struct pki_order order = {.ca_dir = bed.pki,
                              .file_name = "client",
                              .identity = *tls_context_identity(bed.client_tls),
                              .issued_ms = bed.revoked_ms + TLS_REVOKE_SKEW_MS + 1000};
    T_OK(pki_make(&order, &t_err));
    T_OK(tls_context_reload(bed.client_tls, &t_err));
    bed_connect(&bed);
    T_RUN(&bed.loop, bed.client.opened == 1 && bed.server.opened == 1);
    bed_release(&bed);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("certs");
    TCase *accepted = tcase_create("accepted");
    tcase_set_timeout(accepted, 60);
    tcase_add_test(accepted, only_valid_certificates_of_a_holder_are_accepted);
    tcase_add_test(accepted, common_names_with_other_bytes_are_refused);
    suite_add_tcase(suite, accepted);
    TCase *files = tcase_create("files");
    tcase_set_timeout(files, 60);
    tcase_add_test(files, a_certificate_has_a_start_and_an_end);
    tcase_add_test(files, new_files_are_loaded_and_wrong_ones_refused);
    tcase_add_test(files, a_reader_during_a_renewal_finds_a_matching_pair);
    tcase_add_test(files, a_new_key_with_an_old_certificate_still_works);
    tcase_add_test(files, certificates_stay_valid_when_the_ca_is_renewed);
    tcase_add_test(files, several_cas_are_trusted_during_a_change_of_the_ca);
    tcase_add_test(files, files_that_others_can_read_are_made_private);
    tcase_add_test(files, no_certificate_outlives_its_ca);
    suite_add_tcase(suite, files);
    TCase *streams = tcase_create("streams");
    tcase_set_timeout(streams, 60);
    tcase_add_test(streams, a_connection_ends_with_the_certificate_of_the_client);
    tcase_add_test(streams, a_connection_ends_with_the_certificate_of_the_server);
    tcase_add_test(streams, a_renewed_certificate_is_used_for_new_connections_only);
    tcase_add_test(streams, a_connection_is_reopened_when_its_certificate_is_replaced);
    tcase_add_test(streams, a_server_leaves_reconnecting_to_clients_until_shortly_before_the_end);
    tcase_add_test(streams, a_revoked_identity_is_disconnected_and_needs_a_new_certificate);
    suite_add_tcase(suite, streams);
    return t_main(suite);
}
