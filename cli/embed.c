/*
 * embed.c - the embedded cell as files: settings, ports, certificates, and its removal.
 */
#include "embed.h"
#include "attributes.h"
#include "clock.h"
#include "quantity.h"
#include "spec.h"
#include "text.h"
#include "tls.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <jansson.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <uv.h>

enum { PATH_SIZE = CELL_PATH_MAX + 128, PORTS_WAIT_MS = 30000, PORTS_NOTICE_MS = 2000 };

static void path_of(const struct embed *e, char to[PATH_SIZE], const char *name)
{
    snprintf(to, PATH_SIZE, "%s/%s", e->dir, name);
}

bool embed_has(const struct embed *e, const char *name)
{
    char path[PATH_SIZE];
    path_of(e, path, name);
    return access(path, F_OK) == 0;
}

/* Make the directory and its missing parents. */
static int directories_make(const char *path, struct err *err)
{
    char part[PATH_SIZE];
    str_copy(part, sizeof part, path);
    for (char *p = part + 1; *p != '\0'; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        if (mkdir(part, 0755) < 0 && errno != EEXIST)
            return err_errno(err, errno, "cannot make the directory %s", part);
        *p = '/';
    }
    if (mkdir(part, 0755) < 0 && errno != EEXIST)
        return err_errno(err, errno, "cannot make the directory %s", part);
    return 0;
}

static int lock_take(struct embed *e, uint64_t wait_ms, struct err *err)
{
    char path[PATH_SIZE];
    struct stat held, there;
    uint64_t deadline = clock_mono_ms() + wait_ms;
    path_of(e, path, ".lock");
    for (;;) {
        e->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
        if (e->lock_fd < 0)
            return err_errno(err, errno, "cannot open %s", path);
        bool locked = flock(e->lock_fd, LOCK_EX | LOCK_NB) == 0;
        /* If --wipe has removed the file meanwhile, the lock protects nothing: try again. */
        if (locked && fstat(e->lock_fd, &held) == 0 && stat(path, &there) == 0 &&
            held.st_ino == there.st_ino)
            return 0;
        close(e->lock_fd);
        e->lock_fd = -1;
        if (access(e->dir, F_OK) < 0)
            return err_set(err, ERR_NOT_FOUND, "%.400s was removed meanwhile", e->dir);
        if (clock_mono_ms() >= deadline)
            return err_set(err, ERR_STATE,
                           "another borgctl is at work on %.300s; wait for it and try again",
                           e->dir);
        poll(NULL, 0, 50);
    }
}

/* Load an array of "key=value" strings. */
static bool attributes_load(const json_t *list, struct words *ret)
{
    char key[CELL_NAME_MAX + 1];
    const char *value;
    if (json_array_size(list) > EMBED_ATTRIBUTES_MAX || !json_is_array(list))
        return false;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *text = json_string_value(json_array_get(list, i));
        if (text == NULL || attribute_parse(text, key, &value, NULL) < 0) {
            words_release(ret);
            return false;
        }
        attributes_put(ret, key, value);
    }
    return true;
}

/* Number the masters as in cell.json, which follows changes of the replicas; before it exists, from
 * 1. */
static void masters_number(struct embed *e, uint32_t count)
{
    char path[PATH_SIZE];
    struct err err; /* embed_make() needs it and reports the error */
    path_of(e, path, "cell.json");
    e->replica_count = count;
    if (access(path, F_OK) == 0 && cell_file_load(path, &e->cell, &err) == 0) {
        e->replica_count = (uint32_t)e->cell.replica_count;
        return;
    }
    e->cell = (struct cell_file){.replica_count = MIN(count, (uint32_t)CELL_REPLICAS_MAX)};
    for (uint32_t i = 0; i < e->cell.replica_count; i++)
        e->cell.replicas[i].id = i + 1;
}

