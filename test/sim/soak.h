/*
 * soak.h - run many seeds, each in its own process, and keep the output of failed ones.
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
    struct soak_seed *seeds; /* owned by the caller; NULL: consecutive seeds from `first` */
    size_t count;            /* SIZE_MAX: until stopped */
    uint64_t first;
    uint64_t minutes; /* for seeds from `first` */
    unsigned jobs;    /* number of concurrent processes */
    const char *dir;  /* directory for outputs of failed seeds, SEED.txt; created if missing */
    void (*run)(const struct soak_seed *seed); /* runs in the child */
};

/* Run the seeds. Print a line for each that fails and a summary; return how many failed. */
size_t soak(const struct soak_options *options);

/* Read lines "SEED MINUTES why", # starts a comment. Exits if the file is malformed. */
struct soak_seed *soak_file_read(const char *path, size_t *ret_count);

#endif
