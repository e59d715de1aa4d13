/*
 * tls.h - authentication: certificates, identities, TLS 1.3 contexts (GnuTLS).
 *
 * The common name of a certificate states the identity of its holder: "master/3", "borglet/NAME",
 * "user/NAME". Both sides always present a certificate signed by the CA of the cell; there is no
 * anonymous access.
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
/* Parse "user/ada". ERR_INVALID for anything else. Names must be valid names of the cell
 * (name_valid), because an identity that cannot be named there could not be revoked. */
int identity_parse(const char *common_name, struct identity *ret, struct err *err) MUST_USE;
/* Return "user/ada" in a fixed array. */
struct identity_text {
    char text[CELL_NAME_MAX + 16];
} identity_text(const struct identity *id);

/*
 * The content of a certificate. Times are wall-clock times in ms since 1970. The time of issue is
 * the certificate's not-before (whole seconds); revocations are compared with it. Because clocks
 * differ, a certificate that begins up to TLS_CLOCK_SKEW_MS in the future is accepted; its end is
 * exact. `expires_ms` is the end of the CA's certificate if that is earlier.
 */
enum { TLS_CLOCK_SKEW_MS = 86400000 };
#define TLS_CERT_SOON_MS (UINT64_C(30) * 86400000) /* warn so long before it expires */
struct tls_cert {
    struct identity identity;
    uint64_t issued_ms, expires_ms;
};

/* "2026-11-30 18:00:00Z" in a fixed array; "never" for a time that no certificate can express. */
struct tls_date {
    char text[32];
} tls_date(uint64_t ms);

/*
 * Credentials and priorities shared by all sessions of a process.
 *
 * The certificate and its key may be replaced while the process runs: tls_context_reload() reads
 * the files again; open sessions keep their credentials, new ones get the new ones. The key's file
 * may contain the certificate too (pki_make() writes it so), so that a new certificate is never
 * combined with an old key: among the holder's certificates that match the key, the one issued last
 * is used. ca.crt may contain several CAs (TLS_CAS_MAX); a peer's certificate must be signed
 * directly by one of them.
 */
struct tls_context;
int tls_context_open(const char *ca_path, const char *cert_path, const char *key_path,
                     struct tls_context **ret, struct err *err) MUST_USE;
void tls_context_close(struct tls_context *ctx);
/* Return the identity in our own certificate; borrowed, until the next reload. */
const struct identity *tls_context_identity(const struct tls_context *ctx);
const struct tls_cert *tls_context_cert(const struct tls_context *ctx);
/* Return when the last CA that signed our own certificate expires; 0: none has signed it. */
uint64_t tls_context_ca_expires_ms(const struct tls_context *ctx);

/*
 * Read the files again. Return 1 if they are unchanged and 0 if the new ones are in use. Otherwise
 * the old ones stay in use and err describes the new ones: the files do not match, another
 * identity, not signed by a CA of ca.crt, expired. For callers that must not wait for a disk there
 * are two steps; the first may run on any thread, but only one at a time for a context.
 */
struct tls_credentials;
int tls_context_reload(struct tls_context *ctx, struct err *err) MUST_USE;
int tls_context_read(const struct tls_context *ctx, struct tls_credentials **ret,
                     struct err *err) MUST_USE;
void tls_context_take(struct tls_context *ctx, struct tls_credentials *taken);

/*
 * Set a function that decides for every peer's certificate whether it is revoked: before its stream
 * opens, and again when tls_watch_check() is called. True ends the connection. NULL: none is
 * revoked.
 *
 * A revocation invalidates everything issued up to its time. The issuer's clock differs from the
 * cell's, so `issued_ms` is the time in the certificate less TLS_REVOKE_SKEW_MS: while the clocks
 * differ by less, no certificate issued before a revocation remains valid. A certificate issued
 * within twice that time after the revocation may be refused; `borgctl pki make` therefore issues
 * for a slightly later time.
 */
enum { TLS_REVOKE_SKEW_MS = 5000 };
typedef bool (*tls_revoked_cb)(void *data, const struct identity *identity, uint64_t issued_ms);
void tls_context_on_peer(struct tls_context *ctx, tls_revoked_cb revoked, void *data);

/*
 * pki: create the CA of a cell, and certificates signed by it (ECDSA P-256). Writes PEM files
 * atomically, keys with mode 0600. pki_make_ca keeps an existing CA, pki_make replaces a
 * certificate. Files: DIR/ca.crt DIR/ca.key, DIR/NAME.crt DIR/NAME.key (NAME is a file name, not
 * the identity). NAME.key also contains the certificate and is written first.
 */
#define PKI_LIFE_MS (UINT64_C(3650) * 86400000) /* ten years */
struct pki_order {
    const char *ca_dir; /* contains ca.crt and ca.key */
    const char *dir;    /* target of the files; NULL: ca_dir */
    const char *file_name;
    struct identity identity;
    uint64_t life_ms;   /* 0: PKI_LIFE_MS; limited by the CA's */
    uint64_t issued_ms; /* 0: now */
};
int pki_make_ca(const char *dir, const char *cell_name, struct err *err) MUST_USE;
int pki_make(const struct pki_order *order, struct err *err) MUST_USE;
/* Create a certificate with the default life. */
int pki_make_cert(const char *dir, const char *file_name, const struct identity *id,
                  struct err *err) MUST_USE;
/* Renew the CA's certificate with its present key: what it has signed stays valid. Other
 * certificates in ca.crt are kept. */
int pki_renew_ca(const char *dir, uint64_t life_ms, struct err *err) MUST_USE;
/* Remove other users' access to the directory and its keys; return how many were accessible. */
int pki_narrow(const char *dir, size_t *ret_narrowed, struct err *err) MUST_USE;

/* Read the first certificate of a file; the identity is {ROLE_NONE, "ca"} for a CA. */
int pki_read(const char *path, struct tls_cert *ret, struct err *err) MUST_USE;

#endif
