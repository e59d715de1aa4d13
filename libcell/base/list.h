/*
 * list.h - an intrusive, circular, doubly linked list.
 *
 * A `struct list` is a head, or a link embedded in the caller's object; use CONTAINER_OF to get the
 * object. A link that is in no list points to itself, so list_remove() may be called twice.
 */
#ifndef CELL_LIST_H
#define CELL_LIST_H

#include "base.h"

struct list {
    struct list *next;
    struct list *prev;
};

static inline void list_init(struct list *l)
{
    l->next = l;
    l->prev = l;
}

static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}

static inline void list_push(struct list *head, struct list *l)
{
    l->prev = head->prev;
    l->next = head;
    head->prev->next = l;
    head->prev = l;
}

static inline void list_remove(struct list *l)
{
    l->prev->next = l->next;
    l->next->prev = l->prev;
    list_init(l);
}

/* Put `now` in the place of `was`. If `was` is in no list, `now` is in none either. */
static inline void list_replace(struct list *was, struct list *now)
{
    if (list_empty(was)) {
        list_init(now);
        return;
    }
    *now = *was;
    now->prev->next = now;
    now->next->prev = now;
}

/* Remove and return the first link, or return NULL. */
static inline struct list *list_pop(struct list *head)
{
    if (list_empty(head))
        return NULL;
    struct list *l = head->next;
    list_remove(l);
    return l;
}

/* The body must not remove `l`; use a list_pop() loop for that. */
#define LIST_EACH(l, head) for (struct list *l = (head)->next; l != (head); l = l->next)

#endif
