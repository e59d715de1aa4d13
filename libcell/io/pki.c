/*
 * pki.c - the CA of a cell and the certificates it signs.
 *
 * Keys are written before certificates: what a crash can leave behind is a key without a
 * certificate, which the next run uses or replaces.
 */
#include "tls.h"

#include "buf.h"
#include "clock.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PKI_PATH_MAX = 1024,
    PKI_YEARS = 10,
    PKI_BACKDATE_S = 86400, /* clocks of machines differ; a new certificate is valid at once */
};

struct pki_pair {
    gnutls_x509_privkey_t key;
    gnutls_x509_crt_t crt; /* NULL until there is one */
};

static void pair_release(struct pki_pair *pair)
{
    if (pair->key != NULL)
        gnutls_x509_privkey_deinit(pair->key);
    if (pair->crt != NULL)
        gnutls_x509_crt_deinit(pair->crt);
}

static void datum_release(gnutls_datum_t *datum)
{
    gnutls_free(datum->data);
}

static int path_join(char path[PKI_PATH_MAX], const char *dir, const char *name, const char *suffix,
                     struct err *err)
{
    int n = snprintf(path, PKI_PATH_MAX, "%s/%s%s", dir, name, suffix);
    if (n < 0 || n >= PKI_PATH_MAX - 16)
        return err_set(err, ERR_LIMIT, "%.80s...: the path is longer than %d bytes", dir,
                       PKI_PATH_MAX - 16);
    return 0;
}

static int fd_write_all(int fd, const gnutls_datum_t *bytes)
{
    for (size_t at = 0; at < bytes->size;) {
        ssize_t n = write(fd, bytes->data + at, bytes->size - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        at += (size_t)n;
    }
    return fsync(fd);
}

static int file_replace(const char *path, mode_t mode, const gnutls_datum_t *bytes, struct err *err)
{
    char temporary[PKI_PATH_MAX + 16];
    snprintf(temporary, sizeof temporary, "%s.%ld", path, (long)getpid());
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return err_errno(err, errno, "%s: cannot be made", temporary);
    int rc = fd_write_all(fd, bytes);
    int saved_errno = errno;
    close(fd);
    if (rc == 0 && rename(temporary, path) == 0)
        return 0;
    err_errno(err, rc != 0 ? saved_errno : errno, "%s: cannot be written", path);
    unlink(temporary);
    return -ERR_IO;
}

static int dir_sync(const char *dir, struct err *err)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, errno, "%s", dir);
    int rc = fsync(fd);
    int saved_errno = errno;
    close(fd);
    return rc == 0 ? 0 : err_errno(err, saved_errno, "%s: fsync", dir);
}

