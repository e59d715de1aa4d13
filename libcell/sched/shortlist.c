/*
 * shortlist.c - the best machines for a task, in order, and where all others begin.
 */
#include "shortlist.h"

#include <string.h>

void shortlist_clear(struct shortlist *list, uint32_t capacity)
{
    ASSERT(capacity > 0);
    ASSERT(capacity <= SHORTLIST_MAX);
    list->count = 0;
    list->capacity = capacity;
    list->beyond = ENTRY_NONE;
}

void shortlist_limit(struct shortlist *list, const struct entry *beyond)
{
    if (entry_is_before(beyond, &list->beyond))
        list->beyond = *beyond;
}

void shortlist_offer(struct shortlist *list, const struct entry *entry)
{
    if (!shortlist_wants(list, entry))
        return;
    uint32_t at = list->count;
    while (at > 0 && entry_is_before(entry, &list->entries[at - 1]))
        at--;
    if (at == list->capacity) {
        list->beyond = *entry;
        return;
    }
    if (list->count == list->capacity)
        shortlist_limit(list, &list->entries[--list->count]);
    memmove(&list->entries[at + 1], &list->entries[at], (list->count - at) * sizeof *entry);
    list->entries[at] = *entry;
    list->count++;
}

uint32_t shortlist_find(const struct shortlist *list, uint32_t machine)
{
    uint32_t at = 0;
    while (at < list->count && list->entries[at].machine != machine)
        at++;
    return at;
}

void shortlist_remove(struct shortlist *list, uint32_t at)
{
    ASSERT(at < list->count);
    list->count--;
    memmove(&list->entries[at], &list->entries[at + 1], (list->count - at) * sizeof *list->entries);
}

bool shortlist_is_sure(const struct shortlist *list, uint32_t count)
{
    static const struct entry none = ENTRY_NONE;
    if (!entry_is_before(&list->beyond, &none))
        return true;
    return list->count >= count && entry_is_before(&list->entries[count - 1], &list->beyond);
}

struct choice shortlist_choice(const struct shortlist *list)
{
    return (struct choice){list->count > 0 ? list->entries[0].machine : VIEW_NO_MACHINE,
                           list->count > 1 ? list->entries[1].machine : VIEW_NO_MACHINE, 0};
}
