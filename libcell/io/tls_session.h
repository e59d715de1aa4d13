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

/* Ends it and lets go of the credentials. NULL is fine. */
void tls_session_close(gnutls_session_t session);

/*
 * After the handshake: who the peer is. ERR_DENIED when no CA of the cell says so, when it may not
 * be the server (or client) that it is, when it has expired or is revoked. *ret is whole, or of
 * nobody.
 */
int tls_session_peer(const struct tls_context *ctx, gnutls_session_t session, bool we_serve,
                     struct tls_cert *ret, struct err *err) MUST_USE;
/* Is it (still) good at this time? ERR_DENIED. */
int tls_peer_check(const struct tls_context *ctx, const struct tls_cert *peer, uint64_t now_ms,
                   struct err *err) MUST_USE;
/* The alert that tells the peer why it is not. */
gnutls_alert_description_t tls_peer_alert(const struct tls_cert *peer, uint64_t now_ms);

/* Does the session use the credentials that new ones get? *ret_expires_ms: when its own end. */
bool tls_session_is_current(const struct tls_context *ctx, gnutls_session_t session,
                            uint64_t *ret_expires_ms);

#endif
