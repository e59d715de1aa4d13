/*
 * limits.h - all bounds on input from outside.
 *
 * All replicas apply the same command, so a command that exhausts memory would stop all of them.
 * Sizes are checked where input enters (borgctl, RPC) and again before a command is proposed.
 */
#ifndef CELL_LIMITS_H
#define CELL_LIMITS_H

#include "base.h"

/* The newest format that this release knows. Building with a smaller one gives the older release,
 * for tests: fields, commands and methods of later formats are compiled out. */
#ifndef CELL_FORMAT
#define CELL_FORMAT 2
#endif
/* The oldest format that this release can read and write. */
enum { CELL_FORMAT_MIN = 1 };

enum {
    CELL_NAME_MAX = 63,              /* bytes of a job, user, machine or port name */
    CELL_ADDR_MAX = 63,              /* bytes of "host:port" */
    CELL_MACHINES_MAX = 262144,      /* machines in a cell, without removed ones */
    CELL_JOBS_MAX = 1048576,         /* jobs in a cell, dead ones included */
    CELL_JOBS_DEAD_MAX = 65536,      /* ended jobs that are kept; the oldest are removed first */
    CELL_TASKS_MAX = 4194304,        /* live tasks in a cell */
    CELL_TASKS_PER_JOB_MAX = 262144, /* replicas of one job */
    CELL_QUOTAS_MAX = 16384,         /* quotas of users in bands */
    CELL_IDENTITIES_MAX = 16384,     /* identities with rights or a revocation */
    IDENTITY_MAX = 71,               /* bytes of "borglet/NAME" */
    CELL_REQUESTS_MAX = 65536,       /* answers remembered for retried commands */
    CELL_MASTERS_MAX = 9,            /* replicas of borgmaster */
    MASTER_ROWS_MAX = 10,            /* including one that is being replaced */
    CELL_EVENTS_MAX = 1000000,       /* rows of history kept in SQLite */
    CELL_REASON_MAX = 511,           /* bytes of a pending reason or of an answer's message */

    SPEC_BYTES_MAX = 32768, /* a packed job spec */
    SPEC_ARGS_MAX = 256,    /* words of a command line */
    SPEC_ENV_MAX = 256,     /* environment variables */
    SPEC_PORTS_MAX = 16,    /* ports of a task */
    SPEC_SHAPES_MAX = 4,    /* limits a task may have, in order of preference */
    JOB_LIMITS_OLD_MAX = 4, /* limits from before an update that tasks of a job still have */

    RESOURCES_NAMED_MAX = 3, /* named resources of a cell */
    RESOURCE_NAME_MAX = 31,  /* bytes of the name of a resource */

    MACHINE_ATTRIBUTES_MAX = 32, /* attributes of a machine */
    MACHINE_CPUS_MAX = 65536,    /* capacity that a machine may report */
    MACHINE_RAM_TIB_MAX = 1024,
    MACHINE_DISK_PIB_MAX = 1024,
    MACHINE_PORTS_MAX = 65535,
    MACHINE_NAMED_MAX = 1000000000, /* of a resource that the cell names */
    MACHINE_LEFT_MAX = 4096,      /* attempts of which nobody knows whether they run there still */
    ATTRIBUTE_VALUE_MAX = 127,    /* bytes of the value of one; a key is a name */
    LABELS_MAX = 32,              /* labels of a job or a machine */
    SPEC_CLAUSES_MAX = 32,        /* constraints of a job */
    SPEC_TERMS_MAX = 16,          /* alternatives in one */
    SPEC_TERM_VALUES_MAX = 32,    /* values after `in` */
    SPEC_REGEXES_MAX = 16,        /* regular expressions in all of them */
    SPEC_JUDGE_UNITS_MAX = 16384, /* what all constraints take to judge a machine: constraint.h */
    SPEC_SYSTEM_UNITS_MAX = 1024, /* those of a job on every machine */
    SYSTEM_UNITS_MAX = 33554432,  /* and on all machines there are */
    PATTERN_BYTES_MAX = 127,      /* bytes of one */
    PATTERN_STATES_MAX = 256,     /* states of one (pattern.h); {m,n} counts as written out */
    SPEC_COMPANIES_MAX = 16,      /* near and apart in all of them */
    SPEC_SPREADS_MAX = 4,         /* attributes a job is spread over */
    APART_JOBS_MAX = 256,         /* live jobs of a user that keep themselves apart from one job */

