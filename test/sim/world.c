/*
 * world.c - time, events, randomness, nodes.
 */
#include "world_impl.h"

#include "hash.h"

#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEAP_ARITY = 4, COND_LOOK_MS = 10, EPOCH_US = 1000000, KEEP_BYTES = 16 << 20 };

struct heap_entry {
    uint64_t at_us;
    uint64_t seq;
    struct sim_event *ev;
};

struct post {
    struct sim_event ev;
    void (*fn)(void *data);
    void *data;
};

static struct {
    struct heap_entry *heap; /* indexes start at 1 */
    uint32_t heap_count, heap_capacity;
    uint64_t next_seq;
    uint64_t events;
    uint64_t trace_hash;
    uint64_t random_state;
    uint64_t seed;
    struct node *nodes[NODES_MAX];
    unsigned node_count;
    struct node *current;
    bool running;    /* in world_run */
    jmp_buf crashed; /* continues here after a node has crashed itself */
} world;

uint64_t the_world_now_us;

/* Memory of crashed nodes is leaked on purpose. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}

uint64_t random_from(uint64_t *state)
{
    return hash_u64(*state += UINT64_C(0x9e3779b97f4a7c15));
}

uint64_t world_random(uint64_t below)
{
    ASSERT(below > 0);
    return (uint64_t)(((__uint128_t)random_from(&world.random_state) * below) >> 64);
}

bool world_chance(uint64_t part, uint64_t from)
{
    return part > 0 && world_random(from) < part;
}

/* The heap: each node has four children; ordered by time, then by seq. */

static bool earlier(const struct heap_entry *a, const struct heap_entry *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->seq < b->seq;
}

static void heap_set(uint32_t slot, struct heap_entry entry)
{
    world.heap[slot] = entry;
    entry.ev->slot = slot;
}

static void heap_up(uint32_t slot, struct heap_entry entry)
{
    while (slot > 1) {
        uint32_t parent = (slot - 2) / HEAP_ARITY + 1;
        if (!earlier(&entry, &world.heap[parent]))
            break;
        heap_set(slot, world.heap[parent]);
        slot = parent;
    }
    heap_set(slot, entry);
}

static void heap_down(uint32_t slot, struct heap_entry entry)
{
    for (;;) {
        uint32_t first = (slot - 1) * HEAP_ARITY + 2, best = 0;
        for (uint32_t c = first; c < first + HEAP_ARITY && c <= world.heap_count; c++)
            if (best == 0 || earlier(&world.heap[c], &world.heap[best]))
                best = c;
        if (best == 0 || !earlier(&world.heap[best], &entry))
            break;
        heap_set(slot, world.heap[best]);
        slot = best;
    }
    heap_set(slot, entry);
}

void event_cancel(struct sim_event *ev)
{
    uint32_t slot = ev->slot;
    if (slot == 0)
        return;
    ASSERT(world.heap[slot].ev == ev);
    ev->slot = 0;
    struct heap_entry last = world.heap[world.heap_count--];
    if (last.ev == ev)
        return;
    if (slot > 1 && earlier(&last, &world.heap[(slot - 2) / HEAP_ARITY + 1]))
        heap_up(slot, last);
    else
        heap_down(slot, last);
}

void event_at(struct sim_event *ev, uint64_t at_us)
{
    event_cancel(ev);
    ASSERT(ev->fire != NULL);
    ev->at_us = MAX(at_us, the_world_now_us);
    ev->seq = ++world.next_seq;
    if (world.heap_count + 2 > world.heap_capacity) {
        world.heap_capacity = MAX(1024u, world.heap_capacity * 2);
        world.heap = xrealloc(world.heap, world.heap_capacity, sizeof *world.heap);
    }
    heap_up(++world.heap_count, (struct heap_entry){ev->at_us, ev->seq, ev});
}

void event_in(struct sim_event *ev, uint64_t us)
{
    event_at(ev, the_world_now_us + us);
}

