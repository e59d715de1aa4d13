/*
 * driver.c - run a fuzz target without libFuzzer: its corpus, then random mutations.
 *
 *     fuzz_TARGET [--seconds N] [--seed N] [FILE|DIRECTORY...]
 *
 * The test suite uses it with any compiler; `make fuzz` links libFuzzer instead, which also
 * measures coverage. Apart from its duration a run is a function of seed and corpus. An input that
 * aborts, or needs more than INPUT_CPU_S of cpu time, is left as crash-TARGET in the working
 * directory.
 */
#include "base.h"
#include "clock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

enum { INPUTS_MAX = 4096, INPUT_BYTES_MAX = 65536, INPUT_CPU_S = 10, MUTATIONS_MAX = 6 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
size_t LLVMFuzzerMutate(uint8_t *bytes, size_t size, size_t size_max);
/* Targets that know the structure of their input define a mutator. */
__attribute__((weak)) size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t size, size_t size_max,
                                                     unsigned int seed);

struct input {
    uint8_t *bytes;
    size_t size;
};

static struct input inputs[INPUTS_MAX];
static size_t input_count;
static uint8_t present[INPUT_BYTES_MAX]; /* the present input */
static size_t present_size;
static char crash_path[256];
static pid_t own_pid;
static uint64_t draws;

static uint64_t draw(uint64_t below)
{
    draws ^= draws << 13;
    draws ^= draws >> 7;
    draws ^= draws << 17;
    return below == 0 ? 0 : draws % below;
}

/* Keep the present input for analysis, then die by the same signal. A child that is meant to die
 * keeps nothing. */