static int key_make(gnutls_x509_privkey_t *ret, struct err *err)
{
    int rc = gnutls_x509_privkey_init(ret);
    if (rc == 0)
        rc = gnutls_x509_privkey_generate(*ret, GNUTLS_PK_ECDSA,
                                          GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
    return rc == 0 ? 0 : err_set(err, ERR_IO, "making a key: %s", gnutls_strerror(rc));
}

/* 0 when there, 1 when there is no such file. */
static int key_load(const char *path, gnutls_x509_privkey_t *ret, struct err *err)
{
    CLEANUP(datum_release) gnutls_datum_t pem = {0};
    if (access(path, F_OK) != 0 && errno == ENOENT)
        return 1;
    int rc = gnutls_load_file(path, &pem);
    if (rc != 0)
        return err_errno(err, errno, "%s: cannot be read", path);
    rc = gnutls_x509_privkey_init(ret);
    if (rc == 0)
        rc = gnutls_x509_privkey_import(*ret, &pem, GNUTLS_X509_FMT_PEM);
    return rc == 0 ? 0 : err_set(err, ERR_CORRUPT, "%s: no key: %s", path, gnutls_strerror(rc));
}

static int crt_load(const char *path, gnutls_x509_crt_t *ret, struct err *err)
{
    CLEANUP(datum_release) gnutls_datum_t pem = {0};
    if (access(path, F_OK) != 0 && errno == ENOENT)
        return 1;
    int rc = gnutls_load_file(path, &pem);
    if (rc != 0)
        return err_errno(err, errno, "%s: cannot be read", path);
    rc = gnutls_x509_crt_init(ret);
    if (rc == 0)
        rc = gnutls_x509_crt_import(*ret, &pem, GNUTLS_X509_FMT_PEM);
    return rc == 0 ? 0
                   : err_set(err, ERR_CORRUPT, "%s: no certificate: %s", path, gnutls_strerror(rc));
}

static int crt_fill(gnutls_x509_crt_t crt, gnutls_x509_privkey_t key, const char *common_name,
                    bool ca)
{
    unsigned char serial[16];
    int rc = gnutls_rnd(GNUTLS_RND_NONCE, serial, sizeof serial);
    serial[0] = (unsigned char)((serial[0] & 0x7f) | 0x40); /* positive, no leading zero */
    time_t now = (time_t)(clock_wall_ms() / 1000);
    unsigned char id[32];
    size_t id_size = sizeof id;
    unsigned usage = ca ? GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN
                        : (unsigned)GNUTLS_KEY_DIGITAL_SIGNATURE;
    if (rc == 0)
        rc = gnutls_x509_crt_set_version(crt, 3);
    if (rc == 0)
        rc = gnutls_x509_crt_set_serial(crt, serial, sizeof serial);
    if (rc == 0)
        rc = gnutls_x509_crt_set_activation_time(crt, now - PKI_BACKDATE_S);
    if (rc == 0)
        rc = gnutls_x509_crt_set_expiration_time(crt, now + (time_t)PKI_YEARS * 365 * 86400);
    if (rc == 0)
        rc = gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, common_name,
                                           (unsigned)strlen(common_name));
    if (rc == 0)
        rc = gnutls_x509_crt_set_key(crt, key);
    if (rc == 0)
        rc = gnutls_x509_crt_set_basic_constraints(crt, ca, ca ? 0 : -1);
    if (rc == 0)
        rc = gnutls_x509_crt_set_key_usage(crt, usage);
    if (rc == 0 && !ca)
        rc = gnutls_x509_crt_set_key_purpose_oid(crt, GNUTLS_KP_TLS_WWW_SERVER, 0);
    if (rc == 0 && !ca)
        rc = gnutls_x509_crt_set_key_purpose_oid(crt, GNUTLS_KP_TLS_WWW_CLIENT, 0);
    if (rc == 0)
        rc = gnutls_x509_crt_get_key_id(crt, GNUTLS_KEYID_USE_SHA1, id, &id_size);
    if (rc == 0)
        rc = gnutls_x509_crt_set_subject_key_id(crt, id, id_size);
    return rc;
}

/* Make pair->crt for pair->key; signed by `ca`, or by itself when `ca` is NULL. */
static int crt_make(struct pki_pair *pair, const char *common_name, const struct pki_pair *ca,
                    struct err *err)
{
    const struct pki_pair *signer = ca == NULL ? pair : ca;
    unsigned char id[32];
    size_t id_size = sizeof id;
    int rc = gnutls_x509_crt_init(&pair->crt);
    if (rc == 0)
        rc = crt_fill(pair->crt, pair->key, common_name, ca == NULL);
    if (rc == 0)
        rc = gnutls_x509_crt_get_key_id(signer->crt, GNUTLS_KEYID_USE_SHA1, id, &id_size);
    if (rc == 0)
        rc = gnutls_x509_crt_set_authority_key_id(pair->crt, id, id_size);
    if (rc == 0)
        rc = gnutls_x509_crt_sign2(pair->crt, signer->crt, signer->key, GNUTLS_DIG_SHA256, 0);
    if (rc != 0)
        return err_set(err, ERR_INVALID, "certificate for \"%.80s\": %s", common_name,
                       gnutls_strerror(rc));
    return 0;
}

