/*
 * crew.c - directories, certificates, processes.
 */
#include "crew.h"

#include "clock.h"
#include "tls.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RPC_PORT = 7101, RAFT_PORT = 7201, ARGS_MAX = 24 };
enum { FILL_STEP = 8 << 20, FILL_STEP_MIN = 4096 };

static int directory_make(const char *path, struct err *err)
{
    return mkdir(path, 0755) == 0 || errno == EEXIST
               ? 0
               : err_errno(err, errno, "cannot make the directory %s", path);
}

static int directories_make(struct crew *crew, struct err *err)
{
    static const char *const names[] = {"log", "pki", "clock"};
    char path[CREW_PATH_MAX];
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(names); i++) {
        snprintf(path, sizeof path, "%s/%s", crew->dir, names[i]);
        rc = directory_make(path, err);
    }
    for (size_t i = 0; rc == 0 && i < CREW_COUNT; i++) {
        struct member *m = &crew->members[i];
        unsigned number = (unsigned)(crew_is_master(i) ? i : i - CREW_MASTERS) + 1;
        snprintf(m->name, sizeof m->name, "%s%u", crew_is_master(i) ? "master" : "m", number);
        snprintf(m->dir, sizeof m->dir, "%s/%s", crew->dir, m->name);
        rc = directory_make(m->dir, err);
    }
    return rc;
}

static int disk_make(const struct member *m, struct err *err)
{
    char size[32];
    snprintf(size, sizeof size, "size=%dm", CREW_DISK_MIB);
    return mount("chaos", m->dir, "tmpfs", MS_NOSUID | MS_NODEV, size) == 0
               ? 0
               : err_errno(err, errno, "cannot mount a tmpfs at %s", m->dir);
}

static int certificate_make(const struct crew *crew, enum role role, const char *name,
                            struct err *err)
{
    char pki[CREW_PATH_MAX], file[CELL_NAME_MAX + 16];
    struct identity id = {.role = role};
    str_copy(id.name, sizeof id.name, name);
    snprintf(pki, sizeof pki, "%s/pki", crew->dir);
    snprintf(file, sizeof file, "%s-%s", role_text(role), name);
    return pki_make_cert(pki, file, &id, err);
}

static int certificates_make(const struct crew *crew, struct err *err)
{
    static const char *const users[] = {"root", "ada"};
    char pki[CREW_PATH_MAX], number[8];
    snprintf(pki, sizeof pki, "%s/pki", crew->dir);
    int rc = pki_make_ca(pki, "chaos", err);
    for (size_t i = 0; rc == 0 && i < CREW_COUNT; i++) {
        bool is_master = crew_is_master(i);
        snprintf(number, sizeof number, "%zu", i + 1);
        rc = certificate_make(crew, is_master ? ROLE_MASTER : ROLE_BORGLET,
                              is_master ? number : crew->members[i].name, err);
    }
    for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(users); i++)
        rc = certificate_make(crew, ROLE_USER, users[i], err);
    return rc;
}

/* Return a port of loopback that is free now. */
static unsigned port_find(int *ret_fd)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    *ret_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (*ret_fd < 0 || bind(*ret_fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        getsockname(*ret_fd, (struct sockaddr *)&address, &size) != 0)
        PANIC("no free port: %s", strerror(errno));
    return ntohs(address.sin_port);
}

static int cell_make(struct crew *crew, struct err *err)
{
    char path[CREW_PATH_MAX], host[CELL_ADDR_MAX + 1] = "127.0.0.1";
    int fds[2 * CREW_MASTERS];
    crew->cell =
        (struct cell_file){.name = "chaos", .ca_path = "pki/ca.crt", .replica_count = CREW_MASTERS};
    for (size_t i = 0; i < CREW_MASTERS; i++) {
        struct cell_replica *r = &crew->cell.replicas[i];
        unsigned ports[2] = {RPC_PORT, RAFT_PORT};
        if (crew->kind == SANDBOX_CLOSED)
            net_address(crew_node(i), host);
        for (size_t p = 0; p < 2 && crew->kind == SANDBOX_OPEN; p++)
            ports[p] = port_find(&fds[2 * i + p]);
        r->id = i + 1;
        snprintf(r->rpc, sizeof r->rpc, "%.40s:%u", host, ports[0]);
        snprintf(r->raft, sizeof r->raft, "%.40s:%u", host, ports[1]);
    }
    for (size_t i = 0; i < ARRAY_SIZE(fds) && crew->kind == SANDBOX_OPEN; i++)
        close(fds[i]);
    snprintf(path, sizeof path, "%s/cell.json", crew->dir);
    int rc = cell_file_save(path, &crew->cell, err);
    return rc == 0 ? cell_file_load(path, &crew->cell, err) : rc;
}

static void clock_path(const struct crew *crew, size_t member, char ret[CREW_PATH_MAX])
{
    snprintf(ret, CREW_PATH_MAX, "%s/clock/%s", crew->dir, crew->members[member].name);
}

