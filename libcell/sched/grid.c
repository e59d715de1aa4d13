/*
 * grid.c - the machines by what is free on them, to find good ones without looking at all.
 */
#include "grid.h"

#include "choose.h"
#include "places.h"

#include <stdlib.h>
#include <string.h>

/* The largest machine's amount is 2^40; what is below 2^-12 of that is all one level. */
enum { STEP_BITS = 7, LOWEST = 28, LEVELS = (40 - LOWEST) << STEP_BITS };
enum { WORDS = LEVELS / WORD_BITS };
_Static_assert(LEVELS % WORD_BITS == 0, "rows of bits are whole words");
_Static_assert(WORDS <= 32, "a word of bits per row says which");

/* Aspects have LEAN_BITS bits: the shapes in the middle have as much ram for their cpu as the
 * largest machines together have. */
enum { SHAPE_STEP_BITS = 2, SHAPES = 2 * LEAN_BITS << SHAPE_STEP_BITS };
enum { KIND_SHELVES = SHAPES + GRID_SIZES, SHELVES = KIND_SHELVES * VIEW_SCARCITY_LEVELS };
_Static_assert((uint64_t)SHELVES *LEVELS *LEVELS < UINT32_MAX, "a bin must have a number");

/* Looked at in one go; and of one bin at the most, once enough was found. */
enum { RUN = 64, CROWD_MAX = 64 };

/* A bin may have the best machine when its sample scores worse than the best one by less than
 * this; in scores, the leftover of one resource being 2^40 at most. */
static const int64_t MARGIN = INT64_C(1) << 35;

static const uint32_t NONE = UINT32_MAX;

/* The bins of one shape or size, and one degree of scarcity. A row has all of the same cpu.
 */
struct shelf {
    uint64_t occupied[WORDS]; /* a bit per row: it has machines */
    struct row {
        uint64_t bins[WORDS]; /* a bit per bin: it has machines */
        uint32_t words;       /* a bit per word of these that is not 0 */
        uint32_t count, capacity;
        uint32_t *heads; /* the first machine of each bin that has any, in order */
    } * rows[LEVELS];    /* NULL: never had any */
};

/* One machine of each bin that can have room. */
struct samples {
    uint32_t count, capacity;
    uint32_t *machines;
    struct trait *traits;
    int64_t *scores;
};

/* log2 in steps; 0 for all that is below 2^lowest. Never falls when the amount grows. */
static uint32_t level_of(uint64_t amount, int lowest, int step_bits)
{
    if (amount < UINT64_C(1) << lowest)
        return 0;
    int top = 63 - __builtin_clzll(amount);
    uint32_t step = (uint32_t)(amount >> (top - step_bits)) & ((1U << step_bits) - 1);
    return ((uint32_t)(top - lowest) << step_bits) + step;
}

static uint32_t room_level(const struct view *view, enum resource r, int64_t amount)
{
    /* A machine that shrank has less than none. */
    uint64_t share = (uint64_t)view_normal(view, r, MAX(amount, 0));
    return MIN(level_of(share, LOWEST, STEP_BITS), LEVELS - 1U);
}

static uint32_t shape_of(const struct trait *trait)
{
    uint32_t ram = level_of(trait->aspect.cpu, SHAPE_STEP_BITS, SHAPE_STEP_BITS); /* crosswise */
    uint32_t cpu = level_of(trait->aspect.ram, SHAPE_STEP_BITS, SHAPE_STEP_BITS);
    return SHAPES / 2 + ram - cpu;
}

/* The number of this size, if the machine is empty and the size has one or can be given one. */
static uint32_t size_of(struct grid *grid, const struct view *view, uint32_t m)
{
    struct resources size;
    for (int r = 0; r < RES_COUNT; r++) {
        size.v[r] = view->total[r] == NULL ? 0 : view->total[r][m];
        if (view->total[r] != NULL && view->room[r][m] != view->total[r][m])
            return NONE;
    }
    uint32_t i = 0;
    while (i < grid->size_count && memcmp(&grid->sizes[i], &size, sizeof size) != 0)
        i++;
    if (i == GRID_SIZES)
        return NONE;
    if (i == grid->size_count)
        grid->sizes[grid->size_count++] = size;
    return i;
}

