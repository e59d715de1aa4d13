/*
 * shim_proto.h - the protocol between a borglet and the shim of a task, and the files they share.
 *
 * A shim may be older than the borglet that talks to it, because tasks outlive upgrades, or newer,
 * because an upgrade was taken back. Each program speaks the versions SHIM_VERSION_MIN to
 * SHIM_VERSION_MAX, states this range in its hello and in the files it writes, and the two use the
 * highest version that both speak. These rules hold for all versions:
 *
 *   - A client begins with a struct shim_hello, and the shim answers with one. The struct is the
 *     same in all versions. A client that sends a request first is of version 3, which had no
 *     hello; a shim that refuses the hello is of the version that its answer begins with.
 *   - The other structs only grow at their end, and a change raises SHIM_VERSION_MAX. A reader
 *     skips bytes behind the fields it knows, and takes 0 for fields that are missing.
 *   - The fields up to those of version 4 keep their place and meaning in the files, so that a
 *     borglet which shares no version with a shim still finds the limits of the attempt, the
 *     processes to watch and, after the end, the exit status.
 *   - A borglet that shares no version with a running shim watches the task by its pid and stops it
 *     by signals. A shim that shares no version with the writer of its spec does not start a task.
 *
 * Both programs run on one machine, so structs are sent as they are in memory. This header needs
 * nothing of libcell, because the shim links no library.
 *
 * Files in the directory of an attempt:
 *     spec      struct shim_spec, then its words (argv, then env), each with its NUL
 *     record    two slots with a struct shim_record, written in turn; the valid one with the higher
 *               seq counts
 *     ctl.sock  SOCK_SEQPACKET; shim_request from client to shim, shim_message back
 *     out.N     bytes [N * segment, (N + 1) * segment) of stdout; err.N is the same of stderr
 *     work/     the working directory of the task
 */
#ifndef BORGLET_SHIM_PROTO_H
#define BORGLET_SHIM_PROTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Tests build programs of other releases by setting these two (`make shim-releases`). A release of
 * version 5 or higher exists only there; its structs have one more field each, `appended`.
 */
#ifndef SHIM_VERSION_MIN
#define SHIM_VERSION_MIN 2
#endif
#ifndef SHIM_VERSION_MAX
#define SHIM_VERSION_MAX 4
#endif

enum {
    SHIM_VERSION_FIRST = 2,  /* requests and hellos carry it: all shims accept it */
    SHIM_VERSION_RANGES = 4, /* the first version with ranges, hellos and stated sizes */
    SHIM_DETAIL_BYTES = 72,
    SHIM_FD = 3, /* the descriptor on which the shim finds the borglet that started it */
    SHIM_CLIENTS_MAX = 8,
    SHIM_NAME_MAX = 63,
    SHIM_PORTS_MAX = 16,
    SHIM_WORDS_MAX = 1024,         /* argv and env together */
    SHIM_WORDS_BYTES_MAX = 131072, /* their bytes, NULs included */
    SHIM_LOG_SEGMENT_BYTES = 8 << 20,
    SHIM_LOG_SEGMENTS = 4,
    SHIM_RECORD_BYTES = 4096,
    SHIM_RECORD_SLOT_BYTES = SHIM_RECORD_BYTES / 2,
    SHIM_LINGER_MS = 30000, /* a shim without clients exits this long after it recorded the end */
    SHIM_HEAD_BYTES_MAX = 4096,    /* of a struct shim_spec of any version */
    SHIM_MESSAGE_BYTES_MAX = 2048, /* of a message of any version */
};
_Static_assert(SHIM_VERSION_MIN >= SHIM_VERSION_FIRST && SHIM_VERSION_MIN <= SHIM_VERSION_MAX,
               "the range of versions");

/* Exit codes of borg-shim --clear-work NAME and --clear-all NAME, with the directory at SHIM_FD. */
enum {
    SHIM_CLEAR_MOUNT_LEFT = 10, /* something is mounted below and could not be unmounted */
    SHIM_CLEAR_LEFT = 11,       /* something else could not be removed */
};

#define SHIM_SPEC_MAGIC UINT32_C(0x62736830)
#define SHIM_RECORD_MAGIC UINT32_C(0x62736831)

