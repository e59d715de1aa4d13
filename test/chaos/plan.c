/*
 * plan.c - draw a sequence of faults from a seed.
 */
#include "plan.h"

#include "hash.h"

static const struct {
    uint32_t weight, needs, shortest_ms, longest_ms;
    const char *text;
} kinds[FAULT_KIND_COUNT] = {
#define X(name, weight, needs, shortest, longest, text) {weight, needs, shortest, longest, text},
    FAULT_KINDS(X)
#undef X
};

enum { DECK_MAX = 200 };

const char *fault_text(enum fault_kind kind)
{
    ASSERT(kind < FAULT_KIND_COUNT);
    return kinds[kind].text;
}

struct draw {
    uint64_t seed, number;
};

static uint32_t draw_below(struct draw *d, uint32_t bound)
{
    return (uint32_t)((hash_add(hash_u64(d->seed), d->number++) >> 32) % bound);
}

/* Put each kind into the deck according to its weight, so that rare kinds occur too. */
static size_t deck_make(struct draw *d, uint32_t has, enum fault_kind deck[DECK_MAX])
{
    size_t count = 0;
    for (enum fault_kind kind = 0; kind < FAULT_KIND_COUNT; kind++)
        for (uint32_t i = 0; i < kinds[kind].weight && (kinds[kind].needs & ~has) == 0; i++) {
            ASSERT(count < DECK_MAX);
            deck[count++] = kind;
        }
    for (size_t i = count; i > 1; i--) {
        size_t other = draw_below(d, (uint32_t)i);
        enum fault_kind kind = deck[other];
        deck[other] = deck[i - 1];
        deck[i - 1] = kind;
    }
    return count;
}

void plan_make(uint64_t seed, uint32_t has, uint64_t span_ms, struct fault *ret, size_t count)
{
    struct draw d = {seed, 0};
    enum fault_kind deck[DECK_MAX];
    size_t left = 0;
    for (size_t i = 0; i < count; i++) {
        if (left == 0)
            left = deck_make(&d, has, deck);
        enum fault_kind kind = deck[--left];
        uint32_t range = kinds[kind].longest_ms - kinds[kind].shortest_ms;
        uint64_t slot = span_ms / count;
        ret[i] = (struct fault){.kind = kind,
                                .at_ms = i * slot + draw_below(&d, (uint32_t)slot + 1),
                                .for_ms = kinds[kind].shortest_ms + draw_below(&d, range + 1),
                                .who = draw_below(&d, 1000),
                                .other = draw_below(&d, 1000),
                                .amount = draw_below(&d, 1000)};
    }
}
