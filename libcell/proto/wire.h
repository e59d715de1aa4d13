/*
 * wire.h - the methods and the bodies of what the programs say to each other.
 *
 * Every body is a msgpack array of the fields of its record (record_pack.h).
 */
#ifndef CELL_WIRE_H
#define CELL_WIRE_H

#include "access.h"
#include "record_pack.h"
#include "role.h"

enum { WIRE_MARK_ENTRIES = 1024 };

/*
 * Every body that is a record: wire_pack_NAME() appends to a buffer, wire_unpack_NAME() fills a
 * struct that wire_NAME_release() frees. A new body has its struct
 * above, its table in wire_fields.c, and a line here.
 */
#define WIRE_BODIES(X) \
    X(answer) \
    X(query) \
    X(why) \
    X(status) \
    X(alive) \
    X(shed) \
    X(hello) \
    X(welcome) \
    X(move) \
    X(replicas) \
    X(identities) \
    X(join) \
    X(reports) \
    X(usages) \
    X(intents) \
    X(logs) \
    X(log_chunk) \
    X(checkpoint) \
    X(transfer) \
    X(piece)

enum wire_body {
    WIRE_BODY_EMPTY,
    WIRE_BODY_CMD,  /* a packed command: cmd_pack.h */
    WIRE_BODY_rows, /* wire_rows.c */
#define X(name) WIRE_BODY_##name,
    WIRE_BODIES(X)
#undef X
};
/* NULL for those that are no record. */
const struct record *wire_body_record(enum wire_body body);

/*
 * Every method, a row each: name, number, text; the roles that may call it and whether it may be a
 * notice; what a user must be (access.h) and what that user does; the bodies of the call and of its
 * answer: records of WIRE_BODIES, CMD for a packed command, EMPTY for no bytes. Numbers are
 * appended, never used again.
 */
#define WIRE_METHODS(X) \
    /* user -> any replica. Which commands: cmd_access() */ \
    X(COMMAND, 1, "command", BY_USER, ANYBODY, "send commands", CMD, answer) \
    /* user -> any replica. What the rows show depends on the user */ \
    X(QUERY, 2, "query", BY_USER, ANYBODY, "ask queries", query, rows) \
    X(STATUS, 3, "status", BY_USER | BY_MASTER, ANYBODY, "ask for the status", EMPTY, status) \
    X(WHY, 4, "why", BY_USER, VIEWER, "ask why it waits or where it was placed", why, rows) \
    X(CHECKPOINT, 5, "checkpoint", BY_USER, READER, "take a checkpoint", checkpoint, piece) \
    X(TRANSFER, 6, "transfer", BY_USER | BY_MASTER, OPERATOR, "say who leads", transfer, answer) \
    /* replica -> leader */ \
    X(FORWARD, 10, "forward", BY_MASTER, CELL, "forward commands", CMD, answer) \
    X(ALIVE, 11, "alive", BY_MASTER, CELL, "say who is alive", alive, shed) \
    /* The answer has an index that is at or after everything acknowledged before the call */ \
    X(BARRIER, 12, "barrier", BY_MASTER, CELL, "ask for a barrier", EMPTY, answer) \
    /* replica -> any other: may I be here? */ \
    X(JOIN, 14, "join", BY_MASTER, CELL, "join the masters", join, answer) \
    /* borglet -> replica */ \
    X(HELLO, 20, "hello", BY_BORGLET, CELL, "greet as a machine", hello, welcome) \
    /* As an empty call, answered empty, it is the heartbeat: a replica that is stopped keeps its \
     * sockets, but does not answer */ \
    X(REPORT, 21, "report", BY_BORGLET | MAY_NOTIFY, CELL, "report what became of tasks", reports, \
      EMPTY) \
    X(USAGE, 22, "usage", BY_BORGLET | MAY_NOTIFY, CELL, "report what tasks use", usages, EMPTY) \
    /* replica -> borglet */ \
    X(INTEND, 30, "intend", BY_MASTER | MAY_NOTIFY, CELL, "drive a machine", intents, EMPTY) \
    X(MOVE, 31, "move", BY_MASTER | MAY_NOTIFY, CELL, "send a machine elsewhere", move, EMPTY) \
    /* After the welcome, and when they change */ \
    X(REPLICAS, 32, "replicas", BY_MASTER | MAY_NOTIFY, CELL, "say who the replicas are", \
      replicas, EMPTY) \
    X(IDENTITIES, 33, "identities", BY_MASTER | MAY_NOTIFY, CELL, "say who may do what", \
      identities, EMPTY) \
    /* user -> borglet: chunks come first, then the empty answer */ \
    X(LOGS, 40, "logs", BY_USER, VIEWER, "read its logs", logs, EMPTY) \
    /* borglet -> user */ \
    X(LOG_CHUNK, 41, "log-chunk", BY_BORGLET | MAY_NOTIFY, CELL, "send logs", log_chunk, EMPTY)

