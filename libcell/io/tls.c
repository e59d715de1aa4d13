/*
 * tls.c - credentials and the rules every session of the house follows.
 *
 * TLS 1.3 only, both sides show a certificate, no tickets: connections live for hours, resumption
 * would only be a second way in.
 */
#include "tls.h"
#include "tls_session.h"

#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char tls_priority[] =
    "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305:"
    "-GROUP-ALL:+GROUP-X25519:+GROUP-SECP256R1";

struct tls_context {
    gnutls_certificate_credentials_t credentials;
    gnutls_priority_t priority;
    struct identity identity; /* of our own certificate */
};

static void crt_release(gnutls_x509_crt_t *crt)
{
    if (*crt != NULL)
        gnutls_x509_crt_deinit(*crt);
}

int tls_certificate_identity(const gnutls_datum_t *certificate, gnutls_x509_crt_fmt_t format,
                             struct identity *ret, struct err *err)
{
    CLEANUP(crt_release) gnutls_x509_crt_t crt = NULL;
    int rc = gnutls_x509_crt_init(&crt);
    if (rc == 0)
        rc = gnutls_x509_crt_import(crt, certificate, format);
    if (rc != 0)
        return err_set(err, ERR_CORRUPT, "unreadable certificate: %s", gnutls_strerror(rc));
    char name[CELL_NAME_MAX + 32];
    size_t size = sizeof name;
    rc = gnutls_x509_crt_get_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, 0, name, &size);
    if (rc != 0)
        return err_set(err, ERR_INVALID, "certificate without a usable common name: %s",
                       gnutls_strerror(rc));
    if (strnlen(name, sizeof name) != size)
        return err_set(err, ERR_INVALID, "certificate with a zero byte in its common name");
    return identity_parse(name, ret, err);
}

static int context_load(struct tls_context *ctx, const char *ca_path, const char *cert_path,
                        const char *key_path, struct err *err)
{
    int rc = gnutls_certificate_set_x509_trust_file(ctx->credentials, ca_path, GNUTLS_X509_FMT_PEM);
    if (rc <= 0)
        return err_set(err, rc == GNUTLS_E_FILE_ERROR ? ERR_IO : ERR_INVALID,
                       "%s: no CA certificate can be read from it: %s", ca_path,
                       rc == 0 ? "it holds none" : gnutls_strerror(rc));
    rc = gnutls_certificate_set_x509_key_file(ctx->credentials, cert_path, key_path,
                                              GNUTLS_X509_FMT_PEM);
    if (rc < 0)
        return err_set(err, rc == GNUTLS_E_FILE_ERROR ? ERR_IO : ERR_INVALID,
                       "certificate %s with key %s cannot be used: %s", cert_path, key_path,
                       gnutls_strerror(rc));
    gnutls_datum_t own;
    rc = gnutls_certificate_get_crt_raw(ctx->credentials, 0, 0, &own);
    if (rc != 0)
        return err_set(err, ERR_INVALID, "%s: %s", cert_path, gnutls_strerror(rc));
    if (tls_certificate_identity(&own, GNUTLS_X509_FMT_DER, &ctx->identity, err) != 0)
        return err_wrap(err, "%s", cert_path);
    return 0;
}

int tls_context_open(const char *ca_path, const char *cert_path, const char *key_path,
                     struct tls_context **ret, struct err *err)
{
    struct tls_context *ctx = xcalloc(1, sizeof *ctx);
    int rc = gnutls_certificate_allocate_credentials(&ctx->credentials);
    if (rc == 0)
        rc = gnutls_priority_init(&ctx->priority, tls_priority, NULL);
    if (rc != 0)
        PANIC("gnutls: %s", gnutls_strerror(rc));
    rc = context_load(ctx, ca_path, cert_path, key_path, err);
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
    gnutls_certificate_free_credentials(ctx->credentials);
    gnutls_priority_deinit(ctx->priority);
    free(ctx);
}

const struct identity *tls_context_identity(const struct tls_context *ctx)
{
    return &ctx->identity;
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
        rc = gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, ctx->credentials);
    if (rc != 0) {
        gnutls_deinit(session);
        return err_set(err, ERR_IO, "TLS session: %s", gnutls_strerror(rc));
    }
    if (server)
        gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUIRE);
    gnutls_transport_set_ptr(session, transport);
    gnutls_transport_set_push_function(session, push);
    gnutls_transport_set_pull_function(session, pull);
    *ret = session;
    return 0;
}

int tls_session_peer(gnutls_session_t session, struct identity *ret, struct err *err)
{
    unsigned status = 0;
    int rc = gnutls_certificate_verify_peers2(session, &status);
    if (rc != 0)
        return err_set(err, ERR_DENIED, "no certificate to check: %s", gnutls_strerror(rc));
    if (status != 0) {
        gnutls_datum_t text = {0};
        gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0);
        const char *why = text.data == NULL ? "" : (const char *)text.data;
        size_t length = strlen(why);
        while (length > 0 && why[length - 1] == ' ')
            length--;
        err_set(err, ERR_DENIED, "certificate refused: %.*s", (int)length, why);
        gnutls_free(text.data);
        return -ERR_DENIED;
    }
    unsigned count = 0;
    const gnutls_datum_t *certificates = gnutls_certificate_get_peers(session, &count);
    if (certificates == NULL || count == 0)
        return err_set(err, ERR_DENIED, "the peer shows no certificate");
    if (tls_certificate_identity(&certificates[0], GNUTLS_X509_FMT_DER, ret, err) != 0) {
        err_wrap(err, "certificate refused");
        if (err != NULL)
            err->code = ERR_DENIED;
        return -ERR_DENIED;
    }
    return 0;
}
