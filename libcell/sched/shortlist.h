/*
 * shortlist.h - the best machines for a task, in order, and where all others begin.
 *
 * Invariant: a machine that is not listed either does not suit or comes after `beyond`. Kept by
 * best.c while machines change one by one.
 */
#ifndef CELL_SHORTLIST_H
#define CELL_SHORTLIST_H

#include "view.h"

/* The best of the machines looked at, and the one after it in the same order; or VIEW_NO_MACHINE.
 */
struct choice {
    uint32_t machine;
    uint32_t runner_up;
    uint32_t alloc; /* on that machine: the index, for a job that runs inside a set */
};
#define CHOICE_NONE ((struct choice){VIEW_NO_MACHINE, VIEW_NO_MACHINE, 0})

/* Costs, the least is best; rank 0 decides first. */
enum { RANKS = 2 };
struct score {
    int64_t ranks[RANKS];
};

struct entry {
    struct score score;
    uint32_t machine; /* decides when scores are equal, the lower first */
};
/* Comes after every machine. */
#define ENTRY_NONE ((struct entry){{{INT64_MAX, INT64_MAX}}, VIEW_NO_MACHINE})

enum { SHORTLIST_MAX = 64 };
struct shortlist {
    uint32_t count;
    uint32_t capacity; /* at most SHORTLIST_MAX */
    struct entry beyond;
    struct entry entries[SHORTLIST_MAX];
};

static inline bool entry_is_before(const struct entry *a, const struct entry *b)
{
    for (int i = 0; i < RANKS; i++)
        if (a->score.ranks[i] != b->score.ranks[i])
            return a->score.ranks[i] < b->score.ranks[i];
    return a->machine < b->machine;
}

/* Empty, with nothing beyond. */
void shortlist_clear(struct shortlist *list, uint32_t capacity);
/* Would it be taken in? */
static inline bool shortlist_wants(const struct shortlist *list, const struct entry *entry)
{
    return entry_is_before(entry, &list->beyond);
}
/* Take in a machine that is not listed, if it is good enough; the last may drop out for it. */
void shortlist_offer(struct shortlist *list, const struct entry *entry);
/* Whatever is not listed may come as early as this. */
void shortlist_limit(struct shortlist *list, const struct entry *beyond);
/* Where the machine is in it, or `count`. */
uint32_t shortlist_find(const struct shortlist *list, uint32_t machine);
void shortlist_remove(struct shortlist *list, uint32_t at);
/* Are the first `count` surely before all that are not listed (or all there are)? */
bool shortlist_is_sure(const struct shortlist *list, uint32_t count);
/* The first two. */
struct choice shortlist_choice(const struct shortlist *list);

#endif
