/*
 * main.c - borgmaster: flags, signals, one replica.
 */
#include "clock.h"
#include "core_dumps.h"
#include "log.h"
#include "private_dir.h"
#include "process.h"
#include "replica.h"
#include "restore.h"
#include "stall.h"
#include "store_reader.h"
#include "store_schema.h"
#include "stream.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <fcntl.h>
#include <unistd.h>

static const char usage[] =
    "usage: borgmaster --cell FILE --id N --dir DIR --cert FILE --key FILE [options]\n"
    "\n"
    "One of the masters (replicas) of a cell. Usually started by `borgctl cell up`.\n"
    "\n"
    "  --cell FILE              cell.json: where the replicas are\n"
    "  --id N                   which of them this is\n"
    "  --dir DIR                its data: the Raft log and cell.db (made if missing)\n"
    "  --cert FILE --key FILE   its certificate, master/N\n"
    "  --bootstrap              an empty directory is that of a cell that begins: for the first\n"
    "                           start of all its replicas, never later\n"
    "  --election-timeout-ms N  without a leader for so long: elect (default 300)\n"
    "  --heartbeat-ms N         the leader says that it is there (default 50)\n"
    "  --snapshot-threshold N   log entries between snapshots (default 16384); a quarter as many\n"
    "                           stay in the log after one\n"
    "  --restore FILE           make DIR, an empty one, that of a replica whose cell begins with\n"
    "                           this checkpoint, and end; the same for all, then start them\n"
    "  --restore-at SECONDS     with it: the time now, in seconds since 1970, the same for all\n"
    "  --log-level LEVEL        debug, info (default), warn or error\n"
    "  --core-dumps             leave an image of the memory after a crash, with all keys\n"
    "  --print-schema           print the schema of cell.db, with comments, and end\n"
    "  --help --version\n";

struct flags {
    const char *cell, *dir, *cert, *key, *restore;
    uint64_t id, restore_at_s;
    unsigned election_timeout_ms, heartbeat_ms, snapshot_threshold;
    int log_level;
    char **argv;
    bool bootstrap;
    bool core_dumps;
};

enum { REBUILD_PAUSE_MS = 60000 };

_Noreturn static void PRINTF_LIKE(1, 2) usage_error(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fputs("borgmaster: ", stderr);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputs("; see borgmaster --help\n", stderr);
    exit(2);
}

static uint64_t number(const char *flag, const char *text, uint64_t max)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || *end != '\0' || end == text || *text == '-' || value == 0 || value > max)
        usage_error("--%s: \"%s\" is not a number from 1 to %" PRIu64, flag, text, max);
    return value;
}

static void flag_take(struct flags *flags, const char *name, const char *value)
{
    if (strcmp(name, "cell") == 0)
        flags->cell = value;
    else if (strcmp(name, "dir") == 0)
        flags->dir = value;
    else if (strcmp(name, "cert") == 0)
        flags->cert = value;
    else if (strcmp(name, "key") == 0)
        flags->key = value;
    else if (strcmp(name, "restore") == 0)
        flags->restore = value;
    else if (strcmp(name, "restore-at") == 0)
        flags->restore_at_s = number(name, value, UINT32_MAX);
    else if (strcmp(name, "id") == 0)
        flags->id = number(name, value, INT32_MAX);
    else if (strcmp(name, "election-timeout-ms") == 0)
        flags->election_timeout_ms = (unsigned)number(name, value, 60000);
    else if (strcmp(name, "heartbeat-ms") == 0)
        flags->heartbeat_ms = (unsigned)number(name, value, 10000);
    else if (strcmp(name, "snapshot-threshold") == 0)
        flags->snapshot_threshold = (unsigned)number(name, value, 1000000);
    else if (strcmp(name, "log-level") == 0 && (flags->log_level = log_level_parse(value)) < 0)
        usage_error("--log-level: \"%s\" is not one of debug, info, warn, error", value);
}