static uint32_t bin_for(struct grid *grid, const struct view *view, uint32_t m)
{
    if (!view->up[m])
        return NONE;
    uint32_t size = size_of(grid, view, m);
    uint32_t shelf = size == NONE ? shape_of(&view->traits[m]) : SHAPES + size;
    shelf += view->traits[m].scarcity * KIND_SHELVES;
    return (shelf * LEVELS + room_level(view, RES_CPU, view->room[RES_CPU][m])) * LEVELS +
           room_level(view, RES_RAM, view->room[RES_RAM][m]);
}

static struct shelf *shelf_for(struct grid *grid, uint32_t bin)
{
    struct shelf **shelf = &grid->shelves[bin / LEVELS / LEVELS];
    if (*shelf == NULL)
        *shelf = xcalloc(1, sizeof **shelf);
    return *shelf;
}

static struct row *row_for(struct shelf *shelf, uint32_t bin)
{
    struct row **row = &shelf->rows[bin / LEVELS % LEVELS];
    if (*row == NULL)
        *row = xcalloc(1, sizeof **row);
    return *row;
}

static uint32_t bits_count(uint64_t bits)
{
    uint32_t count = 0;
    for (; bits != 0; bits &= bits - 1)
        count++;
    return count;
}

/* How many bins before this one have machines. */
static uint32_t row_rank(const struct row *row, uint32_t column)
{
    uint32_t word = column / WORD_BITS;
    uint32_t rank = bits_count(row->bins[word] & ((UINT64_C(1) << column % WORD_BITS) - 1));
    for (uint32_t words = row->words & (BIT(word) - 1); words != 0; words &= words - 1)
        rank += bits_count(row->bins[__builtin_ctz(words)]);
    return rank;
}

static void bit_put(uint64_t *words, uint32_t i, bool on)
{
    uint64_t bit = UINT64_C(1) << i % WORD_BITS;
    words[i / WORD_BITS] = on ? words[i / WORD_BITS] | bit : words[i / WORD_BITS] & ~bit;
}

static bool bit_is_set(const uint64_t *words, uint32_t i)
{
    return (words[i / WORD_BITS] >> i % WORD_BITS & 1) != 0;
}

static void bin_mark(struct shelf *shelf, uint32_t bin, bool occupied)
{
    struct row *row = row_for(shelf, bin);
    uint32_t column = bin % LEVELS, word = column / WORD_BITS;
    bit_put(row->bins, column, occupied);
    row->words = row->bins[word] != 0 ? row->words | BIT(word) : row->words & ~BIT(word);
    bit_put(shelf->occupied, bin / LEVELS % LEVELS, row->words != 0);
}

static void bin_leave(struct grid *grid, uint32_t m)
{
    uint32_t bin = grid->bin[m], next = grid->next[m], prev = grid->prev[m];
    struct shelf *shelf = shelf_for(grid, bin);
    struct row *row = row_for(shelf, bin);
    if (next != NONE)
        grid->prev[next] = prev;
    if (prev != NONE) {
        grid->next[prev] = next;
        return;
    }
    uint32_t *head = &row->heads[row_rank(row, bin % LEVELS)];
    *head = next;
    if (next != NONE)
        return;
    row->count--;
    memmove(head, head + 1, (size_t)(row->heads + row->count - head) * sizeof *head);
    bin_mark(shelf, bin, false);
}

static void bin_enter(struct grid *grid, uint32_t m, uint32_t bin)
{
    struct shelf *shelf = shelf_for(grid, bin);
    struct row *row = row_for(shelf, bin);
    uint32_t rank = row_rank(row, bin % LEVELS);
    grid->prev[m] = NONE;
    grid->next[m] = NONE;
    if (bit_is_set(row->bins, bin % LEVELS)) {
        grid->next[m] = row->heads[rank];
        grid->prev[row->heads[rank]] = m;
        row->heads[rank] = m;
        return;
    }
    if (row->count == row->capacity) {
        row->capacity = MAX(2 * row->capacity, 4U);
        row->heads = xrealloc(row->heads, row->capacity, sizeof *row->heads);
    }
    memmove(&row->heads[rank + 1], &row->heads[rank], (row->count - rank) * sizeof *row->heads);
    row->heads[rank] = m;
    row->count++;
    bin_mark(shelf, bin, true);
}

