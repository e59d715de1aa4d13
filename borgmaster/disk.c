/*
 * disk.c - asks the file system in libuv's pool.
 */
#include "disk.h"

#include "clock.h"

#include <ftw.h>
#include <stdlib.h>
#include <sys/statvfs.h>

struct disk {
    const char *dir;
    uv_timer_t timer;
    uv_work_t work;
    bool asking;
    struct disk_answer last, next; /* the pool thread writes only `next` */
    uint64_t answered_ms;
};

static _Thread_local uint64_t walked_bytes; /* nftw() passes no data to its callback */

static int on_file(const char *path UNUSED, const struct stat *st, int kind, struct FTW *at UNUSED)
{
    if (kind == FTW_F)
        walked_bytes += (uint64_t)st->st_blocks * 512;
    return 0;
}

/* Runs in the pool. A file that is removed meanwhile does not count. */
static void disk_ask(uv_work_t *work)
{
    struct disk *disk = work->data;
    struct statvfs fs;
    disk->next = (struct disk_answer){0};
    if (statvfs(disk->dir, &fs) == 0) {
        disk->next.free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
        disk->next.bytes = (uint64_t)fs.f_blocks * fs.f_frsize;
    }
    walked_bytes = 0;
    (void)nftw(disk->dir, on_file, 8, FTW_PHYS);
    disk->next.used_bytes = walked_bytes;
}

static void on_asked(uv_work_t *work, int status UNUSED)
{
    struct disk *disk = work->data;
    disk->asking = false;
    disk->last = disk->next;
    disk->answered_ms = clock_mono_ms();
}

static void on_timer(uv_timer_t *timer)
{
    struct disk *disk = timer->data;
    if (disk->asking)
        return;
    disk->asking = uv_queue_work(timer->loop, &disk->work, disk_ask, on_asked) == 0;
}

struct disk *disk_new(uv_loop_t *loop, const char *dir)
{
    struct disk *disk = xcalloc(1, sizeof *disk);
    disk->dir = dir;
    disk->answered_ms = clock_mono_ms();
    disk->work.data = disk;
    uv_timer_init(loop, &disk->timer);
    disk->timer.data = disk;
    uv_timer_start(&disk->timer, on_timer, 0, DISK_ASK_MS);
    return disk;
}

struct disk_answer disk_last(const struct disk *disk)
{
    return disk->last;
}

uint64_t disk_silent_ms(const struct disk *disk)
{
    return clock_mono_ms() - disk->answered_ms;
}