static struct flags flags_parse(int argc, char **argv)
{
    static const struct option options[] = {
        {"cell", required_argument, NULL, 'x'},
        {"id", required_argument, NULL, 'x'},
        {"dir", required_argument, NULL, 'x'},
        {"cert", required_argument, NULL, 'x'},
        {"key", required_argument, NULL, 'x'},
        {"bootstrap", no_argument, NULL, 'b'},
        {"election-timeout-ms", required_argument, NULL, 'x'},
        {"heartbeat-ms", required_argument, NULL, 'x'},
        {"snapshot-threshold", required_argument, NULL, 'x'},
        {"restore", required_argument, NULL, 'x'},
        {"restore-at", required_argument, NULL, 'x'},
        {"log-level", required_argument, NULL, 'x'},
        {"core-dumps", no_argument, NULL, 'c'},
        {"print-schema", no_argument, NULL, 's'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},
        {0},
    };
    struct flags flags = {.log_level = LOG_INFO, .argv = argv};
    int at;
    for (int c; (c = getopt_long(argc, argv, "", options, &at)) != -1;) {
        if (c == 'h') {
            fputs(usage, stdout);
            exit(0);
        }
        if (c == 's') {
            struct buf schema CLEANUP(buf_release) = {0};
            store_schema_text(&schema, CELL_FORMAT);
            fputs(buf_text(&schema), stdout);
            exit(0);
        }
        if (c == 'v') {
            puts("borgmaster " BORG_VERSION);
            exit(0);
        }
        if (c == 'b') {
            flags.bootstrap = true;
            continue;
        }
        if (c == 'c') {
            flags.core_dumps = true;
            continue;
        }
        if (c != 'x')
            exit(2); /* getopt has printed the reason */
        flag_take(&flags, options[at].name, optarg);
    }
    if (optind < argc)
        usage_error("unexpected argument \"%s\"", argv[optind]);
    if (flags.cell == NULL || flags.dir == NULL || flags.cert == NULL || flags.key == NULL ||
        flags.id == 0)
        usage_error("--cell, --id, --dir, --cert and --key are all needed");
    if ((flags.restore == NULL) != (flags.restore_at_s == 0))
        usage_error("--restore and --restore-at go together");
    return flags;
}

/* DIR/ended holds the reason why the master ended, for `borgctl cell status`; it is blank while the
 * master runs. Its block is allocated at the start, so that a full disk can be reported, too. */
enum { ENDED_BYTES = 1024 };
static int ended_fd = -1;

static void ended_write(const char *reason)
{
    char text[ENDED_BYTES];
    memset(text, ' ', sizeof text);
    memcpy(text, reason, MIN(strlen(reason), sizeof text - 1));
    text[sizeof text - 1] = '\n';
    if (ended_fd >= 0)
        (void)!pwrite(ended_fd, text, sizeof text, 0);
}

static void ended_open(const char *dir)
{
    char path[CELL_PATH_MAX + 8];
    snprintf(path, sizeof path, "%s/ended", dir);
    ended_fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ended_write("");
}

_Noreturn static void die(const struct err *err)
{
    ended_write(err->msg);
    log_error("master.failed reason=%s", log_quoted(err->msg));
    exit(1);
}

/* End the process: without the log or the database nothing it could still do is safe. The other
 * masters remain. */
static void on_fatal(void *data, const struct err *err)
{
    (void)data;
    ended_write(err->msg);
    log_error("master.aborted reason=%s", log_quoted(err->msg));
    _exit(3);
}

/*
 * Start again, as the same process for its supervisor: only the database is damaged, and it was set
 * aside. The log or another replica fills a new one. If that is damaged soon, too, the disk is
 * unusable and the process ends.
 */
static void on_rebuild(void *data, const struct err *err)
{
    static const char mark[] = "BORG_REBUILT_MS"; /* when this was last done */
    const struct flags *flags = data;
    char now[24];
    const char *before = getenv(mark);
    uint64_t now_ms = clock_mono_ms();
    if (before != NULL && now_ms - strtoull(before, NULL, 10) < REBUILD_PAUSE_MS)
        on_fatal(data, err);
    log_warn("master.restarted reason=%s", log_quoted(err->msg));
    snprintf(now, sizeof now, "%" PRIu64, now_ms);
    setenv(mark, now, /* overwrite= */ 1);
    execv("/proc/self/exe", flags->argv);
    on_fatal(data, err);
}

/* Lock the directory: two masters in one would corrupt the log. The lock lasts as long as the
 * process. */
