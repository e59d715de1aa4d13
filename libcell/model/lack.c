/*
 * lack.c - what keeps a task off a machine, as a number and as words.
 */
#include "lack.h"

#include "attributes.h"

#include <string.h>

enum { CLAUSE_BYTES_MAX = 120 }; /* of one in a reason */

static const struct check {
    int first, last;
    const char *one, *many;
} checks[] = {
#define X(name, cases, one, many) {LACKS_##name, LACKS_##name##_LAST, one, many},
    LACK_CHECKS(X)
#undef X
};

int lack_of_place(uint32_t (*failing)(const void *of, int check), const void *of)
{
    for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
        uint32_t which = failing(of, checks[i].first);
        if (which >= LACK_PASSES)
            continue;
        ASSERT(checks[i].first + (int)which <= checks[i].last);
        return checks[i].first + (int)which;
    }
    return LACKS_NOTHING;
}

static const struct check *check_of(int lack)
{
    for (size_t i = 0; i < ARRAY_SIZE(checks); i++)
        if (lack >= checks[i].first && lack <= checks[i].last)
            return &checks[i];
    return NULL; /* a resource */
}

int lack_of_room(const struct resources *need, const struct resources *room, uint32_t *ret_lacking)
{
    int first = LACKS_NOTHING;
    *ret_lacking = 0;
    for (int r = RES_COUNT; r-- > 0;) {
        if (need->v[r] > room->v[r]) {
            first = r;
            ++*ret_lacking;
        }
    }
    return first;
}

int lack_best_change(const int64_t enough[RES_COUNT], const struct resources *need)
{
    int best = -1;
    for (int r = 0; r < RES_COUNT; r++) {
        int64_t least = r == RES_CPU || r == RES_RAM ? 1 : 0; /* a spec may not ask for less */
        if (enough[r] < least)
            continue;
        /* enough/need > best's enough/need */
        if (best < 0 || (__int128)enough[r] * need->v[best] > (__int128)enough[best] * need->v[r])
            best = r;
    }
    return best;
}

void lack_change_print(struct buf *to, int resource, int64_t amount, const struct resources *need,
                       const struct resource_names *names)
{
    buf_printf(to, "%s ", resource_name((enum resource)resource, names));
    resource_print(to, (enum resource)resource, amount);
    buf_printf(to, " instead of ");
    resource_print(to, (enum resource)resource, need->v[resource]);
}

/* "fails rack = r1"; of company alone: "has no cache in its rack", "has noisy". */
static void print_clause(struct buf *to, const struct clause *clause, bool one)
{
    const struct term *term = &clause->terms[0];
    if (clause->term_count == 1 && term_is_company(term)) {
        buf_printf(to, "%s %s%s", one ? "has" : "have", term->op == OP_NEAR ? "no " : "",
                   words_first(&term->values));
        if (strcmp(term->attribute, ATTRIBUTE_MACHINE) != 0)
            buf_printf(to, " in %s %s", one ? "its" : "their", term->attribute);
        return;
    }
    CLEANUP(buf_release) struct buf text = {0};
    clause_print(&text, clause);
    bool fits = text.size <= CLAUSE_BYTES_MAX;
    buf_printf(to, "%s %.*s%s", one ? "fails" : "fail", CLAUSE_BYTES_MAX, buf_text(&text),
               fits ? "" : "...");
}

void lack_print(struct buf *to, int lack, const struct lack_about *about, bool one)
{
    ASSERT(lack != LACKS_NOTHING && lack < LACKS_COUNT);
    const struct check *check = check_of(lack);
    if (check != NULL && check->one != NULL) {
        buf_printf(to, "%s", one ? check->one : check->many);
    } else if (lack >= LACKS_SPREAD) {
        buf_printf(to, "%s full with %u per %s", one ? "is" : "are", about->max, about->by);
    } else if (lack == LACKS_KEPT) {
        bool known = about->keeper != NULL && about->keeper[0] != '\0';
        buf_printf(to, "%s kept free of it by %s", one ? "is" : "are",
                   known ? about->keeper : "other jobs");
    } else if (lack >= LACKS_CLAUSE) {
        print_clause(to, &about->clauses->items[lack - LACKS_CLAUSE], one);
    } else {
        buf_printf(to, "%s %s", one ? "lacks" : "lack",
                   resource_name((enum resource)lack, about->names));
    }
}