static int settings_load(struct embed *e, struct err *err)
{
    char path[PATH_SIZE];
    json_error_t why;
    path_of(e, path, "embedded.json");
    json_t *root = json_load_file(path, 0, &why);
    const char *host = NULL;
    json_t *list = NULL, *item;
    int replicas = 0, election = 0, threshold = 0;
    size_t i;
    if (root == NULL || json_unpack_ex(root, &why, 0, "{s:s, s:i, s:i, s:i, s:o}", "host", &host,
                                       "replicas", &replicas, "election_timeout_ms", &election,
                                       "snapshot_threshold", &threshold, "borglets", &list) < 0) {
        json_decref(root);
        return err_set(err, ERR_CORRUPT,
                       "%.300s: line %d: %s; `borgctl cell down --wipe` cannot read it "
                       "either, so remove the directory by hand",
                       path, why.line, why.text);
    }
    str_copy(e->host, sizeof e->host, host);
    masters_number(e, (uint32_t)replicas);
    e->election_timeout_ms = (uint32_t)election;
    e->snapshot_threshold = (uint32_t)threshold;
    json_array_foreach(list, i, item)
    {
        const char *name, *capacity;
        int first, last;
        json_t *attributes;
        struct embed_borglet *b = &e->borglets[e->borglet_count];
        if (i >= EMBED_BORGLETS_MAX ||
            json_unpack(item, "{s:s, s:s, s:i, s:i, s:o}", "name", &name, "capacity", &capacity,
                        "port_first", &first, "port_last", &last, "attributes", &attributes) < 0 ||
            !name_valid(name) || !attributes_load(attributes, &b->attributes)) {
            json_decref(root);
            return err_set(err, ERR_CORRUPT, "%.300s: borglets[%zu] is not a borglet", path, i);
        }
        str_copy(b->name, sizeof b->name, name);
        str_copy(b->capacity, sizeof b->capacity, capacity);
        b->port_first = (uint16_t)first;
        b->port_last = (uint16_t)last;
        e->borglet_count++;
    }
    json_decref(root);
    return 0;
}

static int settings_save(const struct embed *e, struct err *err)
{
    char path[PATH_SIZE], temporary[PATH_SIZE + 8];
    json_t *list = json_array();
    for (uint32_t i = 0; i < e->borglet_count; i++) {
        const struct embed_borglet *b = &e->borglets[i];
        json_t *attributes = json_array();
        for (const char *w = words_first(&b->attributes); w != NULL;
             w = words_next(&b->attributes, w))
            json_array_append_new(attributes, json_string(w));
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:i, s:i, s:o}", "name", b->name, "capacity",
                                        b->capacity, "port_first", (int)b->port_first, "port_last",
                                        (int)b->port_last, "attributes", attributes));
    }
    json_t *root =
        json_pack("{s:s, s:i, s:i, s:i, s:o}", "host", e->host, "replicas", (int)e->replica_count,
                  "election_timeout_ms", (int)e->election_timeout_ms, "snapshot_threshold",
                  (int)e->snapshot_threshold, "borglets", list);
    path_of(e, path, "embedded.json");
    snprintf(temporary, sizeof temporary, "%s.new", path);
    int r = json_dump_file(root, temporary, JSON_INDENT(2));
    json_decref(root);
    if (r < 0 || rename(temporary, path) < 0)
        return err_errno(err, errno, "cannot write %s", path);
    return 0;
}

static bool directory_is_empty(const char *path)
{
    DIR *dir = opendir(path);
    bool empty = true;
    if (dir == NULL)
        return true;
    for (struct dirent *d; (d = readdir(dir)) != NULL;)
        empty &= strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0 ||
                 strcmp(d->d_name, ".lock") == 0;
    closedir(dir);
    return empty;
}

static int absolute(const char *dir, char ret[CELL_PATH_MAX + 1], struct err *err)
{
    char *real = realpath(dir, NULL);
    if (real == NULL)
        return err_errno(err, errno, "%s", dir);
    bool fits = strlen(real) <= CELL_PATH_MAX - 100;
    str_copy(ret, CELL_PATH_MAX + 1, real);
    free(real);
    return fits ? 0 : err_set(err, ERR_LIMIT, "the path of %.200s... is too long", dir);
}

