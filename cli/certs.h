/*
 * certs.h - the certificates in the directory of a cell's CA.
 *
 *     DIR/ca.crt ca.key, and a pair NAME.crt NAME.key for each holder: master-3, borglet-m1,
 * user-ada
 */
#ifndef CLI_CERTS_H
#define CLI_CERTS_H

#include "cell_file.h"
#include "tls.h"

enum { CERTS_MAX = 4096, CERT_NAME_MAX = CELL_NAME_MAX + 16 };

struct cert_file {
    char name[CERT_NAME_MAX + 1]; /* without .crt */
    struct tls_cert cert;         /* of nobody when it cannot be read */
    struct err why;               /* then */
};

struct certs {
    char dir[CELL_PATH_MAX + 1];
    bool has_ca_key;         /* certificates can be made here */
    struct cert_file *files; /* by name; owned */
    size_t count;
};

/* All of the CA of a cell; those that cannot be read are there with the reason. */
int certs_read(const struct cell_file *cell, struct certs *ret, struct err *err) MUST_USE;
void certs_release(struct certs *certs);
/* By its name or its identity ("master-3", "master/3"); NULL: not there. */
const struct cert_file *certs_find(const struct certs *certs, const char *name);

/* "master-3": what the files of an identity are called. */
struct cert_name {
    char text[CERT_NAME_MAX + 1];
} cert_name(const struct identity *id);

#endif
