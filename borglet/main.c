/*
 * main.c - borglet: flags, the set-up that can fail with a message, the loop.
 */
#include "agent.h"
#include "core_dumps.h"
#include "inventory.h"
#include "log.h"
#include "process.h"
#include "spec.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EXIT_USAGE = 2, FLAG_ATTR = 50, FLAG_LABEL, FLAG_RESOURCE, FLAG_GPUS, FLAG_CORE_DUMPS };

static const char help[] =
    "Usage: borglet --cell FILE --name NAME --dir DIR --cert FILE --key FILE [OPTION...]\n"
    "\n"
    "Runs the tasks of one machine of a cell. Tasks go on when it is stopped; the next borglet\n"
    "on the same directory picks them up.\n"
    "\n"
    "  --cell FILE         cell.json: where the replicas are\n"
    "  --name NAME         of the machine; the certificate must say borglet/NAME\n"
    "  --dir DIR           for tasks and their logs; one borglet per directory\n"
    "  --cert FILE         certificate (PEM)\n"
    "  --key FILE          its private key (PEM)\n"
    "  --listen ADDRESS    where logs are served (127.0.0.1:0: a free port)\n"
    "  --capacity AMOUNTS  instead of what is measured: cpu=2,ram=4Gi,disk=10Gi\n"
    "  --attr KEY=VALUE    what jobs may ask for, like rack=r1; as often as there are some\n"
    "  --label NAME=VALUE  shown to people and their tools; as often as there are some\n"
    "                      (os, arch, kernel, hostname and cpus are there already)\n"
    "  --gpus N            how many there are, %d at most; nothing is detected (0)\n"
    "  --resource NAME=N   what else jobs may ask for and the cell is to count, like tape=4\n"
    "  --ports FIRST-LAST  range given to tasks (20000-20999); a port is given out while nobody\n"
    "                      has it: TCP and UDP, IPv4 and IPv6, on all addresses and on loopback\n"
    "  --log-level LEVEL   debug, info, warn or error (info)\n"
    "  --core-dumps        leave an image of the memory after a crash, with all keys\n"
    "  --version           print the version\n"
    "  --help              print this\n";

struct flags {
    const char *cell, *name, *dir, *cert, *key, *listen, *capacity, *ports;
    enum log_level log_level;
    bool core_dumps;
    struct words attributes;
    struct words labels;
    struct resources more; /* gpus and the resources of --resource */
    struct resource_names resource_names;
};

struct borglet {
    uv_loop_t loop;
    uv_signal_t signals[2];
    struct cell_file cell;
    struct state_dir state;
    struct tls_context *tls;
    struct agent *agent;
    char shim_path[CELL_PATH_MAX + 1];
};

static int usage(const char *fmt, ...) PRINTF_LIKE(1, 2);
static int usage(const char *fmt, ...)
{
    va_list args;

    fprintf(stderr, "borglet: ");
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fprintf(stderr, "\nTry 'borglet --help'.\n");
    return EXIT_USAGE;
}

/* Check that the required flags are present and valid. Returns 0 or the exit code. */
static int flags_check(const struct flags *f)
{
    const struct {
        const char *name, *value;
    } required[] = {{"--cell", f->cell},
                    {"--name", f->name},
                    {"--dir", f->dir},
                    {"--cert", f->cert},
                    {"--key", f->key}};

    for (size_t i = 0; i < ARRAY_SIZE(required); i++)
        if (required[i].value == NULL || required[i].value[0] == '\0')
            return usage("%s is required", required[i].name);
    if (!name_valid(f->name))
        return usage("--name \"%s\": a machine's name is 1 to %d of a-z 0-9 . _ - and starts with "
                     "a letter or a digit",
                     f->name, CELL_NAME_MAX);
    return 0;
}