int embed_open(const char *dir, bool make, uint64_t wait_ms, struct embed *ret, struct err *err)
{
    *ret = (struct embed){.lock_fd = -1};
    struct embed *e = ret;
    char settings[PATH_SIZE];
    snprintf(settings, sizeof settings, "%s/embedded.json", dir);
    bool is_cell = access(settings, F_OK) == 0;
    if (!is_cell && !make)
        return err_set(err, ERR_NOT_FOUND, "%.300s holds no cell made by `borgctl cell up`", dir);
    if (!is_cell && !directory_is_empty(dir))
        return err_set(err, ERR_EXISTS,
                       "%.300s contains other files; name an empty or new directory with --dir",
                       dir);
    if (directories_make(dir, err) < 0 || absolute(dir, e->dir, err) < 0 ||
        lock_take(e, wait_ms, err) < 0)
        return -(int)err->code;
    e->is_new = !embed_has(e, "embedded.json");
    if (!e->is_new && settings_load(e, err) < 0) {
        embed_close(e);
        return -(int)err->code;
    }
    return 0;
}

void embed_close(struct embed *e)
{
    if (e->lock_fd >= 0)
        close(e->lock_fd);
    e->lock_fd = -1;
    for (uint32_t i = 0; i < e->borglet_count; i++)
        words_release(&e->borglets[i].attributes);
}

/* An equal share of this machine's resources, rounded down to readable units. */
static int share_capacity(const struct embed *e, uint32_t count, char to[128], struct err *err)
{
    CLEANUP(buf_release) struct buf text = {0};
    cpu_set_t cpus;
    struct statvfs fs;
    int64_t milli = 1000;
    if (sched_getaffinity(0, sizeof cpus, &cpus) == 0)
        milli = (int64_t)CPU_COUNT(&cpus) * 1000;
    uint64_t limit = uv_get_constrained_memory(), total = uv_get_total_memory();
    int64_t ram = (int64_t)(limit > 0 && limit < total ? limit : total);
    if (statvfs(e->dir, &fs) < 0)
        return err_errno(err, errno, "%s", e->dir);
    int64_t disk = (int64_t)(fs.f_bavail * fs.f_frsize);
    int64_t mi = INT64_C(1) << 20;
    buf_printf(&text, "cpu=");
    quantity_print_milli(&text, MAX(milli / count, 1));
    buf_printf(&text, ",ram=%" PRId64 "Mi,disk=%" PRId64 "Mi", MAX(ram / count / mi, 1),
               MAX(disk / count / mi, 1));
    str_copy(to, 128, buf_text(&text));
    return 0;
}

/* Check "cpu=2,ram=1Gi,disk=1Gi": each of the three exactly once. The borglet checks gpu=1 and
 * named resources. */
static int capacity_check(const char *text, struct err *err)
{
    static const char *const names[] = {"cpu", "ram", "disk"};
    int64_t values[3] = {-1, -1, -1}, more;
    char copy[128];
    str_copy(copy, sizeof copy, text);
    char *rest = NULL;
    for (char *part = strtok_r(copy, ",", &rest); part; part = strtok_r(NULL, ",", &rest)) {
        char *equals = strchr(part, '=');
        size_t at = 0;
        if (equals != NULL)
            *equals = '\0';
        while (at < ARRAY_SIZE(names) && strcmp(names[at], part) != 0)
            at++;
        if (equals == NULL || (at < ARRAY_SIZE(names) && values[at] >= 0))
            return err_set(err, ERR_INVALID, "--capacity: \"%.100s\" is not cpu=N,ram=N,disk=N",
                           text);
        int r = at == 0                   ? quantity_parse_milli(equals + 1, &values[at], err)
                : at == ARRAY_SIZE(names) ? quantity_parse_milli(equals + 1, &more, err)
                                          : quantity_parse_bytes(equals + 1, &values[at], err);
        if (r < 0)
            return err_wrap(err, "--capacity: %s", part);
    }
    if (values[0] <= 0 || values[1] <= 0 || values[2] < 0 || strlen(text) >= sizeof copy)
        return err_set(err, ERR_INVALID, "--capacity: \"%.100s\" is not cpu=N,ram=N,disk=N", text);
    return 0;
}

