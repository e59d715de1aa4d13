/*
 * world_thread.c - threads as coroutines: the world resumes each, and it runs until it waits.
 *
 * A thread is a second stack in the same process. It yields when it waits for a condition, when the
 * seed lets another thread run first (before it takes a lock), and at its end. Code of the loop
 * waits for a thread only in uv_thread_join(), which runs the thread to its end.
 */
#include "world_impl.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

enum { STACK_BYTES = 2097152, WAKE_US = 200, PAUSE_US = 3000, PAUSES_OF_100 = 10 };

struct thread {
    struct sim_event ev; /* resumes the thread */
    struct list link;
    ucontext_t context;
    uv_thread_cb entry;
    void *arg;
    void *stack;
    uv_cond_t *waits_for; /* NULL: it does not wait */
    bool done;
};

static struct thread *thread_now; /* NULL: the world's own stack */
static ucontext_t world_context;
static void *stacks_free[NODES_MAX];
static unsigned stacks_free_count;

bool in_thread(void)
{
    return thread_now != NULL;
}

static void *stack_new(void)
{
    if (stacks_free_count > 0)
        return stacks_free[--stacks_free_count];
    void *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stack == MAP_FAILED)
        PANIC("no memory for a thread");
    return stack;
}

static void thread_free(struct thread *t)
{
    list_remove(&t->link);
    event_cancel(&t->ev);
    if (stacks_free_count < ARRAY_SIZE(stacks_free))
        stacks_free[stacks_free_count++] = t->stack;
    else
        munmap(t->stack, STACK_BYTES);
    free(t);
}

static void thread_main(void)
{
    struct thread *t = thread_now;
    t->entry(t->arg);
    t->done = true;
    swapcontext(&t->context, &world_context);
}

static void thread_run(struct thread *t)
{
    ASSERT(thread_now == NULL && !t->done);
    thread_now = t;
    swapcontext(&world_context, &t->context);
    thread_now = NULL;
}

static void thread_fire(struct sim_event *ev)
{
    thread_run(CONTAINER_OF(ev, struct thread, ev));
}

static void thread_yield(void)
{
    struct thread *t = thread_now;
    swapcontext(&t->context, &world_context);
}

int uv_thread_create(uv_thread_t *tid, uv_thread_cb entry, void *arg)
{
    struct node *n = world_current();
    struct thread *t = xcalloc(1, sizeof *t);
    t->ev = (struct sim_event){.node = n, .fire = thread_fire, .kind = EVENT_RAW};
    t->entry = entry;
    t->arg = arg;
    t->stack = stack_new();
    getcontext(&t->context);
    t->context.uc_stack.ss_sp = t->stack;
    t->context.uc_stack.ss_size = STACK_BYTES;
    makecontext(&t->context, thread_main, 0);
    list_push(&n->threads, &t->link);
    event_in(&t->ev, world_random(WAKE_US));
    *tid = (uv_thread_t)(uintptr_t)t;
    return 0;
}

int uv_thread_join(uv_thread_t *tid)
{
    struct thread *t = (struct thread *)(uintptr_t)*tid;
    ASSERT(thread_now == NULL);
    while (!t->done) {
        if (t->waits_for != NULL)
            PANIC("a thread is joined that waits for ever");
        event_cancel(&t->ev);
        thread_run(t);
    }
    thread_free(t);
    return 0;
}

void node_threads_forget(struct node *n)
{
    for (struct list *l; (l = list_pop(&n->threads)) != NULL;)
        thread_free(CONTAINER_OF(l, struct thread, link));
}

/* No lock is held while another thread runs, because a thread yields only without a lock. */

int uv_mutex_init(uv_mutex_t *mutex)
{
    (void)mutex;
    return 0;
}

void uv_mutex_destroy(uv_mutex_t *mutex)
{
    (void)mutex;
}

void uv_mutex_lock(uv_mutex_t *mutex)
{
    (void)mutex;
    if (thread_now != NULL && world_chance(PAUSES_OF_100, 100)) {
        event_in(&thread_now->ev, world_random(PAUSE_US));
        thread_yield();
    }
}

void uv_mutex_unlock(uv_mutex_t *mutex)
{
    (void)mutex;
}

int uv_cond_init(uv_cond_t *cond)
{
    (void)cond;
    return 0;
}

void uv_cond_destroy(uv_cond_t *cond)
{
    (void)cond;
}

void uv_cond_wait(uv_cond_t *cond, uv_mutex_t *mutex)
{
    (void)mutex;
    if (thread_now == NULL)
        PANIC("a loop waits for a thread");
    thread_now->waits_for = cond;
    thread_yield();
}

void uv_cond_broadcast(uv_cond_t *cond)
{
    LIST_EACH(l, &world_current()->threads)
    {
        struct thread *t = CONTAINER_OF(l, struct thread, link);
        if (t->waits_for != cond)
            continue;
        t->waits_for = NULL;
        event_in(&t->ev, world_random(WAKE_US));
    }
}

void uv_cond_signal(uv_cond_t *cond)
{
    uv_cond_broadcast(cond); /* every waiting thread checks its condition again */
}