static int flag_take(struct flags *f, int which, const char *value)
{
    const char **const texts[] = {&f->cell, &f->name,   &f->dir,      &f->cert,
                                  &f->key,  &f->listen, &f->capacity, &f->ports};

    if (which < (int)ARRAY_SIZE(texts)) {
        *texts[which] = value;
        return 0;
    }
    if (which == FLAG_CORE_DUMPS) {
        f->core_dumps = true;
        return 0;
    }
    if (which == FLAG_ATTR || which == FLAG_LABEL) {
        struct err err;
        bool attr = which == FLAG_ATTR;
        return inventory_attribute_add(value, attr ? &f->attributes : &f->labels, &err) == 0
                   ? 0
                   : usage("--%s: %s", attr ? "attr" : "label", err.msg);
    }
    if (which == FLAG_RESOURCE) {
        struct err err;
        return inventory_resource_add(value, &f->more, &f->resource_names, &err) == 0
                   ? 0
                   : usage("--resource: %s", err.msg);
    }
    if (which == FLAG_GPUS) {
        char *end = NULL;
        long count = strtol(value, &end, 10);
        if (end == value || *end != '\0' || count < 0 || count > DEVICES_MAX)
            return usage("--gpus: \"%s\" is not a number from 0 to %d", value, DEVICES_MAX);
        f->more.v[RES_GPU] = count * DEVICE_MILLI;
        return 0;
    }
    int level = log_level_parse(value);
    if (level < 0)
        return usage("--log-level \"%s\" is not debug, info, warn or error", value);
    f->log_level = (enum log_level)level;
    return 0;
}

/* Returns -1 to continue, else the exit code. */
static int flags_parse(int argc, char **argv, struct flags *f)
{
    enum { HELP = 100, VERSION };
    static const struct option options[] = {{"cell", 1, NULL, 0},
                                            {"name", 1, NULL, 1},
                                            {"dir", 1, NULL, 2},
                                            {"cert", 1, NULL, 3},
                                            {"key", 1, NULL, 4},
                                            {"listen", 1, NULL, 5},
                                            {"capacity", 1, NULL, 6},
                                            {"ports", 1, NULL, 7},
                                            {"log-level", 1, NULL, 8},
                                            {"attr", 1, NULL, FLAG_ATTR},
                                            {"label", 1, NULL, FLAG_LABEL},
                                            {"gpus", 1, NULL, FLAG_GPUS},
                                            {"resource", 1, NULL, FLAG_RESOURCE},
                                            {"core-dumps", 0, NULL, FLAG_CORE_DUMPS},
                                            {"help", 0, NULL, HELP},
                                            {"version", 0, NULL, VERSION},
                                            {NULL, 0, NULL, 0}};
    int which;

    opterr = 0;
    while ((which = getopt_long(argc, argv, ":", options, NULL)) != -1) {
        if (which == HELP)
            return printf(help, DEVICES_MAX) < 0;
        if (which == VERSION)
            return printf("borglet %s\n", BORG_VERSION) < 0;
        if (which == ':')
            return usage("%s needs a value", argv[optind - 1]);
        if (which == '?')
            return usage("there is no flag %s", argv[optind - 1]);
        int rc = flag_take(f, which, optarg);
        if (rc != 0)
            return rc;
    }
    if (optind < argc)
        return usage("\"%s\" is not a flag", argv[optind]);
    int rc = flags_check(f);
    return rc == 0 ? -1 : rc;
}

/* Find the shim, which is installed in the directory of this program. */
static int shim_find(char *to, size_t size, struct err *err)
{
    ssize_t n = readlink("/proc/self/exe", to, size - 1);

    if (n < 0)
        return err_errno(err, errno, "cannot read /proc/self/exe");
    to[n] = '\0';
    char *slash = strrchr(to, '/');
    if (slash == NULL || (size_t)(slash - to) + sizeof("/borg-shim") > size)
        return err_set(err, ERR_LIMIT, "the path of this program is too long");
    memcpy(slash, "/borg-shim", sizeof("/borg-shim"));
    if (access(to, X_OK) < 0)
        return err_errno(err, errno, "cannot use \"%s\", which must stand next to borglet", to);
    return 0;
}

