/*
 * tls_watch.h - replaces certificates while a process runs, and ends connections whose certificate
 * has expired or is revoked.
 *
 * Every TLS_WATCH_FILES_MS the files are read in libuv's pool (so that a slow disk does not block
 * the loop) and used for new connections if they are valid; otherwise the old ones stay in use and
 * the log reports it once. Once a second each open stream of the context in this thread is ended if
 * the peer's certificate has expired or is revoked: the peer gets an alert, its own calls fail with
 * ERR_CLOSED, and both sides log it. A stream that we opened with a certificate that has been
 * replaced because it expires soon (TLS_CERT_SOON_MS) is closed, so that its owner reconnects; an
 * accepted stream stays open until TLS_WATCH_RENEW_MS before the end.
 */
#ifndef CELL_TLS_WATCH_H
#define CELL_TLS_WATCH_H

#include "tls.h"

#include <uv.h>

enum { TLS_WATCH_FILES_MS = 2000, TLS_WATCH_STREAMS_MS = 1000, TLS_WATCH_RENEW_MS = 60000 };

struct tls_watch;
/* Start a watch. `ctx` is borrowed and must outlive it. The watch does not keep the loop alive. */
struct tls_watch *tls_watch_open(uv_loop_t *loop, struct tls_context *ctx);
/* The set of revoked identities has changed: check all open streams in a later turn of the loop. */
void tls_watch_check(struct tls_watch *watch);
void tls_watch_close(struct tls_watch *watch); /* the loop frees it; accepts NULL */

#endif
