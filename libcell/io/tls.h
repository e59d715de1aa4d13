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
/* "user/ada" -> identity; ERR_INVALID when the text is none: names are those of the cell
 * (name_valid), for what cannot be named there could not be revoked. */
int identity_parse(const char *common_name, struct identity *ret, struct err *err) MUST_USE;
/* "user/ada" in a fixed array. */
struct identity_text {
    char text[CELL_NAME_MAX + 16];
} identity_text(const struct identity *id);

/*
 * What a certificate says. Times are those of the wall clock, in ms since 1970. A certificate
 * counts as issued when it begins to be good (its not-before, whole seconds): that is what a
 * revocation is compared with. Clocks differ, so one that begins up to TLS_CLOCK_SKEW_MS from now
 * is taken as good; at its end there is no such mercy. `expires_ms` is the end of the CA's
 * certificate when that comes first.
 */
enum { TLS_CLOCK_SKEW_MS = 86400000 };
#define TLS_CERT_SOON_MS (UINT64_C(30) * 86400000) /* before its end people are told */
struct tls_cert {
    struct identity identity;
    uint64_t issued_ms, expires_ms;
};

/* "2026-11-30 18:00:00Z" in a fixed array; "never" for what no certificate can say. */
struct tls_date {
    char text[32];
} tls_date(uint64_t ms);

/*
 * Credentials and priorities shared by all sessions of a process.
 *
 * The certificate and its key may be replaced while the process runs: tls_context_reload() reads
 * the files again, sessions that are open keep what they began with, new ones get the new. So that
 * nobody reads a new certificate with an old key, the key's file may hold the certificate too
 * (pki_make() writes it so): of those certificates of the holder that belong to the key the one
 * issued last is used. ca.crt may hold several CAs (TLS_CAS_MAX): a peer's certificate is good when
 * one of them has signed it itself.
 */
struct tls_context;
int tls_context_open(const char *ca_path, const char *cert_path, const char *key_path,
                     struct tls_context **ret, struct err *err) MUST_USE;
void tls_context_close(struct tls_context *ctx);
/* What our own certificate says; borrowed, until the next reload. */
const struct identity *tls_context_identity(const struct tls_context *ctx);
const struct tls_cert *tls_context_cert(const struct tls_context *ctx);
/* When the last of the CAs that our own certificate may come from ends; 0: none has signed it. */
uint64_t tls_context_ca_expires_ms(const struct tls_context *ctx);

/*
 * Read the files again, now. 1: they are as they were; 0: the new ones are in use; else the old
 * stay, and err says what is wrong with the new: one file does not fit the other, another identity,
 * not signed by a CA of ca.crt, expired. In two halves for those who must not wait for a disk: the
 * first may run on any thread while nobody else uses the context for the same.
 */
struct tls_credentials;
int tls_context_reload(struct tls_context *ctx, struct err *err) MUST_USE;
int tls_context_read(const struct tls_context *ctx, struct tls_credentials **ret,
                     struct err *err) MUST_USE;
void tls_context_take(struct tls_context *ctx, struct tls_credentials *taken);

/*
 * Ask `revoked` about every peer that shows a certificate, before its stream opens, and again when
 * tls_watch_check() is called: true ends the connection. NULL: nobody is revoked.
 *
 * A revocation says: what was issued until then does not count. Who issues has another clock than
 * the cell, so `issued_ms` is what the certificate says less TLS_REVOKE_SKEW_MS: as long as the
 * clocks are no farther apart, nothing that was issued before a revocation survives it. What is
 * issued within twice that time after it may be refused; `borgctl pki make` knows that and issues
 * for a little later.
 */
enum { TLS_REVOKE_SKEW_MS = 5000 };
typedef bool (*tls_revoked_cb)(void *data, const struct identity *identity, uint64_t issued_ms);
void tls_context_on_peer(struct tls_context *ctx, tls_revoked_cb revoked, void *data);

/*
 * pki: make the CA of a cell, and certificates signed by it (ECDSA P-256). Writes PEM files, keys
 * with mode 0600, atomically; pki_make_ca keeps an existing CA, pki_make replaces.
 * Files: DIR/ca.crt DIR/ca.key, DIR/NAME.crt DIR/NAME.key (NAME is a file name, not the identity);
 * NAME.key holds the certificate too, and is written first.
 */
#define PKI_LIFE_MS (UINT64_C(3650) * 86400000) /* ten years */
struct pki_order {
    const char *ca_dir; /* where ca.crt and ca.key are */
    const char *dir;    /* where the files go; NULL: there too */
    const char *file_name;
    struct identity identity;
    uint64_t life_ms;   /* 0: PKI_LIFE_MS; never longer than the CA's */
    uint64_t issued_ms; /* 0: now */
};
int pki_make_ca(const char *dir, const char *cell_name, struct err *err) MUST_USE;
int pki_make(const struct pki_order *order, struct err *err) MUST_USE;
/* For an ordinary life. */
int pki_make_cert(const char *dir, const char *file_name, const struct identity *id,
                  struct err *err) MUST_USE;
/* A new certificate for the CA's own key: what it has signed stays good. Others in ca.crt stay. */
int pki_renew_ca(const char *dir, uint64_t life_ms, struct err *err) MUST_USE;
/* Close the directory and the keys in it to others; how many were open. */
int pki_narrow(const char *dir, size_t *ret_narrowed, struct err *err) MUST_USE;

/* Of the first certificate of a file; the identity is {ROLE_NONE, "ca"} when it is that of a CA. */
int pki_read(const char *path, struct tls_cert *ret, struct err *err) MUST_USE;

#endif
