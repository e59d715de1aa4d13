/*
 * shim_proto.h - what a borglet and the shim of a task say to each other, and the files they share.
 *
 * A shim may be older than the borglet that talks to it (tasks outlive upgrades), or newer (an
 * upgrade was taken back): every struct starts with a version; change one and SHIM_VERSION goes up.
 * A borglet understands shims of SHIM_VERSION_MIN to SHIM_VERSION; struct shim_state only grows at
 * its end (shim_state_bytes()). Of any other shim it knows that a message begins with its version
 * and kind; it signals that task by pid. Both run on one machine, so structs travel as they lie in
 * memory. This header needs nothing of libcell: the shim links no library.
 *
 * Files in the directory of an attempt:
 *     spec      struct shim_spec, then its words (argv, then env), each with its NUL
 *     record    two struct shim_record in turns; the valid one with the higher seq counts
 *     ctl.sock  SOCK_SEQPACKET; shim_request one way, shim_message the other
 *     out.N     bytes [N * segment, (N + 1) * segment) of stdout; err.N likewise
 *     work/     where the task runs
 */
#ifndef BORGLET_SHIM_PROTO_H
#define BORGLET_SHIM_PROTO_H

#include <stddef.h>
#include <stdint.h>

enum {
    SHIM_VERSION = 3,     /* of shims and borglets that are made from this header */
    SHIM_VERSION_MIN = 2, /* of shims that this borglet can still talk to */
    SHIM_DETAIL_BYTES = 72,
    SHIM_FD = 3, /* the shim finds its first client, the borglet that started it, here */
    SHIM_CLIENTS_MAX = 8,
    SHIM_NAME_MAX = 63,
    SHIM_PORTS_MAX = 16,
    SHIM_WORDS_MAX = 1024,         /* argv and env together */
    SHIM_WORDS_BYTES_MAX = 131072, /* their bytes, NULs included */
    SHIM_LOG_SEGMENT_BYTES = 8 << 20,
    SHIM_LOG_SEGMENTS = 4,
    SHIM_RECORD_BYTES = 4096,
    SHIM_RECORD_SLOT_BYTES = SHIM_RECORD_BYTES / 2,
    SHIM_LINGER_MS = 30000, /* a recorded end that nobody asks for keeps a shim this long */
};

/* Exit codes of borg-shim --clear-work NAME and --clear-all NAME, with the directory at SHIM_FD. */
enum {
    SHIM_CLEAR_MOUNT_LEFT = 10, /* something is mounted below and could not be unmounted */
    SHIM_CLEAR_LEFT = 11,       /* something else could not be removed */
};

#define SHIM_SPEC_MAGIC UINT32_C(0x62736830)
#define SHIM_RECORD_MAGIC UINT32_C(0x62736831)

struct shim_spec {
    uint32_t magic;
    uint32_t version;
    uint32_t crc; /* over everything behind this field, words included */
    uint32_t words_bytes;
    uint64_t task;
    uint32_t attempt;
    uint32_t grace_ms;
    int64_t limit[8];           /* in the order of enum resource */
    char resource_names[3][32]; /* of the last three */
    uint16_t ports[SHIM_PORTS_MAX];
    uint32_t port_count;
    uint32_t argc;
    uint32_t envc;
    uint32_t log_segment_bytes;
    uint32_t log_segments; /* the newest ones are kept */
    char job[SHIM_NAME_MAX + 1];
    uint32_t devices; /* a bit per gpu */
    /* From version 3 on. */
    char user[SHIM_NAME_MAX + 1]; /* whose job it is: who may read the logs; "": not known */
};

/* What precedes the words in a spec of that version. */
static inline size_t shim_spec_bytes(uint32_t version)
{
    const size_t unit = _Alignof(struct shim_spec);
    size_t before_user = (offsetof(struct shim_spec, user) + unit - 1) / unit * unit;
    return version < 3 ? before_user : sizeof(struct shim_spec);
}

enum shim_phase { SHIM_STARTING, SHIM_RUNNING, SHIM_ENDED };
enum shim_end { SHIM_END_NONE, SHIM_END_EXIT, SHIM_END_SIGNAL, SHIM_END_START_ERROR };

/* What the shim was doing when a start failed. */
enum shim_stage {
    SHIM_STAGE_SPEC,
    SHIM_STAGE_RECORD,
    SHIM_STAGE_CONTROL,
    SHIM_STAGE_PIPES,
    SHIM_STAGE_FORK,
    SHIM_STAGE_SESSION,
    SHIM_STAGE_CHDIR,
    SHIM_STAGE_EXEC,
};

struct shim_state {
    int32_t phase; /* enum shim_phase */
    int32_t shim_pid;
    int32_t task_pid; /* 0 before it exists */
    int32_t stopping; /* STOP was asked for */
    int32_t end;      /* enum shim_end; NONE until ENDED */
    int32_t code;     /* exit code or number of the signal */
    int32_t stage;    /* START_ERROR: enum shim_stage */
    int32_t error;    /* START_ERROR: errno */
    int32_t recorded; /* this state is in the record: nobody else needs to keep it */
    int32_t zero;
    uint64_t starttime; /* of the task's process, field 22 of /proc/PID/stat */
    uint64_t started_ms;
    uint64_t ended_ms;
    uint64_t dropped_bytes[2]; /* of stdout and stderr that found no place on the disk */
    uint64_t user_us, system_us, rss_max_bytes;
    char boot_id[40];
    /* From version 3 on. */
    uint64_t shim_starttime;        /* of the shim, as starttime */
    char detail[SHIM_DETAIL_BYTES]; /* START_ERROR: more than errno says, or "" */
};

/* What a shim of that version sends of it and records. */
static inline size_t shim_state_bytes(uint32_t version)
{
    return version < 3 ? offsetof(struct shim_state, shim_starttime) : sizeof(struct shim_state);
}

/* In the file the checksum follows the state, however long that is. */
struct shim_record {
    uint32_t magic;
    uint32_t version;
    uint64_t seq;
    struct shim_state state;
    uint32_t crc; /* over everything before this field */
    uint32_t zero;
};
_Static_assert(sizeof(struct shim_record) <= SHIM_RECORD_SLOT_BYTES, "two records in a file");

enum shim_request_kind {
    SHIM_STATUS,    /* answered with a STATE message */
    SHIM_SUBSCRIBE, /* the same, and from now on every change */
    SHIM_SIGNAL,    /* `signal` to the process group of the task */
    SHIM_STOP,      /* SIGTERM to all of it, `grace_ms` later SIGKILL */
    SHIM_ACK_EXIT,  /* the end is known: the shim may leave */
};

struct shim_request {
    uint32_t version;
    uint32_t kind; /* enum shim_request_kind */
    int32_t signal;
    uint32_t grace_ms;
};

enum shim_message_kind {
    SHIM_STATE,   /* answer to STATUS and SUBSCRIBE */
    SHIM_STARTED, /* event */
    SHIM_EXIT,    /* event */
    SHIM_REFUSED, /* a request of another version or without sense */
};

struct shim_message {
    uint32_t version;
    uint32_t kind; /* enum shim_message_kind */
    struct shim_state state;
};

/* CRC-32 (the one of zip); start with 0, feed the result back for more. */
static inline uint32_t shim_crc(uint32_t crc, const void *bytes, size_t size)
{
    const unsigned char *b = bytes;

    crc = ~crc;
    for (size_t i = 0; i < size; i++) {
        crc ^= b[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ (UINT32_C(0xedb88320) & (0U - (crc & 1U)));
    }
    return ~crc;
}

#endif