enum wire_method {
#define X(name, number, ...) WIRE_##name = (number),
    WIRE_METHODS(X)
#undef X
};

/* The roles, as struct rpc_method wants them. */
enum {
    BY_USER = BIT(ROLE_USER),
    BY_MASTER = BIT(ROLE_MASTER),
    BY_BORGLET = BIT(ROLE_BORGLET),
    MAY_NOTIFY = ROLE_MAY_NOTIFY
};
enum {
#define X(name, number, text, roles, ...) WIRE_##name##_ROLES = (roles),
    WIRE_METHODS(X)
#undef X
};
/* A row of what a program serves: struct rpc_method. */
#define WIRE_SERVE(name, handler) \
    { \
        WIRE_##name, WIRE_##name##_ROLES, (handler) \
    }

/* A row of the table of methods. */
struct wire_rule {
    enum wire_method id;
    const char *name;
    uint32_t roles;     /* BIT(ROLE_x) of those that may call it, ROLE_MAY_NOTIFY */
    enum access access; /* what a user must be: asked where the message is served */
    const char *deed;   /* "ask queries" */
    enum wire_body request, answer;
};
/* NULL: there is no such method. */
const struct wire_rule *wire_rule(uint32_t method);
/* "query"; "unknown" for a number that is no method. */
const char *wire_method_text(uint32_t method);

/* The outcome of a command. */
struct wire_answer {
    enum err_code code;
    uint64_t job;
    uint32_t accepted;
    uint32_t refused;
    uint64_t index; /* of the Raft entry; a query at or after it sees the effect */
    char msg[CELL_REASON_MAX + 1];
};

struct wire_query {
    char *sql;          /* owned */
    uint64_t index_min; /* wait until the replica has projected this index (bounded by time-out) */
    bool fresh;         /* first a barrier: see everything acknowledged before the call */
};

enum wire_type { WIRE_NULL, WIRE_INTEGER, WIRE_REAL, WIRE_TEXT };
struct wire_value {
    enum wire_type type;
    int64_t integer;
    double real;
    const char *text; /* points into wire_rows.bytes, NUL-terminated */
};
struct wire_rows {
    uint64_t applied_index;
    uint32_t column_count;
    uint32_t row_count;
    const char **columns;
    struct wire_value *values; /* row by row */
    char *bytes;               /* owned: all texts */
};

/* Why is it pending? */
struct wire_why {
    char job[CELL_NAME_MAX + 1];
    int64_t index; /* of one task; -1: any */
    bool want_names;
};

