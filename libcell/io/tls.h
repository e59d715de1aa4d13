/*
 * tls.h - who may talk: certificates, identities, TLS 1.3 contexts (GnuTLS).
 *
 * A certificate's common name says what its holder is: "master/3", "borglet/NAME", "user/NAME".
 * Both sides always present one, signed by the CA of the cell; there is no anonymous access.
 */
#ifndef CELL_TLS_H
#define CELL_TLS_H

#include "err.h"
#include "limits.h"
#include "role.h"

struct identity {
    enum role role;
    char name[CELL_NAME_MAX + 1]; /* replica number, machine name or user name */
};

const char *role_text(enum role role); /* "master", "borglet", "user", "none" */
/* "user/ada" -> identity; ERR_INVALID when the text is none. */
int identity_parse(const char *common_name, struct identity *ret, struct err *err) MUST_USE;
/* "user/ada" in a fixed array. */
struct identity_text {
    char text[CELL_NAME_MAX + 16];
} identity_text(const struct identity *id);

/* Credentials and priorities shared by all sessions of a process. */
struct tls_context;
int tls_context_open(const char *ca_path, const char *cert_path, const char *key_path,
                     struct tls_context **ret, struct err *err) MUST_USE;
void tls_context_close(struct tls_context *ctx);
/* What our own certificate says; borrowed. */
const struct identity *tls_context_identity(const struct tls_context *ctx);

/*
 * pki: make the CA of a cell, and certificates signed by it (ECDSA P-256, ten years). Writes PEM
 * files, keys with mode 0600, atomically; pki_make_ca keeps an existing CA, pki_make_cert replaces.
 * Files: DIR/ca.crt DIR/ca.key, DIR/NAME.crt DIR/NAME.key (NAME is a file name, not the identity).
 */
int pki_make_ca(const char *dir, const char *cell_name, struct err *err) MUST_USE;
int pki_make_cert(const char *dir, const char *file_name, const struct identity *id,
                  struct err *err) MUST_USE;

#endif
