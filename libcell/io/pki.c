/*
 * pki.c - the CA of a cell and the certificates it signs.
 *
 * The file of a key also contains its certificate, so that each file is complete by itself: a
 * reader during a replacement, or after a crash, finds a matching pair (tls.c).
 */
#include "tls_cert.h"

#include "buf.h"
#include "clock.h"

#include <dirent.h>
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
};

/* The contents of a certificate to be made. */
struct pki_wish {
    const char *common_name;
    bool ca;
    time_t issued_s, expires_s;
};

struct pki_pair {
    gnutls_x509_privkey_t key;
    gnutls_x509_crt_t crt; /* NULL until it is made */
};

static void pair_release(struct pki_pair *pair)
{
    if (pair->key != NULL)
        gnutls_x509_privkey_deinit(pair->key);
    if (pair->crt != NULL)
        gnutls_x509_crt_deinit(pair->crt);
}

struct pki_crts {
    gnutls_x509_crt_t v[TLS_CAS_MAX];
    size_t count;
};

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

static int fd_write_all(int fd, const struct buf *bytes)
{
    for (size_t at = 0; at < bytes->size;) {
        ssize_t n = write(fd, bytes->bytes + at, bytes->size - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        at += (size_t)n;
    }
    return fsync(fd);
}

static int file_replace(const char *path, mode_t mode, const struct buf *bytes, struct err *err)
{
    char temporary[PKI_PATH_MAX + 16];
    snprintf(temporary, sizeof temporary, "%s.%ld", path, (long)getpid());
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0 && errno == EEXIST && unlink(temporary) == 0) /* left by a killed process */
        fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0)
        return err_errno(err, errno, "cannot create %s", temporary);
    int rc = fd_write_all(fd, bytes);
    int saved_errno = errno;
    close(fd);
    if (rc == 0 && rename(temporary, path) == 0)
        return 0;
    err_errno(err, rc != 0 ? saved_errno : errno, "cannot write %s", path);
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
    return rc == 0 ? 0 : err_set(err, ERR_IO, "cannot create a key: %s", gnutls_strerror(rc));
}

/* Load a key; return 0, or 1 when there is no such file. */
static int key_load(const char *path, gnutls_x509_privkey_t *ret, struct err *err)
{
    CLEANUP(buf_release) struct buf pem = {0};
    if (access(path, F_OK) != 0 && errno == ENOENT)
        return 1;
    int rc = tls_file_read(path, true, &pem, err);
    if (rc != 0)
        return rc;
    gnutls_datum_t bytes = {.data = (unsigned char *)pem.bytes, .size = (unsigned)pem.size};
    rc = gnutls_x509_privkey_init(ret);
    if (rc == 0)
        rc = gnutls_x509_privkey_import(*ret, &bytes, GNUTLS_X509_FMT_PEM);
    if (pem.bytes != NULL)
        explicit_bzero(pem.bytes, pem.size);
    return rc == 0 ? 0
                   : err_set(err, ERR_CORRUPT, "%s contains no usable key: %s", path,
                             gnutls_strerror(rc));
}

static void crts_release(struct pki_crts *crts)
{
    for (size_t i = 0; i < crts->count; i++)
        gnutls_x509_crt_deinit(crts->v[i]);
    crts->count = 0;
}

/* Load the certificates of a file; return 1 when there is no such file. */
static int crts_load(const char *path, struct pki_crts *ret, struct err *err)
{
    CLEANUP(buf_release) struct buf pem = {0};
    if (access(path, F_OK) != 0 && errno == ENOENT)
        return 1;
    int rc = tls_file_read(path, false, &pem, err);
    if (rc == 0 && tls_certs_parse(&pem, ARRAY_SIZE(ret->v), ret->v, &ret->count, err) != 0)
        rc = err_wrap(err, "%s", path);
    if (rc == 0 && ret->count == 0)
        rc = err_set(err, ERR_CORRUPT, "%s contains no certificate", path);
    if (rc != 0 && err->code == ERR_INVALID)
        err->code = ERR_CORRUPT;
    return rc;
}