static void machine_update(struct grid *grid, const struct view *view, uint32_t m)
{
    uint32_t bin = bin_for(grid, view, m);
    if (bin == grid->bin[m])
        return;
    if (grid->bin[m] != NONE)
        bin_leave(grid, m);
    grid->bin[m] = bin;
    if (bin != NONE)
        bin_enter(grid, m, bin);
}

static void machines_grow(struct grid *grid, const struct view *view)
{
    if (grid->machine_capacity < view->machine_count) {
        grid->machine_capacity = view->machine_capacity;
        grid->bin = xrealloc(grid->bin, grid->machine_capacity, sizeof *grid->bin);
        grid->next = xrealloc(grid->next, grid->machine_capacity, sizeof *grid->next);
        grid->prev = xrealloc(grid->prev, grid->machine_capacity, sizeof *grid->prev);
    }
    for (; grid->machine_count < view->machine_count; grid->machine_count++)
        grid->bin[grid->machine_count] = NONE;
}

static void grid_update(struct grid *grid, const struct view *view)
{
    if (grid->machine_count > view->machine_count) /* the view started over */
        grid_release(grid);
    if (grid->shelves == NULL) {
        grid->shelves = xcalloc(SHELVES, sizeof *grid->shelves);
        grid->samples = xcalloc(1, sizeof *grid->samples);
    }
    machines_grow(grid, view);
    if (view->stamp_last - grid->stamp > VIEW_CHANGES) {
        for (uint32_t m = 0; m < view->machine_count; m++)
            machine_update(grid, view, m);
    } else {
        for (uint64_t stamp = grid->stamp + 1; stamp <= view->stamp_last; stamp++)
            machine_update(grid, view, view->changed[stamp % VIEW_CHANGES]);
    }
    grid->stamp = view->stamp_last;
}

static void samples_add(struct samples *s, const struct view *view, uint32_t machine)
{
    if (s->count == s->capacity) {
        s->capacity = MAX(2 * s->capacity, (uint32_t)RUN);
        s->machines = xrealloc(s->machines, s->capacity, sizeof *s->machines);
        s->traits = xrealloc(s->traits, s->capacity, sizeof *s->traits);
        s->scores = xrealloc(s->scores, s->capacity, sizeof *s->scores);
    }
    s->machines[s->count] = machine;
    s->traits[s->count++] = view->traits[machine];
}

static void samples_take_shelf(struct samples *s, const struct view *view,
                               const struct shelf *shelf, uint32_t cpu, uint32_t ram)
{
    for (uint32_t word = cpu / WORD_BITS; word < WORDS; word++) {
        uint64_t rows = shelf->occupied[word];
        if (word == cpu / WORD_BITS)
            rows = rows >> cpu % WORD_BITS << cpu % WORD_BITS;
        for (; rows != 0; rows &= rows - 1) {
            const struct row *row = shelf->rows[word * WORD_BITS + (uint32_t)__builtin_ctzll(rows)];
            for (uint32_t i = row_rank(row, ram); i < row->count; i++)
                samples_add(s, view, row->heads[i]);
        }
    }
}

/* One machine of all bins that can have room. */
static void samples_take(struct grid *grid, const struct view *view, const struct view_job *job,
                         const struct resources *need)
{
    uint32_t cpu = room_level(view, RES_CPU, need->v[RES_CPU]);
    uint32_t ram = room_level(view, RES_RAM, need->v[RES_RAM]);
    struct samples *s = grid->samples;
    s->count = 0;
    for (uint32_t i = 0; i < SHELVES; i++)
        if (grid->shelves[i] != NULL)
            samples_take_shelf(s, view, grid->shelves[i], cpu, ram);
    score_run(view, job, need, s->traits, s->count, s->scores);
}

