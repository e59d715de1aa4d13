/*
 * embed_run.c - the processes of the embedded cell: list, start and stop them.
 */
#include "buf.h"
#include "embed.h"

#include "clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

enum { ARG_SIZE = 2 * CELL_PATH_MAX, ARGS_MAX = 24 + 2 * EMBED_ATTRIBUTES_MAX };
#define BEGUN "begun" /* a file: the cell has run once */
#define RESTORING "restoring"
enum { ADDRESS_WAIT_MS = 2000, ADDRESS_POLL_MS = 20 };

static void process_describe(const struct embed *e, const char *stem, struct embed_process *ret)
{
    *ret = (struct embed_process){0};
    str_copy(ret->name, sizeof ret->name, stem);
    snprintf(ret->log_path, sizeof ret->log_path, "%s/log/%s.log", e->dir, stem);
    snprintf(ret->pid_path, sizeof ret->pid_path, "%s/run/%s.pid", e->dir, stem);
    ret->alive = proc_read(ret->pid_path, &ret->proc);
}

size_t embed_processes(const struct embed *e, struct embed_process ret[EMBED_PROCESSES_MAX])
{
    size_t count = 0;
    char stem[CELL_NAME_MAX + 1];
    for (uint32_t i = 0; i < e->replica_count; i++) {
        snprintf(stem, sizeof stem, "master%" PRIu64, e->cell.replicas[i].id);
        process_describe(e, stem, &ret[count++]);
    }
    for (uint32_t i = 0; i < e->borglet_count; i++)
        process_describe(e, e->borglets[i].name, &ret[count++]);
    return count;
}

static bool in_path(const char *name, char ret[ARG_SIZE])
{
    const char *p = getenv("PATH");
    while (p != NULL && *p != '\0') {
        size_t n = strcspn(p, ":");
        snprintf(ret, ARG_SIZE, "%.*s/%s", (int)n, p, name);
        if (n > 0 && access(ret, X_OK) == 0)
            return true;
        p += n + (p[n] == ':');
    }
    return false;
}

/* Find one of our programs beside borgctl, else in PATH; "" if there is none. */
static void program_find(const char *name, char ret[ARG_SIZE])
{
    char self[CELL_PATH_MAX + 1];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n > 0) {
        self[n] = '\0';
        char *slash = strrchr(self, '/');
        *slash = '\0';
        snprintf(ret, ARG_SIZE, "%s/%s", self, name);
        if (access(ret, X_OK) == 0)
            return;
    }
    if (!in_path(name, ret))
        ret[0] = '\0';
}

/* Check that all three programs exist before the first process is started. */
static int programs_check(struct err *err)
{
    static const char *const names[] = {"borgmaster", "borglet", "borg-shim"};
    char path[ARG_SIZE];
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        program_find(names[i], path);
        if (path[0] == '\0')
            return err_set(err, ERR_NOT_FOUND,
                           "there is no program %s, neither beside borgctl nor in PATH; build or "
                           "install it",
                           names[i]);
    }
    return 0;
}

/* An argument vector, built word by word in one allocation. */
struct args {
    char words[ARGS_MAX][ARG_SIZE];
    char *argv[ARGS_MAX + 1];
    size_t count;
};

static char *args_next(struct args *a)
{
    ASSERT(a->count < ARGS_MAX);
    a->argv[a->count] = a->words[a->count];
    return a->words[a->count++];
}