static int crt_fill_usage(gnutls_x509_crt_t crt, bool ca)
{
    int rc = gnutls_x509_crt_set_basic_constraints(crt, ca, ca ? 0 : -1);
    if (rc == 0)
        rc = gnutls_x509_crt_set_key_usage(crt, ca ? GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN
                                                   : (unsigned)GNUTLS_KEY_DIGITAL_SIGNATURE);
    if (rc == 0 && !ca)
        rc = gnutls_x509_crt_set_key_purpose_oid(crt, GNUTLS_KP_TLS_WWW_SERVER, 0);
    if (rc == 0 && !ca)
        rc = gnutls_x509_crt_set_key_purpose_oid(crt, GNUTLS_KP_TLS_WWW_CLIENT, 0);
    return rc;
}

static int crt_fill(gnutls_x509_crt_t crt, gnutls_x509_privkey_t key, const struct pki_wish *wish)
{
    unsigned char serial[16];
    int rc = gnutls_rnd(GNUTLS_RND_NONCE, serial, sizeof serial);
    serial[0] = (unsigned char)((serial[0] & 0x7f) | 0x40); /* positive, without a leading zero */
    unsigned char id[32];
    size_t id_size = sizeof id;
    if (rc == 0)
        rc = gnutls_x509_crt_set_version(crt, 3);
    if (rc == 0)
        rc = gnutls_x509_crt_set_serial(crt, serial, sizeof serial);
    if (rc == 0)
        rc = gnutls_x509_crt_set_activation_time(crt, wish->issued_s);
    if (rc == 0)
        rc = gnutls_x509_crt_set_expiration_time(crt, wish->expires_s);
    if (rc == 0)
        rc = gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, wish->common_name,
                                           (unsigned)strlen(wish->common_name));
    if (rc == 0)
        rc = gnutls_x509_crt_set_key(crt, key);
    if (rc == 0)
        rc = crt_fill_usage(crt, wish->ca);
    if (rc == 0)
        rc = gnutls_x509_crt_get_key_id(crt, GNUTLS_KEYID_USE_SHA1, id, &id_size);
    if (rc == 0)
        rc = gnutls_x509_crt_set_subject_key_id(crt, id, id_size);
    return rc;
}

/* Create pair->crt for pair->key, signed by `ca`, or self-signed when `ca` is NULL. */
static int crt_make(struct pki_pair *pair, const struct pki_wish *wish, const struct pki_pair *ca,
                    struct err *err)
{
    const struct pki_pair *signer = ca == NULL ? pair : ca;
    unsigned char id[32];
    size_t id_size = sizeof id;
    int rc = gnutls_x509_crt_init(&pair->crt);
    if (rc == 0)
        rc = crt_fill(pair->crt, pair->key, wish);
    if (rc == 0)
        rc = gnutls_x509_crt_get_key_id(signer->crt, GNUTLS_KEYID_USE_SHA1, id, &id_size);
    if (rc == 0)
        rc = gnutls_x509_crt_set_authority_key_id(pair->crt, id, id_size);
    if (rc == 0)
        rc = gnutls_x509_crt_sign2(pair->crt, signer->crt, signer->key, GNUTLS_DIG_SHA256, 0);
    if (rc != 0)
        return err_set(err, ERR_INVALID, "certificate for \"%.80s\": %s", wish->common_name,
                       gnutls_strerror(rc));
    return 0;
}

static int crt_append(struct buf *to, gnutls_x509_crt_t crt)
{
    CLEANUP(datum_release) gnutls_datum_t pem = {0};
    int rc = gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &pem);
    if (rc == 0)
        buf_append(to, pem.data, pem.size);
    return rc;
}

