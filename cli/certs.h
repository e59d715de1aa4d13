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
    struct tls_cert cert;         /* empty if it cannot be read */
    struct err why;               /* the reason why it cannot be read */
};

struct certs {
    char dir[CELL_PATH_MAX + 1];
    bool has_ca_key;         /* certificates can be made here */
    struct cert_file *files; /* sorted by name; owned */
    size_t count;
};

/* Read all certificates beside the CA of a cell; unreadable ones are listed with the reason. */
int certs_read(const struct cell_file *cell, struct certs *ret, struct err *err) MUST_USE;
void certs_release(struct certs *certs);
/* Find a certificate by its name or its identity ("master-3", "master/3"); NULL if there is none.
 */
const struct cert_file *certs_find(const struct certs *certs, const char *name);

/* The stem of the files of an identity: "master-3". */
struct cert_name {
    char text[CERT_NAME_MAX + 1];
} cert_name(const struct identity *id);

#endif
