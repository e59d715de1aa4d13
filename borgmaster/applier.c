/*
 * applier.c - applies committed entries, a bounded number in each turn of the loop.
 */
#include "applier.h"

#include "clock.h"

#include <stdlib.h>
#include <string.h>

struct kept {
    struct list link;
    uint64_t index, term;
    size_t size;
    char bytes[];
};

static bool turn_has_time(struct applier *a)
{
    if (a->until_us == 0)
        a->until_us = clock_mono_us() + APPLIER_TURN_US;
    return a->done < APPLIER_TURN_ENTRIES && (a->done == 0 || clock_mono_us() < a->until_us);
}

static void notify(struct applier *a, uint64_t applied)
{
    while (!list_empty(&a->waiting)) {
        struct applier_wait *wait = CONTAINER_OF(a->waiting.next, struct applier_wait, link);
        if (wait->index > applied)
            return;
        list_remove(&wait->link);
        wait->cb(wait);
    }
}

/* Apply one piece of the first entry. Returns true when the whole entry is applied. */
static bool apply_first(struct applier *a)
{
    struct kept *entry = CONTAINER_OF(a->entries.next, struct kept, link);
    a->done++;
    if (!a->apply(a->data, entry->index, entry->term, entry->bytes, entry->size))
        return false;
    list_remove(&entry->link);
    a->bytes -= entry->size;
    notify(a, entry->index);
    free(entry);
    return true;
}

static void on_idle(uv_idle_t *idle)
{
    struct applier *a = idle->data;
    while (!list_empty(&a->entries) && turn_has_time(a))
        if (!apply_first(a))
            break;
    if (list_empty(&a->entries))
        uv_idle_stop(idle);
}

void applier_init(struct applier *a, uv_loop_t *loop, applier_cb apply, void *data)
{
    *a = (struct applier){.apply = apply, .data = data};
    list_init(&a->entries);
    list_init(&a->waiting);
    uv_idle_init(loop, &a->idle);
    a->idle.data = a;
}

void applier_put(struct applier *a, uint64_t index, uint64_t term, const void *bytes, size_t size)
{
    a->last_index = index;
    if (list_empty(&a->entries) && turn_has_time(a)) {
        a->done++;
        if (a->apply(a->data, index, term, bytes, size))
            return;
    }
    struct kept *entry = xcalloc(1, sizeof *entry + size);
    *entry = (struct kept){.index = index, .term = term, .size = size};
    memcpy(entry->bytes, bytes, size);
    list_push(&a->entries, &entry->link);
    a->bytes += size;
    while (a->bytes > APPLIER_BYTES_MAX)
        (void)apply_first(a);
    uv_idle_start(&a->idle, on_idle);
}

bool applier_has_time(const struct applier *a)
{
    return clock_mono_us() < a->until_us;
}

void applier_turn_end(struct applier *a)
{
    a->until_us = 0;
    a->done = 0;
}

bool applier_is_empty(const struct applier *a)
{
    return list_empty(&a->entries);
}

void applier_after(struct applier *a, struct applier_wait *wait,
                   void (*cb)(struct applier_wait *wait))
{
    wait->cb = cb;
    wait->index = a->last_index;
    list_init(&wait->link);
    if (list_empty(&a->entries))
        cb(wait);
    else
        list_push(&a->waiting, &wait->link);
}

void applier_drain(struct applier *a)
{
    while (!list_empty(&a->entries))
        (void)apply_first(a);
    uv_idle_stop(&a->idle);
}

void applier_clear(struct applier *a)
{
    for (struct list *l; (l = list_pop(&a->entries)) != NULL;)
        free(CONTAINER_OF(l, struct kept, link));
    a->bytes = 0;
    uv_idle_stop(&a->idle);
    notify(a, UINT64_MAX);
}
