/*
 * abuse_attacks.h - attacks of one identity on others.
 */
#ifndef BENCH_ABUSE_ATTACKS_H
#define BENCH_ABUSE_ATTACKS_H

#include "base.h"

struct attack {
    const char *name;
    const char *what; /* for the table: who sends what, and how much */
    /* Run until the process is killed; `dir` is the directory of the cell. */
    void (*run)(const char *dir);
};

/* The last entry has no name. */
extern const struct attack attacks[];

#endif
