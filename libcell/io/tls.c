/*
 * tls.c - credentials, and the rules for all sessions.
 *
 * Only TLS 1.3; both sides present a certificate; no tickets: connections live for hours, and
 * resumption would only be a second way in. Signatures of less than 112 bits of strength (SHA-1,
 * RSA under 2048) are refused, and so is a certificate that no CA of the cell has signed directly.
 * Dates are checked here and not by the library, which allows no clock skew.
 */
#include "tls.h"
#include "tls_cert.h"
#include "tls_session.h"

#include "clock.h"
#include "hash.h"

#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char tls_priority[] =
    "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305:"
    "-GROUP-ALL:+GROUP-X25519:+GROUP-SECP256R1:%PROFILE_MEDIUM";

enum {
    OPEN_ATTEMPTS = 5, /* files may not match for a moment while they are being replaced */
    OPEN_PAUSE_MS = 20,
};

/* The contents of the files at one time; the context and each session hold a reference. */
struct tls_credentials {
    atomic_uint refs;
    gnutls_certificate_credentials_t x509;
    gnutls_x509_crt_t cas[TLS_CAS_MAX];
    size_t ca_count;
    struct tls_cert own;
    uint64_t ca_expires_ms;
    uint64_t hash; /* of the files */
};

struct tls_context {
    struct tls_credentials *now;
    gnutls_priority_t priority;
    char *ca_path, *cert_path, *key_path;
    tls_revoked_cb revoked;
    void *revoked_data;
};

/* State of reading the files. */
struct tls_reading {
    struct buf ca, cert, key;
    gnutls_x509_privkey_t privkey;
    gnutls_x509_crt_t certs[2 * TLS_CHAIN_MAX]; /* of cert, then of key */
    size_t cert_count, key_cert_count;
};

static void crt_release(gnutls_x509_crt_t *crt)
{
    if (*crt != NULL)
        gnutls_x509_crt_deinit(*crt);
}

static void reading_release(struct tls_reading *r)
{
    if (r->key.bytes != NULL)
        explicit_bzero(r->key.bytes, r->key.capacity);
    buf_release(&r->ca);
    buf_release(&r->cert);
    buf_release(&r->key);
    if (r->privkey != NULL)
        gnutls_x509_privkey_deinit(r->privkey);
    for (size_t i = 0; i < r->cert_count + r->key_cert_count; i++)
        gnutls_x509_crt_deinit(r->certs[i]);
}

static struct tls_credentials *credentials_ref(struct tls_credentials *c)
{
    atomic_fetch_add(&c->refs, 1);
    return c;
}

static void credentials_unref(struct tls_credentials *c)
{
    if (c == NULL || atomic_fetch_sub(&c->refs, 1) > 1)
        return;
    gnutls_certificate_free_credentials(c->x509);
    for (size_t i = 0; i < c->ca_count; i++)
        gnutls_x509_crt_deinit(c->cas[i]);
    free(c);
}

static void credentials_unref_ptr(struct tls_credentials **c)
{
    credentials_unref(*c);
}

static int cas_load(struct tls_credentials *c, const struct tls_reading *r, const char *path,
                    struct err *err)
{
    if (tls_certs_parse(&r->ca, TLS_CAS_MAX, c->cas, &c->ca_count, err) != 0)
        return err_wrap(err, "%s: no CA certificate can be read from it", path);
    if (c->ca_count == 0)
        return err_set(err, ERR_INVALID,
                       "%s: no CA certificate can be read from it: it contains none", path);
    int rc = gnutls_certificate_set_x509_trust(c->x509, c->cas, (int)c->ca_count);
    if (rc < 0)
        return err_set(err, ERR_INVALID, "%s: no CA certificate can be read from it: %s", path,
                       gnutls_strerror(rc));
    return 0;
}

static bool crt_is_of_key(gnutls_x509_crt_t crt, gnutls_x509_privkey_t key)
{
    unsigned char a[64], b[64];
    size_t a_size = sizeof a, b_size = sizeof b;
    return gnutls_x509_crt_get_key_id(crt, GNUTLS_KEYID_USE_SHA256, a, &a_size) == 0 &&
           gnutls_x509_privkey_get_key_id(key, GNUTLS_KEYID_USE_SHA256, b, &b_size) == 0 &&
           a_size == b_size && memcmp(a, b, a_size) == 0;
}