static void driver_on_death(int sig)
{
    static const char told[] = "fuzz: the failing input is kept as ";
    int fd =
        getpid() == own_pid ? open(crash_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;
    bool kept = fd >= 0 && write(fd, present, present_size) == (ssize_t)present_size;
    if (kept && write(STDERR_FILENO, told, sizeof told - 1) > 0 &&
        write(STDERR_FILENO, crash_path, strlen(crash_path)) > 0 &&
        write(STDERR_FILENO, "\n", 1) > 0)
        close(fd);
    signal(sig, SIG_DFL);
    raise(sig);
}

static void watch_death(const char *program)
{
    static const int signals[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGVTALRM};
    const char *name = strrchr(program, '/');
    own_pid = getpid();
    snprintf(crash_path, sizeof crash_path, "crash-%s", name != NULL ? name + 1 : program);
    for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
        signal(signals[i], driver_on_death);
}

#ifdef __SANITIZE_ADDRESS__
/* Make the sanitizers abort, so that driver_on_death() is called. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "abort_on_error=1:handle_abort=0:handle_segv=0:allocator_may_return_null=1";
}
const char *__ubsan_default_options(void);
const char *__ubsan_default_options(void)
{
    return "abort_on_error=1:print_stacktrace=1";
}
#endif

static void run(const uint8_t *bytes, size_t size)
{
    struct itimerval limit = {.it_value = {.tv_sec = INPUT_CPU_S}};
    memcpy(present, bytes, size);
    present_size = size;
    setitimer(ITIMER_VIRTUAL, &limit, NULL);
    /* Copy the input into an allocation of its exact size, so that reads beyond it are detected. */
    uint8_t *copy = xcalloc(MAX(size, (size_t)1), 1);
    memcpy(copy, bytes, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static void input_add(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        PANIC("%s: %s", path, strerror(errno));
    if (input_count == INPUTS_MAX)
        PANIC("more than %d inputs", INPUTS_MAX);
    struct input *input = &inputs[input_count++];
    input->bytes = xcalloc(INPUT_BYTES_MAX, 1);
    ssize_t n = read(fd, input->bytes, INPUT_BYTES_MAX);
    if (n < 0)
        PANIC("%s: %s", path, strerror(errno));
    input->size = (size_t)n;
    close(fd);
}

static void inputs_add(const char *path)
{
    struct stat st;
    struct dirent **entries;
    if (stat(path, &st) != 0)
        PANIC("%s: %s", path, strerror(errno));
    if (!S_ISDIR(st.st_mode)) {
        input_add(path);
        return;
    }
    int count = scandir(path, &entries, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        char file[1024];
        snprintf(file, sizeof file, "%s/%s", path, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.')
            input_add(file);
        free(entries[i]);
    }
    free(entries);
}

static size_t insert(uint8_t *bytes, size_t size, size_t size_max, const uint8_t *what, size_t n)
{
    size_t at = (size_t)draw(size + 1);
    n = MIN(n, size_max - size);
    memmove(bytes + at + n, bytes + at, size - at);
    memmove(bytes + at, what, n);
    return size + n;
}

/* Insert a part of another input of the corpus. */
static size_t insert_other(uint8_t *bytes, size_t size, size_t size_max)
{
    const struct input *other = &inputs[draw(input_count)];
    if (other->size == 0)
        return size;
    size_t from = (size_t)draw(other->size);
    return insert(bytes, size, size_max, other->bytes + from,
                  1 + (size_t)draw(MIN(other->size - from, (size_t)64)));
}

static size_t mutate_once(uint8_t *bytes, size_t size, size_t size_max)
{
    static const uint8_t telling[] = {0,    1,    0x7f, 0x80, 0xff, 0xc0, 0xc1, 0xdc, 0xdd,
                                      0xde, 0xdf, 0xc6, 0xcf, 0xd3, '\n', ' ',  '"',  '{'};
    uint8_t any[16];
    size_t at = (size_t)draw(size), n;
    switch (size == 0 ? 4 : draw(8)) {
    case 0:
        bytes[at] ^= (uint8_t)(1U << draw(8));
        return size;
    case 1:
        bytes[at] = telling[draw(ARRAY_SIZE(telling))];
        return size;
    case 2:
        bytes[at] = (uint8_t)draw(256);
        return size;
    case 3: /* remove a part */
        n = 1 + (size_t)draw(MIN(size - at, (size_t)32));
        memmove(bytes + at, bytes + at + n, size - at - n);
        return size - n;
    case 4:
        for (size_t i = 0; i < sizeof any; i++)
            any[i] = draw(2) == 0 ? telling[draw(ARRAY_SIZE(telling))] : (uint8_t)draw(256);
        return insert(bytes, size, size_max, any, 1 + (size_t)draw(sizeof any));
    case 5: /* duplicate a part */
        n = MIN(1 + (size_t)draw(MIN(size - at, (size_t)64)), size_max - size);
        memmove(bytes + at + n, bytes + at, size - at);
        return size + n;
    case 6: /* cut the end */
        return size - (size_t)draw(MIN(size, (size_t)64));
    default:
        return insert_other(bytes, size, size_max);
    }
}

size_t LLVMFuzzerMutate(uint8_t *bytes, size_t size, size_t size_max)
{
    for (uint64_t n = 1 + draw(MUTATIONS_MAX); n > 0; n--)
        size = mutate_once(bytes, size, size_max);
    if (size == 0) /* never empty, as in libFuzzer */
        bytes[size++] = (uint8_t)draw(256);
    return size;
}

static void run_mutated(uint8_t *scratch)
{
    const struct input *input = &inputs[draw(input_count)];
    size_t size = MIN(input->size, (size_t)INPUT_BYTES_MAX / 2);
    memcpy(scratch, input->bytes, size);
    if (LLVMFuzzerCustomMutator != NULL)
        for (uint64_t n = 1 + draw(MUTATIONS_MAX); n > 0; n--)
            size = LLVMFuzzerCustomMutator(scratch, size, INPUT_BYTES_MAX / 2,
                                           (unsigned int)draw(UINT32_MAX));
    else
        size = LLVMFuzzerMutate(scratch, size, INPUT_BYTES_MAX / 2);
    run(scratch, size);
}

int main(int argc, char **argv)
{
    static const struct option longs[] = {
        {"seconds", required_argument, NULL, 's'}, {"seed", required_argument, NULL, 'n'}, {0}};
    uint64_t seconds = 0, seed = 1, count = 0;
    for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
        if (c != 's' && c != 'n')
            return 2;
        *(c == 's' ? &seconds : &seed) = strtoull(optarg, NULL, 10);
    }
    watch_death(argv[0]);
    draws = seed * 0x9e3779b97f4a7c15 | 1;
    for (int i = optind; i < argc; i++)
        inputs_add(argv[i]);
    if (input_count == 0) { /* start with an empty input */
        inputs[0].bytes = xcalloc(1, 1);
        input_count = 1;
    }
    for (size_t i = 0; i < input_count; i++, count++)
        run(inputs[i].bytes, inputs[i].size);
    uint8_t *scratch = xcalloc(INPUT_BYTES_MAX, 1);
    for (uint64_t end_ms = clock_mono_ms() + seconds * 1000; clock_mono_ms() < end_ms; count++)
        run_mutated(scratch);
    printf("%" PRIu64 " inputs, %zu of them from the corpus, seed %" PRIu64 "\n", count,
           input_count, seed);
    free(scratch);
    for (size_t i = 0; i < input_count; i++)
        free(inputs[i].bytes);
    return 0;
}
