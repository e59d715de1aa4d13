/*
 * main.c - borg-shim DIRECTORY: run the task that the directory's spec describes.
 *
 * A borglet starts it with a connected socket at SHIM_FD. It exits when the end has been
 * acknowledged, or when the end is in the record and no client has been connected for
 * SHIM_LINGER_MS.
 */
#include "processes.h"
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS_MAX = 16, PUMP_BYTES = 262144 };

static uint64_t clock_ms(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

uint64_t now_mono_ms(void)
{
    return clock_ms(CLOCK_MONOTONIC);
}

uint64_t now_wall_ms(void)
{
    return clock_ms(CLOCK_REALTIME);
}

/* Fill `list` with `count` words from *at on; false: there are not enough. */
static bool words_split(struct shim *s, size_t *at, uint32_t count, char **list)
{
    for (uint32_t i = 0; i < count; i++) {
        if (*at >= s->spec.words_bytes)
            return false;
        list[i] = s->words + *at;
        *at += strlen(list[i]) + 1;
    }
    list[count] = NULL;
    return true;
}

static bool spec_sound(const struct shim_spec *spec)
{
    return spec->argc > 0 && spec->argc <= SHIM_WORDS_MAX && spec->envc <= SHIM_WORDS_MAX &&
           spec->words_bytes > 0 && spec->log_segment_bytes > 0 && spec->log_segments > 0;
}

/* Read the file into memory; NULL and errno: this failed. The caller frees it. */
static char *spec_load(size_t *ret_size)
{
    enum { FILE_BYTES_MAX = SHIM_HEAD_BYTES_MAX + SHIM_WORDS_BYTES_MAX };
    int fd = open("spec", O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

    if (fd < 0)
        return NULL;
    char *file = malloc(FILE_BYTES_MAX);
    ssize_t n = file == NULL ? -1 : read(fd, file, FILE_BYTES_MAX);
    close(fd);
    if (n < 0) {
        free(file);
        return NULL;
    }
    *ret_size = (size_t)n;
    return file;
}

static int spec_copy(struct shim *s, const char *file, size_t size)
{
    struct shim_spec *spec = &s->spec;
    const char *words;

    if (!shim_spec_take(file, size, spec, &words))
        return EBADMSG;
    if (shim_spec_version(spec) == 0)
        return EPROTONOSUPPORT;
    if (!spec_sound(spec) || words[spec->words_bytes - 1] != '\0')
        return EBADMSG;
    s->words = malloc(spec->words_bytes);
    s->argv = calloc(spec->argc + 1, sizeof(char *));
    s->env = calloc(spec->envc + 1, sizeof(char *));
    if (s->words == NULL || s->argv == NULL || s->env == NULL)
        return ENOMEM;
    memcpy(s->words, words, spec->words_bytes);
    return 0;
}

int spec_read(struct shim *s)
{
    struct shim_spec *spec = &s->spec;
    size_t size, at = 0;
    char *file = spec_load(&size);

    if (file == NULL)
        return errno;
    int error = spec_copy(s, file, size);
    free(file);
    if (error != 0)
        return error;
    if (!words_split(s, &at, spec->argc, s->argv) || !words_split(s, &at, spec->envc, s->env))
        return EBADMSG;
    return 0;
}

static void boot_id_read(struct shim *s)
{
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return;
    ssize_t n = read(fd, s->state.boot_id, sizeof(s->state.boot_id) - 1);
    close(fd);
    if (n > 0)
        s->state.boot_id[strcspn(s->state.boot_id, "\n")] = '\0';
}

static int watch(struct shim *s, int fd, void *tag)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = tag};

    return epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? errno : 0;
}

/* Detach the shim's own process from the borglet and from signals. */
static int process_set_up(struct shim *s)
{
    sigset_t mask;

    close_range(SHIM_FD + 1, ~0U, 0);
    fcntl(SHIM_FD, F_SETFD, FD_CLOEXEC);
    umask(077);
    setsid(); /* fails if the process already leads a session, which is as good */
    signal(SIGXFSZ, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
        return errno;
    sigemptyset(&mask);
    sigaddset(&mask, SIGCHLD);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGINT);
    sigaddset(&mask, SIGHUP);
    sigprocmask(SIG_SETMASK, &mask, NULL);
    sigdelset(&mask, SIGTERM);
    sigdelset(&mask, SIGINT);
    sigdelset(&mask, SIGHUP);
    s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    s->signal_fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
    if (s->epoll_fd < 0 || s->signal_fd < 0)
        return errno;
    return watch(s, s->signal_fd, &s->signal_fd);
}

static int logs_set_up(struct shim *s)
{
    static const char *const names[2] = {"out", "err"};

    for (int i = 0; i < 2; i++) {
        int error = log_open(&s->logs[i], names[i], &s->spec);
        if (error == 0)
            error = watch(s, s->logs[i].read_fd, &s->logs[i]);
        if (error != 0)
            return error;
    }
    return 0;
}

