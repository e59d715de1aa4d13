/*
 * cell_file.c - reads cell.json with precise errors and writes it atomically.
 */
#include "cell_file.h"
#include "buf.h"
#include "hash.h"
#include "tls_cert.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CELL_FILE_BYTES_MAX = 65536 };
static const int64_t replica_id_max = INT64_C(1) << 31;

static void json_release(json_t **json)
{
    json_decref(*json);
}

static void fd_close(const int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static int file_read(const char *path, struct buf *to, struct err *err)
{
    int fd CLEANUP(fd_close) = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, errno, "cannot open the cell file %s", path);
    for (;;) {
        ssize_t n = read(fd, buf_reserve(to, 4096), 4096);
        if (n < 0)
            return err_errno(err, errno, "cannot read the cell file %s", path);
        if (n == 0)
            return 0;
        to->size += (size_t)n;
        if (to->size > CELL_FILE_BYTES_MAX)
            return err_set(err, ERR_LIMIT, "cell file %s: more than %d bytes", path,
                           CELL_FILE_BYTES_MAX);
    }
}

/* Copy the text at `key` of `object` to `to`; `where` is the path of the object. */
static int text_read(const json_t *object, const char *where, const char *key, char *to,
                     size_t to_size, struct err *err)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_string(value))
        return err_set(err, ERR_INVALID, "%s%s: %s", where, key,
                       value == NULL ? "is missing" : "must be a text");
    size_t length = json_string_length(value);
    if (length == 0 || length >= to_size)
        return err_set(err, ERR_INVALID, "%s%s: must have 1 to %zu bytes, has %zu", where, key,
                       to_size - 1, length);
    str_copy(to, to_size, json_string_value(value));
    return 0;
}

/* Refuse unknown keys: a misspelt key would otherwise be ignored silently. */
static int keys_valid(const json_t *object, const char *where, const char *const *known,
                      struct err *err)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        bool found = false;
        for (size_t i = 0; known[i] != NULL; i++)
            found = found || strcmp(known[i], key) == 0;
        if (!found)
            return err_set(err, ERR_INVALID, "%s%.64s: is not a field of a cell file", where, key);
    }
    return 0;
}

/* Check "host:port" with a port of 1 to 65535. */
static int addr_valid(const char *addr, const char *where, const char *key, struct err *err)
{
    const char *colon = strrchr(addr, ':');
    char *end = NULL;
    long port = 0;
    if (colon != NULL && colon != addr && colon[1] >= '0' && colon[1] <= '9')
        port = strtol(colon + 1, &end, 10);
    if (port < 1 || port > 65535 || *end != '\0')
        return err_set(err, ERR_INVALID, "%s%s: \"%s\" is not HOST:PORT", where, key, addr);
    return 0;
}

static int replica_read(const json_t *json, const char *where, struct cell_replica *to,
                        struct err *err)
{
    static const char *const keys[] = {"id", "rpc", "raft", NULL};
    int rc;
    if (!json_is_object(json))
        return err_set(err, ERR_INVALID, "%.*s: must be an object", (int)strlen(where) - 1, where);
    if ((rc = keys_valid(json, where, keys, err)) != 0)
        return rc;
    const json_t *id = json_object_get(json, "id");
    json_int_t number = json_is_integer(id) ? json_integer_value(id) : 0;
    if (number < 1 || number > replica_id_max)
        return err_set(err, ERR_INVALID, "%sid: must be a number from 1 to %" PRId64, where,
                       replica_id_max);
    to->id = (uint64_t)number;
    if ((rc = text_read(json, where, "rpc", to->rpc, sizeof to->rpc, err)) != 0 ||
        (rc = addr_valid(to->rpc, where, "rpc", err)) != 0)
        return rc;
    if ((rc = text_read(json, where, "raft", to->raft, sizeof to->raft, err)) != 0)
        return rc;
    return addr_valid(to->raft, where, "raft", err);
}

