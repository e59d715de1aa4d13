/*
 * tls_watch.h - a process that lives longer than certificates: new files are taken into use, and
 * connections end with the certificate that vouched for them.
 *
 * Every TLS_WATCH_FILES_MS the files are read in the pool of libuv (a hanging disk holds up no
 * loop) and used for new connections if they are good; others are refused with a line in the log,
 * once, and the old stay. Once a second each open stream of the context in this thread is ended
 * whose peer has expired or is revoked: the peer is told by an alert, its own calls fail with
 * ERR_CLOSED, and both sides log it. A stream that we made with a certificate that has been
 * replaced because it ends soon (TLS_CERT_SOON_MS) is closed, for its owner to make it again; one
 * that others made is left to them until TLS_WATCH_RENEW_MS before that end.
 */
#ifndef CELL_TLS_WATCH_H
#define CELL_TLS_WATCH_H

#include "tls.h"

#include <uv.h>

enum { TLS_WATCH_FILES_MS = 2000, TLS_WATCH_STREAMS_MS = 1000, TLS_WATCH_RENEW_MS = 60000 };

struct tls_watch;
/* `ctx` is borrowed and must outlive the watch. The watch keeps no loop alive. */
struct tls_watch *tls_watch_open(uv_loop_t *loop, struct tls_context *ctx);
/* Who is revoked has changed: ask about all open streams, in a later turn of the loop. */
void tls_watch_check(struct tls_watch *watch);
void tls_watch_close(struct tls_watch *watch); /* freed by the loop; NULL is fine */

#endif
