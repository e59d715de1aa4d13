/*
 * spec.h - what a user asks for: one job, all of whose tasks are alike.
 *
 * Borg paper, section 2.3 (jobs), 2.4 (allocs), 2.5 (priority and bands).
 */
#ifndef CELL_SPEC_H
#define CELL_SPEC_H

#include "constraint.h"
#include "devices.h"

enum { PRIORITY_MAX = 450, GRACE_MS_MAX = 3600000, BACKOFF_MS_MAX = 3600000 };

enum band { BAND_FREE, BAND_BATCH, BAND_PRODUCTION, BAND_MONITORING, BAND_COUNT };

enum band band_of(uint32_t priority); /* 0-99 free, 100-119 batch, 120-359 production, 360-450 */
const char *band_text(enum band band);
/* The priority that the name of a band stands for ("production": 200), -1: it is no band. */
int band_priority(const char *text);
bool priority_is_prod(uint32_t priority); /* production and monitoring: never evicted by prod */
/* May work of priority `by` displace work of priority `victim`? Strictly lower, and never prod. */
bool priority_may_evict(uint32_t by, uint32_t victim);

/* The enumerations a spec names by text; parse returns -1 for a text that is none of them. */
enum appclass { APPCLASS_BATCH, APPCLASS_LATENCY_SENSITIVE, APPCLASS_COUNT };
enum restart { RESTART_ON_FAILURE, RESTART_ALWAYS, RESTART_NEVER, RESTART_COUNT };
enum policy {
    POLICY_BEST_FIT,
    POLICY_WORST_FIT,
    POLICY_STRANDING_AWARE,
    POLICY_COUNT,                  /* those there are, of which a cell has one */
    POLICY_OF_CELL = POLICY_COUNT, /* a job's: whatever the cell's is */
    POLICY_SPEC_COUNT
};
const char *appclass_text(enum appclass a); /* "batch", "latency-sensitive" */
const char *restart_text(enum restart r);   /* "on-failure", "always", "never" */
const char *policy_text(enum policy p);     /* "best-fit", "worst-fit", "stranding-aware", "cell" */
int policy_parse(const char *text);

/* How the live tasks of a job lie over the values of an attribute ("machine": over machines). A
 * machine that lacks the attribute counts to the value "". */
struct spread {
    char by[CELL_NAME_MAX + 1];
    uint32_t max;    /* at most so many per value; 0: no bound */
    uint32_t weight; /* 1 to WEIGHT_MAX: prefer values with fewer; 0: no matter */
};

struct job_spec {
    char name[CELL_NAME_MAX + 1]; /* [a-z0-9]([a-z0-9._-]*) */
    char
        user[CELL_NAME_MAX + 1]; /* from the certificate of who submitted it, never from the file */
    uint32_t priority;           /* 0 to PRIORITY_MAX */
    enum appclass appclass;
    enum policy policy;     /* how to choose among machines that fit */
    uint32_t replicas;      /* 1 to CELL_TASKS_PER_JOB_MAX; of every_machine: as many as machines */
    struct resources limit; /* of one task; ports = ports.count */
    struct resource_names resource_names; /* of the slots of limits that are not 0 */
    /* Other limits that would do, the better ones first: with `limit` the shapes of a task. */
    struct resources alternatives[SPEC_SHAPES_MAX - 1];
    uint32_t alternative_count;
    struct words argv;  /* the command; argv[0] is looked up in PATH by the borglet */
    struct words env;   /* "NAME=value" */
    struct words ports; /* names; each task gets one port per name, told in PORT_<NAME> */
    enum restart restart;
    uint32_t failures_max; /* failed attempts after which a task stays failed; 0: no bound */
    uint32_t backoff_ms; /* before the 2nd attempt after a failure; doubles up to backoff_max_ms */
    uint32_t backoff_max_ms;
    uint32_t grace_ms;        /* between SIGTERM and SIGKILL */
    uint32_t disruptions_max; /* tasks that may be down for our own reasons at once; 0: no bound */
    struct clauses constraints; /* on the machine; all that are hard must hold */
    struct spread spreads[SPEC_SPREADS_MAX];
    uint32_t spread_count;
    bool every_machine; /* task I runs on machine I + 1, wherever the constraints hold: system.c */
    bool gang; /* tasks that wait start all at once or not at all; at most CMD_PLACEMENTS_MAX */
    bool is_alloc_set; /* its tasks are allocs (alloc.c): room for others, with no command */
    char alloc_set[CELL_NAME_MAX + 1]; /* it runs in allocs of this set; "": on machines */
    struct words labels;               /* "name=value", for people */
};

/* Every field at its default, no name, no command, one replica; then fill and spec_valid(). */
void spec_init(struct job_spec *spec);
void spec_release(struct job_spec *spec);
void spec_copy(struct job_spec *to, const struct job_spec *from); /* `to` is uninitialised */
/* May this be submitted? Tells the first mistake with its path ("task.resources.cpu: ..."). */
int spec_valid(const struct job_spec *spec, struct err *err) MUST_USE;
/* A job, user, machine or port name: 1 to CELL_NAME_MAX of [a-z0-9._-], starting alphanumeric. */
bool name_valid(const char *name);
/* The variable that tells a task its port of that name: "http-alt" -> "PORT_HTTP_ALT". */
enum { SPEC_PORT_VARIABLE_BYTES = CELL_NAME_MAX + 6 };
void spec_port_variable(const char *port, char to[SPEC_PORT_VARIABLE_BYTES]);
/* The shapes of its tasks, in order of preference: `limit` is number 0. */
uint32_t spec_shape_count(const struct job_spec *spec);
const struct resources *spec_shape(const struct job_spec *spec, uint32_t shape);
/* The most of each resource that a task may hold. */
struct resources spec_limit_max(const struct job_spec *spec);
/* Wait before the attempt that follows the `failures`th failure (failures >= 1). */
uint32_t spec_backoff_ms(const struct job_spec *spec, uint32_t failures);

#endif