/* Check that replica `last` shares no id or address with an earlier one. */
static int replica_distinct(const struct cell_file *file, size_t last, struct err *err)
{
    const struct cell_replica *b = &file->replicas[last];
    if (strcmp(b->rpc, b->raft) == 0)
        return err_set(err, ERR_INVALID, "replicas[%zu].raft: is its rpc address too", last);
    for (size_t i = 0; i < last; i++) {
        const struct cell_replica *a = &file->replicas[i];
        if (a->id == b->id)
            return err_set(err, ERR_INVALID, "replicas[%zu].id: %" PRIu64 " is also replicas[%zu]",
                           last, b->id, i);
        if (strcmp(a->rpc, b->rpc) == 0 || strcmp(a->raft, b->rpc) == 0)
            return err_set(err, ERR_INVALID,
                           "replicas[%zu].rpc: %s is also an address of "
                           "replicas[%zu]",
                           last, b->rpc, i);
        if (strcmp(a->rpc, b->raft) == 0 || strcmp(a->raft, b->raft) == 0)
            return err_set(err, ERR_INVALID,
                           "replicas[%zu].raft: %s is also an address of "
                           "replicas[%zu]",
                           last, b->raft, i);
    }
    return 0;
}

static int replicas_read(const json_t *root, struct cell_file *ret, struct err *err)
{
    const json_t *list = json_object_get(root, "replicas");
    if (!json_is_array(list))
        return err_set(err, ERR_INVALID, "replicas: %s",
                       list == NULL ? "is missing" : "must be a list");
    size_t count = json_array_size(list);
    if (count == 0 || count > CELL_REPLICAS_MAX)
        return err_set(err, ERR_INVALID, "replicas: there are %zu, must be 1 to %d", count,
                       CELL_REPLICAS_MAX);
    for (size_t i = 0; i < count; i++) {
        char where[32];
        snprintf(where, sizeof where, "replicas[%zu].", i);
        int rc = replica_read(json_array_get(list, i), where, &ret->replicas[i], err);
        if (rc == 0)
            rc = replica_distinct(ret, i, err);
        if (rc != 0)
            return rc;
    }
    ret->replica_count = count;
    return 0;
}

/* Return `name`, which is relative to the file at `path`, as an absolute path. */
static int path_resolve(const char *path, const char *name, char *to, size_t to_size,
                        struct err *err)
{
    struct buf full CLEANUP(buf_release) = {0};
    const char *slash = strrchr(path, '/');
    if (name[0] != '/' && path[0] != '/') {
        char *cwd CLEANUP(free_ptr) = getcwd(NULL, 0);
        if (cwd == NULL)
            return err_errno(err, errno, "ca: cannot read the current directory");
        buf_printf(&full, "%s/", cwd);
    }
    if (name[0] != '/' && slash != NULL)
        buf_append(&full, path, (size_t)(slash - path) + 1);
    buf_printf(&full, "%s", name);
    if (full.size >= to_size)
        return err_set(err, ERR_INVALID, "ca: its path has %zu bytes, at most %zu", full.size,
                       to_size - 1);
    str_copy(to, to_size, buf_text(&full));
    return 0;
}

static int root_read(const json_t *root, const char *path, struct cell_file *ret, struct err *err)
{
    static const char *const keys[] = {"cell", "ca", "replicas", NULL};
    char ca[CELL_PATH_MAX + 1];
    int rc;
    if (!json_is_object(root))
        return err_set(err, ERR_INVALID, "must be a JSON object");
    if ((rc = keys_valid(root, "", keys, err)) != 0 ||
        (rc = text_read(root, "", "cell", ret->name, sizeof ret->name, err)) != 0 ||
        (rc = text_read(root, "", "ca", ca, sizeof ca, err)) != 0)
        return rc;
    for (const char *c = ret->name; *c != '\0'; c++)
        if (strchr("abcdefghijklmnopqrstuvwxyz0123456789._-", *c) == NULL)
            return err_set(err, ERR_INVALID, "cell: may have a-z, 0-9, '.', '_' and '-' only");
    if ((rc = path_resolve(path, ca, ret->ca_path, sizeof ret->ca_path, err)) != 0)
        return rc;
    return replicas_read(root, ret, err);
}

int cell_file_load(const char *path, struct cell_file *ret, struct err *err)
{
    struct buf text CLEANUP(buf_release) = {0};
    json_error_t wrong;
    *ret = (struct cell_file){0};
    int rc = file_read(path, &text, err);
    if (rc != 0)
        return rc;
    /* Some editors put a byte order mark at the beginning of a file. */
    if (text.size >= 3 && memcmp(text.bytes, "\xef\xbb\xbf", 3) == 0)
        buf_consume(&text, 3);
    json_t *root CLEANUP(json_release) =
        json_loadb(buf_text(&text), text.size, JSON_REJECT_DUPLICATES, &wrong);
    if (root == NULL)
        return err_set(err, ERR_INVALID, "cell file %s: line %d, column %d: %s", path, wrong.line,
                       wrong.column, wrong.text);
    if (root_read(root, path, ret, err) != 0)
        return err_wrap(err, "cell file %s", path);
    return 0;
}