struct wire_status {
    uint64_t id;
    char addr[CELL_ADDR_MAX + 1]; /* rpc */
    int64_t pid;
    char role[16]; /* "leader", "follower", "candidate" */
    uint64_t term;
    uint64_t leader; /* id, 0 unknown */
    uint64_t last_index, stored_index, commit_index, applied_index;
    uint64_t snapshot_index;
    uint64_t projected_index; /* in SQLite */
    uint64_t digest;          /* of the cell at applied_index */
    uint64_t links;           /* borglets driven */
    uint64_t machines, jobs, pending;
    uint64_t uptime_ms;
    uint64_t mark_index, mark_digest; /* the digest when the log last passed a multiple of
                                         WIRE_MARK_ENTRIES: replicas under load hardly ever stand
                                         at the same index; 0: none yet */
    uint64_t store_behind_ms;         /* SQLite has not had everything for so long */
    uint64_t disk_wait_ms;            /* the longest an entry waited for the disk lately */
    uint64_t disk_silent_ms;          /* since the disk was last asked and answered */
    uint64_t disk_free_bytes, disk_bytes;
    uint64_t state_bytes; /* of this replica's directory */
    char version[32];
    char policy[16];  /* the cell's */
    char hold[16];    /* hold_text() */
    char change[192]; /* of the leader: what a change of the replicas waits for */
    /* Of the borglets it drives: how many have a certificate that ends soon, and which ends first.
     */
    uint64_t certs_soon, cert_first_ms;
    char cert_first[CELL_NAME_MAX + 1];
    uint64_t wall_ms;       /* its clock when it answered */
    uint64_t cell_ms;       /* the time of the cell then, as it would stamp it */
    struct masters masters; /* who the replicas are, for all it has applied; next_id 0: unknown */
    uint64_t format;        /* that the cell uses */
    uint64_t format_known;  /* the latest that this replica knows */
    uint64_t format_next;   /* of the leader: the latest that all replicas know; 0: it has not heard
                               of all lately, or does not lead */
};

/* Sent by each replica to the leader every second: the borglets that it drives. */
struct wire_alive {
    const void *bits; /* bit id - 1: it has heard of that machine since the last time; borrowed */
    size_t size;      /* in bytes */
    uint32_t links;   /* how many it drives */
    uint64_t applied_index;
    uint64_t wall_ms; /* what its clock shows */
    uint32_t format;  /* the latest that it knows */
};
/* If it drives more than its share, `count` of them should go to replica `to`. */
struct wire_shed {
    uint64_t to;
    uint32_t count;
    uint64_t median_ms; /* of the masters' clocks, when this was sent; 0: not known */
};

struct wire_hello {
    char name[CELL_NAME_MAX + 1];
    char addr[CELL_ADDR_MAX + 1];
    struct resources capacity;
    struct resource_names resource_names; /* of the slots of `capacity` */
    uint64_t seen_index;    /* of the newest intents seen: older ones would be ignored */
    struct report *reports; /* attempts it has, live and ended, HELLO_REPORTS_MAX; owned */
    uint32_t report_count;
    struct words attributes; /* of the machine; owned */
    /* The same as long as it is the same directory on the same running host: a second borglet of
     * the name, or one with a copy of the directory, has another. Never 0. */
    uint64_t instance;
    uint64_t directory;  /* the same as long as it is that directory; never 0 */
    struct words labels; /* of the machine; owned */
};
struct wire_welcome {
    uint32_t machine;
    uint64_t heartbeat_ms; /* send reports at least this often */
};

struct wire_move {
    char addr[CELL_ADDR_MAX + 1]; /* rpc of the replica to go to */
};

/* Where a borglet may find the replicas: their rpc addresses. */
struct wire_address {
    uint64_t id;
    char text[CELL_ADDR_MAX + 1];
};
struct wire_replicas {
    struct wire_address *addresses; /* owned */
    uint32_t address_count;
};

/* The identities that a borglet has to know: readers of all logs, and revoked certificates. */
struct wire_identity {
    char identity[IDENTITY_MAX + 1];
    uint32_t rights;     /* a bit per enum right */
    uint64_t revoked_ms; /* as in struct identity_row */
};
struct wire_identities {
    uint64_t index; /* the applied index they come from; older ones change nothing */
    struct wire_identity *identities; /* by identity, each once; owned */
    uint32_t identity_count;
};

