/*
 * world_uv.c - the part of libuv that the product uses, on virtual time.
 *
 * A turn of a loop has libuv's order: input, check, closing, timers, idle, prepare; while a handle
 * is idle or closing, the next turn follows at once. Work takes no time: a turn is one moment.
 */
#include "world_impl.h"

#include <stdlib.h>
#include <string.h>

enum { HANDLE_ACTIVE = 1, HANDLE_CLOSING = 2, HANDLE_CLOSED = 4 };
enum { TURNS_MAX = 10000, ASYNC_US = 100, WORK_US = 20000 };

struct timer {
    struct sim_event ev;
    uv_timer_t *handle;
};

struct async {
    struct sim_event ev;
    uv_async_t *handle;
};

struct work {
    struct sim_event ev;
    uv_work_t *req;
};

static struct node *node_of(const uv_loop_t *loop)
{
    return CONTAINER_OF(loop, struct node, loop);
}

uint64_t node_mono_us(const struct node *n)
{
    return n->mono_base_us + the_world_now_us;
}

uint64_t uv_now(const uv_loop_t *loop)
{
    return node_mono_us(node_of(loop)) / 1000;
}

uint64_t uv_hrtime(void)
{
    struct node *n = world_current();
    return (n != NULL ? node_mono_us(n) : the_world_now_us) * 1000;
}

/* Turns */

static void run_checks(struct node *n)
{
    for (unsigned i = 0; i < n->check_count; i++)
        n->checks[i]->check_cb(n->checks[i]);
}

static void run_closing(struct node *n)
{
    while (n->closing != NULL) {
        uv_handle_t *handle = n->closing;
        n->closing = handle->next_closing;
        handle->flags |= HANDLE_CLOSED;
        if (handle->close_cb != NULL)
            handle->close_cb(handle);
    }
}

static void run_idle_and_prepare(struct node *n)
{
    for (unsigned i = 0; i < n->idle_count; i++)
        n->idles[i]->idle_cb(n->idles[i]);
    for (unsigned i = 0; i < n->prepare_count; i++)
        n->prepares[i]->prepare_cb(n->prepares[i]);
}

void loop_turn(struct node *n, struct sim_event *ev)
{
    bool timer = ev->kind == EVENT_TIMER; /* the callback may free the event */
    if (!timer)
        ev->fire(ev);
    run_checks(n);
    run_closing(n);
    if (timer)
        ev->fire(ev);
    run_idle_and_prepare(n);
    for (unsigned turns = 0; n->idle_count > 0 || n->closing != NULL; turns++) {
        if (turns > TURNS_MAX)
            world_broken("the loop of %s never becomes idle", n->name);
        run_checks(n);
        run_closing(n);
        run_idle_and_prepare(n);
    }
}

void node_handles_forget(struct node *n)
{
    n->prepare_count = n->check_count = n->idle_count = 0;
    n->closing = NULL;
}

static void handle_init(uv_loop_t *loop, uv_handle_t *handle, uv_handle_type type)
{
    handle->loop = loop;
    handle->type = type;
    handle->close_cb = NULL;
    handle->flags = 0;
    handle->next_closing = NULL;
}

int uv_is_active(const uv_handle_t *handle)
{
    if (handle->type == UV_ASYNC)
        return (handle->flags & HANDLE_CLOSING) == 0;
    return (handle->flags & HANDLE_ACTIVE) != 0;
}

int uv_is_closing(const uv_handle_t *handle)
{
    return (handle->flags & (HANDLE_CLOSING | HANDLE_CLOSED)) != 0;
}

void uv_close(uv_handle_t *handle, uv_close_cb cb)
{
    ASSERT(!uv_is_closing(handle));
    struct node *n = node_of(handle->loop);
    switch ((int)handle->type) {
    case UV_TIMER:
        uv_timer_stop((uv_timer_t *)handle);
        free(((uv_timer_t *)handle)->heap_node[0]);
        break;
    case UV_PREPARE:
        uv_prepare_stop((uv_prepare_t *)handle);
        break;
    case UV_CHECK:
        uv_check_stop((uv_check_t *)handle);
        break;
    case UV_IDLE:
        uv_idle_stop((uv_idle_t *)handle);
        break;
    case UV_ASYNC: {
        struct async *async = ((uv_async_t *)handle)->queue[0];
        event_cancel(&async->ev);
        free(async);
        break;
    }
    default:
        PANIC("uv_close of a handle of type %d", (int)handle->type);
    }
    handle->flags |= HANDLE_CLOSING;
    handle->close_cb = cb;
    uv_handle_t **at = &n->closing;
    while (*at != NULL)
        at = &(*at)->next_closing;
    handle->next_closing = NULL;
    *at = handle;
}

/* Timers: their event is in heap_node[0] and is made at the first start. */

int uv_timer_init(uv_loop_t *loop, uv_timer_t *handle)
{
    handle_init(loop, (uv_handle_t *)handle, UV_TIMER);
    handle->heap_node[0] = NULL;
    handle->timer_cb = NULL;
    handle->repeat = 0;
    handle->timeout = 0;
    return 0;
}

