/*
 * tls_session.h - a GnuTLS session over the caller's bytes; only for the files of this folder.
 */
#ifndef CELL_TLS_SESSION_H
#define CELL_TLS_SESSION_H

#include "tls.h"

#include <gnutls/gnutls.h>

/* A session of ours that moves its bytes with `push` and `pull`, given `transport`. */
int tls_session_open(struct tls_context *ctx, bool server, void *transport, gnutls_push_func push,
                     gnutls_pull_func pull, gnutls_session_t *ret, struct err *err) MUST_USE;

/* After the handshake: who the peer is. ERR_DENIED when the CA of the cell does not say so. */
int tls_session_peer(gnutls_session_t session, struct identity *ret, struct err *err) MUST_USE;

/* The identity in the common name of a certificate. */
int tls_certificate_identity(const gnutls_datum_t *certificate, gnutls_x509_crt_fmt_t format,
                             struct identity *ret, struct err *err) MUST_USE;

#endif