/* Return the path of the CA, relative if it is below the file's directory, so that the directory
 * can be moved. */
static const char *ca_write(const char *path, const char *ca)
{
    char *directory CLEANUP(free_ptr) = NULL;
    char *copy CLEANUP(free_ptr) = xstrdup(path);
    char *slash = strrchr(copy, '/');
    if (slash != NULL)
        slash[slash == copy] = '\0';
    directory = realpath(slash == NULL ? "." : copy, NULL);
    size_t size = directory != NULL ? strlen(directory) : 0;
    if (size > 1 && strncmp(ca, directory, size) == 0 && ca[size] == '/')
        return ca + size + 1;
    return ca;
}

static json_t *root_write(const char *path, const struct cell_file *file)
{
    json_t *replicas = json_array();
    for (size_t i = 0; i < file->replica_count; i++) {
        const struct cell_replica *r = &file->replicas[i];
        json_array_append_new(replicas, json_pack("{s:I, s:s, s:s}", "id", (json_int_t)r->id, "rpc",
                                                  r->rpc, "raft", r->raft));
    }
    return json_pack("{s:s, s:s, s:o}", "cell", file->name, "ca", ca_write(path, file->ca_path),
                     "replicas", replicas);
}

static int file_write(const char *path, const char *text, size_t size, struct err *err)
{
    int fd CLEANUP(fd_close) = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return err_errno(err, errno, "cannot create %s", path);
    while (size > 0) {
        ssize_t n = write(fd, text, size);
        if (n < 0 && errno != EINTR)
            return err_errno(err, errno, "cannot write %s", path);
        text += MAX(n, 0);
        size -= (size_t)MAX(n, 0);
    }
    return fsync(fd) == 0 ? 0 : err_errno(err, errno, "cannot write %s to the disk", path);
}

/* Make the new name survive a power failure. */
static int directory_sync(const char *path, struct err *err)
{
    char *directory CLEANUP(free_ptr) = xstrdup(path);
    char *slash = strrchr(directory, '/');
    if (slash != NULL)
        slash[slash == directory] = '\0';
    int fd CLEANUP(fd_close) =
        open(slash == NULL ? "." : directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0)
        return err_errno(err, errno, "cannot write the directory of %s to the disk", path);
    return 0;
}

int cell_file_save(const char *path, const struct cell_file *file, struct err *err)
{
    struct buf temporary CLEANUP(buf_release) = {0};
    ASSERT(file->replica_count >= 1);
    ASSERT(file->replica_count <= CELL_REPLICAS_MAX);
    json_t *root CLEANUP(json_release) = root_write(path, file);
    char *text CLEANUP(free_ptr) = root == NULL ? NULL : json_dumps(root, JSON_INDENT(2));
    if (text == NULL)
        return err_set(err, ERR_INVALID, "cell file %s: a name in it is not UTF-8", path);
    buf_printf(&temporary, "%s.new-%ld", path, (long)getpid());
    int rc = file_write(buf_text(&temporary), text, strlen(text), err);
    if (rc == 0 && rename(buf_text(&temporary), path) != 0)
        rc = err_errno(err, errno, "cannot rename the new cell file to %s", path);
    if (rc != 0) {
        unlink(buf_text(&temporary));
        return rc;
    }
    return directory_sync(path, err);
}

/* Hash the CA's key, so that renewing its certificate does not change the identity of the cell.
 * With several CAs, the first one counts. */
static uint64_t ca_hash(const struct buf *pem)
{
    gnutls_x509_crt_t all[TLS_CAS_MAX];
    unsigned char id[64];
    size_t count = 0, size = sizeof id;
    uint64_t hash = 0;
    if (tls_certs_parse(pem, ARRAY_SIZE(all), all, &count, NULL) != 0 || count == 0)
        return hash_bytes(0, pem->bytes, pem->size);
    if (gnutls_x509_crt_get_key_id(all[0], GNUTLS_KEYID_USE_SHA256, id, &size) == 0)
        hash = hash_bytes(0, id, size);
    for (size_t i = 0; i < count; i++)
        gnutls_x509_crt_deinit(all[i]);
    return hash;
}

int cell_file_identity(const struct cell_file *file, uint64_t *ret, struct err *err)
{
    CLEANUP(buf_release) struct buf pem = {0};
    if (tls_file_read(file->ca_path, false, &pem, err) != 0)
        return err_wrap(err, "the cell's CA");
    *ret = hash_text(ca_hash(&pem), file->name);
    return 0;
}
