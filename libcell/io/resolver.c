/*
 * resolver.c - the table of names and the threads that look them up.
 */
#include "resolver.h"

#include "clock.h"

#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { THREAD_STACK_BYTES = 524288, WAIT_STEP_MS = 50 };

struct name {
    char host[CELL_ADDR_MAX + 1]; /* "": a free row */
    bool asking;                  /* a thread is looking it up; the row must not move */
    bool known;
    int failure;        /* EAI_ code of the last look-up; 0: success */
    uint64_t used_ms;   /* last use */
    uint64_t wanted_ms; /* since when a new answer is awaited; 0: it is not */
    uint64_t done_ms;   /* end of the last look-up; 0: never */
    struct sockaddr_storage address;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t done; /* a look-up has ended */
    struct name names[RESOLVER_NAMES_MAX];
    unsigned threads;
    resolver_lookup lookup;
    uint64_t fresh_ms;
} the_resolver = {.lock = PTHREAD_MUTEX_INITIALIZER,
                  .done = PTHREAD_COND_INITIALIZER,
                  .fresh_ms = RESOLVER_FRESH_MS};

static int lookup_system(const char *host, struct sockaddr_storage *ret)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int rc = getaddrinfo(host, NULL, &hints, &found);
    if (rc != 0)
        return rc;
    ASSERT(found->ai_addrlen <= sizeof *ret);
    memcpy(ret, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return 0;
}

/* Return whether the failure is permanent (no such host) rather than temporary. */
static bool failure_is_final(int failure)
{
    return failure == EAI_NONAME;
}

static void *name_look_up(void *data)
{
    struct name *name = data;
    struct sockaddr_storage address = {0};
    pthread_mutex_lock(&the_resolver.lock);
    resolver_lookup lookup = the_resolver.lookup != NULL ? the_resolver.lookup : lookup_system;
    pthread_mutex_unlock(&the_resolver.lock);
    int rc = lookup(name->host, &address); /* `host` is not written during a look-up */
    pthread_mutex_lock(&the_resolver.lock);
    name->asking = false;
    name->failure = rc;
    name->done_ms = clock_mono_ms();
    name->wanted_ms = 0;
    if (rc == 0) {
        name->known = true;
        name->address = address;
    } else if (failure_is_final(rc)) {
        name->known = false;
    }
    the_resolver.threads--;
    pthread_cond_broadcast(&the_resolver.done);
    pthread_mutex_unlock(&the_resolver.lock);
    return NULL;
}

static void name_begin(struct name *name)
{
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, before;
    if (the_resolver.threads >= RESOLVER_THREADS_MAX)
        return; /* the next request retries */
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, THREAD_STACK_BYTES);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    sigfillset(&all); /* signals are for the loop */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (pthread_create(&thread, &attr, name_look_up, name) == 0) {
        name->asking = true;
        the_resolver.threads++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
}

/* Return the row of a name; a new name replaces the least recently used one. NULL: all rows have
 * a look-up in progress. */
static struct name *name_of(const char *host)
{
    struct name *oldest = NULL;
    for (size_t i = 0; i < RESOLVER_NAMES_MAX; i++) {
        struct name *name = &the_resolver.names[i];
        if (strcmp(name->host, host) == 0)
            return name;
        if (!name->asking && (oldest == NULL || name->used_ms < oldest->used_ms))
            oldest = name;
    }
    if (oldest == NULL)
        return NULL;
    *oldest = (struct name){0};
    str_copy(oldest->host, sizeof oldest->host, host);
    return oldest;
}

static enum resolver_state name_ask(struct name *name, uint64_t now_ms)
{
    uint64_t keep_ms = name->failure == 0 ? the_resolver.fresh_ms : RESOLVER_FAILED_MS;
    bool fresh = name->done_ms != 0 && now_ms - name->done_ms < keep_ms;
    name->used_ms = now_ms;
    if (!fresh && name->wanted_ms == 0)
        name->wanted_ms = now_ms;
    if (!fresh && !name->asking)
        name_begin(name);
    if (name->known && (fresh || now_ms - name->wanted_ms >= RESOLVER_PATIENCE_MS))
        return RESOLVER_KNOWN;
    return fresh ? RESOLVER_FAILED : RESOLVER_ASKING;
}

static enum resolver_state ask_locked(const char *host, struct sockaddr_storage *ret,
                                      struct err *err)
{
    enum resolver_state state = RESOLVER_FAILED;
    struct name *name = name_of(host);
    if (name != NULL)
        state = name_ask(name, clock_mono_ms());
    if (name == NULL)
        err_set(err, ERR_NOT_FOUND, "%s: %d other names are being resolved", host,
                RESOLVER_NAMES_MAX);
    else if (state == RESOLVER_KNOWN)
        *ret = name->address;
    else if (state == RESOLVER_FAILED)
        err_set(err, ERR_NOT_FOUND, "the host %s cannot be resolved: %s", host,
                gai_strerror(name->failure));
    return state;
}

enum resolver_state resolver_ask(const char *host, struct sockaddr_storage *ret, struct err *err)
{
    pthread_mutex_lock(&the_resolver.lock);
    enum resolver_state state = ask_locked(host, ret, err);
    pthread_mutex_unlock(&the_resolver.lock);
    return state;
}

int resolver_wait(const char *host, struct sockaddr_storage *ret, struct err *err)
{
    uint64_t until_ms = clock_mono_ms() + RESOLVER_WAIT_MS;
    enum resolver_state state;
    pthread_mutex_lock(&the_resolver.lock);
    while ((state = ask_locked(host, ret, err)) == RESOLVER_ASKING && clock_mono_ms() < until_ms) {
        /* Wait in steps, because the previous address becomes acceptable without an event. */
        struct timespec step;
        clock_gettime(CLOCK_MONOTONIC, &step);
        step.tv_nsec += WAIT_STEP_MS * 1000000L;
        step.tv_sec += step.tv_nsec / 1000000000L;
        step.tv_nsec %= 1000000000L;
        pthread_cond_clockwait(&the_resolver.done, &the_resolver.lock, CLOCK_MONOTONIC, &step);
    }
    pthread_mutex_unlock(&the_resolver.lock);
    if (state == RESOLVER_ASKING)
        return err_set(err, ERR_NOT_FOUND, "the host %s cannot be resolved: no answer within %d ms",
                       host, RESOLVER_WAIT_MS);
    return state == RESOLVER_KNOWN ? 0 : -ERR_NOT_FOUND;
}

void resolver_use(resolver_lookup lookup, uint64_t fresh_ms)
{
    pthread_mutex_lock(&the_resolver.lock);
    the_resolver.lookup = lookup;
    the_resolver.fresh_ms = fresh_ms;
    for (size_t i = 0; i < RESOLVER_NAMES_MAX; i++)
        if (!the_resolver.names[i].asking)
            the_resolver.names[i] = (struct name){0};
    pthread_mutex_unlock(&the_resolver.lock);
}
