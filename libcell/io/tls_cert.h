/*
 * tls_cert.h - contents of certificates and their validation; only for the files of this folder.
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

/* The required purpose of a certificate. */
enum tls_purpose { TLS_PURPOSE_CLIENT = 1, TLS_PURPOSE_SERVER = 2 };

/* Read the holder and the validity of a certificate. ERR_INVALID unless it is version 3, not a
 * CA, has exactly one common name that is an identity, a key that may sign, and explicitly
 * grants all `purposes` (of enum tls_purpose). The signature is not checked here. */
int tls_cert_read(gnutls_x509_crt_t crt, unsigned purposes, struct tls_cert *ret,
                  struct err *err) MUST_USE;
/* Return the beginning and the end of a certificate's validity, in ms since 1970. */
void tls_cert_dates(gnutls_x509_crt_t crt, uint64_t *ret_issued_ms, uint64_t *ret_expires_ms);

/* Read a whole file. It must be a regular file of at most TLS_FILE_BYTES_MAX bytes; a FIFO does
 * not block. With `secret`, a file of ours that others may read loses that permission, and a log
 * line reports it. */
int tls_file_read(const char *path, bool secret, struct buf *ret, struct err *err) MUST_USE;

/* Parse at most `max` certificates from PEM; return their number, 0 if there are none. The
 * caller owns them. */
int tls_certs_parse(const struct buf *pem, size_t max, gnutls_x509_crt_t *ret, size_t *ret_count,
                    struct err *err) MUST_USE;

#endif
