/*
 * tls_session.h - a GnuTLS session over the caller's bytes; only for the files of this folder.
 */
#ifndef CELL_TLS_SESSION_H
#define CELL_TLS_SESSION_H

#include "tls.h"

#include <gnutls/gnutls.h>

/* Create a session that moves its bytes with `push` and `pull`, which get `transport`. */
int tls_session_open(struct tls_context *ctx, bool server, void *transport, gnutls_push_func push,
                     gnutls_pull_func pull, gnutls_session_t *ret, struct err *err) MUST_USE;

/* End a session and release its credentials. Accepts NULL. */
void tls_session_close(gnutls_session_t session);

/* Return the peer after the handshake. ERR_DENIED if no CA of the cell has signed its
 * certificate, if it may not act as server (or client), or if it has expired or is revoked. *ret
 * is complete or empty. */
int tls_session_peer(const struct tls_context *ctx, gnutls_session_t session, bool we_serve,
                     struct tls_cert *ret, struct err *err) MUST_USE;
/* Return whether the certificate is (still) valid at this time, or ERR_DENIED. */
int tls_peer_check(const struct tls_context *ctx, const struct tls_cert *peer, uint64_t now_ms,
                   struct err *err) MUST_USE;
/* Return the alert that gives the peer the reason. */
gnutls_alert_description_t tls_peer_alert(const struct tls_cert *peer, uint64_t now_ms);

/* Return whether the session uses the current credentials. *ret_expires_ms: when its own expire. */
bool tls_session_is_current(const struct tls_context *ctx, gnutls_session_t session,
                            uint64_t *ret_expires_ms);

#endif