struct shim_spec {
    uint32_t magic;
    uint32_t version; /* the highest one that the writer speaks */
    uint32_t crc;     /* over everything behind this field, words included */
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
    uint32_t devices; /* one bit per gpu */
    /* From version 3 on. */
    char user[SHIM_NAME_MAX + 1]; /* the owner of the job, who may read its logs; "": unknown */
    /* From version 4 on. */
    uint32_t version_min; /* the lowest version that the writer speaks */
    uint32_t head_bytes;  /* the size of this struct as written; the words follow */
#if SHIM_VERSION_MAX >= 5
    uint64_t appended;
#endif
};
enum { SHIM_SPEC_FIXED_BYTES = 384 };
_Static_assert(offsetof(struct shim_spec, user) == 312 &&
                   offsetof(struct shim_spec, head_bytes) + 4 == SHIM_SPEC_FIXED_BYTES,
               "the fields of version 4 keep their place");

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
    int32_t task_pid;   /* 0 before it exists */
    int32_t stopping;   /* a STOP request was received */
    int32_t end;        /* enum shim_end; NONE until ENDED */
    int32_t code;       /* exit code or number of the signal */
    int32_t stage;      /* START_ERROR: enum shim_stage */
    int32_t error;      /* START_ERROR: errno */
    int32_t recorded;   /* this state is in the record, so the shim need not keep it */
    uint32_t bytes;     /* the size of this struct as written; 0 before version 4 */
    uint64_t starttime; /* of the task's process, field 22 of /proc/PID/stat */
    uint64_t started_ms;
    uint64_t ended_ms;
    uint64_t dropped_bytes[2]; /* of stdout and stderr, because the disk was full */
    uint64_t user_us, system_us, rss_max_bytes;
    char boot_id[40];
    /* From version 3 on. */
    uint64_t shim_starttime;        /* of the shim, as starttime */
    char detail[SHIM_DETAIL_BYTES]; /* START_ERROR: more than errno says, or "" */
    /* From version 4 on. */
    uint32_t version_min, version_max; /* the versions that the shim speaks */
#if SHIM_VERSION_MAX >= 5
    uint64_t appended;
#endif
};
enum { SHIM_STATE_FIXED_BYTES = 232 };
_Static_assert(offsetof(struct shim_state, shim_starttime) == 144 &&
                   offsetof(struct shim_state, version_max) + 4 == SHIM_STATE_FIXED_BYTES,
               "the fields of version 4 keep their place");

/* In the file the checksum follows the state, the size of which depends on the version. */
struct shim_record {
    uint32_t magic;
    uint32_t version; /* the highest one that the shim and the borglet that started it speak */
    uint64_t seq;
    struct shim_state state;
    uint32_t crc; /* over everything before this field */
    uint32_t zero;
};
_Static_assert(sizeof(struct shim_record) <= SHIM_RECORD_SLOT_BYTES, "two records in a file");

enum shim_request_kind {
    SHIM_STATUS,    /* answer with a STATE message */
    SHIM_SUBSCRIBE, /* version 3: answer with a STATE message, and send every change */
    SHIM_SIGNAL,    /* send `signal` to the process group of the task */
    SHIM_STOP,      /* send SIGTERM to all processes of the task, SIGKILL `grace_ms` later */
    SHIM_ACK_EXIT,  /* the borglet has taken the end: the shim may exit */
    SHIM_HELLO,     /* a struct shim_hello: answer with HELLO_ANSWER; if there is a common version,
                     * also with a STATE message, and send every change */
};

struct shim_request {
    uint32_t version; /* SHIM_VERSION_FIRST; the version of the connection is that of the hello */
    uint32_t kind;    /* enum shim_request_kind */
    int32_t signal;
    uint32_t grace_ms;
};

enum shim_message_kind {
    SHIM_STATE,        /* the answer to STATUS and SUBSCRIBE */
    SHIM_STARTED,      /* event */
    SHIM_EXIT,         /* event */
    SHIM_REFUSED,      /* the request was malformed, or made without a common version */
    SHIM_HELLO_ANSWER, /* a struct shim_hello */
};

struct shim_message {
    uint32_t version; /* of the connection */
    uint32_t kind;    /* enum shim_message_kind */
    struct shim_state state;
};
_Static_assert(sizeof(struct shim_message) <= SHIM_MESSAGE_BYTES_MAX, "a message fits");

/* The first request of a client and its answer. */
struct shim_hello {
    uint32_t version; /* SHIM_VERSION_FIRST */
    uint32_t kind;    /* SHIM_HELLO, SHIM_HELLO_ANSWER */
    uint32_t version_min;
    uint32_t version_max;
};
_Static_assert(sizeof(struct shim_hello) == sizeof(struct shim_request),
               "shims of version 3 accept requests of this size only");

/* shim_format.c: reading of what the other side wrote. All of it may be written by a task. */

/* Return the highest version that this program and one with that range speak; 0: none, or the
 * range makes no sense. */
uint32_t shim_version_common(uint32_t min, uint32_t max);
/* Return the size of the state in messages and records of that version as this program writes it.
 */
size_t shim_state_bytes(uint32_t version);
/* Take a spec from the bytes of its file. False: it is damaged. `ret_words` points into them. */
bool shim_spec_take(const char *file, size_t size, struct shim_spec *ret, const char **ret_words);
/* Return the common version with the writer of that spec; 0: none. */
uint32_t shim_spec_version(const struct shim_spec *spec);
/* Take the state of one slot of the record if it is valid and its number is above *seq, and set
 * *seq to it. */
bool shim_record_take(const char slot[SHIM_RECORD_SLOT_BYTES], uint64_t *seq,
                      struct shim_state *ret);
/* Take a state of `size` bytes and that version. False: its fields make no sense. */
bool shim_state_take(const char *bytes, size_t size, uint32_t version, struct shim_state *ret);

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
