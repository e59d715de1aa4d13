/*
 * jobfile_eval.c - evaluate a spec in a child process that cannot run for ever.
 *
 * Jsonnet is a programming language: a spec may recurse without end or build a list that fills the
 * memory, and the library then never returns or aborts. So it runs in a child with bounded cpu time
 * and memory; whatever becomes of the child, borgctl lives and says what happened.
 *
 * The child writes one byte ('+' a result, '-' an error message) and the text into a pipe.
 */
#include "jobfile.h"
#include "clock.h"
#include "jobfile_yaml.h"
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <libjsonnet.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int jobfile_format_parse(const char *text)
{
    if (strcmp(text, "jsonnet") == 0)
        return JOBFILE_JSONNET;
    if (strcmp(text, "json") == 0)
        return JOBFILE_JSON;
    if (strcmp(text, "yaml") == 0)
        return JOBFILE_YAML;
    return -1;
}

const char *jobfile_source_text(const struct jobfile_source *source)
{
    return strcmp(source->path, "-") == 0 ? "<stdin>" : source->path;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static int format_of(const struct jobfile_source *source, enum jobfile_format *ret, struct err *err)
{
    const char *path = source->path;
    *ret = source->format;
    if (*ret != JOBFILE_BY_NAME)
        return 0;
    if (strcmp(path, "-") == 0 || ends_with(path, ".jsonnet") || ends_with(path, ".json"))
        *ret = JOBFILE_JSONNET; /* JSON is Jsonnet */
    else if (ends_with(path, ".yaml") || ends_with(path, ".yml"))
        *ret = JOBFILE_YAML;
    else
        return err_set(err, ERR_INVALID,
                       "%s: a spec ends in .jsonnet, .json, .yaml or .yml; say what it is with "
                       "--format",
                       path);
    return 0;
}

static void fd_close(const int *fd)
{
    if (*fd > STDERR_FILENO)
        close(*fd);
}

/* Check that it is UTF-8, drop a byte order mark, and end it as a C string. */
static int text_check(const char *path, struct buf *text, struct err *err)
{
    static const char utf8_mark[] = {'\xef', '\xbb', '\xbf'};
    const char *bytes = buf_text(text);
    if (text->size >= 2 && (memcmp(bytes, "\xff\xfe", 2) == 0 || memcmp(bytes, "\xfe\xff", 2) == 0))
        return err_set(err, ERR_INVALID, "%s: is UTF-16; save it as UTF-8", path);
    if (text->size >= sizeof utf8_mark && memcmp(bytes, utf8_mark, sizeof utf8_mark) == 0)
        buf_consume(text, sizeof utf8_mark);
    if (text->size > 0 && memchr(text->bytes, '\0', text->size) != NULL)
        return err_set(err, ERR_INVALID, "%s: has a NUL byte in it, so it is no text", path);
    size_t line = text_bad_line(buf_text(text));
    if (line != 0)
        return err_set(err, ERR_INVALID, "%s: line %zu is not UTF-8; save the file as UTF-8", path,
                       line);
    buf_append(text, "", 1);
    return 0;
}

static int source_read(const char *path, struct buf *to, struct err *err)
{
    CLEANUP(fd_close)
    int fd = strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return err_errno(err, errno, "%s: cannot read the spec", path);
    for (;;) {
        char *room = buf_reserve(to, 65536);
        ssize_t n = read(fd, room, 65536);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(err, errno, "%s: cannot read the spec", path);
        if (n == 0)
            break;
        to->size += (size_t)n;
        if (to->size > JOBFILE_BYTES_MAX)
            return err_set(err, ERR_INVALID, "%s: a spec may have %d KiB, this has more", path,
                           JOBFILE_BYTES_MAX / 1024);
    }
    return text_check(path, to, err);
}

static void write_all(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t n = write(fd, bytes, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            _exit(1);
        bytes += n;
        size -= (size_t)n;
    }
}

static void limit_set(int resource, rlim_t value)
{
    struct rlimit limit = {value, value};
    setrlimit((__rlimit_resource_t)resource, &limit);
}

static void child_limits_set(uint32_t cpu_s_max)
{
    limit_set(RLIMIT_CORE, 0);
    limit_set(RLIMIT_CPU, cpu_s_max);
#ifndef __SANITIZE_ADDRESS__ /* its shadow alone is terabytes of addresses */
    limit_set(RLIMIT_AS, JOBFILE_MEMORY_MAX);
#endif
}

/* "NAME=VALUE" was checked to have its "=". */
static void variables_set(struct JsonnetVm *vm, const char *const *variables, size_t count,
                          void (*set)(struct JsonnetVm *, const char *, const char *))
{
    for (size_t i = 0; i < count; i++) {
        char *name = xstrdup(variables[i]);
        char *equals = strchr(name, '=');
        *equals = '\0';
        set(vm, name, equals + 1);
        free(name);
    }
}

/* Tell the parent: '+' and a result, '-' and what is wrong. */
_Noreturn static void child_tell(int out, bool ok, const char *text)
{
    write_all(out, ok ? "+" : "-", 1);
    write_all(out, text, strlen(text));
    _exit(0);
}

_Noreturn static void yaml_run(const char *text, int out)
{
    json_t *value;
    struct err err;
    if (jobfile_yaml(text, &value, &err) < 0)
        child_tell(out, false, err.msg);
    char *json = json_dumps(value, JSON_ENCODE_ANY);
    if (json == NULL)
        _exit(1);
    child_tell(out, true, json);
}

_Noreturn static void jsonnet_run(const struct jobfile_source *source, const char *text, int out)
{
    struct JsonnetVm *vm = jsonnet_make();
    if (vm == NULL)
        _exit(1);
    jsonnet_max_stack(vm, JOBFILE_STACK_MAX);
    jsonnet_max_trace(vm, 6);
    variables_set(vm, source->ext_strs, source->ext_str_count, jsonnet_ext_var);
    variables_set(vm, source->tla_strs, source->tla_str_count, jsonnet_tla_var);
    int failed = 0;
    char *result = jsonnet_evaluate_snippet(vm, jobfile_source_text(source), text, &failed);
    child_tell(out, !failed, result);
}

_Noreturn static void child_run(const struct jobfile_source *source, enum jobfile_format format,
                                const char *text, int out)
{
    int null = open("/dev/null", O_RDWR);
    if (null >= 0) {
        dup2(null, STDIN_FILENO);
        dup2(null, STDERR_FILENO); /* what C++ says when memory ends: the parent says it better */
    }
    child_limits_set(source->cpu_s_max != 0 ? source->cpu_s_max : JOBFILE_CPU_S_MAX);
    if (format == JOBFILE_YAML)
        yaml_run(text, out);
    jsonnet_run(source, text, out);
}

enum ending { ENDING_DONE, ENDING_LONG, ENDING_IDLE };

static uint64_t child_cpu_us(pid_t pid)
{
    clockid_t clock;
    struct timespec used = {0};
    if (clock_getcpuclockid(pid, &clock) == 0)
        clock_gettime(clock, &used);
    return (uint64_t)used.tv_sec * 1000000 + (uint64_t)used.tv_nsec / 1000;
}

/*
 * Read until the child closes its end, wrote too much, or waits. The bound of its work is its cpu
 * time, never the time of day: a loaded or slow machine must give the same verdict. It computes as
 * long as its cpu time grows; when that stands still it waits for a file that does not come, such
 * as an imported FIFO.
 */
static enum ending child_read(int fd, pid_t pid, struct buf *to)
{
    uint64_t cpu_us = 0, moved_ms = clock_mono_ms();
    while (to->size <= JOBFILE_RESULT_MAX) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, JOBFILE_IDLE_MS_MAX / 10) > 0) {
            ssize_t n = read(fd, buf_reserve(to, 65536), 65536);
            if (n == 0 || (n < 0 && errno != EINTR))
                return ENDING_DONE;
            to->size += n > 0 ? (size_t)n : 0;
            continue;
        }
        uint64_t now_us = child_cpu_us(pid), now_ms = clock_mono_ms();
        if (now_us != cpu_us) {
            cpu_us = now_us;
            moved_ms = now_ms;
        } else if (now_ms - moved_ms >= JOBFILE_IDLE_MS_MAX) {
            return ENDING_IDLE;
        }
    }
    return ENDING_LONG;
}