/* Return whether a process can listen on the port now. SO_REUSEADDR ignores TIME_WAIT only. */
static bool port_is_free(const char *host, uint16_t port)
{
    struct sockaddr_in6 v6;
    struct sockaddr_in v4;
    bool is_v6 = uv_ip6_addr(host, port, &v6) == 0;
    if (!is_v6 && uv_ip4_addr(host, port, &v4) != 0)
        return false;
    int one = 1, fd = socket(is_v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct sockaddr *a = is_v6 ? (struct sockaddr *)&v6 : (struct sockaddr *)&v4;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    bool ok = fd >= 0 && bind(fd, a, is_v6 ? sizeof v6 : sizeof v4) == 0 && listen(fd, 1) == 0;
    if (fd >= 0)
        close(fd);
    return ok;
}

/*
 * Find `count` consecutive unused ports below the kernel's ephemeral range. The search starts at a
 * random port, so that cells made at the same time rarely collide.
 */
static int ports_find(const char *host, uint32_t count, const struct embed *used, uint16_t *ret,
                      struct err *err)
{
    for (int attempt = 0; attempt < 200; attempt++) {
        uint64_t id[2];
        random_id(id);
        uint32_t first =
            EMBED_PORT_MIN + (uint32_t)(id[0] % (EMBED_PORT_MAX - EMBED_PORT_MIN - count));
        bool ok = true;
        for (uint32_t i = 0; i < used->borglet_count; i++)
            ok &= first > used->borglets[i].port_last ||
                  first + count <= used->borglets[i].port_first;
        for (uint32_t i = 0; i < count && ok; i++)
            ok = port_is_free(host, (uint16_t)(first + i));
        *ret = (uint16_t)first;
        if (ok)
            return 0;
    }
    return err_set(err, ERR_UNAVAILABLE,
                   "there are no %u consecutive free ports between %d and %d on %s", count,
                   EMBED_PORT_MIN, EMBED_PORT_MAX, host);
}

static bool is_own_dir(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() &&
           (st.st_mode & 022) == 0;
}

/* Find a directory that only this user can write to; return false if there is none. */
static bool own_dir(char to[PATH_SIZE])
{
    const char *runtime = getenv("XDG_RUNTIME_DIR"), *home = getenv("HOME");
    str_copy(to, PATH_SIZE, runtime != NULL ? runtime : "");
    if (to[0] == '/' && is_own_dir(to))
        return true;
    snprintf(to, PATH_SIZE, "%.900s/.borg", home != NULL ? home : "");
    return to[0] == '/' && (mkdir(to, 0700) == 0 || errno == EEXIST) && is_own_dir(to);
}

/*
 * Let only one `cell up` of this user at a time make a new cell, from the choice of its ports until
 * its masters listen: the file stays locked until this process ends. The lock is best effort and
 * its wait is bounded; without it, two cells made at the same moment may choose the same ports, and
 * one of them fails with a message. The file is where no other user can lock or replace it.
 */
static void ports_lock(void)
{
    char path[PATH_SIZE], dir[PATH_SIZE];
    uint64_t begun_ms = clock_mono_ms();
    struct stat st;
    bool reported = false;
    if (!own_dir(dir))
        return;
    snprintf(path, sizeof path, "%.1000s/borgctl-ports.lock", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        if (fd >= 0)
            close(fd);
        return;
    }
    while (flock(fd, LOCK_EX | LOCK_NB) != 0 && clock_mono_ms() - begun_ms < PORTS_WAIT_MS) {
        if (!reported && clock_mono_ms() - begun_ms > PORTS_NOTICE_MS)
            print_err(
                "borgctl: waiting up to %d s for another `cell up` that is choosing its ports\n",
                PORTS_WAIT_MS / 1000);
        reported = reported || clock_mono_ms() - begun_ms > PORTS_NOTICE_MS;
        poll(NULL, 0, 50);
    }
}

/* Refuse options that contradict the stored cell: its replicas and host are fixed, and borglets can
 * only be added. */
static int options_check(const struct embed *e, const struct embed_options *w, struct err *err)
{
    if (!e->is_new && w->replica_count != 0 && w->replica_count != e->replica_count)
        return err_set(
            err, ERR_STATE,
            "--replicas: the cell in %.200s has %u replicas; change that with borgctl cell "
            "add-replica and remove-replica",
            e->dir, e->replica_count);
    if (!e->is_new && w->borglet_count != 0 && w->borglet_count < e->borglet_count)
        return err_set(err, ERR_STATE,
                       "--borglets: the cell in %.200s has %u borglets; borglets can be added, not "
                       "fewer",
                       e->dir, e->borglet_count);
    if (!e->is_new && w->host != NULL && strcmp(w->host, e->host) != 0)
        return err_set(err, ERR_STATE, "--host: the cell in %.200s listens on %s", e->dir, e->host);
    if (w->capacity != NULL && capacity_check(w->capacity, err) < 0)
        return -(int)err->code;
    struct sockaddr_in6 v6;
    struct sockaddr_in v4;
    if (w->host != NULL && uv_ip4_addr(w->host, 1, &v4) != 0 && uv_ip6_addr(w->host, 1, &v6) != 0)
        return err_set(err, ERR_INVALID, "--host: \"%.60s\" is not an IP address", w->host);
    return 0;
}

/* A borglet that runs keeps the attributes that it was started with, so the stored ones must stay.
 */
static int attributes_settle(struct embed *e, const struct embed_options *w, struct err *err)
{
    struct embed_process *all = xcalloc(EMBED_PROCESSES_MAX, sizeof *all);
    int r = 0;
    embed_processes(e, all);
    for (uint32_t i = 0; i < e->borglet_count && r == 0; i++) {
        struct words *attributes = &e->borglets[i].attributes;
        char key[CELL_NAME_MAX + 1];
        const char *value;
        if (all[e->replica_count + i].alive)
            continue;
        for (const char *at = words_first(&w->attributes); at != NULL && r == 0;
             at = words_next(&w->attributes, at)) {
            r = attribute_parse(at, key, &value, err);
            if (r == 0)
                attributes_put(attributes, key, value);
        }
        if (r == 0 && attributes->count > EMBED_ATTRIBUTES_MAX)
            r = err_set(err, ERR_LIMIT, "borglet %s would have more than %d attributes",
                        e->borglets[i].name, EMBED_ATTRIBUTES_MAX);
    }
    free(all);
    return r < 0 ? err_wrap(err, "--attr") : 0;
}

static int settings_settle(struct embed *e, const struct embed_options *w, struct err *err)
{
    char rack[16];
    if (e->is_new) {
        ports_lock();
        masters_number(e, w->replica_count != 0 ? w->replica_count : 5);
        str_copy(e->host, sizeof e->host, w->host != NULL ? w->host : "127.0.0.1");
    }
    if (w->election_timeout_ms != 0)
        e->election_timeout_ms = w->election_timeout_ms;
    if (w->snapshot_threshold != 0)
        e->snapshot_threshold = w->snapshot_threshold;
    uint32_t count = w->borglet_count != 0 ? w->borglet_count : e->is_new ? 3 : e->borglet_count;
    while (e->borglet_count < count) {
        struct embed_borglet *b = &e->borglets[e->borglet_count];
        if (ports_find(e->host, EMBED_TASK_PORTS, e, &b->port_first, err) < 0)
            return -(int)err->code;
        b->port_last = (uint16_t)(b->port_first + EMBED_TASK_PORTS - 1);
        snprintf(b->name, sizeof b->name, "m%u", e->borglet_count + 1);
        snprintf(rack, sizeof rack, "r%u", e->borglet_count + 1);
        attributes_put(&b->attributes, "rack", rack);
        if (w->capacity == NULL && share_capacity(e, count, b->capacity, err) < 0)
            return -(int)err->code;
        e->borglet_count++;
    }
    for (uint32_t i = 0; i < e->borglet_count && w->capacity != NULL; i++)
        str_copy(e->borglets[i].capacity, sizeof e->borglets[i].capacity, w->capacity);
    if (attributes_settle(e, w, err) < 0)
        return -(int)err->code;
    return settings_save(e, err);
}

/* Return whether a certificate has expired or will soon. For an unreadable file *ret is empty. */
static bool ends_soon(const char *path, struct tls_cert *ret, struct err *err)
{
    *ret = (struct tls_cert){0};
    return pki_read(path, ret, err) == 0 && ret->expires_ms <= clock_wall_ms() + TLS_CERT_SOON_MS;
}

static int certificate_make(const struct embed *e, const char *file_name, enum role role,
                            const char *name, struct err *err)
{
    char pki[PATH_SIZE], cert[PATH_SIZE + 160];
    struct identity id = {.role = role};
    struct tls_cert there;
    path_of(e, pki, "pki");
    snprintf(cert, sizeof cert, "%s/%s.crt", pki, file_name);
    if (access(cert, F_OK) == 0) {
        if (!ends_soon(cert, &there, err))
            return there.expires_ms != 0 ? 0 : -(int)err->code;
        print_err("borgctl: the certificate %s ends on %s: it was renewed\n", cert,
                  tls_date(there.expires_ms).text);
    }
    str_copy(id.name, sizeof id.name, name);
    return pki_make_cert(pki, file_name, &id, err);
}

int embed_make_master(const struct embed *e, uint64_t id, struct err *err)
{
    char path[PATH_SIZE], name[32], number[24];
    snprintf(name, sizeof name, "master%" PRIu64, id);
    path_of(e, path, name);
    if (directories_make(path, err) < 0)
        return -(int)err->code;
    snprintf(name, sizeof name, "master-%" PRIu64, id);
    snprintf(number, sizeof number, "%" PRIu64, id);
    return certificate_make(e, name, ROLE_MASTER, number, err);
}

static int certificates_make(const struct embed *e, const struct embed_options *w, struct err *err)
{
    char file[CELL_NAME_MAX + 32];
    for (uint32_t i = 0; i < e->replica_count; i++)
        if (embed_make_master(e, e->cell.replicas[i].id, err) < 0)
            return -(int)err->code;
    for (uint32_t i = 0; i < e->borglet_count; i++) {
        snprintf(file, sizeof file, "borglet-%s", e->borglets[i].name);
        if (certificate_make(e, file, ROLE_BORGLET, e->borglets[i].name, err) < 0)
            return -(int)err->code;
    }
    for (size_t i = 0; i < ARRAY_SIZE(w->users) && w->users[i] != NULL; i++) {
        if (!name_valid(w->users[i]))
            return err_set(err, ERR_INVALID,
                           "user \"%.60s\": names of users consist of "
                           "[a-z0-9._-]; choose such a name with --user",
                           w->users[i]);
        snprintf(file, sizeof file, "user-%s", w->users[i]);
        if (certificate_make(e, file, ROLE_USER, w->users[i], err) < 0)
            return -(int)err->code;
    }
    return 0;
}

static void cell_name(const struct embed *e, char ret[CELL_NAME_MAX + 1])
{
    const char *base = strrchr(e->dir, '/');
    base = base != NULL ? base + 1 : e->dir;
    str_copy(ret, CELL_NAME_MAX + 1, name_valid(base) ? base : "cell");
}

static void replica_address(const struct embed *e, uint16_t first, struct cell_replica *ret)
{
    bool v6 = strchr(e->host, ':') != NULL;
    snprintf(ret->rpc, sizeof ret->rpc, v6 ? "[%.45s]:%u" : "%.45s:%u", e->host, first);
    snprintf(ret->raft, sizeof ret->raft, v6 ? "[%.45s]:%u" : "%.45s:%u", e->host, first + 1U);
}

int embed_find_address(const struct embed *e, struct cell_replica *ret, struct err *err)
{
    uint16_t first;
    if (ports_find(e->host, 2, e, &first, err) < 0)
        return -(int)err->code;
    replica_address(e, first, ret);
    return 0;
}

int embed_save_cell(const struct embed *e, struct err *err)
{
    char path[PATH_SIZE];
    path_of(e, path, "cell.json");
    return cell_file_save(path, &e->cell, err);
}

static int cell_file_make(struct embed *e, struct err *err)
{
    char path[PATH_SIZE];
    uint16_t first;
    path_of(e, path, "cell.json");
    if (access(path, F_OK) == 0)
        return cell_file_load(path, &e->cell, err);
    str_copy(e->cell.ca_path, sizeof e->cell.ca_path, "pki/ca.crt");
    cell_name(e, e->cell.name);
    if (ports_find(e->host, 2 * e->replica_count, e, &first, err) < 0)
        return -(int)err->code;
    for (uint32_t i = 0; i < e->replica_count; i++)
        replica_address(e, (uint16_t)(first + 2 * i), &e->cell.replicas[i]);
    return embed_save_cell(e, err);
}

static int directories_all_make(const struct embed *e, struct err *err)
{
    char path[PATH_SIZE], name[CELL_NAME_MAX + 32];
    static const char *const names[] = {"log", "run", "borglets"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        path_of(e, path, names[i]);
        if (directories_make(path, err) < 0)
            return -(int)err->code;
    }
    for (uint32_t i = 0; i < e->borglet_count; i++) {
        snprintf(name, sizeof name, "borglets/%s", e->borglets[i].name);
        path_of(e, path, name);
        if (directories_make(path, err) < 0)
            return -(int)err->code;
    }
    return 0;
}

static int ca_make(const char *pki, const char *name, struct err *err)
{
    char path[PATH_SIZE + 16];
    struct tls_cert ca;
    size_t narrowed;
    if (pki_make_ca(pki, name, err) < 0 || pki_narrow(pki, &narrowed, err) < 0)
        return -(int)err->code;
    if (narrowed > 0)
        print_err(
            "borgctl: %zu of %s and the keys in it were readable by others; this is corrected\n",
            narrowed, pki);
    snprintf(path, sizeof path, "%s/ca.crt", pki);
    if (!ends_soon(path, &ca, err))
        return ca.expires_ms != 0 ? 0 : -(int)err->code;
    print_err("borgctl: the certificate of the cell's CA ends on %s: it was renewed\n",
              tls_date(ca.expires_ms).text);
    return pki_renew_ca(pki, 0, err);
}

int embed_make(struct embed *e, const struct embed_options *w, struct err *err)
{
    char pki[PATH_SIZE], name[CELL_NAME_MAX + 1];
    if (options_check(e, w, err) < 0 || settings_settle(e, w, err) < 0 ||
        directories_all_make(e, err) < 0)
        return -(int)err->code;
    path_of(e, pki, "pki");
    cell_name(e, name);
    if (ca_make(pki, name, err) < 0 || certificates_make(e, w, err) < 0)
        return -(int)err->code;
    return cell_file_make(e, err);
}

static int embed_on_remove(const char *path, const struct stat *st UNUSED, int kind UNUSED,
                           struct FTW *at UNUSED)
{
    return remove(path) < 0 && errno != ENOENT ? -1 : 0;
}

static int remove_all(const char *path, struct err *err)
{
    if (nftw(path, embed_on_remove, 32, FTW_DEPTH | FTW_PHYS) < 0 && errno != ENOENT)
        return err_errno(err, errno, "cannot remove all of %s", path);
    return 0;
}

int embed_remove(const struct embed *e, const char *name, struct err *err)
{
    char path[PATH_SIZE];
    ASSERT(e->lock_fd >= 0);
    path_of(e, path, name);
    return remove_all(path, err);
}

int embed_wipe(struct embed *e, struct err *err)
{
    ASSERT(e->lock_fd >= 0);
    ASSERT(embed_has(e, "embedded.json"));
    return remove_all(e->dir, err);
}