/* A borglet needs one descriptor per live task and one per log reader. */
static void descriptors_raise(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

enum { STOPPING_S = 5 };

/* A thread hangs in the kernel on a process or file system: exit without waiting for it. */
static void borglet_on_alarm(int signal UNUSED)
{
    _exit(0);
}

static void borglet_on_signal(uv_signal_t *handle, int signal)
{
    struct borglet *b = handle->data;

    log_info("borglet.stop_requested signal=%d action=\"tasks continue\"", signal);
    sigaction(SIGALRM, &(struct sigaction){.sa_handler = borglet_on_alarm}, NULL);
    alarm(STOPPING_S);
    agent_close(b->agent);
    for (size_t i = 0; i < ARRAY_SIZE(b->signals); i++)
        uv_close((uv_handle_t *)&b->signals[i], NULL);
}

static int identity_check(const struct borglet *b, const struct flags *f, struct err *err)
{
    const struct identity *id = tls_context_identity(b->tls);

    if (id->role != ROLE_BORGLET || strcmp(id->name, f->name) != 0)
        return err_set(err, ERR_INVALID,
                       "the certificate \"%s\" is of %s, but this machine is borglet/%s", f->cert,
                       identity_text(id).text, f->name);
    return 0;
}

/* Check everything that can be checked before the directory is changed. */
static int borglet_prepare(struct borglet *b, const struct flags *f, struct agent_options *options,
                           struct err *err)
{
    int rc = cell_file_load(f->cell, &b->cell, err);
    if (rc == 0)
        rc = tls_context_open(b->cell.ca_path, f->cert, f->key, &b->tls, err);
    if (rc == 0)
        rc = identity_check(b, f, err);
    if (rc == 0)
        rc = shim_find(b->shim_path, sizeof(b->shim_path), err);
    if (rc == 0)
        rc = state_dir_open(f->dir, &b->cell, &b->state, err);
    if (rc != 0)
        return rc;
    rc = inventory_measure(f->dir, ports_count(&options->ports), &options->capacity, err);
    if (rc == 0 && f->capacity != NULL)
        rc = inventory_override(f->capacity, &options->capacity, err);
    for (enum resource r = RES_GPU; r < RES_COUNT; r++)
        options->capacity.v[r] = f->more.v[r];
    options->resource_names = f->resource_names;
    return rc;
}

static int borglet_run(struct borglet *b, const struct flags *f, struct agent_options *options,
                       struct err *err)
{
    static const int numbers[] = {SIGTERM, SIGINT};
    CLEANUP(buf_release) struct buf text = {0};

    if (uv_loop_init(&b->loop) != 0)
        return err_set(err, ERR_IO, "cannot make an event loop");
    options->loop = &b->loop;
    options->tls = b->tls;
    options->cell = &b->cell;
    options->name = f->name;
    options->dir = f->dir;
    options->shim_path = b->shim_path;
    options->listen = f->listen;
    options->state = &b->state;
    options->attributes = f->attributes;
    options->labels = f->labels;
    int rc = agent_open(options, &b->agent, err);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        uv_signal_init(&b->loop, &b->signals[i]);
        b->signals[i].data = b;
        uv_signal_start_oneshot(&b->signals[i], borglet_on_signal, numbers[i]);
    }
    resources_print(&text, &options->capacity, &options->resource_names);
    log_info("borglet.up name=%s pid=%d logs=%s capacity=\"%s\"", f->name, getpid(),
             agent_address(b->agent), buf_text(&text));
    uv_run(&b->loop, UV_RUN_DEFAULT);
    uv_loop_close(&b->loop);
    return 0;
}

int main(int argc, char **argv)
{
    static struct borglet b = {.state = {.lock_fd = -1, .seen_fd = -1}};
    struct flags f = {.listen = "127.0.0.1:0", .ports = "20000-20999", .log_level = LOG_INFO};
    struct agent_options options = {0};
    struct resources ignored = {0};
    struct err err;

    process_open_standard_files();
    inventory_attributes(&f.attributes);
    int rc = flags_parse(argc, argv, &f);
    if (rc >= 0)
        return rc;
    if (ports_parse(f.ports, &options.ports, &err) != 0)
        return usage("--ports: %s", err.msg);
    if (f.capacity != NULL && inventory_override(f.capacity, &ignored, &err) != 0)
        return usage("--capacity: %s", err.msg);
    struct sockaddr_storage address;
    if (address_parse(f.listen, &address, &err) != 0)
        return usage("--listen: %s", err.msg);
    log_open(f.log_level, f.name);
    core_dumps_allow(f.core_dumps);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* beyond `ulimit -f` a write fails, which says why */
    umask(077);
    descriptors_raise();
    if (borglet_prepare(&b, &f, &options, &err) != 0 || borglet_run(&b, &f, &options, &err) != 0) {
        log_error("borglet.failed reason=%s", log_quoted(err.msg));
        return 1;
    }
    tls_context_close(b.tls);
    state_dir_close(&b.state);
    words_release(&f.attributes);
    words_release(&f.labels);
    log_info("borglet.down name=%s", f.name);
    return 0;
}
