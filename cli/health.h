/*
 * health.h - find problems of the masters from their statuses, with remedies. Pure.
 *
 * Each status shows one replica at its own moment. Small differences between statuses are therefore
 * no problem; large ones and contradictions are.
 */
#ifndef CLI_HEALTH_H
#define CLI_HEALTH_H

#include "client.h"

enum {
    HEALTH_PROBLEMS_MAX = 9 * CELL_REPLICAS_MAX + 32,
    HEALTH_CERTS_MAX = 16,  /* reported one by one */
    HEALTH_LAG_MAX = 10000, /* entries; more than a busy cell commits in a second */
    HEALTH_STORE_MS = 5000,
    HEALTH_DISK_MS = 1000,
    HEALTH_DISK_SILENT_MS = 20000,
    /* larger differences between clocks, or to the cell's time, are reported */
    HEALTH_CLOCK_MS = 5000,
};

#define HEALTH_FREE_MIN (INT64_C(1) << 30)

struct health_problem {
    uint64_t replica; /* 0: the whole cell */
    char what[ERR_MSG_MAX];
    char todo[ERR_MSG_MAX];
};

struct health {
    const struct client_status *leader; /* NULL: none answers */
    /* the leader, else the one with the most applied entries; NULL: none */
    const struct client_status *best;
    size_t reachable;
    struct health_problem problems[HEALTH_PROBLEMS_MAX]; /* most severe first */
    size_t count;
};

/* Examine the statuses; `all[i]` belongs to `cell->replicas[i]`. */
void health_look(const struct cell_file *cell, const struct client_status *all, struct health *ret);
/* Return how far the clock of all[at] is ahead of the median of all (of two: the earlier). */
int64_t health_clock_ahead(const struct client_status *all, size_t count, size_t at);
/* The known certificates, the CA's first; if an identity occurs twice, the first entry counts. */
struct health_cert {
    struct identity identity; /* {ROLE_NONE, ""}: the CA */
    uint64_t expires_ms;
};
struct health_certs {
    uint64_t now_ms;
    const struct health_cert *v;
    size_t count;
    uint64_t more_borglets; /* number of further borglets with certificates that expire soon */
    const char *renew;      /* the command without names: "borgctl pki renew --dir DIR" */
    bool can_renew;         /* the command can be run here */
};
/* Add the certificates that have expired or expire within TLS_CERT_SOON_MS. */
void health_look_at_certs(struct health *health, const struct health_certs *certs);

/* Add machines for which a second borglet was refused lately, or that fail to start tasks. A long
 * `names` is cut. */
void health_note_second(struct health *health, const char *names);
void health_note_sick(struct health *health, const char *names);
/* Return the number of committed entries that a replica lacks; 0 if none leads. */
uint64_t health_lag(const struct health *health, const struct wire_status *status);

#endif