static int verdict(const char *path, int status, enum ending ending, const struct buf *out,
                   struct buf *problems, struct err *err)
{
    int sig = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    if (ending == ENDING_LONG)
        return err_set(err, ERR_INVALID, "%s: evaluates to more than %d MiB", path,
                       JOBFILE_RESULT_MAX >> 20);
    if (ending == ENDING_IDLE)
        return err_set(err, ERR_INVALID,
                       "%s: its evaluation waits for a file that does not come; does it import a "
                       "pipe or a device?",
                       path);
    if (sig == SIGXCPU || (sig == SIGKILL && out->size == 0))
        return err_set(
            err, ERR_INVALID,
            "%s: was not evaluated within its cpu time; look for an endless recursion or "
            "import",
            path);
    if (sig != 0 || out->size == 0)
        return err_set(err, ERR_INVALID,
                       "%s: evaluation ran out of memory (%d MiB) or stack; look for an endless "
                       "recursion",
                       path, JOBFILE_MEMORY_MAX >> 20);
    if (out->bytes[0] == '-') {
        size_t end = out->size; /* without the newlines at its end */
        while (end > 1 && out->bytes[end - 1] == '\n')
            end--;
        buf_append(problems, out->bytes + 1, end - 1);
        buf_append(problems, "\n", 1);
        return err_set(err, ERR_INVALID, "%s: cannot be evaluated", path);
    }
    return 0;
}

