/*
 * switch.c - the process between the nodes: drops, delays and forwards packets.
 */
#include "net.h"

#include "clock.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    PACKET_BYTES_MAX = 16384,
    WAITING_MAX = 20000,       /* packets; more are dropped, as in a real switch */
    RATE_QUEUE_US_MAX = 500000 /* more are dropped on a slow link */
};

struct packet {
    uint64_t due_us;
    uint64_t number; /* of two packets that are due, the older one goes first */
    uint32_t to;
    uint32_t size;
    unsigned char bytes[];
};

struct fabric {
    const int *tuns;
    uint32_t count;
    struct net_shared *shared;
    uint64_t random;
    uint64_t number;
    uint64_t free_us[NET_NODES_MAX][NET_NODES_MAX]; /* when a slow link has sent its queue */
    struct packet *waiting[WAITING_MAX];            /* a heap, the next one first */
    size_t waiting_count;
};

static bool packet_before(const struct packet *a, const struct packet *b)
{
    return a->due_us != b->due_us ? a->due_us < b->due_us : a->number < b->number;
}

static void heap_swap(struct fabric *f, size_t a, size_t b)
{
    struct packet *packet = f->waiting[a];
    f->waiting[a] = f->waiting[b];
    f->waiting[b] = packet;
}

static void heap_push(struct fabric *f, struct packet *packet)
{
    size_t at = f->waiting_count++;
    f->waiting[at] = packet;
    for (; at > 0 && packet_before(f->waiting[at], f->waiting[(at - 1) / 2]); at = (at - 1) / 2)
        heap_swap(f, at, (at - 1) / 2);
}

static struct packet *heap_pop(struct fabric *f)
{
    struct packet *first = f->waiting[0];
    f->waiting[0] = f->waiting[--f->waiting_count];
    for (size_t at = 0;;) {
        size_t least = at;
        for (size_t child = 2 * at + 1; child <= 2 * at + 2; child++)
            if (child < f->waiting_count && packet_before(f->waiting[child], f->waiting[least]))
                least = child;
        if (least == at)
            return first;
        heap_swap(f, at, least);
        at = least;
    }
}

static uint32_t draw_below(struct fabric *f, uint32_t bound)
{
    f->random ^= f->random >> 12;
    f->random ^= f->random << 25;
    f->random ^= f->random >> 27;
    return (uint32_t)((f->random * UINT64_C(2685821657736338717) >> 32) % bound);
}

/* A full device loses the packet, as a wire would. */
static void deliver(struct fabric *f, uint32_t to, const void *bytes, size_t size)
{
    if (write(f->tuns[to], bytes, size) == (ssize_t)size)
        f->shared->passed++;
    else
        f->shared->lost++;
}

/* Return the time of arrival; 0: never. */
static uint64_t due_us(struct fabric *f, uint32_t from, uint32_t to, size_t size, uint64_t now_us)
{
    const struct net_path *path = &f->shared->paths[from][to];
    uint32_t loss = path->loss_permille, rate = path->rate_kibs, jitter = path->jitter_ms;
    uint64_t due = now_us + path->delay_ms * UINT64_C(1000);
    if (path->cut != 0) {
        f->shared->cut++;
        return 0;
    }
    if (loss > 0 && draw_below(f, 1000) < loss)
        return 0;
    if (rate > 0) {
        uint64_t *free_us = &f->free_us[from][to];
        *free_us = MAX(*free_us, now_us) + size * 1000000 / (rate * UINT64_C(1024));
        if (*free_us > now_us + RATE_QUEUE_US_MAX) {
            *free_us -= size * 1000000 / (rate * UINT64_C(1024));
            return 0;
        }
        due += *free_us - now_us;
    }
    return jitter > 0 ? due + draw_below(f, jitter * 1000) : due;
}

static void packet_take(struct fabric *f, uint32_t from, const unsigned char *bytes, size_t size,
                        uint64_t now_us)
{
    enum { IPV4_HEADER = 20, LAST_OF_DESTINATION = 19 };
    if (size < IPV4_HEADER || bytes[0] >> 4 != 4) /* IPv6 looks for routers, but there are none */
        return;
    uint32_t to = bytes[LAST_OF_DESTINATION] - 1U;
    if (to >= f->count || to == from)
        return;
    uint64_t due = due_us(f, from, to, size, now_us);
    if (due == 0 || f->waiting_count == WAITING_MAX) {
        f->shared->lost++;
    } else if (due == now_us) {
        deliver(f, to, bytes, size);
    } else {
        struct packet *packet = xcalloc(1, sizeof *packet + size);
        *packet = (struct packet){due, f->number++, to, (uint32_t)size};
        memcpy(packet->bytes, bytes, size);
        heap_push(f, packet);
        f->shared->held++;
    }
}

/* Return how long to sleep in milliseconds; -1: until a packet arrives. */
static int deliver_due(struct fabric *f)
{
    while (f->waiting_count > 0) {
        uint64_t now_us = clock_mono_us();
        if (f->waiting[0]->due_us > now_us)
            return (int)((f->waiting[0]->due_us - now_us + 999) / 1000);
        struct packet *packet = heap_pop(f);
        deliver(f, packet->to, packet->bytes, packet->size);
        free(packet);
    }
    return -1;
}

void switch_run(const int *tuns, uint32_t count, struct net_shared *shared, uint64_t seed)
{
    static struct fabric f;
    static unsigned char bytes[PACKET_BYTES_MAX];
    struct pollfd fds[NET_NODES_MAX];
    f = (struct fabric){.tuns = tuns, .count = count, .shared = shared, .random = seed | 1};
    for (uint32_t i = 0; i < count; i++)
        fds[i] = (struct pollfd){.fd = tuns[i], .events = POLLIN};
    for (;;) {
        poll(fds, count, deliver_due(&f));
        uint64_t now_us = clock_mono_us();
        for (uint32_t i = 0; i < count; i++) {
            ssize_t size;
            if ((fds[i].revents & POLLIN) == 0)
                continue;
            while ((size = read(tuns[i], bytes, sizeof bytes)) > 0)
                packet_take(&f, i, bytes, (size_t)size, now_us);
        }
    }
}
