/*
 * health.h - what is wrong with the masters of a cell, and what to do. Pure: from their statuses.
 *
 * A status is of one replica and one moment, and they are not of the same one: what is a little
 * apart is no problem, what is far apart or contradicts itself is one.
 */
#ifndef CLI_HEALTH_H
#define CLI_HEALTH_H

#include "client.h"

enum {
    HEALTH_PROBLEMS_MAX = 9 * CELL_REPLICAS_MAX + 32,
    HEALTH_CERTS_MAX = 16,  /* told one by one */
    HEALTH_LAG_MAX = 10000, /* entries; more than a second's worth of a busy cell */
    HEALTH_STORE_MS = 5000,
    HEALTH_DISK_MS = 1000,
    HEALTH_DISK_SILENT_MS = 20000,
    HEALTH_CLOCK_MS = 5000, /* clocks that are further apart, and the cell's time from them */
};

#define HEALTH_FREE_MIN (INT64_C(1) << 30)

struct health_problem {
    uint64_t replica; /* 0: of the cell */
    char what[ERR_MSG_MAX];
    char todo[ERR_MSG_MAX];
};

struct health {
    const struct client_status *leader; /* NULL: none answers */
    const struct client_status *best;   /* the leader, else who has applied most; NULL: nobody */
    size_t reachable;
    struct health_problem problems[HEALTH_PROBLEMS_MAX]; /* the gravest first */
    size_t count;
};

/* `all[i]` is of `cell->replicas[i]`. */
void health_look(const struct cell_file *cell, const struct client_status *all, struct health *ret);
/* What the clock of all[at] is ahead of the median of those who answered (of two the earlier). */
int64_t health_clock_ahead(const struct client_status *all, size_t count, size_t at);
/* What is known of certificates, that of the CA first; of an identity that is there twice the first
 * counts. */
struct health_cert {
    struct identity identity; /* {ROLE_NONE, ""}: the CA */
    uint64_t expires_ms;
};
struct health_certs {
    uint64_t now_ms;
    const struct health_cert *v;
    size_t count;
    uint64_t more_borglets; /* so many others of borglets end soon */
    const char *renew;      /* the command, without names: "borgctl pki renew --dir DIR" */
    bool can_renew;         /* it can be run here */
};
/* Add the certificates that have ended or will within TLS_CERT_SOON_MS. */
void health_look_at_certs(struct health *health, const struct health_certs *certs);

/* The same of machines: a second borglet with their name was refused lately; they could not start
 * tasks. `names` is cut where it gets long. */
void health_note_second(struct health *health, const char *names);
void health_note_sick(struct health *health, const char *names);
/* Entries that a replica has not been told of or has not got; 0 when nobody leads. */
uint64_t health_lag(const struct health *health, const struct wire_status *status);

#endif