struct search {
    const struct grid *grid;
    const struct view *view;
    const struct view_job *job;
    const struct resources *need;
    struct shortlist *list;
    uint64_t looked_at;
};

static void run_search(struct search *s, const uint32_t *run, const struct trait *traits,
                       uint32_t count)
{
    int64_t scores[RUN];
    score_run(s->view, s->job, s->need, traits, count, scores);
    for (uint32_t i = 0; i < count; i++) {
        struct entry entry = {{{0, scores[i]}}, run[i]};
        if (shortlist_wants(s->list, &entry) && feasible_fits(s->view, s->job, s->need, run[i]))
            shortlist_offer(s->list, &entry);
    }
}

/* The machines of a bin that are allowed, or many of a crowd, the last that came first; of empty
 * ones a few do. As long as nothing was found, all of them. The sample was offered before. */
static void bin_search(struct search *s, uint32_t sample)
{
    uint32_t run[RUN], taken = 0, machine = s->grid->next[sample];
    struct trait traits[RUN];
    bool is_empty = s->grid->bin[sample] / LEVELS / LEVELS % KIND_SHELVES >= SHAPES;
    uint32_t enough = is_empty ? s->list->capacity : CROWD_MAX;
    while (machine != NONE && (taken < enough || s->list->count == 0)) {
        uint32_t count = 0;
        for (; machine != NONE && count < MIN(enough, (uint32_t)RUN);
             machine = s->grid->next[machine]) {
            run[count] = machine;
            traits[count] = s->view->traits[machine];
            count += places_allow(s->job, machine);
            s->looked_at++;
        }
        if (count > 0)
            run_search(s, run, traits, count);
        taken += count;
    }
}

static void samples_offer(const struct search *search)
{
    const struct samples *s = search->grid->samples;
    for (uint32_t i = 0; i < s->count; i++) {
        struct entry entry = {{{0, s->scores[i]}}, s->machines[i]};
        if (shortlist_wants(search->list, &entry) && places_allow(search->job, entry.machine) &&
            feasible_fits(search->view, search->job, search->need, entry.machine))
            shortlist_offer(search->list, &entry);
    }
}

/* Bins whose sample scores as much cannot have one of the first `wanted` machines. */
static int64_t search_limit(const struct shortlist *list, uint32_t wanted)
{
    if (list->count < wanted)
        return INT64_MAX;
    int64_t score = list->entries[wanted - 1].score.ranks[1];
    return score > INT64_MAX - MARGIN ? INT64_MAX : score + MARGIN;
}

void grid_search(struct grid *grid, const struct view *view, const struct view_job *job,
                 const struct resources *need, uint32_t wanted, struct shortlist *list,
                 uint64_t *scanned)
{
    struct search search = {grid, view, job, need, list, 0};
    grid_update(grid, view);
    samples_take(grid, view, job, need);
    samples_offer(&search);
    const struct samples *s = grid->samples;
    int64_t from = INT64_MIN;
    for (int64_t to = search_limit(list, 1); from < to; to = search_limit(list, wanted)) {
        for (uint32_t i = 0; i < s->count; i++)
            if (s->scores[i] >= from && s->scores[i] < to)
                bin_search(&search, s->machines[i]);
        from = to;
    }
    if (from < INT64_MAX)
        shortlist_limit(list, &(struct entry){{{0, from}}, 0});
    *scanned += s->count + search.looked_at;
}

void grid_release(struct grid *grid)
{
    for (uint32_t i = 0; grid->shelves != NULL && i < SHELVES; i++) {
        for (uint32_t r = 0; grid->shelves[i] != NULL && r < LEVELS; r++) {
            struct row *row = grid->shelves[i]->rows[r];
            if (row != NULL)
                free(row->heads);
            free(row);
        }
        free(grid->shelves[i]);
    }
    if (grid->samples != NULL) {
        free(grid->samples->machines);
        free(grid->samples->traits);
        free(grid->samples->scores);
    }
    free(grid->samples);
    free(grid->shelves);
    free(grid->bin);
    free(grid->next);
    free(grid->prev);
    *grid = (struct grid){0};
}
