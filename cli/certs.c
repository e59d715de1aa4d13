/*
 * certs.c - read the certificates in the directory of a CA.
 */
#include "certs.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct cert_name cert_name(const struct identity *id)
{
    struct cert_name name;
    snprintf(name.text, sizeof name.text, "%s-%s", role_text(id->role), id->name);
    return name;
}

static int certs_order(const void *a, const void *b)
{
    return strcmp(((const struct cert_file *)a)->name, ((const struct cert_file *)b)->name);
}

/* Copy the stem of NAME.crt; return false if the file has another form. */
static bool stem_of(const char *file, char ret[CERT_NAME_MAX + 1])
{
    size_t n = strlen(file);
    if (n < 5 || n - 4 > CERT_NAME_MAX || file[0] == '.' || strcmp(file + n - 4, ".crt") != 0)
        return false;
    memcpy(ret, file, n - 4);
    ret[n - 4] = '\0';
    return true;
}

static int files_read(struct certs *certs, DIR *list, struct err *err)
{
    char stem[CERT_NAME_MAX + 1], path[CELL_PATH_MAX + 300];
    size_t capacity = 0;
    for (struct dirent *item; (item = readdir(list)) != NULL;) {
        if (!stem_of(item->d_name, stem))
            continue;
        if (certs->count == CERTS_MAX)
            return err_set(err, ERR_LIMIT, "%.300s: more than %d certificates", certs->dir,
                           CERTS_MAX);
        if (certs->count == capacity) {
            capacity = MAX((size_t)16, capacity * 2);
            certs->files = xrealloc(certs->files, capacity, sizeof *certs->files);
        }
        struct cert_file *file = &certs->files[certs->count++];
        *file = (struct cert_file){0};
        str_copy(file->name, sizeof file->name, stem);
        snprintf(path, sizeof path, "%s/%s", certs->dir, item->d_name);
        (void)!pki_read(path, &file->cert, &file->why);
    }
    if (certs->count > 0)
        qsort(certs->files, certs->count, sizeof *certs->files, certs_order);
    return 0;
}

int certs_read(const struct cell_file *cell, struct certs *ret, struct err *err)
{
    struct certs certs = {0};
    char path[CELL_PATH_MAX + 16];
    str_copy(certs.dir, sizeof certs.dir, cell->ca_path);
    char *slash = strrchr(certs.dir, '/');
    ASSERT(slash != NULL); /* the path is absolute */
    *slash = '\0';
    snprintf(path, sizeof path, "%s/ca.key", certs.dir);
    certs.has_ca_key = access(path, R_OK) == 0;
    DIR *list = opendir(certs.dir);
    if (list == NULL)
        return err_errno(err, errno, "cannot read %.300s", certs.dir);
    int rc = files_read(&certs, list, err);
    closedir(list);
    if (rc != 0)
        certs_release(&certs);
    else
        *ret = certs;
    return rc;
}

void certs_release(struct certs *certs)
{
    free(certs->files);
    certs->files = NULL;
    certs->count = 0;
}

const struct cert_file *certs_find(const struct certs *certs, const char *name)
{
    for (size_t i = 0; i < certs->count; i++) {
        const struct cert_file *file = &certs->files[i];
        bool same = strcmp(file->name, name) == 0;
        if (same || (file->cert.identity.role != ROLE_NONE &&
                     strcmp(identity_text(&file->cert.identity).text, name) == 0))
            return file;
    }
    return NULL;
}