static int pair_parse(struct tls_reading *r, struct err *err)
{
    gnutls_datum_t pem = {.data = (unsigned char *)r->key.bytes, .size = (unsigned)r->key.size};
    int rc = tls_certs_parse(&r->cert, TLS_CHAIN_MAX, r->certs, &r->cert_count, err);
    if (rc == 0)
        rc = tls_certs_parse(&r->key, TLS_CHAIN_MAX, r->certs + r->cert_count, &r->key_cert_count,
                             err);
    if (rc != 0)
        return rc;
    rc = gnutls_x509_privkey_init(&r->privkey);
    if (rc == 0)
        rc = gnutls_x509_privkey_import(r->privkey, &pem, GNUTLS_X509_FMT_PEM);
    return rc == 0 ? 0 : err_set(err, ERR_INVALID, "no key: %s", gnutls_strerror(rc));
}

static bool crt_same_holder(gnutls_x509_crt_t a, gnutls_x509_crt_t b)
{
    gnutls_datum_t a_name = {0}, b_name = {0};
    bool same = gnutls_x509_crt_get_raw_dn(a, &a_name) == 0 &&
                gnutls_x509_crt_get_raw_dn(b, &b_name) == 0 && a_name.size == b_name.size &&
                memcmp(a_name.data, b_name.data, a_name.size) == 0;
    gnutls_free(a_name.data);
    gnutls_free(b_name.data);
    return same;
}

/* Choose the newest certificate of the key among those that lead a file and have the same
 * holder. */
static int pair_choose(const struct tls_reading *r, size_t *ret_at, size_t *ret_count,
                       struct err *err)
{
    const size_t starts[] = {0, r->cert_count}, counts[] = {r->cert_count, r->key_cert_count};
    uint64_t best_ms = 0, issued_ms, expires_ms;
    *ret_count = 0;
    if (r->cert_count == 0)
        return err_set(err, ERR_INVALID, "there is no certificate");
    for (size_t i = 0; i < ARRAY_SIZE(starts); i++) {
        if (counts[i] == 0 || !crt_same_holder(r->certs[0], r->certs[starts[i]]) ||
            !crt_is_of_key(r->certs[starts[i]], r->privkey))
            continue;
        tls_cert_dates(r->certs[starts[i]], &issued_ms, &expires_ms);
        if (*ret_count != 0 && issued_ms <= best_ms)
            continue;
        best_ms = issued_ms;
        *ret_at = starts[i];
        *ret_count = counts[i];
    }
    if (*ret_count == 0)
        return err_set(err, ERR_INVALID, "the certificate does not belong to the key");
    return 0;
}

static int pair_load(struct tls_credentials *c, struct tls_reading *r, gnutls_x509_crt_t *ret_crt,
                     struct err *err)
{
    size_t at = 0, count = 0;
    int rc = pair_parse(r, err);
    if (rc == 0)
        rc = pair_choose(r, &at, &count, err);
    if (rc != 0)
        return rc;
    rc = gnutls_certificate_set_x509_key(c->x509, r->certs + at, (int)count, r->privkey);
    if (rc < 0)
        return err_set(err, ERR_INVALID, "%s", gnutls_strerror(rc));
    *ret_crt = r->certs[at];
    return 0;
}

/* Return the end of the last CA that has signed the certificate directly; 0: none has, and the
 * status of GnuTLS gives the reason. All are tried, because CAs have the same name while one
 * replaces another. */
