/*
 * tls_cert.h - what a certificate says and whether it may say it; only for the files of this
 * folder.
 */
#ifndef CELL_TLS_CERT_H
#define CELL_TLS_CERT_H

#include "buf.h"
#include "tls.h"

#include <gnutls/x509.h>

enum {
    TLS_FILE_BYTES_MAX = 1 << 18, /* of one PEM file */
    TLS_CAS_MAX = 16,             /* certificates in ca.crt */
    TLS_CHAIN_MAX = 8,            /* certificates in NAME.crt */
};

/* What a certificate must be good for. */
enum tls_purpose { TLS_PURPOSE_CLIENT = 1, TLS_PURPOSE_SERVER = 2 };

/*
 * Read who holds the certificate and when it is good. ERR_INVALID unless it is one of a holder:
 * version 3, no CA, exactly one common name, which is an identity, a key that may sign, and both
 * named purposes (of enum tls_purpose) granted by name. Its signature is not looked at here.
 */
int tls_cert_read(gnutls_x509_crt_t crt, unsigned purposes, struct tls_cert *ret,
                  struct err *err) MUST_USE;
/* When a certificate begins and ends to be good, in ms since 1970. */
void tls_cert_dates(gnutls_x509_crt_t crt, uint64_t *ret_issued_ms, uint64_t *ret_expires_ms);

/*
 * A whole file, which must be a regular one of TLS_FILE_BYTES_MAX at most: a FIFO does not make us
 * wait. With `secret`, a file of ours that others may read loses that mode, and a line in the log
 * says so.
 */
int tls_file_read(const char *path, bool secret, struct buf *ret, struct err *err) MUST_USE;

/* At most `max` certificates of a PEM file's bytes; how many, 0 when it holds none. Each is the
 * caller's. */
int tls_certs_parse(const struct buf *pem, size_t max, gnutls_x509_crt_t *ret, size_t *ret_count,
                    struct err *err) MUST_USE;

#endif