/* Set up everything before the task exists. Returns 0, or errno and the stage. */
static int set_up(struct shim *s, enum shim_stage *ret_stage)
{
    int error = process_set_up(s);

    *ret_stage = SHIM_STAGE_CONTROL;
    if (error == 0)
        error = control_open(s);
    if (error != 0)
        return error;
    *ret_stage = SHIM_STAGE_RECORD;
    error = record_open(s);
    if (error != 0)
        return error;
    *ret_stage = SHIM_STAGE_SPEC;
    error = spec_read(s);
    if (error != 0)
        return error;
    *ret_stage = SHIM_STAGE_PIPES;
    return logs_set_up(s);
}

static void ended(struct shim *s)
{
    s->state.phase = SHIM_ENDED;
    if (s->state.ended_ms == 0)
        s->state.ended_ms = now_wall_ms();
    s->kill_at_ms = 0;
    for (int i = 0; i < 2; i++) {
        if (s->logs[i].read_fd > 0)
            log_finish(&s->logs[i]);
        s->state.dropped_bytes[i] = s->logs[i].dropped;
    }
    record_write(s);
    control_send_all(s, SHIM_EXIT);
}

static void children_changed(struct shim *s)
{
    struct signalfd_siginfo info[8];

    while (read(s->signal_fd, info, sizeof(info)) > 0)
        continue;
    if (s->state.phase == SHIM_RUNNING && task_reap(s))
        ended(s);
}

/* Take the result of the start. */
static void start_heard(struct shim *s)
{
    if (!task_started(s))
        return;
    if (s->state.phase == SHIM_ENDED) {
        ended(s);
        return;
    }
    record_write(s);
    control_send_all(s, SHIM_STARTED);
    /* The task may have ended already. */
    if (task_reap(s))
        ended(s);
}

static void event_serve(struct shim *s, void *tag)
{
    if (tag == &s->signal_fd) {
        children_changed(s);
    } else if (tag == &s->start_fd) {
        if (s->start_fd >= 0)
            start_heard(s);
    } else if (tag == &s->listen_fd) {
        control_accept(s);
    } else if (tag == &s->logs[0] || tag == &s->logs[1]) {
        struct log_stream *log = tag;
        if (log->read_fd >= 0)
            log_pump(log, PUMP_BYTES);
    } else {
        struct client *client = tag;
        if (client->fd >= 0)
            control_read(s, client);
    }
}

/* Act on timers that are due. Returns how long epoll may sleep. */
static int timers_serve(struct shim *s)
{
    uint64_t now = now_mono_ms();

    if (s->kill_at_ms != 0 && now >= s->kill_at_ms) {
        s->kill_at_ms = 0;
        task_signal_all(s, SIGKILL);
    }
    if (s->state.phase != SHIM_ENDED || !s->state.recorded || control_in_use(s))
        s->leave_at_ms = 0;
    else if (s->leave_at_ms == 0)
        s->leave_at_ms = now + SHIM_LINGER_MS;
    uint64_t next = s->kill_at_ms != 0 ? s->kill_at_ms : s->leave_at_ms;
    if (next == 0)
        return -1;
    return next <= now ? 0 : (int)(next - now);
}

static void serve(struct shim *s)
{
    struct epoll_event events[EVENTS_MAX];

    while (!s->acked) {
        int timeout_ms = timers_serve(s);
        if (s->leave_at_ms != 0 && timeout_ms == 0)
            return;
        int n = epoll_wait(s->epoll_fd, events, EVENTS_MAX, timeout_ms);
        for (int i = 0; i < n; i++)
            event_serve(s, events[i].data.ptr);
    }
}

int main(int argc, char **argv)
{
    static struct shim s = {.record_fd = -1, .listen_fd = -1, .start_fd = -1};
    enum shim_stage stage;

    if (argc == 2 && strcmp(argv[1], "--versions") == 0) {
        printf("%d %d\n", SHIM_VERSION_MIN, SHIM_VERSION_MAX);
        return 0;
    }
    if (argc == 3 && strcmp(argv[1], "--clear-work") == 0)
        return clear_main(argv[2], true);
    if (argc == 3 && strcmp(argv[1], "--clear-all") == 0)
        return clear_main(argv[2], false);
    if (argc != 2 || fcntl(SHIM_FD, F_GETFD) < 0) {
        fprintf(stderr, "borg-shim is started by borglet: borg-shim DIRECTORY, its socket at %d\n",
                SHIM_FD);
        return 2;
    }
    if (chdir(argv[1]) < 0) {
        fprintf(stderr, "borg-shim: %s: %s\n", argv[1], strerror(errno));
        return 1;
    }
    struct process self;
    s.state.bytes = sizeof(s.state);
    s.state.version_min = SHIM_VERSION_MIN;
    s.state.version_max = SHIM_VERSION_MAX;
#if SHIM_VERSION_MAX >= 5
    s.state.appended = SHIM_VERSION_MAX;
#endif
    s.state.shim_pid = getpid();
    if (process_read(getpid(), &self))
        s.state.shim_starttime = self.starttime;
    boot_id_read(&s);
    int error = set_up(&s, &stage);
    if (error == 0) {
        task_start(&s);
    } else {
        s.state.phase = SHIM_ENDED;
        s.state.end = SHIM_END_START_ERROR;
        s.state.stage = (int32_t)stage;
        s.state.error = error;
    }
    if (s.state.phase == SHIM_ENDED)
        ended(&s);
    else
        watch(&s, s.start_fd, &s.start_fd);
    serve(&s);
    return 0;
}