static int variables_check(const char *option, const char *const *variables, size_t count,
                           struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        const char *equals = strchr(variables[i], '=');
        if (equals == NULL || equals == variables[i])
            return err_set(err, ERR_INVALID, "%s: \"%s\" is not NAME=VALUE", option, variables[i]);
    }
    return 0;
}

/* JSON is Jsonnet that is its own result; starting the evaluator costs half of a submit. */
static bool is_plain_json(const struct buf *text)
{
    json_t *value = json_loadb(text->bytes, text->size - 1, JSON_REJECT_DUPLICATES, NULL);
    bool plain = value != NULL;
    json_decref(value);
    return plain;
}

int jobfile_eval(const struct jobfile_source *source, struct buf *ret_json, struct buf *problems,
                 struct err *err)
{
    CLEANUP(buf_release) struct buf text = {0};
    CLEANUP(buf_release) struct buf out = {0};
    enum jobfile_format format;
    if (variables_check("--ext-str", source->ext_strs, source->ext_str_count, err) < 0 ||
        variables_check("--tla-str", source->tla_strs, source->tla_str_count, err) < 0 ||
        format_of(source, &format, err) < 0 || source_read(source->path, &text, err) < 0)
        return -(int)err->code;
    if (format == JOBFILE_YAML && source->ext_str_count + source->tla_str_count > 0)
        return err_set(err, ERR_INVALID, "%s: --ext-str and --tla-str are for Jsonnet",
                       jobfile_source_text(source));
    if (format != JOBFILE_YAML && source->tla_str_count == 0 && is_plain_json(&text)) {
        buf_append(ret_json, text.bytes, text.size - 1);
        return 0;
    }
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return err_errno(err, errno, "cannot make a pipe");
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0) {
        close(fds[0]);
        close(fds[1]);
        return err_errno(err, errno, "cannot start a process to evaluate the spec");
    }
    if (pid == 0)
        child_run(source, format, text.bytes, fds[1]);
    close(fds[1]);
    enum ending ending = child_read(fds[0], pid, &out);
    close(fds[0]);
    if (ending != ENDING_DONE)
        kill(pid, SIGKILL);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (verdict(jobfile_source_text(source), status, ending, &out, problems, err) < 0)
        return -(int)err->code;
    buf_append(ret_json, out.bytes + 1, out.size - 1);
    return 0;
}
