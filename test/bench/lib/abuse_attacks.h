/*
 * abuse_attacks.h - what one identity can send to stop others, way by way.
 */
#ifndef BENCH_ABUSE_ATTACKS_H
#define BENCH_ABUSE_ATTACKS_H

#include "base.h"

struct attack {
    const char *name;
    const char *what; /* for the table: how much of what is sent, and by whom */
    /* Go on until the process is told to end; `dir` is the cell's. */
    void (*run)(const char *dir);
};

/* Ended by one without a name. */
extern const struct attack attacks[];

#endif