/* Append the key, followed by its certificate. */
static int key_append(struct buf *to, const struct pki_pair *pair)
{
    CLEANUP(datum_release) gnutls_datum_t pem = {0};
    int rc = gnutls_x509_privkey_export2_pkcs8(pair->key, GNUTLS_X509_FMT_PEM, NULL,
                                               GNUTLS_PKCS_PLAIN, &pem);
    if (rc != 0)
        return rc;
    buf_append(to, pem.data, pem.size);
    explicit_bzero(pem.data, pem.size);
    return crt_append(to, pair->crt);
}

/* Write a pair. `more`: further certificates to keep in the file; may be NULL. */
static int pair_save(const struct pki_pair *pair, const struct pki_crts *more, const char *dir,
                     const char *name, struct err *err)
{
    char key_path[PKI_PATH_MAX], crt_path[PKI_PATH_MAX];
    CLEANUP(buf_release) struct buf key = {0};
    CLEANUP(buf_release) struct buf crt = {0};
    int rc = path_join(key_path, dir, name, ".key", err);
    if (rc == 0)
        rc = path_join(crt_path, dir, name, ".crt", err);
    if (rc != 0)
        return rc;
    buf_reserve(&key, TLS_FILE_BYTES_MAX / 4); /* it does not move afterwards and is wiped below */
    rc = key_append(&key, pair);
    if (rc == 0)
        rc = crt_append(&crt, pair->crt);
    for (size_t i = 0; more != NULL && i < more->count && rc == 0; i++)
        rc = crt_append(&crt, more->v[i]);
    if (rc != 0)
        return err_set(err, ERR_IO, "%s/%s: %s", dir, name, gnutls_strerror(rc));
    rc = file_replace(key_path, 0600, &key, err);
    explicit_bzero(key.bytes, key.size);
    if (rc == 0)
        rc = file_replace(crt_path, 0644, &crt, err);
    return rc == 0 ? dir_sync(dir, err) : rc;
}

/* Load the CA in `dir`; fields stay NULL for missing files. Among several certificates the CA's
 * own is the one that matches the key, otherwise the first; `more` gets the others. */
static int ca_load(const char *dir, struct pki_pair *ret, struct pki_crts *more, struct err *err)
{
    char path[PKI_PATH_MAX];
    unsigned char id[32], key_id[32];
    int rc = path_join(path, dir, "ca", ".key", err);
    if (rc == 0)
        rc = key_load(path, &ret->key, err);
    if (rc >= 0)
        rc = path_join(path, dir, "ca", ".crt", err);
    if (rc >= 0)
        rc = crts_load(path, more, err);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    size_t at = 0, size = sizeof key_id;
    bool has_key = ret->key != NULL && gnutls_x509_privkey_get_key_id(
                                           ret->key, GNUTLS_KEYID_USE_SHA256, key_id, &size) == 0;
    for (size_t i = more->count; has_key && i-- > 0;) {
        size = sizeof id;
        if (gnutls_x509_crt_get_key_id(more->v[i], GNUTLS_KEYID_USE_SHA256, id, &size) == 0 &&
            memcmp(id, key_id, sizeof id) == 0)
            at = i;
    }
    ret->crt = more->v[at];
    memmove(more->v + at, more->v + at + 1, (--more->count - at) * sizeof(gnutls_x509_crt_t));
    return 0;
}

static time_t now_s(void)
{
    return (time_t)(clock_wall_ms() / 1000);
}

static struct pki_wish ca_wish(const char *common_name, uint64_t life_ms)
{
    /* The beginning is backdated because clocks of machines differ; it is compared with nothing. */
    return (struct pki_wish){.common_name = common_name,
                             .ca = true,
                             .issued_s = now_s() - TLS_CLOCK_SKEW_MS / 1000,
                             .expires_s = now_s() + (time_t)(life_ms / 1000)};
}