static int dir_lock(const char *dir, struct err *err)
{
    char path[CELL_PATH_MAX + 1];
    if (private_dir(dir, err) != 0)
        return -(int)err->code;
    snprintf(path, sizeof path, "%s/lock", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(err, errno, "cannot open %s", path);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        close(fd);
        return err_set(err, ERR_STATE, "%s is in use by another borgmaster (%s is locked)", dir,
                       path);
    }
    return 0;
}

static const struct cell_replica *find_self(const struct cell_file *file, uint64_t id)
{
    for (size_t i = 0; i < file->replica_count; i++)
        if (file->replicas[i].id == id)
            return &file->replicas[i];
    return NULL;
}

/* Restore a checkpoint and exit. For `borgctl cell restore` the reason of a failure is the last
 * line. */
_Noreturn static void restore_and_end(const struct flags *flags, const struct cell_file *file)
{
    struct err err;
    if (restore_replica(file, flags->id, flags->dir, flags->restore, flags->restore_at_s, &err) ==
        0)
        exit(0);
    fprintf(stderr, "borgmaster: %s\n", err.msg);
    exit(1);
}

static void on_closed(void *data)
{
    (void)data;
    log_info("master.stopped");
    exit(0);
}

static void on_signal(uv_signal_t *handle, int signum)
{
    log_info("master.stop_requested signal=%d", signum);
    uv_signal_stop(handle);
    replica_close(handle->data, on_closed, NULL);
}

static void stop_on(uv_signal_t *handle, struct replica *replica, int signum)
{
    uv_signal_init(core_opts(replica_core(replica))->loop, handle);
    handle->data = replica;
    uv_signal_start(handle, on_signal, signum);
}

int main(int argc, char **argv)
{
    process_open_standard_files();
    if (reader_is(argc, argv))
        reader_run(argv);
    umask(077); /* files that libraries create are private, too */
    struct flags flags = flags_parse(argc, argv);
    struct cell_file file;
    struct tls_context *tls;
    struct replica *replica;
    struct err err;
    uv_signal_t sigterm, sigint;
    char who[32];
    snprintf(who, sizeof who, "master/%" PRIu64, flags.id);
    log_open((enum log_level)flags.log_level, who);
    core_dumps_allow(flags.core_dumps);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a write beyond `ulimit -f` fails with an error instead */
    /* Queries, snapshots and the disk work of the log share libuv's pool. */
    setenv("UV_THREADPOOL_SIZE", "16", /* overwrite= */ 0);
    if (cell_file_load(flags.cell, &file, &err) != 0 || dir_lock(flags.dir, &err) != 0 ||
        tls_context_open(file.ca_path, flags.cert, flags.key, &tls, &err) != 0)
        die(&err);
    struct core_options options = {.loop = uv_default_loop(),
                                   .file = &file,
                                   .self = find_self(&file, flags.id),
                                   .tls = tls,
                                   .dir = flags.dir,
                                   .bootstrap = flags.bootstrap,
                                   .election_timeout_ms = flags.election_timeout_ms,
                                   .heartbeat_ms = flags.heartbeat_ms,
                                   .snapshot_threshold = flags.snapshot_threshold,
                                   .on_rebuild = on_rebuild,
                                   .on_fatal = on_fatal,
                                   .data = &flags};
    if (options.self == NULL) {
        err_set(&err, ERR_NOT_FOUND, "%s has no replica with id %" PRIu64, flags.cell, flags.id);
        die(&err);
    }
    if (cell_file_identity(&file, &options.identity, &err) != 0)
        die(&err);
    if (flags.restore != NULL)
        restore_and_end(&flags, &file);
    ended_open(flags.dir);
    if (replica_open(&options, &replica, &err) != 0)
        die(&err);
    stop_on(&sigterm, replica, SIGTERM);
    stop_on(&sigint, replica, SIGINT);
    log_info("master.started rpc=%s raft=%s index=%" PRIu64 " files_max=%" PRIu64,
             options.self->rpc, options.self->raft, core_cell(replica_core(replica))->applied_index,
             stream_files_raise());
    stall_watch(options.loop);
    uv_run(options.loop, UV_RUN_DEFAULT);
    return 0;
}
