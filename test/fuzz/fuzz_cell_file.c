/*
 * fuzz_cell_file.c - cell.json, certificates, identities and addresses.
 *
 * The first byte selects: 0 cell.json, 1 a certificate (DER or PEM), 2 an identity, 3 an address.
 */
#include "cell_file.h"
#include "spec.h"
#include "stream_impl.h"
#include "tls.h"
#include "tls_cert.h"

#include "scratch.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void fuzz_certificate(const uint8_t *bytes, size_t size)
{
    struct tls_cert cert;
    gnutls_x509_crt_t crt;
    gnutls_datum_t datum = {(unsigned char *)(uintptr_t)bytes, (unsigned)size};
    bool pem = size > 0 && bytes[0] == '-';
    gnutls_x509_crt_init(&crt);
    if (gnutls_x509_crt_import(crt, &datum, pem ? GNUTLS_X509_FMT_PEM : GNUTLS_X509_FMT_DER) == 0 &&
        tls_cert_read(crt, TLS_PURPOSE_CLIENT, &cert, NULL) == 0) {
        ASSERT(cert.identity.role != ROLE_NONE);
        ASSERT(name_valid(cert.identity.name));
    }
    gnutls_x509_crt_deinit(crt);
}

static void fuzz_identity(const char *text)
{
    struct identity id;
    if (identity_parse(text, &id, NULL) == 0)
        ASSERT(strcmp(identity_text(&id).text, text) == 0);
}

/* Only parse names: a look-up without an answering name server takes seconds. */
static void fuzz_address(const char *text)
{
    struct sockaddr_storage address, again;
    char host[CELL_ADDR_MAX + 1], printed[CELL_ADDR_MAX + 1];
    uint16_t port;
    if (address_read(text, &address, host, &port, NULL) != 0)
        return;
    ASSERT(strpbrk(host, "[]: \t") == NULL);
    if (host[0] != '\0' || strchr(text, '%') != NULL) /* zones are not printed */
        return;
    address_print(&address, printed);
    ASSERT(address_parse(printed, &again, NULL) == 0);
    ASSERT(memcmp(&address, &again, sizeof again) == 0);
}

static void fuzz_cell_file(const uint8_t *bytes, size_t size)
{
    struct cell_file file;
    struct err err;
    if (cell_file_load(scratch_file("cell.json", bytes, size), &file, &err) != 0)
        ASSERT(err.msg[0] != '\0');
    else
        ASSERT(file.replica_count >= 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size == 0)
        return 0;
    char *text = scratch_text(bytes + 1, size - 1);
    switch (bytes[0] % 4) {
    case 0:
        fuzz_cell_file(bytes + 1, size - 1);
        break;
    case 1:
        fuzz_certificate(bytes + 1, size - 1);
        break;
    case 2:
        fuzz_identity(text);
        break;
    default:
        fuzz_address(text);
    }
    free(text);
    return 0;
}
