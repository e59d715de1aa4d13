/*
 * identities.c - the identities of the cell as this machine knows them, in memory and in a file.
 */
#include "identities.h"
#include "log.h"
#include "shim_proto.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEAD_BYTES = 8, FILE_BYTES_MAX = 4194304 };
#define IDENTITIES_MAGIC UINT32_C(0x62736964)

struct identities {
    char path[4096], path_new[4096 + 8];
    struct wire_identities known;
};

_Static_assert(CELL_IDENTITIES_MAX *(IDENTITY_MAX + 24) + 64 < FILE_BYTES_MAX,
               "all of them must fit into the file");

/* The file consists of a magic, a checksum and the body of the message. */
static int file_read(const char *path, struct wire_identities *ret, struct err *err)
{
    CLEANUP(buf_release) struct buf bytes = {0};
    uint32_t head[2];
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

    if (fd < 0)
        return err_errno(err, errno, "cannot open \"%s\"", path);
    bool right = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size >= HEAD_BYTES &&
                 st.st_size <= FILE_BYTES_MAX;
    size_t size = right ? (size_t)st.st_size : 0;
    right = right && read(fd, buf_reserve(&bytes, size), size) == (ssize_t)size;
    close(fd);
    if (right)
        memcpy(head, bytes.bytes, sizeof(head));
    right = right && head[0] == IDENTITIES_MAGIC &&
            head[1] == shim_crc(0, bytes.bytes + HEAD_BYTES, size - HEAD_BYTES);
    if (!right)
        return err_set(err, ERR_CORRUPT, "\"%s\" is damaged", path);
    return wire_unpack_identities(bytes.bytes + HEAD_BYTES, size - HEAD_BYTES, ret, err);
}

static int file_write(const struct identities *identities, struct err *err)
{
    CLEANUP(buf_release) struct buf body = {0};

    wire_pack_identities(&body, &identities->known);
    uint32_t head[2] = {IDENTITIES_MAGIC, shim_crc(0, body.bytes, body.size)};
    unlink(identities->path_new);
    int fd = open(identities->path_new, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(err, errno, "cannot create \"%s\"", identities->path_new);
    errno = ENOSPC;
    bool written = write(fd, head, sizeof(head)) == (ssize_t)sizeof(head) &&
                   write(fd, body.bytes, body.size) == (ssize_t)body.size;
    if (!written)
        err_errno(err, errno, "cannot write \"%s\"", identities->path_new);
    close(fd);
    if (written && rename(identities->path_new, identities->path) == 0)
        return 0;
    if (written)
        err_errno(err, errno, "cannot rename \"%s\"", identities->path_new);
    unlink(identities->path_new);
    return -(int)err->code;
}

struct identities *identities_open(const char *dir)
{
    struct identities *identities = xcalloc(1, sizeof(*identities));
    struct err err;

    snprintf(identities->path, sizeof(identities->path), "%s/identities", dir);
    snprintf(identities->path_new, sizeof(identities->path_new), "%s.new", identities->path);
    if (access(identities->path, F_OK) == 0 &&
        file_read(identities->path, &identities->known, &err) != 0)
        log_warn("identities.load_failed reason=%s action=\"waiting for a replica to send them\"",
                 log_quoted(err.msg));
    return identities;
}

void identities_close(struct identities *identities)
{
    if (identities == NULL)
        return;
    wire_identities_release(&identities->known);
    free(identities);
}

void identities_take(struct identities *identities, struct wire_identities *in)
{
    struct wire_identities *known = &identities->known;
    struct err err;

    if (in->index < known->index)
        return; /* sent by a replica that lags behind */
    bool same = in->identity_count == known->identity_count;
    for (uint32_t i = 0; same && i < in->identity_count; i++)
        same = strcmp(in->identities[i].identity, known->identities[i].identity) == 0 &&
               in->identities[i].rights == known->identities[i].rights &&
               in->identities[i].revoked_ms == known->identities[i].revoked_ms;
    wire_identities_release(known);
    *known = *in;
    *in = (struct wire_identities){0};
    if (!same && file_write(identities, &err) != 0)
        log_warn("identities.store_failed reason=%s action=\"they are lost if this borglet is "
                 "restarted\"",
                 log_quoted(err.msg));
}

static const struct wire_identity *find(const struct identities *identities, const char *identity)
{
    for (uint32_t i = 0; i < identities->known.identity_count; i++)
        if (strcmp(identities->known.identities[i].identity, identity) == 0)
            return &identities->known.identities[i];
    return NULL;
}

bool identities_may_read(const struct identities *identities, const char *user)
{
    char identity[IDENTITY_MAX + 1];

    if (strcmp(user, CELL_OPERATOR) == 0)
        return true;
    snprintf(identity, sizeof(identity), "user/%s", user);
    const struct wire_identity *row = find(identities, identity);
    return row != NULL && (row->rights & (BIT(RIGHT_OPERATOR) | BIT(RIGHT_READER))) != 0;
}

bool identities_revoked(const struct identities *identities, const char *identity,
                        uint64_t issued_ms)
{
    const struct wire_identity *row = find(identities, identity);

    return row != NULL && row->revoked_ms != 0 && issued_ms <= row->revoked_ms;
}
