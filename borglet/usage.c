/*
 * usage.c - reads /proc/PID/stat of all processes once.
 */
#include "usage.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct process {
    int session;
    unsigned long long cpu_ticks;
    long long rss_pages;
};

static bool process_read(const char *pid, struct process *ret)
{
    char path[300], text[1024];
    unsigned long long utime, stime;
    long long cutime, cstime;

    snprintf(path, sizeof(path), "/proc/%.255s/stat", pid);
    FILE *f = fopen(path, "re");
    size_t n = f == NULL ? 0 : fread(text, 1, sizeof(text) - 1, f);
    if (f != NULL)
        fclose(f);
    text[n] = '\0';
    const char *rest = strrchr(text, ')'); /* a command's name may hold anything */
    if (rest == NULL ||
        sscanf(rest + 1,
               " %*c %*d %*d %d %*d %*d %*u %*u %*u %*u %*u %llu %llu %lld %lld %*d %*d %*d %*d "
               "%*u %*u %lld",
               &ret->session, &utime, &stime, &cutime, &cstime, &ret->rss_pages) != 6)
        return false;
    ret->cpu_ticks = utime + stime + (unsigned long long)(MAX(cutime, 0) + MAX(cstime, 0));
    return true;
}

void usage_measure(struct usage_sample *samples, size_t count)
{
    uint64_t tick_ms = 1000 / (uint64_t)MAX(sysconf(_SC_CLK_TCK), 1L);
    int64_t page_bytes = sysconf(_SC_PAGESIZE);
    DIR *dir = count == 0 ? NULL : opendir("/proc");
    struct dirent *item;
    struct process process;

    for (size_t i = 0; i < count; i++)
        samples[i].cpu_ms = 0, samples[i].ram_bytes = 0;
    while (dir != NULL && (item = readdir(dir)) != NULL) {
        if (item->d_name[0] < '1' || item->d_name[0] > '9' || !process_read(item->d_name, &process))
            continue;
        for (size_t i = 0; i < count; i++) {
            if (samples[i].session != process.session)
                continue;
            samples[i].cpu_ms += process.cpu_ticks * tick_ms;
            samples[i].ram_bytes += process.rss_pages * page_bytes;
            break;
        }
    }
    if (dir != NULL)
        closedir(dir);
}
