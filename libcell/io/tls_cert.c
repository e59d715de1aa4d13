/*
 * tls_cert.c - certificates: files, dates, required contents.
 */
#include "tls_cert.h"

#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct tls_date tls_date(uint64_t ms)
{
    struct tls_date date = {"never"};
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    if (ms / 1000 < UINT32_MAX * UINT64_C(50) && gmtime_r(&seconds, &tm) != NULL)
        strftime(date.text, sizeof date.text, "%Y-%m-%d %H:%M:%SZ", &tm);
    return date;
}

static uint64_t date_ms(time_t seconds)
{
    return seconds == (time_t)-1 ? UINT64_MAX : (uint64_t)MAX(seconds, (time_t)0) * 1000;
}

void tls_cert_dates(gnutls_x509_crt_t crt, uint64_t *ret_issued_ms, uint64_t *ret_expires_ms)
{
    *ret_issued_ms = date_ms(gnutls_x509_crt_get_activation_time(crt));
    *ret_expires_ms = date_ms(gnutls_x509_crt_get_expiration_time(crt));
}

static int name_read(gnutls_x509_crt_t crt, struct identity *ret, struct err *err)
{
    char name[CELL_NAME_MAX + 32], second[8];
    size_t size = sizeof name, second_size = sizeof second;
    int rc = gnutls_x509_crt_get_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, 0, name, &size);
    if (rc != 0)
        return err_set(err, ERR_INVALID, "the certificate has no usable common name: %s",
                       gnutls_strerror(rc));
    if (strnlen(name, sizeof name) != size)
        return err_set(err, ERR_INVALID, "the common name of the certificate contains a zero byte");
    rc =
        gnutls_x509_crt_get_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 1, 0, second, &second_size);
    if (rc != GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
        return err_set(err, ERR_INVALID, "the certificate has more than one common name");
    return identity_parse(name, ret, err);
}

/* Return the purposes that the certificate names. "Any purpose" counts as none. */
static unsigned purposes_read(gnutls_x509_crt_t crt)
{
    unsigned found = 0;
    char oid[64];
    for (unsigned i = 0;; i++) {
        size_t size = sizeof oid;
        int rc = gnutls_x509_crt_get_key_purpose_oid(crt, i, oid, &size, NULL);
        if (rc == GNUTLS_E_SHORT_MEMORY_BUFFER)
            continue;
        if (rc != 0)
            return found;
        if (strcmp(oid, GNUTLS_KP_TLS_WWW_CLIENT) == 0)
            found |= TLS_PURPOSE_CLIENT;
        if (strcmp(oid, GNUTLS_KP_TLS_WWW_SERVER) == 0)
            found |= TLS_PURPOSE_SERVER;
    }
}

int tls_cert_read(gnutls_x509_crt_t crt, unsigned purposes, struct tls_cert *ret, struct err *err)
{
    struct tls_cert cert = {0};
    unsigned usage = 0, missing = purposes & ~purposes_read(crt);
    tls_cert_dates(crt, &cert.issued_ms, &cert.expires_ms);
    int rc = name_read(crt, &cert.identity, err);
    if (rc != 0)
        return rc;
    struct identity_text who = identity_text(&cert.identity);
    if (gnutls_x509_crt_get_version(crt) != 3)
        return err_set(err, ERR_INVALID, "the certificate of %s is not of version 3", who.text);
    if (gnutls_x509_crt_get_ca_status(crt, NULL) > 0)
        return err_set(err, ERR_INVALID, "the certificate of %s is a CA certificate", who.text);
    if (gnutls_x509_crt_get_key_usage(crt, &usage, NULL) != 0 ||
        (usage & GNUTLS_KEY_DIGITAL_SIGNATURE) == 0)
        return err_set(err, ERR_INVALID,
                       "the certificate of %s does not allow its key to sign (key usage "
                       "digitalSignature)",
                       who.text);
    if (missing != 0)
        return err_set(err, ERR_INVALID, "the certificate of %s is not for %s (extended key usage)",
                       who.text, (missing & TLS_PURPOSE_CLIENT) != 0 ? "clientAuth" : "serverAuth");
    *ret = cert;
    return 0;
}

static void mode_narrow(int fd, const char *path, const struct stat *st)
{
    if ((st->st_mode & 077) == 0)
        return;
    bool narrowed = st->st_uid == geteuid() && fchmod(fd, 0600) == 0;
    log_warn("tls.key_exposed path=%s mode=%03o remedy=\"%s\"", log_quoted(path),
             st->st_mode & 0777,
             narrowed ? "it is 600 now; consider `borgctl pki renew`, others may have read it"
                      : "it belongs to another user: set its mode to 600");
}

static int file_check(int fd, const char *path, struct stat *ret, struct err *err)
{
    if (fstat(fd, ret) != 0)
        return err_errno(err, errno, "%s", path);
    if (!S_ISREG(ret->st_mode))
        return err_set(err, ERR_INVALID, "%s is not a regular file", path);
    if (ret->st_size > TLS_FILE_BYTES_MAX)
        return err_set(err, ERR_LIMIT, "%s is larger than %d bytes: it is not a certificate file",
                       path, TLS_FILE_BYTES_MAX);
    return 0;
}

int tls_file_read(const char *path, bool secret, struct buf *ret, struct err *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return err_errno(err, errno, "cannot read %s", path);
    int rc = file_check(fd, path, &st, err);
    if (rc == 0 && secret)
        mode_narrow(fd, path, &st);
    buf_clear(ret);
    while (rc == 0 && ret->size <= TLS_FILE_BYTES_MAX) {
        ssize_t n = read(fd, buf_reserve(ret, 16384), 16384);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            rc = err_errno(err, errno, "cannot read %s", path);
        if (n <= 0)
            break;
        ret->size += (size_t)n;
    }
    close(fd);
    return rc;
}

int tls_certs_parse(const struct buf *pem, size_t max, gnutls_x509_crt_t *ret, size_t *ret_count,
                    struct err *err)
{
    gnutls_datum_t bytes = {.data = (unsigned char *)pem->bytes, .size = (unsigned)pem->size};
    gnutls_x509_crt_t *list = NULL;
    unsigned count = 0;
    *ret_count = 0;
    if (pem->size == 0 || memmem(pem->bytes, pem->size, "-----BEGIN CERT", 15) == NULL)
        return 0;
    int rc = gnutls_x509_crt_list_import2(&list, &count, &bytes, GNUTLS_X509_FMT_PEM, 0);
    if (rc < 0)
        return err_set(err, ERR_INVALID, "unreadable certificate: %s", gnutls_strerror(rc));
    for (unsigned i = 0; i < count; i++) {
        if (count <= max)
            ret[i] = list[i];
        else
            gnutls_x509_crt_deinit(list[i]);
    }
    gnutls_free(list);
    if (count > max)
        return err_set(err, ERR_LIMIT, "%u certificates, at most %zu are allowed", count, max);
    *ret_count = count;
    return 0;
}