static uint64_t ca_of(const struct tls_credentials *c, gnutls_x509_crt_t crt, unsigned *ret_status)
{
    const unsigned flags = GNUTLS_VERIFY_DISABLE_TIME_CHECKS |
                           GNUTLS_VERIFY_DISABLE_TRUSTED_TIME_CHECKS |
                           GNUTLS_PROFILE_TO_VFLAGS(GNUTLS_PROFILE_MEDIUM);
    uint64_t last_ms = 0, issued_ms, expires_ms;
    *ret_status = GNUTLS_CERT_INVALID | GNUTLS_CERT_SIGNER_NOT_FOUND;
    for (size_t i = 0; i < c->ca_count; i++) {
        unsigned status = 0;
        if (gnutls_x509_crt_check_issuer(crt, c->cas[i]) == 0 ||
            gnutls_x509_crt_verify(crt, &c->cas[i], 1, flags, &status) != 0)
            continue;
        if (status != 0) {
            *ret_status = status;
            continue;
        }
        tls_cert_dates(c->cas[i], &issued_ms, &expires_ms);
        last_ms = MAX(last_ms, expires_ms);
    }
    return last_ms;
}

static int files_read(const struct tls_context *ctx, struct tls_reading *r, uint64_t *ret_hash,
                      struct err *err)
{
    int rc = tls_file_read(ctx->ca_path, false, &r->ca, err);
    if (rc == 0)
        rc = tls_file_read(ctx->cert_path, false, &r->cert, err);
    if (rc == 0)
        rc = tls_file_read(ctx->key_path, true, &r->key, err);
    if (rc != 0)
        return rc;
    *ret_hash = hash_bytes(0, r->ca.bytes, r->ca.size);
    *ret_hash = hash_bytes(*ret_hash, r->cert.bytes, r->cert.size);
    *ret_hash = hash_bytes(*ret_hash, r->key.bytes, r->key.size);
    return 0;
}

static int credentials_load(const struct tls_context *ctx, struct tls_credentials *c,
                            struct tls_reading *r, struct err *err)
{
    gnutls_x509_crt_t crt = NULL;
    unsigned status;
    int rc = gnutls_certificate_allocate_credentials(&c->x509);
    if (rc != 0)
        PANIC("gnutls: %s", gnutls_strerror(rc));
    if ((rc = cas_load(c, r, ctx->ca_path, err)) != 0)
        return rc;
    if (pair_load(c, r, &crt, err) != 0)
        return err_wrap(err, "certificate %s with key %s cannot be used", ctx->cert_path,
                        ctx->key_path);
    if (tls_cert_read(crt, TLS_PURPOSE_CLIENT | TLS_PURPOSE_SERVER, &c->own, err) != 0)
        return err_wrap(err, "%s", ctx->cert_path);
    c->ca_expires_ms = ca_of(c, crt, &status);
    if (c->ca_expires_ms != 0)
        c->own.expires_ms = MIN(c->own.expires_ms, c->ca_expires_ms);
    return 0;
}

/* Read the files. Return 1 if they are unchanged since `was`, which may be NULL. */
static int credentials_read(const struct tls_context *ctx, const struct tls_credentials *was,
                            struct tls_credentials **ret, struct err *err)
{
    CLEANUP(reading_release) struct tls_reading reading = {0};
    uint64_t hash;
    int rc = files_read(ctx, &reading, &hash, err);
    if (rc != 0)
        return rc;
    if (was != NULL && was->hash == hash)
        return 1;
    CLEANUP(credentials_unref_ptr) struct tls_credentials *c = xcalloc(1, sizeof *c);
    atomic_store(&c->refs, 1);
    rc = credentials_load(ctx, c, &reading, err);
    if (rc != 0)
        return rc;
    c->hash = hash;
    *ret = c;
    c = NULL;
    return 0;
}

int tls_context_open(const char *ca_path, const char *cert_path, const char *key_path,
                     struct tls_context **ret, struct err *err)
{
    struct tls_context *ctx = xcalloc(1, sizeof *ctx);
    int rc = gnutls_priority_init(&ctx->priority, tls_priority, NULL);
    if (rc != 0)
        PANIC("gnutls: %s", gnutls_strerror(rc));
    ctx->ca_path = xstrdup(ca_path);
    ctx->cert_path = xstrdup(cert_path);
    ctx->key_path = xstrdup(key_path);
    for (int i = 0; i < OPEN_ATTEMPTS; i++) {
        rc = credentials_read(ctx, NULL, &ctx->now, err);
        if (rc != -ERR_INVALID)
            break;
        poll(NULL, 0, OPEN_PAUSE_MS);
    }
    if (rc != 0) {
        tls_context_close(ctx);
        return rc;
    }
    *ret = ctx;
    return 0;
}