int pki_make_ca(const char *dir, const char *cell_name, struct err *err)
{
    CLEANUP(pair_release) struct pki_pair ca = {0};
    CLEANUP(crts_release) struct pki_crts more = {0};
    if (cell_name[0] == '\0' || strlen(cell_name) > CELL_NAME_MAX - 5)
        return err_set(err, ERR_INVALID, "cell name \"%.80s\": it must have 1 to %d bytes",
                       cell_name, CELL_NAME_MAX - 5);
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return err_errno(err, errno, "cannot create %s", dir);
    int rc = ca_load(dir, &ca, &more, err);
    if (rc != 0)
        return rc;
    if (ca.crt != NULL && ca.key != NULL)
        return 0;
    if (ca.crt != NULL)
        return err_set(err, ERR_STATE,
                       "%s: ca.crt exists but ca.key does not: restore the key, or remove "
                       "ca.crt to make a new CA (then all certificates must be renewed)",
                       dir);
    char common_name[CELL_NAME_MAX + 1];
    snprintf(common_name, sizeof common_name, "cell %s", cell_name);
    struct pki_wish wish = ca_wish(common_name, PKI_LIFE_MS);
    if (ca.key == NULL && (rc = key_make(&ca.key, err)) != 0)
        return rc;
    if ((rc = crt_make(&ca, &wish, NULL, err)) != 0)
        return rc;
    return pair_save(&ca, NULL, dir, "ca", err);
}

static int ca_load_whole(const char *dir, struct pki_pair *ret, struct pki_crts *more,
                         struct err *err)
{
    int rc = ca_load(dir, ret, more, err);
    if (rc == 0 && (ret->crt == NULL || ret->key == NULL))
        rc = err_set(err, ERR_NOT_FOUND,
                     "%s: %s is missing: certificates can be made only where the CA of the cell is",
                     dir, ret->crt == NULL ? "ca.crt" : "ca.key");
    return rc;
}

int pki_renew_ca(const char *dir, uint64_t life_ms, struct err *err)
{
    CLEANUP(pair_release) struct pki_pair was = {0};
    CLEANUP(crts_release) struct pki_crts more = {0};
    char name[CELL_NAME_MAX + 32];
    size_t size = sizeof name;
    int rc = ca_load_whole(dir, &was, &more, err);
    if (rc != 0)
        return rc;
    rc = gnutls_x509_crt_get_dn_by_oid(was.crt, GNUTLS_OID_X520_COMMON_NAME, 0, 0, name, &size);
    if (rc != 0)
        return err_set(err, ERR_INVALID, "%s/ca.crt: %s", dir, gnutls_strerror(rc));
    struct pki_pair ca = {.key = was.key};
    struct pki_wish wish = ca_wish(name, life_ms != 0 ? life_ms : PKI_LIFE_MS);
    rc = crt_make(&ca, &wish, NULL, err);
    if (rc == 0)
        rc = pair_save(&ca, &more, dir, "ca", err);
    if (ca.crt != NULL)
        gnutls_x509_crt_deinit(ca.crt);
    return rc;
}

/* Determine beginning and end; a certificate does not outlive its CA. */
static int order_dates(const struct pki_order *order, const struct pki_pair *ca,
                       struct pki_wish *ret, struct err *err)
{
    time_t ca_end_s = gnutls_x509_crt_get_expiration_time(ca->crt);
    uint64_t life_ms = order->life_ms != 0 ? order->life_ms : PKI_LIFE_MS;
    time_t from_s = order->issued_ms != 0 ? (time_t)(order->issued_ms / 1000) : now_s();
    ret->issued_s = from_s;
    ret->expires_s = MIN(from_s + (time_t)((life_ms + 999) / 1000), ca_end_s);
    if (ca_end_s <= now_s())
        return err_set(err, ERR_STATE,
                       "%s/ca.crt has expired on %s: renew it first, with `borgctl pki renew --ca`",
                       order->ca_dir, tls_date((uint64_t)ca_end_s * 1000).text);
    return 0;
}