/* May I be here? Asked by a replica that has no leader. */
struct wire_join {
    uint64_t id;
    char raft[CELL_ADDR_MAX + 1];
    bool is_new;         /* its directory is empty */
    uint64_t last_index; /* of its log when it was opened: so much it had stored */
    uint64_t worked_ms;  /* for so long it has answered others; 0: not since its log was opened */
    uint32_t format;     /* the latest that it knows */
};

struct wire_reports {
    struct report *reports; /* CMD_REPORTS_MAX at most; owned */
    uint32_t report_count;
};

struct wire_usages {
    struct task_usage *tasks; /* CMD_USAGES_MAX at most; owned */
    uint32_t task_count;
};

enum intent_action {
    INTENT_RUN,    /* start it unless it is there; the spec is empty if it is known to be */
    INTENT_STOP,   /* SIGTERM, grace, SIGKILL; cause says why */
    INTENT_FORGET, /* the cell has taken note of its end: drop the record */
    INTENT_SHOW,   /* the cell says that it runs here: tell that it is lost if it is not there */
    INTENT_ACTION_COUNT
};
extern const struct enumeration intent_actions;
struct intent {
    struct attempt_ref task;
    enum intent_action action;
    enum cause cause;
    uint32_t grace_ms;
    uint64_t assigned_seq;            /* lower ones were assigned first */
    uint32_t devices;                 /* INTENT_RUN only; a bit per gpu that it gets */
    int64_t reclaimed[RECLAIM_COUNT]; /* INTENT_RUN only; of the limits of what runs there */
    struct job_spec spec; /* RUN only; its limit is the attempt's; its name gives JOB/INDEX */
    uint32_t shape;       /* of the attempt: spec_shape() */
};
struct wire_intents {
    uint64_t index;         /* the applied index they come from */
    bool full;              /* attempts that are not listed here are to be stopped and forgotten */
    struct intent *intents; /* owned */
    uint32_t intent_count;
};

struct wire_logs {
    char job[CELL_NAME_MAX + 1];
    uint64_t task;    /* id */
    uint32_t attempt; /* 0: the newest there */
    bool err;         /* stderr instead of stdout */
    bool follow;
    uint64_t tail_bytes; /* start this far from the end; UINT64_MAX: from the start */
    uint64_t from;       /* not 0: start at this offset, or the first that is kept behind it */
};
struct wire_log_chunk {
    const void *bytes; /* borrowed from the body */
    size_t size;
    uint64_t offset; /* in the stream */
};

/* A request to hand over leadership. */
struct wire_transfer {
    uint64_t replica; /* 0: whoever is furthest */
};

/* Which piece? */
struct wire_checkpoint {
    uint64_t offset; /* 0: of an image that is to be made now */
};

/* A piece of a checkpoint, which is a SQLite database. */
struct wire_piece {
    const void *bytes; /* borrowed from the body */
    size_t size;
    uint64_t total; /* of all pieces */
};

#define X(name) \
    extern const struct record wire_##name##_record; \
    static inline void wire_pack_##name(struct buf *to, const struct wire_##name *body) \
    { \
        record_pack(to, &wire_##name##_record, body); \
    } \
    MUST_USE static inline int wire_unpack_##name(const void *bytes, size_t size, \
                                                  struct wire_##name *ret, struct err *err) \
    { \
        return record_unpack(bytes, size, &wire_##name##_record, ret, err); \
    } \
    static inline void wire_##name##_release(struct wire_##name *body) \
    { \
        record_release(&wire_##name##_record, body); \
    }
WIRE_BODIES(X)
#undef X

/* The rows of a query are no record: wire_rows.c. */
void wire_pack_rows(struct buf *to, const struct wire_rows *body);
int wire_unpack_rows(const void *bytes, size_t size, struct wire_rows *ret,
                     struct err *err) MUST_USE;
void wire_rows_release(struct wire_rows *body);

#endif