void events_forget(struct node *n)
{
    uint32_t kept = 0;
    for (uint32_t i = 1; i <= world.heap_count; i++) {
        if (world.heap[i].ev->node == n)
            world.heap[i].ev->slot = 0;
        else
            world.heap[++kept] = world.heap[i];
    }
    uint32_t count = kept;
    world.heap_count = 0;
    for (uint32_t i = 1; i <= count; i++) /* entries only move up, to places that have been read */
        heap_up(++world.heap_count, world.heap[i]);
}

static void event_fire(struct sim_event *ev)
{
    struct node *n = ev->node;
    the_world_now_us = ev->at_us;
    if (n != NULL && ev->kind != EVENT_RAW && n->stalled_until_us > ev->at_us) {
        event_cancel(ev);
        event_at(ev, n->stalled_until_us);
        return;
    }
    event_cancel(ev);
    world.events++;
    world.trace_hash = hash_u64(world.trace_hash ^ (ev->at_us << 12) ^ (ev->kind << 8) ^
                                (n != NULL ? n->number + 1 : 0));
    world.current = n;
    if (ev->kind == EVENT_RAW)
        ev->fire(ev);
    else
        loop_turn(n, ev);
    world.current = NULL;
}

static void world_run_until_us(uint64_t until_us)
{
    ASSERT(!world.running);
    world.running = true;
    (void)_setjmp(world.crashed);
    world.current = NULL;
    while (world.heap_count > 0 && world.heap[1].at_us <= until_us)
        event_fire(world.heap[1].ev);
    the_world_now_us = until_us;
    world.running = false;
}

void world_run_ms(uint64_t ms)
{
    world_run_until_us(the_world_now_us + ms * 1000);
}

bool world_run_until(bool (*cond)(void *data), void *data, uint64_t ms_max)
{
    uint64_t end_us = the_world_now_us + ms_max * 1000;
    while (!cond(data)) {
        if (the_world_now_us >= end_us)
            return false;
        world_run_until_us(MIN(end_us, the_world_now_us + COND_LOOK_MS * 1000));
    }
    return true;
}

static void post_fire(struct sim_event *ev)
{
    struct post *post = CONTAINER_OF(ev, struct post, ev);
    void (*fn)(void *) = post->fn;
    void *data = post->data;
    free(post);
    fn(data);
}

static void post(struct node *n, uint64_t ms, void (*fn)(void *data), void *data)
{
    struct post *post = xcalloc(1, sizeof *post);
    post->ev =
        (struct sim_event){.node = n, .fire = post_fire, .kind = n != NULL ? EVENT_IO : EVENT_RAW};
    post->fn = fn;
    post->data = data;
    event_in(&post->ev, ms * 1000);
}

void world_post(uint64_t ms, void (*fn)(void *data), void *data)
{
    post(NULL, ms, fn, data);
}

void node_post(struct node *n, uint64_t ms, void (*fn)(void *data), void *data)
{
    if (n->up)
        post(n, ms, fn, data);
}

uint64_t world_now_us(void)
{
    return the_world_now_us;
}

uint64_t world_now_ms(void)
{
    return the_world_now_us / 1000;
}

uint64_t world_trace_hash(void)
{
    return world.trace_hash;
}

uint64_t world_events(void)
{
    return world.events;
}

void world_broken(const char *fmt, ...)
{
    va_list args;
    struct node *n = world.current;
    fprintf(stderr, "BROKEN seed=%" PRIu64 " at %" PRIu64 ".%06" PRIu64 " s%s%s: ", world.seed,
            the_world_now_us / 1000000, the_world_now_us % 1000000, n != NULL ? " on " : "",
            n != NULL ? n->name : "");
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
    fflush(NULL);
    _Exit(1);
}

void world_begin(const struct world_options *options)
{
    ASSERT(world.node_count == 0 && world.next_seq == 0);
    world.seed = options->seed;
    world.random_state = hash_u64(options->seed + 1);
    the_world_now_us = EPOCH_US;
    /* keep freed memory, because images are allocated and freed often */
    mallopt(M_MMAP_THRESHOLD, KEEP_BYTES);
    mallopt(M_TRIM_THRESHOLD, KEEP_BYTES);
    mallopt(M_TOP_PAD, KEEP_BYTES / 64);
    world_log_begin(options->trace);
}

