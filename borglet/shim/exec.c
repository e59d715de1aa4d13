/*
 * exec.c - execute the task's command, and say what is wrong with a file that cannot be executed.
 *
 * execvp() is not used, because it passes a file that is no program, even an empty one, to /bin/sh.
 */
#include "shim.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEAD_BYTES = 4096, INTERPRETER_BYTES = 40, EXEC_PATH_BYTES = 4096 };

/* Copy text for a message: short, and without terminal control characters. */
static void text_show(const char *from, size_t size, char to[INTERPRETER_BYTES])
{
    size_t at = 0;

    for (size_t i = 0; i < size && at + 4 < INTERPRETER_BYTES; i++) {
        unsigned char c = (unsigned char)from[i];
        if (c == '\r')
            at += (size_t)snprintf(to + at, INTERPRETER_BYTES - at, "\\r");
        else
            to[at++] = c < ' ' || c > '~' ? '?' : (char)c;
    }
    to[at] = '\0';
}

/* Find the interpreter of an ELF file of this machine's class. Returns its length; 0: none. */
static size_t elf_interpreter(int fd, const char *head, size_t size, char *to, size_t max)
{
    Elf64_Ehdr e64;
    Elf32_Ehdr e32;
    bool is64 = size >= sizeof(e64) && head[EI_CLASS] == ELFCLASS64;
    uint64_t at, step, count;

    memcpy(&e64, head, size < sizeof(e64) ? size : sizeof(e64));
    memcpy(&e32, head, size < sizeof(e32) ? size : sizeof(e32));
    if (!is64 && size < sizeof(e32))
        return 0;
    at = is64 ? e64.e_phoff : e32.e_phoff;
    step = is64 ? e64.e_phentsize : e32.e_phentsize;
    count = is64 ? e64.e_phnum : e32.e_phnum;
    for (uint64_t i = 0; i < count && i < 64; i++) {
        Elf64_Phdr p64;
        Elf32_Phdr p32;
        size_t part = is64 ? sizeof(p64) : sizeof(p32);
        if (pread(fd, is64 ? (void *)&p64 : (void *)&p32, part, (off_t)(at + i * step)) !=
            (ssize_t)part)
            return 0;
        if ((is64 ? p64.p_type : p32.p_type) != PT_INTERP)
            continue;
        ssize_t n = pread(fd, to, max, (off_t)(is64 ? p64.p_offset : p32.p_offset));
        return n <= 0 ? 0 : strnlen(to, (size_t)n);
    }
    return 0;
}

/* Find the interpreter behind "#!" in the first line. Returns its length; 0: none. */
static size_t script_interpreter(const char *head, size_t size, const char **ret)
{
    size_t from = 2, to;

    if (size < 2 || head[0] != '#' || head[1] != '!')
        return 0;
    while (from < size && (head[from] == ' ' || head[from] == '\t'))
        from++;
    for (to = from; to < size && head[to] != ' ' && head[to] != '\t' && head[to] != '\n'; to++)
        continue;
    *ret = head + from;
    return to - from;
}

static void interpreter_tell(const char *name, size_t length, int error, char *to)
{
    char shown[INTERPRETER_BYTES];

    text_show(name, length, shown);
    if (error == ENOENT && length > 0 && name[length - 1] == '\r')
        snprintf(to, SHIM_DETAIL_BYTES, "lines end in CRLF, not LF: no interpreter \"%.26s\"",
                 shown);
    else if (error == ENOENT)
        snprintf(to, SHIM_DETAIL_BYTES, "its interpreter \"%s\" is not there", shown);
    else
        snprintf(to, SHIM_DETAIL_BYTES, "its interpreter \"%.26s\": %.26s", shown, strerror(error));
}

/* Describe a file whose format the kernel does not know. */
static void format_tell(const char *head, size_t size, char *to)
{
    const char *what = "it is neither a program nor a script with #!";

    if (size == 0)
        what = "the file is empty";
    else if (size >= SELFMAG && memcmp(head, ELFMAG, SELFMAG) == 0)
        what = "a damaged program, or one for another processor";
    else if (memchr(head, '\0', size) == NULL)
        what = "a script must begin with #!, like #!/bin/sh";
    snprintf(to, SHIM_DETAIL_BYTES, "%s: %s", strerror(ENOEXEC), what);
}

/* Describe why execve() of an existing file failed with `error`; empty if the errno says it all. */
static void file_tell(const char *path, int error, char *to)
{
    char head[HEAD_BYTES], loader[INTERPRETER_BYTES];
    struct stat st;
    const char *name = loader;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    to[0] = '\0';
    if (fd < 0)
        return;
    ssize_t n = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? pread(fd, head, sizeof(head), 0) : -1;
    if (n >= 0 && error == ENOEXEC) {
        format_tell(head, (size_t)n, to);
    } else if (n > 0 && (error == ENOENT || error == ELOOP ||
                         (error == EACCES && access(path, X_OK) == 0))) {
        size_t length = script_interpreter(head, (size_t)n, &name);
        if (length == 0 && n > SELFMAG && memcmp(head, ELFMAG, SELFMAG) == 0)
            length = elf_interpreter(fd, head, (size_t)n, loader, sizeof(loader));
        if (length > 0)
            interpreter_tell(name, length, error, to);
    }
    close(fd);
}

static const char *path_of(char *const *env)
{
    for (; *env != NULL; env++)
        if (strncmp(*env, "PATH=", 5) == 0)
            return *env + 5;
    return "/usr/bin:/bin";
}

/* This file is not usable, but a later one in PATH may be. */
static bool worth_looking_on(int error)
{
    return error == ENOENT || error == ENOTDIR || error == EACCES || error == ESTALE ||
           error == ENODEV || error == ETIMEDOUT || error == ENAMETOOLONG;
}

static int exec_file(const char *path, char *const *argv, char *const *env, char *detail)
{
    execve(path, argv, env);
    int error = errno;
    file_tell(path, error, detail);
    return error;
}

int task_exec(char *const *argv, char *const *env, char detail[SHIM_DETAIL_BYTES])
{
    char path[EXEC_PATH_BYTES];
    int denied = 0;

    detail[0] = '\0';
    if (argv[0][0] == '\0')
        return ENOENT;
    if (strchr(argv[0], '/') != NULL)
        return exec_file(argv[0], argv, env, detail);
    for (const char *at = path_of(env), *end; at != NULL; at = *end == '\0' ? NULL : end + 1) {
        end = strchrnul(at, ':');
        int size = snprintf(path, sizeof(path), "%.*s%s%s", (int)(end - at), at,
                            end == at ? "" : "/", argv[0]);
        if (size < 0 || (size_t)size >= sizeof(path))
            continue;
        int error = exec_file(path, argv, env, detail);
        if (!worth_looking_on(error) || detail[0] != '\0')
            return error;
        denied = error == EACCES ? EACCES : denied;
    }
    return denied != 0 ? denied : ENOENT;
}