int pki_make(const struct pki_order *order, struct err *err)
{
    CLEANUP(pair_release) struct pki_pair ca = {0};
    CLEANUP(pair_release) struct pki_pair pair = {0};
    CLEANUP(crts_release) struct pki_crts more = {0};
    struct identity_text name = identity_text(&order->identity);
    struct pki_wish wish = {.common_name = name.text};
    struct identity parsed;
    const char *file_name = order->file_name;
    int rc = identity_parse(name.text, &parsed, err);
    if (rc != 0)
        return rc;
    if (file_name[0] == '\0' || file_name[0] == '.' || strchr(file_name, '/') != NULL ||
        strcmp(file_name, "ca") == 0)
        return err_set(err, ERR_INVALID, "\"%.80s\" cannot be the file name of a certificate",
                       file_name);
    if ((rc = ca_load_whole(order->ca_dir, &ca, &more, err)) != 0)
        return rc;
    if ((rc = order_dates(order, &ca, &wish, err)) != 0)
        return rc;
    if ((rc = key_make(&pair.key, err)) != 0)
        return rc;
    if ((rc = crt_make(&pair, &wish, &ca, err)) != 0)
        return rc;
    return pair_save(&pair, NULL, order->dir != NULL ? order->dir : order->ca_dir, file_name, err);
}

int pki_make_cert(const char *dir, const char *file_name, const struct identity *id,
                  struct err *err)
{
    struct pki_order order = {.ca_dir = dir, .file_name = file_name, .identity = *id};
    return pki_make(&order, err);
}

/* Remove other users' permissions. Return 1 if there were any. */
static int mode_narrow(int dir_fd, const char *name, mode_t mode)
{
    struct stat st;
    int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno == EACCES)
        return 0; /* it belongs to another user */
    int rc = fd < 0 ? -1 : fstat(fd, &st);
    bool ours = rc == 0 && (st.st_uid == geteuid() || geteuid() == 0);
    if (ours && (st.st_mode & 077) != 0)
        rc = fchmod(fd, mode) == 0 ? 1 : -1;
    if (fd >= 0)
        close(fd);
    return rc;
}

int pki_narrow(const char *dir, size_t *ret_narrowed, struct err *err)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = fd < 0 ? NULL : fdopendir(fd);
    *ret_narrowed = 0;
    if (list == NULL)
        return err_errno(err, errno, "cannot read %s", dir);
    int rc = mode_narrow(fd, ".", 0700);
    *ret_narrowed += rc == 1;
    for (struct dirent *item; rc >= 0 && (item = readdir(list)) != NULL;) {
        size_t n = strlen(item->d_name);
        if (n < 5 || strcmp(item->d_name + n - 4, ".key") != 0)
            continue;
        rc = mode_narrow(fd, item->d_name, 0600);
        *ret_narrowed += rc == 1;
    }
    if (rc < 0)
        err_errno(err, errno, "cannot remove other users' access to %s", dir);
    closedir(list);
    return rc < 0 ? -ERR_IO : 0;
}

int pki_read(const char *path, struct tls_cert *ret, struct err *err)
{
    CLEANUP(crts_release) struct pki_crts crts = {0};
    struct tls_cert cert = {0};
    int rc = crts_load(path, &crts, err);
    if (rc == 1)
        return err_set(err, ERR_NOT_FOUND, "there is no %s", path);
    if (rc != 0)
        return rc;
    if (gnutls_x509_crt_get_ca_status(crts.v[0], NULL) > 0) {
        str_copy(cert.identity.name, sizeof cert.identity.name, "ca");
        tls_cert_dates(crts.v[0], &cert.issued_ms, &cert.expires_ms);
    } else if (tls_cert_read(crts.v[0], 0, &cert, err) != 0) {
        return err_wrap(err, "%s", path);
    }
    *ret = cert;
    return 0;
}