/* Set the environment of a master whose clock can be changed. */
static void clock_fake(const struct crew *crew, size_t member)
{
    char path[CREW_PATH_MAX];
    clock_path(crew, member, path);
    setenv("LD_PRELOAD", crew->faketime, 1);
    setenv("FAKETIME_TIMESTAMP_FILE", path, 1);
    setenv("FAKETIME_CACHE_DURATION", "1", 1);
    setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1", 1);
    setenv("NO_FAKE_STAT", "1", 1);
}

/* Return whether borgmaster runs with the library; one that was built with a sanitizer does not. */
static bool faketime_works(const struct crew *crew)
{
    char program[CREW_PATH_MAX + 16];
    int status = -1;
    snprintf(program, sizeof program, "%s/borgmaster", crew->programs);
    pid_t pid = fork();
    if (pid == 0) {
        int nowhere = open("/dev/null", O_WRONLY);
        dup2(nowhere, 1);
        dup2(nowhere, 2);
        clock_fake(crew, 0);
        execl(program, program, "--version", NULL);
        _exit(127);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

static void faketime_find(struct crew *crew)
{
    static const char *const paths[] = {"/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
                                        "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1"};
    for (size_t i = 0; i < ARRAY_SIZE(paths) && crew->faketime == NULL; i++)
        crew->faketime = access(paths[i], R_OK) == 0 ? paths[i] : NULL;
    if (crew->faketime == NULL)
        return;
    for (size_t i = 0; i < CREW_MASTERS; i++)
        crew_clock_set(crew, i, 0);
    if (!faketime_works(crew))
        crew->faketime = NULL;
}

int crew_make(struct crew *crew, struct err *err)
{
    int rc = directories_make(crew, err);
    for (size_t i = 0; rc == 0 && i < CREW_MASTERS && crew->kind == SANDBOX_CLOSED; i++)
        rc = disk_make(&crew->members[i], err);
    if (rc == 0)
        rc = certificates_make(crew, err);
    if (rc == 0)
        faketime_find(crew);
    return rc == 0 ? cell_make(crew, err) : rc;
}

/* Return argv of a member, in static memory, because it is used between fork and exec. */
static char *const *member_argv(const struct crew *crew, size_t member)
{
    static char words[ARGS_MAX][CREW_PATH_MAX + 64];
    static char *argv[ARGS_MAX + 1];
    const struct member *m = &crew->members[member];
    bool is_master = crew_is_master(member);
    char host[CELL_ADDR_MAX + 1] = "127.0.0.1", id[CELL_NAME_MAX + 1] = "";
    size_t count = 0;
    if (crew->kind == SANDBOX_CLOSED)
        net_address(crew_node(member), host);
    if (is_master)
        snprintf(id, sizeof id, "%" PRIu64, crew->cell.replicas[member].id);
    const char *who = is_master ? id : m->name, *role = is_master ? "master" : "borglet";
#define WORD(...) snprintf(words[count++], sizeof words[0], __VA_ARGS__)
    WORD("%s/%s", crew->programs, is_master ? "borgmaster" : "borglet");
    WORD("--cell"), WORD("%s/cell.json", crew->dir);
    WORD("--dir"), WORD("%s", m->dir);
    WORD("--cert"), WORD("%s/pki/%s-%s.crt", crew->dir, role, who);
    WORD("--key"), WORD("%s/pki/%s-%s.key", crew->dir, role, who);
    WORD(is_master ? "--id" : "--name"), WORD("%s", who);
    if (is_master) {
        /* A small number, so that snapshots are taken and installed on members that were away. */
        WORD("--snapshot-threshold"), WORD("512");
        if (!m->was_started)
            WORD("--bootstrap");
    } else {
        unsigned port = 20000 + 100 * (unsigned)member;
        WORD("--listen"), WORD("%s:0", host);
        WORD("--capacity"), WORD("cpu=4,ram=4Gi,disk=4Gi");
        WORD("--ports"), WORD("%u-%u", port, port + 99);
    }
#undef WORD
    for (size_t i = 0; i < count; i++)
        argv[i] = words[i];
    argv[count] = NULL;
    return argv;
}

_Noreturn static void program_exec(char *const *argv, int log)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    setsid();
    dup2(open("/dev/null", O_RDONLY), 0);
    dup2(log, 1);
    dup2(log, 2);
    close_range(3, ~0U, 0);
    execv(argv[0], argv);
    _exit(127);
}

_Noreturn static void member_exec(const struct crew *crew, size_t member, int log)
{
    struct err err;
    char *const *argv = member_argv(crew, member);
    if (crew->kind == SANDBOX_CLOSED && net_enter(crew->net, crew_node(member), &err) != 0)
        _exit(126);
    if (crew_is_master(member) && crew->faketime != NULL)
        clock_fake(crew, member);
    program_exec(argv, log);
}

int crew_start(struct crew *crew, size_t member, struct err *err)
{
    struct member *m = &crew->members[member];
    char path[CREW_PATH_MAX];
    ASSERT(m->pid == 0);
    snprintf(path, sizeof path, "%s/log/%s.log", crew->dir, m->name);
    int log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (log < 0)
        return err_errno(err, errno, "cannot write %s", path);
    m->pid = fork();
    if (m->pid == 0)
        member_exec(crew, member, log);
    int why = errno;
    close(log);
    if (m->pid < 0)
        return err_errno(err, why, "cannot start %s", m->name);
    m->is_stopped = m->is_killed = false;
    m->was_started = true;
    m->started_ms = clock_mono_ms();
    return 0;
}

pid_t crew_borgctl(const struct crew *crew, const char *const *words)
{
    char program[CREW_PATH_MAX + 16], log_path[CREW_PATH_MAX];
    const char *argv[ARGS_MAX] = {program, "--cell", crew->dir, "--user", "root", NULL};
    size_t count = 5;
    for (; *words != NULL && count + 1 < ARGS_MAX; words++)
        argv[count++] = *words;
    snprintf(program, sizeof program, "%s/borgctl", crew->programs);
    snprintf(log_path, sizeof log_path, "%s/log/borgctl.log", crew->dir);
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    program_exec((char *const *)(uintptr_t)argv, log);
}

void crew_keep(const struct crew *crew)
{
    char kept[CREW_PATH_MAX];
    snprintf(kept, sizeof kept, "%s/kept", crew->dir);
    pid_t pid = mkdir(kept, 0755) == 0 ? fork() : -1;
    if (pid == 0) {
        execlp("cp", "cp", "-a", crew->members[0].dir, crew->members[1].dir, crew->members[2].dir,
               crew->members[3].dir, crew->members[4].dir, kept, NULL);
        _exit(127);
    }
    if (pid > 0)
        waitpid(pid, NULL, 0);
}

void crew_signal(struct crew *crew, size_t member, int number)
{
    struct member *m = &crew->members[member];
    if (m->pid == 0)
        return;
    kill(m->pid, number);
    if (number == SIGSTOP || number == SIGCONT)
        m->is_stopped = number == SIGSTOP;
    m->is_killed |= number == SIGKILL;
}

size_t crew_ended(struct crew *crew, pid_t pid)
{
    for (size_t i = 0; i < CREW_COUNT; i++) {
        struct member *m = &crew->members[i];
        if (m->pid != pid)
            continue;
        m->pid = 0;
        m->is_stopped = false;
        m->ended_ms = clock_mono_ms();
        return i;
    }
    return CREW_COUNT;
}

size_t crew_machine_kill(struct crew *crew, size_t member)
{
    size_t count = 0;
    DIR *dir = opendir("/proc");
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
        pid_t pid = (pid_t)strtol(e->d_name, NULL, 10);
        if (pid > 0 && net_has(crew->net, crew_node(member), pid))
            count += kill(pid, SIGKILL) == 0;
    }
    if (dir != NULL)
        closedir(dir);
    return count;
}

