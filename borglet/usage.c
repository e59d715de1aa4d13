/*
 * usage.c - assign processes to shims and sum up their memory.
 */
#include "usage.h"
#include "clock.h"
#include "processes.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A sample and its intermediate sums. */
struct sum {
    struct usage_sample *sample;
    uint32_t processes;
    int64_t shared_max; /* the largest shared part of a process that PSS does not tell of */
};

static ssize_t text_read(const char *path, char *to, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, to, size - 1);

    if (fd >= 0)
        close(fd);
    to[MAX(n, 0)] = '\0';
    return n;
}

/* Return the PSS of the process; -1: reading it is not permitted. */
static int64_t pss_bytes(pid_t pid)
{
    char path[48], text[2048];
    long long kilobytes;

    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
    if (text_read(path, text, sizeof(text)) <= 0)
        return -1;
    const char *line = strstr(text, "\nPss:");
    return line != NULL && sscanf(line, "\nPss: %lld", &kilobytes) == 1 ? kilobytes * 1024 : -1;
}

static int64_t shared_pages(pid_t pid)
{
    char path[40], text[256];
    long long shared;

    snprintf(path, sizeof(path), "/proc/%d/statm", pid);
    if (text_read(path, text, sizeof(text)) <= 0 || sscanf(text, "%*d %*d %lld", &shared) != 1)
        return 0;
    return shared;
}

static void ram_add(struct sum *sum, const struct process *process, uint64_t pss_until_ms)
{
    int64_t page_bytes = sysconf(_SC_PAGESIZE), rss = process->rss_pages * page_bytes;

    if (sum->processes == 1) {
        sum->sample->ram_bytes += rss;
        return;
    }
    int64_t pss = rss > 0 && clock_mono_ms() < pss_until_ms ? pss_bytes(process->pid) : -1;
    if (rss <= 0 || pss >= 0) {
        sum->sample->ram_bytes += MAX(pss, 0);
        return;
    }
    int64_t shared = MIN(shared_pages(process->pid) * page_bytes, rss);
    sum->sample->ram_bytes += rss - shared;
    sum->shared_max = MAX(sum->shared_max, shared);
}

static int sum_order(const void *a, const void *b)
{
    const struct sum *x = a, *y = b;

    return x->sample->shim < y->sample->shim ? -1 : x->sample->shim > y->sample->shim;
}

static struct sum *sum_find(struct sum *sums, size_t count, pid_t shim)
{
    struct usage_sample sample = {.shim = shim};
    struct sum key = {.sample = &sample};

    return shim <= 0 ? NULL : bsearch(&key, sums, count, sizeof(*sums), sum_order);
}

static void sums_fill(struct sum *sums, size_t count, struct process *all, size_t process_count)
{
    uint64_t tick_ms = 1000 / (uint64_t)MAX(sysconf(_SC_CLK_TCK), 1L);
    uint64_t pss_until_ms = clock_mono_ms() + USAGE_PSS_MS;

    for (size_t i = 0; i < process_count; i++) {
        struct sum *own = sum_find(sums, count, all[i].pid);
        struct sum *sum = sum_find(sums, count, all[i].root);
        if (own != NULL) /* the shim's own time is not the task's */
            own->sample->cpu_ms += all[i].children_ticks * tick_ms;
        if (sum == NULL)
            continue;
        sum->processes++;
        if (own == NULL)
            sum->sample->cpu_ms += (all[i].cpu_ticks + all[i].children_ticks) * tick_ms;
    }
    for (size_t i = 0; i < process_count; i++) {
        struct sum *sum = sum_find(sums, count, all[i].root);
        if (sum != NULL)
            ram_add(sum, &all[i], pss_until_ms);
    }
    for (size_t i = 0; i < count; i++)
        sums[i].sample->ram_bytes += sums[i].shared_max;
}

bool usage_measure(struct usage_sample *samples, size_t count)
{
    size_t process_count;
    struct process *all = count == 0 ? NULL : processes_read(&process_count);
    struct sum *sums = xcalloc(MAX(count, (size_t)1), sizeof(*sums));
    pid_t *shims = xcalloc(MAX(count, (size_t)1), sizeof(*shims));

    for (size_t i = 0; i < count; i++) {
        samples[i].cpu_ms = 0;
        samples[i].ram_bytes = 0;
        sums[i].sample = &samples[i];
    }
    qsort(sums, count, sizeof(*sums), sum_order);
    for (size_t i = 0; i < count; i++)
        shims[i] = sums[i].sample->shim;
    bool known = all != NULL || count == 0;
    if (all != NULL) {
        processes_descend(all, process_count, shims, count);
        sums_fill(sums, count, all, process_count);
    }
    free(shims);
    free(sums);
    free(all);
    return known;
}