static void timer_set(uv_timer_t *handle, uint64_t timeout)
{
    struct timer *timer = handle->heap_node[0];
    struct node *n = node_of(handle->loop);
    handle->timeout = uv_now(handle->loop) + timeout;
    handle->flags |= HANDLE_ACTIVE;
    event_at(&timer->ev, handle->timeout * 1000 - n->mono_base_us);
}

static void timer_fire(struct sim_event *ev)
{
    uv_timer_t *handle = CONTAINER_OF(ev, struct timer, ev)->handle;
    handle->flags &= ~(unsigned)HANDLE_ACTIVE;
    if (handle->repeat != 0)
        timer_set(handle, handle->repeat);
    handle->timer_cb(handle);
}

int uv_timer_start(uv_timer_t *handle, uv_timer_cb cb, uint64_t timeout, uint64_t repeat)
{
    if (uv_is_closing((uv_handle_t *)handle) || cb == NULL)
        return UV_EINVAL;
    if (handle->heap_node[0] == NULL) {
        struct timer *timer = xcalloc(1, sizeof *timer);
        timer->ev = (struct sim_event){
            .node = node_of(handle->loop), .fire = timer_fire, .kind = EVENT_TIMER};
        timer->handle = handle;
        handle->heap_node[0] = timer;
    }
    handle->timer_cb = cb;
    handle->repeat = repeat;
    timer_set(handle, timeout);
    return 0;
}

int uv_timer_stop(uv_timer_t *handle)
{
    struct timer *timer = handle->heap_node[0];
    handle->flags &= ~(unsigned)HANDLE_ACTIVE;
    if (timer != NULL)
        event_cancel(&timer->ev);
    return 0;
}

/* Handles of every turn */

#define TURN_HANDLES(name, NAME, array, count) \
    int uv_##name##_init(uv_loop_t *loop, uv_##name##_t *handle) \
    { \
        handle_init(loop, (uv_handle_t *)handle, UV_##NAME); \
        handle->name##_cb = NULL; \
        return 0; \
    } \
    int uv_##name##_start(uv_##name##_t *handle, uv_##name##_cb cb) \
    { \
        struct node *n = node_of(handle->loop); \
        if ((handle->flags & HANDLE_ACTIVE) != 0) \
            return 0; \
        ASSERT(n->count < NODE_HANDLES_MAX); \
        n->array[n->count++] = handle; \
        handle->name##_cb = cb; \
        handle->flags |= HANDLE_ACTIVE; \
        return 0; \
    } \
    int uv_##name##_stop(uv_##name##_t *handle) \
    { \
        struct node *n = node_of(handle->loop); \
        unsigned kept = 0; \
        for (unsigned i = 0; i < n->count; i++) \
            if (n->array[i] != handle) \
                n->array[kept++] = n->array[i]; \
        n->count = kept; \
        handle->flags &= ~(unsigned)HANDLE_ACTIVE; \
        return 0; \
    }

TURN_HANDLES(prepare, PREPARE, prepares, prepare_count)
TURN_HANDLES(check, CHECK, checks, check_count)
TURN_HANDLES(idle, IDLE, idles, idle_count)

/* Calls from other threads: their event is in queue[0]. */

static void async_fire(struct sim_event *ev)
{
    uv_async_t *handle = CONTAINER_OF(ev, struct async, ev)->handle;
    handle->async_cb(handle);
}

int uv_async_init(uv_loop_t *loop, uv_async_t *handle, uv_async_cb cb)
{
    struct async *async = xcalloc(1, sizeof *async);
    handle_init(loop, (uv_handle_t *)handle, UV_ASYNC);
    async->ev = (struct sim_event){.node = node_of(loop), .fire = async_fire, .kind = EVENT_IO};
    async->handle = handle;
    handle->async_cb = cb;
    handle->queue[0] = async;
    return 0;
}

int uv_async_send(uv_async_t *handle)
{
    struct async *async = handle->queue[0];
    if (!uv_is_closing((uv_handle_t *)handle) && !event_set(&async->ev))
        event_in(&async->ev, world_random(ASYNC_US));
    return 0;
}

/* The pool: work is done at one moment, and the loop is notified later. */

static void work_done(struct sim_event *ev)
{
    struct work *work = CONTAINER_OF(ev, struct work, ev);
    uv_work_t *req = work->req;
    free(work);
    if (req->after_work_cb != NULL)
        req->after_work_cb(req, 0);
}

static void work_fire(struct sim_event *ev)
{
    struct work *work = CONTAINER_OF(ev, struct work, ev);
    work->req->work_cb(work->req);
    ev->kind = EVENT_IO;
    ev->fire = work_done;
    event_in(ev, world_random(ASYNC_US));
}

int uv_queue_work(uv_loop_t *loop, uv_work_t *req, uv_work_cb work_cb, uv_after_work_cb after_cb)
{
    struct work *work = xcalloc(1, sizeof *work);
    work->ev = (struct sim_event){.node = node_of(loop), .fire = work_fire, .kind = EVENT_RAW};
    work->req = req;
    req->loop = loop;
    req->work_cb = work_cb;
    req->after_work_cb = after_cb;
    event_in(&work->ev, 1 + world_random(WORK_US));
    return 0;
}
