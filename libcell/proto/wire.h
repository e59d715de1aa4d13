/*
 * wire.h - the methods and the bodies of what the programs say to each other.
 *
 * Every body is a msgpack array; wire_pack_* appends to a buffer, wire_unpack_* refuses with
 * ERR_CORRUPT, bounds every count, and on success fills a struct that wire_*_release frees (those
 * without a release own nothing).
 */
#ifndef CELL_WIRE_H
#define CELL_WIRE_H

#include "cmd.h"

enum { WIRE_MARK_ENTRIES = 1024 };

#define WIRE_METHODS(X) \
    X(COMMAND, 1)    /* user -> any replica: packed cmd; answer: wire_answer */ \
    X(QUERY, 2)      /* user -> any replica: wire_query; answer: wire_rows */ \
    X(STATUS, 3)     /* user, master -> replica: empty; answer: wire_status */ \
    X(WHY, 4)        /* user -> any replica: wire_why; answer: wire_rows (why_rows.h) */ \
    X(CHECKPOINT, 5) /* user -> any replica: wire_checkpoint; answer: wire_piece */ \
    X(TRANSFER, 6)   /* user, master -> any replica: wire_transfer; answer: wire_answer */ \
    X(FORWARD, 10)   /* replica -> leader: packed cmd; answer: wire_answer */ \
    X(ALIVE, 11)     /* replica -> leader: wire_alive; answer: wire_shed */ \
    X(BARRIER, 12)   /* replica -> leader: empty; answer: wire_answer with an index that \
                        has everything acknowledged before */ \
    X(JOIN, 14)      /* replica -> any other: wire_join; answer: wire_answer, or why not */ \
    X(HELLO, 20)     /* borglet -> replica: wire_hello; answer: wire_welcome */ \
    X(REPORT, 21)    /* borglet -> replica: wire_reports; as an empty call, answered empty, it is \
                        the heartbeat: a replica that is stopped keeps its sockets, but is mute */ \
    X(USAGE, 22)  /* borglet -> replica, notice: wire_usages; what its tasks use, now and then */ \
    X(INTEND, 30) /* replica -> borglet, notice: wire_intents */ \
    X(MOVE, 31)   /* replica -> borglet, notice: wire_move; go to another replica */ \
    X(REPLICAS, 32) /* replica -> borglet, notice: wire_replicas, after the welcome and when they \
                       change */ \
    X(IDENTITIES, 33) /* replica -> borglet, notice: wire_identities, after the welcome and when \
                         they change */ \
    X(LOGS, 40)       /* user -> borglet: wire_logs; chunks come first, then the empty answer */ \
    X(LOG_CHUNK, 41)  /* borglet -> user, notice: wire_log_chunk */

enum wire_method {
#define X(name, number) WIRE_##name = (number),
    WIRE_METHODS(X)
#undef X
};

/* What became of a command. */
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
};

/* What a replica tells the leader every second of the borglets it drives. */
struct wire_alive {
    const void *bits; /* bit id - 1: it has heard of that machine since the last time; borrowed */
    size_t size;      /* in bytes */
    uint32_t links;   /* how many it drives */
    uint64_t applied_index;
    uint64_t wall_ms; /* what its clock shows */
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
    uint64_t directory; /* the same as long as it is that directory; never 0 */
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

/* Who may do what on a machine: who reads everybody's logs, whose certificates do not count. */
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

/* Who is to lead? */
struct wire_transfer {
    uint64_t replica; /* 0: whoever is furthest */
};

/* Which piece? */
struct wire_checkpoint {
    uint64_t offset; /* 0: of an image that is to be made now */
};

/* Of a checkpoint: a SQLite database. */
struct wire_piece {
    const void *bytes; /* borrowed from the body */
    size_t size;
    uint64_t total; /* of all pieces */
};

/* Every body: those that own nothing, and those that wire_*_release frees. The functions are
 * declared by this list, so that none can be missing in it; tests go through it. */
#define WIRE_BODIES(PLAIN, OWNER) \
    PLAIN(answer) \
    OWNER(query) \
    OWNER(rows) \
    PLAIN(why) \
    PLAIN(status) \
    PLAIN(alive) \
    PLAIN(shed) \
    OWNER(hello) \
    PLAIN(welcome) \
    PLAIN(move) \
    OWNER(replicas) \
    OWNER(identities) \
    PLAIN(join) \
    OWNER(reports) \
    OWNER(usages) \
    OWNER(intents) \
    PLAIN(logs) \
    PLAIN(log_chunk) \
    PLAIN(checkpoint) \
    PLAIN(transfer) \
    PLAIN(piece)

#define WIRE_PLAIN(name) \
    void wire_pack_##name(struct buf *to, const struct wire_##name *body); \
    int wire_unpack_##name(const void *bytes, size_t size, struct wire_##name *ret, \
                           struct err *err) MUST_USE;
#define WIRE_OWNER(name) \
    WIRE_PLAIN(name) \
    void wire_##name##_release(struct wire_##name *body);
WIRE_BODIES(WIRE_PLAIN, WIRE_OWNER)
#undef WIRE_PLAIN
#undef WIRE_OWNER

#endif