    RESIZE_TASKS_MAX = 16384,     /* tasks that one command resizes; another command continues */
    RESIZE_LOOKS_MAX = 32768,     /* tasks that one such command examines */
    SHRINK_EVENTS_MAX = 1024,     /* events for the tasks that a smaller `replicas` stops */
    CMD_BYTES_MAX = 110592,       /* one packed command */
    CMD_PLACEMENTS_MAX = 1024,    /* placements in one command */
    DECISION_SCORES_MAX = 6,      /* scores that explain one placement */
    CMD_SCORES_MAX = 2054,        /* scores in one command: two for each placement, and some more */
    STAGES_MAX = 32,              /* stages of scoring */
    STAGE_NAME_MAX = 31,          /* bytes of the name of a stage */
    CMD_REPORTS_MAX = 256,        /* task reports in one command */
    CMD_USAGES_MAX = 1024,        /* tasks in one usage command */
    HELLO_REPORTS_MAX = 32768,    /* attempts that a borglet may report */
    ENVELOPE_COMMANDS_MAX = 64,   /* commands in one Raft entry */
    ENVELOPE_BYTES_MAX = 131072,  /* one Raft entry */
    PROPOSALS_IN_FLIGHT_MAX = 16, /* Raft entries proposed and not yet committed */
    PROPOSALS_TASKS_MAX = 65536,  /* tasks that all of them touch, unless a single command
                                     touches more; later proposals wait */
    FORWARDS_IN_FLIGHT_MAX = 256, /* commands a follower has sent to the leader */
    FORWARDS_BYTES_MAX = 1048576, /* bytes of these commands */
    INBOX_BYTES_MAX = 16777216,   /* waiting commands of all users on a replica */
    INBOX_USER_COMMANDS_MAX = 4096, /* waiting commands of one user */

    RPC_FRAME_BYTES_MAX = 8388608,  /* one message on the wire */
    RPC_QUEUE_BYTES_MAX = 33554432, /* bytes waiting to be sent on one connection */
    RPC_CONNECTIONS_MAX = 131072,   /* connections one process accepts */
    RPC_CALLS_MAX = 1024,           /* unanswered calls on a connection before it is not read */
    RPC_USER_CALLS_MAX = 128,       /* the same for a user's connection */
    RPC_CALLS_BYTES_MAX = 4194304,  /* bytes of unanswered calls on a connection */
    RPC_SLOW_MS = 100,              /* a user is not read for so long after ERR_UNAVAILABLE */

    QUERY_ROWS_MAX = 100000,   /* rows one SQL query may return */
    QUERY_BYTES_MAX = 4194304, /* bytes one SQL query may return */
    QUERY_TIME_MS_MAX = 5000,  /* time one SQL query may take */
    QUERY_SQL_MAX = 65536,     /* bytes of the text of a query */

    QUERIES_WAITING_MAX = 256,     /* queries that wait on a replica */
    QUERIES_USER_WAITING_MAX = 64, /* waiting queries of one user */
};

_Static_assert(IDENTITY_MAX == CELL_NAME_MAX + 8, "borglet/ and a name");
_Static_assert(CELL_MACHINES_MAX <= CELL_TASKS_PER_JOB_MAX, "a job may run on every machine");
_Static_assert(CMD_BYTES_MAX <= ENVELOPE_BYTES_MAX, "a command must fit into an envelope");
_Static_assert(FORWARDS_IN_FLIGHT_MAX <= RPC_CALLS_MAX / 2 &&
                   FORWARDS_BYTES_MAX <= RPC_CALLS_BYTES_MAX / 2,
               "the leader must always read what followers send");
_Static_assert(CMD_SCORES_MAX == 2 * CMD_PLACEMENTS_MAX + DECISION_SCORES_MAX,
               "the scores of a batch with two scores for each placement must fit");
_Static_assert(CMD_REPORTS_MAX * 218 + 256 <= CMD_BYTES_MAX,
               "the longest reports must fit a command");
_Static_assert(SPEC_BYTES_MAX < CMD_BYTES_MAX, "a spec must fit into a command");

#endif
