/*
 * draw_places.h - random attributes of machines, and random constraints and spreads of jobs.
 */
#ifndef TEST_DRAW_PLACES_H
#define TEST_DRAW_PLACES_H

#include "attributes.h"
#include "cell_fixture.h"

/* Usually valid attributes: a rack, perhaps an ssd, a number of cpus that is sometimes not a
 * number. */
static inline void draw_attributes(uint64_t *seed, struct words *to)
{
    static const char *const racks[] = {"r1", "r2", "r3"};
    static const char *const cpus[] = {"4", "16", "many"};
    if (draw_below(seed, 8) == 0)
        attributes_put(to, "cpus", cpus[draw_below(seed, 3)]);
    if (draw_below(seed, 5) > 0)
        attributes_put(to, "rack", racks[draw_below(seed, 3)]);
    if (draw_below(seed, 2) > 0)
        attributes_put(to, "ssd", "yes");
}

/* Draw constraints and spreads of a job, often none. */
static inline void draw_places(uint64_t *seed, struct job_spec *spec)
{
    static const char *const terms[] = {"rack = r1",         "rack != r2",       "rack in r1,r3",
                                        "rack not-in r1,r2", "ssd exists",       "cpus >= 8",
                                        "cpus < 8",          "rack regex r[12]", "machine in m1,m3",
                                        "machine != m2",     "ssd not-exists",   "rack near j1",
                                        "machine near j2",   "rack apart j3",    "machine apart j4",
                                        "machine apart j1",  "rack near j5"};
    uint32_t clauses = draw_below(seed, 2) * draw_below(seed, 3);
    for (uint32_t i = 0; i < clauses; i++) {
        struct clause *clause = clauses_add(&spec->constraints, 10 * draw_below(seed, 3));
        for (uint32_t j = 0; j <= i; j++) {
            struct term term;
            ASSERT(term_parse(terms[draw_below(seed, ARRAY_SIZE(terms))], &term, NULL) == 0);
            clause_add(clause, term);
        }
    }
    if (draw_below(seed, 2) == 0)
        spec->spreads[spec->spread_count++] =
            (struct spread){.by = "machine", .max = 2 * draw_below(seed, 3), .weight = 7};
    if (draw_below(seed, 4) == 0)
        spec->spreads[spec->spread_count++] =
            (struct spread){.by = "rack", .max = 1 + draw_below(seed, 3)};
}

#endif