/* Nodes */

struct node *world_node_new(const char *name)
{
    ASSERT(world.node_count < NODES_MAX);
    ASSERT(world_node(name) == NULL);
    struct node *n = xcalloc(1, sizeof *n);
    str_copy(n->name, sizeof n->name, name);
    n->number = world.node_count;
    n->replica = -1;
    list_init(&n->conns);
    list_init(&n->listeners);
    list_init(&n->threads);
    world.nodes[world.node_count++] = n;
    return n;
}

struct node *world_node_at(unsigned number)
{
    return number < world.node_count ? world.nodes[number] : NULL;
}

struct node *world_node(const char *name)
{
    for (unsigned i = 0; i < world.node_count; i++)
        if (strcmp(world.nodes[i]->name, name) == 0)
            return world.nodes[i];
    return NULL;
}

const char *node_name(const struct node *n)
{
    return n->name;
}

uv_loop_t *node_loop(struct node *n)
{
    return &n->loop;
}

struct node *world_current(void)
{
    return world.current;
}

struct node *node_enter(struct node *n)
{
    struct node *before = world.current;
    world.current = n;
    return before;
}

void node_leave(struct node *before)
{
    world.current = before;
}

bool node_up(const struct node *n)
{
    return n->up;
}

uint64_t node_life(const struct node *n)
{
    return n->life;
}

void node_set_boot(struct node *n, void (*boot)(void *data), void *data)
{
    n->boot = boot;
    n->boot_data = data;
}

void node_restart(struct node *n)
{
    ASSERT(!n->up);
    n->up = true;
    n->life++;
    n->stalled_until_us = 0;
    n->random_state = world_random(UINT64_MAX);
    n->mono_base_us = world_random(UINT64_C(1000000000000));
    world_say("start %s", n->name);
    post(n, 0, n->boot, n->boot_data);
}

void node_crash(struct node *n)
{
    if (!n->up)
        return;
    ASSERT(!in_thread());
    world_say("crash %s", n->name);
    n->up = false;
    node_replica_forget(n);
    node_raft_forget(n);
    node_disk_forget(n);
    node_store_forget(n);
    node_conns_forget(n);
    node_threads_forget(n);
    node_handles_forget(n);
    events_forget(n);
    if (world.current == n)
        _longjmp(world.crashed, 1);
}

void node_stall(struct node *n, uint64_t ms)
{
    world_say("stall %s for %" PRIu64 " ms", n->name, ms);
    n->stalled_until_us = MAX(n->stalled_until_us, the_world_now_us + ms * 1000);
}

bool node_stalled(const struct node *n)
{
    return n->stalled_until_us > the_world_now_us;
}

static int by_seq(const void *a, const void *b)
{
    const struct sim_event *const *x = a, *const *y = b;
    return ((*x)->seq > (*y)->seq) - ((*x)->seq < (*y)->seq);
}

/* Deliver the postponed events in their order. */
void node_wake(struct node *n)
{
    uint64_t until_us = n->stalled_until_us;
    n->stalled_until_us = 0;
    if (until_us <= the_world_now_us)
        return;
    struct sim_event **waiting = xcalloc(world.heap_count + 1, sizeof(struct sim_event *));
    size_t count = 0;
    for (uint32_t i = 1; i <= world.heap_count; i++) {
        struct sim_event *ev = world.heap[i].ev;
        if (ev->node == n && ev->kind != EVENT_RAW && ev->at_us == until_us)
            waiting[count++] = ev;
    }
    qsort(waiting, count, sizeof(struct sim_event *), by_seq);
    for (size_t i = 0; i < count; i++)
        event_in(waiting[i], 0);
    free(waiting);
}

void node_set_clock(struct node *n, int64_t ahead_ms)
{
    n->clock_ahead_ms = ahead_ms;
}

int64_t node_clock_ahead_ms(const struct node *n)
{
    return n->clock_ahead_ms;
}