static void args_add(struct args *a, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void args_add(struct args *a, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(args_next(a), ARG_SIZE, fmt, args);
    va_end(args);
}

static void args_option(struct args *a, const char *option, const char *dir, const char *name)
{
    args_add(a, "%s", option);
    args_add(a, "%s/%s", dir, name);
}

static void master_args(const struct embed *e, uint64_t id, struct args *a)
{
    char name[CELL_NAME_MAX + 32];
    program_find("borgmaster", args_next(a));
    args_option(a, "--cell", e->dir, "cell.json");
    args_add(a, "--id");
    args_add(a, "%" PRIu64, id);
    snprintf(name, sizeof name, "master%" PRIu64, id);
    args_option(a, "--dir", e->dir, name);
    snprintf(name, sizeof name, "pki/master-%" PRIu64 ".crt", id);
    args_option(a, "--cert", e->dir, name);
    snprintf(name, sizeof name, "pki/master-%" PRIu64 ".key", id);
    args_option(a, "--key", e->dir, name);
    if (e->election_timeout_ms != 0) {
        args_add(a, "--election-timeout-ms");
        args_add(a, "%u", e->election_timeout_ms);
    }
    if (e->snapshot_threshold != 0) {
        args_add(a, "--snapshot-threshold");
        args_add(a, "%u", e->snapshot_threshold);
    }
    if (!embed_has(e, BEGUN))
        args_add(a, "--bootstrap");
}

/* Gpus and named resources have flags of their own. */
static void capacity_add(struct args *a, const char *capacity)
{
    CLEANUP(buf_release) struct buf measured = {0};
    CLEANUP(free_ptr) char *copy = xstrdup(capacity);
    char *rest = NULL;
    for (char *part = strtok_r(copy, ",", &rest); part; part = strtok_r(NULL, ",", &rest)) {
        bool is_gpu = strncmp(part, "gpu=", 4) == 0;
        if (strncmp(part, "cpu=", 4) == 0 || strncmp(part, "ram=", 4) == 0 ||
            strncmp(part, "disk=", 5) == 0) {
            buf_printf(&measured, "%s%s", measured.size > 0 ? "," : "", part);
            continue;
        }
        args_add(a, is_gpu ? "--gpus" : "--resource");
        args_add(a, "%s", is_gpu ? part + 4 : part);
    }
    args_add(a, "--capacity");
    args_add(a, "%s", buf_text(&measured));
}

static void borglet_args(const struct embed *e, const struct embed_borglet *b, struct args *a)
{
    char name[CELL_NAME_MAX + 32];
    program_find("borglet", args_next(a));
    args_option(a, "--cell", e->dir, "cell.json");
    args_add(a, "--name");
    args_add(a, "%s", b->name);
    snprintf(name, sizeof name, "borglets/%s", b->name);
    args_option(a, "--dir", e->dir, name);
    snprintf(name, sizeof name, "pki/borglet-%s.crt", b->name);
    args_option(a, "--cert", e->dir, name);
    snprintf(name, sizeof name, "pki/borglet-%s.key", b->name);
    args_option(a, "--key", e->dir, name);
    args_add(a, "--listen");
    args_add(a, strchr(e->host, ':') != NULL ? "[%s]:0" : "%s:0", e->host);
    capacity_add(a, b->capacity);
    args_add(a, "--ports");
    args_add(a, "%u-%u", b->port_first, b->port_last);
    for (const char *w = words_first(&b->attributes); w != NULL;
         w = words_next(&b->attributes, w)) {
        args_add(a, "--attr");
        args_add(a, "%s", w);
    }
}

/* Check that the addresses of a master that does not run are free; name the obstacle if not. */
static int address_check(const char *address, uint64_t id, struct err *err)
{
    char host[CELL_ADDR_MAX + 1];
    str_copy(host, sizeof host, address);
    char *colon = strrchr(host, ':');
    ASSERT(colon != NULL);
    *colon = '\0';
    int port = (int)strtol(colon + 1, NULL, 10); /* cell_file_load() has checked it */
    char *bare = host[0] == '[' ? host + 1 : host;
    bare[strcspn(bare, "]")] = '\0';
    struct sockaddr_in6 v6 = {0};
    struct sockaddr_in v4 = {0};
    bool is_v6 = uv_ip6_addr(bare, port, &v6) == 0;
    if (!is_v6 && uv_ip4_addr(bare, port, &v4) != 0)
        return err_set(err, ERR_INVALID, "cell.json: %s is not an address of this machine",
                       address);
    int one = 1, fd = socket(is_v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct sockaddr *a = is_v6 ? (struct sockaddr *)&v6 : (struct sockaddr *)&v4;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    bool ok = fd >= 0 && bind(fd, a, is_v6 ? sizeof v6 : sizeof v4) == 0 && listen(fd, 1) == 0;
    int why = errno;
    if (fd >= 0)
        close(fd);
    if (!ok && why == EADDRINUSE)
        return err_set(err, ERR_STATE,
                       "%s, the address of master %" PRIu64
                       ", is used by another process; find it with "
                       "`ss -ltnp sport = :%d`, stop it and try again",
                       address, id, port);
    return ok ? 0
              : err_errno(err, why, "cannot listen on %s, the address of master %" PRIu64, address,
                          id);
}

/* Wait for the address: the kernel releases the port of a killed master a moment after its end. */
static int address_wait(const char *address, uint64_t id, struct err *err)
{
    uint64_t deadline_ms = clock_mono_ms() + ADDRESS_WAIT_MS;
    int r = address_check(address, id, err);
    while (r == -ERR_STATE && clock_mono_ms() < deadline_ms) {
        poll(NULL, 0, ADDRESS_POLL_MS);
        r = address_check(address, id, err);
    }
    return r;
}

static int process_start(const struct embed *e, size_t at, struct embed_process *p, struct err *err)
{
    struct args *a = xcalloc(1, sizeof *a);
    int r = 0;
    if (at < e->replica_count) {
        uint64_t id = e->cell.replicas[at].id;
        r = address_wait(e->cell.replicas[at].rpc, id, err);
        if (r == 0)
            r = address_wait(e->cell.replicas[at].raft, id, err);
        master_args(e, id, a);
    } else {
        borglet_args(e, &e->borglets[at - e->replica_count], a);
    }
    if (r == 0)
        r = proc_spawn(a->argv, p->log_path, p->pid_path, &p->proc, err);
    free(a);
    return r;
}

int embed_start(const struct embed *e, size_t *ret_started, struct err *err)
{
    *ret_started = 0;
    if (embed_has(e, RESTORING))
        return err_set(err, ERR_STATE,
                       "a restore into %.300s was interrupted; repeat it with "
                       "borgctl cell restore FILE",
                       e->dir);
    struct embed_process *all = xcalloc(EMBED_PROCESSES_MAX, sizeof *all);
    size_t count = embed_processes(e, all);
    int r = programs_check(err);
    for (size_t i = 0; i < count && r == 0; i++) {
        if (all[i].alive)
            continue;
        r = process_start(e, i, &all[i], err);
        *ret_started += r == 0;
    }
    free(all);
    return r;
}

/* Check that no master runs and none has data that the restore would overwrite. */
static int masters_check(const struct embed *e, struct err *err)
{
    struct embed_process *all = xcalloc(EMBED_PROCESSES_MAX, sizeof *all);
    int r = 0;
    embed_processes(e, all);
    for (uint32_t i = 0; i < e->replica_count && r == 0; i++) {
        char raft[64], db[64];
        snprintf(raft, sizeof raft, "%s/raft", all[i].name);
        snprintf(db, sizeof db, "%s/cell.db", all[i].name);
        if (all[i].alive)
            r = err_set(
                err, ERR_STATE,
                "%s of the cell in %.300s is running; stop the cell with `borgctl cell down`",
                all[i].name, e->dir);
        else if (embed_has(e, raft) || embed_has(e, db))
            r = err_set(err, ERR_EXISTS,
                        "%.300s/%s contains a cell; restore into another --dir, or move the "
                        "directories of all masters away if that cell is lost for good",
                        e->dir, all[i].name);
    }
    free(all);
    return r;
}

static int masters_clear(const struct embed *e, struct err *err)
{
    int r = 0;
    for (uint32_t i = 0; i < e->replica_count && r == 0; i++) {
        char raft[64];
        snprintf(raft, sizeof raft, "master%" PRIu64 "/raft", e->cell.replicas[i].id);
        r = embed_remove(e, raft, err);
    }
    return r == 0 ? embed_remove(e, RESTORING, err) : r;
}

static int master_restore(const struct embed *e, uint64_t id, const char *checkpoint, uint64_t at_s,
                          struct err *err)
{
    struct args *a = xcalloc(1, sizeof *a);
    master_args(e, id, a);
    args_add(a, "--restore");
    args_add(a, "%s", checkpoint);
    args_add(a, "--restore-at");
    args_add(a, "%" PRIu64, at_s);
    args_add(a, "--log-level");
    args_add(a, "error");
    int r = proc_run(a->argv, err);
    free(a);
    return r;
}

static int marker_make(const struct embed *e, const char *name, struct err *err)
{
    char marker[CELL_PATH_MAX + 32];
    snprintf(marker, sizeof marker, "%s/%s", e->dir, name);
    int fd = open(marker, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        return err_errno(err, errno, "cannot make %s", marker);
    close(fd);
    return 0;
}

int embed_begun(const struct embed *e, struct err *err)
{
    return embed_has(e, BEGUN) ? 0 : marker_make(e, BEGUN, err);
}

int embed_restore(const struct embed *e, const char *checkpoint, struct err *err)
{
    uint64_t at_s = clock_wall_ms() / 1000;
    int r = programs_check(err);
    if (r == 0 && embed_has(e, RESTORING))
        r = masters_clear(e, err);
    if (r == 0)
        r = masters_check(e, err);
    if (r != 0)
        return r;
    if (marker_make(e, RESTORING, err) != 0)
        return -(int)err->code;
    for (uint32_t i = 0; i < e->replica_count && r == 0; i++)
        r = master_restore(e, e->cell.replicas[i].id, checkpoint, at_s, err);
    if (r == 0)
        return embed_remove(e, RESTORING, err);
    struct err why; /* the first error is reported */
    (void)masters_clear(e, &why);
    return r;
}

void embed_stop_one(const struct embed *e, size_t at)
{
    struct embed_process *all = xcalloc(EMBED_PROCESSES_MAX, sizeof *all);
    ASSERT(at < embed_processes(e, all));
    if (all[at].alive)
        proc_stop(&all[at].proc, 1, EMBED_STOP_MS);
    unlink(all[at].pid_path);
    free(all);
}

size_t embed_stop(const struct embed *e)
{
    struct embed_process *all = xcalloc(EMBED_PROCESSES_MAX, sizeof *all);
    struct proc procs[EMBED_PROCESSES_MAX];
    size_t count = embed_processes(e, all), alive = 0;
    for (size_t i = 0; i < count; i++) {
        if (all[i].alive)
            procs[alive++] = all[i].proc;
    }
    proc_stop(procs, alive, EMBED_STOP_MS);
    for (size_t i = 0; i < count; i++)
        unlink(all[i].pid_path);
    free(all);
    return alive;
}