static int pair_save(const struct pki_pair *pair, const char *dir, const char *name,
                     struct err *err)
{
    char path[PKI_PATH_MAX];
    CLEANUP(datum_release) gnutls_datum_t key_pem = {0};
    CLEANUP(datum_release) gnutls_datum_t crt_pem = {0};
    int rc = gnutls_x509_privkey_export2_pkcs8(pair->key, GNUTLS_X509_FMT_PEM, NULL,
                                               GNUTLS_PKCS_PLAIN, &key_pem);
    if (rc == 0)
        rc = gnutls_x509_crt_export2(pair->crt, GNUTLS_X509_FMT_PEM, &crt_pem);
    if (rc != 0)
        return err_set(err, ERR_IO, "%s/%s: %s", dir, name, gnutls_strerror(rc));
    if ((rc = path_join(path, dir, name, ".key", err)) != 0)
        return rc;
    if ((rc = file_replace(path, 0600, &key_pem, err)) != 0)
        return rc;
    if ((rc = path_join(path, dir, name, ".crt", err)) != 0)
        return rc;
    if ((rc = file_replace(path, 0644, &crt_pem, err)) != 0)
        return rc;
    return dir_sync(dir, err);
}

/* The CA in `dir` as far as it is there; fields stay NULL for missing files. */
static int ca_load(const char *dir, struct pki_pair *ret, struct err *err)
{
    char path[PKI_PATH_MAX];
    int rc = path_join(path, dir, "ca", ".key", err);
    if (rc == 0)
        rc = key_load(path, &ret->key, err);
    if (rc >= 0)
        rc = path_join(path, dir, "ca", ".crt", err);
    if (rc >= 0)
        rc = crt_load(path, &ret->crt, err);
    return rc < 0 ? rc : 0;
}

int pki_make_ca(const char *dir, const char *cell_name, struct err *err)
{
    CLEANUP(pair_release) struct pki_pair ca = {0};
    if (cell_name[0] == '\0' || strlen(cell_name) > CELL_NAME_MAX - 5)
        return err_set(err, ERR_INVALID, "cell name \"%.80s\": 1 to %d bytes are possible",
                       cell_name, CELL_NAME_MAX - 5);
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return err_errno(err, errno, "%s: cannot be made", dir);
    int rc = ca_load(dir, &ca, err);
    if (rc != 0)
        return rc;
    if (ca.crt != NULL && ca.key != NULL)
        return 0;
    if (ca.crt != NULL)
        return err_set(err, ERR_STATE,
                       "%s: ca.crt is there but ca.key is not: bring the key back, or remove "
                       "ca.crt to make a new CA (all certificates must be made again then)",
                       dir);
    char common_name[CELL_NAME_MAX + 1];
    snprintf(common_name, sizeof common_name, "cell %s", cell_name);
    if (ca.key == NULL && (rc = key_make(&ca.key, err)) != 0)
        return rc;
    if ((rc = crt_make(&ca, common_name, NULL, err)) != 0)
        return rc;
    return pair_save(&ca, dir, "ca", err);
}

int pki_make_cert(const char *dir, const char *file_name, const struct identity *id,
                  struct err *err)
{
    CLEANUP(pair_release) struct pki_pair ca = {0};
    CLEANUP(pair_release) struct pki_pair pair = {0};
    struct identity_text name = identity_text(id);
    struct identity parsed;
    int rc = identity_parse(name.text, &parsed, err);
    if (rc != 0)
        return rc;
    if (file_name[0] == '\0' || file_name[0] == '.' || strchr(file_name, '/') != NULL ||
        strcmp(file_name, "ca") == 0)
        return err_set(err, ERR_INVALID, "\"%.80s\" cannot be the file name of a certificate",
                       file_name);
    if ((rc = ca_load(dir, &ca, err)) != 0)
        return rc;
    if (ca.crt == NULL || ca.key == NULL)
        return err_set(err, ERR_NOT_FOUND, "%s: %s is missing: make a CA there first", dir,
                       ca.crt == NULL ? "ca.crt" : "ca.key");
    if ((rc = key_make(&pair.key, err)) != 0)
        return rc;
    if ((rc = crt_make(&pair, name.text, &ca, err)) != 0)
        return rc;
    return pair_save(&pair, dir, file_name, err);
}