void crew_place_find(const struct crew *crew, size_t member, struct cell_replica *ret)
{
    const struct cell_replica *old = &crew->cell.replicas[member];
    char host[CELL_ADDR_MAX + 1];
    unsigned port = RPC_PORT + (unsigned)(old->id % CELL_REPLICAS_MAX) + 1;
    net_address(crew_node(member), host);
    *ret = (struct cell_replica){0};
    snprintf(ret->rpc, sizeof ret->rpc, "%.40s:%u", host, port);
    snprintf(ret->raft, sizeof ret->raft, "%.40s:%u", host, port + RAFT_PORT - RPC_PORT);
}

int crew_place_take(struct crew *crew, size_t member, const struct cell_replica *replica,
                    struct err *err)
{
    struct member *m = &crew->members[member];
    ASSERT(m->pid == 0);
    crew->cell.replicas[member] = *replica;
    if (umount2(m->dir, MNT_DETACH) != 0)
        return err_errno(err, errno, "cannot unmount %s", m->dir);
    return disk_make(m, err);
}

void crew_disk_fill(struct crew *crew, size_t member, bool full)
{
    char path[CREW_PATH_MAX + 16];
    snprintf(path, sizeof path, "%s/filling", crew->members[member].dir);
    if (!full) {
        unlink(path);
        return;
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        PANIC("cannot make %s: %s", path, strerror(errno));
    /* Decrease the steps, because the master allocates from the same space meanwhile. */
    for (off_t at = 0, step = FILL_STEP; step >= FILL_STEP_MIN; step /= 2)
        while (fallocate(fd, 0, at, step) == 0)
            at += step;
    close(fd);
}

void crew_clock_set(struct crew *crew, size_t member, int64_t offset_s)
{
    char path[CREW_PATH_MAX], temporary[CREW_PATH_MAX + 8];
    clock_path(crew, member, path);
    snprintf(temporary, sizeof temporary, "%s.new", path);
    FILE *file = fopen(temporary, "we");
    if (file == NULL || fprintf(file, "%+" PRId64 "\n", offset_s) < 0 || fclose(file) != 0 ||
        rename(temporary, path) != 0)
        PANIC("cannot write %s", path);
}
