/*
 * soak.h - many seeds, each in a process of its own, and what becomes of those that fail.
 */
#ifndef SIM_SOAK_H
#define SIM_SOAK_H

#include "base.h"

enum { SOAK_JOBS_MAX = 64 };

struct soak_seed {
    uint64_t seed;
    uint64_t minutes;
};

struct soak_options {
    struct soak_seed *seeds; /* owned by the caller; NULL: from `first` on */
    size_t count;            /* SIZE_MAX: until stopped */
    uint64_t first;
    uint64_t minutes; /* of seeds from `first` on */
    unsigned jobs;    /* processes at a time */
    const char *dir;  /* where outputs of failed seeds are kept, as SEED.txt; made if missing */
    void (*run)(const struct soak_seed *seed); /* in the child */
};

/* Prints a line for each that fails and one at the end. Returns how many failed. */
size_t soak(const struct soak_options *options);

/* A file of lines "SEED MINUTES why", # begins a comment. Exits when it is no such file. */
struct soak_seed *soak_file_read(const char *path, size_t *ret_count);

#endif