void tls_context_close(struct tls_context *ctx)
{
    if (ctx == NULL)
        return;
    credentials_unref(ctx->now);
    gnutls_priority_deinit(ctx->priority);
    free(ctx->ca_path);
    free(ctx->cert_path);
    free(ctx->key_path);
    free(ctx);
}

const struct identity *tls_context_identity(const struct tls_context *ctx)
{
    return &ctx->now->own.identity;
}

const struct tls_cert *tls_context_cert(const struct tls_context *ctx)
{
    return &ctx->now->own;
}

uint64_t tls_context_ca_expires_ms(const struct tls_context *ctx)
{
    return ctx->now->ca_expires_ms;
}

/* Check whether `c` may replace the credentials in use. */
static int successor_check(const struct tls_context *ctx, const struct tls_credentials *c,
                           struct err *err)
{
    struct identity_text was = identity_text(&ctx->now->own.identity);
    struct identity_text now = identity_text(&c->own.identity);
    if (strcmp(was.text, now.text) != 0)
        return err_set(err, ERR_INVALID, "%s is now for %s, but this program is %s", ctx->cert_path,
                       now.text, was.text);
    if (c->ca_expires_ms == 0)
        return err_set(err, ERR_INVALID, "%s is not signed by a CA of %s", ctx->cert_path,
                       ctx->ca_path);
    if (c->own.expires_ms <= clock_wall_ms())
        return err_set(err, ERR_INVALID, "%s has expired on %s", ctx->cert_path,
                       tls_date(c->own.expires_ms).text);
    return 0;
}

int tls_context_read(const struct tls_context *ctx, struct tls_credentials **ret, struct err *err)
{
    CLEANUP(credentials_unref_ptr) struct tls_credentials *c = NULL;
    int rc = credentials_read(ctx, ctx->now, &c, err);
    if (rc == 0)
        rc = successor_check(ctx, c, err);
    if (rc != 0)
        return rc;
    *ret = c;
    c = NULL;
    return 0;
}

void tls_context_take(struct tls_context *ctx, struct tls_credentials *taken)
{
    credentials_unref(ctx->now);
    ctx->now = taken;
}

int tls_context_reload(struct tls_context *ctx, struct err *err)
{
    struct tls_credentials *c;
    int rc = tls_context_read(ctx, &c, err);
    if (rc == 0)
        tls_context_take(ctx, c);
    return rc;
}

void tls_context_on_peer(struct tls_context *ctx, tls_revoked_cb revoked, void *data)
{
    ctx->revoked = revoked;
    ctx->revoked_data = data;
}

int tls_session_open(struct tls_context *ctx, bool server, void *transport, gnutls_push_func push,
                     gnutls_pull_func pull, gnutls_session_t *ret, struct err *err)
{
    gnutls_session_t session;
    unsigned flags = server ? GNUTLS_SERVER : GNUTLS_CLIENT | GNUTLS_FORCE_CLIENT_CERT;
    int rc = gnutls_init(&session, flags | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL | GNUTLS_NO_TICKETS);
    if (rc != 0)
        return err_set(err, ERR_IO, "gnutls_init: %s", gnutls_strerror(rc));
    rc = gnutls_priority_set(session, ctx->priority);
    if (rc == 0)
        rc = gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, ctx->now->x509);
    if (rc != 0) {
        gnutls_deinit(session);
        return err_set(err, ERR_IO, "TLS session: %s", gnutls_strerror(rc));
    }
    gnutls_session_set_ptr(session, credentials_ref(ctx->now));
    if (server)
        gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUIRE);
    gnutls_transport_set_ptr(session, transport);
    gnutls_transport_set_push_function(session, push);
    gnutls_transport_set_pull_function(session, pull);
    *ret = session;
    return 0;
}

void tls_session_close(gnutls_session_t session)
{
    if (session == NULL)
        return;
    struct tls_credentials *c = gnutls_session_get_ptr(session);
    gnutls_deinit(session);
    credentials_unref(c);
}

bool tls_session_is_current(const struct tls_context *ctx, gnutls_session_t session,
                            uint64_t *ret_expires_ms)
{
    const struct tls_credentials *c = gnutls_session_get_ptr(session);
    *ret_expires_ms = c->own.expires_ms;
    return c == ctx->now;
}

static int status_refuse(unsigned status, struct err *err)
{
    gnutls_datum_t text = {0};
    gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0);
    const char *why = text.data == NULL ? "" : (const char *)text.data;
    size_t length = strlen(why);
    while (length > 0 && why[length - 1] == ' ')
        length--;
    err_set(err, ERR_DENIED, "%.*s", (int)length, why);
    gnutls_free(text.data);
    return -ERR_DENIED;
}

/* Read the leaf; the rest of the peer's chain is ignored. */
static int peer_read(gnutls_session_t session, bool we_serve, struct tls_cert *ret, struct err *err)
{
    CLEANUP(crt_release) gnutls_x509_crt_t crt = NULL;
    const struct tls_credentials *c = gnutls_session_get_ptr(session);
    unsigned count = 0, status;
    const gnutls_datum_t *certificates = gnutls_certificate_get_peers(session, &count);
    if (certificates == NULL || count == 0)
        return err_set(err, ERR_DENIED, "the peer presents no certificate");
    int rc = gnutls_x509_crt_init(&crt);
    if (rc == 0)
        rc = gnutls_x509_crt_import(crt, &certificates[0], GNUTLS_X509_FMT_DER);
    if (rc != 0)
        return err_set(err, ERR_DENIED, "unreadable certificate: %s", gnutls_strerror(rc));
    uint64_t ca_expires_ms = ca_of(c, crt, &status);
    if (ca_expires_ms == 0)
        return status_refuse(status, err);
    rc = tls_cert_read(crt, we_serve ? TLS_PURPOSE_CLIENT : TLS_PURPOSE_SERVER, ret, err);
    if (rc != 0)
        return rc;
    ret->expires_ms = MIN(ret->expires_ms, ca_expires_ms);
    return 0;
}

int tls_peer_check(const struct tls_context *ctx, const struct tls_cert *peer, uint64_t now_ms,
                   struct err *err)
{
    struct identity_text who = identity_text(&peer->identity);
    if (peer->expires_ms <= now_ms)
        return err_set(err, ERR_DENIED, "the certificate of %s has expired on %s", who.text,
                       tls_date(peer->expires_ms).text);
    if (peer->issued_ms > now_ms && peer->issued_ms - now_ms > TLS_CLOCK_SKEW_MS)
        return err_set(
            err, ERR_DENIED,
            "the certificate of %s begins on %s, but the local time is %s: check the clocks",
            who.text, tls_date(peer->issued_ms).text, tls_date(now_ms).text);
    if (ctx->revoked != NULL &&
        ctx->revoked(ctx->revoked_data, &peer->identity,
                     peer->issued_ms - MIN(peer->issued_ms, (uint64_t)TLS_REVOKE_SKEW_MS)))
        return err_set(err, ERR_DENIED,
                       "the certificate of %s, issued on %s, is revoked; it needs a new one",
                       who.text, tls_date(peer->issued_ms).text);
    return 0;
}

gnutls_alert_description_t tls_peer_alert(const struct tls_cert *peer, uint64_t now_ms)
{
    if (peer->identity.role == ROLE_NONE)
        return GNUTLS_A_ACCESS_DENIED;
    if (peer->issued_ms > now_ms + TLS_CLOCK_SKEW_MS)
        return GNUTLS_A_BAD_CERTIFICATE;
    return peer->expires_ms <= now_ms ? GNUTLS_A_CERTIFICATE_EXPIRED : GNUTLS_A_CERTIFICATE_REVOKED;
}

int tls_session_peer(const struct tls_context *ctx, gnutls_session_t session, bool we_serve,
                     struct tls_cert *ret, struct err *err)
{
    struct tls_cert peer = {0};
    if (peer_read(session, we_serve, &peer, err) != 0) {
        err_wrap(err, "certificate refused");
        if (err != NULL)
            err->code = ERR_DENIED;
        return -ERR_DENIED;
    }
    *ret = peer;
    return tls_peer_check(ctx, &peer, clock_wall_ms(), err);
}
